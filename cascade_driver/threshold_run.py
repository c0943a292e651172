"""The steps of a search for thresholds behind `cascade threshold`: plan, work, tables and maps."""

from __future__ import annotations

import dataclasses
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
from cascade_driver.campaign.tasks import do_tasks, processes_for, share_tasks
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
from cascade_driver.thresholds.search import STARTS, ThresholdTasks, posterior_of
from cascade_driver.thresholds.summary import GroupThresholds, definition_said, summarise, write_summary
from cascade_driver.validation.builds import require_contract
from cascade_driver.validation.checked import doubt
from cascade_driver.workflow import dask_of, protocol_of


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
            path=self.directory.path, plan=self.plan, lammps=None if engine.is_installed else engine
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
    tasks, total = planned.tasks, planned.plan.size
    workers = processes_for(workers, settings.workers)
    if name == "dask":
        place = SharedPlace(
            path=planned.directory.path,
            claims=planned.directory.claims,
            total=total,
            done=tasks.done,
            workers=workers,
            allow_failed_contract=allow_failed_contract,
        )
        return dask_of(settings).fly(place, observe)
    progress = Progress(total=total, done=tasks.done())
    began = time.monotonic()

    def finished(name: str) -> None:
        if name != STARTS:
            progress.done_here += 1
        progress.done = tasks.done()
        progress.busy_s = (time.monotonic() - began) * workers
        progress.running = [""] * workers
        observe(progress)

    if until_s is not None:
        do_tasks(tasks, observe=finished, go_on=lambda: time.monotonic() - began < until_s, stay=True)
    else:
        share_tasks(tasks, workers=1 if name == "serial" else workers, observe=finished)
    progress.done = tasks.done()
    return progress


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
        Mean of their thresholds, each counted once.
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
    starts : bool
        Whether the thermal starting states are made.
    cpu_s_left : float, optional
        CPU time for what is missing, where some are finished.
    groups : tuple of AtomProgress
    """

    title: str
    potential: str
    potential_status: str
    directions: int
    finished: int
    in_progress: int
    starts: bool
    cpu_s_left: float | None
    groups: tuple[AtomProgress, ...]


def search_status(planned: PlannedSearch) -> SearchStatus:
    """Return how far a search is."""
    tasks, plan = planned.tasks, planned.plan
    groups = tuple(_progress_of(tasks, g, group) for g, group in enumerate(plan.groups))
    finished = sum(one.finished for one in groups)
    cpu_s = sum(one.cpu_s for one in groups)
    return SearchStatus(
        title=plan.title,
        potential=plan.protocol.potential_name,
        potential_status=plan.potential_status,
        directions=plan.size,
        finished=finished,
        in_progress=len(Claims(planned.directory.claims).living()),
        starts=tasks.is_done(STARTS),
        cpu_s_left=round(cpu_s / finished * (plan.size - finished), 1) if finished else None,
        groups=groups,
    )


def _progress_of(tasks: ThresholdTasks, number: int, group: ThresholdGroup) -> AtomProgress:
    found = [one for k in range(len(group.vectors)) if (one := tasks.direction(number, k)) is not None]
    attempts = [a for one in found for a in one.attempts]
    mean_eV = float(np.mean([posterior_of(one, group).quantile_eV(0.5) for one in found])) if found else None
    return AtomProgress(
        atom=group.name,
        directions=len(group.vectors),
        finished=len(found),
        attempts=len(attempts),
        failures=sum(len(one.failures) for one in found),
        met_image=sum(a.met_image for a in attempts),
        cpu_s=round(sum(a.cpu_s for a in attempts), 1),
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
