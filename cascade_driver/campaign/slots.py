"""Where tasks are done on this machine: a process for each, or this very process.

An engine that aborts, hangs or crashes in a process of its own costs one attempt of one cascade. The parent never
imports the engine: a fork server does, once, and each task forks from it.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import threading
import time
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from multiprocessing.util import get_temp_dir
from pathlib import Path
from typing import Literal, Protocol

from cascade_driver.campaign.index import Row
from cascade_driver.campaign.rundir import PASSING_TROUBLE, disk_error
from cascade_driver.campaign.task import Task, Workshop
from cascade_driver.errors import CascadeError, RecordError, SchemaError
from cascade_driver.simulation.apart import start_whole
from cascade_driver.simulation.lammps_build import chosen

#: How a task ended: done; its process died; it took too long; a starting state is damaged; the machine or its file
#: system was out of order for a while; the campaign cannot go on; the program is wrong.
Kind = Literal["done", "crashed", "timed_out", "damaged", "disturbed", "fatal", "bug"]


#: Beside it the path of a socket holds `/pymp-12345678/listener-12345678`.
_LONGEST_SOCKET_FOLDER_bytes = 107 - len("/pymp-12345678/listener-12345678")


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How a task ended.

    Attributes
    ----------
    task : Task
    kind : str
        See `Kind`.
    message : str
        What is to be said about it.
    row : Row, optional
        Of the record that was stored.
    wall_s : float
        How long it took.
    """

    task: Task
    kind: Kind
    message: str = ""
    row: Row | None = None
    wall_s: float = 0.0


class Slots(Protocol):
    """A place for tasks."""

    @property
    def free(self) -> int:
        """How many tasks may be started now."""

    def start(self, task: Task, log: Path) -> None:
        """Start a task; what it prints goes to `log`."""

    def ended(self, timeout_s: float) -> list[Ending]:
        """Return how tasks ended that did; wait for one at most so long."""

    def stop(self) -> list[Task]:
        """Stop all tasks at once and return them."""


@dataclass(kw_only=True)
class _Job:
    task: Task
    process: BaseProcess
    answer: Connection
    log: Path
    started: float


class ProcessSlots:
    """A process per task, forked from a warm server, watched and killed if need be.

    Parameters
    ----------
    workshop : Workshop
        What tasks need.
    number : int
        Processes at a time.
    grace_s : float
        A task gets this much longer than its time limit to stop of itself before it is killed.
    """

    def __init__(self, workshop: Workshop, *, number: int, grace_s: float) -> None:
        self._workshop = workshop
        self._number = number
        self._limit_s = workshop.time_limit_s + grace_s
        self._jobs: dict[int, _Job] = {}
        _listen_at_a_short_path()
        # The server holds the installed LAMMPS, and a process holds one: for another one each task starts anew.
        is_installed = chosen(workshop.lammps).lammps is None
        server, anew = multiprocessing.get_context("forkserver"), multiprocessing.get_context("spawn")
        self._context = server if is_installed else anew
        if is_installed:
            server.set_forkserver_preload(["cascade_driver.campaign._fork_server"])

    @property
    def free(self) -> int:
        """How many tasks may be started now."""
        return self._number - len(self._jobs)

    def start(self, task: Task, log: Path) -> None:
        """Start a task; see `Slots.start`."""
        answer, child_end = self._context.Pipe(duplex=False)
        process = self._context.Process(
            target=_in_child, kwargs={"workshop": self._workshop, "task": task, "answer": child_end, "log": log}
        )
        try:
            start_whole(process)
        finally:
            child_end.close()
        self._jobs[process.sentinel] = _Job(
            task=task, process=process, answer=answer, log=log, started=time.monotonic()
        )

    def ended(self, timeout_s: float) -> list[Ending]:
        """Return how tasks ended; see `Slots.ended`."""
        if not self._jobs:
            time.sleep(timeout_s)
            return []
        over = {s for s in wait(list(self._jobs), timeout=timeout_s) if isinstance(s, int)}
        late = {s for s, job in self._jobs.items() if time.monotonic() - job.started > self._limit_s} - over
        for sentinel in late:
            self._jobs[sentinel].process.kill()
        return [self._reap(s, timed_out=s in late) for s in over | late]

    def _reap(self, sentinel: int, *, timed_out: bool) -> Ending:
        job = self._jobs.pop(sentinel)
        job.process.join()
        wall_s = time.monotonic() - job.started
        said = None
        # A process killed while it spoke leaves half a message.
        with contextlib.suppress(EOFError, OSError, ValueError):
            if job.answer.poll():
                said = job.answer.recv()
        job.answer.close()
        if isinstance(said, Ending):
            return Ending(task=job.task, kind=said.kind, message=said.message, row=said.row, wall_s=wall_s)
        if timed_out:
            message = f"killed after {wall_s:.0f} s; the limit is {self._workshop.time_limit_s:g} s"
            return Ending(task=job.task, kind="timed_out", message=message, wall_s=wall_s)
        return Ending(task=job.task, kind="crashed", message=_last_words(job), wall_s=wall_s)

    def stop(self) -> list[Task]:
        """Kill all tasks; see `Slots.stop`."""
        jobs = list(self._jobs.values())
        self._jobs.clear()
        for job in jobs:
            job.process.kill()
        for job in jobs:
            job.process.join()
            job.answer.close()
        return [job.task for job in jobs]


def _listen_at_a_short_path() -> None:
    """Have the folder of the fork server's socket made where its path is short: sockets allow 107 bytes.

    It would be in TMPDIR, which clusters and users put anywhere. It is made once, for this user alone.
    """
    before = tempfile.tempdir
    if len(os.fsencode(tempfile.gettempdir())) > _LONGEST_SOCKET_FOLDER_bytes:
        tempfile.tempdir = "/tmp"
    try:
        get_temp_dir()
    finally:
        tempfile.tempdir = before


def _last_words(job: _Job) -> str:
    code = job.process.exitcode or 0
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    try:
        tail = " ".join(job.log.read_text(encoding="utf-8", errors="replace").split())[-500:]
    except OSError:
        tail = ""
    return f"the process ended with {how}" + (f": {tail}" if tail else "")


class OwnProcess:
    """One task after the other in the calling process: nothing isolates it from the engine.

    For debugging, and for places that allow no other processes. A signal is answered when the engine returns.
    """

    def __init__(self, workshop: Workshop) -> None:
        self._workshop = workshop
        self._task: Task | None = None

    @property
    def free(self) -> int:
        """How many tasks may be started now."""
        return int(self._task is None)

    def start(self, task: Task, log: Path) -> None:
        """Take a task; it is done when its end is asked for."""
        del log
        self._task = task

    def ended(self, timeout_s: float) -> list[Ending]:
        """Do the task; see `Slots.ended`."""
        if self._task is None:
            time.sleep(timeout_s)
            return []
        began = time.monotonic()
        ending = _perform(self._workshop, self._task)
        self._task = None
        return [
            Ending(
                task=ending.task,
                kind=ending.kind,
                message=ending.message,
                row=ending.row,
                wall_s=time.monotonic() - began,
            )
        ]

    def stop(self) -> list[Task]:
        """Forget the task; see `Slots.stop`."""
        tasks, self._task = [self._task] if self._task else [], None
        return tasks


def _perform(workshop: Workshop, task: Task) -> Ending:
    """Do a task and say how it ended."""
    try:
        return Ending(task=task, kind="done", row=workshop.perform(task))
    except RecordError as error:
        # What another version wrote is nobody's to repair.
        kind: Kind = "fatal" if isinstance(error, SchemaError) else "damaged"
        return Ending(task=task, kind=kind, message=str(error))
    except CascadeError as error:
        return Ending(task=task, kind="fatal", message=str(error))
    except OSError as error:
        return _trouble(workshop, task, error)
    except Exception:
        return _bug(task)


def _trouble(workshop: Workshop, task: Task, error: OSError) -> Ending:
    if error.errno in PASSING_TROUBLE:
        said = f"{error.filename or workshop.run}: {error.strerror}"
        return Ending(task=task, kind="disturbed", message=said)
    try:
        return Ending(task=task, kind="fatal", message=str(disk_error(workshop.run, error)))
    except OSError:
        return _bug(task)


def _bug(task: Task) -> Ending:
    said = f"on {socket.gethostname()}, task {task.name}:\n{traceback.format_exc()}"
    return Ending(task=task, kind="bug", message=said)


def _in_child(*, workshop: Workshop, task: Task, answer: Connection, log: Path) -> None:
    """Do one task in a process of its own and say how it ended; the entry point of every child."""
    _become_a_child(log)
    answer.send(_perform(workshop, task))


def _become_a_child(log: Path) -> None:
    """Leave signals to the parent, die with it, and write what the engine prints to the log."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if sys.platform == "linux":
        # The fork server ends when the parent does, and we with it, whatever the engine is doing.
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
    parent = multiprocessing.parent_process()
    if parent is not None:
        # It may have died before that; and a thread tells us where there is no such call.
        threading.Thread(target=_die_with, args=(parent.sentinel,), daemon=True).start()
    os.environ["OMP_NUM_THREADS"] = "1"
    with contextlib.suppress(OSError):  # a full disk is the task's to report
        if log.is_symlink():  # a link may lead anywhere
            log.unlink()
        descriptor = os.open(log, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_NOFOLLOW, 0o644)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        os.close(descriptor)


def _die_with(parent: int) -> None:
    wait([parent])
    os._exit(1)
