"""One cascade again, alone: from the starting states of its run to the same numbers, or to what differs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from cascade_driver.campaign.rundir import RunDirectory, disk_error
from cascade_driver.campaign.task import run_filmed
from cascade_driver.errors import CascadeError, InputError
from cascade_driver.files import whole_folder, write_file
from cascade_driver.schema import canonical_json, flattened, plain
from cascade_driver.simulation.apart import ProcessEndedError, apart
from cascade_driver.simulation.cascade import Result, run_cascade, write_structure
from cascade_driver.simulation.lammps_engine import LammpsEngine
from cascade_driver.simulation.record import Record, write_record
from cascade_driver.simulation.trajectory import TRAJECTORY_FILE, TrajectorySpec

#: The commands that the engine was given, as a script for a bare LAMMPS.
SCRIPT_FILE = "cascade.lmp"


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """A cascade that was run again.

    Attributes
    ----------
    record, again : Record
        The one of the run, and the new one.
    folder : pathlib.Path
        Where the new one lies.
    compared : int
        How many values.
    differences : dict
        Values that are not the same to the last digit, by name: that of the run, and the new one.
    """

    record: Record
    again: Record
    folder: Path
    compared: int
    differences: dict[str, tuple[str | float | None, str | float | None]]


def reproduce(
    run: RunDirectory, cascade: str, *, out: Path, trajectory: TrajectorySpec | None = None
) -> Reproduction:
    """Run one finished cascade again in this process, without a time limit, and compare the physics.

    Parameters
    ----------
    run : RunDirectory
        Nothing in it is changed.
    cascade : str
        Id of a finished cascade.
    out : pathlib.Path
        The new record, structure, LAMMPS script and trajectory go to `out/<id>`, which must not be there.
    trajectory : TrajectorySpec, optional
        Which film to make of it.

    Raises
    ------
    InputError
        If the place is taken, or cannot be written.
    RecordError, PotentialError
        If the record, its starting state or the potential is missing or damaged.
    """
    with _named_when_whole(out / cascade) as draft:
        done = _reproduce_into(draft, run, cascade, trajectory)
    return replace(done, folder=out / cascade)


def reproduce_apart(
    run: RunDirectory, cascade: str, *, out: Path, trajectory: TrajectorySpec | None = None
) -> Reproduction:
    """Do what `reproduce` does in a process of its own, for cascades whose engine crashes.

    Raises
    ------
    ProcessEndedError
        If that happens; nothing is left of it.
    CascadeError
        As `reproduce`.
    """
    with _named_when_whole(out / cascade) as draft:
        done = apart(_reproduce_and_answer, draft, run, cascade, trajectory)
    return replace(done, folder=out / cascade)


@contextmanager
def _named_when_whole(folder: Path) -> Iterator[Path]:
    """Give the place of a reproduction, which has its name when it is whole.

    Half of one would be taken for one, and be in the way of the next; whatever ends it, a process that is killed
    included, nothing is left.
    """
    if folder.exists():
        raise InputError(f"{folder}: is there already; choose another place with --out")
    with whole_folder(folder, remedy="choose another place with --out") as draft:
        try:
            draft.mkdir()
            yield draft
        except ProcessEndedError:
            raise
        except CascadeError as error:
            raise type(error)(str(error).replace(str(draft), str(folder))) from None


def _reproduce_and_answer(
    say: Callable[[Any], None], folder: Path, run: RunDirectory, cascade: str, trajectory: TrajectorySpec | None
) -> Reproduction:
    del say
    return _reproduce_into(folder, run, cascade, trajectory)


def _reproduce_into(
    folder: Path, run: RunDirectory, cascade: str, trajectory: TrajectorySpec | None
) -> Reproduction:
    """Run a cascade again, write it into a folder that is there, and compare it."""
    record = run.record(cascade)
    spec = record.spec
    potential = run.potential_of(spec.protocol)
    starts = run.path / "starts" / spec.protocol.start_id
    engines: list[LammpsEngine] = []

    def make_engine(**settings: Any) -> LammpsEngine:
        engines.append(LammpsEngine(potential=potential, **settings))
        return engines[-1]

    try:
        if trajectory is None:
            result = run_cascade(spec, starts=starts, make_engine=partial(make_engine))
        else:
            result = run_filmed(spec, starts, make_engine, wanted=trajectory, path=folder / TRAJECTORY_FILE)
        _write(result, folder, commands=engines[-1].commands)
    except OSError as error:
        raise disk_error(folder, error) from None
    one, other = _values(record), _values(result.record)
    # Where a film keeps the energy older versions did not say.
    told = record.physics is not None and record.physics.stored_in is not None
    names = [name for name in dict.fromkeys([*one, *other]) if told or not name.startswith("stored_in.")]
    return Reproduction(
        record=record,
        again=result.record,
        folder=folder,
        compared=len(names),
        differences={name: (one.get(name), other.get(name)) for name in names if one.get(name) != other.get(name)},
    )


def _write(result: Result, folder: Path, *, commands: list[str]) -> None:
    if result.structure is not None:
        write_structure(result.structure, folder)
    write_record(result.record, folder)
    head = [
        f"# Cascade {result.record.id}: what cascade_driver told {result.record.provenance.engine} to do.",
        "# Files of the LAMMPS distribution are found by the environment variable LAMMPS_POTENTIALS.",
    ]
    write_file(folder / SCRIPT_FILE, "\n".join([*head, *commands]) + "\n")


def _values(record: Record) -> dict[str, str | float]:
    """Return the outcome and the physics of a record as single values by dotted name, JSON text for lists."""
    physics = flattened(plain(record.physics) or {})
    said = {name: canonical_json(value) if isinstance(value, list) else value for name, value in physics.items()}
    return {"outcome": record.outcome.key, **said}
