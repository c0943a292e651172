"""The spectra that requests ask for, and how well their sources are known."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ParamSpec, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cascade_driver.errors import InputError
from cascade_driver.request import (
    AnyNeutrinoRequest,
    AnySpectrumRequest,
    CaptureRequest,
    DarkMatterRequest,
    MonoenergeticRequest,
    NeutrinoRequest,
    ReactorRequest,
    SolarRequest,
)
from cascade_driver.schema import build, field_descriptions
from cascade_driver.sources.capture_table import CaptureIsotope, capture_table
from cascade_driver.sources.cevns import VectorMediator, cevns_spectrum
from cascade_driver.sources.dark_matter import (
    HaloModel,
    dark_matter_spectrum,
    earth_speed_km_s,
    halos_of_the_year,
)
from cascade_driver.sources.gamma_recoil import GammaTiming
from cascade_driver.sources.neutrino_flux import NeutrinoFlux
from cascade_driver.sources.neutron_capture import (
    Captures,
    GammaEscape,
    GammaTag,
    capture_parts,
    capture_spectrum,
)
from cascade_driver.sources.reactor import (
    HUBER_MUELLER_YIELD_ERRORS,
    LOW_ENERGY_ERRORS,
    PRESSURISED_WATER_FISSION_FRACTIONS,
    reactor_flux,
    reactor_part_flux,
)
from cascade_driver.sources.solar import SOLAR_FLUXES_per_cm2_s, monochromatic_flux, solar_flux
from cascade_driver.spectrum import Spectrum

#: Members of a source behind an error band.
N_MEMBERS = 500

#: What a request may say of the halo, by the names that `HaloModel` has for it.
_OF_THE_HALO = ("density_GeV_cm3", "most_probable_speed_km_s", "escape_speed_km_s")

#: A spectrum that its source does not give back to this share was changed since.
_SAME = 1e-6

Counts = Mapping[str, NDArray[np.float64]]

P = ParamSpec("P")


def requested_spectrum(request: AnySpectrumRequest, *, energy_edges_eV: ArrayLike | None = None) -> Spectrum:
    """Return the recoil spectrum that a request asks for.

    Parameters
    ----------
    request : DarkMatterRequest, ReactorRequest, SolarRequest, MonoenergeticRequest or CaptureRequest
    energy_edges_eV : (n + 1,) array_like, optional
        In these bins instead of those of the request: a source has a spectrum at any energy.

    Raises
    ------
    InputError
        If it cannot be made.
    """
    edges = request.edges_eV if energy_edges_eV is None else energy_edges_eV
    if isinstance(request, DarkMatterRequest):
        made = dark_matter_spectrum(
            target=request.target,
            mass_GeV=request.mass_GeV,
            cross_section_cm2=request.cross_section_cm2,
            energy_edges_eV=edges,
            halo=halos_of(request),
            mediator_mass_MeV=request.mediator_mass_MeV,
            coupling=request.coupling,
        )
    elif isinstance(request, CaptureRequest):
        made = capture_spectrum(captures_of(request), energy_edges_eV=edges)
    else:
        made = _scattered(neutrino_flux(request), request, edges)
    return replace(made, source=request)


def is_as_requested(spectrum: Spectrum) -> bool:
    """Whether a spectrum is what its source makes of its bins: nobody has changed or cut its numbers since."""
    if spectrum.source is None or spectrum.energy_kind != "recoil":
        return False
    try:
        again = requested_spectrum(spectrum.source, energy_edges_eV=spectrum.energy_edges_eV)
    except InputError:
        return False
    largest = float(again.total_rate_per_kg_day_keV.max(initial=0.0))
    return spectrum.elements == again.elements and all(
        np.allclose(spectrum.rate_per_kg_day_keV[e], rate, rtol=_SAME, atol=_SAME * largest)
        for e, rate in again.rate_per_kg_day_keV.items()
    )


def halo_of(request: DarkMatterRequest) -> HaloModel:
    """Return the halo of a requested dark-matter spectrum, its speed of the Earth aside."""
    asked = {name: getattr(request, name) for name in _OF_THE_HALO}
    return HaloModel(**{name: value for name, value in asked.items() if value is not None})


def halos_of(request: DarkMatterRequest) -> tuple[HaloModel, ...]:
    """Return the halo at the speed of the Earth that is asked for; by default at those of a year."""
    halo, speed = halo_of(request), request.earth_speed_km_s
    if request.date is not None:
        speed = earth_speed_km_s(request.date)
    return halos_of_the_year(halo) if speed is None else (replace(halo, earth_speed_km_s=speed),)


def neutrino_flux(request: AnyNeutrinoRequest) -> NeutrinoFlux:
    """Return the neutrinos that a requested spectrum of coherent scattering is made by.

    Raises
    ------
    InputError
        If the source cannot be made.
    """
    if isinstance(request, SolarRequest):
        return solar_flux(sources=request.solar_sources or tuple(SOLAR_FLUXES_per_cm2_s))
    if isinstance(request, MonoenergeticRequest):
        return monochromatic_flux(request.neutrino_energy_MeV, flux_cm2_s=request.neutrino_flux_cm2_s)
    return reactor_flux(
        power_GW=request.power_GW,
        distance_m=request.distance_m,
        fission_fractions=request.fission_fractions or PRESSURISED_WATER_FISSION_FRACTIONS,
        low_energy_flux=request.low_energy_flux,
        u238_captures_per_fission=request.u238_captures_per_fission,
    )


def light_mediator(request: NeutrinoRequest) -> VectorMediator | None:
    """Return the boson beside the Z of a requested spectrum of coherent scattering, if there is one."""
    if request.mediator_mass_MeV is None or request.mediator_coupling is None:
        return None
    return VectorMediator(mass_MeV=request.mediator_mass_MeV, coupling=request.mediator_coupling)


def table_of(request: CaptureRequest) -> Mapping[str, CaptureIsotope]:
    """Return the capture table of a requested spectrum."""
    return capture_table(Path(request.table) if request.table else None)


def captures_of(request: CaptureRequest) -> Captures:
    """Return the captures that a requested spectrum counts."""
    tag = None
    if request.tag_keV is not None and request.tag_width_keV is not None:
        efficiency = 1.0 if request.tag_efficiency is None else request.tag_efficiency
        tag = GammaTag(energy_keV=request.tag_keV, width_keV=request.tag_width_keV, efficiency=efficiency)
    return Captures(
        target=request.target,
        neutron_flux_cm2_s=request.neutron_flux_cm2_s,
        timing=GammaTiming(
            law=request.gamma_timing,
            unknown_lifetime=request.unknown_lifetime,
            slowing_time_fs=request.slowing_time_fs,
            density_g_cm3=request.density_g_cm3,
        ),
        escape=GammaEscape(points=tuple(zip(request.escape_keV, request.escape_probability, strict=True))),
        tag=tag,
        unresolved=request.unresolved,
        continuum_temperature_MeV=request.continuum_temperature_MeV,
        table=table_of(request),
    )


def source_members_of(
    spectrum: Spectrum, *, n_members: int = N_MEMBERS, rng: np.random.Generator | None = None
) -> dict[str, NDArray[np.float64]] | None:
    r"""Return members of a recoil spectrum, (n_members, n) counts per kg and day by element, if it has a source.

    .. math:: n_r = n + \sum_k \delta_k z_{rk}\, n_k, \qquad z_{rk} \sim N(0, 1)

    with parts :math:`n_k` and their relative errors :math:`\delta_k` (`source_parts`). None for dark matter, whose
    rate is what one looks for, and for spectra of other programs.

    Parameters
    ----------
    spectrum : Spectrum
        As its source makes it (`is_as_requested`), in any bins.
    n_members : int
    rng : numpy.random.Generator, optional
        By default a fixed seed.
    """
    if spectrum.source is None:
        return None
    parts = list(source_parts(spectrum.source, energy_edges_eV=spectrum.energy_edges_eV))
    if not parts:
        return None
    rng = rng or np.random.default_rng(1)
    z = rng.normal(size=(n_members, len(parts)))
    members = {}
    for element, n in spectrum.counts_per_kg_day.items():
        scaled = np.stack([error * part.get(element, np.zeros_like(n)) for error, part in parts])
        members[element] = np.maximum(n + z @ scaled, 0.0)
    return members


def source_parts(request: AnySpectrumRequest, *, energy_edges_eV: ArrayLike) -> Iterator[tuple[float, Counts]]:
    """Yield the independent parts of a requested spectrum: their relative errors, with the counts in each bin.

    - reactor: each isotope above 2 MeV with the error of its yield, and all that is below with its own;
    - Sun: each source with the error of its flux;
    - neutron capture: as `capture_parts`.

    Raises
    ------
    InputError
        If the spectrum cannot be made.
    """
    if isinstance(request, CaptureRequest):
        yield from capture_parts(captures_of(request), energy_edges_eV=energy_edges_eV)
    elif isinstance(request, NeutrinoRequest):
        for error, flux in _flux_parts(request):
            yield error, _scattered(flux, request, energy_edges_eV).counts_per_kg_day


def _flux_parts(request: AnyNeutrinoRequest) -> Iterator[tuple[float, NeutrinoFlux]]:
    if isinstance(request, SolarRequest):
        for name in request.solar_sources or tuple(SOLAR_FLUXES_per_cm2_s):
            yield SOLAR_FLUXES_per_cm2_s[name][1], solar_flux(sources=(name,))
    elif isinstance(request, ReactorRequest):
        fractions = request.fission_fractions or PRESSURISED_WATER_FISSION_FRACTIONS
        for isotope in (*fractions, None):
            flux = reactor_part_flux(
                isotope,
                power_GW=request.power_GW,
                distance_m=request.distance_m,
                fission_fractions=fractions,
                low_energy_flux=request.low_energy_flux,
                u238_captures_per_fission=request.u238_captures_per_fission,
            )
            low = LOW_ENERGY_ERRORS[request.low_energy_flux]
            yield low if isotope is None else HUBER_MUELLER_YIELD_ERRORS[isotope], flux


def _scattered(flux: NeutrinoFlux, request: NeutrinoRequest, energy_edges_eV: ArrayLike) -> Spectrum:
    return cevns_spectrum(
        flux,
        target=request.target,
        energy_edges_eV=energy_edges_eV,
        magnetic_moment_bohr=request.magnetic_moment_bohr,
        mediator=light_mediator(request),
    )


# -- functions that take what a request holds ------------------------------------------------------------------


def _spectrum_function(name: str, request: Callable[P, AnySpectrumRequest]) -> Callable[P, Spectrum]:
    """Return a function that takes the parameters of a request and returns its spectrum.

    They are typed and documented once, with the request.
    """
    kind = cast("type[AnySpectrumRequest]", request)
    signature = inspect.signature(request)

    def make(*target: Any, **given: Any) -> Spectrum:
        return requested_spectrum(build(kind, signature.bind_partial(*target).arguments | given, origin=name))

    free = [p for p in signature.parameters.values() if p.name not in {"kind", "source"}]
    about = field_descriptions(kind)
    said = [f"{p.name} : {p.annotation}\n    {about.get(p.name, '')}".rstrip() for p in free]
    make.__name__ = make.__qualname__ = name
    shown = signature.replace(parameters=free, return_annotation="Spectrum")
    make.__signature__ = shown  # type: ignore[attr-defined]
    make.__doc__ = "\n".join(["Return a recoil spectrum, a `Spectrum`.", "", "Parameters", "----------", *said])
    return make


#: Recoils by dark matter; parameters as in `DarkMatterRequest`.
dark_matter = _spectrum_function("dark_matter", DarkMatterRequest)

#: Recoils by coherent scattering (CEvNS) of the antineutrinos of reactors; parameters as in `ReactorRequest`.
reactor = _spectrum_function("reactor", ReactorRequest)

#: Recoils by coherent scattering (CEvNS) of neutrinos of the Sun; parameters as in `SolarRequest`.
solar = _spectrum_function("solar", SolarRequest)

#: Recoils by coherent scattering (CEvNS) of neutrinos of one energy; parameters as in `MonoenergeticRequest`.
monoenergetic = _spectrum_function("monoenergetic", MonoenergeticRequest)

#: Recoils after the capture of thermal neutrons; parameters as in `CaptureRequest`.
capture = _spectrum_function("capture", CaptureRequest)
