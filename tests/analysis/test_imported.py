"""Tables of stored energies of others: read as they are, refused where they are not what they say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cascade_driver.analysis.imported import load_import, read_stored_energies, write_import
from cascade_driver.cli import main
from cascade_driver.errors import InputError
from cascade_driver.models import load_model
from cascade_driver.plot import spectra_figure
from cascade_driver.sources.requested import dark_matter
from cascade_driver.spectra.observe import observe
from cascade_driver.spectrum import read_spectrum

#: As the header of a file of github.com/sebsassi/elosssim, here of three directions at four energies.
MATRIX = """# [3.567, 3.567, 3.567]
nan nan 10 20 30 40
0.5 1.0 0.0 0.0 3.0 4.0
1.5 2.0 0.0 0.0 0.0 5.0
2.5 -3.0 0.0 1.0 nan 6.0
"""


def written(folder: Path, text: str, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_a_matrix_is_read_direction_by_direction(tmp_path: Path) -> None:
    records = read_stored_energies(written(tmp_path, MATRIX, "m.dat"))
    assert records.recoil_energy_eV.tolist() == [10, 20, 30, 40, 10, 20, 30, 40, 10, 20, 40]  # nan: not simulated
    assert records.stored_energy_eV.tolist() == [0, 0, 3, 4, 0, 0, 0, 5, 0, 1, 6]
    assert records.notes == ("1 of 12 records were not simulated",)
    x, y, z = records.direction[0]
    assert (x, y, z) == pytest.approx((np.sin(0.5) * np.cos(1), np.sin(0.5) * np.sin(1), np.cos(0.5)))


@pytest.mark.parametrize(
    ("header", "factor", "angles"),
    [
        ("recoil_energy_eV,polar_rad,azimuth_rad,stored_energy_eV", 1.0, 1.0),
        ("recoil_energy_keV,polar_rad,azimuth_rad,stored_energy_keV", 1e-3, 1.0),
        ("recoil_energy_eV;polar_deg;azimuth_deg;stored_energy_eV", 1.0, 180 / np.pi),
    ],
)
def test_columns_name_their_units(tmp_path: Path, header: str, factor: float, angles: float) -> None:
    matrix = read_stored_energies(written(tmp_path, MATRIX, "m.dat"))
    polar = np.repeat([0.5, 1.5, 2.5], [4, 4, 3]) * angles
    azimuth = np.repeat([1.0, 2.0, -3.0], [4, 4, 3]) * angles
    rows = zip(matrix.recoil_energy_eV * factor, polar, azimuth, matrix.stored_energy_eV * factor, strict=True)
    separator = ";" if ";" in header else ","
    text = "\n".join([header, *(separator.join(f"{float(cell)!r}" for cell in row) for row in rows)])
    read = read_stored_energies(written(tmp_path, text + "\n"))
    np.testing.assert_allclose(read.recoil_energy_eV, matrix.recoil_energy_eV)
    np.testing.assert_allclose(read.stored_energy_eV, matrix.stored_energy_eV, atol=1e-12)
    np.testing.assert_allclose(read.direction, matrix.direction, atol=1e-12)


def sparse_matrix(empty: int, *, storing: bool) -> str:
    """Twenty directions at 40 energies, all but some store 2 eV from 10 eV on; those hold 0 from 21 eV on."""
    energies = np.arange(1, 41)
    rows = []
    for direction in range(20):
        stored = np.where(energies >= 10, 2.0, 0.001) * (1.0 if storing else 0.0)
        if direction < empty:
            stored = np.where(energies > 20, 0.0, stored)
        rows.append(" ".join(map(str, [0.1 + direction / 10, 0.0, *stored])))
    return "\n".join(["nan nan " + " ".join(map(str, energies)), *rows]) + "\n"


def test_zeros_in_place_of_results_are_asked_about(tmp_path: Path) -> None:
    path = written(tmp_path, sparse_matrix(6, storing=True), "m.dat")
    with pytest.raises(InputError, match=r"6 of 20 directions hold exactly 0 from 21 eV on .* where 100%"):
        read_stored_energies(path)
    missing = read_stored_energies(path, zeros="missing")
    assert len(missing.weight) == 20 * 40 - 6 * 20
    assert np.all(missing.stored_energy_eV[missing.recoil_energy_eV > 20] == 2.0)
    stored = read_stored_energies(path, zeros="stored")
    assert stored.stored_energy_eV[stored.recoil_energy_eV > 20].mean() == pytest.approx(2.0 * 14 / 20)
    assert "taken as they stand" in stored.notes[0]
    # where nobody stores anything they are results
    assert read_stored_energies(written(tmp_path, sparse_matrix(6, storing=False), "n.dat")).notes == ()


HEADER = "recoil_energy_eV,direction_x,direction_y,direction_z,stored_energy_eV"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("recoil_energy,direction_x\n1,2\n", "column 'recoil_energy' is unknown; did you mean recoil_energy_eV?"),
        ("recoil_energy_eV,stored_energy_eV\n1,2\n", "expected both energies and one direction"),
        (f"{HEADER},recoil_energy_keV\n1,0,0,1,0,1\n", "recoil_energy is given twice"),
        (f"{HEADER},polar_rad,azimuth_rad\n1,0,0,1,0,0,0\n", "expected both energies and one direction"),
        (f"{HEADER}\n-1,0,0,1,0\n", "line 2: recoil energy in eV is -1, expected a positive one"),
        (f"{HEADER}\n1,0,0,2,0\n", "line 2: length of the direction is 2, expected a unit vector"),
        (f"{HEADER},weight\n1,0,0,1,0,-1\n", "weight is -1, expected a finite one, none below 0"),
        (f"{HEADER}\n1,0,0,1,nan\n", "expected a finite number"),
        ("nan nan 2 1\n0 0 0 0\n", "rising recoil energies"),
        ("nan nan 1 2\n0 0 0\n", "line 2: found 3 numbers, expected 4"),
        ("nan nan 1 2\n0 0 0 x\n", "expected numbers between blanks"),
        ("nan nan 1 2\nnan 0 0 0\n", "expected two angles in rad"),
        ("", "the file is empty"),
    ],
)
def test_tables_that_are_none_are_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(InputError) as complaint:
        read_stored_energies(written(tmp_path, text))
    assert words in str(complaint.value)


def threshold_matrix() -> str:
    """Diamond as a toy: from 35 eV on every direction stores 15 eV, at 40 energies between 5 and 200 eV."""
    energies = np.arange(5.0, 205.0, 5.0)
    rows = [
        " ".join(map(str, [0.1 + i / 10, i / 5, *np.where(energies >= 35 + (i % 3), 15.0 + i % 5, 0.001)]))
        for i in range(30)
    ]
    return "\n".join(["# [3.567, 3.567, 3.567]", "nan nan " + " ".join(map(str, energies)), *rows]) + "\n"


@pytest.fixture(scope="module")
def diamond(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("import")
    file = written(folder, threshold_matrix(), "C.dat")
    words = ["import", f"C={file}", "--crystal", "C", "--source", "made up", "--out", str(folder / "table")]
    assert main(words) == 0
    return folder / "table"


def test_an_imported_folder_corrects_as_a_run_does(diamond: Path, tmp_path: Path) -> None:
    dm = dark_matter("C", mass_GeV=1.0, cross_section_cm2=1e-40, energy_eV=(5.0, 200.0), bins=195)
    dm.write(tmp_path / "dm.csv")
    for number, given in enumerate((diamond, diamond / "model.json")):
        out = tmp_path / f"{number}.csv"
        assert main(["correct", str(given), str(tmp_path / "dm.csv"), "--extrapolate", "--out", str(out)]) == 0
    one, other = (read_spectrum(tmp_path / f"{n}.csv") for n in (0, 1))
    np.testing.assert_allclose(one.rate_per_kg_day_keV["C"], other.rate_per_kg_day_keV["C"], rtol=1e-9)
    direct = observe(dm, load_model(str(diamond)), extrapolate=True)
    np.testing.assert_allclose(
        direct.observed_in_same_bins.rate_per_kg_day_keV["C"], one.rate_per_kg_day_keV["C"], rtol=1e-9
    )
    assert direct.bands is not None
    assert list(direct.bands.components) == ["statistics"]
    # the sharp threshold makes a peak where 35 eV less 15 to 19 eV are seen, and takes nothing away
    after, before = direct.observed_in_same_bins, direct.expected
    ratio = after.total_rate_per_kg_day_keV / before.total_rate_per_kg_day_keV[:195]
    assert ratio[15:19].mean() > 1.5
    assert ratio[1:5] == pytest.approx(1.0, abs=0.01)
    spectra_figure([direct])


def test_an_imported_folder_fits_and_reports_as_a_run_does(
    diamond: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", str(diamond), "--out", str(tmp_path / "m.json")]) == 0
    assert "a table of 1200 cascades at 40 recoil energies, no fit" in capsys.readouterr().out
    assert (tmp_path / "m.json").read_bytes() == (diamond / "model.json").read_bytes()
    assert main(["fit", str(diamond), "--direction", "[0 0 1]", "--out", str(tmp_path / "e.json")]) == 2
    assert "no axes are known" in capsys.readouterr().err
    assert main(["report", str(diamond)]) == 0
    assert (diamond / "figures" / "probability-C.png").is_file()
    model = load_model(str(diamond))
    assert (model.crystal, model.status, model.provenance["source"]) == (("C",), "qualitative", "made up")


def test_a_changed_table_is_not_taken_for_the_imported_one(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_import({"C": written(tmp_path, MATRIX, "m.dat")}, crystal="C", out=out)
    made, table = load_import(out)
    assert (made.crystal, len(table)) == ("C", 11)
    by_energy = [table.direction_weight[table.recoil_energy_eV == e].sum() for e in (10, 20, 30, 40)]
    assert by_energy == pytest.approx([1.0] * 4)
    (out / "C.csv").write_text((out / "C.csv").read_text().replace("6.0", "7.0"))
    with pytest.raises(InputError, match=r"C\.csv: was changed since it was imported"):
        load_import(out)
    content = json.loads((out / "import.json").read_text())
    content["tables"][0]["file"] = "../C.csv"
    (out / "import.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="expected one of the folder"):
        load_import(out)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["C"], "'C' is not SPECIES=FILE"),
        (["C=none.dat", "--crystal", "C"], "none.dat: no such file"),
        (["Si=m.dat", "--crystal", "C"], "'Si' is no element of C"),
        (["C=m.dat", "--crystal", "Kryptonite"], "is not a chemical formula; expected"),
        (["C=m.dat", "C=m.dat", "--crystal", "C"], "name each species once"),
    ],
)
def test_bad_imports_end_with_one_line(
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path, MATRIX, "m.dat")
    assert main(["import", *words, *([] if "--crystal" in words else ["--crystal", "C"]), "--out", "out"]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_folder_of_something_else_is_kept(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "campaign.json").write_text("{}")
    with pytest.raises(InputError, match="there is something else in it"):
        write_import({"C": written(tmp_path, MATRIX, "m.dat")}, crystal="C", out=tmp_path / "out")


@pytest.mark.parametrize(
    ("species", "potential", "peak_eV", "least"),
    # The thresholds of diamond lie higher than those of silicon, and so does what they pile up.
    [
        ("C", "diamond-erhart-albe-zbl", (30, 50), 1.2),
        ("Si", "si-tersoff-zbl", (8, 25), 1.2),
        ("Si", "si-sw-zbl", (10, 40), 1.05),
        ("Ge", "ge-tersoff-zbl", (8, 25), 1.2),
    ],
)
def test_the_spectrum_that_is_kept_follows_from_its_records(species, potential, peak_eV, least, tmp_path):
    kept = Path(__file__).parents[2] / "potentials" / potential / "validation"
    expected, observed, table = (str(tmp_path / name) for name in ("dm.csv", "seen.csv", "TABLE"))
    flux = ["--mass-GeV", "1", "--cross-section-cm2", "1e-40", "--energy-eV", "1", "100", "--bins", "99"]
    assert main(["import", f"{species}={kept / 'dark-matter.csv'}", "--crystal", species, "--out", table]) == 0
    assert main(["spectrum", "dm", "--target", species, *flux, "--out", expected]) == 0
    assert main(["correct", table, expected, "--extrapolate", "--out", observed]) == 0
    seen, told = read_spectrum(observed), read_spectrum(kept / "dark-matter-observed.csv")
    np.testing.assert_allclose(told.total_rate_per_kg_day_keV, seen.total_rate_per_kg_day_keV, rtol=1e-5)
    # A threshold makes a peak: that of diamond stands at 30 to 50 eV in Sassi et al. 2022, too
    # (doi:10.1103/PhysRevD.106.063012).
    ratio = seen.total_rate_per_kg_day_keV / read_spectrum(expected).total_rate_per_kg_day_keV
    centres = seen.energy_centers_eV
    low_eV, high_eV = peak_eV
    assert low_eV < centres[np.argmax(np.where(centres > 5, ratio, 0.0))] < high_eV
    assert ratio[(centres > low_eV) & (centres < high_eV)].mean() > least


GOOD = f"{HEADER}\n40,1,0,0,5\n80,0,1,0,10\n"


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (GOOD.replace("0,5", "0,50"), "stored_more_than_recoil"),
        (GOOD.replace("0,10", "0,0").replace("0,5", "0,0"), "no cascade stored energy"),
        (
            "id,species,recoil_energy_eV,direction_x,direction_y,direction_z,direction_weight,outcome,"
            "stored_energy_eV\na,C,inf,1,0,0,1,completed,5\n",
            "line 2: recoil energy in eV is inf",
        ),
    ],
)
def test_what_makes_no_model_leaves_an_earlier_import_as_it_was(
    bad: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, good, worse = tmp_path / "out", written(tmp_path, GOOD, "good.csv"), written(tmp_path, bad, "bad.csv")
    assert main(["import", f"C={good}", "--crystal", "C", "--out", str(out)]) == 0
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    capsys.readouterr()
    assert main(["import", f"C={worse}", "--crystal", "C", "--out", str(out)]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert str(worse) in said
    assert said.count("\n") == 1
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before
    assert main(["import", f"C={worse}", "--crystal", "C", "--out", str(tmp_path / "new")]) == 2
    assert not (tmp_path / "new").exists()


EXPORT = (
    "id,species,recoil_energy_eV,direction_x,direction_y,direction_z,direction_weight,outcome,stored_energy_eV\n"
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f'{EXPORT}\na,C,40,1,0,0,1,completed,5\n\n"b,C,40,1,0,0,1,completed,5\n', "line 5: not a line of CSV"),
        (f"{EXPORT}a,C,40,1,0,0,1,completed\n", "line 2: found 8 cells, expected 9"),
        (f"{EXPORT}\n\na,C,-40,1,0,0,1,completed,5\n", "line 4: recoil energy in eV is -40"),
        ("nan nan 10 20\n\n\n0.5 1 0 x\n", "line 4: "),
        ("nan nan 10 20\n0.5 1 0 0\n\n90 1 0 0\n", "line 4: polar angle 90 rad (5156.62 degrees), expected"),
        ("nan nan 10 20\n0.5 359 0 0\n", "line 2: azimuth angle 359 rad"),
        ("recoil_energy_eV,stored_energy_eV,polar_rad,azimuth_rad\n40,5,1,359\n", "line 2: azimuth angle 359 rad"),
        ("recoil_energy_eV,stored_energy_eV,polar_deg,azimuth_deg\n40,5,1,361\n", "from -180 to 360 degrees"),
    ],
)
def test_a_bad_row_is_named_by_its_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(InputError) as complaint:
        read_stored_energies(written(tmp_path, text))
    assert words in str(complaint.value)


def test_azimuths_from_either_side_and_rounded_are_angles(tmp_path: Path) -> None:
    text = "nan nan 10\n0 -3.142 1\n3.142 6.2832 1\n"
    assert len(read_stored_energies(written(tmp_path, text)).weight) == 2


@pytest.mark.parametrize("crystal", ["C0", "", "C[C13=1]", "D2O", "Kryptonite"])
def test_a_crystal_of_nothing_is_refused(tmp_path: Path, crystal: str) -> None:
    with pytest.raises(InputError, match="crystal"):
        write_import({"C": written(tmp_path, GOOD)}, crystal=crystal, out=tmp_path / "out")
