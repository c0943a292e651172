"""What a recoil spectrum is asked for by: its source and its bins, as typed, frozen parameters.

A request is what the tables `[[spectra]]` of an input hold, what the options of `cascade spectrum` make, and what
a spectrum carries with it, into its file and back: from it the same spectrum can be made again.
"""

from __future__ import annotations

import itertools
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, field_validator, model_validator

from cascade_driver.binning import bin_edges, rising_energies
from cascade_driver.schema import Day, parameters


@parameters
class Bins:
    """Where recoils are counted.

    Attributes
    ----------
    energy_eV : (float, float)
        Lowest and highest recoil energy.
    bins : int
    logarithmic : bool
        Bins of equal ratio instead of equal width.
    """

    energy_eV: tuple[float, float]
    bins: int = Field(ge=1, le=100_000)
    logarithmic: bool = False

    _rises = field_validator("energy_eV")(rising_energies)

    @model_validator(mode="after")
    def _logarithm_begins_above_zero(self) -> Self:
        if self.logarithmic and not self.energy_eV[0] > 0:
            raise ValueError("logarithmic bins cannot begin at 0 eV: give a lowest energy above 0")
        return self

    @property
    def edges_eV(self) -> NDArray[np.float64]:
        """(n + 1,) bin edges."""
        return bin_edges(*self.energy_eV, bins=self.bins, logarithmic=self.logarithmic)


@parameters
class Recoils(Bins):
    """What all requested spectra have: a target, and bins.

    Attributes
    ----------
    target : str
        Chemical formula, e.g. CaWO4, Si, Ge, Al2O3, or CaWO4[W183=0.9].
    """

    target: str = Field(kw_only=False)


@parameters
class DarkMatterRequest(Recoils):
    """A dark-matter spectrum: a table `[[spectra]]` with `kind = "dm"`.

    Attributes
    ----------
    mass_GeV : float
        Of the dark-matter particle.
    cross_section_cm2 : float
        Of dark matter and one nucleon.
    mediator_mass_MeV : float, optional
        Of a light mediator; by default a contact interaction.
    coupling : {'independent', 'proton_spin', 'neutron_spin'}
        Spin-independent, or to the spin of protons or neutrons alone.
    date : datetime.date, optional
        For the Earth's velocity on that day; by default its average over the year.
    density_GeV_cm3 : float, optional
        Local density of the halo; by default 0.3.
    most_probable_speed_km_s : float, optional
        Of its Maxwellian, v0; by default 238.
    escape_speed_km_s : float, optional
        Where that is cut, v_esc; by default 544.
    earth_speed_km_s : float, optional
        Of the detector in the galaxy, v_E, one for all the year, in place of a date.
    """

    kind: Literal["dm"] = "dm"
    mass_GeV: float = Field(gt=0)
    cross_section_cm2: float = Field(gt=0)
    mediator_mass_MeV: float | None = Field(default=None, gt=0)
    coupling: Literal["independent", "proton_spin", "neutron_spin"] = "independent"
    date: Day | None = None
    density_GeV_cm3: float | None = Field(default=None, gt=0)
    most_probable_speed_km_s: float | None = Field(default=None, gt=0)
    escape_speed_km_s: float | None = Field(default=None, gt=0)
    earth_speed_km_s: float | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _one_speed_of_the_earth(self) -> Self:
        if self.date is not None and self.earth_speed_km_s is not None:
            raise ValueError("a date and earth_speed_km_s are both given; the date has a speed, remove one")
        return self


@parameters
class NeutrinoRequest(Recoils):
    """What all spectra of coherent neutrino scattering have: tables `[[spectra]]` with `kind = "cevns"`.

    Attributes
    ----------
    magnetic_moment_bohr : float
        Of the neutrino, in Bohr magnetons.
    mediator_mass_MeV : float, optional
        Of a vector boson (Z') that neutrinos and quarks exchange beside the Z.
    mediator_coupling : float, optional
        Product of its couplings to the neutrino and to each quark: -g^2 / 3 of one that couples to B - L with g.
    """

    kind: Literal["cevns"] = "cevns"
    magnetic_moment_bohr: float = Field(default=0.0, ge=0)
    mediator_mass_MeV: float | None = Field(default=None, gt=0)
    mediator_coupling: float | None = None

    @model_validator(mode="after")
    def _mediator_is_whole(self) -> Self:
        if (self.mediator_mass_MeV is None) != (self.mediator_coupling is None):
            raise ValueError("a mediator has mediator_mass_MeV and mediator_coupling; give both or none")
        return self


def _one(content: Any) -> Any:
    return (content,) if isinstance(content, int | float) else content


#: A number alone is one of them.
_OneOrMore = Annotated[tuple[float, ...], BeforeValidator(_one)]


@parameters
class ReactorRequest(NeutrinoRequest):
    """Recoils by the antineutrinos of reactors: `kind = "cevns"`, and `source = "reactor"` or none.

    Attributes
    ----------
    power_GW : tuple of float
        Thermal power of each core.
    distance_m : tuple of float
        Distance of each core.
    fission_fractions : dict, optional
        Of U235, U238, Pu239 and Pu241; by default those of a pressurised-water reactor.
    low_energy_flux : {'kopeikin', 'vogel_engel', 'flat', 'extrapolate'}
        Antineutrinos below 2 MeV; the last two are known to be wrong.
    u238_captures_per_fission : float, optional
        Neutrons that U238 captures, whose two beta decays each add antineutrinos; by default 0.6.
    """

    source: Literal["reactor"] = "reactor"
    power_GW: _OneOrMore = Field(min_length=1)
    distance_m: _OneOrMore = Field(min_length=1)
    fission_fractions: dict[str, float] | None = None
    low_energy_flux: Literal["kopeikin", "vogel_engel", "flat", "extrapolate"] = "kopeikin"
    u238_captures_per_fission: float | None = Field(default=None, ge=0, le=2)


@parameters
class SolarRequest(NeutrinoRequest):
    """Recoils by neutrinos of the Sun: `kind = "cevns"`, `source = "solar"`.

    Attributes
    ----------
    solar_sources : tuple of str, optional
        Some of pp, pep, hep, Be7, B8, N13, O15, F17; by default all.
    """

    source: Literal["solar"] = "solar"
    solar_sources: tuple[str, ...] | None = None


@parameters
class MonoenergeticRequest(NeutrinoRequest):
    """Recoils by neutrinos of one energy: `kind = "cevns"`, `source = "mono"`.

    Attributes
    ----------
    neutrino_energy_MeV : float
    neutrino_flux_cm2_s : float
    """

    source: Literal["mono"] = "mono"
    neutrino_energy_MeV: float = Field(gt=0)
    neutrino_flux_cm2_s: float = Field(gt=0)


@parameters
class CaptureRequest(Recoils):
    """Recoils after the capture of thermal neutrons: a table `[[spectra]]` with `kind = "capture"`.

    Attributes
    ----------
    neutron_flux_cm2_s : float
        Conventional flux, neutron density times 2200 m/s.
    gamma_timing : {'in_flight', 'prompt', 'slow'}
        What the second gamma of a cascade finds.
    unknown_lifetime : {'single_particle', 'prompt', 'slow'}
        Of levels whose lifetime is not tabulated.
    slowing_time_fs : float, optional
        Of the nucleus, in place of ZBL's.
    density_g_cm3 : float, optional
        Of the crystal, for that; the crystals of detectors have theirs.
    unresolved : {'statistical', 'left_out'}
        What stands for captures without a tabulated primary gamma.
    continuum_temperature_MeV : float, optional
        Of the statistical model of those; by default of each nucleus by its mass, 0.5 for W.
    table : str, optional
        Folder of another capture table, see `cascade capture table`.
    tag_keV : float, optional
        Only captures of which a detector beside the crystal sees a gamma of this energy.
    tag_width_keV : float, optional
        Half of the window around it.
    tag_efficiency : float, optional
        Probability that a gamma in the window is seen; by default 1.
    escape_keV : tuple of float
        Gamma energies, rising, for `escape_probability`; by default every gamma leaves.
    escape_probability : tuple of float
        That such a gamma leaves the crystal, linear in between: captures are counted if all of theirs do.
    """

    kind: Literal["capture"] = "capture"
    neutron_flux_cm2_s: float = Field(gt=0)
    gamma_timing: Literal["in_flight", "prompt", "slow"] = "in_flight"
    unknown_lifetime: Literal["single_particle", "prompt", "slow"] = "single_particle"
    slowing_time_fs: float | None = Field(default=None, gt=0)
    density_g_cm3: float | None = Field(default=None, gt=0)
    unresolved: Literal["statistical", "left_out"] = "statistical"
    continuum_temperature_MeV: float | None = Field(default=None, gt=0)
    table: str | None = None
    tag_keV: float | None = Field(default=None, gt=0)
    tag_width_keV: float | None = Field(default=None, gt=0)
    tag_efficiency: float | None = Field(default=None, gt=0, le=1)
    escape_keV: _OneOrMore = ()
    escape_probability: _OneOrMore = ()

    @model_validator(mode="after")
    def _tag_is_whole(self) -> Self:
        if self.tag_keV is None and (self.tag_width_keV is not None or self.tag_efficiency is not None):
            raise ValueError("a tag has tag_keV and tag_width_keV; give the energy of the gamma, too")
        if self.tag_keV is not None and self.tag_width_keV is None:
            raise ValueError("a tag has tag_keV and tag_width_keV; give half of the window, too")
        return self

    @model_validator(mode="after")
    def _escape_is_whole(self) -> Self:
        if len(self.escape_keV) != len(self.escape_probability):
            raise ValueError("the escape of gammas is escape_keV and escape_probability; give as many of both")
        if any(not low < high for low, high in itertools.pairwise(self.escape_keV)):
            raise ValueError(f"escape_keV is {list(self.escape_keV)}, expected rising energies")
        if not all(0 <= one <= 1 for one in self.escape_probability):
            raise ValueError(f"escape_probability is {list(self.escape_probability)}, expected 0 to 1 for each")
        return self

    @model_validator(mode="after")
    def _temperature_has_a_use(self) -> Self:
        if self.unresolved == "left_out" and self.continuum_temperature_MeV is not None:
            raise ValueError("unresolved captures are left out, and have a continuum_temperature_MeV; remove one")
        return self


AnyNeutrinoRequest = ReactorRequest | SolarRequest | MonoenergeticRequest

AnySpectrumRequest = DarkMatterRequest | AnyNeutrinoRequest | CaptureRequest


def _of_one_source(content: Any) -> Any:
    """Name the source of neutrinos that is meant where none is named, and forget what it has not.

    Files of earlier versions hold all parameters of all sources, those of other sources at their defaults, and a
    flux has another name in them.
    """
    if not isinstance(content, dict):
        return content
    content = {"source": "reactor", **content}
    if "neutrino_flux_per_cm2_s" in content:
        content["neutrino_flux_cm2_s"] = content.pop("neutrino_flux_per_cm2_s")
    if content["source"] != "reactor":
        nothing: tuple[tuple[str, Any], ...]
        nothing = (("power_GW", []), ("distance_m", []), ("low_energy_flux", "kopeikin"))
        content = {name: value for name, value in content.items() if (name, value) not in nothing}
    return content


_OneSource = Annotated[
    Annotated[AnyNeutrinoRequest, Field(discriminator="source")], BeforeValidator(_of_one_source)
]

SpectrumRequest = Annotated[DarkMatterRequest | _OneSource | CaptureRequest, Field(discriminator="kind")]


def request_title(request: AnySpectrumRequest) -> str:
    """Return one line that says what a requested spectrum is."""
    if isinstance(request, DarkMatterRequest):
        return f"dark matter, {request.mass_GeV:g} GeV, {request.cross_section_cm2:g} cm², on {request.target}"
    if isinstance(request, CaptureRequest):
        return f"neutron capture, {request.neutron_flux_cm2_s:g} n/(cm² s), on {request.target}"
    if isinstance(request, SolarRequest):
        return f"CEvNS of solar neutrinos ({', '.join(request.solar_sources or ('all',))}) on {request.target}"
    if isinstance(request, MonoenergeticRequest):
        return f"CEvNS of {request.neutrino_energy_MeV:g} MeV neutrinos on {request.target}"
    return f"reactor CEvNS ({_cores_said(request)}) on {request.target}"


def _cores_said(request: ReactorRequest) -> str:
    """Return power and distance of the cores; what they have in common stands there once."""
    powers, distances = request.power_GW, request.distance_m
    if len(powers) == len(distances) > 1 and len(set(powers)) == 1:
        return f"{len(powers)} × {powers[0]:g} GW at {', '.join(f'{d:g}' for d in distances)} m"
    return ", ".join(f"{p:g} GW at {d:g} m" for p, d in zip(powers, distances, strict=False))
