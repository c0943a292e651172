"""The command `cascade`: one verb, one library call.

Exit codes: 0 done; 1 the answer is no (a potential that fails a check, a damaged run, a cascade that came out
differently, cascades that allow no fit), or an error of ours with its traceback; 2 something that the user can
mend, in one line; 3 sound, but not all checks could be run; 130 interrupted.

Little is imported here: a Ctrl-C finds `main` at work, which answers it in one line, as early as Python allows.
"""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Sequence

from cascade_driver.errors import told
from cascade_driver.text import one_line, speak_everywhere

_EXIT_USER, _EXIT_INTERRUPTED = 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    try:
        try:
            return _answered(arguments)
        finally:
            # Here, where a full disk or a reader that has gone can be answered.
            if sys.stdout is not None:
                sys.stdout.flush()
    except KeyboardInterrupt:
        _complain("interrupted; the same command continues where it stopped")
        return _EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of our output (head, less) has seen enough.
        _discard_output()
        return 0
    except Exception as error:
        if (line := told(error)) is None:
            raise
        _complain(line)
        _discard_output()
        return _EXIT_USER


def _answered(arguments: Sequence[str] | None) -> int:
    # One thread per process: a cascade per core is faster than a cascade on all cores.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Processes that it starts import what is installed, not what lies in the current directory by such a name.
    os.environ.setdefault("PYTHONSAFEPATH", "1")
    signal.signal(signal.SIGTERM, interrupt)
    from cascade_driver.commands.parser import make_parser

    speak_everywhere()
    warnings.showwarning = _note
    _of_arithmetic.clear()
    parser = make_parser()
    chosen = parser.parse_args(arguments)
    if not hasattr(chosen, "command"):
        print(parser.format_help(), end="")
        return _EXIT_USER
    result: int = chosen.command(chosen)
    for message in _of_arithmetic:
        _say(message)
    return result


def _complain(line: str) -> None:
    print(f"cascade: {one_line(line)}", file=sys.stderr)


#: What arithmetic complained of; it waits for the end, where a refusal that names the cause takes its place.
_of_arithmetic: list[str] = []


def _note(message: Warning | str, category: type[Warning] = UserWarning, *_where: object, **_more: object) -> None:
    """Say a library's warning as we say ours: in one line, without its place in the code."""
    if issubclass(category, RuntimeWarning):
        _of_arithmetic.append(str(message))
    else:
        _say(str(message))


def _say(message: str) -> None:
    print(f"note: {one_line(message)}", file=sys.stderr)


def _discard_output() -> None:
    """Keep Python from writing at its end what could not be written before."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def interrupt(_signal: int, _frame: object) -> None:
    """Treat a SIGTERM as a Ctrl-C: finish what must be finished, free what others can take."""
    raise KeyboardInterrupt
