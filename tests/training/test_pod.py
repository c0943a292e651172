"""Proper orthogonal descriptors: rows that are gradients, and files that run as they were fitted."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from cascade_driver.errors import InputError
from cascade_driver.simulation.potential import ZblSwitch
from cascade_driver.training.export import About, bodies_of, write_potential
from cascade_driver.training.pod import PodForm
from cascade_driver.validation.calculator import calculator

FORM = PodForm(
    species=("Al", "O"),
    cutoff_A=4.0,
    radial=4,
    triples_radial=3,
    triples_angular=2,
    quadruples_radial=2,
    quadruples_angular=1,
    bessel_degree=3,
    inverse_degree=6,
)
SWITCH = {name: ZblSwitch(inner_A=0.6, outer_A=1.2) for name in ("Al-Al", "Al-O", "O-O")}


@pytest.fixture
def box():
    """Eleven shaken atoms of two kinds in a skewed cell."""
    atoms = bulk("Al", cubic=True).repeat((3, 1, 1))
    atoms.set_cell(atoms.cell.array + np.array([[0, 0, 0], [0.4, 0, 0], [0.3, -0.5, 0]]), scale_atoms=True)
    atoms.symbols[[0, 3, 5, 8]] = "O"
    del atoms[11]
    atoms.rattle(0.1, seed=4)
    return atoms


def test_forces_are_minus_the_gradient_of_each_row(box):
    rows = FORM.rows(box)
    for atom, axis in ((0, 0), (4, 2), (10, 1)):
        ends = []
        for step in (1e-4, -1e-4):
            moved = box.copy()
            moved.positions[atom, axis] += step
            ends.append(FORM.rows(moved).energy)
        slope = (ends[0] - ends[1]) / 2e-4
        np.testing.assert_allclose(rows.forces_per_A[:, atom, axis], -slope, atol=1e-5 * np.abs(slope).max())
        assert np.abs(slope).max() > 0.1


def test_what_is_exported_runs_as_it_was_fitted(box, tmp_path):
    """LAMMPS' pair style with random coefficients: energy, forces and stress are those of the rows."""
    coefficients = np.random.default_rng(1).normal(scale=0.1, size=FORM.size)
    about = About(title="POD", description="", origin="test")
    bodies = bodies_of(FORM, coefficients, name="own")
    made = write_potential(tmp_path / "own", species=FORM.species, zbl=SWITCH, bodies=bodies, about=about)
    rows = FORM.rows(box)
    box.calc = calculator(made)  # no two atoms are so close that the core is felt
    assert box.get_potential_energy() == pytest.approx(rows.energy @ coefficients, abs=1e-6)
    np.testing.assert_allclose(box.get_forces(), np.tensordot(coefficients, rows.forces_per_A, 1), atol=1e-6)
    np.testing.assert_allclose(box.get_stress(), coefficients @ rows.stress_per_A3, atol=1e-6)


def test_columns_have_one_name_each():
    columns = np.concatenate(list(FORM.blocks.values()))
    assert sorted(columns) == list(range(FORM.size))
    assert {p.rows.shape[1] for p in FORM.penalties()} == {FORM.size}


def test_an_atom_without_neighbours_is_refused_before_lammps_crashes():
    with pytest.raises(InputError, match="atom 1 of Al2O has no neighbour within 4 A"):
        FORM.rows(Atoms("AlAlO", positions=[[0, 0, 0], [9, 9, 9], [2, 0, 0]], cell=[20] * 3, pbc=True))


def test_higher_orders_take_their_functions_from_lower_ones():
    with pytest.raises(ValueError, match="each order takes its functions from the one before"):
        PodForm(species=("Al",), radial=3, triples_radial=5)
