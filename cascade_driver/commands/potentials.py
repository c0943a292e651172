"""Verbs on potentials."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cascade_driver.commands.arguments import Verbs, add_out, add_verb, lengths, no_kind, potential_of
from cascade_driver.commands.options import add_keywords, add_options, built, given, keywords
from cascade_driver.errors import InputError

if TYPE_CHECKING:
    from cascade_driver.simulation.potential import Potential


def add_to(verbs: Verbs) -> None:
    """Add the verbs of this module to the command."""
    _add_potential(verbs)


def _add_potential(verbs: Verbs) -> None:
    verb = add_verb(verbs, "potential", no_kind, "List, show or check potentials.")
    kinds = verb.add_subparsers(title="actions", metavar="ACTION")
    add_verb(kinds, "list", _potential_list, "List the potentials that ship with the package.")
    show = add_verb(kinds, "show", _potential_show, "Show one potential.")
    show.add_argument("name", metavar="NAME", help="a shipped potential, or the path of a folder")
    check = add_verb(
        kinds,
        "check",
        _potential_check,
        "Put a potential through the contract tests: 0 if it holds, 1 if it fails, 3 if checks could not be run.",
    )
    check.add_argument("name", metavar="NAME", help="a shipped potential, or the path of a folder")
    check.add_argument(
        "--crystal",
        action="append",
        default=[],
        metavar="C",
        help="CaWO4, Si, Ge, ... or a structure file, in place of those that the potential names; may be repeated",
    )
    add_verb(
        kinds,
        "compare",
        _potential_compare,
        "Hold potentials side by side in one crystal: bulk, Frenkel pairs, thresholds, stored energies.",
        _compare_options,
    )
    copy = add_verb(
        kinds, "copy", _potential_copy, "Copy a potential to a folder of its own, for bare LAMMPS or to change it."
    )
    copy.add_argument("name", metavar="NAME", help="a shipped potential, or the path of a folder")
    add_out(copy, "DIR", is_folder=True)
    combine = add_verb(
        kinds,
        "combine",
        _potential_combine,
        "Make two potentials one: a fast one moves the atoms, an accurate one says at which energy they rest.",
    )
    combine.add_argument("follow", metavar="FOLLOW", help="moves the atoms: a shipped potential or a folder")
    combine.add_argument("quench", metavar="QUENCH", help="says at which energy they come to rest, likewise")
    add_out(combine, "DIR", is_folder=True)
    about = "Make a potential folder: a ZBL core joined to any LAMMPS body."
    add_verb(kinds, "join", _potential_join, about, _options_join)


def _options_join(join: argparse.ArgumentParser) -> None:
    from cascade_driver.validation.switch_choice import SwitchChooser
    from cascade_driver.validation.zbl import join_core

    join.add_argument("body", type=Path, metavar="BODY.lmp", help="include with pair_style and pair_coeff")
    join.add_argument("--species", nargs="+", required=True, metavar="X", help="of the atom types 1, 2, ...")
    join.add_argument(
        "--inner",
        type=lengths,
        default={},
        metavar="A",
        help="pure ZBL below: 0.9, or Al-Si=0.9,...; chosen and explained where not given",
    )
    join.add_argument("--outer", type=lengths, default={}, metavar="A", help="pure body above, likewise")
    add_options(join, SwitchChooser, only=["recoil_energy_eV"], names={"recoil_energy_eV": "--energy-eV"})
    join.add_argument(
        "--pairs-from",
        type=Path,
        metavar="PAIRS.lmp",
        help="two atoms alone interact as in this include, BODY.lmp is what more atoms add",
    )
    add_keywords(join, join_core, "crystals", "title", "origin", "license")
    add_out(join, "DIR", is_folder=True)


def _compare_options(verb: argparse.ArgumentParser) -> None:
    from cascade_driver.config import WorkSpec
    from cascade_driver.potential_comparison import ComparisonSpec

    verb.add_argument("potentials", nargs="+", metavar="P", help="two or more: shipped ones, or folders")
    add_options(verb, ComparisonSpec, without=["potentials"])
    add_options(verb, WorkSpec, only=["workers"], tell_defaults=False)
    verb.add_argument("--plan-only", action="store_true", help="say what it costs, and end")
    add_out(verb, "DIR", "a folder of campaigns; goes on from there", is_folder=True)


def _potential_list(chosen: argparse.Namespace) -> int:
    del chosen
    from cascade_driver.simulation.potential import load_potential, shipped_potentials
    from cascade_driver.terminal.console import make_console
    from cascade_driver.terminal.potentials import print_potentials

    print_potentials([load_potential(name) for name in shipped_potentials()], console=make_console())
    return 0


def _potential_show(chosen: argparse.Namespace) -> int:
    from cascade_driver.terminal.console import make_console
    from cascade_driver.terminal.potentials import print_potential

    print_potential(potential_of(chosen.name), console=make_console())
    return 0


def _potential_check(chosen: argparse.Namespace) -> int:
    from cascade_driver.terminal.console import make_console
    from cascade_driver.terminal.potentials import watched_check

    return watched_check(potential_of(chosen.name), crystals=chosen.crystal, console=make_console())


def _potential_compare(chosen: argparse.Namespace) -> int:
    from tempfile import TemporaryDirectory

    from cascade_driver.config import WorkSpec
    from cascade_driver.potential_comparison import (
        ComparisonSpec,
        comparison_rows,
        foresee_cost,
        measure_crystal,
        read_compared,
        require_same_comparison,
        write_comparison,
        write_inputs,
    )
    from cascade_driver.terminal.console import make_console
    from cascade_driver.terminal.potentials import print_foreseen, print_potential_comparison
    from cascade_driver.terminal.progress import watched_work
    from cascade_driver.workflow import attended_run

    console = make_console()
    if len(chosen.potentials) < 2:
        raise InputError(f"{chosen.potentials[0]} alone is compared with nothing; name two potentials or more")
    spec = built(chosen, ComparisonSpec, potentials=tuple(chosen.potentials))
    potentials = {one.name: one for one in map(potential_of, spec.potentials)}
    require_same_comparison(spec, potentials, chosen.out)
    with TemporaryDirectory() as tried:
        for name, path in write_inputs(spec, potentials, Path(tried)).items():
            with attended_run(path, out=Path(tried) / name):
                pass  # refuses what cannot be used before anything is begun
    console.print(spec.said, soft_wrap=True)
    print_foreseen({name: foresee_cost(spec, one) for name, one in potentials.items()}, console=console)
    if chosen.plan_only:
        return 0
    for name, path in write_inputs(spec, potentials, chosen.out).items():
        console.print(name)
        measure_crystal(spec, potentials[name], chosen.out / f"{name}-crystal", observe=console.print)
        with attended_run(path, out=chosen.out / name) as planned:
            watched_work(planned, workers=given(chosen, WorkSpec).get("workers"), console=console)
    compared = {name: read_compared(spec, one, chosen.out) for name, one in potentials.items()}
    print_potential_comparison(list(compared), comparison_rows(compared), console=console)
    for path in write_comparison(spec, compared, chosen.out):
        print(f"written: {path}")
    return 0


def _potential_copy(chosen: argparse.Namespace) -> int:
    from cascade_driver.simulation.potential import copy

    print(f"{copy(potential_of(chosen.name), out=chosen.out).folder}: written")
    return 0


def _potential_combine(chosen: argparse.Namespace) -> int:
    from cascade_driver.simulation.potential import combine

    made = combine(potential_of(chosen.follow), potential_of(chosen.quench), out=chosen.out)
    print(f"{made.folder}: written, with its two parts beside it; try `cascade potential check {chosen.out}`")
    return 0


def _potential_join(chosen: argparse.Namespace) -> int:
    from cascade_driver.simulation.apart import apart
    from cascade_driver.simulation.crystal import named_or_file
    from cascade_driver.simulation.potential import element_pairs
    from cascade_driver.validation.switch_choice import SwitchChooser, shortest_bonds_A
    from cascade_driver.validation.zbl import join_core

    species = tuple(symbol for word in chosen.species for symbol in word.split(","))
    pairs = ["-".join(pair) for pair in element_pairs(species)]
    told = keywords(chosen, join_core)
    work = partial(
        join_core,
        chosen.body,
        species=species,
        switches=built(
            chosen,
            SwitchChooser,
            bonds_A=shortest_bonds_A(species, [named_or_file(word) for word in told.get("crystals", ())]),
            inner_A=_by_pair(chosen.inner, pairs, "--inner"),
            outer_A=_by_pair(chosen.outer, pairs, "--outer"),
        ),
        out=chosen.out,
        pairs_from=chosen.pairs_from,
        **told,
    )
    potential = apart(_join, work)
    print(potential.about.description.strip())
    print(f"{potential.folder}: written; try `cascade potential check {chosen.out}`")
    return 0


def _by_pair(given: dict[str, float] | float, pairs: list[str], option: str) -> dict[str, float]:
    """Return lengths by pair; those of pairs that are not named are chosen."""
    if isinstance(given, float):
        return dict.fromkeys(pairs, given)
    if strangers := sorted(set(given) - set(pairs)):
        raise InputError(f"{option}: {strangers[0]} is none of the pairs {', '.join(pairs)}; name one of these")
    return given


def _join(say: Callable[[Any], None], work: Callable[..., Potential]) -> Potential:
    """Join a core in a process of its own: the body is anybody's, and may take LAMMPS down."""
    from cascade_driver.simulation.lammps_engine import LammpsEngine

    del say
    return work(make_engine=lambda made: LammpsEngine(potential=made))
