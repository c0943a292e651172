"""Bin edges: made in one place, and of any number."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade_driver.binning import bin_edges, continued_edges
from cascade_driver.errors import InputError


def test_tenths_of_one_are_tenths():
    assert bin_edges(0.0, 1.0, bins=10).tolist() == [i / 10 for i in range(11)]
    assert bin_edges(1.0, 1000.0, bins=3, logarithmic=True) == pytest.approx([1, 10, 100, 1000], rel=1e-15)


@given(st.floats(1e-3, 1e3), st.floats(1e-3, 1e4), st.integers(1, 500), st.booleans(), st.floats(0.0, 300.0))
def test_edges_rise_end_where_they_were_told_and_continue_without_slivers(low, span, bins, logarithmic, further):
    edges = bin_edges(low, low + span, bins=bins, logarithmic=logarithmic)
    assert (len(edges), edges[0], edges[-1]) == (bins + 1, low, low + span)
    assert np.all(np.diff(edges) > 0)
    width = edges[-1] - edges[-2]
    end = edges[-1] + further * width / 10
    longer = continued_edges(edges, up_to_eV=end)
    assert np.array_equal(longer[: len(edges)], edges)
    added = np.diff(longer[bins:])
    if not len(added):
        assert end <= edges[-1] * (1 + 1e-9)
        return
    assert longer[-1] == end
    assert added == pytest.approx([*[width] * (len(added) - 1), added[-1]], rel=1e-6)
    assert added[-1] < 1.51 * width
    assert len(added) == 1 or added[-1] > 0.49 * width


@pytest.mark.parametrize(
    ("low", "high", "bins", "logarithmic", "words"),
    [
        (1.0, 1.0, 5, False, "two rising energies"),
        (2.0, np.inf, 5, False, "two rising energies"),
        (0.0, 1.0, 5, True, "logarithmic bins begin above 0"),
        (0.0, 1.0, 0, False, "at least 1"),
        (1.0, 1.0 + 1e-15, 50, False, "take fewer"),
    ],
)
def test_bins_that_cannot_be_are_refused(low, high, bins, logarithmic, words):
    with pytest.raises(InputError, match=words):
        bin_edges(low, high, bins=bins, logarithmic=logarithmic)
