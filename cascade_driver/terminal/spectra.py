"""What is told of lines: in a spectrum, and of neutron capture."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from cascade_driver.text import value_with_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cascade_driver.sources.neutron_capture import CaptureLine
    from cascade_driver.spectra.line_fit import LineFit
    from cascade_driver.spectra.line_shift import ModelShift


def print_capture_lines(lines: Sequence[CaptureLine], *, first: int, title: str, console: Console) -> None:
    """Print the first of the lines of neutron capture, a row each, and the sources of all."""
    sources = list(dict.fromkeys(line.source for line in lines))
    headings = ("isotope", "gamma / keV", "recoil / eV", "per kg and day", "per 1e6 captures", "merit", "then")
    shown = Table(*headings, "source", title=title, title_justify="left")
    for column in shown.columns:
        column.justify = "right"
    for line in lines[:first]:
        shown.add_row(
            line.target,
            f"{line.gamma_keV:.2f}",
            f"{line.recoil_energy_eV:.2f}",
            value_with_error(line.rate_per_kg_day, line.rate_error_per_kg_day),
            value_with_error(line.per_million_captures, line.per_million_captures_error),
            "?" if line.figure_of_merit is None else f"{line.figure_of_merit:.4g}",
            "nothing" if line.is_single else f"from {line.final_level_keV:.1f} keV",
            f"[{sources.index(line.source) + 1}]",
        )
    console.print(shown)
    merit = "share of the isotope (%) x b x gammas per 100 captures x atoms of the element (1e22/cm3)"
    console.print(f"merit: {merit}", soft_wrap=True)
    for n, source in enumerate(sources, start=1):
        console.print(f"[{n}] {source}", highlight=False)


def print_lines(fit: LineFit, *, console: Console) -> None:
    """Print the lines that were fitted to a spectrum, a row each with standard errors."""
    shown = Table("line (eV)", "position (eV)", "shift (eV)", "width (eV)", "counts")
    for column in shown.columns:
        column.justify = "right"
    for line in fit.lines:
        shown.add_row(
            f"{line.reference_energy_eV:.2f}",
            value_with_error(line.position_eV, line.shift_error_eV),
            value_with_error(line.shift_eV, line.shift_error_eV),
            value_with_error(line.width_eV, line.width_error_eV),
            value_with_error(line.counts, line.counts_error),
        )
    console.print(shown)


def print_model_shifts(shifts: Sequence[ModelShift], *, console: Console) -> None:
    """Print how far a model moves lines, with its own error and what that is made of."""
    shown = Table("recoil", "E_R (eV)", "storing", "shift (eV)", "of this error", title="by the model alone")
    for column in shown.columns:
        column.justify = "right"
    for one in shifts:
        parts = ", ".join(
            f"{name} {value:.2g}" for name, value in one.parts_eV.items() if value > one.error_eV / 100
        )
        shown.add_row(
            one.species,
            f"{one.energy_eV:g}",
            f"{one.storing_share:.2f}",
            "-" if math.isnan(one.shift_eV) else value_with_error(one.shift_eV, one.error_eV),
            parts or "-",
        )
    console.print(shown)
    if any("assumptions" in one.parts_eV for one in shifts):
        console.print("note: the model has printed means, as if they were exact: they are no part of these errors")
