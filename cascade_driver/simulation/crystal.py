"""Crystals: unit cells -> orthogonal supercells, and an aluminium film on silicon, as `ase.Atoms`.

A crystal is made in two steps, so that the potential in use can have its own lattice constants:
`constituents` returns the bulk cells to be relaxed, `assemble` builds the simulation box from them.

The crystal frame, in which all directions of the project are given, is the Cartesian frame of the
orthogonal cell: its edges lie along x, y and z, so the engine never rotates it. For the built-in crystals
and for files whose cell is already orthogonal this is the frame of the unit cell (a, b, c along x, y, z).
Any other file gives a lattice and, unless it is a CIF, its orientation; these alone decide about the frame,
whatever vectors the file spans the lattice by (`orthogonal_cell`). How its a, b, c lie in the box is in
`CrystalSpec.frame`, and in the atoms: ``direction_in_box = info["crystal_to_box"] @ direction_in_file``.
"""

# ASE annotates only part of what it offers:
# mypy: disallow-untyped-calls=False, warn-return-any=False

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import spglib
from ase import Atoms
from ase.data import chemical_symbols
from ase.geometry import minkowski_reduce
from numpy.typing import NDArray
from pydantic import Field, JsonValue, field_validator, model_validator

from cascade_driver.errors import InputError
from cascade_driver.schema import build, file_sha256, parameters, plain
from cascade_driver.simulation.crystal_file import (
    LONELY_BONDS,
    into_period,
    lonely_atoms,
    nearest_neighbours_A,
    quiet_spglib,
    read_crystal,
    require_no_overlap,
)
from cascade_driver.simulation.film_box import REGION_BULK, FilmSpec, cubic_axes, film_box
from cascade_driver.simulation.frame import Frame, frame_said, make_frame
from cascade_driver.simulation.named_crystals import named_crystals
from cascade_driver.text import closest
from cascade_driver.units import BOLTZMANN_eV_PER_K

FILM = "Al/Si"
#: What `name` may be.
CRYSTALS = (*named_crystals(), FILM)

#: A box of more is a slip of the pen: 16 million atoms in silicon.
MOST_CELLS = 2_000_000

#: Residual |cos| between the edges of a cell that counts as orthogonal. What is left is strained away (at
#: most a shear of 0.06 degrees): lattice constants in files are rounded to about 1e-4.
ORTHOGONALITY_TOLERANCE = 1e-3
#: Reach of the search for orthogonal lattice vectors, in multiples of the (reduced) lattice vectors.
SEARCH_REACH = 6
#: Reach and size of the search in the plane across the unique axis of a monoclinic lattice: any beta comes within
#: the tolerance there, in a cell of some tens.
PLANE_REACH = 30
LARGEST_PLANE_CELL = 120
#: A triclinic lattice has three vectors within the tolerance above in hundreds of cells only. Sheared by up to 0.3
#: degrees, as much as thermal contraction strains a film, it has them in 4 to 160 cells.
SHEAR_TOLERANCE = 5e-3
SHEARED_REACH = 8
#: An orthogonal cell that needs no rotation is preferred to a smaller one that does, up to this ratio of
#: volumes, which are whole numbers of primitive cells: the cubic cell of an fcc crystal (4) instead of the
#: tetragonal one turned by 45 degrees (2).
ALIGNED_VOLUME_RATIO = 2
#: Distance within which atoms related by a symmetry operation must coincide. Well above the rounding of
#: structure files (1e-4) and of relaxations, well below any displacement that breaks a symmetry worth the
#: name.
SYMMETRY_PRECISION_A = 1e-2
#: More atoms than any campaign has use for: a box of 10 million fills 5 GB.
LARGEST_BOX_ATOMS = 10_000_000

#: A closed box may be heated by this much: at 250 K above the 133 K of the start, defects of CaWO4
#: (barriers of some tenths of eV) do not move within 8 ps, and the crystal stays far from melting.
LARGEST_HEATING_K = 250.0
#: By how much it may be without a word. Of tungsten of 81 eV in closed CaWO4 3 of 15 cascades heal in 1800 atoms,
#: which it heats by 174 K, and none of 28 in 3024 atoms (104 K; protocol-*-closed.csv of cawo4-pbe-spline).
HEATING_OF_NO_MATTER_K = 105.0
#: With a border thermostat the heat leaves within some ps, but the collisions are over in 0.5 ps, before
#: that. Until then the heat, shared by all atoms, must leave a solid: melting is at 1893 K (CaWO4), 1687 K
#: (Si), 933 K (Al).
LARGEST_HEATING_WITH_BORDER_K = 1000.0
#: Width that no border thermostat may touch: the knocked-on atom and its neighbours out to 5 angstrom,
#: where a close Frenkel pair ends up, follow Newton alone.
SMALLEST_INTERIOR_A = 10.0


@parameters
class CrystalSpec:
    """The crystal and the size of its box: the section `[crystal]`.

    Attributes
    ----------
    name : str, optional
        A crystal of `named_crystals`: `CaWO4`, `Si`, `Ge`, `C` (diamond), `Al`, `GaAs`, `LiF`, `Al2O3` (sapphire),
        `TeO2` (paratellurite), `SiC` (3C), `W`, `NaI`, or `Al/Si`, the film.
    file : str, optional
        Instead: a structure file that ASE reads (CIF, extxyz, POSCAR, ...); of several frames, the last.
    file_sha256 : str, optional
        SHA-256 of that file; `resolved` fills it in.
    minimum_atoms : int, optional
        The box is the least elongated supercell with at least so many atoms (see `repeats_for`).
    repeats : three int, optional
        Instead: repeats of the orthogonal cell along x, y, z. For the film: of the coincidence cell along x
        and y; the third is 1, thicknesses are in `film`.
    relax_cell : bool
        Whether the lattice constants are relaxed to those of the potential; otherwise they stay as given.
    film : FilmSpec, optional
        Thicknesses of `Al/Si`; `resolved` fills in the defaults.
    frame : Frame, optional
        How the crystal of the file lies in the box; `resolved` fills it in. None if a, b, c lie along x, y, z.
    """

    name: str | None = None
    file: str | None = None
    file_sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    minimum_atoms: int | None = Field(default=None, ge=1, le=LARGEST_BOX_ATOMS)
    repeats: tuple[int, int, int] | None = None
    relax_cell: bool = True
    film: FilmSpec | None = None
    frame: Frame | None = None

    @field_validator("name")
    @classmethod
    def _is_known(cls, name: str | None) -> str | None:
        if name is None or name in CRYSTALS:
            return name
        close = closest(name, CRYSTALS, cutoff=0.5)
        hint = f"did you mean `{close}`?" if close else "give another crystal by `file`"
        raise ValueError(f"unknown crystal, known are {', '.join(CRYSTALS)}; {hint}")

    @field_validator("repeats")
    @classmethod
    def _are_positive(cls, repeats: tuple[int, int, int] | None) -> tuple[int, int, int] | None:
        if repeats is not None and min(repeats) < 1:
            raise ValueError("each of the three repeats must be at least 1")
        if repeats is not None and math.prod(repeats) > MOST_CELLS:
            raise ValueError(f"{math.prod(repeats):.3g} cells are more than a box can hold; at most {MOST_CELLS}")
        return repeats

    @model_validator(mode="after")
    def _is_consistent(self) -> CrystalSpec:
        if (self.name is None) == (self.file is None):
            raise ValueError("give exactly one of `name` and `file`")
        if (self.minimum_atoms is None) == (self.repeats is None):
            raise ValueError("give exactly one of `minimum_atoms` and `repeats`")
        if self.file is None and self.file_sha256 is not None:
            raise ValueError("`file_sha256` belongs to `file`; remove it")
        if self.file is None and self.frame is not None:
            raise ValueError("`frame` belongs to `file`; remove it")
        if self.film is not None and self.name != FILM:
            raise ValueError(f"`film` belongs to name = {FILM!r}; remove it")
        if self.name == FILM and self.repeats is not None and self.repeats[2] != 1:
            raise ValueError("a film is repeated along x and y only: the third of `repeats` must be 1")
        return self

    @property
    def is_film(self) -> bool:
        """Whether this is a film with a free surface, not a bulk crystal."""
        return self.name == FILM


def resolved(spec: CrystalSpec, base_folder: Path) -> CrystalSpec:
    """Return `spec` with the file found, its checksum and frame filled in, and with the defaults of a film.

    Parameters
    ----------
    spec : CrystalSpec
        As written by the user.
    base_folder : pathlib.Path
        Folder that a relative `file` is relative to: that of the input file.

    Raises
    ------
    InputError
        If there is no such file, it cannot be used, or its checksum or frame is not the one in `spec`.
    """
    if spec.is_film and spec.film is None:
        return dataclasses.replace(spec, film=FilmSpec())
    if spec.file is None:
        return spec
    path = (base_folder / spec.file).resolve()
    if not path.is_file():
        raise InputError(f"{path}: no such structure file; `file` is relative to {base_folder}")
    found = file_sha256(path)
    if spec.file_sha256 not in (None, found):
        raise InputError(f"{path}: the structure has changed (SHA-256 {found[:12]}...); remove `file_sha256`")
    _, frame = _cell_of_file(path, found)
    if spec.frame is not None:
        if frame is None or not spec.frame.is_close(frame):
            raise InputError(f"{path}: its crystal lies in another `frame` than the one given; remove `frame`")
        frame = spec.frame
    return dataclasses.replace(spec, file=str(path), file_sha256=found, frame=frame)


def named_or_file(word: str) -> CrystalSpec:
    """Return a crystal by its name or by the path of its file, in a box of any size.

    Raises
    ------
    InputError
        If there is none.
    """
    is_file = word not in CRYSTALS and ("/" in word or Path(word).is_file())
    content = {"minimum_atoms": 1, ("file" if is_file else "name"): word}
    return resolved(build(CrystalSpec, content, origin=f"crystal {word}"), Path())


def resized(spec: CrystalSpec, *, minimum_atoms: int) -> CrystalSpec:
    """Return the same crystal in a box of at least so many atoms."""
    return dataclasses.replace(spec, minimum_atoms=minimum_atoms, repeats=None)


def identity(spec: CrystalSpec) -> Mapping[str, JsonValue]:
    """Return what of a resolved `spec` enters an id: a file by its content and not by its place."""
    content: dict[str, JsonValue] = plain(spec)
    if spec.file_sha256 is not None:
        del content["file"]
    return content


def constituents(spec: CrystalSpec) -> dict[str, Atoms]:
    """Return the orthogonal bulk cells of which the box is made, by name.

    These are the cells that a potential relaxes before `assemble`: one for a bulk crystal (named as the
    crystal, or `file`), `Al` and `Si` for the film. Edges lie along x, y, z; lengths in angstrom.

    Raises
    ------
    InputError
        If a structure file cannot be used.
    """
    if spec.is_film:
        return {"Al": _built_in("Al"), "Si": _built_in("Si")}
    if spec.name is not None:
        return {spec.name: _built_in(spec.name)}
    found = resolved(spec, Path())
    if spec.file_sha256 is not None and spec.frame is None and found.frame is not None:
        raise InputError(
            f"{found.file}: planned when files were read without a record of how the crystal lies in the box; "
            "plan the campaign again, in a new run directory"
        )
    cell, _ = _cell_of_file(Path(str(found.file)), str(found.file_sha256))
    return {"file": cell.copy()}


def axes_in_box_A(spec: CrystalSpec, constituents: Mapping[str, Atoms]) -> NDArray[np.float64]:
    """Return the lattice vectors a, b, c of a crystal, (3, 3) rows, in the frame of the box.

    As its file has them; those of the conventional cell of a built-in crystal; for a film the cubic axes, which
    both of its lattices have.
    """
    if (frame := frame_of(spec)) is not None:
        return np.array(frame.axes_A)
    if spec.is_film:
        return cubic_axes(spec.film or FilmSpec())
    (cell,) = constituents.values()
    return np.asarray(cell.cell.array)


def frame_of(spec: CrystalSpec) -> Frame | None:
    """Return how the crystal of a resolved `spec` lies in the box; None if a, b, c lie along x, y, z."""
    return _cell_of_name(spec.name)[1] if spec.name in named_crystals() else spec.frame


def orientation_said(spec: CrystalSpec) -> str:
    """Return a line about how the crystal of a resolved `spec` lies in the box."""
    if spec.film is not None and spec.film.normal == "111":
        return "box: x along [1 -1 0], y along [1 1 -2], z along [1 1 1] of film and substrate"
    return frame_said(frame_of(spec), of="file" if spec.name is None else "crystal")


def require_bonds(cell: Atoms, *, cutoff_A: float, name: str) -> None:
    """Raise if a crystal falls apart: atoms or layers beyond the cutoff of the potential, atoms without a bond.

    Atoms beyond the cutoff do not interact: there is no crystal, and nothing to relax to. A potential of a long
    cutoff holds isolated atoms as well, which is why none may be farther than `LONELY_BONDS` from all others.

    Parameters
    ----------
    cell : ase.Atoms
        Orthogonal cell of a bulk crystal.
    cutoff_A : float
        Largest interaction distance of the potential.
    name : str
        Of the crystal or its file, for people.
    """
    remedy = "not this crystal; is the symmetry missing from the file? Or another potential"
    farthest_A = float(nearest_neighbours_A(cell).max())
    if farthest_A >= cutoff_A:
        raise InputError(
            f"{name}: nearest neighbours are {farthest_A:.2f} A apart, farther than the cutoff of the potential "
            f"({cutoff_A:.1f} A): {remedy}"
        )
    if alone := lonely_atoms(cell):
        symbol, distance_A = cell.symbols[alone[0]], nearest_neighbours_A(cell)[alone[0]]
        raise InputError(
            f"{name}: {len(alone)} of {len(cell)} atoms are alone: {symbol} {alone[0]} is {distance_A:.2f} A from "
            f"its nearest neighbour, more than {LONELY_BONDS:g} bond lengths: {remedy}"
        )
    for axis, length_A in enumerate(cell.cell.lengths()):
        place_A = np.sort(cell.positions[:, axis] % length_A)
        gap_A = float(np.diff(place_A, append=place_A[0] + length_A).max())
        if gap_A >= cutoff_A:
            raise InputError(
                f"{name}: layers {gap_A:.2f} A apart along {'xyz'[axis]}, farther than the cutoff of the "
                f"potential ({cutoff_A:.1f} A): {remedy}"
            )


def assemble(
    spec: CrystalSpec, constituents: Mapping[str, Atoms], *, shift: tuple[float, float] = (0.0, 0.0)
) -> Atoms:
    """Return the simulation box.

    Parameters
    ----------
    spec : CrystalSpec
        What to build.
    constituents : mapping of str to ase.Atoms
        As from the function `constituents`, relaxed or not.
    shift : two float
        Of a film on its substrate, see `film_box.places`.

    Returns
    -------
    ase.Atoms
        Orthogonal box with its corner at the origin and all atoms inside; periodic along x, y and, in bulk,
        z. Atoms to be held carry `ase.constraints.FixAtoms`. Integer arrays: `region` (`REGION_BULK`, also
        the substrate, or `REGION_FILM`) and `cell_index` (index of the atom in the constituent's cell, for
        its site symmetry).

    Raises
    ------
    InputError
        If a constituent is missing or not orthogonal, or the film does not fit.
    """
    wanted = {"Al", "Si"} if spec.is_film else {spec.name or "file"}
    if set(constituents) != wanted:
        raise InputError(
            f"the box needs the constituents {sorted(wanted)}, found {sorted(constituents)}; "
            "pass what `constituents` returns"
        )
    cells = {name: _indexed(cell, name=name) for name, cell in constituents.items()}
    count = len(next(iter(cells.values()))) * math.prod(spec.repeats or (1,))
    if count > LARGEST_BOX_ATOMS:
        raise InputError(f"a box of {count} atoms, expected at most {LARGEST_BOX_ATOMS}; lower `repeats`")
    if not spec.is_film:
        return _bulk_box(spec, *cells.values())
    return film_box(
        spec.film or FilmSpec(),
        cells["Al"],
        cells["Si"],
        repeats=spec.repeats and spec.repeats[:2],
        minimum_atoms=spec.minimum_atoms or 1,
        shift=shift,
    )


def orthogonal_cell(atoms: Atoms, *, oriented: bool = True) -> Atoms:
    """Return an orthogonal cell of a periodic crystal, its edges along x, y, z: always the same of one lattice.

    A cell whose vectors lie along x, y, z is kept. Otherwise three mutually perpendicular vectors of the
    *primitive* lattice, A_i = sum_j P_ij a_j with integers P_ij, are searched (|cos| below
    `ORTHOGONALITY_TOLERANCE`, P up to `SEARCH_REACH` in a Minkowski-reduced basis), so that it does not matter
    which vectors of the lattice the file names. Of those with at most `ALIGNED_VOLUME_RATIO` times the least
    volume |det P|, an integer,

    1. those along x, y, z of the file win, that is, no rotation;
    2. else those along the axes of the standard conventional cell (spglib: c along z, a along x);
    3. else the smallest, then the one with the shortest longest edge.

    A monoclinic lattice has a plane across its unique axis, which is searched farther (`_monoclinic_triples`); a
    triclinic one is sheared by up to `SHEAR_TOLERANCE` (`_sheared_triples`).

    Order and signs are those of the smallest turn from the file or, if it is not `oriented`, from the standard
    cell. What is still equal, by symmetry of the lattice, is decided by the rotation alone.

    Parameters
    ----------
    atoms : ase.Atoms
        A cell of the crystal.
    oriented : bool
        Whether the orientation in space means something; of a CIF it does not.

    Returns
    -------
    ase.Atoms
        With the rotation into the box in ``info["crystal_to_box"]`` (3x3, determinant +1), and in
        ``info["edges"]`` the lattice vectors that became its edges, rows along those of `atoms`.

    Raises
    ------
    InputError
        If there is no such cell within reach.
    """
    from ase.build import make_supercell

    lengths = atoms.cell.lengths()
    if _largest_cosine(atoms.cell.array) < 1e-12 and np.allclose(atoms.cell.array, np.diag(lengths), atol=1e-9):
        result = atoms.copy()
        result.info["crystal_to_box"] = result.info["edges"] = np.eye(3)
        return result
    primitive, standard = _primitive(atoms)
    multiples, rotation = _orthogonal_vectors(primitive.cell.array, standard=standard, oriented=oriented)
    edges = multiples @ primitive.cell.array @ np.linalg.inv(atoms.cell.array)
    result = make_supercell(primitive, multiples, wrap=True)
    # Removes what the tolerance has let through, and turns the edges into x, y, z.
    result.set_cell(np.diag(result.cell.lengths()), scale_atoms=True)
    result = _in_order(result)
    result.info["crystal_to_box"] = rotation
    result.info["edges"] = edges
    return result


def repeats_for(cell: Atoms, minimum_atoms: int) -> tuple[int, int, int]:
    """Return the repeats of an orthogonal `cell` that make the best box of at least `minimum_atoms`.

    Best is the smallest N L_max/L_min (atoms times elongation): one percent more atoms must buy at least
    one percent of elongation. Among equals the less elongated, then the smaller, then the one longest along
    z.
    """
    per_cell = len(cell)
    lengths_A = np.asarray(cell.cell.lengths())
    edge_A = (minimum_atoms / per_cell * lengths_A.prod()) ** (1 / 3)
    # An edge above twice that of the cube would need the others so short that a cube is always better.
    reach = [math.ceil(2 * edge_A / length) + 1 for length in lengths_A]
    n = np.stack(np.meshgrid(*(np.arange(1, r + 1) for r in reach), indexing="ij"), axis=-1).reshape(-1, 3)
    atoms = per_cell * n.prod(axis=1)
    n, atoms = n[atoms >= minimum_atoms], atoms[atoms >= minimum_atoms]
    edges_A = n * lengths_A
    elongation = np.round(edges_A.max(axis=1) / edges_A.min(axis=1), 9)
    cost = np.round(atoms * elongation / minimum_atoms, 9)
    best = n[np.lexsort((n[:, 1], n[:, 0], atoms, elongation, cost))[0]]
    return int(best[0]), int(best[1]), int(best[2])


def heating_K(recoil_energy_eV: float, atoms: int) -> float:
    """Return the final temperature rise of `atoms` free atoms that share the recoil energy, in K.

    Equipartition in a harmonic solid, half kinetic and half potential: Delta T = E_R / (3 N k_B).
    """
    return recoil_energy_eV / (3 * atoms * BOLTZMANN_eV_PER_K)


def _atoms_within(limit_K: float, *, recoil_energy_eV: float) -> int:
    """Return how many free atoms a recoil heats by no more than this: the inverse of `heating_K`."""
    return math.ceil(recoil_energy_eV / (3 * limit_K * BOLTZMANN_eV_PER_K))


def require_room(atoms: Atoms, *, recoil_energy_eV: float, border_A: float, cutoff_A: float) -> None:
    """Check that a box has room for a recoil, before any time is spent on it.

    1. Along periodic axes the box is at least two cutoffs wide: no atom interacts with an atom and its image.
    2. The heat of the recoil, shared by all free atoms, stays below `LARGEST_HEATING_K` in a closed box,
       and below `LARGEST_HEATING_WITH_BORDER_K` if a border thermostat takes it away.
    3. Inside the thermostatted border a width of `SMALLEST_INTERIOR_A` is free.

    Whether a particular recoil meets the border is a matter of its outcome, not of this check.

    Parameters
    ----------
    atoms : ase.Atoms
        The assembled box.
    recoil_energy_eV : float
        Energy of the recoil E_R.
    border_A : float
        Width of the thermostatted layer at each periodic face; 0 for a closed box.
    cutoff_A : float
        Largest interaction distance of the potential.

    Raises
    ------
    InputError
        If the box is too small for the recoil.
    """
    complaint = "box too small for the recoil: "
    widths_A = atoms.cell.lengths()[atoms.pbc]
    width_A = float(widths_A.min()) if len(widths_A) else math.inf
    if width_A < 2 * cutoff_A:
        raise InputError(
            f"{complaint}it is {width_A:.1f} A wide, less than two cutoffs ({2 * cutoff_A:.1f} A); "
            "enlarge `minimum_atoms` or `repeats`"
        )
    free = len(atoms) - len(held_atoms(atoms))
    limit_K = LARGEST_HEATING_WITH_BORDER_K if border_A > 0 else LARGEST_HEATING_K
    found_K = heating_K(recoil_energy_eV, free) if free else math.inf
    if found_K > limit_K:
        needed = _atoms_within(limit_K, recoil_energy_eV=recoil_energy_eV)
        remedy = "" if border_A > 0 else ", or use a border thermostat"
        raise InputError(
            f"{complaint}{recoil_energy_eV:g} eV heat its {free} free atoms by {found_K:.0f} K, more than "
            f"{limit_K:.0f} K; use at least {needed} atoms{remedy}"
        )
    if border_A > 0 and width_A - 2 * border_A < SMALLEST_INTERIOR_A:
        raise InputError(
            f"{complaint}a border of {border_A:g} A leaves {width_A - 2 * border_A:.1f} A free, less than "
            f"{SMALLEST_INTERIOR_A:g} A; make the border thinner or enlarge the box"
        )


def heating_said(atoms: Atoms, *, recoil_energy_eV: float) -> str:
    """Return a sentence about a closed box that gets hotter than is known not to matter, or nothing."""
    free = len(atoms) - len(held_atoms(atoms))
    found_K = heating_K(recoil_energy_eV, free)
    if found_K <= HEATING_OF_NO_MATTER_K:
        return ""
    needed = _atoms_within(HEATING_OF_NO_MATTER_K, recoil_energy_eV=recoil_energy_eV)
    return (
        f"{recoil_energy_eV:g} eV heat this closed box of {free} free atoms by {found_K:.0f} K, and defects may "
        f"heal that would stay in a large crystal; {needed} atoms stay within {HEATING_OF_NO_MATTER_K:g} K"
    )


def held_atoms(atoms: Atoms) -> NDArray[np.int64]:
    """Return the sorted indices of the atoms that `FixAtoms` holds."""
    from ase.constraints import FixAtoms

    held = [c.get_indices() for c in atoms.constraints if isinstance(c, FixAtoms)]
    return np.unique(np.concatenate(held)).astype(np.int64) if held else np.empty(0, dtype=np.int64)


def _built_in(name: str) -> Atoms:
    """Return the orthogonal cell of a named bulk crystal at its measured lattice constants."""
    return _cell_of_name(name)[0].copy()


@functools.cache
def _cell_of_name(name: str) -> tuple[Atoms, Frame | None]:
    """Return the orthogonal cell of a named crystal, and how its conventional cell lies in it."""
    found = named_crystals()[name].conventional_cell(name)
    plain_cell = Atoms(found.get_chemical_symbols(), positions=found.positions, cell=found.cell, pbc=True)
    if _largest_cosine(plain_cell.cell.array) < 1e-12:
        plain_cell.info["crystal_to_box"] = np.eye(3)
        return plain_cell, None
    cell = orthogonal_cell(plain_cell)
    rotation = cell.info["crystal_to_box"]
    return cell, make_frame(plain_cell.cell.array @ rotation.T, rotation)


@functools.lru_cache(maxsize=4)
def _cell_of_file(path: Path, _sha256: str) -> tuple[Atoms, Frame | None]:
    """Return the orthogonal cell of a structure file, and how the crystal lies in it.

    There is no frame where the cell is taken as it stands: a, b, c along x, y, z. A CIF always has one; it is then
    part of the ids, as is the way in which CIFs are read.
    """
    atoms, oriented = read_crystal(path)
    cell = orthogonal_cell(atoms, oriented=oriented)
    rotation = cell.info["crystal_to_box"]
    if oriented and len(cell) == len(atoms) and np.array_equal(cell.cell.array, atoms.cell.array):
        return cell, None
    # Of straight lattices the edges are found from the axes; sheared ones have to be told.
    edges = cell.info["edges"] if _shear(cell, atoms) > ORTHOGONALITY_TOLERANCE else None
    return cell, make_frame(atoms.cell.array @ rotation.T, rotation, edges=edges)


def _shear(cell: Atoms, atoms: Atoms) -> float:
    """Return the largest |cos| between the lattice vectors of a crystal that became the edges of a cell."""
    return _largest_cosine(cell.info["edges"] @ atoms.cell.array)


def symmetry_of(atoms: Atoms, *, symprec_A: float = SYMMETRY_PRECISION_A) -> tuple[Any, Any]:
    """Return a primitive cell of a crystal for spglib (lattice, scaled positions, numbers) and its symmetry.

    The primitive cell lies in the crystal as the given one does: same origin, same orientation. Of structures that
    are not periodic along all axes it is the whole. Either is None if spglib fails.
    """
    cell: Any = (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)
    with quiet_spglib():
        if atoms.pbc.all():
            cell = spglib.standardize_cell(cell, to_primitive=True, no_idealize=True, symprec=symprec_A)
        return cell, None if cell is None else spglib.get_symmetry_dataset(cell, symprec=symprec_A)


def sites_said(spec: CrystalSpec, species: Iterable[str]) -> str:
    """Return a line about recoiling species that have several kinds of sites in a bulk crystal; else an empty one.

    So has any crystal whose atoms were displaced, added or taken away.
    """
    if spec.is_film:
        return ""
    (cell,) = constituents(spec).values()
    found, symmetry = symmetry_of(cell)
    if symmetry is None:
        return ""
    symbols = np.array([chemical_symbols[number] for number in found[2]])
    kinds = {name: len(set(symmetry.equivalent_atoms[symbols == name])) for name in sorted(set(species))}
    several = ", ".join(f"{name} {n}" for name, n in kinds.items() if n > 1)
    if not several:
        return ""
    return (
        f"sites that no symmetry joins: {several}; recoils start from the one nearest the centre of the box, the "
        "others are not sampled; if atoms of the file are displaced or missing, give the perfect cell"
    )


def _primitive(atoms: Atoms) -> tuple[Atoms, NDArray[np.float64] | None]:
    """Return a primitive cell of a crystal where it lies, and the rotation from there to the standard cell."""
    found, symmetry = symmetry_of(atoms)
    if symmetry is None:
        return atoms, None
    lattice, scaled, numbers = found
    primitive = Atoms(numbers, scaled_positions=scaled, cell=lattice, pbc=True)
    standard = np.asarray(symmetry.std_rotation_matrix, dtype=np.float64)
    return primitive, standard * np.sign(np.linalg.det(standard))


def _in_order(atoms: Atoms) -> Atoms:
    """Return the atoms of an orthogonal cell in an order that depends on their places alone."""
    scaled = atoms.get_scaled_positions(wrap=False)
    scaled -= np.floor(scaled + 1e-6)
    # Compared on a grid, so that rounding does not decide; its origin is where no site of a crystal lies.
    grid = np.floor(scaled * 1e4 + 0.318)
    order = np.lexsort((*grid.T[::-1], atoms.numbers))
    return Atoms(atoms.numbers[order], scaled_positions=scaled[order], cell=atoms.cell, pbc=True)


def _largest_cosine(cell: NDArray[np.float64]) -> float:
    """Return the largest |cos| between two of the three rows of `cell`."""
    unit = cell / np.linalg.norm(cell, axis=1)[:, None]
    cosines = np.abs(unit @ unit.T)
    return float(max(cosines[0, 1], cosines[0, 2], cosines[1, 2]))


def _orthogonal_vectors(
    cell: NDArray[np.float64], *, standard: NDArray[np.float64] | None, oriented: bool
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return integers P (3x3) so that the rows of P @ cell are orthogonal, and their rotation to x, y, z."""
    for search in (_orthogonal_triples, _monoclinic_triples, _sheared_triples):
        if len(triples := search(cell)):
            break
    else:
        raise InputError(
            f"no orthogonal supercell within {SHEARED_REACH} lattice vectors of the primitive cell "
            f"{np.round(Atoms(cell=cell).cell.cellpar(), 3).tolist()}, even if it is sheared by "
            f"{math.degrees(SHEAR_TOLERANCE):.1f} degrees; strain it yourself, or give an orthogonal supercell"
        )
    volume = np.rint(np.abs(np.linalg.det(triples))).astype(np.int64)
    # Every order and sign of three vectors that is right-handed, and the nearest rotation of it to x, y, z.
    multiples = (_SIGNED_ORDERS[:, None] @ triples).reshape(-1, 3, 3)
    volume = np.tile(volume, len(_SIGNED_ORDERS))
    vectors = multiples @ cell
    proper = (np.linalg.det(vectors) > 0) & (volume <= ALIGNED_VOLUME_RATIO * volume.min())
    multiples, vectors, volume = multiples[proper], vectors[proper], volume[proper]
    lengths_A = np.linalg.norm(vectors, axis=2)
    u, _, vt = np.linalg.svd(vectors / lengths_A[:, :, None])
    rotations = u @ vt
    edges_A = np.sort(lengths_A, axis=1)

    def along(target: NDArray[np.float64]) -> NDArray[np.bool_]:
        return np.asarray(np.einsum("nij,ij->n", rotations, target) > 3 - ORTHOGONALITY_TOLERANCE)

    kept = along(np.eye(3))
    if not kept.any() and standard is not None and (kept := along(standard)).any():
        # All that are as long: turned copies of the standard cell.
        first = np.flatnonzero(kept)[volume[kept].argmin()]
        kept = (volume == volume[first]) & np.isclose(edges_A, edges_A[first], rtol=1e-3).all(axis=1)
    if not kept.any():
        kept = np.ones(len(volume), dtype=bool)
    target = np.eye(3) if oriented or standard is None or along(np.eye(3)).any() else standard
    choice = np.flatnonzero(kept)
    for key in (
        volume.astype(np.float64),
        edges_A[:, 2],
        -np.einsum("nij,ij->n", rotations, target),
        *-rotations.reshape(-1, 9).T,
    ):
        # The least, and what differs from it by rounding alone.
        choice = choice[key[choice] < key[choice].min() + ORTHOGONALITY_TOLERANCE]
    return multiples[choice[0]], rotations[choice[0]]


#: Signed permutations of three rows.
_SIGNED_ORDERS = np.array(
    [
        np.eye(3, dtype=np.int64)[list(order)] * np.array(signs)[:, None]
        for order in itertools.permutations(range(3))
        for signs in itertools.product((1, -1), repeat=3)
    ]
)


def _orthogonal_triples(cell: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return integers (n, 3, 3), each of them three perpendicular lattice vectors, of nearly the least volume."""
    reduced, reduction = minkowski_reduce(cell)
    n, length, cosine = _lattice_vectors(reduced, reach=SEARCH_REACH)
    perpendicular = cosine < ORTHOGONALITY_TOLERANCE

    # Of volumes that are integers the next above the limit is far away.
    limit = ALIGNED_VOLUME_RATIO * (1 + 1e-2)
    smallest = math.inf
    found: list[NDArray[np.int64]] = []
    for i in range(len(n)):
        if length[i] ** 3 > limit * smallest:
            break
        partners = i + 1 + np.flatnonzero(perpendicular[i, i + 1 :])
        for j in partners:
            if length[i] * length[j] ** 2 > limit * smallest:
                break
            for k in partners[(partners > j) & perpendicular[j, partners]]:  # Sorted by length.
                volume = float(length[i] * length[j] * length[k])
                if volume > limit * smallest:
                    break
                smallest = min(smallest, volume)
                found.append(n[[i, j, k]] @ reduction)
    return np.rint(np.array(found)).astype(np.int64)


def _lattice_vectors(
    reduced: NDArray[np.float64], *, reach: int
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Return integers (n, 3) up to a reach, their lengths in A, and |cos| between them (n, n); rising."""
    steps = np.arange(-reach, reach + 1)
    n = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    # One of +n and -n, and no multiples of shorter vectors.
    n = n[len(n) // 2 + 1 :]
    n = n[np.gcd.reduce(n, axis=1) == 1]
    length = np.linalg.norm(n @ reduced, axis=1)
    order = np.argsort(length, kind="stable")
    n, length = n[order], length[order]
    unit = n @ reduced / length[:, None]
    return n, length, np.abs(unit @ unit.T)


def _sheared_triples(cell: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return integers (n, 3, 3), each of them three nearly perpendicular lattice vectors; none if there are none.

    Of those within `SHEAR_TOLERANCE` the best, by the least volume times elongation, as of a box.
    """
    reduced, reduction = minkowski_reduce(cell)
    n, length, cosine = _lattice_vectors(reduced, reach=SHEARED_REACH)
    perpendicular = cosine < SHEAR_TOLERANCE
    least, found = math.inf, list[NDArray[np.int64]]()
    for i in range(len(n)):
        partners = i + 1 + np.flatnonzero(perpendicular[i, i + 1 :])
        j, k = (partners[side] for side in np.nonzero(np.triu(perpendicular[np.ix_(partners, partners)], 1)))
        # Sorted by length: volume times k over i.
        cost = length[j] * length[k] ** 2
        for at in np.flatnonzero(cost < min(least, cost.min(initial=math.inf)) * (1 + 1e-6)):
            if cost[at] < least * (1 - 1e-6):
                least, found = float(cost[at]), []
            found.append(n[[i, j[at], k[at]]] @ reduction)
    return np.rint(np.array(found)).astype(np.int64).reshape(-1, 3, 3)


def _monoclinic_triples(cell: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return integers (n, 3, 3) of a lattice with a plane across one of its vectors, none if it has no such.

    It is searched for two perpendicular vectors much farther than space can be: up to `PLANE_REACH` steps and
    `LARGEST_PLANE_CELL` cells. Of these the best are taken: the least area times elongation, as of a box.
    """
    reduced, reduction = minkowski_reduce(cell)
    steps = np.arange(-2, 3)
    n = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    n = n[np.gcd.reduce(n, axis=1) == 1]
    n = n[np.argsort(np.linalg.norm(n @ reduced, axis=1), kind="stable")]
    vectors = n @ reduced
    unit = vectors / np.linalg.norm(vectors, axis=1)[:, None]
    across = np.abs(unit @ unit.T) < ORTHOGONALITY_TOLERANCE / 10
    for axis, mates in zip(n, across, strict=True):
        in_plane = n[mates]
        # The two shortest vectors of a plane that are no multiples of each other span its lattice.
        others = [m for m in in_plane if np.linalg.matrix_rank([in_plane[0], m]) == 2]
        if others:
            pairs = _perpendicular_pairs(np.array([in_plane[0], others[0]]) @ reduced)
            triples = [[axis, *(pair @ np.array([in_plane[0], others[0]]))] for pair in pairs]
            return np.rint(np.array(triples).reshape(-1, 3, 3) @ reduction).astype(np.int64)
    return np.empty((0, 3, 3), dtype=np.int64)


def _perpendicular_pairs(plane: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return integers (n, 2, 2), each of them two perpendicular vectors of a plane lattice (2, 3): the best."""
    steps = np.arange(-PLANE_REACH, PLANE_REACH + 1)
    n = np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=-1).reshape(-1, 2)
    n = n[len(n) // 2 + 1 :]
    n = n[np.gcd.reduce(n, axis=1) == 1]
    length = np.linalg.norm(n @ plane, axis=1)
    unit = n @ plane / length[:, None]
    i, j = np.nonzero(np.triu(np.abs(unit @ unit.T) < ORTHOGONALITY_TOLERANCE, 1))
    cells = np.abs(n[i, 0] * n[j, 1] - n[i, 1] * n[j, 0])
    small = cells <= LARGEST_PLANE_CELL
    i, j, cells = i[small], j[small], cells[small]
    if not len(cells):
        return np.empty((0, 2, 2), dtype=np.int64)
    cost = cells * np.maximum(length[i], length[j]) / np.minimum(length[i], length[j])
    best = cost < cost.min() * (1 + 1e-6)
    return np.stack([n[i[best]], n[j[best]]], axis=1)


def _indexed(cell: Atoms, *, name: str) -> Atoms:
    """Return an orthogonal constituent, its atoms inside it and numbered in `cell_index`."""
    if _largest_cosine(cell.cell.array) > 1e-6 or not np.allclose(
        cell.cell.array, np.diag(np.diag(cell.cell.array)), atol=1e-5
    ):
        raise InputError(
            f"the cell {np.round(cell.cell.cellpar(), 3).tolist()} is not orthogonal along x, y, z; "
            "relax its edges, not its angles"
        )
    result = Atoms(cell.get_chemical_symbols(), positions=cell.positions, cell=cell.cell.lengths(), pbc=True)
    result.info["crystal_to_box"] = np.asarray(cell.info.get("crystal_to_box", np.eye(3)))
    result.set_array("cell_index", np.arange(len(result)), dtype=np.int64)
    result.set_scaled_positions(into_period(result.get_scaled_positions(wrap=False)))
    require_no_overlap(result, origin=f"cell of {name}")
    return result


def _bulk_box(spec: CrystalSpec, cell: Atoms) -> Atoms:
    """Return the supercell of a bulk crystal."""
    repeats = spec.repeats or repeats_for(cell, spec.minimum_atoms or 1)
    box = cell.repeat(repeats)
    box.set_array("region", np.full(len(box), REGION_BULK), dtype=np.int64)
    return box
