"""The correction for stored energy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade_driver.errors import InputError
from cascade_driver.spectra.correction import correct, counts_by_species, relevant_bins
from cascade_driver.spectrum import Spectrum

EDGES = np.array([0.0, 10.0, 20.0, 40.0])


@dataclass(frozen=True)
class FakeResponse:
    matrix: np.ndarray
    recoil_edges_eV: np.ndarray
    observed_edges_eV: np.ndarray


def identity(edges: np.ndarray = EDGES) -> FakeResponse:
    return FakeResponse(np.eye(len(edges) - 1), edges, edges)


def shift(edges: np.ndarray = EDGES) -> FakeResponse:
    """Each bin falls into the one below; the lowest stays."""
    n = len(edges) - 1
    matrix = np.zeros((n, n))
    matrix[np.maximum(np.arange(n) - 1, 0), np.arange(n)] = 1.0
    return FakeResponse(matrix, edges, edges)


def two_elements() -> Spectrum:
    return Spectrum(
        energy_edges_eV=EDGES,
        rate_per_kg_day_keV={"W": [3.0, 2.0, 1.0], "O": [0.5, 0.5, 0.5]},
        metadata={"source": "test"},
    )


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 30), m=st.integers(1, 30))
def test_correction_conserves_counts(seed: int, n: int, m: int) -> None:
    rng = np.random.default_rng(seed)
    recoil, observed = np.cumsum(rng.uniform(0.1, 9, n + 1)), np.cumsum(rng.uniform(0.1, 9, m + 1))
    responses = {}
    for element in ("W", "O"):
        matrix = rng.uniform(0, 1, (m, n))
        responses[element] = FakeResponse(matrix / matrix.sum(axis=0), recoil, observed)
    spectrum = Spectrum(
        energy_edges_eV=recoil, rate_per_kg_day_keV={e: 10 ** rng.uniform(-6, 6, n) for e in responses}
    )
    corrected = correct(spectrum, responses)
    for element, counts in spectrum.counts_per_kg_day.items():
        assert corrected.counts_per_kg_day[element].sum() == pytest.approx(counts.sum(), rel=1e-12)
    assert corrected.energy_kind == "observed"


def test_each_element_goes_through_its_own_response() -> None:
    corrected = correct(two_elements(), {"W": shift(), "O": identity()})
    np.testing.assert_allclose(corrected.rate_per_kg_day_keV["O"], [0.5, 0.5, 0.5])
    # Counts 0.03, 0.02, 0.02 become 0.05, 0.02, 0.
    np.testing.assert_allclose(corrected.counts_per_kg_day["W"], [0.05, 0.02, 0.0])
    assert corrected.metadata["source"] == "test"
    assert corrected.notes == ()


def test_fallback_stands_for_the_missing_and_is_named() -> None:
    corrected = correct(two_elements(), {"W": shift()}, fallback_species="W")
    np.testing.assert_allclose(corrected.counts_per_kg_day["O"], [0.01, 0.01, 0.0])
    assert corrected.notes == ("response of W used for O",)


def test_spectrum_that_is_not_resolved_needs_a_fallback() -> None:
    spectrum = Spectrum(energy_edges_eV=EDGES, rate_per_kg_day_keV={"": [1.0, 1.0, 1.0]})
    with pytest.raises(InputError, match=r"not resolved by element.*\(--species; fallback_species\)"):
        correct(spectrum, {"W": identity()})
    corrected = correct(spectrum, {"W": identity()}, fallback_species="W")
    np.testing.assert_allclose(corrected.total_rate_per_kg_day_keV, 1.0)
    assert corrected.notes == ("response of W used for all elements",)


def test_other_bins_are_brought_into_those_of_the_response() -> None:
    fine = np.linspace(0, 60, 61)
    corrected = correct(two_elements(), {"W": identity(fine), "O": identity(fine)})
    assert corrected.total_counts_per_kg_day == pytest.approx(two_elements().total_counts_per_kg_day, rel=1e-12)
    assert corrected.rate_per_kg_day_keV["W"][15] == pytest.approx(2.0)


def test_empty_bins_may_lie_outside_the_response() -> None:
    spectrum = Spectrum(energy_edges_eV=[0, 10, 20, 40, 80], rate_per_kg_day_keV={"W": [1.0, 1.0, 1.0, 0.0]})
    assert correct(spectrum, {"W": identity()}).total_counts_per_kg_day == pytest.approx(
        spectrum.total_counts_per_kg_day
    )


@pytest.mark.parametrize(
    ("responses", "fallback", "words"),
    [
        ({"W": identity()}, None, "No response for O; there are: W. Simulate"),
        ({}, None, "No response for W, O; there are: none"),
        ({"W": identity()}, "Ca", r"fallback_species.* is 'Ca'"),
        ({"W": identity(), "O": identity(np.array([0.0, 1.0, 50.0]))}, None, "other observed bins"),
        (
            {"W": identity(np.array([5.0, 20.0, 40.0]))},
            "W",
            "covers recoils from 5 to 40 eV.*between 0 and 10 eV",
        ),
        ({"W": FakeResponse(0.9 * np.eye(3), EDGES, EDGES)}, "W", "does not conserve counts"),
        ({"W": FakeResponse(np.full((3, 3), np.nan), EDGES, EDGES)}, "W", "does not conserve counts"),
        ({"W": FakeResponse(np.eye(2), EDGES, EDGES)}, "W", "its edges say"),
    ],
)
def test_unfit_responses_are_refused(responses: dict[str, FakeResponse], fallback: str | None, words: str) -> None:
    with pytest.raises(InputError, match=words):
        correct(two_elements(), responses, fallback_species=fallback)


def test_a_correction_is_applied_once() -> None:
    corrected = correct(two_elements(), {"W": shift(), "O": identity()})
    with pytest.raises(InputError, match="already in observed energy"):
        correct(corrected, {"W": shift(), "O": identity()})


def test_elements_of_one_species_go_through_its_response_together() -> None:
    counts = two_elements().counts_per_kg_day
    summed = counts_by_species(counts, {"W": "W", "O": "W"})
    assert list(summed) == ["W"]
    np.testing.assert_allclose(summed["W"], counts["W"] + counts["O"])
    members = {element: np.stack([of, 2 * of]) for element, of in counts.items()}
    np.testing.assert_allclose(counts_by_species(members, {"W": "W", "O": "O"})["O"][1], 2 * counts["O"])


def test_bins_that_matter_lie_in_the_range_and_have_a_rate_beside_the_largest_one_there() -> None:
    rate = np.array([1e6, 1.0, 2e-3, 0.0])
    edges = np.array([0.0, 10.0, 20.0, 30.0, 40.0])
    assert relevant_bins(rate, edges, low_eV=0.0, high_eV=40.0).tolist() == [True, False, False, False]
    assert relevant_bins(rate, edges, low_eV=10.0, high_eV=40.0).tolist() == [False, True, True, False]
    assert relevant_bins(rate, edges, low_eV=10.0, high_eV=29.0).tolist() == [False, True, False, False]
    assert not relevant_bins(rate, edges, low_eV=31.0, high_eV=40.0).any()
