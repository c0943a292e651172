"""Observed spectra from the sources themselves, the figures of the walk-through, and what they refuse."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cascade_driver.cli import main
from cascade_driver.errors import InputError
from cascade_driver.files import data_folder
from cascade_driver.plot import calibration_figure, spectra_figure
from cascade_driver.spectra.observe import observed_of_files
from cascade_driver.spectrum import read_bands, read_spectrum

DM = ["spectrum", "dm", "--mass-GeV", "2", "--cross-section-cm2", "1e-40", "--target", "CaWO4"]
BINS = ["--energy-eV", "2", "120", "--bins", "59"]
PUBLISHED = ["--model", "cawo4-published", "--extrapolate"]


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("draw")
    expected, observed = folder / "expected.csv", folder / "observed.csv"
    assert main([*DM, *BINS, "--out", str(expected)]) == 0
    assert main([*DM, *BINS, *PUBLISHED, "--out", str(observed)]) == 0
    return expected, observed


def test_a_source_is_observed_with_what_falls_in_from_above_and_its_bands(files):
    expected, observed = (read_spectrum(file) for file in files)
    assert np.array_equal(expected.energy_edges_eV, observed.energy_edges_eV)
    assert observed.energy_kind == "observed"
    assert observed.observation.status == "qualitative"
    # where every recoil loses some 9 eV of a rate that falls with about 35 eV, the last bin too
    ratio = observed.total_rate_per_kg_day_keV / expected.total_rate_per_kg_day_keV
    assert 0.75 < ratio[-1] < 0.95
    bands = read_bands(files[1])
    assert set(bands) == {"total", "assumptions"}
    low, high = bands["total"]
    assert np.all(low <= high)


def test_a_pair_on_disk_is_drawn_with_its_band(files, tmp_path, capsys):
    pair = observed_of_files(*files, title="dark matter")
    assert pair.bands is not None
    assert pair.bands.components.keys() == {"assumptions"}
    words = ["draw", *map(str, files), "--titles", "dark matter", "--range-eV", "5", "100"]
    assert main([*words, "--out", str(tmp_path / "figure")]) == 0
    assert capsys.readouterr().out.split() == [str(tmp_path / f"figure{s}") for s in (".png", ".pdf")]
    assert (tmp_path / "figure.png").stat().st_size > 10_000
    assert main(["draw", str(files[0]), str(files[0]), "--out", str(tmp_path / "same.png")]) == 0
    out, err = capsys.readouterr()
    assert out.split() == [str(tmp_path / f"same{s}") for s in (".png", ".pdf")]
    assert "is given twice: one of its curves hides the other" in err


def test_the_legend_says_what_is_pale_where_something_is(files):
    pair = observed_of_files(*files, title="dark matter")
    whole = replace(pair, complete_eV=(2, 120))
    part = replace(pair, complete_eV=(2, 80))
    for drawn, is_said in ((whole, False), (part, True)):
        (legend,) = spectra_figure([drawn]).legends
        assert any("recoils are missing" in text.get_text() for text in legend.get_texts()) == is_said


#: As in the guide.
MINE = "energy_low_eV,energy_high_eV,rate_W\n20,40,120\n40,60,80\n60,80,50\n80,100,30\n"


@pytest.fixture(scope="module")
def mine(tmp_path_factory) -> dict[str, Path]:
    """A spectrum of another program, corrected without and with a detector, and what that sees without loss."""
    folder = tmp_path_factory.mktemp("mine")
    found = {name: folder / f"{name}.csv" for name in ("mine", "seen", "detected", "expected")}
    found["mine"].write_text(MINE)
    seen = ["correct", "cawo4-published", str(found["mine"]), "--no-bands"]
    assert main([*seen, "--out", str(found["seen"])]) == 0
    words = ["--resolution-eV", "3", "--threshold-eV", "20", "--efficiency", "0.5"]
    assert main([*seen, *words, "--out", str(found["detected"]), "--expected", str(found["expected"])]) == 0
    return found


def test_a_pair_of_two_detectors_is_refused(mine, files, tmp_path, capsys):
    words = ["--out", str(tmp_path / "x")]
    assert main(["draw", str(mine["mine"]), str(mine["detected"]), *words]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "mine.csv is of no detector" in said
    assert "of a detector (resolution_eV 3, threshold_eV 20, efficiency 0.5)" in said
    assert "by `cascade spectrum`, or, of a spectrum of yours, by `cascade correct ... --expected" in said
    with pytest.raises(InputError, match=r"expected.csv is of a detector \(.*\), .*seen.csv of no detector"):
        observed_of_files(mine["expected"], mine["seen"])
    # what is told to be done
    pair = observed_of_files(mine["expected"], mine["detected"])
    assert pair.ratio[1] == pytest.approx(observed_of_files(mine["mine"], mine["seen"]).ratio[1], rel=0.1)
    # measured counts of others tell no detector
    assert observed_of_files(mine["expected"], mine["mine"]).complete_eV == (20.0, 100.0)


def test_a_spectrum_of_a_source_and_its_correction_are_of_one_detector(files, tmp_path):
    words = [*DM, *BINS, "--resolution-eV", "3"]
    plain, seen = tmp_path / "plain.csv", tmp_path / "seen.csv"
    assert main([*words, "--out", str(plain)]) == 0
    assert main([*words, *PUBLISHED, "--no-bands", "--out", str(seen)]) == 0
    assert 0.5 < np.nanmax(observed_of_files(plain, seen).ratio) < 2
    with pytest.raises(InputError, match="is of no detector"):
        observed_of_files(files[0], seen)


def test_the_axis_of_rates_holds_all_bins(mine):
    pair = observed_of_files(mine["mine"], mine["seen"])
    assert not pair.is_complete.all()
    figure = spectra_figure([pair])
    upper, ratio = figure.axes
    for axes, values in (
        (upper, [pair.expected.total_rate_per_kg_day_keV, pair.observed_in_same_bins.total_rate_per_kg_day_keV]),
        (ratio, [pair.ratio]),
    ):
        low, high = axes.get_ylim()
        assert all(low < value.min() and value.max() < high for value in values)


def test_where_no_recoils_are_missing_in_the_range_the_legend_does_not_say_so(mine):
    pair = observed_of_files(mine["mine"], mine["seen"])
    for range_eV, is_said in (((20.0, 60.0), False), (None, True)):
        (legend,) = spectra_figure([pair], range_eV=range_eV).legends
        assert any("recoils are missing" in text.get_text() for text in legend.get_texts()) == is_said


def test_two_spectra_of_different_sources_are_no_pair(files, tmp_path, capsys):
    words, out = [*DM, "--energy-eV", "2", "90", "--bins", "44"], str(tmp_path / "figure")
    names = ("other", "same", "silicon")
    other, same, silicon = (tmp_path / f"{name}.csv" for name in names)
    assert main([*words, "--mass-GeV", "3", "--out", str(other)]) == 0
    assert main([*words, "--out", str(same)]) == 0
    assert main([*words, "--target", "Si", "--out", str(silicon)]) == 0
    with pytest.raises(InputError, match=r"differ in target: they are not of one source"):
        observed_of_files(silicon, files[1], title="")
    capsys.readouterr()
    # to show what another parameter does is a use of the figure, but it is not the loss
    assert main(["draw", str(other), str(files[1]), "--out", out]) == 0
    assert "differ in mass_GeV: their ratio is not the loss alone" in capsys.readouterr().err
    assert main(["draw", str(same), str(files[1]), "--out", out]) == 0  # other bins are no matter
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("logarithmic", [False, True])
def test_a_calibration_says_how_far_its_peaks_moved(tmp_path, logarithmic):
    centre = np.arange(0.5, 180.0)
    columns = {}
    for name, shift in (("expected", 0.0), ("observed", 9.0)):
        peak = np.exp(-0.5 * ((centre - 112.0 + shift) / 5.0) ** 2)
        columns[name] = peak + 0.01
        rows = "\n".join(f"{c - 0.5},{c + 0.5},{y * 1e6}" for c, y in zip(centre, columns[name], strict=True))
        (tmp_path / f"{name}.csv").write_text(f"energy_low_eV,energy_high_eV,rate\n{rows}\n")
    pair = observed_of_files(tmp_path / "expected.csv", tmp_path / "observed.csv", title="a line")
    figure = calibration_figure(pair, mass_g=1.0, lines_eV=[112.0], logarithmic_counts=logarithmic)
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.texts if text.get_text()] == ["\u22129.0 eV"]
    # 1e6 per kg, day and keV are one count per g, day and eV
    assert axes.get_ylim()[1] > 1.0


def test_captures_are_drawn_as_counts(files, tmp_path, capsys):
    words = ["draw", *map(str, files), "--mass-g", "0.75", "--lines-eV", "80", "--out", str(tmp_path / "c.png")]
    assert main(words) == 0
    assert (tmp_path / "c.png").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["E"], "1 files given, expected pairs"),
        (["E", "O", "--titles", "a", "b"], "2 titles for 1 pairs"),
        (["O", "E"], "corrected for stored energy already"),
        (["E", "O", "E", "O", "--mass-g", "1"], "--mass-g draws one pair, found 2"),
        (["E", "O", "--mass-g", "-1"], "mass of the crystal is -1 g"),
        (["E", "none.csv"], "none.csv: no such file"),
        (["E", "O", "--mass-g", "1", "--range-eV", "500", "600"], "has bins from 2 to 120 eV alone"),
        (["E", "high.csv"], "have no energy in common"),
    ],
)
def test_what_cannot_be_drawn_is_one_line(files, tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    Path("high.csv").write_text("energy_low_eV,energy_high_eV,rate\n1000,1001,2\n")
    given = [{"E": str(files[0]), "O": str(files[1])}.get(word, word) for word in words]
    assert main(["draw", *given, "--out", "x"]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not Path("x.png").exists()


@pytest.mark.physics
def test_the_walk_through_ends_in_three_figures(tmp_path):
    script = data_folder("inputs") / "walk-through.sh"
    # The command stands beside the interpreter, whether or not its environment is active.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", str(script)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PATH": path},
    )
    found = sorted(p.stem for p in (tmp_path / "walk-through").glob("*.png"))
    assert found == ["1-crab", "2-dark-matter-and-cevns", "3-cevns-new-physics"]
    shifts = [float(line.split()[4]) for line in done.stdout.splitlines() if line.count("+-") == 4]
    # printed mean losses; the fit of the same spectrum without loss is off by up to 0.4 eV
    assert shifts == pytest.approx([-7.5, -8.9, -11.0], abs=0.5)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["100", "1"], "expected the lower energy first; exchange them"),
        (["5", "5"], "expected the lower energy first"),
        (["500", "600"], "has bins from 2 to 120 eV alone; give a range among them"),
        (["500", "600", "--mass-g", "10"], "give a range among them"),
    ],
)
def test_a_range_that_mirrors_or_empties_the_figure_is_refused(files, words, message, tmp_path, capsys):
    drawn = ["draw", *map(str, files), "--out", str(tmp_path / "f"), "--range-eV", *words]
    assert main(drawn) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert message in said
    assert "--range-eV" in said
    assert not list(tmp_path.iterdir())


def test_both_figures_refuse_a_range_in_which_nothing_is_with_the_same_words(files):
    pair = observed_of_files(*files)
    edges = pair.expected.energy_edges_eV
    upper = edges[:-1] >= 60.0
    rates = {name: np.where(upper, 0.0, rate) for name, rate in pair.expected.rate_per_kg_day_keV.items()}
    ended = replace(pair, expected=replace(pair.expected, rate_per_kg_day_keV=rates))
    for drawn, range_eV in ((pair, (100.0, 1.0)), (pair, (500.0, 600.0)), (ended, (70.0, 100.0))):
        with pytest.raises(InputError) as of_spectra:
            spectra_figure([drawn], range_eV=range_eV)
        with pytest.raises(InputError) as of_counts:
            calibration_figure(drawn, mass_g=1.0, range_eV=range_eV)
        assert str(of_spectra.value) == str(of_counts.value)
    assert "70 100 (range_eV): every expected spectrum is zero there" in str(of_spectra.value)
    # one that cuts a bin is within it
    low = float(edges[10])
    figure = calibration_figure(pair, mass_g=1.0, range_eV=(low + 0.1, low + 0.3))
    assert figure.axes[0].get_xlim() == (low + 0.1, low + 0.3)


def test_bins_below_0_eV_are_named_with_their_file_and_rates_below_zero_are_taken(tmp_path, capsys):
    file, out = tmp_path / "mine.csv", tmp_path / "seen.csv"
    file.write_text("energy_low_eV,energy_high_eV,rate_W\n-20,20,5\n20,40,120\n")
    assert main(["correct", "cawo4-published", str(file), "--out", str(out)]) == 2
    said = capsys.readouterr().err
    assert f"{file}: its bins (energy_low_eV) begin at -20 eV" in said
    assert "leave the bins below 0 eV out" in said
    file.write_text("energy_low_eV,energy_high_eV,rate_W\n20,40,120\n40,60,80\n60,80,-5\n")
    assert main(["correct", "cawo4-published", str(file), "--out", str(out)]) == 0
