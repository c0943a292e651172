"""Dark matter: the halo, the kinematics, the absolute rate."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import constants, integrate

from cascade_driver.errors import InputError
from cascade_driver.sources import dark_matter as dm
from cascade_driver.sources.dark_matter import HaloModel, dark_matter_spectrum, mean_inverse_speed_s_km
from cascade_driver.sources.form_factor import helm_form_factor, helm_radius_fm
from cascade_driver.spectrum import rebin
from cascade_driver.target import parse_target

LIGHT = {"mass_GeV": 2.0, "cross_section_cm2": 1e-40}


def mean_inverse_speed_by_quadrature(least: float, halo: HaloModel) -> float:
    """Integral of f(v)/v over a sphere around the Earth's frame, in speed and angle, by adaptive "
    "quadrature."""
    v0, vesc, vE = halo.most_probable_speed_km_s, halo.escape_speed_km_s, halo.earth_speed_km_s
    norm = 4 * math.pi * integrate.quad(lambda v: v * v * math.exp(-((v / v0) ** 2)), 0, vesc, epsrel=1e-12)[0]

    def over_angle(v: float) -> float:
        # |v + v_E|^2 = v^2 + v_E^2 + 2 v v_E cos must stay below v_esc^2.
        top = min(1.0, (vesc**2 - v * v - vE * vE) / (2 * v * vE))
        if top <= -1:
            return 0.0
        value = integrate.quad(
            lambda c: math.exp(-(v * v + vE * vE + 2 * v * vE * c) / v0**2), -1, top, epsrel=1e-11
        )
        return 2 * math.pi * v * value[0] / norm

    points = [p for p in (abs(vesc - vE),) if p > least]
    return float(integrate.quad(over_angle, least, vesc + vE, points=points or None, epsrel=1e-10, limit=200)[0])


@pytest.mark.parametrize("least", [0.0, 150.0, 293.0, 400.0, 700.0, 790.0])
def test_mean_inverse_speed_equals_the_integral_of_the_distribution(least: float) -> None:
    halo = HaloModel()
    expected = mean_inverse_speed_by_quadrature(least, halo)
    assert float(mean_inverse_speed_s_km(least, halo)) == pytest.approx(expected, rel=1e-7, abs=1e-14)


def test_mean_inverse_speed_when_all_particles_are_slower_than_the_earth() -> None:
    halo = HaloModel(escape_speed_km_s=200.0, earth_speed_km_s=500.0)
    # Outside a spherical shell of charge the mean of 1/r is 1/distance.
    assert float(mean_inverse_speed_s_km(250.0, halo)) == pytest.approx(1 / 500.0, rel=1e-12)
    assert float(mean_inverse_speed_s_km(450.0, halo)) == pytest.approx(
        mean_inverse_speed_by_quadrature(450.0, halo), rel=1e-7
    )


def test_mean_inverse_speed_limits() -> None:
    at_rest = HaloModel(earth_speed_km_s=0.0, escape_speed_km_s=1e4)
    assert float(mean_inverse_speed_s_km(0.0, at_rest)) == pytest.approx(
        2 / (math.sqrt(math.pi) * 238.0), rel=1e-12
    )
    slow = HaloModel(earth_speed_km_s=1e-2, escape_speed_km_s=1e4)
    speeds = np.linspace(0, 900, 10)
    np.testing.assert_allclose(
        mean_inverse_speed_s_km(speeds, slow), mean_inverse_speed_s_km(speeds, at_rest), rtol=1e-5
    )
    halo = HaloModel()
    assert float(mean_inverse_speed_s_km(halo.largest_speed_km_s, halo)) == 0.0
    assert np.all(mean_inverse_speed_s_km(np.linspace(0, 900, 5000), halo) >= 0)


def test_speed_distribution_is_normalised() -> None:
    # -v d(eta)/dv is the speed distribution: its integral is that of eta over v.
    halo = HaloModel()
    value = integrate.quad(
        lambda v: float(mean_inverse_speed_s_km(v, halo)),
        0,
        halo.largest_speed_km_s,
        points=[293.45],
        epsrel=1e-11,
    )[0]
    assert value == pytest.approx(1.0, rel=1e-9)


def test_defaults_are_the_recommended_ones() -> None:
    halo = HaloModel()
    assert (halo.density_GeV_cm3, halo.most_probable_speed_km_s, halo.escape_speed_km_s) == (
        0.3,
        238.0,
        544.0,
    )
    assert halo.earth_speed_km_s == pytest.approx(math.sqrt(11.1**2 + 250.2**2 + 7.3**2))


def test_total_rate_is_density_times_cross_section_times_mean_speed() -> None:
    # Light particle on silicon: the form factor is 1 to 1e-5, and all recoils lie in one bin.
    halo = HaloModel()
    spectrum = dark_matter_spectrum(
        target="Si", mass_GeV=0.1, cross_section_cm2=1e-38, energy_edges_eV=[0.0, 100.0], halo=halo
    )
    # int_0^inf 2 v eta(v) dv is the mean speed.
    mean_km_s = integrate.quad(
        lambda v: 2 * v * float(mean_inverse_speed_s_km(v, halo)),
        0,
        halo.largest_speed_km_s,
        points=[293.45],
        epsrel=1e-11,
    )[0]
    proton_GeV = constants.value("proton mass energy equivalent in MeV") / 1e3
    expected = 0.0
    for isotope in parse_target("Si").isotopes:
        M = isotope.mass_u * constants.value("atomic mass constant energy equivalent in MeV") / 1e3
        mu, mu_p = 0.1 * M / (0.1 + M), 0.1 * proton_GeV / (0.1 + proton_GeV)
        sigma_cm2 = 1e-38 * isotope.mass_number**2 * (mu / mu_p) ** 2
        expected += isotope.atoms_per_kg * 0.3 / 0.1 * sigma_cm2 * mean_km_s * 1e5 * 86400.0
    assert spectrum.total_counts_per_kg_day == pytest.approx(expected, rel=2e-5)


def test_total_rate_of_lewin_and_smith() -> None:
    # Lewin & Smith 1996, Sec. 3: R0 = 503/(M_chi M_T) (sigma0/pb) (rho/0.4) (v0/230) per kg and day, masses
    # in GeV, for v_E = 0 and no escape; printed to three digits. M_T = 0.932 A. sigma0 is the cross-section
    # on the nucleus.
    halo = HaloModel(
        density_GeV_cm3=0.4, most_probable_speed_km_s=230.0, escape_speed_km_s=1e4, earth_speed_km_s=0.0
    )
    mass, (isotope,) = 0.1, parse_target("Al").isotopes
    M = isotope.mass_MeV / 1e3
    sigma_p = (
        1e-36
        / isotope.mass_number**2
        * float(dm.reduced_mass_GeV(mass, 0.938272) / dm.reduced_mass_GeV(mass, M)) ** 2
    )
    spectrum = dark_matter_spectrum(
        target="Al", mass_GeV=mass, cross_section_cm2=sigma_p, energy_edges_eV=[0, 1e4], halo=halo
    )
    assert spectrum.total_counts_per_kg_day == pytest.approx(503.0 / (mass * 0.932 * 27), rel=4e-3)


def test_rate_on_xenon_agrees_with_wimprates_and_its_known_offsets() -> None:
    # wimprates, tests/test_wimprates.py: 50 GeV, 1e-45 cm2, Xe, at 1 keV: 30.39515403337126 per tonne, year
    # and keV, for the same halo (v_E of the year's mean, 252 km/s). It multiplies by the normalisation of the
    # Maxwellian instead of dividing, takes the amu for the mass of the nucleon, and one mean nucleus with A =
    # 131.293.
    z = 544.0 / 238.0
    norm = math.erf(z) - 2 * z * math.exp(-z * z) / math.sqrt(math.pi)
    nucleon = (float(dm.reduced_mass_GeV(50, 0.93827209)) / float(dm.reduced_mass_GeV(50, 0.93149410))) ** 2
    isotopes = parse_target("Xe").isotopes
    mine = (
        sum(
            float(
                dm.spin_independent_rate_per_kg_day_eV(
                    1000.0,
                    isotope=i,
                    mass_GeV=50.0,
                    cross_section_cm2=1e-45,
                    halo=HaloModel(earth_speed_km_s=252.0),
                )
            )
            for i in isotopes
        )
        * 1e3
        * 1e3
        * 365.25
    )
    assert mine == pytest.approx(30.39515403337126 / (norm**2 * nucleon), rel=3e-3)
    assert mine != pytest.approx(30.39515403337126, rel=1.5e-2)


@pytest.mark.parametrize("symbol", ["Ca", "W", "O"])
def test_spectrum_ends_at_the_largest_recoil(symbol: str) -> None:
    isotopes = parse_target("CaWO4").isotopes_of(symbol)
    ends = [
        float(dm.largest_recoil_energy_eV(HaloModel().largest_speed_km_s, mass_GeV=2.0, isotope=i))
        for i in isotopes
    ]
    for end, isotope in zip(ends, isotopes, strict=True):
        assert float(dm.least_speed_km_s(end, mass_GeV=2.0, isotope=isotope)) == pytest.approx(
            HaloModel().largest_speed_km_s
        )
    end = max(ends)
    edges = [0.0, 0.99 * end, end, 2 * end]
    rate = dark_matter_spectrum(target="CaWO4", energy_edges_eV=edges, halo=HaloModel(), **LIGHT)
    assert rate.rate_per_kg_day_keV[symbol][1] > 0
    assert rate.rate_per_kg_day_keV[symbol][2] == 0


def test_bins_above_every_end_point_are_empty() -> None:
    assert dark_matter_spectrum(target="W", energy_edges_eV=[1e4, 2e4], **LIGHT).total_counts_per_kg_day == 0


def test_bin_averages_equal_adaptive_quadrature() -> None:
    edges = [0.0, 30.0, 100.0, 200.0, 290.0, 330.0]
    isotopes = parse_target("CaWO4").isotopes
    spectrum = dark_matter_spectrum(target="CaWO4", energy_edges_eV=edges, halo=HaloModel(), **LIGHT)
    for index, (low, high) in enumerate(itertools.pairwise(edges)):
        expected = 0.0
        for isotope in isotopes:
            kinks = dm.largest_recoil_energy_eV(np.array([293.45, 794.55]), mass_GeV=2.0, isotope=isotope)
            expected += integrate.quad(
                lambda e, isotope=isotope: float(
                    dm.spin_independent_rate_per_kg_day_eV(e, isotope=isotope, halo=HaloModel(), **LIGHT)
                ),
                low,
                high,
                points=[k for k in kinks if low < k < high] or None,
                epsrel=1e-10,
                limit=200,
            )[0]
        assert spectrum.total_rate_per_kg_day_keV[index] * (high - low) / 1e3 == pytest.approx(expected, rel=1e-8)


def test_bin_averages_do_not_depend_on_the_binning() -> None:
    # A heavy particle: many lobes of the form factor lie in the coarse bin.
    fine = dark_matter_spectrum(
        target="W", mass_GeV=1000, cross_section_cm2=1e-45, energy_edges_eV=np.linspace(0, 2e6, 2001)
    )
    coarse = dark_matter_spectrum(target="W", mass_GeV=1000, cross_section_cm2=1e-45, energy_edges_eV=[0, 2e6])
    assert rebin(fine, [0, 2e6]).total_counts_per_kg_day == pytest.approx(coarse.total_counts_per_kg_day, rel=1e-8)


def test_rates_of_several_masses_broadcast() -> None:
    (isotope,) = parse_target("Al").isotopes
    masses = np.array([[1.0], [2.0], [5.0]])
    energies = np.array([10.0, 100.0])
    together = dm.spin_independent_rate_per_kg_day_eV(
        energies, isotope=isotope, mass_GeV=masses, cross_section_cm2=1e-40, halo=HaloModel()
    )
    assert together.shape == (3, 2)
    alone = dm.spin_independent_rate_per_kg_day_eV(
        energies, isotope=isotope, mass_GeV=5.0, cross_section_cm2=1e-40, halo=HaloModel()
    )
    np.testing.assert_allclose(together[2], alone)


def test_helm_form_factor_has_its_limits_and_first_zero() -> None:
    energies = np.array([0.0, 1e-6, 0.1])
    np.testing.assert_allclose(helm_form_factor(energies, mass_number=184, mass_MeV=171_000.0), 1.0, atol=1e-5)
    # The first zero of j1 is at 4.493409.
    radius = helm_radius_fm(184)
    assert radius == pytest.approx(6.6, abs=0.2)
    zero_eV = (4.493409457909064 / radius * 197.3269804) ** 2 / (2 * 171_000.0) * 1e6
    assert abs(float(helm_form_factor(np.array([zero_eV]), mass_number=184, mass_MeV=171_000.0)[0])) < 1e-8
    # Across the switch to the series.
    x = 1e-2 / radius * 197.3269804
    both = helm_form_factor(
        np.array([0.999, 1.001]) * x**2 / (2 * 171_000.0) * 1e6, mass_number=184, mass_MeV=171_000.0
    )
    assert both[0] - both[1] == pytest.approx(2e-3 * (1e-4 / 10 + (1e-2 / radius * 0.9) ** 2 / 2), rel=1e-3)


def test_tungsten_dominates_at_low_energy_and_oxygen_reaches_farthest() -> None:
    spectrum = dark_matter_spectrum(target="CaWO4", energy_edges_eV=[9, 11, 149, 151, 2800, 2900], **LIGHT)
    rate = spectrum.rate_per_kg_day_keV
    assert rate["W"][0] / spectrum.total_rate_per_kg_day_keV[0] > 0.98
    assert rate["W"][2] / spectrum.total_rate_per_kg_day_keV[2] < 0.9
    assert rate["W"][4] == rate["Ca"][4] == 0 < rate["O"][4]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"mass_GeV": 0.0}, "mass_GeV of dark matter is 0"),
        ({"cross_section_cm2": math.nan}, "cross_section_cm2"),
        ({"energy_edges_eV": [-1.0, 1.0]}, "at least 0 eV"),
        ({"target": "Zz"}, "not a chemical element"),
    ],
)
def test_impossible_source_is_refused(arguments: dict[str, object], words: str) -> None:
    good: dict[str, object] = {"target": "W", "energy_edges_eV": [0.0, 1.0], **LIGHT}
    with pytest.raises(InputError, match=words):
        dark_matter_spectrum(**{**good, **arguments})  # type: ignore[arg-type]


def test_impossible_halo_is_refused() -> None:
    with pytest.raises(InputError, match="escape_speed_km_s"):
        HaloModel(escape_speed_km_s=-1.0)
    with pytest.raises(InputError, match="earth_speed_km_s"):
        HaloModel(earth_speed_km_s=-1.0)
