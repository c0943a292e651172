"""JSON schemas take what the program takes, and refuse what it refuses."""

import datetime
import json
import tomllib

import campaigns
import jsonschema
import numpy as np
import pytest

from cascade_driver.analysis.model import fit_stored_energy_model
from cascade_driver.cli import main
from cascade_driver.config import AnalysisSpec, read_input
from cascade_driver.errors import CascadeError
from cascade_driver.json_schema import SCHEMAS, json_schema
from cascade_driver.models import with_errors
from cascade_driver.relaxation.film.spectrum import read_film_background
from cascade_driver.simulation.record import write_record

SHIPPED = {
    "input": ("inputs/*.toml", "inputs/backgrounds/debris-*.toml", "potentials/*/validation/first-cascades.toml"),
    "threshold": ("inputs/thresholds/*.toml", "potentials/*/validation/thresholds*.toml"),
    "film": ("inputs/backgrounds/film.toml",),
    "fit": ("inputs/training/minimal.toml", "potentials/cawo4-training/fit-*.toml"),
    "labels": ("potentials/cawo4-training/cp2k.toml", "potentials/cawo4-training/flight.toml"),
    "potential": ("potentials/*/potential.toml",),
}


def as_json(content):
    """What TOML holds, as JSON has it."""
    if isinstance(content, dict):
        return {name: as_json(value) for name, value in content.items()}
    if isinstance(content, list):
        return [as_json(value) for value in content]
    return content.isoformat() if isinstance(content, datetime.date) else content


def complaints(of, content):
    """Return what a schema says against a content."""
    return [error.message for error in jsonschema.Draft202012Validator(json_schema(of)).iter_errors(content)]


@pytest.mark.parametrize("of", SCHEMAS)
def test_every_schema_is_one(of):
    jsonschema.Draft202012Validator.check_schema(json_schema(of))


@pytest.mark.parametrize("of", SHIPPED)
def test_every_file_that_ships_is_as_its_schema_says(of, pytestconfig):
    files = [file for pattern in SHIPPED[of] for file in sorted(pytestconfig.rootpath.glob(pattern))]
    assert len(files) >= len(SHIPPED[of])
    for file in files:
        assert complaints(of, as_json(tomllib.loads(file.read_text()))) == [], file


@pytest.mark.parametrize(
    "spoilt",
    [
        "sed = 1\n{}",
        "{}\n[work]\nworkers = 0",
        '{}\n[work]\nworkers = "many"',
        "{}\n[follow]\nmax_displacement = 0.1",
        '{}\n[analysis]\nshape = "round"',
        '{}\n[analysis]\n[[spectra]]\nkind = "axion"',
        '{}\n[analysis]\n[[spectra]]\nkind = "cevns"\nsource = "solar"\npower_GW = [1]\n'
        'target = "Si"\nenergy_eV = [1, 2]\nbins = 1',
        '{}\n[analysis]\n[[spectra]]\nkind = "cevns"\nsource = "mono"\n'
        'target = "Si"\nenergy_eV = [1, 2]\nbins = 1',
    ],
)
def test_an_input_that_the_program_refuses_is_refused_by_the_schema(spoilt, pytestconfig, tmp_path):
    good = (pytestconfig.rootpath / "inputs" / "minimal.toml").read_text()
    good = good[: good.index("[analysis]")] if "[analysis]" in good else good
    assert complaints("input", as_json(tomllib.loads(good))) == []
    text = spoilt.format(good)
    (tmp_path / "input.toml").write_text(text)
    with pytest.raises(CascadeError):
        read_input(tmp_path / "input.toml")
    assert complaints("input", as_json(tomllib.loads(text))) != []


def test_a_record_is_as_its_schema_says(silicon, tmp_path):
    record = silicon.run(silicon.spec(species="Si", recoil_energy_eV=30.0)).record
    write_record(record, tmp_path)
    content = json.loads((tmp_path / "record.json").read_text())
    assert complaints("record", content) == []
    assert complaints("record", content | {"outcome": "engine_error", "physics": {}}) == []
    assert complaints("record", content | {"physics": {"stored_energy_eV": 1.0}}) != []
    assert complaints("record", content | {"outcome": "done"}) != []
    assert complaints("record", content | {"colour": "red"}) != []
    del content["checksum"]
    assert complaints("record", content) != []


def test_a_model_is_as_its_schema_says(tmp_path):
    table = campaigns.simulate(np.random.default_rng(1), n_snapshots=4)
    model = with_errors(table, fit_stored_energy_model(table, n_bootstrap=0), analysis=AnalysisSpec())
    content = json.loads(model.save(tmp_path / "model.json").read_text())
    assert complaints("model", content) == []
    assert complaints("model", content | {"status": "perfect"}) != []
    del content["species"]["W"]["defect_probability"]
    assert complaints("model", content) != []


def test_a_schema_tells_what_the_docstrings_tell():
    made = json_schema("input")
    assert made["$defs"]["FollowSpec"]["properties"]["max_displacement_A"]["description"]
    reactor = made["$defs"]["ReactorRequest"]["properties"]
    assert reactor["power_GW"]["description"] == "Thermal power of each core."
    assert reactor["target"]["description"].startswith("Chemical formula")
    assert "Attributes" not in json.dumps(made)


def test_the_command_writes_what_an_editor_is_told(tmp_path, capsys):
    out = tmp_path / "schemas" / "input.json"
    assert main(["schema", "--out", str(out)]) == 0
    assert f"#:schema {out}" in capsys.readouterr().out
    assert json.loads(out.read_text()) == json_schema("input")
    assert main(["schema", "model"]) == 0
    assert json.loads(capsys.readouterr().out) == json_schema("model")


def test_a_film_by_the_name_of_its_metal_is_as_its_schema_says(pytestconfig):
    film = pytestconfig.rootpath / "inputs" / "backgrounds" / "film.toml"
    content = tomllib.loads(film.read_text())
    assert read_film_background(film).interface.metal.name == content["interface"]["metal"]
    assert complaints("film", content | {"interface": {"metal": "Pb"}}) != []
