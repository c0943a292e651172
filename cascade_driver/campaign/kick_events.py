"""Cascades of several kicks as a table: what each kick found, what all brought, what was stored and is seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cascade_driver.campaign.plan import solid_angle_shares
from cascade_driver.campaign.rundir import RunDirectory
from cascade_driver.errors import InputError
from cascade_driver.simulation.record import Record, RecordedKick

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True, eq=False)
class KickEvents:
    """One row per finished cascade with later kicks, in the order of the plan; energies in eV.

    Attributes
    ----------
    id, species, outcome : (n,) str
        As in `CascadeTable`.
    direction_weight : (n,) float
        Share of the solid angle that the cascade stands for, by the direction of its first kick.
    first_recoil_energy_eV : (n,) float
        Brought by the first kick.
    kick_time_fs : (n, k) float
        Times of the later kicks; nan beyond the last one of a cascade, and where it failed before.
    kick_recoil_energy_eV : (n, k) float
        What each of them would bring to an atom at rest.
    kinetic_energy_before_eV : (n, k) float
        What the atom had.
    recoil_energy_total_eV : (n,) float
        Brought by all kicks.
    stored_energy_eV : (n,) float
        Left in the crystal.
    potential_status : str
        `qualitative` or `quantitative`.
    """

    id: NDArray[np.str_]
    species: NDArray[np.str_]
    outcome: NDArray[np.str_]
    direction_weight: NDArray[np.float64]
    first_recoil_energy_eV: NDArray[np.float64]
    kick_time_fs: NDArray[np.float64]
    kick_recoil_energy_eV: NDArray[np.float64]
    kinetic_energy_before_eV: NDArray[np.float64]
    recoil_energy_total_eV: NDArray[np.float64]
    stored_energy_eV: NDArray[np.float64]
    potential_status: str = "qualitative"

    def __len__(self) -> int:
        return len(self.id)

    @property
    def observed_energy_eV(self) -> NDArray[np.float64]:
        """(n,) what a calorimeter sees: all that was brought, less what was stored."""
        return self.recoil_energy_total_eV - self.stored_energy_eV

    @property
    def slow_energy_eV(self) -> NDArray[np.float64]:
        """(n,) what the kicks would bring if each found the atom at rest."""
        return np.asarray(self.first_recoil_energy_eV + np.nansum(self.kick_recoil_energy_eV, axis=1))

    def plot(self) -> Figure:
        """Return a figure of second kicks, see `plot.second_kick_figure`."""
        from cascade_driver.plot import second_kick_figure

        return second_kick_figure(self)


def kick_events(run: RunDirectory) -> KickEvents:
    """Return the finished cascades of a run that have later kicks.

    Raises
    ------
    InputError
        If this is no run directory, or nothing of the kind is finished in it.
    RecordError
        If a record is damaged.
    """
    campaign = run.load()
    planned = [p for p in campaign.cascades() if p.then and run.is_finished(p.id)]
    if not planned:
        raise InputError(
            f"{run.path}: no finished cascade with later kicks; add [[recoils.then]] to a [[recoils]] and run it"
        )
    records = [run.record(p.id) for p in planned]
    most = max(len(p.then or ()) for p in planned)
    return KickEvents(
        id=np.array([p.id for p in planned], dtype=np.str_),
        species=np.array([p.species for p in planned], dtype=np.str_),
        outcome=np.array([r.outcome.key for r in records], dtype=np.str_),
        direction_weight=solid_angle_shares(planned),
        first_recoil_energy_eV=np.array([p.recoil_energy_eV for p in planned]),
        kick_time_fs=_padded([[k.time_fs for k in _later(r)] for r in records], most),
        kick_recoil_energy_eV=_padded([[k.recoil_energy_eV for k in p.then or ()] for p in planned], most),
        kinetic_energy_before_eV=_padded([[k.kinetic_energy_before_eV for k in _later(r)] for r in records], most),
        recoil_energy_total_eV=np.array([_total_eV(r) for r in records]),
        stored_energy_eV=np.array([r.stored_energy_eV for r in records]),
        potential_status=campaign.potential_status,
    )


def _later(record: Record) -> tuple[RecordedKick, ...]:
    return (record.physics.later_kicks if record.physics else None) or ()


def _total_eV(record: Record) -> float:
    total = record.physics.recoil_energy_total_eV if record.physics else None
    return np.nan if total is None else total


def _padded(rows: list[list[float]], width: int) -> NDArray[np.float64]:
    return np.array([row + [np.nan] * (width - len(row)) for row in rows], dtype=np.float64)
