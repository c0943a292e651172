"""Records that are dense in energy as their own law: nothing is fitted, between two energies they are mixed."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cascade_driver.analysis.outcomes import FARTHEST_LOCATION_eV, UsableCascades
from cascade_driver.analysis.response import points_in_bins
from cascade_driver.errors import FitError, InputError
from cascade_driver.kinds import Array
from cascade_driver.simulation.outcome import STORED_ENERGY_FLOOR_eV

#: Replicas of a table, drawn direction by direction.
TABLE_REPLICAS = 200

#: A recoil bin is cut into pieces of this share of the distance between two tabulated energies: each record is a
#: step, which crosses the borders of observed bins wherever it likes. Of 1 eV bins of silicon's records half left
#: errors of 4.5 %.
_PIECES = 1 / 256


@dataclass(frozen=True, kw_only=True)
class TabulatedProbability:
    """Share of records that store energy: linear between tabulated energies, from nothing at 0, then held.

    Attributes
    ----------
    knots_eV, probability : (k,) float

    Raises
    ------
    InputError
        If energies do not rise from above 0, or a share is none.
    """

    knots_eV: tuple[float, ...]
    probability: tuple[float, ...]

    def __post_init__(self) -> None:
        _check_knots(self.knots_eV)
        share = np.asarray(self.probability)
        if len(share) != len(self.knots_eV) or not np.all((share >= 0) & (share <= 1)):
            raise InputError(
                f"{len(share)} shares at {len(self.knots_eV)} energies: expected one from 0 to 1 each"
            )

    @property
    def width_eV(self) -> float:
        """Of a bend: it has corners."""
        return 0.0

    @property
    def bends_eV(self) -> tuple[float, ...]:
        """Its corners."""
        return self.knots_eV

    def __call__(self, recoil_energy_eV: ArrayLike) -> Array:
        """Return the defect probability at recoil energies of any shape."""
        energy = np.asarray(recoil_energy_eV, dtype=np.float64)
        return np.asarray(np.interp(energy, [0.0, *self.knots_eV], [0.0, *self.probability]))


class _Knot(NamedTuple):
    """What is stored at one tabulated energy: rising energies, the shares up to each of them, and their mean."""

    stored_eV: Array
    share: Array
    mean_eV: float

    @property
    def probability(self) -> float:
        return float(self.share[-1]) if len(self.share) else 0.0

    def up_to(self, stored_eV: Array) -> Array:
        """Return the share of records that store something, but at most this."""
        return np.concatenate([[0.0], self.share])[np.searchsorted(self.stored_eV, stored_eV, side="right")]


class _Part(NamedTuple):
    """A tabulated energy that speaks for a recoil energy: which, its share, what its energies are scaled by."""

    knot: int
    share: float
    scale: float


@dataclass(frozen=True, kw_only=True)
class TabulatedDistribution:
    r"""What is stored, if something is, as records at many energies say it.

    .. math::
        p_d(E_R)\, f(E_s \mid E_R) = \sum_k h_k(E_R) \sum_{i \in k} w_i\, \delta(E_s - s_i),
        \qquad \sum_{i \in k} w_i = 1

    over the records i at the tabulated energies k; :math:`h_k` is a hat that falls linearly to zero at the
    neighbouring ones. Above the last energy, and below the first, stored energies are proportional to
    :math:`E_R`. Where `EmpiricalDistribution` widens and moves each cascade, as few energies need it, this
    leaves records as they are: energies must lie closer than their response changes.

    Attributes
    ----------
    knots_eV : (k,) float
        All tabulated energies.
    knot, direction : (n,) int
        Of each record: its energy, and along which direction it was kicked. Directions are what is drawn anew.
    stored_energy_eV, weight : (n,) float
        Records that stored nothing are among them.
    shape : 'table'

    Raises
    ------
    InputError
        If numbers do not fit together.
    """

    knots_eV: tuple[float, ...]
    knot: tuple[int, ...]
    direction: tuple[int, ...]
    stored_energy_eV: tuple[float, ...]
    weight: tuple[float, ...]
    shape: Literal["table"] = "table"

    def __post_init__(self) -> None:
        _check_knots(self.knots_eV)
        n, weight = len(self.knot), np.asarray(self.weight)
        if not (
            set(self.knot) == set(range(len(self.knots_eV)))
            and len(self.direction) == len(self.stored_energy_eV) == len(weight) == n
            and min(self.direction) >= 0
            and max(self.direction) < n
            and np.all(np.abs(self.stored_energy_eV) <= FARTHEST_LOCATION_eV)
            and np.all(np.isfinite(weight) & (weight >= 0))
            and np.all(np.bincount(self.knot, weight) > 0)
        ):
            raise InputError(
                f"table of {n} stored energies at {len(self.knots_eV)} recoil energies: records at each, with "
                "finite energies, weights and directions are expected; mend the file"
            )

    @functools.cached_property
    def _knots(self) -> tuple[_Knot, ...]:
        knot, stored, weight = np.array(self.knot), np.array(self.stored_energy_eV), np.array(self.weight)
        found = []
        for k in range(len(self.knots_eV)):
            of = knot == k
            s, w = stored[of], weight[of] / weight[of].sum()
            hit = np.flatnonzero(s > STORED_ENERGY_FLOOR_eV)
            hit = hit[np.argsort(s[hit], kind="stable")]
            share = np.minimum(np.cumsum(w[hit]), 1.0)
            mean = float(w[hit] @ s[hit] / share[-1]) if len(hit) else 0.0
            found.append(_Knot(s[hit], share, mean))
        return tuple(found)

    @property
    def defect_probability(self) -> TabulatedProbability:
        """Share of the records that store energy."""
        return TabulatedProbability(
            knots_eV=self.knots_eV, probability=tuple(one.probability for one in self._knots)
        )

    @property
    def lowest_energy_eV(self) -> float:
        """Lowest recoil energy at which something is stored."""
        return next((e for e, one in zip(self.knots_eV, self._knots, strict=True) if one.probability > 0), 0.0)

    def parts(self, recoil_energy_eV: float) -> tuple[_Part, ...]:
        """Return the tabulated energies that speak for one recoil energy."""
        knots = self.knots_eV
        if recoil_energy_eV >= knots[-1]:
            return (_Part(len(knots) - 1, 1.0, recoil_energy_eV / knots[-1]),)
        above = int(np.searchsorted(knots, recoil_energy_eV, side="right"))
        if above == 0:
            return (_Part(0, recoil_energy_eV / knots[0], recoil_energy_eV / knots[0]),)
        share = (recoil_energy_eV - knots[above - 1]) / (knots[above] - knots[above - 1])
        return (_Part(above - 1, 1.0 - share, 1.0), _Part(above, share, 1.0))

    def location_at(self, recoil_energy_eV: ArrayLike) -> Array:
        """Return the mean stored energy in eV at recoil energies of any shape."""
        return self.mean_eV(recoil_energy_eV)

    def widths_at(self, recoil_energy_eV: ArrayLike) -> tuple[Array, Array]:
        """Return over which distance in eV the law changes, twice, at recoil energies of any shape."""
        energy = np.asarray(recoil_energy_eV, dtype=np.float64)
        width = np.full(energy.shape, _PIECES * float(np.median(np.diff([0.0, *self.knots_eV]))))
        return width, width

    def mean_eV(self, recoil_energy_eV: ArrayLike) -> Array:
        """Return the mean of what is stored in eV, if something is, in the shape of the recoil energy."""
        energy = np.asarray(recoil_energy_eV, dtype=np.float64)
        mean = np.zeros(energy.shape)
        for one, rows in _each(energy):
            total = whole = 0.0
            for part in self.parts(one):
                knot = self._knots[part.knot]
                whole += part.share * knot.probability
                total += part.share * knot.probability * knot.mean_eV * part.scale
            mean.flat[rows] = min(total / whole, one) if whole > 0 else 0.0
        return mean

    def cumulative(self, stored_energy_eV: ArrayLike, recoil_energy_eV: ArrayLike) -> Array:
        """Return the probability that a damaging recoil stores at most this energy; the arguments broadcast.

        Exactly 0 up to zero and exactly 1 from E_R on.
        """
        stored, energy = np.broadcast_arrays(
            np.asarray(stored_energy_eV, dtype=np.float64), np.asarray(recoil_energy_eV, dtype=np.float64)
        )
        value = np.zeros(energy.size)
        flat = stored.ravel()
        for one, rows in _each(energy):
            reached, whole = np.zeros(len(rows)), 0.0
            for part in self.parts(one):
                knot = self._knots[part.knot]
                whole += part.share * knot.probability
                # what is stored may have been scaled up and down again: the last digit is no difference
                reached += part.share * knot.up_to(flat[rows] * (1 + 1e-12) / max(part.scale, 1e-300))
            value[rows] = np.where(flat[rows] >= one, 1.0, reached / whole if whole > 0 else 0.0)
        return np.where(stored > 0, np.minimum(value.reshape(energy.shape), 1.0), 0.0)

    def quantile(self, probability: ArrayLike, recoil_energy_eV: ArrayLike) -> Array:
        """Return the stored energy (eV) below which this share of damaging recoils lies; broadcasts."""
        share, energy = np.broadcast_arrays(*np.atleast_1d(probability, recoil_energy_eV))
        found = np.zeros(energy.size)
        flat = share.ravel()
        for one, rows in _each(energy):
            parts = [(part, self._knots[part.knot]) for part in self.parts(one)]
            stored = np.concatenate([part.scale * knot.stored_eV for part, knot in parts])
            weight = np.concatenate([part.share * np.diff(knot.share, prepend=0.0) for part, knot in parts])
            if not weight.sum() > 0:
                continue
            order = np.argsort(stored, kind="stable")
            reached = np.cumsum(weight[order]) / weight.sum()
            at = np.minimum(np.searchsorted(reached, flat[rows]), len(order) - 1)
            found[rows] = np.minimum(stored[order][at], one)
        return found.reshape(energy.shape)


@dataclass(frozen=True, kw_only=True, eq=False)
class TabulatedReplicas:
    """A table whose directions are drawn with replacement: all energies of one direction stay together.

    Attributes
    ----------
    law : TabulatedDistribution
    drawn : (R, d) float
        How often each direction counts.
    """

    law: TabulatedDistribution
    drawn: Array

    def __len__(self) -> int:
        return len(self.drawn)

    def select(self, index: NDArray[np.int64] | slice) -> TabulatedReplicas:
        """Return some of the replicas."""
        return replace(self, drawn=self.drawn[index])

    def fold(self, counts: ArrayLike, *, recoil_edges_eV: ArrayLike) -> Array:
        """Return (R, m) observed counts of recoil counts (n,), in the bins of `observed_edges`; counts are kept.

        Raises
        ------
        InputError
            If counts and edges do not fit, or edges are unfit.
        """
        points = points_in_bins(counts, recoil_edges_eV=recoil_edges_eV)
        observed, filled = points.observed_edges_eV, np.flatnonzero(points.share)
        parts = [self.law.parts(float(energy)) for energy in points.energy_eV[filled]]
        knot_of = np.array(self.law.knot)
        weight, direction = np.array(self.law.weight), np.array(self.law.direction)
        stored = np.where(
            np.array(self.law.stored_energy_eV) > STORED_ENERGY_FLOOR_eV, self.law.stored_energy_eV, 0.0
        )
        n_directions, m = self.drawn.shape[1], len(observed) - 1
        out = np.zeros((len(self), m))
        held, waiting = np.zeros(0), np.zeros((n_directions, m))
        for k in range(len(self.law.knots_eV)):
            at = [
                (j, part)
                for j, of in zip(filled, parts, strict=True)
                for part in of
                if part.knot == k and part.share
            ]
            if not at:
                continue
            of = np.flatnonzero(knot_of == k)
            # how much all records of this energy weigh in each replica; one without any keeps them all
            whole = self.drawn[:, direction[of]] @ weight[of]
            if len(held) != len(whole) or not np.allclose(whole, held, rtol=1e-12):
                out += _shared(self.drawn, waiting, held)
                held, waiting = whole, np.zeros((n_directions, m))
            energy = np.array([points.energy_eV[j] for j, _ in at])
            scale = np.array([part.scale for _, part in at])
            share = np.array([points.share[j] * part.share for j, part in at])
            left = np.clip(energy[:, None] - scale[:, None] * stored[of], 0.0, None)
            column = np.clip(np.searchsorted(observed, left, side="right") - 1, 0, m - 1)
            place = direction[of] * m + column
            moved = np.bincount(place.ravel(), (share[:, None] * weight[of]).ravel(), minlength=n_directions * m)
            waiting += moved.reshape(n_directions, m)
        out += _shared(self.drawn, waiting, held)
        for place, shares in zip(filled, parts, strict=True):
            # below the first energy the rest stores nothing
            home = min(int(np.searchsorted(observed, points.energy_eV[place], side="right")) - 1, m - 1)
            out[:, home] += points.share[place] * (1.0 - sum(part.share for part in shares))
        return np.asarray(out * (points.counts.sum() / np.maximum(out.sum(axis=1, keepdims=True), 1e-300)))


def _shared(drawn: Array, by_direction: Array, whole: Array) -> Array:
    """Return (R, m) counts of (d, m) counts by direction, each replica relative to what its records weigh."""
    if not len(whole):
        return np.zeros((len(drawn), by_direction.shape[1]))
    return np.asarray((drawn @ by_direction) / np.maximum(whole, 1e-300)[:, None])


def central_table(law: TabulatedDistribution) -> TabulatedReplicas:
    """Return a table as its only replica."""
    return TabulatedReplicas(law=law, drawn=np.ones((1, max(law.direction) + 1)))


def table_replicas(law: TabulatedDistribution, *, n_replicas: int, rng: np.random.Generator) -> TabulatedReplicas:
    """Return a table whose directions are drawn with replacement, `n_replicas` times."""
    n = max(law.direction) + 1
    return TabulatedReplicas(law=law, drawn=rng.multinomial(n, np.full(n, 1 / n), size=n_replicas).astype(float))


def tabulated_distribution(cascades: UsableCascades) -> TabulatedDistribution:
    """Return the law that cascades make as they are.

    Raises
    ------
    FitError
        If no cascade stored energy.
    """
    if not cascades.stores_energy.any():
        raise FitError(f"{cascades.species}: no cascade stored energy; simulate higher recoil energies")
    knots, knot = np.unique(cascades.recoil_energy_eV, return_inverse=True)
    direction = np.unique(cascades.direction_index, return_inverse=True)[1].reshape(-1)
    return TabulatedDistribution(
        knots_eV=tuple(map(float, knots)),
        knot=tuple(map(int, knot.reshape(-1))),
        direction=tuple(map(int, direction)),
        stored_energy_eV=tuple(map(float, np.where(cascades.stores_energy, cascades.stored_energy_eV, 0.0))),
        weight=tuple(map(float, cascades.weight)),
    )


def _check_knots(knots_eV: tuple[float, ...]) -> None:
    knots = np.asarray(knots_eV)
    if not (len(knots) and knots[0] > 0 and np.all(np.isfinite(knots)) and np.all(np.diff(knots) > 0)):
        raise InputError(f"a table at recoil energies of {knots_eV[:4]} eV: expected rising ones, above 0")


def _each(energy_eV: Array) -> Iterator[tuple[float, NDArray[np.intp]]]:
    """Yield each recoil energy with the places that it stands at."""
    known, place = np.unique(energy_eV.ravel(), return_inverse=True)
    order = np.argsort(place.reshape(-1), kind="stable")
    for one, rows in zip(known, np.split(order, np.cumsum(np.bincount(place.reshape(-1)))[:-1]), strict=True):
        yield float(one), rows
