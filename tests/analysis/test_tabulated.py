"""Records as their own law: what a table says stays what it says, and nothing is fitted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cascade_driver as cd
from cascade_driver.analysis.model import StoredEnergyModel, fit_stored_energy_model
from cascade_driver.analysis.response import observed_edges
from cascade_driver.analysis.tabulated import (
    TabulatedDistribution,
    TabulatedProbability,
    central_table,
    table_replicas,
)
from cascade_driver.analysis.uncertainty import fermi_of
from cascade_driver.errors import FitError, InputError
from cascade_driver.simulation.outcome import CascadeTable
from cascade_driver.spectra.ensemble_content import ensemble_of

KNOTS = (10.0, 20.0, 30.0, 40.0)


def law_of(stored_eV, knots_eV=KNOTS) -> TabulatedDistribution:
    """A table of directions (rows) and energies (columns), all of one weight."""
    stored = np.asarray(stored_eV, dtype=float)
    d, k = stored.shape
    return TabulatedDistribution(
        knots_eV=tuple(knots_eV),
        knot=tuple(np.tile(np.arange(k), d).tolist()),
        direction=tuple(np.repeat(np.arange(d), k).tolist()),
        stored_energy_eV=tuple(stored.ravel().tolist()),
        weight=(1.0,) * (d * k),
    )


def cascades_of(stored_eV, knots_eV=KNOTS, *, species: str = "Si") -> CascadeTable:
    stored = np.asarray(stored_eV, dtype=float)
    d, k = stored.shape
    angle = np.linspace(0.1, 1.4, d)
    vectors = np.stack([np.sin(angle), np.zeros(d), np.cos(angle)], axis=1)
    return CascadeTable(
        id=np.array([f"{i}" for i in range(d * k)]),
        species=np.full(d * k, species),
        recoil_energy_eV=np.tile(knots_eV, d).astype(float),
        direction=np.repeat(vectors, k, axis=0),
        direction_weight=np.full(d * k, 1 / d),
        snapshot=np.zeros(d * k, dtype=np.int64),
        outcome=np.full(d * k, "completed"),
        stored_energy_eV=stored.ravel(),
    )


#: Three directions: one never stores anything, one always, one from 30 eV on.
THREE = [[0, 0, 0, 0], [4, 5, 6, 7], [0, 0, 8, 9]]


@pytest.mark.parametrize(
    ("energy_eV", "expected"),
    [(5, 1 / 6), (10, 1 / 3), (20, 1 / 3), (25, 0.5), (30, 2 / 3), (40, 2 / 3), (80, 2 / 3)],
)
def test_shares_are_those_of_the_records_and_linear_between_them(energy_eV: float, expected: float) -> None:
    assert law_of(THREE).defect_probability(energy_eV).item() == pytest.approx(expected)


def test_at_a_tabulated_energy_the_law_is_that_of_its_records() -> None:
    law = law_of(THREE)
    stored = np.array([-1.0, 0.0, 5.9, 6.0, 7.9, 8.0, 29.0, 30.0, 99.0])
    np.testing.assert_allclose(law.cumulative(stored, 30.0), [0, 0, 0, 0.5, 0.5, 1, 1, 1, 1])
    assert law.mean_eV(30.0).item() == pytest.approx(7.0)
    # halfway to 20 eV: a share of 1/6 that stores 5 eV, and of 1/3 that stores 6 or 8
    np.testing.assert_allclose(law.cumulative([4.9, 5.0, 6.0, 8.0], 25.0), [0, 1 / 3, 2 / 3, 1])
    assert law.mean_eV(25.0).item() == pytest.approx((5 + 6 + 8) / 3)
    # beyond the last, and below the first, proportional to the energy
    np.testing.assert_allclose(law.mean_eV([80.0, 5.0]), [16.0, 2.0])


@given(st.lists(st.lists(st.floats(0, 9), min_size=4, max_size=4), min_size=2, max_size=6), st.floats(1, 60))
@settings(max_examples=40, deadline=None)
def test_quantiles_are_the_inverse_of_what_is_reached(rows: list[list[float]], energy_eV: float) -> None:
    rows[0][3] = max(rows[0][3], 1.0)
    law = law_of(rows)
    share = np.linspace(0.01, 0.99, 23)
    stored = law.quantile(share, energy_eV)
    assert np.all((stored >= 0) & (stored <= energy_eV))
    if law.defect_probability(energy_eV) > 0:
        assert np.all(law.cumulative(stored, energy_eV) >= share - 1e-9)
        assert np.all(law.cumulative(stored * (1 - 1e-9) - 1e-9, energy_eV) <= share + 1e-9)


@given(st.lists(st.lists(st.floats(0, 9), min_size=4, max_size=4), min_size=2, max_size=5))
@settings(max_examples=20, deadline=None)
def test_columns_of_its_response_are_probabilities(rows: list[list[float]]) -> None:
    rows[0][0] = max(rows[0][0], 1.0)
    model = fit_stored_energy_model(cascades_of(rows), shape="table")
    matrix = model.response("Si", np.arange(0.0, 41.0), extrapolate=True).matrix
    np.testing.assert_allclose(matrix.sum(axis=0), 1)
    assert matrix.min() >= 0


def test_a_constant_loss_moves_a_spectrum_by_it() -> None:
    edges = np.arange(20.0, 41.0)
    matrix = fit_stored_energy_model(cascades_of([[5.0] * 4] * 3), shape="table").response("Si", edges).matrix
    observed = observed_edges(edges)
    expected = np.zeros_like(matrix)
    first = int(np.searchsorted(observed, 15.0))
    expected[first : first + 20] = np.eye(20)
    np.testing.assert_allclose(matrix, expected, atol=1e-12)


def test_a_sharp_threshold_makes_the_peak_of_the_closed_form() -> None:
    # dR/dE_obs = dR/dE_R / (1 - dE_loss/dE_R) of a loss that rises by 0.6 per eV between 20 and 40 eV: S. Sassi,
    # thesis (Helsinki), chapter "Detectors, crystals, and energy loss"; of flat recoils 2.5 between 20 and 28 eV
    knots = np.arange(1.0, 61.0)
    loss = np.clip(0.6 * (knots - 20), 0, 12)
    model = fit_stored_energy_model(cascades_of([loss] * 2, knots), shape="table")
    edges = np.linspace(1.0, 60.0, 119)
    seen = model.response("Si", edges).matrix @ np.diff(edges)
    observed = observed_edges(edges)
    density = seen / np.diff(observed)
    middle = 0.5 * (observed[1:] + observed[:-1])
    assert density[(middle > 5) & (middle < 19)] == pytest.approx(1.0, abs=1e-9)
    # the mixture of neighbouring energies smears by 0.6 eV
    assert density[(middle > 21.5) & (middle < 26.5)].mean() == pytest.approx(2.5, rel=0.01)
    assert density[(middle > 30) & (middle < 45)].mean() == pytest.approx(1.0, rel=0.01)


def test_replicas_draw_whole_directions_and_lose_no_count() -> None:
    law = law_of(THREE)
    edges = np.arange(20.0, 41.0)
    counts = np.full(20, 3.0)
    drawn = table_replicas(law, n_replicas=4000, rng=np.random.default_rng(1))
    folded = drawn.fold(counts, recoil_edges_eV=edges)
    np.testing.assert_allclose(folded.sum(axis=1), counts.sum())
    model = fit_stored_energy_model(cascades_of(THREE), shape="table")
    response = model.response("Si", edges).matrix @ counts
    (centre,) = central_table(law).fold(counts, recoil_edges_eV=edges)
    # four points in a bin against a quadrature
    np.testing.assert_allclose(centre, response, atol=0.03 * counts[0])
    # one of three directions is drawn n of 3 times: the share that leaves nothing has the binomial's variance
    nothing = drawn.drawn[:, 0] / 3
    assert nothing.std() == pytest.approx(np.sqrt(1 / 3 * 2 / 3 / 3), rel=0.05)
    untouched = folded[:, -1] / counts[-1]  # of the last bin only what stores nothing stays
    np.testing.assert_allclose(untouched, nothing, atol=1e-9)


def test_a_table_comes_back_from_its_file_with_its_errors(tmp_path) -> None:
    model = fit_stored_energy_model(cascades_of(THREE), shape="table")
    again = StoredEnergyModel.load(model.save(tmp_path / "model.json"))
    assert again["Si"] == model["Si"]
    assert isinstance(again["Si"].defect_probability, TabulatedProbability)
    counts, edges = np.full(20, 3.0), np.arange(20.0, 41.0)
    bands = [ensemble_of(m).statistics["Si"].fold(counts, recoil_edges_eV=edges) for m in (model, again)]
    np.testing.assert_array_equal(*bands)


def test_samples_of_a_table_have_its_shares() -> None:
    model = fit_stored_energy_model(cascades_of(THREE), shape="table")
    drawn = model.sample("Si", np.full(20_000, 30.0), rng=np.random.default_rng(2))
    assert sorted(set(drawn.tolist())) == [0.0, 6.0, 8.0]
    assert np.mean(drawn == 6.0) == pytest.approx(1 / 3, abs=0.015)


def test_a_table_has_no_parameters() -> None:
    model = fit_stored_energy_model(cascades_of(THREE), shape="table")
    with pytest.raises(FitError, match="the model is a table and has no parameters"):
        fermi_of(model["Si"])
    with pytest.raises(FitError, match="no cascade stored energy"):
        fit_stored_energy_model(cascades_of(np.zeros((2, 4))), shape="table")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"knots_eV": (10.0, 10.0, 30.0, 40.0)}, "expected rising ones"),
        ({"weight": (1.0,) * 11}, "records at each"),
        ({"knot": (0,) * 12}, "records at each"),
        ({"stored_energy_eV": (float("nan"),) * 12}, "records at each"),
    ],
)
def test_numbers_that_do_not_fit_together_are_refused(change, words: str) -> None:
    law = law_of(THREE)
    with pytest.raises(InputError, match=words):
        TabulatedDistribution(**{name: getattr(law, name) for name in law.__dataclass_fields__} | change)


#: Two directions that store so much of each energy that a bin is crossed by few records.
DENSE_eV = np.arange(20.0, 301.0, 2.0)


def dense_model() -> StoredEnergyModel:
    table = cascades_of([0.28 * DENSE_eV, 0.30 * DENSE_eV], DENSE_eV)
    return replace(fit_stored_energy_model(table, shape="table"), extrapolate=True)


def test_a_bin_of_the_response_is_the_sum_of_narrower_ones() -> None:
    wide, narrow = (dense_model().response("Si", np.linspace(50, 150, n + 1)) for n in (100, 800))
    middle = (narrow.observed_edges_eV[1:] + narrow.observed_edges_eV[:-1]) / 2
    summed, _ = np.histogram(middle, wide.observed_edges_eV, weights=narrow.matrix.sum(axis=1) / 8)
    ours = wide.matrix.sum(axis=1)
    whole = (wide.observed_edges_eV[:-1] > 40) & (wide.observed_edges_eV[1:] < 100)
    np.testing.assert_allclose(ours[whole], summed[whole], rtol=0.01)


def test_the_last_bins_have_what_comes_down_into_them() -> None:
    rates = []
    for top in (100, 150):
        source = cd.dark_matter("Si", mass_GeV=1, cross_section_cm2=1e-40, energy_eV=(50, top), bins=top - 50)
        seen = cd.observe(source, dense_model(), bands=False).observed_in_same_bins
        rates.append(seen.total_rate_per_kg_day_keV[40:50])
    np.testing.assert_allclose(rates[0], rates[1], rtol=1e-3)


def test_one_direction_has_no_band_and_says_so() -> None:
    model = fit_stored_energy_model(cascades_of([[4.0, 5.0, 6.0, 7.0]]), shape="table")
    assert any("one direction alone at 10, 20, 30, 40 eV" in note for note in ensemble_of(model).notes)
    both = fit_stored_energy_model(cascades_of(THREE), shape="table")
    assert not any("one direction" in note for note in ensemble_of(both).notes)
