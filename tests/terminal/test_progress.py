"""What a run says while it works: nobody who reads its log may think that it hangs."""

import io
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from fake_engine import a_campaign, a_run, work_of

from cascade_driver.campaign.claims import Claims
from cascade_driver.campaign.executors import Serial
from cascade_driver.campaign.index import Row
from cascade_driver.campaign.plan import start_said
from cascade_driver.campaign.status import _rate, run_status
from cascade_driver.campaign.supervise import Progress
from cascade_driver.simulation.crystal import CrystalSpec
from cascade_driver.simulation.film_box import FilmSpec
from cascade_driver.simulation.record import NUMBERS
from cascade_driver.simulation.spec import ThermalSpec
from cascade_driver.terminal.console import PlainConsole
from cascade_driver.terminal.progress import WorkLog, told_as_it_goes, watched_work

THERMAL = ThermalSpec(temperature_K=133, equilibration_ps=0.4, snapshot_interval_ps=0.2)
PROTOCOL = replace(a_campaign(energies=(50,), directions=1, snapshots=1).protocol, thermal=THERMAL)


def test_a_log_tells_the_thermal_start_before_it_is_done(tmp_path, monkeypatch):
    campaign = a_campaign(energies=(50,), directions=1, snapshots=2)
    run = a_run(tmp_path, campaign)
    said = io.StringIO()

    def work_on(_planned, *, observe, **_ways):
        return Serial().work(work_of(run), observe)

    monkeypatch.setattr("cascade_driver.workflow.work_on", work_on)
    watched_work(SimpleNamespace(campaign=campaign), workers=1, console=PlainConsole(file=said, width=120))
    lines = said.getvalue().splitlines()
    assert lines[0] == "thermal start: relaxing the crystal"
    assert [line.split(",")[0] for line in lines[1:3]] == [f"thermal start: snapshot {i}" for i in (0, 1)]
    assert "2 of 2 cascades finished, 2 of them now" in lines[-1]


@pytest.mark.parametrize(
    ("task", "said"),
    [
        ("box", "thermal start: relaxing the crystal"),
        ("snapshot-000", "thermal start: snapshot 0, 0.6 ps at 133 K and a quench"),
        ("snapshot-012", "thermal start: snapshot 12, 0.2 ps at 133 K and a quench"),
        ("a35532a14735dc93", None),
    ],
)
def test_a_task_of_the_thermal_start_is_told_with_its_length(task, said):
    assert start_said(task, PROTOCOL) == said


def test_an_annealed_interface_is_told_as_what_takes_minutes():
    film = CrystalSpec(name="Al/Si", minimum_atoms=1, film=FilmSpec(interface="relaxed"))
    assert start_said("box", replace(PROTOCOL, crystal=film)).endswith("annealing interfaces for minutes")


def test_a_log_of_a_long_run_stays_short():
    said, now = io.StringIO(), [0.0]
    log = WorkLog(console=PlainConsole(file=said, width=120), protocol=PROTOCOL, clock=lambda: now[0])
    for second in range(0, 3 * 86400, 20):
        now[0] = float(second)
        log(Progress(total=100_000, done=second // 20, done_here=second // 20, busy_s=second, running=["a"]))
    lines = said.getvalue().splitlines()
    assert lines[0].startswith("1 of 100000 cascades after 20 s, about ")
    # every minute for ten minutes, then each 10 % later: ln(3 d / 10 min) / ln(1.1) = 64 more
    assert 70 <= len(lines) <= 80


def test_status_tells_the_thermal_start_that_somebody_makes(tmp_path):
    run = a_run(tmp_path, a_campaign())
    assert run_status(run).starting == ()
    with_claim = Claims(run.claims).take(f"{run.load().protocol.start_id}-box")
    assert run_status(run).starting == ("thermal start: relaxing the crystal",)
    with_claim.release()


def row(ended_s: float, wall_s: float) -> Row:
    found = tuple(wall_s if name == "wall_s" else None for name in NUMBERS)
    return Row(id="", stamp_ns=int(ended_s * 1e9), size=0, kept_bytes=0, outcome="completed", numbers=found)


def test_the_time_left_is_right_from_the_first_cascades_on_and_knows_no_idle_time():
    """Two workers, 100 s per cascade: 72 cascades per hour, whenever one looks and whenever they worked."""
    now = time.time()
    for since_s in (0, 50, 99, 86_400):
        two = [row(now - since_s, 100), row(now - since_s, 100)]
        for at_work in (2, 0):
            rate, left_h = _rate(two, total=20, at_work=at_work)
            assert rate == pytest.approx(72, rel=0.01)
            assert left_h == pytest.approx(18 / rate)
    done = [row(now - 1000 + 100 * i, 100) for i in range(5) for _ in range(2)]
    assert _rate(done, total=10, at_work=0) == (pytest.approx(72, rel=0.01), 0)
    # A night between two sessions, and four workers in place of two.
    with_a_night = [*(row(now - 40_000 + 100 * i, 100) for i in range(3)), *done]
    assert _rate(with_a_night, total=100, at_work=2)[0] == pytest.approx(72, rel=0.01)
    assert _rate(with_a_night, total=100, at_work=4)[0] == pytest.approx(144, rel=0.01)
    # Nobody knows of a run in which nothing is finished.
    assert np.isnan(_rate([], total=10, at_work=1)).all()


def test_a_log_tells_how_far_the_first_flights_are():
    said, now = io.StringIO(), [0.0]
    console = PlainConsole(file=said, width=120)
    log = WorkLog(console=console, protocol=PROTOCOL, clock=lambda: now[0])
    for second in range(0, 10_800, 5):
        now[0] = float(second)
        flown = {"a": second / 10_800 * 8, "b": second / 21_600 * 8}
        log(Progress(total=64, running=["a", "b"], flown_ps=flown))
    lines = said.getvalue().splitlines()
    assert lines[0] == (
        "0 of 64 cascades after 1 min 0 s, time left unknown until the first one is done, "
        "in flight: 0.02 to 0.04 of 8 ps"
    )
    assert 20 < len(lines) < 50


def test_a_log_of_what_work_is_at_has_a_line_a_minute_and_fewer_later():
    said, now = io.StringIO(), [0.0]
    with told_as_it_goes(PlainConsole(file=said, width=120), "searching", clock=lambda: now[0]) as tell:
        for minute in range(0, 60 * 24):
            now[0] = 60.0 * minute
            tell(f"step {minute} of 1440")
    lines = said.getvalue().splitlines()
    assert lines[0] == "step 1 of 1440, after 1 min 0 s"
    assert len(lines) < 75  # 10 in ten minutes, then one for each tenth of the time
    assert lines[-1].startswith("step 1")
