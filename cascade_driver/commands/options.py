"""Options made of the types that inputs are made of: an option is typed where its physics is, and nowhere else.

The type is a class of `parameters`, or the signature of the function that the verb calls. A field
`mass_GeV: float = Field(gt=0)` becomes `--mass-GeV X`: its kind, its choices and their number come from the
annotation, its help from the docstring, its default and limits stay with the class.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import enum
import re
import shlex
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from cascade_driver.commands.arguments import LARGEST_COUNT, add_out, count, named_number
from cascade_driver.errors import InputError

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

T = TypeVar("T")

#: Under this name a namespace knows the options of each class: field by field.
_KNOWN = "options_of_types"

#: And under this one the keywords of each function that have options.
_OF_FUNCTIONS = "options_of_functions"


def add_options(
    verb: argparse._ActionsContainer,
    kind: type,
    *,
    only: Iterable[str] = (),
    without: Iterable[str] = (),
    names: Mapping[str, str] | None = None,
    may_be_missing: bool = False,
    needed_for: str = "",
    tell_defaults: bool = True,
    **settings: Mapping[str, Any],
) -> None:
    """Add an option for each field of a class that one word or a row of words can give; `built` makes the object.

    Fields that are groups of parameters themselves, and those with a single choice, are no options. The default of
    an option that is not given is that of the class.

    Parameters
    ----------
    verb : argparse.ArgumentParser, or a group of it
    kind : type
        Made by `schema.parameters`.
    only, without : iterable of str
        Fields.
    names : mapping, optional
        Of options that do not have the name of their field.
    may_be_missing : bool
        Whether something else, such as a file, can give what has no default.
    needed_for : str
        For which use of the verb what has no default is needed, if not for all; the help says it.
    tell_defaults : bool
        Whether an option that is not given means the default of the class.
    **settings : mapping
        What argparse is told about a field in place of what the class says.
    """
    from cascade_driver.schema import field_descriptions, fields_of

    wanted, unwanted, about = set(only), set(without), field_descriptions(kind)
    every = {**(verb.get_default(_KNOWN) or {})}
    every[kind] = known = {**every.get(kind, {})}
    for name, field in fields_of(kind).items():
        if name in unwanted or (wanted and name not in wanted):
            continue
        found = dict(settings.get(name) or _settings(field.annotation, field.metadata))
        if not found:
            continue
        option, place = (names or {}).get(name, f"--{name.replace('_', '-')}"), f"{kind.__name__}.{name}"
        known[name] = option, place
        found = {"help": _help(about.get(name, ""), field, tell_default=tell_defaults), **found}
        if field.is_required() and not may_be_missing and not needed_for:
            found["required"] = True
        if field.is_required() and needed_for:
            found["help"] = f"{found['help'] or ''} (needed for {needed_for})".strip()
        verb.add_argument(option, dest=place, default=argparse.SUPPRESS, **found)
    verb.set_defaults(**{_KNOWN: every})


def given(chosen: argparse.Namespace, kind: type) -> dict[str, Any]:
    """Return the values of the fields of `kind` that options were given for."""
    places = {name: place for name, (_, place) in _known(chosen, kind).items()}
    return {name: getattr(chosen, place) for name, place in places.items() if hasattr(chosen, place)}


def built(chosen: argparse.Namespace, kind: type[T], **others: Any) -> T:
    """Return the object that the options describe.

    Parameters
    ----------
    chosen : argparse.Namespace
    kind : type
    **others
        Values of fields that are no options, or in place of theirs.

    Raises
    ------
    InputError
        If something is wrong, with the name of the option.
    """
    from cascade_driver.schema import build

    with complaints_by_option(chosen, kind):
        return build(kind, given(chosen, kind) | others, origin="arguments")


def add_keywords(
    verb: argparse._ActionsContainer,
    function: Callable[..., Any],
    *keywords: str,
    names: Mapping[str, str] | None = None,
    may_be_missing: bool = False,
    **settings: Any,
) -> None:
    """Add an option for each of some keywords of a function, as `add_options`; `keywords` returns their values."""
    from cascade_driver.schema import keywords_of

    kind = keywords_of(function, *keywords)
    add_options(verb, kind, names=names, may_be_missing=may_be_missing, **settings)
    known = verb.get_default(_OF_FUNCTIONS) or {}
    verb.set_defaults(**{_OF_FUNCTIONS: {**known, function: keywords}})


def add_input(verb: argparse._ActionsContainer, folder: str, about: str) -> None:
    """Add the input of what is planned and worked on, its folder, and how it is worked on."""
    from cascade_driver.config import WorkSpec

    verb.add_argument("input", type=Path, help="input file (TOML), or the name of a shipped one")
    add_out(verb, folder, about, is_folder=True, required=False)
    add_options(verb, WorkSpec, only=["workers", "executor", "allow_failed_contract"], tell_defaults=False)
    verb.add_argument("--plan-only", action="store_true", help="write the plan and stop")


def keywords(chosen: argparse.Namespace, function: Callable[..., Any]) -> dict[str, Any]:
    """Return the values of the keywords of a function that options were given for.

    Raises
    ------
    InputError
        If something is wrong, with the name of the option.
    """
    kind = kind_of(chosen, function)
    made: Any = built(chosen, kind)
    return {name: getattr(made, name) for name in given(chosen, kind)}


def kind_of(chosen: argparse.Namespace, function: Callable[..., Any]) -> type:
    """Return the class of the keywords of a function that have options."""
    from cascade_driver.schema import keywords_of

    return keywords_of(function, *getattr(chosen, _OF_FUNCTIONS)[function])


@contextlib.contextmanager
def complaints_by_option(chosen: argparse.Namespace, *kinds: type, only_given: bool = False) -> Iterator[None]:
    """Say options in place of the fields that a complaint names.

    Parameters
    ----------
    chosen : argparse.Namespace
    *kinds : type
        Whose fields.
    only_given : bool
        Those of options that were given; the others come from a file, which names them as fields.

    Raises
    ------
    InputError
        In place of the one that is raised within.
    """
    try:
        yield
    except InputError as error:
        complaint = str(error)
        for kind in kinds:
            names = given(chosen, kind) if only_given else _known(chosen, kind)
            complaint = by_option(complaint, {name: option_of(chosen, kind, name) for name in names})
        raise InputError(complaint) from None


def options_given(chosen: argparse.Namespace, *asked: str | type, only: Iterable[str] = ()) -> list[str]:
    """Return the names of options that were given, as they are typed.

    Parameters
    ----------
    chosen : argparse.Namespace
    *asked : str or type
        An option that was added by hand, by the name of its place (one without a default); or a class of options.
    only : iterable of str
        Fields of those classes; by default all.
    """
    found, wanted = [], set(only)
    for one in asked:
        if isinstance(one, str):
            found += [f"--{one.replace('_', '-')}"] if getattr(chosen, one) not in (None, False, [], ()) else []
        else:
            found += [option_of(chosen, one, name) for name in given(chosen, one) if not wanted or name in wanted]
    return found


def refuse_alone(options: Sequence[str], *, needed: str) -> None:
    """Refuse options that say nothing without another one, which was not given.

    Raises
    ------
    InputError
        If there are any: silently left out, they would be thought to have worked.
    """
    if options:
        raise InputError(f"{options[0]} says nothing without {needed}: give {needed}, or leave {options[0]} out")


def by_option(complaint: str, names: Mapping[str, str]) -> str:
    """Return a complaint with the options in place of the fields that it names.

    >>> by_option("`dm.mass_GeV`: input should be greater than 0", {"mass_GeV": "--mass-GeV", "put": "--put"})
    '`--mass-GeV`: input should be greater than 0'
    """
    for name, option in names.items():
        # A field of one word may be a word of the sentence.
        before, after = (r"\b", r"\b") if "_" in name else ("(?<=`)", "(?=`)")
        complaint = re.sub(rf"{before}(?:\w+\.)*{name}{after}", option, complaint)
    return complaint


def option_of(chosen: argparse.Namespace, kind: type, name: str) -> str:
    """Return the option that gives a field."""
    return _known(chosen, kind)[name][0]


def _known(chosen: argparse.Namespace, kind: type) -> dict[str, tuple[str, str]]:
    """Return the options that a verb has for the fields of `kind`, and where they are kept, by field."""
    every = getattr(chosen, _KNOWN)
    return {name: found for part in reversed(kind.__mro__) for name, found in every.get(part, {}).items()}


# -- what argparse is told -------------------------------------------------------------------------------------


def _settings(annotation: Any, limits: Iterable[Any] = ()) -> dict[str, Any]:
    """Return what argparse is told about values of a type, nothing if words cannot give them."""
    if get_origin(annotation) is Annotated:
        bare, *inner = get_args(annotation)
        return _settings(bare, [*limits, *inner])
    if get_origin(annotation) in (Union, types.UnionType):
        # `X | None`: an option that is not given is the None; of others none can be told from a word.
        inside = [one for one in get_args(annotation) if one is not types.NoneType]
        return _settings(inside[0], limits) if len(inside) == 1 else {}
    if get_origin(annotation) is tuple:
        return _row(get_args(annotation))
    if get_origin(annotation) is Sequence:
        return _row((*get_args(annotation), Ellipsis))
    if get_origin(annotation) in {dict, Mapping} and get_args(annotation) == (str, float):
        return {"nargs": "+", "action": _Named, "type": named_number, "metavar": "NAME=VALUE"}
    return _word(annotation, limits)


#: What words give as they are.
_WORDS: dict[Any, dict[str, Any]] = {
    bool: {"action": "store_true"},
    float: {"type": float, "metavar": "X"},
    str: {"metavar": "NAME"},
    datetime.date: {"metavar": "YYYY-MM-DD"},
}


def _word(annotation: Any, limits: Iterable[Any]) -> dict[str, Any]:
    """Return what argparse is told about a single value."""
    if get_origin(annotation) is Literal:
        choices = get_args(annotation)
        return {"choices": choices, "type": type(choices[0])} if len(choices) > 1 else {}
    if annotation is int:
        return {"type": _whole_within(_flat(limits)), "metavar": "N"}
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return {"choices": [member.value for member in annotation]}
    return _WORDS.get(annotation, {})


def _row(of: tuple[Any, ...]) -> dict[str, Any]:
    """Return what argparse is told about `tuple[of]`."""
    first = _settings(of[0])
    if of[-1] is not Ellipsis:
        of_one_kind = first and all(one == of[0] for one in of)
        named = {2: ("LOW", "HIGH"), 3: ("X", "Y", "Z")}.get(len(of))
        return {**first, "nargs": len(of), **({"metavar": named} if named else {})} if of_one_kind else {}
    if of[0] == tuple[float, float]:
        return {"nargs": "+", "type": named_number, "metavar": "X=VALUE"}
    return {**first, "nargs": "+"} if first and "nargs" not in first else {}


def _whole_within(limits: list[Any]) -> Callable[[str], int]:
    """Return what reads a whole number: those that count things say so."""
    least = next((limit.ge for limit in limits if hasattr(limit, "ge")), None)
    most = next((limit.le for limit in limits if hasattr(limit, "le")), LARGEST_COUNT)
    return partial(count, most=most) if least == 1 else int


def _flat(limits: Iterable[Any]) -> list[Any]:
    """Return single limits: a `Field` holds several."""
    return [one for limit in limits for one in getattr(limit, "metadata", None) or [limit]]


class _Named(argparse.Action):
    """Takes NAME=VALUE several times, each name once."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option: str | None = None,
    ) -> None:
        """Store them by name."""
        names = [name for name, _ in values]
        if len(set(names)) != len(names):
            parser.error(f"{option} {' '.join(names)}: name each once")
        setattr(namespace, self.dest, dict(values))


#: A full stop after which a sentence begins: not that of `e.g.` or of `Fig. 6`.
_SENTENCE_END = re.compile(r"(?<=\w\w[\w)`])(?<!\bFig)(?<!\bFigs)(?<!\bSec)(?<!\bRef)(?<!\bTab)\.\s+(?=[A-Z`0-9])")


def _help(about: str, field: FieldInfo, *, tell_default: bool) -> str | None:
    """Return the first sentence about a field and its default, as a help text is written."""
    said = _SENTENCE_END.split(about)[0].removesuffix(".")
    said = re.sub(r":math:|`", "", said).replace("%", "%%")
    if said[1:2].islower() or said[1:2] == " ":
        said = said[0].lower() + said[1:]
    told = tell_default and isinstance(field.default, str | int | float | tuple) and field.default is not False
    default = field.default if isinstance(field.default, tuple) else (field.default,)
    if not told or default in ((), ("",)):
        return said or None
    shown = " ".join(f"{one:g}" if isinstance(one, float) else shlex.quote(str(one)) for one in default)
    return f"{said} (default: {shown})".strip()
