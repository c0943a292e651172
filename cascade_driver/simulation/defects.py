"""What a cascade did to the crystal: displaced atoms, and a Wigner-Seitz census of defects.

An atom belongs to the reference site that it is nearest to. A site without an atom is a vacancy; of several atoms
at one site all but one are interstitials; a lone atom at a site of another species is an antisite. Displaced
atoms are not defects: atoms may have exchanged places.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import scipy
from numpy.typing import NDArray

from cascade_driver.simulation.film_box import FilmPlanes

#: An atom is displaced when it ends farther than this from where it started, the usual mark of cascade pictures
#: (slides of Soum-Sidikov et al. 2024); thermal motion reaches 0.3 angstrom, the next site is 1.8 away.
DISPLACED_BEYOND_A = 0.8

#: Vacancies and interstitials closer than this belong to one cluster: beyond the nearest, within the second
#: neighbours of like species in the crystals at hand.
CLUSTER_LINK_A = 4.0

#: Flags of an atom in the final structure.
ON_SITE, INTERSTITIAL, ANTISITE, ADATOM, INTERFACE_ATOM = 0, 1, 2, 3, 4

#: What a defect is called; the last two are those of films.
DefectKind = Literal["vacancy", "interstitial", "antisite", "adatom", "interface atom"]

#: Flags of atoms that share the site of another one.
_WITHOUT_SITE: dict[int, DefectKind] = {
    INTERSTITIAL: "interstitial",
    ADATOM: "adatom",
    INTERFACE_ATOM: "interface atom",
}

#: An atom without a site of its own is an adatom this far above the highest layer of a film, where the next one
#: would be at 2 angstrom; and an interface atom this near to it, where the lattices give each other no sites.
ADATOM_ABOVE_A, INTERFACE_WITHIN_A = 1.0, 4.0


@dataclass(frozen=True, kw_only=True)
class Census:
    """Defects of one quenched state against its reference.

    Attributes
    ----------
    vacancies, interstitials, antisites : dict
        Counts per species (of the site; of the atom; of the atom).
    adatoms, interface_atoms : dict
        Likewise, of a film: atoms that share a site on top of its surface, or at its interface. They are no
        interstitials.
    displaced_atoms : dict
        Atoms beyond `DISPLACED_BEYOND_A`, per species.
    clusters : list of int
        Number of vacancies and interstitials in each cluster, largest first.
    displacement_A : (n, 3) float
        From the reference to the final position, drift of the box removed.
    site_distance_A : (n,) float
        From the final position to the nearest site.
    flag : (n,) int
        `ON_SITE`, `INTERSTITIAL`, `ANTISITE`, `ADATOM` or `INTERFACE_ATOM` for each atom.
    vacancy_positions_A : (m, 3) float
        Reference sites left empty.
    vacancy_species : (m,) str
        Their species.
    """

    vacancies: dict[str, int]
    interstitials: dict[str, int]
    antisites: dict[str, int]
    displaced_atoms: dict[str, int]
    clusters: list[int]
    displacement_A: NDArray[np.float64]
    site_distance_A: NDArray[np.float64]
    flag: NDArray[np.int64]
    vacancy_positions_A: NDArray[np.float64]
    vacancy_species: NDArray[np.str_]
    adatoms: dict[str, int] = field(default_factory=dict)
    interface_atoms: dict[str, int] = field(default_factory=dict)

    @property
    def is_perfect(self) -> bool:
        """Whether each site holds one atom of its own species."""
        found = (self.vacancies, self.interstitials, self.antisites, self.adatoms, self.interface_atoms)
        return not any(found)


def take_census(
    *,
    symbols: Sequence[str],
    reference_A: NDArray[np.float64],
    final_A: NDArray[np.float64],
    lengths_A: NDArray[np.float64],
    periodic: Sequence[bool],
    film: FilmPlanes | None = None,
) -> Census:
    """Return the defects of `final_A` against `reference_A`.

    The drift of the box is taken out first: the kick sets it in motion, and a census without this would count
    drifted sites as vacancies.

    Parameters
    ----------
    symbols : n str
        Species of the atoms, and of the sites where they started.
    reference_A, final_A : (n, 3) float
        Unwrapped quenched positions before and after.
    lengths_A : (3,) float
        Edges of the orthogonal box.
    periodic : three bool
        Along which axes it repeats.
    film : FilmPlanes, optional
        Where there is a film.
    """
    names = np.asarray(symbols)
    period = np.where(np.asarray(periodic, dtype=bool), lengths_A, 0.0)
    moved = final_A - reference_A
    displacement = _nearest_image(moved - drift_A(moved, periodic=periodic), period)
    sites = wrapped(reference_A, period)
    atoms = wrapped(reference_A + displacement, period)
    tree = scipy.spatial.KDTree(sites, boxsize=period)
    distance, site = (np.asarray(found) for found in tree.query(atoms))

    occupancy = np.bincount(site, minlength=len(names))
    flag = np.zeros(len(names), dtype=np.int64)
    flag[names != names[site]] = ANTISITE
    for crowded in np.flatnonzero(occupancy > 1).tolist():
        flag[_guests(crowded, site=site, distance=distance, names=names)] = INTERSTITIAL
    if film is not None:
        flag[(flag == INTERSTITIAL) & (atoms[:, 2] > film.surface_A + ADATOM_ABOVE_A)] = ADATOM
        near = np.abs(atoms[:, 2] - film.interface_A) < INTERFACE_WITHIN_A
        flag[(flag == INTERSTITIAL) & near] = INTERFACE_ATOM
    empty = np.flatnonzero(occupancy == 0)
    defects = np.concatenate([sites[empty], atoms[np.isin(flag, list(_WITHOUT_SITE))]])
    far = np.linalg.norm(displacement, axis=1) > DISPLACED_BEYOND_A
    return Census(
        vacancies=_count(names[empty]),
        interstitials=_count(names[flag == INTERSTITIAL]),
        antisites=_count(names[flag == ANTISITE]),
        displaced_atoms=_count(names[far]),
        clusters=_cluster_sizes(defects, period),
        displacement_A=displacement,
        site_distance_A=distance,
        flag=flag,
        vacancy_positions_A=sites[empty],
        vacancy_species=names[empty],
        adatoms=_count(names[flag == ADATOM]),
        interface_atoms=_count(names[flag == INTERFACE_ATOM]),
    )


def drift_A(moved_A: NDArray[np.float64], *, periodic: Sequence[bool]) -> NDArray[np.float64]:
    """Return how far a box moved as a whole (3,), by the displacements (n, 3) of its atoms.

    It is their median, whatever a few atoms do; a box that does not repeat along an axis rests on atoms that are
    held, and does not move.
    """
    return np.asarray(np.median(moved_A, axis=0)) if all(periodic) else np.zeros(3)


@dataclass(frozen=True, kw_only=True)
class ListedDefect:
    """One defect.

    Attributes
    ----------
    kind : str
        A `DefectKind`.
    species : str
        Of the site that is empty, or of the atom that is too many or at the wrong place.
    position_A : (3,) float
        Of the site or the atom, in the frame of the box.
    cluster : int
        Which cluster of vacancies and interstitials it belongs to, from 1, the largest first; 0 for an antisite.
    """

    kind: DefectKind
    species: str
    position_A: tuple[float, float, float]
    cluster: int


def listed_defects(
    census: Census,
    *,
    symbols: Sequence[str],
    reference_A: NDArray[np.float64],
    lengths_A: NDArray[np.float64],
    periodic: Sequence[bool],
) -> tuple[ListedDefect, ...]:
    """Return the defects of a census one by one: vacancies, atoms without a site of their own, antisites."""
    names = np.asarray(symbols)
    period = np.where(np.asarray(periodic, dtype=bool), lengths_A, 0.0)
    atoms = wrapped(reference_A + census.displacement_A, period)
    rows: list[tuple[DefectKind, str, NDArray[np.float64]]] = [
        ("vacancy", str(n), x) for n, x in zip(census.vacancy_species, census.vacancy_positions_A, strict=True)
    ]
    for flag, kind in _WITHOUT_SITE.items():
        rows += [(kind, str(names[k]), atoms[k]) for k in np.flatnonzero(census.flag == flag)]
    label = _cluster_labels(np.array([x for _, _, x in rows]).reshape(-1, 3), period)
    rows += [("antisite", str(names[k]), atoms[k]) for k in np.flatnonzero(census.flag == ANTISITE)]
    return tuple(
        ListedDefect(
            kind=kind,
            species=species,
            position_A=(float(x), float(y), float(z)),
            cluster=int(label[i]) if i < len(label) else 0,
        )
        for i, (kind, species, (x, y, z)) in enumerate(rows)
    )


@dataclass(frozen=True, kw_only=True)
class Pocket:
    """The largest connected region of displaced atoms and vacancies: what a cascade has made amorphous.

    Attributes
    ----------
    atoms : int
        Displaced atoms in it, each beyond `DISPLACED_BEYOND_A`.
    vacancies : int
    extent_A : float
        Largest distance between two of them.
    radius_A : float
        Root mean square distance from their mean.
    """

    atoms: int
    vacancies: int
    extent_A: float
    radius_A: float


def pocket_of(
    census: Census,
    *,
    reference_A: NDArray[np.float64],
    lengths_A: NDArray[np.float64],
    periodic: Sequence[bool],
) -> Pocket | None:
    """Return the pocket that a cascade has left, or None if no atom was displaced and no site is empty.

    Atoms and empty sites within `CLUSTER_LINK_A` of each other belong together.
    """
    period = np.where(np.asarray(periodic, dtype=bool), lengths_A, 0.0)
    far = np.linalg.norm(census.displacement_A, axis=1) > DISPLACED_BEYOND_A
    atoms = wrapped((reference_A + census.displacement_A)[far], period)
    points = np.concatenate([atoms, census.vacancy_positions_A])
    if len(points) == 0:
        return None
    inside = _cluster_labels(points, period) == 1
    # seen from one of them, so that a pocket across a face of the box stays whole
    x = _nearest_image(points[inside] - points[inside][0], period)
    return Pocket(
        atoms=int(inside[: len(atoms)].sum()),
        vacancies=int(inside[len(atoms) :].sum()),
        extent_A=float(scipy.spatial.distance.pdist(x).max(initial=0.0)),
        radius_A=float(np.sqrt(np.mean(np.sum((x - x.mean(axis=0)) ** 2, axis=1)))),
    )


def _guests(
    crowded: int, *, site: NDArray[np.int64], distance: NDArray[np.float64], names: NDArray[np.str_]
) -> NDArray[np.int64]:
    """Return the atoms at a crowded site that do not own it: the owner is of its species, then the nearest."""
    here = np.flatnonzero(site == crowded)
    order = np.lexsort((distance[here], names[here] != names[crowded]))
    return here[order[1:]]


def _cluster_labels(points: NDArray[np.float64], period: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the cluster of each point, from 1, the largest first."""
    if len(points) == 0:
        return np.zeros(0, dtype=np.int64)
    pairs = scipy.spatial.KDTree(points, boxsize=period).query_pairs(CLUSTER_LINK_A, output_type="ndarray")
    links = scipy.sparse.coo_array(
        (np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(points), len(points))
    )
    _, label = scipy.sparse.csgraph.connected_components(links, directed=False)
    rank = np.argsort(np.argsort(-np.bincount(label), kind="stable"), kind="stable")
    return np.asarray(rank[label] + 1, dtype=np.int64)


def _cluster_sizes(points: NDArray[np.float64], period: NDArray[np.float64]) -> list[int]:
    return sorted((int(n) for n in np.bincount(_cluster_labels(points, period))[1:]), reverse=True)


def _nearest_image(vectors: NDArray[np.float64], period: NDArray[np.float64]) -> NDArray[np.float64]:
    span = np.where(period > 0, period, np.inf)
    shift = np.where(period > 0, np.round(vectors / span) * period, 0.0)
    image: NDArray[np.float64] = vectors - shift
    return image


def wrapped(points_A: NDArray[np.float64], period_A: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return points (n, 3) inside the box along its periodic axes (period above 0)."""
    span = np.where(period_A > 0, period_A, np.inf)
    inside = points_A - np.where(period_A > 0, np.floor(points_A / span) * period_A, 0.0)
    # A tiny negative coordinate wraps to the period itself, which a tree refuses.
    return np.asarray(np.where((period_A > 0) & (inside >= period_A), 0.0, inside))


def _count(names: NDArray[np.str_]) -> dict[str, int]:
    return dict(sorted(Counter(str(n) for n in names).items()))
