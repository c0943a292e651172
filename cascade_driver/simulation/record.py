"""What one cascade leaves behind beside its final structure: the content of `record.json`, as types.

On the disk it is what `Record.as_json` says; what is None is left out, so that records of every version since the
first are read, checked and written again to the same bytes.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import field, fields, is_dataclass, replace
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from pydantic import BeforeValidator, JsonValue, PlainSerializer, WithJsonSchema

from cascade_driver.errors import InputError, RecordError, SchemaError
from cascade_driver.files import text_of
from cascade_driver.schema import build, digest, file_sha256, findings, plain
from cascade_driver.simulation.film_box import StoredIn
from cascade_driver.simulation.outcome import Outcome
from cascade_driver.simulation.provenance import Provenance
from cascade_driver.simulation.spec import CascadeSpec
from cascade_driver.version import version

#: Version of the layout of `record.json`; a reader refuses what it does not know.
RECORD_SCHEMA = 1

RECORD_FILE = "record.json"

#: Counts by chemical symbol.
Counts = dict[str, int]

#: Sizes of things, largest first.
Sizes = tuple[int, ...]


@findings
class Defects:
    """Defects of the final structure against the quenched start; see `simulation.defects`.

    Attributes
    ----------
    vacancies : dict
        Sites without an atom, by species of the site.
    interstitials : dict
        Atoms that share a site, by their species.
    antisites : dict
        Lone atoms at a site of another species, by their species.
    clusters : tuple of int
        Number of vacancies and interstitials in each cluster, largest first.
    adatoms, interface_atoms : dict, optional
        Of a film: atoms without a site of their own on its surface and at its interface, no interstitials.
    """

    vacancies: Counts
    interstitials: Counts
    antisites: Counts
    clusters: Sizes
    adatoms: Counts | None = None
    interface_atoms: Counts | None = None


@findings
class Track:
    """Where the knock-on went: points spread evenly over its path.

    Attributes
    ----------
    time_ps : (n,) float
        Since the kick.
    position_A : (n, 3) float
        Unwrapped, in the frame of the box.
    kinetic_energy_eV : (n,) float
        Of the knock-on.
    """

    time_ps: tuple[float, ...]
    position_A: tuple[tuple[float, float, float], ...]
    kinetic_energy_eV: tuple[float, ...]

    def __repr__(self) -> str:
        """Return one line instead of all points."""
        return f"<Track: {len(self.time_ps)} points>"


@findings
class KnockOnPath:
    """What became of the knock-on.

    Attributes
    ----------
    index : int
        Its row in the final structure, from 0.
    species : str
        Its chemical symbol.
    end_displacement_A : float
        From its site to where the quench left it.
    largest_displacement_A : float
        Largest distance from its start, of all steps.
    path_length_A : float
        Length of its way.
    track : Track
        Its way.
    """

    index: int
    species: str
    end_displacement_A: float
    largest_displacement_A: float
    path_length_A: float
    track: Track


@findings
class RecordedKick:
    """A later kick as it happened.

    Attributes
    ----------
    time_fs : float
        After the first kick.
    kinetic_energy_before_eV, kinetic_energy_after_eV : float
        Of the knock-on.
    velocity_before_A_ps : (3,) float
        Of the knock-on.
    """

    time_fs: float
    kinetic_energy_before_eV: float
    kinetic_energy_after_eV: float
    velocity_before_A_ps: tuple[float, float, float]


@findings
class EarlierQuench:
    """What a copy of the box stored when it was quenched before the end.

    Attributes
    ----------
    time_ps : float
        Since the kick.
    stored_energy_eV : float
        As if the cascade had been followed until then.
    largest_force_eV_A : float
        Largest component of a force on a free atom after this quench.
    """

    time_ps: float
    stored_energy_eV: float
    largest_force_eV_A: float


@findings
class Physics:
    """What was found: the same on every run of the same specification with the same build, to the bit.

    Attributes
    ----------
    stored_energy_eV : float
        E_s, quenched energy minus reference energy.
    stored_energy_follow_eV : float, optional
        Of a potential that is two: E_s of the one that moves the atoms, in its own minima. How far the two differ
        is how far E_s depends on the potential that weighs the defects.
    reference_energy_eV, quenched_energy_eV : float
        Potential energy of the box, quenched before and after the cascade.
    largest_force_eV_A : float
        Largest component of a force on a free atom after the quench.
    start_sha256 : str
        Checksum of the thermal starting state.
    given_energy_eV : float
        Kinetic energy of the knock-on right after the kick.
    recoil_energy_total_eV : float, optional
        What all kicks brought, where there were several.
    later_kicks : tuple of RecordedKick, optional
        All kicks but the first.
    energy_drift_eV : float
        Change of the total energy while the cascade was followed, what the border and electrons took out added
        back.
    electronic_loss_eV : float, optional
        What electrons took, where the protocol lets them.
    temperature_start_K, temperature_end_K, temperature_rise_K : float
        Kinetic temperature of the mobile atoms just before the kick and at the end, and their difference.
    least_distance_A : float
        Smallest distance between any two atoms at any time.
    followed_ps : float
        Time from the kick to the quench.
    steps : int
        Time steps until then.
    defects : Defects
    displaced_atoms : dict
        Atoms that ended away from their start, by species.
    pka : KnockOnPath
    earlier_quenches : tuple of EarlierQuench, optional
        In the order of time, where the protocol asks for them.
    stored_in : StoredIn, optional
        Where a film keeps the stored energy; None where the potential shares it among atoms in no way.
    """

    stored_energy_eV: float
    stored_energy_follow_eV: float | None = None
    reference_energy_eV: float
    quenched_energy_eV: float
    largest_force_eV_A: float
    start_sha256: str
    given_energy_eV: float
    recoil_energy_total_eV: float | None = None
    later_kicks: tuple[RecordedKick, ...] | None = None
    energy_drift_eV: float
    electronic_loss_eV: float | None = None
    temperature_start_K: float
    temperature_end_K: float
    temperature_rise_K: float
    least_distance_A: float
    followed_ps: float
    steps: int
    defects: Defects
    displaced_atoms: Counts
    pka: KnockOnPath
    earlier_quenches: tuple[EarlierQuench, ...] | None = None
    stored_in: StoredIn | None = None


@findings
class Cost:
    """What a cascade cost: different on every run; None where it ended before that was known.

    Attributes
    ----------
    cpu_s, wall_s : float, optional
        CPU and wall time.
    peak_memory_MiB : float, optional
        Of its process.
    attempts : int, optional
        How many there were, of a cascade that was given up.
    """

    attempts: int | None = None
    cpu_s: float | None = None
    wall_s: float | None = None
    peak_memory_MiB: float | None = None


def _outcome_of(key: object) -> Outcome:
    try:
        return key if isinstance(key, Outcome) else Outcome.from_key(str(key))
    except KeyError:
        raise ValueError("expected the name of an outcome") from None


@findings
class Record:
    """All that is kept of one cascade besides its final structure; the content of `record.json`.

    Attributes
    ----------
    id : str
        Hash of the specification, and name of the cascade's folder.
    spec : CascadeSpec
        The specification, complete.
    outcome : Outcome
        How it ended.
    message : str
        What the engine said, if it said something.
    physics : Physics, optional
        What was found; None where the outcome left nothing.
    cost : Cost
        Time and memory.
    provenance : Provenance
        Software, versions, machine, time.
    files : dict
        SHA-256 of the files that lie beside the record, by name; records of the first days have none.
    """

    id: str
    spec: CascadeSpec
    outcome: Annotated[
        Outcome,
        BeforeValidator(_outcome_of),
        PlainSerializer(lambda outcome: outcome.key),
        WithJsonSchema({"enum": [outcome.key for outcome in Outcome]}),
    ]
    message: str = ""
    # An empty object on the disk.
    physics: Annotated[Physics | None, BeforeValidator(lambda content: content or None)] = None
    cost: Cost = Cost()
    provenance: Provenance
    files: dict[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Return one line: which recoil, how it ended, what it stored."""
        kick = self.spec.knock_on
        return (
            f"<Record {self.id}: {kick.species} of {kick.recoil_energy_eV:g} eV, "
            f"{self.outcome.key}, {self.stored_energy_eV:.4g} eV stored>"
        )

    @property
    def stored_energy_eV(self) -> float:
        """Stored energy, nan where the outcome left none."""
        return math.nan if self.physics is None else self.physics.stored_energy_eV

    def as_json(self) -> dict[str, JsonValue]:
        """Return the content of `record.json`, with a checksum over all of it."""
        content = plain(self)
        names = [f.name for f in fields(self) if f.name != "files" or self.files]
        whole = {"schema_version": RECORD_SCHEMA} | {name: content.get(name, {}) for name in names}
        return {**whole, "checksum": digest(whole, length=64)}


# -- numbers ------------------------------------------------------------------------------------------------

#: A number of a record; None where the outcome left none.
Number = float | int | None

#: Groups of fields whose names say by themselves what they are; others stand before the names of their columns.
_PLAIN_GROUPS = {"physics", "cost", "defects"}


def _numbers_of(kind: Any, group: str, way: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield name and way of all that is a number, a count by species or a list of sizes in a group of fields."""
    for name, hint in get_type_hints(kind).items():
        of = next((kind for kind in get_args(hint) if get_origin(hint) is UnionType), hint)
        if is_dataclass(of):
            yield from _numbers_of(of, name, (*way, name))
        elif of in {float, int, Counts, Sizes}:
            yield name if group in _PLAIN_GROUPS else f"{group}_{name}", (*way, name)


_WAYS = dict([*_numbers_of(Physics, "physics", ("physics",)), *_numbers_of(Cost, "cost", ("cost",))])

#: Names of all numbers of a record, units in them: the columns of index and tables.
NUMBERS = tuple(_WAYS)


def numbers(record: Record) -> tuple[Number, ...]:
    """Return the numbers of a record, in the order of `NUMBERS`: counts summed over species, clusters counted."""
    return tuple(_number(functools.reduce(_inner, way, record)) for way in _WAYS.values())


def _inner(outer: object, name: str) -> Any:
    return None if outer is None else getattr(outer, name)


def _number(value: Any) -> Number:
    if isinstance(value, dict):
        return sum(value.values())
    return len(value) if isinstance(value, tuple) else value


# -- on the disk --------------------------------------------------------------------------------------------


def write_record(record: Record, folder: Path) -> Record:
    """Write `record.json` into `folder`, which only we know yet; return it with checksums of what is there."""
    beside = sorted(file for file in folder.iterdir() if file.name != RECORD_FILE and file.is_file())
    record = replace(record, files={file.name: file_sha256(file) for file in beside})
    text = json.dumps(record.as_json(), indent=1, allow_nan=False)
    (folder / RECORD_FILE).write_text(text + "\n", encoding="utf-8")
    return record


def read_record(folder: Path) -> Record:
    """Return the record of a cascade's folder, its checksum verified.

    Raises
    ------
    RecordError
        If it is missing, damaged, or not the record of this folder.
    SchemaError
        If another version of the program wrote it; nothing may repair it then.
    """
    path = folder / RECORD_FILE
    if not path.is_file():  # nor a pipe, which might never end
        raise RecordError(f"{path}: missing; run the campaign again")
    try:
        content = json.loads(text_of(path, what="a record"))
        version = content.pop("schema_version")
        checksum = content.pop("checksum", "")
        found = digest({"schema_version": RECORD_SCHEMA, **content}, length=64)  # of nan there is none
    except (InputError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RecordError(f"{path}: damaged ({error}); `cascade run` repairs it") from None
    if found != checksum:
        # Another version may hash in another way; if ours fits but for the version, the version is what was hit.
        if version != RECORD_SCHEMA:
            raise _of_another_version(path, f"schema version {version}", content)
        raise RecordError(f"{path}: content differs from its checksum; `cascade run` repairs it")
    if version != RECORD_SCHEMA:
        raise RecordError(f"{path}: schema version is damaged, found {version}; `cascade run` repairs it")
    if content["id"] != folder.name:
        raise RecordError(f"{path}: is the record of {content['id']}; `cascade run` repairs it")
    try:
        return build(Record, content, origin="unknown content")
    except InputError as error:
        raise _of_another_version(path, str(error), content) from None


def _of_another_version(path: Path, found: str, content: Mapping[str, Any]) -> SchemaError:
    provenance = content.get("provenance")
    writer = provenance.get("cascade_driver") if isinstance(provenance, dict) else None
    return SchemaError(
        f"{path}: {found}, this program ({version()}) reads schema version {RECORD_SCHEMA}; it stays as it is: "
        f"use cascade_driver {writer or 'of the version that wrote it'}, or start a new run with --out"
    )
