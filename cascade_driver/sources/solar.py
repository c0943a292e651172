"""Neutrinos of the Sun, and of sources of one energy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import scipy
from numpy.typing import NDArray
from scipy import constants

from cascade_driver.errors import InputError
from cascade_driver.sources.neutrino_flux import NeutrinoFlux

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

#: Largest neutrino energies in MeV of the continuous sources: CNO from the atomic masses of AME2020
#: (doi:10.1088/1674-1137/abddaf), pp and hep as Bahcall 1997, doi:10.1103/PhysRevC.56.3391.
_END_POINTS_MeV: Mapping[str, float] = MappingProxyType(
    {"pp": 0.4234, "hep": 18.778, "N13": 1.1985, "O15": 1.7322, "F17": 1.7385}
)

#: Charge number of the daughters, which repels the positron.
_DAUGHTERS: Mapping[str, int] = MappingProxyType({"pp": 1, "hep": 2, "N13": 6, "O15": 7, "F17": 8})

#: (neutrino energy in MeV, neutrinos per 1000 and MeV) of B8, whose daughter is a broad level: measured by Winter
#: et al. 2006, doi:10.1103/PhysRevC.73.025503, every fifth point of their table. A cubic spline through these
#: points gives the others to 0.1 %.
B8_SHAPE: tuple[tuple[float, float], ...] = (
    (0.0, 0.000), (0.5, 3.763), (1.0, 12.976), (1.5, 25.699), (2.0, 40.447), (2.5, 56.041),
    (3.0, 71.533), (3.5, 86.164), (4.0, 99.331), (4.5, 110.574), (5.0, 119.553), (5.5, 126.042),
    (6.0, 129.914), (6.5, 131.134), (7.0, 129.752), (7.5, 125.895), (8.0, 119.758), (8.5, 111.599),
    (9.0, 101.734), (9.5, 90.528), (10.0, 78.387), (10.5, 65.754), (11.0, 53.095), (11.5, 40.889),
    (12.0, 29.616), (12.5, 19.735), (13.0, 11.655), (13.5, 5.703), (14.0, 2.058), (14.4, 0.694),
    (14.8, 0.196), (15.2, 0.047), (15.4, 0.0),
)  # fmt: skip

#: Relative width of the box that stands for a line.
_LINE_WIDTH = 1e-5

_ELECTRON_MASS_MeV: float = constants.physical_constants["electron mass energy equivalent in MeV"][0]


def monochromatic_flux(neutrino_energy_MeV: float, *, flux_cm2_s: float) -> NeutrinoFlux:
    """Return neutrinos of one energy: a box 1e-5 of it wide.

    Raises
    ------
    InputError
        If the energy is not positive or the flux negative.
    """
    if not (0 < neutrino_energy_MeV < math.inf and 0 <= flux_cm2_s < math.inf):
        raise InputError(
            f"{flux_cm2_s:g} neutrinos per cm2 and s of {neutrino_energy_MeV:g} MeV: give a positive energy "
            "and a flux of at least 0"
        )
    width = _LINE_WIDTH * neutrino_energy_MeV
    edges = neutrino_energy_MeV + width * np.array([-0.5, 0.5])

    def density(energy: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where((energy >= edges[0]) & (energy <= edges[1]), flux_cm2_s / width, 0.0)

    return NeutrinoFlux(
        density_per_cm2_s_MeV=density,
        breakpoints_MeV=edges,
        metadata={"flux": f"{flux_cm2_s:g} per cm2 and s at {neutrino_energy_MeV:g} MeV"},
    )


def allowed_shape_per_MeV(
    neutrino_energy_MeV: NDArray[np.float64], end_point_MeV: float, *, daughter_number: int = 0
) -> NDArray[np.float64]:
    r"""Return the spectrum of an allowed positron decay, not normalised, the shape of the energies.

    .. math:: \frac{dN}{dE_\nu} \propto E_\nu^2\, W p\, F, \qquad W = Q - E_\nu + m_e, \quad
        p = \sqrt{W^2 - m_e^2}, \quad F = \frac{x}{e^x - 1}, \quad x = 2 \pi \alpha Z \frac{W}{p}

    with F the repulsion of the positron by a point charge Z (Sommerfeld; the relativistic factor
    :math:`(p R)^{2 (\gamma - 1)}` is 1 to 1 % for the light emitters of the Sun).

    Parameters
    ----------
    neutrino_energy_MeV : (n,) float
    end_point_MeV : float
        Q.
    daughter_number : int
        Z.
    """
    total = end_point_MeV - neutrino_energy_MeV + _ELECTRON_MASS_MeV
    inside = (neutrino_energy_MeV >= 0) & (neutrino_energy_MeV < end_point_MeV)
    momentum = np.sqrt(np.maximum(total**2 - _ELECTRON_MASS_MeV**2, 1e-12))
    x = 2 * math.pi * constants.fine_structure * daughter_number * total / momentum
    repulsion = np.divide(x, np.expm1(np.minimum(x, 500.0)), out=np.ones_like(x), where=x > 0)
    return np.where(inside, neutrino_energy_MeV**2 * total * momentum * repulsion, 0.0)


def _continuum(source: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return energies (MeV) and the normalised density at them."""
    if source == "B8":
        table = np.array(B8_SHAPE)
        grid = np.linspace(0.0, table[-1, 0], 617)
        density = np.maximum(scipy.interpolate.CubicSpline(table[:, 0], table[:, 1])(grid), 0.0)
    else:
        grid = np.linspace(0.0, _END_POINTS_MeV[source], 401)
        density = allowed_shape_per_MeV(grid, _END_POINTS_MeV[source], daughter_number=_DAUGHTERS[source])
    return grid, density / scipy.integrate.trapezoid(density, grid)


def solar_flux(
    *, sources: tuple[str, ...] = tuple(SOLAR_FLUXES_per_cm2_s), scale: Mapping[str, float] | None = None
) -> NeutrinoFlux:
    r"""Return the flux of solar neutrinos at the mean distance of the Earth.

    Lines (pep, Be7) as narrow boxes; B8 as measured (`B8_SHAPE`, mean energy 6.77 MeV), the others with the closed
    form `allowed_shape_per_MeV`. Fluxes `SOLAR_FLUXES_per_cm2_s`.

    Parameters
    ----------
    sources : tuple of str
        Some of pp, pep, hep, Be7, B8, N13, O15, F17, each once.
    scale : mapping of str to float, optional
        Factors on the fluxes.

    Raises
    ------
    InputError
        If a source is unknown or named twice, or there is none.
    """
    unknown = [s for s in (*sources, *(scale or {})) if s not in SOLAR_FLUXES_per_cm2_s]
    if unknown or not sources:
        raise InputError(
            f"solar sources {', '.join(unknown) or 'none'}: choose among {', '.join(SOLAR_FLUXES_per_cm2_s)}"
        )
    if twice := [s for s in dict.fromkeys(sources) if sources.count(s) > 1]:
        raise InputError(f"solar source {twice[0]} is named {sources.count(twice[0])} times; name each once")
    factor = {s: SOLAR_FLUXES_per_cm2_s[s][0] * (scale or {}).get(s, 1.0) for s in sources}
    tables = [(factor[s], *_continuum(s)) for s in sources if s not in _LINES]
    lines = [
        monochromatic_flux(energy, flux_cm2_s=factor[s] * share)
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
