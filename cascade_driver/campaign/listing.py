"""The cascades of a plan, one by one: by their number, with what became of each."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Integral
from typing import Any, Literal

from cascade_driver.campaign.contents import contents_of
from cascade_driver.campaign.flown import flown_ps
from cascade_driver.campaign.index import number
from cascade_driver.campaign.rundir import RunDirectory
from cascade_driver.errors import InputError

#: What stands for an outcome while there is none.
PLANNED, DAMAGED = "planned", "damaged"


@dataclass(frozen=True, kw_only=True)
class ListedCascade:
    """A cascade of a plan and what became of it.

    Attributes
    ----------
    number : int
        Its place in the plan, from 1; it changes when the campaign is extended, the id never does.
    id : str
    species : str
        Chemical symbol of the primary knock-on atom.
    recoil_energy_eV : float
    direction : (3,) float
        Unit vector of the kick in the crystal frame.
    snapshot : int
        Index of the thermal starting state.
    region : str
        Of a film, where the plan names one; else ''.
    outcome : str
        `Outcome.key`, or `planned` or `damaged`.
    stored_energy_eV : float
        nan where there is none.
    """

    number: int
    id: str
    species: str
    recoil_energy_eV: float
    direction: tuple[float, float, float]
    snapshot: int
    region: str
    outcome: str
    stored_energy_eV: float

    def as_json(self) -> Mapping[str, object]:
        """Return JSON-ready content; what is not there is null."""
        content: dict[str, object] = {name: getattr(self, name) for name in self.__dataclass_fields__}
        stored = self.stored_energy_eV
        return content | {"direction": list(self.direction), "stored_energy_eV": _none_for_nan(stored)}


def _none_for_nan(value: float) -> float | None:
    return None if math.isnan(value) else value


#: By what cascades are sorted; what has no stored energy comes last.
SORT_KEYS: dict[str, Callable[[ListedCascade], Any]] = {
    "number": lambda c: c.number,
    "id": lambda c: c.id,
    "species": lambda c: c.species,
    "energy": lambda c: c.recoil_energy_eV,
    "direction": lambda c: c.direction,
    "snapshot": lambda c: c.snapshot,
    "outcome": lambda c: c.outcome,
    "stored": lambda c: math.inf if math.isnan(c.stored_energy_eV) else c.stored_energy_eV,
}


def listed(
    run: RunDirectory,
    *,
    sort: Literal["number", "id", "species", "energy", "direction", "snapshot", "outcome", "stored"] = "number",
    reverse: bool = False,
    species: str | None = None,
    recoil_energy_eV: float | None = None,
    outcome: str | None = None,
) -> list[ListedCascade]:
    """Return cascades of the plan of a run.

    Parameters
    ----------
    run : RunDirectory
    sort : str
        By which column; `number` is the order of the plan.
    reverse : bool
        The other way round.
    species : str, optional
        Only recoils of this species.
    recoil_energy_eV : float, optional
        Only of this recoil energy.
    outcome : str, optional
        Only with this outcome, or `planned` or `damaged`.

    Raises
    ------
    InputError
        If this is no run directory.
    """
    every = _planned(run)
    chosen = [
        cascade
        for cascade in every
        if species in {None, cascade.species}
        and recoil_energy_eV in {None, cascade.recoil_energy_eV}
        and outcome in {None, cascade.outcome}
    ]
    return sorted(chosen, key=SORT_KEYS[sort], reverse=reverse)


def _planned(run: RunDirectory) -> list[ListedCascade]:
    """Return all cascades in the order of the plan."""
    now = contents_of(run)
    cascades = []
    for place, planned in enumerate(now.planned, start=1):
        row = now.rows.get(planned.id)
        cascades.append(
            ListedCascade(
                number=place,
                id=planned.id,
                species=planned.species,
                recoil_energy_eV=planned.recoil_energy_eV,
                direction=planned.direction,
                snapshot=planned.snapshot,
                region=planned.region_name,
                outcome=row.outcome if row else DAMAGED if planned.id in now.damaged else PLANNED,
                stored_energy_eV=number(row.stored_energy_eV) if row else math.nan,
            )
        )
    return cascades


def one_finished(run: RunDirectory, name: str | int) -> str:
    """Return the id of the finished cascade that is meant by its number in the plan, or the beginning of its id.

    Text of digits without a leading zero is a number if the plan has so many cascades; a whole number always is.

    Raises
    ------
    InputError
        If there is none, or several.
    """
    campaign = run.load()
    planned = [cascade.id for cascade in campaign.cascades()]
    finished = run.finished()
    if isinstance(name, Integral) and not 1 <= name <= len(planned):
        raise InputError(f"{run.path}: no cascade {name}: the plan numbers them from 1 to {len(planned)}")
    name = str(name)
    is_number = name.isascii() and name.isdigit() and not name.startswith("0") and int(name) <= len(planned)
    meant = [planned[int(name) - 1]] if is_number else [one for one in planned if name and one.startswith(name)]
    if len(meant) == 1 and meant[0] not in finished:
        place, flown = planned.index(meant[0]) + 1, flown_ps(run.logs, meant[0])
        of_ps = campaign.protocol.follow.duration_ps
        far = "" if flown is None else f", it has flown {flown:.2f} of {of_ps:g} ps"
        raise InputError(
            f"{run.path}: cascade {place} of the plan ({meant[0]}) is not finished{far}; see `cascade ls`"
        )
    if is_number:
        return meant[0]
    matches = sorted(cascade for cascade in finished if cascade.startswith(name))
    if len(matches) != 1:
        found = "no finished cascade" if not matches else f"{len(matches)} cascades"
        raise InputError(
            f"{run.path}: {found} with an id that begins with `{name}`, and the plan has {len(planned)} cascades; "
            "`cascade ls` names them"
        )
    return matches[0]
