"""Protocols by name: size of the box, thermal start, flight and quench in one word."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import Field, JsonValue

from cascade_driver.errors import InputError
from cascade_driver.schema import build, parameters, read_toml
from cascade_driver.text import closest

#: Keys of `[crystal]` that say how large the box is: any of an input takes the place of all of a protocol.
_SIZE = ("minimum_atoms", "repeats")


@parameters
class NamedProtocol:
    """A protocol with its name's meaning.

    Attributes
    ----------
    title, source : str
        What it is for, and where it comes from or what proves it.
    crystal, thermal, follow, quench : dict
        What it says in these sections of an input.
    """

    title: str
    source: str
    crystal: dict[str, JsonValue] = Field(default_factory=dict)
    thermal: dict[str, JsonValue] = Field(default_factory=dict)
    follow: dict[str, JsonValue] = Field(default_factory=dict)
    quench: dict[str, JsonValue] = Field(default_factory=dict)

    @property
    def sections(self) -> Mapping[str, Mapping[str, JsonValue]]:
        """What it says, by section; sections of which it says nothing are left out."""
        named = {"crystal": self.crystal, "thermal": self.thermal, "follow": self.follow, "quench": self.quench}
        return {section: content for section, content in named.items() if content}


@cache
def named_protocols() -> dict[str, NamedProtocol]:
    """Return all protocols that have a name."""
    path = Path(__file__).with_name("protocols.toml")
    return {name: build(NamedProtocol, content, origin=str(path)) for name, content in read_toml(path).items()}


def named_protocol(name: object, *, origin: str) -> NamedProtocol:
    """Return a protocol by its name.

    Raises
    ------
    InputError
        If there is none.
    """
    known = named_protocols()
    if isinstance(name, str) and name in known:
        return known[name]
    close = closest(str(name), known)
    hint = f"did you mean `{close}`?" if close else f"known are {', '.join(known)}"
    raise InputError(f"{origin}: `protocol`: no protocol has the name {name!r}; {hint}")


def with_protocol(content: Mapping[str, Any], *, origin: str) -> dict[str, Any]:
    """Return the content of an input with what the protocol that it names says where the input says nothing.

    Raises
    ------
    InputError
        If it names none that is known.
    """
    if "protocol" not in content:
        return dict(content)
    filled = dict(content)
    for section, defaults in named_protocol(content["protocol"], origin=origin).sections.items():
        given = content.get(section, {})
        if isinstance(given, Mapping):  # anything else is complained about where its type is known
            has_size = section == "crystal" and any(key in given for key in _SIZE)
            filled[section] = {**({} if has_size else defaults), **given}
    return filled


def protocol_said(name: str | None, sections: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return in lines what a named protocol stands for, and what an input has in its place.

    Parameters
    ----------
    name : str, optional
        Of a protocol; without one there is nothing to say.
    sections : mapping
        The sections of the input with all their values.
    """
    if name is None:
        return []
    protocol = named_protocol(name, origin="input")
    lines = [f"protocol  {name}: {protocol.title} ({protocol.source})"]
    for section, says in protocol.sections.items():
        words = []
        for key, value in says.items():
            has = sections[section].get(key)
            words.append(f"{key} = {value}" if has == value else f"{key} = {has} in place of {value}")
        lines.append(f"          [{section}] {', '.join(words)}")
    return lines
