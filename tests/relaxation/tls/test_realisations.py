"""Realisations on disk: the same from any number of processes, resumed, refused where they do not fit."""

import signal
import subprocess
import sys

import numpy as np
import pytest

from cascade_driver.errors import InputError, RecordError
from cascade_driver.relaxation.tls import realisations
from cascade_driver.relaxation.tls.glass import Annealing, Glass
from cascade_driver.relaxation.tls.realisations import GlassRun, load_run, make_realisations, summarise

RUN = GlassRun(
    glass=Glass(size=4, interaction_K=2.0),
    annealing=Annealing(temperatures=8, sweeps=5, measured_K=(0.1, 1.0)),
    seed=3,
)


def test_two_processes_and_a_resumed_run_give_the_same(tmp_path):
    seen = []
    make_realisations(RUN, tmp_path / "serial", realisations=4, workers=1, observe=lambda *n: seen.append(n))
    assert seen == [(k, 4) for k in range(5)]
    make_realisations(RUN, tmp_path / "pool", realisations=2, workers=1)
    before = (tmp_path / "pool/realisations/000001.npz").stat().st_mtime_ns
    (tmp_path / "pool/realisations/000000.npz").unlink()
    make_realisations(RUN, tmp_path / "pool", realisations=4, workers=2)
    assert (tmp_path / "pool/realisations/000001.npz").stat().st_mtime_ns == before
    one, two = summarise(tmp_path / "serial"), summarise(tmp_path / "pool")
    np.testing.assert_array_equal(one.density.counts, two.density.counts)
    assert one.density.counts.sum(axis=1).tolist() == [4 * 32] * 3
    assert one.density.temperature_K.tolist() == [1.0, 0.1, 0.0]
    assert one.realisations == 4
    assert one.hours_of_paper(2) == pytest.approx(1e4 * one.seconds / 7200)
    assert load_run(tmp_path / "pool") == RUN


def started(folder, number):
    """Return a process that makes realisations of their own size, some 0.1 s each."""
    code = (
        "import sys; from pathlib import Path\n"
        "from cascade_driver.relaxation.tls.realisations import GlassRun, make_realisations, load_run\n"
        "folder, number = Path(sys.argv[1]), int(sys.argv[2])\n"
        "make_realisations(load_run(folder), folder, realisations=number, workers=1,"
        " observe=lambda done, of: print(done, flush=True))"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, str(folder), str(number)], stdout=subprocess.PIPE, text=True
    )


def test_two_drivers_of_one_folder_make_no_realisation_twice(tmp_path, monkeypatch):
    make_realisations(RUN, tmp_path, realisations=1, workers=1)
    other = started(tmp_path, 24)
    assert other.stdout.readline()
    mine = []
    make_one = realisations.make_one
    monkeypatch.setattr(
        realisations, "make_one", lambda run, folder, index: (mine.append(index), make_one(run, folder, index))
    )
    make_realisations(RUN, tmp_path, realisations=24, workers=1)
    theirs = len(other.communicate(timeout=600)[0].split())  # a line at the start, and one for each
    assert len(set(mine)) == len(mine)
    assert (len(mine) + theirs, summarise(tmp_path).realisations) == (24 - 1, 24)


def test_a_driver_killed_at_work_loses_nothing_and_its_claim_is_taken_over(tmp_path):
    make_realisations(RUN, tmp_path / "quiet", realisations=12, workers=1)
    make_realisations(RUN, tmp_path / "run", realisations=1, workers=1)
    victim = started(tmp_path / "run", 12)
    assert [victim.stdout.readline() for _ in range(3)][-1]
    victim.send_signal(signal.SIGKILL)
    victim.communicate()
    # It may have died between two tasks; one that died at a task leaves its claim.
    code = "import sys; from pathlib import Path; from cascade_driver.campaign.claims import Claims; "
    code += "assert Claims(Path(sys.argv[1])).take('000011')"
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "run" / "claims")], check=True)
    assert (tmp_path / "run" / "claims" / "000011.json").is_file()
    make_realisations(RUN, tmp_path / "run", realisations=12, workers=2)
    assert not list((tmp_path / "run" / "claims").glob("*.json"))
    one, two = summarise(tmp_path / "quiet"), summarise(tmp_path / "run")
    np.testing.assert_array_equal(one.density.counts, two.density.counts)
    assert not list((tmp_path / "run" / "realisations").glob(".*"))


def test_another_glass_or_a_foreign_folder_is_refused(tmp_path):
    make_realisations(RUN, tmp_path, realisations=1, workers=1)
    other = GlassRun(glass=Glass(size=4, interaction_K=3.0), annealing=RUN.annealing, seed=3)
    with pytest.raises(InputError, match="holds another glass"):
        make_realisations(other, tmp_path, realisations=1, workers=1)
    with pytest.raises(InputError, match=r"no glass\.json"):
        summarise(tmp_path / "nowhere")
    (tmp_path / "realisations/000000.npz").write_bytes(b"half")
    with pytest.raises(RecordError, match="damaged"):
        summarise(tmp_path)
    (tmp_path / "realisations/000000.npz").unlink()
    with pytest.raises(InputError, match="no finished realisation"):
        summarise(tmp_path)
    (tmp_path / "glass.json").write_text('{"schema_version": 99}')
    with pytest.raises(InputError, match="schema version 99"):
        load_run(tmp_path)


def test_unwritable_folder_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        make_realisations(RUN, tmp_path / "file" / "run", realisations=1, workers=1)
