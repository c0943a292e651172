"""The verb that holds campaigns side by side."""

from __future__ import annotations

import argparse
import dataclasses
import json

from cascade_driver.commands.arguments import Verbs, a_run, add_json, add_verb
from cascade_driver.commands.options import add_options, built


def add_to(verbs: Verbs) -> None:
    """Add the verb of this module to the command."""
    about = "Hold campaigns side by side: boxes, borders, times, potentials; what changes, and how sure that is."
    add_verb(verbs, "compare", _compare, about, _options)


def _options(verb: argparse.ArgumentParser) -> None:
    from cascade_driver.config import AnalysisSpec

    verb.add_argument(
        "runs",
        type=a_run,
        nargs="+",
        metavar="RUN",
        help="two or more, the first is held against each; or one whose `[follow]` has `also_quench_at_ps`: its "
        "end is held against each of those times",
    )
    add_options(verb, AnalysisSpec, only=["allow_failures"])
    add_json(verb)


def _compare(chosen: argparse.Namespace) -> int:
    from cascade_driver.analysis.comparison import compare
    from cascade_driver.campaign.contents import contents_of, earlier_tables
    from cascade_driver.campaign.rundir import RunDirectory
    from cascade_driver.config import AnalysisSpec
    from cascade_driver.errors import InputError
    from cascade_driver.terminal import make_console, print_differences

    runs = [RunDirectory(path.resolve()) for path in chosen.runs]
    contents = [contents_of(run) for run in runs]
    first = contents[0].table()
    others = {str(path): there.table() for path, there in zip(chosen.runs[1:], contents[1:], strict=True)}
    if not others:
        earlier = earlier_tables(runs[0], contents[0])
        others = {f"{chosen.runs[0]} after {time_ps:g} ps": table for time_ps, table in earlier.items()}
    if not others:
        raise InputError(
            f"one run ({chosen.runs[0]}) without earlier quenches cannot be compared; name two or more, or give "
            "`also_quench_at_ps` in [follow] of its input"
        )
    console = make_console()
    for name, table in others.items():
        found = compare(first, table, allow_failures=built(chosen, AnalysisSpec).allow_failures)
        if chosen.json:
            rows = [dataclasses.asdict(difference) for difference in found]
            print(json.dumps({"first": str(chosen.runs[0]), "second": name, "differences": rows}))
        else:
            print_differences(found, first=str(chosen.runs[0]), second=name, console=console)
    return 0
