"""Workers: whatever happens to them, every cascade ends as one record, and always the same one."""

import dataclasses
import errno
import gzip
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import fake_engine
import numpy as np
import pytest
from fake_engine import a_campaign, a_run, physics_of, work_of

from cascade_driver.analysis.outcomes import effective_number
from cascade_driver.campaign import rundir, supervise
from cascade_driver.campaign.claims import Claims, _owner_text
from cascade_driver.campaign.contents import contents_of
from cascade_driver.campaign.executors import Processes, Serial
from cascade_driver.campaign.plan import Campaign, RecoilsSpec, make_campaign
from cascade_driver.campaign.rundir import RunDirectory
from cascade_driver.campaign.slots import Ending, OwnProcess
from cascade_driver.campaign.status import run_status
from cascade_driver.campaign.verify import set_damaged_aside, verify
from cascade_driver.cli import main
from cascade_driver.config import AnalysisSpec
from cascade_driver.errors import CascadeError, EngineError, RecordError
from cascade_driver.models import fitted_run
from cascade_driver.schema import build, digest
from cascade_driver.simulation.outcome import Outcome
from cascade_driver.simulation.potential import load_potential
from cascade_driver.simulation.record import write_record

DRIVER = Path(__file__).parents[1] / "fake_driver.py"


def silent(_progress):
    pass


def undisturbed(folder, campaign) -> dict:
    run = a_run(folder, campaign)
    Serial().work(work_of(run), silent)
    return physics_of(run)


def test_processes_do_all_and_leave_nothing_behind(tmp_path):
    run = a_run(tmp_path, a_campaign(energies=(50, 60)))
    seen = []
    progress = Processes().work(work_of(run), lambda p: seen.append((p.done, len(p.running))))
    assert (progress.done, progress.done_here, progress.total, progress.failures) == (8, 8, 8, 0)
    assert run.finished() == {c.id for c in run.load().cascades()}
    assert list(run.claims.iterdir()) == []
    assert list(run.logs.iterdir()) == []
    assert max(running for _, running in seen) == 2


def test_serial_and_processes_give_the_same_physics_to_the_byte(tmp_path):
    campaign = a_campaign(energies=(50, 60, 70))
    run = a_run(tmp_path / "pool", campaign)
    Processes().work(work_of(run), silent)
    assert physics_of(run) == undisturbed(tmp_path / "serial", campaign)


def test_a_relaunch_does_only_what_is_missing(tmp_path):
    run = a_run(tmp_path, a_campaign(energies=(50,)))
    Processes().work(work_of(run), silent)
    stamps = {n: (run.cascades / n / "record.json").stat().st_mtime_ns for n in run.finished()}
    run.save(a_campaign(energies=(50, 60)))
    progress = Processes().work(work_of(run), silent)
    assert (progress.done, progress.done_here) == (8, 4)
    assert all((run.cascades / n / "record.json").stat().st_mtime_ns == t for n, t in stamps.items())
    assert Processes().work(work_of(run), silent).done_here == 0


@pytest.mark.parametrize(
    ("energy", "outcome", "words"),
    [
        (fake_engine.KILLED, Outcome.ENGINE_ERROR, "signal SIGKILL: about to die"),
        (fake_engine.SEGFAULT, Outcome.ENGINE_ERROR, "signal SIGSEGV"),
        (fake_engine.LOSES_ATOMS, Outcome.LOST_ATOMS, "3 atoms lost"),
    ],
)
def test_a_cascade_that_fails_is_a_record_and_costs_nobody_else(tmp_path, energy, outcome, words):
    run = a_run(tmp_path, a_campaign(energies=(50, energy), directions=1, snapshots=2))
    progress = Processes().work(work_of(run), silent)
    assert (progress.done, progress.failures) == (4, 2)
    failed = [r for r in map(run.record, run.finished()) if r.outcome is not Outcome.COMPLETED]
    assert [r.outcome for r in failed] == [outcome] * 2
    assert all(words in r.message for r in failed)
    if outcome is Outcome.ENGINE_ERROR:
        assert all(r.cost.attempts == 2 for r in failed)
        assert {p.stem for p in run.logs.iterdir()} == {r.id for r in failed}
    assert run_status(run).outcomes == {"completed": 2, outcome.key: 2}


def test_a_crash_costs_one_attempt(tmp_path):
    run = a_run(tmp_path, a_campaign(energies=(fake_engine.CRASHES_ONCE,), directions=1, snapshots=1))
    assert Processes().work(work_of(run), silent).failures == 0
    assert list(run.logs.iterdir()) == []


def test_a_cascade_that_hangs_is_killed_and_recorded(tmp_path):
    run = a_run(tmp_path, a_campaign(energies=(fake_engine.HANGS, 50), directions=1, snapshots=1))
    Processes().work(work_of(run, attempts=1, time_limit_s=5), silent)
    outcomes = sorted(run.record(n).outcome.key for n in run.finished())
    assert outcomes == ["completed", "timed_out"]


@pytest.mark.parametrize("executor", [Serial(), Processes()], ids=["serial", "processes"])
@pytest.mark.parametrize(
    ("energy", "words"),
    [(fake_engine.FATAL, "the potential is gone"), (fake_engine.DISK_FULL, "No space left on device")],
)
def test_what_concerns_the_campaign_stops_it_with_one_line(tmp_path, executor, energy, words):
    run = a_run(tmp_path, a_campaign(energies=(50, energy), directions=1, snapshots=1))
    with pytest.raises(CascadeError, match=words) as caught:
        executor.work(work_of(run, workers=1), silent)
    assert "\n" not in str(caught.value)
    assert len(run.finished()) == 1
    assert list(run.claims.iterdir()) == []


def test_a_bug_of_ours_shows_its_traceback(tmp_path):
    run = a_run(tmp_path, a_campaign(energies=(fake_engine.BUG,), directions=1, snapshots=1))
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        Processes().work(work_of(run), silent)


@pytest.fixture
def failed_run(tmp_path):
    """Of six cascades two crashed, two lost their atoms; one more is of an earlier plan."""
    before = a_campaign(energies=(fake_engine.LOSES_ATOMS,), directions=3, snapshots=1)
    run = a_run(tmp_path / "run", before)
    Serial().work(work_of(run), silent)
    run.save(a_campaign(energies=(50, fake_engine.CRASHES, fake_engine.LOSES_ATOMS), directions=2, snapshots=1))
    Processes().work(work_of(run, attempts=1), silent)
    return run


def outcomes(run) -> list[str]:
    planned = {c.id for c in run.load().cascades()}
    return sorted(run.record(name).outcome.key for name in run.finished() & planned)


def test_failures_whose_cause_is_gone_are_tried_again_and_their_records_kept(failed_run):
    run = failed_run
    assert outcomes(run) == ["completed"] * 2 + ["engine_error"] * 2 + ["lost_atoms"] * 2
    everything = run.finished()
    old = {n: (run.cascades / n / "record.json").read_bytes() for n in everything}
    campaign = run.load()
    assert run.supersede(campaign, {Outcome.TIMED_OUT}) == []
    again = run.supersede(campaign, {Outcome.ENGINE_ERROR})
    assert len(again) == 2
    assert everything - run.finished() == set(again)
    assert run_status(run).superseded == 2
    # The user has mended it.
    assert Processes().work(work_of(run, engine=fake_engine.Mended), silent).done_here == 2
    assert outcomes(run) == ["completed"] * 4 + ["lost_atoms"] * 2
    kept = {p.name.split("-")[0]: (p / "record.json").read_bytes() for p in (run.path / "superseded").iterdir()}
    assert kept == {n: old[n] for n in again}
    assert {n: (run.cascades / n / "record.json").read_bytes() for n in everything - set(again)} == {
        n: old[n] for n in everything - set(again)
    }
    # A cause that is still there makes the same record again, and both are kept.
    lost = run.supersede(campaign, {Outcome.LOST_ATOMS})
    Serial().work(work_of(run), silent)
    assert outcomes(run) == ["completed"] * 4 + ["lost_atoms"] * 2
    status = run_status(run)
    assert (status.superseded, status.finished, status.other) == (4, 6, 1)
    assert status.as_json()["superseded"] == 4
    assert len(lost) == 2


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        (["--redo-failed"], 4),
        (["--redo-outcome", "lost_atoms"], 2),
        (["--redo-outcome", "engine_error", "--redo-outcome", "lost_atoms"], 4),
        ([], 0),
    ],
)
def test_the_command_sets_the_failures_of_the_plan_aside(failed_run, capsys, arguments, count):
    run = failed_run
    (run.path / "input.toml").write_text(
        f'crystal = {{ name = "Si", repeats = [4, 4, 4] }}\npotential = {{ name = "{fake_engine.POTENTIAL}" }}\n'
        '[[recoils]]\nspecies = "Si"\nrecoil_energies_eV = [20]\n'
        'directions = { scheme = "symmetry", count = 2 }\n'
    )
    before = run.finished()
    assert main(["submit", str(run.path), "--slurm", "--dry-run", *arguments]) == 0
    said = capsys.readouterr().out
    assert len(before - run.finished()) == count == run.superseded()
    assert (f"{count} failed cascades are tried again; their records are kept in" in said) == (count > 0)
    if count:
        assert f"{count} cascades are missing" in said


def test_an_unknown_outcome_is_one_line(tmp_path, capsys):
    assert main(["run", "x.toml", "--redo-outcome", "completed"]) == 2
    said = capsys.readouterr().err
    assert "invalid choice: 'completed'" in said
    assert said.count("\n") == 1


def test_a_start_that_cannot_be_made_stops_the_campaign(tmp_path):
    run = a_run(tmp_path, a_campaign())
    with pytest.raises(EngineError, match=r"box could not be made in 2 attempts: .* exit code 3"):
        Processes().work(work_of(run, engine=fake_engine.BadCrystal), silent)


def test_no_new_task_is_started_when_the_time_is_up(tmp_path):
    run = a_run(tmp_path, a_campaign())
    progress = Processes().work(work_of(run, until_s=-1.0), silent)
    assert progress.done == 0
    assert list(run.claims.iterdir()) == []


def test_tasks_of_a_dead_worker_elsewhere_are_taken_over(tmp_path, monkeypatch):
    campaign = a_campaign()
    run = a_run(tmp_path, campaign)
    monkeypatch.setattr("cascade_driver.campaign.claims.this_place", lambda: "elsewhere")
    text = _owner_text()
    monkeypatch.undo()
    claims = [run.claims / f"{campaign.protocol.start_id}-{c.id}.json" for c in campaign.cascades()]
    for path in claims:
        path.write_text(text)
    monkeypatch.setattr("cascade_driver.campaign.claims.DEAD_AFTER_s", 1.0)
    monkeypatch.setattr(supervise, "_LOOK_AT_OTHERS_EVERY_s", 0.2)
    began = time.monotonic()
    assert Processes().work(work_of(run), silent).done == 4
    assert time.monotonic() - began > 0.9


def start_driver(folder: Path, **options) -> subprocess.Popen:
    command = [sys.executable, str(DRIVER), str(folder), *(f"--{k}={v}" for k, v in options.items())]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_stopped_at_any_moment_continues_to_the_same_physics(tmp_path, kind):
    campaign = a_campaign(energies=range(50, 54), directions=2, snapshots=2)
    run = a_run(tmp_path / "run", campaign)
    driver = start_driver(run.path)
    deadline = time.monotonic() + 120
    while not run.finished() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(random.uniform(0, 0.3))
    driver.send_signal(kind)
    out, err = driver.communicate(timeout=300)
    assert driver.returncode in {0, 130, -signal.SIGKILL}, (out, err)
    if kind != signal.SIGKILL and driver.returncode:
        assert "Traceback" not in err
        assert list(run.claims.iterdir()) == []
    driver = start_driver(run.path)
    driver.communicate(timeout=300)
    assert driver.returncode == 0
    assert physics_of(run) == undisturbed(tmp_path / "quiet", campaign)
    assert list(run.claims.glob("[!.]*")) == []
    assert not list(run.cascades.glob(".*"))


@pytest.mark.parametrize(("kind", "method"), [(Claims, "take"), (OwnProcess, "start"), (OwnProcess, "ended")])
def test_an_interruption_beside_a_start_or_an_end_leaves_no_claim(tmp_path, monkeypatch, kind, method):
    run = a_run(tmp_path, a_campaign(energies=(50,)))
    good = getattr(kind, method)

    def interrupted(*arguments):
        result = good(*arguments)
        signal.raise_signal(signal.SIGINT)
        return result

    monkeypatch.setattr(kind, method, interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # who starts tests beside ignores it
    try:
        with pytest.raises(KeyboardInterrupt):
            Serial().work(work_of(run), silent)
    finally:
        signal.signal(signal.SIGINT, before)
    assert list(run.claims.iterdir()) == []


def test_children_die_with_a_killed_driver(tmp_path):
    run = a_run(tmp_path, a_campaign(energies=(fake_engine.HANGS,), directions=2, snapshots=1))
    driver = start_driver(run.path)
    deadline = time.monotonic() + 120
    while len(list(run.claims.glob("[!.]*.json"))) < 2 or not list(run.starts(run.load()).glob("*.npz")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.5)
    family = descendants(driver.pid)
    assert len(family) >= 3  # the fork server and two children
    driver.kill()
    driver.communicate()
    deadline = time.monotonic() + 60
    while any(alive(pid) for pid in family) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [pid for pid in family if alive(pid)] == []


def descendants(pid: int) -> list[int]:
    found, todo = [], [pid]
    while todo:
        parent = todo.pop()
        for task in Path(f"/proc/{parent}/task").iterdir():
            children = [int(c) for c in (task / "children").read_text().split()]
            found += children
            todo += children
    return found


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_two_drivers_share_a_run(tmp_path):
    campaign = a_campaign(energies=range(50, 55), directions=2, snapshots=2)
    run = a_run(tmp_path / "run", campaign)
    drivers = [start_driver(run.path), start_driver(run.path)]
    done = [int(d.communicate(timeout=300)[0].split()[-1]) for d in drivers]
    assert sum(done) == campaign.size
    assert physics_of(run) == undisturbed(tmp_path / "quiet", campaign)


def test_ten_workers_that_ask_at_the_same_moment_make_shared_work_once(tmp_path):
    campaign = a_campaign(energies=range(50, 55), directions=2, snapshots=3)
    run = a_run(tmp_path / "run", campaign)
    marks = tmp_path / "marks"
    marks.mkdir()
    together = threading.Barrier(10)

    def be_a_worker() -> int:
        engine = partial(fake_engine.CountingEngine, marks=marks)
        together.wait()
        return Serial().work(work_of(run, engine=engine), silent).done_here

    with ThreadPoolExecutor(10) as pool:
        done = [worker.result() for worker in [pool.submit(be_a_worker) for _ in range(10)]]
    made = Counter(mark.name.partition("-")[0] for mark in marks.iterdir())
    # Unit cell and box; the box again to be heated; three snapshots.
    assert made == {"built": 3, "heated": 1, "run": 3}
    assert sum(done) == campaign.size
    assert physics_of(run) == undisturbed(tmp_path / "quiet", campaign)


# -- damage -----------------------------------------------------------------------------------------------------


@pytest.fixture
def finished(tmp_path):
    run = a_run(tmp_path / "run", a_campaign(energies=(50, 60), directions=1, snapshots=3))
    Serial().work(work_of(run), silent)
    return run


def flip(path: Path, where: float) -> None:
    content = bytearray(path.read_bytes())
    content[int(len(content) * where)] ^= 16
    path.write_bytes(content)


@pytest.mark.parametrize("file", ["001.data", "001.npz", "000.data", "box.npz"])
def test_a_damaged_start_is_made_again_to_the_same_bits(finished, file):
    starts = finished.starts(finished.load())
    before = {p.name: p.read_bytes() for p in starts.glob("*.data")}
    flip(starts / file, 0.5)
    finished.save(a_campaign(energies=(50, 60, 70), directions=1, snapshots=3))
    assert Processes().work(work_of(finished), silent).failures == 0
    assert {p.name: p.read_bytes() for p in starts.glob("*.data")} == before
    assert any(p.name.startswith(file) for p in (finished.path / "damaged").iterdir())


@pytest.mark.parametrize("file", ["001.data", "001.npz"])
def test_a_start_that_this_machine_makes_differently_is_refused(finished, file):
    starts = finished.starts(finished.load())
    flip(starts / file, 0.5)
    finished.save(a_campaign(energies=(50, 60, 70), directions=1, snapshots=3))
    with pytest.raises(CascadeError, match="this machine makes it differently"):
        Processes().work(work_of(finished, engine=fake_engine.AnotherBuild), silent)
    assert not (starts / "001.npz").exists()


def test_a_start_that_cannot_be_repaired_stops_the_campaign(finished, monkeypatch):
    flip(finished.starts(finished.load()) / "001.data", 0.5)
    monkeypatch.setattr(type(finished), "set_damaged_starts_aside", lambda *_: {})
    finished.save(a_campaign(energies=(50, 60, 70), directions=1, snapshots=3))
    with pytest.raises(RecordError, match="missing or altered"):
        Processes().work(work_of(finished), silent)


def test_a_damaged_record_is_made_again(finished):
    before = physics_of(finished)
    flip(finished.cascades / sorted(before)[0] / "record.json", 0.3)
    assert len(finished.set_damaged_records_aside()) == 1
    assert Processes().work(work_of(finished), silent).done_here == 1
    assert physics_of(finished) == before


def rot(path: Path, where: float) -> None:
    """Flip a bit as an old disk does: size and times of the file stay."""
    stamp = path.stat()
    flip(path, where)
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))


@pytest.mark.parametrize("file", ["record.json", "final.extxyz.gz"])
def test_verify_finds_what_rots_in_silence_and_a_run_repairs_it(finished, file):
    before = physics_of(finished)
    assert run_status(finished).finished == 6  # the index knows all records
    name = sorted(before)[2]
    rot(finished.cascades / name / file, 0.5)
    found = verify(finished)
    assert list(found.damaged_cascades) == [name]
    assert (found.cascades, found.starts, found.is_sound) == (6, 4, False)
    assert len(set_damaged_aside(finished, finished.load())) == 1
    assert Processes().work(work_of(finished), silent).done_here == 1
    assert physics_of(finished) == before
    assert verify(finished).is_sound
    assert set_damaged_aside(finished, finished.load()) == []


def test_verify_finds_a_missing_structure_and_a_wrong_name(finished):
    one, other = sorted(finished.finished())[:2]
    (finished.cascades / one / "final.extxyz.gz").unlink()
    record = finished.record(other)
    forged = dataclasses.replace(record, spec=dataclasses.replace(record.spec, seed=record.spec.seed + 1))
    write_record(forged, finished.cascades / other)
    assert set(verify(finished).damaged_cascades) == {one, other}


def test_verify_finds_a_structure_of_another_cascade_and_one_that_was_edited(finished):
    before = physics_of(finished)
    one, other, third, fourth = sorted(finished.finished())[:4]
    place = {name: finished.cascades / name / "final.extxyz.gz" for name in (one, other, third, fourth)}
    content = place[one].read_bytes()
    place[other].write_bytes(content)
    place[third].write_bytes(gzip.compress(gzip.decompress(place[third].read_bytes()).replace(b"1", b"2", 1)))
    place[fourth].rename(place[fourth].with_name("elsewhere"))
    place[fourth].symlink_to("elsewhere")
    assert set(verify(finished).damaged_cascades) == {other, third, fourth}
    set_damaged_aside(finished, finished.load())
    Serial().work(work_of(finished), silent)
    assert verify(finished).is_sound
    assert physics_of(finished) == before


def test_verify_says_what_records_without_a_checksum_cannot_tell(finished, capsys):
    # As records were written in the first days.
    name = min(finished.finished())
    path = finished.cascades / name / "record.json"
    content = json.loads(path.read_text())
    del content["checksum"], content["files"]
    path.write_text(json.dumps(content | {"checksum": digest(content, length=64)}))
    found = verify(finished)
    assert found.is_sound
    assert (found.cascades, found.without_checksum) == (6, 1)
    main(["verify", str(finished.path)])
    assert "1 records name no checksum of their structure" in " ".join(capsys.readouterr().out.split())
    assert finished.record(name).files == {}


@pytest.mark.parametrize("what", ["box.npz", "001.npz", "001.data", "all"])
def test_removed_starts_are_damage_and_are_made_again_to_the_same_bits(finished, what):
    starts = finished.starts(finished.load())
    before = {file.name: file.read_bytes() for file in starts.glob("*.data")}
    assert verify(finished).is_sound
    if what == "all":
        shutil.rmtree(starts)
    else:
        (starts / what).unlink()
    assert len(verify(finished).damaged_starts) == {"all": 4}.get(what, 1)
    set_damaged_aside(finished, finished.load())
    Serial().work(work_of(finished), silent)
    assert {file.name: file.read_bytes() for file in starts.glob("*.data")} == before
    assert verify(finished).is_sound


def test_all_that_is_left_of_removed_starts_is_noticed_without_a_verification(finished):
    shutil.rmtree(finished.starts(finished.load()))
    assert len(set_damaged_aside(finished, finished.load())) == 4
    Serial().work(work_of(finished), silent)
    assert verify(finished).is_sound


def test_links_are_not_followed_out_of_a_run(tmp_path):
    mine = tmp_path / "mine"
    mine.write_text("mine")
    campaign = a_campaign(energies=(50, 60), directions=1, snapshots=1)
    run = a_run(tmp_path / "run", campaign)
    names = [planned.id for planned in campaign.cascades()]
    (run.logs / f"{names[0]}.log").symlink_to(mine)
    other = a_run(tmp_path / "other", campaign)
    Serial().work(work_of(other), silent)
    (run.cascades / names[1]).symlink_to(other.cascades / names[1])
    record = other.cascades / names[1] / "record.json"
    before = record.read_bytes()
    assert not run.finished()
    assert run_status(run).finished == 0
    assert list(verify(run).damaged_cascades) == [names[1]]
    Processes().work(work_of(run), silent)
    assert mine.read_text() == "mine"
    assert record.read_bytes() == before
    assert not (run.cascades / names[1]).is_symlink()
    assert physics_of(run) == physics_of(other)


# -- trouble that passes -----------------------------------------------------------------------------------------


class Disturbed(fake_engine.FakeEngine):
    """Meets a server of files that has forgotten us, as often as there are marks in a folder."""

    def __init__(self, *, potential, time_limit_s, marks, onlooker=None):
        super().__init__(potential=potential, time_limit_s=time_limit_s)
        self.marks = Path(marks)

    def follow(self, **more):
        for mark in self.marks.iterdir():
            mark.unlink()
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), str(self.state))
        return super().follow(**more)


@pytest.mark.parametrize("times", [2, 100])
def test_passing_trouble_of_a_task_is_waited_out_and_counts_for_no_attempt(tmp_path, monkeypatch, times):
    monkeypatch.setattr(supervise, "_PATIENCE_s", (0.01,) * 4)
    marks = tmp_path / "marks"
    marks.mkdir()
    for number in range(times):
        (marks / str(number)).touch()
    run = a_run(tmp_path / "run", a_campaign(energies=(50,), directions=1))
    work = work_of(run, engine=partial(Disturbed, marks=marks), attempts=1)
    if times == 2:
        assert Serial().work(work, silent).failures == 0
        assert physics_of(run) == undisturbed(tmp_path / "calm", run.load())
    else:
        with pytest.raises(CascadeError, match="Stale file handle, again and again; what is finished is safe"):
            Serial().work(work, silent)
        assert not run.finished()


def test_a_cascade_whose_disk_stumbles_after_it_is_stored_is_counted_once(tmp_path, monkeypatch):
    monkeypatch.setattr(supervise, "_PATIENCE_s", (0.01,) * 4)
    run = a_run(tmp_path, a_campaign(energies=(50,)))
    real, troubles = rundir.flush, iter(range(1))

    def flush(path):
        if path == run.cascades and next(troubles, None) is not None:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), str(path))
        real(path)

    monkeypatch.setattr(rundir, "flush", flush)
    progress = Serial().work(work_of(run), silent)
    assert (progress.total, progress.done, progress.done_here, progress.failures) == (4, 4, 4, 0)
    assert run_status(run).outcomes == {"completed": 4}


class Mistaken(OwnProcess):
    """Does each task, and says of the first cascade that it ended as `kind`, whether or not it was `is_stored`."""

    def __init__(self, workshop, *, kind, is_stored):
        super().__init__(workshop)
        self.kind, self.is_stored, self.did = kind, is_stored, Counter()

    def ended(self, timeout_s):
        task = self._task
        if task is None or task.cascade is None:
            return super().ended(timeout_s)
        self.did[task.name] += 1
        if len(self.did) > 1 or self.did[task.name] > 1:
            return super().ended(timeout_s)
        if self.is_stored:
            super().ended(timeout_s)
        self._task = None
        return [Ending(task=task, kind=self.kind, message="so it says")]


@pytest.mark.parametrize("is_stored", [True, False])
@pytest.mark.parametrize("kind", ["done", "crashed", "timed_out", "damaged", "disturbed"])
def test_a_cascade_is_counted_if_it_is_stored_and_done_again_if_not_whatever_is_said(
    tmp_path, monkeypatch, kind, is_stored
):
    monkeypatch.setattr(supervise, "_PATIENCE_s", (0.01,) * 4)
    run = a_run(tmp_path, a_campaign(energies=(50,)))
    work = work_of(run)
    slots = Mistaken(work.workshop, kind=kind, is_stored=is_stored)
    progress = supervise.Supervisor(run, work.campaign, slots=slots, attempts=2, observe=silent).work()
    assert (progress.total, progress.done, progress.done_here, progress.failures) == (4, 4, 4, 0)
    assert sorted(slots.did.values()) == ([1, 1, 1, 1] if is_stored else [1, 1, 1, 2])
    assert list(run.claims.iterdir()) == []


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ETIMEDOUT, errno.ESTALE])
def test_passing_trouble_of_a_driver_is_waited_out(tmp_path, monkeypatch, number):
    monkeypatch.setattr(supervise, "_PATIENCE_s", (0.01,) * 4)
    run = a_run(tmp_path / "run", a_campaign(energies=(50,), directions=2))
    real, troubles = Claims.take, iter(range(3))

    def take(self, task):
        if next(troubles, None) is not None:
            raise OSError(number, os.strerror(number))
        return real(self, task)

    monkeypatch.setattr(Claims, "take", take)
    assert Serial().work(work_of(run), silent).done == 4
    troubles = iter(range(1000))
    another = a_run(tmp_path / "another", a_campaign())
    with pytest.raises(CascadeError, match="again and again"):
        Serial().work(work_of(another), silent)


def test_a_rename_whose_answer_was_lost_is_done(tmp_path, monkeypatch):
    run = a_run(tmp_path / "run", a_campaign(energies=(50,), directions=1, snapshots=1))
    real = Path.rename, Path.replace

    def twice(which):
        def rename(self, target):
            real[which](self, target)
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

        return rename

    monkeypatch.setattr(Path, "rename", twice(0))
    monkeypatch.setattr(Path, "replace", twice(1))
    assert Serial().work(work_of(run), silent).done == 1
    run.save(run.load())
    monkeypatch.undo()
    assert verify(run).is_sound
    assert not list(run.path.rglob(".draft*"))


def test_a_damaged_copy_of_the_potential_is_named_and_copied_again(finished):
    campaign = finished.load()
    kept = finished.potential(campaign)
    include = kept.include_path
    before = include.read_bytes()
    rot(include, 0.5)
    (said,) = verify(finished).damaged_starts.values()
    assert "differs from" in said
    assert "`cascade run` copies it again" in said
    finished.keep(load_potential(fake_engine.POTENTIAL))
    assert include.read_bytes() == before
    assert verify(finished).is_sound
    assert any(p.name.startswith(kept.name) for p in (finished.path / "damaged").iterdir())


def test_damaged_starts_of_a_finished_run_are_restored(finished):
    starts = finished.starts(finished.load())
    before = {p.name: p.read_bytes() for p in starts.glob("*.data")}
    rot(starts / "001.data", 0.5)
    assert list(verify(finished).damaged_starts) == [str(starts / "001.npz")]
    set_damaged_aside(finished, finished.load())
    assert not (starts / "001.npz").exists()
    Processes().work(work_of(finished), silent)
    assert {p.name: p.read_bytes() for p in starts.glob("*.data")} == before
    assert verify(finished).is_sound


# -- status -----------------------------------------------------------------------------------------------------


def test_status_counts_everything_once(finished):
    status = run_status(finished)
    assert (status.planned, status.finished, status.in_progress, status.other) == (6, 6, 0, 0)
    assert status.hours_left == 0
    assert status.outcomes == {"completed": 6}
    assert sum(e.planned for e in status.energies) == 6
    assert status.kept_bytes == sum(f.stat().st_size for c in finished.cascades.iterdir() for f in c.iterdir())
    flip(finished.cascades / sorted(finished.finished())[0] / "record.json", 0.3)
    finished.save(dataclasses.replace(finished.load(), groups=a_campaign(energies=(50, 70)).groups[:1]))
    later = run_status(finished)
    assert later.finished + len(later.damaged) + later.other == 6
    assert later.as_json()["planned"] == 8


def extended(run: RunDirectory, count: int, **more) -> Campaign:
    """Return the plan of a run with so many directions by symmetry, as `cascade run` makes it."""
    (group,) = run.load().groups
    potential = run.potential(run.load())
    asked = {
        "species": "Si",
        "recoil_energies_eV": group.recoil_energies_eV,
        "directions": {"scheme": "symmetry", "count": count},
        "snapshots": group.snapshots,
    }
    return make_campaign(
        title="trial",
        protocol=run.load().protocol,
        potential=potential,
        recoils=(build(RecoilsSpec, asked | more, origin="test"),),
        known_groups=run.known_groups(),
    )


def test_a_campaign_that_gets_more_directions_keeps_all_that_it_has(tmp_path):
    run = a_run(tmp_path, a_campaign(energies=(30,), snapshots=2, repeats=(4, 4, 4)))
    run.save(extended(run, 8))
    Serial().work(work_of(run), silent)
    assert run_status(run).energies[0].directions_finished == 8
    run.save(extended(run, 16))
    (half,) = run_status(run).energies
    assert (half.finished, half.planned, half.directions_finished, half.directions_planned) == (16, 32, 8, 16)
    table = contents_of(run).table()
    assert len(table) == 16
    assert half.effective == pytest.approx(effective_number(table.direction_weight))
    assert contents_of(run).outside == 0
    # One snapshot of the new directions: the old ones, with two, count no more for it.
    once = extended(run, 16, snapshots=1)
    Serial().work(work_of(run, once), silent)
    table = contents_of(run).table()
    assert len(table) == 24
    assert table.direction_weight.sum() == pytest.approx(1)
    assert run_status(run).energies[0].effective == pytest.approx(effective_number(table.direction_weight))


class Threshold(fake_engine.FakeEngine):
    """Stores something between 3 and 5 eV, the more likely the higher the recoil energy; half at 55 eV."""

    def follow(self, *, velocity_A_ps, **more):
        flight = super().follow(velocity_A_ps=velocity_A_ps, **more)
        chance = float(np.hypot(*velocity_A_ps[:2])) * 1e4 % 1
        likely = 1 / (1 + np.exp(-(flight.pka_kinetic_energy_eV[0] - 55) / 8))
        self.stored_eV = 3 + 2 * chance / likely if chance < likely else 0.0
        return flight


def test_cascades_that_the_plan_does_not_ask_for_are_counted_and_said(tmp_path, capsys):
    energies = (30, 40, 50, 60, 70, 80)
    run = a_run(tmp_path, a_campaign(energies=energies, directions=3))
    Serial().work(work_of(run, engine=Threshold), silent)
    run.save(a_campaign(energies=energies[1:], directions=3))
    assert run_status(run).other == contents_of(run).outside == 6
    said = "6 finished cascades of earlier plans are kept and not counted"
    assert main(["status", str(tmp_path)]) == 0
    assert said in " ".join(capsys.readouterr().out.split())
    _, model = fitted_run(run, analysis=AnalysisSpec())
    assert any(said in note for note in model.notes)
    run.save(a_campaign(energies=energies, directions=3))
    main(["status", str(tmp_path)])
    assert "earlier plans" not in capsys.readouterr().out


def test_status_of_an_empty_run_has_nulls(tmp_path):
    content = run_status(a_run(tmp_path, a_campaign())).as_json()
    assert content["finished"] == 0
    assert content["cascades_per_hour"] is None
    assert content["hours_left"] is None
    assert content["energies"][0]["defect_share"] is None
