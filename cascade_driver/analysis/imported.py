"""Tables of stored energies that others have made, read as cascades, and the folder that keeps them."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from ase.data import atomic_numbers
from ase.formula import Formula
from numpy.typing import NDArray
from pydantic import Field

from cascade_driver.errors import CascadeError, InputError
from cascade_driver.files import LARGEST_NUMBER, text_of, write_file
from cascade_driver.kinds import Array
from cascade_driver.schema import build, canonical_json, file_sha256, parameters, plain, read_json
from cascade_driver.simulation.outcome import (
    CascadeTable,
    Outcome,
    STORED_ENERGY_FLOOR_eV,
    concatenate,
    outcome_of_stored_energy,
)
from cascade_driver.table import csv_cells, read_table
from cascade_driver.target import parse_target
from cascade_driver.text import closest, number_of
from cascade_driver.units import EV_PER_KEV

#: File of a folder that says what it holds.
IMPORT_FILE = "import.json"

#: What exact zeros of a matrix mean where all other directions store energy.
Zeros = Literal["missing", "stored"]

#: Columns that a table may have, by what they are: their names with the factors to our units. Of the directions
#: one group is needed, all of it.
_ENERGIES = {"recoil_energy": {"_eV": 1.0, "_keV": EV_PER_KEV}, "stored_energy": {"_eV": 1.0, "_keV": EV_PER_KEV}}
_VECTOR = ("direction_x", "direction_y", "direction_z")
_ANGLES = {"_rad": 1.0, "_deg": math.pi / 180}
_WEIGHT = "weight"
_EXAMPLE = "recoil_energy_eV,direction_x,direction_y,direction_z,stored_energy_eV[,weight]"

#: How the line of names of a table of `cascade export` begins, and what one record of it takes.
_EXPORTED = "id,species,recoil_energy_eV,"
_OF_EXPORTED = ("recoil_energy_eV", *_VECTOR, "stored_energy_eV", "direction_weight")

#: Exact zeros at so many of the highest energies, in so large a share of the directions, are no results where so
#: large a share of the others stores energy.
_TRAILING, _MANY, _STORING = 20, 0.02, 0.5

#: A vector that is shorter or longer than 1 by more is none of a direction.
_LENGTH_TOLERANCE = 1e-3

#: Angles are written with few digits: 3.142 is pi.
_ANGLE_TOLERANCE_rad = 1e-3


@parameters
class ImportedTable:
    """One file of a folder of imported tables.

    Attributes
    ----------
    species : str
        Of the knocked-on atoms.
    file : str
        In the folder.
    sha256 : str
    origin : str
        Name of the file that it was made of.
    """

    species: str
    file: str
    sha256: str
    origin: str


@parameters
class Imported:
    """What a folder of imported tables holds.

    Attributes
    ----------
    crystal : str
        Chemical formula.
    tables : tuple of ImportedTable
    source : str
        Where they are from, for people.
    notes : tuple of str
        What a reader must know.
    schema_version : int
    """

    crystal: str
    tables: tuple[ImportedTable, ...] = Field(min_length=1)
    source: str = ""
    notes: tuple[str, ...] = ()
    schema_version: Literal[1] = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class Records:
    """Stored energies of recoils of one species.

    Attributes
    ----------
    recoil_energy_eV, stored_energy_eV, weight : (n,) float
    direction : (n, 3) float
        Unit vectors.
    notes : tuple of str
        What a reader must know.
    """

    recoil_energy_eV: Array
    stored_energy_eV: Array
    direction: Array
    weight: Array
    notes: tuple[str, ...] = ()


def read_stored_energies(path: Path, *, zeros: Zeros | None = None, species: str | None = None) -> Records:
    """Return the records in a file.

    Either a table with named columns (`recoil_energy_eV` or `_keV`, `stored_energy_eV` or `_keV`, a direction as
    `direction_x`, `direction_y`, `direction_z` or as `polar_rad`, `azimuth_rad` or `polar_deg`, `azimuth_deg`, and
    perhaps `weight`), one record a row; or a table of `cascade export`; or the matrix of
    github.com/sebsassi/elosssim: a row with two nan and the recoil energies in eV, and for each direction one of
    its polar and azimuthal angle in rad and what is stored at each energy, in eV; nan is not simulated.

    Parameters
    ----------
    path : pathlib.Path
    zeros : {'missing', 'stored'}, optional
        What directions of a matrix mean that hold exactly 0 up to the highest energy where the others store some.
        Without it they are refused.
    species : str, optional
        Whose records of a table of `cascade export` are read, which may have those of several.

    Raises
    ------
    InputError
        If it cannot be read; the message names the line, what was found, what was expected.
    """
    # numbered before any is left out: messages name lines as an editor does
    numbered = enumerate(text_of(path, what="a table of stored energies").split("\n"), start=1)
    lines = [(n, line) for n, line in numbered if line.strip() and not line.lstrip().startswith("#")]
    first = lines[0][1] if lines else ""
    if first.split()[:2] == ["nan", "nan"]:
        return _matrix(path, lines, zeros)
    if first.startswith(_EXPORTED):
        return _exported(path, lines, species)
    return _table(path)


def _exported(path: Path, lines: Sequence[tuple[int, str]], species: str | None) -> Records:
    """Return the records of one species in a table of `cascade export`, which has to hold completed ones alone."""
    again = "export the table again"
    names, *cells = (csv_cells(f"{path}, line {number}", line, remedy=again) for number, line in lines)
    for (number, _), row in zip(lines[1:], cells, strict=True):
        if len(row) != len(names):
            raise InputError(
                f"{path}, line {number}: found {len(row)} cells, expected {len(names)}; export the table again"
            )
    table = [dict(zip(names, row, strict=True)) for row in cells]
    if missing := {*_OF_EXPORTED, "outcome"} - set(names if table else ()):
        raise InputError(f"{path}: no column {min(missing)}, or no row; export the table again")
    there = sorted({str(row["species"]) for row in table})
    if species is None and len(there) == 1:
        species = there[0]
    own = [n for (n, _), row in zip(lines[1:], table, strict=True) if row["species"] == species]
    rows = [row for row in table if row["species"] == species]
    if not rows:
        raise InputError(
            f"{path}: holds recoils of {', '.join(there) or 'nothing'}, expected {species or 'one of them'}"
        )
    failed = Counter(str(row["outcome"]) for row in rows if row["outcome"] != Outcome.COMPLETED.key)
    if failed:
        what = ", ".join(f"{count} {outcome}" for outcome, count in failed.most_common())
        raise InputError(
            f"{path}: {failed.total()} of {len(rows)} cascades of {species} did not end as completed ({what}): "
            "those that fail store more than others; correct with the run itself, or delete their lines"
        )
    # older tables have no such column
    regions = sorted({str(row.get("region", "")) for row in rows})
    if len(regions) > 1:
        where = " and ".join(region or "anywhere" for region in regions)
        raise InputError(
            f"{path}: holds recoils of {species} in {where}, which are not one sample: make a file of the lines "
            "of each region"
        )
    try:
        values = np.array([[number_of(row[name]) for name in _OF_EXPORTED] for row in rows])
    except (TypeError, ValueError):
        raise InputError(
            f"{path}: not as `cascade export` wrote it, expected numbers as {', '.join(_OF_EXPORTED)} in each row"
        ) from None
    records = Records(
        recoil_energy_eV=values[:, 0], direction=values[:, 1:4], stored_energy_eV=values[:, 4], weight=values[:, 5]
    )
    return _checked(path, own, records)


def _table(path: Path) -> Records:
    unit: dict[str, tuple[str, float]] = {}

    def check(where: str, names: list[str]) -> list[str]:
        known = {
            f"{what}{end}": (what, factor) for what, ends in _ENERGIES.items() for end, factor in ends.items()
        }
        known |= {
            f"{what}{end}": (what, factor) for what in ("polar", "azimuth") for end, factor in _ANGLES.items()
        }
        known |= {name: (name, 1.0) for name in (*_VECTOR, _WEIGHT)}
        for name in names:
            if name not in known:
                close = closest(name, known)
                hint = f"did you mean {close}?" if close else f"expected {_EXAMPLE}"
                raise InputError(f"{where}: column {name!r} is unknown; {hint}")
            if known[name][0] in {what for what, _ in unit.values()}:
                raise InputError(f"{where}: {known[name][0]} is given twice; leave one out")
            unit[name] = known[name]
        found = {what for what, _ in unit.values()}
        directed = set(_VECTOR) <= found or {"polar", "azimuth"} <= found
        if not (set(_ENERGIES) <= found and directed) or (set(_VECTOR) & found and {"polar", "azimuth"} & found):
            raise InputError(
                f"{where}: found {','.join(names)}; expected both energies and one direction, {_EXAMPLE}"
            )
        return names

    read = read_table(path, example=_EXAMPLE, check_names=check)
    columns = {unit[name][0]: column * unit[name][1] for name, column in read.columns.items()}
    if "polar" in columns:
        direction = _unit_vectors(path, read.numbers, columns["polar"], columns["azimuth"])
    else:
        direction = np.stack([columns[name] for name in _VECTOR], axis=1)
    records = Records(
        recoil_energy_eV=columns["recoil_energy"],
        stored_energy_eV=columns["stored_energy"],
        direction=direction,
        weight=columns.get(_WEIGHT, np.ones(len(direction))),
    )
    return _checked(path, read.numbers, records)


def _checked(path: Path, lines: Sequence[int], read: Records) -> Records:
    """Return records whose rows stand in some lines of a file, or name the first that cannot be one."""
    length = np.linalg.norm(read.direction, axis=1)
    recoil, stored = read.recoil_energy_eV, read.stored_energy_eV
    checks = (
        (_known(recoil) & (recoil > 0), recoil, "recoil energy in eV is", "a positive one"),
        (_known(stored), stored, "stored energy in eV is", "a finite one"),
        (np.abs(length - 1) <= _LENGTH_TOLERANCE, length, "length of the direction is", "a unit vector"),
        (_known(read.weight) & (read.weight >= 0), read.weight, "weight is", "a finite one, none below 0"),
    )
    for fit, value, what, expected in checks:
        if not fit.all():
            row = int(np.argmin(fit))
            raise InputError(f"{path}, line {lines[row]}: {what} {value[row]:g}, expected {expected}")
    return replace(read, direction=read.direction / length[:, None])


def _known(value: Array) -> NDArray[np.bool_]:
    """Return which values are those of a quantity; nan is none."""
    return np.abs(value) <= LARGEST_NUMBER


def _matrix(path: Path, lines: Sequence[tuple[int, str]], zeros: Zeros | None) -> Records:
    rows: list[list[float]] = []
    for number, line in lines:
        try:
            row = [number_of(cell) for cell in line.split()]
        except ValueError:
            raise InputError(f"{path}, line {number}: {line[:40]!r}..., expected numbers between blanks") from None
        if rows and len(row) != len(rows[0]):
            raise InputError(f"{path}, line {number}: found {len(row)} numbers, expected {len(rows[0])}")
        if any(abs(value) > LARGEST_NUMBER for value in row) or (rows and not np.all(np.isfinite(row[:2]))):
            raise InputError(
                f"{path}, line {number}: expected two angles in rad and energies in eV, finite or nan"
            )
        rows.append(row)
    energy = np.array(rows[0][2:])
    if len(rows) < 2 or not len(energy) or not (np.all(energy > 0) and np.all(np.diff(energy) > 0)):
        raise InputError(
            f"{path}: expected a row `nan nan` of rising recoil energies in eV, and a row per direction"
        )
    angles, stored = np.array(rows[1:])[:, :2], np.array(rows[1:])[:, 2:]
    vectors = _unit_vectors(path, [number for number, _ in lines[1:]], angles[:, 0], angles[:, 1])
    stored, notes = _without_gaps(path, energy, stored, zeros)
    known = np.isfinite(stored)
    if not known.all():
        notes = (*notes, f"{int((~known).sum())} of {stored.size} records were not simulated")
    return Records(
        recoil_energy_eV=np.broadcast_to(energy, stored.shape)[known],
        stored_energy_eV=stored[known],
        direction=np.broadcast_to(vectors[:, None, :], (*stored.shape, 3))[known],
        weight=np.ones(int(known.sum())),
        notes=notes,
    )


def _without_gaps(
    path: Path, energy_eV: Array, stored_eV: Array, zeros: Zeros | None
) -> tuple[Array, tuple[str, ...]]:
    """Return a matrix whose directions without results above some energy are as is wished, and what to say."""
    trailing = np.cumprod((stored_eV == 0)[:, ::-1], axis=1).sum(axis=1)
    others = stored_eV[trailing < _TRAILING, -1]
    storing = float(np.mean(others > STORED_ENERGY_FLOOR_eV)) if len(others) else 0.0
    empty = trailing >= _TRAILING
    if empty.mean() < _MANY or storing < _STORING:
        return stored_eV, ()
    least = float(energy_eV[-int(trailing[empty].min())])
    said = (
        f"{int(empty.sum())} of {len(stored_eV)} directions hold exactly 0 from {least:g} eV on at the latest, "
        f"where {storing:.0%} of the others store energy"
    )
    if zeros is None:
        raise InputError(
            f"{path}: {said}: as if they were not simulated; say what they are (--zeros missing, or stored)"
        )
    if zeros == "stored":
        return stored_eV, (f"{said}: taken as they stand",)
    gap = np.arange(len(energy_eV)) >= (len(energy_eV) - np.where(empty, trailing, 0))[:, None]
    return np.where(gap, np.nan, stored_eV), (f"{said}: taken as not simulated",)


def _unit_vectors(path: Path, lines: Sequence[int], polar_rad: Array, azimuth_rad: Array) -> Array:
    """Return (n, 3) unit vectors of angles in some lines of a file, which are no degrees taken for radians."""
    ranges = (("polar", polar_rad, 0.0, math.pi), ("azimuth", azimuth_rad, -math.pi, 2 * math.pi))
    for name, angle, low, high in ranges:
        off = (angle < low - _ANGLE_TOLERANCE_rad) | (angle > high + _ANGLE_TOLERANCE_rad)
        if off.any():
            row = int(np.argmax(off))
            raise InputError(
                f"{path}, line {lines[row]}: {name} angle {angle[row]:g} rad "
                f"({math.degrees(angle[row]):g} degrees), expected one from {math.degrees(low):g} to "
                f"{math.degrees(high):g} degrees: is it another angle, or in another unit?"
            )
    return np.stack(
        [
            np.sin(polar_rad) * np.cos(azimuth_rad),
            np.sin(polar_rad) * np.sin(azimuth_rad),
            np.cos(polar_rad),
        ],
        axis=1,
    )


def write_import(
    files: Mapping[str, Path],
    *,
    crystal: str,
    out: Path,
    source: str = "",
    zeros: Zeros | None = None,
    notes: Sequence[str] = (),
    check: Callable[[Imported, CascadeTable], object] | None = None,
) -> Imported:
    """Write a folder of imported tables, and return what it holds.

    Parameters
    ----------
    files : mapping of str to pathlib.Path
        Of each species, see `read_stored_energies`.
    crystal : str
        Chemical formula.
    out : pathlib.Path
        A new folder, or one of an earlier import, which is replaced.
    source : str
        Where they are from.
    zeros : {'missing', 'stored'}, optional
        What directions of a matrix mean that hold exactly 0 where the others store energy; refused without it.
    notes : sequence of str
        What people who use a model of them should know: said with every answer.
    check : callable, optional
        Called with what is to be written and its records before anything is; raises where they are of no use.

    Raises
    ------
    InputError
        If a file cannot be read, or something else cannot be used; an earlier import is then as it was.
    """
    formula, elements = _crystal(crystal)
    if zeros is not None and zeros not in get_args(Zeros):
        raise InputError(f"zeros are {zeros!r}, expected missing or stored")
    for species in files:
        if species not in atomic_numbers or species not in elements:
            raise InputError(f"{species!r} is no element of {formula}, which has {', '.join(sorted(elements))}")
    if out.exists() and any(out.iterdir()) and not is_import(out):
        raise InputError(f"{out}: there is something else in it; give a new folder")
    tables, said, texts, cascades = [], list(notes), {}, []
    for species, path in files.items():
        records = read_stored_energies(path, zeros=zeros, species=species)
        texts[f"{species}.csv"] = text = _canonical(records)
        digest = hashlib.sha256(text.encode()).hexdigest()
        tables.append(ImportedTable(species=species, file=f"{species}.csv", sha256=digest, origin=path.name))
        said += [f"{species}: {note}" for note in records.notes]
        cascades.append(_cascades(species, records, origin=path))
    made = Imported(crystal=formula, tables=tuple(tables), source=source, notes=tuple(said))
    if check is not None:
        try:
            check(made, concatenate(cascades))
        except CascadeError as error:
            raise InputError(f"{', '.join(map(str, files.values()))}: {error}") from None
    out.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        write_file(out / name, text)
    write_file(out / IMPORT_FILE, canonical_json(plain(made)) + "\n")
    return made


def _crystal(formula: str) -> tuple[str, set[str]]:
    """Return the shortest formula of a crystal, and its elements; what is no target is no crystal either."""
    try:
        target = parse_target(formula)
    except InputError as error:
        raise InputError(f"crystal {str(error).removeprefix('target ')}") from None
    if target.enrichment:
        raise InputError(f"crystal {formula!r}: stored energies know no isotopes; leave the enrichment out")
    return str(Formula(target.formula).reduce()[0].convert("metal")), set(target.elements)


def _canonical(records: Records) -> str:
    rows = zip(records.recoil_energy_eV, records.direction, records.stored_energy_eV, records.weight, strict=True)
    lines = [
        f"{energy!r},{x!r},{y!r},{z!r},{stored!r},{weight!r}"
        for energy, (x, y, z), stored, weight in (
            (float(e), tuple(map(float, d)), float(s), float(w)) for e, d, s, w in rows
        )
    ]
    return "\n".join([f"recoil_energy_eV,{','.join(_VECTOR)},stored_energy_eV,{_WEIGHT}", *lines]) + "\n"


def is_import(folder: Path) -> bool:
    """Return whether a folder is one of imported tables."""
    return (folder / IMPORT_FILE).is_file()


def load_import(folder: Path) -> tuple[Imported, CascadeTable]:
    """Return what a folder of imported tables holds, and its records as cascades.

    Records of a table are of one thermal start; what others computed has no status but `qualitative`.

    Raises
    ------
    InputError
        If it is none, or a file of it was changed.
    """
    path = folder / IMPORT_FILE
    made = build(Imported, read_json(path, remedy="import the tables again"), origin=str(path))
    parts = []
    for one in made.tables:
        file = folder / one.file
        if Path(one.file).name != one.file:
            raise InputError(f"{path}: file {one.file!r}, expected one of the folder; import the tables again")
        if file_sha256(file) != one.sha256:
            raise InputError(f"{file}: was changed since it was imported; import the tables again")
        parts.append(_cascades(one.species, _table(file), origin=file))
    return made, concatenate(parts)


def _cascades(species: str, records: Records, *, origin: Path) -> CascadeTable:
    n = len(records.weight)
    energies, group = np.unique(records.recoil_energy_eV, return_inverse=True)
    whole = np.bincount(group.reshape(-1), records.weight, minlength=len(energies))
    if not np.all(whole > 0):
        raise InputError(
            f"{origin}: the weights at {energies[int(np.argmin(whole))]:g} eV are all 0; give some of them weight"
        )
    outcome = [outcome_of_stored_energy(float(stored)).key for stored in records.stored_energy_eV]
    return CascadeTable(
        id=np.array([f"{species}-{row}" for row in range(1, n + 1)]),
        species=np.full(n, species),
        recoil_energy_eV=records.recoil_energy_eV,
        direction=records.direction,
        direction_weight=records.weight / whole[group.reshape(-1)],
        snapshot=np.zeros(n, dtype=np.int64),
        outcome=np.array(outcome),
        stored_energy_eV=records.stored_energy_eV,
        potential_status="qualitative",
    )
