"""What a run says in ten seconds: a sentence per spectrum and species, and a light for its health."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cascade_driver.analysis.model import SpeciesModel, StoredEnergyModel
from cascade_driver.kinds import Status
from cascade_driver.simulation.outcome import CascadeTable
from cascade_driver.spectra.observe import Observed
from cascade_driver.spectrum import rebin
from cascade_driver.text import value_with_error

#: A deviation below this share is not worth a word.
WORTH_A_WORD = 0.02

#: How far a potential is to be trusted, by what it says of itself.
TRUST: dict[Status, str] = {
    "qualitative": "The potential calls itself qualitative: shapes and trends can be looked at, the energies are "
    "not to be quoted as those of the crystal.",
    "quantitative": "The potential calls itself quantitative: its validation report says in what.",
}


@dataclass(frozen=True, kw_only=True)
class Light:
    """The health of a run: a colour, and the word for those who do not see it."""

    colour: Literal["green", "amber", "red"]
    word: str


GOOD = Light(colour="green", word="finished and healthy")
LOOK = Light(colour="amber", word="read the remarks before you use it")
BAD = Light(colour="red", word="not to be used yet")


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Counts per kg and day in the range of a spectrum that matters, with their standard errors if they are known.

    Attributes
    ----------
    low_eV, high_eV : float
        The range.
    expected, observed : float
    expected_error, observed_error : float, optional
        Of the source alone; of everything.
    ratio, ratio_error : float, optional
        Observed to expected; an error of the source is common to both and none of the ratio. None where nothing is
        expected.
    """

    low_eV: float
    high_eV: float
    expected: float
    expected_error: float | None
    observed: float
    observed_error: float | None
    ratio: float | None
    ratio_error: float | None


def counts_of(pair: Observed) -> Counts | None:
    """Return the counts of a pair in `Observed.told_eV`, if there is any."""
    if pair.told_eV is None:
        return None
    low, high = pair.told_eV
    expected, observed = (rebin(s, [low, high]).total_counts_per_kg_day for s in (pair.expected, pair.observed))
    whole = of_source = alone = None
    if (bands := pair.bands) is not None:
        others = set(bands.components) - {"source"}
        whole = bands.error_of_counts_per_kg_day(low_eV=low, high_eV=high)
        alone = bands.error_of_counts_per_kg_day(low_eV=low, high_eV=high, without={"source"})
        if "source" in bands.components and observed > 0:
            part = bands.error_of_counts_per_kg_day(low_eV=low, high_eV=high, without=others)
            of_source = None if part is None else part * expected / observed
    return Counts(
        low_eV=low,
        high_eV=high,
        expected=expected,
        expected_error=of_source,
        observed=observed,
        observed_error=whole,
        ratio=observed / expected if expected > 0 else None,
        ratio_error=alone / expected if alone is not None and expected > 0 else None,
    )


def said_of_spectra(pairs: Sequence[Observed]) -> list[tuple[str, str]]:
    """Return of whom and what: what storing energy does to each spectrum, and how well that is known.

    What holds of all of them is said once, of nobody.
    """
    said = [(pair.title[:1].upper() + pair.title[1:], [_effect(pair)], _limits(pair)) for pair in pairs]
    common = [text for text in said[0][2] if all(text in limits for _, _, limits in said)] if said else []
    rows = [(who, " ".join([*effect, *(t for t in limits if t not in common)])) for who, effect, limits in said]
    return [(who, _bound(text)) for who, text in [*rows, *([("", " ".join(common))] if common else [])]]


def _bound(text: str) -> str:
    """Return a text whose numbers do not part from their errors and units at the end of a line."""
    for sign in (" %", " eV", " ± "):
        text = text.replace(sign, sign.replace(" ", "\u00a0"))
    return text


def _effect(pair: Observed) -> str:
    if pair.complete_eV is None:
        return (
            "in no bin can it be told, recoils from beyond the range of the spectrum are missing in all of them."
        )
    said, counts = _deviations(pair), counts_of(pair)
    if counts is None or counts.ratio is None:
        return f"{said}."
    ratio = value_with_error(counts.ratio, counts.ratio_error)
    return f"{said}; in all, from {counts.low_eV:.3g} to {counts.high_eV:.3g} eV, {ratio} of the expected counts."


def _limits(pair: Observed) -> list[str]:
    return [*_unknown(pair), *_limited_by(pair)]


def _deviations(pair: Observed) -> str:
    """Return where more and where less is observed than expected, and by how much at most."""
    low_eV, high_eV = pair.range_eV
    edges = pair.expected.energy_edges_eV
    inside = pair.is_complete & (edges[:-1] >= low_eV) & (edges[1:] <= high_eV) & np.isfinite(pair.ratio)
    parts = []
    for sign, word in ((1, "more"), (-1, "less")):
        stretch = _stretch(sign * (pair.ratio - 1), inside)
        if stretch is None:
            continue
        bins, most = stretch
        doubt = "" if _excludes_one(pair, bins, sign) else " (no more than its error)"
        first, last = edges[bins.start], edges[bins.stop]
        parts.append(f"between {first:.3g} and {last:.3g} eV up to {most:.0%} {word}{doubt}".replace("%", " %"))
    if not parts:
        return f"nowhere {WORTH_A_WORD:.0%} more or less than expected".replace("%", " %")
    return ", ".join(parts) + " than expected"


def _stretch(deviation: NDArray[np.float64], inside: NDArray[np.bool_]) -> tuple[slice, float] | None:
    """Return the bins about the largest deviation that have more than half of it, if it is worth a word."""
    seen = np.where(inside, deviation, -math.inf)
    if not len(seen) or seen.max() < WORTH_A_WORD:
        return None
    peak = int(np.argmax(seen))
    below = np.flatnonzero(~(seen > seen[peak] / 2))
    first = below[below < peak].max(initial=-1) + 1
    last = below[below > peak].min(initial=len(seen))
    return slice(int(first), int(last)), float(seen[peak])


def _excludes_one(pair: Observed, bins: slice, sign: int) -> bool:
    """Return whether the band of the ratio leaves out 1 in some of the bins; without a band nobody knows."""
    if pair.bands is None:
        return True
    total = pair.bands.total
    side = total.lower_per_kg_day_keV if sign > 0 else total.upper_per_kg_day_keV
    expected = pair.expected.total_rate_per_kg_day_keV
    return bool(np.any(sign * (side[bins] - expected[bins]) > 0))


def _unknown(pair: Observed) -> list[str]:
    """Return beyond which energies the spectrum is not known, or a formula carried on."""
    top = float(pair.expected.energy_edges_eV[-1])
    said = []
    if pair.complete_eV is not None and pair.complete_eV[1] < top * (1 - 1e-9):
        said.append(f"Above {pair.complete_eV[1]:.3g} eV it is not known.")
    if pair.simulated_eV is not None and pair.simulated_eV[1] < top * (1 - 1e-9):
        said.append(f"Above {max(pair.simulated_eV[1], 0):.3g} eV recoils that were not simulated contribute.")
    return said


def _limited_by(pair: Observed) -> list[str]:
    if pair.bands is None or pair.told_eV is None:
        return []
    low, high = pair.told_eV
    error = pair.bands.relative_deviation("total", low_eV=low, high_eV=high)
    largest = pair.bands.dominant(low_eV=low, high_eV=high)
    if not largest:
        return []
    of, remedy = f"{error:.0%}".replace("%", " %"), pair.bands.remedy(low_eV=low, high_eV=high)
    return [f"The error, {of} of the rate in a bin, is dominated by {largest}; {remedy}."]


def said_of_cascades(table: CascadeTable) -> list[str]:
    """Return a sentence per species where nothing is fitted: how many of its recoils left a defect."""
    said = []
    for species in sorted({str(s) for s in table.species}):
        of = table.is_usable & (table.species == species)
        if not of.any():
            continue
        low, high = table.recoil_energy_eV[of].min(), table.recoil_energy_eV[of].max()
        energies = f"of {low:g} eV" if low == high else f"of {low:g} to {high:g} eV"
        hits = int(table.stores_energy[of].sum())
        said.append(_bound(f"{species} recoils {energies}: {hits or 'none'} of {of.sum()} left a defect."))
    return said


def said_of_recoils(model: StoredEnergyModel) -> list[str]:
    """Return a sentence per species: where defects begin, and what is stored at the highest energy."""
    return [_said_of_species(species, one) for species, one in sorted(model.species.items())]


def _said_of_species(species: str, one: SpeciesModel) -> str:
    fit, stored = one.defect_probability_fit, one.distribution_fit
    low, high = one.minimum_recoil_energy_eV, one.maximum_recoil_energy_eV
    said = f"{species} recoils, simulated from {low:g} to {high:g} eV"
    if fit is not None:
        said += f": half of them leave a defect at {value_with_error(fit.values[0], fit.errors[0])} eV"
    known = [s for s in stored.summaries if s.mean_eV is not None] if stored is not None else []
    if known:
        last = known[-1]
        mean, energy = last.mean_eV or 0.0, last.recoil_energy_eV
        said += "; those that do store " if fit is not None else ": those with a defect store "
        said += (
            f"{value_with_error(mean, last.standard_error_eV)} eV of {energy:g} eV, {100 * mean / energy:.2g} %"
        )
    return _bound(said + ".")


def light_of(remarks: Sequence[str], *, is_usable: bool) -> Light:
    """Return the light of a run with some remarks to it, beside those on its potential."""
    if not is_usable:
        return BAD
    return LOOK if remarks else GOOD
