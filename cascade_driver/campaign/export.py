"""Exports: tables, an ASE database and structures, made from the records at any moment, also while work goes on.

Everything here can be thrown away and made again. A file appears whole or not at all; a database that holds rows
of others keeps them.
"""

# ASE annotates only part of what it offers:
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ase.io
from ase import Atoms

from cascade_driver.campaign.index import Row
from cascade_driver.campaign.plan import Campaign, PlannedCascade
from cascade_driver.campaign.rundir import RunDirectory
from cascade_driver.errors import InputError, RecordError
from cascade_driver.files import whole_file
from cascade_driver.simulation.cascade import STRUCTURE_FILE
from cascade_driver.simulation.record import NUMBERS, Number
from cascade_driver.simulation.trajectory import TRAJECTORY_FILE


def export_table(run: RunDirectory, path: Path | str) -> int:
    """Write one row per finished cascade of the plan, as CSV or Parquet by the name's ending; return how many.

    Columns: id, species, recoil_energy_eV, direction_x, direction_y, direction_z, direction_weight, snapshot,
    seed, region (of a film, where the plan names one), potential, potential_status, kept_bytes, outcome, and all
    numbers of a record (`record.NUMBERS`), empty where the outcome left nothing.

    Raises
    ------
    InputError
        If the ending is another one, pyarrow is missing, or the file cannot be written.
    """
    path = Path(path)
    if path.suffix not in {".csv", ".parquet"}:
        raise InputError(f"{path}: a table is written as .csv or .parquet; choose one of these endings")
    parquet = _pyarrow() if path.suffix == ".parquet" else None
    campaign = run.load()
    rows = [_flat(campaign, planned, row) for planned, row in _finished(run, campaign)]
    with whole_file(path) as partial:
        if parquet is not None:
            columns = {name: [row[name] for row in rows] for name in _COLUMNS}
            parquet[1].write_table(parquet[0].table(columns), partial)
        else:
            with partial.open("w", encoding="utf-8", newline="") as stream:
                writer = csv.DictWriter(stream, _COLUMNS, lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows)
    return len(rows)


def export_ase_db(run: RunDirectory, path: Path | str) -> int:
    """Write a row per finished cascade of the plan into an ASE database; return how many.

    A database that is there keeps its other rows: those of this run's cascades are known by their ids and brought
    up to date, the others are added. Atoms are the final structure, with `displacement`, `defect` and `is_pka` as
    data; the columns of `export_table` are key-value pairs, the id as `cascade=c<id>`. A cascade that left no
    structure has no atoms.

    Raises
    ------
    InputError
        If the ending is not .db, what is there is no ASE database, or it cannot be written.
    """
    path = Path(path)
    if path.suffix != ".db":
        raise InputError(f"{path}: an ASE database is written as .db; choose that ending")
    campaign = run.load()
    try:
        if not path.exists() or (path.is_file() and path.stat().st_size == 0):
            with whole_file(path) as draft:
                return _write_rows(run, campaign, draft)
        _require_ase_db(path)
        return _write_rows(run, campaign, path)
    except (sqlite3.Error, OSError) as error:
        raise InputError(
            f"{path}: cannot be written ({error}), what is in it stays; wait for who uses it, or choose another "
            "place"
        ) from None


def _require_ase_db(path: Path) -> None:
    """Refuse what is no ASE database, before anything is written to it."""
    try:
        with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'systems'").fetchone():
                return
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError:
        pass
    raise InputError(f"{path}: is there already and no ASE database, it stays as it is; choose another place")


def _write_rows(run: RunDirectory, campaign: Campaign, path: Path) -> int:
    """Add or update the rows of a run's cascades in one transaction; return how many."""
    from ase.db import connect

    columns = {"cascade", *_COLUMNS}
    count = 0
    with connect(path, type="db", use_lock_file=False) as database:
        there = _known(database)
        for planned, row in _finished(run, campaign):
            atoms = read_structure(run, planned.id)
            content = {k: v for k, v in _flat(campaign, planned, row).items() if v is not None}
            # ASE refuses strings that look like numbers, and `id` is its own.
            name = content["cascade"] = f"c{content.pop('id')}"
            arrays = {} if atoms is None else {k: atoms.arrays[k] for k in ("displacement", "defect", "is_pka")}
            known = there.get(name)
            if known is None:
                database.write(_bare(atoms), key_value_pairs=content, data=arrays)
            else:
                number, keys = known
                stale = [key for key in keys if key in columns and key not in content]
                database.update(number, atoms=_bare(atoms), delete_keys=stale, data=arrays, **content)
            count += 1
    return count


def _known(database: Any) -> dict[str, tuple[int, tuple[str, ...]]]:
    """Return, by `cascade`, the row number and the keys of the rows of cascades; their atoms are not read."""
    rows = database.select("cascade", include_data=False, columns=["id", "key_value_pairs"])
    return {row.cascade: (row.id, tuple(row.key_value_pairs)) for row in rows}


def export_structures(run: RunDirectory, folder: Path | str) -> int:
    """Write the final structures as `<id>.extxyz`, which OVITO opens; return how many are there.

    Each holds the vectors `displacement` (from the quenched start), the flags `defect` and `is_pka`, and what is
    known of the cascade on its comment line. Files that are there stay.

    Raises
    ------
    InputError
        If the folder cannot be written.
    """
    folder = Path(folder)
    campaign = run.load()
    count = 0
    _make_folder(folder)
    for planned, row in _finished(run, campaign):
        path = folder / f"{planned.id}.extxyz"
        if not path.is_file():
            atoms = read_structure(run, planned.id)
            if atoms is None:
                continue
            atoms.info |= {k: v for k, v in _flat(campaign, planned, row).items() if v is not None}
            text = io.StringIO()
            ase.io.write(text, atoms, format="extxyz")
            with whole_file(path) as partial:
                partial.write_text(text.getvalue(), encoding="utf-8")
        count += 1
    return count


def export_trajectories(run: RunDirectory, folder: Path | str) -> int:
    """Copy the trajectories that were kept as `<id>.extxyz.gz`, which OVITO opens; return how many are there.

    Raises
    ------
    InputError
        If the folder cannot be written.
    """
    folder = Path(folder)
    campaign = run.load()
    _make_folder(folder)
    count = 0
    for planned in campaign.cascades():
        path = folder / f"{planned.id}.extxyz.gz"
        if not path.is_file():
            kept = run.cascades / planned.id / TRAJECTORY_FILE
            if not kept.is_file():
                continue
            with whole_file(path) as partial:
                shutil.copyfile(kept, partial)
        count += 1
    return count


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be made ({error.strerror}); choose another place") from None


def read_structure(run: RunDirectory, cascade: str) -> Atoms | None:
    """Return the final structure of a cascade, or None if it left none.

    Raises
    ------
    RecordError
        If it is damaged.
    """
    path = run.cascades / cascade / STRUCTURE_FILE
    if not path.is_file():
        return None
    try:
        with gzip.open(path, "rt", encoding="utf-8") as stream:
            atoms = ase.io.read(stream, format="extxyz")
        if not isinstance(atoms, Atoms):
            raise TypeError(f"it holds {type(atoms).__name__}")
    except Exception as error:  # gzip, zlib and ASE have their own words for a damaged file
        raise RecordError(f"{path}: damaged ({error}); `cascade verify` and `cascade run` repair it") from None
    return atoms


def _bare(atoms: Atoms | None) -> Atoms:
    """Return atoms without what a database keeps elsewhere."""
    if atoms is None:
        return Atoms()
    return Atoms(atoms.get_chemical_symbols(), positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)


def _finished(run: RunDirectory, campaign: Campaign) -> Iterator[tuple[PlannedCascade, Row]]:
    rows, _ = run.index.read()
    return ((planned, rows[planned.id]) for planned in campaign.cascades() if planned.id in rows)


#: Columns of a cascade of the plan, before the numbers of its record.
_PLANNED = ("id", "species", "recoil_energy_eV", "direction_x", "direction_y", "direction_z", "direction_weight")
_OF_CAMPAIGN = ("snapshot", "seed", "region", "potential", "potential_status")
_COLUMNS = (*_PLANNED, *_OF_CAMPAIGN, "kept_bytes", "outcome", *NUMBERS)


def _flat(campaign: Campaign, planned: PlannedCascade, row: Row) -> dict[str, str | Number]:
    of_the_plan = (planned.id, planned.species, planned.recoil_energy_eV, *planned.direction)
    of_the_campaign = (campaign.protocol.potential_name, campaign.potential_status)
    place = (planned.snapshot, planned.seed, planned.region_name or None)
    values = (*of_the_plan, planned.direction_weight, *place, *of_the_campaign)
    return dict(zip(_COLUMNS, (*values, row.kept_bytes, row.outcome, *row.numbers), strict=True))


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise InputError(
            "Parquet needs pyarrow, which is not installed: pip install 'cascade-driver[export]', or write .csv"
        ) from None
    return pyarrow, pyarrow.parquet
