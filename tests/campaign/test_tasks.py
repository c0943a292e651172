"""Tasks of a folder: each is done once, and who is killed costs nothing."""

import subprocess
import sys
import time

import pytest
from work_apart import Files

from cascade_driver.campaign.tasks import do_tasks, share_tasks
from cascade_driver.simulation.apart import ProcessEndedError

NAMES = tuple(f"task-{i}" for i in range(8))


def doers(files: Files) -> list[list[str]]:
    """Return by which processes each task was done."""
    return [(files.folder / name).read_text().split() for name in files.names]


def test_two_processes_do_each_task_once(tmp_path):
    files, said = Files(tmp_path, NAMES), []
    share_tasks(files, workers=2, observe=said.append)
    assert sorted(said) == sorted(NAMES)
    assert all(len(by) == 1 for by in doers(files))


@pytest.mark.parametrize("workers", [1, 2])
def test_after_the_deadline_none_is_begun(tmp_path, workers):
    files = Files(tmp_path, NAMES)
    share_tasks(files, workers=workers, until=time.time() - 1)
    assert list(files.waiting()) == list(NAMES)
    share_tasks(files, workers=workers, until=time.time() + 600)
    assert list(files.waiting()) == []


def test_the_tasks_of_a_killed_process_are_done_by_the_others(tmp_path):
    files = Files(tmp_path, NAMES, fatal="task-3", deaths=1)
    share_tasks(files, workers=2)
    assert all(len(by) == 1 for by in doers(files))
    assert (tmp_path / "deaths").read_text() == "xx"


def test_negative_control_a_task_that_kills_everybody_is_told(tmp_path):
    with pytest.raises(ProcessEndedError, match="SIGKILL"):
        share_tasks(Files(tmp_path, NAMES, fatal="task-3", deaths=99), workers=2)
    assert (tmp_path / "deaths").read_text() == "xx"


def test_what_a_living_process_is_at_is_left_alone_and_a_dead_claim_is_taken_over(tmp_path):
    files = Files(tmp_path, NAMES)
    (tmp_path / "claims").mkdir()
    code = (
        "import sys; from pathlib import Path; from cascade_driver.campaign.claims import Claims\n"
        "assert Claims(Path(sys.argv[1])).take('task-0'); print('claimed', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "claims")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdout.readline() == "claimed\n"
    assert do_tasks(files) == len(NAMES) - 1
    assert files.waiting() == ["task-0"]
    other.kill()
    other.communicate()
    assert do_tasks(files) == 1
