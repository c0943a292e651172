"""Damping by tunnelling systems: Maillet et al. 2023, doi:10.1103/PhysRevB.107.064104."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import constants, integrate

from cascade_driver.errors import InputError
from cascade_driver.relaxation.tls import damping as tls
from cascade_driver.relaxation.tls.distribution import (
    positive_array,
    reduced_energies,
    relaxation_response,
)
from cascade_driver.schema import build
from cascade_driver.units import BOLTZMANN_eV_PER_K

#: The beam and the fit of the paper.
BEAM = tls.Resonator(
    mode_frequency_Hz=17.5e6, thickness_nm=130, width_nm=300, density_kg_m3=2900, sound_speed_m_s=6000
)
FITTED = tls.TunnellingSystems(
    strength=4.3e-5, strain_coupling_eV=9.8, charged_fraction=0.17, electron_coupling=0.07
)
PHONONS = float(tls.phonon_rate_constant_per_eV_s(strain_coupling_eV=9.8, resonator=BEAM))
ELECTRONS = tls.electron_rate_constant_per_eV_s(electron_coupling=0.07)


def damping_by_double_integral(
    temperature_K: float, *, rate_constant: float, with_thermal_factor: bool = True
) -> float:
    """Eq. 2 in its printed variables, by another quadrature: d(epsilon) d(Delta), C = omega = 1 outside."""
    kT = BOLTZMANN_eV_PER_K * temperature_K
    omega = 2 * np.pi * BEAM.mode_frequency_Hz

    def over_asymmetry(energy: float) -> float:
        def integrand(angle: float) -> float:
            asymmetry = energy * np.sin(angle)
            amplitude = energy * np.cos(angle)
            rate = tls.relaxation_rate_per_s(
                energy, amplitude, rate_constant_per_eV_s=rate_constant, temperature_K=temperature_K
            )
            tau = 1 / float(rate)
            density = energy / amplitude**2  # epsilon / (epsilon^2 - Delta^2)
            return (
                density
                * (asymmetry / energy) ** 2
                * omega
                * tau
                / (1 + (omega * tau) ** 2)
                * energy
                * np.cos(angle)
            )

        return integrate.quad(integrand, 0, np.pi / 2 * (1 - 1e-9), limit=200, epsrel=1e-8)[0]

    value = integrate.quad(
        lambda e: over_asymmetry(e) / np.cosh(e / (2 * kT)) ** 2, 1e-9 * kT, 40 * kT, limit=200, epsrel=1e-7
    )[0]
    return value / kT if with_thermal_factor else value


@pytest.mark.parametrize(("temperature", "rate"), [(0.3, PHONONS), (1.0, PHONONS), (0.002, ELECTRONS)])
def test_damping_is_the_double_integral_of_equation_2(temperature, rate):
    omega = 2 * np.pi * BEAM.mode_frequency_Hz
    closed = tls.damping_rate_per_s(
        temperature, strength=1.0, rate_constant_per_eV_s=rate, mode_frequency_Hz=BEAM.mode_frequency_Hz
    )
    assert float(closed) / omega == pytest.approx(
        damping_by_double_integral(temperature, rate_constant=rate), rel=1e-6
    )


@given(st.floats(1e-6, 1e6))
def test_response_is_the_average_over_the_distribution(a):
    # both parts, in the variable of the other paper (x^2 = 1 - v^2) and on a logarithmic scale
    def part(weight):
        def f(y):
            s = np.exp(y)
            return s * weight(s) * np.sqrt(1 - s) / 2 / (s * s + a * a)

        return sum(
            integrate.quad(f, low, high, limit=200, epsabs=0, epsrel=1e-10)[0]
            for low, high in ((np.log(a) - 40, min(np.log(a), -1.0)), (min(np.log(a), -1.0), -1.0), (-1.0, 0.0))
            if high > low
        )

    found = complex(relaxation_response(a))
    assert found.imag == pytest.approx(part(lambda s: a), rel=1e-6)
    assert found.real == pytest.approx(part(lambda s: s), rel=1e-6)


def test_plateau_and_slope_are_the_closed_forms():
    options = {"strength": 4.3e-5, "rate_constant_per_eV_s": PHONONS, "mode_frequency_Hz": 17.5e6}
    cold = tls.damping_rate_per_s(1e-5, **options)
    slope = tls.low_temperature_damping_per_s(1.0, strength=4.3e-5, rate_constant_per_eV_s=PHONONS)
    assert float(cold) / 1e-5 == pytest.approx(slope, rel=1e-8)  # next order is (T/T*)^2
    hot = tls.damping_rate_per_s(1e7, **options)
    assert float(hot) == pytest.approx(tls.plateau_per_s(strength=4.3e-5, mode_frequency_Hz=17.5e6), rel=1e-5)
    crossing = tls.crossover_temperature_K(rate_constant_per_eV_s=PHONONS, mode_frequency_Hz=17.5e6)
    assert crossing * slope == pytest.approx(tls.plateau_per_s(strength=4.3e-5, mode_frequency_Hz=17.5e6))


@pytest.mark.parametrize("p", [1.5, 3.0])
def test_damping_grows_as_the_bath_does_and_ends_in_the_same_plateau(p):
    # inset of Fig. 3: T^(3/2) in the superconducting state of a goalpost, 17 MHz taken for its mode
    goalpost = dataclasses.replace(BEAM, thickness_nm=100, width_nm=250, phonon_exponent=p)
    systems = tls.TunnellingSystems(
        strength=4.3e-5, strain_coupling_eV=9.8, charged_fraction=0.12, electron_coupling=0.11
    )
    T = np.array([1e-3, 2e-3])
    cold = tls.mode_damping_per_s(T, systems=systems, resonator=goalpost, metal="superconducting")
    assert np.log2(cold[1] / cold[0]) == pytest.approx(p, abs=1e-3)
    limit = tls.low_temperature_damping_per_s(
        T,
        strength=4.3e-5,
        rate_constant_per_eV_s=float(
            tls.phonon_rate_constant_per_eV_s(strain_coupling_eV=9.8, resonator=goalpost)
        ),
        exponent=p,
        energy_eV=goalpost.beam_energy_eV,
    )
    np.testing.assert_allclose(cold, limit, rtol=1e-3)
    plateau = tls.plateau_per_s(strength=4.3e-5, mode_frequency_Hz=17.5e6)
    hot = tls.mode_damping_per_s(1e4, systems=systems, resonator=goalpost, metal="superconducting")
    assert float(hot) == pytest.approx(plateau, rel=1e-3)
    found = tls.crossovers(systems=systems, resonator=goalpost)
    assert found.electron_K < found.phonon_K
    slope = np.log(limit[1] / limit[0]) / np.log(2)
    at_crossing = np.log(limit[0]) + slope * np.log(found.phonon_K / T[0])
    assert at_crossing == pytest.approx(np.log(plateau), abs=1e-6)


def test_systems_in_a_solid_relax_by_the_formula_of_jackle():
    # Z. Physik 257, 212 (1972): gamma^2 Delta_0^2 epsilon / (2 pi rho hbar^4 v^5), longitudinal
    solid, E = dataclasses.replace(BEAM, phonon_exponent=3), 1e-4
    found = float(tls.phonon_rate_constant_per_eV_s(strain_coupling_eV=1.0, resonator=solid, energy_eV=E))
    eV, hbar = constants.e, constants.hbar
    expected = eV**2 * (E * eV) ** 2 / (2 * np.pi * 2900 * hbar**4 * 6000**5)  # 1/(J s)
    assert found == pytest.approx(expected * eV, rel=1e-9)


def test_negative_control_without_the_thermal_factor_there_is_no_plateau():
    printed = [
        damping_by_double_integral(t, rate_constant=PHONONS, with_thermal_factor=False) for t in (5.0, 10.0)
    ]
    assert printed[1] / printed[0] == pytest.approx(2, rel=0.1)


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_slope_scales_as_coupling_squared_and_plateau_does_not(scale):
    def damping(temperature, coupling):
        systems = tls.TunnellingSystems(strength=4.3e-5, strain_coupling_eV=coupling)
        return float(tls.mode_damping_per_s(temperature, systems=systems, resonator=BEAM, metal="superconducting"))

    assert damping(1e-4, 9.8 * scale) / damping(1e-4, 9.8) == pytest.approx(scale**2, rel=1e-5)
    assert damping(1e6, 9.8 * scale) / damping(1e6, 9.8) == pytest.approx(1, rel=1e-4)


def test_normal_state_is_the_balance_of_both_kinds():
    T = np.geomspace(1e-3, 10, 7)
    normal = tls.mode_damping_per_s(T, systems=FITTED, resonator=BEAM, metal="normal")
    superconducting = tls.mode_damping_per_s(T, systems=FITTED, resonator=BEAM, metal="superconducting")
    both = tls.damping_rate_per_s(
        T, strength=4.3e-5, rate_constant_per_eV_s=PHONONS + ELECTRONS, mode_frequency_Hz=17.5e6
    )
    np.testing.assert_allclose(normal, 0.83 * superconducting + 0.17 * both, rtol=1e-12)
    neutral = tls.TunnellingSystems(strength=4.3e-5, strain_coupling_eV=9.8)
    np.testing.assert_allclose(
        tls.mode_damping_per_s(T, systems=neutral, resonator=BEAM, metal="normal"), superconducting, rtol=1e-12
    )


# -- printed numbers that follow ----------------------------------------------------------------------------


def test_printed_plateau_of_1200_Hz():
    # "around 1.2 kHz", C = 4.3e-5: the plotted quantity is Gamma / 2 pi
    plateau = tls.plateau_per_s(strength=4.3e-5, mode_frequency_Hz=17.5e6)
    assert plateau / (2 * np.pi) == pytest.approx(1200, rel=0.03)


def test_printed_crossover_temperatures():
    found = tls.crossovers(systems=FITTED, resonator=BEAM)
    assert found.phonon_K == pytest.approx(1.0, rel=0.2)  # "about 1 K (as visible in Fig. 3)": 0.84 K
    assert found.electron_K is not None
    assert round(found.electron_K * 1e3, 1) == 0.9  # "about 0.9 mK": 0.911 mK
    assert (
        tls.crossovers(
            systems=tls.TunnellingSystems(strength=1e-5, strain_coupling_eV=1.0), resonator=BEAM
        ).electron_K
        is None
    )


def test_printed_dominant_wavelength():
    # "about 100 nm at 1 K"
    assert float(tls.dominant_phonon_wavelength_nm(1.0, sound_speed_m_s=6000)) == pytest.approx(100, rel=0.03)


def test_printed_coupling_energy_of_electrons():
    # "in the 0.1-eV range" with "below about 1 nm": half a nanometre cubed
    V = tls.electron_coupling_energy_eV(
        electron_coupling=0.07, states_per_J_m3=1.07e47, interaction_volume_nm3=0.54**3
    )
    assert pytest.approx(0.1, rel=0.05) == V


def test_printed_sublinear_exponent_in_the_normal_state():
    # "T^alpha, alpha = 0.3-0.7" between 0.15 and 1 K
    T = np.array([0.15, 1.0])
    damping = tls.mode_damping_Hz(T, systems=FITTED, resonator=BEAM, metal="normal")
    assert 0.3 < np.log(damping[1] / damping[0]) / np.log(T[1] / T[0]) < 0.7


def test_printed_slope_below_600_mK_is_linear():
    T = np.array([0.03, 0.06])
    damping = tls.mode_damping_Hz(T, systems=FITTED, resonator=BEAM, metal="superconducting")
    assert damping[1] / damping[0] == pytest.approx(2, rel=0.01)


# -- printed numbers that do not follow ---------------------------------------------------------------------


def test_printed_strength_does_not_follow_from_the_printed_constants():
    material = {
        "strain_coupling_eV": 9.8,
        "thickness_nm": 130,
        "length_um": 15,
    }
    found = tls.strength_from_material(density_of_states_per_J_m3=2.2e44, stress_GPa=1.1, **material)
    assert found == pytest.approx(3.05e-5, rel=0.01)  # printed: 4.3e-5
    # nor at the end of the error of the stress; a density of states of 3.1e44 would give it
    assert tls.strength_from_material(density_of_states_per_J_m3=2.2e44, stress_GPa=1.0, **material) < 3.5e-5
    assert tls.strength_from_material(
        density_of_states_per_J_m3=3.1e44, stress_GPa=1.1, **material
    ) == pytest.approx(4.3e-5, rel=0.01)


# -- the door -----------------------------------------------------------------------------------------------


def test_weights_hold_the_thermal_factor():
    u, weights = reduced_energies()
    assert weights.sum() == pytest.approx(2, rel=1e-12)
    assert (weights * u / np.tanh(u / 2)).sum() == pytest.approx(np.pi**2 / 2, rel=1e-12)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"strength": 0}, "greater than 0"),
        ({"strain_coupling_eV": -1}, "greater than 0"),
        ({"charged_fraction": 1.2}, "less than or equal to 1"),
        ({"electron_coupling": 1.0}, "less than 1"),
        ({"charge_fraction": 0.1}, "did you mean"),
    ],
)
def test_parameters_outside_the_domain_are_refused_with_one_line(change, complaint):
    content = {"strength": 4e-5, "strain_coupling_eV": 9.8, **change}
    with pytest.raises(InputError, match=complaint) as caught:
        build(tls.TunnellingSystems, content, origin="arguments")
    assert "\n" not in str(caught.value)


def test_arguments_outside_the_domain_are_refused():
    with pytest.raises(InputError, match="temperature_K: must be finite and above 0; found -1"):
        tls.mode_damping_per_s([1, -1], systems=FITTED, resonator=BEAM, metal="normal")
    with pytest.raises(InputError, match="superconducting or normal"):
        tls.mode_damping_per_s(1, systems=FITTED, resonator=BEAM, metal="molten")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"outside \[0, energy\]"):
        tls.relaxation_rate_per_s(1.0, 2.0, rate_constant_per_eV_s=1.0, temperature_K=1.0)
    with pytest.raises(InputError, match="not numbers"):
        positive_array(["warm"], name="temperature_K")
    assert tls.damping_rate_per_s(1.0, strength=1.0, rate_constant_per_eV_s=0, mode_frequency_Hz=1.0) == 0
