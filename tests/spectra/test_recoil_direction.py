"""Directions of dark-matter recoils: the Radon transform against closed forms and sampling, frames and the sky."""

import datetime
import math

import numpy as np
import pytest

from cascade_driver.errors import InputError
from cascade_driver.simulation.outcome import CascadeTable
from cascade_driver.sources.dark_matter import HaloModel, earth_speed_km_s, mean_inverse_speed_s_km
from cascade_driver.spectra.recoil_direction import (
    galactic_to_equatorial,
    in_the_wind,
    laboratory_velocity_km_s,
    radon_transform_s_km,
    recoil_direction_density_per_sr,
)
from cascade_driver.target import parse_target

TUNGSTEN = next(i for i in parse_target("W").isotopes if i.mass_number == 184)
VELOCITY = np.array([30.0, -120.0, 220.0])
HALO = HaloModel(earth_speed_km_s=float(np.linalg.norm(VELOCITY)))


def sphere(n=200_000):
    i = np.arange(n) + 0.5
    z, phi = 1 - 2 * i / n, np.pi * (1 + 5**0.5) * i
    return np.stack([np.sqrt(1 - z * z) * np.cos(phi), np.sqrt(1 - z * z) * np.sin(phi), z], axis=1)


@pytest.mark.parametrize("speed", [0.0, 150.0, 400.0, 700.0])
def test_over_all_directions_the_transform_is_the_mean_inverse_speed(speed):
    whole = 4 * np.pi * radon_transform_s_km(speed, sphere(), halo=HALO, velocity_km_s=VELOCITY).mean()
    assert whole == pytest.approx(2 * np.pi * float(mean_inverse_speed_s_km(speed, HALO)), rel=1e-4)


def test_the_transform_is_what_sampled_particles_have_along_a_direction():
    rng = np.random.default_rng(1)
    v = rng.normal(scale=HALO.most_probable_speed_km_s / math.sqrt(2), size=(2_000_000, 3))
    v = v[np.linalg.norm(v, axis=1) < HALO.escape_speed_km_s] - VELOCITY
    q = np.array([0.36, -0.48, -0.8])
    edges = np.linspace(-200.0, 600.0, 9)
    found = np.histogram(v @ q, bins=edges)[0] / len(v)
    fine = np.linspace(-200.0, 600.0, 8001)
    density = radon_transform_s_km(fine, q, halo=HALO, velocity_km_s=VELOCITY)
    cumulative = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2) * 0.1])
    exact = np.diff(np.interp(edges, fine, cumulative))
    assert found == pytest.approx(exact, abs=5 * math.sqrt(0.25 / len(v)))  # five standard deviations


def test_recoils_come_from_ahead_and_their_distribution_is_normalised():
    directions = sphere(50_000)
    for energy in (20.0, 100.0, 200.0):
        density = recoil_direction_density_per_sr(
            directions, energy, mass_GeV=2.0, isotope=TUNGSTEN, velocity_km_s=VELOCITY
        )
        assert 4 * np.pi * density.mean() == pytest.approx(1.0, rel=2e-3)
        ahead = directions @ VELOCITY / np.linalg.norm(VELOCITY)
        # the wind blows against the motion of the detector, harder recoils follow it more closely
        assert np.average(ahead, weights=density) < -0.3
    far = recoil_direction_density_per_sr(directions, 5e3, mass_GeV=2.0, isotope=TUNGSTEN, velocity_km_s=VELOCITY)
    assert far.max() == 0
    at_rest = recoil_direction_density_per_sr(
        directions, 20.0, mass_GeV=2.0, isotope=TUNGSTEN, velocity_km_s=(0.0, 0.0, 0.0)
    )
    assert at_rest == pytest.approx(1 / (4 * np.pi), rel=1e-6)
    with pytest.raises(InputError, match="three numbers"):
        recoil_direction_density_per_sr(directions, 20.0, mass_GeV=2.0, isotope=TUNGSTEN, velocity_km_s=(1.0,))


def test_the_galactic_frame_lies_where_the_sky_has_it():
    turn = galactic_to_equatorial()
    assert turn @ turn.T == pytest.approx(np.eye(3), abs=1e-12)
    assert np.linalg.det(turn) == pytest.approx(1.0)
    centre = turn[:, 0]
    # Sgr A*, the dynamical centre, lies within 0.1 degrees: 17h 45m 40s, -29.008 degrees (J2000)
    ra, dec = math.radians(15 * (17 + 45 / 60 + 40 / 3600)), math.radians(-29.008)
    star = np.array([math.cos(dec) * math.cos(ra), math.cos(dec) * math.sin(ra), math.sin(dec)])
    assert math.degrees(math.acos(centre @ star)) < 0.1


def test_the_wind_turns_once_in_a_sidereal_day_and_passes_where_its_declination_says():
    place = {"latitude_deg": 42.45, "longitude_deg": 13.58}
    start = datetime.datetime(2026, 6, 1, tzinfo=datetime.UTC)
    hours = [start + datetime.timedelta(minutes=4 * i) for i in range(360)]
    velocity = np.array([laboratory_velocity_km_s(t, **place) for t in hours])
    # by day of the year: the speed of one date
    assert np.linalg.norm(velocity[:100], axis=1) == pytest.approx(earth_speed_km_s(start), rel=1e-9)
    zenith = np.degrees(np.arccos(velocity[:, 2] / np.linalg.norm(velocity, axis=1)))
    x, y, z = galactic_to_equatorial() @ np.array([11.1, 250.2, 7.3])
    declination = math.degrees(math.asin(z / math.sqrt(x * x + y * y + z * z)))
    # culminations of a star of that declination; the orbit of the Earth moves the direction by up to 7 degrees
    assert zenith.min() == pytest.approx(abs(declination - 42.45), abs=7.5)
    assert zenith.max() == pytest.approx(180 - (declination + 42.45), abs=7.5)
    later = laboratory_velocity_km_s(start + datetime.timedelta(hours=23.93447), **place)
    assert later == pytest.approx(velocity[0], abs=0.1)
    with pytest.raises(InputError, match="latitude 100"):
        laboratory_velocity_km_s(start, latitude_deg=100.0, longitude_deg=0.0)


def test_a_crystal_with_a_soft_axis_stores_more_when_the_wind_blows_along_it():
    rng = np.random.default_rng(2)
    vectors = sphere(400)
    of = np.repeat(np.arange(400), 5)
    share = vectors[:, 2] ** 2  # of the recoils along each direction that store energy
    table = CascadeTable(
        id=np.arange(len(of)).astype(str),
        species=np.full(len(of), "W"),
        recoil_energy_eV=np.full(len(of), 100.0),
        direction=vectors[of],
        direction_weight=np.full(len(of), 1 / 400),
        snapshot=np.tile(np.arange(5), 400),
        outcome=np.full(len(of), "completed"),
        stored_energy_eV=np.where(rng.random(len(of)) < share[of], 8.0, 0.0),
    )
    identity = np.eye(3)[None]
    fine = sphere(100_000)
    for velocity in ((0.0, 0.0, 250.0), (250.0, 0.0, 0.0)):
        weighted = in_the_wind(
            table, velocity_km_s=velocity, mass_GeV=2.0, isotope=TUNGSTEN, rotations=identity
        ).direction_weight
        found = float(np.average(share[of], weights=weighted))
        density = recoil_direction_density_per_sr(
            fine, 100.0, mass_GeV=2.0, isotope=TUNGSTEN, velocity_km_s=velocity
        )
        assert found == pytest.approx(float(np.average(fine[:, 2] ** 2, weights=density)), abs=0.01)
        assert (found > 0.45) == (velocity[2] > 0)
    oxygen = parse_target("O").isotopes[0]
    with pytest.raises(InputError, match="cascades of W in a table for recoils of O"):
        in_the_wind(table, velocity_km_s=VELOCITY, mass_GeV=2.0, isotope=oxygen, rotations=identity)
