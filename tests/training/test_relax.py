"""Structures brought to rest by another calculator: where its minimum is, through every stop."""

import re

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from cascade_driver.cli import main
from cascade_driver.errors import InputError
from cascade_driver.simulation.lammps_engine import LammpsEngine
from cascade_driver.simulation.potential import load_potential
from cascade_driver.training.extended_xyz import read_frames
from cascade_driver.training.label_queue import LabelQueue
from cascade_driver.training.labelling import AseSettings
from cascade_driver.training.relax import STEPS_FILE


@pytest.fixture
def structures(tmp_path):
    """64 atoms of silicon, and the same without one of them and with one moved by 0.4 A."""
    crystal = bulk("Si", a=5.432, cubic=True) * 2
    broken = crystal.copy()
    broken.positions[5] += (0.3, 0.2, 0.17)
    del broken[0]
    crystal.info["group"], broken.info["group"] = "perfect", "vacancy"
    ase.io.write(tmp_path / "structures.extxyz", [crystal, broken])
    return tmp_path / "structures.extxyz"


def relaxed(structures, out, *more):
    return main(["train", "relax", str(structures), "--potential", "si-tersoff-zbl", "--out", str(out), *more])


def minimum_eV(atoms):
    """Return the energy that LAMMPS' own minimiser finds from there."""
    engine = LammpsEngine(potential=load_potential("si-tersoff-zbl"))
    try:
        engine.build(atoms)
        return engine.minimise(force_tolerance_eV_A=1e-6, max_iterations=5000).potential_energy_eV
    finally:
        engine.close()


def energies_eV(out, name):
    return [step.get_potential_energy() for step in ase.io.read(out / name / STEPS_FILE, ":")]


def test_the_end_is_the_minimum_that_the_engine_finds(structures, tmp_path, capsys):
    assert relaxed(structures, tmp_path / "out", "--force-tolerance-eV-A", "1e-3") == 0
    crystal, broken = ase.io.read(structures, ":")
    ends = [energies_eV(tmp_path / "out", name)[-1] for name in ("000", "001")]
    assert ends == pytest.approx([minimum_eV(crystal), minimum_eV(broken)], abs=1e-4)
    # The table counts from the crystal, that of 64 atoms here.
    assert f"{ends[1] - ends[0]:.3f}" in capsys.readouterr().out
    # And the way down was a way: the first step is the structure as it was given.
    ways = energies_eV(tmp_path / "out", "001")
    assert len(ways) > 5
    assert ways[0] > ways[-1] + 0.1


def test_a_relaxation_that_was_stopped_or_torn_goes_on(structures, tmp_path):
    out = tmp_path / "out"
    # The time is over before the second step.
    assert relaxed(structures, out, "--stop-after", "0", "--force-tolerance-eV-A", "1e-3") == 0
    assert relaxed(structures, out, "--stop-after", "0.02", "--force-tolerance-eV-A", "1e-3") == 0
    for name in ("000", "001"):
        file = out / name / STEPS_FILE
        if file.is_file():
            # As a kill leaves it: half a step.
            file.write_text(file.read_text() + file.read_text()[:1000])
    assert relaxed(structures, out, "--force-tolerance-eV-A", "1e-3") == 0
    broken = ase.io.read(structures, 1)
    assert energies_eV(out, "001")[-1] == pytest.approx(minimum_eV(broken), abs=1e-4)
    before = (out / "001" / STEPS_FILE).read_bytes()
    assert relaxed(structures, out, "--force-tolerance-eV-A", "1e-3") == 0
    assert (out / "001" / STEPS_FILE).read_bytes() == before


def test_every_step_is_a_label_of_one_trajectory(structures, tmp_path):
    frames = tmp_path / "steps.extxyz.gz"
    assert relaxed(structures, tmp_path / "out", "--frames", str(frames)) == 0
    read = read_frames(frames)
    assert len({frame.trajectory for frame in read if len(frame.atoms) == 63}) == 1
    assert {frame.settings for frame in read} == {"si-tersoff-zbl"}
    last = [frame for frame in read if len(frame.atoms) == 63][-1]
    assert np.linalg.norm(last.forces_eV_per_A, axis=1).max() <= 0.05


def test_another_purpose_in_the_same_place_is_refused(structures, tmp_path, capsys):
    assert relaxed(structures, tmp_path / "out") == 0
    assert relaxed(structures, tmp_path / "out", "--force-tolerance-eV-A", "0.2") == 2
    assert "other structures or by other means" in capsys.readouterr().err
    (tmp_path / "empty.extxyz").write_text("")
    assert relaxed(tmp_path / "empty.extxyz", tmp_path / "other") == 2


IMPOSSIBLE = [
    (Atoms("Si2", positions=[[0, 0, 0], [0, 0, 2]]), "0 A^3 to an atom"),
    (Atoms("Si2", positions=[[0, 0, 0], [0, 0, 5]], cell=[5, 5, 5], pbc=True), "within 0.1 A"),
    (Atoms("XSi", positions=[[0, 0, 0], [0, 0, 2]], cell=[5, 5, 5], pbc=True), "no element"),
]


@pytest.mark.parametrize(("structure", "said"), IMPOSSIBLE)
def test_what_no_calculator_can_do_is_refused_before_anything_is_written(structure, said, tmp_path, capsys):
    ase.io.write(tmp_path / "bad.extxyz", [bulk("Si", cubic=True), structure])
    assert relaxed(tmp_path / "bad.extxyz", tmp_path / "out") == 2
    told = capsys.readouterr().err
    assert "structure 2 of 2" in told
    assert said in told
    assert not list((tmp_path / "out").glob("*"))


@pytest.mark.parametrize(("structure", "said"), IMPOSSIBLE)
def test_no_label_is_asked_for_what_no_calculator_can_do(structure, said, tmp_path):
    queue = LabelQueue.create(tmp_path / "queue", AseSettings(kind="ase", factory="ase.calculators.emt:EMT"))
    with pytest.raises(InputError, match=re.escape(said)):
        queue.add([bulk("Si", cubic=True), structure])
    assert queue.status().waiting == 0
