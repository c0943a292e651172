"""One road from a recoil spectrum to what a detector sees, whatever the spectrum comes from."""

import functools

import pytest

from cascade_driver.analysis.published import cawo4_published
from cascade_driver.spectra.observe import observe
from cascade_driver.spectra.request import DarkMatterRequest

DARK_MATTER = {"kind": "dm", "target": "W", "mass_GeV": 2.0, "cross_section_cm2": 1e-40}


@functools.cache
def counts_in_bins(bins: int, *, logarithmic: bool) -> float:
    request = DarkMatterRequest(**DARK_MATTER, energy_eV=(1.0, 150.0), bins=bins, logarithmic=logarithmic)
    pair = observe(request, cawo4_published(), bands=False, other_crystal=True)
    assert len(pair.expected.energy_edges_eV) == bins + 1
    return float(pair.observed.total_counts_per_kg_day)


@pytest.mark.parametrize("bins", [*range(10, 400, 26), 50, 60, 75, 149, 400])
@pytest.mark.parametrize("logarithmic", [False, True])
def test_any_number_of_bins_gives_the_same_counts(bins, logarithmic):
    # 1e-4: rates are taken as constant within a bin, of which there are as few as ten
    assert counts_in_bins(bins, logarithmic=logarithmic) == pytest.approx(
        counts_in_bins(1000, logarithmic=False), rel=1e-4
    )
