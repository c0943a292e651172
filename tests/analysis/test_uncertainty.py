"""Replicas of a model and their bands: against fits, response, closed forms, and simulated campaigns."""

import dataclasses
import re

import campaigns
import numpy as np
import pytest
from campaigns import ENERGIES, FERMI, LAW, model_of_replica
from scipy import special

from cascade_driver.analysis.defect_probability import FermiProbability, fit_defect_probability
from cascade_driver.analysis.distribution import fit_stored_energy_distribution
from cascade_driver.analysis.empirical import empirical_replicas
from cascade_driver.analysis.model import SpeciesModel, StoredEnergyModel, fit_stored_energy_model
from cascade_driver.analysis.outcomes import usable_cascades
from cascade_driver.analysis.response import observed_edges
from cascade_driver.analysis.uncertainty import (
    RisingReplicas,
    bootstrap_replicas,
    central_replica,
    covariance_replicas,
    information_per_cascade,
    parameter_covariance,
    resampling_counts,
    rising_replicas,
)
from cascade_driver.errors import FitError, InputError
from cascade_driver.spectra.ensemble import (
    Ensemble,
    bands_of_file,
    campaign_ensemble,
    correction_bands,
    model_ensemble,
    with_alternatives,
)
from cascade_driver.spectra.planning import advise
from cascade_driver.spectrum import Spectrum, read_spectrum, write_spectrum

TRUTH = SpeciesModel(
    defect_probability=FERMI, distribution=LAW, minimum_recoil_energy_eV=20.0, maximum_recoil_energy_eV=160.0
)
EDGES = np.linspace(0.0, 160.0, 81)


def simulate(rng, *, common=0.0, **settings):
    """The table of a campaign; `common` makes cascades of one direction alike."""
    return campaigns.simulate(rng, common=common, **settings)


def fitted(cascades, shape="gaussian"):
    p = fit_defect_probability(cascades, n_bootstrap=0)
    d = fit_stored_energy_distribution(cascades, shape=shape, n_bootstrap=0)
    return dataclasses.replace(
        TRUTH,
        defect_probability=p.probability,
        distribution=d.distribution,
        defect_probability_fit=p,
        distribution_fit=d,
    )


def falling(edges=EDGES, scale=25.0):
    return -np.diff(np.exp(-edges / scale)) * 1e3


@pytest.fixture(scope="module")
def campaign():
    table = simulate(np.random.default_rng(2))
    return table, usable_cascades(table, species="W")


def spread(replicas):
    return np.concatenate(
        [
            [replicas.half_energy_eV.std(), replicas.width_eV.std()],
            replicas.location_eV.std(axis=0),
            replicas.log_sigma.std(axis=0),
        ]
    )


@pytest.mark.parametrize("kind", ["bootstrap", "covariance"])
def test_the_spread_of_replicas_is_the_error_of_the_fit(campaign, kind):
    _, cascades = campaign
    model, rng = fitted(cascades), np.random.default_rng(3)
    made = (
        bootstrap_replicas(cascades, model, n_replicas=2000, rng=rng)
        if kind == "bootstrap"
        else covariance_replicas(model, n_replicas=2000, rng=rng)
    )
    errors = np.array([*model.defect_probability_fit.errors, *model.distribution_fit.errors])
    # 2000 draws know a spread to 1.6 %; the bootstrap leaves out the scatter between energies
    assert spread(made) == pytest.approx(errors, rel=0.12)


def test_resampling_directions_sees_that_cascades_of_one_direction_are_alike():
    rng = np.random.default_rng(4)
    cascades = usable_cascades(simulate(rng, common=0.9), species="W")
    model = fitted(cascades)
    by = {
        unit: bootstrap_replicas(cascades, model, n_replicas=400, unit=unit, rng=rng).half_energy_eV.std()
        for unit in ("cascade", "direction", "direction_and_snapshot")
    }
    assert by["direction"] > 1.5 * by["cascade"]
    assert by["direction_and_snapshot"] > 1.5 * by["cascade"]
    counts = resampling_counts(cascades, n_replicas=300, unit="direction", rng=rng)
    same = cascades.direction_index == cascades.direction_index[0]
    assert np.ptp(counts[:, same], axis=1).max() == 0
    assert counts.mean() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("shape", ["gaussian", "split_gaussian"])
@pytest.mark.parametrize("edges", [np.linspace(0, 160, 801), np.concatenate([[0.0], np.geomspace(5, 160, 25)])])
def test_replicas_fold_as_the_response_does_and_conserve_counts(campaign, shape, edges):
    _, cascades = campaign
    model = fitted(cascades, shape)
    made = bootstrap_replicas(cascades, model, n_replicas=7, rng=np.random.default_rng(5))
    counts = falling(edges)
    folded = made.fold(counts, recoil_edges_eV=edges)
    assert folded.sum(axis=1) == pytest.approx(counts.sum(), rel=1e-12)
    for r in range(2):
        one = StoredEnergyModel(species={"W": model_of_replica(made, r, like=model)})
        exact = one.response("W", edges).matrix @ counts
        difference = np.abs(folded[r] - exact) / exact.max()
        # near zero the law ends at the recoil energy itself, a kink that one node per bin rounds off
        assert difference.max() < 1e-3
        assert difference[observed_edges(edges)[:-1] > 2].max() < 3e-5
    each = made.fold(np.tile(counts, (7, 1)), recoil_edges_eV=edges)
    assert np.array_equal(each, folded)
    with pytest.raises(InputError, match="counts of shape"):
        made.fold(counts[:-1], recoil_edges_eV=edges)


def test_laws_far_outside_their_range_fold_all_the_same():
    far = dataclasses.replace(LAW, location_eV=(-60.0, 0.0), log_sigma=(0.5,))
    model = dataclasses.replace(TRUTH, distribution=far)
    folded = central_replica(model).fold(falling(), recoil_edges_eV=EDGES)[0]
    one = StoredEnergyModel(species={"W": model})
    exact = one.response("W", EDGES).matrix @ falling()
    assert np.abs(folded - exact).max() < 1e-4 * exact.max()
    assert folded.sum() == pytest.approx(falling().sum(), rel=1e-12)


def test_separated_data_draw_within_their_bracket():
    table = simulate(np.random.default_rng(6))
    stored = np.where(table.recoil_energy_eV > 50, np.maximum(table.stored_energy_eV, 3.0), 0.0)
    cascades = usable_cascades(dataclasses.replace(table, stored_energy_eV=stored), species="W")
    model = fitted(cascades)
    made = bootstrap_replicas(cascades, model, n_replicas=500, rng=np.random.default_rng(7))
    assert np.mean((made.half_energy_eV > 38) & (made.half_energy_eV < 62)) > 0.98
    limit = model.defect_probability_fit.width_upper_limit_eV
    assert np.mean(made.width_eV < limit) > 0.9
    assert parameter_covariance(model)[0, 0] == pytest.approx(made.half_energy_eV.var(), rel=0.15)


def test_the_empirical_response_conserves_counts_and_gives_back_its_cascades(campaign):
    _, cascades = campaign
    whole = empirical_replicas(cascades)
    sharp = dataclasses.replace(whole, bandwidth_eV=np.zeros_like(whole.bandwidth_eV))
    line = np.zeros(1600)
    line[1120] = 1.0  # a line at 112 eV
    edges = np.linspace(0, 160, 1601)
    folded = sharp.fold(line, recoil_edges_eV=edges)[0]
    assert folded.sum() == pytest.approx(1, rel=1e-12)
    here = cascades.recoil_energy_eV == 112
    mean = np.average(cascades.stored_energy_eV[here], weights=cascades.weight[here])
    middle = observed_edges(edges)[:-1] + 0.05
    assert 112.05 - folded @ middle == pytest.approx(mean, abs=0.06)  # half a bin
    folded = whole.fold(falling(), recoil_edges_eV=EDGES)
    assert folded.sum() == pytest.approx(falling().sum(), rel=1e-12)
    assert np.all(np.diff(sharp.transported(np.linspace(0, 200, 401))) > 0)


def test_the_empirical_response_finds_the_truth(campaign):
    _, cascades = campaign
    truth = central_replica(TRUTH).fold(falling(), recoil_edges_eV=EDGES)[0]
    found = empirical_replicas(cascades).fold(falling(), recoil_edges_eV=EDGES)[0]
    identity = falling()
    far = (EDGES[:-1] > 60) & (EDGES[:-1] < 140)
    assert np.abs(found / truth - 1)[far].max() < 0.08
    assert np.abs(identity / truth - 1)[far].max() > 0.2  # negative control


def ensemble(model, replicas, **more):
    return Ensemble(nominal={"W": central_replica(model)}, statistics={"W": replicas}, **more)


def spectrum(counts=None):
    return Spectrum.from_counts(
        energy_edges_eV=EDGES, counts_per_kg_day={"W": falling() if counts is None else counts}
    )


def test_components_add_in_quadrature_and_a_scale_of_the_source_is_seen_as_it_is(campaign):
    _, cascades = campaign
    model, rng = fitted(cascades), np.random.default_rng(9)
    made = bootstrap_replicas(cascades, model, n_replicas=1000, rng=rng)
    scale = 1 + 0.05 * rng.normal(size=(1000, 1))
    bands = correction_bands(spectrum(), ensemble(model, made), source_counts={"W": scale * falling()})
    source = bands.components["source"].deviation_per_kg_day_keV / bands.nominal_per_kg_day_keV
    assert source == pytest.approx(np.full(len(source), 0.05), rel=0.09)
    parts = [b.deviation_per_kg_day_keV**2 for b in bands.components.values()]
    assert bands.total.deviation_per_kg_day_keV == pytest.approx(np.sqrt(sum(parts)), rel=0.1)
    assert bands.dominant() == "source"
    assert bands.relative_deviation("source") == pytest.approx(0.05, rel=0.09)


def test_an_alternative_shape_is_as_wide_as_its_distance(campaign):
    _, cascades = campaign
    model = fitted(cascades)
    other = dataclasses.replace(model, distribution=dataclasses.replace(LAW, location_eV=(9.0, 3.2)))
    whole = Ensemble(
        nominal={"W": central_replica(model)},
        shapes={"other": {"W": central_replica(other)}},
        potentials={"same": {"W": central_replica(model)}},
    )
    bands = correction_bands(spectrum(), whole)
    distance = (
        central_replica(other).fold(falling(), recoil_edges_eV=EDGES)
        - central_replica(model).fold(falling(), recoil_edges_eV=EDGES)
    )[0] / np.diff(EDGES * 1e-3)
    assert bands.components["shape"].deviation_per_kg_day_keV == pytest.approx(np.abs(distance), rel=1e-9)
    assert bands.components["potential"].deviation_per_kg_day_keV.max() == 0


def test_bands_of_a_campaign_are_written_with_every_component(campaign, tmp_path):
    table, _ = campaign
    model = fit_stored_energy_model(table, n_bootstrap=0)
    made = campaign_ensemble(table, model, n_replicas=60, rng=np.random.default_rng(10))
    assert "empirical" in made.shapes
    assert len(made.shapes) >= 3
    wide = Spectrum.from_counts(
        energy_edges_eV=EDGES, counts_per_kg_day={"W": falling(), "O": falling(scale=60.0)}
    )
    bands = correction_bands(wide, made, fallback_species="W", energy_edges_eV=EDGES[:41])
    assert list(bands.limits()) == ["total", "statistics", "fit", "probability", "shape"]
    assert bands.said.startswith("68% in each bin, of statistics (60 members), fit (60 members), ")
    assert bands.said.endswith(", and of all of them (total)")
    file = tmp_path / "new" / "observed.csv"
    rate = Spectrum(energy_edges_eV=EDGES[:41], rate_per_kg_day_keV={"": bands.nominal_per_kg_day_keV})
    write_spectrum(rate, file, bands=bands.limits(), bands_said=bands.said)
    assert f"# bands: {bands.said}\n" in file.read_text()
    back = bands_of_file(file)
    for name, (low, high) in bands.limits().items():
        np.testing.assert_array_equal(back.limits()[name], (low, high))
    assert np.all(back.total.lower_per_kg_day_keV <= back.total.upper_per_kg_day_keV)
    # who writes the spectrum again without its bands does not speak of them
    assert read_spectrum(file).metadata == {}


def test_a_model_put_in_by_hand_has_no_error_and_says_so():
    with pytest.raises(FitError, match="put in by hand"):
        covariance_replicas(TRUTH, rng=np.random.default_rng(0))
    made = model_ensemble(StoredEnergyModel(species={"W": TRUTH}), rng=np.random.default_rng(0))
    assert made.notes == ("W: put in by hand, without error",)
    assert correction_bands(spectrum(), made).total.deviation_per_kg_day_keV.max() == 0


def test_a_potential_that_lacks_a_species_is_named():
    model = StoredEnergyModel(species={"W": TRUTH, "O": TRUTH})
    other = StoredEnergyModel(species={"W": TRUTH})
    made = with_alternatives(
        model_ensemble(model, rng=np.random.default_rng(0)),
        model,
        potentials={"second": other},
        protocols={"third": other},
    )
    for note, said in zip(
        made.notes[-2:], ("second: .* of O, .* the potential", "third: .* the protocol"), strict=True
    ):
        assert re.match(said, note)


def test_unfit_requests_are_named(campaign):
    _, cascades = campaign
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match="unknown resampling unit 'atom'"):
        resampling_counts(cascades, n_replicas=3, unit="atom", rng=rng)
    with pytest.raises(InputError, match="ask for at least 1"):
        resampling_counts(cascades, n_replicas=0, unit="cascade", rng=rng)
    one = Ensemble(nominal={"W": central_replica(TRUTH)})
    with pytest.raises(InputError, match="coverage of a band"):
        correction_bands(spectrum(), one, coverage=68)
    with pytest.raises(InputError, match="source_counts must hold"):
        correction_bands(spectrum(), one, source_counts={"O": np.ones((30, 80))})
    with pytest.raises(InputError, match="No response for W"):
        correction_bands(spectrum(), Ensemble(nominal={"O": central_replica(TRUTH)}))


def test_advice_halves_the_error_and_more_of_the_same_counts_as_it_must(campaign):
    _, cascades = campaign
    model = StoredEnergyModel(species={"W": fitted(cascades)})
    advice = advise(spectrum(), model, candidates_eV={"W": [30.0, *ENERGIES]}, low_eV=20, high_eV=120)
    assert advice.mix_error <= advice.present_error / 2
    assert advice.mix_error > 0.45 * advice.present_error
    assert all(0 < e.error_with_100_more < advice.present_error for e in advice.energies)
    # three more campaigns of the same kind carry three times the information that this one has
    total = sum(160 * information_per_cascade(model["W"], e) for e in ENERGIES)
    ratio = np.sqrt(np.diag(np.linalg.inv(total)) / np.diag(parameter_covariance(model["W"])))
    assert ratio == pytest.approx(np.ones(6), abs=0.25)  # observed and weighted against expected and equal
    with pytest.raises(InputError, match="no candidate energies"):
        advise(spectrum(), model, candidates_eV={"O": [30.0]})
    with pytest.raises(InputError, match="no rate between"):
        advise(spectrum(), model, candidates_eV={"W": [30.0]}, low_eV=500)


def test_advice_on_separated_data_names_energies_in_their_gap_and_counts():
    energies = (15.0, 25.0, 35.0, 60.0, 81.0)
    table = simulate(np.random.default_rng(6), n_directions=4, n_snapshots=2, energies=energies)
    stored = np.where(table.recoil_energy_eV > 50, np.maximum(table.stored_energy_eV, 3.0), 0.0)
    cascades = usable_cascades(dataclasses.replace(table, stored_energy_eV=stored), species="W")
    one = fitted(cascades)
    assert one.defect_probability_fit.is_separated
    advice = advise(
        spectrum(),
        StoredEnergyModel(species={"W": one}),
        candidates_eV={"W": [*energies, 20.0, 30.0, 40.0, 47.5, 55.0, 70.5]},
        low_eV=20,
        high_eV=80,
    )
    wanted = {e.recoil_energy_eV: e.in_mix for e in advice.energies if e.in_mix}
    in_the_gap = sum(n for energy, n in wanted.items() if 35 <= energy <= 60)
    assert in_the_gap > 0.5 * advice.mix_total > 0
    assert advice.mix_error <= advice.present_error / 2


def spread_thresholds(energy):
    """Return the defect probability where thresholds of the directions spread as a logarithmic normal law."""
    return special.ndtr(np.log(np.asarray(energy) / 40.0) / 0.45)


def coverage_of_spread_thresholds(rng, *, n_campaigns, with_rising):
    """Return the share of bins from 12 to 25 eV whose band holds the truth, per campaign, and p-values."""
    energies, edges = (12.0, 16.0, 20.0, 25.0, 35.0, 45.0, 60.0, 81.0), np.linspace(1.0, 81.0, 81)
    counts = falling(edges, scale=10.0)
    source = Spectrum.from_counts(energy_edges_eV=edges, counts_per_kg_day={"W": counts})
    grid = np.linspace(0.5, 81.0, 300)
    true = RisingReplicas(law=LAW, knots_eV=grid, probability=spread_thresholds(grid)[None])
    truth = true.fold(counts, recoil_edges_eV=edges)[0] / np.diff(np.linspace(0, 81, 82) * 1e-3)
    shares, p_values = [], []
    for _ in range(n_campaigns):
        table = simulate(rng, n_directions=32, n_snapshots=1, energies=energies)
        hit = rng.random(len(table)) < spread_thresholds(table.recoil_energy_eV)
        stored = np.where(hit, np.maximum(LAW.quantile(rng.random(len(table)), table.recoil_energy_eV), 1e-3), 0.0)
        cascades = usable_cascades(dataclasses.replace(table, stored_energy_eV=stored), species="W")
        p = fit_defect_probability(cascades, n_bootstrap=40, rng=rng)
        p_values.append(p.goodness.p_value)
        # stored energies as they are: what is left is the defect probability
        model = dataclasses.replace(TRUTH, defect_probability=p.probability, defect_probability_fit=p)
        law = p.posterior().draw(rng.random((200, 2)))
        replicas = dataclasses.replace(
            central_replica(model),
            half_energy_eV=law[0],
            width_eV=law[1],
            maximum=np.ones(200),
            location_eV=np.tile(LAW.location_eV, (200, 1)),
            log_sigma=np.tile(LAW.log_sigma, (200, 1)),
            asymmetry=np.empty((200, 0)),
        )
        more = {"rising": {"W": rising_replicas(model, n_replicas=200, rng=rng)}} if with_rising else {}
        bands = correction_bands(source, ensemble(model, replicas, **more), rng=rng)
        used = slice(12, 25)
        low, high = bands.total.lower_per_kg_day_keV[used], bands.total.upper_per_kg_day_keV[used]
        shares.append(np.mean((low <= truth[used]) & (truth[used] <= high)))
    return np.array(shares), np.array(p_values)


def test_the_band_holds_the_truth_where_thresholds_spread_over_the_directions():
    n = 16
    with_it, p_values = coverage_of_spread_thresholds(np.random.default_rng(31), n_campaigns=n, with_rising=True)
    without, _ = coverage_of_spread_thresholds(np.random.default_rng(31), n_campaigns=n, with_rising=False)
    # 0.72 over many campaigns; one is all or nothing, so that the mean of 16 knows it to 0.11
    assert with_it.mean() > 0.4
    assert without.mean() < 0.2  # negative control: a Fermi function and nothing else
    assert np.mean(p_values < 0.1) > 0.3  # of true Fermi functions 0.1


def coverages(rng, *, n_campaigns, shrink=1.0):
    """Return per campaign the share of bins (10 to 130 eV) whose band holds the truth, and pulls."""
    truth = central_replica(TRUTH).fold(falling(), recoil_edges_eV=EDGES)[0] / np.diff(EDGES * 1e-3)
    middle = (EDGES[1:] + EDGES[:-1]) / 2
    used = (middle > 10) & (middle < 130)
    shares, pulls = [], []
    for _ in range(n_campaigns):
        cascades = usable_cascades(simulate(rng), species="W")
        model = fitted(cascades)
        made = bootstrap_replicas(cascades, model, n_replicas=200, rng=rng)
        bands = correction_bands(spectrum(), ensemble(model, made), rng=rng)
        centre, band = bands.nominal_per_kg_day_keV, bands.total
        low = centre + shrink * (band.lower_per_kg_day_keV - centre)
        high = centre + shrink * (band.upper_per_kg_day_keV - centre)
        shares.append(np.mean((low <= truth) & (truth <= high), where=used))
        pulls.append(((centre - truth) / band.deviation_per_kg_day_keV)[used][::6])
    return np.array(shares), np.array(pulls)


def test_bands_hold_the_truth_as_often_as_they_say():
    n = 30
    shares, pulls = coverages(np.random.default_rng(11), n_campaigns=n)
    # four standard errors of the mean over campaigns: one false alarm in 16 000
    assert np.mean(shares) == pytest.approx(0.6827, abs=4 * shares.std() / np.sqrt(n))
    assert abs(pulls.mean()) < 4 * pulls.mean(axis=1).std() / np.sqrt(n)


def small_campaign(rng):
    """Return cascades of a small campaign of any kind, and a recoil spectrum over its range."""
    n_energies, n_directions = rng.integers(3, 7), rng.integers(3, 13)
    energies = np.sort(rng.choice(np.arange(15.0, 90.0), n_energies, replace=False))
    half, relative_width = rng.uniform(energies[0], energies[-1]), np.exp(rng.normal(-3.5, 1.2))
    table = simulate(rng, n_directions=n_directions, n_snapshots=1, energies=energies)
    p = FermiProbability(half_energy_eV=half, width_eV=half * relative_width)(table.recoil_energy_eV)
    stored = np.where(
        rng.random(len(table)) < p, np.maximum(LAW.quantile(rng.random(len(table)), table.recoil_energy_eV), 1), 0
    )
    return usable_cascades(dataclasses.replace(table, stored_energy_eV=stored), species="W")


def outside(bands):
    """Return the share of bins whose nominal rate is outside of its band, beyond rounding."""
    rate, room = bands.nominal_per_kg_day_keV, 1e-9 * bands.nominal_per_kg_day_keV.max()
    low, high = bands.total.lower_per_kg_day_keV, bands.total.upper_per_kg_day_keV
    return np.mean((rate < low - room) | (rate > high + room))


@pytest.mark.parametrize("unit", ["cascade", "direction"])
def test_the_nominal_spectrum_lies_inside_its_band_whatever_the_data(unit):
    rng = np.random.default_rng(23)
    edges = np.linspace(1.0, 91.0, 31)
    source = Spectrum.from_counts(energy_edges_eV=edges, counts_per_kg_day={"W": falling(edges, scale=10.0)})
    shares, of_steps = [], []
    for _ in range(24):
        cascades = small_campaign(rng)
        try:
            model = fitted(cascades)
            made = bootstrap_replicas(cascades, model, n_replicas=150, unit=unit, rng=rng)
        except FitError:
            continue  # one event, all defects, no rise: refused
        assert outside(correction_bands(source, ensemble(model, made))) == 0
        # ... and not because the band was widened for it
        members = made.fold(source.counts_per_kg_day["W"], recoil_edges_eV=edges)
        low, high = np.quantile(members, [0.15865, 0.84135], axis=0, method="weibull")

        def share_outside(one, low=low, high=high):
            rate = central_replica(one).fold(source.counts_per_kg_day["W"], recoil_edges_eV=edges)[0]
            return np.mean((rate < 0.99 * low) | (rate > 1.01 * high))

        shares.append(share_outside(model))
        fit = model.defect_probability_fit
        if fit.is_separated:
            step = FermiProbability(half_energy_eV=np.mean(fit.half_energy_bracket_eV), width_eV=0.0)
            of_steps.append(share_outside(dataclasses.replace(model, defect_probability=step)))
    assert len(shares) > 10
    assert np.mean(shares) < 0.01
    assert len(of_steps) > 5
    assert np.mean(of_steps) > 0.05  # negative control: the most likely width of separated data, zero


def test_bands_of_few_members_are_as_wide_as_those_of_many():
    from cascade_driver.spectra.ensemble import _band

    values = np.random.default_rng(13).normal(size=(60, 20_000))
    band = _band(values, np.zeros(20_000), 0.6827, floor=-np.inf)
    share = special.ndtr(band.upper_per_kg_day_keV) - special.ndtr(band.lower_per_kg_day_keV)
    # five standard errors of the mean over bins
    assert share.mean() == pytest.approx(0.6827, abs=5 * share.std() / np.sqrt(20_000))
    low, high = np.quantile(values, [0.15865, 0.84135], axis=0)  # negative control: the usual rule
    assert (special.ndtr(high) - special.ndtr(low)).mean() < 0.67


@pytest.mark.physics
def test_coverage_is_68_percent_within_3_and_pulls_are_standard_normal():
    rng = np.random.default_rng(12)
    shares, pulls = coverages(rng, n_campaigns=500)
    print(f"coverage {shares.mean():.4f} +- {shares.std() / np.sqrt(500):.4f}; ", end="")
    print(f"pulls: mean {pulls.mean():+.3f}, width {pulls.std(axis=0).round(3)}")
    assert shares.mean() == pytest.approx(0.6827, abs=0.03)
    assert np.abs(pulls.mean(axis=0)).max() < 4.5 / np.sqrt(500)
    assert pulls.std(axis=0) == pytest.approx(np.ones(pulls.shape[1]), abs=4.5 / np.sqrt(1000))
    narrow, _ = coverages(rng, n_campaigns=60, shrink=0.7)
    assert narrow.mean() < 0.65  # negative control: bands that are too narrow are found out


@pytest.mark.benchmark
def test_a_thousand_replicas_of_a_thousand_bins_in_five_seconds(campaign):
    import time

    _, cascades = campaign
    model = fitted(cascades)
    edges = np.linspace(0, 150, 1001)
    made = bootstrap_replicas(cascades, model, n_replicas=1000, rng=np.random.default_rng(0))
    began = time.process_time()
    made.fold(falling(edges), recoil_edges_eV=edges)
    assert time.process_time() - began < 5
