"""The delayed release of a network of minima: closed forms over thirty orders of magnitude of rates."""

import numpy as np
import pytest
from scipy.linalg import expm

from cascade_driver.errors import InputError
from cascade_driver.relaxation.debris.release import downhill_energy_eV, release
from cascade_driver.units import BOLTZMANN_eV_PER_K


@pytest.mark.parametrize("rate", [3e-7, 2.5, 4e9])
def test_one_system_relaxes_exponentially(rate):
    given = release([0.0, -0.5], [[0, rate], [0, 0]], temperature_K=0.1)
    expected = 0.5 * -np.expm1(-rate * given.time_s)
    np.testing.assert_allclose(given.released_eV, expected, rtol=1e-7)
    np.testing.assert_allclose(given.events, expected / 0.5, rtol=1e-7)


def test_fast_step_into_a_slow_one_keeps_both_times():
    # 1e13 /s, then 1e-4 /s: seventeen orders of magnitude apart
    rates = [[0, 1e13, 0], [0, 0, 1e-4], [0, 0, 0]]
    given = release([0.0, -0.1, -0.4], rates, temperature_K=0.01)
    slow = 0.3 * -np.expm1(-1e-4 * given.time_s)
    np.testing.assert_allclose(given.released_eV[1:], 0.1 + slow[1:], rtol=1e-4)
    energy, events = given.between(1.0, 2.0**20)
    assert energy == pytest.approx(0.3, rel=1e-4)
    assert events == pytest.approx(1.0, rel=2e-4)


def test_moderate_network_agrees_with_the_matrix_exponential():
    generator = np.random.default_rng(4)
    energy = generator.normal(size=5)
    rates = 10 ** generator.uniform(-2, 1, size=(5, 5))
    np.fill_diagonal(rates, 0)
    given = release(energy, rates, temperature_K=1e-4)
    for power in (-4, 0, 3):
        k = int(np.argmin(np.abs(given.time_s - 2.0**power)))
        p = expm((rates - np.diag(rates.sum(axis=1))) * 2.0**power)[0]
        assert given.released_eV[k] == pytest.approx(energy[0] - p @ energy, rel=1e-7)


def test_detailed_balance_ends_in_the_boltzmann_distribution():
    kT = BOLTZMANN_eV_PER_K * 1.0
    step = 2 * kT
    down = 1e6
    given = release([0.0, -step], [[0, down], [down * np.exp(-2), 0]], temperature_K=1.0)
    assert given.released_eV[-1] == pytest.approx(step / (1 + np.exp(-2)), rel=1e-6)
    # both go to and fro for ever: no events, however many steps there were
    assert given.events[-1] == 0


def test_negative_control_without_rates_nothing_is_released():
    given = release([0.0, -1.0, -2.0], np.zeros((3, 3)), temperature_K=0.1)
    assert not given.released_eV.any()
    assert not given.events.any()


@pytest.mark.parametrize("rates", [[[0, -1], [0, 0]], [[0, np.nan], [0, 0]], np.zeros((3, 3))])
def test_rates_that_are_none_are_refused(rates):
    with pytest.raises(InputError, match="finite and at least 0"):
        release([0.0, 1.0], rates, temperature_K=1.0)


def test_metastable_energy_is_that_of_the_lowest_minimum_that_pairs_lead_to():
    energies = [0.0, 0.2, -0.3, -5.0, -0.1]
    assert downhill_energy_eV(energies, [(0, 1), (1, 2), (3, 4)]) == pytest.approx(0.3)
    assert downhill_energy_eV(energies, []) == 0
