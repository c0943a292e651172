r"""The images of a screw dislocation in a film: in the interface, which repels it, and in the free surface.

At a distance x from the substrate, in a film of thickness d, per length, with K = mu_f b^2/(4 pi) and the contrast
kappa of the moduli:

.. math::
    F(x) = G K \sum_{n=0}^\infty (-\kappa)^n \left[ \frac{\kappa}{x + n d} + \frac{1}{(n + 1) d - x} \right]

away from the substrate. The first term is the image in the interface (A. K. Head, Phil. Mag. 44, 92, 1953), all
of it in a film without end; the second that in a free surface, of opposite sign and as far beyond it, which pulls
with mu_f b^2/(4 pi s) at a depth s (J. P. Hirth and J. Lothe, *Theory of Dislocations*, 2nd ed., Sec. 3-4); the
others are images of images: a reflection takes a factor kappa in the interface and -1 in the surface. Copies at
x + 2 n d are images, too; they lie on both sides alike and pull nowhere.

Along a slip plane that is inclined by an angle phi there is sin(phi) F of the force, and distances are x/sin(phi):
measured along it, thickness included, the expression stays.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq

#: Images of images below this share of the first are left out, and those beyond so many.
_SMALLEST, _MOST = 1e-17, 2000

#: Roots are sought up to this share of the thickness from its ends, and found to this.
_END, _ROOT = 1e-9, 1e-13

#: Of the table of brinks: good to 1e-6 of the depth.
_NODES = 8000


@dataclass(frozen=True, kw_only=True)
class Images:
    """What the images of a dislocation do to it.

    Attributes
    ----------
    strength_eV_per_nm : float
        G K.
    contrast : float
        kappa, 0 to 1.
    thickness_nm : float, optional
        d; a film without end has one image.
    """

    strength_eV_per_nm: float
    contrast: float
    thickness_nm: float | None = None

    @cached_property
    def _series(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Distances n d, and weights: the series alternates, half of the last term is its better end."""
        kappa = self.contrast
        if self.thickness_nm is None:
            return np.zeros(1), np.ones(1)
        number = _MOST if kappa >= 1 else min(_MOST, 1 + math.ceil(math.log(_SMALLEST) / math.log(kappa)))
        n = np.arange(number + 1, dtype=np.float64)
        weights = (-kappa) ** n
        weights[-1] /= 2
        return n * self.thickness_nm, weights

    def force_eV_per_nm2(self, distance_nm: ArrayLike) -> NDArray[np.float64]:
        """Return F, away from the substrate; the shape of `distance_nm`."""
        x, d = np.asarray(distance_nm, dtype=np.float64)[..., None], self.thickness_nm
        further, weights = self._series
        with_surface = 1 / (d + further - x) if d else 0.0
        return np.asarray(self.strength_eV_per_nm * ((self.contrast / (x + further) + with_surface) @ weights))

    def energy_eV_per_nm(self, distance_nm: ArrayLike) -> NDArray[np.float64]:
        """Return the energy whose slope is -F, but for a constant; the shape of `distance_nm`."""
        x, d = np.asarray(distance_nm, dtype=np.float64)[..., None], self.thickness_nm
        further, weights = self._series
        with_surface = np.log(d + further - x) if d else 0.0
        return np.asarray(
            -self.strength_eV_per_nm * ((self.contrast * np.log(x + further) - with_surface) @ weights)
        )

    def rest_nm(self, pull_eV_per_nm2: float) -> float | None:
        """Return where a pull toward the substrate and F balance and a dislocation rests; None if nowhere."""
        alone = self.strength_eV_per_nm * self.contrast / pull_eV_per_nm2
        if self.thickness_nm is None:
            return alone
        weakest = self._weakest_nm
        if self.force_eV_per_nm2(weakest) >= pull_eV_per_nm2:
            return None

        def excess(log_x: float) -> float:
            return float(self.force_eV_per_nm2(math.exp(log_x))) / pull_eV_per_nm2 - 1

        return math.exp(brentq(excess, math.log(_END * weakest), math.log(weakest), xtol=_ROOT))

    def brink_nm(self, pull_eV_per_nm2: ArrayLike) -> NDArray[np.float64]:
        """Return where F wins again over pulls toward the substrate; infinite without an end, 0 if everywhere."""
        pull = np.asarray(pull_eV_per_nm2, dtype=np.float64)
        if self.thickness_nm is None:
            return np.full_like(pull, np.inf)
        force, distance = self._brinks
        return np.asarray(np.interp(pull, force, distance, left=0.0))

    @cached_property
    def _brinks(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """F between where it is least and the free surface, which rises, and there."""
        d = self.thickness_nm or 0.0
        distance = d - np.geomspace(d - self._weakest_nm, _END * d, _NODES)
        return self.force_eV_per_nm2(distance), distance

    @cached_property
    def _weakest_nm(self) -> float:
        """Where F is least."""
        d, (further, weights) = self.thickness_nm or 0.0, self._series

        def slope(x: float) -> float:
            return float((1 / (d + further - x) ** 2 - self.contrast / (x + further) ** 2) @ weights)

        return float(brentq(slope, _END * d, (1 - _END) * d, xtol=_ROOT * d))
