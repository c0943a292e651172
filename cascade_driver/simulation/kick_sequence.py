r"""Several kicks on one nucleus: gammas that it emits one after the other, while it still moves.

A nucleus at rest that emits a gamma recoils with :math:`E = p^2 / 2M`, :math:`p = E_\gamma / c`. One that moves
with the kinetic energy T gains or loses

.. math:: W = E + 2 \sqrt{T E} \, \cos\theta

where theta is the angle between its motion and the kick. Its limits are the prompt cascade (T is the first recoil
energy, theta the angle between the two gammas) and the slow one (T = 0: each recoil by itself). Between them the
crystal decides, and is simulated: `LaterKick` adds its momentum to the velocity that the atom has.

Energies are those of the isotope; the atom that is simulated has the mean mass of its element, so that all times
are too short by the square root of the ratio of the masses, 1.6 % for 29Si.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, field_validator, model_validator

from cascade_driver.errors import InputError
from cascade_driver.schema import parameters
from cascade_driver.simulation.frame import Direction, direction_in_box, is_direction
from cascade_driver.simulation.spec import KnockOn, LaterKick
from cascade_driver.units import AMU_MeV

#: Digits kept of a direction and of a time in fs: beyond the noise of a logarithm on another machine.
_DIGITS, _TIME_DIGITS = 9, 6


@parameters
class ThenSpec:
    """A kick after the first: one table `[[recoils.then]]`; several follow each other.

    Attributes
    ----------
    delay_fs : float, optional
        Time after the kick before it; 0 for a prompt gamma.
    lifetime_fs : float, optional
        Instead: mean life of the level (half-life / ln 2); each cascade draws its own delay.
    recoil_energy_eV : float, optional
        Energy that the kick would give to the nucleus at rest.
    gamma_keV, mass_u : float, optional
        Instead: energy of the gamma (its momentum in keV/c), and mass of the nucleus that recoils.
    direction : optional
        Of the recoil: three Cartesian components in the frame of the box, of any length, or indices of the
        crystal, `"[1 1 0]"` or `"(1 1 0)"`; isotropic by default, each cascade draws its own.
    angle_deg : float, optional
        Instead: angle to the first kick, at an azimuth that each cascade draws.
    """

    delay_fs: float | None = Field(default=None, ge=0)
    lifetime_fs: float | None = Field(default=None, gt=0)
    recoil_energy_eV: float | None = Field(default=None, gt=0)
    gamma_keV: float | None = Field(default=None, gt=0)
    mass_u: float | None = Field(default=None, gt=0)
    direction: Direction | None = None
    angle_deg: float | None = Field(default=None, ge=0, le=180)

    @field_validator("direction", mode="before")
    @classmethod
    def _isotropic_is_none(cls, direction: object) -> object:
        if direction == "isotropic":
            return None
        if isinstance(direction, str) and not is_direction(direction):
            raise ValueError('expected three numbers or "isotropic", or indices as in "[1 -1 0]" or "(1 1 0)"')
        return direction

    @model_validator(mode="after")
    def _is_one_of_each(self) -> ThenSpec:
        if (self.delay_fs is None) == (self.lifetime_fs is None):
            raise ValueError("a later kick has either `delay_fs` or `lifetime_fs`, the mean life before it")
        if (self.recoil_energy_eV is None) == (self.gamma_keV is None):
            raise ValueError("a later kick has either `recoil_energy_eV` or `gamma_keV` with `mass_u`")
        if (self.gamma_keV is None) != (self.mass_u is None):
            raise ValueError("`gamma_keV` and `mass_u`, the mass of the nucleus that recoils, go together")
        if self.direction is not None and self.angle_deg is not None:
            raise ValueError("a later kick has either `direction` or `angle_deg`; remove one")
        if self.direction is not None and not any(self.direction):
            raise ValueError("the `direction` of a later kick is zero; give its recoil's, or leave it out")
        return self

    def in_box(self, axes_A: NDArray[np.float64]) -> ThenSpec:
        """Return the same with a Cartesian direction; `axes_A` are a, b, c in the frame of the box."""
        if not isinstance(self.direction, str):
            return self
        return replace(self, direction=direction_in_box(self.direction, axes_A=axes_A))

    @property
    def energy_eV(self) -> float:
        """Recoil energy from rest."""
        if self.gamma_keV is not None and self.mass_u is not None:
            return float(recoil_energy_of_momentum_eV(self.gamma_keV, mass_u=self.mass_u))
        return float(self.recoil_energy_eV or 0.0)


def draw_later_kicks(
    then: Sequence[ThenSpec], *, first_direction: Sequence[float], rng: np.random.Generator
) -> tuple[LaterKick, ...]:
    """Return the kicks that one cascade gets after its first one.

    Three random numbers are drawn for each, needed or not: two campaigns that differ in a delay alone kick along
    the same directions.

    Parameters
    ----------
    then : sequence of ThenSpec
        As asked for, in their order.
    first_direction : three float
        Direction of the first kick.
    rng : numpy.random.Generator
        Of the cascade.
    """
    kicks = []
    time_fs = 0.0
    for wanted in then:
        share, height, turn = rng.random(3)
        time_fs += -math.log1p(-share) * wanted.lifetime_fs if wanted.lifetime_fs else wanted.delay_fs or 0.0
        if wanted.direction is not None:
            direction = np.asarray(wanted.direction, dtype=np.float64)
        elif wanted.angle_deg is not None:
            direction = _at_angle(first_direction, math.cos(math.radians(wanted.angle_deg)), turn)
        else:
            direction = _at_angle((0.0, 0.0, 1.0), 2 * height - 1, turn)
        x, y, z = (round(float(c), _DIGITS) for c in direction / np.linalg.norm(direction))
        kicks.append(
            LaterKick(time_fs=round(time_fs, _TIME_DIGITS), direction=(x, y, z), recoil_energy_eV=wanted.energy_eV)
        )
    return tuple(kicks)


def _at_angle(axis: Sequence[float], cosine: float, turn: float) -> NDArray[np.float64]:
    """Return the unit vector at an angle to an axis, turned by the share `turn` of a full turn about it."""
    along = np.asarray(axis, dtype=np.float64) / np.linalg.norm(axis)
    # A frame whose second axis is not nearly along the first.
    across = np.cross(along, np.eye(3)[int(np.abs(along).argmin())])
    across /= np.linalg.norm(across)
    sine, angle = math.sqrt(max(0.0, 1 - cosine**2)), 2 * math.pi * turn
    around = math.cos(angle) * across + math.sin(angle) * np.cross(along, across)
    return np.asarray(cosine * along + sine * around)


def knock_on_of_gammas(
    *,
    species: str,
    gammas_keV: Sequence[float],
    mass_u: float,
    delays_fs: Sequence[float],
    recoil_directions: Sequence[Sequence[float]],
    region: int | None = None,
) -> KnockOn:
    """Return the kicks on a nucleus that emits gammas one after the other, momenta p = E_gamma / c.

    Parameters
    ----------
    species : str
        Chemical symbol.
    gammas_keV : (n,) float
        Energies in the order of emission, as in a row of the capture table and the levels below.
    mass_u : float
        Mass of the nucleus that recoils: the compound one.
    delays_fs : (n - 1,) float
        Time of each level between two gammas.
    recoil_directions : (n, 3) float
        Of the recoils, in the crystal frame, of any length: opposite to the gammas.
    region : int, optional
        As in `KnockOn`.

    Raises
    ------
    InputError
        If the numbers do not fit together.

    Examples
    --------
    >>> kicks = knock_on_of_gammas(  # the two gammas of 29Si behind "989.9 eV"
    ...     species="Si", gammas_keV=(7199.2, 1273.3), mass_u=28.9765, delays_fs=(60.0,),
    ...     recoil_directions=((0, 0, 1), (1, 0, 0)))
    >>> round(kicks.recoil_energy_eV, 1), round(kicks.then[0].recoil_energy_eV, 1), kicks.then[0].time_fs
    (960.1, 30.0, 60.0)
    """
    n = len(gammas_keV)
    if not (n >= 1 and len(delays_fs) == n - 1 and len(recoil_directions) == n):
        raise InputError(
            f"{n} gammas with {len(delays_fs)} delays and {len(recoil_directions)} directions; expected one delay "
            "between every two gammas and a direction for each"
        )
    if not all(math.isfinite(t) and t >= 0 for t in delays_fs):
        raise InputError(f"delays of {list(delays_fs)} fs between gammas; expected none below 0")
    energies = [float(recoil_energy_of_momentum_eV(gamma, mass_u=mass_u)) for gamma in gammas_keV]
    directions = [_unit(vector) for vector in recoil_directions]
    if not all(energy > 0 for energy in energies):
        raise InputError(f"gammas of {list(gammas_keV)} keV; expected positive ones")
    times = np.cumsum(np.asarray(delays_fs, dtype=np.float64))
    return KnockOn(
        species=species,
        region=region,
        direction=directions[0],
        recoil_energy_eV=energies[0],
        then=tuple(
            LaterKick(time_fs=float(time), direction=direction, recoil_energy_eV=energy)
            for time, direction, energy in zip(times, directions[1:], energies[1:], strict=True)
        ),
    )


def _unit(vector: Sequence[float]) -> tuple[float, float, float]:
    given = np.asarray(vector, dtype=np.float64)
    size = float(np.linalg.norm(given)) if given.shape == (3,) else 0.0
    if not (math.isfinite(size) and size > 0):
        raise InputError(f"recoil direction {list(vector)} has no direction; give three numbers, not all zero")
    x, y, z = (float(c) for c in given / size)
    return x, y, z


def draw_knock_on_of_gammas(
    *,
    species: str,
    gammas_keV: Sequence[float],
    mass_u: float,
    mean_lives_fs: Sequence[float],
    rng: np.random.Generator,
    region: int | None = None,
) -> KnockOn:
    """Return one random event of a gamma cascade: exponential delays, independent isotropic recoils.

    Angular correlations of the gammas are left out.

    Parameters
    ----------
    species, gammas_keV, mass_u, region
        As `knock_on_of_gammas`.
    mean_lives_fs : (n - 1,) float
        Mean lives of the levels between the gammas.
    rng : numpy.random.Generator
        Of the event.

    Raises
    ------
    InputError
        If the numbers do not fit together.
    """
    if not all(math.isfinite(life) and life >= 0 for life in mean_lives_fs):
        raise InputError(f"mean lives of {list(mean_lives_fs)} fs; expected none below 0, and known ones")
    return knock_on_of_gammas(
        species=species,
        region=region,
        gammas_keV=gammas_keV,
        mass_u=mass_u,
        delays_fs=[float(rng.exponential(life)) for life in mean_lives_fs],
        recoil_directions=[rng.normal(size=3).tolist() for _ in gammas_keV],
    )


def recoil_energy_of_momentum_eV(momentum_keV_c: ArrayLike, *, mass_u: float) -> NDArray[np.float64]:
    r"""Return the energy in eV of a nucleus with a momentum in keV/c, :math:`E = p^2 / 2M`; of any shape.

    Raises
    ------
    InputError
        If the mass is not positive.
    """
    if not (math.isfinite(mass_u) and mass_u > 0):
        raise InputError(f"a recoiling nucleus of mass {mass_u:g} u; expected a positive mass")
    return np.asarray(np.square(np.asarray(momentum_keV_c, dtype=np.float64)) / (2 * mass_u * AMU_MeV))


def work_of_kick_eV(
    recoil_energy_eV: ArrayLike, *, kinetic_energy_eV: ArrayLike, cosine: ArrayLike
) -> NDArray[np.float64]:
    r"""Return the energy that a kick brings to a moving nucleus, :math:`W = E + 2 \sqrt{T E} \cos\theta`.

    Parameters
    ----------
    recoil_energy_eV : array_like
        E, what it brings to one at rest.
    kinetic_energy_eV : array_like
        T, at the moment of the kick.
    cosine : array_like
        Of the angle between its motion and the kick; broadcasts with the others.

    Examples
    --------
    >>> work_of_kick_eV(30.0, kinetic_energy_eV=[0.0, 30.0, 30.0], cosine=[1.0, 1.0, -1.0]).tolist()
    [30.0, 90.0, -30.0]
    """
    E, T = np.asarray(recoil_energy_eV, dtype=np.float64), np.asarray(kinetic_energy_eV, dtype=np.float64)
    return np.asarray(E + 2 * np.sqrt(T * E) * np.asarray(cosine, dtype=np.float64))


def most_recoil_energy_eV(recoil_energies_eV: Sequence[float]) -> float:
    r"""Return the most that kicks can bring, all at once and along one line: :math:`(\sum_i \sqrt{E_i})^2`."""
    return sum(math.sqrt(energy) for energy in recoil_energies_eV) ** 2
