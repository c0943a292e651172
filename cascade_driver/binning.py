"""Where bins begin and end: the one maker of bin edges."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cascade_driver.errors import InputError

#: A part of a bin that is a smaller share of it is none.
_SLIVER = 1e-6


def rising_energies(energy_eV: tuple[float, float]) -> tuple[float, float]:
    """Return the ends of a range if they rise from zero or more; to validate a parameter.

    Raises
    ------
    ValueError
        If they do not.
    """
    low, high = energy_eV
    if not 0 <= low < high:
        raise ValueError(f"expected two rising energies [low, high] in eV, found [{low:g}, {high:g}]")
    return energy_eV


def bin_edges(low_eV: float, high_eV: float, *, bins: int, logarithmic: bool = False) -> NDArray[np.float64]:
    r"""Return the edges of bins of equal width, or of equal ratio; the ends are those given, to the last digit.

    .. math:: e_i = a + (b - a)\, i / n \qquad\text{or}\qquad e_i = a\, (b / a)^{i / n}

    Parameters
    ----------
    low_eV, high_eV : float
        a and b.
    bins : int
        n.
    logarithmic : bool

    Returns
    -------
    (n + 1,) float

    Raises
    ------
    InputError
        If the energies do not rise, logarithmic bins begin at 0 or below, or there is no bin.

    Examples
    --------
    >>> bin_edges(0.0, 1.0, bins=10)[3]
    np.float64(0.3)
    """
    if not (np.isfinite([low_eV, high_eV]).all() and low_eV < high_eV):
        raise InputError(f"bins from {low_eV:g} to {high_eV:g} eV: give two rising energies")
    if logarithmic and not low_eV > 0:
        raise InputError(f"bins from {low_eV:g} eV: logarithmic bins begin above 0, give a lowest energy above it")
    if bins < 1:
        raise InputError(f"{bins} bins, expected at least 1")
    step = np.arange(bins + 1)
    # (b - a) i / n and not i times the width: so 3 tenths of 1 are 0.3
    edges = (
        low_eV * (high_eV / low_eV) ** (step / bins) if logarithmic else low_eV + (high_eV - low_eV) * step / bins
    )
    edges[0], edges[-1] = low_eV, high_eV
    if not np.all(np.diff(edges) > 0):
        raise InputError(f"{bins} bins from {low_eV:g} to {high_eV:g} eV are too narrow for numbers: take fewer")
    return np.asarray(edges, dtype=np.float64)


def continued_edges(
    energy_edges_eV: ArrayLike, *, up_to_eV: float, down_to_eV: float | None = None
) -> NDArray[np.float64]:
    """Return edges continued to either side by bins as wide as the outermost ones, to exactly the energies given.

    The outermost new bin takes what is left over, half to one and a half such widths; an only one may be less.

    Parameters
    ----------
    energy_edges_eV : (n + 1,) array_like
    up_to_eV, down_to_eV : float
        No bin is added for an energy that is not beyond the edges, rounding apart.

    Examples
    --------
    >>> continued_edges([1.0, 2.0, 4.0], up_to_eV=9.5, down_to_eV=0.0)
    array([0. , 1. , 2. , 4. , 6. , 8. , 9.5])
    """
    edges = np.asarray(energy_edges_eV, dtype=np.float64)
    above = _steps(edges[-1], edges[-1] - edges[-2], up_to_eV)
    below = np.zeros(0)
    if down_to_eV is not None and down_to_eV < edges[0]:
        below = -_steps(-edges[0], edges[1] - edges[0], -down_to_eV)[::-1]
    return np.concatenate([below, edges, above])


def cut_edges(energy_edges_eV: ArrayLike, at_eV: ArrayLike) -> NDArray[np.float64]:
    """Return edges with bins cut at further energies, but for cuts that hardly differ from an edge or lie outside.

    Examples
    --------
    >>> cut_edges([1.0, 2.0, 4.0], [0.0, 2.5, 2.0 + 1e-9])
    array([1. , 2. , 2.5, 4. ])
    """
    edges = np.asarray(energy_edges_eV, dtype=np.float64)
    cuts = np.unique(np.asarray(at_eV, dtype=np.float64))
    cuts = cuts[(cuts > edges[0]) & (cuts < edges[-1])]
    above = np.searchsorted(edges, cuts)
    low, high = edges[above - 1], edges[above]
    share = (cuts - low) / (high - low)
    return np.sort(np.concatenate([edges, cuts[(share > _SLIVER) & (share < 1 - _SLIVER)]]))


def _steps(start: float, width: float, end: float) -> NDArray[np.float64]:
    """Return edges above `start`, the last of them `end`."""
    if not end - start > 1e-9 * max(abs(start), width):
        return np.zeros(0)
    steps = start + width * np.arange(1, max(1, round((end - start) / width)) + 1)
    steps[-1] = end
    return np.asarray(steps, dtype=np.float64)
