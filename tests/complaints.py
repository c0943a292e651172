"""Inputs that are good, for tests that spoil them, and what the command line says of spoilt ones."""

from pathlib import Path

import pytest

from cascade_driver.cli import main

GOOD = """
seed = 1

[crystal]
name = "CaWO4"
repeats = [4, 4, 2]

[potential]
name = "cawo4-pbe-spline"

[[recoils]]
species = "W"
recoil_energies_eV = [20, 40]
directions = { scheme = "symmetry", count = 2 }
snapshots = 1
"""

SPECTRA = """
[[spectra]]
kind = "dm"
target = "CaWO4"
mass_GeV = 2
cross_section_cm2 = 1e-40
energy_eV = [1, 81]
bins = 80
"""


def complaint(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Run the command line, check the form of what it says, and return it."""
    code = main([str(a) for a in arguments])
    said = capsys.readouterr()
    lines = said.err.splitlines()
    assert code == 2
    assert len(lines) == 1, said.err
    assert lines[0].startswith("cascade: ")
    assert "Traceback" not in said.err + said.out
    assert said.out == ""
    return lines[0]


def run_complaint(capsys, folder: Path, text: str) -> str:
    """Plan a run from an input that must be refused before anything is written."""
    (folder / "input.toml").write_text(text)
    before = sorted(folder.rglob("*"))
    line = complaint(capsys, "run", folder / "input.toml", "--out", folder / "RUN", "--plan-only")
    assert sorted(folder.rglob("*")) == before, "something was written"
    return line
