"""The verb that holds campaigns side by side."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cascade_driver.commands.arguments import Verbs, add_json, add_verb, new_figure, run_or_model
from cascade_driver.commands.options import add_options, built

if TYPE_CHECKING:
    from cascade_driver.run_comparison import RunComparison


def add_to(verbs: Verbs) -> None:
    """Add the verb of this module to the command."""
    about = "Hold campaigns side by side: boxes, borders, times, potentials; what changes, and how sure that is."
    add_verb(verbs, "compare", _compare, about, _options)


def _options(verb: argparse.ArgumentParser) -> None:
    from cascade_driver.config import AnalysisSpec

    verb.add_argument(
        "runs",
        type=run_or_model,
        nargs="+",
        metavar="RUN",
        help="two or more runs, folders of `cascade import`, or the model cawo4 with its cascades (a folder of "
        "that name is ./cawo4); the first is held against each; or one run whose `[follow]` has "
        "`also_quench_at_ps`: its end is held against each of those times",
    )
    verb.add_argument(
        "--spectrum",
        type=Path,
        action="append",
        default=[],
        metavar="CSV",
        help="of recoils, beside the [[spectra]] of the first run: what the difference does to it",
    )
    verb.add_argument(
        "--figure",
        type=new_figure,
        metavar="STEM",
        help="defect probabilities, mean and all stored energies of both: STEM.png and STEM.pdf; of several runs "
        "STEM-1.png ..., of several species STEM-W.png ...",
    )
    add_options(verb, AnalysisSpec, only=["allow_failures"])
    add_json(verb)


def _compare(chosen: argparse.Namespace) -> int:
    from cascade_driver.config import AnalysisSpec
    from cascade_driver.run_comparison import compare_runs
    from cascade_driver.schema import without_nan
    from cascade_driver.spectrum import read_spectrum
    from cascade_driver.terminal.console import make_console
    from cascade_driver.terminal.runs import print_comparison

    console = make_console()
    found = list(
        compare_runs(
            chosen.runs,
            spectra=[read_spectrum(path) for path in chosen.spectrum],
            allow_failures=built(chosen, AnalysisSpec).allow_failures,
        )
    )
    for comparison in found:
        if chosen.json:
            print(json.dumps(without_nan(_plain(comparison))))
        else:
            print_comparison(comparison, console=console)
    if chosen.figure:
        files = _draw(found, chosen.figure)
        print(*files, sep="\n", file=sys.stderr if chosen.json else sys.stdout)
    return 0


def _draw(comparisons: Sequence[RunComparison], stem: Path) -> list[Path]:
    """Draw each comparison, a figure per species; what tells several apart is added to their names."""
    from cascade_driver.plot import comparison_figure, save_figure

    files = []
    for number, one in enumerate(comparisons, start=1):
        species = sorted({d.species for d in one.differences})
        for name in species:
            parts = [stem.name]
            parts += [str(number)] if len(comparisons) > 1 else []
            parts += [name] if len(species) > 1 else []
            figure = comparison_figure(
                one.differences, name, names=(one.first, one.second), potential_status=one.potential_status
            )
            files += save_figure(figure, stem.with_name("-".join(parts)))
    return files


def _plain(comparison: RunComparison) -> dict[str, Any]:
    from cascade_driver.analysis.comparison import verdict

    content = dataclasses.asdict(comparison)
    for told, one in zip(content["differences"], comparison.differences, strict=True):
        told["equal_within"] = one.equal_within
        del told["samples"]
    for spectrum in content["spectra"]:
        spectrum |= {name: value.tolist() for name, value in spectrum.items() if hasattr(value, "tolist")}
    return content | {"verdict": verdict(comparison.differences)}
