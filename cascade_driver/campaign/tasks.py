"""Tasks whose products lie in a folder: any number of processes and machines do them, each task once.

    FOLDER/claims/    who is at what

A task waits until its product is there, whole. Whoever claims it first does it; who dies loses the one task that
it was at, and another takes it over.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from cascade_driver.campaign.claims import Claim, Claims, Heartbeat
from cascade_driver.errors import InputError
from cascade_driver.simulation.apart import side_by_side

#: Who waits for the tasks of others looks again after so long.
_LOOK_AGAIN_s = 1.0


class Tasks(Protocol):
    """Tasks with a folder; it travels to the processes that do them."""

    @property
    def folder(self) -> Path:
        """Where claims and products lie."""

    def waiting(self) -> Iterable[str]:
        """Return the names of the tasks without a product, the most urgent first; usable as names of files."""

    def is_done(self, name: str) -> bool:
        """Return whether a task has its product."""

    def do(self, name: str) -> None:
        """Do a task: its product appears whole or not at all."""


def do_tasks(
    tasks: Tasks,
    *,
    observe: Callable[[str], None] = lambda _name: None,
    go_on: Callable[[], bool] = lambda: True,
    stay: bool = False,
) -> int:
    """Do what waits, one task at a time, until nothing waits that nobody is at; return how many were done here.

    Parameters
    ----------
    tasks : Tasks
        What is waiting is asked again after each: others finish and ask for more meanwhile.
    observe : callable
        Called with the name of each that was done here.
    go_on : callable
        Whether to begin another.
    stay : bool
        Stay until the others are done, too, and do what they leave.

    Raises
    ------
    InputError
        If the folder cannot be written.
    """
    try:
        (tasks.folder / "claims").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{tasks.folder}: cannot be written ({error.strerror}); choose another place") from None
    claims, done = Claims(tasks.folder / "claims"), 0
    with Heartbeat() as heartbeat:
        while go_on():
            claimed, is_all = _claimed(tasks, claims)
            if claimed is None:
                if is_all or not stay:
                    break
                time.sleep(_LOOK_AGAIN_s)
                continue
            name, claim = claimed
            heartbeat.add(claim)
            try:
                # It may have been done since we looked.
                if not tasks.is_done(name):
                    tasks.do(name)
                    done += 1
                    observe(name)
            finally:
                heartbeat.release(claim)
    _sweep(tasks, claims)
    return done


def _sweep(tasks: Tasks, claims: Claims) -> None:
    """Remove claims that the dead left on what they had done."""
    for path in (tasks.folder / "claims").glob("[!.]*.json"):
        if tasks.is_done(path.stem) and (claim := claims.take(path.stem)) is not None:
            claim.release()


def _claimed(tasks: Tasks, claims: Claims) -> tuple[tuple[str, Claim] | None, bool]:
    """Return a task that was claimed now, if there is one, and whether none waits at all."""
    is_all = True
    for name in tasks.waiting():
        is_all = False
        if (claim := claims.take(name)) is not None:
            return (name, claim), False
    return None, is_all


def processes_for(*wanted: int | None) -> int:
    """Return the first number that is given; by default one process per core that this one may use."""
    return next(filter(None, wanted), None) or len(os.sched_getaffinity(0))


def share_tasks(
    tasks: Tasks,
    *,
    workers: int,
    observe: Callable[[str], None] = lambda _name: None,
    until: float = math.inf,
) -> None:
    """Do all that waits on some processes, and stay until what others are at is done, too.

    Parameters
    ----------
    tasks : Tasks
    workers : int
    observe : callable
        Called with the name of each that was done here.
    until : float
        Seconds since the epoch from which none is begun any more.

    Raises
    ------
    ProcessEndedError
        If processes were killed and nobody was left to do their tasks.
    CascadeError
        That a task raised.
    """
    if workers == 1:
        _do_until(observe, tasks, until)
        return
    ended = side_by_side(_do_until, tasks, until, processes=workers, tell=observe)
    if ended and any(True for _ in tasks.waiting()):
        raise ended[0]


def _do_until(say: Callable[[str], None], tasks: Tasks, until: float) -> None:
    do_tasks(tasks, observe=say, go_on=lambda: time.time() < until, stay=True)
