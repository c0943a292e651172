"""Unit conversions: each stands once."""

import ast
import re
from pathlib import Path

import pytest

import cascade_driver

_UNIT = r"(?:[kM]?J|[kMG]?eV|[EK]+V|WATT|GW|K|FM|NM|A|UM|MM|CM|M|KM|FS|PS|NS|S|DAY|[MG]?PA|BAR|BARN)\d?"
CONVERSION = re.compile(rf"_?{_UNIT}(?:_{_UNIT})*_PER_{_UNIT}(?:_{_UNIT})*")

#: The engine's own rounded value, to which its pressures belong.
OF_THE_ENGINE = {"lammps_engine.py: _BAR_PER_eV_A3"}


def conversions(source: str) -> list[str]:
    """Names of conversions that a module assigns at its top."""
    found = []
    for node in ast.parse(source).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        found += [t.id for t in targets if isinstance(t, ast.Name) and CONVERSION.fullmatch(t.id)]
    return found


def test_unit_conversions_stand_in_units_alone():
    package = Path(cascade_driver.__file__).parent
    elsewhere = {
        f"{path.name}: {name}"
        for path in package.rglob("*.py")
        if path.name != "units.py"
        for name in conversions(path.read_text())
    }
    assert elsewhere == OF_THE_ENGINE


@pytest.mark.parametrize("name", ["_CM_PER_FM", "CM2_PER_BARN", "eV_NM3_PER_GPA", "_eV_PER_MeV", "FS_PER_S"])
def test_negative_control_a_planted_conversion_is_found(name):
    assert conversions(f"{name} = 1e3") == conversions(f"{name}: float = 1e3") == [name]


@pytest.mark.parametrize("name", ["POINTS_PER_BIN", "CANDIDATES_PER_DIRECTION", "FERMI_CONSTANT_per_MeV2"])
def test_negative_control_a_number_of_something_else_is_none(name):
    assert conversions(f"{name} = 1e3") == []
