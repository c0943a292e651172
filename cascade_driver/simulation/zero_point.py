r"""Thermal starts from the quantum distribution of the harmonic crystal, zero-point motion included.

In the normal coordinates of a harmonic crystal, position and momentum of each mode are independent and Gaussian
(its Wigner function), of the variances

.. math:: \langle Q^2 \rangle = \frac{\hbar}{2 \omega} \coth \frac{\hbar \omega}{2 k T}, \qquad
    \langle P^2 \rangle = \frac{\hbar \omega}{2} \coth \frac{\hbar \omega}{2 k T}

(M. Hillery et al. 1984, doi:10.1016/0370-1573(84)90160-1; classical where k T is above :math:`\hbar \omega`).
The modes are those of the box itself: its force constants, measured once by moving the atoms of one cell, are a
convolution over its cells (`descent.Stiffness`), so that a function of the dynamical matrix is one small matrix
for each wave vector. What follows is classical: the zero-point energy is right at the kick and flows from stiff to
soft modes in some ps. A box of edge L lacks waves longer than L: its displacements are too small by a share that
falls as 1/L^2 at 0 K (of Si 8 % in 2 x 2 x 2 cells, 2 % in 4 x 4 x 4) and as 1/L where it is classical; its
energies are not.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cascade_driver.errors import InputError
from cascade_driver.kinds import Array
from cascade_driver.simulation.descent import Stiffness
from cascade_driver.units import FS_PER_PS, FS_PER_S, BOLTZMANN_eV_PER_K, HBAR_eV_s, eV_PER_AMU_A2_PS2

#: h-bar in eV ps.
_HBAR_eV_ps = HBAR_eV_s * FS_PER_S / FS_PER_PS

#: Squared frequencies below this share of the largest are no vibration but a crystal that is not stable.
_SOFTEST = 1e-6


@dataclass(frozen=True, kw_only=True)
class Vibrations:
    """The modes of a crystal in its box, and what they do at a temperature.

    Attributes
    ----------
    stiffness : Stiffness
        Its force constants.
    masses_u : (n,) float
        Of the atoms of one cell, in the order of the sites.
    temperature_K : float
        Of the crystal; 0 for the zero-point motion alone.

    Raises
    ------
    InputError
        If the temperature is below 0, or a mode has no restoring force.
    """

    stiffness: Stiffness
    masses_u: Array
    temperature_K: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.temperature_K) and self.temperature_K >= 0):
            raise InputError(f"a crystal of {self.temperature_K:g} K: give a temperature of at least 0")
        softest = self._moving(self._modes[0]).min()
        if softest < _SOFTEST * self._modes[0].max():
            raise InputError(
                f"the crystal has a mode without restoring force ({softest:.3g} eV/(A^2 amu)): it is not stable "
                "in this potential; take another one, or start = 'classical'"
            )

    @cached_property
    def _modes(self) -> tuple[Array, NDArray[np.complex128]]:
        """Eigenvalues (n_1, n_2, n_3, 3 n) in eV/(A^2 amu), rising, and vectors of the dynamical matrix."""
        mass = np.repeat(self.masses_u, 3)
        constants = self.stiffness.force_constants_eV_A2 / np.sqrt(
            mass[:, None, None, None, None] * mass[None, None, None, None, :]
        )
        at_q = np.conj(np.moveaxis(np.fft.fftn(constants, axes=(1, 2, 3)), 0, 3))
        values, vectors = np.linalg.eigh((at_q + np.conj(np.swapaxes(at_q, -1, -2))) / 2)
        return values, vectors

    def _moving(self, of_modes: Array) -> Array:
        """Return the values of all modes but the three translations of the box: the lowest at zero wave vector."""
        return np.delete(of_modes.ravel(), np.arange(3))

    @cached_property
    def frequencies_per_ps(self) -> Array:
        """(n_1, n_2, n_3, 3 n) angular frequencies; those of the translations are 0."""
        omega = np.sqrt(np.maximum(self._modes[0], 0.0) / eV_PER_AMU_A2_PS2)
        omega[0, 0, 0, :3] = 0.0
        return np.asarray(omega)

    def _energies_eV(self) -> Array:
        """Mean energy of each mode: half of it is kinetic."""
        quantum = 0.5 * _HBAR_eV_ps * self.frequencies_per_ps
        if self.temperature_K == 0:
            return quantum
        with np.errstate(divide="ignore", invalid="ignore"):
            energy = quantum / np.tanh(quantum / (BOLTZMANN_eV_PER_K * self.temperature_K))
        return np.where(quantum > 0, energy, 0.0)

    @property
    def kinetic_temperature_K(self) -> float:
        """Temperature at which a classical crystal has the same kinetic energy."""
        return float(self._moving(self._energies_eV()).mean() / BOLTZMANN_eV_PER_K)

    def kinetic_temperatures_K(self) -> Array:
        """Temperatures at which classical atoms have the kinetic energy of those of one cell, (n,)."""
        return np.asarray(self._of_atoms(self._energies_eV()).mean(axis=1) / BOLTZMANN_eV_PER_K)

    def _variances(self) -> tuple[Array, Array]:
        """Return the variances of the coordinates (amu A^2) and of the velocities (amu A^2/ps^2) of all modes."""
        speed = self._energies_eV() / eV_PER_AMU_A2_PS2
        omega = self.frequencies_per_ps
        with np.errstate(divide="ignore", invalid="ignore"):
            place = np.where(omega > 0, speed / omega**2, 0.0)
        return place, speed

    def mean_square_displacement_A2(self) -> Array:
        """Return u^2 along each axis of the atoms of one cell, (n, 3)."""
        place, _ = self._variances()
        return np.asarray(self._of_atoms(place) / self.masses_u[:, None])

    def _of_atoms(self, of_modes: Array) -> Array:
        """Return what modes give the coordinates of the atoms of one cell, by their share in each, (n, 3)."""
        shares = np.abs(self._modes[1]) ** 2
        return np.asarray(np.mean(np.sum(shares * of_modes[..., None, :], axis=-1), axis=(0, 1, 2)).reshape(-1, 3))

    def draw(self, rng: np.random.Generator) -> tuple[Array, Array]:
        """Return displacements (A) and velocities (A/ps) of all atoms, (n_atoms, 3) each, drawn at random."""
        shape = (*self.stiffness.force_constants_eV_A2.shape[1:4], 3 * len(self.masses_u))
        mass = np.repeat(self.masses_u, 3)
        drawn = []
        for variance in self._variances():
            at_q = np.fft.fftn(rng.normal(size=shape), axes=(0, 1, 2))
            vectors = self._modes[1]
            in_modes = (np.conj(np.swapaxes(vectors, -1, -2)) @ at_q[..., None])[..., 0]
            field = np.real(
                np.fft.ifftn((vectors @ (np.sqrt(variance) * in_modes)[..., None])[..., 0], axes=(0, 1, 2))
            )
            drawn.append((field / np.sqrt(mass)).reshape(-1, 3))
        return drawn[0], drawn[1]


def vibrations_of(stiffness: Stiffness, *, masses_u: ArrayLike, temperature_K: float) -> Vibrations:
    """Return the vibrations of a box whose atoms stand cell by cell, of the masses of all of them."""
    n = stiffness.force_constants_eV_A2.shape[0] // 3
    return Vibrations(
        stiffness=stiffness, masses_u=np.asarray(masses_u, dtype=np.float64)[:n], temperature_K=temperature_K
    )
