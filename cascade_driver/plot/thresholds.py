"""Maps of threshold displacement energies."""

# Matplotlib annotates only part of what it offers:
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cascade_driver.kinds import Status
from cascade_driver.plot.maps import mollweide, on_map, sphere_grid
from cascade_driver.plot.style import (
    BAND_ALPHA,
    DATA_COLOUR,
    FILL_COLOUR,
    MODEL_COLOUR,
    QUIET_COLOUR,
    COLUMN_WIDTH_in,
    draw_curve,
    dress,
    finished,
    legend,
    mark,
    new_axes,
    styled,
)
from cascade_driver.thresholds.summary import GroupThresholds

#: Steps of a map in degrees.
_STEP_deg = 3.0

#: Of the colours, in terms of the highest threshold.
LEAST_SPAN = 0.05

#: Of thresholds.
_COLOURS = "viridis"


def threshold_figures(
    found: Sequence[GroupThresholds], *, potential_status: Status = "qualitative"
) -> Iterator[tuple[str, Figure]]:
    """Yield names and figures of each atom: Mollweide and polar map, displaced share against energy."""
    for one in found:
        yield f"threshold-{one.group.name}-mollweide", threshold_map(one, potential_status=potential_status)
        yield f"threshold-{one.group.name}-polar", polar_map(one, potential_status=potential_status)
        yield f"threshold-{one.group.name}-probability", probability_figure(one, potential_status=potential_status)


@styled
def threshold_map(one: GroupThresholds, *, potential_status: Status = "qualitative") -> Figure:
    """Return the thresholds of an atom in Mollweide's projection: the field, and the directions with their images.

    Polar axis up, azimuth 0 at the centre, as in `direction_figure`.
    """
    figure = Figure(figsize=(COLUMN_WIDTH_in, 2.5), layout="constrained")
    mark(draw_threshold_map(one, ax=mollweide(figure)), potential_status, above_pt=4)
    return finished(figure)


@styled
def draw_threshold_map(one: GroupThresholds, *, ax: Axes) -> Axes:
    """Draw what `threshold_map` shows into axes of `mollweide`; return them."""
    azimuth, elevation, _ = sphere_grid()
    _paint(ax, one, azimuth=azimuth, elevation=elevation, across=elevation)
    vectors, threshold = _orbits(one)
    _scatter(ax, one, *on_map(vectors), threshold)
    return ax


@styled
def polar_map(one: GroupThresholds, *, potential_status: Status = "qualitative") -> Figure:
    """Return the thresholds of an atom about the axis +z: azimuth around, polar angle outwards, equal areas.

    The hemisphere of -z is not shown.
    """
    figure = Figure(figsize=(COLUMN_WIDTH_in, 3.2), layout="constrained")
    mark(draw_polar_map(one, ax=figure.add_subplot(projection="polar")), potential_status, above_pt=8)
    return finished(figure)


@styled
def draw_polar_map(one: GroupThresholds, *, ax: Any) -> Any:
    """Draw what `polar_map` shows into polar axes; return them."""
    azimuth = np.radians(np.arange(0, 360 + _STEP_deg, _STEP_deg))
    polar = np.radians(np.arange(0, 90 + _STEP_deg, _STEP_deg))
    _paint(ax, one, azimuth=azimuth, elevation=np.pi / 2 - polar, across=_equal_area(polar))
    vectors, threshold = _orbits(one)
    vectors, threshold = vectors[vectors[:, 2] >= 0], threshold[vectors[:, 2] >= 0]
    polar_angles = np.arccos(np.clip(vectors[:, 2], -1, 1))
    _scatter(ax, one, np.arctan2(vectors[:, 1], vectors[:, 0]), _equal_area(polar_angles), threshold)
    ax.set_yticks(_equal_area(np.radians([30, 60, 90])), ["30°", "60°", "90°"])
    ax.set_ylim(0, 1)
    ax.tick_params(labelsize=6, labelcolor=QUIET_COLOUR)
    ax.grid(color=FILL_COLOUR, linewidth=0.4)
    return ax


@styled
def probability_figure(one: GroupThresholds, *, potential_status: Status = "qualitative") -> Figure:
    """Return the share of the solid angle and of the thermal starts that is displaced, against recoil energy."""
    figure = Figure(figsize=(COLUMN_WIDTH_in, 2.9), layout="constrained")
    mark(draw_displaced_share(one, ax=figure.subplots()), potential_status)
    return finished(figure)


@styled
def draw_displaced_share(one: GroupThresholds, ax: Axes | None = None) -> Axes:
    """Draw what `probability_figure` shows into axes or into new ones; return them."""
    axes = ax or new_axes()
    dress(axes)
    low, middle, high = one.probability.T
    axes.fill_between(one.energies_eV, low, high, color=MODEL_COLOUR, alpha=BAND_ALPHA, linewidth=0)
    known = (one.lowest_defect_eV, math.inf)
    draw_curve(axes, one.energies_eV, middle, simulated=known, color=MODEL_COLOUR, label="displaced share")
    threshold = np.array([row.threshold_eV.value for row in one.directions])
    order = np.argsort(threshold)
    weight = np.array([row.weight for row in one.directions])[order]
    axes.step(
        threshold[order],
        np.cumsum(weight) / weight.sum(),
        where="post",
        color=DATA_COLOUR,
        linewidth=0.9,
        label=f"thresholds of {len(threshold)} direction{'s' * (len(threshold) > 1)}, cumulative",
    )
    mean = f"mean threshold, {one.mean_eV.value:.3g} eV"
    axes.axvline(one.mean_eV.value, color=QUIET_COLOUR, linewidth=0.9, linestyle=":", label=mean)
    axes.set(
        xlabel=f"recoil energy $E_R$ of {one.group.name} (eV)",
        ylabel="share of the solid angle",
        ylim=(0, 1.02),
        xlim=(0, min(one.group.wanted.highest_eV, 2.5 * one.mean_eV.value)),
    )
    legend(axes, below=True, columns=1)
    return axes


def _equal_area(polar: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Lambert's radius of polar angles: 1 at the equator."""
    return np.asarray(np.sqrt(2) * np.sin(polar / 2))


def _orbits(one: GroupThresholds) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return all images of the directions of an atom, and their thresholds."""
    rotations = np.array(one.group.rotations)
    vectors = np.array([row.direction for row in one.directions])
    images = np.einsum("gij,nj->gni", rotations, vectors).reshape(-1, 3)
    return images, np.tile([row.threshold_eV.value for row in one.directions], len(rotations))


def _scale(one: GroupThresholds) -> Normalize:
    threshold = np.array([row.threshold_eV.value for row in one.directions])
    low, high = np.quantile(threshold, [0.02, 0.98])
    # Of equal thresholds the colours span a little about them: an axis of 1e-6 eV cannot be labelled.
    lacks = max(LEAST_SPAN * float(high) - float(high - low), 0.0) / 2
    return Normalize(vmin=float(low) - lacks, vmax=float(high) + lacks)


def _scatter(
    axes: Any,
    one: GroupThresholds,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    threshold_eV: NDArray[np.float64],
) -> None:
    """Draw directions in the colours of `_paint`."""
    axes.scatter(
        x,
        y,
        c=threshold_eV,
        s=6,
        edgecolor=DATA_COLOUR,
        linewidth=0.3,
        zorder=4,
        cmap=_COLOURS,
        norm=_scale(one),
    )


def _paint(
    axes: Any,
    one: GroupThresholds,
    *,
    azimuth: NDArray[np.float64],
    elevation: NDArray[np.float64],
    across: NDArray[np.float64],
) -> None:
    """Paint the field of an atom, if there is one, and the bar of colours."""
    around, up = np.meshgrid((azimuth[1:] + azimuth[:-1]) / 2, (elevation[1:] + elevation[:-1]) / 2)
    vectors = np.stack([np.cos(up) * np.cos(around), np.cos(up) * np.sin(around), np.sin(up)], axis=-1)
    if one.field is not None:
        values = np.exp(one.field.mean_at(vectors.reshape(-1, 3))).reshape(around.shape)
    else:
        values = np.full(around.shape, np.nan)
    painted = axes.pcolormesh(azimuth, across, values, rasterized=True, cmap=_COLOURS, norm=_scale(one))
    bar = axes.figure.colorbar(painted, ax=axes, orientation="horizontal", shrink=0.7, aspect=30, pad=0.04)
    bar.set_label(f"threshold displacement energy of {one.group.name} (eV)")
    if one.field is not None:
        # else a point that stands out of what is painted about it would look like an error
        said = f"field: its smooth part; points scatter about it by {np.expm1(one.field.roughness):.0%}"
        bar.ax.set_title(said, fontsize=6, color=QUIET_COLOUR, pad=2)
