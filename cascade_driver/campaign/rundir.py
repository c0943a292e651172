"""The run directory: the file system is the truth.

    RUN/campaign.json             the plan, with everything worked out
    RUN/potentials/<digest>/      the potential, a copy: the run can be moved to another machine
    RUN/crystals/<digest>/        the structure file of its crystal, if it has one
    RUN/starts/<id>/              box and thermal starting states, shared by all cascades
    RUN/cascades/<id>/            one finished cascade: record.json, final.extxyz.gz, perhaps a trajectory
    RUN/claims/                   who is at work on what
    RUN/logs/                     what crashed workers said
    RUN/index/                    rows of the records, to be made again at any moment
    RUN/damaged/                  what was found damaged and made again
    RUN/superseded/               records of failures that were tried again

A cascade is finished when its folder exists: the folder is written under another name and renamed, complete or not
at all. Nothing here deletes or overwrites a finished cascade.
"""

from __future__ import annotations

import dataclasses
import errno
import glob
import itertools
import os
import shutil
import time
import typing
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cascade_driver.campaign.claims import Claims, Heartbeat, is_running
from cascade_driver.campaign.index import Index, Row, row_of
from cascade_driver.campaign.plan import Campaign, RecoilGroup
from cascade_driver.errors import CascadeError, InputError, PotentialError, RecordError
from cascade_driver.files import flush, this_place, write_atomically
from cascade_driver.schema import build, canonical_json, digest, file_sha256, plain, read_json
from cascade_driver.simulation.cascade import Result, write_structure
from cascade_driver.simulation.crystal import CrystalSpec, resolved
from cascade_driver.simulation.outcome import Outcome
from cascade_driver.simulation.potential import Potential, copy_potential, load_potential
from cascade_driver.simulation.record import Record, read_record, write_record
from cascade_driver.simulation.spec import Protocol
from cascade_driver.simulation.start import BOX_FILE, read_box, read_snapshot, read_stiffness
from cascade_driver.simulation.trajectory import TRAJECTORY_FILE

CAMPAIGN_FILE = "campaign.json"

#: What mends a damaged one.
_PLAN_AGAIN = (
    "move it away and give `cascade run` the input again: the same plan is made, and what is finished stays"
)
CAMPAIGN_SCHEMA = 1

#: Folder of the records of failures that were tried again.
SUPERSEDED = "superseded"

#: What a disk says that is full or closed to us.
DISK_TROUBLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO})

#: What passes: a server of files that restarts or does not answer, too many open files or processes just now.
PASSING_TROUBLE = frozenset(
    {errno.ESTALE, errno.ETIMEDOUT, errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM}
)

#: Half-written files of another machine are swept when they are this old; a cascade is stored within seconds.
_SWEEP_AFTER_s = 24 * 3600.0

#: Claims of drivers begin so; they are no tasks.
_DRIVER = ".driver-"

#: Looks, five a second, until somebody who plans is said to be in the way.
_PLANNING_PATIENCE = 150

_count = itertools.count()


class HasProtocol(typing.Protocol):
    """A plan of any kind, whose starting states, potential and crystal lie in its folder."""

    @property
    def protocol(self) -> Protocol:
        """What all of it shares."""


@dataclass(frozen=True)
class RunDirectory:
    """A run directory and where things are in it."""

    path: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))  # a name will do

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

    @property
    def index(self) -> Index:
        """The index of the records, opened anew."""
        return Index(self.path / "index", self.cascades)

    def starts(self, campaign: HasProtocol) -> Path:
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
        except OSError as error:
            raise InputError(
                f"{self.path}: cannot be written ({error.strerror}); choose another place with --out"
            ) from None
        self.probe(remedy="choose another place with --out")

    def probe(self, *, remedy: str) -> None:
        """Write a file and take it away again.

        Raises
        ------
        InputError
            If that cannot be done here; ends with `remedy`.
        """
        try:
            write_atomically(self.path / ".probe", "")
            (self.path / ".probe").unlink(missing_ok=True)
        except OSError as error:
            raise InputError(f"{self.path}: cannot be written ({error.strerror}); {remedy}") from None

    def save(self, campaign: Campaign) -> None:
        """Write the plan; what an earlier plan had finished stays."""
        content = {"schema_version": CAMPAIGN_SCHEMA, **plain(campaign)}
        text = canonical_json({**content, "checksum": digest(content, length=64)})
        write_atomically(self.path / CAMPAIGN_FILE, text + "\n")
        self.starts(campaign).mkdir(parents=True, exist_ok=True)

    def load(self) -> Campaign:
        """Return the plan.

        Raises
        ------
        InputError
            If this is no run directory, damaged, or of another schema.
        """
        path = self.path / CAMPAIGN_FILE
        if not path.is_file():
            raise InputError(
                f"{self.path}: no {CAMPAIGN_FILE} there; give the folder that `cascade run` made, or to `fit`, "
                "`correct` and `spectrum --model` that of `cascade import`"
            )
        content = read_json(path, remedy=_PLAN_AGAIN)
        # Plans of the first days carry none.
        checksum = content.pop("checksum", None)
        try:
            is_sound = checksum in (None, digest(content, length=64))
        except ValueError:  # a nan has none
            is_sound = False
        version = content.pop("schema_version", None)
        if version != CAMPAIGN_SCHEMA:
            raise InputError(
                f"{path}: schema version {version}, this program reads {CAMPAIGN_SCHEMA}; use the cascade_driver "
                "that planned it, or start a new run with --out"
            )
        if not is_sound:
            raise InputError(f"{path}: content differs from its checksum; {_PLAN_AGAIN}")
        campaign = build(Campaign, content, origin=str(path))
        return dataclasses.replace(campaign, protocol=self.with_own_crystal(campaign.protocol))

    def with_own_crystal(self, protocol: Protocol) -> Protocol:
        """Return a protocol whose structure file is the copy in the run, if there is one."""
        place = self._crystal_file(protocol.crystal)
        if place is None or not place.is_file():
            return protocol
        return dataclasses.replace(protocol, crystal=dataclasses.replace(protocol.crystal, file=str(place)))

    def plan(self) -> Campaign | None:
        """Return the plan as `load` does, or None if there is none yet."""
        return self.load() if (self.path / CAMPAIGN_FILE).is_file() else None

    def known_groups(self) -> dict[str, RecoilGroup]:
        """Return the recoil groups of the plan that is there, by their sampling; none without a plan."""
        plan = self.plan()
        return {} if plan is None else {group.sampling: group for group in plan.groups}

    @contextmanager
    def planning(self) -> Iterator[None]:
        """Be the only one who changes the plan.

        Raises
        ------
        InputError
            If somebody else is at it for long.
        """
        claims = Claims(self.claims)
        for _ in range(_PLANNING_PATIENCE):
            if (claim := claims.take(".planning")) is not None:
                break
            time.sleep(0.2)
        else:
            raise InputError(f"{self.path}: another driver is planning in it; wait, or choose another --out")
        try:
            yield
        finally:
            claim.release()

    @contextmanager
    def attended(self) -> Iterator[None]:
        """Show that a driver is at work here, so that nobody changes the plan under it."""
        claim = Claims(self.claims).take(f"{_DRIVER}{this_place()}-{os.getpid()}-{next(_count)}")
        with Heartbeat() as beat:
            if claim is None:
                raise RuntimeError("a claim with a number of our own is taken")
            beat.add(claim)
            try:
                yield
            finally:
                beat.release(claim)

    def drivers(self) -> int:
        """Return how many drivers are at work here."""
        claims = Claims(self.claims)
        return sum(claims.lives(path) for path in self.claims.glob(f"{_DRIVER}*.json"))

    def keep_crystal(self, campaign: HasProtocol) -> None:
        """Copy the structure file of a crystal into the run: a run that is moved takes it along.

        Raises
        ------
        InputError
            If it is not there any more, or altered.
        """
        place = self._crystal_file(campaign.protocol.crystal)
        if place is None or (place.is_file() and file_sha256(place) == campaign.protocol.crystal.file_sha256):
            return
        given = Path(str(resolved(campaign.protocol.crystal, Path()).file))
        place.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(place, given.read_bytes())

    def kept_crystal(self, name: str) -> Path | None:
        """Return the copy of a structure file of this name, if the run has one."""
        return next(iter(sorted((self.path / "crystals").glob(f"*/{glob.escape(Path(name).name)}"))), None)

    def _crystal_file(self, crystal: CrystalSpec) -> Path | None:
        if crystal.file is None:
            return None
        return self.path / "crystals" / str(crystal.file_sha256)[:16] / Path(crystal.file).name

    def keep(self, potential: Potential) -> Potential:
        """Copy a potential into the run, if it is not there or damaged, and return the copy."""
        return self._keep(potential, self.path / "potentials" / potential.digest)

    def _keep(self, potential: Potential, folder: Path) -> Potential:
        for part in potential.parts:
            self._keep(part, folder)
        place = folder / potential.name
        if place.exists():
            with suppress(InputError, PotentialError):
                if (kept := load_potential(place)).digest == potential.digest:
                    return kept
            self.set_aside(place)
        place.parent.mkdir(parents=True, exist_ok=True)
        partial = place.with_name(f".{place.name}-{this_place()}-{os.getpid()}-{next(_count)}")
        copy_potential(potential, partial)
        try:
            partial.rename(place)
        except OSError as error:
            if error.errno not in {errno.EEXIST, errno.ENOTEMPTY}:
                raise
            shutil.rmtree(partial, ignore_errors=True)
        return load_potential(place)

    def potential(self, campaign: Campaign) -> Potential:
        """Return the potential that the run keeps for a campaign.

        Raises
        ------
        InputError, PotentialError
            If it is not there any more, or another than the plan names.
        """
        return self.potential_of(campaign.protocol)

    def potential_of(self, protocol: Protocol) -> Potential:
        """Return the potential that the run keeps for a protocol, also an earlier one; see `potential`."""
        place = self.path / "potentials" / protocol.potential_digest / protocol.potential_name
        return load_potential(place, expected_digest=protocol.potential_digest)

    # -- cascades ------------------------------------------------------------------------------------------

    def finished(self) -> set[str]:
        """Return the ids of all finished cascades, of this plan or an earlier one."""
        try:
            with os.scandir(self.cascades) as entries:
                return {entry.name for entry in entries if not (entry.name.startswith(".") or entry.is_symlink())}
        except FileNotFoundError:
            return set()

    def is_finished(self, cascade: str) -> bool:
        """Return whether a cascade is finished."""
        place = self.cascades / cascade
        return place.is_dir() and not place.is_symlink()

    def partial(self, cascade: str) -> Path:
        """Return a new name for what becomes part of a cascade; it is swept if its process dies."""
        return self.cascades / f".{cascade}-{this_place()}-{os.getpid()}-{next(_count)}"

    def store(self, result: Result, *, trajectory: Path | None = None) -> Row:
        """Keep a finished cascade, complete or not at all; if another worker was faster, its result stays.

        Parameters
        ----------
        result : Result
            Record and final structure.
        trajectory : pathlib.Path, optional
            A file of the run directory to keep with them.

        Returns
        -------
        Row
            What the index should know.

        Raises
        ------
        OSError
            If the disk is full or cannot be written; nothing half-written is left.
        """
        record = result.record
        place = self.cascades / record.id
        partial = self.partial(record.id)
        shutil.rmtree(partial, ignore_errors=True)  # of a process with our number that lives no more
        try:
            partial.mkdir()
            if result.structure is not None:
                write_structure(result.structure, partial)
            if trajectory is not None:
                trajectory.rename(partial / TRAJECTORY_FILE)
            record = write_record(record, partial)
            _flush(partial)
            row = row_of(record, partial)
            if place.is_symlink():
                self.set_aside(place)
            try:
                partial.rename(place)
            except FileNotFoundError:
                # A file system of a network may do it, lose its answer, and not find it when it does it again.
                if not place.is_dir():
                    raise
            except OSError as error:
                if error.errno not in {errno.EEXIST, errno.ENOTEMPTY}:
                    raise
                return row_of(self.record(record.id), place)
            flush(self.cascades)
            return row
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def sweep(self) -> None:
        """Remove what workers that no longer live left: half-written files, and their claims."""
        claims = Claims(self.claims)
        for path in self.claims.glob("[!.]*.json"):
            if not claims.lives(path) and (mine := claims.take(path.stem)) is not None:
                mine.release()
        for partial in [*self.cascades.glob(".*-*-*-*"), *self.claims.glob(".*-*")]:
            with suppress(OSError):
                if not self._is_at_work(partial):
                    shutil.rmtree(partial) if partial.is_dir() else partial.unlink()

    def _is_at_work(self, partial: Path) -> bool:
        match partial.name.split("-"):
            case [_, place, pid, _] if place == this_place() and pid.isdigit():
                return is_running(int(pid))
        return time.time() - partial.stat().st_mtime < _SWEEP_AFTER_s

    def set_damaged_records_aside(self) -> dict[str, str]:
        """Move damaged records out of the way, so that their cascades run again; return what was wrong."""
        wrong = self.index.read()[1]
        for cascade in wrong:
            self.set_aside(self.cascades / cascade)
        return wrong

    def supersede(self, campaign: Campaign, outcomes: Collection[Outcome]) -> list[str]:
        """Move the records of a plan that ended in one of `outcomes` to RUN/superseded, so that they run again.

        Nothing is deleted. Returns their ids.

        Raises
        ------
        OSError
            If the run directory cannot be written.
        """
        keys = {outcome.key for outcome in outcomes}
        rows = self.index.read()[0]
        failed = [p.id for p in campaign.cascades() if p.id in rows and rows[p.id].outcome in keys]
        for cascade in failed:
            self.set_aside(self.cascades / cascade, where=SUPERSEDED)
        return failed

    def superseded(self) -> int:
        """Return how many records of failures were set aside to be tried again."""
        try:
            with os.scandir(self.path / SUPERSEDED) as entries:
                return sum(1 for _ in entries)
        except FileNotFoundError:
            return 0

    def set_aside(self, path: Path, *, where: str = "damaged") -> None:
        """Move something damaged to RUN/damaged, or to `where`; nothing is deleted."""
        aside = self.path / where
        aside.mkdir(exist_ok=True)
        with suppress(FileNotFoundError):  # another worker was faster
            path.rename(aside / f"{path.name}-{time.time_ns()}")

    def damaged_starts(self, campaign: Campaign) -> dict[Path, str]:
        """Return the damaged or missing files of the starting states of a campaign, with what is wrong."""
        folder = self.starts(campaign)
        wrong = {file: f"{file}: missing; `cascade run` makes it again" for file in self._missing_starts(campaign)}
        for file in sorted(folder.glob("[!.]*.npz")):
            try:
                if file.stem.isdigit():
                    read_snapshot(folder, int(file.stem))
                elif file.name == BOX_FILE:
                    read_box(folder)
                else:
                    read_stiffness(folder)
            except (RecordError, KeyError, TypeError, ValueError) as error:
                if file.exists():
                    wrong[file] = str(error)
        return wrong

    def _missing_starts(self, campaign: Campaign) -> list[Path]:
        """Return the files of the starting states that are not there though cascades were started from them."""
        started_from = self._finished_by_snapshot(campaign)
        if not started_from:
            return []
        folder = self.starts(campaign)
        files = [folder / BOX_FILE, *(folder / f"{index:03d}.npz" for index in range(max(started_from) + 1))]
        return [file for file in files if not file.is_file()]

    def _finished_by_snapshot(self, campaign: Campaign) -> dict[int, list[str]]:
        """Return the finished cascades of a campaign, in its order, by the snapshot that they started from."""
        finished = self.finished()
        started_from: dict[int, list[str]] = {}
        for planned in campaign.cascades():
            if planned.id in finished:
                started_from.setdefault(planned.snapshot, []).append(planned.id)
        return started_from

    def set_damaged_starts_aside(self, campaign: Campaign) -> dict[Path, str]:
        """Move damaged starting states out of the way, so that they are made again; return what was wrong."""
        wrong = self.damaged_starts(campaign)
        self._remember_checksums(campaign, wrong)
        for file in wrong:
            if not file.stem.isdigit() and file.name != BOX_FILE:
                # What belongs to the box is made with it.
                self.set_aside(file.with_name(BOX_FILE))
            # First the file whose presence says that the snapshot is there.
            self.set_aside(file)
            if file.stem.isdigit():
                self.set_aside(file.with_suffix(".data"))
        return wrong

    def note_missing_starts(self, campaign: Campaign) -> list[str]:
        """Let starting states be made again that were removed; return what is missing."""
        missing = self._missing_starts(campaign)
        self._remember_checksums(campaign, missing)
        return [f"{file}: missing, is made again" for file in missing]

    def _remember_checksums(self, campaign: Campaign, starts: Collection[Path]) -> None:
        """Keep the SHA-256 that snapshots among these files had: they are made again to the same bits."""
        snapshots = [file for file in starts if file.stem.isdigit()]
        started_from = self._finished_by_snapshot(campaign) if snapshots else {}
        for file in snapshots:
            index = int(file.stem)
            if checksum := self._checksum_before(file, started_from.get(index, ())):
                file.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(expected_checksum(file.parent, index), checksum + "\n")

    def starts_to_restore(self, campaign: Campaign) -> set[int]:
        """Return the snapshots that were set aside and are not there again, with those that they need."""
        folder = self.starts(campaign)
        lost = [int(file.stem) for file in folder.glob("[0-9]*.sha256") if not file.with_suffix(".npz").exists()]
        if not lost and BOX_FILE in {file.name for file in self._missing_starts(campaign)}:
            lost = [0]  # it is there, and what it needs is made first
        return set(range(max(lost) + 1)) if lost else set()

    def _checksum_before(self, snapshot: Path, cascades: Iterable[str]) -> str:
        """Return the SHA-256 that a damaged snapshot had: as it says itself, or one of the cascades from it."""
        with suppress(Exception), np.load(snapshot, allow_pickle=False) as data:
            return str(data["state_sha256"])
        for cascade in cascades:
            with suppress(RecordError):
                if physics := self.record(cascade).physics:
                    return physics.start_sha256
        return ""

    def record(self, cascade: str) -> Record:
        """Return the record of a finished cascade.

        Raises
        ------
        RecordError
            If it is missing or damaged.
        """
        return read_record(self.cascades / cascade)


def expected_checksum(starts: Path, index: int) -> Path:
    """Return the file that holds the SHA-256 that a snapshot had before it was damaged."""
    return starts / f"{index:03d}.sha256"


def disk_error(path: Path, error: OSError) -> CascadeError:
    """Return what to say when a run directory cannot be written any more.

    Raises
    ------
    OSError
        `error` itself, if it is of another kind.
    """
    if error.errno in PASSING_TROUBLE:
        return CascadeError(
            f"{path}: {error.strerror}, again and again; what is finished is safe: run again when the machine and "
            "its file system are in order"
        )
    if error.errno not in DISK_TROUBLE:
        raise error
    return CascadeError(
        f"{path}: cannot be written ({error.strerror}); what is finished is safe: make room and run again"
    )


def _flush(folder: Path) -> None:
    """Bring the files of a folder to the disk before its renaming makes them count."""
    for file in folder.iterdir():
        flush(file)
