"""The plan: ids follow from content alone, extension reuses what exists."""

import dataclasses

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from fake_engine import a_campaign
from hypothesis import given
from hypothesis import strategies as st

from cascade_driver.campaign import plan
from cascade_driver.campaign.plan import Campaign, RecoilsSpec, make_campaign, solid_angle_shares
from cascade_driver.errors import InputError
from cascade_driver.schema import build
from cascade_driver.simulation.crystal import CrystalSpec, resolved
from cascade_driver.simulation.potential import load_potential
from cascade_driver.simulation.spec import Protocol

SILICON = load_potential("si-tersoff-zbl")


def ids(campaign: Campaign) -> list[str]:
    return [c.id for c in campaign.cascades()]


def planned(recoils: list[dict], *, known=None, seed=1) -> Campaign:
    protocol = Protocol(
        crystal=CrystalSpec(name="Si", minimum_atoms=1000),
        potential_name=SILICON.name,
        potential_digest=SILICON.digest,
        campaign_seed=seed,
    )
    specs = tuple(build(RecoilsSpec, r, origin="test") for r in recoils)
    return make_campaign(
        title="t",
        protocol=protocol,
        potential=SILICON,
        recoils=specs,
        known_groups={g.sampling: g for g in known.groups} if known else None,
    )


GROUP = {
    "species": "Si",
    "recoil_energies_eV": [20, 40],
    "directions": {"scheme": "symmetry", "count": 6},
    "snapshots": 2,
}


def of_file(path, recoils: list[dict]) -> Campaign:
    protocol = Protocol(
        crystal=resolved(CrystalSpec(file=str(path), minimum_atoms=1000), path.parent),
        potential_name=SILICON.name,
        potential_digest=SILICON.digest,
    )
    specs = tuple(build(RecoilsSpec, r, origin="test") for r in recoils)
    return make_campaign(title="t", protocol=protocol, potential=SILICON, recoils=specs)


def along(*vectors) -> dict:
    return GROUP | {"directions": {"scheme": "list", "vectors": list(vectors)}}


def test_directions_of_the_crystal_are_those_of_the_box_and_name_the_same_cascades():
    by_indices, by_numbers = planned([along("[1 1 0]", "(0 0 1)")]), planned([along([1, 1, 0], [0, 0, 1])])
    assert by_indices.groups[0].vectors == pytest.approx(np.array([[0.5**0.5, 0.5**0.5, 0], [0, 0, 1]]))
    assert ids(by_indices) == ids(by_numbers)


def test_one_direction_under_two_names_is_refused():
    with pytest.raises(InputError, match="named twice"):
        planned([along("[1 0 0]", "(1 0 0)")])


def test_directions_follow_the_axes_of_the_file(tmp_path):
    ase.io.write(tmp_path / "p.vasp", bulk("Si", a=5.431))
    ase.io.write(tmp_path / "c.vasp", bulk("Si", a=5.431, cubic=True))
    primitive = of_file(tmp_path / "p.vasp", [along("[1 1 -1]", "[1 0 0]")])
    cubic = of_file(tmp_path / "c.vasp", [along("[0 0 1]", "[0 1 1]")])
    assert primitive.groups[0].vectors == pytest.approx(np.array(cubic.groups[0].vectors), abs=1e-6)


def test_later_kicks_follow_the_axes_too():
    then = [{"delay_fs": 30, "recoil_energy_eV": 5, "direction": "[0 -1 1]"}]
    group = along([1, 0, 0]) | {"recoil_energies_eV": [20], "then": then}
    kick = next(planned([group]).cascades()).then[0]
    assert kick.direction == pytest.approx((0, -(0.5**0.5), 0.5**0.5))


@pytest.mark.parametrize(
    ("atoms", "complaint"),
    [
        (Atoms("Si", cell=[5.431] * 3, pbc=True), "nearest neighbours are 5.43 A apart, farther than the cutoff"),
        (bulk("Ge", a=5.66, cubic=True), "is for Si and the crystal holds Ge too"),
    ],
)
def test_a_crystal_that_the_potential_cannot_hold_is_refused_before_a_plan(tmp_path, atoms, complaint):
    ase.io.write(tmp_path / "c.vasp", atoms)
    with pytest.raises(InputError, match=complaint) as caught:
        of_file(tmp_path / "c.vasp", [GROUP])
    assert "\n" not in str(caught.value)


def test_planned_id_is_the_hash_of_the_full_specification():
    campaign = a_campaign(energies=(20, 40.5), directions=3)
    for cascade in campaign.cascades():
        assert campaign.spec(cascade).id == cascade.id


def test_ids_do_not_depend_on_order():
    assert set(ids(a_campaign(energies=(20, 30, 40)))) == set(ids(a_campaign(energies=(40, 20, 30))))


@given(st.integers(1, 10_000))
def test_whole_and_floating_energies_are_one_energy(energy):
    one = planned_energy(energy)
    assert one == planned_energy(float(energy))


def planned_energy(energy):
    return ids(a_campaign(energies=(energy,), directions=1, snapshots=1))


def test_extension_keeps_every_id():
    small = set(ids(a_campaign(energies=(20,), snapshots=2)))
    assert small < set(ids(a_campaign(energies=(20, 40), snapshots=2)))
    assert small < set(ids(a_campaign(energies=(20,), snapshots=3)))


def test_another_seed_is_another_campaign():
    assert not set(ids(a_campaign(seed=1))) & set(ids(a_campaign(seed=2)))


def test_seeds_are_in_the_range_of_lammps_and_differ():
    seeds = [c.seed for c in a_campaign(energies=range(20, 120)).cascades()]
    assert len(set(seeds)) == len(seeds)
    assert all(1 <= s <= 900_000_000 for s in seeds)


def test_direction_weights_sum_to_one_for_each_energy():
    campaign = planned([GROUP])
    for energy in (20.0, 40.0):
        rows = [c for c in campaign.cascades() if c.recoil_energy_eV == energy and c.snapshot == 0]
        assert sum(c.direction_weight for c in rows) == pytest.approx(1, abs=1e-12)
        assert np.linalg.norm([c.direction for c in rows], axis=1) == pytest.approx(1, abs=1e-8)


def test_what_two_groups_ask_for_runs_once():
    once, twice = planned([GROUP]), planned([GROUP, GROUP | {"recoil_energies_eV": [40, 60]}])
    assert len(set(ids(twice))) == len(ids(twice)) == twice.size == 3 * once.size // 2


def test_size_is_the_number_of_cascades():
    campaign = a_campaign(energies=(20, 40, 60), directions=5, snapshots=4)
    assert campaign.size == len(ids(campaign)) == 60


def test_the_same_sampling_keeps_its_stored_directions():
    # Another machine's minimiser spreads directions a little differently: those that were used stay.
    first = planned([GROUP])
    group = first.groups[0]
    turned = dataclasses.replace(group, vectors=tuple((-x, -y, z) for x, y, z in group.vectors))
    stored = dataclasses.replace(first, groups=(turned,))
    again = planned([GROUP | {"recoil_energies_eV": [20, 40, 60]}], known=stored)
    assert again.groups[0].vectors == turned.vectors
    more = planned([GROUP | {"directions": {"scheme": "symmetry", "count": 7}}], known=stored)
    assert more.groups[0].vectors[:6] == turned.vectors
    fewer = planned([GROUP | {"directions": {"scheme": "symmetry", "count": 4}}], known=stored)
    assert fewer.groups[0].vectors == turned.vectors[:4]


def counted(count: int, **more) -> dict:
    return GROUP | {"directions": {"scheme": "symmetry", "count": count}, **more}


@pytest.mark.parametrize(("few", "many"), [(8, 16), (8, 9), (9, 16), (16, 64)])
@pytest.mark.parametrize("is_replanned", [True, False])
def test_more_directions_keep_every_id_and_get_joint_weights(few, many, is_replanned):
    small = planned([counted(few)])
    large = planned([counted(many)], known=small if is_replanned else None)
    assert set(ids(small)) < set(ids(large))
    rows = [c for c in large.cascades() if c.recoil_energy_eV == 20 and c.snapshot == 0]
    assert len(rows) == many
    assert sum(c.direction_weight for c in rows) == pytest.approx(1, abs=1e-12)
    before = {c.id: c.direction_weight for c in small.cascades()}
    after = {c.id: c.direction_weight for c in large.cascades()}
    # What is added takes from what is there.
    assert all(after[name] <= before[name] + 1e-7 for name in before)


def test_a_plan_whose_directions_are_no_beginning_of_the_sequence_is_extended_all_the_same():
    # As plans were made before sets of directions were nested.
    small = planned([counted(8)])
    rng = np.random.default_rng(3)
    group = dataclasses.replace(
        small.groups[0],
        vectors=tuple((round(v[0], 9), round(v[1], 9), round(v[2], 9)) for v in random_unit(rng, 8)),
    )
    old = dataclasses.replace(small, groups=(group,))
    large = planned([counted(16)], known=old)
    assert set(ids(old)) < set(ids(large))
    assert set(ids(large)) < set(ids(planned([counted(32)], known=large)))
    # Negative control: without the old plan nothing is shared.
    assert not set(ids(old)) & set(ids(planned([counted(16)])))


def random_unit(rng, number) -> list[list[float]]:
    vectors = rng.normal(size=(number, 3))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).tolist()


def test_more_random_directions_keep_every_id():
    few, many = (GROUP | {"directions": {"scheme": "random", "count": n}} for n in (5, 11))
    assert set(ids(planned([few]))) < set(ids(planned([many])))


def test_directions_of_two_groups_at_one_energy_have_joint_weights():
    campaign = planned([counted(8), counted(16, recoil_energies_eV=[40, 60])])
    alone = planned([counted(16, recoil_energies_eV=[40, 60])])
    expected = {c.id: c.direction_weight for c in alone.cascades()}
    found = {c.id: c.direction_weight for c in campaign.cascades() if c.recoil_energy_eV != 20}
    assert found == pytest.approx(expected)
    listed = {"directions": {"scheme": "list", "vectors": [[1, 0, 0], [0, 0, 1]]}}
    mixed = planned([counted(8), GROUP | listed])
    for energy in (20, 40):
        rows = [c for c in mixed.cascades() if c.recoil_energy_eV == energy and c.snapshot == 0]
        assert len(rows) == 10
        assert sum(c.direction_weight for c in rows) == pytest.approx(1)


def test_a_direction_counts_no_more_for_having_more_snapshots():
    campaign = planned([counted(8)])
    cascades = [c for c in campaign.cascades() if c.recoil_energy_eV == 20]
    # As while new directions catch up: every other one has one snapshot only.
    known = sorted({c.direction for c in cascades})
    some = [c for c in cascades if c.snapshot == 0 or known.index(c.direction) % 2]
    share = solid_angle_shares(some)
    for direction in known:
        of_direction = [i for i, c in enumerate(some) if c.direction == direction]
        assert share[of_direction].sum() == pytest.approx(some[of_direction[0]].direction_weight)
    assert share.sum() == pytest.approx(1)


def test_finished_snapshots_cover_all_energies_and_directions():
    campaign = a_campaign(energies=(20, 40), directions=3, snapshots=2)
    first_half = list(campaign.cascades())[: campaign.size // 2]
    assert {c.snapshot for c in first_half} == {0}
    assert len({(c.recoil_energy_eV, c.direction) for c in first_half}) == 6


def test_energy_named_twice_is_refused():
    with pytest.raises(InputError, match="an energy is named twice"):
        planned([GROUP | {"recoil_energies_eV": [20, 20.0]}])


def test_energy_of_zero_is_refused():
    with pytest.raises(InputError, match="must be above 0 eV"):
        planned([GROUP | {"recoil_energies_eV": [0]}])


def test_species_that_the_crystal_lacks_is_refused():
    with pytest.raises(InputError, match="Al"):
        planned([GROUP | {"species": "Al"}])


def test_a_plan_is_worked_out_once(monkeypatch):
    campaign = a_campaign()
    first = list(campaign.cascades())
    monkeypatch.delattr(plan, "cascade_id")
    assert list(campaign.cascades()) == first
    assert len(first) == campaign.size
