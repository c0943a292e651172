"""The distribution of the energy that a damaging recoil leaves in the crystal, and its fit to a campaign."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy
from iminuit import Minuit
from numpy.polynomial import polynomial
from numpy.typing import ArrayLike

from cascade_driver.analysis.empirical_law import EmpiricalDistribution
from cascade_driver.analysis.estimation import FitHealth, Goodness, Independence, sandwich_covariance, symbol_of
from cascade_driver.analysis.outcomes import UsableCascades, effective_number
from cascade_driver.errors import FitError, InputError
from cascade_driver.kinds import Array

Shape = Literal["gaussian", "split_gaussian"]
SHAPES: tuple[Shape, ...] = ("gaussian", "split_gaussian")

#: An energy with fewer events says little about a width; the order of ln sigma counts only the others.
SMALLEST_GROUP_FOR_A_WIDTH = 5

#: No coefficient of ln sigma may move further from its start: a factor of 55 in the width.
LOG_RANGE = 4.0

#: Nor one of the asymmetry further from zero: widths that differ by a factor of 20 are half a Gaussian to any
#: campaign, and the likelihood of a few events often runs there.
ASYMMETRY_RANGE = 1.5

_SQRT_2PI = float(np.sqrt(2 * np.pi))
#: Below this a normalisation is recomputed with logarithms: the location is more than 30 widths outside.
_SMALL = 1e-200
#: Over so small a part of a width the density is constant to this precision, and differences of tails are noise.
_FLAT = 1e-7
#: Reached only on a side of the location that holds nothing, where two equal terms cancel.
_LARGEST_EXPONENT = 600.0


def _tail(edge: Array, location: Array, left: Array, right: Array) -> Array:
    """Return the integral of exp(-z^2 / 2) from `edge` outward, away from the location."""
    distance = edge - location
    side = np.where(distance < 0, left, right)
    return np.asarray(_SQRT_2PI * side * scipy.special.ndtr(-np.abs(distance) / side))


def _mass(lower: Array, upper: Array, location: Array, left: Array, right: Array) -> Array:
    """Return the integral of exp(-z^2 / 2) from `lower` to `upper`, without cancellation in the tails."""
    from_lower, from_upper = _tail(lower, location, left, right), _tail(upper, location, left, right)
    both_sides = _SQRT_2PI * (left + right) / 2 - from_lower - from_upper
    one_side = np.abs(from_upper - from_lower)
    return np.where((lower < location) & (upper > location), both_sides, one_side)


def truncated_mean_eV(recoil_energy_eV: Array, location_eV: Array, left_eV: Array, right_eV: Array) -> Array:
    """Return the mean of split Gaussians truncated to [0, E_R], see `StoredEnergyDistribution.mean_eV`."""
    low, high = np.zeros_like(recoil_energy_eV), recoil_energy_eV
    log_mass = _log_mass(low, high, location_eV, left_eV, right_eV)

    def weight(edge: Array, side: Array) -> Array:
        z = (edge - location_eV) / side
        return np.asarray(side**2 * np.exp(np.minimum(-0.5 * z * z - log_mass, _LARGEST_EXPONENT)))

    below = weight(np.minimum(low, location_eV), left_eV) - weight(np.minimum(high, location_eV), left_eV)
    above = weight(np.maximum(low, location_eV), right_eV) - weight(np.maximum(high, location_eV), right_eV)
    return np.asarray(np.clip(location_eV + below + above, 0.0, recoil_energy_eV))


def _log_mass(lower: Array, upper: Array, location: Array, left: Array, right: Array) -> Array:
    """Return the logarithm of `_mass`, also where that is too small for a float."""
    sides = (
        (left, np.minimum(lower, location) - location, np.minimum(upper, location) - location),
        (right, location - np.maximum(upper, location), location - np.maximum(lower, location)),
    )
    parts = []
    with np.errstate(divide="ignore"):
        for side, outer, inner in sides:
            far, near = outer / side, inner / side
            between = near - far
            log_near = scipy.special.log_ndtr(near)
            log_tails = log_near + np.log1p(-np.exp(np.minimum(scipy.special.log_ndtr(far) - log_near, 0.0)))
            log_flat = np.log(between) - 0.5 * near * near - np.log(_SQRT_2PI)
            flat = between * (1 + np.abs(near)) < _FLAT
            parts.append(np.log(_SQRT_2PI * side) + np.where(flat, log_flat, log_tails))
    return np.asarray(np.logaddexp(*parts))


@dataclass(frozen=True, kw_only=True)
class StoredEnergyDistribution:
    r"""Density of the non-zero stored energy at a given recoil energy, normalised on [0, E_R].

    .. math::
        f(E_s \mid E_R) = \frac{\exp(-z^2 / 2)}{\int_0^{E_R} \exp(-z'^2 / 2)\, dE_s'}, \qquad
        z = \frac{E_s - m}{\sigma e^{\mp a}}

    with the upper sign for :math:`E_s < m`. All parameters are polynomials in
    :math:`u = (E_R - E_\mathrm{ref}) / E_\mathrm{scale}`:

    .. math:: m = \sum_k m_k u^k, \qquad \ln \sigma = \sum_k s_k u^k, \qquad a = \sum_k a_k u^k .

    The regular (a = 0) and the asymmetric Gaussian of Soum-Sidikov et al. 2024. Asymmetric means two half
    Gaussians that meet at the mode, not Azzalini's skew-normal: the latter's information matrix is singular
    where the skewness vanishes and its likelihood often has no maximum for few events, so neither its errors
    nor its comparison with the Gaussian would mean anything. The logarithm of the width keeps it positive at
    every recoil energy.

    Below `lowest_energy_eV` the polynomials have seen no data. There the location is taken proportional to
    :math:`E_R` and widths and asymmetry are held.

    Attributes
    ----------
    shape : {'gaussian', 'split_gaussian'}
    reference_energy_eV, energy_scale_eV : float
        Of the polynomial variable.
    lowest_energy_eV : float
        Lowest recoil energy whose stored energies were fitted.
    location_eV : tuple of float
        :math:`m_k`. The mode of the untruncated density, which is not the mean: see `mean_eV`.
    log_sigma : tuple of float
        :math:`s_k`, of the width in eV.
    asymmetry : tuple of float
        :math:`a_k`, half the logarithm of the ratio of right to left width; empty for the Gaussian.

    Raises
    ------
    InputError
        If the shape is unknown, a parameter missing or not finite, or the scale not positive.

    Examples
    --------
    >>> f = StoredEnergyDistribution(shape="gaussian", reference_energy_eV=100.0, energy_scale_eV=50.0,
    ...                              lowest_energy_eV=40.0, location_eV=(9.0, 2.0), log_sigma=(1.0,))
    >>> float(f.location_at(150.0)), float(f.cumulative(150.0, 150.0))
    (11.0, 1.0)
    """

    shape: Shape
    reference_energy_eV: float
    energy_scale_eV: float
    lowest_energy_eV: float
    location_eV: tuple[float, ...]
    log_sigma: tuple[float, ...]
    asymmetry: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.shape not in SHAPES:
            raise InputError(f"unknown shape {self.shape!r} of a stored-energy distribution: use one of {SHAPES}")
        if not self.location_eV or not self.log_sigma or bool(self.asymmetry) != (self.shape == "split_gaussian"):
            raise InputError(
                f"{self.shape} with {len(self.location_eV)} location, {len(self.log_sigma)} log_sigma and "
                f"{len(self.asymmetry)} asymmetry coefficients: location and log_sigma need one or more, "
                "asymmetry one or more for a split_gaussian and none for a gaussian"
            )
        numbers = (
            *self.location_eV,
            *self.log_sigma,
            *self.asymmetry,
            self.reference_energy_eV,
            self.lowest_energy_eV,
        )
        if not (np.isfinite(numbers).all() and 0 < self.energy_scale_eV < np.inf and self.lowest_energy_eV > 0):
            raise InputError(
                "stored-energy distribution with a coefficient that is not finite, or a scale or lowest "
                "energy that is not positive: mend the input"
            )

    @property
    def formula(self) -> str:
        """The density in one line, with the letters of `estimation.symbol_of`."""
        width, sides = ("2(σ e^(∓a))²", ", the upper sign below m") if self.asymmetry else ("2σ²", "")
        rows = (("m", "m", self.location_eV), ("ln(σ/eV)", "s", self.log_sigma), ("a", "a", self.asymmetry))
        series = ", ".join(f"{what} = {_series(letter, len(row))}" for what, letter, row in rows if row)
        variable = f"u = (E_R − {self.reference_energy_eV:g} eV) / {self.energy_scale_eV:g} eV"
        return f"f(E_s) ∝ exp(−(E_s − m)² / {width}) on [0, E_R]{sides}; {series}; {variable}"

    def _parameters(self, recoil_energy_eV: ArrayLike) -> tuple[Array, Array, Array]:
        """Return location, left width and right width, each in the shape of the recoil energy."""
        energy = np.asarray(recoil_energy_eV, dtype=np.float64)
        held = np.maximum(energy, self.lowest_energy_eV)
        u = (held - self.reference_energy_eV) / self.energy_scale_eV
        sigma = np.exp(polynomial.polyval(u, np.array(self.log_sigma)))
        ratio = np.exp(polynomial.polyval(u, np.array(self.asymmetry or (0.0,))))
        location = polynomial.polyval(u, np.array(self.location_eV)) * (energy / held)
        return np.asarray(location), np.asarray(sigma / ratio), np.asarray(sigma * ratio)

    def _whole(self, recoil_energy_eV: Array) -> tuple[Array, Array, Array, Array]:
        """Return `_parameters`, and the logarithm of the integral of exp(-z^2 / 2) over [0, E_R]."""
        parameters = self._parameters(recoil_energy_eV)
        return (*parameters, _log_mass(np.zeros_like(recoil_energy_eV), recoil_energy_eV, *parameters))

    def location_at(self, recoil_energy_eV: ArrayLike) -> Array:
        """Return the location m in eV at recoil energies of any shape."""
        return self._parameters(recoil_energy_eV)[0]

    def widths_at(self, recoil_energy_eV: ArrayLike) -> tuple[Array, Array]:
        """Return the widths in eV left and right of the location, at recoil energies of any shape."""
        return self._parameters(recoil_energy_eV)[1:]

    def mean_eV(self, recoil_energy_eV: ArrayLike) -> Array:
        r"""Return the mean stored energy in eV, after truncation to [0, E_R].

        .. math::
            \langle E_s \rangle = m + \frac{1}{N} \left[ \sigma_R^2 e^{-z^2/2} - \sigma_L^2 e^{-z^2/2} \right]

        over the part of [0, E_R] on each side of m, with N the normalisation.
        """
        energy = np.asarray(recoil_energy_eV, dtype=np.float64)
        return truncated_mean_eV(energy, *self._parameters(energy))

    def log_density(self, stored_energy_eV: ArrayLike, recoil_energy_eV: ArrayLike) -> Array:
        """Return ln f in ln(1/eV); minus infinity outside [0, E_R]. The arguments broadcast."""
        stored, energy = np.broadcast_arrays(*np.atleast_1d(stored_energy_eV, recoil_energy_eV))
        location, left, right, log_whole = _of_each(energy, self._whole)
        z = (stored - location) / np.where(stored < location, left, right)
        value = -0.5 * z * z - log_whole
        return np.where((stored >= 0) & (stored <= energy), value, -np.inf)

    def cumulative(self, stored_energy_eV: ArrayLike, recoil_energy_eV: ArrayLike) -> Array:
        r"""Return the probability that a damaging recoil stores at most this energy.

        .. math:: F(E_s \mid E_R) = \int_0^{E_s} f(x \mid E_R)\, dx

        Exactly 0 up to zero and exactly 1 from E_R on. The arguments (eV) broadcast; recoil energies must be
        positive.
        """
        energy = np.asarray(recoil_energy_eV, dtype=np.float64)
        location, left, right = self._parameters(energy)
        zero = np.zeros_like(energy)
        whole = _mass(zero, energy, location, left, right)
        stored = np.clip(np.asarray(stored_energy_eV, dtype=np.float64), 0.0, energy)
        sharpest = np.minimum(left, right)
        flat = energy * (1 + np.abs(location) / sharpest) < _FLAT * sharpest
        if np.all(flat | (whole > _SMALL)):
            share = _mass(zero, stored, location, left, right) / np.where(flat, 1.0, whole)
            return np.where(flat, stored / energy, share)
        log_part = _log_mass(zero, stored, location, left, right)
        share = np.exp(log_part - _log_mass(zero, energy, location, left, right))
        return np.where(flat, stored / energy, share)

    def quantile(self, probability: ArrayLike, recoil_energy_eV: ArrayLike) -> Array:
        """Return the stored energy (eV) below which this share of damaging recoils lies; broadcasts."""
        share, energy = np.broadcast_arrays(*np.atleast_1d(probability, recoil_energy_eV))
        energy = energy.astype(np.float64)

        def of_energy(at: Array) -> tuple[Array, ...]:
            location, left, right, log_whole = self._whole(at)
            log_left = _log_mass(np.zeros_like(at), np.clip(location, 0.0, at), location, left, right)
            return location, left, right, log_whole, np.exp(log_left - log_whole)

        location, left, right, log_whole, share_left = _of_each(energy, of_energy)
        zero = np.zeros_like(energy)
        is_left = share < share_left
        with np.errstate(divide="ignore", invalid="ignore"):
            # outward tail at the wanted point, as a logarithm: tail at the outer edge plus what lies between
            log_inside = np.where(is_left, np.log(share), np.log1p(-share)) + log_whole
            side = np.where(is_left, left, right)
            outer = np.where(
                is_left, np.minimum(zero, location) - location, location - np.maximum(energy, location)
            )
            log_tail = np.logaddexp(scipy.special.log_ndtr(outer / side), log_inside - np.log(_SQRT_2PI * side))
            z = scipy.special.ndtri_exp(np.minimum(log_tail, 0.0))
        return np.asarray(np.clip(location + np.where(is_left, z, -z) * side, 0.0, energy))


def _of_each(energy: Array, of_energy: Callable[[Array], tuple[Array, ...]]) -> tuple[Array, ...]:
    """Return what follows from recoil energies alone for each event: worked out once for each energy there is.

    Campaigns have thousands of events at a few energies, and logarithms of tails are what a fit waits for.
    """
    flat = np.asarray(energy, dtype=np.float64).ravel()
    knots, at = np.unique(flat, return_inverse=True)
    if 2 * len(knots) > len(flat):
        return of_energy(np.asarray(energy, dtype=np.float64))
    return tuple(one[at].reshape(np.shape(energy)) for one in of_energy(knots))


def _series(letter: str, number: int) -> str:
    """Return a polynomial in u.

    >>> _series("m", 3)
    'm₀ + m₁ u + m₂ u²'
    """
    powers = ("", " u", " u²", " u³", " u⁴")
    return " + ".join(symbol_of(f"{_LONG[letter]}_{k}").split()[0] + powers[min(k, 4)] for k in range(number))


#: Names of the rows of coefficients by their letters.
_LONG = {"m": "location", "s": "log_sigma", "a": "asymmetry"}


@dataclass(frozen=True, kw_only=True)
class StoredEnergySummary:
    """What the cascades of one recoil energy stored; no model enters.

    Attributes
    ----------
    recoil_energy_eV : float
    n_cascades, n_nonzero : int
        Usable cascades, and those of them that stored energy.
    mean_eV, standard_error_eV, rms_eV : float or None
        Weighted mean of the non-zero stored energies, its standard error, and their scatter about the mean;
        none where there are too few events.
    """

    recoil_energy_eV: float
    n_cascades: int
    n_nonzero: int
    mean_eV: float | None
    standard_error_eV: float | None
    rms_eV: float | None


@dataclass(frozen=True, kw_only=True)
class EnergyGoodness:
    """Weighted Cramer-von Mises distance at one recoil energy, and its bootstrap p-value."""

    recoil_energy_eV: float
    n_nonzero: int
    statistic: float
    p_value: float | None


@dataclass(frozen=True, kw_only=True)
class DistributionFit:
    """A stored-energy distribution fitted to a campaign, with all that says how far to trust it.

    Attributes
    ----------
    distribution : StoredEnergyDistribution or EmpiricalDistribution
        Of the latter, where the data refuse the shape, goodness and criteria are those of the shape, and there are
        no parameters.
    parameters : tuple of str
        `location_0_eV`, `log_sigma_0`, `asymmetry_0` and so on, in the order of `values`, `errors`,
        `covariance`.
    values, errors : tuple of float
    covariance : tuple of tuple of float
        (k, k) sandwich covariance.
    log_likelihood : float
        Weighted, with weights of mean 1 per recoil energy.
    akaike, bayes : float
        Information criteria of the effective number of events; the lower the better, and only differences
        between fits to the same cascades mean something.
    goodness : Goodness
        Cramer-von Mises, summed over the recoil energies.
    energies : tuple of EnergyGoodness
    summaries : tuple of StoredEnergySummary
    health : FitHealth
    independent : str
    n_events : int
    effective_number : float
    notes : tuple of str
    """

    distribution: StoredEnergyDistribution | EmpiricalDistribution
    parameters: tuple[str, ...]
    values: tuple[float, ...]
    errors: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]
    log_likelihood: float
    akaike: float
    bayes: float
    goodness: Goodness
    energies: tuple[EnergyGoodness, ...]
    summaries: tuple[StoredEnergySummary, ...]
    health: FitHealth
    independent: Independence
    n_events: int
    effective_number: float
    notes: tuple[str, ...]


def summarise_stored_energies(cascades: UsableCascades) -> tuple[StoredEnergySummary, ...]:
    r"""Return mean and scatter of the non-zero stored energies at each recoil energy.

    .. math::
        \bar E_s = \frac{\sum w E_s}{\sum w}, \qquad
        \delta \bar E_s = \frac{\sqrt{\sum w^2 (E_s - \bar E_s)^2}}{\sum w}
        \sqrt{\frac{n_\mathrm{eff}}{n_\mathrm{eff} - 1}}
    """
    rows = []
    for energy in np.unique(cascades.recoil_energy_eV):
        here = cascades.recoil_energy_eV == energy
        hit = here & cascades.stores_energy
        w, stored = cascades.weight[hit], cascades.stored_energy_eV[hit]
        n_eff = effective_number(w)
        mean = float(np.average(stored, weights=w)) if len(w) else None
        error = rms = None
        if mean is not None and n_eff > 1 + 1e-9:
            small = n_eff / (n_eff - 1)
            error = float(np.sqrt(small * np.sum(w**2 * (stored - mean) ** 2)) / w.sum())
            rms = float(np.sqrt(small * np.sum(w * (stored - mean) ** 2) / w.sum()))
        rows.append(
            StoredEnergySummary(
                recoil_energy_eV=float(energy),
                n_cascades=int(here.sum()),
                n_nonzero=int(hit.sum()),
                mean_eV=mean,
                standard_error_eV=error,
                rms_eV=rms,
            )
        )
    return tuple(rows)


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """How a vector of parameters becomes polynomials."""

    shape: Shape
    reference: float
    scale: float
    lowest: float
    n_location: int
    n_log_sigma: int
    n_asymmetry: int

    @classmethod
    def of(cls, distribution: StoredEnergyDistribution) -> _Layout:
        """Return the layout of a distribution that is there."""
        return cls(
            shape=distribution.shape,
            reference=distribution.reference_energy_eV,
            scale=distribution.energy_scale_eV,
            lowest=distribution.lowest_energy_eV,
            n_location=len(distribution.location_eV),
            n_log_sigma=len(distribution.log_sigma),
            n_asymmetry=len(distribution.asymmetry),
        )

    @property
    def names(self) -> tuple[str, ...]:
        return (
            *(f"location_{k}_eV" for k in range(self.n_location)),
            *(f"log_sigma_{k}" for k in range(self.n_log_sigma)),
            *(f"asymmetry_{k}" for k in range(self.n_asymmetry)),
        )

    def distribution(self, theta: ArrayLike) -> StoredEnergyDistribution:
        values = tuple(float(v) for v in np.asarray(theta))
        a, b = self.n_location, self.n_location + self.n_log_sigma
        return StoredEnergyDistribution(
            shape=self.shape,
            reference_energy_eV=self.reference,
            energy_scale_eV=self.scale,
            lowest_energy_eV=self.lowest,
            location_eV=values[:a],
            log_sigma=values[a:b],
            asymmetry=values[b:],
        )

    def score(self, theta: ArrayLike, stored: Array, energy: Array) -> Array:
        """Return (n, k) gradient of ln f of each event."""
        model = self.distribution(theta)

        def of_energy(at: Array) -> tuple[Array, ...]:
            location, left, right, log_mass = model._whole(at)

            def shifted(edge: Array, side: Array) -> tuple[Array, Array]:
                z = (edge - location) / side
                bell = np.exp(np.minimum(-0.5 * z * z - log_mass, _LARGEST_EXPONENT))
                return bell, z * bell

            at_zero, taken = np.zeros_like(at), []
            for side, inner in ((left, np.minimum), (right, np.maximum)):
                lower, upper = inner(at_zero, location), inner(at, location)
                part = np.exp(_log_mass(lower, upper, location, left, right) - log_mass)
                taken.append(part - side * (shifted(upper, side)[1] - shifted(lower, side)[1]))
            edge_low = shifted(at_zero, np.where(location > 0, left, right))[0]
            edge_high = shifted(at, np.where(at < location, left, right))[0]
            return location, left, right, *taken, edge_high - edge_low

        location, left, right, taken_left, taken_right, edges = _of_each(energy, of_energy)
        is_left = stored < location
        z = (stored - location) / np.where(is_left, left, right)
        by_log_side = np.where(is_left, z * z, 0.0) - taken_left, np.where(is_left, 0.0, z * z) - taken_right
        by_location = z / np.where(is_left, left, right) + edges
        u = (energy - self.reference) / self.scale
        columns = [
            *(by_location * u**k for k in range(self.n_location)),
            *((by_log_side[0] + by_log_side[1]) * u**k for k in range(self.n_log_sigma)),
            *((by_log_side[1] - by_log_side[0]) * u**k for k in range(self.n_asymmetry)),
        ]
        return np.stack(columns, axis=1)


def distribution_score(
    distribution: StoredEnergyDistribution, *, stored_energy_eV: Array, recoil_energy_eV: Array
) -> Array:
    r"""Return the gradient of :math:`\ln f` of each event by the coefficients, (n, k).

    In the order location, log_sigma, asymmetry; recoil energies (eV) not below `lowest_energy_eV`.
    """
    return _Layout.of(distribution).score(_coefficients(distribution), stored_energy_eV, recoil_energy_eV)


def _coefficients(distribution: StoredEnergyDistribution) -> Array:
    return np.array([*distribution.location_eV, *distribution.log_sigma, *distribution.asymmetry])


def _start(layout: _Layout, stored: Array, energy: Array, weight: Array) -> Array:
    """Return starting values from moments: a weighted line or parabola, and the scatter about it."""
    u = (energy - layout.reference) / layout.scale
    location = polynomial.polyfit(u, stored, layout.n_location - 1, w=np.sqrt(weight))
    scatter = stored - polynomial.polyval(u, location)
    sigma = max(float(np.sqrt(np.average(scatter**2, weights=weight))), 1e-3 * float(np.mean(stored)))
    theta = np.zeros(len(layout.names))
    theta[: layout.n_location] = location
    theta[layout.n_location] = np.log(sigma)
    return theta


def _minimise(layout: _Layout, stored: Array, energy: Array, weight: Array) -> Minuit:
    start = _start(layout, stored, energy, weight)

    def cost(theta: Array) -> float:
        return -float(weight @ layout.distribution(theta).log_density(stored, energy))

    def gradient(theta: Array) -> Array:
        return -(weight @ layout.score(theta, stored, energy))

    minuit = Minuit(cost, start, grad=gradient, name=layout.names)
    minuit.errordef = Minuit.LIKELIHOOD
    reach = 10 * float(stored.max())
    sigma = float(np.exp(start[layout.n_location]))
    for value, name in zip(start, layout.names, strict=True):
        span = {"l": LOG_RANGE, "a": ASYMMETRY_RANGE}[name[0]] if not name.endswith("_eV") else reach
        minuit.limits[name] = (value - span, value + span)
        minuit.errors[name] = sigma / 5 if name.endswith("_eV") else 0.1
    minuit.strategy = 1
    minuit.migrad()
    if not minuit.valid:  # few events: the second derivative of a split law jumps wherever m crosses one
        minuit.simplex().migrad()
    minuit.strategy = 2
    minuit.hesse()
    return minuit


class CramerVonMises:
    """The distances of Cramer and von Mises of the events of each recoil energy, with their weights."""

    def __init__(self, energy: Array, weight: Array) -> None:
        self.energies, self._group = np.unique(energy, return_inverse=True)
        n = np.bincount(self._group)
        self._first = np.concatenate([[0], np.cumsum(n)[:-1]])
        self._last = np.cumsum(n) - 1
        total = np.bincount(self._group, weight)
        self._weight = weight / total[self._group]
        self._effective = total**2 / np.bincount(self._group, weight**2)
        self.numbers = n

    def __call__(self, share: Array) -> Array:
        r"""Return n_eff times the integral of (F_w(u) - u)^2 over [0, 1], F_w the weighted empirical law, (k,)."""
        order = np.lexsort((share, self._group))
        u, w = share[order], self._weight[order]
        whole = np.cumsum(w)
        steps = whole - np.repeat(whole[self._first] - w[self._first], self.numbers)
        upper = np.append(u[1:], 1.0)
        upper[self._last] = 1.0
        cubes = np.add.reduceat((upper - steps) ** 3 - (u - steps) ** 3, self._first) + u[self._first] ** 3
        return np.asarray(self._effective * cubes / 3)


def _goodness(
    layout: _Layout,
    theta: Array,
    *,
    events: tuple[Array, Array, Array],
    inverse_hessian: Array,
    n_bootstrap: int,
    rng: np.random.Generator,
) -> tuple[Goodness, tuple[EnergyGoodness, ...]]:
    """Return the Cramer-von Mises test with p-values from simulated campaigns, each refitted by one Newton
    step.

    One step from the true parameters is as good as a full refit to leading order (Le Cam), and a thousandth
    of the work.
    """
    stored, energy, weight = events
    model = layout.distribution(theta)
    distance = CramerVonMises(energy, weight)

    def distances(values: Array, of: StoredEnergyDistribution) -> Array:
        return distance(of.cumulative(values, energy))

    observed = distances(stored, model)
    worse = np.zeros(len(observed))
    worse_sum = 0
    for _ in range(n_bootstrap):
        values = model.quantile(rng.random(len(energy)), energy)
        step = inverse_hessian @ (weight @ layout.score(theta, values, energy))
        simulated = distances(values, layout.distribution(theta + np.clip(step, -LOG_RANGE * 10, LOG_RANGE * 10)))
        worse += simulated >= observed
        worse_sum += int(simulated.sum() >= observed.sum())
    n = n_bootstrap + 1
    tested = n_bootstrap > 0
    total = Goodness(
        name="Cramer-von Mises",
        statistic=float(observed.sum()),
        degrees_of_freedom=None,
        p_value=(worse_sum + 1) / n if tested else None,
        method="parametric bootstrap" if tested else "none",
    )
    each = tuple(
        EnergyGoodness(
            recoil_energy_eV=float(distance.energies[i]),
            n_nonzero=int(distance.numbers[i]),
            statistic=float(observed[i]),
            p_value=float((worse[i] + 1) / n) if tested else None,
        )
        for i in range(len(observed))
    )
    return total, each


def _layout(
    cascades: UsableCascades, *, shape: Shape, order: int, log_sigma_order: int | None
) -> tuple[_Layout, tuple[str, ...]]:
    """Return which parameters the data can carry, or refuse."""
    if shape not in SHAPES:
        raise InputError(f"unknown shape {shape!r} of a stored-energy distribution: use one of {SHAPES}")
    if min(order, log_sigma_order or 0) < 0:
        raise InputError("the order of a polynomial cannot be negative")
    hit = cascades.stores_energy
    energies, n_events = np.unique(cascades.recoil_energy_eV[hit], return_counts=True)
    well_known = int(np.sum(n_events >= SMALLEST_GROUP_FOR_A_WIDTH))
    notes: tuple[str, ...] = ()
    if log_sigma_order is None:
        log_sigma_order = min(1, max(well_known - 1, 0))
        if log_sigma_order == 0:
            notes = (
                f"fewer than two recoil energies have {SMALLEST_GROUP_FOR_A_WIDTH} non-zero stored "
                "energies: the width of their distribution is taken as constant",
            )
    if log_sigma_order >= max(well_known, 1):
        raise FitError(
            f"{cascades.species}: a width of order {log_sigma_order} needs {log_sigma_order + 1} recoil "
            f"energies with at least {SMALLEST_GROUP_FOR_A_WIDTH} non-zero stored energies, there are "
            f"{well_known}: simulate more or lower log_sigma_order"
        )
    n_asymmetry = 1 if shape == "split_gaussian" else 0
    n_parameters = order + 1 + log_sigma_order + 1 + n_asymmetry
    wanted, apart = 2 * n_parameters, max(order + 1, n_asymmetry)
    if len(energies) < apart or hit.sum() < wanted:
        further = _further(cascades, wanted, apart - len(energies))
        raise FitError(
            f"{cascades.species}: {hit.sum()} non-zero stored energies at {len(energies)} recoil energ"
            f"{'y' if len(energies) == 1 else 'ies'} "
            f"cannot fix the {n_parameters} parameters of a {shape.replace('_', ' ')} of order {order}: at least "
            f"{wanted} events at {apart} energies are needed; {further}, or lower the order"
        )
    spread = (energies[-1] - energies[0]) / 2
    return (
        _Layout(
            shape=shape,
            reference=float((energies[0] + energies[-1]) / 2),
            scale=float(spread if spread > 0 else energies[0]),
            lowest=float(energies[0]),
            n_location=order + 1,
            n_log_sigma=log_sigma_order + 1,
            n_asymmetry=n_asymmetry,
        ),
        notes,
    )


def _further(cascades: UsableCascades, wanted: int, new_energies: int) -> str:
    """Return how many cascades bring the stored energies that are wanted, at the highest energy or above it."""
    hit, highest_eV = cascades.stores_energy, float(cascades.recoil_energy_eV.max())
    if new_energies > 0:
        above = [f"{(1 + 0.5 * k) * highest_eV:.3g}" for k in range(1, new_energies + 1)]
        return f"simulate {' and '.join(above)} eV too, {wanted} cascades each (directions times snapshots)"
    there = cascades.recoil_energy_eV == highest_eV
    share = (1 + int(hit[there].sum())) / (2 + int(there.sum()))  # Laplace's, for it may be nothing yet
    more = math.ceil((wanted - int(hit.sum())) / share)
    return f"simulate {more} more cascades at {highest_eV:g} eV (directions times snapshots)"


def fit_stored_energy_distribution(
    cascades: UsableCascades,
    *,
    shape: Shape = "gaussian",
    order: int = 1,
    log_sigma_order: int | None = None,
    independent: Independence = "cascade",
    n_bootstrap: int = 200,
    rng: np.random.Generator | None = None,
) -> DistributionFit:
    r"""Return the distribution that makes all non-zero stored energies most likely, at all recoil energies at
    once.

    .. math:: \ln L = \sum_{i:\, k_i = 1} w_i \ln f(E_{s,i} \mid E_{R,i})

    Unbinned. Goodness of fit: at each recoil energy
    :math:`n_\mathrm{eff} \int_0^1 (F_w(u) - u)^2 du` with :math:`u = F(E_s \mid E_R)`, and their sum, against
    campaigns simulated from the fit with the same energies and weights and refitted. Information criteria,
    with :math:`\ell = \ln L\, n_\mathrm{eff} / \sum w`: :math:`\mathrm{AIC} = 2k - 2\ell`,
    :math:`\mathrm{BIC} = k \ln n_\mathrm{eff} - 2\ell`.

    Parameters
    ----------
    cascades : UsableCascades
    shape : {'gaussian', 'split_gaussian'}
    order : int
        Of the location as a polynomial in the recoil energy.
    log_sigma_order : int, optional
        Of the logarithm of the width; by default 1, or 0 (with a note) where the events do not allow it.
    independent : {'cascade', 'direction'}
        As in `fit_defect_probability`.
    n_bootstrap : int
        Simulated campaigns for the p-values; 0 leaves them out.
    rng : numpy.random.Generator, optional
        For those; by default a fixed seed.

    Raises
    ------
    InputError
        If the shape is unknown or an order negative.
    FitError
        If the events cannot fix the parameters or the minimisation fails.
    """
    layout, notes = _layout(cascades, shape=shape, order=order, log_sigma_order=log_sigma_order)
    hit = cascades.stores_energy
    stored, energy = cascades.stored_energy_eV[hit], cascades.recoil_energy_eV[hit]
    weight = cascades.weight[hit]
    minuit = _minimise(layout, stored, energy, weight)
    health = FitHealth.of(minuit)
    if minuit.covariance is None or not (health.is_valid or health.at_limit):
        raise FitError(
            f"{cascades.species}: no maximum of the likelihood was found for a {shape} of order {order} and "
            f"{len(stored)} stored energies: lower the order or simulate more"
        )
    if not health.is_good:
        notes = (
            *notes,
            "the fit of the stored energies is not healthy (at its limit: "
            f"{', '.join(health.at_limit) or 'nothing'}): its errors mean little; use the gaussian, a lower "
            "order, or more cascades",
        )
    theta, inverse_hessian = np.array(minuit.values), np.array(minuit.covariance)
    covariance = sandwich_covariance(
        inverse_hessian=inverse_hessian,
        score=layout.score(theta, stored, energy),
        weight=weight,
        cluster=cascades.direction_index[hit] if independent == "direction" else None,
    )
    goodness, energies = _goodness(
        layout,
        theta,
        events=(stored, energy, weight),
        inverse_hessian=inverse_hessian,
        n_bootstrap=n_bootstrap,
        rng=rng or np.random.default_rng(0),
    )
    n_eff, n_parameters = effective_number(weight), len(theta)
    scaled = -float(minuit.fval) * n_eff / float(weight.sum())
    return DistributionFit(
        distribution=layout.distribution(theta),
        parameters=layout.names,
        values=tuple(float(v) for v in theta),
        errors=tuple(float(e) for e in np.sqrt(np.diag(covariance))),
        covariance=tuple(tuple(float(c) for c in row) for row in covariance),
        log_likelihood=-float(minuit.fval),
        akaike=2 * n_parameters - 2 * scaled,
        bayes=float(np.log(n_eff)) * n_parameters - 2 * scaled,
        goodness=goodness,
        energies=energies,
        summaries=summarise_stored_energies(cascades),
        health=health,
        independent=independent,
        n_events=len(stored),
        effective_number=n_eff,
        notes=(*cascades.notes, *notes),
    )
