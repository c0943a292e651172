"""Running a plan: any number of workers on one run directory.

while there are tasks:
start ready and unclaimed ones in free slots   (box -> snapshots -> cascades)
wait for one to end, or a moment
reap: stored, failed (try again, then record the failure), or fatal (stop with its message)
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from cascade_driver.campaign.claims import Claim, Claims, Heartbeat
from cascade_driver.campaign.flown import flown_ps, forget_flight
from cascade_driver.campaign.index import Row, row_of
from cascade_driver.campaign.plan import BOX_TASK, Campaign, PlannedCascade, snapshot_task
from cascade_driver.campaign.rundir import PASSING_TROUBLE, RunDirectory, disk_error
from cascade_driver.campaign.slots import Ending, Slots
from cascade_driver.campaign.task import Task
from cascade_driver.errors import CascadeError, EngineError, RecordError
from cascade_driver.simulation.apart import interruptions_wait
from cascade_driver.simulation.cascade import Result
from cascade_driver.simulation.outcome import Outcome
from cascade_driver.simulation.provenance import provenance
from cascade_driver.simulation.record import Cost, Record
from cascade_driver.simulation.start import BOX_FILE, has_snapshot

_log = logging.getLogger(__name__)

#: Cascades that are tried at one look; others may be at work on all of them.
_MOST_TRIES = 256

#: Starting states are repaired so often for one task; then something else is wrong.
_MOST_REPAIRS = 3

#: Waits in s before what was disturbed by passing trouble of machine or file system is tried again, one after the
#: other; what goes well begins them anew.
_PATIENCE_s = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)

#: The longest wait between two looks at what ended here.
_LOOK_EVERY_s = 0.5

#: The wait between two looks at what others are at.
_LOOK_AT_OTHERS_EVERY_s = 1.0


@dataclass(kw_only=True)
class Progress:
    """What a worker sees; handed to the observer after every change.

    Attributes
    ----------
    total, done : int
        Cascades of the plan, and those finished by anyone.
    done_here : int
        Cascades that this worker finished.
    busy_s : float
        Process time that they took, wall clock.
    failures : int
        Those with an outcome other than `completed`.
    running : list of str
        Names of the tasks in progress here.
    flown_ps : dict
        How far flights are that have said so, in ps by task.
    """

    total: int
    done: int = 0
    done_here: int = 0
    busy_s: float = 0.0
    failures: int = 0
    running: list[str] = field(default_factory=list)
    flown_ps: dict[str, float] = field(default_factory=dict)


class Supervisor:
    """Works on a campaign in a run directory until nothing is left for it to do.

    Parameters
    ----------
    run : RunDirectory
        Prepared, with the campaign saved in it.
    campaign : Campaign
        The plan.
    slots : Slots
        Where tasks are done.
    attempts : int
        How often a cascade whose process crashed or hung is tried before that is recorded.
    observe : callable
        Called with the `Progress` about every half second.
    until_s : float, optional
        No new task is started so long after now.
    """

    def __init__(
        self,
        run: RunDirectory,
        campaign: Campaign,
        *,
        slots: Slots,
        attempts: int,
        observe: Callable[[Progress], None],
        until_s: float | None = None,
    ) -> None:
        self._run = run
        self._campaign = campaign
        self._slots = slots
        self._attempts = attempts
        self._observe = observe
        self._stop_at = None if until_s is None else time.monotonic() + until_s
        self._starts = run.starts(campaign)
        self._claims = Claims(run.claims)
        self._beat = Heartbeat()
        self._index = run.index
        self._jobs: dict[str, Claim] = {}
        self._failed_attempts: dict[str, int] = {}
        self._repairs: dict[str, int] = {}
        self._has_snapshot: set[int] = set()
        #: Cascades to start, by snapshot; those that others are at.
        self._waiting: dict[int, deque[PlannedCascade]] = {}
        self._elsewhere: deque[PlannedCascade] = deque()
        self._look_at_others_at = 0.0
        self._to_restore = run.starts_to_restore(campaign)
        self._disturbances = 0
        self._go_on_at = 0.0
        finished = run.finished()
        self.progress = Progress(total=0)
        for planned in campaign.cascades():
            self.progress.total += 1
            if planned.id in finished:
                self.progress.done += 1
            else:
                self._waiting.setdefault(planned.snapshot, deque()).append(planned)

    def work(self) -> Progress:
        """Work until the plan is done, or the time is up.

        Raises
        ------
        CascadeError
            If something that concerns the whole campaign is wrong (an unstable crystal, a full disk); tasks in
            progress are stopped, what is finished is kept.
        KeyboardInterrupt
            After stopping the tasks in progress.
        """
        _log.info("begun: %d of %d cascades are finished", self.progress.done, self.progress.total)
        try:
            with self._beat:
                try:
                    self._work()
                finally:
                    self._stop_all()
        except OSError as error:
            raise disk_error(self._run.path, error) from None
        _log.info("ended: %d cascades finished here, %d in all", self.progress.done_here, self.progress.done)
        return self.progress

    def _work(self) -> None:
        while True:
            try:
                with interruptions_wait():
                    self._fill_slots()
            except OSError as error:
                self._wait_out(error)
            self._report()
            if not self._jobs and (not self._is_anything_left() or self._is_time_up()):
                return
            for ending in self._slots.ended(_LOOK_EVERY_s):
                with interruptions_wait():
                    self._reap(ending)

    def _wait_out(self, error: OSError) -> None:
        """Start nothing for a while after passing trouble; raise what does not pass."""
        if error.errno not in PASSING_TROUBLE or self._disturbances == len(_PATIENCE_s):
            raise error
        _log.warning("waiting %g s: %s", _PATIENCE_s[self._disturbances], error)
        self._go_on_at = time.monotonic() + _PATIENCE_s[self._disturbances]
        self._disturbances += 1

    def _is_anything_left(self) -> bool:
        return bool(self._elsewhere or self._to_restore) or any(self._waiting.values())

    def _is_time_up(self) -> bool:
        return self._stop_at is not None and time.monotonic() > self._stop_at

    # -- starting ------------------------------------------------------------------------------------------

    def _fill_slots(self) -> None:
        if time.monotonic() < self._go_on_at:
            return
        while self._slots.free > 0 and self._is_anything_left() and not self._is_time_up():
            if not (self._start_prerequisite() or self._start_cascade()):
                return

    def _start_prerequisite(self) -> bool:
        """Start what cascades wait for: the box, then one snapshot after the other."""
        if not (self._starts / BOX_FILE).is_file():
            return self._start(Task(name=BOX_TASK))
        for index in sorted({*range(self._campaign.snapshots), *self._to_restore}):
            if index in self._has_snapshot or has_snapshot(self._starts, index):
                self._has_snapshot.add(index)
                self._to_restore.discard(index)
            elif index > 0 and not has_snapshot(self._starts, index - 1):
                return False
            else:
                return self._start(Task(name=snapshot_task(index), snapshot=index))
        return False

    def _start_cascade(self) -> bool:
        """Start the next cascade that is ready and that nobody else is at."""
        for _ in range(_MOST_TRIES):
            planned = self._next()
            if planned is None:
                return False
            task = Task(name=planned.id, snapshot=planned.snapshot, cascade=planned)
            try:
                is_started = not self._run.is_finished(planned.id) and self._start(task)
            except OSError:
                self._again(task)
                raise
            if is_started:
                return True
            if self._run.is_finished(planned.id):
                self.progress.done += 1
            else:
                self._elsewhere.append(planned)
        return False

    def _next(self) -> PlannedCascade | None:
        """Return a cascade whose snapshot is there, in the order of the plan; at times one that others are at."""
        for snapshot in sorted(self._waiting):
            if snapshot in self._has_snapshot and self._waiting[snapshot]:
                return self._waiting[snapshot].popleft()
        now = time.monotonic()
        if self._elsewhere and now > self._look_at_others_at:
            self._look_at_others_at = now + _LOOK_AT_OTHERS_EVERY_s
            # One round: each of them is either ours, finished, or back here.
            for planned in self._elsewhere:
                self._waiting.setdefault(planned.snapshot, deque()).append(planned)
            self._elsewhere.clear()
            return self._next()
        return None

    def _start(self, task: Task) -> bool:
        """Start a task, unless somebody is at it, or has done it in the meantime."""
        if task.name in self._jobs:
            return False
        claim = self._claims.take(f"{self._campaign.protocol.start_id}-{task.name}")
        if claim is None:
            return False
        if self._is_done(task):
            claim.release()
            return False
        self._jobs[task.name] = claim
        self._beat.add(claim)
        try:
            self._slots.start(task, self._run.logs / f"{task.name}.log")
        except OSError:
            self._beat.release(self._jobs.pop(task.name))
            raise
        _log.debug("%s: started", task.name)
        return True

    def _is_done(self, task: Task) -> bool:
        if task.cascade is not None:
            return self._run.is_finished(task.name)
        if task.snapshot is not None:
            return has_snapshot(self._starts, task.snapshot)
        return (self._starts / BOX_FILE).is_file()

    # -- ending --------------------------------------------------------------------------------------------

    def _reap(self, ending: Ending) -> None:
        task, kind = ending.task, ending.kind
        level = logging.DEBUG if kind == "done" else logging.WARNING
        _log.log(level, "%s: %s after %.1f s. %s", task.name, kind, ending.wall_s, ending.message)
        forget_flight(self._run.logs, task.name)
        try:
            if kind == "fatal":
                raise CascadeError(ending.message)
            if kind == "bug":
                raise RuntimeError(ending.message)
            if kind == "damaged":
                self._repair_starts(ending)
            elif kind == "disturbed":
                self._wait_for_calm(ending)
            elif kind != "done" and not self._is_done(task):
                self._after_failure(ending)
            # Whatever became of the process, what it stored before is done.
            if task.cascade is not None and self._is_done(task):
                self._count(ending)
            else:
                self._again(task)
        finally:
            if claim := self._jobs.pop(task.name, None):
                self._beat.release(claim)
        if kind == "done":
            self._disturbances = 0
            (self._run.logs / f"{task.name}.log").unlink(missing_ok=True)

    def _count(self, ending: Ending) -> None:
        row = ending.row or self._stored_row(ending.task)
        self.progress.done += 1
        self.progress.done_here += 1
        self.progress.busy_s += ending.wall_s
        self.progress.failures += row is None or row.outcome != Outcome.COMPLETED.key
        if row is not None:
            self._index.add(row)
            level = logging.INFO if row.outcome == Outcome.COMPLETED.key else logging.WARNING
            _log.log(level, "%s: %s after %.1f s", row.id, row.outcome, ending.wall_s)

    def _stored_row(self, task: Task) -> Row | None:
        """Return the row of a cascade whose task could not say it; None if its record cannot be read."""
        with suppress(OSError, RecordError):
            return row_of(self._run.record(task.name), self._run.cascades / task.name)
        return None

    def _wait_for_calm(self, ending: Ending) -> None:
        """Start nothing for a while after passing trouble of a task; raise what does not pass."""
        if self._disturbances == len(_PATIENCE_s):
            raise CascadeError(
                f"{ending.message}, again and again; what is finished is safe: run again when the machine "
                "and its file system are in order"
            )
        self._go_on_at = time.monotonic() + _PATIENCE_s[self._disturbances]
        self._disturbances += 1

    def _again(self, task: Task) -> None:
        if task.cascade is not None:
            self._waiting.setdefault(task.cascade.snapshot, deque()).appendleft(task.cascade)

    def _repair_starts(self, ending: Ending) -> None:
        """Set damaged starting states aside, to be made again before what met them is."""
        name = ending.task.name
        self._repairs[name] = self._repairs.get(name, 0) + 1
        if self._repairs[name] > _MOST_REPAIRS:
            raise RecordError(ending.message)
        self._run.set_damaged_starts_aside(self._campaign)
        self._to_restore = self._run.starts_to_restore(self._campaign)
        self._has_snapshot.clear()

    def _after_failure(self, ending: Ending) -> None:
        """When the attempts are used up, record the failure of a cascade, or stop for a start."""
        task = ending.task
        failed = self._failed_attempts[task.name] = self._failed_attempts.get(task.name, 0) + 1
        if failed < self._attempts:
            return
        log = self._run.logs / f"{task.name}.log"
        if task.cascade is None:
            raise EngineError(f"{task.name} could not be made in {failed} attempts: {ending.message}; see {log}")
        spec = self._campaign.spec(task.cascade)
        record = Record(
            id=spec.id,
            spec=spec,
            outcome=Outcome.TIMED_OUT if ending.kind == "timed_out" else Outcome.ENGINE_ERROR,
            message=ending.message,
            cost=Cost(attempts=failed, wall_s=round(ending.wall_s, 3)),
            provenance=provenance(),
        )
        self._run.store(Result(record=record, structure=None))

    def _stop_all(self) -> None:
        for task in self._slots.stop():
            _log.info("%s: stopped, free for others", task.name)
            forget_flight(self._run.logs, task.name)
            self._again(task)
        for claim in self._jobs.values():
            self._beat.release(claim)
        self._jobs.clear()
        self._index.close()
        self._run.sweep()

    def _report(self) -> None:
        self.progress.running = list(self._jobs)
        noted = {name: flown_ps(self._run.logs, name) for name in self._jobs}
        self.progress.flown_ps = {name: at_ps for name, at_ps in noted.items() if at_ps is not None}
        self._observe(self.progress)
