"""Verbs on the table of neutron capture: its lines in a target, and where it comes from."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from cascade_driver.commands.arguments import Verbs, add_out, add_verb, no_kind, number, positive
from cascade_driver.commands.options import add_keywords, keywords
from cascade_driver.errors import InputError

_COLUMNS = (
    "isotope",
    "gamma_keV",
    "final_level_keV",
    "recoil_eV",
    "rate_per_kg_day",
    "rate_error_per_kg_day",
    "per_million_captures",
    "per_million_captures_error",
    "figure_of_merit",
    "source",
)


def add_to(verbs: Verbs) -> None:
    """Add the verbs of this module to the command."""
    verb = add_verb(verbs, "capture", no_kind, "List the lines of neutron capture, or make a table of them.")
    kinds = verb.add_subparsers(title="actions", metavar="ACTION")
    about = "List the recoils of single gammas after capture in a target."
    add_verb(kinds, "lines", _lines, about, _options_lines)
    table = add_verb(kinds, "table", _table, "Make a capture table of the JSON files of EGAF.")
    table.add_argument("egaf", type=Path, metavar="EGAF_JSON", help="pyEGAF/EGAF_JSON of python_egaf")
    add_out(table, "FOLDER", is_folder=True)


def _options_lines(lines: argparse.ArgumentParser) -> None:
    lines.add_argument("target", metavar="FORMULA", help="e.g. CaWO4, TeO2, LiF, or CaWO4[W183=0.9]")
    lines.add_argument("--between-eV", type=number, nargs=2, dest="between_eV", metavar=("LOW", "HIGH"))
    lines.add_argument("--table", type=Path, metavar="FOLDER", help="a table of your own, of some elements or all")
    add_line_options(lines)
    add_out(lines, "FILE.csv", "all of them, with their sources", required=False)


def add_line_options(verb: argparse._ActionsContainer) -> None:
    """Add the options of `list_lines`."""
    from cascade_driver.sources.neutron_capture import capture_lines

    verb.add_argument("--first", type=positive, metavar="N", help="to print (default: 20)")
    add_keywords(verb, capture_lines, "neutron_flux_cm2_s", "density_g_cm3")


def _lines(chosen: argparse.Namespace) -> int:
    return list_lines(chosen, target=chosen.target, table=chosen.table, between_eV=chosen.between_eV)


def list_lines(
    chosen: argparse.Namespace, *, target: str, table: Path | None, between_eV: Sequence[float] | None
) -> int:
    """Print the lines of neutron capture in a target, and write them to a file if one is named."""
    from cascade_driver.files import write_file
    from cascade_driver.sources.capture_table import capture_table
    from cascade_driver.sources.neutron_capture import capture_lines, capture_notes, line_notes
    from cascade_driver.terminal.console import make_console
    from cascade_driver.terminal.spectra import print_capture_lines

    low, high = between_eV or (0.0, float("inf"))
    if not low < high:
        raise InputError(f"recoils between {low:g} and {high:g} eV, expected the lower energy first")
    asked = keywords(chosen, capture_lines)
    isotopes = capture_table(table)
    every = capture_lines(target=target, table=isotopes, **asked)
    found = [line for line in every if low <= line.recoil_energy_eV <= high]
    first = chosen.first or 20
    few = f", the first {first} of them (--first)" if first < len(found) else ""
    flux = asked.get("neutron_flux_cm2_s", 1.0)
    title = f"{len(found)} primary gammas after capture in {target} at {flux:g} n/(cm2 s){few}"
    print_capture_lines(found, first=first, title=title, console=make_console())
    for note in (*capture_notes(target=target, table=isotopes), *line_notes(found)):
        print(f"note: {note}", file=sys.stderr)
    if found and found[0].figure_of_merit is None:
        print(f"note: no density is known of {target}, for the figure of merit (--density-g-cm3)", file=sys.stderr)
    if chosen.out:
        rows = [
            f"{line.target},{line.gamma_keV:.8g},{line.final_level_keV:.8g},{line.recoil_energy_eV:.6g},"
            f"{line.rate_per_kg_day:.6g},{line.rate_error_per_kg_day:.3g},"
            f"{line.per_million_captures:.5g},{line.per_million_captures_error:.3g},"
            f'{"" if line.figure_of_merit is None else f"{line.figure_of_merit:.6g}"},"{line.source}"'
            for line in found
        ]
        write_file(chosen.out, "\n".join([",".join(_COLUMNS), *rows]) + "\n")
        print(f"{chosen.out}: {len(found)} lines")
    return 0


def _table(chosen: argparse.Namespace) -> int:
    from cascade_driver.sources.capture_table import read_capture_table
    from cascade_driver.sources.egaf import write_capture_table

    count = write_capture_table(chosen.egaf, chosen.out)
    lines = sum(len(isotope.lines) for isotope in read_capture_table(chosen.out.resolve()).values())
    print(f"{chosen.out}: {count} isotopes with {lines} primary gammas")
    return 0
