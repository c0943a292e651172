"""What a run comes to: fitted, corrected, drawn and reported, behind `cascade run` and `cascade report`."""

from __future__ import annotations

import contextlib
import dataclasses
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cascade_driver.analysis.damage import said_beside
from cascade_driver.analysis.model import StoredEnergyModel
from cascade_driver.campaign.contents import RunContents, contents_of
from cascade_driver.campaign.index import number as as_number
from cascade_driver.campaign.plan import Campaign
from cascade_driver.campaign.rundir import RunDirectory
from cascade_driver.campaign.scene import Scene, scene_of
from cascade_driver.campaign.status import run_status
from cascade_driver.cite import cite_run
from cascade_driver.config import (
    AnalysisSpec,
    RunInput,
)
from cascade_driver.errors import CascadeError, FitError, InputError, RecordError
from cascade_driver.models import (
    INPUT_FILE,
    MODEL_FILE,
    analysis_of,
    crystal_formulas,
    fitted_import,
    fitted_run,
    surroundings_of_sites,
    with_errors,
)
from cascade_driver.schema import plain
from cascade_driver.simulation.crystal import orientation_said
from cascade_driver.simulation.film_box import FilmSpec, film_said, film_strain
from cascade_driver.simulation.knock_on import Surroundings
from cascade_driver.simulation.outcome import CascadeTable, recoils_told
from cascade_driver.simulation.provenance import provenance
from cascade_driver.simulation.record import NUMBERS
from cascade_driver.simulation.spec import Protocol, thermal_said
from cascade_driver.simulation.start import Box, read_box
from cascade_driver.spectra.observe import Observed, observe
from cascade_driver.version import commit, version

if TYPE_CHECKING:
    from cascade_driver.report import ReportContent


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
        Why there is no model, or a spectrum was not corrected; empty if all is there.
    was_asked_for : bool
        Whether the input asks for what is missing then.
    finished, planned : int
        Cascades.
    """

    table: CascadeTable
    files: tuple[Path, ...]
    notes: tuple[str, ...] = ()
    failure: str = ""
    was_asked_for: bool = False
    finished: int = 0
    planned: int = 0


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
    model, problem = None, ""
    pairs: list[Observed] = []
    uncorrected: list[str] = []
    contents = contents_of(directory)
    fitted = table = contents.table()
    try:
        fitted, model = fitted_run(directory, analysis=analysis, contents=contents)
        table = contents.table(single_kicks=True) if analysis.region else fitted  # the other regions are told, too
    except FitError as error:
        problem = str(error)
    if model is not None:
        try:
            model = with_errors(fitted, model, analysis=analysis, relative_to=directory.path)
            pairs, uncorrected = _write_pairs(wanted, model, folder=directory.path / "spectra", files=files)
        except (InputError, FitError) as error:
            uncorrected = [str(error)]
        files[model.save(directory.path / MODEL_FILE)] = "stored-energy model"
    elif wanted.spectra:
        uncorrected = ["there is no model to correct them by"]
    content = _report_content(
        directory,
        contents,
        table,
        model,
        fitted=fitted,
        pairs=pairs,
        problem=problem,
        uncorrected="; ".join(uncorrected),
    )
    figures = report_figures(content)
    for figure in figures:
        for file in save_figure(figure.figure, directory.path / "figures" / figure.name):
            files[file] = figure.caption.split(". ")[0].removesuffix(".")
    content = dataclasses.replace(content, files={str(f.relative_to(directory.path)): w for f, w in files.items()})
    files[write_report(directory.path / "report.html", content, figures=figures)] = "report"
    return Conclusion(
        table=table,
        files=tuple(files),
        notes=model.notes if model else (),
        failure=f"no model could be fitted: {problem}" if problem else "; ".join(uncorrected),
        was_asked_for=bool(wanted.analysis or wanted.spectra),
        finished=len(content.table),
        planned=content.n_planned or 0,
    )


def _write_pairs(
    wanted: RunInput, model: StoredEnergyModel, *, folder: Path, files: dict[Path, str]
) -> tuple[list[Observed], list[str]]:
    """Make and write the requested spectra, as expected and as observed; return them, and why others are not."""
    pairs, problems = [], []
    for number, request in enumerate(wanted.spectra, start=1):
        name = f"{number}-{request.kind}"
        try:
            pair = observe(request, model, detector=wanted.detector, name=name)
        except (InputError, FitError) as error:
            problems.append(f"{name}: {error}")
            continue
        pairs.append(pair)
        for suffix, write in (("expected", pair.expected.write), ("observed", pair.write)):
            file = folder / f"{name}-{suffix}.csv"
            write(file)
            files[file] = f"{pair.title}, {suffix}"
    return pairs, problems


def _report_content(
    directory: RunDirectory,
    contents: RunContents,
    table: CascadeTable,
    model: StoredEnergyModel | None,
    *,
    fitted: CascadeTable,
    pairs: list[Observed],
    problem: str,
    uncorrected: str,
) -> ReportContent:
    from cascade_driver.report import ReportContent

    status = run_status(directory, contents)
    told = recoils_told((e.species, e.region) for e in status.energies)
    # a model is of single kicks, and so is its table
    planned = [p for p in contents.planned if model is None or not p.then]
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
    if box is not None and protocol.crystal.film is not None:
        facts |= _film_facts(protocol.crystal.film, box) | _stored_facts(contents, table)
    formulas = crystal_formulas(protocol.crystal)
    if len(table) and len(formulas) == 1:  # a film has no one target
        facts |= said_beside(table, formula=formulas[0])
    return ReportContent(
        title=campaign.title,
        table=dataclasses.replace(table, species=np.array(_told(table, told), dtype=np.str_)),
        facts=facts,
        potential_name=protocol.potential_name,
        potential_digest=protocol.potential_digest,
        planned=Counter((told[p.species, p.region_name], p.recoil_energy_eV) for p in planned),
        work=status.said_of_work,
        damaged=status.damaged,
        model=None if model is None else _called_as_told(model, fitted, told),
        model_problem=problem,
        pairs=pairs,
        spectra_problem=uncorrected,
        cpu_hours=status.cpu_hours,
        cpu_s_per_cascade=status.cpu_s_per_cascade,
        peak_memory_MiB=status.peak_memory_MiB,
        provenance=plain(provenance(engine=_engine_of(directory, table))),
        command=_command(directory, protocol.potential_name, protocol.potential_digest),
        defects=_defects(contents, table),
        scenes=_scenes(directory, table),
        sites=_sites(protocol, table),
        citation=_citation(directory, campaign),
    )


def _told(table: CascadeTable, told: Mapping[tuple[str, str], str]) -> list[str]:
    """Return what the recoil of each row of a table is called."""
    return [told[recoil] for recoil in zip(table.species.tolist(), table.region.tolist(), strict=True)]


def _called_as_told(
    model: StoredEnergyModel, fitted: CascadeTable, told: Mapping[tuple[str, str], str]
) -> StoredEnergyModel:
    """Return a model whose species are called as the rows of what it was fitted to: one region of each species."""
    names = dict(zip(fitted.species.tolist(), _told(fitted, told), strict=True))
    return dataclasses.replace(model, species={names[species]: one for species, one in model.species.items()})


def _film_facts(film: FilmSpec, box: Box) -> dict[str, str]:
    strain = film_strain(film, al_A=box.cells_A["Al"][0], si_A=box.cells_A["Si"][0])
    facts = {"film": film_said(film, strain, box.stress)}
    if box.stress is not None:
        layers = zip(box.stress.height_A, box.stress.stress_MPa, strict=True)
        facts["stress in the plane by height"] = "; ".join(f"{z:.1f} Å {s:+.0f} MPa" for z, s in layers)
    return facts


def _stored_facts(contents: RunContents, table: CascadeTable) -> dict[str, str]:
    """Return in which part of a film its cascades keep their energy, on the mean of those that tell it."""
    found = []
    for part in ("substrate", "interface", "film"):
        values = _numbers_of(contents, table, f"stored_in_{part}_eV")
        if np.isfinite(values).any():
            found.append(f"{part} {np.nanmean(values):.2f} eV")
    return {"stored, by where its atoms started (mean)": ", ".join(found)} if found else {}


def _command(directory: RunDirectory, potential: str, digest: str) -> str:
    """Return how to make a run again, and what tells that the potential is the same one."""
    return "\n".join(
        (
            f"# cascade_driver {version()}, commit {commit()}; in a copy of this folder, {directory.path.name}/",
            f"# potential {potential}, digest {digest}, as in potentials/",
            f"cascade run {INPUT_FILE} --out AGAIN",
            "cascade compare . AGAIN",
        )
    )


def _sites(protocol: Protocol, table: CascadeTable) -> dict[str, Surroundings]:
    """Return what knock-ons have around them; nothing where the crystal cannot be built again."""
    try:
        return surroundings_of_sites(protocol, sorted({str(s) for s in table.species}))
    except InputError:
        return {}


def _scenes(directory: RunDirectory, table: CascadeTable) -> list[Scene]:
    """Return of the highest recoil energy the cascades that stored most, some in the middle, and least."""
    rows = np.flatnonzero(table.is_usable & table.stores_energy)
    if not len(rows):
        return []
    rows = rows[table.recoil_energy_eV[rows] == table.recoil_energy_eV[rows].max()]
    rows = rows[np.argsort(-table.stored_energy_eV[rows])]
    chosen = dict.fromkeys(str(table.id[rows[i]]) for i in (0, len(rows) // 2, len(rows) - 1))
    scenes = []
    for cascade in chosen:
        with contextlib.suppress(InputError, RecordError):  # no structure, or a damaged one: `verify` names it
            scenes.append(scene_of(directory, cascade))
    return scenes


def _citation(directory: RunDirectory, campaign: Campaign | None = None) -> tuple[str, ...]:
    """Return what to cite; nothing where a part of the run is damaged, which other commands tell."""
    try:
        return tuple(cite_run(directory, campaign=campaign, every_record=False).lines)
    except CascadeError:
        return ()


def _defects(contents: RunContents, table: CascadeTable) -> dict[str, NDArray[np.float64]]:
    """Return what was left in the cascades of a table: numbers of defects, nan where nobody counted."""
    of_films = ("adatoms", "interface_atoms")
    names = ("vacancies", "interstitials", "antisites", *of_films, "clusters", "displaced_atoms")
    found = {name: _numbers_of(contents, table, name) for name in names}
    return {name: numbers for name, numbers in found.items() if name not in of_films or np.any(numbers > 0)}


def _numbers_of(contents: RunContents, table: CascadeTable, name: str) -> NDArray[np.float64]:
    """Return a number of each cascade of a table, nan where its record has none."""
    rows = [contents.rows[str(cascade)] for cascade in table.id]
    return np.array([as_number(row.numbers[NUMBERS.index(name)]) for row in rows], dtype=np.float64)


def _engine_of(directory: RunDirectory, table: CascadeTable) -> str:
    """Return the engine that the records name."""
    if len(table) == 0:
        return ""
    return directory.record(str(table.id[0])).provenance.engine
