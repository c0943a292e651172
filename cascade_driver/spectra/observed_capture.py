"""What a detector sees of neutron captures: a nucleus that stops between two gammas damages two places."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cascade_driver.analysis.model import StoredEnergyModel
from cascade_driver.analysis.response import Response
from cascade_driver.errors import InputError
from cascade_driver.sources.neutron_capture import Captures
from cascade_driver.spectra.correction import borrowing_notes
from cascade_driver.spectrum import Spectrum, check_edges, rebin

#: Bins in which stored energies are folded in, or coarser where there would be too many. An event is shared by two
#: neighbours such that its mean energy is right.
_FINE_eV, _MOST_FINE = 0.25, 1600


def observed_capture_spectrum(
    model: StoredEnergyModel,
    captures: Captures,
    *,
    energy_edges_eV: ArrayLike,
    fallback_species: str | None = None,
    extrapolate: bool = False,
) -> Spectrum:
    r"""Return what remains of the recoils of neutron capture, where every recoil stores energy by itself.

    A nucleus that has stopped before the next gamma leaves two damaged places, and the detector sees

    .. math:: E_\mathrm{obs} = \sum_j \left( E_j - E_{s,j} \right)

    with one stored energy per recoil: not that of a recoil of the sum, because stored energy is no linear
    function. The largest recoil of an event goes through the response matrix of its element in bins of 0.25 eV,
    the others are drawn from the model. For a nucleus still in motion the recoils count as one of their total
    energy: an approximation until cascades with a second kick are simulated.

    Parameters
    ----------
    model : StoredEnergyModel
        What recoils leave in the crystal.
    captures : Captures
    energy_edges_eV : (n + 1,) array_like
        Bins of the result; recoils above the last one are left out, as if nothing above could come into range.
    fallback_species : str, optional
        Whose response stands for elements that the model does not know; the only species of a model of one.
    extrapolate : bool
        Use the model outside the simulated range.

    Raises
    ------
    InputError
        If an element has no response, or something else cannot be used.
    """
    edges = check_edges(energy_edges_eV, floor_eV=0.0)
    if fallback_species is None and len(model.species) == 1:
        fallback_species = next(iter(model.species))
    coarsest = max(_FINE_eV, edges[-1] / _MOST_FINE)
    # narrower bins than the most that can be folded are filled from wider ones
    step = max(float(np.diff(edges).min()), edges[-1] / _MOST_FINE)
    step /= max(1, math.floor(step / coarsest + 1e-9))
    fine = np.linspace(0.0, edges[-1], max(math.ceil(edges[-1] / step - 1e-9), 1) + 1)
    counts, used, left_out = {}, {}, 0.0
    responses: dict[str, Response] = {}
    for symbol in captures.material.elements:
        species = symbol if symbol in model.species else fallback_species
        if species is None:
            raise InputError(
                f"no response for {symbol}; there are: {', '.join(model.species)}. Simulate it, or name the "
                "species whose response stands for it (--species; fallback_species)"
            )
        used[symbol] = species
        events = _Folding(fine, model, species, extrapolate=extrapolate)
        for pieces, rates in captures.events(symbol):
            events.add(pieces, rates)
        if species not in responses:
            responses[species] = model.response(species, fine, extrapolate=extrapolate)
        counts[symbol] = events.observed(responses[species])
        left_out += events.above
    metadata = {**captures.metadata, "recoils_above_range_per_kg_day": f"{left_out:.6g}"}
    whole = Spectrum.from_counts(
        energy_edges_eV=fine,
        counts_per_kg_day=counts,
        energy_kind="observed",
        notes=(
            *captures.notes,
            "each recoil of a capture stores energy by itself, by the response of its element",
            *borrowing_notes(used),
        ),
        metadata=metadata,
    )
    return rebin(whole, edges)


class _Folding:
    """Collects events of several recoils and puts them through the response of their element."""

    def __init__(
        self, edges_eV: NDArray[np.float64], model: StoredEnergyModel, species: str, *, extrapolate: bool
    ) -> None:
        self.edges, self.model, self.species, self.extrapolate = edges_eV, model, species, extrapolate
        self.step = float(edges_eV[1] - edges_eV[0])
        self.bins = len(edges_eV) - 1
        self.joint = np.zeros((self.bins, 1))  # largest recoil, what the others leave to see
        self.above = 0.0
        self.rng = np.random.default_rng(1)

    def add(self, pieces_eV: NDArray[np.float64], weights: NDArray[np.float64]) -> None:
        """Take in events as rows of recoil energies."""
        order = np.sort(pieces_eV, axis=1)
        largest, rest = order[:, -1], order[:, :-1]
        inside = rest.sum(axis=1) + largest < self.edges[-1]
        self.above += float(weights[~inside].sum())
        largest, rest, weights = largest[inside], rest[inside], weights[inside]
        if not len(weights):
            return
        stored = np.zeros_like(rest)
        some = rest > 0
        stored[some] = self.model.sample(self.species, rest[some], rng=self.rng, extrapolate=self.extrapolate)
        offset = (rest - stored).sum(axis=1) / self.step
        place = largest / self.step - 0.5
        columns = int(np.floor(offset.max())) + 2
        if columns > self.joint.shape[1]:
            self.joint = np.pad(self.joint, ((0, 0), (0, columns - self.joint.shape[1])))
        # each event is split between neighbouring bins, so that its mean energy is exact
        for row, row_share in _split(place, self.bins):
            for column, column_share in _split(offset, self.joint.shape[1]):
                np.add.at(self.joint, (row, column), weights * row_share * column_share)

    def observed(self, response_of_species: Response) -> NDArray[np.float64]:
        """Return the counts in each bin of observed energy."""
        seen = response_of_species.matrix @ self.joint
        counts = np.zeros(self.bins + seen.shape[1])
        for column in range(seen.shape[1]):
            counts[column : column + self.bins] += seen[:, column]
        kept = counts[: self.bins]
        kept[-1] += counts[self.bins :].sum()  # the half bin that splitting carried over the edge
        return kept


def _split(
    place: NDArray[np.float64], size: int
) -> tuple[tuple[NDArray[np.intp], NDArray[np.float64]], tuple[NDArray[np.intp], NDArray[np.float64]]]:
    low = np.floor(place)
    share = place - low
    index = low.astype(np.intp)
    return (np.clip(index, 0, size - 1), 1 - share), (np.clip(index + 1, 0, size - 1), share)
