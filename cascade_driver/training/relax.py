"""Structures brought to rest by another calculator: do ends of cascades stay, and at what energy?

A potential whose forces err finds minima of its own; single points there say what they cost elsewhere, not where
the other surface has its minimum. Each step of a relaxation is a label, too, along a way that matters.

    OUT/relax.json             by whom, until when
    OUT/NNN/start.extxyz       the structure as it was given
    OUT/NNN/steps.extxyz       each step: positions, energy, forces; what was stopped goes on from the last
    OUT/NNN/calculator/        what the calculator writes

Steps are those of limited-memory BFGS with the exponential preconditioner of Packwood et al., J. Chem. Phys. 144,
164109 (2016), doi:10.1063/1.4947024 (ASE).
"""

# ASE annotates only part of what it offers:
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.geometry import find_mic
from ase.optimize.precon import Exp, PreconLBFGS
from pydantic import Field

from cascade_driver.errors import InputError
from cascade_driver.schema import parameters, plain
from cascade_driver.training.extended_xyz import cut_to, whole_frames
from cascade_driver.training.frames import bare, require_structures, structure_id, write_structures
from cascade_driver.training.replay import OpenCalculator, reserve

STEPS_FILE = "steps.extxyz"

#: Neighbours of the preconditioner decay over the nearest distance with this exponent, ASE's default.
_DECAY = 3.0


@parameters
class RelaxSettings:
    """How structures are relaxed.

    Attributes
    ----------
    calculator : str
        By whom, in words.
    force_tolerance_eV_A : float
        No force is larger in the end.
    most_steps : int
        Or so many steps were made.
    """

    calculator: str
    force_tolerance_eV_A: float = Field(default=0.05, gt=0)
    most_steps: int = Field(default=200, ge=1)


@dataclass(frozen=True, kw_only=True)
class Relaxation:
    """How far the relaxation of a structure is.

    Attributes
    ----------
    name : str
        Folder of its steps.
    group : str
        Kind of structure, as its frame says.
    steps : int
        Calls of the calculator.
    start_energy_eV, energy_eV : float
        First and last.
    largest_force_eV_A, largest_displacement_A : float
        In the last step; displacements from the start.
    is_at_rest : bool
        Whether the force tolerance is met.
    """

    name: str
    group: str
    steps: int
    start_energy_eV: float
    energy_eV: float
    largest_force_eV_A: float
    largest_displacement_A: float
    is_at_rest: bool


def relax(
    structures: Sequence[Atoms],
    settings: RelaxSettings,
    *,
    open_calculator: OpenCalculator,
    out: Path,
    stop_after_s: float | None = None,
    observe: Callable[[str], None] = print,
) -> list[Relaxation]:
    """Relax structures one after another, or go on where that was stopped; cells stay as they are.

    Parameters
    ----------
    structures : sequence of ase.Atoms
        Their `info` may name `group` and `trajectory`.
    settings : RelaxSettings
        By whom, until when.
    open_calculator : callable
        Gives the calculator for a box and a folder.
    out : pathlib.Path
        Where steps are kept.
    stop_after_s : float, optional
        Begin no step later than this from now; what is done then goes on another time.
    observe : callable
        Is given a line about each step.

    Returns
    -------
    list of Relaxation
        Of those that were begun, in their order.

    Raises
    ------
    InputError
        If there is no structure, one cannot be computed, or `out` holds other relaxations.
    LabelError
        If the calculator fails; the steps until then are kept.
    """
    if not structures:
        raise InputError("no structures to relax; give a file that holds some")
    require_structures(structures)
    reserve(
        out / "relax.json",
        {"settings": plain(settings), "structures": [structure_id(bare(atoms)) for atoms in structures]},
        other="relaxations of other structures or by other means",
    )
    until = math.inf if stop_after_s is None else time.monotonic() + stop_after_s
    found = []
    for index, start in enumerate(structures):
        if time.monotonic() > until:
            break
        one = _relax_one(
            start, settings, open_calculator, folder=out / f"{index:03d}", until=until, observe=observe
        )
        found.append(one)
    return found


def relaxed_steps(out: Path) -> list[Atoms]:
    """Return all steps of all relaxations of a folder, labelled frames of one trajectory each."""
    return [atoms for folder in sorted(out.glob("[0-9]*")) for atoms in _steps_of(folder)]


def _relax_one(
    start: Atoms,
    settings: RelaxSettings,
    open_calculator: OpenCalculator,
    *,
    folder: Path,
    until: float,
    observe: Callable[[str], None],
) -> Relaxation:
    """Relax one structure from its last kept step; a relaxation that is at rest is not begun again."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "start.extxyz").is_file():
        write_structures(folder / "start.extxyz", [start])
    steps = _steps_of(folder)
    if steps and _is_done(steps, settings):
        return _summary(folder, start, steps, settings)
    atoms = bare(start)
    if steps:
        atoms.set_positions(steps[-1].positions)
    with open_calculator(atoms, folder / "calculator") as calculator:
        atoms.calc = calculator
        optimiser = PreconLBFGS(atoms, precon=Exp(A=_DECAY), use_armijo=False, logfile=None)
        is_repeated = bool(steps)
        for _ in optimiser.irun(fmax=settings.force_tolerance_eV_A, steps=settings.most_steps - len(steps)):
            if not is_repeated:
                steps.append(_keep(folder, start, atoms, settings))
                observe(_words(folder.name, steps))
            is_repeated = False
            if time.monotonic() > until:
                break
    return _summary(folder, start, steps, settings)


def _is_done(steps: Sequence[Atoms], settings: RelaxSettings) -> bool:
    return _largest_force(steps[-1]) <= settings.force_tolerance_eV_A or len(steps) >= settings.most_steps


def _largest_force(atoms: Atoms) -> float:
    return float(np.linalg.norm(atoms.get_forces(), axis=1).max())


def _summary(folder: Path, start: Atoms, steps: Sequence[Atoms], settings: RelaxSettings) -> Relaxation:
    last = steps[-1]
    moved, _ = find_mic(last.positions - start.positions, start.cell)
    return Relaxation(
        name=folder.name,
        group=str(start.info.get("group", "")),
        steps=len(steps),
        start_energy_eV=float(steps[0].get_potential_energy()),
        energy_eV=float(last.get_potential_energy()),
        largest_force_eV_A=_largest_force(last),
        largest_displacement_A=float(np.linalg.norm(moved, axis=1).max()),
        is_at_rest=_largest_force(last) <= settings.force_tolerance_eV_A,
    )


def _words(name: str, steps: Sequence[Atoms]) -> str:
    change = steps[-1].get_potential_energy() - steps[0].get_potential_energy()
    return f"{name}: step {len(steps)}, {change:+.4f} eV, largest force {_largest_force(steps[-1]):.3f} eV/A"


# -- what is kept -------------------------------------------------------------------------------------------


def _keep(folder: Path, start: Atoms, atoms: Atoms, settings: RelaxSettings) -> Atoms:
    """Append a step to those of a folder, and return it with its labels."""
    step = bare(atoms)
    step.calc = SinglePointCalculator(step, energy=atoms.get_potential_energy(), forces=atoms.get_forces())
    step.info.update(
        group="relaxation",
        trajectory=f"relaxation-{structure_id(bare(start))[:8]}",
        origin=f"relaxation of {start.info.get('origin', start.info.get('group', 'a structure'))}",
        settings=settings.calculator,
    )
    with (folder / STEPS_FILE).open("a", encoding="utf-8") as stream:
        ase.io.write(stream, step, format="extxyz")
    return step


def _steps_of(folder: Path) -> list[Atoms]:
    """Return the steps that were kept whole; a kill may have torn the last one, which is taken off."""
    file = folder / STEPS_FILE
    if not file.is_file():
        return []
    frames = whole_frames(file)
    cut_to(file, frames)
    return list(ase.io.iread(file, format="extxyz")) if frames else []
