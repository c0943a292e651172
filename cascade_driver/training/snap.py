"""Bispectrum potentials (SNAP): rows straight from LAMMPS' `compute snap`, files for its `pair_style snap`.

    E = sum_i [ beta_0(s_i) + sum_k beta_k(s_i) B_k(i) ]

The bispectrum B_k(i) is that of the neighbour density of atom i; with `chemical` a density per element, without it
one in which each element has a weight. A. P. Thompson et al., J. Comput. Phys. 285, 316 (2015); M. A. Cusentino
et al., J. Phys. Chem. A 124, 5456 (2020). Several channels of weights, as in the published potential of CaWO4, are
a `CombinedForm`. FitSNAP drives the same compute; it brings its own input language and keeps all rows in memory.

Chemical components that differ only by an exchange of elements of equal angular momenta are one number, e.g.
B(j1 j2 j1; e1 e2 e3) = B(j1 j2 j1; e3 e2 e1), and share one coefficient here. LAMMPS' pair style relies on that:
with different ones its forces are not the gradient of its energy (22 Jul 2025; off by more than 1 eV/A).
"""

# SciPy annotates only part of what it offers:
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import itertools
from collections.abc import Mapping
from functools import cached_property

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from pydantic import Field, model_validator
from scipy import sparse

from cascade_driver.schema import digest, parameters, plain
from cascade_driver.simulation.lammps_engine import SinglePoints
from cascade_driver.training.descriptors import DesignRows, Penalty, size_penalties, two_alone

#: Distances in the switch of a pair, and as many from there to the cutoff.
_PAIR_DISTANCES = 12


@parameters
class InnerSwitch:
    """Where a species' neighbours fade out towards short distance.

    Off below `middle_A - half_width_A`, fully on above their sum; of a pair the means of both species count.
    """

    middle_A: float = Field(gt=0)
    half_width_A: float = Field(gt=0)


@parameters
class SnapForm:
    """A bispectrum form; see the module.

    Attributes
    ----------
    species : tuple of str
        Chemical symbols of the atom types.
    cutoff_A : float
        Reach of the neighbour density.
    twojmax : int
        Twice the largest angular momentum.
    chemical : bool
        A density per element.
    weights : dict
        Of the elements in one common density.
    inner : dict
        Per species the switch at short distance, so that ZBL rules there; none if empty.
    """

    species: tuple[str, ...] = Field(min_length=1)
    cutoff_A: float = Field(default=4.8, gt=0)
    twojmax: int = Field(default=6, ge=0, le=12)
    chemical: bool = False
    weights: dict[str, float] = Field(default_factory=dict)
    inner: dict[str, InnerSwitch] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _species_are_complete(self) -> SnapForm:
        for name, table in (("weights", self.weights), ("inner", self.inner)):
            if table and sorted(table) != sorted(self.species):
                raise ValueError(f"{name} must name {sorted(self.species)}, found {sorted(table)}")
        return self

    @property
    def digest(self) -> str:
        """Hash of the parameters."""
        return digest(plain(self))

    @cached_property
    def shared(self) -> NDArray[np.int64]:
        """Which coefficient of a species each component has, in LAMMPS' order; equal components share one."""
        n = len(self.species) if self.chemical else 1
        momenta = _momenta(self.twojmax)
        kinds: dict[tuple[object, ...], int] = {}
        found = []
        for elements in itertools.product(range(n), repeat=3):
            for j in momenta:
                # Elements are told apart by the momentum that they go with, not by their place.
                name = tuple(sorted(zip(j, elements, strict=True)))
                found.append(kinds.setdefault(name, len(kinds)))
        return np.array(found)

    @property
    def descriptors(self) -> int:
        """Number of different bispectrum components of an atom."""
        return int(self.shared.max()) + 1

    @property
    def size(self) -> int:
        """Number of coefficients: a constant and the descriptors, per species."""
        return len(self.species) * (1 + self.descriptors)

    @property
    def blocks(self) -> Mapping[str, NDArray[np.int64]]:
        """Columns by species: the constants and the descriptors."""
        found = {}
        for n, s in enumerate(self.species):
            begin = n * (1 + self.descriptors)
            found[f"one_body {s}"] = np.array([begin])
            found[f"snap {s}"] = np.arange(begin + 1, begin + 1 + self.descriptors)
        return found

    def compute(self) -> str:
        """Return style and arguments of LAMMPS' compute."""
        weights = [self.weights.get(s, 1.0) for s in self.species]
        words: list[object] = ["snap", self.cutoff_A, 0.99, self.twojmax, *(0.5 for _ in weights), *weights]
        words += ["rmin0", 0.0, "switchflag", 1, "bzeroflag", 1, "quadraticflag", 0, "bikflag", 0]
        if self.chemical:
            words += ["chem", len(self.species), *range(len(self.species)), "bnormflag", 1, "wselfallflag", 0]
        if self.inner:
            words += ["switchinnerflag", 1]
            words += ["sinner", *(self.inner[s].middle_A for s in self.species)]
            words += ["dinner", *(self.inner[s].half_width_A for s in self.species)]
        return " ".join(str(word) for word in words)

    def rows(self, atoms: Atoms, *, stress: bool = True) -> DesignRows:
        """Return the design rows of a periodic box of any shape; those of the stress are zeros if not wanted."""
        point = _calculator(self)(atoms)
        array = point.array
        assert array is not None
        n, k, all_ = len(atoms), self.descriptors, len(self.shared)
        gather = sparse.csr_array((np.ones(all_), (self.shared, np.arange(all_))), shape=(k, all_))
        volume = atoms.get_volume()
        symbols = np.array(atoms.get_chemical_symbols())
        energy = np.zeros(self.size)
        forces = np.zeros((self.size, n, 3))
        of_stress = np.zeros((self.size, 6))
        for number, s in enumerate(self.species):
            begin = number * (1 + k)
            energy[begin] = np.count_nonzero(symbols == s)
            here = slice(begin + 1, begin + 1 + k)
            columns = np.asarray(gather @ array[:, number * all_ : (number + 1) * all_].T).T
            energy[here] = columns[0]
            forces[here] = columns[1 : 1 + 3 * n].T.reshape(k, n, 3) @ point.turn
            if stress:
                of_stress[here] = -_turned(columns[1 + 3 * n :].T, point.turn) / volume
        return DesignRows(energy=energy, forces_per_A=forces, stress_per_A3=of_stress)

    @cached_property
    def pair_energies(self) -> sparse.csr_array:
        """Rows of the energies, above that of single atoms, of two atoms alone, from the switch to the cutoff.

        Where splines describe pairs the bispectra need not; and the second derivative of their switches jumps by
        as much as they bind two atoms.
        """
        rows = []
        for pair in itertools.combinations_with_replacement(self.species, 2):
            # Just beyond the cutoff two atoms do not see each other.
            apart = self.rows(two_alone(pair, 1.01 * self.cutoff_A)).energy
            rows += [self.rows(two_alone(pair, r)).energy - apart for r in _pair_distances(self, pair)]
        return sparse.csr_array(np.array(rows))

    def penalties(self) -> list[Penalty]:
        """Return the coefficients themselves, per kind of column, and energies of two atoms alone."""
        return [Penalty(name="snap_pairs", rows=self.pair_energies), *size_penalties(self, "one_body", "snap")]

    def files(self, coefficients: NDArray[np.float64], *, name: str) -> dict[str, str]:
        """Return the files of `pair_style snap` by name: coefficients and parameters."""
        k = self.descriptors
        count = len(self.shared) + 1
        lines = ["# fitted by cascade_driver; LAMMPS units metal", f"{len(self.species)} {count}"]
        for number, s in enumerate(self.species):
            lines.append(f"{s} 0.5 {self.weights.get(s, 1.0)!r}")
            own = coefficients[number * (k + 1) : (number + 1) * (k + 1)]
            lines += [f"{c:.15g}" for c in (own[0], *own[1:][self.shared])]
        about = ["# fitted by cascade_driver", f"rcutfac {self.cutoff_A}", f"twojmax {self.twojmax}"]
        about += ["rfac0 0.99", "rmin0 0.0", "switchflag 1", "bzeroflag 1", "quadraticflag 0"]
        if self.chemical:
            about += ["chemflag 1", "bnormflag 1", "wselfallflag 0"]
        if self.inner:
            about.append("switchinnerflag 1")
            about.append("sinner " + " ".join(str(self.inner[s].middle_A) for s in self.species))
            about.append("dinner " + " ".join(str(self.inner[s].half_width_A) for s in self.species))
        return {f"{name}.snapcoeff": "\n".join(lines) + "\n", f"{name}.snapparam": "\n".join(about) + "\n"}


def _momenta(top: int) -> list[tuple[int, int, int]]:
    """Return 2 j1, 2 j2, 2 j of the components in LAMMPS' order."""
    return [
        (j1, j2, j)
        for j1 in range(top + 1)
        for j2 in range(j1 + 1)
        for j in range(j1 - j2, min(top, j1 + j2) + 1, 2)
        if j >= j1
    ]


def _pair_distances(form: SnapForm, pair: tuple[str, str]) -> NDArray[np.float64]:
    """Return distances that are dense in the switch of a pair."""
    if not form.inner:
        return np.linspace(0.5, form.cutoff_A, _PAIR_DISTANCES, endpoint=False)
    middle = sum(form.inner[s].middle_A for s in pair) / 2
    half = sum(form.inner[s].half_width_A for s in pair) / 2
    switch = np.linspace(middle - half, middle + half, _PAIR_DISTANCES, endpoint=False)[1:]
    return np.concatenate([switch, np.linspace(middle + half, form.cutoff_A, _PAIR_DISTANCES, endpoint=False)])


_CALCULATORS: dict[str, SinglePoints] = {}


def _calculator(form: SnapForm) -> SinglePoints:
    """Return LAMMPS with nothing but the compute; made once."""
    name = form.digest
    if name not in _CALCULATORS:
        commands = [f"pair_style zero {form.cutoff_A}", "pair_coeff * *"]
        _CALCULATORS[name] = SinglePoints(species=form.species, commands=commands, compute=form.compute())
    return _CALCULATORS[name]


def _turned(virial: NDArray[np.float64], turn: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return rows xx, yy, zz, yz, xz, xy in the frame of the box."""
    order = np.array([[0, 5, 4], [5, 1, 3], [4, 3, 2]])
    full = turn.T @ virial[:, order] @ turn
    return np.asarray(full[:, [0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]])
