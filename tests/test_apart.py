"""Work in a process of its own: its results, its complaints, and how it ended if it did not come back."""

import os
import signal

import pytest

from cascade_driver.errors import CascadeError, InputError
from cascade_driver.simulation.apart import ProcessEndedError, apart


def count(say, most: int) -> int:
    for number in range(most):
        say(number)
    return os.getpid()


def complain(say, words: str) -> None:
    say("before")
    raise InputError(words)


def leave(say, how: str) -> None:
    say("before")
    if how == "quit":
        os._exit(7)
    os.kill(os.getpid(), getattr(signal, how))


def test_what_is_done_apart_is_told_and_returned():
    heard = []
    assert apart(count, 3, tell=heard.append) != os.getpid()
    assert heard == [0, 1, 2]


def test_a_complaint_comes_back_as_it_was():
    with pytest.raises(CascadeError, match=r"^no such thing$"):
        apart(complain, "no such thing")


ENDS = [("quit", "exit code 7"), ("SIGSEGV", "signal SIGSEGV"), ("SIGABRT", "signal SIGABRT")]


@pytest.mark.parametrize(("how", "words"), ENDS)
def test_a_process_that_ends_is_one_line(how, words):
    heard = []
    with pytest.raises(ProcessEndedError, match=rf"^the engine ended its process: {words}$"):
        apart(leave, how, tell=heard.append)
    assert heard == ["before"]
