"""A function in a process of its own: an engine that crashes or leaves takes nobody along, and it is said how."""

from __future__ import annotations

import multiprocessing
import signal
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from cascade_driver.errors import CascadeError, EngineError, told

T = TypeVar("T")

#: To tidy up after an interruption.
_GRACE_s = 5.0

#: What a process sends: something for `tell`, what the function returned, or its complaint.
_SAID, _DONE, _FAILED = range(3)


class ProcessEndedError(EngineError):
    """A process that ended before its work did."""


@contextmanager
def without_main() -> Iterator[None]:
    """Start processes that do not import the caller's script again, while the context lasts.

    A new process of `multiprocessing` begins with the main module of its parent, which for a script without
    `if __name__ == "__main__":` means to do all of it again. Ours need nothing of it.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def apart(work: Callable[..., T], *arguments: Any, tell: Callable[[Any], None] | None = None) -> T:
    """Return what `work(say, *arguments)` returns in a process of its own.

    Parameters
    ----------
    work : callable
        Found by its module and name; what it says by calling `say` is handed to `tell` meanwhile.
    *arguments
        Travel to the process.
    tell : callable, optional
        Hears what the function says.

    Raises
    ------
    ProcessEndedError
        If the process ended before.
    CascadeError
        That the function raised, with its words.
    """
    context = multiprocessing.get_context("spawn")
    answer, child_end = context.Pipe(duplex=False)
    child = context.Process(target=_work_and_answer, args=(child_end, work, arguments), daemon=True)
    with without_main():
        child.start()
    child_end.close()
    try:
        while True:
            kind, content = answer.recv()
            if kind == _DONE:
                return content  # type: ignore[no-any-return]
            if kind == _FAILED:
                raise CascadeError(content)
            if tell is not None:
                tell(content)
    except KeyboardInterrupt:
        child.join(_GRACE_s)  # it was interrupted, too, and tidies up
        raise
    except (EOFError, OSError):  # its end of the pipe is closed, perhaps in the middle of a message
        child.join()
        raise ProcessEndedError(f"the engine ended its process: {_how(child.exitcode)}") from None
    finally:
        child.terminate()
        child.join()
        answer.close()


def _work_and_answer(answer: Connection, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    try:
        result = work(lambda said: answer.send((_SAID, said)), *arguments)
    except KeyboardInterrupt:
        pass  # the parent says so
    except Exception as error:
        if (line := told(error)) is None:
            raise
        answer.send((_FAILED, line))
    else:
        answer.send((_DONE, result))


def _how(code: int | None) -> str:
    return f"signal {signal.Signals(-code).name}" if code is not None and code < 0 else f"exit code {code}"
