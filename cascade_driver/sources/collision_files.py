"""Recoils from the files of binary-collision programs: SRIM's COLLISON.txt, RustBCA's displacements.output.

SRIM (detailed calculation with full cascades, or quick): a line per collision of the ion, fields between bars
(byte 0xB3): number of the ion, its energy in keV, x, y, z in A, electronic stopping, atom hit, energy given to it
in eV. What stands between `Prime Recoil` and `Summary` are the later recoils of that collision and is left out:
it is what a cascade of molecular dynamics makes itself. RustBCA (`track_displacements`): mass, Z, energy at the
origin, three coordinates of the origin and three of the end, between commas, in the units of its input: u and eV
here; no header. Its recoils are those of all generations, which a line does not tell apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from ase.data import atomic_masses, atomic_numbers, chemical_symbols
from numpy.typing import NDArray

from cascade_driver.errors import InputError
from cascade_driver.files import readable
from cascade_driver.text import number_of

#: Between the fields of SRIM.
_BAR = "\xb3"

#: A mass may differ so much from that of its element: isotopes, but not kilograms.
_MASS_RATIOS = (0.7, 1.4)
_HYDROGEN_RATIOS = (0.7, 3.1)

Program = Literal["srim", "rustbca"]


@dataclass(frozen=True, kw_only=True, eq=False)
class CollisionRecoils:
    """Recoils of some ions, in the order of the file.

    Attributes
    ----------
    species : (n,) str
    recoil_energy_eV : (n,) float
    """

    species: NDArray[np.str_]
    recoil_energy_eV: NDArray[np.float64]


def read_collisions(path: Path | str, *, program: Program) -> CollisionRecoils:
    """Return the recoils in a file of a binary-collision program.

    Parameters
    ----------
    path : str or pathlib.Path
    program : {'srim', 'rustbca'}
        Who wrote it.

    Raises
    ------
    InputError
        If it cannot be read, or a line is not what the program writes; names the line.
    """
    path = readable(path, what=f"collisions of {program}")
    # latin-1: SRIM writes the code page of a PC of 1985, of which every byte is some letter.
    lines = path.read_text(encoding="latin-1").splitlines()
    rows = list(_of_srim(lines, path) if program == "srim" else _of_rustbca(lines, path))
    if not rows:
        raise InputError(f"{path}: no collision in it, expected a file that {program} wrote")
    return CollisionRecoils(
        species=np.array([species for species, _ in rows]),
        recoil_energy_eV=np.array([energy for _, energy in rows]),
    )


def energies_of(found: CollisionRecoils, *, species: str | None = None) -> NDArray[np.float64]:
    """Return recoil energies in eV, in the order of the file.

    Parameters
    ----------
    found : CollisionRecoils
    species : str, optional
        Only recoils of this species (default: of all).

    Raises
    ------
    InputError
        If there is none.
    """
    energies = found.recoil_energy_eV if species is None else found.recoil_energy_eV[found.species == species]
    if not len(energies):
        held = ", ".join(f"{n} {name}" for name, n in Counter(found.species.tolist()).items())
        raise InputError(f"no recoil of {species}; it holds {held}")
    return energies


def _of_srim(lines: list[str], path: Path) -> Iterator[tuple[str, float]]:
    within = False
    for number, line in enumerate(lines, start=1):
        if "Prime Recoil" in line or "Summary" in line:
            within = "Prime Recoil" in line
            continue
        fields = [field.strip() for field in line.strip().removeprefix(_BAR).split(_BAR)]
        # Frames and headings have no bar and number of an ion in front.
        if within or not (line.strip().startswith(_BAR) and fields[0].isdigit()):
            continue
        where = f"{path}, line {number}"
        if len(fields) < 9:  # the eighth ends with a bar
            raise InputError(f"{where}: ends within a collision; the file was cut off, copy it again whole")
        yield _checked(fields[6], fields[7], where=where)
    if within:
        raise InputError(f"{path}: ends within the cascade of a collision; it was cut off, copy it again whole")


def _of_rustbca(lines: list[str], path: Path) -> Iterator[tuple[str, float]]:
    for number, line in enumerate(lines, start=1):
        fields = line.split(",")
        where = f"{path}, line {number}"
        if len(fields) != 9:
            raise InputError(f"{where}: {len(fields)} values, expected 9: m, Z, E, x, y, z, x, y, z")
        mass_u, z = _number(fields[0]), _number(fields[1])
        if not (z.is_integer() and 0 < z < len(chemical_symbols)):
            raise InputError(
                f"{where}: {fields[1][:20]!r} is no atomic number; expected m, Z, E, x, y, z, x, y, z"
            )
        symbol = chemical_symbols[int(z)]
        low, high = _HYDROGEN_RATIOS if symbol == "H" else _MASS_RATIOS
        if not low < mass_u / atomic_masses[int(z)] < high:
            raise InputError(
                f"{where}: a mass of {fields[0][:20]} for {symbol}, expected about {atomic_masses[int(z)]:.4g}: "
                "the units of the input of RustBCA have to be u and eV"
            )
        if wrong := [field for field in fields[3:] if not np.isfinite(_number(field))]:
            raise InputError(f"{where}: {wrong[0].strip()[:20]!r} is no coordinate; the file may be cut off")
        yield symbol, _energy(fields[2], where=where)


def _checked(species: str, energy: str, *, where: str) -> tuple[str, float]:
    if species not in atomic_numbers or species == "X":
        raise InputError(f"{where}: {species[:20]!r} is no element; expected the atom that was hit")
    return species, _energy(energy, where=where)


def _energy(word: str, *, where: str) -> float:
    value = _number(word)
    if not 0 <= value < np.inf:
        comma = ", with a decimal point" if "," in word else ""
        raise InputError(f"{where}: {word[:20]!r} is no recoil energy; expected one of at least 0 eV{comma}")
    return value


def _number(word: str) -> float:
    """Return a number, nan of what is none."""
    try:
        return number_of(word)
    except ValueError:
        return float("nan")
