"""Panels of training and of thresholds: drawn into the axes that are given, as the whole figure has them."""

from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.figure import Figure

from cascade_driver.plot import thresholds, training

PARITY = {"perfect": SimpleNamespace(label_eV=[-1.0, 2.0], predicted_eV=[-0.9, 2.1])}
PAIRS = SimpleNamespace(pairs_eV={"W": [(7.5, 7.1)]}, printed_eV={"W": [(7.05, 7.3)]})
PHONONS = SimpleNamespace(frequency_THz=[0.0, 5.0, 10.0], density_per_THz=[0.0, 0.2, 0.0], gamma_THz=[3.0, 8.0])


@pytest.mark.parametrize(
    ("draw", "whole", "content"),
    [
        (training.draw_energy_parity, training.energy_parity_figure, PARITY),
        (training.draw_frenkel_pair, training.frenkel_pair_figure, PAIRS),
        (training.draw_phonon, training.phonon_figure, PHONONS),
    ],
)
def test_a_panel_is_drawn_into_the_axes_that_are_given_and_is_that_of_the_figure(draw, whole, content):
    given = Figure().add_subplot(1, 2, 2)
    assert draw(content, ax=given) is given
    (alone,) = whole(content).axes
    assert given.get_ylabel() == alone.get_ylabel() != ""
    assert len(given.lines) + len(given.collections) == len(alone.lines) + len(alone.collections) > 0
    for one, other in zip(given.lines, alone.lines, strict=True):
        np.testing.assert_array_equal(one.get_xydata(), other.get_xydata())


@pytest.mark.parametrize("thresholds_eV", [[19.27473], [19.27473, 19.27473], [12.0, 30.0]])
def test_the_colours_of_thresholds_span_what_an_axis_can_be_labelled_with(thresholds_eV):
    rows = [SimpleNamespace(threshold_eV=SimpleNamespace(value=value)) for value in thresholds_eV]
    scale = thresholds._scale(SimpleNamespace(directions=rows))
    assert scale.vmax - scale.vmin >= 0.05 * max(thresholds_eV) * (1 - 1e-9)
    assert scale.vmin <= np.median(thresholds_eV) <= scale.vmax
