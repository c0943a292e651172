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
from cascade_driver.simulation.record import EarlierQuench
from cascade_driver.simulation.spec import Protocol


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
            region=np.array([p.region_name for p in found], dtype=np.str_),
            potential_status=self.campaign.potential_status,
        )


def earlier_tables(run: RunDirectory, contents: RunContents) -> dict[float, CascadeTable]:
    """Return, by the times at which copies of the boxes were quenched too, the table as if it had ended there.

    Raises
    ------
    RecordError
        If a record of the plan is damaged.
    """
    # Of the plan and not of the records: an id holds the digest of the protocol, so all share it.
    protocol = contents.campaign.protocol
    times_ps = protocol.follow.also_quench_at_ps or ()
    if not times_ps:
        return {}
    table = contents.table()
    outcome = np.tile(table.outcome.astype(object), (len(times_ps), 1))
    stored_eV = np.full(outcome.shape, np.nan)
    for i, cascade in enumerate(table.id):
        record = run.record(str(cascade))
        quenches = (record.physics and record.physics.earlier_quenches) or ()
        for k, quench in enumerate(quenches):
            stored_eV[k, i] = quench.stored_energy_eV
            if record.outcome in (Outcome.COMPLETED, Outcome.NOT_QUENCHED, Outcome.NEGATIVE_STORED_ENERGY):
                outcome[k, i] = _outcome_of(quench, protocol).key
    return {
        time_ps: replace(table, outcome=ended.astype(np.str_), stored_energy_eV=stored)
        for time_ps, ended, stored in zip(times_ps, outcome, stored_eV, strict=True)
    }


def _outcome_of(quench: EarlierQuench, protocol: Protocol) -> Outcome:
    """Return how a cascade would have ended with this quench."""
    if quench.largest_force_eV_A > protocol.quench.largest_force_eV_A:
        return Outcome.NOT_QUENCHED
    return outcome_of_stored_energy(quench.stored_energy_eV)


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
