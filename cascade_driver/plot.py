"""Figures: defect probability, stored energies, their trend, and spectra before and after the correction.

The only module that knows matplotlib. Every function returns a `matplotlib.figure.Figure`, one column of a
journal wide; no display and no state of pyplot is touched. Data are dark, fitted models vermilion, and what
comes from a potential that calls itself qualitative says so in its corner.
"""

from __future__ import annotations

import io
import math
import os
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator
from numpy.typing import NDArray

from cascade_driver.analysis.defect_probability import DefectPoint, DefectProbabilityFit, defect_points
from cascade_driver.analysis.distribution import StoredEnergySummary, summarise_stored_energies
from cascade_driver.analysis.model import SpeciesModel, Status, StoredEnergyModel
from cascade_driver.analysis.outcomes import UsableCascades, usable_cascades
from cascade_driver.errors import InputError
from cascade_driver.relaxation.tls_damping import (
    MetalState,
    Resonator,
    TunnellingSystems,
    low_temperature_slope_per_s_K,
    mode_damping_Hz,
    phonon_rate_constant_per_eV_s,
    plateau_per_s,
)
from cascade_driver.relaxation.tls_damping_fit import DampingData
from cascade_driver.relaxation.tls_density import (
    CountedDensity,
    DensityFit,
    PowerLawDensity,
    gaussian_density_per_K,
)
from cascade_driver.simulation.record import CascadeTable
from cascade_driver.spectra.ensemble import SpectrumBands
from cascade_driver.spectra.spectrum import Spectrum, rebin

if TYPE_CHECKING:
    from cascade_driver.relaxation.film_spectrum import FilmSpectrum

#: What a figure says whose potential calls itself qualitative.
QUALITATIVE_MARK = "qualitative potential"

#: One column of a two-column journal, 86 mm.
COLUMN_WIDTH_in = 3.39

#: Of PNG files.
RESOLUTION_dpi = 150

#: The band of the ratio that is marked.
RATIO_BAND = 0.1

DATA_COLOUR = "#262626"
FILL_COLOUR = "#c3ccd4"
MODEL_COLOUR = "#d55e00"
QUIET_COLOUR = "#6e6e6e"

#: One per spectrum: told apart with any colour vision, and by their lightness in grey (after Okabe and Ito).
PAIR_COLOURS = ("#262626", "#d55e00", "#0072b2", "#009e73", "#cc79a7", "#56b4e9")

#: Orders of magnitude below the largest rate that a spectrum is drawn over.
RATE_DECADES = 5

#: Of error bands.
BAND_ALPHA = 0.3

#: More recoil energies than this are drawn in two columns of panels.
MOST_PANELS = 8

#: No more bins than this over all stored energies of a figure.
MOST_BINS = 32

_STYLE = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib: the same figure on every machine
    "mathtext.fontset": "dejavusans",
    "font.size": 7.5,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "axes.linewidth": 0.7,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 7,
    "legend.frameon": True,  # else the sign of a point could pass for a point
    "legend.fancybox": False,
    "legend.framealpha": 0.9,
    "legend.edgecolor": "#d9d9d9",
    "legend.handlelength": 1.8,
    "lines.linewidth": 1.3,
    "savefig.dpi": RESOLUTION_dpi,
    "pdf.fonttype": 42,  # text stays text
}

#: Reset whatever the user's matplotlibrc holds, for the time of one function.
_styled = matplotlib.style.context(["default", _STYLE])


@dataclass(frozen=True, kw_only=True)
class CorrectedPair:
    """A spectrum without and with the loss to stored energy, all else equal.

    Attributes
    ----------
    name : str
        Short, fit for a file name.
    title : str
        For people.
    expected : Spectrum
        As if no recoil stored energy.
    observed : Spectrum
        With the stored energy taken off. Its bins may reach further down: observed energies are lower.
    threshold_eV : float, optional
        Of the detector, if both went through one.
    complete_below_eV : float, optional
        Above it the observed spectrum lacks what recoils beyond the range of `expected` would bring, and is
        drawn pale. By default all is taken as complete.
    bands : SpectrumBands, optional
        Errors of `observed`, in the bins of `expected`.
    """

    name: str
    title: str
    expected: Spectrum
    observed: Spectrum
    threshold_eV: float | None = None
    complete_below_eV: float | None = None
    bands: SpectrumBands | None = None

    @property
    def observed_in_same_bins(self) -> Spectrum:
        """The observed spectrum in the bins of the expected one."""
        return rebin(self.observed, self.expected.energy_edges_eV)

    @property
    def ratio(self) -> NDArray[np.float64]:
        """(n,) observed to expected rate in the n bins of `expected`; nan where none is expected."""
        expected = self.expected.total_rate_per_kg_day_keV
        observed = self.observed_in_same_bins.total_rate_per_kg_day_keV
        return np.divide(observed, expected, out=np.full_like(expected, np.nan), where=expected > 0)

    @property
    def is_complete(self) -> NDArray[np.bool_]:
        """(n,) which bins of `expected` lie below `complete_below_eV`; all if that is not set."""
        limit = math.inf if self.complete_below_eV is None else self.complete_below_eV
        return self.expected.energy_edges_eV[1:] <= limit * (1 + 1e-9)  # an edge that rounding puts a hair above


@dataclass(frozen=True, kw_only=True)
class CaptionedFigure:
    """A figure with a name fit for a file and the text that belongs under it."""

    name: str
    caption: str
    figure: Figure


@_styled
def defect_probability_figure(table: CascadeTable | None, model: StoredEnergyModel | None, species: str) -> Figure:
    """Return the defect probability of one species: points, fitted Fermi function and its error.

    Shares of cascades with their 68 % Wilson intervals, the number of cascades above each; the best fit with
    its band of one standard error. Separated data get the bracket and the limit they allow, and no band (Fig.
    3 of Soum-Sidikov et al. 2024).

    Parameters
    ----------
    table : CascadeTable, optional
        Cascades for the points, where the model brings none.
    model : StoredEnergyModel, optional
        Where it holds the fit, its points are drawn; without a model there is no curve.
    species : str
        Chemical symbol of the knocked-on atom.

    Raises
    ------
    InputError
        If there is neither table nor model, or the model does not know the species.
    FitError
        If the table has no usable cascade of the species.
    """
    one = None if model is None else model[species]
    fit = None if one is None else one.defect_probability_fit
    points = fit.points if fit else defect_points(_cascades(table, species)) if table is not None else ()
    if one is None and not points:
        raise InputError("a figure of the defect probability needs a table or a model: give one")
    highest = max([p.recoil_energy_eV for p in points] + ([one.maximum_recoil_energy_eV] if one else []))
    figure = Figure(figsize=(COLUMN_WIDTH_in, 2.6), layout="constrained")
    axes = _axes(figure)
    if one is not None:
        _draw_fermi(axes, one, highest_eV=1.05 * highest)
    above_pt = _draw_points(axes, points) if points else 0.0
    axes.set(xlim=(0, 1.05 * highest), ylim=(-0.03, 1.04))
    axes.set_xlabel(f"recoil energy $E_R$ of {species} (eV)")
    axes.set_ylabel("defect probability $p_d$")
    _legend(axes)
    _mark(axes, _status(table, model), above_pt=above_pt)
    return _finished(figure)


def _draw_points(axes: Axes, points: Sequence[DefectPoint]) -> float:
    """Draw points and numbers of cascades; return the height that the numbers take above the axes."""
    energy = np.array([p.recoil_energy_eV for p in points])
    share = np.array([p.probability for p in points])
    # The interval of a weighted share may miss the share itself by a hair.
    below = np.maximum(share - [p.lower for p in points], 0)
    above = np.maximum([p.upper for p in points] - share, 0)
    axes.errorbar(
        energy,
        share,
        yerr=[below, above],
        fmt="o",
        markersize=3.5,
        color=DATA_COLOUR,
        elinewidth=0.9,
        capsize=2,
        label="cascades, 68 % interval",
        zorder=4,
        clip_on=False,
    )
    numbers = [f"{p.n_defects}/{p.n_cascades}" for p in points]
    length_pt = 3.6 * max(len(number) for number in numbers)  # of the longest, in the font of 6 pt
    # of the column the axes take some 0.85, of which the highest energy leaves a little free
    closest_pt = np.diff(np.sort(energy)).min(initial=np.inf) / energy.max() * 0.8 * 72 * COLUMN_WIDTH_in
    crowded = closest_pt < length_pt + 3
    for point, number in zip(points, numbers, strict=True):
        axes.annotate(
            number,
            (point.recoil_energy_eV, 1),
            xycoords=("data", "axes fraction"),
            xytext=(0, 3),
            textcoords="offset points",
            ha="center",
            va="bottom",
            rotation=90 if crowded else 0,
            fontsize=6,
            color=QUIET_COLOUR,
            annotation_clip=False,
        )
    return 6.0 + (length_pt if crowded else 6.0)


def _draw_fermi(axes: Axes, model: SpeciesModel, *, highest_eV: float) -> None:
    fit, law = model.defect_probability_fit, model.defect_probability
    if fit is not None and fit.is_separated:
        _draw_separated(axes, fit, highest_eV=highest_eV)
        return
    # dense where the curve bends, so that a narrow step is not cut short
    steps = law.half_energy_eV + law.width_eV * np.linspace(-8, 8, 161)
    energy = np.unique(np.concatenate([np.linspace(0, highest_eV, 401), steps]))
    energy = energy[(energy >= 0) & (energy <= highest_eV)]
    p = law(energy)
    (half, width, *top), errors = _fermi_values(model), fit.errors if fit else ()
    text = f"$E_{{1/2}}$ = {_plus_minus(half, errors[:1])} eV\n$w$ = {_plus_minus(width, errors[1:2])} eV"
    if top:
        text += f"\n$p_{{max}}$ = {_plus_minus(top[0], errors[2:3])}"
    axes.plot(energy, p, color=MODEL_COLOUR, label=("Fermi fit\n" if fit else "Fermi function\n") + text, zorder=3)
    if fit is not None:
        error = fit.probability_error(energy)
        axes.fill_between(
            energy,
            np.clip(p - error, 0, 1),
            np.clip(p + error, 0, 1),
            color=MODEL_COLOUR,
            alpha=0.22,
            linewidth=0,
            label="1 standard error",
            zorder=2,
        )


def _fermi_values(model: SpeciesModel) -> tuple[float, ...]:
    law = model.defect_probability
    free_top = model.defect_probability_fit is not None and len(model.defect_probability_fit.parameters) == 3
    top = (law.maximum,) if free_top or law.maximum != 1 else ()
    return (law.half_energy_eV, law.width_eV, *top)


def _draw_separated(axes: Axes, fit: DefectProbabilityFit, *, highest_eV: float) -> None:
    """Draw what separated data say: nothing below the bracket, everything above, no curve in between."""
    lower, upper = fit.half_energy_bracket_eV or (fit.probability.half_energy_eV,) * 2
    limit = f"$w$ < {fit.width_upper_limit_eV:.3g} eV ({fit.width_confidence:.0%})"
    for x, y in (((0.0, lower), 0.0), ((upper, highest_eV), fit.probability.maximum)):
        axes.plot(x, (y, y), color=MODEL_COLOUR, zorder=3)
    if lower < upper:
        label = f"{lower:g} eV < $E_{{1/2}}$ < {upper:g} eV\n{limit}"
        axes.axvspan(
            lower,
            upper,
            facecolor="none",
            edgecolor=MODEL_COLOUR,
            alpha=0.5,
            hatch="////",
            linewidth=0,
            label=label,
        )
    else:
        axes.axvline(lower, color=MODEL_COLOUR, linestyle=":", label=f"$E_{{1/2}}$ near {lower:g} eV\n{limit}")


@_styled
def stored_energy_figure(table: CascadeTable, model: StoredEnergyModel | None, species: str) -> Figure:
    """Return the distributions of the non-zero stored energies of one species, one panel per recoil energy.

    Histograms weighted by direction and normalised to 1, the mean (dashed) beside each, and the fitted density
    over them (Fig. 2 of Soum-Sidikov et al. 2024). Recoil energies without any stored energy are named only.

    Parameters
    ----------
    table : CascadeTable
    model : StoredEnergyModel, optional
        Without one there are no curves.
    species : str

    Raises
    ------
    InputError
        If the model does not know the species.
    FitError
        If the table has no usable cascade of it.
    """
    law = None if model is None else model[species].distribution
    cascades = _cascades(table, species)
    summaries = summarise_stored_energies(cascades)
    shown = [s for s in summaries if s.n_nonzero]
    columns = 1 if len(shown) <= MOST_PANELS else 2
    rows = max(math.ceil(len(shown) / columns), 1)
    width = COLUMN_WIDTH_in * (1 if columns == 1 else 2.08)
    figure = Figure(figsize=(width, max(0.68 * rows + 0.55, 1.6)), layout="constrained")
    _layout_pads(figure, h_pad=0.015)
    panels = figure.subplots(rows, columns, sharex=True, squeeze=False).T.ravel()
    largest = float(cascades.stored_energy_eV[cascades.stores_energy].max(initial=1.0))
    edges = _bins(largest)
    for axes, summary in zip(panels, shown, strict=False):
        _dress(axes)
        _draw_histogram(axes, cascades, summary, edges)
        if law is not None:
            energy = summary.recoil_energy_eV
            stored = np.linspace(0, min(energy, 1.4 * edges[-1]), 500)
            axes.plot(stored, np.exp(law.log_density(stored, energy)), color=MODEL_COLOUR, zorder=3)
        axes.set_ylim(0, 1.12 * axes.get_ylim()[1])
        axes.yaxis.set_major_locator(MaxNLocator(2, min_n_ticks=2))
        axes.tick_params(top=False, right=False)
    for axes in panels[len(shown) :]:
        axes.set_axis_off()
    panels[0].set_xlim(0, 1.4 * edges[-1])
    for last in (rows - 1, len(shown) - 1):
        panels[last].set_xlabel("stored energy $E_s$ (eV)")
        panels[last].tick_params(labelbottom=True)
    figure.supylabel("probability density (1/eV)", fontsize=8)
    _say_what_is_not_shown(panels[0], summaries, species)
    _mark(panels[0], _status(table, model))
    return _finished(figure)


def _bins(largest_eV: float) -> NDArray[np.float64]:
    """Return edges from 0 over `largest_eV`, of a round width."""
    decade = 10.0 ** math.floor(math.log10(largest_eV / MOST_BINS))
    width = next(decade * step for step in (1, 2, 2.5, 5, 10) if largest_eV / (decade * step) <= MOST_BINS)
    return np.arange(math.floor(largest_eV / width) + 2, dtype=np.float64) * width


def _draw_histogram(
    axes: Axes, cascades: UsableCascades, summary: StoredEnergySummary, edges: NDArray[np.float64]
) -> None:
    here = (cascades.recoil_energy_eV == summary.recoil_energy_eV) & cascades.stores_energy
    density, _ = np.histogram(
        cascades.stored_energy_eV[here], bins=edges, weights=cascades.weight[here], density=True
    )
    axes.stairs(density, edges, fill=True, facecolor=FILL_COLOUR, edgecolor=QUIET_COLOUR, linewidth=0.5)
    mean = summary.mean_eV or 0.0
    errors = () if summary.standard_error_eV is None else (summary.standard_error_eV,)
    axes.axvline(mean, color=DATA_COLOUR, linestyle=(0, (4, 2)), linewidth=0.9, zorder=4)
    text = (
        f"$E_R$ = {summary.recoil_energy_eV:g} eV\n"
        rf"$\langle E_s \rangle$ = {_plus_minus(mean, errors)} eV"
        f"\n{summary.n_nonzero} of {summary.n_cascades} cascades"
    )
    axes.text(
        0.985,
        0.92,
        text,
        transform=axes.transAxes,
        ha="right",
        va="top",
        fontsize=6.5,
        linespacing=1.25,
        zorder=5,
        bbox={"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 0.8},
    )


def _say_what_is_not_shown(axes: Axes, summaries: Sequence[StoredEnergySummary], species: str) -> None:
    without = [f"{s.recoil_energy_eV:g}" for s in summaries if not s.n_nonzero]
    title = f"{species} recoils"
    if without:
        title += f" (none stored at {', '.join(without)} eV)"
    axes.set_title(title, loc="left", fontsize=6.5, color=QUIET_COLOUR)


@_styled
def stored_energy_trend_figure(
    table: CascadeTable | None, model: StoredEnergyModel | None, species: str
) -> Figure:
    """Return the mean non-zero stored energy of one species against recoil energy, and its share of it.

    Points are weighted means with their standard errors, the curve the mean of the fitted distribution in the
    simulated range; in the lower panel the dashed curve includes the cascades that stored nothing.

    Parameters
    ----------
    table : CascadeTable, optional
        Cascades for the points, where the model brings none.
    model : StoredEnergyModel, optional
        Without one there are no curves.
    species : str

    Raises
    ------
    InputError
        If there is neither table nor model, or the model does not know the species.
    FitError
        If the table has no usable cascade of the species.
    """
    if table is None and model is None:
        raise InputError("a figure of the mean stored energy needs a table or a model: give one")
    one = None if model is None else model[species]
    fit = None if one is None else one.distribution_fit
    if fit is not None:
        summaries = fit.summaries
    else:
        summaries = () if table is None else summarise_stored_energies(_cascades(table, species))
    figure = Figure(figsize=(COLUMN_WIDTH_in, 3.3), layout="constrained")
    _layout_pads(figure, h_pad=0.02)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    known = [s for s in summaries if s.mean_eV is not None]
    energy = np.array([s.recoil_energy_eV for s in known])
    mean = np.array([s.mean_eV for s in known], dtype=np.float64)
    error = np.array([s.standard_error_eV or 0.0 for s in known])
    points = {"fmt": "o", "markersize": 3.5, "color": DATA_COLOUR, "elinewidth": 0.9, "capsize": 2, "zorder": 4}
    if known:
        upper.errorbar(energy, mean, yerr=error, label="mean of non-zero", **points)
        lower.errorbar(energy, 100 * mean / energy, yerr=100 * error / energy, **points)
    if one is not None:
        grid = np.linspace(one.distribution.lowest_energy_eV, one.maximum_recoil_energy_eV, 300)
        of_law = one.distribution.mean_eV(grid)
        label = "fitted distribution" if fit else "distribution"
        upper.plot(grid, of_law, color=MODEL_COLOUR, label=label)
        lower.plot(grid, 100 * of_law / grid, color=MODEL_COLOUR)
        lower.plot(
            grid,
            100 * one.defect_probability(grid) * of_law / grid,
            color=MODEL_COLOUR,
            linestyle=(0, (4, 2)),
            label=r"all recoils, $p_d \langle E_s \rangle / E_R$",
        )
        _legend(lower)
    for axes in (upper, lower):
        _dress(axes)
        axes.set_ylim(0, 1.12 * axes.dataLim.y1 if np.isfinite(axes.dataLim.y1) and axes.dataLim.y1 > 0 else 1)
    highest = max([s.recoil_energy_eV for s in summaries] + ([one.maximum_recoil_energy_eV] if one else []))
    lower.set_xlim(0, 1.05 * highest)
    upper.set_ylabel(r"$\langle E_s \rangle$, non-zero (eV)")
    lower.set_ylabel(r"$\langle E_s \rangle / E_R$ (%)")
    lower.set_xlabel(f"recoil energy $E_R$ of {species} (eV)")
    _legend(upper, loc="upper left")
    _mark(upper, _status(table, model))
    return _finished(figure)


@_styled
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
    _layout_pads(figure, h_pad=0.02)
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
        _dress(axes)
    upper.set_ylabel(r"rate (kg$^{-1}$ d$^{-1}$ keV$^{-1}$)")
    lower.set_ylabel("observed\n/ expected")
    lower.set_xlabel("recoil or observed energy (eV)")
    figure.legend(handles=handles, loc="outside upper left", handlelength=2.4, frameon=False)
    _mark(upper, potential_status)
    return _finished(figure)


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


@_styled
def film_spectra_figure(
    spectra: Sequence[FilmSpectrum], *, measured: Sequence[tuple[str, Spectrum]] = (), scale: float | None = None
) -> Figure:
    """Return spectra of the events of films per area of film, as in Fig. 6 of Romani 2024.

    Parameters
    ----------
    spectra : sequence of FilmSpectrum
        Of the same bins, named by their dislocation spacing.
    measured : sequence of (str, Spectrum)
        Names and spectra of the first one's detector, drawn as if they came from its film.
    scale : float, optional
        Each spectrum a second time, pale, times this.

    Raises
    ------
    InputError
        If there is no spectrum.
    """
    from cascade_driver.relaxation.film_spectrum import per_film_area

    if not spectra:
        raise InputError("a figure of film spectra without a spectrum: give at least one")
    figure = Figure(figsize=(COLUMN_WIDTH_in, 2.9), layout="constrained")
    axes = _axes(figure)
    first = spectra[0].background
    for number, spectrum in enumerate(spectra):
        colour = PAIR_COLOURS[1 + number % (len(PAIR_COLOURS) - 1)]
        rate, edges = spectrum.rate_per_mm2_s_eV, spectrum.energy_edges_eV
        name = f"$\\rho_D$ = ({spectrum.background.film.dislocation_spacing_nm:g} nm)$^{{-2}}$"
        axes.stairs(
            np.where(rate > 0, rate, np.nan), edges, baseline=None, color=colour, label=name, linewidth=1.2
        )
        if scale is not None:
            pale = np.where(rate > 0, scale * rate, np.nan)
            axes.stairs(pale, edges, baseline=None, color=colour, alpha=0.4, label=f"{name} × {scale:g}")
    for number, (name, one) in enumerate(measured):
        rate = per_film_area(
            one,
            film_area_mm2=first.film_area_mm2,
            detector_mass_kg=first.detector_mass_kg,
            days_since_cooldown=first.days_since_cooldown,
            reference_days=first.days_since_cooldown,
        )
        style = ("--", ":", "-.")[number % 3]
        axes.stairs(rate, one.energy_edges_eV, baseline=None, color=DATA_COLOUR, linestyle=style, label=name)
    axes.set_yscale("log")
    top = max(float(s.rate_per_mm2_s_eV.max()) for s in spectra)
    if top > 0:
        axes.set_ylim(top / 10**RATE_DECADES, 2 * top)
    axes.set_xlim(0, float(max(s.energy_edges_eV[-1] for s in spectra)))
    axes.set_xlabel("phonon energy above the gap, into the crystal (eV)")
    axes.set_ylabel(r"rate (mm$^{-2}$ s$^{-1}$ eV$^{-1}$)")
    axes.set_title(
        f"{first.interface.metal.name} film, $\\sigma_0$ = {first.film.bulk_stress_MPa:g} MPa, "
        f"{first.days_since_cooldown:g} days after cooldown",
        loc="left",
        fontsize=6.5,
        color=QUIET_COLOUR,
    )
    _legend(axes)
    return _finished(figure)


@_styled
def film_overlay_figure(film: Spectrum, others: Sequence[tuple[str, Spectrum]]) -> Figure:
    """Return the background of a film in a detector, laid over other spectra of the same detector.

    Parameters
    ----------
    film : Spectrum
    others : sequence of (str, Spectrum)
        Names and spectra, such as corrected ones of dark matter and of neutrinos.

    Raises
    ------
    InputError
        If all rates are zero.
    """
    drawn = [("film", film), *others]
    tops = [float(one.total_rate_per_kg_day_keV.max()) for _, one in drawn]
    if max(tops) <= 0:
        raise InputError("every spectrum is zero in its range: choose a range with some rate")
    figure = Figure(figsize=(COLUMN_WIDTH_in, 2.9), layout="constrained")
    axes = _axes(figure)
    for number, (name, one) in enumerate(drawn):
        rate = one.total_rate_per_kg_day_keV
        colour = PAIR_COLOURS[(1 - number) % len(PAIR_COLOURS)] if number < 2 else PAIR_COLOURS[number]
        shown = np.where(rate > 0, rate, np.nan)
        label = textwrap.fill(name, 48)
        axes.stairs(shown, one.energy_edges_eV, baseline=None, color=colour, label=label, linewidth=1.2)
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(numticks=8))
    lowest = min(top for top in tops if top > 0)
    axes.set_ylim(lowest / 10 ** (RATE_DECADES - 2), 3 * max(tops))
    axes.set_xlim(0, float(max(one.energy_edges_eV[-1] for _, one in drawn)))
    axes.set_xlabel("observed energy (eV)")
    axes.set_ylabel(r"rate (kg$^{-1}$ d$^{-1}$ keV$^{-1}$)")
    _legend(axes)
    return _finished(figure)


@_styled
def tls_damping_figure(
    *,
    systems: TunnellingSystems,
    resonator: Resonator,
    temperature_K: NDArray[np.float64],
    data: DampingData | None,
) -> Figure:
    """Return the damping of a resonator by tunnelling systems against temperature, in both states of the metal.

    Curves of the model with the limits of the superconducting one, dashed; data with their errors, filled in the
    normal state (Fig. 3 of Maillet et al. 2023, doi:10.1103/PhysRevB.107.064104).
    """
    figure = Figure(figsize=(COLUMN_WIDTH_in, 2.6), layout="constrained")
    axes = _axes(figure)
    lowest = math.inf
    states: tuple[MetalState, ...] = (
        ("normal", "superconducting") if systems.charged_fraction else ("superconducting",)
    )
    for metal in states:
        colour = PAIR_COLOURS[2] if metal == "normal" else MODEL_COLOUR
        damping = mode_damping_Hz(temperature_K, systems=systems, resonator=resonator, metal=metal)
        lowest = min(lowest, float(damping.min()))
        axes.plot(temperature_K, damping, color=colour, label=metal)
        if data is not None:
            chosen = data.is_normal == (metal == "normal")
            axes.errorbar(
                data.temperature_K[chosen],
                data.damping_Hz[chosen],
                yerr=data.damping_error_Hz[chosen],
                fmt="o",
                markersize=3,
                color=colour,
                markerfacecolor=colour if metal == "normal" else "white",
                linewidth=0.8,
            )
    constant = phonon_rate_constant_per_eV_s(strain_coupling_eV=systems.strain_coupling_eV, resonator=resonator)
    slope = low_temperature_slope_per_s_K(strength=systems.strength, rate_constant_per_eV_s=constant)
    plateau = plateau_per_s(strength=systems.strength, mode_frequency_Hz=resonator.mode_frequency_Hz)
    limit: dict[str, Any] = {"color": QUIET_COLOUR, "linestyle": "--", "linewidth": 0.8, "zorder": 0}
    axes.plot(temperature_K, slope * temperature_K / (2 * np.pi), label="limits", **limit)
    axes.axhline(plateau / (2 * np.pi), **limit)
    axes.set(xscale="log", yscale="log", ylim=(0.7 * lowest, 1.6 * plateau / (2 * np.pi)))
    axes.set_xlim(float(temperature_K.min()), float(temperature_K.max()))
    axes.set_xlabel("temperature (K)")
    axes.set_ylabel(r"damping $\Gamma/2\pi$ (Hz)")
    _legend(axes)
    return _finished(figure)


@_styled
def tls_density_figure(counted: CountedDensity, *, fits: Sequence[DensityFit], random_field_K: float) -> Figure:
    """Return the density of states of a glass at each temperature that was fitted, and at zero.

    Left all energies with the exact Gaussian without interactions, right the low ones with their fits (Fig. 1 of
    Churkin et al. 2021).
    """
    figure = Figure(figsize=(2 * COLUMN_WIDTH_in, 2.6), layout="constrained")
    wide, low = figure.subplots(1, 2)
    energy = np.geomspace(1e-2, 80, 400)
    wide.plot(
        energy,
        gaussian_density_per_K(energy, random_field_K=random_field_K),
        color=QUIET_COLOUR,
        linestyle="--",
        label="no interaction",
    )
    for axes, edges in ((wide, np.linspace(0, 80, 41)), (low, np.linspace(0, 3, 16))):
        _dress(axes)
        for fit, colour in zip(fits, PAIR_COLOURS, strict=False):
            n = np.diff(counted.integral(edges, fit.temperature_K)) / np.diff(edges)
            axes.stairs(n, edges, color=colour, linewidth=0.9, label=f"{fit.temperature_K:g} K")
        axes.set_xlabel(r"excitation energy $E = 2|\Delta|$ (K)")
        axes.set_ylabel("density of states $n$ (1/K), both signs")
        axes.set_ylim(bottom=0)
    for fit, colour in zip(fits, PAIR_COLOURS, strict=False):
        E = np.linspace(0.01 * fit.highest_K, fit.highest_K, 100)
        density = PowerLawDensity(prefactor=fit.prefactor, exponent=fit.exponent, cutoff_K=1e6)
        low.plot(E, density.per_K(E, fit.temperature_K), color=colour, linewidth=1.6)
    low.set_xlim(0, 3)
    _legend(wide)
    return _finished(figure)


def save_figure(figure: Figure, stem: Path) -> list[Path]:
    """Write `<stem>.png` and `<stem>.pdf` and return their paths; a reader never sees half a file.

    No date goes into the files: the same figure gives the same bytes.

    Parameters
    ----------
    figure : Figure
    stem : Path
        Without suffix; folders that do not exist are made.

    Raises
    ------
    InputError
        If a file cannot be written.
    """
    paths = []
    for suffix, content in ((".png", png_bytes(figure)), (".pdf", _pdf_bytes(figure))):
        path = stem.with_name(stem.name + suffix)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(content)
            temporary.replace(path)
        except OSError as error:
            if temporary.is_file():
                temporary.unlink()
            raise InputError(
                f"{path}: the figure cannot be written ({error.strerror or error}); choose another folder"
            ) from error
        paths.append(path)
    return paths


@_styled
def png_bytes(figure: Figure, *, resolution_dpi: int = RESOLUTION_dpi) -> bytes:
    """Return a figure as the content of a PNG file."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=resolution_dpi, metadata={"Software": None})
    return stream.getvalue()


@_styled
def _pdf_bytes(figure: Figure) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="pdf", metadata={"CreationDate": None, "Producer": None, "Creator": None})
    return stream.getvalue()


def value_with_error(value: float, error: float | None) -> str:
    """Return a value with its standard error, both cut at the second digit of the error.

    Examples
    --------
    >>> value_with_error(50.234, 1.27), value_with_error(7.5, None), value_with_error(1234.5, 210.0)
    ('50.2 ± 1.3', '7.5', '1234 ± 210')
    """
    if error is None or not (math.isfinite(error) and error > 0):
        return f"{value:.4g}"
    digits = max(1 - math.floor(math.log10(error)), 0)
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def _plus_minus(value: float, errors: Sequence[float]) -> str:
    return value_with_error(value, errors[0] if errors else None)


def _cascades(table: CascadeTable | None, species: str) -> UsableCascades:
    """Return the usable cascades of a species, however many failed: a figure shows, it does not judge."""
    if table is None:
        raise InputError(f"{species}: cascades are needed for this figure; give their table")
    return usable_cascades(table, species=species, allow_failures=True)


def _status(table: CascadeTable | None, model: StoredEnergyModel | None) -> str:
    statuses = {t.potential_status for t in (table,) if t is not None} | {
        m.status for m in (model,) if m is not None
    }
    return "quantitative" if statuses == {"quantitative"} else "qualitative"


def _mark(axes: Axes, status: str, *, above_pt: float = 0.0) -> None:
    """Say above the axes, and above what else stands there, that the potential is qualitative."""
    if status != "quantitative":
        axes.set_title(
            QUALITATIVE_MARK, loc="right", fontsize=6, fontstyle="italic", color=QUIET_COLOUR, pad=4 + above_pt
        )


def _legend(axes: Axes, *, loc: Literal["best", "upper left"] = "best") -> None:
    """Add the legend, data first."""
    handles, labels = axes.get_legend_handles_labels()
    order = sorted(range(len(handles)), key=lambda i: not isinstance(handles[i], ErrorbarContainer))
    if order:
        axes.legend([handles[i] for i in order], [labels[i] for i in order], loc=loc)


def _axes(figure: Figure) -> Axes:
    axes = figure.subplots()
    _dress(axes)
    return axes


def _dress(axes: Axes) -> None:
    axes.tick_params(which="both", direction="in", top=True, right=True, width=0.6)
    axes.tick_params(which="major", labelsize=7.5, length=3)
    axes.tick_params(which="minor", length=1.8)


def _layout_pads(figure: Figure, *, h_pad: float) -> None:
    engine = figure.get_layout_engine()
    if isinstance(engine, ConstrainedLayoutEngine):
        engine.set(h_pad=h_pad, hspace=0.0)


def _finished(figure: Figure) -> Figure:
    """Lay out and make all ticks now, while the style holds."""
    figure.draw_without_rendering()
    return figure
