"""Proper orthogonal descriptors: rows that are gradients, and files that run as they were fitted."""

import dataclasses

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from cascade_driver.errors import EngineError, InputError
from cascade_driver.simulation.lammps_engine import LammpsEngine
from cascade_driver.simulation.potential import ZblSwitch
from cascade_driver.training.descriptors import two_alone
from cascade_driver.training.export import About, bodies_of, write_potential
from cascade_driver.training.pod import PodForm
from cascade_driver.validation.calculator import calculator
from cascade_driver.validation.zbl import dimer, numbers_of, zbl

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


def _written(folder, coefficients):
    """Return the potential of some coefficients."""
    about = About(title="POD", description="", origin="test")
    bodies = bodies_of(FORM, coefficients, name="own")
    return write_potential(folder / "own", species=FORM.species, zbl=SWITCH, bodies=bodies, about=about)


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
    made = _written(tmp_path, coefficients)
    rows = FORM.rows(box)
    box.calc = calculator(made)  # no two atoms are so close that the core is felt
    assert box.get_potential_energy() == pytest.approx(rows.energy @ coefficients, abs=1e-6)
    np.testing.assert_allclose(box.get_forces(), np.tensordot(coefficients, rows.forces_per_A, 1), atol=1e-6)
    np.testing.assert_allclose(box.get_stress(), coefficients @ rows.stress_per_A3, atol=1e-6)


def test_columns_have_one_name_each():
    columns = np.concatenate(list(FORM.blocks.values()))
    assert sorted(columns) == list(range(FORM.size))
    assert {p.rows.shape[1] for p in FORM.penalties()} == {FORM.size}


def test_an_atom_without_neighbours_has_its_constant_alone(tmp_path):
    """In the rows as in LAMMPS' pair style, which met the others first."""
    near = Atoms("AlAlO", positions=[[0, 0, 0], [0, 2.5, 0], [2, 0, 0]], cell=[20] * 3, pbc=True)
    alone = near + Atoms("O", positions=[[9, 9, 9]])
    coefficients = np.random.default_rng(1).normal(scale=0.1, size=FORM.size)
    added = FORM.rows(alone).energy - FORM.rows(near).energy
    np.testing.assert_array_equal(np.flatnonzero(np.abs(added) > 1e-12), FORM.blocks["one_body O"])
    engine = LammpsEngine(potential=_written(tmp_path, coefficients))
    engine.build(near)
    before = engine.potential_energy_eV()
    engine.set_position(2, np.array([9.0, 9.0, 9.0]))  # it had neighbours when the box was made
    two = FORM.rows(near[:2]).energy @ coefficients + coefficients[FORM.blocks["one_body O"][0]]
    assert before == pytest.approx(FORM.rows(near).energy @ coefficients, abs=1e-6)
    assert engine.potential_energy_eV() == pytest.approx(two, abs=1e-6)
    engine.close()


def test_a_box_at_which_pod_would_crash_is_refused(tmp_path):
    engine = LammpsEngine(potential=_written(tmp_path, np.zeros(FORM.size)))
    with pytest.raises(EngineError, match="atom 2 has no neighbour within 5 A, at which LAMMPS' POD may crash"):
        engine.build(Atoms("AlAlO", positions=[[0, 0, 0], [9, 9, 9], [0, 0, 18]], cell=[20] * 3, pbc=True))
    engine.close()


def test_two_atoms_of_a_pod_can_be_taken_apart(tmp_path):
    """The contract's curves of pairs, beside those of the rows: the energy counts from atoms far apart."""
    coefficients = np.random.default_rng(1).normal(scale=0.1, size=FORM.size)
    engine = LammpsEngine(potential=_written(tmp_path, coefficients))
    distances = np.array([3.0, 2.0, 1.3])
    found = dimer(engine, ("Al", "O"), distances, reach_A=4.0).energy_eV
    engine.close()
    constants = [FORM.blocks[f"one_body {s}"][0] for s in FORM.species]
    wanted = [FORM.rows(two_alone(("Al", "O"), r)).energy @ coefficients for r in distances]
    np.testing.assert_allclose(found, np.array(wanted) - coefficients[constants].sum(), atol=1e-6)


def test_descriptors_held_in_the_core_leave_zbl_alone_in_a_crystal(box):
    """In surroundings that the penalty has not seen; coefficients that it has not held push as hard as ZBL."""
    form = dataclasses.replace(FORM, inner_A=0.0, inverse_degree=0, bessel_degree=4)
    rows = next(one.rows for one in form.penalties() if one.name == "pod_core").toarray()
    free = np.random.default_rng(2).normal(scale=300.0, size=form.size)
    held = np.linalg.solve(np.eye(form.size) + 1e6 * rows.T @ rows, free)
    box.positions[1] = box.positions[2] + [0.3, 0.2, 0.1]
    apart = box.get_distance(1, 2, mic=True)
    pushed = form.rows(box).forces_per_A[:, 1]
    limit = 0.1 * abs(zbl(apart, numbers=numbers_of(("Al", "Al")))[1])
    assert np.linalg.norm(held @ pushed) < limit < np.linalg.norm(free @ pushed)
    assert np.linalg.norm(held) > 0.1 * np.linalg.norm(free)


def test_higher_orders_take_their_functions_from_lower_ones():
    with pytest.raises(InputError, match="each order takes its functions from the one before"):
        PodForm(species=("Al",), radial=3, triples_radial=5)
