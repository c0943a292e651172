"""Verbs on runs: plan and run cascades, watch them, fit what they say."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cascade_driver.commands.arguments import (
    DIRECTION,
    SECONDS,
    WHICH_CASCADE,
    Verbs,
    add_cascade,
    add_json,
    add_out,
    add_run,
    add_verb,
    any_path,
    count,
    new_figure,
    new_file,
    new_folder,
    run_or_model,
    words,
)
from cascade_driver.commands.options import (
    add_input,
    add_keywords,
    add_options,
    built,
    given,
    keywords,
    options_given,
    refuse_alone,
)
from cascade_driver.commands.thresholds import report_search, status_of_search, work_on_folder
from cascade_driver.errors import FitError, InputError
from cascade_driver.text import visible

if TYPE_CHECKING:
    from rich.console import Console

    from cascade_driver.campaign.plan import Campaign
    from cascade_driver.campaign.rundir import RunDirectory
    from cascade_driver.campaign.slurm import ArrayRequest
    from cascade_driver.config import AnalysisSpec
    from cascade_driver.workflow import PlannedRun


def add_to(verbs: Verbs) -> None:
    """Add the verbs of this module to the command."""
    _add_run(verbs)
    _add_submit(verbs)
    _add_work(verbs)
    _add_status(verbs)
    _add_verify(verbs)
    _add_export(verbs)
    _add_list(verbs)
    _add_show(verbs)
    _add_defects(verbs)
    _add_reproduce(verbs)
    _add_import(verbs)
    _add_fit(verbs)
    _add_report(verbs)
    _add_advice(verbs)
    _add_cite(verbs)


def _add_run(verbs: Verbs) -> None:
    about = "Run a campaign, or what is missing of it, and what its input asks for."
    add_verb(verbs, "run", _run, about, _options_run)


def _options_run(verb: argparse.ArgumentParser) -> None:
    add_input(verb, "RUN", "run directory (default: runs/<input's name>)")
    verb.add_argument(
        "--replace-plan",
        action="store_true",
        help="take the place of another campaign in RUN; its finished cascades stay on the disk, uncounted",
    )
    _add_retries(verb)


def _add_submit(verbs: Verbs) -> None:
    add_verb(verbs, "submit", _submit, "Give what is missing of a run to a batch system.", _options_submit)


def _options_submit(verb: argparse.ArgumentParser) -> None:
    from cascade_driver.campaign.slurm import ArrayRequest
    from cascade_driver.config import WorkSpec

    add_run(verb)
    verb.add_argument("--slurm", action="store_true", required=True, help="as a Slurm array")
    time: Any = {"metavar": "HH:MM:SS"}
    extra: Any = {"action": "append", "metavar": "=--X=Y"}
    setup: Any = {"action": "append", "metavar": "LINE"}
    add_options(verb, ArrayRequest, names={"extra": "--option"}, time=time, extra=extra, setup=setup)
    add_options(verb, WorkSpec, only=["allow_failed_contract"])
    verb.add_argument("--dry-run", action="store_true", help="write the job script and stop")
    _add_retries(verb)


def _add_retries(verb: argparse.ArgumentParser) -> None:
    from cascade_driver.simulation.outcome import Outcome

    failures = [outcome.key for outcome in Outcome if not outcome.is_usable]
    verb.add_argument(
        "--redo-failed",
        action="store_true",
        help="try recorded failures again; their records go to RUN/superseded",
    )
    verb.add_argument(
        "--redo-outcome",
        action="append",
        default=[],
        choices=failures,
        metavar="OUTCOME",
        help=f"only those: {', '.join(failures)}",
    )


def _add_work(verbs: Verbs) -> None:
    about = "Be one of many workers on a run that was planned; job scripts call this."
    add_verb(verbs, "work", _work, about, _options_work)


def _options_work(verb: argparse.ArgumentParser) -> None:
    from cascade_driver.config import WorkSpec
    from cascade_driver.workflow import work_on

    add_run(verb)
    add_options(verb, WorkSpec, only=["workers", "allow_failed_contract"])
    add_keywords(verb, work_on, "until_s", names={"until_s": "--until"}, until_s=SECONDS)
    # Stop when this claim is over, or when the standard input ends: how the executor dask holds its pilots.
    verb.add_argument("--lease", type=Path, help=argparse.SUPPRESS)


def _add_status(verbs: Verbs) -> None:
    verb = add_verb(verbs, "status", _status, "Show how far a run is and what it has found so far.")
    add_run(verb)
    add_json(verb)


def _add_verify(verbs: Verbs) -> None:
    verb = add_verb(
        verbs, "verify", _verify, "Read and hash everything in a run again; `cascade run` repairs what it names."
    )
    add_run(verb)


def _add_export(verbs: Verbs) -> None:
    verb = add_verb(verbs, "export", _export, "Write what is finished so far as tables, database or structures.")
    add_run(verb)
    verb.add_argument(
        "--table", type=new_file, action="append", default=[], metavar="FILE", help=".csv or .parquet"
    )
    verb.add_argument("--ase-db", type=new_file, dest="ase_db", metavar="FILE.db", help="for `ase db`")
    verb.add_argument(
        "--structures", type=new_folder, metavar="FOLDER", help="final structures as extxyz, for OVITO"
    )
    verb.add_argument(
        "--trajectories", type=new_folder, metavar="FOLDER", help="what `[work] trajectory` kept, for OVITO"
    )
    verb.add_argument(
        "--spectra",
        type=new_file,
        metavar="FILE",
        help="what its input asks for, as histograms with the members of their error bands: .json, .h5 or .root",
    )
    response = verb.add_argument_group("the response, P(observed energy given recoil energy) in bins")
    response.add_argument("--response", type=new_file, metavar="FILE", help=".npz, .h5 or .root")
    response.add_argument(
        "--energy-eV",
        type=float,
        nargs=2,
        dest="energy_eV",
        metavar=("LOW", "HIGH"),
        help="default: what was simulated",
    )
    response.add_argument("--bin-eV", type=float, dest="bin_eV", metavar="E", help="default: 1")
    response.add_argument(
        "--members", type=partial(count, most=10_000), metavar="N", help="of its bootstrap, for its errors"
    )


def _add_list(verbs: Verbs) -> None:
    add_verb(verbs, "ls", _list, "List the cascades of a run and what became of them.", _options_list)


def _options_list(verb: argparse.ArgumentParser) -> None:
    from cascade_driver.campaign.listing import listed

    add_run(verb)
    names = {"reverse": "--reverse", "recoil_energy_eV": "--energy-eV"}
    add_keywords(verb, listed, "sort", "reverse", "species", "recoil_energy_eV", "outcome", names=names)
    add_json(verb)


def _add_show(verbs: Verbs) -> None:
    verb = add_verb(verbs, "show", _show, "Show one cascade of a run.")
    add_run(verb)
    verb.add_argument("id", nargs="?", help=f"{WHICH_CASCADE}; without it, all are listed")
    add_json(verb, "the whole record")
    verb.add_argument("--picture", type=new_figure, metavar="STEM", help="draw it: STEM.png and STEM.pdf")
    verb.add_argument(
        "--film", type=new_file, metavar="FILE", help="its film, .gif or (with ffmpeg) .mp4, if one was kept"
    )
    verb.add_argument(
        "--film-of", type=Path, metavar="FOLDER", help="of `cascade reproduce`, if the run kept none"
    )
    verb.add_argument("--frames", type=partial(count, most=2000), metavar="N", help="of the film (default: 90)")


def _add_defects(verbs: Verbs) -> None:
    verb = add_verb(verbs, "defects", _defects, "List the defects that the cascades of a run have left.")
    add_run(verb)
    verb.add_argument("id", nargs="?", help="of one cascade alone, its defects one by one")
    add_out(verb, "FILE.csv", "a row per defect, with its position", required=False)
    verb.add_argument(
        "--figure", type=new_figure, metavar="STEM", help="distances and pockets: STEM.png, STEM.pdf"
    )


def _add_reproduce(verbs: Verbs) -> None:
    about = "Run one cascade of a run again, alone, and compare it with its record."
    add_verb(verbs, "reproduce", _reproduce, about, _options_reproduce)


def _options_reproduce(verb: argparse.ArgumentParser) -> None:
    from cascade_driver.simulation.trajectory import TrajectorySpec

    add_cascade(verb)
    add_out(verb, "FOLDER", "gets FOLDER/<id>", is_folder=True)
    film = verb.add_argument_group("film it")
    names = {"every_fs": "--trajectory-every-fs", "atoms": "--trajectory-atoms"}
    add_options(film, TrajectorySpec, names=names, may_be_missing=True)


def _add_import(verbs: Verbs) -> None:
    about = "Read tables of stored energies that others have made, as the cascades of a run."
    add_verb(verbs, "import", _import, about, _options_import)


def _options_import(verb: argparse.ArgumentParser) -> None:
    from cascade_driver.analysis.imported import write_import
    from cascade_driver.config import AnalysisSpec

    verb.add_argument(
        "tables",
        nargs="+",
        type=_species_file,
        metavar="SPECIES=FILE",
        help="columns recoil_energy_eV, stored_energy_eV (or _keV), direction_x, direction_y, direction_z "
        "(or polar_rad, azimuth_rad, or _deg), and weight if they differ; a table of `cascade "
        "export`; or a matrix of sebsassi/elosssim",
    )
    add_keywords(verb, write_import, "crystal", "source", "zeros", "notes")
    add_out(verb, "FOLDER", is_folder=True)
    add_options(verb, AnalysisSpec, only=["allow_failures"])


def _species_file(text: str) -> tuple[str, Path]:
    species, equals, file = words(text).partition("=")
    if not (equals and species and file):
        raise argparse.ArgumentTypeError(f"{text[:80]!r} is not SPECIES=FILE, as in C=diamond.csv")
    return species, any_path(file)


def _add_fit(verbs: Verbs) -> None:
    about = "Fit the stored-energy model to the finished cascades of a run."
    add_verb(verbs, "fit", _fit, about, _options_fit)


def _options_fit(verb: argparse.ArgumentParser) -> None:
    from cascade_driver.config import AnalysisSpec

    add_run(verb)
    add_out(verb, "MODEL.json", "model file (default: RUN/model.json)", required=False)
    of_spectra = ("extrapolate", "other_crystal")
    add_options(verb, AnalysisSpec, without=of_spectra, tell_defaults=False, direction=DIRECTION)


def _add_report(verbs: Verbs) -> None:
    about = "Fit, correct, draw and write the report of a run again."
    add_verb(verbs, "report", _report, about, _options_report)


def _options_report(verb: argparse.ArgumentParser) -> None:
    from cascade_driver.config import AnalysisSpec

    add_run(verb)
    add_options(verb, AnalysisSpec, only=["allow_failures"])


def _add_advice(verbs: Verbs) -> None:
    about = "Say what limits the spectra of a run, and which cascades to add."
    add_verb(verbs, "plan", _plan, about, _options_plan)


def _options_plan(verb: argparse.ArgumentParser) -> None:
    from cascade_driver.advice import advise_run
    from cascade_driver.config import AnalysisSpec

    add_run(verb)
    add_keywords(verb, advise_run, "between_eV")
    add_options(verb, AnalysisSpec, only=["allow_failures"])


def _add_cite(verbs: Verbs) -> None:
    verb = add_verb(verbs, "cite", _cite, "Name what a run rests on: codes, potential, papers, data.")
    verb.add_argument(
        "run",
        type=run_or_model,
        nargs="?",
        metavar="RUN",
        help="a run, or the name of a model that ships (default: all there is)",
    )
    verb.add_argument("--bibtex", action="store_true", help="as entries of BibTeX")


def _cite(chosen: argparse.Namespace) -> int:
    from cascade_driver.analysis.published import NAMED_MODELS
    from cascade_driver.campaign.rundir import RunDirectory
    from cascade_driver.cite import cite_all, cite_named, cite_run

    if chosen.run is None:
        citation = cite_all()
    elif chosen.run in NAMED_MODELS:
        citation = cite_named(chosen.run)
    else:
        citation = cite_run(RunDirectory(Path(chosen.run).resolve()))
    for text in citation.bibtex if chosen.bibtex else citation.lines:
        print(visible(text))
    return 0


def _run(chosen: argparse.Namespace) -> int:
    from cascade_driver.config import WorkSpec, find_input
    from cascade_driver.terminal.console import headed, make_console
    from cascade_driver.terminal.progress import watched_work
    from cascade_driver.workflow import attended_run

    built(chosen, WorkSpec)
    work = given(chosen, WorkSpec)
    path = find_input(chosen.input)
    with attended_run(path, out=chosen.out, replace_plan=chosen.replace_plan) as planned:
        _supersede(planned.directory, planned.campaign, chosen)
        console = make_console()
        campaign = planned.campaign
        console.print(headed(campaign.title, f": {campaign.size} cascades in {planned.directory.path}"))
        for line in _plan_said(planned, path):
            console.print(line, soft_wrap=True)
        if chosen.plan_only:
            _print_left(planned.directory, campaign, console)
            return 0
        watched_work(planned, console=console, **work)
        if planned.wanted.analysis is None:
            _print_status(planned.directory.path)
            console.print(
                f"`cascade report {chosen.out or planned.directory.path}` fits, draws and writes a report",
                soft_wrap=True,
            )
            return 0
        return _conclude(planned.directory.path, allow_failures=False)


def _print_left(run: RunDirectory, campaign: Campaign, console: Console) -> None:
    """Print how much of a plan is finished, and what the rest costs."""
    from cascade_driver.foresight import cpu_said

    rows, _ = run.index.read()
    if there := sum(cascade.id in rows for cascade in campaign.cascades()):
        console.print(f"{there} of the {campaign.size} cascades are finished")
    if said := cpu_said(campaign, rows):
        console.print(f"CPU time  {said}", soft_wrap=True)


def _plan_said(planned: PlannedRun, path: Path) -> Iterator[str]:
    """Yield what people are told of a run before it begins; `path` is that of its input."""
    from cascade_driver.files import data_folder
    from cascade_driver.schema import plain
    from cascade_driver.simulation.crystal import constituents, orientation_said, sites_said
    from cascade_driver.simulation.film_box import film_said, film_strain
    from cascade_driver.simulation.lammps_build import chosen as chosen_lammps
    from cascade_driver.simulation.protocols import protocol_said
    from cascade_driver.simulation.spec import thermal_said
    from cascade_driver.validation.checked import doubt

    campaign, engine = planned.campaign, planned.wanted.engine
    crystal, thermal = campaign.protocol.crystal, campaign.protocol.thermal
    shipped = " (shipped)" if path.parent == data_folder("inputs") else ""
    yield f"input     {path}{shipped}"
    yield f"potential {planned.given.name_and_place}, {campaign.potential_status}"
    if not (own := chosen_lammps(engine)).is_installed:
        yield f"LAMMPS    {own.name}"
    if said := doubt(planned.given, crystal, engine):
        yield f"note: {said}"
    yield orientation_said(crystal)
    if film := crystal.film:
        edges_A = {name: float(cell.cell.lengths()[0]) for name, cell in constituents(crystal).items()}
        yield film_said(film, film_strain(film, al_A=edges_A["Al"], si_A=edges_A["Si"]), None)
    if said := sites_said(crystal, (group.species for group in campaign.groups)):
        yield f"note: {said}"
    if said := campaign.heating_said:
        yield f"note: {said}"
    if thermal.temperature is not None:
        yield f"thermal   {thermal_said(thermal)}"
    yield from protocol_said(planned.wanted.protocol, plain(campaign.protocol))


def _supersede(run: RunDirectory, campaign: Campaign, chosen: argparse.Namespace) -> None:
    """Set the records of failures aside that are to be tried again, and say how many."""
    from cascade_driver.campaign.rundir import disk_error
    from cascade_driver.simulation.outcome import Outcome

    outcomes = {Outcome.from_key(key) for key in chosen.redo_outcome}
    if chosen.redo_failed:
        outcomes |= {outcome for outcome in Outcome if not outcome.is_usable}
    if not outcomes:
        return
    try:
        again = run.supersede(campaign, outcomes)
    except OSError as error:
        raise disk_error(run.path, error) from None
    print(f"{len(again)} failed cascades are tried again; their records are kept in {run.path / 'superseded'}")


def _submit(chosen: argparse.Namespace) -> int:
    from cascade_driver.campaign.slurm import ArrayRequest, sbatch
    from cascade_driver.campaign.verify import set_damaged_aside
    from cascade_driver.threshold_run import open_search
    from cascade_driver.workflow import open_run

    request = built(chosen, ArrayRequest)
    if not chosen.dry_run:
        sbatch()
    if is_search_folder(chosen.run):
        search = open_search(chosen.run)
        left = search.plan.size - search.tasks.done()
        return _submit_array(
            search.directory, request, chosen, title=search.plan.title, left=left, of="directions"
        )
    planned = open_run(chosen.run)
    run = planned.directory
    set_damaged_aside(run, planned.campaign)
    _supersede(run, planned.campaign, chosen)
    finished = run.finished()
    missing = sum(1 for cascade in planned.campaign.cascades() if cascade.id not in finished)
    if missing == 0 and not run.starts_to_restore(planned.campaign):
        print(f"{run.path}: all cascades are finished, nothing to submit")
        return 0
    return _submit_array(run, request, chosen, title=planned.campaign.title, left=missing, of="cascades")


def _submit_array(
    run: RunDirectory, request: ArrayRequest, chosen: argparse.Namespace, *, title: str, left: int, of: str
) -> int:
    """Write the job script of a folder, and submit it if asked for."""
    from dataclasses import replace

    from cascade_driver.campaign.slurm import submit, write_script
    from cascade_driver.config import WorkSpec

    request = replace(request, tasks=min(request.tasks, max(1, left)))
    script = write_script(run, request, title=title, **given(chosen, WorkSpec))
    if chosen.dry_run:
        print(f"{script}: written, not submitted; {left} {of} are missing")
        return 0
    job = submit(script)
    print(f"job {job}: {request.tasks} workers for {left} {of}; see `cascade status {run.path}`")
    return 0


def _work(chosen: argparse.Namespace) -> int:
    from cascade_driver.config import WorkSpec
    from cascade_driver.workflow import open_run, work_on

    built(chosen, WorkSpec)  # complains
    if chosen.lease is not None:
        _stop_with(chosen.lease)
    if is_search_folder(chosen.run):
        return work_on_folder(chosen.run, **given(chosen, WorkSpec), **keywords(chosen, work_on))
    planned = open_run(chosen.run)
    try:
        # A worker has children, whatever executor started it.
        progress = work_on(
            planned,
            **given(chosen, WorkSpec),
            executor="processes",
            tell=lambda said: print(said, flush=True),
            **keywords(chosen, work_on),
            repair=False,
            observe=lambda _: None,
        )
    except KeyboardInterrupt:
        print("stopped; what was in progress is free for others", flush=True)
        return 0
    print(f"{progress.done_here} cascades finished here, {progress.done} of {progress.total} in all", flush=True)
    return 0


def is_search_folder(path: Path) -> bool:
    """Return whether a folder holds a search for thresholds and not a campaign; costs no import."""
    return (path / "threshold.json").is_file()


def _stop_with(lease: Path) -> None:
    """End this process, as a SIGTERM does, when a claim is over or the standard input ends."""
    import threading
    import time

    from cascade_driver.campaign.claims import Claims

    def end() -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    def watch_input() -> None:
        while os.read(0, 1024):
            pass
        end()

    def watch_lease() -> None:
        claims = Claims(lease.parent)
        while claims.lives(lease):
            time.sleep(1)
        end()

    for watch in (watch_input, watch_lease):
        threading.Thread(target=watch, daemon=True).start()


def _conclude(path: Path, *, allow_failures: bool) -> int:
    """Fit, correct, draw, report; end with the table and the paths, and with 1 if the input asks for more."""
    from cascade_driver.campaign.rundir import RunDirectory
    from cascade_driver.conclusion import conclude
    from cascade_driver.terminal.console import make_console
    from cascade_driver.terminal.runs import print_energies

    console = make_console()
    conclusion = conclude(RunDirectory(path), allow_failures=allow_failures)
    print_energies(conclusion.table, console=console)
    if conclusion.finished < conclusion.planned:
        console.print(f"note: {conclusion.finished} of {conclusion.planned} cascades are finished")
    for note in conclusion.notes:
        console.print(f"note: {note}", soft_wrap=True)
    console.print("written:")
    for file in conclusion.files:
        console.print(f"  {file}", soft_wrap=True)
    if conclusion.failure:
        print(f"note: {visible(conclusion.failure)}", file=sys.stderr)
    return 1 if conclusion.failure and conclusion.was_asked_for else 0


def _report(chosen: argparse.Namespace) -> int:
    from cascade_driver.analysis.imported import is_import
    from cascade_driver.config import AnalysisSpec

    if is_search_folder(chosen.run):
        return report_search(chosen.run)
    if is_import(chosen.run):
        from cascade_driver.conclusion import conclude_import

        conclusion = conclude_import(chosen.run.resolve())
        print(*(f"note: {note}" for note in conclusion.notes), "written:", *conclusion.files, sep="\n")
        return 0
    return _conclude(chosen.run.resolve(), allow_failures=built(chosen, AnalysisSpec).allow_failures)


def _status(chosen: argparse.Namespace) -> int:
    if is_search_folder(chosen.run):
        return status_of_search(chosen.run, as_json=chosen.json)
    if chosen.json:
        import json

        from cascade_driver.campaign.rundir import RunDirectory
        from cascade_driver.campaign.status import run_status

        print(json.dumps(run_status(RunDirectory(chosen.run.resolve())).as_json(), indent=1))
        return 0
    _print_status(chosen.run)
    return 0


def _print_status(path: Path) -> None:
    from cascade_driver.campaign.rundir import RunDirectory
    from cascade_driver.campaign.status import run_status
    from cascade_driver.terminal.console import make_console
    from cascade_driver.terminal.runs import print_status

    print_status(run_status(RunDirectory(path.resolve())), console=make_console())


def _verify(chosen: argparse.Namespace) -> int:
    from cascade_driver.campaign.rundir import RunDirectory
    from cascade_driver.terminal.console import make_console
    from cascade_driver.terminal.progress import watched_verification

    return watched_verification(RunDirectory(chosen.run.resolve()), console=make_console())


def _export(chosen: argparse.Namespace) -> int:
    from cascade_driver.campaign.export import (
        export_ase_db,
        export_structures,
        export_table,
        export_trajectories,
    )
    from cascade_driver.campaign.rundir import RunDirectory

    run = RunDirectory(chosen.run.resolve())
    if not chosen.response:
        refuse_alone(options_given(chosen, "energy_eV", "bin_eV", "members"), needed="--response")
    run.load()
    asked = (chosen.table, chosen.ase_db, chosen.structures, chosen.trajectories, chosen.response, chosen.spectra)
    if not any(asked):
        raise InputError(
            "say what to export: --table FILE.csv or .parquet, --ase-db FILE.db, --structures FOLDER, "
            "--trajectories FOLDER, --spectra FILE.json, .h5 or .root, --response FILE.npz, .h5 or .root"
        )
    if chosen.spectra:
        _export_spectra(chosen)
    if chosen.response:
        _export_response(chosen)
    for path in chosen.table:
        print(f"{path}: {export_table(run, path)} cascades")
    if chosen.ase_db:
        print(f"{chosen.ase_db}: {export_ase_db(run, chosen.ase_db)} cascades")
    if chosen.structures:
        print(f"{chosen.structures}: {export_structures(run, chosen.structures)} structures")
    if chosen.trajectories:
        print(f"{chosen.trajectories}: {export_trajectories(run, chosen.trajectories)} trajectories")
    return 0


def _export_spectra(chosen: argparse.Namespace) -> None:
    """Write the spectra that a run's input asks for, all into one file."""
    from cascade_driver.histogram_file import require_suffix, write_histograms
    from cascade_driver.session import open_run

    require_suffix(chosen.spectra)  # before what takes seconds
    pairs = open_run(chosen.run).spectra()
    if not pairs:
        raise InputError(f"{chosen.run}: its input asks for no [[spectra]]; add one, or use `cascade correct`")
    made = {f"{pair.name}/{name}": one for pair in pairs for name, one in pair.histograms().items()}
    write_histograms(made, chosen.spectra)
    print(f"{chosen.spectra}: {', '.join(pair.name for pair in pairs)}")


def _export_response(chosen: argparse.Namespace) -> None:
    """Write the responses of a run's model."""
    import numpy as np

    from cascade_driver.models import load_model
    from cascade_driver.spectra.response_file import SUFFIXES, response_set, write_response

    if chosen.response.suffix not in SUFFIXES:  # before what takes seconds
        raise InputError(f"{chosen.response}: a response is written as {', '.join(SUFFIXES)}; choose one of these")
    model = load_model(chosen.run)
    simulated = [(one.minimum_recoil_energy_eV, one.maximum_recoil_energy_eV) for one in model.species.values()]
    low, high = chosen.energy_eV or (max(a for a, _ in simulated), min(b for _, b in simulated))
    bin_eV = 1.0 if chosen.bin_eV is None else chosen.bin_eV
    if not (0 <= low < high < np.inf and 0 < bin_eV <= high - low):
        raise InputError(f"recoil energies from {low:g} to {high:g} eV in bins of {bin_eV:g} eV: no bins")
    edges = np.linspace(low, high, max(round((high - low) / bin_eV), 1) + 1)
    made = response_set(model, edges, members=chosen.members or 0)
    write_response(made, chosen.response)
    for note in made.notes:
        print(f"note: {note}", file=sys.stderr)
    print(f"{chosen.response}: {', '.join(made.matrices)}, {len(edges) - 1} bins from {low:g} to {high:g} eV")


def _show(chosen: argparse.Namespace) -> int:
    import json
    import shlex

    from cascade_driver.campaign.listing import one_finished
    from cascade_driver.campaign.rundir import RunDirectory
    from cascade_driver.terminal.console import make_console
    from cascade_driver.terminal.records import print_record

    if not chosen.film:
        refuse_alone(options_given(chosen, "film_of", "frames"), needed="--film")
    run = RunDirectory(chosen.run.resolve())
    if chosen.id is None:
        return _show_none(run, chosen)
    record = run.record(one_finished(run, chosen.id))
    if chosen.json:
        print(json.dumps(record.as_json(), indent=1))
        return 0
    again = shlex.join(["cascade", "reproduce", str(run.path), record.id, "--out", "reproduced"])
    if chosen.picture or chosen.film:
        return _show_scene(run, record.id, chosen)
    print_record(record, folder=run.cascades / record.id, again=again, console=make_console())
    return 0


def _show_none(run: RunDirectory, chosen: argparse.Namespace) -> int:
    """List the cascades to one who has named none."""
    from cascade_driver.campaign.listing import listed
    from cascade_driver.terminal.console import make_console
    from cascade_driver.terminal.records import print_cascades

    for option in ("json", "picture", "film"):
        if getattr(chosen, option):
            raise InputError(
                f"--{option} is of one cascade: name it by its number or id, as `cascade ls` has them"
            )
    console = make_console()
    print_cascades(listed(run), of=run.load().size, console=console)
    console.print(f"`cascade show {chosen.run} NUMBER` shows one of them", soft_wrap=True)
    return 0


def _show_scene(run: RunDirectory, cascade: str, chosen: argparse.Namespace) -> int:
    """Draw a cascade, and film it."""
    from cascade_driver.campaign.scene import frames_of, scene_of
    from cascade_driver.files import write_file
    from cascade_driver.plot import save_figure
    from cascade_driver.plot.scenes import cascade_figure, ffmpeg, film_bytes

    suffix = chosen.film.suffix if chosen.film else ""
    if chosen.film and suffix not in {".gif", ".mp4"}:
        raise InputError(f"{chosen.film}: a film is written as .gif or .mp4; choose one of these endings")
    if suffix == ".mp4":
        ffmpeg()  # complains before anything is read
    scene, status = scene_of(run, cascade), run.load().potential_status
    if chosen.picture:
        figure = cascade_figure(scene, potential_status=status)
        for file in save_figure(figure, chosen.picture):
            print(file)
    if chosen.film:
        frames = frames_of(scene, chosen.film_of or run.cascades / cascade, number=chosen.frames or 90)
        film = film_bytes(scene, frames, kind="gif" if suffix == ".gif" else "mp4", potential_status=status)
        write_file(chosen.film, film)
        print(f"{chosen.film}: {len(frames)} frames")
    return 0


def _defects(chosen: argparse.Namespace) -> int:
    from cascade_driver.campaign.listing import one_finished
    from cascade_driver.campaign.rundir import RunDirectory
    from cascade_driver.campaign.scene import remains_of, write_defects
    from cascade_driver.plot import defects_figure, save_figure
    from cascade_driver.terminal.console import make_console
    from cascade_driver.terminal.records import print_defects

    run = RunDirectory(chosen.run.resolve())
    campaign = run.load()
    left = remains_of(run, [one_finished(run, chosen.id)] if chosen.id else None)
    print_defects(left, one_by_one=bool(chosen.id), console=make_console())
    if chosen.out:
        print(f"{chosen.out}: {write_defects(left, chosen.out)} defects of {len(left)} cascades")
    if chosen.figure:
        figure = defects_figure(left, potential_status=campaign.potential_status)
        print(*save_figure(figure, chosen.figure), sep="\n")
    return 0


def _list(chosen: argparse.Namespace) -> int:
    import json

    from cascade_driver.campaign.listing import listed
    from cascade_driver.campaign.rundir import RunDirectory
    from cascade_driver.terminal.console import make_console
    from cascade_driver.terminal.records import print_cascades

    run = RunDirectory(chosen.run.resolve())
    cascades = listed(run, **keywords(chosen, listed))
    if chosen.json:
        print(json.dumps([cascade.as_json() for cascade in cascades], indent=1))
    else:
        print_cascades(cascades, of=run.load().size, console=make_console())
    return 0


def _reproduce(chosen: argparse.Namespace) -> int:
    from cascade_driver.campaign.listing import one_finished
    from cascade_driver.campaign.reproduce import reproduce_apart
    from cascade_driver.campaign.rundir import RunDirectory
    from cascade_driver.simulation.trajectory import TrajectorySpec
    from cascade_driver.terminal.console import make_console
    from cascade_driver.terminal.records import print_reproduction

    film = built(chosen, TrajectorySpec) if given(chosen, TrajectorySpec) else None
    run = RunDirectory(chosen.run.resolve())
    done = reproduce_apart(run, one_finished(run, chosen.id), out=chosen.out.resolve(), trajectory=film)
    print_reproduction(done, console=make_console())
    return 1 if done.differences else 0


def _fit(chosen: argparse.Namespace) -> int:
    from cascade_driver.analysis.imported import is_import
    from cascade_driver.campaign.contents import contents_of
    from cascade_driver.campaign.rundir import RunDirectory
    from cascade_driver.config import AnalysisSpec
    from cascade_driver.models import analysis_of, fit_run
    from cascade_driver.schema import plain
    from cascade_driver.terminal.console import make_console
    from cascade_driver.terminal.runs import print_energies, print_model

    changes = given(chosen, AnalysisSpec)
    if is_import(chosen.run):  # a folder, also one that is called as a model that ships
        return _fit_import(chosen)
    run = RunDirectory(chosen.run.resolve())
    run.load()
    if chosen.out is None and (part := [name for name in ("direction", "region") if name in changes]):
        raise InputError(f"--{part[0]} gives a model of some recoils alone: say where it goes with --out")
    stands = plain(analysis_of(run).analysis or AnalysisSpec())
    console = make_console()
    try:
        table, model, path = fit_run(
            run, analysis=built(chosen, AnalysisSpec, **(stands | changes)), out=chosen.out
        )
    except FitError as error:
        if len(finished := contents_of(run).table()) == 0:
            raise
        print_energies(finished, console=console)
        return _no_fit(error)
    print_energies(table, console=console)
    print_model(model, console=console)
    console.print(f"written: {path}", soft_wrap=True)
    return 0


def _no_fit(error: FitError) -> int:
    """Say why cascades allow no fit, which is an answer."""
    print(f"note: no model could be fitted: {visible(str(error))}", file=sys.stderr)
    return 1


def _import(chosen: argparse.Namespace) -> int:
    from cascade_driver.analysis.imported import write_import
    from cascade_driver.models import model_of_import

    files = dict(chosen.tables)
    if len(files) < len(chosen.tables):
        raise InputError(f"{' '.join(s for s, _ in chosen.tables)}: name each species once")
    folder = chosen.out.resolve()
    # fitted before it is written: what no model can be made of must not replace an import that has one
    check = partial(model_of_import, folder=folder, analysis=_analysis_of_import(chosen))
    made = write_import(files, out=chosen.out, check=check, **keywords(chosen, write_import))
    for note in made.notes:
        print(f"note: {note}", file=sys.stderr)
    chosen.run = chosen.out
    return _fit_import(chosen)


def _fit_import(chosen: argparse.Namespace) -> int:
    """Make the model of imported tables, write and print it."""
    from cascade_driver.models import MODEL_FILE, fitted_import
    from cascade_driver.terminal.console import make_console
    from cascade_driver.terminal.runs import print_model

    out = getattr(chosen, "out", None)
    table, model = fitted_import(chosen.run.resolve(), analysis=_analysis_of_import(chosen))
    path = model.save(chosen.run / MODEL_FILE if out is None or out == chosen.run else out)
    console = make_console()
    print_model(model, console=console)
    console.print(f"{len(table)} cascades; written: {path}", soft_wrap=True)
    return 0


def _analysis_of_import(chosen: argparse.Namespace) -> AnalysisSpec:
    """Return how imported records are analysed: as they stand, if no other shape is asked for."""
    from cascade_driver.config import AnalysisSpec

    return built(chosen, AnalysisSpec, **{"shape": "table", **given(chosen, AnalysisSpec)})


def _plan(chosen: argparse.Namespace) -> int:
    from cascade_driver.advice import advise_run
    from cascade_driver.campaign.rundir import RunDirectory
    from cascade_driver.config import AnalysisSpec
    from cascade_driver.terminal.console import make_console
    from cascade_driver.terminal.runs import print_advice

    asked = keywords(chosen, advise_run)
    between = asked.get("between_eV")
    if between and not 0 <= between[0] < between[1]:
        raise InputError(f"--between-eV {between[0]:g} {between[1]:g}: give two rising energies in eV")
    console, known = make_console(), list[str]()
    for pair, advice in advise_run(
        RunDirectory(chosen.run.resolve()),
        **asked,
        allow_failures=built(chosen, AnalysisSpec).allow_failures,
    ):
        print_advice(pair, advice, between_eV=between or pair.range_eV, known=known, console=console)
        known += pair.notes
    return 0
