"""The steps of a search for thresholds behind `cascade threshold`: plan, work, tables and maps."""

from __future__ import annotations

import dataclasses
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cascade_driver.campaign.claims import Claims
from cascade_driver.campaign.dask_executor import SharedPlace
from cascade_driver.campaign.executors import require_executor
from cascade_driver.campaign.rundir import RunDirectory, disk_error
from cascade_driver.campaign.supervise import Progress
from cascade_driver.campaign.tasks import processes_for, share_tasks
from cascade_driver.campaign.work_log import work_log
from cascade_driver.config import ThresholdInput, find_input, read_threshold_input
from cascade_driver.errors import InputError
from cascade_driver.files import text_of, write_atomically
from cascade_driver.models import INPUT_FILE
from cascade_driver.simulation.crystal import sites_said
from cascade_driver.simulation.frame import frame_said
from cascade_driver.simulation.lammps_build import chosen, library_of
from cascade_driver.simulation.potential import Potential, load_potential
from cascade_driver.thresholds.plan import (
    ThresholdGroup,
    ThresholdPlan,
    heat_said,
    is_search,
    load_plan,
    make_plan,
    save_plan,
)
from cascade_driver.thresholds.search import STARTS, ThresholdTasks, place_of, posterior_of
from cascade_driver.thresholds.summary import GroupThresholds, definition_said, summarise, write_summary
from cascade_driver.validation.builds import require_contract
from cascade_driver.validation.checked import doubt
from cascade_driver.workflow import dask_of, protocol_of

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class PlannedSearch:
    """A search that is ready to be worked on.

    Attributes
    ----------
    directory : RunDirectory
        Its folder.
    plan : ThresholdPlan
    potential : Potential
        The copy that the folder keeps.
    given : Potential
        The one that the input names, of whose checks is known.
    wanted : ThresholdInput
        Its input.
    """

    directory: RunDirectory
    plan: ThresholdPlan
    potential: Potential
    given: Potential
    wanted: ThresholdInput

    @property
    def tasks(self) -> ThresholdTasks:
        """What there is to do."""
        engine = self.wanted.engine
        return ThresholdTasks(
            path=self.directory.path,
            plan=self.plan,
            lammps=None if engine.is_installed else engine,
            time_limit_s=self.wanted.work.time_limit_s,
        )


def plan_search(given: Path | str, *, out: Path | str | None = None) -> PlannedSearch:
    """Read an input file, work out the directions, and make (or reopen) the folder of the search.

    Parameters
    ----------
    given : pathlib.Path
        The input file, or the name of a shipped one.
    out : pathlib.Path, optional
        By default `runs/<name of the input>` in the current folder.

    Raises
    ------
    InputError, PotentialError, EngineError
        If something in the input cannot be used, or the folder holds something else; nothing was written then.
    """
    path = find_input(given, room="thresholds")
    wanted = read_threshold_input(path)
    directory = RunDirectory(Path(out or Path("runs") / path.stem).resolve())
    potential = load_potential(wanted.potential.locate(path.parent))
    library_of(chosen(wanted.engine))
    plan = make_plan(
        title=wanted.title or path.stem,
        protocol=protocol_of(wanted, potential=potential, base=path.parent, directory=directory),
        potential=potential,
        displaced=wanted.displaced,
        snapshots=wanted.snapshots,
        thresholds=wanted.thresholds,
    )
    _require_leave(directory, plan)
    directory.prepare()
    try:
        with directory.planning():
            kept = directory.keep(potential)
            directory.keep_crystal(plan)
            (directory.path / "directions").mkdir(exist_ok=True)
            directory.starts(plan).mkdir(parents=True, exist_ok=True)
            save_plan(directory, plan)
            write_atomically(directory.path / INPUT_FILE, text_of(path, what="TOML"))
    except OSError as error:
        raise disk_error(directory.path, error) from None
    return PlannedSearch(directory=directory, plan=plan, potential=kept, given=potential, wanted=wanted)


def _require_leave(directory: RunDirectory, plan: ThresholdPlan) -> None:
    """Refuse a folder whose finished directions this plan would not have made."""
    if not is_search(directory):
        if (directory.path / "campaign.json").is_file():
            raise InputError(f"{directory.path}: holds a campaign; choose another --out")
        return
    earlier = load_plan(directory)
    same = (
        earlier.protocol.digest == plan.protocol.digest
        and earlier.displaced == plan.displaced
        and earlier.snapshots == plan.snapshots
        and len(earlier.groups) <= len(plan.groups)
        and all(
            dataclasses.replace(e.wanted, directions=p.wanted.directions) == p.wanted
            and p.vectors[: len(e.vectors)] == e.vectors
            for e, p in zip(earlier.groups, plan.groups, strict=False)
        )
    )
    if not same:
        raise InputError(
            f"{directory.path}: holds another search ({earlier.title}); choose another --out (more directions of "
            "the scheme `symmetry`, or more atoms after those that are there, may be added)"
        )


def open_search(path: Path | str) -> PlannedSearch:
    """Return the search that is in a folder, ready to be worked on.

    Raises
    ------
    InputError, PotentialError
        If there is none, or its potential is not there any more.
    """
    directory = RunDirectory(Path(path).resolve())
    plan = load_plan(directory)
    kept = directory.potential_of(plan.protocol)
    return PlannedSearch(
        directory=directory,
        plan=plan,
        potential=kept,
        given=kept,
        wanted=read_threshold_input(directory.path / INPUT_FILE),
    )


def work_on_search(
    planned: PlannedSearch,
    *,
    observe: Callable[[Progress], None],
    workers: int | None = None,
    executor: str | None = None,
    until_s: float | None = None,
    allow_failed_contract: bool = False,
    tell: Callable[[str], None] = lambda _said: None,
) -> Progress:
    """Do what is missing of a search, here or on a cluster; see `workflow.work_on`.

    Raises
    ------
    CascadeError
        If something is wrong that concerns all of it.
    """
    settings = planned.wanted.work
    name = require_executor(executor or settings.executor)
    allow_failed_contract = allow_failed_contract or settings.allow_failed_contract
    require_contract(planned.potential, planned.wanted.engine, allow_failed=allow_failed_contract, tell=tell)
    workers = processes_for(workers, settings.workers)
    try:
        with work_log(planned.directory.logs):
            return _watched(
                planned,
                observe,
                name=name,
                workers=workers,
                until_s=until_s,
                allow_failed_contract=allow_failed_contract,
            )
    except OSError as error:
        raise disk_error(planned.directory.path, error) from None


def _watched(
    planned: PlannedSearch,
    observe: Callable[[Progress], None],
    *,
    name: str,
    workers: int,
    until_s: float | None,
    allow_failed_contract: bool,
) -> Progress:
    """Do what is missing by one of the executors; tell and log what is done."""
    tasks, total = planned.tasks, planned.plan.size
    if name == "dask":
        place = SharedPlace(
            path=planned.directory.path,
            claims=planned.directory.claims,
            total=total,
            done=tasks.done,
            workers=workers,
            allow_failed_contract=allow_failed_contract,
        )
        return dask_of(planned.wanted.work).fly(place, observe)
    progress = Progress(total=total, done=tasks.done(), running=[""] * workers)
    flown_since = time.monotonic()
    _log.info("begun: %d of %d directions are finished", progress.done, total)

    def finished(name: str) -> None:
        nonlocal flown_since
        _note(tasks, name)
        if name == STARTS:
            flown_since = time.monotonic()  # what they took says nothing of the directions
        else:
            progress.done_here += 1
        progress.done = tasks.done()
        progress.busy_s = (time.monotonic() - flown_since) * workers
        observe(progress)

    until = math.inf if until_s is None else time.time() + until_s
    share_tasks(tasks, workers=1 if name == "serial" else workers, observe=finished, until=until)
    progress.done = tasks.done()
    _log.info("ended: %d directions finished here, %d in all", progress.done_here, progress.done)
    return progress


def _note(tasks: ThresholdTasks, name: str) -> None:
    """Log what a task has found: a line per direction, warnings of the engine, and as `debug` each attempt."""
    if name == STARTS:
        _log.info("starts: made")
        return
    group, index = place_of(name)
    if (found := tasks.direction(group, index)) is None:
        return
    for failure in found.failures:
        _log.warning("%s: the engine gave up: %s", name, failure)
    for one in found.attempts:
        said = "displaced" if one.displaced else "not displaced"
        _log.debug("%s: %.4g eV, %s, %.1f CPU s", name, one.recoil_energy_eV, said, one.cpu_s)
    posterior = posterior_of(found, tasks.plan.groups[group])
    low, high = posterior.interval_eV()
    _log.info(
        "%s: %s, threshold %.3g eV (68 %%: %.3g to %.3g) after %d attempts, %.1f CPU s",
        name,
        tasks.plan.groups[group].name,
        posterior.quantile_eV(0.5),
        low,
        high,
        len(found.attempts),
        found.cpu_s,
    )


def said_of_plan(planned: PlannedSearch) -> list[str]:
    """Return what a plan comes to, in lines."""
    plan = planned.plan
    lines = [
        f"{plan.title}: {plan.size} directions in {planned.directory.path}",
        f"potential {planned.potential.name}, {plan.potential_status}",
        frame_said(plan.protocol.crystal.frame),
    ]
    for group in plan.groups:
        wanted = group.wanted
        lines.append(
            f"{group.name}: {len(group.vectors)} directions, site symmetry of order {len(group.rotations)}, "
            f"{len(group.atoms)} equivalent atoms in {plan.snapshots} starts; {wanted.lowest_eV:g} to "
            f"{wanted.highest_eV:g} eV, to {wanted.precision_eV:g} eV or {wanted.precision_share:.0%}, at most "
            f"{wanted.most_attempts} attempts each"
        )
    lines += [heat_said(plan), f"displaced: {definition_said(plan)}"]
    if said := sites_said(plan.protocol.crystal, (g.wanted.species for g in plan.groups if not g.wanted.site)):
        lines.append(f"note: {said}")
    if said := doubt(planned.given, plan.protocol.crystal, planned.wanted.engine):
        lines.append(f"note: {said}")
    return lines


@dataclass(frozen=True, kw_only=True)
class AtomProgress:
    """How far the directions of one atom are.

    Attributes
    ----------
    atom : str
    directions, finished : int
    attempts, failures, met_image : int
        Of the finished ones; see `DirectionThreshold`.
    cpu_s : float
        Spent on them.
    mean_of_finished_eV : float, optional
        Mean of their thresholds, by the solid angle that each stands for.
    """

    atom: str
    directions: int
    finished: int
    attempts: int
    failures: int
    met_image: int
    cpu_s: float
    mean_of_finished_eV: float | None


@dataclass(frozen=True, kw_only=True)
class SearchStatus:
    """How far a search is.

    Attributes
    ----------
    title : str
    potential, potential_status : str
    directions, finished : int
    in_progress : int
        Tasks that somebody is at.
    attempts_under_way : int
        Made along directions that are not finished.
    starts : bool
        Whether the thermal starting states are made.
    cpu_s_left, wall_s_left : float, optional
        CPU time for what is missing, where some are finished; and how long that takes those who are at work.
    groups : tuple of AtomProgress
    """

    title: str
    potential: str
    potential_status: str
    directions: int
    finished: int
    in_progress: int
    attempts_under_way: int
    starts: bool
    cpu_s_left: float | None
    wall_s_left: float | None
    groups: tuple[AtomProgress, ...]


def search_status(planned: PlannedSearch) -> SearchStatus:
    """Return how far a search is."""
    tasks, plan = planned.tasks, planned.plan
    groups = tuple(_progress_of(tasks, g, group) for g, group in enumerate(plan.groups))
    finished = sum(one.finished for one in groups)
    cpu_s = sum(one.cpu_s for one in groups)
    in_progress = len(Claims(planned.directory.claims).living())
    under_way = tasks.under_way()
    left_s = None
    if finished:
        each_s = cpu_s / finished
        # One under way has at least a little before it, whatever it took so far.
        left_s = each_s * (plan.size - finished) - sum(min(one.cpu_s, 0.9 * each_s) for one in under_way)
    return SearchStatus(
        title=plan.title,
        potential=plan.protocol.potential_name,
        potential_status=plan.potential_status,
        directions=plan.size,
        finished=finished,
        in_progress=in_progress,
        attempts_under_way=sum(len(one.attempts) for one in under_way),
        starts=tasks.is_done(STARTS),
        cpu_s_left=None if left_s is None else round(left_s, 1),
        wall_s_left=round(left_s / in_progress, 1) if left_s and in_progress else None,
        groups=groups,
    )


def _progress_of(tasks: ThresholdTasks, number: int, group: ThresholdGroup) -> AtomProgress:
    found = [one for k in range(len(group.vectors)) if (one := tasks.direction(number, k)) is not None]
    attempts = [a for one in found for a in one.attempts]
    middle_eV = [float(posterior_of(one, group).quantile_eV(0.5)) for one in found]
    mean_eV = float(np.average(middle_eV, weights=[group.weights[one.index] for one in found])) if found else None
    return AtomProgress(
        atom=group.name,
        directions=len(group.vectors),
        finished=len(found),
        attempts=len(attempts),
        failures=sum(len(one.failures) for one in found),
        met_image=sum(a.met_image for a in attempts),
        cpu_s=round(sum(one.cpu_s for one in found), 1),
        mean_of_finished_eV=None if mean_eV is None else round(mean_eV, 2),
    )


def conclude_search(directory: RunDirectory) -> tuple[list[GroupThresholds], list[Path]]:
    """Write tables and maps of what is finished; return the thresholds and the files.

    Raises
    ------
    InputError
        If nothing is finished, or the folder cannot be written.
    """
    from cascade_driver.plot import save_figure
    from cascade_driver.plot.thresholds import threshold_figures

    planned = open_search(directory.path)
    directory.probe(remedy="tables and maps are written there: make it writable, or copy it to where it is")
    found = summarise(planned.tasks)
    files = write_summary(planned.tasks, found)
    for name, figure in threshold_figures(found, potential_status=planned.plan.potential_status):
        files += save_figure(figure, directory.path / "figures" / name)
    return found, files


def threshold(
    given: Path | str, *, out: Path | str | None = None, workers: int | None = None, executor: str | None = None
) -> list[GroupThresholds]:
    """Look for threshold displacement energies as an input file says, and return them.

    Parameters
    ----------
    given : str or pathlib.Path
        Input file, or the name of a shipped one; see `ThresholdInput`.
    out : str or pathlib.Path, optional
        Folder of the search; what is there goes on. By default `runs/<name of the input>`.
    workers : int, optional
        Processes; by default what the input says, or all cores.
    executor : str, optional
        By default what the input says.

    Raises
    ------
    CascadeError
        If something in the input cannot be used, or the engine gives up.
    """
    planned = plan_search(given, out=out)
    work_on_search(planned, observe=lambda _: None, workers=workers, executor=executor)
    return conclude_search(planned.directory)[0]
