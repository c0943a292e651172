"""Monoclinic crystals in an orthogonal supercell: the same lattice, its directions, its energies, a cascade."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.neighborlist import neighbor_list

from cascade_driver.cli import main
from cascade_driver.schema import build, plain
from cascade_driver.simulation.crystal import (
    CrystalSpec,
    assemble,
    axes_in_box_A,
    constituents,
    named_or_file,
    orientation_said,
    orthogonal_cell,
    resolved,
)
from cascade_driver.simulation.crystal_file import density_g_cm3, read_crystal
from cascade_driver.simulation.frame import direction_in_box
from cascade_driver.simulation.lammps_engine import LammpsEngine
from cascade_driver.simulation.potential import Potential, ZblSwitch
from cascade_driver.validation.calculator import calculator
from cascade_driver.validation.zbl import join_core

# Howard, Hill & Reichert, Acta Cryst. B44, 116 (1988).
BADDELEYITE = """data_baddeleyite
_cell_length_a 5.1505
_cell_length_b 5.2116
_cell_length_c 5.3173
_cell_angle_alpha 90
_cell_angle_beta {beta}
_cell_angle_gamma {gamma}
_space_group_name_H-M_alt '{group}'
_chemical_formula_sum 'Zr O2'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Zr1 Zr 0.2754 0.0395 0.2083
O1 O 0.0700 0.3317 0.3447
O2 O 0.4496 0.7569 0.4792
"""


def baddeleyite(
    folder: Path, *, beta: float = 99.230, gamma: float = 90.0, group: str = "P 1 21/c 1"
) -> CrystalSpec:
    path = folder / "zro2.cif"
    path.write_text(BADDELEYITE.format(beta=beta, gamma=gamma, group=group))
    return named_or_file(str(path))


def test_baddeleyite_is_built_in_a_box_of_right_angles(tmp_path):
    spec = baddeleyite(tmp_path)
    cell = constituents(spec)["file"]
    assert cell.cell.angles() == pytest.approx([90, 90, 90])
    # CRC Handbook: 5.68 g/cm3 of the powder; JCPDS 37-1484 5.817 by diffraction.
    assert density_g_cm3(cell) == pytest.approx(5.817, rel=2e-3)
    # Seven-fold zirconium from 2.05 A on, the mark of this structure (Howard et al. 1988).
    i, distance_A = neighbor_list("id", cell, {("Zr", "O"): 2.6})
    of_zr = cell.symbols[i] == "Zr"
    assert of_zr.sum() == 7 * (cell.symbols == "Zr").sum()
    assert 2.04 < distance_A.min() < 2.06
    assert 2.25 < distance_A.max() < 2.29


def test_directions_are_those_of_the_monoclinic_cell(tmp_path):
    spec = baddeleyite(tmp_path)
    axes = axes_in_box_A(spec, constituents(spec))
    assert np.linalg.norm(axes, axis=1) == pytest.approx([5.1505, 5.2116, 5.3173], abs=1e-4)
    a, b, c = axes / np.linalg.norm(axes, axis=1)[:, None]
    assert a @ c == pytest.approx(np.cos(np.radians(99.230)), abs=1e-4)
    assert (abs(a @ b), abs(b @ c)) == pytest.approx((0, 0), abs=1e-6)
    # [0 1 0] and (0 1 0) coincide across the plane; [1 0 0] and (1 0 0) differ by beta - 90 degrees.
    assert direction_in_box("[0 1 0]", axes_A=axes) == pytest.approx(direction_in_box("(0 1 0)", axes_A=axes))
    normal, along = (np.array(direction_in_box(d, axes_A=axes)) for d in ("(1 0 0)", "[1 0 0]"))
    assert np.degrees(np.arccos(normal @ along)) == pytest.approx(9.230, abs=1e-3)
    said = orientation_said(spec)
    assert "x along [2 0 1], y along [0 1 0], z along [-2 0 5]" in said
    assert "sheared by up to 0.01 degrees to be orthogonal" in said


@pytest.mark.parametrize("beta", [91.0, 91.47, 95.0, 103.3, 119.9])
def test_any_beta_has_a_box_that_is_sheared_by_less_than_a_tenth_of_a_degree(beta):
    lattice = Atoms("W", cell=[5.03, 5.86, 5.07, 90, beta, 90], pbc=True)
    cell = orthogonal_cell(lattice, oriented=False)
    assert cell.cell.angles() == pytest.approx([90, 90, 90])
    assert cell.get_volume() / len(cell) == pytest.approx(lattice.get_volume(), rel=1e-5)
    # Each atom sees its neighbours where they were, but for the shear.
    before, after = (np.sort(neighbor_list("d", a, 9.0)) for a in (lattice, cell))
    assert np.abs(after.reshape(len(before), -1).mean(axis=1) - before).max() < 2e-3 * 9


def bound(folder: Path) -> Potential:
    """Return Zr and O that are bound by a pair potential, on a ZBL core."""
    body = folder / "pairs.lmp"
    body.write_text(
        "pair_style morse 6.0\npair_coeff 1 1 0.3 1.4 3.5\npair_coeff 1 2 2.0 1.8 2.15\n"
        "pair_coeff 2 2 0.1 1.5 2.8\npair_modify shift yes\n"
    )
    radii = ZblSwitch(inner_A=0.8, outer_A=1.5)
    return join_core(
        body,
        species=("Zr", "O"),
        switches=dict.fromkeys(("Zr-Zr", "Zr-O", "O-O"), radii),
        out=folder / "zro2-pairs",
        make_engine=lambda made: LammpsEngine(potential=made),
    )


def test_energy_and_forces_are_those_of_the_monoclinic_cell(tmp_path):
    potential = bound(tmp_path)
    # cos(beta) = -a / (3 c): 3 c + a is exactly across a, so that nothing is sheared.
    beta = float(np.degrees(np.arccos(-5.1505 / (3 * 5.3173))))
    spec = baddeleyite(tmp_path, beta=beta)
    box = assemble(spec, constituents(spec))
    file, _ = read_crystal(Path(str(spec.file)))
    whole = {}
    for name, atoms in (("file", file), ("box", box)):
        atoms.calc = calculator(potential)
        forces = np.linalg.norm(atoms.get_forces(), axis=1)
        whole[name] = (atoms.get_potential_energy() / len(atoms), np.unique(np.round(forces, 6)))
    assert len(box) > len(file)
    assert whole["box"][0] == pytest.approx(whole["file"][0], abs=1e-8)
    np.testing.assert_allclose(whole["box"][1], whole["file"][1], atol=2e-6)


def test_a_cascade_runs_along_a_direction_of_the_crystal(tmp_path, capsys):
    # Silicon sheared by three degrees is monoclinic, and stable where its cell is kept.
    silicon = bulk("Si", "diamond", a=5.431, cubic=True)
    tilted = silicon.cell.array + np.array([[0, 0, 0], [0, 0, 0], [5.431 * np.sin(np.radians(3)), 0, 0]])
    silicon.set_cell(tilted, scale_atoms=True)
    silicon.write(tmp_path / "sheared.extxyz")
    given = tmp_path / "sheared.toml"
    given.write_text(
        """
[crystal]
file = "sheared.extxyz"
minimum_atoms = 1000
relax_cell = false
[potential]
name = "si-tersoff-zbl"
[thermal]
temperature_K = 50
equilibration_ps = 0.2
snapshot_interval_ps = 0.1
[follow]
duration_ps = 0.3
max_displacement_A = 0.03
[[recoils]]
species = "Si"
recoil_energies_eV = [30]
directions = { scheme = "list", vectors = ["[0 0 1]"] }
snapshots = 1
"""
    )
    run = tmp_path / "run"
    assert main(["run", str(given), "--out", str(run), "--workers", "1"]) == 0
    said = capsys.readouterr().out
    assert "along [0 1 0]" in said
    assert main(["show", str(run), "1"]) == 0
    assert "along [0 1 0]" in capsys.readouterr().out
    (record,) = [json.loads(path.read_text()) for path in run.glob("cascades/*/record.json")]
    assert record["physics"]["given_energy_eV"] == pytest.approx(30, abs=1e-6)
    assert abs(record["physics"]["energy_drift_eV"]) < 0.1
    axes = np.array(record["spec"]["protocol"]["crystal"]["frame"]["axes_A"])
    along = axes[2] / np.linalg.norm(axes[2])
    assert record["spec"]["knock_on"]["direction"] == pytest.approx(along, abs=1e-6)
    assert np.degrees(np.arccos(along @ axes[0] / 5.431)) == pytest.approx(87, abs=0.01)


def test_a_triclinic_crystal_is_built_in_a_box_whose_shear_is_told(tmp_path):
    spec = baddeleyite(tmp_path, beta=97.3, gamma=94.1, group="P 1")
    said = orientation_said(spec)
    told = re.fullmatch(
        r"box: x along \[.*\], y along \[.*\], z along \[.*\] of .* sheared by up to (.*) degrees .*", said
    )
    assert 0.01 < float(told[1]) < 0.3
    file, _ = read_crystal(Path(str(spec.file)))
    cell = constituents(spec)["file"]
    assert cell.cell.angles() == pytest.approx([90, 90, 90])
    assert density_g_cm3(cell) == pytest.approx(density_g_cm3(file), rel=1e-4)
    # Each bond is there, longer or shorter by no more than half of the shear of 5e-3.
    copies = len(cell) // len(file)
    before, after = (np.sort(neighbor_list("d", a, {("Zr", "O"): 2.6})) for a in (file, cell))
    np.testing.assert_allclose(after, np.repeat(before, copies), rtol=2.5e-3)
    # Where the box is longest a lattice vector of the file leads, to within the shear.
    axes = axes_in_box_A(spec, {"file": cell})
    for edge, indices in zip(cell.cell.array, spec.frame.edges, strict=True):
        along = np.array(indices) @ axes
        assert along @ edge / np.linalg.norm(along) / np.linalg.norm(edge) > 1 - 5e-3**2


def test_the_frame_of_a_sheared_box_is_kept_and_found_again(tmp_path):
    spec = baddeleyite(tmp_path, beta=97.3, gamma=94.1, group="P 1")
    again = build(CrystalSpec, plain(spec), origin="plan")
    assert again == spec
    assert resolved(again, tmp_path) == spec
