"""`cascade train fit`, from an input to a potential that runs: labels of a potential that is known."""

import dataclasses
import json

import numpy as np
import pytest
from ase.build import bulk

from cascade_driver.cli import main
from cascade_driver.errors import InputError
from cascade_driver.simulation.potential import load_potential
from cascade_driver.training.extended_xyz import read_frames
from cascade_driver.training.fit_input import read_fit_input
from cascade_driver.training.frames import LabelledFrame, from_the_crystal, write_frames
from cascade_driver.training.propose import strained
from cascade_driver.validation.calculator import calculator

INPUT = """
title = "Al from labels of an embedded-atom potential"
origin = "test"
crystals = ["Al"]

[[data]]
file = "dear.extxyz.gz"

[plan]
species = ["Al"]
zbl = { Al-Al = { inner_A = 1.0, outer_A = 1.8 } }

[plan.splines]
two_body_cutoff_A = 6.0
two_body_knot_A = 0.4
three_body_cutoff_A = 3.4
leg_knot_A = { Al-Al = 0.6 }
far_knot_A = { Al-Al = 1.2 }
"""
CHEAP = '\n[[data]]\nfile = "cheap.extxyz.gz"\nlabels = "cheap"\n'


def labelled(*, count, seed, stretch=1.0, force_factor=1.0, zero_eV=0.0):
    """Frames of aluminium with labels of the shipped potential; `force_factor` makes them wrong."""
    potential = load_potential("al-eam-zbl")
    box = bulk("Al", cubic=True) * (2, 2, 2)
    structures = [box, *strained(box, strain=0.02, count=count, rattle_A=0.12, seed=seed)]
    frames = []
    for number, atoms in enumerate(structures):
        copy = atoms.copy()
        copy.calc = calculator(potential)
        frames.append(
            LabelledFrame(
                atoms=atoms,
                energy_eV=force_factor * float(copy.get_potential_energy()) + zero_eV * len(copy),
                forces_eV_per_A=force_factor * copy.get_forces(),
                stress_eV_per_A3=force_factor * copy.get_stress(),
                group="perfect" if number == 0 else "rattle",
                trajectory=f"{seed}-{number}",
            )
        )
    return frames


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("fit")
    write_frames(place / "dear.extxyz.gz", labelled(count=14, seed=1, zero_eV=-700.0))
    write_frames(place / "cheap.extxyz.gz", labelled(count=30, seed=2, force_factor=0.7))
    write_frames(place / "unseen.extxyz.gz", labelled(count=4, seed=3))
    (place / "fit.toml").write_text(INPUT)
    (place / "two.toml").write_text(INPUT.replace("\n[plan]", f"{CHEAP}\n[plan]", 1))
    (place / "cheap.toml").write_text(INPUT.replace('file = "dear.extxyz.gz"', CHEAP.partition("]]\n")[2]))
    return place


def force_error(folder, name):
    potential = load_potential(folder / name)
    errors = []
    for frame in read_frames(folder / "unseen.extxyz.gz"):
        atoms = frame.atoms.copy()
        atoms.calc = calculator(potential)
        errors.append(np.abs(atoms.get_forces() - frame.forces_eV_per_A))
    return float(np.mean(errors))


def fit(folder, source, name, *options):
    return main(["train", "fit", str(folder / source), "--out", str(folder / name), *options])


@pytest.fixture(scope="module")
def errors(folder):
    assert fit(folder, "cheap.toml", "from-cheap") == 0
    assert fit(folder, "two.toml", "from-both", "--ensemble", "2") == 0
    return {name: force_error(folder, name) for name in ("from-cheap", "from-both")}


def test_dear_labels_mend_what_cheap_ones_get_wrong(errors):
    """Cheap forces are 30 % too small on purpose; a mean force here is some 0.5 eV/A."""
    assert errors["from-cheap"] > 0.1
    assert errors["from-both"] < 0.35 * errors["from-cheap"]


def test_the_ensemble_spreads_and_runs(folder, errors):
    drawn = [force_error(folder, f"from-both-{n}") for n in (1, 2)]
    assert load_potential(folder / "from-both-1").digest != load_potential(folder / "from-both-2").digest
    assert all(error < 1.5 * errors["from-cheap"] for error in drawn)


def test_a_learning_curve_falls_with_the_labels(folder, capsys):
    out = folder / "validation"
    command = ["train", "curve", str(folder / "two.toml"), "--test", str(folder / "unseen.extxyz.gz")]
    assert main([*command, "--out", str(out)]) == 0
    curves = json.loads((out / "learning.json").read_text())["curves"]
    assert (out / "learning-curve.png").is_file()
    assert curves["frames"] == sorted(set(curves["frames"]))
    assert curves["frames"][-1] == len(read_frames(folder / "dear.extxyz.gz"))
    # The first part holds the crystal alone: what the cheap labels got wrong is all still there.
    assert curves["force_eV_A"][0] > 0.1
    assert curves["force_eV_A"][-1] < 0.35 * curves["force_eV_A"][0]
    assert "15 frames" in capsys.readouterr().out
    assert main([*command[:2], str(folder / "cheap.toml"), *command[3:], "--out", str(out)]) == 2
    assert "no dear frames" in capsys.readouterr().err


def test_frames_of_the_test_are_not_learnt_from(folder, tmp_path):
    """A test with the trajectories of the labels leaves but the crystal to learn from."""
    command = ["train", "curve", str(folder / "two.toml"), "--test", str(folder / "dear.extxyz.gz")]
    assert main([*command, "--out", str(tmp_path)]) == 0
    assert json.loads((tmp_path / "learning.json").read_text())["curves"]["frames"] == [1]


def test_the_folder_says_how_good_it_is(folder, errors, capsys):
    assert "on frames not seen" in load_potential(folder / "from-both").about.description
    assert (folder / "from-both" / "fit.json").is_file()
    assert fit(folder, "two.toml", "from-both") == 2
    assert "exists; give the name of a new folder" in capsys.readouterr().err


def test_energies_count_from_the_crystal_of_the_same_labels():
    frames = labelled(count=2, seed=5, zero_eV=-700.0)
    plain = labelled(count=2, seed=5)
    shifted, unshifted = (from_the_crystal(f, where="here") for f in (frames, plain))
    for one, two in zip(shifted, unshifted, strict=True):
        assert one.energy_eV == pytest.approx(two.energy_eV, abs=1e-7)
    assert shifted[0].energy_eV == 0
    with pytest.raises(InputError, match="no frame of the group `perfect`"):
        from_the_crystal(frames[1:], where="here")


def test_a_crystal_in_the_same_box_counts_before_one_that_lies_lower():
    same, frame = labelled(count=1, seed=5)
    lower = dataclasses.replace(same, atoms=bulk("Al"), energy_eV=-4.0, forces_eV_per_A=np.zeros((1, 3)))
    (_, _, above) = from_the_crystal([lower, same, frame], where="here")
    assert above.energy_eV == pytest.approx(frame.energy_eV - same.energy_eV)


def test_the_crystal_of_the_same_settings_counts_first():
    same, frame = labelled(count=1, seed=5)
    other = dataclasses.replace(same, energy_eV=same.energy_eV - 1.0, settings="coarser")
    (*_, above) = from_the_crystal([other, same, frame], where="here")
    assert above.energy_eV == pytest.approx(frame.energy_eV - same.energy_eV)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('file = "dear.extxyz.gz"', 'file = "none.extxyz.gz"', "none.extxyz.gz: no such file"),
        ("two_body_knot_A = 0.4", "two_body_knot = 0.4", "did you mean `two_body_knot_A`"),
        ('species = ["Al"]', 'species = ["Al", "Si"]', "pairs"),
        ('title = "Al', 'tilte = "Al', "did you mean `title`"),
    ],
)
def test_bad_input_is_one_line(folder, tmp_path, capsys, old, new, complaint):
    (folder / "bad.toml").write_text(INPUT.replace(old, new))
    assert main(["train", "fit", str(folder / "bad.toml"), "--out", str(tmp_path / "x")]) == 2
    error = capsys.readouterr().err
    assert complaint in error
    assert error.count("\n") == 1
    assert not (tmp_path / "x").exists()


def test_the_shipped_inputs_name_shipped_frames(pytestconfig):
    inputs = sorted((pytestconfig.rootpath / "potentials" / "cawo4-training").glob("fit-*.toml"))
    assert len(inputs) == 7
    for path in inputs:
        assert "dear" in {one.labels for one in read_fit_input(path).data}


def test_only_the_frames_that_teach_most_are_asked_for(folder, tmp_path, capsys):
    (tmp_path / "lj.toml").write_text('kind = "ase"\nfactory = "ase.calculators.lj:LennardJones"\n')
    command = ["train", "propose", "cascades", "--crystal", "Al", "--repeat", "3", "3", "3", "--species", "Al"]
    command += ["--energies-eV", "40", "--count", "2", "--frames", "2", "--potential", "al-eam-zbl"]
    command += ["--queue", str(tmp_path / "q"), "--settings", str(tmp_path / "lj.toml")]
    assert main([*command, "--select", "2"]) == 2
    assert "--select needs --fit" in capsys.readouterr().err
    assert main([*command, "--select", "2", "--fit", str(folder / "fit.toml")]) == 0
    shown = capsys.readouterr().out
    assert "2 structures, 2 of them new" in shown
    assert shown.count("forces uncertain by") == 2
