"""The log of a worker: what it started, what ended and how, what was tried again; with levels."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cascade_driver.errors import InputError

#: The variable of the environment that names the level.
LEVEL = "CASCADE_LOG"

#: From the most to the least that is said.
LEVELS = ("debug", "info", "warning", "error")

#: All of the package log under its name, so that a program around it can listen, too.
_LOGGER = logging.getLogger("cascade_driver")


@contextmanager
def work_log(folder: Path) -> Iterator[Path]:
    """Write what is logged to `folder/work-<host>-<process>.log` while the context lasts.

    Raises
    ------
    InputError
        If `CASCADE_LOG` names no level.
    OSError
        If the file cannot be written.
    """
    level = os.environ.get(LEVEL, "info").lower()
    if level not in LEVELS:
        raise InputError(f"{LEVEL}={level}: no level; there are {', '.join(LEVELS)}")
    path = folder / f"work-{socket.gethostname()}-{os.getpid()}.log"
    # A link may lead anywhere.
    descriptor = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY | os.O_NOFOLLOW, 0o644)
    with os.fdopen(descriptor, "a", encoding="utf-8", errors="backslashreplace") as stream:
        handler = logging.StreamHandler(stream)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        before = _LOGGER.level
        _LOGGER.addHandler(handler)
        _LOGGER.setLevel(level.upper())
        try:
            yield path
        finally:
            _LOGGER.removeHandler(handler)
            _LOGGER.setLevel(before)
