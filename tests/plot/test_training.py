"""What stands in the figures of a fit is what was given: every number, once, under its name."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade_driver.plot import training as plot
from cascade_driver.training.learning import LearningCurves
from cascade_driver.training.validate import FrenkelCurves, PairCurves, PairEnergies, Parity, PhononCurves

numbers = st.floats(-500, 500).map(lambda x: round(x, 3))
FEW = settings(max_examples=8)


def rows(length: int):
    return st.lists(numbers, min_size=length, max_size=length).map(tuple)


def drawn(axes) -> dict[str, np.ndarray]:
    """Return what the lines of a panel with a name of their own are drawn through (n, 2)."""
    return {line.get_label(): line.get_xydata() for line in axes.lines if not line.get_label().startswith("_")}


@FEW
@given(
    st.dictionaries(
        st.sampled_from(["strain", "cascade_end", "dimer_W-O"]), st.tuples(rows(4), rows(4)), min_size=1
    )
)
def test_each_frame_of_a_parity_figure_is_a_point_of_its_group(groups):
    given_groups = {name: Parity(label_eV=label, predicted_eV=ours) for name, (label, ours) in groups.items()}
    (axes,) = plot.energy_parity_figure(given_groups).axes
    points = drawn(axes)
    assert len(points) == len(groups)
    for name, (label, ours) in groups.items():
        found = next(xy for drawn_name, xy in points.items() if drawn_name.split()[0] == name.split("_")[0])
        np.testing.assert_array_equal(found, np.transpose([label, ours]))
    # The diagonal reaches over all of them.
    diagonal = axes.lines[-1].get_xydata()
    values = np.array(list(groups.values()))
    np.testing.assert_array_equal(diagonal, np.repeat([[values.min()], [values.max()]], 2, axis=1))


@FEW
@given(st.integers(1, 4), st.data())
def test_a_learning_curve_shows_its_errors_and_the_ratio_of_the_sums(count, data):
    positive = st.lists(st.floats(0.01, 50), min_size=count, max_size=count).map(tuple)
    ends = st.lists(st.tuples(*[st.floats(1, 50)] * 3), min_size=count, max_size=count).map(tuple)
    curves = LearningCurves(
        frames=tuple(100 * 2**k for k in range(count)),
        energy_meV_per_atom=data.draw(positive),
        force_eV_A=data.draw(positive),
        end_labels_eV=data.draw(ends),
        end_predicted_eV=data.draw(ends),
    )
    force, energy, ratio = plot.learning_figure(curves).axes
    np.testing.assert_array_equal(force.lines[0].get_xydata(), np.transpose([curves.frames, curves.force_eV_A]))
    np.testing.assert_array_equal(energy.lines[0].get_ydata(), curves.energy_meV_per_atom)
    wanted = [sum(a) / sum(b) for a, b in zip(curves.end_predicted_eV, curves.end_labels_eV, strict=True)]
    np.testing.assert_allclose(ratio.lines[-1].get_ydata(), wanted)
    assert all(axes.get_ylim()[0] == 0 for axes in (force, energy))


@pytest.mark.parametrize("pairs", [("Si-Si",), ("O-O", "O-W", "W-W", "Ca-O")])
def test_each_pair_has_a_panel_with_its_energies_and_those_of_zbl(pairs):
    rng = np.random.default_rng(0)
    r = tuple(np.linspace(0.1, 3, 7).tolist())
    energies = {
        name: PairEnergies(energy_eV=tuple(rng.normal(size=7)), zbl_eV=tuple(rng.random(7))) for name in pairs
    }
    figure = plot.pair_curve_figure(PairCurves(distance_A=r, pairs=energies))
    panels = {axes.get_title(): drawn(axes) for axes in figure.axes if axes.axison}
    assert len(panels) == len(pairs)
    for (name, one), (title, lines) in zip(energies.items(), panels.items(), strict=True):
        assert set(name) - {"-"} <= set(title)
        np.testing.assert_array_equal(lines["this potential"], np.transpose([r, one.energy_eV]))
        np.testing.assert_array_equal(lines["ZBL"], np.transpose([r, one.zbl_eV]))


def test_close_pairs_stand_over_their_species_small_and_large_box_apart():
    curves = FrenkelCurves(
        pairs_eV={"W": ((5.1, 4.9),), "O": ((3.2, 3.3), (2.8, 2.9))}, printed_eV={"W": ((5.0, float("nan")),)}
    )
    (axes,) = plot.frenkel_pair_figure(curves).axes
    points = np.concatenate([line.get_xydata() for line in axes.lines if len(line.get_xydata()) == 1])
    by_species = {name: points[np.rint(points[:, 0]) == k] for k, name in enumerate(("W", "O"))}
    assert sorted(by_species["W"][:, 1][np.isfinite(by_species["W"][:, 1])]) == [4.9, 5.0, 5.1]
    assert sorted(by_species["O"][:, 1]) == [2.8, 2.9, 3.2, 3.3]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["W", "O"]


def test_the_density_of_states_keeps_its_area_and_its_frequencies():
    frequency = np.linspace(0, 16, 60)
    density = np.exp(-((frequency - 9) ** 2) / 8)
    density /= np.trapezoid(density, frequency)
    curves = PhononCurves(
        frequency_THz=tuple(frequency), density_per_THz=tuple(density), gamma_THz=(2.0, 8.5, 15.5)
    )
    (axes,) = plot.phonon_figure(curves).axes
    outline, marks = axes.collections
    corners = outline.get_paths()[0].vertices
    area = 0.5 * np.abs(np.sum(corners[:-1, 0] * corners[1:, 1] - corners[1:, 0] * corners[:-1, 1]))
    assert area == pytest.approx(1, rel=1e-6)
    assert [path.vertices[0, 0] for path in marks.get_paths()] == [2.0, 8.5, 15.5]
