"""What is known of a potential in a crystal and in a LAMMPS: files that remember the contract, bound to digests.

Beside a potential one remembers what the installed LAMMPS made of it, beside a library of one's own another what
that one made of all potentials.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from cascade_driver.errors import CascadeError, EngineError, InputError
from cascade_driver.files import write_atomically
from cascade_driver.schema import canonical_json, file_sha256, read_json
from cascade_driver.simulation.apart import ProcessEndedError, apart
from cascade_driver.simulation.crystal import CrystalSpec, constituents
from cascade_driver.simulation.engine import FlightRules
from cascade_driver.simulation.lammps_build import ENVIRONMENT, EngineSpec, chosen, library_of
from cascade_driver.simulation.lammps_engine import LammpsEngine
from cascade_driver.simulation.potential import Potential
from cascade_driver.validation.contract import CRYSTAL_CHECKS, ContractResult, loose_crystal

#: In the folder of the potential, and no part of it.
CHECKED_FILE = "checked.json"


def remember(
    potential: Potential,
    results: Sequence[ContractResult],
    crystals: Mapping[str, CrystalSpec],
    engine: EngineSpec | None = None,
) -> None:
    """Remember in which crystals a potential holds the contract.

    Of shipped ones in the installed LAMMPS the tests know it.

    Raises
    ------
    OSError
        If the place cannot be written.
    """
    vacuum = [r.passed for r in results if r.name not in CRYSTAL_CHECKS]
    holds = {
        _key(spec): all(vacuum)
        and all(any(r.passed for r in results if (r.name, r.subject) == (c, name)) for c in CRYSTAL_CHECKS)
        for name, spec in crystals.items()
    }
    own = chosen(engine)
    content: dict[str, Any]
    if own.is_installed:
        if potential.is_shipped:
            return
        place = potential.folder / CHECKED_FILE
        content = {"digest": potential.digest, "crystals": _known(potential, own) | holds}
    else:
        place = _beside(own)
        content = _of_library(own)
        content["checks"][_case(potential, own)] = _known(potential, own) | holds
    write_atomically(place, canonical_json(content) + "\n")


def place_of_memory(potential: Potential, engine: EngineSpec | None = None) -> Path:
    """Return the folder in which `remember` writes."""
    own = chosen(engine)
    return potential.folder if own.is_installed else _beside(own).parent


def doubt(potential: Potential, crystal: CrystalSpec, engine: EngineSpec | None = None) -> str:
    """Return what has to be said of a potential in a resolved crystal; nothing if it holds the contract there.

    Of shipped potentials in the installed LAMMPS the tests of this project know it: they hold it in the crystals
    that they name.
    """
    own = chosen(engine)
    if own.is_installed and potential.is_shipped and crystal.name in potential.about.crystals:
        return ""
    known = _known(potential, own)
    parts = [CrystalSpec(name=n, minimum_atoms=1) for n in constituents(crystal)] if crystal.name else [crystal]
    if all(known.get(_key(part)) for part in parts):
        return ""
    word = crystal.name or str(crystal.file)
    where = f"in {word}" if own.is_installed else f"in {word} by LAMMPS {own.name}"
    if any(known.get(_key(part)) is False for part in parts):
        return f"potential {potential.name} failed its checks {where}; see `cascade potential check`"
    before = "" if own.is_installed else f"{ENVIRONMENT}={shlex.quote(own.name)} "
    return (
        f"potential {potential.name} was never checked {where}: `{before}cascade potential check "
        f"{potential.name if potential.is_shipped else potential.folder} --crystal {word}`"
    )


def require_lammps(potential: Potential, engine: EngineSpec | None = None) -> None:
    """Refuse a LAMMPS of one's own that cannot evaluate a potential; tried in a process of its own.

    Raises
    ------
    EngineError
        With what it cannot do.
    """
    own = chosen(engine)
    if own.is_installed:
        return
    try:
        apart(_try, potential, own)
    except ProcessEndedError as error:
        raise EngineError(
            f"LAMMPS ({own.name}) with potential {potential.name}: {error}; it was built for another machine or "
            "with another MPI, or fails with these arguments"
        ) from None


def _try(say: Callable[[Any], None], potential: Potential, engine: EngineSpec) -> None:
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


def _known(potential: Potential, engine: EngineSpec) -> dict[str, bool]:
    """Return what was found of this very potential before, by this very LAMMPS."""
    if not engine.is_installed:
        found = _of_library(engine)["checks"].get(_case(potential, engine))
    else:
        found = None
        with suppress(InputError):
            content = read_json(potential.folder / CHECKED_FILE)
            found = content.get("crystals") if content.get("digest") == potential.digest else None
    return {str(key): value is True for key, value in found.items()} if isinstance(found, dict) else {}


def _of_library(engine: EngineSpec) -> dict[str, Any]:
    """Return what the file beside a library says of it; nothing if the library is another by now."""
    sha256 = file_sha256(library_of(engine))
    with suppress(InputError):
        content = read_json(_beside(engine))
        if content.get("sha256") == sha256 and isinstance(content.get("checks"), dict):
            return {"sha256": sha256, "checks": content["checks"]}
    return {"sha256": sha256, "checks": {}}


def _beside(engine: EngineSpec) -> Path:
    library = library_of(engine)
    return library.with_name(f"{library.name}.{CHECKED_FILE}")


def _case(potential: Potential, engine: EngineSpec) -> str:
    return " ".join([potential.digest, *engine.command_line])


def _key(crystal: CrystalSpec) -> str:
    return crystal.name or f"sha256:{crystal.file_sha256}"
