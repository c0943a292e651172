"""Stored energies that refuse every shape: they stand for themselves, and it is said everywhere."""

import dataclasses
import json

import numpy as np
import pytest
from scipy import stats

from cascade_driver.analysis.distribution import StoredEnergyDistribution
from cascade_driver.analysis.empirical_law import EmpiricalDistribution, empirical_distribution, kernel_width_eV
from cascade_driver.analysis.model import StoredEnergyModel, fit_stored_energy_model
from cascade_driver.analysis.outcomes import usable_cascades
from cascade_driver.analysis.response import observed_edges
from cascade_driver.analysis.uncertainty import bootstrap_replicas, central_replica, covariance_replicas
from cascade_driver.errors import InputError
from cascade_driver.simulation.outcome import CascadeTable
from cascade_driver.spectra.ensemble import campaign_ensemble, correction_bands
from cascade_driver.spectra.ensemble_content import ensemble_content, ensemble_of
from cascade_driver.spectra.planning import advise
from cascade_driver.spectrum import Spectrum

ENERGIES = (35.0, 50.0, 65.0, 80.0)
EDGES = np.linspace(1.0, 80.0, 80)


def campaign(rng, *, line_eV=12.4, in_line=0.85, n=40):
    """A campaign as in diamond: nearly all stored energies in one line, the others anywhere up to 25 eV."""
    energy = np.repeat(ENERGIES, n)
    direction = rng.normal(size=(n, 3))
    direction /= np.linalg.norm(direction, axis=1)[:, None]
    stored = np.where(rng.random(len(energy)) < in_line, line_eV + 0.05 * rng.normal(size=len(energy)),
                      rng.uniform(3, 25, len(energy)))  # fmt: skip
    hit = rng.random(len(energy)) < 1 / (1 + np.exp(-(energy - 45) / 6))
    return CascadeTable(
        id=np.arange(len(energy)).astype(str),
        species=np.full(len(energy), "C"),
        recoil_energy_eV=energy,
        direction=np.tile(direction, (len(ENERGIES), 1)),
        direction_weight=np.full(len(energy), 1 / n),
        snapshot=np.zeros(len(energy), dtype=int),
        outcome=np.full(len(energy), "completed"),
        stored_energy_eV=np.where(hit, stored, 0.0),
    )


@pytest.fixture(scope="module")
def table():
    return campaign(np.random.default_rng(1))


@pytest.fixture(scope="module")
def model(table):
    return fit_stored_energy_model(table)


def falling():
    return -np.diff(np.exp(-EDGES / 20.0)) * 1e3


def spectrum():
    return Spectrum.from_counts(energy_edges_eV=EDGES, counts_per_kg_day={"C": falling()})


def test_a_line_refuses_the_gaussian_and_stands_for_itself(model):
    law = model["C"].distribution
    assert isinstance(law, EmpiricalDistribution)
    assert any("C: the data refuse a gaussian" in note and "stand for it" in note for note in model.notes)
    at_line = law.cumulative(13.0, 65.0) - law.cumulative(11.8, 65.0)
    assert 0.7 < at_line < 0.95


def test_a_shape_that_is_asked_for_is_fitted_though_refused_and_it_is_said(table):
    forced = fit_stored_energy_model(table, shape="gaussian")
    assert isinstance(forced["C"].distribution, StoredEnergyDistribution)
    assert any("refuse a gaussian" in note and "asked for" in note for note in forced.notes)


def test_a_gaussian_is_not_refused_where_it_is_the_truth():
    rng = np.random.default_rng(3)
    kept = 0
    for _ in range(8):
        made = campaign(rng, in_line=0.0)
        stored = np.where(made.stores_energy, 12 + 2 * rng.normal(size=len(made.id)), 0.0)
        one = fit_stored_energy_model(dataclasses.replace(made, stored_energy_eV=stored), n_bootstrap=99)
        kept += isinstance(one["C"].distribution, StoredEnergyDistribution)
    assert kept >= 7  # one in a hundred is refused: two of eight once in 400


def test_the_law_is_a_law():
    law = EmpiricalDistribution(
        knots_eV=(40.0, 60.0), knot=(0, 1, 1), stored_energy_eV=(5.0, 6.0, 12.0), weight=(1.0, 0.25, 0.75),
        bandwidth_eV=(0.5, 1.0),
    )  # fmt: skip
    x = np.linspace(0, 60, 6001)
    # at a knot: its own cascades as Gaussians
    mixture = 0.25 * stats.norm(6, 1).cdf(x) + 0.75 * stats.norm(12, 1).cdf(x)
    np.testing.assert_allclose(law.cumulative(x, 60.0), mixture, atol=1e-6)
    assert float(law.mean_eV(60.0)) == pytest.approx(0.25 * 6 + 0.75 * 12, abs=1e-6)
    for energy in (3.0, 40.0, 47.0, 90.0):
        x = np.linspace(0, energy, 20_001)
        density = np.exp(law.log_density(x, energy))
        assert np.trapezoid(density, x) == pytest.approx(1, abs=1e-4)
        assert np.trapezoid(density * x, x) == pytest.approx(float(law.mean_eV(energy)), rel=1e-3)
        assert law.cumulative([-1.0, 0.0, energy, energy + 1], energy).tolist() == [0, 0, 1, 1]
        u = np.linspace(0.05, 0.95, 7)
        np.testing.assert_allclose(law.cumulative(law.quantile(u, energy), energy), u, atol=0.02)
    with pytest.raises(InputError, match="mend the file"):
        dataclasses.replace(law, bandwidth_eV=(0.5,))


def test_the_table_of_the_law_is_its_kernels_one_by_one():
    """To a millionth: also of kernels that zero or E_R cuts, far apart, and beyond all knots."""
    rng = np.random.default_rng(8)
    knot = np.repeat([0, 1, 2], 50)
    stored = rng.gamma(2.0, np.array([3.0, 5.0, 9.0])[knot])
    stored[[0, 60, 110]] = 29.9, 44.0, 79.0  # nearly all of the recoil
    stored[[1, 61]] = 0.02  # nearly nothing
    law = EmpiricalDistribution(
        knots_eV=(30.0, 45.0, 80.0), knot=tuple(map(int, knot)), stored_energy_eV=tuple(map(float, stored)),
        weight=(1 / 50,) * 150, bandwidth_eV=(0.1, 2.5, 6.0),
    )  # fmt: skip
    energy = np.array([2.0, 29.0, 30.0, 44.0, 45.0, 79.0, 120.0])
    x = np.linspace(0.0, 120.0, 2001)
    below, mean = np.zeros((len(x), len(energy))), np.zeros(len(energy))
    for number, at, share, location, width in law.parts(energy):
        assert np.all(share > 0)
        kernel = stats.truncnorm(-location / width, (energy[at] - location) / width, loc=location, scale=width)
        below[:, at] += law.weight[number] * share * kernel.cdf(x[:, None])
        mean[at] += law.weight[number] * share * kernel.mean()
    np.testing.assert_allclose(law.cumulative(x[:, None], energy), below, atol=1e-6)
    np.testing.assert_allclose(law.mean_eV(energy), mean, rtol=1e-6)
    assert np.diff(law.cumulative(x[:, None], energy), axis=0).min() > -1e-9


def test_response_and_replicas_of_the_law_agree_and_conserve_counts(table, model):
    matrix = model.response("C", EDGES, extrapolate=True).matrix
    folded = central_replica(model["C"]).fold(falling(), recoil_edges_eV=EDGES)
    assert folded.sum() == pytest.approx(falling().sum(), rel=1e-9)
    assert np.abs(folded[0] - matrix @ falling()).max() < 2e-3 * folded.max()
    cascades = usable_cascades(table, species="C")
    made = bootstrap_replicas(cascades, model["C"], n_replicas=200, rng=np.random.default_rng(4))
    drawn = covariance_replicas(model["C"], n_replicas=200, rng=np.random.default_rng(5))
    for replicas in (made, drawn):
        many = replicas.fold(falling(), recoil_edges_eV=EDGES)
        assert many.sum(axis=1) == pytest.approx(falling().sum(), rel=1e-6)
    spread = [r.fold(falling(), recoil_edges_eV=EDGES)[:, 40:70].std(axis=0).mean() for r in (made, drawn)]
    assert spread[0] == pytest.approx(spread[1], rel=0.3)


def test_bands_and_advice_hold_with_the_law(table, model):
    made = campaign_ensemble(table, model, n_replicas=100, rng=np.random.default_rng(6))
    bands = correction_bands(spectrum(), made)
    rate = bands.nominal_per_kg_day_keV
    assert np.all(bands.total.lower_per_kg_day_keV <= rate)
    assert np.all(rate <= bands.total.upper_per_kg_day_keV)
    assert any("the data refuse it" in note for note in made.notes)
    assert bands.components["statistics"].deviation_per_kg_day_keV.max() > 0
    advice = advise(spectrum(), model, candidates_eV={"C": [40.0, 50.0]}, low_eV=20, high_eV=70)
    assert advice.mix_error <= advice.present_error / 2


def test_a_kernel_is_as_wide_as_the_weighted_cascades_scatter():
    """Many cascades of small weight far out must not widen it, nor those of no weight at all."""
    rng = np.random.default_rng(10)
    near, far = rng.normal(20.0, 2.0, 100), rng.uniform(0.0, 40.0, 300)
    alone = kernel_width_eV(near, np.ones(100))
    stored = np.concatenate([near, far])
    assert kernel_width_eV(stored, np.repeat([1.0, 0.0], [100, 300])) == pytest.approx(alone, rel=1e-9)
    # a fiftieth of all weight: quartiles and number hardly move
    light = np.repeat([1.0, 1 / 150], [100, 300])
    assert kernel_width_eV(stored, light) == pytest.approx(alone, rel=0.2)
    # negative control: with equal weights what is far out counts
    assert kernel_width_eV(stored, np.ones(400)) > 2 * alone


def test_the_law_is_kept_in_the_model_file(model, tmp_path):
    again = StoredEnergyModel.load(model.save(tmp_path / "model.json"))
    assert again == model
    counts = falling()
    first, second = (central_replica(one["C"]).fold(counts, recoil_edges_eV=EDGES)[0] for one in (model, again))
    assert np.array_equal(first, second)
    assert len(observed_edges(EDGES)) == len(first) + 1


def test_files_keep_how_often_cascades_are_drawn_and_those_that_kept_shares_are_read(table, model):
    ensemble = campaign_ensemble(table, model, n_replicas=100, rng=np.random.default_rng(9))
    kept = json.loads(json.dumps(ensemble_content(ensemble)))
    earlier = json.loads(json.dumps(kept))
    law = model["C"].distribution
    of_knot = np.eye(len(law.knots_eV))[list(law.knot)]
    for name in ("nominal", "statistics", "fit"):
        assert kept[name]["C"]["drawn"]["type"] == "|u1"
        del earlier[name]["C"]["drawn"]
        share = getattr(ensemble, name)["C"].drawn * np.array(law.weight)
        share /= share @ of_knot @ of_knot.T
        earlier[name]["C"]["weight"] = {"array": share.tolist(), "type": "<f8"}
    for content, digits in ((kept, 1e-12), (earlier, 1e-9)):
        again = ensemble_of(dataclasses.replace(model, uncertainty=content))
        for name in ("nominal", "statistics", "fit"):
            before, after = (
                getattr(e, name)["C"].fold(falling(), recoil_edges_eV=EDGES) for e in (ensemble, again)
            )
            np.testing.assert_allclose(after, before, rtol=digits, atol=digits * before.max())


def test_sampling_the_law_gives_its_cascades_back(table, model):
    drawn = model.sample("C", np.full(4000, 80.0), rng=np.random.default_rng(7))
    assert np.mean((drawn > 11) & (drawn < 14)) == pytest.approx(0.85 * float(model["C"].defect_probability(80.0)),
                                                                 abs=0.06)  # fmt: skip
    assert isinstance(empirical_distribution(usable_cascades(table, species="C")), EmpiricalDistribution)


def test_figures_and_report_show_the_law(table, model):
    from cascade_driver import plot
    from cascade_driver.report import _distribution_view, _ill

    figure = plot.stored_energy_figure(table, model, "C")
    highest = max(float(np.max(line.get_ydata())) for axes in figure.axes for line in axes.get_lines())
    assert highest > 0.5  # 85 % of the stored energies within some 0.25 eV: the curve has the line
    view = _distribution_view(model["C"])
    assert "stand for themselves" in view.source
    assert len(view.energies) == len(ENERGIES)
    assert any("refuse a Gaussian" in text for text in _ill("C", model["C"]))
