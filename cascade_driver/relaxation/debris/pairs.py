"""Pairs of neighbouring minima in the debris of the cascades of a run: searched, kept, continued, summed up.

    DIR/debris.json              what was asked for; a folder holds one search of one run
    DIR/cascades/<id>.npz        a search on its way, or the minima of a finished one
    DIR/cascades/<id>.json       a finished cascade: its minima and the pairs of them
    DIR/cascades/<id>.extxyz.gz  both minima of each pair, and the saddle between
    DIR/claims/                  who is at what
    DIR/pairs.csv                all pairs
    DIR/release.csv              energy given off later against time, at each temperature
    DIR/summary.json             counts, energies, what was left out

A cascade without stored energy left no debris: it is counted and not searched. A pair is a two-level system where
its lowest levels lie closer than `TWO_LEVEL_BELOW_eV`: what cold glasses have, and what few pairs of a debris are.
"""

# ASE annotates only part of what it offers:
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import dataclasses
import gzip
import itertools
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import ase.io
import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from pydantic import Field

from cascade_driver.campaign.contents import contents_of
from cascade_driver.campaign.export import read_structure
from cascade_driver.campaign.rundir import RunDirectory
from cascade_driver.campaign.tasks import share_tasks
from cascade_driver.errors import InputError, RecordError
from cascade_driver.files import readable, whole_file, write_atomically
from cascade_driver.relaxation.debris.path import Path as MinimumPath
from cascade_driver.relaxation.debris.path import PathSpec, find_path
from cascade_driver.relaxation.debris.release import Release, downhill_energy_eV, release
from cascade_driver.relaxation.debris.saddle import CENTRE_A, one_saddle_search
from cascade_driver.relaxation.debris.search import (
    Found,
    Landscape,
    SearchSpec,
    WayOut,
    active_atoms,
    add,
    begin,
    one_burst,
)
from cascade_driver.relaxation.debris.tunnelling import (
    DoubleWell,
    Solid,
    StrainCoupling,
    rates_per_s,
    tunnelling_amplitude_eV,
)
from cascade_driver.relaxation.debris.vibrations import ZeroPoint, moving_atoms, vibrations_at, zero_point_of
from cascade_driver.schema import build, canonical_json, findings, parameters, plain, read_json, seed_from
from cascade_driver.simulation.engine import EngineAbortError
from cascade_driver.simulation.lammps_engine import LammpsEngine
from cascade_driver.simulation.outcome import STORED_ENERGY_FLOOR_eV
from cascade_driver.simulation.potential import Potential
from cascade_driver.simulation.provenance import provenance
from cascade_driver.units import SECONDS_PER_DAY

DEBRIS_FILE = "debris.json"
SCHEMA = 6

#: Levels closer than this, some 1 K, take part in what cold glasses do: such a pair is a two-level system.
TWO_LEVEL_BELOW_eV = 1e-4

#: A path that is divided at a minimum on its way gives two; a search takes at most so many times its pairs.
_MOST_DIVISIONS = 3

#: Tells how far a search is: cascade, steps done, steps known of.
Observe = Callable[[str, int, int], None]


@parameters
class DebrisRun:
    """What a folder of searches is of.

    Attributes
    ----------
    run_protocol : str
        Digest of the protocol of the campaign.
    search, path
        How minima and paths are found.
    seed : int
        Root of all random numbers.
    """

    run_protocol: str
    search: SearchSpec = SearchSpec()
    path: PathSpec = PathSpec()
    seed: int = 1


@findings
class WellPath:
    """A path between two minima, as it is kept.

    Attributes
    ----------
    distance_amu12_A, energy_eV, slope_eV_amu12_A : (k,) tuple of float
        As of `DoubleWell`; energies count from the first minimum.
    """

    distance_amu12_A: tuple[float, ...]
    energy_eV: tuple[float, ...]
    slope_eV_amu12_A: tuple[float, ...]


@findings
class Pair:
    """What lies between two minima: the path, and what follows from it.

    Attributes
    ----------
    minima : tuple of int
        The two, by their number.
    elementary : bool
        Whether the path has no other minimum on it.
    converged : bool
    asymmetry_eV, barrier_eV : float
        Of the potential energy, as seen from the first minimum.
    tunnelling_eV : float or None
        None for a single well.
    action, length_amu12_A, quanta_eV
        As of `DoubleWell`; the action is that of the aligned well.
    moved_mass_amu, movers, largest_displacement_A
        As of `path.Path`.
    strain_coupling_eV : (3, 3) tuple of float
    path : WellPath
    evaluations : int
        Of forces.
    zero_point : ZeroPoint or None
        None where it was not asked for.
    """

    minima: tuple[int, int]
    elementary: bool
    converged: bool
    asymmetry_eV: float
    barrier_eV: float
    tunnelling_eV: float | None
    action: float
    length_amu12_A: float
    quanta_eV: tuple[float, float]
    moved_mass_amu: float
    movers: tuple[int, ...]
    largest_displacement_A: float
    strain_coupling_eV: tuple[tuple[float, float, float], ...]
    path: WellPath
    evaluations: int
    zero_point: ZeroPoint | None = None

    @property
    def ground_asymmetry_eV(self) -> float:
        """The asymmetry, zero-point energies counted."""
        return self.asymmetry_eV + (self.zero_point.asymmetry_eV if self.zero_point else 0.0)

    @property
    def ground_barrier_eV(self) -> float | None:
        """The barrier from the ground level of the first minimum, zero-point energies counted; None if unknown."""
        added = self.zero_point.barrier_eV if self.zero_point else None
        return None if added is None else self.barrier_eV + added

    @property
    def lower_barrier_eV(self) -> float:
        """The barrier as seen from the higher of both minima, zero-point energies counted where they are known."""
        if self.ground_barrier_eV is None:
            return min(self.barrier_eV, self.barrier_eV - self.asymmetry_eV)
        return min(self.ground_barrier_eV, self.ground_barrier_eV - self.ground_asymmetry_eV)

    @property
    def splitting_eV(self) -> float | None:
        """Energy between the two lowest levels; None for a single well."""
        return None if self.tunnelling_eV is None else math.hypot(self.ground_asymmetry_eV, self.tunnelling_eV)

    @property
    def is_two_level(self) -> bool:
        """Whether it is an elementary pair whose path converged and whose lowest levels are close."""
        close = self.splitting_eV is not None and self.splitting_eV < TWO_LEVEL_BELOW_eV
        return self.elementary and self.converged and close

    @property
    def may_be_two_level(self) -> bool:
        """Whether it is one but for what its zero-point energies are not known to."""
        if not (self.elementary and self.converged) or self.tunnelling_eV is None or self.zero_point is None:
            return False
        nearest_eV = max(abs(self.ground_asymmetry_eV) - self.zero_point.error_eV, 0.0)
        furthest_eV = abs(self.ground_asymmetry_eV) + self.zero_point.error_eV
        within = math.hypot(nearest_eV, self.tunnelling_eV) < TWO_LEVEL_BELOW_eV
        return within and not math.hypot(furthest_eV, self.tunnelling_eV) < TWO_LEVEL_BELOW_eV

    @property
    def well(self) -> DoubleWell:
        """The double well of the path, with the zero-point energy of what vibrates across it."""
        kept = {name: np.array(values, dtype=np.float64) for name, values in dataclasses.asdict(self.path).items()}
        well = DoubleWell(**kept, quanta_eV=self.quanta_eV)
        if self.zero_point is None:
            return well
        one, other = (0.5 * quantum for quantum in self.quanta_eV)
        barrier = self.zero_point.barrier_eV
        return well.raised(
            top_eV=None if barrier is None else barrier + one, other_eV=self.zero_point.asymmetry_eV + one - other
        )

    def rates_per_s(self, *, solid: Solid, temperature_K: float) -> tuple[float, float]:
        """Return the rates from the first to the second minimum and back, in 1/s; see `tunnelling.rates_per_s`."""
        coupling = StrainCoupling(tensor_eV=np.array(self.strain_coupling_eV))
        return rates_per_s(self.well, coupling=coupling, solid=solid, temperature_K=temperature_K)


@dataclass(frozen=True, kw_only=True)
class Debris:
    """A finished search of one cascade.

    Attributes
    ----------
    cascade : str
        Its id.
    energies_eV : (n,) float
        Potential energies of the minima above the debris, which is the first.
    zero_point_eV : (n,) float
        What their zero-point energies lie above that of the first; 0 where they were not asked for.
    pairs : tuple of Pair
    counts : dict
        What became of bursts, climbs and paths.
    volume_A3 : float
        Of the active atoms.
    times : tuple of int
        How often climbs found each way that matters (`search.Found.matters`) from the minima that the debris goes
        down to.
    coverages, coverages_of_all : tuple of float
        Of each of these minima, of the ways that matter and of all saddles: see `search.Found.coverage_of` and
        `search.Found.coverage_of_all`; 0 where too few saddles were found.
    """

    cascade: str
    energies_eV: NDArray[np.float64]
    zero_point_eV: NDArray[np.float64]
    pairs: tuple[Pair, ...]
    counts: dict[str, int]
    volume_A3: float
    times: tuple[int, ...] = ()
    coverages: tuple[float, ...] = (0.0,)
    coverages_of_all: tuple[float, ...] = (0.0,)

    @property
    def coverage(self) -> float:
        """Chance that a further find of a way that matters is of a known one: the mean of `coverages`."""
        return float(np.mean(self.coverages))

    @property
    def coverage_of_all(self) -> float:
        """Chance that a further saddle, of any kind, is a known one: the mean of `coverages_of_all`."""
        return float(np.mean(self.coverages_of_all))

    @property
    def ground_energies_eV(self) -> NDArray[np.float64]:
        """Energies of the minima above the debris, zero-point energies counted: they are given off as heat."""
        return self.energies_eV + self.zero_point_eV

    @property
    def elementary(self) -> list[Pair]:
        """Pairs whose path has no other minimum on it."""
        return [one for one in self.pairs if one.elementary]


# -- one cascade --------------------------------------------------------------------------------------------


def search_cascade(
    debris: DebrisRun, folder: Path, *, run: RunDirectory, cascade: str, observe: Observe | None = None
) -> None:
    """Search one cascade, or what is missing of it, and keep what is found after each step.

    Raises
    ------
    RecordError
        If its final structure or what was kept is damaged.
    """
    spec, state = debris.search, folder / "cascades" / f"{cascade}.npz"
    enter = _entrance(run, cascade, radius_A=spec.radius_A)
    landscape = enter()
    try:
        found, pairs = _read_state(state) if state.is_file() else (begin(landscape), [])
        seed = seed_from(debris.seed, int(cascade[:8], 16))
        while (step := _next_step(found, spec)) is not None:
            landscape = _taken(step, landscape, found, spec, seed=seed, enter=enter)
            _write_state(state, found, pairs)
            if observe:
                most = spec.bursts + spec.saddle_searches + len(found.pairs)
                observe(cascade, found.bursts + found.searches, most)
        _find_paths(debris, landscape, found, pairs, state=state, observe=observe, cascade=cascade)
        zero_point_eV, pairs = _with_zero_points(debris.path, landscape, found, pairs)
    finally:
        landscape.close()
    content = _content(cascade, landscape, found, pairs, spec, zero_point_eV=zero_point_eV)
    _write_places(state.with_suffix(".extxyz.gz"), landscape.atoms, found, pairs)
    write_atomically(state.with_suffix(".json"), json.dumps(content, indent=1) + "\n")


def _entrance(run: RunDirectory, cascade: str, *, radius_A: float) -> Callable[[], Landscape]:
    """Return what makes the landscape about the debris of a cascade, with engines of its own each time."""
    campaign = run.load()
    potential = run.potential(campaign).at_rest
    atoms = read_structure(run, cascade)
    if atoms is None:
        raise RecordError(f"{run.cascades / cascade}: its final structure is missing; `cascade run` repairs it")
    active = active_atoms(atoms, radius_A=radius_A)
    centres = active_atoms(atoms, radius_A=min(CENTRE_A, radius_A))

    def enter() -> Landscape:
        cutoff_A = potential.about.cutoff_A
        entered = Landscape(
            atoms,
            active=active,
            centres=centres,
            # What an atom feels of its neighbours' bonds.
            reach_A=2 * cutoff_A,
            make_engine=lambda: LammpsEngine(potential=potential),
            quench=campaign.protocol.quench,
            timestep_fs=campaign.protocol.follow.max_timestep_fs,
        )
        entered.narrow(from_A=cutoff_A)
        return entered

    return enter


def _taken(
    step: _Step,
    landscape: Landscape,
    found: Found,
    spec: SearchSpec,
    *,
    seed: int,
    enter: Callable[[], Landscape],
) -> Landscape:
    """Take a step of a search, and return where to take the next: in the same landscape, if its engine lives."""
    try:
        step(landscape, found, spec, seed=seed)
    except EngineAbortError:
        # An engine that gave up is dead; the step is counted as failed.
        landscape.close()
        return enter()
    return landscape


def _content(
    cascade: str,
    landscape: Landscape,
    found: Found,
    pairs: Sequence[Pair],
    spec: SearchSpec,
    *,
    zero_point_eV: Sequence[float],
) -> dict[str, object]:
    """Return what is kept of a finished search, JSON-ready."""
    atoms, n_active, reached = landscape.atoms, len(landscape.active), found.reached(spec)
    return {
        "schema_version": SCHEMA,
        "cascade": cascade,
        "energies_eV": (np.array(found.energies_eV) - found.energies_eV[0]).tolist(),
        "zero_point_eV": (np.array(zero_point_eV) - zero_point_eV[0]).tolist(),
        "pairs": _as_json(pairs),
        "counts": {name: getattr(found, name) for name in _COUNTS} | {"active_atoms": n_active},
        "volume_A3": float(atoms.get_volume() * n_active / len(atoms)),
        "ways_down": [
            {"from": way.parent, "to": way.child, "barrier_eV": way.barrier_eV, "times": way.times}
            for minimum in reached
            for way in found.ways_down(minimum, spec)
        ],
        "reached": [
            {
                "minimum": one,
                "sure": sure,
                "climbs": found.climbed[one],
                "coverage": found.coverage_of(one, spec),
                "coverage_of_all": found.coverage_of_all(one, spec),
                "finds": found.finds_of(one, spec)[0],
            }
            for one, sure in reached.items()
        ],
        "provenance": plain(provenance(engine=landscape.engine_version)),
    }


#: Of a search, kept with it.
_COUNTS = ("bursts", "returned", "too_high", "failed", "searches", "lost", "unconnected")

_Step = Callable[..., None]


def _next_step(found: Found, spec: SearchSpec) -> _Step | None:
    """Return what a search does next: bursts first, then climbs until their coverage is what was asked for."""
    if found.bursts < spec.bursts:
        return one_burst
    is_over = found.searches >= spec.saddle_searches or found.is_covered(spec) or found.climbs_in_vain
    return None if is_over else one_saddle_search


def _find_paths(
    debris: DebrisRun,
    landscape: Landscape,
    found: Found,
    pairs: list[Pair],
    *,
    state: Path,
    observe: Observe | None,
    cascade: str,
) -> None:
    """Find the path of each pair; one with a minimum on its way is divided there."""
    most = _MOST_DIVISIONS * max(len(found.pairs), 3)
    while len(pairs) < min(len(found.pairs), most):
        one, other = found.pairs[len(pairs)]
        saddle = found.saddles_A.get((one, other))
        ends = (found.positions_A[one], found.positions_A[other])
        path = find_path(landscape, *ends, debris.path, saddle_A=saddle)
        if path.intermediate_A is not None:
            middle = add(landscape, found, landscape.minimum(path.intermediate_A), debris.search)
            if middle is not None and middle not in (one, other):
                found.link(one, middle)
                found.link(middle, other)
        if path.saddle_A is not None:
            found.saddles_A[one, other] = path.saddle_A
        pairs.append(_pair_of(one, other, path))
        _write_state(state, found, pairs)
        if observe:
            before = found.bursts + found.searches
            observe(cascade, before + len(pairs), before + min(len(found.pairs), most))


def _pair_of(one: int, other: int, path: MinimumPath) -> Pair:
    """Return the pair of the minima `one` and `other`."""
    well = path.well
    xx, yy, zz = path.coupling.tensor_eV.tolist()
    return Pair(
        minima=(one, other),
        elementary=path.intermediate_A is None,
        converged=path.converged,
        asymmetry_eV=well.asymmetry_eV,
        barrier_eV=well.barrier_eV,
        tunnelling_eV=tunnelling_amplitude_eV(well) if well.is_double else None,
        action=well.aligned_action,
        length_amu12_A=well.length_amu12_A,
        quanta_eV=well.quanta_eV,
        moved_mass_amu=path.moved_mass_amu,
        movers=path.movers,
        largest_displacement_A=path.largest_displacement_A,
        strain_coupling_eV=(tuple(xx), tuple(yy), tuple(zz)),
        path=WellPath(
            distance_amu12_A=tuple(well.distance_amu12_A.tolist()),
            energy_eV=tuple((well.energy_eV - well.energy_eV[0]).tolist()),
            slope_eV_amu12_A=tuple(well.slope_eV_amu12_A.tolist()),
        ),
        evaluations=path.evaluations,
    )


def _with_zero_points(
    spec: PathSpec, landscape: Landscape, found: Found, pairs: Sequence[Pair]
) -> tuple[list[float], list[Pair]]:
    """Return the zero-point energy of each minimum, and the pairs with theirs.

    All are those of the same atoms: their differences do not depend on how a network is gone through. Minima of no
    pair take no part: theirs is that of the first.
    """
    if spec.vibrating_atoms == 0:
        return [0.0] * len(found.energies_eV), list(pairs)
    saddles = {pair.minima: found.saddles_A[pair.minima] for pair in pairs if _has_saddle(pair, found)}
    paired = sorted({0, *itertools.chain.from_iterable(pair.minima for pair in pairs)})
    places = {number: found.positions_A[number] for number in paired}
    moving = moving_atoms([*places.values(), *saddles.values()], most=spec.vibrating_atoms)
    minima = {number: vibrations_at(landscape, place, moving) for number, place in places.items()}
    complete = []
    for pair in pairs:
        one, other = (minima[number] for number in pair.minima)
        saddle = saddles.get(pair.minima)
        at_saddle = None if saddle is None else vibrations_at(landscape, saddle, moving)
        raised = dataclasses.replace(pair, zero_point=zero_point_of(one, other, at_saddle))
        well = raised.well
        complete.append(
            dataclasses.replace(
                raised,
                action=well.aligned_action,
                tunnelling_eV=tunnelling_amplitude_eV(well) if well.is_double else None,
            )
        )
    energies = [minima.get(number, minima[0]).zero_point_eV[-1] for number in range(len(found.energies_eV))]
    return energies, complete


def _has_saddle(pair: Pair, found: Found) -> bool:
    """Whether the path of a pair came to rest with its highest point between the minima."""
    inside = max(pair.path.energy_eV) > max(0.0, pair.path.energy_eV[-1])
    return pair.elementary and pair.converged and inside and pair.minima in found.saddles_A


def _write_places(path: Path, atoms: Atoms, found: Found, pairs: Sequence[Pair]) -> None:
    """Write both minima of each pair and the saddle between them, with the flag `moved`, for OVITO."""
    with whole_file(path, remedy="choose another place with --out") as partial, gzip.open(partial, "wt") as stream:
        for pair in pairs:
            one, other = (found.positions_A[number] for number in pair.minima)
            frames = [("one", one, 0.0), ("other", other, pair.asymmetry_eV)]
            if _has_saddle(pair, found):
                frames.insert(1, ("saddle", found.saddles_A[pair.minima], pair.barrier_eV))
            for point, positions, energy in frames:
                frame = Atoms(atoms.get_chemical_symbols(), positions=positions, cell=atoms.cell, pbc=atoms.pbc)
                frame.set_array("moved", np.isin(np.arange(len(atoms)), pair.movers).astype(int))
                frame.info = {"pair": list(pair.minima), "point": point, "potential_energy_eV": energy}
                ase.io.write(stream, frame, format="extxyz")


def _as_json(pairs: Sequence[Pair]) -> list[object]:
    """Return pairs JSON-ready; unlike `plain`, with the null of a single well."""
    return [dataclasses.asdict(pair) for pair in pairs]


def _write_state(path: Path, found: Found, pairs: Sequence[Pair]) -> None:
    """Write a search as it stands, after each step.

    Not packed, as those of earlier versions are: of 400 places of 3000 atoms that took 1.4 s, in place of 0.05 s,
    and saved 5 to 14 %, for the last digits of positions are noise.
    """
    counts = {name: getattr(found, name) for name in _COUNTS}
    known = list(found.saddles_A)
    ways = [(way.parent, -1 if way.child is None else way.child, way.times) for way in found.ways]
    with whole_file(path, remedy="choose another place with --out") as partial:
        np.savez(
            partial,
            energies_eV=np.array(found.energies_eV),
            positions_A=np.array(found.positions_A),
            tried=np.array(found.tried, dtype=np.int64),
            pairs=np.array(found.pairs, dtype=np.int64).reshape(-1, 2),
            climbed=np.array(found.climbed, dtype=np.int64),
            ways=np.array(ways, dtype=np.int64).reshape(-1, 3),
            way_shapes=np.array([(w.barrier_eV, w.length_amu12_A) for w in found.ways]).reshape(-1, 2),
            way_saddles_A=np.array([way.saddle_A for way in found.ways]),
            known=np.array(known, dtype=np.int64).reshape(-1, 2),
            saddles_A=np.array([found.saddles_A[pair] for pair in known]),
            rest=np.array(json.dumps({"counts": counts, "pairs": _as_json(pairs)})),
        )


def _read_state(path: Path) -> tuple[Found, list[Pair]]:
    try:
        with readable(path, what="a search").open("rb") as stream, np.load(stream, allow_pickle=False) as data:
            rest = json.loads(str(data["rest"]))
            known = [(int(i), int(j)) for i, j in data["known"]]
            ways = zip(data["ways"].tolist(), data["way_shapes"].tolist(), data["way_saddles_A"], strict=True)
            found = Found(
                energies_eV=data["energies_eV"].tolist(),
                positions_A=list(data["positions_A"]),
                tried=data["tried"].tolist(),
                pairs=[(int(i), int(j)) for i, j in data["pairs"]],
                climbed=data["climbed"].tolist(),
                ways=[
                    WayOut(
                        parent=one,
                        child=None if other < 0 else other,
                        times=n,
                        barrier_eV=barrier,
                        length_amu12_A=length,
                        saddle_A=saddle,
                    )
                    for (one, other, n), (barrier, length), saddle in ways
                ],
                saddles_A=dict(zip(known, data["saddles_A"], strict=True)),
                **rest["counts"],
            )
            return found, [build(Pair, one, origin="pair") for one in rest["pairs"]]
    except Exception as error:  # zip, zlib, numpy and OS all have their own words for a damaged file
        raise RecordError(f"{path}: damaged ({error}); remove it and search again") from None


# -- all of them --------------------------------------------------------------------------------------------


def cascades_with_debris(run: RunDirectory) -> tuple[list[str], int]:
    """Return the ids of usable cascades that store energy, as planned, and the number of usable ones."""
    table = contents_of(run).table()
    usable = table.is_usable
    storing = usable & (np.nan_to_num(table.stored_energy_eV, nan=0.0) > STORED_ENERGY_FLOOR_eV)
    return [str(one) for one in table.id[storing]], int(usable.sum())


def search_run(
    run: RunDirectory,
    folder: Path,
    *,
    search: SearchSpec,
    path: PathSpec,
    seed: int,
    cascades: Annotated[int, Field(ge=1)] | None = None,
    workers: Annotated[int, Field(ge=1)] = 1,
    observe: Observe | None = None,
) -> int:
    """Search cascades of a run that store energy, or what is missing; return their number.

    Others may do the same in the same folder, also on other machines; all return when all are searched.

    Parameters
    ----------
    run : RunDirectory
    folder : Path
        Made if it does not exist.
    search : SearchSpec
    path : PathSpec
    seed : int
    cascades : int, optional
        Search the first N that stored energy.
    workers : int
        Processes.
    observe : callable, optional
        Called with the cascade, what is done of it, and how much there is.

    Raises
    ------
    InputError
        If the run has no debris, or the folder holds another search or cannot be written.
    RecordError, PotentialError
        If something is damaged, or the potential of the run is another than its plan names.
    """
    campaign = run.load()
    ids, usable = cascades_with_debris(run)
    if not ids:
        raise InputError(
            f"{run.path}: none of {usable} usable cascades stored energy; there is no debris to search: "
            "run cascades of more energy"
        )
    run.potential(campaign)  # complains before anything is written
    chosen = ids[:cascades]
    wanted = DebrisRun(run_protocol=campaign.protocol.digest, search=search, path=path, seed=seed)
    _prepare(wanted, folder)
    searches = _Searches(
        wanted=wanted, folder=folder, run=run, cascades=tuple(chosen), observe=observe if workers == 1 else None
    )

    def tell(_cascade: str) -> None:
        if observe and workers > 1:
            observe("", len(chosen) - len(searches.waiting()), len(chosen))

    share_tasks(searches, workers=workers, observe=tell)
    return len(chosen)


@dataclass(frozen=True, kw_only=True)
class _Searches:
    """Searches of some cascades, as tasks."""

    wanted: DebrisRun
    folder: Path
    run: RunDirectory
    cascades: tuple[str, ...]
    observe: Observe | None

    def waiting(self) -> list[str]:
        return [cascade for cascade in self.cascades if not self.is_done(cascade)]

    def is_done(self, name: str) -> bool:
        return (self.folder / "cascades" / f"{name}.json").is_file()

    def do(self, name: str) -> None:
        search_cascade(self.wanted, self.folder, run=self.run, cascade=name, observe=self.observe)


def _prepare(wanted: DebrisRun, folder: Path) -> None:
    path = folder / DEBRIS_FILE
    if path.is_file():
        if load_debris_run(folder) != wanted:
            raise InputError(f"{folder}: holds another search or one of another run; choose another --out")
        return
    try:
        (folder / "cascades").mkdir(parents=True, exist_ok=True)
        content = {"schema_version": SCHEMA, "debris": plain(wanted), "provenance": plain(provenance())}
        write_atomically(path, canonical_json(content) + "\n")
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror}); choose another --out") from None


def load_debris_run(folder: Path) -> DebrisRun:
    """Return what a folder of searches is of.

    Raises
    ------
    InputError
        If it is no such folder, or of another schema.
    """
    content = read_json(folder / DEBRIS_FILE)
    if content.get("schema_version") != SCHEMA:
        raise InputError(
            f"{folder / DEBRIS_FILE}: schema version {content.get('schema_version')}, this program reads {SCHEMA}"
        )
    return build(DebrisRun, content.get("debris", {}), origin=str(folder / DEBRIS_FILE))


def load_searches_of(run: RunDirectory, folder: Path) -> DebrisRun:
    """Return what a folder of searches is of, those of a run.

    Raises
    ------
    InputError
        If it is no such folder, or of another run.
    """
    wanted = load_debris_run(folder)
    if wanted.run_protocol != run.load().protocol.digest:
        raise InputError(
            f"{folder}: holds searches of another run than {run.path}; name that one, or another --out"
        )
    return wanted


def read_debris(folder: Path) -> list[Debris]:
    """Return all finished searches of a folder.

    Raises
    ------
    RecordError
        If one is damaged.
    """
    found = []
    for path in sorted((folder / "cascades").glob("[!.]*.json")):
        try:
            content = read_json(path)
            found.append(
                Debris(
                    cascade=content["cascade"],
                    energies_eV=np.array(content["energies_eV"], dtype=np.float64),
                    zero_point_eV=np.array(content["zero_point_eV"], dtype=np.float64),
                    pairs=tuple(build(Pair, one, origin="pair") for one in content["pairs"]),
                    counts=content["counts"],
                    volume_A3=float(content["volume_A3"]),
                    times=tuple(int(one["times"]) for one in content["ways_down"]),
                    coverages=tuple(float(one["coverage"]) for one in content["reached"]),
                    coverages_of_all=tuple(float(one["coverage_of_all"]) for one in content["reached"]),
                )
            )
        except (InputError, ValueError, KeyError, TypeError) as error:
            raise RecordError(f"{path}: damaged ({error}); remove it and search again") from None
    return found


# -- what it comes to ---------------------------------------------------------------------------------------


def release_of(debris: Debris, *, solid: Solid, temperature_K: float) -> Release:
    """Return the delayed release of one cascade, through all its pairs whose path converged.

    Those with another minimum on their path count, too: where that one lies higher, cold debris can only tunnel
    through both barriers at once.
    """
    n = len(debris.energies_eV)
    rates = np.zeros((n, n))
    for pair in debris.pairs:
        if pair.elementary and not pair.converged:
            continue
        i, j = pair.minima
        rates[i, j], rates[j, i] = pair.rates_per_s(solid=solid, temperature_K=temperature_K)
    return release(debris.ground_energies_eV, rates, temperature_K=temperature_K)


@dataclass(frozen=True, kw_only=True)
class MeanRelease:
    """The release of many cascades at one temperature, per cascade that stores energy.

    Attributes
    ----------
    temperature_K : float
    time_s, events : (k,) float
        As of `Release`; events are the mean.
    each_eV : (c, k) float
        Given off by each of the cascades, as of `Release`.
    """

    temperature_K: float
    time_s: NDArray[np.float64]
    each_eV: NDArray[np.float64]
    events: NDArray[np.float64]

    @property
    def released_eV(self) -> NDArray[np.float64]:
        """The mean (k,)."""
        return np.asarray(self.each_eV.mean(axis=0))

    @property
    def released_error_eV(self) -> NDArray[np.float64]:
        """Its standard error (k,); nan for one cascade."""
        return _standard_error(self.each_eV)

    def since(self, first: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return what is given off since one of the times, by its number, mean and standard error (k,)."""
        given = self.each_eV - self.each_eV[:, [first]]
        return np.asarray(given.mean(axis=0)), _standard_error(given)


def _standard_error(each: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the standard error of the mean over the first axis, nan of one."""
    if len(each) == 1:
        return np.full(each.shape[1:], np.nan)
    return np.asarray(each.std(axis=0, ddof=1) / np.sqrt(len(each)))


def mean_coverage(debris: Sequence[Debris]) -> float:
    """Return the coverage of cascades taken together, of ways that matter."""
    return float(np.mean([one.coverage for one in debris]))


def mean_coverage_of_all(debris: Sequence[Debris]) -> float:
    """Return that of all saddles."""
    return float(np.mean([one.coverage_of_all for one in debris]))


def mean_release(debris: Sequence[Debris], *, solid: Solid, temperature_K: float) -> MeanRelease:
    """Return the mean release of some cascades, each counted once.

    Raises
    ------
    InputError
        If there is none, or the temperature is not above 0.
    """
    if not debris:
        raise InputError("no finished search of a cascade: nothing can be said of its release")
    each = [release_of(one, solid=solid, temperature_K=temperature_K) for one in debris]
    return MeanRelease(
        temperature_K=temperature_K,
        time_s=each[0].time_s,
        each_eV=np.array([one.released_eV for one in each]),
        events=np.mean([one.events for one in each], axis=0),
    )


def write_summary(
    folder: Path,
    *,
    solid: Solid,
    temperatures_K: tuple[Annotated[float, Field(gt=0)], ...] = (0.01, 0.1, 1.0),
    potential: Potential,
    usable: int,
    storing: int,
) -> tuple[list[Debris], list[MeanRelease]]:
    """Write `pairs.csv`, `release.csv` and `summary.json` of a folder; return what they are made of.

    Parameters
    ----------
    folder : Path
    solid : Solid
    temperatures_K : tuple of float
        Of the detector.
    potential : Potential
    usable, storing : int
        Usable cascades of the run, and those of them that store energy.

    Raises
    ------
    InputError, RecordError
        As `read_debris` and `mean_release`.
    """
    debris = read_debris(folder)
    means = [mean_release(debris, solid=solid, temperature_K=T) for T in temperatures_K]
    write_atomically(folder / "pairs.csv", _pairs_table(debris))
    write_atomically(folder / "release.csv", _release_table(means))
    content = {
        **_summary(debris, means),
        "elementary_pairs_by_downhill_rate_per_s": {
            f"{T:g} K": _rate_census(debris, solid=solid, temperature_K=T) for T in temperatures_K
        },
        "usable_cascades": usable,
        "cascades_with_stored_energy": storing,
        "potential": potential.name,
        "potential_status": potential.about.status,
        "solid": plain(solid),
        "provenance": plain(provenance()),
    }
    write_atomically(folder / "summary.json", json.dumps(content, indent=1) + "\n")
    return debris, means


_PAIR_COLUMNS = (
    "asymmetry_eV",
    "barrier_eV",
    "ground_asymmetry_eV",
    "ground_barrier_eV",
    "tunnelling_eV",
    "action",
    "length_amu12_A",
    "moved_mass_amu",
    "largest_displacement_A",
)


def _pairs_table(debris: Sequence[Debris]) -> str:
    header = ["cascade", "one", "other", "elementary", "converged", *_PAIR_COLUMNS]
    rows = [",".join([*header, "prefactor_one_Hz", "prefactor_other_Hz", "movers"])]
    for one in debris:
        for pair in one.pairs:
            prefactors = (pair.zero_point.prefactors_Hz if pair.zero_point else None) or (None, None)
            found = [*(getattr(pair, name) for name in _PAIR_COLUMNS), *prefactors]
            values = ["" if value is None else f"{value:.6g}" for value in found]
            flags = [str(flag).lower() for flag in (pair.elementary, pair.converged)]
            movers = " ".join(map(str, pair.movers))
            rows.append(",".join([one.cascade, *map(str, pair.minima), *flags, *values, movers]))
    return "\n".join(rows) + "\n"


def _release_table(means: Sequence[MeanRelease]) -> str:
    rows = ["temperature_K,time_s,released_eV,released_error_eV,events"]
    for mean in means:
        columns = zip(mean.time_s, mean.released_eV, mean.released_error_eV, mean.events, strict=True)
        # One cascade has no standard error.
        rows += [
            f"{mean.temperature_K:g},{t:.6g},{E:.6g},{f'{e:.3g}' if np.isfinite(e) else ''},{n:.6g}"
            for t, E, e, n in columns
        ]
    return "\n".join(rows) + "\n"


def _summary(debris: Sequence[Debris], means: Sequence[MeanRelease]) -> dict[str, object]:
    elementary = [pair for one in debris for pair in one.elementary if pair.converged]
    below = [downhill_energy_eV(one.ground_energies_eV, [pair.minima for pair in one.pairs]) for one in debris]
    tunnelling_eV = [pair.tunnelling_eV for pair in elementary if pair.tunnelling_eV is not None]
    return {
        "searched_cascades": len(debris),
        "minima": int(sum(len(one.energies_eV) for one in debris)),
        "pairs": int(sum(len(one.pairs) for one in debris)),
        "elementary_pairs": len(elementary),
        "two_level_systems": sum(pair.is_two_level for pair in elementary),
        "perhaps_two_level_systems": sum(pair.may_be_two_level for pair in elementary),
        "unconverged_paths": sum(not pair.converged for one in debris for pair in one.elementary),
        "coverage": mean_coverage(debris),
        "coverage_of_all_saddles": mean_coverage_of_all(debris),
        "coverage_by_cascade": {one.cascade: one.coverage for one in debris},
        "without_barrier": len(elementary) - len(tunnelling_eV),
        "counts": {name: sum(one.counts[name] for one in debris) for name in debris[0].counts},
        "barrier_eV_quartiles": _quartiles([pair.lower_barrier_eV for pair in elementary]),
        "asymmetry_eV_quartiles": _quartiles([abs(pair.ground_asymmetry_eV) for pair in elementary]),
        "tunnelling_eV_quartiles": _quartiles(tunnelling_eV),
        "asymmetries_below_eV": {
            f"{limit:g}": sum(abs(pair.ground_asymmetry_eV) < limit for pair in elementary)
            for limit in (0.1, 0.01, 1e-3, 1e-4)
        },
        "zero_point": zero_point_shifts(elementary),
        "metastable_energy_eV_per_cascade": float(np.mean(below)),
        "release": [_milestones(mean) for mean in means],
    }


def zero_point_shifts(pairs: Sequence[Pair]) -> dict[str, float] | None:
    """Return by how much zero-point energies shift asymmetries and barriers, root mean square, and how settled.

    `unsettled_eV` is what the second half of the vibrating atoms changed of the asymmetries, `step_eV` what half
    the step of finite differences changes.
    """
    counted = [pair.zero_point for pair in pairs if pair.zero_point is not None]
    if not counted:
        return None
    saddles = [one.barrier_eV for one in counted if one.barrier_eV is not None]
    steps = [one.step_eV for one in counted if one.step_eV is not None]
    return {
        "asymmetry_shift_eV": _root_mean_square([one.asymmetry_eV for one in counted]),
        "unsettled_eV": _root_mean_square([one.unsettled_eV for one in counted]),
        **({"step_eV": _root_mean_square(steps)} if steps else {}),
        "barrier_shift_eV": _root_mean_square(saddles),
        "saddles": len(saddles),
    }


def _root_mean_square(values: Sequence[float]) -> float:
    return float(np.sqrt(np.mean(np.square(values)))) if values else 0.0


#: Bounds of a census of rates: frozen for ever, within 12 days, after the pulse, within it, as good as at once.
_RATE_BOUNDS_per_s = (1e-6, 1.0, 1e3, 1e9)


def _rate_census(debris: Sequence[Debris], *, solid: Solid, temperature_K: float) -> dict[str, int]:
    """Return how many elementary pairs go down at which rates."""
    rates = [
        max(pair.rates_per_s(solid=solid, temperature_K=temperature_K))
        for one in debris
        for pair in one.elementary
        if pair.converged
    ]
    bounds = [0.0, *_RATE_BOUNDS_per_s, np.inf]
    counts, _ = np.histogram(rates, bins=bounds)
    names = [f"{low:g} to {high:g}" for low, high in itertools.pairwise(bounds[:-1])] + [f"above {bounds[-2]:g}"]
    return {name: int(n) for name, n in zip(names, counts, strict=True)}


def _quartiles(values: Sequence[float]) -> list[float] | None:
    return np.quantile(np.array(values), [0.25, 0.5, 0.75]).tolist() if values else None


#: Times at which a summary states the release: the pulse of a cryogenic detector is over after some ms.
_MILESTONES_s = (1e-6, 1e-3, 1.0, 3600.0, SECONDS_PER_DAY, 1e6, 365 * SECONDS_PER_DAY)


def _milestones(mean: MeanRelease) -> dict[str, object]:
    at = [int(np.argmin(np.abs(np.log(mean.time_s / t)))) for t in _MILESTONES_s]
    return {
        "temperature_K": mean.temperature_K,
        "time_s": [float(mean.time_s[k]) for k in at],
        "released_eV_per_cascade": [float(mean.released_eV[k]) for k in at],
        "released_error_eV": [float(e) if np.isfinite(e := mean.released_error_eV[k]) else None for k in at],
        "events_per_cascade": [float(mean.events[k]) for k in at],
    }
