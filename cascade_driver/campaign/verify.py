"""Verification: every record and every starting state is read and hashed again, whatever the index says."""

from __future__ import annotations

import gzip
import json
import zlib
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cascade_driver.campaign.plan import Campaign
from cascade_driver.campaign.rundir import RunDirectory
from cascade_driver.errors import CascadeError, InputError, PotentialError, SchemaError
from cascade_driver.files import text_of, write_atomically
from cascade_driver.schema import file_sha256
from cascade_driver.simulation.cascade import STRUCTURE_FILE
from cascade_driver.simulation.record import read_record
from cascade_driver.simulation.trajectory import TRAJECTORY_FILE

#: What a verification found, for the next run to repair.
_FINDINGS = "damaged.json"


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What a verification found.

    Attributes
    ----------
    cascades, starts : int
        How many were looked at.
    without_checksum : int
        Cascades whose record has no checksum of the final structure: whether it is theirs cannot be told.
    makers : dict
        How many of the cascades were made by which code and which engine.
    damaged_cascades, damaged_starts : dict
        What is damaged (ids; files, that of the potential among them), and how.
    """

    cascades: int
    starts: int
    without_checksum: int
    makers: dict[str, int]
    damaged_cascades: dict[str, str]
    damaged_starts: dict[str, str]

    @property
    def is_sound(self) -> bool:
        """Whether nothing is damaged."""
        return not (self.damaged_cascades or self.damaged_starts)


def verify(run: RunDirectory, *, observe: Callable[[int, int], None] = lambda _done, _total: None) -> Verification:
    """Read and hash everything in a run directory, and note what is damaged for the next `cascade run`.

    A record must match its checksum, its specification must hash to the name of its folder, and final structure
    and trajectory must have the checksums that the record names; if it names none, as in the first days, they must
    unpack to those that they carry. Starting states must be there. They, the plan and the potential that the run
    keeps must match theirs.

    Parameters
    ----------
    run : RunDirectory
    observe : callable
        Called with how many cascades are done, and how many there are.

    Raises
    ------
    InputError
        If this is no run directory, or its plan is damaged.
    SchemaError
        If another version of the program wrote one of the records.
    """
    campaign = run.load()
    names = run.finished()
    finished = sorted(names)
    damaged = {name: said for name, said in run.index.read()[1].items() if name not in names}
    without = 0
    makers: Counter[str] = Counter()
    for number, name in enumerate(finished):
        observe(number, len(finished))
        said, is_covered = _look_at(run.cascades / name, makers)
        without += not is_covered
        if said:
            damaged[name] = said
    wrong = run.damaged_starts(campaign)
    found = Verification(
        cascades=len(finished),
        starts=sum(1 for _ in run.starts(campaign).glob("[!.]*.npz")),
        without_checksum=without,
        makers=dict(makers.most_common()),
        damaged_cascades=damaged,
        damaged_starts={str(path): said for path, said in wrong.items()} | _potential_complaint(run, campaign),
    )
    with suppress(OSError):  # somebody who may only look
        findings = run.path / _FINDINGS
        if found.is_sound:
            findings.unlink(missing_ok=True)
        else:
            write_atomically(findings, json.dumps(sorted(damaged), indent=1) + "\n")
    return found


def _potential_complaint(run: RunDirectory, campaign: Campaign) -> dict[str, str]:
    try:
        kept = run.potential(campaign)
    except (InputError, PotentialError) as error:
        return {"potential": f"{error}; `cascade run` copies it again"}
    if kept.digest == campaign.protocol.potential_digest:
        return {}
    return {"potential": f"{kept.folder}: is not the potential of the plan; `cascade run` copies it again"}


def complaint(folder: Path) -> str:
    """Return what is wrong with a finished cascade; empty if nothing is.

    Raises
    ------
    SchemaError
        If another version of the program wrote it.
    """
    return _look_at(folder, Counter())[0]


def _look_at(folder: Path, makers: Counter[str]) -> tuple[str, bool]:
    """Return what is wrong with a finished cascade, and whether its record has a checksum of its structure.

    Who made it is counted in `makers`.
    """
    if folder.is_symlink():
        return f"{folder}: is a link that leads out of the run; `cascade run` makes it again", True
    try:
        record = read_record(folder)
        if record.spec.id != record.id:
            return f"{folder}: the specification does not hash to the name; `cascade run` repairs it", True
    except FileNotFoundError:
        return "", True  # set aside just now
    except SchemaError:
        raise
    except CascadeError as error:
        return str(error), True
    makers[record.provenance.maker] += 1
    structure = folder / STRUCTURE_FILE
    if not structure.exists():
        lost = record.physics is not None
        return (f"{structure}: missing; `cascade run` repairs it" if lost else ""), True
    # A trajectory may be removed by who needs the room.
    packed = [structure, *(file for file in [folder / TRAJECTORY_FILE] if file.exists())]
    said = next((said for file in packed if (said := _file_complaint(file, record.files.get(file.name)))), "")
    return said, STRUCTURE_FILE in record.files


def _file_complaint(file: Path, checksum: str | None) -> str:
    if checksum is None:
        return _unpacking_complaint(file)
    try:
        same = not file.is_symlink() and file_sha256(file) == checksum
    except OSError as error:
        return f"{file}: damaged ({error}); `cascade run` repairs it"
    return "" if same else f"{file}: is not the file that the record names; `cascade run` repairs it"


def _unpacking_complaint(file: Path) -> str:
    if not file.is_file():
        return f"{file}: no file; `cascade run` repairs it"
    try:
        with gzip.open(file) as stream:
            while stream.read(1 << 20):
                pass
    except (OSError, EOFError, zlib.error) as error:
        return f"{file}: damaged ({error}); `cascade run` repairs it"
    return ""


def set_damaged_aside(run: RunDirectory, campaign: Campaign) -> list[str]:
    """Move what is damaged out of the way, so that it is made again; return one line for each.

    Seen are records that changed since they were last read, and whatever the last `verify` found.

    Raises
    ------
    OSError
        If the run directory cannot be written.
    """
    messages = [*run.set_damaged_records_aside().values(), *run.note_missing_starts(campaign)]
    findings = run.path / _FINDINGS
    try:
        names = json.loads(text_of(findings, what="a list of what is damaged"))
    except (InputError, ValueError, RecursionError):
        return messages
    for name in names:
        if said := complaint(run.cascades / str(name)):
            run.set_aside(run.cascades / str(name))
            messages.append(said)
    messages += run.set_damaged_starts_aside(campaign).values()
    findings.unlink(missing_ok=True)
    return messages
