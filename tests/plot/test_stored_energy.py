"""Figures hold what they claim: their artists are looked at, not their pixels."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from campaigns import LAW, simulate
from matplotlib.collections import FillBetweenPolyCollection
from matplotlib.colors import to_hex
from matplotlib.patches import StepPatch

from cascade_driver import plot
from cascade_driver.analysis.comparison import compare
from cascade_driver.analysis.defect_probability import FermiProbability
from cascade_driver.analysis.model import SpeciesModel, StoredEnergyModel, fit_stored_energy_model
from cascade_driver.errors import FitError, InputError
from cascade_driver.plot import stored_energy, style
from cascade_driver.spectra.observe import Observed
from cascade_driver.spectrum import Spectrum
from cascade_driver.text import value_with_error

ENERGIES = (20.0, 40.0, 60.0, 81.0, 160.0)


def cascades(*, energies=ENERGIES, n_directions=12, n_snapshots=3, width_eV=10.0, **settings):
    p = FermiProbability(half_energy_eV=50.0, width_eV=width_eV)
    given = {"energies": energies, "n_directions": n_directions, "n_snapshots": n_snapshots, "p": p}
    return simulate(np.random.default_rng(1), **given, **settings)


@pytest.fixture(scope="module")
def table():
    return cascades()


@pytest.fixture(scope="module")
def model(table):
    return fit_stored_energy_model(table, n_bootstrap=0)


@pytest.fixture(scope="module")
def by_hand():
    one = SpeciesModel(
        defect_probability=FermiProbability(half_energy_eV=50.0, width_eV=10.0, maximum=0.9),
        distribution=LAW,
        minimum_recoil_energy_eV=20.0,
        maximum_recoil_energy_eV=160.0,
    )
    return StoredEnergyModel(species={"W": one}, status="quantitative")


def spectrum(rate, *, edges=None, kind="recoil"):
    rate = np.asarray(rate, dtype=float)
    edges = np.linspace(10, 110, len(rate) + 1) if edges is None else edges
    return Spectrum(energy_edges_eV=edges, rate_per_kg_day_keV={"W": rate}, energy_kind=kind)


def pair(**changes):
    centres = np.arange(15.0, 110.0, 10.0)
    expected = spectrum(1e3 * np.exp(-centres / 20))
    # observed bins reach further down, as those of a response do
    observed = spectrum(
        np.r_[7.0, 1e3 * np.exp(-centres / 20) * np.linspace(1.1, 0.8, 10)],
        edges=np.linspace(0, 110, 12),
        kind="observed",
    )
    about = {"name": "dm", "title": "dark matter, 2 GeV", "complete_eV": (10.0, 110.0)}
    return Observed(**{**about, "expected": expected, "observed": observed} | changes)


def titles(figure):
    return [axes.get_title(loc="right") for axes in figure.axes]


def curve(axes, colour=style.MODEL_COLOUR):
    return next(line for line in axes.lines if to_hex(line.get_color()) == colour and len(line.get_xdata()) > 2)


def legend_text(axes):
    return "\n".join(text.get_text() for text in axes.get_legend().get_texts())


def all_figures(table, model, pairs):
    return [
        plot.defect_probability_figure(table, model, "W"),
        plot.stored_energy_figure(table, model, "W"),
        plot.stored_energy_trend_figure(table, model, "W"),
        plot.spectra_figure(pairs, potential_status=table.potential_status),
    ]


# --- every figure -----------------------------------------------------------------------------------------


def test_every_figure_of_a_qualitative_potential_says_so_and_no_other_does(table, model):
    quantitative = dataclasses.replace(table, potential_status="quantitative")
    trusted = dataclasses.replace(model, status="quantitative")
    for figure in all_figures(table, model, [pair()]):
        assert titles(figure).count(style.QUALITATIVE_MARK) == 1
    for figure in all_figures(quantitative, trusted, [pair()]):
        assert style.QUALITATIVE_MARK not in titles(figure)


def test_weaker_status_of_table_and_model_counts(table, model):
    trusted = dataclasses.replace(model, status="quantitative")
    assert style.QUALITATIVE_MARK in titles(plot.defect_probability_figure(table, trusted, "W"))


def test_axes_carry_units(table, model):
    for figure in all_figures(table, model, [pair()]):
        labels = [label for axes in figure.axes for label in (axes.get_xlabel(), axes.get_ylabel())]
        labels = [label for label in (*labels, figure.get_supylabel()) if label]
        pure_numbers = ("defect probability $p_d$", "share below", "observed\n/ expected")
        units = ("(eV)", "(1/eV)", "(%)", "(kg$^{-1}$ d$^{-1}$ keV$^{-1}$)")
        assert len(labels) >= 2
        assert all(label.endswith(units) or label in pure_numbers for label in labels), labels


def test_figures_leave_no_state_behind(table, model):
    before = dict(matplotlib.rcParams)
    all_figures(table, model, [pair()])
    assert dict(matplotlib.rcParams) == before


def test_drawing_does_not_import_pyplot():
    code = "import sys, cascade_driver.plot; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- defect probability -----------------------------------------------------------------------------------


def test_fermi_curve_and_band_are_those_of_the_fit(table, model):
    figure = plot.defect_probability_figure(table, model, "W")
    (axes,) = figure.axes
    fit = model["W"].defect_probability_fit
    energy, p = curve(axes).get_data()
    np.testing.assert_allclose(p, model["W"].defect_probability(energy))
    assert np.interp(fit.values[0], energy, p) == pytest.approx(0.5, abs=1e-3)
    (band,) = [c for c in axes.collections if isinstance(c, FillBetweenPolyCollection)]
    corners = band.get_paths()[0].vertices
    lower, upper = fit.interval(energy)
    assert corners[:, 1].max() == pytest.approx(fit.interval(axes.get_xlim()[1])[1].item())
    at_half = corners[np.isclose(corners[:, 0], fit.values[0]), 1]
    low, high = fit.interval(fit.values[0])
    assert np.ptp(at_half) == pytest.approx((high - low).item(), rel=1e-6)
    assert np.all((lower <= p) & (p <= upper))


def dotted(axes):
    return next(line for line in axes.lines if line.get_label() == style.EXTRAPOLATED)


def test_what_was_not_simulated_is_dotted(table, model, by_hand):
    for made, cascades_of in ((model, table), (by_hand, None)):
        one = made["W"]
        (axes,) = plot.defect_probability_figure(cascades_of, made, "W").axes
        simulated = curve(axes).get_xdata()
        assert (simulated.min(), simulated.max()) == pytest.approx((20.0, 160.0), abs=0.5)
        energy, p = dotted(axes).get_data()
        shown = np.isfinite(p)
        np.testing.assert_allclose(p[shown], one.defect_probability(energy[shown]))
        assert energy[shown].min() == 0
        assert energy[shown].max() > 160
        assert np.count_nonzero((energy > 21) & (energy < 159) & shown) == 0
        assert style.EXTRAPOLATED in legend_text(axes)


def test_points_have_their_wilson_intervals_and_numbers(table, model):
    figure = plot.defect_probability_figure(table, model, "W")
    (axes,) = figure.axes
    points = model["W"].defect_probability_fit.points
    line, _, (bars,) = axes.containers[0]
    np.testing.assert_allclose(line.get_ydata(), [p.probability for p in points])
    ends = np.array(bars.get_segments())[:, :, 1]
    np.testing.assert_allclose(ends, [[p.lower, p.upper] for p in points], atol=1e-12)
    assert [t.get_text() for t in axes.texts] == [f"{p.n_defects}/{p.n_cascades}" for p in points]


def test_legend_tells_half_energy_and_width_with_errors(table, model):
    fit = model["W"].defect_probability_fit
    text = legend_text(plot.defect_probability_figure(table, model, "W").axes[0])
    assert f"$E_{{1/2}}$ = {value_with_error(fit.values[0], fit.errors[0])} eV" in text
    assert f"$w$ = {value_with_error(fit.values[1], fit.errors[1])} eV" in text


def test_separated_data_get_curve_band_and_limit():
    table = cascades(width_eV=0.0, n_directions=4)
    model = fit_stored_energy_model(table, n_bootstrap=0)
    assert model["W"].defect_probability_fit.is_separated
    (axes,) = plot.defect_probability_figure(table, model, "W").axes
    energy, p = curve(axes).get_data()
    assert np.all(np.diff(p) >= 0)
    assert 0.2 < np.interp(50.0, energy, p) < 0.8  # the step lies between 40 and 60 eV
    assert any(isinstance(c, FillBetweenPolyCollection) for c in axes.collections)
    text = legend_text(axes)
    assert "separated: $w$ <" in text
    assert "90%" in text


def test_model_put_in_by_hand_is_drawn_without_band_and_without_errors(by_hand):
    (axes,) = plot.defect_probability_figure(None, by_hand, "W").axes
    text = legend_text(axes)
    assert "fit" not in text
    assert "±" not in text
    assert "$p_{max}$ = 0.9" in text
    assert not axes.collections
    assert not axes.containers


def test_without_a_model_only_points_are_drawn(table):
    (axes,) = plot.defect_probability_figure(table, None, "W").axes
    assert len(axes.containers) == 1
    assert all(to_hex(line.get_color()) != style.MODEL_COLOUR for line in axes.lines)


def test_crowded_energies_have_upright_numbers():
    table = cascades(energies=(20.0, 22.0, 40.0, 60.0, 160.0))
    (axes,) = plot.defect_probability_figure(table, None, "W").axes
    assert {text.get_rotation() for text in axes.texts} == {90.0}


# --- stored energy ----------------------------------------------------------------------------------------


def test_histograms_are_weighted_by_direction_and_normalised(table, model):
    figure = plot.stored_energy_figure(table, model, "W")
    panels = [axes for axes in figure.axes if axes.axison]
    energies = [e for e in ENERGIES if table.stores_energy[table.recoil_energy_eV == e].any()]
    assert len(panels) == len(energies)
    for axes, energy in zip(panels, energies, strict=True):
        here = (table.recoil_energy_eV == energy) & table.stores_energy
        if here.sum() < stored_energy.FEW_EVENTS:
            continue
        (bars,) = [patch for patch in axes.patches if isinstance(patch, StepPatch)]
        density, edges, _ = bars.get_data()
        assert np.sum(density * np.diff(edges)) == pytest.approx(1)
        weight, stored = table.direction_weight[here], table.stored_energy_eV[here]
        low_part = weight[stored < edges[5]].sum() / weight.sum()
        assert np.sum((density * np.diff(edges))[:5]) == pytest.approx(low_part)
        assert f"$E_R$ = {energy:g} eV" in axes.texts[0].get_text()


def test_fitted_densities_and_means_lie_over_the_histograms(table, model):
    figure = plot.stored_energy_figure(table, model, "W")
    shown = [s for s in model["W"].distribution_fit.summaries if s.n_nonzero]
    for axes, summary in zip(figure.axes, shown, strict=True):
        stored, drawn = curve(axes).get_data()
        law = model["W"].distribution
        if summary.n_nonzero < stored_energy.FEW_EVENTS:
            np.testing.assert_allclose(drawn, law.cumulative(stored, np.full(500, summary.recoil_energy_eV)))
        else:
            np.testing.assert_allclose(drawn, np.exp(law.log_density(stored, summary.recoil_energy_eV)))
        (mean,) = [line for line in axes.lines if line.get_linestyle() == "--"]
        assert mean.get_xdata()[0] == pytest.approx(summary.mean_eV)
        assert value_with_error(summary.mean_eV, summary.standard_error_eV) in axes.texts[0].get_text()


def test_few_events_are_marks_and_their_cumulative_distribution_and_no_density():
    table = cascades(energies=(60.0, 160.0), n_directions=4, n_snapshots=2)
    (_, axes) = plot.stored_energy_figure(table, None, "W").axes
    here = (table.recoil_energy_eV == 160) & table.stores_energy
    assert here.sum() < stored_energy.FEW_EVENTS
    assert not axes.patches
    steps, marks, _ = axes.lines
    stored, weight = table.stored_energy_eV[here], table.direction_weight[here]
    np.testing.assert_allclose(np.sort(marks.get_xdata()), np.sort(stored))
    middle = float(np.median(stored)) + 1e-9
    x, share = steps.get_data()
    assert share[np.searchsorted(x, middle) - 1] == pytest.approx(weight[stored < middle].sum() / weight.sum())
    assert (share[0], share[-1]) == pytest.approx((0, 1))


def test_what_is_written_beside_stored_energies_covers_none_of_them(table, model):
    figure = plot.stored_energy_figure(table, model, "W")
    for axes in figure.axes:
        (text,) = axes.texts
        left = axes.transData.inverted().transform(text.get_window_extent())[0, 0]
        assert left > table.stored_energy_eV.max()


def test_a_panel_is_drawn_into_the_axes_that_are_given(table, model):
    figure = matplotlib.figure.Figure()
    both = compare(table, table)
    two = {"names": ("one", "two")}
    for number, draw in enumerate(
        (
            lambda ax: plot.draw_defect_probability(table, model, "W", ax=ax),
            lambda ax: plot.draw_stored_energies(table, model, "W", recoil_energy_eV=160.0, ax=ax),
            lambda ax: plot.draw_ratio(pair(), ax=ax),
            lambda ax: plot.draw_observed(pair(), ax=ax),
            lambda ax: plot.draw_spectrum(pair().expected, ax=ax),
            lambda ax: plot.draw_compared(both, "W", quantity="stored energy", **two, ax=ax),
            lambda ax: plot.draw_change(both, "W", quantity="defect probability", ax=ax),
            lambda ax: plot.draw_compared_distribution(both[-1], **two, ax=ax),
            lambda ax: plot.draw_stored_energy_trend(table, model, "W", ax=ax),
            lambda ax: plot.draw_stored_energy_trend(table, model, "W", is_share=True, ax=ax),
            lambda ax: plot.draw_calibration(pair(), mass_g=1.0, ax=ax),
        ),
        start=1,
    ):
        axes = figure.add_subplot(2, 6, number)
        assert draw(axes) is axes
        assert axes.has_data()
        assert axes.get_ylabel()
    with pytest.raises(InputError, match="no W recoil of 5 eV stored energy"):
        plot.draw_stored_energies(table, model, "W", recoil_energy_eV=5.0)


def test_a_number_of_one_cascade_is_hollow_and_the_legend_says_that_it_has_no_error():
    few = cascades(energies=(160.0,), n_directions=1, n_snapshots=1)
    found = compare(few, cascades(energies=(160.0,), n_directions=4, n_snapshots=4))
    ax = matplotlib.figure.Figure().subplots()
    plot.draw_compared(found, "W", quantity="stored energy", names=("one", "many"), ax=ax)
    (hollow,) = [line for line in ax.lines if line.get_markerfacecolor() == "white"]
    assert hollow.get_ydata().tolist() == [few.stored_energy_eV[0]]
    assert hollow.get_label() in ax.get_legend_handles_labels()[1]


def test_campaigns_side_by_side_show_both_the_change_and_its_error(table):
    shifted = np.where(table.stored_energy_eV > 0, table.stored_energy_eV + 2.0, 0.0)
    found = compare(table, dataclasses.replace(table, stored_energy_eV=shifted))
    figure = plot.comparison_figure(found, "W", names=("one", "$two"))
    assert [t.get_text() for t in figure.axes[0].get_legend().get_texts()] == ["one", r"\$two"]
    probability, mean, no_change, change = (
        [axes.containers[k].lines[0].get_ydata() for k in range(len(axes.containers))]
        for axes in (figure.axes[0], figure.axes[2], figure.axes[1], figure.axes[3])
    )
    np.testing.assert_array_equal(*probability)
    np.testing.assert_array_equal(no_change[0], 0)
    # Pairs: each cascade with defects stores 2 eV more.
    np.testing.assert_allclose(change[0], [2 * d.n_defects[0] / d.n_cascades[0] for d in found])
    assert np.all(mean[1] >= mean[0])
    for axes in figure.axes[4:]:
        share = [line.get_ydata() for line in axes.lines]
        assert all(one[0] == 0 and one[-1] == 1 and np.all(np.diff(one) >= 0) for one in share)
    with pytest.raises(InputError, match="no recoils of O are compared; there are W"):
        plot.comparison_figure(found, "O", names=("one", "two"))


def test_the_legend_of_a_defect_probability_covers_nothing(table, model):
    figure = plot.defect_probability_figure(table, model, "W")
    (axes,) = figure.axes
    assert not axes.get_legend().get_window_extent().overlaps(axes.get_window_extent())


def test_energies_that_stored_nothing_are_named():
    table = cascades(width_eV=0.0)
    figure = plot.stored_energy_figure(table, None, "W")
    assert len(figure.axes) == 3
    assert "none stored at 20, 40 eV" in figure.axes[0].get_title(loc="left")


def test_a_campaign_that_stored_nothing_still_has_its_figures():
    table = cascades(energies=(5.0, 10.0), width_eV=0.0)
    assert "none stored at 5, 10 eV" in plot.stored_energy_figure(table, None, "W").axes[0].get_title(loc="left")
    assert not plot.stored_energy_trend_figure(table, None, "W").axes[0].containers


def test_many_energies_take_two_columns():
    table = cascades(energies=tuple(np.linspace(60, 160, 9)), n_directions=4)
    figure = plot.stored_energy_figure(table, None, "W")
    assert len([axes for axes in figure.axes if axes.axison]) == 9
    assert figure.get_figwidth() > 2 * style.COLUMN_WIDTH_in
    assert sum(bool(axes.get_xlabel()) for axes in figure.axes) == 2


# --- trend ------------------------------------------------------------------------------------------------


def test_trend_shows_means_and_the_mean_of_the_model(table, model):
    upper, lower = plot.stored_energy_trend_figure(table, model, "W").axes
    known = [s for s in model["W"].distribution_fit.summaries if s.mean_eV is not None]
    np.testing.assert_allclose(upper.containers[0][0].get_ydata(), [s.mean_eV for s in known])
    np.testing.assert_allclose(
        lower.containers[0][0].get_ydata(), [100 * s.mean_eV / s.recoil_energy_eV for s in known]
    )
    energy, mean = curve(upper).get_data()
    np.testing.assert_allclose(mean, model["W"].distribution.mean_eV(energy))
    assert energy[-1] == model["W"].maximum_recoil_energy_eV  # never beyond what was simulated
    everything = next(line for line in lower.lines if str(line.get_label()).startswith("all recoils"))
    energy, share = everything.get_data()
    np.testing.assert_allclose(
        share, 100 * model["W"].defect_probability(energy) * model["W"].distribution.mean_eV(energy) / energy
    )


def test_trend_of_a_model_alone_and_of_cascades_alone(table, by_hand):
    assert not plot.stored_energy_trend_figure(None, by_hand, "W").axes[0].containers
    assert len(plot.stored_energy_trend_figure(table, None, "W").axes[0].containers) == 1


# --- spectra ----------------------------------------------------------------------------------------------


def steps(axes, *, dashed=None):
    found = [patch for patch in axes.patches if isinstance(patch, StepPatch)]
    return [p for p in found if dashed is None or (p.get_linestyle() not in ("-", "solid")) == dashed]


def test_spectra_are_dashed_without_and_plain_with_the_loss_and_the_ratio_is_below():
    one = pair()
    upper, lower = plot.spectra_figure([one]).axes
    (expected,) = steps(upper, dashed=True)
    (observed,) = steps(upper, dashed=False)
    np.testing.assert_allclose(expected.get_data().values, one.expected.total_rate_per_kg_day_keV)
    np.testing.assert_allclose(observed.get_data().values, one.observed.total_rate_per_kg_day_keV[1:])
    (ratio,) = steps(lower)
    np.testing.assert_allclose(ratio.get_data().values, np.linspace(1.1, 0.8, 10))
    np.testing.assert_allclose(ratio.get_data().values, observed.get_data().values / expected.get_data().values)
    assert upper.get_yscale() == "log"
    band = next(patch for patch in lower.patches if not isinstance(patch, StepPatch))
    assert (band.get_y(), band.get_height()) == pytest.approx((0.9, 0.2))
    low, high = lower.get_ylim()
    assert low < 0.8
    assert high > 1.1


def test_each_pair_has_its_colour_and_title():
    other = pair(
        name="cevns", title="reactor", expected=spectrum(2e3 * np.exp(-np.arange(15.0, 110.0, 10.0) / 30))
    )
    figure = plot.spectra_figure([pair(), other])
    upper, *lower = figure.axes
    assert len({to_hex(patch.get_edgecolor()) for patch in steps(upper, dashed=False)}) == 2
    assert len(lower) == 2  # the bands of one ratio do not lie on those of another
    assert all(1.0 in np.round(axes.get_yticks(), 9) for axes in lower)
    # of one expected spectrum they are what is compared
    assert len(plot.spectra_figure([pair(), pair(name="other", title="other")]).axes) == 2
    (legend,) = figure.legends
    assert {"dark matter, 2 GeV", "reactor"} <= {text.get_text() for text in legend.get_texts()}


def test_incomplete_bins_are_pale():
    upper, lower = plot.spectra_figure([pair(complete_eV=(10.0, 90.0))]).axes
    strong, pale = steps(lower)
    assert pale.get_alpha() < 1
    assert np.isfinite(strong.get_data().values).tolist() == [True] * 8 + [False] * 2
    assert np.isfinite(pale.get_data().values).tolist() == [False] * 8 + [True] * 2
    assert len(steps(upper)) == 3


def test_extrapolated_bins_are_dotted_and_said():
    figure = plot.spectra_figure([pair(simulated_eV=(10.0, 60.0), complete_eV=(10.0, 90.0))])
    upper, lower = figure.axes
    strong, extrapolated, pale = steps(lower)
    assert strong.get_linestyle() in ("-", "solid")
    assert extrapolated.get_linestyle() not in ("-", "solid")
    seen = [np.isfinite(patch.get_data().values) for patch in (strong, extrapolated, pale)]
    assert [int(bins.sum()) for bins in seen] == [5, 3, 2]
    assert np.sum(seen, axis=0).tolist() == [1] * 10
    assert len(steps(upper)) == 4
    (legend,) = figure.legends
    said = " ".join(text.get_text() for text in legend.get_texts())
    assert "extrapolated" in said
    assert "recoils are missing" in said
    (plain,) = plot.spectra_figure([pair()]).legends
    assert "extrapolated" not in " ".join(text.get_text() for text in plain.get_texts())


def test_one_pair_needs_no_colour_to_be_told_and_the_marked_band_is_named():
    figure = plot.spectra_figure([pair()])
    (legend,) = figure.legends
    assert legend.get_title().get_text() == "dark matter, 2 GeV"
    assert [t.get_text() for t in legend.get_texts()] == [
        "expected, nothing stored",
        "observed, with stored energy",
    ]
    assert [t.get_text() for t in figure.axes[1].texts] == ["±10%"]
    assert 1.0 in np.round(figure.axes[1].get_yticks(), 9)


def test_ratio_is_nan_where_nothing_is_expected():
    one = pair(expected=spectrum([4.0, 2.0, 0.0]), observed=spectrum([3.0, 2.0, 1.0], kind="observed"))
    np.testing.assert_allclose(one.ratio, [0.75, 1.0, np.nan])
    plot.spectra_figure([one], logarithmic_energy=True)


def test_spectra_that_cannot_be_drawn_are_refused():
    with pytest.raises(InputError, match="at least one pair"):
        plot.spectra_figure([])
    with pytest.raises(InputError, match="every expected spectrum is zero"):
        plot.spectra_figure([pair(expected=spectrum(np.zeros(10)))])


# --- refusals ---------------------------------------------------------------------------------------------


def test_figures_of_nothing_are_refused(table, model):
    for draw in (plot.defect_probability_figure, plot.stored_energy_trend_figure):
        with pytest.raises(InputError, match="needs a table or a model"):
            draw(None, None, "W")
    with pytest.raises(InputError, match="knows nothing of 'O'"):
        plot.defect_probability_figure(table, model, "O")
    with pytest.raises(FitError, match="no cascade of O"):
        plot.stored_energy_figure(table, None, "O")


# --- files ------------------------------------------------------------------------------------------------


def test_save_gives_both_files_and_nothing_else(table, tmp_path):
    figure = plot.defect_probability_figure(table, None, "W")
    paths = plot.save_figure(figure, tmp_path / "figures" / "at-81.5eV")
    assert [path.name for path in paths] == ["at-81.5eV.png", "at-81.5eV.pdf"]
    assert sorted(paths) == sorted((tmp_path / "figures").iterdir())
    assert paths[0].read_bytes().startswith(b"\x89PNG")
    assert paths[1].read_bytes().startswith(b"%PDF")


def test_same_figure_gives_the_same_bytes(table, model, tmp_path):
    contents = []
    for name in ("one", "two"):
        figure = plot.defect_probability_figure(table, model, "W")
        contents.append([path.read_bytes() for path in plot.save_figure(figure, tmp_path / name)])
    assert contents[0] == contents[1]


def test_a_pdf_embeds_its_font_as_journals_ask_for(table, tmp_path, embedded_fonts, monkeypatch):
    fonts = {}
    for kind in (3, embedded_fonts):
        monkeypatch.setitem(style._STYLE, "pdf.fonttype", kind)
        figure = plot.defect_probability_figure(table, None, "W")
        _, pdf = plot.save_figure(figure, tmp_path / f"fonts-{kind}")
        fonts[kind] = b"/FontFile2" in pdf.read_bytes()
    assert fonts == {3: False, 42: True}


def test_a_failed_save_leaves_the_old_file_and_no_remains(table, tmp_path, monkeypatch):
    figure = plot.defect_probability_figure(table, None, "W")
    (tmp_path / "p.png").write_text("old")

    def full(self, content):
        with self.open("wb") as stream:
            stream.write(content[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(InputError, match=r"p\.png: cannot be written \(No space left"):
        plot.save_figure(figure, tmp_path / "p")
    assert [path.name for path in tmp_path.iterdir()] == ["p.png"]
    assert (tmp_path / "p.png").read_text() == "old"


def test_bins_are_round_and_cover_everything():
    for largest in (0.004, 0.9, 7.3, 31.9, 32.0, 250.0):
        edges = stored_energy._bins(largest)
        assert edges[0] == 0
        assert edges[-1] > largest
        assert len(edges) <= stored_energy.MOST_BINS + 2
        assert f"{edges[1]:.1e}"[0:3] in {"1.0", "2.0", "2.5", "5.0"}
