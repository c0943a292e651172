"""What is told of potentials: their files, checks, comparisons, and the frames that they are made of."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from cascade_driver.terminal.console import headed
from cascade_driver.text import duration, value_with_error, visible

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cascade_driver.analysis.comparison import Estimate
    from cascade_driver.potential_comparison import Foreseen
    from cascade_driver.simulation.potential import Potential
    from cascade_driver.training.importing import Imported
    from cascade_driver.training.relax import Relaxation


def print_potentials(potentials: list[Potential], *, console: Console) -> None:
    """Print a line per potential."""
    shown = Table()
    for heading in ("name", "species", "status", "what"):
        shown.add_column(heading)
    for p in potentials:
        shown.add_row(p.name, " ".join(p.species), p.about.status, p.about.title)
    console.print(shown)


def print_potential(potential: Potential, *, console: Console) -> None:
    """Print what a potential says of itself, and how to use it in a bare LAMMPS script."""
    about = potential.about
    console.print(headed(potential.name, f"  {about.title}"))
    console.print(f"folder    {potential.folder}{' (shipped)' if potential.is_shipped else ''}", soft_wrap=True)
    console.print(f"status    {about.status}")
    types = ", ".join(f"{i} {s}" for i, s in enumerate(about.species, start=1))
    console.print(f"types     {types}; LAMMPS units metal; cutoff {about.cutoff_A:g} A")
    for pair, switch in about.zbl.items():
        console.print(f"ZBL       {pair} up to {switch.inner_A:g} A, body from {switch.outer_A:g} A")
    console.print(f"digest    {potential.digest}")
    console.print(f"origin    {about.origin}")
    console.print(f"license   {about.license}")
    console.print(about.description.strip())
    for part in potential.parts or (potential,):
        use = " to follow" if part is potential.follow else " to quench" if part is potential.quench else ""
        console.print(f"in a bare LAMMPS script, after the box exists{use and f', {part.name}{use}'}:")
        for command in (f'variable potential_dir index "{part.folder}"', f'include "{part.include_path}"'):
            console.print(f"    {command}", soft_wrap=True)
        if part.elsewhere:
            console.print(
                f"    # of a copy, this folder lacks {', '.join(part.elsewhere)}: "
                f"cascade potential copy {part.name} --out {part.name}",
                soft_wrap=True,
            )


def print_foreseen(foreseen: Mapping[str, Foreseen], *, console: Console) -> None:
    """Print what the potentials of a comparison cost, in CPU time of this machine."""
    shown = Table("potential", "us per atom-step", "cascades", "CPU time")
    for name, one in foreseen.items():
        shown.add_row(name, f"{one.us_per_atom_step:.3g}", str(one.cascades), duration(one.cpu_s))
    console.print(shown)
    console.print(f"about {duration(sum(one.cpu_s for one in foreseen.values()))} of CPU time in all")


def print_potential_comparison(
    names: Sequence[str],
    rows: Sequence[tuple[str, str, float | None, tuple[Estimate, ...]]],
    *,
    console: Console,
) -> None:
    """Print several potentials in one crystal, a quantity in each row."""
    shown = Table("", "unit", "experiment", *names)
    for name, unit, reference, found in rows:
        known = "" if reference is None else f"{reference:.4g}"
        told = ("-" if math.isnan(one.value) else value_with_error(one.value, one.error) for one in found)
        shown.add_row(name, unit, known, *told)
    console.print(shown)


def watched_check(potential: Potential, *, crystals: Sequence[str], console: Console) -> int:
    """Put a potential through the contract, a line for each check as it comes, and keep what was found.

    Returns
    -------
    int
        0 if all is well, 1 if a check failed, 3 if checks could not be run.
    """
    from functools import partial

    from cascade_driver.simulation.lammps_build import chosen
    from cascade_driver.simulation.lammps_engine import LammpsEngine
    from cascade_driver.validation.builds import record_contract, require_lammps
    from cascade_driver.validation.checked import place_of_memory, remember
    from cascade_driver.validation.contract import (
        CRYSTAL_CHECKS,
        ContractResult,
        check_apart,
        contract_crystals,
    )

    def show(result: ContractResult) -> None:
        verdict, style = ("passed", "green") if result.passed else ("FAILED", "bold red")
        value = "-" if math.isnan(result.measured) else f"{result.measured:.3g} {result.unit}".rstrip()
        console.print(
            headed(verdict, f"  {result.name}, {result.subject}: {value} ({result.requirement})", style=style)
        )
        if not result.passed:
            console.print(f"        {result.remedy}")

    console.print(headed(potential.name_and_place, f", {potential.about.status}"))
    if not (own := chosen()).is_installed:
        console.print(f"LAMMPS    {own.name}", soft_wrap=True)
    require_lammps(potential)
    boxes = contract_crystals(potential, crystals)
    make_engine = partial(LammpsEngine, potential=potential)
    results = check_apart(potential, make_engine=make_engine, crystals=boxes, progress=show)
    record_contract(potential, results)
    failed = sum(not r.passed for r in results)
    summary = f"{len(results) - failed} checks passed" + (f", {failed} failed" if failed else "")
    if not boxes:
        console.print(
            f"{summary}, {len(CRYSTAL_CHECKS)} not run, because potential.toml names no crystal: "
            "say --crystal NAME or --crystal FILE"
        )
        return 1 if failed else 3
    console.print(summary)
    try:
        remember(potential, results, boxes)
    except OSError as error:
        place = place_of_memory(potential)
        console.print(
            f"note: {place} cannot be written ({error.strerror}); nothing remembers this", soft_wrap=True
        )
    return 1 if failed else 0


def print_relaxations(found: Sequence[Relaxation], *, console: Console) -> None:
    """Print how structures came to rest; energies count from the crystal, if one of them is of that group."""
    from cascade_driver.training.frames import PERFECT

    crystal_eV = next((one.energy_eV for one in found if one.group == PERFECT and one.is_at_rest), None)
    shown = Table(title="Relaxations", title_justify="left")
    for heading in ("structure", "group", "steps", "change (eV)", "moved (A)", "largest force (eV/A)"):
        shown.add_column(heading, justify="left" if heading == "group" else "right")
    if crystal_eV is not None:
        shown.add_column("above the crystal (eV)", justify="right")
    for one in found:
        row = [
            one.name,
            visible(one.group),
            str(one.steps),
            f"{one.energy_eV - one.start_energy_eV:+.3f}",
            f"{one.largest_displacement_A:.2f}",
            f"{one.largest_force_eV_A:.3f}" + ("" if one.is_at_rest else ", not at rest"),
        ]
        shown.add_row(*row, *([] if crystal_eV is None else [f"{one.energy_eV - crystal_eV:.3f}"]))
    console.print(shown)


def print_imported(found: Sequence[Imported], *, console: Console) -> None:
    """Print what became of each file of labels, and why frames were left out."""
    table = Table(box=None, pad_edge=False)
    for name in ("file", "by"):
        table.add_column(name)
    for name in ("taken", "left out", "groups", "trajectories"):
        table.add_column(name, justify="right")
    for one in found:
        left = sum(map(len, one.left_out.values()))
        names = sorted({frame.group for frame in one.frames if frame.group})
        groups = ", ".join(names) if len(names) < 4 else f"{len(names)}, {names[0]} to {names[-1]}"
        runs = len({frame.trajectory for frame in one.frames})
        table.add_row(str(one.path), one.program, str(len(one.frames)), str(left), groups, str(runs))
    console.print(table)
    for one in found:
        for reason, numbers in one.left_out.items():
            console.print(f"{one.path}: left out {_numbers(numbers)}: {reason}", soft_wrap=True)
        for note in one.notes:
            console.print(f"{one.path}: {note}", soft_wrap=True)


def _numbers(numbers: Sequence[int]) -> str:
    """Return numbers of frames in few words: `frames 0-3, 7`.

    >>> _numbers([0, 1, 2, 5, 7, 8])
    'frames 0-2, 5, 7-8'
    """
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    words = [f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs]
    return f"frame{'s' if len(numbers) > 1 else ''} {', '.join(words)}"
