"""The knock-on: which atom, in which direction, how fast.

Directions are unit vectors in the crystal frame (see `crystal`). A site of the crystal with point group G
sees the same surroundings along n and along g n for every g in G, so it is enough to sample one fundamental
domain of solid angle 4 pi / |G|. Each sampled direction stands for the solid angle nearest to its *orbit*,
the set of its |G| images; that share of 4 pi is its weight. For tungsten in CaWO4 (site symmetry -4, |G| =
4) the domain is all polar angles at azimuths from 0 to 90 degrees: pi steradian (Soum-Sidikov et al.,
2024).
"""

# ASE annotates only part of what it offers:
# mypy: disallow-untyped-calls=False, warn-return-any=False

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from ase import Atoms
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, field_validator, model_validator

from cascade_driver.errors import InputError
from cascade_driver.schema import build, parameters
from cascade_driver.simulation.crystal import SYMMETRY_PRECISION_A, held_atoms, symmetry_of
from cascade_driver.simulation.film_box import REGION_INTERFACE, film_planes
from cascade_driver.simulation.frame import Direction, direction_in_box
from cascade_driver.text import closest

#: How far the surroundings of a site reach, as in Fig. 1 of Soum-Sidikov et al. (2024).
SURROUNDINGS_A = 6.0

SCHEMES = ("symmetry", "random", "list")

#: Atoms equally near the centre within this distance are equal: rounding must not choose between them.
TIE_A = 1e-3

#: Repulsion between directions reaches over so many mean spacings (some 50 neighbours): enough for a nearly
#: regular arrangement, few enough for thousands of directions.
REPULSION_REACH = 4.0
#: Directions of the first stage of the sequence, which are spread without regard to any others.
FIRST_STAGE = 8
#: Directions nearer than this are the same: minimisers of two machines round differently, plans keep 9 digits.
SAME_DIRECTION = 1e-6
#: Candidates per direction for the start of the repulsion.
CANDIDATES_PER_DIRECTION = 10
#: Points at which a degenerate arrangement (all on one circle) is weighed.
DEGENERATE_POINTS = 100_000


@parameters
class DirectionsSpec:
    """Which directions of the knock-on a campaign samples.

    Attributes
    ----------
    scheme : str
        `symmetry`: spread over the symmetry-distinct solid angle, with weights, a larger count containing every
        smaller one; `random`: isotropic; `list`: those in `vectors`.
    count : int, optional
        How many, for `symmetry` and `random`.
    vectors : list, optional
        Directions for `list`, of equal weights: three Cartesian components in the frame of the box, of any length,
        or indices of the crystal's own cell, `"[1 1 0]"` of a lattice direction, `"(1 1 0)"` of a plane's normal.
    """

    scheme: str = "symmetry"
    count: int | None = Field(default=None, ge=1, le=100_000)
    vectors: tuple[Direction, ...] | None = None

    @field_validator("scheme")
    @classmethod
    def _is_known(cls, scheme: str) -> str:
        if scheme in SCHEMES:
            return scheme
        close = closest(scheme, SCHEMES)
        hint = f"did you mean `{close}`?" if close else "choose one of them"
        raise ValueError(f"unknown scheme, known are {', '.join(SCHEMES)}; {hint}")

    @model_validator(mode="after")
    def _is_consistent(self) -> DirectionsSpec:
        if self.scheme == "list":
            if not self.vectors:
                raise ValueError("scheme `list` needs `vectors`, e.g. vectors = [[1, 0, 0]]")
            if self.count is not None:
                raise ValueError("scheme `list` has no `count`; remove it")
            if any(not any(vector) for vector in self.vectors):
                raise ValueError("a direction in `vectors` is zero; remove it")
            cartesian = [np.array(v) for v in self.vectors if not isinstance(v, str)]
            units = [tuple(np.round(v / np.linalg.norm(v), 9).tolist()) for v in cartesian]
            if len(set(units)) != len(units):
                raise ValueError("a direction in `vectors` is named twice, and would count twice; remove one")
        else:
            if self.count is None:
                raise ValueError(f"scheme `{self.scheme}` needs `count`, e.g. count = 32")
            if self.vectors is not None:
                raise ValueError(f"scheme `{self.scheme}` has no `vectors`; use scheme = 'list' or remove them")
        return self

    def in_box(self, axes_A: NDArray[np.float64]) -> DirectionsSpec:
        """Return the same with all `vectors` Cartesian; `axes_A` are a, b, c in the frame of the box."""
        if not any(isinstance(vector, str) for vector in self.vectors or ()):
            return self
        vectors = [direction_in_box(vector, axes_A=axes_A) for vector in self.vectors or ()]
        return build(DirectionsSpec, {"scheme": self.scheme, "vectors": vectors}, origin="[[recoils]] directions")


@dataclass(frozen=True, kw_only=True)
class Directions:
    """Directions of a knock-on and the solid angle they stand for.

    Attributes
    ----------
    vectors : (n, 3) float
        Unit vectors in the crystal frame. Any first k of them are themselves well spread (not in `list`).
    weights : (n,) float
        Share of the solid angle of each; sums to 1.
    """

    vectors: NDArray[np.float64]
    weights: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.vectors)


def choose_atom(atoms: Atoms, species: str, *, region: int | None = None) -> int:
    """Return the index of the atom of `species` that is nearest to the centre.

    The centre is that of the box along periodic axes and the middle of the atoms (of `region`, if given)
    along the others. Held atoms are never chosen. Of atoms equally near within `TIE_A`, the one with the
    lowest index is chosen.

    Parameters
    ----------
    atoms : ase.Atoms
        The box at rest, as from `crystal.assemble`.
    species : str
        Chemical symbol.
    region : int, optional
        Value of the array `region` to choose from, e.g. `crystal.REGION_FILM`; of `REGION_INTERFACE` the centre
        lies in the interface of a film.

    Raises
    ------
    InputError
        If there is no free atom of that species there.
    """
    symbols = np.array(atoms.get_chemical_symbols())
    everywhere = region is None or region == REGION_INTERFACE
    inside = np.ones(len(atoms), dtype=bool) if everywhere else atoms.get_array("region") == region
    free = inside.copy()
    free[held_atoms(atoms)] = False
    candidates = np.flatnonzero(free & (symbols == species))
    if not len(candidates):
        where = "the box" if region is None else f"region {region}"
        present = ", ".join(sorted(set(symbols[free]))) or "none"
        raise InputError(f"{where} has no free atom of species {species!r}; present: {present}")
    lengths_A = np.asarray(atoms.cell.lengths())
    positions_A = atoms.positions
    extent_A = positions_A[inside]
    middle_A = (extent_A.min(axis=0) + extent_A.max(axis=0)) / 2
    if region == REGION_INTERFACE:
        planes = film_planes(positions_A, atoms.get_array("region"))
        if planes is None:
            raise InputError("the box has no interface; `region` belongs to the film Al/Si")
        middle_A[2] = planes.interface_A
    offset_A = positions_A[candidates] - np.where(atoms.pbc, lengths_A / 2, middle_A)
    period_A = np.where(atoms.pbc, lengths_A, np.inf)
    offset_A -= np.where(atoms.pbc, np.round(offset_A / period_A), 0.0) * lengths_A
    distance_A = np.linalg.norm(offset_A, axis=1)
    return int(candidates[np.flatnonzero(distance_A <= distance_A.min() + TIE_A)[0]])


def site_rotations(
    atoms_cell: Atoms, index: int, *, symprec_A: float = SYMMETRY_PRECISION_A
) -> NDArray[np.float64]:
    """Return the point group of a site: the rotations, proper and improper, that keep its surroundings.

    The operations (R, t) of the crystal found by spglib for which R s + t = s modulo lattice vectors. For a
    bulk crystal they are those of its primitive cell, so that the choice of an orthogonal cell hides none
    (a three-fold axis is no symmetry of an orthogonal box). Along axes that are not periodic, only
    operations that keep the axis and its sense count: the upper surface of a film is not its lower one.

    Parameters
    ----------
    atoms_cell : ase.Atoms
        Unit cell of a bulk crystal (`crystal.constituents`), or a whole film.
    index : int
        The atom; for a bulk box, its `cell_index`.
    symprec_A : float
        Distance tolerance.

    Returns
    -------
    (g, 3, 3) float
        Orthogonal Cartesian matrices in the frame of `atoms_cell`; the identity comes first.

    Raises
    ------
    InputError
        If spglib fails or its operations are no group at this tolerance.
    """
    site_A = atoms_cell.positions[index]
    cell, found = symmetry_of(atoms_cell, symprec_A=symprec_A)
    if found is None:
        raise InputError(f"spglib finds no symmetry within {symprec_A:g} A; check the structure for overlaps")
    lattice = np.asarray(cell[0], dtype=np.float64)
    to_scaled = np.linalg.inv(lattice)
    site = site_A @ to_scaled
    moved = found.rotations @ site + found.translations - site
    keeps_site = np.linalg.norm((moved - np.round(moved)) @ lattice, axis=1) < 2 * symprec_A
    # Positions are rows, x = s A: x' = x A^-1 R^T A, so the matrix on columns is A^T R A^-T.
    cartesian = lattice.T @ found.rotations[keeps_site] @ to_scaled.T
    for axis in np.flatnonzero(~atoms_cell.pbc):
        cartesian = cartesian[cartesian[:, axis, axis] > 1 - 1e-3]
    u, _, vt = np.linalg.svd(cartesian)
    rotations = np.asarray(u @ vt, dtype=np.float64)
    rotations = rotations[np.argsort(-np.trace(rotations, axis1=1, axis2=2), kind="stable")]
    _require_group(rotations)
    return rotations


def _require_group(rotations: NDArray[np.float64]) -> None:
    """Raise unless the matrices begin with the identity and every product of two is among them, once."""
    products = np.einsum("aij,bjk->abik", rotations, rotations)
    distance = np.abs(products[:, :, None] - rotations).max(axis=(-1, -2))
    is_closed = ((distance < 1e-2).sum(axis=-1) == 1).all() if len(rotations) else False
    if not is_closed or np.abs(rotations[0] - np.eye(3)).max() > 1e-6:
        raise InputError(
            f"the {len(rotations)} symmetry operations of the site are no group; "
            "the structure is only nearly symmetric: symmetrise it, or change the tolerance"
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Surroundings:
    """What a knock-on has around it.

    Attributes
    ----------
    rotations : (g, 3, 3) float
        Point group of its site.
    axes_A : (3, 3) float
        Lattice vectors a, b, c, as rows, in the frame of the box.
    neighbours_A : (m, 3) float
        Atoms about it, from the site.
    symbols : (m,) str
        Their species.
    """

    rotations: NDArray[np.float64]
    axes_A: NDArray[np.float64]
    neighbours_A: NDArray[np.float64]
    symbols: NDArray[np.str_]


def surroundings_of(atoms_cell: Atoms, index: int, *, axes_A: NDArray[np.float64]) -> Surroundings:
    """Return what an atom of a bulk crystal has around it, within `SURROUNDINGS_A`.

    Parameters
    ----------
    atoms_cell : ase.Atoms
        Its orthogonal unit cell.
    index : int
        The atom.
    axes_A : (3, 3) float
        Lattice vectors in the same frame.

    Raises
    ------
    InputError
        As `site_rotations`.
    """
    from ase.neighborlist import neighbor_list

    first, second, away = neighbor_list("ijD", atoms_cell, SURROUNDINGS_A)
    here = first == index
    return Surroundings(
        rotations=site_rotations(atoms_cell, index),
        axes_A=axes_A,
        neighbours_A=np.asarray(away[here], dtype=np.float64),
        symbols=np.array(atoms_cell.get_chemical_symbols())[second[here]],
    )


def domain_solid_angle_sr(rotations: NDArray[np.float64]) -> float:
    """Return the solid angle of the fundamental domain of a point group, 4 pi / |G|, in steradian."""
    return 4 * np.pi / len(rotations)


def symmetry_orbit(vectors: NDArray[np.float64], rotations: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return all images g n of directions: (g, n, 3) for `vectors` (n, 3) and `rotations` (g, 3, 3)."""
    return np.einsum("gij,nj->gni", rotations, vectors)


def to_domain(vectors: NDArray[np.float64], rotations: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return of each direction the image in the fundamental domain, (n, 3).

    It is the one of smallest azimuth in [0, 2 pi) and, among those, of largest z. For -4 and 4 along z
    these are the azimuths below 90 degrees.
    """
    images = symmetry_orbit(vectors, rotations)
    azimuth = np.arctan2(images[..., 1], images[..., 0])
    # Rounding, so that images on one azimuth compare equal, and -1e-17 does not become 2 pi.
    azimuth = np.round(azimuth, 9) % np.round(2 * np.pi, 9)
    best = np.lexsort((-np.round(images[..., 2], 9), azimuth), axis=0)[0]
    return np.asarray(images[best, np.arange(len(vectors))])


def sample_directions(
    rotations: NDArray[np.float64], count: int, *, known: NDArray[np.float64] | None = None
) -> Directions:
    """Return the first `count` directions of a sequence whose symmetry orbits are spread over the sphere.

    A larger count contains every smaller one, so that a campaign can be extended. The sequence grows in stages
    of 8, 16, 32, ... directions. In each stage

    1. a Fibonacci lattice is folded into the fundamental domain, and as many of its points are picked as the
       stage adds, each the farthest from the orbits of those before it and from its own images;
    2. their orbits repel each other, themselves and those of the earlier stages, which stay where they are:
       E = 1/2 sum_i sum_{(j, g) != (i, 1)} phi(|n_i - g n_j|), with phi(r) = (r_c/r - 1)^2 up to r_c =
       `REPULSION_REACH` spacings, is minimised (L-BFGS);
    3. they are put in farthest-point order: when a campaign stops early, what it has is spread, too.

    The weight of a direction is the area of the spherical Voronoi cells of its orbit over 4 pi, among the
    `count` directions. No random numbers are drawn: the same call gives the same directions.

    The price of being nested: against a set made for one number alone, the effective number of directions
    (Kish) is 0.91 to 0.99 of `count` instead of 0.99, and orbits come as near as 0.6 of the spacing of a
    hexagonal lattice instead of 0.75.

    Parameters
    ----------
    rotations : (g, 3, 3) float
        Point group of the site, as from `site_rotations`; the identity first.
    count : int
        Number of directions in the fundamental domain.
    known : (k, 3) float, optional
        Directions of an earlier campaign. They come first, as they are; if they are no beginning of the sequence,
        the others are put between them.

    Returns
    -------
    Directions
        Each in the domain that `to_domain` defines.

    Raises
    ------
    InputError
        If `count` is below 1, or `rotations` are no group.
    """
    if count < 1:
        raise InputError(f"count = {count} directions; ask for at least 1")
    _require_group(rotations)
    vectors = _sequence(rotations, count)
    if known is not None:
        first = known[:count]
        if np.abs(vectors[: len(first)] - first).max(initial=0.0) > SAME_DIRECTION:
            vectors = _sequence(rotations, count, first)
        vectors = np.concatenate([first, vectors[len(first) :]])
    return Directions(vectors=vectors, weights=orbit_weights(vectors, rotations))


def _sequence(
    rotations: NDArray[np.float64], count: int, first: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Return `count` directions, those of `first` foremost, in stages of 8, 16, 32, ... (`sample_directions`)."""
    vectors = np.empty((0, 3)) if first is None else first
    stage = FIRST_STAGE
    while len(vectors) < count:
        if stage > len(vectors):
            candidates = to_domain(fibonacci_sphere(CANDIDATES_PER_DIRECTION * stage + 100), rotations)
            number = stage - len(vectors)
            start = candidates[_farthest_point_order(candidates, rotations, number, before=vectors)]
            more = to_domain(_repelled(start, rotations, fixed=vectors), rotations)
            # A fixed order first: the next one must depend on the set of directions alone.
            more = more[np.lexsort(np.round(more, 6).T)]
            more = more[_farthest_point_order(more, rotations, number, before=vectors)]
            vectors = np.concatenate([vectors, more])
        stage *= 2
    return vectors[:count]


def orbit_weights(vectors: NDArray[np.float64], rotations: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the share of the sphere that is nearest to the orbit of each direction, (n,), summing to 1.

    The spherical Voronoi cells of an orbit are images of one another, so that of the direction itself is
    enough. Directions must have distinct images (none on a symmetry element) and distinct orbits.
    """
    orbit = symmetry_orbit(vectors, rotations).reshape(-1, 3)
    if np.linalg.matrix_rank(orbit - orbit[0], tol=1e-6) == 3:
        area_sr = scipy.spatial.SphericalVoronoi(orbit, threshold=1e-8).calculate_areas()[: len(vectors)]
    else:
        # One to three points, or all on one circle: no Voronoi vertices in general position; count instead.
        _, nearest = scipy.spatial.KDTree(orbit).query(fibonacci_sphere(DEGENERATE_POINTS))
        area_sr = np.bincount(nearest % len(vectors), minlength=len(vectors)).astype(np.float64)
    return np.asarray(area_sr / area_sr.sum())


def random_directions(count: int, rng: np.random.Generator) -> Directions:
    """Return `count` isotropic directions of equal weight, drawn from `rng`.

    Raises
    ------
    InputError
        If `count` is below 1.
    """
    if count < 1:
        raise InputError(f"count = {count} directions; ask for at least 1")
    return listed_directions(rng.normal(size=(count, 3)))


def listed_directions(vectors: ArrayLike | Sequence[Sequence[float]]) -> Directions:
    """Return the given `vectors` (n, 3), normalised, with equal weights.

    Raises
    ------
    InputError
        If there is none, one is zero or not finite, or one has not three components.
    """
    array = np.array(vectors, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != 3 or not len(array):
        raise InputError(f"directions must be a list of vectors of three numbers, found shape {array.shape}")
    return Directions(
        vectors=np.array([_unit(vector) for vector in array]), weights=np.full(len(array), 1 / len(array))
    )


def directions(
    spec: DirectionsSpec,
    *,
    rotations: NDArray[np.float64],
    rng: np.random.Generator,
    known: NDArray[np.float64] | None = None,
) -> Directions:
    """Return the directions that `spec` asks for.

    Parameters
    ----------
    spec : DirectionsSpec
        As written by the user.
    rotations : (g, 3, 3) float
        Point group of the site; used by the scheme `symmetry`.
    rng : numpy.random.Generator
        Used by the scheme `random`.
    known : (k, 3) float, optional
        Directions of an earlier campaign that the scheme `symmetry` begins with.

    Raises
    ------
    InputError
        As `sample_directions`, `random_directions` and `listed_directions`.
    """
    if spec.scheme == "list":
        return listed_directions(spec.vectors or ())
    if spec.scheme == "random":
        return random_directions(spec.count or 0, rng)
    return sample_directions(rotations, spec.count or 0, known=known)


def kick_velocity(
    *, recoil_energy_eV: float, mass_amu: float, direction: ArrayLike, kinetic_eV_per_amu_A2_ps2: float
) -> NDArray[np.float64]:
    """Return the velocity of an atom that has exactly the recoil energy, v = sqrt(2 E_R / m) n, in A/ps.

    Parameters
    ----------
    recoil_energy_eV : float
        Kinetic energy E_R.
    mass_amu : float
        Mass m of the atom.
    direction : (3,) float
        Direction n, of any length.
    kinetic_eV_per_amu_A2_ps2 : float
        One amu (angstrom/ps)^2 in eV, *as the engine has it*: with its own rounded constant the energy that
        the engine reports is E_R to the last digit.

    Raises
    ------
    InputError
        If the energy is negative, the mass not positive or the direction zero.
    """
    if not (0 <= recoil_energy_eV < np.inf and 0 < mass_amu < np.inf):
        raise InputError(
            f"recoil energy {recoil_energy_eV:g} eV of a mass of {mass_amu:g} amu; "
            "expected an energy of at least 0 and a positive mass"
        )
    speed_A_ps = np.sqrt(2 * recoil_energy_eV / (mass_amu * kinetic_eV_per_amu_A2_ps2))
    return np.asarray(speed_A_ps * _unit(np.asarray(direction, dtype=np.float64)))


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return `vector` (3,) at length 1."""
    length = float(np.linalg.norm(vector))
    if vector.shape != (3,) or not 0 < length < np.inf:
        raise InputError(f"direction {vector.tolist()} has no direction; give three numbers, not all zero")
    return np.asarray(vector / length)


def fibonacci_sphere(count: int) -> NDArray[np.float64]:
    """Return a nearly even lattice of `count` unit vectors on a spiral (n, 3).

    z_k = 1 - (2k + 1)/n, azimuth 2 pi k / golden ratio; Gonzalez, Math. Geosci. 42, 49 (2010),
    doi:10.1007/s11004-009-9257-x.
    """
    k = np.arange(count)
    z = 1 - (2 * k + 1) / count
    azimuth = 2 * np.pi * k / ((1 + np.sqrt(5)) / 2)
    rho = np.sqrt(1 - z**2)
    return np.stack([rho * np.cos(azimuth), rho * np.sin(azimuth), z], axis=-1)


def _farthest_point_order(
    vectors: NDArray[np.float64], rotations: NDArray[np.float64], count: int, *, before: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Return the indices of `count` directions, each the farthest from the orbits of those before it.

    Those of `before` (k, 3) come before all. The distance of two orbits is that of their nearest members. A
    direction is no farther away than its own nearest image, so that symmetry elements are avoided; the first of
    all is the farthest from its own images.
    """
    own = np.einsum("gij,nj,ni->gn", rotations[1:], vectors, vectors)
    # Largest cosine = smallest distance. Rounding breaks ties by index, not by the last digit.
    nearest = np.round(own.max(axis=0), 9) if len(own) else np.full(len(vectors), -1.0)
    columns = np.ascontiguousarray(vectors.T)

    def with_orbit_of(vector: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.maximum(nearest, np.round(((rotations @ vector) @ columns).max(axis=0), 9))

    for vector in before:
        nearest = with_orbit_of(vector)
    order = np.empty(count, dtype=np.int64)
    for k in range(count):
        order[k] = nearest.argmin()
        nearest = with_orbit_of(vectors[order[k]])
        nearest[order[k]] = np.inf
    return order


def _repelled(
    start: NDArray[np.float64], rotations: NDArray[np.float64], *, fixed: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the directions in balance after their orbits and fixed ones have repelled each other."""
    n = len(fixed) + len(start)
    reach = REPULSION_REACH * np.sqrt(domain_solid_angle_sr(rotations) / n)

    def energy(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        raw = flat.reshape(-1, 3)
        length = np.linalg.norm(raw, axis=1, keepdims=True)
        x = np.concatenate([fixed, raw / length])
        orbit = symmetry_orbit(x, rotations).reshape(-1, 3)
        pairs = scipy.spatial.KDTree(x).sparse_distance_matrix(
            scipy.spatial.KDTree(orbit), reach, output_type="ndarray"
        )
        # The identity comes first: image i of the orbit is direction i itself.
        pairs = pairs[pairs["i"] != pairs["j"]]
        i, r = pairs["i"], np.maximum(pairs["v"], 1e-9)
        phi = (reach / r - 1) ** 2
        slope = -2 * (reach / r - 1) * reach / r**2
        # Moving n_i moves all its images; by symmetry that doubles the pull of half the sum.
        pull = (slope / r)[:, None] * (x[i] - orbit[pairs["j"]])
        gradient = np.stack([np.bincount(i, pull[:, axis], minlength=n) for axis in range(3)], axis=-1)
        gradient = (gradient - (gradient * x).sum(axis=1, keepdims=True) * x)[len(fixed) :] / length
        return float(phi.sum() / 2), gradient.ravel()

    found = scipy.optimize.minimize(
        energy, start.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": 200, "ftol": 1e-12}
    )
    end = found.x.reshape(-1, 3)
    return np.asarray(end / np.linalg.norm(end, axis=1, keepdims=True))
