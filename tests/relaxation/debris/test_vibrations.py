"""Partial Hessians: a chain and oscillators in closed form, a vacancy and its saddle on the real engine."""

from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk

from cascade_driver.relaxation.debris.path import PathSpec, find_path
from cascade_driver.relaxation.debris.search import Landscape
from cascade_driver.relaxation.debris.tunnelling import HBAR_AMU12_A_eV12
from cascade_driver.relaxation.debris.vibrations import (
    Vibrations,
    mass_weighted_hessian,
    modes_of,
    moving_atoms,
    prefactor_Hz,
    vibrations_at,
    zero_point_of,
)
from cascade_driver.simulation.lammps_engine import LammpsEngine
from cascade_driver.simulation.potential import load_potential
from cascade_driver.simulation.spec import QuenchSpec
from cascade_driver.units import HBAR_eV_s


def chain_modes(atoms, *, stiffness=2.0, mass=28.0):
    """Modes of a chain between two walls, the same spring along x, y and z."""

    def forces(x):
        held = np.vstack([np.zeros(3), x, np.zeros(3)])
        return stiffness * (held[2:] - 2 * held[1:-1] + held[:-2])

    hessian = mass_weighted_hessian(forces, np.zeros((atoms, 3)), np.full(atoms, mass))
    return modes_of(hessian, order=np.arange(atoms))


def test_modes_of_a_chain_between_walls_are_the_closed_form():
    found = chain_modes(8)
    k = np.arange(1, 9)
    expected = 2 * np.sqrt(2.0 / 28.0) * np.sin(np.pi * k / 18) * HBAR_AMU12_A_eV12
    np.testing.assert_allclose(found.quanta_eV, np.repeat(expected, 3), rtol=1e-9)
    assert found.growing == 0
    assert found.zero_point_eV[-1] == pytest.approx(1.5 * expected.sum())


def test_zero_point_energy_of_some_atoms_is_that_with_the_others_held():
    # the first four of eight between a wall and a fifth that is held: a shorter chain
    assert chain_modes(8).zero_point_eV[1] == pytest.approx(chain_modes(4).zero_point_eV[-1])
    assert chain_modes(8).zero_point_eV[0] == pytest.approx(chain_modes(2).zero_point_eV[-1])


def test_a_step_over_a_kink_of_the_forces_gives_the_mean_curvature_over_it():
    # 2 eV/A^2 within 0.02 A and 6 outside, as at the cutoff of a bond: over 0.05 A (2*0.02 + 6*0.03) / 0.05.
    def forces(x):
        return -(2 * x + 4 * np.sign(x) * np.maximum(np.abs(x) - 0.02, 0.0))

    found = [mass_weighted_hessian(forces, np.zeros((1, 3)), np.ones(1), step_A=h)[0, 0] for h in (0.01, 0.05)]
    assert found == pytest.approx([2.0, 4.4])
    assert mass_weighted_hessian(forces, np.zeros((1, 3)), np.ones(1))[0, 0] == pytest.approx(4.4)


def test_asymmetry_is_known_to_what_another_step_and_more_atoms_change_of_it():
    one, other = (
        Vibrations(quanta_eV=np.ones(3), growing=0, zero_point_eV=z, by_short_step_eV=short)
        for z, short in (((1.0, 2.0, 4.0), 1.1), ((1.2, 2.5, 4.7), 1.35))
    )
    pair = zero_point_of(one, other, None)
    assert pair.asymmetry_eV == pytest.approx(0.7)
    assert pair.unsettled_eV == pytest.approx(0.2)
    assert pair.step_eV == pytest.approx(0.05)  # 0.25 by the short step, 0.2 by the long one
    assert pair.error_eV == pytest.approx(np.hypot(0.2, 0.05))
    assert zero_point_of(one, replace(other, by_short_step_eV=None), None).step_eV is None


def test_prefactor_is_the_ratio_of_products_and_a_point_without_a_growing_mode_is_no_saddle():
    def modes(curvatures):
        return modes_of(np.diag(curvatures), order=np.arange(len(curvatures) // 3))

    minimum, saddle = modes([1.0, 4.0, 9.0]), modes([-2.0, 1.0, 16.0])
    assert (saddle.growing, len(saddle.quanta_eV)) == (1, 2)
    # omega: 1 * 2 * 3 over 1 * 4
    expected = 1.5 * HBAR_AMU12_A_eV12 / HBAR_eV_s / (2 * np.pi)
    assert prefactor_Hz(minimum, saddle) == pytest.approx(expected)
    pair = zero_point_of(minimum, minimum, saddle)
    assert pair.prefactors_Hz == pytest.approx((expected, expected))
    assert pair.barrier_eV == pytest.approx(0.5 * HBAR_AMU12_A_eV12 * (1 + 4 - 1 - 2 - 3))
    assert zero_point_of(minimum, saddle, minimum).prefactors_Hz is None
    assert zero_point_of(minimum, minimum, None).barrier_eV is None


def test_moving_atoms_are_those_that_move_and_not_what_drifts():
    start = np.zeros((5, 3))
    drifted = start + 7.0
    drifted[3] += [0.5, 0, 0]
    further = start.copy()
    further[1] += [0, 0, 0.9]
    assert moving_atoms([start, drifted, further], most=2).tolist() == [1, 3]


def test_a_hop_between_equal_sites_has_no_asymmetry_and_one_growing_mode():
    atoms = bulk("Al", cubic=True, a=4.05).repeat(3)
    hole = atoms.positions[0].copy()
    del atoms[0]
    hopper = int(np.argmin(np.linalg.norm(atoms.positions - hole, axis=1)))
    loaded = load_potential("al-eam-zbl")
    landscape = Landscape(
        atoms,
        active=np.array([], dtype=np.int64),
        make_engine=lambda: LammpsEngine(potential=loaded),
        quench=QuenchSpec(force_tolerance_eV_A=1e-4, max_iterations=5000),
    )
    one = landscape.minimum(atoms.get_positions()).positions_A
    hopped = one.copy()
    hopped[hopper] = hole
    other = landscape.minimum(hopped).positions_A
    path = find_path(landscape, one, other, PathSpec(images=3))
    assert path.saddle_A is not None
    assert hopper in path.movers
    moving = moving_atoms([one, other, path.saddle_A], most=20)
    assert moving[0] == hopper
    at = [vibrations_at(landscape, place, moving) for place in (one, other, path.saddle_A)]
    landscape.close()
    assert [vibrations.growing for vibrations in at] == [0, 0, 1]
    pair = zero_point_of(*at)
    # The atoms held lie differently about both sites; of those that move, the atom and its neighbours are alike.
    assert pair.asymmetry_eV == pytest.approx(0, abs=2e-3)
    # 60 modes of at most the 40 meV of aluminium
    assert 0.6 < at[0].zero_point_eV[-1] < 0.5 * 60 * 0.040
    # The atom squeezes through a window: the barrier changes by some of the 18 meV of its three modes.
    assert abs(pair.barrier_eV) < 0.018
    # The forces of an embedded-atom potential are smooth: another step is no other answer.
    assert abs(pair.step_eV) < 1e-3
    for prefactor in pair.prefactors_Hz:
        assert 1e12 < prefactor < 1e14
    # Negative control: with the first moved atom alone the barrier's zero-point energy is another.
    assert abs(at[2].zero_point_eV[0] - at[0].zero_point_eV[0] - pair.barrier_eV) > 1e-4
