"""Where a correction says less than it seems to: below all that stored energy, and in bins that are wide."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from cascade_driver.analysis.defect_probability import FermiProbability
from cascade_driver.analysis.model import SpeciesModel, StoredEnergyModel
from cascade_driver.analysis.response import Response
from cascade_driver.kinds import Array
from cascade_driver.spectra.correction import correct, counts_by_species, relevant_bins
from cascade_driver.spectrum import Spectrum, rebin

#: A change of the rate that is worth a word.
NOTABLE = 0.02

#: Bins are fine enough where finer ones change the rate by less.
_FINE = 0.01

#: Parts of a wide bin, which stand for all that there are; fewer may be enough.
_FINEST, _FEWER = 8, (2, 4)

#: Bins wider than this share of what is stored are looked at: a rate that falls as exp(-E/tau) has its mean within
#: a bin of width W some W^2/(12 tau) below the middle.
_WIDE = 0.5

#: Where fewer recoils store energy the width of bins is of no matter.
_STORING = 0.05


def tail_said(model: SpeciesModel) -> str:
    """Return what a fitted defect probability is below all energies that stored any; nothing if it is not one."""
    law, fit = model.defect_probability, model.defect_probability_fit
    if fit is None or not isinstance(law, FermiProbability):
        return ""
    low_eV = model.distribution.lowest_energy_eV
    n = sum(point.n_cascades for point in fit.points if point.recoil_energy_eV < low_eV)
    ran = f"none of the {n} cascades below {low_eV:g} eV stored energy"
    if n == 0:
        ran = f"no cascade was run below {low_eV:g} eV"
    shares = f"{float(law(low_eV)):.2g} at {low_eV:g} eV, {float(law(low_eV / 2)):.2g} at half of it"
    return f"{ran}, where the fitted defect probability goes on as a tail ({shares})"


def tail_notes(
    recoil: Spectrum,
    observed: Spectrum,
    responses: Mapping[str, Response],
    models: Mapping[str, SpeciesModel],
    used: Mapping[str, str],
    *,
    range_eV: tuple[float, float],
) -> tuple[str, ...]:
    """Return in words what the tail of a fitted defect probability does, below all energies that stored anything.

    A Fermi function vanishes nowhere: recoils that no cascade of their energy speaks for are taken to store
    energy, at most their own. Nothing where the rate changes by less than `NOTABLE`, or where a note tells of the
    extrapolation anyway.

    Parameters
    ----------
    recoil, observed : Spectrum
        Before and after the stored energy is taken off, the latter in the observed bins of the responses.
    responses, models : mapping of str to Response, SpeciesModel
        By species.
    used : mapping of str to str
        Species of each element.
    range_eV : (float, float)
        Observed energies that matter.
    """
    notes = []
    rate, edges = observed.total_rate_per_kg_day_keV, observed.energy_edges_eV
    relevant = relevant_bins(rate, edges, low_eV=range_eV[0], high_eV=range_eV[1])
    total = observed.total_rate_per_kg_day_keV * observed.bin_widths_keV
    for species, counts in counts_by_species(recoil.counts_per_kg_day, used).items():
        one = models[species]
        low_eV = one.distribution.lowest_energy_eV
        if not tail_said(one) or one.leaves(minimum_eV=float(recoil.energy_edges_eV[0]), maximum_eV=0.0)[0]:
            continue
        below = np.flatnonzero(recoil.energy_edges_eV[1:] <= low_eV * (1 + 1e-9))
        moved = responses[species].matrix[:, below] @ counts[below]
        moved[len(moved) - len(counts) + below] -= counts[below]
        without = total - moved
        change = np.divide(moved, without, out=np.zeros_like(moved), where=relevant & (without > 0))
        seen = np.flatnonzero(np.abs(change) >= NOTABLE)
        if not len(seen):
            continue
        notes.append(
            f"{species}: {tail_said(one)}: it changes the rate between {edges[seen[0]]:.4g} and "
            f"{edges[seen[-1] + 1]:.4g} eV by {change.min():+.0%} to {change.max():+.0%}"
        )
    return tuple(notes)


def width_notes(
    recoil: Spectrum,
    observed: Spectrum,
    law: StoredEnergyModel,
    used: Mapping[str, str],
    *,
    range_eV: tuple[float, float],
) -> tuple[str, ...]:
    """Return in words what it does that recoils count as even within a bin; nothing where that is below `NOTABLE`.

    Where bins are wide beside what is stored, they are cut into eight, among which a rate goes on exponentially as
    in the bins beside it; at extrema it stays flat, as of lines. The two corrections differ by the error.

    Parameters
    ----------
    recoil, observed : Spectrum
        Before and after the stored energy is taken off.
    law : StoredEnergyModel
    used : mapping of str to str
        Species of each element.
    range_eV : (float, float)
        Observed energies that matter.
    """
    edges, width = recoil.energy_edges_eV, np.diff(recoil.energy_edges_eV)
    stored = _stored_eV(recoil, law, used)
    is_wide = width > _WIDE * stored
    within = relevant_bins(recoil.total_rate_per_kg_day_keV, edges, low_eV=range_eV[0], high_eV=range_eV[1])
    told = np.flatnonzero(is_wide & within)
    if not len(told):
        return ()
    in_parts = partial(_in_parts, recoil, law, used, is_wide, like=observed)
    finest = in_parts(_FINEST)
    relevant = relevant_bins(finest, observed.energy_edges_eV, low_eV=range_eV[0], high_eV=range_eV[1])
    error = observed.total_rate_per_kg_day_keV[relevant] / finest[relevant] - 1
    if not np.abs(error).max(initial=0.0) >= NOTABLE:
        return ()
    enough = next(
        (parts for parts in _FEWER if np.abs(in_parts(parts)[relevant] / finest[relevant] - 1).max() < _FINE),
        _FINEST,
    )
    widest, narrowest = float(width[told].max()), float(width[told].min())
    of = f"{widest:.3g} eV" if narrowest > 0.99 * widest else f"{narrowest:.3g} to {widest:.3g} eV"
    return (
        f"bins of {of} between {edges[told[0]]:.4g} and {edges[told[-1] + 1]:.4g} eV are wide beside the "
        f"{np.median(stored[told]):.3g} eV that is stored there: recoils count as even within a bin, by which the "
        f"rate is off by {error.min():+.1%} to {error.max():+.1%} if it changes as from bin to bin; give bins of "
        f"1/{enough} of that width",
    )


def _stored_eV(recoil: Spectrum, law: StoredEnergyModel, used: Mapping[str, str]) -> Array:
    """Return, for each recoil bin, the least median of what a species stores; infinite where hardly any does."""
    middle = np.maximum(recoil.energy_centers_eV, 1e-9)
    least = np.full(len(middle), np.inf)
    for species in dict.fromkeys(used.values()):
        one = law[species]
        stored = np.asarray(one.distribution.quantile(0.5, middle)).reshape(middle.shape)
        least = np.where(one.defect_probability(middle) > _STORING, np.minimum(least, stored), least)
    return np.where(least > 0, least, np.inf)


def _in_parts(
    recoil: Spectrum,
    law: StoredEnergyModel,
    used: Mapping[str, str],
    is_wide: NDArray[np.bool_],
    parts: int,
    *,
    like: Spectrum,
) -> Array:
    """Return the observed rate, in the bins of another spectrum, of one whose wide bins are cut into parts."""
    edges = recoil.energy_edges_eV
    number = np.where(is_wide, parts, 1)
    home = np.repeat(np.arange(len(number)), number)
    place = np.concatenate([np.arange(n) for n in number])
    width = (np.diff(edges) / number)[home]
    lower = edges[:-1][home] + place * width
    finer = np.append(lower, edges[-1])
    counts = {}
    for element, whole in recoil.counts_per_kg_day.items():
        slope = _slopes(whole / np.diff(edges), recoil.energy_centers_eV)[home]
        share = np.exp(slope * (lower + width / 2 - recoil.energy_centers_eV[home]))
        counts[element] = whole[home] * share / np.bincount(home, share)[home]
    spectrum = Spectrum.from_counts(energy_edges_eV=finer, counts_per_kg_day=counts)
    responses = {species: law.response(species, finer) for species in dict.fromkeys(used.values())}
    seen = correct(spectrum, responses, fallback_species=law.response_fallback)
    return rebin(seen, like.energy_edges_eV).total_rate_per_kg_day_keV


def _slopes(density: Array, middle_eV: Array) -> Array:
    """Return the slope of ln of a density in each bin, (n,): the flatter of those to both sides, 0 at extrema."""
    if len(density) < 2:
        return np.zeros(len(density))
    known = (density[1:] > 0) & (density[:-1] > 0)
    ratio = np.divide(density[1:], density[:-1], out=np.ones(len(known)), where=known)
    between = np.log(ratio) / np.diff(middle_eV)
    left, right = np.append(between[:1], between), np.append(between, between[-1:])
    flatter = np.where(np.abs(left) < np.abs(right), left, right)
    return np.where(left * right > 0, flatter, 0.0)
