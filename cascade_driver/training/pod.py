"""Proper orthogonal descriptors (POD): rows from LAMMPS' `compute pod/global`, files for its `pair_style pod`.

    E = sum_i sum_k beta_k(s_i) D_k(i)

D_k are one- to four-body descriptors: radial functions, made orthogonal over the range of a bond, times
angular ones. N. C. Nguyen & A. Rohskopf, J. Comput. Phys. 480, 112030 (2023),
doi:10.1016/j.jcp.2023.112030; N. C. Nguyen, Phys. Rev. B 107, 144103 (2023), doi:10.1103/PhysRevB.107.144103.
LAMMPS' own `fitpod` fits the same form, without weights of groups, a core, or draws.

LAMMPS' pair style (22 Jul 2025) has no memory for neighbours until it meets the first: where the first atom that
it comes to has none, two atoms far apart for instance, it crashes. `LammpsEngine` refuses such boxes; here they do
no harm.
"""

# SciPy annotates only part of what it offers:
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from pydantic import Field, model_validator
from scipy import sparse

from cascade_driver.schema import digest, parameters, plain
from cascade_driver.simulation.lammps_engine import SinglePoints
from cascade_driver.training.descriptors import DesignRows, Penalty, size_penalties, two_alone
from cascade_driver.validation.zbl import numbers_of, zbl

#: Strain of the central differences that give rows of the stress: `pod/global` has none of its own.
_STRAIN = 1e-4

#: Distances at which two atoms alone are asked for their energies.
_PAIR_DISTANCES = 24

#: Distances of two atoms among others at which ZBL must rule, and the share of its force that is put up with.
_CORE_DISTANCES_A = (0.12, 0.25, 0.4, 0.55, 0.7, 0.85)
_CORE_SHARE = 0.03

#: How many others stand around them, how near to anything, in how large a sphere, and how often they are drawn.
_CROWD, _CROWD_NEAREST_A, _CROWD_RADIUS_A, _CROWDS = 14, 1.6, 4.0, 3

#: ASE's order of the stress.
_VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


@parameters
class PodForm:
    """A form of proper orthogonal descriptors; see the module.

    Attributes
    ----------
    species : tuple of str
        Chemical symbols of the atom types.
    cutoff_A : float
        Reach.
    inner_A : float
        Distance that radial functions count from: 0/0 there, so that only zero is out of all ways.
    radial : int
        Radial functions of two atoms.
    triples_radial, triples_angular : int
        Of three atoms; no more radial ones than of two.
    quadruples_radial, quadruples_angular : int
        Of four atoms; none of the two more than of three.
    bessel_degree, inverse_degree : int
        Functions that the radial ones are made of; inverse ones, 1/r^k, have no end in the core.
    """

    species: tuple[str, ...] = Field(min_length=1)
    cutoff_A: float = Field(default=5.0, gt=0)
    inner_A: float = Field(default=0.8, ge=0)
    radial: int = Field(default=8, ge=1)
    triples_radial: int = Field(default=5, ge=0)
    triples_angular: int = Field(default=4, ge=0)
    quadruples_radial: int = Field(default=3, ge=0)
    quadruples_angular: int = Field(default=2, ge=0)
    bessel_degree: int = Field(default=4, ge=1)
    inverse_degree: int = Field(default=10, ge=0)

    @model_validator(mode="after")
    def _orders_are_nested(self) -> PodForm:
        radial = (self.radial, self.triples_radial, self.quadruples_radial)
        if list(radial) != sorted(radial, reverse=True) or self.quadruples_angular > self.triples_angular:
            raise ValueError(
                f"each order takes its functions from the one before, found {radial} radial and "
                f"{(self.triples_angular, self.quadruples_angular)} angular ones; lower those of the higher order"
            )
        if self.inner_A >= self.cutoff_A:
            raise ValueError(f"inner_A ({self.inner_A:g}) must lie below cutoff_A ({self.cutoff_A:g})")
        return self

    @property
    def digest(self) -> str:
        """Hash of the parameters."""
        return digest(plain(self))

    @cached_property
    def size(self) -> int:
        """Number of coefficients, as LAMMPS counts them."""
        return len(_energy_row(self, two_alone((self.species[0], self.species[0]), self.cutoff_A / 2)))

    @property
    def blocks(self) -> Mapping[str, NDArray[np.int64]]:
        """Columns by species: the constants and the descriptors."""
        each = self.size // len(self.species)
        found = {}
        for n, s in enumerate(self.species):
            found[f"one_body {s}"] = np.array([n * each])
            found[f"pod {s}"] = np.arange(n * each + 1, (n + 1) * each)
        return found

    def parameter_file(self) -> str:
        """Return the text of LAMMPS' parameter file."""
        return "\n".join(
            [
                "# written by cascade_driver",
                f"species {' '.join(self.species)}",
                f"rin {self.inner_A}",
                f"rcut {self.cutoff_A}",
                f"bessel_polynomial_degree {self.bessel_degree}",
                f"inverse_polynomial_degree {self.inverse_degree}",
                "onebody 1",
                f"twobody_number_radial_basis_functions {self.radial}",
                f"threebody_number_radial_basis_functions {self.triples_radial}",
                f"threebody_angular_degree {self.triples_angular}",
                f"fourbody_number_radial_basis_functions {self.quadruples_radial}",
                f"fourbody_angular_degree {self.quadruples_angular}",
                "",
            ]
        )

    def rows(self, atoms: Atoms, *, stress: bool = True) -> DesignRows:
        """Return the design rows of a periodic box of any shape; those of the stress are most of the work."""
        array, turn = _array(self, atoms)
        forces = array[1:].T.reshape(self.size, len(atoms), 3) @ turn
        strained = np.zeros((self.size, 6))
        if stress:
            strained = np.stack([self._strained(atoms, axes) for axes in _VOIGT], axis=1) / atoms.get_volume()
        return DesignRows(energy=array[0], forces_per_A=forces, stress_per_A3=strained)

    def _strained(self, atoms: Atoms, axes: tuple[int, int]) -> NDArray[np.float64]:
        """Return the derivative of the energy row by one symmetric strain."""
        rows = []
        for sign in (1, -1):
            strain = np.eye(3)
            strain[axes] += sign * _STRAIN / 2
            strain[axes[::-1]] += sign * _STRAIN / 2
            moved = atoms.copy()
            moved.set_cell(atoms.cell.array @ strain, scale_atoms=True)
            rows.append(_energy_row(self, moved))
        # Of a shear the two halves are one strain: dE/d(eps) = V sigma for it, too.
        return np.asarray((rows[0] - rows[1]) / (2 * _STRAIN))

    @cached_property
    def pair_energies(self) -> sparse.csr_array:
        """Rows of the energies, above that of single atoms, of two atoms alone.

        Where splines describe pairs the descriptors need not, least of all at distances where a core rules.
        """
        constants = np.concatenate([c for name, c in self.blocks.items() if name.startswith("one_body")])
        rows = []
        for pair in itertools.combinations_with_replacement(self.species, 2):
            for r in np.linspace(_CORE_DISTANCES_A[0], self.cutoff_A, _PAIR_DISTANCES, endpoint=False):
                row = _energy_row(self, two_alone(pair, float(r)))
                row[constants] = 0.0
                rows.append(row)
        return sparse.csr_array(np.array(rows))

    @cached_property
    def core_forces(self) -> sparse.csr_array:
        """Rows of the forces on two atoms in each other's core among others, over what is put up with there.

        No label says what three and four atoms do at distances where ZBL rules; left alone, they do as much as it.
        """
        random = np.random.default_rng(1)
        rows = []
        for pair in itertools.combinations_with_replacement(self.species, 2):
            for r, _ in itertools.product(_CORE_DISTANCES_A, range(_CROWDS)):
                forces = self.rows(_crowd(self.species, pair, r, random), stress=False).forces_per_A[:, :2]
                tolerated = _CORE_SHARE * abs(float(zbl(np.array([r]), numbers=numbers_of(pair))[1][0]))
                rows += list(forces.reshape(self.size, -1).T / tolerated)
        return sparse.csr_array(np.array(rows))

    def penalties(self) -> list[Penalty]:
        """Return the coefficients themselves, energies of two atoms alone, and forces in the core."""
        return [
            Penalty(name="pod_pairs", rows=self.pair_energies),
            Penalty(name="pod_core", rows=self.core_forces),
            *size_penalties(self, "one_body", "pod"),
        ]

    def files(self, coefficients: NDArray[np.float64], *, name: str) -> dict[str, str]:
        """Return the files of `pair_style pod` by name: parameters and coefficients."""
        lines = [f"model_coefficients: {len(coefficients)} 0 0", *(f"{c:.17g}" for c in coefficients)]
        return {f"{name}.pod": self.parameter_file(), f"{name}.podcoeff": "\n".join(lines) + "\n"}


def _crowd(
    species: tuple[str, ...], pair: tuple[str, str], distance_A: float, random: np.random.Generator
) -> Atoms:
    """Return two atoms at a distance, and others at random around them, none near to anything."""
    centre = 4 * _CROWD_RADIUS_A
    along = random.normal(size=3)
    places = [np.zeros(3), distance_A * along / np.linalg.norm(along)]
    while len(places) < 2 + _CROWD:
        trial = random.uniform(-_CROWD_RADIUS_A, _CROWD_RADIUS_A, size=3)
        nearest = np.linalg.norm(np.array(places) - trial, axis=1).min()
        if nearest > _CROWD_NEAREST_A and np.linalg.norm(trial) < _CROWD_RADIUS_A:
            places.append(trial)
    symbols = [*pair, *random.choice(species, size=_CROWD)]
    return Atoms(symbols, positions=np.array(places) + centre, cell=[2 * centre] * 3, pbc=True)


def _energy_row(form: PodForm, atoms: Atoms) -> NDArray[np.float64]:
    return np.asarray(_array(form, atoms)[0][0])


def _array(form: PodForm, atoms: Atoms) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return descriptors and their derivatives as LAMMPS gives them, and the turn of its frame."""
    point = _calculator(form).points(atoms)
    assert point.array is not None
    array = np.array(point.array)
    # The compute leaves out the constants of atoms without neighbours, the pair style does not.
    each, symbols = array.shape[1] // len(form.species), np.array(atoms.get_chemical_symbols())
    array[0, ::each] = [np.count_nonzero(symbols == s) for s in form.species]
    return array, point.turn


@dataclass(frozen=True)
class _Bench:
    """LAMMPS with nothing but the compute, and the folder of its parameter file."""

    points: SinglePoints
    folder: tempfile.TemporaryDirectory[str]


_BENCHES: dict[str, _Bench] = {}


def _calculator(form: PodForm) -> _Bench:
    """Return the bench of a form; made once."""
    if form.digest not in _BENCHES:
        folder = tempfile.TemporaryDirectory()
        (Path(folder.name) / "form.pod").write_text(form.parameter_file(), encoding="ascii")
        points = SinglePoints(
            species=form.species,
            commands=[f"pair_style zero {form.cutoff_A}", "pair_coeff * *"],
            compute=f'pod/global ${{pod}}/form.pod "" {" ".join(form.species)}',
            folders={"pod": Path(folder.name)},
        )
        _BENCHES[form.digest] = _Bench(points, folder)
    return _BENCHES[form.digest]
