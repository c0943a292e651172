"""Pictures of single cascades, stills and films: the crystal about the track, displaced atoms, defects."""

# Matplotlib annotates only part of what it offers:
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import importlib
import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import matplotlib
import numpy as np
from ase.data import atomic_numbers, covalent_radii
from matplotlib.animation import FFMpegWriter, PillowWriter
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cascade_driver.campaign.scene import Frame, Remains, Scene
from cascade_driver.errors import InputError
from cascade_driver.kinds import Array
from cascade_driver.plot.style import (
    DATA_COLOUR,
    MODEL_COLOUR,
    PAIR_COLOURS,
    QUIET_COLOUR,
    COLUMN_WIDTH_in,
    dress,
    finished,
    mark,
    new_axes,
    species_colour,
    species_handles,
    styled,
)
from cascade_driver.simulation.defects import DefectKind

#: Half the thickness of the slice of crystal that is drawn about the track.
SLICE_A = 3.0

#: Of crystal around all that is drawn.
MARGIN_A = 4.0

FRAMES_PER_S = 12

#: Dots per inch of films.
FILM_dpi = 160


@dataclass(frozen=True, kw_only=True)
class _View:
    """How a scene is looked at: the first recoil goes to the right, up is where most atoms went."""

    axes: Array

    @classmethod
    def of(cls, scene: Scene) -> _View:
        along = np.asarray(scene.record.spec.knock_on.direction)
        points = np.concatenate([scene.track_A, scene.end_A[scene.displaced], np.zeros((1, 3))])
        flat = points - np.outer(points @ along, along)
        _, vectors = np.linalg.eigh(flat.T @ flat + 1e-9 * np.eye(3))
        up = vectors[:, -1] - (vectors[:, -1] @ along) * along
        up /= np.linalg.norm(up)
        return cls(axes=np.stack([along, up, np.cross(along, up)]))

    def __call__(self, points: Array) -> Array:
        return np.asarray(points @ self.axes.T)


def species_radius_A(species: str) -> float:
    """Return the covalent radius of a chemical element."""
    return float(covalent_radii[atomic_numbers[species]])


@styled
def cascade_figure(scene: Scene, *, potential_status: str = "qualitative") -> Figure:
    """Return a picture of a finished cascade; see `draw_cascade`."""
    figure = Figure(figsize=(1.35 * COLUMN_WIDTH_in, 1.35 * COLUMN_WIDTH_in), layout="constrained")
    draw_cascade(scene, potential_status=potential_status, ax=figure.subplots())
    return finished(figure)


@styled
def draw_cascade(
    scene: Scene,
    *,
    frame: Frame | None = None,
    potential_status: str = "qualitative",
    ax: Axes | None = None,
) -> Axes:
    """Draw a cascade in the plane of its recoil into axes or into new ones; return them.

    Pale: the crystal in a slice of `SLICE_A` to either side of the plane. Strong: the atoms that end displaced by
    more than 0.8 angstrom, with arrows from where they began; black: the knock-on and its way; squares: empty
    sites.

    Parameters
    ----------
    scene : Scene
    frame : Frame, optional
        A moment of the film, in place of the end.
    potential_status : str
    ax : Axes, optional
    """
    axes = ax or new_axes()
    view = _View.of(scene)
    start, end, track = view(scene.start_A), view(scene.end_A), view(scene.track_A)
    now = start.copy()
    if frame is None:
        now = end
    else:
        now[frame.atoms] = view(frame.positions_A)
    moved, low, high = _limits(scene, start, end, track)
    inside = (np.abs(start[:, 2]) < SLICE_A) & (start[:, :2] > low).all(axis=1) & (start[:, :2] < high).all(axis=1)
    pt_per_A = _points_per_A(axes, high - low)
    _draw_atoms(axes, scene, np.where((inside & ~moved)[:, None], now, np.nan), pt_per_A, alpha=0.22)
    _draw_atoms(axes, scene, np.where(moved[:, None], now, np.nan), pt_per_A, alpha=1.0)
    if frame is None:
        _draw_vectors(axes, start[moved], end[moved])
    seen = track if frame is None else track[: 1 + int(np.sum(_track_time_ps(scene) <= frame.time_ps))]
    axes.plot(seen[:, 0], seen[:, 1], color="black", linewidth=1.0, zorder=6)
    pka = now[scene.knocked]
    axes.plot(*pka[:2], "o", color="black", markersize=_size(scene, scene.knocked, pt_per_A) * 0.8, zorder=7)
    if frame is None:
        _draw_empty(axes, scene, view)
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal")
    axes.set_xlabel("along the first recoil (Å)")
    axes.set_ylabel("across (Å)")
    dress(axes)
    said = (
        scene.title if frame is None else f"{scene.title.rpartition(', stored')[0]}; {1e3 * frame.time_ps:.0f} fs"
    )
    axes.set_title(said, loc="left", fontsize=6.5, pad=12)
    _legend(axes, scene, moved, frame)
    mark(axes, potential_status)
    return axes


def _limits(scene: Scene, start: Array, end: Array, track: Array) -> tuple[Any, Array, Array]:
    """Return which atoms are drawn strongly, and the corners of the picture."""
    moved = scene.displaced
    points = np.concatenate([track, start[moved], end[moved], np.zeros((1, 3))])[:, :2]
    low, high = points.min(axis=0) - MARGIN_A, points.max(axis=0) + MARGIN_A
    half = float((high - low).max()) / 2
    middle = (low + high) / 2
    return moved, middle - half, middle + half


def _track_time_ps(scene: Scene) -> Array:
    assert scene.record.physics is not None
    return np.asarray(scene.record.physics.pka.track.time_ps)


def _points_per_A(axes: Axes, span_A: Array) -> float:
    figure = axes.get_figure(root=True)
    assert figure is not None
    return 0.7 * 72 * float(figure.get_figwidth()) * float(axes.get_position().width) / float(span_A[0])


def _size(scene: Scene, row: int, pt_per_A: float) -> float:
    return species_radius_A(str(scene.symbols[row])) * pt_per_A


def _draw_atoms(axes: Axes, scene: Scene, positions: Array, pt_per_A: float, *, alpha: float) -> None:
    for species in np.unique(scene.symbols):
        here = (scene.symbols == species) & np.isfinite(positions[:, 0])
        here[scene.knocked] = False
        size = species_radius_A(str(species)) * pt_per_A
        axes.scatter(
            positions[here, 0],
            positions[here, 1],
            s=size**2,
            color=species_colour(str(species)),
            edgecolor=QUIET_COLOUR if alpha < 1 else DATA_COLOUR,
            linewidth=0.4,
            alpha=alpha,
            zorder=2 if alpha < 1 else 4,
        )


def _draw_vectors(axes: Axes, start: Array, end: Array) -> None:
    way = end - start
    axes.quiver(
        start[:, 0], start[:, 1], way[:, 0], way[:, 1], angles="xy", scale_units="xy", scale=1, width=0.004,
        color=MODEL_COLOUR, zorder=5,
    )  # fmt: skip


def _draw_empty(axes: Axes, scene: Scene, view: _View) -> None:
    sites = [d for d in scene.defects if d.kind == "vacancy"]
    for site in sites:
        x, y, _ = view(np.array(site.position_A))
        colour = species_colour(site.species)
        axes.plot(x, y, "s", markersize=8, markerfacecolor="none", markeredgecolor=DATA_COLOUR, zorder=3)
        axes.plot(x, y, "s", markersize=6.5, markerfacecolor="none", markeredgecolor=colour, zorder=3)


def _legend(axes: Axes, scene: Scene, moved: Any, frame: Frame | None) -> None:
    handles = species_handles(scene.symbols)
    handles.append(Line2D([], [], color="black", marker="o", markersize=5, label="knock-on"))
    if frame is None and moved.any():
        handles.append(Line2D([], [], color=MODEL_COLOUR, label="displaced"))
    if frame is None and any(d.kind == "vacancy" for d in scene.defects):
        empty = Line2D([], [], linestyle="none", marker="s", markerfacecolor="none", markeredgecolor=DATA_COLOUR)
        empty.set_label("empty site")
        handles.append(empty)
    axes.legend(
        handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.11), ncols=len(handles), frameon=False,
        columnspacing=1.0, handletextpad=0.3,
    )  # fmt: skip


@styled
def film_bytes(
    scene: Scene,
    frames: Sequence[Frame],
    *,
    kind: Literal["gif", "mp4"] = "gif",
    potential_status: str = "qualitative",
) -> bytes:
    """Return a film of a cascade as the content of a file: its frames, then the end with its defects, held.

    Raises
    ------
    InputError
        If an MP4 is asked for and there is no `ffmpeg`.
    """
    figure = Figure(figsize=(1.35 * COLUMN_WIDTH_in, 1.5 * COLUMN_WIDTH_in))
    figure.subplots_adjust(left=0.12, right=0.97, bottom=0.16, top=0.93)
    axes = figure.subplots()
    writer = PillowWriter(fps=FRAMES_PER_S) if kind == "gif" else FFMpegWriter(fps=FRAMES_PER_S)
    with (
        tempfile.TemporaryDirectory() as folder,
        matplotlib.rc_context({"animation.ffmpeg_path": ffmpeg()} if kind == "mp4" else {}),
    ):
        path = Path(folder) / f"film.{kind}"
        with writer.saving(figure, str(path), dpi=FILM_dpi):
            for frame in frames:
                axes.clear()
                draw_cascade(scene, frame=frame, potential_status=potential_status, ax=axes)
                writer.grab_frame()
            axes.clear()
            draw_cascade(scene, potential_status=potential_status, ax=axes)
            for _ in range(2 * FRAMES_PER_S):
                writer.grab_frame()
        return path.read_bytes()


def ffmpeg() -> str:
    """Return the ffmpeg that makes films as MP4: the installed one, or that of imageio-ffmpeg.

    Raises
    ------
    InputError
        If there is neither.
    """
    program: str = matplotlib.rcParams["animation.ffmpeg_path"]
    if (found := shutil.which(program)) is not None:
        return found
    try:
        return str(importlib.import_module("imageio_ffmpeg").get_ffmpeg_exe())
    except (ImportError, RuntimeError):  # not installed; without a binary for this machine
        raise InputError(
            "MP4 needs ffmpeg, which is not there: pip install 'cascade-driver[film]', or write .gif"
        ) from None


@styled
def defects_figure(cascades: Sequence[Remains], *, potential_status: str = "qualitative") -> Figure:
    """Return where the defects of cascades lie, and how large their pockets are.

    Left: the distances of empty sites, interstitials and antisites from the site of the knock-on, cumulative, per
    cascade. Right: displaced atoms of the largest pocket over the recoil energy, a mark per cascade.
    """
    figure = Figure(figsize=(2.05 * COLUMN_WIDTH_in, 2.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    draw_defect_distances(cascades, ax=left).legend(frameon=False)
    draw_pockets(cascades, ax=right).legend(frameon=False)
    mark(right, potential_status)
    return finished(figure)


@styled
def draw_defect_distances(cascades: Sequence[Remains], *, ax: Axes | None = None) -> Axes:
    """Draw how many defects of each kind lie within a distance of the knock-on's site; return the axes."""
    axes = ax or new_axes()
    dress(axes)
    away = [(d.kind, float(np.linalg.norm(d.position_A))) for left in cascades for d in left.defects]
    reach = 1.05 * max((distance for _, distance in away), default=0.0) or 1.0
    for colour, kind in zip(PAIR_COLOURS, get_args(DefectKind), strict=False):
        distance = np.sort([distance for one, distance in away if one == kind])
        if len(distance):
            share = np.arange(1, len(distance) + 1) / len(cascades)
            share = np.r_[0, share, share[-1]]
            axes.step(np.r_[0, distance, reach], share, where="post", color=colour, label=kind)
    axes.set_xlim(-0.02 * reach, reach)
    axes.set_xlabel("distance from the knock-on's site (Å)")
    axes.set_ylabel("defects per cascade, cumulative")
    axes.set_ylim(0, None)
    return axes


@styled
def draw_pockets(cascades: Sequence[Remains], *, ax: Axes | None = None) -> Axes:
    """Draw the displaced atoms of the largest pocket of each cascade over its recoil energy; return the axes.

    Cascades that are alike share a mark, with an area in their number.
    """
    axes = ax or new_axes()
    dress(axes)
    species = sorted({left.knock_on.species for left in cascades})
    for colour, name in zip(PAIR_COLOURS, species, strict=False):
        of = [left for left in cascades if left.knock_on.species == name]
        sizes = [(left.knock_on.recoil_energy_eV, left.pocket.atoms if left.pocket else 0) for left in of]
        (energy, size), number = np.array(list(Counter(sizes))).T, np.array(list(Counter(sizes).values()))
        label = f"{name} recoils" + (", area: how many" if number.max() > 1 else "")
        axes.scatter(energy, size, s=12 * number, color=colour, alpha=0.7, linewidths=0, label=label)
    axes.set_xlabel("recoil energy $E_R$ (eV)")
    axes.set_ylabel("displaced atoms, largest pocket")
    axes.set_ylim(-0.5, None)
    return axes
