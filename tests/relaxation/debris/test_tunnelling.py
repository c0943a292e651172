"""Tunnelling through a barrier along a path: WKB against the exact Schroedinger equation and closed forms."""

import numpy as np
import pytest
from scipy import constants
from scipy.linalg import eigh_tridiagonal

from cascade_driver.errors import InputError
from cascade_driver.relaxation.debris.tunnelling import (
    SOLIDS,
    DoubleWell,
    HBAR_AMU12_A_eV12,
    StrainCoupling,
    escape_rate_per_s,
    one_phonon_rate_per_s,
    rates_per_s,
    solid_of,
    tunnelling_amplitude_eV,
)
from cascade_driver.units import BOLTZMANN_eV_PER_K, HBAR_eV_s

QUANTUM_eV = 0.01


def quartic(levels: float, *, asymmetry_eV: float = 0.0, points: int = 9) -> DoubleWell:
    """V0 (u^2 - 1)^2 with V0 = `levels` times the quantum of its wells, and a smooth step as asymmetry."""
    barrier = levels * QUANTUM_eV
    # omega^2 = 8 V0 / a^2 for mass 1, hbar omega = the quantum
    a = np.sqrt(8 * barrier) * HBAR_AMU12_A_eV12 / QUANTUM_eV
    u = np.linspace(-1, 1, points)
    w = (u + 1) / 2
    return DoubleWell(
        distance_amu12_A=a * (u + 1),
        energy_eV=barrier * (u**2 - 1) ** 2 + asymmetry_eV * w**2 * (3 - 2 * w),
        slope_eV_amu12_A=(barrier * 4 * u * (u**2 - 1) + asymmetry_eV * 3 * w * (1 - w)) / a,
        quanta_eV=(QUANTUM_eV, QUANTUM_eV),
    )


def exact_splitting_eV(levels: float, *, points: int = 3000) -> float:
    """Lowest two levels of the quartic on a grid that ends far beyond the turning points."""
    barrier = levels * QUANTUM_eV
    a = np.sqrt(8 * barrier) * HBAR_AMU12_A_eV12 / QUANTUM_eV
    x = np.linspace(-2.2 * a, 2.2 * a, points)
    hop = HBAR_AMU12_A_eV12**2 / (2 * (x[1] - x[0]) ** 2)
    diagonal = 2 * hop + barrier * ((x / a) ** 2 - 1) ** 2
    low = eigh_tridiagonal(
        diagonal, np.full(points - 1, -hop), eigvals_only=True, select="i", select_range=(0, 1), tol=1e-18
    )
    return float(low[1] - low[0])


def test_hbar_in_path_units_is_that_of_an_oscillator():
    # 1 amu in a well of 1 eV/A^2: hbar omega = hbar sqrt(k/m)
    omega = np.sqrt(constants.e / constants.angstrom**2 / constants.atomic_mass)
    assert pytest.approx(omega * constants.hbar / constants.e, rel=1e-9) == HBAR_AMU12_A_eV12


@pytest.mark.parametrize(("levels", "tolerance"), [(2.0, 0.16), (3.0, 0.11), (4.0, 0.08)])
def test_amplitude_agrees_with_the_exact_splitting_of_a_quartic_well(levels, tolerance):
    well = quartic(levels, points=33)
    ratio = tunnelling_amplitude_eV(well) / exact_splitting_eV(levels)
    assert ratio == pytest.approx(1, abs=tolerance)


@pytest.mark.parametrize(("levels", "tolerance"), [(10.0, 0.03), (40.0, 0.01)])
def test_amplitude_of_a_high_barrier_is_that_of_instantons(levels, tolerance):
    # A. Garg, Am. J. Phys. 68, 430 (2000): 2 hbar omega sqrt(m omega a^2 / pi hbar) e^A e^(-S), here e^A = 2 and
    # S = (2/3) m omega a^2 / hbar = (16/3) V0 / hbar omega
    S = 16 / 3 * levels
    instanton = 4 * QUANTUM_eV * np.sqrt(1.5 * S / np.pi) * np.exp(-S)
    ratio = tunnelling_amplitude_eV(quartic(levels, points=257)) / instanton
    assert ratio == pytest.approx(1, abs=tolerance)


def test_instanton_action_of_the_quartic_is_the_closed_form():
    # integral of sqrt(2 V) over the barrier: sqrt(2 V0) a 4/3 = (16/3) V0 / omega
    assert quartic(5.0, points=65).action(0.0) == pytest.approx(16 / 3 * 5.0, rel=1e-5)


def test_smooth_asymmetry_leaves_the_amplitude_alone():
    plain, tilted = quartic(4.0, points=65), quartic(4.0, asymmetry_eV=0.004, points=65)
    assert tunnelling_amplitude_eV(tilted) == pytest.approx(tunnelling_amplitude_eV(plain), rel=1e-3)
    assert tilted.asymmetry_eV == pytest.approx(0.004)
    assert tilted.reversed().asymmetry_eV == pytest.approx(-0.004)
    assert tilted.reversed().barrier_eV == pytest.approx(tilted.barrier_eV - 0.004, rel=1e-9)


def test_escape_has_the_limits_of_gamow_and_of_transition_state_theory():
    well = quartic(4.0, asymmetry_eV=-0.02, points=65)
    attempts = QUANTUM_eV / (2 * np.pi * HBAR_eV_s)
    cold = escape_rate_per_s(well, temperature_K=0.01)
    assert cold == pytest.approx(attempts * np.exp(-2 * well.action(QUANTUM_eV / 2)), rel=1e-3)
    for temperature in (2000.0, 4000.0):
        kT = BOLTZMANN_eV_PER_K * temperature
        # the levels near the top make it depend on where they happen to lie: within one level
        classical = attempts * np.exp(-(well.barrier_eV - QUANTUM_eV / 2) / kT)
        assert escape_rate_per_s(well, temperature_K=temperature) == pytest.approx(classical, rel=QUANTUM_eV / kT)


def test_one_phonon_rate_agrees_with_the_golden_rule_summed_over_directions():
    generator = np.random.default_rng(3)
    D = generator.normal(size=(3, 3))
    coupling = StrainCoupling(tensor_eV=(D + D.T) / 2)
    n = generator.normal(size=(200_000, 3))
    n /= np.linalg.norm(n, axis=1)[:, None]
    force = n @ coupling.tensor_eV
    along = np.einsum("ij,ij->i", force, n)
    assert coupling.longitudinal_squared_eV2 == pytest.approx(np.mean(along**2), rel=0.02)
    across = np.mean(np.sum(force**2, axis=1) - along**2)
    assert coupling.transverse_squared_eV2 == pytest.approx(across, rel=0.02)
    # isotropic coupling has no transverse part
    assert StrainCoupling(tensor_eV=np.eye(3)).transverse_squared_eV2 == pytest.approx(0, abs=1e-12)


def test_one_phonon_rate_in_SI_units_for_silicon():
    eps, amplitude, temperature = 1e-4, 2e-5, 0.1
    solid = SOLIDS["Si"]
    e, hbar = constants.e, constants.hbar
    expected = (
        (amplitude * e) ** 2
        * (eps * e)
        * e**2
        / solid.longitudinal_speed_m_s**5
        / (2 * np.pi * solid.density_kg_m3 * hbar**4)
        / np.tanh(eps * e / (2 * constants.k * temperature))
    )
    rate = one_phonon_rate_per_s(
        asymmetry_eV=np.sqrt(eps**2 - amplitude**2),
        tunnelling_eV=amplitude,
        coupling=StrainCoupling(tensor_eV=np.eye(3)),
        solid=solid,
        temperature_K=temperature,
    )
    assert rate == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("asymmetry_eV", [-0.02, 0.002, 0.2])
def test_rates_up_and_down_are_in_detailed_balance_and_turn_with_the_system(asymmetry_eV):
    well = quartic(60.0, asymmetry_eV=asymmetry_eV, points=65)
    settings = {
        "coupling": StrainCoupling(tensor_eV=np.eye(3)),
        "solid": SOLIDS["Si"],
        "temperature_K": 30.0,
    }
    forward, backward = rates_per_s(well, **settings)
    assert forward / backward == pytest.approx(np.exp(-asymmetry_eV / (BOLTZMANN_eV_PER_K * 30.0)), rel=1e-4)
    assert rates_per_s(well.reversed(), **settings) == pytest.approx((backward, forward), rel=1e-6)


def test_one_phonon_counts_below_a_quantum_and_escape_above():
    strong = StrainCoupling(tensor_eV=np.eye(3))
    settings = {"coupling": strong, "solid": SOLIDS["Si"], "temperature_K": 0.01}
    small = quartic(4.0, asymmetry_eV=-1e-5, points=65)
    expected = one_phonon_rate_per_s(
        asymmetry_eV=1e-5,
        tunnelling_eV=tunnelling_amplitude_eV(small),
        coupling=strong,
        solid=SOLIDS["Si"],
        temperature_K=0.01,
    )
    assert rates_per_s(small, **settings)[0] == pytest.approx(expected, rel=1e-3)
    # 30 meV is below the Debye energy of 56 meV, but there are levels of the lower well to escape to
    large = quartic(6.0, asymmetry_eV=-0.03, points=65)
    assert rates_per_s(large, **settings)[0] == pytest.approx(escape_rate_per_s(large, temperature_K=0.01))


def test_a_barrier_below_the_zero_point_motion_is_no_double_well():
    shallow = quartic(0.4)
    assert not shallow.is_double
    with pytest.raises(InputError, match="one well, which does not"):
        tunnelling_amplitude_eV(shallow)
    forward, _ = rates_per_s(
        shallow, coupling=StrainCoupling(tensor_eV=np.eye(3)), solid=SOLIDS["Si"], temperature_K=1.0
    )
    assert forward == pytest.approx(QUANTUM_eV / (2 * np.pi * HBAR_eV_s))


def test_temperature_must_be_above_zero():
    with pytest.raises(InputError, match="temperature_K"):
        escape_rate_per_s(quartic(3.0), temperature_K=0.0)


# -- solids ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("crystal", SOLIDS)
def test_a_known_solid_is_known_and_what_is_given_goes_first(crystal):
    assert solid_of(crystal, {}) == SOLIDS[crystal]
    changed = solid_of(crystal, {"debye_temperature_K": 100.0})
    assert changed.debye_temperature_K == 100.0
    assert changed.density_kg_m3 == SOLIDS[crystal].density_kg_m3


@pytest.mark.parametrize("crystal", [None, "W"])
def test_of_an_unknown_solid_everything_is_asked_for(crystal):
    values = {"density_kg_m3": 19300.0, "longitudinal_speed_m_s": 5220.0, "transverse_speed_m_s": 2890.0}
    with pytest.raises(InputError, match=r"not known; give debye_temperature_K$"):
        solid_of(crystal, values)
    assert solid_of(crystal, values | {"debye_temperature_K": 400.0}).transverse_speed_m_s == 2890.0
    with pytest.raises(InputError, match="density_kg_m3"):
        solid_of("Si", {"density_kg_m3": -1.0})
