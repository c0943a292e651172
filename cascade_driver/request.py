"""What a recoil spectrum is asked for by: its source and its bins, as typed, frozen parameters.

A request is what the tables `[[spectra]]` of an input hold, what the options of `cascade spectrum` make, and what
a spectrum carries with it, into its file and back: from it the same spectrum can be made again.
"""

from __future__ import annotations

import datetime
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from cascade_driver.binning import bin_edges
from cascade_driver.schema import parameters


def _rising(energy_eV: tuple[float, float]) -> tuple[float, float]:
    low, high = energy_eV
    if not 0 <= low < high:
        raise ValueError(f"expected two rising energies [low, high] in eV, found [{low:g}, {high:g}]")
    return energy_eV


def _from_above_zero(request: Any) -> Any:
    """Refuse logarithmic bins that begin at zero."""
    if request.logarithmic and not request.energy_eV[0] > 0:
        raise ValueError("logarithmic bins cannot begin at 0 eV: give a lowest energy above 0")
    return request


@parameters
class DarkMatterRequest:
    """A dark-matter spectrum: a table `[[spectra]]` with `kind = "dm"`.

    Attributes
    ----------
    target : str
        Chemical formula.
    mass_GeV : float
    cross_section_cm2 : float
        Of dark matter and one nucleon.
    mediator_mass_MeV : float, optional
        Of a light mediator; by default a contact interaction.
    coupling : {'independent', 'proton_spin', 'neutron_spin'}
        Spin-independent, or to the spin of protons or neutrons alone.
    date : datetime.date, optional
        For the Earth's velocity on that day; by default its average over the year.
    energy_eV : (float, float)
        Lowest and highest recoil energy.
    bins : int
    logarithmic : bool
        Bins of equal ratio instead of equal width.
    """

    kind: Literal["dm"] = "dm"
    target: str = Field(kw_only=False)
    mass_GeV: float = Field(gt=0)
    cross_section_cm2: float = Field(gt=0)
    mediator_mass_MeV: float | None = Field(default=None, gt=0)
    coupling: Literal["independent", "proton_spin", "neutron_spin"] = "independent"
    date: datetime.date | None = None
    energy_eV: tuple[float, float]
    bins: int = Field(ge=1, le=100_000)
    logarithmic: bool = False

    _range = field_validator("energy_eV")(_rising)
    _logarithm = model_validator(mode="after")(_from_above_zero)


@parameters
class CevnsRequest:
    """A spectrum of coherent neutrino scattering: a table `[[spectra]]` with `kind = "cevns"`.

    Attributes
    ----------
    target : str
        Chemical formula.
    source : {'reactor', 'solar', 'mono'}
    power_GW, distance_m : tuple of float
        Thermal power and distance of each core, for a reactor.
    fission_fractions : dict, optional
        Of U235, U238, Pu239 and Pu241; by default those of a pressurised-water reactor.
    low_energy_flux : {'kopeikin', 'vogel_engel', 'flat', 'extrapolate'}
        Of a reactor below 2 MeV.
    u238_captures_per_fission : float, optional
        Whose two beta decays each add antineutrinos to a reactor's; by default 0.6.
    solar_sources : tuple of str, optional
        Some of pp, pep, hep, Be7, B8, N13, O15, F17; by default all.
    neutrino_energy_MeV, neutrino_flux_per_cm2_s : float
        Of a source of one energy.
    magnetic_moment_bohr : float
    energy_eV : (float, float)
    bins : int
    logarithmic : bool
        Bins of equal ratio instead of equal width.
    """

    kind: Literal["cevns"] = "cevns"
    target: str = Field(kw_only=False)
    source: Literal["reactor", "solar", "mono"] = "reactor"
    power_GW: tuple[float, ...] = ()
    distance_m: tuple[float, ...] = ()
    fission_fractions: dict[str, float] | None = None
    low_energy_flux: Literal["kopeikin", "vogel_engel", "flat", "extrapolate"] = "kopeikin"
    u238_captures_per_fission: float | None = Field(default=None, ge=0, le=2)
    solar_sources: tuple[str, ...] | None = None
    neutrino_energy_MeV: float | None = Field(default=None, gt=0)
    neutrino_flux_per_cm2_s: float | None = Field(default=None, gt=0)
    magnetic_moment_bohr: float = Field(default=0.0, ge=0)
    energy_eV: tuple[float, float]
    bins: int = Field(ge=1, le=100_000)
    logarithmic: bool = False

    _range = field_validator("energy_eV")(_rising)
    _logarithm = model_validator(mode="after")(_from_above_zero)

    @model_validator(mode="after")
    def _has_its_source(self) -> CevnsRequest:
        wanted: dict[str, tuple[str, ...]] = {
            "reactor": ("power_GW", "distance_m"),
            "solar": (),
            "mono": ("neutrino_energy_MeV", "neutrino_flux_per_cm2_s"),
        }
        of_others = {
            "reactor": (*wanted["reactor"], "fission_fractions", "u238_captures_per_fission"),
            "solar": ("solar_sources",),
            "mono": wanted["mono"],
        }
        if missing := [name for name in wanted[self.source] if not getattr(self, name)]:
            raise ValueError(f"source {self.source} needs {' and '.join(missing)}")
        for source, names in of_others.items():
            if source != self.source and (found := [name for name in names if getattr(self, name)]):
                raise ValueError(f"{found[0]} belongs to source {source}, found source {self.source}")
        return self


@parameters
class CaptureRequest:
    """Recoils after the capture of thermal neutrons: a table `[[spectra]]` with `kind = "capture"`.

    Attributes
    ----------
    target : str
        Chemical formula.
    neutron_flux_cm2_s : float
        Conventional flux, neutron density times 2200 m/s.
    gamma_timing : {'in_flight', 'prompt', 'slow'}
        What the second gamma of a cascade finds.
    unknown_lifetime : {'single_particle', 'prompt', 'slow'}
        Of levels whose lifetime is not tabulated.
    slowing_time_fs, density_g_cm3 : float, optional
        Slowing-down of the nucleus; by default from the density of the crystal.
    unresolved : {'statistical', 'left_out'}
        What stands for captures without a tabulated primary gamma.
    continuum_temperature_MeV : float, optional
        Of the statistical model of those; by default of each nucleus by its mass.
    table : str, optional
        Folder of another capture table.
    energy_eV : (float, float)
    bins : int
    """

    kind: Literal["capture"] = "capture"
    target: str = Field(kw_only=False)
    neutron_flux_cm2_s: float = Field(gt=0)
    gamma_timing: Literal["in_flight", "prompt", "slow"] = "in_flight"
    unknown_lifetime: Literal["single_particle", "prompt", "slow"] = "single_particle"
    slowing_time_fs: float | None = Field(default=None, gt=0)
    density_g_cm3: float | None = Field(default=None, gt=0)
    unresolved: Literal["statistical", "left_out"] = "statistical"
    continuum_temperature_MeV: float | None = Field(default=None, gt=0)
    table: str | None = None
    energy_eV: tuple[float, float]
    bins: int = Field(ge=1, le=100_000)
    logarithmic: bool = False

    _range = field_validator("energy_eV")(_rising)
    _logarithm = model_validator(mode="after")(_from_above_zero)

    @model_validator(mode="after")
    def _temperature_has_a_use(self) -> CaptureRequest:
        if self.unresolved == "left_out" and self.continuum_temperature_MeV is not None:
            raise ValueError("unresolved captures are left out, and have a continuum_temperature_MeV; remove one")
        return self


AnySpectrumRequest = DarkMatterRequest | CevnsRequest | CaptureRequest

SpectrumRequest = Annotated[AnySpectrumRequest, Field(discriminator="kind")]


def requested_edges(request: AnySpectrumRequest) -> NDArray[np.float64]:
    """Return the bin edges in eV, (n + 1,), that a request asks for."""
    return bin_edges(*request.energy_eV, bins=request.bins, logarithmic=request.logarithmic)


def request_title(request: AnySpectrumRequest) -> str:
    """Return one line that says what a requested spectrum is."""
    if isinstance(request, DarkMatterRequest):
        return f"dark matter, {request.mass_GeV:g} GeV, {request.cross_section_cm2:g} cm², on {request.target}"
    if isinstance(request, CaptureRequest):
        return f"neutron capture, {request.neutron_flux_cm2_s:g} n/(cm² s), on {request.target}"
    if request.source == "solar":
        return f"CEvNS of solar neutrinos ({', '.join(request.solar_sources or ('all',))}) on {request.target}"
    if request.source == "mono":
        return f"CEvNS of {request.neutrino_energy_MeV:g} MeV neutrinos on {request.target}"
    cores = ", ".join(f"{p:g} GW at {d:g} m" for p, d in zip(request.power_GW, request.distance_m, strict=False))
    return f"reactor CEvNS ({cores}) on {request.target}"
