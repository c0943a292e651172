"""Elastic scattering of galactic dark matter on nuclei, with and without their spin: standard halo model."""

from __future__ import annotations

import datetime
import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal, NamedTuple, get_args

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray
from scipy import constants

from cascade_driver.errors import InputError
from cascade_driver.sources.form_factor import helm_form_factor, spin_structure_factor
from cascade_driver.sources.quadrature import integrate_over_bins
from cascade_driver.spectrum import Spectrum, check_edges
from cascade_driver.target import Isotope, Target, parse_target
from cascade_driver.units import CM_PER_KM, SECONDS_PER_DAY, SPEED_OF_LIGHT_KM_S, eV_PER_GeV

#: Velocity of the Sun in the galactic rest frame (towards the centre, along the rotation, to the north pole):
#: local standard of rest (0, 238, 0) plus peculiar velocity (11.1, 12.2, 7.3) km/s,
#: Baxter et al. 2021, doi:10.1140/epjc/s10052-021-09655-y, Table 1.
SUN_VELOCITY_km_s = (11.1, 250.2, 7.3)

_PROTON_MASS_GeV: float = constants.physical_constants["proton mass energy equivalent in MeV"][0] * 1e-3

#: Speeds that stand for a year.
_SPEEDS_OF_A_YEAR = 12

#: Pieces, uniform in the least speed, over which a rate is smooth (Maxwellian and lobes of the form factor).
_SPEED_PIECES = 24


@dataclass(frozen=True, kw_only=True)
class HaloModel:
    """The standard halo: a Maxwellian in the galactic frame, cut sharply at the escape speed.

    The defaults are the values recommended by Baxter et al. 2021, doi:10.1140/epjc/s10052-021-09655-y, Table
    1. Older work has v0 = 220 km/s.

    Attributes
    ----------
    density_GeV_cm3 : float
        Local density of dark matter, rho.
    most_probable_speed_km_s : float
        v0 of the Maxwellian exp(-v^2/v0^2).
    escape_speed_km_s : float
        Cut of the distribution in the galactic frame, v_esc.
    earth_speed_km_s : float
        Speed of the detector in the galactic frame, v_E: by default that of the Sun, |`SUN_VELOCITY_km_s`|.
        That of the Earth is 0.6 % larger on average, and rates are no linear function: `halos_of_the_year`.

    Raises
    ------
    InputError
        If one of them is not positive (the speed of the Earth may be 0).
    """

    density_GeV_cm3: float = 0.3
    most_probable_speed_km_s: float = 238.0
    escape_speed_km_s: float = 544.0
    earth_speed_km_s: float = math.hypot(*SUN_VELOCITY_km_s)

    def __post_init__(self) -> None:
        for name in ("density_GeV_cm3", "most_probable_speed_km_s", "escape_speed_km_s"):
            _check_positive(name, getattr(self, name), "a halo model")
        if not (math.isfinite(self.earth_speed_km_s) and self.earth_speed_km_s >= 0):
            raise InputError(
                f"earth_speed_km_s of a halo model is {self.earth_speed_km_s}, expected at least 0 km/s."
            )

    @property
    def largest_speed_km_s(self) -> float:
        """Speed of the fastest bound particle in the frame of the detector."""
        return self.escape_speed_km_s + self.earth_speed_km_s


def mean_inverse_speed_s_km(least_speed_km_s: ArrayLike, halo: HaloModel) -> NDArray[np.float64]:
    r"""Return the mean inverse speed of the particles that are fast enough, in s/km.

    .. math:: \eta(v_\mathrm{min}) = \int_{v > v_\mathrm{min}} \frac{f(\vec v + \vec v_E)}{v}\, d^3v

    with f normalised to 1, in closed form: with x = v_min/v0, y = v_E/v0, z = v_esc/v0 and
    N = erf z - 2 z exp(-z^2)/sqrt(pi),

    .. math::
        2 N v_0 y\, \eta = \begin{cases}
            \mathrm{erf}(x+y) - \mathrm{erf}(x-y) - \frac{4}{\sqrt\pi} y e^{-z^2} & x < z - y \\
            2 N & x < y - z \\
            \mathrm{erf}(z) - \mathrm{erf}(x-y) - \frac{2}{\sqrt\pi} (z+y-x) e^{-z^2} & |z - y| < x < z + y \\
            0 & x > z + y
        \end{cases}

    Savage, Freese & Gondolo 2006, doi:10.1103/PhysRevD.74.043531; Lewin & Smith 1996,
    doi:10.1016/S0927-6505(96)00047-3, Sec. 3.

    Parameters
    ----------
    least_speed_km_s : (...) array_like
        v_min, at least 0.
    halo : HaloModel
        v0, v_esc, v_E.
    """
    v0 = halo.most_probable_speed_km_s
    x = np.asarray(least_speed_km_s, dtype=np.float64) / v0
    y = halo.earth_speed_km_s / v0
    z = halo.escape_speed_km_s / v0
    tail = math.exp(-z * z)
    norm = math.erf(z) - 2.0 * z * tail / math.sqrt(math.pi)
    if y < 1e-6:  # The limit y -> 0, exact to y^2 where the quotient below would lose its digits.
        eta = 2.0 / (math.sqrt(math.pi) * norm * v0) * (np.exp(-x * x) - tail)
    else:
        slow = scipy.special.erf(x + y) - scipy.special.erf(x - y) - 4.0 / math.sqrt(math.pi) * y * tail
        fast = math.erf(z) - scipy.special.erf(x - y) - 2.0 / math.sqrt(math.pi) * (z + y - x) * tail
        eta = np.where(x < z - y, slow, np.where(x < y - z, 2.0 * norm, fast)) / (2.0 * norm * v0 * y)
    # At the very end the differences round to either side of 0.
    return np.where(x < z + y, np.maximum(eta, 0.0), 0.0)


def reduced_mass_GeV(mass_GeV: ArrayLike, other_GeV: float) -> NDArray[np.float64]:
    """Return m M / (m + M) of two particles, the shape of `mass_GeV`."""
    mass = np.asarray(mass_GeV, dtype=np.float64)
    return mass * other_GeV / (mass + other_GeV)


def least_speed_km_s(recoil_energy_eV: ArrayLike, *, mass_GeV: ArrayLike, isotope: Isotope) -> NDArray[np.float64]:
    r"""Return the least speed that can give a recoil energy, the broadcast shape of energy and mass.

    .. math:: v_\mathrm{min} = c \sqrt{\frac{M E_R}{2 \mu^2}}

    with M the mass of the nucleus and mu its reduced mass with the particle.
    """
    mass_nucleus_GeV = isotope.mass_MeV * 1e-3
    recoil_GeV = np.asarray(recoil_energy_eV, dtype=np.float64) / eV_PER_GeV
    reduced = reduced_mass_GeV(mass_GeV, mass_nucleus_GeV)
    return np.sqrt(mass_nucleus_GeV * recoil_GeV / 2.0) / reduced * SPEED_OF_LIGHT_KM_S


def largest_recoil_energy_eV(speed_km_s: ArrayLike, *, mass_GeV: float, isotope: Isotope) -> NDArray[np.float64]:
    """Return the recoil energy of a head-on collision, 2 mu^2 v^2 / M: the inverse of `least_speed_km_s`."""
    mass_nucleus_GeV = isotope.mass_MeV * 1e-3
    beta = np.asarray(speed_km_s, dtype=np.float64) / SPEED_OF_LIGHT_KM_S
    reduced = reduced_mass_GeV(mass_GeV, mass_nucleus_GeV)
    return 2.0 * (reduced * beta) ** 2 / mass_nucleus_GeV * eV_PER_GeV


def spin_independent_rate_per_kg_day_eV(
    recoil_energy_eV: ArrayLike,
    *,
    isotope: Isotope,
    mass_GeV: ArrayLike,
    cross_section_cm2: ArrayLike,
    halo: HaloModel,
) -> NDArray[np.float64]:
    r"""Return the differential rate on one isotope per kg of the whole target, day and eV.

    .. math::
        \frac{dR}{dE_R} = N_T\, M\, \frac{\rho}{2\, m_\chi\, \mu_p^2}\, \sigma_p\, A^2\, F^2(E_R)\,
            \eta(v_\mathrm{min}(E_R))

    with N_T the isotope's atoms per kg of target, M its mass, mu_p the reduced mass with the proton, sigma_p
    the cross-section per nucleon and F the Helm form factor; Lewin & Smith 1996,
    doi:10.1016/S0927-6505(96)00047-3, Eq. 3.13 and 4.7 with the coherent enhancement sigma_A = sigma_p A^2
    mu_A^2 / mu_p^2.

    Parameters
    ----------
    recoil_energy_eV, mass_GeV, cross_section_cm2 : array_like
        E_R, m_chi and sigma_p; they broadcast against one another, e.g. (n,) energies with (k, 1) masses.
    isotope : Isotope
        The nucleus.
    halo : HaloModel
        Density and speeds.
    """
    mass = np.asarray(mass_GeV, dtype=np.float64)
    recoil = np.asarray(recoil_energy_eV, dtype=np.float64)
    eta_s_cm = mean_inverse_speed_s_km(least_speed_km_s(recoil, mass_GeV=mass, isotope=isotope), halo) / CM_PER_KM
    form = helm_form_factor(recoil, mass_number=isotope.mass_number, mass_MeV=isotope.mass_MeV)
    number_per_cm3 = halo.density_GeV_cm3 / mass
    # c^2 / (2 mu_p^2) in cm^2/s^2 per GeV: energies per c^2 are masses.
    c_cm_s = SPEED_OF_LIGHT_KM_S * CM_PER_KM
    kinematic = (
        np.asarray(cross_section_cm2, dtype=np.float64)
        * isotope.mass_number**2
        * (isotope.mass_MeV * 1e-3)
        / (2.0 * reduced_mass_GeV(mass, _PROTON_MASS_GeV) ** 2)
        * c_cm_s**2
        / eV_PER_GeV
    )
    return isotope.atoms_per_kg * SECONDS_PER_DAY * number_per_cm3 * kinematic * form**2 * eta_s_cm


#: Velocity of the Earth about the Sun: speed, unit vectors of its motion at the spring equinox (day 79.6 of a
#: year, 0.218) and a quarter of a year later, in the galactic frame of `SUN_VELOCITY_km_s`: Gelmini & Gondolo
#: 2001, doi:10.1103/PhysRevD.64.023504, as in Baxter et al. 2021.
_ORBITAL_SPEED_km_s = 29.79
_ORBIT = ((0.9931, 0.1170, -0.01032), (-0.0670, 0.4927, -0.8676))
_EQUINOX_year = 0.218


class NuclearSpin(NamedTuple):
    """Spin J of a nucleus, expectation values of the spins of protons and neutrons, and the oscillator shell."""

    J: float
    protons: float
    neutrons: float
    shell: int


#: By isotope. F19, Na23, Al27, Si29, Ge73, I127, Xe129, Xe131: Klos et al. 2013, doi:10.1103/PhysRevD.88.083516;
#: others: Bednyakov & Simkovic 2005, arXiv:hep-ph/0406218, and what they cite (odd-group models where no better
#: calculation is known); Ca43: single neutron in f7/2, no calculation known.
NUCLEAR_SPINS: Mapping[tuple[str, int], NuclearSpin] = MappingProxyType(
    {
        ("Li", 7): NuclearSpin(1.5, 0.497, 0.004, 1),
        ("B", 11): NuclearSpin(1.5, 0.292, 0.008, 1),
        ("C", 13): NuclearSpin(0.5, -0.009, -0.172, 1),
        ("O", 17): NuclearSpin(2.5, -0.036, 0.508, 2),
        ("F", 19): NuclearSpin(0.5, 0.478, -0.002, 2),
        ("Na", 23): NuclearSpin(1.5, 0.224, 0.024, 2),
        ("Mg", 25): NuclearSpin(2.5, 0.040, 0.376, 2),
        ("Al", 27): NuclearSpin(2.5, 0.326, 0.038, 2),
        ("Si", 29): NuclearSpin(0.5, 0.016, 0.156, 2),
        ("Ca", 43): NuclearSpin(3.5, 0.0, 0.5, 3),
        ("Zn", 67): NuclearSpin(2.5, 0.0, -0.23, 3),
        ("Ga", 69): NuclearSpin(1.5, 0.11, 0.0, 3),
        ("Ga", 71): NuclearSpin(1.5, 0.23, 0.0, 3),
        ("Ge", 73): NuclearSpin(4.5, 0.031, 0.439, 4),
        ("As", 75): NuclearSpin(1.5, -0.01, 0.0, 3),
        ("Te", 123): NuclearSpin(0.5, 0.0, 0.491, 4),
        ("Te", 125): NuclearSpin(0.5, -0.0008, 0.499, 4),
        ("I", 127): NuclearSpin(2.5, 0.342, 0.031, 4),
        ("Xe", 129): NuclearSpin(0.5, 0.010, 0.329, 4),
        ("Xe", 131): NuclearSpin(1.5, -0.009, -0.272, 4),
        ("Cs", 133): NuclearSpin(3.5, -0.225, 0.002, 4),
        ("W", 183): NuclearSpin(0.5, 0.0, -0.03, 5),
        ("Pb", 207): NuclearSpin(0.5, -0.010, -0.149, 5),
    }
)

#: An isotope that makes more of the atoms of its element, and whose spins are not known, is not passed over.
_LARGEST_UNKNOWN = 0.01

Coupling = Literal["independent", "proton_spin", "neutron_spin"]


def earth_velocity_km_s(date: datetime.date) -> NDArray[np.float64]:
    r"""Return the velocity of the Earth in the galactic frame of `SUN_VELOCITY_km_s` on a date, (3,).

    .. math:: \vec v_E(t) = \vec v_\odot + u \, [\hat e_1 \cos \omega (t - t_1) + \hat e_2 \sin \omega (t - t_1)]

    with u = 29.79 km/s and t_1 the spring equinox (Gelmini & Gondolo 2001, doi:10.1103/PhysRevD.64.023504); the
    eccentricity of the orbit (2 %) is left out.
    """
    phase = 2 * math.pi * ((date.timetuple().tm_yday - 0.5) / 365.25 - _EQUINOX_year)
    orbit = _ORBITAL_SPEED_km_s * (np.array(_ORBIT[0]) * math.cos(phase) + np.array(_ORBIT[1]) * math.sin(phase))
    return np.asarray(np.array(SUN_VELOCITY_km_s) + orbit)


def earth_speed_km_s(date: datetime.date) -> float:
    """Return the speed of the Earth in the galactic frame on a date; largest in the first days of June.

    Examples
    --------
    >>> june, december = (earth_speed_km_s(datetime.date(2025, month, 1)) for month in (6, 12))
    >>> round((june - december) / 2, 1)
    14.5
    """
    return float(np.linalg.norm(earth_velocity_km_s(date)))


def halos_of_the_year(halo: HaloModel | None = None) -> tuple[HaloModel, ...]:
    r"""Return a halo at twelve speeds of the Earth; the mean of their rates is the mean over the year.

    .. math:: v_E^2 = v_\odot^2 + u^2 + 2 u v_\parallel \cos\omega(t - t_\mathrm{June}), \qquad
        \frac{1}{1\,\mathrm{a}} \int f(v_E)\, dt
            \approx \frac{1}{n} \sum_{k=1}^n f\Big(v_E\Big|_{\omega (t - t_\mathrm{June}) = \pi (k - 1/2) / n}\Big)

    with u the orbital speed and v_par the velocity of the Sun in the plane of the orbit
    (`earth_velocity_km_s`): the rule of Gauss and Chebyshev.

    Parameters
    ----------
    halo : HaloModel, optional
        Density, v0 and v_esc; its speed of the Earth is not used.
    """
    sun, orbit = np.array(SUN_VELOCITY_km_s), np.array(_ORBIT)
    phase = math.pi * (np.arange(_SPEEDS_OF_A_YEAR) + 0.5) / _SPEEDS_OF_A_YEAR
    in_plane = float(np.linalg.norm(orbit @ sun))
    squared = sun @ sun + _ORBITAL_SPEED_km_s**2 + 2 * _ORBITAL_SPEED_km_s * in_plane * np.cos(phase)
    return tuple(replace(halo or HaloModel(), earth_speed_km_s=float(v)) for v in np.sqrt(squared))


def spin_enhancement(isotope: Isotope, coupling: Coupling) -> float:
    r"""Return what stands for A^2 when one nucleon's spin couples.

    .. math:: \frac{4}{3} \frac{J + 1}{J} \langle S_{p,n} \rangle^2

    At zero momentum transfer (`spin_structure_factor` says how it falls). Bednyakov & Simkovic 2005,
    arXiv:hep-ph/0406218; 0 for even-even nuclei, and for isotopes that `NUCLEAR_SPINS` lacks.
    """
    if coupling == "independent":
        return float(isotope.mass_number**2)
    known = NUCLEAR_SPINS.get((isotope.symbol, isotope.mass_number))
    if known is None:
        return 0.0
    spin = known.protons if coupling == "proton_spin" else known.neutrons
    return 4.0 / 3.0 * (known.J + 1.0) / known.J * spin**2


def _require_spins(target: Target) -> None:
    """Refuse a target with a nucleus that has a spin, of which nothing is known."""
    for symbol in target.elements:
        isotopes = target.isotopes_of(symbol)
        atoms = sum(i.atoms_per_kg for i in isotopes)
        for i in isotopes:
            odd = i.atomic_number % 2 or i.neutron_number % 2
            if odd and (symbol, i.mass_number) not in NUCLEAR_SPINS and i.atoms_per_kg > _LARGEST_UNKNOWN * atoms:
                raise InputError(
                    f"target {target.name}: nothing is known of the spins in {symbol}{i.mass_number}, which is "
                    f"{i.atoms_per_kg / atoms:.1%} of {symbol}; couplings to spin know "
                    f"{', '.join(f'{name}{A}' for name, A in NUCLEAR_SPINS)}"
                )


def propagator(
    recoil_energy_eV: ArrayLike, *, isotope: Isotope, mediator_mass_MeV: float | None
) -> NDArray[np.float64]:
    r"""Return the suppression of the rate by a light mediator, the shape of the energies.

    .. math:: \left( \frac{m_\phi^2}{m_\phi^2 + q^2} \right)^2, \qquad q^2 = 2 M E_R

    1 for a heavy one (None): the cross-section is that at zero momentum transfer.
    """
    recoil = np.asarray(recoil_energy_eV, dtype=np.float64)
    if mediator_mass_MeV is None:
        return np.ones_like(recoil)
    return np.asarray(1.0 / (1.0 + 2.0 * isotope.mass_MeV * recoil * 1e-6 / mediator_mass_MeV**2) ** 2)


def dark_matter_spectrum(
    *,
    target: str,
    mass_GeV: float,
    cross_section_cm2: float,
    energy_edges_eV: ArrayLike,
    halo: HaloModel | Sequence[HaloModel] | None = None,
    mediator_mass_MeV: float | None = None,
    coupling: Coupling = "independent",
) -> Spectrum:
    """Return the recoil spectrum of dark matter that scatters elastically.

    The sum over isotopes of `spin_independent_rate_per_kg_day_eV`, averaged over each bin; exact at the
    kinematic end point of each isotope. Where a spin couples, `spin_enhancement` stands for A^2 and
    `spin_structure_factor` for F^2.

    Parameters
    ----------
    target : str
        Chemical formula.
    mass_GeV : float
        Mass of the particle in GeV/c^2.
    cross_section_cm2 : float
        Cross-section per nucleon at zero momentum transfer.
    energy_edges_eV : (n + 1,) array_like
        Edges of the recoil energy bins in eV, from 0 up.
    halo : HaloModel or sequence of HaloModel, optional
        Density and speeds; by default those recommended by Baxter et al. 2021, and the mean over the year
        (`halos_of_the_year`). Of several, the mean of their rates.
    mediator_mass_MeV : float, optional
        Of a light mediator, see `propagator`; heavy by default.
    coupling : {'independent', 'proton_spin', 'neutron_spin'}
        Of the spin of which nucleon, if any, see `spin_enhancement`; the cross-section is on that nucleon.

    Raises
    ------
    InputError
        If the formula, the edges, the mass or the cross-section cannot be used, or a spin couples and nothing is
        known of the spins in an isotope that makes more than 1 % of its element.
    """
    edges = check_edges(energy_edges_eV, floor_eV=0.0)
    _check_positive("mass_GeV", mass_GeV, "dark matter")
    _check_positive("cross_section_cm2", cross_section_cm2, "dark matter")
    if mediator_mass_MeV is not None:
        _check_positive("mediator_mass_MeV", mediator_mass_MeV, "dark matter")
    if coupling not in get_args(Coupling):
        raise InputError(f"coupling is {coupling!r}, expected one of {', '.join(get_args(Coupling))}.")
    halos = halos_of_the_year() if halo is None else (halo,) if isinstance(halo, HaloModel) else tuple(halo)
    fastest = max(h.largest_speed_km_s for h in halos)
    kinks = [v for h in halos for v in (abs(h.escape_speed_km_s - h.earth_speed_km_s), h.largest_speed_km_s)]
    speeds_km_s = np.concatenate([np.linspace(0.0, fastest, _SPEED_PIECES + 1), kinks])
    parsed = parse_target(target)
    if coupling != "independent":
        _require_spins(parsed)
    counts = {symbol: np.zeros(len(edges) - 1) for symbol in parsed.elements}
    for isotope in parsed.isotopes:
        counts[isotope.symbol] += integrate_over_bins(
            functools.partial(
                _rate_per_kg_day_eV,
                isotope=isotope,
                mass_GeV=mass_GeV,
                cross_section_cm2=cross_section_cm2,
                halos=halos,
                mediator_mass_MeV=mediator_mass_MeV,
                coupling=coupling,
            ),
            edges_eV=edges,
            breakpoints_eV=largest_recoil_energy_eV(speeds_km_s, mass_GeV=mass_GeV, isotope=isotope),
        )
    return Spectrum.from_counts(
        energy_edges_eV=edges,
        counts_per_kg_day=counts,
        metadata={
            "source": "dark matter, spin-independent elastic scattering, Helm form factor"
            if coupling == "independent"
            else f"dark matter, elastic scattering, coupling to the {coupling.replace('_', ' ')}",
            **({} if mediator_mass_MeV is None else {"mediator_mass_MeV": repr(float(mediator_mass_MeV))}),
            "target": parsed.name,
            "mass_GeV": repr(float(mass_GeV)),
            "cross_section_cm2": repr(float(cross_section_cm2)),
            "density_GeV_cm3": repr(float(halos[0].density_GeV_cm3)),
            "most_probable_speed_km_s": repr(float(halos[0].most_probable_speed_km_s)),
            "escape_speed_km_s": repr(float(halos[0].escape_speed_km_s)),
            "earth_speed_km_s": "mean over the year" if len(halos) > 1 else repr(float(halos[0].earth_speed_km_s)),
        },
    )


def _rate_per_kg_day_eV(
    recoil_energy_eV: NDArray[np.float64],
    *,
    isotope: Isotope,
    mass_GeV: float,
    cross_section_cm2: float,
    halos: Sequence[HaloModel],
    mediator_mass_MeV: float | None,
    coupling: Coupling,
) -> NDArray[np.float64]:
    """Return the mean rate of some halos in one isotope, by what couples, the shape of the energies."""
    at_speeds = [
        spin_independent_rate_per_kg_day_eV(
            recoil_energy_eV, isotope=isotope, mass_GeV=mass_GeV, cross_section_cm2=cross_section_cm2, halo=one
        )
        for one in halos
    ]
    rate = np.asarray(np.mean(at_speeds, axis=0), dtype=np.float64)
    if coupling != "independent":
        A, M = isotope.mass_number, isotope.mass_MeV
        spins = NUCLEAR_SPINS.get((isotope.symbol, A))
        spin = spin_enhancement(isotope, coupling) * spin_structure_factor(
            recoil_energy_eV, mass_number=A, mass_MeV=M, shell=spins.shell if spins else 0
        )
        rate = rate * spin / (A * helm_form_factor(recoil_energy_eV, mass_number=A, mass_MeV=M)) ** 2
    return rate * propagator(recoil_energy_eV, isotope=isotope, mediator_mass_MeV=mediator_mass_MeV)


def _check_positive(name: str, value: float, what: str) -> None:
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"{name} of {what} is {value}, expected a finite number above 0.")
