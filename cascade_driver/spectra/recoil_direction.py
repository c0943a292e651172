"""Where dark matter sends the recoils: their directions in the laboratory and in the crystal, hour by hour."""

from __future__ import annotations

import datetime
import math

import numpy as np
from numpy.typing import ArrayLike

from cascade_driver.analysis.directional import along
from cascade_driver.errors import InputError
from cascade_driver.kinds import Array
from cascade_driver.simulation.outcome import CascadeTable
from cascade_driver.sources.dark_matter import (
    HaloModel,
    earth_velocity_km_s,
    least_speed_km_s,
    mean_inverse_speed_s_km,
)
from cascade_driver.target import Isotope
from cascade_driver.units import SECONDS_PER_DAY

#: Right ascension and declination of the north galactic pole, and galactic longitude of the north celestial pole,
#: in degrees (J2000): the definition of Blaauw et al. 1960 (doi:10.1093/mnras/121.2.123), precessed.
_POLE_DEG = (192.85948, 27.12825, 122.93192)

#: Sidereal time of Greenwich: degrees at noon of 2000-01-01 (UTC) and degrees per day since.
_SIDEREAL_DEG = (280.46062, 360.98564737)
_NOON_2000 = datetime.datetime(2000, 1, 1, 12, tzinfo=datetime.UTC)


def radon_transform_s_km(
    speed_km_s: ArrayLike, direction: ArrayLike, *, halo: HaloModel, velocity_km_s: ArrayLike
) -> Array:
    r"""Return how many particles have a velocity component w along a direction, per km/s: the Radon transform.

    .. math:: \hat f(w, \hat q) = \int \delta(\vec v \cdot \hat q - w)\, f(\vec v + \vec V)\, d^3v
        = \frac{1}{\sqrt\pi N v_0} \left[ e^{-(w + \hat q \cdot \vec V)^2 / v_0^2} - e^{-z^2} \right]

    where :math:`|w + \hat q \cdot \vec V| < v_\mathrm{esc}`, else 0; z = v_esc/v0 and
    N = erf z - 2 z exp(-z^2)/sqrt(pi). A nucleus that recoils along q with an energy of least speed w was hit by
    such a particle: this is the distribution of recoils over directions. Its integral over all of them is
    :math:`2 \pi \eta(w)`. Gondolo 2002, doi:10.1103/PhysRevD.66.103513.

    Parameters
    ----------
    speed_km_s : (...) array_like
        w.
    direction : (..., 3) array_like
        Unit vectors q.
    halo : HaloModel
        v0 and v_esc; its speed of the Earth is not used.
    velocity_km_s : (3,) array_like
        V of the detector in the galaxy, in the frame of the directions.
    """
    v0, z = halo.most_probable_speed_km_s, halo.escape_speed_km_s / halo.most_probable_speed_km_s
    norm = math.erf(z) - 2.0 * z * math.exp(-z * z) / math.sqrt(math.pi)
    x = (np.asarray(speed_km_s, dtype=np.float64) + np.asarray(direction) @ np.asarray(velocity_km_s)) / v0
    inside = np.maximum(np.exp(-np.minimum(x * x, z * z)) - math.exp(-z * z), 0.0)
    return np.asarray(inside / (math.sqrt(math.pi) * norm * v0))


def recoil_direction_density_per_sr(
    direction: ArrayLike,
    recoil_energy_eV: ArrayLike,
    *,
    mass_GeV: float,
    isotope: Isotope,
    velocity_km_s: ArrayLike,
    halo: HaloModel | None = None,
) -> Array:
    r"""Return the distribution of recoils of one energy over directions, normalised to 1; 0 above the highest.

    .. math:: p(\hat q \mid E_R) = \frac{\hat f(v_\mathrm{min}(E_R), \hat q)}{2 \pi\, \eta(v_\mathrm{min}(E_R))}

    Parameters
    ----------
    direction : (..., 3) array_like
        Unit vectors q.
    recoil_energy_eV : (...) array_like
    mass_GeV : float
        Of the particle.
    isotope : Isotope
        That recoils.
    velocity_km_s : (3,) array_like
        Of the detector in the galaxy, in the frame of the directions.
    halo : HaloModel, optional

    Raises
    ------
    InputError
        If the velocity is not three finite numbers.
    """
    velocity = np.asarray(velocity_km_s, dtype=np.float64)
    if velocity.shape != (3,) or not np.all(np.isfinite(velocity)):
        raise InputError(f"velocity of the detector is {velocity.tolist()}, expected three numbers in km/s")
    given = halo or HaloModel()
    moving = HaloModel(
        density_GeV_cm3=given.density_GeV_cm3,
        most_probable_speed_km_s=given.most_probable_speed_km_s,
        escape_speed_km_s=given.escape_speed_km_s,
        earth_speed_km_s=float(np.linalg.norm(velocity)),
    )
    least = least_speed_km_s(recoil_energy_eV, mass_GeV=mass_GeV, isotope=isotope)
    whole = 2.0 * math.pi * mean_inverse_speed_s_km(least, moving)
    along_q = radon_transform_s_km(least, direction, halo=moving, velocity_km_s=velocity)
    return np.divide(
        along_q, whole, out=np.zeros(np.broadcast_shapes(along_q.shape, whole.shape)), where=whole > 0
    )


def galactic_to_equatorial() -> Array:
    """Return the (3, 3) rotation from the galactic frame (centre, rotation, pole) to the equatorial one of J2000.

    Examples
    --------
    The motion of the Sun about the galaxy points to Cygnus, right ascension 318.0 and declination 48.3 degrees:

    >>> x, y, z = galactic_to_equatorial() @ [0.0, 1.0, 0.0]
    >>> round(math.degrees(math.atan2(y, x)) % 360, 1), round(math.degrees(math.asin(z)), 1)
    (318.0, 48.3)
    """
    ra, dec, node = np.radians(_POLE_DEG)
    pole = np.array([math.cos(dec) * math.cos(ra), math.cos(dec) * math.sin(ra), math.sin(dec)])
    # the celestial pole lies at the longitude `node`; what is north there and east of it span the galactic plane
    celestial = np.array([0.0, 0.0, 1.0])
    toward_celestial = celestial - pole * (celestial @ pole)
    toward_celestial /= np.linalg.norm(toward_celestial)
    ahead = np.cross(pole, toward_celestial)
    centre = math.cos(node) * toward_celestial - math.sin(node) * ahead
    return np.stack([centre, np.cross(pole, centre), pole], axis=1)


def laboratory_velocity_km_s(time: datetime.datetime, *, latitude_deg: float, longitude_deg: float) -> Array:
    """Return the velocity of a laboratory in the galaxy, in its own frame: towards east, north and zenith.

    Sun and Earth as in `earth_velocity_km_s`; the turning of the Earth itself, below 0.5 km/s, is left out of the
    speed, but turns the frame once per sidereal day.

    Parameters
    ----------
    time : datetime.datetime
        Without a time zone it is UTC.
    latitude_deg, longitude_deg : float
        North and east are positive.

    Raises
    ------
    InputError
        If the place is none on Earth.
    """
    if not (abs(latitude_deg) <= 90 and abs(longitude_deg) <= 360):
        raise InputError(
            f"latitude {latitude_deg:g} and longitude {longitude_deg:g} degrees: expected -90 to 90 and -180 to "
            "180"
        )
    utc = time if time.tzinfo is not None else time.replace(tzinfo=datetime.UTC)
    days = (utc - _NOON_2000).total_seconds() / SECONDS_PER_DAY
    sidereal = math.radians(_SIDEREAL_DEG[0] + _SIDEREAL_DEG[1] * days + longitude_deg)
    latitude = math.radians(latitude_deg)
    east = np.array([-math.sin(sidereal), math.cos(sidereal), 0.0])
    zenith = np.array(
        [math.cos(latitude) * math.cos(sidereal), math.cos(latitude) * math.sin(sidereal), math.sin(latitude)]
    )
    frame = np.stack([east, np.cross(zenith, east), zenith])
    return np.asarray(frame @ galactic_to_equatorial() @ earth_velocity_km_s(utc))


def in_the_wind(
    table: CascadeTable,
    *,
    velocity_km_s: ArrayLike,
    mass_GeV: float,
    isotope: Isotope,
    rotations: Array,
    halo: HaloModel | None = None,
) -> CascadeTable:
    """Return cascades of one species weighted as dark matter sends them, each energy by its own distribution.

    Fits and responses of the returned table are those of that hour: `laboratory_velocity_km_s` turned into the
    crystal frame, for a series of times, gives the daily modulation.

    Parameters
    ----------
    table : CascadeTable
        Of the species of the isotope.
    velocity_km_s : (3,) array_like
        Of the detector in the galaxy, in the crystal frame.
    mass_GeV : float
    isotope : Isotope
    rotations : (g, 3, 3) float
        Point group of the site, as from `simulation.knock_on.site_rotations`.
    halo : HaloModel, optional

    Raises
    ------
    InputError
        If cascades of another species are in the table, or no recoil of that particle reaches any of its energies.
    """
    others = sorted({str(s) for s in table.species} - {isotope.symbol})
    if others:
        raise InputError(
            f"cascades of {', '.join(others)} in a table for recoils of {isotope.symbol}: select it first"
        )
    # normalised at each energy: the sampled energies keep the weight that the campaign gave them
    return along(
        table,
        lambda vectors: (
            recoil_direction_density_per_sr(
                vectors,
                table.recoil_energy_eV,
                mass_GeV=mass_GeV,
                isotope=isotope,
                velocity_km_s=velocity_km_s,
                halo=halo,
            )
            * 4.0
            * math.pi
        ),
        rotations=rotations,
    )
