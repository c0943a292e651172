r"""A cascade of a run once more, followed by another calculator: first principles, or another potential.

Same box, same thermal start, same atom, same kick. Velocity Verlet, with a step as long as a displacement allows:

.. math:: x' = x + v \Delta t + \tfrac{1}{2} a \Delta t^2, \qquad v' = v + \tfrac{1}{2} (a + a') \Delta t

    OUT/replay.json      which cascade, by whom, how
    OUT/state.npz        where it is; a replay that was stopped goes on from there
    OUT/flight.extxyz    each step: positions, velocities, energy, forces
    OUT/calculator/      what the calculator writes

Each step is kept before the next begins, so that a kill costs one step.
"""

# ASE annotates only part of what it offers:
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import atomic_masses

from cascade_driver.campaign.rundir import RunDirectory
from cascade_driver.errors import InputError
from cascade_driver.files import whole_file, write_atomically
from cascade_driver.kinds import Array
from cascade_driver.schema import parameters, plain, read_json
from cascade_driver.simulation.knock_on import choose_atom, kick_velocity
from cascade_driver.simulation.lammps_engine import LammpsEngine
from cascade_driver.simulation.start import read_box, read_snapshot
from cascade_driver.training.extended_xyz import cut_to, whole_frames
from cascade_driver.units import FS_PER_PS, eV_PER_AMU_A2_PS2

FLIGHT_FILE = "flight.extxyz"

#: Gives the calculator of a box within a folder of its own; closes it at the end.
OpenCalculator = Callable[[Atoms, Path], contextlib.AbstractContextManager[Calculator]]


@parameters
class ReplaySettings:
    """How a cascade is replayed.

    Attributes
    ----------
    cascade : str
        Id of the cascade.
    calculator : str
        Who follows it, in words.
    max_displacement_A, max_timestep_fs : float
        No atom moves farther in a step, and no step is longer. 0.1 A and 1.5 fs follow 45 eV of tungsten in CaWO4
        with a total energy that is kept within 0.05 eV, and the knock-on within 0.002 A.
    """

    cascade: str
    calculator: str
    max_displacement_A: float = 0.1
    max_timestep_fs: float = 1.5


@dataclass(frozen=True, kw_only=True)
class Step:
    """A moment of a replay.

    Attributes
    ----------
    time_ps : float
        Since the kick.
    positions_A, velocities_A_ps, forces_eV_A : (n, 3) float
        Unwrapped positions.
    potential_energy_eV : float
        As the calculator counts.
    """

    time_ps: float
    positions_A: Array
    velocities_A_ps: Array
    forces_eV_A: Array
    potential_energy_eV: float

    def kinetic_energies_eV(self, masses_amu: Array) -> Array:
        """Return those of all atoms, (n,)."""
        squares: Array = (self.velocities_A_ps**2).sum(axis=1)
        return 0.5 * eV_PER_AMU_A2_PS2 * masses_amu * squares


def start_of(run: RunDirectory, cascade: str) -> tuple[Atoms, int]:
    """Return the box of a cascade with its velocities right after the kick, and the index of the knock-on.

    The velocities (angstrom/ps) are the array `velocities_A_ps`.

    Raises
    ------
    InputError
        If the knock-on gets several kicks.
    RecordError, PotentialError
        If the record, its starting state or the potential is missing or damaged.
    """
    spec = run.record(cascade).spec
    if spec.knock_on.then:
        raise InputError(f"{cascade}: its knock-on gets several kicks, and a replay gives one; choose another")
    starts = run.path / "starts" / spec.protocol.start_id
    box = read_box(starts)
    engine = LammpsEngine(potential=run.potential_of(spec.protocol))
    try:
        engine.read(read_snapshot(starts, spec.snapshot).state, periodic=box.periodic, held=box.held.tolist())
        positions_A, velocities_A_ps = engine.state()
    finally:
        engine.close()
    atoms = box.atoms()
    pka = choose_atom(atoms, spec.knock_on.species, region=spec.knock_on.region)
    atoms.set_positions(positions_A, apply_constraint=False)
    velocities_A_ps[pka] = kick_velocity(
        recoil_energy_eV=spec.knock_on.recoil_energy_eV,
        mass_amu=float(atomic_masses[atoms.numbers[pka]]),
        direction=spec.knock_on.direction,
        kinetic_eV_per_amu_A2_ps2=eV_PER_AMU_A2_PS2,
    )
    atoms.set_array("velocities_A_ps", velocities_A_ps)
    return atoms, pka


def replay(
    run: RunDirectory,
    settings: ReplaySettings,
    *,
    open_calculator: OpenCalculator,
    out: Path,
    until_fs: float = 200.0,
    stop_after_s: float | None = None,
    observe: Callable[[str], None] = print,
) -> Step:
    """Follow a cascade with a calculator until a time after its kick, or go on where it was stopped.

    Parameters
    ----------
    run : RunDirectory
        Nothing in it is changed.
    settings : ReplaySettings
        Which cascade, and how.
    open_calculator : callable
        Gives the calculator for the box and a folder.
    out : pathlib.Path
        Where the flight is kept.
    until_fs : float
        Time after the kick.
    stop_after_s : float, optional
        Begin no step later than this from now; what is done then goes on another time.
    observe : callable
        Is given a line about each step.

    Raises
    ------
    InputError
        If `out` holds another replay.
    LabelError
        If the calculator fails; what was followed until then is kept.
    """
    atoms, pka = start_of(run, settings.cascade)
    reserve(
        out / "replay.json",
        {"settings": plain(settings)},
        other="a replay of another cascade or by other means",
    )
    begun, limit_s = time.monotonic(), math.inf if stop_after_s is None else stop_after_s
    with open_calculator(atoms, out / "calculator") as calculator:
        forces = _Forces(atoms, calculator)
        step = _resume(out) or _keep(out, atoms, settings, forces.at_start(), pka)
        observe(_words(step, atoms, pka))
        while step.time_ps * FS_PER_PS < until_fs and time.monotonic() - begun < limit_s:
            step = _keep(out, atoms, settings, _next(step, forces, settings, until_fs=until_fs), pka)
            observe(_words(step, atoms, pka))
    return step


def _next(step: Step, forces: _Forces, settings: ReplaySettings, *, until_fs: float) -> Step:
    """Return the state one step later; the step ends at the end of the replay at the latest."""
    masses = forces.masses_amu[:, None]
    acceleration = step.forces_eV_A / masses / eV_PER_AMU_A2_PS2
    dt = min(settings.max_timestep_fs, until_fs - step.time_ps * FS_PER_PS) / FS_PER_PS
    dt = min(dt, _longest_ps(step.velocities_A_ps, acceleration, settings.max_displacement_A))
    positions = step.positions_A + step.velocities_A_ps * dt + 0.5 * acceleration * dt**2
    energy, force = forces(positions)
    velocities = step.velocities_A_ps + 0.5 * dt * (acceleration + force / masses / eV_PER_AMU_A2_PS2)
    return Step(
        time_ps=step.time_ps + dt,
        positions_A=positions,
        velocities_A_ps=velocities,
        forces_eV_A=force,
        potential_energy_eV=energy,
    )


def _longest_ps(velocities: Array, accelerations: Array, most_A: float) -> float:
    """Return the longest step in which v dt + a dt^2 / 2, the two taken as parallel, is at most a distance."""
    v, a = np.linalg.norm(velocities, axis=1), np.linalg.norm(accelerations, axis=1)
    # The smaller root of a/2 t^2 + v t - most = 0, in the form that does not cancel.
    root = v + np.sqrt(v**2 + 2 * a * most_A)
    return float((2 * most_A / np.maximum(root, 1e-300)).min())


class _Forces:
    """Energy and forces of a box at given positions."""

    def __init__(self, atoms: Atoms, calculator: Calculator) -> None:
        self._atoms = atoms.copy()
        self._atoms.set_constraint()
        self._atoms.calc = calculator
        self.masses_amu: Array = atomic_masses[atoms.numbers]

    def __call__(self, positions_A: Array) -> tuple[float, Array]:
        self._atoms.set_positions(positions_A)
        return float(self._atoms.get_potential_energy()), np.array(self._atoms.get_forces())

    def at_start(self) -> Step:
        positions = self._atoms.get_positions()
        energy, force = self(positions)
        return Step(
            time_ps=0.0,
            positions_A=positions,
            velocities_A_ps=self._atoms.get_array("velocities_A_ps"),
            forces_eV_A=force,
            potential_energy_eV=energy,
        )


# -- what is kept -------------------------------------------------------------------------------------------


def reserve(file: Path, content: Mapping[str, object], *, other: str) -> None:
    """Write into a folder what it is for, or make sure that it is for the same.

    Parameters
    ----------
    file : pathlib.Path
        In that folder, made where there is none.
    content : mapping
        What it is for.
    other : str
        What a folder holds whose file says something else.

    Raises
    ------
    InputError
        If it is for something else.
    """
    if file.is_file():
        if read_json(file) != content:
            raise InputError(f"{file.parent}: holds {other}; choose another place")
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, json.dumps(content, indent=1) + "\n")


def _keep(out: Path, atoms: Atoms, settings: ReplaySettings, step: Step, pka: int) -> Step:
    """Keep a step: first in the flight, then as the state from which the next one starts."""
    with (out / FLIGHT_FILE).open("a", encoding="utf-8") as stream:
        ase.io.write(stream, _frame(atoms, settings, step, pka), format="extxyz")
    with whole_file(out / "state.npz") as partial, partial.open("wb") as packed:
        np.savez(packed, **vars(step))
    return step


def _resume(out: Path) -> Step | None:
    """Return the last step that was kept whole, and take off the flight what came after it."""
    if not (out / "state.npz").is_file():
        return None
    with np.load(out / "state.npz", allow_pickle=False) as kept:
        step = Step(**{name: kept[name][()] if kept[name].ndim == 0 else kept[name] for name in kept.files})
    step = replace(step, time_ps=float(step.time_ps), potential_energy_eV=float(step.potential_energy_eV))
    frames = whole_frames(out / FLIGHT_FILE)
    while frames and abs(_time_fs(frames[-1]) - step.time_ps * FS_PER_PS) > 1e-6:
        frames.pop()
    if not frames:
        raise InputError(f"{out}: its flight does not hold its state; remove it and replay anew")
    cut_to(out / FLIGHT_FILE, frames)
    return step


def _time_fs(frame: str) -> float:
    return float(frame.partition(" time_fs=")[2].split()[0])


def _frame(atoms: Atoms, settings: ReplaySettings, step: Step, pka: int) -> Atoms:
    frame = Atoms(atoms.numbers, positions=step.positions_A, cell=atoms.cell, pbc=atoms.pbc)
    frame.set_array("velocities_A_ps", step.velocities_A_ps)
    frame.calc = SinglePointCalculator(frame, energy=step.potential_energy_eV, forces=step.forces_eV_A)
    kinetic = step.kinetic_energies_eV(atomic_masses[atoms.numbers])
    frame.info.update(
        time_fs=step.time_ps * FS_PER_PS,
        pka=pka,
        pka_kinetic_energy_eV=float(kinetic[pka]),
        total_energy_eV=step.potential_energy_eV + float(kinetic.sum()),
        group="flight",
        trajectory=f"replay-{settings.cascade}",
        origin=f"cascade {settings.cascade}, {step.time_ps * FS_PER_PS:.2f} fs after its kick",
        settings=settings.calculator,
    )
    return frame


def _words(step: Step, atoms: Atoms, pka: int) -> str:
    kinetic = step.kinetic_energies_eV(atomic_masses[atoms.numbers])
    total: Any = step.potential_energy_eV + kinetic.sum()
    return (
        f"{step.time_ps * FS_PER_PS:8.3f} fs: knock-on {kinetic[pka]:7.3f} eV, potential "
        f"{step.potential_energy_eV:.4f} eV, total {total:.4f} eV"
    )
