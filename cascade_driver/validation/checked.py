"""What is known of a potential in a crystal and in a LAMMPS: files that remember the contract, bound to digests.

Beside a potential one remembers what the installed LAMMPS made of it, beside a library of one's own another what
that one made of all potentials.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from cascade_driver.errors import InputError
from cascade_driver.files import write_atomically
from cascade_driver.schema import canonical_json, file_sha256, read_json
from cascade_driver.simulation.crystal import CrystalSpec, constituents
from cascade_driver.simulation.lammps_build import ENVIRONMENT, EngineSpec, chosen, library_of
from cascade_driver.simulation.potential import Potential
from cascade_driver.validation.contract import CRYSTAL_CHECKS, ContractResult

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
    crystals_known = _known(potential, own) | holds
    if not own.is_installed:
        memory = _of_library(own)
        memory.checks[_case(potential, own)] = crystals_known
        write_atomically(_beside(own), canonical_json(asdict(memory)) + "\n")
    elif not potential.is_shipped:
        content = {"digest": potential.digest, "crystals": crystals_known}
        write_atomically(potential.folder / CHECKED_FILE, canonical_json(content) + "\n")


def place_of_memory(potential: Potential) -> Path:
    """Return the folder in which `remember` writes what is found in the LAMMPS that is chosen."""
    own = chosen(None)
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


@dataclass(kw_only=True)
class _Memory:
    """What the file beside a library says of it.

    Attributes
    ----------
    sha256 : str
        Of the library.
    checks : dict
        By potential and arguments, in which crystals the contract holds.
    """

    sha256: str
    checks: dict[str, dict[str, bool]] = field(default_factory=dict)


def _known(potential: Potential, engine: EngineSpec) -> dict[str, bool]:
    """Return what was found of this very potential before, by this very LAMMPS."""
    if not engine.is_installed:
        return _of_library(engine).checks.get(_case(potential, engine), {})
    with suppress(InputError):
        content = read_json(potential.folder / CHECKED_FILE)
        if content.get("digest") == potential.digest:
            return _verdicts(content.get("crystals"))
    return {}


def _of_library(engine: EngineSpec) -> _Memory:
    """Return what the file beside a library says of it; nothing if the library is another by now."""
    memory = _Memory(sha256=file_sha256(library_of(engine)))
    with suppress(InputError):
        content = read_json(_beside(engine))
        if content.get("sha256") == memory.sha256 and isinstance(content.get("checks"), dict):
            memory.checks = {case: _verdicts(found) for case, found in content["checks"].items()}
    return memory


def _verdicts(found: object) -> dict[str, bool]:
    """Return by crystal whether the contract holds, as a file says it."""
    return {str(key): value is True for key, value in found.items()} if isinstance(found, dict) else {}


def _beside(engine: EngineSpec) -> Path:
    library = library_of(engine)
    return library.with_name(f"{library.name}.{CHECKED_FILE}")


def _case(potential: Potential, engine: EngineSpec) -> str:
    return " ".join([potential.digest, *engine.command_line])


def _key(crystal: CrystalSpec) -> str:
    return crystal.name or f"sha256:{crystal.file_sha256}"
