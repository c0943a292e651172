"""What disks, kills and clocks do to a campaign: nothing is lost, nothing is done wrong."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fake_engine import POTENTIAL, a_campaign, a_run, physics_of, work_of

from cascade_driver.campaign.executors import Processes, Serial
from cascade_driver.campaign.rundir import RunDirectory
from cascade_driver.campaign.status import run_status
from cascade_driver.campaign.verify import verify
from cascade_driver.cli import main
from cascade_driver.errors import CascadeError

DRIVER = Path(__file__).parents[1] / "fake_driver.py"

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")


def silent(_):
    pass


def undisturbed(folder: Path, campaign) -> dict:
    run = a_run(folder, campaign)
    Serial().work(work_of(run), silent)
    return physics_of(run)


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    found, todo = [pid], [pid]
    while todo:
        try:
            for task in Path(f"/proc/{todo.pop()}/task").iterdir():
                children = [int(c) for c in (task / "children").read_text().split()]
                found += children
                todo += children
        except OSError:
            continue
    return found


@pytest.mark.torture
def test_a_hundred_kills_change_nothing(tmp_path):
    """Two drivers at a time; at random moments a driver, a fork server or a child is killed, 100 times."""
    campaign = a_campaign(energies=range(50, 100), directions=5, snapshots=4)
    run = a_run(tmp_path / "run", campaign)
    rng = random.Random(20261120)
    command = [sys.executable, str(DRIVER), str(run.path), "--attempts=1000"]
    drivers: list[subprocess.Popen] = []
    kills = {"driver": 0, "worker": 0}
    while sum(kills.values()) < 100:
        drivers = [d for d in drivers if d.poll() is None]
        while len(drivers) < 2:
            drivers.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        time.sleep(rng.uniform(0.02, 0.3))
        driver = rng.choice(drivers)
        workers = family(driver.pid)[1:]
        # To kill one that only starts proves nothing: this one has a tracker, a fork server and a child at work.
        if len(workers) < 3:
            continue
        kind, victim = ("worker", rng.choice(workers)) if rng.random() < 0.7 else ("driver", driver.pid)
        try:
            os.kill(victim, signal.SIGKILL)
        except ProcessLookupError:
            continue
        kills[kind] += 1
        if run.finished() >= {c.id for c in campaign.cascades()}:
            break
    for driver in drivers:
        driver.kill()
        driver.wait()
    assert Processes().work(work_of(run), silent).done == campaign.size
    assert physics_of(run) == undisturbed(tmp_path / "quiet", campaign)
    assert verify(run).is_sound
    assert list(run.claims.glob("[!.]*")) == []
    print(f"{kills} over {campaign.size} cascades")
    assert sum(kills.values()) == 100, "the campaign was over before the kills were"
    assert min(kills.values()) > 10


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 300 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", place], check=True)
    yield place
    subprocess.run(["umount", "-l", place], check=True)


@needs_root
@pytest.mark.parametrize("executor", [Serial(), Processes()], ids=["serial", "processes"])
def test_a_full_disk_stops_with_one_line_and_loses_nothing(tmp_path, small_disk, executor):
    campaign = a_campaign(energies=range(50, 60), directions=4, snapshots=1)
    run = a_run(small_disk / "run", campaign)
    with pytest.raises(CascadeError, match=r"No space left on device.*what is finished is safe") as caught:
        executor.work(work_of(run), silent)
    assert "\n" not in str(caught.value)
    done = run.finished()
    assert 0 < len(done) < campaign.size
    before = physics_of(run)
    assert not list(run.cascades.glob(".*"))
    assert run_status(run).finished == len(done)
    # With room it goes on where it stopped.
    subprocess.run(["mount", "-o", "remount,size=16m", small_disk], check=True)
    assert executor.work(work_of(run), silent).done == campaign.size
    after = physics_of(run)
    assert {name: after[name] for name in done} == before
    assert after == undisturbed(tmp_path / "quiet", campaign)


@needs_root
def test_a_full_disk_leaves_the_snapshots_whole(tmp_path, small_disk):
    campaign = a_campaign(directions=1, snapshots=400)
    run = a_run(small_disk / "run", campaign)
    with pytest.raises(CascadeError, match="No space left on device"):
        Serial().work(work_of(run), silent)
    assert run.damaged_starts(campaign) == {}


@needs_root
def test_a_directory_that_may_only_be_read_is_one_line(tmp_path, capsys):
    path = tmp_path / "x.toml"
    path.write_text(
        f'crystal = {{ name = "Si", repeats = [4, 4, 4] }}\npotential = {{ name = "{POTENTIAL}" }}\n'
        '[[recoils]]\nspecies = "Si"\nrecoil_energies_eV = [20]\n'
        'directions = { scheme = "symmetry", count = 2 }\n'
    )
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", place], check=True)
    try:
        assert main(["run", str(path), "--out", str(place / "run"), "--plan-only"]) == 0
        subprocess.run(["mount", "-o", "remount,ro", place], check=True)
        assert main(["status", str(place / "run"), "--json"]) == 0
        assert main(["verify", str(place / "run")]) == 0
        capsys.readouterr()
        for command in (["run", str(path), "--out", str(place / "run")], ["work", str(place / "run")]):
            assert main(command) == 2
            said = capsys.readouterr().err
            assert "cannot be written (Read-only file system)" in said
            assert said.count("\n") == 1
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def test_a_run_that_was_moved_continues(tmp_path):
    campaign = a_campaign(energies=(50, 60))
    run = a_run(tmp_path / "one", campaign)
    Serial().work(work_of(run, until_s=0.05), silent)
    shutil.move(run.path, tmp_path / "two")
    moved = RunDirectory(tmp_path / "two")
    assert Processes().work(work_of(moved), silent).done == campaign.size
    assert physics_of(moved) == undisturbed(tmp_path / "quiet", campaign)


def test_records_from_the_future_do_not_disturb(tmp_path):
    # The clock was set back since they were written.
    run = a_run(tmp_path, a_campaign(energies=(50,)))
    Serial().work(work_of(run), silent)
    future = time.time() + 86400
    for name in run.finished():
        os.utime(run.cascades / name / "record.json", (future, future))
    run.save(a_campaign(energies=(50, 60)))
    status = run_status(run)
    assert status.finished == 4
    assert Processes().work(work_of(run), silent).done_here == 4
    assert run_status(run).finished == 8


def test_a_stopped_process_is_not_dead(tmp_path):
    """A worker that is paused (a laptop asleep) keeps its claims on its own machine."""
    run = a_run(tmp_path, a_campaign(energies=range(50, 55), directions=2))
    driver = subprocess.Popen(
        [sys.executable, str(DRIVER), str(run.path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while len(run.finished()) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    driver.send_signal(signal.SIGSTOP)
    time.sleep(0.5)
    held = run_status(run).in_progress
    driver.send_signal(signal.SIGCONT)
    out, err = driver.communicate(timeout=300)
    assert held > 0
    assert out.strip() == "20", err
