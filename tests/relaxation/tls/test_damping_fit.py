"""Fit of tunnelling systems to damping: closed loop, coverage, health, and the file."""

import json

import numpy as np
import pytest

from cascade_driver.errors import FitError, InputError
from cascade_driver.relaxation.tls.damping import Resonator, TunnellingSystems, mode_damping_Hz
from cascade_driver.relaxation.tls.damping_fit import DampingData, fit_damping, read_damping
from cascade_driver.relaxation.tls.properties import local_exponent

BEAM = Resonator(
    mode_frequency_Hz=17.5e6, thickness_nm=130, width_nm=300, density_kg_m3=2900, sound_speed_m_s=6000
)
TRUE = TunnellingSystems(strength=4.3e-5, strain_coupling_eV=9.8, charged_fraction=0.17, electron_coupling=0.07)


def synthetic(*, relative_error=0.01, seed=None, lowest_K=0.03, states=(True, False)):
    """Damping of the printed fit; with a seed, scattered by its errors."""
    temperature = np.geomspace(lowest_K, 10, 20)
    T = np.tile(temperature, len(states))
    is_normal = np.repeat(np.array(states), len(temperature))
    exact = np.concatenate(
        [
            mode_damping_Hz(temperature, systems=TRUE, resonator=BEAM, metal="normal" if n else "superconducting")
            for n in states
        ]
    )
    error = relative_error * exact
    noise = 0 if seed is None else np.random.default_rng(seed).normal(size=len(T)) * error
    return DampingData(temperature_K=T, damping_Hz=exact + noise, damping_error_Hz=error, is_normal=is_normal)


def test_exact_data_give_the_parameters_back():
    fit = fit_damping(synthetic(relative_error=0.003), resonator=BEAM)
    assert fit.health.is_good
    assert fit.goodness.statistic < 1e-2
    for name in fit.free:
        assert fit.parameters[name].value == pytest.approx(getattr(TRUE, name), rel=2e-2), name
        assert fit.parameters[name].error > 0
    json.dumps(fit.as_json())
    assert fit.systems.strength == fit.parameters["strength"].value


def test_what_data_do_not_determine_stays_open():
    # 10 % errors above 0.3 K: charged systems all follow; K has no upper limit below 1
    fit = fit_damping(synthetic(relative_error=0.1, lowest_K=0.3), resonator=BEAM)
    assert fit.parameters["electron_coupling"].upper is None
    assert fit.parameters["strength"].upper is not None


def test_without_the_normal_state_only_phonons_are_fitted():
    fit = fit_damping(synthetic(states=(False,)), resonator=BEAM)
    assert fit.free == ("strength", "strain_coupling_eV")
    assert fit.parameters["charged_fraction"].error is None
    assert fit.parameters["strain_coupling_eV"].value == pytest.approx(9.8, rel=1e-2)


def test_held_parameters_are_held():
    fit = fit_damping(synthetic(), resonator=BEAM, held={"electron_coupling": 0.07})
    assert "electron_coupling" not in fit.free
    assert fit.parameters["electron_coupling"].value == 0.07
    with pytest.raises(InputError, match="less than 1"):
        fit_damping(synthetic(), resonator=BEAM, held={"electron_coupling": 2.0})


@pytest.mark.physics
def test_pulls_are_standard_normal():
    # 60 fits of 3 parameters: mean within 3.5 / sqrt(60), width within 3.5 / sqrt(120); false alarms below 0.5 %
    held = {"electron_coupling": 0.07}
    pulls = []
    for seed in range(60):
        fit = fit_damping(synthetic(seed=seed), resonator=BEAM, held=held)
        assert fit.health.is_good
        pulls.append([(fit.parameters[n].value - getattr(TRUE, n)) / fit.parameters[n].error for n in fit.free])
    assert np.all(np.abs(np.mean(pulls, axis=0)) < 3.5 / np.sqrt(60))
    assert np.all(np.abs(np.std(pulls, axis=0) - 1) < 3.5 / np.sqrt(120))


def test_negative_control_a_wrong_model_fails_the_goodness_test():
    data = synthetic()
    bent = DampingData(
        temperature_K=data.temperature_K,
        damping_Hz=data.damping_Hz * (1 + 0.1 * np.sin(3 * np.log(data.temperature_K))),
        damping_error_Hz=data.damping_error_Hz,
        is_normal=data.is_normal,
    )
    fit = fit_damping(bent, resonator=BEAM, held={"electron_coupling": 0.07})
    assert fit.goodness.p_value < 1e-6


def test_superconducting_points_with_quasiparticles_can_be_left_out():
    data = synthetic().without_superconducting(0.6, 1.0)
    left = data.temperature_K[~data.is_normal]
    assert not np.any((left >= 0.6) & (left <= 1.0))
    assert data.is_normal.sum() == 20


HEADER = "temperature_K,damping_Hz,damping_error_Hz,metal\n"


def test_file_is_read(tmp_path):
    path = tmp_path / "damping.csv"
    path.write_text("# beam 3\n" + HEADER + "0.1, 300, 10, normal\n\n1,800,20,superconducting\n")
    data = read_damping(path)
    assert data.temperature_K.tolist() == [0.1, 1.0]
    assert data.is_normal.tolist() == [True, False]
    with pytest.raises(FitError, match="2 different points for 4 free parameters"):
        fit_damping(data, resonator=BEAM)


def test_one_temperature_measured_ten_times_fixes_no_four_parameters():
    ten = DampingData(
        temperature_K=np.full(10, 0.1) * (1 + 1e-9 * np.arange(10)),
        damping_Hz=np.linspace(290, 310, 10),
        damping_error_Hz=np.full(10, 10.0),
        is_normal=np.full(10, True),
    )
    with pytest.raises(FitError, match="1 different points for 4 free parameters"):
        fit_damping(ten, resonator=BEAM)
    with pytest.raises(InputError, match="two temperatures that differ"):
        local_exponent(ten.temperature_K, ten.damping_Hz)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("temperature_K,damping_Hz\n", "no column `damping_error_Hz`"),
        ("", "no column"),
        (HEADER + "0.1,x,1,normal\n", "line 2: expected 4 columns"),
        (HEADER + "0.1,1,1\n", "line 2: expected 4 columns"),
        (HEADER + "0.1,1,1,liquid\n", "metal `liquid`"),
        (HEADER + "0.1,1,0,normal\n", "must be above 0"),
    ],
)
def test_unusable_file_is_one_line(tmp_path, content, complaint):
    path = tmp_path / "damping.csv"
    path.write_text(content)
    with pytest.raises(InputError, match=complaint):
        read_damping(path)


def test_missing_file_and_bad_data_are_one_line(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_damping(tmp_path / "nowhere.csv")
    with pytest.raises(InputError, match="`damping_error_Hz` must be"):
        DampingData(
            temperature_K=np.ones(1),
            damping_Hz=np.ones(1),
            damping_error_Hz=np.zeros(1),
            is_normal=np.array([True]),
        )


def written(data, path):
    metal = np.where(data.is_normal, "normal", "superconducting")
    rows = zip(data.temperature_K, data.damping_Hz, data.damping_error_Hz, metal, strict=True)
    lines = [",".join(map(str, row)) for row in rows]
    path.write_text("\n".join(["temperature_K,damping_Hz,damping_error_Hz,metal", *lines]) + "\n")
    return path


def test_superconducting_points_alone_are_left_out_and_only_within_the_range(tmp_path):
    file = written(synthetic(), tmp_path / "d.csv")
    every, some = read_damping(file), read_damping(file, without_superconducting_K=(0.2, 1.2))
    gone = ~every.is_normal & (every.temperature_K >= 0.2) & (every.temperature_K <= 1.2)
    assert 0 < gone.sum() < len(gone)
    np.testing.assert_array_equal(some.temperature_K, every.temperature_K[~gone])
    np.testing.assert_array_equal(some.is_normal, every.is_normal[~gone])
    assert some.is_normal.sum() == every.is_normal.sum()
    # A range in which nothing lies leaves all.
    assert len(read_damping(file, without_superconducting_K=(20.0, 30.0)).damping_Hz) == len(gone)
