"""The steps of a run behind `cascade run`: plan, work, then what the input asks for after it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cascade_driver.analysis.model import StoredEnergyModel, fit_stored_energy_model
from cascade_driver.analysis.response import response
from cascade_driver.campaign.plan import Campaign, make_campaign
from cascade_driver.campaign.rundir import RunDirectory, write_atomically
from cascade_driver.campaign.supervise import Progress, Supervisor, WorkSettings
from cascade_driver.config import (
    AnalysisSpec,
    CevnsRequest,
    DarkMatterRequest,
    DetectorSpec,
    RunInput,
    find_input,
    read_input,
)
from cascade_driver.errors import FitError, InputError
from cascade_driver.simulation.crystal import resolved
from cascade_driver.simulation.potential import Potential, load_potential
from cascade_driver.simulation.record import CascadeTable
from cascade_driver.simulation.spec import Protocol
from cascade_driver.spectra.cevns import cevns_spectrum
from cascade_driver.spectra.correction import correct
from cascade_driver.spectra.dark_matter import dark_matter_spectrum
from cascade_driver.spectra.detector import Detector, apply_detector
from cascade_driver.spectra.spectrum import Spectrum, write_spectrum

INPUT_FILE = "input.toml"
MODEL_FILE = "model.json"


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """A run that is ready to be worked on."""

    directory: RunDirectory
    campaign: Campaign
    potential: Potential
    wanted: RunInput


@dataclass(frozen=True, kw_only=True)
class CorrectedPair:
    """A spectrum as expected without loss and as observed with it, through the same detector."""

    name: str
    title: str
    expected: Spectrum
    observed: Spectrum


def plan_run(given: Path, *, out: Path | None) -> PlannedRun:
    """Read an input file, work out the campaign, and make (or reopen) its run directory.

    Parameters
    ----------
    given : pathlib.Path
        The input file, or the name of a shipped one.
    out : pathlib.Path, optional
        The run directory; by default `runs/<name of the input>` in the current folder.

    Raises
    ------
    InputError, PotentialError
        If something in the input cannot be used; nothing was written then.
    """
    path = find_input(given)
    wanted = read_input(path)
    potential = load_potential(wanted.potential.locate(path.parent))
    protocol = Protocol(
        crystal=resolved(wanted.crystal, path.parent),
        potential_name=potential.name,
        potential_digest=potential.digest,
        thermal=wanted.thermal,
        follow=wanted.follow,
        quench=wanted.quench,
        campaign_seed=wanted.seed,
    )
    directory = RunDirectory((out or Path("runs") / path.stem).resolve())
    campaign = make_campaign(
        title=wanted.title or path.stem,
        protocol=protocol,
        potential=potential,
        recoils=wanted.recoils,
        known_groups=directory.known_groups(),
    )
    directory.prepare()
    directory.save(campaign)
    write_atomically(directory.path / INPUT_FILE, path.read_text(encoding="utf-8"))
    return PlannedRun(directory=directory, campaign=campaign, potential=potential, wanted=wanted)


def work_on(planned: PlannedRun, *, workers: int | None, observe: Callable[[Progress], None]) -> Progress:
    """Run what is missing of a campaign, on all cores by default; damaged records are made again.

    Raises
    ------
    CascadeError
        If something is wrong that concerns the whole campaign.
    """
    work = planned.wanted.work
    planned.directory.sweep()
    planned.directory.set_damaged_aside()
    settings = WorkSettings(
        slots=workers or work.workers or len(os.sched_getaffinity(0)),
        attempts=work.attempts,
        time_limit_s=work.time_limit_s,
    )
    return Supervisor(
        planned.directory,
        planned.campaign,
        potential=planned.potential.folder,
        settings=settings,
        observe=observe,
    ).work()


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
    campaign = directory.load()
    table = directory.table(campaign)
    if len(table) == 0:
        raise FitError(f"{directory.path}: no finished cascades; run the campaign first")
    protocol = campaign.protocol
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
        },
    )
    path = out or directory.path / MODEL_FILE
    return table, model, model.save(path)


def requested_spectrum(request: DarkMatterRequest | CevnsRequest) -> Spectrum:
    """Return the recoil spectrum that a `[[spectra]]` table asks for."""
    edges = np.linspace(*request.energy_eV, request.bins + 1)
    if isinstance(request, DarkMatterRequest):
        return dark_matter_spectrum(
            target=request.target,
            mass_GeV=request.mass_GeV,
            cross_section_cm2=request.cross_section_cm2,
            energy_edges_eV=edges,
        )
    return cevns_spectrum(
        target=request.target,
        power_GW=request.power_GW,
        distance_m=request.distance_m,
        energy_edges_eV=edges,
        low_energy_flux=request.low_energy_flux,
    )


def request_title(request: DarkMatterRequest | CevnsRequest) -> str:
    """Return one line that says what a requested spectrum is."""
    if isinstance(request, DarkMatterRequest):
        return f"dark matter, {request.mass_GeV:g} GeV, {request.cross_section_cm2:g} cm², on {request.target}"
    cores = ", ".join(f"{p:g} GW at {d:g} m" for p, d in zip(request.power_GW, request.distance_m, strict=False))
    return f"reactor CEvNS ({cores}) on {request.target}"


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
    return detected(correct(spectrum, responses, fallback_species=fallback_species), detector)


def detected(spectrum: Spectrum, detector: DetectorSpec | None) -> Spectrum:
    """Return a spectrum after the resolution and the threshold of a detector, if there is one."""
    if detector is None:
        return spectrum
    return apply_detector(
        spectrum,
        Detector(resolution_constant_eV=detector.resolution_eV, threshold_eV=detector.threshold_eV),
    )


def corrected_pairs(
    requests: tuple[DarkMatterRequest | CevnsRequest, ...],
    model: StoredEnergyModel,
    *,
    analysis: AnalysisSpec,
    detector: DetectorSpec | None,
    folder: Path,
) -> tuple[list[CorrectedPair], list[Path]]:
    """Make, correct and write the requested spectra; return the pairs and the files.

    Raises
    ------
    InputError
        If a spectrum cannot be corrected by the model.
    """
    pairs, files = [], []
    for number, request in enumerate(requests, start=1):
        name = f"{number}-{request.kind}"
        recoil = requested_spectrum(request)
        observed = correct_spectrum(
            recoil,
            model,
            fallback_species=analysis.fallback_species,
            extrapolate=analysis.extrapolate,
            detector=detector,
        )
        pairs.append(
            CorrectedPair(
                name=name,
                title=request_title(request),
                expected=detected(recoil, detector),
                observed=observed,
            )
        )
        for suffix, spectrum in (("recoil", recoil), ("observed", observed)):
            files.append(folder / f"{name}-{suffix}.csv")
            write_spectrum(spectrum, files[-1])
    return pairs, files


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

    Raises
    ------
    InputError
        If a requested spectrum cannot be made or corrected.
    RecordError
        If a record is damaged.
    """
    wanted = analysis_of(directory)
    analysis = wanted.analysis or AnalysisSpec()
    if allow_failures:
        analysis = dataclasses.replace(analysis, allow_failures=True)
    table, model, model_path = fit_run(directory, analysis=analysis)
    pairs, files = corrected_pairs(
        wanted.spectra, model, analysis=analysis, detector=wanted.detector, folder=directory.path / "spectra"
    )
    return Conclusion(table=table, files=(model_path, *files), notes=model.notes)
