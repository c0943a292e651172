"""Dark matter beyond the standard case: light mediators, spins, the seasons, grids of masses."""

import datetime
from pathlib import Path

import numpy as np
import pytest
from scipy import integrate, special

from cascade_driver.cli import main
from cascade_driver.errors import InputError
from cascade_driver.request import SpectrumRequest
from cascade_driver.schema import build
from cascade_driver.sources.dark_matter import (
    HaloModel,
    dark_matter_spectrum,
    earth_speed_km_s,
    propagator,
    spin_enhancement,
)
from cascade_driver.sources.form_factor import oscillator_length_fm, spin_structure_factor
from cascade_driver.sources.requested import dark_matter, requested_spectrum
from cascade_driver.spectrum import read_spectrum
from cascade_driver.target import parse_target

EDGES = np.linspace(0.0, 400.0, 41)
CASE = {"mass_GeV": 2.0, "cross_section_cm2": 1e-40, "energy_edges_eV": EDGES}


def test_a_heavy_mediator_changes_nothing_and_a_massless_one_falls_as_recoil_squared():
    plain = dark_matter_spectrum(target="Al", **CASE).total_rate_per_kg_day_keV
    heavy = dark_matter_spectrum(target="Al", mediator_mass_MeV=1e5, **CASE).total_rate_per_kg_day_keV
    assert heavy == pytest.approx(plain, rel=1e-6)
    aluminium = parse_target("Al").isotopes[0]
    ratio = propagator([100.0, 200.0], isotope=aluminium, mediator_mass_MeV=1e-3)
    assert ratio[0] / ratio[1] == pytest.approx(4, rel=1e-6)
    light = dark_matter_spectrum(target="Al", mediator_mass_MeV=1.0, **CASE).total_rate_per_kg_day_keV
    middle = (EDGES[1:] + EDGES[:-1]) / 2
    expected = plain * propagator(middle, isotope=aluminium, mediator_mass_MeV=1.0)
    assert light[10:] == pytest.approx(expected[10:], rel=5e-3)
    with pytest.raises(InputError, match="mediator_mass_MeV"):
        dark_matter_spectrum(target="Al", mediator_mass_MeV=0.0, **CASE)


def test_spins_scale_the_rate_by_their_closed_form():
    aluminium = parse_target("Al").isotopes[0]
    assert spin_enhancement(aluminium, "proton_spin") == pytest.approx(4 / 3 * 3.5 / 2.5 * 0.326**2)
    assert spin_enhancement(aluminium, "independent") == 27**2
    si = dark_matter_spectrum(target="Al", **CASE).total_rate_per_kg_day_keV
    sd = dark_matter_spectrum(target="Al", coupling="proton_spin", **CASE).total_rate_per_kg_day_keV
    used = si > 0
    # both form factors are 1 to 2e-3 here
    assert sd[used] / si[used] == pytest.approx(spin_enhancement(aluminium, "proton_spin") / 27**2, rel=2e-3)
    carbon = dark_matter_spectrum(target="CaWO4", coupling="neutron_spin", **CASE)
    assert min(float(c.sum()) for c in carbon.counts_per_kg_day.values()) > 0
    with pytest.raises(InputError, match="coupling is 'charge'"):
        dark_matter_spectrum(target="Al", coupling="charge", **CASE)


def test_a_nucleus_whose_spin_is_not_known_is_not_passed_over():
    # 6Li, 7.6 % of lithium, and molybdenum's odd isotopes were counted as if they had no spin
    for target, words in (("LiF", "spins in Li6, which is 7.6% of Li"), ("ZnMoO4", "spins in Mo95")):
        with pytest.raises(InputError, match=words):
            dark_matter_spectrum(target=target, coupling="neutron_spin", **CASE)
        dark_matter_spectrum(target=target, **CASE)
    for target in ("LiF[Li7=1]", "NaI", "CsI", "TeO2", "GaAs", "CaWO4", "Al2O3", "CaF2", "PbWO4", "C", "Ge"):
        for coupling in ("proton_spin", "neutron_spin"):
            dark_matter_spectrum(target=target, coupling=coupling, **CASE)
    # fluorine is the proton target: 4/3 x 3 x 0.478^2
    (fluorine,) = parse_target("F").isotopes
    assert spin_enhancement(fluorine, "proton_spin") == pytest.approx(4 * 0.478**2)


def oscillator_density(radius_fm, *, n: int, orbital: int, length_fm: float):
    """Radial probability density of an oscillator state, by its textbook wave function."""
    x = (radius_fm / length_fm) ** 2
    density = radius_fm**2 * x**orbital * np.exp(-x) * special.eval_genlaguerre(n, orbital + 0.5, x) ** 2
    return density / integrate.trapezoid(density, radius_fm)


@pytest.mark.parametrize(
    ("formula", "n", "orbital", "loss_at_1_keV"),
    # losses: 73Ge as of the shell model, Klos et al. 2013 (doi:10.1103/PhysRevD.88.083516); others not printed
    [("Ge73", 0, 4, 0.023), ("Al27", 0, 2, None), ("Si29", 1, 0, None), ("W183", 2, 1, None)],
)
def test_the_spin_of_a_nucleon_fades_as_its_oscillator_state_says(formula, n, orbital, loss_at_1_keV):
    symbol, number = formula[:2].rstrip("1"), int(formula.lstrip("GeAlSiW"))
    isotope = next(i for i in parse_target(symbol).isotopes if i.mass_number == number)
    energies = np.array([100.0, 1000.0])
    found = spin_structure_factor(energies, mass_number=number, mass_MeV=isotope.mass_MeV, shell=2 * n + orbital)
    radius = np.linspace(1e-3, 25.0, 20001)
    density = oscillator_density(radius, n=n, orbital=orbital, length_fm=oscillator_length_fm(number))
    q = np.sqrt(2 * isotope.mass_MeV * energies * 1e-6) / 197.327
    exact = [integrate.trapezoid(density * special.spherical_jn(0, k * radius), radius) ** 2 for k in q]
    # a tenth of the loss: the order q^4
    assert 1 - found == pytest.approx(1 - np.array(exact), rel=0.1)
    if loss_at_1_keV is not None:
        assert 1 - found[1] == pytest.approx(loss_at_1_keV, abs=0.007)
        assert 1 - found[1] > 0.01  # what was said once


def test_the_rate_is_highest_in_june_and_lowest_in_december():
    days = [datetime.date(2025, 1, 1) + datetime.timedelta(days=d) for d in range(365)]
    speeds = np.array([earth_speed_km_s(day) for day in days])
    # Lewin & Smith 1996, Sec. 3: about 2 June, plus or minus 15 km/s
    assert abs((days[int(speeds.argmax())] - datetime.date(2025, 6, 2)).days) <= 4
    assert abs((days[int(speeds.argmin())] - datetime.date(2025, 12, 2)).days) <= 4
    assert (speeds.max() - speeds.min()) / 2 == pytest.approx(15, abs=1)
    assert speeds.mean() == pytest.approx(HaloModel().earth_speed_km_s, rel=1e-2)
    june, december = (
        dark_matter_spectrum(
            target="CaWO4", halo=HaloModel(earth_speed_km_s=earth_speed_km_s(datetime.date(2025, m, 2))), **CASE
        )
        for m in (6, 12)
    )
    assert june.total_rate_per_kg_day_keV[30] > 1.05 * december.total_rate_per_kg_day_keV[30]


def test_without_a_date_the_rate_is_the_mean_of_the_year():
    days = [datetime.date(2025, 1, 1) + datetime.timedelta(days=d) for d in range(0, 365, 5)]
    speeds = [earth_speed_km_s(day) for day in days]
    year = np.mean(
        [
            dark_matter_spectrum(target="W", halo=HaloModel(earth_speed_km_s=v), **CASE).counts_per_kg_day["W"]
            for v in speeds
        ],
        axis=0,
    )
    mean = dark_matter_spectrum(target="W", **CASE).counts_per_kg_day["W"]
    # up to 340 eV, where the fastest June end point lies in the bin; 1e-3: 73 days of 365 for 365.25
    assert mean[:34] == pytest.approx(year[:34], rel=1e-3)
    # negative control: the rate at one speed between is another one, above all near the end point
    sun = dark_matter_spectrum(target="W", halo=HaloModel(), **CASE).counts_per_kg_day["W"]
    assert sun[20] / year[20] < 0.98
    assert sun[30] / year[30] < 0.8


# -- the halo that a request asks for ---------------------------------------------------------------------------

BINS = {"energy_eV": (1.0, 101.0), "bins": 10}
LEWIN_SMITH = {  # doi:10.1016/S0927-6505(96)00047-3: v0 = 230, v_esc = 600, v_E = 244 km/s, rho = 0.4 GeV/cm3
    "density_GeV_cm3": 0.4,
    "most_probable_speed_km_s": 230.0,
    "escape_speed_km_s": 600.0,
    "earth_speed_km_s": 244.0,
}


def test_input_command_line_and_python_ask_for_one_halo(tmp_path: Path) -> None:
    case = {"target": "Si", "mass_GeV": 2.0, "cross_section_cm2": 1e-40, **BINS}
    # what a table [[spectra]] of an input is read as
    toml = build(SpectrumRequest, {"kind": "dm", **case, **LEWIN_SMITH}, origin="test")
    words = ["spectrum", "dm", "--target", "Si", "--mass-GeV", "2", "--cross-section-cm2", "1e-40"]
    words += ["--energy-eV", "1", "101", "--bins", "10", "--out", str(tmp_path / "x.csv")]
    for name, value in LEWIN_SMITH.items():
        words += [f"--{name.replace('_', '-')}", str(value)]
    assert main(words) == 0
    written = read_spectrum(tmp_path / "x.csv")
    python = dark_matter("Si", mass_GeV=2, cross_section_cm2=1e-40, **BINS, **LEWIN_SMITH)
    assert toml == written.source == python.source
    direct = dark_matter_spectrum(
        target="Si",
        mass_GeV=2,
        cross_section_cm2=1e-40,
        energy_edges_eV=python.energy_edges_eV,
        halo=HaloModel(**LEWIN_SMITH),
    )
    for found in (written, python):
        np.testing.assert_allclose(found.rate_per_kg_day_keV["Si"], direct.rate_per_kg_day_keV["Si"], rtol=1e-12)
    assert requested_spectrum(toml).metadata["escape_speed_km_s"] == "600.0"


def test_a_halo_named_by_its_defaults_is_the_default_one() -> None:
    case = {"mass_GeV": 2.0, "cross_section_cm2": 1e-40, **BINS}
    named = {"density_GeV_cm3": 0.3, "most_probable_speed_km_s": 238.0, "escape_speed_km_s": 544.0}
    plain = dark_matter("Si", **case).counts_per_kg_day["Si"]
    np.testing.assert_array_equal(dark_matter("Si", **case, **named).counts_per_kg_day["Si"], plain)
    double = dark_matter("Si", **case, density_GeV_cm3=0.6).counts_per_kg_day["Si"]
    np.testing.assert_allclose(double, 2 * plain, rtol=1e-12)  # the rate is linear in rho
    day = datetime.date(2025, 6, 2)
    on_a_day = dark_matter("Si", **case, date=day).counts_per_kg_day["Si"]
    at_its_speed = dark_matter("Si", **case, earth_speed_km_s=earth_speed_km_s(day)).counts_per_kg_day["Si"]
    np.testing.assert_array_equal(on_a_day, at_its_speed)
    faster = dark_matter("Si", **case, escape_speed_km_s=700.0).counts_per_kg_day["Si"]
    assert not np.allclose(faster, plain, rtol=1e-4)  # negative control: the cut is seen


def test_two_speeds_of_the_earth_are_refused() -> None:
    with pytest.raises(InputError, match="a date and earth_speed_km_s are both given"):
        dark_matter("Si", mass_GeV=2, cross_section_cm2=1e-40, **BINS, date="2025-06-02", earth_speed_km_s=250.0)
    with pytest.raises(InputError, match="escape_speed_km_s`: input should be greater than 0"):
        dark_matter("Si", mass_GeV=2, cross_section_cm2=1e-40, **BINS, escape_speed_km_s=-1.0)
