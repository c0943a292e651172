"""What is told of threshold displacement energies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from cascade_driver.terminal.console import headed
from cascade_driver.text import duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cascade_driver.threshold_run import SearchStatus
    from cascade_driver.thresholds.summary import GroupThresholds


def print_search(status: SearchStatus, *, console: Console) -> None:
    """Print how far a search for thresholds is."""
    console.print(headed(status.title, f"  potential {status.potential} ({status.potential_status})"))
    console.print(
        f"{status.finished} of {status.directions} directions finished, {status.in_progress} tasks in progress"
        + (f", {status.attempts_under_way} attempts made of the others" if status.attempts_under_way else "")
        + ("" if status.starts else "; the starting states are not made yet")
    )
    if status.cpu_s_left:
        at_work = "nobody is at work: `cascade threshold` goes on"
        if status.wall_s_left:
            at_work = f"with {status.in_progress} at work about {duration(status.wall_s_left)}"
        console.print(f"about {duration(status.cpu_s_left)} of CPU time left, {at_work}")
    shown = Table()
    for heading in ("atom", "directions", "attempts", "met image", "failures", "CPU s", "mean E_d / eV"):
        shown.add_column(heading, justify="right")
    for one in status.groups:
        mean = one.mean_of_finished_eV
        shown.add_row(
            one.atom,
            f"{one.finished}/{one.directions}",
            *(str(value) for value in (one.attempts, one.met_image, one.failures, one.cpu_s)),
            "-" if mean is None else f"{mean:.1f}",
        )
    console.print(shown)


def print_thresholds(found: Sequence[GroupThresholds], files: Sequence[Path], *, console: Console) -> None:
    """Print threshold displacement energies and what was written."""
    shown = Table(title="threshold displacement energies / eV, with 68 % intervals")
    for heading in ("atom", "directions", "mean", "median", "lowest direction", "attempts", "CPU s each"):
        shown.add_column(heading, justify="right")
    for one in found:
        attempts = sum(row.attempts for row in one.directions)
        cpu_s = sum(row.cpu_s for row in one.directions)
        shown.add_row(
            one.group.name,
            f"{len(one.directions)}/{len(one.group.vectors)}",
            *(
                f"{e.value:.1f} ({e.low:.1f} to {e.high:.1f})"
                for e in (one.mean_eV, one.median_eV, one.minimum_eV)
            ),
            str(attempts),
            f"{cpu_s / len(one.directions):.3g}",
        )
    console.print(shown)
    for one in found:
        if one.group.wanted.directions.scheme == "list":
            console.print(
                f"note: {one.group.name}: mean and median are those of the listed directions, not of the solid "
                "angle; scheme symmetry or random samples it",
                soft_wrap=True,
            )
        if unknown := sum(not row.is_known for row in one.directions):
            console.print(
                f"note: {one.group.name}: {unknown} of {len(one.directions)} directions ended at most_attempts "
                f"= {one.group.wanted.most_attempts} before they were known as well as asked",
                soft_wrap=True,
            )
        if one.beyond > 0.01:
            console.print(
                f"note: {one.group.name}: {one.beyond:.0%} of the solid angle lie above highest_eV = "
                f"{one.group.wanted.highest_eV:g} and are counted there; raise it",
                soft_wrap=True,
            )
        if met := sum(row.met_image for row in one.directions):
            console.print(
                f"note: {one.group.name}: in {met} attempts damage came near its own image; a larger box tells "
                "whether that matters",
                soft_wrap=True,
            )
        if one.tail_said:
            console.print(f"note: {one.group.name}: {one.tail_said}", soft_wrap=True)
    console.print("written:")
    for file in files:
        console.print(f"  {file}", soft_wrap=True)
