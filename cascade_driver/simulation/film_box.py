r"""A box of aluminium on silicon: a film with a free surface, under a strain that is known.

Four cells of aluminium lie on three of silicon, (001) on (001) or (111) on (111), which leaves a misfit of 0.6 %.
Coherent with the whole substrate, the film is strained by all of it; a film that has cooled with its substrate has
another strain, some 0.4 %. The box then has the lateral size that gives the film its strain, and the thin piece of
substrate under it takes the rest.

Strain and stress in the plane of a cubic film (linear elasticity, no force on the free surface):

.. math::

   \sigma = M \epsilon, \quad \epsilon_\perp = -r \epsilon; \qquad
   M_{001} = C_{11} + C_{12} - 2 C_{12}^2 / C_{11}, \quad r_{001} = 2 C_{12} / C_{11}

   M_{111} = \frac{6 C_{44} (C_{11} + 2 C_{12})}{C_{11} + 2 C_{12} + 4 C_{44}}, \quad
   r_{111} = 2\, \frac{C_{11} + 2 C_{12} - 2 C_{44}}{C_{11} + 2 C_{12} + 4 C_{44}}

(W. D. Nix, Metall. Trans. A 20, 2217 (1989), doi:10.1007/BF02666659, for M). What stress the film has in the
potential at hand is measured, layer by layer, when the box is made.
"""

# ASE annotates only part of what it offers:
# mypy: disallow-untyped-calls=False, warn-return-any=False

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from pydantic import Field, model_validator

from cascade_driver.errors import InputError
from cascade_driver.schema import findings, parameters
from cascade_driver.simulation.crystal_file import into_period, require_no_overlap
from cascade_driver.units import MPA_PER_GPA, GPA_PER_eV_A3

#: Values of the array `region` of an assembled box.
REGION_BULK = 0
REGION_FILM = 1

#: No value of the array: where recoils may start, at the atoms nearest the interface.
REGION_INTERFACE = 2

#: Unit cells of aluminium on unit cells of silicon, per lateral axis: 4 x 4.05 = 16.20 A on 3 x 5.431 = 16.29 A, a
#: misfit of 0.6 %, whichever plane.
COINCIDENCE_CELLS = (4, 3)
#: Above this misfit the film is no longer aluminium: potentials are within 1 % of both lattice constants.
LARGEST_MISFIT = 0.03

#: Room-temperature elastic constants C11, C12, C44 in GPa: Kittel, Introduction to Solid State Physics, ch. 3.
_ELASTIC_GPa = {"Al": (107.0, 61.0, 28.3), "Si": (166.0, 64.0, 79.6)}

Plane = Literal["001", "111"]


@parameters
class FilmSpec:
    """An aluminium film on a silicon substrate with a free surface above.

    Attributes
    ----------
    film_cells : int
        Thickness of the film in repeats along the normal: 4.05 angstrom of two layers for (001), 7.01 angstrom of
        three for (111).
    substrate_cells : int
        Thickness of the substrate likewise: 5.43 angstrom of four layers, or 9.41 angstrom of three double layers.
    gap_A : float
        Distance of the lowest aluminium from the highest silicon layer; 2.4 angstrom is an Al-Si bond.
    vacuum_A : float
        Free height above the film.
    held_A : float
        Thickness of the bottom of the substrate whose atoms are held. It should exceed the cutoff of the
        potential, so that no free atom feels the lower surface.
    plane : '111', optional
        (111) on (111), [1 -1 0] and [1 1 -2] along x and y; by default (001) on (001).
    strain_percent : float, optional
        Of the film in its plane, relative to the lattice constant of aluminium in the potential; by default that
        of coherence with unstrained silicon. Thermal contraction from room temperature leaves some 0.4.
    stress_MPa : float, optional
        Instead: its stress in the plane, turned into a strain by the elastic constants of aluminium.
    interface : 'relaxed', optional
        The film is put down at several places and annealed there; the lowest one is taken. By default it stays
        where it was put, and comes to rest there.
    """

    film_cells: int = Field(default=5, ge=1, le=1000)
    substrate_cells: int = Field(default=6, ge=1, le=1000)
    gap_A: float = Field(default=2.4, ge=1.5, le=5.0)
    vacuum_A: float = Field(default=15.0, ge=5.0)
    held_A: float = Field(default=6.5, gt=0)
    plane: Literal["111"] | None = None
    strain_percent: float | None = Field(default=None, ge=-100 * LARGEST_MISFIT, le=100 * LARGEST_MISFIT)
    stress_MPa: float | None = Field(default=None, ge=-3000, le=3000)
    interface: Literal["relaxed"] | None = None

    @model_validator(mode="after")
    def _has_one_strain(self) -> FilmSpec:
        if self.strain_percent is not None and self.stress_MPa is not None:
            raise ValueError("give either `strain_percent` or `stress_MPa`")
        return self

    @property
    def normal(self) -> Plane:
        """The plane of film and substrate."""
        return self.plane or "001"


def biaxial_modulus_GPa(element: str, plane: Plane) -> float:
    """Return M of a stress M times strain in the plane of a cubic film.

    Examples
    --------
    >>> [round(biaxial_modulus_GPa("Al", plane)) for plane in ("001", "111")]
    [98, 114]
    """
    c11, c12, c44 = _ELASTIC_GPa[element]
    if plane == "001":
        return c11 + c12 - 2 * c12**2 / c11
    return 6 * c44 * (c11 + 2 * c12) / (c11 + 2 * c12 + 4 * c44)


def thinning(element: str, plane: Plane) -> float:
    """Return the strain along the normal per strain in the plane, below 0.

    Keeping the volume (-2) would compress a film, keeping its thickness (0) stretch it, by 0.5 %.
    """
    c11, c12, c44 = _ELASTIC_GPa[element]
    if plane == "001":
        return -2 * c12 / c11
    return -2 * (c11 + 2 * c12 - 2 * c44) / (c11 + 2 * c12 + 4 * c44)


@dataclass(frozen=True, kw_only=True)
class FilmStrain:
    """Strains in the plane of a film and of the substrate in its box.

    Attributes
    ----------
    film_percent, substrate_percent : float
        Relative to the lattice constants of the potential.
    """

    film_percent: float
    substrate_percent: float


def film_strain(spec: FilmSpec, *, al_A: float, si_A: float) -> FilmStrain:
    """Return the strains of a box for the lattice constants of aluminium and silicon.

    Raises
    ------
    InputError
        If the lattices do not fit, or the strain asked for leaves the substrate too much.
    """
    n_al, n_si = COINCIDENCE_CELLS
    misfit = n_si * si_A / (n_al * al_A) - 1
    if abs(misfit) > LARGEST_MISFIT:
        raise InputError(
            f"{n_al} cells of Al do not fit on {n_si} of Si: misfit {100 * misfit:.1f} %, at most "
            f"{100 * LARGEST_MISFIT:g} % expected; check the lattice constants of the potential"
        )
    wanted = misfit
    if spec.strain_percent is not None:
        wanted = spec.strain_percent / 100
    elif spec.stress_MPa is not None:
        wanted = spec.stress_MPa / MPA_PER_GPA / biaxial_modulus_GPa("Al", spec.normal)
    left = (1 + wanted) / (1 + misfit) - 1
    if abs(left) > LARGEST_MISFIT:
        raise InputError(
            f"a film strained by {100 * wanted:.2f} % strains the silicon in its box by {100 * left:.2f} %, at "
            f"most {100 * LARGEST_MISFIT:g} % expected; ask for less"
        )
    return FilmStrain(film_percent=100 * wanted, substrate_percent=100 * left)


def film_box(
    spec: FilmSpec,
    al: Atoms,
    si: Atoms,
    *,
    repeats: tuple[int, int] | None,
    minimum_atoms: int = 1,
    shift: tuple[float, float] = (0.0, 0.0),
) -> Atoms:
    """Return the film on its substrate.

    Parameters
    ----------
    spec : FilmSpec
    al, si : ase.Atoms
        Cubic cells of four and eight atoms, with the array `cell_index`.
    repeats : two int, optional
        Of the coincidence cell along x and y; by default as many as `minimum_atoms` takes.
    minimum_atoms : int
        Of the box.
    shift : two float
        Of the film along x and y, in repeats of the aluminium cell.
    """
    from ase.constraints import FixAtoms

    strain = film_strain(spec, al_A=float(al.cell.lengths()[0]), si_A=float(si.cell.lengths()[0]))
    layer, ground = (
        _strained(_turned(cell, spec.normal), percent, thinning(element, spec.normal))
        for element, cell, percent in (("Al", al, strain.film_percent), ("Si", si, strain.substrate_percent))
    )
    height_A = ground.cell.lengths()[2]
    if spec.held_A >= spec.substrate_cells * height_A:
        raise InputError(
            f"held_A = {spec.held_A:g} holds the whole substrate of {spec.substrate_cells} cells; "
            "raise `substrate_cells`"
        )
    n_al, n_si = COINCIDENCE_CELLS
    per_cell = n_al**2 * spec.film_cells * len(layer) + n_si**2 * spec.substrate_cells * len(ground)
    n = math.ceil(math.sqrt(minimum_atoms / per_cell))
    n_x, n_y = repeats or (n, n)
    substrate = ground.repeat((n_x * n_si, n_y * n_si, spec.substrate_cells))
    top = layer.repeat((n_x * n_al, n_y * n_al, spec.film_cells))
    top.positions[:, :2] += np.array(shift) * layer.cell.lengths()[:2]

    # Half an atomic layer below the lowest plane, so that no atom lies on the face of the box.
    substrate.positions[:, 2] += height_A / 8 - substrate.positions[:, 2].min()
    top.positions[:, 2] += substrate.positions[:, 2].max() + spec.gap_A - top.positions[:, 2].min()
    # The lateral edges of both agree but for rounding; those of the substrate count.
    top.positions[:, :2] *= substrate.cell.lengths()[:2] / top.cell.lengths()[:2]

    box = substrate + top
    lateral_A = substrate.cell.lengths()[:2]
    box.positions[:, :2] = into_period(box.positions[:, :2], lateral_A)
    box.set_cell([*lateral_A, box.positions[:, 2].max() + spec.vacuum_A], scale_atoms=False)
    box.pbc = (True, True, False)
    region = np.where(np.arange(len(box)) < len(substrate), REGION_BULK, REGION_FILM)
    box.set_array("region", region, dtype=np.int64)
    held = (region == REGION_BULK) & (box.positions[:, 2] < box.positions[:, 2].min() + spec.held_A)
    box.set_constraint(FixAtoms(indices=np.flatnonzero(held)))
    require_no_overlap(box, origin="assembled film")
    return box


def places(spec: FilmSpec) -> list[tuple[float, float]]:
    """Return where a film is put down to find its best place, in repeats of the aluminium cell.

    Shifts by a vector of either lattice change nothing. As four cells lie on three, and both are centred, what is
    left is a small square: its corner, its centre and the middles of its sides.
    """
    if spec.interface is None:
        return [(0.0, 0.0)]
    return [(0.0, 0.0), (1 / 6, 0.0), (1 / 12, 1 / 12), (1 / 12, -1 / 12)]


def cubic_axes(spec: FilmSpec) -> NDArray[np.float64]:
    """Return the cubic axes a, b, c of both lattices, unit rows, in the frame of the box."""
    return np.eye(3) if spec.normal == "001" else _ROTATION_111.T


#: Rows: where x, y, z of the box lie among the cubic axes.
_ROTATION_111 = np.array([[1, -1, 0], [1, 1, -2], [1, 1, 1]]) / np.sqrt([[2], [6], [3]])


def _turned(cubic: Atoms, plane: Plane) -> Atoms:
    """Return a cell whose z is the normal of the plane, its edges along x, y, z."""
    from ase.build import cut

    if plane == "001":
        return cubic
    turned = cut(cubic, a=(0.5, -0.5, 0), b=(0.5, 0.5, -1), c=(1, 1, 1))
    edges_A = np.linalg.norm(turned.cell.array, axis=1)
    turned.set_cell(np.diag(edges_A), scale_atoms=True)
    scaled = turned.get_scaled_positions(wrap=False)
    # Cut between the double layers of silicon, where one bond per atom is broken and not three.
    scaled[:, 2] -= 1 / 8
    turned.set_scaled_positions(into_period(scaled))
    return turned


def _strained(cell: Atoms, percent: float, along_normal: float) -> Atoms:
    stretch = 1 + percent / 100 * np.array([1.0, 1.0, along_normal])
    strained = cell.copy()
    strained.set_cell(cell.cell.lengths() * stretch, scale_atoms=True)
    return strained


# -- what is in a film --------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class FilmPlanes:
    """Where a film begins and ends.

    Attributes
    ----------
    interface_A, surface_A : float
        Height of the middle between silicon and aluminium, and of the highest layer.
    """

    interface_A: float
    surface_A: float


def film_planes(positions_A: NDArray[np.float64], region: NDArray[np.int64]) -> FilmPlanes | None:
    """Return the planes of a box at rest; None if there is no film in it."""
    film = region == REGION_FILM
    if not film.any():
        return None
    height_A = positions_A[:, 2]
    below_A, above_A = height_A[~film].max(), height_A[film].min()
    return FilmPlanes(interface_A=float((below_A + above_A) / 2), surface_A=float(height_A[film].max()))


@dataclass(frozen=True, kw_only=True)
class LayerStress:
    """Stress in the plane, one layer per repeat along the normal, from the lowest without held atoms up.

    Attributes
    ----------
    height_A : (k,) float
        Middle of each layer.
    region : (k,) int
        `REGION_BULK` or `REGION_FILM`.
    stress_MPa : (k,) float
        Mean of xx and yy; tension is positive. The outermost layers have the stress of surface and interface, too.
    """

    height_A: NDArray[np.float64]
    region: NDArray[np.int64]
    stress_MPa: NDArray[np.float64]

    def inside_MPa(self, region: int) -> float:
        """Return the mean over the layers of a region, without its outermost two where there are others."""
        layers = self.stress_MPa[self.region == region]
        return float((layers[1:-1] if len(layers) > 2 else layers).mean())


def layer_stress(
    virials_eV: NDArray[np.float64],
    *,
    spec: FilmSpec,
    positions_A: NDArray[np.float64],
    region: NDArray[np.int64],
    held: NDArray[np.int64],
    area_A2: float,
) -> LayerStress:
    """Return the stress of the layers of a film and of its substrate.

    Parameters
    ----------
    virials_eV : (n, 3) float
        Stress times volume of each atom along x, y, z, tension positive.
    spec : FilmSpec
    positions_A : (n, 3) float
    region : (n,) int
    held : (m,) int
        Layers with such atoms are left out.
    area_A2 : float
        Of the box, in the plane.
    """
    heights, regions, stresses = [], [], []
    for one, atoms, layer, edges in _layers(spec, positions_A, region):
        cells = len(edges) - 1
        in_plane_eV = np.bincount(layer, virials_eV[atoms, :2].mean(axis=1), minlength=cells)
        free = np.setdiff1d(np.arange(cells), layer[np.isin(atoms, held)])
        volume_A3 = area_A2 * np.diff(edges)
        stresses.append((in_plane_eV / volume_A3)[free] * GPA_PER_eV_A3 * MPA_PER_GPA)
        heights.append(((edges[1:] + edges[:-1]) / 2)[free])
        regions.append(np.full(len(free), one))
    return LayerStress(
        height_A=np.concatenate(heights), region=np.concatenate(regions), stress_MPa=np.concatenate(stresses)
    )


def _layers(
    spec: FilmSpec, positions_A: NDArray[np.float64], region: NDArray[np.int64]
) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]]:
    """Yield of substrate and film: region, atoms, the layer of each, edges of the layers; one layer per repeat."""
    # Planes per repeat: beyond the outermost one a region has half the distance to the next.
    for one, cells, planes in (
        (REGION_BULK, spec.substrate_cells, 4),
        (REGION_FILM, spec.film_cells, 2 if spec.normal == "001" else 3),
    ):
        atoms = np.flatnonzero(region == one)
        z = positions_A[atoms, 2]
        beyond_A = (z.max() - z.min()) / (cells * planes - 1) / 2
        edges = np.linspace(z.min() - beyond_A, z.max() + beyond_A, cells + 1)
        yield one, atoms, np.clip(np.searchsorted(edges, z, side="right") - 1, 0, cells - 1), edges


@findings
class StoredIn:
    """Where a film keeps what a cascade stores: energies of the atoms after it less those before, summed.

    A potential shares energies of bonds among atoms in its own way: what stands in one layer means something to
    within its neighbours, the sum is the stored energy. An atom counts where it started.

    Attributes
    ----------
    substrate_eV, interface_eV, film_eV : float
        The interface is the highest layer of the substrate and the lowest of the film; the others are without.
    height_A : (k,) float
        Middle of each layer, one per repeat along the normal, from the lowest of the substrate up.
    layer_eV : (k,) float
        Stored in each.
    """

    substrate_eV: float
    interface_eV: float
    film_eV: float
    height_A: tuple[float, ...]
    layer_eV: tuple[float, ...]


def stored_in(
    stored_eV: NDArray[np.float64],
    *,
    spec: FilmSpec,
    positions_A: NDArray[np.float64],
    region: NDArray[np.int64],
) -> StoredIn:
    """Return where a film keeps what each of its atoms stores.

    Parameters
    ----------
    stored_eV : (n,) float
        Energy of each atom after less before.
    spec : FilmSpec
    positions_A : (n, 3) float
        Before.
    region : (n,) int
    """
    heights: list[float] = []
    layers: list[NDArray[np.float64]] = []
    for _, atoms, layer, edges in _layers(spec, positions_A, region):
        stored = np.bincount(layer, stored_eV[atoms], minlength=len(edges) - 1)
        layers.append(stored.astype(np.float64))
        heights += ((edges[1:] + edges[:-1]) / 2).tolist()
    substrate, film = layers
    return StoredIn(
        substrate_eV=float(substrate[:-1].sum()),
        interface_eV=float(substrate[-1] + film[0]),
        film_eV=float(film[1:].sum()),
        height_A=tuple(round(height, 3) for height in heights),
        layer_eV=tuple(np.concatenate(layers).tolist()),
    )


def film_said(spec: FilmSpec, strain: FilmStrain, stress: LayerStress | None) -> str:
    """Return a line about the strain and the stress of a film."""
    words = f"({spec.normal}) Al on ({spec.normal}) Si, strained {strain.film_percent:+.2f} % in its plane"
    if abs(strain.substrate_percent) > 1e-6:
        words += f", the silicon of the box {strain.substrate_percent:+.2f} %"
    if stress is None:
        expected_MPa = strain.film_percent / 100 * biaxial_modulus_GPa("Al", spec.normal) * MPA_PER_GPA
        return f"{words}: some {expected_MPa:+.0f} MPa"
    inside_MPa, surface_MPa = stress.inside_MPa(REGION_FILM), stress.stress_MPa[-1]
    return f"{words}: {inside_MPa:+.0f} MPa inside, {surface_MPa:+.0f} MPa in the layer of the surface"
