"""What the verbs share: their parsers, kinds of arguments, and how they print and write."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from cascade_driver.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

#: The place where verbs, or kinds of one verb, are added.
Verbs: TypeAlias = "argparse._SubParsersAction[Any]"


def add_verb(verbs: Verbs, name: str, command: Any, summary: str) -> argparse.ArgumentParser:
    """Add a verb that is answered by `command`."""
    parser: argparse.ArgumentParser = verbs.add_parser(name, help=summary, description=summary)
    parser.set_defaults(command=command)
    return parser


def no_kind(chosen: argparse.Namespace) -> int:
    """Complain about a verb that was given without its kind."""
    del chosen
    raise InputError("say what to do; `cascade spectrum --help` and `cascade potential --help` list it")


def positive(text: str) -> int:
    """Return a whole number of at least 1."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return value


def lengths(text: str) -> dict[str, float] | float:
    """Return one length for all pairs, or lengths by pair: `0.9` or `Al-Al=0.9,Al-Si=0.9,Si-Si=1.6`."""
    if "=" not in text:
        return float(text)
    return {pair: float(value) for pair, value in (item.split("=") for item in text.split(","))}


def named_number(text: str) -> tuple[str, float]:
    """Return `NAME=VALUE` as a pair."""
    name, _, value = text.partition("=")
    return name, float(value)


def add_binning(verb: argparse.ArgumentParser) -> None:
    """Add the options of spectra that are made for a target."""
    verb.add_argument("--target", required=True, metavar="FORMULA", help="e.g. CaWO4, Si, Ge, Al2O3")
    verb.add_argument(
        "--enrich",
        nargs="+",
        default=(),
        metavar="ISOTOPE=SHARE",
        help="share of the atoms of its element, e.g. W183=0.9; the others keep their proportions",
    )
    add_bins(verb)


def add_bins(verb: argparse.ArgumentParser) -> None:
    """Add the options that say where to count, and where to write."""
    verb.add_argument("--energy-eV", type=float, nargs=2, required=True, dest="energy_eV", metavar=("LOW", "HIGH"))
    verb.add_argument("--bins", type=positive, required=True, metavar="N")
    verb.add_argument(
        "--log", action="store_true", dest="logarithmic", help="bins of equal ratio instead of equal width"
    )
    verb.add_argument("--out", type=Path, required=True, metavar="FILE.csv")


def add_direction(verb: argparse.ArgumentParser) -> None:
    """Add the options that ask a run for recoils of one direction."""
    verb.add_argument(
        "--direction",
        type=float,
        nargs=3,
        metavar=("X", "Y", "Z"),
        help="recoils near this direction of the crystal alone, as after the tag of a gamma (default: isotropic)",
    )
    verb.add_argument(
        "--angular-width-deg",
        type=float,
        default=15.0,
        metavar="W",
        help="standard deviation of that (default: 15)",
    )


def make_console() -> Console:
    """Return a console that keeps tables whole in pipes, too."""
    from rich.console import Console

    console = Console()
    # A pipe or a file has no width of its own; 80 columns would break the tables.
    return console if console.is_terminal else Console(width=120)


def write_text(path: Path, text: str) -> None:
    """Write a text file, with its folder, at once or not at all."""
    from cascade_driver.campaign.rundir import write_atomically

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror}); choose another place with --out"
        ) from None
