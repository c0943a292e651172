"""Which builds of LAMMPS hold the contract of a potential: tried once by itself, before the first cascade.

Another release, other compilers, another precision may change energies and forces: what a build can break of the
contract are its statics, two atoms in vacuum and a crystal at rest, in seconds. What was found is kept for the
user, by potential, library, command line and processor:

    $XDG_CACHE_HOME/cascade_driver/contracts/<digest>.json     (by default in ~/.cache)
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import importlib.metadata
import json
import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from cascade_driver.errors import CascadeError, EngineError, InputError
from cascade_driver.files import write_atomically
from cascade_driver.schema import build, digest, file_sha256, findings, plain, read_json
from cascade_driver.simulation.apart import ProcessEndedError, apart
from cascade_driver.simulation.engine import FlightRules
from cascade_driver.simulation.lammps_build import EngineSpec, chosen, library_of
from cascade_driver.simulation.lammps_engine import LammpsEngine
from cascade_driver.simulation.potential import Potential
from cascade_driver.validation.contract import ContractResult, check_potential, loose_crystal

T = TypeVar("T")

#: Of the contract, what is done by itself: 0.2 s with Tersoff's silicon, 5 s with CaWO4's splines or SNAP.
#: How core and body of a potential meet is its own, whoever evaluates it.
QUICK_CHECKS = (
    "ZBL limit",
    "force is gradient",
    "finite when close",
    "ZBL in crystal",
    "lattice constants",
    "cohesion",
    "restores",
)

_SCHEMA = 1


@findings
class BuildRecord:
    """What the contract said of a potential in a build of LAMMPS.

    Attributes
    ----------
    schema_version : int
    potential, potential_digest : str
    lammps : str
        How it is called, with its version if it is the installed one.
    library, library_sha256 : str
    command_line : tuple of str
    checks : int
        That were done.
    failed : tuple of str
        Those that failed, in words; none if the contract holds.
    time_utc : str
    """

    schema_version: int
    potential: str
    potential_digest: str
    lammps: str
    library: str
    library_sha256: str
    command_line: tuple[str, ...]
    checks: int
    failed: tuple[str, ...]
    time_utc: str


def require_contract(
    potential: Potential,
    engine: EngineSpec | None = None,
    *,
    allow_failed: bool = False,
    tell: Callable[[str], None] = lambda _said: None,
) -> None:
    """Refuse a LAMMPS in which a potential does not hold the contract; it is tried where that is not known.

    Parameters
    ----------
    potential : Potential
    engine : EngineSpec, optional
        By default the installed LAMMPS, or what the environment names.
    allow_failed : bool
        Go on all the same.
    tell : callable
        Is given a line where something was tried, or is allowed.

    Raises
    ------
    EngineError
        If it cannot be loaded, cannot do what a cascade asks for, or fails.
    """
    own = chosen(engine)
    place = _place(potential, own)
    record = _read(place)
    if record is None:
        with _alone(place):
            record = _read(place)  # somebody else may have tried meanwhile
            if record is None:
                began = time.monotonic()
                record = _record(potential, own, _apart(_try, potential, own))
                kept = _keep(place, record)
                verdict = "fails" if record.failed else "holds"
                tell(
                    f"LAMMPS {record.lammps}: {potential.name} {verdict} the contract, tried once per build "
                    f"({record.checks} checks, {time.monotonic() - began:.0f} s)"
                    + ("" if kept else f"; {place.parent} cannot be written, it will be tried again")
                )
    if not record.failed:
        return
    complaint = (
        f"potential {potential.name} fails {len(record.failed)} of {record.checks} checks in LAMMPS "
        f"{record.lammps}: {record.failed[0]}"
    )
    if not allow_failed:
        name = potential.name if potential.is_shipped else potential.folder
        raise EngineError(
            f"{complaint}; take another LAMMPS, try it again with `cascade potential check {name}`, or go on with "
            "--allow-failed-contract"
        )
    tell(f"note: {complaint}; allowed")


def record_contract(potential: Potential, results: Sequence[ContractResult]) -> None:
    """Keep what checks have found of a potential in the LAMMPS that is chosen, for `require_contract`."""
    own = chosen(None)
    _keep(_place(potential, own), _record(potential, own, results))


def require_lammps(potential: Potential, engine: EngineSpec | None = None) -> None:
    """Refuse a LAMMPS of one's own that cannot evaluate a potential; tried in a process of its own.

    Raises
    ------
    EngineError
        With what it cannot do.
    """
    own = chosen(engine)
    if not own.is_installed:
        _apart(_fly, potential, own)


def cache_folder() -> Path | None:
    """Return where this user keeps what can be made again, by the XDG specification; None without a home."""
    given = Path(os.environ.get("XDG_CACHE_HOME") or "relative")
    if not given.is_absolute():  # the specification has it ignored
        with contextlib.suppress(RuntimeError):
            given = Path("~").expanduser() / ".cache"
    return given / "cascade_driver" if given.is_absolute() else None


def _place(potential: Potential, engine: EngineSpec) -> Path:
    """Return the file of a potential in a build on machines like this one."""
    what = [potential.digest, file_sha256(library_of(engine)), *engine.command_line, _processor()]
    return (cache_folder() or Path(os.devnull)) / "contracts" / f"{digest(what, length=32)}.json"


def _processor() -> str:
    """Return what this processor can do: a build that another one runs may stop here at its first instruction."""
    with contextlib.suppress(OSError), Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
        for line in lines:
            if line.startswith(("flags", "Features")):
                return line
    return platform.machine()


def _read(place: Path) -> BuildRecord | None:
    """Return what is kept; nothing where it cannot be read."""
    with contextlib.suppress(InputError, OSError):
        found = build(BuildRecord, read_json(place), origin=str(place))
        return found if found.schema_version == _SCHEMA else None
    return None


def _keep(place: Path, record: BuildRecord) -> bool:
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(place, json.dumps(plain(record), indent=1) + "\n")
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _alone(place: Path) -> Iterator[None]:
    """Let others who try the same wait; where no file can be locked, all try."""
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):
            place.parent.mkdir(parents=True, exist_ok=True)
            lock = held.enter_context(place.with_suffix(".lock").open("a"))
            fcntl.flock(lock, fcntl.LOCK_EX)  # goes with the process, however it ends
        yield


def _apart(work: Callable[..., T], potential: Potential, engine: EngineSpec) -> T:
    try:
        return apart(work, potential, engine)
    except ProcessEndedError as error:
        raise EngineError(
            f"LAMMPS ({engine.name}) with potential {potential.name}: {error}; it was built for another machine "
            "or with another MPI, or fails with these arguments"
        ) from None


def _record(potential: Potential, engine: EngineSpec, results: Sequence[ContractResult]) -> BuildRecord:
    is_wheel = engine.lammps is None
    library = library_of(engine)
    return BuildRecord(
        schema_version=_SCHEMA,
        potential=potential.name,
        potential_digest=potential.digest,
        lammps=f"{engine.name} {importlib.metadata.version('lammps')}" if is_wheel else engine.name,
        library=str(library),
        library_sha256=file_sha256(library),
        command_line=engine.command_line,
        checks=len(results),
        failed=tuple(f"{r.name}, {r.subject}: {r.remedy}" for r in results if not r.passed),
        time_utc=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )


def _try(say: Callable[[Any], None], potential: Potential, engine: EngineSpec) -> list[ContractResult]:
    """Do the quick checks and return what they found."""
    _fly(say, potential, engine)
    make_engine = partial(LammpsEngine, potential=potential, lammps=engine)
    return check_potential(potential, make_engine=make_engine, checks=QUICK_CHECKS)


def _fly(say: Callable[[Any], None], potential: Potential, engine: EngineSpec) -> None:
    """Let all species of a potential fly for a few steps: whatever a cascade needs of LAMMPS is asked for."""
    del say
    lammps = LammpsEngine(potential=potential, lammps=engine)
    try:
        lammps.build(loose_crystal(potential))
        lammps.minimise(force_tolerance_eV_A=1.0, max_iterations=1)
        lammps.follow(
            pka=0,
            velocity_A_ps=np.array([1.0, 0.0, 0.0]),
            rules=FlightRules(duration_ps=0.005, max_displacement_A=0.01, max_timestep_ps=0.001),
        )
    except CascadeError:
        raise
    except Exception as error:  # LAMMPS raises plain Exception
        said = " ".join(str(error).split())
        raise EngineError(
            f"LAMMPS ({engine.name}, {lammps.version}) cannot do what a cascade asks for ({said}); "
            "releases from 2 August 2023 on can"
        ) from None
    finally:
        lammps.close()
