"""Fit of tunnelling systems to measured properties of a glass: closed forms, closed loop, coverage, the files."""

import json

import numpy as np
import pytest
from scipy import constants

from cascade_driver.cli import main
from cascade_driver.errors import FitError, InputError
from cascade_driver.relaxation.tls.density import PowerLawDensity
from cascade_driver.relaxation.tls.properties import (
    RelaxingSystems,
    power_law_velocity,
    relaxation_constant_per_s_K3,
    sound_velocity_shift,
)
from cascade_driver.relaxation.tls.properties_fit import (
    Probe,
    PropertyData,
    conductivity_1K_W_mK,
    fit_property,
    model_values,
)

#: Fig. 5 (c) of Churkin 2021: strength of coverglass; its mu is printed in the figure alone.
COVERGLASS = {"exponent": 0.15, "strength": 4.2e-4, "crossover_K": 0.1}

#: Stycast 1266 below 0.3 K, J. R. Olson 1993; from github.com/CMB-S4/Cryogenic_Material_Properties (BSD-3).
STYCAST = (
    (0.0609, 1.93e-4),
    (0.0838, 3.64e-4),
    (0.113, 6.57e-4),
    (0.145, 1.06e-3),
    (0.2, 1.98e-3),
    (0.257, 3.26e-3),
)


def measured(of="velocity", *, true=COVERGLASS, error=2e-6, seed=1, told=True, probe=None) -> PropertyData:
    """A property of known parameters, scattered by its errors, relative ones of a conductivity."""
    T = np.geomspace(0.02, 1.0, 16)
    exact = model_values(of, T, true, probe or Probe())
    error = error * (exact if of == "conductivity" else np.ones(len(T)))
    value = exact + error * np.random.default_rng(seed).normal(size=len(T))
    return PropertyData(of=of, temperature_K=T, value=value, error=error if told else None)


# -- closed forms -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mu", [-0.3, 0.0, 0.13, 0.5])
def test_power_law_velocity_is_what_the_integrals_up_to_a_cutoff_give(mu):
    T = np.array([0.01, 0.1, 0.3, 1.0, 3.0])
    systems = RelaxingSystems(
        frequency_Hz=90e3, relaxation_per_s_K3=relaxation_constant_per_s_K3(frequency_Hz=90e3, crossover_K=0.2)
    )
    density = PowerLawDensity(prefactor=1.0, exponent=mu, cutoff_K=1e5)
    general = sound_velocity_shift(T, density=density, systems=systems)
    scaled = power_law_velocity(T, exponent=mu, crossover_K=0.2)
    np.testing.assert_allclose(np.diff(scaled), np.diff(general), rtol=2e-4)


def test_conductivity_of_the_standard_model_is_that_of_the_textbook():
    # W. A. Phillips, Rep. Prog. Phys. 50, 1657 (1987): k^3 T^2 / (6 pi hbar^2) sum of rho v / (P gamma^2)
    inverse = 1 / 5800 + 2 / 3800
    expected = constants.k**3 / (6 * np.pi * constants.hbar**2) * inverse / 3e-4
    found = conductivity_1K_W_mK(strength=3e-4, exponent=0.0, inverse_speed_s_m=inverse)
    assert found == pytest.approx(expected, rel=1e-8)
    assert 0.02 < found < 0.04  # W/(m K), vitreous silica


# -- closed loop ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("of", ["velocity", "dielectric"])
def test_parameters_of_fig_5_come_back_from_a_shift_measured_to_two_parts_in_a_million(of):
    fit = fit_property(measured(of), probe=Probe(frequency_Hz=5.1e3))
    assert fit.health.is_good
    assert fit.goodness.p_value > 1e-3
    for name, true in COVERGLASS.items():
        found = fit.parameters[name]
        assert abs(found.value - true) < 4 * found.error, name
        assert found.error < 0.1 * true
    assert fit.p_value_of_standard < 1e-6
    A = fit.relaxation_per_s_K3
    assert A.lower < 2 * np.pi * 5.1e3 / fit.parameters["crossover_K"].value ** 3 < A.upper


def test_negative_control_data_of_the_standard_model_do_not_refuse_it():
    fit = fit_property(measured(true=COVERGLASS | {"exponent": 0.0}))
    assert fit.p_value_of_standard > 1e-3
    assert abs(fit.parameters["exponent"].value) < 4 * fit.parameters["exponent"].error


def test_negative_control_a_wrong_model_fails_the_goodness_test():
    data = measured(error=1e-6)
    bent = PropertyData(
        of="velocity",
        temperature_K=data.temperature_K,
        value=data.value + 2e-5 * np.sin(5 * np.log(data.temperature_K)),
        error=data.error,
    )
    assert fit_property(bent).goodness.p_value < 1e-6


@pytest.mark.parametrize("told", [True, False])
def test_intervals_of_a_conductivity_hold_the_truth_two_times_of_three(told):
    true, inside = {"exponent": 0.04, "conductivity_1K_W_mK": 0.03}, 0
    for seed in range(60):
        data = measured("conductivity", true=true, error=0.02, seed=seed, told=told)
        found = fit_property(data).parameters["exponent"]
        inside += found.lower < true["exponent"] < found.upper
    assert 28 < inside < 53  # 41 expected; 3.4 standard deviations


def test_with_the_speeds_of_sound_the_strength_is_fitted():
    probe = Probe(longitudinal_speed_m_s=5800.0, transverse_speed_m_s=3800.0)
    true = {"exponent": 0.04, "strength": 3e-4}
    fit = fit_property(measured("conductivity", true=true, error=0.02, probe=probe), probe=probe)
    for name, value in true.items():
        assert abs(fit.parameters[name].value - value) < 4 * fit.parameters[name].error


def test_scatter_is_the_error_where_none_is_told():
    fit = fit_property(measured("velocity", told=False))
    assert fit.scatter == pytest.approx(2e-6, rel=0.6)
    assert fit.goodness.p_value is None
    told = fit_property(measured("velocity"))
    ratio = fit.parameters["exponent"].error / told.parameters["exponent"].error
    assert ratio == pytest.approx(fit.scatter / 2e-6, rel=0.05)


def test_stycast_conducts_heat_by_less_than_the_square_of_the_temperature():
    T, kappa = np.array(STYCAST).T
    fit = fit_property(PropertyData(of="conductivity", temperature_K=T, value=kappa))
    slope, level = np.polyfit(np.log(T), np.log(kappa), 1)
    assert fit.parameters["exponent"].value == pytest.approx(2 - slope, abs=1e-3)
    assert fit.parameters["conductivity_1K_W_mK"].value == pytest.approx(np.exp(level), rel=2e-3)


def test_a_held_parameter_is_held_and_few_points_are_refused():
    fit = fit_property(measured(), held={"exponent": 0.15})
    assert fit.parameters["exponent"].is_held
    assert fit.parameters["crossover_K"].value == pytest.approx(0.1, rel=0.05)
    with pytest.raises(InputError, match="no parameter gamma"):
        fit_property(measured(), held={"gamma": 1.0})
    with pytest.raises(InputError, match="expected one from"):
        fit_property(measured(), held={"exponent": 5.0})
    with pytest.raises(FitError, match="4 different temperatures for 4"):
        fit_property(measured().between(0.02, 0.05))


# -- files and command ----------------------------------------------------------------------------------------


def test_command_fits_draws_and_refuses_what_says_nothing(tmp_path, capsys):
    rows = "\n".join(f"{T},{kappa}" for T, kappa in STYCAST)
    (tmp_path / "data.csv").write_text(f"temperature_K,conductivity_W_mK\n{rows}\n")
    words = ["tls", "fit", str(tmp_path / "data.csv"), "--out", str(tmp_path / "fit.json")]
    assert main([*words, "--of", "conductivity", "--temperature-K", "0.05", "0.3"]) == 0
    said = capsys.readouterr().out
    assert "exponent" in said
    assert "taken as the error of each point" in said
    content = json.loads((tmp_path / "fit.json").read_text())
    assert content["points"] == len(STYCAST)
    assert content["parameters"]["exponent"]["value"] == pytest.approx(0.042, abs=0.01)
    assert (tmp_path / "fit.png").stat().st_size > 5000
    for more, complaint in (
        (["--of", "velocity"], "no column `velocity_shift`"),
        (["--of", "conductivity", "--frequency-Hz", "9e4"], "--frequency-Hz`: it says nothing"),
        (["--of", "conductivity", "--transverse-speed-m-s", "3e3"], "--longitudinal-speed-m-s`: missing"),
        (["--of", "conductivity", "--width-nm", "3"], "--width-nm says nothing"),
        (["--of", "conductivity", "--hold", "strength=1"], "--hold`: no parameter strength"),
        (["--temperature-K", "0.05", "0.3"], "--temperature-K says nothing of a damping"),
    ):
        assert main([*words, *more]) == 2
        assert complaint in capsys.readouterr().err
    in_mK = "\n".join(f"{T * 1e3},{kappa}" for T, kappa in STYCAST)
    (tmp_path / "data.csv").write_text(f"temperature_K,conductivity_W_mK\n{in_mK}\n")
    assert main([*words, "--of", "conductivity"]) == 2
    assert "kelvin where these are millikelvin" in capsys.readouterr().err
