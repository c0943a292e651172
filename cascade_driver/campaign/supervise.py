"""Running a plan: one supervised process per task, any number of workers on one run directory.

    while there are tasks:
        start ready and unclaimed ones in free slots   (box -> snapshots -> cascades)
        wait for a process to end, or a moment
        reap: stored, failed (try again, then record the failure), or fatal (stop with its message)
        touch the claims

An engine that aborts, hangs or crashes costs one attempt of one cascade. The parent never imports the engine: a
fork server does, once, and each task forks from it.
"""

from __future__ import annotations

import ctypes
import errno
import multiprocessing
import os
import signal
import socket
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from cascade_driver.campaign.claims import Claim, HEARTBEAT_s, claim
from cascade_driver.campaign.plan import Campaign, PlannedCascade
from cascade_driver.campaign.rundir import RunDirectory
from cascade_driver.errors import CascadeError, EngineError
from cascade_driver.schema import plain
from cascade_driver.simulation.cascade import Result
from cascade_driver.simulation.provenance import provenance
from cascade_driver.simulation.record import Outcome, Record
from cascade_driver.simulation.start import has_snapshot

#: Modules that the fork server imports before it forks: what costs 0.6 s is paid once.
_PRELOAD = ["cascade_driver.campaign.task"]

#: A task gets this much longer than its time limit to stop of itself before it is killed.
_GRACE_s = 60.0

#: Cascades that are tried at one look; others may be at work on all of them.
_MOST_TRIES = 64

#: The longest wait between two looks at the run directory.
_LOOK_EVERY_s = 0.5


@dataclass(frozen=True, kw_only=True)
class Task:
    """One thing for one process: the box, a snapshot, or a cascade."""

    name: str
    snapshot: int | None = None
    cascade: PlannedCascade | None = None


@dataclass(frozen=True, kw_only=True)
class WorkSettings:
    """How a worker works; nothing of it changes a result.

    Attributes
    ----------
    slots : int
        Processes at a time.
    attempts : int
        How often a cascade whose process crashed or hung is tried before that is recorded.
    time_limit_s : float
        Wall time of one cascade.
    stop_at : float, optional
        `time.monotonic()` after which no new task is started.
    """

    slots: int
    attempts: int = 2
    time_limit_s: float = 6 * 3600.0
    stop_at: float | None = None


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
    """

    total: int
    done: int = 0
    done_here: int = 0
    busy_s: float = 0.0
    failures: int = 0
    running: list[str] = field(default_factory=list)


@dataclass(kw_only=True)
class _Job:
    task: Task
    process: BaseProcess
    answer: Connection
    claim: Claim
    log: Path
    started: float
    kill_at: float


class Supervisor:
    """Works on a campaign in a run directory until nothing is left for it to do.

    Parameters
    ----------
    run : RunDirectory
        Prepared, with the campaign saved in it.
    campaign : Campaign
        The plan.
    potential : pathlib.Path
        Folder of the potential.
    settings : WorkSettings
        How to work.
    observe : callable
        Called with the `Progress` about every half second.
    """

    def __init__(
        self,
        run: RunDirectory,
        campaign: Campaign,
        *,
        potential: Path,
        settings: WorkSettings,
        observe: Callable[[Progress], None],
    ) -> None:
        self._run = run
        self._campaign = campaign
        self._settings = settings
        self._observe = observe
        self._starts = run.starts(campaign)
        self._child = partial(
            _in_child,
            run=run.path,
            protocol=plain(campaign.protocol),
            potential=potential,
            time_limit_s=settings.time_limit_s,
        )
        self._jobs: dict[int, _Job] = {}
        self._failed_attempts: dict[str, int] = {}
        self._snapshots_made = 0
        finished = run.finished()
        self._waiting: deque[PlannedCascade] = deque()
        self.progress = Progress(total=0)
        for planned in campaign.cascades():
            self.progress.total += 1
            if planned.id in finished:
                self.progress.done += 1
            else:
                self._waiting.append(planned)

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
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(_PRELOAD)
        last_touch = time.monotonic()
        try:
            while True:
                self._fill_slots(context)
                self._report()
                if not self._jobs and (not self._waiting or self._time_is_up()):
                    return self.progress
                self._await_and_reap()
                if time.monotonic() - last_touch > HEARTBEAT_s:
                    last_touch = time.monotonic()
                    for job in self._jobs.values():
                        job.claim.touch()
        finally:
            self._stop_all()

    # -- starting ------------------------------------------------------------------------------------------

    def _fill_slots(self, context: ForkServerContext) -> None:
        while len(self._jobs) < self._settings.slots and self._waiting and not self._time_is_up():
            job = self._start_prerequisite(context) or self._start_cascade(context)
            if job is None:
                return
            self._jobs[job.process.sentinel] = job

    def _start_prerequisite(self, context: ForkServerContext) -> _Job | None:
        """Start what cascades wait for: the box, then one snapshot after the other."""
        if not (self._starts / "box.npz").is_file():
            return self._start(context, Task(name="box"))
        while has_snapshot(self._starts, self._snapshots_made):
            self._snapshots_made += 1
        if self._snapshots_made >= self._campaign.snapshots:
            return None
        name = f"snapshot-{self._snapshots_made:03d}"
        return self._start(context, Task(name=name, snapshot=self._snapshots_made))

    def _start_cascade(self, context: ForkServerContext) -> _Job | None:
        """Start the next cascade that is ready and that nobody else is at; those go to the end of the queue."""
        for _ in range(min(len(self._waiting), _MOST_TRIES)):
            planned = self._waiting.popleft()
            if self._run.is_finished(planned.id):
                self.progress.done += 1
                continue
            if planned.snapshot < self._snapshots_made:
                task = Task(name=planned.id, snapshot=planned.snapshot, cascade=planned)
                if job := self._start(context, task):
                    return job
            self._waiting.append(planned)
        return None

    def _start(self, context: ForkServerContext, task: Task) -> _Job | None:
        if any(job.task.name == task.name for job in self._jobs.values()):
            return None
        mine = claim(self._run.claims, f"{self._campaign.protocol.start_id}-{task.name}")
        if mine is None:
            return None
        answer, child_end = context.Pipe(duplex=False)
        log = self._run.logs / f"{task.name}.log"
        process = context.Process(target=self._child, kwargs={"task": task, "answer": child_end, "log": log})
        process.start()
        child_end.close()
        now = time.monotonic()
        limit = self._settings.time_limit_s + _GRACE_s
        return _Job(
            task=task, process=process, answer=answer, claim=mine, log=log, started=now, kill_at=now + limit
        )

    # -- ending --------------------------------------------------------------------------------------------

    def _await_and_reap(self) -> None:
        if not self._jobs:
            time.sleep(_LOOK_EVERY_s)  # all that is left is claimed by other workers
            return
        ended = {s for s in wait(list(self._jobs), timeout=_LOOK_EVERY_s) if isinstance(s, int)}
        now = time.monotonic()
        for sentinel, job in list(self._jobs.items()):
            if sentinel not in ended and now > job.kill_at:
                job.process.kill()
                job.process.join()
                ended.add(sentinel)
        for sentinel in ended:
            self._reap(self._jobs.pop(sentinel), now)

    def _reap(self, job: _Job, now: float) -> None:
        job.process.join()
        try:
            said: tuple[str, str] | None = job.answer.recv() if job.answer.poll() else None
        except EOFError:
            said = None
        job.answer.close()
        kind, message = said or ("crashed", self._last_words(job, timed_out=now > job.kill_at))
        try:
            if kind == "fatal":
                raise CascadeError(message)
            if kind == "bug":
                raise RuntimeError(message)
            if kind == "crashed":
                self._after_crash(job, message, timed_out=now > job.kill_at)
            if job.task.cascade and (kind == "done" or self._run.is_finished(job.task.name)):
                self.progress.done += 1
                self.progress.done_here += 1
                self.progress.busy_s += now - job.started
                self.progress.failures += message not in {"", Outcome.COMPLETED.key}
        finally:
            job.claim.release()
        if kind == "done":
            job.log.unlink(missing_ok=True)

    def _last_words(self, job: _Job, *, timed_out: bool) -> str:
        if timed_out:
            return f"killed after {self._settings.time_limit_s:g} s and a grace of {_GRACE_s:g} s"
        code = job.process.exitcode or 0
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        try:
            tail = " ".join(job.log.read_text(encoding="utf-8", errors="replace").split())[-500:]
        except OSError:
            tail = ""
        return f"the process ended with {how}" + (f": {tail}" if tail else "")

    def _after_crash(self, job: _Job, message: str, *, timed_out: bool) -> None:
        """Try again; when the attempts are used up, record the failure of a cascade, or stop for a start."""
        attempts = self._failed_attempts.get(job.task.name, 0) + 1
        self._failed_attempts[job.task.name] = attempts
        if attempts < self._settings.attempts:
            if job.task.cascade:
                self._waiting.appendleft(job.task.cascade)
            return
        if job.task.cascade is None:
            raise EngineError(
                f"{job.task.name} could not be made in {attempts} attempts: {message}; see {job.log}"
            )
        spec = self._campaign.spec(job.task.cascade)
        record = Record(
            id=spec.id,
            spec=plain(spec),
            outcome=Outcome.TIMED_OUT if timed_out else Outcome.ENGINE_ERROR,
            message=message,
            cost={"attempts": attempts},
            provenance=provenance(),
        )
        self._run.store(Result(record=record, structure=None))

    def _stop_all(self) -> None:
        for job in self._jobs.values():
            job.process.kill()
        for job in self._jobs.values():
            job.process.join()
            job.answer.close()
            job.claim.release()
            if job.task.cascade:
                self._waiting.append(job.task.cascade)
        self._jobs.clear()
        self._run.sweep()

    def _time_is_up(self) -> bool:
        return self._settings.stop_at is not None and time.monotonic() > self._settings.stop_at

    def _report(self) -> None:
        self.progress.running = [job.task.name for job in self._jobs.values()]
        self._observe(self.progress)


def _in_child(
    *,
    run: Path,
    protocol: dict[str, Any],
    potential: Path,
    time_limit_s: float,
    task: Task,
    answer: Connection,
    log: Path,
) -> None:
    """Do one task in a process of its own and answer (kind, message); the entry point of every child."""
    _become_a_child(log)
    from cascade_driver.campaign.task import perform

    try:
        message = perform(run=run, protocol=protocol, potential=potential, time_limit_s=time_limit_s, task=task)
        answer.send(("done", message))
    except CascadeError as error:
        answer.send(("fatal", str(error)))
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES}:
            raise
        answer.send(("fatal", f"{run}: cannot be written ({error.strerror}); free space and run again"))
    except Exception:
        answer.send(("bug", f"on {socket.gethostname()}, task {task.name}:\n{traceback.format_exc()}"))


def _become_a_child(log: Path) -> None:
    """Leave Ctrl-C to the parent, die with it, and write what the engine prints to the log."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
    os.environ["OMP_NUM_THREADS"] = "1"
    descriptor = os.open(log, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
