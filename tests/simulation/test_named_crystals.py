"""Crystals by name against the literature: densities, bonds, symmetry, sound."""

import numpy as np
import pytest
import spglib
from ase.neighborlist import neighbor_list

from cascade_driver.errors import InputError
from cascade_driver.schema import build
from cascade_driver.simulation.crystal import (
    CrystalSpec,
    assemble,
    axes_in_box_A,
    constituents,
    orientation_said,
)
from cascade_driver.simulation.crystal_file import density_g_cm3, quiet_spglib
from cascade_driver.simulation.frame import direction_in_box
from cascade_driver.simulation.named_crystals import named_crystals
from cascade_driver.simulation.spec import Protocol, ThermalSpec, thermal_of, thermal_said
from cascade_driver.target import DENSITIES_g_cm3
from cascade_driver.training.validate import debye_temperature_K


def cell_of(name: str):
    return constituents(CrystalSpec(name=name, minimum_atoms=1))[name]


# CRC Handbook of Chemistry and Physics, physical constants of inorganic compounds and of the elements; GaAs:
# Blakemore, J. Appl. Phys. 53, R123 (1982); TeO2: Uchida & Ohmachi, J. Appl. Phys. 40, 4692 (1969).
@pytest.mark.parametrize(
    ("name", "density"),
    [
        ("C", 3.513),
        ("Si", 2.3296),
        ("Ge", 5.323),
        ("Al", 2.70),
        ("GaAs", 5.3176),
        ("LiF", 2.640),
        ("Al2O3", 3.99),
        ("TeO2", 5.99),
        ("CaWO4", 6.06),
        ("SiC", 3.21),
        ("W", 19.3),
        ("NaI", 3.67),
    ],
)
def test_the_density_is_the_measured_one(name, density):
    assert density_g_cm3(cell_of(name)) == pytest.approx(density, rel=0.01)


# Other collections than the sources that `named_crystals.toml` names: xrayutilities (at ac3ce85c,
# predefined_materials.py) of C to W, xraylib (at f94a3f50, Crystals.dat) of LiF (Wyckoff) and Al2O3 (Ballirano &
# Caminiti 2001), COD 1011031 of SiC (1918).
@pytest.mark.parametrize(
    ("name", "edges_A"),
    [
        ("C", (3.5668,)),
        ("Si", (5.43104,)),
        ("Ge", (5.65785,)),
        ("GaAs", (5.65325,)),
        ("Al", (4.04958,)),
        ("W", (3.1652,)),
        ("LiF", (4.0263,)),
        ("Al2O3", (4.758846, 12.99306)),
        ("SiC", (4.358,)),
    ],
)
def test_the_edges_are_those_of_another_collection(name, edges_A):
    a, _, c = named_crystals()[name].cell[:3]
    # Handbooks differ by 0.04 %: temperature, rounding, the sample.
    assert (a, c) == pytest.approx((edges_A[0], edges_A[-1]), rel=5e-4)


@pytest.mark.parametrize(
    ("name", "pair", "bonds_A"),
    [
        # Lewis, Schwarzenbach & Flack (1982); Thomas (1988).
        ("Al2O3", "AlO", {1.855: 3, 1.972: 3}),
        ("TeO2", "TeO", {1.879: 2, 2.121: 2}),
    ],
)
def test_bonds_are_the_measured_ones(name, pair, bonds_A):
    cell = cell_of(name)
    i, j, d = neighbor_list("ijd", cell, 2.3)
    first = cell.symbols[i] == pair[:2]
    found, counts = np.unique(np.round(d[first], 3), return_counts=True)
    per_atom = counts / (cell.symbols == pair[:2]).sum()
    assert dict(zip(found.tolist(), per_atom.tolist(), strict=True)) == pytest.approx(bonds_A)
    assert set(cell.symbols[j[first]]) == {pair[2:]}


@pytest.mark.parametrize(
    ("name", "group", "atoms"),
    [
        ("C", 227, 8),
        ("Si", 227, 8),
        ("Ge", 227, 8),
        ("Al", 225, 4),
        ("GaAs", 216, 8),
        ("LiF", 225, 8),
        ("Al2O3", 167, 60),
        ("TeO2", 92, 12),
        ("CaWO4", 88, 24),
        ("SiC", 216, 8),
        ("W", 229, 2),
        ("NaI", 225, 8),
    ],
)
def test_the_orthogonal_cell_keeps_the_space_group(name, group, atoms):
    cell = cell_of(name)
    assert len(cell) == atoms
    with quiet_spglib():
        found = spglib.get_symmetry_dataset((cell.cell.array, cell.get_scaled_positions(), cell.numbers))
    assert found.number == group


def test_every_name_has_a_crystal_of_its_formula():
    for name, named in named_crystals().items():
        (cell,) = constituents(CrystalSpec(name=name, minimum_atoms=1)).values()
        assert cell.symbols.formula.reduce()[0].count() == cell_of(name).symbols.formula.reduce()[0].count()
        assert set(cell.symbols) == set(build_formula(name))
        assert named.source
        assert named.debye_source


def test_every_name_has_the_density_of_its_cell_wherever_a_target_asks_for_it():
    """Handbook densities of `DENSITIES_g_cm3` against the measured cells: within 2 %."""
    for name in named_crystals():
        assert DENSITIES_g_cm3[name] == pytest.approx(density_g_cm3(cell_of(name)), rel=0.02), name


def build_formula(name: str) -> set[str]:
    from ase.formula import Formula

    return set(Formula(name).count())


def test_directions_of_sapphire_are_those_of_its_hexagonal_cell():
    spec = CrystalSpec(name="Al2O3", minimum_atoms=1)
    axes = axes_in_box_A(spec, constituents(spec))
    assert np.linalg.norm(axes, axis=1) == pytest.approx([4.7602, 4.7602, 12.9933], abs=1e-4)
    # [1 2 0] is perpendicular to [1 0 0] in a hexagonal cell; (0 0 1) is the basal plane, (1 0 0) a prism plane.
    assert direction_in_box("[1 0 0]", axes_A=axes) == pytest.approx((1, 0, 0))
    assert direction_in_box("[1 2 0]", axes_A=axes) == pytest.approx((0, 1, 0))
    assert direction_in_box("(0 0 1)", axes_A=axes) == pytest.approx((0, 0, 1))
    assert direction_in_box("(1 0 0)", axes_A=axes) == pytest.approx((np.cos(np.pi / 6), np.sin(np.pi / 6), 0))
    assert "x along [1 0 0], y along [1 2 0], z along [0 0 1]" in orientation_said(spec)
    assert len(assemble(spec, constituents(spec))) == 60


def cubic(c11: float, c12: float, c44: float) -> np.ndarray:
    return tetragonal(c11, c12, c12, c11, c44, c44)


def tetragonal(c11, c12, c13, c33, c44, c66) -> np.ndarray:
    found = np.diag([c11, c11, c33, c44, c44, c66]).astype(float)
    found[0, 1] = found[1, 0] = c12
    found[:2, 2] = found[2, :2] = c13
    return found


def sapphire() -> np.ndarray:
    # Goto, Anderson, Ohno & Yamamoto, J. Geophys. Res. 94, 7588 (1989), 296 K; C14 by its sign there.
    found = tetragonal(497.3, 162.8, 116.0, 500.9, 146.8, (497.3 - 162.8) / 2)
    for i, j, sign in ((0, 3, 1), (1, 3, -1), (4, 5, 1)):
        found[i, j] = found[j, i] = -21.9 * sign
    return found


# Elastic constants of room temperature (GPa), 1 to 5 % softer than those of the cold crystal: McSkimin & Andreatch
# (C 1972, Si and Ge 1963/64); Kittel ch. 3 (Al); Blakemore 1982 (GaAs); Briscoe & Squire 1957 (LiF, at 4.2 K);
# Uchida & Ohmachi 1969 (TeO2); Lambrecht et al., Phys. Rev. B 44, 3685 (1991), computed (SiC); Featherston &
# Neighbours, Phys. Rev. 130, 1324 (1963) (W).
@pytest.mark.parametrize(
    ("name", "stiffness"),
    [
        ("C", cubic(1079, 124, 578)),
        ("Si", cubic(165.7, 63.9, 79.6)),
        ("Ge", cubic(128.5, 48.3, 68.0)),
        ("Al", cubic(106.8, 60.7, 28.2)),
        ("GaAs", cubic(118.8, 53.8, 59.4)),
        ("LiF", cubic(124.6, 42.4, 64.9)),
        ("Al2O3", sapphire()),
        ("SiC", cubic(390, 142, 256)),
        ("W", cubic(522.4, 204.4, 160.8)),
        ("TeO2", tetragonal(55.7, 51.2, 21.8, 105.8, 26.5, 65.9)),
    ],
)
def test_the_debye_temperature_is_that_of_the_sound(name, stiffness):
    cell = cell_of(name)
    volume = cell.get_volume()
    sound_K = debye_temperature_K(stiffness, cell.get_masses().sum() / volume, len(cell) / volume)
    assert named_crystals()[name].debye_temperature_K == pytest.approx(sound_K, rel=0.08)


def test_the_rule_gives_three_eighths_of_the_debye_temperature():
    def temperature_K(name: str, rule: str = "zero-point-energy") -> float:
        return thermal_of(ThermalSpec(temperature=rule), CrystalSpec(name=name, minimum_atoms=1)).temperature_K

    # The published 133 K of CaWO4 (Soum-Sidikov et al. 2024) is this rule.
    assert temperature_K("CaWO4") == 133
    assert temperature_K("Si") == 242
    assert temperature_K("C") == 836
    assert temperature_K("CaWO4", "zero-point-width") == 88


def test_a_quantum_oscillator_of_the_debye_model_has_this_energy_and_width():
    # By the integrals of the Debye spectrum, in units of k Theta: <w>/2 = 3/8 and <1/w>/<1/w^2>/2 = 1/4.
    w = (np.arange(100_000) + 0.5) / 100_000
    g = 3 * w**2 / len(w)
    assert (g * w).sum() / 2 == pytest.approx(3 / 8, rel=1e-6)
    assert (g / w).sum() / (g / w**2).sum() / 2 == pytest.approx(1 / 4, rel=1e-6)


def test_a_temperature_by_rule_names_the_same_cascades_as_its_number():
    crystal = CrystalSpec(name="Ge", minimum_atoms=200)
    rule = Protocol(
        crystal=crystal,
        potential_name="p",
        potential_digest="0",
        thermal=thermal_of(ThermalSpec(temperature="zero-point-energy"), crystal),
    )
    number = Protocol(
        crystal=crystal, potential_name="p", potential_digest="0", thermal=ThermalSpec(temperature_K=140)
    )
    other = Protocol(
        crystal=crystal, potential_name="p", potential_digest="0", thermal=ThermalSpec(temperature_K=141)
    )
    assert rule.digest == number.digest != other.digest
    assert thermal_said(rule.thermal) == "140 K (zero-point-energy: 3/8 of the Debye temperature, 374 K)"


def test_a_rule_without_a_debye_temperature_is_refused_in_one_line():
    crystal = CrystalSpec(file="own.cif", minimum_atoms=1)
    with pytest.raises(InputError, match=r"no Debye temperature is known of own\.cif; give debye_temperature_K"):
        thermal_of(ThermalSpec(temperature="zero-point-energy"), crystal)
    with pytest.raises(InputError, match="no Debye temperature is known of Al/Si"):
        thermal_of(ThermalSpec(temperature="zero-point-energy"), CrystalSpec(name="Al/Si", minimum_atoms=1))
    given = ThermalSpec(temperature="zero-point-energy", debye_temperature_K=400)
    assert thermal_of(given, crystal).temperature_K == 150


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"temperature": "zero-point-energy", "temperature_K": 100}, "not both"),
        ({"debye_temperature_K": 400}, "belongs to a rule"),
        ({"temperature": "warm"}, "zero-point-energy"),
    ],
)
def test_a_temperature_is_given_once(content, said):
    with pytest.raises(InputError, match=said):
        build(ThermalSpec, content, origin="[thermal]")
