"""Folders may be called whatever the file system allows: LAMMPS reads plain names and gives the same numbers."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

from cascade_driver.schema import canonical_json
from cascade_driver.simulation.lammps_build import new_instance
from cascade_driver.simulation.lammps_engine import LammpsEngine
from cascade_driver.simulation.potential import Potential, load_potential
from cascade_driver.validation.calculator import calculator

NAMES = ["Läufe", "a$b", "x*y", "it's", "中文", "a b", "a&b", "a#b", 'quo"te', "${x}", "%d", "tail "]
ALL = "Läufe ${x} $y *'\"&# 中文"

INPUT = """
[crystal]
name = "Si"
repeats = [3, 3, 3]
[potential]
folder = "{potential}"
[thermal]
equilibration_ps = 0.1
snapshot_interval_ps = 0.05
[follow]
duration_ps = 0.1
[[recoils]]
species = "Si"
recoil_energies_eV = [12]
snapshots = 1
directions = {{ count = 1 }}
"""


def energy_eV(potential: Potential, *, through: Path) -> float:
    """Return the energy of a rattled crystal that was written to a folder and read from there."""
    engine = LammpsEngine(potential=potential)
    atoms = bulk("Al", "fcc", a=4.05, cubic=True) * (3, 3, 3)
    atoms.rattle(0.1, seed=1)
    engine.build(atoms)
    engine.heat(temperature_K=100, duration_ps=0.002, damping_ps=0.1, timestep_ps=0.001, seed=1)
    engine.write(through / "000.data")
    engine.read(through / "000.data", periodic=[True] * 3, held=[])
    found = engine.potential_energy_eV()
    engine.close()
    return found


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.fixture(scope="module")
def wanted_eV(tmp_path_factory):
    return energy_eV(load_potential("al-eam-zbl"), through=tmp_path_factory.mktemp("plain"))


@pytest.mark.parametrize("name", NAMES)
def test_no_name_of_a_folder_changes_a_number(tmp_path, monkeypatch, name, wanted_eV):
    folder = tmp_path / name
    (folder / "tmp").mkdir(parents=True)
    shutil.copytree(load_potential("al-eam-zbl").folder, folder / "potential")
    monkeypatch.setattr(tempfile, "tempdir", str(folder / "tmp"))
    potential = load_potential(folder / "potential")
    opened = open_files()
    assert energy_eV(potential, through=folder) == wanted_eV
    atoms = bulk("Al", "fcc", a=4.05)
    atoms.calc = calculator(potential)
    assert np.isfinite(atoms.get_potential_energy())
    atoms.calc.lmp.close()
    atoms.calc = None
    assert open_files() <= opened + 2  # LAMMPS' own, of the first instance
    assert (folder / "000.data").exists()


def test_negative_control_lammps_itself_does_not_read_such_a_name(tmp_path):
    include = tmp_path / "Läufe" / "include.lmp"
    include.parent.mkdir()
    include.write_text("units metal\n")
    lmp = new_instance()
    with pytest.raises(Exception, match=r"decode|cannot open|Cannot open"):
        lmp.command(f'include "{include}"')
    lmp.close()


def do(*words: str, within: Path) -> None:
    """Run a command with a folder and its `tmp` as the current and the temporary directory."""
    program = [sys.executable, "-c", "import sys; from cascade_driver.cli import main; sys.exit(main())"]
    environment = os.environ | {"TMPDIR": str(within / "tmp")}
    done = subprocess.run(
        [*program, *words], cwd=within, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_campaign_runs_in_a_folder_of_any_name_to_the_same_record(tmp_path):
    records = {}
    for name in ("plain", ALL):
        folder = tmp_path / name
        (folder / "tmp").mkdir(parents=True)
        shutil.copytree(load_potential("si-tersoff-zbl").folder, folder / "si-tersoff-zbl")
        (folder / "in.toml").write_text(INPUT.format(potential="si-tersoff-zbl"))
        do("run", "in.toml", "--out", str(folder / "RUN"), "--workers", "1", within=folder)
        (record,) = (folder / "RUN" / "cascades").glob("*/record.json")
        do("reproduce", str(folder / "RUN"), record.parent.name, "--out", str(folder / "AGAIN"), within=folder)
        do("verify", str(folder / "RUN"), within=folder)
        records[name] = json.loads(record.read_text())
    assert canonical_json(records["plain"]["physics"]) == canonical_json(records[ALL]["physics"])
    assert records["plain"]["id"] == records[ALL]["id"]
