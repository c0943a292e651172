"""Dask brings the machines, the run directory brings the work.

Each Dask worker is given one pilot: a `cascade work RUN` in a process of its own, which claims, runs and stores
like any other worker. No result travels through Dask, so nothing is lost or run twice when a worker is killed: its
claims are taken over by the others, and a worker that takes its place gets a pilot of its own.
"""

# distributed annotates only part of what it offers:
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from cascade_driver.campaign.claims import Claims, Heartbeat
from cascade_driver.campaign.executors import Work, worker_command
from cascade_driver.campaign.supervise import Progress
from cascade_driver.errors import CascadeError, InputError

#: The wait between two looks at the scheduler and at the run directory.
_LOOK_EVERY_s = 1.0

#: A scheduler answers within this time, or is not there.
_CONNECT_WITHIN_s = 10.0

#: Pilots that fail so often without a cascade finished in between will not do better.
_MOST_FAILURES = 5

#: What questions to a scheduler end in that is not there any more.
_OF_THE_SCHEDULER = (OSError, TimeoutError, asyncio.CancelledError, concurrent.futures.CancelledError)

_LOST = "the Dask scheduler was lost; what is finished is safe: start one and run again"


@dataclass(frozen=True, kw_only=True)
class SharedPlace:
    """A folder that `cascade work` works on, whatever is in it.

    Attributes
    ----------
    path, claims : pathlib.Path
        The folder, and where its claims are.
    total : int
        What there is to do.
    done : callable
        How much of it is done, by anyone.
    workers : int
        Of a cluster that is started here.
    allow_failed_contract : bool
        Whether pilots go on where the potential fails in their LAMMPS.
    """

    path: Path
    claims: Path
    total: int
    done: Callable[[], int]
    workers: int
    allow_failed_contract: bool = False


@dataclass(frozen=True, kw_only=True)
class DaskExecutor:
    """Pilots on the workers of a Dask scheduler.

    Attributes
    ----------
    scheduler : str, optional
        Address of a running scheduler, e.g. `tcp://10.0.0.1:8786`, or the path of its scheduler file. Without it
        a scheduler and workers are started: on this machine, or as jobs.
    jobs : int
        Jobs to start by dask-jobqueue, if `job_class` is given.
    job_class : str, optional
        `SLURMCluster`, `PBSCluster`, ... of dask-jobqueue.
    job_options : dict
        Its arguments.
    workers_within_s : float
        If no worker has come for so long the work stops; jobs may wait in a queue for days.
    """

    scheduler: str | None = None
    jobs: int = 1
    job_class: str | None = None
    job_options: Mapping[str, object] | None = None
    workers_within_s: float = 60.0

    def work(self, work: Work, observe: Callable[[Progress], None]) -> Progress:
        """Work on a campaign; see `Executor.work`.

        Raises
        ------
        InputError
            If Dask is not installed, or the scheduler does not answer; nothing was started then.
        CascadeError
            If a pilot says that something concerns the whole campaign, or the scheduler is lost.
        """
        if work.until_s is not None:
            raise InputError("dask: a limit of time belongs to its workers; start them with a lifetime")
        planned = {planned.id for planned in work.campaign.cascades()}
        place = SharedPlace(
            path=work.run.path,
            claims=work.run.claims,
            total=len(planned),
            done=lambda: len(planned & work.run.finished()),
            workers=work.workers,
            allow_failed_contract=work.allow_failed_contract,
        )
        return self.fly(place, observe)

    def fly(self, place: SharedPlace, observe: Callable[[Progress], None]) -> Progress:
        """Keep a pilot on every worker until nothing is left to do in a folder; see `work`.

        Raises
        ------
        InputError, CascadeError
            As `work`.
        """
        with self._client(place.workers) as client:
            return _Flight(place, client, observe, workers_within_s=self.workers_within_s).fly()

    @contextlib.contextmanager
    def _client(self, workers: int) -> Iterator[Any]:
        distributed = _import("distributed")
        with contextlib.ExitStack() as stack:
            if self.scheduler is not None:
                where: dict[str, str] = (
                    {"scheduler_file": self.scheduler}
                    if Path(self.scheduler).is_file()
                    else {"address": self.scheduler}
                )
            elif self.job_class is not None:
                where = {"address": stack.enter_context(self._job_cluster())}
            else:
                where = {
                    "address": stack.enter_context(
                        distributed.LocalCluster(
                            n_workers=workers, threads_per_worker=1, dashboard_address=None, silence_logs=50
                        )
                    )
                }
            try:
                client = distributed.Client(**where, timeout=_CONNECT_WITHIN_s)
            except (OSError, TimeoutError, ValueError) as error:
                said = " ".join(str(error).split()) or type(error).__name__
                raise InputError(
                    f"no Dask scheduler answers at {self.scheduler}; start one or give its address ({said})"
                ) from None
            try:
                yield client
            finally:
                # Without its scheduler it may not close in time: why the work ended is to be told, not that.
                with contextlib.suppress(Exception, asyncio.CancelledError):
                    client.close()

    @contextlib.contextmanager
    def _job_cluster(self) -> Iterator[Any]:
        jobqueue = _import("dask_jobqueue")
        kind = getattr(jobqueue, str(self.job_class), None)
        if kind is None:
            known = ", ".join(name for name in dir(jobqueue) if name.endswith("Cluster"))
            raise InputError(f"[work.dask] job_class `{self.job_class}` is not one of dask-jobqueue's: {known}")
        try:
            cluster = kind(**(self.job_options or {}))
        except (TypeError, ValueError) as error:
            raise InputError(f"[work.dask] job_options: {' '.join(str(error).split())}") from None
        with cluster:
            cluster.scale(jobs=self.jobs)
            yield cluster


@contextlib.contextmanager
def _lost_in_one_line(client: Any) -> Iterator[None]:
    """Say that the scheduler was lost, whatever was asked of it when it died: each question fails in its way."""
    try:
        yield
    except CascadeError:
        raise
    except (Exception, asyncio.CancelledError) as error:
        if client.status == "running" and not isinstance(error, _OF_THE_SCHEDULER):
            raise
        raise CascadeError(_LOST) from None


class _Pilot(Protocol):
    """What is asked of a future of Dask, which has no types."""

    status: str

    def done(self) -> bool: ...
    def cancel(self) -> None: ...
    def result(self) -> tuple[int, str]: ...


class _Flight:
    """The pilots of one session, and what became of them."""

    def __init__(
        self, place: SharedPlace, client: Any, observe: Callable[[Progress], None], *, workers_within_s: float
    ) -> None:
        self._place = place
        self._client = client
        self._observe = observe
        self._workers_within_s = workers_within_s
        self._pilots: dict[str, _Pilot] = {}
        self._failures = 0

    def fly(self) -> Progress:
        """Work until every planned cascade is finished."""
        progress = Progress(total=self._place.total)
        before = progress.done = self._place.done()
        last_seen = time.monotonic()
        lease = Claims(self._place.claims).take(f".lease-{uuid.uuid4().hex}")
        if lease is None:
            raise RuntimeError("a new name was taken")
        with Heartbeat() as beat:
            beat.add(lease)
            try:
                while progress.done < progress.total:
                    with _lost_in_one_line(self._client):
                        workers = self._workers()
                        last_seen = time.monotonic() if workers else last_seen
                        if time.monotonic() - last_seen > self._workers_within_s:
                            raise CascadeError(
                                f"no Dask worker for {self._workers_within_s:g} s; start some and run again"
                            )
                        self._send_pilots(workers, lease.path)
                    time.sleep(_LOOK_EVERY_s)
                    done = self._place.done()
                    self._failures = 0 if done > progress.done else self._failures
                    progress.done, progress.done_here = done, done - before
                    progress.running = sorted(self._pilots)
                    self._observe(progress)
            finally:
                # Pilots stop when their lease is over.
                beat.release(lease)
        return progress

    def _workers(self) -> dict[str, int]:
        """Return the threads of every worker by its address."""
        if self._client.status != "running":
            raise CascadeError(_LOST)
        info = self._client.scheduler_info(n_workers=-1)
        return {address: int(worker["nthreads"]) for address, worker in info["workers"].items()}

    def _send_pilots(self, workers: dict[str, int], lease: Path) -> None:
        for address, pilot in list(self._pilots.items()):
            if address not in workers:
                pilot.cancel()  # it died with its worker
                del self._pilots[address]
            elif pilot.done():
                self._conclude(pilot)
                del self._pilots[address]
        for address in workers.keys() - self._pilots.keys():
            self._pilots[address] = self._client.submit(
                partial(
                    fly_pilot,
                    str(self._place.path),
                    workers=workers[address],
                    lease=str(lease),
                    allow_failed_contract=self._place.allow_failed_contract,
                ),
                workers=[address],
                key=f"cascade-pilot-{uuid.uuid4().hex}",
                pure=False,
            )

    def _conclude(self, pilot: _Pilot) -> None:
        """Look at how a pilot ended; that it had nothing left to do is fine."""
        if pilot.status != "finished":
            self._failures += 1
            said = f"a pilot was lost ({pilot.status})"
        else:
            code, said = pilot.result()
            if code == 2:
                raise CascadeError(said)
            self._failures += code != 0
        if self._failures > _MOST_FAILURES:
            raise CascadeError(f"pilots fail on the Dask workers: {said}")


def fly_pilot(run: str, *, workers: int, lease: str, allow_failed_contract: bool) -> tuple[int, str]:
    """Run `cascade work` on a Dask worker and return its exit code and last line; it ends with its lease."""
    command = worker_command(Path(run), workers=workers, allow_failed_contract=allow_failed_contract)
    command += ["--lease", lease]
    # Its input stays open as long as this worker lives.
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        said = process.stderr.read() if process.stderr else ""
        process.wait()
    lines = said.strip().splitlines() or [""]
    return process.returncode, lines[-1].removeprefix("cascade: ")


def _import(name: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError:
        raise InputError(
            f"`{name}` is not installed, which the executor dask needs: pip install 'cascade-driver[dask]'"
        ) from None
