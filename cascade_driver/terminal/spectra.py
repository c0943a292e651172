"""What is told of lines in a spectrum."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from cascade_driver.text import value_with_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cascade_driver.spectra.line_fit import LineFit
    from cascade_driver.spectra.line_shift import ModelShift


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
