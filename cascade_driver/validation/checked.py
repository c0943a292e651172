"""What is known of a potential in a crystal: a file beside it that remembers the contract, bound to its digest."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress

from cascade_driver.errors import InputError
from cascade_driver.schema import read_json
from cascade_driver.simulation.crystal import CrystalSpec, constituents
from cascade_driver.simulation.potential import Potential
from cascade_driver.validation.contract import CRYSTAL_CHECKS, ContractResult

#: In the folder of the potential, and no part of it.
CHECKED_FILE = "checked.json"


def remembered(
    potential: Potential, results: Sequence[ContractResult], crystals: Mapping[str, CrystalSpec]
) -> str:
    """Return the new text of `CHECKED_FILE`: in which crystals a potential holds the contract."""
    vacuum = [r.passed for r in results if r.name not in CRYSTAL_CHECKS]
    holds = {
        _key(spec): all(vacuum)
        and all(any(r.passed for r in results if (r.name, r.subject) == (c, name)) for c in CRYSTAL_CHECKS)
        for name, spec in crystals.items()
    }
    content = {"digest": potential.digest, "crystals": _known(potential) | holds}
    return json.dumps(content, indent=1) + "\n"


def doubt(potential: Potential, crystal: CrystalSpec) -> str:
    """Return what has to be said of a potential in a resolved crystal; nothing if it holds the contract there.

    Of shipped potentials the tests of this project know it: they hold it in the crystals that they name.
    """
    if potential.is_shipped and crystal.name in potential.about.crystals:
        return ""
    known = _known(potential)
    parts = [CrystalSpec(name=n, minimum_atoms=1) for n in constituents(crystal)] if crystal.name else [crystal]
    if all(known.get(_key(part)) for part in parts):
        return ""
    word = crystal.name or str(crystal.file)
    if any(known.get(_key(part)) is False for part in parts):
        return f"potential {potential.name} failed its checks in {word}; see `cascade potential check`"
    return (
        f"potential {potential.name} was never checked in {word}: `cascade potential check "
        f"{potential.name if potential.is_shipped else potential.folder} --crystal {word}`"
    )


def _known(potential: Potential) -> dict[str, bool]:
    """Return what was found of this very potential before."""
    with suppress(InputError):
        content = read_json(potential.folder / CHECKED_FILE)
        if content.get("digest") == potential.digest and isinstance(found := content.get("crystals"), dict):
            return {str(key): value is True for key, value in found.items()}
    return {}


def _key(crystal: CrystalSpec) -> str:
    return crystal.name or f"sha256:{crystal.file_sha256}"
