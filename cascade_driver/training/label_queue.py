"""A queue of structures that wait for their labels, shared by any number of workers through its folder.

    QUEUE/settings.json               what labels are made with
    QUEUE/structures/<place>-<id>.extxyz   what was asked for, in the order of the names
    QUEUE/labels/<id>.extxyz          what is known
    QUEUE/failed/<id>/                reason and output of what failed
    QUEUE/orbitals/<hash>.wfn         where the next structure of a trajectory starts from
    QUEUE/claims/ work/               who is at what

A structure is never labelled twice, a label is never overwritten, and a worker that dies loses the one structure
it was at.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from ase import Atoms
from pydantic import Field

from cascade_driver.campaign.tasks import do_tasks
from cascade_driver.errors import InputError
from cascade_driver.files import whole_file, write_atomically
from cascade_driver.schema import digest, plain, read_json
from cascade_driver.training.extended_xyz import read_frames, read_structures
from cascade_driver.training.frames import (
    LabelledFrame,
    flaw,
    require_structures,
    structure_id,
    write_frames,
    write_structures,
)
from cascade_driver.training.labelling import (
    ORBITALS,
    AseSettings,
    Cp2kSettings,
    LabelError,
    build_settings,
    label,
    require_allowed,
    require_cp2k,
)

#: What is asked for without more is in the middle of the queue.
USUAL_PRIORITY = 5


@dataclass(frozen=True, kw_only=True)
class QueueStatus:
    """How far a queue is.

    Attributes
    ----------
    asked, labelled, failed : int
        Structures.
    hours : float
        Of all labels that were made here, by the clock.
    """

    asked: int
    labelled: int
    failed: int
    hours: float

    @property
    def waiting(self) -> int:
        """Structures without an answer."""
        return self.asked - self.labelled - self.failed


class LabelQueue:
    """The queue in a folder.

    Parameters
    ----------
    folder : Path
        Of an existing queue, see `create`.

    Raises
    ------
    InputError
        If there is no queue.
    """

    def __init__(self, folder: Path) -> None:
        # CP2K works in its own folder, from which a relative one would be another place.
        self.folder = folder.resolve()
        content = folder / "settings.json"
        if not content.is_file():
            raise InputError(
                f"{folder}: no queue of labels; make one with `cascade train propose --queue {folder}`"
            )
        self.settings: Cp2kSettings | AseSettings = build_settings(read_json(content), origin=str(content))

    @classmethod
    def create(cls, folder: Path, settings: Cp2kSettings | AseSettings) -> LabelQueue:
        """Return the queue of a folder, made if there is none.

        Raises
        ------
        InputError
            If the folder holds a queue with other settings: labels of two kinds must not be mixed.
        """
        for room in ("structures", "labels", "failed", "orbitals", "claims", "work"):
            try:
                (folder / room).mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise InputError(f"{folder}: cannot be written ({error.strerror}); choose another place") from None
        content = folder / "settings.json"
        if not content.exists():
            write_atomically(content, json.dumps(plain(settings), indent=1) + "\n")
        queue = cls(folder)
        if queue.settings != settings:
            raise InputError(f"{folder}: its labels are made with other settings; choose another folder for these")
        return queue

    def add(
        self, structures: Sequence[Atoms], *, priority: Annotated[int, Field(ge=0, le=9)] = USUAL_PRIORITY
    ) -> int:
        """Ask for labels; what was asked for before is left alone. Return the number of new structures.

        Parameters
        ----------
        structures : sequence of Atoms
            `info` may hold `group`, `trajectory`, `origin` and `k_mesh`; the name of a trajectory is what its
            frames share, and its frames are labelled one after the other.
        priority : int
            From 0, which comes first, to 9.

        Raises
        ------
        InputError
            If a structure cannot be computed; then none is asked for.
        """
        require_structures(structures)
        known = {path.stem.rpartition("-")[2] for path in self._asked()}
        number = len(known)
        before = number
        for atoms in structures:
            name = structure_id(atoms)
            if name in known:
                continue
            known.add(name)
            path = self.folder / "structures" / f"{priority}-{number:06d}-{name}.extxyz"
            write_structures(path, [atoms])
            number += 1
        return number - before

    def _asked(self) -> list[Path]:
        return sorted((self.folder / "structures").glob("[0-9]*.extxyz"))

    def waiting(self) -> Iterator[str]:
        """Yield the ids of what has neither label nor failure, the most urgent first."""
        names = (path.stem.rpartition("-")[2] for path in self._asked())
        return (name for name in names if not self.is_done(name))

    def is_done(self, name: str) -> bool:
        """Return whether a structure has its answer, be it a failure."""
        return self._label(name).exists() or (self.folder / "failed" / name).exists()

    def _label(self, name: str) -> Path:
        return self.folder / "labels" / f"{name}.extxyz"

    def labelled(self) -> list[LabelledFrame]:
        """Return all labelled frames, in the order they were asked for.

        Who asked without naming a trajectory asked for a structure of its own.
        """
        names = [path.stem.rpartition("-")[2] for path in self._asked()]
        labels = [self._label(name) for name in names if self._label(name).exists()]
        frames = [frame for path in labels for frame in read_frames(path)]
        return [dataclasses.replace(f, trajectory=f.trajectory or f.structure_id) for f in frames]

    def failures(self) -> dict[str, str]:
        """Return the reason of each failure; to have one tried again, remove its folder in `failed`."""
        return {
            path.parent.name: str(read_json(path)["reason"])
            for path in sorted((self.folder / "failed").glob("*/reason.json"))
        }

    def status(self) -> QueueStatus:
        """Return how far the queue is."""
        times = [read_json(path)["seconds"] for path in (self.folder / "labels").glob("[!.]*.json")]
        return QueueStatus(
            asked=len(self._asked()),
            labelled=sum(1 for _ in (self.folder / "labels").glob("[!.]*.extxyz")),
            failed=sum(1 for _ in (self.folder / "failed").iterdir()),
            hours=sum(times) / 3600,
        )

    def work(
        self,
        *,
        until_s: float | None = None,
        most: Annotated[int, Field(ge=1)] | None = None,
        observe: Callable[[str], None] = print,
        allowed: Collection[str] = (),
    ) -> int:
        """Label what waits, one structure at a time, until nothing waits that no other worker is at.

        Parameters
        ----------
        until_s : float, optional
            Begin none later than this from now.
        most : int, optional
            Label no more than this.
        observe : callable
            Is given a line about each structure.
        allowed : collection of str
            Calculators beside `CALCULATORS` that the settings may name: they run whatever they are.

        Returns
        -------
        int
            Number of labels made here.

        Raises
        ------
        InputError
            If the program is missing, or the calculator is not allowed.
        """
        require_allowed(self.settings, allowed)
        if isinstance(self.settings, Cp2kSettings):
            require_cp2k()
        begun, work = time.monotonic(), _Work(queue=self, observe=observe)

        def go_on() -> bool:
            late = until_s is not None and time.monotonic() - begun >= until_s
            return not late and (most is None or work.made < most)

        do_tasks(work, go_on=go_on)
        return work.made

    def answer(self, name: str, observe: Callable[[str], None]) -> bool:
        """Label one structure and keep the answer, be it a failure; return whether there is a label."""
        path = next((self.folder / "structures").glob(f"[0-9]*-{name}.extxyz"))
        try:
            (atoms,) = read_structures(path)
        except (InputError, ValueError) as error:
            raise InputError(f"{path}: damaged ({error}); remove it and propose it again") from None
        work, begun = self.folder / "work" / name, time.monotonic()
        trajectory = str(atoms.info.get("trajectory", "")) or name
        # Only of the same trajectory: from orbitals of another arrangement CP2K took 28 iterations, from atoms 20.
        orbitals = self.folder / "orbitals" / f"{digest([trajectory, atoms.get_chemical_symbols()])}.wfn"
        where = f"{atoms.info.get('group', '')} {name} ({len(atoms)} atoms)".strip()
        start = orbitals if orbitals.exists() else None
        try:
            try:
                frame = _sound(label(atoms, self.settings, folder=work, orbitals=start))
            except LabelError:
                if start is None:
                    raise
                frame = _sound(label(atoms, self.settings, folder=work))  # a bad start must not cost a label
        except LabelError as error:
            observe(f"{where}: failed: {error}")
            self._keep_failure(name, str(error), work)
            return False
        seconds = time.monotonic() - begun
        write_atomically(
            self.folder / "labels" / f"{name}.json", json.dumps({"seconds": round(seconds, 1)}) + "\n"
        )
        write_frames(self._label(name), [frame])
        if (work / ORBITALS).exists():
            with whole_file(orbitals) as partial:
                shutil.copyfile(work / ORBITALS, partial)
        shutil.rmtree(work, ignore_errors=True)
        observe(f"{where}: {frame.energy_eV:.4f} eV, {seconds:.0f} s")
        return True

    def _keep_failure(self, name: str, reason: str, work: Path) -> None:
        for heavy in (*work.glob("*.wfn*"), *work.glob("*.kp*")):
            heavy.unlink()
        write_atomically(work / "reason.json", json.dumps({"reason": reason}) + "\n")
        target = self.folder / "failed" / name
        shutil.rmtree(target, ignore_errors=True)
        work.rename(target)


@dataclass(kw_only=True)
class _Work:
    """What waits in a queue as tasks, and how many labels were made here."""

    queue: LabelQueue
    observe: Callable[[str], None]
    made: int = 0

    @property
    def folder(self) -> Path:
        return self.queue.folder

    def waiting(self) -> Iterator[str]:
        return self.queue.waiting()

    def is_done(self, name: str) -> bool:
        return self.queue.is_done(name)

    def do(self, name: str) -> None:
        self.made += self.queue.answer(name, self.observe)


def _sound(frame: LabelledFrame) -> LabelledFrame:
    """Return a frame that may be a label.

    Raises
    ------
    LabelError
        If it is none; the reason is kept with the failure.
    """
    if reason := flaw(frame):
        raise LabelError(f"no label: {reason}")
    return frame
