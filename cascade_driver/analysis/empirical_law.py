"""The stored energies of a campaign as their own distribution, for data that refuse every shape."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy
from numpy.typing import ArrayLike

from cascade_driver.analysis.outcomes import UsableCascades, effective_number
from cascade_driver.errors import FitError, InputError
from cascade_driver.kinds import Array

#: No kernel is narrower than this share of the mean stored energy of its recoil energy: a line stays a line, and a
#: response does not need bins without end.
NARROWEST_KERNEL = 0.02

#: Points of the table behind a quantile.
QUANTILE_POINTS = 512


@dataclass(frozen=True, kw_only=True)
class EmpiricalDistribution:
    r"""Density of the non-zero stored energy made of the cascades themselves, normalised on [0, E_R].

    .. math::
        f(E_s \mid E_R) = \sum_k h_k(E_R) \sum_{i \in k} w_i\,
        K_k\!\left[E_s - s_i \frac{M(E_R)}{M(E_k)}\right], \qquad \sum_{i \in k} w_i = 1

    over the simulated energies k at which something was stored. :math:`h_k` is a hat that falls linearly to zero
    at the neighbouring ones, held beyond the first and the last. M is the mean stored energy, a monotone cubic
    through the means and the origin (Fritsch & Carlson 1980, doi:10.1137/0717021), above the last one proportional
    to :math:`E_R`. K is a Gaussian of Silverman's width (1986, Eq. 3.31), cut to [0, E_R] and normalised there.

    Attributes
    ----------
    shape : 'empirical'
    knots_eV : (k,) float
        Recoil energies at which cascades stored energy.
    knot : (c,) int
        Knot of each of these cascades.
    stored_energy_eV, weight : (c,) float
        What it stored, and its share of its knot.
    bandwidth_eV : (k,) float

    Raises
    ------
    InputError
        If numbers do not fit together.
    """

    knots_eV: tuple[float, ...]
    knot: tuple[int, ...]
    stored_energy_eV: tuple[float, ...]
    weight: tuple[float, ...]
    bandwidth_eV: tuple[float, ...]
    shape: Literal["empirical"] = "empirical"

    def __post_init__(self) -> None:
        n, k = len(self.knot), len(self.knots_eV)
        numbers = (*self.knots_eV, *self.stored_energy_eV, *self.weight, *self.bandwidth_eV)
        if not (
            set(self.knot) == set(range(k))
            and len(self.stored_energy_eV) == len(self.weight) == n
            and len(self.bandwidth_eV) == k > 0
            and np.all(np.isfinite(numbers))
            and min(*self.bandwidth_eV, *self.stored_energy_eV, self.knots_eV[0]) > 0
            and np.all(np.diff(self.knots_eV) > 0)
        ):
            raise InputError(
                f"empirical distribution of {n} stored energies at {k} recoil energies: rising energies, each "
                "with positive stored energies, weights and a bandwidth are expected; mend the file"
            )

    @property
    def lowest_energy_eV(self) -> float:
        """Lowest recoil energy that stored energy."""
        return self.knots_eV[0]

    @property
    def _mean_at_knots(self) -> Array:
        of_each = np.array(self.weight) * np.array(self.stored_energy_eV)
        return np.bincount(self.knot, of_each, len(self.knots_eV)).astype(np.float64)

    def hats(self, recoil_energy_eV: ArrayLike) -> Array:
        """Return the shares h_k of each knot, (k, ...), at recoil energies of any shape."""
        energy = np.asarray(recoil_energy_eV, dtype=np.float64)
        return np.stack([np.interp(energy, self.knots_eV, row) for row in np.eye(len(self.knots_eV))])

    def _scale(self, recoil_energy_eV: Array) -> Array:
        """Return M(E_R) in eV."""
        knots, mean = (np.concatenate([[0.0], a]) for a in (self.knots_eV, self._mean_at_knots))
        top = knots[-1]
        beyond = np.maximum(recoil_energy_eV / top, 1.0)
        return np.asarray(
            scipy.interpolate.PchipInterpolator(knots, mean)(np.minimum(recoil_energy_eV, top)) * beyond
        )

    def parts(self, recoil_energy_eV: Array) -> Iterator[tuple[int, Array, Array, Array]]:
        """Yield number, share, location and width in eV of the kernel of each cascade at recoil energies (...)."""
        hats, scale, mean = self.hats(recoil_energy_eV), self._scale(recoil_energy_eV), self._mean_at_knots
        for number, (k, stored) in enumerate(zip(self.knot, self.stored_energy_eV, strict=True)):
            moved = scale / mean[k]
            yield number, hats[k], stored * moved, np.maximum(self.bandwidth_eV[k] * moved, 1e-9)

    def location_at(self, recoil_energy_eV: ArrayLike) -> Array:
        """Return M, the mean location of the kernels, in eV at recoil energies of any shape."""
        return self._scale(np.asarray(recoil_energy_eV, dtype=np.float64))

    def widths_at(self, recoil_energy_eV: ArrayLike) -> tuple[Array, Array]:
        """Return the widths in eV of the kernels, left and right, at recoil energies of any shape."""
        energy = np.asarray(recoil_energy_eV, dtype=np.float64)
        relative = np.array(self.bandwidth_eV) / self._mean_at_knots
        width = self._scale(energy) * np.tensordot(relative, self.hats(energy), axes=1)
        return np.asarray(width), np.asarray(width)

    def mean_eV(self, recoil_energy_eV: ArrayLike) -> Array:
        """Return the mean stored energy in eV, in the shape of the recoil energy."""
        energy = np.asarray(recoil_energy_eV, dtype=np.float64)
        total = np.zeros_like(energy)
        for number, share, location, width in self.parts(energy):
            low, high = -location / width, (energy - location) / width
            bell = np.exp(-0.5 * low**2) - np.exp(-0.5 * high**2)
            inside = np.maximum(scipy.special.ndtr(high) - scipy.special.ndtr(low), 1e-300)
            total += self.weight[number] * share * (location + width * bell / inside / np.sqrt(2 * np.pi))
        return np.clip(total, 0.0, energy)

    def log_density(self, stored_energy_eV: ArrayLike, recoil_energy_eV: ArrayLike) -> Array:
        """Return ln f in ln(1/eV); minus infinity outside [0, E_R]. The arguments broadcast."""
        stored, energy = np.broadcast_arrays(*np.atleast_1d(stored_energy_eV, recoil_energy_eV))
        density = np.zeros(energy.shape)
        for number, share, location, width in self.parts(energy.astype(np.float64)):
            inside = scipy.special.ndtr((energy - location) / width) - scipy.special.ndtr(-location / width)
            bell = np.exp(-0.5 * ((stored - location) / width) ** 2) / (width * np.sqrt(2 * np.pi))
            density += self.weight[number] * share * bell / np.maximum(inside, 1e-300)
        with np.errstate(divide="ignore"):
            return np.where((stored >= 0) & (stored <= energy), np.log(density), -np.inf)

    def cumulative(self, stored_energy_eV: ArrayLike, recoil_energy_eV: ArrayLike) -> Array:
        """Return the probability that a damaging recoil stores at most this energy; the arguments broadcast.

        Exactly 0 up to zero and exactly 1 from E_R on.
        """
        energy = np.asarray(recoil_energy_eV, dtype=np.float64)
        stored = np.clip(np.asarray(stored_energy_eV, dtype=np.float64), 0.0, energy)
        value = np.zeros(np.broadcast(stored, energy).shape)
        for number, share, location, width in self.parts(energy):
            of_zero, whole = scipy.special.ndtr(-location / width), scipy.special.ndtr((energy - location) / width)
            part = (scipy.special.ndtr((stored - location) / width) - of_zero) / np.maximum(
                whole - of_zero, 1e-300
            )
            value += self.weight[number] * share * part
        return np.where(stored >= energy, 1.0, np.clip(value, 0.0, 1.0))

    def quantile(self, probability: ArrayLike, recoil_energy_eV: ArrayLike) -> Array:
        """Return the stored energy (eV) below which this share of damaging recoils lies; broadcasts."""
        share, energy = np.broadcast_arrays(*np.atleast_1d(probability, recoil_energy_eV))
        known, place = np.unique(energy.ravel().astype(np.float64), return_inverse=True)
        found = np.empty(energy.size)
        for number, one in enumerate(known):
            stored = np.linspace(0.0, one, QUANTILE_POINTS)
            rows = np.flatnonzero(place == number)
            found[rows] = np.interp(share.ravel()[rows], self.cumulative(stored, one), stored)
        return found.reshape(energy.shape)


def empirical_distribution(cascades: UsableCascades) -> EmpiricalDistribution:
    """Return the distribution that the cascades which stored energy make themselves.

    Raises
    ------
    FitError
        If no cascade stored energy.
    """
    hit = cascades.stores_energy
    if not hit.any():
        raise FitError(f"{cascades.species}: no cascade stored energy; simulate higher recoil energies")
    stored, w = cascades.stored_energy_eV[hit], cascades.weight[hit]
    knots, knot = np.unique(cascades.recoil_energy_eV[hit], return_inverse=True)
    weight = w / np.bincount(knot, w)[knot]
    return EmpiricalDistribution(
        knots_eV=tuple(map(float, knots)),
        knot=tuple(map(int, knot)),
        stored_energy_eV=tuple(map(float, stored)),
        weight=tuple(map(float, weight)),
        bandwidth_eV=tuple(kernel_width_eV(stored[knot == k], w[knot == k]) for k in range(len(knots))),
    )


def kernel_width_eV(stored_energy_eV: Array, weight: Array) -> float:
    """Return Silverman's width, 0.9 min(sigma, IQR / 1.34) n^(-1/5), and no less than a share of the mean."""
    mean = float(np.average(stored_energy_eV, weights=weight))
    spread = float(np.sqrt(np.average((stored_energy_eV - mean) ** 2, weights=weight)))
    quartiles = float(np.diff(np.percentile(stored_energy_eV, [25, 75]))[0]) / 1.34
    narrow = min(spread, quartiles) if quartiles > 0 else spread
    return float(max(0.9 * narrow * effective_number(weight) ** -0.2, NARROWEST_KERNEL * mean))
