"""Errors of a model file that cannot be used are refused in one line, wherever the file was changed."""

import copy
import dataclasses
import random

import numpy as np
import pytest

from cascade_driver.analysis.model import StoredEnergyModel
from cascade_driver.analysis.tabulated import TabulatedDistribution
from cascade_driver.errors import InputError, RecordError
from cascade_driver.files import data_folder
from cascade_driver.spectra.ensemble import correction_bands
from cascade_driver.spectra.ensemble_content import ensemble_of
from cascade_driver.spectrum import Spectrum

#: What stands in place of a value; none of them is the number of a file.
WRONG = [0, -1, 1e99, 1.5, "x", None, [], {}, True, [1], 7, -3e5, 1e-30]

#: A spectrum that every species is folded in.
RECOILS = Spectrum(
    energy_edges_eV=[20, 60, 120], rate_per_kg_day_keV={species: np.ones(2) for species in ("Ca", "O", "W")}
)


@pytest.fixture(scope="module")
def model() -> StoredEnergyModel:
    return StoredEnergyModel.load(data_folder("inputs") / "models" / "cawo4" / "model.json")


def changed(model: StoredEnergyModel, rng: random.Random):
    """Return the model with one value of its errors changed, and where."""
    errors = copy.deepcopy(model.uncertainty)
    inner, path = errors, []
    while True:
        path.append(rng.choice(list(inner)) if isinstance(inner, dict) else rng.randrange(len(inner)))
        value = inner[path[-1]]
        if not (isinstance(value, dict | list) and value) or rng.random() < 0.1:
            break
        inner = value
    inner[path[-1]] = rng.choice(WRONG)
    return dataclasses.replace(model, uncertainty=errors), path


def complaint_or_bands(model: StoredEnergyModel):
    """Return why a model is refused, or its bands; of many replicas the first ones alone are folded, for speed."""
    try:
        ensemble = ensemble_of(model)
    except RecordError as error:
        return str(error)
    few = {
        name: {species: one.select(slice(0, 2)) for species, one in getattr(ensemble, name).items()}
        for name in ("statistics", "fit")
    }
    few_errors = dataclasses.replace(ensemble, **few)
    return correction_bands(RECOILS, few_errors, energy_edges_eV=RECOILS.energy_edges_eV)


def test_a_changed_value_is_refused_in_one_line_or_gives_finite_bands(model):
    rng = random.Random(1)
    refused = 0
    for _ in range(45):
        other, path = changed(model, rng)
        found = complaint_or_bands(other)
        if isinstance(found, str):
            refused += 1
            assert "\n" not in found, path
            assert "fit the campaign again" in found, path
        else:
            assert np.isfinite(found.total.upper_per_kg_day_keV).all(), path
    assert refused > 20
    # Negative control: the file as it ships is used.
    assert not isinstance(complaint_or_bands(model), str)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("notes",), 0, "`notes`: expected texts"),
        (("statistics",), 5, "`statistics`: found int"),
        (("statistics", "W"), {}, "`statistics.W`: found dict, expected replicas"),
        (("nominal", "W", "energy_scale_eV"), "x", "other numbers than its errors|energy_scale_eV"),
        (("fit", "W", "shape"), "split_gaussian", "`fit.W.shape`"),
        (("fit", "W", "location_eV"), {"array": [[1.0]], "type": "<f8"}, r"replicas with \[1, 1000\] values"),
        (("rising", "W", "law"), None, "`rising.W.law`: found NoneType"),
        (("shapes", "empirical", "Ca", "knot", "array", 0), 99, "a knot that is none of"),
        (("shapes", "empirical", "Ca", "knot", "type"), "<f8", "whole numbers"),
        (("potentials", "relaxed.json", "X"), {"kind": "StoredEnergyDistribution"}, "damaged"),
    ],
)
def test_what_is_wrong_is_named(model, path, value, said):
    errors = copy.deepcopy(model.uncertainty)
    inner = errors
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    with pytest.raises(RecordError, match=said):
        ensemble_of(dataclasses.replace(model, uncertainty=errors))


def test_a_stored_energy_that_nothing_has_is_refused():
    table = {"knots_eV": (50.0, 100.0), "knot": (0, 1), "direction": (0, 1), "weight": (1.0, 1.0)}
    assert TabulatedDistribution(**table, stored_energy_eV=(0.0, 8.0))
    with pytest.raises(InputError, match="stored energies"):
        TabulatedDistribution(**table, stored_energy_eV=(0.0, 1e99))
