"""The parser of the whole command line, with all verbs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from cascade_driver.commands import (
    background,
    campaigns,
    capture,
    comparison,
    completion,
    estimates,
    guide,
    new,
    potentials,
    schemas,
    spectra,
    thresholds,
    tls,
    training,
)
from cascade_driver.commands.arguments import Parser
from cascade_driver.commands.front import Command


def make_parser() -> Command:
    """Return the parser of `cascade`."""
    parser = Command(
        prog="cascade",
        description="From a knocked-on atom to the spectrum that a cryogenic detector really records.",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show versions and places, and exit")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", parser_class=Parser)
    for room in (
        new,
        campaigns,
        thresholds,
        comparison,
        estimates,
        spectra,
        capture,
        background,
        tls,
        potentials,
        training,
        schemas,
    ):
        room.add_to(verbs)
    guide.add_to(verbs, parser)
    completion.add_to(verbs, parser)
    return parser


class _Version(argparse.Action):
    """Says which code this is and where it lies; looked up only when it is asked for."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        del namespace, values, option_string
        from cascade_driver.files import data_folder
        from cascade_driver.simulation.provenance import versions_said

        print(versions_said())
        print(f"potentials in {data_folder('potentials')}")
        parser.exit()
