"""Crystals from structure files: read as what the file says that they are, or refused.

A CIF holds some atoms of the cell and the symmetry that makes the others. Where it lists the operations, those
count. Where it names a space group alone, the name may stand for several sets of operations (two origins of
I4_1/a, hexagonal and rhombohedral axes of R-3m, cells of P2_1/c): what the file says besides, `:2` behind the
symbol, a Hall symbol, a coordinate-system code, the shape of its cell, chooses among them. Whatever is built must
then hold the atoms, the density and the volume that the file states. Two sets that both do are as many as none.
"""

# ASE annotates only part of what it offers:
# mypy: disallow-untyped-calls=False, warn-return-any=False

from __future__ import annotations

import contextlib
import functools
import math
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import spglib
from ase import Atoms
from ase.data import atomic_masses, atomic_numbers, covalent_radii
from ase.geometry import get_distances, minkowski_reduce
from numpy.typing import NDArray

from cascade_driver.errors import InputError
from cascade_driver.files import readable
from cascade_driver.units import G_PER_CM3_OF_AMU_PER_A3

#: Atoms closer than this share of the sum of their covalent radii overlap: no bond is that short, while
#: duplicated or partly occupied sites are. (W-O: 1.14 of 1.78 angstrom; H-H: 0.31 of 0.74 angstrom.)
OVERLAP_SHARE = 0.5
#: Farther than so many sums of covalent radii from its nearest neighbour an atom is alone: solids reach 1.3
#: (lithium hydride), noble gases 1.5 to 3.
LONELY_BONDS = 1.6
#: Masses of a file may differ from the mean mass of the element by this share: tables do, and isotopes whose
#: recoils differ do so by more.
MASS_TOLERANCE = 0.01
_NOBLE_GASES = (2, 10, 18, 36, 54, 86)
#: Images of one site nearer than this are one atom: coordinates have three digits at least, and no two atoms are
#: so close.
SAME_SITE_A = 0.1
#: Digits of a cell and thermal expansion between two measurements, of the volume and of the density.
VOLUME_TOLERANCE, DENSITY_TOLERANCE = 0.01, 0.03
#: An operation must keep the metric of the cell so well: lattice constants that symmetry makes equal may be
#: given to three digits.
METRIC_TOLERANCE = 0.01
#: Atoms of the densest solids, diamond and beryllium oxide, have 5.7 and 6.9 A^3.
SMALLEST_ATOM_A3 = 2.0
#: Those of the thinnest, caesium and metal-organic frameworks, have some 100 A^3; gases have more.
LARGEST_ATOM_A3 = 1000.0
#: No lattice planes of the most compact cell are so near: an atom would overlap with its own image.
SMALLEST_PERIOD_A = 0.7
#: Time of the symmetry search grows with the square of the atoms: 8000 take three minutes.
LARGEST_CELL_ATOMS = 4000

#: Formats of ASE that give a cell by its lengths and angles.
_WITHOUT_ORIENTATION = ("cif", "res", "proteindatabank")

#: A coordinate may lie some cells away, but what is in millions is another quantity.
_FARTHEST_CELL = 1e3

_HALL = ("_space_group_name_hall", "_symmetry_space_group_name_hall")
_SYMBOL = ("_space_group_name_h-m_alt", "_symmetry_space_group_name_h-m", "_space_group_name_h-m_full")
_NUMBER = ("_space_group_it_number", "_symmetry_int_tables_number")
_CODE = ("_space_group_it_coordinate_system_code", "_symmetry_space_group_setting")
_OPERATIONS = (
    "_space_group_symop_operation_xyz",
    "_space_group_symop.operation_xyz",
    "_symmetry_equiv_pos_as_xyz",
)
_MULTIPLICITY = ("_atom_site_symmetry_multiplicity", "_atom_site_site_symmetry_multiplicity")
_CELL = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")

#: Codes of the origin: the databases write S and Z, the tables 1 and 2.
_ORIGIN = {"s": "1", "z": "2"}
#: Choices that a bare number of a space group means: its standard axes, of either origin and of either lattice.
_STANDARD_CHOICES = ("", "1", "2", "H", "R", "b", "b1")
#: Symbols of before 1992, squeezed.
_OLD_SYMBOLS = {"abm2": "aem2", "aba2": "aea2", "cmca": "cmce", "cmma": "cmme", "ccca": "ccce"}


@dataclass(frozen=True, kw_only=True)
class Symmetry:
    """Operations x' = R x + t on fractional coordinates, and what people call them."""

    said: str
    rotations: NDArray[np.int64]
    translations: NDArray[np.float64]

    def keeps(self, cell: NDArray[np.float64]) -> bool:
        """Whether each R keeps the metric G of a cell: R^T G R = G."""
        metric = cell @ cell.T
        size = np.sqrt(np.outer(metric.diagonal(), metric.diagonal()))
        moved = np.transpose(self.rotations, (0, 2, 1)) @ metric @ self.rotations
        return bool(np.abs((moved - metric) / size).max() < METRIC_TOLERANCE)


@dataclass(frozen=True, kw_only=True)
class Claims:
    """What a CIF says about its whole cell.

    Attributes
    ----------
    formula : mapping of str to float
        `_chemical_formula_sum`; empty if not given.
    units : int, optional
        `_cell_formula_units_Z`.
    sites : int, optional
        Sum of the multiplicities of the sites.
    density_g_cm3, volume_A3 : float, optional
    """

    formula: Mapping[str, float]
    units: int | None
    sites: int | None
    density_g_cm3: float | None
    volume_A3: float | None

    @property
    def count_atoms(self) -> bool:
        """Whether they tell how many atoms the cell has."""
        return bool(self.formula and self.units) or self.sites is not None or self.density_g_cm3 is not None

    def disagreement(self, atoms: Atoms) -> str | None:
        """Return what of a crystal is not as claimed: found, expected; None if nothing is."""
        volume_A3 = atoms.get_volume()
        if _differ(volume_A3, self.volume_A3, VOLUME_TOLERANCE):
            return f"a cell of {volume_A3:.4g} A^3, expected {self.volume_A3:.4g} from `_cell_volume`"
        found = Counter(atoms.get_chemical_symbols())
        if self.formula and not any(_same_counts(found, expected) for expected in self._possible(len(atoms))):
            units = f"{self.units} times " if self.units else "multiples of "
            source = "`_chemical_formula_sum`" + (" and `_cell_formula_units_Z`" if self.units else "")
            return f"{_formula(found)}, expected {units}{_formula(self.formula)} from {source}"
        if self.sites is not None and self.sites != len(atoms):
            return f"{len(atoms)} atoms, expected {self.sites} from the multiplicities of the sites"
        density = density_g_cm3(atoms)
        if _differ(density, self.density_g_cm3, DENSITY_TOLERANCE):
            return f"{density:.4g} g/cm3, expected {self.density_g_cm3:.4g} from `_exptl_crystal_density_diffrn`"
        return None

    def _possible(self, atoms: int) -> list[dict[str, float]]:
        """Return the contents of the cell that formula and units may mean."""
        if self.units is None:
            factors = [atoms / sum(self.formula.values())]
        else:
            # Some programs write the sum over the cell and the units beside it: then each count is a multiple.
            is_sum = all(math.isclose(n / self.units, round(n / self.units)) for n in self.formula.values())
            factors = [self.units, *([1] if is_sum else [])]
        return [{symbol: n * factor for symbol, n in self.formula.items()} for factor in factors]


def density_g_cm3(atoms: Atoms) -> float:
    """Return the density of a periodic structure."""
    return float(atoms.get_masses().sum() / atoms.get_volume() * G_PER_CM3_OF_AMU_PER_A3)


def read_crystal(path: Path) -> tuple[Atoms, bool]:
    """Return the crystal of a structure file, and whether the file says how it lies in space.

    A CIF, for one, gives lengths and angles alone: how it is turned is a convention of its reader.

    Raises
    ------
    InputError
        If the file holds no crystal, not one, or another than it says.
    """
    from ase.io.formats import filetype

    path = readable(path, what="a structure")
    try:
        kind = filetype(str(path))
    except Exception:  # ASE looks into files of some 80 formats.
        kind = ""
    atoms = _of_cif(path) if kind == "cif" else _of_other(path)
    _require_crystal(atoms, path)
    return atoms, kind not in _WITHOUT_ORIENTATION


def into_period(places: NDArray[np.float64], period: NDArray[np.float64] | float = 1.0) -> NDArray[np.float64]:
    """Return places (..., k) in the first period of each axis; one just below a face belongs on that face.

    So say sites of a crystal that rounding has moved: at the face opposite their neighbours would be other ones.
    """
    return np.maximum(places - np.floor(places / period + 1e-7) * period, 0.0)


def require_no_overlap(atoms: Atoms, *, origin: str) -> None:
    """Raise if two atoms are closer than `OVERLAP_SHARE` of the sum of their covalent radii."""
    if (said := _overlap(atoms)) is not None:
        raise InputError(f"{origin}: overlapping atoms: {said}; remove duplicated or partly occupied sites")


def _compact(atoms: Atoms) -> Atoms:
    """Return the same crystal in its most compact cell: neighbours in a skewed one are searched among many."""
    cell, _ = minkowski_reduce(atoms.cell.array)
    compact = Atoms(atoms.numbers, positions=atoms.positions, cell=cell, pbc=True)
    compact.wrap()
    return compact


def _overlap(atoms: Atoms) -> str | None:
    from ase.neighborlist import natural_cutoffs, neighbor_list

    atoms = _compact(atoms)
    i, j, distance_A = neighbor_list("ijd", atoms, natural_cutoffs(atoms, mult=OVERLAP_SHARE))
    if not len(i):
        return None
    k = int(np.argmin(distance_A))
    symbols = atoms.get_chemical_symbols()
    return f"{symbols[i[k]]} {i[k]} and {symbols[j[k]]} {j[k]} are {distance_A[k]:.2f} A apart"


def _require_crystal(atoms: Atoms, path: Path) -> None:
    """Raise unless this is a periodic solid of known atoms at distances of their own."""
    if len(atoms) > LARGEST_CELL_ATOMS:
        raise InputError(
            f"{path}: {len(atoms)} atoms, expected the cell of a crystal of at most {LARGEST_CELL_ATOMS}; "
            "give its unit cell and `repeats`"
        )
    cell = atoms.cell.array
    if not (np.isfinite(cell).all() and np.isfinite(atoms.positions).all()):
        raise InputError(f"{path}: a lattice vector or a position is not a finite number; correct the file")
    if not atoms.pbc.all() or atoms.cell.rank < 3:
        raise InputError(f"{path}: not periodic along all three axes; give a crystal with its cell")
    if (atoms.numbers == 0).any():
        raise InputError(f"{path}: unknown element 'X'; name the element of every atom")
    _require_volume(len(atoms), cell, path)
    require_no_overlap(atoms, origin=str(path))


def _require_volume(atoms: int, cell: NDArray[np.float64], path: Path) -> None:
    """Raise if a cell has no room for its atoms, or too much: neighbours could not even be searched there."""
    if complaint := _no_solid(atoms, cell):
        raise InputError(f"{path}: {complaint}; are the lengths in angstrom, and is the cell not flat?")


def _no_solid(atoms: int, cell: NDArray[np.float64]) -> str | None:
    volume_A3 = abs(float(np.linalg.det(cell)))
    if SMALLEST_ATOM_A3 * atoms <= volume_A3 <= LARGEST_ATOM_A3 * atoms:
        reduced, _ = minkowski_reduce(cell)
        sides_A2 = np.linalg.norm(np.cross(reduced[[1, 2, 0]], reduced[[2, 0, 1]]), axis=1)
        if (volume_A3 / sides_A2).min() >= SMALLEST_PERIOD_A:
            return None
    return (
        f"{_atoms(atoms)} in a cell {np.round(_cellpar(cell), 4).tolist()} of {volume_A3:.4g} A^3, expected "
        f"{SMALLEST_ATOM_A3:g} to {LARGEST_ATOM_A3:g} A^3 for each"
    )


def _atoms(count: int) -> str:
    return f"{count} atom{'' if count == 1 else 's'}"


def _of_other(path: Path) -> Atoms:
    """Return the last structure of a file in any other format of ASE."""
    import ase.io

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            frames = ase.io.read(path, index=slice(None), do_not_split_by_at_sign=True)
        except Exception as error:  # ASE's readers of some 80 formats raise nearly anything.
            raise _unreadable(path, error) from None
    if len(frames) > 1:
        raise InputError(f"{path}: holds {len(frames)} structures; keep the one that is meant")
    if not frames or not isinstance(found := frames[0], Atoms) or len(found) == 0:
        raise InputError(f"{path}: holds no atoms; give a structure file")
    _require_mean_masses(found, path)
    occupancies = found.info.get("occupancy", {})
    if any(share < 1 for site in occupancies.values() for share in site.values()):
        raise _partly_occupied(path)
    return Atoms(found.get_chemical_symbols(), positions=found.positions, cell=found.cell, pbc=found.pbc)


def _require_mean_masses(atoms: Atoms, path: Path) -> None:
    """Refuse isotopes: cascades run with the mean mass of each element."""
    if not atoms.has("masses"):
        return
    for symbol, mass, mean in zip(atoms.symbols, atoms.get_masses(), atomic_masses[atoms.numbers], strict=True):
        if not abs(mass - mean) < MASS_TOLERANCE * mean:
            raise InputError(
                f"{path}: {symbol} of {mass:g} u, the mean of the element is {mean:g} u: atoms have the mean mass "
                "of their element; leave the masses out, or give a potential whose element it is"
            )


def _unreadable(path: Path, error: Exception) -> InputError:
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    return InputError(f"{path}: not a structure that ASE can read ({reason}); convert it to CIF or extended XYZ")


def _partly_occupied(path: Path) -> InputError:
    return InputError(f"{path}: partly occupied sites; give an ordered structure")


def _of_cif(path: Path) -> Atoms:
    """Return the crystal of a CIF, built by the one symmetry that agrees with what the file says."""
    tags = _only_block(path)
    try:
        cellpar = np.array([_number(tags[f"_cell_{name}"]) for name in _CELL])
        if not (np.isfinite(cellpar).all() and (cellpar > 0).all() and (cellpar[3:] < 180).all()):
            raise ValueError(cellpar)
        cell = np.asarray(Atoms(cell=cellpar).cell.array)
    except (KeyError, ValueError, AssertionError):
        raise InputError(f"{path}: no cell with three lengths and three angles; give a crystal") from None
    scaled = _coordinates(tags, path)
    symbols = _elements(tags, path)
    _require_whole_atoms(tags, path)
    claims = _claims(tags)
    listed, tabulated = _listed(tags, path), _tabulated(tags, path, cell)
    if listed is not None and not listed.keeps(cell):
        raise InputError(
            f"{path}: its operations do not keep its cell {np.round(_cellpar(cell), 4).tolist()}; correct one"
        )
    candidates = [] if listed is None else [listed]
    if listed is None or any(len(s.rotations) > len(listed.rotations) for s in tabulated):
        candidates += tabulated
    if not candidates:
        return _without_symmetry(symbols, scaled, cell, claims=claims, path=path)
    built: list[tuple[Symmetry, Atoms]] = []
    complaints = []
    for symmetry in candidates:
        atoms = _expanded(symbols, scaled, symmetry, cell)
        complaint = _no_solid(len(atoms), cell)
        if complaint is None and (said := _overlap(atoms)):
            complaint = f"overlapping atoms: {said}"
        complaint = complaint or claims.disagreement(atoms)
        if complaint:
            complaints.append(f"{complaint} ({symmetry.said})")
        elif not any(_are_same(atoms, other) for _, other in built):
            built.append((symmetry, atoms))
    if not built:
        raise InputError(
            f"{path}: not the crystal that it says: found {complaints[0]}; "
            "correct the file: its sites, its symmetry operations, or what it says of the whole"
        )
    if len(built) > 1:
        names = " or ".join(symmetry.said for symmetry, _ in built)
        raise InputError(
            f"{path}: the file does not tell its symmetry: {names}; list all operations, name the choice behind "
            "the symbol ('I 41/a :2'), or give `_chemical_formula_sum` and `_cell_formula_units_Z`"
        )
    return built[0][1]


def _without_symmetry(
    symbols: Sequence[str], scaled: NDArray[np.float64], cell: NDArray[np.float64], *, claims: Claims, path: Path
) -> Atoms:
    """Return the atoms as they stand if the file says that they are all."""
    atoms = Atoms(symbols, scaled_positions=scaled, cell=cell, pbc=True)
    _require_volume(len(atoms), cell, path)
    complaint = claims.disagreement(atoms)
    if complaint is None and claims.count_atoms:
        return atoms
    nearest_A = float(nearest_neighbours_A(atoms).max())
    found = complaint or (
        f"{_atoms(len(atoms))} in {atoms.get_volume():.4g} A^3, {density_g_cm3(atoms):.3g} g/cm3, "
        f"neighbours up to {nearest_A:.2f} A apart"
    )
    raise InputError(
        f"{path}: found {found}: not this crystal? The symmetry is missing from the file; add its operations, or "
        "`_space_group_name_H-M_alt 'P 1'` if these are all atoms"
    )


def nearest_neighbours_A(atoms: Atoms) -> NDArray[np.float64]:
    """Return the distance of each atom from its nearest neighbour, images of itself included."""
    return _nearest(atoms)[0]


def lonely_atoms(atoms: Atoms) -> list[int]:
    """Return the atoms whose nearest neighbour is farther than `LONELY_BONDS`, but for noble gases."""
    distance_A, bond_A = _nearest(atoms)
    alone = (distance_A > LONELY_BONDS * bond_A) & ~np.isin(atoms.numbers, _NOBLE_GASES)
    return [int(i) for i in np.flatnonzero(alone)]


def _nearest(atoms: Atoms) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the distance of each atom from its nearest neighbour, and the sum of their covalent radii."""
    from ase.neighborlist import neighbor_list

    atoms = _compact(atoms)
    # No atom is farther from its own image than the shortest lattice vector.
    reach_A = float(np.linalg.norm(atoms.cell.array, axis=1).min()) * 1.001
    i, j, distance_A = neighbor_list("ijd", atoms, reach_A)
    radius_A = covalent_radii[atoms.numbers]
    # Sorted by atom, then by distance: the first of each atom is its nearest.
    order = np.lexsort((distance_A, i))
    first = order[np.unique(i[order], return_index=True)[1]]
    return distance_A[first], radius_A[i[first]] + radius_A[j[first]]


def _only_block(path: Path) -> Mapping[str, object]:
    """Return the tags of the one block of a CIF that holds sites."""
    from ase.io.cif import parse_cif
    from ase.io.formats import open_with_compression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with open_with_compression(str(path), "rb") as stream:
                blocks = [dict(block) for block in parse_cif(stream)]
        except Exception as error:  # The parser raises what it stumbles over.
            raise _unreadable(path, error) from None
    found = [tags for tags in blocks if "_atom_site_fract_x" in tags]
    if len(found) > 1:
        raise InputError(f"{path}: holds {len(found)} structures; keep the one that is meant")
    if not found:
        where = " with fractional coordinates" if any("_atom_site_cartn_x" in tags for tags in blocks) else ""
        raise InputError(f"{path}: holds no atoms{where}; give a structure file")
    return found[0]


def _first(tags: Mapping[str, Any], names: Sequence[str]) -> Any:
    """Return the first of some tags that is there and known."""
    for name in names:
        if name in tags and str(tags[name]).strip() not in ("?", ".", ""):
            return tags[name]
    return None


def _number(value: Any) -> float:
    """Return a number of a CIF, its error in brackets taken off."""
    return float(re.sub(r"\(\d+\)?$", "", str(value).strip()))


def _number_or_none(value: Any) -> float | None:
    try:
        number = _number(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _coordinates(tags: Mapping[str, Any], path: Path) -> NDArray[np.float64]:
    """Return the fractional coordinates of the sites (n, 3)."""
    try:
        columns = [[_number(x) for x in _as_list(tags[f"_atom_site_fract_{axis}"])] for axis in "xyz"]
        scaled = np.array(columns, dtype=np.float64).T
    except (KeyError, ValueError):
        raise InputError(f"{path}: a site without three coordinates; complete or remove it") from None
    if not (np.abs(scaled) < _FARTHEST_CELL).all():
        raise InputError(
            f"{path}: a coordinate of {np.abs(scaled).max():g} is no fraction of the cell; correct it"
        )
    return scaled


def _elements(tags: Mapping[str, Any], path: Path) -> list[str]:
    """Return the elements of the sites."""
    labels = _first(tags, ("_atom_site_type_symbol", "_atom_site_label"))
    if labels is None:
        raise InputError(f"{path}: sites without elements; add `_atom_site_type_symbol`")
    known = set(_formula_counts(tags)) or set(atomic_numbers)
    return [_element(str(label).strip(), known=known, path=path) for label in _as_list(labels)]


def _element(label: str, *, known: set[str], path: Path) -> str:
    """Return the element that a label such as `W1`, `O2-` or `CA3` means."""
    if re.match(r"D(?![a-z])", label):
        raise InputError(
            f"{path}: deuterium ({label}): atoms have the mean mass of their element; use H, or a potential whose "
            "element it is"
        )
    letters = (re.match(r"[A-Za-z]*", label) or [""])[0]
    # `Wat` is water, not tungsten: a small second letter belongs to the element.
    two, one = letters[:2].capitalize(), letters[:1].upper()
    options = [two] if letters[1:2].islower() and letters[:1].isupper() else [two, one]
    found = sorted(
        {symbol for symbol in options if symbol in known and symbol in atomic_numbers and symbol != "X"}
    )
    if len(found) != 1:
        meant = f"may be {' or '.join(found)}" if found else "names no element of the file"
        raise InputError(f"{path}: the site `{label}` {meant}; give `_atom_site_type_symbol`")
    return found[0]


def _require_whole_atoms(tags: Mapping[str, Any], path: Path) -> None:
    """Raise if a site is not wholly occupied, or has hydrogens that are not listed."""
    shares = [_number_or_none(share) for share in _as_list(tags.get("_atom_site_occupancy", []))]
    # 0.333 + 0.667 of two atoms is a mixed site; 0.9999 is a refined one.
    if any(share is not None and not 0.999 < share < 1.001 for share in shares):
        raise _partly_occupied(path)
    hydrogens = [_number_or_none(n) for n in _as_list(tags.get("_atom_site_attached_hydrogens", []))]
    if any(hydrogens):
        raise InputError(f"{path}: hydrogens that are attached and not listed; give a file with all atoms")


def _formula_counts(tags: Mapping[str, Any]) -> dict[str, float]:
    """Return `_chemical_formula_sum` as counts; empty if it is not there or no list of elements."""
    text = str(_first(tags, ("_chemical_formula_sum",)) or "")
    counts: dict[str, float] = {}
    for part in text.split():
        match = re.fullmatch(r"([A-Z][a-z]?)(\d*\.?\d*)", part)
        if match is None or match[1] not in atomic_numbers:
            return {}
        counts[match[1]] = counts.get(match[1], 0.0) + float(match[2] or 1)
    return counts


def _claims(tags: Mapping[str, Any]) -> Claims:
    units = _number_or_none(_first(tags, ("_cell_formula_units_z",)))
    multiplicity = [_number_or_none(n) for n in _as_list(_first(tags, _MULTIPLICITY))]
    volume = _number_or_none(_first(tags, ("_cell_volume",)))
    density = _number_or_none(_first(tags, ("_exptl_crystal_density_diffrn",)))
    return Claims(
        formula=_formula_counts(tags),
        units=round(units) if units and units >= 1 else None,
        sites=round(sum(n for n in multiplicity if n)) if all(multiplicity) else None,
        density_g_cm3=density if density and density > 0 else None,
        # Programs that did not work it out write 0.
        volume_A3=volume if volume and volume > 0 else None,
    )


def _differ(found: float, claimed: float | None, tolerance: float) -> bool:
    return claimed is not None and not abs(found - claimed) <= tolerance * claimed


def _same_counts(found: Mapping[str, float], expected: Mapping[str, float]) -> bool:
    return found.keys() == expected.keys() and all(
        math.isclose(found[symbol], expected[symbol], rel_tol=1e-3) for symbol in found
    )


def _formula(counts: Mapping[str, float]) -> str:
    return " ".join(f"{symbol}{n:g}" for symbol, n in sorted(counts.items()))


def _cellpar(cell: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(Atoms(cell=cell).cell.cellpar())


def _listed(tags: Mapping[str, Any], path: Path) -> Symmetry | None:
    """Return the operations that a file lists, if it does."""
    from ase.spacegroup.spacegroup import parse_sitesym

    listed = _first(tags, _OPERATIONS)
    if listed is None:
        return None
    texts = [str(text).strip().strip("'\"").replace(" ", "").lower() for text in _as_list(listed)]
    try:
        rotations, translations = parse_sitesym(texts)
    except Exception:  # The parser raises what it stumbles over.
        raise InputError(f"{path}: an unreadable symmetry operation; write them as 'x, -y, z+1/2'") from None
    said = "the operation listed" if len(texts) == 1 else f"the {len(texts)} operations listed"
    return Symmetry(said=said, rotations=np.asarray(rotations), translations=np.asarray(translations))


@contextlib.contextmanager
def quiet_spglib() -> Iterator[None]:
    """Silence what spglib announces with every call since 2.7: that failures, now None, will be exceptions."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Set OLD_ERROR_HANDLING", DeprecationWarning)
        yield


@functools.cache
def _settings() -> dict[int, Any]:
    """Return the 530 settings of the space groups in spglib's table, by Hall number."""
    with quiet_spglib():
        return {hall: spglib.get_spacegroup_type(hall) for hall in range(1, 531)}


def _squeezed(text: str) -> str:
    return re.sub(r"[\s_]", "", text).lower()


def _spaced(text: str) -> str:
    return " ".join(text.replace("_", " ").lower().split())


def _names(setting: Any) -> set[str]:
    """Return the Hermann-Mauguin symbols of a setting, squeezed."""
    return {
        _squeezed(name)
        for name in (setting.international_short, setting.international_full, *setting.international.split("="))
    }


def _symbol_and_choice(tags: Mapping[str, Any]) -> tuple[str, str]:
    """Return the squeezed symbol of the space group and the code of the setting, each empty if not told."""
    text = str(_first(tags, _SYMBOL) or "").strip().strip("'\"")
    choice = str(_first(tags, _CODE) or "").strip().lower()
    for pattern in (r":\s*(\S+)$", r"\(?origin choice\s*([12])\)?$", r"(?<=\S)\s+([SZHR])$"):
        match = re.search(pattern, text, re.IGNORECASE if "origin" in pattern else 0)
        if match:
            text, choice = text[: match.start()], match[1].lower()
            break
    symbol = _squeezed(text)
    return _OLD_SYMBOLS.get(symbol, symbol), _ORIGIN.get(choice, choice)


def _tabulated(tags: Mapping[str, Any], path: Path, cell: NDArray[np.float64]) -> list[Symmetry]:
    """Return the symmetries that the name of the space group may stand for in this cell."""
    halls = _hall_numbers(tags)
    symmetries = [_of_hall(hall) for hall in halls]
    fitting = [symmetry for symmetry in symmetries if symmetry.keeps(cell)]
    told = [str(value) for names in (_SYMBOL, _HALL, _NUMBER) if (value := _first(tags, names)) is not None]
    if told and not fitting and _first(tags, _OPERATIONS) is None:
        known = "does not fit its cell" if symmetries else "is in no table"
        raise InputError(f"{path}: the space group `{', '.join(told)}` {known}; list its operations")
    return fitting


def _hall_numbers(tags: Mapping[str, Any]) -> list[int]:
    """Return the settings that a file may mean, by Hall number; none if it names no space group."""
    hall, number = str(_first(tags, _HALL) or ""), _number_or_none(_first(tags, _NUMBER))
    settings = _settings()
    # Blanks tell P 3 2 (no. 149) from P 32 (145), but some programs leave them out.
    for alike in (_spaced, _squeezed):
        if exact := [h for h, s in settings.items() if hall and alike(s.hall_symbol) == alike(hall)]:
            return exact
    symbol, choice = _symbol_and_choice(tags)
    if not symbol and number is None:
        return []
    found = [h for h, s in settings.items() if number is None or s.number == number]
    if symbol:
        found = [h for h in found if symbol in _names(settings[h])]
    elif not choice:
        found = [h for h in found if settings[h].choice in _STANDARD_CHOICES]
    of_choice: list[Callable[[str], bool]] = [
        lambda c: c.lower() == choice,
        lambda c: c.lower().startswith(choice),
    ]
    for is_meant in of_choice if choice else []:
        if named := [h for h in found if is_meant(settings[h].choice)]:
            return named
    return found


def _of_hall(hall: int) -> Symmetry:
    setting = _settings()[hall]
    with quiet_spglib():
        operations: Any = spglib.get_symmetry_from_database(hall)
    choice = f" :{setting.choice}" if setting.choice else ""
    return Symmetry(
        said=f"{setting.international.split('=')[0].strip()}{choice}",
        rotations=np.asarray(operations["rotations"], dtype=np.int64),
        translations=np.asarray(operations["translations"], dtype=np.float64),
    )


def _expanded(
    symbols: Sequence[str], scaled: NDArray[np.float64], symmetry: Symmetry, cell: NDArray[np.float64]
) -> Atoms:
    """Return all atoms of the cell; images of a site that nearly coincide are one atom, at their mean."""
    elements: list[str] = []
    places: list[NDArray[np.float64]] = []
    for symbol, site in zip(symbols, scaled, strict=True):
        images = symmetry.rotations @ site + symmetry.translations
        # A whole cell that is listed beside its operations: each atom comes again.
        before = [place for place, element in zip(places, elements, strict=True) if element == symbol]
        while len(images):
            offset = images - images[0]
            offset -= np.round(offset)
            near = np.linalg.norm(offset @ cell, axis=1) < SAME_SITE_A
            place = images[0] + offset[near].mean(axis=0)
            images = images[~near]
            if len(symmetry.rotations) > 1 and _is_among(place, before, cell):
                continue
            elements.append(symbol)
            places.append(place)
    return Atoms(elements, scaled_positions=np.array(places) % 1.0, cell=cell, pbc=True)


def _is_among(
    place: NDArray[np.float64], others: Sequence[NDArray[np.float64]], cell: NDArray[np.float64]
) -> bool:
    if not others:
        return False
    offset = np.array(others) - place
    return bool((np.linalg.norm((offset - np.round(offset)) @ cell, axis=1) < SAME_SITE_A).any())


def _are_same(one: Atoms, other: Atoms) -> bool:
    """Whether two structures in one cell have the same atoms at the same places."""
    if sorted(one.numbers) != sorted(other.numbers):
        return False
    _, distance_A = get_distances(one.positions, other.positions, cell=one.cell, pbc=True)
    distance_A[one.numbers[:, None] != other.numbers] = np.inf
    return bool((distance_A.min(axis=1) < SAME_SITE_A).all())
