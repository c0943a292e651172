"""The log of a worker: who looks for what went wrong finds it, at the level that was asked for."""

import logging

import pytest
from fake_engine import LOSES_ATOMS, a_campaign, a_run, work_of

from cascade_driver.campaign.executors import Serial
from cascade_driver.campaign.work_log import LEVEL, work_log
from cascade_driver.errors import InputError


def lines_of(run, monkeypatch, level):
    if level is not None:
        monkeypatch.setenv(LEVEL, level)
    with work_log(run.logs) as path:
        Serial().work(work_of(run), lambda _: None)
    return path.read_text().splitlines()


@pytest.mark.parametrize(
    ("level", "said"),
    [
        (None, {"INFO", "WARNING"}),
        ("debug", {"DEBUG", "INFO", "WARNING"}),
        ("warning", {"WARNING"}),
        ("error", set()),
    ],
)
def test_a_log_holds_what_its_level_says(tmp_path, monkeypatch, level, said):
    run = a_run(tmp_path, a_campaign(energies=(50, LOSES_ATOMS), directions=1, snapshots=1))
    lines = lines_of(run, monkeypatch, level)
    assert {line.split()[2] for line in lines} == said
    failed = [line for line in lines if "lost_atoms" in line]
    assert len(failed) == ("WARNING" in said)
    if level is None:
        assert "begun: 0 of 2 cascades are finished" in lines[0]
        assert "ended: 2 cascades finished here, 2 in all" in lines[-1]
    assert logging.getLogger("cascade_driver").handlers == []


def test_a_level_that_is_none_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv(LEVEL, "loud")
    with pytest.raises(InputError, match="CASCADE_LOG=loud: no level; there are debug, info"), work_log(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []
