"""Verbs on the debris of cascades: its pairs of minima, and the glass they make."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cascade_driver.commands.arguments import Verbs, add_out, add_run, add_verb
from cascade_driver.commands.options import (
    add_keywords,
    add_options,
    built,
    complaints_by_option,
    given,
    keywords,
    kind_of,
)
from cascade_driver.errors import InputError
from cascade_driver.files import is_stream, write_file

if TYPE_CHECKING:
    from cascade_driver.relaxation.debris.pairs import Debris, MeanRelease


def add_debris(kinds: Verbs) -> None:
    """Add the kinds of this module to `cascade tls`."""
    about = "Pairs of minima in the debris of cascades, and what they release later."
    add_verb(kinds, "debris", _tls_debris, about, _options_debris)
    about = "From the pairs of debris to a glass of two-level systems, and what it gives off within a year."
    add_verb(kinds, "glass", _tls_glass, about, _options_glass)


def _options_glass(glass: argparse.ArgumentParser) -> None:
    from cascade_driver.relaxation.debris.glass import PairWindow, afterglow

    glass.add_argument("debris", type=Path, nargs="+", metavar="DEBRIS", help="folders of `cascade tls debris`")
    add_options(glass, PairWindow)
    add_keywords(glass, afterglow, "temperature_K", "irradiation_s")
    add_out(glass, "GLASS.json", "GLASS.csv and a figure are put beside it")


def _tls_glass(chosen: argparse.Namespace) -> int:
    import json

    from cascade_driver.plot import debris_glass_figure, save_figure
    from cascade_driver.relaxation.debris.glass import PairWindow, afterglow, glass_of, read_folders
    from cascade_driver.schema import plain
    from cascade_driver.text import value_with_error

    debris, solid = read_folders(chosen.debris)
    window = built(chosen, PairWindow)
    found = glass_of(debris, solid=solid, window=window)
    late = afterglow(debris, solid=solid, **keywords(chosen, afterglow))
    content = {"glass": plain(found), "window": plain(window), "solid": plain(solid)}
    write_file(chosen.out, json.dumps(content, indent=1) + "\n")
    if not is_stream(chosen.out):
        write_file(chosen.out.with_suffix(".csv"), late.as_csv())
        save_figure(debris_glass_figure(debris, window, late), chosen.out.with_suffix(""))
    print(
        f"{found.cascades} cascades, {found.pairs} pairs in the window, {found.two_level_systems} of them two-"
        f"level systems; {_known_said(debris)}: lower bounds\n"
        f"P_0 {found.density_per_J_m3.told} /J/m3 of debris\n"
        f"gamma {found.longitudinal_coupling_eV.told} eV along, {found.transverse_coupling_eV.told} eV across\n"
        f"C = P_0 gamma^2/(rho v^2) {found.longitudinal_strength.told} along, "
        f"{found.transverse_strength.told} across"
    )
    print("  after    given off since 1 ms, eV   events since 1 ms   after the irradiation: events/s   heat, eV/s")
    for name, seconds in (("1 s", 1.0), ("1 h", 3.6e3), ("1 day", 8.64e4), ("1 year", 3.16e7)):
        k = int(abs(late.time_s - seconds).argmin())
        released = value_with_error(float(late.released_eV[k]), float(late.released_error_eV[k]))
        print(
            f"{name:>7s}   {released:>25s}   {late.events[k]:17.3g}   {late.events_per_s[k]:31.3g}   "
            f"{late.heat_eV_per_s[k]:10.3g}"
        )
    print(f"per cascade that stores energy, at {late.temperature_K:g} K; written: {chosen.out}")
    return 0


def _options_debris(debris: argparse.ArgumentParser) -> None:
    from cascade_driver.relaxation.debris.pairs import DebrisRun, search_run, write_summary
    from cascade_driver.relaxation.debris.path import PathSpec
    from cascade_driver.relaxation.debris.search import SearchSpec
    from cascade_driver.relaxation.debris.tunnelling import Solid

    add_run(debris)
    add_out(debris, "DIR", "the same DIR continues a search", is_folder=True)
    add_options(debris, SearchSpec, names={"burst_temperatures_K": "--burst-temperature-K"})
    add_options(debris.add_argument_group("paths"), PathSpec, names={"steps": "--path-steps"})
    add_options(debris, DebrisRun, only=["seed"])
    add_keywords(debris, search_run, "cascades", "workers")
    debris.add_argument(
        "--finished",
        action="store_true",
        help="search nothing: sum up the cascades that are searched so far",
    )
    add_keywords(debris, write_summary, "temperatures_K", names={"temperatures_K": "--temperature-K"})
    crystal = debris.add_argument_group("the crystal; Si, Al, CaWO4 are known")
    add_options(crystal, Solid, may_be_missing=True)


def _tls_debris(chosen: argparse.Namespace) -> int:
    from cascade_driver.campaign.rundir import RunDirectory
    from cascade_driver.plot import debris_figure, save_figure
    from cascade_driver.relaxation.debris.pairs import (
        DebrisRun,
        cascades_with_debris,
        load_searches_of,
        search_run,
        write_summary,
    )
    from cascade_driver.relaxation.debris.path import PathSpec
    from cascade_driver.relaxation.debris.search import SearchSpec
    from cascade_driver.relaxation.debris.tunnelling import Solid, solid_of

    run = RunDirectory(chosen.run)
    campaign = run.load()
    with complaints_by_option(chosen, Solid):
        solid = solid_of(campaign.protocol.crystal.name, given(chosen, Solid))
    told = keywords(chosen, write_summary)
    if chosen.finished:
        if any(given(chosen, kind) for kind in (SearchSpec, PathSpec, DebrisRun, kind_of(chosen, search_run))):
            raise InputError("--finished searches nothing: leave out what says how to search")
        search = load_searches_of(run, chosen.out).search
    else:
        search, path = built(chosen, SearchSpec), built(chosen, PathSpec)
        with _search_progress() as observe:
            search_run(
                run,
                chosen.out,
                search=search,
                path=path,
                seed=given(chosen, DebrisRun).get("seed", DebrisRun.seed),
                **keywords(chosen, search_run),
                observe=observe,
            )
    storing, usable = cascades_with_debris(run)
    debris, means = write_summary(
        chosen.out,
        solid=solid,
        **told,
        potential=run.potential(campaign),
        usable=usable,
        storing=len(storing),
    )
    figure = debris_figure(debris, means, potential_status=campaign.potential_status)
    save_figure(figure, chosen.out / "debris")
    _print_debris(debris, means, barrier_below_eV=search.barrier_below_eV)
    if chosen.finished and len(debris) < len(storing):
        print(
            f"{len(debris)} of {len(storing)} cascades with debris are searched; those that take long are missing"
        )
    print(f"written: {chosen.out}/summary.json, pairs.csv, release.csv and debris.png")
    return 0


@contextlib.contextmanager
def _search_progress() -> Iterator[Callable[[str, int, int], None]]:
    """Show how far a search is, and how long the rest of it takes at the pace so far."""
    import time

    from cascade_driver.terminal.console import make_console
    from cascade_driver.terminal.progress import told_as_it_goes

    began: dict[str, tuple[float, int]] = {}
    with told_as_it_goes(make_console(), "searching") as tell:

        def observe(cascade: str, done: int, known: int) -> None:
            start, first = began.setdefault(cascade, (time.monotonic(), done))
            pace = (time.monotonic() - start) / max(done - first, 1)
            what = f"cascade {cascade}: step" if cascade else "cascades:"
            left = f", {pace * (known - done) / 60:.1f} min left" if done > first else ""
            tell(f"{what} {done} of {known}{left}")

        yield observe


def _is_climbed(debris: Sequence[Debris]) -> bool:
    """Whether climbs went from it, which alone tell how much they found of what there is."""
    return any(one.counts["searches"] for one in debris)


def _known_said(debris: Sequence[Debris]) -> str:
    from cascade_driver.relaxation.debris.pairs import mean_coverage, mean_coverage_of_all

    if not _is_climbed(debris):
        return "found by bursts alone, without climbs, so how much was missed is not known"
    return (
        f"a further find of a way that matters is of a known one with a {mean_coverage(debris):.0%} chance, one "
        f"of any saddle, wherever it leads, with {mean_coverage_of_all(debris):.0%} (1 - found once / found, the "
        "mean over minima; 0 where too few saddles were found to say)"
    )


def _print_debris(debris: Sequence[Debris], means: Sequence[MeanRelease], *, barrier_below_eV: float) -> None:
    from cascade_driver.relaxation.debris.pairs import TWO_LEVEL_BELOW_eV, zero_point_shifts
    from cascade_driver.text import value_with_error

    elementary = [pair for one in debris for pair in one.elementary]
    converged = [pair for pair in elementary if pair.converged]
    number = sum(len(one.energies_eV) for one in debris)
    print(
        f"{len(debris)} cascades: {number} minima, {len(elementary)} pairs of neighbours, "
        f"{len(elementary) - len(converged)} of them with a path that did not converge and takes no part; "
        f"two-level systems, split by less than {1e3 * TWO_LEVEL_BELOW_eV:g} meV: "
        f"{sum(pair.is_two_level for pair in converged)}"
    )
    if perhaps := sum(pair.may_be_two_level for pair in converged):
        print(f"{perhaps} pairs may be two-level systems or not: zero-point energies are not known well enough")
    if shifts := zero_point_shifts(converged):
        step = f", by {1e3 * shifts['step_eV']:.2g} meV another step of differences" if "step_eV" in shifts else ""
        print(
            f"zero-point energies shift asymmetries by {1e3 * shifts['asymmetry_shift_eV']:.3g} meV (by "
            f"{1e3 * shifts['unsettled_eV']:.2g} meV the second half of the vibrating atoms{step}), barriers by "
            f"{1e3 * shifts['barrier_shift_eV']:.3g} meV (of {shifts['saddles']} pairs); root mean squares"
        )
    if _is_climbed(debris):
        times = [n for one in debris for n in one.times]
        reached = sum(len(one.coverages) for one in debris)
        print(
            f"the debris goes down to {reached} minima; {len(times)} ways below {barrier_below_eV:g} eV matter, "
            "which do not lead up and can be tunnelled through once a year or more often (found "
            f"{sum(times)} times, {times.count(1)} of them once); {_known_said(debris)}; cascade by cascade "
            + " ".join(f"{one.coverage:.0%}" for one in debris)
        )
    else:
        print(_known_said(debris))
    print(
        "  T (K)   given off, eV per cascade: by 1 ms        1 ms to 1 s    1 s to 12 days   events 1 s to 12 days"
    )
    for mean in means:
        at = [int(abs(mean.time_s - t).argmin()) for t in (1e-3, 1.0, 1e6)]
        early = value_with_error(mean.released_eV[at[0]], mean.released_error_eV[at[0]])
        spans = [[float(found[last]) for found in mean.since(first)] for first, last in (at[:2], at[1:])]
        later, late = (value_with_error(*span) for span in spans)
        print(
            f"{mean.temperature_K:7.3g}   {early:>35s}   {later:>16s}   {late:>15s}   "
            f"{mean.events[at[2]] - mean.events[at[1]]:.3g}"
        )
