"""What two models make of one spectrum, beside what chance alone makes of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cascade_driver.errors import InputError
from cascade_driver.kinds import Array
from cascade_driver.spectra.observe import Observed

#: Of the interval of each bin.
_QUANTILES = (0.15865, 0.5, 0.84135)

#: Of the rate of a bin: what is less in a replica is nothing.
_LEAST_SHARE = 1e-12


@dataclass(frozen=True, kw_only=True)
class SpectrumDifference:
    r"""Second over first of what is observed of one source, where both are known.

    Attributes
    ----------
    title : str
    energy_edges_eV : (n + 1,) float
        Bins that matter to both.
    ratio, lower, upper : (n,) float
        Of the rates, and its central 68 %, by resampling both campaigns.
    counts_ratio : float
    counts_ratio_error : float
        Of the counts in all these bins.
    rms : float
        Root mean square of ratio - 1.
    rms_by_chance : float
        That of half the width of the central 68 % of each bin: what is found of equal campaigns of these sizes.
    p_value : float
        Probability of so large a :math:`\sum_i (r_i - 1)^2 / \sigma_i^2` where nothing differs but by chance; bins
        correlate as they do in the replicas. nan where chance alone makes as much as the whole rate of a bin:
        too few cascades.
    is_paired : bool
        Whether both campaigns have the same cascades, resampled together: what they share does not count as error.
    """

    title: str
    energy_edges_eV: Array
    ratio: Array
    lower: Array
    upper: Array
    counts_ratio: float
    counts_ratio_error: float
    rms: float
    rms_by_chance: float
    p_value: float
    is_paired: bool


def spectrum_difference(first: Observed, second: Observed, *, paired: bool) -> SpectrumDifference:
    """Return what differs between two spectra that were observed of one source by two campaigns.

    Parameters
    ----------
    first, second : Observed
        With the members of their bands, in the same bins.
    paired : bool
        Whether the n-th member of either is of the same resampled cascades; otherwise they are drawn at random.

    Raises
    ------
    InputError
        If bins differ, or one has no statistical error.
    """
    edges = first.expected.energy_edges_eV
    if not np.array_equal(edges, second.expected.energy_edges_eV):
        raise InputError(f"{first.title}: the two spectra have different bins; give both the same source")
    members = [_members(one) for one in (first, second)]
    low = max(one.range_eV[0] for one in (first, second))
    high = min(one.range_eV[1] for one in (first, second))
    nominal = [one.bands.nominal_per_kg_day_keV for one in (first, second) if one.bands is not None]
    inside = (edges[:-1] >= low) & (edges[1:] <= high) & (nominal[0] > 0)
    if not inside.any():
        raise InputError(f"{first.title}: no bin between {low:g} and {high:g} eV, where both are known")
    n = min(map(len, members))
    one, two = (member[:n, inside] for member in members)
    if not paired:
        two = two[np.random.default_rng(0).permutation(n)]
    width = np.diff(edges)[inside]
    ratio = nominal[1][inside] / nominal[0][inside]
    replicas = two / np.maximum(one, _LEAST_SHARE * nominal[0][inside])
    # By ranks: of few cascades some replicas lose a bin altogether, and a mean of ratios its meaning.
    lower, middle, upper = np.quantile(replicas, _QUANTILES, axis=0)
    sigma = np.maximum((upper - lower) / 2, 1e-9)
    found, by_chance = (np.square(x / sigma).sum(axis=-1) for x in (ratio - 1, replicas - middle))
    rms_by_chance = float(np.sqrt(np.mean(((upper - lower) / 2) ** 2)))
    counts_low, _, counts_high = np.quantile(_counts_ratio(one, two, width), _QUANTILES)
    return SpectrumDifference(
        title=first.title,
        energy_edges_eV=np.append(edges[:-1][inside], edges[1:][inside][-1]),
        ratio=ratio,
        lower=lower - middle + ratio,
        upper=upper - middle + ratio,
        counts_ratio=float(_counts_ratio(nominal[0][inside], nominal[1][inside], width)),
        counts_ratio_error=float(counts_high - counts_low) / 2,
        rms=float(np.sqrt(np.mean((ratio - 1) ** 2))),
        rms_by_chance=rms_by_chance,
        p_value=float((1 + np.sum(by_chance >= found)) / (n + 1)) if rms_by_chance < 1 else float("nan"),
        is_paired=paired,
    )


def _counts_ratio(one: Array, two: Array, width: Array) -> Array:
    return np.asarray(two @ width / np.maximum(one @ width, 1e-300))


def _members(seen: Observed) -> Array:
    band = seen.bands.components.get("statistics") if seen.bands is not None else None
    if band is None or band.members_per_kg_day_keV is None:
        raise InputError(f"{seen.title}: there is no statistical error to compare by; compare runs")
    return band.members_per_kg_day_keV
