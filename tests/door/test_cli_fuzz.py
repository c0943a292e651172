"""A thousand bad inputs over all verbs: one line each, or a result without nan; no traceback, and no hang."""

import json
import subprocess
import sys
from pathlib import Path

import fuzz
import pytest

from cascade_driver import cli

TRIALS, CHUNK = 1000, 100

HERE = Path(__file__).parents[1]


def has_a_cage() -> bool:
    probe = ["sh", str(HERE / "in_a_cage.sh"), "true"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


@pytest.fixture(scope="module")
def cage():
    if not has_a_cage():
        pytest.skip("needs the right to unshare mounts and processes")


def run_trials(first: int, last: int) -> list[dict]:
    """Run trials in the cage; return what is wrong, and that all were done."""
    command = ["sh", str(HERE / "in_a_cage.sh"), sys.executable, str(HERE / "fuzz.py"), "/tmp/fuzz"]
    done = subprocess.run([*command, str(first), str(last)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    *wrong, end = map(json.loads, done.stdout.splitlines())
    assert end["done"] == last - first
    return [*wrong, end]


@pytest.mark.torture
@pytest.mark.usefixtures("cage")
def test_negative_control_every_command_is_good_before_it_is_spoilt():
    *wrong, end = run_trials(-len(fuzz.COMMANDS), 0)
    assert wrong == []
    assert end["ends"] == {"0": len(fuzz.COMMANDS)}


@pytest.mark.torture
@pytest.mark.usefixtures("cage")
@pytest.mark.parametrize("first", range(0, TRIALS, CHUNK))
def test_bad_input_is_one_line_or_a_result_without_nan(first):
    *wrong, end = run_trials(first, first + CHUNK)
    assert wrong == []
    assert end["ends"].get("2", 0) > CHUNK // 3, "hardly anything was spoilt"


def a_bug(_):
    raise IndexError


def a_silent_nan(_):
    Path("x.csv").write_text("1,nan\n")
    return 0


def an_endless_loop(_):
    while True:
        pass


def two_lines(_):
    print("cascade: one\nand another", file=sys.stderr)
    return 2


def an_unknown_code(_):
    return 3


def one_line(_):
    print("cascade: one", file=sys.stderr)
    return 2


@pytest.mark.parametrize(
    ("end", "verdict"),
    [
        (a_bug, "traceback"),
        (a_silent_nan, "nan in x.csv"),
        (an_endless_loop, "hangs"),
        (two_lines, "2 lines of complaint"),
        (an_unknown_code, "exit code 3"),
        (one_line, None),
    ],
)
def test_negative_control_the_fuzzer_sees_what_it_looks_for(monkeypatch, tmp_path, end, verdict):
    monkeypatch.setattr(cli, "main", end)
    monkeypatch.setattr(fuzz, "LIMIT_cpu_s", 1)
    (tmp_path / "place").mkdir()
    wrong = fuzz.run_trial(fuzz.Trial(1, ["draw"]), [], tmp_path / "place", tmp_path / "work")
    assert (wrong and wrong["wrong"]) == verdict
