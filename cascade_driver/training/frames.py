"""Structures with their energies, forces and stresses, as extxyz that every other tool reads.

Energies, forces and stresses stand under ASE's own names (`energy`, `forces`, `stress`); beside them each frame
says to which `group` and `trajectory` it belongs, where it comes from (`origin`) and who labelled it with which
`settings`. Frames of one trajectory are never torn apart by a cross-validation.
"""

from __future__ import annotations

import dataclasses
import gzip
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.singlepoint import SinglePointCalculator
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray

from cascade_driver.campaign.rundir import whole_file
from cascade_driver.errors import InputError
from cascade_driver.files import readable
from cascade_driver.schema import digest, parameters

#: Group of the frames that energies count from.
PERFECT = "perfect"

#: Boxes whose edges and angles agree within this share are one box, strained or not.
_SAME_BOX = 0.1

#: Positions closer than this are one position: what a text file keeps.
_RESOLUTION_A = 1e-5

#: What a frame says of itself, beside its numbers.
_WORDS = ("group", "trajectory", "origin", "settings", "label_id")


@dataclass(frozen=True, kw_only=True)
class LabelledFrame:
    """A structure and what a calculation says of it.

    Attributes
    ----------
    atoms : ase.Atoms
        n atoms, periodic; no calculator.
    energy_eV : float
        Potential energy of the box.
    forces_eV_per_A : ndarray, (n, 3)
    stress_eV_per_A3 : ndarray, (6,), optional
        ASE's order and sign: xx, yy, zz, yz, xz, xy; positive under tension.
    group : str
        Kind of structure: `frenkel_pair_W`, `strain`, `cascade_end`, ...
    trajectory : str
        Frames that came out of each other share it.
    origin : str
        Where the structure comes from.
    settings : str
        Who labelled it, with what.
    """

    atoms: Atoms
    energy_eV: float
    forces_eV_per_A: NDArray[np.float64]
    stress_eV_per_A3: NDArray[np.float64] | None = None
    group: str = ""
    trajectory: str = ""
    origin: str = ""
    settings: str = ""

    @property
    def structure_id(self) -> str:
        """Name of the structure by its content, see `structure_id`."""
        return structure_id(self.atoms)


@parameters
class FrameKeys:
    """Under which names a file keeps its labels; the defaults are ASE's.

    Attributes
    ----------
    energy, stress : str
        Of the values of a frame; the energy is in eV, the stress in eV/A^3.
    forces : str
        Of the values of its atoms, in eV/A.
    group, trajectory : str
        Of the words of a frame. Without a trajectory of its own, a frame belongs to the one that its group names
        up to the last underscore: `run3_7_12` is of `run3_7`; its group then loses its numbers: `run`.
    """

    energy: str = "energy"
    forces: str = "forces"
    stress: str = "stress"
    group: str = "group"
    trajectory: str = "trajectory"


def structure_id(atoms: Atoms) -> str:
    """Return a name of a structure by its content: species, cell, positions to 1e-5 A, mesh of k points.

    Atoms in another order, or moved by a lattice vector, are another structure: only exact copies are found.
    """
    content = {
        "species": atoms.get_chemical_symbols(),
        "cell": np.round(np.asarray(atoms.cell), 6).ravel().tolist(),
        "positions": np.round(atoms.positions / _RESOLUTION_A).astype(int).ravel().tolist(),
        "k_mesh": k_mesh(atoms),
    }
    return digest(content, length=16)


def k_mesh(atoms: Atoms) -> list[int]:
    """Return the Gamma-centred mesh of k points that a structure asks for in `info`, by default Gamma alone."""
    return [int(n) for n in np.asarray(atoms.info.get("k_mesh", (1, 1, 1))).ravel()]


def bare(atoms: Atoms) -> Atoms:
    """Return a periodic copy of a structure with its mesh of k points and nothing else."""
    copy = Atoms(atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=True)
    if "k_mesh" in atoms.info:
        copy.info["k_mesh"] = k_mesh(atoms)
    return copy


def read_frames(path: Path, *, keys: FrameKeys | None = None, origin: str = "") -> list[LabelledFrame]:
    """Return the labelled frames of a file that ASE reads: extxyz (also .gz), OUTCAR, vasprun.xml, ...

    Parameters
    ----------
    path : Path
    keys : FrameKeys, optional
        Names of the labels; only of extxyz, other formats have their own.
    origin : str
        Of frames that do not name theirs; by default the name of the file.

    Raises
    ------
    InputError
        If the file cannot be read, or a frame lacks its energy or forces; says which.
    """
    keys = keys or FrameKeys()
    path = readable(path, what="labelled structures")
    try:
        found = ase.io.read(path, index=":")
    except Exception as error:  # every format of ASE fails in its own way
        raise InputError(f"{path}: not a file of structures that ASE reads ({error})") from None
    frames = found if isinstance(found, list) else [found]
    return [
        _labelled(atoms, keys=keys, where=f"{path}, frame {number}", origin=origin or path.name)
        for number, atoms in enumerate(frames)
    ]


def _labelled(atoms: Atoms, *, keys: FrameKeys, where: str, origin: str) -> LabelledFrame:
    energy = _value(atoms, keys.energy, atoms.info)
    forces = _value(atoms, keys.forces, atoms.arrays)
    if energy is None or forces is None:
        lacking, name = ("energy", keys.energy) if energy is None else ("forces", keys.forces)
        names = sorted({*atoms.info, *atoms.arrays} - {"numbers", "positions"})
        raise InputError(
            f"{where}: no {lacking} under `{name}`, found {names}; name the right one with --key {lacking}=..."
        )
    if np.shape(forces) != (len(atoms), 3):
        raise InputError(f"{where}: forces of shape {np.shape(forces)}, expected ({len(atoms)}, 3)")
    stress = _value(atoms, keys.stress, atoms.info)
    group, trajectory = _place(str(atoms.info.get(keys.group, "")), atoms.info.get(keys.trajectory))
    return LabelledFrame(
        atoms=bare(atoms),
        energy_eV=float(energy),
        forces_eV_per_A=np.asarray(forces, dtype=float),
        stress_eV_per_A3=None if stress is None else _voigt(np.asarray(stress, dtype=float), where=where),
        group=group,
        trajectory=trajectory,
        origin=str(atoms.info.get("origin", origin)),
        settings=str(atoms.info.get("settings", "")),
    )


def _place(group: str, trajectory: Any) -> tuple[str, str]:
    """Return group and trajectory of a frame, see `FrameKeys`."""
    if trajectory is not None:
        return group, str(trajectory)
    words = [word.rstrip("0123456789.") for word in group.split("_")]
    return "_".join(word for word in words if word), group.rpartition("_")[0] or group


def _value(atoms: Atoms, name: str, place: Mapping[str, Any]) -> Any:
    """Return a label from where a file keeps it: under its own name, or with ASE's calculator."""
    if name in place:
        return place[name]
    if atoms.calc is not None and name in {"energy", "forces", "stress"}:
        try:
            return atoms.calc.get_property(name, atoms, allow_calculation=False)
        except PropertyNotImplementedError:
            return None
    return None


def _voigt(stress: NDArray[np.float64], *, where: str) -> NDArray[np.float64]:
    if stress.size == 9:
        return np.asarray(full_3x3_to_voigt_6_stress(stress.reshape(3, 3)))
    if stress.size == 6:
        return stress.ravel()
    raise InputError(f"{where}: a stress of {stress.size} numbers, expected 6 or 9")


def as_atoms(frame: LabelledFrame) -> Atoms:
    """Return a frame as ASE keeps it, its labels with a `SinglePointCalculator`."""
    atoms: Atoms = frame.atoms.copy()
    results: dict[str, Any] = {"energy": frame.energy_eV, "forces": frame.forces_eV_per_A}
    if frame.stress_eV_per_A3 is not None:
        results["stress"] = frame.stress_eV_per_A3
    atoms.calc = SinglePointCalculator(atoms, **results)
    words = {"group": frame.group, "trajectory": frame.trajectory, "origin": frame.origin}
    atoms.info.update({k: v for k, v in (words | {"settings": frame.settings}).items() if v})
    return atoms


def write_frames(path: Path, frames: Sequence[LabelledFrame]) -> None:
    """Write frames as extxyz, compressed if the name ends with .gz; at once or not at all.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    write_structures(path, [as_atoms(frame) for frame in frames])


def write_structures(path: Path, structures: Sequence[Atoms]) -> None:
    """Write structures as extxyz like `write_frames`; numbers are kept to what means something."""
    text = io.StringIO()
    for atoms in structures:
        ase.io.write(text, atoms, format="extxyz")
    content = text.getvalue().encode()
    if path.suffix == ".gz":
        content = gzip.compress(content, mtime=0)
    with whole_file(path) as partial:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())


def from_the_crystal(
    frames: Sequence[LabelledFrame], *, crystal: Sequence[LabelledFrame] | None = None, where: str
) -> list[LabelledFrame]:
    """Return frames with energies above the perfect crystal of the same labels.

    Programs disagree on the zero of energies, and on nothing else that matters here.

    The crystal of the same settings in the same box counts, if there is one: cutoffs and meshes of k points shift
    all energies alike. Else the lowest per atom of the same settings, or of all.

    Raises
    ------
    InputError
        If there is no frame of the group `perfect`.
    """
    perfect = [frame for frame in crystal or frames if frame.group == PERFECT]
    if not perfect:
        raise InputError(f"{where}: no frame of the group `{PERFECT}`; label the crystal with the same settings")

    def crystal_eV_per_atom(frame: LabelledFrame) -> float:
        near = [one for one in perfect if one.settings == frame.settings] or perfect
        near = [one for one in near if _same_box(one.atoms, frame.atoms)] or near
        return min(one.energy_eV / len(one.atoms) for one in near)

    return [dataclasses.replace(f, energy_eV=f.energy_eV - len(f.atoms) * crystal_eV_per_atom(f)) for f in frames]


def _same_box(one: Atoms, two: Atoms) -> bool:
    close = np.allclose(one.cell.cellpar(), two.cell.cellpar(), rtol=_SAME_BOX)
    return len(one) == len(two) and k_mesh(one) == k_mesh(two) and bool(close)


def without_copies(frames: Iterable[LabelledFrame]) -> list[LabelledFrame]:
    """Return frames without exact copies of structures; the first of each is kept."""
    kept: dict[str, LabelledFrame] = {}
    for frame in frames:
        kept.setdefault(frame.structure_id, frame)
    return list(kept.values())
