r"""Which structures to label next: those that teach a linear fit most.

The forces of a candidate have the posterior covariance :math:`s^2 F^T A^{-1} F`, with the rows F (p, m) of its
force components and the penalised normal matrix A of the fit. Labelling it with errors of size :math:`\sigma`
adds :math:`F F^T / \sigma^2` to A. Candidates are taken one by one: the one with the largest mean variance, after
what the ones before it would teach. Two frames of one flight, however far from the training set, are thus rarely
both taken.
"""

# SciPy annotates only part of what it offers:
# mypy: disallow-untyped-calls=False

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import linalg

from cascade_driver.kinds import Array
from cascade_driver.training.descriptors import DesignRows
from cascade_driver.training.linear import Solution


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A candidate that was chosen.

    Attributes
    ----------
    index : int
        Its place among the candidates.
    spread_eV_A : float
        Root mean square uncertainty of its force components, given the labels of all chosen before it.
    """

    index: int
    spread_eV_A: float


def choose_candidates(
    solution: Solution, designs: Iterable[DesignRows], *, count: int, label_error_eV_A: float = 0.1
) -> list[Choice]:
    """Return up to `count` candidates in the order of what they teach.

    Parameters
    ----------
    solution : Solution
        The fit so far.
    designs : iterable of DesignRows
        Of the candidates; whitened rows of all of them are held in memory (12 MB per 96 atoms and 5000
        coefficients).
    count : int
    label_error_eV_A : float
        sigma: how well the form can meet a label at best.
    """
    whitened = [_whitened(solution, design) for design in designs]
    chosen: list[Choice] = []
    left = list(range(len(whitened)))
    while left and len(chosen) < count:
        variances = [float((whitened[k] ** 2).sum(axis=0).mean()) for k in left]
        best = left.pop(int(np.argmax(variances)))
        chosen.append(Choice(index=best, spread_eV_A=max(variances) ** 0.5))
        _learn(whitened, best, left, sigma=label_error_eV_A)
    return chosen


def _whitened(solution: Solution, design: DesignRows) -> Array:
    """Return s L^-1 F (p, m): its columns' squared lengths are the variances of the force components."""
    rows = design.forces_per_A.reshape(len(design.energy), -1)
    return np.asarray(
        solution.scale * linalg.solve_triangular(solution.factor, rows, lower=True, check_finite=False)
    )


def _learn(whitened: list[Array], taken: int, left: Sequence[int], *, sigma: float) -> None:
    """Update the candidates that are left as if the one taken had its label.

    With Z = Q T of it, (1 + Z Z^T / sigma^2)^(-1/2) = 1 - Q (1 - (1 + T T^T / sigma^2)^(-1/2)) Q^T.
    """
    q, t = linalg.qr(whitened[taken], mode="economic", check_finite=False)
    values, vectors = linalg.eigh(t @ t.T / sigma**2)
    basis = q @ vectors
    shrink = 1 - 1 / np.sqrt(1 + np.clip(values, 0, None))
    for k in left:
        whitened[k] = whitened[k] - basis @ (shrink[:, None] * (basis.T @ whitened[k]))
