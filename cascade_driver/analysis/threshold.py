"""Threshold displacement energies: the lowest recoil energy that leaves a defect, direction by direction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cascade_driver.analysis.outcomes import UsableCascades


@dataclass(frozen=True, kw_only=True)
class ThresholdEnergies:
    """Threshold displacement energy of every direction that was simulated.

    Attributes
    ----------
    species : str
    direction_index : (d,) int
        As in `UsableCascades`.
    weight : (d,) float
        Share of the solid angle; sums to 1.
    below_eV : (d,) float
        Highest simulated recoil energy below the threshold; 0 where there is none.
    threshold_eV : (d,) float
        Lowest simulated recoil energy at which the direction leaves a defect; infinite where it never does.
        The true threshold lies between the two.
    mean_eV, median_eV : float or None
        Over the solid angle, of the middle between both; none where too many directions never leave a defect
        (any, for the mean; half of the solid angle, for the median).
    median_between_eV : (float, float) or None
        The simulated energies that bracket the threshold of the median's direction.
    undamaged_share : float
        Share of the solid angle that never leaves a defect up to the highest simulated energy.
    """

    species: str
    direction_index: NDArray[np.int64]
    weight: NDArray[np.float64]
    below_eV: NDArray[np.float64]
    threshold_eV: NDArray[np.float64]
    mean_eV: float | None
    median_eV: float | None
    median_between_eV: tuple[float, float] | None
    undamaged_share: float


def threshold_energies(cascades: UsableCascades) -> ThresholdEnergies:
    """Return the threshold displacement energy of each direction.

    A direction counts as damaging from the lowest recoil energy at which at least half of its snapshots stored
    energy.
    """
    index, direction = np.unique(cascades.direction_index, return_inverse=True)
    below, threshold = np.zeros(len(index)), np.full(len(index), np.inf)
    weight = np.zeros(len(index))
    for d in range(len(index)):
        mine = direction == d
        weight[d] = cascades.weight[mine].mean()
        for energy in np.unique(cascades.recoil_energy_eV[mine]):
            stores = cascades.stores_energy[mine & (cascades.recoil_energy_eV == energy)]
            if stores.mean() >= 0.5:
                threshold[d] = energy
                break
            below[d] = energy
    weight /= weight.sum()
    undamaged = float(weight[np.isinf(threshold)].sum())
    middle = (below + threshold) / 2
    order = np.argsort(middle, kind="stable")
    reached = np.cumsum(weight[order])
    # 1e-12: a half that rounding leaves just short of a half
    median = order[np.searchsorted(reached, 0.5 - 1e-12)]
    has_median = np.isfinite(middle[median])
    return ThresholdEnergies(
        species=cascades.species,
        direction_index=index,
        weight=weight,
        below_eV=below,
        threshold_eV=threshold,
        mean_eV=None if undamaged > 0 else float(weight @ middle),
        median_eV=float(middle[median]) if has_median else None,
        median_between_eV=(float(below[median]), float(threshold[median])) if has_median else None,
        undamaged_share=undamaged,
    )
