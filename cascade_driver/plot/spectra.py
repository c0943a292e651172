"""Figures of spectra before and after the correction."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator
from numpy.typing import NDArray

from cascade_driver.errors import InputError
from cascade_driver.kinds import Status
from cascade_driver.plot.style import (
    BAND_ALPHA,
    DATA_COLOUR,
    EXTRAPOLATED,
    EXTRAPOLATED_LINE,
    FILL_COLOUR,
    MODEL_COLOUR,
    PAIR_COLOURS,
    QUIET_COLOUR,
    RATE_DECADES,
    COLUMN_WIDTH_in,
    as_drawn,
    dress,
    finished,
    layout_pads,
    mark,
    new_axes,
    styled,
)
from cascade_driver.request import CaptureRequest
from cascade_driver.sources.neutron_capture import unresolved_shares
from cascade_driver.sources.requested import table_of
from cascade_driver.spectra.line_fit import LineFit
from cascade_driver.spectra.observe import Observed
from cascade_driver.spectrum import Spectrum
from cascade_driver.text import value_with_error
from cascade_driver.units import EV_PER_KEV

#: The band of the ratio that is marked.
RATIO_BAND = 0.1

NOTHING_STORED = "nothing stored"

DASHED = (0, (4, 1.5))

#: Of a line where recoils are missing.
INCOMPLETE_ALPHA = 0.3

#: So many times below what is known an axis goes on to show where recoils are missing.
MOST_PALE = 10.0

#: What the arrows of a calibration are.
MAXIMA = "from maximum to maximum, no fit"

#: Of the bands of several pairs, by their colours.
HATCHES = dict(zip(PAIR_COLOURS, ("/////", "\\\\\\\\\\", "-----", "|||||", ".....", "xxxxx"), strict=True))

#: What a component of a band is called in a legend, if its name alone could pass for more than it is.
_PARTS = {"assumptions": "assumptions (printed means as if exact)"}

#: Letters in a line of a legend that is as wide as a column.
_LEGEND_LETTERS = 52

RATE_LABEL = r"rate (kg$^{-1}$ d$^{-1}$ keV$^{-1}$)"


@styled
def spectra_figure(
    pairs: Sequence[Observed],
    *,
    potential_status: Status = "qualitative",
    logarithmic_energy: bool = False,
    labels: tuple[str, str] = ("expected, nothing stored", "observed, with stored energy"),
    range_eV: tuple[float, float] | None = None,
) -> Figure:
    """Return spectra without (dashed) and with (plain) the loss to stored energy, and their ratio.

    Each of several pairs has its colour. Lines are dotted where something is extrapolated, pale where recoils are
    missing. The lower panel marks a ratio within 10 % of 1 (Fig. 5 of Soum-Sidikov et al. 2024).

    Parameters
    ----------
    pairs : sequence of Observed
    potential_status : {'qualitative', 'quantitative'}
        Of the potential behind the correction.
    logarithmic_energy : bool
        Logarithmic energy axis.
    labels : (str, str)
        What the dashed and the plain lines are called.
    range_eV : (float, float), optional
        Range of the energy axis; by default all.

    Raises
    ------
    InputError
        If there is no pair, no rate above zero in any, or the range mirrors the figure or leaves a pair empty.
    """
    if not pairs:
        raise InputError("a figure of spectra without a spectrum: give at least one pair")
    drawn = _drawn(pairs, range_eV)
    is_shared = len(drawn) > 1 and all(_same(pair.expected, drawn[0].expected) for pair in drawn)
    # pairs of one expected spectrum are compared with each other; else their bands would only hide each other
    below = [drawn] if is_shared else [[pair] for pair in drawn]
    height = 2.7 + 0.15 * len(drawn) + 0.9 * len(below)
    figure = Figure(figsize=(COLUMN_WIDTH_in, height), layout="constrained")
    layout_pads(figure, h_pad=0.02)
    upper, *lower = figure.subplots(1 + len(below), 1, sharex=True, height_ratios=(3, *[1.25] * len(below)))
    colours = {id(pair): PAIR_COLOURS[number % len(PAIR_COLOURS)] for number, pair in enumerate(drawn)}
    for number, pair in enumerate(drawn):
        colour = colours[id(pair)]
        if not (is_shared and number):
            dashed = QUIET_COLOUR if is_shared else colour
            _draw_stairs(upper, pair, pair.expected.total_rate_per_kg_day_keV, dashed, linestyle=DASHED)
        _draw_in_ways(upper, pair, pair.observed_in_same_bins.total_rate_per_kg_day_keV, colour)
        _draw_band(upper, pair, _rate_band(pair), colour, alone=len(drawn) == 1)
    for axes, pairs_here in zip(lower, below, strict=True):
        _draw_one(axes)
        for pair in pairs_here:
            _draw_in_ways(axes, pair, pair.ratio, colours[id(pair)])
            _draw_band(axes, pair, _ratio_band(pair), colours[id(pair)], alone=len(pairs_here) == 1)
    _limit_spectra(upper, drawn, logarithmic_energy=logarithmic_energy, range_eV=range_eV)
    for axes, pairs_here in zip(lower, below, strict=True):
        _limit_ratio(axes, pairs_here, range_eV=range_eV)
    for axes in (upper, *lower):
        dress(axes)
    upper.set_ylabel(RATE_LABEL)
    for axes in lower:
        axes.set_ylabel("observed\n/ expected")
    lower[-1].set_xlabel("recoil or observed energy (eV)")
    legend = figure.legend(
        handles=_legend(drawn, labels, range_eV=range_eV),
        loc="outside upper left",
        handlelength=2.4,
        frameon=False,
    )
    if len(drawn) == 1 and drawn[0].title:
        legend.set_title(as_drawn(textwrap.fill(drawn[0].title, 60)), prop=FontProperties(size=7))
        legend.set_alignment("left")
    mark(upper, potential_status)
    return finished(figure)


@styled
def draw_ratio(pair: Observed, ax: Axes | None = None) -> Axes:
    """Draw the ratio of observed to expected rate, and its band, into axes or into new ones; return them."""
    axes = ax or new_axes()
    _draw_one(axes)
    _draw_in_ways(axes, pair, pair.ratio, PAIR_COLOURS[0])
    _draw_band(axes, pair, _ratio_band(pair), PAIR_COLOURS[0], alone=True)
    edges = pair.expected.energy_edges_eV
    axes.set_xlim(min(0.0, float(edges[0])), float(edges[-1]))
    _limit_ratio(axes, [pair], range_eV=None)
    dress(axes)
    axes.set_xlabel("recoil or observed energy (eV)")
    axes.set_ylabel("observed / expected")
    return axes


def _draw_one(axes: Axes) -> None:
    """Draw the line of a ratio of 1, and what lies within `RATIO_BAND` of it."""
    axes.axhspan(1 - RATIO_BAND, 1 + RATIO_BAND, color=FILL_COLOUR, alpha=0.55, linewidth=0, zorder=0)
    axes.axhline(1, color=QUIET_COLOUR, linewidth=0.7, zorder=1)
    axes.text(
        1.01, 1, f"±{RATIO_BAND:.0%}", fontsize=6, color=QUIET_COLOUR,
        ha="left", va="center", transform=axes.get_yaxis_transform(),
    )  # fmt: skip


def _draw_in_ways(axes: Axes, pair: Observed, values: NDArray[np.float64], colour: str) -> None:
    for way in _ways(pair):
        if way.bins.any():
            _draw_stairs(axes, pair, way.shown(values), colour, linestyle=way.linestyle, alpha=way.alpha)


@dataclass(frozen=True, kw_only=True)
class _Way:
    """How some bins of a pair are drawn: all others are left out."""

    bins: NDArray[np.bool_]
    linestyle: Any = "solid"
    alpha: float | None = None

    def shown(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where(self.bins, values, np.nan)


def _ways(pair: Observed) -> tuple[_Way, _Way, _Way]:
    """Return which bins of a pair are drawn in which way: as simulated, as extrapolated, as incomplete."""
    known, complete = pair.is_simulated, pair.is_complete
    return (
        _Way(bins=complete & known),
        _Way(bins=complete & ~known, linestyle=EXTRAPOLATED_LINE),
        _Way(bins=~complete, alpha=INCOMPLETE_ALPHA),
    )


def _legend(
    drawn: Sequence[Observed], labels: tuple[str, str], *, range_eV: tuple[float, float] | None
) -> list[Line2D]:
    """Return what the kinds of lines are, and, of several pairs, which colour is whose."""
    colour = QUIET_COLOUR if len(drawn) > 1 else PAIR_COLOURS[0]
    handles = [
        Line2D([], [], color=colour, linestyle=DASHED, label=as_drawn(labels[0])),
        Line2D([], [], color=colour, label=as_drawn(labels[1])),
    ]
    if any((~pair.is_simulated & _used_bins(pair, range_eV)).any() for pair in drawn):
        said = "the same, extrapolated from what was simulated"
        handles.append(Line2D([], [], color=colour, linestyle=EXTRAPOLATED_LINE, label=said))
    if any(_pale_bins(pair, range_eV).any() for pair in drawn):
        said = "the same, where recoils are missing"
        handles.append(Line2D([], [], color=colour, alpha=INCOMPLETE_ALPHA, label=said))
    banded = [pair.bands for pair in drawn if pair.bands is not None]
    if banded:
        parts = dict.fromkeys(_PARTS.get(n, n) for bands in banded for n in bands.components if n != "fit")
        label = textwrap.fill(f"its {banded[0].coverage:.0%} band: {', '.join(parts)}", _LEGEND_LETTERS)
        handles.append(Line2D([], [], color=colour, alpha=BAND_ALPHA, linewidth=5, label=label))
    for number, pair in enumerate(drawn):
        if len(drawn) > 1:
            own, label = (
                PAIR_COLOURS[number % len(PAIR_COLOURS)],
                as_drawn(textwrap.fill(pair.title, _LEGEND_LETTERS)),
            )
            handles.append(Line2D([], [], color=own, linewidth=2.5, label=label))
        handles += _captures_said(pair)
    return handles


def draw_spectrum(spectrum: Spectrum, ax: Axes | None = None) -> Axes:
    """Draw the rate of a spectrum, in all and by element, into axes or into new ones; return them."""
    axes = ax or new_axes()
    edges = spectrum.energy_edges_eV
    axes.stairs(spectrum.total_rate_per_kg_day_keV, edges, baseline=None, label="all")
    for element in spectrum.elements if len(spectrum.elements) > 1 else ():
        rate = spectrum.rate_per_kg_day_keV[element]
        axes.stairs(rate, edges, baseline=None, linewidth=0.8, label=element)
    return _named(axes, f"{spectrum.energy_kind} energy (eV)")


def draw_observed(pair: Observed, ax: Axes | None = None) -> Axes:
    """Draw rates without and with the loss to stored energy, and the band, into axes or new ones; return them.

    The line is dotted where something is extrapolated, pale where recoils beyond the range are missing.
    """
    axes = ax or new_axes()
    before = sum(patch.get_label() == NOTHING_STORED for patch in axes.patches)
    colour = PAIR_COLOURS[before % len(PAIR_COLOURS)]
    edges = pair.expected.energy_edges_eV
    expected = pair.expected.total_rate_per_kg_day_keV
    observed = pair.observed_in_same_bins.total_rate_per_kg_day_keV
    axes.stairs(expected, edges, baseline=None, color=colour, linestyle=DASHED, label=NOTHING_STORED)
    for way, label in zip(_ways(pair), (f"{pair.title}, observed", EXTRAPOLATED, "incomplete"), strict=True):
        if way.bins.any():
            axes.stairs(
                way.shown(observed),
                edges,
                baseline=None,
                color=colour,
                label=as_drawn(label),
                linestyle=way.linestyle,
                alpha=way.alpha,
            )
    if pair.bands is not None:
        total = pair.bands.total
        axes.stairs(
            np.where(pair.is_complete, total.upper_per_kg_day_keV, np.nan),
            edges,
            baseline=total.lower_per_kg_day_keV,
            fill=True,
            color=colour,
            alpha=BAND_ALPHA,
            linewidth=0,
        )
    return _named(axes, "recoil or observed energy (eV)")


def _named(axes: Axes, energy: str) -> Axes:
    axes.set_xlabel(energy)
    axes.set_ylabel(RATE_LABEL)
    axes.legend(frameon=False)
    return axes


def _captures_said(pair: Observed) -> list[Line2D]:
    """Return an entry of the legend on captures without a tabulated primary gamma, if they matter."""
    source = pair.expected.source
    if not isinstance(source, CaptureRequest):
        return []
    try:
        shares = unresolved_shares(target=source.target, table=table_of(source))
    except InputError:  # the table of a spectrum that comes from elsewhere
        return []
    of = ", ".join(f"{share:.0%} of captures in {element}" for element, share in shares.items())
    how = "left out" if source.unresolved == "left_out" else "by a model"
    said = textwrap.fill(f"{of} {how}", 48)
    return [Line2D([], [], linestyle="none", label=as_drawn(said))] if of else []


def _draw_band(
    axes: Axes, pair: Observed, band: Sequence[NDArray[np.float64]], colour: str, *, alone: bool
) -> None:
    """Draw a band; one that is not alone is clear within its edges, as two fills would make a third colour."""
    if not len(band):
        return
    low, high = band
    edges = pair.expected.energy_edges_eV
    floor = np.maximum(low, 1e-300) if axes.get_yscale() == "log" else low
    if alone:
        axes.stairs(high, edges, baseline=floor, fill=True, color=colour, alpha=BAND_ALPHA, linewidth=0)
        return
    axes.stairs(
        high, edges, baseline=floor, fill=True, facecolor="none", edgecolor=colour, hatch=HATCHES[colour],
        alpha=2 * BAND_ALPHA, linewidth=0.0, hatch_linewidth=0.35,
    )  # fmt: skip
    for side in (floor, high):
        axes.stairs(side, edges, baseline=None, color=colour, linewidth=0.5, alpha=2 * BAND_ALPHA)


def _rate_band(pair: Observed) -> list[NDArray[np.float64]]:
    """Return lower and upper side of the band of the rate, nan where there is none; nothing without a band."""
    if pair.bands is None:
        return []
    known = pair.is_complete & (pair.expected.total_rate_per_kg_day_keV > 0)
    total = pair.bands.total
    return [np.where(known, rate, np.nan) for rate in (total.lower_per_kg_day_keV, total.upper_per_kg_day_keV)]


def _ratio_band(pair: Observed) -> list[NDArray[np.float64]]:
    """Return lower and upper side of the band of the ratio, nan where there is none; nothing without a band."""
    expected = pair.expected.total_rate_per_kg_day_keV
    return [
        np.divide(rate, expected, out=np.full_like(expected, np.nan), where=np.isfinite(rate))
        for rate in _rate_band(pair)
    ]


def _draw_stairs(axes: Axes, pair: Observed, values: NDArray[np.float64], colour: str, **line: Any) -> None:
    """Draw values in the bins of the expected spectrum; where they are zero, which a logarithm lacks, nothing."""
    edges = pair.expected.energy_edges_eV
    shown = np.where(values > 0, values, np.nan)
    axes.stairs(shown, edges, baseline=None, color=colour, linewidth=1.0, **line)


def _same(one: Spectrum, other: Spectrum) -> bool:
    return np.array_equal(one.energy_edges_eV, other.energy_edges_eV) and np.array_equal(
        one.total_rate_per_kg_day_keV, other.total_rate_per_kg_day_keV
    )


def _drawn(pairs: Sequence[Observed], range_eV: tuple[float, float] | None) -> list[Observed]:
    """Return the pairs that have a rate; refuse a range that runs backwards, or in which nothing is."""
    low, high = range_eV or (-np.inf, np.inf)
    asked = f"--range-eV {low:g} {high:g} (range_eV)"
    if not low < high:
        raise InputError(f"{asked}: expected the lower energy first; exchange them")
    for pair in pairs:
        if not _in_range(pair, range_eV).any():
            first, last = (float(pair.expected.energy_edges_eV[end]) for end in (0, -1))
            raise InputError(
                f"{asked}: {pair.title or 'the spectrum'} has bins from {first:g} to {last:g} eV alone; give a "
                "range among them"
            )
    rates = [pair.expected.total_rate_per_kg_day_keV for pair in pairs]
    if not any((rate[_in_range(pair, range_eV)] > 0).any() for pair, rate in zip(pairs, rates, strict=True)):
        where = (
            f"{asked}: every expected spectrum is zero there" if range_eV else "every expected spectrum is zero"
        )
        raise InputError(f"{where}; choose a range with some rate")
    return [pair for pair, rate in zip(pairs, rates, strict=True) if rate.max() > 0]


def _in_range(pair: Observed, range_eV: tuple[float, float] | None) -> NDArray[np.bool_]:
    """Return the bins of a range."""
    low_eV, high_eV = range_eV or (-np.inf, np.inf)
    edges = pair.expected.energy_edges_eV
    return np.asarray((edges[1:] > low_eV) & (edges[:-1] < high_eV))


def _used_bins(pair: Observed, range_eV: tuple[float, float] | None) -> NDArray[np.bool_]:
    """Return the complete bins of a range: of what is observed they set the limits of axes."""
    return pair.is_complete & _in_range(pair, range_eV)


def _pale_bins(pair: Observed, range_eV: tuple[float, float] | None) -> NDArray[np.bool_]:
    """Return the bins of a range in which recoils are missing and something is drawn."""
    observed = pair.observed_in_same_bins.total_rate_per_kg_day_keV
    return np.asarray(~pair.is_complete & _in_range(pair, range_eV) & (observed > 0))


def _limit_spectra(
    upper: Axes,
    pairs: Sequence[Observed],
    *,
    logarithmic_energy: bool,
    range_eV: tuple[float, float] | None,
) -> None:
    """Set the limits by what is there: no axis is spent on tails that no experiment sees."""
    peaks = [float(pair.expected.total_rate_per_kg_day_keV.max()) for pair in pairs]
    floor, ceiling = min(peaks) / 10**RATE_DECADES, 2 * max(peaks)
    lowest, pale = ceiling, ceiling
    for pair in pairs:
        expected = pair.expected.total_rate_per_kg_day_keV
        observed = pair.observed_in_same_bins.total_rate_per_kg_day_keV
        shown = np.concatenate([expected[_in_range(pair, range_eV)], observed[_used_bins(pair, range_eV)]])
        lowest = min(lowest, float(shown[shown >= floor].min(initial=ceiling)))
        pale = min(pale, float(observed[_pale_bins(pair, range_eV)].min(initial=ceiling)))
    # A tail that runs to zero for want of recoils is not to take the axis from what is known.
    lowest = max(min(lowest, pale), lowest / MOST_PALE, floor)
    upper.set_yscale("log")
    upper.set_ylim(lowest / 2, ceiling)
    upper.yaxis.set_major_locator(LogLocator(numticks=6))
    edges = np.concatenate([pair.expected.energy_edges_eV for pair in pairs])
    if logarithmic_energy:
        upper.set_xscale("log")
        upper.set_xlim(float(edges[edges > 0].min()), float(edges.max()))
    else:
        upper.set_xlim(min(0.0, float(edges.min())), float(edges.max()))
    if range_eV is not None:
        upper.set_xlim(*range_eV)


def _limit_ratio(axes: Axes, pairs: Sequence[Observed], *, range_eV: tuple[float, float] | None) -> None:
    # 1 to 99 %: a kinematic edge, where the ratio runs to zero or infinity, does not set the scale
    ends = [
        np.percentile(found, [1, 99])
        for pair in pairs
        for side in (pair.ratio, *_ratio_band(pair))
        if len(found := side[_used_bins(pair, range_eV) & np.isfinite(side)])
    ]
    low, high = (np.min(ends), np.max(ends)) if ends else (1.0, 1.0)
    pale = [float(pair.ratio[_pale_bins(pair, range_eV)].min(initial=low)) for pair in pairs]
    low = max(min(low, *pale), low / 2)  # as in `_limit_spectra`
    axes.set_ylim(max(min(low - 0.05, 0.8), 0.0), min(max(high + 0.05, 1.2), 3.0))
    axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))  # 1 is among them


@styled
def calibration_figure(
    pair: Observed,
    *,
    mass_g: float,
    lines_eV: Sequence[float] = (),
    range_eV: tuple[float, float] | None = None,
    logarithmic_counts: bool = False,
    potential_status: Status = "qualitative",
) -> Figure:
    """Return the spectrum of a calibration, counts per day and eV, without (dashed) and with stored energy.

    Beside Fig. 4 of Soum-Sidikov et al. (2024). Each line has the distance of its two maxima written beside it:
    that is how far the peak seems to move. What a fit of lines and background says of the shift is another
    number, up to an eV away (`spectra.line_fit`, `cascade lines`).

    Parameters
    ----------
    pair : Observed
    mass_g : float
        Of the crystal.
    lines_eV : sequence of float
        Recoil energies of calibration peaks to mark.
    range_eV : (float, float), optional
        Of the energy axis; by default all.
    logarithmic_counts : bool
        Logarithmic axis of counts: shows peaks of very different heights.
    potential_status : {'qualitative', 'quantitative'}

    Raises
    ------
    InputError
        If the mass is not positive, or the range mirrors the figure or leaves it empty.
    """
    figure = Figure(figsize=(COLUMN_WIDTH_in, 3.1), layout="constrained")
    axes = draw_calibration(
        pair,
        mass_g=mass_g,
        lines_eV=lines_eV,
        range_eV=range_eV,
        logarithmic_counts=logarithmic_counts,
        ax=figure.subplots(),
    )
    mark(axes, potential_status)
    return finished(figure)


@styled
def draw_calibration(
    pair: Observed,
    *,
    mass_g: float,
    lines_eV: Sequence[float] = (),
    range_eV: tuple[float, float] | None = None,
    logarithmic_counts: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """Draw what `calibration_figure` shows into these axes of matplotlib or into new ones; return them."""
    if not 0 < mass_g < np.inf:
        raise InputError(f"mass of the crystal is {mass_g:g} g, expected a positive one")
    _drawn([pair], range_eV)
    scale = mass_g / 1e3 / EV_PER_KEV
    edges, centre = pair.expected.energy_edges_eV, pair.expected.energy_centers_eV
    expected = pair.expected.total_rate_per_kg_day_keV * scale
    observed = pair.observed_in_same_bins.total_rate_per_kg_day_keV * scale
    low, high = range_eV or (float(edges[0]), float(edges[-1]))
    inside = _in_range(pair, range_eV)
    axes = ax or new_axes()
    dress(axes)
    axes.stairs(
        expected,
        edges,
        baseline=None,
        color=DATA_COLOUR,
        linestyle=DASHED,
        label="nothing stored",
        linewidth=1.1,
    )
    _draw_observed_counts(axes, pair, observed, inside, scale=scale)
    top = float(np.nanmax(np.where(inside, np.maximum(expected, observed), 0.0)[_above_fall(expected, inside)]))
    for line in lines_eV:
        before = _maximum_near(centre, expected, line)
        after = _maximum_near(centre, observed, before[0] - 0.095 * line)
        _mark_shift(axes, before, after, top, logarithmic=logarithmic_counts)
    axes.set_xlim(low, high)
    if logarithmic_counts:
        axes.set_yscale("log")
        least = np.where(pair.is_complete, np.minimum(expected, observed), expected)[inside]
        axes.set_ylim(max(float(least[least > 0].min(initial=top)) / 1.5, top / 1e3), 2.5 * top)
    else:
        axes.set_ylim(0, 1.22 * top)
    axes.set_xlabel("recoil or observed energy (eV)")
    axes.set_ylabel(rf"counts (d$^{{-1}}$ eV$^{{-1}}$) in {mass_g:g} g")
    handles = [*axes.get_legend_handles_labels()[0], *_captures_said(pair)]
    if len(lines_eV):
        handles.append(_arrow_said(MAXIMA))
    _legend_below(axes, handles)
    return axes


def _draw_observed_counts(
    axes: Axes, pair: Observed, observed: NDArray[np.float64], inside: NDArray[np.bool_], *, scale: float
) -> None:
    """Draw counts with stored energy in all ways that have bins `inside`, and their band; `scale` makes counts."""
    edges = pair.expected.energy_edges_eV
    labels = ("with stored energy", EXTRAPOLATED, "incomplete")
    for way, label in zip(_ways(pair), labels, strict=True):
        if (way.bins & inside).any():
            axes.stairs(
                way.shown(observed),
                edges,
                baseline=None,
                color=MODEL_COLOUR,
                label=label,
                linewidth=1.1,
                linestyle=way.linestyle,
                alpha=way.alpha,
            )
    if pair.bands is not None:
        total = pair.bands.total
        low, high = (
            np.where(pair.is_complete, rate * scale, np.nan)
            for rate in (total.lower_per_kg_day_keV, total.upper_per_kg_day_keV)
        )
        axes.stairs(
            high,
            edges,
            baseline=low,
            fill=True,
            color=MODEL_COLOUR,
            alpha=BAND_ALPHA,
            linewidth=0,
            label=f"its {pair.bands.coverage:.0%} band",
        )


def _arrow_said(label: str) -> Line2D:
    return Line2D([], [], linestyle="none", marker="$\\leftarrow$", color=QUIET_COLOUR, label=label)


def _legend_below(axes: Axes, handles: Sequence[Any]) -> None:
    """Add a legend where it covers nothing."""
    axes.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=2, frameon=False)


def _above_fall(rate: NDArray[np.float64], inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the bins of a range from its first minimum up: a wall of low energies does not set the scale."""
    index = np.flatnonzero(inside)
    rising = np.flatnonzero(np.diff(rate[index]) > 0)
    first = index[rising[0]] if len(rising) else index[0]
    chosen = inside.copy()
    chosen[:first] = False
    return chosen


def _maximum_near(centre: NDArray[np.float64], rate: NDArray[np.float64], energy_eV: float) -> tuple[float, float]:
    """Return energy and height of the maximum within 8 eV, by the parabola through its three bins."""
    near = np.flatnonzero(np.abs(centre - energy_eV) < 8)
    if len(near) < 3:
        return energy_eV, 0.0
    i = int(near[np.argmax(rate[near])])
    i = min(max(i, 1), len(rate) - 2)
    a, b, c = rate[i - 1 : i + 2]
    bend = a - 2 * b + c
    shift = 0.5 * (a - c) / bend if bend < 0 else 0.0
    return float(centre[i] + np.clip(shift, -1, 1) * (centre[i + 1] - centre[i])), float(b)


def _mark_shift(
    axes: Axes, before: tuple[float, float], after: tuple[float, float], top: float, *, logarithmic: bool
) -> None:
    """Draw an arrow from one maximum to the other, and say how long it is."""
    peak = max(before[1], after[1])
    height = 1.25 * peak if logarithmic else peak + 0.045 * top
    for energy, rate in (before, after):
        axes.plot([energy, energy], [rate, height], color=QUIET_COLOUR, linewidth=0.5)
    axes.annotate(
        "",
        xy=(after[0], height),
        xytext=(before[0], height),
        arrowprops={"arrowstyle": "-|>", "color": QUIET_COLOUR, "linewidth": 0.7, "shrinkA": 0, "shrinkB": 0,
                    "mutation_scale": 5},
    )  # fmt: skip
    axes.text(
        (before[0] + after[0]) / 2,
        1.08 * height if logarithmic else height + 0.02 * top,
        f"{after[0] - before[0]:+.1f} eV".replace("-", "\u2212"),
        ha="center",
        va="bottom",
        fontsize=6.5,
    )


@styled
def line_fit_figure(fit: LineFit, *, is_measured: bool, potential_status: Status = "qualitative") -> Figure:
    """Return counts with the lines and the background that were fitted to them; see `draw_line_fit`."""
    figure = Figure(figsize=(COLUMN_WIDTH_in, 2.9), layout="constrained")
    axes = draw_line_fit(fit, is_measured=is_measured, ax=figure.subplots())
    mark(axes, potential_status)
    return finished(figure)


@styled
def draw_line_fit(fit: LineFit, *, is_measured: bool, ax: Axes | None = None) -> Axes:
    """Draw a fit of lines into axes or into new ones; return them.

    Each line has its fitted shift written beside an arrow from where it would be without a loss. Maxima of the
    spectrum lie elsewhere (`calibration_figure`).

    Parameters
    ----------
    fit : LineFit
    is_measured : bool
        Whether the counts scatter: then they are points with errors.
    ax : Axes, optional
    """
    axes = ax or new_axes()
    edges = np.array(fit.energy_edges_eV)
    counts, expected, background = (
        np.array(row) for row in (fit.counts, fit.expected_counts, fit.background_counts)
    )
    centre = (edges[1:] + edges[:-1]) / 2
    if is_measured:
        axes.errorbar(
            centre, counts, yerr=np.sqrt(np.maximum(counts, 0)), fmt="o", markersize=2, elinewidth=0.7,
            color=DATA_COLOUR, label="counts",
        )  # fmt: skip
    else:
        axes.stairs(counts, edges, color=DATA_COLOUR, linewidth=0.9, label="expected counts", baseline=None)
    axes.plot(centre, expected, color=MODEL_COLOUR, linewidth=1.1, label="lines and background")
    axes.plot(centre, background, color=QUIET_COLOUR, linewidth=0.9, linestyle=DASHED, label="background")
    top = float(max(counts.max(), expected.max()))
    for line in fit.lines:
        peak = float(np.interp(line.position_eV, centre, expected))
        height = peak + 0.05 * top
        axes.annotate(
            "",
            xy=(line.position_eV, height),
            xytext=(line.reference_energy_eV, height),
            arrowprops={"arrowstyle": "-|>", "color": QUIET_COLOUR, "linewidth": 0.7, "shrinkA": 0, "shrinkB": 0,
                        "mutation_scale": 5},
        )  # fmt: skip
        axes.plot([line.reference_energy_eV] * 2, [0, height], ":", color=QUIET_COLOUR, linewidth=0.6)
        axes.text(
            (line.position_eV + line.reference_energy_eV) / 2,
            height + 0.02 * top,
            f"{value_with_error(line.shift_eV, line.shift_error_eV)} eV".replace("-", "\u2212"),
            ha="center",
            va="bottom",
            fontsize=6.5,
        )
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(0, 1.25 * top)
    axes.set_xlabel("observed energy (eV)")
    axes.set_ylabel("counts per bin")
    handles, _ = axes.get_legend_handles_labels()
    handles.append(_arrow_said("fitted shift"))
    _legend_below(axes, handles)
    dress(axes)
    return axes
