"""Descent with the crystal's stiffness: the same minima as without, in far fewer evaluations."""

from functools import partial

import numpy as np
import pytest
from ase.build import bulk

from cascade_driver.simulation.descent import Stiffness, _SOFTEST_eV_A2, descend, measure_stiffness
from cascade_driver.simulation.lammps_engine import LammpsEngine
from cascade_driver.simulation.potential import load_potential

CELLS = (3, 4, 3)


@pytest.fixture(scope="module")
def edge_A():
    engine = LammpsEngine(potential=load_potential("si-tersoff-zbl"))
    engine.build(bulk("Si", cubic=True, a=5.43))
    edge = float(engine.relax_box(force_tolerance_eV_A=1e-8).mean())
    engine.close()
    return edge


@pytest.fixture(scope="module")
def engine(edge_A):
    engine = LammpsEngine(potential=load_potential("si-tersoff-zbl"))
    engine.build(bulk("Si", cubic=True, a=edge_A).repeat(CELLS))
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def sites_A(edge_A):
    return bulk("Si", cubic=True, a=edge_A).repeat(CELLS).get_positions()


def stiffness_of(engine, sites_A, edge_A):
    return measure_stiffness(
        engine, sites_A=sites_A, lengths_A=edge_A * np.array(CELLS), cell_A=edge_A * np.ones(3)
    )


@pytest.fixture(scope="module")
def crystal(engine, sites_A, edge_A) -> Stiffness:
    return stiffness_of(engine, sites_A, edge_A)


def test_small_displacements_feel_minus_the_stiffness_times_themselves(engine, sites_A, crystal):
    displacement = np.random.default_rng(1).normal(scale=1e-4, size=sites_A.shape)
    engine.set_positions(sites_A + displacement)
    engine.potential_energy_eV()
    stiffness_times_displacement = (
        crystal._applied(crystal._power(1.0), displacement) - _SOFTEST_eV_A2 * displacement
    )  # without the constant that keeps it from being singular
    np.testing.assert_allclose(stiffness_times_displacement, -engine.forces_eV_A(), atol=2e-5)


def test_the_inverse_undoes_the_stiffness(sites_A, crystal):
    displacement = np.random.default_rng(2).normal(size=sites_A.shape)
    forces = crystal._applied(crystal._power(1.0), displacement)
    np.testing.assert_allclose(crystal.displacement_A(forces), displacement, atol=1e-10)


class _Counted:
    """An engine that counts its evaluations."""

    def __init__(self, engine):
        self._engine = engine
        self.evaluations = 0

    def __getattr__(self, name):
        return getattr(self._engine, name)

    def potential_energy_eV(self):
        self.evaluations += 1
        return self._engine.potential_energy_eV()


def test_a_shaken_crystal_comes_to_rest_in_a_few_evaluations(engine, sites_A, crystal):
    engine.set_positions(sites_A)
    bottom = engine.potential_energy_eV()
    engine.set_positions(sites_A + np.random.default_rng(3).normal(scale=0.1, size=sites_A.shape))
    counted = _Counted(engine)
    end = descend(counted, crystal, force_tolerance_eV_A=1e-3, max_iterations=1000)
    assert end.potential_energy_eV == pytest.approx(bottom, abs=1e-6)
    assert end.largest_force_eV_A < 1e-3
    # Conjugate gradients in plain coordinates, two evaluations a step, need about 100.
    assert counted.evaluations < 40


def test_damage_ends_where_conjugate_gradients_end_if_they_begin(engine, sites_A, crystal):
    """A crowded pair on one site: from the start the stiffness comes down to another minimum, 0.6 eV higher."""
    start = sites_A.copy()
    start[40] += [1.2, 0.9, 0.3]

    def ended(way):
        engine.set_positions(start)
        end = way(force_tolerance_eV_A=1e-4, max_iterations=5000)
        assert end.largest_force_eV_A < 1e-4
        return end

    nearest = ended(engine.minimise)
    finished = ended(partial(descend, engine, crystal))
    assert finished.potential_energy_eV == pytest.approx(nearest.potential_energy_eV, abs=1e-6)
    np.testing.assert_allclose(finished.positions_A, nearest.positions_A, atol=1e-3)
    alone = ended(partial(descend, engine, crystal, below_eV_A=np.inf))
    assert abs(alone.potential_energy_eV - nearest.potential_energy_eV) > 0.1


def test_what_is_not_a_crystal_of_whole_cells_has_no_stiffness(engine, sites_A, edge_A):
    moved = sites_A.copy()
    moved[10, 0] += 0.1
    assert stiffness_of(engine, moved, edge_A) is None
    assert stiffness_of(engine, sites_A[:-1], edge_A) is None
