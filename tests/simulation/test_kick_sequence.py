"""Several kicks on one nucleus: momentum is added exactly when its time has come, and the energies balance."""

import dataclasses
import io
import json

import numpy as np
import pytest
from fake_engine import a_campaign, a_run, physics
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from scipy.stats import kstest

from cascade_driver.campaign.kick_events import kick_events
from cascade_driver.campaign.plan import RecoilsSpec, make_campaign
from cascade_driver.config import RunInput
from cascade_driver.errors import InputError
from cascade_driver.schema import build, digest, plain
from cascade_driver.simulation.cascade import Result
from cascade_driver.simulation.crystal import CrystalSpec
from cascade_driver.simulation.engine import FlightRules, HeatedBorder, VelocityKick
from cascade_driver.simulation.kick_sequence import (
    ThenSpec,
    draw_knock_on_of_gammas,
    draw_later_kicks,
    knock_on_of_gammas,
    most_recoil_energy_eV,
    recoil_energy_of_momentum_eV,
    work_of_kick_eV,
)
from cascade_driver.simulation.knock_on import kick_velocity
from cascade_driver.simulation.outcome import Outcome
from cascade_driver.simulation.potential import load_potential
from cascade_driver.simulation.provenance import provenance
from cascade_driver.simulation.record import Record, RecordedKick, read_record, write_record
from cascade_driver.simulation.spec import CascadeSpec, KnockOn, LaterKick, Protocol
from cascade_driver.simulation.start import read_box, read_snapshot
from cascade_driver.sources.capture_table import capture_table
from cascade_driver.sources.gamma_recoil import two_gamma_cumulative
from cascade_driver.sources.neutron_capture import cascades_of
from cascade_driver.terminal.records import print_record

MASS_Si_amu = 28.085

#: LAMMPS' value of 1 amu (angstrom/ps)^2.
eV_PER_AMU_A2_PS2 = 1.0364269e-4

#: Of 29Si and its two gammas behind the "989.9 eV" (7199.20 and 1273.35 keV in EGAF).
GAMMAS_keV, MASS_29Si_u = (7199.199, 1273.349), 28.97649


def directions(count, seed=0):
    vectors = np.random.default_rng(seed).normal(size=(count, 3))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


unit_vectors = st.integers(0, 10_000).map(lambda seed: tuple(directions(1, seed)[0].tolist()))


# -- closed forms ---------------------------------------------------------------------------------------------


def test_the_two_gammas_of_silicon_recoil_with_the_printed_energies():
    # Soum-Sidikov et al., slides of 2024: 989.9 eV, which are 960.1 + 30.0 eV of two separate recoils.
    energies = recoil_energy_of_momentum_eV(GAMMAS_keV, mass_u=MASS_29Si_u)
    assert energies == pytest.approx([960.1, 30.0], abs=0.06)


@given(st.floats(0.01, 2000), st.floats(0, 2000), unit_vectors, unit_vectors)
def test_work_of_a_kick_is_what_adding_momenta_gives(recoil_eV, kinetic_eV, along, kick):
    first, second = np.sqrt(2 * kinetic_eV) * np.array(along), np.sqrt(2 * recoil_eV) * np.array(kick)
    gained = (first + second) @ (first + second) / 2 - kinetic_eV
    work = work_of_kick_eV(recoil_eV, kinetic_energy_eV=kinetic_eV, cosine=np.dot(along, kick))
    assert work == pytest.approx(gained, rel=1e-9, abs=1e-9)


def test_limits_of_two_kicks():
    E1, E2 = 960.1, 30.0
    assert E1 + work_of_kick_eV(E2, kinetic_energy_eV=0.0, cosine=1.0) == pytest.approx(E1 + E2)
    prompt = E1 + work_of_kick_eV(E2, kinetic_energy_eV=E1, cosine=[1.0, -1.0])
    assert prompt == pytest.approx([(E1**0.5 + E2**0.5) ** 2, (E1**0.5 - E2**0.5) ** 2])
    assert most_recoil_energy_eV([E1, E2]) == pytest.approx(prompt[0])


def test_momentum_of_a_kick_is_that_of_its_gamma():
    knock_on = knock_on_of_gammas(
        species="Si",
        gammas_keV=GAMMAS_keV,
        mass_u=MASS_29Si_u,
        delays_fs=[60.0],
        recoil_directions=[(0, 0, 2), (3, 4, 0)],
    )
    (later,) = knock_on.then
    assert later.momentum_keV_c(MASS_29Si_u) == pytest.approx([0.6 * 1273.349, 0.8 * 1273.349, 0.0])
    assert (knock_on.direction, later.direction, later.time_fs) == ((0, 0, 1), (0.6, 0.8, 0), 60.0)


def test_delays_of_gammas_add_up():
    knock_on = knock_on_of_gammas(
        species="Si",
        gammas_keV=(3000, 2000, 1000),
        mass_u=29,
        delays_fs=(5, 7),
        recoil_directions=np.eye(3).tolist(),
    )
    assert [k.time_fs for k in knock_on.then] == [5, 12]


def test_random_events_have_the_mean_life_and_no_preferred_direction():
    rng = np.random.default_rng(5)
    n = 2000
    events = [
        draw_knock_on_of_gammas(
            species="Si", gammas_keV=GAMMAS_keV, mass_u=MASS_29Si_u, mean_lives_fs=[418.0], rng=rng
        )
        for _ in range(n)
    ]
    delays = np.array([e.then[0].time_fs for e in events])
    # Five standard errors: a false alarm of 6e-7 per number, and the seed is fixed.
    assert delays.mean() == pytest.approx(418, abs=5 * 418 / n**0.5)
    assert (delays > 418).mean() == pytest.approx(np.exp(-1), abs=5 * (0.37 * 0.63 / n) ** 0.5)
    cosines = np.array([np.dot(e.direction, e.then[0].direction) for e in events])
    assert cosines.mean() == pytest.approx(0, abs=5 * (1 / 3 / n) ** 0.5)
    assert (cosines**2).mean() == pytest.approx(1 / 3, abs=5 * (4 / 45 / n) ** 0.5)


def test_prompt_events_of_the_capture_table_bring_what_its_closed_form_says():
    # `two_gamma_cumulative` integrates over angles, here directions are drawn: the two know nothing of each other.
    path = max(
        (c for c in cascades_of(capture_table()["Si28"]) if len(c.gammas_keV) == 2), key=lambda c: c.gammas_keV[0]
    )
    assert path.gammas_keV == pytest.approx(GAMMAS_keV)
    rng, n = np.random.default_rng(8), 2000
    totals = []
    for _ in range(n):
        event = draw_knock_on_of_gammas(
            species=path.symbol, gammas_keV=path.gammas_keV, mass_u=path.mass_u, mean_lives_fs=[0.0], rng=rng
        )
        (kick,) = event.then
        cosine = np.dot(event.direction, kick.direction)
        work = work_of_kick_eV(
            kick.recoil_energy_eV, kinetic_energy_eV=event.recoil_energy_eV, cosine=cosine
        ).item()
        totals.append(event.recoil_energy_eV + work)
    E1, E2 = path.single_recoils_eV
    x = (np.array(totals) - E1 - E2) / (2 * np.sqrt(E1 * E2))
    # False alarm 1e-4 of other seeds; negative control: of a nucleus that has lost half of its momentum.
    assert kstest(x, lambda v: two_gamma_cumulative(v, exponent=0.0)).pvalue > 1e-4
    assert kstest(x / 2, lambda v: two_gamma_cumulative(v, exponent=0.0)).pvalue < 1e-4


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"delays_fs": []}, "2 gammas with 0 delays and 2 directions; expected one delay"),
        ({"delays_fs": [-1.0]}, r"delays of \[-1.0\] fs"),
        ({"gammas_keV": (7199.2, 0.0)}, r"gammas of \[7199.2, 0.0\] keV; expected positive"),
        ({"recoil_directions": [(0, 0, 1), (0, 0, 0)]}, r"\[0, 0, 0\] has no direction"),
        ({"recoil_directions": [(0, 0, 1), (0, 1)]}, "has no direction"),
        ({"mass_u": -1.0}, "mass -1 u; expected a positive mass"),
    ],
)
def test_impossible_gammas_are_refused(change, complaint):
    good = {
        "species": "Si",
        "gammas_keV": GAMMAS_keV,
        "mass_u": MASS_29Si_u,
        "delays_fs": [1.0],
        "recoil_directions": [(0, 0, 1), (0, 1, 0)],
    }
    with pytest.raises(InputError, match=complaint):
        knock_on_of_gammas(**good | change)


@pytest.mark.parametrize("life", [-1.0, np.inf, np.nan])
def test_an_unknown_mean_life_is_refused(life):
    with pytest.raises(InputError, match="expected none below 0, and known ones"):
        draw_knock_on_of_gammas(
            species="Si",
            gammas_keV=GAMMAS_keV,
            mass_u=29.0,
            mean_lives_fs=[life],
            rng=np.random.default_rng(1),
        )


# -- names ----------------------------------------------------------------------------------------------------

POTENTIAL = load_potential("si-tersoff-zbl")
PROTOCOL = Protocol(
    crystal=CrystalSpec(name="Si", repeats=(3, 3, 3), relax_cell=False),
    potential_name=POTENTIAL.name,
    potential_digest=POTENTIAL.digest,
)


def a_spec(then=None, **changes):
    kick = {"species": "Si", "direction": (0.6, 0.0, 0.8), "recoil_energy_eV": 40.0} | changes
    return CascadeSpec(protocol=PROTOCOL, snapshot=1, knock_on=KnockOn(**kick, then=then), seed=7)


def later(time_fs=20.0, direction=(0.0, 0.0, 1.0), recoil_energy_eV=10.0):
    return LaterKick(time_fs=time_fs, direction=direction, recoil_energy_eV=recoil_energy_eV)


def test_a_cascade_of_one_kick_keeps_the_name_it_had():
    # The rule of the first release, written out: names are folders on people's disks.
    rule = digest([PROTOCOL.digest, 1, ["Si", -1, 0.6, 0.0, 0.8, 40.0], 7])
    assert a_spec().id == a_spec(then=()).id == rule
    assert "then" not in plain(a_spec(then=()))["knock_on"]


def test_each_property_of_a_later_kick_is_in_the_name():
    specs = [
        a_spec(),
        a_spec((later(),)),
        a_spec((later(time_fs=21),)),
        a_spec((later(direction=(0.0, 1.0, 0.0)),)),
        a_spec((later(recoil_energy_eV=11),)),
        a_spec((later(), later())),
    ]
    assert len({spec.id for spec in specs}) == len(specs)
    assert a_spec((later(time_fs=20),)).id == a_spec((later(time_fs=20.0),)).id


def test_a_sequence_survives_the_record():
    spec = a_spec((later(), later(time_fs=30)))
    again = build(CascadeSpec, json.loads(json.dumps(plain(spec))), origin="record")
    assert (again, again.id) == (spec, spec.id)


def test_kicks_out_of_order_are_refused():
    content = plain(a_spec((later(), later(time_fs=30))))
    content["knock_on"]["then"].reverse()
    with pytest.raises(
        InputError, match="a kick at 20 fs comes after one at 30 fs; give them in the order of time"
    ):
        build(CascadeSpec, content, origin="spec")


# -- campaigns ------------------------------------------------------------------------------------------------


def drawn(*tables, first=(0.0, 0.6, 0.8), seed=3):
    then = [build(ThenSpec, table, origin="then") for table in tables]
    return draw_later_kicks(then, first_direction=first, rng=np.random.default_rng(seed))


@pytest.mark.parametrize("angle_deg", [0.0, 30.0, 90.0, 180.0])
def test_a_fixed_angle_is_measured_from_the_first_kick(angle_deg):
    table = {"delay_fs": 5, "recoil_energy_eV": 10, "angle_deg": angle_deg}
    found = np.array([drawn(table, seed=seed)[0].direction for seed in range(50)])
    # Nine digits of the directions; near 0 and 180 degrees a cosine says little, the components do.
    assert found @ [0.0, 0.6, 0.8] == pytest.approx(np.full(50, np.cos(np.radians(angle_deg))), abs=3e-9)
    spread = np.ptp(found, axis=0).max()
    assert spread < 1e-8 if angle_deg in {0.0, 180.0} else spread > 0.5


def test_delays_count_from_the_kick_before():
    table = {"delay_fs": 5, "recoil_energy_eV": 10}
    assert [k.time_fs for k in drawn(table, table | {"delay_fs": 0}, table | {"delay_fs": 7})] == [5, 5, 12]


def test_lifetimes_are_mean_lives_and_isotropic_is_isotropic():
    n = 2000
    table = {"lifetime_fs": 20, "recoil_energy_eV": 10, "direction": "isotropic"}
    kicks = [drawn(table, seed=seed)[0] for seed in range(n)]
    # Five standard errors.
    assert np.mean([k.time_fs for k in kicks]) == pytest.approx(20, abs=5 * 20 / n**0.5)
    vectors = np.array([k.direction for k in kicks])
    assert np.abs(vectors.mean(axis=0)).max() < 5 * (1 / 3 / n) ** 0.5
    assert np.abs((vectors**2).mean(axis=0) - 1 / 3).max() < 5 * (4 / 45 / n) ** 0.5


def test_another_delay_leaves_the_directions():
    one, other = ({"delay_fs": t, "recoil_energy_eV": 10} for t in (5, 20))
    assert drawn(one)[0].direction == drawn(other)[0].direction != drawn(one, seed=4)[0].direction


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ({"recoil_energy_eV": 30}, "either `delay_fs` or `lifetime_fs`"),
        ({"recoil_energy_eV": 30, "delay_fs": 1, "lifetime_fs": 1}, "either `delay_fs` or `lifetime_fs`"),
        ({"delay_fs": 1}, "either `recoil_energy_eV` or `gamma_keV`"),
        ({"delay_fs": 1, "recoil_energy_eV": 30, "gamma_keV": 1}, "either `recoil_energy_eV` or `gamma_keV`"),
        ({"delay_fs": 1, "gamma_keV": 1273}, "`gamma_keV` and `mass_u`"),
        ({"delay_fs": 1, "recoil_energy_eV": 30, "mass_u": 29}, "`gamma_keV` and `mass_u`"),
        ({"delay_fs": -1, "recoil_energy_eV": 30}, r"`delay_fs`: .*greater than or equal to 0"),
        ({"delay_fs": 1, "recoil_energy_eV": 0}, "greater than 0"),
        ({"delay_fs": 1, "recoil_energy_eV": 30, "angle_deg": 190}, "less than or equal to 180"),
        ({"delay_fs": 1, "recoil_energy_eV": 30, "direction": "up"}, 'expected three numbers or "isotropic"'),
        ({"delay_fs": 1, "recoil_energy_eV": 30, "direction": [0, 1]}, "`direction"),
        ({"delay_fs": 1, "recoil_energy_eV": 30, "direction": [0, 0, 0]}, "is zero"),
        ({"delay_fs": 1, "recoil_energy_eV": 30, "direction": [0, 0, 1], "angle_deg": 3}, "either `direction`"),
        ({"delay": 1, "recoil_energy_eV": 30}, "unknown key `delay`; did you mean `delay_fs`"),
    ],
)
def test_what_is_wrong_with_a_later_kick_is_said_in_one_line(table, complaint):
    with pytest.raises(InputError, match=complaint) as caught:
        build(ThenSpec, table, origin="input")
    assert "\n" not in str(caught.value)


GROUP = {
    "species": "Si",
    "recoil_energies_eV": [20, 40],
    "directions": {"scheme": "random", "count": 3},
    "snapshots": 2,
}
THEN = {"lifetime_fs": 20, "gamma_keV": 1273.349, "mass_u": MASS_29Si_u}


def planned(*groups, seed=1, minimum_atoms=4000):
    protocol = dataclasses.replace(
        PROTOCOL, campaign_seed=seed, crystal=CrystalSpec(name="Si", minimum_atoms=minimum_atoms)
    )
    recoils = tuple(build(RecoilsSpec, group, origin="input") for group in groups)
    return make_campaign(title="t", protocol=protocol, potential=POTENTIAL, recoils=recoils)


def test_each_cascade_of_a_campaign_draws_its_own_kicks_and_the_same_ones_again():
    campaign = planned(GROUP | {"then": [THEN]})
    cascades = list(campaign.cascades())
    assert campaign.size == len(cascades) == 12
    assert len({c.then[0].time_fs for c in cascades}) == len({c.then[0].direction for c in cascades}) == 12
    assert all(campaign.spec(c).id == c.id and campaign.spec(c).knock_on.then == c.then for c in cascades)
    assert list(planned(GROUP | {"then": [THEN]}).cascades()) == cascades
    # More snapshots or energies leave those that exist; another seed does not.
    more = planned(GROUP | {"then": [THEN], "snapshots": 3, "recoil_energies_eV": [60, 40, 20]})
    assert {c.id for c in cascades} < {c.id for c in more.cascades()}
    other = planned(GROUP | {"then": [THEN]}, seed=2)
    assert not {c.then[0].time_fs for c in cascades} & {c.then[0].time_fs for c in other.cascades()}


def test_a_group_without_later_kicks_is_what_it_was():
    both = planned(GROUP, GROUP | {"then": [THEN]})
    alone = [c.id for c in planned(GROUP).cascades()]
    assert {c.id for c in both.cascades() if not c.then} == set(alone)
    assert both.size == 24
    assert "then" not in plain(both)["groups"][0]
    # What is random is stored as it was asked for, and the plan is the same when it is read again.
    assert build(type(both), plain(both), origin="plan") == both


def test_room_is_asked_for_what_all_kicks_may_bring():
    group = GROUP | {"recoil_energies_eV": [100]}
    planned(group)
    with pytest.raises(InputError, match="box too small for the recoil: 400 eV"):
        planned(group | {"then": [{"delay_fs": 1, "recoil_energy_eV": 100}]})


def test_a_response_is_not_asked_of_kick_sequences_alone():
    content = {
        "crystal": {"name": "Si", "minimum_atoms": 1000},
        "potential": {"name": POTENTIAL.name},
        "analysis": {},
        "recoils": [GROUP | {"then": [THEN]}],
    }
    with pytest.raises(InputError, match=r"\[analysis\] fits what single recoils store") as caught:
        build(RunInput, content, origin="input")
    assert "\n" not in str(caught.value)
    assert build(RunInput, content | {"recoils": [*content["recoils"], GROUP]}, origin="input")


# -- what is made of the records ------------------------------------------------------------------------------


@pytest.fixture
def finished_run(tmp_path):
    """A run of 20 + 5 eV after 10 fs with as many cascades without a second kick; the last one failed."""
    plain_campaign = a_campaign(energies=(20,), directions=3, snapshots=1)
    (group,) = plain_campaign.groups
    then = (build(ThenSpec, {"delay_fs": 10, "recoil_energy_eV": 5}, origin="then"),)
    campaign = dataclasses.replace(plain_campaign, groups=(group, dataclasses.replace(group, then=then)))
    run = a_run(tmp_path / "RUN", campaign)
    planned = list(campaign.cascades())
    for n, p in enumerate(planned):
        kick = RecordedKick(
            time_fs=10.0,
            kinetic_energy_before_eV=5.0 + n,
            kinetic_energy_after_eV=10.0 + 2 * n,
            velocity_before_A_ps=(0.0, 0.0, 1.0),
        )
        later = {"later_kicks": (kick,), "recoil_energy_total_eV": 25.0 + n} if p.then else {}
        failed = n == len(planned) - 1
        record = Record(
            id=p.id,
            spec=campaign.spec(p),
            outcome=Outcome.LOST_ATOMS if failed else Outcome.COMPLETED,
            physics=None if failed else physics(stored_energy_eV=4.0, **later),
            provenance=provenance(),
        )
        run.store(Result(record=record, structure=None))
    return run


def test_kick_events_are_the_cascades_with_later_kicks(finished_run):
    events = kick_events(finished_run)
    assert len(events) == 3
    assert set(events.id) == {p.id for p in finished_run.load().cascades() if p.then}
    assert events.outcome.tolist() == ["completed", "completed", "lost_atoms"]
    assert events.recoil_energy_total_eV[:2].tolist() == [28.0, 29.0]
    assert events.observed_energy_eV[:2].tolist() == [24.0, 25.0]
    assert events.slow_energy_eV.tolist() == [25.0] * 3
    assert events.kick_time_fs[:2].tolist() == [[10.0], [10.0]]
    for missing in (events.observed_energy_eV, events.kick_time_fs[:, 0], events.kinetic_energy_before_eV[:, 0]):
        assert np.isnan(missing).tolist() == [False, False, True]


def test_a_run_without_later_kicks_has_no_kick_events(tmp_path):
    run = a_run(tmp_path / "RUN", a_campaign(energies=(20,)))
    with pytest.raises(InputError, match=r"no finished cascade with later kicks; add \[\[recoils.then\]\]"):
        kick_events(run)


def test_a_figure_of_second_kicks_shows_them_between_their_limits(finished_run):
    events = kick_events(finished_run)
    above, below = events.plot().axes
    assert above.lines[0].get_ydata().tolist() == [8.0, 9.0]
    assert above.get_title(loc="right") == "qualitative potential"
    (points,) = [line for line in below.lines if line.get_label() == "cascades"]
    assert points.get_xydata().tolist() == [[10.0, 28.0], [10.0, 29.0]]
    (slow,) = [line for line in below.lines if "slow" in line.get_label()]
    assert set(slow.get_ydata()) == {25.0}
    band = below.patches[0].get_extents().transformed(below.transData.inverted())
    assert (band.y0, band.y1) == pytest.approx((5.0, 45.0))  # 25 +- 2 sqrt(20 x 5)


def test_a_figure_of_second_kicks_is_of_one_pair_of_energies(finished_run):
    events = kick_events(finished_run)
    mixed = dataclasses.replace(events, first_recoil_energy_eV=np.array([20.0, 30.0, 20.0]))
    with pytest.raises(InputError, match="of several energies"):
        mixed.plot()
    nothing = dataclasses.replace(events, kick_time_fs=np.full((3, 1), np.nan))
    with pytest.raises(InputError, match="no cascade got to its second kick"):
        nothing.plot()


# -- on the real engine ---------------------------------------------------------------------------------------

#: Of a closed box of 216 atoms in some tenths of a ps with steps of 0.02 A: 0.02 to 0.03 eV, one kick or more.
LARGEST_DRIFT_eV = 0.1

STEP_A, STEP_ps = 0.02, 0.002


def velocity(recoil_energy_eV, direction):
    return kick_velocity(
        recoil_energy_eV=recoil_energy_eV,
        mass_amu=MASS_Si_amu,
        direction=direction,
        kinetic_eV_per_amu_A2_ps2=eV_PER_AMU_A2_PS2,
    )


def fly(laboratory, *later_kicks, first=None, duration_ps=0.06, border=None, **settings):
    """Follow 60 eV along (1, 2, 3) with later kicks (time in ps, eV, direction)."""
    engine = laboratory.engine(**settings)
    box = read_box(laboratory.starts)
    engine.read(read_snapshot(laboratory.starts, 0).state, periodic=box.periodic, held=[])
    try:
        return engine.follow(
            pka=100,
            velocity_A_ps=velocity(60.0, (1, 2, 3)) if first is None else first,
            rules=FlightRules(
                duration_ps=duration_ps, max_displacement_A=STEP_A, max_timestep_ps=STEP_ps, seed=11, border=border
            ),
            later_kicks=[
                VelocityKick(time_ps=t, velocity_A_ps=velocity(energy, direction))
                for t, energy, direction in later_kicks
            ],
        )
    finally:
        engine.close()


UP = (0.0, 0.0, 1.0)


BORDER = HeatedBorder(width_A=3.0, temperature_K=133.0, damping_ps=0.05)


@pytest.mark.parametrize("border", [None, BORDER])
def test_kicks_come_exactly_on_time(silicon, border):
    # Before the first step is over, twice at once, within a step of each other, and where looks are rare.
    times = (1e-6, 0.0123456789, 0.0123456789, 0.0123457, 0.05)
    flight = fly(silicon, *[(t, 5.0, UP) for t in times], border=border)
    assert flight.finished
    # A rounding of the clock's sum.
    assert [k.time_ps for k in flight.later_kicks] == pytest.approx(times, rel=1e-15, abs=1e-17)
    assert (np.diff(flight.time_ps) > 0).all()
    assert np.diff(flight.time_ps).max() <= STEP_ps * (1 + 1e-9)
    # No step is longer for it: as for a single kick, some percent where an atom is hit within it.
    assert np.linalg.norm(np.diff(flight.pka_position_A, axis=0), axis=1).max() < 1.05 * STEP_A
    assert abs(flight.energy_drift_eV) < LARGEST_DRIFT_eV


def test_work_of_a_later_kick_is_that_of_its_momentum(silicon):
    flight = fly(silicon, (0.003, 20.0, (3, 0, -4)), (0.008, 10.0, UP))
    for kick, energy, direction in zip(flight.later_kicks, (20.0, 10.0), ((0.6, 0, -0.8), UP), strict=True):
        before = kick.velocity_before_A_ps
        cosine = before @ direction / np.linalg.norm(before)
        work = work_of_kick_eV(energy, kinetic_energy_eV=kick.kinetic_energy_before_eV, cosine=cosine)
        assert kick.work_eV == pytest.approx(work, abs=1e-9)
        half_mass = MASS_Si_amu * eV_PER_AMU_A2_PS2 / 2
        assert kick.kinetic_energy_before_eV == pytest.approx(half_mass * before @ before, rel=1e-9)
        # It moves: neither the prompt nor the slow limit.
        assert 5.0 < kick.kinetic_energy_before_eV < 59.0


def test_prompt_kicks_are_one_kick_of_the_vector_sum(silicon):
    twice = fly(silicon, (0.0, 20.0, UP))
    once = fly(silicon, first=velocity(60.0, (1, 2, 3)) + velocity(20.0, UP))
    assert twice.pka_kinetic_energy_eV[0] == pytest.approx(60.0)
    assert 60 + twice.later_kicks[0].work_eV == pytest.approx(once.pka_kinetic_energy_eV[0], rel=1e-12)
    cosine = 3 / 14**0.5
    assert once.pka_kinetic_energy_eV[0] == pytest.approx(80 + 2 * 1200**0.5 * cosine, rel=1e-9)
    # The same flight from then on; 1e-16 of the velocity grow by collisions, not to 1e-6 A within 60 fs.
    assert len(twice.time_ps) == len(once.time_ps)
    assert twice.pka_position_A == pytest.approx(once.pka_position_A, abs=1e-6)


def test_a_late_kick_finds_an_atom_that_moves_as_any_other(silicon):
    flight = fly(silicon, (0.4, 20.0, UP), duration_ps=0.42)
    (kick,) = flight.later_kicks
    # 60 eV heat 216 atoms to some 1200 K: 3/2 k_B T is 0.15 eV, and 1.5 eV a chance of 1e-4.
    assert kick.kinetic_energy_before_eV < 1.5
    assert kick.work_eV == pytest.approx(20.0, abs=2 * (1.5 * 20) ** 0.5)
    assert abs(flight.energy_drift_eV) < LARGEST_DRIFT_eV


def test_negative_control_without_its_work_a_later_kick_is_a_drift(silicon, monkeypatch):
    from cascade_driver.simulation.engine import MeasuredKick

    monkeypatch.setattr(MeasuredKick, "work_eV", 0.0)
    assert fly(silicon, (0.01, 20.0, UP)).energy_drift_eV > 10 * LARGEST_DRIFT_eV


def test_the_same_sequence_gives_the_same_flight_to_the_bit(silicon):
    one, other = (fly(silicon, (0.02, 20.0, UP), border=BORDER) for _ in range(2))
    assert one.pka_position_A.tobytes() == other.pka_position_A.tobytes()
    assert one.later_kicks[0].work_eV == other.later_kicks[0].work_eV


def test_a_kick_that_the_time_limit_forbids_is_not_made(silicon):
    flight = fly(silicon, (1000.0, 20.0, UP), (1000.0, 20.0, UP), duration_ps=1001.0, time_limit_s=1.0)
    assert not flight.finished
    assert flight.later_kicks == ()
    assert abs(flight.energy_drift_eV) < 1.0


def test_a_record_tells_the_sequence_and_what_it_brought(silicon, tmp_path):
    spec = silicon.spec(species="Si", recoil_energy_eV=40.0, follow={"duration_ps": 0.2})
    kicks = (later(time_fs=15.0, direction=(0.0, 0.6, 0.8)), later(time_fs=40.0))
    spec = dataclasses.replace(spec, knock_on=dataclasses.replace(spec.knock_on, then=kicks))
    record = silicon.run(spec).record
    found = record.physics
    assert record.outcome is Outcome.COMPLETED
    assert found.given_energy_eV == pytest.approx(40.0, abs=1e-9)
    works = [k.kinetic_energy_after_eV - k.kinetic_energy_before_eV for k in found.later_kicks]
    assert found.recoil_energy_total_eV == pytest.approx(40.0 + sum(works), abs=1e-9)
    assert [k.time_fs for k in found.later_kicks] == pytest.approx([15.0, 40.0])
    assert 0 < found.stored_energy_eV < found.recoil_energy_total_eV
    # The flight is counted from the last kick.
    assert 0.24 <= found.followed_ps <= 0.24 + 10 * 0.002
    assert abs(found.energy_drift_eV) < LARGEST_DRIFT_eV
    assert record.spec.knock_on.then == kicks
    (tmp_path / record.id).mkdir()
    assert write_record(record, tmp_path / record.id) == read_record(tmp_path / record.id)


def test_a_record_is_shown_with_its_sequence(silicon, tmp_path):
    spec = silicon.spec(species="Si", recoil_energy_eV=10.0, follow={"duration_ps": 0.01})
    sequence = dataclasses.replace(spec.knock_on, then=(later(time_fs=2.5),))
    for knock_on in (spec.knock_on, sequence):
        record = silicon.run(dataclasses.replace(spec, knock_on=knock_on)).record
        text = io.StringIO()
        print_record(record, folder=tmp_path, again="", console=Console(file=text, width=120))
        if knock_on.then:
            found = record.physics.later_kicks[0]
            assert "then at 2.5 fs 10 eV along (0.000, 0.000, 1.000): kinetic energy" in text.getvalue()
            assert f"-> {found.kinetic_energy_after_eV:.4g} eV" in text.getvalue()
            assert "energy of all kicks" in text.getvalue()
        else:
            assert "then at" not in text.getvalue()
            assert record.physics.recoil_energy_total_eV is None
            assert "recoil_energy_total_eV" not in record.as_json()["physics"]
            assert "later_kicks" not in record.as_json()["physics"]
