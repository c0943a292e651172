"""Structure files: the crystal that they say, or one line."""

import gzip

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, graphene

from cascade_driver.errors import InputError
from cascade_driver.simulation.crystal_file import density_g_cm3, nearest_neighbours_A, read_crystal

#: Scheelite in the second origin of I4_1/a: positions of Hazen, Finger & Mariathasan, J. Phys. Chem. Solids 46,
#: 253 (1985), lattice constants of Zalkin & Templeton, J. Chem. Phys. 40, 501 (1964): 6.12 g/cm3 (JCPDS 41-1431).
SCHEELITE = """data_scheelite
_chemical_formula_sum 'Ca O4 W'
_cell_formula_units_Z 4
_cell_length_a 5.243(2)
_cell_length_b 5.243(2)
_cell_length_c 11.376
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'I 41/a :2'
_symmetry_Int_Tables_number 88
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Ca1 Ca 0 0.25 0.625
W1 W 0 0.25 0.125
O1 O 0.1507 0.0086 0.2106
"""
CLAIMS = "_chemical_formula_sum 'Ca O4 W'\n_cell_formula_units_Z 4\n"
SYMBOL = "_symmetry_space_group_name_H-M 'I 41/a :2'\n"
NUMBER = "_symmetry_Int_Tables_number 88\n"


def cif(tmp_path, text: str, name: str = "c.cif") -> Atoms:
    (tmp_path / name).write_text(text)
    atoms, oriented = read_crystal(tmp_path / name)
    assert not oriented
    return atoms


def refused(tmp_path, text: str, name: str = "c.cif") -> str:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError) as caught:
        read_crystal(tmp_path / name)
    line = str(caught.value)
    assert line.startswith(str(tmp_path / name))
    assert "\n" not in line
    return line


def w_o_A(atoms: Atoms) -> np.ndarray:
    """Distances from the tungsten atoms to the four nearest oxygens."""
    w, o = (np.flatnonzero(atoms.symbols == s) for s in ("W", "O"))
    return np.array([np.sort(atoms.get_distances(i, o, mic=True))[:4] for i in w])


class TestSymmetry:
    @pytest.mark.parametrize(
        "changes",
        [
            {},
            {CLAIMS: ""},
            {" :2": ""},
            {" :2": "", CLAIMS: "_exptl_crystal_density_diffrn 6.12\n"},
            {" :2": " Z"},
            {" :2": " (origin choice 2)", CLAIMS: ""},
            {" :2": "", CLAIMS: "_space_group_IT_coordinate_system_code 2\n"},
            {SYMBOL: ""},
            {SYMBOL: "_space_group_name_Hall '-I 4ad'\n", CLAIMS: "", NUMBER: ""},
            {NUMBER: ""},
            {"Ca1 Ca ": "Ca1 Ca2+ ", "W1 W ": "W1 W6+ ", "O1 O ": "O1 O2- "},
            {"Ca1 Ca ": "CA1 CA ", "W1 W ": "W1 w "},
        ],
    )
    def test_scheelite_is_scheelite_however_its_origin_is_told(self, tmp_path, changes):
        text = SCHEELITE
        for old, new in changes.items():
            assert old in text
            text = text.replace(old, new)
        atoms = cif(tmp_path, text)
        assert atoms.get_chemical_formula() == "Ca4O16W4"
        assert density_g_cm3(atoms) == pytest.approx(6.12, rel=2e-3)
        # Zalkin & Templeton: W-O 1.784 A.
        assert w_o_A(atoms) == pytest.approx(np.full((4, 4), 1.783), abs=0.004)

    def test_negative_control_the_other_origin_is_another_crystal(self, tmp_path):
        line = refused(tmp_path, SCHEELITE.replace(":2", ":1"))
        assert "found Ca8 O16 W8, expected 4 times Ca1 O4 W1 from `_chemical_formula_sum`" in line
        assert "I 4_1/a :1" in line

    def test_an_origin_that_is_not_told_is_not_guessed(self, tmp_path):
        line = refused(tmp_path, SCHEELITE.replace(" :2", "").replace(CLAIMS, ""))
        assert "the file does not tell its symmetry: I 4_1/a :1 or I 4_1/a :2; list all operations" in line

    def test_silicon_in_the_second_origin_has_eight_atoms(self, tmp_path):
        text = (
            SCHEELITE.split("loop_", maxsplit=1)[0]
            .replace(CLAIMS, "")
            .replace("5.243(2)", "5.431")
            .replace("11.376", "5.431")
            .replace("I 41/a", "F d -3 m")
            .replace("88", "227")
        )
        sites = "loop_\n_atom_site_label\n_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\n"
        atoms = cif(tmp_path, f"{text}{sites}Si1 0.125 0.125 0.125\n")
        assert len(atoms) == 8
        # sqrt(3)/4 a.
        assert nearest_neighbours_A(atoms) == pytest.approx(2.3517, abs=1e-3)

    def test_rounded_thirds_on_an_axis_are_one_atom(self, tmp_path):
        # Hexagonal close packing written with three digits: images of the site are 0.003 A apart.
        text = (
            "data_Ti\n_cell_length_a 2.951\n_cell_length_b 2.951\n_cell_length_c 4.684\n_cell_angle_alpha 90\n"
            "_cell_angle_beta 90\n_cell_angle_gamma 120\n_symmetry_space_group_name_H-M 'P 63/m m c'\nloop_\n"
            "_atom_site_label\n_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\nTi1 0.333 0.667 0.25\n"
        )
        atoms = cif(tmp_path, text)
        assert len(atoms) == 2
        # Titanium: 4.506 g/cm3 (CRC Handbook).
        assert density_g_cm3(atoms) == pytest.approx(4.506, rel=3e-3)

    def test_the_shape_of_the_cell_tells_rhombohedral_from_hexagonal_axes(self, tmp_path):
        # Bismuth, Cucka & Barrett, Acta Cryst. 15, 865 (1962), rounded: 9.80 g/cm3 (CRC: 9.79).
        head = "data_Bi\n_symmetry_space_group_name_H-M 'R -3 m'\nloop_\n_atom_site_label\n_atom_site_fract_x\n"
        head += "_atom_site_fract_y\n_atom_site_fract_z\n"
        cell = (
            "_cell_length_a {}\n_cell_length_b {}\n_cell_length_c {}\n_cell_angle_alpha {}\n_cell_angle_beta {}\n"
        )
        cell += "_cell_angle_gamma {}\n"
        hexagonal = cif(tmp_path, f"{head}Bi1 0 0 0.2339\n{cell.format(4.546, 4.546, 11.862, 90, 90, 120)}")
        rhombohedral = cif(tmp_path, f"{head}Bi1 0.2339 0.2339 0.2339\n{cell.format(*[4.7459] * 3, *[57.24] * 3)}")
        assert (len(hexagonal), len(rhombohedral)) == (6, 2)
        for atoms in (hexagonal, rhombohedral):
            assert density_g_cm3(atoms) == pytest.approx(9.80, rel=5e-3)

    def test_listed_operations_count(self, tmp_path):
        atoms = cif(tmp_path, SCHEELITE)
        ase.io.write(tmp_path / "all.cif", atoms)
        again, _ = read_crystal(tmp_path / "all.cif")
        assert again.get_chemical_formula() == "Ca4O16W4"
        assert density_g_cm3(again) == pytest.approx(density_g_cm3(atoms), rel=1e-6)

    def test_a_single_operation_beside_a_space_group_is_not_all_of_it(self, tmp_path):
        operation = "loop_\n_symmetry_equiv_pos_as_xyz\n'x, y, z'\n"
        atoms = cif(tmp_path, SCHEELITE + operation)
        assert atoms.get_chemical_formula() == "Ca4O16W4"
        assert "does not tell its symmetry" in refused(tmp_path, SCHEELITE.replace(CLAIMS, "") + operation)

    def test_a_whole_cell_beside_its_operations_is_one_crystal(self, tmp_path):
        text = SCHEELITE.replace("W1 W 0 0.25 0.125\n", "W1 W 0 0.25 0.125\nW2 W 0.5 0.75 0.625\n")
        assert cif(tmp_path, text).get_chemical_formula() == "Ca4O16W4"

    def test_operations_must_keep_the_cell(self, tmp_path):
        line = refused(tmp_path, SCHEELITE.replace("b 5.243", "b 5.643"))
        assert "the space group `I 41/a :2, 88` does not fit its cell" in line

    def test_a_symbol_and_a_number_of_two_groups_are_refused(self, tmp_path):
        line = refused(tmp_path, SCHEELITE.replace("88", "227"))
        assert "the space group `I 41/a :2, 227` is in no table; list its operations" in line

    def test_a_compressed_file_is_read(self, tmp_path):
        (tmp_path / "c.cif.gz").write_bytes(gzip.compress(SCHEELITE.encode()))
        assert len(read_crystal(tmp_path / "c.cif.gz")[0]) == 24


class TestClaims:
    def test_a_file_without_symmetry_is_refused_unless_it_counts_its_atoms(self, tmp_path):
        bare = SCHEELITE.replace(SYMBOL, "").replace(NUMBER, "")
        line = refused(tmp_path, bare.replace(CLAIMS, ""))
        assert "1.27 g/cm3" in line
        assert "The symmetry is missing from the file" in line
        assert "found Ca1 O1 W1, expected 4 times Ca1 O4 W1" in refused(tmp_path, bare)
        # All atoms, counted: right without a word about symmetry.
        whole = cif(tmp_path, SCHEELITE)
        rows = [
            f"{a.symbol} {x:.6f} {y:.6f} {z:.6f}"
            for a, (x, y, z) in zip(whole, whole.get_scaled_positions(), strict=True)
        ]
        sites = "loop_\n_atom_site_label\n_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\n"
        text = bare.split("loop_")[0] + sites + "\n".join(rows) + "\n"
        assert cif(tmp_path, text).get_chemical_formula() == "Ca4O16W4"

    def test_isolated_atoms_are_told_from_a_crystal(self, tmp_path):
        text = (
            "data_Si\n_cell_length_a 5.431\n_cell_length_b 5.431\n_cell_length_c 5.431\n_cell_angle_alpha 90\n"
            "_cell_angle_beta 90\n_cell_angle_gamma 90\nloop_\n_atom_site_label\n_atom_site_fract_x\n"
            "_atom_site_fract_y\n_atom_site_fract_z\nSi1 0 0 0\n"
        )
        line = refused(tmp_path, text)
        assert "0.291 g/cm3, neighbours up to 5.43 A apart: not this crystal?" in line

    @pytest.mark.parametrize(
        ("claim", "complaint"),
        [
            ("_exptl_crystal_density_diffrn 10.87", "6.115 g/cm3, expected 10.87 from `_exptl_crystal_density"),
            ("_cell_volume 625.4", "a cell of 312.7 A^3, expected 625.4 from `_cell_volume`"),
        ],
    )
    def test_what_is_built_is_what_the_file_says(self, tmp_path, claim, complaint):
        line = refused(tmp_path, SCHEELITE.replace("_cell_length_a", f"{claim}\n_cell_length_a"))
        assert complaint in line
        assert "correct the file" in line

    @pytest.mark.parametrize("number", ["?", ".", "nan", "1e400", "0", "-4"])
    def test_a_claim_that_is_no_number_is_none(self, tmp_path, number):
        claims = f"_cell_formula_units_Z {number}\n_cell_volume {number}\n_exptl_crystal_density_diffrn {number}\n"
        assert len(cif(tmp_path, SCHEELITE.replace("_cell_formula_units_Z 4\n", claims))) == 24

    def test_sums_over_the_cell_beside_its_units_are_understood(self, tmp_path):
        # As pymatgen writes them: 'Ca4 O16 W4' and Z = 4.
        assert len(cif(tmp_path, SCHEELITE.replace("'Ca O4 W'", "'Ca4 O16 W4'"))) == 24
        assert "expected 4 times Ca2 O8 W2" in refused(tmp_path, SCHEELITE.replace("'Ca O4 W'", "'Ca2 O8 W2'"))

    def test_multiplicities_count_atoms(self, tmp_path):
        text = SCHEELITE.replace("_atom_site_type_symbol", "_atom_site_symmetry_multiplicity")
        good = text.replace("Ca1 Ca", "Ca1 4").replace("W1 W", "W1 4").replace("O1 O", "O1 16")
        assert len(cif(tmp_path, good)) == 24
        line = refused(tmp_path, good.replace("O1 16", "O1 8").replace(CLAIMS, ""))
        assert "24 atoms, expected 16 from the multiplicities of the sites" in line

    @pytest.mark.parametrize(
        ("old", "new", "complaint"),
        [
            ("O1 O ", "D1 D ", "deuterium (D)"),
            ("W1 W ", "W1 Wat ", "the site `Wat` names no element of the file"),
            ("O1 O ", "O1 S ", "the site `S` names no element of the file"),
            ("W1 W 0 0.25 0.125", "W1 W 0 ? 0.125", "a site without three coordinates"),
            ("_cell_angle_beta 90\n", "", "no cell with three lengths and three angles"),
            ("_cell_angle_beta 90\n", "_cell_angle_beta 190\n", "no cell with three lengths and three angles"),
            ("_cell_length_c 11.376", "_cell_length_c 0.0001", "expected 2 to 1000 A^3 for each"),
            ("_cell_length_b 5.243(2)", "_cell_length_b inf", "no cell with three lengths and three angles"),
            ("_cell_length_c 11.376", "_cell_length_c 1e9", "expected 2 to 1000 A^3 for each"),
            ("W1 W 0 0.25 0.125", "W1 W 0 nan 0.125", "is no fraction of the cell"),
            ("W1 W 0 0.25 0.125", "W1 W 0 1e30 0.125", "is no fraction of the cell"),
            ("_fract_", "_cartn_", "holds no atoms with fractional coordinates"),
            ("O1 O 0.1507", "O1 O 0.03 0.25 0.15 # ", "overlapping atoms"),
        ],
    )
    def test_what_is_wrong_with_a_cif_is_said(self, tmp_path, old, new, complaint):
        assert old in SCHEELITE
        assert complaint in refused(tmp_path, SCHEELITE.replace(old, new))

    def test_capital_labels_that_may_be_two_elements_are_refused_without_a_formula(self, tmp_path):
        labels = SCHEELITE.replace("_atom_site_type_symbol\n", "").replace("Ca1 Ca", "CA1")
        labels = labels.replace("W1 W ", "W1 ").replace("O1 O ", "O1 ")
        assert cif(tmp_path, labels).get_chemical_formula() == "Ca4O16W4"
        assert "the site `CA1` may be C or Ca" in refused(tmp_path, labels.replace(CLAIMS, ""))

    def test_hydrogens_that_are_not_listed_are_refused(self, tmp_path):
        text = SCHEELITE.replace("_atom_site_type_symbol", "_atom_site_attached_hydrogens")
        text = text.replace("Ca1 Ca", "Ca1 0").replace("W1 W", "W1 0").replace("O1 O", "O1 1")
        assert "hydrogens that are attached and not listed" in refused(tmp_path, text)

    def test_two_structures_in_one_file_are_refused(self, tmp_path):
        assert "holds 2 structures; keep the one" in refused(
            tmp_path, SCHEELITE + SCHEELITE.replace("ta_s", "ta_t")
        )


class TestOtherFormats:
    @pytest.mark.parametrize("name", ["POSCAR", "c.xsf", "c.extxyz", "c.res", "c.gen"])
    def test_a_crystal_survives_its_format(self, tmp_path, name):
        atoms = bulk("Si", a=5.431)
        ase.io.write(tmp_path / name, atoms, format="vasp" if name == "POSCAR" else None)
        found, oriented = read_crystal(tmp_path / name)
        assert oriented == (name != "c.res")
        assert found.get_volume() == pytest.approx(5.431**3 / 4, rel=1e-4)
        assert nearest_neighbours_A(found) == pytest.approx(2.3517, abs=1e-3)

    @pytest.mark.parametrize("scale", ["5.431", "-160.19"])
    def test_a_scale_of_a_poscar_is_a_length_or_a_volume(self, tmp_path, scale):
        rows = "1 0 0\n0 1 0\n0 0 1\nSi\n8\nDirect\n"
        sites = "\n".join(" ".join(map(str, row)) for row in bulk("Si", cubic=True).get_scaled_positions())
        (tmp_path / "POSCAR").write_text(f"Si\n{scale}\n{rows}{sites}\n")
        found, _ = read_crystal(tmp_path / "POSCAR")
        assert density_g_cm3(found) == pytest.approx(2.329, rel=1e-3)

    def test_a_length_in_nanometres_is_no_crystal(self, tmp_path):
        atoms = bulk("Si", a=0.5431, cubic=True)
        ase.io.write(tmp_path / "c.extxyz", atoms)
        assert "are the lengths in angstrom" in refused(tmp_path, (tmp_path / "c.extxyz").read_text(), "c.extxyz")

    def test_a_cell_as_long_as_a_hand_is_refused_at_once(self, tmp_path):
        atoms = bulk("Si", a=5.431, cubic=True)
        atoms.cell[2, 2] = 1e9
        ase.io.write(tmp_path / "c.extxyz", atoms)
        assert "expected 2 to 1000 A^3 for each" in refused(
            tmp_path, (tmp_path / "c.extxyz").read_text(), "c.extxyz"
        )

    def test_a_trajectory_is_not_a_crystal(self, tmp_path):
        ase.io.write(tmp_path / "c.extxyz", [bulk("Si", a=5.431), bulk("Si", a=5.5)])
        text = (tmp_path / "c.extxyz").read_text()
        assert "holds 2 structures; keep the one" in refused(tmp_path, text, "c.extxyz")

    def test_isotopes_are_refused_and_masses_of_tables_are_not(self, tmp_path):
        atoms = bulk("Si", a=5.431)
        for mass, fits in ((28.086, True), (28.0, True), (29.9738, False)):
            atoms.set_masses([mass, mass])
            ase.io.write(tmp_path / "c.extxyz", atoms)
            text = (tmp_path / "c.extxyz").read_text()
            assert "masses:R:1" in text
            if fits:
                assert len(read_crystal(tmp_path / "c.extxyz")[0]) == 2
            else:
                assert "Si of 29.9738 u, the mean of the element is 28.085 u" in refused(
                    tmp_path, text, "c.extxyz"
                )

    def test_a_sheet_is_no_crystal(self, tmp_path):
        sheet = graphene(vacuum=8)
        ase.io.write(tmp_path / "c.extxyz", sheet)
        text = (tmp_path / "c.extxyz").read_text()
        assert "not periodic along all three axes" in refused(tmp_path, text, "c.extxyz")

    def test_a_large_cell_is_refused_before_its_symmetry_is_searched(self, tmp_path):
        ase.io.write(tmp_path / "c.extxyz", bulk("Si", cubic=True).repeat(8))
        line = refused(tmp_path, (tmp_path / "c.extxyz").read_text(), "c.extxyz")
        assert "4096 atoms, expected the cell of a crystal of at most 4000" in line

    def test_numbers_that_are_none_are_refused(self, tmp_path):
        text = '1\nLattice="4 0 0 0 4 0 0 0 4"\nSi 0 nan 0\n'
        assert "not a finite number" in refused(tmp_path, text, "c.extxyz")

    def test_two_atoms_in_one_place_are_refused(self, tmp_path):
        text = '2\nLattice="4 0 0 0 4 0 0 0 4"\nSi 0 0 0\nSi 4 0 0\n'
        assert "overlapping atoms: Si 0 and Si 1 are 0.00 A apart" in refused(tmp_path, text, "c.extxyz")
