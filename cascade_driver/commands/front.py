"""What `cascade --help` shows: verbs by what one wants of them, each group with an example."""

from __future__ import annotations

import argparse
import textwrap

from cascade_driver.commands.arguments import Parser

#: What one wants, an example of it, and its verbs in the order in which one needs them.
GROUPS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("begin", "cascade guide start", ("guide", "new", "schema", "completion")),
    (
        "run cascades, here and on clusters",
        "cascade run quickstart.toml",
        ("run", "submit", "work", "status", "verify"),
    ),
    (
        "look at what came out",
        "cascade ls runs/quickstart --sort stored",
        ("report", "ls", "show", "defects", "compare", "plan", "export", "reproduce", "cite"),
    ),
    (
        "spectra, and what a detector sees of them",
        "cascade correct cawo4-published mine.csv --out seen.csv",
        ("spectrum", "correct", "draw", "fit", "import", "modulation"),
    ),
    (
        "calibrate with neutron capture",
        "cascade capture lines CaWO4 --between-eV 50 200",
        ("capture", "lines"),
    ),
    ("potentials", "cascade potential list", ("potential", "train")),
    (
        "thresholds and estimates",
        "cascade estimate pairs --target Si --displacement-eV Si=20 --energies-eV 100",
        ("threshold", "estimate"),
    ),
    (
        "what relaxes without a recoil",
        "cascade background film film.toml --out film.csv",
        ("background", "tls"),
    ),
)

_WIDTH = 79


class Command(Parser):
    """The parser of the whole command, whose help is in groups."""

    def format_help(self) -> str:
        """Return the help of the command."""
        (verbs,) = (action for action in self._actions if isinstance(action, argparse._SubParsersAction))
        about = {one.dest: one.help or "" for one in verbs._choices_actions}
        lines = ["usage: cascade VERB ...", "", *textwrap.wrap(self.description or "", _WIDTH), ""]
        lines += ["`cascade guide` is the guide, `cascade VERB --help` tells one verb, `--version` this one."]
        for title, example, names in GROUPS:
            lines += ["", f"{title}:", f"  $ {example}"]
            for name in names:
                lines += textwrap.wrap(
                    about[name], _WIDTH, initial_indent=f"  {name:11} ", subsequent_indent=" " * 14
                )
        return "\n".join(lines) + "\n"
