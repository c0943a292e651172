"""Which cascades the analysis may use, and when it must refuse.

A cascade that failed is not a cascade at random: those that lose atoms, drift or meet the border of their box
are the violent ones, which store more. Leaving them out in silence would bias the defect probability, so they
are counted here, per species and recoil energy, before anything is fitted.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cascade_driver.errors import FitError, InputError, RecordError
from cascade_driver.simulation.outcome import CascadeTable, Outcome, STORED_ENERGY_FLOOR_eV

#: No energy (eV) of a law, stored or of a recoil, lies further from zero: beside it bins are lost in rounding
#: (from 1e16 on).
FARTHEST_LOCATION_eV = 1e12

#: Share of unusable cascades that is always tolerated: a shift of p_d by 0.02 is a quarter of a standard
#: error for 32 cascades, and one for 640.
TOLERATED_SHARE = 0.02

#: Recoil energies that differ by less than this share are one: the rest is rounding, and no function of the energy
#: can be told from it.
SAME_ENERGY = 1e-6

#: Name under which a finished cascade is counted that stored more than it was given.
EXCESS_ENERGY = "stored_more_than_recoil"


@dataclass(frozen=True, kw_only=True)
class GroupOutcomes:
    """How the cascades of one species and recoil energy ended.

    Attributes
    ----------
    species : str
    recoil_energy_eV : float
    counts : dict
        Cascades by outcome, most frequent first; keys of `Outcome`, and `stored_more_than_recoil`.
    n_cascades, n_unusable : int
    unusable_share : float
        Share of the solid angle (of the summed direction weight) that the unusable ones stand for. The defect
        probability cannot be wrong by more than this share through their absence.
    tolerated_share : float
        See `usable_cascades`.
    """

    species: str
    recoil_energy_eV: float
    counts: dict[str, int]
    n_cascades: int
    n_unusable: int
    unusable_share: float
    tolerated_share: float

    @property
    def is_tolerable(self) -> bool:
        """Whether the unusable ones are too few to bias the result."""
        return self.unusable_share <= self.tolerated_share

    def __str__(self) -> str:
        failures = ", ".join(f"{n} {key}" for key, n in self.counts.items() if key != Outcome.COMPLETED.key)
        return (
            f"{self.species} at {self.recoil_energy_eV:g} eV: {self.n_unusable} of {self.n_cascades} "
            f"cascades unusable ({failures}; {self.unusable_share:.1%} of the solid angle, "
            f"{self.tolerated_share:.1%} tolerated)"
        )


@dataclass(frozen=True, kw_only=True)
class UsableCascades:
    """The cascades of one species whose stored energy means what it says: the input of every fit.

    Attributes
    ----------
    species : str
    recoil_energy_eV, stored_energy_eV : (n,) float
    stores_energy : (n,) bool
        Whether the stored energy lies above `STORED_ENERGY_FLOOR_eV`.
    weight : (n,) float
        Direction weight, scaled so that its mean is 1 over the usable cascades of each recoil energy.
    direction_index : (n,) int
        Equal for cascades kicked along the same direction, at whatever energy.
    snapshot : (n,) int
        Thermal starting state.
    groups : tuple of GroupOutcomes
        How all cascades ended, the unusable ones included; by recoil energy.
    notes : tuple of str
        What a reader of the result must know.
    """

    species: str
    recoil_energy_eV: NDArray[np.float64]
    stored_energy_eV: NDArray[np.float64]
    stores_energy: NDArray[np.bool_]
    weight: NDArray[np.float64]
    direction_index: NDArray[np.int64]
    snapshot: NDArray[np.int64]
    groups: tuple[GroupOutcomes, ...]
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.recoil_energy_eV)


def effective_number(weight: NDArray[np.float64]) -> float:
    r"""Return the number of equally weighted cascades that carry the same information (Kish).

    .. math:: n_\mathrm{eff} = (\sum w)^2 / \sum w^2

    Parameters
    ----------
    weight : (n,) float
        Weights, of any normalisation.
    """
    return float(weight.sum() ** 2 / np.square(weight).sum()) if len(weight) else 0.0


def _kinds(table: CascadeTable) -> NDArray[np.str_]:
    """Return the outcome of each row, corrected by what its stored energy says."""
    kinds = table.outcome.astype("U32")
    completed = table.is_usable
    broken = completed & ~np.isfinite(table.stored_energy_eV)
    if broken.any():
        raise RecordError(
            f"{broken.sum()} cascades are marked completed without a finite stored energy (first: "
            f"{table.id[broken][0]}): the records are damaged, rebuild the table or rerun these"
        )
    stored = np.nan_to_num(table.stored_energy_eV)
    kinds[completed & (stored < -STORED_ENERGY_FLOOR_eV)] = Outcome.NEGATIVE_STORED_ENERGY.key
    kinds[completed & (stored > table.recoil_energy_eV)] = EXCESS_ENERGY
    return kinds


def count_outcomes(table: CascadeTable) -> tuple[GroupOutcomes, ...]:
    """Return how the cascades of each species and recoil energy ended.

    Raises
    ------
    InputError
        If direction weights are negative, not finite, or all zero for a species and energy.
    RecordError
        If a completed cascade has no finite stored energy.
    """
    if not np.all(np.isfinite(table.direction_weight) & (table.direction_weight >= 0)):
        raise InputError("direction weights must be finite and not negative: some are not; rebuild the table")
    kinds = _kinds(table)
    groups = []
    for species, energy in sorted(
        {(str(s), float(e)) for s, e in zip(table.species, table.recoil_energy_eV, strict=True)}
    ):
        rows = (table.species == species) & (table.recoil_energy_eV == energy)
        weight = table.direction_weight[rows]
        if not weight.sum() > 0:
            raise InputError(f"{species} at {energy:g} eV: all direction weights are zero; rebuild the table")
        bad = kinds[rows] != Outcome.COMPLETED.key
        groups.append(
            GroupOutcomes(
                species=species,
                recoil_energy_eV=energy,
                counts=dict(Counter(str(k) for k in kinds[rows]).most_common()),
                n_cascades=int(rows.sum()),
                n_unusable=int(bad.sum()),
                unusable_share=float(weight[bad].sum() / weight.sum()),
                tolerated_share=max(TOLERATED_SHARE, 0.5 / math.sqrt(effective_number(weight))),
            )
        )
    return tuple(groups)


def _notes(groups: tuple[GroupOutcomes, ...], *, forced: bool) -> tuple[str, ...]:
    notes = [f"left out: {group}" for group in groups if group.n_unusable]
    negative = sum(g.counts.get(Outcome.NEGATIVE_STORED_ENERGY.key, 0) for g in groups)
    if negative:
        notes.append(
            f"{negative} cascades ended below the energy of the perfect crystal and enter no average: the "
            "potential has spurious minima and needs training there"
        )
    if forced:
        notes.append(
            "fitted all the same (allow_failures) although more cascades are unusable than is tolerated: the "
            "defect probability may be off by their share"
        )
    return tuple(notes)


def usable_cascades(table: CascadeTable, *, species: str, allow_failures: bool = False) -> UsableCascades:
    r"""Return the cascades of one species that a fit may use, with weights of mean 1 per recoil energy.

    A failed cascade may or may not have stored energy, so leaving out a share :math:`s` of the solid angle
    moves the defect probability by at most :math:`s`. That is tolerated at each recoil energy up to

    .. math:: s_\mathrm{max} = \max(0.02,\; 1 / 2\sqrt{n_\mathrm{eff}}) ,

    the second term being the binomial standard error at :math:`p_d = 1/2`: the worst conceivable bias then
    stays below the statistical error of that energy, while one failure among 32 cascades does not stop the
    work. Negative stored energies count as unusable.

    Parameters
    ----------
    table : CascadeTable
    species : str
        Chemical symbol of the knocked-on atom.
    allow_failures : bool
        Go on although too many are unusable; the result carries a note that says so.

    Raises
    ------
    FitError
        If the table holds no cascade of the species, no usable one, too many unusable ones, or those of several
        regions of a film.
    InputError, RecordError
        As `count_outcomes`.
    """
    table = table.select(table.species == species)
    if len(table) == 0:
        raise FitError(f"no cascade of {species} in the table: simulate some, or ask for another species")
    if len(table.regions) > 1:
        where = " and ".join(region or "anywhere" for region in table.regions)
        raise FitError(
            f"{species}: recoils in {where} are not one sample, what they store differs: fit one of them "
            "(--region; region in [analysis])"
        )
    groups = count_outcomes(table)
    intolerable = sorted((g for g in groups if not g.is_tolerable), key=lambda g: -g.unusable_share)
    if intolerable and not allow_failures:
        more = f" (and {len(intolerable) - 1} more energies)" if len(intolerable) > 1 else ""
        raise FitError(
            f"{intolerable[0]}{more}: without them the fit could be biased; rerun or mend these cascades, "
            "or allow it (--allow-failures; allow_failures = true)"
        )
    directions = np.round(table.direction, 9) + 0.0  # -0.0 and 0.0 are one direction
    index = np.unique(directions, axis=0, return_inverse=True)[1].reshape(-1)
    usable = (_kinds(table) == Outcome.COMPLETED.key) & (table.direction_weight > 0)
    if not usable.any():
        raise FitError(f"{species}: none of {len(table)} cascades is usable; see their outcomes")
    energy = _merged(table.recoil_energy_eV[usable])
    energies, group = np.unique(energy, return_inverse=True)
    weight = table.direction_weight[usable]
    mean = np.bincount(group, weight, len(energies)) / np.bincount(group, minlength=len(energies))
    return UsableCascades(
        species=species,
        recoil_energy_eV=energy,
        stored_energy_eV=table.stored_energy_eV[usable],
        stores_energy=table.stores_energy[usable],
        weight=weight / mean[group],
        direction_index=index[usable].astype(np.int64),
        snapshot=table.snapshot[usable].astype(np.int64),
        groups=groups,
        notes=_notes(groups, forced=bool(intolerable)),
    )


def _merged(energy_eV: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return energies of which those that are the same within `SAME_ENERGY` are equal."""
    known, place = np.unique(energy_eV, return_inverse=True)
    is_new = np.diff(known, prepend=-np.inf) > SAME_ENERGY * known
    return np.asarray(known[is_new][np.cumsum(is_new) - 1][place.reshape(-1)])
