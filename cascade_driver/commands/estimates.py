"""The verb that estimates damage without molecular dynamics."""

from __future__ import annotations

import argparse
import sys

from cascade_driver.commands.arguments import Verbs, add_out, add_verb, no_kind
from cascade_driver.commands.options import add_keywords, add_options, built, keywords


def add_to(verbs: Verbs) -> None:
    """Add the verb of this module to the command."""
    about = "Estimate defects and stored energy without molecular dynamics: Kinchin-Pease, NRT, arc-dpa."
    verb = add_verb(verbs, "estimate", no_kind, about)
    kinds = verb.add_subparsers(title="kinds", metavar="KIND")
    about = "Damage energy, Frenkel pairs and stored energy of recoils."
    add_verb(kinds, "pairs", _pairs, about, _options_pairs)
    about = "Recoils from a file of SRIM or RustBCA, as a list that `cascade spectrum recoils` takes."
    add_verb(kinds, "recoils", _recoils, about, _options_recoils)
    about = "What the energy stored by an ion fluctuates by: the limit of a calorimeter's resolution."
    add_verb(kinds, "resolution", _resolution, about, _options_resolution)


def _options_pairs(verb: argparse.ArgumentParser) -> None:
    from cascade_driver.analysis.damage import DamageSpec

    add_options(verb, DamageSpec)
    verb.add_argument(
        "--energies-eV",
        type=float,
        nargs="+",
        required=True,
        dest="energies_eV",
        metavar="E",
        help="of the recoils",
    )
    add_out(verb, "CSV", required=False)


def _options_resolution(verb: argparse.ArgumentParser) -> None:
    from cascade_driver.analysis.resolution_limit import IonSpec

    add_options(verb, IonSpec)


def _options_recoils(verb: argparse.ArgumentParser) -> None:
    from pathlib import Path

    from cascade_driver.sources.collision_files import energies_of, read_collisions

    verb.add_argument("file", type=Path, metavar="FILE", help="COLLISON.txt, or displacements.output in u and eV")
    add_keywords(verb, read_collisions, "program")
    add_keywords(verb, energies_of, "species")
    add_out(verb, "CSV")


def _recoils(chosen: argparse.Namespace) -> int:
    from collections import Counter

    from cascade_driver.files import write_file
    from cascade_driver.sources.collision_files import energies_of, read_collisions

    asked = keywords(chosen, read_collisions)
    found = read_collisions(chosen.file, **asked)
    energies = energies_of(found, **keywords(chosen, energies_of))
    counted = ", ".join(f"{n} {name}" for name, n in Counter(found.species.tolist()).items())
    write_file(chosen.out, "\n".join(["energy_eV", *(f"{energy:.8g}" for energy in energies)]) + "\n")
    print(f"{chosen.out}: {len(energies)} recoils; {chosen.file} holds {counted}")
    if len(set(found.species.tolist())) > 1 and len(energies) == len(found.species):
        print("note: energies of all species in one list; --species NAME keeps those of one", file=sys.stderr)
    if asked["program"] == "rustbca":
        print(
            "note: RustBCA lists the recoils of recoils, too: where a model of whole cascades corrects this list, "
            "they count twice",
            file=sys.stderr,
        )
    return 0


def _pairs(chosen: argparse.Namespace) -> int:
    from cascade_driver.analysis.damage import ARC_DPA, DamageSpec, damage_columns, estimate
    from cascade_driver.commands.options import complaints_by_option
    from cascade_driver.files import write_file
    from cascade_driver.terminal.console import make_console, print_columns

    with complaints_by_option(chosen, DamageSpec):
        spec = built(chosen, DamageSpec)
        found = estimate(spec, energies_eV=chosen.energies_eV)
    columns = damage_columns(found)
    console = make_console()
    mean = ", the harmonic mean over its atoms" if len(spec.displacement_eV) > 1 else ""
    title = f"{spec.recoil or spec.target} in {spec.target}, E_d = {found.displacement_eV:.3g} eV{mean}"
    print_columns(columns, title=title, console=console)
    if found.arc_dpa is None:
        console.print(
            f"note: no arc-dpa, whose constants are here for {', '.join(ARC_DPA)} in themselves; NRT counts pairs "
            "before they recombine",
            soft_wrap=True,
        )
    if chosen.out is not None:
        rows = zip(*columns.values(), strict=True)
        lines = [",".join(columns), *(",".join(f"{value:.6g}" for value in row) for row in rows)]
        write_file(chosen.out, "\n".join(lines) + "\n")
        console.print(f"written: {chosen.out}", soft_wrap=True)
    return 0


def _resolution(chosen: argparse.Namespace) -> int:
    from cascade_driver.analysis.resolution_limit import IonSpec, resolution_limit

    spec = built(chosen, IonSpec)
    found = resolution_limit(spec)
    print(
        f"{spec.ion} of {spec.energy_keV:g} keV in {spec.target}: "
        f"{found.damage_energy_eV / 1e3:.3g} keV move atoms (standard deviation "
        f"{found.damage_energy_sd_eV / 1e3:.2g} keV, its tail of hard collisions included)\n"
        f"{found.pairs:.3g} Frenkel pairs store {found.stored_energy_eV:.3g} eV\n"
        f"resolution limit {found.fwhm_eV:.3g} eV (FWHM): {found.of_share_eV:.3g} eV by the energy that goes to "
        f"atoms, {found.of_number_eV:.3g} eV by the number of pairs; good to a third"
    )
    return 0
