"""Bad input: one clear line on stderr, exit code 2, nothing half-written."""

import json
from pathlib import Path

import pytest
from complaints import GOOD, SPECTRA, complaint, run_complaint

from cascade_driver.cli import main
from cascade_driver.simulation.potential import copy, load_potential

FILM = """
[crystal]
name = "Al/Si"
repeats = [1, 1, 1]

[potential]
name = "alsi-meam-zbl"

[follow]
border = { width_A = 2 }

[[recoils]]
species = "Al"
recoil_energies_eV = [20]
directions = { scheme = "list", vectors = [[0, 0, -1]] }
snapshots = 1
"""


def test_the_unspoiled_inputs_are_good(capsys, tmp_path):
    # Negative control: without this each case below could fail for another reason.
    for name, text in {"good": GOOD, "film": FILM}.items():
        (tmp_path / f"{name}.toml").write_text(text)
        assert main(["run", str(tmp_path / f"{name}.toml"), "--out", str(tmp_path / name), "--plan-only"]) == 0
        assert (tmp_path / name / "campaign.json").is_file()


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        pytest.param('name = "cawo4-pbe-spline"', "", "give either `name` or `folder`", id="missing key"),
        pytest.param('species = "W"', "", "`recoils[1].species` is missing; add it", id="missing species"),
        pytest.param("[[recoils]]", "[[recoil]]", "unknown key `recoil`; did you mean `recoils`?", id="section"),
        pytest.param("seed = 1", "sead = 1", "unknown key `sead`; did you mean `seed`?", id="unknown key"),
        pytest.param(
            "snapshots = 1",
            "snapshot = 1",
            "unknown key `recoils[1].snapshot`; did you mean `snapshots`?",
            id="key",
        ),
        pytest.param(
            "recoil_energies_eV",
            "recoil_energies_keV",
            "did you mean `recoil_energies_eV`?",
            id="wrong unit in key",
        ),
        pytest.param("[20, 40]", '["81 eV"]', "found '81 eV'", id="unit in the value"),
        pytest.param("[20, 40]", '"81 eV"', "`recoils[1].recoil_energies_eV`", id="text for a list"),
        pytest.param(
            "[20, 40]", "[20, -40]", "a recoil energy must be above 0 eV, found -40", id="negative energy"
        ),
        pytest.param("[20, 40]", "[]", "recoil_energies_eV", id="no energy"),
        pytest.param("[20, 40]", "[20, 20.0]", "an energy is named twice", id="energy twice"),
        pytest.param("[20, 40]", "[inf]", "finite", id="infinite energy"),
        pytest.param(
            '"W"', '"Pb"', "no free atom of species 'Pb'; present: Ca, O, W", id="species not in crystal"
        ),
        pytest.param('"W"', '"Wolfram"', "no free atom of species 'Wolfram'", id="no element"),
        pytest.param('"CaWO4"', '"CaWO3"', "unknown crystal, known are CaWO4", id="unknown crystal"),
        pytest.param('"CaWO4"', '"Si"', "is for Ca, W, O and the crystal holds Si too", id="crystal of others"),
        pytest.param(
            "seed = 1", "width_A = 2", "unknown key `width_A`; it belongs to another section", id="astray"
        ),
        pytest.param("pbe-spline", "pbe-splin", "did you mean `cawo4-pbe-spline`?", id="unknown potential"),
        pytest.param(
            "cawo4-pbe-spline", "si-tersoff-zbl", "is for Si and the crystal holds Ca, O, W", id="wrong potential"
        ),
        pytest.param(
            'name = "cawo4-pbe-spline"', 'folder = "nowhere"', "no potential.toml there", id="no potential folder"
        ),
        pytest.param("[20, 40]", "[20, 4000]", "box too small for the recoil: 4000 eV heat", id="box too small"),
        pytest.param("[4, 4, 2]", "[1, 4, 2]", "box too small for the recoil: it is 5.2 A wide", id="narrow box"),
        pytest.param("[4, 4, 2]", "[4, 4, 0]", "each of the three repeats must be at least 1", id="zero repeats"),
        pytest.param("[4, 4, 2]", "[4, 4]", "crystal.repeats", id="two repeats"),
        pytest.param(
            "repeats = [4, 4, 2]", "", "give exactly one of `minimum_atoms` and `repeats`", id="no size of the box"
        ),
        pytest.param(
            'scheme = "symmetry"', 'scheme = "symetry"', "did you mean `symmetry`?", id="directions scheme"
        ),
        pytest.param(
            'scheme = "symmetry", count = 2',
            'scheme = "list", vectors = [[0, 0, 0]]',
            "a direction in `vectors` is zero; remove it",
            id="zero direction",
        ),
        pytest.param(
            'scheme = "symmetry", count = 2',
            'scheme = "list", vectors = [[1, 0, 0], [0, 1, 0], [2, 0, 0]]',
            "a direction in `vectors` is named twice",
            id="same direction twice",
        ),
        pytest.param(", count = 2", "", "scheme `symmetry` needs `count`", id="no count of directions"),
        pytest.param("count = 2", "count = 0", "count", id="no directions"),
        pytest.param(
            "count = 2", "count = 1000000000000", "less than or equal to 100000", id="endless directions"
        ),
        pytest.param("[4, 4, 2]", "[4000000, 4, 2]", "3.2e+07 cells are more than a box", id="endless box"),
        pytest.param(
            "repeats = [4, 4, 2]",
            "minimum_atoms = 1000000000000",
            "less than or equal to 10000000",
            id="10^12 atoms",
        ),
        pytest.param("snapshots = 1", "snapshots = 0", "greater than or equal to 1; found 0", id="no snapshots"),
        pytest.param("snapshots = 1", "snapshots = 1.5", "recoils[1].snapshots", id="half a snapshot"),
        pytest.param("snapshots = 1", 'snapshots = 1\nregion = "film"', "region", id="region of a bulk crystal"),
        pytest.param("seed = 1", "seed = -1", "`seed`", id="negative seed"),
        pytest.param("seed = 1", "seed = 1\nseed = 2", "not valid TOML", id="key twice"),
        pytest.param("[crystal]", "[crystal", "not valid TOML", id="not TOML"),
        pytest.param(
            "[[recoils]]", "[thermal]\ntemperature_K = -5\n[[recoils]]", "thermal.temperature_K", id="cold"
        ),
        pytest.param(
            "[[recoils]]",
            "[follow]\nmax_displacement_A = 1\n[[recoils]]",
            "follow.max_displacement_A",
            id="coarse step",
        ),
        pytest.param(
            "[[recoils]]",
            "[follow]\nborder = { width_A = 9 }\n[[recoils]]",
            "a border of 9 A leaves 3.0 A free",
            id="thick border",
        ),
        pytest.param("seed = 1", "seed = 1\nspectra = [1]", "spectra", id="spectra of another kind"),
    ],
)
def test_a_bad_campaign_gets_one_line(capsys, tmp_path, old, new, expected):
    assert old in GOOD
    assert expected in run_complaint(capsys, tmp_path, GOOD.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        pytest.param("[1, 1, 1]", "[1, 1, 2]", "the third of `repeats` must be 1", id="film repeated along z"),
        pytest.param(
            'species = "Al"', 'species = "Si"\nregion = "film"', "no free atom of species 'Si'", id="region"
        ),
        pytest.param('"Al/Si"\n', '"Al/Si"\nfilm = { held_A = 90 }\n', "raise `substrate_cells`", id="all held"),
        pytest.param(
            '"Al/Si"\n', '"Al/Si"\nfilm = { thickness = 9 }\n', "unknown key `crystal.film", id="film key"
        ),
    ],
)
def test_a_bad_film_gets_one_line(capsys, tmp_path, old, new, expected):
    assert old in FILM
    assert expected in run_complaint(capsys, tmp_path, FILM.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        pytest.param("", "", "add a section [analysis]", id="spectra without analysis"),
        pytest.param('kind = "dm"', 'kind = "wimp"', "'dm', 'cevns'", id="unknown kind"),
        pytest.param("[1, 81]", "[81, 1]", "expected two rising energies", id="falling energies"),
        pytest.param("bins = 80", "bins = 0", "bins", id="no bins"),
        pytest.param("mass_GeV = 2", "mass_GeV = -2", "mass_GeV", id="negative mass"),
        pytest.param("mass_GeV = 2", "mass_MeV = 2000", "did you mean `mass_GeV`?", id="mass in another unit"),
    ],
)
def test_a_bad_spectrum_request_gets_one_line(capsys, tmp_path, old, new, expected):
    analysis = "" if not old else "[analysis]\n"
    assert expected in run_complaint(capsys, tmp_path, GOOD + analysis + SPECTRA.replace(old, new, 1))


# -- files ----------------------------------------------------------------------------------------------------


def test_a_missing_input_names_those_that_ship(capsys, tmp_path):
    line = complaint(capsys, "run", tmp_path / "none.toml")
    assert "no such input file; shipped with the package are" in line
    assert "quickstart.toml" in line


@pytest.mark.parametrize(
    ("mistyped", "meant"),
    [
        (["corect", "RUN"], "did you mean correct?"),
        (["spectrum", "dmm"], "did you mean dm?"),
        (["run", "quikstart.toml"], "did you mean quickstart.toml?"),
        (["ls", "RUN", "--srot", "stored"], "did you mean --sort?; see `cascade ls --help`"),
        (["ls", "RUN", "--srot=stored"], "did you mean --sort?; see `cascade ls --help`"),
    ],
)
def test_a_mistyped_word_names_the_one_that_was_meant(capsys, mistyped, meant):
    assert meant in complaint(capsys, *mistyped)


def test_a_word_that_is_like_none_gets_the_list(capsys):
    line = complaint(capsys, "xyzzy")
    assert "did you mean" not in line
    assert "'correct'" in line


def test_a_folder_is_no_input(capsys, tmp_path):
    assert "no such input file" in complaint(capsys, "run", tmp_path)


def test_an_input_that_is_no_text_is_refused(capsys, tmp_path):
    (tmp_path / "input.toml").write_bytes(b"\xff\xfe\x00")
    assert "not a text file" in complaint(capsys, "run", tmp_path / "input.toml")


@pytest.fixture
def own_potential(tmp_path) -> Path:
    """A copy of a shipped potential, to be spoiled."""
    return copy(load_potential("cawo4-pbe-spline"), out=tmp_path / "mine").folder


OWN = GOOD.replace('name = "cawo4-pbe-spline"', 'folder = "mine"')


def test_a_corrupted_potential_file_is_found(capsys, tmp_path, own_potential):
    file = own_potential / "core.table"
    file.write_bytes(file.read_bytes().replace(b"1", b"2", 1))
    line = run_complaint(capsys, tmp_path, OWN)
    assert "core.table: SHA-256" in line
    assert "restore the file or update [files]" in line
    assert line == complaint(capsys, "potential", "show", own_potential)


def test_an_incomplete_potential_folder_is_found(capsys, tmp_path, own_potential):
    (own_potential / "core.table").unlink()
    assert "core.table: file of the potential is missing" in run_complaint(capsys, tmp_path, OWN)


def test_a_potential_without_a_pair_is_found(capsys, tmp_path, own_potential):
    about = own_potential / "potential.toml"
    about.write_text("\n".join(line for line in about.read_text().splitlines() if not line.startswith('"W-O"')))
    assert "[zbl] must name the pairs" in run_complaint(capsys, tmp_path, OWN)


def test_a_potential_of_no_element_is_found(capsys, tmp_path, own_potential):
    about = own_potential / "potential.toml"
    about.write_text(about.read_text().replace('["Ca", "W", "O"]', '["Ca", "Wo", "O"]'))
    assert "'Wo' is not a chemical element" in run_complaint(capsys, tmp_path, OWN)


def with_structure(name: str) -> str:
    return GOOD.replace('name = "CaWO4"', f'file = "{name}"')


def test_a_missing_structure_is_told(capsys, tmp_path):
    assert "crystal.cif: no such structure file" in run_complaint(capsys, tmp_path, with_structure("crystal.cif"))


@pytest.mark.parametrize("text", ["", "not a structure\n", "3\n\nW 0 0\n"])
def test_an_unreadable_structure_is_told(capsys, tmp_path, text):
    (tmp_path / "crystal.xyz").write_text(text)
    line = run_complaint(capsys, tmp_path, with_structure("crystal.xyz"))
    assert "not a structure that ASE can read" in line


def test_a_structure_without_a_cell_is_told(capsys, tmp_path):
    (tmp_path / "molecule.xyz").write_text("2\n\nW 0 0 0\nO 0 0 1.8\n")
    assert "not periodic along all three axes" in run_complaint(capsys, tmp_path, with_structure("molecule.xyz"))


def test_a_structure_with_an_unknown_element_is_told(capsys, tmp_path):
    lattice = 'Lattice="16 0 0 0 16 0 0 0 16" Properties=species:S:1:pos:R:3 pbc="T T T"'
    (tmp_path / "odd.xyz").write_text(f"2\n{lattice}\nW 0 0 0\nXx 3 3 3\n")
    line = run_complaint(capsys, tmp_path, with_structure("odd.xyz"))
    assert "not a structure that ASE can read" in line or "unknown element" in line


def test_an_unwritable_place_is_told(capsys, tmp_path):
    # A file where a folder should be: refused for every user, the administrator too.
    (tmp_path / "input.toml").write_text(GOOD)
    (tmp_path / "file").write_text("")
    line = complaint(capsys, "run", tmp_path / "input.toml", "--out", tmp_path / "file" / "RUN", "--plan-only")
    assert "is a file; give the name of a folder" in line


# -- other verbs ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", [["status"], ["status", "--json"], ["fit"], ["report"]])
def test_a_folder_that_is_no_run_is_told(capsys, tmp_path, verb):
    assert "give the folder that `cascade run` made" in complaint(capsys, *verb, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def planned(capsys, tmp_path) -> Path:
    (tmp_path / "input.toml").write_text(GOOD)
    assert main(["run", str(tmp_path / "input.toml"), "--out", str(tmp_path / "RUN"), "--plan-only"]) == 0
    capsys.readouterr()
    return tmp_path / "RUN"


def test_an_unknown_cascade_is_told(capsys, planned):
    assert "no finished cascade with an id that begins with `ffff`" in complaint(capsys, "show", planned, "ffff")


def test_a_run_without_cascades_cannot_be_fitted(capsys, planned):
    assert "run the campaign first" in complaint(capsys, "fit", planned)


def test_a_damaged_plan_is_told(capsys, planned):
    (planned / "campaign.json").write_text('{"schema_version": 1, ')
    assert "campaign.json: not valid JSON" in complaint(capsys, "status", planned)


def test_a_plan_of_another_version_is_told(capsys, planned):
    content = json.loads((planned / "campaign.json").read_text()) | {"schema_version": 99}
    (planned / "campaign.json").write_text(json.dumps(content))
    assert "schema version 99, this program reads" in complaint(capsys, "status", planned)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--target", "CaWO9x", "--energy-eV", 1, 81, "--bins", 80], "CaWO9x"),
        (["--target", "Qq", "--energy-eV", 1, 81, "--bins", 80], "Qq"),
        (["--target", "CaWO4", "--energy-eV", 81, 1, "--bins", 80], "expected two rising energies"),
        (["--target", "CaWO4", "--energy-eV", -1, 81, "--bins", 80], "expected two rising energies"),
    ],
)
def test_a_bad_spectrum_gets_one_line(capsys, tmp_path, arguments, expected):
    out = tmp_path / "dm.csv"
    line = complaint(
        capsys, "spectrum", "dm", "--mass-GeV", 2, "--cross-section-cm2", 1e-40, *arguments, "--out", out
    )
    assert expected in line
    assert not out.exists()


def test_cores_without_distances_are_told(capsys, tmp_path):
    line = complaint(
        capsys,
        *("spectrum", "cevns", "--target", "CaWO4", "--power-GW", 4.25, 4.25, "--distance-m", 72),
        *("--energy-eV", 1, 81, "--bins", 80, "--out", tmp_path / "nu.csv"),
    )
    assert "distance" in line
    assert not (tmp_path / "nu.csv").exists()


def test_a_spectrum_that_cannot_be_written_is_told(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    line = complaint(
        capsys,
        *("spectrum", "dm", "--target", "CaWO4", "--mass-GeV", 2, "--cross-section-cm2", 1e-40),
        *("--energy-eV", 1, 81, "--bins", 8, "--out", tmp_path / "file" / "dm.csv"),
    )
    assert "dm.csv" in line


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"schema_version": 99}', '{"schema_version": 1}'])
def test_a_damaged_model_is_told(capsys, tmp_path, content):
    (tmp_path / "model.json").write_text(content)
    (tmp_path / "in.csv").write_text("energy_low_eV,energy_high_eV,rate\n1,2,3\n")
    line = complaint(
        capsys, "correct", tmp_path / "model.json", tmp_path / "in.csv", "--out", tmp_path / "observed.csv"
    )
    assert "model.json" in line
    assert not (tmp_path / "observed.csv").exists()


def test_a_missing_model_is_told(capsys, tmp_path):
    (tmp_path / "in.csv").write_text("energy_low_eV,energy_high_eV,rate_W\n1,2,3\n")
    line = complaint(capsys, "correct", tmp_path / "none.json", tmp_path / "in.csv", "--out", tmp_path / "out.csv")
    assert "none.json" in line


@pytest.mark.parametrize(
    "arguments",
    [
        ["dance"],
        ["run"],
        ["run", "x.toml", "--workers", "0"],
        ["run", "x.toml", "--workers", "many"],
        ["run", "x.toml", "--wrokers", "2"],
        ["spectrum"],
        ["spectrum", "axion"],
        ["spectrum", "dm", "--target", "CaWO4"],
        ["fit", "RUN", "--order", "3"],
        ["potential"],
        ["potential", "show"],
        ["potential", "show", "cawo5"],
    ],
)
def test_a_bad_command_line_gets_one_line(capsys, arguments):
    assert len(complaint(capsys, *arguments)) > 20
