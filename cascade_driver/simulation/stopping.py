r"""Electronic stopping: what electrons take from fast atoms on their way.

Atoms slower than the electrons of the crystal lose energy in proportion to their velocity (Lindhard & Scharff,
Phys. Rev. 124, 128 (1961), doi:10.1103/PhysRev.124.128, Eq. 1):

.. math::

   -\frac{dE}{dx} = \sum_2 n_2\, 8 \pi e^2 a_0\, Z_1^{1/6} \frac{Z_1 Z_2}{(Z_1^{2/3} + Z_2^{2/3})^{3/2}}
   \frac{v}{v_0}

with the density of atoms :math:`n_2` of each species of the crystal and Bohr's velocity :math:`v_0`. Below 1 keV
it takes some percent to some tens of percent (Robinson's partition, `cascade estimate pairs`), by a law that is
known no better there; measured or computed tables of one's own take its place.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from ase.data import atomic_masses, atomic_numbers
from numpy.typing import NDArray
from pydantic import Field, model_validator
from scipy import constants

from cascade_driver.errors import InputError
from cascade_driver.schema import parameters
from cascade_driver.table import read_table
from cascade_driver.units import AMU_MeV, eV_PER_MeV

#: e^2 / (4 pi epsilon_0) and the Bohr radius.
_COULOMB_eV_A = constants.e / (4 * math.pi * constants.epsilon_0) * 1e10
_BOHR_A = constants.physical_constants["Bohr radius"][0] * 1e10

#: Kinetic energy of one amu at Bohr's velocity.
_BOHR_eV_PER_AMU = 0.5 * AMU_MeV * eV_PER_MeV * constants.fine_structure**2

#: The law is tabulated up to here; LAMMPS goes straight from one point to the next, 1e-4 off a square root.
_HIGHEST_eV, _POINTS = 1e7, 400

#: How the columns of a table are named, for messages.
_EXAMPLE = "energy_eV and the species, such as `energy_eV Ca W O`"


@parameters
class ElectronicStopping:
    """What electrons take from fast atoms: the section `[follow.electronic_stopping]`.

    Attributes
    ----------
    above_eV : float
        Atoms of less kinetic energy lose nothing to electrons. The law of fast atoms does not hold for thermal
        motion, which it would cool.
    file : str, optional
        A table in place of Lindhard and Scharff's law: a first line `energy_eV` and the species, then energies and
        the stopping power of each in eV/angstrom, such as one of SRIM's. What it says is kept with the plan.
    energy_eV : list of float, optional
        Instead of `file`: the energies,
    stopping_eV_A : dict, optional
        and the stopping power of each species at them.
    """

    above_eV: float = Field(default=10.0, gt=0, le=1e6)
    file: str | None = None
    energy_eV: tuple[float, ...] | None = None
    stopping_eV_A: dict[str, tuple[float, ...]] | None = None

    @model_validator(mode="after")
    def _is_one_table(self) -> ElectronicStopping:
        if (self.energy_eV is None) != (self.stopping_eV_A is None):
            raise ValueError("give `energy_eV` and `stopping_eV_A` together")
        if self.energy_eV is None or self.stopping_eV_A is None:
            return self
        if self.file is not None:
            raise ValueError("give either `file` or `energy_eV` and `stopping_eV_A`")
        if len(self.energy_eV) < 2 or any(not a < b for a, b in itertools.pairwise((0.0, *self.energy_eV))):
            raise ValueError("`energy_eV` must be two or more rising energies above 0")
        for species, values in self.stopping_eV_A.items():
            if species not in atomic_numbers:
                raise ValueError(f"`stopping_eV_A`: {species} is no element")
            if len(values) != len(self.energy_eV) or min(values) < 0:
                raise ValueError(f"`stopping_eV_A` of {species}: one value that is not negative for each energy")
        return self


@dataclass(frozen=True, kw_only=True)
class StoppingCurves:
    """Stopping powers of the species of a box.

    Attributes
    ----------
    above_eV : float
        They act above this kinetic energy.
    energy_eV : (n,) float
    stopping_eV_A : dict of (n,) float
        By species.
    """

    above_eV: float
    energy_eV: NDArray[np.float64]
    stopping_eV_A: Mapping[str, NDArray[np.float64]]


def resolved_stopping(given: ElectronicStopping | None, base_folder: Path) -> ElectronicStopping | None:
    """Return what an input says of electronic stopping with its table read; `file` is relative to `base_folder`.

    Raises
    ------
    InputError
        If there is no such file, or it cannot be read as a table.
    """
    if given is None or given.file is None:
        return given
    path = base_folder / given.file
    energies, powers = _read_table(path)
    try:
        return replace(given, file=None, energy_eV=energies, stopping_eV_A=powers)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None


def _read_table(path: Path) -> tuple[tuple[float, ...], dict[str, tuple[float, ...]]]:
    """Return the energies and the stopping powers by species of a file."""

    def check(where: str, names: list[str]) -> list[str]:
        if names[:1] != ["energy_eV"] or len(names) < 2:
            raise InputError(f"{where}: found the columns {', '.join(names[:6])}; expected {_EXAMPLE}")
        return names

    columns = read_table(path, example=_EXAMPLE, check_names=check).columns
    energies, *powers = (tuple(column.tolist()) for column in columns.values())
    return energies, dict(zip(list(columns)[1:], powers, strict=True))


def lindhard_scharff_eV_A(
    energy_eV: NDArray[np.float64] | float, *, species: str, density_A3: Mapping[str, float]
) -> NDArray[np.float64]:
    """Return the electronic stopping power of an atom in a crystal, in eV/angstrom.

    Parameters
    ----------
    energy_eV : (n,) float
        Its kinetic energy.
    species : str
        Its chemical symbol.
    density_A3 : dict
        Atoms of each species per cubic angstrom.

    Notes
    -----
    Lindhard & Scharff, Phys. Rev. 124, 128 (1961), doi:10.1103/PhysRev.124.128, Eq. 1, summed over the species of
    the crystal. It holds below Bohr's velocity times Z^(2/3).

    Examples
    --------
    >>> f"{lindhard_scharff_eV_A(1000.0, species='Si', density_A3={'Si': 0.05}):.2f}"
    '2.79'
    """
    z1 = float(atomic_numbers[species])
    velocity = np.sqrt(np.asarray(energy_eV, dtype=np.float64) / (_BOHR_eV_PER_AMU * atomic_masses[int(z1)]))
    per_atom = 0.0
    for other, density in density_A3.items():
        z2 = float(atomic_numbers[other])
        per_atom += density * z1 ** (7 / 6) * z2 / (z1 ** (2 / 3) + z2 ** (2 / 3)) ** 1.5
    return np.asarray(8 * math.pi * _COULOMB_eV_A * _BOHR_A * per_atom * velocity)


def stopping_curves(given: ElectronicStopping, *, symbols: Sequence[str], volume_A3: float) -> StoppingCurves:
    """Return the stopping powers of the species of a box full of atoms.

    Raises
    ------
    ValueError
        If its table was not read yet, see `resolved_stopping`.
    """
    if given.file is not None:
        raise ValueError(f"the table {given.file} was not read")
    if given.energy_eV is not None and given.stopping_eV_A is not None:
        return StoppingCurves(
            above_eV=given.above_eV,
            energy_eV=np.array(given.energy_eV),
            stopping_eV_A={name: np.array(values) for name, values in given.stopping_eV_A.items()},
        )
    names, counts = np.unique(list(symbols), return_counts=True)
    density = dict(zip(names.tolist(), (counts / volume_A3).tolist(), strict=True))
    energies = np.geomspace(0.9 * given.above_eV, _HIGHEST_eV, _POINTS)
    return StoppingCurves(
        above_eV=given.above_eV,
        energy_eV=energies,
        stopping_eV_A={
            name: lindhard_scharff_eV_A(energies, species=name, density_A3=density) for name in density
        },
    )


def require_reach(
    given: ElectronicStopping, *, species: Sequence[str], highest_eV: float, fills_its_box: bool
) -> None:
    """Raise unless the stopping powers serve the species of a crystal and its fastest recoil.

    Raises
    ------
    InputError
        If a table lacks a species or ends too low, or a law for bulk crystals is asked for of a film.
    """
    if given.energy_eV is None or given.stopping_eV_A is None:
        if not fills_its_box:
            raise InputError(
                "[follow.electronic_stopping]: the law of a bulk crystal cannot serve a film; give a table: file"
            )
        return
    if missing := sorted(set(species) - set(given.stopping_eV_A)):
        raise InputError(f"[follow.electronic_stopping]: the table has no column for {missing[0]}; add it")
    if highest_eV >= given.energy_eV[-1]:
        raise InputError(
            f"[follow.electronic_stopping]: the table ends at {given.energy_eV[-1]:g} eV, but recoils have up to "
            f"{highest_eV:g} eV; give it up to twice that, as gammas may add to them"
        )
