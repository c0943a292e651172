"""One cascade as it is looked at: where atoms began and ended, the way of the knock-on, defects, frames."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cascade_driver.campaign.export import read_structure
from cascade_driver.campaign.rundir import RunDirectory
from cascade_driver.errors import InputError, RecordError
from cascade_driver.files import write_file
from cascade_driver.kinds import Array
from cascade_driver.simulation.cascade import STRUCTURE_FILE
from cascade_driver.simulation.defects import (
    DISPLACED_BEYOND_A,
    ListedDefect,
    Pocket,
    listed_defects,
    pocket_of,
    take_census,
)
from cascade_driver.simulation.film_box import film_planes
from cascade_driver.simulation.record import Record
from cascade_driver.simulation.spec import KnockOn
from cascade_driver.simulation.trajectory import TRAJECTORY_FILE


@dataclass(frozen=True, kw_only=True)
class Remains:
    """What is left of a finished cascade, without its atoms: 1e5 of them fit into memory.

    Attributes
    ----------
    cascade : str
        Id.
    knock_on : KnockOn
    stored_energy_eV : float
    defects : tuple of ListedDefect
        Their positions from the knock-on's site.
    pocket : Pocket, optional
    """

    cascade: str
    knock_on: KnockOn
    stored_energy_eV: float
    defects: tuple[ListedDefect, ...]
    pocket: Pocket | None

    @property
    def title(self) -> str:
        """What it is of, in a line."""
        x, y, z = self.knock_on.direction
        return (
            f"{self.knock_on.species}, {self.knock_on.recoil_energy_eV:g} eV along [{x:.2f} {y:.2f} {z:.2f}], "
            f"stored {self.stored_energy_eV:.2f} eV"
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """A finished cascade about the site of its knock-on, which is the origin.

    Attributes
    ----------
    record : Record
    symbols : (n,) str
    start_A, end_A : (n, 3) float
        Quenched positions before and after, from the knock-on's site, the nearest image of each start.
    track_A : (k, 3) float
        Way of the knock-on.
    origin_A : (3,) float
        The knock-on's site in the frame of the box.
    period_A : (3,) float
        Edges of the box along which it repeats, infinite along the others.
    defects : tuple of ListedDefect
        Their positions from the knock-on's site, too.
    pocket : Pocket, optional
    """

    record: Record
    symbols: NDArray[np.str_]
    start_A: Array
    end_A: Array
    track_A: Array
    origin_A: Array
    period_A: Array
    defects: tuple[ListedDefect, ...]
    pocket: Pocket | None

    @property
    def displaced(self) -> NDArray[np.bool_]:
        """(n,) which atoms ended beyond `DISPLACED_BEYOND_A` from where they began."""
        return np.asarray(np.linalg.norm(self.end_A - self.start_A, axis=1) > DISPLACED_BEYOND_A)

    @property
    def knocked(self) -> int:
        """Row of the knock-on."""
        assert self.record.physics is not None
        return self.record.physics.pka.index

    @property
    def title(self) -> str:
        """What it is, in a line."""
        return self.remains.title

    @property
    def remains(self) -> Remains:
        """What is left, without the atoms."""
        return Remains(
            cascade=self.record.id,
            knock_on=self.record.spec.knock_on,
            stored_energy_eV=self.record.stored_energy_eV,
            defects=self.defects,
            pocket=self.pocket,
        )


def scene_of(run: RunDirectory, cascade: str) -> Scene:
    """Return a finished cascade of a run to be looked at.

    Parameters
    ----------
    run : RunDirectory
    cascade : str
        Id.

    Raises
    ------
    InputError
        If it left no final structure.
    RecordError
        If a file is damaged.
    """
    record = run.record(cascade)
    atoms = read_structure(run, cascade)
    if atoms is None or record.physics is None:
        raise InputError(f"{cascade}: ended with `{record.outcome.key}` and left no structure: choose another one")
    symbols = atoms.get_chemical_symbols()
    final, displacement = atoms.positions, atoms.get_array("displacement")
    reference = final - displacement
    lengths_A, periodic = np.asarray(atoms.cell.lengths()), [bool(p) for p in atoms.pbc]
    film = film_planes(reference, atoms.get_array("region")) if atoms.has("region") else None
    census = take_census(
        symbols=symbols, reference_A=reference, final_A=final, film=film, lengths_A=lengths_A, periodic=periodic
    )
    origin = reference[record.physics.pka.index]
    period = np.where(periodic, lengths_A, np.inf)

    def near(points: Array) -> Array:
        away = points - origin
        return np.asarray(away - np.where(np.isfinite(period), np.round(away / period), 0.0) * lengths_A)

    start = near(reference)
    track = np.asarray(record.physics.pka.track.position_A)
    found = listed_defects(census, symbols=symbols, reference_A=reference, lengths_A=lengths_A, periodic=periodic)
    seen = near(np.array([d.position_A for d in found]).reshape(-1, 3)).tolist()
    return Scene(
        record=record,
        symbols=np.array(symbols),
        start_A=start,
        end_A=start + displacement,
        track_A=near(track[:1]) + track - track[0],
        origin_A=origin,
        period_A=period,
        defects=tuple(
            ListedDefect(kind=d.kind, species=d.species, position_A=(x, y, z), cluster=d.cluster)
            for d, (x, y, z) in zip(found, seen, strict=True)
        ),
        pocket=pocket_of(census, reference_A=reference, lengths_A=lengths_A, periodic=periodic),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Frame:
    """A moment of a film: positions of some atoms from the knock-on's site.

    Attributes
    ----------
    time_ps : float
        Since the kick.
    atoms : (m,) int
        Rows of the final structure.
    positions_A : (m, 3) float
    """

    time_ps: float
    atoms: NDArray[np.int64]
    positions_A: Array


def frames_of(scene: Scene, folder: Path, *, number: int) -> list[Frame]:
    """Return frames of the film in a cascade's folder, chosen by what happens: many in collisions, few in between.

    What happens from one frame to the next is the largest step of any atom; frames are taken at even steps of its
    sum, and the first and the last always.

    Raises
    ------
    InputError
        If the cascade kept no film.
    RecordError
        If it is damaged.
    """
    path = folder / TRAJECTORY_FILE
    if not path.is_file():
        raise InputError(
            f"{path}: no film was kept of this cascade; `cascade reproduce RUN ID --out FOLDER "
            "--trajectory-every-fs 10` makes one, and --film-of FOLDER/ID takes it; `[work] trajectory` keeps all"
        )
    frames = list(_read_frames(path, scene))
    if len(frames) <= number:
        return frames
    way = np.concatenate([[0.0], np.cumsum([_moved(a, b) for a, b in pairwise(frames)])])
    chosen = np.searchsorted(way, np.linspace(0, way[-1], number)).clip(max=len(frames) - 1)
    return [frames[i] for i in sorted({0, *chosen.tolist(), len(frames) - 1})]


def _moved(one: Frame, other: Frame) -> float:
    """Return the largest step of an atom from one frame to the next."""
    both, i, j = np.intersect1d(one.atoms, other.atoms, return_indices=True)
    if len(both) == 0:
        return 0.0
    return float(np.linalg.norm(other.positions_A[j] - one.positions_A[i], axis=1).max())


def _read_frames(path: Path, scene: Scene) -> Iterator[Frame]:
    """Yield the frames of a film as `TrajectoryWriter` writes them."""
    try:
        with gzip.open(path, "rt", encoding="ascii") as stream:
            while line := stream.readline():
                rows, header = int(line), stream.readline()
                time_ps = float(header.rpartition("time_ps=")[2].split()[0])
                table = np.array([stream.readline().split()[1:] for _ in range(rows)], dtype=np.float64)
                atoms = table[:, 3].astype(np.int64) - 1
                away = table[:, :3] - scene.origin_A - scene.start_A[atoms]
                whole = np.where(np.isfinite(scene.period_A), np.round(away / scene.period_A), 0.0)
                nearest = away - whole * np.where(np.isfinite(scene.period_A), scene.period_A, 0.0)
                yield Frame(time_ps=time_ps, atoms=atoms, positions_A=scene.start_A[atoms] + nearest)
    except (OSError, EOFError, ValueError, IndexError) as error:
        raise RecordError(f"{path}: damaged ({error}); `cascade verify` and `cascade run` repair it") from None


def remains_of(run: RunDirectory, cascades: Sequence[str] | None = None) -> list[Remains]:
    """Return what cascades of a run left that have a structure, by default all that are finished in its plan.

    Atoms are held of one cascade at a time.

    Raises
    ------
    InputError
        If there is no run, or none of them.
    RecordError
        If a file is damaged.
    """
    finished = run.finished()
    wanted = [p.id for p in run.load().cascades() if p.id in finished] if cascades is None else cascades
    left = [scene_of(run, name).remains for name in wanted if (run.cascades / name / STRUCTURE_FILE).is_file()]
    if not left:
        raise InputError(f"{run.path}: no cascade with a final structure; `cascade status` says what there is")
    return left


#: Columns of the table of defects.
DEFECT_COLUMNS = (
    "cascade",
    "recoil_species",
    "recoil_energy_eV",
    "stored_energy_eV",
    "kind",
    "species",
    "x_A",
    "y_A",
    "z_A",
    "distance_A",
    "cluster",
)


def write_defects(cascades: Sequence[Remains], path: Path) -> int:
    """Write a row per defect as CSV, positions from the knock-on's site; return how many.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(DEFECT_COLUMNS)
    count = 0
    for left in cascades:
        head = (left.cascade, left.knock_on.species, left.knock_on.recoil_energy_eV)
        for d in left.defects:
            where = [f"{x:.3f}" for x in (*d.position_A, float(np.linalg.norm(d.position_A)))]
            table.writerow((*head, f"{left.stored_energy_eV:.6g}", d.kind, d.species, *where, d.cluster))
            count += 1
    write_file(path, text.getvalue())
    return count
