"""An index of the records: what tables and status show, without opening 1e5 files.

    RUN/index/<place>-<pid>-<time>.rows     lines that one process appended, each with its own checksum

The records stay the truth. A row counts only while the record's file has the size and time that the row names;
what has no such row is read and verified. The folder may be removed at any moment: it is made again.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from cascade_driver.errors import RecordError, SchemaError
from cascade_driver.files import this_place
from cascade_driver.simulation.record import NUMBERS, RECORD_FILE, Number, Record, numbers, read_record

#: Changes when the columns change: rows of another layout are not read.
_LAYOUT = 2


class Row(NamedTuple):
    """What an index keeps of a record.

    Attributes
    ----------
    id : str
        Of the cascade.
    stamp_ns, size : int
        Time and size in bytes of the record's file.
    kept_bytes : int
        All that the cascade's folder holds.
    outcome : str
        `Outcome.key`.
    numbers : tuple
        Those of the record, in the order of `record.NUMBERS`.
    """

    id: str
    stamp_ns: int
    size: int
    kept_bytes: int
    outcome: str
    numbers: tuple[Number, ...]

    @property
    def stored_energy_eV(self) -> float | None:
        """Stored energy; None where the outcome left none."""
        return self.numbers[_STORED_ENERGY]

    @property
    def cpu_s(self) -> float:
        """CPU time, 0 if unknown."""
        return self.numbers[_CPU] or 0.0

    @property
    def wall_s(self) -> float:
        """Wall time, 0 if unknown."""
        return self.numbers[_WALL] or 0.0

    @property
    def peak_memory_MiB(self) -> float:
        """Of its process, 0 if unknown."""
        return self.numbers[_MEMORY] or 0.0


_STORED_ENERGY, _CPU, _WALL, _MEMORY = (
    NUMBERS.index(name) for name in ("stored_energy_eV", "cpu_s", "wall_s", "peak_memory_MiB")
)


def row_of(record: Record, folder: Path) -> Row:
    """Return the row of a record that lies in `folder`."""
    status = (folder / RECORD_FILE).stat()
    return Row(
        id=record.id,
        stamp_ns=status.st_mtime_ns,
        size=status.st_size,
        kept_bytes=sum(entry.stat().st_size for entry in os.scandir(folder)),
        outcome=record.outcome.key,
        numbers=numbers(record),
    )


def number(value: float | None) -> float:
    """Return `value`, nan for None."""
    return math.nan if value is None else value


class Index:
    """The index of a run, as one process sees and lengthens it.

    Parameters
    ----------
    folder : pathlib.Path
        Where the rows lie.
    cascades : pathlib.Path
        Where the finished cascades lie.
    """

    def __init__(self, folder: Path, cascades: Path) -> None:
        self._folder = folder
        self._cascades = cascades
        self._stream: TextIO | None = None

    def read(self) -> tuple[dict[str, Row], dict[str, str]]:
        """Return the rows of all finished cascades, and what is wrong with those that are damaged.

        Raises
        ------
        SchemaError
            If another version of the program wrote one of them.
        """
        known = self._known()
        rows: dict[str, Row] = {}
        damaged: dict[str, str] = {}
        root = str(self._cascades)
        names, links = _finished(root)
        for name in links:
            damaged[name] = f"{root}/{name}: is a link that leads out of the run; `cascade run` makes it again"
        for name in names:
            try:
                status = os.stat(f"{root}/{name}/{RECORD_FILE}")  # noqa: PTH116  twice as fast, 1e5 times
            except OSError:
                status = None
            row = known.get((name, status.st_mtime_ns, status.st_size)) if status else None
            if row is not None:
                rows[name] = row
                continue
            try:
                rows[name] = row_of(read_record(self._cascades / name), self._cascades / name)
            except SchemaError:
                self.close()
                raise
            except RecordError as error:
                damaged[name] = str(error)
            except FileNotFoundError:
                continue  # set aside just now
            else:
                self.add(rows[name])
        self.close()
        return rows, damaged

    def add(self, row: Row) -> None:
        """Append a row; an index that cannot be written is done without."""
        with contextlib.suppress(OSError):
            if self._stream is None:
                self._folder.mkdir(exist_ok=True)
                name = f"{this_place()}-{os.getpid()}-{time.time_ns()}.rows"
                self._stream = (self._folder / name).open("x", encoding="utf-8", buffering=1)
            text = json.dumps([_LAYOUT, *row[:-1], *row.numbers], separators=(",", ":"))
            self._stream.write(f"{zlib.crc32(text.encode()):08x} {text}\n")

    def close(self) -> None:
        """Close the file of this process, if there is one; the next row goes to a new one."""
        if self._stream is not None:
            with contextlib.suppress(OSError):
                self._stream.close()
            self._stream = None

    def _known(self) -> dict[tuple[str, int, int], Row]:
        known = {}
        for file in sorted(self._folder.glob("*.rows")):
            with contextlib.suppress(OSError):
                for row in _rows(file.read_bytes().split(b"\n")):
                    known[row.id, row.stamp_ns, row.size] = row
        return known


#: Entries of a line before its numbers, and of a line.
_BEFORE = len(Row._fields)
_LENGTH = _BEFORE + len(NUMBERS)


def _rows(lines: Iterable[bytes]) -> Iterable[Row]:
    """Yield the rows of those lines that are whole."""
    for line in lines:
        checksum, _, text = line.partition(b" ")
        if text and checksum == b"%08x" % zlib.crc32(text):
            content: list[Any] = json.loads(text)
            if content[0] == _LAYOUT and len(content) == _LENGTH:
                yield Row._make([*content[1:_BEFORE], tuple(content[_BEFORE:])])


def _finished(root: str) -> tuple[list[str], list[str]]:
    """Return the names of finished cascades, and those of links: what lies elsewhere is not of this run."""
    try:
        with os.scandir(root) as entries:
            found = [(entry.name, entry.is_symlink()) for entry in entries if not entry.name.startswith(".")]
    except FileNotFoundError:
        return [], []
    return [name for name, is_link in found if not is_link], [name for name, is_link in found if is_link]
