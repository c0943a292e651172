"""Errors of sums over bins: bins of one member rise and fall together."""

import numpy as np
import pytest

from cascade_driver.spectra.ensemble import Band, SpectrumBands

EDGES = np.array([0.0, 10.0, 30.0, 40.0])
NOMINAL = np.array([5.0, 3.0, 1.0])


def band(members):
    deviation = np.sqrt(np.mean((members - NOMINAL) ** 2, axis=0))
    return Band(
        lower_per_kg_day_keV=NOMINAL - deviation,
        upper_per_kg_day_keV=NOMINAL + deviation,
        deviation_per_kg_day_keV=deviation,
        n_members=len(members),
        members_per_kg_day_keV=members,
    )


def bands(**members):
    components = {name: band(of) for name, of in members.items()}
    total = band(NOMINAL[None])
    return SpectrumBands(
        energy_edges_eV=EDGES, nominal_per_kg_day_keV=NOMINAL, components=components, total=total, coverage=0.68
    )


def test_counts_that_move_from_one_bin_to_the_other_are_no_error_of_their_sum():
    # 10 eV of rate r are r/100 counts per kg and day, 20 eV r/50
    moved = NOMINAL + np.array([[2.0, -1.0, 0.0], [-2.0, 1.0, 0.0]])
    found = bands(shape=moved)
    assert found.error_of_counts_per_kg_day(low_eV=0, high_eV=40) == pytest.approx(0)
    assert found.error_of_counts_per_kg_day(low_eV=0, high_eV=10) == pytest.approx(0.02)
    assert found.error_of_counts_per_kg_day(low_eV=5, high_eV=10) == pytest.approx(0.01)


def test_components_add_in_quadrature_those_of_one_origin_once():
    together = NOMINAL + np.array([[1.0, 1.0, 1.0], [-1.0, -1.0, -1.0]])  # 0.04 counts
    every = {"low_eV": 0.0, "high_eV": 40.0}
    assert bands(shape=together).error_of_counts_per_kg_day(**every) == pytest.approx(0.04)
    both = bands(shape=together, source=together)
    assert both.error_of_counts_per_kg_day(**every) == pytest.approx(0.04 * np.sqrt(2))
    assert both.error_of_counts_per_kg_day(**every, without={"source"}) == pytest.approx(0.04)
    assert bands(fit=together, statistics=together).error_of_counts_per_kg_day(**every) == pytest.approx(0.04)
    shifted = both.centred_on(NOMINAL + 7)
    assert shifted.error_of_counts_per_kg_day(**every) == pytest.approx(0.04 * np.sqrt(2))
    assert both.within(10, 30).error_of_counts_per_kg_day(**every) == pytest.approx(0.02 * np.sqrt(2))
