"""How far a flight is, seen from outside while it lasts."""

import numpy as np
from fake_engine import a_campaign, a_run

from cascade_driver.campaign.claims import Claims
from cascade_driver.campaign.flown import FlightNotes, flown_ps, forget_flight
from cascade_driver.campaign.status import run_status


def test_a_flight_of_lammps_says_how_far_it_is_and_is_the_same(silicon, tmp_path):
    spec = silicon.spec(species="Si", recoil_energy_eV=30.0)
    seen = []

    def beside(**step):
        seen.append((step["time_ps"], flown_ps(tmp_path, "it")))

    of_ps = spec.protocol.follow.duration_ps
    notes = FlightNotes(logs=tmp_path, name="it", of_ps=of_ps, beside=beside)
    noted = silicon.run(spec, make_engine=lambda: silicon.engine(onlooker=notes)).record
    alone = silicon.run(spec).record
    assert noted.physics == alone.physics
    assert len(seen) > 50
    # The first step is noted at once, and a note is never ahead of the flight.
    assert all(said is not None and said <= time_ps + 1e-3 for time_ps, said in seen)
    # Its end is noted, however soon after another note: the quench may take longer than the flight.
    assert flown_ps(tmp_path, "it") >= of_ps
    forget_flight(tmp_path, "it")
    assert flown_ps(tmp_path, "it") is None


def test_a_note_leads_nowhere_and_stops_nothing(tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("kept")
    (tmp_path / "it.ps").symlink_to(precious)
    positions = np.zeros((1, 3))
    for folder in (tmp_path, tmp_path / "not there"):
        FlightNotes(logs=folder, name="it", of_ps=2.0)(
            time_ps=1.0, pka=0, ids=np.array([1], dtype=np.int32), positions_A=positions
        )
    assert precious.read_text() == "kept"
    (tmp_path / "half.ps").write_text("1.2.")
    assert flown_ps(tmp_path, "half") is None


def test_status_tells_how_far_flights_are_that_somebody_is_at(tmp_path):
    run = a_run(tmp_path, a_campaign())
    names = [cascade.id for cascade in run.load().cascades()][:2]
    for name in names:
        (run.logs / f"{name}.ps").write_text("1.250\n")
    assert run_status(run).flown_ps == {}  # left over by workers that are gone
    claim = Claims(run.claims).take(f"{run.load().protocol.start_id}-{names[0]}")
    assert run_status(run).flown_ps == {names[0]: 1.25}
    claim.release()
