"""Saddle searches on the real engine: the hop of a vacancy, a perfect crystal, the region evaluated, coverage."""

import numpy as np
import pytest
from ase.build import bulk
from ase.constraints import FixAtoms

from cascade_driver.relaxation.debris.saddle import one_saddle_search
from cascade_driver.relaxation.debris.search import Landscape, SearchSpec, begin, coverage_of, near
from cascade_driver.simulation.lammps_engine import LammpsEngine
from cascade_driver.simulation.potential import load_potential
from cascade_driver.simulation.spec import QuenchSpec

SPEC = SearchSpec(explore_below_eV=0.0)


def landscape_of(atoms, active, centres, *, potential="al-eam-zbl", reach_A=12.0):
    loaded = load_potential(potential)
    return Landscape(
        atoms,
        active=np.array(active, dtype=np.int64),
        centres=np.array(centres, dtype=np.int64),
        make_engine=lambda: LammpsEngine(potential=loaded),
        quench=QuenchSpec(force_tolerance_eV_A=1e-4, max_iterations=5000),
        reach_A=reach_A,
    )


def test_searches_find_the_hops_of_a_vacancy_over_their_barrier():
    atoms = bulk("Al", cubic=True, a=4.05).repeat(3)
    hole = atoms.positions[0].copy()
    del atoms[0]
    apart = np.linalg.norm(atoms.get_positions() - hole, axis=1)
    landscape = landscape_of(atoms, np.arange(len(atoms)), np.argsort(apart)[:3])
    found = begin(landscape)
    while not found.times and found.searches < 40:
        one_saddle_search(landscape, found, SPEC, seed=1)
    assert found.searches == found.lost + found.unconnected + sum(found.times.values()) + found.too_high
    (pair,) = found.times
    energy, forces = landscape.energy_and_forces(found.saddles_A[pair])
    one, other = pair
    assert found.energies_eV[other] == pytest.approx(found.energies_eV[one], abs=1e-3)  # all sites are alike
    hopped = np.linalg.norm(found.positions_A[other] - found.positions_A[one], axis=1)
    # Another way to the saddle: by symmetry it lies half way; hold the atom there and relax the others.
    hopper = int(np.argmax(hopped))
    halfway = atoms.copy()
    halfway.positions[hopper] = 0.5 * (atoms.positions[hopper] + hole)
    halfway.set_constraint(FixAtoms(indices=[hopper]))
    engine = LammpsEngine(potential=load_potential("al-eam-zbl"))
    engine.build(halfway)
    saddle = engine.minimise(force_tolerance_eV_A=1e-3, max_iterations=5000)
    engine.close()
    landscape.close()
    expected = saddle.potential_energy_eV - found.energies_eV[one]
    assert expected > 0.1
    # A force of 0.05 eV/A is left at the saddle. (With atoms further than 5 A held on the way up it is 0.40 eV.)
    assert energy - found.energies_eV[one] == pytest.approx(expected, abs=0.02)
    assert np.abs(forces[landscape.active]).max() < 0.06
    assert np.sum(hopped > 1.0) == 1
    assert hopped.max() == pytest.approx(4.05 / np.sqrt(2), rel=0.1)


def test_a_saddle_that_is_known_is_counted_without_a_quench():
    atoms = bulk("Al", cubic=True, a=4.05).repeat(3)
    hole = atoms.positions[0].copy()
    del atoms[0]
    apart = np.linalg.norm(atoms.get_positions() - hole, axis=1)
    landscape = landscape_of(atoms, np.arange(len(atoms)), np.argsort(apart)[:3])
    found = begin(landscape)
    while not found.times and found.searches < 40:
        one_saddle_search(landscape, found, SPEC, seed=1)
    ((pair, times),) = found.times.items()
    found.searches -= 1  # the climb that found it, once more
    found.tried = [0, 100]

    def refuse(_positions):
        raise AssertionError("a known saddle was quenched")

    landscape.minimum = landscape.minimum_near = refuse
    one_saddle_search(landscape, found, SPEC, seed=1)
    assert found.times == {pair: times + 1}
    # Negative control: from a minimum that it is not a saddle of, it is quenched.
    found.searches -= 1
    found.times = {(1, 2): 1}
    found.saddles_A[1, 2] = found.saddles_A[pair]
    with pytest.raises(AssertionError, match="was quenched"):
        one_saddle_search(landscape, found, SPEC, seed=1)
    landscape.close()


def test_negative_control_a_perfect_crystal_has_no_way_out():
    atoms = bulk("Al", cubic=True, a=4.05).repeat(2)
    landscape = landscape_of(atoms, np.arange(32), [0])
    found = begin(landscape)
    for _ in range(3):
        one_saddle_search(landscape, found, SPEC, seed=1)
    landscape.close()
    assert not found.times
    assert found.coverage == 0.0


def test_active_atoms_feel_in_their_region_what_they_feel_in_the_box():
    atoms = bulk("Si", cubic=True, a=5.43).repeat(3)
    atoms.rattle(0.05, seed=3)
    active = near(atoms, np.array([100]), within_A=4.0)
    potential = load_potential("si-tersoff-zbl")
    landscape = landscape_of(
        atoms, active, active, potential="si-tersoff-zbl", reach_A=2 * potential.about.cutoff_A
    )
    start = np.asarray(atoms.get_positions())
    moved = start.copy()
    moved[active] += np.random.default_rng(1).normal(scale=0.1, size=(len(active), 3))
    whole = [landscape.energy_and_forces(x) for x in (start, moved)]
    part = [landscape.energy_and_forces_near(x[active], around_A=start) for x in (start, moved)]
    region = len(landscape._region)
    landscape.close()
    assert region < len(atoms)
    assert part[1][0] - part[0][0] == pytest.approx(whole[1][0] - whole[0][0], abs=1e-8)
    for (_, forces), (_, there) in zip(whole, part, strict=True):
        np.testing.assert_allclose(there, forces[active], atol=1e-8)


def test_coverage_is_the_share_of_the_ways_that_was_seen():
    assert coverage_of([]) == 0.0
    assert coverage_of([1, 1, 3]) == pytest.approx(1 - 2 / 5)
    # Kinds of unequal share: the estimate is that of the true share of what was seen, 100 samples of 40.
    share = 1.0 / np.arange(1, 41)
    share /= share.sum()
    generator = np.random.default_rng(1)
    miss, wrong = [], []
    for _ in range(100):
        drawn = generator.multinomial(40, share)
        seen = share[drawn > 0].sum()
        miss.append(coverage_of(drawn[drawn > 0].tolist()) - seen)
        wrong.append(np.mean(drawn > 0) - seen)
    # Four standard errors; of one sample the spread is 0.09.
    assert abs(np.mean(miss)) < 4 * np.std(miss) / 10
    # Negative control: the share of the kinds that was seen is another number.
    assert abs(np.mean(wrong)) > 4 * np.std(wrong) / 10
