r"""Where along one direction the threshold lies: what is known after some attempts, and which energy to try next.

An attempt with recoil energy E leaves a defect with the probability

.. math:: p(E) = \lambda + (1 - 2 \lambda) \frac{1}{1 + e^{-(E - E_h)/w}}, \qquad w = r E_h,

the Fermi function of the campaigns (`fermi_posterior`): thermal starts spread the threshold over the width w, and
a share lambda of all attempts goes astray both ways (a pair that recombines far above, a replacement far below).
The threshold displacement energy along the direction is E_h, where half of the starts leave a defect.

The posterior of (ln E_h, ln r) is kept on a grid. The next energy is the one whose answer is expected to say most
about E_h, whatever r is: the largest mutual information, as in psychophysics, where the same function is measured
by the same kind of answers (Kontsevich & Tyler, Vision Res. 39, 2729 (1999), doi:10.1016/S0042-6989(98)00285-5;
the width as a nuisance: Prins, J. Vision 13 (7), 3 (2013), doi:10.1167/13.7.3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlogy

#: Share of the attempts that goes astray. Fixed: few attempts cannot say it, and without it one odd answer would
#: rule.
ASTRAY = 0.01

#: Points of the grid in ln E_h: steps of 1.5 % over a factor of 20.
_ENERGIES = 200
#: Energies that are weighed for the next attempt.
_MOST_TRIED = 50

#: Relative widths: from a threshold as sharp as the grid to one that is a third of itself wide.
RELATIVE_WIDTHS = np.geomspace(0.005, 0.33, 12)

_ALL = slice(None)

#: More would make spikes of few directions.
_POOLING_STEPS = 5

#: The normal law's 68.3 % as quantiles.
_LOW, _HIGH = 0.15865525393145707, 0.8413447460685429


@dataclass(frozen=True, kw_only=True)
class ThresholdPrior:
    """What is known of a threshold before its first attempt.

    Attributes
    ----------
    lowest_eV, highest_eV : float
        It is looked for between them; all attempts are.
    mean_ln, sd_ln : float, optional
        Of a normal law of ln E_h, as from directions nearby; flat in ln E_h without.
    width_weights : (r,) float, optional
        Of `RELATIVE_WIDTHS`; flat in their logarithm without.
    """

    lowest_eV: float
    highest_eV: float
    mean_ln: float | None = None
    sd_ln: float | None = None
    width_weights: NDArray[np.float64] | None = None


class ThresholdPosterior:
    """The posterior of one threshold on a grid.

    Parameters
    ----------
    prior : ThresholdPrior
    """

    def __init__(self, prior: ThresholdPrior) -> None:
        self.energies_eV = np.geomspace(prior.lowest_eV, prior.highest_eV, _ENERGIES)
        ln = np.log(self.energies_eV)
        along = np.zeros(_ENERGIES)
        if prior.mean_ln is not None and prior.sd_ln is not None:
            # Student's t of 4 degrees instead of the normal law: a direction may differ from all around it.
            along = -2.5 * np.log1p(((ln - prior.mean_ln) / prior.sd_ln) ** 2 / 4)
        width = np.ones(len(RELATIVE_WIDTHS)) if prior.width_weights is None else prior.width_weights
        self._log = along[:, None] + np.log(width)[None, :]
        self.attempts = 0

    def observe(self, recoil_energy_eV: float, displaced: bool) -> None:
        """Take in the answer of one attempt."""
        p = self._probability(np.array([recoil_energy_eV]))[0]
        self._log += np.log(p if displaced else 1 - p)
        self.attempts += 1

    def _probability(self, recoil_energy_eV: NDArray[np.float64], thresholds: slice = _ALL) -> NDArray[np.float64]:
        """Return p (e, h, r) at energies (e,), for some thresholds of the grid."""
        middle = self.energies_eV[None, thresholds, None]
        x = (recoil_energy_eV[:, None, None] - middle) / (RELATIVE_WIDTHS * middle)
        return np.asarray(ASTRAY + (1 - 2 * ASTRAY) / (1 + np.exp(-np.clip(x, -50, 50))))

    @property
    def weights(self) -> NDArray[np.float64]:
        """Posterior (h, r), summing to 1."""
        w = np.exp(self._log - self._log.max())
        return np.asarray(w / w.sum())

    @property
    def width_weights(self) -> NDArray[np.float64]:
        """Posterior of `RELATIVE_WIDTHS` (r,)."""
        return np.asarray(self.weights.sum(axis=0))

    def mean_ln(self) -> float:
        """Return the posterior mean of ln E_h, E in eV."""
        return float(self.weights.sum(axis=1) @ np.log(self.energies_eV))

    def sd_ln(self) -> float:
        """Return the posterior standard deviation of ln E_h."""
        w, ln = self.weights.sum(axis=1), np.log(self.energies_eV)
        mean = w @ ln
        # The grid itself: a uniform law within one step.
        return float(np.sqrt(w @ (ln - mean) ** 2 + (ln[1] - ln[0]) ** 2 / 12))

    def quantile_eV(self, share: float | NDArray[np.float64]) -> NDArray[np.float64]:
        """Return quantiles of E_h, in eV, between the points of the grid by interpolation."""
        w, ln = self.weights.sum(axis=1), np.log(self.energies_eV)
        half = (ln[1] - ln[0]) / 2
        reached = np.concatenate([[0.0], np.cumsum(w)])
        return np.asarray(np.exp(np.interp(share, reached, np.concatenate([ln - half, [ln[-1] + half]]))))

    def interval_eV(self) -> tuple[float, float]:
        """Return the central interval of 68.3 % of E_h, in eV."""
        low, high = self.quantile_eV(np.array([_LOW, _HIGH])).tolist()
        return low, high

    def width_eV(self) -> float:
        """Return the posterior mean of the width w, in eV."""
        return float((self.weights * self.energies_eV[:, None] * RELATIVE_WIDTHS).sum())

    def above_highest(self) -> float:
        """Return the probability that the threshold is in the last 2 % of the grid: at its end, or beyond it."""
        return float(self.weights[self.energies_eV > 0.98 * self.energies_eV[-1]].sum())

    def next_energy_eV(self) -> float:
        """Return the energy whose answer says most about E_h, in eV, rounded to 0.01 eV."""
        of_energy = self.weights.sum(axis=1)
        # Thresholds that are excluded say nothing, energies outside of the others neither, and neighbours on the
        # grid the same.
        likely = np.flatnonzero(of_energy > 1e-4 * of_energy.max())
        low, high = likely[0], likely[-1] + 1
        weights = self.weights[low:high]
        weights = weights / weights.sum()
        of_energy = weights.sum(axis=1)
        first, last = max(low - 12, 0), min(high + 12, _ENERGIES)
        tried = self.energies_eV[first : last : max(1, (last - first) // _MOST_TRIED)]
        p = self._probability(tried, slice(low, high))
        given_h = np.einsum("ehr,hr->eh", p, weights) / np.maximum(of_energy, 1e-300)
        information = _entropy(given_h @ of_energy) - _entropy(given_h) @ of_energy
        return round(float(tried[int(information.argmax())]), 2)


def pooled_widths(posteriors: Sequence[ThresholdPosterior]) -> NDArray[np.float64]:
    """Return the law of relative widths (r,) that thresholds of some directions were drawn from.

    A few steps of expectation and maximisation from a flat law; each posterior must have been made with a flat
    one. A tenth stays flat, for directions unlike those.
    """
    flat = np.full(len(RELATIVE_WIDTHS), 1 / len(RELATIVE_WIDTHS))
    likelihood = np.array([one.width_weights for one in posteriors]).reshape(-1, len(flat))
    law = flat
    for _ in range(_POOLING_STEPS if len(likelihood) else 0):
        each = likelihood * law
        law = (each / each.sum(axis=1, keepdims=True)).mean(axis=0)
    return np.asarray(0.9 * law + 0.1 * flat)


def _entropy(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the entropy of a yes or no of probability p, in nats."""
    return np.asarray(-xlogy(p, p) - xlogy(1 - p, 1 - p))
