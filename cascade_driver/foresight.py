"""What an input asks for after its cascades, checked before them: days later is too late for a misspelt target."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from cascade_driver.analysis.published import NAMED_MODELS
from cascade_driver.campaign.plan import Campaign
from cascade_driver.config import AnalysisSpec, RunInput
from cascade_driver.errors import InputError
from cascade_driver.models import crystal_formulas
from cascade_driver.request import AnySpectrumRequest
from cascade_driver.sources.requested import requested_spectrum
from cascade_driver.spectra.observe import check_crystal

#: What the conclusion of a run writes, by the name of a folder or a file.
_FOLDERS, _FILES = ("spectra", "figures"), ("model.json", "report.html")


def foresee(wanted: RunInput, campaign: Campaign, run: Path) -> None:
    """Refuse an input whose conclusion could not be drawn, whatever its cascades give.

    Parameters
    ----------
    wanted : RunInput
        The input.
    campaign : Campaign
        The cascades that it plans.
    run : pathlib.Path
        The run directory, which need not be there yet.

    Raises
    ------
    InputError
        With the first thing that stands in the way.
    """
    for name in (*_FOLDERS, *_FILES):
        place = run / name
        if place.exists() and place.is_dir() is not (name in _FOLDERS):
            raise InputError(f"{place}: the conclusion of a run is written there; move it away")
    if (analysis := wanted.analysis) is None:
        return
    reach: dict[str, float] = {}
    for group in campaign.groups:
        if not group.then:
            reach[group.species] = max(reach.get(group.species, 0.0), *group.recoil_energies_eV)
    _foresee_models(analysis, campaign, run, known=sorted(reach))
    for number, request in enumerate(wanted.spectra, start=1):
        try:
            _foresee_spectrum(request, analysis, reach, crystal=crystal_formulas(campaign.protocol.crystal))
        except InputError as error:
            raise InputError(f"`spectra[{number}]`: {error}") from None


def _foresee_models(analysis: AnalysisSpec, campaign: Campaign, run: Path, *, known: list[str]) -> None:
    if analysis.fallback_species is not None and analysis.fallback_species not in known:
        raise InputError(
            f"`analysis.fallback_species`: no recoils of {analysis.fallback_species!r} are simulated, "
            f"only of {', '.join(known)}; name one of these"
        )
    if analysis.direction is not None and campaign.protocol.crystal.is_film:
        raise InputError("`analysis.direction`: responses by direction are for bulk crystals; leave it out")
    for key in ("potential_runs", "protocol_runs"):
        for name in getattr(analysis, key):
            if name not in NAMED_MODELS and not (run / name).exists():
                raise InputError(
                    f"`analysis.{key}`: {name}: no run and no model file, seen from {run}; make it first"
                )


def _foresee_spectrum(
    request: AnySpectrumRequest, analysis: AnalysisSpec, reach: dict[str, float], *, crystal: tuple[str, ...]
) -> None:
    """Make a spectrum in a single bin, which needs all that a source must know."""
    spectrum = requested_spectrum(dataclasses.replace(request, bins=1))
    lender = analysis.fallback_species or next(iter(reach))
    used = {element: element if element in reach else lender for element in spectrum.elements}
    if crystal:
        check_crystal(crystal, target=request.target, used=used, other_crystal=analysis.other_crystal)
    missing = [element for element in spectrum.elements if element not in reach]
    if missing and analysis.fallback_species is None and len(reach) > 1:
        raise InputError(
            f"recoils of {', '.join(missing)} are not simulated, only of {', '.join(sorted(reach))}; add them, or "
            "name one of these as `fallback_species` in [analysis]"
        )
    if not analysis.extrapolate and request.energy_eV[1] > (most := min(reach.values())):
        raise InputError(
            f"recoils up to {request.energy_eV[1]:g} eV are wanted, and simulated up to {most:g} eV: simulate "
            "higher energies, end `energy_eV` there, or set `extrapolate = true` in [analysis]"
        )
