"""A neutrino flux at the detector, whatever its source."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

_NODES = 6

#: Ratio of neighbouring points on which a power of the energy is smooth.
_GRID_RATIO = 1.2


@dataclass(frozen=True, kw_only=True, eq=False)
class NeutrinoFlux:
    """Neutrinos of all flavours that scatter coherently, per area, time and energy.

    Attributes
    ----------
    density_per_cm2_s_MeV : callable
        phi, from (k,) neutrino energies in MeV to (k,) values per cm^2, s and MeV.
    breakpoints_MeV : (m,) float
        Increasing energies: the first and last bound the flux, at the others it may jump or have a kink, and
        between neighbours it is smooth.
    metadata : mapping of str to str
        Where the flux comes from.
    """

    density_per_cm2_s_MeV: Callable[[NDArray[np.float64]], NDArray[np.float64]]
    breakpoints_MeV: NDArray[np.float64]
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def largest_energy_MeV(self) -> float:
        """Energy above which there is no flux."""
        return float(self.breakpoints_MeV[-1])

    def inverse_energy_moments(self, lower_MeV: NDArray[np.float64]) -> NDArray[np.float64]:
        r"""Return the moments of the flux above each energy, (3, n), in MeV^-k per cm^2 and s.

        .. math:: I_k(E) = \int_E^\infty \phi(E_\nu)\, E_\nu^{-k}\, dE_\nu, \qquad k = 0, 1, 2

        All cross-sections of coherent scattering are polynomials in 1/E_nu, so that a recoil spectrum is a
        combination of these three.

        Parameters
        ----------
        lower_MeV : (n,) float
            E, above 0.
        """
        first, last = float(self.breakpoints_MeV[0]), self.largest_energy_MeV
        lower = np.clip(lower_MeV, first, last)
        least = max(float(np.min(lower, initial=last)), 1e-12)
        steps = max(int(np.ceil(np.log(last / least) / np.log(_GRID_RATIO))), 1)
        grid = np.geomspace(least, last, steps + 1) if least < last else np.array([last])
        points = np.unique(np.concatenate([self.breakpoints_MeV, lower, np.clip(grid, first, last)]))
        points = points[points >= np.min(lower, initial=last)]
        if len(points) < 2:
            return np.zeros((3, len(lower)))
        nodes, weights = np.polynomial.legendre.leggauss(_NODES)
        half = 0.5 * np.diff(points)[:, None]
        energy = points[:-1, None] + half * (nodes[None, :] + 1.0)
        weighted = self.density_per_cm2_s_MeV(energy.ravel()).reshape(energy.shape) * weights[None, :] * half
        pieces = np.stack([np.sum(weighted * energy ** (-k), axis=1) for k in range(3)])
        # Summed from the top, where the flux is smallest, so that the tail keeps its digits.
        above = np.concatenate([np.cumsum(pieces[:, ::-1], axis=1)[:, ::-1], np.zeros((3, 1))], axis=1)
        return np.asarray(above[:, np.searchsorted(points, lower)], dtype=np.float64)
