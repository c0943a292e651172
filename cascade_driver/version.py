"""Which code this is: its version, the commit that it was made from, and what of it was left out of a wheel.

A wheel carries both (`.ci/hatch_build.py` writes them); a checkout asks git, once per process.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path

#: Beside this module, in a wheel and in an unpacked source distribution.
COMMIT_FILE = "_commit.txt"

#: Data of the sources that a wheel does not carry, one path a line.
LEFT_OUT_FILE = "_data/left_out.txt"

#: Data that is alike and that a wheel carries once: a path and the one that stands for it, a line each.
KEPT_ONCE_FILE = "_data/kept_once.txt"

#: Said of a code of which neither git nor a file tells the commit.
UNKNOWN = "unknown"

#: A file system that hangs must not take a cascade along.
_PATIENCE_s = 10.0

_PACKAGE = Path(__file__).resolve().parent


def version() -> str:
    """Return the version of the installed distribution.

    In a checkout the part after `+` is left out: it is the commit of the day of its installation, see `commit`.
    """
    # Here, as below: what costs more than all of the ground is for those who ask.
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed_version

    try:
        found = installed_version("cascade-driver")
    except PackageNotFoundError:
        return UNKNOWN
    return found.partition("+")[0] if _is_checkout(_PACKAGE.parent) else found


@functools.cache
def commit() -> str:
    """Return the commit of this code, 40 digits, with `+dirty` where the code has been changed since."""
    return commit_of(_PACKAGE)


def commit_of(package: Path) -> str:
    """Return the commit of a package's folder; `unknown` if neither git nor a file of the build tells it."""
    if _is_checkout(package.parent):
        return _asked(package)
    try:
        return (package / COMMIT_FILE).read_text(encoding="ascii").strip() or UNKNOWN
    except (OSError, ValueError):
        return UNKNOWN


def _is_checkout(folder: Path) -> bool:
    return (folder / ".git").exists() and (folder / "pyproject.toml").is_file()


def _asked(package: Path) -> str:
    """Return what git says of a checkout, changes looked for in the package alone.

    A checkout of somebody else's (an administrator's) is asked, too: its code is running already.
    """
    import subprocess

    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")} | {"GIT_OPTIONAL_LOCKS": "0"}
    try:
        said = subprocess.run(
            [
                *("git", "-c", f"safe.directory={package.parent}", "-c", "core.fsmonitor=false"),
                *("status", "--porcelain=v2", "--branch", "--", package.name),
            ],
            cwd=package.parent,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=_PATIENCE_s,
        ).stdout.splitlines()
    except (OSError, subprocess.SubprocessError, ValueError):
        return UNKNOWN
    head = next((line.split()[-1] for line in said if line.startswith("# branch.oid ")), UNKNOWN)
    return head + ("+dirty" if any(not line.startswith("#") for line in said) else "")


def kept_once(path: Path) -> Path:
    """Return where a file of `_data` is: another place if this wheel carries its content once for several."""
    if path.is_file():
        return path
    data = _PACKAGE / Path(LEFT_OUT_FILE).parent
    try:
        name = path.resolve().relative_to(data).as_posix()
        lines = (_PACKAGE / KEPT_ONCE_FILE).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return path
    places = dict(line.split("\t") for line in lines)
    return data / places[name] if name in places else path


def left_out(path: Path) -> str:
    """Return where to get a file or folder of `_data` that this wheel does not carry; empty for any other."""
    data = _PACKAGE / Path(LEFT_OUT_FILE).parent
    try:
        name = path.resolve().relative_to(data).as_posix()
        names = (_PACKAGE / LEFT_OUT_FILE).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return ""
    if not any(one == name or one.startswith(f"{name}/") for one in names):
        return ""
    return f"too large for the wheel: take {name} from the sources of cascade_driver {version()}"
