"""The verb that writes JSON schemas, by which editors complete and check what people write."""

from __future__ import annotations

import argparse

from cascade_driver.commands.arguments import Verbs, add_out, add_verb


def add_to(verbs: Verbs) -> None:
    """Add the verb of this module to the command."""
    about = "Write the JSON schema of inputs and results, by which an editor completes them."
    add_verb(verbs, "schema", _schema, about, _options)


def _options(verb: argparse.ArgumentParser) -> None:
    from cascade_driver.json_schema import SCHEMAS

    said = "; ".join(f"{name}: {about}" for name, (about, _) in SCHEMAS.items())
    verb.add_argument("of", nargs="?", choices=list(SCHEMAS), default="input", help=f"{said} (default: input)")
    add_out(verb, "FILE.json", "instead of printing it", required=False)


def _schema(chosen: argparse.Namespace) -> int:
    import json

    from cascade_driver.files import write_file
    from cascade_driver.json_schema import json_schema

    text = json.dumps(json_schema(chosen.of), indent=1)
    if chosen.out is None:
        print(text)
        return 0
    write_file(chosen.out, text + "\n")
    print(f"{chosen.out}: written; `#:schema {chosen.out}` as the first line of a TOML file names it to an editor")
    return 0
