"""Executors: where the work of a campaign is done. They differ in who starts workers and in nothing else.

Whatever the executor, workers meet in the run directory: what to do is in the plan, who is at it in the claims,
what is done in the records. So the records are the same from all of them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cascade_driver.campaign.plan import Campaign
from cascade_driver.campaign.rundir import RunDirectory
from cascade_driver.campaign.slots import OwnProcess, ProcessSlots
from cascade_driver.campaign.supervise import Progress, Supervisor
from cascade_driver.campaign.task import EngineFactory, Workshop
from cascade_driver.errors import InputError
from cascade_driver.schema import plain
from cascade_driver.simulation.lammps_build import EngineSpec
from cascade_driver.simulation.lammps_engine import LammpsEngine
from cascade_driver.simulation.trajectory import TrajectorySpec


@dataclass(frozen=True, kw_only=True)
class Work:
    """A campaign to be worked on, and how; nothing of the latter changes a result.

    Attributes
    ----------
    run : RunDirectory
        Prepared, with the campaign saved in it.
    campaign : Campaign
        The plan.
    potential : pathlib.Path
        Folder of the potential.
    workers : int
        Processes at a time.
    attempts : int
        How often a cascade whose process crashed or hung is tried before that is recorded.
    time_limit_s : float
        Wall time of one cascade.
    grace_s : float
        It gets this much longer to stop of itself before it is killed.
    until_s : float, optional
        No new task is started so long after the beginning.
    engine : callable
        Makes engines; another one than LAMMPS is for tests.
    lammps : EngineSpec, optional
        Which LAMMPS; by default the one that the environment names, or the installed one.
    trajectory : TrajectorySpec, optional
        Which film is kept of each cascade; none by default.
    allow_failed_contract : bool
        Whether workers elsewhere, who try their own LAMMPS, go on where the potential fails.
    """

    run: RunDirectory
    campaign: Campaign
    potential: Path
    workers: int = 1
    attempts: int = 2
    time_limit_s: float = 6 * 3600.0
    grace_s: float = 60.0
    until_s: float | None = None
    engine: EngineFactory = LammpsEngine
    lammps: EngineSpec | None = None
    trajectory: TrajectorySpec | None = None
    allow_failed_contract: bool = False

    @property
    def workshop(self) -> Workshop:
        """What its tasks need."""
        return Workshop(
            run=self.run.path,
            protocol=plain(self.campaign.protocol),
            potential=self.potential,
            time_limit_s=self.time_limit_s,
            engine=self.engine,
            lammps=self.lammps,
            trajectory=self.trajectory,
        )


#: What `[work] executor` and `--executor` may name.
EXECUTORS = ("processes", "serial", "dask")


def worker_command(run: Path, *, workers: int, allow_failed_contract: bool) -> list[str]:
    """Return the words that start a worker on a folder, with this Python, wherever it is."""
    words = [sys.executable, "-P", "-c", "import sys; from cascade_driver.cli import main; sys.exit(main())"]
    words += ["work", str(run), "--workers", str(workers)]
    return words + ["--allow-failed-contract"] * allow_failed_contract


class Executor(Protocol):
    """Does the work of a campaign, or what is left of it."""

    def work(self, work: Work, observe: Callable[[Progress], None]) -> Progress:
        """Work until nothing is left to do, or the time is up.

        Raises
        ------
        CascadeError
            If something is wrong that concerns the whole campaign.
        """


class Processes:
    """A supervised process per task on this machine; the default."""

    def work(self, work: Work, observe: Callable[[Progress], None]) -> Progress:
        """Work here; see `Executor.work`."""
        slots = ProcessSlots(work.workshop, number=work.workers, grace_s=work.grace_s)
        return Supervisor(
            work.run,
            work.campaign,
            slots=slots,
            attempts=work.attempts,
            observe=observe,
            until_s=work.until_s,
        ).work()


class Serial:
    """One task after the other in this very process: for debugging, and where no process may be started."""

    def work(self, work: Work, observe: Callable[[Progress], None]) -> Progress:
        """Work here; see `Executor.work`."""
        return Supervisor(
            work.run,
            work.campaign,
            slots=OwnProcess(work.workshop),
            attempts=work.attempts,
            observe=observe,
            until_s=work.until_s,
        ).work()


def require_executor(name: str) -> str:
    """Return `name` if there is such an executor.

    Raises
    ------
    InputError
        If there is none.
    """
    if name in EXECUTORS:
        return name
    hint = "; for a Slurm array use `cascade submit RUN --slurm`" if "slurm" in name.lower() else ""
    raise InputError(f"no executor named `{name}`; there are {', '.join(EXECUTORS)}{hint}")
