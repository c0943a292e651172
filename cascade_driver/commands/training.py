"""Verbs on potentials in the making: propose structures, label, fit, validate."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from cascade_driver.commands.arguments import (
    SECONDS,
    Verbs,
    add_json,
    add_out,
    add_run,
    add_verb,
    new_folder,
    no_kind,
    positive,
    potential_of,
)
from cascade_driver.commands.options import add_keywords, add_options, built, given, keywords
from cascade_driver.errors import InputError

if TYPE_CHECKING:
    from ase import Atoms

    from cascade_driver.training.label_queue import LabelQueue
    from cascade_driver.training.propose import MakeCalculator
    from cascade_driver.training.replay import OpenCalculator


#: Where the option does not say the unit.


def add_to(verbs: Verbs) -> None:
    """Add the verbs of this module to the command."""
    verb = add_verb(verbs, "train", no_kind, "Make a potential: propose structures, label, fit, validate.")
    kinds = verb.add_subparsers(title="actions", metavar="ACTION")
    _add_propose(kinds)
    _add_label(kinds)
    _add_status(kinds)
    _add_collect(kinds)
    _add_import(kinds)
    _add_fit(kinds)
    _add_curve(kinds)
    _add_validate(kinds)
    _add_replay(kinds)
    _add_relax(kinds)


# -- propose ------------------------------------------------------------------------------------------------


def _add_propose(kinds: Verbs) -> None:
    propose = add_verb(kinds, "propose", no_kind, "Add structures to a queue of labels.")
    sources = propose.add_subparsers(title="sources", metavar="SOURCE")
    about = "Structures of any file that ASE reads."
    add_verb(sources, "file", _propose_files, about, _options_files)
    about = "The crystal, strained and shaken at random."
    add_verb(sources, "strain", _propose_strained, about, _options_strain)
    add_verb(sources, "md", _propose_md, "Frames of molecular dynamics.", _options_md)
    add_verb(sources, "pairs", _propose_pairs, "Two neighbours brought close.", _options_pairs)
    about = "All close Frenkel pairs of a grid search, relaxed."
    add_verb(sources, "frenkel", _propose_frenkel, about, _options_frenkel)
    about = "Small cascades of a potential, and their ends."
    add_verb(sources, "cascades", _propose_cascades, about, _options_cascades)


def _options_files(files: argparse.ArgumentParser) -> None:
    files.add_argument("files", type=Path, nargs="+", metavar="FILE")
    files.add_argument("--group", default="given", help="of all of them (default: given)")
    files.add_argument(
        "--trajectory", default="", metavar="T", help="of all; `each`: independent (default: one of each file)"
    )
    _add_queue(files)


def _options_pairs(pairs: argparse.ArgumentParser) -> None:
    pairs.add_argument("--pair", nargs=2, action="append", required=True, metavar=("X", "Y"))
    pairs.add_argument("--at-A", type=float, nargs="+", required=True, dest="at_A", metavar="R")
    _add_crystal(pairs)


def _options_strain(strain: argparse.ArgumentParser) -> None:
    from cascade_driver.training.propose import strained

    add_keywords(strain, strained, "strain", "rattle_A", "count", "seed")
    strain.add_argument("--relax", metavar="P", dest="potential", help="the potential with which atoms then relax")
    _add_crystal(strain)


def _options_md(md: argparse.ArgumentParser) -> None:
    from cascade_driver.training.propose import molecular_dynamics

    add_keywords(md, molecular_dynamics, "temperature_K", "frames", "spacing_ps", "seed")
    _add_crystal(md, moves=True)


def _options_frenkel(frenkel: argparse.ArgumentParser) -> None:
    from cascade_driver.training.propose import FrenkelSearch

    frenkel.add_argument("--species", nargs="+", required=True, metavar="X")
    add_options(frenkel, FrenkelSearch, without=["species"], names={"excerpts": "--frames"})
    _add_crystal(frenkel, moves=True)


def _options_cascades(cascades: argparse.ArgumentParser) -> None:
    from cascade_driver.training.propose import SmallCascades

    add_options(cascades, SmallCascades)
    _add_crystal(cascades)
    cascades.add_argument("--potential", required=True, metavar="P", help="shipped, or a folder")
    cascades.add_argument(
        "--select", type=positive, metavar="N", help="only the N frames that teach a fit most; needs --fit"
    )
    cascades.add_argument("--fit", type=Path, metavar="FIT.toml", help="what the potential was fitted with")
    _add_cache(cascades, "of the fit")


def _add_crystal(verb: argparse.ArgumentParser, *, moves: bool = False) -> None:
    from cascade_driver.training.propose import Cell

    add_options(verb, Cell)
    if moves:
        how = verb.add_mutually_exclusive_group(required=True)
        how.add_argument("--potential", metavar="P", help="shipped, or a folder")
        how.add_argument("--calculator", metavar="MODULE:NAME", help="of ASE, e.g. a universal potential")
    _add_queue(verb)


def _add_queue(verb: argparse.ArgumentParser) -> None:
    from cascade_driver.training.label_queue import LabelQueue

    verb.add_argument("--queue", type=Path, required=True, metavar="QUEUE", help="folder; made if new")
    verb.add_argument("--settings", type=Path, metavar="LABEL.toml", help="how to label; for a new queue")
    add_keywords(verb, LabelQueue.add, "priority")


def _queue(chosen: argparse.Namespace) -> LabelQueue:
    from cascade_driver.training.label_queue import LabelQueue
    from cascade_driver.training.labelling import read_label_settings

    if chosen.settings is not None:
        return LabelQueue.create(chosen.queue, read_label_settings(chosen.settings))
    if not (chosen.queue / "settings.json").exists():
        raise InputError(f"{chosen.queue}: a new queue needs --settings LABEL.toml; it says how labels are made")
    return LabelQueue(chosen.queue)


def _cell(chosen: argparse.Namespace) -> Atoms:
    """Return the box that proposals are made from."""
    from cascade_driver.training.propose import Cell

    return built(chosen, Cell).atoms()


def _calculator(chosen: argparse.Namespace) -> MakeCalculator:
    from cascade_driver.training.labelling import make_ase_calculator
    from cascade_driver.validation.calculator import calculator

    if chosen.potential is not None:
        potential = potential_of(chosen.potential)
        return lambda: calculator(potential)
    return lambda: make_ase_calculator(chosen.calculator, {})


def _ask(chosen: argparse.Namespace, structures: Iterable[Atoms]) -> int:
    """Add structures to the queue one by one: what was found stays, whatever happens to the search."""
    from cascade_driver.training.label_queue import LabelQueue

    queue, found, new = _queue(chosen), 0, 0
    settings = keywords(chosen, LabelQueue.add)
    for atoms in structures:
        found += 1
        new += queue.add([atoms], **settings)
    status = queue.status()
    print(f"{queue.folder}: {found} structures, {new} of them new; {status.waiting} wait for their labels")
    return 0


def _propose_files(chosen: argparse.Namespace) -> int:
    from cascade_driver.training.frames import structure_id
    from cascade_driver.training.importing import EACH
    from cascade_driver.training.propose import named, structures_in

    structures = []
    for path in chosen.files:
        frames = structures_in(path)
        for number, atoms in enumerate(frames):
            group = str(atoms.info.get("group", chosen.group))
            # The frames of one file are of one run, unless somebody says otherwise: folds must not tear it apart.
            run = chosen.trajectory or f"{path.name}-{structure_id(frames[0])[:8]}"
            run = f"{path.name}-{number}-{structure_id(atoms)[:8]}" if chosen.trajectory == EACH else run
            trajectory = str(atoms.info.get("trajectory", run))
            origin = str(atoms.info.get("origin", path.name))
            structures.append(named(atoms, group=group, trajectory=trajectory, origin=origin))
    return _ask(chosen, structures)


def _propose_strained(chosen: argparse.Namespace) -> int:
    from cascade_driver.training.propose import strained

    return _ask(
        chosen,
        strained(
            _cell(chosen),
            relax=_calculator(chosen) if chosen.potential is not None else None,
            **keywords(chosen, strained),
        ),
    )


def _propose_md(chosen: argparse.Namespace) -> int:
    from cascade_driver.training.propose import molecular_dynamics

    return _ask(
        chosen,
        molecular_dynamics(
            _cell(chosen),
            _calculator(chosen),
            **keywords(chosen, molecular_dynamics),
        ),
    )


def _propose_pairs(chosen: argparse.Namespace) -> int:
    from cascade_driver.training.propose import close_pairs

    return _ask(
        chosen, close_pairs(_cell(chosen), distances_A={(a, b): tuple(chosen.at_A) for a, b in chosen.pair})
    )


def _propose_frenkel(chosen: argparse.Namespace) -> int:
    from cascade_driver.terminal.console import make_console
    from cascade_driver.terminal.progress import told_as_it_goes
    from cascade_driver.training.propose import FrenkelSearch, frenkel_pairs

    console, box, make_calculator = make_console(), _cell(chosen), _calculator(chosen)

    def found() -> Iterable[Atoms]:
        for species in chosen.species:
            search = built(chosen, FrenkelSearch, species=species)
            with told_as_it_goes(console, "searching") as tell:
                for pair in frenkel_pairs(box, search, make_calculator, observe=tell):
                    mark = "" if pair.converged else ", not converged"
                    console.print(f"{species}: {pair.energy_eV:.2f} eV above the crystal{mark}")
                    yield from pair.frames

    return _ask(chosen, found())


def _propose_cascades(chosen: argparse.Namespace) -> int:
    from cascade_driver.simulation.crystal import orthogonal_cell
    from cascade_driver.simulation.lammps_engine import LammpsEngine
    from cascade_driver.training.propose import SmallCascades, cascade_structures

    potential = potential_of(chosen.potential)
    wanted = built(chosen, SmallCascades)
    box = orthogonal_cell(_cell(chosen))

    def found() -> Iterable[Atoms]:
        flights = cascade_structures(
            box, wanted, lambda onlooker: LammpsEngine(potential=potential, onlooker=onlooker)
        )
        for number, frames in enumerate(flights, start=1):
            print(f"{number} of {wanted.count}: {frames[-1].info['origin'] if frames else 'healed'}")
            yield from frames

    return _ask(chosen, _teaching(chosen, list(found())) if chosen.select else found())


def _teaching(chosen: argparse.Namespace, candidates: list[Atoms]) -> list[Atoms]:
    """Return the candidates that teach a fit most, with that in their origin."""
    from cascade_driver.training.fit_input import read_fit_input, run_fit
    from cascade_driver.training.selection import choose_candidates

    if chosen.fit is None:
        raise InputError("--select needs --fit FIT.toml: the fit says what it does not know")
    wanted = read_fit_input(chosen.fit)
    fit = run_fit(wanted, cache=_cache(chosen, chosen.fit), progress=print)
    choices = choose_candidates(
        fit.solution, (fit.plan.form.rows(atoms, stress=False) for atoms in candidates), count=chosen.select
    )
    for choice in choices:
        atoms = candidates[choice.index]
        atoms.info["origin"] += f"; forces uncertain by {choice.spread_eV_A:.2f} eV/A"
        print(f"chosen: {atoms.info['trajectory']}, {atoms.info['origin']}")
    return [candidates[choice.index] for choice in choices]


# -- label --------------------------------------------------------------------------------------------------


def _add_label(kinds: Verbs) -> None:
    about = "Label what waits in a queue; any number of workers may."
    add_verb(kinds, "label", _label, about, _options_label)


def _options_label(label: argparse.ArgumentParser) -> None:
    from cascade_driver.training.label_queue import LabelQueue

    label.add_argument("queue", type=Path, metavar="QUEUE")
    add_keywords(label, LabelQueue.work, "until_s", "most", names={"until_s": "--until"}, until_s=SECONDS)
    _add_allow_calculator(label)


def _add_allow_calculator(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--allow-calculator",
        action="append",
        default=[],
        metavar="MODULE:NAME",
        help="run this calculator if the settings name it; it could be any program",
    )


def _label(chosen: argparse.Namespace) -> int:
    from cascade_driver.text import duration
    from cascade_driver.training.label_queue import LabelQueue

    queue = LabelQueue(chosen.queue)

    def say(line: str) -> None:
        status = queue.status()
        each = 3600 * status.hours / status.labelled if status.labelled else 0
        left = f", about {duration(status.waiting * each)} left for one worker" if each else ""
        print(f"{line}; {status.labelled} of {status.asked}{left}", flush=True)

    made = queue.work(observe=say, allowed=chosen.allow_calculator, **keywords(chosen, LabelQueue.work))
    status = queue.status()
    print(f"{made} labels made; {status.waiting} structures wait, {status.failed} failed", flush=True)
    return 0


def _add_status(kinds: Verbs) -> None:
    status = add_verb(kinds, "status", _status, "Show how far a queue of labels is, and what failed.")
    status.add_argument("queue", type=Path, metavar="QUEUE")
    add_json(status)


def _status(chosen: argparse.Namespace) -> int:
    import dataclasses
    import json

    from cascade_driver.text import duration
    from cascade_driver.training.label_queue import LabelQueue

    queue = LabelQueue(chosen.queue)
    status = queue.status()
    if chosen.json:
        print(json.dumps(dataclasses.asdict(status) | {"waiting": status.waiting}, indent=1))
        return 0
    print(f"{status.labelled} of {status.asked} labelled, {status.failed} failed, {status.waiting} wait")
    if status.labelled:
        each = 3600 * status.hours / status.labelled
        left = duration(status.waiting * each)
        print(f"{status.hours:.2f} hours spent, {duration(each)} each; {left} to go for one worker")
    for name, reason in queue.failures().items():
        print(f"failed: {name}: {reason}")
    return 0


def _add_collect(kinds: Verbs) -> None:
    collect = add_verb(kinds, "collect", _collect, "Write the labelled frames of queues into one file.")
    collect.add_argument("queues", type=Path, nargs="+", metavar="QUEUE")
    add_out(collect, "FRAMES.extxyz.gz")


def _collect(chosen: argparse.Namespace) -> int:
    from cascade_driver.text import visible
    from cascade_driver.training.extended_xyz import read_frames
    from cascade_driver.training.frames import without_copies, write_frames
    from cascade_driver.training.importing import doubts
    from cascade_driver.training.label_queue import LabelQueue

    # What an earlier collection holds stays: its queue may be on another machine.
    frames = read_frames(chosen.out) if chosen.out.exists() else []
    before = len(frames)
    for folder in chosen.queues:
        frames += LabelQueue(folder).labelled()
    for sentence in doubts(frames):
        print(visible(f"warning: {sentence}"))
    frames = without_copies(frames)
    write_frames(chosen.out, frames)
    print(f"{chosen.out}: {len(frames)} frames, {len(frames) - before} of them new")
    return 0


def _add_import(kinds: Verbs) -> None:
    about = "Read the labels of other programs: VASP, CP2K, FitSNAP, extended XYZ, what ASE reads."
    add_verb(kinds, "import", _import, about, _options_import)


def _options_import(verb: argparse.ArgumentParser) -> None:
    from cascade_driver.training.extended_xyz import FrameUnits
    from cascade_driver.training.importing import ImportRules

    verb.add_argument("files", type=Path, nargs="+", metavar="FILE")
    verb.add_argument(
        "--key",
        type=_named_key,
        action="append",
        default=[],
        metavar="WHAT=NAME",
        help="name of energy, forces, stress, virial, group or trajectory in extended XYZ",
    )
    verb.add_argument(
        "--unit",
        type=_named_key,
        action="append",
        default=[],
        metavar="WHAT=UNIT",
        help="of energy, forces, stress or virial in extended XYZ, e.g. stress=GPa (default: as the file says)",
    )
    add_options(verb, FrameUnits, only=["compression_positive"])
    verb.add_argument("--groups", nargs="+", metavar="G", help="keep only these")
    add_options(verb, ImportRules, only=["group", "trajectory", "settings", "origin"])
    verb.add_argument(
        "--energy",
        choices=("free", "unsmeared"),
        default="free",
        help="with smearing: the one that forces derive from, or extrapolated (default: free)",
    )
    add_out(verb, "FRAMES.extxyz.gz")


def _named_key(text: str) -> tuple[str, str]:
    what, _, name = text.partition("=")
    return what, name


def _import(chosen: argparse.Namespace) -> int:
    from cascade_driver.schema import build
    from cascade_driver.terminal.console import make_console
    from cascade_driver.terminal.potentials import print_imported
    from cascade_driver.text import visible
    from cascade_driver.training.extended_xyz import FrameKeys, FrameUnits
    from cascade_driver.training.frames import without_copies, write_frames
    from cascade_driver.training.importing import ImportRules, doubts, import_frames

    rules = built(
        chosen,
        ImportRules,
        keys=build(FrameKeys, dict(chosen.key), origin="--key"),
        units=build(FrameUnits, dict(chosen.unit) | given(chosen, FrameUnits), origin="--unit"),
        smeared=chosen.energy == "free",
    )
    found = [import_frames(path, rules) for path in chosen.files]
    print_imported(found, console=make_console())
    frames = [frame for one in found for frame in one.frames]
    if not frames:
        raise InputError("no frame is left; the reasons stand above")
    groups = {frame.group for frame in frames}
    if chosen.groups and (unknown := sorted(set(chosen.groups) - groups)):
        raise InputError(f"no frames of group {unknown[0]!r}; there are {', '.join(sorted(groups))}")
    wanted = [frame for frame in frames if not chosen.groups or frame.group in chosen.groups]
    kept = without_copies(wanted)
    for sentence in doubts(wanted):
        print(visible(f"warning: {sentence}"))
    write_frames(chosen.out, kept)
    trajectories = len({frame.trajectory for frame in kept})
    print(
        f"{chosen.out}: {len(kept)} frames of {trajectories} trajectories, "
        f"{len(wanted) - len(kept)} exact copies left out"
    )
    return 0


# -- fit ----------------------------------------------------------------------------------------------------


def _add_fit(kinds: Verbs) -> None:
    about = "Fit a linear potential to labelled frames and write its folder."
    add_verb(kinds, "fit", _fit, about, _options_fit)


def _add_cache(verb: argparse.ArgumentParser, about: str) -> None:
    verb.add_argument("--cache", type=new_folder, metavar="DIR", help=f"{about} (default: `.fit-cache` beside it)")


def _cache(chosen: argparse.Namespace, fit: Path) -> Path:
    """Return where the rows of frames are kept for a fit."""
    return chosen.cache or fit.parent / ".fit-cache"


def _options_fit(verb: argparse.ArgumentParser) -> None:
    from cascade_driver.training.fit_input import write_fit

    verb.add_argument("input", type=Path, metavar="FIT.toml")
    add_out(verb, "POTENTIAL", "a new folder", is_folder=True)
    add_keywords(verb, write_fit, "ensemble", "seed")
    _add_cache(verb, "of the rows of frames")


def _fit(chosen: argparse.Namespace) -> int:
    from cascade_driver.training.fit_input import read_fit_input, run_fit, write_fit

    if chosen.out.exists():
        raise InputError(f"{chosen.out}: exists; give the name of a new folder")
    wanted = read_fit_input(chosen.input)
    cache = _cache(chosen, chosen.input)
    fit = run_fit(wanted, cache=cache, progress=lambda line: print(line, flush=True))
    errors, potentials = write_fit(wanted, fit, chosen.out, cache=cache, **keywords(chosen, write_fit))
    print("held-out errors        frames   energy/(meV/atom)   force/(eV/A)   stress/GPa")
    for one in errors:
        print(
            f"{one.group:22s} {one.frames:6d} {one.energy_meV_per_atom:19.2f} {one.force_eV_A:14.3f}"
            f" {one.stress_GPa:12.2f}"
        )
    for potential in potentials:
        print(f"written: {potential.folder}")
    return 0


def _add_curve(kinds: Verbs) -> None:
    verb = add_verb(kinds, "curve", _curve, "How errors fall with the number of labels: a learning curve.")
    verb.add_argument("input", type=Path, metavar="FIT.toml")
    verb.add_argument(
        "--test", type=Path, required=True, metavar="FRAMES", help="labelled, the crystal among them"
    )
    _add_cache(verb, "of the rows of frames")
    add_out(verb, "DIR", "of a validation: its report shows it", is_folder=True)


def _curve(chosen: argparse.Namespace) -> int:
    from cascade_driver.plot import save_figure
    from cascade_driver.plot.training import learning_figure
    from cascade_driver.training.fit_input import read_fit_input
    from cascade_driver.training.learning import learning_curve, learning_curves, learning_section
    from cascade_driver.training.validate import LEARNING, write_section

    points = learning_curve(
        read_fit_input(chosen.input),
        chosen.test,
        cache=_cache(chosen, chosen.input),
        progress=lambda line: print(line, flush=True),
    )
    section = learning_section(points, test=chosen.test.name)
    chosen.out.mkdir(parents=True, exist_ok=True)
    written = chosen.out / f"{LEARNING}.json"
    write_section(written, section)
    figures = save_figure(learning_figure(learning_curves(points)), chosen.out / "learning-curve")
    for path in [written, *figures]:
        print(f"written: {path}")
    return 0


# -- validate -----------------------------------------------------------------------------------------------


def _add_validate(kinds: Verbs) -> None:
    about = "Measure a potential against labels and experiment."
    add_verb(kinds, "validate", _validate, about, _options_validate)


def _options_validate(verb: argparse.ArgumentParser) -> None:
    from cascade_driver.training.validate import validate

    verb.add_argument("potential", metavar="P", help="shipped, or a folder")
    verb.add_argument("--crystal", metavar="C", help="CaWO4, Si, ... or a file (default: the potential's first)")
    verb.add_argument(
        "--frames", type=Path, nargs="*", default=[], metavar="FILE", help="labelled, not trained on"
    )
    verb.add_argument("--frenkel", nargs="*", default=[], metavar="X", help="search the close pairs of these")
    add_keywords(verb, validate, "sections")
    add_out(verb, "DIR", "a section there is not done again", is_folder=True)


def _validate(chosen: argparse.Namespace) -> int:
    from cascade_driver.simulation.lammps_engine import LammpsEngine
    from cascade_driver.training.extended_xyz import read_frames
    from cascade_driver.training.propose import conventional_cell
    from cascade_driver.training.validate import Bench, validate
    from cascade_driver.validation.calculator import calculator
    from cascade_driver.validation_report import write_validation

    potential = potential_of(chosen.potential)
    crystal = chosen.crystal or next(iter(potential.about.crystals), None)
    if crystal is None:
        raise InputError(f"{potential.name} names no crystal; say which with --crystal")
    bench = Bench(
        potential=potential,
        make_calculator=lambda: calculator(potential),
        make_engine=lambda: LammpsEngine(potential=potential),
        crystal=conventional_cell(crystal),
        frames=[frame for path in chosen.frames for frame in read_frames(path)],
        frenkel_species=tuple(chosen.frenkel),
        observe=lambda line: print(line, flush=True),
    )
    sections = validate(bench, chosen.out, **keywords(chosen, validate))
    for path in write_validation(potential, sections, chosen.out):
        print(f"written: {path}")
    return 0


# -- replay -------------------------------------------------------------------------------------------------


def _add_replay(kinds: Verbs) -> None:
    about = "Follow a cascade of a run by first principles, or another potential."
    add_verb(kinds, "replay", _replay, about, _options_replay)


def _options_replay(verb: argparse.ArgumentParser) -> None:
    from cascade_driver.training.replay import ReplaySettings, replay

    add_run(verb)
    verb.add_argument("id", metavar="ID", help="of a finished cascade, or its first digits")
    _add_follower(verb)
    add_keywords(
        verb, replay, "until_fs", "stop_after_s", names={"stop_after_s": "--stop-after"}, stop_after_s=SECONDS
    )
    add_options(verb, ReplaySettings, without=["cascade", "calculator"])
    add_out(verb, "DIR", "goes on where it stopped", is_folder=True)


def _replay(chosen: argparse.Namespace) -> int:
    from cascade_driver.campaign.listing import one_finished
    from cascade_driver.campaign.rundir import RunDirectory
    from cascade_driver.training.replay import ReplaySettings, replay

    run = RunDirectory(chosen.run)
    cascade = one_finished(run, chosen.id)
    who, opens = _follower(chosen)
    wanted = built(chosen, ReplaySettings, cascade=cascade, calculator=who)
    replay(
        run,
        wanted,
        open_calculator=opens,
        out=chosen.out.resolve(),
        observe=partial(print, flush=True),
        **keywords(chosen, replay),
    )
    return 0


def _add_follower(verb: argparse.ArgumentParser) -> None:
    """Add who gives the forces: a calculator of labels, or a potential."""
    how = verb.add_mutually_exclusive_group(required=True)
    how.add_argument("--settings", type=Path, metavar="LABEL.toml", help="of a calculator, as for labels")
    how.add_argument("--potential", metavar="P", help="shipped, or a folder")
    _add_allow_calculator(verb)


def _follower(chosen: argparse.Namespace) -> tuple[str, OpenCalculator]:
    """Return who gives the forces, in words, and how it is opened."""
    from cascade_driver.training.labelling import (
        flight_calculator,
        read_label_settings,
        require_allowed,
        settings_words,
    )
    from cascade_driver.validation.calculator import calculator

    if chosen.potential:
        potential = potential_of(chosen.potential)
        return potential.name, lambda _atoms, _folder: nullcontext(calculator(potential))
    settings = read_label_settings(chosen.settings)
    require_allowed(settings, chosen.allow_calculator)
    return settings_words(settings), partial(flight_calculator, settings)


# -- relax --------------------------------------------------------------------------------------------------


def _add_relax(kinds: Verbs) -> None:
    about = "Bring structures to rest by first principles, or another potential: do they stay, at what energy?"
    add_verb(kinds, "relax", _relax, about, _options_relax)


def _options_relax(verb: argparse.ArgumentParser) -> None:
    from cascade_driver.training.relax import RelaxSettings, relax

    verb.add_argument("structures", type=Path, metavar="FILE", help="that ASE reads; all its structures")
    _add_follower(verb)
    add_options(verb, RelaxSettings, without=["calculator"])
    add_keywords(verb, relax, "stop_after_s", names={"stop_after_s": "--stop-after"}, stop_after_s=SECONDS)
    add_out(verb, "DIR", "goes on where it stopped", is_folder=True)
    verb.add_argument("--frames", type=Path, metavar="FILE", help="write all steps as labelled frames, too")


def _relax(chosen: argparse.Namespace) -> int:
    from cascade_driver.terminal.console import make_console
    from cascade_driver.terminal.potentials import print_relaxations
    from cascade_driver.training.frames import write_structures
    from cascade_driver.training.propose import structures_in
    from cascade_driver.training.relax import RelaxSettings, relax, relaxed_steps

    who, opens = _follower(chosen)
    found = relax(
        structures_in(chosen.structures),
        built(chosen, RelaxSettings, calculator=who),
        open_calculator=opens,
        out=chosen.out.resolve(),
        observe=partial(print, flush=True),
        **keywords(chosen, relax),
    )
    print_relaxations(found, console=make_console())
    if chosen.frames:
        write_structures(chosen.frames, relaxed_steps(chosen.out.resolve()))
    return 0
