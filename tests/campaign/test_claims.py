"""Claims are exclusive, and a dead worker's claim is taken over."""

import json
import multiprocessing
import os
import subprocess
import sys
import time

import pytest
from fake_engine import take_all_claims

from cascade_driver.campaign import claims as module
from cascade_driver.campaign.claims import Claims, Heartbeat


def owner(**changes) -> str:
    return json.dumps(json.loads(module._owner_text()) | changes)


def test_a_claim_is_exclusive_until_it_is_released(tmp_path):
    mine = Claims(tmp_path).take("a")
    assert mine is not None
    assert Claims(tmp_path).take("a") is None
    assert Claims(tmp_path).take("b") is not None
    mine.release()
    assert Claims(tmp_path).take("a") is not None


def test_a_claim_says_who_holds_it(tmp_path):
    mine = Claims(tmp_path).take("a")
    content = json.loads(mine.path.read_text())
    assert content["pid"] == os.getpid()
    assert {"host", "process_start", "job", "place"} <= set(content)


def test_the_claim_of_a_dead_process_is_taken_over(tmp_path):
    code = "import pathlib, sys; from cascade_driver.campaign.claims import Claims"
    code += "; Claims(pathlib.Path(sys.argv[1])).take('a')"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    assert (tmp_path / "a.json").exists()
    assert Claims(tmp_path).take("a") is not None


def test_a_reused_pid_does_not_keep_a_claim_alive(tmp_path):
    (tmp_path / "a.json").write_text(owner(process_start="1"))
    assert Claims(tmp_path).take("a") is not None


def test_the_claim_of_another_machine_lives_by_its_heartbeat(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(owner(place="elsewhere", pid=1))
    assert Claims(tmp_path).take("a") is None
    assert Claims(tmp_path).living() == ["a"]
    long_ago = time.time() - module.DEAD_AFTER_s - 5
    os.utime(path, (long_ago, long_ago))
    assert Claims(tmp_path).living() == []
    assert Claims(tmp_path).take("a") is not None


def test_a_clock_set_back_only_delays(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    path.write_text(owner(place="elsewhere", pid=1))
    future = time.time() + 86400
    os.utime(path, (future, future))
    watcher = Claims(tmp_path)
    assert watcher.take("a") is None
    clock = time.monotonic
    monkeypatch.setattr(module.time, "monotonic", lambda: clock() + module.DEAD_AFTER_s + 1)
    assert watcher.take("a") is not None


def test_a_process_that_is_stopped_for_good_loses_its_claim_and_a_machine_that_slept_does_not(
    tmp_path, monkeypatch
):
    mine = Claims(tmp_path).take("a")
    watcher = Claims(tmp_path)
    long_ago = time.time() - 100 * module.DEAD_AFTER_s
    os.utime(mine.path, (long_ago, long_ago))
    # An old heartbeat of a process that is there: the machine may have slept, and we with it.
    assert watcher.take("a") is None
    clock = time.monotonic
    monkeypatch.setattr(module.time, "monotonic", lambda: clock() + module.DEAD_AFTER_s + 1)
    theirs = watcher.take("a")
    assert theirs is not None
    # The old owner goes on, and keeps its hands off.
    assert mine.touch() is False
    mine.release()
    assert theirs.touch() is True
    assert mine.path.read_text() == theirs.text


def test_a_heartbeat_lets_go_of_what_was_taken_over(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "HEARTBEAT_s", 0.02)
    mine = Claims(tmp_path).take("a")
    with Heartbeat() as beat:
        beat.add(mine)
        mine.path.write_text("another owner")
        os.utime(mine.path, (1, 1))
        time.sleep(0.2)
        assert mine.path.stat().st_mtime == 1
        assert not beat._claims


def test_a_claim_is_not_taken_over_through_a_link(tmp_path):
    target = tmp_path / "mine"
    target.write_text("mine")
    claims = tmp_path / "claims"
    claims.mkdir()
    (claims / "a.json").symlink_to(target)
    os.utime(target, (1, 1))
    assert Claims(claims).take("a") is not None
    assert target.read_text() == "mine"


def test_a_claim_without_content_dies_soon(tmp_path):
    path = tmp_path / "a.json"
    path.touch()
    assert Claims(tmp_path).take("a") is None
    ago = time.time() - module.HEARTBEAT_s - 5
    os.utime(path, (ago, ago))
    assert Claims(tmp_path).take("a") is not None


def test_a_late_release_leaves_the_new_owner_alone(tmp_path):
    mine = Claims(tmp_path).take("a")
    mine.path.write_text(owner(place="elsewhere"))
    mine.release()
    assert mine.path.exists()


def test_the_right_to_take_over_is_itself_taken_over(tmp_path):
    dead = owner(process_start="1")
    (tmp_path / "a.json").write_text(dead)
    right = tmp_path / f".takeover-{module.digest(['a.json', dead])}.json"
    right.write_text(owner(process_start="2"))
    assert Claims(tmp_path).take("a") is not None
    assert not right.exists()


def test_a_heartbeat_touches_until_released(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "HEARTBEAT_s", 0.01)
    mine = Claims(tmp_path).take("a")
    os.utime(mine.path, (0, 0))
    with Heartbeat() as beat:
        beat.add(mine)
        deadline = time.monotonic() + 5
        while mine.path.stat().st_mtime == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert mine.path.stat().st_mtime > 0
        beat.release(mine)
    assert not mine.path.exists()


@pytest.mark.parametrize("abandoned", [False, True])
def test_of_several_takers_exactly_one_gets_a_claim(tmp_path, abandoned):
    if abandoned:
        for k in range(200):
            (tmp_path / f"{k}.json").write_text(owner(process_start="1"))
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(3), context.Queue()
    takers = [context.Process(target=take_all_claims, args=(tmp_path, barrier, results)) for _ in range(3)]
    for taker in takers:
        taker.start()
    got = [results.get(timeout=180) for _ in takers]
    for taker in takers:
        taker.join()
    assert sorted(k for part in got for k in part) == list(range(200))
