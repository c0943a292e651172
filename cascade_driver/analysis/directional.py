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
    rows = table.is_usable & (table.species == species) & (table.recoil_energy_eV == recoil_energy_eV)
    if not rows.any():
        raise InputError(f"no usable cascade of {species} at {recoil_energy_eV:g} eV: choose a simulated energy")
    part = table.select(rows)
    vectors, index = np.unique(np.round(part.direction, 9) + 0.0, axis=0, return_inverse=True)
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
