"""The correction for stored energy: each element's recoils through the response of that element."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cascade_driver.errors import InputError
from cascade_driver.spectrum import UNRESOLVED, Spectrum, rebin

#: Columns of a response may miss 1 by this much: more than rounding, less than anything physical.
_COLUMN_TOLERANCE = 1e-9

#: Bins whose rate is below this share of the largest one say nothing about what dominates.
RELEVANT_SHARE = 1e-3


class ResponseOfSpecies(Protocol):
    """What this module needs of a response: P(observed energy | recoil energy) for one recoiling species."""

    @property
    def matrix(self) -> NDArray[np.float64]:
        """(m, n) probabilities; columns sum to 1."""

    @property
    def recoil_edges_eV(self) -> NDArray[np.float64]:
        """(n + 1,) edges of the recoil energy bins."""

    @property
    def observed_edges_eV(self) -> NDArray[np.float64]:
        """(m + 1,) edges of the observed energy bins."""


def correct(
    spectrum: Spectrum, responses: Mapping[str, ResponseOfSpecies], *, fallback_species: str | None = None
) -> Spectrum:
    r"""Return the spectrum of observed energy, what remains of the recoils after the stored energy.

    .. math:: n^\mathrm{obs}_{j} = \sum_\mathrm{species} \sum_i R^\mathrm{species}_{ji}\, n^\mathrm{species}_i

    with n the counts in a bin. Elements stay apart in the result; they are added only by its total. Counts
    are conserved. Where the spectrum has other bins than a response its counts are first brought into the
    response's recoil bins, which must cover them.

    Parameters
    ----------
    spectrum : Spectrum
        In recoil energy.
    responses : mapping of str to response
        For each recoiling species its response, all with the same observed bins.
    fallback_species : str, optional
        Species whose response stands for those that have none, and for a spectrum that is not resolved by
        element. An approximation, named in the notes of the result.

    Raises
    ------
    InputError
        If the spectrum is not in recoil energy, a species has no response, a response does not cover the
        spectrum or does not conserve counts, or the responses have different observed bins.
    """
    if spectrum.energy_kind != "recoil":
        raise InputError(
            "The spectrum is already in observed energy, expected recoil energy; "
            "a correction is applied once, take the spectrum from before it."
        )
    used = species_of_elements(spectrum.rate_per_kg_day_keV, list(responses), fallback_species)
    observed = responses[next(iter(used.values()))].observed_edges_eV
    counts: dict[str, NDArray[np.float64]] = {}
    for element, species in used.items():
        response = responses[species]
        _check(species, response, observed)
        counts[element] = response.matrix @ _counts_in_bins_of(spectrum, element, species, response)
    return Spectrum.from_counts(
        energy_edges_eV=observed,
        counts_per_kg_day=counts,
        energy_kind="observed",
        source=spectrum.source,
        notes=(*spectrum.notes, *borrowing_notes(used)),
        metadata=spectrum.metadata,
    )


def borrowing_notes(used: Mapping[str, str]) -> tuple[str, ...]:
    """Return in words whose response stood for which elements, given the species of each."""
    lent: dict[str, list[str]] = {}
    for element, species in used.items():
        if element != species:
            lent.setdefault(species, []).append(element or "all elements")
    return tuple(f"response of {species} used for {', '.join(elements)}" for species, elements in lent.items())


def species_of_elements(
    elements: Iterable[str], known: Sequence[str], fallback_species: str | None
) -> dict[str, str]:
    """Return for each element of a spectrum the species whose response it goes through.

    Parameters
    ----------
    elements : iterable of str
        '' is a spectrum that is not resolved by element.
    known : sequence of str
        Species that have a response.
    fallback_species : str, optional
        Stands for the others.

    Raises
    ------
    InputError
        If an element has no response and there is no fallback.
    """
    elements, responses = list(elements), known
    have = ", ".join(responses) or "none"
    if fallback_species is not None and fallback_species not in responses:
        raise InputError(
            f"--species (fallback_species) is {fallback_species!r} but there are responses only for: {have}."
        )
    missing = [element for element in elements if element not in responses]
    if missing and fallback_species is None:
        if missing == [UNRESOLVED]:
            raise InputError(
                "The spectrum is not resolved by element, expected columns rate_<element>; responses: "
                f"{have}. Give the rates of the elements, or name the species whose response "
                "stands for all (--species; fallback_species)."
            )
        raise InputError(
            f"No response for {', '.join(missing)}; there are: {have}. Simulate cascades of the missing "
            "species, or name the one whose response stands for them (--species; fallback_species)."
        )
    return {element: element if element in responses else str(fallback_species) for element in elements}


def counts_by_species(
    counts: Mapping[str, NDArray[np.float64]], used: Mapping[str, str]
) -> dict[str, NDArray[np.float64]]:
    """Return the counts that go through the response of each species, in the shape of those of each element.

    Parameters
    ----------
    counts : mapping of str to (..., n) float
        By element.
    used : mapping of str to str
        Species of each element, see `species_of_elements`.
    """
    summed: dict[str, NDArray[np.float64]] = {}
    for element, species in used.items():
        summed[species] = summed.get(species, 0.0) + np.asarray(counts[element])
    return summed


def relevant_bins(
    rate: NDArray[np.float64], edges_eV: NDArray[np.float64], *, low_eV: float, high_eV: float
) -> NDArray[np.bool_]:
    """Return which bins (n,) lie in a range and have more than `RELEVANT_SHARE` of the largest rate (n,) there."""
    inside = (edges_eV[:-1] >= low_eV) & (edges_eV[1:] <= high_eV * (1 + 1e-12))
    return np.asarray(inside & (rate > RELEVANT_SHARE * rate[inside].max(initial=0.0)))


def _check(species: str, response: ResponseOfSpecies, observed_edges_eV: NDArray[np.float64]) -> None:
    shape = (len(response.observed_edges_eV) - 1, len(response.recoil_edges_eV) - 1)
    if response.matrix.shape != shape:
        raise InputError(f"The response of {species} has shape {response.matrix.shape}, its edges say {shape}.")
    if not np.array_equal(response.observed_edges_eV, observed_edges_eV):
        raise InputError(
            f"The response of {species} has other observed bins than the others, expected the same for all."
        )
    worst = float(np.max(np.abs(response.matrix.sum(axis=0) - 1.0)))
    if not worst <= _COLUMN_TOLERANCE or np.any(response.matrix < 0):
        raise InputError(
            f"The response of {species} does not conserve counts: a column misses the sum 1 by {worst:.3g} "
            "or has a negative element; widen its observed bins until they hold every event."
        )


def _counts_in_bins_of(
    spectrum: Spectrum, element: str, species: str, response: ResponseOfSpecies
) -> NDArray[np.float64]:
    """Return the (n,) counts of one element in the recoil bins of a response."""
    counts = spectrum.counts_per_kg_day[element]
    edges, covered = spectrum.energy_edges_eV, response.recoil_edges_eV
    if np.array_equal(edges, covered):
        return counts
    outside = (counts != 0) & ((edges[:-1] < covered[0]) | (edges[1:] > covered[-1]))
    if np.any(outside):
        index = int(np.argmax(outside))
        raise InputError(
            f"The response of {species} covers recoils from {covered[0]:g} to {covered[-1]:g} eV, the "
            f"spectrum of {element or 'all elements'} has counts between {edges[index]:g} and "
            f"{edges[index + 1]:g} eV; make the response on the bins of the spectrum, or cut the spectrum."
        )
    part = Spectrum(energy_edges_eV=edges, rate_per_kg_day_keV={element: spectrum.rate_per_kg_day_keV[element]})
    return rebin(part, covered).counts_per_kg_day[element]


@dataclass(frozen=True, kw_only=True)
class ShortcutError:
    """What it would cost to send the recoils of all elements through the response of one species.

    Attributes
    ----------
    species : str
        Whose response stands for all.
    lowest, highest : float
        Relative error of the observed rate, over the bins with a rate above `RELEVANT_SHARE` of the largest one.
    misplaced_share : float
        Of all counts, those that land in a wrong bin: half the sum of absolute differences.
    """

    species: str
    lowest: float
    highest: float
    misplaced_share: float

    def __str__(self) -> str:
        return (
            f"all elements through the response of {self.species} would be wrong by {self.lowest:+.2%} to "
            f"{self.highest:+.2%} of the rate, {self.misplaced_share:.2%} of the counts misplaced"
        )


def shortcut_error(
    spectrum: Spectrum,
    responses: Mapping[str, ResponseOfSpecies],
    *,
    species: str,
    low_eV: float = 0.0,
    high_eV: float = math.inf,
) -> ShortcutError:
    """Return the error of the usual shortcut of one response for all, such as tungsten only in CaWO4.

    Parameters
    ----------
    spectrum : Spectrum
        In recoil energy, resolved by element.
    responses : mapping of str to response
        One for every element of the spectrum.
    species : str
        Whose response would stand for all.
    low_eV, high_eV : float
        Range of observed energies that matters.

    Raises
    ------
    InputError
        As `correct`; or if there is no rate in the range.
    """
    right = correct(spectrum, responses)
    wrong = correct(spectrum, {species: responses[species]}, fallback_species=species)
    edges = right.energy_edges_eV
    inside = (edges[:-1] >= low_eV) & (edges[1:] <= high_eV * (1 + 1e-12))
    rate, other = right.total_rate_per_kg_day_keV, wrong.total_rate_per_kg_day_keV
    relevant = relevant_bins(rate, edges, low_eV=low_eV, high_eV=high_eV)
    if not relevant.any():
        raise InputError(f"no rate between {low_eV:g} and {high_eV:g} eV: choose another range")
    relative = other[relevant] / rate[relevant] - 1
    width = np.diff(edges)
    return ShortcutError(
        species=species,
        lowest=float(relative.min()),
        highest=float(relative.max()),
        misplaced_share=float(0.5 * np.abs(other - rate)[inside] @ width[inside] / (rate[inside] @ width[inside])),
    )


def largest_borrowed_share(
    spectrum: Spectrum, known: Sequence[str], *, low_eV: float = 0.0, high_eV: float = math.inf
) -> float:
    """Return the largest share, in any bin of a range, of recoils whose element has no response of its own.

    No correction can be wrong by more than moving all of these.
    """
    edges, total = spectrum.energy_edges_eV, spectrum.total_rate_per_kg_day_keV
    inside = (edges[:-1] >= low_eV) & (edges[1:] <= high_eV * (1 + 1e-12)) & (total > 0)
    borrowed = sum(
        (rate for element, rate in spectrum.rate_per_kg_day_keV.items() if element not in known),
        np.zeros_like(total),
    )
    return float(np.max(borrowed[inside] / total[inside], initial=0.0))
