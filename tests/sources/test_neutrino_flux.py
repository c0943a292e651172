"""Neutrino sources beyond the reactor, and how well a reactor is known: against closed forms."""

import dataclasses

import numpy as np
import pytest
from scipy import constants, integrate

from cascade_driver.errors import InputError
from cascade_driver.request import ReactorRequest
from cascade_driver.sources.cevns import (
    VectorMediator,
    cevns_cross_section_cm2_per_eV,
    cevns_spectrum,
    magnetic_strength_cm2,
)
from cascade_driver.sources.reactor import (
    HUBER_MUELLER_YIELD_ERRORS,
    PRESSURISED_WATER_FISSION_FRACTIONS,
    reactor_flux,
    reactor_part_flux,
)
from cascade_driver.sources.requested import requested_spectrum, source_members_of
from cascade_driver.sources.solar import SOLAR_FLUXES_per_cm2_s, monochromatic_flux, solar_flux
from cascade_driver.target import parse_target
from cascade_driver.units import SECONDS_PER_DAY

EDGES = np.linspace(5.0, 105.0, 21)
AT = {"power_GW": (4.25,), "distance_m": (72.0,)}


def test_a_monochromatic_source_gives_its_cross_section():
    flux = monochromatic_flux(5.0, flux_cm2_s=1e10)
    found = cevns_spectrum(flux, target="Al", energy_edges_eV=EDGES)
    aluminium = parse_target("Al").isotopes[0]
    middle = (EDGES[1:] + EDGES[:-1]) / 2
    exact = cevns_cross_section_cm2_per_eV(middle, 5.0, isotope=aluminium)
    exact *= 1e10 * aluminium.atoms_per_kg * SECONDS_PER_DAY * 1e3
    assert found.total_rate_per_kg_day_keV == pytest.approx(exact, rel=1e-4)
    with pytest.raises(InputError, match="give a positive energy"):
        monochromatic_flux(-1.0, flux_cm2_s=1.0)


@pytest.mark.parametrize(
    ("source", "mean", "square"),
    [
        ("pp", 0.2667, 0.0788),
        ("hep", 9.6302, 105.95),
        ("N13", 0.7067, 0.5609),
        ("O15", 0.9965, 1.1203),
        ("F17", 0.9996, 1.1272),
        ("B8", 6.770, 53.26),
    ],
)
def test_solar_spectra_have_the_tabulated_flux_and_moments(source, mean, square):
    # mean and mean square (which coherent scattering goes with) of the published tables: Bahcall 1997
    # (doi:10.1103/PhysRevC.56.3391) for pp and hep, Bahcall & Ulrich 1988 (doi:10.1103/RevModPhys.60.297) for CNO,
    # Winter et al. 2006 (doi:10.1103/PhysRevC.73.025503) for B8
    flux = solar_flux(sources=(source,))
    grid = np.linspace(0.0, flux.largest_energy_MeV, 20001)
    density = flux.density_per_cm2_s_MeV(grid)
    total = integrate.trapezoid(density, grid)
    assert total == pytest.approx(SOLAR_FLUXES_per_cm2_s[source][0], rel=1e-3)
    assert integrate.trapezoid(density * grid, grid) / total == pytest.approx(mean, rel=0.003)
    assert integrate.trapezoid(density * grid**2, grid) / total == pytest.approx(square, rel=0.006)


def test_all_solar_sources_add_up_and_unknown_ones_are_named():
    moments = solar_flux().inverse_energy_moments(np.array([1e-4]))
    assert moments[0, 0] == pytest.approx(sum(f for f, _ in SOLAR_FLUXES_per_cm2_s.values()), rel=1e-3)
    assert solar_flux(sources=("B8",), scale={"B8": 2.0}).inverse_energy_moments(np.array([1e-4]))[
        0, 0
    ] == pytest.approx(2 * SOLAR_FLUXES_per_cm2_s["B8"][0], rel=1e-3)
    with pytest.raises(InputError, match="solar sources Be8"):
        solar_flux(sources=("Be8",))
    with pytest.raises(InputError, match="solar source B8 is named 2 times"):
        solar_flux(sources=("B8", "pp", "B8"))


def test_the_magnetic_moment_adds_its_closed_form_and_falls_as_one_over_recoil():
    flux = monochromatic_flux(3.0, flux_cm2_s=1e12)
    mu = 1e-10
    silicon = parse_target("Al").isotopes[0]
    plain = cevns_spectrum(flux, target="Al", energy_edges_eV=EDGES)
    more = cevns_spectrum(flux, target="Al", energy_edges_eV=EDGES, magnetic_moment_bohr=mu)
    extra = more.total_rate_per_kg_day_keV - plain.total_rate_per_kg_day_keV
    radius_cm = constants.physical_constants["classical electron radius"][0] * 100
    # pi r_e^2 mu^2 Z^2 (ln(b/a) - (b - a)/E_nu) per bin; the form factor is 1 to 1e-4 at these energies
    a, b = EDGES[:-1] * 1e-6, EDGES[1:] * 1e-6
    closed = np.pi * (radius_cm * mu * 13) ** 2 * (np.log(b / a) - (b - a) / 3.0)
    closed *= 1e12 * silicon.atoms_per_kg * SECONDS_PER_DAY / np.diff(EDGES * 1e-3)
    assert extra == pytest.approx(closed, rel=1e-3)
    at_zero = magnetic_strength_cm2(np.array([1e-6]), isotope=silicon, magnetic_moment_bohr=mu)
    assert at_zero[0] == pytest.approx(np.pi * (radius_cm * mu * 13) ** 2, rel=1e-6)
    with pytest.raises(InputError, match="begin the bins above 0"):
        cevns_spectrum(flux, target="Al", energy_edges_eV=[0.0, 10.0], magnetic_moment_bohr=mu)


# -- a boson beside the Z ------------------------------------------------------------------------------------


def mediated(mass_MeV, coupling, *, target="Al", edges=EDGES, energy_MeV=3.0):
    flux = monochromatic_flux(energy_MeV, flux_cm2_s=1e12)
    mediator = VectorMediator(mass_MeV=mass_MeV, coupling=coupling)
    return cevns_spectrum(flux, target=target, energy_edges_eV=edges, mediator=mediator)


def test_a_mediator_without_coupling_changes_nothing():
    plain = cevns_spectrum(monochromatic_flux(3.0, flux_cm2_s=1e12), target="Al", energy_edges_eV=EDGES)
    for mass in (0.01, 10.0, 1e5):
        assert mediated(mass, 0.0).total_rate_per_kg_day_keV == pytest.approx(
            plain.total_rate_per_kg_day_keV, rel=1e-9
        )


@pytest.mark.parametrize("mass_MeV", [1e-2, 1.0, 30.0])
@pytest.mark.parametrize("coupling", [1e-9, -3e-10])
def test_a_light_mediator_adds_the_three_printed_terms(mass_MeV, coupling):
    # Cerdeno et al. 2016, doi:10.1007/JHEP05(2016)118: the square of the weak charge, that of the new one, and
    # their interference; Q' = 3 A g_nu g_q. Form factor 1 to 1e-3, as the term E_R / E_nu that is left out there.
    aluminium = parse_target("Al").isotopes[0]
    M, E, GF = aluminium.mass_MeV, 3.0, 1.1663787e-11
    weak, new = 14 - (1 - 4 * 0.2387) * 13, 3 * 27 * coupling

    def per_MeV(recoil_MeV):
        q2 = 2 * M * recoil_MeV + mass_MeV**2
        factor = M * (2 * E**2 - M * recoil_MeV - 2 * E * recoil_MeV)
        terms = [
            GF**2 * weak**2 / (8 * np.pi * E**2),
            -GF * weak * new / (2 * np.sqrt(2) * np.pi * E**2 * q2),
            new**2 / (4 * np.pi * E**2 * q2**2),
        ]
        return factor * sum(terms)

    edges = np.array([5.0, 10.0, 50.0, 200.0])
    found = mediated(mass_MeV, coupling, edges=edges).total_rate_per_kg_day_keV
    for low, high, rate in zip(edges[:-1], edges[1:], found, strict=True):
        cross, _ = integrate.quad(per_MeV, low * 1e-6, high * 1e-6, epsabs=0, epsrel=1e-9)
        expected = cross * (197.3269804e-13) ** 2 * 1e12 * aluminium.atoms_per_kg * SECONDS_PER_DAY
        assert rate * (high - low) * 1e-3 == pytest.approx(expected, rel=2e-3)


def test_a_heavy_mediator_is_a_non_standard_interaction():
    # Barranco et al. 2005, doi:10.1088/1126-6708/2005/12/021: 2 [Z (g_p + 2 e_u + e_d) + N (g_n + e_u + 2 e_d)],
    # for e_u = e_d = epsilon, with g_p = 1/2 - 2 sin^2 theta, g_n = -1/2
    epsilon, mass, GF = 0.02, 1e6, 1.1663787e-11
    plain = cevns_spectrum(monochromatic_flux(3.0, flux_cm2_s=1e12), target="Al", energy_edges_eV=EDGES)
    Z, N = 13, 14
    old = 2 * (Z * (0.5 - 2 * 0.2387) - N * 0.5)
    new = old + 2 * (Z * 3 * epsilon + N * 3 * epsilon)
    found = mediated(mass, epsilon * np.sqrt(2) * GF * mass**2)
    ratio = found.total_rate_per_kg_day_keV / plain.total_rate_per_kg_day_keV
    assert ratio == pytest.approx((new / old) ** 2, rel=1e-5)
    # negative control: the other sign adds
    assert mediated(mass, -epsilon * np.sqrt(2) * GF * mass**2).total_counts_per_kg_day > (
        plain.total_counts_per_kg_day
    )


def test_bins_down_to_zero_see_the_rise_below_the_mass_of_the_boson():
    # 1 / (q^2 + m^2)^2 bends at 0.2 eV for 0.1 MeV: one wide bin and many narrow ones hold the same
    one = mediated(0.1, 1e-8, edges=[0.0, 100.0]).total_counts_per_kg_day
    many = mediated(0.1, 1e-8, edges=np.concatenate([[0.0], np.geomspace(1e-3, 100.0, 400)]))
    assert one == pytest.approx(many.total_counts_per_kg_day, rel=1e-6)
    with pytest.raises(InputError, match="expected a positive mass"):
        VectorMediator(mass_MeV=0.0, coupling=1.0)


def test_the_parts_of_a_reactor_add_up_to_the_whole():
    energy = np.array([0.5, 1.9, 2.1, 4.0, 7.9])
    whole = reactor_flux(**AT).density_per_cm2_s_MeV(energy)
    parts = [reactor_part_flux(i, **AT) for i in (*PRESSURISED_WATER_FISSION_FRACTIONS, None)]
    summed = sum(
        np.where(
            (energy >= p.breakpoints_MeV[0]) & (energy <= p.largest_energy_MeV), p.density_per_cm2_s_MeV(energy), 0
        )
        for p in parts
    )
    assert summed == pytest.approx(whole, rel=1e-12)


def test_members_of_a_reactor_scatter_by_the_errors_of_its_isotopes():
    spectrum = cevns_spectrum(reactor_flux(**AT), target="Ge", energy_edges_eV=[150.0, 200.0, 300.0])
    request = ReactorRequest(kind="cevns", target="Ge", energy_eV=(150.0, 300.0), bins=2, **AT)
    members = source_members_of(dataclasses.replace(spectrum, source=request), n_members=4000)["Ge"]
    counts = spectrum.counts_per_kg_day["Ge"]
    assert members.mean(axis=0) == pytest.approx(counts, rel=3e-3)
    # above 150 eV on Ge only neutrinos above 2 MeV count: between the smallest and the largest of the errors
    relative = members.std(axis=0) / counts
    share = max(PRESSURISED_WATER_FISSION_FRACTIONS.values())
    assert np.all(relative > share * HUBER_MUELLER_YIELD_ERRORS["U235"])
    assert np.all(relative < 0.0815)


def test_the_band_of_a_reactor_spans_the_treatments_of_its_low_energies():
    edges = np.array([1.0, 2.0, 5.0, 10.0, 20.0, 50.0])

    def made(target, low_energy_flux):
        request = ReactorRequest(
            kind="cevns", target=target, low_energy_flux=low_energy_flux, energy_eV=(1.0, 50.0), bins=5, **AT
        )
        spectrum = requested_spectrum(request, energy_edges_eV=edges)
        members = sum(source_members_of(spectrum, n_members=2000).values())
        return sum(spectrum.counts_per_kg_day.values()), members.std(axis=0)

    for target in ("CaWO4", "Si", "Al2O3"):
        nominal, one_sigma = made(target, "kopeikin")
        other, _ = made(target, "vogel_engel")
        assert np.all(np.abs(other - nominal) < one_sigma)
        assert np.all(one_sigma < 0.12 * nominal)
        # what is known to be wrong says so: its band reaches the right one (members end at 0, which narrows it)
        flat, wide = made(target, "flat")
        assert np.all(nominal - flat < 1.2 * wide)


CEVNS = ["spectrum", "cevns", "--energy-eV", "1", "1000", "--bins", "30", "--log"]


def test_sun_and_single_energies_are_sources_on_the_command_line(tmp_path):
    from cascade_driver.cli import main
    from cascade_driver.spectrum import read_spectrum

    out = tmp_path / "x.csv"
    assert (
        main([*CEVNS, "--target", "CaWO4", "--source", "solar", "--solar-sources", "B8", "--out", str(out)]) == 0
    )
    solar = read_spectrum(out)
    edges = solar.energy_edges_eV
    assert edges == pytest.approx(np.geomspace(1, 1000, 31))
    wanted = cevns_spectrum(solar_flux(sources=("B8",)), target="CaWO4", energy_edges_eV=edges)
    assert solar.total_counts_per_kg_day == pytest.approx(wanted.total_counts_per_kg_day, rel=1e-12)
    members = source_members_of(solar, n_members=4000)
    relative = members["W"].std(axis=0) / solar.counts_per_kg_day["W"]
    assert relative[:20] == pytest.approx(0.12, rel=0.06)
    words = [
        "--source",
        "mono",
        "--neutrino-energy-MeV",
        "5",
        "--neutrino-flux-cm2-s",
        "1e10",
        "--target",
        "Al",
    ]
    assert main([*CEVNS, *words, "--out", str(out)]) == 0
    aluminium = parse_target("Al").isotopes[0]
    one = read_spectrum(out)
    found = one.total_counts_per_kg_day
    fine = np.linspace(1.0, 1000.0, 20001)
    exact = cevns_cross_section_cm2_per_eV(fine, 5.0, isotope=aluminium)
    whole = integrate.trapezoid(exact, fine) * 1e10 * aluminium.atoms_per_kg * SECONDS_PER_DAY
    assert found == pytest.approx(whole, rel=1e-4)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--source", "mono", "--neutrino-energy-MeV", "5"], "`--neutrino-flux-cm2-s` is missing"),
        (["--source", "solar", "--power-GW", "3"], "--power-GW belongs to --source reactor"),
        (["--source", "solar", "--solar-sources", "Be8"], "solar sources Be8: choose among pp"),
        (["--source", "solar", "--solar-sources", "B8", "B8"], "solar source B8 is named 2 times"),
        (["--source", "solar", "--enrich", "Si28=0.5", "Si28=0.2"], "share of Si28 is given twice"),
        (
            ["--power-GW", "3", "--distance-m", "9", "--fission-fractions", "U235=0.5", "U235=1"],
            "--fission-fractions U235 U235: name each once",
        ),
        ([], "`--power-GW` is missing"),
        (
            ["--solar-sources", "B8", "--power-GW", "3", "--distance-m", "9"],
            "--solar-sources belongs to",
        ),
        (["--power-GW", "3", "--distance-m", "9", "--fission-fractions", "U235=0.5"], "sum to 0.5"),
        (
            ["--source", "solar", "--u238-captures-per-fission", "0.6"],
            "fission belongs to --source reactor",
        ),
        (
            ["--power-GW", "3", "--distance-m", "9", "--u238-captures-per-fission", "7"],
            "less than or equal to 2; found 7",
        ),
        (
            ["--source", "solar", "--target", "Si[Si28=0.5]", "--enrich", "Si29=0.2"],
            "--target Si[Si28=0.5] and --enrich Si29=0.2 both enrich; use one of them",
        ),
        (["--source", "solar", "--enrich", "Si28=2"], "from 0 to 1, such as W183=0.9"),
        (["--source", "solar", "--energy-eV", "0", "10"], "logarithmic bins cannot begin at 0 eV"),
    ],
)
def test_sources_that_are_none_end_with_one_line(tmp_path, monkeypatch, capsys, words, message):
    from cascade_driver.cli import main

    monkeypatch.chdir(tmp_path)
    assert main([*CEVNS, "--target", "Si", *words, "--out", "x.csv"]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not (tmp_path / "x.csv").exists()
