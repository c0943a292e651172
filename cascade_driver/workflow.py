"""The steps of a run behind `cascade run`: plan, work, then what the input asks for after it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cascade_driver.analysis.model import StoredEnergyModel
from cascade_driver.campaign.claims import Claims
from cascade_driver.campaign.contents import RunContents, contents_of
from cascade_driver.campaign.dask_executor import DaskExecutor
from cascade_driver.campaign.executors import Executor, Processes, Serial, Work, require_executor
from cascade_driver.campaign.plan import Campaign, make_campaign, what_is_lost
from cascade_driver.campaign.rundir import RunDirectory, disk_error
from cascade_driver.campaign.status import run_status
from cascade_driver.campaign.supervise import Progress
from cascade_driver.campaign.verify import set_damaged_aside
from cascade_driver.config import (
    AnalysisSpec,
    RunInput,
    WorkSpec,
    find_input,
    read_input,
)
from cascade_driver.errors import FitError, InputError
from cascade_driver.files import text_of, write_atomically
from cascade_driver.foresight import foresee
from cascade_driver.models import (
    INPUT_FILE,
    MODEL_FILE,
    analysis_of,
    fitted_import,
    fitted_run,
    fitted_with_errors,
    with_errors,
)
from cascade_driver.schema import plain, read_toml
from cascade_driver.simulation.crystal import CrystalSpec, orientation_said, resolved
from cascade_driver.simulation.lammps_build import EngineSpec, chosen, library_of
from cascade_driver.simulation.outcome import CascadeTable
from cascade_driver.simulation.potential import Potential, load_potential
from cascade_driver.simulation.provenance import provenance
from cascade_driver.simulation.spec import Protocol, thermal_of, thermal_said
from cascade_driver.simulation.start import read_box
from cascade_driver.sources.requested import requested_spectrum
from cascade_driver.spectra.observe import Observed, observe
from cascade_driver.spectra.planning import CampaignAdvice, advise
from cascade_driver.validation.checked import require_lammps

if TYPE_CHECKING:
    from cascade_driver.report import ReportContent


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
    protocol = Protocol(
        crystal=resolved(_found(wanted.crystal, path.parent, directory), path.parent),
        potential_name=potential.name,
        potential_digest=potential.digest,
        thermal=thermal_of(wanted.thermal, wanted.crystal),
        follow=wanted.follow,
        quench=wanted.quench,
        campaign_seed=wanted.seed,
    )

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
    foresee(wanted, campaign, directory.path)
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

    Raises
    ------
    EngineError
        If a LAMMPS of one's own cannot be used with the potential.
    CascadeError
        If something is wrong that concerns the whole campaign.
    """
    settings = planned.wanted.work
    how = _executor(require_executor(executor or settings.executor), settings)
    require_lammps(planned.potential, planned.wanted.engine)
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
        workers=workers or settings.workers or len(os.sched_getaffinity(0)),
        attempts=settings.attempts,
        time_limit_s=settings.time_limit_s,
        until_s=until_s,
        lammps=planned.wanted.engine if planned.wanted.engine != EngineSpec() else None,
        trajectory=settings.trajectory,
    )
    return how.work(work, observe)


def _executor(name: str, settings: WorkSpec) -> Executor:
    if name == "serial":
        return Serial()
    if name == "processes":
        return Processes()
    return dask_of(settings)


def dask_of(settings: WorkSpec) -> DaskExecutor:
    """Return the executor that `[work.dask]` asks for."""
    dask = settings.dask
    return DaskExecutor(
        scheduler=dask.scheduler,
        job_class=dask.job_class,
        jobs=dask.jobs,
        job_options=dask.job_options,
        workers_within_s=dask.workers_within_s,
    )


def advise_run(
    directory: RunDirectory, *, between_eV: tuple[float, float] | None = None, allow_failures: bool = False
) -> list[tuple[Observed, CampaignAdvice]]:
    """Return for each spectrum of a run its bands, and what more cascades would do to the statistical one.

    Candidates are the simulated energies of each species and the middles between them.

    Parameters
    ----------
    directory : RunDirectory
    between_eV : (float, float), optional
        Range of observed energies that matters; by default from the threshold (or a tenth of the range) up.
    allow_failures : bool
        Fit although many cascades failed.

    Raises
    ------
    FitError
        If there is no model yet, or its data only bracket the defect probability.
    InputError
        If the input asks for no spectrum, or one cannot be corrected.
    """
    wanted = analysis_of(directory)
    analysis = wanted.analysis or AnalysisSpec()
    if allow_failures:
        analysis = dataclasses.replace(analysis, allow_failures=True)
    if not wanted.spectra:
        raise InputError(
            f"{directory.path}: its input asks for no [[spectra]], so nothing says which error matters; add one"
        )
    table, model = fitted_with_errors(directory, analysis=analysis)
    candidates: dict[str, list[float]] = {}
    for species in model.species:
        energies = np.unique(table.recoil_energy_eV[table.species == species])
        middles = (energies[1:] + energies[:-1]) / 2
        candidates[species] = sorted({*map(float, energies), *map(float, middles)})
    advice = []
    for number, request in enumerate(wanted.spectra, start=1):
        pair = observe(request, model, detector=wanted.detector, name=f"{number}-{request.kind}")
        low, high = between_eV or pair.range_eV
        advice.append(
            (
                pair,
                advise(
                    requested_spectrum(request),
                    model,
                    candidates_eV=candidates,
                    fallback_species=model.response_fallback,
                    low_eV=low,
                    high_eV=high,
                ),
            )
        )
    return advice


@dataclass(frozen=True, kw_only=True)
class Conclusion:
    """What a finished run came to.

    Attributes
    ----------
    table : CascadeTable
        Its cascades.
    files : tuple of pathlib.Path
        What was written.
    notes : tuple of str
        What a reader must know.
    failure : str
        Why there is no model; empty if there is one.
    """

    table: CascadeTable
    files: tuple[Path, ...]
    notes: tuple[str, ...] = ()
    failure: str = ""


def conclude_import(folder: Path) -> Conclusion:
    """Make the model of imported tables, and draw what they say of each species.

    Raises
    ------
    FitError, InputError
        If the folder or its records cannot be used.
    """
    from cascade_driver.plot import save_figure
    from cascade_driver.plot.stored_energy import defect_probability_figure, stored_energy_trend_figure

    table, model = fitted_import(folder)
    files = [model.save(folder / MODEL_FILE)]
    for species in model.species:
        for name, draw in (("probability", defect_probability_figure), ("trend", stored_energy_trend_figure)):
            files += save_figure(draw(table, model, species), folder / "figures" / f"{name}-{species}")
    return Conclusion(table=table, files=tuple(files), notes=model.notes)


def conclude(directory: RunDirectory, *, allow_failures: bool = False) -> Conclusion:
    """Fit, correct, draw and report what a run has so far.

    Where no model can be fitted, or a spectrum cannot be corrected, the report is written all the same and says
    why; `Conclusion.failure` says it, too.

    Raises
    ------
    InputError
        If there is no run, or its folder cannot be written.
    RecordError
        If a record is damaged.
    """
    # Here: matplotlib costs what all the rest costs, and only figures need it.
    from cascade_driver.plot import save_figure
    from cascade_driver.report import report_figures, write_report

    wanted = analysis_of(directory)
    directory.probe(remedy="what a run comes to is written there: make it writable, or copy it to where it is")
    analysis = wanted.analysis or AnalysisSpec()
    if allow_failures:
        analysis = dataclasses.replace(analysis, allow_failures=True)
    files: dict[Path, str] = {}
    model, pairs, problems = None, [], {"model": "", "spectra": ""}
    contents = contents_of(directory)
    table = contents.table()
    try:
        table, model = fitted_run(directory, analysis=analysis, contents=contents)
    except FitError as error:
        problems["model"] = str(error)
    if model is not None:
        try:
            model = with_errors(table, model, analysis=analysis, relative_to=directory.path)
            pairs = _write_pairs(wanted, model, folder=directory.path / "spectra", files=files)
        except (InputError, FitError) as error:
            problems["spectra"] = str(error)
        files[model.save(directory.path / MODEL_FILE)] = "stored-energy model"
    elif wanted.spectra:
        problems["spectra"] = "there is no model to correct them by"
    content = _report_content(directory, contents, wanted, table, model, pairs=pairs, problems=problems)
    figures = report_figures(content)
    for figure in figures:
        for file in save_figure(figure.figure, directory.path / "figures" / figure.name):
            files[file] = figure.caption.split(". ")[0]
    content = dataclasses.replace(content, files={str(f.relative_to(directory.path)): w for f, w in files.items()})
    files[write_report(directory.path / "report.html", content, figures=figures)] = "report"
    return Conclusion(
        table=table,
        files=tuple(files),
        notes=model.notes if model else (),
        failure=problems["model"] or problems["spectra"],
    )


def _write_pairs(
    wanted: RunInput, model: StoredEnergyModel, *, folder: Path, files: dict[Path, str]
) -> list[Observed]:
    """Make and write the requested spectra, as expected and as observed."""
    pairs = []
    for number, request in enumerate(wanted.spectra, start=1):
        name = f"{number}-{request.kind}"
        pair = observe(request, model, detector=wanted.detector, name=name)
        pairs.append(pair)
        for suffix, write in (("expected", pair.expected.write), ("observed", pair.write)):
            file = folder / f"{name}-{suffix}.csv"
            write(file)
            files[file] = f"{pair.title}, {suffix}"
    return pairs


def _report_content(
    directory: RunDirectory,
    contents: RunContents,
    wanted: RunInput,
    table: CascadeTable,
    model: StoredEnergyModel | None,
    *,
    pairs: list[Observed],
    problems: dict[str, str],
) -> ReportContent:
    from cascade_driver.report import ReportContent

    status = run_status(directory, contents)
    campaign = contents.campaign
    protocol = campaign.protocol
    box = read_box(directory.starts(campaign)) if len(table) else None
    border = protocol.follow.border
    facts = {
        "crystal": protocol.crystal.name or str(protocol.crystal.file),
        "orientation": orientation_said(protocol.crystal),
        "atoms in the box": len(box.symbols) if box else "-",
        "box": " × ".join(f"{x:.3f}" for x in box.lengths_A) + " Å" if box else "-",
        "temperature": thermal_said(protocol.thermal),
        "followed for": f"{protocol.follow.duration_ps:g} ps",
        "largest displacement per step": f"{protocol.follow.max_displacement_A:g} Å",
        "border thermostat": f"{border.width_A:g} Å, damping {border.damping_ps:g} ps" if border else "none",
        "seed": protocol.campaign_seed,
        "protocol": protocol.digest,
    }
    return ReportContent(
        title=campaign.title,
        table=table,
        facts=facts,
        potential_name=protocol.potential_name,
        potential_digest=protocol.potential_digest,
        planned={(e.species, e.recoil_energy_eV): e.planned for e in status.energies},
        damaged=status.damaged,
        model=model,
        model_problem=problems["model"],
        pairs=pairs,
        spectra_problem=problems["spectra"] if wanted.spectra else "",
        cpu_hours=status.cpu_hours,
        cpu_s_per_cascade=status.cpu_s_per_cascade,
        peak_memory_MiB=status.peak_memory_MiB,
        provenance=plain(provenance(engine=_engine_of(directory, table))),
        command=f"cascade run {INPUT_FILE} --out RUN",
    )


def _engine_of(directory: RunDirectory, table: CascadeTable) -> str:
    """Return the engine that the records name."""
    if len(table) == 0:
        return ""
    return directory.record(str(table.id[0])).provenance.engine
