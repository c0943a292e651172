"""`cascade new`: what it writes can be planned, says what the types say, and replaces nothing."""

import tomllib

import pytest

from cascade_driver.cli import main
from cascade_driver.config import RunInput, read_input
from cascade_driver.schema import field_descriptions
from cascade_driver.simulation.spec import FollowSpec

PURPOSES = {"dark-matter": "dm", "neutrinos": "cevns", "capture": "capture", "defects": None}

#: Each crystal with a potential that ships, each purpose, each machine.
WANTED = [
    *(("Si", "si-tersoff-zbl", purpose, "minutes") for purpose in (*PURPOSES, "thresholds")),
    *(("Si", "si-sw-zbl", purpose, m) for purpose in ("defects", "thresholds") for m in ("laptop", "cluster")),
    *(
        (crystal, potential, "dark-matter", "minutes")
        for crystal, potential in {
            "CaWO4": "cawo4-pbe-spline",
            "Ge": "ge-tersoff-zbl",
            "C": "diamond-erhart-albe-zbl",
            "Al": "al-eam-zbl",
        }.items()
    ),
]


@pytest.mark.parametrize(("crystal", "potential", "purpose", "machine"), WANTED)
def test_what_is_written_can_be_planned(crystal, potential, purpose, machine, tmp_path):
    place = tmp_path / "new.toml"
    asked = ["--crystal", crystal, "--potential", potential, "--purpose", purpose, "--machine", machine]
    assert main(["new", str(place), *asked]) == 0
    verb = "threshold" if purpose == "thresholds" else "run"
    assert main([verb, str(place), "--out", str(tmp_path / "RUN"), "--plan-only"]) == 0
    kinds = [spectrum["kind"] for spectrum in tomllib.loads(place.read_text()).get("spectra", [])]
    assert kinds == [kind for kind in (PURPOSES.get(purpose),) if kind]


@pytest.fixture
def written(tmp_path):
    place = tmp_path / "new.toml"
    assert main(["new", str(place), "--crystal", "Si", "--potential", "si-tersoff-zbl"]) == 0
    return place


def test_each_key_has_what_its_type_says_of_it(written):
    said = " ".join(line.removeprefix("# ") for line in written.read_text().splitlines() if line.startswith("# "))
    for name, about in field_descriptions(FollowSpec).items():
        assert about in said, name


def test_a_key_behind_the_comment_sign_has_its_default(written):
    """Taken in, those that have one change nothing."""
    lines = written.read_text().splitlines()
    taken = [
        line[1:] if line[:1] == "#" and line[1:2].isalpha() and not line.endswith("...") else line
        for line in lines
    ]
    assert taken != lines
    alternatives = {"temperature_K = 133"}  # beside a rule for it
    again = written.with_name("again.toml")
    again.write_text("\n".join(line for line in taken if line not in alternatives))
    assert read_input(again) == read_input(written)
    assert isinstance(read_input(again), RunInput)


def test_nothing_is_replaced(written, capsys):
    before = written.read_bytes()
    assert main(["new", str(written), "--crystal", "Si", "--potential", "si-sw-zbl"]) == 2
    assert "is there, and is not replaced" in capsys.readouterr().err
    assert written.read_bytes() == before


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        ([], "`--crystal` is missing"),
        (["--crystal", "Si"], "choose with --potential"),
        (["--crystal", "LiF"], "no potential ships for LiF"),
        (["--crystal", "Si", "--potential", "al-eam-zbl"], "is for Al, not Si"),
        (["--crystal", "Si", "--potential", "si-sw-zbl", "--species", "O"], "species O"),
        (["--crystal", "Si", "--purpose", "axions"], "invalid choice"),
    ],
)
def test_what_cannot_be_is_told_in_one_line_and_nothing_is_written(asked, complaint, tmp_path, capsys):
    assert main(["new", str(tmp_path / "new.toml"), *asked]) == 2
    told = capsys.readouterr().err
    assert complaint in told
    assert told.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_on_a_terminal_it_asks(tmp_path, monkeypatch, capsys):
    answers = {"crystal": "Si", "potential": "si-sw-zbl", "purpose (": "", "machine (": "laptop", "species": ""}
    asked = []

    def answer(question):
        asked.append(question)
        return next(value for name, value in answers.items() if question.startswith(name))

    monkeypatch.setattr("builtins.input", answer)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    assert main(["new", str(tmp_path / "new.toml")]) == 0
    assert len(asked) == len(answers)
    assert "[dark-matter]" in asked[2]
    assert "laptop" in capsys.readouterr().out
    wanted = read_input(tmp_path / "new.toml")
    assert (wanted.potential.name, wanted.crystal.minimum_atoms, wanted.spectra[0].kind) == (
        "si-sw-zbl",
        6000,
        "dm",
    )
    # Options are answers: then nothing is asked.
    asked.clear()
    assert main(["new", str(tmp_path / "b.toml"), "--crystal", "Si", "--potential", "si-sw-zbl"]) == 0
    assert asked == []
