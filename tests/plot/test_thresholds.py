"""Figures of threshold displacement energies."""

from types import SimpleNamespace

import numpy as np
import pytest

from cascade_driver.analysis.threshold_field import learn_field
from cascade_driver.plot.thresholds import probability_figure, threshold_map

VECTORS = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.6, 0.8, 0], [0, 0.6, 0.8], [0.8, 0, 0.6]])
THRESHOLDS_eV = np.array([62.0, 30.0, 31.0, 52.0, 40.0, 45.0])


@pytest.fixture(scope="module", params=[True, False], ids=["field", "no field"])
def atom(request):
    rotations = np.eye(3)[None]
    field = learn_field(VECTORS, mean_ln=np.log(THRESHOLDS_eV), sd_ln=np.full(6, 0.02), rotations=rotations)
    energies = np.linspace(5, 100, 20)
    return SimpleNamespace(
        group=SimpleNamespace(name="Si", rotations=rotations, wanted=SimpleNamespace(highest_eV=100.0)),
        directions=[
            SimpleNamespace(direction=v, weight=1.0, threshold_eV=SimpleNamespace(value=e))
            for v, e in zip(VECTORS, THRESHOLDS_eV, strict=True)
        ],
        mean_eV=SimpleNamespace(value=43.5),
        field=field if request.param else None,
        energies_eV=energies,
        lowest_defect_eV=5.0,
        probability=np.stack([energies / 110, energies / 105, energies / 100], axis=1),
    )


def test_a_map_says_that_its_field_is_the_smooth_part(atom):
    said = [axes.get_title() for axes in threshold_map(atom).axes]
    is_said = any(text.startswith("field: its smooth part; points scatter about it by") for text in said)
    assert is_said == (atom.field is not None)


def test_the_legend_names_every_line_and_covers_none(atom):
    figure = probability_figure(atom)
    (axes,) = figure.axes
    legend = axes.get_legend()
    assert [text.get_text() for text in legend.get_texts()] == [
        "displaced share",
        "thresholds of 6 directions, cumulative",
        "mean threshold, 43.5 eV",
    ]
    assert legend.get_window_extent().y1 < axes.get_window_extent().y0
    assert 0.75 * figure.bbox.width < axes.get_window_extent().width


def test_the_share_is_dotted_below_the_lowest_energy_that_left_a_defect(atom):
    """There it is the tail of a formula, as in the figures of campaigns."""
    (axes,) = probability_figure(SimpleNamespace(**{**vars(atom), "lowest_defect_eV": 32.0})).axes
    curves = [line for line in axes.lines if len(line.get_xdata()) > 2]
    plain, dotted = (line for line in curves if line.get_drawstyle() == "default")
    assert plain.get_xdata().min() == atom.energies_eV[atom.energies_eV >= 32.0][0]
    assert dotted.get_label() == "extrapolated"
    drawn = dotted.get_xdata()[np.isfinite(dotted.get_ydata())]
    assert drawn[0] == 5.0
    assert drawn[-1] == plain.get_xdata()[0]
