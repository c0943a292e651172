"""The posterior of a threshold: calibrated, sharp where it can be, and asking where the answer is open."""

import numpy as np
import pytest

from cascade_driver.analysis.threshold_posterior import (
    ASTRAY,
    RELATIVE_WIDTHS,
    ThresholdPosterior,
    ThresholdPrior,
    pooled_widths,
)

PRIOR = ThresholdPrior(lowest_eV=8.0, highest_eV=60.0)


def searched(threshold_eV, width, rng, *, sd_eV=1.0, most=30, astray=ASTRAY):
    """A search against a known threshold, as the driver makes it."""
    posterior = ThresholdPosterior(PRIOR)
    while posterior.attempts < most:
        energy = posterior.next_energy_eV()
        p = astray + (1 - 2 * astray) / (1 + np.exp(-(energy - threshold_eV) / (width * threshold_eV)))
        posterior.observe(energy, bool(rng.random() < p))
        low, high = posterior.interval_eV()
        if high - low <= 2 * sd_eV:
            break
    return posterior


@pytest.fixture(scope="module")
def searches():
    """Thresholds drawn from the prior, and what searches said of them."""
    rng = np.random.default_rng(11)
    found = []
    for _ in range(160):
        threshold = float(np.exp(rng.uniform(np.log(8), np.log(60))))
        width = float(rng.choice(RELATIVE_WIDTHS))
        found.append((threshold, searched(threshold, width, rng)))
    return found


def covered(searches, shrink=1.0):
    inside = 0
    for threshold, posterior in searches:
        low, high = posterior.interval_eV()
        middle, half = (low + high) / 2, (high - low) / 2 * shrink
        inside += middle - half <= threshold <= middle + half
    return inside


# 160 searches at 68.27 %: 109 +- 5.9; 4 sigma each way is a false alarm of 6e-5.
BAND = (86, 132)


def test_intervals_hold_the_truth_as_often_as_they_say(searches):
    assert BAND[0] <= covered(searches) <= BAND[1]


def test_intervals_of_half_their_width_would_be_caught(searches):
    """Negative control."""
    assert covered(searches, shrink=0.5) < BAND[0]


def test_sharp_thresholds_take_few_attempts():
    """Bisection of 8 to 60 eV to 2 eV takes five answers; not knowing how sharp it is costs some more."""
    rng = np.random.default_rng(3)
    attempts = [searched(float(e), 0.005, rng).attempts for e in rng.uniform(12, 40, size=30)]
    assert np.mean(attempts) < 12


def test_one_answer_astray_does_not_rule():
    """A pair that recombined far above the threshold moves it by less than an electronvolt or two."""
    clean, astray = ThresholdPosterior(PRIOR), ThresholdPosterior(PRIOR)
    for posterior in (clean, astray):
        for energy in (14, 16, 18, 19, 19.5):
            posterior.observe(energy, displaced=False)
        for energy in (20.5, 21, 22, 24, 26):
            posterior.observe(energy, displaced=True)
    astray.observe(35.0, displaced=False)
    assert abs(np.exp(astray.mean_ln()) - np.exp(clean.mean_ln())) < 1.5


def test_the_next_energy_is_where_the_answer_is_open():
    posterior = ThresholdPosterior(PRIOR)
    for energy, displaced in ((15, False), (25, True), (16, False), (24, True), (17, False), (23, True)):
        posterior.observe(energy, displaced)
    assert 17 < posterior.next_energy_eV() < 23


def test_what_is_never_displaced_lies_above_the_highest_energy():
    posterior = ThresholdPosterior(PRIOR)
    for _ in range(12):
        posterior.observe(60.0, displaced=False)
    assert posterior.above_highest() > 0.5
    assert ThresholdPosterior(PRIOR).above_highest() < 0.05


def test_a_prior_that_is_wrong_is_overcome():
    """A direction may differ from all around it."""
    posterior = ThresholdPosterior(
        ThresholdPrior(lowest_eV=8, highest_eV=60, mean_ln=float(np.log(15)), sd_ln=0.08)
    )
    for energy in (15, 18, 22, 25, 28, 30) * 2:
        posterior.observe(energy, displaced=False)
    for energy in (34, 36, 40) * 2:
        posterior.observe(energy, displaced=True)
    low, high = posterior.interval_eV()
    assert 28 < low < high < 37


def test_quantiles_rise_and_bracket_the_mean():
    rng = np.random.default_rng(5)
    posterior = searched(22.0, 0.05, rng)
    quantiles = posterior.quantile_eV(np.linspace(0.01, 0.99, 50))
    assert np.all(np.diff(quantiles) > 0)
    low, high = posterior.interval_eV()
    assert low < np.exp(posterior.mean_ln()) < high


def test_pooled_widths_find_what_the_thresholds_were_drawn_from():
    rng = np.random.default_rng(2)
    narrow = pooled_widths([searched(float(e), 0.01, rng, sd_eV=0.3) for e in rng.uniform(12, 40, 12)])
    wide = pooled_widths([searched(float(e), 0.2, rng, sd_eV=0.3) for e in rng.uniform(12, 40, 12)])
    assert narrow.sum() == pytest.approx(1)
    # A tenth stays flat.
    assert narrow.min() >= 0.1 / len(RELATIVE_WIDTHS) - 1e-12
    assert narrow @ RELATIVE_WIDTHS < 0.6 * (wide @ RELATIVE_WIDTHS)
