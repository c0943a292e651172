"""Histograms for other programs: the UHI schema as JSON or HDF5, which `hist` and others read, and ROOT."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cascade_driver.errors import InputError
from cascade_driver.files import whole_file, write_file
from cascade_driver.kinds import Array

SUFFIXES = (".json", ".h5", ".root")

#: Digits of a number in JSON, which is text: more than any of them is known to.
_DIGITS = 9


@dataclass(frozen=True, kw_only=True, eq=False)
class Histogram:
    """Numbers in bins.

    Attributes
    ----------
    values : (n, ...) float
    axes : mapping of str to (n + 1,) float
        Edges of the bins by the name of the axis, one for each index of the values.
    about : mapping of str to str
        What a reader must know.
    """

    values: Array
    axes: Mapping[str, Array]
    about: Mapping[str, str] = field(default_factory=dict)

    def as_uhi(self) -> dict[str, Any]:
        """Return it in the intermediate form of UHI, version 1, its arrays those of NumPy."""
        usual = {"type": "variable", "underflow": False, "overflow": False, "circular": False}
        return {
            "uhi_schema": 1,
            "axes": [{**usual, "edges": edges, "metadata": {"name": name}} for name, edges in self.axes.items()],
            "storage": {"type": "double", "values": self.values},
            "metadata": dict(self.about),
        }


def write_histograms(histograms: Mapping[str, Histogram], path: Path) -> None:
    """Write histograms by name as `.json`, `.h5` (needs h5py and uhi) or `.root` (needs uproot).

    JSON and HDF5 follow the schema of UHI; ROOT has a TH1D or TH2D of each, and what there is to say of it as JSON
    beside it, `<name>_about`. A slash in a name makes a folder.

    Raises
    ------
    InputError
        If the ending is another one, a library is missing, or the file cannot be written.
    """
    require_suffix(path)
    if path.suffix == ".json":
        content = {name: histogram.as_uhi() for name, histogram in histograms.items()}
        write_file(path, json.dumps(content, default=_numbers, allow_nan=False) + "\n")
    elif path.suffix == ".root":
        uproot = library("uproot", path)
        with whole_file(path) as partial, uproot.recreate(partial) as file:
            for name, histogram in histograms.items():
                file[name] = (histogram.values, *histogram.axes.values())
                if histogram.about:
                    file[f"{name}_about"] = json.dumps(dict(histogram.about))
    else:
        h5py, uhi = library("h5py", path), library("uhi.io.hdf5", path)
        with whole_file(path) as partial, h5py.File(partial, "w") as file:
            for name, histogram in histograms.items():
                uhi.write(file.create_group(name), histogram.as_uhi())


def require_suffix(path: Path) -> None:
    """Refuse a file whose ending is none of `SUFFIXES`.

    Raises
    ------
    InputError
        If it is another one.
    """
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path}: histograms are written as {', '.join(SUFFIXES)}; choose one of these endings")


def library(name: str, path: Path) -> Any:
    """Return a library that a kind of file needs.

    Raises
    ------
    InputError
        If it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError:
        raise InputError(
            f"{path}: {path.suffix} needs {name.partition('.')[0]}, which is not installed: pip install "
            "'cascade-driver[export]', or choose another ending"
        ) from None


def _numbers(values: Any) -> Any:
    """Return an array as JSON has it."""
    flat = [float(f"{value:.{_DIGITS}g}") for value in np.asarray(values).ravel().tolist()]
    return np.reshape(flat, np.shape(values)).tolist()
