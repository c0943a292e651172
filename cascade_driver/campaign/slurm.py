"""A Slurm array for a run: a job script to read and edit, submitted if asked for.

Each task of the array is one worker, `cascade work RUN`: it claims cascades until its walltime nears, stops
cleanly on the signal that Slurm sends a minute before, and leaves the rest to others or to the next submission.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

from pydantic import Field, field_validator

from cascade_driver.campaign.executors import worker_command
from cascade_driver.campaign.rundir import RunDirectory
from cascade_driver.errors import CascadeError, InputError
from cascade_driver.files import write_atomically
from cascade_driver.schema import parameters

#: Slurm warns so long before the walltime; killing and releasing takes a second.
WARNING_s = 60

#: A task with less time than this does nothing but start.
SHORTEST_s = 2 * WARNING_s

_TIME = re.compile(r"(?:(?P<d>\d+)-)?(?P<a>\d+)(?::(?P<b>\d+))?(?::(?P<c>\d+))?")


@parameters
class ArrayRequest:
    """What is asked of Slurm.

    Attributes
    ----------
    tasks : int
        Workers: tasks of the array.
    time : str
        Walltime of each, as Slurm writes it: MM, MM:SS, HH:MM:SS, D-HH, D-HH:MM or D-HH:MM:SS.
    cpus : int
        Cores of each, and cascades at a time in it.
    memory_MiB : int, optional
        Memory of each core.
    partition, account : str, optional
    extra : tuple of str
        More options of sbatch, as they are, e.g. `--qos=long`.
    setup : tuple of str
        Lines of shell that come before the worker, e.g. `module load python`.
    """

    tasks: int = Field(default=4, ge=1, le=10**8)
    time: str = "12:00:00"
    cpus: int = Field(default=1, ge=1, le=10**8)
    memory_MiB: int | None = Field(default=None, ge=1, le=10**8)
    partition: str | None = None
    account: str | None = None
    extra: tuple[str, ...] = ()
    setup: tuple[str, ...] = ()

    @field_validator("time")
    @classmethod
    def _is_a_time(cls, time: str) -> str:
        walltime_s(time)
        return time


def walltime_s(text: str) -> int:
    """Return a Slurm walltime in seconds.

    Raises
    ------
    InputError
        If it is none, or too short to be of use.

    Examples
    --------
    >>> walltime_s("12:00:00"), walltime_s("1-6"), walltime_s("90")
    (43200, 108000, 5400)
    """
    match = _TIME.fullmatch(text.strip())
    if match is None:
        raise InputError(f"walltime `{text}` is not one: write HH:MM:SS, e.g. 12:00:00, or D-HH:MM:SS")
    a, b, c = (int(match[k]) if match[k] else 0 for k in "abc")
    if match["d"] is not None:
        seconds = ((int(match["d"]) * 24 + a) * 60 + b) * 60 + c
    elif match["c"] is not None:
        seconds = (a * 60 + b) * 60 + c
    else:
        seconds = a * 60 + b
    if seconds < SHORTEST_s:
        raise InputError(f"walltime `{text}` is {seconds} s; a worker needs at least {SHORTEST_s} s to be of use")
    return seconds


def job_script(
    run: RunDirectory, request: ArrayRequest, *, title: str, allow_failed_contract: bool = False
) -> str:
    """Return the text of the job script."""
    seconds = walltime_s(request.time)
    name = re.sub(r"[^A-Za-z0-9]+", "-", title).strip("-")[:40] or "campaign"
    options = [
        f"--job-name=cascade-{name}",
        f"--array=0-{request.tasks - 1}",
        "--ntasks=1",
        f"--cpus-per-task={request.cpus}",
        f"--time={request.time}",
        # B: the signal goes to the batch process, which `exec` makes the worker itself.
        f"--signal=B:TERM@{WARNING_s}",
        f'--output="{run.logs}/slurm-%A_%a.out"',
    ]
    if request.memory_MiB is not None:
        options.append(f"--mem-per-cpu={request.memory_MiB}M")
    if request.partition is not None:
        options.append(f"--partition={request.partition}")
    if request.account is not None:
        options.append(f"--account={request.account}")
    options += request.extra
    command = worker_command(run.path, workers=request.cpus, allow_failed_contract=allow_failed_contract)
    command += ["--until", str(seconds - WARNING_s)]
    lines = ["#!/bin/bash", *(f"#SBATCH {option}" for option in options), ""]
    lines += [
        "# Each task of the array works on whatever nobody else is at. Submit it again, or a larger array, at any",
        "# moment: what is finished stays, and a task that finds nothing to do ends at once.",
        *(["", "set -e", *request.setup, "set +e", ""] if request.setup else []),
        "export OMP_NUM_THREADS=1",
        f"exec {shlex.join(command)}",
    ]
    return "\n".join(lines) + "\n"


def write_script(
    run: RunDirectory, request: ArrayRequest, *, title: str, allow_failed_contract: bool = False
) -> Path:
    """Write the job script into the run and return its path; its workers may be allowed a failed contract.

    Raises
    ------
    InputError
        If something in the request cannot be.
    """
    if '"' in str(run.path) or "\n" in str(run.path):
        raise InputError(f"{run.path}: Slurm cannot write its logs to a path with such characters; rename it")
    text = job_script(run, request, title=title, allow_failed_contract=allow_failed_contract)
    path = run.path / "slurm-array.sh"
    write_atomically(path, text)
    path.chmod(0o755)
    return path


def submit(script: Path) -> str:
    """Submit a job script and return the number of the job.

    Raises
    ------
    InputError
        If there is no Slurm here.
    CascadeError
        If Slurm refuses.
    """
    done = subprocess.run([sbatch(), "--parsable", str(script)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise CascadeError(f"sbatch refuses {script}: {said}")
    return done.stdout.strip().split(";")[0]


def sbatch() -> str:
    """Return the path of sbatch.

    Raises
    ------
    InputError
        If there is no Slurm here.
    """
    found = shutil.which("sbatch")
    if found is None:
        raise InputError("no `sbatch` here; submit on a machine with Slurm, or write the script with --dry-run")
    return found
