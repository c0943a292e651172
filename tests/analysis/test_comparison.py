"""Two campaigns side by side: what is equal is not told apart, what differs is."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from cascade_driver.analysis.comparison import SIGNIFICANT_P, compare, verdict
from cascade_driver.analysis.outcomes import usable_cascades
from cascade_driver.errors import FitError, InputError
from cascade_driver.simulation.outcome import CascadeTable, concatenate


def campaign(rng, *, p=0.7, mean_eV=8.0, n_directions=16, n_snapshots=4, energy_eV=81.0, stored=None):
    n = n_directions * n_snapshots
    direction = stats.uniform_direction(3).rvs(n_directions, random_state=7)
    if stored is None:
        stored = np.where(rng.random(n) < p, rng.normal(mean_eV, 2.0, n).clip(1, 20), 0.0)
    return CascadeTable(
        id=np.arange(n).astype(str),
        species=np.full(n, "W"),
        recoil_energy_eV=np.full(n, energy_eV),
        direction=np.repeat(direction, n_snapshots, axis=0),
        direction_weight=np.full(n, 1 / n_directions),
        snapshot=np.tile(np.arange(n_snapshots), n_directions),
        outcome=np.full(n, "completed"),
        stored_energy_eV=stored,
    )


def in_errors(found) -> float:
    assert found.error > 0
    return found.value / found.error


def test_equal_campaigns_differ_by_one_error_as_often_as_gaussian_numbers_do():
    """500 pairs of one law: each number lies within 1, 2 errors of zero (ratio: one) as often as it should."""
    rng = np.random.default_rng(11)
    deviations = {"probability": [], "ratio": [], "paired": []}
    for _ in range(500):
        (found,) = compare(campaign(rng), campaign(rng))
        deviations["probability"].append(in_errors(found.probability_difference))
        deviations["ratio"].append((found.stored_ratio.value - 1) / found.stored_ratio.error)
        deviations["paired"].append(in_errors(found.paired.stored_energy_eV))
    for name, values in deviations.items():
        for limit in (1, 2):
            share = np.mean(np.abs(values) < limit)
            expected = 2 * stats.norm.cdf(limit) - 1
            # Four binomial errors, and what 64 cascades fall short of a Gaussian.
            assert abs(share - expected) < 4 * np.sqrt(expected * (1 - expected) / 500) + 0.02, (
                name,
                limit,
                share,
            )


def test_campaigns_at_the_margin_are_called_equal_within_it_no_more_than_one_time_in_twenty():
    rng = np.random.default_rng(17)
    margin, n = 0.15, 300
    first = np.where(rng.random(64) < 0.7, rng.normal(8.0, 2.0, 64).clip(1, 20), 0.0)
    proved = looks = 0
    for _ in range(n):
        one, two = (first[rng.integers(64, size=64)] for _ in range(2))  # of one law, whatever it is
        (found,) = compare(campaign(rng, stored=one), campaign(rng, stored=two * (1 + margin)))
        proved += found.equal_within <= margin
        looks += abs(found.stored_ratio.value - 1) <= margin
    assert proved <= 0.05 * n + 4 * np.sqrt(0.05 * 0.95 * n)
    assert looks > 0.35 * n  # negative control: without the error, half of them would be
    (same,) = compare(campaign(rng, stored=first), campaign(rng, stored=first))
    assert same.equal_within < 0.3
    (few,) = compare(campaign(rng, stored=first), campaign(rng, stored=np.r_[first[:9], np.zeros(55)]))
    assert np.isnan(few.equal_within)


@pytest.mark.parametrize(
    ("change", "name"), [({"p": 0.3}, "fisher_p"), ({"mean_eV": 11.0}, "kolmogorov_smirnov_p")]
)
def test_what_differs_is_told_apart(change, name):
    rng = np.random.default_rng(3)
    (found,) = compare(campaign(rng), campaign(rng, **change))
    assert getattr(found, name) < 1e-3


def test_numbers_are_those_of_the_closed_forms():
    """Sixteen cascades, half of them storing 4 or 6 eV; the second campaign stores 1 eV more in each."""
    first = np.tile([0.0, 4.0, 0.0, 6.0], 4)
    second = np.where(first > 0, first + 1, 0.0)
    (found,) = compare(campaign(None, n_directions=4, stored=first), campaign(None, n_directions=4, stored=second))
    assert found.n_cascades == (16, 16)
    assert found.n_defects == (8, 8)
    assert found.mean_of_nonzero_eV[0].value == pytest.approx(5)
    assert found.mean_of_nonzero_eV[0].error == pytest.approx(np.std([4, 6] * 4, ddof=1) / np.sqrt(8))
    assert found.mean_stored_eV[1].value == pytest.approx(3)
    assert found.stored_ratio.value == pytest.approx(1.2)
    assert found.fisher_p == pytest.approx(1)
    assert found.paired.n_pairs == 16
    assert found.paired.stored_energy_eV.value == pytest.approx(0.5)
    assert found.paired.stored_energy_eV.error == pytest.approx(np.std([0, 1] * 8, ddof=1) / 4)


def test_pairs_that_all_change_one_way_are_no_chance():
    """Eight of sixteen pairs lose their defects and none gains any: 2 x 2^-8 by McNemar's exact test."""
    first = np.tile([0.0, 5.0], 8)
    (found,) = compare(
        campaign(None, n_directions=4, stored=first), campaign(None, n_directions=4, stored=np.zeros(16))
    )
    assert (found.paired.only_first, found.paired.only_second) == (8, 0)
    assert found.paired.mcnemar_p == pytest.approx(2 * 0.5**8)
    assert found.defect_probability[1].value == 0
    assert found.defect_probability[1].error > 0.05


def test_the_verdict_calls_a_difference_what_chance_gives_one_time_in_twenty_at_most():
    """Of 200 pairs of one law no more than 5 % (and 4 errors) are said to differ; of two laws nearly all are."""
    rng = np.random.default_rng(23)
    said = [verdict(compare(campaign(rng), campaign(rng))) for _ in range(200)]
    assert sum(one.startswith("they differ") for one in said) <= 200 * SIGNIFICANT_P + 4 * np.sqrt(
        200 * 0.05 * 0.95
    )
    assert sum(one.startswith("no difference is shown") for one in said) > 150
    unlike = [verdict(compare(campaign(rng), campaign(rng, p=0.3))) for _ in range(20)]
    assert sum(one.startswith("they differ") for one in unlike) >= 18


def test_a_campaign_is_the_same_as_itself_and_too_few_cascades_give_no_number():
    one = campaign(np.random.default_rng(2))
    assert verdict(compare(one, one)) == "the same: 64 in common, with the same stored energy each"
    # Three against three that part as far as they can: 2 of 20 ways to deal them out are no rarer than 1 in 20.
    few = [campaign(None, n_directions=3, n_snapshots=1, stored=np.full(3, stored)) for stored in (0.0, 5.0)]
    (found,) = compare(*few)
    assert not found.p_values
    assert "too few cascades" in verdict((found,))
    enough = [campaign(None, n_directions=4, n_snapshots=1, stored=np.full(4, stored)) for stored in (0.0, 5.0)]
    (found,) = compare(*enough)
    assert found.p_values == {"Fisher": pytest.approx(2 / 70)}
    assert verdict((found,)) == "they differ: p = 0.029 of the only test (W 81 eV, Fisher)"


def test_few_cascades_are_known_worse_than_many():
    rng = np.random.default_rng(5)
    errors = [
        compare(*(campaign(rng, n_snapshots=n) for _ in range(2)))[0].probability_difference.error
        for n in (1, 4, 16)
    ]
    assert all(more > 1.5 * fewer for more, fewer in pairwise(errors))


def test_campaigns_without_a_common_energy_cannot_be_compared():
    rng = np.random.default_rng(6)
    with pytest.raises(InputError, match="no recoil energy of one species in common"):
        compare(campaign(rng), campaign(rng, energy_eV=40.0))


def test_regions_are_compared_each_with_itself_and_single_ones_with_each_other():
    """A film that stores 4 eV beside an interface that stores 12: their mean is of neither."""
    low, high = np.full(64, 4.0), np.full(64, 12.0)

    def of(*parts):
        made = [replace(campaign(None, stored=stored), region=np.full(64, region)) for region, stored in parts]
        return concatenate(made)

    both = of(("film", low), ("interface", high))
    found = {d.species: d.mean_stored_eV for d in compare(both, of(("film", high), ("interface", low)))}
    assert {name: [e.value for e in means] for name, means in found.items()} == {
        "W-film": [4.0, 12.0],
        "W-interface": [12.0, 4.0],
    }
    (one,) = compare(both, of(("interface", low)))
    assert (one.species, one.n_cascades, one.paired.n_pairs) == ("W-interface", (64, 64), 64)
    (one,) = compare(of(("film", low)), of(("interface", high)))
    assert (one.species, one.stored_ratio.value) == ("W", pytest.approx(3.0))
    with pytest.raises(FitError, match="W: recoils in film and interface are not one sample"):
        usable_cascades(both, species="W")
    # a table without regions, as of older programs, is one of none
    assert campaign(None, stored=low).regions == ("",)
    assert compare(campaign(None, stored=low), campaign(None, stored=high))[0].species == "W"
