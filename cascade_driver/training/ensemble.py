r"""An uncertainty from the potential itself: coefficients drawn around a fit, each a potential that can run.

Two ways to draw. The *posterior* takes every row for an independent error of size s:

.. math:: \beta = \hat\beta + s L^{-T} z, \quad A = L L^T, \quad z \sim N(0, 1).

The errors of a linear form are not that: they are what the form cannot say, and alike in frames of one trajectory.
The *group* bootstrap lets whole trajectories vote. With the score of a trajectory,
g_t = sum_r w_r^2 R_r^T (y_r - R_r beta), a draw is

.. math:: \beta = \hat\beta + A^{-1} \sum_t \xi_t g_t, \quad \xi_t \sim N(0, 1),

whose covariance is the sandwich A^{-1} (sum_t g_t g_t^T) A^{-1} of clustered errors: a score bootstrap, which
needs one pass over the frames and no new fit (P. Kline & A. Santos, Journal of Econometric Methods 1, 23 (2012)).

Neither knows what no coefficients of the form can mend, so both spread less than the fit errs. All draws are
therefore moved away from the fit by one factor that makes the spread of energies of frames as large as the errors
there of fits that have not seen them (the calibration of F. Musil et al., J. Chem. Theory Comput. 15, 906 (2019),
doi:10.1021/acs.jctc.8b00959, with sums in place of its mean of ratios: one frame with a small spread must
not decide).

What is known best must not be moved by that factor: draws that spread five times wider in all directions have
crystals that are none. They are therefore held where the labels of the crystal speak, by a metric A + w G in place
of A with the normal matrix G of those frames.
"""

# SciPy annotates only part of what it offers:
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from scipy import linalg

from cascade_driver.kinds import Array
from cascade_driver.simulation.potential import Potential, ZblSwitch
from cascade_driver.training.descriptors import LinearForm
from cascade_driver.training.export import About, bodies_of, write_potential
from cascade_driver.training.linear import Moments, Observation, Solution


def scores(observations: Iterable[tuple[str, Observation]], coefficients: Array) -> dict[str, Array]:
    """Return g_t (p,) of each trajectory, or set of them that belongs together.

    Parameters
    ----------
    observations : iterable of (str, Observation)
        Frames, each with the name of its set.
    coefficients : (p,) float
        Those of the fit to all of them.
    """
    found: dict[str, Array] = {}
    for name, one in observations:
        rows, target = one.weighted()
        score = rows @ (target - coefficients @ rows)
        energy = one.energy_eV - float(coefficients @ one.design.energy)
        score += one.energy_weight**2 * energy * one.design.energy
        found[name] = found.get(name, 0.0) + score
    return found


def group_draws(
    solution: Solution,
    of_groups: Mapping[str, Array],
    *,
    draws: int,
    random: np.random.Generator,
    factor: float = 1.0,
) -> Array:
    """Return `draws` sets of coefficients (draws, p) from the bootstrap over groups, spread by a factor."""
    change = _group_changes(solution, of_groups)
    mixed = random.standard_normal((draws, change.shape[1])) @ change.T
    return np.asarray(solution.coefficients + factor * mixed)


def _group_changes(solution: Solution, of_groups: Mapping[str, Array]) -> Array:
    """Return A^-1 g_t of all groups, (p, groups): the vote of each on the coefficients."""
    table = np.array(list(of_groups.values()))
    # The mean is not quite zero: penalties pull. It is no part of the spread.
    table = table - table.mean(axis=0)
    return np.asarray(linalg.cho_solve((solution.factor, True), table.T, check_finite=False))


def spread_factor(solution: Solution, of_groups: Mapping[str, Array], *, rows: Array, errors: Array) -> float:
    """Return by how much draws of the group bootstrap must spread more to err as the fit does.

    Parameters
    ----------
    solution : Solution
    of_groups : dict
        Scores, see `scores`.
    rows : (p, m) float
        Of predictions, such as the energies of frames.
    errors : (m,) float
        Of fits that have not seen them.

    Returns
    -------
    float
        sqrt(sum errors^2 / sum variances), not below 1.
    """
    predicted = rows.T @ _group_changes(solution, of_groups)
    return max(1.0, float(np.sqrt((errors**2).sum() / (predicted**2).sum())))


def anchored(solution: Solution, anchors: Moments, *, weight: float) -> Solution:
    """Return a fit whose draws leave predictions of some frames where they are: its metric is A + weight G.

    Parameters
    ----------
    solution : Solution
    anchors : Moments
        Of the frames to be held, G.
    weight : float
        How many times more they count than in the fit.
    """
    metric = np.asfortranarray(solution.factor @ solution.factor.T + weight * anchors.normal_matrix())
    factor = linalg.cholesky(metric, lower=True, overwrite_a=True, check_finite=False)
    return dataclasses.replace(solution, factor=np.tril(factor))


def posterior_draws(solution: Solution, *, draws: int, random: np.random.Generator) -> Array:
    """Return `draws` sets of coefficients (draws, p) from the posterior."""
    z = random.standard_normal((len(solution.coefficients), draws))
    change = linalg.solve_triangular(solution.factor, z, lower=True, trans="T", check_finite=False)
    return np.asarray(solution.coefficients + solution.scale * change.T)


def write_ensemble(
    out: Path,
    draws: Sequence[Array] | Array,
    *,
    form: LinearForm,
    zbl: Mapping[str, ZblSwitch],
    about: About,
) -> list[Potential]:
    """Write each draw as a potential's folder `out-1`, `out-2`, ... and return them.

    Raises
    ------
    InputError
        If one of the folders exists.
    """
    return [
        write_potential(
            out.with_name(f"{out.name}-{n}"),
            species=form.species,
            zbl=zbl,
            bodies=bodies_of(form, coefficients, name=out.name),
            about=About(
                title=f"{about.title}, draw {n}",
                description=about.description,
                origin=about.origin,
                license=about.license,
                status=about.status,
                crystals=about.crystals,
            ),
        )
        for n, coefficients in enumerate(draws, start=1)
    ]
