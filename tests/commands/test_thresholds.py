"""The verb `threshold`, and the verbs of campaigns on its folder."""

import csv
import json
import time

import pytest
from searches import SMALL_SEARCH

from cascade_driver.cli import main

INPUT = SMALL_SEARCH.format(directions='scheme = "list", vectors = [[1, 2, 3]]', most=3).replace(
    "precision_eV = 5", "precision_eV = 0.5"
)


@pytest.fixture
def given(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(INPUT)
    return path


def test_a_time_limit_leaves_the_workers_as_they_are(given, tmp_path, monkeypatch):
    out = tmp_path / "out"
    assert main(["threshold", str(given), "--out", str(out), "--plan-only"]) == 0
    asked = {}
    monkeypatch.setattr("cascade_driver.threshold_run.share_tasks", lambda _tasks, **how: asked.update(how))
    assert main(["work", str(out), "--workers", "3", "--until", "1000"]) == 0
    assert asked["workers"] == 3
    assert asked["until"] == pytest.approx(time.time() + 1000, abs=100)


def test_a_plan_is_worked_on_by_any_worker_and_reported(given, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("CASCADE_LOG", "debug")
    out = tmp_path / "out"
    assert main(["threshold", str(given), "--out", str(out), "--plan-only"]) == 0
    assert "Wigner-Seitz" in capsys.readouterr().out
    assert main(["submit", str(out), "--slurm", "--dry-run"]) == 0
    assert f"work {out}" in (out / "slurm-array.sh").read_text()
    assert main(["work", str(out), "--workers", "1", "--until", "0"]) == 0
    assert "0 directions finished here" in capsys.readouterr().out
    assert main(["report", str(out)]) == 2
    assert "no direction is finished" in capsys.readouterr().err
    assert main(["work", str(out), "--workers", "1"]) == 0
    assert main(["status", str(out), "--json"]) == 0
    status = json.loads(capsys.readouterr().out.split("\n", 1)[1])
    assert (status["finished"], status["directions"]) == (1, 1)
    assert (status["attempts_under_way"], status["cpu_s_left"]) == (0, 0)
    (log,) = (out / "logs").glob("work-*.log")
    made = json.loads((out / "directions" / "0-00000.json").read_text())["attempts"]
    lines = log.read_text().splitlines()
    assert sum(" DEBUG 0-00000: " in line for line in lines) == len(made)
    for one in made:
        assert any(
            f"{one['recoil_energy_eV']:.4g} eV, {'' if one['displaced'] else 'not '}disp" in x for x in lines
        )
    (told,) = (line for line in lines if " INFO 0-00000: Si, threshold " in line)
    assert f"after {len(made)} attempts" in told
    # what was begun and left shows how far it is
    whole, partial = (out / "directions" / f"0-00000{end}.json" for end in ("", ".partial"))
    whole.rename(partial)
    assert main(["status", str(out)]) == 0
    assert f"{len(made)} attempts made of the others" in capsys.readouterr().out
    partial.rename(whole)
    assert main(["threshold", str(given), "--out", str(out), "--workers", "1"]) == 0
    said = capsys.readouterr().out
    assert "threshold displacement energies" in said
    assert "mean and median are those of the listed directions" in " ".join(said.split())
    assert "1 of 1 directions ended at most_attempts = 3" in " ".join(said.split())
    summary = json.loads((out / "summary.json").read_text())
    found = summary["atoms"]["Si"]["mean_eV"]
    assert 5 <= found["low"] <= found["value"] <= found["high"] <= 100
    assert summary["provenance"]["engine"].startswith("LAMMPS")
    assert len((out / "thresholds.csv").read_text().splitlines()) == 2
    # below every energy that left a defect the share is the tail of a formula, and table and note say so
    lowest = min(one["recoil_energy_eV"] for one in made if one["displaced"])
    assert summary["atoms"]["Si"]["lowest_defect_eV"] == lowest
    rows = list(csv.DictReader((out / "probability.csv").read_text().splitlines()))
    assert {float(row["recoil_energy_eV"]) < lowest for row in rows} == {True, False}
    assert all((float(row["recoil_energy_eV"]) < lowest) == (row["is_tail"] == "1") for row in rows)
    tail = [row for row in rows if row["is_tail"] == "1"]
    below = sum(one["recoil_energy_eV"] < lowest for one in made)
    none = f"of {below} attempts left one" if below else "was tried"
    told = f"below {lowest:.4g} eV, the lowest energy that left a defect, none {none}"
    is_worth_it = max(float(row["probability_high"]) for row in tail) >= 0.01
    assert (told in " ".join(said.split())) == is_worth_it
    assert (out / "figures" / "threshold-Si-polar.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (('species = "Si"', 'species = "Ge"'), "no free atom of species 'Ge'"),
        (("most_attempts = 3", "most_attempts = 1"), "greater than or equal to 3"),
        (("precision_eV = 0.5", "lowest_eV = 60"), "not twice"),
        (("repeats = [2, 2, 2]", "repeats = [1, 1, 1]"), "less than two cutoffs"),
        (("precision_eV = 0.5", "precison_eV = 5"), "precision_eV"),
    ],
)
def test_bad_input_is_one_line(given, tmp_path, capsys, change, complaint):
    given.write_text(INPUT.replace(*change))
    assert main(["threshold", str(given), "--out", str(tmp_path / "out"), "--plan-only"]) == 2
    said = capsys.readouterr().err
    assert complaint in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_the_shipped_input_is_found_by_its_name(tmp_path, capsys):
    assert main(["threshold", "threshold-si.toml", "--out", str(tmp_path / "out"), "--plan-only"]) == 0
    assert "64 directions" in capsys.readouterr().out
