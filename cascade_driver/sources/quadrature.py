"""Averages over bins: the integral of a rate over each bin, exact at edges, kinks and end points."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

#: Gauss-Legendre nodes per piece. Between the break points the integrands are analytic in sqrt(E).
_NODES = 8


def integrate_over_bins(
    density_per_eV: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    *,
    edges_eV: NDArray[np.float64],
    breakpoints_eV: NDArray[np.float64],
) -> NDArray[np.float64]:
    r"""Return the integral of a recoil spectrum over each bin, (n,).

    .. math:: \int_a^b f(E)\, dE = \int_{\sqrt a}^{\sqrt b} f(u^2)\, 2u\, du

    by Gauss-Legendre quadrature over the pieces that bin edges and break points cut. The recoil energy enters
    the physics through a speed or a momentum, so in u = sqrt(E) a rate is smooth down to E = 0 where in E it
    is not.

    Parameters
    ----------
    density_per_eV : callable
        f, from (k,) energies in eV to (k,) values; zero above the last break point.
    edges_eV : (n + 1,) float
        Bin edges, at least 0.
    breakpoints_eV : (m,) float
        Energies at which f has a kink or ends, and enough others that f is smooth over one interval of them.
        The largest is the end point: nothing is evaluated above it.
    """
    roots = np.sqrt(edges_eV)
    kinks = np.sqrt(breakpoints_eV)
    end = float(np.max(kinks))
    cuts = np.unique(np.concatenate([roots, kinks]))
    cuts = cuts[(cuts >= roots[0]) & (cuts <= min(end, float(roots[-1])))]
    if len(cuts) < 2:
        return np.zeros(len(edges_eV) - 1)
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    half = 0.5 * np.diff(cuts)[:, None]
    u = cuts[:-1, None] + half * (nodes[None, :] + 1.0)
    values = density_per_eV((u * u).ravel()).reshape(u.shape)
    pieces = np.sum(values * 2.0 * u * weights[None, :], axis=1) * half[:, 0]
    index = np.searchsorted(roots, cuts[:-1], side="right") - 1
    return np.asarray(np.bincount(index, weights=pieces, minlength=len(edges_eV) - 1), dtype=np.float64)
