"""Threshold displacement energies beside printed ones, found by the verb as a user finds them."""

import json

import pytest

from cascade_driver.cli import main

pytestmark = pytest.mark.physics

#: Tersoff silicon opposite to a bond, at 30 K, in steps of 1 eV: table 1 of Hamedani et al. 2020,
#: doi:10.1080/21663831.2020.1771451.
PRINTED_eV, STEP_eV = 11.5, 0.5

INPUT = """
title = "Silicon opposite to a bond"
seed = 1
snapshots = 4
[crystal]
name = "Si"
minimum_atoms = 500
[potential]
name = "si-tersoff-zbl"
[thermal]
temperature_K = 30
equilibration_ps = 1
snapshot_interval_ps = 0.3
[follow]
duration_ps = 2
max_displacement_A = 0.02
max_timestep_fs = 1.5
{border}
[displaced]
criterion = "frenkel"
[[thresholds]]
species = "Si"
directions = {{ scheme = "list", vectors = [[-1, -1, -1]] }}
precision_eV = 1.0
"""


def interval_eV(folder, border=""):
    (folder / "input.toml").write_text(INPUT.format(border=border))
    assert main(["threshold", str(folder / "input.toml"), "--out", str(folder / "out"), "--workers", "1"]) == 0
    mean = json.loads((folder / "out" / "summary.json").read_text())["atoms"]["Si"]["mean_eV"]
    return mean["low"], mean["high"]


def test_a_closed_box_finds_the_printed_threshold(tmp_path):
    low, high = interval_eV(tmp_path)
    assert low - STEP_eV <= PRINTED_eV <= high + STEP_eV


def test_negative_control_a_border_that_chills_the_pair_in_the_making_raises_it(tmp_path):
    low, _ = interval_eV(tmp_path, border="border = { width_A = 3, damping_ps = 0.1 }")
    assert low > PRINTED_eV + 2
