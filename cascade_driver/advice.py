"""What limits the spectra of a run, and which cascades to add: behind `cascade plan`."""

from __future__ import annotations

import dataclasses

import numpy as np

from cascade_driver.campaign.rundir import RunDirectory
from cascade_driver.config import (
    AnalysisSpec,
)
from cascade_driver.errors import InputError
from cascade_driver.models import (
    analysis_of,
    fitted_with_errors,
)
from cascade_driver.sources.requested import requested_spectrum
from cascade_driver.spectra.observe import Observed, observe
from cascade_driver.spectra.planning import CampaignAdvice, advise


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
        If there is no model yet, or it is a table and has no parameters.
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
