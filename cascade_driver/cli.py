"""The command `cascade`: one verb, one library call.

Exit codes: 0 done, 1 an error of ours (with its traceback), 2 something that the user can mend (one line),
130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from cascade_driver import __version__
from cascade_driver.commands import campaigns, potentials, relaxation, spectra, training
from cascade_driver.errors import CascadeError, InputError

_EXIT_USER, _EXIT_INTERRUPTED = 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    # One thread per process: a cascade per core is faster than a cascade on all cores.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    signal.signal(signal.SIGTERM, interrupt)
    try:
        parser = _parser()
        chosen = parser.parse_args(arguments)
        if not hasattr(chosen, "command"):
            parser.print_help()
            return _EXIT_USER
        result: int = chosen.command(chosen)
    except CascadeError as error:
        print(f"cascade: {error}", file=sys.stderr)
        return _EXIT_USER
    except KeyboardInterrupt:
        print("cascade: interrupted; the same command continues where it stopped", file=sys.stderr)
        return _EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of our output (head, less) has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return result


def interrupt(_signal: int, _frame: object) -> None:
    """Treat a SIGTERM as a Ctrl-C: finish what must be finished, free what others can take."""
    raise KeyboardInterrupt


class _Parser(argparse.ArgumentParser):
    """A parser whose complaints are one line, like all others; sub-parsers are of its kind."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see `{self.prog} --help`")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="cascade",
        description="From a knocked-on atom to the spectrum that a cryogenic detector really records.",
    )
    parser.add_argument("--version", action="version", version=f"cascade_driver {__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB")
    for room in (campaigns, spectra, relaxation, potentials, training):
        room.add_to(verbs)
    return parser
