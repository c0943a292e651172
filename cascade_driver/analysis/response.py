"""From recoil energy to observed energy: the response matrix of one species."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cascade_driver.analysis.outcomes import FARTHEST_LOCATION_eV
from cascade_driver.errors import InputError

#: Gauss-Legendre nodes per segment of a recoil bin; a segment is never longer than the sharpest width in
#: play, over which four nodes integrate a cumulative normal law to better than 1e-6.
NODES_PER_SEGMENT = 4

#: More pieces than this per segment are not worth their time.
MOST_PIECES = 64

#: Of widths that a law of stored energies (eV) can have; a polynomial carried too far has any.
WIDTHS_eV = (1e-9, 1e6)

#: Recoil energies worked on at a time: bounds the memory at a few times this many times the observed bins.
NODES_AT_A_TIME = 512

#: Points per recoil bin of a fold through replicas.
POINTS_PER_BIN = 4


class DefectProbability(Protocol):
    """What this module needs of a defect probability."""

    @property
    def width_eV(self) -> float:
        """Over which it rises about each of `bends_eV`; 0 where it is straight between them."""

    @property
    def bends_eV(self) -> tuple[float, ...]:
        """Recoil energies at which it is not smooth, or steepest."""

    def __call__(self, recoil_energy_eV: ArrayLike) -> NDArray[np.float64]:
        """Return it at recoil energies of any shape."""


class StoredLaw(Protocol):
    """What this module needs of a law of what is stored if something is, given the recoil energy."""

    @property
    def lowest_energy_eV(self) -> float:
        """Lowest recoil energy that stored energy."""

    def location_at(self, recoil_energy_eV: ArrayLike) -> NDArray[np.float64]:
        """Return where it lies."""

    def widths_at(self, recoil_energy_eV: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return how wide it is, left and right."""

    def cumulative(self, stored_energy_eV: ArrayLike, recoil_energy_eV: ArrayLike) -> NDArray[np.float64]:
        """Return the probability that at most this is stored; the arguments broadcast."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Response:
    """Probability of an observed energy given a recoil energy, in bins.

    Attributes
    ----------
    species : str
        Chemical symbol of the knocked-on atom. Each species has its own response, applied before spectra are
        added.
    recoil_edges_eV : (n + 1,) float
    observed_edges_eV : (m + 1,) float
        From zero (or below) to the highest recoil energy (or above), so that no count is lost.
    matrix : (m, n) float
        `matrix[i, j]` is the probability of observing in bin i what recoils uniformly within bin j; columns
        sum to 1, so that `matrix @ counts` conserves counts.

    Raises
    ------
    InputError
        If edges do not rise, shapes do not fit, or a column is not a probability.
    """

    species: str
    recoil_edges_eV: NDArray[np.float64]
    observed_edges_eV: NDArray[np.float64]
    matrix: NDArray[np.float64]

    def __post_init__(self) -> None:
        for name in ("recoil_edges_eV", "observed_edges_eV"):
            rising_edges(getattr(self, name), name=name)
        shape = (len(self.observed_edges_eV) - 1, len(self.recoil_edges_eV) - 1)
        if self.matrix.shape != shape:
            raise InputError(f"response of shape {self.matrix.shape} for {shape} bins: shape and edges must agree")
        # 1e-9: far above rounding, far below any statistical use
        if not (np.all(self.matrix >= 0) and np.allclose(self.matrix.sum(axis=0), 1, rtol=0, atol=1e-9)):
            raise InputError("every column of a response must be a probability: not negative, with sum 1")


def rising_edges(edges: ArrayLike, *, name: str) -> NDArray[np.float64]:
    """Return bin edges (n + 1,) in eV as an array.

    Raises
    ------
    InputError
        If they are fewer than two, not finite, or do not rise; `name` is what the message calls them.
    """
    array = np.array(edges, dtype=np.float64)
    if array.ndim != 1 or len(array) < 2 or not np.all(np.isfinite(array)) or not np.all(np.diff(array) > 0):
        raise InputError(f"{name} must be two or more finite energies in rising order")
    return array


def observed_edges(recoil_edges_eV: ArrayLike) -> NDArray[np.float64]:
    """Return the recoil edges, extended down to zero by bins of the first width; the lowest bin may be
    narrower.

    A recoil above the lowest edge may be observed below it. The bins of the recoil edges are the last ones of
    those returned, so `spectrum[-n:]` takes them back.

    Parameters
    ----------
    recoil_edges_eV : (n + 1,) float

    Raises
    ------
    InputError
        If the edges do not rise from zero or more.

    Examples
    --------
    >>> observed_edges([25.0, 35.0, 50.0])
    array([ 0.,  5., 15., 25., 35., 50.])
    """
    edges = rising_edges(recoil_edges_eV, name="recoil_edges_eV")
    if edges[0] < 0:
        raise InputError(
            f"recoil_edges_eV begin at {edges[0]:g} eV: recoil energies are not negative; "
            "leave the bins below 0 eV out"
        )
    width = edges[1] - edges[0]
    # 1e-9: a sliver that rounding leaves at zero is no bin
    n_below = int(np.ceil(edges[0] / width - 1e-9))
    below = edges[0] - width * np.arange(n_below, 0, -1)
    if n_below:
        below[0] = 0.0
    return np.concatenate([below, edges])


@dataclass(frozen=True, kw_only=True, eq=False)
class BinPoints:
    """Counts in recoil bins, shared evenly among points within each: what replicas fold.

    Attributes
    ----------
    counts : (n,) float
    observed_edges_eV : (m + 1,) float
        See `observed_edges`.
    below : int
        Observed bins below the first recoil bin, m - n.
    energy_eV, share : (n POINTS_PER_BIN,) float
        Of each point.
    """

    counts: NDArray[np.float64]
    observed_edges_eV: NDArray[np.float64]
    below: int
    energy_eV: NDArray[np.float64]
    share: NDArray[np.float64]


def points_in_bins(counts: ArrayLike, *, recoil_edges_eV: ArrayLike) -> BinPoints:
    """Return the points of recoil counts (n,) in bins (n + 1,).

    Raises
    ------
    InputError
        If counts and edges do not fit, or edges are unfit.
    """
    observed = observed_edges(recoil_edges_eV)
    recoil = np.asarray(recoil_edges_eV, dtype=np.float64)
    given = np.asarray(counts, dtype=np.float64)
    n = len(recoil) - 1
    if given.shape != (n,):
        raise InputError(f"counts of shape {given.shape} for {n} recoil bins")
    point = (np.arange(POINTS_PER_BIN) + 0.5) / POINTS_PER_BIN
    return BinPoints(
        counts=given,
        observed_edges_eV=observed,
        below=len(observed) - len(recoil),
        energy_eV=(recoil[:-1, None] + np.diff(recoil)[:, None] * point).ravel(),
        share=np.repeat(given / POINTS_PER_BIN, POINTS_PER_BIN),
    )


def _cut(
    recoil: NDArray[np.float64], observed: NDArray[np.float64], probability: DefectProbability, stored: StoredLaw
) -> NDArray[np.float64]:
    """Return recoil energies between which everything is smooth and no bin border lies."""
    edges = np.concatenate([recoil, observed])
    bends = np.array(probability.bends_eV)
    kinks = np.array([stored.lowest_energy_eV, *bends])
    # 1e-9: a kink this close to an edge makes no segment of its own
    apart = np.abs(kinks[:, None] - edges).min(axis=1) > 1e-9 * recoil[-1]
    kinks = np.concatenate([edges, kinks[apart]])
    cuts = np.unique(kinks[(kinks >= recoil[0]) & (kinks <= recoil[-1])])
    width = probability.width_eV
    with np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore"):
        left, right = stored.widths_at(cuts)
        location = stored.location_at(cuts)
    sharpest, widest = np.minimum(left, right), np.maximum(left, right)
    # nan included
    for name, value, fit in (
        ("width", left, (sharpest >= WIDTHS_eV[0]) & (widest <= WIDTHS_eV[1])),
        ("location", location, np.abs(location) <= FARTHEST_LOCATION_eV),
    ):
        if not fit.all():
            at = int(np.argmin(fit))
            raise InputError(
                f"the law of the stored energies has a {name} of {value[at]:g} eV at {cuts[at]:g} eV of recoil: "
                "it cannot be carried so far; end the spectrum nearer to the simulated energies, or mend the model"
            )
    sharpest = np.minimum(sharpest[1:], sharpest[:-1])
    if width > 0:
        near = np.any((cuts[1:, None] > bends - 40 * width) & (cuts[:-1, None] < bends + 40 * width), axis=1)
        sharpest = np.where(near, np.minimum(sharpest, width), sharpest)
    pieces = np.ceil(np.minimum(np.diff(cuts), MOST_PIECES * sharpest) / sharpest).astype(int)
    return np.concatenate(
        [np.linspace(cuts[i], cuts[i + 1], pieces[i] + 1)[:-1] for i in range(len(pieces))] + [cuts[-1:]]
    )


def binned_response(
    species: str,
    *,
    defect_probability: DefectProbability,
    distribution: StoredLaw,
    recoil_edges_eV: ArrayLike,
    observed_edges_eV: ArrayLike | None = None,
) -> Response:
    r"""Return the response of one species in bins.

    .. math::
        P(E_\mathrm{obs} \mid E_R) = (1 - p_d)\, \delta(E_\mathrm{obs} - E_R)
        + p_d\, f(E_R - E_\mathrm{obs} \mid E_R)

    averaged over recoil energies that are uniform within a bin (Soum-Sidikov et al. 2024). With :math:`F` the
    cumulative distribution, the observed bin :math:`[a, b]` takes of each recoil energy

    .. math:: p_d(E_R)\, [F(E_R - a \mid E_R) - F(E_R - b \mid E_R)]

    by Gauss-Legendre nodes in :math:`E_R`, and :math:`1 - p_d` wherever :math:`E_R` itself lies in it. Recoil
    bins are cut at every observed edge inside them, so that this part is exact and no node rule meets a kink.

    Parameters
    ----------
    species : str
        Its name in the response.
    defect_probability : DefectProbability
    distribution : StoredLaw
        Of what is stored, if something is.
    recoil_edges_eV : (n + 1,) float
    observed_edges_eV : (m + 1,) float, optional
        By default those of `observed_edges`: the recoil edges, extended down to zero. Others must begin at
        zero or below and reach the last recoil edge: else counts would be lost.

    Raises
    ------
    InputError
        If edges are unfit.
    """
    recoil = rising_edges(recoil_edges_eV, name="recoil_edges_eV")
    lowest = observed_edges(recoil)
    observed = lowest if observed_edges_eV is None else rising_edges(observed_edges_eV, name="observed_edges_eV")
    if observed[0] > 0 or observed[-1] < recoil[-1]:
        raise InputError(
            f"observed_edges_eV from {observed[0]:g} to {observed[-1]:g} eV would lose counts: they must "
            f"begin at 0 and reach {recoil[-1]:g} eV, or be left out"
        )
    cuts = _cut(recoil, observed, defect_probability, distribution)
    node, node_weight = np.polynomial.legendre.leggauss(NODES_PER_SEGMENT)
    half = np.diff(cuts)[:, None] / 2
    energy = (cuts[:-1, None] + half * (1 + node)).ravel()
    # the left end of a segment decides its bins: a node could round onto the edge above it
    column = np.repeat(np.searchsorted(recoil, cuts[:-1], side="right") - 1, NODES_PER_SEGMENT)
    share = (half * node_weight).ravel() / np.diff(recoil)[column]
    matrix = np.zeros((len(observed) - 1, len(recoil) - 1))
    probability = defect_probability(energy)
    row = np.repeat(np.searchsorted(observed, cuts[:-1], side="right") - 1, NODES_PER_SEGMENT)
    np.add.at(matrix, (row, column), share * (1 - probability))
    damaging = np.flatnonzero(probability > 0)
    for start in range(0, len(damaging), NODES_AT_A_TIME):
        at = damaging[start : start + NODES_AT_A_TIME]
        reached = distribution.cumulative(energy[at] - observed[:, None], energy[at])
        part = np.maximum(reached[:-1] - reached[1:], 0.0) * (share[at] * probability[at])
        first = np.flatnonzero(np.diff(column[at], prepend=-1))
        matrix[:, column[at][first]] += np.add.reduceat(part, first, axis=1)
    return Response(
        species=species,
        recoil_edges_eV=recoil,
        observed_edges_eV=observed,
        matrix=matrix / matrix.sum(axis=0),
    )
