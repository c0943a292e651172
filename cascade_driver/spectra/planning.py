"""What more cascades would bring: how many of them, at which recoil energy, halve the error of a spectrum."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cascade_driver.analysis.model import StoredEnergyModel
from cascade_driver.analysis.response import observed_edges
from cascade_driver.analysis.uncertainty import (
    displaced_replicas,
    information_per_cascade,
    parameter_covariance,
)
from cascade_driver.errors import InputError
from cascade_driver.kinds import Array
from cascade_driver.spectra.correction import counts_by_species, relevant_bins, species_of_elements
from cascade_driver.spectrum import Spectrum

#: More cascades than this at one energy are no advice.
MOST_CASCADES = 1_000_000

#: The mix is put together in blocks; no more of them than this.
MOST_BLOCKS = 300


@dataclass(frozen=True, kw_only=True)
class EnergyAdvice:
    """What more cascades of one species at one recoil energy would do.

    Attributes
    ----------
    species : str
    recoil_energy_eV : float
    error_with_100_more : float
        Relative statistical error of the spectrum with 100 more cascades there.
    to_halve : int or None
        Cascades there that halve the present error; none if they alone cannot.
    in_mix : int
        Cascades there in the cheapest mix found that halves it.
    """

    species: str
    recoil_energy_eV: float
    error_with_100_more: float
    to_halve: int | None
    in_mix: int


@dataclass(frozen=True, kw_only=True)
class CampaignAdvice:
    """How to halve the statistical error of a corrected spectrum.

    Attributes
    ----------
    present_error : float
        Root mean square of the relative statistical error of the rate over the bins of the range.
    energies : tuple of EnergyAdvice
    mix_error : float
        What the mix comes to.
    """

    present_error: float
    energies: tuple[EnergyAdvice, ...]
    mix_error: float

    @property
    def mix_total(self) -> int:
        """Cascades of the mix."""
        return sum(e.in_mix for e in self.energies)


def advise(
    spectrum: Spectrum,
    model: StoredEnergyModel,
    *,
    candidates_eV: Mapping[str, Sequence[float]],
    fallback_species: str | None = None,
    low_eV: float = 0.0,
    high_eV: float = np.inf,
) -> CampaignAdvice:
    r"""Return what more cascades would do to the statistical error of a corrected spectrum.

    .. math:: C'_s = \Big(C_s^{-1} + \sum_k n_k I_s(E_k)\Big)^{-1}, \qquad
        \epsilon^2 = \frac{1}{J} \sum_{j=1}^{J} \frac{1}{n_j^2} \sum_s g_{sj}^T C'_s\, g_{sj}

    with :math:`g_{sj}` the derivatives of the rate in bin j by the parameters of species s and I of
    `information_per_cascade`. Directions sampled as before. The mix is found greedily, block by block, at the
    energy that gains most.

    Parameters
    ----------
    spectrum : Spectrum
        Of recoil energies.
    model : StoredEnergyModel
        With its fits.
    candidates_eV : mapping of str to sequence of float
        Recoil energies to think of, by species.
    fallback_species : str, optional
        As in `correct`.
    low_eV, high_eV : float
        Range of observed energies that matters.

    Raises
    ------
    FitError
        As `parameter_covariance`.
    InputError
        If there is no rate in the range, or no candidate.
    """
    used = species_of_elements(spectrum.rate_per_kg_day_keV, list(model.species), fallback_species)
    counts = counts_by_species(spectrum.counts_per_kg_day, used)
    candidates = [(s, float(e)) for s in counts for e in candidates_eV.get(s, ())]
    if not candidates:
        raise InputError(f"no candidate energies for {', '.join(counts)}: give some to think of")
    covariance = {s: parameter_covariance(model[s]) for s in counts}
    gradient, rate = {}, None
    for species, of in counts.items():
        one, c = model[species], covariance[species]
        size = 0.3 * np.sqrt(np.diag(c))
        steps = np.concatenate([np.zeros((1, len(c))), np.diag(size), -np.diag(size)])
        folded = displaced_replicas(one, steps).fold(of, recoil_edges_eV=spectrum.energy_edges_eV)
        gradient[species] = ((folded[1 : len(c) + 1] - folded[len(c) + 1 :]) / (2 * size[:, None])).T
        rate = folded[0] if rate is None else rate + folded[0]
    inside = _relevant(np.asarray(rate), spectrum.energy_edges_eV, low_eV=low_eV, high_eV=high_eV)
    relative = {s: g[inside] / np.asarray(rate)[inside, None] for s, g in gradient.items()}
    information = {s: np.linalg.pinv(c, hermitian=True) for s, c in covariance.items()}
    more = {at: information_per_cascade(model[at[0]], at[1]) for at in candidates}

    def error(extra: Mapping[tuple[str, float], float]) -> float:
        square = 0.0
        for species, g in relative.items():
            total = information[species] + sum(n * more[at] for at, n in extra.items() if at[0] == species)
            square += float(np.mean(np.einsum("jk,kl,jl->j", g, np.linalg.pinv(total, hermitian=True), g)))
        return float(np.sqrt(square))

    present = error({})
    mix = _mix(error, candidates, goal=present / 2)
    return CampaignAdvice(
        present_error=present,
        energies=tuple(
            EnergyAdvice(
                species=at[0],
                recoil_energy_eV=at[1],
                error_with_100_more=error({at: 100}),
                to_halve=_to_halve(lambda n, at=at: error({at: n}), goal=present / 2),  # type: ignore[misc]
                in_mix=round(mix.get(at, 0)),
            )
            for at in candidates
        ),
        mix_error=error(mix),
    )


def _relevant(counts: Array, recoil: Array, *, low_eV: float, high_eV: float) -> NDArray[np.bool_]:
    edges = observed_edges(recoil)
    inside = relevant_bins(counts / np.diff(edges), edges, low_eV=low_eV, high_eV=high_eV)
    if not inside.any():
        raise InputError(f"no rate between {low_eV:g} and {high_eV:g} eV: choose another range")
    return inside


def _to_halve(error: Callable[[float], float], *, goal: float) -> int | None:
    if error(MOST_CASCADES) > goal:
        return None
    low, high = 0, MOST_CASCADES
    while high - low > max(1, low // 100):
        middle = (low + high) // 2
        low, high = (low, middle) if error(middle) <= goal else (middle, high)
    return high


def _mix(
    error: Callable[[Mapping[tuple[str, float], float]], float],
    candidates: Sequence[tuple[str, float]],
    *,
    goal: float,
) -> dict[tuple[str, float], float]:
    """Return cascades per candidate that reach the goal, greedily; a block grows with what is there."""
    mix: dict[tuple[str, float], float] = {}
    for _ in range(MOST_BLOCKS):
        if error(mix) <= goal:
            break
        block = max(16.0, 0.08 * sum(mix.values()))
        best = min(candidates, key=lambda at: error({**mix, at: mix.get(at, 0.0) + block}))
        mix[best] = mix.get(best, 0.0) + block
    return mix
