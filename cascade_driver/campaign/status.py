"""How far a run is: one look at the files, while it runs or afterwards."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np

from cascade_driver.campaign.claims import Claims
from cascade_driver.campaign.contents import RunContents, contents_of
from cascade_driver.campaign.flown import flown_ps
from cascade_driver.campaign.index import Row, number
from cascade_driver.campaign.plan import PlannedCascade, solid_angle_shares, start_said
from cascade_driver.campaign.rundir import RunDirectory
from cascade_driver.schema import without_nan
from cascade_driver.simulation.crystal import orientation_said
from cascade_driver.simulation.outcome import Outcome, STORED_ENERGY_FLOOR_eV
from cascade_driver.text import duration

#: A species, the region of a film that it recoils in ('' for none), and its recoil energy in eV.
_Recoil = tuple[str, str, float]

#: The rate is that of the last so many cascades: machines come and go.
_RECENT = 50


@dataclass(frozen=True, kw_only=True)
class EnergyStatus:
    """One recoil energy of one species in one region.

    Attributes
    ----------
    species : str
    region : str
        Of a film, where the plan names one; else ''.
    recoil_energy_eV : float
    planned, finished, usable : int
        Cascades.
    directions_planned, directions_finished : int
        Directions of the plan, and those along which a cascade is finished.
    effective : float
        Number of equally weighted cascades that know as much as the usable ones (Kish).
    defect_share : float
        Solid-angle-weighted share of usable cascades that stored energy; nan without any.
    mean_stored_energy_eV : float
        Weighted mean of the non-zero stored energies; nan without any.
    """

    species: str
    region: str
    recoil_energy_eV: float
    planned: int
    finished: int
    usable: int
    directions_planned: int
    directions_finished: int
    effective: float
    defect_share: float
    mean_stored_energy_eV: float


@dataclass(frozen=True, kw_only=True)
class RunStatus:
    """What `cascade status` shows.

    Attributes
    ----------
    title : str
    potential, potential_status : str
    orientation : str
        How the crystal lies in the box.
    planned, finished : int
        Cascades.
    in_progress : int
        Tasks that somebody is at.
    starting : tuple of str
        Those of them that make the thermal start, in words.
    flown_ps : dict
        How far those of them that fly are, by cascade.
    flight_ps : float
        How far cascades fly, from their last kick.
    outcomes : dict
        Finished cascades by outcome.
    damaged : dict
        Cascades whose record cannot be read, with the reason.
    energies : tuple of EnergyStatus
    cpu_hours : float
        Spent on finished cascades.
    cpu_s_per_cascade : float
        Mean.
    peak_memory_MiB : float
        Largest of any worker.
    kept_bytes : int
        Records and final structures on disk.
    cascades_per_hour : float
        Recent rate while somebody is at work, with as many workers as now; nan if it cannot be told.
    hours_left : float
        At that rate; 0 when done, nan if it cannot be told.
    other : int
        Finished cascades that are not in the present plan: they are kept, and are in no table and no fit.
    superseded : int
        Records of failures that were set aside to be tried again.
    """

    title: str
    potential: str
    potential_status: str
    orientation: str
    planned: int
    finished: int
    in_progress: int
    starting: tuple[str, ...]
    flown_ps: dict[str, float]
    flight_ps: float
    outcomes: dict[str, int]
    damaged: dict[str, str]
    energies: tuple[EnergyStatus, ...]
    cpu_hours: float
    cpu_s_per_cascade: float
    peak_memory_MiB: float
    kept_bytes: int
    cascades_per_hour: float
    hours_left: float
    other: int
    superseded: int

    @property
    def said_of_work(self) -> str:
        """Who is at work on what is missing, and how long it takes, in words; nothing if nothing is missing."""
        if self.finished == self.planned:
            return ""
        if not self.in_progress:
            return "Nobody is at work on it: `cascade run` goes on."
        tasks = "1 task is" if self.in_progress == 1 else f"{self.in_progress} tasks are"
        left = "" if math.isnan(self.hours_left) else f", about {duration(3600 * self.hours_left)} are left"
        return f"{tasks} in progress{left}; `cascade report` makes this page again."

    def as_json(self) -> Mapping[str, object]:
        """Return JSON-ready content; what cannot be told is null."""
        return without_nan(asdict(self))  # type: ignore[no-any-return]


def run_status(run: RunDirectory, contents: RunContents | None = None) -> RunStatus:
    """Return how far a run is; by what it holds, where that was read already.

    Raises
    ------
    InputError
        If this is no run directory.
    """
    now = contents or contents_of(run)
    campaign, known, wrong = now.campaign, now.rows, now.damaged
    rows: dict[_Recoil, list[tuple[PlannedCascade, Row]]] = defaultdict(list)
    planned: dict[_Recoil, int] = defaultdict(int)
    directions: dict[_Recoil, set[tuple[float, float, float]]] = defaultdict(set)
    damaged: dict[str, str] = {}
    for cascade in now.planned:
        key = (cascade.species, cascade.region_name, cascade.recoil_energy_eV)
        planned[key] += 1
        directions[key].add(cascade.direction)
        if cascade.id in known:
            rows[key].append((cascade, known[cascade.id]))
        elif cascade.id in wrong:
            damaged[cascade.id] = wrong[cascade.id]
    total = sum(planned.values())
    found = [row for group in rows.values() for _, row in group]
    at_work = Claims(run.claims).living()
    tasks = [name.partition("-")[2] for name in at_work]
    starting = (start_said(task, campaign.protocol) for task in tasks)
    noted = {task: flown_ps(run.logs, task) for task in tasks}
    flying = sum(start_said(task, campaign.protocol) is None for task in tasks)
    rate, left = _rate(found, total=total, at_work=flying)
    n = len(found)
    return RunStatus(
        title=campaign.title,
        potential=campaign.protocol.potential_name,
        potential_status=campaign.potential_status,
        orientation=orientation_said(campaign.protocol.crystal),
        planned=total,
        finished=n,
        in_progress=len(at_work),
        starting=tuple(sorted(filter(None, starting))),
        flown_ps={task: at_ps for task, at_ps in sorted(noted.items()) if at_ps is not None},
        flight_ps=campaign.protocol.follow.duration_ps,
        outcomes=dict(Counter(row.outcome for row in found).most_common()),
        damaged=damaged,
        energies=tuple(_energy(k, planned[k], len(directions[k]), rows[k]) for k in sorted(planned)),
        cpu_hours=sum(row.cpu_s for row in found) / 3600,
        cpu_s_per_cascade=sum(row.cpu_s for row in found) / n if n else math.nan,
        peak_memory_MiB=max((row.peak_memory_MiB for row in found), default=math.nan),
        kept_bytes=sum(row.kept_bytes for row in found),
        cascades_per_hour=rate,
        hours_left=left,
        other=now.outside,
        superseded=run.superseded(),
    )


def _energy(key: _Recoil, planned: int, directions: int, found: list[tuple[PlannedCascade, Row]]) -> EnergyStatus:
    share = solid_angle_shares([cascade for cascade, _ in found])
    usable = np.array([row.outcome == Outcome.COMPLETED.key for _, row in found], dtype=bool)
    weight = share[usable]
    stored = np.array([number(row.stored_energy_eV) for _, row in found])[usable]
    damaging = stored > STORED_ENERGY_FLOOR_eV
    return EnergyStatus(
        species=key[0],
        region=key[1],
        recoil_energy_eV=key[2],
        planned=planned,
        finished=len(found),
        usable=int(usable.sum()),
        directions_planned=directions,
        directions_finished=len({cascade.direction for cascade, _ in found}),
        effective=float(weight.sum() ** 2 / np.square(weight).sum()) if len(weight) else 0.0,
        defect_share=float(weight[damaging].sum() / weight.sum()) if len(weight) else math.nan,
        mean_stored_energy_eV=(
            float(np.average(stored[damaging], weights=weight[damaging])) if damaging.any() else math.nan
        ),
    )


def _rate(rows: list[Row], *, total: int, at_work: int) -> tuple[float, float]:
    """Return cascades per hour, and the hours that are left at that rate.

    That of the last ones, of `at_work` workers if there are any now, else of as many as there were while somebody
    was: time in which nobody works, between two sessions or now, is no part of it.
    """
    left = total - len(rows)
    recent = sorted(rows, key=lambda row: row.stamp_ns)[-_RECENT:]
    spent_s = sum(row.wall_s for row in recent)
    if not spent_s:
        return math.nan, 0.0 if left == 0 else math.nan
    workers = at_work or spent_s / _length_s(
        [(row.stamp_ns / 1e9 - row.wall_s, row.stamp_ns / 1e9) for row in recent]
    )
    rate = 3600 * workers * len(recent) / spent_s
    return rate, left / rate


def _length_s(intervals: list[tuple[float, float]]) -> float:
    """Return how long at least one of some intervals lasts."""
    length, until = 0.0, -math.inf
    for begin, end in sorted(intervals):
        length += max(0.0, end - max(begin, until))
        until = max(until, end)
    return length
