"""Thermal starting states: made once per crystal, potential and temperature, shared by all cascades.

A folder `starts/<id>/` holds the quenched reference box and a chain of snapshots. Each snapshot is made from the
file of the one before, so that asking for more of them later only lengthens the chain: what exists stays the same
to the bit. Files appear by renaming, complete or not at all.
"""

# ASE annotates only part of what it offers:
# mypy: disallow-untyped-calls=False, warn-return-any=False

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from cascade_driver.errors import EngineError, InputError, RecordError
from cascade_driver.files import replacing
from cascade_driver.schema import file_sha256, seed_from
from cascade_driver.simulation.crystal import assemble, constituents, held_atoms
from cascade_driver.simulation.descent import NEARLY_AT_REST_eV_A, Stiffness, descend, measure_stiffness
from cascade_driver.simulation.engine import Engine, Minimum
from cascade_driver.simulation.film_box import FilmSpec, LayerStress, layer_stress, places
from cascade_driver.simulation.spec import Protocol
from cascade_driver.simulation.zero_point import vibrations_of
from cascade_driver.units import FS_PER_PS

#: A snapshot that does not quench back to the reference within this was no vibrating crystal but a changed one.
REFERENCE_TOLERANCE_eV = 1e-4

#: Force tolerance of the small cells whose lattice constants are relaxed; they cost nothing.
_CELL_FORCE_TOLERANCE_eV_A = 1e-8

#: By so large a share no potential that is of use changes the edges of a crystal.
LARGEST_RELAXATION = 0.15

#: Edges that agree to this were equal before rounding: a = b of a tetragonal crystal.
_EQUAL_EDGES_A = 1e-4

#: A film that looks for its best place is heated so far, for so long: two thirds of the melting of aluminium.
ANNEALING_K, ANNEALING_ps = 600.0, 2.0

#: Force constants of the box, where it is a bulk crystal and the quench asks for them.
_STIFFNESS_FILE = "stiffness.npz"
#: The box at rest, in a folder of starts.
BOX_FILE = "box.npz"

MakeEngine = Callable[[], Engine]


@dataclass(frozen=True, kw_only=True)
class Box:
    """The simulation box at rest in its local minimum.

    Attributes
    ----------
    symbols : n str
        Species of the atoms.
    positions_A : (n, 3) float
        Quenched positions.
    lengths_A : (3,) float
        Edges of the box.
    periodic : three bool
        Along which axes it repeats.
    held : (m,) int
        Atoms that never move.
    region : (n,) int
        0 bulk or substrate, 1 film.
    potential_energy_eV : float
        Energy of the box.
    cells_A : dict
        Relaxed edges of the constituent unit cells, by name.
    stress : LayerStress, optional
        Of a film; starts of earlier versions have none.
    """

    symbols: tuple[str, ...]
    positions_A: NDArray[np.float64]
    lengths_A: NDArray[np.float64]
    periodic: tuple[bool, bool, bool]
    held: NDArray[np.int64]
    region: NDArray[np.int64]
    potential_energy_eV: float
    cells_A: dict[str, list[float]]
    stress: LayerStress | None = None

    def atoms(self) -> Atoms:
        """Return the box as `ase.Atoms`, with the array `region`."""
        from ase.constraints import FixAtoms

        atoms = Atoms(list(self.symbols), positions=self.positions_A, cell=self.lengths_A, pbc=list(self.periodic))
        atoms.set_array("region", self.region)
        if len(self.held):
            atoms.set_constraint(FixAtoms(indices=self.held))
        return atoms


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """One thermal starting state and the minimum under it.

    Attributes
    ----------
    index : int
        Its place in the chain.
    state : pathlib.Path
        The engine's file of positions and velocities.
    state_sha256 : str
        Checksum of that file.
    reference_energy_eV : float
        Potential energy of the state, quenched.
    reference_positions_A : (n, 3) float
        Positions of the state, quenched.
    temperature_K : float
        Mean kinetic temperature of the interval that ended in it, or of the distribution that it was drawn from.
    reference_follow_energy_eV : float, optional
        Of a potential that is two, see `Minimum.follow_energy_eV`.
    """

    index: int
    state: Path
    state_sha256: str
    reference_energy_eV: float
    reference_positions_A: NDArray[np.float64]
    temperature_K: float
    reference_follow_energy_eV: float | None = None


def relaxed_constituents(protocol: Protocol, make_engine: MakeEngine) -> dict[str, Atoms]:
    """Return the unit cells of the crystal with the lattice constants of the potential.

    With `relax_cell = false` the edges stay as given and only the atoms relax.
    """
    cells = constituents(protocol.crystal)
    return {name: _relaxed(cell, protocol.crystal.relax_cell, make_engine) for name, cell in cells.items()}


def _relaxed(cell: Atoms, relax_box: bool, make_engine: MakeEngine) -> Atoms:
    before = cell.cell.lengths()
    engine = make_engine()
    try:
        engine.build(cell)
        if relax_box:
            after = engine.relax_box(force_tolerance_eV_A=_CELL_FORCE_TOLERANCE_eV_A)
            # The crystal's symmetry, which the minimiser keeps only to its tolerance.
            for axis in range(3):
                same = np.abs(before - before[axis]) < _EQUAL_EDGES_A
                after[same] = after[same].mean()
            cell = cell.copy()
            cell.set_cell(after, scale_atoms=True)
            engine.build(cell)
        minimum = engine.minimise(force_tolerance_eV_A=_CELL_FORCE_TOLERANCE_eV_A, max_iterations=5000)
    finally:
        engine.close()
    relaxed = cell.copy()
    relaxed.set_positions(minimum.positions_A)
    return relaxed


def _require_about_the_same(before: NDArray[np.float64], after: NDArray[np.float64]) -> None:
    """Refuse a cell that relaxes into another crystal, or whose lengths were in another unit."""
    if np.all(np.abs(after / before - 1) <= LARGEST_RELAXATION):
        return
    given, relaxed = (" x ".join(f"{length:.3f}" for length in lengths) for lengths in (before, after))
    raise InputError(
        f"a cell of {given} A relaxes to {relaxed} A in this potential: not the crystal that was given; correct "
        "its lengths, use another potential, or keep them with [crystal] relax_cell = false"
    )


def make_box(protocol: Protocol, folder: Path, make_engine: MakeEngine) -> Box:
    """Relax the crystal, build the box, bring it to rest, and keep it in `folder` (or read what is there).

    Raises
    ------
    InputError
        If the crystal cannot be built.
    EngineError
        If it cannot be relaxed.
    """
    file = folder / BOX_FILE
    if file.is_file():
        return read_box(folder)
    cells = relaxed_constituents(protocol, make_engine)
    for name, cell in constituents(protocol.crystal).items():
        _require_about_the_same(cell.cell.lengths(), cells[name].cell.lengths())
    atoms = _best_place(protocol, cells, make_engine)
    engine = make_engine()
    try:
        engine.build(atoms)
        minimum = _come_to_rest(engine, protocol, folder)
        film = protocol.crystal.film
        stress = None if film is None else _stress_of_film(engine, film, atoms, minimum)
        wanted = protocol.quench.method is not None or protocol.thermal.start == "quantum"
        if wanted and all(atoms.pbc) and len(cells) == 1:
            _keep_stiffness(engine, folder, atoms, *cells.values(), sites_A=minimum.positions_A)
    finally:
        engine.close()
    box = Box(
        symbols=tuple(atoms.get_chemical_symbols()),
        positions_A=minimum.positions_A,
        lengths_A=np.asarray(atoms.cell.lengths(), dtype=np.float64),
        periodic=(bool(atoms.pbc[0]), bool(atoms.pbc[1]), bool(atoms.pbc[2])),
        held=held_atoms(atoms),
        region=np.asarray(atoms.get_array("region"), dtype=np.int64),
        potential_energy_eV=minimum.potential_energy_eV,
        cells_A={name: [float(x) for x in cell.cell.lengths()] for name, cell in cells.items()},
        stress=stress,
    )
    _save_arrays(
        file,
        symbols=np.array(box.symbols),
        positions_A=box.positions_A,
        lengths_A=box.lengths_A,
        periodic=np.array(box.periodic),
        held=box.held,
        region=box.region,
        potential_energy_eV=np.array(box.potential_energy_eV),
        cells_A=np.array(json.dumps(box.cells_A)),
        **({f"stress_{name}": values for name, values in vars(stress).items()} if stress else {}),
    )
    return box


def _best_place(protocol: Protocol, cells: dict[str, Atoms], make_engine: MakeEngine) -> Atoms:
    """Return the box; of a film whose interface is to be relaxed, the lowest of several that were annealed."""
    film = protocol.crystal.film
    shifts = places(film) if film is not None else [(0.0, 0.0)]
    if len(shifts) == 1:
        return assemble(protocol.crystal, cells)
    lowest: tuple[float, Atoms] | None = None
    for number, shift in enumerate(shifts):
        atoms = assemble(protocol.crystal, cells, shift=shift)
        engine = make_engine()
        try:
            engine.build(atoms)
            for minimum in _annealed(engine, protocol, seed=seed_from(protocol.campaign_seed, 2, number)):
                if lowest is None or minimum.potential_energy_eV < lowest[0]:
                    atoms.set_positions(minimum.positions_A, apply_constraint=False)
                    lowest = (minimum.potential_energy_eV, atoms.copy())
        finally:
            engine.close()
    assert lowest is not None
    return lowest[1]


def _annealed(engine: Engine, protocol: Protocol, *, seed: int) -> Iterator[Minimum]:
    """Yield the minima of a film: where it is put down, and after it was heated."""
    spec = protocol.quench
    for temperature_K in (0.0, ANNEALING_K):
        if temperature_K > 0:
            engine.heat(
                temperature_K=temperature_K, duration_ps=ANNEALING_ps, damping_ps=0.1, timestep_ps=0.002, seed=seed
            )
        yield engine.minimise(force_tolerance_eV_A=spec.force_tolerance_eV_A, max_iterations=spec.max_iterations)


def _stress_of_film(engine: Engine, film: FilmSpec, atoms: Atoms, minimum: Minimum) -> LayerStress:
    engine.set_positions(minimum.positions_A)
    return layer_stress(
        engine.virials_eV(),
        spec=film,
        positions_A=minimum.positions_A,
        region=np.asarray(atoms.get_array("region"), dtype=np.int64),
        held=held_atoms(atoms),
        area_A2=float(np.prod(atoms.cell.lengths()[:2])),
    )


def read_box(folder: Path) -> Box:
    """Return the box of a folder of starts.

    Raises
    ------
    RecordError
        If it is missing or damaged.
    """
    data = _load_arrays(folder / BOX_FILE)
    periodic = [bool(p) for p in data["periodic"]]
    return Box(
        symbols=tuple(str(s) for s in data["symbols"]),
        positions_A=data["positions_A"],
        lengths_A=data["lengths_A"],
        periodic=(periodic[0], periodic[1], periodic[2]),
        held=data["held"],
        region=data["region"],
        potential_energy_eV=float(data["potential_energy_eV"]),
        cells_A=json.loads(str(data["cells_A"])),
        stress=LayerStress(**{f.name: data[f"stress_{f.name}"] for f in fields(LayerStress)})
        if "stress_height_A" in data
        else None,
    )


def _keep_stiffness(
    engine: Engine, folder: Path, atoms: Atoms, cell: Atoms, *, sites_A: NDArray[np.float64]
) -> None:
    stiffness = measure_stiffness(
        engine, sites_A=sites_A, lengths_A=atoms.cell.lengths(), cell_A=cell.cell.lengths()
    )
    if stiffness is not None:
        _save_arrays(
            folder / _STIFFNESS_FILE,
            force_constants_eV_A2=stiffness.force_constants_eV_A2,
            sites_A=stiffness.sites_A,
        )


def read_stiffness(folder: Path) -> Stiffness | None:
    """Return the stiffness of the box of a folder of starts; None if it has none."""
    file = folder / _STIFFNESS_FILE
    return Stiffness(**_load_arrays(file)) if file.is_file() else None


def make_snapshot(protocol: Protocol, index: int, folder: Path, make_engine: MakeEngine) -> None:
    """Make snapshot `index` in `folder`, which holds the box and all earlier snapshots; do nothing if it exists.

    Snapshot 0 follows the equilibration; each later one `snapshot_interval_ps` at constant energy after the one
    before. Of a quantum start each is drawn by itself.
    """
    if (folder / _name(index, "npz")).is_file():
        return
    box = read_box(folder)
    state = folder / _name(index, "data")
    with replacing(state) as draft:
        engine = make_engine()
        try:
            temperature = _heat_or_run_on(engine, protocol, index, folder, box)
            engine.write(draft)
            minimum = _come_to_rest(engine, protocol, folder)
        finally:
            engine.close()
        _require_same_crystal(minimum, box, index)
    followed_eV = minimum.follow_energy_eV
    _save_arrays(
        folder / _name(index, "npz"),
        state_sha256=np.array(file_sha256(state)),
        reference_energy_eV=np.array(minimum.potential_energy_eV),
        reference_positions_A=minimum.positions_A,
        temperature_K=np.array(temperature),
        **({"reference_follow_energy_eV": np.array(followed_eV)} if followed_eV is not None else {}),
    )


def _heat_or_run_on(engine: Engine, protocol: Protocol, index: int, folder: Path, box: Box) -> float:
    """Bring an engine to snapshot `index` and return the temperature in K of its last stretch."""
    thermal = protocol.thermal
    if thermal.start == "quantum":
        return _draw(engine, protocol, index, folder, box)
    if index == 0:
        engine.build(box.atoms())
        engine.heat(
            temperature_K=thermal.temperature_K,
            duration_ps=thermal.equilibration_ps,
            damping_ps=thermal.damping_ps,
            timestep_ps=thermal.timestep_fs / FS_PER_PS,
            seed=seed_from(protocol.campaign_seed, 0),
        )
    else:
        engine.read(folder / _name(index - 1, "data"), periodic=box.periodic, held=box.held.tolist())
    return engine.run(duration_ps=thermal.snapshot_interval_ps, timestep_ps=thermal.timestep_fs / FS_PER_PS)


def _draw(engine: Engine, protocol: Protocol, index: int, folder: Path, box: Box) -> float:
    """Give an engine a state of the quantum distribution and return the temperature in K of its velocities."""
    stiffness = read_stiffness(folder)
    if stiffness is None:
        raise InputError(
            "a quantum start needs the modes of a periodic box of whole cells, which a film is not: use a bulk "
            "crystal, or start = 'classical'"
        )
    atoms = box.atoms()
    vibrations = vibrations_of(
        stiffness, masses_u=atoms.get_masses(), temperature_K=protocol.thermal.temperature_K
    )
    displacements_A, velocities_A_ps = vibrations.draw(
        np.random.default_rng(seed_from(protocol.campaign_seed, 0, index))
    )
    engine.build(atoms)
    engine.set_positions(box.positions_A + displacements_A)
    engine.set_velocities(velocities_A_ps)
    engine.potential_energy_eV()
    return vibrations.kinetic_temperature_K


def read_snapshot(folder: Path, index: int) -> Snapshot:
    """Return a snapshot of a folder of starts, its checksum verified.

    Raises
    ------
    RecordError
        If it is missing or damaged.
    """
    data = _load_arrays(folder / _name(index, "npz"))
    state = folder / _name(index, "data")
    expected = str(data["state_sha256"])
    if not state.is_file() or file_sha256(state) != expected:
        raise RecordError(f"{state}: thermal starting state is missing or altered; remove {folder} and run again")
    return Snapshot(
        index=index,
        state=state,
        state_sha256=expected,
        reference_energy_eV=float(data["reference_energy_eV"]),
        reference_positions_A=data["reference_positions_A"],
        temperature_K=float(data["temperature_K"]),
        reference_follow_energy_eV=float(data["reference_follow_energy_eV"])
        if "reference_follow_energy_eV" in data
        else None,
    )


def has_snapshot(folder: Path, index: int) -> bool:
    """Return whether snapshot `index` is complete in `folder`."""
    return (folder / _name(index, "npz")).is_file()


def quench_stiffness(protocol: Protocol, folder: Path) -> Stiffness | None:
    """Return the stiffness that `protocol` quenches by, of the box in `folder`; None if it needs none or has none.

    For all quenches of a cascade once: with its first use its modes are worked out, 0.6 s of 6144 atoms.

    Raises
    ------
    RecordError
        If it is damaged.
    """
    return None if protocol.quench.method is None else read_stiffness(folder)


def quench(engine: Engine, protocol: Protocol, stiffness: Stiffness | None) -> Minimum:
    """Bring what `engine` holds to rest, as `protocol` says; see `quench_stiffness`."""
    spec = protocol.quench
    if stiffness is None:
        return engine.minimise(force_tolerance_eV_A=spec.force_tolerance_eV_A, max_iterations=spec.max_iterations)
    return descend(
        engine,
        stiffness,
        force_tolerance_eV_A=spec.force_tolerance_eV_A,
        max_iterations=spec.max_iterations,
        below_eV_A=math.inf if spec.method == "stiffness" else NEARLY_AT_REST_eV_A,
    )


def _come_to_rest(engine: Engine, protocol: Protocol, folder: Path) -> Minimum:
    minimum = quench(engine, protocol, quench_stiffness(protocol, folder))
    if minimum.largest_force_eV_A > protocol.quench.largest_force_eV_A:
        raise EngineError(
            f"the crystal cannot be brought to rest: a force of {minimum.largest_force_eV_A:.3g} eV/A is left; "
            "raise [quench] max_iterations or check the potential with `cascade potential check`"
        )
    return minimum


def _require_same_crystal(minimum: Minimum, box: Box, index: int) -> None:
    """Refuse a thermal state of a bulk crystal that does not quench back to it; a film may find a better place."""
    if not all(box.periodic):
        return
    change = minimum.potential_energy_eV - box.potential_energy_eV
    if abs(change) > REFERENCE_TOLERANCE_eV:
        raise InputError(
            f"thermal snapshot {index} quenches to {change:+.4f} eV from the perfect crystal: the crystal is not "
            "stable at this temperature in this potential; lower [thermal] temperature_K or use another potential"
        )


def _name(index: int, suffix: str) -> str:
    return f"{index:03d}.{suffix}"


def _save_arrays(path: Path, **arrays: NDArray[Any]) -> None:
    with replacing(path) as draft, draft.open("wb") as stream:
        np.savez_compressed(stream, allow_pickle=False, **arrays)


def _load_arrays(path: Path) -> dict[str, NDArray[Any]]:
    if not path.is_file():  # nor a pipe, which might never end
        raise RecordError(f"{path}: missing; run the campaign again to make it")
    try:
        # Opened here: numpy leaves the file of a damaged archive open.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as data:
            return {name: data[name] for name in data.files}
    except Exception as error:  # zip, zlib, numpy and OS all have their own words for a damaged file
        raise RecordError(f"{path}: damaged ({error}); remove it and run the campaign again") from None
