"""How a campaign scales: planning, status and resume of 1e3 to 1e5 cascades; what the driver costs per cascade.

Measured on two shared cores (load 3.5), records of 12 kB, seconds:

==========  =====  ======================  ==================  ======  =====  ===================
cascades    plan   status, nothing done    status, no index    status  table  resume, one missing
==========  =====  ======================  ==================  ======  =====  ===================
1 000       0.05   0.04                    0.5                 0.07    0.03   2.7
10 000      0.29   0.26                    7.6                 0.5     0.7    1.2
100 000     2.4    2.6                     72                  4.2     4.1    4.5
==========  =====  ======================  ==================  ======  =====  ===================

Resume begins with starting the fork server, 1 to 2 s. A run that workers filled has its index: 'no index' is what
it costs once if somebody removes it. Verification: 0.4 ms per record. Wall time per cascade with an engine that
costs nothing: 17 ms in the same process (12 ms of them flushing to the disk), 119 ms with one process at a time
and 86 ms with two, the other half of the cores being busy.
"""

import json
import os
import shutil
import statistics
import time

import pytest
from fake_engine import SlowEngine, a_campaign, a_run, work_of

from cascade_driver.campaign.contents import contents_of
from cascade_driver.campaign.executors import Processes, Serial
from cascade_driver.campaign.plan import Campaign
from cascade_driver.campaign.rundir import RunDirectory
from cascade_driver.campaign.status import run_status
from cascade_driver.campaign.verify import set_damaged_aside, verify
from cascade_driver.simulation.record import Track, write_record

pytestmark = pytest.mark.benchmark


def campaign_of(size: int) -> Campaign:
    return a_campaign(energies=range(100, 150), directions=size // 500, snapshots=10)


def finish(run: RunDirectory, campaign: Campaign) -> None:
    """Write a record of the usual size for every planned cascade, without running anything."""
    import dataclasses

    small = a_run(run.path.with_name("one"), dataclasses.replace(campaign, groups=a_campaign().groups))
    Serial().work(work_of(small), lambda _: None)
    model = small.record(sorted(small.finished())[0])
    track = Track(
        time_ps=(0.123456,) * 128, position_A=((1.2345, 2.3456, 3.4567),) * 128, kinetic_energy_eV=(20.0,) * 128
    )
    physics = dataclasses.replace(model.physics, pka=dataclasses.replace(model.physics.pka, track=track))
    for planned in campaign.cascades():
        spec = campaign.spec(planned)
        folder = run.cascades / planned.id
        folder.mkdir()
        write_record(dataclasses.replace(model, id=planned.id, spec=spec, physics=physics), folder)


def timed(function):
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


@pytest.mark.parametrize("size", [1_000, 10_000, 100_000])
def test_large_campaigns_start_report_and_resume_in_seconds(tmp_path, capsys, size):
    campaign = campaign_of(size)
    run = a_run(tmp_path / "run", campaign)
    seconds = {"plan": timed(lambda: sum(1 for _ in campaign.cascades()))}
    seconds["save"] = timed(lambda: run.save(campaign))
    seconds["status, nothing done"] = timed(lambda: run_status(run))
    finish(run, campaign)
    seconds["status, no index"] = timed(lambda: run_status(run))
    seconds["status"] = timed(lambda: json.dumps(run_status(run).as_json()))
    seconds["table"] = timed(lambda: contents_of(run).table())
    victim = sorted(run.finished())[0]
    shutil.rmtree(run.cascades / victim)

    def resume():
        set_damaged_aside(run, campaign)
        progress = Processes().work(work_of(run, campaign), lambda _: None)
        assert progress.done_here == 1

    seconds["resume, one missing"] = timed(resume)
    with capsys.disabled():
        print(f"\n{size} cascades: " + ", ".join(f"{k} {s:.2f} s" for k, s in seconds.items()))
    assert seconds["status"] < 1 + size / 1e4
    assert seconds["resume, one missing"] < 5 + size / 1e4


def test_driver_costs_milliseconds_per_cascade(tmp_path, capsys):
    campaign = a_campaign(energies=range(100, 150), directions=2, snapshots=1)

    def each(executor, name, **settings):
        run = a_run(tmp_path / name, campaign)
        return 1e3 * timed(lambda: executor.work(work_of(run, **settings), lambda _: None)) / campaign.size

    Processes().work(work_of(a_run(tmp_path / "warm", a_campaign())), lambda _: None)
    wall = {
        "serial": each(Serial(), "serial"),
        "1 process": each(Processes(), "p1", workers=1),
        "2 processes": each(Processes(), "p2", workers=2),
        "1 process, 50 ms each": each(Processes(), "s1", workers=1, engine=SlowEngine),
        "2 processes, 50 ms each": each(Processes(), "s2", workers=2, engine=SlowEngine),
    }
    with capsys.disabled():
        print("\nwall ms per cascade: " + ", ".join(f"{k} {ms:.1f}" for k, ms in wall.items()))
        print(f"load {os.getloadavg()[0]:.1f}")
    assert wall["1 process"] < 500


def test_verification_hashes_thousands_of_records_per_minute(tmp_path, capsys):
    campaign = campaign_of(1000)
    run = a_run(tmp_path / "run", campaign)
    finish(run, campaign)
    times = [timed(lambda: verify(run)) for _ in range(2)]
    with capsys.disabled():
        print(f"\nverify: {1e3 * statistics.median(times) / campaign.size:.2f} ms per cascade")
