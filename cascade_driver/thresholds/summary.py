"""What the finished directions of a search say together: mean, median, minimum over the solid angle, tables.

DIR/thresholds.csv     a row per direction
DIR/probability.csv    share of the solid angle that is displaced, by recoil energy; is_tail is 1 below the lowest
                       energy that left a defect: there it is the tail of Fermi functions
DIR/summary.json       the numbers with their intervals, the definition, what made them
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cascade_driver.analysis.threshold_field import ThresholdField
from cascade_driver.analysis.threshold_posterior import RELATIVE_WIDTHS, pooled_widths
from cascade_driver.errors import InputError
from cascade_driver.files import write_atomically
from cascade_driver.schema import plain, seed_from
from cascade_driver.simulation.knock_on import fibonacci_sphere
from cascade_driver.simulation.provenance import provenance
from cascade_driver.thresholds.plan import ThresholdGroup, ThresholdPlan
from cascade_driver.thresholds.search import (
    FinishedDirection,
    ThresholdTasks,
    is_known,
    learnt_field,
    posterior_of,
)

#: Directions at which the field is drawn, and fields: the sphere's mean of one field is good to a percent.
_MESH, _DRAWS = 800, 400
_SHARES = (0.15865525393145707, 0.5, 0.8413447460685429)

#: A displaced share below this is none.
NEGLIGIBLE_SHARE = 0.01

#: Branch of the random numbers of the summary.
_SUMMARY = 4


@dataclass(frozen=True, kw_only=True)
class WithInterval:
    """A number and the central 68.3 % of what it may be."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class DirectionThreshold:
    """The threshold along one direction.

    Attributes
    ----------
    direction : (3,) float
    weight : float
        Share of the solid angle.
    threshold_eV : WithInterval
        E_h: half of the thermal starts leave a defect.
    width_eV : float
    above_highest : float
        Probability that it is beyond the highest energy that was tried.
    is_known : bool
        As well as was asked for; if not, the search ended at `most_attempts`.
    attempts, met_image, failures : int
        Those that reached their own image are counted among the first; failures are not.
    cpu_s : float
        Of its attempts.
    """

    direction: tuple[float, float, float]
    weight: float
    threshold_eV: WithInterval
    width_eV: float
    above_highest: float
    is_known: bool
    attempts: int
    met_image: int
    failures: int
    cpu_s: float


@dataclass(frozen=True, kw_only=True)
class GroupThresholds:
    """The thresholds of one atom.

    Attributes
    ----------
    group : ThresholdGroup
    directions : tuple of DirectionThreshold
        Finished ones.
    mean_eV, median_eV : WithInterval
        Over the solid angle, of E_h; of the field where there is one (its roughness and the directions between the
        sampled ones are in the interval), else of the sampled directions alone.
    minimum_eV : WithInterval
        Of the sampled directions: the lowest of all is at most as high.
    beyond : float
        Share of the solid angle whose threshold is above the highest energy that was tried; mean and median count
        it at that energy.
    field : ThresholdField, optional
    energies_eV : (e,) float
    probability : (e, 3) float
        Share of the solid angle and of the thermal starts that leaves a defect at these energies: low, middle,
        high.
    lowest_defect_eV : float
        Lowest energy of an attempt that left a defect; infinite without any. Below it the share is the tail of
        Fermi functions, which no attempt has seen.
    attempts_below : int
        How many were made at lower energies.
    """

    group: ThresholdGroup
    directions: tuple[DirectionThreshold, ...]
    mean_eV: WithInterval
    median_eV: WithInterval
    minimum_eV: WithInterval
    beyond: float
    field: ThresholdField | None
    energies_eV: NDArray[np.float64]
    probability: NDArray[np.float64]
    lowest_defect_eV: float
    attempts_below: int

    @property
    def tail_said(self) -> str:
        """Where the displaced share is the tail of a formula, in words; nothing if it is negligible there."""
        below = self.energies_eV < self.lowest_defect_eV
        if not below.any() or self.probability[below, 2].max() < NEGLIGIBLE_SHARE:
            return ""
        tried = f"of {self.attempts_below} attempts left one" if self.attempts_below else "was tried"
        low, *_, high = (int(i) for i in np.flatnonzero(below)[[0, -1]])
        shares = " and ".join(
            f"{self.probability[i, 1]:.2g} (to {self.probability[i, 2]:.2g}) at {self.energies_eV[i]:.3g} eV"
            for i in dict.fromkeys((low, high))
        )
        return (
            f"below {self.lowest_defect_eV:.4g} eV, the lowest energy that left a defect, none {tried}: the "
            f"displaced share there is the tail of the Fermi functions, {shares}"
        )


def summarise(tasks: ThresholdTasks) -> list[GroupThresholds]:
    """Return the thresholds of each atom whose directions are finished, in whole or in part.

    Raises
    ------
    InputError
        If no direction is finished.
    """
    found = []
    for g, group in enumerate(tasks.plan.groups):
        finished = [one for k in range(len(group.vectors)) if (one := tasks.direction(g, k)) is not None]
        if finished:
            rng = np.random.default_rng(seed_from(tasks.plan.protocol.campaign_seed, _SUMMARY, g))
            found.append(_of_group(group, finished, rng))
    if not found:
        raise InputError(f"{tasks.path}: no direction is finished yet; run `cascade threshold` or `cascade work`")
    return found


def _of_group(
    group: ThresholdGroup, finished: list[FinishedDirection], rng: np.random.Generator
) -> GroupThresholds:
    posteriors = [posterior_of(one, group) for one in finished]
    rows = tuple(_row(one, group) for one in finished)
    weights = np.array([row.weight for row in rows])
    weights /= weights.sum()
    own = np.stack([posterior.quantile_eV(rng.random(_DRAWS)) for posterior in posteriors], axis=1)
    widths = tuple(pooled_widths([posterior_of(one, group, alone=True) for one in finished]).tolist())
    learnt = learnt_field(finished, group, widths)
    drawn, share = own, weights
    if learnt is not None:
        drawn = learnt.draw_eV(fibonacci_sphere(_MESH), count=_DRAWS, rng=rng)
        share = np.full(_MESH, 1 / _MESH)
    drawn = np.minimum(drawn, group.wanted.highest_eV)
    energies = np.geomspace(group.wanted.lowest_eV, group.wanted.highest_eV, 60)
    relative = rng.choice(RELATIVE_WIDTHS, size=drawn.shape, p=np.array(widths) / sum(widths))
    curves = np.stack([_displaced(e, drawn, relative) @ share for e in energies])
    attempts = [attempt for one in finished for attempt in one.attempts]
    lowest = min((attempt.recoil_energy_eV for attempt in attempts if attempt.displaced), default=math.inf)
    return GroupThresholds(
        group=group,
        directions=rows,
        mean_eV=_with_interval(drawn @ share),
        median_eV=_with_interval(_weighted_median(drawn, share)),
        minimum_eV=_with_interval(own.min(axis=1)),
        beyond=float(np.array([row.above_highest for row in rows]) @ weights),
        field=learnt,
        energies_eV=energies,
        probability=np.quantile(curves, _SHARES, axis=1).T,
        lowest_defect_eV=lowest,
        attempts_below=sum(attempt.recoil_energy_eV < lowest for attempt in attempts),
    )


def _displaced(
    energy_eV: float, threshold_eV: NDArray[np.float64], relative: NDArray[np.float64]
) -> NDArray[np.float64]:
    x = np.clip((energy_eV - threshold_eV) / (relative * threshold_eV), -50, 50)
    return np.asarray(1 / (1 + np.exp(-x)))


def _row(one: FinishedDirection, group: ThresholdGroup) -> DirectionThreshold:
    posterior = posterior_of(one, group)
    low, high = posterior.interval_eV()
    return DirectionThreshold(
        direction=group.vectors[one.index],
        weight=group.weights[one.index],
        threshold_eV=WithInterval(value=float(posterior.quantile_eV(0.5)), low=low, high=high),
        width_eV=posterior.width_eV(),
        above_highest=posterior.above_highest(),
        is_known=len(one.attempts) < group.wanted.most_attempts or is_known(posterior, group.wanted),
        attempts=len(one.attempts),
        met_image=sum(a.met_image for a in one.attempts),
        failures=len(one.failures),
        cpu_s=sum(a.cpu_s for a in one.attempts),
    )


def _with_interval(values: NDArray[np.float64]) -> WithInterval:
    low, middle, high = np.quantile(values, _SHARES).tolist()
    return WithInterval(value=middle, low=low, high=high)


def _weighted_median(values: NDArray[np.float64], share: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the median of each row of values (r, n) with shares (n,)."""
    order = np.argsort(values, axis=1)
    reached = np.cumsum(share[order], axis=1)
    # 1e-12: a half that rounding leaves just short of a half
    place = (reached < 0.5 - 1e-12).sum(axis=1)
    return np.asarray(np.take_along_axis(values, order, axis=1)[np.arange(len(values)), place])


def definition_said(plan: ThresholdPlan) -> str:
    """Return in a sentence what counts as displaced."""
    follow, displaced = plan.protocol.follow, plan.displaced
    what = (
        f"a Frenkel pair or antisite is left after {follow.duration_ps:g} ps (Wigner-Seitz)"
        if displaced.criterion == "frenkel"
        else f"more than {displaced.stored_above_eV:g} eV are stored after {follow.duration_ps:g} ps and a quench"
    )
    early = f", or earlier where it is clear (all below {displaced.calm_eV:g} eV)" if displaced.early else ""
    return f"{what}{early}; the threshold is the recoil energy at which half of the thermal starts are"


def write_summary(tasks: ThresholdTasks, found: list[GroupThresholds]) -> list[Path]:
    """Write the tables and the summary into the folder and return their paths."""
    table, curves = io.StringIO(), io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(_COLUMNS)
    lines = csv.writer(curves, lineterminator="\n")
    lines.writerow(["atom", "recoil_energy_eV", "probability_low", "probability", "probability_high", "is_tail"])
    for one in found:
        rows.writerows(_cells(one.group.name, row) for row in one.directions)
        for energy, row in zip(one.energies_eV, one.probability, strict=True):
            is_tail = int(energy < one.lowest_defect_eV)
            lines.writerow([one.group.name, f"{energy:.3f}", *(f"{p:.4f}" for p in row), is_tail])
    content = {
        "title": tasks.plan.title,
        "definition": definition_said(tasks.plan),
        "interval": "central 68.3 % of the posterior",
        "potential": tasks.plan.protocol.potential_name,
        "potential_digest": tasks.plan.protocol.potential_digest,
        "potential_status": tasks.plan.potential_status,
        "atoms": {one.group.name: dataclasses.asdict(_summary_of(one)) for one in found},
        "provenance": plain(provenance(engine=_engine_of(tasks))),
    }
    files = {
        "thresholds.csv": table.getvalue(),
        "probability.csv": curves.getvalue(),
        "summary.json": json.dumps(content, indent=1) + "\n",
    }
    for name, text in files.items():
        write_atomically(tasks.path / name, text)
    return [tasks.path / name for name in files]


_COLUMNS = (
    "atom",
    "x",
    "y",
    "z",
    "weight",
    "threshold_eV",
    "threshold_low_eV",
    "threshold_high_eV",
    "width_eV",
    "above_highest",
    "attempts",
    "met_image",
    "failures",
    "cpu_s",
)


def _cells(atom: str, row: DirectionThreshold) -> list[str]:
    threshold = row.threshold_eV
    return [
        atom,
        *(f"{x:.9f}" for x in row.direction),
        f"{row.weight:.6g}",
        *(f"{e:.3f}" for e in (threshold.value, threshold.low, threshold.high, row.width_eV)),
        f"{row.above_highest:.4f}",
        *(str(n) for n in (row.attempts, row.met_image, row.failures)),
        f"{row.cpu_s:.2f}",
    ]


@dataclass(frozen=True, kw_only=True)
class _FieldSummary:
    """What `ThresholdField` learnt."""

    amplitude: float
    length_rad: float
    roughness: float


@dataclass(frozen=True, kw_only=True)
class _AtomSummary:
    """What `summary.json` says of an atom; see `GroupThresholds`."""

    mean_eV: WithInterval
    median_eV: WithInterval
    minimum_of_sampled_eV: WithInterval
    lowest_defect_eV: float | None
    beyond_highest: float
    highest_eV: float
    directions: int
    directions_planned: int
    attempts: int
    met_image: int
    failures: int
    cpu_s: float
    field: _FieldSummary | None


def _summary_of(one: GroupThresholds) -> _AtomSummary:
    learnt = one.field
    return _AtomSummary(
        mean_eV=one.mean_eV,
        median_eV=one.median_eV,
        minimum_of_sampled_eV=one.minimum_eV,
        lowest_defect_eV=one.lowest_defect_eV if math.isfinite(one.lowest_defect_eV) else None,
        beyond_highest=one.beyond,
        highest_eV=one.group.wanted.highest_eV,
        directions=len(one.directions),
        directions_planned=len(one.group.vectors),
        attempts=sum(row.attempts for row in one.directions),
        met_image=sum(row.met_image for row in one.directions),
        failures=sum(row.failures for row in one.directions),
        cpu_s=round(sum(row.cpu_s for row in one.directions), 1),
        field=None
        if learnt is None
        else _FieldSummary(amplitude=learnt.amplitude, length_rad=learnt.length, roughness=learnt.roughness),
    )


def _engine_of(tasks: ThresholdTasks) -> str:
    """Return the engine that the first finished direction names."""
    for g, k in tasks.places():
        if (one := tasks.direction(g, k)) is not None:
            return one.provenance.engine
    return ""
