"""One run, one campaign: what is there is never replaced without a word, and a run carries what it needs."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import ase.io
import pytest
from ase.build import bulk
from fake_engine import work_of

from cascade_driver.campaign.claims import Claims
from cascade_driver.campaign.executors import Serial
from cascade_driver.campaign.rundir import RunDirectory
from cascade_driver.cli import main

INPUT = """
seed = {seed}
[crystal]
{crystal}
[potential]
name = "si-tersoff-zbl"
[thermal]
temperature_K = {temperature_K}
[[recoils]]
species = "Si"
recoil_energies_eV = {energies}
directions = {{ scheme = "symmetry", count = {count} }}
snapshots = {snapshots}
{more}
"""

USUAL = {
    "seed": 1,
    "crystal": 'name = "Si"\nminimum_atoms = 1000',
    "temperature_K": 100,
    "energies": [20, 40],
    "count": 8,
    "snapshots": 2,
    "more": "",
}


COMMAND = "import sys; from cascade_driver.cli import main; sys.exit(main(sys.argv[1:]))"


def plan(folder: Path, *options: str, **changes) -> int:
    """Plan the usual campaign, changed, in `folder`/RUN as the command does."""
    path = folder / f"input-{len(list(folder.iterdir()))}.toml"
    path.write_text(INPUT.format(**USUAL | changes))
    return main(["run", str(path), "--out", str(folder / "RUN"), "--plan-only", *options])


def test_a_run_that_cannot_be_written_is_refused_before_it_is_fitted(tmp_path, capsys):
    assert plan(tmp_path) == 0
    (tmp_path / "RUN" / ".probe").mkdir()  # also root cannot put a file there
    capsys.readouterr()
    assert main(["report", str(tmp_path / "RUN")]) == 2
    said = capsys.readouterr().err
    assert f"{tmp_path / 'RUN'}: cannot be written" in said
    assert "make it writable, or copy it" in said


def ids(folder: Path) -> set[str]:
    return {planned.id for planned in RunDirectory(folder / "RUN").load().cascades()}


@pytest.mark.parametrize(
    "more",
    [
        {"energies": [20, 40, 60]},
        {"count": 16},
        {"snapshots": 3},
        {"more": "[work]\nworkers = 3"},
        {"more": "[analysis]\norder = 2"},
        {},
    ],
)
def test_a_campaign_is_extended_without_a_word(tmp_path, more):
    assert plan(tmp_path) == 0
    before = ids(tmp_path)
    assert plan(tmp_path, **more) == 0
    assert before <= ids(tmp_path)


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        ({"temperature_K": 300}, "(thermal.temperature_K 100.0 -> 300.0)"),
        ({"seed": 2}, "(campaign_seed 1 -> 2)"),
        ({"energies": [20, 60]}, "(without Si at 40 eV)"),
        ({"count": 4}, "(without 16 of its 32 cascades"),
        ({"snapshots": 1}, "(without 16 of its 32 cascades"),
    ],
)
def test_another_campaign_is_refused_and_replaced_by_the_word(tmp_path, capsys, other, difference):
    assert plan(tmp_path) == 0
    run = RunDirectory(tmp_path / "RUN")
    run.prepare()
    (run.cascades / min(ids(tmp_path))).mkdir()
    finished = run.finished()
    content = {path: (run.path / path).read_bytes() for path in ("campaign.json", "input.toml")}
    capsys.readouterr()
    assert plan(tmp_path, **other) == 2
    error = capsys.readouterr().err
    assert difference in error
    assert f"{len(finished)} of its cascades are finished" in error
    assert "--replace-plan" in error
    assert error.count("\n") == 1
    assert {path: (run.path / path).read_bytes() for path in content} == content
    assert plan(tmp_path, "--replace-plan", **other) == 0
    assert (run.path / "input.toml").read_bytes() != content["input.toml"]
    assert run.finished() == finished


def test_a_plan_is_not_changed_under_a_driver_at_work(tmp_path, capsys):
    assert plan(tmp_path) == 0
    run = RunDirectory(tmp_path / "RUN")
    before = (run.path / "input.toml").read_bytes()
    with run.attended():
        # The same input, and another way to work on it.
        assert plan(tmp_path) == 0
        assert plan(tmp_path, more="[work]\nworkers = 3") == 0
        assert plan(tmp_path, more='[engine]\nsuffix = "omp"') == 0
        for other in ({"energies": [20, 40, 60]}, {"seed": 2}, {"more": "[analysis]\norder = 2"}):
            capsys.readouterr()
            assert plan(tmp_path, "--replace-plan", **other) == 2
            assert "1 drivers or tasks are at work on another input" in capsys.readouterr().err
        assert b"seed = 1" in before
        assert b"seed = 1" in (run.path / "input.toml").read_bytes()
    # Other workers know their plan from the beginning: it may grow under them, and lose nothing.
    task = Claims(run.claims).take("task")
    assert plan(tmp_path, energies=[20, 40, 60]) == 0
    assert plan(tmp_path, "--replace-plan", seed=2) == 2
    task.release()
    assert plan(tmp_path, "--replace-plan", seed=2) == 0


def test_drivers_that_begin_together_with_different_inputs_never_share_a_run(tmp_path):
    inputs = [tmp_path / f"{seed}.toml" for seed in (1, 2, 3)]
    for seed, path in enumerate(inputs, start=1):
        path.write_text(INPUT.format(**USUAL | {"seed": seed}))
    started = [
        subprocess.Popen(
            [sys.executable, "-c", COMMAND, "run", path, "--out", tmp_path / "RUN", "--plan-only"],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env=os.environ,
        )
        for path in inputs
    ]
    said = [process.communicate(timeout=120)[1].decode() for process in started]
    ends = [(process.returncode, text) for process, text in zip(started, said, strict=True)]
    assert sorted(code for code, _ in ends) == [0, 2, 2], ends
    (winner,) = [path for path, (code, _) in zip(inputs, ends, strict=True) if code == 0]
    assert (tmp_path / "RUN" / "input.toml").read_text() == winner.read_text()


def test_a_run_carries_the_file_of_its_crystal(tmp_path, capsys):
    here = tmp_path / "here"
    here.mkdir()
    ase.io.write(here / "mine [1].cif", bulk("Si", cubic=True))
    assert plan(here, crystal='file = "mine [1].cif"\nminimum_atoms = 1000') == 0
    before = ids(here)
    there = tmp_path / "there"
    there.mkdir()
    (here / "RUN").rename(there / "RUN")
    shutil.rmtree(here)
    run = RunDirectory(there / "RUN")
    Serial().work(work_of(run), lambda _: None)
    assert run.finished()
    capsys.readouterr()
    assert main(["run", str(there / "RUN" / "input.toml"), "--out", str(there / "RUN"), "--plan-only"]) == 0
    assert ids(there) == before
    n = len(before)
    assert f"{n} of the {n} cascades are finished" in capsys.readouterr().out
    # Negative control: without the copy nothing can be made.
    shutil.rmtree(run.path / "crystals")
    shutil.rmtree(run.path / "starts")
    assert main(["run", str(run.path / "input.toml"), "--out", str(run.path), "--plan-only"]) == 2
    assert "no such" in capsys.readouterr().err
