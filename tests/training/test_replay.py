"""A cascade followed again: the engine's own flight by the same potential, kept through every stop."""

import json

import ase.io
import numpy as np
import pytest

from cascade_driver.cli import main
from cascade_driver.training.replay import read_flight

CAMPAIGN = """
seed = 5
[crystal]
name = "Si"
repeats = [2, 2, 2]
[potential]
name = "si-tersoff-zbl"
[thermal]
temperature_K = 100
equilibration_ps = 0.1
snapshot_interval_ps = 0.05
[follow]
duration_ps = 0.05
max_displacement_A = 0.01
max_timestep_fs = 0.5
small_box = true
[[recoils]]
species = "Si"
recoil_energies_eV = [20]
directions = { scheme = "list", vectors = [[1, 2, 3]] }
snapshots = 1
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("replay")
    (folder / "si.toml").write_text(CAMPAIGN)
    assert main(["run", str(folder / "si.toml"), "--out", str(folder / "RUN"), "--workers", "1"]) == 0
    return folder / "RUN"


def cascade_of(run):
    (folder,) = (run / "cascades").glob("[0-9a-f]*")
    return folder.name


def replayed(run, out, *more):
    words = ["train", "replay", str(run), cascade_of(run)[:6], "--potential", "si-tersoff-zbl", "--out", str(out)]
    return main([*words, "--max-displacement-A", "0.01", "--max-timestep-fs", "0.5", *more])


def test_a_box_of_64_atoms_is_refused_unless_told_to(tmp_path, capsys):
    (tmp_path / "si.toml").write_text(CAMPAIGN.replace("small_box = true\n", ""))
    assert main(["run", str(tmp_path / "si.toml"), "--out", str(tmp_path / "RUN"), "--plan-only"]) == 2
    assert "box too small for the recoil" in capsys.readouterr().err


def test_the_same_potential_flies_the_same_way(run, tmp_path):
    assert replayed(run, tmp_path / "out", "--until-fs", "50") == 0
    flight = list(read_flight(tmp_path / "out" / "flight.extxyz"))
    record = json.loads((run / "cascades" / cascade_of(run) / "record.json").read_text())
    track = record["physics"]["pka"]["track"]
    pka = record["physics"]["pka"]["index"]
    time_fs = np.array([frame.info["time_fs"] for frame in flight])
    ours = np.array([frame.positions[pka] - flight[0].positions[pka] for frame in flight])
    theirs = np.array(track["position_A"]) - track["position_A"][0]
    # The engine works out each step from the one before; both step lengths are within 0.002 A of the true flight.
    for axis in range(3):
        np.testing.assert_allclose(
            np.interp(1e3 * np.array(track["time_ps"]), time_fs, ours[:, axis])[:-1], theirs[:-1, axis], atol=5e-3
        )
    assert flight[0].info["pka_kinetic_energy_eV"] == pytest.approx(20, abs=1e-5)
    total = np.array([frame.info["total_energy_eV"] for frame in flight])
    assert np.abs(total - total[0]).max() < 5e-3
    assert time_fs[-1] == pytest.approx(50, abs=1e-9)
    steps = np.linalg.norm(np.diff([f.positions for f in flight], axis=0), axis=-1)
    assert steps.max() <= 0.01 + 1e-9


def test_a_replay_that_was_stopped_at_any_place_goes_on_to_the_same_end(run, tmp_path):
    assert replayed(run, tmp_path / "whole", "--until-fs", "10") == 0
    out = tmp_path / "parts"
    assert replayed(run, out, "--until-fs", "10", "--stop-after", "0") == 0
    # As after a kill between the two writes of a step, and in the middle of one.
    with (out / "flight.extxyz").open("a") as stream:
        stream.write("64\nLattice=")
    assert replayed(run, out, "--until-fs", "10") == 0
    one, two = (ase.io.read(folder / "flight.extxyz", ":") for folder in (tmp_path / "whole", out))
    assert [f.info["time_fs"] for f in one] == [f.info["time_fs"] for f in two]
    np.testing.assert_array_equal(one[-1].positions, two[-1].positions)


def test_a_place_that_holds_another_replay_is_refused(run, tmp_path, capsys):
    assert replayed(run, tmp_path / "out", "--until-fs", "1") == 0
    assert replayed(run, tmp_path / "out", "--until-fs", "1", "--max-timestep-fs", "0.2") == 2
    assert "another cascade or by other means" in capsys.readouterr().err
