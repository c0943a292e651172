"""`cascade potential compare`: one small campaign with several potentials, resumable, told before, drawn."""

import csv
import math
import tomllib
from pathlib import Path

import numpy as np
import pytest

from cascade_driver.cli import main
from cascade_driver.config import RunInput
from cascade_driver.plot.potentials import PotentialInFigure, potential_comparison_figure
from cascade_driver.potential_comparison import ComparisonSpec, samples_of
from cascade_driver.schema import build
from cascade_driver.simulation.outcome import CascadeTable, Outcome
from cascade_driver.simulation.potential import load_potential
from cascade_driver.simulation.spec import QuenchSpec

SMALL = ["--recoil-energies-eV", "30", "--directions", "1", "--minimum-atoms", "500", "--duration-ps", "0.3"]
TWO = ["potential", "compare", "si-tersoff-zbl", "si-sw-zbl", "--crystal", "Si", *SMALL]


def table_of(path: Path) -> dict[str, dict[str, str]]:
    with path.open() as stream:
        return {row["quantity"]: row for row in csv.DictReader(stream)}


def test_two_potentials_are_planned_run_and_held_side_by_side(tmp_path, capsys, monkeypatch):
    # The search for Frenkel pairs takes a minute; it is that of `train validate`, tested there.
    monkeypatch.setattr("cascade_driver.potential_comparison._SECTIONS", ("crystal",))
    out = tmp_path / "compared"
    assert main([*TWO, "--out", str(out), "--plan-only"]) == 0
    said = capsys.readouterr().out
    assert "of CPU time in all" in said
    assert "Si recoils of 30 eV in 1 direction, for 0.3 ps" in said
    assert not out.exists()

    assert main([*TWO, "--out", str(out), "--workers", "2"]) == 0
    records = {path: path.stat().st_mtime_ns for path in out.glob("*/cascades/*/record.json")}
    assert len(records) == 2
    found = table_of(out / "comparison.csv")
    # Both were fitted to the lattice constant; cohesion: Tersoff (1988), table I; Stillinger & Weber (1985).
    for name, cohesion_eV in (("si-tersoff-zbl", -4.63), ("si-sw-zbl", -4.337)):
        assert float(found["a"][name]) == pytest.approx(5.431, abs=2e-3)
        assert float(found["energy per atom"][name]) == pytest.approx(cohesion_eV, abs=2e-3)
    assert found["energy per atom"]["experiment"] == "-4.63"
    assert float(found["stored of 30 eV"]["si-sw-zbl"]) >= -1e-6
    # One direction has no error of its mean; one energy brackets no threshold from both sides, or from 0 eV on.
    assert found["stored of 30 eV"]["error of si-sw-zbl"] == ""
    bracket = found["median threshold of Si"]
    assert (bracket["si-sw-zbl"], bracket["error of si-sw-zbl"]) in {("", ""), ("15", "15")}
    assert (out / "comparison.png").stat().st_size > 1000

    # Again, with a third: what is there is not done again.
    assert main([*TWO, "--out", str(out)]) == 0
    assert {path: path.stat().st_mtime_ns for path in out.glob("*/cascades/*/record.json")} == records


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["si-tersoff-zbl", "--crystal", "Si"], "si-tersoff-zbl alone is compared with nothing"),
        (["si-tersoff-zbl", "si-tersoff-zbl", "--crystal", "Si"], "two of the potentials have one name"),
        (["si-tersoff-zbl", "si-nothing", "--crystal", "Si"], "no potential named `si-nothing`"),
        (["si-tersoff-zbl", "si-sw-zbl", "--crystal", "Ge"], "the crystal holds Ge"),
        (["si-tersoff-zbl", "si-sw-zbl", "--crystal", "Sillicon"], "unknown crystal"),
        (["si-tersoff-zbl", "si-sw-zbl", "--crystal", "Si", "--species", "O"], "O"),
        (["si-tersoff-zbl", "si-sw-zbl", "--crystal", "Si", "--minimum-atoms", "8"], "box too small"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(tmp_path, capsys, words, complaint):
    assert main(["potential", "compare", *words, "--out", str(tmp_path / "c")]) == 2
    said = capsys.readouterr().err
    assert complaint in said
    assert said.count("\n") == 1


def test_a_folder_of_another_comparison_is_refused(tmp_path, capsys):
    (tmp_path / "si-sw-zbl.toml").write_text("title = 'mine'\n")
    assert main([*TWO, "--out", str(tmp_path)]) == 2
    assert "holds another comparison" in capsys.readouterr().err
    assert (tmp_path / "si-sw-zbl.toml").read_text() == "title = 'mine'\n"


def test_means_are_weighted_and_failures_left_out():
    outcome = [Outcome.COMPLETED.key] * 3 + [Outcome.LOST_ATOMS.key]
    table = CascadeTable(
        id=np.array(list("abcd")),
        species=np.array(["Si"] * 4),
        recoil_energy_eV=np.full(4, 50.0),
        direction=np.eye(4)[:, :3],
        direction_weight=np.array([0.2, 0.4, 0.4, 0.0]),
        snapshot=np.zeros(4, dtype=np.int64),
        outcome=np.array(outcome),
        stored_energy_eV=np.array([10.0, 5.0, 0.0, math.nan]),
    )
    (found,) = samples_of(table)
    mean = found.mean(nonzero=False)
    assert (found.species, found.recoil_energy_eV, mean.value) == ("Si", 50.0, pytest.approx(4.0))
    assert found.probability.value == pytest.approx(0.6)
    # sum w^2 (x - mean)^2 = 0.04 * 36 + 0.16 * 1 + 0.16 * 16, times n / (n - 1) of n = 1 / 0.36 equal weights
    assert mean.error == pytest.approx(math.sqrt(4.16 / (1 - 0.36)))


def test_the_figure_has_a_mark_for_each_potential():
    one = PotentialInFigure(
        deviations={"a": 0.01, "C11": -0.1},
        pairs_eV=(4.0, 5.0),
        recoil_energy_eV=(20.0, 50.0),
        stored_energy_eV=(1.0, 6.0),
        error_eV=(0.5, math.nan),
        damaged_share=(0.5, 1.0),
    )
    figure = potential_comparison_figure({"a": one, "b": one}, crystal="Si")
    assert [len(axes.lines) for axes in figure.axes[:3]] == [3, 2, 2]
    assert [text.get_text() for text in figure.axes[2].get_legend().get_texts()] == ["a", "b"]


def test_a_folder_of_a_shipped_name_never_takes_its_place(tmp_path, monkeypatch, capsys):
    (tmp_path / "si-sw-zbl").mkdir()
    monkeypatch.chdir(tmp_path)
    assert main([*TWO, "--out", "c", "--plan-only"]) == 0
    assert "si-sw-zbl" in capsys.readouterr().out


def test_the_recoils_of_a_comparison_are_quenched_as_those_of_any_campaign():
    spec = ComparisonSpec(potentials=("si-sw-zbl", "si-tersoff-zbl"), crystal="Si")
    wanted = build(RunInput, tomllib.loads(spec.input_text(load_potential("si-sw-zbl"))), origin="comparison")
    assert wanted.quench == QuenchSpec()
