"""What a correction says of its own reach: the tail below all that stored energy, and bins that are wide."""

import re
from dataclasses import dataclass

import campaigns
import numpy as np
import pytest

from cascade_driver.analysis.defect_probability import FermiProbability
from cascade_driver.analysis.model import fit_stored_energy_model
from cascade_driver.analysis.response import binned_response
from cascade_driver.spectra.detector import Detector
from cascade_driver.spectra.observe import observe
from cascade_driver.spectra.response_file import response_set
from cascade_driver.spectrum import Spectrum, rebin

#: In eV: rates that fall as dark matter's do.
FALL_eV = 15.0


@dataclass(frozen=True)
class Cut:
    """A Fermi function that is nothing below an energy."""

    law: FermiProbability
    from_eV: float

    @property
    def width_eV(self):
        return self.law.width_eV

    @property
    def bends_eV(self):
        return (*self.law.bends_eV, self.from_eV)

    def __call__(self, recoil_energy_eV):
        energy = np.asarray(recoil_energy_eV, dtype=float)
        return np.where(energy >= self.from_eV, self.law(energy), 0.0)


def falling(edges, *, fall_eV=FALL_eV, element="W"):
    return Spectrum.from_counts(
        energy_edges_eV=np.asarray(edges, dtype=float),
        counts_per_kg_day={element: -np.diff(np.exp(-np.asarray(edges, dtype=float) / fall_eV))},
    )


@pytest.fixture(scope="module")
def model():
    """Thresholds about 40 eV: 20 and 30 eV store nothing, 40 eV does, as a table of its points says."""
    rng = np.random.default_rng(8)
    law = Cut(FermiProbability(half_energy_eV=42.0, width_eV=4.0), 35.0)
    table = campaigns.simulate(rng, energies=(20.0, 30.0, 40.0, 60.0, 81.0, 112.0, 160.0), p=law)
    return fit_stored_energy_model(table, shape="gaussian", n_bootstrap=0)


def told(pair, word):
    return [note for note in pair.notes if word in note]


def percents(note):
    return [float(x) / 100 for x in re.findall(r"([+-][\d.]+)%", note)]


def test_the_tail_below_all_that_stored_energy_is_told_by_what_it_changes(model):
    one = model["W"]
    assert one.distribution.lowest_energy_eV == 40.0
    edges = np.arange(1.0, 121.0)
    pair = observe(falling(edges), model, bands=False)
    (note,) = told(pair, "as a tail")
    p = one.defect_probability
    assert "none of the 320 cascades below 40 eV stored energy" in note
    assert f"({float(p(40.0)):.2g} at 40 eV, {float(p(20.0)):.2g} at half of it)" in note
    # by the response of a probability that is cut there
    counts = falling(edges).counts_per_kg_day["W"]
    seen = [
        binned_response("W", defect_probability=law, distribution=one.distribution, recoil_edges_eV=edges).matrix
        @ counts
        for law in (p, Cut(p, 40.0))
    ]
    change = seen[0][1:] / seen[1][1:] - 1
    assert percents(note) == pytest.approx([change.min(), change.max()], abs=0.006)
    assert change.min() < -0.02
    low, high = (float(x) for x in re.search(r"between ([\d.]+) and ([\d.]+) eV", note).groups())
    notable = np.flatnonzero(np.abs(change) >= 0.02)
    assert (low, high) == (edges[notable[0]], edges[notable[-1] + 1])


def test_nothing_is_told_of_a_tail_that_is_not_seen_or_not_there(model):
    low = falling(np.arange(1.0, 121.0))
    assert not told(observe(low, model, detector=Detector(threshold_eV=45.0), bands=False), "as a tail")
    assert not told(observe(falling(np.arange(60.0, 121.0)), model, bands=False), "as a tail")
    rng = np.random.default_rng(8)
    table = campaigns.simulate(rng, energies=(20.0, 40.0, 60.0, 160.0))
    tabulated = fit_stored_energy_model(table, shape="table")
    assert not told(observe(low, tabulated, bands=False), "as a tail")
    sharp = campaigns.simulate(rng, p=FermiProbability(half_energy_eV=50.0, width_eV=0.3), n_snapshots=60)
    exact = fit_stored_energy_model(sharp, shape="gaussian", n_bootstrap=0)
    assert float(exact["W"].defect_probability(exact["W"].distribution.lowest_energy_eV)) > 0.5
    assert "none of the 1920 cascades below 60 eV" in told(observe(low, exact, bands=False), "as a tail")[0]


def test_an_exported_response_tells_of_the_tail(model):
    (note,) = response_set(model, np.arange(20.0, 161.0, 10.0)).notes
    assert note.startswith("W: none of the 320 cascades below 40 eV stored energy")
    assert response_set(model, np.arange(40.0, 161.0, 10.0)).notes == ()


@pytest.mark.parametrize(("width_eV", "fall_eV"), [(20.0, 25.0), (30.0, 25.0), (20.0, 15.0)])
def test_wide_bins_are_told_with_the_error_that_they_make(model, width_eV, fall_eV):
    edges = np.arange(0.0, 160.0 + width_eV / 2, width_eV)
    edges = edges[edges <= 160.0]
    pair = observe(falling(edges, fall_eV=fall_eV), model, bands=False)
    (note,) = told(pair, "are wide beside")
    assert note.startswith(f"bins of {width_eV:g} eV between ")
    # the truth is known: the same rate in bins of 1 eV
    fine = observe(falling(np.arange(0.0, edges[-1] + 1), fall_eV=fall_eV), model, bands=False)
    truth = rebin(fine.observed, edges).total_rate_per_kg_day_keV
    inside = pair.is_complete & (truth > 1e-3 * truth.max())
    error = (pair.observed_in_same_bins.total_rate_per_kg_day_keV / truth - 1)[inside]
    assert percents(note) == pytest.approx([error.min(), error.max()], abs=0.006)
    assert error.max() > 0.02
    # what it advises is enough
    parts = int(re.search(r"bins of 1/(\d) of that width", note)[1])
    narrow = np.arange(0.0, edges[-1] + 1e-9, width_eV / parts)
    mended = observe(falling(narrow, fall_eV=fall_eV), model, bands=False)
    assert not told(mended, "are wide beside")
    left = rebin(mended.observed, edges).total_rate_per_kg_day_keV / truth - 1
    assert np.abs(left[inside]).max() < 0.015


def test_nothing_is_told_of_bins_whose_width_does_not_matter(model):
    wide = np.arange(0.0, 161.0, 20.0)
    flat = Spectrum.from_counts(energy_edges_eV=wide, counts_per_kg_day={"W": np.full(8, 100.0)})
    line = Spectrum.from_counts(energy_edges_eV=wide, counts_per_kg_day={"W": np.eye(8)[5]})
    for spectrum in (flat, line, falling(np.arange(0.0, 161.0, 2.0)), falling(wide, fall_eV=200.0)):
        assert not told(observe(spectrum, model, bands=False), "are wide beside")
