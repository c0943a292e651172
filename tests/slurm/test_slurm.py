"""A real Slurm, a real engine: an array works on a run, dies at its walltime, and finishes on resubmission.

Run as root with `pytest -m slurm` where slurm-wlm and munge are installed (`tests/slurm/slurm.sh install`).
"""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cascade_driver.campaign.rundir import RunDirectory
from cascade_driver.campaign.status import run_status
from cascade_driver.campaign.verify import verify

SCRIPT = Path(__file__).with_name("slurm.sh")
CASCADE = [sys.executable, "-c", "import sys; from cascade_driver.cli import main; sys.exit(main())"]

INPUT = """
title = "Slurm trial"
[crystal]
name = "Si"
repeats = [4, 4, 4]
[potential]
name = "si-tersoff-zbl"
[thermal]
equilibration_ps = 0.05
snapshot_interval_ps = 0.02
[follow]
duration_ps = {duration_ps}
max_displacement_A = 0.05
max_timestep_fs = 2
border = {{ width_A = 4, damping_ps = 0.1 }}
[[recoils]]
species = "Si"
recoil_energies_eV = [20, 30]
directions = {{ scheme = "symmetry", count = {count} }}
snapshots = 1
"""

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(os.geteuid() != 0, reason="starting Slurm's daemons needs root"),
    pytest.mark.skipif(
        not (shutil.which("slurmctld") or Path("/usr/sbin/slurmctld").exists()),
        reason="Slurm is not installed: tests/slurm/slurm.sh install",
    ),
]


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slurm")
    patch = pytest.MonkeyPatch()
    patch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
    try:
        subprocess.run([SCRIPT, "start", folder], check=True, timeout=60)
        yield
    finally:
        subprocess.run([SCRIPT, "stop", folder], check=False, timeout=60)
        patch.undo()


def cascade(*arguments) -> str:
    command = [*CASCADE, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def planned(folder: Path, **values) -> RunDirectory:
    folder.mkdir()
    (folder / "input.toml").write_text(INPUT.format(**values))
    cascade("run", folder / "input.toml", "--out", folder / "run", "--plan-only")
    return RunDirectory(folder / "run")


def wait_for_jobs(timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while subprocess.run(["squeue", "-h"], capture_output=True, text=True, check=True).stdout.strip():
        assert time.monotonic() < deadline, "jobs did not end"
        time.sleep(0.5)


def submit_deaf(run: RunDirectory) -> str:
    """Submit one worker that Slurm does not warn and that does not hear a SIGTERM; return its job."""
    cascade("submit", run.path, "--slurm", "--tasks", 1, "--time", "00:02:00", "--dry-run")
    lines = (run.path / "slurm-array.sh").read_text().splitlines()
    lines = [line for line in lines if not line.startswith("#SBATCH --signal")]
    text = "\n".join(lines).replace("--time=00:02:00", "--time=00:01:00").replace("--until 60", "--until 3600")
    deaf = "from cascade_driver import cli; cli.interrupt = lambda *_: None; sys.exit(cli.main())"
    hearing = "from cascade_driver.cli import main; sys.exit(main())"
    assert hearing in text
    script = run.path.parent / "deaf.sh"
    script.write_text(text.replace(hearing, deaf) + "\n")
    done = subprocess.run(["sbatch", "--parsable", script], capture_output=True, text=True, check=True)
    return done.stdout.strip().split(";")[0]


def test_a_job_that_slurm_kills_at_its_walltime_loses_nothing(slurm, tmp_path):
    """One minute is the shortest walltime; then Slurm says TERM, waits for KillWait = 5 s, and kills."""
    run = planned(tmp_path / "killed", duration_ps=1.0, count=60)
    job = submit_deaf(run)
    wait_for_jobs(240)
    shown = subprocess.run(["scontrol", "show", "job", job], capture_output=True, text=True, check=True).stdout
    assert "JobState=TIMEOUT" in shown
    done = {name: (run.cascades / name / "record.json").read_bytes() for name in run.finished()}
    assert 0 < len(done) < 120
    (log,) = run.logs.glob("slurm-*.out")
    assert "finished here" not in log.read_text()
    assert "stopped" not in log.read_text()
    # Killed in the middle: the claim of the dead worker is still there, and is no obstacle.
    (claim,) = run.claims.glob("[!.]*.json")
    assert json.loads(claim.read_text())["job"].startswith(job)
    assert run_status(run).in_progress == 0
    # Fewer recoils, so that the rest is done soon: what is finished of them stays.
    (run.path / "input.toml").write_text(INPUT.format(duration_ps=1.0, count=60).replace("[20, 30]", "[20]"))
    cascade("run", run.path / "input.toml", "--out", run.path, "--replace-plan", "--plan-only")
    first = {c.id for c in run.load().cascades()}
    missing = first - run.finished()
    cascade("submit", run.path, "--slurm", "--tasks", 2, "--time", "00:30:00")
    wait_for_jobs(900)
    assert missing
    assert first <= run.finished()
    assert {name: (run.cascades / name / "record.json").read_bytes() for name in done} == done
    assert verify(run).is_sound
    assert list(run.claims.glob("[!.]*")) == []


def physics(run: RunDirectory) -> dict:
    return {name: run.record(name).physics for name in run.finished()}


def test_an_array_works_on_a_run_as_local_processes_do(slurm, tmp_path):
    run = planned(tmp_path / "array", duration_ps=0.05, count=6)
    said = cascade("submit", run.path, "--slurm", "--tasks", 3, "--time", "00:05:00", "--partition", "main")
    assert "3 workers for 12 cascades" in said
    wait_for_jobs(600)
    logs = [p.read_text() for p in run.logs.glob("slurm-*.out")]
    assert len(logs) == 3
    assert sum(int(text.split()[0]) for text in logs) == 12, logs
    assert run_status(run).outcomes == {"completed": 12}
    local = planned(tmp_path / "local", duration_ps=0.05, count=6)
    cascade("work", local.path, "--workers", 2)
    assert physics(run) == physics(local)
    assert "nothing to submit" in cascade("submit", run.path, "--slurm")


def test_a_run_stopped_by_the_batch_system_finishes_on_resubmission(slurm, tmp_path):
    run = planned(tmp_path / "killed", duration_ps=0.3, count=8)
    for how in (["--signal=TERM", "--batch"], ["--signal=KILL", "--full"]):
        cascade("submit", run.path, "--slurm", "--tasks", 2, "--time", "00:10:00")
        before, deadline = len(run.finished()), time.monotonic() + 240
        while len(run.finished()) <= before + 1 and time.monotonic() < deadline:
            time.sleep(0.2)
        jobs = subprocess.run(["squeue", "-h", "-o", "%A"], capture_output=True, text=True, check=True).stdout
        for job in sorted(set(jobs.split())):
            subprocess.run(["scancel", *how, job], check=False)
        wait_for_jobs(60)
        assert before < len(run.finished()) < 16
    cascade("submit", run.path, "--slurm", "--tasks", 2, "--time", "00:10:00")
    wait_for_jobs(600)
    assert run_status(run).outcomes == {"completed": 16}
    assert verify(run).is_sound
    assert run_status(run).in_progress == 0
    assert any("stopped; what was in progress is free" in p.read_text() for p in run.logs.glob("slurm-*.out"))


def test_a_job_at_its_walltime_stops_cleanly_and_the_rest_is_done_later(slurm, tmp_path):
    # 70 s of cascades in a job of two minutes that is warned after one.
    run = planned(tmp_path / "walltime", duration_ps=1.0, count=30)
    cascade("submit", run.path, "--slurm", "--tasks", 1, "--time", "00:02:00")
    wait_for_jobs(200)
    done = len(run.finished())
    assert 0 < done < 60
    assert run_status(run).in_progress == 0
    (log,) = run.logs.glob("slurm-*.out")
    assert "cascades finished here" in log.read_text() or "stopped" in log.read_text()
    cascade("work", run.path, "--workers", 2, "--until", 5)
    assert len(run.finished()) > done
