"""One cascade: kick -> follow -> quench -> record."""

# ASE annotates only part of what it offers:
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import gzip
import io
import math
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import atomic_masses, atomic_numbers
from numpy.typing import NDArray

from cascade_driver.simulation.defects import Census, take_census
from cascade_driver.simulation.descent import Stiffness
from cascade_driver.simulation.engine import (
    Engine,
    EngineAbortError,
    Flight,
    Look,
    MeasuredKick,
    Minimum,
    VelocityKick,
    flight_rules,
)
from cascade_driver.simulation.film_box import StoredIn, film_planes, stored_in
from cascade_driver.simulation.knock_on import choose_atom, kick_velocity
from cascade_driver.simulation.outcome import Outcome, outcome_of_stored_energy
from cascade_driver.simulation.provenance import provenance
from cascade_driver.simulation.record import (
    Cost,
    Defects,
    EarlierQuench,
    KnockOnPath,
    Physics,
    Record,
    RecordedKick,
    Track,
    numbers,
)
from cascade_driver.simulation.spec import CascadeSpec, FollowSpec, KnockOn, LaterKick
from cascade_driver.simulation.start import Box, Snapshot, quench, quench_stiffness, read_box, read_snapshot
from cascade_driver.units import FS_PER_PS

STRUCTURE_FILE = "final.extxyz.gz"

#: Points of the knock-on's track that a record keeps: enough to draw it, about 10 kB.
_TRACK_POINTS = 128
#: Energies of atoms must add up to that of the box within this; else the potential has none.
_SUM_WITHIN_eV = 1e-4


@dataclass(frozen=True, kw_only=True)
class Result:
    """A record, and the final structure where there is one."""

    record: Record
    structure: Atoms | None


def run_cascade(spec: CascadeSpec, *, starts: Path, make_engine: Callable[[], Engine]) -> Result:
    """Run one cascade and return its record; whatever the engine does ends in an outcome.

    Parameters
    ----------
    spec : CascadeSpec
        The cascade.
    starts : pathlib.Path
        Folder of thermal starting states, with the box and the snapshot that `spec` names.
    make_engine : callable
        Makes an engine with the potential of `spec`.

    Raises
    ------
    RecordError
        If the starting state is missing or damaged.
    InputError
        If the species is not in the box.
    """
    clock = _Clock()
    box = read_box(starts)
    snapshot = read_snapshot(starts, spec.snapshot)
    stiffness = quench_stiffness(spec.protocol, starts)
    pka = choose_atom(box.atoms(), spec.knock_on.species, region=spec.knock_on.region)
    engine = make_engine()
    try:
        engine.read(snapshot.state, periodic=box.periodic, held=box.held.tolist())
        with _Copies(spec, stiffness, snapshot, box, make_engine) as copies:
            flight = _kick_and_follow(engine, spec, pka, snapshot, box, is_over=copies.are_settled)
        end = quench(engine, spec.protocol, stiffness)
        # After the end's own quench, which they must not touch.
        earlier = copies.quenched or tuple(
            _quenched(engine, look, spec, stiffness, snapshot) for look in flight.looks
        )
        kept = _stored_in(engine, spec, box, snapshot, end)
    except EngineAbortError as abort:
        return Result(
            record=_record(spec, abort.outcome, None, clock=clock, engine=engine, message=str(abort)),
            structure=None,
        )
    finally:
        engine.close()
    census = take_census(
        symbols=box.symbols,
        reference_A=snapshot.reference_positions_A,
        final_A=end.positions_A,
        lengths_A=box.lengths_A,
        periodic=box.periodic,
        film=film_planes(snapshot.reference_positions_A, box.region),
    )
    physics = replace(
        _physics(spec, pka=pka, snapshot=snapshot, flight=flight, end=end, census=census, earlier=earlier),
        stored_in=kept,
    )
    outcome = _outcome(spec, flight, end, physics, box)
    record = _record(spec, outcome, physics, clock=clock, engine=engine)
    return Result(record=record, structure=_structure(box, census, snapshot, record))


class _Copies:
    """Copies of a moving box, quenched by an engine of their own, which say when the flight may end.

    The flight is not touched: it is the same with them and without, as far as it goes.
    """

    def __init__(
        self,
        spec: CascadeSpec,
        stiffness: Stiffness | None,
        snapshot: Snapshot,
        box: Box,
        make_engine: Callable[[], Engine],
    ) -> None:
        self._spec, self._stiffness, self._snapshot, self._box = spec, stiffness, snapshot, box
        self._make_engine = make_engine
        self._engine: Engine | None = None
        self.quenched: tuple[EarlierQuench, ...] = ()

    def __enter__(self) -> _Copies:
        return self

    def __exit__(self, *_: object) -> None:
        if self._engine is not None:
            self._engine.close()

    @property
    def are_settled(self) -> Callable[[Look], bool] | None:
        """Whether a flight may end at a look; None if it may not end early."""
        return self._is_over if self._spec.protocol.follow.settled else None

    def _is_over(self, look: Look) -> bool:
        settled = self._spec.protocol.follow.settled
        assert settled is not None
        if self._engine is None:
            self._engine = self._make_engine()
            box = self._box
            self._engine.read(self._snapshot.state, periodic=box.periodic, held=box.held.tolist())
        self.quenched += (_quenched(self._engine, look, self._spec, self._stiffness, self._snapshot),)
        return settled.is_settled(
            [copy.time_ps for copy in self.quenched], [copy.stored_energy_eV for copy in self.quenched]
        )


def _kick_and_follow(
    engine: Engine,
    spec: CascadeSpec,
    pka: int,
    snapshot: Snapshot,
    box: Box,
    *,
    is_over: Callable[[Look], bool] | None,
) -> Flight:
    follow, knock_on, thermal = spec.protocol.follow, spec.knock_on, spec.protocol.thermal

    def velocity(kick: KnockOn | LaterKick) -> NDArray[np.float64]:
        return kick_velocity(
            recoil_energy_eV=kick.recoil_energy_eV,
            mass_amu=float(atomic_masses[atomic_numbers[knock_on.species]]),
            direction=kick.direction,
            kinetic_eV_per_amu_A2_ps2=engine.kinetic_eV_per_amu_A2_ps2,
        )

    later = [VelocityKick(time_ps=k.time_fs / FS_PER_PS, velocity_A_ps=velocity(k)) for k in knock_on.then or ()]
    last_kick_ps = later[-1].time_ps if later else 0.0
    # a classical border at the real temperature would drain the zero-point motion
    border_K = snapshot.temperature_K if thermal.start == "quantum" else thermal.temperature_K
    rules = flight_rules(
        follow,
        temperature_K=border_K,
        seed=spec.seed,
        symbols=box.symbols,
        volume_A3=float(np.prod(box.lengths_A)),
    )
    return engine.follow(
        pka=pka,
        velocity_A_ps=velocity(knock_on),
        rules=replace(rules, duration_ps=last_kick_ps + follow.duration_ps),
        later_kicks=later,
        look_at_ps=[last_kick_ps + time_ps for time_ps in _look_times_ps(follow)],
        is_over=is_over,
    )


def _look_times_ps(follow: FollowSpec) -> tuple[float, ...]:
    return follow.settled.times_ps(follow.duration_ps) if follow.settled else follow.also_quench_at_ps or ()


def _stored_in(engine: Engine, spec: CascadeSpec, box: Box, snapshot: Snapshot, end: Minimum) -> StoredIn | None:
    """Return where a film keeps the stored energy; None of a bulk crystal, or where atoms have no energies."""
    film = spec.protocol.crystal.film
    if film is None:
        return None
    energies = []
    for positions_A in (snapshot.reference_positions_A, end.positions_A):
        engine.set_positions(positions_A)
        energies.append(engine.atom_energies_eV())
    stored_eV = energies[1] - energies[0]
    if abs(stored_eV.sum() - (end.potential_energy_eV - snapshot.reference_energy_eV)) > _SUM_WITHIN_eV:
        return None
    return stored_in(stored_eV, spec=film, positions_A=snapshot.reference_positions_A, region=box.region)


def _quenched(
    engine: Engine, look: Look, spec: CascadeSpec, stiffness: Stiffness | None, snapshot: Snapshot
) -> EarlierQuench:
    """Return what a copy of the box stores that is quenched as it was at an earlier time."""
    engine.set_positions(look.positions_A)
    end = quench(engine, spec.protocol, stiffness)
    return EarlierQuench(
        time_ps=look.time_ps,
        stored_energy_eV=end.potential_energy_eV - snapshot.reference_energy_eV,
        largest_force_eV_A=end.largest_force_eV_A,
    )


def _outcome(spec: CascadeSpec, flight: Flight, end: Minimum, physics: Physics, box: Box) -> Outcome:
    """Return how the cascade ended; what makes the stored energy meaningless comes first."""
    if not flight.finished:
        return Outcome.TIMED_OUT
    if _met_its_image(flight, box) and not spec.protocol.follow.small_box:
        return Outcome.BOX_TOO_SMALL
    if abs(flight.energy_drift_eV) > spec.protocol.follow.energy_drift_tolerance_eV:
        return Outcome.ENERGY_DRIFT
    if end.largest_force_eV_A > spec.protocol.quench.largest_force_eV_A:
        return Outcome.NOT_QUENCHED
    return outcome_of_stored_energy(physics.stored_energy_eV)


def _met_its_image(flight: Flight, box: Box) -> bool:
    """Return whether the knock-on got farther than half a box from its start along a periodic axis."""
    reach = np.abs(flight.pka_position_A - flight.pka_position_A[0]).max(axis=0)
    return bool(np.any(np.asarray(box.periodic) & (reach > box.lengths_A / 2)))


def _physics(
    spec: CascadeSpec,
    *,
    pka: int,
    snapshot: Snapshot,
    flight: Flight,
    end: Minimum,
    census: Census,
    earlier: tuple[EarlierQuench, ...],
) -> Physics:
    """Return what was found; nothing in it depends on machine load or time."""
    track = flight.pka_position_A
    way = np.linalg.norm(track - track[0], axis=1)
    given_energy_eV = float(flight.pka_kinetic_energy_eV[0])
    later = flight.later_kicks
    return Physics(
        stored_energy_eV=end.potential_energy_eV - snapshot.reference_energy_eV,
        stored_energy_follow_eV=_difference(end.follow_energy_eV, snapshot.reference_follow_energy_eV),
        reference_energy_eV=snapshot.reference_energy_eV,
        quenched_energy_eV=end.potential_energy_eV,
        largest_force_eV_A=end.largest_force_eV_A,
        start_sha256=snapshot.state_sha256,
        given_energy_eV=given_energy_eV,
        recoil_energy_total_eV=given_energy_eV + sum(k.work_eV for k in later) if later else None,
        later_kicks=tuple(_recorded(kick) for kick in later) or None,
        energy_drift_eV=flight.energy_drift_eV,
        electronic_loss_eV=flight.electronic_loss_eV,
        temperature_start_K=flight.temperature_start_K,
        temperature_end_K=flight.temperature_end_K,
        temperature_rise_K=flight.temperature_end_K - flight.temperature_start_K,
        least_distance_A=float(flight.least_distance_A.min()),
        followed_ps=float(flight.time_ps[-1]),
        steps=len(flight.time_ps) - 1,
        defects=Defects(
            vacancies=census.vacancies,
            interstitials=census.interstitials,
            antisites=census.antisites,
            clusters=tuple(census.clusters),
            adatoms=census.adatoms or None,
            interface_atoms=census.interface_atoms or None,
        ),
        displaced_atoms=census.displaced_atoms,
        pka=KnockOnPath(
            index=pka,
            species=spec.knock_on.species,
            end_displacement_A=float(np.linalg.norm(census.displacement_A[pka])),
            largest_displacement_A=float(way.max()),
            path_length_A=float(np.linalg.norm(np.diff(track, axis=0), axis=1).sum()),
            track=_thinned_track(flight),
        ),
        earlier_quenches=earlier or None,
    )


def _difference(after: float | None, before: float | None) -> float | None:
    return None if after is None or before is None else after - before


def _recorded(kick: MeasuredKick) -> RecordedKick:
    x, y, z = kick.velocity_before_A_ps.tolist()
    return RecordedKick(
        time_fs=kick.time_ps * FS_PER_PS,
        kinetic_energy_before_eV=kick.kinetic_energy_before_eV,
        kinetic_energy_after_eV=kick.kinetic_energy_after_eV,
        velocity_before_A_ps=(x, y, z),
    )


def _thinned_track(flight: Flight) -> Track:
    """Return at most `_TRACK_POINTS` points, evenly spread over the path rather than over time."""
    steps = np.linalg.norm(np.diff(flight.pka_position_A, axis=0), axis=1)
    way = np.concatenate([[0.0], np.cumsum(steps)])
    wanted = np.linspace(0.0, way[-1], _TRACK_POINTS)
    keep = np.unique(np.concatenate([[0], np.searchsorted(way, wanted).clip(max=len(way) - 1)]))
    positions = [_rounded(axis, 4) for axis in flight.pka_position_A[keep].T]
    return Track(
        time_ps=_rounded(flight.time_ps[keep], 6),
        position_A=tuple(zip(*positions, strict=True)),
        kinetic_energy_eV=_rounded(flight.pka_kinetic_energy_eV[keep], 4),
    )


def _rounded(values: NDArray[np.float64], digits: int) -> tuple[float, ...]:
    return tuple(round(float(v), digits) for v in values)


def _record(
    spec: CascadeSpec,
    outcome: Outcome,
    physics: Physics | None,
    *,
    clock: _Clock,
    engine: Engine,
    message: str = "",
) -> Record:
    made = Record(
        id=spec.id,
        spec=spec,
        outcome=outcome,
        message=message,
        physics=physics,
        cost=clock.cost(),
        provenance=provenance(engine=engine.version, library=engine.library),
    )
    if all(math.isfinite(value) for value in numbers(made) if value is not None):
        return made
    return replace(made, outcome=Outcome.NON_FINITE_ENERGY, physics=None, message="a result is not finite")


def _structure(box: Box, census: Census, snapshot: Snapshot, record: Record) -> Atoms:
    """Return the final structure with displacements and defect flags, drift removed, and whose it is."""
    spec = record.spec
    atoms = box.atoms()
    atoms.set_constraint()
    atoms.set_positions(snapshot.reference_positions_A + census.displacement_A)
    number = np.arange(len(atoms))
    atoms.set_array("id", number + 1)  # as in trajectories
    atoms.set_array("displacement", census.displacement_A)
    atoms.set_array("defect", census.flag)
    knocked = -1 if record.physics is None else record.physics.pka.index
    atoms.set_array("is_pka", (number == knocked).astype(np.int64))
    atoms.info |= {
        "cascade": f"c{record.id}",  # a bare row of digits would be read as a number
        "recoil_species": spec.knock_on.species,
        "recoil_energy_eV": spec.knock_on.recoil_energy_eV,
        "direction": np.array(spec.knock_on.direction),
        "stored_energy_eV": record.stored_energy_eV,
        "outcome": record.outcome.key,
        "potential": spec.protocol.potential_name,
        "potential_digest": f"d{spec.protocol.potential_digest}",
        "comment": "defect: 0 on site, 1 interstitial, 2 antisite, 3 adatom, 4 interface atom; "
        "displacement from the quenched start; region: 0 substrate or bulk, 1 film",
    }
    return atoms


def write_structure(atoms: Atoms, folder: Path) -> None:
    """Write the final structure as compressed extxyz; the same atoms give the same bytes."""
    import ase.io

    text = io.StringIO()
    ase.io.write(text, atoms, format="extxyz")
    with (
        (folder / STRUCTURE_FILE).open("wb") as stream,
        gzip.GzipFile(fileobj=stream, mode="wb", mtime=0) as packed,
    ):
        packed.write(text.getvalue().encode())


class _Clock:
    """CPU and wall time of this process since the clock was made, and its peak memory."""

    def __init__(self) -> None:
        self._cpu = time.process_time()
        self._wall = time.perf_counter()

    def cost(self) -> Cost:
        return Cost(
            cpu_s=round(time.process_time() - self._cpu, 3),
            wall_s=round(time.perf_counter() - self._wall, 3),
            peak_memory_MiB=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        )
