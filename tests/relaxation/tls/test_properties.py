"""Density of states and what follows from it: closed forms, and the printed numbers of Churkin et al. 2021."""

import numpy as np
import pytest
from papers import TABLE_II
from scipy import integrate, stats

from cascade_driver.errors import FitError, InputError
from cascade_driver.relaxation.tls import properties as tls
from cascade_driver.relaxation.tls.density import (
    EDGES_K,
    CountedDensity,
    PowerLawDensity,
    dipolar_gap_density,
    fit_density,
    gaussian_density_per_K,
)
from cascade_driver.schema import build

FLAT = PowerLawDensity(prefactor=0.02, exponent=0.0, cutoff_K=1e4)
WAVE = tls.RelaxingSystems(coupling_K=1.0, frequency_Hz=90e3, relaxation_per_s_K3=9.4e6)


def counted(energies_K, *, temperature_K=0.5) -> CountedDensity:
    return CountedDensity(
        temperature_K=np.array([temperature_K, 0.0]),
        edges_K=EDGES_K,
        counts=np.array([np.histogram(energies_K, EDGES_K)[0]] * 2),
        systems=len(energies_K),
    )


def draw(density: PowerLawDensity, T: float, *, number: int, seed: int):
    """Energies distributed as a density, by inversion of its integral."""
    grid = np.linspace(0, density.cutoff_K, 20001)
    steps = density.integral(grid, T)
    return np.interp(np.random.default_rng(seed).random(number) * steps[-1], steps, grid)


# -- closed forms -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("T", [0.02, 1.0])
def test_flat_density_gives_the_closed_forms(T):
    assert float(tls.specific_heat(T, density=FLAT)) == pytest.approx(np.pi**2 * 0.02 * T / 6, rel=1e-8)
    for variable in ("energy", "asymmetry"):
        kappa = float(tls.thermal_conductivity(T, density=FLAT, variable=variable))
        assert kappa == pytest.approx(4 * np.pi**2 * T**2 / 0.02, rel=1e-8)


def test_flat_density_gives_slopes_of_one_to_minus_one_half():
    low = tls.sound_velocity_shift([0.01, 0.02], density=FLAT, systems=WAVE)  # T_0 is 0.39 K
    assert np.diff(low)[0] / np.log(2) / 0.02 == pytest.approx(1.0, abs=0.01)
    high = tls.sound_velocity_shift([40.0, 80.0], density=FLAT, systems=WAVE)
    assert np.diff(high)[0] / np.log(2) / 0.02 == pytest.approx(-0.5, abs=0.02)
    cold = tls.dielectric_shift([0.01, 0.02], density=FLAT, systems=WAVE)
    np.testing.assert_allclose(cold, -low)


@pytest.mark.parametrize("mu", [0.04, 0.2])
def test_power_law_gives_exact_exponents_at_all_temperatures(mu):
    density = PowerLawDensity(prefactor=0.01, exponent=mu, cutoff_K=1e4)
    T = np.array([0.1, 0.3, 1.0])
    kappa = tls.thermal_conductivity(T, density=density)
    heat = tls.specific_heat(T, density=density)
    assert tls.local_exponent(T, kappa) == pytest.approx(2 - mu, abs=1e-8)
    assert tls.local_exponent(T, heat) == pytest.approx(1 + mu, abs=1e-8)


@pytest.mark.parametrize("T", [0.1, 0.4, 2.0])
def test_relaxation_shift_is_the_printed_double_integral(T):
    density = PowerLawDensity(prefactor=0.01, exponent=0.2, cutoff_K=1e3)
    omega, A = WAVE.omega_per_s, WAVE.relaxation_per_s_K3

    def printed(at):
        def inner(E):
            def f(y):  # x = e^y
                x = np.exp(y)
                n = float(density.per_K(np.array(E * at(x)), T))
                return np.sqrt(1 - x * x) * n / (1 + (omega / (A * x * x * E**3 / np.tanh(E / 2 / T))) ** 2)

            return integrate.quad(f, -30, 0, limit=200, epsrel=1e-7)[0]

        return integrate.quad(
            lambda z: np.exp(z) * inner(np.exp(z)) / (2 * T * np.cosh(np.exp(z) / 2 / T) ** 2),
            np.log(1e-3 * T),
            np.log(60 * T),
            epsrel=1e-6,
            limit=100,
        )[0]

    options = {"density": density, "systems": WAVE}
    assert -float(tls.relaxation_shift(T, **options)) == pytest.approx(printed(lambda x: 1.0), rel=1e-4)
    if T == 0.4:
        found = -float(tls.relaxation_shift(T, variable="asymmetry", **options))
        assert found == pytest.approx(printed(lambda x: np.sqrt(1 - x * x)), rel=1e-4)


def test_both_readings_of_the_density_differ_negligibly():
    # Fig. 7: the same but for a factor and a shift; exponents within 0.01, the maximum at the same place
    density = PowerLawDensity(prefactor=0.0135, exponent=0.127, cutoff_K=40)
    T = np.geomspace(0.05, 1, 6)
    exponents = [
        tls.local_exponent(T, tls.thermal_conductivity(T, density=density, variable=v))
        for v in ("energy", "asymmetry")
    ]
    assert exponents[0] == pytest.approx(exponents[1], abs=0.01)
    one, two = (
        tls.sound_velocity_shift(T, density=density, systems=WAVE, variable=v) for v in ("energy", "asymmetry")
    )
    assert np.max(np.abs((one - one[0]) - (two - two[0]))) < 0.1 * np.ptp(one)


def test_resonant_shift_needs_its_cutoff_only_for_a_constant():
    wide = PowerLawDensity(prefactor=0.02, exponent=0.1, cutoff_K=1e4)
    near = PowerLawDensity(prefactor=0.02, exponent=0.1, cutoff_K=1e2)
    T = [0.1, 1.0]
    shifts = [tls.resonant_shift(T, density=d, systems=WAVE) for d in (near, wide)]
    assert abs(shifts[1][0] / shifts[0][0]) > 1.5
    # the part of n that depends on temperature falls as T^2 / E^2
    np.testing.assert_allclose(np.diff(shifts[0]), np.diff(shifts[1]), rtol=1e-3)


# -- densities ----------------------------------------------------------------------------------------------


def test_integral_of_the_power_law_is_the_quadrature():
    density = PowerLawDensity(prefactor=0.0135, exponent=0.127, cutoff_K=10)
    value = integrate.quad(lambda E: float(density.per_K(np.array(E), 0.5)), 0, 10, points=[0.5])[0]
    assert float(density.integral(np.array(10.0), 0.5)) == pytest.approx(value, rel=1e-9)
    assert float(density.integral(np.array(99.0), 0.5)) == pytest.approx(value, rel=1e-9)
    assert density.per_K(np.array([11.0]), 0.5).tolist() == [0.0]


def test_counted_density_holds_both_signs_and_agrees_with_its_gaussian():
    energies = np.abs(np.random.default_rng(2).normal(scale=20, size=200_000))
    found = counted(energies)
    assert float(found.integral(np.array(1e3), 0.5)) == pytest.approx(0.5)
    assert float(found.integral(np.array(20.0), 0.5)) == pytest.approx(stats.norm.cdf(1) - 0.5, abs=0.004)
    centre = float(found.per_K(np.array([0.5]), 0.5)[0])
    assert centre == pytest.approx(float(gaussian_density_per_K(0.5, random_field_K=10)), rel=0.25)
    heat = float(tls.specific_heat(0.5, density=found))
    assert heat == pytest.approx(np.pi**2 / 6 * 0.5 / (20 * np.sqrt(2 * np.pi)), rel=0.05)
    assert found.density_per_K(0.5).sum() > 0


@pytest.mark.parametrize("T", [0.5, 0.0])
def test_fit_gives_prefactor_and_exponent_back(T):
    true = PowerLawDensity(prefactor=0.5, exponent=0.25, cutoff_K=2.0)
    energies = draw(true, T, number=200_000, seed=3)
    share = float(true.integral(np.array(2.0), T)) * 2
    found = fit_density(counted(energies), temperature_K=T, highest_K=1.0)
    assert found.health.is_good
    assert abs(found.exponent - 0.25) < 4 * found.exponent_error
    assert abs(found.prefactor * share - 0.5) < 4 * found.prefactor_error * share
    assert found.goodness.p_value > 1e-4


@pytest.mark.physics
def test_pulls_of_the_exponent_are_standard_normal():
    true = PowerLawDensity(prefactor=0.5, exponent=0.15, cutoff_K=1.0)
    pulls = []
    for seed in range(100):
        fit = fit_density(counted(draw(true, 0.5, number=4000, seed=seed)), temperature_K=0.5, highest_K=1.0)
        pulls.append((fit.exponent - 0.15) / fit.exponent_error)
    assert abs(np.mean(pulls)) < 0.35
    assert abs(np.std(pulls) - 1) < 0.25


def test_fit_refuses_what_it_cannot_do():
    found = counted(np.linspace(5, 50, 1000))
    with pytest.raises(InputError, match="end of its range"):
        fit_density(found, temperature_K=0.0)
    with pytest.raises(InputError, match=r"no excitation energies were noted at 0.3 K; known are 0.5, 0"):
        fit_density(found, temperature_K=0.3)
    with pytest.raises(FitError, match="run more realisations"):
        fit_density(found, temperature_K=0.5)


# -- printed numbers that follow ----------------------------------------------------------------------------


def test_printed_prefactors_are_densities_of_both_signs():
    # without interactions n(0) is 0.0199; the gap halves it. One sign alone would give 0.04 and 0.03
    assert float(gaussian_density_per_K(0.0, random_field_K=10)) == pytest.approx(0.01995, abs=1e-5)
    assert all(0.3 < B / 0.01995 < 0.75 for rows in TABLE_II.values() for _, B, _ in rows)


def test_printed_exponents_of_heat_and_conductivity_follow_from_table_ii_for_the_weaker_interaction():
    # "alpha and beta in the range 0.1-0.2": from B(T) and mu(T) between 0.1 and 1 K
    def exponents(J):
        T, B, mu = np.array(TABLE_II[J]).T
        models = [PowerLawDensity(prefactor=b, exponent=m, cutoff_K=100) for b, m in zip(B, mu, strict=True)]
        heat = [float(tls.specific_heat(t, density=d)) for t, d in zip(T, models, strict=True)]
        kappa = [float(tls.thermal_conductivity(t, density=d)) for t, d in zip(T, models, strict=True)]
        return tls.local_exponent(T, heat) - 1, 2 - tls.local_exponent(T, kappa)

    assert all(0.1 < e < 0.2 for e in exponents(2.0))
    # and it does not for the stronger one: 0.27 and 0.26
    assert all(0.25 < e < 0.28 for e in exponents(3.0))


def test_printed_interaction_ratios():
    assert tls.interaction_ratio(dielectric_slope=1.51e-3, elastic_slope=3.2e-4) == pytest.approx(1.51, abs=0.01)
    assert tls.interaction_ratio(dielectric_slope=1.69e-3, elastic_slope=3.6e-4) == pytest.approx(1.51, abs=0.01)
    # the constants: 1.1 Q^-1 with Q^-1 = pi C_el / 2, and 0.36 tan(delta) likewise
    assert 1.1 * np.pi / 2 == pytest.approx(1.74, abs=0.02)
    assert 0.36 * np.pi / 2 == pytest.approx(0.56, abs=0.01)


def test_printed_slope_ratio_of_about_minus_one():
    # "roughly 1 : -1 for J_0/h_0 = 0.2, even steeper for 0.3", with the fitted mu = 0.13 and 0.2 of Fig. 3, within
    # half a decade of the crossover, beyond which the slope goes on steepening
    def ratio(mu):
        density = PowerLawDensity(prefactor=0.01, exponent=mu, cutoff_K=40.0)
        wave = tls.RelaxingSystems(coupling_K=1.0, frequency_Hz=1e3, relaxation_per_s_K3=2 * np.pi * 1e3 / 0.1**3)
        below = np.diff(tls.sound_velocity_shift([0.02, 0.04], density=density, systems=wave))[0]
        above = np.diff(tls.sound_velocity_shift([0.2, 0.4], density=density, systems=wave))[0]
        return above / below

    assert -0.5 < ratio(0.0) < -0.3
    assert -1.3 < ratio(0.13) < -0.8
    assert ratio(0.2) < ratio(0.13)


# -- printed numbers that do not follow ---------------------------------------------------------------------


def test_printed_exponent_of_silica_does_not_follow_from_the_printed_mu():
    # Fig. 4 fits data of T^1.95 with mu = 0.04; Eq. 3 and 5 give exactly T^(2 - mu), so mu = 0.05
    T = np.array([0.1, 1.0])
    density = PowerLawDensity(prefactor=1.0, exponent=0.04, cutoff_K=1e4)
    assert tls.local_exponent(T, tls.thermal_conductivity(T, density=density)) == pytest.approx(1.96, abs=1e-6)


def test_printed_exponent_of_the_dipolar_gap_is_of_its_order_only():
    # "mu about 0.03" for J_0/h_0 = 0.03: Eq. 9 has the local exponent 0.063 at J_0 and 0.05 at 0.01 J_0
    def exponent(E):
        n = dipolar_gap_density([E, 1.001 * E], interaction_K=1.0, ratio=0.03)
        return np.log(n[1] / n[0]) / np.log(1.001)

    assert exponent(0.999) == pytest.approx(0.063, abs=0.001)
    assert exponent(0.01) == pytest.approx(0.049, abs=0.001)
    with pytest.raises(InputError, match="dipolar gap holds"):
        dipolar_gap_density([2.0], interaction_K=1.0, ratio=0.03)


def test_printed_ratio_of_silica_follows_only_if_its_q_is_the_dielectric_loss():
    # App. C: r = 0.3 from C_el = 0.17-0.23e-3 and "Q = 3.3e-4"; no C_dip is printed. As tan(delta), 3.3e-4 gives
    # 0.30 to 0.40; as the internal friction, pi C_el / 2, it says nothing of the electric side
    ratio = 0.36 * 3.3e-4 / (1.74 * 0.23e-3)
    assert ratio == pytest.approx(0.3, abs=0.01)


def test_printed_energy_scales_of_the_two_tls_model():
    # Table I: h_0 = g T_g with g = 0.02 and T_g = 300-1000 K holds ("about 10 K"); J_0 = g h_0 is 0.2 K, in
    # the table's 0.1-0.3 K and not the "about 0.3 K" of the text
    assert 0.02 * 300 < 10 < 0.02 * 1000
    assert round(0.02 * 10, 3) == 0.2


def test_frequency_of_equation_8_decides_the_crossover():
    # Fig. 5 (a): 90 kHz and A = 9.4 MHz give 0.21 K with omega = f and 0.39 K with omega = 2 pi f
    printed = build(
        tls.RelaxingSystems,
        {"coupling_K": 1, "frequency_Hz": 90e3, "relaxation_per_s_K3": 9.4e6, "omega_is_frequency": True},
        origin="test",
    )
    assert printed.crossover_temperature_K == pytest.approx(0.212, abs=0.001)
    assert WAVE.crossover_temperature_K == pytest.approx(0.392, abs=0.001)


# -- the door -----------------------------------------------------------------------------------------------


def test_arguments_outside_the_domain_are_refused():
    with pytest.raises(InputError, match="prefactor and cutoff"):
        PowerLawDensity(prefactor=0.0, exponent=0.1, cutoff_K=1.0)
    with pytest.raises(InputError, match="between -1 and 2"):
        PowerLawDensity(prefactor=1.0, exponent=-1.1, cutoff_K=1.0)
    with pytest.raises(InputError, match="at least one system"):
        CountedDensity(temperature_K=np.array([0.0]), edges_K=EDGES_K, counts=np.zeros((1, 241), int), systems=0)
    with pytest.raises(InputError, match="temperature_K: must be finite and above 0"):
        tls.specific_heat(0.0, density=FLAT)
    with pytest.raises(InputError, match="two temperatures"):
        tls.local_exponent([1.0], [1.0])
    with pytest.raises(InputError, match="slope"):
        tls.interaction_ratio(dielectric_slope=-1, elastic_slope=1)


# -- beside the standard model --------------------------------------------------------------------------------


def test_a_law_without_a_slope_is_the_standard_model():
    found, standard = tls.beside_standard_model(
        tls.PropertyTemperatures(temperature_K=(0.05, 1.0), points=5), law=FLAT, systems=WAVE
    )
    for name in ("temperature_K", "thermal_conductivity", "specific_heat", "sound_velocity_shift"):
        np.testing.assert_array_equal(getattr(found, name), getattr(standard, name))


def test_negative_control_a_law_with_a_slope_is_another():
    law = PowerLawDensity(prefactor=0.02, exponent=0.3, cutoff_K=1e4)
    temperatures = tls.PropertyTemperatures(temperature_K=(0.05, 1.0), points=5)
    found, standard = tls.beside_standard_model(temperatures, law=law, systems=WAVE)
    slopes = [tls.local_exponent(one.temperature_K, one.specific_heat) for one in (found, standard)]
    # C ~ T^(1 + exponent)
    assert slopes == pytest.approx([1.3, 1.0], abs=0.01)


def test_systems_that_were_counted_stand_in_place_of_the_law_at_their_own_temperatures():
    energies = draw(PowerLawDensity(prefactor=0.02, exponent=0.0, cutoff_K=40.0), 0.5, number=20_000, seed=3)
    of_two = counted(energies)
    temperatures = tls.PropertyTemperatures(temperature_K=(0.05, 1.0), points=5)
    found, standard = tls.beside_standard_model(temperatures, law=FLAT, systems=WAVE, counted=of_two)
    assert found.temperature_K.tolist() == [0.5]  # 0 stands for the quenched states
    # A flat density of 1/(2 x 40 K) per system and sign; the heat of a flat one is pi^2 n T / 6.
    assert found.specific_heat[0] == pytest.approx(np.pi**2 / (2 * 40) * 0.5 / 6, rel=0.08)
    assert set(standard.temperature_K.tolist()) == {0.5}
