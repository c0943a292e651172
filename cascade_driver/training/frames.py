"""Structures with their energies, forces and stresses, written as extxyz that every other tool reads.

Energies, forces and stresses stand under ASE's own names (`energy`, `forces`, `stress`); beside them each frame
says to which `group` and `trajectory` it belongs, where it comes from (`origin`) and who labelled it with which
`settings`. Frames of one trajectory are never torn apart by a cross-validation.
"""

from __future__ import annotations

import dataclasses
import gzip
import io
import os
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import ase.io
import numpy as np
import spglib
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from numpy.typing import NDArray
from scipy.spatial import KDTree

from cascade_driver.errors import InputError
from cascade_driver.files import whole_file
from cascade_driver.schema import digest
from cascade_driver.simulation.crystal import SYMMETRY_PRECISION_A
from cascade_driver.simulation.knock_on import site_rotations
from cascade_driver.units import GPA_PER_eV_A3

#: Group of the frames that energies count from.
PERFECT = "perfect"

#: Boxes whose edges and angles agree within this share are one box, strained or not.
_SAME_BOX = 0.1

#: Positions closer than this are one position: what a text file keeps.
_RESOLUTION_A = 1e-5


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


def structure_id(atoms: Atoms) -> str:
    """Return a name of a structure by its content: species, cell, positions to 1e-5 A, mesh of k points.

    Atoms in another order, or moved by a lattice vector, are another structure: only exact copies are found.
    """
    content = {
        "species": atoms.get_chemical_symbols(),
        "cell": (np.round(np.asarray(atoms.cell), 6) + 0.0).ravel().tolist(),  # no -0
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


# -- what cannot be a label -----------------------------------------------------------------------------------


#: More than twice the bulk modulus of the hardest solid: a unit, not a stress.
LARGEST_STRESS_GPa = 1000.0

#: Half of what an atom of hydrogen takes at such pressures: positions or cell in another unit.
_SMALLEST_VOLUME_A3 = 0.5

#: Atoms nearer than this stand in one place.
_ONE_PLACE_A = 0.1


def flaw(frame: LabelledFrame) -> str:
    """Return why a frame cannot be a label, or nothing.

    Whatever it is, a fit would take it: one nan makes all coefficients nan.
    """
    numbers = {
        "energy": frame.energy_eV,
        "forces": frame.forces_eV_per_A,
        "stress": 0.0 if frame.stress_eV_per_A3 is None else frame.stress_eV_per_A3,
        "positions": frame.atoms.positions,
        "cell": frame.atoms.cell.array,
    }
    for name, values in numbers.items():
        if not np.isfinite(values).all():
            return f"nan or inf in its {name}"
    return _structure_flaw(frame.atoms) or _label_flaw(frame)


def require_structures(structures: Sequence[Atoms]) -> None:
    """Refuse what no calculator could label: a box of no volume, two atoms in one place, numbers that are none.

    Raises
    ------
    InputError
        For the first such structure, counted from 1.
    """
    for number, atoms in enumerate(structures, start=1):
        finite = np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell.array).all()
        found = _structure_flaw(atoms) if finite else "nan or inf in its positions or cell"
        if found:
            raise InputError(f"structure {number} of {len(structures)}: {found}; mend it or leave it out")


def _structure_flaw(atoms: Atoms) -> str:
    if len(atoms) == 0 or (atoms.numbers == 0).any():
        return "it holds an atom of no element" if len(atoms) else "it holds no atoms"
    volume = atoms.cell.volume / len(atoms) if atoms.cell.rank == 3 else 0.0
    if volume < _SMALLEST_VOLUME_A3:
        return f"its cell leaves {volume:.3g} A^3 to an atom; give a cell and positions in angstrom"
    if _share_a_place(atoms):
        return f"two of its atoms stand within {_ONE_PLACE_A} A"
    return ""


def _share_a_place(atoms: Atoms) -> bool:
    """Return whether two atoms stand nearer than `_ONE_PLACE_A`."""
    cell = atoms.cell.array
    places: NDArray[np.float64] = atoms.get_scaled_positions() % 1.0 % 1.0  # twice: -1e-17 is wrapped to 1
    reach = _ONE_PLACE_A * float(np.linalg.norm(np.linalg.inv(cell), 2))
    if reach >= 0.5:
        return False  # a box thinner than that was refused by its volume
    pairs = KDTree(places, boxsize=np.ones(3)).query_pairs(reach, output_type="ndarray")
    apart = places[pairs[:, 0]] - places[pairs[:, 1]]
    return bool((np.linalg.norm((apart - np.round(apart)) @ cell, axis=1) < _ONE_PLACE_A).any())


def _label_flaw(frame: LabelledFrame) -> str:
    if stress_GPa(frame) > LARGEST_STRESS_GPa:
        return f"a stress beyond {LARGEST_STRESS_GPa:g} GPa"
    if frame.group != PERFECT and not frame.forces_eV_per_A.any() and not _symmetry_forbids_forces(frame.atoms):
        return f"forces all zero, which no symmetry asks for; if it is the crystal, call its group `{PERFECT}`"
    return ""


def _symmetry_forbids_forces(atoms: Atoms) -> bool:
    """Return whether no site leaves a direction to a force: the mean over its rotations is zero."""
    with warnings.catch_warnings():
        # See `site_rotations`.
        warnings.filterwarnings("ignore", "Set OLD_ERROR_HANDLING", DeprecationWarning)
        given = (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)
        cell = spglib.standardize_cell(given, to_primitive=True, no_idealize=True, symprec=SYMMETRY_PRECISION_A)
    if cell is None:
        return False
    primitive = Atoms(cell[2], cell=cell[0], scaled_positions=cell[1], pbc=True)
    means = (site_rotations(primitive, index).mean(axis=0) for index in range(len(primitive)))
    return all(np.allclose(mean, 0, atol=1e-6) for mean in means)


def stress_GPa(frame: LabelledFrame) -> float:
    """Return the largest component of a frame's stress, in GPa; 0 where there is none."""
    return 0.0 if frame.stress_eV_per_A3 is None else float(np.abs(frame.stress_eV_per_A3).max()) * GPA_PER_eV_A3


def one_run(frames: Sequence[LabelledFrame], *, name: str) -> list[LabelledFrame]:
    """Return frames in which those that name no trajectory belong to one: the frames of one file are of one run.

    One for each list of species: no run changes those. It is called after the file and its first structure, so
    that another file of the same name is another run.
    """
    runs: dict[str, str] = {}
    found = []
    for frame in frames:
        if not frame.trajectory:
            species = str(frame.atoms.symbols)
            run = runs.setdefault(species, f"{name}-{frame.structure_id[:8]}")
            frame = dataclasses.replace(frame, trajectory=run)  # noqa: PLW2901
        found.append(frame)
    return found


def as_atoms(frame: LabelledFrame) -> Atoms:
    """Return a frame as ASE keeps it, its labels with a `SinglePointCalculator`."""
    atoms: Atoms = frame.atoms.copy()
    results: dict[str, float | NDArray[np.float64]] = {"energy": frame.energy_eV, "forces": frame.forces_eV_per_A}
    if frame.stress_eV_per_A3 is not None:
        results["stress"] = frame.stress_eV_per_A3
    atoms.calc = SinglePointCalculator(atoms, **results)
    words = {"group": frame.group, "trajectory": frame.trajectory, "origin": frame.origin}
    atoms.info.update({k: v for k, v in (words | {"settings": frame.settings}).items() if v})
    return atoms


def write_frames(path: Path | str, frames: Sequence[LabelledFrame]) -> None:
    """Write frames as extxyz, compressed if the name ends with .gz; at once or not at all.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    path = Path(path)
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
        raise InputError(
            f"{where}: no frame of the group `{PERFECT}`, which energies count from; label the crystal with the "
            f"same settings, import it with `--group {PERFECT}` or write `group={PERFECT}` into its comment"
        )

    def crystal_eV_per_atom(frame: LabelledFrame) -> float:
        near = [one for one in perfect if one.settings == frame.settings] or perfect
        near = [one for one in near if _same_box(one.atoms, frame.atoms)] or near
        return min(one.energy_eV / len(one.atoms) for one in near)

    return [dataclasses.replace(f, energy_eV=f.energy_eV - len(f.atoms) * crystal_eV_per_atom(f)) for f in frames]


def without_own_crystal(
    frames: Sequence[LabelledFrame], *, crystal: Sequence[LabelledFrame] | None = None
) -> list[str]:
    """Return the settings of frames whose energies count from the crystal of other settings."""
    own = {frame.settings for frame in crystal or frames if frame.group == PERFECT}
    return sorted({frame.settings for frame in frames} - own)


def _same_box(one: Atoms, two: Atoms) -> bool:
    close = np.allclose(one.cell.cellpar(), two.cell.cellpar(), rtol=_SAME_BOX)
    return len(one) == len(two) and k_mesh(one) == k_mesh(two) and bool(close)


def without_copies(frames: Iterable[LabelledFrame]) -> list[LabelledFrame]:
    """Return frames without exact copies of structures; the first of each is kept."""
    kept: dict[str, LabelledFrame] = {}
    for frame in frames:
        kept.setdefault(frame.structure_id, frame)
    return list(kept.values())
