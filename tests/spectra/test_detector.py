"""Resolution, threshold and efficiency."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from cascade_driver.errors import InputError
from cascade_driver.schema import build
from cascade_driver.spectra.detector import Detector, apply_detector, smearing_matrix
from cascade_driver.spectrum import Spectrum, rebin


def flat(edges: np.ndarray, **rates: float) -> Spectrum:
    return Spectrum(
        energy_edges_eV=edges, rate_per_kg_day_keV={k: np.full(len(edges) - 1, v) for k, v in rates.items()}
    )


def test_neutral_detector_is_the_identity() -> None:
    spectrum = flat(np.array([0.0, 1.0, 3.0]), W=2.0, O=1.0)
    seen = apply_detector(spectrum, Detector())
    for element, rate in spectrum.rate_per_kg_day_keV.items():
        np.testing.assert_array_equal(seen.rate_per_kg_day_keV[element], rate)
    assert seen.energy_kind == "observed"
    np.testing.assert_array_equal(
        smearing_matrix(Detector(), energy_edges_eV=[0, 1, 3], reconstructed_edges_eV=[0, 1, 3]), np.eye(2)
    )


def test_sharp_detector_in_other_bins_is_a_rebinning() -> None:
    spectrum = flat(np.array([0.0, 1.0, 3.0, 10.0]), W=2.0)
    new = np.array([0.5, 2.0, 4.0])
    np.testing.assert_allclose(
        apply_detector(spectrum, Detector(), reconstructed_edges_eV=new).rate_per_kg_day_keV["W"],
        rebin(spectrum, new).rate_per_kg_day_keV["W"],
        rtol=1e-12,
    )


@settings(max_examples=40, deadline=None)
@given(
    sigma=st.floats(0.0, 50.0),
    b=st.floats(0.0, 1.0),
    c=st.floats(0.0, 0.2),
    widths=st.lists(st.floats(1e-6, 100.0), min_size=1, max_size=8),
)
def test_counts_are_conserved_when_the_range_holds_them(
    sigma: float, b: float, c: float, widths: list[float]
) -> None:
    edges = np.concatenate([[0.0], np.cumsum(widths)])
    detector = Detector(resolution_eV=sigma, resolution_stochastic_sqrt_eV=b, resolution_linear=c)
    reach = 45 * float(detector.sigma_eV(edges[-1])) + 1
    new = np.linspace(edges[0] - reach, edges[-1] + reach, 37)
    matrix = smearing_matrix(detector, energy_edges_eV=edges, reconstructed_edges_eV=new)
    np.testing.assert_allclose(matrix.sum(axis=0), 1.0, rtol=1e-12)
    assert np.all(matrix >= 0)


@pytest.mark.parametrize("width", [1e-3, 1.0, 40.0])
def test_smearing_equals_the_convolution(width: float) -> None:
    # Events uniform in [30, 30 + width], sigma 5 eV, seen between 33 and 38 eV.
    expected = integrate.quad(
        lambda E: float(stats.norm.cdf(38, E, 5) - stats.norm.cdf(33, E, 5)) / width,
        30,
        30 + width,
        epsrel=1e-11,
    )[0]
    matrix = smearing_matrix(
        Detector(resolution_eV=5.0),
        energy_edges_eV=[30, 30 + width],
        reconstructed_edges_eV=[33, 38],
    )
    assert matrix[0, 0] == pytest.approx(expected, rel=1e-9)


def test_smearing_with_varying_resolution_equals_the_convolution() -> None:
    detector = Detector(resolution_eV=3.0, resolution_stochastic_sqrt_eV=0.5, resolution_linear=0.05)
    sigma = lambda E: math.sqrt(9 + 0.25 * E + (0.05 * E) ** 2)  # noqa: E731
    assert float(detector.sigma_eV(80.0)) == pytest.approx(sigma(80.0), rel=1e-14)
    expected = integrate.quad(
        lambda E: float(stats.norm.cdf(90, E, sigma(E)) - stats.norm.cdf(80, E, sigma(E))) / 4, 80, 84
    )[0]
    matrix = smearing_matrix(detector, energy_edges_eV=[80, 84], reconstructed_edges_eV=[80, 90])
    # Parts of 0.5 eV, each with the sigma of its middle, 6.4 eV: an error of the order (0.5 / 6.4)^2 / 24.
    assert matrix[0, 0] == pytest.approx(expected, rel=3e-4)


def test_line_has_the_mean_and_width_of_the_detector() -> None:
    line = Spectrum(energy_edges_eV=[100.0, 100.001], rate_per_kg_day_keV={"W": [1.0]})
    new = np.linspace(50, 150, 2001)
    seen = apply_detector(line, Detector(resolution_eV=6.0), reconstructed_edges_eV=new)
    weight = seen.counts_per_kg_day["W"] / seen.total_counts_per_kg_day
    mean = float(weight @ seen.energy_centers_eV)
    spread = math.sqrt(float(weight @ (seen.energy_centers_eV - mean) ** 2))
    assert mean == pytest.approx(100.0005, abs=1e-6)
    assert spread == pytest.approx(math.sqrt(36 + 0.05**2 / 12), rel=1e-6)


def test_threshold_cuts_also_within_a_bin() -> None:
    spectrum = flat(np.array([0.0, 10.0, 20.0, 30.0]), W=4.0)
    seen = apply_detector(spectrum, Detector(threshold_eV=12.0))
    np.testing.assert_allclose(seen.rate_per_kg_day_keV["W"], [0.0, 3.2, 4.0], rtol=1e-12)
    assert float(seen.metadata["counts_out_of_range_per_kg_day"]) == pytest.approx(0.0, abs=1e-9)


def test_resolution_lets_events_over_the_threshold() -> None:
    # Half of a line at the threshold is seen.
    line = Spectrum(energy_edges_eV=[19.999, 20.001], rate_per_kg_day_keV={"W": [1.0]})
    seen = apply_detector(
        line,
        Detector(resolution_eV=5.0, threshold_eV=20.0),
        reconstructed_edges_eV=np.linspace(0, 100, 11),
    )
    assert seen.total_counts_per_kg_day / line.total_counts_per_kg_day == pytest.approx(0.5, rel=1e-9)


def test_counts_that_leave_the_range_are_told() -> None:
    spectrum = flat(np.array([0.0, 10.0]), W=100.0)
    seen = apply_detector(spectrum, Detector(resolution_eV=5.0, efficiency=0.5))
    lost = float(seen.metadata["counts_out_of_range_per_kg_day"])
    assert seen.total_counts_per_kg_day / 0.5 + lost == pytest.approx(spectrum.total_counts_per_kg_day, rel=1e-5)
    assert lost > 0.1 * spectrum.total_counts_per_kg_day


def test_efficiency_is_averaged_over_what_is_above_the_threshold() -> None:
    detector = Detector(threshold_eV=10.0, efficiency=0.5, efficiency_points=((10.0, 0.0), (20.0, 1.0)))
    seen = apply_detector(flat(np.array([0.0, 5.0, 15.0, 20.0, 30.0]), W=1.0), detector)
    # Above threshold: nothing; half the bin at a mean of 0.25; 0.75; 1. All times 0.5.
    np.testing.assert_allclose(seen.rate_per_kg_day_keV["W"], [0.0, 0.5 * 0.5 * 0.25, 0.375, 0.5], rtol=1e-12)
    far = Detector(threshold_eV=100.0, efficiency_points=((0.0, 1.0),))
    assert apply_detector(flat(np.array([0.0, 5.0]), W=1.0), far).total_counts_per_kg_day == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"resolution_eV": -1.0}, "resolution_eV"),
        ({"resolution_linear": math.nan}, "resolution_linear"),
        ({"threshold_eV": math.inf}, "threshold_eV"),
        ({"efficiency": 1.2}, "efficiency of a detector is 1.2"),
        ({"efficiency_points": ((0.0, -0.1),)}, "is -0.1"),
        ({"efficiency_points": ((1.0, 0.1), (1.0, 0.2))}, "increasing"),
    ],
)
def test_impossible_detector_is_refused(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        build(Detector, arguments, origin="detector")
