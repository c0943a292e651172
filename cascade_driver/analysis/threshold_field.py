r"""Thresholds over the sphere of directions: a Gaussian process with the symmetry of the site.

.. math:: \ln E_h(n) = m + f(n) + \epsilon, \qquad
          k(n, n') = \frac{s^2}{|G|} \sum_{g \in G} \exp\left(-\frac{1 - n \cdot g n'}{\ell^2}\right)

G is the point group of the site, so that f is the same along n and g n; epsilon of variance t^2 is what varies
faster than the directions are dense. Each direction enters by mean and variance of the posterior of its own
attempts. The numbers s, l, t maximise the marginal likelihood under weak priors; m has a flat one. Rasmussen &
Williams, Gaussian Processes for Machine Learning (2006), eqs. 2.23-2.25, 2.41, 5.8; in the way of DEmap, which
does this for thresholds of displacement without the symmetry.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky
from scipy.optimize import minimize

#: Weak normal priors of ln s, ln l, ln t: thresholds vary by a third, over half a radian, and roughly by a tenth.
_PRIOR = np.log([0.3, 0.5, 0.1])
_PRIOR_SD = np.array([0.7, 0.6, 0.7])

#: Below so many directions there is no field to be learnt.
FEWEST_DIRECTIONS = 4


@dataclass(frozen=True, kw_only=True)
class ThresholdField:
    """A field of thresholds that was learnt from some directions.

    Attributes
    ----------
    vectors : (n, 3) float
        Its directions.
    rotations : (g, 3, 3) float
        Point group of the site.
    mean_ln : float
        m.
    amplitude, length, roughness : float
        s, l (in radian) and t.
    """

    vectors: NDArray[np.float64]
    rotations: NDArray[np.float64]
    mean_ln: float
    amplitude: float
    length: float
    roughness: float
    _inverse: NDArray[np.float64]
    _weights: NDArray[np.float64]

    def mean_at(self, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the mean (k,) of m + f, in ln eV, at other directions."""
        across = _kernel(vectors, self.vectors, self.rotations, self.amplitude, self.length)
        return np.asarray(self.mean_ln + across @ self._weights)

    def predict(self, vectors: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return mean (k,) and covariance (k, k) of m + f, in ln eV, at other directions; without epsilon."""
        across = _kernel(vectors, self.vectors, self.rotations, self.amplitude, self.length)
        own = _kernel(vectors, vectors, self.rotations, self.amplitude, self.length)
        ones = self._inverse.sum()
        # The mean is learnt, too: Rasmussen & Williams eq. 2.41.
        left = 1 - across @ self._inverse.sum(axis=1)
        covariance = own - across @ self._inverse @ across.T + np.outer(left, left) / ones
        return self.mean_at(vectors), covariance

    def draw_eV(
        self, vectors: NDArray[np.float64], *, count: int, rng: np.random.Generator
    ) -> NDArray[np.float64]:
        """Return fields (count, k) at directions, in eV, roughness included."""
        mean, covariance = self.predict(vectors)
        values, axes = np.linalg.eigh(covariance)
        root = axes * np.sqrt(np.maximum(values, 0.0))
        smooth = mean + rng.normal(size=(count, len(vectors))) @ root.T
        return np.asarray(np.exp(smooth + self.roughness * rng.normal(size=smooth.shape)))


def learn_field(
    vectors: NDArray[np.float64],
    *,
    mean_ln: NDArray[np.float64],
    sd_ln: NDArray[np.float64],
    rotations: NDArray[np.float64],
) -> ThresholdField:
    """Return the field of thresholds that directions with known thresholds lie on.

    Parameters
    ----------
    vectors : (n, 3) float
        Unit vectors; at least `FEWEST_DIRECTIONS`.
    mean_ln, sd_ln : (n,) float
        Posterior of ln E_h of each.
    rotations : (g, 3, 3) float
        Point group of the site.
    """
    cosines = _cosines(vectors, vectors, rotations)

    def objective(logs: NDArray[np.float64]) -> float:
        amplitude, length, roughness = np.exp(logs)
        covariance = _kernel_of(cosines, amplitude, length)
        factor = cholesky(covariance + np.diag(sd_ln**2 + roughness**2), lower=True)
        ones = cho_solve((factor, True), np.ones(len(vectors)))
        mean = ones @ mean_ln / ones.sum()
        rest = mean_ln - mean
        value = rest @ cho_solve((factor, True), rest) / 2 + np.log(factor.diagonal()).sum()
        return float(value + np.log(ones.sum()) / 2 + (((logs - _PRIOR) / _PRIOR_SD) ** 2).sum() / 2)

    starts = [_PRIOR, _PRIOR + np.array([0.3, -0.8, 0.0])]
    bounds = list(zip(np.log([0.01, 0.08, 0.005]), np.log([2.0, 3.0, 1.0]), strict=True))
    found = [minimize(objective, start, method="L-BFGS-B", bounds=bounds) for start in starts]
    amplitude, length, roughness = np.exp(min(found, key=lambda one: one.fun).x)
    covariance = _kernel_of(cosines, amplitude, length) + np.diag(sd_ln**2 + roughness**2)
    inverse = np.asarray(np.linalg.inv(covariance), dtype=np.float64)
    ones = inverse.sum(axis=1)
    mean = float(ones @ mean_ln / ones.sum())
    return ThresholdField(
        vectors=vectors,
        rotations=rotations,
        mean_ln=mean,
        amplitude=float(amplitude),
        length=float(length),
        roughness=float(roughness),
        _inverse=inverse,
        _weights=inverse @ (mean_ln - mean),
    )


def _kernel(
    one: NDArray[np.float64],
    other: NDArray[np.float64],
    rotations: NDArray[np.float64],
    amplitude: float,
    length: float,
) -> NDArray[np.float64]:
    """Return k between directions (n, 3) and (m, 3), (n, m)."""
    return _kernel_of(_cosines(one, other, rotations), amplitude, length)


def _cosines(
    one: NDArray[np.float64], other: NDArray[np.float64], rotations: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the cosines (g, n, m) between directions and the images of others."""
    return np.asarray(one @ rotations @ other.T)


def _kernel_of(cosines: NDArray[np.float64], amplitude: float, length: float) -> NDArray[np.float64]:
    return np.asarray(amplitude**2 * np.exp((cosines - 1) / length**2).mean(axis=0))
