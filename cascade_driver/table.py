"""A table of numbers in a text file as people and programs write it: comments, names of the columns, rows."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from cascade_driver.errors import InputError
from cascade_driver.files import LARGEST_NUMBER, text_of
from cascade_driver.text import number_of

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from pandas import DataFrame

#: A dataclass whose arrays have one row for each point.
Columns = TypeVar("Columns", bound="DataclassInstance")

#: How else a table is kept that is no text, and how it becomes one.
_SAVED_AS = {
    ".npy": "write it by numpy.savetxt('{csv}', array, delimiter=',', header='{example}')",
    ".npz": "write it by numpy.savetxt('{csv}', array, delimiter=',', header='{example}')",
    ".xlsx": "save it as {csv}",
    ".ods": "save it as {csv}",
}

#: What separates cells, the surest sign first; then a comma, which may also be a decimal one, then blanks.
_SURE = (";", "\t")


def data_frame(columns: Mapping[str, NDArray[Any]], *, index: NDArray[Any] | None = None) -> DataFrame:
    """Return columns of equal length as a `pandas.DataFrame`, which is no dependency of this package.

    Raises
    ------
    InputError
        If pandas is not installed.
    """
    try:
        from pandas import DataFrame
    except ImportError:
        raise InputError("pandas is not installed; install it with: pip install pandas") from None
    return DataFrame(dict(columns), index=index)


@dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """The content of a file.

    Attributes
    ----------
    where : str
        File and line of the names, for messages.
    comments : tuple of str
        Lines that begin with #, without it.
    columns : mapping of str to (n,) float
    numbers : tuple of int
        Line number of each row.
    """

    where: str
    comments: tuple[str, ...]
    columns: dict[str, NDArray[np.float64]]
    numbers: tuple[int, ...]


def read_table(
    path: Path, *, example: str, check_names: Callable[[str, list[str]], list[str]], shorter: str = ""
) -> Table:
    """Return the table in a file.

    Cells are separated by semicolons, tabs, commas or blanks; unless by commas, numbers may have decimal commas.
    Where the first line that is no comment holds numbers, the comment before it may hold the names of the columns,
    as `numpy.savetxt` writes them.

    Parameters
    ----------
    path : pathlib.Path
    example : str
        Names of the columns, for messages.
    check_names : callable
        Given where they stand and the names, returns those to go by, or raises.
    shorter : str, optional
        Names of another set of fewer columns, for messages about rows of so many numbers.

    Raises
    ------
    InputError
        If it cannot be read, or is none, or has two columns of one name; the message names the line, what was
        found, what was expected.
    """
    comments: list[tuple[int, str]] = []
    lines: list[tuple[int, str]] = []
    # Not splitlines: it also cuts at characters that are no line ends in a text file.
    text = _read_text(path, example).replace("\r\n", "\n").replace("\r", "\n")
    for number, line in enumerate(map(str.strip, text.split("\n")), start=1):
        if line.startswith("#"):
            comments.append((number, line.lstrip("#").strip()))
        elif line:
            lines.append((number, line))
    if not lines:
        raise InputError(f"{path}: no table found, expected a line {example} and rows of numbers below it.")
    before = [comment for comment in comments if comment[0] < lines[0][0]]
    if _is_row(lines[0][1]) and before and _names_columns(before[-1][1], lines[0][1]):
        lines.insert(0, before[-1])
    number, header = lines[0]
    where = f"{path}, line {number}"
    if _is_row(header):
        wanted = shorter if shorter and len(_words(header)) == len(shorter.split(",")) else example
        raise InputError(
            f"{where}: found numbers, expected the names of the columns; put a line {wanted} above them."
        )
    separator = _separator(header)
    names = check_names(where, _cells(where, header, separator))
    if twice := [name for name in names if name and names.count(name) > 1]:
        raise InputError(f"{where}: two columns {twice[0]}, expected one; remove or rename the other.")
    if len(lines) == 1:
        raise InputError(f"{where}: the columns have no rows, expected numbers below their names.")
    rows = [_row(f"{path}, line {number}", line, names, separator) for number, line in lines[1:]]
    return Table(
        where=where,
        comments=tuple(comment for _, comment in comments),
        columns=dict(zip(names, np.array(rows).T, strict=True)),
        numbers=tuple(number for number, _ in lines[1:]),
    )


def read_columns(
    path: Path, wanted: Sequence[str], *, or_also: Sequence[str] = ()
) -> dict[str, NDArray[np.float64]]:
    """Return the columns of a table that must be there, and those that may be, by name.

    Raises
    ------
    InputError
        If the file cannot be read, or lacks a column; with the place, what was expected and what to do.
    """
    expected = ",".join(wanted) + "".join(f"[,{name}]" for name in or_also)

    def check(where: str, names: list[str]) -> list[str]:
        if missing := [name for name in wanted if name not in names]:
            raise InputError(f"{where}: no column `{missing[0]}`; expected {expected}")
        return names

    columns = read_table(path, example=",".join(wanted), check_names=check).columns
    return {name: columns[name] for name in (*wanted, *or_also) if name in columns}


def csv_cells(where: str, line: str, *, separator: str = ",", remedy: str = "correct it") -> list[str]:
    """Return the cells of one line of CSV.

    Line by line, and strictly: a quote that is never closed would swallow the lines or the cells behind it.

    Raises
    ------
    InputError
        If it is no line of CSV.
    """
    try:
        return next(csv.reader([line], delimiter=separator, strict=True))
    except csv.Error as error:
        raise InputError(f"{where}: not a line of CSV ({error}); {remedy}") from None


def rows_of(data: Columns, keep: NDArray[np.bool_]) -> Columns:
    """Return some rows of a dataclass of columns; what is no column stays as it is."""
    columns = {f.name: getattr(data, f.name) for f in dataclasses.fields(data)}
    kept = {name: column[keep] for name, column in columns.items() if isinstance(column, np.ndarray)}
    return dataclasses.replace(data, **kept)


def _read_text(path: Path, example: str) -> str:
    if path.suffix in _SAVED_AS:
        remedy = _SAVED_AS[path.suffix].format(csv=path.with_suffix(".csv").name, example=example)
        raise InputError(
            f"{path}: not a table in text, expected a line {example} and rows of numbers below it; {remedy}"
        )
    text = text_of(path, what="a table of numbers")
    if not text.strip():
        raise InputError(f"{path}: the file is empty, expected a line {example} and rows of numbers below it.")
    return text


def _separator(line: str) -> str:
    """Return what separates the cells of a line; a blank stands for any number of them."""
    return next((sign for sign in (*_SURE, ",") if sign in line), " ")


def _cells(where: str, line: str, separator: str) -> list[str]:
    if separator == " ":
        return line.split()
    return [cell.strip() for cell in csv_cells(where, line, separator=separator)]


def _is_row(line: str) -> bool:
    """Whether a line holds nothing but numbers."""
    cells = _words(line)
    return bool(cells) and all(_number(cell) is not None for cell in cells)


def _words(line: str) -> list[str]:
    """Return what stands between separators of any kind."""
    return line.replace(";", " ").replace(",", " ").split()


def _names_columns(comment: str, row: str) -> bool:
    """Whether a comment has as many words as a row has numbers."""
    words, numbers = map(_words, (comment, row))
    return ":" not in comment and not _is_row(comment) and len(words) in (len(numbers), len(row.split()))


def _number(cell: str) -> float | None:
    try:
        return number_of(cell)
    except ValueError:
        return None


def _row(where: str, line: str, names: Sequence[str], separator: str) -> list[float]:
    """Return the numbers of one line; its separator may be another than that of the names."""
    own = next((sign for sign in _SURE if sign in line), separator)
    if own not in line and len(line.split()) == len(names):
        own = " "
    cells = _cells(where, line, own)
    if own != ",":
        cells = [cell.replace(",", ".") if cell.count(",") == 1 and "." not in cell else cell for cell in cells]
    if len(cells) != len(names):
        raise InputError(
            f"{where}: found {len(cells)} cells, expected {len(names)} ({', '.join(names)}); beside commas "
            "numbers take a decimal point."
        )
    values = []
    for name, cell in zip(names, cells, strict=True):
        value = _number(cell)
        if value is None:
            raise InputError(f"{where}: {name} is {cell!r}, expected a number; correct or remove the line.")
        if not abs(value) <= LARGEST_NUMBER:  # nan included
            raise InputError(f"{where}: {name} is {cell}, expected a finite number; correct it.")
        values.append(value)
    return values
