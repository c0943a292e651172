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
    _Levels,
    escape_rate_per_s,
    one_phonon_rate_per_s,
    rates_per_s,
    semiclassical_amplitude_eV,
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


@pytest.mark.parametrize("points", [9, 33])
@pytest.mark.parametrize("levels", [0.55, 1.0, 2.0, 3.5])
def test_amplitude_is_the_splitting_of_a_quartic_well_that_goes_on_beyond_the_path(levels, points):
    well = quartic(levels, points=points)
    # a spline through nine points is no quartic
    tolerance = 0.002 if points == 33 else 0.05
    assert tunnelling_amplitude_eV(well) / exact_splitting_eV(levels) == pytest.approx(1, abs=tolerance)


@pytest.mark.parametrize(
    ("levels", "ratio"), [(0.55, 1.88), (0.7, 1.63), (1.0, 1.36), (1.5, 1.21), (3.0, 1.10), (4.0, 1.07)]
)
def test_semiclassical_amplitude_is_too_large_under_a_low_barrier(levels, ratio):
    # Ratios found with another program, and why levels are exact where they can be.
    found = semiclassical_amplitude_eV(quartic(levels, points=65)) / exact_splitting_eV(levels)
    assert found == pytest.approx(ratio, abs=0.01)


def test_both_amplitudes_meet_where_one_takes_over_from_the_other():
    low, high = (tunnelling_amplitude_eV(quartic(levels, points=65)) for levels in (3.75, 3.85))
    # From exact to semiclassical: 7 % up, on the way down by exp(-0.1 * 16 / 3).
    assert high / low == pytest.approx(np.exp(-0.1 * 16 / 3), rel=0.1)


@pytest.mark.parametrize("xi", [0.5, 1.0, 1.5])
def test_levels_agree_with_a_double_well_whose_levels_are_closed_forms(xi):
    # M. Razavy, Am. J. Phys. 48, 285 (1980), n = 3: of
    # -psi'' + [xi^2/8 cosh 4x - 4 xi cosh 2x - xi^2/8] psi = E psi
    # the lowest are -5 - xi - 2 sqrt(4 - 2 xi + xi^2) and -5 + xi - 2 sqrt(4 + 2 xi + xi^2); its barrier is 0.6 to
    # 0.9 quanta.
    unit_eV = 0.001  # hbar^2 / 2 over the square of the length that x is measured in
    expected_eV = unit_eV * (2 * xi + 2 * np.sqrt(4 - 2 * xi + xi**2) - 2 * np.sqrt(4 + 2 * xi + xi**2))

    def potential(x):
        return unit_eV * (xi**2 / 8 * np.cosh(4 * x) - 4 * xi * np.cosh(2 * x))

    x, step = np.linspace(-3, 3, 3001, retstep=True)
    levels = _Levels(hop_eV=unit_eV / step**2, potential_eV=potential(x), lowered=np.zeros(3001), is_right=x > 0)
    assert levels.lowest(0.0)[0] == pytest.approx(expected_eV, rel=1e-3)
    # The path knows the potential between the minima alone; beyond, a quartic stands for the cosh.
    length = HBAR_AMU12_A_eV12 / np.sqrt(2 * unit_eV)
    end = 0.5 * np.arccosh(8 / xi)
    along = np.linspace(-end, end, 129)
    quantum = 2 * np.sqrt((128 - 2 * xi**2) / 2) * unit_eV
    well = DoubleWell(
        distance_amu12_A=length * (along + end),
        energy_eV=potential(along),
        slope_eV_amu12_A=unit_eV / length * (xi**2 / 2 * np.sinh(4 * along) - 8 * xi * np.sinh(2 * along)),
        quanta_eV=(quantum, quantum),
    )
    assert tunnelling_amplitude_eV(well) == pytest.approx(expected_eV, rel=0.1)
    # Negative control: without levels it is off by more.
    assert semiclassical_amplitude_eV(well) > 1.2 * expected_eV


def test_unequal_wells_are_aligned_and_their_amplitude_does_not_depend_on_the_side():
    # the right half of a quartic well is made 1.5 times as wide: its quantum is 1.5 times smaller
    half = quartic(2.0, points=65)
    s, middle = half.distance_amu12_A.copy(), half.length_amu12_A / 2
    slope = half.slope_eV_amu12_A.copy()
    right = s > middle
    s[right] = middle + 1.5 * (s[right] - middle)
    slope[right] /= 1.5
    well = DoubleWell(
        distance_amu12_A=s,
        energy_eV=half.energy_eV,
        slope_eV_amu12_A=slope,
        quanta_eV=(QUANTUM_eV, QUANTUM_eV / 1.5),
    )
    amplitude = tunnelling_amplitude_eV(well)
    assert tunnelling_amplitude_eV(well.reversed()) == pytest.approx(amplitude, rel=1e-3)
    assert well.ground_asymmetry_eV == pytest.approx(-QUANTUM_eV / 6)
    # Between those of two quartic wells as wide as either half.
    wide = exact_splitting_eV(2.0 * 1.5) / 1.5
    assert wide < amplitude < exact_splitting_eV(2.0)


def test_zero_point_energy_raises_the_well_and_leaves_its_stationary_points():
    plain = quartic(3.0, points=9)
    raised = plain.raised(top_eV=-0.004, other_eV=0.002)
    assert raised.asymmetry_eV == pytest.approx(0.002)
    assert raised.barrier_eV == pytest.approx(plain.barrier_eV - 0.004, rel=1e-3)
    np.testing.assert_allclose(raised.slope_eV_amu12_A[[0, 4, 8]], 0, atol=1e-15)
    assert tunnelling_amplitude_eV(raised) > tunnelling_amplitude_eV(plain)
    step = plain.raised(top_eV=None, other_eV=0.002)
    assert step.energy_eV[4] - plain.energy_eV[4] == pytest.approx(0.001)


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
    # Of levels a percent: the wall beyond the path is taken from a point of it that is tilted, too.
    low, inclined = quartic(2.0, points=65), quartic(2.0, asymmetry_eV=0.004, points=65)
    assert tunnelling_amplitude_eV(inclined) == pytest.approx(tunnelling_amplitude_eV(low), rel=0.02)
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
