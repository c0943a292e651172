"""The reference of all keys of inputs, made of the types that read them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cascade_driver.json_schema import SCHEMAS, json_schema

#: What people write, in the order of the reference; the other schemas are of what programs write.
WRITTEN = ("input", "threshold", "film", "fit", "labels", "potential")


@dataclass(frozen=True, kw_only=True)
class Section:
    """A group of keys of an input.

    Attributes
    ----------
    place : str
        Where it stands: `[follow]`, `[[recoils]]`, or nothing for the top of the file.
    schema : mapping
        Its JSON schema.
    """

    place: str
    schema: Mapping[str, Any]

    @property
    def heading(self) -> str:
        """Its place, and what tells it from others in the same place."""
        fixed = {name: of["const"] for name, of in self.schema["properties"].items() if _is_fixed(of)}
        told = [f'`{name} = "{value}"`' for name, value in fixed.items()]
        place = f"`{self.place}`" if self.place else "At the top"
        return f"{place} with {' and '.join(told)}" if told else place


def keys_reference() -> str:
    """Return the reference as Markdown: a table of keys for each section of each kind of input."""
    lines: list[str] = []
    for of in WRITTEN:
        about, _ = SCHEMAS[of]
        lines += [f"## {about[0].upper()}{about[1:]}", ""]
        for section in sections(json_schema(of)):
            lines += [*_told(section), ""]
    return "\n".join(lines)


def sections(schema: Mapping[str, Any]) -> Iterator[Section]:
    """Return the groups of keys of an input, each after the one that holds it."""
    known = schema.get("$defs", {})
    queue = [("", one) for one in _objects(schema, known)]
    seen: set[tuple[str, str]] = set()
    while queue:
        place, found = queue.pop(0)
        if (key := (place, str(found.get("title")) + str(found.get("description")))) in seen:
            continue
        seen.add(key)
        yield Section(place=place, schema=found)
        inner = [
            (_place(place, name, of), one)
            for name, of in found["properties"].items()
            for one in _objects(of, known)
        ]
        queue = inner + queue


def _objects(schema: Mapping[str, Any], known: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the groups of keys that a value may be, in lists and unions, too."""
    if "$ref" in schema:
        return _objects(known[schema["$ref"].rpartition("/")[2]], known)
    if schema.get("properties"):
        return [schema]
    parts = [*schema.get("anyOf", ()), *schema.get("oneOf", ())]
    parts += [inner for name in ("items", "additionalProperties") if isinstance(inner := schema.get(name), dict)]
    return [one for part in parts for one in _objects(part, known)]


def _place(place: str, name: str, of: Mapping[str, Any]) -> str:
    bare = place.strip("[]")
    whole = f"{bare}.{name}" if bare else name
    kinds = [of, *of.get("anyOf", ())]
    if any("items" in kind for kind in kinds):
        return f"[[{whole}]]"
    return (
        f"[{whole}.NAME]" if any(isinstance(k.get("additionalProperties"), dict) for k in kinds) else f"[{whole}]"
    )


def _told(section: Section) -> list[str]:
    lines = [f"### {section.heading}", "", section.schema.get("description", ""), ""]
    lines += ["| key | value | default | what |", "| --- | --- | --- | --- |"]
    required = section.schema.get("required", ())
    for name, of in sorted(section.schema["properties"].items(), key=lambda one: one[0] not in required):
        default = "needed" if name in required else _default(of)
        cells = (f"`{name}`", _kind(of), default, of.get("description", ""))
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return lines


def _is_fixed(of: Mapping[str, Any]) -> bool:
    return of.get("type") == "string" and "const" in of


def _default(of: Mapping[str, Any]) -> str:
    value = of.get("default")
    if value is None or value in ("", [], {}) or isinstance(value, dict):
        return ""
    return f"`{_as_toml(value)}`"


def _as_toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(_as_toml, value))}]"
    return f'"{value}"' if isinstance(value, str) else f"{value:g}" if isinstance(value, float) else str(value)


#: How kinds of values are called.
_KINDS = {
    "string": "text",
    "number": "number",
    "integer": "whole number",
    "boolean": "true or false",
    "object": "table",
}


def _kind(of: Mapping[str, Any]) -> str:
    """Return what a value may be, in words."""
    if "const" in of:
        return f"`{_as_toml(of['const'])}`"
    if "enum" in of:
        return " or ".join(f"`{_as_toml(value)}`" for value in of["enum"])
    for union in ("anyOf", "oneOf"):
        if union in of:
            parts = [_kind(part) for part in of[union] if part.get("type") != "null"]
            return " or ".join(dict.fromkeys(parts))
    if of.get("type") == "array":
        if "prefixItems" in of:
            return f"[{', '.join(map(_kind, of['prefixItems']))}]"
        items = _kind(of.get("items", {}))
        return "tables" if items == "table" else f"list of: {items}"
    kind = _KINDS.get(of.get("type", "object"), "value")
    limits = [
        f"{sign} {of[name]:g}"
        for name, sign in (
            ("exclusiveMinimum", ">"),
            ("minimum", "≥"),
            ("exclusiveMaximum", "<"),
            ("maximum", "≤"),
        )
        if name in of
    ]
    return f"{kind} {', '.join(limits)}".strip()
