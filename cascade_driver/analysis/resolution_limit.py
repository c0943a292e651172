r"""How sharply a calorimeter can measure an ion at all: what the ion stores in defects fluctuates.

After H. H. Andersen, Nucl. Instrum. Meth. B 15, 722 (1986). An ion of energy E_0 slows down on electrons and hands
energies T to atoms, of which the damage energy nu(T) (`damage.damage_energy_eV`) makes n = 0.42 E_n/E_d Frenkel
pairs, each storing E_FP. Two terms fluctuate:

.. math:: E_n = \int_0^{E_0} \frac{dE}{S_e} \int \nu\, d\sigma, \quad
          \Omega^2 = \int_0^{E_0} \frac{dE}{S_e} \int \nu^2\, d\sigma, \quad
          \sigma_s^2 = E_{FP}^2 \left[ (0.42/E_d)^2 \Omega^2 + F n \right]

the share of the energy that goes to atoms (independent collisions) and the number of pairs that the same energy
makes (F = 0.15, of the order of what binary sharing of energies gives). Rare hard collisions make the first one a
peak with a tail: its full width at half maximum, which a spectrum shows, is taken from the distribution itself
(compound Poisson, by Fourier transform) and is about half of 2.35 Omega. Cross-section: Lindhard's universal one,

.. math:: d\sigma = \pi a^2 \frac{f(t^{1/2})}{2 t^{3/2}} dt, \quad t = \epsilon^2 T/T_m, \quad
          f(x) = \lambda x^{1/3} [1 + (2 \lambda x^{4/3})^{2/3}]^{-3/2}, \; \lambda = 1.309

(Winterbon, Sigmund & Sanders, Mat. Fys. Medd. Dan. Vid. Selsk. 37 (14) (1970)). Electrons: Lindhard & Scharff at
low velocity and Bethe with I = 10 Z eV at high, 1/S = 1/S_low + 1/S_high (Varelas & Biersack, Nucl. Instrum.
Meth. 79, 213 (1970)); good to a third, so are the results. The ion slows down on electrons alone: one that hands
more than a tenth of its energy to atoms is refused.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase.data import atomic_masses, atomic_numbers
from numpy.typing import NDArray
from pydantic import Field

from cascade_driver.analysis.damage import damage_energy_eV, mean_atom
from cascade_driver.errors import InputError
from cascade_driver.schema import parameters

#: Pairs per damage energy over E_d of dense cascades, 6 ln 2/pi^2 (Sigmund 1969); NRT rounds it to 0.4.
PAIRS_PER_ENERGY = 0.42

#: Variance of the number of pairs over their number, for the same damage energy.
NUMBER_FACTOR = 0.15

#: e^2/(4 pi epsilon_0) and Bohr's radius, in eV angstrom and angstrom; twice the square root of 2 ln 2.
_E2_eV_A, _BOHR_A, _FWHM = 14.399645, 0.529177, 2.3548200450309493

_ELECTRON_u = 5.48579909e-4

#: Of the ion's energy: what atoms may take before it is atoms that slow it down.
_MOST_TO_ATOMS = 0.1


@parameters
class IonSpec:
    """An ion that stops in an absorber.

    Attributes
    ----------
    ion : str
        Its element.
    energy_keV : float
        Its energy E_0.
    target : str
        Chemical formula of the absorber.
    displacement_eV : float
        Threshold displacement energy E_d.
    pair_eV : float
        Energy that one Frenkel pair stores.
    """

    ion: str = "He"
    energy_keV: float = Field(default=5000.0, gt=0, le=1e6)
    target: str
    displacement_eV: float = Field(gt=0)
    pair_eV: float = Field(gt=0)


@dataclass(frozen=True, kw_only=True)
class ResolutionLimit:
    """The limit and its two terms.

    Attributes
    ----------
    damage_energy_eV, damage_energy_sd_eV : float
        Mean energy that moves atoms, and its standard deviation, tail included.
    pairs, stored_energy_eV : float
        Mean number of Frenkel pairs and what they store.
    of_share_eV, of_number_eV : float
        Full width at half maximum of the peak by the share of the energy that goes to atoms, and by the number of
        pairs for the same share.
    fwhm_eV : float
        Of both.
    """

    damage_energy_eV: float
    damage_energy_sd_eV: float
    pairs: float
    stored_energy_eV: float
    of_share_eV: float
    of_number_eV: float
    fwhm_eV: float


def electronic_stopping_eV_A2(
    energy_eV: NDArray[np.float64], *, ion: tuple[float, float], target_z: float
) -> NDArray[np.float64]:
    """Return the electronic stopping cross-section per atom S_e, in eV A^2; see the head of the module."""
    z1, a1 = ion
    # 8 pi e^2 a_0 Z1^(7/6) Z2/(Z1^(2/3) + Z2^(2/3))^(3/2) v/v_0, Bohr's velocity being that of 24.8 keV/u.
    low = 8 * np.pi * _E2_eV_A * _BOHR_A * z1 ** (7 / 6) * target_z / (z1 ** (2 / 3) + target_z ** (2 / 3)) ** 1.5
    low = low * np.sqrt(energy_eV / a1 / 24_800.0)
    four_times = 4 * energy_eV * _ELECTRON_u / a1  # 2 m v^2
    # The argument is kept above 1, as by Varelas & Biersack.
    argument = four_times / (10.0 * target_z)
    high = (
        8
        * np.pi
        * (z1 * _E2_eV_A) ** 2
        * target_z
        / four_times
        * np.log(1 + argument + 5 / np.maximum(argument, 1e-9))
    )
    return np.asarray(1 / (1 / low + 1 / high))


def resolution_limit(spec: IonSpec) -> ResolutionLimit:
    """Return how much the energy that an ion stores in defects fluctuates.

    Raises
    ------
    InputError
        If the ion is no element or the target no formula, or atoms take a large part of the energy.
    """
    if spec.ion not in atomic_numbers or spec.ion == "X":
        raise InputError(f"ion {spec.ion!r} is no element; give one, e.g. He")
    _, z2, a2 = mean_atom(spec.target)
    z1, a1 = float(atomic_numbers[spec.ion]), float(atomic_masses[atomic_numbers[spec.ion]])
    energy_eV = 1e3 * spec.energy_keV
    energy = np.geomspace(min(10 * spec.displacement_eV, energy_eV / 10), energy_eV, 300)
    stopping = electronic_stopping_eV_A2(energy, ion=(z1, a1), target_z=z2)
    damage, number = _collisions(energy, stopping, ion=(z1, a1), target=(z2, a2), least_eV=spec.displacement_eV)
    mean, variance = float(number @ damage), float(number @ damage**2)
    if mean > _MOST_TO_ATOMS * energy_eV:
        raise InputError(
            f"{spec.ion} of {spec.energy_keV:g} keV in {spec.target} slows down on atoms, and this estimate is of "
            "ions that slow down on electrons; take a faster or lighter one, or `cascade estimate pairs`"
        )
    to_stored = spec.pair_eV * PAIRS_PER_ENERGY / spec.displacement_eV
    pairs = PAIRS_PER_ENERGY / spec.displacement_eV * mean
    of_share = to_stored * _peak_width(damage, number, mean=mean)
    of_number = _FWHM * spec.pair_eV * np.sqrt(NUMBER_FACTOR * pairs)
    return ResolutionLimit(
        damage_energy_eV=mean,
        damage_energy_sd_eV=float(np.sqrt(variance)),
        pairs=pairs,
        stored_energy_eV=spec.pair_eV * pairs,
        of_share_eV=float(of_share),
        of_number_eV=float(of_number),
        fwhm_eV=float(np.hypot(of_share, of_number)),
    )


def _collisions(
    energy_eV: NDArray[np.float64],
    stopping_eV_A2: NDArray[np.float64],
    *,
    ion: tuple[float, float],
    target: tuple[float, float],
    least_eV: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return damage energies nu in eV and how many collisions on the way of the ion hand each of them over.

    What is too little to displace is heat at once.
    """
    (z1, a1), (z2, a2) = ion, target
    screening_A = 0.8854 * _BOHR_A / np.sqrt(z1 ** (2 / 3) + z2 ** (2 / 3))
    most = 4 * a1 * a2 / (a1 + a2) ** 2 * energy_eV
    epsilon = screening_A * a2 * energy_eV / (z1 * z2 * _E2_eV_A * (a1 + a2))
    given = np.geomspace(least_eV, float(most[-1]), 700)
    t = (epsilon**2 / most)[:, None] * given
    # d sigma = pi a^2 f(sqrt t)/(2 t^(3/2)) dt, and dt = t d(ln T).
    x = np.sqrt(t)
    f = 1.309 * x ** (1 / 3) * (1 + (2 * 1.309 * x ** (4 / 3)) ** (2 / 3)) ** -1.5
    section = np.where(given <= most[:, None], np.pi * screening_A**2 * f / (2 * x), 0.0)
    per_ln = np.trapezoid(section / stopping_eV_A2[:, None], energy_eV, axis=0)
    return damage_energy_eV(given, recoil=target, target=target), per_ln * np.gradient(np.log(given))


def _peak_width(damage_eV: NDArray[np.float64], number: NDArray[np.float64], *, mean: float) -> float:
    """Return the full width at half maximum of the sum of the damage energies of independent collisions, in eV."""
    # Fine enough for the peak, long enough for its tail.
    step = mean / 400
    bins = 1 << 16
    place = np.minimum(np.rint(damage_eV / step).astype(np.int64), bins - 1)
    intensity = np.bincount(place, weights=number, minlength=bins)
    # Collisions below half a bin move the sum as a whole.
    density = np.fft.irfft(np.exp(np.fft.rfft(intensity) - intensity.sum()), n=bins)
    # Bins of half the width of the peak's ripples: the lightest collisions come in whole bins.
    smooth = np.convolve(density, np.ones(15) / 15, mode="same")
    above = np.flatnonzero(smooth >= smooth.max() / 2)
    return float((above[-1] - above[0] + 1) * step)
