"""What the verbs share: their parsers, kinds of arguments, and how they print and write."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from cascade_driver.errors import InputError
from cascade_driver.files import LARGEST_NUMBER, is_stream
from cascade_driver.text import acting_characters, closest, number_of

if TYPE_CHECKING:
    from cascade_driver.simulation.potential import Potential

#: The place where verbs, or kinds of one verb, are added.
Verbs: TypeAlias = "argparse._SubParsersAction[Any]"

#: How seconds are given.
SECONDS = {"type": float, "metavar": "SECONDS"}

#: More events, processes or points than this are a slip of the pen.
LARGEST_COUNT = 10**8

#: What stands in a run and is written by the campaign alone: its plan, its input, and all that it has computed.
_OF_A_RUN = (
    "campaign.json",
    "input.toml",
    "cascades",
    "claims",
    "crystals",
    "index",
    "logs",
    "potentials",
    "starts",
)

#: What a file system takes for one name.
_LONGEST_NAME_bytes = 255


class Parser(argparse.ArgumentParser):
    """A parser whose complaints are one line, and whose numbers, names and paths are fit to be used.

    Sub-parsers are of its kind, so that `type=float` of any option means a finite number.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        # Abbreviations drop the unit of an option.
        super().__init__(*arguments, **{"allow_abbrev": False, **settings})
        for kind, fit in ((float, number), (int, whole), (Path, any_path), (str, words), (None, words)):
            self.register("type", kind, fit)
        #: Adds the options when they are needed: those made of types cost the import of the types.
        self.add_later: Callable[[argparse.ArgumentParser], None] | None = None

    def make_options(self) -> None:
        """Make the options of a verb, which wait until it is chosen."""
        later, self.add_later = self.add_later, None
        if later is not None:
            later(self)

    def leaves(self) -> Iterator[Parser]:
        """Return the parsers of all verbs, or of the kinds of those that have kinds, with their options."""
        self.make_options()
        within = [action for action in self._actions if isinstance(action, argparse._SubParsersAction)]
        if not within:
            yield self
        for action in within:
            for verb in action.choices.values():
                yield from verb.leaves()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse, and refuse what is unknown, to write over a file that is read, and two outputs in one file.

        Of a verb this is when its options are made.
        """
        self.make_options()
        chosen, rest = super().parse_known_args(args, namespace)
        if rest:  # here, where the verb is known, and not by the parser above it
            self._refuse(rest)
        self._keep_what_is_read(vars(chosen))
        self._keep_what_is_written(vars(chosen))
        return chosen, rest

    def _refuse(self, unknown: Sequence[str]) -> NoReturn:
        close = closest(unknown[0].partition("=")[0], self._option_string_actions)
        self.error(f"unrecognized arguments: {' '.join(unknown)}" + (f"; did you mean {close}?" if close else ""))

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Name the choice that was meant: of twenty verbs nobody looks for it in a list."""
        if action.choices is not None and value not in action.choices:
            close = closest(str(value), map(str, action.choices))
            if close is not None:
                raise argparse.ArgumentError(action, f"invalid choice: {value!r}; did you mean {close}?")
        super()._check_value(action, value)

    def _keep_what_is_read(self, chosen: Mapping[str, Any]) -> None:
        written = [place for action in self._actions for place in _written(action, chosen.get(action.dest))]
        read = [action for action in self._actions if action.type not in _WRITTEN]
        for out in (place for place in written if os.path.isfile(place)):  # noqa: PTH113, see _files
            if any(out.samefile(place) for action in read for place in _files(chosen.get(action.dest))):
                self.error(f"{out} is read and would be replaced; give another name for what is written")

    def _keep_what_is_written(self, chosen: Mapping[str, Any]) -> None:
        """Refuse two outputs of one name: the later one would replace the earlier, and nobody would be told."""
        taken: dict[Path, str] = {}
        for action in self._actions:
            for place in _written(action, chosen.get(action.dest)):
                option = "/".join(action.option_strings) or action.dest
                whole_place = place.parent.resolve() / place.name
                if whole_place in taken and not is_stream(place):
                    where = option if taken[whole_place] == option else f"{taken[whole_place]} and {option}"
                    self.error(f"{place} is given twice ({where}) and would be replaced; give each its own name")
                taken[whole_place] = option

    def error(self, message: str) -> NoReturn:
        """Complain as about any other input."""
        raise InputError(f"{message}; see `{self.prog} --help`")


def _files(value: Any) -> list[Path]:
    """Return those of the values of an argument that name a file that is there."""
    values = value if isinstance(value, list | tuple) else [value]
    # not Path.is_file, which raises where a text is too long for a name
    return [Path(one) for one in values if isinstance(one, str | Path) and os.path.isfile(one)]  # noqa: PTH113


def _written(action: argparse.Action, value: Any) -> list[Path]:
    """Return the files that the values of an argument name as what is written."""
    values = value if isinstance(value, list | tuple) else [value]
    endings = _WRITTEN.get(action.type, ())
    return [one.with_name(one.name + end) for one in values if isinstance(one, Path) for end in endings]


def number(text: str) -> float:
    """Return a finite number."""
    try:
        value = number_of(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text[:80]!r} is not a finite number")
    if abs(value) > LARGEST_NUMBER:
        raise argparse.ArgumentTypeError(f"{text[:20]} is larger than any quantity; correct it")
    return value


def whole(text: str) -> int:
    """Return a whole number that 64 bits hold."""
    try:
        value = int("" if "_" in text else text)  # Python takes 1_0 for 10
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text[:80]!r} is not a whole number") from None
    if abs(value) >= 2**63:
        raise argparse.ArgumentTypeError(f"{text[:20]}... is too large: give a whole number below 2^63")
    return value


def words(text: str) -> str:
    """Return a text without characters that would act on a terminal."""
    if found := acting_characters(text):
        raise argparse.ArgumentTypeError(f"{text[:80]!r} holds the control character {found[0]}; leave it out")
    return text


def any_path(text: str) -> Path:
    """Return a path that can exist."""
    parts = os.fsencode(words(text)).split(b"/")
    if not text.strip():
        raise argparse.ArgumentTypeError("an empty name; give the name of a file or folder")
    if (longest := max(map(len, parts))) > _LONGEST_NAME_bytes:
        raise argparse.ArgumentTypeError(
            f"a name of {longest} bytes, {text[:40]}...: a file system takes {_LONGEST_NAME_bytes}; shorten it"
        )
    return Path(text)


def run_or_model(text: str) -> str:
    """Return a word that is the name of a model, or a path: no `Path`, for which `./cawo4` is `cawo4`."""
    any_path(text)
    return text


def a_run(text: str) -> Path:
    """Return the path of a run, which the name of a model is not."""
    place = any_path(text)
    if not place.exists():
        from cascade_driver.analysis.published import NAMED_MODELS

        if text in NAMED_MODELS:
            raise argparse.ArgumentTypeError(
                f"{text} is a model that comes with the package, and no run: `correct`, `lines`, `cite`, "
                "`compare` and `spectrum --model` take it"
            )
    return place


def new_file(text: str) -> Path:
    """Return a path where a file can be written."""
    place = any_path(text)
    if place.name in {"", ".."} or place.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is a folder; give the name of a file in it")
    whole_place = place.parent.resolve() / place.name
    for run in whole_place.parents:
        part = whole_place.relative_to(run).parts[0]
        if part in _OF_A_RUN and (run / "campaign.json").is_file():
            raise argparse.ArgumentTypeError(
                f"{text}: `{part}` of the run {run} is written by the campaign alone; give another place"
            )
    return place


def new_figure(text: str) -> Path:
    """Return where a figure can be written, without the ending that its files get."""
    place = new_file(text)
    return place.with_suffix("") if place.suffix in {".png", ".pdf"} else place


def new_stem(text: str) -> Path:
    """Return where a table and a figure of it can be written, which get their endings."""
    return new_file(text)


#: What the kinds of arguments that name files to write write: endings to what was given.
_WRITTEN: dict[Any, tuple[str, ...]] = {
    new_file: ("",),
    new_figure: (".png", ".pdf"),
    new_stem: (".csv", ".png", ".pdf"),
}


def new_folder(text: str) -> Path:
    """Return the path of a folder that is there or can be made."""
    place = any_path(text)
    for part in (place, *place.parents):
        if part.exists() and not part.is_dir():
            raise argparse.ArgumentTypeError(f"{part} is a file; give the name of a folder")
    return place


def add_verb(
    verbs: Verbs,
    name: str,
    command: Any,
    summary: str,
    options: Callable[[argparse.ArgumentParser], None] | None = None,
) -> argparse.ArgumentParser:
    """Add a verb that is answered by `command`; `options` adds its options once it is the verb that was chosen."""
    parser: Parser = verbs.add_parser(name, help=summary, description=summary)
    parser.set_defaults(command=command)
    parser.add_later = options
    return parser


def add_run(verb: argparse._ActionsContainer) -> None:
    """Add the run directory that a verb is about."""
    verb.add_argument("run", type=a_run, metavar="RUN")


#: How a cascade is named.
WHICH_CASCADE = "its number in the plan (`cascade ls`), its id, or the beginning of it"


def add_cascade(verb: argparse._ActionsContainer) -> None:
    """Add the run directory and the cascade in it that a verb is about."""
    add_run(verb)
    verb.add_argument("id", help=WHICH_CASCADE)


def add_json(verb: argparse._ActionsContainer, about: str = "for programs") -> None:
    """Add the option to print for programs."""
    verb.add_argument("--json", action="store_true", help=about)


def add_out(
    verb: argparse._ActionsContainer,
    place: str,
    about: str | None = None,
    *,
    is_folder: bool = False,
    required: bool = True,
) -> None:
    """Add where a verb writes: a file, or a folder."""
    verb.add_argument(
        "--out", type=new_folder if is_folder else new_file, required=required, metavar=place, help=about
    )


def no_kind(chosen: argparse.Namespace) -> int:
    """Complain about a verb that was given without its kind."""
    del chosen
    raise InputError("say what to do; `cascade spectrum --help` and `cascade potential --help` list it")


def positive(text: str) -> int:
    """Return a whole number of at least 1."""
    return count(text, most=LARGEST_COUNT)


def count(text: str, *, most: int) -> int:
    """Return a whole number of at least 1."""
    try:
        value = int("" if "_" in text else text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text[:80]!r} is not a whole number of at least 1")
    if value > most:
        raise argparse.ArgumentTypeError(f"{text[:20]} is too many; give at most {most}")
    return value


def lengths(text: str) -> dict[str, float] | float:
    """Return one length for all pairs, or lengths by pair: `0.9` or `Al-Al=0.9,Al-Si=0.9,Si-Si=1.6`."""
    if "=" not in text:
        return number(text)
    return dict(map(named_number, text.split(",")))


def named_number(text: str) -> tuple[str, float]:
    """Return `NAME=VALUE` as a pair."""
    name, equals, value = words(text).partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"{text[:80]!r} is not NAME=VALUE")
    return name, number(value)


class _OneDirection(argparse.Action):
    """Takes three numbers, or the indices of a direction of the crystal in brackets, as one word or several."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Store a vector or a text."""
        words = [str(value) for value in values or ()]
        text = " ".join(words)
        direction: tuple[float, ...] | str = text
        if not text.startswith(("[", "(")):
            try:
                direction = tuple(number_of(word) for word in words)
            except ValueError:
                direction = ()
        if len(direction) != 3 and not (isinstance(direction, str) and text.endswith(("]", ")"))):
            parser.error(
                f"{option_string} {text}: expected three numbers, or indices as in '[1 -1 0]' or '(1 1 0)', "
                "and RUN or MODEL before it"
            )
        setattr(namespace, self.dest, direction)


#: How a `Direction` is given.
DIRECTION = {
    "nargs": "+",
    "action": _OneDirection,
    "metavar": "X",
    "help": "recoils near this direction alone, as after the tag of a gamma: X Y Z in the frame of the box, or "
    "'[u v w]' or '(h k l)' of the crystal, in quotes (default: isotropic)",
}


def potential_of(word: str) -> Potential:
    """Return the potential that a word of the command line means.

    The name of a shipped one is that one, whatever lies in the current directory; anything else, and whatever
    has a `/` in it, is a folder.

    Raises
    ------
    InputError
        If there is none.
    """
    from cascade_driver.simulation.potential import load_potential, shipped_potentials

    is_path = "/" in word or word in {".", ".."}
    if is_path or (word not in shipped_potentials() and Path(word).is_dir()):
        return load_potential(Path(word))
    return load_potential(word)
