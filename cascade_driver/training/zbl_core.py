"""The fixed part of a fitted potential: ZBL times its switch, as the table that LAMMPS will run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from ase import Atoms

from cascade_driver.files import write_atomically
from cascade_driver.simulation.lammps_engine import SinglePoints
from cascade_driver.simulation.potential import ZblSwitch, element_pairs
from cascade_driver.training.frames import LabelledFrame
from cascade_driver.validation.zbl import (
    TABLE_POINTS,
    TABLE_START_A,
    PairCurve,
    core_table,
    numbers_of,
    table_text,
)
from cascade_driver.validation.zbl import zbl as zbl_energy

#: Name of the file in a potential's folder.
CORE_FILE = "core.table"

#: Group of two atoms alone.
CORE_GROUP = "core"

#: Distances of each pair in `core_dimers`.
DIMERS = 16

#: Equidistant in ln r: neighbours differ by 0.4 %, and splines err by the fourth power of that.
FILE_POINTS = 1500


def write_core(path: Path, *, zbl: Mapping[str, ZblSwitch]) -> None:
    """Write s(r) E_ZBL(r) of each pair as a file for LAMMPS' `pair_style table`."""
    curves = {}
    for name, radii in zbl.items():
        r = np.geomspace(TABLE_START_A, radii.outer_A, FILE_POINTS)
        r[0], r[-1] = TABLE_START_A, radii.outer_A
        nothing = PairCurve(distance_A=r, energy_eV=np.zeros_like(r), force_eV_A=np.zeros_like(r))
        curves[name] = core_table(nothing, numbers=numbers_of(name.split("-")), switch_A=radii)
    write_atomically(path, table_text(curves, comment="ZBL times its switch; LAMMPS units metal"))


def core_coefficients(folder: str, *, species: tuple[str, ...], zbl: Mapping[str, ZblSwitch]) -> list[str]:
    """Return the `pair_coeff` commands of the core in a hybrid with one `table`."""
    return [
        f"pair_coeff {species.index(a) + 1} {species.index(b) + 1} table {folder}/{CORE_FILE} {a}_{b} "
        f"{zbl[f'{a}-{b}'].outer_A}"
        for a, b in element_pairs(species)
    ]


def core_dimers(*, species: tuple[str, ...], zbl: Mapping[str, ZblSwitch]) -> list[LabelledFrame]:
    """Return two atoms of each pair alone, in the inner half of their switch, with the forces of ZBL.

    In a crystal the terms of a fit may cancel where they rule, and leave two atoms alone a well to fall into; no
    label of a crystal sees that. Energies and stresses mean nothing here.
    """
    frames = []
    for first, second in element_pairs(species):
        radii = zbl[f"{first}-{second}"]
        distances = np.linspace(radii.inner_A, (radii.inner_A + radii.outer_A) / 2, DIMERS)
        slopes = zbl_energy(distances, numbers=numbers_of((first, second)))[1]
        for distance, slope in zip(distances, slopes, strict=True):
            atoms = Atoms([first, second], positions=[[0, 0, 0], [distance, 0, 0]], cell=[20.0] * 3, pbc=True)
            forces = np.array([[slope, 0.0, 0.0], [-slope, 0.0, 0.0]])
            frames.append(LabelledFrame(atoms=atoms, energy_eV=0.0, forces_eV_per_A=forces, group=CORE_GROUP))
    return frames


def core_calculator(folder: Path, *, species: tuple[str, ...], zbl: Mapping[str, ZblSwitch]) -> SinglePoints:
    """Return LAMMPS with the core alone; its table is written into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    write_core(folder / CORE_FILE, zbl=zbl)
    # a box whose neighbours reach to 3 A: the core ends before
    style = f"pair_style hybrid/overlay table spline {TABLE_POINTS} zero 3.0"
    core = core_coefficients("${core}", species=species, zbl=zbl)
    return SinglePoints(species=species, commands=[style, *core, "pair_coeff * * zero"], folders={"core": folder})
