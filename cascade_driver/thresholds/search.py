"""The search: the attempts of each direction, by any number of processes and machines, each direction once.

first the box and the thermal starts; then directions in stages of 8, 16, 32, ...:
    prior of a direction: what the finished stages say of its place on the sphere (`threshold_field`)
    while its threshold is not known well enough:
        try the energy that says most about it (`threshold_posterior`), on a start and an atom drawn for it

A stage begins when those before it are done, so that the same plan has the same attempts whoever does them. An
attempt is kept as soon as it is made: who dies loses one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cascade_driver.analysis.threshold_field import FEWEST_DIRECTIONS, ThresholdField, learn_field
from cascade_driver.analysis.threshold_posterior import ThresholdPosterior, ThresholdPrior, pooled_widths
from cascade_driver.campaign.rundir import RunDirectory
from cascade_driver.errors import CascadeError, RecordError
from cascade_driver.files import write_atomically
from cascade_driver.schema import build, findings, plain, read_json, seed_from
from cascade_driver.simulation.displacement import Attempt, Kick, attempt
from cascade_driver.simulation.engine import EngineAbortError, WatchfulEngine
from cascade_driver.simulation.knock_on import FIRST_STAGE
from cascade_driver.simulation.lammps_build import EngineSpec
from cascade_driver.simulation.lammps_engine import LammpsEngine
from cascade_driver.simulation.provenance import Provenance, provenance
from cascade_driver.simulation.start import (
    Box,
    Snapshot,
    has_snapshot,
    make_box,
    make_snapshot,
    read_box,
    read_snapshot,
)
from cascade_driver.thresholds.plan import ThresholdGroup, ThresholdPlan, ThresholdSpec

SCHEMA = 1

#: The name of the task that comes first.
STARTS = "starts"

#: Branch of the random numbers; 0 heats the crystal, 1 draws directions, 2 later kicks.
_ATTEMPTS = 3

#: No direction is done with fewer attempts, however much its neighbours say.
_FEWEST_ATTEMPTS = 3

#: An engine may give up so often along one direction; then something is wrong with all of it.
_MOST_FAILURES = 3

#: What neighbours say of a threshold is never taken to be sharper than this share of it.
_LEAST_PRIOR_SD = 0.05


@findings
class Prior:
    """What the attempts of a direction began with; see `ThresholdPrior`."""

    mean_ln: float | None = None
    sd_ln: float | None = None
    width_weights: tuple[float, ...] | None = None


@findings
class FinishedDirection:
    """A direction and all its attempts.

    Attributes
    ----------
    schema_version : int
    group, index : int
        Its place in the plan.
    prior : Prior
    attempts : tuple of Attempt
    failures : tuple of str
        What the engine said where it gave up.
    provenance : Provenance
    """

    schema_version: int
    group: int
    index: int
    prior: Prior
    attempts: tuple[Attempt, ...]
    failures: tuple[str, ...]
    provenance: Provenance

    @property
    def cpu_s(self) -> float:
        """CPU time of its attempts."""
        return sum(one.cpu_s for one in self.attempts)


def name_of(group: int, index: int) -> str:
    """Return the name of a direction's task and file."""
    return f"{group}-{index:05d}"


def place_of(name: str) -> tuple[int, int]:
    """Return the group and the index of a direction's task."""
    group, index = (int(word) for word in name.split("-"))
    return group, index


def stage_of(index: int) -> int:
    """Return the stage that a direction belongs to: 8, then 8 more, 16, 32, ...

    >>> [stage_of(k) for k in (0, 7, 8, 15, 16, 31, 32)]
    [0, 0, 1, 1, 2, 2, 3]
    """
    stage, end = 0, FIRST_STAGE
    while index >= end:
        stage, end = stage + 1, 2 * end
    return stage


def is_known(posterior: ThresholdPosterior, wanted: ThresholdSpec) -> bool:
    """Return whether a threshold is known as well as was asked for, or to lie above all that is tried."""
    low, high = posterior.interval_eV()
    allowed_eV = max(2 * wanted.precision_eV, wanted.precision_share * (high + low))
    return high - low <= allowed_eV or posterior.above_highest() > 0.95


@dataclass(kw_only=True)
class ThresholdTasks:
    """The directions of a plan as tasks of its folder; travels to other processes.

    Attributes
    ----------
    path : pathlib.Path
        The folder.
    plan : ThresholdPlan
    lammps : EngineSpec, optional
        Which LAMMPS.
    time_limit_s : float
        Wall time of a flight or a quench.
    """

    path: Path
    plan: ThresholdPlan
    lammps: EngineSpec | None = None
    time_limit_s: float = math.inf
    _fields: dict[tuple[int, int], tuple[ThresholdField | None, tuple[float, ...] | None]] = field(
        default_factory=dict, repr=False
    )

    @property
    def folder(self) -> Path:
        """See `Tasks.folder`."""
        return self.path

    @property
    def starts(self) -> Path:
        """Folder of the thermal starting states."""
        return RunDirectory(self.path).starts(self.plan)

    def places(self) -> Iterator[tuple[int, int]]:
        """Yield (group, index) of all directions, stage by stage."""
        last = max(stage_of(len(group.vectors) - 1) for group in self.plan.groups)
        for stage in range(last + 1):
            for g, group in enumerate(self.plan.groups):
                yield from ((g, k) for k in range(len(group.vectors)) if stage_of(k) == stage)

    def waiting(self) -> Iterator[str]:
        """Yield what can be done now; see `Tasks.waiting`."""
        if not self.is_done(STARTS):
            yield STARTS
            return
        # A group waits for its own earlier directions, not for other atoms.
        open_stage: dict[int, int] = {}
        for g, k in self.places():
            if open_stage.get(g, stage_of(k)) == stage_of(k) and not self.is_done(name_of(g, k)):
                open_stage[g] = stage_of(k)
                yield name_of(g, k)

    def is_done(self, name: str) -> bool:
        """See `Tasks.is_done`."""
        if name == STARTS:
            return all(has_snapshot(self.starts, index) for index in range(self.plan.snapshots))
        return self._file(name).is_file()

    def done(self) -> int:
        """Return the number of finished directions."""
        return sum(self.is_done(name_of(g, k)) for g, k in self.places())

    def do(self, name: str) -> None:
        """Make the starts, or all attempts of a direction; see `Tasks.do`."""
        if name == STARTS:
            self._make_starts()
            return
        _Direction(self, *place_of(name)).work()

    def make_engine(self) -> LammpsEngine:
        """Return an engine with the potential that the folder keeps."""
        potential = RunDirectory(self.path).potential_of(self.plan.protocol)
        return LammpsEngine(potential=potential, lammps=self.lammps, time_limit_s=self.time_limit_s)

    def _make_starts(self) -> None:
        self.starts.mkdir(parents=True, exist_ok=True)
        make_box(self.plan.protocol, self.starts, self.make_engine)
        for index in range(self.plan.snapshots):
            make_snapshot(self.plan.protocol, index, self.starts, self.make_engine)

    def _file(self, name: str) -> Path:
        return self.path / "directions" / f"{name}.json"

    def direction(self, group: int, index: int) -> FinishedDirection | None:
        """Return a finished direction, None if it is not finished.

        Raises
        ------
        RecordError
            If it is damaged.
        """
        path = self._file(name_of(group, index))
        return read_direction(path) if path.is_file() else None

    def partial(self, group: int, index: int) -> Path:
        """Return where the attempts of a direction are kept that is on its way."""
        return self._file(name_of(group, index)).with_suffix(".partial.json")

    def under_way(self) -> list[FinishedDirection]:
        """Return what was attempted along directions that are not finished."""
        found = []
        for place in self.places():
            path = self.partial(*place)
            if self.is_done(name_of(*place)) or not path.is_file():
                continue
            try:
                found.append(read_direction(path))
            except RecordError:
                if path.is_file():  # else it was finished meanwhile
                    raise
        return found

    def prior(self, group: int, index: int) -> Prior:
        """Return what the finished stages of a group say of one of its directions."""
        stage = stage_of(index)
        if (group, stage) not in self._fields:
            self._fields[group, stage] = self._learn(group, stage)
        learnt, widths = self._fields[group, stage]
        if learnt is None:
            return Prior(mean_ln=None, sd_ln=None, width_weights=widths)
        mean, covariance = learnt.predict(np.array([self.plan.groups[group].vectors[index]]))
        sd = float(np.sqrt(covariance[0, 0] + learnt.roughness**2))
        return Prior(
            mean_ln=round(float(mean[0]), 6),
            sd_ln=round(max(sd, _LEAST_PRIOR_SD), 6),
            width_weights=widths,
        )

    def _learn(self, group: int, stage: int) -> tuple[ThresholdField | None, tuple[float, ...] | None]:
        known = [k for k in range(len(self.plan.groups[group].vectors)) if stage_of(k) < stage]
        found = [one for k in known if (one := self.direction(group, k)) is not None]
        if not found:
            return None, None
        own = self.plan.groups[group]
        widths = tuple(pooled_widths([posterior_of(one, own, alone=True) for one in found]).round(8).tolist())
        return learnt_field(found, own, widths), widths


def posterior_of(
    direction: FinishedDirection,
    group: ThresholdGroup,
    *,
    alone: bool = False,
    widths: tuple[float, ...] | None = None,
) -> ThresholdPosterior:
    """Return the posterior of a direction's threshold, with its prior, or from its attempts alone.

    Parameters
    ----------
    direction : FinishedDirection
    group : ThresholdGroup
    alone : bool
        Without what other directions say of its threshold: what the field is learnt from, or it would hear itself.
    widths : tuple of float, optional
        Law of the widths then; flat by default.
    """
    prior = direction.prior
    weights = widths if alone else prior.width_weights
    posterior = ThresholdPosterior(
        ThresholdPrior(
            lowest_eV=group.wanted.lowest_eV,
            highest_eV=group.wanted.highest_eV,
            mean_ln=None if alone else prior.mean_ln,
            sd_ln=None if alone else prior.sd_ln,
            width_weights=None if weights is None else np.array(weights),
        )
    )
    for one in direction.attempts:
        posterior.observe(one.recoil_energy_eV, one.displaced)
    return posterior


def learnt_field(
    found: list[FinishedDirection], group: ThresholdGroup, widths: tuple[float, ...]
) -> ThresholdField | None:
    """Return the field that finished directions of a group lie on; None if they are too few."""
    posteriors = [posterior_of(one, group, alone=True, widths=widths) for one in found]
    # What is only known to be above the highest energy would pull the field to that energy.
    inside = [k for k, posterior in enumerate(posteriors) if posterior.above_highest() < 0.5]
    if len(inside) < FEWEST_DIRECTIONS:
        return None
    return learn_field(
        np.array([group.vectors[found[k].index] for k in inside]),
        mean_ln=np.array([posteriors[k].mean_ln() for k in inside]),
        sd_ln=np.array([posteriors[k].sd_ln() for k in inside]),
        rotations=np.array(group.rotations),
    )


def read_direction(path: Path) -> FinishedDirection:
    """Return the attempts in a file.

    Raises
    ------
    RecordError
        If it is damaged or of another schema.
    """
    try:
        found = build(FinishedDirection, read_json(path), origin=str(path))
    except CascadeError as error:
        raise RecordError(f"{error}; remove the file and run again") from None
    if found.schema_version != SCHEMA:
        raise RecordError(f"{path}: schema version {found.schema_version}, this program reads {SCHEMA}")
    return found


class _Direction:
    """One direction at work."""

    def __init__(self, tasks: ThresholdTasks, group: int, index: int) -> None:
        self._tasks, self._group, self._index = tasks, group, index
        self._plan = tasks.plan
        self._own = tasks.plan.groups[group]
        partial = tasks.partial(group, index)
        begun = read_direction(partial) if partial.is_file() else None
        self._prior = begun.prior if begun else tasks.prior(group, index)
        self._attempts = list(begun.attempts) if begun else []
        self._failures = list(begun.failures) if begun else []

    def work(self) -> None:
        """Attempt until the threshold is known well enough."""
        box = read_box(self._tasks.starts)
        starts = [read_snapshot(self._tasks.starts, index) for index in range(self._plan.snapshots)]
        engine = self._tasks.make_engine()
        made = provenance(engine=engine.version, library=engine.library)
        posterior = posterior_of(self._found(made), self._own)
        try:
            while not self._is_enough(posterior):
                try:
                    one = self._attempt(posterior.next_energy_eV(), box, starts, engine)
                except EngineAbortError as abort:
                    engine.close()
                    engine = self._tasks.make_engine()
                    self._failures.append(str(abort))
                    if len(self._failures) > _MOST_FAILURES:
                        raise CascadeError(
                            f"direction {name_of(self._group, self._index)}: the engine gave up "
                            f"{len(self._failures)} times, at last: {abort}"
                        ) from None
                else:
                    self._attempts.append(one)
                    posterior.observe(one.recoil_energy_eV, one.displaced)
                self._keep(self._tasks.partial(self._group, self._index), made)
        finally:
            engine.close()
        self._keep(self._tasks._file(name_of(self._group, self._index)), made)
        self._tasks.partial(self._group, self._index).unlink(missing_ok=True)

    def _is_enough(self, posterior: ThresholdPosterior) -> bool:
        if posterior.attempts >= self._own.wanted.most_attempts:
            return True
        return is_known(posterior, self._own.wanted) and posterior.attempts >= _FEWEST_ATTEMPTS

    def _attempt(
        self, recoil_energy_eV: float, box: Box, starts: list[Snapshot], engine: WatchfulEngine
    ) -> Attempt:
        number = len(self._attempts) + len(self._failures)
        seed = seed_from(self._plan.protocol.campaign_seed, _ATTEMPTS, self._group, self._index, number)
        rng = np.random.default_rng(seed)
        return attempt(
            Kick(
                snapshot=starts[int(rng.integers(len(starts)))],
                atom=int(rng.choice(self._own.atoms)),
                direction=np.array(self._own.vectors[self._index]),
                recoil_energy_eV=recoil_energy_eV,
                seed=seed,
            ),
            box=box,
            engine=engine,
            follow=self._plan.protocol.follow,
            quench=self._plan.protocol.quench,
            displaced=self._plan.displaced,
            temperature_K=self._plan.protocol.thermal.temperature_K,
        )

    def _found(self, made: Provenance) -> FinishedDirection:
        return FinishedDirection(
            schema_version=SCHEMA,
            group=self._group,
            index=self._index,
            prior=self._prior,
            attempts=tuple(self._attempts),
            failures=tuple(self._failures),
            provenance=made,
        )

    def _keep(self, path: Path, made: Provenance) -> None:
        path.parent.mkdir(exist_ok=True)
        write_atomically(path, json.dumps(plain(self._found(made))) + "\n")
