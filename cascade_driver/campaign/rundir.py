"""The run directory: the file system is the truth.

    RUN/campaign.json             the plan, with everything worked out
    RUN/starts/<id>/              box and thermal starting states, shared by all cascades
    RUN/cascades/<id>/            one finished cascade: record.json and final.extxyz.gz
    RUN/claims/                   who is at work on what
    RUN/logs/                     what crashed workers said

A cascade is finished when its folder exists: the folder is written under another name and renamed, complete or not
at all. Nothing here deletes a finished cascade.
"""

from __future__ import annotations

import errno
import os
import shutil
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cascade_driver.campaign.plan import Campaign, RecoilGroup
from cascade_driver.errors import InputError, RecordError
from cascade_driver.schema import build, canonical_json, plain, read_json
from cascade_driver.simulation.cascade import Result, write_structure
from cascade_driver.simulation.record import CascadeTable, Record, read_record, write_record

CAMPAIGN_FILE = "campaign.json"
CAMPAIGN_SCHEMA = 1


@dataclass(frozen=True)
class RunDirectory:
    """A run directory and where things are in it."""

    path: Path

    @property
    def cascades(self) -> Path:
        """Folder of finished cascades."""
        return self.path / "cascades"

    @property
    def claims(self) -> Path:
        """Folder of claims."""
        return self.path / "claims"

    @property
    def logs(self) -> Path:
        """Folder of logs."""
        return self.path / "logs"

    def starts(self, campaign: Campaign) -> Path:
        """Folder of the starting states of a campaign."""
        return self.path / "starts" / campaign.protocol.start_id

    # -- the plan ------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Make the folders.

        Raises
        ------
        InputError
            If that cannot be done here.
        """
        try:
            for folder in (self.cascades, self.claims, self.logs, self.path / "starts"):
                folder.mkdir(parents=True, exist_ok=True)
            probe = self.path / f".probe-{os.getpid()}"
            probe.write_text("")
            probe.unlink()
        except OSError as error:
            raise InputError(
                f"{self.path}: cannot be written ({error.strerror}); choose another place with --out"
            ) from None

    def save(self, campaign: Campaign) -> None:
        """Write the plan; what an earlier plan had finished stays."""
        text = canonical_json({"schema_version": CAMPAIGN_SCHEMA, **plain(campaign)})
        write_atomically(self.path / CAMPAIGN_FILE, text + "\n")
        self.starts(campaign).mkdir(parents=True, exist_ok=True)

    def load(self) -> Campaign:
        """Return the plan.

        Raises
        ------
        InputError
            If this is no run directory, or of another schema.
        """
        path = self.path / CAMPAIGN_FILE
        if not path.is_file():
            raise InputError(f"{self.path}: no {CAMPAIGN_FILE} there; give the folder that `cascade run` made")
        content = read_json(path)
        version = content.pop("schema_version", None)
        if version != CAMPAIGN_SCHEMA:
            raise InputError(f"{path}: schema version {version}, this program reads {CAMPAIGN_SCHEMA}")
        return build(Campaign, content, origin=str(path))

    def known_groups(self) -> dict[str, RecoilGroup]:
        """Return the recoil groups of the plan that is there, by their sampling; none without a plan."""
        if not (self.path / CAMPAIGN_FILE).is_file():
            return {}
        return {group.sampling: group for group in self.load().groups}

    # -- cascades ------------------------------------------------------------------------------------------

    def finished(self) -> set[str]:
        """Return the ids of all finished cascades, of this plan or an earlier one."""
        try:
            with os.scandir(self.cascades) as entries:
                return {entry.name for entry in entries if not entry.name.startswith(".")}
        except FileNotFoundError:
            return set()

    def is_finished(self, cascade: str) -> bool:
        """Return whether a cascade is finished."""
        return (self.cascades / cascade).is_dir()

    def store(self, result: Result) -> None:
        """Keep a finished cascade, complete or not at all; if another worker was faster, its result stays.

        Raises
        ------
        OSError
            If the disk is full or cannot be written; nothing half-written is left.
        """
        record = result.record
        partial = self.cascades / f".{record.id}-{socket.gethostname()}-{os.getpid()}"
        try:
            partial.mkdir()
            write_record(record, partial)
            if result.structure is not None:
                write_structure(result.structure, partial)
            _flush(partial)
            partial.rename(self.cascades / record.id)
        except OSError as error:
            shutil.rmtree(partial, ignore_errors=True)
            if error.errno not in {errno.EEXIST, errno.ENOTEMPTY}:
                raise

    def sweep(self) -> None:
        """Remove what workers of this host that no longer live left half-written."""
        host = socket.gethostname()
        for partial in self.cascades.glob(f".*-{host}-*"):
            pid = partial.name.rsplit("-", 1)[1]
            if pid.isdigit() and not Path(f"/proc/{pid}").exists():
                shutil.rmtree(partial, ignore_errors=True)

    def set_damaged_aside(self) -> dict[str, str]:
        """Move damaged records out of the way, so that their cascades run again; return what was wrong."""
        wrong = self.damaged(self.finished())
        for cascade in wrong:
            aside = self.path / "damaged"
            aside.mkdir(exist_ok=True)
            (self.cascades / cascade).rename(aside / f"{cascade}-{time.time_ns()}")
        return wrong

    def record(self, cascade: str) -> Record:
        """Return the record of a finished cascade.

        Raises
        ------
        RecordError
            If it is missing or damaged.
        """
        return read_record(self.cascades / cascade)

    def table(self, campaign: Campaign) -> CascadeTable:
        """Return one row per finished cascade of the plan.

        Raises
        ------
        RecordError
            If a record is damaged.
        """
        finished = self.finished()
        rows = [(p, self.record(p.id)) for p in campaign.cascades() if p.id in finished]
        return CascadeTable(
            id=np.array([p.id for p, _ in rows], dtype=np.str_),
            species=np.array([p.knock_on.species for p, _ in rows], dtype=np.str_),
            recoil_energy_eV=np.array([p.knock_on.recoil_energy_eV for p, _ in rows], dtype=np.float64),
            direction=np.array([p.knock_on.direction for p, _ in rows], dtype=np.float64).reshape(-1, 3),
            direction_weight=np.array([p.direction_weight for p, _ in rows], dtype=np.float64),
            snapshot=np.array([p.snapshot for p, _ in rows], dtype=np.int64),
            outcome=np.array([r.outcome.key for _, r in rows], dtype=np.str_),
            stored_energy_eV=np.array([r.stored_energy_eV for _, r in rows], dtype=np.float64),
            potential_status=campaign.potential_status,
        )

    def damaged(self, cascades: Iterable[str]) -> dict[str, str]:
        """Return those of the finished `cascades` whose record is damaged, with what is wrong."""
        wrong = {}
        for cascade in cascades:
            try:
                self.record(cascade)
            except RecordError as error:
                wrong[cascade] = str(error)
        return wrong


def write_atomically(path: Path, text: str) -> None:
    """Write a text file under another name and rename it: readers see the old or the new one, never half."""
    partial = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        with partial.open("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _flush(folder: Path) -> None:
    """Bring the files of a folder to the disk before its renaming makes them count."""
    for file in folder.iterdir():
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
