"""What a recoil stores as a function of its direction in the crystal, from the same records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import scipy  # its `stats` is loaded where it is asked for: that takes as long as all the rest
from numpy.typing import ArrayLike

from cascade_driver.analysis.defect_probability import POINT_COVERAGE
from cascade_driver.errors import InputError
from cascade_driver.kinds import Array
from cascade_driver.simulation.outcome import CascadeTable

#: Shufflings of cascades among directions: p-values down to 5e-4, 10 000 cascades in two seconds.
_SHUFFLINGS = 1999
#: Of them, so that those of 10 000 cascades take some ten MB.
_SHUFFLED_AT_ONCE = 100


@dataclass(frozen=True, kw_only=True)
class DirectionPoint:
    """What the cascades of one direction and recoil energy stored.

    Attributes
    ----------
    direction : (float, float, float)
        Unit vector in the crystal frame, in the fundamental domain as the campaign sampled it.
    recoil_energy_eV : float
    n_cascades, n_defects : int
    probability, lower, upper : float
        Share that stored energy, and its 68.27 % Wilson interval (Brown, Cai & DasGupta 2001,
        doi:10.1214/ss/1009213286, Eq. 4).
    mean_stored_energy_eV, standard_error_eV : float
        Over all usable cascades, those that stored nothing included; the error is nan for a single one.
    """

    direction: tuple[float, float, float]
    recoil_energy_eV: float
    n_cascades: int
    n_defects: int
    probability: float
    lower: float
    upper: float
    mean_stored_energy_eV: float
    standard_error_eV: float


def direction_map(table: CascadeTable, *, species: str, recoil_energy_eV: float) -> tuple[DirectionPoint, ...]:
    """Return what was stored along each direction at one recoil energy.

    Raises
    ------
    InputError
        If there is no usable cascade of that species and energy.
    """
    part = _usable_of(table, species, recoil_energy_eV)
    vectors, index = np.unique(_rounded(part.direction), axis=0, return_inverse=True)
    points = []
    for number, vector in enumerate(vectors):
        here = index.reshape(-1) == number
        stored = np.where(part.stores_energy[here], part.stored_energy_eV[here], 0.0)
        n, hits = int(here.sum()), int(part.stores_energy[here].sum())
        interval = scipy.stats.binomtest(hits, n).proportion_ci(POINT_COVERAGE, method="wilson")
        points.append(
            DirectionPoint(
                direction=(float(vector[0]), float(vector[1]), float(vector[2])),
                recoil_energy_eV=float(recoil_energy_eV),
                n_cascades=n,
                n_defects=hits,
                probability=hits / n,
                lower=float(interval.low),
                upper=float(interval.high),
                mean_stored_energy_eV=float(stored.mean()),
                standard_error_eV=float(stored.std(ddof=1) / np.sqrt(n)) if n > 1 else float("nan"),
            )
        )
    return tuple(points)


def _usable_of(table: CascadeTable, species: str, recoil_energy_eV: float) -> CascadeTable:
    rows = table.is_usable & (table.species == species) & (table.recoil_energy_eV == recoil_energy_eV)
    if not rows.any():
        raise InputError(f"no usable cascade of {species} at {recoil_energy_eV:g} eV: choose a simulated energy")
    return table.select(rows)


def _rounded(direction: Array) -> Array:
    """Return directions such that equal ones are equal to the bit, without -0."""
    return np.asarray(np.round(direction, 9) + 0.0)


@dataclass(frozen=True, kw_only=True)
class DirectionEffect:
    r"""How much of what differs between cascades of one energy is the direction's doing.

    Attributes
    ----------
    n_directions, n_cascades : int
        Directions along which at least two cascades were flown, and those cascades.
    share : float
        Of the variance of the stored energy, zeros included: the intraclass correlation of a random direction,

        .. math:: \frac{B - W}{B + (n_0 - 1) W}, \qquad
            n_0 = \frac{1}{k - 1} \Big(N - \frac{\sum_i n_i^2}{N}\Big)

        with the mean squares between and within k directions of n_i, in all N cascades (Shrout & Fleiss 1979,
        doi:10.1037/0033-2909.86.2.420, ICC(1,1); n_0 of unequal groups by Donner 1986, doi:10.2307/1403259).
        About 0 if the direction does not matter, also below it; 1 if nothing else does.
    p_value : float
        Share of the shufflings of cascades among directions that spread the directions' means as far.
    """

    n_directions: int
    n_cascades: int
    share: float
    p_value: float


def direction_effect(table: CascadeTable, *, species: str, recoil_energy_eV: float) -> DirectionEffect | None:
    """Return whether recoils of one energy store energy by their direction or by their thermal start.

    None where fewer than two directions were flown twice, or all cascades store the same.

    Raises
    ------
    InputError
        If there is no usable cascade of that species and energy.
    """
    part = _usable_of(table, species, recoil_energy_eV)
    _, index, counts = np.unique(_rounded(part.direction), axis=0, return_inverse=True, return_counts=True)
    stored = np.where(part.stores_energy, part.stored_energy_eV, 0.0)
    groups = [stored[index.reshape(-1) == number] for number in np.flatnonzero(counts > 1)]
    if len(groups) < 2 or np.ptp(np.concatenate(groups)) == 0:
        return None
    n = np.array([len(group) for group in groups])
    within = sum(float(((group - group.mean()) ** 2).sum()) for group in groups)
    whole = np.concatenate(groups)
    between = float(((whole - whole.mean()) ** 2).sum()) - within
    mean_between, mean_within = between / (len(n) - 1), within / (n.sum() - len(n))
    typical = (n.sum() - (n**2).sum() / n.sum()) / (len(n) - 1)

    def spread(*shuffled: Array, axis: int) -> Array:
        # The whole sum of squares stays, so that of the directions' sums orders the shufflings as F does.
        return sum((np.sum(group, axis=axis) ** 2 / group.shape[axis] for group in shuffled), start=np.zeros(()))

    trial = scipy.stats.permutation_test(
        groups, spread, n_resamples=_SHUFFLINGS, batch=_SHUFFLED_AT_ONCE, alternative="greater", rng=0
    )
    return DirectionEffect(
        n_directions=len(n),
        n_cascades=int(n.sum()),
        share=float((mean_between - mean_within) / (mean_between + (typical - 1) * mean_within)),
        p_value=float(trial.pvalue),
    )


def toward(
    table: CascadeTable, direction: ArrayLike, *, rotations: Array, angular_width_deg: float = 15.0
) -> CascadeTable:
    r"""Return the cascades weighted for recoils near one direction, as after the tag of a gamma.

    .. math:: w'_d \propto w_d \sum_{g} \exp[\kappa (\hat n \cdot g \hat n_d - 1)], \qquad
        \kappa = 1 / \Delta^2

    a von Mises-Fisher kernel over the symmetry orbit of each sampled direction. Fits and responses of the
    returned table are those of that direction; a narrow kernel leaves few effective cascades.

    Parameters
    ----------
    table : CascadeTable
    direction : (3,) array_like
        In the crystal frame, of any length.
    rotations : (g, 3, 3) float
        Point group of the site, as from `simulation.knock_on.site_rotations`.
    angular_width_deg : float
        Delta, standard deviation of the kernel about each of two axes.

    Raises
    ------
    InputError
        If the direction is zero or not finite, or the width not positive.
    """
    wanted = np.asarray(direction, dtype=np.float64)
    length = float(np.linalg.norm(wanted))
    if wanted.shape != (3,) or not 0 < length < np.inf or not 0 < angular_width_deg < np.inf:
        raise InputError(
            f"direction {np.asarray(direction).tolist()} with a width of {angular_width_deg:g} degrees: give "
            "three numbers, not all zero, and a positive width"
        )
    kappa = 1 / np.radians(angular_width_deg) ** 2
    return along(table, lambda v: np.exp(kappa * (v @ (wanted / length) - 1)), rotations=rotations)


def along(table: CascadeTable, density: Callable[[Array], Array], *, rotations: Array) -> CascadeTable:
    """Return the cascades weighted for recoils of any distribution over directions.

    For daily modulation: the distribution of the source, turned into the crystal frame of each hour.

    Parameters
    ----------
    table : CascadeTable
    density : callable
        From unit vectors (n, 3) in the crystal frame to densities (n,), of any normalisation.
    rotations : (g, 3, 3) float
        Point group of the site.

    Raises
    ------
    InputError
        If the density is negative, not finite, or zero in every sampled direction.
    """
    orbit = np.einsum("gij,nj->gni", rotations, table.direction)
    values = np.stack([np.asarray(density(images), dtype=np.float64) for images in orbit]).mean(axis=0)
    if not (np.all(np.isfinite(values) & (values >= 0)) and np.any(values > 0)):
        raise InputError("a density of directions must be finite, not negative, and positive somewhere")
    return replace(table, direction_weight=table.direction_weight * values)
