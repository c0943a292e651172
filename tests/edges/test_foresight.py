"""What is done with a campaign once it is over is checked before it begins."""

import pytest
from complaints import GOOD, SPECTRA, run_complaint

from cascade_driver.cli import main

WHOLE = GOOD + "\n[analysis]\n" + SPECTRA.replace("[1, 81]", "[10, 40]")

SOLAR = (
    '[[spectra]]\nkind = "cevns"\nsource = "solar"\nsolar_sources = ["B9"]\n'
    'target = "Si"\nenergy_eV = [1, 9]\nbins = 8\n'
)


def test_negative_control_the_whole_input_is_planned(tmp_path):
    (tmp_path / "input.toml").write_text(WHOLE)
    assert main(["run", str(tmp_path / "input.toml"), "--out", str(tmp_path / "RUN"), "--plan-only"]) == 0


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        pytest.param('target = "CaWO4"', 'target = "WCaO4"', "", id="control: the crystal written otherwise"),
        pytest.param('target = "CaWO4"', 'target = "CaWO"', "no known crystal: CaWO4 is", id="compound"),
        pytest.param('target = "CaWO4"', 'target = "Ge"', "target Ge: not of the crystal", id="other crystal"),
        pytest.param('target = "CaWO4"', 'target = "Uuo"', "`spectra[1]`: target 'Uuo'", id="no element"),
        pytest.param('target = "CaWO4"', 'target = "CaWO4[W999=1]"', "`spectra[1]`: ", id="no isotope"),
        pytest.param("[10, 40]", "[10, 81]", "wanted, and simulated up to 40 eV", id="beyond the simulated"),
        pytest.param("[analysis]", '[analysis]\nfallback_species = "O"', "only of W; name", id="fallback"),
        pytest.param("[analysis]", "[analysis]\ndirection = [0, 0, 0]", "of length zero", id="direction"),
        pytest.param("[analysis]", '[analysis]\npotential_runs = ["../no"]', "no run and no", id="other run"),
        pytest.param("[analysis]", '[analysis]\nprotocol_runs = ["../no"]', "protocol_runs", id="other protocol"),
        pytest.param("\n[[spectra]]", "\n" + SOLAR + "[[spectra]]", "`spectra[1]`: ", id="no source of the Sun"),
    ],
)
def test_what_could_not_be_concluded_is_refused_before_the_cascades(capsys, tmp_path, old, new, expected):
    assert old in WHOLE
    text = WHOLE.replace(old, new, 1)
    if not expected:
        (tmp_path / "input.toml").write_text(text)
        assert main(["run", str(tmp_path / "input.toml"), "--out", str(tmp_path / "RUN"), "--plan-only"]) == 0
        return
    assert expected in run_complaint(capsys, tmp_path, text)


@pytest.mark.parametrize("name", ["spectra", "figures", "report.html", "model.json"])
def test_a_place_that_the_conclusion_needs_is_looked_at_before(capsys, tmp_path, name):
    place = tmp_path / "RUN" / name
    place.parent.mkdir()
    place.write_text("") if "." not in name else place.mkdir()
    assert "the conclusion of a run is written there" in run_complaint(capsys, tmp_path, WHOLE)
