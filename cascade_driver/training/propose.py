"""Structures worth a label: cheap to think of, dear to compute.

A proposal needs no exact energies: a universal potential or the potential in the making moves the atoms, first
principles say later what it costs. Every structure says to which group and trajectory it belongs.
"""

# ASE annotates only part of what it offers:
# mypy: disallow-untyped-calls=False, warn-return-any=False

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import ase.io
import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from ase.geometry import find_mic, get_distances
from ase.md.langevin import Langevin
from ase.optimize import FIRE
from numpy.typing import NDArray
from pydantic import Field, field_validator

from cascade_driver.errors import InputError
from cascade_driver.files import readable
from cascade_driver.schema import build, parameters, seed_from
from cascade_driver.simulation.crystal import MOST_CELLS, CrystalSpec, constituents
from cascade_driver.simulation.engine import Engine, EngineAbortError, FlightRules, Onlooker
from cascade_driver.simulation.knock_on import kick_velocity, site_rotations
from cascade_driver.training.extended_xyz import read_structures
from cascade_driver.training.frames import bare

MakeCalculator = Callable[[], Calculator]

Count = Annotated[int, Field(ge=1)]

#: Group of the quenched ends of cascades.
CASCADE_END = "cascade_end"

#: Frenkel pairs whose energies differ by less are one pair.
SAME_PAIR_eV = 0.02

#: A pair or a cascade with less energy above the crystal has healed.
RECOMBINED_eV = 0.3


@parameters
class Cell:
    """The box that structures are proposed from.

    Attributes
    ----------
    crystal : str
        Its name (CaWO4, Si, Ge, ...), or a file of a cell.
    repeat : (3,) int
        Of the cell, along its vectors.
    k_mesh : (3,) int, optional
        For its labels (default: Gamma).
    """

    crystal: str
    repeat: tuple[Count, Count, Count] = (1, 1, 1)
    k_mesh: tuple[Count, Count, Count] | None = None

    @field_validator("repeat")
    @classmethod
    def _is_no_slip(cls, repeat: tuple[int, int, int]) -> tuple[int, int, int]:
        if math.prod(repeat) > MOST_CELLS:
            raise ValueError(f"{math.prod(repeat):.3g} cells are too many; give at most {MOST_CELLS}")
        return repeat

    def atoms(self) -> Atoms:
        """Return the box; its `info` names the mesh.

        Raises
        ------
        InputError
            If there is no such crystal.
        """
        box: Atoms = conventional_cell(self.crystal).repeat(self.repeat)
        if self.k_mesh:
            box.info["k_mesh"] = list(self.k_mesh)
        return box


def conventional_cell(crystal: str) -> Atoms:
    """Return the conventional cell of a crystal by its name, or the cell in a file that ASE reads.

    Raises
    ------
    InputError
        If there is none.
    """
    if Path(crystal).suffix or "/" in crystal:
        return structures_in(Path(crystal))[-1]
    (cell,) = constituents(build(CrystalSpec, {"name": crystal, "repeats": [1, 1, 1]}, origin="crystal")).values()
    return cell


def structures_in(path: Path) -> list[Atoms]:
    """Return all structures of a file that ASE reads.

    Raises
    ------
    InputError
        If it reads none.
    """
    if readable(path, what="structures").name.removesuffix(".gz").endswith(("xyz", "XYZ")):
        return read_structures(path)
    try:
        found: Any = ase.io.read(path, index=":")
    except Exception as error:  # every format of ASE fails in its own way
        raise InputError(f"{path}: not a file of structures that ASE reads ({error})") from None
    if not found:
        raise InputError(f"{path}: no structure in it")
    return list(found)


def named(atoms: Atoms, *, group: str, trajectory: str, origin: str) -> Atoms:
    """Return a bare copy of a structure that says where it belongs."""
    copy = bare(atoms)
    copy.info.update(group=group, trajectory=trajectory, origin=origin)
    return copy


def strained(
    cell: Atoms,
    *,
    strain: float = 0.02,
    count: Count = 10,
    rattle_A: float = 0.0,
    relax: MakeCalculator | None = None,
    seed: int = 1,
) -> list[Atoms]:
    """Return copies of a cell, each under a random strain of all six components, its atoms shaken or relaxed.

    Relaxed ones teach what a crystal does under strain: its atoms move within the cell, and it is softer by that.

    Parameters
    ----------
    cell : Atoms
    strain : float
        Standard deviation of each component of the strain.
    count : int
        Number of copies.
    rattle_A : float
        Standard deviation of each coordinate of the atoms.
    relax : callable, optional
        Makes the calculator with which the atoms then come to rest, the cell kept.
    seed : int
    """
    random = np.random.default_rng(seed)
    structures = []
    group = "strain" if relax is None else "strain_relaxed"
    for number in range(count):
        raw = random.normal(0, strain, (3, 3))
        deformed = cell.copy()
        deformed.set_cell(cell.cell @ (np.eye(3) + (raw + raw.T) / 2), scale_atoms=True)
        deformed.positions += random.normal(0, rattle_A, deformed.positions.shape) if rattle_A else 0
        if relax is not None:
            deformed.calc = relax()
            FIRE(deformed, logfile=None).run(fmax=0.01, steps=500)
        name = f"{group}-{strain:g}-{rattle_A:g}-{seed}-{number}"
        structures.append(named(deformed, group=group, trajectory=name, origin=f"random strain {strain:g}"))
    return structures


def molecular_dynamics(
    box: Atoms,
    make_calculator: MakeCalculator,
    *,
    temperature_K: float,
    frames: Count = 5,
    spacing_ps: float = 1.0,
    timestep_fs: float = 1.0,
    seed: int = 1,
) -> Iterator[Atoms]:
    """Yield frames of a run in a Langevin bath, the first after one spacing.

    Parameters
    ----------
    box : Atoms
    make_calculator : callable
    temperature_K : float
        Of the bath.
    frames : int
        How many are kept.
    spacing_ps : float
        Time between them.
    timestep_fs : float
    seed : int

    Raises
    ------
    InputError
        If the box explodes: the calculator does not hold it at this temperature.
    """
    atoms = box.copy()
    atoms.calc = make_calculator()
    random = np.random.RandomState(seed_from(seed) % 2**32)
    # A crystal at rest gives half of its kinetic energy away to its springs.
    width = np.sqrt(2 * temperature_K * units.kB * atoms.get_masses())
    atoms.set_momenta(random.normal(size=atoms.positions.shape) * width[:, None])
    run = Langevin(
        atoms,
        timestep_fs * units.fs,
        temperature_K=temperature_K,
        friction=1 / (100 * units.fs),
        fixcm=False,
        rng=random,
    )
    name = f"md-{temperature_K:g}K-{seed}"
    for number in range(frames):
        run.run(max(1, round(spacing_ps * 1000 / timestep_fs)))
        if not np.isfinite(atoms.positions).all() or atoms.get_temperature() > 20 * temperature_K:
            raise InputError(
                f"the box does not hold together at {temperature_K:g} K after frame {number}; "
                "choose another potential or a lower temperature"
            )
        yield named(atoms, group=f"md_{temperature_K:g}K", trajectory=name, origin="molecular dynamics")


def close_pairs(
    box: Atoms, *, distances_A: Mapping[tuple[str, str], Sequence[float]], relax: MakeCalculator | None = None
) -> list[Atoms]:
    """Return boxes in which one pair of neighbours was brought to each of the given distances.

    The two atoms move towards or away from each other along their bond, their centre stays; with a calculator,
    the others then relax while the distance is kept.

    Raises
    ------
    InputError
        If the box lacks one of the species, or is too small for a distance.
    """
    from ase.constraints import FixBondLength

    structures = []
    for (first, second), distances in distances_A.items():
        i, j = _nearest_pair(box, first, second)
        for distance in distances:
            atoms = box.copy()
            atoms.set_distance(i, j, distance, fix=0.5, mic=True)
            if (nearest := atoms.get_distance(i, j, mic=True)) < distance - 1e-6:
                raise InputError(
                    f"{first}-{second} at {distance:g} A: an image of one stands {nearest:.3g} A from the other; "
                    "repeat the box"
                )
            name = f"pair-{first}-{second}-{distance:g}"
            words = {"group": f"pair_{first}_{second}", "trajectory": name}
            structures.append(named(atoms, **words, origin=f"{first}-{second} at {distance:g} A"))
            if relax is None:
                continue
            atoms.set_constraint(FixBondLength(i, j))
            atoms.calc = relax()
            FIRE(atoms, logfile=None).run(fmax=0.1, steps=200)
            origin = f"{first}-{second} at {distance:g} A, the others relaxed"
            structures.append(named(atoms, **words, origin=origin))
    return structures


def _nearest_pair(box: Atoms, first: str, second: str) -> tuple[int, int]:
    symbols = np.array(box.get_chemical_symbols())
    here, there = np.flatnonzero(symbols == first), np.flatnonzero(symbols == second)
    if len(here) == 0 or len(there) <= (first == second):
        raise InputError(f"no pair {first}-{second} in a box of {box.get_chemical_formula()}")
    distance = box.get_all_distances(mic=True)[np.ix_(here, there)]
    distance[here[:, None] == there[None, :]] = np.inf
    i, j = np.unravel_index(int(distance.argmin()), distance.shape)
    return int(here[i]), int(there[j])


# -- Frenkel pairs ------------------------------------------------------------------------------------------


@parameters
class FrenkelSearch:
    """A search for close Frenkel pairs, after G. Soum-Sidikov et al. (2024), section II.

    Attributes
    ----------
    species : str
        Of the atom that is moved.
    grid_A : float
        Spacing of the places that it is tried at.
    clearance_A : float
        No other atom is closer to such a place.
    reach_A : float
        No place is farther from where it came.
    force_tolerance_eV_A : float
        Where its relaxation ends.
    most_steps : int
        Or where it is given up.
    excerpts : int
        Frames kept on the way of each pair, beside its end.
    """

    species: str
    grid_A: float = Field(default=0.7, gt=0)
    clearance_A: float = Field(default=1.8, gt=0)
    reach_A: float = Field(default=5.5, gt=0)
    force_tolerance_eV_A: float = Field(default=0.02, gt=0)
    most_steps: int = Field(default=400, ge=1)
    excerpts: int = Field(default=3, ge=0)


@dataclass(frozen=True, kw_only=True)
class FrenkelPair:
    """A relaxed pair.

    Attributes
    ----------
    energy_eV : float
        Above the crystal, by the calculator that relaxed it.
    frames : tuple of Atoms
        Excerpts of the relaxation, the minimum last.
    converged : bool
    """

    energy_eV: float
    frames: tuple[Atoms, ...]
    converged: bool


def frenkel_places(box: Atoms, search: FrenkelSearch) -> tuple[int, NDArray[np.float64]]:
    """Return the atom that is moved, and the places (k, 3) where a grid search tries it.

    Places that the symmetry of the site maps onto each other are tried once.

    Raises
    ------
    InputError
        If the box lacks the species, or no place is clear.
    """
    symbols = box.get_chemical_symbols()
    if search.species not in symbols:
        raise InputError(f"no {search.species} in a box of {box.get_chemical_formula()}")
    moved = symbols.index(search.species)
    origin = box.positions[moved]
    steps = np.arange(-int(search.reach_A / search.grid_A), int(search.reach_A / search.grid_A) + 1)
    grid = np.array(list(itertools.product(steps, repeat=3))) * search.grid_A
    way = np.linalg.norm(grid, axis=1)
    grid = grid[(search.clearance_A <= way) & (way <= search.reach_A)] + origin
    others = np.delete(box.positions, moved, axis=0)
    _, distance = get_distances(grid, others, cell=box.cell, pbc=True)
    clear = grid[distance.min(axis=1) >= search.clearance_A]
    if len(clear) == 0:
        raise InputError(f"no place is {search.clearance_A:g} A from all atoms; choose a smaller clearance_A")
    return moved, _one_of_each(box, moved, clear, tolerance_A=search.grid_A / 2)


def _one_of_each(
    box: Atoms, moved: int, places: NDArray[np.float64], *, tolerance_A: float
) -> NDArray[np.float64]:
    """Return places without those that an operation of the site takes to within a tolerance of another."""
    origin = box.positions[moved]
    rotations = site_rotations(box, moved, symprec_A=1e-2)
    kept: list[NDArray[np.float64]] = []
    images: list[NDArray[np.float64]] = []
    for place in places:
        if images and find_mic(np.concatenate(images) - place, box.cell)[1].min() < tolerance_A:
            continue
        kept.append(place)
        images.append(origin + rotations @ (place - origin))
    return np.array(kept)


def frenkel_pairs(
    box: Atoms, search: FrenkelSearch, make_calculator: MakeCalculator, *, observe: Callable[[str], None] = print
) -> Iterator[FrenkelPair]:
    """Yield the different close pairs that relax from a grid of places.

    Parameters
    ----------
    box : Atoms
        The crystal; its atoms are relaxed first.
    search : FrenkelSearch
    make_calculator : callable
        What relaxes them.
    observe : callable
        Is given a line about every tenth place.

    Raises
    ------
    InputError
        If there is no place.
    """
    crystal = box.copy()
    crystal.calc = make_calculator()
    FIRE(crystal, logfile=None).run(fmax=search.force_tolerance_eV_A / 10, steps=search.most_steps)
    crystal_eV = float(crystal.get_potential_energy())
    moved, places = frenkel_places(crystal, search)
    known: list[float] = []
    for number, place in enumerate(places):
        if number % 10 == 0:
            observe(f"{search.species}: place {number + 1} of {len(places)}, {len(known)} pairs")
        pair = _relaxed_pair(crystal, moved, place, search, make_calculator, crystal_eV=crystal_eV)
        if pair is None or any(abs(pair.energy_eV - one) < SAME_PAIR_eV for one in known):
            continue
        known.append(pair.energy_eV)
        yield pair


def _relaxed_pair(
    box: Atoms,
    moved: int,
    place: NDArray[np.float64],
    search: FrenkelSearch,
    make_calculator: MakeCalculator,
    *,
    crystal_eV: float,
) -> FrenkelPair | None:
    """Return what the atom at a place relaxes to; None if that is the crystal, or nothing at all."""
    atoms = box.copy()
    atoms.positions[moved] = place
    atoms.calc = make_calculator()
    path: list[Atoms] = []
    relaxation = FIRE(atoms, logfile=None)
    relaxation.attach(lambda: path.append(atoms.copy()), interval=5)
    converged = bool(relaxation.run(fmax=search.force_tolerance_eV_A, steps=search.most_steps))
    energy = float(atoms.get_potential_energy()) - crystal_eV
    if not np.isfinite(energy) or energy < RECOMBINED_eV:
        return None
    # The first steps from a bare grid point teach least: they are spread over the second half of the way.
    chosen = np.linspace(len(path) / 3, len(path) - 1, search.excerpts).astype(int).tolist() if path else []
    name = f"frenkel-{search.species}-" + "-".join(f"{x:.1f}" for x in place)
    frames = [
        named(path[k], group=f"frenkel_{search.species}_path", trajectory=name, origin="relaxation of a pair")
        for k in dict.fromkeys(chosen)
    ]
    frames.append(
        named(atoms, group=f"frenkel_{search.species}", trajectory=name, origin=f"close pair, {energy:.2f} eV")
    )
    return FrenkelPair(energy_eV=energy, frames=tuple(frames), converged=converged)


# -- cascades -----------------------------------------------------------------------------------------------


@parameters
class SmallCascades:
    """Cascades in boxes that first principles can afford, for what the potential in the making meets there.

    Attributes
    ----------
    species : tuple of str
        Which atoms are kicked, in turn.
    energies_eV : tuple of float
        With which recoil energies, in turn; a box of 100 atoms heats by 40 K per eV.
    count : int
    frames : int
        Of each flight; the quenched end comes on top unless all healed.
    temperature_K : float
        Before the kick.
    duration_ps : float
    seed : int
    """

    species: tuple[str, ...] = Field(min_length=1)
    energies_eV: tuple[float, ...] = Field(default=(20.0, 40.0, 60.0), min_length=1)
    count: int = Field(default=12, ge=1)
    frames: int = Field(default=3, ge=0)
    temperature_K: float = Field(default=133, gt=0)
    duration_ps: float = Field(default=1.0, gt=0)
    seed: int = 1


class _Sketcher:
    """Keeps the positions of a flight at evenly spaced times."""

    def __init__(self, spacing_ps: float, most: int) -> None:
        self.spacing_ps, self.next_ps, self.most = spacing_ps, spacing_ps, most
        self.seen: list[tuple[float, NDArray[np.float64]]] = []

    def __call__(
        self, *, time_ps: float, pka: int, ids: NDArray[np.int32], positions_A: NDArray[np.float64]
    ) -> None:
        del pka
        if time_ps >= self.next_ps and len(self.seen) < self.most:
            self.next_ps += self.spacing_ps
            self.seen.append((time_ps, positions_A[np.argsort(ids)].copy()))


def cascade_structures(
    box: Atoms, wanted: SmallCascades, make_engine: Callable[[Onlooker], Engine]
) -> Iterator[list[Atoms]]:
    """Yield, cascade by cascade, frames of the flight and the quenched end unless that is the crystal again.

    Parameters
    ----------
    box : Atoms
        The crystal, orthogonal.
    wanted : SmallCascades
    make_engine : callable
        Makes an engine with the given onlooker.

    Raises
    ------
    InputError
        If the box lacks a species.
    """
    symbols = np.array(box.get_chemical_symbols())
    for number in range(wanted.count):
        random = np.random.default_rng(np.random.SeedSequence(wanted.seed, spawn_key=(number,)))
        kicked = wanted.species[number % len(wanted.species)]
        energy = wanted.energies_eV[(number // len(wanted.species)) % len(wanted.energies_eV)]
        if kicked not in symbols:
            raise InputError(f"no {kicked} in a box of {box.get_chemical_formula()}")
        pka = int(random.choice(np.flatnonzero(symbols == kicked)))
        yield _sketched(box, wanted, make_engine, pka=pka, energy_eV=energy, number=number, random=random)


def _sketched(
    box: Atoms,
    wanted: SmallCascades,
    make_engine: Callable[[Onlooker], Engine],
    *,
    pka: int,
    energy_eV: float,
    number: int,
    random: np.random.Generator,
) -> list[Atoms]:
    """Return what is seen of one cascade; of one that the engine gives up on, what it saw before."""
    sketcher = _Sketcher(wanted.duration_ps / (wanted.frames + 1), wanted.frames)
    engine = make_engine(sketcher)
    direction = random.normal(size=3)
    velocity = kick_velocity(
        recoil_energy_eV=energy_eV,
        mass_amu=float(box.get_masses()[pka]),
        direction=tuple((direction / np.linalg.norm(direction)).tolist()),
        kinetic_eV_per_amu_A2_ps2=engine.kinetic_eV_per_amu_A2_ps2,
    )
    try:
        end = _fly_and_quench(engine, box, wanted, pka=pka, velocity_A_ps=velocity, number=number)
    except EngineAbortError:
        end = None
    finally:
        engine.close()
    kick = f"a kick of {energy_eV:g} eV"
    states = [("cascade", f"{time:.2f} ps after {kick}", positions) for time, positions in sketcher.seen]
    if end is not None and abs(end[0]) > RECOMBINED_eV:  # the crystal again teaches nothing
        stored_eV, positions = end
        states.append((CASCADE_END, f"quenched after {kick}, {stored_eV:.2f} eV above the crystal", positions))
    name = f"cascade-{box.get_chemical_symbols()[pka]}-{energy_eV:g}eV-{wanted.seed}-{number}"
    structures = []
    for group, origin, positions in states:
        atoms = box.copy()  # with its mesh of k points
        atoms.positions = positions
        atoms.wrap()
        structures.append(named(atoms, group=group, trajectory=name, origin=origin))
    return structures


def _fly_and_quench(
    engine: Engine,
    box: Atoms,
    wanted: SmallCascades,
    *,
    pka: int,
    velocity_A_ps: NDArray[np.float64],
    number: int,
) -> tuple[float, NDArray[np.float64]]:
    """Heat a box, kick, follow and quench; return the stored energy in eV and the final positions."""
    engine.build(box)
    crystal = engine.minimise(force_tolerance_eV_A=1e-3, max_iterations=2000)
    engine.heat(
        temperature_K=wanted.temperature_K,
        duration_ps=0.5,
        damping_ps=0.1,
        timestep_ps=0.001,
        seed=seed_from(wanted.seed, number),
    )
    engine.follow(
        pka=pka,
        velocity_A_ps=velocity_A_ps,
        rules=FlightRules(duration_ps=wanted.duration_ps, max_displacement_A=0.03, max_timestep_ps=0.001),
    )
    end = engine.minimise(force_tolerance_eV_A=5e-3, max_iterations=3000)
    return end.potential_energy_eV - crystal.potential_energy_eV, end.positions_A
