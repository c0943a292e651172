"""The spectra that requests ask for, and how well their sources are known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cascade_driver.errors import InputError
from cascade_driver.spectra.capture_table import CaptureIsotope, capture_table
from cascade_driver.spectra.cevns import WEAK_MIXING_ANGLE, cevns_spectrum_of_flux
from cascade_driver.spectra.dark_matter import HaloModel, dark_matter_spectrum, earth_speed_km_s
from cascade_driver.spectra.gamma_recoil import GammaTiming
from cascade_driver.spectra.neutrino_flux import NeutrinoFlux
from cascade_driver.spectra.neutron_capture import capture_parts, capture_spectrum
from cascade_driver.spectra.reactor import (
    HUBER_MUELLER_YIELD_ERRORS,
    LOW_ENERGY_ERRORS,
    PRESSURISED_WATER_FISSION_FRACTIONS,
    reactor_flux,
    reactor_part_flux,
)
from cascade_driver.spectra.request import (
    AnySpectrumRequest,
    CaptureRequest,
    CevnsRequest,
    DarkMatterRequest,
    requested_edges,
)
from cascade_driver.spectra.solar import SOLAR_FLUXES_per_cm2_s, monochromatic_flux, solar_flux
from cascade_driver.spectra.spectrum import Spectrum

#: Members of a source behind an error band.
N_MEMBERS = 500

#: A spectrum that its own metadata do not give back to this share was changed since: its source is not known then.
_SAME = 0.01

Counts = Mapping[str, NDArray[np.float64]]


def requested_spectrum(request: AnySpectrumRequest, *, energy_edges_eV: ArrayLike | None = None) -> Spectrum:
    """Return the recoil spectrum that a request asks for.

    Parameters
    ----------
    request : DarkMatterRequest, CevnsRequest or CaptureRequest
    energy_edges_eV : (n + 1,) array_like, optional
        In these bins instead of those of the request: a source has a spectrum at any energy.

    Raises
    ------
    InputError
        If it cannot be made.
    """
    edges = requested_edges(request) if energy_edges_eV is None else energy_edges_eV
    if isinstance(request, DarkMatterRequest):
        return dark_matter_spectrum(
            target=request.target,
            mass_GeV=request.mass_GeV,
            cross_section_cm2=request.cross_section_cm2,
            energy_edges_eV=edges,
            halo=HaloModel(earth_speed_km_s=earth_speed_km_s(request.date)) if request.date else None,
            mediator_mass_MeV=request.mediator_mass_MeV,
            coupling=request.coupling,
        )
    if isinstance(request, CaptureRequest):
        return capture_spectrum(
            target=request.target,
            neutron_flux_cm2_s=request.neutron_flux_cm2_s,
            energy_edges_eV=edges,
            timing=gamma_timing(request),
            unresolved=request.unresolved,
            continuum_temperature_MeV=request.continuum_temperature_MeV,
            table=table_of(request),
        )
    return cevns_spectrum_of_flux(
        neutrino_flux(request),
        target=request.target,
        energy_edges_eV=edges,
        magnetic_moment_bohr=request.magnetic_moment_bohr,
    )


def neutrino_flux(request: CevnsRequest) -> NeutrinoFlux:
    """Return the neutrinos that a requested spectrum of coherent scattering is made by.

    Raises
    ------
    InputError
        If the source cannot be made.
    """
    if request.source == "solar":
        return solar_flux(sources=request.solar_sources or tuple(SOLAR_FLUXES_per_cm2_s))
    if request.source == "mono":
        return monochromatic_flux(
            request.neutrino_energy_MeV or 0.0, flux_per_cm2_s=request.neutrino_flux_per_cm2_s or 0.0
        )
    return reactor_flux(
        power_GW=request.power_GW,
        distance_m=request.distance_m,
        fission_fractions=request.fission_fractions or PRESSURISED_WATER_FISSION_FRACTIONS,
        low_energy_flux=request.low_energy_flux,
        u238_captures_per_fission=request.u238_captures_per_fission,
    )


def table_of(request: CaptureRequest) -> Mapping[str, CaptureIsotope]:
    """Return the capture table of a requested spectrum."""
    return capture_table(Path(request.table) if request.table else None)


def gamma_timing(request: CaptureRequest) -> GammaTiming:
    """Return when the gammas of a requested capture spectrum are emitted."""
    return GammaTiming(
        law=request.gamma_timing,
        unknown_lifetime=request.unknown_lifetime,
        slowing_time_fs=request.slowing_time_fs,
        density_g_cm3=request.density_g_cm3,
    )


def source_members_of(
    spectrum: Spectrum, *, n_members: int = N_MEMBERS, rng: np.random.Generator | None = None
) -> dict[str, NDArray[np.float64]] | None:
    r"""Return members of a recoil spectrum, (n_members, n) counts per kg and day by element, if it can tell.

    .. math:: n_r = n + \sum_k \delta_k z_{rk}\, n_k, \qquad z_{rk} \sim N(0, 1)

    with parts :math:`n_k` and their relative errors :math:`\delta_k`:

    - reactor: each isotope above 2 MeV with the error of its yield, and all that is below with its own;
    - Sun: each source with the error of its flux;
    - neutron capture: as `capture_parts`.

    None for dark matter, whose rate is what one looks for, and for spectra of other programs.

    Parameters
    ----------
    spectrum : Spectrum
        Made by this package, or read from a file that was; in any bins.
    n_members : int
    rng : numpy.random.Generator, optional
        By default a fixed seed.
    """
    if spectrum.energy_kind != "recoil" or "target" not in spectrum.metadata:
        return None
    parts = list(_parts(spectrum))
    if not parts:
        return None
    rng = rng or np.random.default_rng(1)
    counts = spectrum.counts_per_kg_day
    if not _adds_up(parts, counts, whole="neutron_flux_cm2_s" not in spectrum.metadata):
        return None
    z = rng.normal(size=(n_members, len(parts)))
    members = {}
    for element, n in counts.items():
        scaled = np.stack([error * part.get(element, np.zeros_like(n)) for error, part in parts])
        members[element] = np.maximum(n + z @ scaled, 0.0)
    return members


def _adds_up(parts: list[tuple[float, Counts]], counts: Counts, *, whole: bool) -> bool:
    """Return whether the parts are the spectrum (or, of captures, no more than it)."""
    if any(set(part) - set(counts) for _, part in parts):
        return False
    summed, found = (float(sum(np.sum(n) for n in c.values())) for c in (_sum([p for _, p in parts]), counts))
    return abs(summed - found) <= _SAME * found if whole else summed <= (1 + _SAME) * found


def _sum(parts: list[Counts]) -> Counts:
    return {e: np.sum([p[e] for p in parts if e in p], axis=0) for e in {e for p in parts for e in p}}


def _parts(spectrum: Spectrum) -> Iterator[tuple[float, Counts]]:
    """Yield relative errors with the counts that they scale."""
    about = spectrum.metadata
    try:
        if "low_energy_flux" in about:
            yield from _reactor_parts(spectrum)
        elif "solar_fluxes_per_cm2_s" in about:
            for name, value in _pairs(about["solar_fluxes_per_cm2_s"]).items():
                reference, error = SOLAR_FLUXES_per_cm2_s[name]
                yield error, _scattered(solar_flux(sources=(name,), scale={name: value / reference}), spectrum)
        elif "neutron_flux_cm2_s" in about and about.get("gamma_escape") == "all gammas escape":
            yield from capture_parts(
                target=about["target"],
                neutron_flux_cm2_s=float(about["neutron_flux_cm2_s"]),
                energy_edges_eV=spectrum.energy_edges_eV,
                timing=GammaTiming(law=about["gamma_timing"]),  # type: ignore[arg-type]
            )
    except (KeyError, ValueError, InputError):
        return  # a comment of a file that somebody wrote or changed: the source is not known


def _reactor_parts(spectrum: Spectrum) -> Iterator[tuple[float, Counts]]:
    about = spectrum.metadata
    fractions = _pairs(about["fission_fractions"])
    low = about["low_energy_flux"]
    if low not in LOW_ENERGY_ERRORS:
        return
    for isotope in (*fractions, None):
        flux = reactor_part_flux(
            isotope,
            power_GW=[float(x) for x in about["power_GW"].split()],
            distance_m=[float(x) for x in about["distance_m"].split()],
            fission_fractions=fractions,
            low_energy_flux=low,  # type: ignore[arg-type]
            u238_captures_per_fission=float(about["u238_captures_per_fission"]),
        )
        yield (
            LOW_ENERGY_ERRORS[low] if isotope is None else HUBER_MUELLER_YIELD_ERRORS[isotope],
            _scattered(flux, spectrum),
        )


def _scattered(flux: NeutrinoFlux, spectrum: Spectrum) -> Counts:
    about = spectrum.metadata
    return cevns_spectrum_of_flux(
        flux,
        target=about["target"],
        energy_edges_eV=spectrum.energy_edges_eV,
        weak_mixing_angle=float(about.get("weak_mixing_angle", WEAK_MIXING_ANGLE)),
        magnetic_moment_bohr=float(about.get("magnetic_moment_bohr", 0.0)),
    ).counts_per_kg_day


def _pairs(text: str) -> dict[str, float]:
    """Return the numbers of a text such as `U235=0.56 U238=0.08`."""
    return {name: float(value) for name, _, value in (item.partition("=") for item in text.split())}
