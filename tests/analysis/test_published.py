"""The model of printed values for CaWO4: the means are the paper's, all else is marked as assumed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import integrate

from cascade_driver.analysis.model import StoredEnergyModel
from cascade_driver.analysis.published import (
    CAWO4_PRINTED_MEANS_eV,
    CaWO4Assumptions,
    cawo4_published,
    load_stored_energy_model,
)
from cascade_driver.errors import InputError

#: Text and Fig. 2 of Soum-Sidikov et al. 2024.
PRINTED = [(81.0, 7.5), (112.0, 8.9), (160.0, 11.0)]


@pytest.mark.parametrize(
    "assumed",
    [
        CaWO4Assumptions(),
        CaWO4Assumptions(sigma_81_eV=1.0, sigma_160_eV=1.0),
        CaWO4Assumptions(sigma_81_eV=6.0, sigma_160_eV=8.0),  # truncation moves the mean by more than 1 eV
        CaWO4Assumptions(half_energy_eV=30.0, width_eV=3.0),
    ],
)
@pytest.mark.parametrize(("energy", "mean"), PRINTED)
def test_means_of_the_truncated_distribution_are_the_printed_ones(
    assumed: CaWO4Assumptions, energy: float, mean: float
) -> None:
    distribution = cawo4_published(assumed)["W"].distribution
    # by quadrature of the density, not by the formula that the model was made with
    found, _ = integrate.quad(
        lambda s: s * float(np.exp(distribution.log_density(s, energy)).item()), 0, energy, limit=200
    )
    assert found == pytest.approx(mean, abs=1e-6)


def test_negative_control_the_location_is_not_the_mean() -> None:
    wide = cawo4_published(CaWO4Assumptions(sigma_81_eV=6.0, sigma_160_eV=6.0))["W"].distribution
    assert float(wide.location_at(81.0)) < 7.5 - 0.5


def test_the_same_code_makes_the_same_means_observed() -> None:
    """Through the response: what is missing on average is p_d times the printed mean."""
    model = cawo4_published()
    for energy, mean in PRINTED:
        one = model.response("W", [energy - 1e-3, energy])
        fine = model.response(
            "W",
            [energy - 1e-3, energy],
            observed_edges_eV=np.linspace(0, energy, 2001),
        )
        centres = 0.5 * (fine.observed_edges_eV[1:] + fine.observed_edges_eV[:-1])
        lost = energy - float(centres @ fine.matrix[:, 0])
        # half a bin of 0.08 eV
        assert lost == pytest.approx(float(model["W"].defect_probability(energy)) * mean, abs=0.05)
        assert one.matrix.sum() == pytest.approx(1.0)


def test_mean_stored_energy_rises_and_is_less_than_proportional() -> None:
    model = cawo4_published()["W"]
    energy = np.linspace(20, 160, 57)
    mean = model.distribution.mean_eV(energy)
    assert np.all(np.diff(mean) > 0)
    assert mean[-1] / mean[np.argmin(abs(energy - 80))] < 2
    assert float(model.defect_probability(20.0)) < 0.1
    assert float(model.defect_probability(160.0)) > 0.999


def test_assumptions_are_marked_and_carry_their_numbers() -> None:
    model = cawo4_published(CaWO4Assumptions(half_energy_eV=41.0))
    assumed = next(note for note in model.notes if "ASSUMED, not from the paper" in note)
    assert "half at 41 eV" in assumed
    assert model.status == "qualitative"
    assert "Soum-Sidikov" in model.provenance["source"]
    assert model["W"].defect_probability_fit is None
    assert tuple(PRINTED) == CAWO4_PRINTED_MEANS_eV


def test_a_saved_model_comes_back_with_its_notes(tmp_path: Path) -> None:
    path = cawo4_published().save(tmp_path / "model.json")
    assert load_stored_energy_model(path) == cawo4_published()
    assert StoredEnergyModel.load(path).notes == cawo4_published().notes


def test_models_are_found_by_name_and_by_path(tmp_path: Path) -> None:
    assert load_stored_energy_model("cawo4-published") == cawo4_published()
    with pytest.raises(InputError, match="did you mean cawo4-published"):
        load_stored_energy_model("cawo4-publised")
    with pytest.raises(InputError, match=r"nothing.json: no such model file"):
        load_stored_energy_model(tmp_path / "nothing.json")
    path = cawo4_published().save(tmp_path / "model.json")
    with pytest.raises(InputError, match="assumptions are for cawo4-published only"):
        load_stored_energy_model(path, assumptions=CaWO4Assumptions())


@pytest.mark.parametrize("name", ["half_energy_eV", "width_eV", "sigma_81_eV", "sigma_160_eV"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_impossible_assumptions_are_named(name: str, value: float) -> None:
    with pytest.raises(InputError, match=name):
        CaWO4Assumptions(**{name: value})


def test_a_width_that_no_mean_allows_is_named() -> None:
    with pytest.raises(InputError, match="choose a smaller width"):
        cawo4_published(CaWO4Assumptions(sigma_81_eV=1e4, sigma_160_eV=1e4))
