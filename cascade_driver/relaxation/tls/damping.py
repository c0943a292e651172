r"""Damping and frequency of a nanomechanical resonator that carries tunnelling two-level systems.

The model of O. Maillet et al. 2023, doi:10.1103/PhysRevB.107.064104 ("the paper"). The motion modulates the
asymmetry of each system; populations follow with a delay, by phonons of the beam and, where the metal on it is
normal, by conduction electrons:

    distribution of systems -> relaxation rate of each -> damping of the mode     (Eq. 2, 3, 4)

How the printed equations are read:

- Eq. 2 lacks a factor :math:`1/(k_B T)`: without it the damping has the dimension of an energy times a rate, and
  its high-temperature limit is not the printed plateau. :math:`\Delta` runs over :math:`[0, \epsilon]`.
- The damping that the paper plots is :math:`\Gamma / 2\pi` in Hz.
- `strength` (C) is an input. The printed expression with the printed constants gives 3.0e-5, not 4.3e-5, see
  `strength_from_material`; and the frequency shift has a C of its own, 2.1e-5.
- Eq. 3 is a bath in one dimension. For thicker beams, or the T^(3/2) that the paper fits to a goalpost with an
  expression that it does not print (inset of Fig. 3), see `Resonator.phonon_exponent`.
- The crossover temperatures are where the two limits of the damping meet, see `crossover_temperature_K`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field
from scipy import constants, special
from scipy.optimize import brentq

from cascade_driver.errors import InputError
from cascade_driver.relaxation.tls.distribution import (
    Temperatures,
    positive_array,
    reduced_energies,
    relaxation_response,
)
from cascade_driver.schema import parameters
from cascade_driver.units import NM_M, BOLTZMANN_eV_PER_K, HBAR_eV_s, eV_J

#: State of the metal on the resonator.
MetalState = Literal["superconducting", "normal"]

Positive = Annotated[float, Field(gt=0)]

#: Wien's number of the dominant phonon as the paper uses it: h c / (2.82 k_B T).
_WIEN = 2.82


@parameters
class Resonator:
    """A beam and its mode.

    Attributes
    ----------
    mode_frequency_Hz : float
        Frequency of the mode, omega / 2 pi.
    thickness_nm : float
        Of the cross-section, e.
    width_nm : float
        Of the cross-section, w.
    density_kg_m3 : float
        Mass density rho; by default of SiN.
    sound_speed_m_s : float
        Of longitudinal waves, c_l; by default of SiN.
    phonon_exponent : float
        p of the bath: relaxation grows as energy^p, damping as T^p; 1 of a beam, 3 of a solid, 1.5 of a goalpost.
        See `phonon_rate_constant_per_eV_s`.
    """

    mode_frequency_Hz: Positive
    thickness_nm: Positive
    width_nm: Positive
    density_kg_m3: Positive = 2900.0
    sound_speed_m_s: Positive = 6000.0
    phonon_exponent: Annotated[float, Field(gt=0, le=5)] = 1.0

    @property
    def beam_energy_eV(self) -> float:
        r"""Where beam and solid relax systems alike, :math:`\epsilon_1 = \hbar c_l \sqrt{2\pi / e w}`."""
        section_m2 = self.thickness_nm * self.width_nm * NM_M**2
        return float(HBAR_eV_s * self.sound_speed_m_s * np.sqrt(2 * np.pi / section_m2))


@parameters
class TunnellingSystems:
    """An ensemble of tunnelling systems.

    Attributes
    ----------
    strength : float
        C, the height of the plateau in units of pi omega / 2. An input: no printed constants give it.
    strain_coupling_eV : float
        gamma, half the change of the asymmetry with strain.
    charged_fraction : float
        x, the share of systems that electrons relax too.
    electron_coupling : float
        K, dimensionless; above 1 Kondo-like corrections would count, so it must lie below.
    """

    strength: Positive
    strain_coupling_eV: Positive
    charged_fraction: Annotated[float, Field(ge=0, le=1)] = 0.0
    electron_coupling: Annotated[float, Field(ge=0, lt=1)] = 0.0


# -- relaxation of one system -------------------------------------------------------------------------------


@parameters
class DampingTemperatures(Temperatures):
    """At which the damping of a resonator is tabulated."""

    temperature_K: tuple[float, float] = (0.01, 10.0)
    points: int = Field(default=61, ge=1)


#: A of `relaxation_rate_per_s`, in 1/(eV s), or what gives it at some energies in eV.
RateConstant = float | Callable[[NDArray[np.float64]], NDArray[np.float64]]


def phonon_rate_constant_per_eV_s(
    *, strain_coupling_eV: float, resonator: Resonator, energy_eV: ArrayLike | None = None
) -> NDArray[np.float64]:
    r"""Return the prefactor of the relaxation rate by phonons, in 1/(eV s), (...) float.

    .. math::
        A_\mathrm{ph} = \frac{\gamma^2}{\hbar^2 \rho\, e\, w\, c_l^3}
        \left(\frac{\epsilon}{\epsilon_1}\right)^{p - 1}, \qquad \epsilon_1 = \hbar c_l \sqrt{2\pi / e w}

    p = 1 is Eq. 3 of the paper: a bath of longitudinal phonons in one dimension, for wavelengths above the
    cross-section. p = 3 is :math:`\gamma^2 \epsilon^2 / 2\pi \hbar^4 \rho c_l^5`, longitudinal phonons of a solid
    (J. Jackle, Z. Physik 257, 212 (1972)); where transverse ones count, gamma is an effective one. Between them
    it is a law without a derivation, which agrees with both at :math:`\epsilon_1`.

    Parameters
    ----------
    strain_coupling_eV : float
    resonator : Resonator
    energy_eV : (...) float, optional
        Of the systems; by default :math:`\epsilon_1`.
    """
    power_W = (
        resonator.density_kg_m3
        * resonator.thickness_nm
        * resonator.width_nm
        * NM_M**2
        * resonator.sound_speed_m_s**3
    )
    constant = strain_coupling_eV**2 / HBAR_eV_s**2 / (power_W / eV_J)
    if energy_eV is None or resonator.phonon_exponent == 1:
        return np.asarray(constant)
    ratio = np.asarray(energy_eV, dtype=np.float64) / resonator.beam_energy_eV
    return np.asarray(constant * ratio ** (resonator.phonon_exponent - 1))


def electron_rate_constant_per_eV_s(*, electron_coupling: float) -> float:
    r"""Return the prefactor of the relaxation rate by electrons, :math:`4 \pi K / \hbar` (Eq. 4), in 1/(eV s)."""
    return 4 * np.pi * electron_coupling / HBAR_eV_s


def relaxation_rate_per_s(
    energy_eV: ArrayLike, tunnelling_eV: ArrayLike, *, rate_constant_per_eV_s: float, temperature_K: float
) -> NDArray[np.float64]:
    r"""Return the relaxation rate of systems of given energy and tunnelling amplitude, in 1/s.

    .. math:: \tau^{-1} = A\, \frac{\Delta_0^2}{\epsilon}\, \coth\frac{\epsilon}{2 k_B T}

    (Eq. 3 and 4 of the paper), with A from `phonon_rate_constant_per_eV_s`, `electron_rate_constant_per_eV_s`,
    or their sum.

    Raises
    ------
    InputError
        If an energy or the temperature is not above 0, or an amplitude does not lie in [0, energy].
    """
    energy = positive_array(energy_eV, name="energy_eV")
    kT = BOLTZMANN_eV_PER_K * float(positive_array(temperature_K, name="temperature_K"))
    amplitude = np.asarray(tunnelling_eV, dtype=np.float64)
    if not np.all((amplitude >= 0) & (amplitude <= energy)):
        raise InputError("a tunnelling amplitude lies outside [0, energy]; the asymmetry would not be real")
    return np.asarray(rate_constant_per_eV_s * amplitude**2 / energy / np.tanh(energy / (2 * kT)))


# -- damping ------------------------------------------------------------------------------------------------


def damping_rate_per_s(
    temperature_K: ArrayLike, *, strength: float, rate_constant_per_eV_s: RateConstant, mode_frequency_Hz: float
) -> NDArray[np.float64]:
    r"""Return the damping by systems that all relax by one bath, :math:`\Gamma[\tau]` in 1/s, (...) float.

    .. math::
        \Gamma[\tau] = \frac{C \omega}{k_B T} \int_0^\infty d\epsilon \int_0^\epsilon d\Delta\, P(\epsilon, \Delta)
        \left(\frac{\Delta}{\epsilon}\right)^2 \mathrm{sech}^2\frac{\epsilon}{2 k_B T}\,
        \frac{\omega\tau}{1 + \omega^2\tau^2}
        = C \omega \int_0^\infty du\, \mathrm{sech}^2(u/2)\, \mathrm{Im}\, R\left(\frac{\omega}{A k_B T u \coth(u/2)}\right)

    (Eq. 2 of the paper with the factor :math:`1/k_B T` that it lacks); R is `relaxation_response`, which is the
    integral over :math:`\Delta` in closed form. The rest is a sum over 96 nodes, exact to 1e-10.

    Parameters
    ----------
    temperature_K : (...) float
    strength : float
        C.
    rate_constant_per_eV_s : float or callable
        A of `relaxation_rate_per_s`, or what gives it at some energies in eV; 0 for systems that do not relax, whose
        damping is 0.
    mode_frequency_Hz : float
        omega / 2 pi.

    Raises
    ------
    InputError
        If an argument is out of its range.
    """  # noqa: E501
    temperature = positive_array(temperature_K, name="temperature_K")
    omega = 2 * np.pi * float(positive_array(mode_frequency_Hz, name="mode_frequency_Hz"))
    positive_array(strength, name="strength")
    u, weights = reduced_energies()
    energy = BOLTZMANN_eV_PER_K * temperature[..., None] * u
    constant = rate_constant_per_eV_s(energy) if callable(rate_constant_per_eV_s) else rate_constant_per_eV_s
    if np.all(np.asarray(constant) == 0):
        return np.zeros_like(temperature)
    fastest = positive_array(constant, name="rate_constant_per_eV_s") * energy / np.tanh(u / 2)
    return np.asarray(strength * omega * np.sum(relaxation_response(omega / fastest).imag * weights, axis=-1))


def mode_damping_per_s(
    temperature_K: ArrayLike, *, systems: TunnellingSystems, resonator: Resonator, metal: MetalState
) -> NDArray[np.float64]:
    r"""Return the damping rate of the mode, in 1/s, (...) float.

    .. math::
        \Gamma_S = \Gamma[\tau_\mathrm{ph}], \qquad
        \Gamma_N = (1 - x)\, \Gamma[\tau_\mathrm{ph}]
                 + x\, \Gamma[(\tau_\mathrm{ph}^{-1} + \tau_\mathrm{el}^{-1})^{-1}]

    (Sec. III and IV of the paper). In the superconducting state the quasiparticles are left out, as there: the
    paper finds excess damping by them from 600 mK to the critical temperature.

    Raises
    ------
    InputError
        If a temperature is not above 0, or the state of the metal is neither of the two.
    """
    electrons = electron_rate_constant_per_eV_s(electron_coupling=systems.electron_coupling)

    def phonons(energy_eV: NDArray[np.float64]) -> NDArray[np.float64]:
        return phonon_rate_constant_per_eV_s(
            strain_coupling_eV=systems.strain_coupling_eV, resonator=resonator, energy_eV=energy_eV
        )

    def damping(rate_constant: RateConstant) -> NDArray[np.float64]:
        return damping_rate_per_s(
            temperature_K,
            strength=systems.strength,
            rate_constant_per_eV_s=rate_constant,
            mode_frequency_Hz=resonator.mode_frequency_Hz,
        )

    if metal == "superconducting":
        return damping(phonons)
    if metal != "normal":
        raise InputError(f"state of the metal `{metal}`; it is superconducting or normal")
    share = systems.charged_fraction
    return np.asarray((1 - share) * damping(phonons) + share * damping(lambda E: phonons(E) + electrons))


def mode_damping_Hz(
    temperature_K: ArrayLike, *, systems: TunnellingSystems, resonator: Resonator, metal: MetalState
) -> NDArray[np.float64]:
    r"""Return :math:`\Gamma / 2\pi` in Hz, the full width of the resonance at half maximum, which is plotted.

    Raises
    ------
    InputError
        As `mode_damping_per_s`.
    """
    gamma = mode_damping_per_s(temperature_K, systems=systems, resonator=resonator, metal=metal)
    return np.asarray(gamma / (2 * np.pi))


def damping_table(temperature_K: NDArray[np.float64], *, systems: TunnellingSystems, resonator: Resonator) -> str:
    """Return the damping in both states of the metal as CSV: temperature_K and Gamma / 2 pi in Hz of each."""
    columns = [
        mode_damping_Hz(temperature_K, systems=systems, resonator=resonator, metal=metal)
        for metal in ("superconducting", "normal")
    ]
    rows = [f"{t:.9g},{s:.9g},{n:.9g}" for t, s, n in zip(temperature_K, *columns, strict=True)]
    return "\n".join(["temperature_K,superconducting_damping_Hz,normal_damping_Hz", *rows]) + "\n"


def plateau_per_s(*, strength: float, mode_frequency_Hz: float) -> float:
    r"""Return the damping at high temperature, :math:`\pi\omega C / 2` in 1/s, whatever the bath (Sec. III)."""
    return np.pi**2 * mode_frequency_Hz * strength


def low_temperature_damping_per_s(
    temperature_K: ArrayLike,
    *,
    strength: float,
    rate_constant_per_eV_s: float,
    exponent: float = 1.0,
    energy_eV: float = 1.0,
) -> NDArray[np.float64]:
    r"""Return the limit of the damping at low temperature, in 1/s, (...) float.

    .. math::
        \Gamma = \frac{4}{3} \left(1 - 2^{-p - 1}\right) \Gamma(p + 1) \zeta(p + 1)\,
        C A\, k_B T \left(\frac{k_B T}{\epsilon_1}\right)^{p - 1}

    The limit :math:`\omega\tau \gg 1` of Eq. 2 with a rate of `phonon_rate_constant_per_eV_s`, of which
    :math:`\int_0^\infty 2u^p / \sinh u\, du` and :math:`\int_0^1 v^2 dv = 1/3` remain; it does not depend on the
    frequency. For p = 1, Eq. 3 and 4, it is :math:`\pi^2 C A k_B T / 6`.

    Parameters
    ----------
    temperature_K : (...) float
    strength : float
        C.
    rate_constant_per_eV_s : float
        A, at the energy.
    exponent : float
        p.
    energy_eV : float
        :math:`\epsilon_1`; for p = 1 it does not count.
    """
    kT = BOLTZMANN_eV_PER_K * positive_array(temperature_K, name="temperature_K")
    p = exponent
    shape = 4 / 3 * (1 - 2.0 ** (-p - 1)) * special.gamma(p + 1) * special.zeta(p + 1)
    return np.asarray(shape * strength * rate_constant_per_eV_s * kT * (kT / energy_eV) ** (p - 1))


def crossover_temperature_K(
    *, rate_constant_per_eV_s: float, mode_frequency_Hz: float, exponent: float = 1.0, energy_eV: float = 1.0
) -> float:
    r"""Return the temperature at which plateau and low-temperature limit meet, in K.

    .. math:: T^* = \frac{3 \omega}{\pi A k_B} \quad (p = 1)

    The paper says :math:`\omega\tau \sim 1` and prints about 1 K for phonons and about 0.9 mK for electrons; this
    reading gives 0.84 K and 0.91 mK, :math:`\omega = A k_B T` gives 0.88 K and 0.95 mK.

    Parameters
    ----------
    rate_constant_per_eV_s, mode_frequency_Hz : float
    exponent, energy_eV : float
        As of `low_temperature_damping_per_s`.

    Raises
    ------
    InputError
        If an argument is not above 0.
    """
    rate = float(positive_array(rate_constant_per_eV_s, name="rate_constant_per_eV_s"))
    frequency = float(positive_array(mode_frequency_Hz, name="mode_frequency_Hz"))
    at_1_K = low_temperature_damping_per_s(
        1.0, strength=1.0, rate_constant_per_eV_s=rate, exponent=exponent, energy_eV=energy_eV
    )
    plateau = plateau_per_s(strength=1.0, mode_frequency_Hz=frequency)
    return float((plateau / float(at_1_K)) ** (1 / exponent))


@dataclass(frozen=True, kw_only=True)
class Crossovers:
    """Temperatures at which the damping turns from plateau to slope.

    Attributes
    ----------
    phonon_K : float
        Of systems that only phonons relax.
    electron_K : float or None
        Of systems that electrons relax too, in the normal state; None without such systems.
    """

    phonon_K: float
    electron_K: float | None


def crossovers(*, systems: TunnellingSystems, resonator: Resonator) -> Crossovers:
    """Return the crossover temperatures of both kinds of systems, by `crossover_temperature_K`.

    Of charged systems it is where the sum of both low-temperature limits meets the plateau.
    """
    phonons = float(
        phonon_rate_constant_per_eV_s(strain_coupling_eV=systems.strain_coupling_eV, resonator=resonator)
    )
    electrons = electron_rate_constant_per_eV_s(electron_coupling=systems.electron_coupling)
    frequency, p = resonator.mode_frequency_Hz, resonator.phonon_exponent
    phonon_K = crossover_temperature_K(
        rate_constant_per_eV_s=phonons, mode_frequency_Hz=frequency, exponent=p, energy_eV=resonator.beam_energy_eV
    )
    electron_K = None
    if systems.charged_fraction > 0 and electrons > 0:
        alone_K = crossover_temperature_K(rate_constant_per_eV_s=electrons, mode_frequency_Hz=frequency)

        def excess(log_T: float) -> float:
            T = math.exp(log_T)
            return float((T / phonon_K) ** p + T / alone_K - 1)

        highest = min(phonon_K, alone_K)
        electron_K = math.exp(brentq(excess, math.log(highest / 4), math.log(highest)))
    return Crossovers(phonon_K=phonon_K, electron_K=electron_K)


# -- frequency, and what stands behind the parameters -------------------------------------------------------


def strength_from_material(
    *,
    density_of_states_per_J_m3: float,
    strain_coupling_eV: float,
    thickness_nm: float,
    length_um: float,
    stress_GPa: float,
) -> float:
    r"""Return the strength C of a beam under tension, in its fundamental flexural mode.

    .. math:: C = \frac{P_0 \gamma^2 \pi^2 e^2}{12\, \sigma_0 l^2}

    (below Eq. 2 of the paper). The printed constants (2.2e44 /J/m3, 9.8 eV, 130 nm, 15 um, 1.1 GPa) give 3.0e-5
    and not the printed 4.3e-5, which would need 3.1e44 /J/m3; so C is an input everywhere else.
    """
    gamma_J = strain_coupling_eV * eV_J
    slenderness = thickness_nm * NM_M / (length_um * constants.micro)
    return (
        density_of_states_per_J_m3 * gamma_J**2 * (np.pi * slenderness) ** 2 / (12 * stress_GPa * constants.giga)
    )


def electron_coupling_energy_eV(
    *, electron_coupling: float, states_per_J_m3: float, interaction_volume_nm3: float
) -> float:
    r"""Return the coupling V of a system to electrons from :math:`K = (n_0 V \Omega)^2` (below Eq. 4), in eV.

    The paper's "0.1-eV range" needs :math:`\Omega` of (0.54 nm)^3, within its bound "below about 1 nm".
    """
    volume_m3 = interaction_volume_nm3 * NM_M**3
    return float(np.sqrt(electron_coupling)) / (states_per_J_m3 * volume_m3) / eV_J


def dominant_phonon_wavelength_nm(temperature_K: ArrayLike, *, sound_speed_m_s: float) -> NDArray[np.float64]:
    r"""Return :math:`h c / (2.82 k_B T)` in nm: Eq. 3 holds where it exceeds the cross-section.

    Raises
    ------
    InputError
        If a temperature is not above 0.
    """
    temperature = positive_array(temperature_K, name="temperature_K")
    kT = BOLTZMANN_eV_PER_K * temperature
    return np.asarray(2 * np.pi * HBAR_eV_s * sound_speed_m_s / (_WIEN * kT) / NM_M)
