"""Verbs on the table of neutron capture: its lines in a target, and where it comes from."""

from __future__ import annotations

import argparse
from pathlib import Path

from cascade_driver.commands.arguments import (
    Verbs,
    add_verb,
    new_file,
    new_folder,
    no_kind,
    number,
    positive,
)

_COLUMNS = (
    "isotope",
    "gamma_keV",
    "final_level_keV",
    "recoil_eV",
    "per_million_captures",
    "per_million_captures_error",
    "source",
)


def add_to(verbs: Verbs) -> None:
    """Add the verbs of this module to the command."""
    verb = add_verb(verbs, "capture", no_kind, "List the lines of neutron capture, or make a table of them.")
    kinds = verb.add_subparsers(title="actions", metavar="ACTION")
    lines = add_verb(kinds, "lines", _lines, "List the recoils of single gammas after capture in a target.")
    lines.add_argument("target", metavar="FORMULA", help="e.g. CaWO4, TeO2, LiF, or CaWO4[W183=0.9]")
    lines.add_argument("--between-eV", type=number, nargs=2, dest="between_eV", metavar=("LOW", "HIGH"))
    lines.add_argument("--first", type=positive, default=20, metavar="N", help="to print (default: 20)")
    lines.add_argument("--table", type=Path, metavar="FOLDER", help="another capture table")
    lines.add_argument("--out", type=new_file, metavar="FILE.csv", help="all of them, with their sources")
    table = add_verb(kinds, "table", _table, "Make a capture table of the JSON files of EGAF.")
    table.add_argument("egaf", type=Path, metavar="EGAF_JSON", help="pyEGAF/EGAF_JSON of python_egaf")
    table.add_argument("--out", type=new_folder, required=True, metavar="FOLDER")


def _lines(chosen: argparse.Namespace) -> int:
    from rich.table import Table

    from cascade_driver.files import write_file
    from cascade_driver.sources.capture_table import capture_table
    from cascade_driver.sources.neutron_capture import capture_lines
    from cascade_driver.terminal import make_console

    low, high = chosen.between_eV or (0.0, float("inf"))
    found = [
        line
        for line in capture_lines(target=chosen.target, neutron_flux_cm2_s=1.0, table=capture_table(chosen.table))
        if low <= line.recoil_energy_eV <= high
    ]
    few = f", the first {chosen.first} of them (--first)" if chosen.first < len(found) else ""
    shown = Table(title=f"{len(found)} primary gammas after capture in {chosen.target}{few}", title_justify="left")
    for heading in ("isotope", "gamma / keV", "recoil / eV", "per 1e6 captures", "then"):
        shown.add_column(heading, justify="right")
    for line in found[: chosen.first]:
        shown.add_row(
            line.target,
            f"{line.gamma_keV:.2f}",
            f"{line.recoil_energy_eV:.2f}",
            f"{line.per_million_captures:.0f} +- {line.per_million_captures_error:.0f}",
            "nothing" if line.is_single else f"from {line.final_level_keV:.1f} keV",
        )
    console = make_console()
    console.print(shown)
    for source in dict.fromkeys(line.source for line in found):
        console.print(f"source: {source}", highlight=False, markup=False)
    if chosen.out:
        rows = [
            f"{line.target},{line.gamma_keV:.8g},{line.final_level_keV:.8g},{line.recoil_energy_eV:.6g},"
            f'{line.per_million_captures:.5g},{line.per_million_captures_error:.3g},"{line.source}"'
            for line in found
        ]
        write_file(chosen.out, "\n".join([",".join(_COLUMNS), *rows]) + "\n")
        print(f"{chosen.out}: {len(found)} lines")
    return 0


def _table(chosen: argparse.Namespace) -> int:
    from cascade_driver.sources.capture_table import capture_table
    from cascade_driver.sources.egaf import write_capture_table

    count = write_capture_table(chosen.egaf, chosen.out)
    lines = sum(len(isotope.lines) for isotope in capture_table(chosen.out).values())
    print(f"{chosen.out}: {count} isotopes with {lines} primary gammas")
    return 0
