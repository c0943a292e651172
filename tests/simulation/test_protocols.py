"""Protocols by name: what they stand for, and that an input says more."""

import pytest

from cascade_driver.cli import main
from cascade_driver.config import RunInput
from cascade_driver.schema import build
from cascade_driver.simulation.protocols import named_protocols, with_protocol

INPUT = """
protocol = "{protocol}"
[crystal]
name = "Si"
{size}
[potential]
name = "si-tersoff-zbl"
[follow]
duration_ps = 0.5
[[recoils]]
species = "Si"
recoil_energies_eV = [12]
snapshots = 1
directions = {{ count = 1 }}
"""


def test_the_published_protocol_is_the_printed_one():
    # Soum-Sidikov et al. (2024), section III
    content = with_protocol({"protocol": "soum-sidikov-2024"}, origin="here")
    assert content["crystal"] == {"minimum_atoms": 49152}
    assert content["thermal"]["temperature_K"] == 133
    assert (content["follow"]["duration_ps"], content["follow"]["max_displacement_A"]) == (8, 0.01)


@pytest.mark.parametrize("name", named_protocols())
def test_every_protocol_says_what_an_input_may_say(name):
    recoils = [{"species": "W", "recoil_energies_eV": [81], "directions": {"count": 1}}]
    given = {
        "protocol": name,
        "crystal": {"name": "CaWO4"},
        "potential": {"name": "cawo4-pbe-spline"},
        "recoils": recoils,
    }
    made = build(RunInput, with_protocol(given, origin="here"), origin="here")
    for section, says in named_protocols()[name].sections.items():
        for key, value in says.items():
            assert getattr(getattr(made, section), key) == value


def test_what_an_input_says_itself_counts_more_and_is_told(tmp_path, capsys):
    path = tmp_path / "mine.toml"
    path.write_text(INPUT.format(protocol="soum-sidikov-2024", size="minimum_atoms = 600"))
    assert main(["run", str(path), "--plan-only", "--out", str(tmp_path / "RUN")]) == 0
    said = capsys.readouterr().out
    assert "soum-sidikov-2024: the published campaign" in said
    assert "minimum_atoms = 600 in place of 49152" in said
    assert "duration_ps = 0.5 in place of 8" in said
    assert "max_displacement_A = 0.01," in said


def test_another_word_for_the_size_of_the_box_takes_its_place():
    given = {"protocol": "soum-sidikov-2024", "crystal": {"name": "CaWO4", "repeats": [4, 4, 2]}}
    assert with_protocol(given, origin="here")["crystal"] == given["crystal"]


def test_a_protocol_that_nobody_knows_is_refused_with_the_one_that_was_meant(tmp_path, capsys):
    path = tmp_path / "mine.toml"
    path.write_text(INPUT.format(protocol="soum-sidikov", size=""))
    assert main(["run", str(path), "--plan-only", "--out", str(tmp_path / "RUN")]) == 2
    said = capsys.readouterr().err.strip()
    assert said.count("\n") == 0
    assert "did you mean `soum-sidikov-2024`?" in said
