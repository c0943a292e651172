"""What a run holds: its plan and the rows of its records, read once and asked many things."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from cascade_driver.campaign.index import Row, number
from cascade_driver.campaign.plan import Campaign, PlannedCascade, solid_angle_shares
from cascade_driver.campaign.rundir import RunDirectory
from cascade_driver.errors import RecordError
from cascade_driver.simulation.outcome import CascadeTable, Outcome, outcome_of_stored_energy
from cascade_driver.simulation.record import Record


@dataclass(frozen=True, kw_only=True)
class RunContents:
    """Plan and records of a run at one moment.

    With 1e5 cascades the plan takes seconds to work out and the index seconds to read: hand this on.

    Attributes
    ----------
    campaign : Campaign
        The plan.
    planned : tuple of PlannedCascade
        Its cascades, in its order.
    rows : mapping
        Rows of all finished cascades by id, also those of earlier plans.
    damaged : mapping
        What is wrong with the others that are there, by id.
    """

    campaign: Campaign
    planned: tuple[PlannedCascade, ...]
    rows: Mapping[str, Row]
    damaged: Mapping[str, str]

    @cached_property
    def outside(self) -> int:
        """Finished cascades that are in no table of the plan: earlier plans asked for them."""
        return len((self.rows.keys() | self.damaged.keys()) - {planned.id for planned in self.planned})

    def table(self, *, single_kicks: bool = False) -> CascadeTable:
        """Return one row per finished cascade of the plan, perhaps only of those whose atom is kicked once.

        Raises
        ------
        RecordError
            If a record of the plan is damaged.
        """
        for p in self.planned:
            if p.id in self.damaged:
                raise RecordError(self.damaged[p.id])
        found = [p for p in self.planned if p.id in self.rows]
        shares = solid_angle_shares(found)
        if single_kicks and any(p.then for p in found):
            alone = [i for i, p in enumerate(found) if not p.then]
            found, shares = [found[i] for i in alone], shares[alone]
        rows = [self.rows[p.id] for p in found]
        return CascadeTable(
            id=np.array([p.id for p in found], dtype=np.str_),
            species=np.array([p.species for p in found], dtype=np.str_),
            recoil_energy_eV=np.array([p.recoil_energy_eV for p in found], dtype=np.float64),
            direction=np.array([p.direction for p in found], dtype=np.float64).reshape(-1, 3),
            direction_weight=shares,
            snapshot=np.array([p.snapshot for p in found], dtype=np.int64),
            outcome=np.array([r.outcome for r in rows], dtype=np.str_),
            stored_energy_eV=np.array([number(r.stored_energy_eV) for r in rows], dtype=np.float64),
            potential_status=self.campaign.potential_status,
        )


def earlier_tables(run: RunDirectory, contents: RunContents) -> dict[float, CascadeTable]:
    """Return, by the times at which copies of the boxes were quenched too, the table as if it had ended there.

    Raises
    ------
    RecordError
        If a record of the plan is damaged.
    """
    table = contents.table()
    records = [run.record(str(cascade)) for cascade in table.id]
    times = {time for record in records for time in record.spec.protocol.follow.also_quench_at_ps or ()}
    return {time: _ended_at(time, table, records) for time in sorted(times)}


def _ended_at(time_ps: float, table: CascadeTable, records: list[Record]) -> CascadeTable:
    """Return a table with the outcomes and stored energies of an earlier time."""
    outcome, stored = table.outcome.astype(object), np.full(len(table), np.nan)
    for i, record in enumerate(records):
        times = record.spec.protocol.follow.also_quench_at_ps or ()
        if record.physics is None or not record.physics.earlier_quenches or time_ps not in times:
            continue
        quench = record.physics.earlier_quenches[times.index(time_ps)]
        stored[i] = quench.stored_energy_eV
        if record.outcome in (Outcome.COMPLETED, Outcome.NOT_QUENCHED, Outcome.NEGATIVE_STORED_ENERGY):
            is_quenched = quench.largest_force_eV_A <= record.spec.protocol.quench.largest_force_eV_A
            ended = outcome_of_stored_energy(stored[i]) if is_quenched else Outcome.NOT_QUENCHED
            outcome[i] = ended.key
    return replace(table, outcome=outcome.astype(np.str_), stored_energy_eV=stored)


def contents_of(run: RunDirectory) -> RunContents:
    """Return what a run holds now.

    Raises
    ------
    InputError
        If this is no run directory, or its plan is damaged.
    SchemaError
        If another version of the program wrote one of its records.
    """
    campaign = run.load()
    rows, damaged = run.index.read()
    return RunContents(campaign=campaign, planned=tuple(campaign.cascades()), rows=rows, damaged=damaged)


def outside_said(number: int) -> tuple[str, ...]:
    """Return a note about finished cascades that the plan does not ask for, if there are any."""
    if not number:
        return ()
    return (
        f"{number} finished cascades of earlier plans are kept and not counted: the present plan does not ask for "
        "them",
    )
