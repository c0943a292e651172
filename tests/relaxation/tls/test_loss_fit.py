"""Fit of tunnelling systems to quality factors: closed forms, closed loop, a published resonator, the command."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import constants, special

from cascade_driver.cli import main
from cascade_driver.errors import FitError, InputError
from cascade_driver.plot import loss_fit_figure
from cascade_driver.relaxation.tls.loss_fit import LossData, fit_loss, model_loss, relaxation_loss

#: A mechanical mode of 1 MHz, whose systems follow it above 0.1 K.
BEAM = {"strength": 1e-4, "crossover_K": 0.1, "constant_loss": 1e-6}
BEAM_Hz = 1e6

#: A niobium resonator by github.com/philzghub/Quality_Factor_and_Frequency_Shift_Fitting (MIT), 61cd1b78: kelvin,
#: and quality factors at -80 and -160 dBm. What it printed of all its five powers: qint_log.json.
NIOBIUM_Hz = 5.61989e9
NIOBIUM = {
    "temperature_K": np.arange(1, 18) / 10,
    1.45466e8: [
        *(1.58e7, 1.72e7, 1.86e7, 1.92e7, 1.93e7, 1.89e7, 1.87e7, 1.86e7, 1.78e7, 1.67e7, 1.42e7),
        *(6666460, 5123290, 3738171, 2452523, 1554635, 986951),
    ],
    1.35032: [
        *(1.64e6, 1.53e6, 2.44e6, 2.71e6, 2.92e6, 3.52e6, 3.95e6, 4.31e6, 4.42e6, 4.38e6, 4.28e6),
        *(3464415, 3042468, 2657917, 1974064, 1306835, 861599),
    ],
}
PRINTED = {"strength": 1 / np.pi / 702035, "gap_K": 1.76 * 6.0334}


def measured(
    true=BEAM, *, frequency_Hz=BEAM_Hz, error=0.03, seed=1, told=True, low_K=0.01, high_K=3.0
) -> LossData:
    """Quality factors of known systems, scattered by a share of their values."""
    T = np.geomspace(low_K, high_K, 30)
    exact = 1 / model_loss(T, true, frequency_Hz=frequency_Hz)
    quality = exact * np.exp(error * np.random.default_rng(seed).normal(size=len(T)))
    return LossData(temperature_K=T, quality=quality, quality_error=error * quality if told else None)


# -- closed forms -------------------------------------------------------------------------------------------


def test_relaxation_begins_with_the_cube_of_the_temperature_and_ends_on_the_plateau():
    # Phillips 1987: pi^4/12 from the integral of 2 u^3 / sinh(u), and half of pi
    cold, hot = relaxation_loss(np.array([1e-3])), relaxation_loss(np.array([1e4]))
    assert cold[0] / 1e-9 == pytest.approx(np.pi**4 / 12, rel=1e-6)
    assert hot[0] == pytest.approx(np.pi / 2, rel=1e-3)


def test_resonant_systems_lose_a_hyperbolic_tangent_and_photons_saturate_them():
    T, n = np.array([0.01, 0.3]), np.array([1e8, 1e8])
    half = constants.h * 6e9 / (2 * constants.k * T)
    bare = model_loss(T, {"strength": 1e-6}, frequency_Hz=6e9)
    np.testing.assert_allclose(bare, np.pi * 1e-6 * np.tanh(half), rtol=1e-12)
    # A uniform field: 1 / sqrt(1 + n / n_c) where no level is occupied by heat.
    named = {"strength": 1e-6, "saturation": 1e-3, "photon_exponent": 1.0, "temperature_exponent": 0.0}
    driven = model_loss(T, named, frequency_Hz=6e9, photons=n)
    assert driven[0] / bare[0] == pytest.approx(1 / np.sqrt(1 + 1e5), rel=1e-6)


def test_quasiparticles_cold_enough_neither_overflow_nor_damp():
    named = {"strength": 1e-9, "quasiparticle_loss": 1.0, "gap_K": 10.0}
    T = np.array([1e-4, 1.0])
    x = constants.h * 6e9 / (2 * constants.k)
    found = model_loss(T, named, frequency_Hz=6e9) - model_loss(T, {"strength": 1e-9}, frequency_Hz=6e9)
    assert found[0] == 0.0
    assert found[1] == pytest.approx(np.exp(-10.0) * np.sinh(x) * special.k0(x), rel=1e-6)


# -- closed loop ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("told", [True, False])
def test_strength_and_crossover_of_a_beam_come_back(told):
    fit = fit_loss(measured(told=told), frequency_Hz=BEAM_Hz, terms=("relaxation", "constant"))
    assert fit.health.is_good
    for name, true in BEAM.items():
        found = fit.parameters[name]
        assert abs(found.value - true) < 4 * found.error, name
        assert found.error < 0.3 * true
    assert fit.loss_tangent.value == pytest.approx(np.pi * fit.parameters["strength"].value)
    assert fit.scatter == pytest.approx(0.03, rel=0.5)
    assert (fit.goodness.p_value is None) != told


def test_negative_control_one_loss_at_all_temperatures_fails_the_goodness_test_of_a_beam():
    data = measured()
    with_all = fit_loss(data, frequency_Hz=BEAM_Hz, terms=("relaxation", "constant"))
    without = fit_loss(data, frequency_Hz=BEAM_Hz, terms=("constant",))
    assert with_all.goodness.p_value > 1e-3
    assert without.goodness.p_value < 1e-9


def test_what_the_data_do_not_show_is_told_as_a_bound():
    # On the plateau the crossover is only known to lie below. No scatter, which may bend the points either way.
    exact = measured({"strength": 1e-4, "crossover_K": 1e-3}, low_K=0.3, error=1e-9)
    data = LossData(temperature_K=exact.temperature_K, quality=exact.quality, quality_error=0.03 * exact.quality)
    fit = fit_loss(data, frequency_Hz=BEAM_Hz, terms=("relaxation",))
    crossover = fit.parameters["crossover_K"]
    assert crossover.lower is None
    assert crossover.told.startswith("below")
    # Negative control: with the bend in sight it is a value.
    seen = fit_loss(measured(), frequency_Hz=BEAM_Hz, terms=("relaxation", "constant")).parameters["crossover_K"]
    assert seen.told.startswith("0.1")


def test_intervals_of_a_strength_hold_the_truth_two_times_of_three():
    true, inside = {"strength": 1e-6, "constant_loss": 1e-7}, 0
    for seed in range(40):
        data = measured(true, frequency_Hz=6e9, seed=seed, error=0.05, told=bool(seed % 2))
        found = fit_loss(data, frequency_Hz=6e9).parameters["strength"]
        inside += found.lower < true["strength"] < found.upper
    assert 17 < inside < 38  # 27 expected; 3.4 standard deviations


def test_a_niobium_resonator_has_the_loss_that_its_authors_found():
    drives = [n for n in NIOBIUM if n != "temperature_K"]
    data = LossData(
        temperature_K=np.tile(NIOBIUM["temperature_K"], len(drives)),
        quality=np.concatenate([NIOBIUM[n] for n in drives]),
        photons=np.repeat(drives, 17),
    )
    fit = fit_loss(data, frequency_Hz=NIOBIUM_Hz, terms=("saturation", "quasiparticles", "constant"))
    assert fit.health.is_valid
    for name, printed in PRINTED.items():
        found = fit.parameters[name]
        assert abs(found.value - printed) < 3 * found.error, name
        assert found.error < 0.2 * printed


def test_a_held_parameter_is_held_and_few_points_are_refused():
    data = measured()
    fit = fit_loss(data, frequency_Hz=BEAM_Hz, terms=("relaxation", "constant"), held={"crossover_K": 0.1})
    assert fit.parameters["crossover_K"].is_held
    with pytest.raises(InputError, match="no parameter gap_K"):
        fit_loss(data, frequency_Hz=BEAM_Hz, held={"gap_K": 1.0})
    with pytest.raises(InputError, match="expected one from"):
        fit_loss(data, frequency_Hz=BEAM_Hz, held={"strength": 5.0})
    with pytest.raises(FitError, match="2 different points for 2"):
        fit_loss(data.between(0.01, 0.0125), frequency_Hz=BEAM_Hz)


# -- command --------------------------------------------------------------------------------------------------


def test_command_fits_draws_and_refuses_what_says_nothing(tmp_path, capsys):
    data = measured({"strength": 1e-6, "constant_loss": 1e-7}, frequency_Hz=6e9, error=0.02)
    rows = "\n".join(f"{T};{Q}".replace(".", ",") for T, Q in zip(data.temperature_K, data.quality, strict=True))
    (tmp_path / "data.csv").write_text(f"temperature_K;quality\n{rows}\n")
    words = ["tls", "fit", str(tmp_path / "data.csv"), "--of", "loss", "--out", str(tmp_path / "fit.json")]
    assert main([*words, "--frequency-Hz", "6e9", "--temperature-K", "0.01", "1"]) == 0
    assert "loss_tangent" in capsys.readouterr().out
    content = json.loads((tmp_path / "fit.json").read_text())
    assert content["parameters"]["strength"]["value"] == pytest.approx(1e-6, rel=0.1)
    assert content["loss_tangent"]["value"] == pytest.approx(np.pi * 1e-6, rel=0.1)
    assert content["points"] == np.sum(data.temperature_K < 1)
    assert (tmp_path / "fit.png").stat().st_size > 5000
    for more, complaint in (
        ([], "--frequency-Hz`: missing"),
        (["--frequency-Hz", "6e9", "--transverse-speed-m-s", "3e3"], "--transverse-speed-m-s`: it says nothing"),
        (["--width-nm", "3"], "--width-nm says nothing of a loss"),
        (["--frequency-Hz", "6e9", "--hold", "strength=3"], "--hold`: strength = 3, expected one from"),
        (["--of", "velocity", "--terms", "constant"], "--terms says nothing of a velocity"),
    ):
        assert main([*words, *more]) == 2
        assert complaint in capsys.readouterr().err
    (tmp_path / "data.csv").write_text("temperature_K,loss\n0.1,1e-6\n")
    assert main([*words, "--frequency-Hz", "6e9"]) == 2
    assert "no column `quality`" in capsys.readouterr().err


def test_points_with_photons_of_their_own_are_told_by_colours():
    T = np.tile(np.array([0.05, 0.1, 0.3, 0.8]), 10)
    photons = np.geomspace(1.0, 1e8, 40)
    true = {"strength": 1e-6, "saturation": 1e-3, "photon_exponent": 0.3, "temperature_exponent": 0.5}
    quality = 1 / model_loss(T, true, frequency_Hz=NIOBIUM_Hz, photons=photons)
    data = LossData(temperature_K=T, quality=quality, photons=photons)
    fit = fit_loss(data, frequency_Hz=NIOBIUM_Hz, terms=("saturation",))
    figure = loss_fit_figure(fit)
    axes, colours = figure.axes
    assert colours.get_ylabel() == "photons, power of ten"
    (points,), (fitted,) = axes.collections, axes.lines
    np.testing.assert_allclose(np.asarray(points.get_offsets())[:, 1], 1 / quality)
    np.testing.assert_allclose(fitted.get_ydata(), 1 / quality, rtol=0.02)
    alike = LossData(temperature_K=T, quality=quality, photons=np.repeat(5.0, 40))
    few = loss_fit_figure(replace(fit, data=alike))
    assert len(few.axes) == 1
