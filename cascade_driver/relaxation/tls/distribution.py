r"""Tunnelling two-level systems of the standard model: their distribution, and what relaxation averages to.

A system has the asymmetry :math:`\Delta`, the tunnelling amplitude :math:`\Delta_0` and the energy
:math:`\epsilon = \sqrt{\Delta^2 + \Delta_0^2}`. Both the damping of a resonator and the relaxational change of
the sound velocity are averages over the same distribution of the same response; they are its imaginary and its
real part.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, field_validator

from cascade_driver.errors import InputError
from cascade_driver.schema import parameters

#: Above this |beta|^2 the series of beta artanh(1/beta) - 1 is used: the closed form cancels there.
_SERIES_FROM = 12.0

#: Terms of it: the first left out is below 12^-16 / 33.
_SERIES_TERMS = 16

#: Nodes of the Gauss-Legendre quadrature over the reduced energy. The integrands decay as exp(-u) and their
#: nearest singularity lies at u = i pi: 96 nodes on [0, 40] reach 1e-12.
_NODES = 96
_LARGEST_REDUCED_ENERGY = 40.0


@parameters
class Temperatures:
    """Temperatures, of one ratio from one to the next, at which something is tabulated and drawn.

    Attributes
    ----------
    temperature_K : (float, float)
        Lowest and highest.
    points : int
        How many.
    """

    temperature_K: tuple[float, float]
    points: int = Field(ge=1)

    @field_validator("temperature_K")
    @classmethod
    def _rise(cls, ends: tuple[float, float]) -> tuple[float, float]:
        if not 0 < ends[0] < ends[1]:
            raise ValueError("must rise and begin above 0")
        return ends

    @property
    def each_K(self) -> NDArray[np.float64]:
        """All of them."""
        return np.geomspace(*self.temperature_K, self.points)


def relaxation_response(slowness: ArrayLike) -> NDArray[np.complex128]:
    r"""Return the response of all systems of one energy, averaged over their asymmetries.

    .. math::
        R(a) = \int_0^1 \frac{v^2\, dv}{1 - v^2}\, \frac{1 - v^2}{1 - v^2 - i a}
             = \beta\, \mathrm{artanh}(1/\beta) - 1, \qquad \beta^2 = 1 - i a

    with :math:`v = \Delta/\epsilon` and :math:`a = \omega \tau_\mathrm{min}`, the frequency times the shortest
    relaxation time, that of :math:`\Delta = 0`; all others relax at :math:`(1 - v^2) / \tau_\mathrm{min}`. Systems
    are flat in the asymmetry and in the logarithm of the tunnelling amplitude, so that their density is
    :math:`P(\epsilon, \Delta) = \epsilon / (\epsilon^2 - \Delta^2)` but for a constant.
    Im R is the inner integral of Eq. 1 and 2 of Maillet et al. 2023, doi:10.1103/PhysRevB.107.064104; Re R is
    that of Eq. 8 of Churkin et al. 2021 (with :math:`x^2 = 1 - v^2`).

    Limits: Im R is :math:`\pi/4` for small a (all systems follow) and :math:`1/(3a)` for large a (none does).

    Parameters
    ----------
    slowness : (...) float
        a, above 0.

    Examples
    --------
    >>> print(f"{relaxation_response(1e-12).imag * 4 / np.pi:.9f} {relaxation_response(1e6).imag * 3e6:.9f}")
    1.000000000 1.000000000
    """
    a = np.asarray(slowness, dtype=np.float64)
    beta_squared = 1.0 - 1j * a
    far = np.abs(beta_squared) > _SERIES_FROM
    result = np.empty_like(beta_squared)
    inverse = 1.0 / beta_squared[far]
    series = np.zeros_like(inverse)
    for k in range(_SERIES_TERMS, 0, -1):
        series = inverse * (1.0 / (2 * k + 1) + series)
    result[far] = series
    beta = np.sqrt(beta_squared[~far])
    # artanh(1/beta) by logarithms; beta - 1 = -i a / (beta + 1) keeps its digits where beta is close to 1
    result[~far] = 0.5 * beta * (2.0 * np.log1p(beta) - np.log(-1j * a[~far])) - 1.0
    return result


@functools.cache
def reduced_energies() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    r"""Return nodes u and weights for :math:`\int_0^\infty du\, \mathrm{sech}^2(u/2) f(u)`, (96,) each.

    u is the energy over :math:`k_B T`; the weights hold the sech squared, and sum to 2.
    """
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    u = 0.5 * _LARGEST_REDUCED_ENERGY * (nodes + 1.0)
    weights = 0.5 * _LARGEST_REDUCED_ENERGY * weights / np.cosh(u / 2) ** 2
    u.flags.writeable = weights.flags.writeable = False  # the cache hands out the same arrays
    return u, weights


def positive_array(values: ArrayLike, *, name: str) -> NDArray[np.float64]:
    """Return values as an array of floats.

    Raises
    ------
    InputError
        If they are no numbers, or one is not finite and above zero.
    """
    try:
        array: NDArray[Any] = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{name}: not numbers; found {values!r}") from None
    if not np.all(np.isfinite(array) & (array > 0)):
        raise InputError(f"{name}: must be finite and above 0; found {np.min(array):g}")
    return array
