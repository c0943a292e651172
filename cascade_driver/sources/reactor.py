"""Antineutrinos of nuclear reactors: spectra per fission, and the flux at a distance."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Literal, get_args

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray
from scipy import constants

from cascade_driver.errors import InputError
from cascade_driver.sources.form_factor import HBAR_C_MeV_fm
from cascade_driver.sources.neutrino_flux import NeutrinoFlux
from cascade_driver.units import CM_PER_M, WATT_PER_GW, J_PER_MeV

#: What stands below 2 MeV, where the conversion spectra were not measured: `kopeikin` and `vogel_engel` are
#: summation spectra, the first of a whole reactor, the second by isotope. The others serve for comparison only:
#: `flat` holds each isotope's spectrum at its value at 2 MeV and has half of the antineutrinos, `extrapolate`
#: continues the polynomials and has four times too many.
LowEnergyFlux = Literal["kopeikin", "vogel_engel", "flat", "extrapolate"]

#: Coefficients a_k of ln(dN/dE) = sum_k a_k E^k, per fission and MeV, E in MeV. U235, Pu239, Pu241: Huber
#: 2011, doi:10.1103/PhysRevC.84.024617, Table III; U238: Mueller et al. 2011, doi:10.1103/PhysRevC.83.054615,
#: Table VI.
HUBER_MUELLER: Mapping[str, tuple[float, ...]] = MappingProxyType(
    {
        "U235": (4.367, -4.577, 2.100, -0.5294, 0.06186, -0.002777),
        "U238": (0.4833, 0.1927, -0.1283, -0.006762, 0.002233, -0.0001536),
        "Pu239": (4.757, -5.392, 2.563, -0.6596, 0.07820, -0.003536),
        "Pu241": (2.990, -2.882, 1.278, -0.3343, 0.03905, -0.001754),
    }
)

#: Range in which those polynomials hold.
HUBER_MUELLER_RANGE_MeV = (2.0, 8.0)

#: Shares of the fissions in a power reactor, averaged over its cycles: Daya Bay,
#: doi:10.1088/1674-1137/abfc38.
PRESSURISED_WATER_FISSION_FRACTIONS: Mapping[str, float] = MappingProxyType(
    {"U235": 0.564, "U238": 0.076, "Pu239": 0.304, "Pu241": 0.056}
)

#: Thermal energy released per fission: Ma et al. 2013, doi:10.1103/PhysRevC.88.014605; by Kopeikin, Mikaelyan &
#: Sinev 2004, doi:10.1134/1.1811196, it is 0.3 % lower.
ENERGY_PER_FISSION_MeV: Mapping[str, float] = MappingProxyType(
    {"U235": 202.36, "U238": 205.99, "Pu239": 211.12, "Pu241": 214.26}
)

#: (neutrino energy in MeV, antineutrinos per MeV and fission) of a power reactor of typical fuel, with those
#: that follow neutron capture in U238: Kopeikin 2012, doi:10.1134/S1063778812020123. Close pairs such as
#: 0.390 and 0.400 are the two sides of a step at the end point of a strong beta branch. Linear in between.
KOPEIKIN_2012: tuple[tuple[float, float], ...] = (
    (0.010, 0.0774), (0.020, 0.301), (0.035, 0.848), (0.040, 0.354), (0.070, 0.989), (0.100, 1.81),
    (0.130, 2.74), (0.160, 3.85), (0.165, 3.26), (0.180, 3.74), (0.215, 4.66), (0.230, 4.08),
    (0.280, 5.03), (0.330, 5.97), (0.335, 4.30), (0.350, 4.08), (0.390, 4.42), (0.400, 4.04),
    (0.435, 4.39), (0.440, 2.84), (0.500, 3.03), (0.700, 3.14), (0.900, 3.23), (1.000, 3.11),
    (1.185, 2.80), (1.190, 2.24), (1.250, 2.06), (1.300, 1.77), (1.500, 1.59), (1.700, 1.48),
    (1.800, 1.42), (1.900, 1.36), (2.000, 1.30), (2.250, 1.08), (2.500, 0.882), (2.750, 0.733),
    (3.000, 0.611), (3.250, 0.505), (3.500, 0.411), (4.000, 0.261), (4.500, 0.156), (5.000, 0.0928),
    (5.500, 0.0549), (6.000, 0.0317), (6.500, 0.0174), (7.000, 0.00897), (7.500, 0.00366), (8.000, 0.00119),
    (8.500, 0.000299), (9.000, 0.0000831),
)  # fmt: skip

#: (neutrino energy in MeV, antineutrinos per MeV and fission of U235, U238, Pu239, Pu241): summation spectra of
#: fission alone, Vogel & Engel 1989, doi:10.1103/PhysRevD.39.3378, Table II; nothing at 0, linear in between.
VOGEL_ENGEL_1989: tuple[tuple[float, float, float, float, float], ...] = (
    (0.0, 0.0, 0.0, 0.0, 0.0), (0.007813, 0.024, 0.089, 0.14, 0.20), (0.01563, 0.092, 0.35, 0.56, 0.79),
    (0.0312, 0.35, 1.32, 2.13, 3.00), (0.0625, 0.61, 0.65, 0.64, 0.59), (0.125, 1.98, 2.02, 1.99, 1.85),
    (0.25, 2.16, 2.18, 2.08, 2.14), (0.50, 2.66, 2.91, 2.63, 2.82), (0.75, 2.66, 2.96, 2.58, 2.90),
    (1.0, 2.41, 2.75, 2.32, 2.63), (1.5, 1.69, 1.97, 1.48, 1.75), (2.0, 1.26, 1.50, 1.08, 1.32),
)  # fmt: skip

#: Neutrons that U238 captures per fission of a power reactor: Wong et al. (TEXONO) 2007,
#: doi:10.1103/PhysRevD.75.012001: 1.2 antineutrinos of the two beta decays that follow. Three steps of
#: `KOPEIKIN_2012` at their end points are 0.54 to 0.66 of those of one capture.
CAPTURES_IN_U238_PER_FISSION = 0.6

#: Beta decays after a capture in U238: charge number of the daughter, and (end point in MeV, share) of the
#: branches above 0.1 %: ENDF/B-VIII.0 decay data, doi:10.1016/j.nds.2018.02.001 (from ENSDF, E. Browne).
U238_CAPTURE_BRANCHES: Mapping[str, tuple[int, tuple[tuple[float, float], ...]]] = MappingProxyType(
    {
        "U239": (
            93,
            (
                (1.263500, 0.187),
                (1.232369, 0.094),
                (1.188836, 0.690),
                (1.145773, 0.0196),
                (0.601218, 0.0027),
                (0.444240, 0.0026),
                (0.419400, 0.0025),
                (0.299266, 0.0022),
            ),
        ),
        "Np239": (
            94,
            ((0.713939, 0.02), (0.436340, 0.45), (0.391675, 0.07), (0.330214, 0.42), (0.209990, 0.0159)),
        ),
    }
)

#: Relative errors of the antineutrino yields of these spectra, as used in analyses of reactor data: Giunti
#: 2017, doi:10.1016/j.physletb.2016.11.028, after Mention et al. 2011, doi:10.1103/PhysRevD.83.073006.
HUBER_MUELLER_YIELD_ERRORS: Mapping[str, float] = MappingProxyType(
    {"U235": 0.0211, "U238": 0.0815, "Pu239": 0.0245, "Pu241": 0.0215}
)

#: Relative errors of what stands below 2 MeV, such that they span the treatments: the two summation spectra
#: differ by 3 % in number and less than 8 % at most energies above 0.25 MeV, but have 6.7 and 6.8 antineutrinos
#: per fission where 7.2 are quoted (Wong et al. 2007): 11 % of what lies below 2 MeV. The other two are off by as
#: much as is said here.
LOW_ENERGY_ERRORS: Mapping[LowEnergyFlux, float] = MappingProxyType(
    {"kopeikin": 0.11, "vogel_engel": 0.11, "flat": 1.0, "extrapolate": 0.8}
)

#: Pieces of this width on which the polynomials' exponentials are smooth.
_STEP_MeV = 0.25


def antineutrinos_per_fission_MeV(
    neutrino_energy_MeV: ArrayLike,
    *,
    fission_fractions: Mapping[str, float] = PRESSURISED_WATER_FISSION_FRACTIONS,
    low_energy_flux: LowEnergyFlux = "kopeikin",
    u238_captures_per_fission: float | None = None,
) -> NDArray[np.float64]:
    r"""Return the antineutrino spectrum of a reactor per fission and MeV, the shape of the energies.

    .. math:: \frac{dN}{dE} = \sum_i f_i \exp\Big(\sum_{k=0}^5 a_{ik} E^k\Big), \qquad
        2 \le E / \mathrm{MeV} \le 8

    with f_i the fission fractions and a_ik the coefficients `HUBER_MUELLER` (Huber 2011,
    doi:10.1103/PhysRevC.84.024617, Table III; Mueller et al. 2011, doi:10.1103/PhysRevC.83.054615, Table VI).
    Above 8 MeV there is nothing. Below 2 MeV the polynomials do not hold; `low_energy_flux` says what stands
    there.

    Parameters
    ----------
    neutrino_energy_MeV : (...) array_like
        E.
    fission_fractions : mapping of str to float
        Shares of U235, U238, Pu239, Pu241; sum 1.
    low_energy_flux : {"kopeikin", "vogel_engel", "flat", "extrapolate"}
        See `LowEnergyFlux`. The table of `kopeikin` has its own fuel and does not follow the fractions.
    u238_captures_per_fission : float, optional
        Adds the beta decays of U239 and Np239 (`u238_capture_antineutrinos_per_MeV`): by default
        `CAPTURES_IN_U238_PER_FISSION`, which the table of `kopeikin` holds, and none for `flat` and `extrapolate`.

    Raises
    ------
    InputError
        If the fractions, the name or the captures cannot be used.
    """
    _check_fractions(fission_fractions)
    if low_energy_flux not in get_args(LowEnergyFlux):
        raise InputError(
            f"low_energy_flux is {low_energy_flux!r}, expected one of {', '.join(get_args(LowEnergyFlux))}."
        )
    captures = _captures(u238_captures_per_fission, low_energy_flux)
    energy = np.asarray(neutrino_energy_MeV, dtype=np.float64)
    low, high = HUBER_MUELLER_RANGE_MeV
    inside = np.clip(energy, 0.0 if low_energy_flux == "extrapolate" else low, high)
    density = np.zeros_like(energy)
    for isotope, fraction in fission_fractions.items():
        density = density + fraction * np.exp(np.polynomial.polynomial.polyval(inside, HUBER_MUELLER[isotope]))
    if low_energy_flux == "kopeikin":
        table = np.array(KOPEIKIN_2012)
        density = np.where(energy < low, np.interp(energy, table[:, 0], table[:, 1], left=0.0), density)
        captures -= CAPTURES_IN_U238_PER_FISSION
    if low_energy_flux == "vogel_engel":
        table = np.array(VOGEL_ENGEL_1989)
        mixed = sum(share * table[:, 1 + list(HUBER_MUELLER).index(i)] for i, share in fission_fractions.items())
        density = np.where(energy < low, np.interp(energy, table[:, 0], mixed), density)
    if captures:
        density = np.maximum(density + captures * u238_capture_antineutrinos_per_MeV(energy), 0.0)
    return np.where((energy >= 0.0) & (energy <= high), density, 0.0)


def u238_capture_antineutrinos_per_MeV(neutrino_energy_MeV: ArrayLike) -> NDArray[np.float64]:
    r"""Return the antineutrinos per MeV of the two beta decays after a capture in U238, the shape of the energies.

    .. math:: \frac{dN}{dE} = \sum_b \frac{I_b}{n_b}\, E^2\, W p\, F(Z, W), \qquad W = Q_b - E + m_e, \qquad
        F = (2 p R)^{2 (\gamma - 1)}\, e^{\pi \eta}\, |\Gamma(\gamma + i \eta)|^2

    the allowed shape with the Fermi function of the daughter's charge Z, R = 1.2 fm A^(1/3), eta = alpha Z W / p
    and gamma^2 = 1 - (alpha Z)^2; branches I_b with end points Q_b `U238_CAPTURE_BRANCHES`, n_b their integrals.
    The integral over all energies is 2. Forbidden branches have other shapes, which is left out.
    """
    energy = np.asarray(neutrino_energy_MeV, dtype=np.float64)
    grid, density = _u238_capture_table()
    return np.interp(energy, grid, density, left=0.0, right=0.0)


@functools.lru_cache(maxsize=1)
def _u238_capture_table() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return energies (MeV), with both sides of the step at each end point, and the density there."""
    ends = [end for _, branches in U238_CAPTURE_BRANCHES.values() for end, _ in branches]
    grid = np.unique(np.concatenate([np.linspace(0.0, max(ends), 601), ends, np.nextafter(ends, np.inf)]))
    density = np.zeros_like(grid)
    for charge, branches in U238_CAPTURE_BRANCHES.values():
        whole = sum(share for _, share in branches)
        for end, share in branches:
            fine = np.linspace(0.0, end, 4001)
            area = scipy.integrate.trapezoid(_beta_shape(fine, end_MeV=end, charge=charge), fine)
            density += share / whole / area * _beta_shape(grid, end_MeV=end, charge=charge)
    return grid, density


def _beta_shape(energy_MeV: NDArray[np.float64], *, end_MeV: float, charge: int) -> NDArray[np.float64]:
    """Return E^2 W p F(Z, W), not normalised."""
    mass = constants.physical_constants["electron mass energy equivalent in MeV"][0]
    inside = energy_MeV <= end_MeV
    total = np.where(inside, end_MeV - energy_MeV, 0.0) + mass
    momentum = np.sqrt(np.maximum(total**2 - mass**2, 1e-12))  # the limit at the end point is finite
    gamma = math.sqrt(1 - (constants.fine_structure * charge) ** 2)
    eta = constants.fine_structure * charge * total / momentum
    radius_per_MeV = 1.2 * 239 ** (1 / 3) / HBAR_C_MeV_fm
    log_gamma = scipy.special.loggamma(gamma + 1j * eta).real
    fermi = (2 * momentum * radius_per_MeV) ** (2 * (gamma - 1)) * np.exp(math.pi * eta + 2 * log_gamma)
    return np.where(inside, energy_MeV**2 * total * momentum * fermi, 0.0)


def fissions_per_cm2_s(
    *,
    power_GW: Sequence[float],
    distance_m: Sequence[float],
    fission_fractions: Mapping[str, float] = PRESSURISED_WATER_FISSION_FRACTIONS,
) -> float:
    r"""Return the rate of fissions seen through a square centimetre at the detector.

    .. math:: \sum_j \frac{P_j}{4 \pi d_j^2 \sum_i f_i E_i}

    Parameters
    ----------
    power_GW : sequence of float
        Thermal power P_j of each core.
    distance_m : sequence of float
        Distance d_j of each core.
    fission_fractions : mapping of str to float
        f_i; the E_i are `ENERGY_PER_FISSION_MeV`.

    Raises
    ------
    InputError
        If the numbers of powers and distances differ, or one of them is not positive.
    """
    if len(power_GW) != len(distance_m) or not len(power_GW):
        raise InputError(
            f"Found {len(power_GW)} reactor powers and {len(distance_m)} distances, expected one of each per core."
        )
    _check_fractions(fission_fractions)
    energy_J = J_PER_MeV * sum(
        fraction * ENERGY_PER_FISSION_MeV[isotope] for isotope, fraction in fission_fractions.items()
    )
    total = 0.0
    for power, distance in zip(power_GW, distance_m, strict=True):
        if not (math.isfinite(power) and power >= 0):
            raise InputError(f"The thermal power of a core is {power} GW, expected at least 0.")
        if not (math.isfinite(distance) and distance > 0):
            raise InputError(f"The distance of a core is {distance} m, expected more than 0.")
        total += power * WATT_PER_GW / energy_J / (4.0 * math.pi * (distance * CM_PER_M) ** 2)
    return total


def reactor_flux(
    *,
    power_GW: Sequence[float],
    distance_m: Sequence[float],
    fission_fractions: Mapping[str, float] = PRESSURISED_WATER_FISSION_FRACTIONS,
    low_energy_flux: LowEnergyFlux = "kopeikin",
    u238_captures_per_fission: float | None = None,
) -> NeutrinoFlux:
    """Return the flux of one or more reactors: `fissions_per_cm2_s` times `antineutrinos_per_fission_MeV`.

    Captures in U238 are in equilibrium with the decays that follow, as after days at constant power. Oscillations
    do not matter: coherent scattering counts all flavours.

    Raises
    ------
    InputError
        As those two.
    """
    fissions = fissions_per_cm2_s(power_GW=power_GW, distance_m=distance_m, fission_fractions=fission_fractions)
    spectrum = functools.partial(
        antineutrinos_per_fission_MeV,
        fission_fractions=fission_fractions,
        low_energy_flux=low_energy_flux,
        u238_captures_per_fission=u238_captures_per_fission,
    )
    spectrum(1.0)  # what cannot be used is said here
    captures = _captures(u238_captures_per_fission, low_energy_flux)
    low, high = HUBER_MUELLER_RANGE_MeV
    steps = np.arange(0.0, high + 0.5 * _STEP_MeV, _STEP_MeV)
    tables = {"kopeikin": KOPEIKIN_2012, "vogel_engel": VOGEL_ENGEL_1989}
    table = [row[0] for row in tables.get(low_energy_flux, ()) if row[0] < low]
    if captures != (CAPTURES_IN_U238_PER_FISSION if low_energy_flux == "kopeikin" else 0.0):
        table += [end for _, branches in U238_CAPTURE_BRANCHES.values() for end, _ in branches]

    def density(neutrino_energy_MeV: NDArray[np.float64]) -> NDArray[np.float64]:
        return fissions * spectrum(neutrino_energy_MeV)

    return NeutrinoFlux(
        density_per_cm2_s_MeV=density,
        breakpoints_MeV=np.unique(np.concatenate([steps, table, [low, high]])),
        metadata={
            "flux": f"reactor antineutrinos, Huber-Mueller 2 to 8 MeV, below 2 MeV: {low_energy_flux}",
            "low_energy_flux": low_energy_flux,
            "u238_captures_per_fission": repr(captures),
            "power_GW": " ".join(repr(float(power)) for power in power_GW),
            "distance_m": " ".join(repr(float(distance)) for distance in distance_m),
            "fission_fractions": " ".join(f"{name}={float(share)!r}" for name, share in fission_fractions.items()),
            "energy_per_fission_MeV": " ".join(
                f"{name}={float(ENERGY_PER_FISSION_MeV[name])!r}" for name in fission_fractions
            ),
        },
    )


def reactor_part_flux(
    isotope: str | None,
    *,
    power_GW: Sequence[float],
    distance_m: Sequence[float],
    fission_fractions: Mapping[str, float] = PRESSURISED_WATER_FISSION_FRACTIONS,
    low_energy_flux: LowEnergyFlux = "kopeikin",
    u238_captures_per_fission: float | None = None,
) -> NeutrinoFlux:
    """Return the part of `reactor_flux` that one isotope brings above 2 MeV, or (None) all that is below 2 MeV.

    The parts add up to the whole.

    Raises
    ------
    InputError
        As `reactor_flux`.
    """
    whole = reactor_flux(
        power_GW=power_GW,
        distance_m=distance_m,
        fission_fractions=fission_fractions,
        low_energy_flux=low_energy_flux,
        u238_captures_per_fission=u238_captures_per_fission,
    )
    low, high = HUBER_MUELLER_RANGE_MeV
    points = whole.breakpoints_MeV
    if isotope is None:
        return NeutrinoFlux(
            density_per_cm2_s_MeV=whole.density_per_cm2_s_MeV,
            breakpoints_MeV=points[points <= low],
            metadata=whole.metadata,
        )
    fissions = fissions_per_cm2_s(power_GW=power_GW, distance_m=distance_m, fission_fractions=fission_fractions)
    share = fissions * fission_fractions[isotope]

    def density(energy: NDArray[np.float64]) -> NDArray[np.float64]:
        inside = np.clip(energy, low, high)
        return share * np.exp(np.polynomial.polynomial.polyval(inside, HUBER_MUELLER[isotope]))

    return NeutrinoFlux(
        density_per_cm2_s_MeV=density,
        breakpoints_MeV=points[(points >= low) & (points <= high)],
        metadata=whole.metadata,
    )


def _captures(given: float | None, low_energy_flux: LowEnergyFlux) -> float:
    """Return the neutrons that U238 captures per fission."""
    if given is None:
        return CAPTURES_IN_U238_PER_FISSION if low_energy_flux in ("kopeikin", "vogel_engel") else 0.0
    if not 0 <= given <= 2:
        raise InputError(f"u238_captures_per_fission is {given}, expected 0 to 2; power reactors have about 0.6.")
    return float(given)


def _check_fractions(fission_fractions: Mapping[str, float]) -> None:
    unknown = [isotope for isotope in fission_fractions if isotope not in HUBER_MUELLER]
    if unknown:
        raise InputError(
            f"fission_fractions names {', '.join(unknown)}, expected only {', '.join(HUBER_MUELLER)}; "
            "there is no spectrum for others."
        )
    if any(not (math.isfinite(share) and share >= 0) for share in fission_fractions.values()):
        raise InputError(f"fission_fractions are {dict(fission_fractions)}, expected shares of at least 0.")
    total = sum(fission_fractions.values())
    if abs(total - 1.0) > 1e-3:
        raise InputError(f"fission_fractions sum to {total:g}, expected 1; divide them by their sum.")
