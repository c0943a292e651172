"""Figures of potentials in the making: parity, pairs of defects, phonons, pair curves."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cascade_driver.plot.style import (
    DATA_COLOUR,
    MODEL_COLOUR,
    PAIR_COLOURS,
    QUIET_COLOUR,
    COLUMN_WIDTH_in,
    as_drawn,
    dress,
    finished,
    new_axes,
    styled,
)

if TYPE_CHECKING:
    from cascade_driver.training.learning import LearningCurves
    from cascade_driver.training.validate import FrenkelCurves, PairCurves, Parity, PhononCurves


@styled
def energy_parity_figure(groups: Mapping[str, Parity]) -> Figure:
    """Return predicted against labelled energies of frames, a colour per group.

    Parameters
    ----------
    groups : mapping
        By the name of the group.
    """
    figure = Figure(figsize=(COLUMN_WIDTH_in, COLUMN_WIDTH_in), layout="constrained")
    draw_energy_parity(groups, ax=figure.subplots())
    return finished(figure)


@styled
def draw_energy_parity(groups: Mapping[str, Parity], ax: Axes | None = None) -> Axes:
    """Draw what `energy_parity_figure` shows into axes or into new ones; return them."""
    axes = ax or new_axes()
    dress(axes)
    lowest, highest = math.inf, -math.inf
    markers = "os^Dv<>ph*"
    for number, (group, values) in enumerate(sorted(groups.items())):
        labels, predicted = np.asarray(values.label_eV), np.asarray(values.predicted_eV)
        axes.plot(
            labels,
            predicted,
            markers[number % len(markers)],
            markersize=3,
            markerfacecolor="none",
            color=PAIR_COLOURS[number % len(PAIR_COLOURS)],
            label=as_drawn(group.replace("_", " ")),
        )
        lowest = min(lowest, float(labels.min()), float(predicted.min()))
        highest = max(highest, float(labels.max()), float(predicted.max()))
    axes.plot([lowest, highest], [lowest, highest], "-", color=QUIET_COLOUR, linewidth=0.7, zorder=0)
    axes.set_xlabel("labelled energy of the box (eV)")
    axes.set_ylabel("predicted energy of the box (eV)")
    axes.legend(fontsize=6)
    return axes


@styled
def frenkel_pair_figure(curves: FrenkelCurves) -> Figure:
    """Return the energies of close Frenkel pairs by species, small and large box, beside printed ones."""
    figure = Figure(figsize=(COLUMN_WIDTH_in, 2.4), layout="constrained")
    draw_frenkel_pair(curves, ax=figure.subplots())
    return finished(figure)


@styled
def draw_frenkel_pair(curves: FrenkelCurves, ax: Axes | None = None) -> Axes:
    """Draw what `frenkel_pair_figure` shows into axes or into new ones; return them."""
    axes = ax or new_axes()
    dress(axes)
    ticks, names = [], []
    for number, species in enumerate(curves.pairs_eV):
        for offset, rows, colour, name in (
            (-0.2, curves.printed_eV.get(species, ()), DATA_COLOUR, "printed"),
            (0.2, curves.pairs_eV[species], MODEL_COLOUR, "this potential"),
        ):
            for row in rows:
                small, large = row
                axes.plot([number + offset - 0.1], [small], "o", color=colour, markersize=3.5)
                axes.plot([number + offset + 0.1], [large], "s", color=colour, markersize=3.5, mfc="none")
                axes.plot([number + offset - 0.1, number + offset + 0.1], [small, large], color=colour, lw=0.5)
            if number == 0:
                axes.plot([], [], "o-", color=colour, markersize=3.5, lw=0.5, label=name)
        ticks.append(number)
        names.append(species)
    axes.plot([], [], "o", color=QUIET_COLOUR, markersize=3.5, label="small box")
    axes.plot([], [], "s", color=QUIET_COLOUR, markersize=3.5, mfc="none", label="large box")
    axes.set_xticks(ticks, names)
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.set_ylabel("energy of the close pair (eV)")
    axes.legend(fontsize=6)
    return axes


@styled
def phonon_figure(curves: PhononCurves) -> Figure:
    """Return the density of vibrational states with the frequencies at Gamma."""
    figure = Figure(figsize=(COLUMN_WIDTH_in, 2.2), layout="constrained")
    draw_phonon(curves, ax=figure.subplots())
    return finished(figure)


@styled
def draw_phonon(curves: PhononCurves, ax: Axes | None = None) -> Axes:
    """Draw what `phonon_figure` shows into axes or into new ones; return them."""
    axes = ax or new_axes()
    dress(axes)
    axes.fill_between(curves.frequency_THz, curves.density_per_THz, color=QUIET_COLOUR, alpha=0.4, lw=0)
    axes.vlines(curves.gamma_THz, 0, 0.05 * max(curves.density_per_THz), color=MODEL_COLOUR, lw=0.8)
    axes.set_xlabel("frequency (THz); marks: at Γ")
    axes.set_ylabel("density of states (1/THz)")
    axes.set_ylim(0, None)
    return axes


@styled
def learning_figure(curves: LearningCurves) -> Figure:
    """Return errors on test frames against the number of frames fitted to, and the ratio of stored energies."""
    with_ends = len(curves.end_labels_eV[0]) > 0
    figure = Figure(
        figsize=(COLUMN_WIDTH_in, (2.6 if with_ends else 1.8) / 3 * COLUMN_WIDTH_in), layout="constrained"
    )
    panels = figure.subplots(3 if with_ends else 2, 1, sharex=True)
    frames = np.asarray(curves.frames)
    for axes, error, label in (
        (panels[0], curves.force_eV_A, "force MAE\n(eV/\u00c5)"),
        (panels[1], curves.energy_meV_per_atom, "energy MAE\n(meV/atom)"),
    ):
        axes.semilogx(frames, error, "o-", color=DATA_COLOUR, markersize=3)
        axes.set_ylabel(label)
        axes.set_ylim(0, None)
    if with_ends:
        labels, ours = np.asarray(curves.end_labels_eV), np.asarray(curves.end_predicted_eV)
        ratio = ours.sum(axis=1) / labels.sum(axis=1)
        panels[2].axhline(1, color=QUIET_COLOUR, linewidth=0.7)
        panels[2].semilogx(frames, ratio, "o-", color=MODEL_COLOUR, markersize=3)
        panels[2].set_ylabel("stored energy\nover its label")
    panels[-1].set_xticks(frames, [str(count) for count in frames])
    panels[-1].set_xticks([], minor=True)
    panels[-1].set_xlabel("labelled frames")
    return finished(figure)


@styled
def pair_curve_figure(curves: PairCurves) -> Figure:
    """Return the energies of two atoms in vacuum, a panel per pair, beside ZBL."""
    pairs = curves.pairs
    rows = math.ceil(len(pairs) / 3)
    columns = min(len(pairs), 3)
    figure = Figure(figsize=(2 * COLUMN_WIDTH_in, 1.7 * rows + 0.3), layout="constrained")
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for axes, (name, curve) in zip(panels, pairs.items(), strict=False):
        axes.plot(curves.distance_A, curve.zbl_eV, "--", color=QUIET_COLOUR, linewidth=0.8, label="ZBL")
        axes.plot(curves.distance_A, curve.energy_eV, color=MODEL_COLOUR, linewidth=0.9, label="this potential")
        # Linear where the pair is bound, logarithmic where it repels.
        axes.set_yscale("symlog", linthresh=10.0)
        axes.set_xscale("log")
        axes.set_title(as_drawn(name), fontsize=7)
    for axes in panels[len(pairs) :]:
        axes.set_axis_off()
    panels[0].legend(fontsize=6)
    figure.supxlabel("distance (\u00c5)", fontsize=8)
    figure.supylabel("energy (eV)", fontsize=8)
    return finished(figure)
