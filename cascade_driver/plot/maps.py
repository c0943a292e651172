"""Maps over directions of the crystal, in Mollweide's projection: z up, x at the centre.

What is known of the sampled directions holds for all their images under the symmetry of the site: maps show the
whole sphere, with the crystal's axes, and the elementary region that the samples stand for.
"""

# Matplotlib annotates only part of what it offers:
# mypy: disallow-untyped-calls=False

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import AbstractPathEffect, withStroke
from scipy.spatial import KDTree

from cascade_driver.analysis.directional import DirectionPoint
from cascade_driver.errors import InputError
from cascade_driver.kinds import Array, Status
from cascade_driver.plot.style import (
    DATA_COLOUR,
    FILL_COLOUR,
    MODEL_COLOUR,
    QUIET_COLOUR,
    COLUMN_WIDTH_in,
    finished,
    mark,
    species_colour,
    species_handles,
    styled,
)
from cascade_driver.simulation.knock_on import Surroundings, symmetry_orbit, to_domain

#: What a map may show of each direction.
Quantity = Literal["stored energy", "its error", "defect probability", "its interval"]

#: Behind text on a painted map.
_ON_COLOUR: list[AbstractPathEffect] = [withStroke(linewidth=1.5, foreground="white")]

#: Steps of a painted map in degrees.
_STEP_deg = 2.0


def mollweide(figure: Figure, position: Any = 111) -> Axes:
    """Return axes in Mollweide's projection with a quiet grid."""
    axes: Axes = figure.add_subplot(position, projection="mollweide")
    _dress_sphere(axes)
    return axes


def _dress_sphere(axes: Axes) -> None:
    axes.grid(color=FILL_COLOUR, linewidth=0.4)
    axes.tick_params(labelsize=6, labelcolor=QUIET_COLOUR)
    axes.set_xticks(np.radians([-120, -60, 60, 120]))  # at 0 is an axis of the crystal
    axes.set_yticks(np.radians([-60, -30, 0, 30, 60]))
    for label in axes.get_xticklabels():  # they stand on the map, whatever its colour
        label.set_path_effects(_ON_COLOUR)


def on_map(vectors: Array) -> tuple[Array, Array]:
    """Return azimuth and elevation of unit vectors (n, 3), in rad."""
    return np.arctan2(vectors[:, 1], vectors[:, 0]), np.arcsin(np.clip(vectors[:, 2], -1, 1))


def sphere_grid() -> tuple[Array, Array, Array]:
    """Return edges of azimuth and elevation in rad, and the directions of the (m, n) fields between, (m n, 3)."""
    azimuth = np.radians(np.arange(-180, 180 + _STEP_deg, _STEP_deg))
    elevation = np.radians(np.arange(-90, 90 + _STEP_deg, _STEP_deg))
    around, up = np.meshgrid((azimuth[1:] + azimuth[:-1]) / 2, (elevation[1:] + elevation[:-1]) / 2)
    vectors = np.stack([np.cos(up) * np.cos(around), np.cos(up) * np.sin(around), np.sin(up)], axis=-1)
    return azimuth, elevation, vectors.reshape(-1, 3)


@styled
def direction_figure(
    points: Sequence[DirectionPoint],
    species: str,
    *,
    site: Surroundings | None = None,
    potential_status: Status = "qualitative",
) -> Figure:
    """Return what recoils of one energy store along each direction of the crystal, in Mollweide's projection.

    With the surroundings of the site: mean stored energy and defect probability over the whole sphere, each beside
    its error (Fig. 1, right, of Soum-Sidikov et al. 2024). Without: the mean along the sampled directions alone.

    Parameters
    ----------
    points : sequence of DirectionPoint
        Of `direction_map`.
    species : str
    site : Surroundings, optional
    potential_status : {'qualitative', 'quantitative'}

    Raises
    ------
    InputError
        If there is no point.
    """
    if site is None:
        figure = Figure(figsize=(COLUMN_WIDTH_in, 2.5), layout="constrained")
        draw_direction_map(points, species, quantity="stored energy", ax=mollweide(figure))
        mark(figure.axes[0], potential_status, above_pt=4)
        return finished(figure)
    figure = Figure(figsize=(2.08 * COLUMN_WIDTH_in, 4.9), layout="constrained")
    shown: tuple[Quantity, ...] = ("stored energy", "its error", "defect probability", "its interval")
    for place, quantity in zip((221, 222, 223, 224), shown, strict=True):
        draw_direction_map(points, species, quantity=quantity, site=site, ax=mollweide(figure, place))
    mark(figure.axes[0], potential_status, above_pt=4)
    return finished(figure)


@styled
def draw_direction_map(
    points: Sequence[DirectionPoint],
    species: str,
    *,
    quantity: Quantity,
    ax: Axes,
    site: Surroundings | None = None,
) -> Axes:
    """Draw a quantity of the sampled directions into axes in Mollweide's projection; return them.

    With the surroundings of the site each direction paints the part of the sphere that is nearest to its images,
    and the elementary region and the crystal's axes are drawn.

    Raises
    ------
    InputError
        If there is no point.
    """
    if not points:
        raise InputError("a map of directions without a direction: give at least one point")
    vectors = np.array([point.direction for point in points])
    values, label, ceiling = _values(points, species, quantity)
    known = values[np.isfinite(values)]
    scale: dict[str, Any] = {
        "cmap": "viridis" if quantity in {"stored energy", "defect probability"} else "cividis",
        "vmin": 0.0,
        "vmax": ceiling or float(max(known.max(initial=0.0), 1e-9)),
    }
    if site is None:
        azimuth, elevation = on_map(vectors)
        drawn: Any = ax.scatter(
            azimuth, elevation, c=values, s=26, edgecolor=DATA_COLOUR, linewidth=0.4, zorder=4, **scale
        )
    else:
        images = symmetry_orbit(vectors, site.rotations)
        around, up, sphere = sphere_grid()
        nearest = KDTree(images.reshape(-1, 3)).query(sphere)[1] % len(vectors)
        painted = values[nearest].reshape(len(up) - 1, len(around) - 1)
        drawn = ax.pcolormesh(around, up, painted, rasterized=True, **scale)
        _draw_region(ax, site)
        _draw_sampled(ax, vectors)
        _draw_crystal_axes(ax, site)
        _dress_sphere(ax)
    figure = ax.get_figure(root=True)
    assert figure is not None
    bar = figure.colorbar(drawn, ax=ax, orientation="horizontal", shrink=0.7, aspect=30, pad=0.04)
    bar.set_label(label)
    if not len(known):  # a scale of nothing
        bar.set_label(f"{label.partition(' (')[0]}: of one cascade each, not known")
        bar.set_ticks([])
        for part in (bar.solids, bar.outline):
            if part is not None:
                part.set_visible(False)
    return ax


def _values(points: Sequence[DirectionPoint], species: str, quantity: Quantity) -> tuple[Array, str, float | None]:
    """Return the values of a quantity, what it is, and where its colours end if that is not its largest value."""
    of = f"of {species} recoils of {points[0].recoil_energy_eV:g} eV"
    match quantity:
        case "stored energy":
            return (
                np.array([p.mean_stored_energy_eV for p in points]),
                rf"mean $E_s$ {of}, zeros included (eV)",
                None,
            )
        case "its error":
            return np.array([p.standard_error_eV for p in points]), "its standard error (eV)", None
        case "defect probability":
            return np.array([p.probability for p in points]), f"defect probability $p_d$ {of}", 1.0
        case "its interval":
            return np.array([(p.upper - p.lower) / 2 for p in points]), "half of its 68 % interval", None


def _draw_sampled(axes: Axes, vectors: Array) -> None:
    """Mark the sampled directions, to be seen on any colour."""
    axes.plot(
        *on_map(vectors),
        "o",
        markersize=2.6,
        color=DATA_COLOUR,
        markeredgecolor="white",
        markeredgewidth=0.4,
        zorder=4,
    )


def _draw_region(axes: Axes, site: Surroundings) -> None:
    """Outline the elementary region: the directions that `to_domain` leaves as they are."""
    if len(site.rotations) == 1:
        return
    around, up, sphere = sphere_grid()
    inside = np.linalg.norm(to_domain(sphere, site.rotations) - sphere, axis=1) < 1e-6
    middle = (around[1:] + around[:-1]) / 2, (up[1:] + up[:-1]) / 2
    mask = inside.reshape(len(middle[1]), len(middle[0])).astype(float)
    axes.contour(*middle, mask, levels=[0.5], colors=MODEL_COLOUR, linewidths=1.0, zorder=3)


def _draw_crystal_axes(axes: Axes, site: Surroundings) -> None:
    """Mark the axes of the crystal, and their negatives where they lie elsewhere."""
    units = site.axes_A / np.linalg.norm(site.axes_A, axis=1)[:, None]
    for name, unit in zip("abc", units, strict=True):
        for sign, text in ((1, name), (-1, f"−{name}")):
            (azimuth,), (elevation,) = on_map(sign * unit[None])
            axes.plot(azimuth, elevation, "+", color="black", markersize=5, markeredgewidth=0.9, zorder=5)
            axes.annotate(
                text,
                (azimuth, elevation),
                xytext=(3, 2 if abs(elevation) > 0.5 else -9),  # below the angles along the equator
                textcoords="offset points",
                fontsize=6.5,
                fontstyle="italic",
                zorder=5,
                annotation_clip=False,
                path_effects=_ON_COLOUR,
            )


@styled
def surroundings_figure(
    site: Surroundings, species: str, *, directions: Array | None = None, potential_status: Status = "qualitative"
) -> Figure:
    """Return the crystal about a site as the knock-on sees it; see `draw_surroundings`."""
    figure = Figure(figsize=(COLUMN_WIDTH_in, 2.5), layout="constrained")
    draw_surroundings(site, species, directions=directions, ax=mollweide(figure))
    mark(figure.axes[0], potential_status, above_pt=4)
    return finished(figure)


@styled
def draw_surroundings(site: Surroundings, species: str, *, ax: Axes, directions: Array | None = None) -> Axes:
    """Draw the neighbours of a site into axes in Mollweide's projection; return them.

    Disks are atoms, coloured by species, their diameter inverse to their distance; dots are sampled directions
    (n, 3), the line encloses the elementary region (Fig. 1, left, of Soum-Sidikov et al. 2024).
    """
    distance = np.linalg.norm(site.neighbours_A, axis=1)
    order = np.argsort(-distance)  # the nearest on top
    azimuth, elevation = on_map(site.neighbours_A / distance[:, None])
    ax.scatter(
        azimuth[order],
        elevation[order],
        s=(30.0 / distance[order]) ** 2,
        c=[species_colour(str(s)) for s in site.symbols[order]],
        edgecolor=DATA_COLOUR,
        linewidth=0.3,
        zorder=2,
    )
    _draw_region(ax, site)
    if directions is not None:
        _draw_sampled(ax, directions)
    _draw_crystal_axes(ax, site)
    handles = species_handles(site.symbols)
    if directions is not None:
        handles.append(Line2D([], [], linestyle="none", marker=".", color="black", label="sampled"))
    handles.append(Line2D([], [], color=MODEL_COLOUR, label="elementary region"))
    ax.legend(
        handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.04), ncols=len(handles), frameon=False,
        title=f"within {distance.max():.1f} Å of {species}", columnspacing=1.0, handletextpad=0.3,
    )  # fmt: skip
    return ax
