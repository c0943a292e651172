"""The steps of a run behind `cascade run`: plan, work, then what the input asks for after it."""

from __future__ import annotations

import dataclasses
import difflib
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cascade_driver.analysis.directional import toward
from cascade_driver.analysis.model import SpeciesModel, StoredEnergyModel, fit_stored_energy_model
from cascade_driver.analysis.published import PUBLISHED_MODELS, CaWO4Assumptions, load_stored_energy_model
from cascade_driver.analysis.response import observed_edges, response
from cascade_driver.campaign.claims import Claims
from cascade_driver.campaign.dask_executor import DaskExecutor
from cascade_driver.campaign.executors import Executor, Processes, Serial, Work, require_executor
from cascade_driver.campaign.plan import Campaign, make_campaign, what_is_lost
from cascade_driver.campaign.rundir import RunDirectory, disk_error, outside_said
from cascade_driver.campaign.status import run_status
from cascade_driver.campaign.supervise import Progress
from cascade_driver.campaign.verify import set_damaged_aside
from cascade_driver.config import (
    AnalysisSpec,
    DetectorSpec,
    RunInput,
    WorkSpec,
    analysis_with,
    find_input,
    read_input,
)
from cascade_driver.errors import FitError, InputError
from cascade_driver.files import text_of, write_atomically
from cascade_driver.foresight import foresee
from cascade_driver.schema import read_toml
from cascade_driver.simulation.crystal import CrystalSpec, assemble, axes_in_box_A, constituents, resolved
from cascade_driver.simulation.frame import Direction, direction_in_box, frame_said
from cascade_driver.simulation.knock_on import choose_atom, site_rotations
from cascade_driver.simulation.potential import Potential, load_potential
from cascade_driver.simulation.provenance import provenance
from cascade_driver.simulation.record import CascadeTable, concatenate
from cascade_driver.simulation.spec import Protocol
from cascade_driver.simulation.start import read_box
from cascade_driver.spectra.binning import continued_edges
from cascade_driver.spectra.corrected import CorrectedPair
from cascade_driver.spectra.correction import correct, largest_borrowed_share, shortcut_error
from cascade_driver.spectra.detector import Detector, apply_detector, smearing_matrix
from cascade_driver.spectra.ensemble import (
    Ensemble,
    SpectrumBands,
    campaign_ensemble,
    correction_bands,
    write_bands,
)
from cascade_driver.spectra.neutron_capture import observed_capture_spectrum
from cascade_driver.spectra.planning import CampaignAdvice, advise
from cascade_driver.spectra.request import AnySpectrumRequest, CaptureRequest, request_title, requested_edges
from cascade_driver.spectra.sources import gamma_timing, requested_spectrum, source_members_of, table_of
from cascade_driver.spectra.spectrum import Spectrum, rebin, write_spectrum

if TYPE_CHECKING:
    from cascade_driver.report import ReportContent

INPUT_FILE = "input.toml"
MODEL_FILE = "model.json"

#: Members of a source spectrum behind its error band.
SOURCE_MEMBERS = 500


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
    InputError, PotentialError
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
    protocol = Protocol(
        crystal=resolved(_found(wanted.crystal, path.parent, directory), path.parent),
        potential_name=potential.name,
        potential_digest=potential.digest,
        thermal=wanted.thermal,
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
    asked, asks = ({k: v for k, v in content.items() if k != "work"} for content in contents)
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
    CascadeError
        If something is wrong that concerns the whole campaign.
    """
    settings = planned.wanted.work
    chosen = _executor(require_executor(executor or settings.executor), settings)
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
        trajectory=settings.trajectory,
    )
    return chosen.work(work, observe)


def _executor(name: str, settings: WorkSpec) -> Executor:
    if name == "serial":
        return Serial()
    if name == "processes":
        return Processes()
    dask = settings.dask
    return DaskExecutor(
        scheduler=dask.scheduler,
        job_class=dask.job_class,
        jobs=dask.jobs,
        job_options=dask.job_options,
        workers_within_s=dask.workers_within_s,
    )


def fit_run(
    directory: RunDirectory, *, analysis: AnalysisSpec, out: Path | None = None
) -> tuple[CascadeTable, StoredEnergyModel, Path]:
    """Fit the stored-energy model to the finished cascades of a run, and write the model file.

    Returns
    -------
    table, model, path
        What was fitted, the model, and its file (`model.json` in the run directory by default).

    Raises
    ------
    FitError
        If the records do not allow a fit.
    """
    table, model = fitted_run(directory, analysis=analysis)
    path = out or directory.path / MODEL_FILE
    return table, model, model.save(path)


def fitted_run(directory: RunDirectory, *, analysis: AnalysisSpec) -> tuple[CascadeTable, StoredEnergyModel]:
    """Return the finished cascades of a run and the model fitted to them; nothing is written.

    Raises
    ------
    FitError
        If the records do not allow a fit.
    """
    campaign = directory.load()
    table = directory.table(campaign)
    if len(table) == 0:
        raise FitError(f"{directory.path}: no finished cascades; run the campaign first")
    if any(group.then for group in campaign.groups):
        single = campaign.single_kicks
        table = table.select(np.array([name in single for name in table.id], dtype=bool))
    if len(table) == 0:
        raise FitError(
            f"{directory.path}: every finished cascade has later kicks and no single recoil energy: a response "
            "is fitted to [[recoils]] without [[recoils.then]]"
        )
    protocol = campaign.protocol
    if analysis.direction is not None:
        table = near_direction(table, protocol, analysis.direction, angular_width_deg=analysis.angular_width_deg)
    model = fit_stored_energy_model(
        table,
        shape=analysis.shape,
        order=analysis.order,
        allow_failures=analysis.allow_failures,
        provenance={
            "campaign": campaign.title,
            "crystal": protocol.crystal.name or str(protocol.crystal.file),
            "potential": protocol.potential_name,
            "potential_digest": protocol.potential_digest,
            "protocol_digest": protocol.digest,
            "cascades": f"{len(table)} of {campaign.size}",
            **_direction_said(analysis),
        },
    )
    notes = (*model.notes, *outside_said(directory.outside(campaign)))
    return table, dataclasses.replace(model, notes=notes)


def rotations_of_sites(protocol: Protocol, species: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """Return the point group of the site of each species in a run's crystal, (g, 3, 3), by species.

    Raises
    ------
    InputError
        If the crystal is a film, whose sites have too little symmetry to be told from it.
    """
    if protocol.crystal.is_film:
        raise InputError("responses by direction are for bulk crystals: leave the direction out")
    cells = constituents(protocol.crystal)
    box = assemble(protocol.crystal, cells)
    (cell,) = cells.values()
    return {s: site_rotations(cell, int(box.get_array("cell_index")[choose_atom(box, s)])) for s in species}


def near_direction(
    table: CascadeTable, protocol: Protocol, direction: Direction, *, angular_width_deg: float
) -> CascadeTable:
    """Return the cascades of a run weighted for recoils near one direction of the crystal, see `toward`.

    Raises
    ------
    InputError
        If the direction is none, or the crystal a film.
    """
    rotations = rotations_of_sites(protocol, sorted({str(s) for s in table.species}))
    axes_A = axes_in_box_A(protocol.crystal, constituents(protocol.crystal))
    vector = direction_in_box(direction, axes_A=axes_A)
    parts = [
        toward(
            table.select(table.species == species),
            vector,
            rotations=of_site,
            angular_width_deg=angular_width_deg,
        )
        for species, of_site in rotations.items()
    ]
    return concatenate(parts)


def _direction_said(analysis: AnalysisSpec) -> dict[str, str]:
    if analysis.direction is None:
        return {}
    given = analysis.direction
    said = f"{given} of the crystal" if isinstance(given, str) else f"({', '.join(f'{x:g}' for x in given)})"
    return {"direction": f"recoils within {analysis.angular_width_deg:g} degrees of {said}"}


def correct_spectrum(
    spectrum: Spectrum,
    model: StoredEnergyModel,
    *,
    fallback_species: str | None,
    extrapolate: bool = False,
    detector: DetectorSpec | None = None,
) -> Spectrum:
    """Return what is observed of a recoil spectrum: each element through its own response, then the detector.

    Parameters
    ----------
    spectrum : Spectrum
        Of recoil energies.
    model : StoredEnergyModel
        The fitted model.
    fallback_species : str, optional
        Whose response stands for elements that the model does not know; the only species of a model of one.
    extrapolate : bool
        Allow recoil energies above those simulated.
    detector : DetectorSpec, optional
        Resolution and threshold; none by default.

    Raises
    ------
    InputError
        If an element is missing, or the spectrum leaves the range of the model.
    """
    if fallback_species is None and len(model.species) == 1:
        fallback_species = next(iter(model.species))
    wanted = set(spectrum.elements) & set(model.species) | ({fallback_species} if fallback_species else set())
    responses = {
        species: response(model, species, recoil_edges_eV=spectrum.energy_edges_eV, extrapolate=extrapolate)
        for species in sorted(wanted)
    }
    return detected(_noted(correct(spectrum, responses, fallback_species=fallback_species), model), detector)


def _noted(spectrum: Spectrum, model: StoredEnergyModel) -> Spectrum:
    """Return a spectrum that carries what a reader of any result of the model must know."""
    about = {"model_status": model.status} | ({"model_notes": "; ".join(model.notes)} if model.notes else {})
    return dataclasses.replace(spectrum, metadata={**spectrum.metadata, **about})


def observed_spectrum(
    request: AnySpectrumRequest,
    recoil: Spectrum,
    model: StoredEnergyModel,
    *,
    fallback_species: str | None,
    extrapolate: bool = False,
    detector: DetectorSpec | None = None,
) -> Spectrum:
    """Return what is observed of a requested spectrum.

    As `correct_spectrum` does it, except after neutron capture: a nucleus that recoils twice stores energy twice.

    Raises
    ------
    InputError
        If an element is missing, or the spectrum leaves the range of the model.
    """
    if not isinstance(request, CaptureRequest):
        return correct_spectrum(
            recoil, model, fallback_species=fallback_species, extrapolate=extrapolate, detector=detector
        )
    observed = observed_capture_spectrum(
        model,
        target=request.target,
        neutron_flux_cm2_s=request.neutron_flux_cm2_s,
        energy_edges_eV=observed_edges(recoil.energy_edges_eV),
        timing=gamma_timing(request),
        unresolved=request.unresolved,
        continuum_temperature_MeV=request.continuum_temperature_MeV,
        table=table_of(request),
        fallback_species=fallback_species,
        extrapolate=extrapolate,
    )
    return detected(_noted(observed, model), detector)


def detected(spectrum: Spectrum, detector: DetectorSpec | None) -> Spectrum:
    """Return a spectrum after the resolution and the threshold of a detector, if there is one."""
    if detector is None:
        return spectrum
    return apply_detector(
        spectrum,
        Detector(resolution_constant_eV=detector.resolution_eV, threshold_eV=detector.threshold_eV),
    )


def corrected_pair(
    request: AnySpectrumRequest,
    model: StoredEnergyModel,
    *,
    analysis: AnalysisSpec,
    detector: DetectorSpec | None,
    name: str,
    ensemble: Ensemble | None = None,
) -> CorrectedPair:
    """Return a requested spectrum without and with the loss; with an ensemble, with its error bands.

    Recoils above the requested range come to lie in it by what they lose: the recoil spectrum is made so much
    longer, as far as the model reaches, and what is observed of it cut back to the range.

    Raises
    ------
    InputError
        If the spectrum cannot be corrected by the model.
    """
    top = request.energy_eV[1]
    known = list(model.species.values())
    reach = max((_most_stored_eV(m, top) for m in known), default=0.0) + _resolved_eV(detector)
    model_end = math.inf if analysis.extrapolate else min(m.maximum_recoil_energy_eV for m in known)
    end = max(top, min(top + reach, model_end))
    recoil = requested_spectrum(request, energy_edges_eV=continued_edges(requested_edges(request), up_to_eV=end))
    observed = observed_spectrum(
        request,
        recoil,
        model,
        fallback_species=analysis.fallback_species,
        extrapolate=analysis.extrapolate,
        detector=detector,
    )
    edges = observed.energy_edges_eV
    expected = detected(recoil, detector)
    complete_below_eV = min(top, end - reach)
    threshold_eV = detector.threshold_eV if detector else 0.0
    shortcut = _species_shortcut(
        recoil,
        model,
        fallback_species=analysis.fallback_species,
        extrapolate=analysis.extrapolate,
        range_eV=(max(threshold_eV, 0.1 * top), complete_below_eV),
    )
    observed = dataclasses.replace(observed, metadata={**observed.metadata, **shortcut})
    pair = CorrectedPair(
        name=name,
        title=request_title(request),
        expected=rebin(expected, _up_to(expected.energy_edges_eV, top)),
        observed=rebin(observed, _up_to(edges, top)),
        threshold_eV=detector.threshold_eV if detector else None,
        complete_below_eV=complete_below_eV,
    )
    if ensemble is None:
        return pair
    bands = spectrum_bands(
        recoil,
        ensemble,
        fallback_species=fallback_of(model, analysis.fallback_species),
        detector=detector,
        edges_eV=pair.expected.energy_edges_eV,
        source_counts=source_members_of(recoil, n_members=SOURCE_MEMBERS),
    )
    observed_rate = pair.observed_in_same_bins.total_rate_per_kg_day_keV
    return dataclasses.replace(pair, bands=bands.centred_on(observed_rate))


def fallback_of(model: StoredEnergyModel, wanted: str | None) -> str | None:
    """Return whose response stands for elements that a model does not know: the only species of a model of one."""
    return next(iter(model.species)) if wanted is None and len(model.species) == 1 else wanted


def _species_shortcut(
    recoil: Spectrum,
    model: StoredEnergyModel,
    *,
    fallback_species: str | None,
    extrapolate: bool,
    range_eV: tuple[float, float],
) -> dict[str, str]:
    """Return in words what one response for all elements costs, or at most may cost."""
    missing = [e for e in recoil.elements if e not in model.species]
    low, high = range_eV
    if not low < high or len(recoil.elements) < 2 or recoil.total_counts_per_kg_day <= 0:
        return {}
    if missing:
        share = largest_borrowed_share(recoil, list(model.species), low_eV=low, high_eV=high)
        return {
            "species_shortcut": f"recoils of {', '.join(missing)}, not simulated, are up to {share:.1%} of a bin "
            f"between {low:g} and {high:g} eV"
        }
    counts = recoil.counts_per_kg_day
    species = fallback_species or max(recoil.elements, key=lambda e: float(counts[e].sum()))
    responses = {
        e: response(model, e, recoil_edges_eV=recoil.energy_edges_eV, extrapolate=extrapolate)
        for e in recoil.elements
    }
    error = shortcut_error(recoil, responses, species=species, low_eV=low, high_eV=high)
    return {"species_shortcut": f"{error}, between {low:g} and {high:g} eV"}


def spectrum_bands(
    recoil: Spectrum,
    ensemble: Ensemble,
    *,
    fallback_species: str | None,
    detector: DetectorSpec | None = None,
    edges_eV: NDArray[np.float64] | None = None,
    source_counts: Mapping[str, NDArray[np.float64]] | None = None,
) -> SpectrumBands:
    """Return the error bands of a corrected spectrum, after the detector if there is one.

    Raises
    ------
    InputError
        As `correction_bands`.
    """
    matrix = None
    if detector is not None:
        before = observed_edges(recoil.energy_edges_eV)
        matrix = smearing_matrix(
            Detector(resolution_constant_eV=detector.resolution_eV, threshold_eV=detector.threshold_eV),
            energy_edges_eV=before,
            reconstructed_edges_eV=before,
        )
    return correction_bands(
        recoil,
        ensemble,
        fallback_species=fallback_species,
        detector_matrix=matrix,
        energy_edges_eV=edges_eV,
        source_counts=source_counts,
    )


def run_ensemble(
    table: CascadeTable, model: StoredEnergyModel, *, analysis: AnalysisSpec, relative_to: Path | None = None
) -> Ensemble:
    """Return what a run leaves uncertain of its model; always the same for the same cascades.

    Runs with other potentials that its input names are looked for from the run directory, `relative_to`.

    Raises
    ------
    InputError, FitError
        If one of those cannot be found or fitted.
    """
    place = relative_to or Path()
    return campaign_ensemble(
        table,
        model,
        unit=analysis.resampling,
        allow_failures=analysis.allow_failures,
        potentials={name: central_model(str(place / name)) for name in analysis.potential_runs},
        rng=np.random.default_rng(0),
    )


def names_a_run(given: str) -> bool:
    """Return whether a model is meant to be a run directory; the name of a published one never is."""
    return given not in PUBLISHED_MODELS and Path(given).is_dir()


def central_model(given: str, **changes: Any) -> StoredEnergyModel:
    """Return the model of a run directory, of a model file, or a published one.

    A run is fitted as its input says, with changes of its [analysis].

    Raises
    ------
    InputError, FitError
        If there is none, or a run does not allow a fit.
    """
    if not names_a_run(given):
        return model_of_file(given)
    directory = RunDirectory(Path(given).resolve())
    analysis = analysis_with(analysis_of(directory).analysis or AnalysisSpec(), **changes)
    return fitted_run(directory, analysis=analysis)[1]


def model_of_file(given: str, *, assumptions: CaWO4Assumptions | None = None) -> StoredEnergyModel:
    """Return the model of a file, or a published one; the complaint also thinks of run directories.

    Raises
    ------
    InputError
        If there is none.
    """
    if assumptions is None and given not in PUBLISHED_MODELS and not Path(given).exists():
        close = difflib.get_close_matches(given, PUBLISHED_MODELS, n=1)
        hint = f"did you mean {close[0]}?" if close else f"published ones are {', '.join(PUBLISHED_MODELS)}"
        raise InputError(f"{given}: no such model file or run directory, nor a model of this name; {hint}")
    return load_stored_energy_model(given, assumptions=assumptions)


def advise_run(
    directory: RunDirectory, *, between_eV: tuple[float, float] | None = None, allow_failures: bool = False
) -> list[tuple[CorrectedPair, CampaignAdvice]]:
    """Return for each spectrum of a run its bands, and what more cascades would do to the statistical one.

    Candidates are the simulated energies of each species and the middles between them.

    Parameters
    ----------
    directory : RunDirectory
    between_eV : (float, float), optional
        Observed energies that matter; by default from the threshold (or a tenth of the range) up.
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
    table, model, _ = fit_run(directory, analysis=analysis)
    ensemble = run_ensemble(table, model, analysis=analysis, relative_to=directory.path)
    candidates: dict[str, list[float]] = {}
    for species in model.species:
        energies = np.unique(table.recoil_energy_eV[table.species == species])
        middles = (energies[1:] + energies[:-1]) / 2
        candidates[species] = sorted({*map(float, energies), *map(float, middles)})
    advice = []
    for number, request in enumerate(wanted.spectra, start=1):
        pair = corrected_pair(
            request,
            model,
            analysis=analysis,
            detector=wanted.detector,
            name=f"{number}-{request.kind}",
            ensemble=ensemble,
        )
        low, high = between_eV or relevant_range_eV(pair)
        advice.append(
            (
                pair,
                advise(
                    requested_spectrum(request),
                    model,
                    candidates_eV=candidates,
                    fallback_species=fallback_of(model, analysis.fallback_species),
                    low_eV=low,
                    high_eV=high,
                ),
            )
        )
    return advice


def relevant_range_eV(pair: CorrectedPair) -> tuple[float, float]:
    """Return where a corrected spectrum is looked at: from the threshold, or a tenth, to where it is complete."""
    top = pair.complete_below_eV or float(pair.expected.energy_edges_eV[-1])
    low = pair.threshold_eV or max(0.1 * top, float(pair.expected.energy_edges_eV[0]))
    return low, top


def expected_spectrum(request: AnySpectrumRequest, *, detector: DetectorSpec | None) -> Spectrum:
    """Return a requested spectrum as a detector sees it if no recoil stores energy.

    Raises
    ------
    InputError
        If it cannot be made.
    """
    if detector is None:
        return requested_spectrum(request)
    top = request.energy_eV[1]
    edges = continued_edges(requested_edges(request), up_to_eV=top + _resolved_eV(detector))
    seen = detected(requested_spectrum(request, energy_edges_eV=edges), detector)
    return rebin(seen, _up_to(seen.energy_edges_eV, top))


def _resolved_eV(detector: DetectorSpec | None) -> float:
    """Return how far a resolution carries energies: five standard deviations."""
    return 5 * detector.resolution_eV if detector else 0.0


def complete_below_eV(recoil: Spectrum, model: StoredEnergyModel) -> float | None:
    """Return the observed energy above which recoils beyond a spectrum are missed; none if it ends by itself."""
    rate = recoil.total_rate_per_kg_day_keV
    if not rate[-1] > 1e-3 * rate.max(initial=0.0):
        return None
    top = float(recoil.energy_edges_eV[-1])
    return max(top - max((_most_stored_eV(m, top) for m in model.species.values()), default=0.0), 0.0)


def _most_stored_eV(model: SpeciesModel, recoil_energy_eV: float) -> float:
    """Return the stored energy that a share of 1e-4 of the recoils a little above an energy exceeds."""
    first = float(model.distribution.quantile(1 - 1e-4, recoil_energy_eV).item())
    return float(model.distribution.quantile(1 - 1e-4, recoil_energy_eV + first).item())


def _up_to(edges_eV: NDArray[np.float64], top_eV: float) -> NDArray[np.float64]:
    kept: NDArray[np.float64] = edges_eV[edges_eV <= top_eV * (1 + 1e-12)]
    return kept


def analysis_of(directory: RunDirectory) -> RunInput:
    """Return the input that a run directory was made from.

    Raises
    ------
    InputError
        If it is not there any more.
    """
    path = directory.path / INPUT_FILE
    if not path.is_file():
        raise InputError(f"{directory.path}: no {INPUT_FILE} there; give the folder that `cascade run` made")
    return read_input(path)


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
    analysis = wanted.analysis or AnalysisSpec()
    if allow_failures:
        analysis = dataclasses.replace(analysis, allow_failures=True)
    files: dict[Path, str] = {}
    model, pairs, problems = None, [], {"model": "", "spectra": ""}
    table = directory.table(directory.load())
    try:
        table, model, path = fit_run(directory, analysis=analysis)
        files[path] = "stored-energy model"
    except FitError as error:
        problems["model"] = str(error)
    if model is not None:
        try:
            ensemble = (
                run_ensemble(table, model, analysis=analysis, relative_to=directory.path)
                if wanted.spectra
                else None
            )
            pairs = _write_pairs(
                wanted,
                model,
                analysis=analysis,
                folder=directory.path / "spectra",
                files=files,
                ensemble=ensemble,
            )
        except (InputError, FitError) as error:
            problems["spectra"] = str(error)
    elif wanted.spectra:
        problems["spectra"] = "there is no model to correct them by"
    content = _report_content(directory, wanted, table, model, pairs=pairs, problems=problems)
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
    wanted: RunInput,
    model: StoredEnergyModel,
    *,
    analysis: AnalysisSpec,
    folder: Path,
    files: dict[Path, str],
    ensemble: Ensemble | None = None,
) -> list[CorrectedPair]:
    """Make and write the requested spectra, as expected and as observed."""
    pairs = []
    for number, request in enumerate(wanted.spectra, start=1):
        name = f"{number}-{request.kind}"
        pair = corrected_pair(
            request, model, analysis=analysis, detector=wanted.detector, name=name, ensemble=ensemble
        )
        pairs.append(pair)
        if pair.bands is not None:
            file = folder / f"{name}-bands.csv"
            write_bands(pair.bands, file)
            files[file] = f"{pair.title}, observed, with error bands"
        for suffix, spectrum in (("expected", pair.expected), ("observed", pair.observed)):
            file = folder / f"{name}-{suffix}.csv"
            write_spectrum(spectrum, file)
            files[file] = f"{pair.title}, {suffix}"
    return pairs


def _report_content(
    directory: RunDirectory,
    wanted: RunInput,
    table: CascadeTable,
    model: StoredEnergyModel | None,
    *,
    pairs: list[CorrectedPair],
    problems: dict[str, str],
) -> ReportContent:
    from cascade_driver.report import ReportContent

    status = run_status(directory)
    campaign = directory.load()
    protocol = campaign.protocol
    box = read_box(directory.starts(campaign)) if len(table) else None
    border = protocol.follow.border
    facts = {
        "crystal": protocol.crystal.name or str(protocol.crystal.file),
        "orientation": frame_said(protocol.crystal.frame),
        "atoms in the box": len(box.symbols) if box else "-",
        "box": " × ".join(f"{x:.3f}" for x in box.lengths_A) + " Å" if box else "-",
        "temperature": f"{protocol.thermal.temperature_K:g} K",
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
        provenance=provenance(engine=_engine_of(directory, table)),
        command=f"cascade run {INPUT_FILE} --out RUN",
    )


def _engine_of(directory: RunDirectory, table: CascadeTable) -> str:
    """Return the engine that the records name."""
    if len(table) == 0:
        return ""
    return str(directory.record(str(table.id[0])).provenance.get("engine", ""))
