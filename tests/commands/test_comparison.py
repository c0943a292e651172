"""`cascade compare`: runs beside each other, and a run beside what it held earlier."""

import dataclasses
import json
import re

import numpy as np
import pytest
from campaigns import simulate
from rich.console import Console

from cascade_driver.analysis.comparison import compare
from cascade_driver.analysis.published import shipped_model_folder
from cascade_driver.cli import main
from cascade_driver.run_comparison import RunComparison
from cascade_driver.terminal.runs import print_comparison

CAMPAIGN = """
title = "silicon"
[crystal]
name = "Si"
repeats = [4, 4, 4]
[potential]
name = "si-tersoff-zbl"
[thermal]
equilibration_ps = 0.1
snapshot_interval_ps = 0.05
[follow]
duration_ps = 0.2
max_displacement_A = 0.03
max_timestep_fs = 2
EARLIER
[[recoils]]
species = "Si"
recoil_energies_eV = [30]
directions = { scheme = "symmetry", count = 2 }
snapshots = 1
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The same two recoils, in one run quenched after 0.05 and 0.1 ps too."""
    folder = tmp_path_factory.mktemp("runs")
    for name, earlier in {"plain": "", "watched": "also_quench_at_ps = [0.05, 0.1]"}.items():
        (folder / f"{name}.toml").write_text(CAMPAIGN.replace("EARLIER", earlier))
        simulated(folder / f"{name}.toml")
    return folder


def simulated(file):
    """Run an input beside itself: all of its cascades, or the tests that follow would compare something else."""
    assert main(["run", str(file), "--out", str(file.with_suffix("")), "--workers", "1"]) == 0


def differences(capsys, *arguments):
    assert main(["compare", "--json", *map(str, arguments)]) == 0
    return [json.loads(line, parse_constant=refused) for line in capsys.readouterr().out.splitlines()]


def refused(constant):
    raise AssertionError(f"{constant} is no JSON")


def test_one_run_is_held_against_what_it_held_earlier(runs, capsys):
    capsys.readouterr()
    found = differences(capsys, runs / "watched")
    assert [one["second"] for one in found] == [f"watched after {t} ps" for t in ("0.05", "0.1")]
    records = [json.loads(path.read_text()) for path in sorted((runs / "watched").glob("cascades/*/record.json"))]
    assert len(records) == 2
    for k, one in enumerate(found):
        (difference,) = one["differences"]
        changes = [
            max(r["physics"]["earlier_quenches"][k]["stored_energy_eV"], 0) - r["physics"]["stored_energy_eV"]
            for r in records
        ]
        assert difference["paired"]["n_pairs"] == 2
        assert difference["equal_within"] is None  # of two recoils nothing is shown
        assert difference["paired"]["stored_energy_eV"]["value"] == pytest.approx(sum(changes) / 2, abs=2e-3)
    # While the knock-on still flies, the box comes to rest elsewhere.
    assert abs(found[0]["differences"][0]["paired"]["stored_energy_eV"]["value"]) > 0.1


def test_earlier_quenches_change_nothing_of_a_campaign(runs, capsys):
    capsys.readouterr()
    (one,) = differences(capsys, runs / "plain", runs / "watched")
    assert one["differences"][0]["paired"]["stored_energy_eV"]["value"] == pytest.approx(0, abs=1e-6)
    assert one["verdict"].startswith("the same")


def test_one_run_without_earlier_quenches_says_how_to_get_them(runs, capsys):
    assert main(["compare", str(runs / "plain")]) == 2
    assert "also_quench_at_ps" in capsys.readouterr().err


def test_pairs_are_of_one_start_where_the_starts_are_one(runs, capsys):
    capsys.readouterr()
    (one,) = differences(capsys, runs / "plain", runs / "watched")
    assert one["share_starts"]
    other = runs / "other.toml"
    other.write_text(
        (runs / "plain.toml").read_text().replace("equilibration_ps = 0.1", "equilibration_ps = 0.12")
    )
    simulated(other)
    assert f"`cascade report {runs / 'other'}`" in capsys.readouterr().out  # its input asks for no analysis
    (one,) = differences(capsys, runs / "plain", runs / "other")
    assert not one["share_starts"]
    assert one["differences"][0]["paired"]["n_pairs"] == 2
    figure = runs / "figures" / "two.png"
    assert main(["compare", str(runs / "plain"), str(runs / "other"), "--figure", str(figure)]) == 0
    said = capsys.readouterr().out
    assert "pairs have in common their direction, not the thermal start" in said
    assert "verdict: too few cascades to tell them apart" in said
    assert "%" not in said  # of two cascades against two there is no chance to tell
    assert [path.name for path in sorted(figure.parent.iterdir())] == ["two.pdf", "two.png"]


def imported(folder, crystal):
    """Import two recoils of 30 eV in silicon or the like, of which one stores 3 eV; return their folder."""
    table = folder / f"{crystal}.csv"
    table.write_text(
        "recoil_energy_eV,direction_x,direction_y,direction_z,stored_energy_eV\n30,1,0,0,0\n30,0,1,0,3\n"
    )
    assert main(["import", "--crystal", crystal, f"Si={table}", "--out", str(folder / crystal)]) == 0
    return folder / crystal


def test_imported_tables_stand_beside_a_run_as_a_campaign_does(runs, tmp_path, capsys):
    there = imported(tmp_path, "Si")
    capsys.readouterr()
    for sides in ((runs / "plain", there), (there, runs / "plain")):
        (found,) = differences(capsys, *sides)
        (difference,) = found["differences"]
        mean_eV = [one["value"] for one in difference["mean_stored_eV"]]
        assert mean_eV[sides.index(there)] == pytest.approx(1.5)
        assert difference["n_cascades"] == [2, 2]
        assert not found["share_starts"]
        assert not any("crystals differ" in note for note in found["notes"])


def test_campaigns_of_different_crystals_are_compared_with_a_note(runs, tmp_path, capsys):
    carbide = imported(tmp_path, "SiC")
    capsys.readouterr()
    (found,) = differences(capsys, runs / "plain", carbide)
    assert found["notes"][0].startswith("the crystals differ, Si and CSi")


def test_a_model_with_its_cascades_is_held_against_its_folder(capsys):
    (found,) = differences(capsys, "cawo4", shipped_model_folder("cawo4"))
    assert found["verdict"].startswith("the same")


def test_a_model_of_printed_values_has_no_cascades_to_compare_with(runs, capsys):
    assert main(["compare", str(runs / "plain"), "cawo4-published"]) == 2
    assert "cawo4-published: this model has no cascades of its own" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["compare", "cite"])
def test_the_name_of_a_model_is_the_model_and_a_folder_of_that_name_has_a_path(
    tmp_path, monkeypatch, capsys, verb
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cawo4").mkdir()
    assert main([verb, *["cawo4", str(shipped_model_folder("cawo4"))][: 2 if verb == "compare" else 1]]) == 0
    assert "campaign.json" not in capsys.readouterr().err
    assert main([verb, "./cawo4"]) == 2
    assert "no campaign.json there" in capsys.readouterr().err


def test_a_single_cascade_and_a_single_pair_are_printed_as_having_no_error(capsys):
    def printed(n_directions):
        first = simulate(np.random.default_rng(1), energies=(160.0,), n_directions=n_directions, n_snapshots=1)
        second = dataclasses.replace(first, stored_energy_eV=first.stored_energy_eV + 1.0)
        print_comparison(
            RunComparison(
                first="one",
                second="two",
                share_starts=True,
                potential_status="qualitative",
                differences=compare(first, second),
                spectra=(),
                notes=(),
            ),
            console=Console(width=200),
        )
        return capsys.readouterr().out

    alone = printed(1)
    assert re.search(r" 1 ± \? ", alone)  # the pair
    assert "± ?: a single cascade or pair has no error" in alone
    assert "?" not in printed(3)
