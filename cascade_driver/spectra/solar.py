"""Neutrinos of the Sun, and of sources of one energy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from scipy import constants, integrate

from cascade_driver.errors import InputError
from cascade_driver.spectra.neutrino_flux import NeutrinoFlux

#: Fluxes at the Earth per cm^2 and s with their relative errors: Vinyoles et al. 2017 (B16-GS98),
#: doi:10.3847/1538-4357/835/2/202, Table 6. All flavours: coherent scattering does not tell them apart.
SOLAR_FLUXES_per_cm2_s: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "pp": (5.98e10, 0.006),
        "pep": (1.44e8, 0.01),
        "hep": (7.98e3, 0.30),
        "Be7": (4.93e9, 0.06),
        "B8": (5.46e6, 0.12),
        "N13": (2.78e8, 0.15),
        "O15": (2.05e8, 0.17),
        "F17": (5.29e6, 0.20),
    }
)

#: Lines: neutrino energy in MeV and share, Bahcall 1989 (Neutrino Astrophysics, Table 3.1 and Sec. 3.2).
_LINES: Mapping[str, tuple[tuple[float, float], ...]] = MappingProxyType(
    {"pep": ((1.442, 1.0),), "Be7": ((0.8618, 0.897), (0.3843, 0.103))}
)

#: Largest neutrino energies in MeV of the continuous sources, same place.
_END_POINTS_MeV: Mapping[str, float] = MappingProxyType(
    {"pp": 0.4234, "hep": 18.778, "N13": 1.1982, "O15": 1.7318, "F17": 1.7364}
)

#: B8 decays to the first excited state of Be8: energy and width in MeV, and the energy that is free without it.
_BE8_LEVEL_MeV = (3.03, 1.51)
_B8_FREE_MeV = 17.9798 - 2 * 0.510999

#: Relative width of the box that stands for a line.
_LINE_WIDTH = 1e-5

_ELECTRON_MASS_MeV: float = constants.physical_constants["electron mass energy equivalent in MeV"][0]


def monochromatic_flux(neutrino_energy_MeV: float, *, flux_per_cm2_s: float) -> NeutrinoFlux:
    """Return neutrinos of one energy: a box 1e-5 of it wide.

    Raises
    ------
    InputError
        If the energy is not positive or the flux negative.
    """
    if not (0 < neutrino_energy_MeV < math.inf and 0 <= flux_per_cm2_s < math.inf):
        raise InputError(
            f"{flux_per_cm2_s:g} neutrinos per cm2 and s of {neutrino_energy_MeV:g} MeV: give a positive energy "
            "and a flux of at least 0"
        )
    width = _LINE_WIDTH * neutrino_energy_MeV
    edges = neutrino_energy_MeV + width * np.array([-0.5, 0.5])

    def density(energy: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where((energy >= edges[0]) & (energy <= edges[1]), flux_per_cm2_s / width, 0.0)

    return NeutrinoFlux(
        density_per_cm2_s_MeV=density,
        breakpoints_MeV=edges,
        metadata={"flux": f"{flux_per_cm2_s:g} per cm2 and s at {neutrino_energy_MeV:g} MeV"},
    )


def allowed_shape_per_MeV(neutrino_energy_MeV: NDArray[np.float64], end_point_MeV: float) -> NDArray[np.float64]:
    r"""Return the spectrum of an allowed positron decay, not normalised, the shape of the energies.

    .. math:: \frac{dN}{dE_\nu} \propto E_\nu^2\, W \sqrt{W^2 - m_e^2}, \qquad W = Q - E_\nu + m_e

    Without the Fermi function, which moves the mean energy of the light emitters of the Sun by below 2 %.
    """
    total = end_point_MeV - neutrino_energy_MeV + _ELECTRON_MASS_MeV
    inside = (neutrino_energy_MeV >= 0) & (neutrino_energy_MeV <= end_point_MeV)
    momentum = np.sqrt(np.maximum(total**2 - _ELECTRON_MASS_MeV**2, 0.0))
    return np.where(inside, neutrino_energy_MeV**2 * total * momentum, 0.0)


def _continuum(source: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return energies (MeV) and the normalised density at them."""
    if source == "B8":
        level, width = _BE8_LEVEL_MeV
        end = _B8_FREE_MeV
        grid = np.linspace(0.0, end, 801)
        excitation = np.linspace(0.0, end, 401)[1:-1]
        weight = 1 / ((excitation - level) ** 2 + (width / 2) ** 2)
        shapes = np.stack([allowed_shape_per_MeV(grid, end - x) for x in excitation])
        # the law is that of how often the level is met: phase space is in it already
        density = (weight / shapes.sum(axis=1)) @ shapes
    else:
        grid = np.linspace(0.0, _END_POINTS_MeV[source], 401)
        density = allowed_shape_per_MeV(grid, _END_POINTS_MeV[source])
    return grid, density / integrate.simpson(density, x=grid)


def solar_flux(
    *, sources: tuple[str, ...] = tuple(SOLAR_FLUXES_per_cm2_s), scale: Mapping[str, float] | None = None
) -> NeutrinoFlux:
    r"""Return the flux of solar neutrinos at the mean distance of the Earth.

    Lines (pep, Be7) as narrow boxes; the others with the closed form `allowed_shape_per_MeV`, B8 with the broad
    first level of Be8 as a Breit-Wigner law of its end points (mean energy 7.0 MeV, 4 % above the tabulated one of
    Bahcall et al. 1996, doi:10.1103/PhysRevC.54.411). Fluxes `SOLAR_FLUXES_per_cm2_s`.

    Parameters
    ----------
    sources : tuple of str
        Some of pp, pep, hep, Be7, B8, N13, O15, F17.
    scale : mapping of str to float, optional
        Factors on the fluxes.

    Raises
    ------
    InputError
        If a source is unknown or there is none.
    """
    unknown = [s for s in (*sources, *(scale or {})) if s not in SOLAR_FLUXES_per_cm2_s]
    if unknown or not sources:
        raise InputError(
            f"solar sources {', '.join(unknown) or 'none'}: choose among {', '.join(SOLAR_FLUXES_per_cm2_s)}"
        )
    factor = {s: SOLAR_FLUXES_per_cm2_s[s][0] * (scale or {}).get(s, 1.0) for s in sources}
    tables = [(factor[s], *_continuum(s)) for s in sources if s not in _LINES]
    lines = [
        monochromatic_flux(energy, flux_per_cm2_s=factor[s] * share)
        for s in sources
        if s in _LINES
        for energy, share in _LINES[s]
    ]

    def density(energy: NDArray[np.float64]) -> NDArray[np.float64]:
        total = np.zeros_like(energy)
        for flux, grid, values in tables:
            total += flux * np.interp(energy, grid, values, right=0.0)
        for line in lines:
            total += line.density_per_cm2_s_MeV(energy)
        return total

    points = [grid for _, grid, _ in tables] + [line.breakpoints_MeV for line in lines]
    return NeutrinoFlux(
        density_per_cm2_s_MeV=density,
        breakpoints_MeV=np.unique(np.concatenate(points)),
        metadata={
            "flux": f"solar neutrinos, B16-GS98: {' '.join(sources)}",
            "solar_fluxes_per_cm2_s": " ".join(f"{s}={factor[s]!r}" for s in sources),
        },
    )
