"""What one cascade leaves behind: the outcome, the record, and the table that the analysis reads.

This module is the only meeting point of simulation and analysis.
"""

from __future__ import annotations

import enum
import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cascade_driver.errors import InputError, RecordError, SchemaError
from cascade_driver.files import text_of
from cascade_driver.schema import digest, file_sha256
from cascade_driver.version import version

if TYPE_CHECKING:
    from pandas import DataFrame

#: Version of the layout of `record.json`; a reader refuses what it does not know.
RECORD_SCHEMA = 1

RECORD_FILE = "record.json"

#: Below this magnitude a stored energy is the noise of the minimiser, not a defect: cascades without a defect
#: come back to the reference within 1e-8 eV, real defects store eV.
STORED_ENERGY_FLOOR_eV = 1e-3


class Outcome(enum.Enum):
    """How a cascade ended; the values are the messages that people read."""

    COMPLETED = "completed"
    NEGATIVE_STORED_ENERGY = "stored energy below zero: the potential has found a spurious minimum"
    ENERGY_DRIFT = "total energy drifted beyond the tolerance"
    BOX_TOO_SMALL = "the recoil met the border of its box"
    LOST_ATOMS = "atoms were lost"
    NON_FINITE_ENERGY = "an energy was not a finite number"
    NOT_QUENCHED = "the quench did not reach its force tolerance"
    ENGINE_ERROR = "the engine stopped with an error"
    TIMED_OUT = "the time limit was reached"

    @property
    def key(self) -> str:
        """The short name that tables and JSON use, e.g. `completed`, `energy_drift`."""
        return self.name.lower()

    @classmethod
    def from_key(cls, key: str) -> Outcome:
        """Return the outcome named by `key`.

        Raises
        ------
        KeyError
            If there is no such outcome.
        """
        return cls[key.upper()]

    @property
    def is_usable(self) -> bool:
        """Whether the stored energy of such a cascade means what it says."""
        return self is Outcome.COMPLETED


@dataclass(frozen=True, kw_only=True, repr=False)
class Record:
    """All that is kept of one cascade besides its final structure; the content of `record.json`.

    Attributes
    ----------
    id : str
        Hash of the specification, and name of the cascade's folder.
    spec : dict
        The specification, complete.
    outcome : Outcome
        How it ended.
    message : str
        What the engine said, if it said something.
    physics : dict
        What was found: the same on every run of the same specification with the same build, to the bit.
    cost : dict
        CPU and wall time in s, memory in MiB: different on every run.
    provenance : dict
        Software, versions, machine, time.
    files : dict
        SHA-256 of the files that lie beside the record, by name; records of the first days have none.
    """

    id: str
    spec: dict[str, Any]
    outcome: Outcome
    message: str = ""
    physics: dict[str, Any] = field(default_factory=dict)
    cost: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Return one line: which recoil, how it ended, what it stored."""
        kick = self.spec.get("knock_on", {})
        return (
            f"<Record {self.id}: {kick.get('species')} of {kick.get('recoil_energy_eV', math.nan):g} eV, "
            f"{self.outcome.key}, {self.stored_energy_eV:.4g} eV stored>"
        )

    @property
    def stored_energy_eV(self) -> float:
        """Stored energy, nan where the outcome left none."""
        value = self.physics.get("stored_energy_eV")
        return math.nan if value is None else float(value)

    def as_json(self) -> dict[str, Any]:
        """Return the content of `record.json`, with a checksum over all of it."""
        content = {
            "schema_version": RECORD_SCHEMA,
            "id": self.id,
            "spec": self.spec,
            "outcome": self.outcome.key,
            "message": self.message,
            "physics": self.physics,
            "cost": self.cost,
            "provenance": self.provenance,
            **({"files": self.files} if self.files else {}),
        }
        return {**content, "checksum": digest(content, length=64)}


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
        return Record(**{**content, "outcome": Outcome.from_key(content["outcome"])})
    except (TypeError, KeyError) as error:
        raise _of_another_version(path, f"unknown content ({error})", content) from None


def _of_another_version(path: Path, found: str, content: dict[str, Any]) -> SchemaError:
    provenance = content.get("provenance")
    writer = provenance.get("cascade_driver") if isinstance(provenance, dict) else None
    return SchemaError(
        f"{path}: {found}, this program ({version()}) reads schema version {RECORD_SCHEMA}; it stays as it is: "
        f"use cascade_driver {writer or 'of the version that wrote it'}, or start a new run with --out"
    )


@dataclass(frozen=True, kw_only=True, repr=False)
class CascadeTable:
    """One row per planned and finished cascade: all that the analysis needs of a campaign.

    Attributes
    ----------
    id : (n,) str
        Identifier of the cascade.
    species : (n,) str
        Chemical symbol of the primary knock-on atom.
    recoil_energy_eV : (n,) float
        Kinetic energy given to it.
    direction : (n, 3) float
        Unit vector of the kick in the crystal frame.
    direction_weight : (n,) float
        Share of the solid angle that the cascade stands for: that of its direction, divided among the finished
        cascades along it. Sums to 1 over one species and energy of a plan that is finished.
    snapshot : (n,) int
        Index of the thermal starting state.
    outcome : (n,) str
        `Outcome.key` of each.
    stored_energy_eV : (n,) float
        Stored energy; nan where the outcome left none.
    potential_status : str
        `qualitative` or `quantitative`, as the potential declares itself.
    """

    id: NDArray[np.str_]
    species: NDArray[np.str_]
    recoil_energy_eV: NDArray[np.float64]
    direction: NDArray[np.float64]
    direction_weight: NDArray[np.float64]
    snapshot: NDArray[np.int64]
    outcome: NDArray[np.str_]
    stored_energy_eV: NDArray[np.float64]
    potential_status: str = "qualitative"

    def __post_init__(self) -> None:
        n = len(self.id)
        for name in (
            "species",
            "recoil_energy_eV",
            "direction",
            "direction_weight",
            "snapshot",
            "outcome",
            "stored_energy_eV",
        ):
            if len(getattr(self, name)) != n:
                raise ValueError(f"{name} has {len(getattr(self, name))} rows, id has {n}")

    def __len__(self) -> int:
        return len(self.id)

    def select(self, mask: NDArray[np.bool_]) -> CascadeTable:
        """Return the rows where `mask` is true."""
        return CascadeTable(
            id=self.id[mask],
            species=self.species[mask],
            recoil_energy_eV=self.recoil_energy_eV[mask],
            direction=self.direction[mask],
            direction_weight=self.direction_weight[mask],
            snapshot=self.snapshot[mask],
            outcome=self.outcome[mask],
            stored_energy_eV=self.stored_energy_eV[mask],
            potential_status=self.potential_status,
        )

    def __repr__(self) -> str:
        """Return one line: how many cascades of what."""
        recoils = sorted(set(zip(map(str, self.species), self.recoil_energy_eV.tolist(), strict=True)))
        said = ", ".join(f"{species} {energy:g} eV" for species, energy in recoils)
        return f"<CascadeTable: {len(self)} cascades ({said}), {int(self.stores_energy.sum())} store energy>"

    def to_pandas(self) -> DataFrame:
        """Return it as a `pandas.DataFrame`, its index the ids, the direction in three columns.

        Raises
        ------
        InputError
            If pandas is not installed.
        """
        try:
            from pandas import DataFrame
        except ImportError:
            raise InputError("pandas is not installed; install it with: pip install pandas") from None
        columns = {
            "species": self.species,
            "recoil_energy_eV": self.recoil_energy_eV,
            **{f"direction_{axis}": self.direction[:, i] for i, axis in enumerate("xyz")},
            "direction_weight": self.direction_weight,
            "snapshot": self.snapshot,
            "outcome": self.outcome,
            "stored_energy_eV": self.stored_energy_eV,
        }
        return DataFrame(columns, index=self.id).rename_axis("id")

    @property
    def is_usable(self) -> NDArray[np.bool_]:
        """(n,) whether the stored energy of a row means what it says."""
        usable = {o.key for o in Outcome if o.is_usable}
        return np.array([o in usable for o in self.outcome], dtype=bool)

    @property
    def stores_energy(self) -> NDArray[np.bool_]:
        """(n,) whether a row stored energy above `STORED_ENERGY_FLOOR_eV`."""
        return np.nan_to_num(self.stored_energy_eV, nan=0.0) > STORED_ENERGY_FLOOR_eV

    def outcome_counts(self) -> dict[str, int]:
        """Return how many cascades ended in each way, most frequent first."""
        return dict(Counter(str(o) for o in self.outcome).most_common())


def outcome_of_stored_energy(stored_energy_eV: float) -> Outcome:
    """Return the outcome that a stored energy alone implies."""
    if not math.isfinite(stored_energy_eV):
        return Outcome.NON_FINITE_ENERGY
    if stored_energy_eV < -STORED_ENERGY_FLOOR_eV:
        return Outcome.NEGATIVE_STORED_ENERGY
    return Outcome.COMPLETED


def concatenate(tables: Sequence[CascadeTable]) -> CascadeTable:
    """Return the rows of several tables as one; its status is the weakest among them."""
    statuses = {t.potential_status for t in tables}
    return CascadeTable(
        id=np.concatenate([t.id for t in tables]),
        species=np.concatenate([t.species for t in tables]),
        recoil_energy_eV=np.concatenate([t.recoil_energy_eV for t in tables]),
        direction=np.concatenate([t.direction for t in tables]),
        direction_weight=np.concatenate([t.direction_weight for t in tables]),
        snapshot=np.concatenate([t.snapshot for t in tables]),
        outcome=np.concatenate([t.outcome for t in tables]),
        stored_energy_eV=np.concatenate([t.stored_energy_eV for t in tables]),
        potential_status="quantitative" if statuses == {"quantitative"} else "qualitative",
    )
