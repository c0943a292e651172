r"""Two campaigns side by side: what another box, border, time or potential changes in what recoils store.

Three answers for each species and recoil energy: the difference of the defect probabilities, that of the mean
stored energies, and, where both campaigns kicked along the same directions from the same snapshots, the same from
pairs. Pairs share what their cascades have in common, so that their difference is the better known the more alike
the flights are; cascades are chaotic, and pairs need not help.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy  # its `stats` is loaded where it is asked for: that takes as long as all the rest
from numpy.typing import NDArray

from cascade_driver.analysis.outcomes import UsableCascades, effective_number, usable_cascades
from cascade_driver.errors import InputError
from cascade_driver.kinds import Array
from cascade_driver.simulation.outcome import CascadeTable, STORED_ENERGY_FLOOR_eV, told_apart

#: Two directions that agree to this are one (cosine of 1e-4 rad).
_SAME_DIRECTION_DIGITS = 4


#: Stored energies from which on the error of their mean is known well enough to prove equality by it.
ENOUGH_EVENTS = 10

#: A p-value below which a difference is called one.
SIGNIFICANT_P = 0.05


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A number and its standard error."""

    value: float
    error: float


def equal_within(ratio: float, error: float) -> float:
    r"""Return the smallest margin x within which a ratio is shown to equal 1, at 95 % confidence.

    Two one-sided tests, of a ratio below 1 - x and of one above 1 + x, each at 5 %:

    .. math:: x = |r - 1| + 1.645\, \sigma_r

    That nothing differs significantly is no proof that it is equal; this is (Schuirmann 1987,
    doi:10.1007/BF01068419).
    """
    return abs(ratio - 1) + float(scipy.special.ndtri(0.95)) * error


@dataclass(frozen=True, kw_only=True)
class PairedDifference:
    """The second campaign minus the first, cascade by cascade.

    Attributes
    ----------
    n_pairs : int
        Of one direction and one snapshot index.
    only_first, only_second : int
        Pairs of which only one stored energy.
    mcnemar_p : float
        Exact two-sided probability of so uneven a split (McNemar 1947, doi:10.1007/BF02295996); nan where even the
        most uneven one of so few pairs is no less probable than `SIGNIFICANT_P`.
    stored_energy_eV : Estimate
        Mean difference of the stored energies, those without any counted as 0, with the error of that mean.
    largest_eV : float
        Largest difference of a pair, without its sign.
    """

    n_pairs: int
    only_first: int
    only_second: int
    mcnemar_p: float
    stored_energy_eV: Estimate
    largest_eV: float


@dataclass(frozen=True, kw_only=True)
class Difference:
    r"""What two campaigns store of recoils of one species and energy.

    Attributes
    ----------
    species : str
        Where one of the campaigns has recoils of it in several regions of a film, with its region: `Al-film`.
    recoil_energy_eV : float
    n_cascades, n_defects : (int, int)
        Usable cascades, and those of them that stored energy.
    defect_probability : (Estimate, Estimate)
        Weighted by direction.
    probability_difference : Estimate
        Second minus first.
    fisher_p : float
        Exact two-sided probability of so different counts, were the defect probability one (unweighted); nan
        where even all against none of so few cascades is no less probable than `SIGNIFICANT_P`.
    mean_stored_eV : (Estimate, Estimate)
        Over all cascades, those that stored nothing included: what the mean shift of a spectrum is.
    mean_of_nonzero_eV : (Estimate, Estimate)
        Over those that stored energy; nan without any.
    stored_ratio : Estimate
        Second over first of the means over all cascades; nan where the first stored nothing.
    kolmogorov_smirnov_p : float
        Two-sample test of the stored energies that are not zero; nan where even all of one above all of the other
        is no less probable than `SIGNIFICANT_P`.
    paired : PairedDifference or None
        None without common directions.
    samples : (Sample, Sample)
        The cascades themselves.
    """

    species: str
    recoil_energy_eV: float
    n_cascades: tuple[int, int]
    n_defects: tuple[int, int]
    defect_probability: tuple[Estimate, Estimate]
    probability_difference: Estimate
    fisher_p: float
    mean_stored_eV: tuple[Estimate, Estimate]
    mean_of_nonzero_eV: tuple[Estimate, Estimate]
    stored_ratio: Estimate
    kolmogorov_smirnov_p: float
    paired: PairedDifference | None
    samples: tuple[Sample, Sample]

    @property
    def name(self) -> str:
        """Whose it is: species and recoil energy."""
        return f"{self.species} {self.recoil_energy_eV:g} eV"

    @property
    def stored_difference_eV(self) -> Estimate:
        """Second minus first of the mean stored energies: of pairs, if every cascade is in one."""
        if self.paired is not None and self.paired.n_pairs == max(self.n_cascades):
            return self.paired.stored_energy_eV
        return _minus(self.mean_stored_eV[1], self.mean_stored_eV[0])

    @property
    def p_values(self) -> dict[str, float]:
        """What its tests say, by their names; without those that so few cascades cannot answer."""
        found = {"Fisher": self.fisher_p, "Kolmogorov-Smirnov": self.kolmogorov_smirnov_p}
        if self.paired is not None:
            found["McNemar"] = self.paired.mcnemar_p
        return {name: p for name, p in found.items() if np.isfinite(p)}

    @property
    def equal_within(self) -> float:
        """The margin of `equal_within` of the stored ratio; nan where fewer than `ENOUGH_EVENTS` stored energy."""
        if min(self.n_defects) < ENOUGH_EVENTS:
            return float("nan")
        return equal_within(self.stored_ratio.value, self.stored_ratio.error)


def compare(first: CascadeTable, second: CascadeTable, *, allow_failures: bool = False) -> tuple[Difference, ...]:
    """Return the differences at all species and recoil energies that both campaigns have.

    Raises
    ------
    InputError
        If there is no such species and energy.
    FitError, RecordError
        As `usable_cascades`.
    """
    found = []
    first, second = told_apart(first, second)
    directions = _directions(first, second)
    for species in sorted(set(first.species) & set(second.species)):
        one, two = (usable_cascades(t, species=species, allow_failures=allow_failures) for t in (first, second))
        common = sorted(set(one.recoil_energy_eV.tolist()) & set(two.recoil_energy_eV.tolist()))
        if not common:
            continue
        for energy in common:
            pairs = _paired(first, second, species=species, recoil_energy_eV=energy, directions=directions)
            found.append(_difference(Sample.of(one, energy), Sample.of(two, energy), pairs))
    if not found:
        raise InputError(
            "the campaigns have no recoil energy of one species in common; compare campaigns with common energies"
        )
    return tuple(found)


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Usable cascades of one species and energy.

    Attributes
    ----------
    species : str
    recoil_energy_eV : float
    stored_eV : (n,) float
        0 for those that store nothing.
    stores : (n,) bool
    weight : (n,) float
        Of the direction.
    """

    species: str
    recoil_energy_eV: float
    stored_eV: Array
    stores: NDArray[np.bool_]
    weight: Array

    @classmethod
    def of(cls, cascades: UsableCascades, recoil_energy_eV: float) -> Sample:
        """Return the cascades of one energy."""
        rows = cascades.recoil_energy_eV == recoil_energy_eV
        stores = cascades.stores_energy[rows]
        return cls(
            species=cascades.species,
            recoil_energy_eV=recoil_energy_eV,
            stored_eV=np.where(stores, cascades.stored_energy_eV[rows], 0.0),
            stores=stores,
            weight=cascades.weight[rows],
        )

    @property
    def probability(self) -> Estimate:
        """Weighted share, with the error of Agresti and Coull's two added trials of each kind.

        The plain error is 0 where all or none stored energy, however few they are
        (doi:10.1080/00031305.1998.10480550).
        """
        n = effective_number(self.weight)
        share = float(np.average(self.stores, weights=self.weight))
        shrunk = (share * n + 2) / (n + 4)
        return Estimate(value=share, error=float(np.sqrt(shrunk * (1 - shrunk) / (n + 4))))

    def mean(self, *, nonzero: bool) -> Estimate:
        """Return the weighted mean of all stored energies, or of those that are not zero, in eV."""
        rows = self.stores if nonzero else np.full(len(self.stores), fill_value=True)
        return _weighted_mean(self.stored_eV[rows], self.weight[rows])


def _weighted_mean(values: Array, weight: Array) -> Estimate:
    """Return a mean with the error of its weighted sum; nan with fewer than two values."""
    if len(values) == 0:
        return Estimate(value=float("nan"), error=float("nan"))
    mean = float(np.average(values, weights=weight))
    if len(values) == 1:
        return Estimate(value=mean, error=float("nan"))
    share = weight / weight.sum()
    n = effective_number(weight)
    return Estimate(value=mean, error=float(np.sqrt((share**2 * (values - mean) ** 2).sum() * n / (n - 1))))


def _difference(one: Sample, two: Sample, paired: PairedDifference | None) -> Difference:
    probabilities, means = (one.probability, two.probability), (one.mean(nonzero=False), two.mean(nonzero=False))
    counts = [[int(s.stores.sum()), int((~s.stores).sum())] for s in (one, two)]
    nonzero = [s.stored_eV[s.stores] for s in (one, two)]
    fisher_p = smirnov_p = float("nan")
    if _can_tell(one.stores, two.stores):
        fisher_p = float(scipy.stats.fisher_exact(np.array(counts)).pvalue)
    if _can_tell(nonzero[0], nonzero[1]):
        smirnov_p = float(scipy.stats.ks_2samp(nonzero[0], nonzero[1]).pvalue)
    return Difference(
        species=one.species,
        recoil_energy_eV=one.recoil_energy_eV,
        n_cascades=(len(one.stores), len(two.stores)),
        n_defects=(counts[0][0], counts[1][0]),
        defect_probability=probabilities,
        probability_difference=_minus(probabilities[1], probabilities[0]),
        fisher_p=fisher_p,
        mean_stored_eV=means,
        mean_of_nonzero_eV=(one.mean(nonzero=True), two.mean(nonzero=True)),
        stored_ratio=_ratio(means[1], means[0]),
        kolmogorov_smirnov_p=smirnov_p,
        paired=paired,
        samples=(one, two),
    )


def _can_tell(one: NDArray[Any], two: NDArray[Any]) -> bool:
    """Return whether a test of two samples can be significant: that all of one lie apart from all of the other
    has a probability of 2 in the number of ways to deal them out.
    """
    return SIGNIFICANT_P * math.comb(len(one) + len(two), len(one)) >= 2


def _minus(one: Estimate, two: Estimate) -> Estimate:
    return Estimate(value=one.value - two.value, error=float(np.hypot(one.error, two.error)))


def _ratio(one: Estimate, two: Estimate) -> Estimate:
    if not two.value > 0:
        return Estimate(value=float("nan"), error=float("nan"))
    ratio = one.value / two.value
    return Estimate(value=ratio, error=float(np.hypot(one.error, ratio * two.error) / two.value))


def are_the_same(differences: Sequence[Difference]) -> bool:
    """Return whether campaigns are one, cascade by cascade, and some cascade stored energy."""
    pairs = [d.paired for d in differences]
    return any(sum(d.n_defects) for d in differences) and all(
        pair is not None and pair.n_pairs == max(d.n_cascades) and pair.largest_eV <= STORED_ENERGY_FLOOR_eV
        for pair, d in zip(pairs, differences, strict=True)
    )


def verdict(differences: Sequence[Difference]) -> str:
    """Return whether campaigns are told apart, in a sentence.

    By the smallest p-value of all tests, and by Bonferroni's inequality: where nothing differs, one of n is so
    small with a probability of at most n times it.
    """
    if are_the_same(differences):
        n = sum(d.paired.n_pairs for d in differences if d.paired is not None)
        return f"the same: {n} in common, with the same stored energy each"
    found = [(p, f"{d.name}, {test}") for d in differences for test, p in d.p_values.items()]
    if not found:
        return (
            f"too few cascades to tell them apart: whatever they stored, no test could reach p = {SIGNIFICANT_P:g}"
        )
    smallest, of = min(found)
    by_chance = len(found) * smallest
    if len(found) == 1:
        smallness = f"p = {smallest:.2g} of the only test ({of})"
    else:
        smallness = f"the smallest p of {len(found)} tests is {smallest:.2g} ({of})"
        if by_chance < 1:
            smallness += f", which chance alone gives with a probability of {by_chance:.2g} at most"
    if by_chance < SIGNIFICANT_P:
        return f"they differ: {smallness}"
    return f"no difference is shown, which does not prove them equal: {smallness}"


# -- pairs --------------------------------------------------------------------------------------------------


def are_pairs(first: CascadeTable, second: CascadeTable) -> bool:
    """Return whether two campaigns have the same cascades in the same order, all of them usable in both."""
    if len(first) != len(second) or not (first.is_usable.all() and second.is_usable.all()):
        return False
    one, two = _directions(first, second)
    alike = (
        first.species == second.species,
        first.recoil_energy_eV == second.recoil_energy_eV,
        first.snapshot == second.snapshot,
        one == two,
    )
    return all(bool(equal.all()) for equal in alike)


def _directions(*tables: CascadeTable) -> list[NDArray[np.int64]]:
    """Return, for each table, an index of the direction of each row that means the same in all."""
    all_of_them = np.round(np.concatenate([t.direction for t in tables]), _SAME_DIRECTION_DIGITS) + 0.0
    index = np.unique(all_of_them, axis=0, return_inverse=True)[1].reshape(-1)
    return list(np.split(index, np.cumsum([len(t) for t in tables])[:-1]))


def _numbered(keys: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int, int]]:
    """Yield each key with how many equal ones came before: imported tables do not tell one start from another."""
    seen: Counter[tuple[int, int]] = Counter()
    for direction, start in keys:
        yield direction, start, seen[direction, start]
        seen[direction, start] += 1


def _paired(
    first: CascadeTable,
    second: CascadeTable,
    *,
    species: str,
    recoil_energy_eV: float,
    directions: list[NDArray[np.int64]],
) -> PairedDifference | None:
    stored = []
    for table, direction in zip((first, second), directions, strict=True):
        rows = table.is_usable & (table.species == species) & (table.recoil_energy_eV == recoil_energy_eV)
        energies = np.where(table.stores_energy, np.nan_to_num(table.stored_energy_eV), 0.0)
        keys = _numbered(zip(direction[rows].tolist(), table.snapshot[rows].tolist(), strict=True))
        stored.append(dict(zip(keys, energies[rows].tolist(), strict=True)))
    common = sorted(stored[0].keys() & stored[1].keys())
    if not common:
        return None
    one, two = (np.array([energies[key] for key in common]) for energies in stored)
    only_first, only_second = int(((one > 0) & (two == 0)).sum()), int(((one == 0) & (two > 0)).sum())
    unlike = only_first + only_second
    tells = 2 * 0.5 ** len(common) <= SIGNIFICANT_P
    p = float(scipy.stats.binomtest(only_first, unlike).pvalue) if unlike else 1.0
    return PairedDifference(
        n_pairs=len(common),
        only_first=only_first,
        only_second=only_second,
        mcnemar_p=p if tells else float("nan"),
        stored_energy_eV=_weighted_mean(two - one, np.ones(len(common))),
        largest_eV=float(np.abs(two - one).max()),
    )
