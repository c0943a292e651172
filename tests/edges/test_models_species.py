"""Several recoiling species in one run, and what it costs to take one response for all."""

import dataclasses

import campaigns
import numpy as np
import pytest

from cascade_driver.analysis.defect_probability import FermiProbability
from cascade_driver.analysis.distribution import StoredEnergyDistribution
from cascade_driver.analysis.model import SpeciesModel, StoredEnergyModel, fit_stored_energy_model
from cascade_driver.config import AnalysisSpec
from cascade_driver.errors import InputError
from cascade_driver.models import with_errors
from cascade_driver.plot import spectra_figure
from cascade_driver.report import _error_remark
from cascade_driver.request import ReactorRequest
from cascade_driver.simulation.outcome import concatenate
from cascade_driver.spectra.correction import correct, largest_borrowed_share, shortcut_error
from cascade_driver.spectra.observe import observe
from cascade_driver.spectrum import Spectrum

EDGES = np.linspace(0.0, 160.0, 81)


def species_model(half, mean):
    law = StoredEnergyDistribution(
        shape="gaussian",
        reference_energy_eV=90.0,
        energy_scale_eV=70.0,
        lowest_energy_eV=20.0,
        location_eV=(mean, 3.0),
        log_sigma=(1.0, 0.3),
    )
    return SpeciesModel(
        defect_probability=FermiProbability(half_energy_eV=half, width_eV=8.0),
        distribution=law,
        minimum_recoil_energy_eV=20.0,
        maximum_recoil_energy_eV=160.0,
    )


def spectrum():
    return Spectrum.from_counts(
        energy_edges_eV=EDGES,
        counts_per_kg_day={
            "W": -np.diff(np.exp(-EDGES / 20)) * 1e3,
            "Ca": -np.diff(np.exp(-EDGES / 60)) * 1e2,
            "O": -np.diff(np.exp(-EDGES / 150)) * 1e2,
        },
    )


def responses(model):
    return {s: model.response(s, EDGES) for s in ("W", "Ca", "O")}


def test_the_shortcut_of_one_response_costs_nothing_if_all_are_alike():
    alike = StoredEnergyModel(species=dict.fromkeys(("W", "Ca", "O"), species_model(50.0, 8.0)))
    error = shortcut_error(spectrum(), responses(alike), species="W")
    assert (error.lowest, error.highest, error.misplaced_share) == pytest.approx((0, 0, 0), abs=1e-12)


def test_the_shortcut_costs_what_the_other_elements_store_more():
    model = StoredEnergyModel(
        species={"W": species_model(50.0, 8.0), "Ca": species_model(40.0, 12.0), "O": species_model(38.0, 15.0)}
    )
    error = shortcut_error(spectrum(), responses(model), species="W", low_eV=10, high_eV=120)
    right = correct(spectrum(), responses(model)).total_rate_per_kg_day_keV
    wrong = correct(spectrum(), {"W": responses(model)["W"]}, fallback_species="W").total_rate_per_kg_day_keV
    ratio = (wrong / right - 1)[5:60]
    assert error.lowest == pytest.approx(ratio.min())
    assert error.highest == pytest.approx(ratio.max())
    assert error.highest > 0.03
    assert "all elements through the response of W" in str(error)
    with pytest.raises(InputError, match="no rate between"):
        shortcut_error(spectrum(), responses(model), species="W", low_eV=400)
    shares = {e: c / spectrum().total_rate_per_kg_day_keV for e, c in spectrum().rate_per_kg_day_keV.items()}
    assert largest_borrowed_share(spectrum(), ["W", "Ca"], high_eV=60) == pytest.approx(shares["O"][29])


def test_a_run_of_three_species_reports_bands_and_the_error_of_tungsten_only():
    rng = np.random.default_rng(3)
    tables = [campaigns.simulate(rng, species=s, n_snapshots=4, common=0.0) for s in ("W", "Ca", "O")]
    table = concatenate(tables)
    model = fit_stored_energy_model(table, n_bootstrap=0)
    request = ReactorRequest(
        kind="cevns", target="CaWO4", power_GW=(4.25,), distance_m=(72.0,), energy_eV=(0.0, 140.0), bins=70
    )
    model = dataclasses.replace(with_errors(table, model, analysis=AnalysisSpec()), crystal=("CaWO4",))
    pair = observe(request, model)
    assert set(model.species) == {"W", "Ca", "O"}
    assert any("all elements through the response of W would be wrong by" in note for note in pair.notes)
    assert "Error of the observed rate in a bin" in _error_remark(pair.bands, 0.0, 60.0)
    assert {"statistics", "shape"} <= set(pair.bands.components)
    observed = pair.observed_in_same_bins.total_rate_per_kg_day_keV
    assert pair.bands.nominal_per_kg_day_keV == pytest.approx(observed)
    figure = spectra_figure([pair])
    assert any("68% band" in text.get_text() for text in figure.legends[0].get_texts())
    bare = spectra_figure([dataclasses.replace(pair, bands=None)])
    assert not any("band" in text.get_text() for text in bare.legends[0].get_texts())
