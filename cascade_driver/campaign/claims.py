"""Claims: which worker is at which task, so that many workers share one run directory without a server.

A claim is a file that one worker managed to create exclusively, and touches while it works. A claim is dead when
its process is gone (same machine) or when nobody has touched it for a while (another machine, or a process that is
stopped for good). To take a dead claim over is itself a task that must be claimed, so that of several takers
exactly one gets it.

A wrong judgement costs time and nothing else: results are stored whole or not at all, and the second copy of a
result is dropped.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import socket
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from cascade_driver.files import draft_name, this_place, write_atomically
from cascade_driver.schema import digest

#: Owners touch their claims this often.
HEARTBEAT_s = 15.0

#: A claim that was not touched for so long is dead: file systems of clusters show a change to other nodes within
#: about a minute.
DEAD_AFTER_s = 300.0

#: The clock of the file system is asked again after so long.
_CLOCK_GOOD_FOR_s = 60.0

_count = itertools.count()


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A task that this process may work on.

    Attributes
    ----------
    path : pathlib.Path
        The claim's file.
    text : str
        What this process wrote into it.
    """

    path: Path
    text: str

    def touch(self) -> bool:
        """Show that the owner is alive; return whether it is the owner, also if the disk is in trouble."""
        try:
            if self.path.read_text(encoding="utf-8") != self.text:
                return False
            os.utime(self.path, follow_symlinks=False)
        except FileNotFoundError:
            return False
        except OSError:
            pass
        return True

    def release(self) -> None:
        """Give the task back, unless somebody has taken it over."""
        with contextlib.suppress(OSError):
            if self.path.read_text(encoding="utf-8") == self.text:
                self.path.unlink()


class Claims:
    """The claims of a run, as one worker sees them.

    Parameters
    ----------
    folder : pathlib.Path
        Where the claims of a run lie.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        #: When a claim was first seen in its present state, by our own clock.
        self._seen: dict[Path, tuple[int, float]] = {}
        self._clock: tuple[float, float] | None = None

    def take(self, task: str) -> Claim | None:
        """Return a claim on `task`, or None if another living worker has it.

        Parameters
        ----------
        task : str
            Name of the task, usable as a file name.

        Raises
        ------
        OSError
            If the claim cannot be written.
        """
        path = self._folder / f"{task}.json"
        mine = _owner_text()
        for _ in range(2):
            if _create(path, mine):
                return Claim(path=path, text=mine)
            try:
                theirs = path.read_text(encoding="utf-8")
            except FileNotFoundError:
                continue  # released just now
            return self._take_over(path, theirs, mine) if self._is_dead(path, theirs) else None
        return None

    def _take_over(self, path: Path, theirs: str, mine: str) -> Claim | None:
        right = self.take(f".takeover-{digest([path.name, theirs])}")
        if right is None:
            return None
        try:
            # Somebody may have been faster before the right was ours; while it is, nobody is.
            if path.read_text(encoding="utf-8") != theirs:
                return None
            write_atomically(path, mine)
        except FileNotFoundError:
            return None
        finally:
            right.release()
        return Claim(path=path, text=mine)

    def lives(self, path: Path) -> bool:
        """Return whether the owner of a claim is at work."""
        try:
            return not self._is_dead(path, path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return False

    def living(self) -> list[str]:
        """Return the names of the tasks whose owners are at work."""
        return [path.stem for path in self._folder.glob("[!.]*.json") if self.lives(path)]

    def _is_dead(self, path: Path, text: str) -> bool:
        """Return whether the owner of a claim is gone."""
        try:
            owner = json.loads(text)
            place, pid, start = str(owner["place"]), int(owner["pid"]), str(owner["process_start"])
        except (ValueError, KeyError, TypeError):
            return self._quiet_s(path) > HEARTBEAT_s  # its owner died between creating and writing it
        if place == this_place():
            # A machine that slept has an old heartbeat and sound processes: only time in which both were awake
            # counts against one that is there.
            return _process_start(pid) != start or self._watched_s(path) > DEAD_AFTER_s
        return self._quiet_s(path) > DEAD_AFTER_s

    def _quiet_s(self, path: Path) -> float:
        """Return for how long nobody has touched a claim, by the file system's clock or by our own watching.

        The second needs no clock that agrees with anyone's: a clock that was set back only delays.
        """
        watched = self._watched_s(path)
        stamp = self._seen[path][0] if path in self._seen else None
        return watched if stamp is None else max(watched, self._now_of_file_system() - stamp / 1e9)

    def _watched_s(self, path: Path) -> float:
        """Return for how long we have watched a claim that nobody touched."""
        try:
            stamp = path.stat().st_mtime_ns
        except FileNotFoundError:
            self._seen.pop(path, None)
            return 0.0
        now = time.monotonic()
        known = self._seen.get(path)
        if known is None or known[0] != stamp:
            known = self._seen[path] = (stamp, now)
        return now - known[1]

    def _now_of_file_system(self) -> float:
        """Return the time by the clock that stamps files here: the clock of a node may be off."""
        now = time.monotonic()
        if self._clock is None or now - self._clock[0] > _CLOCK_GOOD_FOR_s:
            probe = self._folder / draft_name()
            try:
                probe.touch()
                self._clock = (now, probe.stat().st_mtime)
                probe.unlink(missing_ok=True)
            except OSError:  # somebody who may only look
                self._clock = (now, time.time())
        return self._clock[1] + now - self._clock[0]


class Heartbeat:
    """Touches the claims in it until they are taken out, in a thread of its own: `with Heartbeat() as beat`."""

    def __init__(self) -> None:
        self._claims: set[Claim] = set()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def add(self, claim: Claim) -> None:
        """Keep `claim` alive."""
        with self._lock:
            self._claims.add(claim)

    def release(self, claim: Claim) -> None:
        """Release `claim`."""
        with self._lock:
            self._claims.discard(claim)
        claim.release()

    def _beat(self) -> None:
        while not self._over.wait(HEARTBEAT_s):
            with self._lock:
                claims = list(self._claims)
            for claim in claims:
                if not claim.touch():
                    # Taken over, as after a long stop: what its new owner finds is as good.
                    with self._lock:
                        self._claims.discard(claim)


def _create(path: Path, text: str) -> bool:
    """Return whether the file was made here and now."""
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except FileExistsError:
        return False
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
    except OSError:
        path.unlink(missing_ok=True)
        raise
    return True


def _owner_text() -> str:
    owner: dict[str, object] = {
        "host": socket.gethostname(),
        "place": this_place(),
        "pid": os.getpid(),
        "process_start": _process_start(os.getpid()),
        "job": "_".join(os.environ[k] for k in ("SLURM_JOB_ID", "SLURM_ARRAY_TASK_ID") if os.environ.get(k)),
        "number": next(_count),
    }
    return json.dumps(owner)


def is_running(pid: int) -> bool:
    """Return whether a process of this place is there."""
    return _process_start(pid) != "gone"


def _process_start(pid: int) -> str:
    """Return when a process started, in kernel ticks: a pid that was given out again has another start."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "gone"
    fields = text[text.rindex(")") + 2 :].split()
    return "gone" if fields[0] == "Z" else fields[19]
