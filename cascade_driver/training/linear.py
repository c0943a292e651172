r"""Fits of linear potentials: weighted ridge with curvature, prior means, covariance and extrapolation grade.

.. math:: \hat\beta = \arg\min \sum_r w_r^2 (y_r - R_r \beta)^2 + \sum_k \lambda_k |D_k \beta|^2
          + \tau (\beta - \beta_0)^T M (\beta - \beta_0)

y_r are labelled energies, forces and stresses less what the fixed core says of them, w_r one over the error that
is put up with, D_k second differences of splines. Only the normal equations are kept, a p x p matrix however many
frames there are; beside it the rows of the energies, one a frame, so that their weight may be chosen afterwards.

With cheap labels first and dear ones later, beta_0 is the cheap solution and M its normal matrix per row. M leaves
free what the cheap labels did not determine, so the departure wants strong curvature penalties and a small tau
(both by cross-validation on the dear labels): in a trial tau = 10 rows did worse than the dear labels alone.
"""

# SciPy annotates only part of what it offers:
# mypy: disallow-untyped-calls=False

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from ase import Atoms
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray
from pydantic import Field
from scipy import linalg

from cascade_driver.errors import FitError
from cascade_driver.kinds import Array
from cascade_driver.schema import parameters
from cascade_driver.simulation.lammps_engine import SinglePoint
from cascade_driver.training.descriptors import DesignRows, LinearForm, Penalty
from cascade_driver.training.frames import LabelledFrame

#: Rows that are added to a normal matrix at once: enough for a fast product, few enough for the cache.
_ROWS_AT_ONCE = 1200


@parameters
class GroupWeight:
    """Factors on the weights of a group of frames; 2 halves the error that is put up with."""

    energy: float = Field(default=1.0, ge=0)
    forces: float = Field(default=1.0, ge=0)
    stress: float = Field(default=1.0, ge=0)


@parameters
class Weights:
    """What error a fit puts up with.

    Attributes
    ----------
    force_floor_eV_A, force_share : float
        A component of a force of size F is to be met within floor + share F: emphasis on small forces made trial
        fits worse everywhere.
    energy_eV_per_atom : float
    stress_eV_A3 : float
    groups : dict
        Factors for groups of frames, by name.
    trusted_from_A : dict
        Per pair: frames in which two atoms are closer lose energy and stress, those atoms their forces. Below a
        distance labels are wrong (pseudopotentials, universal potentials) and ZBL rules.
    """

    force_floor_eV_A: float = Field(default=0.08, gt=0)
    force_share: float = Field(default=0.12, ge=0)
    energy_eV_per_atom: float = Field(default=0.003, gt=0)
    stress_eV_A3: float = Field(default=0.004, gt=0)
    groups: dict[str, GroupWeight] = Field(default_factory=dict)
    trusted_from_A: dict[str, float] = Field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Observation:
    """One frame as a regression sees it: y = R beta, each y with its weight (one over the tolerated error).

    Attributes
    ----------
    frame : LabelledFrame
    design : DesignRows
    energy_eV, forces_eV_A, stress_eV_A3 : float, (n, 3), (6,)
        Labels less the fixed part; the stress zero where there is none.
    energy_weight, force_weight, stress_weight : float, (n,), float
        Zero for what is not trusted.
    """

    frame: LabelledFrame
    design: DesignRows
    energy_eV: float
    forces_eV_A: Array
    stress_eV_A3: Array
    energy_weight: float
    force_weight: Array
    stress_weight: float

    def errors(self, coefficients: Array) -> tuple[float, Array, Array]:
        """Return prediction less label: energy in eV, forces (n, 3) in eV/A, stress (6,) in eV/A^3.

        Of a stress without weight nothing is known: nan.
        """
        design = self.design
        forces = np.tensordot(coefficients, design.forces_per_A, axes=1) - self.forces_eV_A
        stress = np.full(6, np.nan)
        if self.stress_weight > 0:
            stress = coefficients @ design.stress_per_A3 - self.stress_eV_A3
        return float(coefficients @ design.energy) - self.energy_eV, forces, stress

    def weighted(self) -> tuple[Array, Array]:
        """Return the weighted rows (p, m) of forces and stress, and their targets (m,)."""
        design = self.design
        size = len(design.energy)
        use = self.force_weight > 0
        w = np.repeat(self.force_weight[use], 3)
        forces = design.forces_per_A[:, use].reshape(size, -1)
        rows, target = [forces * w], [self.forces_eV_A[use].ravel() * w]
        if self.stress_weight > 0:
            rows.append(design.stress_per_A3 * self.stress_weight)
            target.append(self.stress_eV_A3 * self.stress_weight)
        return np.concatenate(rows, axis=1), np.concatenate(target)


def observe(
    frame: LabelledFrame, form: LinearForm, *, core: Callable[[Atoms], SinglePoint], weights: Weights
) -> Observation:
    """Return a frame with its design rows, labels less the fixed part, and weights.

    Raises
    ------
    FitError
        If a label is no number: a force without one would only lose its weight.
    """
    stress = frame.stress_eV_per_A3
    labels: list[float | Array] = [frame.energy_eV, frame.forces_eV_per_A]
    labels += [] if stress is None else [stress]
    if not all(np.isfinite(label).all() for label in labels):
        name = frame.origin or frame.structure_id
        raise FitError(f"a label of {name} is nan or inf; leave its frame out")
    fixed = core(frame.atoms)
    factor = weights.groups.get(frame.group, GroupWeight())
    close = _too_close(frame.atoms, weights.trusted_from_A)
    size = np.linalg.norm(frame.forces_eV_per_A, axis=1)
    force_weight = factor.forces / (weights.force_floor_eV_A + weights.force_share * size)
    sound = not close.any()
    stress_weight = 0.0 if stress is None or not sound else factor.stress / weights.stress_eV_A3
    return Observation(
        frame=frame,
        design=form.rows(frame.atoms, stress=stress_weight > 0),
        energy_eV=frame.energy_eV - fixed.energy_eV,
        forces_eV_A=frame.forces_eV_per_A - fixed.forces_eV_A,
        stress_eV_A3=np.zeros(6) if stress is None else stress - full_3x3_to_voigt_6_stress(fixed.stress_eV_A3),
        energy_weight=sound * factor.energy / (weights.energy_eV_per_atom * len(frame.atoms)),
        force_weight=np.where(close, 0.0, force_weight),
        stress_weight=stress_weight,
    )


def _too_close(atoms: Atoms, limits_A: Mapping[str, float]) -> NDArray[np.bool_]:
    """Return which atoms have a neighbour closer than the limit of their pair."""
    close = np.zeros(len(atoms), dtype=bool)
    if limits_A:
        from ase.neighborlist import neighbor_list

        cutoffs = {(a, b): limit for (a, b), limit in ((tuple(n.split("-")), x) for n, x in limits_A.items())}
        close[neighbor_list("i", atoms, cutoffs)] = True
    return close


@dataclass(kw_only=True)
class Moments:
    """Normal equations of forces and stresses, and the rows of energies, of a set of frames.

    Attributes
    ----------
    gram : (p, p) float
        Sum of w^2 R R^T; only the lower triangle means something.
    moment : (p,) float
        Sum of w^2 R y.
    square, count : float, int
        Sum of w^2 y^2, and the number of rows.
    energy_rows, energy_eV, energy_weight : (m, p), (m,), (m,) float
        Of each frame.
    frames : list of str
        Structure ids.
    """

    gram: Array
    moment: Array
    square: float = 0.0
    count: int = 0
    energy_rows: Array
    energy_eV: Array
    energy_weight: Array
    frames: list[str] = field(default_factory=list)

    @staticmethod
    def empty(size: int) -> Moments:
        """Return the moments of no frames."""
        return Moments(
            gram=np.zeros((size, size), order="F"),
            moment=np.zeros(size),
            energy_rows=np.zeros((0, size)),
            energy_eV=np.zeros(0),
            energy_weight=np.zeros(0),
        )

    @staticmethod
    def total(parts: Sequence[Moments]) -> Moments:
        """Return the moments of several sets of frames together."""
        whole = Moments.empty(len(parts[0].moment))
        for part in parts:
            whole.gram += part.gram
            whole.moment += part.moment
            whole.square += part.square
            whole.count += part.count
        whole.frames = [name for part in parts for name in part.frames]
        for name in ("energy_rows", "energy_eV", "energy_weight"):
            setattr(whole, name, np.concatenate([getattr(part, name) for part in parts]))
        return whole

    def normal_matrix(self) -> Array:
        """Return the normal matrix (p, p) of all rows, those of energies among them; only the lower triangle."""
        weighted = np.asfortranarray(self.energy_rows * self.energy_weight[:, None])
        gram = np.array(self.gram, order="F")
        return np.asarray(linalg.blas.dsyrk(1.0, weighted, beta=1.0, c=gram, trans=1, lower=1, overwrite_c=1))

    def without(self, part: Moments) -> Moments:
        """Return these moments less those of a part of the frames; energies must stand in the same order."""
        gone = set(part.frames)
        kept = np.array([name not in gone for name in self.frames], dtype=bool)
        return Moments(
            gram=self.gram - part.gram,
            moment=self.moment - part.moment,
            square=self.square - part.square,
            count=self.count - part.count,
            energy_rows=self.energy_rows[kept],
            energy_eV=self.energy_eV[kept],
            energy_weight=self.energy_weight[kept],
            frames=[name for name in self.frames if name not in gone],
        )


def accumulate(observations: Iterable[Observation], *, size: int) -> Moments:
    """Return the moments of frames, one after the other; memory does not grow with their number."""
    moments = Moments.empty(size)
    energies: list[tuple[Array, float, float]] = []
    rows: list[Array] = []
    targets: list[Array] = []
    for one in observations:
        row, target = one.weighted()
        rows.append(row)
        targets.append(target)
        energies.append((one.design.energy, one.energy_eV, one.energy_weight))
        moments.frames.append(one.frame.structure_id)
        if sum(len(t) for t in targets) >= _ROWS_AT_ONCE:
            _add(moments, np.concatenate(rows, axis=1), np.concatenate(targets))
            rows, targets = [], []
    if targets:
        _add(moments, np.concatenate(rows, axis=1), np.concatenate(targets))
    if energies:
        moments.energy_rows = np.array([e[0] for e in energies])
        moments.energy_eV = np.array([e[1] for e in energies])
        moments.energy_weight = np.array([e[2] for e in energies])
    return moments


def _add(moments: Moments, rows: Array, target: Array) -> None:
    # Half of the splines see nothing in most boxes: a quarter of the work.
    seen = np.flatnonzero(rows.any(axis=1))
    some = np.asfortranarray(rows[seen].T)
    product = linalg.blas.dsyrk(1.0, some, trans=1, lower=1)
    moments.gram[np.ix_(seen, seen)] += product
    moments.moment[seen] += some.T @ target
    moments.square += float(target @ target)
    moments.count += len(target)


@dataclass(frozen=True, kw_only=True)
class Prior:
    """What is believed before the labels: coefficients, and how dearly to leave them.

    Attributes
    ----------
    coefficients : (p,) float
        beta_0.
    metric : (p, p) float
        M, lower triangle; that of a cheap fit per row, for instance.
    strength : float
        tau, in rows: as many of the cheap rows count as much as the dear ones.
    """

    coefficients: Array
    metric: Array
    strength: float


@dataclass(frozen=True, kw_only=True)
class Solution:
    """A fit with its covariance.

    Attributes
    ----------
    coefficients : (p,) float
    factor : (p, p) float
        Lower Cholesky factor of the penalised normal matrix A.
    scale : float
        s: root of the mean weighted square error of the rows; 1 where the tolerated errors were right. The
        posterior covariance is s^2 A^-1.
    """

    coefficients: Array
    factor: Array
    scale: float

    def spread(self, rows: Array) -> Array:
        """Return the standard deviation of predictions whose rows stand in `rows` (p, m); shape (m,)."""
        z = linalg.solve_triangular(self.factor, rows, lower=True, check_finite=False)
        return np.asarray(self.scale * np.sqrt(np.einsum("pm,pm->m", z, z)))


def solve(
    moments: Moments,
    *,
    penalties: Sequence[Penalty],
    strengths: Mapping[str, float],
    prior: Prior | None = None,
) -> Solution:
    """Return the minimum of the sum at the top of the module.

    Parameters
    ----------
    moments : Moments
    penalties : sequence of Penalty
    strengths : mapping of str to float
        What each penalty is weighted by, under its name.
    prior : Prior, optional
        The penalties then act on the departure from it.

    Raises
    ------
    FitError
        If the labels and penalties do not determine the coefficients.
    """
    unknown = sorted({p.name for p in penalties} ^ set(strengths))
    if unknown:
        raise FitError(f"strengths must be given for {sorted(p.name for p in penalties)}; mind {unknown}")
    gram = moments.normal_matrix()
    moment = moments.moment + moments.energy_rows.T @ (moments.energy_weight**2 * moments.energy_eV)
    start = np.zeros_like(moment)
    if prior is not None:
        start = prior.coefficients
        moment = moment - _symmetric_product(gram, start)
        gram += prior.strength * prior.metric
    for penalty in penalties:
        square = (penalty.rows.T @ penalty.rows).tocoo()
        gram[square.row, square.col] += strengths[penalty.name] * square.data
    try:
        factor = linalg.cholesky(gram, lower=True, overwrite_a=True, check_finite=False)
    except linalg.LinAlgError as complaint:
        raise FitError(f"the coefficients are not determined ({complaint}); strengthen the penalties") from None
    if not np.isfinite(moment).all():
        raise FitError("a label is nan or inf, and would make all coefficients so; leave its frame out")
    departure = linalg.cho_solve((factor, True), moment, check_finite=False)
    coefficients = start + departure
    error, count = squared_error(moments, coefficients)
    return Solution(coefficients=coefficients, factor=np.tril(factor), scale=float(np.sqrt(error / max(count, 1))))


def squared_error(moments: Moments, coefficients: Array) -> tuple[float, int]:
    """Return the weighted sum of squared errors over all rows, and the number of rows."""
    quadratic = float(coefficients @ _symmetric_product(moments.gram, coefficients))
    forces = quadratic - 2 * float(coefficients @ moments.moment) + moments.square
    energies = moments.energy_weight * (moments.energy_rows @ coefficients - moments.energy_eV)
    count = moments.count + int(np.count_nonzero(moments.energy_weight))
    return max(forces, 0.0) + float(energies @ energies), count


def _symmetric_product(lower: Array, vector: Array) -> Array:
    return np.asarray(linalg.blas.dsymv(1.0, lower, vector, lower=1))


def cheap_prior(moments: Moments, solution: Solution, *, strength: float) -> Prior:
    """Return a prior from a fit to cheap labels: its coefficients, and its normal matrix per row as metric."""
    count = moments.count + len(moments.energy_eV)
    metric = np.tril(moments.normal_matrix()) / count
    return Prior(coefficients=solution.coefficients, metric=metric, strength=strength)


def force_spread_eV_A(solution: Solution, design: DesignRows, *, atoms: Sequence[int] | None = None) -> Array:
    """Return the extrapolation grade of atoms: how uncertain the fit leaves their forces, in eV/A.

    The root of the summed posterior variances of the three components, s sqrt(sum_x f_x^T A^-1 f_x) with the rows
    f of an atom's force. Where the training frames are alike it is small, in what they never saw it is large,
    whatever the prediction; it can be followed along a cascade.

    Parameters
    ----------
    solution : Solution
    design : DesignRows
    atoms : sequence of int, optional
        Those asked for; all by default.
    """
    rows = design.forces_per_A if atoms is None else design.forces_per_A[:, list(atoms)]
    spread = solution.spread(rows.reshape(len(rows), -1)).reshape(-1, 3)
    return np.asarray(np.sqrt((spread**2).sum(axis=1)))
