"""A build of LAMMPS is tried once by itself; what was found is kept for the user, and a failure is refused."""

import contextlib
import fcntl
import json
import shutil
import subprocess
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from cascade_driver.cli import main
from cascade_driver.errors import EngineError
from cascade_driver.simulation.lammps_build import EngineSpec
from cascade_driver.simulation.potential import load_potential
from cascade_driver.validation import builds
from cascade_driver.validation.builds import QUICK_CHECKS, cache_folder, record_contract, require_contract
from cascade_driver.validation.contract import CHECKS, ContractResult

INPUT = """
[crystal]
name = "Si"
minimum_atoms = 300
[potential]
folder = "soft"
[[recoils]]
species = "Si"
recoil_energies_eV = [12]
snapshots = 1
directions = { count = 1 }
"""


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "cascade_driver" / "contracts"


@pytest.fixture
def silicon():
    return load_potential("si-tersoff-zbl")


@pytest.fixture
def soft(tmp_path) -> Path:
    """A potential whose body rules where it says that ZBL does."""
    folder = tmp_path / "soft"
    shutil.copytree(load_potential("si-tersoff-zbl").folder, folder)
    about = folder / "potential.toml"
    text = about.read_text()
    assert "inner_A = 0.4" in text
    about.write_text(text.replace("inner_A = 0.4", "inner_A = 1.2"))
    return folder


@pytest.fixture
def no_engine(monkeypatch) -> None:
    def refuse(*_):
        raise AssertionError("LAMMPS was started")

    monkeypatch.setattr(builds, "apart", refuse)


def results(*, passed: bool) -> list[ContractResult]:
    return [
        ContractResult(
            name=name,
            subject="Si",
            passed=passed,
            measured=0.0,
            unit="",
            requirement="",
            remedy="" if passed else "!",
        )
        for name in CHECKS
    ]


def test_a_build_is_tried_once(silicon, cache, monkeypatch):
    heard = []
    require_contract(silicon, tell=heard.append)
    (said,) = heard
    assert said.startswith("LAMMPS installed 20")
    assert "si-tersoff-zbl holds the contract, tried once per build" in said
    (kept,) = cache.glob("*.json")
    content = json.loads(kept.read_text())
    assert (content["failed"], content["potential_digest"]) == ([], silicon.digest)
    assert content["checks"] > len(QUICK_CHECKS) / 2
    monkeypatch.setattr(builds, "apart", None)
    require_contract(silicon, tell=heard.append)
    assert heard == [said]


def test_a_failure_is_refused_in_one_line_once_found_and_can_be_allowed(soft, monkeypatch):
    potential = load_potential(soft)
    with pytest.raises(EngineError, match=r"ZBL limit, Si-Si: at .*--allow-failed-contract") as raised:
        require_contract(potential)
    assert "\n" not in str(raised.value)
    monkeypatch.setattr(builds, "apart", None)
    with pytest.raises(EngineError, match="potential soft fails"):
        require_contract(potential)
    heard = []
    require_contract(potential, allow_failed=True, tell=heard.append)
    (said,) = heard
    assert said.startswith("note: potential soft fails")


def test_a_run_with_a_build_that_fails_ends_before_its_first_cascade(soft, tmp_path, capsys):
    (tmp_path / "input.toml").write_text(INPUT)
    run = tmp_path / "run"
    assert main(["run", str(tmp_path / "input.toml"), "--out", str(run)]) == 2
    said = capsys.readouterr()
    assert said.err.startswith("cascade: potential soft fails")
    assert said.err.count("\n") == 1
    assert "fails the contract, tried once per build" in said.out
    assert not list((run / "cascades").iterdir())
    assert main(["work", str(run)]) == 2  # by what is known, without trying again
    again = capsys.readouterr()
    assert again.err == said.err
    assert again.out == ""


@pytest.mark.usefixtures("no_engine")
@pytest.mark.parametrize("word", ["input", "argument"])
def test_the_word_that_allows_a_failure_reaches_the_workers(soft, tmp_path, monkeypatch, word):
    record_contract(load_potential(soft), results(passed=False))
    allowed = "\n[work]\nallow_failed_contract = true\n" if word == "input" else ""
    (tmp_path / "input.toml").write_text(INPUT + allowed)

    class Reached(Exception):
        pass

    def reached(*_):
        raise Reached

    monkeypatch.setattr("cascade_driver.campaign.executors.Processes.work", reached)
    words = ["run", str(tmp_path / "input.toml"), "--out", str(tmp_path / "run")]
    with pytest.raises(Reached):
        main([*words, *(["--allow-failed-contract"] if word == "argument" else [])])


#: A cascade of a second.
SHORT = """
crystal = { name = "Si", repeats = [3, 3, 3] }
potential = { folder = "soft" }
thermal = { equilibration_ps = 0.02, snapshot_interval_ps = 0.01 }
follow = { duration_ps = 0.02, max_displacement_A = 0.05, max_timestep_fs = 2 }
recoils = [{ species = "Si", recoil_energies_eV = [5], snapshots = 1, directions = { count = 1 } }]
"""


class OneWorker:
    """A client of Dask whose one worker does at once what it is sent."""

    status = "running"

    def scheduler_info(self, **_):
        return {"workers": {"here": {"nthreads": 1}}}

    def submit(self, work, **_):
        said = work()
        return SimpleNamespace(status="finished", done=lambda: True, result=lambda: said)


@pytest.mark.parametrize("executor", ["slurm", "dask"])
def test_the_word_that_allows_a_failure_reaches_workers_on_other_machines(soft, tmp_path, monkeypatch, executor):
    record_contract(load_potential(soft), results(passed=False))
    (tmp_path / "input.toml").write_text(SHORT)
    run = tmp_path / "run"
    words = ["run", str(tmp_path / "input.toml"), "--out", str(run)]
    if executor == "slurm":
        assert main([*words, "--plan-only"]) == 0
        assert main(["submit", str(run), "--slurm", "--dry-run", "--allow-failed-contract"]) == 0
        assert subprocess.run(["bash", str(run / "slurm-array.sh")], check=False).returncode == 0
    else:
        client = contextlib.contextmanager(lambda *_: (yield OneWorker()))
        monkeypatch.setattr("cascade_driver.campaign.dask_executor.DaskExecutor._client", client)
        assert main([*words, "--executor", "dask", "--allow-failed-contract"]) == 0
    assert len(list(run.glob("cascades/*/record.json"))) == 1


@pytest.mark.usefixtures("no_engine")
def test_what_a_full_check_found_is_known(silicon):
    record_contract(silicon, results(passed=True))
    require_contract(silicon)
    record_contract(silicon, results(passed=False))
    with pytest.raises(EngineError, match=f"fails {len(CHECKS)} of {len(CHECKS)} checks"):
        require_contract(silicon)


def test_another_library_processor_or_argument_is_another_build(silicon, tmp_path, monkeypatch):
    library = tmp_path / "liblammps.so"
    library.write_bytes(b"one")
    own = EngineSpec(lammps=str(library))
    places = {builds._place(silicon, own), builds._place(silicon, EngineSpec(lammps=str(library), suffix="omp"))}
    library.write_bytes(b"two")
    places.add(builds._place(silicon, own))
    places.add(builds._place(load_potential("si-sw-zbl"), own))
    monkeypatch.setattr(builds, "_processor", lambda: "flags: fpu")
    places.add(builds._place(silicon, own))
    assert len(places) == 5
    assert builds._place(silicon, own) in places


def test_a_cache_that_cannot_be_written_is_done_without(silicon, tmp_path, monkeypatch):
    (tmp_path / "cache").write_text("a file")
    tried = []
    monkeypatch.setattr(builds, "apart", lambda *_: tried.append(1) or results(passed=True))
    heard = []
    for _ in range(2):
        require_contract(silicon, tell=heard.append)
    assert len(tried) == 2
    assert all("cannot be written, it will be tried again" in said for said in heard)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema_version": 1}', "\0"])
def test_a_damaged_record_is_none(silicon, monkeypatch, text):
    record_contract(silicon, results(passed=True))
    place = builds._place(silicon, EngineSpec())
    assert place.is_file()
    place.write_text(text)
    tried = []
    monkeypatch.setattr(builds, "apart", lambda *_: tried.append(1) or results(passed=True))
    require_contract(silicon)
    require_contract(silicon)
    assert len(tried) == 1


@pytest.mark.usefixtures("no_engine")
def test_who_comes_second_waits_for_what_the_first_finds(silicon, cache):
    cache.mkdir(parents=True)
    lock = builds._place(silicon, EngineSpec()).with_suffix(".lock").open("a")
    fcntl.flock(lock, fcntl.LOCK_EX)

    def find() -> None:
        time.sleep(0.2)
        record_contract(silicon, results(passed=True))
        lock.close()

    first = threading.Thread(target=find)
    first.start()
    require_contract(silicon)
    first.join()


def test_the_cache_is_where_the_xdg_specification_has_it(tmp_path, monkeypatch):
    assert cache_folder() == tmp_path / "cache" / "cascade_driver"
    monkeypatch.setenv("HOME", str(tmp_path))
    for ignored in ("", "relative/path"):
        monkeypatch.setenv("XDG_CACHE_HOME", ignored)
        assert cache_folder() == tmp_path / ".cache" / "cascade_driver"
