"""The verb that looks for threshold displacement energies, and what other verbs do with its folders."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from cascade_driver.commands.arguments import Verbs, add_verb
from cascade_driver.commands.options import add_input, built, given


def add_to(verbs: Verbs) -> None:
    """Add the verb of this module to the command."""
    about = "Find threshold displacement energies, or what is missing of them, direction by direction."
    add_verb(verbs, "threshold", _threshold, about, _options)


def _options(verb: argparse.ArgumentParser) -> None:
    add_input(verb, "DIR", "folder (default: runs/<input's name>)")


def _threshold(chosen: argparse.Namespace) -> int:
    from cascade_driver.config import WorkSpec
    from cascade_driver.terminal.console import make_console
    from cascade_driver.terminal.progress import watched_search
    from cascade_driver.terminal.thresholds import print_thresholds
    from cascade_driver.threshold_run import conclude_search, plan_search, said_of_plan

    built(chosen, WorkSpec)
    work = given(chosen, WorkSpec)
    planned = plan_search(chosen.input, out=chosen.out)
    console = make_console()
    for line in said_of_plan(planned):
        console.print(line, soft_wrap=True)
    if chosen.plan_only:
        return 0
    watched_search(planned, console=console, **work)
    print_thresholds(*conclude_search(planned.directory), console=console)
    return 0


def report_search(path: Path) -> int:
    """Write the tables and maps of a search again and print them."""
    from cascade_driver.campaign.rundir import RunDirectory
    from cascade_driver.terminal.console import make_console
    from cascade_driver.terminal.thresholds import print_thresholds
    from cascade_driver.threshold_run import conclude_search

    print_thresholds(*conclude_search(RunDirectory(path.resolve())), console=make_console())
    return 0


def status_of_search(path: Path, *, as_json: bool) -> int:
    """Print how far a search is."""
    import dataclasses
    import json

    from cascade_driver.terminal.console import make_console
    from cascade_driver.terminal.thresholds import print_search
    from cascade_driver.threshold_run import open_search, search_status

    status = search_status(open_search(path))
    if as_json:
        print(json.dumps(dataclasses.asdict(status), indent=1))
    else:
        print_search(status, console=make_console())
    return 0


def work_on_folder(path: Path, **ways: Any) -> int:
    """Be a worker of a search, in some of the ways of `work_on_search`."""
    from cascade_driver.threshold_run import open_search, work_on_search

    try:
        progress = work_on_search(
            open_search(path),
            executor="processes",
            observe=lambda _: None,
            tell=lambda said: print(said, flush=True),
            **ways,
        )
    except KeyboardInterrupt:
        print("stopped; what was in progress is free for others", flush=True)
        return 0
    print(f"{progress.done_here} directions finished here, {progress.done} of {progress.total} in all", flush=True)
    return 0
