"""Coherent elastic neutrino-nucleus scattering (CEvNS)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import constants

from cascade_driver.errors import InputError
from cascade_driver.sources.form_factor import HBAR_C_MeV_fm, helm_form_factor
from cascade_driver.sources.neutrino_flux import NeutrinoFlux
from cascade_driver.sources.quadrature import integrate_over_bins
from cascade_driver.spectrum import Spectrum, check_edges
from cascade_driver.target import Isotope, parse_target
from cascade_driver.units import CM_PER_FM, SECONDS_PER_DAY, eV_PER_MeV

#: Sine squared of the weak mixing angle at zero momentum transfer: 0.23868(5)(2), Erler & Ferro-Hernandez
#: 2018, doi:10.1007/JHEP03(2018)196.
WEAK_MIXING_ANGLE = 0.2387

#: G_F / (hbar c)^3.
FERMI_CONSTANT_per_MeV2: float = constants.physical_constants["Fermi coupling constant"][0] * 1e-6

#: The cross-section of a light boson bends where q^2 is its mass squared: pieces of a decade of recoil energy on
#: either side of it, over which it is smooth.
_DECADES = 8

_ELECTRON_MASS_MeV: float = constants.physical_constants["electron mass energy equivalent in MeV"][0]


def weak_charge(isotope: Isotope, *, weak_mixing_angle: float = WEAK_MIXING_ANGLE) -> float:
    """Return Q_w = N - (1 - 4 sin^2 theta_W) Z, at tree level."""
    return isotope.neutron_number - (1.0 - 4.0 * weak_mixing_angle) * isotope.atomic_number


def back_scattering_energy_eV(neutrino_energy_MeV: ArrayLike, isotope: Isotope) -> NDArray[np.float64]:
    """Return the recoil energy of back-scattering, 2 E_nu^2 / (M + 2 E_nu), in the shape of E_nu."""
    energy = np.asarray(neutrino_energy_MeV, dtype=np.float64)
    return 2.0 * energy**2 / (isotope.mass_MeV + 2.0 * energy) * eV_PER_MeV


def least_neutrino_energy_MeV(recoil_energy_eV: ArrayLike, isotope: Isotope) -> NDArray[np.float64]:
    """Return the inverse of `back_scattering_energy_eV`: (E_R + sqrt(E_R^2 + 2 M E_R)) / 2."""
    recoil = np.asarray(recoil_energy_eV, dtype=np.float64) / eV_PER_MeV
    return 0.5 * (recoil + np.sqrt(recoil**2 + 2.0 * isotope.mass_MeV * recoil))


def cevns_strength_cm2_per_eV(
    recoil_energy_eV: NDArray[np.float64], *, isotope: Isotope, weak_mixing_angle: float = WEAK_MIXING_ANGLE
) -> NDArray[np.float64]:
    r"""Return what the cross-section has before its kinematic factor, in cm^2/eV, the shape of the energies.

    .. math:: \frac{G_F^2}{4 \pi}\, Q_w^2\, M\, F^2(E_R)
    """
    form = helm_form_factor(recoil_energy_eV, mass_number=isotope.mass_number, mass_MeV=isotope.mass_MeV)
    charge = weak_charge(isotope, weak_mixing_angle=weak_mixing_angle)
    per_MeV3 = FERMI_CONSTANT_per_MeV2**2 / (4.0 * math.pi) * charge**2 * isotope.mass_MeV
    return per_MeV3 * (HBAR_C_MeV_fm * CM_PER_FM) ** 2 / eV_PER_MeV * form**2


def cevns_cross_section_cm2_per_eV(
    recoil_energy_eV: ArrayLike,
    neutrino_energy_MeV: ArrayLike,
    *,
    isotope: Isotope,
    weak_mixing_angle: float = WEAK_MIXING_ANGLE,
) -> NDArray[np.float64]:
    r"""Return the differential cross-section in recoil energy, the broadcast shape of both energies.

    .. math::
        \frac{d\sigma}{dE_R} = \frac{G_F^2}{4 \pi}\, Q_w^2\, M\, F^2(E_R)
            \left(1 - \frac{E_R}{E_\nu} - \frac{M E_R}{2 E_\nu^2}\right)

    and 0 above the largest recoil energy 2 E_nu^2 / (M + 2 E_nu): a nucleus of spin 0 at tree level, Freedman
    1974, doi:10.1103/PhysRevD.9.1389; NUCLEUS 2019, doi:10.1140/epjc/s10052-019-7454-4, Eq. 1.

    Parameters
    ----------
    recoil_energy_eV : (...) array_like
        E_R.
    neutrino_energy_MeV : (...) array_like
        E_nu.
    isotope : Isotope
        Mass M and weak charge Q_w.
    weak_mixing_angle : float
        sin^2 theta_W.
    """
    recoil = np.asarray(recoil_energy_eV, dtype=np.float64)
    energy = np.asarray(neutrino_energy_MeV, dtype=np.float64)
    strength = cevns_strength_cm2_per_eV(recoil, isotope=isotope, weak_mixing_angle=weak_mixing_angle)
    recoil_MeV = recoil / eV_PER_MeV
    kinematic = 1.0 - recoil_MeV / energy - isotope.mass_MeV * recoil_MeV / (2.0 * energy**2)
    return strength * np.maximum(kinematic, 0.0)


def magnetic_strength_cm2(
    recoil_energy_eV: NDArray[np.float64], *, isotope: Isotope, magnetic_moment_bohr: float
) -> NDArray[np.float64]:
    r"""Return what the magnetic cross-section has before its kinematic factor, in cm^2, the shape of the energies.

    .. math:: \frac{d\sigma}{dE_R} = \frac{\pi \alpha^2}{m_e^2} \left(\frac{\mu_\nu}{\mu_B}\right)^2 Z^2 F^2(E_R)
        \left( \frac{1}{E_R} - \frac{1}{E_\nu} \right)

    Vogel & Engel 1989, doi:10.1103/PhysRevD.39.3378, coherent over the protons. No interference with the weak
    amplitude: the magnetic one flips the helicity.
    """
    form = helm_form_factor(recoil_energy_eV, mass_number=isotope.mass_number, mass_MeV=isotope.mass_MeV)
    length_cm = constants.fine_structure / _ELECTRON_MASS_MeV * HBAR_C_MeV_fm * CM_PER_FM
    return np.asarray(math.pi * (length_cm * magnetic_moment_bohr * isotope.atomic_number * form) ** 2)


@dataclass(frozen=True, kw_only=True)
class VectorMediator:
    r"""A vector boson (Z') that neutrinos and quarks exchange beside the Z.

    .. math:: \mathcal L = - Z'_\mu \left( g_\nu\, \bar\nu_L \gamma^\mu \nu_L
        + g_q \sum_q \bar q \gamma^\mu q \right)

    for all quarks alike. Its amplitude has the Lorentz structure of the weak one and adds to it: Q_w becomes
    Q_w - `charge`.

    Attributes
    ----------
    mass_MeV : float
        m_Z'.
    coupling : float
        g_nu g_q: -g^2 / 3 for a boson that couples to B - L with g.

    Raises
    ------
    InputError
        If the mass is not positive, or the coupling not finite.
    """

    mass_MeV: float
    coupling: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.mass_MeV) and self.mass_MeV > 0 and math.isfinite(self.coupling)):
            raise InputError(
                f"mediator of {self.mass_MeV:g} MeV with a coupling of {self.coupling:g}: expected a positive "
                "mass and a finite coupling"
            )

    def charge(self, recoil_energy_eV: NDArray[np.float64], *, isotope: Isotope) -> NDArray[np.float64]:
        r"""Return what it takes off the weak charge, the shape of the energies.

        .. math:: \frac{\sqrt 2}{G_F}\, \frac{3 A\, g_\nu g_q}{q^2 + m_{Z'}^2}, \qquad q^2 = 2 M E_R

        Cerdeno et al. 2016, doi:10.1007/JHEP05(2016)118; Billard, Johnston & Kavanagh 2018,
        doi:10.1088/1475-7516/2018/11/016. A heavy one is the non-standard interaction of both quarks
        with epsilon = g_nu g_q / (sqrt(2) G_F m^2), which takes 6 A epsilon off (Barranco et al. 2005,
        doi:10.1088/1126-6708/2005/12/021).
        """
        q2_MeV2 = 2.0 * isotope.mass_MeV * recoil_energy_eV / eV_PER_MeV
        quarks = 3.0 * isotope.mass_number * self.coupling
        return np.asarray(math.sqrt(2.0) / FERMI_CONSTANT_per_MeV2 * quarks / (q2_MeV2 + self.mass_MeV**2))

    def breakpoints_eV(self, isotope: Isotope, *, highest_eV: float) -> NDArray[np.float64]:
        """Return recoil energies below `highest_eV` between which `charge` is smooth."""
        bend_eV = self.mass_MeV**2 / (2.0 * isotope.mass_MeV) * eV_PER_MeV
        pieces = bend_eV * 10.0 ** np.arange(-1, _DECADES)
        return np.asarray(pieces[pieces < highest_eV], dtype=np.float64)


def cevns_spectrum(
    flux: NeutrinoFlux,
    *,
    target: str,
    energy_edges_eV: ArrayLike,
    weak_mixing_angle: float = WEAK_MIXING_ANGLE,
    magnetic_moment_bohr: float = 0.0,
    mediator: VectorMediator | None = None,
) -> Spectrum:
    r"""Return the recoil spectrum that a neutrino flux makes in a target.

    .. math::
        \frac{dR}{dE_R} = \sum_\mathrm{isotopes} N_T \int \phi(E_\nu)\, \frac{d\sigma}{dE_R}\, dE_\nu
            = \sum N_T\, \frac{G_F^2}{4 \pi}\, Q_w^2\, M\, F^2
              \left( I_0 - E_R I_1 - \tfrac{1}{2} M E_R I_2 \right)

    with I_k(E_R) the flux's moments above the least neutrino energy (`NeutrinoFlux.inverse_energy_moments`),
    averaged over each bin.

    Parameters
    ----------
    flux : NeutrinoFlux
        phi.
    target : str
        Chemical formula.
    energy_edges_eV : (n + 1,) array_like
        Edges of the recoil energy bins in eV, from 0 up.
    weak_mixing_angle : float
        sin^2 theta_W.
    magnetic_moment_bohr : float
        Of the neutrino, in Bohr magnetons; adds `magnetic_strength_cm2`, which has no finite rate down to 0 eV.
    mediator : VectorMediator, optional
        A boson beside the Z; its amplitude adds to the weak one.

    Raises
    ------
    InputError
        If the formula, the edges, the angle or the moment cannot be used.
    """
    edges = check_edges(energy_edges_eV, floor_eV=0.0)
    if not (math.isfinite(magnetic_moment_bohr) and (magnetic_moment_bohr == 0.0 or edges[0] > 0.0)):
        raise InputError(
            f"a magnetic moment of {magnetic_moment_bohr:g} Bohr magnetons has an infinite rate at 0 eV: begin "
            "the bins above 0"
        )
    if not 0.0 < weak_mixing_angle < 1.0:
        raise InputError(f"weak_mixing_angle (sin^2) is {weak_mixing_angle}, expected a number between 0 and 1.")
    parsed = parse_target(target)
    counts = {symbol: np.zeros(len(edges) - 1) for symbol in parsed.elements}
    for isotope in parsed.isotopes:

        def rate(recoil_energy_eV: NDArray[np.float64], isotope: Isotope = isotope) -> NDArray[np.float64]:
            moments = flux.inverse_energy_moments(least_neutrino_energy_MeV(recoil_energy_eV, isotope))
            recoil_MeV = recoil_energy_eV / eV_PER_MeV
            folded = moments[0] - recoil_MeV * moments[1] - 0.5 * isotope.mass_MeV * recoil_MeV * moments[2]
            strength = cevns_strength_cm2_per_eV(
                recoil_energy_eV, isotope=isotope, weak_mixing_angle=weak_mixing_angle
            )
            if mediator is not None:
                charge = weak_charge(isotope, weak_mixing_angle=weak_mixing_angle)
                strength = strength * (1.0 - mediator.charge(recoil_energy_eV, isotope=isotope) / charge) ** 2
            # At the end point the difference rounds to either side of 0.
            per_kg_day = isotope.atoms_per_kg * SECONDS_PER_DAY * strength * np.maximum(folded, 0.0)
            if magnetic_moment_bohr:
                magnetic = magnetic_strength_cm2(
                    recoil_energy_eV, isotope=isotope, magnetic_moment_bohr=magnetic_moment_bohr
                )
                per_eV = np.maximum(moments[0] / recoil_MeV - moments[1], 0.0) / eV_PER_MeV
                per_kg_day = per_kg_day + isotope.atoms_per_kg * SECONDS_PER_DAY * magnetic * per_eV
            return np.asarray(per_kg_day, dtype=np.float64)

        breakpoints = back_scattering_energy_eV(flux.breakpoints_MeV, isotope)
        if mediator is not None:
            more = mediator.breakpoints_eV(isotope, highest_eV=float(breakpoints.max()))
            breakpoints = np.concatenate([breakpoints, more])
        counts[isotope.symbol] += integrate_over_bins(rate, edges_eV=edges, breakpoints_eV=breakpoints)
    return Spectrum.from_counts(
        energy_edges_eV=edges,
        counts_per_kg_day=counts,
        metadata={
            "source": "coherent elastic neutrino-nucleus scattering, Helm form factor",
            "target": parsed.name,
            "weak_mixing_angle": repr(float(weak_mixing_angle)),
            **({"magnetic_moment_bohr": repr(float(magnetic_moment_bohr))} if magnetic_moment_bohr else {}),
            **({} if mediator is None else {"mediator": f"{mediator.mass_MeV!r} MeV, {mediator.coupling!r}"}),
            **flux.metadata,
        },
    )
