"""The verb that writes an input to begin with."""

from __future__ import annotations

import argparse
import sys
from typing import Any, Literal, get_args, get_origin

from cascade_driver.commands.arguments import Verbs, add_verb, new_file
from cascade_driver.commands.options import add_options, built, given
from cascade_driver.errors import InputError


def add_to(verbs: Verbs) -> None:
    """Add the verb of this module to the command."""
    about = "Write an input with comments, for a crystal, a purpose and a machine; on a terminal it asks."
    add_verb(verbs, "new", _new, about, _options)


def _options(verb: argparse.ArgumentParser) -> None:
    from cascade_driver.new_input import NewInput

    verb.add_argument("input", type=new_file, metavar="FILE.toml", help="the input, which is not there yet")
    add_options(verb, NewInput, may_be_missing=True)


def _new(chosen: argparse.Namespace) -> int:
    from cascade_driver.files import write_file
    from cascade_driver.new_input import NewInput, new_input

    place = chosen.input
    if place.suffix != ".toml":
        raise InputError(f"{place}: the name of an input ends in .toml")
    if place.exists():
        raise InputError(f"{place} is there, and is not replaced; give another name")
    is_asked = sys.stdin is not None and sys.stdin.isatty() and not given(chosen, NewInput)
    wanted = built(chosen, NewInput, **(_answers() if is_asked else {}))
    write_file(place, new_input(wanted, base=place.parent.resolve()))
    verb = "threshold" if wanted.purpose == "thresholds" else "run"
    print(f"written: {place}; `cascade {verb} {place} --plan-only` says what it would do")
    return 0


def _answers() -> dict[str, Any]:
    """Ask for what an input is of; nothing answered is the default."""
    from cascade_driver.new_input import NewInput
    from cascade_driver.schema import field_descriptions, fields_of

    about, answers = field_descriptions(NewInput), {}
    for name, field in fields_of(NewInput).items():
        if name == "debye_temperature_K":
            continue
        print(about[name])
        choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
        default = "" if field.is_required() or field.default is None else f" [{field.default}]"
        shown = f" ({', '.join(choices)})" if choices else ""
        answer = input(f"{name}{shown}{default}: ").strip()
        if answer:
            answers[name] = answer
    return answers
