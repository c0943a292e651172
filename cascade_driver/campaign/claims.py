"""Claims: which worker is at which task, so that many workers share one run directory without a server.

A claim is a file that one worker managed to create exclusively. Its owner touches it while it works. A claim whose
process is gone (same host), or whose file nobody has touched for a while (another host), is taken over by
renaming it away, which only one of several takers manages.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Owners touch their claims this often.
HEARTBEAT_s = 15.0

#: A claim of another host that was not touched for so long is dead: file systems of clusters show a change to
#: other nodes within about a minute.
DEAD_AFTER_s = 300.0


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A task that this process may work on."""

    path: Path

    def touch(self) -> None:
        """Show that the owner is alive; harmless if the claim is gone."""
        with contextlib.suppress(FileNotFoundError):
            os.utime(self.path)

    def release(self) -> None:
        """Give the task back."""
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()


def claim(folder: Path, task: str) -> Claim | None:
    """Return a claim on `task`, or None if another living worker has it.

    Parameters
    ----------
    folder : pathlib.Path
        Where the claims of a run lie.
    task : str
        Name of the task, usable as a file name.
    """
    path = folder / f"{task}.json"
    for _ in range(2):
        with contextlib.suppress(FileExistsError):
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
            with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                json.dump(_owner(), stream)
            return Claim(path=path)
        if not _is_dead(path):
            return None
        grave = folder / f".dead-{task}-{os.getpid()}-{time.monotonic_ns()}"
        try:
            path.rename(grave)
        except FileNotFoundError:
            continue
        grave.unlink()
    return None


def is_alive(path: Path) -> bool:
    """Return whether the owner of the claim file `path` is at work."""
    return path.is_file() and not _is_dead(path)


def _owner() -> dict[str, Any]:
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "process_start": _process_start(os.getpid()),
        "job": os.environ.get("SLURM_JOB_ID", ""),
    }


def _is_dead(path: Path) -> bool:
    """Return whether the owner of a claim is gone."""
    try:
        age = _now_of_file_system(path.parent) - path.stat().st_mtime
        owner = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return True
    except ValueError:
        return age > HEARTBEAT_s  # its owner died, or is, between creating and writing it
    if owner.get("host") == socket.gethostname():
        return _process_start(int(owner.get("pid", -1))) != str(owner.get("process_start"))
    return age > DEAD_AFTER_s


def _process_start(pid: int) -> str:
    """Return when a process started, in kernel ticks: a pid that was given out again has another start."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "gone"
    fields = text[text.rindex(")") + 2 :].split()
    return "gone" if fields[0] == "Z" else fields[19]


def _now_of_file_system(folder: Path) -> float:
    """Return the time by the clock that stamps files here: the clock of a node may be off."""
    probe = folder / f".clock-{os.getpid()}"
    probe.touch()
    try:
        return probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)
