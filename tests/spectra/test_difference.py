"""The difference of two campaigns in a spectrum: chance is told as chance, what differs is found."""

import dataclasses

import numpy as np
import pytest
from campaigns import LAW, simulate
from scipy import stats

from cascade_driver.analysis.model import fit_stored_energy_model
from cascade_driver.analysis.outcomes import usable_cascades
from cascade_driver.analysis.uncertainty import bootstrap_replicas, central_replica
from cascade_driver.errors import InputError
from cascade_driver.spectra.difference import spectrum_difference
from cascade_driver.spectra.ensemble import Ensemble
from cascade_driver.spectra.ensemble_content import ensemble_content
from cascade_driver.spectra.observe import observe
from cascade_driver.spectrum import Spectrum

EDGES = np.linspace(20, 160, 36)
RECOILS = Spectrum.from_counts(energy_edges_eV=EDGES, counts_per_kg_day={"W": -np.diff(np.exp(-EDGES / 40)) * 1e3})


def seen_by(table):
    model = fit_stored_energy_model(table, order=2)
    (law,) = model.species.values()
    replicas = bootstrap_replicas(
        usable_cascades(table, species="W"), law, n_replicas=200, rng=np.random.default_rng(0)
    )
    errors = Ensemble(nominal={"W": central_replica(law)}, statistics={"W": replicas})
    return observe(RECOILS, dataclasses.replace(model, uncertainty=ensemble_content(errors)), extrapolate=True)


@pytest.mark.physics
def test_equal_campaigns_differ_by_chance_alone():
    """p is below 0.1 as often as it should: of 10 pairs in more than 4 with a probability of 0.2 %."""
    rng = np.random.default_rng(4)
    found = []
    for _ in range(10):
        one, two = (seen_by(simulate(rng, n_directions=8, n_snapshots=6)) for _ in range(2))
        found.append(spectrum_difference(one, two, paired=False))
    small = sum(difference.p_value < 0.1 for difference in found)
    assert stats.binom.sf(4, 10, 0.1) < 2e-3
    assert small <= 4
    assert max(difference.p_value for difference in found) > 0.5
    # Counts are conserved but for what leaves the range: their ratio is known well.
    pulls = [(d.counts_ratio - 1) / d.counts_ratio_error for d in found]
    assert 0.5 < np.std(pulls) < 1.6


def test_what_stores_more_is_found():
    rng = np.random.default_rng(5)
    more = dataclasses.replace(LAW, location_eV=(LAW.location_eV[0] + 4, *LAW.location_eV[1:]))
    one = seen_by(simulate(rng, n_directions=8, n_snapshots=10))
    two = seen_by(simulate(rng, n_directions=8, n_snapshots=10, law=more))
    difference = spectrum_difference(one, two, paired=False)
    assert difference.p_value < 0.02
    assert difference.rms > 2 * difference.rms_by_chance
    # Fewer counts where recoils that stored less would be seen: a falling spectrum moves down.
    high = difference.energy_edges_eV[:-1] > 90
    assert np.all(difference.ratio[high] < 1)


def test_pairs_that_are_alike_know_their_difference_better_than_strangers():
    """The second campaign stores half an eV more in each cascade: lost in the scatter of two, seen in pairs."""
    table = simulate(np.random.default_rng(6), n_directions=8, n_snapshots=6)
    shifted = np.where(table.stored_energy_eV > 0, table.stored_energy_eV + 0.5, 0.0)
    one, two = seen_by(table), seen_by(dataclasses.replace(table, stored_energy_eV=shifted))
    pairs, strangers = (spectrum_difference(one, two, paired=paired) for paired in (True, False))
    np.testing.assert_array_equal(pairs.ratio, strangers.ratio)
    assert pairs.rms_by_chance < 0.5 * strangers.rms_by_chance
    assert pairs.p_value < 0.02
    assert strangers.p_value > 0.1


def test_a_campaign_does_not_differ_from_itself():
    seen = seen_by(simulate(np.random.default_rng(7), n_directions=8, n_snapshots=4))
    difference = spectrum_difference(seen, seen, paired=True)
    np.testing.assert_array_equal(difference.ratio, 1)
    assert difference.rms_by_chance == 0
    assert difference.p_value == 1


def test_where_resampled_campaigns_lose_a_bin_chance_is_no_number():
    """Four of ten replicas of the first campaign see nothing between 40 and 52 eV."""
    seen = seen_by(simulate(np.random.default_rng(9), n_directions=8, n_snapshots=4))
    band = seen.bands.components["statistics"]
    members = band.members_per_kg_day_keV.copy()
    members[::5, 5:8] = members[1::5, 5:8] = 0.0
    components = seen.bands.components | {"statistics": dataclasses.replace(band, members_per_kg_day_keV=members)}
    few = dataclasses.replace(seen, bands=dataclasses.replace(seen.bands, components=components))
    assert 0 < spectrum_difference(seen, seen, paired=False).p_value <= 1
    difference = spectrum_difference(few, seen, paired=False)
    assert difference.rms_by_chance > 1
    assert np.isnan(difference.p_value)
    assert difference.counts_ratio_error < 1  # all bins together are known


def test_what_has_no_statistical_error_is_not_compared():
    table = simulate(np.random.default_rng(8), n_directions=8, n_snapshots=4)
    bare = observe(RECOILS, fit_stored_energy_model(table), bands=False, extrapolate=True)
    with pytest.raises(InputError, match="no statistical error to compare by"):
        spectrum_difference(bare, bare, paired=True)
