"""Neutron capture on the command line and in an input: what is written, said and refused."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

from cascade_driver import sources
from cascade_driver.analysis.published import cawo4_published
from cascade_driver.cli import main
from cascade_driver.config import find_input, read_input
from cascade_driver.plot import calibration_figure, spectra_figure
from cascade_driver.request import CaptureRequest, request_title
from cascade_driver.spectra.observe import observe
from cascade_driver.spectrum import read_spectrum
from cascade_driver.text import value_with_error

CAPTURE = ["spectrum", "capture", "--target", "CaWO4", "--neutron-flux-cm2-s", "100", "--energy-eV", "0", "180"]
ONE_BIN = ["--bins", "1", "--out", "x.csv"]


@pytest.fixture(scope="module")
def capture(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("capture") / "capture.csv"
    assert main([*CAPTURE, "--bins", "180", "--out", str(path)]) == 0
    return path


def test_lines_are_not_listed_between_reversed_energies_and_come_with_notes(capsys):
    assert main(["capture", "lines", "CaWO4", "--between-eV", "120", "80"]) == 2
    assert "recoils between 120 and 80 eV, expected the lower energy first" in capsys.readouterr().err
    assert main(["capture", "lines", "LiF", "--first", "1"]) == 0
    assert "Li6: 940 b of neutron absorption give charged particles" in capsys.readouterr().err
    assert main(["capture", "lines", "CaWO4", "--first", "1"]) == 0
    assert "of the captures in W have no tabulated primary gamma" in capsys.readouterr().err


def test_capture_is_written_with_its_sources(capture: Path) -> None:
    spectrum = read_spectrum(capture)
    assert spectrum.elements == ("Ca", "W", "O")
    assert "EGAF" in spectrum.metadata["data"]
    assert "65.8% of the captures in W have no tabulated primary gamma" in capture.read_text()


def test_a_crystal_has_its_counts_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*CAPTURE, "--bins", "10", "--mass-g", "0.75", "--out", str(tmp_path / "x.csv")]) == 0
    said = capsys.readouterr().out
    total = read_spectrum(tmp_path / "x.csv").total_counts_per_kg_day
    assert f"0.75 g: {total * 0.75e-3:.5g} counts per day" in said


@pytest.mark.parametrize("order", [["cawo4-published", "{}"], ["--model", "cawo4-published", "{}"]])
def test_the_published_model_corrects_by_name(
    capture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], order: list[str]
) -> None:
    out = tmp_path / "observed.csv"
    given = [word.format(capture) for word in order]
    assert (
        main(["correct", *given, "--no-bands", "--extrapolate", "--half-energy-eV", "40", "--out", str(out)]) == 0
    )
    observed, recoil = read_spectrum(out), read_spectrum(capture)
    # nothing is lost, and a little comes in from above
    assert 1.0 < observed.total_counts_per_kg_day / recoil.total_counts_per_kg_day < 1.001
    assert any("half at 40 eV" in note for note in observed.notes)
    said = capsys.readouterr().err
    assert "ASSUMED, not from the paper" in said
    assert "the model is qualitative" in said
    assert "note: 65.8% of the captures in W have no tabulated primary gamma: they are cascades" in said


def test_lines_are_found_where_the_loss_puts_them(
    capture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    observed = tmp_path / "observed.csv"
    words = ["correct", "cawo4-published", str(capture), "--extrapolate", "--no-bands", "--resolution-eV", "5"]
    assert main([*words, "--out", str(observed)]) == 0
    capsys.readouterr()
    words = ["lines", str(observed), "--at-eV", "112.447", "--between-eV", "90", "125", "--resolution-eV", "5"]
    assert main([*words, "--background-order", "3", "--exposure-kg-day", "1e-3"]) == 0
    printed = capsys.readouterr()
    assert "note: expected counts, no measured ones" in printed.err
    assert ", p = " not in printed.out
    said = printed.out.splitlines()
    (row,) = (line.split("│") for line in said if "112.45" in line)
    # the peak holds 110.8 eV, too: 0.5 eV below the single line
    assert float(row[3].split()[0]) == pytest.approx(-8.9 - 0.5, abs=0.4)
    assert said[-1].startswith("absolute")
    kept = ["--out", str(tmp_path / "fit.json"), "--figure", str(tmp_path / "fit")]
    assert main([*words, "--background-order", "3", "--exposure-kg-day", "1e-3", *kept]) == 0
    content = json.loads((tmp_path / "fit.json").read_text())
    (line,) = content["lines"]
    assert value_with_error(line["shift_eV"], line["shift_error_eV"]) == row[3].strip()
    assert content["is_measured"] is False
    assert content["scale_tests"][0]["name"] == "absolute"
    # what is expected beside the background is the normal law of the line, as far as the range goes
    peak = np.array(content["expected_counts"]) - np.array(content["background_counts"])
    position = line["reference_energy_eV"] + line["shift_eV"]
    law = np.diff(norm.cdf(content["energy_edges_eV"], position, line["width_eV"]))
    np.testing.assert_allclose(peak, line["counts"] * law, rtol=1e-6)
    assert len(content["energy_edges_eV"]) == len(content["counts"]) + 1
    assert (tmp_path / "fit.pdf").is_file()


def test_lists_and_level_files_become_spectra(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("energy_eV\n10\n20\n")
    (tmp_path / "levels.txt").write_text("0.07 29Si 29 [1273.37 0] [291 1e14]\n")
    bins = ["--energy-eV", "0", "2000", "--bins", "20", "--out"]
    words = ["spectrum", "recoils", str(tmp_path / "list.csv"), "--counts-per-kg-day", "5", "--element", "W"]
    assert main([*words, *bins, str(tmp_path / "a.csv")]) == 0
    assert read_spectrum(tmp_path / "a.csv").counts_per_kg_day["W"][0] == pytest.approx(5)
    words = ["spectrum", "levels", str(tmp_path / "levels.txt"), "--captures-per-kg-day", "100", "--target", "Si"]
    assert main([*words, *bins, str(tmp_path / "b.csv")]) == 0
    assert read_spectrum(tmp_path / "b.csv").total_counts_per_kg_day == pytest.approx(7)


def test_the_lines_of_a_target_are_listed_with_their_recoils(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "lines.csv"
    assert (
        main(["capture", "lines", "CaWO4", "--between-eV", "105", "115", "--first", "1", "--out", str(out)]) == 0
    )
    said, err = capsys.readouterr()
    assert "W182, line at 112.45 eV: its 8.2 per 100 captures are those of EGAF 2003" in err
    with out.open() as stream:
        rows = list(csv.DictReader(stream))
    # the strongest: to the ground state of 183W, 112.45 eV = 6190.78^2 / 2 M c^2
    assert (rows[0]["isotope"], float(rows[0]["gamma_keV"])) == ("W182", 6190.78)
    assert float(rows[0]["recoil_eV"]) == pytest.approx(6190.78e-3**2 / (2 * 182.95 * 931.494) * 1e6, rel=1e-4)
    # 0.082 of the captures in 182W: 20.7 b x 26.5 % of 18.26 b of tungsten, which makes 97.7 % of all
    assert float(rows[0]["per_million_captures"]) == pytest.approx(
        0.082 * 20.7 * 0.265 / 18.26 * 0.977e6, rel=0.01
    )
    assert "Firestone" in rows[0]["source"]
    assert all(105 <= float(row["recoil_eV"]) <= 115 for row in rows)
    assert "W182" in said
    assert "6144.28" not in said  # the second strongest: one was asked for
    assert "[1] Evaluated Gamma-ray Activation File" in said


def test_nothing_is_said_against_lines_that_are_not_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["capture", "lines", "CaWO4", "--between-eV", "20", "90", "--first", "1"]) == 0
    assert "EGAF 2003" not in capsys.readouterr().err


def test_what_a_fit_of_lines_needs_is_in_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["lines", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "cascade lines SPECTRUM.csv --at-eV X [X ...] --resolution-eV X --exposure-kg-day X" in said
    assert "--table [FOLDER] --target FORMULA" in said
    assert said.count("(needed for a fit)") == 3


def test_the_lines_of_a_target_are_a_table_of_two_commands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flux = ["--neutron-flux-cm2-s", "100"]
    assert main(["lines", "--table", "--target", "Si", *flux, "--out", str(tmp_path / "a.csv")]) == 0
    said = capsys.readouterr().out
    assert main(["capture", "lines", "Si", *flux, "--out", str(tmp_path / "b.csv")]) == 0
    assert capsys.readouterr().out.replace("b.csv", "a.csv") == said
    assert (tmp_path / "a.csv").read_text() == (tmp_path / "b.csv").read_text()
    for heading in ("isotope", "gamma / keV", "recoil / eV", "per kg and day", "merit", "source"):
        assert heading in said
    with (tmp_path / "a.csv").open() as stream:
        first = next(csv.DictReader(stream))
    # 1e6 captures in Si, at 100 n/(cm2 s): 2.1442e25 atoms/kg x 0.1719 b (natural)
    captures = 2.1442e25 * 0.172e-24 * 100 * 86400
    share = float(first["per_million_captures"]) / 1e6
    assert float(first["rate_per_kg_day"]) == pytest.approx(captures * share, rel=0.03)
    assert float(first["rate_error_per_kg_day"]) < 0.05 * float(first["rate_per_kg_day"])


def test_a_tag_on_the_command_line_is_that_of_the_request(tmp_path: Path) -> None:
    out = tmp_path / "x.csv"
    words = [*CAPTURE, "--bins", "9", "--unresolved", "left_out", "--tag-keV", "5470", "--tag-width-keV", "200"]
    words += ["--tag-efficiency", "0.5"]
    assert main([*words, "--out", str(out)]) == 0
    made = read_spectrum(out)
    assert isinstance(made.source, CaptureRequest)
    assert (made.source.tag_keV, made.source.tag_width_keV, made.source.tag_efficiency) == (5470, 200, 0.5)
    assert made.metadata["gamma_tag"] == "a gamma of 5470 +- 200 keV is seen, with efficiency 0.5"


def test_gammas_that_stay_in_the_crystal_take_their_captures_with_them(tmp_path: Path) -> None:
    def counts(*more: str) -> np.ndarray:
        assert main([*CAPTURE, "--bins", "1", *more, "--out", str(tmp_path / "x.csv")]) == 0
        return read_spectrum(tmp_path / "x.csv").counts_per_kg_day["W"]

    escape = ["--escape-keV", "100", "6000", "--escape-probability"]
    every, none = counts(), counts(*escape, "0", "0")
    half = counts("--unresolved", "left_out", *escape, "0.5", "0.5") / counts("--unresolved", "left_out")
    assert none.sum() == 0
    assert 0 < half.item() < 0.5  # of some captures two gammas have to leave
    assert counts(*escape, "1", "1") == pytest.approx(every, rel=1e-12)


@pytest.mark.parametrize("target", ["TeO2", "LiF", "GaAs", "C", "Ge", "Al2O3", "CsI", "ZnMoO4", "PbWO4"])
def test_crystals_of_detectors_have_lines(target: str) -> None:
    assert main(["capture", "lines", target]) == 0


def test_another_table_is_made_and_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = tmp_path / "own"
    shutil.copytree(Path(sources.__file__).parent, own, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    lines = (own / "capture_lines.csv").read_text()
    (own / "capture_lines.csv").write_text(
        lines.replace("W182,6190.78,0.03,0,0.08204", "W182,6190.78,0.03,0,0.1641")
    )
    words = ["spectrum", "capture", "--target", "W", "--neutron-flux-cm2-s", "100", "--energy-eV", "112", "113"]
    total = []
    for more in ([], ["--table", str(own)]):
        assert (
            main([*words, *more, "--bins", "1", "--unresolved", "left_out", "--out", str(tmp_path / "x.csv")]) == 0
        )
        total.append(read_spectrum(tmp_path / "x.csv").total_counts_per_kg_day)
    assert total[1] / total[0] == pytest.approx(2, rel=0.03)
    assert "they are left out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([*CAPTURE, *ONE_BIN, "--tag-keV", "5470"], "a tag has --tag-keV and --tag-width-keV"),
        ([*CAPTURE, *ONE_BIN, "--tag-efficiency", "0.5"], "give the energy of the gamma, too"),
        ([*CAPTURE, *ONE_BIN, "--escape-keV", "5", "9"], "--escape-keV and --escape-probability; give as many of"),
        (
            [*CAPTURE, *ONE_BIN, "--escape-keV", "9", "5", "--escape-probability", "0", "1"],
            "--escape-keV is [9.0, 5.0], expected rising energies",
        ),
        (
            [*CAPTURE, *ONE_BIN, "--escape-keV", "9", "--escape-probability", "2"],
            "--escape-probability is [2.0], expected 0 to 1",
        ),
        (["lines", "--table", "--target", "Si", "--at-eV", "5"], "--at-eV fits lines: give one of both"),
        (["lines", "--target", "Si"], "by both of --table and --target"),
        (["lines"], "are required: SPECTRUM.csv, --at-eV"),
        (
            ["lines", "--table", "--target", "Si", "--density-g-cm3", "0"],
            "`--density-g-cm3`: input should be greater than 0",
        ),
        (["capture", "lines", "NaX"], "'X' is not a chemical element"),
        (["capture", "lines", "W", "--table", "nowhere"], "capture_isotopes.toml: no such file"),
        (["capture", "table", "nowhere", "--out", "made"], "nowhere: no JSON file in it"),
        (["capture", "lines", "W", "--first", "0"], "'0' is not a whole number of at least 1"),
        (
            [*CAPTURE, *ONE_BIN, "--unresolved", "left_out", "--continuum-temperature-MeV", "0.5"],
            "are left out, and have a --continuum-temperature-MeV; remove one",
        ),
        ([*CAPTURE, "--bins", "2", "--out", "x.csv", "--mass-g", "-1"], "--mass-g is -1"),
        ([*CAPTURE, "--bins", "2", "--out", "x.csv", "--model", "nothing.json"], "nothing.json: no such model"),
        ([*CAPTURE[:5], "-5", *CAPTURE[6:], "--bins", "2", "--out", "x.csv"], "greater than 0; found -5"),
        (["correct", "one.csv", "--out", "x.csv"], "1 files or names given (one.csv), expected"),
        (["correct", "cawo4-publised", "s.csv", "--out", "x.csv"], "did you mean cawo4-published?"),
        (["correct", "m.json", "s.csv", "--sigma-81-eV", "2", "--out", "x.csv"], "assumptions are for cawo4"),
        (["correct", "cawo4-published", "s.csv", "--width-eV", "0", "--out", "x.csv"], "--width-eV of cawo4"),
        (
            ["spectrum", "recoils", "none.csv", "--counts-per-kg-day", "1", *CAPTURE[6:], *ONE_BIN],
            "none.csv: no such file",
        ),
    ],
)
def test_bad_commands_end_with_one_line(
    words: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("s.csv").write_text("energy_low_eV,energy_high_eV,rate_W\n1,2,3\n")
    assert main(words) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not (tmp_path / "x.csv").exists()


def test_the_walk_through_gives_the_figure_of_the_paper() -> None:
    """What `cascade run crab.toml` does once it has a model, here with the printed one."""
    wanted = read_input(find_input(Path("crab.toml")))
    (request,) = wanted.spectra
    assert isinstance(request, CaptureRequest)
    assert request_title(request) == "neutron capture, 100 n/(cm² s), on CaWO4"
    assert wanted.analysis is not None
    pair = observe(request, cawo4_published(), detector=wanted.detector, extrapolate=wanted.analysis.extrapolate)
    for figure in (spectra_figure([pair]), calibration_figure(pair, mass_g=0.75)):
        legend = (figure.legends or [figure.axes[0].get_legend()])[0]
        assert "66% of captures in W by a model" in [text.get_text() for text in legend.get_texts()]
    for low, high, loss in ((72, 90, 7.5), (104, 120, 8.9), (152, 170, 11.0)):

        def peak(spectrum, low: float, high: float) -> float:
            centre = spectrum.energy_centers_eV
            rate = np.where((centre > low) & (centre < high), spectrum.total_rate_per_kg_day_keV, 0)
            return float(centre[np.argmax(rate)])

        moved = peak(pair.expected, low, high) - peak(pair.observed, low - loss, high - loss)
        # bins of 1 eV, and the slope of the continuum under the first peak
        assert moved == pytest.approx(loss, abs=2.01)
