"""Work in a process of its own: its results, its complaints, and how it ended if it did not come back."""

import math
import os
import signal

import pytest
from work_apart import complain, count, evaluate, leave

from cascade_driver.errors import CascadeError
from cascade_driver.schema import file_sha256
from cascade_driver.simulation.apart import ProcessEndedError, apart, interruptions_wait, start_whole
from cascade_driver.simulation.potential import copy, load_potential


def test_what_is_done_apart_is_told_and_returned():
    heard = []
    assert apart(count, 3, tell=heard.append) != os.getpid()
    assert heard == [0, 1, 2]


def test_a_complaint_comes_back_as_it_was():
    with pytest.raises(CascadeError, match=r"^no such thing$"):
        apart(complain, "no such thing")


class Interrupted:
    """A process in whose start an interruption falls."""

    def __init__(self, number):
        self.number = number
        self.is_started = False

    def start(self):
        signal.raise_signal(self.number)
        self.is_started = True


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_comes_after_the_start_of_a_process(number):
    def interrupt(_number, _frame):
        raise KeyboardInterrupt

    before = signal.signal(number, interrupt)
    process = Interrupted(number)
    try:
        with pytest.raises(KeyboardInterrupt):
            process.start()
        assert not process.is_started
        with pytest.raises(KeyboardInterrupt):
            start_whole(process)
        assert process.is_started
        process.is_started = False
        with pytest.raises(KeyboardInterrupt), interruptions_wait():
            process.start()
        assert process.is_started
        assert signal.getsignal(number) is interrupt
    finally:
        signal.signal(number, before)


ENDS = [("quit", "exit code 7"), ("SIGSEGV", "signal SIGSEGV"), ("SIGABRT", "signal SIGABRT")]


@pytest.mark.parametrize(("how", "words"), ENDS)
def test_a_process_that_ends_is_one_line(how, words):
    heard = []
    with pytest.raises(ProcessEndedError, match=rf"^the engine ended its process: {words}$"):
        apart(leave, how, tell=heard.append)
    assert heard == ["before"]


def test_a_file_that_takes_lammps_down_is_one_line(tmp_path):
    # LAMMPS makes a string from a null pointer where a file for `uf3` ends early.
    folder = tmp_path / "torn"
    copy(load_potential("cawo4-pbe-spline"), out=folder)
    assert math.isfinite(apart(evaluate, folder))
    torn, about = folder / "cawo4-pbe-spline.uf3", folder / "potential.toml"
    before = file_sha256(torn)
    torn.write_text(torn.read_text()[: torn.stat().st_size // 2])
    about.write_text(about.read_text().replace(before, file_sha256(torn)))
    with pytest.raises(ProcessEndedError, match=r"^the engine ended its process: signal SIGABRT$"):
        apart(evaluate, folder)
