"""Labels of axes."""

import re

import pytest
from matplotlib.figure import Figure

from cascade_driver.plot.style import finished


def labels(low: float, high: float) -> list[str]:
    axes = Figure().subplots()
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    finished(axes.figure)
    shown = [tick.get_text() for minor in (False, True) for tick in axes.get_xticklabels(minor=minor)]
    places = [tick for minor in (False, True) for tick in axes.get_xticks(minor=minor)]
    shown = [re.sub(r"\\mathdefault{(.*)}", r"\1", text) for text in shown]
    return [text for text, place in zip(shown, places, strict=True) if text and low <= place <= high]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.02, 0.9, ["0.02", "0.05", "0.1", "0.2", "0.5"]),
        (0.011, 0.09, ["0.02", "0.03", "0.05", "0.07"]),
        (20.0, 120.0, ["20", "50", "100"]),
        (0.02, 0.03, ["$0.0200$", "$0.0225$", "$0.0250$", "$0.0275$", "$0.0300$"]),
        (3e-7, 4e-6, [r"$5\times10^{-7}$", "$10^{-6}$", r"$2\times10^{-6}$"]),
        (1e-2, 1.5, ["$10^{-2}$", "$10^{-1}$", "$10^{0}$"]),
    ],
)
def test_a_logarithm_of_few_decades_has_few_plain_labels(low, high, expected):
    assert labels(low, high) == expected


def test_axes_that_are_straight_or_have_chosen_ticks_stay():
    axes = Figure().subplots()
    axes.set(xscale="log", xlim=(1, 9))
    axes.set_xticks([3.0], ["three"], minor=False)
    axes.set_ylim(1, 9)
    straight = axes.yaxis.get_major_formatter()
    finished(axes.figure)
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["three"]
    assert axes.yaxis.get_major_formatter() is straight
