"""Saddle searches on the real engine: the hop of a vacancy, a perfect crystal, the region evaluated, coverage."""

import numpy as np
import pytest
from ase.build import bulk
from ase.constraints import FixAtoms

from cascade_driver.relaxation.debris import pairs
from cascade_driver.relaxation.debris.saddle import _few_together, _pushed_by_heat, climb, one_saddle_search
from cascade_driver.relaxation.debris.search import (
    Found,
    Landscape,
    SearchSpec,
    WayOut,
    begin,
    near,
    next_to_climb_from,
)
from cascade_driver.simulation.lammps_engine import LammpsEngine
from cascade_driver.simulation.potential import load_potential
from cascade_driver.simulation.spec import QuenchSpec

SPEC = SearchSpec(explore_below_eV=0.0, barrier_below_eV=1.0)


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


def ways_of(found):
    return [way for way in found.ways if way.child is not None]


def test_searches_find_the_hops_of_a_vacancy_over_their_barrier():
    atoms = bulk("Al", cubic=True, a=4.05).repeat(3)
    hole = atoms.positions[0].copy()
    del atoms[0]
    apart = np.linalg.norm(atoms.get_positions() - hole, axis=1)
    landscape = landscape_of(atoms, np.arange(len(atoms)), np.argsort(apart)[:3])
    found = begin(landscape)
    while not ways_of(found) and found.searches < 40:
        one_saddle_search(landscape, found, SPEC, seed=1)
    assert found.searches == found.lost + sum(way.times for way in found.ways)
    (way,) = ways_of(found)
    assert not found.matters(way, SPEC)  # an atom that goes 2.9 A does not tunnel
    (pair,) = found.pairs
    energy, forces = landscape.energy_and_forces(way.saddle_A)
    one, other = pair
    assert way.barrier_eV == pytest.approx(energy - found.energies_eV[one], abs=1e-3)
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


def test_a_climb_from_part_of_the_way_to_another_minimum_ends_on_the_saddle_between():
    atoms = bulk("Al", cubic=True, a=4.05).repeat(3)
    hole = atoms.positions[0].copy()
    del atoms[0]
    apart = np.linalg.norm(atoms.get_positions() - hole, axis=1)
    landscape = landscape_of(atoms, np.arange(len(atoms)), np.argsort(apart)[:3])
    here = begin(landscape).positions_A[0]
    hopper = int(np.argmin(apart))
    there = here.copy()
    there[hopper] = hole
    at = climb(landscape, here, pushed_A=0.3 * (there - here), above_eV=1.0, generator=np.random.default_rng(1))
    landscape.close()
    assert at is not None
    assert at.barrier_eV > 0.1
    # By symmetry it lies half way, between sites; a force of 0.05 eV/A is left there.
    share = np.linalg.norm(at.saddle_A[hopper] - here[hopper]) / np.linalg.norm(hole - here[hopper])
    assert share == pytest.approx(0.5, abs=0.1)


def test_a_climb_ends_early_near_a_saddle_that_is_known():
    atoms = bulk("Al", cubic=True, a=4.05).repeat(3)
    hole = atoms.positions[0].copy()
    del atoms[0]
    apart = np.linalg.norm(atoms.get_positions() - hole, axis=1)
    landscape = landscape_of(atoms, np.arange(len(atoms)), np.argsort(apart)[:3])
    here = begin(landscape).positions_A[0]
    there = here.copy()
    there[int(np.argmin(apart))] = hole
    evaluate, evaluations = landscape.energy_and_forces_near, []

    def counted(*places, **kept):
        evaluations.append(1)
        return evaluate(*places, **kept)

    landscape.energy_and_forces_near = counted

    def climbed(known_A):
        evaluations.clear()
        generator = np.random.default_rng(1)
        at = climb(
            landscape, here, pushed_A=0.3 * (there - here), above_eV=1, generator=generator, known_A=known_A
        )
        return at.saddle_A, len(evaluations)

    saddle, most = climbed([])
    # Negative control: a place that it does not come by, the minimum itself, ends nothing.
    assert climbed([here])[1] == most
    near_it, fewer = climbed([saddle])
    landscape.close()
    assert fewer < most
    assert np.linalg.norm(near_it - saddle, axis=1).max() < 0.1


def test_a_climb_begins_as_heat_moves_a_few_atoms_softest_first():
    atoms = bulk("Al", cubic=True, a=4.05).repeat(3)
    del atoms[0]
    landscape = landscape_of(atoms, np.arange(len(atoms)), [0, 1, 2])
    here = begin(landscape).positions_A[0]
    generator = np.random.default_rng(2)
    few = _few_together(landscape, here, generator)
    assert 5 < len(few) < len(atoms) / 2
    pushes = [_pushed_by_heat(landscape, here, few, generator)[few] for _ in range(20)]
    floor, _ = landscape.energy_and_forces(here)

    def rise_eV(push):
        """A hundredth of it, where the potential is a parabola."""
        moved = here.copy()
        moved[few] += 0.01 * push
        return 1e4 * (landscape.energy_and_forces(moved)[0] - floor)

    rises = [rise_eV(push) for push in pushes]
    assert min(rises) > 0.95
    assert max(rises) < 3.05
    # Negative control: without modes, so far a displacement rises higher.
    blind = [generator.normal(size=push.shape) for push in pushes]
    as_far = [rise_eV(b * np.linalg.norm(p) / np.linalg.norm(b)) for b, p in zip(blind, pushes, strict=True)]
    landscape.close()
    assert np.mean(as_far) > 1.3 * np.mean(rises)


def test_a_saddle_that_is_known_is_counted_without_a_quench():
    atoms = bulk("Al", cubic=True, a=4.05).repeat(3)
    hole = atoms.positions[0].copy()
    del atoms[0]
    apart = np.linalg.norm(atoms.get_positions() - hole, axis=1)
    landscape = landscape_of(atoms, np.arange(len(atoms)), np.argsort(apart)[:3])
    found = begin(landscape)
    while not ways_of(found) and found.searches < 40:
        one_saddle_search(landscape, found, SPEC, seed=1)
    (way,) = ways_of(found)
    found.searches -= 1  # the climb that found it, once more
    found.climbed = [0, 100]

    def refuse(_positions):
        raise AssertionError("a known saddle was quenched")

    landscape.minimum = landscape.minimum_near = refuse
    one_saddle_search(landscape, found, SPEC, seed=1)
    assert way.times == 2
    # Negative control: from a minimum that it is not a saddle of, it is quenched.
    found.searches -= 1
    way.parent = 7
    with pytest.raises(AssertionError, match="was quenched"):
        one_saddle_search(landscape, found, SPEC, seed=1)
    # And over a barrier that is too high, it is not.
    found.searches -= 1
    one_saddle_search(landscape, found, SearchSpec(barrier_below_eV=0.1), seed=1)
    assert found.too_high == 1
    landscape.close()


def test_negative_control_a_perfect_crystal_has_no_way_out():
    atoms = bulk("Al", cubic=True, a=4.05).repeat(2)
    landscape = landscape_of(atoms, np.arange(32), [0])
    found = begin(landscape)
    for _ in range(3):
        one_saddle_search(landscape, found, SPEC, seed=1)
    landscape.close()
    assert not ways_of(found)
    assert found.coverage_of(0, SPEC) == 0.0
    assert not found.is_covered(SPEC)


def test_active_atoms_feel_in_their_region_what_they_feel_in_the_box():
    atoms = bulk("Si", cubic=True, a=5.43).repeat(3)
    atoms.rattle(0.05, seed=3)
    active = near(atoms, np.array([100]), within_A=4.0)
    potential = load_potential("si-tersoff-zbl")
    landscape = landscape_of(
        atoms, active, active, potential="si-tersoff-zbl", reach_A=2 * potential.about.cutoff_A
    )
    short = landscape_of(atoms, active, active, potential="si-tersoff-zbl", reach_A=potential.about.cutoff_A)
    landscape.narrow(from_A=potential.about.cutoff_A)
    # Bonds to a second shell, 3.84 A away, count; a third, at 4.5 A, does not: 4 A and the spare one.
    assert potential.about.cutoff_A + 1.0 < landscape._reach_A < 2 * potential.about.cutoff_A
    start = np.asarray(atoms.get_positions())
    moved = start.copy()
    moved[active] += np.random.default_rng(1).normal(scale=0.1, size=(len(active), 3))
    whole = [landscape.energy_and_forces(x) for x in (start, moved)]
    part = [landscape.energy_and_forces_near(x[active], around_A=start) for x in (start, moved)]
    too_little = short.energy_and_forces_near(moved[active], around_A=start)[1]
    region = len(landscape._region)
    landscape.close()
    short.close()
    assert region < len(atoms)
    # Negative control: the cutoff alone is not enough.
    assert np.max(np.abs(too_little - whole[1][1][active])) > 0.1
    assert part[1][0] - part[0][0] == pytest.approx(whole[1][0] - whole[0][0], abs=1e-8)
    for (_, forces), (_, there) in zip(whole, part, strict=True):
        np.testing.assert_allclose(there, forces[active], atol=1e-8)


def test_coverage_is_the_chance_that_a_further_find_of_what_matters_is_of_a_known_one():
    # Ways of unequal share, a third of which lead nowhere: the estimate is that of the true chance among the rest.
    share = 1.0 / np.arange(1, 41)
    share /= share.sum()
    matters = np.arange(40) % 3 > 0
    generator, spec = np.random.default_rng(1), SearchSpec()
    miss, wrong = [], []
    for _ in range(200):
        drawn = generator.multinomial(60, share)
        found = some_ways(*[(0, 1 if matters[k] else None, n) for k, n in enumerate(drawn.tolist()) if n])
        unseen = (drawn == 0) & matters
        chance = share[unseen].sum() / share[matters].sum()
        miss.append(1 - found.coverage_of(0, spec) - chance)
        wrong.append(unseen.sum() / matters.sum() - chance)
    # Four standard errors.
    assert abs(np.mean(miss)) < 4 * np.std(miss) / 200**0.5
    # Negative control: the share of the ways that were not seen is another number.
    assert abs(np.mean(wrong)) > 4 * np.std(wrong) / 200**0.5


def test_a_minimum_is_covered_when_few_finds_are_unlikely_to_mislead():
    # A saddle with a share of 10 % is missed by n finds with 0.9^n; by Poisson's limit 24 are needed.
    spec = SearchSpec(coverage=0.9)
    assert not some_ways((0, 1, 4), (0, 4, 18)).has_covered(0, spec)  # 0.9^22 = 0.098, but 0.9 = 1 - ln(10) / 23
    assert some_ways((0, 1, 4), (0, 4, 20)).has_covered(0, spec)
    assert 0.9**24 < 0.1
    # One way of ten that was found once, and of nine: saddles that lead up do not make up for it.
    assert some_ways((0, 1, 9), (0, 2, 1), (0, 4, 20)).has_covered(0, spec)
    assert not some_ways((0, 1, 8), (0, 2, 1), (0, 4, 200)).has_covered(0, spec)
    assert some_ways((0, 1, 8), (0, 2, 1), (0, 4, 200)).coverage_of_all(0, spec) > 0.99


def test_what_leads_up_or_cannot_be_tunnelled_through_in_a_year_leaves_nothing_open():
    spec, n = SearchSpec(), 24
    found = some_ways((0, 1, n - 1), (0, 4, 1), (0, None, 1))
    assert found.coverage_of(0, spec) == 1.0
    assert found.coverage_of_all(0, spec) == pytest.approx(1 - 2 / (n + 1))
    # Over 0.3 eV an atom of silicon that goes 0.6 A comes within a year, one that goes 1.0 A does not: of two
    # parabolas up to a cusp, half of the way each, the second as far as it lies above the start.
    slow = WayOut(parent=0, child=2, times=1, barrier_eV=0.3, saddle_A=np.zeros((1, 3)))
    found.ways.append(slow)
    for moved_A, matters in ((0.6, True), (1.0, False)):
        slow.length_amu12_A = 28.0**0.5 * moved_A
        # V = 0.3 eV and a drop of as much behind.
        exponent = (2 * 0.3) ** 0.5 * slow.length_amu12_A / 2 * (1 + 0.5**0.5) / 0.0646
        assert (1e13 * 3.156e7 * np.exp(-exponent) > 1) == matters
        assert found.matters(slow, spec) == matters
        assert (found.coverage_of(0, spec) < 1.0) == matters
        assert (2 in found.reached(SearchSpec(likely_above=0.0))) == matters


def test_where_no_way_that_matters_was_found_the_next_saddle_may_be_one():
    spec, n = SearchSpec(), 24
    assert some_ways((0, 4, n)).coverage_of(0, spec) == pytest.approx(1 - 1 / (n + 1))
    # Of few finds nothing is said, and none over a barrier that cold debris does not take is one.
    assert some_ways((0, 4, n - 1)).coverage_of(0, spec) == 0.0
    high = some_ways((0, 4, n - 1), (0, None, 1))
    high.ways[1].barrier_eV = 0.7
    assert high.coverage_of(0, spec) == 0.0
    high.ways[1].barrier_eV = 0.5
    assert high.coverage_of(0, spec) > 0.9


def some_ways(*ways):
    """Minima at 0, -0.1, -0.3, -0.28, 0.2 and -0.5 eV, and ways between them that were found so often."""
    energies = [0.0, -0.1, -0.3, -0.28, 0.2, -0.5]
    nowhere = np.zeros((1, 3))
    return Found(
        energies_eV=energies,
        positions_A=[nowhere] * 6,
        tried=[0] * 6,
        climbed=[5] * 6,
        ways=[WayOut(parent=a, child=b, times=n, barrier_eV=0.3, saddle_A=nowhere) for a, b, n in ways],
    )


def test_cold_debris_reaches_what_lies_down_its_ways_and_nothing_else():
    spec, n = SearchSpec(explore_below_eV=0.05, coverage=0.6), 10
    found = some_ways((0, 1, n), (0, 4, 2), (1, 2, n), (2, 3, n), (3, 2, n), (2, 1, 2), (4, 5, 2), (2, None, 2))
    # 4 is too high to be gone to, so that 5 beyond it is out of reach; 3 is up by less than zero-point energies.
    assert list(found.reached(spec)) == [0, 1, 2, 3]
    assert found.is_covered(spec)
    found.ways.append(WayOut(parent=1, child=5, times=1, barrier_eV=0.3, saddle_A=np.zeros((1, 3))))
    # From 1 there are two ways alike now, or others that were not found; one of those leads on to 3.
    covered = found.coverage_of(1, spec)
    assert covered == pytest.approx(1 - 1 / (n + 1))
    assert found.reached(spec) == pytest.approx({0: 1.0, 1: 1.0, 2: covered / 2, 5: covered / 2, 3: covered / 2})
    assert not found.is_covered(spec)  # of 5 nothing is known yet
    assert next_to_climb_from(found, spec) == 5


def test_climbs_end_when_the_first_25_came_to_no_saddle():
    found, spec = some_ways(), SearchSpec(bursts=0)
    found.searches = found.lost = 24
    assert pairs._next_step(found, spec) is one_saddle_search
    found.searches = found.lost = 25
    assert pairs._next_step(found, spec) is None
    # Negative control: one saddle, of whatever use, and they go on.
    found = some_ways((0, None, 1))
    found.searches, found.lost = 25, 24
    assert pairs._next_step(found, spec) is one_saddle_search


def test_where_debris_goes_to_is_not_sure_until_what_it_leaves_is_covered():
    spec = SearchSpec(coverage=0.7)  # eight finds are enough to say something
    found = some_ways((0, 1, 6), (0, 4, 1))
    assert found.reached(spec) == {0: 1.0, 1: 0.0}
    found.ways += [WayOut(parent=0, child=2, times=1, barrier_eV=0.3, saddle_A=np.zeros((1, 3))) for _ in "123"]
    assert found.coverage_of(0, spec) == pytest.approx(1 - 3 / 9)
    assert found.reached(spec)[1] == pytest.approx((1 - 3 / 9) / 4)
    # However often one has climbed from the debris.
    found.climbed = [1000, 0, 0, 0, 0, 0]
    assert next_to_climb_from(found, spec) == 0
    found.ways[2].times += 1
    assert found.coverage_of(0, spec) == pytest.approx(1 - 2 / 10)
    assert next_to_climb_from(found, spec) in (1, 2)


def test_what_another_way_is_faster_than_is_not_gone_to():
    spec = SearchSpec(explore_below_eV=0.05)
    found = some_ways((0, 1, 5), (0, 2, 5))
    slow, fast = found.ways
    # Si moves by 0.5 A over 0.1 eV; hbar is 0.0646 sqrt(eV amu) A.
    fast.length_amu12_A, fast.barrier_eV = 28**0.5 * 0.5, 0.1
    assert fast.action == pytest.approx(np.pi / 4 * 28**0.5 * 0.5 * 0.2**0.5 / 0.0646, rel=1e-3)
    slow.length_amu12_A, slow.barrier_eV = fast.length_amu12_A, 0.2
    assert slow.action == pytest.approx(2**0.5 * fast.action)
    assert list(found.reached(spec)) == [0, 2]
    # Negative control: that is what it is likely to, not what it can.
    assert found.reached(SearchSpec(explore_below_eV=0.05, likely_above=0.0)).keys() == {0, 1, 2}
