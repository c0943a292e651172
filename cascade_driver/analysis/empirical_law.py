"""The stored energies of a campaign as their own distribution, for data that refuse every shape."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from cascade_driver.analysis.outcomes import FARTHEST_LOCATION_eV, UsableCascades, effective_number
from cascade_driver.errors import FitError, InputError
from cascade_driver.kinds import Array

#: No kernel is narrower than this share of the mean stored energy of its recoil energy: a line stays a line, and a
#: response does not need bins without end.
NARROWEST_KERNEL = 0.02

#: Points of the table behind a quantile.
QUANTILE_POINTS = 512

#: Widths beyond which a kernel has ended: 1e-12 of it.
REACH = 7

#: Nodes per width of the table of a mixture: a cubic between them is right to h^4 / 384 of the fourth derivative,
#: 1e-7 of a kernel.
PER_WIDTH = 12


class Part(NamedTuple):
    """The kernel of one cascade at the recoil energies for which it speaks.

    Attributes
    ----------
    number : int
        Of the cascade.
    at : (n,) int
        Which of the recoil energies, flat.
    share : (n,) float
        Of its knot there, above 0.
    location_eV, width_eV : (n,) float
    """

    number: int
    at: NDArray[np.int64]
    share: Array
    location_eV: Array
    width_eV: Array


class _Mixture(NamedTuple):
    """The kernels of one knot together, at its own energy: the law of E_s M(E_k) / M(E_R), but for the cut at E_R.

    Attributes
    ----------
    cumulative : CubicHermiteSpline
        Sum of w_i Phi[(u - s_i) / b] / Phi(s_i / b) less its value at zero, u in eV.
    stored_energy_eV, weight : (c,) float
    bandwidth_eV : float
    mean_eV : float
    """

    cumulative: scipy.interpolate.CubicHermiteSpline
    stored_energy_eV: Array
    weight: Array
    bandwidth_eV: float
    mean_eV: float

    def up_to(self, moved_eV: Array, end_eV: Array) -> Array:
        """Return the share of kernels below (n,) energies, each kernel cut at (n,) ends and normalised there."""
        nodes = self.cumulative.x
        value = np.asarray(self.cumulative(np.clip(moved_eV, nodes[0], nodes[-1])))
        for stored, weight, at in self._cut(end_eV):
            part = _below(moved_eV[at], stored, self.bandwidth_eV)
            whole = _below(end_eV[at], stored, self.bandwidth_eV)
            uncut = scipy.special.ndtr(stored / self.bandwidth_eV)
            value[at] += weight * part * (1 / np.maximum(whole, 1e-300) - 1 / uncut)
        return value

    def mean_below(self, end_eV: Array) -> Array:
        """Return the mean in eV of the kernels, each cut at (n,) ends."""
        value = np.full(end_eV.shape, self.mean_eV)
        for stored, weight, at in self._cut(end_eV):
            cut = _mean_of_kernel(stored, self.bandwidth_eV, end_eV[at])
            value[at] += weight * (cut - _mean_of_kernel(stored, self.bandwidth_eV, np.inf))
        return value

    def _cut(self, end_eV: Array) -> Iterator[tuple[float, float, NDArray[np.int64]]]:
        """Yield stored energy and weight of each cascade that some ends cut, and which ends."""
        reach = REACH * self.bandwidth_eV
        for i in np.flatnonzero(self.stored_energy_eV > end_eV.min(initial=np.inf) - reach):
            stored = float(self.stored_energy_eV[i])
            yield stored, float(self.weight[i]), np.flatnonzero(end_eV < stored + reach)


def _below(energy_eV: Array, stored: float, width: float) -> Array:
    return np.asarray(scipy.special.ndtr((energy_eV - stored) / width) - scipy.special.ndtr(-stored / width))


def _mean_of_kernel(stored_eV: ArrayLike, width_eV: float, end_eV: ArrayLike) -> Array:
    """Return the mean of a Gaussian that is cut to [0, end], in eV."""
    low, high = -np.asarray(stored_eV) / width_eV, (np.asarray(end_eV) - stored_eV) / width_eV
    bell = np.exp(-0.5 * low**2) - np.exp(-0.5 * high**2)
    inside = np.maximum(scipy.special.ndtr(high) - scipy.special.ndtr(low), 1e-300)
    return np.asarray(stored_eV + width_eV * bell / inside / np.sqrt(2 * np.pi))


def _mixture(stored_eV: Array, weight: Array, width_eV: float) -> _Mixture:
    """Return the mixture of Gaussians about (c,) stored energies, tabulated where one of them lies.

    Each Gaussian is evaluated within its reach alone, so that the cost does not depend on the range of energies.
    """
    step = width_eV / PER_WIDTH
    home = np.floor(stored_eV / step).astype(np.int64)
    offsets = np.arange(-REACH * PER_WIDTH, REACH * PER_WIDTH + 2)
    nodes = np.unique(np.unique(home)[:, None] + offsets)
    of_each = weight / scipy.special.ndtr(stored_eV / width_eV)
    # beyond its reach a cascade counts whole
    ended = np.searchsorted(nodes, home + offsets[-1] + 1)
    value = np.cumsum(np.bincount(ended, of_each, len(nodes) + 1))[:-1]
    slope = np.zeros(len(nodes))
    for offset in offsets:
        place = np.searchsorted(nodes, home + offset)
        z = ((home + offset) * step - stored_eV) / width_eV
        value += np.bincount(place, of_each * scipy.special.ndtr(z), len(nodes))
        slope += np.bincount(place, of_each * np.exp(-0.5 * z**2), len(nodes))
    slope /= width_eV * np.sqrt(2 * np.pi)
    of_zero = float(of_each @ scipy.special.ndtr(-stored_eV / width_eV))
    return _Mixture(
        cumulative=scipy.interpolate.CubicHermiteSpline(nodes * step, value - of_zero, slope),
        stored_energy_eV=stored_eV,
        weight=weight,
        bandwidth_eV=width_eV,
        mean_eV=float(weight @ _mean_of_kernel(stored_eV, width_eV, np.inf)),
    )


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
            and np.all(np.abs(numbers) <= FARTHEST_LOCATION_eV)
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

    @functools.cached_property
    def _mixtures(self) -> tuple[_Mixture, ...]:
        """The kernels of each knot, tabulated when they are first asked for."""
        knot, stored, weight = np.array(self.knot), np.array(self.stored_energy_eV), np.array(self.weight)
        return tuple(_mixture(stored[knot == k], weight[knot == k], b) for k, b in enumerate(self.bandwidth_eV))

    def _at_knots(self, energy: Array) -> Iterator[tuple[int, NDArray[np.int64], Array, Array]]:
        """Yield each knot, which of (n,) energies it speaks for, its share there, and M(E_R) / M(E_k)."""
        scale, mean = self._scale(energy), self._mean_at_knots
        for k, hat in enumerate(self.hats(energy)):
            at = np.flatnonzero(hat > 0)
            yield k, at, hat[at], np.maximum(scale[at] / mean[k], 1e-12)

    def parts(self, recoil_energy_eV: Array) -> Iterator[Part]:
        """Yield the kernel of each cascade at the recoil energies (n,) for which it speaks."""
        near = {k: (at, share, moved) for k, at, share, moved in self._at_knots(recoil_energy_eV)}
        for number, (k, stored) in enumerate(zip(self.knot, self.stored_energy_eV, strict=True)):
            at, share, moved = near[k]
            if len(at):
                yield Part(number, at, share, stored * moved, np.maximum(self.bandwidth_eV[k] * moved, 1e-9))

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
        flat, total = energy.ravel(), np.zeros(energy.size)
        for k, at, share, moved in self._at_knots(flat):
            total[at] += share * moved * self._mixtures[k].mean_below(flat[at] / moved)
        return np.clip(total.reshape(energy.shape), 0.0, energy)

    def log_density(self, stored_energy_eV: ArrayLike, recoil_energy_eV: ArrayLike) -> Array:
        """Return ln f in ln(1/eV); minus infinity outside [0, E_R]. The arguments broadcast."""
        stored, energy = np.broadcast_arrays(*np.atleast_1d(stored_energy_eV, recoil_energy_eV))
        flat, of = energy.ravel().astype(np.float64), stored.ravel()
        density = np.zeros(energy.size)
        # no table: a logarithm needs the digits of what is tiny, too
        for number, at, share, location, width in self.parts(flat):
            inside = scipy.special.ndtr((flat[at] - location) / width) - scipy.special.ndtr(-location / width)
            bell = np.exp(-0.5 * ((of[at] - location) / width) ** 2) / (width * np.sqrt(2 * np.pi))
            density[at] += self.weight[number] * share * bell / np.maximum(inside, 1e-300)
        with np.errstate(divide="ignore"):
            found = np.where((of >= 0) & (of <= flat), np.log(density), -np.inf)
        return np.asarray(found.reshape(energy.shape))

    def cumulative(self, stored_energy_eV: ArrayLike, recoil_energy_eV: ArrayLike) -> Array:
        """Return the probability that a damaging recoil stores at most this energy; the arguments broadcast.

        Exactly 0 up to zero and exactly 1 from E_R on; in between right to 1e-7, by a table of each knot.
        """
        given, energy = np.broadcast_arrays(
            np.asarray(stored_energy_eV, dtype=np.float64), np.asarray(recoil_energy_eV, dtype=np.float64)
        )
        flat, stored = energy.ravel(), np.clip(given, 0.0, energy).ravel()
        value = np.zeros(energy.size)
        known, place = np.unique(flat, return_inverse=True)
        for k, at, share, moved in self._at_knots(known):
            column = np.full(len(known), -1)
            column[at] = np.arange(len(at))
            of = column[place]
            rows = np.flatnonzero(of >= 0)
            of = of[rows]
            reached = self._mixtures[k].up_to(stored[rows] / moved[of], flat[rows] / moved[of])
            value[rows] += share[of] * reached
        value = np.where(stored >= flat, 1.0, np.where(stored > 0, np.clip(value, 0.0, 1.0), 0.0))
        return np.asarray(value.reshape(energy.shape))

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
    """Return Silverman's width, 0.9 min(sigma, IQR / 1.34) n^(-1/5), and no less than a share of the mean.

    Standard deviation and quartiles are those of the weighted cascades, n is their `effective_number`.
    """
    mean = float(np.average(stored_energy_eV, weights=weight))
    spread = float(np.sqrt(np.average((stored_energy_eV - mean) ** 2, weights=weight)))
    sides = np.percentile(stored_energy_eV, [25, 75], weights=weight, method="inverted_cdf")
    quartiles = float(sides[1] - sides[0]) / 1.34
    narrow = min(spread, quartiles) if quartiles > 0 else spread
    return float(max(0.9 * narrow * effective_number(weight) ** -0.2, NARROWEST_KERNEL * mean))
