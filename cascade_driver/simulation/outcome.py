"""How cascades end: one by one, and as the table that the analysis reads.

This module is the only meeting point of simulation and analysis.
"""

from __future__ import annotations

import enum
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cascade_driver.kinds import weakest
from cascade_driver.table import data_frame

if TYPE_CHECKING:
    from pandas import DataFrame

#: Below this magnitude a stored energy is the noise of the minimiser, not a defect: cascades without a defect
#: come back to the reference within 1e-8 eV, real defects store eV.
STORED_ENERGY_FLOOR_eV = 1e-3


class Outcome(enum.Enum):
    """How a cascade ended; the values are the messages that people read."""

    COMPLETED = "completed"
    NEGATIVE_STORED_ENERGY = "stored energy below zero: the potential has found a spurious minimum"
    ENERGY_DRIFT = "total energy drifted beyond the tolerance"
    BOX_TOO_SMALL = "the recoil met the border of its box"
    LOST_ATOMS = "atoms were lost"
    NON_FINITE_ENERGY = "an energy was not a finite number"
    NOT_QUENCHED = "the quench did not reach its force tolerance"
    ENGINE_ERROR = "the engine stopped with an error"
    TIMED_OUT = "the time limit was reached"

    @property
    def key(self) -> str:
        """The short name that tables and JSON use, e.g. `completed`, `energy_drift`."""
        return self.name.lower()

    @classmethod
    def from_key(cls, key: str) -> Outcome:
        """Return the outcome named by `key`.

        Raises
        ------
        KeyError
            If there is no such outcome.
        """
        return cls[key.upper()]

    @property
    def is_usable(self) -> bool:
        """Whether the stored energy of such a cascade means what it says."""
        return self is Outcome.COMPLETED


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class CascadeTable:
    """One row per planned and finished cascade: all that the analysis needs of a campaign.

    Attributes
    ----------
    id : (n,) str
        Identifier of the cascade.
    species : (n,) str
        Chemical symbol of the primary knock-on atom.
    recoil_energy_eV : (n,) float
        Kinetic energy given to it.
    direction : (n, 3) float
        Unit vector of the kick in the crystal frame.
    direction_weight : (n,) float
        Share of the solid angle that the cascade stands for: that of its direction, divided among the finished
        cascades along it. Sums to 1 over one species and energy of a plan that is finished.
    snapshot : (n,) int
        Index of the thermal starting state.
    outcome : (n,) str
        `Outcome.key` of each.
    stored_energy_eV : (n,) float
        Stored energy; nan where the outcome left none.
    region : (n,) str
        Of a film: `film`, `substrate` or `interface`, where the recoils of a plan were aimed at; '' where it names
        none, as in a crystal. All '' if it is not given.
    potential_status : str
        `qualitative` or `quantitative`, as the potential declares itself.
    """

    id: NDArray[np.str_]
    species: NDArray[np.str_]
    recoil_energy_eV: NDArray[np.float64]
    direction: NDArray[np.float64]
    direction_weight: NDArray[np.float64]
    snapshot: NDArray[np.int64]
    outcome: NDArray[np.str_]
    stored_energy_eV: NDArray[np.float64]
    region: NDArray[np.str_] = field(default_factory=lambda: np.zeros(0, dtype=np.str_))
    potential_status: str = "qualitative"

    def __post_init__(self) -> None:
        if len(self.region) == 0:
            object.__setattr__(self, "region", np.zeros(len(self.id), dtype=np.str_))
        for name in _COLUMNS:
            if len(getattr(self, name)) != len(self.id):
                raise ValueError(f"{name} has {len(getattr(self, name))} rows, id has {len(self.id)}")

    def __len__(self) -> int:
        return len(self.id)

    def select(self, mask: NDArray[np.bool_]) -> CascadeTable:
        """Return the rows where `mask` is true."""
        return replace(self, **{name: getattr(self, name)[mask] for name in _COLUMNS})

    def __repr__(self) -> str:
        """Return one line: how many cascades of what."""
        recoils = sorted(set(zip(map(str, self.species), self.recoil_energy_eV.tolist(), strict=True)))
        said = ", ".join(f"{species} {energy:g} eV" for species, energy in recoils)
        return f"<CascadeTable: {len(self)} cascades ({said}), {int(self.stores_energy.sum())} store energy>"

    def to_pandas(self) -> DataFrame:
        """Return it as a `pandas.DataFrame`, its index the ids, the direction in three columns.

        Raises
        ------
        InputError
            If pandas is not installed.
        """
        columns: dict[str, NDArray[np.generic]] = {}
        for name in _COLUMNS[1:]:
            column = getattr(self, name)
            if column.ndim > 1:
                columns |= {f"{name}_{axis}": column[:, i] for i, axis in enumerate("xyz")}
            else:
                columns[name] = column
        return data_frame(columns, index=self.id).rename_axis("id")

    @property
    def is_usable(self) -> NDArray[np.bool_]:
        """(n,) whether the stored energy of a row means what it says."""
        usable = {o.key for o in Outcome if o.is_usable}
        return np.array([o in usable for o in self.outcome], dtype=bool)

    @property
    def stores_energy(self) -> NDArray[np.bool_]:
        """(n,) whether a row stored energy above `STORED_ENERGY_FLOOR_eV`."""
        return np.nan_to_num(self.stored_energy_eV, nan=0.0) > STORED_ENERGY_FLOOR_eV

    @property
    def regions(self) -> tuple[str, ...]:
        """The regions of its recoils, by name."""
        return tuple(sorted({str(region) for region in self.region}))

    def outcome_counts(self) -> dict[str, int]:
        """Return how many cascades ended in each way, most frequent first."""
        return dict(Counter(str(o) for o in self.outcome).most_common())


#: Names of the arrays of a table, all of one length.
_COLUMNS = tuple(one.name for one in fields(CascadeTable) if one.name != "potential_status")


def outcome_of_stored_energy(stored_energy_eV: float) -> Outcome:
    """Return the outcome that a stored energy alone implies."""
    if not math.isfinite(stored_energy_eV):
        return Outcome.NON_FINITE_ENERGY
    if stored_energy_eV < -STORED_ENERGY_FLOOR_eV:
        return Outcome.NEGATIVE_STORED_ENERGY
    return Outcome.COMPLETED


def of_region(species: str, region: str) -> str:
    """Return what recoils of a species in one of several regions are called.

    >>> of_region("Al", "film"), of_region("Al", "")
    ('Al-film', 'Al-anywhere')
    """
    return f"{species}-{region or 'anywhere'}"


def recoils_told(recoils: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Return what recoils of each species and region are called: with the region where the species has several.

    >>> recoils_told([("Si", "film"), ("Si", "substrate"), ("Al", "film")])[("Si", "film")]
    'Si-film'
    """
    regions: dict[str, set[str]] = defaultdict(set)
    for species, region in recoils:
        regions[species].add(region)
    return {
        (species, region): of_region(species, region) if len(several) > 1 else species
        for species, several in regions.items()
        for region in several
    }


def told_apart(*tables: CascadeTable) -> list[CascadeTable]:
    """Return tables in which recoils of a species in several regions are as of several species.

    What they store is not one sample. A species that has a single region in each of the tables keeps its name,
    also if it is not the same one: two regions may be compared.
    """
    several = {
        species
        for table in tables
        for species in set(table.species.tolist())
        if len(table.select(table.species == species).regions) > 1
    }
    if not several:
        return list(tables)
    return [
        replace(
            table,
            species=np.array(
                [
                    of_region(species, region) if species in several else species
                    for species, region in zip(table.species.tolist(), table.region.tolist(), strict=True)
                ],
                dtype=np.str_,
            ),
        )
        for table in tables
    ]


def concatenate(tables: Sequence[CascadeTable]) -> CascadeTable:
    """Return the rows of several tables as one; its status is the weakest among them."""
    return CascadeTable(
        **{name: np.concatenate([getattr(table, name) for table in tables]) for name in _COLUMNS},
        potential_status=weakest(t.potential_status for t in tables),
    )
