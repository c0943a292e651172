"""The census on states whose defects are known because they were put there."""

import numpy as np
import pytest
from ase.build import bulk

from cascade_driver.simulation.crystal import CrystalSpec, assemble, constituents
from cascade_driver.simulation.defects import (
    ANTISITE,
    INTERSTITIAL,
    ON_SITE,
    Census,
    listed_defects,
    pocket_of,
    take_census,
)


@pytest.fixture
def box():
    spec = CrystalSpec(name="CaWO4", repeats=(3, 3, 2))
    return assemble(spec, constituents(spec))


def census_of(box, final_A, *, periodic=(True, True, True)) -> Census:
    return take_census(
        symbols=box.get_chemical_symbols(),
        reference_A=box.positions,
        final_A=final_A,
        lengths_A=np.asarray(box.cell.lengths()),
        periodic=periodic,
    )


def atoms_of(box, species):
    return [i for i, s in enumerate(box.get_chemical_symbols()) if s == species]


def test_what_did_not_move_is_perfect(box):
    census = census_of(box, box.positions)
    assert census.is_perfect
    assert not census.displaced_atoms
    assert not census.clusters
    assert (census.flag == ON_SITE).all()


def test_thermal_motion_is_perfect(box):
    noise = np.random.default_rng(1).normal(scale=0.1, size=(len(box), 3))
    census = census_of(box, box.positions + noise)
    assert census.is_perfect
    assert not census.displaced_atoms


def test_a_frenkel_pair_is_a_vacancy_and_an_interstitial_of_its_species(box):
    final = box.positions.copy()
    oxygen = atoms_of(box, "O")[10]
    final[oxygen] += [2.0, 3.0, 4.1]
    census = census_of(box, final)
    assert census.vacancies == {"O": 1}
    assert census.interstitials == {"O": 1}
    assert census.antisites == {}
    assert census.displaced_atoms == {"O": 1}
    assert census.vacancy_species.tolist() == ["O"]
    assert census.vacancy_positions_A[0] == pytest.approx(box.positions[oxygen] % box.cell.lengths(), abs=1e-9)
    assert census.flag[oxygen] == INTERSTITIAL
    assert not census.is_perfect


def test_the_owner_of_a_crowded_site_is_of_its_species(box):
    # A calcium atom almost on an oxygen site, whose own atom has moved farther away from it: the oxygen owns it.
    final = box.positions.copy()
    calcium, oxygen = atoms_of(box, "Ca")[3], atoms_of(box, "O")[50]
    final[calcium] = box.positions[oxygen] + [0.05, 0, 0]
    final[oxygen] += [0, 0.4, 0]
    census = census_of(box, final)
    assert census.flag[calcium] == INTERSTITIAL
    assert census.flag[oxygen] == ON_SITE
    assert census.vacancies == {"Ca": 1}
    assert census.interstitials == {"Ca": 1}
    assert census.antisites == {}


def test_exchanged_cations_are_two_antisites(box):
    final = box.positions.copy()
    calcium, tungsten = atoms_of(box, "Ca")[0], atoms_of(box, "W")[5]
    final[[calcium, tungsten]] = final[[tungsten, calcium]]
    census = census_of(box, final)
    assert census.antisites == {"Ca": 1, "W": 1}
    assert census.vacancies == census.interstitials == {}
    assert census.flag[calcium] == census.flag[tungsten] == ANTISITE
    assert not census.is_perfect


def test_exchange_of_two_like_atoms_is_displaced_but_perfect(box):
    final = box.positions.copy()
    one, other = atoms_of(box, "O")[7], atoms_of(box, "O")[31]
    final[[one, other]] = final[[other, one]]
    census = census_of(box, final)
    assert census.is_perfect
    assert census.displaced_atoms == {"O": 2}


def test_a_replacement_row_has_one_vacancy_and_one_interstitial():
    box = bulk("Al", "fcc", a=4.05, cubic=True).repeat((5, 5, 5))
    row = [i for i, p in enumerate(box.positions) if np.allclose(p[1:], 0) and 0 < p[0] < 16]
    assert len(row) == 3
    final = box.positions.copy()
    # Each takes the place of the next, the last one ends between the sites.
    final[row, 0] += 4.05
    final[row[-1]] += [-2.2, 1.6, 1.4]
    census = census_of(box, final)
    assert census.vacancies == census.interstitials == {"Al": 1}
    assert census.displaced_atoms == {"Al": 3}


@pytest.mark.parametrize("drift", [(0.3, -0.2, 0.1), (2.6, 1.3, -4.0), (31.5, 0, 0)])
def test_a_rigid_drift_is_perfect(box, drift):
    census = census_of(box, box.positions + np.array(drift))
    assert census.is_perfect
    assert not census.displaced_atoms
    assert np.abs(census.displacement_A).max() < 1e-9


def test_a_box_that_rests_on_held_atoms_does_not_drift(box):
    # Most atoms creep by 0.06 A, as a film does over the atoms that hold it: those that are held stay.
    moved = np.array(box.positions)
    moved[len(box) // 3 :, 2] += 0.06
    rests = census_of(box, moved, periodic=(True, True, False))
    np.testing.assert_allclose(rests.displacement_A, moved - box.positions, atol=1e-12)
    # Negative control: a box that repeats everywhere has no atom to rest on.
    floats = census_of(box, moved)
    assert floats.displacement_A[0, 2] == pytest.approx(-0.06)


def test_drift_does_not_hide_a_defect(box):
    final = box.positions + np.array([1.7, 0.4, -2.2])
    tungsten = atoms_of(box, "W")[2]
    final[tungsten] += [2.6, 0, 2.0]
    census = census_of(box, final)
    assert census.vacancies == census.interstitials == {"W": 1}


def test_images_are_the_same_place(box):
    final = box.positions.copy()
    lengths = box.cell.lengths()
    final[5] += [lengths[0], -2 * lengths[1], lengths[2]]
    assert census_of(box, final).is_perfect
    # Just below the face of a periodic axis is near the site just above it.
    low = int(box.positions[:, 2].argmin())
    final = box.positions.copy()
    final[low, 2] -= 0.3
    census = census_of(box, final)
    assert census.is_perfect
    assert census.displacement_A[low] == pytest.approx([0, 0, -0.3], abs=1e-9)


def test_a_free_axis_has_no_images(box):
    final = box.positions.copy()
    top = int(box.positions[:, 2].argmax())
    final[top, 2] += 0.95 * box.cell.lengths()[2]
    # Far above the surface, its site is empty and it is nearest to its old site: it alone owns it.
    census = census_of(box, final, periodic=(True, True, False))
    assert sum(census.displaced_atoms.values()) == 1
    assert census.displacement_A[top, 2] == pytest.approx(0.95 * box.cell.lengths()[2])


def test_clusters_are_linked_defects(box):
    final = box.positions.copy()
    oxygens = atoms_of(box, "O")
    lengths = box.cell.lengths()
    distance = np.linalg.norm(
        (box.positions[oxygens] - box.positions[oxygens[0]] + lengths / 2) % lengths - lengths / 2, axis=1
    )
    far = oxygens[int(distance.argmax())]
    # Two close pairs, far from one another.
    final[oxygens[0]] += [1.3, 1.0, 0.9]
    final[far] += [1.3, 1.0, 0.9]
    census = census_of(box, final)
    assert census.vacancies == census.interstitials == {"O": 2}
    assert census.clusters == [2, 2]


def test_a_split_pair_is_two_clusters():
    box = bulk("Si", "diamond", a=5.43, cubic=True).repeat((4, 4, 4))
    final = box.positions.copy()
    # The tetrahedral hole, 9 angstrom away: vacancy and interstitial are no neighbours.
    final[0] = box.positions[0] + np.array([1.5, 1.5, 1.5]) * 5.43
    census = census_of(box, final)
    assert census.vacancies == census.interstitials == {"Si": 1}
    assert census.clusters == [1, 1]


def test_defects_are_listed_by_kind_with_their_clusters_the_largest_first(box):
    final = box.positions.copy()
    far, near = atoms_of(box, "O")[10], atoms_of(box, "O")[150]
    final[far] += [0.0, 0.0, 4.6]
    final[near] += [1.3, 1.0, 0.4]
    census = census_of(box, final)
    found = listed_defects(
        census,
        symbols=box.get_chemical_symbols(),
        reference_A=box.positions,
        lengths_A=np.asarray(box.cell.lengths()),
        periodic=(True, True, True),
    )
    counts = {kind: sum(d.kind == kind for d in found) for kind in ("vacancy", "interstitial", "antisite")}
    assert counts["vacancy"] == sum(census.vacancies.values())
    assert counts["interstitial"] == sum(census.interstitials.values())
    sizes = np.bincount([d.cluster for d in found if d.cluster])[1:]
    assert sizes.tolist() == census.clusters


def test_a_pocket_is_whole_across_a_face_of_the_box(box):
    lengths = np.asarray(box.cell.lengths())
    place = {"lengths_A": lengths, "periodic": (True, True, True)}
    middle, edge = lengths / 2, np.zeros(3)
    pockets = []
    for centre in (middle, edge):
        # shift the crystal so that the same atoms lie in the middle or across the corner
        reference = (box.positions - middle + centre) % lengths
        final = reference.copy()
        chosen = np.argsort(np.linalg.norm(box.positions - middle, axis=1))[:5]
        final[chosen] += [1.0, 0.0, 0.0]
        census = take_census(symbols=box.get_chemical_symbols(), reference_A=reference, final_A=final, **place)
        pockets.append(pocket_of(census, reference_A=reference, **place))
    assert pockets[0].atoms == pockets[1].atoms
    assert pockets[0].extent_A == pytest.approx(pockets[1].extent_A)
    assert pockets[0].radius_A == pytest.approx(pockets[1].radius_A)
    assert pockets[0].extent_A < lengths.min() / 2
    untouched = census_of(box, box.positions)
    assert pocket_of(untouched, reference_A=box.positions, **place) is None
