"""Pinned dislocations: printed numbers of the paper, tunnelling, the total rate against closed forms."""

import dataclasses
import math

import numpy as np
import pytest

from cascade_driver.errors import InputError
from cascade_driver.relaxation.film.dislocation import (
    ALUMINIUM,
    COPPER,
    GOLD,
    Film,
    Tunnelling,
    depinning_rate_per_mm2_Hz,
    depinning_rate_per_site_Hz,
    hill_shear_modulus_GPa,
    pinned_length_nm,
    pinned_share,
    tunnelling_rate_Hz,
)
from cascade_driver.schema import build

WEEK_s = 7 * 86400.0
PAPER = Tunnelling(exponent=900.0)


def test_printed_6_GPa_contains_the_strength_of_the_lock():
    # Printed with one digit.
    assert float(pinned_length_nm(6e3, metal=ALUMINIUM)) == pytest.approx(1.0, rel=0.06)
    stiffer = dataclasses.replace(ALUMINIUM, shear_modulus_GPa=26.0)
    assert float(pinned_length_nm(6e3, metal=stiffer)) == pytest.approx(1.0, rel=0.01)


def test_printed_900_follows_with_the_cubic_lattice_constant_and_not_with_the_neighbour_distance():
    assert Tunnelling().gamma(ALUMINIUM) == pytest.approx(900, rel=0.03)
    nearer = dataclasses.replace(ALUMINIUM, lattice_constant_nm=ALUMINIUM.b_nm)
    assert Tunnelling().gamma(nearer) == pytest.approx(650, rel=0.01)


def test_exponent_scales_as_equation_17_says():
    base = Tunnelling().gamma(ALUMINIUM)
    changed = Tunnelling(shape_factor=0.5, activation_energy_eV=4.0, mass_amu=ALUMINIUM.atomic_mass_amu / 4)
    assert changed.gamma(ALUMINIUM) == pytest.approx(0.5 * base, rel=1e-12)


def test_printed_eta_of_what_relaxes_within_an_experiment():
    # Where r(eta) t = 1 after a week; printed "around 0.05".
    eta = math.log(ALUMINIUM.attempt_frequency_Hz * WEEK_s) / 900
    assert eta == pytest.approx(0.05, abs=0.005)
    assert float(tunnelling_rate_Hz(eta, metal=ALUMINIUM, tunnelling=PAPER)) * WEEK_s == pytest.approx(1, rel=1e-9)


def test_printed_path_of_a_dislocation_is_of_the_printed_order():
    path_nm = 4e-3 / (1e-4 * ALUMINIUM.b_nm)  # 1e10 per cm2 are 1e-4 per nm2
    assert 100 <= path_nm <= 150


@pytest.mark.parametrize(("spacing_nm", "total_mHz"), [(100, 38.1992), (60, 66.6071), (30, 137.8702)])
def test_total_rate_agrees_with_the_published_program(spacing_nm, total_mHz):
    # Printed by the notebook FIN_SIM_3 of github.com/rkromani/LEE-Dislocation-Simulations (for 4 mm2, in Hz:
    # 0.152797, 0.266429, 0.551481), by Eq. 16 with Gamma = 900.
    film = Film(dislocation_spacing_nm=spacing_nm)
    rate = depinning_rate_per_mm2_Hz(WEEK_s, film=film, metal=ALUMINIUM, tunnelling=PAPER)
    assert float(rate) * 1e3 == pytest.approx(total_mHz, rel=1e-5)


def test_total_rate_is_one_over_t_long_after_the_first_attempt():
    time_s = np.geomspace(1.0, 1e9, 10)
    exact = depinning_rate_per_site_Hz(time_s, metal=ALUMINIUM)
    np.testing.assert_allclose(exact, 1 / (Tunnelling().gamma(ALUMINIUM) * time_s), rtol=1e-12)  # Eq. 6


def test_total_rate_has_its_plateau_before_the_first_attempt():
    gamma, attempt = Tunnelling().gamma(ALUMINIUM), ALUMINIUM.attempt_frequency_Hz
    plateau = attempt / gamma * -math.expm1(-gamma)
    # The next order of the plateau is nu t / 2 = 5e-7.
    early = float(depinning_rate_per_site_Hz(1e-6 / attempt, metal=ALUMINIUM))
    assert early == pytest.approx(plateau, rel=1e-6)


def test_total_rate_falls_exponentially_when_the_slowest_have_gone():
    few = Tunnelling(exponent=2.0)
    slowest = ALUMINIUM.attempt_frequency_Hz * math.exp(-2.0)
    late, later = (
        float(depinning_rate_per_site_Hz(n / slowest, metal=ALUMINIUM, tunnelling=few)) for n in (40, 41)
    )
    assert later / late == pytest.approx(math.exp(-1) * 40 / 41, rel=1e-9)


@pytest.mark.parametrize("time_s", [1e-16, 1e-13, 1e-6, 1.0, WEEK_s, 1e12])
@pytest.mark.parametrize(
    "tunnelling", [PAPER, Tunnelling(exponent=30.0), Tunnelling(lowest_eta=0.02, highest_eta=0.06)]
)
def test_the_rate_of_all_is_the_mean_of_those_of_single_dislocations(time_s, tunnelling):
    """Eq. 4 by the trapezoid rule in eta, over the peak of width 1 / Gamma that r exp(-r t) has."""
    eta = np.linspace(tunnelling.lowest_eta, tunnelling.highest_eta, 400_001)
    rate = tunnelling_rate_Hz(eta, metal=ALUMINIUM, tunnelling=tunnelling)
    width = tunnelling.highest_eta - tunnelling.lowest_eta
    mean = np.trapezoid(rate * np.exp(-rate * time_s), eta) / width
    closed = float(depinning_rate_per_site_Hz(time_s, metal=ALUMINIUM, tunnelling=tunnelling))
    assert mean == pytest.approx(closed, rel=1e-6, abs=1e-300)


def test_all_dislocations_come_free_in_the_end():
    few = Tunnelling(exponent=5.0)
    log_t = np.linspace(math.log(1e-18), math.log(1e-8), 4001)
    rates = depinning_rate_per_site_Hz(np.exp(log_t), metal=ALUMINIUM, tunnelling=few)
    assert np.trapezoid(rates * np.exp(log_t), log_t) == pytest.approx(1.0, rel=1e-5)


def test_pinned_share_is_small_in_a_dense_film_and_one_in_a_thin_net():
    assert pinned_share(Film(dislocation_spacing_nm=1.0), metal=ALUMINIUM) == pytest.approx(
        4e-3 / 6 / ALUMINIUM.b_nm, rel=2e-3
    )
    assert pinned_share(Film(dislocation_spacing_nm=1e5), metal=ALUMINIUM) == pytest.approx(1.0)


def test_copper_and_gold_have_moduli_and_speeds_of_their_crystals():
    # Polycrystals at room temperature: Cu 48 GPa, 2.3 km/s; Au 27 GPa, 1.2 km/s. At 0 K C44 is 9 % larger.
    assert pytest.approx(48.3, rel=0.08) == COPPER.shear_modulus_GPa
    assert pytest.approx(2.3, rel=0.08) == COPPER.transverse_speed_km_s
    assert pytest.approx(27, rel=0.12) == GOLD.shear_modulus_GPa
    assert pytest.approx(1.2, rel=0.12) == GOLD.transverse_speed_km_s
    assert COPPER.b_nm == pytest.approx(0.2556, rel=0.005)


def test_hill_modulus_of_an_isotropic_crystal_is_c44():
    assert hill_shear_modulus_GPa(c11_GPa=3.0, c12_GPa=1.0, c44_GPa=1.0) == pytest.approx(1.0, rel=1e-14)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pinned_length_nm(-1.0, metal=ALUMINIUM), "stress_MPa: found -1, expected finite numbers above 0"),
        (lambda: tunnelling_rate_Hz(1.2, metal=ALUMINIUM), "outside 0 to 1"),
        (lambda: depinning_rate_per_site_Hz(0.0, metal=ALUMINIUM), "time_s: found 0"),
        (lambda: depinning_rate_per_site_Hz(math.nan, metal=ALUMINIUM), "time_s: found nan"),
        (lambda: hill_shear_modulus_GPa(c11_GPa=1, c12_GPa=2, c44_GPa=1), "no crystal is stable"),
        (lambda: build(Film, {"dislocation_spacing_nm": -3}, origin="film"), "greater than 0"),
        (
            lambda: build(Film, {"largest_start_nm": 3, "lowest_start_nm": 4}, origin="film"),
            "above lowest_start_nm",
        ),
        (lambda: build(Film, {"stress_sampling": "wieght"}, origin="film"), "'weight' or 'program'"),
        (
            lambda: build(Tunnelling, {"lowest_eta": 0.5, "highest_eta": 0.5}, origin="x"),
            "expected lowest_eta below",
        ),
        (lambda: build(Tunnelling, {"exponnent": 3}, origin="x"), "did you mean `exponent`"),
    ],
)
def test_parameters_outside_the_domain_get_one_clear_line(call, message):
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
