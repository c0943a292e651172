"""Checks of a potential run apart, say what was not run, and are remembered by the campaigns that use it."""

import json
import shutil
from functools import partial
from pathlib import Path

import ase.io
import pytest
from ase.build import bulk
from work_apart import Dying

from cascade_driver.cli import main
from cascade_driver.errors import InputError
from cascade_driver.schema import build, file_sha256
from cascade_driver.simulation.crystal import CrystalSpec, resolved
from cascade_driver.simulation.potential import load_potential
from cascade_driver.validation.checked import CHECKED_FILE, doubt
from cascade_driver.validation.contract import CHECKS, CRYSTAL_CHECKS, check_apart, contract_crystals

INPUT = """
[crystal]
{crystal}
minimum_atoms = 300
[potential]
folder = "mine"
[[recoils]]
species = "Si"
recoil_energies_eV = [12]
snapshots = 1
directions = {{ count = 1 }}
"""


@pytest.fixture
def mine(tmp_path) -> Path:
    """A potential of one's own that names no crystal."""
    folder = tmp_path / "mine"
    shutil.copytree(load_potential("si-tersoff-zbl").folder, folder)
    about = folder / "potential.toml"
    about.write_text(about.read_text().replace('crystals = ["Si"]', "crystals = []"))
    return folder


@pytest.fixture
def diamond(tmp_path) -> Path:
    path = tmp_path / "si.extxyz"
    ase.io.write(path, bulk("Si", "diamond", a=5.431, cubic=True))
    return path


@pytest.mark.parametrize(("how", "words"), [("crash", "signal SIGSEGV"), ("quit", "exit code 0")])
def test_an_engine_that_dies_fails_the_check_that_it_was_at_and_no_other(how, words):
    potential = load_potential("si-tersoff-zbl")
    heard = []
    results = check_apart(
        potential, make_engine=partial(Dying, potential=potential, how=how), progress=heard.append
    )
    assert heard == results
    failed = {r.name: r.remedy for r in results if not r.passed}
    assert set(failed) == {name for name in CHECKS if name.startswith("survives")}
    assert all(words in remedy for remedy in failed.values())
    assert {r.name for r in results} == set(CHECKS)


def test_checks_that_were_not_run_are_said_and_are_no_success(mine, capsys):
    assert main(["potential", "check", str(mine)]) == 3
    said = capsys.readouterr().out
    assert f"checks passed, {len(CRYSTAL_CHECKS)} not run, because potential.toml names no crystal" in said
    assert not (mine / CHECKED_FILE).exists()


def test_a_potential_is_checked_in_a_crystal_of_ones_own_and_its_runs_know(mine, diamond, tmp_path, capsys):
    own, built_in = f'file = "{diamond.name}"', 'name = "Si"'
    (tmp_path / "own.toml").write_text(INPUT.format(crystal=own))
    (tmp_path / "built-in.toml").write_text(INPUT.format(crystal=built_in))

    def plan(name: str, *, out: str = "") -> str:
        place = str(tmp_path / (out or name))
        assert main(["run", str(tmp_path / f"{name}.toml"), "--plan-only", "--out", place]) == 0
        return capsys.readouterr().out

    assert f"was never checked in {diamond}" in plan("own")
    assert main(["potential", "check", str(mine), "--crystal", str(diamond)]) == 0
    said = capsys.readouterr().out
    assert f"survives 600 K, {diamond.name}" in said
    assert "not run" not in said
    assert "was never checked" not in plan("own")
    assert "was never checked in Si" in plan("built-in")
    # Of another potential nothing is known.
    include = mine / "potential.lmp"
    before = file_sha256(include)
    include.write_text(include.read_text() + "pair_modify shift no\n")
    about = mine / "potential.toml"
    about.write_text(about.read_text().replace(before, file_sha256(include)))
    assert "was never checked" in plan("own", out="another")


def test_what_failed_is_remembered_too(mine, diamond):
    potential = load_potential(mine)
    crystal = resolved(build(CrystalSpec, {"file": str(diamond), "minimum_atoms": 1}, origin=""), Path())
    content = {"digest": potential.digest, "crystals": {f"sha256:{crystal.file_sha256}": False}}
    (mine / CHECKED_FILE).write_text(json.dumps(content))
    assert "failed its checks" in doubt(potential, crystal)
    for text in ("", "[]", "{}", '{"digest": 1, "crystals": []}'):
        (mine / CHECKED_FILE).write_text(text)
        assert "was never checked" in doubt(potential, crystal)


def test_shipped_potentials_are_known_in_the_crystals_that_they_name():
    film = resolved(CrystalSpec(name="Al/Si", minimum_atoms=1), Path())
    assert doubt(load_potential("alsi-meam-zbl"), film) == ""
    assert doubt(load_potential("al-eam-zbl"), CrystalSpec(name="Al", minimum_atoms=1)) == ""
    assert "never checked in Si" in doubt(load_potential("al-eam-zbl"), CrystalSpec(name="Si", minimum_atoms=1))


def test_a_crystal_of_other_elements_is_refused_before_any_check(capsys):
    assert main(["potential", "check", "si-tersoff-zbl", "--crystal", "CaWO4"]) == 2
    assert "crystal CaWO4: holds Ca, O, W, which si-tersoff-zbl does not know" in capsys.readouterr().err
    with pytest.raises(InputError, match="unknown crystal"):
        contract_crystals(load_potential("si-tersoff-zbl"), ["Xx"])
    with pytest.raises(InputError, match="no such structure file"):
        contract_crystals(load_potential("si-tersoff-zbl"), ["./Si"])
