"""A real Dask scheduler, workers in processes of their own, a real engine: workers may be killed."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cascade_driver.campaign.dask_executor import DaskExecutor, SharedPlace
from cascade_driver.campaign.rundir import RunDirectory
from cascade_driver.campaign.status import run_status
from cascade_driver.campaign.verify import verify
from cascade_driver.cli import main
from cascade_driver.config import read_input
from cascade_driver.errors import CascadeError, InputError

CASCADE = [sys.executable, "-c", "import sys; from cascade_driver.cli import main; sys.exit(main())"]

INPUT = """
title = "Dask trial"
[crystal]
name = "Si"
repeats = [4, 4, 4]
[potential]
name = "si-tersoff-zbl"
[thermal]
equilibration_ps = 0.05
snapshot_interval_ps = 0.02
[follow]
duration_ps = 0.2
max_displacement_A = 0.05
max_timestep_fs = 2
border = { width_A = 4, damping_ps = 0.1 }
[[recoils]]
species = "Si"
recoil_energies_eV = [20, 30]
directions = { scheme = "symmetry", count = 10 }
snapshots = 1
[work.dask]
"""


def written(folder: Path, more: str = "") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "input.toml"
    path.write_text(INPUT + more)
    return path


def require_nothing_started(run: Path) -> None:
    assert not list((run / "cascades").iterdir())
    assert not list((run / "claims").iterdir())


def test_a_scheduler_that_does_not_answer_is_one_line_and_nothing_is_started(tmp_path, capsys, monkeypatch):
    pytest.importorskip("distributed", reason="needs the extra `dask`")
    monkeypatch.setattr("cascade_driver.campaign.dask_executor._CONNECT_WITHIN_s", 0.5)
    path = written(tmp_path, 'scheduler = "tcp://127.0.0.1:9"')
    assert main(["run", str(path), "--out", str(tmp_path / "run"), "--executor", "dask"]) == 2
    said = capsys.readouterr().err
    assert "no Dask scheduler answers at tcp://127.0.0.1:9" in said
    assert said.count("\n") == 1
    require_nothing_started(tmp_path / "run")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ('job_class = "SlurmCluster"', "is not one of dask-jobqueue's"),
        ('job_class = "SLURMCluster"\njob_options = { coores = 1 }', "[work.dask] job_options"),
    ],
)
def test_jobs_that_cannot_be_made_are_one_line_and_nothing_is_started(tmp_path, more, words):
    pytest.importorskip("dask_jobqueue", reason="needs the extra `dask`")
    command = [*CASCADE, "run", str(written(tmp_path, more)), "--out", str(tmp_path / "run"), "--executor", "dask"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    if (tmp_path / "run").exists():
        require_nothing_started(tmp_path / "run")


def test_dask_that_is_not_installed_is_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    path = written(tmp_path)
    assert main(["run", str(path), "--out", str(tmp_path / "run"), "--executor", "dask"]) == 2
    assert "pip install 'cascade-driver[dask]'" in capsys.readouterr().err


def test_a_scheduler_and_jobs_together_are_refused(tmp_path):
    with pytest.raises(InputError, match="give either `scheduler` or `job_class`"):
        read_input(written(tmp_path, 'job_class = "SLURMCluster"\nscheduler = "tcp://a:1"'))


@pytest.fixture
def cluster(tmp_path):
    """A scheduler file, and four workers with one thread each and nobody to restart them."""
    pytest.importorskip("distributed", reason="needs the extra `dask`")
    file = tmp_path / "scheduler.json"
    start = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
    start += ["--port", "0", "--scheduler-file", str(file), "--no-dashboard", "--host", "127.0.0.1"]
    log = (tmp_path / "dask.log").open("w")
    scheduler = subprocess.Popen(start, stdout=log, stderr=log)
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", "--scheduler-file", str(file)]
    worker += ["--nthreads", "1", "--no-nanny", "--no-dashboard", "--local-directory", str(tmp_path)]
    deadline = time.monotonic() + 120
    while not file.exists():
        assert time.monotonic() < deadline, (tmp_path / "dask.log").read_text()
        time.sleep(0.1)
    workers = [subprocess.Popen(worker, stdout=log, stderr=log) for _ in range(4)]
    yield file, workers, scheduler
    for process in (*workers, scheduler):
        process.kill()
        process.wait()
    log.close()


@pytest.mark.dask
def test_two_of_four_workers_are_killed_and_nothing_is_lost_or_done_twice(tmp_path, cluster):
    file, workers, _ = cluster
    path = written(tmp_path, f'scheduler = "{file}"\nworkers_within_s = 300')
    run = RunDirectory(tmp_path / "run")
    command = [*CASCADE, "run", str(path), "--out", str(run.path), "--executor", "dask"]
    driver = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 300
    while len(run.finished()) < 3 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert len(run.finished()) < 20
    for worker in workers[:2]:
        worker.send_signal(signal.SIGKILL)
    out, err = driver.communicate(timeout=900)
    assert driver.returncode == 0, err
    assert "20 of 20 cascades finished" in out
    assert run_status(run).outcomes == {"completed": 20}
    assert verify(run).is_sound
    # Each is there once, and nobody is left at work.
    assert not [p for p in run.cascades.iterdir() if p.name.startswith(".")]
    deadline = time.monotonic() + 60
    while list(run.claims.glob("*")) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert run_status(run).in_progress == 0
    local = RunDirectory(tmp_path / "local")
    subprocess.run([*CASCADE, "run", str(path), "--out", str(local.path), "--executor", "processes"], check=True)
    assert {n: run.record(n).physics for n in run.finished()} == {
        n: local.record(n).physics for n in local.finished()
    }


def a_place(folder: Path) -> SharedPlace:
    """Return a run directory with nothing in it as a place of which nothing is ever done."""
    run = RunDirectory(folder)
    run.prepare()
    return SharedPlace(
        path=run.path, claims=run.claims, total=20, done=lambda: 0, workers=1, allow_failed_contract=False
    )


@pytest.mark.dask
@pytest.mark.parametrize("question", ["scheduler_info", "submit"])
def test_a_scheduler_that_dies_before_any_question_is_lost_in_one_line(tmp_path, cluster, monkeypatch, question):
    distributed = pytest.importorskip("distributed", reason="needs the extra `dask`")
    file, _, scheduler = cluster
    asked = getattr(distributed.Client, question)

    def dies(client, *arguments, **options):
        scheduler.kill()
        scheduler.wait()
        return asked(client, *arguments, **options)

    monkeypatch.setattr(distributed.Client, question, dies)
    place = a_place(tmp_path / "run")
    with pytest.raises(CascadeError, match=r"^the Dask scheduler was lost") as caught:
        DaskExecutor(scheduler=str(file)).fly(place, lambda _: None)
    assert "\n" not in str(caught.value)
    assert not list(place.claims.iterdir())


@pytest.mark.dask
def test_a_client_that_cannot_close_hides_nothing(tmp_path, cluster, monkeypatch):
    distributed = pytest.importorskip("distributed", reason="needs the extra `dask`")
    close = distributed.Client.close

    def late(client, *arguments, **options):
        close(client, *arguments, **options)
        raise TimeoutError("timed out after 20 s")

    def stop(_progress):
        raise CascadeError("the disk is full")

    monkeypatch.setattr(distributed.Client, "close", late)
    with pytest.raises(CascadeError, match="the disk is full"):
        DaskExecutor(scheduler=str(cluster[0])).fly(a_place(tmp_path / "run"), stop)


@pytest.mark.dask
@pytest.mark.parametrize("trouble", [KeyError("a bug of ours"), OSError(errno.ENOSPC, "full")])
def test_what_is_not_the_schedulers_trouble_keeps_its_name(tmp_path, cluster, trouble):
    def stop(_progress):
        raise trouble

    with pytest.raises(type(trouble)) as caught:
        DaskExecutor(scheduler=str(cluster[0])).fly(a_place(tmp_path / "run"), stop)
    assert caught.value is trouble


@pytest.mark.dask
@pytest.mark.parametrize("victim", ["driver", "scheduler"])
def test_pilots_stop_when_the_driver_or_the_scheduler_dies(tmp_path, cluster, victim):
    file, _, scheduler = cluster
    path = written(tmp_path, f'scheduler = "{file}"\nworkers_within_s = 300')
    run = RunDirectory(tmp_path / "run")
    command = [*CASCADE, "run", str(path), "--out", str(run.path), "--executor", "dask"]
    driver = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 300
    while len(run.finished()) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    (driver if victim == "driver" else scheduler).send_signal(signal.SIGKILL)
    _, err = driver.communicate(timeout=300)
    if victim == "scheduler":
        assert driver.returncode == 2, err
        assert err.strip().splitlines()[-1].startswith("cascade: the Dask scheduler was lost")
    deadline = time.monotonic() + 60
    while run_status(run).in_progress and time.monotonic() < deadline:
        time.sleep(0.2)
    done = len(run.finished())
    assert run_status(run).in_progress == 0
    time.sleep(2)
    assert len(run.finished()) == done < 20
    again = subprocess.run([*CASCADE, "work", str(run.path)], env=os.environ, check=True, capture_output=True)
    assert again.returncode == 0
    assert run_status(run).outcomes == {"completed": 20}
