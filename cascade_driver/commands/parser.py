"""The parser of the whole command line, with all verbs."""

from __future__ import annotations

from cascade_driver import __version__
from cascade_driver.commands import campaigns, capture, comparison, potentials, relaxation, spectra, training
from cascade_driver.commands.arguments import Parser


def make_parser() -> Parser:
    """Return the parser of `cascade`."""
    parser = Parser(
        prog="cascade",
        description="From a knocked-on atom to the spectrum that a cryogenic detector really records.",
    )
    parser.add_argument("--version", action="version", version=f"cascade_driver {__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB")
    for room in (campaigns, comparison, spectra, capture, relaxation, potentials, training):
        room.add_to(verbs)
    return parser
