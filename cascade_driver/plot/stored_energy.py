"""Figures of defect probabilities and stored energies, and their trend with the recoil energy."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from cascade_driver.analysis.defect_probability import DefectPoint, defect_points
from cascade_driver.analysis.distribution import (
    StoredEnergyDistribution,
    StoredEnergySummary,
    summarise_stored_energies,
)
from cascade_driver.analysis.empirical_law import EmpiricalDistribution
from cascade_driver.analysis.model import SpeciesModel, StoredEnergyModel
from cascade_driver.analysis.outcomes import UsableCascades, usable_cascades
from cascade_driver.analysis.tabulated import TabulatedDistribution, TabulatedProbability
from cascade_driver.analysis.uncertainty import fermi_of
from cascade_driver.errors import InputError
from cascade_driver.kinds import weakest
from cascade_driver.plot.style import (
    DATA_COLOUR,
    FILL_COLOUR,
    MODEL_COLOUR,
    PAIR_COLOURS,
    QUIET_COLOUR,
    COLUMN_WIDTH_in,
    draw_curve,
    dress,
    finished,
    layout_pads,
    legend,
    mark,
    new_axes,
    plus_minus,
    styled,
)
from cascade_driver.simulation.outcome import CascadeTable

#: More recoil energies than this are drawn in two columns of panels.
MOST_PANELS = 8

#: No more bins than this over all stored energies of a figure.
MOST_BINS = 32

#: Of what includes the recoils that stored nothing.
ALL_COLOUR = PAIR_COLOURS[2]

#: Fewer stored energies than this are no histogram: each is a mark.
FEW_EVENTS = 15

AnyDistribution = StoredEnergyDistribution | EmpiricalDistribution | TabulatedDistribution


@styled
def defect_probability_figure(table: CascadeTable | None, model: StoredEnergyModel | None, species: str) -> Figure:
    """Return the defect probability of one species: points, fitted Fermi function and its error.

    Shares of cascades with their 68 % Wilson intervals, the number of cascades above each; the best fit, dotted
    outside the simulated energies, with its band of one standard error. Separated data get the bracket and the
    limit they allow, and no band (Fig. 3 of Soum-Sidikov et al. 2024).

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
    figure = Figure(figsize=(COLUMN_WIDTH_in, 3.1), layout="constrained")
    draw_defect_probability(table, model, species, ax=figure.subplots())
    return finished(figure)


@styled
def draw_defect_probability(
    table: CascadeTable | None, model: StoredEnergyModel | None, species: str, *, ax: Axes | None = None
) -> Axes:
    """Draw what `defect_probability_figure` shows into axes or into new ones; return them."""
    one = None if model is None else model[species]
    fit = None if one is None else one.defect_probability_fit
    points = fit.points if fit else defect_points(_cascades(table, species)) if table is not None else ()
    if one is None and not points:
        raise InputError("a figure of the defect probability needs a table or a model: give one")
    highest = max([p.recoil_energy_eV for p in points] + ([one.maximum_recoil_energy_eV] if one else []))
    axes = ax or new_axes()
    dress(axes)
    if one is not None and isinstance(one.defect_probability, TabulatedProbability):
        energy = np.linspace(0, 1.05 * highest, 801)
        axes.plot(energy, one.defect_probability(energy), color=MODEL_COLOUR, label="shares of a table", zorder=3)
    elif one is not None:
        _draw_fermi(axes, one, highest_eV=1.05 * highest)
    above_pt = _draw_points(axes, points) if points else 0.0
    axes.set(xlim=(0, 1.05 * highest), ylim=(-0.03, 1.04))
    axes.set_xlabel(f"recoil energy $E_R$ of {species} (eV)")
    axes.set_ylabel("defect probability $p_d$")
    legend(axes, below=True)  # inside it would cover an interval
    mark(axes, _status(table, model), above_pt=above_pt)
    return axes


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
    fit, law = model.defect_probability_fit, fermi_of(model)
    # dense where the curve bends, so that a narrow step is not cut short
    steps = law.half_energy_eV + law.width_eV * np.linspace(-8, 8, 161)
    energy = np.unique(np.concatenate([np.linspace(0, highest_eV, 401), steps]))
    energy = energy[(energy >= 0) & (energy <= highest_eV)]
    p = law(energy)
    (half, width, *top), errors = _fermi_values(model), fit.errors if fit else ()
    text = f"$E_{{1/2}}$ = {plus_minus(half, errors[:1])} eV\n$w$ = {plus_minus(width, errors[1:2])} eV"
    if top:
        text += f"\n$p_{{max}}$ = {top[0]:.3g}"
    if fit is not None and fit.is_separated:
        text += f"\nseparated: $w$ < {fit.width_upper_limit_eV:.3g} eV ({fit.width_confidence:.0%})"
    draw_curve(
        axes,
        energy,
        p,
        simulated=(model.minimum_recoil_energy_eV, model.maximum_recoil_energy_eV),
        color=MODEL_COLOUR,
        label=("Fermi fit\n" if fit else "Fermi function\n") + text,
        zorder=3,
    )
    if fit is not None:
        lower, upper = fit.interval(energy)
        axes.fill_between(
            energy, lower, upper, color=MODEL_COLOUR, alpha=0.22, linewidth=0, label="68 % band", zorder=2
        )


def _fermi_values(model: SpeciesModel) -> tuple[float, ...]:
    law = fermi_of(model)
    top = (law.maximum,) if law.maximum != 1 else ()
    return (law.half_energy_eV, law.width_eV, *top)


@styled
def stored_energy_figure(table: CascadeTable, model: StoredEnergyModel | None, species: str) -> Figure:
    """Return the distributions of the non-zero stored energies of one species, one panel per recoil energy.

    See `draw_stored_energies` (Fig. 2 of Soum-Sidikov et al. 2024). Recoil energies without any stored energy are
    named only.

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
    figure = Figure(figsize=(width, max(0.78 * rows + 0.55, 1.6)), layout="constrained")
    layout_pads(figure, h_pad=0.015)
    panels = figure.subplots(rows, columns, sharex=True, squeeze=False).T.ravel()
    for axes, summary in zip(panels, shown, strict=False):
        _draw_stored(axes, cascades, summary, law)
    for axes in panels[len(shown) :]:
        axes.set_axis_off()
    for number, axes in enumerate(panels):
        if number not in (rows - 1, len(shown) - 1):
            axes.set_xlabel("")
    panels[0].set_xlim(0, _highest_shown_eV(cascades))
    if shown:
        panels[len(shown) - 1].tick_params(labelbottom=True)
    _say_what_is_not_shown(panels[0], summaries, species)
    mark(panels[0], _status(table, model))
    return finished(figure)


@styled
def draw_stored_energies(
    table: CascadeTable,
    model: StoredEnergyModel | None,
    species: str,
    *,
    recoil_energy_eV: float,
    ax: Axes | None = None,
) -> Axes:
    """Draw the non-zero stored energies of one recoil energy into axes or into new ones; return them.

    From `FEW_EVENTS` on a histogram, weighted by direction and normalised to 1, under the fitted density; of fewer
    each event is a mark, and their cumulative distribution stands beside the fitted one: a bar of one event would
    be its width, and no density. Dashed: the mean.

    Raises
    ------
    InputError
        If the model does not know the species, or nothing was stored at that recoil energy.
    FitError
        If the table has no usable cascade of it.
    """
    law = None if model is None else model[species].distribution
    cascades = _cascades(table, species)
    for summary in summarise_stored_energies(cascades):
        if summary.n_nonzero and summary.recoil_energy_eV == recoil_energy_eV:
            axes = ax or new_axes()
            _draw_stored(axes, cascades, summary, law)
            axes.set_xlim(0, _highest_shown_eV(cascades))
            mark(axes, _status(table, model))
            return axes
    raise InputError(f"no {species} recoil of {recoil_energy_eV:g} eV stored energy: choose another energy")


def _draw_stored(
    axes: Axes, cascades: UsableCascades, summary: StoredEnergySummary, law: AnyDistribution | None
) -> None:
    dress(axes)
    axes.tick_params(top=False, right=False)
    energy = summary.recoil_energy_eV
    stored = np.linspace(0, min(energy, _highest_shown_eV(cascades)), 500)
    here = (cascades.recoil_energy_eV == energy) & cascades.stores_energy
    if summary.n_nonzero < FEW_EVENTS:
        _draw_events(axes, cascades.stored_energy_eV[here], cascades.weight[here])
        if law is not None:
            axes.plot(stored, _cumulative(law, stored, energy), color=MODEL_COLOUR, zorder=3)
        axes.set_ylim(-0.02, 1.08)
        axes.set_yticks([0, 0.5, 1])
        axes.set_ylabel("share below")
    else:
        _draw_histogram(axes, cascades, here, _bins(_largest_stored_eV(cascades)))
        if law is not None and not isinstance(law, TabulatedDistribution):  # it has no density
            axes.plot(stored, np.exp(law.log_density(stored, energy)), color=MODEL_COLOUR, zorder=3)
        axes.set_ylim(0, 1.12 * axes.get_ylim()[1])
        axes.yaxis.set_major_locator(MaxNLocator(2, min_n_ticks=2))
        axes.set_ylabel("density (1/eV)")
    axes.set_xlabel("stored energy $E_s$ (eV)")
    _say_mean(axes, summary)


def _cumulative(law: AnyDistribution, stored_eV: NDArray[np.float64], energy_eV: float) -> NDArray[np.float64]:
    """Return the share of the non-zero stored energies below each of some energies."""
    found = law.cumulative(stored_eV, np.full_like(stored_eV, energy_eV))
    return np.asarray(found, dtype=np.float64)


def _draw_events(axes: Axes, stored_eV: NDArray[np.float64], weight: NDArray[np.float64]) -> None:
    """Draw the cumulative distribution of a few events, and a mark for each at the foot."""
    order = np.argsort(stored_eV)
    share = np.cumsum(weight[order]) / weight.sum()
    steps = np.r_[0.0, stored_eV[order], 2 * stored_eV.max()]
    axes.step(steps, np.r_[0.0, share, 1.0], where="post", color=DATA_COLOUR, linewidth=0.9, zorder=4)
    axes.plot(stored_eV, np.full_like(stored_eV, 0.08), "|", color=DATA_COLOUR, markersize=5, zorder=5)


def _largest_stored_eV(cascades: UsableCascades) -> float:
    return float(cascades.stored_energy_eV[cascades.stores_energy].max(initial=1.0))


def _highest_shown_eV(cascades: UsableCascades) -> float:
    """Return where the axis ends: what is written beside the data has its room there."""
    return 1.7 * float(_bins(_largest_stored_eV(cascades))[-1])


def _bins(largest_eV: float) -> NDArray[np.float64]:
    """Return edges from 0 over `largest_eV`, of a round width."""
    decade = 10.0 ** math.floor(math.log10(largest_eV / MOST_BINS))
    width = next(decade * step for step in (1, 2, 2.5, 5, 10) if largest_eV / (decade * step) <= MOST_BINS)
    return np.arange(math.floor(largest_eV / width) + 2, dtype=np.float64) * width


def _draw_histogram(
    axes: Axes, cascades: UsableCascades, here: NDArray[np.bool_], edges: NDArray[np.float64]
) -> None:
    density, _ = np.histogram(
        cascades.stored_energy_eV[here], bins=edges, weights=cascades.weight[here], density=True
    )
    axes.stairs(density, edges, fill=True, facecolor=FILL_COLOUR, edgecolor=QUIET_COLOUR, linewidth=0.5)


def _say_mean(axes: Axes, summary: StoredEnergySummary) -> None:
    mean = summary.mean_eV or 0.0
    errors = () if summary.standard_error_eV is None else (summary.standard_error_eV,)
    axes.axvline(mean, color=DATA_COLOUR, linestyle=(0, (4, 2)), linewidth=0.9, zorder=4)
    text = (
        f"$E_R$ = {summary.recoil_energy_eV:g} eV\n"
        rf"$\langle E_s \rangle$ = {plus_minus(mean, errors)} eV"
        f"\n{summary.n_nonzero} of {summary.n_cascades} cascades"
    )
    axes.text(
        0.985, 0.9, text, transform=axes.transAxes, ha="right", va="top", fontsize=6.5, linespacing=1.25, zorder=5
    )


def _say_what_is_not_shown(axes: Axes, summaries: Sequence[StoredEnergySummary], species: str) -> None:
    without = [f"{s.recoil_energy_eV:g}" for s in summaries if not s.n_nonzero]
    title = f"{species} recoils"
    if without:
        title += f" (none stored at {', '.join(without)} eV)"
    axes.set_title(title, loc="left", fontsize=6.5, color=QUIET_COLOUR)


@styled
def stored_energy_trend_figure(
    table: CascadeTable | None, model: StoredEnergyModel | None, species: str
) -> Figure:
    """Return the mean non-zero stored energy of one species against recoil energy, and its share of it.

    Points are weighted means with their standard errors, the curve the mean of the fitted distribution, dotted
    below the simulated energies; in the lower panel the dashed curve includes the cascades that stored nothing.

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
    figure = Figure(figsize=(COLUMN_WIDTH_in, 3.3), layout="constrained")
    layout_pads(figure, h_pad=0.02)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    draw_stored_energy_trend(table, model, species, ax=upper).set_xlabel("")
    draw_stored_energy_trend(table, model, species, is_share=True, ax=lower)
    legend(upper, loc="upper left")
    legend(lower)
    mark(upper, _status(table, model))
    return finished(figure)


@styled
def draw_stored_energy_trend(
    table: CascadeTable | None,
    model: StoredEnergyModel | None,
    species: str,
    *,
    is_share: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """Draw a panel of `stored_energy_trend_figure`, the mean or its share of E_R; return the axes."""
    if table is None and model is None:
        raise InputError("a figure of the mean stored energy needs a table or a model: give one")
    one = None if model is None else model[species]
    fit = None if one is None else one.distribution_fit
    if fit is not None:
        summaries = fit.summaries
    else:
        summaries = () if table is None else summarise_stored_energies(_cascades(table, species))
    axes = ax or new_axes()
    dress(axes)
    known = [s for s in summaries if s.mean_eV is not None]
    energy = np.array([s.recoil_energy_eV for s in known])
    mean = np.array([s.mean_eV for s in known], dtype=np.float64)
    error = np.array([s.standard_error_eV or 0.0 for s in known])
    scale = 100 / energy if is_share else np.ones(len(energy))
    if known:
        axes.errorbar(
            energy,
            scale * mean,
            yerr=scale * error,
            fmt="o",
            markersize=3.5,
            color=DATA_COLOUR,
            elinewidth=0.9,
            capsize=2,
            zorder=4,
            label="" if is_share else "mean of non-zero",
        )
    if one is not None:
        grid = np.linspace(one.distribution.lowest_energy_eV, one.maximum_recoil_energy_eV, 300)
        of_law = one.distribution.mean_eV(grid) * (100 / grid if is_share else 1)
        label = "" if is_share else "fitted distribution" if fit else "distribution"
        simulated = (one.minimum_recoil_energy_eV, one.maximum_recoil_energy_eV)
        draw_curve(axes, grid, of_law, simulated=simulated, color=MODEL_COLOUR, label=label)
        if is_share:
            draw_curve(
                axes,
                grid,
                one.defect_probability(grid) * of_law,
                simulated=simulated,
                color=ALL_COLOUR,  # where p_d is 1 it lies on the other curve
                linestyle=(0, (4, 2)),
                label=r"all recoils, $p_d \langle E_s \rangle / E_R$",
            )
    axes.set_ylim(0, 1.12 * axes.dataLim.y1 if np.isfinite(axes.dataLim.y1) and axes.dataLim.y1 > 0 else 1)
    highest = max([s.recoil_energy_eV for s in summaries] + ([one.maximum_recoil_energy_eV] if one else []))
    axes.set_xlim(0, 1.05 * highest)
    axes.set_ylabel(r"$\langle E_s \rangle / E_R$ (%)" if is_share else r"$\langle E_s \rangle$, non-zero (eV)")
    axes.set_xlabel(f"recoil energy $E_R$ of {species} (eV)")
    return axes


def _cascades(table: CascadeTable | None, species: str) -> UsableCascades:
    """Return the usable cascades of a species, however many failed: a figure shows, it does not judge."""
    if table is None:
        raise InputError(f"{species}: cascades are needed for this figure; give their table")
    return usable_cascades(table, species=species, allow_failures=True)


def _status(table: CascadeTable | None, model: StoredEnergyModel | None) -> str:
    # an empty table is one, too
    stands = [*([table.potential_status] if table is not None else []), *([model.status] if model else [])]
    return weakest(stands)
