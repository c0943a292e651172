"""The model `cawo4` that comes with the package: its table of cascades gives it again, byte for byte."""

import pytest

import cascade_driver as cd
from cascade_driver.analysis.imported import load_import
from cascade_driver.analysis.published import CAWO4, shipped_model_folder
from cascade_driver.cli import main
from cascade_driver.config import AnalysisSpec
from cascade_driver.errors import InputError
from cascade_driver.models import MODEL_FILE, fitted_import

FOLDER = shipped_model_folder(CAWO4)


def test_its_cascades_refit_to_the_model_byte_for_byte(tmp_path):
    _, model = fitted_import(FOLDER, analysis=AnalysisSpec(shape="auto", fallback_species="W"))
    assert model.save(tmp_path / MODEL_FILE).read_bytes() == (FOLDER / MODEL_FILE).read_bytes()


def test_negative_control_a_cascade_less_is_another_model(tmp_path):
    made, table = load_import(FOLDER)
    fewer = tmp_path / "W.csv"
    fewer.write_text("".join((FOLDER / made.tables[0].file).read_text().splitlines(keepends=True)[:-1]))
    words = ["import", "--crystal", "CaWO4", f"W={fewer}", "--out", str(tmp_path / "fewer")]
    assert main(words) == 0
    assert len(load_import(tmp_path / "fewer")[1]) == len(table) - 1
    _, model = fitted_import(tmp_path / "fewer", analysis=AnalysisSpec(shape="auto", fallback_species="W"))
    assert model.save(tmp_path / MODEL_FILE).read_bytes() != (FOLDER / MODEL_FILE).read_bytes()


def test_command_and_library_take_it_by_name(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / CAWO4).mkdir()  # the name comes before what lies about
    words = "spectrum cevns --target CaWO4 --power-GW 4.25 --distance-m 72 --energy-eV 1 80 --bins 79 --out nu.csv"
    assert main(words.split()) == 0
    assert main(["correct", CAWO4, "nu.csv", "--out", "seen.csv"]) == 0
    assert "more is stored than printed" in capsys.readouterr().err
    pair = cd.observe(cd.read_spectrum("nu.csv"), CAWO4)
    total = cd.read_spectrum("seen.csv").total_counts_per_kg_day
    assert pair.observed_in_same_bins.total_counts_per_kg_day == pytest.approx(total, rel=1e-9)
    assert pair.bands is not None
    assert main(["cite", CAWO4]) == 0
    assert "cawo4-pbe-spline" in capsys.readouterr().out


def test_it_ends_where_its_cascades_end():
    reach_eV = float(load_import(FOLDER)[1].recoil_energy_eV.max())
    beyond = cd.dark_matter("CaWO4", mass_GeV=5, cross_section_cm2=1e-40, energy_eV=(1, reach_eV + 50), bins=50)
    with pytest.raises(InputError, match=f"simulated up to {reach_eV:g} eV"):
        cd.observe(beyond, CAWO4)
