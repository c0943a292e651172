"""One cascade on the real engine: laws that hold for each."""

import dataclasses
import gzip
import json
import subprocess
import sys

import ase.io
import numpy as np
import pytest

from cascade_driver.errors import InputError, RecordError
from cascade_driver.schema import build, canonical_json, file_sha256, plain
from cascade_driver.simulation import start
from cascade_driver.simulation.cascade import STRUCTURE_FILE, write_structure
from cascade_driver.simulation.engine import EngineAbortError, Flight, Minimum
from cascade_driver.simulation.outcome import Outcome
from cascade_driver.simulation.record import Defects
from cascade_driver.simulation.spec import BorderThermostat, FollowSpec, QuenchSpec, SettledStop
from cascade_driver.simulation.start import read_box, read_snapshot

#: A kick so weak that nothing can be displaced: the lowest threshold of CaWO4 and Si is above 10 eV.
BELOW_THRESHOLD_eV = 3.0


@pytest.fixture(scope="module")
def weak_kick(scheelite):
    """A recoil below threshold in CaWO4."""
    return scheelite.run(scheelite.spec(species="W", recoil_energy_eV=BELOW_THRESHOLD_eV))


@pytest.fixture(scope="module")
def strong_kick(silicon):
    """A recoil that leaves defects in silicon."""
    return silicon.run(silicon.spec(species="Si", recoil_energy_eV=80.0, direction=(0.48, 0.64, 0.6)))


def test_kick_gives_exactly_the_recoil_energy(weak_kick, strong_kick):
    assert weak_kick.record.physics.given_energy_eV == pytest.approx(BELOW_THRESHOLD_eV, abs=1e-9)
    assert strong_kick.record.physics.given_energy_eV == pytest.approx(80.0, abs=1e-9)


def test_below_threshold_nothing_is_stored(weak_kick):
    record = weak_kick.record
    assert record.outcome is Outcome.COMPLETED
    assert abs(record.stored_energy_eV) < 1e-6
    assert record.physics.defects == Defects(vacancies={}, interstitials={}, antisites={}, clusters=())
    assert record.physics.displaced_atoms == {}


def test_a_strong_kick_stores_less_than_it_brought(strong_kick):
    record = strong_kick.record
    assert record.outcome is Outcome.COMPLETED
    assert 1.0 < record.stored_energy_eV < 80.0
    physics = record.physics
    assert physics.stored_energy_eV == physics.quenched_energy_eV - physics.reference_energy_eV
    assert sum(physics.defects.vacancies.values()) == sum(physics.defects.interstitials.values()) > 0


def test_the_heat_of_the_recoil_is_kinetic_at_first_and_at_most_that(weak_kick, scheelite):
    # T = 2 E_kin / (3 N k_B). The temperature of 96 atoms fluctuates by 133 K sqrt(2 / 288) = 11 K; four of these.
    atoms = len(read_box(scheelite.starts).symbols)
    all_kinetic = 2 * BELOW_THRESHOLD_eV / (3 * atoms * 8.617e-5)
    physics = weak_kick.record.physics
    assert physics.temperature_start_K == pytest.approx(133, abs=44)
    assert 0 < physics.temperature_rise_K < all_kinetic + 44
    assert physics.temperature_rise_K == physics.temperature_end_K - physics.temperature_start_K


def test_the_track_begins_at_the_atom_nearest_the_centre(strong_kick, silicon):
    physics = strong_kick.record.physics
    box = read_box(silicon.starts)
    distance = np.abs(box.positions_A[physics.pka.index] - box.lengths_A / 2)
    assert distance.max() < 5.432 / 2
    track = physics.pka.track
    assert len(track.time_ps) == len(track.position_A) == len(track.kinetic_energy_eV) <= 129
    assert track.time_ps[0] == 0.0
    assert track.kinetic_energy_eV[0] == 80.0
    assert physics.pka.path_length_A >= physics.pka.largest_displacement_A > 1.0
    moved = np.array(track.position_A[1]) - np.array(track.position_A[0])
    assert moved / np.linalg.norm(moved) == pytest.approx([0.48, 0.64, 0.6], abs=0.05)


def test_a_record_says_who_made_it(weak_kick, scheelite):
    record = weak_kick.record
    assert record.provenance.engine.startswith("LAMMPS 20")
    assert record.spec.protocol.potential_digest == scheelite.potential.digest
    assert record.cost.cpu_s > 0
    assert json.loads(json.dumps(record.as_json(), allow_nan=False))["outcome"] == "completed"


_RUN = """
import sys
from functools import partial
from pathlib import Path
from cascade_driver.schema import build, canonical_json, read_json
from cascade_driver.simulation.cascade import run_cascade
from cascade_driver.simulation.lammps_engine import LammpsEngine
from cascade_driver.simulation.potential import load_potential
from cascade_driver.simulation.spec import CascadeSpec
spec = build(CascadeSpec, read_json(Path(sys.argv[1])), origin="spec")
make = partial(LammpsEngine, potential=load_potential(spec.protocol.potential_name))
print(canonical_json(run_cascade(spec, starts=Path(sys.argv[2]), make_engine=make).record.as_json()["physics"]))
"""


@pytest.mark.parametrize("border", [None, {"width_A": 3.0, "damping_ps": 0.05}])
def test_the_same_spec_gives_the_same_physics_to_the_byte(silicon, tmp_path, border):
    follow = {"border": BorderThermostat(**border)} if border else None
    spec = silicon.spec(species="Si", recoil_energy_eV=60.0, direction=(0.0, 0.6, 0.8), follow=follow)
    (tmp_path / "spec.json").write_text(json.dumps(plain(spec)))
    command = [sys.executable, "-c", _RUN, str(tmp_path / "spec.json"), str(silicon.starts)]
    said = [subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(2)]
    assert said[0] == said[1]
    assert '"stored_energy_eV"' in said[0]
    # And in a process that has run other things before.
    assert canonical_json(silicon.run(spec).record.as_json()["physics"]) + "\n" == said[0]


def test_negative_control_another_direction_gives_other_physics(silicon, strong_kick):
    other = silicon.run(silicon.spec(species="Si", recoil_energy_eV=80.0, direction=(0.64, 0.48, 0.6)))
    assert other.record.physics.steps != 0
    assert canonical_json(plain(other.record.physics)) != canonical_json(plain(strong_kick.record.physics))


# -- structures -----------------------------------------------------------------------------------------------


def test_the_structure_is_readable_by_ase_with_its_arrays(strong_kick, silicon, tmp_path):
    write_structure(strong_kick.structure, tmp_path)
    atoms = ase.io.read(tmp_path / STRUCTURE_FILE)
    box = read_box(silicon.starts)
    snapshot = read_snapshot(silicon.starts, 0)
    assert atoms.get_chemical_symbols() == list(box.symbols)
    assert atoms.cell.lengths() == pytest.approx(box.lengths_A, abs=1e-6)
    assert atoms.pbc.all()
    displacement = atoms.get_array("displacement")
    # Eight decimals in the file.
    assert atoms.positions - displacement == pytest.approx(snapshot.reference_positions_A, abs=3e-8)
    assert int(atoms.get_array("is_pka").argmax()) == strong_kick.record.physics.pka.index
    assert atoms.get_array("is_pka").sum() == 1
    interstitials = strong_kick.record.physics.defects.interstitials
    assert (atoms.get_array("defect") == 1).sum() == sum(interstitials.values())
    assert np.linalg.norm(displacement, axis=1).max() > 0.8


def test_the_same_structure_gives_the_same_bytes(strong_kick, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    for name in "ab":
        write_structure(strong_kick.structure, tmp_path / name)
    first, second = ((tmp_path / name / STRUCTURE_FILE).read_bytes() for name in "ab")
    assert first == second
    assert gzip.decompress(first).startswith(b"216\n")


# -- outcomes -------------------------------------------------------------------------------------------------


class StagedEngine:
    """An engine that answers what it was told: for outcomes that the real one reaches once in a blue moon."""

    version = "staged"
    kinetic_eV_per_amu_A2_ps2 = 1.0364269e-4

    def __init__(self, laboratory, *, abort=None, flight=None, minimum=None):
        snapshot = read_snapshot(laboratory.starts, 0)
        self._abort = abort
        self._flight = {
            "time_ps": np.array([0.0, 1.0]),
            "pka_position_A": np.array([[1.0, 1.0, 1.0], [1.5, 1.0, 1.0]]),
            "pka_kinetic_energy_eV": np.array([20.0, 0.1]),
            "least_distance_A": np.array([2.0, 1.9]),
            "temperature_start_K": 133.0,
            "temperature_end_K": 140.0,
            "energy_drift_eV": 0.001,
            "finished": True,
        } | (flight or {})
        self._minimum = {
            "potential_energy_eV": snapshot.reference_energy_eV,
            "largest_force_eV_A": 1e-5,
            "positions_A": snapshot.reference_positions_A,
        } | (minimum or {})
        self.closed = False
        self.library = None

    def read(self, state, *, periodic, held):
        pass

    def follow(self, **settings):
        if self._abort:
            raise EngineAbortError(self._abort, "LAMMPS at `run`: ERROR: staged")
        return Flight(**self._flight)

    def minimise(self, **settings):
        return Minimum(**self._minimum)

    def close(self):
        self.closed = True


def staged_record(laboratory, **staged):
    engine = StagedEngine(laboratory, **staged)
    record = laboratory.run(
        laboratory.spec(species="Si", recoil_energy_eV=20.0), make_engine=lambda: engine
    ).record
    assert engine.closed
    return record


def test_a_staged_cascade_without_event_is_completed(silicon):
    assert staged_record(silicon).outcome is Outcome.COMPLETED


@pytest.mark.parametrize("outcome", [Outcome.LOST_ATOMS, Outcome.NON_FINITE_ENERGY, Outcome.ENGINE_ERROR])
def test_what_stops_the_engine_is_the_outcome_and_its_words_are_kept(silicon, outcome):
    record = staged_record(silicon, abort=outcome)
    assert record.outcome is outcome
    assert record.physics is None
    assert "ERROR: staged" in record.message


@pytest.mark.parametrize(
    ("staged", "outcome"),
    [
        ({"flight": {"finished": False}}, Outcome.TIMED_OUT),
        ({"flight": {"energy_drift_eV": -0.6}}, Outcome.ENERGY_DRIFT),
        ({"flight": {"energy_drift_eV": 0.6}}, Outcome.ENERGY_DRIFT),
        ({"minimum": {"largest_force_eV_A": 0.02}}, Outcome.NOT_QUENCHED),
        (
            {"flight": {"pka_position_A": np.array([[1.0, 1.0, 1.0], [1.0, 1.0, 9.5]])}},
            Outcome.BOX_TOO_SMALL,
        ),
        ({"flight": {"temperature_end_K": np.nan}}, Outcome.NON_FINITE_ENERGY),
    ],
)
def test_what_makes_a_stored_energy_meaningless_is_an_outcome(silicon, staged, outcome):
    record = staged_record(silicon, **staged)
    assert record.outcome is outcome
    assert not record.outcome.is_usable


def test_a_negative_stored_energy_is_flagged_and_kept(silicon):
    reference = read_snapshot(silicon.starts, 0).reference_energy_eV
    record = staged_record(silicon, minimum={"potential_energy_eV": reference - 2.0})
    assert record.outcome is Outcome.NEGATIVE_STORED_ENERGY
    assert record.stored_energy_eV == pytest.approx(-2.0)


def test_overlapping_atoms_end_in_an_outcome_on_the_real_engine(silicon, tmp_path):
    # A starting state with two atoms on one spot, its checksum made to fit.
    starts = tmp_path / "starts"
    starts.mkdir()
    for file in silicon.starts.iterdir():
        (starts / file.name).write_bytes(file.read_bytes())
    lines = (starts / "000.data").read_text().splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("Atoms")) + 2
    one, other = lines[first].split(), lines[first + 1].split()
    lines[first + 1] = " ".join([*other[:2], *one[2:]])
    (starts / "000.data").write_text("\n".join(lines) + "\n")
    with np.load(starts / "000.npz") as data:
        arrays = dict(data) | {"state_sha256": np.array(file_sha256(starts / "000.data"))}
    np.savez(starts / "000.npz", **arrays)
    spoiled = dataclasses.replace(silicon, starts=starts)
    record = spoiled.run(spoiled.spec(species="Si", recoil_energy_eV=5.0, follow={"duration_ps": 0.02})).record
    assert record.outcome in {Outcome.NON_FINITE_ENERGY, Outcome.LOST_ATOMS}
    assert record.message


def test_the_time_limit_ends_a_cascade_as_timed_out(silicon):
    spec = silicon.spec(species="Si", recoil_energy_eV=10.0, follow={"duration_ps": 500.0})
    record = silicon.run(spec, make_engine=lambda: silicon.engine(time_limit_s=1.0)).record
    assert record.outcome is Outcome.TIMED_OUT
    assert record.physics.followed_ps < 500.0


def test_a_recoil_that_crosses_half_its_box_is_told(silicon):
    spec = silicon.spec(
        species="Si",
        recoil_energy_eV=2000.0,
        direction=(0.3, 0.2, 0.93),
        follow={"duration_ps": 0.1, "max_displacement_A": 0.1},
    )
    # What it leaves need not be quenched to be told.
    protocol = dataclasses.replace(spec.protocol, quench=QuenchSpec(max_iterations=5))
    record = silicon.run(dataclasses.replace(spec, protocol=protocol)).record
    assert record.outcome is Outcome.BOX_TOO_SMALL


def test_a_species_that_is_not_there_is_refused(silicon):
    with pytest.raises(InputError, match="no free atom of species 'W'; present: Si"):
        silicon.run(silicon.spec(species="W", recoil_energy_eV=10.0))


def test_an_altered_starting_state_is_refused(silicon, tmp_path):
    for file in silicon.starts.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    state = tmp_path / "000.data"
    state.write_text(state.read_text().replace("1", "2", 1))
    altered = dataclasses.replace(silicon, starts=tmp_path)
    with pytest.raises(RecordError, match="missing or altered"):
        altered.run(altered.spec(species="Si", recoil_energy_eV=10.0))


# -- quenched earlier, too ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def with_earlier_quenches(silicon):
    """A recoil of 60 eV whose box is quenched after 0.1 and 0.2 ps as well as in the end, at 0.3 ps."""
    follow = {"also_quench_at_ps": (0.1, 0.2)}
    spec = silicon.spec(species="Si", recoil_energy_eV=60.0, direction=(0.48, 0.64, 0.6), follow=follow)
    return silicon.run(spec).record.physics


def test_an_earlier_quench_stores_what_a_cascade_stores_that_ends_there(silicon, with_earlier_quenches):
    spec = silicon.spec(
        species="Si", recoil_energy_eV=60.0, direction=(0.48, 0.64, 0.6), follow={"duration_ps": 0.1}
    )
    ended = silicon.run(spec).record.physics
    first, second = with_earlier_quenches.earlier_quenches
    assert first.time_ps == ended.followed_ps
    assert first.stored_energy_eV == pytest.approx(ended.stored_energy_eV, abs=1e-6)
    # And not what another time stores: in 0.1 ps pairs recombine.
    assert abs(second.stored_energy_eV - first.stored_energy_eV) > 0.01


def test_the_end_is_the_same_with_and_without_earlier_quenches(silicon, with_earlier_quenches):
    spec = silicon.spec(species="Si", recoil_energy_eV=60.0, direction=(0.48, 0.64, 0.6))
    alone = silicon.run(spec).record.physics
    assert alone.earlier_quenches is None
    assert with_earlier_quenches.stored_energy_eV == pytest.approx(alone.stored_energy_eV, abs=1e-6)
    assert with_earlier_quenches.followed_ps == pytest.approx(alone.followed_ps, abs=0.02)


@pytest.mark.parametrize("method", ["cg-stiffness", "stiffness"])
def test_the_stiffness_is_read_once_for_all_quenches_of_a_cascade(silicon, monkeypatch, method):
    spec = silicon.spec(species="Si", recoil_energy_eV=20.0, follow={"also_quench_at_ps": (0.1, 0.2)})
    protocol = dataclasses.replace(spec.protocol, quench=QuenchSpec(method=method))
    read = []
    monkeypatch.setattr(start, "read_stiffness", read.append)  # gives None, as of a film
    physics = silicon.run(dataclasses.replace(spec, protocol=protocol)).record.physics
    assert len(physics.earlier_quenches) == 2
    assert read == [silicon.starts]


@pytest.mark.parametrize("times", [(0.2, 0.1), (0.1, 0.1), (0.0,), (0.3,), (-1.0,)])
def test_times_of_earlier_quenches_that_make_no_sense_are_refused(times):
    with pytest.raises(InputError, match="rising times between 0 and `duration_ps`"):
        FollowSpec(duration_ps=0.3, also_quench_at_ps=times)


SETTLED = {"every_ps": 0.1, "within_eV": 0.05, "for_ps": 0.2}


@pytest.mark.parametrize("recoil_energy_eV", [12.0, 60.0])
def test_a_flight_that_has_settled_ends_there_and_is_the_same_until_then(silicon, recoil_energy_eV):
    kick = {"species": "Si", "recoil_energy_eV": recoil_energy_eV, "direction": (0.48, 0.64, 0.6)}
    ended = silicon.run(silicon.spec(**kick, follow={"duration_ps": 2.0, "settled": SETTLED})).record
    physics = ended.physics
    assert ended.outcome is Outcome.COMPLETED
    assert 0.29 < physics.followed_ps < 1.95
    *_, before, one, last = (copy.stored_energy_eV for copy in physics.earlier_quenches)
    assert max(before, one, last) - min(before, one, last) <= 0.05
    assert last == pytest.approx(physics.stored_energy_eV, abs=1e-6)
    # The copies leave the flight alone.
    alone = silicon.run(silicon.spec(**kick, follow={"duration_ps": 0.3})).record.physics
    assert alone.least_distance_A == physics.least_distance_A


def test_a_flight_that_never_settles_goes_on_to_its_longest_time(silicon):
    kick = {"species": "Si", "recoil_energy_eV": 60.0, "direction": (0.48, 0.64, 0.6)}
    hard = {"every_ps": 0.1, "within_eV": 1e-13, "for_ps": 0.3}
    physics = silicon.run(silicon.spec(**kick, follow={"duration_ps": 0.5, "settled": hard})).record.physics
    assert physics.followed_ps == pytest.approx(0.5, abs=0.02)
    assert len(physics.earlier_quenches) == 4


@pytest.mark.parametrize(
    ("times", "stored", "is_over"),
    [
        ((0.5,), (0.0,), False),
        ((0.5, 1.0), (0.0, 0.0), False),
        ((0.5, 1.0, 1.5), (0.0, 0.0, 0.0), True),
        ((0.51, 1.0, 1.49), (7.1, 7.12, 7.11), True),  # looks come some steps late
        ((0.5, 1.0, 1.5), (7.1, 7.12, 7.2), False),
        ((0.5, 1.0, 1.5), (7.2, 7.1, 7.1), False),
        ((0.5, 1.0, 1.5, 2.0), (7.2, 7.1, 7.1, 7.1), True),
        ((0.5, 1.0, 1.5, 2.0), (7.1, 7.1, 7.1, 0.0), False),
    ],
)
def test_settled_is_what_stays_for_the_whole_time(times, stored, is_over):
    assert SettledStop(every_ps=0.5, within_eV=0.05, for_ps=1.0).is_settled(times, stored) is is_over


@pytest.mark.parametrize(
    ("follow", "said"),
    [
        ({"settled": {}, "also_quench_at_ps": (1.0,)}, "leave out `also_quench_at_ps`"),
        ({"settled": {"for_ps": 2.0}, "duration_ps": 2.0}, "make that longer than 2.5 ps"),
        ({"settled": {"for_ps": 0.1}}, "shorter than `every_ps`"),
        ({"settled": {"every_ps": 0.0}}, "every_ps"),
    ],
)
def test_a_stop_that_makes_no_sense_is_refused(follow, said):
    with pytest.raises(InputError, match=said):
        build(FollowSpec, follow, origin="here")
