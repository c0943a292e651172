"""What a linear potential is made of: an energy that is linear in its coefficients, and a part that is fixed.

    E(x; beta) = E_fixed(x) + sum_c beta_c R_c(x)

A form answers the rows R_c of a box and their derivatives; the fixed part (the ZBL core) is evaluated by the very
engine that will run. Forms can be added: splines plus bispectrum is a form.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from scipy import sparse

from cascade_driver.schema import digest


@dataclass(frozen=True, kw_only=True)
class DesignRows:
    """Derivatives of energy, forces and stress of one box with respect to p coefficients.

    Attributes
    ----------
    energy : (p,) float
        dE/d(beta_c), the descriptors themselves.
    forces_per_A : (p, n, 3) float
        dF/d(beta_c) = -d(energy)/dx.
    stress_per_A3 : (p, 6) float
        Derivative of the stress, xx, yy, zz, yz, xz, xy, positive under tension.
    """

    energy: NDArray[np.float64]
    forces_per_A: NDArray[np.float64]
    stress_per_A3: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Penalty:
    """A quadratic form beta^T D^T D beta that grows where a potential is rough, to be weighted by a strength.

    Attributes
    ----------
    name : str
        E.g. `three_body_curvature`.
    rows : scipy.sparse.csr_array, (m, p)
        D.
    """

    name: str
    rows: sparse.csr_array


class LinearForm(Protocol):
    """A kind of potential that is linear in its coefficients."""

    @property
    def species(self) -> tuple[str, ...]:
        """Chemical symbols of the LAMMPS atom types 1, 2, ..."""

    @property
    def size(self) -> int:
        """Number of coefficients p."""

    @property
    def digest(self) -> str:
        """Hash of all that decides the rows."""

    @property
    def blocks(self) -> Mapping[str, NDArray[np.int64]]:
        """Columns by the name of what they describe, e.g. `three_body W-O-O`; disjoint, together all."""

    def rows(self, atoms: Atoms, *, stress: bool = True) -> DesignRows:
        """Return the design rows of a periodic box of any shape; without `stress` its rows may be zeros."""

    def penalties(self) -> list[Penalty]:
        """Return what may be penalised, strengths apart."""


@dataclass(frozen=True)
class CombinedForm:
    """The sum of several forms, their coefficients one after the other."""

    parts: tuple[LinearForm, ...]

    @property
    def species(self) -> tuple[str, ...]:
        """Species of the first part, the same as of all."""
        return self.parts[0].species

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """First column of each part, and the number of all."""
        return tuple(int(n) for n in np.cumsum([0, *(part.size for part in self.parts)]))

    @property
    def size(self) -> int:
        """Number of all coefficients."""
        return self.offsets[-1]

    @property
    def digest(self) -> str:
        """Hash of the parts."""
        return digest([part.digest for part in self.parts])

    @property
    def blocks(self) -> Mapping[str, NDArray[np.int64]]:
        """Blocks of all parts."""
        found: dict[str, NDArray[np.int64]] = {}
        for offset, part in zip(self.offsets, self.parts, strict=False):
            found |= {name: columns + offset for name, columns in part.blocks.items()}
        return found

    def split(self, coefficients: NDArray[np.float64]) -> Sequence[NDArray[np.float64]]:
        """Return the coefficients of each part."""
        return np.split(coefficients, self.offsets[1:-1])

    def rows(self, atoms: Atoms, *, stress: bool = True) -> DesignRows:
        """Return the rows of all parts."""
        rows = [part.rows(atoms, stress=stress) for part in self.parts]
        return DesignRows(
            energy=np.concatenate([r.energy for r in rows]),
            forces_per_A=np.concatenate([r.forces_per_A for r in rows]),
            stress_per_A3=np.concatenate([r.stress_per_A3 for r in rows]),
        )

    def penalties(self) -> list[Penalty]:
        """Return the penalties of all parts."""
        found = []
        for offset, part in zip(self.offsets, self.parts, strict=False):
            for penalty in part.penalties():
                rows = penalty.rows.tocoo()
                shape = (rows.shape[0], self.size)
                moved = sparse.coo_array((rows.data, (rows.row, rows.col + offset)), shape=shape)
                found.append(Penalty(name=penalty.name, rows=moved.tocsr()))
        return found


def two_alone(pair: tuple[str, str], distance_A: float) -> Atoms:
    """Return two atoms in a box so wide that neither sees an image."""
    side = 4 * distance_A + 20.0
    return Atoms(pair, positions=[[0, 0, 0], [distance_A, 0, 0]], cell=[side] * 3, pbc=True)


def size_penalties(form: LinearForm, *kinds: str) -> list[Penalty]:
    """Return the coefficients themselves as penalties, one per kind: all blocks whose names begin so."""
    found = []
    for kind in kinds:
        columns = np.concatenate([c for name, c in form.blocks.items() if name.startswith(kind)])
        place = (np.ones(len(columns)), (np.arange(len(columns)), columns))
        rows = sparse.csr_array(place, shape=(len(columns), form.size))
        found.append(Penalty(name=f"{kind}_size", rows=rows))
    return found
