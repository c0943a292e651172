"""How far flights are: what a task in progress says of itself, for those who wait for it."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cascade_driver.simulation.engine import Onlooker

#: The shortest time between two notes.
_EVERY_s = 2.0

_SUFFIX = ".ps"


@dataclass(kw_only=True)
class FlightNotes:
    """An onlooker that notes the time of a flight now and then, beside another one that sees every step.

    Attributes
    ----------
    logs : pathlib.Path
        Folder of the logs of a run.
    name : str
        Of the task.
    of_ps : float
        When the flight ends at the latest: noted in any case, as a quench may take long.
    beside : Onlooker, optional
    """

    logs: Path
    name: str
    of_ps: float
    beside: Onlooker | None = None

    def __post_init__(self) -> None:
        self._next_s = 0.0

    def __call__(
        self, *, time_ps: float, pka: int, ids: NDArray[np.int32], positions_A: NDArray[np.float64]
    ) -> None:
        """Look at a step; see `Onlooker`."""
        now_s = time.monotonic()
        if now_s >= self._next_s or time_ps >= self.of_ps:
            self._next_s = now_s + _EVERY_s
            with suppress(OSError):  # a note that cannot be made stops no flight
                _write(self.logs / f"{self.name}{_SUFFIX}", f"{time_ps:.3f}\n")
        if self.beside is not None:
            self.beside(time_ps=time_ps, pka=pka, ids=ids, positions_A=positions_A)


def _write(path: Path, text: str) -> None:
    # A link may lead anywhere.
    descriptor = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_NOFOLLOW, 0o644)
    with os.fdopen(descriptor, "w", encoding="ascii") as stream:
        stream.write(text)


def flown_ps(logs: Path, name: str) -> float | None:
    """Return how far the flight of a task was when it last said so, in ps; None if it has not."""
    try:
        return float((logs / f"{name}{_SUFFIX}").read_text(encoding="ascii"))
    except (OSError, ValueError):  # not there, or half written
        return None


def forget_flight(logs: Path, name: str) -> None:
    """Remove the note of a task that has ended."""
    with suppress(OSError):
        (logs / f"{name}{_SUFFIX}").unlink(missing_ok=True)


def flights_said(flown: dict[str, float], *, of_ps: float) -> str:
    """Return how far flights are, in words; nothing if none has said so. The last step may pass the end.

    >>> flights_said({"a": 0.5, "b": 3.25}, of_ps=8), flights_said({"a": 0.5}, of_ps=8), flights_said({}, of_ps=8)
    ('in flight: 0.50 to 3.25 of 8 ps', 'in flight: 0.50 of 8 ps', '')
    >>> flights_said({"a": 8.01}, of_ps=8), flights_said({"a": 2, "b": 8.01}, of_ps=8)
    ('at the quench, after 8 ps', 'in flight: 2.00 to 8.00 of 8 ps')
    """
    if not flown:
        return ""
    least, most = (min(f(flown.values()), of_ps) for f in (min, max))
    if least >= of_ps:
        return f"at the quench, after {of_ps:g} ps"
    ends = dict.fromkeys((f"{least:.2f}", f"{most:.2f}"))
    return f"in flight: {' to '.join(ends)} of {of_ps:g} ps"
