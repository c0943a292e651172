"""What a worker's child does: the one place where campaign and engine meet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from cascade_driver.campaign.flown import FlightNotes
from cascade_driver.campaign.index import Row
from cascade_driver.campaign.plan import PlannedCascade
from cascade_driver.campaign.rundir import RunDirectory, expected_checksum
from cascade_driver.errors import PotentialError
from cascade_driver.schema import build
from cascade_driver.simulation.cascade import Result, run_cascade
from cascade_driver.simulation.engine import Engine
from cascade_driver.simulation.lammps_build import EngineSpec
from cascade_driver.simulation.lammps_engine import LammpsEngine
from cascade_driver.simulation.potential import load_potential
from cascade_driver.simulation.spec import CascadeSpec, Protocol
from cascade_driver.simulation.start import make_box, make_snapshot, read_box, read_snapshot
from cascade_driver.simulation.trajectory import TrajectorySpec, TrajectoryWriter

#: Makes an engine of `potential` and `time_limit_s`, keywords both; named by its module, so that any process
#: can import it.
EngineFactory = Callable[..., Engine]


@dataclass(frozen=True, kw_only=True)
class Task:
    """One thing for one process: the box, a snapshot, or a cascade."""

    name: str
    snapshot: int | None = None
    cascade: PlannedCascade | None = None


@dataclass(frozen=True, kw_only=True)
class Workshop:
    """What all tasks of a campaign need; travels to other processes.

    Attributes
    ----------
    run : pathlib.Path
        The run directory.
    protocol : mapping
        The protocol of the campaign, JSON-ready.
    potential : pathlib.Path
        Folder of the potential.
    time_limit_s : float
        Wall time of one task.
    engine : callable
        Makes engines.
    lammps : EngineSpec, optional
        Which LAMMPS they use; by default the one that the environment names, or the installed one.
    trajectory : TrajectorySpec, optional
        Which film is kept of each cascade; none by default.
    """

    run: Path
    protocol: Mapping[str, object]
    potential: Path
    time_limit_s: float
    engine: EngineFactory = LammpsEngine
    lammps: EngineSpec | None = None
    trajectory: TrajectorySpec | None = None

    def perform(self, task: Task) -> Row | None:
        """Make the box, a snapshot, or run a cascade and store it; return the row of a cascade.

        Raises
        ------
        RecordError
            If a starting state that the task needs is damaged.
        CascadeError
            If something else is wrong that concerns the whole campaign.
        """
        directory = RunDirectory(self.run)
        shared = build(Protocol, self.protocol, origin=f"{self.run}: protocol")
        loaded = load_potential(self.potential, expected_digest=shared.potential_digest)
        starts = directory.path / "starts" / shared.start_id
        own = {"lammps": self.lammps} if self.lammps else {}
        make_engine = partial(self.engine, potential=loaded, time_limit_s=self.time_limit_s, **own)
        if task.cascade is not None:
            spec = CascadeSpec(
                protocol=shared,
                snapshot=task.cascade.snapshot,
                knock_on=task.cascade.knock_on,
                seed=task.cascade.seed,
            )
            if spec.id != task.cascade.id:
                raise RuntimeError(f"{task.cascade.id} was planned, its specification hashes to {spec.id}")
            notes = FlightNotes(logs=directory.logs, name=task.name, of_ps=shared.follow.duration_ps)
            if self.trajectory is None:
                noted = partial(make_engine, onlooker=notes)
                return directory.store(run_cascade(spec, starts=starts, make_engine=noted))
            film = directory.partial(spec.id)
            try:
                result = run_filmed(spec, starts, make_engine, wanted=self.trajectory, path=film, notes=notes)
                return directory.store(result, trajectory=film)
            finally:
                film.unlink(missing_ok=True)
        if task.snapshot is None:
            make_box(shared, starts, make_engine)
        else:
            make_snapshot(shared, task.snapshot, starts, make_engine)
            _require_same_bits(directory, starts, task.snapshot)
        return None


def run_filmed(
    spec: CascadeSpec,
    starts: Path,
    make_engine: EngineFactory,
    *,
    wanted: TrajectorySpec,
    path: Path,
    notes: FlightNotes | None = None,
) -> Result:
    """Run a cascade as `run_cascade` does, and write its trajectory to `path` meanwhile, and notes if wanted.

    Raises
    ------
    OSError
        If the trajectory cannot be written; the cascade is given up then.
    """
    box = read_box(starts)
    with TrajectoryWriter(
        path, wanted, symbols=box.symbols, lengths_A=box.lengths_A, periodic=box.periodic
    ) as film:
        seen = film.see if notes is None else replace(notes, beside=film.see)
        return run_cascade(spec, starts=starts, make_engine=partial(make_engine, onlooker=seen))


def _require_same_bits(directory: RunDirectory, starts: Path, index: int) -> None:
    """Refuse a snapshot that was made again and came out differently: cascades were started from the lost one."""
    expected = expected_checksum(starts, index)
    if not expected.is_file():
        return
    wanted = expected.read_text(encoding="ascii").strip()
    made = read_snapshot(starts, index).state_sha256
    if made == wanted:
        return
    state = starts / f"{index:03d}.data"
    directory.set_aside(state.with_suffix(".npz"))
    directory.set_aside(state)
    raise PotentialError(
        f"{state}: damaged, and this machine makes it differently (SHA-256 {made[:12]} instead of {wanted[:12]}): "
        f"put back the file from a copy, repair it on a machine like that of the first run, or start a new run"
    )
