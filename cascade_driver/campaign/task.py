"""What a worker's child does: the one place where campaign and engine meet."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cascade_driver.campaign.rundir import RunDirectory
from cascade_driver.errors import EngineError, PotentialError
from cascade_driver.schema import build
from cascade_driver.simulation.cascade import run_cascade
from cascade_driver.simulation.lammps_engine import LammpsEngine, import_lammps
from cascade_driver.simulation.potential import load_potential
from cascade_driver.simulation.spec import CascadeSpec, Protocol
from cascade_driver.simulation.start import make_box, make_snapshot

if TYPE_CHECKING:
    from cascade_driver.campaign.supervise import Task

# The fork server imports this module: what costs time is imported here, once, for all children.
# Where it cannot be loaded, the first task says so; a fork server that dies would not.
with suppress(EngineError):
    import_lammps()


def perform(*, run: Path, protocol: dict[str, Any], potential: Path, time_limit_s: float, task: Task) -> str:
    """Make the box, a snapshot, or run a cascade and store it; return the outcome's key of a cascade.

    Raises
    ------
    CascadeError
        If something is wrong that concerns the whole campaign.
    """
    directory = RunDirectory(run)
    shared = build(Protocol, protocol, origin=f"{run}: protocol")
    loaded = load_potential(potential)
    if loaded.digest != shared.potential_digest:
        raise PotentialError(f"{potential}: the potential has changed since the campaign was planned")
    starts = directory.path / "starts" / shared.start_id
    make_engine = partial(LammpsEngine, potential=loaded, time_limit_s=time_limit_s)
    if task.cascade is not None:
        spec = CascadeSpec(
            protocol=shared,
            snapshot=task.cascade.snapshot,
            knock_on=task.cascade.knock_on,
            seed=task.cascade.seed,
        )
        result = run_cascade(spec, starts=starts, make_engine=make_engine)
        directory.store(result)
        return result.record.outcome.key
    if task.snapshot is None:
        make_box(shared, starts, make_engine)
    else:
        make_snapshot(shared, task.snapshot, starts, make_engine)
    return ""
