"""Positions of lines, and what they say about the energy scale."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from cascade_driver.errors import FitError, InputError
from cascade_driver.spectra.detector import sampled_counts
from cascade_driver.spectra.line_fit import (
    LineTemplate,
    energy_scale_tests,
    fit_lines,
    fit_spectrum_lines,
)
from cascade_driver.spectrum import Spectrum

EDGES = np.arange(60.0, 101.0)
PEAKS = np.array([81.0, 112.0, 160.0])
LOST = np.array([7.5, 8.9, 11.0])  # printed means, Soum-Sidikov et al. 2024


def expected(
    *, energy: float = 80.0, counts: float = 1000.0, sigma: float = 5.0, level: float = 20.0, edges=EDGES
) -> np.ndarray:
    return counts * np.diff(stats.norm.cdf(edges, energy, sigma)) + level * np.diff(edges)


# -- one fit ------------------------------------------------------------------------------------------------


def test_expected_counts_give_back_what_they_were_made_of() -> None:
    fit = fit_lines(
        expected(energy=79.2, sigma=4.6),
        energy_edges_eV=EDGES,
        lines=[LineTemplate.single(81.0)],
        resolution_eV=5.0,
        background_order=0,
    )
    (line,) = fit.lines
    assert line.shift_eV == pytest.approx(-1.8, abs=1e-3)
    assert line.position_eV == pytest.approx(79.2, abs=1e-3)
    assert line.width_eV == pytest.approx(4.6, abs=2e-3)
    assert line.counts == pytest.approx(1000, rel=1e-3)
    assert sum(fit.background_counts) == pytest.approx(20 * 40, rel=2e-3)
    assert fit.goodness.statistic < 1e-3
    assert fit.health.is_good
    # closed form without background: sigma / sqrt(N); background and free width cost some of it
    assert 4.6 / math.sqrt(1000) < line.shift_error_eV < 2 * 4.6 / math.sqrt(1000)


def test_error_of_a_lone_line_is_its_width_over_the_root_of_its_counts() -> None:
    edges = np.linspace(50, 110, 601)
    fit = fit_lines(
        expected(level=0.0, edges=edges) + 1e-9,
        energy_edges_eV=edges,
        lines=[LineTemplate.single(80.0)],
        resolution_eV=5.0,
        background_order=-1,
        fixed_resolution=True,
    )
    assert fit.lines[0].shift_error_eV == pytest.approx(5.0 / math.sqrt(1000), rel=2e-3)
    assert fit.lines[0].counts_error == pytest.approx(math.sqrt(1000), rel=2e-3)
    assert fit.lines[0].width_error_eV == 0.0


@pytest.mark.parametrize(
    ("counts", "edges", "at_eV"),
    [
        (expected(), EDGES, (80.0, 80.0)),
        (np.full(40, 50.0), EDGES, (80.0,)),
        (np.array([3.0, 9.0, 3.0]), np.linspace(70.0, 90.0, 4), (80.0,)),
    ],
    ids=["one line twice", "no line at all", "fewer bins than parameters"],
)
def test_lines_that_the_counts_do_not_determine_are_refused(counts, edges, at_eV) -> None:
    with pytest.raises(FitError, match=r"do not determine position|found no minimum"):
        fit_lines(counts, energy_edges_eV=edges, lines=[LineTemplate.single(e) for e in at_eV], resolution_eV=5.0)


def test_pulls_of_the_position_are_standard_normal() -> None:
    rng = np.random.default_rng(5)
    pulls, good = [], []
    for _ in range(80):
        fit = fit_lines(
            rng.poisson(expected()),
            energy_edges_eV=EDGES,
            lines=[LineTemplate.single(80.0)],
            resolution_eV=5.0,
            background_order=0,
        )
        pulls.append(fit.lines[0].shift_eV / fit.lines[0].shift_error_eV)
        good.append(fit.goodness.statistic / fit.goodness.degrees_of_freedom)
    # 80 pulls: 3.3 standard errors each, false alarm below 0.1 % per assertion
    assert abs(np.mean(pulls)) < 3.3 / math.sqrt(80)
    assert abs(np.std(pulls) - 1) < 3.3 / math.sqrt(160)
    assert np.mean(good) == pytest.approx(1, abs=3.3 * math.sqrt(2 / 36 / 80))


def test_goodness_sees_a_line_that_was_left_out() -> None:
    two = expected() + expected(energy=92.0, counts=400.0, sigma=2.0, level=0.0)
    fit = fit_lines(
        two, energy_edges_eV=EDGES, lines=[LineTemplate.single(80.0)], resolution_eV=5.0, background_order=0
    )
    assert fit.goodness.p_value is not None
    assert fit.goodness.p_value < 1e-6


def test_components_of_a_peak_move_together() -> None:
    template = LineTemplate(name="81", energy_eV=np.array([79.5, 81.3]), weight=np.array([8.0, 5.6]))
    made = sum(
        w * expected(energy=e - 7.5, counts=3000.0, sigma=5.0, level=0.0)
        for e, w in zip(template.energy_eV, template.weight, strict=True)
    )
    fit = fit_lines(made + 30.0, energy_edges_eV=EDGES, lines=[template], resolution_eV=5.0, background_order=0)
    assert fit.lines[0].shift_eV == pytest.approx(-7.5, abs=2e-3)
    assert fit.lines[0].width_eV == pytest.approx(5.0, abs=2e-3)
    assert template.mean_energy_eV == pytest.approx((79.5 * 8 + 81.3 * 5.6) / 13.6)


def test_template_of_a_spectrum_leaves_the_level_below_it() -> None:
    counts = np.full(20, 3.0)
    counts[[7, 9]] += [10.0, 30.0]
    spectrum = Spectrum.from_counts(energy_edges_eV=np.arange(21.0), counts_per_kg_day={"W": counts})
    template = LineTemplate.from_spectrum(spectrum, low_eV=5, high_eV=12)
    assert template.mean_energy_eV == pytest.approx(9.0)
    assert np.count_nonzero(template.weight) == 2


# -- the energy scale ---------------------------------------------------------------------------------------


def scale(position: np.ndarray, error: float = 0.1, **more: float) -> dict[str, object]:
    tests = energy_scale_tests(PEAKS, position, covariance_eV2=np.eye(3) * error**2, **more)
    return {t.name: t for t in tests}


def test_degrees_of_freedom_and_closed_forms() -> None:
    tests = scale(PEAKS - LOST)
    assert [t.degrees_of_freedom for t in tests.values()] == [3, 2, 1]
    assert tests["absolute"].chi_square == pytest.approx(float(np.sum(LOST**2)) / 0.01)
    gain = float(PEAKS @ (PEAKS - LOST) / (PEAKS @ PEAKS))
    assert tests["proportional"].chi_square == pytest.approx(
        float(np.sum((PEAKS - LOST - gain * PEAKS) ** 2)) / 0.01
    )
    line = np.polynomial.polynomial.polyfit(PEAKS, PEAKS - LOST, 1)
    left = PEAKS - LOST - np.polynomial.polynomial.polyval(PEAKS, line)
    assert tests["straight_line"].chi_square == pytest.approx(float(left @ left) / 0.01)


def test_a_straight_line_sees_next_to_nothing_of_the_printed_losses() -> None:
    """Through 81 and 160 eV it misses 112 by 0.03 eV: the non-linearity is an offset."""
    chord = 7.5 + (11.0 - 7.5) * (112 - 81) / (160 - 81)
    assert abs(8.9 - chord) == pytest.approx(0.03, abs=0.005)
    tests = scale(PEAKS - LOST, error=0.1)
    assert tests["absolute"].significance > tests["proportional"].significance > 5
    assert tests["straight_line"].significance < 0.5


def test_no_loss_and_a_mere_gain_are_not_seen() -> None:
    """Negative controls: what a hypothesis allows has no distance from it."""
    assert scale(PEAKS)["absolute"].chi_square == 0
    assert scale(0.93 * PEAKS)["proportional"].chi_square == pytest.approx(0, abs=1e-12)
    assert scale(0.93 * PEAKS - 2)["straight_line"].chi_square == pytest.approx(0, abs=1e-12)
    assert scale(0.93 * PEAKS)["absolute"].significance > 5


def test_error_of_the_scale_weakens_the_absolute_test_alone() -> None:
    sharp, blunt = scale(PEAKS - LOST), scale(PEAKS - LOST, scale_error=0.05)
    assert blunt["absolute"].significance < sharp["absolute"].significance
    assert blunt["proportional"] == sharp["proportional"]
    # a scale that is not known at all: nothing but proportionality remains
    unknown = scale(PEAKS - LOST, scale_error=100.0)["absolute"].chi_square
    assert unknown == pytest.approx(sharp["proportional"].chi_square, rel=1e-3)


def test_chi_square_of_straight_data_has_the_false_alarms_it_says() -> None:
    rng = np.random.default_rng(7)
    p = [
        scale(0.95 * PEAKS + 0.1 * rng.normal(size=3))["proportional"].p_value  # type: ignore[attr-defined]
        for _ in range(400)
    ]
    assert stats.kstest(p, "uniform").pvalue > 1e-3


def test_significance_is_that_of_a_normal_law_also_far_out() -> None:
    for z in (1.0, 3.0, 10.0, 30.0, 60.0):
        (_, _, line) = energy_scale_tests(
            [0.0, 1.0, 2.0], [0.0, -z * math.sqrt(1.5), 0.0], covariance_eV2=np.eye(3)
        )
        assert line.chi_square == pytest.approx(z**2)
        assert line.significance == pytest.approx(z, rel=1e-3)


def test_two_lines_leave_no_straight_line_to_test() -> None:
    tests = energy_scale_tests([1.0, 2.0], [1.0, 2.1], covariance_eV2=np.eye(2))
    assert [t.name for t in tests] == ["absolute", "proportional"]


# -- expected significance ----------------------------------------------------------------------------------


def predicted(shift: np.ndarray) -> Spectrum:
    edges = np.arange(60.0, 181.0, 2.0)
    counts = sum(
        expected(energy=e - s, counts=n, sigma=5.0, level=50.0, edges=edges)
        for e, s, n in zip(PEAKS, shift, (3e4, 1e4, 1e3), strict=True)
    )
    return Spectrum.from_counts(energy_edges_eV=edges, counts_per_kg_day={"W": counts})


def test_expected_significance_grows_with_the_root_of_the_exposure() -> None:
    found = [
        fit_spectrum_lines(
            predicted(LOST),
            at_eV=PEAKS.tolist(),
            exposure_kg_day=exposure,
            resolution_eV=5.0,
            between_eV=(60.0, 180.0),
            background_order=0,
            loss_eV=[7.0, 9.0, 11.0],
        )[1]
        for exposure in (1.0, 4.0)
    ]
    absolute, proportional, line = zip(*found, strict=True)
    assert absolute[1].significance / absolute[0].significance == pytest.approx(2, rel=0.02)
    assert proportional[0].significance > 5
    assert line[0].significance < 1


def test_drawn_counts_scatter_about_the_expected_ones() -> None:
    spectrum = predicted(LOST)
    exposed = sampled_counts(spectrum, exposure_kg_day=2.0)
    assert exposed.sum() == pytest.approx(2 * spectrum.total_counts_per_kg_day)
    drawn = sampled_counts(spectrum, exposure_kg_day=2.0, rng=np.random.default_rng(3))
    chi_square = float(np.sum((drawn - exposed) ** 2 / exposed))
    assert stats.chi2.sf(chi_square, len(drawn)) > 1e-3
    assert np.all(drawn == np.round(drawn))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: sampled_counts(predicted(LOST), exposure_kg_day=0.0), "exposure is 0 kg day"),
        (
            lambda: fit_spectrum_lines(predicted(LOST), at_eV=[], exposure_kg_day=1.0, resolution_eV=5.0),
            "expected positive recoil energies",
        ),
        (
            lambda: fit_spectrum_lines(
                predicted(LOST), at_eV=[80, 112, 80], exposure_kg_day=1.0, resolution_eV=5.0
            ),
            "one is named twice",
        ),
    ],
)
def test_bad_exposures_are_named(make, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


# -- bad input ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"counts": np.ones(3)}, "counts of shape"),
        ({"counts": -np.ones(40)}, r"counts in bin 0 \(60 to 61 eV\) are -1"),
        ({"counts": np.zeros(40)}, "no counts in any bin"),
        ({"lines": []}, "no lines to fit"),
        ({"lines": [LineTemplate.single(10.0)]}, "line 10 eV at 10 eV lies outside"),
        ({"resolution_eV": 0.0}, "resolution of a line fit is 0"),
        ({"background_order": 20}, "background order is 20"),
        ({"starting_shift_eV": [1.0, 2.0]}, "2 starting shifts for 1 lines"),
        ({"energy_edges_eV": EDGES[::-1]}, "does not lie above"),
    ],
)
def test_bad_fits_are_named(change: dict[str, object], message: str) -> None:
    good: dict[str, object] = {
        "counts": expected(),
        "energy_edges_eV": EDGES,
        "lines": [LineTemplate.single(80.0)],
        "resolution_eV": 5.0,
    }
    request = good | change
    with pytest.raises(InputError, match=message):
        fit_lines(request.pop("counts"), **request)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LineTemplate(name="x", energy_eV=np.array([]), weight=np.array([])), "expected one each"),
        (lambda: LineTemplate(name="x", energy_eV=np.array([1.0]), weight=np.array([0.0])), "no intensity"),
        (lambda: LineTemplate(name="x", energy_eV=np.array([1.0]), weight=np.array([-1.0])), "not below 0"),
        (lambda: LineTemplate.from_spectrum(predicted(LOST), low_eV=1, high_eV=2, name="x"), "no two bins"),
        (lambda: energy_scale_tests([1.0], [1.0, 2.0], covariance_eV2=np.eye(1)), "make them agree"),
        (lambda: energy_scale_tests([1.0], [1.0], covariance_eV2=[[0.0]]), "not positive definite"),
        (lambda: energy_scale_tests([1.0], [1.0], covariance_eV2=[[1.0]], scale_error=-1), "error of the scale"),
    ],
)
def test_bad_templates_and_tests_are_named(make, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()
