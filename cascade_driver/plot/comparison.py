"""Figures of two campaigns side by side: what they store, and what the second changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from cascade_driver.analysis.comparison import Difference, Estimate
from cascade_driver.errors import InputError
from cascade_driver.kinds import Status
from cascade_driver.plot.style import (
    DATA_COLOUR,
    MODEL_COLOUR,
    QUIET_COLOUR,
    COLUMN_WIDTH_in,
    as_drawn,
    dress,
    finished,
    is_said,
    mark,
    new_axes,
    styled,
)

#: More recoil energies than this have no panel of their stored energies.
MOST_DISTRIBUTIONS = 3

#: What the legend says of hollow points.
_ALONE = "of one cascade: no error"

_COLOURS = (DATA_COLOUR, MODEL_COLOUR)

Quantity = Literal["defect probability", "stored energy"]

_LABELS: dict[Quantity, str] = {
    "defect probability": "defect probability $p_d$",
    "stored energy": r"mean stored energy $\langle E_s \rangle$ (eV)",
}

_CHANGES: dict[Quantity, str] = {
    "defect probability": r"$\Delta p_d$",
    "stored energy": r"$\Delta \langle E_s \rangle$ (eV)",
}


@styled
def comparison_figure(
    differences: Sequence[Difference],
    species: str,
    *,
    names: tuple[str, str],
    potential_status: Status = "qualitative",
) -> Figure:
    """Return what two campaigns store of the recoils of one species, and what the second changes.

    Left and middle: defect probability and mean stored energy, and below each the change with its error. Right:
    all stored energies, at the recoil energies at which most cascades store energy.

    Raises
    ------
    InputError
        If there is no difference of that species.
    """
    of_species = _of(differences, species)
    figure = Figure(figsize=(2.05 * COLUMN_WIDTH_in, 3.4), layout="constrained")
    grid = figure.add_gridspec(2, 3, height_ratios=(2.2, 1), width_ratios=(1, 1, 1.05))
    for column, quantity in enumerate(_LABELS):
        upper = figure.add_subplot(grid[0, column])
        draw_compared(of_species, species, quantity=quantity, names=names, ax=upper)
        if hollow := [h for h, said in zip(*upper.get_legend_handles_labels(), strict=True) if said == _ALONE]:
            upper.legend(handles=hollow, loc="lower right")
        upper.set_xlabel("")
        upper.tick_params(labelbottom=False)
        lower = figure.add_subplot(grid[1, column], sharex=upper)
        draw_change(of_species, species, quantity=quantity, ax=lower)
    figure.axes[0].legend(loc="best")
    shown = sorted(of_species, key=lambda d: -sum(d.n_defects))[:MOST_DISTRIBUTIONS]
    shown = sorted(shown, key=lambda d: d.recoil_energy_eV)
    panels = grid[:, 2].subgridspec(len(shown), 1).subplots(sharex=True, squeeze=False).ravel()
    for axes, difference in zip(panels, shown, strict=True):
        draw_compared_distribution(difference, names=names, ax=axes)
        if axes is not panels[-1]:
            axes.set_xlabel("")
    mark(panels[0], potential_status)
    return finished(figure)


@styled
def draw_compared(
    differences: Sequence[Difference],
    species: str,
    *,
    quantity: Quantity,
    names: tuple[str, str],
    ax: Axes | None = None,
) -> Axes:
    """Draw defect probability or mean stored energy of two campaigns with their standard errors; return the axes.

    Points of one recoil energy stand side by side, the first campaign left. Means count those that store nothing.
    """
    of_species = _of(differences, species)
    axes = ax or new_axes()
    dress(axes)
    aside = _aside_eV(of_species)
    _set_energies(axes, of_species)
    is_probability = quantity == "defect probability"
    for k, name in enumerate(names):
        found = [(d.defect_probability if is_probability else d.mean_stored_eV)[k] for d in of_species]
        _draw_estimates(
            axes,
            of_species,
            found,
            aside_eV=aside * (2 * k - 1),
            colour=_COLOURS[k],
            label=name,
            most=1.0 if is_probability else np.inf,
        )
    if is_probability:
        axes.set_ylim(-0.04, 1.04)
    else:
        top = axes.dataLim.y1 if axes.dataLim.y1 > 0 else 1.0
        axes.set_ylim(-0.04 * top, 1.08 * top)
    axes.set_xlabel(f"recoil energy $E_R$ of {species} (eV)")
    axes.set_ylabel(_LABELS[quantity])
    return axes


@styled
def draw_change(
    differences: Sequence[Difference], species: str, *, quantity: Quantity, ax: Axes | None = None
) -> Axes:
    """Draw the second campaign minus the first with its standard error, of pairs if it can; return the axes."""
    of_species = _of(differences, species)
    axes = ax or new_axes()
    dress(axes)
    _set_energies(axes, of_species)
    axes.axhline(0, color=QUIET_COLOUR, linewidth=0.7)
    found = [
        d.probability_difference if quantity == "defect probability" else d.stored_difference_eV
        for d in of_species
    ]
    _draw_estimates(axes, of_species, found, colour=DATA_COLOUR)
    reach = 1.1 * max(abs(e.value) + np.nan_to_num(e.error) for e in found) or 1.0
    axes.set_ylim(-reach, reach)
    axes.set_xlabel(f"recoil energy $E_R$ of {species} (eV)")
    axes.set_ylabel(_CHANGES[quantity])
    return axes


@styled
def draw_compared_distribution(difference: Difference, *, names: tuple[str, str], ax: Axes | None = None) -> Axes:
    """Draw the share of the cascades of one recoil energy that store at most so much; return the axes.

    Of either campaign, weighted by direction: the step at 0 is of those that store nothing.
    """
    axes = ax or new_axes()
    dress(axes)
    highest = 1.05 * max([float(sample.stored_eV.max()) for sample in difference.samples]) or 1.0
    for k, (sample, name) in enumerate(zip(difference.samples, names, strict=True)):
        order = np.argsort(sample.stored_eV)
        share = np.cumsum(sample.weight[order]) / sample.weight.sum()
        axes.step(
            np.r_[0.0, sample.stored_eV[order], max(highest, difference.recoil_energy_eV)],
            np.r_[0.0, share, 1.0],
            where="post",
            color=_COLOURS[k],
            linewidth=1.0 if k else 1.5,
            label=as_drawn(name),
        )
    axes.set(xlim=(-0.02 * highest, highest), ylim=(-0.04, 1.04), yticks=[0, 0.5, 1])
    axes.set_xlabel("stored energy $E_s$ (eV)")
    axes.set_ylabel("share below")
    axes.text(
        0.97, 0.08, difference.name, transform=axes.transAxes, ha="right", va="bottom", fontsize=6.5, zorder=4,
        path_effects=[withStroke(linewidth=2, foreground="white")],
    )  # fmt: skip
    return axes


def _of(differences: Sequence[Difference], species: str) -> list[Difference]:
    found = [d for d in differences if d.species == species]
    if not found:
        known = ", ".join(sorted({d.species for d in differences}))
        raise InputError(f"no recoils of {species} are compared; there are {known}")
    return found


def _aside_eV(differences: Sequence[Difference]) -> float:
    """Return how far points stand beside their recoil energy: a tenth of the smallest step."""
    energies = np.unique([d.recoil_energy_eV for d in differences])
    return 0.1 * float(np.diff(energies).min(initial=0.2 * energies[-1]))


def _set_energies(axes: Axes, differences: Sequence[Difference]) -> None:
    """Leave half a step beside the outer energies: points that stand aside of one energy are seen to be of it."""
    energies, half = [d.recoil_energy_eV for d in differences], 5 * _aside_eV(differences)
    axes.set_xlim(min(energies) - half, max(energies) + half)


def _draw_estimates(
    axes: Axes,
    differences: Sequence[Difference],
    found: Sequence[Estimate],
    *,
    colour: str,
    aside_eV: float = 0.0,
    label: str = "",
    most: float | None = None,
) -> None:
    """Draw numbers with their errors: none leaves 0 to `most`, if that is given. Hollow ones have no error."""
    values, errors = (np.nan_to_num([getattr(e, part) for e in found]) for part in ("value", "error"))
    at_eV = np.array([d.recoil_energy_eV + aside_eV for d in differences])
    axes.errorbar(
        at_eV,
        values,
        yerr=errors if most is None else [np.minimum(errors, values), np.minimum(errors, most - values)],
        fmt="o",
        markersize=3.2,
        elinewidth=0.9,
        capsize=2,
        color=colour,
        label=as_drawn(label),
    )
    alone = [np.isfinite(e.value) and not np.isfinite(e.error) for e in found]
    if any(alone):
        said = "" if not label or is_said(axes, _ALONE) else _ALONE
        (hollow,) = axes.plot(at_eV[alone], values[alone], "o", color=colour, label=said, zorder=5)
        hollow.set(markerfacecolor="white", markersize=3.2)
