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


def test_what_an_estimate_rests_on_is_said(capsys):
    words = ["--target", "SiC", "--recoil", "Si", "--displacement-eV", "Si=35", "C=20"]
    assert main([*PAIRS[:2], *words, "--energies-eV", "100"]) == 0
    said = capsys.readouterr().out
    # 2 / (1/35 + 1/20)
    assert "E_d = 25.5 eV, the harmonic mean over its atoms" in said
    assert "no arc-dpa, whose constants are here for Fe, Cu" in said


def test_bad_input_is_one_line(capsys):
    for words, complaint in (
        (["--displacement-eV", "Fe=0"], "not above 0 eV"),
        (["--target", "Quux"], "'Quux' is not a chemical formula"),
        (["--target", "Fe3C", "--displacement-eV", "Fe=40", "C=20"], "recoils in Fe3C, e.g. `--recoil` Fe"),
        (["--recoil", "Xx"], "`--recoil` 'Xx' is no element"),
        (["--target", "Fe[Fe56=2]"], "enrichment 'Fe56=2'"),
        (["--pair-eV", "-1"], "--pair-eV"),
        (["--pair-eV", "41"], "cannot store 41 eV where 40 eV make one; correct `--pair-eV`"),
        (["--energies-eV", "0"], "above 0 eV"),
    ):
        assert main([*PAIRS, *words]) == 2
        said = capsys.readouterr().err
        assert complaint in said
        assert said.count("\n") == 1
        assert "None" not in said


def test_the_resolution_limit_is_told_with_its_terms(capsys):
    assert main(["estimate", "resolution", "--target", "Sn", "--displacement-eV", "22", "--pair-eV", "5"]) == 0
    assert "FWHM" in capsys.readouterr().out


def test_recoils_of_a_binary_collision_program_become_a_list_for_a_spectrum(tmp_path, capsys):
    given, out = tmp_path / "displacements.output", tmp_path / "recoils.csv"
    given.write_text("28.0855,14,61.5,3,0,0,8,1,0\n28.0855,14,15.5,3,0,0,8,1,0\n16,8,30,3,0,0,8,1,0\n")
    words = ["estimate", "recoils", str(given), "--program", "rustbca", "--out", str(out)]
    assert main([*words, "--species", "Si"]) == 0
    assert out.read_text() == "energy_eV\n61.5\n15.5\n"
    assert "2 Si, 1 O" in capsys.readouterr().out
    spectrum = ["spectrum", "recoils", str(out), "--counts-per-kg-day", "5", "--element", "Si", "--bins", "10"]
    assert main([*spectrum, "--energy-eV", "1", "100", "--out", str(tmp_path / "s.csv")]) == 0
    assert main([*words, "--species", "Ge"]) == 2
    assert "no recoil of Ge; it holds 2 Si, 1 O" in capsys.readouterr().err
