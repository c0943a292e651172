"""The command `cascade`: one verb, one library call.

Exit codes: 0 done, 1 an error of ours (with its traceback), 2 something that the user can mend (one line),
130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from cascade_driver import __version__
from cascade_driver.errors import CascadeError, InputError

if TYPE_CHECKING:
    from rich.console import Console

_EXIT_USER, _EXIT_INTERRUPTED = 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    # One thread per process: a cascade per core is faster than a cascade on all cores.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        parser = _parser()
        chosen = parser.parse_args(arguments)
        if not hasattr(chosen, "command"):
            parser.print_help()
            return _EXIT_USER
        result: int = chosen.command(chosen)
    except CascadeError as error:
        print(f"cascade: {error}", file=sys.stderr)
        return _EXIT_USER
    except KeyboardInterrupt:
        print("cascade: interrupted; the same command continues where it stopped", file=sys.stderr)
        return _EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of our output (head, less) has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return result


def _interrupt(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


# -- the parser ---------------------------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    """A parser whose complaints are one line, like all others; sub-parsers are of its kind."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see `{self.prog} --help`")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="cascade",
        description="From a knocked-on atom to the spectrum that a cryogenic detector really records.",
    )
    parser.add_argument("--version", action="version", version=f"cascade_driver {__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB")
    _add_run(verbs)
    _add_submit(verbs)
    _add_work(verbs)
    _add_status(verbs)
    _add_verify(verbs)
    _add_export(verbs)
    _add_show(verbs)
    _add_fit(verbs)
    _add_report(verbs)
    _add_advice(verbs)
    _add_spectrum(verbs)
    _add_correct(verbs)
    _add_lines(verbs)
    _add_background(verbs)
    _add_tls(verbs)
    _add_potential(verbs)
    return parser


def _verb(verbs: Any, name: str, command: Any, summary: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(name, help=summary, description=summary)
    parser.set_defaults(command=command)
    return parser


def _add_run(verbs: Any) -> None:
    verb = _verb(verbs, "run", _run, "Run a campaign, or what is missing of it, and what its input asks for.")
    verb.add_argument("input", type=Path, help="input file (TOML), or the name of a shipped one")
    verb.add_argument("--out", type=Path, metavar="RUN", help="run directory (default: runs/<input's name>)")
    verb.add_argument("--workers", type=_positive, metavar="N", help="processes at a time (default: all cores)")
    verb.add_argument("--executor", metavar="NAME", help="processes (default), serial or dask")
    verb.add_argument("--plan-only", action="store_true", help="write the plan and stop")


def _add_submit(verbs: Any) -> None:
    verb = _verb(verbs, "submit", _submit, "Give what is missing of a run to a batch system.")
    verb.add_argument("run", type=Path, metavar="RUN")
    verb.add_argument("--slurm", action="store_true", required=True, help="as a Slurm array")
    verb.add_argument("--tasks", type=_positive, default=4, metavar="N", help="workers (default: 4)")
    verb.add_argument("--time", default="12:00:00", metavar="HH:MM:SS", help="walltime of each (default: 12 h)")
    verb.add_argument("--cpus", type=_positive, default=1, metavar="N", help="cores of each (default: 1)")
    verb.add_argument("--memory-MiB", type=_positive, dest="memory_MiB", metavar="M", help="of each core")
    verb.add_argument("--partition", metavar="P")
    verb.add_argument("--account", metavar="A")
    verb.add_argument("--option", action="append", default=[], metavar="=--X=Y", help="any more of sbatch's")
    verb.add_argument("--dry-run", action="store_true", help="write the job script and stop")


def _add_work(verbs: Any) -> None:
    verb = _verb(verbs, "work", _work, "Be one of many workers on a run that was planned; job scripts call this.")
    verb.add_argument("run", type=Path, metavar="RUN")
    verb.add_argument("--workers", type=_positive, metavar="N", help="processes at a time (default: all cores)")
    verb.add_argument("--until", type=float, metavar="SECONDS", help="start no cascade later than this from now")
    # Stop when this claim is over, or when the standard input ends: how the executor dask holds its pilots.
    verb.add_argument("--lease", type=Path, help=argparse.SUPPRESS)


def _add_status(verbs: Any) -> None:
    verb = _verb(verbs, "status", _status, "Show how far a run is and what it has found so far.")
    verb.add_argument("run", type=Path, metavar="RUN")
    verb.add_argument("--json", action="store_true", help="for programs")


def _add_verify(verbs: Any) -> None:
    verb = _verb(
        verbs, "verify", _verify, "Read and hash everything in a run again; `cascade run` repairs what it names."
    )
    verb.add_argument("run", type=Path, metavar="RUN")


def _add_export(verbs: Any) -> None:
    verb = _verb(verbs, "export", _export, "Write what is finished so far as tables, database or structures.")
    verb.add_argument("run", type=Path, metavar="RUN")
    verb.add_argument("--table", type=Path, action="append", default=[], metavar="FILE", help=".csv or .parquet")
    verb.add_argument("--ase-db", type=Path, dest="ase_db", metavar="FILE.db", help="for `ase db`")
    verb.add_argument("--structures", type=Path, metavar="FOLDER", help="final structures as extxyz, for OVITO")


def _add_show(verbs: Any) -> None:
    verb = _verb(verbs, "show", _show, "Show one cascade of a run.")
    verb.add_argument("run", type=Path, metavar="RUN")
    verb.add_argument("id", help="its id, or the beginning of it")
    verb.add_argument("--json", action="store_true", help="the whole record")


def _add_fit(verbs: Any) -> None:
    verb = _verb(verbs, "fit", _fit, "Fit the stored-energy model to the finished cascades of a run.")
    verb.add_argument("run", type=Path, metavar="RUN")
    verb.add_argument("--out", type=Path, metavar="MODEL.json", help="model file (default: RUN/model.json)")
    verb.add_argument("--shape", choices=["gaussian", "split_gaussian"], help="of the stored energies")
    verb.add_argument("--order", type=int, choices=[1, 2], help="of their dependence on the recoil energy")
    verb.add_argument("--allow-failures", action="store_true", help="fit in spite of many failed cascades")


def _add_report(verbs: Any) -> None:
    verb = _verb(verbs, "report", _report, "Fit, correct, draw and write the report of a run again.")
    verb.add_argument("run", type=Path, metavar="RUN")
    verb.add_argument("--allow-failures", action="store_true", help="fit in spite of many failed cascades")


def _add_advice(verbs: Any) -> None:
    verb = _verb(verbs, "plan", _plan, "Say what limits the spectra of a run, and which cascades to add.")
    verb.add_argument("run", type=Path, metavar="RUN")
    verb.add_argument(
        "--between-eV",
        type=float,
        nargs=2,
        dest="between_eV",
        metavar=("LOW", "HIGH"),
        help="observed energies that matter (default: from the threshold on)",
    )
    verb.add_argument("--allow-failures", action="store_true", help="fit in spite of many failed cascades")


def _add_spectrum(verbs: Any) -> None:
    verb = _verb(verbs, "spectrum", _no_kind, "Make a recoil spectrum.")
    kinds = verb.add_subparsers(title="kinds", metavar="KIND")
    dm = _verb(kinds, "dm", _spectrum_dm, "Dark-matter scattering in the standard halo.")
    dm.add_argument("--mass-GeV", type=float, required=True, dest="mass_GeV", metavar="M")
    dm.add_argument(
        "--cross-section-cm2", type=float, required=True, dest="cross_section_cm2", metavar="S", help="per nucleon"
    )
    dm.add_argument("--mediator-mass-MeV", type=float, dest="mediator_mass_MeV", metavar="M", help="a light one")
    dm.add_argument(
        "--coupling",
        choices=["independent", "proton_spin", "neutron_spin"],
        default="independent",
        help="of the spin of which nucleon (default: independent of it)",
    )
    dm.add_argument("--date", metavar="YYYY-MM-DD", help="speed of the Earth on that day (default: mean)")
    _add_binning(dm)
    cevns = _verb(kinds, "cevns", _spectrum_cevns, "Coherent scattering of reactor antineutrinos.")
    cevns.add_argument(
        "--power-GW", type=float, nargs="+", required=True, dest="power_GW", metavar="P", help="thermal, per core"
    )
    cevns.add_argument(
        "--distance-m", type=float, nargs="+", required=True, dest="distance_m", metavar="D", help="per core"
    )
    cevns.add_argument(
        "--low-energy-flux",
        choices=["flat", "kopeikin", "extrapolate"],
        default="flat",
        help="antineutrinos below 2 MeV (default: flat, the value at 2 MeV)",
    )
    cevns.add_argument(
        "--magnetic-moment-bohr",
        type=float,
        default=0.0,
        metavar="MU",
        help="of the neutrino, in Bohr magnetons (default: 0)",
    )
    _add_binning(cevns)
    _add_spectrum_capture(kinds)
    _add_spectrum_files(kinds)


def _add_spectrum_files(kinds: Any) -> None:
    recoils = _verb(kinds, "recoils", _spectrum_recoils, "Recoils that another program has listed.")
    recoils.add_argument("file", type=Path, metavar="LIST.csv", help="columns energy_eV[,weight]")
    recoils.add_argument("--counts-per-kg-day", type=float, required=True, metavar="N", help="of the whole list")
    recoils.add_argument("--element", default="", metavar="X", help="which atom recoils")
    _add_bins(recoils)
    levels = _verb(kinds, "levels", _spectrum_levels, "Gamma cascades of a level file of nrCascadeSim.")
    levels.add_argument("file", type=Path, metavar="LEVELS.txt")
    levels.add_argument("--captures-per-kg-day", type=float, required=True, metavar="N", help="of the whole file")
    levels.add_argument("--target", required=True, metavar="FORMULA", help="what the nuclei move in")
    levels.add_argument(
        "--lifetime-unit-fs", type=float, default=1.0, metavar="U", help="of the file (default: 1 fs)"
    )
    levels.add_argument("--gamma-timing", choices=["in_flight", "prompt", "slow"], default="in_flight")
    _add_bins(levels)


def _add_lines(verbs: Any) -> None:
    verb = _verb(verbs, "lines", _lines, "Fit lines in a spectrum after the detector, and test the energy scale.")
    verb.add_argument("spectrum", type=Path, metavar="SPECTRUM.csv", help="measured, or expected")
    verb.add_argument(
        "--at-eV", type=float, nargs="+", required=True, dest="at_eV", metavar="E", help="recoil energies of lines"
    )
    verb.add_argument("--exposure-kg-day", type=float, required=True, metavar="X", help="makes counts of rates")
    verb.add_argument("--resolution-eV", type=float, required=True, dest="resolution_eV", metavar="SIGMA")
    verb.add_argument("--between-eV", type=float, nargs=2, dest="between_eV", metavar=("LOW", "HIGH"))
    verb.add_argument("--background-order", type=int, default=6, metavar="N", help="-1 for none (default: 6)")
    verb.add_argument(
        "--recoils",
        type=Path,
        metavar="RECOIL.csv",
        help="spectrum of recoils in fine bins: lines are what it has around them, not single energies",
    )
    verb.add_argument(
        "--half-window-eV", type=float, default=4.0, dest="half_window_eV", metavar="D", help="for that"
    )
    verb.add_argument("--loss-eV", type=float, nargs="+", dest="loss_eV", metavar="L", help="where to start from")
    verb.add_argument("--scale-error", type=float, default=0.0, metavar="S", help="relative, of the calibration")


def _add_spectrum_capture(kinds: Any) -> None:
    capture = _verb(kinds, "capture", _spectrum_capture, "Recoils after the capture of thermal neutrons.")
    capture.add_argument(
        "--neutron-flux-cm2-s", type=float, required=True, metavar="F", help="neutron density times 2200 m/s"
    )
    capture.add_argument(
        "--gamma-timing",
        choices=["in_flight", "prompt", "slow"],
        default="in_flight",
        help="what the second gamma of a cascade finds (default: in_flight)",
    )
    capture.add_argument(
        "--unknown-lifetime",
        choices=["single_particle", "prompt", "slow"],
        default="single_particle",
        help="of levels without a tabulated one",
    )
    capture.add_argument("--slowing-time-fs", type=float, metavar="T", help="of the nucleus, in place of ZBL's")
    capture.add_argument("--density-g-cm3", type=float, metavar="RHO", help="of other crystals, for that")
    capture.add_argument(
        "--continuum-temperature-MeV",
        type=float,
        dest="continuum_temperature_MeV",
        metavar="T",
        help="add statistical cascades for captures without tabulated gammas (about 0.5 for W)",
    )
    capture.add_argument("--mass-g", type=float, metavar="M", help="also say the counts per day in such a crystal")
    capture.add_argument(
        "--model",
        metavar="MODEL",
        help="write what is observed of the recoils up to HIGH; each loses its own energy",
    )
    capture.add_argument("--extrapolate", action="store_true", help="use the model above the simulated energies")
    _add_binning(capture)


def _add_binning(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--target", required=True, metavar="FORMULA", help="e.g. CaWO4, Si, Ge, Al2O3")
    _add_bins(verb)


def _add_bins(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--energy-eV", type=float, nargs=2, required=True, dest="energy_eV", metavar=("LOW", "HIGH"))
    verb.add_argument("--bins", type=_positive, required=True, metavar="N")
    verb.add_argument("--out", type=Path, required=True, metavar="FILE.csv")


def _add_correct(verbs: Any) -> None:
    verb = _verb(verbs, "correct", _correct, "Correct a recoil spectrum for the energy stored in defects.")
    verb.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="MODEL SPECTRUM.csv: a model file of `cascade fit` or the name cawo4-published, and a spectrum",
    )
    verb.add_argument("--model", metavar="MODEL", help="the model, if not given first")
    verb.add_argument("--out", type=Path, required=True, metavar="OBSERVED.csv")
    verb.add_argument("--species", metavar="X", help="whose response stands for elements that have none")
    verb.add_argument("--extrapolate", action="store_true", help="use the model above the simulated energies")
    verb.add_argument("--resolution-eV", type=float, default=0.0, dest="resolution_eV", metavar="SIGMA")
    verb.add_argument("--threshold-eV", type=float, default=0.0, dest="threshold_eV", metavar="E")
    assumed = verb.add_argument_group("what cawo4-published assumes, because the paper does not print it")
    assumed.add_argument(
        "--half-energy-eV", type=float, dest="half_energy_eV", metavar="E", help="p_d is 1/2 there"
    )
    assumed.add_argument("--width-eV", type=float, dest="width_eV", metavar="W", help="of the Fermi function")
    assumed.add_argument("--sigma-81-eV", type=float, dest="sigma_81_eV", metavar="S", help="at 81 eV")
    assumed.add_argument("--sigma-160-eV", type=float, dest="sigma_160_eV", metavar="S", help="at 160 eV")


def _add_background(verbs: Any) -> None:
    verb = _verb(verbs, "background", _no_kind, "Make the spectrum of what relaxes without a recoil.")
    kinds = verb.add_subparsers(title="kinds", metavar="KIND")
    film = _verb(kinds, "film", _background_film, "Dislocations that come free in a stressed metal film.")
    film.add_argument(
        "input", type=Path, nargs="?", metavar="INPUT.toml", help="film.toml ships; options override it"
    )
    film.add_argument("--area-mm2", type=float, dest="film_area_mm2", metavar="A", help="of film on the detector")
    film.add_argument("--mass-kg", type=float, dest="detector_mass_kg", metavar="M", help="of the crystal")
    film.add_argument("--days", type=float, dest="days_since_cooldown", metavar="T", help="since the cooldown")
    film.add_argument("--metal", choices=["Al", "Cu", "Au"])
    film.add_argument(
        "--substrate-GPa", type=float, dest="substrate_GPa", metavar="MU", help="shear modulus (default: 51, Si)"
    )
    film.add_argument(
        "--spacing-nm",
        type=float,
        nargs="+",
        metavar="D",
        help="of the dislocations; further ones are only drawn for comparison",
    )
    film.add_argument("--stress-MPa", type=float, dest="bulk_stress_MPa", metavar="S", help="in the film")
    film.add_argument("--energy-eV", type=float, nargs=2, dest="energy_eV", metavar=("LOW", "HIGH"))
    film.add_argument("--bins", type=_positive, metavar="N")
    film.add_argument("--events", type=_positive, metavar="N", help="simulated")
    film.add_argument("--seed", type=int, metavar="N")
    film.add_argument("--out", type=Path, required=True, metavar="FILM.csv")
    film.add_argument("--figure", type=Path, metavar="STEM", help="rates per area: STEM.png and STEM.pdf")
    film.add_argument(
        "--measured", type=Path, nargs="+", default=[], metavar="CSV", help="of this detector, for the figure"
    )
    film.add_argument(
        "--over", type=Path, nargs="+", default=[], metavar="CSV", help="spectra to lay it over: STEM-over.png"
    )


def _add_potential(verbs: Any) -> None:
    verb = _verb(verbs, "potential", _no_kind, "List, show or check potentials.")
    kinds = verb.add_subparsers(title="actions", metavar="ACTION")
    _verb(kinds, "list", _potential_list, "List the potentials that ship with the package.")
    show = _verb(kinds, "show", _potential_show, "Show one potential.")
    show.add_argument("name", metavar="NAME", help="a shipped potential, or the path of a folder")
    check = _verb(kinds, "check", _potential_check, "Put a potential through the contract tests.")
    check.add_argument("name", metavar="NAME", help="a shipped potential, or the path of a folder")
    join = _verb(kinds, "join", _potential_join, "Make a potential folder: a ZBL core joined to any LAMMPS body.")
    join.add_argument("body", type=Path, metavar="BODY.lmp", help="include with pair_style and pair_coeff")
    join.add_argument("--species", nargs="+", required=True, metavar="X", help="of the atom types 1, 2, ...")
    join.add_argument(
        "--inner", type=_lengths, required=True, metavar="A", help="pure ZBL below: 0.9, or Al-Si=0.9,..."
    )
    join.add_argument("--outer", type=_lengths, required=True, metavar="A", help="pure body above, likewise")
    join.add_argument("--crystals", nargs="*", default=[], metavar="NAME", help="that the contract must hold for")
    join.add_argument("--title", default="")
    join.add_argument("--origin", default="")
    join.add_argument("--license", default="")
    join.add_argument("--out", type=Path, required=True, metavar="DIR")


def _add_tls(verbs: Any) -> None:
    verb = _verb(verbs, "tls", _no_kind, "Tunnelling two-level systems: damping of a resonator, glass of them.")
    kinds = verb.add_subparsers(title="kinds", metavar="KIND")
    damping = _verb(kinds, "damping", _tls_damping, "Damping of a resonator against temperature.")
    _add_resonator(damping)
    damping.add_argument("--strength", type=float, required=True, metavar="C")
    damping.add_argument("--strain-coupling-eV", type=float, required=True, dest="strain_coupling_eV", metavar="G")
    damping.add_argument(
        "--charged-fraction", type=float, default=0.0, metavar="X", help="relaxed by electrons too"
    )
    damping.add_argument("--electron-coupling", type=float, default=0.0, metavar="K")
    damping.add_argument(
        "--temperature-K", type=float, nargs=2, default=[0.01, 10.0], dest="temperature_K", metavar=("LOW", "HIGH")
    )
    damping.add_argument("--points", type=_positive, default=61, metavar="N")
    damping.add_argument("--out", type=Path, required=True, metavar="FILE.csv", help="a figure is put beside it")
    fit = _verb(kinds, "fit", _tls_fit, "Fit tunnelling systems to measured damping.")
    fit.add_argument("data", type=Path, metavar="DATA.csv", help="temperature_K,damping_Hz,damping_error_Hz,metal")
    _add_resonator(fit)
    fit.add_argument("--hold", type=_named_number, nargs="*", default=[], metavar="NAME=VALUE", help="not to fit")
    fit.add_argument(
        "--without-superconducting-K",
        type=float,
        nargs=2,
        dest="without_K",
        metavar=("LOW", "HIGH"),
        help="leave out superconducting points here, where quasiparticles damp",
    )
    fit.add_argument("--out", type=Path, required=True, metavar="FIT.json", help="a figure is put beside it")
    dos = _verb(kinds, "dos", _tls_dos, "Density of states of interacting systems, or what is missing of it.")
    dos.add_argument("--size", type=_positive, required=True, metavar="L", help="edge of the lattice, in sites")
    dos.add_argument("--interaction-K", type=float, required=True, dest="interaction_K", metavar="J")
    dos.add_argument("--random-field-K", type=float, default=10.0, dest="random_field_K", metavar="H")
    dos.add_argument("--concentration", type=float, default=0.5, metavar="X")
    dos.add_argument("--realisations", type=_positive, required=True, metavar="N")
    dos.add_argument("--seed", type=int, default=1)
    dos.add_argument("--workers", type=_positive, metavar="N", help="processes at a time (default: all cores)")
    dos.add_argument("--out", type=Path, required=True, metavar="DIR")


def _add_resonator(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--mode-frequency-Hz", type=float, required=True, dest="mode_frequency_Hz", metavar="F")
    verb.add_argument("--thickness-nm", type=float, required=True, dest="thickness_nm", metavar="E")
    verb.add_argument("--width-nm", type=float, required=True, dest="width_nm", metavar="W")
    verb.add_argument("--density-kg-m3", type=float, default=2900.0, metavar="R", help="default: SiN, 2900")
    verb.add_argument("--sound-speed-m-s", type=float, default=6000.0, metavar="V", help="longitudinal; SiN: 6000")


def _named_number(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    return name, float(value)


def _positive(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return value


def _lengths(text: str) -> dict[str, float] | float:
    """Return one length for all pairs, or lengths by pair: `0.9` or `Al-Al=0.9,Al-Si=0.9,Si-Si=1.6`."""
    if "=" not in text:
        return float(text)
    return {pair: float(value) for pair, value in (item.split("=") for item in text.split(","))}


def _no_kind(chosen: argparse.Namespace) -> int:
    del chosen
    raise InputError("say what to do; `cascade spectrum --help` and `cascade potential --help` list it")


# -- campaigns ----------------------------------------------------------------------------------------------


def _run(chosen: argparse.Namespace) -> int:
    from cascade_driver.campaign.executors import require_executor
    from cascade_driver.terminal import watched_work
    from cascade_driver.workflow import plan_run

    if chosen.executor is not None:
        require_executor(chosen.executor)
    planned = plan_run(chosen.input, out=chosen.out)
    console = _console()
    campaign = planned.campaign
    console.print(
        f"[bold]{campaign.title}[/bold]: {campaign.size} cascades in {planned.directory.path}\n"
        f"potential {planned.potential.name} ({campaign.potential_status})",
        highlight=False,
    )
    if chosen.plan_only:
        return 0
    watched_work(planned, workers=chosen.workers, executor=chosen.executor, console=console)
    if planned.wanted.analysis is None:
        _print_status(planned.directory.path)
        return 0
    return _conclude(planned.directory.path, allow_failures=False)


def _submit(chosen: argparse.Namespace) -> int:
    from cascade_driver.campaign.slurm import ArrayRequest, sbatch, submit, walltime_s, write_script
    from cascade_driver.campaign.verify import set_damaged_aside
    from cascade_driver.workflow import open_run

    walltime_s(chosen.time)
    if not chosen.dry_run:
        sbatch()
    planned = open_run(chosen.run)
    run = planned.directory
    set_damaged_aside(run, planned.campaign)
    finished = run.finished()
    missing = sum(1 for cascade in planned.campaign.cascades() if cascade.id not in finished)
    if missing == 0 and not run.starts_to_restore(planned.campaign):
        print(f"{run.path}: all cascades are finished, nothing to submit")
        return 0
    request = ArrayRequest(
        tasks=min(chosen.tasks, max(1, missing)),
        time=chosen.time,
        cpus=chosen.cpus,
        memory_MiB=chosen.memory_MiB,
        partition=chosen.partition,
        account=chosen.account,
        extra=tuple(chosen.option),
    )
    script = write_script(run, request, title=planned.campaign.title)
    if chosen.dry_run:
        print(f"{script}: written, not submitted; {missing} cascades are missing")
        return 0
    job = submit(script)
    print(f"job {job}: {request.tasks} workers for {missing} cascades; see `cascade status {run.path}`")
    return 0


def _work(chosen: argparse.Namespace) -> int:
    from cascade_driver.workflow import open_run, work_on

    planned = open_run(chosen.run)
    if chosen.lease is not None:
        _stop_with(chosen.lease)
    try:
        # A worker has children, whatever executor started it.
        progress = work_on(
            planned,
            workers=chosen.workers,
            executor="processes",
            until_s=chosen.until,
            repair=False,
            observe=lambda _: None,
        )
    except KeyboardInterrupt:
        print("stopped; what was in progress is free for others", flush=True)
        return 0
    print(f"{progress.done_here} cascades finished here, {progress.done} of {progress.total} in all", flush=True)
    return 0


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
    """Fit, correct, draw, report; end with the table and the paths."""
    from cascade_driver.campaign.rundir import RunDirectory
    from cascade_driver.terminal import print_energies
    from cascade_driver.workflow import conclude

    console = _console()
    conclusion = conclude(RunDirectory(path), allow_failures=allow_failures)
    print_energies(conclusion.table, console=console)
    for note in conclusion.notes:
        console.print(f"note: {note}", highlight=False)
    console.print("written:", highlight=False)
    for file in conclusion.files:
        console.print(f"  {file}", highlight=False, soft_wrap=True)
    if conclusion.failure:
        raise CascadeError(conclusion.failure)
    return 0


def _report(chosen: argparse.Namespace) -> int:
    return _conclude(chosen.run.resolve(), allow_failures=chosen.allow_failures)


def _status(chosen: argparse.Namespace) -> int:
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
    from cascade_driver.terminal import print_status

    print_status(run_status(RunDirectory(path.resolve())), console=_console())


def _verify(chosen: argparse.Namespace) -> int:
    from cascade_driver.campaign.rundir import RunDirectory
    from cascade_driver.terminal import watched_verification

    return watched_verification(RunDirectory(chosen.run.resolve()), console=_console())


def _export(chosen: argparse.Namespace) -> int:
    from cascade_driver.campaign.export import export_ase_db, export_structures, export_table
    from cascade_driver.campaign.rundir import RunDirectory

    run = RunDirectory(chosen.run.resolve())
    run.load()
    if not (chosen.table or chosen.ase_db or chosen.structures):
        raise InputError("say what to export: --table FILE.csv or .parquet, --ase-db FILE.db, --structures FOLDER")
    for path in chosen.table:
        print(f"{path}: {export_table(run, path)} cascades")
    if chosen.ase_db:
        print(f"{chosen.ase_db}: {export_ase_db(run, chosen.ase_db)} cascades")
    if chosen.structures:
        print(f"{chosen.structures}: {export_structures(run, chosen.structures)} structures")
    return 0


def _show(chosen: argparse.Namespace) -> int:
    import json

    from cascade_driver.campaign.rundir import RunDirectory
    from cascade_driver.terminal import print_record

    run = RunDirectory(chosen.run.resolve())
    run.load()
    matches = sorted(c for c in run.finished() if c.startswith(chosen.id))
    if len(matches) != 1:
        found = "no finished cascade" if not matches else f"{len(matches)} cascades"
        raise InputError(f"{chosen.run}: {found} with an id that begins with `{chosen.id}`; see its cascades/")
    record = run.record(matches[0])
    if chosen.json:
        print(json.dumps(record.as_json(), indent=1))
    else:
        print_record(record, folder=run.cascades / record.id, console=_console())
    return 0


def _fit(chosen: argparse.Namespace) -> int:
    import dataclasses

    from cascade_driver.campaign.rundir import RunDirectory
    from cascade_driver.config import AnalysisSpec
    from cascade_driver.terminal import print_energies, print_model
    from cascade_driver.workflow import analysis_of, fit_run

    run = RunDirectory(chosen.run.resolve())
    run.load()
    analysis = analysis_of(run).analysis or AnalysisSpec()
    changes = {name: getattr(chosen, name) for name in ("shape", "order") if getattr(chosen, name) is not None}
    if chosen.allow_failures:
        changes["allow_failures"] = True
    table, model, path = fit_run(run, analysis=dataclasses.replace(analysis, **changes), out=chosen.out)
    console = _console()
    print_energies(table, console=console)
    print_model(model, console=console)
    console.print(f"written: {path}", highlight=False, soft_wrap=True)
    return 0


def _plan(chosen: argparse.Namespace) -> int:
    from cascade_driver.campaign.rundir import RunDirectory
    from cascade_driver.terminal import print_advice
    from cascade_driver.workflow import advise_run, relevant_range_eV

    between = tuple(chosen.between_eV) if chosen.between_eV else None
    if between and not 0 <= between[0] < between[1]:
        raise InputError(f"--between-eV {between[0]:g} {between[1]:g}: give two rising energies in eV")
    console = _console()
    for pair, advice in advise_run(
        RunDirectory(chosen.run.resolve()), between_eV=between, allow_failures=chosen.allow_failures
    ):
        print_advice(pair, advice, between_eV=between or relevant_range_eV(pair), console=console)
    return 0


# -- spectra ------------------------------------------------------------------------------------------------


def _spectrum_dm(chosen: argparse.Namespace) -> int:
    return _write_requested(
        chosen, ("mass_GeV", "cross_section_cm2", "mediator_mass_MeV", "coupling", "date"), kind="dm"
    )


def _spectrum_cevns(chosen: argparse.Namespace) -> int:
    return _write_requested(
        chosen, ("power_GW", "distance_m", "low_energy_flux", "magnetic_moment_bohr"), kind="cevns"
    )


def _spectrum_capture(chosen: argparse.Namespace) -> int:
    if chosen.mass_g is not None and not chosen.mass_g > 0:
        raise InputError(f"--mass-g is {chosen.mass_g:g}, expected the mass of the crystal in g")
    names = ("gamma_timing", "unknown_lifetime", "slowing_time_fs", "density_g_cm3", "continuum_temperature_MeV")
    return _write_requested(chosen, ("neutron_flux_cm2_s", *names), kind="capture")


def _edges(chosen: argparse.Namespace) -> list[float]:
    low, high = chosen.energy_eV
    return [low + (high - low) * i / chosen.bins for i in range(chosen.bins + 1)]


def _spectrum_recoils(chosen: argparse.Namespace) -> int:
    from cascade_driver.spectra.recoil_list import read_recoil_list, spectrum_of_recoils
    from cascade_driver.spectra.spectrum import write_spectrum

    spectrum = spectrum_of_recoils(
        read_recoil_list(chosen.file),
        counts_per_kg_day=chosen.counts_per_kg_day,
        energy_edges_eV=_edges(chosen),
        element=chosen.element,
    )
    write_spectrum(spectrum, chosen.out)
    print(f"{chosen.out}: {spectrum.total_counts_per_kg_day:.6g} counts per kg and day")
    return 0


def _spectrum_levels(chosen: argparse.Namespace) -> int:
    from cascade_driver.spectra.gamma_recoil import GammaTiming
    from cascade_driver.spectra.recoil_list import read_level_file, spectrum_of_cascades
    from cascade_driver.spectra.spectrum import write_spectrum

    spectrum = spectrum_of_cascades(
        read_level_file(chosen.file, lifetime_unit_fs=chosen.lifetime_unit_fs),
        target=chosen.target,
        captures_per_kg_day=chosen.captures_per_kg_day,
        energy_edges_eV=_edges(chosen),
        timing=GammaTiming(law=chosen.gamma_timing),
    )
    write_spectrum(spectrum, chosen.out)
    print(f"{chosen.out}: {spectrum.total_counts_per_kg_day:.6g} counts per kg and day")
    return 0


def _lines(chosen: argparse.Namespace) -> int:
    from cascade_driver.spectra.line_fit import fit_spectrum_lines
    from cascade_driver.spectra.spectrum import read_spectrum

    fit, tests = fit_spectrum_lines(
        read_spectrum(chosen.spectrum),
        at_eV=chosen.at_eV,
        exposure_kg_day=chosen.exposure_kg_day,
        resolution_eV=chosen.resolution_eV,
        between_eV=tuple(chosen.between_eV) if chosen.between_eV else None,
        background_order=chosen.background_order,
        recoil=read_spectrum(chosen.recoils) if chosen.recoils else None,
        half_window_eV=chosen.half_window_eV,
        loss_eV=chosen.loss_eV,
        scale_error=chosen.scale_error,
    )
    print("line/eV     position/eV        shift/eV           width/eV          counts")
    for line in fit.lines:
        print(
            f"{line.reference_energy_eV:8.2f} {line.position_eV:9.3f} +- {line.shift_error_eV:.3f} "
            f"{line.shift_eV:9.3f} +- {line.shift_error_eV:.3f} {line.width_eV:9.3f} +- {line.width_error_eV:.3f} "
            f"{line.counts:11.5g} +- {line.counts_error:.2g}"
        )
    good = fit.goodness
    print(f"deviance {good.statistic:.1f} for {good.degrees_of_freedom} degrees of freedom")
    for test in tests:
        print(
            f"{test.name.replace('_', ' '):14s} chi2 {test.chi_square:10.2f} "
            f"for {test.degrees_of_freedom} degrees of "
            f"freedom: {test.significance:.2f} standard deviations"
        )
    return 0


def _write_requested(chosen: argparse.Namespace, names: tuple[str, ...], *, kind: str) -> int:
    from cascade_driver.analysis.published import load_stored_energy_model
    from cascade_driver.config import AnySpectrumRequest, CaptureRequest, CevnsRequest, DarkMatterRequest
    from cascade_driver.schema import build
    from cascade_driver.spectra.spectrum import write_spectrum
    from cascade_driver.workflow import observed_spectrum, requested_spectrum

    content = {"kind": kind} | {n: getattr(chosen, n) for n in (*names, "target", "energy_eV", "bins")}
    wanted = {"dm": DarkMatterRequest, "cevns": CevnsRequest, "capture": CaptureRequest}[kind]
    request: AnySpectrumRequest = build(wanted, content, origin="arguments")
    spectrum = requested_spectrum(request)
    if getattr(chosen, "model", None):
        model = load_stored_energy_model(chosen.model)
        spectrum = observed_spectrum(
            request, spectrum, model, fallback_species=None, extrapolate=chosen.extrapolate
        )
        _print_notes(spectrum.metadata)
    write_spectrum(spectrum, chosen.out)
    total = float(spectrum.total_counts_per_kg_day)
    low, high = chosen.energy_eV
    print(f"{chosen.out}: {total:.6g} counts per kg and day between {low:g} and {high:g} eV")
    if getattr(chosen, "mass_g", None):
        print(f"{chosen.mass_g:g} g: {total * chosen.mass_g / 1e3:.6g} counts per day")
    return 0


def _print_notes(metadata: Mapping[str, str]) -> None:
    """Print on standard error what a reader of a spectrum must know."""
    for key in ("correction_fallback", "counts_out_of_range_per_kg_day"):
        if key in metadata:
            print(f"note: {key.replace('_', ' ')}: {metadata[key]}", file=sys.stderr)
    for note in filter(None, metadata.get("model_notes", "").split("; ")):
        print(f"note: {note}", file=sys.stderr)


def _correct(chosen: argparse.Namespace) -> int:
    from cascade_driver.analysis.published import CaWO4Assumptions, load_stored_energy_model
    from cascade_driver.config import DetectorSpec
    from cascade_driver.schema import build
    from cascade_driver.spectra.spectrum import read_spectrum, write_spectrum
    from cascade_driver.workflow import correct_spectrum

    content = {"resolution_eV": chosen.resolution_eV, "threshold_eV": chosen.threshold_eV}
    detector = build(DetectorSpec, content, origin="arguments") if any(content.values()) else None
    files = chosen.files if chosen.model is None else [chosen.model, *chosen.files]
    if len(files) != 2:
        raise InputError(
            f"{len(files)} files or names given ({', '.join(files)}), expected a model and a spectrum: "
            "cascade correct MODEL SPECTRUM.csv"
        )
    names = ("half_energy_eV", "width_eV", "sigma_81_eV", "sigma_160_eV")
    assumed = {name: getattr(chosen, name) for name in names if getattr(chosen, name) is not None}
    model = load_stored_energy_model(files[0], assumptions=CaWO4Assumptions(**assumed) if assumed else None)
    observed = correct_spectrum(
        read_spectrum(Path(files[1])),
        model,
        fallback_species=chosen.species,
        extrapolate=chosen.extrapolate,
        detector=detector,
    )
    write_spectrum(observed, chosen.out)
    _print_notes(observed.metadata)
    if model.status == "qualitative":
        print("note: the model is qualitative", file=sys.stderr)
    print(f"{chosen.out}: {float(observed.total_counts_per_kg_day):.6g} counts per kg and day")
    return 0


# -- backgrounds --------------------------------------------------------------------------------------------


def _background_film(chosen: argparse.Namespace) -> int:
    from cascade_driver.plot import film_overlay_figure, film_spectra_figure, save_figure
    from cascade_driver.relaxation.film_spectrum import film_spectrum, read_film_background, tabulate
    from cascade_driver.spectra.spectrum import read_spectrum, write_spectrum

    if chosen.over and not chosen.figure:
        raise InputError("--over draws a figure: say where with --figure STEM")
    if chosen.measured and not chosen.figure:
        raise InputError("--measured is drawn in a figure: say where with --figure STEM")
    over = [(path.stem, read_spectrum(path)) for path in chosen.over]
    measured = [(path.stem, read_spectrum(path)) for path in chosen.measured]
    names = ("film_area_mm2", "detector_mass_kg", "days_since_cooldown", "energy_eV", "bins", "events", "seed")
    options = {name: getattr(chosen, name) for name in names if getattr(chosen, name) is not None}
    spacings = chosen.spacing_nm or [None]
    wanted = [
        read_film_background(
            chosen.input,
            options,
            film={"dislocation_spacing_nm": spacing, "bulk_stress_MPa": chosen.bulk_stress_MPa},
            interface={"metal": chosen.metal, "substrate_shear_modulus_GPa": chosen.substrate_GPa},
        )
        for spacing in spacings
    ]
    # One table serves all: that of the film with the longest paths.
    widest = max(wanted, key=lambda one: one.film.dislocation_spacing_nm)
    table = tabulate(film=widest.film, interface=widest.interface)
    spectra = [film_spectrum(one, table=table) for one in wanted]
    first = spectra[0]
    detector = first.in_detector()
    write_spectrum(detector, chosen.out)
    for one in spectra:
        print(
            f"{one.background.film.dislocation_spacing_nm:g} nm: {1e3 * one.depinning_rate_per_mm2_Hz:.4g} mHz/mm2"
            f" depin {one.background.days_since_cooldown:g} days after the cooldown, "
            f"{1e3 * one.nonzero_rate_per_mm2_Hz:.4g} mHz/mm2 with energy above the gap in the crystal"
        )
        print(
            f"note: {one.supersonic_share:.1%} of these get faster than sound, {one.outside_domain_share:.1%} come"
            " closer to the interface than the model reaches",
            file=sys.stderr,
        )
    print(f"{chosen.out}: {float(detector.total_counts_per_kg_day):.6g} counts per kg and day")
    if chosen.figure:
        written = save_figure(film_spectra_figure(spectra, measured=measured), chosen.figure)
        if over:
            stem = chosen.figure.with_name(f"{chosen.figure.name}-over")
            written += save_figure(film_overlay_figure(detector, over), stem)
        for path in written:
            print(f"written: {path}")
    return 0


# -- tunnelling systems -------------------------------------------------------------------------------------


def _resonator(chosen: argparse.Namespace) -> Any:
    import dataclasses

    from cascade_driver.relaxation.tls_damping import Resonator
    from cascade_driver.schema import build

    names = [field.name for field in dataclasses.fields(Resonator)]
    return build(Resonator, {name: getattr(chosen, name) for name in names}, origin="arguments")


def _write_text(path: Path, text: str) -> None:
    from cascade_driver.campaign.rundir import write_atomically

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror}); choose another place with --out"
        ) from None


def _tls_damping(chosen: argparse.Namespace) -> int:
    import numpy as np

    from cascade_driver.plot import save_figure, tls_damping_figure
    from cascade_driver.relaxation.tls_damping import TunnellingSystems, crossovers, damping_table
    from cascade_driver.schema import build

    resonator = _resonator(chosen)
    names = ("strength", "strain_coupling_eV", "charged_fraction", "electron_coupling")
    systems = build(TunnellingSystems, {name: getattr(chosen, name) for name in names}, origin="arguments")
    low, high = chosen.temperature_K
    if not 0 < low < high:
        raise InputError(f"--temperature-K {low:g} {high:g}: must rise and begin above 0")
    temperature = np.geomspace(low, high, chosen.points)
    _write_text(chosen.out, damping_table(temperature, systems=systems, resonator=resonator))
    figure = tls_damping_figure(systems=systems, resonator=resonator, temperature_K=temperature, data=None)
    save_figure(figure, chosen.out.with_suffix(""))
    found = crossovers(systems=systems, resonator=resonator)
    electrons = "" if found.electron_K is None else f", of charged systems {found.electron_K:.3g} K"
    print(f"{chosen.out}: crossover temperature {found.phonon_K:.3g} K{electrons}")
    return 0


def _tls_fit(chosen: argparse.Namespace) -> int:
    import json

    import numpy as np

    from cascade_driver.plot import save_figure, tls_damping_figure
    from cascade_driver.relaxation.tls_damping_fit import fit_damping, read_damping

    data = read_damping(chosen.data)
    if chosen.without_K:
        data = data.without_superconducting(*chosen.without_K)
    resonator = _resonator(chosen)
    fit = fit_damping(data, resonator=resonator, held=dict(chosen.hold))
    _write_text(chosen.out, json.dumps(fit.as_json(), indent=1) + "\n")
    temperature = np.geomspace(0.8 * data.temperature_K.min(), 1.25 * data.temperature_K.max(), 81)
    figure = tls_damping_figure(systems=fit.systems, resonator=resonator, temperature_K=temperature, data=data)
    save_figure(figure, chosen.out.with_suffix(""))
    for name, p in fit.parameters.items():
        if p.error is None:
            print(f"{name:20s} {p.value:.4g} (held)")
            continue
        ends = ["open" if end is None else f"{end:.4g}" for end in (p.lower, p.upper)]
        print(f"{name:20s} {p.value:.4g} ± {p.error:.2g}, 68 % interval {ends[0]} to {ends[1]}")
    p_value = "none" if fit.goodness.p_value is None else f"{fit.goodness.p_value:.3g}"
    print(f"chi-square {fit.goodness.statistic:.1f} of {fit.goodness.degrees_of_freedom}, p-value {p_value}")
    if not fit.health.is_good:
        print(
            "note: the minimiser does not trust this fit; look at the intervals and at `health`", file=sys.stderr
        )
    print(f"written: {chosen.out}")
    return 0


def _tls_dos(chosen: argparse.Namespace) -> int:
    from cascade_driver.plot import save_figure, tls_density_figure
    from cascade_driver.relaxation.tls_realisations import GlassRun, make_realisations, write_summary
    from cascade_driver.schema import build

    names = ("size", "interaction_K", "random_field_K", "concentration")
    content = {"glass": {n: getattr(chosen, n) for n in names}, "annealing": {}, "seed": chosen.seed}
    run = build(GlassRun, content, origin="arguments")
    workers = chosen.workers or len(os.sched_getaffinity(0))
    console = _console()
    with console.status("annealing") as status:
        make_realisations(
            run,
            chosen.out,
            realisations=chosen.realisations,
            workers=workers,
            observe=lambda done, wanted: status.update(f"annealing: {done} of {wanted} realisations"),
        )
    summary, fits = write_summary(chosen.out)
    print(
        f"{summary.realisations} realisations, of which {summary.unstable} needed flips of pairs to be stable\n"
        f"per second and process {summary.attempts_per_s:.3g} spin flips tried, {summary.flips_per_s:.3g} done; "
        f"10 000 realisations of this size take {summary.hours_for(workers=workers):.2g} h on {workers} processes"
    )
    print("   T (K)   B (1/K)             mu               p-value")
    for f in fits:
        print(
            f"{f.temperature_K:8.3g}   {f.prefactor:.5f} ± {f.prefactor_error:.5f}   "
            f"{f.exponent:.3f} ± {f.exponent_error:.3f}    {f.goodness.p_value or 1:.2g}"
        )
    shown = [f for f in fits if f.temperature_K in {0.0, 0.5}] or fits[:2]
    if shown:
        figure = tls_density_figure(summary.density, fits=shown, random_field_K=run.glass.random_field_K)
        save_figure(figure, chosen.out / "density")
    print(f"written: {chosen.out}/density.csv and fits.json")
    return 0


# -- potentials ---------------------------------------------------------------------------------------------


def _potential_list(chosen: argparse.Namespace) -> int:
    del chosen
    from cascade_driver.simulation.potential import load_potential, shipped_potentials
    from cascade_driver.terminal import print_potentials

    print_potentials([load_potential(name) for name in shipped_potentials()], console=_console())
    return 0


def _potential_show(chosen: argparse.Namespace) -> int:
    from cascade_driver.simulation.potential import load_potential
    from cascade_driver.terminal import print_potential

    print_potential(load_potential(chosen.name), console=_console())
    return 0


def _potential_check(chosen: argparse.Namespace) -> int:
    from cascade_driver.simulation.potential import load_potential
    from cascade_driver.terminal import watched_check

    return watched_check(load_potential(chosen.name), console=_console())


def _potential_join(chosen: argparse.Namespace) -> int:
    from cascade_driver.schema import build
    from cascade_driver.simulation.lammps_engine import LammpsEngine
    from cascade_driver.simulation.potential import ZblSwitch, element_pairs
    from cascade_driver.simulation.zbl import join_core

    def length(given: dict[str, float] | float, pair: str, option: str) -> float:
        if isinstance(given, float):
            return given
        if pair not in given:
            raise InputError(f"{option} names no length for the pair {pair}; add {pair}=... to it")
        return given[pair]

    species = tuple(symbol for word in chosen.species for symbol in word.split(","))
    pairs = ["-".join(pair) for pair in element_pairs(species)]
    switches = {
        pair: build(
            ZblSwitch,
            {
                "inner_A": length(chosen.inner, pair, "--inner"),
                "outer_A": length(chosen.outer, pair, "--outer"),
            },
            origin=f"pair {pair}",
        )
        for pair in pairs
    }
    potential = join_core(
        chosen.body,
        species=species,
        switches=switches,
        out=chosen.out,
        make_engine=lambda made: LammpsEngine(potential=made),
        title=chosen.title,
        origin=chosen.origin,
        license=chosen.license,
        crystals=tuple(chosen.crystals),
    )
    print(f"{potential.folder}: written; try `cascade potential check {chosen.out}`")
    return 0


def _console() -> Console:
    from rich.console import Console

    console = Console()
    # A pipe or a file has no width of its own; 80 columns would break the tables.
    return console if console.is_terminal else Console(width=120)
