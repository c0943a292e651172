"""Two- and three-body splines with linear embedding terms: the fast tier of potentials.

    E = sum_i E_0(s_i) + sum_i<j V(r_ij) + sum_i,jk W(r_ij, r_ik, r_jk) + sum_m sum_i F_m(rho_m,i)

V, W and F are cubic B-splines, hence linear in their coefficients; the densities rho_m,i = sum_j phi_m(r_ij) have
fixed switches phi. LAMMPS runs V and W as `uf3`, each F_m as an `eam/fs`. V and W vanish with two derivatives at
the inner end of the ZBL switch of a pair, where phi is flat: below it ZBL rules alone. The form is
that of S. R. Xie, M. Rupp & R. G. Hennig, npj Comput. Mater. 9, 162 (2023), doi:10.1038/s41524-023-01092-7.

The package `uf3` (0.4.0 of 2024) fits pairs and triples; it knows neither stress, embedding nor splines that
vanish at their inner end, and subtracts no core evaluated by LAMMPS: hence the rows here.
"""

# ASE annotates only part of what it offers:
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import importlib
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from pydantic import Field, model_validator
from scipy import sparse

from cascade_driver.errors import InputError
from cascade_driver.schema import digest, parameters, plain
from cascade_driver.simulation.potential import ZblSwitch, element_pairs
from cascade_driver.training.descriptors import DesignRows, Penalty

#: A cubic spline and its first two derivatives vanish at an end of clamped knots without the last three functions.
VANISHING = 3


@parameters
class Density:
    """What a neighbour adds to a density: `weight` up to `inner_A`, nothing from `outer_A`, smooth in between.

    phi(r) = weight (1 - 10 t^3 + 15 t^4 - 6 t^5), t = (r - inner)/(outer - inner).
    """

    weight: float = Field(default=1.0, gt=0)
    inner_A: float = Field(gt=0)
    outer_A: float = Field(gt=0)

    @model_validator(mode="after")
    def _ordered(self) -> Density:
        if self.inner_A >= self.outer_A:
            raise ValueError(f"inner_A = {self.inner_A} must be below outer_A = {self.outer_A}")
        return self


@parameters
class Embedding:
    """An embedding energy F(rho) per species.

    Attributes
    ----------
    densities : dict
        `O by W`: what a W atom adds to the density at an O atom.
    largest_density : dict
        Per embedded species the density of the last knot; F goes on as a straight line.
    knot : float
        Distance of the knots of F in units of rho.
    """

    densities: dict[str, Density] = Field(min_length=1)
    largest_density: dict[str, float]
    knot: float = Field(default=0.5, gt=0)


@parameters
class SplineForm:
    """Which splines; see the module. Distances in angstrom.

    Attributes
    ----------
    species : tuple of str
        Chemical symbols of the atom types.
    zbl : dict
        Per pair such as `Ca-O`: pure ZBL below `inner_A`, none from `outer_A`.
    two_body_cutoff_A, two_body_knot_A : float
        Reach of V and distance of its knots.
    three_body_cutoff_A : float
        Largest r_ij and r_ik of W; r_jk reaches to twice of it. Zero for no W.
    leg_knot_A, far_knot_A : dict
        Per pair: distance of the knots for r_ij and r_ik, and for r_jk. Empty without W.
    embedding : tuple of Embedding
        One `eam/fs` each; the first carries the energies of single atoms, which a form without one has not.
    """

    species: tuple[str, ...] = Field(min_length=1)
    zbl: dict[str, ZblSwitch]
    two_body_cutoff_A: float = Field(default=6.0, gt=0)
    two_body_knot_A: float = Field(default=0.15, gt=0)
    three_body_cutoff_A: float = Field(default=3.5, ge=0)
    leg_knot_A: dict[str, float] = Field(default_factory=dict)
    far_knot_A: dict[str, float] = Field(default_factory=dict)
    embedding: tuple[Embedding, ...] = ()

    @model_validator(mode="after")
    def _pairs_are_complete(self) -> SplineForm:
        wanted = sorted("-".join(pair) for pair in element_pairs(self.species))
        legs = wanted if self.three_body_cutoff_A else []
        for name, table, needed in (
            ("zbl", self.zbl, wanted),
            ("leg_knot_A", self.leg_knot_A, legs),
            ("far_knot_A", self.far_knot_A, legs),
        ):
            if sorted(table) != needed:
                raise ValueError(f"{name} must name the pairs {needed}, found {sorted(table)}")
        for term in self.embedding:
            for name in term.densities:
                centre, by, partner = [*name.split(), "", "", ""][:3]
                if by != "by" or not {centre, partner} <= set(self.species):
                    raise ValueError(f"a density is named like `O by W`, found {name!r}")
                if term.largest_density.get(centre, 0.0) <= 0:
                    raise ValueError(f"largest_density must name {centre} > 0, which `{name}` embeds")
        return self

    # -- knots ---------------------------------------------------------------------------------------------

    @property
    def pairs(self) -> list[str]:
        """Names of the pairs of species."""
        return ["-".join(pair) for pair in element_pairs(self.species)]

    def pair_of(self, first: str, second: str) -> str:
        """Return the name of a pair, in the order of `species`."""
        return "-".join(sorted((first, second), key=self.species.index))

    def two_body_knots(self) -> NDArray[np.float64]:
        """Return the knots of V in angstrom, of all pairs; LAMMPS wants them from zero on."""
        return clamped_knots(0.0, self.two_body_cutoff_A, self.two_body_knot_A)

    def leg_knots(self, pair: str) -> NDArray[np.float64]:
        """Return the knots of W for r_ij and r_ik in angstrom."""
        return clamped_knots(self.zbl[pair].inner_A, self.three_body_cutoff_A, self.leg_knot_A[pair])

    def far_knots(self, centre: str, first: str, second: str) -> NDArray[np.float64]:
        """Return the knots of W for r_jk of a triple.

        At least as many as of its legs: LAMMPS (22 Jul 2025) sizes an array by them, and writes beyond its end.
        """
        pair = self.pair_of(first, second)
        most = max(len(self.leg_knots(self.pair_of(centre, other))) for other in (first, second)) - 7
        start, end = self.zbl[pair].inner_A, 2 * self.three_body_cutoff_A
        return clamped_knots(start, end, min(self.far_knot_A[pair], (end - start) / most))

    def embedding_knots(self, term: int, species: str) -> NDArray[np.float64]:
        """Return the knots of F of a species; empty if it is not embedded."""
        about = self.embedding[term]
        if not any(name.split()[0] == species for name in about.densities):
            return np.empty(0)
        return clamped_knots(0.0, about.largest_density[species], about.knot)

    # -- columns -------------------------------------------------------------------------------------------

    @property
    def digest(self) -> str:
        """Hash of the parameters."""
        return digest(plain(self))

    @property
    def size(self) -> int:
        """Number of coefficients."""
        return _layout(self).size

    @property
    def blocks(self) -> Mapping[str, NDArray[np.int64]]:
        """Columns by name."""
        return {name: np.unique(map_[map_ >= 0]) for name, map_ in _layout(self).maps.items()}

    def coefficients_of(self, block: str, coefficients: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the full tensor of spline coefficients of a block, zeros where a spline vanishes."""
        map_ = _layout(self).maps[block]
        return np.where(map_ >= 0, coefficients[map_], 0.0)

    def triples(self) -> list[tuple[str, str, str]]:
        """Return the triples of species: centre, and two others in the order of `species`; none without W."""
        centres = self.species if self.three_body_cutoff_A else ()
        return [(i, *pair) for i in centres for pair in element_pairs(self.species)]

    # -- rows ----------------------------------------------------------------------------------------------

    def rows(self, atoms: Atoms, *, stress: bool = True) -> DesignRows:  # noqa: ARG002  it costs nothing here
        """Return the design rows of a periodic box of any shape."""
        return _rows(self, atoms)

    def penalties(self) -> list[Penalty]:
        """Return second differences of all splines, and the coefficients themselves, by kind of term."""
        layout = _layout(self)
        found = []
        for kind in ("two_body", "three_body", "embedding"):
            maps = [m for name, m in layout.maps.items() if name.startswith(kind)]
            if maps:
                bends = sparse.vstack([_bends(m, layout.size) for m in maps], format="csr")
                columns = np.unique(np.concatenate([m[m >= 0] for m in maps]))
                found += [Penalty(name=f"{kind}_curvature", rows=bends), _ridge(kind, columns, layout.size)]
        alone = [m for name, m in layout.maps.items() if name.startswith("one_body")]
        return [*found, _ridge("one_body", np.concatenate(alone), layout.size)] if alone else found


def clamped_knots(start: float, end: float, spacing: float) -> NDArray[np.float64]:
    """Return equidistant knots about `spacing` apart, the first and the last of them fourfold."""
    intervals = max(2, round((end - start) / spacing))
    inner = np.linspace(start, end, intervals + 1)
    return np.concatenate([[start] * 3, inner, [end] * 3])


@dataclass(frozen=True)
class _Layout:
    """Which coefficient stands where: per block a tensor of columns, -1 where a spline vanishes."""

    maps: dict[str, NDArray[np.int64]]
    size: int
    kernel: _KernelTables


@dataclass(frozen=True)
class _KernelTables:
    """The layout as the compiled loops read it."""

    pair: NDArray[np.int64]
    two_body: tuple[NDArray[Any], ...]
    legs: tuple[NDArray[Any], ...]
    far: tuple[NDArray[Any], ...]
    offset: NDArray[np.int64]
    triple_columns: NDArray[np.int64]
    embedding: tuple[tuple[NDArray[Any], ...], ...]


_LAYOUTS: dict[str, _Layout] = {}


def _layout(form: SplineForm) -> _Layout:
    """Return the layout of a form; made once."""
    name = form.digest
    if name not in _LAYOUTS:
        _LAYOUTS[name] = _make_layout(form)
    return _LAYOUTS[name]


def _make_layout(form: SplineForm) -> _Layout:
    maps: dict[str, NDArray[np.int64]] = {}
    free = itertools.count()
    for s in form.species if form.embedding else ():
        maps[f"one_body {s}"] = np.array([next(free)])
    for pair in form.pairs:
        knots = form.two_body_knots()
        free_here = knots[:-4] >= form.zbl[pair].inner_A - 1e-9
        free_here[-VANISHING:] = False
        column = np.full(len(knots) - 4, -1)
        column[free_here] = [next(free) for _ in range(np.count_nonzero(free_here))]
        maps[f"two_body {pair}"] = column
    for term, s in itertools.product(range(len(form.embedding)), form.species):
        n = len(form.embedding_knots(term, s)) - 4
        if n > 0:  # F(0) = 0: what an atom alone has is E_0
            maps[f"embedding {term} {s}"] = np.array([-1, *(next(free) for _ in range(n - 1))])
    for i, j, k in form.triples():
        maps[f"three_body {i}-{j}-{k}"] = _triple_columns(form, i, j, k, free)
    return _Layout(maps=maps, size=next(free), kernel=_kernel_tables(form, maps))


def _triple_columns(form: SplineForm, i: str, j: str, k: str, free: Iterator[int]) -> NDArray[np.int64]:
    n_ij = len(form.leg_knots(form.pair_of(i, j))) - 4
    n_ik = len(form.leg_knots(form.pair_of(i, k))) - 4
    n_jk = len(form.far_knots(i, j, k)) - 4
    column = np.full((n_ij, n_ik, n_jk), -1)
    # Legs vanish at both ends; so does r_jk at its inner one, while beyond twice the cutoff there is no triple.
    for a in range(VANISHING, n_ij - VANISHING):
        for b in range(a if j == k else VANISHING, n_ik - VANISHING):
            column[a, b, VANISHING:] = [next(free) for _ in range(n_jk - VANISHING)]
            if j == k:
                column[b, a] = column[a, b]
    return column


def _kernel_tables(form: SplineForm, maps: Mapping[str, NDArray[np.int64]]) -> _KernelTables:
    species, pairs = form.species, form.pairs
    pair = np.array([[pairs.index(form.pair_of(a, b)) for b in species] for a in species])
    offset: list[int] = []
    flat: list[NDArray[np.int64]] = []
    filled = 0
    triples = list(itertools.product(enumerate(species), repeat=3)) if form.triples() else []
    for (_, a), (j, b), (k, c) in triples:
        column = maps[f"three_body {a}-{b}-{c}"] if j <= k else maps[f"three_body {a}-{c}-{b}"].transpose(1, 0, 2)
        offset.append(filled)
        flat.append(column.ravel())
        filled += column.size
    embedding = []
    for term, about in enumerate(form.embedding):
        shape = np.zeros((len(species), len(species), 3))
        for name, density in about.densities.items():
            centre, _, partner = name.split()
            place = species.index(centre), species.index(partner)
            shape[place] = density.weight, density.inner_A, density.outer_A
        columns = _padded([maps.get(f"embedding {term} {s}", np.empty(0, dtype=np.int64)) for s in species], -1)
        embedding.append((shape, *_knot_table(form.embedding_knots(term, s) for s in species), columns))
    return _KernelTables(
        pair=pair,
        two_body=(
            *_knot_table(form.two_body_knots() for _ in pairs),
            _padded([maps[f"two_body {p}"] for p in pairs], -1),
        ),
        legs=_knot_table(form.leg_knots(p) for p in pairs if triples),
        far=_knot_table(form.far_knots(a, b, c) for (_, a), (_, b), (_, c) in triples),
        offset=np.array(offset),
        triple_columns=np.concatenate([np.empty(0, dtype=np.int64), *flat]),
        embedding=tuple(embedding),
    )


def _padded(rows: list[NDArray[Any]], filler: float) -> NDArray[Any]:
    if not rows:
        return np.full((0, 1), filler)
    table = np.full((len(rows), max(1, *(len(r) for r in rows))), filler, dtype=rows[0].dtype)
    for line, row in zip(table, rows, strict=True):
        line[: len(row)] = row
    return table


def _knot_table(knots: Iterable[NDArray[np.float64]]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    rows = list(knots)
    return _padded(rows, 0.0), np.array([len(r) for r in rows])


def _bends(column: NDArray[np.int64], size: int) -> sparse.csr_array:
    """Return second differences of a tensor of coefficients along each axis; each distinct one once."""
    stencils = []
    for axis in range(column.ndim):
        along = np.moveaxis(column, axis, -1)
        if along.shape[-1] >= 3:
            stencils.append(np.stack([along[..., :-2], along[..., 1:-1], along[..., 2:]], axis=-1).reshape(-1, 3))
    found = np.unique(np.concatenate(stencils), axis=0)
    found = found[(found >= 0).any(axis=1)]
    row = np.repeat(np.arange(len(found)), 3)
    value = np.tile([1.0, -2.0, 1.0], len(found))
    there = found.ravel() >= 0
    return sparse.csr_array((value[there], (row[there], found.ravel()[there])), shape=(len(found), size))


def _ridge(kind: str, columns: NDArray[np.int64], size: int) -> Penalty:
    ones, rows = np.ones(len(columns)), np.arange(len(columns))
    return Penalty(name=f"{kind}_size", rows=sparse.csr_array((ones, (rows, columns)), shape=(len(columns), size)))


@dataclass(frozen=True)
class _Neighbours:
    """Neighbours of each atom within a distance: those of i stand from first[i] to first[i + 1]."""

    first: NDArray[np.int64]
    neighbour: NDArray[np.int64]
    vector_A: NDArray[np.float64]
    distance_A: NDArray[np.float64]

    def within(self, cutoff_A: float) -> _Neighbours:
        """Return those closer than a distance."""
        near = self.distance_A < cutoff_A
        before = np.concatenate([[0], np.cumsum(near)])
        return _Neighbours(before[self.first], self.neighbour[near], self.vector_A[near], self.distance_A[near])


def _neighbours(atoms: Atoms, cutoff_A: float) -> _Neighbours:
    cell = np.ascontiguousarray(np.asarray(atoms.cell, dtype=np.float64))
    periodic = np.asarray(atoms.pbc)
    heights = atoms.get_volume() / np.array([np.linalg.norm(np.cross(cell[k - 2], cell[k - 1])) for k in range(3)])
    images = np.where(periodic, np.floor(cutoff_A / heights) + 1, 0).astype(np.int64)
    return _Neighbours(*_loops().neighbours(atoms.get_positions(wrap=True), cell, images, cutoff_A))


def _rows(form: SplineForm, atoms: Atoms) -> DesignRows:
    loops = _loops()
    layout = _layout(form)
    tables = layout.kernel
    unknown = sorted(set(atoms.get_chemical_symbols()) - set(form.species))
    if unknown:
        raise InputError(
            f"the form knows {', '.join(form.species)}, not {', '.join(unknown)}; name it in `species`"
        )
    kinds = np.array([form.species.index(s) for s in atoms.get_chemical_symbols()])
    energy = np.zeros(layout.size)
    force = np.zeros((layout.size, len(atoms), 3))
    virial = np.zeros((layout.size, 6))
    out = energy, force, virial
    for n, s in enumerate(form.species if form.embedding else ()):
        energy[layout.maps[f"one_body {s}"][0]] = np.count_nonzero(kinds == n)
    all_ = _neighbours(atoms, _reach(form))
    bonds = all_.first, all_.neighbour, all_.vector_A, all_.distance_A
    loops.two_body(kinds, *bonds, tables.pair, *tables.two_body, *out)
    for shape, knots, n_knots, columns in tables.embedding:
        rho, slope = np.zeros(len(atoms)), np.zeros(len(all_.neighbour))
        loops.densities(kinds, all_.first, all_.neighbour, all_.distance_A, shape, rho, slope)
        loops.embedding(kinds, *bonds, rho, slope, knots, n_knots, columns, *out)
    if form.triples():
        near = all_.within(form.three_body_cutoff_A)
        bonds = near.first, near.neighbour, near.vector_A, near.distance_A
        loops.three_body(
            kinds, *bonds, tables.pair, *tables.legs, *tables.far, tables.offset, tables.triple_columns, *out
        )
    return DesignRows(energy=energy, forces_per_A=force, stress_per_A3=virial / atoms.get_volume())


def _reach(form: SplineForm) -> float:
    radii = [d.outer_A for term in form.embedding for d in term.densities.values()]
    return max(form.two_body_cutoff_A, form.three_body_cutoff_A, *radii, 0.0)


def _loops() -> Any:
    try:
        return importlib.import_module("cascade_driver.training.spline_kernels")
    except ImportError:
        raise InputError("splines need the compiler numba; pip install 'cascade-driver[training]'") from None
