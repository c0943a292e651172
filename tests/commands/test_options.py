"""Options that are made of types: what the class says is what the command line takes, asks for and tells."""

import argparse
import datetime
import re
from collections.abc import Callable, Sequence
from typing import Annotated, Literal

import pytest
from pydantic import Field, model_validator

from cascade_driver.cli import main
from cascade_driver.commands.arguments import Parser
from cascade_driver.commands.options import (
    add_keywords,
    add_options,
    built,
    complaints_by_option,
    given,
    keywords,
)
from cascade_driver.commands.parser import make_parser
from cascade_driver.errors import InputError
from cascade_driver.schema import build, parameters


@parameters
class Inner:
    """Something that no word gives."""

    depth_nm: float = 1.0


@parameters
class Source:
    """What all sources have.

    Attributes
    ----------
    range_eV : (float, float)
        Lowest and highest.
    """

    range_eV: tuple[float, float]


@parameters
class Beam(Source):
    """A beam.

    Attributes
    ----------
    mass_GeV : float
        Of a particle at 50 % of its rest. This sentence is not of the help.
    powers, widths : tuple of float
        Of each core.

    Raises
    ------
    InputError
        Never.
    """

    kind: Literal["beam"] = "beam"
    mass_GeV: Annotated[float, Field(gt=0)]
    count: int = Field(default=3, ge=1, le=10)
    powers: tuple[float, ...] = ()
    widths: tuple[float, ...] | None = None
    shares: dict[str, float] | None = None
    points: tuple[tuple[float, float], ...] = ()
    way: Literal["up", "down"] = "up"
    order: Literal[1, 2] = 1
    log: bool = False
    date: datetime.date | None = None
    inner: Inner = Inner()

    @model_validator(mode="after")
    def _light(self) -> "Beam":
        if self.count > 5 and self.mass_GeV > 1:
            raise ValueError("count is large for mass_GeV")
        return self


def read(*words: str, **settings) -> argparse.Namespace:
    parser = Parser()
    add_options(parser, Beam, **settings)
    return parser.parse_args(words)


NEEDED = ("--range-eV", "1", "2", "--mass-GeV", "0.5")

EVERY = {
    "range_eV": (1.0, 2.0),
    "mass_GeV": 0.5,
    "count": 4,
    "powers": (1.0, 2.0),
    "widths": (3.0,),
    "shares": {"U235": 0.5, "Pu239": 0.5},
    "points": ((10.0, 0.5), (20.0, 1.0)),
    "way": "down",
    "order": 2,
    "log": True,
    "date": "2026-06-01",
}


def test_options_and_an_input_of_the_same_values_make_the_same_object():
    words = (
        "--count 4 --powers 1 2 --widths 3 --shares U235=0.5 Pu239=0.5 --points 10=0.5 20=1 --way down --order 2"
    )
    chosen = read(*NEEDED, *words.split(), "--log", "--date", "2026-06-01")
    assert built(chosen, Beam) == build(Beam, EVERY, origin="input")
    assert given(chosen, Beam).keys() == EVERY.keys()


def test_the_stop_of_an_abbreviation_ends_no_sentence_of_a_help(capsys):
    with pytest.raises(SystemExit):
        main(["background", "film", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "pale, times this; Fig. 6 of the paper has 0.1 --" in said
    assert "further ones are only drawn for comparison --" in said


def test_what_is_not_given_is_the_default_of_the_class():
    chosen = read(*NEEDED)
    assert given(chosen, Beam).keys() == {"range_eV", "mass_GeV"}
    assert built(chosen, Beam) == build(Beam, {"range_eV": (1, 2), "mass_GeV": 0.5}, origin="input")
    assert built(chosen, Beam, inner=Inner(depth_nm=2.0), count=1).inner.depth_nm == 2.0


def test_a_base_class_reads_what_options_of_it_were_given_beside():
    parser = Parser()
    add_options(parser, Source)
    add_options(parser, Beam, without=["range_eV"])
    assert built(parser.parse_args(NEEDED), Beam).range_eV == (1.0, 2.0)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "the following arguments are required: --range-eV, --mass-GeV"),
        ((*NEEDED, "--count", "0"), "argument --count: '0' is not a whole number of at least 1"),
        ((*NEEDED, "--count", "11"), "argument --count: 11 is too many; give at most 10"),
        ((*NEEDED, "--way", "left"), "argument --way: invalid choice: 'left'"),
        ((*NEEDED, "--order", "3"), "argument --order: invalid choice: 3"),
        ((*NEEDED, "--shares", "U235"), "'U235' is not NAME=VALUE"),
        ((*NEEDED, "--shares", "U235=1", "U235=2"), "--shares U235 U235: name each once"),
        ((*NEEDED, "--inner", "2"), "unrecognized arguments: --inner 2"),
        (("--range-eV", "1", "2", "--mass-GeV", "-1"), "`--mass-GeV`: input should be greater than 0; found -1.0"),
        (("--range-eV", "1", "2", "--mass-GeV", "2", "--count", "9"), "count is large for --mass-GeV"),
        ((*NEEDED, "--date", "noon"), "`--date`: "),
    ],
)
def test_a_wrong_value_is_told_by_the_name_of_its_option(words, said):
    with pytest.raises(InputError) as complaint:
        built(read(*words), Beam)
    assert said in str(complaint.value)
    assert "mass_GeV" not in str(complaint.value)


def test_an_option_may_have_another_name_and_is_told_by_it():
    chosen = read("--range-eV", "1", "2", "--mass", "-1", names={"mass_GeV": "--mass"})
    with pytest.raises(InputError, match="`--mass`: input should be greater than 0"):
        built(chosen, Beam)


def test_over_a_file_only_what_was_given_is_told_as_an_option():
    chosen = read("--mass-GeV", "1", may_be_missing=True)
    with (
        pytest.raises(InputError, match="--mass-GeV and range_eV"),
        complaints_by_option(chosen, Beam, only_given=True),
    ):
        raise InputError("mass_GeV and range_eV")


def test_help_is_the_first_sentence_of_the_docstring_and_the_default():
    parser = Parser()
    add_options(parser, Beam)
    said = " ".join(parser.format_help().split())
    assert "--range-eV LOW HIGH lowest and highest " in said
    assert "--mass-GeV X of a particle at 50 % of its rest --count N (default: 3)" in said
    assert said.count("of each core") == 2
    assert "(default: up)" in said
    assert "Never" not in said


def every_verb(parser, words=()):
    """Yield the words of every verb that does something."""
    kinds = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not kinds:
        yield words
    for action in kinds:
        for name, inner in action.choices.items():
            yield from every_verb(inner, (*words, name))


@pytest.mark.parametrize("words", list(every_verb(make_parser())), ids=" ".join)
def test_every_verb_tells_its_options(words, capsys):
    with pytest.raises(SystemExit) as end:
        main([*words, "--help"])
    assert end.value.code == 0
    said = capsys.readouterr().out
    assert said.startswith(f"usage: cascade {' '.join(words)} ")
    for foreign in (":math:", "FieldInfo", "Undefined", "FccMetal(", "\\"):
        assert foreign not in said


def followed(
    *,
    at_eV: Sequence[float],
    duration_ps: Annotated[float, Field(gt=0)] = 2.0,
    most: Annotated[int, Field(ge=1)] | None = None,
    wobble_K: float = 0.0,
    observe: Callable[[str], None] = print,
) -> None:
    """Follow something.

    Parameters
    ----------
    at_eV : sequence of float
        Energies that are looked at.
    duration_ps : float
        For how long.
    most : int, optional
        No more than this.
    """


def a_parser_of_keywords() -> Parser:
    verb = Parser("follow")
    add_keywords(verb, followed, "at_eV", "duration_ps", "most", "wobble_K", names={"duration_ps": "--for-ps"})
    return verb


def test_keywords_of_a_function_are_options_and_only_those_given_are_handed_on():
    chosen = a_parser_of_keywords().parse_args(["--at-eV", "1", "2.5", "--most", "3"])
    assert keywords(chosen, followed) == {"at_eV": [1.0, 2.5], "most": 3}
    followed(**keywords(chosen, followed))


def test_keywords_are_told_by_their_docstring_and_default():
    told = " ".join(a_parser_of_keywords().format_help().split())
    assert "--at-eV X [X ...] energies that are looked at" in told
    assert "--for-ps X for how long (default: 2)" in told
    assert "observe" not in told


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--at-eV", "1", "--for-ps", "0"], "`--for-ps`: input should be greater than 0"),
        (["--for-ps", "1"], "required: --at-eV"),
        (["--at-eV", "1", "--most", "0"], "'0' is not a whole number of at least 1"),
    ],
)
def test_a_keyword_out_of_its_limits_is_named_by_its_option(words, complaint):
    with pytest.raises(InputError, match=re.escape(complaint)):
        keywords(a_parser_of_keywords().parse_args(words), followed)


def test_keywords_of_a_function_are_no_keys_of_an_input():
    a_parser_of_keywords()
    with pytest.raises(InputError, match="unknown key `wobble_K`; remove it"):
        build(Inner, {"wobble_K": 1.0}, origin="input")


#: Each says how something is made that is not asked for.
ALONE = {
    "correct cawo4-published S.csv --angular-width-deg 3 --out O": ("--angular-width-deg", "--direction"),
    "correct cawo4 S.csv --assumption-error 0.3 --out O": ("--assumption-error", "the model cawo4-published"),
    "spectrum dm {dm} --extrapolate --out O": ("--extrapolate", "--model"),
    "spectrum dm {dm} --species Ca --out O": ("--species", "--model"),
    "spectrum dm {dm} --other-crystal --out O": ("--other-crystal", "--model"),
    "spectrum dm {dm} --no-bands --out O": ("--no-bands", "--model"),
    "draw S.csv S.csv --lines-eV 80 112 --out O": ("--lines-eV", "--mass-g"),
    "draw S.csv S.csv --log-counts --out O": ("--log-counts", "--mass-g"),
    "lines S.csv {fit} --half-window-eV 0.1": ("--half-window-eV", "--recoils"),
    "lines S.csv {fit} --first 3": ("--first", "--table"),
    "lines S.csv {fit} --density-g-cm3 3": ("--density-g-cm3", "--table"),
    "export RUN --table t.csv --members 3": ("--members", "--response"),
    "export RUN --table t.csv --energy-eV 5 500": ("--energy-eV", "--response"),
    "export RUN --table t.csv --bin-eV 2": ("--bin-eV", "--response"),
    "show RUN 0 --frames 3": ("--frames", "--film"),
    "background film film.toml --scale 0.1 --out O": ("--scale", "--figure"),
    "background film film.toml --start-nm 20 --out O": ("--start-nm", "--dynamics"),
}


@pytest.mark.parametrize("line", ALONE)
def test_an_option_that_says_nothing_alone_is_refused(line, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "RUN").mkdir()
    (tmp_path / "S.csv").write_text("# energy: recoil\nenergy_low_eV,energy_high_eV,rate_W\n40,50,1\n50,60,1\n")
    words = line.format(
        dm="--target CaWO4 --mass-GeV 3 --cross-section-cm2 1e-40 --energy-eV 10 90 --bins 8",
        fit="--at-eV 45 --exposure-kg-day 1 --resolution-eV 3",
    )
    assert main(words.split()) == 2
    option, needed = ALONE[line]
    said = capsys.readouterr().err
    assert f"{option} says nothing without {needed}: give {needed}, or leave {option} out" in said
    assert not (tmp_path / "O").exists()


def test_options_of_the_other_way_of_a_verb_are_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "S.csv").write_text("# energy: recoil\nenergy_low_eV,energy_high_eV,rate_W\n40,50,1\n50,60,1\n")
    assert main(["lines", "--table", "--target", "Si", "--scale-error", "0.1"]) == 2
    assert "--scale-error says how lines are fitted" in capsys.readouterr().err
    assert main(["draw", "S.csv", "S.csv", "--mass-g", "1", "--log", "--out", "O"]) == 2
    assert "--log says nothing of the figure of --mass-g" in capsys.readouterr().err


def test_an_angular_width_of_an_input_needs_its_direction():
    from cascade_driver.config import AnalysisSpec

    with pytest.raises(InputError, match="`angular_width_deg` says nothing without `direction`"):
        build(AnalysisSpec, {"angular_width_deg": 3.0}, origin="arguments")
    wide = {"direction": [0.0, 0.0, 1.0], "angular_width_deg": 3.0}
    assert build(AnalysisSpec, wide, origin="arguments").angular_width_deg == 3.0
