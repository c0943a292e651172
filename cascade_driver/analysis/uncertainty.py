"""How well a campaign knows its model: replicas of the parameters, and what more cascades would bring.

A replica is the model that the campaign might have given. Replicas are arrays, never lists of models: a thousand
of them fold a spectrum in one go.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args

import numpy as np
import scipy
from numpy.polynomial import polynomial
from numpy.typing import ArrayLike, NDArray

from cascade_driver.analysis.defect_probability import (
    FermiProbability,
    design_effect,
    inverse_information,
    probability_score,
    rising_shares,
)
from cascade_driver.analysis.distribution import (
    Shape,
    StoredEnergyDistribution,
    distribution_score,
)
from cascade_driver.analysis.empirical_law import EmpiricalDistribution
from cascade_driver.analysis.model import SpeciesModel
from cascade_driver.analysis.outcomes import UsableCascades, effective_number
from cascade_driver.analysis.response import POINTS_PER_BIN, observed_edges, points_in_bins
from cascade_driver.analysis.tabulated import (
    TabulatedDistribution,
    TabulatedProbability,
    TabulatedReplicas,
    central_table,
)
from cascade_driver.errors import FitError, InputError
from cascade_driver.kinds import Array

#: What is drawn with replacement: every cascade within its recoil energy; whole directions (all snapshots and
#: energies of one); directions and starting snapshots, both.
ResamplingUnit = Literal["cascade", "direction", "direction_and_snapshot"]

#: No logarithm of a width moves further from its best value in one replica: a factor of 7. Beyond, the linear
#: step means nothing.
LARGEST_LOG_STEP = 2.0

#: Replicas resampled at a time: bounds the memory at this many times the number of cascades.
REPLICAS_AT_A_TIME = 100

#: Numbers worked on at a time while folding: arrays of this size stay in the cache of a core.
NUMBERS_AT_A_TIME = 16_384

#: Standard deviations beyond which a stored energy is not looked for: 1e-9 of a normal law.
REACH = 6.0

_A_TABLE = 'the model is a table and has no parameters; fit its records with another shape, such as "auto"'

#: Below this normalisation (location more than 6 widths outside) the logarithmic, slower form is used.
_SMALL = 1e-9

#: Points per unit of the table behind `_normal_cumulative`: its second-order step is right to 1e-10.
_PER_UNIT = 512


@dataclass(frozen=True, kw_only=True, eq=False)
class ParameterReplicas:
    """Replicas of the model of one species.

    Attributes
    ----------
    shape : {'gaussian', 'split_gaussian'}
    reference_energy_eV, energy_scale_eV, lowest_energy_eV : float
        As in `StoredEnergyDistribution`.
    half_energy_eV, width_eV, maximum : (R,) float
        Of the Fermi function.
    location_eV : (R, k) float
    log_sigma : (R, l) float
    asymmetry : (R, a) float
        Coefficients as in `StoredEnergyDistribution`; a = 0 for the Gaussian.

    Raises
    ------
    InputError
        If the numbers of replicas differ or there is none.
    """

    shape: Shape
    reference_energy_eV: float
    energy_scale_eV: float
    lowest_energy_eV: float
    half_energy_eV: Array
    width_eV: Array
    maximum: Array
    location_eV: Array
    log_sigma: Array
    asymmetry: Array

    def __post_init__(self) -> None:
        numbers = {len(values) for values in _arrays_of(self).values()}
        if len(numbers) != 1 or 0 in numbers:
            raise InputError(f"replicas with {sorted(numbers)} values of their parameters: give one each, of some")

    def __len__(self) -> int:
        return len(self.half_energy_eV)

    def select(self, index: NDArray[np.int64] | slice) -> ParameterReplicas:
        """Return some of the replicas."""
        return replace(self, **{name: values[index] for name, values in _arrays_of(self).items()})

    def defect_probability(self, recoil_energy_eV: ArrayLike) -> Array:
        """Return the defect probability of every replica, (R, n), at n recoil energies."""
        return _fermi_of(self.half_energy_eV, self.width_eV, self.maximum, recoil_energy_eV)

    def laws(self, recoil_energy_eV: ArrayLike) -> tuple[Array, Array, Array]:
        """Return location, left and right width in eV of every replica, (R, n) each, at n recoil energies."""
        energy = np.asarray(recoil_energy_eV, dtype=np.float64)
        held = np.maximum(energy, self.lowest_energy_eV)
        u = (held - self.reference_energy_eV) / self.energy_scale_eV
        location = polynomial.polyval(u, self.location_eV.T) * (energy / held)
        sigma = np.exp(polynomial.polyval(u, self.log_sigma.T))
        if self.asymmetry.shape[1] == 0:
            return np.asarray(location), np.asarray(sigma), np.asarray(sigma)
        ratio = np.exp(polynomial.polyval(u, self.asymmetry.T))
        return np.asarray(location), np.asarray(sigma / ratio), np.asarray(sigma * ratio)

    def fold(self, counts: ArrayLike, *, recoil_edges_eV: ArrayLike) -> Array:
        r"""Return the observed counts of a recoil spectrum for every replica.

        .. math:: n^\mathrm{obs}_{rj} = \sum_i n_i \left\{ [1 - p_r(E_i)]\, \delta_{ij}
            + p_r(E_i)\, [F_r(E_i - a_j \mid E_i) - F_r(E_i - b_j \mid E_i)] \right\}

        with :math:`E_i` Gauss-Legendre nodes of recoil bin i: 1 where bins are much narrower than the sharpest
        law of all replicas, up to 16 elsewhere. The same as `response` to the precision of that rule, and for
        all replicas at once: one value of the normal law per replica, recoil bin and reachable observed bin.
        Counts are conserved.

        Parameters
        ----------
        counts : (n,) or (R, n) float
            Recoil counts, the same for all replicas or one row each.
        recoil_edges_eV : (n + 1,) float

        Returns
        -------
        (R, m) float
            In the bins of `observed_edges(recoil_edges_eV)`.

        Raises
        ------
        InputError
            If counts and edges do not fit, or edges are unfit.
        """
        observed = observed_edges(recoil_edges_eV)
        recoil = np.asarray(recoil_edges_eV, dtype=np.float64)
        given = np.asarray(counts, dtype=np.float64)
        n = len(recoil) - 1
        if given.shape not in {(n,), (len(self), n)}:
            raise InputError(f"counts of shape {given.shape} for {n} recoil bins and {len(self)} replicas")
        out = np.zeros((len(self), len(observed) - 1))
        node, node_weight = np.polynomial.legendre.leggauss(self._nodes(recoil))
        step = max(NUMBERS_AT_A_TIME // n, 1)
        for start in range(0, len(self), step):
            rows = slice(start, start + step)
            part = self.select(rows)
            share = np.broadcast_to(given if given.ndim == 1 else given[rows], (len(part), n))
            for x, w in zip(node, node_weight / 2, strict=True):
                energy = recoil[:-1] + np.diff(recoil) * (1 + x) / 2
                part._deposit(out[rows], share * w, energy, observed)
        return out

    def _nodes(self, recoil: Array) -> int:
        """Return how many nodes per recoil bin the sharpest law needs."""
        middle = (recoil[1:] + recoil[:-1]) / 2
        at = middle[:: max(len(middle) // 32, 1)]
        sharpest = float(min(np.min(w) for w in self.laws(at)[1:]))
        width = self.width_eV[self.width_eV > 0]
        if len(width):
            sharpest = min(sharpest, 2 * float(np.percentile(width, 1)))
        coarseness = float(np.diff(recoil).max()) / max(sharpest, 1e-12)
        return next(
            n for n, limit in ((1, 0.35), (2, 1.2), (4, 3.0), (8, 8.0), (16, np.inf)) if coarseness <= limit
        )

    def _deposit(self, out: Array, counts: Array, energy: Array, observed: Array) -> None:
        """Add to `out` what recoils of one energy per bin bring; bin i is observed bin i + below."""
        n, below = len(energy), len(observed) - 1 - len(energy)
        damaging = counts * self.defect_probability(energy)
        out[:, below:] += counts - damaging
        location, left, right = self.laws(energy)
        cumulative, furthest = _cumulative_of(energy, location, left, right)
        previous = np.zeros_like(location)
        for distance in range(len(observed) - 1):
            # bins whose lower neighbour number `distance` exists, and which some replica reaches
            lower = observed[np.maximum(np.arange(n) + below - distance, 0)]
            gap = np.diff(observed)[np.maximum(np.arange(n) + below - distance, 0)]
            reached = np.flatnonzero(energy - lower - gap < furthest)
            reached = reached[reached + below - distance >= 0]
            if not len(reached):
                break
            first, last = int(reached[0]), int(reached[-1]) + 1
            stored = energy[first:last] - lower[first:last]
            now = cumulative(stored, slice(first, last))
            out[:, first + below - distance : last + below - distance] += damaging[:, first:last] * (
                now - previous[:, first:last]
            )
            previous[:, first:last] = now
        out[:, below:] += damaging * (1.0 - previous)  # 1e-9 of them lies further: no count is lost


@dataclass(frozen=True, kw_only=True, eq=False)
class EmpiricalLawReplicas:
    """Replicas of a model whose stored energies are those of its cascades.

    Attributes
    ----------
    law : EmpiricalDistribution
    half_energy_eV, width_eV, maximum : (R,) float
        Of the Fermi function.
    drawn : (R, c) int or float
        How often each cascade counts, relative to the others of its knot.
    """

    law: EmpiricalDistribution
    half_energy_eV: Array
    width_eV: Array
    maximum: Array
    drawn: NDArray[np.integer] | Array

    def __len__(self) -> int:
        return len(self.half_energy_eV)

    def select(self, index: NDArray[np.int64] | slice) -> EmpiricalLawReplicas:
        """Return some of the replicas."""
        return replace(self, **{name: values[index] for name, values in _arrays_of(self).items()})

    def defect_probability(self, recoil_energy_eV: ArrayLike) -> Array:
        """Return the defect probability of every replica, (R, n), at n recoil energies."""
        return _fermi_of(self.half_energy_eV, self.width_eV, self.maximum, recoil_energy_eV)

    def fold(self, counts: ArrayLike, *, recoil_edges_eV: ArrayLike) -> Array:
        """Return (R, m) observed counts of recoil counts (n,), in the bins of `observed_edges`.

        The two parts of a replica, defect probability and weights, are superposed to first order. Counts are
        conserved.

        Raises
        ------
        InputError
            If counts and edges do not fit, or edges are unfit.
        """
        points = points_in_bins(counts, recoil_edges_eV=recoil_edges_eV)
        observed, energy, n = points.observed_edges_eV, points.energy_eV, len(points.counts)
        damaging = points.share * self.defect_probability(energy)
        stored = np.clip(energy - observed[:, None], 0.0, energy)
        reached = self.law.cumulative(stored, energy)
        reached[0] = 1.0  # the lowest edge takes whatever lies further
        out = damaging @ (reached[:-1] - reached[1:]).T
        out[:, points.below :] += points.counts - damaging.reshape(len(self), n, POINTS_PER_BIN).sum(axis=2)
        if np.ptp(self.drawn):
            out += self._drawn_less_central(self._of_each_cascade(damaging.mean(axis=0), energy, stored))
        out = np.maximum(out, 0.0)  # a superposition may fall below zero by a hair where hardly a count is
        return np.asarray(out * (points.counts.sum() / np.maximum(out.sum(axis=1, keepdims=True), 1e-300)))

    def _drawn_less_central(self, of_each: Array) -> Array:
        """Return (R, m) counts of the cascades as drawn, less those of the law, given (c, m) of each cascade."""
        knot, weight = np.array(self.law.knot), np.array(self.law.weight)
        out = np.zeros((len(self), of_each.shape[1]))
        for k in range(len(self.law.knots_eV)):
            of = np.flatnonzero(knot == k)
            drawn, w = self.drawn[:, of].astype(np.float64), weight[of]
            central, total = w @ of_each[of], (drawn @ w)[:, None]
            # a replica without any cascade of a knot keeps those that there are
            share = (drawn @ (w[:, None] * of_each[of])) / np.where(total > 0, total, 1.0)
            out += np.where(total > 0, share - central, 0.0)
        return out

    def _of_each_cascade(self, damaging: Array, energy: Array, stored: Array) -> Array:
        """Return (c, m) observed counts of what each cascade stands for.

        Parameters
        ----------
        damaging, energy : (n,) float
            Counts that store energy, and their recoil energies in eV.
        stored : (m + 1, n) float
            Stored energy in eV at each edge of the observed bins.
        """
        found = np.zeros((len(self.law.knot), len(stored) - 1))
        for number, at, share, location, width in self.law.parts(energy):
            edges = np.concatenate([stored[:, at], np.zeros((1, len(at))), energy[None, at]])
            reached = _normal_cumulative((edges - location) / width)
            part, of_zero, at_energy = reached[:-2] - reached[-2], reached[-2], reached[-1]
            part /= np.maximum(at_energy - of_zero, 1e-300)
            part[0] = 1.0
            found[number] = (part[:-1] - part[1:]) @ (share * damaging[at])
        return found


def _arrays_of(replicas: ParameterReplicas | EmpiricalLawReplicas) -> dict[str, Any]:
    """Return by name the fields that have a row for each replica; the others are numbers or a law of all."""
    values = {one.name: getattr(replicas, one.name) for one in fields(replicas)}
    return {name: value for name, value in values.items() if isinstance(value, np.ndarray)}


@dataclass(frozen=True, kw_only=True, eq=False)
class RisingReplicas:
    """The stored energies of a model with defect probabilities of which nothing is known than that they rise.

    Attributes
    ----------
    law : StoredEnergyDistribution or EmpiricalDistribution
    knots_eV : (k,) float
        Simulated energies. Between them the probability is linear, below the first it falls to zero at zero, above
        the last it is held.
    probability : (R, k) float
    """

    law: StoredEnergyDistribution | EmpiricalDistribution
    knots_eV: Array
    probability: Array

    def __len__(self) -> int:
        return len(self.probability)

    def select(self, index: NDArray[np.int64] | slice) -> RisingReplicas:
        """Return some of the replicas."""
        return replace(self, probability=self.probability[index])

    def fold(self, counts: ArrayLike, *, recoil_edges_eV: ArrayLike) -> Array:
        """Return (R, m) observed counts of recoil counts (n,), in the bins of `observed_edges`; none is lost."""
        points = points_in_bins(counts, recoil_edges_eV=recoil_edges_eV)
        observed, energy, n = points.observed_edges_eV, points.energy_eV, len(points.counts)
        grid = np.concatenate([[0.0], self.knots_eV])
        hats = np.stack([np.interp(energy, grid, row) for row in np.eye(len(grid))[1:]])
        damaging = points.share * (self.probability @ hats)
        reached = self.law.cumulative(np.clip(energy - observed[:, None], 0.0, energy), energy)
        reached[0] = 1.0  # the lowest edge takes whatever lies further
        out = damaging @ (reached[:-1] - reached[1:]).T
        out[:, points.below :] += points.counts - damaging.reshape(len(self), n, POINTS_PER_BIN).sum(axis=2)
        return np.asarray(out)


def rising_replicas(model: SpeciesModel, *, n_replicas: int, rng: np.random.Generator) -> RisingReplicas:
    """Return the defect probabilities that other campaigns would give if only their rise were known.

    Shares are drawn from the binomial law of each simulated energy and made to rise (`rising_shares`).

    Raises
    ------
    FitError
        If the model was put in by hand.
    """
    fit = model.defect_probability_fit
    if fit is None:
        raise FitError("the parameters of this model were put in by hand: there are no shares of defects to draw")
    number = np.array([max(round(p.effective_number), 1) for p in fit.points])
    shares = rng.binomial(number, [p.probability for p in fit.points], size=(n_replicas, len(number))) / number
    return RisingReplicas(
        law=_fitted_law(model),
        knots_eV=np.array([p.recoil_energy_eV for p in fit.points]),
        probability=rising_shares(fit.points, shares),
    )


#: Replicas of a fitted model, of either kind of distribution.
ModelReplicas = ParameterReplicas | EmpiricalLawReplicas | TabulatedReplicas


def in_single_precision(replicas: ModelReplicas) -> ModelReplicas:
    """Return replicas whose numbers have seven digits, far finer than they scatter: half of a model file."""
    arrays: dict[str, Any] = {name: a for name, a in vars(replicas).items() if isinstance(a, np.ndarray)}
    return replace(
        replicas,
        **{name: a.astype(np.float32).astype(np.float64) for name, a in arrays.items() if a.dtype.kind == "f"},
    )


def _fermi_of(half: Array, width: Array, maximum: Array, recoil_energy_eV: ArrayLike) -> Array:
    """Return Fermi functions, (R, n), of (R,) parameters at n recoil energies."""
    distance = np.asarray(recoil_energy_eV, dtype=np.float64)[None, :] - half[:, None]
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        smooth = scipy.special.expit(distance / width[:, None])
    return np.asarray(maximum[:, None] * np.where(width[:, None] > 0, smooth, np.heaviside(distance, 0.5)))


_POINTS = np.arange(-round(8 * _PER_UNIT), round(8 * _PER_UNIT) + 1) / _PER_UNIT
_SLOPE = np.exp(-0.5 * _POINTS**2) / np.sqrt(2 * np.pi)


@functools.cache
def _table() -> Array:
    return np.asarray(scipy.special.ndtr(_POINTS))


def _normal_cumulative(z: Array) -> Array:
    r"""Return :math:`\Phi(z)` to 1e-10, four times faster than `scipy.special.ndtr`.

    From the nearest point of a table, :math:`\Phi(z_0 + d) = \Phi_0 + \varphi_0 d (1 - z_0 d / 2) + O(d^3)`.
    """
    z = np.minimum(np.maximum(z, -8.0), 8.0)
    nearest = np.rint(z * _PER_UNIT)
    point = nearest * (1 / _PER_UNIT)
    z -= point
    index = nearest.astype(np.int32)
    index += len(_POINTS) // 2
    point *= z
    point *= -0.5
    point += 1.0
    point *= z
    point *= _SLOPE[index]
    point += _table()[index]
    return point


def _cumulative_of(
    energy: Array, location: Array, left: Array, right: Array
) -> tuple[Callable[[Array, slice], Array], Array]:
    """Return F(E_s | E_R) for many laws as a function of (stored energies, columns), and where it has ended."""
    is_split = left is not right

    def raw(x: Array, columns: slice) -> Array:
        """Integral of exp(-z^2/2) / sqrt(2 pi) from minus infinity to location + x."""
        if not is_split:
            return _normal_cumulative(x * inverse_right[:, columns])
        is_left = x < 0
        inverse = np.where(is_left, inverse_left[:, columns], inverse_right[:, columns])
        side = np.where(is_left, left[:, columns], right[:, columns])
        return np.asarray(side * _normal_cumulative(x * inverse) + np.where(is_left, 0.0, offset[:, columns]))

    inverse_left, inverse_right, offset = 1 / left, 1 / right, (left - right) / 2
    everything = slice(0, len(energy))
    bottom = raw(-location, everything)
    whole = raw(energy - location, everything) - bottom
    scale = 1.0 if not is_split else (left + right) / 2
    ill = whole < _SMALL * scale
    any_ill = bool(ill.any())
    per_whole = 1 / np.where(ill, 1.0, whole)
    per_scale = bottom * per_whole

    def cumulative(stored: Array, columns: slice) -> Array:
        # at or above the recoil energy everything has been stored, to the last digit
        value = raw(stored - location[:, columns], columns) * per_whole[:, columns] - per_scale[:, columns]
        over = stored >= energy[columns]
        if over.any():
            value[:, over] = 1.0
        if any_ill and ill[:, columns].any():
            row, column = np.nonzero(ill[:, columns])
            whole_column = column + columns.start
            value[row, column] = _rare(
                stored[column],
                energy[whole_column],
                location[row, whole_column],
                left[row, whole_column],
                right[row, whole_column],
            )
        return value

    furthest = np.where(ill.any(axis=0), energy, np.minimum((location + REACH * right).max(axis=0), energy))
    return cumulative, np.maximum.accumulate(np.maximum(furthest, 0.0))


def _rare(stored: Array, energy: Array, location: Array, left: Array, right: Array) -> Array:
    """Return F one law at a time where its normalisation is tiny."""
    value = np.empty_like(stored)
    for i in range(len(stored)):
        a = 0.5 * np.log(right[i] / left[i])
        law = StoredEnergyDistribution(
            shape="split_gaussian",
            reference_energy_eV=float(energy[i]),
            energy_scale_eV=1.0,
            lowest_energy_eV=float(energy[i]),
            location_eV=(float(location[i]),),
            log_sigma=(0.5 * float(np.log(left[i] * right[i])),),
            asymmetry=(float(a),),
        )
        value[i] = law.cumulative(stored[i], energy[i])
    return value


# -- replicas --------------------------------------------------------------------------------------------------


def resampling_counts(
    cascades: UsableCascades, *, n_replicas: int, unit: ResamplingUnit, rng: np.random.Generator
) -> Array:
    """Return how often each cascade is drawn in each bootstrap replica, (R, n), of mean 1.

    `cascade` draws within each recoil energy, of which the plan fixes the number; `direction` draws whole
    directions; `direction_and_snapshot` draws both and multiplies, which is right (and a little cautious) where
    cascades of one direction or one starting state resemble each other.

    References
    ----------
    Efron 1979, doi:10.1214/aos/1176344552; Owen 2007, doi:10.1214/07-AOAS122 (two crossed factors).

    Raises
    ------
    InputError
        If the unit is unknown or there is no replica.
    """
    if unit not in get_args(ResamplingUnit):
        raise InputError(f"unknown resampling unit {unit!r}: use one of {', '.join(get_args(ResamplingUnit))}")
    if n_replicas < 1:
        raise InputError(f"{n_replicas} replicas: ask for at least 1")

    def drawn(label: NDArray[np.int64]) -> Array:
        number = np.unique(label, return_inverse=True)[1].reshape(-1)
        n = int(number.max()) + 1
        return np.asarray(rng.multinomial(n, np.full(n, 1 / n), size=n_replicas)[:, number], dtype=np.float64)

    if unit == "direction":
        return drawn(cascades.direction_index)
    if unit == "direction_and_snapshot":
        return drawn(cascades.direction_index) * drawn(cascades.snapshot)
    counts = np.empty((n_replicas, len(cascades)))
    for energy in np.unique(cascades.recoil_energy_eV):
        rows = np.flatnonzero(cascades.recoil_energy_eV == energy)
        counts[:, rows] = rng.multinomial(len(rows), np.full(len(rows), 1 / len(rows)), size=n_replicas)
    return counts


def bootstrap_replicas(
    cascades: UsableCascades,
    model: SpeciesModel,
    *,
    n_replicas: int = 1000,
    unit: ResamplingUnit = "cascade",
    rng: np.random.Generator,
) -> ModelReplicas:
    r"""Return the parameters that resampled campaigns would give.

    .. math:: \theta_r = \hat\theta + H^{-1} \sum_i (v_{ri} - 1)\, w_i\, \nabla_\theta \ln L_i(\hat\theta)
        \sqrt{\frac{n_\mathrm{eff}}{n_\mathrm{eff} - k}}

    with :math:`v_{ri}` of `resampling_counts` and H the Hessian of :math:`-\sum w_i \ln L_i`: one Newton step
    from the best fit, which is a full refit to leading order and ten thousand times cheaper. Widths step in their
    logarithm and stay positive. The last factor makes up for the k fitted parameters.

    The stored energies take these steps as they are. Of the defect probability they only rank the draws, which
    come from the law behind its centre (`DefectProbabilityFit.posterior`), so that both belong together whatever
    the data, and the correlation with the stored energies, or with the same campaign under other weights, is kept.
    Where directions or snapshots are drawn, that law is as wide as the steps say (`design_effect`).

    Parameters
    ----------
    cascades : UsableCascades
        Those the model was fitted to.
    model : SpeciesModel
        Their best fit.
    n_replicas : int
    unit : {'cascade', 'direction', 'direction_and_snapshot'}
    rng : numpy.random.Generator

    References
    ----------
    Kline & Santos 2012, doi:10.1515/2156-6674.1006 (bootstrap of the score); Iman & Conover 1982,
    doi:10.1080/03610918208812265 (draws in the order of others).

    Raises
    ------
    FitError
        If the Hessian cannot be inverted.
    InputError
        As `resampling_counts`.
    """
    p, fit = fermi_of(model), model.defect_probability_fit
    law_influence = _law_influence(cascades, model)
    influence = [law_influence] if fit is None else [_probability_influence(cascades, p), law_influence]
    steps = np.empty((n_replicas, sum(i.shape[1] for i in influence)))
    drawn = np.empty((n_replicas, int(cascades.stores_energy.sum())), dtype=np.uint16)
    for start in range(0, n_replicas, REPLICAS_AT_A_TIME):
        rows = slice(start, min(start + REPLICAS_AT_A_TIME, n_replicas))
        v = resampling_counts(cascades, n_replicas=rows.stop - start, unit=unit, rng=rng)
        steps[rows] = (v - 1) @ np.concatenate(influence, axis=1)
        drawn[rows] = v[:, cascades.stores_energy]
    if fit is None:
        return _replicas(model, half=p.half_energy_eV, width=p.width_eV, moved=steps, drawn=drawn)
    effect = 1.0
    if unit != "cascade" and n_replicas > 1:
        effect = design_effect(steps[:, :2].T @ steps[:, :2] / n_replicas, influence[0].T @ influence[0])
    half, width = fit.posterior(design_effect=effect).draw(_ranked(steps[:, :2], rng))
    return _replicas(model, half=half, width=width, moved=steps[:, 2:], drawn=drawn)


def _probability_influence(cascades: UsableCascades, p: FermiProbability) -> Array:
    """Return (n, 2) by how much one more of each cascade moves half energy and ln width."""
    score = probability_score(cascades, p)
    return _influence(cascades.weight, score, inverse_information(cascades, p), cascades.weight)


def _law_influence(cascades: UsableCascades, model: SpeciesModel) -> Array:
    """Return (n, k) by how much one more of each cascade moves the coefficients; an empirical law has none."""
    law, hit, w = _fitted_law(model), cascades.stores_energy, cascades.weight
    if isinstance(law, EmpiricalDistribution):
        return np.zeros((len(w), 0))

    def score_at(theta: Array) -> Array:
        score = np.zeros((len(w), len(theta)))
        score[hit] = distribution_score(
            _moved(law, theta),
            stored_energy_eV=cascades.stored_energy_eV[hit],
            recoil_energy_eV=cascades.recoil_energy_eV[hit],
        )
        return score

    at = np.array([*law.location_eV, *law.log_sigma, *law.asymmetry])
    return _influence(w, score_at(at), _inverse_hessian(score_at, at, w), w[hit])


def _influence(weight: Array, score: Array, inverse: Array, counting: Array) -> Array:
    n, k = effective_number(counting), score.shape[1]
    return np.asarray(weight[:, None] * score @ inverse * np.sqrt(n / max(n - k, 1.0)))


def _ranked(steps: Array, rng: np.random.Generator) -> Array:
    """Return (R, 2) shares between 0 and 1 in the order of (R, 2) steps, the second less what the first explains.

    Steps that are equal, as those of data which resampling cannot change, come in random order.
    """
    first = steps[:, 0] - steps[:, 0].mean()
    square = float(first @ first)
    second = steps[:, 1] - first * (float(first @ steps[:, 1]) / square if square > 0 else 0.0)
    scale = np.maximum(np.abs(steps).max(axis=0), 1e-300)
    place = np.empty_like(steps)
    for column, values in enumerate((first, second)):
        # rounding leaves steps that are equal apart by some 1e-16
        order = np.lexsort((rng.random(len(steps)), np.round(values / scale[column], 9)))
        place[order, column] = (np.arange(len(steps)) + 0.5) / len(steps)
    return place


def covariance_replicas(model: SpeciesModel, *, n_replicas: int = 1000, rng: np.random.Generator) -> ModelReplicas:
    """Return parameters drawn from what the fits alone say of them.

    For a model whose cascades are not at hand; `bootstrap_replicas` says the same from the cascades: the defect
    probability from the law behind it, the coefficients of the distribution from their covariance.

    Raises
    ------
    FitError
        If the model was put in by hand and has no covariance.
    """
    probability, distribution = model.defect_probability_fit, model.distribution_fit
    if probability is None or distribution is None:
        raise FitError(
            "the parameters of this model were put in by hand and have no covariance: fit cascades, or "
            "give replicas"
        )
    half, width = probability.posterior().draw(rng.random((n_replicas, 2)))
    law, moved, drawn = _fitted_law(model), np.zeros((n_replicas, 0)), None
    if isinstance(law, EmpiricalDistribution):
        # the cascades of each knot are drawn anew, as often as there are
        of_knot = [np.flatnonzero(np.array(law.knot) == k) for k in range(len(law.knots_eV))]
        drawn = np.empty((n_replicas, len(law.knot)), dtype=np.uint16)
        for rows in of_knot:
            drawn[:, rows] = rng.multinomial(len(rows), np.full(len(rows), 1 / len(rows)), size=n_replicas)
    else:
        moved = _normal(np.array(distribution.covariance), n_replicas, rng)
    return _replicas(model, half=half, width=width, moved=moved, drawn=drawn)


def fermi_of(model: SpeciesModel) -> FermiProbability:
    """Return the Fermi function of a model.

    Raises
    ------
    FitError
        If it has none: shares of a table have no parameters.
    """
    if isinstance(model.defect_probability, TabulatedProbability):
        raise FitError(_A_TABLE)
    return model.defect_probability


def _fitted_law(model: SpeciesModel) -> StoredEnergyDistribution | EmpiricalDistribution:
    if isinstance(model.distribution, TabulatedDistribution):
        raise FitError(_A_TABLE)
    return model.distribution


def central_replica(model: SpeciesModel) -> ModelReplicas:
    """Return the best model itself as its only replica."""
    if isinstance(model.distribution, TabulatedDistribution):
        return central_table(model.distribution)
    p = fermi_of(model)
    return _replicas(model, half=p.half_energy_eV, width=p.width_eV, moved=np.zeros((1, _n_coefficients(model))))


def _n_coefficients(model: SpeciesModel) -> int:
    law = _fitted_law(model)
    if isinstance(law, EmpiricalDistribution):
        return 0
    return len(law.location_eV) + len(law.log_sigma) + len(law.asymmetry)


def information_per_cascade(model: SpeciesModel, recoil_energy_eV: float) -> Array:
    r"""Return what one more cascade at a recoil energy would tell about the parameters, (k, k).

    .. math:: I(E_R) = \frac{1}{p_d (1 - p_d)} \nabla p_d \nabla p_d^T
        + p_d \int_0^{E_R} f\, \nabla \ln f\, \nabla \ln f^T dE_s

    The expected Fisher information under the fitted model, in the order half energy (eV), ln of the width in eV,
    then the coefficients of the distribution. A step function tells nothing of the first two.
    """
    p, law = fermi_of(model), _fitted_law(model)
    n_law = _n_coefficients(model)
    information = np.zeros((2 + n_law, 2 + n_law))
    value = float(p(recoil_energy_eV))
    if p.width_eV > 0 and 0 < value < 1:
        eta = (recoil_energy_eV - p.half_energy_eV) / p.width_eV
        slope = (
            p.maximum * scipy.special.expit(eta) * scipy.special.expit(-eta) * np.array([-1 / p.width_eV, -eta])
        )
        information[:2, :2] = np.outer(slope, slope) / (value * (1 - value))
    if isinstance(law, StoredEnergyDistribution) and recoil_energy_eV >= law.lowest_energy_eV:
        stored = law.quantile((np.arange(400) + 0.5) / 400, recoil_energy_eV)
        score = distribution_score(
            law, stored_energy_eV=stored, recoil_energy_eV=np.full(len(stored), recoil_energy_eV)
        )
        information[2:, 2:] = value * score.T @ score / len(stored)
    return information


def parameter_covariance(model: SpeciesModel) -> Array:
    """Return the covariance of half energy, ln width and the coefficients, (k, k), from the two fits.

    Raises
    ------
    FitError
        If the model was put in by hand: then there is none.
    """
    probability, distribution = model.defect_probability_fit, model.distribution_fit
    if probability is None or distribution is None:
        raise FitError("the parameters of this model were put in by hand and have no covariance: fit cascades")
    k = len(distribution.values)
    covariance = np.zeros((2 + k, 2 + k))
    covariance[:2, :2] = probability.posterior().covariance(log_width=True)
    if k:
        covariance[2:, 2:] = distribution.covariance
    return covariance


def displaced_replicas(model: SpeciesModel, steps: Array) -> ModelReplicas:
    """Return the best model moved by (R, k) steps in the parameters of `parameter_covariance`."""
    p = fermi_of(model)
    width = p.width_eV * np.exp(np.clip(steps[:, 1], -LARGEST_LOG_STEP, LARGEST_LOG_STEP))
    return _replicas(model, half=p.half_energy_eV + steps[:, 0], width=width, moved=steps[:, 2:])


def _normal(covariance: Array, n: int, rng: np.random.Generator) -> Array:
    value, vector = np.linalg.eigh(covariance)
    return np.asarray(rng.normal(size=(n, len(value))) * np.sqrt(np.maximum(value, 0.0)) @ vector.T)


def _inverse_hessian(score: Callable[[Array], Array], at: Array, weight: Array) -> Array:
    """Return the inverse Hessian of the negative log-likelihood, by central differences of the score."""
    hessian = np.empty((len(at), len(at)))
    for j, x in enumerate(at):
        h = 1e-5 * max(abs(x), 1.0)
        step = np.eye(len(at))[j] * h
        hessian[j] = -(weight @ (score(at + step) - score(at - step))) / (2 * h)
    try:
        inverse = np.linalg.inv((hessian + hessian.T) / 2)
    except np.linalg.LinAlgError:
        inverse = np.full_like(hessian, np.nan)
    if not np.all(np.isfinite(inverse)) or np.any(np.diag(inverse) <= 0):
        raise FitError("the likelihood has no curvature at the fit: its replicas cannot be made; simulate more")
    return np.asarray(inverse, dtype=np.float64)


def _moved(law: StoredEnergyDistribution, theta: Array) -> StoredEnergyDistribution:
    a, b = len(law.location_eV), len(law.location_eV) + len(law.log_sigma)
    values = tuple(map(float, theta))
    return replace(law, location_eV=values[:a], log_sigma=values[a:b], asymmetry=values[b:])


def _replicas(
    model: SpeciesModel,
    *,
    half: ArrayLike,
    width: ArrayLike,
    moved: Array,
    drawn: NDArray[np.uint16] | None = None,
) -> ModelReplicas:
    """Return replicas of these Fermi functions, and of the best coefficients moved by (R, k) steps.

    An empirical law has no coefficients: its cascades count as often as `drawn`, (R, c), says.
    """
    n, law = len(moved), _fitted_law(model)
    half_energy, widths = np.full(n, half, dtype=np.float64), np.full(n, width, dtype=np.float64)
    maximum = np.full(n, fermi_of(model).maximum)
    if isinstance(law, EmpiricalDistribution):
        counts = np.ones((n, len(law.knot)), dtype=np.uint8) if drawn is None else drawn
        return EmpiricalLawReplicas(
            law=law, half_energy_eV=half_energy, width_eV=widths, maximum=maximum, drawn=counts
        )
    a, b = len(law.location_eV), len(law.location_eV) + len(law.log_sigma)
    bounded = np.clip(moved[:, a:], -LARGEST_LOG_STEP, LARGEST_LOG_STEP)
    return ParameterReplicas(
        shape=law.shape,
        reference_energy_eV=law.reference_energy_eV,
        energy_scale_eV=law.energy_scale_eV,
        lowest_energy_eV=law.lowest_energy_eV,
        half_energy_eV=half_energy,
        width_eV=widths,
        maximum=maximum,
        location_eV=np.array(law.location_eV) + moved[:, :a],
        log_sigma=np.array(law.log_sigma) + bounded[:, : b - a],
        asymmetry=np.array(law.asymmetry).reshape(1, -1) + bounded[:, b - a :],
    )
