"""Verbs on the spectrum of what relaxes without a recoil: aluminium films, measured excesses."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cascade_driver.commands.arguments import Verbs, add_out, add_verb, new_figure, new_file, new_stem, no_kind
from cascade_driver.commands.fits import print_fit
from cascade_driver.commands.options import (
    add_keywords,
    add_options,
    built,
    complaints_by_option,
    given,
    keywords,
    kind_of,
    options_given,
    refuse_alone,
)
from cascade_driver.files import is_stream, write_file

if TYPE_CHECKING:
    from cascade_driver.relaxation.film.dynamics import FreedDislocation
    from cascade_driver.relaxation.film.spectrum import FilmBackground, FilmSpectrum


def add_to(verbs: Verbs) -> None:
    """Add the verbs of this module to the command."""
    verb = add_verb(verbs, "background", no_kind, "Make the spectrum of what relaxes without a recoil.")
    kinds = verb.add_subparsers(title="kinds", metavar="KIND")
    add_verb(
        kinds, "film", _background_film, "Dislocations that come free in a stressed metal film.", _options_film
    )
    about = "Bring a measured spectrum, as the EXCESS workshop gives them, into the form that is fitted and drawn."
    add_verb(kinds, "read", _background_read, about, _options_read)
    about = "Fit a film's dislocations, stress and scale to measured spectra."
    add_verb(kinds, "fit", _background_fit, about, _options_background_fit)
    about = "Fit a power of the time since the cooldown to a measured rate, and test 1/t."
    add_verb(kinds, "decay", _background_decay, about, _options_decay)


def _options_background_fit(fit: argparse.ArgumentParser) -> None:
    from cascade_driver.relaxation.film.spectrum_fit import FitRanges, fit_film

    fit.add_argument(
        "input", type=Path, metavar="INPUT.toml", help="as of `cascade background film`, without steps"
    )
    fit.add_argument(
        "--measured",
        type=Path,
        nargs="+",
        default=[],
        metavar="CSV",
        help="of the input's detector; those of others are tables [[measured]] of the input",
    )
    fit.add_argument(
        "--energy-eV", type=float, nargs=2, metavar=("LOW", "HIGH"), help="bins to fit (default: all)"
    )
    fit.add_argument(
        "--fit-stress",
        action="store_true",
        help="fit the stress, too, which spacing and scale make up for almost wholly (default: that of the input)",
    )
    add_keywords(fit, fit_film, "held", names={"held": "--hold"})
    ranges = {"spacing_nm": "--spacing-range-nm", "stress_MPa": "--stress-range-MPa"}
    add_options(fit, FitRanges, names=ranges)
    add_out(fit, "FIT.json", "a figure is put beside it")


def _background_fit(chosen: argparse.Namespace) -> int:
    import json

    from cascade_driver.plot import film_fit_figure, save_figure
    from cascade_driver.relaxation.film.measured import counts_of
    from cascade_driver.relaxation.film.spectrum import read_film_background
    from cascade_driver.relaxation.film.spectrum_fit import FitRanges, fit_film

    background = read_film_background(chosen.input)
    measured = [(one, counts_of(one.spectrum(), name=one.called)) for one in background.detectors(chosen.measured)]
    if chosen.energy_eV:
        measured = [(one, counts.within(*chosen.energy_eV)) for one, counts in measured]
    held = keywords(chosen, fit_film).get("held", {})
    if not chosen.fit_stress:
        held = {"bulk_stress_MPa": background.film.bulk_stress_MPa} | held
    fit = fit_film(background, measured, held=held, ranges=built(chosen, FitRanges))
    write_file(chosen.out, json.dumps(fit.as_json(), indent=1) + "\n")
    if not is_stream(chosen.out):
        save_figure(film_fit_figure(fit), chosen.out.with_suffix(""))
    for one, (detector, _) in zip(fit.spectra, measured, strict=True):
        print(
            f"{one.name}: {one.events.sum():.6g} events, {one.expected.sum():.6g} expected from "
            f"{detector.film_area_mm2:g} mm2 of film on {detector.detector_mass_kg:g} kg, "
            f"{detector.days_since_cooldown:g} days after the cooldown"
        )
    print_fit({**fit.parameters, "Gamma": fit.gamma}, fit.goodness, fit.health)
    print(f"written: {chosen.out}")
    return 0


def _options_decay(decay: argparse.ArgumentParser) -> None:
    from cascade_driver.relaxation.film.decay import fit_decay

    decay.add_argument("data", type=Path, metavar="RATES.csv", help="time_days (or time_hours),rate,rate_error")
    decay.add_argument("--until-days", type=float, metavar="X", help="leave out what was measured later")
    add_keywords(decay, fit_decay, "with_constant", names={"with_constant": "--constant"})
    add_out(decay, "FIT.json", "a figure is put beside it")


def _background_decay(chosen: argparse.Namespace) -> int:
    import json

    from cascade_driver.plot import film_decay_figure, save_figure
    from cascade_driver.relaxation.film.decay import PUBLISHED, fit_decay, read_rates

    series = read_rates(chosen.data)
    if chosen.until_days is not None:
        series = series.until(chosen.until_days)
    fit = fit_decay(series, **keywords(chosen, fit_decay))
    write_file(chosen.out, json.dumps(fit.as_json(), indent=1) + "\n")
    if not is_stream(chosen.out):
        save_figure(film_decay_figure(series, fit), chosen.out.with_suffix(""))
    print(f"rate (t / {fit.reference_days:.4g} days)^-exponent + constant")
    print_fit(fit.parameters, fit.goodness, fit.health)
    print(f"exponent 1: p-value {fit.p_value_of_1:.3g}")
    print(
        f"one lifetime instead: chi-square {fit.exponential_chi_square:.1f} at "
        f"{fit.exponential_lifetime_days:.4g} days"
    )
    told = "; ".join(f"{name} {value:.2f}({100 * error:.0f})" for name, (value, error) in PUBLISHED.items())
    print(f"published exponents: {told}")
    print(f"written: {chosen.out}")
    return 0


def _options_read(read: argparse.ArgumentParser) -> None:
    from cascade_driver.relaxation.film.measured import read_workshop

    read.add_argument(
        "file", type=Path, metavar="FILE", help="events, or bins; NAME_exposure.txt and NAME_eff.txt may be beside"
    )
    asked = ("name", "unit", "exposure_kg_day", "efficiency", "energy_eV", "bins", "values")
    add_keywords(read, read_workshop, *asked)
    add_out(read, "FILE.csv")


def _background_read(chosen: argparse.Namespace) -> int:
    from cascade_driver.relaxation.film.measured import read_workshop

    found = read_workshop(chosen.file, **keywords(chosen, read_workshop))
    found.spectrum().write(chosen.out)
    low, *_, high = found.energy_edges_eV
    print(
        f"{chosen.out}: {found.events.sum():.6g} events in {len(found.events)} bins from {low + 0:g} to {high:g} "
        f"eV, {found.exposure_kg_day:g} kg day; the file holds {found.given_as}"
        + ("" if found.given_as == "events" else " (--values says otherwise)")
    )
    for note in found.notes:
        print(f"note: {note}", file=sys.stderr)
    at = int(found.events.argmax())
    share = found.events[at] / found.events.sum()
    if share > 0.5 and len(found.events) > 1:
        low, high = found.energy_edges_eV[at : at + 2] + 0
        print(
            f"note: {share:.0%} of the events lie in one bin, {low:g} to {high:g} eV; a narrower range shows how "
            "they are spread (--energy-eV, --bins)",
            file=sys.stderr,
        )
    return 0


#: The options of a film that are not named as in its input.
_FILM_NAMES = {
    "film_area_mm2": "--area-mm2",
    "detector_mass_kg": "--mass-kg",
    "days_since_cooldown": "--days",
    "dislocation_spacing_nm": "--spacing-nm",
    "bulk_stress_MPa": "--stress-MPa",
    "substrate_shear_modulus_GPa": "--substrate-GPa",
}


def _options_film(film: argparse.ArgumentParser) -> None:
    from cascade_driver.relaxation.film.dislocation import METALS, Film
    from cascade_driver.relaxation.film.dynamics import Interface, set_free
    from cascade_driver.relaxation.film.spectrum import FilmBackground

    film.add_argument(
        "input", type=Path, nargs="?", metavar="INPUT.toml", help="film.toml ships; options override it"
    )
    add_options(
        film, FilmBackground, without=["title", "other_spacings_nm"], names=_FILM_NAMES, may_be_missing=True
    )
    more = "of the dislocations; further ones are only drawn for comparison"
    add_options(
        film,
        Film,
        only=["dislocation_spacing_nm", "bulk_stress_MPa"],
        names=_FILM_NAMES,
        dislocation_spacing_nm={"type": float, "nargs": "+", "metavar": "D", "help": more},
    )
    interface = ["metal", "substrate_shear_modulus_GPa", "inertia", "thickness_nm"]
    add_options(film, Interface, only=interface, names=_FILM_NAMES, metal={"choices": list(METALS)})
    add_out(film, "FILM.csv")
    film.add_argument("--figure", type=new_figure, metavar="STEM", help="rates per area: STEM.png and STEM.pdf")
    film.add_argument(
        "--measured",
        type=Path,
        nargs="+",
        default=[],
        metavar="CSV",
        help="of this detector, for the figure; those of others are tables [[measured]] of the input",
    )
    film.add_argument(
        "--over", type=Path, nargs="+", default=[], metavar="CSV", help="spectra to lay it over: STEM-over.png"
    )
    film.add_argument(
        "--map",
        type=new_stem,
        metavar="STEM",
        help="energy over pinning distance and stress: STEM.csv, STEM.png, STEM.pdf",
    )
    film.add_argument(
        "--dynamics",
        type=new_file,
        metavar="STEM",
        help="one dislocation that comes free: STEM-motion.png, STEM-phonons.png, STEM-release.png",
    )
    freed = film.add_argument_group("the dislocation of --dynamics")
    add_keywords(freed, set_free, "start_nm", "stress_MPa", names={"stress_MPa": "--resolved-MPa"})


def _background_film(chosen: argparse.Namespace) -> int:
    from cascade_driver.plot import (
        film_dynamics_figures,
        film_map_figure,
        film_overlay_figure,
        film_spectra_figure,
        save_figure,
    )
    from cascade_driver.relaxation.film.dynamics import set_free
    from cascade_driver.relaxation.film.energy_map import map_energies
    from cascade_driver.relaxation.film.spectrum import FilmBackground, film_spectra, film_table
    from cascade_driver.spectrum import read_spectrum

    if not chosen.figure:
        drawn_alone = options_given(chosen, "over", "measured")
        drawn_alone += options_given(chosen, FilmBackground, only=["scale"])
        refuse_alone(drawn_alone, needed="--figure")
    if not chosen.dynamics:
        refuse_alone(options_given(chosen, kind_of(chosen, set_free)), needed="--dynamics")
    over = [(path.stem, read_spectrum(path)) for path in chosen.over]
    background = _film(chosen)
    wanted = background.films()
    drawn = [(one, one.spectrum()) for one in background.detectors(chosen.measured)] if chosen.figure else []
    # First, so that a start outside the model costs no table.
    freed = set_free(wanted[0].interface, **keywords(chosen, set_free)) if chosen.dynamics else None
    table = film_table(wanted)
    spectra = film_spectra(wanted, table=table)
    detector = spectra[0].in_detector()
    detector.write(chosen.out)
    print(f"reading: {background.reading}")
    for one in spectra:
        _print_film(one)
    print(f"{chosen.out}: {float(detector.total_counts_per_kg_day):.6g} counts per kg and day")
    written = []
    if chosen.figure:
        written += save_figure(film_spectra_figure(spectra, measured=drawn, scale=background.scale), chosen.figure)
        if over:
            stem = chosen.figure.with_name(f"{chosen.figure.name}-over")
            written += save_figure(film_overlay_figure(detector, over), stem)
    if chosen.map:
        radiated = map_energies(table)
        write_file(chosen.map.with_suffix(".csv"), radiated.as_csv(), remedy="choose another place with --map")
        figure = film_map_figure(radiated, interface=wanted[0].interface)
        written += [chosen.map.with_suffix(".csv"), *save_figure(figure, chosen.map)]
    if freed is not None:
        _print_freed(freed)
        for name, figure in film_dynamics_figures(freed).items():
            written += save_figure(figure, chosen.dynamics.with_name(f"{chosen.dynamics.name}-{name}"))
    for path in written:
        print(f"written: {path}")
    return 0


def _film(chosen: argparse.Namespace) -> FilmBackground:
    """Return the film that the input and the options describe."""
    from cascade_driver.relaxation.film.dislocation import Film
    from cascade_driver.relaxation.film.dynamics import Interface
    from cascade_driver.relaxation.film.measured import shipped_or_own
    from cascade_driver.relaxation.film.spectrum import FilmBackground, read_film_background

    of_film = given(chosen, Film)
    spacings = of_film.pop("dislocation_spacing_nm", None)
    if chosen.input is not None and (found := shipped_or_own(chosen.input)) != chosen.input:
        print(f"input: {found} (shipped)")
    with complaints_by_option(chosen, FilmBackground, Film, Interface, only_given=chosen.input is not None):
        return read_film_background(
            chosen.input,
            given(chosen, FilmBackground) | ({"other_spacings_nm": spacings[1:]} if spacings else {}),
            film=of_film | ({"dislocation_spacing_nm": spacings[0]} if spacings else {}),
            interface=given(chosen, Interface),
        )


def _print_film(one: FilmSpectrum) -> None:
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


def _print_freed(freed: FreedDislocation) -> None:
    one, start_nm = freed.release, float(freed.path.distance_nm[0])
    print(
        f"{start_nm:g} nm, {freed.stress_MPa:g} MPa: {one.stored_eV_per_nm:.4g} eV/nm stored; above the gap "
        f"{one.crystal_above_gap_eV_per_nm:.4g} eV/nm go into the crystal, {one.film_above_gap_eV_per_nm:.4g} "
        f"into the film; at most {one.largest_speed_km_s:.3g} km/s ({one.course})"
    )
