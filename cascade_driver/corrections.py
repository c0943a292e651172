"""What a spectrum is corrected by, and how well that is known: models, runs, and the spread of potentials."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cascade_driver.analysis.model import StoredEnergyModel
from cascade_driver.analysis.published import (
    ASSUMPTION_ERROR,
    PUBLISHED_MODELS,
    CaWO4Assumptions,
    assumption_replicas,
)
from cascade_driver.campaign.rundir import RunDirectory
from cascade_driver.config import (
    AnalysisSpec,
    DetectorSpec,
    analysis_with,
)
from cascade_driver.errors import InputError
from cascade_driver.simulation.frame import Direction
from cascade_driver.spectra.corrected import CorrectedPair
from cascade_driver.spectra.daily_modulation import DailyModulation, daily_modulation
from cascade_driver.spectra.ensemble import (
    Ensemble,
    SpectrumBands,
    bands_of_file,
    campaign_ensemble,
    model_ensemble,
)
from cascade_driver.spectra.recoil_direction import laboratory_velocity_km_s
from cascade_driver.spectra.request import AnySpectrumRequest, DarkMatterRequest
from cascade_driver.spectra.sources import requested_spectrum
from cascade_driver.spectra.spectrum import Spectrum, read_spectrum
from cascade_driver.workflow import (
    analysis_of,
    central_model,
    complete_below_eV,
    correct_spectrum,
    corrected_pair,
    fallback_of,
    fitted_run,
    model_of_file,
    names_a_run,
    rotations_of_sites,
    spectrum_bands,
)

#: What a file made by `cascade spectrum capture` says of its source.
CAPTURE_SOURCE = "thermal-neutron capture"


@dataclass(frozen=True, kw_only=True)
class KnownModel:
    """A stored-energy model, and what is uncertain of it.

    Attributes
    ----------
    model : StoredEnergyModel
    ensemble : Ensemble
    analysis : AnalysisSpec
        What the input of the run allows; by default nothing.
    """

    model: StoredEnergyModel
    ensemble: Ensemble
    analysis: AnalysisSpec = field(default_factory=AnalysisSpec)


def known_model(
    given: Sequence[str],
    *,
    assumptions: CaWO4Assumptions | None = None,
    assumption_error: float = ASSUMPTION_ERROR,
    direction: Direction | None = None,
    angular_width_deg: float = 15.0,
) -> KnownModel:
    """Return the first of some models with its errors; the others are the same with other potentials.

    A run brings the bootstrap of its cascades, the covariance of its fits and its alternative shapes; a model file
    the covariance alone; a published model draws of what it assumes. The distances of all further ones from the
    first are the error of the potential. They contain the statistical errors of both campaigns, so that this error
    is too large rather than too small.

    Parameters
    ----------
    given : sequence of str
        Run directories, model files or names of published models. Those that the input of the first one names as
        `potential_runs` count as well.
    assumptions : CaWO4Assumptions, optional
        Of the published model.
    assumption_error : float
        See `assumption_replicas`.
    direction : optional
        Of the recoils, for runs, as in `AnalysisSpec`; by default what their inputs say.
    angular_width_deg : float
        See `toward`.

    Raises
    ------
    InputError
        If one cannot be found or is named twice, or something without cascades is asked for a direction.
    FitError
        If a run does not allow a fit.
    """
    first, *others = given
    paths = [name if name in PUBLISHED_MODELS else Path(name).resolve() for name in given]
    if twice := [name for name, path in zip(given, paths, strict=True) if paths.count(path) > 1]:
        raise InputError(f"{twice[0]}: given twice as a model; each potential counts once")
    if direction is not None and (files := [name for name in given if not names_a_run(name)]):
        raise InputError(
            f"{files[0]}: only the cascades of a run directory know directions; give one in its place"
        )
    changes: dict[str, Any] = (
        {} if direction is None else {"direction": direction, "angular_width_deg": angular_width_deg}
    )
    potentials = {name: central_model(name, **changes) for name in others}
    rng = np.random.default_rng(0)
    if names_a_run(first):
        if assumptions is not None:
            raise InputError(f"{first}: assumptions are for published models only; a run has its own numbers")
        directory = RunDirectory(Path(first).resolve())
        analysis = analysis_with(analysis_of(directory).analysis or AnalysisSpec(), **changes)
        table, model = fitted_run(directory, analysis=analysis)
        named = {name: central_model(str(directory.path / name), **changes) for name in analysis.potential_runs}
        ensemble = campaign_ensemble(
            table,
            model,
            unit=analysis.resampling,
            allow_failures=analysis.allow_failures,
            potentials={**named, **potentials},
            rng=rng,
        )
        return KnownModel(model=model, ensemble=ensemble, analysis=analysis)
    model = model_of_file(first, assumptions=assumptions)
    ensemble = model_ensemble(model, potentials=potentials, rng=rng)
    if first in PUBLISHED_MODELS:
        drawn = assumption_replicas(assumptions, relative_error=assumption_error, rng=rng)
        note = f"{first}: each assumed number varies by {assumption_error:.0%}, the printed means not at all"
        ensemble = dataclasses.replace(ensemble, assumptions={"W": drawn}, notes=(note,))
    return KnownModel(model=model, ensemble=ensemble)


@dataclass(frozen=True, kw_only=True)
class Correction:
    """A corrected spectrum with its errors.

    Attributes
    ----------
    observed : Spectrum
    bands : SpectrumBands or None
        In the bins of `observed`, if they were asked for.
    range_eV : (float, float)
        Observed energies that matter: from the threshold, or a tenth of the range, to where it is complete.
    """

    observed: Spectrum
    bands: SpectrumBands | None
    range_eV: tuple[float, float]


def requested_pair(
    request: AnySpectrumRequest,
    known: KnownModel,
    *,
    fallback_species: str | None = None,
    extrapolate: bool = False,
    detector: DetectorSpec | None = None,
    with_bands: bool = True,
) -> CorrectedPair:
    """Return a requested spectrum without and with the loss; `corrected` for a source that is still to be made.

    Better than correcting its file: recoils above the range come to lie in it, and a nucleus that recoils twice
    stores energy twice.

    Raises
    ------
    InputError
        If the spectrum cannot be corrected by the model.
    """
    analysis = dataclasses.replace(
        known.analysis,
        fallback_species=fallback_species or known.analysis.fallback_species,
        extrapolate=extrapolate or known.analysis.extrapolate,
    )
    return corrected_pair(
        request,
        known.model,
        analysis=analysis,
        detector=detector,
        name=request.kind,
        ensemble=known.ensemble if with_bands else None,
    )


def corrected(
    recoil: Spectrum,
    known: KnownModel,
    *,
    fallback_species: str | None = None,
    extrapolate: bool = False,
    detector: DetectorSpec | None = None,
    with_bands: bool = True,
    source_counts: Mapping[str, NDArray[np.float64]] | None = None,
) -> Correction:
    """Return what is observed of a recoil spectrum, with its error bands.

    Parameters
    ----------
    recoil : Spectrum
    known : KnownModel
    fallback_species : str, optional
        Whose response stands for elements that the model does not know; by default what the run says.
    extrapolate : bool
        Allow recoil energies above those simulated, also if the run does not.
    detector : DetectorSpec, optional
    with_bands : bool
    source_counts : mapping of str to (S, n) float, optional
        Members of the recoil spectrum, see `correction_bands`.

    Raises
    ------
    InputError
        If the spectrum cannot be corrected by the model.
    """
    species = fallback_species or known.analysis.fallback_species
    observed = correct_spectrum(
        recoil,
        known.model,
        fallback_species=species,
        extrapolate=extrapolate or known.analysis.extrapolate,
        detector=detector,
    )
    metadata = dict(observed.metadata)
    limit = complete_below_eV(recoil, known.model)
    if limit is not None:
        metadata["complete_below_eV"] = f"{limit:.5g}, above it recoils beyond the range are missing"
    if recoil.metadata.get("source") == CAPTURE_SOURCE and recoil.metadata.get("gamma_timing") != "prompt":
        metadata["correction_of_cascades"] = (
            "nuclei that recoil twice are corrected as if once by the sum; cascade spectrum capture --model takes "
            "each recoil by itself"
        )
    observed = dataclasses.replace(observed, metadata=metadata)
    top = float(recoil.energy_edges_eV[-1])
    low = (detector.threshold_eV if detector else 0.0) or max(0.1 * top, float(recoil.energy_edges_eV[0]))
    bands = None
    if with_bands:
        bands = spectrum_bands(
            recoil,
            known.ensemble,
            fallback_species=fallback_of(known.model, species),
            detector=detector,
            source_counts=source_counts,
        )
    return Correction(observed=observed, bands=bands, range_eV=(low, limit or top))


def pair_of_files(expected: Path, observed: Path, *, title: str) -> CorrectedPair:
    """Return two spectra on disk as a pair, with the bands that the second one carries.

    Raises
    ------
    InputError
        If one cannot be read, the ranges have nothing in common, or the first is a corrected spectrum.
    """
    before, after = read_spectrum(expected), read_spectrum(observed)
    if "correction" in before.metadata:
        raise InputError(
            f"{expected}: corrected for stored energy already; give the spectrum without it first: "
            "EXPECTED.csv OBSERVED.csv"
        )
    bands = bands_of_file(observed)
    if bands is not None and not np.array_equal(before.energy_edges_eV, after.energy_edges_eV):
        kept = np.isin(after.energy_edges_eV, before.energy_edges_eV)
        if int(kept.sum()) == len(before.energy_edges_eV):
            bands = bands.within(float(before.energy_edges_eV[0]), float(before.energy_edges_eV[-1]))
        else:
            bands = None  # a band has no meaning in bins that are put together from others
    if not before.energy_edges_eV[0] < after.energy_edges_eV[-1] or not (
        after.energy_edges_eV[0] < before.energy_edges_eV[-1]
    ):
        raise InputError(f"{expected} and {observed} have no energy in common: they are not of one source")
    limit = after.metadata.get("complete_below_eV", "").split(",")[0]
    try:
        complete = float(limit) if limit else None
    except ValueError:
        complete = None
    return CorrectedPair(
        name=observed.stem, title=title, expected=before, observed=after, complete_below_eV=complete, bands=bands
    )


def modulation_of_run(
    directory: RunDirectory,
    request: DarkMatterRequest,
    *,
    times: Sequence[datetime.datetime],
    latitude_deg: float,
    longitude_deg: float,
    crystal: NDArray[np.float64],
    threshold_eV: float,
    fallback_species: str | None = None,
) -> DailyModulation:
    """Return how the counts of dark matter above a threshold vary with the hour, by the cascades of a run.

    Parameters
    ----------
    directory : RunDirectory
    request : DarkMatterRequest
    times : sequence of datetime.datetime
    latitude_deg, longitude_deg : float
        Of the laboratory, north and east.
    crystal : (3, 3) float
        From the frame of the laboratory to that of the crystal, see `crystal_from_laboratory`.
    threshold_eV : float
    fallback_species : str, optional
        Whose response stands for elements that were not simulated; by default what the run says.

    Raises
    ------
    InputError, FitError
        As `daily_modulation`.
    """
    analysis = analysis_of(directory).analysis or AnalysisSpec()
    table, model = fitted_run(directory, analysis=analysis)
    velocities = [
        crystal @ laboratory_velocity_km_s(t, latitude_deg=latitude_deg, longitude_deg=longitude_deg)
        for t in times
    ]
    return daily_modulation(
        requested_spectrum(request),
        table,
        velocities_km_s=np.array(velocities),
        mass_GeV=request.mass_GeV,
        rotations=rotations_of_sites(directory.load().protocol, sorted(model.species)),
        threshold_eV=threshold_eV,
        fallback_species=fallback_of(model, fallback_species or analysis.fallback_species),
        allow_failures=analysis.allow_failures,
    )
