"""Frequency of a resonator: the law of its shift, a thermometer, jumps, Allan deviation, 1/f."""

import json

import numpy as np
import pytest
from scipy import constants, special, stats

from cascade_driver.cli import main
from cascade_driver.errors import FitError, InputError
from cascade_driver.relaxation.tls.frequency import (
    FrequencyTrace,
    ShiftData,
    allan_deviation_Hz,
    fit_shift,
    frequency_noise,
    quantum_term,
    read_shifts,
    read_trace,
)

#: Maillet et al. 2023, Sec. II: the slope of the logarithm. T_0 and the cube are not printed.
C, T_0, D = 2.1e-5, 0.3, -2e-6
TEMPERATURE = np.geomspace(0.05, 4.0, 40)


def shifts(generator, *, cubic=D, error=5e-7) -> ShiftData:
    law = C * np.log(TEMPERATURE / T_0) + cubic * TEMPERATURE**3
    return ShiftData(temperature_K=TEMPERATURE, shift=generator.normal(law, error), shift_error=np.full(40, error))


def test_a_trace_without_noise_is_refused():
    with pytest.raises(InputError, match="all frequencies are 17500000 Hz: there is no noise in it"):
        FrequencyTrace(step_s=1.0, frequency_Hz=np.full(2000, 17.5e6))


def test_the_law_of_the_shift_is_found_with_its_errors():
    generator = np.random.default_rng(1)
    fits = [fit_shift(shifts(generator)) for _ in range(60)]
    for name, truth in (("strength", C), ("reference_temperature_K", T_0), ("cubic_per_K3", D)):
        pulls = np.array([(f.parameters[name].value - truth) / f.parameters[name].error for f in fits])
        # Of 60 pulls the mean has an error of 0.13, the width one of 0.09: four of each.
        assert abs(pulls.mean()) < 0.52, name
        assert 0.63 < pulls.std() < 1.37, name
    assert stats.kstest([f.goodness.p_value for f in fits], "uniform").pvalue > 1e-4
    # Negative control: without the cube the law does not fit.
    assert fit_shift(shifts(generator), with_cubic=False).goodness.p_value < 1e-6


def test_the_shift_is_a_thermometer_of_the_systems():
    # Sec. IV of the paper: at 50 mK of the cryostat the shift reads 100 mK.
    fit = fit_shift(shifts(np.random.default_rng(2), error=1e-8))
    read = fit.temperature_K(C * np.log(0.1 / T_0))
    assert float(read) == pytest.approx(0.1, rel=0.01)


def test_the_thermometer_of_quanta_has_their_term_and_tells_nothing_below_its_minimum():
    frequency_Hz, warm = 5.6e9, np.array([0.15, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0, 1.2])
    x = constants.h * frequency_Hz / (2 * np.pi * constants.k * warm)
    shift = C * (np.log(warm / T_0) + special.digamma(0.5 + 1j * x).real - special.digamma(0.5))
    data = ShiftData(temperature_K=warm, shift=shift, shift_error=np.full(len(warm), 1e-8))
    fit = fit_shift(data, with_cubic=False, frequency_Hz=frequency_Hz)
    assert fit.temperature_K(shift) == pytest.approx(warm, rel=1e-3)
    assert np.isnan(fit.temperature_K(shift.min() - 10 * C))


def coloured(generator, exponent: float, *, n: int = 4096, step_s: float = 0.5) -> FrequencyTrace:
    """Gaussian noise whose one-sided spectral density is f^-exponent Hz2/Hz, drawn in frequency."""
    f = np.fft.rfftfreq(n, step_s)
    amplitude = np.zeros(len(f), dtype=complex)
    spread = np.sqrt(f[1:] ** -exponent * n / (4.0 * step_s))
    amplitude[1:] = spread * (generator.normal(size=len(f) - 1) + 1j * generator.normal(size=len(f) - 1))
    return FrequencyTrace(step_s=step_s, frequency_Hz=17.5e6 + np.fft.irfft(amplitude, n))


@pytest.mark.parametrize("exponent", [0.8, 0.0])
def test_the_exponent_of_the_noise_is_found_with_its_error(exponent):
    # 0.8 as in Fig. 4 (a); white noise is the negative control.
    generator = np.random.default_rng(3)
    found = [frequency_noise(coloured(generator, exponent), with_white=False) for _ in range(20)]
    pulls = np.array([(one.exponent.value - exponent) / one.exponent.error for one in found])
    assert abs(pulls.mean()) < 4 / np.sqrt(20)
    assert 0.4 < pulls.std() < 1.6
    assert np.mean([one.amplitude.value for one in found]) == pytest.approx(1.0, abs=0.1)
    assert all(abs(one.exponent.value - exponent) < 0.15 for one in found)


def test_white_noise_of_the_measurement_is_told_from_that_of_the_systems():
    generator = np.random.default_rng(4)
    trace = coloured(generator, 1.0, n=8192)
    noisy = FrequencyTrace(step_s=0.5, frequency_Hz=trace.frequency_Hz + generator.normal(size=8192, scale=3.0))
    # One-sided density of white noise: 2 step sigma^2 = 9.
    found = frequency_noise(noisy)
    assert abs(found.white_Hz2_Hz.value - 9.0) < 4 * found.white_Hz2_Hz.error
    assert abs(found.exponent.value - 1.0) < 4 * found.exponent.error
    assert frequency_noise(noisy, with_white=False).exponent.value < 0.5


def test_the_allan_deviation_of_white_noise_falls_with_the_root_of_the_time():
    trace = FrequencyTrace(step_s=1.0, frequency_Hz=np.random.default_rng(5).normal(size=20_000))
    for steps in (1, 4, 16):
        assert allan_deviation_Hz(trace, steps) == pytest.approx(1 / np.sqrt(steps), rel=0.05)
    found = frequency_noise(trace, with_white=False)
    # The jumps, of two independent frequencies, are the square root of two wide.
    assert found.jump_deviation_Hz == pytest.approx(np.sqrt(2) * found.allan_deviation_Hz[0], rel=1e-3)
    # A drift of 1 Hz per second: half the square of the distance of two averages.
    drift = FrequencyTrace(step_s=1.0, frequency_Hz=np.arange(100.0))
    assert allan_deviation_Hz(drift, 5) == pytest.approx(5 / np.sqrt(2), rel=1e-9)


def test_commands_fit_and_draw(tmp_path, capsys):
    data = shifts(np.random.default_rng(6))
    rows = zip(data.temperature_K, data.shift, data.shift_error, strict=True)
    lines = ["temperature_K,shift,shift_error", *(",".join(map(repr, map(float, row))) for row in rows)]
    (tmp_path / "shift.csv").write_text("\n".join(lines))
    arguments = ["tls", "shift", str(tmp_path / "shift.csv"), "--from-K", "0.06"]
    assert main([*arguments, "--out", str(tmp_path / "fit.json")]) == 0
    shown = capsys.readouterr().out
    assert "strength" in shown
    assert "at 0.05 K the systems are at 0.0" in shown
    assert json.loads((tmp_path / "fit.json").read_text())["parameters"]["strength"]["value"] == pytest.approx(
        C, rel=0.1
    )
    trace = coloured(np.random.default_rng(7), 0.8, n=512)
    lines = ["time_s,frequency_Hz", *(f"{0.5 * k},{f!r}" for k, f in enumerate(trace.frequency_Hz.tolist()))]
    (tmp_path / "trace.csv").write_text("\n".join(lines))
    assert main(["tls", "noise", str(tmp_path / "trace.csv"), "--out", str(tmp_path / "noise.json")]) == 0
    assert "Allan deviation" in capsys.readouterr().out
    assert {p.name for p in tmp_path.glob("*.png")} == {"fit.png", "noise.png"}


@pytest.mark.parametrize(
    ("read", "text", "message"),
    [
        (read_shifts, "temperature_K,shift_error\n1,2\n", "no column `shift`"),
        (read_shifts, "temperature_K,shift,shift_error\n1,2,0\n", "shift_error"),
        (read_trace, "time_s,frequency_Hz\n0,1\n1,1\n3,1\n", "unequal steps"),
        (read_trace, "time_s,frequency_Hz\n0,1\n1,1\n2,1\n", "3 frequencies, expected at least 64"),
    ],
)
def test_tables_of_another_kind_get_one_clear_line(tmp_path, read, text, message):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read(tmp_path / "t.csv")


def test_what_cannot_be_determined_is_refused():
    with pytest.raises(FitError, match="2 different temperatures for 3 parameters"):
        fit_shift(ShiftData(temperature_K=np.array([1.0, 2.0]), shift=np.zeros(2), shift_error=np.ones(2)))
    with pytest.raises(InputError, match="an average over 60 steps of 100"):
        allan_deviation_Hz(FrequencyTrace(step_s=1.0, frequency_Hz=np.arange(100.0)), 60)


# -- a resonator of some GHz ------------------------------------------------------------------------------------

#: A niobium resonator by github.com/philzghub/Quality_Factor_and_Frequency_Shift_Fitting (MIT), 61cd1b78, colder
#: than its quasiparticles; its quality factors give 1 / (pi C) = 7.0e5, the shift 6.5e5 (freqshift.json).
NIOBIUM_K = np.arange(1, 9) / 10
NIOBIUM_SHIFT = np.array([0, 1.11, 1.18, 2.16, 3.08, 3.67, 5.86, 5.89]) * 1e-7


def test_far_below_the_frequency_the_shift_is_flat_and_far_above_a_logarithm():
    # |psi(1/2 + iy)| ~ ln y: with ln T the temperature drops out; and psi(1/2) is left.
    T = np.array([1e-3, 2e-3])
    cold = np.log(T) + quantum_term(T, frequency_Hz=6e9)
    assert abs(cold[1] - cold[0]) < 1e-4
    assert abs(quantum_term(np.array([50.0]), frequency_Hz=6e9)[0]) < 1e-4
    assert quantum_term(T, frequency_Hz=None).tolist() == [0.0, 0.0]


def test_strength_of_a_niobium_resonator_is_that_of_its_quality_factors():
    fit = fit_shift(
        ShiftData(temperature_K=NIOBIUM_K, shift=NIOBIUM_SHIFT), with_cubic=False, frequency_Hz=5.61989e9
    )
    found = fit.parameters["strength"]
    for quality in (7.02035e5, 6.54308e5):
        assert abs(found.value - 1 / np.pi / quality) < 3 * found.error
    assert found.error < 0.2 * found.value
    assert fit.goodness.p_value is None
    # Negative control: the bare logarithm has another slope.
    bare = fit_shift(ShiftData(temperature_K=NIOBIUM_K, shift=NIOBIUM_SHIFT), with_cubic=False)
    assert bare.parameters["strength"].value < 0.85 * found.value


def test_scatter_is_the_error_of_shifts_whose_errors_are_not_told():
    T = np.geomspace(0.05, 1.0, 40)
    law = 2e-5 * np.log(T / 0.3) + 1e-6 * np.random.default_rng(1).normal(size=40)
    told = fit_shift(ShiftData(temperature_K=T, shift=law, shift_error=np.full(40, 1e-6)), with_cubic=False)
    free = fit_shift(ShiftData(temperature_K=T, shift=law), with_cubic=False)
    assert free.parameters["strength"].value == pytest.approx(told.parameters["strength"].value, rel=1e-6)
    assert free.parameters["strength"].error == pytest.approx(told.parameters["strength"].error, rel=0.3)
