"""Figures of spectra before and after the correction."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator
from numpy.typing import NDArray

from cascade_driver.analysis.model import Status
from cascade_driver.errors import InputError

if TYPE_CHECKING:
    pass
from cascade_driver.plot.style import (
    BAND_ALPHA,
    FILL_COLOUR,
    PAIR_COLOURS,
    QUIET_COLOUR,
    RATE_DECADES,
    COLUMN_WIDTH_in,
    dress,
    finished,
    layout_pads,
    mark,
    styled,
)
from cascade_driver.spectra.corrected import CorrectedPair

#: The band of the ratio that is marked.
RATIO_BAND = 0.1


@styled
def spectra_figure(
    pairs: Sequence[CorrectedPair],
    *,
    potential_status: Status = "qualitative",
    logarithmic_energy: bool = False,
) -> Figure:
    """Return spectra without (dashed) and with (plain) the loss to stored energy, and their ratio.

    Each pair has its colour. The lower panel marks a ratio within 10 % of 1 (Fig. 5 of Soum-Sidikov et al.
    2024).

    Parameters
    ----------
    pairs : sequence of CorrectedPair
    potential_status : {'qualitative', 'quantitative'}
        Of the potential behind the correction.
    logarithmic_energy : bool
        Of the energy axis.

    Raises
    ------
    InputError
        If there is no pair, or no rate above zero in any.
    """
    if not pairs:
        raise InputError("a figure of spectra without a spectrum: give at least one pair")
    drawn = [pair for pair in pairs if pair.expected.total_rate_per_kg_day_keV.max() > 0]
    if not drawn:
        raise InputError("every expected spectrum is zero in its range: choose a range with some rate")
    figure = Figure(figsize=(COLUMN_WIDTH_in, 3.6 + 0.15 * len(drawn)), layout="constrained")
    layout_pads(figure, h_pad=0.02)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1.25))
    lower.axhspan(1 - RATIO_BAND, 1 + RATIO_BAND, color=FILL_COLOUR, alpha=0.55, linewidth=0, zorder=0)
    lower.axhline(1, color=QUIET_COLOUR, linewidth=0.7, zorder=1)
    handles = [
        Line2D([], [], color=QUIET_COLOUR, linestyle=(0, (4, 1.5)), label="expected, nothing stored"),
        Line2D([], [], color=QUIET_COLOUR, label="observed, with stored energy"),
    ]
    for number, pair in enumerate(drawn):
        colour = PAIR_COLOURS[number % len(PAIR_COLOURS)]
        _draw_stairs(upper, pair, pair.expected.total_rate_per_kg_day_keV, colour, linestyle=(0, (4, 1.5)))
        observed = pair.observed_in_same_bins.total_rate_per_kg_day_keV
        for axes, values in ((upper, observed), (lower, pair.ratio)):
            _draw_stairs(axes, pair, np.where(pair.is_complete, values, np.nan), colour)
            if not pair.is_complete.all():
                _draw_stairs(axes, pair, np.where(pair.is_complete, np.nan, values), colour, alpha=0.3)
        _draw_bands(upper, lower, pair, colour)
        handles.append(Line2D([], [], color=colour, linewidth=2.5, label=textwrap.fill(pair.title, 48)))
    banded = [pair.bands for pair in drawn if pair.bands is not None]
    if banded:
        label = f"its {banded[0].coverage:.0%} band: {', '.join(banded[0].components)}"
        handles.insert(2, Line2D([], [], color=QUIET_COLOUR, alpha=BAND_ALPHA, linewidth=5, label=label))
    _limit_spectra(upper, lower, drawn, logarithmic_energy=logarithmic_energy)
    for axes in (upper, lower):
        dress(axes)
    upper.set_ylabel(r"rate (kg$^{-1}$ d$^{-1}$ keV$^{-1}$)")
    lower.set_ylabel("observed\n/ expected")
    lower.set_xlabel("recoil or observed energy (eV)")
    figure.legend(handles=handles, loc="outside upper left", handlelength=2.4, frameon=False)
    mark(upper, potential_status)
    return finished(figure)


def _draw_bands(upper: Axes, lower: Axes, pair: CorrectedPair, colour: str) -> None:
    """Draw the total band of the rate and of the ratio."""
    if pair.bands is None:
        return
    expected = pair.expected.total_rate_per_kg_day_keV
    edges = pair.expected.energy_edges_eV
    known = pair.is_complete & (expected > 0)
    for axes, scale in ((upper, np.ones_like(expected)), (lower, expected)):
        low, high = (
            np.divide(rate, scale, out=np.full_like(expected, np.nan), where=known)
            for rate in (pair.bands.total.lower_per_kg_day_keV, pair.bands.total.upper_per_kg_day_keV)
        )
        floor = np.maximum(low, 1e-300) if axes is upper else low
        axes.stairs(high, edges, baseline=floor, fill=True, color=colour, alpha=BAND_ALPHA, linewidth=0)


def _draw_stairs(axes: Axes, pair: CorrectedPair, values: NDArray[np.float64], colour: str, **line: Any) -> None:
    """Draw values in the bins of the expected spectrum; where they are zero, which a logarithm lacks, nothing."""
    edges = pair.expected.energy_edges_eV
    shown = np.where(values > 0, values, np.nan)
    axes.stairs(shown, edges, baseline=None, color=colour, linewidth=1.0, **line)


def _limit_spectra(upper: Axes, lower: Axes, pairs: Sequence[CorrectedPair], *, logarithmic_energy: bool) -> None:
    """Set the limits by what is there: no axis is spent on tails that no experiment sees."""
    peaks = [float(pair.expected.total_rate_per_kg_day_keV.max()) for pair in pairs]
    floor, ceiling = min(peaks) / 10**RATE_DECADES, 3 * max(peaks)
    shown = []
    for pair in pairs:
        for spectrum in (pair.expected, pair.observed_in_same_bins):
            rate = spectrum.total_rate_per_kg_day_keV[pair.is_complete]
            shown.append(rate[rate >= floor])
    upper.set_yscale("log")
    upper.set_ylim(min(float(rate.min(initial=ceiling)) for rate in shown) / 2, ceiling)
    upper.yaxis.set_major_locator(LogLocator(numticks=6))
    edges = np.concatenate([pair.expected.energy_edges_eV for pair in pairs])
    if logarithmic_energy:
        lower.set_xscale("log")
        lower.set_xlim(float(edges[edges > 0].min()), float(edges.max()))
    else:
        lower.set_xlim(min(0.0, float(edges.min())), float(edges.max()))
    ratio = np.concatenate([pair.ratio[pair.is_complete] for pair in pairs])
    ratio = ratio[np.isfinite(ratio)]
    # 1 to 99 %: a kinematic edge, where the ratio runs to zero or infinity, does not set the scale
    low, high = np.percentile(ratio, [1, 99]) if len(ratio) else (1.0, 1.0)
    lower.set_ylim(max(min(low - 0.05, 0.8), 0.0), min(max(high + 0.05, 1.2), 3.0))
    lower.yaxis.set_major_locator(MaxNLocator(4))
