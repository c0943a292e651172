"""The few things that a molecular-dynamics backend must do, and what it answers.

A backend holds one box at a time. Atoms are numbered 0, 1, ... in the order in which they were given, whatever
the backend does inside. Units: eV, angstrom, ps, K, amu.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import ase
import numpy as np
from numpy.typing import NDArray

from cascade_driver.errors import EngineError
from cascade_driver.simulation.outcome import Outcome
from cascade_driver.simulation.provenance import EngineLibrary
from cascade_driver.simulation.spec import FollowSpec
from cascade_driver.simulation.stopping import StoppingCurves, stopping_curves
from cascade_driver.units import FS_PER_PS


class EngineAbortError(EngineError):
    """The engine gave up on a cascade; `outcome` says how."""

    def __init__(self, outcome: Outcome, message: str) -> None:
        super().__init__(message)
        self.outcome = outcome


@dataclass(frozen=True, kw_only=True)
class Minimum:
    """A local minimum of the potential energy.

    Attributes
    ----------
    potential_energy_eV : float
        Energy of the box.
    largest_force_eV_A : float
        Largest force component left.
    positions_A : (n, 3) float
        Unwrapped positions.
    follow_energy_eV : float, optional
        Of a potential that is two: the energy of the minimum of the one that moves the atoms, where the descent of
        the other began.
    """

    potential_energy_eV: float
    largest_force_eV_A: float
    positions_A: NDArray[np.float64]
    follow_energy_eV: float | None = None


@dataclass(frozen=True, kw_only=True)
class HeatedBorder:
    """Where a Langevin thermostat acts while a cascade is followed.

    Attributes
    ----------
    width_A : float
        From the periodic faces.
    temperature_K : float
    damping_ps : float
    """

    width_A: float
    temperature_K: float
    damping_ps: float


@dataclass(frozen=True, kw_only=True)
class FlightRules:
    """How long a flight is, and how its steps and its border are made.

    Attributes
    ----------
    duration_ps : float
        From the first kick.
    max_displacement_A, max_timestep_ps : float
        A step is as long as both allow; the first is that of the fastest atom.
    seed : int
        Of all that is random.
    border : HeatedBorder, optional
        Without it the box is closed.
    stopping : StoppingCurves, optional
        What electrons take from fast atoms.
    """

    duration_ps: float
    max_displacement_A: float
    max_timestep_ps: float
    seed: int = 1
    border: HeatedBorder | None = None
    stopping: StoppingCurves | None = None


def flight_rules(
    follow: FollowSpec, *, temperature_K: float, seed: int, symbols: Sequence[str], volume_A3: float
) -> FlightRules:
    """Return what the section `[follow]` says of a flight in a box of these atoms, its border at a temperature."""
    border = None
    if follow.border is not None:
        width_A, damping_ps = follow.border.width_A, follow.border.damping_ps
        border = HeatedBorder(width_A=width_A, temperature_K=temperature_K, damping_ps=damping_ps)
    return FlightRules(
        duration_ps=follow.duration_ps,
        max_displacement_A=follow.max_displacement_A,
        max_timestep_ps=follow.max_timestep_fs / FS_PER_PS,
        seed=seed,
        border=border,
        stopping=stopping_curves(given, symbols=symbols, volume_A3=volume_A3)
        if (given := follow.electronic_stopping)
        else None,
    )


@dataclass(frozen=True, kw_only=True)
class VelocityKick:
    """What a kick does to the velocity of the knock-on atom.

    Attributes
    ----------
    time_ps : float
        Time after the first kick.
    velocity_A_ps : (3,) float
        What is added.
    """

    time_ps: float
    velocity_A_ps: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class MeasuredKick:
    """What a later kick found and did.

    Attributes
    ----------
    time_ps : float
        Time after the first kick, as the engine's clock says.
    kinetic_energy_before_eV, kinetic_energy_after_eV : float
        Of the knock-on atom; the difference is the work of the kick.
    velocity_before_A_ps : (3,) float
        Of the knock-on atom.
    """

    time_ps: float
    kinetic_energy_before_eV: float
    kinetic_energy_after_eV: float
    velocity_before_A_ps: NDArray[np.float64]

    @property
    def work_eV(self) -> float:
        """Energy that the kick brought; below zero if it slowed the atom down."""
        return self.kinetic_energy_after_eV - self.kinetic_energy_before_eV


@dataclass(frozen=True, kw_only=True)
class Look:
    """Where all atoms were at a moment of a flight: time since the first kick, unwrapped positions (n, 3)."""

    time_ps: float
    positions_A: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Flight:
    """What was seen while a cascade was followed; one row per time step, the first is the kick.

    Attributes
    ----------
    time_ps : (k,) float
        Time since the first kick.
    pka_position_A : (k, 3) float
        Unwrapped position of the primary knock-on atom.
    pka_kinetic_energy_eV : (k,) float
        Its kinetic energy.
    least_distance_A : (k,) float
        Smallest distance between any two atoms.
    temperature_start_K, temperature_end_K : float
        Kinetic temperature of the mobile atoms just before the kick and at the end.
    energy_drift_eV : float
        Change of the total energy, what a border thermostat and electrons took out added back and the work of
        later kicks taken off.
    finished : bool
        False if the time limit came first.
    later_kicks : tuple of MeasuredKick
        Those that there was time for.
    looks : tuple of Look
        One for each time that was asked for, at most ten steps late.
    electronic_loss_eV : float, optional
        What electrons took, where they take something.
    """

    time_ps: NDArray[np.float64]
    pka_position_A: NDArray[np.float64]
    pka_kinetic_energy_eV: NDArray[np.float64]
    least_distance_A: NDArray[np.float64]
    temperature_start_K: float
    temperature_end_K: float
    energy_drift_eV: float
    finished: bool
    later_kicks: tuple[MeasuredKick, ...] = ()
    looks: tuple[Look, ...] = ()
    electronic_loss_eV: float | None = None


class Onlooker(Protocol):
    """Sees every step of a cascade and changes nothing; for films of it."""

    def __call__(
        self, *, time_ps: float, pka: int, ids: NDArray[np.int32], positions_A: NDArray[np.float64]
    ) -> None:
        """Look at a step: time since the kick, knock-on atom (from 0), positions (n, 3) of atoms `ids` (from 1).

        The arrays are the engine's own, valid during the call only.

        Raises
        ------
        OSError
            If what was seen cannot be kept; the engine stops then and passes it on.
        """


class Engine(Protocol):
    """A molecular-dynamics backend with one potential and one box."""

    @property
    def version(self) -> str:
        """Name and version of the backend, for provenance."""

    @property
    def library(self) -> EngineLibrary | None:
        """Which library of the user's own does the work; None for the installed one."""

    @property
    def kinetic_eV_per_amu_A2_ps2(self) -> float:
        """The backend's own value of 1 amu (angstrom/ps)^2 in eV."""

    def build(self, atoms: ase.Atoms) -> None:
        """Make a box of `atoms`: positions, orthogonal cell, periodicity, held atoms; velocities zero."""

    def read(self, state: Path, *, periodic: Sequence[bool], held: Sequence[int]) -> None:
        """Make a box of a state that `write` wrote, holding the atoms `held`."""

    def write(self, state: Path) -> None:
        """Write positions, velocities and the box, exactly."""

    def minimise(
        self,
        *,
        force_tolerance_eV_A: float,
        max_iterations: int,
        finish: Callable[[], None] | None = None,
        finish_below_eV_A: float = math.inf,
    ) -> Minimum:
        """Descend into the nearest local minimum at fixed box, of the potential that says where atoms rest.

        `finish` may go on once no component of a force is larger than `finish_below_eV_A`; of a potential that is
        two it is called for each. What it leaves is brought to rest.
        """

    def potential_energy_eV(self) -> float:
        """Return the potential energy of the box as it is."""

    def forces_eV_A(self) -> NDArray[np.float64]:
        """Return the forces (n, 3) of the last evaluation."""

    def stress_eV_A3(self) -> NDArray[np.float64]:
        """Return the stress (3, 3) of the box as it is: dE/d(strain) over the volume, tension positive."""

    def virials_eV(self) -> NDArray[np.float64]:
        """Return stress times volume of each atom (n, 3) along x, y, z, without kinetic part, tension positive."""

    def atom_energies_eV(self) -> NDArray[np.float64]:
        """Return what each atom adds to the potential energy of the box as it is (n,), as the potential shares it.

        Of a potential that is two: of the one that says where atoms rest.
        """

    def set_position(self, index: int, position_A: NDArray[np.float64]) -> None:
        """Move one atom."""

    def set_positions(self, positions_A: NDArray[np.float64]) -> None:
        """Move all atoms to unwrapped positions (n, 3), at rest."""

    def set_velocities(self, velocities_A_ps: NDArray[np.float64]) -> None:
        """Give all atoms velocities (n, 3)."""

    def relax_box(self, *, force_tolerance_eV_A: float) -> NDArray[np.float64]:
        """Relax atoms and the three box lengths to zero pressure; return the lengths (3,) in angstrom."""

    def heat(
        self, *, temperature_K: float, duration_ps: float, damping_ps: float, timestep_ps: float, seed: int
    ) -> None:
        """Bring a minimised box to a temperature by velocities of 2 T and a Langevin thermostat."""

    def run(self, *, duration_ps: float, timestep_ps: float) -> float:
        """Run at constant energy; return the mean kinetic temperature in K."""

    def follow(
        self,
        *,
        pka: int,
        velocity_A_ps: NDArray[np.float64],
        rules: FlightRules,
        later_kicks: Sequence[VelocityKick] = (),
        look_at_ps: Sequence[float] = (),
        is_over: Callable[[Look], bool] | None = None,
    ) -> Flight:
        """Replace the velocity of atom `pka` and follow what happens.

        Each of `later_kicks`, in the order of time, adds to the velocity that the atom has when its time has come:
        a step ends exactly there. Positions are kept at the times `look_at_ps`, which come in order and after all
        kicks; the flight ends at the first of which `is_over` is true.
        """

    def state(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return unwrapped positions (n, 3) in angstrom and velocities (n, 3) in angstrom/ps."""

    def close(self) -> None:
        """Give everything back."""


@dataclass(frozen=True, kw_only=True)
class Motion:
    """What is seen of a box at one moment.

    Attributes
    ----------
    time_ps : float
        Time since the kick.
    positions_A : (n, 3) float
        Unwrapped.
    kinetic_energy_eV : (n,) float
        Of each atom.
    """

    time_ps: float
    positions_A: NDArray[np.float64]
    kinetic_energy_eV: NDArray[np.float64]


class WatchfulEngine(Engine, Protocol):
    """An engine that can be stopped as soon as what is to be known is known."""

    def follow_until(
        self,
        is_enough: Callable[[Motion], bool],
        *,
        pka: int,
        velocity_A_ps: NDArray[np.float64],
        rules: FlightRules,
        look_every_ps: float,
    ) -> float:
        """Kick as `follow` does, look at the box now and then, and stop when it is enough or the time is over.

        Nothing is kept of the steps between two looks, which makes them a third cheaper in a small box. Return the
        change of the total energy in eV, what the border and electrons took out added back.
        """
