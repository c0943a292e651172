"""Typed, frozen parameters: read from TOML with helpful errors, and named by their content.

Each group of parameters that a user may write is a dataclass made by `parameters`: frozen, keyword-only,
validated when made, unknown keys refused. `digest` turns such an object into a name: equal content gives
equal names, so 50 and 50.0 are one energy. This is the one module that reads TOML.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import hashlib
import inspect
import json
import math
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast, dataclass_transform, get_args, get_type_hints

import numpy as np
from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as pydantic_dataclass
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import ErrorDetails
from pydantic_core.core_schema import DataclassSchema, ModelSchema

from cascade_driver.errors import InputError
from cascade_driver.files import LARGEST_NUMBER, readable, text_of
from cascade_driver.text import acting_characters, closest

#: Unknown keys are errors, infinities and nans too; defaults are validated like the rest.
STRICT = ConfigDict(extra="forbid", allow_inf_nan=False, validate_default=True, str_strip_whitespace=True)

#: The same for what was found, whose texts are kept as they are.
_EXACT = ConfigDict(extra="forbid", allow_inf_nan=False)

T = TypeVar("T")


def _day(value: object) -> object:
    """Return what may be a day: pydantic alone takes a number, or a text of one, for seconds since 1970."""
    if isinstance(value, datetime.date) or (isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", value)):
        return value
    raise ValueError("expected a date as YYYY-MM-DD")


#: A date, given as such or as YYYY-MM-DD.
Day = Annotated[datetime.date, BeforeValidator(_day)]

#: Every key that any group of parameters knows, for spelling suggestions.
_FIELD_NAMES: set[str] = set()


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(Field,))
def parameters(cls: type[T]) -> type[T]:
    """Return `cls` as a frozen, keyword-only, validated dataclass, whose complaints are of our kind.

    Made from Python it complains by an `InputError` as `build` does.
    """
    made = _checked(cls)
    _FIELD_NAMES.update(fields_of(made))
    return made


def _checked(cls: type[T]) -> type[T]:
    """Return `cls` as `parameters` does; its keys are not those of an input."""
    made: Any = pydantic_dataclass(cls, frozen=True, kw_only=True, config=STRICT)
    unchecked = made.__init__

    @functools.wraps(unchecked)
    def checked(self: Any, *given: Any, **named: Any) -> None:
        if given:  # pydantic counts positions over all fields
            named = {**inspect.signature(made).bind_partial(*given).arguments, **named}
        try:
            unchecked(self, **named)
        except ValidationError as error:
            raise InputError(f"{cls.__name__}: {_complaints(error, made)[0]}") from None
        if mistaken := _truth_as_number(named, self):
            raise InputError(f"{cls.__name__}: {mistaken}")

    made.__init__ = checked
    return cast("type[T]", made)


@functools.cache
def keywords_of(function: Callable[..., Any], *names: str) -> type:
    """Return some keywords of a function as a class like those of `parameters`.

    Types, limits and defaults are those of its signature, what is said of them is in its docstring.

    Examples
    --------
    >>> def wave(*, height_m: float, crests: int = 3):
    ...     '''Return a wave.
    ...
    ...     Parameters
    ...     ----------
    ...     height_m : float
    ...         From trough to crest.
    ...     '''
    >>> made = keywords_of(wave, "height_m", "crests")
    >>> build(made, {"height_m": 2}, origin="arguments")
    wave(height_m=2.0, crests=3)
    >>> field_descriptions(made)
    {'height_m': 'From trough to crest.'}
    """
    given = inspect.signature(function).parameters
    content = {name: given[name].default for name in names if given[name].default is not inspect.Parameter.empty}
    about = inspect.cleandoc(function.__doc__ or "").replace("Parameters\n----------", "Attributes\n----------")
    kinds = {name: given[name].annotation for name in names}
    place = {"__module__": function.__module__, "__doc__": about, "__annotations__": kinds}
    return _checked(type(function.__name__, (), {**content, **place}))


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(dataclasses.field, Field))
def findings(cls: type[T]) -> type[T]:
    """Return `cls` as a frozen, keyword-only dataclass of what was found.

    `build` reads it as strictly as it reads `parameters`; made by the program, it is not checked.
    """
    cls.__pydantic_config__ = _EXACT  # type: ignore[attr-defined]
    return dataclasses.dataclass(frozen=True, kw_only=True)(cls)


def _make_adapter(kind: Any) -> TypeAdapter[Any]:
    """Return what reads and writes a type."""
    return TypeAdapter(kind)


#: Made once per type: making one takes milliseconds.
_adapter: Callable[[Any], TypeAdapter[Any]] = functools.cache(_make_adapter)


def fields_of(kind: type) -> Mapping[str, FieldInfo]:
    """Return the fields of a class made by `parameters`: their types, limits and defaults."""
    return cast("Mapping[str, FieldInfo]", kind.__pydantic_fields__)  # type: ignore[attr-defined]


def field_descriptions(kind: type) -> dict[str, str]:
    """Return what the docstring of a class says of each field, those of the classes that it is made from included.

    Examples
    --------
    >>> @parameters
    ... class Beam:
    ...     '''A beam.
    ...
    ...     Attributes
    ...     ----------
    ...     width_nm, height_nm : float
    ...         Of its
    ...         cross-section.
    ...     '''
    ...
    ...     width_nm: float
    ...     height_nm: float
    >>> field_descriptions(Beam)
    {'width_nm': 'Of its cross-section.', 'height_nm': 'Of its cross-section.'}
    """
    found: dict[str, str] = {}
    for part in reversed(kind.__mro__):
        # numpydoc: under the heading entries at the margin, and indented what is said of them; up to the next one.
        _, heading, text = inspect.cleandoc(part.__doc__ or "").partition("Attributes\n----------\n")
        for entry in re.split(r"\n(?=\w)", re.split(r"\n\n(?=\w)", text)[0] if heading else ""):
            names, *said = entry.split("\n")
            about = " ".join(line.strip() for line in said)
            found |= {name.strip(): about for name in names.partition(" : ")[0].split(",") if about}
    return found


def json_schema_of(kind: Any) -> JsonSchemaValue:
    """Return the JSON schema of a type, with what docstrings say of its classes and their fields."""
    return TypeAdapter(kind).json_schema(schema_generator=_Described)


class _Described(GenerateJsonSchema):
    """Makes JSON schemas that tell the first line of a docstring with its class, and attributes with fields."""

    def dataclass_schema(self, schema: DataclassSchema) -> JsonSchemaValue:
        """Return the schema of a dataclass."""
        return _described(super().dataclass_schema(schema), schema["cls"])

    def model_schema(self, schema: ModelSchema) -> JsonSchemaValue:
        """Return the schema of a model."""
        return _described(super().model_schema(schema), schema["cls"])


def _described(made: JsonSchemaValue, kind: type) -> JsonSchemaValue:
    about = field_descriptions(kind)
    made["description"] = inspect.cleandoc(kind.__doc__ or "").partition("\n")[0]
    for name, content in made["properties"].items():
        if about.get(name):
            content.setdefault("description", about[name])
    return made


def read_toml(path: Path | str) -> dict[str, Any]:
    """Return the content of a TOML file.

    Raises
    ------
    InputError
        If the file is missing, unreadable or not TOML.
    """
    text = text_of(path, what="TOML")
    try:
        content = tomllib.loads(text)
        _refuse_unmeant(content)
    except RecursionError:
        raise InputError(f"{path}: not valid TOML: nested too deeply") from None
    except ValueError as error:  # also of numbers with thousands of digits
        raise InputError(f"{path}: not valid TOML: {error}") from None
    return content


def _refuse_unmeant(content: Any) -> None:
    """Refuse what nobody means: numbers whose square overflows, texts that would act on a terminal."""
    if isinstance(content, str) and (found := acting_characters(content)):
        raise ValueError(f"{content[:80]!r} holds the control character {found[0]}; leave it out")
    if isinstance(content, int | float) and LARGEST_NUMBER < abs(content) < math.inf:
        raise ValueError(f"{str(content)[:20]} is larger than any quantity; correct it")
    if isinstance(content, dict):
        content = [*content, *content.values()]
    if isinstance(content, list):
        for inner in content:
            _refuse_unmeant(inner)


def read_json(path: Path | str, *, remedy: str = "") -> dict[str, Any]:
    """Return the content of a JSON file that holds an object; a complaint about what it holds ends with `remedy`.

    Raises
    ------
    InputError
        If the file is missing, unreadable or something else.
    """
    text, then = text_of(path, what="JSON"), f"; {remedy}" if remedy else ""
    try:
        content = json.loads(text)
    except RecursionError:
        raise InputError(f"{path}: not valid JSON (nested too deeply){then}") from None
    except ValueError as error:
        raise InputError(f"{path}: not valid JSON ({error}){then}") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds a {type(content).__name__}, expected an object{then}")
    return content


def build(kind: type[T], content: object, *, origin: str, every: bool = False) -> T:
    """Return `content` as a `parameters` object of type `kind`.

    Raises
    ------
    InputError
        With one line for the first thing that is wrong (or for `every` one): where, what was found, what was
        expected.
    """
    try:
        made: T = _adapter(kind).validate_python(content)
    except ValidationError as error:
        complaints = _complaints(error, kind)
        raise InputError(f"{origin}: {'; '.join(complaints) if every else complaints[0]}") from None
    if mistaken := _truth_as_number(content, made):
        raise InputError(f"{origin}: {mistaken}")
    return made


#: What is neither a truth value nor holds one.
_PLAIN = frozenset({float, int, str})


def _truth_as_number(given: Any, made: Any, loc: tuple[int | str, ...] = ()) -> str:
    """Return a complaint about the first truth value that was taken for 1 or 0, nothing if there is none.

    What was made is compared with what was given: pydantic takes `true` for 1 unless it is strict, and then it
    takes no list for a tuple.
    """
    if isinstance(given, bool):
        if isinstance(made, bool) or not isinstance(made, int | float):
            return ""
        return f"`{_location(loc)}`: expected a number; found {str(given).lower()}, write the number"
    if isinstance(given, Mapping):
        within = made if isinstance(made, Mapping) else getattr(made, "__dict__", {})
        inner = ((name, one, within.get(name)) for name, one in given.items())
    elif isinstance(given, list | tuple) and isinstance(made, list | tuple):
        inner = ((n, one, other) for n, (one, other) in enumerate(zip(given, made, strict=False)))
    else:
        return ""
    # most of a large file are numbers, which need no look
    found = (_truth_as_number(one, other, (*loc, name)) for name, one, other in inner if type(one) not in _PLAIN)
    return next(filter(None, found), "")


def _complaints(error: ValidationError, kind: Any) -> list[str]:
    """Return what is wrong, place by place; unknown keys first, they explain missing ones."""
    details = error.errors(include_url=False)
    unknown = [d for d in details if d["type"] == "unexpected_keyword_argument"]
    missing = [str(d["loc"][-1]) for d in details if d["type"] in {"missing", "missing_argument"}]
    found: dict[str, str] = {}
    for detail in unknown + [d for d in details if d not in unknown]:
        where = _location(detail["loc"])
        explained = any(f"`{where.rpartition('.')[2]}`?" in complaint for complaint in found.values())
        if not explained and not any(where.startswith(place) or place.startswith(where) for place in found):
            found[where] = _complaint(detail, kind, missing=missing)
    return list(found.values())


def _complaint(detail: ErrorDetails, kind: Any, *, missing: list[str]) -> str:
    """Return one readable line about what is wrong in one place."""
    where = _location(detail["loc"])
    if detail["type"] == "unexpected_keyword_argument":
        word = str(detail["loc"][-1])
        return f"unknown key `{where}`; {_suggestion(word, missing, _keys_at(kind, detail['loc'][:-1]))}"
    if detail["type"] in {"missing", "missing_argument", "missing_keyword_only_argument"}:
        return f"`{where}` is missing; add it"
    if detail["type"] == "dataclass_type":
        return f"`{where}`: found {detail['input']!r}, expected a table of keys; see `cascade guide inputs`"
    message = detail["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    found = detail["input"]
    if isinstance(found, Mapping | list) or not where:
        return f"`{where}`: {message}" if where else message
    return f"`{where}`: {message}; found {found!r}"


def _suggestion(word: str, missing: list[str], beside: set[str]) -> str:
    """Return what to do about an unknown key.

    What is missing beside it is the likeliest thing that was meant, then any key of its group, then any at all.
    """
    elsewhere = [] if word in _FIELD_NAMES else sorted(_FIELD_NAMES)
    for known, cutoff in ((missing, 0.5), (sorted(beside), 0.6), (elsewhere, 0.6)):
        if close := closest(word, known, cutoff=cutoff):
            return f"did you mean `{close}`?"
    return "it belongs to another section" if word in _FIELD_NAMES else "remove it"


def _keys_at(kind: Any, loc: tuple[int | str, ...]) -> set[str]:
    """Return the keys of the groups of parameters that a location within `kind` may hold."""
    groups = _groups_in(kind)
    for part in loc:
        fields = [
            get_type_hints(group)[part]
            for group in groups
            if isinstance(part, str) and part in group.__dataclass_fields__
        ]
        # A number of an element stays within the groups, the label of a union within those that have it.
        labelled = [group for group in groups if any(part in get_args(h) for h in get_type_hints(group).values())]
        groups = [g for annotation in fields for g in _groups_in(annotation)] if fields else labelled or groups
    return {name for group in groups for name in group.__dataclass_fields__}


def _groups_in(annotation: Any) -> list[Any]:
    """Return the groups of parameters that an annotation names, e.g. `A` and `B` of `tuple[A | B, ...]`."""
    if dataclasses.is_dataclass(annotation):
        return [annotation]
    return [group for inner in get_args(annotation) for group in _groups_in(inner)]


def _location(loc: tuple[int | str, ...]) -> str:
    """Return a pydantic location as the dotted path that a TOML reader knows."""
    text = ""
    for part in loc:
        if isinstance(part, int):
            text += f"[{part + 1}]"
        elif part and not part[0].isupper() and "[" not in part and "(" not in part:
            text += f".{part}" if text else part
    return text


def plain(value: Any) -> Any:
    """Return `value` (`parameters`, `findings`, or containers of them) as JSON-ready dicts, lists and scalars.

    Fields that are None are left out, so that a new optional field does not rename what exists.
    """
    return _adapter(type(value)).dump_python(value, mode="json", exclude_none=True)


def without_nan(content: Any) -> Any:
    """Return JSON-ready content with null in place of numbers that are none, for which JSON has no word."""
    if isinstance(content, Mapping):
        return {name: without_nan(one) for name, one in content.items()}
    if isinstance(content, tuple | list):
        return [without_nan(one) for one in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def flattened(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return JSON-ready content as single values by dotted name; lists stay whole."""
    values: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, Mapping):
            values |= flattened(value, f"{prefix}{key}.")
        else:
            values[prefix + key] = value
    return values


#: Made once: `json.dumps` makes one per call, which costs more than encoding the few numbers of an id.
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


def canonical_json(value: Any) -> str:
    """Return the one JSON text of `value`: sorted keys, no spaces, shortest exact numbers."""
    return _CANONICAL.encode(value)


def digest(value: Any, *, length: int = 16) -> str:
    """Return the first `length` hexadecimal digits of the SHA-256 of the canonical JSON of `value`."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:length]


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with readable(path, what="content that is known").open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def seed_from(campaign_seed: int, *spawn_key: int) -> int:
    """Return a seed in LAMMPS' range 1 to 900 000 000 for the place `spawn_key` of a campaign.

    Uses `numpy.random.SeedSequence(campaign_seed, spawn_key=spawn_key)`, so that neighbouring places are
    statistically independent and no order of execution matters.
    """
    word = int(np.random.SeedSequence(campaign_seed, spawn_key=spawn_key).generate_state(1, np.uint64)[0])
    return 1 + word % 900_000_000
