r"""An uncertainty from the potential itself: coefficients drawn around a fit, each a potential that can run.

Two ways to draw. The *posterior* takes every row for an independent error of size s:

.. math:: \beta = \hat\beta + s L^{-T} z, \quad A = L L^T, \quad z \sim N(0, 1).

The errors of a linear form are not that: they are what the form cannot say, and alike in frames of one trajectory.
The *group* bootstrap lets whole trajectories vote. With the score of a trajectory,
g_t = sum_r w_r^2 R_r^T (y_r - R_r beta), a draw is

.. math:: \beta = \hat\beta + A^{-1} \sum_t \xi_t g_t, \quad \xi_t \sim N(0, 1),

whose covariance is the sandwich A^{-1} (sum_t g_t g_t^T) A^{-1} of clustered errors: a score bootstrap, which
needs one pass over the frames and no new fit (P. Kline & A. Santos, Journal of Econometric Methods 1, 23 (2012)).
"""

# SciPy annotates only part of what it offers:
# mypy: disallow-untyped-calls=False

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from cascade_driver.simulation.potential import Potential, ZblSwitch
from cascade_driver.training.descriptors import LinearForm
from cascade_driver.training.export import About, bodies_of, write_potential
from cascade_driver.training.linear import Observation, Solution

Floats = NDArray[np.float64]


def scores(observations: Iterable[tuple[str, Observation]], coefficients: Floats) -> dict[str, Floats]:
    """Return g_t (p,) of each trajectory, or set of them that belongs together.

    Parameters
    ----------
    observations : iterable of (str, Observation)
        Frames, each with the name of its set.
    coefficients : (p,) float
        Those of the fit to all of them.
    """
    found: dict[str, Floats] = {}
    for name, one in observations:
        rows, target = one.weighted()
        score = rows @ (target - coefficients @ rows)
        energy = one.energy_eV - float(coefficients @ one.design.energy)
        score += one.energy_weight**2 * energy * one.design.energy
        found[name] = found.get(name, 0.0) + score
    return found


def group_draws(
    solution: Solution, of_groups: Mapping[str, Floats], *, draws: int, random: np.random.Generator
) -> Floats:
    """Return `draws` sets of coefficients (draws, p) from the bootstrap over groups."""
    table = np.array(list(of_groups.values()))
    # The mean is not quite zero: penalties pull. It is no part of the spread.
    table = table - table.mean(axis=0)
    mixed = random.standard_normal((draws, len(table))) @ table
    change = linalg.cho_solve((solution.factor, True), mixed.T, check_finite=False)
    return np.asarray(solution.coefficients + change.T)


def posterior_draws(solution: Solution, *, draws: int, random: np.random.Generator) -> Floats:
    """Return `draws` sets of coefficients (draws, p) from the posterior."""
    z = random.standard_normal((len(solution.coefficients), draws))
    change = linalg.solve_triangular(solution.factor, z, lower=True, trans="T", check_finite=False)
    return np.asarray(solution.coefficients + solution.scale * change.T)


def write_ensemble(
    out: Path,
    draws: Sequence[Floats] | Floats,
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
