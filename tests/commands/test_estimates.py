"""The verb `estimate`."""

import csv

from cascade_driver.cli import main

PAIRS = ["estimate", "pairs", "--target", "Fe", "--displacement-eV", "Fe=40", "--energies-eV", "13700"]


def test_pairs_are_printed_and_written(tmp_path, capsys):
    out = tmp_path / "pairs.csv"
    assert main([*PAIRS, "--pair-eV", "5", "--out", str(out)]) == 0
    assert "Fe in Fe, E_d = 40 eV" in capsys.readouterr().out
    (row,) = csv.DictReader(out.read_text().splitlines())
    # Stoller 2000: 10 keV of damage energy, 100 pairs by NRT.
    assert abs(float(row["damage_energy_eV"]) - 1e4) < 50
    assert abs(float(row["nrt_pairs"]) - 100) < 0.5
    assert float(row["arc_dpa_pairs"]) < 40
    assert abs(float(row["stored_energy_eV"]) - 5 * float(row["arc_dpa_pairs"])) < 1e-3


def test_bad_input_is_one_line(capsys):
    for words, complaint in (
        (["--displacement-eV", "Fe=0"], "not above 0 eV"),
        (["--target", "Quux"], "no chemical formula"),
        (["--pair-eV", "-1"], "--pair-eV"),
        (["--energies-eV", "0"], "above 0 eV"),
    ):
        assert main([*PAIRS, *words]) == 2
        said = capsys.readouterr().err
        assert complaint in said
        assert said.count("\n") == 1


def test_the_resolution_limit_is_told_with_its_terms(capsys):
    assert main(["estimate", "resolution", "--target", "Sn", "--displacement-eV", "22", "--pair-eV", "5"]) == 0
    assert "FWHM" in capsys.readouterr().out
