"""Figures of the debris of cascades: pairs of minima, and what they give off later."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cascade_driver.units import SECONDS_PER_DAY

if TYPE_CHECKING:
    from cascade_driver.relaxation.debris.glass import Afterglow, PairWindow
    from cascade_driver.relaxation.debris.pairs import Debris, MeanRelease
from cascade_driver.plot.style import (
    BAND_ALPHA,
    DATA_COLOUR,
    MODEL_COLOUR,
    PAIR_COLOURS,
    QUALITATIVE_MARK,
    QUIET_COLOUR,
    COLUMN_WIDTH_in,
    dress,
    finished,
    legend,
    styled,
)


@styled
def debris_figure(debris: Sequence[Debris], means: Sequence[MeanRelease], *, potential_status: str) -> Figure:
    """Return the pairs of minima in the debris of cascades, and the energy that they give off later.

    Left the barrier of each elementary pair against its asymmetry, both from the higher ground level; right
    the mean energy given off until a time, per cascade that stored energy, with its standard error.
    """
    figure = Figure(figsize=(2 * COLUMN_WIDTH_in, 2.6), layout="constrained")
    wells, later = figure.subplots(1, 2)
    dress(wells)
    dress(later)
    elementary = [pair for one in debris for pair in one.elementary]
    asymmetries_eV = np.array([abs(pair.ground_asymmetry_eV) for pair in elementary])
    barriers_eV = np.array([pair.lower_barrier_eV for pair in elementary])
    has_converged = np.array([pair.converged for pair in elementary], dtype=bool)
    wells.set(xscale="log", yscale="log")  # first: the limits of axes without a point are those of their scale
    for converged, face in ((True, DATA_COLOUR), (False, "white")):
        chosen = has_converged == converged
        wells.plot(
            np.maximum(asymmetries_eV[chosen], _LEAST_DRAWN_eV),
            np.maximum(barriers_eV[chosen], _LEAST_DRAWN_eV),
            "o",
            markersize=3.5,
            color=DATA_COLOUR,
            markerfacecolor=face,
            label="converged path" if converged else "not converged",
        )
    wells.set_xlabel("asymmetry (eV)")
    wells.set_ylabel("barrier from the higher minimum (eV)")
    _tell_least(wells, asymmetries_eV=asymmetries_eV, barriers_eV=barriers_eV)
    legend(wells)
    for mean, colour in zip(means, PAIR_COLOURS, strict=False):
        later.plot(mean.time_s, mean.released_eV, color=colour, label=f"{mean.temperature_K:g} K")
        if np.all(np.isfinite(mean.released_error_eV)):
            low, high = (mean.released_eV + sign * mean.released_error_eV for sign in (-1, 1))
            later.fill_between(mean.time_s, low, high, color=colour, alpha=BAND_ALPHA / 2, linewidth=0)
    later.set_xscale("log")
    later.set_ylim(bottom=0)
    later.set_xlabel("time after the cascade (s)")
    later.set_ylabel("given off (eV per cascade with debris)")
    legend(later)
    if potential_status != "quantitative":
        later.set_title(QUALITATIVE_MARK, loc="right", fontsize=6.5, color=QUIET_COLOUR)
    return finished(figure)


#: What lies below this, to which quenched energies agree, is drawn here: barriers that zero-point energies take
#: away, too.
_LEAST_DRAWN_eV = 1e-4


def _tell_least(axes: Axes, **energies_eV: NDArray[np.float64]) -> None:
    """Say above the axes how many of some energies are drawn at `_LEAST_DRAWN_eV` because they lie lower."""
    lower = {name: np.less(given, _LEAST_DRAWN_eV).sum() for name, given in energies_eV.items()}
    said = " and ".join(f"{n} {name.removesuffix('_eV')}" for name, n in lower.items() if n)
    if said:
        title = f"{said} below {1e3 * _LEAST_DRAWN_eV:g} meV, drawn there"
        axes.set_title(title, loc="left", fontsize=6.5, color=QUIET_COLOUR)


@styled
def debris_glass_figure(debris: Sequence[Debris], window: PairWindow, late: Afterglow) -> Figure:
    """Return the pairs in the plane of asymmetry and tunnelling amplitude, and the heat after an irradiation.

    Grey is the window in which pairs are counted, dotted where levels are 0.1 meV apart.
    """
    from cascade_driver.relaxation.debris.pairs import TWO_LEVEL_BELOW_eV

    figure = Figure(figsize=(2 * COLUMN_WIDTH_in, 2.6), layout="constrained")
    plane, heat = figure.subplots(1, 2)
    dress(plane)
    dress(heat)
    pairs = [pair for one in debris for pair in one.elementary if pair.converged and pair.tunnelling_eV]
    plane.set(xscale="log", yscale="log")
    low, high = window.tunnelling_eV
    asymmetries_eV = np.array([abs(pair.ground_asymmetry_eV) for pair in pairs])
    plane.fill_between(
        [_LEAST_DRAWN_eV / 2, window.asymmetry_below_eV],
        low,
        high,
        color=QUIET_COLOUR,
        alpha=0.15,
        linewidth=0,
    )
    plane.axvline(TWO_LEVEL_BELOW_eV, color=QUIET_COLOUR, linestyle=":", linewidth=1.0)
    plane.plot(
        np.maximum(asymmetries_eV, _LEAST_DRAWN_eV),
        [pair.tunnelling_eV for pair in pairs],
        "o",
        markersize=3.5,
        color=DATA_COLOUR,
    )
    plane.set_xlabel("asymmetry (eV)")
    plane.set_ylabel("tunnelling amplitude (eV)")
    _tell_least(plane, asymmetries_eV=asymmetries_eV)
    shown = np.where(late.heat_eV_per_s > 0, late.heat_eV_per_s, np.nan)
    heat.plot(late.time_s, shown, color=MODEL_COLOUR)
    heat.set_xscale("log")
    heat.set_xlim(late.time_s[0], late.time_s[-1])
    top = late.heat_eV_per_s.max()
    if top > 0:
        heat.set_yscale("log")
        heat.set_ylim(max(float(np.nanmin(shown)), 1e-12 * top) / 2, 2 * top)
    heat.set_xlabel("time after the irradiation (s)")
    heat.set_ylabel("heat (eV/s per cascade)")
    title = f"irradiated for {late.irradiation_s / SECONDS_PER_DAY:.3g} d, {late.temperature_K:g} K"
    heat.set_title(title, loc="left", fontsize=6.5, color=QUIET_COLOUR)
    return finished(figure)
