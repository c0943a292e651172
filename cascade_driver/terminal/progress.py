"""Progress bars that tell the time left, and the same in the lines of a log."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from cascade_driver.campaign.flown import flights_said
from cascade_driver.campaign.plan import start_said
from cascade_driver.text import duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cascade_driver.campaign.rundir import RunDirectory
    from cascade_driver.campaign.supervise import Progress as WorkProgress
    from cascade_driver.simulation.spec import Protocol
    from cascade_driver.threshold_run import PlannedSearch
    from cascade_driver.workflow import PlannedRun


def watched_work(
    planned: PlannedRun,
    *,
    console: Console,
    workers: int | None = None,
    executor: str | None = None,
    allow_failed_contract: bool = False,
) -> None:
    """Work on a run under a progress bar."""
    from cascade_driver.workflow import work_on

    protocol = planned.campaign.protocol
    flight_ps = protocol.follow.duration_ps

    def left(progress: WorkProgress) -> str:
        failed = f", {progress.failures} not usable" if progress.failures else ""
        start_or_left = next(iter(_starts_said(progress, protocol)), _time_left(progress)) + failed
        return ", ".join(filter(None, (start_or_left, flights_said(progress.flown_ps, of_ps=flight_ps))))

    work = partial(
        work_on, planned, workers=workers, executor=executor, allow_failed_contract=allow_failed_contract
    )
    log = WorkLog(console=console, protocol=protocol)
    _watched(work, log=log, total=planned.campaign.size, at_first="", left=left)


def watched_search(
    planned: PlannedSearch,
    *,
    console: Console,
    workers: int | None = None,
    executor: str | None = None,
    allow_failed_contract: bool = False,
) -> None:
    """Work on a search for thresholds under a progress bar."""
    from cascade_driver.threshold_run import work_on_search

    work = partial(
        work_on_search, planned, workers=workers, executor=executor, allow_failed_contract=allow_failed_contract
    )
    log = WorkLog(console=console, what="directions")
    _watched(work, log=log, total=planned.plan.size, at_first="making the starting states", left=_time_left)


def _watched(
    work: Callable[..., WorkProgress],
    *,
    log: WorkLog,
    total: int,
    at_first: str,
    left: Callable[[WorkProgress], str],
) -> None:
    """Work under a bar, or with a log where no terminal is, and say what was done."""
    began, console = time.monotonic(), log.console
    with _bar(console, log.what) as bar:
        task = bar.add_task("", total=total, left=at_first)

        def observe(progress: WorkProgress) -> None:
            bar.update(task, total=progress.total, completed=progress.done, left=left(progress))
            if not console.is_terminal:
                log(progress)

        progress = work(observe=observe, tell=lambda said: console.print(said, soft_wrap=True))
    console.print(
        f"{progress.done} of {progress.total} {log.what} finished, {progress.done_here} of them now, "
        f"in {duration(time.monotonic() - began)}"
    )


def _bar(console: Console, what: str) -> Progress:
    return Progress(
        TextColumn(what),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
        console=console,
        # A log file gets no bar, only the lines around it.
        disable=not console.is_terminal,
        refresh_per_second=2,
    )


#: The shortest time between two lines on how far a run is, where they stay: in a log.
_LOG_EVERY_s = 60.0


def _next_line_s(passed_s: float) -> float:
    """Return when a log gets its next line: a run of days does not fill the disk."""
    return passed_s + max(_LOG_EVERY_s, passed_s / 10)


@contextlib.contextmanager
def told_as_it_goes(
    console: Console, at_first: str, *, clock: Callable[[], float] = time.monotonic
) -> Iterator[Callable[[str], None]]:
    """Show what work is at: in one place of a terminal, in a log as lines that stay, one a minute or fewer."""
    if console.is_terminal:
        with console.status(at_first) as status:
            yield status.update
        return
    began_s, next_s = clock(), _LOG_EVERY_s

    def tell(said: str) -> None:
        nonlocal next_s
        if (passed := clock() - began_s) >= next_s:
            console.print(f"{said}, after {duration(passed)}", soft_wrap=True)
            next_s = _next_line_s(passed)

    yield tell


@dataclass(kw_only=True)
class WorkLog:
    """How far work is, in lines that stay: what a thermal start does, the first task, and then every minute or so.

    Attributes
    ----------
    console : Console
    what : str
        What is done.
    protocol : Protocol, optional
        That of a campaign, which has a thermal start, and cascades that fly.
    clock : callable
        Time in s.
    """

    console: Console
    what: str = "cascades"
    protocol: Protocol | None = None
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        # The first that is done is told at once, and without one how far it is after a minute.
        self._began_s, self._next_s, self._first_s = self.clock(), 0.0, _LOG_EVERY_s
        self._said: set[str] = set()

    def __call__(self, progress: WorkProgress) -> None:
        """Say what is new, if anything is."""
        for said in _starts_said(progress, self.protocol) if self.protocol else ():
            if said not in self._said:
                self.console.print(said)
                self._said.add(said)
        passed = self.clock() - self._began_s
        due_s = self._next_s if progress.done_here else max(self._next_s, self._first_s)
        if progress.done < progress.total and passed >= due_s:
            parts = [_time_left(progress)]
            if self.protocol:
                parts.append(flights_said(progress.flown_ps, of_ps=self.protocol.follow.duration_ps))
            self.console.print(
                f"{progress.done} of {progress.total} {self.what} after {duration(passed)}, "
                f"{', '.join(filter(None, parts))}",
                soft_wrap=True,
            )
            self._next_s = _next_line_s(passed)


def _starts_said(progress: WorkProgress, protocol: Protocol) -> list[str]:
    """Return what is done for the thermal start just now, in words."""
    return [said for name in progress.running if (said := start_said(name, protocol))]


def _time_left(progress: WorkProgress) -> str:
    """Return how long what is left takes at the mean time of the cascades of this session."""
    if progress.done == progress.total:
        return "done"
    if not progress.done_here:
        return "time left unknown until the first one is done"
    slots = max(1, len(progress.running))
    each = progress.busy_s / progress.done_here
    # Those in progress are half done on average.
    left = max(0.5, progress.total - progress.done - slots / 2)
    return f"about {duration(each * left / slots)} left"


def watched_verification(run: RunDirectory, *, console: Console) -> int:
    """Verify a run under a progress bar, name what is damaged, and return 0, or 1 if anything is."""
    from cascade_driver.campaign.verify import verify

    with _bar(console, "records") as bar:
        task = bar.add_task("", total=None, left="")
        found = verify(run, observe=lambda done, total: bar.update(task, completed=done, total=total))
    for message in (*found.damaged_cascades.values(), *found.damaged_starts.values()):
        console.print(message, soft_wrap=True)
    console.print(
        f"{found.cascades} cascades and {found.starts} starting states read: "
        f"{len(found.damaged_cascades)} and {len(found.damaged_starts)} damaged",
    )
    if found.without_checksum:
        console.print(
            f"{found.without_checksum} records name no checksum of their structure, as they did not in the first "
            "days: whether it is theirs cannot be told"
        )
    if len(found.makers) > 1:
        console.print("made by different codes or engines; within their errors they must agree:")
    for made_by, count in found.makers.items():
        console.print(f"{count} by {made_by}", soft_wrap=True)
    return 0 if found.is_sound else 1
