r"""Random field and interaction of tunnelling systems from a material: the two-TLS model.

Eq. 10 and 11 and Table I of Churkin et al. 2021 (arXiv:2002.02877): a few defects couple strongly to strain, the
abundant systems of low energies weakly. Orders of magnitude, for random factors of order 1 are left out.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field
from scipy import constants

from cascade_driver.schema import parameters
from cascade_driver.units import BOLTZMANN_eV_PER_K, eV_J

#: One debye in C m.
_DEBYE_C_M = 1e-21 / constants.c

Positive = Annotated[float, Field(gt=0)]


@parameters
class GlassMaterial:
    """What random field and interaction of tunnelling systems are made from.

    Attributes
    ----------
    strong_coupling_eV, weak_coupling_eV : float
        gamma_s and gamma_w, of the few and of the abundant systems to strain.
    dipole_D : float
        p, of an abundant system, in debye.
    distance_nm : float
        R_0, from a system to the next.
    density_kg_m3, speed_m_s : float
        rho and the speed of (transverse) sound, v.
    """

    strong_coupling_eV: Positive
    weak_coupling_eV: Positive
    dipole_D: Annotated[float, Field(ge=0)] = 0.0
    distance_nm: Positive
    density_kg_m3: Positive
    speed_m_s: Positive

    @property
    def _stiffness_J(self) -> float:
        """Rho v^2 R_0^3."""
        return self.density_kg_m3 * self.speed_m_s**2 * (self.distance_nm * constants.nano) ** 3

    def _elastic_K(self, one_eV: float, other_eV: float) -> float:
        return one_eV * other_eV * eV_J / self._stiffness_J / BOLTZMANN_eV_PER_K

    @property
    def glass_transition_K(self) -> float:
        r""":math:`\gamma_s^2 / \rho v^2 R_0^3`, of the order of the temperature of the glass transition."""
        return self._elastic_K(self.strong_coupling_eV, self.strong_coupling_eV)

    @property
    def random_field_K(self) -> float:
        r""":math:`h_0 = \gamma_s \gamma_w / \rho v^2 R_0^3` (Eq. 10)."""
        return self._elastic_K(self.strong_coupling_eV, self.weak_coupling_eV)

    @property
    def elastic_interaction_K(self) -> float:
        r""":math:`J_0 = \gamma_w^2 / \rho v^2 R_0^3` (Eq. 10)."""
        return self._elastic_K(self.weak_coupling_eV, self.weak_coupling_eV)

    @property
    def electric_interaction_K(self) -> float:
        r""":math:`J_0 = p^2 / 4 \pi \epsilon_0 R_0^3` (Eq. 11)."""
        energy_J = (self.dipole_D * _DEBYE_C_M) ** 2 / (
            4 * np.pi * constants.epsilon_0 * (self.distance_nm * constants.nano) ** 3
        )
        return float(energy_J / constants.k)
