"""How coherently the nucleons of a nucleus scatter."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import constants
from scipy.special import spherical_jn

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
    bulk = np.where(small, 1.0 - x**2 / 10.0 + x**4 / 280.0, 3.0 * spherical_jn(1, safe) / safe)
    return np.asarray(bulk * np.exp(-0.5 * (q_per_fm * SKIN_THICKNESS_fm) ** 2), dtype=np.float64)
