"""Labels of other programs as frames of ours: what is taken, converted and left out, and what is doubtful.

A file whose units cannot be right is refused; a step that is no label (not converged, nan, made by a force field)
is left out with its number. What only looks wrong is said: energies that do not change as the forces say,
one structure with two labels, several settings.
"""

# ASE annotates only part of what it offers:
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import dataclasses
import itertools
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase.geometry import find_mic

from cascade_driver.errors import InputError
from cascade_driver.schema import parameters
from cascade_driver.training.extended_xyz import FrameKeys, FrameUnits, labelled, no_crystal, read_structures
from cascade_driver.training.frames import (
    LabelledFrame,
    LARGEST_STRESS_GPa,
    bare,
    flaw,
    one_run,
    stress_GPa,
    structure_id,
)
from cascade_driver.training.outputs import Output, Step, is_extended_xyz, read_output
from cascade_driver.units import BOHR_A, HARTREE_eV

#: A trajectory of this name: every frame is one of its own.
EACH = "each"


@parameters
class ImportRules:
    """How files of other programs become frames.

    Attributes
    ----------
    keys : FrameKeys
    units : FrameUnits
        Both of extended XYZ alone: other formats know theirs.
    group : str
        Of all frames, such as `perfect`, before what the file says.
    trajectory : str
        Of all frames, before what the file says; `each` makes every frame one of its own. By default the frames of
        a file that names none are one trajectory.
    origin : str
        Of frames that do not name theirs; by default the name of the file.
    settings : str
        Who labelled frames that do not tell it, with what.
    smeared : bool
        Take the free energy, whose derivatives the forces are; else the one extrapolated to no smearing.
    """

    keys: FrameKeys = dataclasses.field(default_factory=FrameKeys)
    units: FrameUnits = dataclasses.field(default_factory=FrameUnits)
    group: str = ""
    trajectory: str = ""
    origin: str = ""
    settings: str = ""
    smeared: bool = True


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What became of a file.

    Attributes
    ----------
    path : Path
    program : str
        That wrote it.
    frames : list of LabelledFrame
        Taken, in the order of the file.
    left_out : dict
        Numbers of frames, from 0, by the reason.
    notes : list of str
        What was converted or chosen.
    """

    path: Path
    program: str
    frames: Sequence[LabelledFrame]
    left_out: dict[str, list[int]]
    notes: Sequence[str]


def import_frames(path: Path, rules: ImportRules) -> Imported:
    """Return the labels of a file of another program.

    Raises
    ------
    InputError
        If the file cannot be read, an extended XYZ lacks labels, or a unit is unknown or cannot be right.
    """
    if is_extended_xyz(path):
        taken, left_out, notes = _from_xyz(path, rules)
        program = "extended XYZ"
    else:
        output = read_output(path)
        taken, left_out, notes = _from_output(path, output, rules)
        program = output.program
    numbers, frames = [n for n, _ in taken], [frame for _, frame in taken]
    frames = [_placed(frame, number, path, rules) for number, frame in zip(numbers, frames, strict=True)]
    sound = []
    for number, frame in zip(numbers, frames, strict=True):
        if reason := flaw(frame):
            left_out[reason].append(number)
        else:
            sound.append(frame)
    unknown = [frame.stress_eV_per_A3 is not None and not frame.stress_eV_per_A3.any() for frame in sound]
    if any(unknown):
        notes.append(f"stress: zero in all components of {sum(unknown)} frames, taken as unknown")
        sound = [
            dataclasses.replace(frame, stress_eV_per_A3=None) if none else frame
            for frame, none in zip(sound, unknown, strict=True)
        ]
    return Imported(
        path=path,
        program=program,
        frames=one_run(sound, name=path.name),
        left_out=dict(left_out),
        notes=list(dict.fromkeys(notes)),
    )


Taken = list[tuple[int, LabelledFrame]]


def _from_xyz(path: Path, rules: ImportRules) -> tuple[Taken, defaultdict[str, list[int]], list[str]]:
    taken, left_out, notes = Taken(), defaultdict[str, list[int]](list), list[str]()
    for number, atoms in enumerate(read_structures(path, keys=rules.keys)):
        if reason := no_crystal(atoms):
            left_out[reason].append(number)
            continue
        one = labelled(
            atoms,
            keys=rules.keys,
            units=rules.units,
            where=f"{path}, frame {number}",
            origin=rules.origin or path.name,
            smeared=rules.smeared,
        )
        if stress_GPa(one.frame) > LARGEST_STRESS_GPa and not one.stress_unit_told:
            raise InputError(
                f"{path}, frame {number}: a stress of {stress_GPa(one.frame):.3g} GPa, which no solid bears: name "
                "its unit, e.g. --unit stress=bar (with --compression-positive for files of FitSNAP)"
            )
        taken.append((number, one.frame))
        notes += one.notes
    return taken, left_out, notes


def _from_output(
    path: Path, output: Output, rules: ImportRules
) -> tuple[Taken, defaultdict[str, list[int]], list[str]]:
    taken, left_out, notes = Taken(), defaultdict[str, list[int]](list), list(output.notes)
    differences = []
    for number, step in enumerate(output.steps):
        reason = step.flaw or (no_crystal(step.atoms) if step.atoms is not None else "")
        if reason or step.atoms is None or step.energy_eV is None or step.forces_eV_per_A is None:
            left_out[reason or "no labels in it"].append(number)
            continue
        if step.unsmeared_eV is not None:
            differences.append(abs(step.energy_eV - step.unsmeared_eV) / len(step.atoms))
        taken.append((number, _frame_of(step, output, path, rules)))
    if max(differences, default=0.0) > 0:
        chosen = "the free one, of the forces" if rules.smeared else "the one extrapolated to no smearing"
        notes.append(f"energy: {chosen}; the two differ by up to {1000 * max(differences):.3g} meV/atom")
    return taken, left_out, notes


def _frame_of(step: Step, output: Output, path: Path, rules: ImportRules) -> LabelledFrame:
    assert step.atoms is not None
    assert step.energy_eV is not None
    assert step.forces_eV_per_A is not None
    energy = step.energy_eV if rules.smeared or step.unsmeared_eV is None else step.unsmeared_eV
    info = step.atoms.info
    return LabelledFrame(
        atoms=bare(step.atoms),
        energy_eV=energy,
        forces_eV_per_A=step.forces_eV_per_A,
        stress_eV_per_A3=step.stress_eV_per_A3,
        group=str(info.get("group", output.group)),
        trajectory=str(info.get("trajectory", output.trajectory)),
        origin=str(info.get("origin", rules.origin or path.name)),
        settings=str(info.get("settings", rules.settings or output.settings)),
    )


def _placed(frame: LabelledFrame, number: int, path: Path, rules: ImportRules) -> LabelledFrame:
    """Return a frame with the words that the rules give it."""
    trajectory = rules.trajectory or frame.trajectory
    if rules.trajectory == EACH:
        trajectory = f"{path.name}-{number}-{frame.structure_id[:8]}"
    return dataclasses.replace(
        frame,
        group=rules.group or frame.group,
        trajectory=trajectory,
        settings=frame.settings or rules.settings,
    )


# -- what looks wrong -----------------------------------------------------------------------------------------


def doubts(frames: Sequence[LabelledFrame]) -> list[str]:
    """Return what looks wrong with frames that are to be fitted together, in sentences."""
    settings = sorted({frame.settings for frame in frames})
    words = ", ".join(f"`{one}`" if one else "none" for one in settings)
    mixed = (
        [f"labels of {len(settings)} settings ({words}); each needs its own crystal"] if len(settings) > 1 else []
    )
    return [*contradictions(frames), *wrong_derivatives(frames), *mixed]


def contradictions(frames: Sequence[LabelledFrame]) -> list[str]:
    """Return structures that stand twice with different labels of the same settings."""
    energies = defaultdict[tuple[str, str], list[float]](list)
    for frame in frames:
        energies[structure_id(frame.atoms), frame.settings].append(frame.energy_eV / len(frame.atoms))
    spread = [max(found) - min(found) for found in energies.values()]
    wrong = [one for one in spread if one > 1e-3]
    if not wrong:
        return []
    return [
        f"{len(wrong)} structures stand there twice with labels of one setting that differ by up to "
        f"{max(wrong):.3g} eV/atom; the first of each is kept"
    ]


#: Steps that a trapezoid still follows: positions and strains between two frames.
_CLOSE_A = 0.2
_SMALL_STRAIN = 0.03

#: Less work than this is lost in the digits of the energies.
_LEAST_WORK_eV = 2e-3

#: Slopes beyond this are no error of the trapezoid; units are wrong by 1.9 and more.
_SLOPE_ERROR = 0.3

#: What slopes other than 1 mean: change of energy over work of the forces.
_MEANINGS = (
    (-1.0, "they are gradients, not forces"),
    (1 / BOHR_A, "both are in atomic units"),
    (HARTREE_eV / BOHR_A, "the forces are in hartree/bohr"),
    (HARTREE_eV / BOHR_A / 2, "the forces are in rydberg/bohr"),
    (1 / HARTREE_eV, "the energies are in hartree"),
    (2 / HARTREE_eV, "the energies are in rydberg"),
)


def wrong_derivatives(frames: Sequence[LabelledFrame]) -> list[str]:
    r"""Return trajectories whose energies do not change as forces and stresses say.

    Between two close frames :math:`\Delta E = -\frac12 \sum_i (F_i + F_i') \cdot \Delta r_i + V \sigma : \epsilon`
    but for third-order terms; the slope of the left over the right side is 1.
    """
    runs = defaultdict[tuple[str, str], list[LabelledFrame]](list)
    for frame in frames:
        runs[frame.trajectory, str(frame.atoms.symbols)].append(frame)
    said = []
    for (name, _), run in runs.items():
        work = [found for pair in itertools.pairwise(run) if (found := _work(*pair)) is not None]
        said += _judged(name, "forces", [(one.change, one.forces) for one in work if one.of_forces])
        said += _judged(name, "stresses", [(one.change - one.forces, one.stress) for one in work if one.of_stress])
    return said


@dataclass(frozen=True, kw_only=True)
class _Work:
    """Change of the energy between two frames, and the work of forces and of the stress, in eV."""

    change: float
    forces: float
    stress: float
    of_forces: bool
    of_stress: bool


def _work(one: LabelledFrame, two: LabelledFrame) -> _Work | None:
    if one.settings != two.settings:
        return None
    cells = one.atoms.cell.array, two.atoms.cell.array
    gradient = np.linalg.solve(*cells) - np.eye(3)
    strain = (gradient + gradient.T) / 2
    if abs(gradient).max() > _SMALL_STRAIN:
        return None
    middle = (cells[0] + cells[1]) / 2
    moved = (two.atoms.get_scaled_positions(wrap=False) - one.atoms.get_scaled_positions(wrap=False)) @ middle
    moved, lengths = find_mic(moved, middle, pbc=True)
    if lengths.max() > _CLOSE_A:
        return None
    ends = [-float((frame.forces_eV_per_A * moved).sum()) for frame in (one, two)]
    forces = sum(ends) / 2
    change = two.energy_eV - one.energy_eV
    strained = bool(abs(strain).max() > 1e-6)
    strains = [0.0, 0.0]
    if strained and one.stress_eV_per_A3 is not None and two.stress_eV_per_A3 is not None:
        doubled = np.array([*np.diag(strain), 2 * strain[1, 2], 2 * strain[0, 2], 2 * strain[0, 1]])
        volume = abs(float(np.linalg.det(middle)))
        strains = [volume * float(tensor @ doubled) for tensor in (one.stress_eV_per_A3, two.stress_eV_per_A3)]
    stress = sum(strains) / 2
    return _Work(
        change=change,
        forces=forces,
        stress=stress,
        of_forces=not strained and _steady(ends),
        of_stress=_steady(strains) and abs(stress) > 3 * abs(forces),
    )


def _steady(ends: Sequence[float]) -> bool:
    """Return whether the work at both ends of a step says nearly the same: then a trapezoid follows it."""
    small, large = sorted(map(abs, ends))
    return ends[0] * ends[1] > 0 and small > _LEAST_WORK_eV and large < 2 * small


def _judged(name: str, what: str, pairs: Iterable[tuple[float, float]]) -> list[str]:
    rows = np.array(list(pairs))
    if len(rows) == 0:
        return []
    change, work = rows.T
    # The middle one: a pair that is no step of the run does not decide.
    slope = float(np.median(change / work))
    if abs(slope - 1) < _SLOPE_ERROR:
        return []
    meanings = [f": as if {words}" for value, words in _MEANINGS if abs(slope / value - 1) < _SLOPE_ERROR / 2]
    if what == "stresses":
        meanings = [": as if they were positive under compression"] if abs(slope + 1) < _SLOPE_ERROR else []
    return [
        f"the {what} are not the derivatives of the energies: between {len(rows)} pairs of close frames of "
        f"`{name}` the energy changes {slope:.3g} times as much as they say{meanings[0] if meanings else ''}"
    ]
