import dataclasses
import json
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate

from cascade_driver.analysis.defect_probability import FermiProbability
from cascade_driver.analysis.distribution import StoredEnergyDistribution
from cascade_driver.analysis.model import SpeciesModel, StoredEnergyModel, fit_stored_energy_model
from cascade_driver.analysis.response import Response, binned_response, observed_edges
from cascade_driver.errors import FitError, InputError, RecordError
from cascade_driver.simulation.outcome import CascadeTable


def make_model(*, half=50.0, width=10.0, maximum=1.0, location=(8.0, 3.0), sigma=3.0, lowest=20.0, asymmetry=()):
    return StoredEnergyModel(
        species={
            "W": SpeciesModel(
                defect_probability=FermiProbability(half_energy_eV=half, width_eV=width, maximum=maximum),
                distribution=StoredEnergyDistribution(
                    shape="split_gaussian" if asymmetry else "gaussian",
                    reference_energy_eV=100.0,
                    energy_scale_eV=60.0,
                    lowest_energy_eV=lowest,
                    location_eV=location,
                    log_sigma=(float(np.log(sigma)),),
                    asymmetry=asymmetry,
                ),
                minimum_recoil_energy_eV=lowest,
                maximum_recoil_energy_eV=160.0,
            )
        },
        provenance={"campaign": "a test"},
    )


@settings(max_examples=40, deadline=None)
@given(
    half=st.floats(0, 150),
    width=st.floats(0, 40),
    maximum=st.floats(0, 1),
    location=st.tuples(st.floats(-500, 500), st.floats(-50, 50)),
    sigma=st.floats(0.05, 50),
    asymmetry=st.floats(-1, 1),
    edges=st.lists(st.integers(0, 1600), min_size=2, max_size=12, unique=True),
)
def test_every_column_is_a_probability(half, width, maximum, location, sigma, asymmetry, edges):
    model = make_model(
        half=half, width=width, maximum=maximum, location=location, sigma=sigma, asymmetry=(asymmetry,)
    )
    recoil = np.sort(edges) / 10
    r = model.response("W", recoil, extrapolate=True)
    assert np.all(r.matrix >= 0)
    np.testing.assert_allclose(r.matrix.sum(axis=0), 1, rtol=0, atol=1e-12)
    assert r.matrix.shape == (len(r.observed_edges_eV) - 1, len(recoil) - 1)
    assert r.observed_edges_eV[0] == 0
    # nothing is observed above the recoil energy
    above = r.observed_edges_eV[:-1, None] >= recoil[None, 1:]
    assert np.all(r.matrix[above] == 0)


def test_no_defect_is_exactly_the_identity():
    edges = np.linspace(0, 160, 81)
    r = make_model(maximum=0.0).response("W", edges)
    assert np.array_equal(r.matrix, np.eye(80))
    shifted = make_model(maximum=0.0).response("W", [10.0, 20.0, 30.0])
    assert np.array_equal(shifted.matrix, [[0, 0], [1, 0], [0, 1]])


def test_no_defect_spreads_a_uniform_bin_over_the_observed_bins_it_overlaps():
    r = make_model(maximum=0.0).response("W", [20.0, 40.0], observed_edges_eV=[0, 25, 32, 50])
    np.testing.assert_allclose(r.matrix[:, 0], [0.25, 0.35, 0.4], rtol=1e-14)


def test_matrix_agrees_with_the_integral_it_stands_for():
    model = make_model(asymmetry=(0.4,))
    one = model["W"]
    observed = [0.0, 38.0, 46.0, 53.0, 60.0]
    r = model.response("W", [30.0, 47.0, 60.0], observed_edges_eV=observed)

    def hit(energy, low, high):
        p, f = one.defect_probability(energy), one.distribution
        moved = f.cumulative(energy - low, energy) - f.cumulative(energy - high, energy)
        return float(p * moved + (1 - p) * (low <= energy < high))

    for j, (a, b) in enumerate([(30.0, 47.0), (47.0, 60.0)]):
        kinks = [x for x in observed if a < x < b]
        for i in range(4):
            value, _ = integrate.quad(
                hit, a, b, args=(observed[i], observed[i + 1]), points=kinks or None, limit=200
            )
            assert r.matrix[i, j] == pytest.approx(value / (b - a), abs=1e-6)


def test_wide_bins_are_sums_of_narrow_ones():
    narrow = make_model(width=2.0).response("W", np.linspace(0, 160, 321)).matrix
    wide = make_model(width=2.0).response("W", np.linspace(0, 160, 9)).matrix
    rebinned = narrow.reshape(8, 40, 320).sum(axis=1).reshape(8, 8, 40).mean(axis=2)
    np.testing.assert_allclose(wide, rebinned, atol=1e-6)


def test_exponential_spectrum_with_a_gaussian_loss_has_its_closed_form():
    """exp(-E/tau) with a loss N(L, s) is observed as exp(-(E + L)/tau + s^2 / 2 tau^2)."""
    tau, loss, sigma = 30.0, 6.0, 1.5
    model = make_model(half=1.0, width=0.0, location=(loss,), sigma=sigma, lowest=1.0)
    edges = np.linspace(0, 160, 321)
    counts = -np.diff(np.exp(-edges / tau))
    observed = model.response("W", edges, extrapolate=True).matrix @ counts
    assert observed.sum() == pytest.approx(counts.sum(), rel=1e-13)
    inside = (edges[:-1] > 10) & (edges[1:] < 140)  # away from the truncation at 0 and the last edge
    expected = counts * np.exp(-loss / tau + sigma**2 / (2 * tau**2))
    # 5e-5: counts uniform in a bin of 0.5 eV instead of exponential, (0.5 / tau)^2 / 12 = 2e-5
    np.testing.assert_allclose(observed[inside], expected[inside], rtol=5e-5)
    without_scatter = counts * np.exp(-loss / tau)
    assert not np.allclose(observed[inside], without_scatter[inside], rtol=5e-5)  # negative control


def test_response_agrees_with_sampled_cascades():
    """Poisson chi-square of 200 000 sampled recoils; false-alarm rate 1e-4."""
    model, rng = make_model(), np.random.default_rng(5)
    energy = rng.uniform(60, 70, 200_000)
    edges = np.arange(0, 75, 5.0)
    seen = np.histogram(energy - model.sample("W", energy, rng=rng), edges)[0]
    r = model.response("W", [60.0, 70.0], observed_edges_eV=edges)
    expected = r.matrix[:, 0] * len(energy)
    known = expected > 10
    chi2 = np.sum((seen - expected)[known] ** 2 / expected[known])
    wrong = make_model(sigma=3.2).response("W", [60.0, 70.0], observed_edges_eV=edges).matrix[:, 0]
    assert chi2 < 35  # at most 14 bins: 1e-3 quantile 36
    assert np.sum((seen - wrong * len(energy))[known] ** 2 / expected[known]) > 100  # negative control


def test_observed_edges_reach_down_to_zero():
    assert observed_edges([10.0, 20.0, 30.0]).tolist() == [0, 10, 20, 30]
    assert observed_edges([0.0, 1.0]).tolist() == [0, 1]
    assert observed_edges([3.0, 13.0]).tolist() == [0, 3, 13]
    r = make_model().response("W", [60.0, 70.0, 80.0])
    assert r.observed_edges_eV.tolist() == [0, 10, 20, 30, 40, 50, 60, 70, 80]
    assert r.matrix[5, 0] > 0.1  # observed below the lowest recoil edge, and kept


def test_unfit_edges_and_ranges_are_refused():
    model = make_model()
    for bad in ([1.0], [2.0, 1.0], [0.0, np.inf], [[0.0, 1.0]]):
        with pytest.raises(InputError, match="rising order"):
            model.response("W", bad)
    with pytest.raises(InputError, match="not negative"):
        model.response("W", [-1.0, 1.0])
    for lost in ([5.0, 80.0], [0.0, 70.0]):
        with pytest.raises(InputError, match="would lose counts"):
            model.response("W", [60.0, 80.0], observed_edges_eV=lost)
    with pytest.raises(InputError, match=r"up to 200 eV wanted, simulated up to 160 eV.*--extrapolate"):
        model.response("W", [60.0, 200.0])
    assert model.response("W", [60.0, 200.0], extrapolate=True).matrix.shape[1] == 1
    with pytest.raises(InputError, match=r"from 0 eV wanted, simulated from 20 eV .* still 0\.50"):
        make_model(half=20.0).response("W", [0.0, 100.0])
    with pytest.raises(InputError, match="knows nothing of 'O', only of W"):
        model.response("O", [60.0, 80.0])
    edges = np.array([0.0, 1.0, 2.0])
    with pytest.raises(InputError, match="shape and edges must agree"):
        Response(species="W", recoil_edges_eV=edges, observed_edges_eV=edges, matrix=np.eye(3))
    with pytest.raises(InputError, match="must be a probability"):
        Response(species="W", recoil_edges_eV=edges, observed_edges_eV=edges, matrix=np.ones((2, 2)))


@pytest.mark.benchmark
def test_a_thousand_bins_take_about_a_second():
    start = time.perf_counter()
    make_model().response("W", np.linspace(0, 160, 1001))
    assert time.perf_counter() - start < 1.5


# --- model --------------------------------------------------------------------------------------------------


def make_table(rng, *, species="W", n=200):
    truth = make_model()["W"]
    energy = np.repeat([20.0, 40.0, 60.0, 81.0, 112.0], n)
    stored = make_model().sample("W", energy, rng=rng)
    assert truth.maximum_recoil_energy_eV == 160
    direction = rng.normal(size=(len(energy), 3))
    return CascadeTable(
        id=np.array([f"{species}{i}" for i in range(len(energy))]),
        species=np.full(len(energy), species),
        recoil_energy_eV=energy,
        direction=direction / np.linalg.norm(direction, axis=1)[:, None],
        direction_weight=np.full(len(energy), 1 / n),
        snapshot=np.zeros(len(energy), dtype=int),
        outcome=np.full(len(energy), "completed"),
        stored_energy_eV=stored,
        potential_status="quantitative",
    )


@pytest.fixture(scope="module")
def fitted():
    table = make_table(np.random.default_rng(1))
    return fit_stored_energy_model(table, shape="split_gaussian", provenance={"potential": "abc"}, n_bootstrap=20)


def test_a_fitted_model_survives_the_round_trip(fitted, tmp_path):
    path = fitted.save(tmp_path / "model.json")
    assert StoredEnergyModel.load(path) == fitted
    assert [p.name for p in tmp_path.iterdir()] == ["model.json"]
    assert fitted.status == "quantitative"
    assert fitted.provenance == {"potential": "abc"}
    by_hand = make_model()
    assert StoredEnergyModel.load(by_hand.save(tmp_path / "hand.json")) == by_hand


def test_the_fit_recovers_what_was_sampled(fitted):
    fit = fitted["W"].defect_probability_fit
    assert np.all(np.abs(np.array(fit.values) - [50, 10]) < 4 * np.array(fit.errors))
    mean = fitted["W"].distribution.mean_eV(112.0)
    row = fitted["W"].distribution_fit.summaries[-1]
    assert abs(mean - row.mean_eV) < 4 * row.standard_error_eV
    assert (fitted["W"].minimum_recoil_energy_eV, fitted["W"].maximum_recoil_energy_eV) == (20, 112)


def test_separated_data_round_trip_with_their_limit(tmp_path):
    table = make_table(np.random.default_rng(2), n=30)
    stored = np.where(table.recoil_energy_eV > 50, np.maximum(table.stored_energy_eV, 1.0), 0.0)
    model = fit_stored_energy_model(dataclasses.replace(table, stored_energy_eV=stored), n_bootstrap=0)
    again = StoredEnergyModel.load(model.save(tmp_path / "m.json"))
    assert again == model
    assert again["W"].defect_probability_fit.is_separated
    assert any("W: the data are separated" in note for note in again.notes)


def test_samples_are_zero_or_within_the_recoil_energy(fitted):
    energy = np.random.default_rng(3).uniform(1, 112, (50, 20))
    stored = fitted.sample("W", energy, rng=np.random.default_rng(4))
    assert stored.shape == energy.shape
    assert np.all((stored >= 0) & (stored <= energy))
    assert 0.2 < np.mean(stored > 0) < 0.8
    assert fitted.sample("W", [], rng=np.random.default_rng(4)).shape == (0,)
    with pytest.raises(InputError, match="positive and finite"):
        fitted.sample("W", [0.0], rng=np.random.default_rng(4))
    with pytest.raises(InputError, match="simulated up to 112 eV"):
        fitted.sample("W", [113.0], rng=np.random.default_rng(4))


def test_damaged_model_files_are_refused_in_one_line(fitted, tmp_path):
    path = fitted.save(tmp_path / "model.json")
    good = json.loads(path.read_text())

    def refused(change, error, match):
        content = json.loads(json.dumps(good))
        change(content)
        path.write_text(json.dumps(content))
        with pytest.raises(error, match=match) as caught:
            StoredEnergyModel.load(path)
        assert "\n" not in str(caught.value)

    w = "species"
    refused(lambda c: c.update(schema_version=99), RecordError, "schema version 99, this program reads 1")
    refused(lambda c: c.pop("schema_version"), RecordError, "not a stored-energy model")
    refused(lambda c: c.pop("status"), RecordError, "damaged at status: Field required")
    refused(lambda c: c.update(extra=1), RecordError, "damaged at extra")
    refused(lambda c: c[w]["W"]["distribution"].update(shape="cauchy"), RecordError, r"W\.distribution\.shape")
    refused(lambda c: c[w]["W"]["distribution"].update(log_sigma=[]), RecordError, "0 log_sigma")
    refused(lambda c: c[w]["W"]["defect_probability"].update(width_eV=-1), RecordError, "not negative")
    refused(lambda c: c[w]["W"]["defect_probability"].update(unknown=-1), RecordError, "unknown")
    path.write_text('{"schema_version": 1, "spec')
    with pytest.raises(RecordError, match="not JSON"):
        StoredEnergyModel.load(path)
    path.write_text("[]")
    with pytest.raises(RecordError, match="not a stored-energy model"):
        StoredEnergyModel.load(path)
    with pytest.raises(InputError, match="no such file"):
        StoredEnergyModel.load(tmp_path / "absent.json")
    with pytest.raises(InputError, match="cannot be written"):
        fitted.save(path / "model.json")
    assert StoredEnergyModel.load(fitted.save(tmp_path / "absent" / "model.json")) == fitted


def test_empty_tables_and_wrong_ranges_are_refused():
    table = make_table(np.random.default_rng(1), n=2)
    with pytest.raises(FitError, match="holds no cascade"):
        fit_stored_energy_model(table.select(np.zeros(len(table), dtype=bool)))
    with pytest.raises(InputError, match="must rise from zero"):
        dataclasses.replace(make_model()["W"], minimum_recoil_energy_eV=200.0)


@pytest.mark.parametrize("below", [1e-9, 1e-12, 1e-14, 0.0])
def test_edges_a_hair_apart_are_edges(below):
    top = 100.0
    last = np.nextafter(top, 0.0) if below == 0.0 else top * (1 - below)
    one = make_model().response("W", [50.0, 75.0, last, top], observed_edges_eV=[0.0, last, top])
    assert one.matrix.sum(axis=0) == pytest.approx(np.ones(3), abs=1e-12)


def test_a_law_that_is_carried_too_far_is_refused_with_its_energy():
    # ln sigma = 1 + u with u = (E_R - 80 eV) / 40 eV: at 2 keV the width is e^49 eV
    law = StoredEnergyDistribution(
        shape="gaussian",
        reference_energy_eV=80.0,
        energy_scale_eV=40.0,
        lowest_energy_eV=40.0,
        location_eV=(7.5,),
        log_sigma=(1.0, 1.0),
        asymmetry=(),
    )
    certain = FermiProbability(half_energy_eV=45.0, width_eV=6.0)
    near = binned_response("W", defect_probability=certain, distribution=law, recoil_edges_eV=[40, 80, 120])
    assert near.matrix.sum(axis=0) == pytest.approx([1, 1])
    with pytest.raises(InputError, match=r"width of .* eV at 2000 eV of recoil"):
        binned_response("W", defect_probability=certain, distribution=law, recoil_edges_eV=[40, 2000, 3000])


@pytest.mark.parametrize(("location", "is_fit"), [(1e11, True), (-1e11, True), (1e300, False), (-1e18, False)])
def test_a_location_beyond_all_energies_is_refused_before_bins_are_lost_beside_it(location, is_fit):
    model = make_model(location=(location,))
    if is_fit:
        assert model.response("W", [40, 80, 120]).matrix.sum(axis=0) == pytest.approx([1, 1])
    else:
        with pytest.raises(InputError, match=r"location of .* eV at .* mend the model"):
            model.response("W", [40, 80, 120])
