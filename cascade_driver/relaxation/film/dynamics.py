r"""A dislocation that has come free runs into the interface of film and substrate, and radiates phonons.

One dimension: the distance x to the interface along the slip plane, the velocity v away from it, everything per
length of dislocation, in nm, ps and eV (1 km/s is 1 nm/ps). With K = mu_f b^2/(4 pi) and kappa = (mu_s - mu_f) /
(mu_s + mu_f), App. A of Romani 2024, doi:10.48550/arXiv.2406.15425, reads

.. math::
    m(x) &= \frac{K}{c_t^2} \Lambda(x), \qquad \omega(x) = \frac{c_t}{\gamma b} e^{-\Lambda(x)}, \qquad
        \Lambda = -\tfrac12 W_{-1}\!\left(-C \kappa \frac{\gamma^2 b^2}{x^2}\right) \\
    m \dot v &= \frac{G \kappa K}{x} - \tau b - \frac{\pi}{2} \frac{K \omega}{c_t^2} v \\
    P &= -F_\mathrm{rad} v - \tfrac12 \dot m v^2

with C = 4 or 2 (`FrequencyForm`) and G = 1 or 2 (`ImageForce`). The stress tau pulls toward the interface. P is
not clipped: with it, and only so, the energy (1/2) m v^2 + V(x) that is lost is exactly what is radiated.

In a film of some thickness the images in its free surface (`images`, not in the paper) stand beside G kappa K / x.
They change where a dislocation goes, and what is stored; its mass and frequency stay those of the interface, at
which it radiates. What begins where they pull more strongly than the stress goes out and is not followed.

The program solves for Lambda instead of x: x = gamma b e^Lambda (C kappa / (2 Lambda))^(1/2) is explicit, so
that no Lambert W stands in the inner loop. W_{-1} is real for Lambda >= 1/2 only, x >= gamma b (C kappa e)^(1/2):
0.98 nm for aluminium on silicon. A trajectory that comes closer has left the model and says so.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, field_validator, model_validator
from scipy.integrate import solve_ivp
from scipy.special import lambertw

from cascade_driver.errors import InputError
from cascade_driver.relaxation.film.dislocation import ALUMINIUM, METALS, FccMetal
from cascade_driver.relaxation.film.images import Images
from cascade_driver.schema import parameters
from cascade_driver.units import PS_PER_S, HBAR_eV_s, eV_NM3_PER_GPA

_HBAR_eV_ps = HBAR_eV_s * PS_PER_S

#: The model's domain ends where Lambda comes this close to 1/2, where d Lambda/dx is infinite: 1e-6 in x.
_EDGE = 1e-3

#: Of the solver; closes the energy balance to about 1e-8.
_RELATIVE_TOLERANCE = 1e-9

#: A dislocation is at rest when this share of its energy is left.
_REST_SHARE = 1e-7

#: Closer than this share of the edge no repulsion turns a dislocation round any more: it ends at the interface.
_CROSSING_SHARE = 1e-3

#: Longer than any trajectory.
_LONGEST_ps = 1e7

_MOST_PASSES = 200

#: Metals of detectors whose dislocations do not glide under the stresses of a cooldown (App. C of the paper).
_HELD_BY_THE_LATTICE = {
    "W": "the lattice of tungsten itself holds its dislocations against the stress of a cooldown: no such events; "
}


class ImageForce(StrEnum):
    """Which of the paper's two forms of the force of the image dislocation."""

    #: Eq. A4, mu b^2/(4 pi) kappa / x: right for a screw dislocation, and what the figures were made with.
    APPENDIX = "appendix"
    #: Eq. 7 as printed, mu b^2/(2 pi) kappa / x: twice as large.
    EQUATION_7 = "equation_7"


class FrequencyForm(StrEnum):
    """Which factor stands in the argument of Lambert's function in Eq. A1."""

    #: 4, which belongs to the force of Eq. 7; the figures were made with it.
    PRINTED = "printed"
    #: 2 with the force of A4, 4 with that of Eq. 7: omega^2 = |dF/dx| / m for the force that is used.
    CONSISTENT = "consistent"


class Inertia(StrEnum):
    """How a dislocation withstands acceleration near the speed of sound."""

    #: A6: by its mass at rest, so that some get faster than sound.
    NEWTONIAN = "newtonian"
    #: As a screw dislocation in an isotropic solid, whose energy grows as (1 - v^2/c_t^2)^(-1/2): none does. The
    #: image and the radiation stay those of a slow one. J. D. Eshelby, Proc. Phys. Soc. A 62, 307 (1949).
    ELASTORELATIVISTIC = "elastorelativistic"


class BeyondDomain(StrEnum):
    """What a dislocation does that comes closer than the model reaches. It is flagged in either case."""

    #: It keeps the frequency and the mass of the edge, and the energy balance holds. One so fast that it comes to
    #: 1e-3 of the edge ends at the interface, with the energy that it still has as `remaining_eV_per_nm`.
    HOLD = "hold"
    #: It ends there; the energy that it still has is `remaining_eV_per_nm`.
    STOP = "stop"


class Course(StrEnum):
    """How a trajectory went; the values are the messages."""

    INSIDE = "stayed within the model"
    SUPERSONIC = "was faster than sound, where the model holds no more"
    LEFT = "came closer to the interface than the model reaches"
    OUT = "goes out through the free surface"


@parameters
class Interface:
    """A film on its substrate, as a moving dislocation sees it.

    Attributes
    ----------
    metal : FccMetal or str
        The film: 'Al', 'Cu', 'Au', or a metal of one's own.
    substrate_shear_modulus_GPa : float
        mu_s; 51 for silicon in the paper. A substrate that is softer than the film attracts dislocations: the
        model does not hold there.
    pair_breaking_energy_meV : float
        2 Delta of the superconductor that detects the phonons; only quanta above it count as above-gap. The
        published figures have 0.34, with Delta = 0.17 meV of aluminium.
    core_parameter : float
        gamma, 1.78 in the paper.
    image_force : {'appendix', 'equation_7'}
        `ImageForce`.
    frequency_form : {'printed', 'consistent'}
        `FrequencyForm`.
    beyond_domain : {'hold', 'stop'}
        `BeyondDomain`.
    inertia : {'newtonian', 'elastorelativistic'}
        That of A6, where some get faster than sound, or that of a screw dislocation: none does. See `Inertia`.
    thickness_nm : float, optional
        Of the film, along the slip plane as all distances: its free surface pulls, too, and what is pinned where
        it pulls more than the stress goes out through it. Unlimited in the paper.
    """

    metal: FccMetal = ALUMINIUM
    substrate_shear_modulus_GPa: float = Field(default=51.0, gt=0)
    pair_breaking_energy_meV: float = Field(default=0.34, gt=0)
    core_parameter: float = Field(default=1.78, gt=0)
    image_force: ImageForce = ImageForce.APPENDIX
    frequency_form: FrequencyForm = FrequencyForm.PRINTED
    beyond_domain: BeyondDomain = BeyondDomain.HOLD
    inertia: Inertia = Inertia.NEWTONIAN
    thickness_nm: float | None = Field(default=None, gt=0)

    @field_validator("metal", mode="before", json_schema_input_type=FccMetal | Literal["Al", "Cu", "Au"])
    @classmethod
    def _by_name(cls, metal: object) -> object:
        if isinstance(metal, str):
            if metal not in METALS:
                held = _HELD_BY_THE_LATTICE.get(metal, "")
                raise ValueError(f"{held}expected one of {', '.join(METALS)}, or a table of its properties")
            return METALS[metal]
        return metal

    @model_validator(mode="after")
    def _repels(self) -> Interface:
        if self.substrate_shear_modulus_GPa <= self.metal.shear_modulus_GPa:
            raise ValueError(
                f"the substrate has a shear modulus of {self.substrate_shear_modulus_GPa:g} GPa and the film "
                f"{self.metal.shear_modulus_GPa:g} GPa; expected a stiffer substrate, a softer one attracts "
                "dislocations and the model has no frequency for them"
            )
        return self

    @property
    def line_energy_eV_per_nm(self) -> float:
        """K = mu_f b^2 / (4 pi)."""
        metal = self.metal
        return metal.shear_modulus_GPa * eV_NM3_PER_GPA * metal.b_nm**2 / (4.0 * math.pi)

    @property
    def contrast(self) -> float:
        """Contrast of the moduli, kappa = (mu_s - mu_f) / (mu_s + mu_f)."""
        film, substrate = self.metal.shear_modulus_GPa, self.substrate_shear_modulus_GPa
        return (substrate - film) / (substrate + film)

    @property
    def image_energy_eV_per_nm(self) -> float:
        """G kappa K: the force of the image in the interface is this over x."""
        return self.contrast * self.images.strength_eV_per_nm

    @cached_property
    def images(self) -> Images:
        """The images in the interface and in the free surface."""
        factor = 1.0 if self.image_force is ImageForce.APPENDIX else 2.0
        return Images(
            strength_eV_per_nm=factor * self.line_energy_eV_per_nm,
            contrast=self.contrast,
            thickness_nm=self.thickness_nm,
        )

    @property
    def frequency_constant(self) -> float:
        """C kappa / 2, so that Lambda omega^2 = (C kappa / 2) (c_t / x)^2 (Eq. 9 has C = 4)."""
        consistent = self.frequency_form is FrequencyForm.CONSISTENT
        return (1.0 if consistent and self.image_force is ImageForce.APPENDIX else 2.0) * self.contrast

    @property
    def core_radius_nm(self) -> float:
        """Radius of the core, gamma b."""
        return self.core_parameter * self.metal.b_nm

    @property
    def closest_distance_nm(self) -> float:
        """Where the model ends: gamma b (C kappa e)^(1/2)."""
        return self.distance_at(0.5)

    @property
    def gap_distance_nm(self) -> float:
        """Closer than this, phonons are above the gap; 0 if none are anywhere in the model."""
        log = self.logarithm_of_gap
        return self.distance_at(log) if log > 0.5 else 0.0

    @property
    def logarithm_of_gap(self) -> float:
        """Lambda at hbar omega = 2 Delta."""
        largest = _HBAR_eV_ps * self.metal.transverse_speed_km_s / self.core_radius_nm
        return math.log(largest / (self.pair_breaking_energy_meV * 1e-3))

    def rest_distance_nm(self, stress_MPa: float) -> float:
        """Where image force and stress balance.

        Raises
        ------
        InputError
            If the free surface pulls more strongly than the stress everywhere.
        """
        if (rest := self.images.rest_nm(self.pull_eV_per_nm2(stress_MPa))) is None:
            raise InputError(
                f"the free surface of a film of {self.thickness_nm:g} nm pulls more strongly than "
                f"{stress_MPa:g} MPa everywhere; expected a thicker film or a larger stress."
            )
        return rest

    def pull_eV_per_nm2(self, stress_MPa: float) -> float:
        """Return tau b, the force of the stress per length."""
        return stress_MPa * 1e-3 * eV_NM3_PER_GPA * self.metal.b_nm

    def distance_at(self, logarithm: float) -> float:
        """Return x in nm where Lambda has this value, Eq. 9: the inverse of `mass_logarithm`."""
        return self.core_radius_nm * math.exp(logarithm) * math.sqrt(self.frequency_constant / logarithm)


def mass_logarithm(distance_nm: ArrayLike, *, interface: Interface) -> NDArray[np.float64]:
    r"""Return Lambda = ln(c_t/(gamma omega b)), a number, the shape of `distance_nm`.

    .. math:: \Lambda = -\tfrac12 W_{-1}(-C \kappa \gamma^2 b^2 / x^2)

    Eq. A1 of Romani 2024, doi:10.48550/arXiv.2406.15425. The upper branch W_0 would let the frequency grow with
    the distance and make the mass vanish.

    Raises
    ------
    InputError
        If a distance lies outside the model's domain: W_{-1} is not real there.
    """
    x = np.asarray(distance_nm, dtype=np.float64)
    closest = interface.closest_distance_nm
    if not np.all(np.isfinite(x) & (x >= closest)):
        raise InputError(
            f"a dislocation at {np.min(x):.4g} nm from the interface is outside the model, which reaches down to "
            f"{closest:.4g} nm; start further away."
        )
    argument = -2.0 * interface.frequency_constant * (interface.core_radius_nm / x) ** 2
    return np.asarray(-0.5 * lambertw(argument, -1).real, dtype=np.float64)


def phonon_energy_meV(distance_nm: ArrayLike, *, interface: Interface) -> NDArray[np.float64]:
    r"""Return hbar omega(x) of the phonons that a dislocation at `distance_nm` radiates, in meV.

    .. math:: \omega(x) = \frac{c_t}{\gamma b} e^{-\Lambda(x)}

    Eq. A1 of Romani 2024, doi:10.48550/arXiv.2406.15425.

    Raises
    ------
    InputError
        If a distance lies outside the model's domain.
    """
    highest = interface.metal.transverse_speed_km_s / interface.core_radius_nm
    return _HBAR_eV_ps * 1e3 * highest * np.exp(-mass_logarithm(distance_nm, interface=interface))


def stored_energy_eV_per_nm(
    distance_nm: ArrayLike, *, stress_MPa: float, interface: Interface
) -> NDArray[np.float64]:
    r"""Return the energy that a dislocation at rest can still release, per length, the shape of `distance_nm`.

    .. math:: V(x) - V(x_0) = \tau b (x - x_0) - G \kappa K \ln(x/x_0), \quad x_0 = G \kappa K/(\tau b)

    the work of the forces of Eq. A4-A5 of Romani 2024, doi:10.48550/arXiv.2406.15425, down to the place of rest;
    in a film of some thickness that of all images.

    Raises
    ------
    InputError
        If a distance or the stress is not positive.
    """
    x = np.asarray(distance_nm, dtype=np.float64)
    if not (np.all(x > 0) and stress_MPa > 0):
        raise InputError(f"found a distance or stress of 0 or below ({np.min(x):g} nm, {stress_MPa:g} MPa).")
    rest, images = interface.rest_distance_nm(stress_MPa), interface.images
    work = interface.pull_eV_per_nm2(stress_MPa) * (x - rest)
    return np.asarray(work + images.energy_eV_per_nm(x) - images.energy_eV_per_nm(rest), dtype=np.float64)


@dataclass(frozen=True, kw_only=True)
class Release:
    """What one length of dislocation radiated, and how.

    Attributes
    ----------
    stored_eV_per_nm : float
        What it had at the start, above the place of rest.
    crystal_eV_per_nm, film_eV_per_nm : float
        Radiated while it moved toward the interface, into the crystal (Eq. A8 of Romani 2024,
        doi:10.48550/arXiv.2406.15425), and away from it, into the film (A9).
    crystal_above_gap_eV_per_nm, film_above_gap_eV_per_nm : float
        Of these, what was radiated in phonons above the gap (A10).
    remaining_eV_per_nm : float
        What it still had at the end.
    balance_error : float
        (stored - radiated - remaining) / stored, which the solver must close.
    largest_speed_km_s : float
    closest_distance_nm : float
    left_domain : bool
        It came closer than the model reaches.
    course : Course
    """

    stored_eV_per_nm: float
    crystal_eV_per_nm: float = 0.0
    film_eV_per_nm: float = 0.0
    crystal_above_gap_eV_per_nm: float = 0.0
    film_above_gap_eV_per_nm: float = 0.0
    remaining_eV_per_nm: float = 0.0
    balance_error: float = 0.0
    largest_speed_km_s: float = 0.0
    closest_distance_nm: float = 0.0
    left_domain: bool = False
    course: Course = Course.INSIDE


@dataclass(frozen=True, kw_only=True, eq=False)
class Trajectory:
    """The motion of one length of dislocation, one value per step of the solver.

    Attributes
    ----------
    time_ps, distance_nm, speed_km_s : (n,) float
        Speed away from the interface.
    phonon_energy_meV : (n,) float
    radiated_power_eV_per_nm_ps : (n,) float
        P; may be below zero where the mass grows.
    radiated_eV_per_nm : (n,) float
        Integral of P.
    """

    time_ps: NDArray[np.float64]
    distance_nm: NDArray[np.float64]
    speed_km_s: NDArray[np.float64]
    phonon_energy_meV: NDArray[np.float64]
    radiated_power_eV_per_nm_ps: NDArray[np.float64]
    radiated_eV_per_nm: NDArray[np.float64]


def release(start_nm: float, *, stress_MPa: float, interface: Interface, above_gap_only: bool = False) -> Release:
    """Return what one length of dislocation radiates that comes free at rest, Eq. A1-A10 of the module's paper.

    The radiated energy is integrated beside the motion and cut at the turning points and at the distance where
    phonons pass the gap, both found as roots: no time step enters the sums.

    Parameters
    ----------
    start_nm : float
        h, the distance to the interface.
    stress_MPa : float
        tau, the resolved shear stress that pulls toward it.
    interface : Interface
    above_gap_only : bool
        End as soon as no more phonons above the gap can come; the rest counts as remaining.

    Raises
    ------
    InputError
        If the start is outside the model or the stress not positive.
    """
    run = _Run(start_nm, stress_MPa=stress_MPa, interface=interface, above_gap_only=above_gap_only)
    return run.release()


def follow(start_nm: float, *, stress_MPa: float, interface: Interface) -> tuple[Trajectory, Release]:
    """Return the motion of one length of dislocation that comes free at rest, and what it radiates.

    As `release`, with the path (Fig. 3 of Romani 2024, doi:10.48550/arXiv.2406.15425).

    Raises
    ------
    InputError
        If the start is outside the model or the stress not positive.
    """
    run = _Run(start_nm, stress_MPa=stress_MPa, interface=interface)
    return run.trajectory(), run.release()


@dataclass(frozen=True, kw_only=True)
class FreedDislocation:
    """One dislocation that comes free, and what others give off.

    Attributes
    ----------
    stress_MPa : float
        That pulls on it.
    interface : Interface
    path : Trajectory
    release : Release
    others : dict
        By stress, from a third below `stress_MPa` to a third above, the start in nm and the release (above the gap
        alone) of dislocations that come free elsewhere: up to twice as far from the interface.
    """

    stress_MPa: float
    interface: Interface
    path: Trajectory
    release: Release
    others: dict[float, tuple[tuple[float, Release], ...]]


#: Starts of the others.
_STARTS = 17


def set_free(interface: Interface, *, start_nm: float = 50.0, stress_MPa: float = 45.0) -> FreedDislocation:
    """Return what one dislocation does that comes free, beside others.

    Parameters
    ----------
    interface : Interface
    start_nm : float
        Where it starts.
    stress_MPa : float
        What pulls on it.

    Raises
    ------
    InputError
        If the start is outside of the model, or nothing moves there toward the interface.
    """
    path, one = follow(start_nm, stress_MPa=stress_MPa, interface=interface)
    if not path.time_ps.size:
        raise InputError(
            f"a dislocation at {start_nm:g} nm under {stress_MPa:g} MPa does not run into the interface: it "
            f"{one.course if one.course is Course.OUT else 'is at rest'}; choose another start or stress."
        )
    lowest = max(0.1 * start_nm, 1.01 * interface.closest_distance_nm)
    starts = np.linspace(lowest, 2.0 * start_nm, _STARTS).tolist()

    def others(stress: float) -> tuple[tuple[float, Release], ...]:
        return tuple((h, release(h, stress_MPa=stress, interface=interface, above_gap_only=True)) for h in starts)

    stresses = [round(share * stress_MPa, 6) for share in (2 / 3, 1.0, 4 / 3)]
    return FreedDislocation(
        stress_MPa=stress_MPa,
        interface=interface,
        path=path,
        release=one,
        others={stress: others(stress) for stress in stresses},
    )


def first_turning_distance_nm(start_nm: float, *, stress_MPa: float, interface: Interface) -> float:
    """Return how close, in nm, a dislocation that starts at rest gets to the interface: its first turning point.

    The start itself, if it goes out through the free surface.

    Raises
    ------
    InputError
        If the start is outside the model or closer than the place of rest, or the stress not positive.
    """
    rest = interface.rest_distance_nm(stress_MPa) if stress_MPa > 0 else 0.0
    if start_nm <= rest:
        raise InputError(
            f"a start of {start_nm:g} nm is pushed away from the interface; expected above {rest:g} nm."
        )
    run = _Run(start_nm, stress_MPa=stress_MPa, interface=interface, first_pass_only=True)
    return run.release().closest_distance_nm


@dataclass(frozen=True)
class _Piece:
    """What the solver gave between two changes of the equations: time, Lambda, x, u, radiated, per step."""

    table: NDArray[np.float64]
    cuts: NDArray[np.float64]
    held: bool


class _Run:
    """One trajectory: solved when made, read by its two methods.

    Its variable of motion is u, momentum over mass: v, or v (1 - v^2/c_t^2)^(-1/2).
    """

    def __init__(
        self,
        start_nm: float,
        *,
        stress_MPa: float,
        interface: Interface,
        above_gap_only: bool = False,
        first_pass_only: bool = False,
    ) -> None:
        if not (math.isfinite(stress_MPa) and stress_MPa > 0):
            raise InputError(f"a resolved shear stress of {stress_MPa} MPa, expected a finite number above 0.")
        self.interface = interface
        self.first_pass_only = first_pass_only
        self.is_relativistic = interface.inertia is Inertia.ELASTORELATIVISTIC
        metal = interface.metal
        self.speed = metal.transverse_speed_km_s
        self.mass_unit = interface.line_energy_eV_per_nm / self.speed**2
        self.highest = self.speed / interface.core_radius_nm
        self.pull = interface.pull_eV_per_nm2(stress_MPa)
        self.images, self.image = interface.images, interface.image_energy_eV_per_nm
        rest = self.images.rest_nm(self.pull)
        self.edge = 0.5 + _EDGE
        self.gap = interface.logarithm_of_gap
        start = float(mass_logarithm(start_nm, interface=interface))
        self.pieces: list[_Piece] = []
        self.left, self.out = False, rest is None or start_nm >= float(self.images.brink_nm(self.pull))
        self.rest, self.stored = start_nm, 0.0
        if rest is None or self.out:
            return
        self.rest = rest
        self.rest_energy = float(self.images.energy_eV_per_nm(self.rest))
        # x where Lambda meets its edge; a start between the domain's end and it, 1e-6 apart, counts as on it.
        self.edge_nm = interface.distance_at(self.edge)
        self.stored = self._potential(max(start_nm, self.edge_nm))
        self.end_below = _REST_SHARE * self.stored
        barrier = self._potential(interface.gap_distance_nm) if interface.gap_distance_nm else math.inf
        if above_gap_only and start > self.gap and self.rest > interface.gap_distance_nm:
            self.end_below = max(self.end_below, barrier)
        if self.stored > self.end_below:
            self._solve(max(start, self.edge))

    def _slowing(self, u: float) -> float:
        """Return u / v."""
        return math.sqrt(1.0 + (u / self.speed) ** 2) if self.is_relativistic else 1.0

    def _kinetic_eV_per_nm(self, log: float, u: float) -> float:
        """Return m v^2 / 2, or m c_t^2 (u/v - 1) without its cancellation."""
        return self.mass_unit * log * u * u / (1.0 + self._slowing(u))

    def _speeds(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return v at each step."""
        return np.asarray(u / [self._slowing(one) for one in u.tolist()], dtype=np.float64)

    def _image_force(self, x: float) -> float:
        if self.images.thickness_nm is None:  # the inner loop
            return self.image / x
        return float(self.images.force_eV_per_nm2(x))

    def _potential(self, x: float) -> float:
        if self.images.thickness_nm is None:
            ratio = x / self.rest
            return self.image * (ratio - 1.0 - math.log(ratio))
        return self.pull * (x - self.rest) + float(self.images.energy_eV_per_nm(x)) - self.rest_energy

    def _solve(self, start: float) -> None:
        # From the edge itself a large stress pulls inward at once.
        time, held = 0.0, start <= self.edge and self.rest < self.edge_nm
        self.left = held
        if held and self.interface.beyond_domain is BeyondDomain.STOP:
            return
        state = (self.edge_nm if held else start, 0.0, 0.0)
        for _ in range(_MOST_PASSES):
            piece, ended = self._piece(time, state, held=held)
            self.pieces.append(piece)
            if ended:
                return
            self.left = True
            if self.interface.beyond_domain is BeyondDomain.STOP:
                return
            time, held = float(piece.table[0, -1]), not held
            _, _, _, u, radiated = (float(value) for value in piece.table[:, -1])
            state = (self.edge_nm if held else self.edge, u, radiated)
        raise InputError(
            f"a dislocation crosses the edge of the model more than {_MOST_PASSES} times: the stress is too large."
        )

    def _piece(self, time: float, state: tuple[float, float, float], *, held: bool) -> tuple[_Piece, bool]:
        """Follow the motion within the domain (first variable Lambda), or beyond it (x)."""
        events = self._events(held=held)
        scale = (1e-2, 1e-2 * self.speed, 1e-2 * self.stored)
        solved = solve_ivp(
            self._beyond if held else self._within,
            (time, time + _LONGEST_ps),
            state,
            method="LSODA",
            rtol=_RELATIVE_TOLERANCE,
            atol=[_RELATIVE_TOLERANCE * one for one in scale],
            events=events,
        )
        if solved.status != 1 or solved.t_events is None or solved.y_events is None:
            raise InputError(
                f"a dislocation under {self.pull:g} eV/nm2 was not followed to its end ({solved.message}): "
                "parameters too extreme for the model."
            )
        first, u, radiated = solved.y
        if held:
            log, x = np.full_like(first, self.edge), first
        else:
            root = np.sqrt(self.interface.frequency_constant / first)
            log, x = first, self.interface.core_radius_nm * np.exp(first) * root
        # Turning points and gap passages, in order of time: (2, k) of first variable and radiated energy.
        times = np.concatenate(solved.t_events[2:])
        at = np.concatenate([y.reshape(-1, 3) for y in solved.y_events[2:]])
        order = np.argsort(times)
        inner = order[times[order] > time]
        cuts = np.array([state, *at[inner], solved.y[:, -1]])[:, [0, 2]]
        crossed = held and len(solved.t_events[3]) > 0
        ended = crossed or len(solved.t_events[0]) > 0 or (self.first_pass_only and len(solved.t_events[2]) > 0)
        return _Piece(np.array([solved.t, log, x, u, radiated]), cuts, held), ended

    def _events(self, *, held: bool) -> list[Callable[..., float]]:
        """Roots that end a piece (at rest; over the edge) and roots that cut it (turning point; gap)."""
        radius, constant = self.interface.core_radius_nm, self.interface.frequency_constant

        def rest(_t: float, y: NDArray[np.float64]) -> float:
            log, u = self.edge if held else float(y[0]), float(y[1])
            x = float(y[0]) if held else radius * math.exp(log) * math.sqrt(constant / log)
            return self._potential(x) + self._kinetic_eV_per_nm(log, u) - self.end_below

        def edge(_t: float, y: NDArray[np.float64]) -> float:
            return float(y[0] - (self.edge_nm if held else self.edge))

        def turn(_t: float, y: NDArray[np.float64]) -> float:
            return float(y[1])

        def gap(_t: float, y: NDArray[np.float64]) -> float:
            return float(y[0] - self.gap)

        rest.terminal = edge.terminal = True  # type: ignore[attr-defined]
        if self.first_pass_only:
            turn.terminal, turn.direction = True, 1  # type: ignore[attr-defined]
        rest.direction = -1  # type: ignore[attr-defined]
        edge.direction = 1 if held else -1  # type: ignore[attr-defined]

        def crossing(_t: float, y: NDArray[np.float64]) -> float:
            return float(y[0]) - _CROSSING_SHARE * self.edge_nm

        crossing.terminal = True  # type: ignore[attr-defined]
        return [rest, edge, turn, crossing if held else gap]

    def _within(self, _t: float, y: NDArray[np.float64]) -> tuple[float, float, float]:
        log, u, _ = y
        v = u / self._slowing(u)
        growth = math.exp(log)
        x = self.interface.core_radius_nm * growth * math.sqrt(self.interface.frequency_constant / log)
        drag = 0.5 * math.pi * self.mass_unit * self.highest / growth
        # Beyond the edge, where the step ends in which a dislocation leaves, the slope stays that of the edge.
        rate = 2.0 * log * v / (x * max(2.0 * log - 1.0, 2.0 * _EDGE))
        force = self._image_force(x) - self.pull - drag * v
        return rate, force / (self.mass_unit * log), drag * v * v - self._kinetic_eV_per_nm(rate, u)

    def _beyond(self, _t: float, y: NDArray[np.float64]) -> tuple[float, float, float]:
        x, u, _ = y
        v = u / self._slowing(u)
        drag = 0.5 * math.pi * self.mass_unit * self.highest * math.exp(-self.edge)
        force = self._image_force(x) - self.pull - drag * v
        return v, force / (self.mass_unit * self.edge), drag * v * v

    def trajectory(self) -> Trajectory:
        table = np.hstack([piece.table for piece in self.pieces]) if self.pieces else np.zeros((5, 0))
        held = (
            np.concatenate([np.full(p.table.shape[1], p.held) for p in self.pieces])
            if self.pieces
            else np.zeros(0)
        )
        time, log, x, u, radiated = table
        v = self._speeds(u)
        omega = self.highest * np.exp(-log)
        drag = 0.5 * math.pi * self.mass_unit * omega
        growth = np.where(held, 0.0, 2.0 * log * v / (x * np.maximum(2.0 * log - 1.0, _EDGE)))
        return Trajectory(
            time_ps=time,
            distance_nm=x,
            speed_km_s=v,
            phonon_energy_meV=_HBAR_eV_ps * 1e3 * omega,
            radiated_power_eV_per_nm_ps=drag * v**2
            - [self._kinetic_eV_per_nm(*one) for one in zip(growth.tolist(), u.tolist(), strict=True)],
            radiated_eV_per_nm=radiated,
        )

    def _closest_nm(self) -> float:
        """Return the closest turning point; roots, not steps of the solver."""
        held = [float(piece.cuts[:, 0].min()) for piece in self.pieces if piece.held]
        if held:
            return min(held)
        return self.interface.distance_at(min(float(piece.cuts[:, 0].min()) for piece in self.pieces))

    def release(self) -> Release:
        if not self.pieces:
            return Release(
                stored_eV_per_nm=self.stored,
                remaining_eV_per_nm=self.stored,
                closest_distance_nm=self.edge_nm if self.left else self.rest,
                left_domain=self.left,
                course=Course.OUT if self.out else Course.LEFT if self.left else Course.INSIDE,
            )
        shares = {(inward, above): 0.0 for inward in (True, False) for above in (True, False)}
        for piece in self.pieces:
            for (here, before), (there, after) in itertools.pairwise(piece.cuts):
                above = self.gap > self.edge if piece.held else 0.5 * (here + there) < self.gap
                shares[bool(there < here), bool(above)] += float(after - before)
        last = self.pieces[-1].table[:, -1]
        _, log, x, u, radiated = (float(value) for value in last)
        remaining = self._potential(x) + self._kinetic_eV_per_nm(log, u)
        fastest = max(float(np.max(np.abs(self._speeds(piece.table[3])))) for piece in self.pieces)
        course = Course.LEFT if self.left else Course.SUPERSONIC if fastest > self.speed else Course.INSIDE
        return Release(
            stored_eV_per_nm=self.stored,
            crystal_eV_per_nm=shares[True, True] + shares[True, False],
            film_eV_per_nm=shares[False, True] + shares[False, False],
            crystal_above_gap_eV_per_nm=shares[True, True],
            film_above_gap_eV_per_nm=shares[False, True],
            remaining_eV_per_nm=remaining,
            balance_error=(self.stored - radiated - remaining) / self.stored,
            largest_speed_km_s=fastest,
            closest_distance_nm=self._closest_nm(),
            left_domain=self.left,
            course=course,
        )
