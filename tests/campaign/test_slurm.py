"""Job scripts: readable, complete, and written only when the request can be met."""

import subprocess

import pytest
from fake_engine import POTENTIAL, a_campaign, a_run

from cascade_driver.campaign.slurm import ArrayRequest, job_script, walltime_s
from cascade_driver.cli import main
from cascade_driver.errors import InputError
from cascade_driver.simulation.potential import load_potential

INPUT = f"""
crystal = {{ name = "Si", repeats = [4, 4, 4] }}
potential = {{ name = "{POTENTIAL}" }}
recoils = [{{ species = "Si", recoil_energies_eV = [20], directions = {{ scheme = "symmetry", count = 2 }} }}]
"""


@pytest.fixture
def run(tmp_path):
    run = a_run(tmp_path / "a run", a_campaign())
    run.keep(load_potential(POTENTIAL))
    (run.path / "input.toml").write_text(INPUT)
    return run


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5", 300), ("5:30", 330), ("12:00:00", 43200), ("1-0", 86400), ("1-6:30", 109800), ("2-00:00:01", 172801)],
)
def test_walltime_is_read_as_slurm_reads_it(text, seconds):
    assert walltime_s(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "12h", "1:2:3:4", "-5", "00:01:00", "0"])
def test_a_bad_walltime_is_refused(text):
    with pytest.raises(InputError, match="walltime"):
        walltime_s(text)


def test_script_names_everything_that_was_asked_for(run):
    request = ArrayRequest(
        tasks=8, time="01:00:00", cpus=4, memory_MiB=500, partition="long", account="dm", extra=("--qos=low",)
    )
    text = job_script(run, request, title="W in CaWO4: a trial")
    options = [line.removeprefix("#SBATCH ") for line in text.splitlines() if line.startswith("#SBATCH ")]
    assert options == [
        "--job-name=cascade-W-in-CaWO4-a-trial",
        "--array=0-7",
        "--ntasks=1",
        "--cpus-per-task=4",
        "--time=01:00:00",
        "--signal=B:TERM@60",
        f'--output="{run.logs}/slurm-%A_%a.out"',
        "--mem-per-cpu=500M",
        "--partition=long",
        "--account=dm",
        "--qos=low",
    ]
    command = text.splitlines()[-1]
    assert command.startswith("exec ")
    assert f"work '{run.path}' --workers 4 --until 3540" in command


def test_lines_of_setup_come_before_the_worker_and_stop_it_if_they_fail(run, tmp_path):
    wanted = ["submit", str(run.path), "--slurm", "--dry-run", "--setup", "module load python/3.11"]
    assert main([*wanted, "--setup", "source 'my env'/bin/activate"]) == 0
    script = run.path / "slurm-array.sh"
    lines = script.read_text().splitlines()
    first = lines.index("module load python/3.11")
    assert lines[first + 1] == "source 'my env'/bin/activate"
    assert first < next(i for i, line in enumerate(lines) if line.startswith("exec "))
    # No `module` here: nothing is run by a Python that was not set up.
    done = subprocess.run(["bash", str(script)], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode != 0
    assert "module" in done.stderr
    assert run.finished() == set()


def test_a_dry_run_writes_the_script_and_stops(run, capsys):
    assert main(["submit", str(run.path), "--slurm", "--tasks", "2", "--dry-run"]) == 0
    assert "written, not submitted; 4 cascades are missing" in capsys.readouterr().out
    assert "--array=0-1" in (run.path / "slurm-array.sh").read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["--time", "tomorrow"], "walltime `tomorrow`"), ([], "no `sbatch` here")],
)
def test_what_cannot_be_submitted_is_one_line_and_nothing_is_written(run, capsys, monkeypatch, arguments, words):
    monkeypatch.setenv("PATH", "/nowhere")
    assert main(["submit", str(run.path), "--slurm", *arguments]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert not (run.path / "slurm-array.sh").exists()


def test_what_slurm_refuses_is_one_line(run, tmp_path, capsys, monkeypatch):
    fake = tmp_path / "bin" / "sbatch"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\necho 'sbatch: error: Invalid partition' >&2; exit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(fake.parent), prepend=":")
    assert main(["submit", str(run.path), "--slurm", "--partition", "none"]) == 2
    assert "Invalid partition" in capsys.readouterr().err


def test_an_unknown_executor_is_one_line_and_nothing_is_written(tmp_path, capsys):
    path = tmp_path / "x.toml"
    path.write_text(INPUT)
    assert main(["run", str(path), "--out", str(tmp_path / "run"), "--executor", "slurm"]) == 2
    said = capsys.readouterr().err
    assert "there are processes, serial, dask" in said
    assert "cascade submit" in said
    assert said.count("\n") == 1
    assert not (tmp_path / "run").exists()
    path.write_text(INPUT + 'work = { executor = "mpi" }\n')
    assert main(["run", str(path), "--out", str(tmp_path / "run")]) == 2
    assert "no executor named `mpi`" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_work_on_a_folder_that_is_no_run_is_one_line(tmp_path, capsys):
    assert main(["work", str(tmp_path)]) == 2
    assert "give the folder that `cascade run` made" in capsys.readouterr().err
