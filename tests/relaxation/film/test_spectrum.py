"""The events of a film: printed rates, interpolation, sampling, flags, the spectrum in a detector."""

import dataclasses
import functools
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad

from cascade_driver.errors import InputError
from cascade_driver.relaxation.film.dislocation import Film, Steps, Tunnelling, pinned_length_nm
from cascade_driver.relaxation.film.dynamics import Interface, release
from cascade_driver.relaxation.film.energy_map import map_energies
from cascade_driver.relaxation.film.spectrum import (
    EnergyTable,
    FilmBackground,
    SteppedTable,
    film_spectrum,
    largest_stress_MPa,
    mean_pinning_distance_nm,
    read_film_background,
    sample_events,
    sample_stresses_MPa,
    tabulate,
)
from cascade_driver.schema import build
from cascade_driver.spectrum import read_spectrum, write_spectrum

PAPER = Tunnelling(exponent=900.0)

#: Of 1e5 samples; seeds are fixed, so that a test that passes passes always.
FALSE_ALARM = 1e-4


@functools.cache
def coarse_table(thickness_nm: float | None = None) -> EnergyTable:
    film, interface = Film(dislocation_spacing_nm=100), Interface(thickness_nm=thickness_nm)
    made = tabulate(film=film, interface=interface, start_nodes=13, stress_nodes=7)
    assert isinstance(made, EnergyTable)
    return made


def background(**changes):
    content = {"film_area_mm2": 10.0, "detector_mass_kg": 0.01, "events": 100_000, "tunnelling": PAPER}
    return FilmBackground(**(content | {"film": Film(dislocation_spacing_nm=100)} | changes))


@functools.cache
def published_table() -> SteppedTable:
    """Table of the shipped input, for the widest of its films."""
    wanted = read_film_background(Path("film-published.toml")).films()[-1]
    table = tabulate(film=wanted.film, interface=wanted.interface, start_nodes=13)
    assert isinstance(table, SteppedTable)
    return table


def test_printed_rates_follow_from_the_reading_of_the_published_program():
    # 6.0, 16.2 and 16.4 mHz/mm2 for 30, 60 and 100 nm (Sec. VI); printed to 0.8 % and sampled to 0.7 % each.
    films = read_film_background(Path("film-published.toml"), {"events": 500_000}).films()
    spacings = [one.film.dislocation_spacing_nm for one in films]
    rates = [1e3 * film_spectrum(one, table=published_table()).nonzero_rate_per_mm2_Hz for one in films]
    assert dict(zip(spacings, rates, strict=True)) == pytest.approx({30: 6.0, 60: 16.2, 100: 16.4}, rel=0.02)
    assert "the steps of the published program" in films[0].reading
    assert "1.5 to 5.5 times the printed rates" in background().reading
    assert "less than there" in background(interface=Interface(thickness_nm=100.0)).reading


@pytest.mark.parametrize(("h_nm", "stress_MPa", "row_MPa", "starts"), [(20.0, 7.0, 25, 3), (41.0, 30.0, 30, 12)])
def test_steps_take_the_next_row_and_add_up_the_starts_that_are_closer(h_nm, stress_MPa, row_MPa, starts):
    table = published_table()
    below = 10.0 + 2.5 * np.arange(1, starts + 1)
    assert below[-1] < h_nm <= below[-1] + 2.5
    density = [
        release(h, stress_MPa=row_MPa, interface=table.interface, above_gap_only=True).crystal_above_gap_eV_per_nm
        for h in below
    ]
    expected = 2.5 * sum(density) * float(pinned_length_nm(stress_MPa, metal=table.interface.metal)) / h_nm
    assert float(table.energy_eV(h_nm, stress_MPa)) == pytest.approx(expected, rel=0.01)


def test_map_has_the_contours_of_figure_5():
    # Read off the figure: 50 eV at (180 nm, 25 MPa) and (100 nm, 41 MPa); shares from 0.79 to 0.955.
    found = map_energies(published_table(), pinning_distance_nm=[100, 180, 400], stress_MPa=[25, 41, 47])
    assert found.crystal_eV[0, 1] == pytest.approx(50, rel=0.06)
    assert found.crystal_eV[1, 0] == pytest.approx(50, rel=0.06)
    assert found.crystal_share[1, 0] == pytest.approx(0.82, abs=0.03)
    assert found.crystal_share[2, 2] == pytest.approx(0.945, abs=0.02)
    assert not found.is_supersonic[0, 0]
    assert found.is_supersonic[1, 1]
    lines = found.as_csv().splitlines()
    assert len(lines) == 10
    assert lines[0] == "pinning_distance_nm,stress_MPa,crystal_eV,film_eV,crystal_share,supersonic"


def test_map_is_blank_beyond_the_table_and_further_out_more_is_radiated_within():
    table, far = published_table(), np.geomspace(50, 5000, 60)
    found = map_energies(table, pinning_distance_nm=far, stress_MPa=[25, 41])
    for row, stress in zip(found.crystal_eV, found.stress_MPa, strict=True):
        known = np.isfinite(row)
        assert known[0]
        assert not known[-1]
        assert np.all(np.diff(row[known]) >= 0)
        # Negative control: the table's own answer there is that of its last start, spread over the distance.
        assert np.any(np.diff(table.rows.energy_eV(far, stress)) < 0)
    assert found.as_csv().splitlines()[60].endswith(",,,,1")


def test_steps_become_the_integral_as_they_get_fine():
    film = Film(dislocation_spacing_nm=60, lowest_start_nm=10.0, steps=Steps(stress_MPa=5.0, start_nm=0.1))
    fine = tabulate(film=film, interface=Interface(), start_nodes=13)
    integral = tabulate(
        film=dataclasses.replace(film, steps=None), interface=Interface(), start_nodes=13, stress_nodes=7
    )
    for h, row_MPa in ((40.0, 45.0), (80.0, 55.0)):
        expected = float(integral.energy_eV(h, row_MPa))
        assert float(fine.energy_eV(h, row_MPa - 4.9)) == pytest.approx(
            expected * row_MPa / (row_MPa - 4.9), rel=0.03
        )


def test_printed_equations_themselves_give_other_rates_than_printed():
    # What Eq. 1 to 16 give with 25 GPa and 2 Delta = 0.34 meV: 33, 33 and 25 mHz/mm2, not 6.0, 16.2 and 16.4.
    for spacing_nm, rate_mHz in ((30, 33.0), (60, 33.4), (100, 24.9)):
        spectrum = film_spectrum(background(film=Film(dislocation_spacing_nm=spacing_nm)), table=coarse_table())
        assert 1e3 * spectrum.nonzero_rate_per_mm2_Hz == pytest.approx(rate_mHz, rel=0.03)


@pytest.mark.parametrize(
    ("h_nm", "stress_MPa", "thickness_nm"),
    [(30.0, 55.0, None), (60.0, 45.0, None), (150.0, 30.0, None), (60.0, 45.0, 150.0), (132.0, 40.0, 150.0)],
)
def test_tabulated_energy_agrees_with_direct_integration(h_nm, stress_MPa, thickness_nm):
    # A table of a quarter of the default nodes; that of the default is checked in the physics ring.
    table = coarse_table(thickness_nm)
    first = float(table._first(np.array([stress_MPa]))[0])
    direct = direct_energy_eV(h_nm, stress_MPa, first_nm=first, interface=table.interface)
    assert direct == pytest.approx(float(table.energy_eV(h_nm, stress_MPa)), rel=0.05)


def direct_energy_eV(h_nm: float, stress_MPa: float, *, first_nm: float, interface: Interface) -> float:
    """Eq. A12 by Gauss-Legendre over trajectories, h = first + (h_max - first) u^2."""
    u, weight = np.polynomial.legendre.leggauss(12)
    u, weight = 0.5 * (u + 1), 0.5 * weight
    starts = first_nm + (h_nm - first_nm) * u**2
    density = [release(float(h), stress_MPa=stress_MPa, interface=interface, above_gap_only=True) for h in starts]
    crystal = np.array([one.crystal_above_gap_eV_per_nm for one in density])
    length = float(pinned_length_nm(stress_MPa, metal=interface.metal))
    return float(length / h_nm * (h_nm - first_nm) * np.sum(weight * 2 * u * crystal))


@pytest.mark.physics
def test_interpolation_of_the_default_table_is_as_good_as_stated():
    table = tabulate(film=Film(dislocation_spacing_nm=100), interface=Interface())
    assert table.interpolation_error < 0.01
    assert table.largest_balance_error < 1e-6
    events = sample_events(table, film=table.film, size=400, generator=np.random.default_rng(2))
    counted = np.flatnonzero(events.energy_eV > 1.0)[:60]
    assert len(counted) == 60
    for index in counted:
        h, tau = float(events.pinning_distance_nm[index]), float(events.stress_MPa[index])
        first = float(table._first(np.array([tau]))[0])
        assert events.energy_eV[index] == pytest.approx(
            direct_energy_eV(h, tau, first_nm=first, interface=table.interface), rel=0.01
        )


@pytest.mark.physics
@pytest.mark.parametrize(
    ("film", "interface"),
    [
        ({"bulk_stress_MPa": 1000.0}, {}),
        ({"dislocation_spacing_nm": 1000.0}, {}),
        ({"largest_start_nm": 80.0}, {}),
        ({"stress_sampling": "program"}, {"beyond_domain": "stop"}),
        ({}, {"image_force": "equation_7", "frequency_form": "consistent"}),
        ({}, {"frequency_form": "consistent"}),
        ({}, {"pair_breaking_energy_meV": 0.05}),
        ({}, {"metal": "Au"}),
        ({}, {"metal": "Cu", "substrate_shear_modulus_GPa": 160.0}),
        ({}, {"substrate_shear_modulus_GPa": 28.0}),
    ],
)
def test_films_of_all_kinds_have_a_spectrum_with_closed_balance(film, interface):
    wanted = FilmBackground(
        film=Film(**film), interface=Interface(**interface), film_area_mm2=1.0, detector_mass_kg=1.0, events=50_000
    )
    table = tabulate(film=wanted.film, interface=wanted.interface, start_nodes=13, stress_nodes=7)
    spectrum = film_spectrum(wanted, table=table)
    assert table.largest_balance_error < 1e-6
    assert 0 < spectrum.nonzero_share < 1
    assert 0.5 < spectrum.crystal_share < 1
    assert spectrum.outside_domain_share <= 1


@pytest.mark.physics
def test_starts_that_do_not_count_are_taken_off_exactly():
    # E_tot h / L is an integral from the lowest start: the difference is the part below 10 nm.
    whole = tabulate(film=Film(), interface=Interface())
    film = Film(lowest_start_nm=10.0)
    part = tabulate(film=film, interface=Interface())
    for h, tau in ((30.0, 55.0), (80.0, 58.0), (60.0, 50.0)):
        expected = float(whole.energy_eV(h, tau)) - float(whole.energy_eV(10.0, tau)) * 10.0 / h
        assert float(part.energy_eV(h, tau)) == pytest.approx(expected, rel=0.01)


def test_stresses_have_the_distribution_of_equations_13_and_14():
    film = Film(bulk_stress_MPa=120.0)
    stress = sample_stresses_MPa(100_000, film=film, generator=np.random.default_rng(1))
    assert stress.max() <= largest_stress_MPa(film) == 60.0
    # sin(theta) = s uniform, tau = sigma0 s sqrt(1 - s^2): Pr(tau < t) is 1 - (s+ - s-), the roots of tau(s) = t.
    x = np.sqrt(1 - np.minimum(2 * stress / 120.0, 1) ** 2)
    cdf = 1 - (np.sqrt((1 + x) / 2) - np.sqrt((1 - x) / 2))
    assert stats.kstest(cdf, "uniform").pvalue > FALSE_ALARM
    other = sample_stresses_MPa(100_000, film=Film(stress_sampling="program"), generator=np.random.default_rng(1))
    assert other.max() <= largest_stress_MPa(Film(stress_sampling="program")) < 60.0
    # Its mean: sigma0/2 <sin 2 theta cos theta> = sigma0/2 (2/pi) (2/3).
    assert other.mean() == pytest.approx(120 / 2 * 4 / (3 * np.pi), rel=0.01)


def test_pinning_distances_are_exponential_with_the_density_times_the_length():
    table = coarse_table()
    film = Film(dislocation_spacing_nm=60)
    events = sample_events(table, film=film, size=100_000, generator=np.random.default_rng(3))
    mean = mean_pinning_distance_nm(events.stress_MPa, film=film, interface=table.interface)
    assert stats.kstest(events.pinning_distance_nm / mean, "expon").pvalue > FALSE_ALARM
    # rho L h has no dimension: 60 nm squared over the 124 nm of 46 MPa.
    expected = 60**2 / (0.8 * 25e3 * 0.286 / 46)
    assert float(mean_pinning_distance_nm(46.0, film=film, interface=Interface())) == pytest.approx(expected)


def test_no_event_lies_beyond_the_film():
    film = Film(dislocation_spacing_nm=100, largest_start_nm=80.0)
    table = dataclasses.replace(coarse_table(), film=film)
    events = sample_events(table, film=film, size=20_000, generator=np.random.default_rng(1))
    assert events.pinning_distance_nm.max() <= 80.0


def test_what_is_pinned_where_the_free_surface_pulls_more_strongly_has_no_energy():
    film = Film(dislocation_spacing_nm=100)
    events, endless = (
        sample_events(coarse_table(d), film=film, size=20_000, generator=np.random.default_rng(1))
        for d in (150.0, None)
    )
    np.testing.assert_array_equal(events.pinning_distance_nm, endless.pinning_distance_nm)
    # mu b / (4 pi s) is the stress that the image of a free surface exerts at a depth s: 25 GPa, 0.286 nm. The
    # images in the interface add a little.
    depth = 150.0 - events.pinning_distance_nm
    is_out = 25e3 * 0.286 / (4 * np.pi * np.maximum(depth, 1e-9)) > events.stress_MPa
    assert np.all(events.energy_eV[is_out] == 0)
    assert np.sum(endless.energy_eV[is_out] > 1.0) > 0  # negative control: they would have had some
    # The others have less than without a surface.
    both = (events.energy_eV > 1.0) & (endless.energy_eV > 1.0)
    assert both.sum() > 1000
    assert np.all(events.energy_eV[both] < endless.energy_eV[both])


def test_share_of_non_zero_events_agrees_with_quadrature():
    # Pr(h > first(tau)) = exp(-first/mean), over s = sin(theta); the cut of 1e-6 eV is that of no energy at all.
    table = coarse_table()
    film = dataclasses.replace(table.film, nonzero_cut_eV=1e-6)
    s = np.linspace(0, 1, 20_001)[1:-1]
    tau = film.bulk_stress_MPa * s * np.sqrt(1 - s**2)
    mean = mean_pinning_distance_nm(tau, film=film, interface=table.interface)
    reaches = np.where(tau >= table.stress_MPa[0], np.exp(-table._first(tau) / mean), 0.0)
    events = sample_events(table, film=film, size=200_000, generator=np.random.default_rng(5))
    # Four standard deviations of the sample.
    assert np.mean(events.is_nonzero) == pytest.approx(np.trapezoid(reaches, s), abs=4 * 0.0011 + 1e-4)


def test_rate_scales_as_one_over_the_age_and_with_area_and_mass():
    young = film_spectrum(background(), table=coarse_table())
    old = film_spectrum(background(days_since_cooldown=70.0), table=coarse_table())
    np.testing.assert_allclose(young.rate_per_mm2_s_eV, 10 * old.rate_per_mm2_s_eV, rtol=1e-12)
    large = film_spectrum(background(film_area_mm2=30.0, detector_mass_kg=0.02), table=coarse_table())
    assert large.in_detector().total_counts_per_kg_day == pytest.approx(
        1.5 * young.in_detector().total_counts_per_kg_day, rel=1e-12
    )


def test_spectrum_in_the_detector_has_the_events_of_the_film(tmp_path):
    spectrum = film_spectrum(background(energy_eV=(0.0, 20_000.0), bins=2000), table=coarse_table())
    per_day = spectrum.nonzero_rate_per_mm2_Hz * 10.0 * 86400 / 0.01
    assert spectrum.in_detector().total_counts_per_kg_day == pytest.approx(per_day, rel=1e-12)
    write_spectrum(spectrum.in_detector(), tmp_path / "film.csv")
    back = read_spectrum(tmp_path / "film.csv")
    assert back.energy_kind == "observed"
    assert back.metadata["days_since_cooldown"] == "7.0"
    np.testing.assert_array_equal(back.total_rate_per_kg_day_keV, spectrum.in_detector().total_rate_per_kg_day_keV)


def test_events_outside_the_model_are_flagged_and_counted():
    table = coarse_table()
    events = sample_events(table, film=table.film, size=50_000, generator=np.random.default_rng(1))
    assert 0.2 < events.share_of_nonzero(events.leaves_domain) < 0.4
    assert 0.4 < events.share_of_nonzero(events.is_supersonic) < 0.6
    # What leaves has been faster than sound before: flags are nested.
    assert not np.any(events.leaves_domain & ~events.is_supersonic)
    index = int(np.argmax(events.leaves_domain))
    outermost = release(
        float(events.pinning_distance_nm[index]) * 1.01,
        stress_MPa=float(events.stress_MPa[index]),
        interface=table.interface,
    )
    assert outermost.left_domain


def test_denser_films_have_softer_spectra():
    means = []
    for spacing_nm in (30, 60, 100):
        film = Film(dislocation_spacing_nm=spacing_nm)
        events = sample_events(coarse_table(), film=film, size=20_000, generator=np.random.default_rng(1))
        means.append(events.energy_eV[events.is_nonzero].mean())
    assert means == sorted(means)


def test_same_seed_gives_the_same_spectrum():
    one, two = (film_spectrum(background(seed=7), table=coarse_table()) for _ in range(2))
    np.testing.assert_array_equal(one.events_per_bin, two.events_per_bin)


def test_energy_is_zero_where_nothing_reaches_the_barrier():
    table = coarse_table()
    assert float(table.energy_eV(1.0, 45.0)) == 0.0
    assert float(table.energy_eV(50.0, 0.5)) == 0.0


def test_means_of_a_known_density_are_exact():
    from cascade_driver.relaxation.film.spectrum import _running_means

    s = np.linspace(0, 1, 9)
    means = _running_means(s[None, :] ** 3, s)
    expected = [quad(lambda x: 2 * x**4, 0, one)[0] / one**2 if one else 0.0 for one in s]
    np.testing.assert_allclose(means[0], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: coarse_table().energy_eV(10.0, 70.0), "but the table ends at 60 MPa"),
        (
            lambda: sample_events(
                coarse_table(), film=Film(lock_strength=0.1), size=1, generator=np.random.default_rng()
            ),
            r"another film \(lock_strength\)",
        ),
        (
            lambda: sample_events(
                coarse_table(), film=Film(dislocation_spacing_nm=200), size=1, generator=np.random.default_rng()
            ),
            r"another film \(dislocation_spacing_nm\)",
        ),
        (
            lambda: sample_events(coarse_table(), film=Film(), size=0, generator=np.random.default_rng()),
            "0 events asked for",
        ),
        (lambda: tabulate(film=Film(), interface=Interface(), start_nodes=8), "odd numbers of at least 7"),
        (lambda: tabulate(film=Film(dislocation_spacing_nm=2), interface=Interface()), "there are no events"),
        (
            lambda: tabulate(film=Film(), interface=Interface(pair_breaking_energy_meV=5)),
            "above all phonon energies",
        ),
        (
            lambda: film_spectrum(
                background(interface=Interface(substrate_shear_modulus_GPa=60)), table=coarse_table()
            ),
            "another interface",
        ),
        (lambda: build(FilmBackground, {"film_area_mm2": 1}, origin="x"), "`detector_mass_kg` is missing"),
        (
            lambda: build(
                FilmBackground, {"film_area_mm2": 1, "detector_mass_kg": 1, "energy_eV": [5, 4]}, origin="x"
            ),
            "two rising energies",
        ),
    ],
)
def test_parameters_outside_the_domain_get_one_clear_line(call, message):
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
