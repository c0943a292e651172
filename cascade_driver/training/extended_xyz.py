"""Frames of extended XYZ files, which every program writes in its own way: other names, other units, other signs.

What a comment declares (`energy-unit=hartree`) is converted or refused, never passed over.
"""

# ASE annotates only part of what it offers:
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from ase import Atoms
from ase.io.extxyz import key_val_str_to_dict, read_xyz
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray

from cascade_driver.errors import InputError
from cascade_driver.files import write_atomically
from cascade_driver.schema import parameters
from cascade_driver.training.frames import LabelledFrame, bare, flaw, one_run
from cascade_driver.training.outputs import is_extended_xyz, open_text, result
from cascade_driver.units import ENERGY, FORCE, STRESS, unit_in_eV_A


@parameters
class FrameKeys:
    """Under which names a file keeps its labels; the defaults are ASE's.

    Attributes
    ----------
    energy, stress : str
        Of the values of a frame; the energy is in eV, the stress in eV/A^3 unless the file or `FrameUnits` say
        otherwise. Nine numbers, or six in ASE's order: xx, yy, zz, yz, xz, xy.
    forces : str
        Of the values of its atoms, in eV/A.
    virial : str
        Instead of the stress, minus it times the volume, in eV.
    group, trajectory : str
        Of the words of a frame. Without a trajectory of its own, a frame belongs to the one that its group names
        up to the last underscore: `run3_7_12` is of `run3_7`; its group then loses its numbers: `run`.
    """

    energy: str = "energy"
    forces: str = "forces"
    stress: str = "stress"
    virial: str = "virial"
    group: str = "group"
    trajectory: str = "trajectory"

    @property
    def words(self) -> tuple[str, ...]:
        """Under which names a frame has words, which are no numbers whatever they look like."""
        return self.group, self.trajectory, "origin", "settings"


@parameters
class FrameUnits:
    """Units of the labels of a file that does not tell them, or tells them wrongly; see `unit_in_eV_A`.

    Attributes
    ----------
    energy, forces, stress, virial : str, optional
        By default what the comment of each frame says (`energy-unit=hartree`), else eV and A.
    compression_positive : bool
        The stress is that of LAMMPS and VASP, positive under compression.
    """

    energy: str | None = None
    forces: str | None = None
    stress: str | None = None
    virial: str | None = None
    compression_positive: bool = False


def read_frames(path: Path | str, *, keys: FrameKeys | None = None) -> list[LabelledFrame]:
    """Return the labelled frames of an extended XYZ file (also .gz), all of them or none.

    Frames that name neither group nor trajectory are one trajectory, see `one_run`; those that name no origin have
    the name of the file.

    Parameters
    ----------
    path : Path
    keys : FrameKeys, optional
        Names of the labels.

    Raises
    ------
    InputError
        If the file cannot be read, or a frame cannot be a label; says which.
    """
    path, keys = Path(path), keys or FrameKeys()
    if not is_extended_xyz(path):
        raise InputError(
            f"{path}: an output of another program; `cascade train import {path} --out frames.extxyz.gz` reads it"
        )
    frames = []
    for number, atoms in enumerate(read_structures(path, keys=keys)):
        where = f"{path}, frame {number}"
        frame = labelled(atoms, keys=keys, where=where, origin=path.name).frame
        if reason := flaw(frame) or no_crystal(atoms):
            raise InputError(f"{where}: {reason}; `cascade train import` leaves such frames out")
        frames.append(frame)
    return one_run(frames, name=path.name) if len(frames) > 1 else frames


def read_structures(path: Path, *, keys: FrameKeys | None = None) -> list[Atoms]:
    """Return the structures of an extended XYZ file (also .gz).

    Parameters
    ----------
    path : pathlib.Path
    keys : FrameKeys, optional
        Under which names they have words.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    try:
        with open_text(path) as stream:
            _require_whole_frames(stream, path)
            stream.seek(0)
            comment = partial(_comment, words=(keys or FrameKeys()).words)
            return list(read_xyz(stream, index=slice(None), properties_parser=comment))
    except InputError:
        raise
    except Exception as error:  # ASE's reader fails in its own ways
        raise InputError(f"{path}: not a file of structures that ASE reads ({error})") from None


def whole_frames(path: Path) -> list[str]:
    """Return the texts of the frames, all of as many atoms, of a file that grows; what a kill tore is left out."""
    with path.open(encoding="utf-8") as stream:
        lines = list(stream)
    if lines and not lines[-1].endswith("\n"):
        lines.pop()
    each = int(lines[0]) + 2 if lines else 1
    return ["".join(lines[at : at + each]) for at in range(0, len(lines) - each + 1, each)]


def cut_to(path: Path, frames: Sequence[str]) -> None:
    """Take off a file what stands behind its first frames, if anything does."""
    text = "".join(frames)
    if len(text.encode()) < path.stat().st_size:
        write_atomically(path, text)


def _require_whole_frames(stream: TextIO, path: Path) -> None:
    """Refuse a frame that announces more atoms than lines follow: ASE's reader would look for them for ever."""
    lines = sum(1 for _ in stream)
    stream.seek(0)
    at = 0
    while at < lines:
        first = stream.readline()
        if not (words := first.split()):
            return  # empty lines at the end; in between they are ASE's to refuse
        count = int(words[0]) if words[0].isdigit() else -1
        if not 0 <= count <= lines - at - 2:
            raise InputError(
                f"{path}: line {at + 1} is {first.strip()[:40]!r}, expected the number of atoms of a frame and as "
                f"many lines behind its comment; {max(lines - at - 2, 0)} follow"
            )
        for _ in range(count + 1):
            stream.readline()
        at += count + 2


#: Six numbers of a stress or a virial, which ASE's reader refuses under these names alone.
_SIX = re.compile(
    r"""(\b(?:stress|virial)\s*=\s*["{\[]?)\s*((?:[^\s"{}\[\],]+[\s,]+){5}[^\s"{}\[\],]+)\s*(?=["}\]])"""
)


#: In front of a value it is text to ASE's reader, to which `trajectory=007` is a 7 and `group=T` is true.
_TEXT = "\x01"


def _comment(line: str, *, words: Collection[str]) -> Mapping[str, object]:
    """Return what a comment line says; `words` are told as they are written."""

    def nine(found: re.Match[str]) -> str:
        xx, yy, zz, yz, xz, xy = re.split(r"[\s,]+", found[2])
        return found[1] + " ".join((xx, xy, xz, xy, yy, yz, xz, yz, zz))

    names = "|".join(map(re.escape, words))
    line = _SIX.sub(nine, line.replace(_TEXT, ""))
    # A bare word in quotes: ASE's reader takes a `=` at its end for the next key.
    line = re.sub(rf"(?<!\S)((?:{names})\s*=\s*)([^\s\"'{{}}\[\]]+)(?!\S)", r'\1"\2"', line)
    line = re.sub(rf"(?<!\S)((?:{names})\s*=\s*)", rf"\1{_TEXT}", line)
    said: Mapping[str, object] = key_val_str_to_dict(line)
    return {name: value.replace(_TEXT, "") if isinstance(value, str) else value for name, value in said.items()}


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """A frame as it was read.

    Attributes
    ----------
    frame : LabelledFrame
    notes : tuple of str
        What was converted, chosen, or not taken.
    stress_unit_told : bool
        Whether the file or the user names the unit of the stress.
    """

    frame: LabelledFrame
    notes: tuple[str, ...]
    stress_unit_told: bool


def labelled(
    atoms: Atoms,
    *,
    keys: FrameKeys,
    where: str,
    origin: str,
    units: FrameUnits | None = None,
    smeared: bool = True,
) -> Labelled:
    """Return a frame of extended XYZ, and what was converted.

    Parameters
    ----------
    atoms : Atoms
    keys : FrameKeys
    where, origin : str
        For complaints, and of a frame that does not name its own.
    units : FrameUnits, optional
    smeared : bool
        Take the `free_energy` where one stands beside the `energy`: forces are its derivatives.

    Raises
    ------
    InputError
        If energy or forces are missing or of the wrong shape, or a unit is not known.
    """
    given, notes = _given(atoms, keys, smeared=smeared, where=where)
    told = _declared(atoms.info, keys, units, where=where)
    factors, converted = _factors(told, list(given), where=where)
    if units and units.compression_positive and "stress" in given:
        factors["stress"] *= -1
        converted.append("stress: turned, it was positive under compression")
    group, trajectory = _place(str(atoms.info.get(keys.group, "")), atoms.info.get(keys.trajectory))
    frame = LabelledFrame(
        atoms=bare(atoms),
        energy_eV=float(given["energy"].item()) * factors["energy"],
        forces_eV_per_A=given["forces"] * factors["forces"],
        stress_eV_per_A3=_stress(atoms, given, factors),
        group=group,
        trajectory=trajectory,
        origin=str(atoms.info.get("origin", origin)),
        settings=str(atoms.info.get("settings", "")),
    )
    return Labelled(
        frame=frame,
        notes=(*notes, *converted, *_not_taken(atoms, keys, stress=frame.stress_eV_per_A3 is None)),
        stress_unit_told=any(name in told for name in ("stress", "virial")),
    )


def _given(
    atoms: Atoms, keys: FrameKeys, *, smeared: bool, where: str
) -> tuple[dict[str, NDArray[np.float64]], list[str]]:
    """Return the labels of a frame as its file gives them, and what was chosen among them."""
    energy, forces = _value(atoms, keys.energy, atoms.info), _value(atoms, keys.forces, atoms.arrays)
    if energy is None or forces is None:
        raise InputError(f"{where}: {_lacking(atoms, keys, energy=energy, forces=forces)}")
    notes = []
    free = result(atoms, "free_energy") if keys.energy == "energy" else None
    if smeared and free is not None and free != energy:
        energy, notes = free, ["energy: `free_energy`, whose derivatives the forces are"]
    found = {
        "energy": _numbers(energy, [()], f"{where}: `{keys.energy}`"),
        "forces": _numbers(forces, [(len(atoms), 3)], f"{where}: `{keys.forces}`"),
    }
    stress, virial = _value(atoms, keys.stress, atoms.info), atoms.info.get(keys.virial)
    if stress is not None:
        found["stress"] = _numbers(stress, _TENSORS, f"{where}: `{keys.stress}`")
    elif virial is not None and atoms.cell.rank == 3:
        notes.append(f"stress: minus `{keys.virial}` over the volume")
        found["virial"] = _numbers(virial, _TENSORS, f"{where}: `{keys.virial}`")
    return found, notes


#: As what stresses are written: whole, row after row, or the six of ASE's order.
_TENSORS = [(3, 3), (9,), (6,)]


def _numbers(value: Any, shapes: Sequence[tuple[int, ...]], what: str) -> NDArray[np.float64]:
    """Return a value as numbers of one of these shapes."""
    found = np.asarray(value)
    kind = found.dtype.kind
    if kind not in "iuf" or found.shape not in shapes:
        have = "no numbers" if kind not in "iuf" else f"numbers of shape {found.shape}"
        expected = "one number" if shapes == [()] else f"the shape {' or '.join(map(str, shapes))}"
        raise InputError(f"{what} holds {have}, expected {expected}")
    return found.astype(np.float64)


def _lacking(atoms: Atoms, keys: FrameKeys, *, energy: Any, forces: Any) -> str:
    """Return a complaint about all labels that are not there, with the names that look like them."""
    names = sorted({*atoms.info, *atoms.arrays} - {"numbers", "positions"})
    gone = [what for what, value in (("energy", energy), ("forces", forces)) if value is None]
    under = " and ".join(f"no {what} under `{getattr(keys, what)}`" for what in gone)
    guesses = {
        what: [n for n in names if what.rstrip("s") in n.lower() and "unit" not in n.lower()] for what in gone
    }
    options = " ".join(f"--key {what}={guesses[what][0] if guesses[what] else '...'}" for what in gone)
    return f"{under}, found {names}; name the right one with {options}"


def _not_taken(atoms: Atoms, keys: FrameKeys, *, stress: bool) -> list[str]:
    """Return a note about numbers that look like labels and were not taken."""
    taken = {keys.energy, keys.stress, keys.virial}
    words = ("energ", "stress", "virial") if stress else ("energ",)
    names = [n for n, value in atoms.info.items() if n not in taken and any(w in n.lower() for w in words)]
    names = [n for n in names if isinstance(atoms.info[n], float | int | np.ndarray | np.number)]
    return [f"not taken: {', '.join(f'`{name}`' for name in sorted(names))}"] if names else []


def _stress(
    atoms: Atoms, given: Mapping[str, NDArray[np.float64]], factors: Mapping[str, float]
) -> NDArray[np.float64] | None:
    if "stress" in given:
        return _voigt(given["stress"]) * factors["stress"]
    if "virial" in given:
        return -_voigt(given["virial"]) * (factors["virial"] / float(atoms.cell.volume))
    return None


# -- units that a comment declares ----------------------------------------------------------------------------


_UNIT_KEY = re.compile(r"(?:(.*)[-_. ])?units?", re.IGNORECASE)
_DIMENSIONS = {"energy": ENERGY, "forces": FORCE, "stress": STRESS, "virial": ENERGY}
_OTHER_NAMES = {"energies": "energy", "force": "forces", "stresses": "stress", "virials": "virial"}
_LENGTHS = {"length", "lengths", "pos", "position", "positions", "lattice", "cell", "distance"}
_OURS = {"ev", "angstrom", "ang", "a", "å"}


def _factors(
    told: Mapping[str, tuple[str, str]], present: Sequence[str], *, where: str
) -> tuple[dict[str, float], list[str]]:
    """Return what each label is multiplied by, and what that converts in words."""
    factors, notes = dict.fromkeys(_DIMENSIONS, 1.0), list[str]()
    for name, (key, unit) in told.items():
        try:
            factors[name] = unit_in_eV_A(unit, _DIMENSIONS[name])
        except ValueError as error:
            raise InputError(
                f"{where}: `{key}`: {error}; say what the {name} is in with --unit {name}=..."
            ) from None
        if name in present and factors[name] != 1:
            notes.append(f"{name}: {unit} (`{key}`), times {factors[name]:.6g}")
    for name in present:
        if name not in told and any(abs(factors[one] - 1) > 1e-9 for one in ("energy", "forces")):
            key, unit = told["energy" if "energy" in told else "forces"]
            raise InputError(
                f"{where}: `{key}` is {unit} and nothing says what the {name} is in; say it with --unit {name}=..."
            )
    return factors, notes


def _declared(
    info: Mapping[str, Any], keys: FrameKeys, units: FrameUnits | None, *, where: str
) -> dict[str, tuple[str, str]]:
    """Return the unit of each label with the key that declares it; the user's word goes first."""
    chosen = {n: ("--unit", str(getattr(units, n))) for n in _DIMENSIONS if units and getattr(units, n)}
    found: dict[str, tuple[str, str]] = {}
    own = {getattr(keys, name).lower(): name for name in _DIMENSIONS}
    for key, value in info.items():
        for word, unit in _declarations(key, value, where=where, needed={"energy", "forces"} - set(chosen)):
            last = re.split(r"[-_. ]", word.lower())[-1]
            name = own.get(word.lower()) or _OTHER_NAMES.get(last, last)
            if name in _LENGTHS and unit.lower() not in _OURS:
                raise InputError(f"{where}: `{key}` is {unit}; write positions and cell in angstrom")
            if name in _DIMENSIONS:
                found[name] = (key, unit)
    found |= chosen
    if "energy" in found:
        found.setdefault("virial", found["energy"])
    return found


def _declarations(key: str, value: Any, *, where: str, needed: set[str]) -> list[tuple[str, str]]:
    """Return what a key declares: pairs of a quantity and its unit."""
    match = _UNIT_KEY.fullmatch(key)
    if match is None:
        return []
    if isinstance(value, Mapping):
        return [(str(name), str(unit)) for name, unit in value.items()]
    if match[1]:
        return [(match[1], str(value))]
    words = set(re.split(r"[\W\d_]+", str(value).lower())) - {""}
    if needed and not (words and words <= _OURS):
        raise InputError(
            f"{where}: `{key}` is {value!r}, which does not say what is in what; say it with --unit energy=... "
            "--unit forces=..."
        )
    return []


def no_crystal(atoms: Atoms) -> str:
    """Return why a structure as it was read is no crystal, or nothing."""
    if atoms.cell.rank == 3 and not atoms.pbc.all():
        return 'it is not periodic in all directions; write pbc="T T T" if it is meant to be'
    return ""


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
    return result(atoms, name) if name in {"energy", "forces", "stress"} else None


def _voigt(tensor: NDArray[np.float64]) -> NDArray[np.float64]:
    return tensor if tensor.size == 6 else np.asarray(full_3x3_to_voigt_6_stress(tensor.reshape(3, 3)))
