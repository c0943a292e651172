"""A response made of the cascades themselves: no shape is assumed, resampling it is a matrix product."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from cascade_driver.analysis.empirical_law import kernel_width_eV
from cascade_driver.analysis.outcomes import UsableCascades
from cascade_driver.analysis.response import POINTS_PER_BIN, points_in_bins
from cascade_driver.errors import FitError
from cascade_driver.kinds import Array

#: Points of equal mass that stand for the kernel of one cascade.
KERNEL_POINTS = 16


@dataclass(frozen=True, kw_only=True, eq=False)
class EmpiricalReplicas:
    r"""The cascades of one species as a response, with one or more sets of weights.

    .. math::
        P(E_s \mid E_R) = \sum_k h_k(E_R) \sum_{i \in k} \tilde w_i\,
        K\!\left[E_s - s_i \frac{M(E_R)}{M(E_k)}\right], \qquad \sum_{i \in k} \tilde w_i = 1

    A cascade simulated at :math:`E_k` stands for recoils near :math:`E_k` with the share :math:`h_k`, a hat that
    falls linearly to zero at the neighbouring energies, so that the defect probability is interpolated linearly,
    too. Its stored energy :math:`s_i` is carried along in proportion to the mean non-zero stored energy M, a
    monotone cubic through the means and the origin (Fritsch & Carlson 1980, doi:10.1137/0717021). K is a Gaussian
    of Silverman's width, reflected at zero and at :math:`E_R`. Below the lowest simulated energy the share falls
    linearly to zero at zero; above the highest one it is held.

    Attributes
    ----------
    species : str
    knots_eV : (k,) float
        Simulated recoil energies.
    knot : (c,) int
        Knot of each cascade that stored energy.
    stored_energy_eV : (c,) float
    share : (R, c) float
        Of the recoils at its knot that each of them stands for, per replica.
    mean_eV : (k,) float
        M at the knots.
    bandwidth_eV : (k,) float
    """

    species: str
    knots_eV: Array
    knot: NDArray[np.int64]
    stored_energy_eV: Array
    share: Array
    mean_eV: Array
    bandwidth_eV: Array

    def __len__(self) -> int:
        return len(self.share)

    def select(self, index: NDArray[np.int64] | slice) -> EmpiricalReplicas:
        """Return some of the replicas."""
        return replace(self, share=self.share[index])

    def hat(self, recoil_energy_eV: ArrayLike) -> Array:
        """Return the shares h_k of each knot, (k, n), at n recoil energies."""
        energy = np.asarray(recoil_energy_eV, dtype=np.float64)
        grid = np.concatenate([[0.0], self.knots_eV])
        return np.stack([np.interp(energy, grid, row) for row in np.eye(len(grid))[1:]])

    def transported(self, recoil_energy_eV: ArrayLike) -> Array:
        """Return M(E_R) in eV."""
        energy = np.asarray(recoil_energy_eV, dtype=np.float64)
        curve = scipy.interpolate.PchipInterpolator(
            np.concatenate([[0.0], self.knots_eV]), np.concatenate([[0.0], self.mean_eV])
        )
        top = self.knots_eV[-1]
        return np.asarray(curve(np.minimum(energy, top)) * np.maximum(energy / top, 1.0))

    def fold(self, counts: ArrayLike, *, recoil_edges_eV: ArrayLike) -> Array:
        """Return (R, m) observed counts of recoil counts (n,), in the bins of `observed_edges`.

        Linear in the weights: the spectrum of each cascade is made once. Counts are conserved.

        Raises
        ------
        InputError
            If counts and edges do not fit, or edges are unfit.
        """
        points = points_in_bins(counts, recoil_edges_eV=recoil_edges_eV)
        observed, energy, part = points.observed_edges_eV, points.energy_eV, points.share
        hat, mean = self.hat(energy), self.transported(energy)
        z = scipy.special.ndtri((np.arange(KERNEL_POINTS) + 0.5) / KERNEL_POINTS)
        z /= z.std()
        moved = np.zeros((len(self.stored_energy_eV), len(observed) - 1))
        home = np.repeat(np.arange(len(points.counts)) + points.below, POINTS_PER_BIN)
        for c, (k, stored) in enumerate(zip(self.knot, self.stored_energy_eV, strict=True)):
            at = np.flatnonzero((hat[k] > 0) & (part > 0))
            scale = (mean[at] / self.mean_eV[k])[:, None]
            lost = np.abs(scale * (stored + self.bandwidth_eV[k] * z))
            lost = np.clip(
                np.where(lost > energy[at, None], 2 * energy[at, None] - lost, lost), 0, energy[at, None]
            )
            weight = part[at] * hat[k, at]
            to = np.clip(
                np.searchsorted(observed, energy[at, None] - lost, side="right") - 1, 0, len(observed) - 2
            )
            moved[c] = np.bincount(
                to.ravel(), np.repeat(weight / KERNEL_POINTS, KERNEL_POINTS), minlength=len(observed) - 1
            )
            moved[c] -= np.bincount(home[at], weight, minlength=len(observed) - 1)
        # rounding may leave a hair below zero in an empty bin
        return np.maximum(np.concatenate([np.zeros(points.below), points.counts]) + self.share @ moved, 0.0)


def empirical_replicas(cascades: UsableCascades) -> EmpiricalReplicas:
    """Return the response made of the cascades as they are, the only one of its replicas.

    Raises
    ------
    FitError
        If no cascade stored energy.
    """
    hit = cascades.stores_energy
    if not hit.any():
        raise FitError(f"{cascades.species}: no cascade stored energy; simulate higher recoil energies")
    knots, knot = np.unique(cascades.recoil_energy_eV, return_inverse=True)
    share = np.zeros(len(cascades))
    known, mean, width = [], [], []
    for k in range(len(knots)):
        of = knot == k
        share[of] = cascades.weight[of] / cascades.weight[of].sum()
        stored, w = cascades.stored_energy_eV[hit & of], cascades.weight[hit & of]
        if len(stored):
            known.append(knots[k])
            mean.append(float(np.average(stored, weights=w)))
            width.append(kernel_width_eV(stored, w))
    return EmpiricalReplicas(
        species=cascades.species,
        knots_eV=knots,
        knot=knot[hit].astype(np.int64),
        stored_energy_eV=cascades.stored_energy_eV[hit],
        share=share[None, hit],
        mean_eV=np.interp(knots, [0.0, *known], [0.0, *mean]),
        bandwidth_eV=np.interp(knots, known, width),
    )
