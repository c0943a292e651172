"""The steps of a run behind `cascade run`: plan it, open it, work on it; `conclusion` is what it comes to."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from cascade_driver.campaign.claims import Claims
from cascade_driver.campaign.dask_executor import DaskExecutor
from cascade_driver.campaign.executors import Executor, Processes, Serial, Work, require_executor
from cascade_driver.campaign.plan import Campaign, make_campaign, what_is_lost
from cascade_driver.campaign.rundir import RunDirectory, disk_error
from cascade_driver.campaign.supervise import Progress
from cascade_driver.campaign.tasks import processes_for
from cascade_driver.campaign.verify import set_damaged_aside
from cascade_driver.campaign.work_log import work_log
from cascade_driver.config import (
    RunInput,
    SearchWorkSpec,
    ThresholdInput,
    WorkSpec,
    find_input,
    read_input,
)
from cascade_driver.errors import InputError
from cascade_driver.files import text_of, write_atomically
from cascade_driver.foresight import foresee
from cascade_driver.models import (
    INPUT_FILE,
    analysis_of,
)
from cascade_driver.schema import read_toml
from cascade_driver.simulation.crystal import CrystalSpec, resolved
from cascade_driver.simulation.lammps_build import chosen, library_of
from cascade_driver.simulation.potential import Potential, load_potential
from cascade_driver.simulation.spec import FollowSpec, Protocol, QuenchSpec, ThermalSpec, thermal_of
from cascade_driver.simulation.stopping import resolved_stopping
from cascade_driver.validation.builds import require_contract


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """A run that is ready to be worked on.

    Attributes
    ----------
    directory, campaign : RunDirectory, Campaign
        Its folder and its plan.
    potential : Potential
        The copy that the run keeps.
    given : Potential
        What that is a copy of: a shipped potential, or one in a folder of the user's.
    wanted : RunInput
        Its input.
    """

    directory: RunDirectory
    campaign: Campaign
    potential: Potential
    given: Potential
    wanted: RunInput


def plan_run(given: Path | str, *, out: Path | str | None, replace_plan: bool = False) -> PlannedRun:
    """Read an input file, work out the campaign, and make (or reopen) its run directory.

    Parameters
    ----------
    given : pathlib.Path
        The input file, or the name of a shipped one.
    out : pathlib.Path, optional
        The run directory; by default `runs/<name of the input>` in the current folder.
    replace_plan : bool
        Whether the plan that is there may lose cascades; adding to it needs no such word.

    Raises
    ------
    InputError, PotentialError, EngineError
        If something in the input cannot be used, or it would take the place of another campaign; nothing was
        written then.
    """
    with attended_run(given, out=out, replace_plan=replace_plan) as planned:
        return planned


@contextmanager
def attended_run(given: Path | str, *, out: Path | str | None, replace_plan: bool = False) -> Iterator[PlannedRun]:
    """Plan a run as `plan_run` does, and keep others from changing its plan while the context lasts."""
    path = find_input(given)
    wanted = read_input(path)
    directory = RunDirectory(Path(out or Path("runs") / path.stem).resolve())
    potential = load_potential(wanted.potential.locate(path.parent))
    library_of(chosen(wanted.engine))
    protocol = protocol_of(wanted, potential=potential, base=path.parent, directory=directory)

    def made(earlier: Campaign | None) -> Campaign:
        return make_campaign(
            title=wanted.title or path.stem,
            protocol=protocol,
            potential=potential,
            recoils=wanted.recoils,
            known_groups={group.sampling: group for group in earlier.groups} if earlier else None,
        )

    before = directory.plan()
    campaign = made(before)
    region = wanted.analysis and wanted.analysis.region
    foresee(wanted, campaign.of_region(region) if region else campaign, directory.path)
    directory.prepare()
    with ExitStack() as attendance:
        try:
            with directory.planning():
                earlier = directory.plan()
                if earlier != before:
                    campaign = made(earlier)
                if earlier is not None:
                    _require_leave(directory, earlier, campaign, path, replace_plan=replace_plan)
                kept = directory.keep(potential)
                directory.keep_crystal(campaign)
                directory.save(campaign)
                write_atomically(directory.path / INPUT_FILE, text_of(path, what="TOML"))
                attendance.enter_context(directory.attended())
        except OSError as error:
            raise disk_error(directory.path, error) from None
        yield PlannedRun(directory=directory, campaign=campaign, potential=kept, given=potential, wanted=wanted)


def protocol_of(
    wanted: RunInput | ThresholdInput, *, potential: Potential, base: Path, directory: RunDirectory
) -> Protocol:
    """Return what the kicks of an input in the folder `base` have in common; `directory` may hold its crystal."""
    return make_protocol(
        resolved(_found(wanted.crystal, base, directory), base),
        potential,
        thermal=wanted.thermal,
        follow=wanted.follow,
        quench=wanted.quench,
        seed=wanted.seed,
        base=base,
    )


def make_protocol(
    crystal: CrystalSpec,
    potential: Potential,
    *,
    thermal: ThermalSpec,
    follow: FollowSpec,
    quench: QuenchSpec,
    seed: int,
    base: Path,
) -> Protocol:
    """Return a protocol of which nothing is left to be looked up; files in `follow` are relative to `base`.

    Raises
    ------
    InputError
        If a table of stopping powers cannot be read, or the temperature of the crystal is not known.
    """
    stopping = resolved_stopping(follow.electronic_stopping, base)
    return Protocol(
        crystal=crystal,
        potential_name=potential.name,
        potential_digest=potential.digest,
        thermal=thermal_of(thermal, crystal),
        follow=dataclasses.replace(follow, electronic_stopping=stopping),
        quench=quench,
        campaign_seed=seed,
    )


def _found(crystal: CrystalSpec, base: Path, directory: RunDirectory) -> CrystalSpec:
    """Return a crystal whose file is the copy in the run, if it is not where the input says."""
    if crystal.file is None or (base / crystal.file).exists():
        return crystal
    copy = directory.kept_crystal(crystal.file)
    return crystal if copy is None else dataclasses.replace(crystal, file=str(copy))


def _require_leave(
    directory: RunDirectory, earlier: Campaign, later: Campaign, given: Path, *, replace_plan: bool
) -> None:
    """Refuse a plan that takes the place of another campaign, or changes it while somebody is at work on it."""
    stored = directory.path / INPUT_FILE
    contents = [read_toml(file) if file.is_file() else {} for file in (stored, given)]
    asked, asks = ({k: v for k, v in content.items() if k not in {"work", "engine"}} for content in contents)
    lost = what_is_lost(earlier, later)
    # A driver ends with the table of the plan that is there then; other workers know theirs from the beginning.
    others = directory.drivers() if asked != asks else 0
    if lost:
        others += len(Claims(directory.claims).living())
    if others:
        raise InputError(
            f"{directory.path}: {others} drivers or tasks are at work on another input ({stored}); wait for them, "
            "or choose another --out"
        )
    if lost and not replace_plan:
        finished = len(directory.finished() & {planned.id for planned in earlier.cascades()})
        raise InputError(
            f"{directory.path}: holds another campaign ({lost}), {finished} of its cascades are finished; choose "
            "another --out, or give its plan up with --replace-plan (what is finished stays on the disk)"
        )


def open_run(path: Path | str) -> PlannedRun:
    """Return the run that is in a run directory, ready to be worked on.

    Raises
    ------
    InputError, PotentialError
        If this is no run directory, or its potential is not there any more.
    """
    path = Path(path)
    directory = RunDirectory(path.resolve())
    campaign = directory.load()
    kept = directory.potential(campaign)
    return PlannedRun(
        directory=directory,
        campaign=campaign,
        potential=kept,
        given=kept,
        wanted=analysis_of(directory),
    )


def work_on(
    planned: PlannedRun,
    *,
    observe: Callable[[Progress], None],
    workers: int | None = None,
    executor: str | None = None,
    until_s: float | None = None,
    repair: bool = True,
    allow_failed_contract: bool = False,
    tell: Callable[[str], None] = lambda _said: None,
) -> Progress:
    """Run what is missing of a campaign; damaged records are made again.

    Parameters
    ----------
    planned : PlannedRun
        The run.
    observe : callable
        Called with the progress.
    workers : int, optional
        Processes at a time; by default what the input says, or all cores.
    executor : str, optional
        By default what the input says.
    until_s : float, optional
        No new cascade is started so long after now.
    repair : bool
        Whether to look for damage first; one of many workers need not.
    allow_failed_contract : bool
        See `WorkSpec`.
    tell : callable
        Called with a line for people about the LAMMPS, where there is something to say.

    Raises
    ------
    EngineError
        If the LAMMPS cannot be used with the potential; see `require_contract`.
    CascadeError
        If something is wrong that concerns the whole campaign.
    """
    settings = planned.wanted.work
    how = _executor(require_executor(executor or settings.executor), settings)
    allow_failed_contract = allow_failed_contract or settings.allow_failed_contract
    require_contract(planned.potential, planned.wanted.engine, allow_failed=allow_failed_contract, tell=tell)
    try:
        planned.directory.sweep()
        if repair:
            set_damaged_aside(planned.directory, planned.campaign)
    except OSError as error:
        raise disk_error(planned.directory.path, error) from None
    work = Work(
        run=planned.directory,
        campaign=planned.campaign,
        potential=planned.potential.folder,
        workers=processes_for(workers, settings.workers),
        attempts=settings.attempts,
        time_limit_s=settings.time_limit_s,
        until_s=until_s,
        lammps=None if planned.wanted.engine.is_installed else planned.wanted.engine,
        trajectory=settings.trajectory,
        allow_failed_contract=allow_failed_contract,
    )
    try:
        with work_log(planned.directory.logs):
            return how.work(work, observe)
    except OSError as error:
        raise disk_error(planned.directory.path, error) from None


def _executor(name: str, settings: WorkSpec) -> Executor:
    if name == "serial":
        return Serial()
    if name == "processes":
        return Processes()
    return dask_of(settings)


def dask_of(settings: SearchWorkSpec) -> DaskExecutor:
    """Return the executor that `[work.dask]` asks for."""
    dask = settings.dask
    return DaskExecutor(
        scheduler=dask.scheduler,
        job_class=dask.job_class,
        jobs=dask.jobs,
        job_options=dask.job_options,
        workers_within_s=dask.workers_within_s,
    )
