"""How coherently the nucleons of a nucleus scatter, and how its spin is seen."""

from __future__ import annotations

import math

import numpy as np
import scipy
from numpy.typing import NDArray
from scipy import constants

#: hbar c.
HBAR_C_MeV_fm: float = constants.physical_constants["reduced Planck constant times c in MeV fm"][0]

#: Lewin & Smith 1996: skin thickness, and surface diffuseness of the two-parameter Fermi distribution.
SKIN_THICKNESS_fm = 0.9
DIFFUSENESS_fm = 0.52


def helm_radius_fm(mass_number: int) -> float:
    r"""Return the effective nuclear radius of the Helm form factor.

    .. math:: r_n^2 = c^2 + \tfrac{7}{3} \pi^2 a^2 - 5 s^2, \qquad c = (1.23\, A^{1/3} - 0.60)\ \mathrm{fm}

    with a = `DIFFUSENESS_fm` and s = `SKIN_THICKNESS_fm`; Lewin & Smith 1996,
    doi:10.1016/S0927-6505(96)00047-3, Eq. 4.11.
    """
    half_density_fm = 1.23 * mass_number ** (1.0 / 3.0) - 0.60
    return math.sqrt(half_density_fm**2 + 7.0 / 3.0 * math.pi**2 * DIFFUSENESS_fm**2 - 5.0 * SKIN_THICKNESS_fm**2)


def helm_form_factor(
    recoil_energy_eV: NDArray[np.float64], *, mass_number: int, mass_MeV: float
) -> NDArray[np.float64]:
    r"""Return the Helm form factor F, 1 at zero momentum transfer, same shape as the energies.

    .. math:: F(q) = \frac{3 j_1(q r_n)}{q r_n}\, e^{-q^2 s^2 / 2}, \qquad \hbar q = \sqrt{2 M E_R}

    Lewin & Smith 1996, doi:10.1016/S0927-6505(96)00047-3, Eq. 4.7.

    Parameters
    ----------
    recoil_energy_eV : (...) float
        E_R.
    mass_number : int
        A.
    mass_MeV : float
        Rest energy of the nucleus, M.
    """
    q_per_fm = np.sqrt(2.0 * mass_MeV * recoil_energy_eV * 1e-6) / HBAR_C_MeV_fm
    x = q_per_fm * helm_radius_fm(mass_number)
    # The quotient loses its digits at x -> 0, where the series has them all.
    small = x < 1e-2
    safe = np.where(small, 1.0, x)
    bulk = np.where(small, 1.0 - x**2 / 10.0 + x**4 / 280.0, 3.0 * scipy.special.spherical_jn(1, safe) / safe)
    return np.asarray(bulk * np.exp(-0.5 * (q_per_fm * SKIN_THICKNESS_fm) ** 2), dtype=np.float64)


def oscillator_length_fm(mass_number: int) -> float:
    r"""Return the oscillator length b of a nucleus.

    .. math:: b^2 = \frac{41.467\ \mathrm{MeV\,fm^2}}{\hbar\omega}, \qquad
        \hbar\omega = (45 A^{-1/3} - 25 A^{-2/3})\ \mathrm{MeV}

    Blomqvist & Molinari 1968, doi:10.1016/0375-9474(68)90515-0; 2.11 fm for 73Ge.
    """
    return math.sqrt(41.467 / (45.0 * mass_number ** (-1.0 / 3.0) - 25.0 * mass_number ** (-2.0 / 3.0)))


def spin_structure_factor(
    recoil_energy_eV: NDArray[np.float64], *, mass_number: int, mass_MeV: float, shell: int
) -> NDArray[np.float64]:
    r"""Return how much of the spin of an unpaired nucleon is still seen, S(q)/S(0), same shape as the energies.

    .. math:: \frac{S(q)}{S(0)} \approx e^{-q^2 \langle r^2 \rangle / 3}, \qquad
        \langle r^2 \rangle = \left(N + \tfrac32\right) b^2, \qquad \hbar q = \sqrt{2 M E_R}

    exact to the order :math:`q^2` for the part of the operator without orbital momentum, of a nucleon in the
    oscillator shell N. At 1 keV it has fallen by 0.5 % in 27Al, 2.8 % in 73Ge and 10 % in 183W; the shell model
    (Klos et al. 2013, doi:10.1103/PhysRevD.88.083516) has 2.3 % in 73Ge. Where it has lost a fifth, higher orders
    count.

    Parameters
    ----------
    recoil_energy_eV : (...) float
        E_R.
    mass_number : int
        A.
    mass_MeV : float
        Rest energy of the nucleus, M.
    shell : int
        N of the unpaired nucleon: 0 for 0s, 1 for 0p, 2 for 0d and 1s, ...
    """
    q2_per_fm2 = 2.0 * mass_MeV * recoil_energy_eV * 1e-6 / HBAR_C_MeV_fm**2
    mean_square_fm2 = (shell + 1.5) * oscillator_length_fm(mass_number) ** 2
    return np.asarray(np.exp(-q2_per_fm2 * mean_square_fm2 / 3.0), dtype=np.float64)
