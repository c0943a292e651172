"""A function in a process of its own: an engine that crashes or leaves takes nobody along, and it is said how."""

from __future__ import annotations

import multiprocessing
import signal
import sys
import threading
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar, cast

from cascade_driver.errors import CascadeError, EngineError, told

T = TypeVar("T")

_INTERRUPTIONS = (signal.SIGINT, signal.SIGTERM)

#: To tidy up after an interruption.
_GRACE_s = 5.0

#: What a process sends: something for `tell`, what the function returned, or its complaint.
_SAID, _DONE, _FAILED = range(3)


class ProcessEndedError(EngineError):
    """A process that ended before its work did."""


def start_whole(process: BaseProcess) -> None:
    """Start a process that does not import the caller's script again, and that no interruption cuts in two.

    A new process of `multiprocessing` begins with the main module of its parent, which for a script without
    `if __name__ == "__main__":` means to do all of it again. Ours need nothing of it. And what a new process, or
    the server that forks it, is told comes through a pipe: of half a message it complains with a traceback.
    """
    # It starts with the first process, and makes this one hear interruptions again.
    resource_tracker.ensure_running()
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        with interruptions_wait():
            process.start()
    finally:
        sys.modules["__main__"] = main


@contextmanager
def interruptions_wait() -> Iterator[None]:
    """Answer Ctrl-C and SIGTERM after the context, not in its middle; processes that start in it hear neither."""
    came: list[int] = []
    is_main = threading.current_thread() is threading.main_thread()  # no other answers signals
    before = {s: signal.signal(s, lambda number, _: came.append(number)) for s in _INTERRUPTIONS if is_main}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _INTERRUPTIONS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, answer in before.items():
            signal.signal(number, answer or signal.SIG_DFL)
        if came:
            signal.raise_signal(came[0])


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
    child = _Child(work, arguments)
    try:
        while True:
            kind, content = child.answer.recv()
            if kind == _DONE:
                return content  # type: ignore[no-any-return]
            if kind == _FAILED:
                raise CascadeError(content)
            if tell is not None:
                tell(content)
    except KeyboardInterrupt:
        child.process.join(_GRACE_s)  # it was interrupted, too, and tidies up
        raise
    except (EOFError, OSError):  # its end of the pipe is closed, perhaps in the middle of a message
        raise child.ended() from None
    finally:
        child.end()


def side_by_side(
    work: Callable[..., object], *arguments: Any, processes: int, tell: Callable[[Any], None]
) -> list[ProcessEndedError]:
    """Let some processes do `work(say, *arguments)` each; return what became of those that ended before.

    The others go on: what the work is made of must not be lost with one of them.

    Raises
    ------
    CascadeError
        That one of them raised; the others are ended.
    """
    children: list[_Child] = []
    lost = []
    try:
        children += (_Child(work, arguments) for _ in range(processes))
        at_work = {child.answer: child for child in children}
        while at_work:
            for answer in cast("list[Connection]", wait(list(at_work))):
                try:
                    kind, content = answer.recv()
                except (EOFError, OSError):
                    lost.append(at_work.pop(answer).ended())
                    continue
                if kind == _FAILED:
                    raise CascadeError(content)
                if kind == _DONE:
                    del at_work[answer]
                else:
                    tell(content)
    finally:
        for child in children:
            child.end()
    return lost


class _Child:
    """A process that works and answers."""

    def __init__(self, work: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        context = multiprocessing.get_context("spawn")
        self.answer, child_end = context.Pipe(duplex=False)
        self.process = context.Process(target=_work_and_answer, args=(child_end, work, arguments), daemon=True)
        start_whole(self.process)
        child_end.close()

    def ended(self) -> ProcessEndedError:
        """Return how the process ended before its work did."""
        self.process.join()
        return ProcessEndedError(f"the engine ended its process: {_how(self.process.exitcode)}")

    def end(self) -> None:
        """End the process if it is at work."""
        self.process.terminate()
        self.process.join()
        self.answer.close()


def _work_and_answer(answer: Connection, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _INTERRUPTIONS)  # one that came while it started counts now
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
