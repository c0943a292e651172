"""Verbs on what relaxes later: aluminium films and tunnelling systems."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cascade_driver.commands.arguments import Verbs, add_out, add_run, add_verb, new_figure, new_file, no_kind
from cascade_driver.commands.options import (
    add_keywords,
    add_options,
    built,
    complaints_by_option,
    given,
    keywords,
    kind_of,
    option_of,
)
from cascade_driver.errors import InputError
from cascade_driver.files import is_stream, write_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cascade_driver.analysis.estimation import FitHealth, FittedParameter, Goodness
    from cascade_driver.relaxation.debris.pairs import Debris, MeanRelease
    from cascade_driver.relaxation.film.dynamics import FreedDislocation
    from cascade_driver.relaxation.film.spectrum import FilmBackground, FilmSpectrum
    from cascade_driver.relaxation.tls.damping_fit import DampingFit
    from cascade_driver.relaxation.tls.distribution import Temperatures
    from cascade_driver.relaxation.tls.loss_fit import LossFit
    from cascade_driver.relaxation.tls.properties_fit import PropertyFit


def add_to(verbs: Verbs) -> None:
    """Add the verbs of this module to the command."""
    _add_background(verbs)
    _add_tls(verbs)


def _add_background(verbs: Verbs) -> None:
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
    _print_fit({**fit.parameters, "Gamma": fit.gamma}, fit.goodness, fit.health)
    print(f"written: {chosen.out}")
    return 0


def _print_fit(parameters: Mapping[str, FittedParameter], goodness: Goodness, health: FitHealth) -> None:
    """Print what a fit came to, parameter by parameter, and whether it can be trusted."""
    for name, p in parameters.items():
        print(f"{name:24s} {p.told}")
    p_value = "none" if goodness.p_value is None else f"{goodness.p_value:.3g}"
    print(f"{goodness.name} {goodness.statistic:.1f} of {goodness.degrees_of_freedom}, p-value {p_value}")
    if not health.is_good:
        at = f" ({', '.join(health.at_limit)} at the end of the range)" if health.at_limit else ""
        print(
            f"note: the minimiser does not trust this fit{at}; look at the intervals and at `health`",
            file=sys.stderr,
        )


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
    _print_fit(fit.parameters, fit.goodness, fit.health)
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
        type=new_file,
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


def _add_tls(verbs: Verbs) -> None:
    verb = add_verb(verbs, "tls", no_kind, "Tunnelling two-level systems: damping of a resonator, glass of them.")
    kinds = verb.add_subparsers(title="kinds", metavar="KIND")
    about = "Damping of a resonator against temperature."
    add_verb(kinds, "damping", _tls_damping, about, _options_damping)
    about = "Fit tunnelling systems to a measured damping, loss, heat conduction, velocity or dielectric constant."
    add_verb(kinds, "fit", _tls_fit, about, _options_fit)
    about = "Fit the frequency of a resonator against temperature: a logarithm and a cube."
    add_verb(kinds, "shift", _tls_shift, about, _options_shift)
    about = "Noise of a measured frequency: jumps, Allan deviation, exponent of 1/f."
    add_verb(kinds, "noise", _tls_noise, about, _options_noise)
    about = "Heat, sound and dielectric constant of a glass of them."
    add_verb(kinds, "properties", _tls_properties, about, _options_properties)
    about = "Pairs of minima in the debris of cascades, and what they release later."
    add_verb(kinds, "debris", _tls_debris, about, _options_debris)
    about = "From the pairs of debris to a glass of two-level systems, and what it gives off within a year."
    add_verb(kinds, "glass", _tls_glass, about, _options_glass)
    about = "Random field and interaction of systems from a material."
    add_verb(kinds, "scales", _tls_scales, about, _options_scales)
    about = "Density of states of interacting systems, or what is missing of it."
    add_verb(kinds, "dos", _tls_dos, about, _options_dos)


def _options_damping(damping: argparse.ArgumentParser) -> None:
    from cascade_driver.relaxation.tls.damping import DampingTemperatures, Resonator, TunnellingSystems

    add_options(damping, Resonator)
    add_options(damping, TunnellingSystems, may_be_missing=True)
    _add_debris_glass(damping, "strength and strain coupling, longitudinal")
    _add_temperatures(damping, DampingTemperatures)


def _add_temperatures(verb: argparse.ArgumentParser, kind: type[Temperatures]) -> None:
    """Add the options of what is tabulated and drawn against temperature."""
    add_options(verb, kind)
    add_out(verb, "FILE.csv", "a figure is put beside it")


def _options_fit(fit: argparse.ArgumentParser) -> None:
    from cascade_driver.relaxation.tls.damping import Resonator
    from cascade_driver.relaxation.tls.damping_fit import fit_damping, read_damping
    from cascade_driver.relaxation.tls.loss_fit import fit_loss
    from cascade_driver.relaxation.tls.properties_fit import COLUMNS, Probe, read_property

    columns = "; ".join(f"{of}: temperature_K,{name}[,{name}_error]" for of, name in COLUMNS.items())
    columns += "; loss: temperature_K,quality[,quality_error][,photons]"
    fit.add_argument(
        "data",
        type=Path,
        metavar="DATA.csv",
        help=f"damping: temperature_K,damping_Hz,damping_error_Hz,metal; {columns}",
    )
    fit.add_argument("--of", choices=["damping", *COLUMNS, "loss"], default="damping", help="what was measured")
    add_keywords(fit, fit_damping, "held", names={"held": "--hold"})
    add_out(fit, "FIT.json", "a figure is put beside it")
    damping = fit.add_argument_group("damping")
    add_options(damping, Resonator, may_be_missing=True)
    add_keywords(damping, read_damping, "without_superconducting_K")
    glass = fit.add_argument_group("conductivity, velocity, dielectric, loss")
    add_keywords(glass, read_property, "temperature_K")
    add_options(glass, Probe)
    add_keywords(fit.add_argument_group("loss"), fit_loss, "terms")


def _options_shift(shift: argparse.ArgumentParser) -> None:
    from cascade_driver.relaxation.tls.frequency import fit_shift

    shift.add_argument("data", type=Path, metavar="DATA.csv", help="temperature_K,shift[,shift_error]")
    shift.add_argument(
        "--from-K",
        type=float,
        dest="from_K",
        metavar="T",
        help="fit from here on; of colder points the temperature is told that the fit reads off them",
    )
    shift.add_argument("--until-K", type=float, dest="until_K", metavar="T", help="leave out warmer points")
    shift.add_argument("--without-cubic", action="store_true", help="no T^3 of thermal expansion")
    add_keywords(shift, fit_shift, "frequency_Hz")
    shift.add_argument("--out", type=new_file, required=True, metavar="FIT.json", help="a figure is put beside it")


def _tls_shift(chosen: argparse.Namespace) -> int:
    import json

    from cascade_driver.plot import frequency_shift_figure, save_figure
    from cascade_driver.relaxation.tls.frequency import fit_shift, read_shifts

    data = read_shifts(chosen.data)
    if chosen.until_K is not None:
        data = data.where(data.temperature_K <= chosen.until_K)
    warm = data.temperature_K >= (chosen.from_K or 0.0)
    fit = fit_shift(data.where(warm), with_cubic=not chosen.without_cubic, **keywords(chosen, fit_shift))
    write_file(chosen.out, json.dumps(fit.as_json(), indent=1) + "\n")
    if not is_stream(chosen.out):
        save_figure(frequency_shift_figure(data, fit), chosen.out.with_suffix(""))
    _print_fit(fit.parameters, fit.goodness, fit.health)
    for T, found in zip(data.temperature_K[~warm], fit.temperature_K(data.shift[~warm]), strict=True):
        print(f"at {T:.4g} K the systems are at {found:.4g} K")
    print(f"written: {chosen.out}")
    return 0


def _options_noise(noise: argparse.ArgumentParser) -> None:
    noise.add_argument("data", type=Path, metavar="TRACE.csv", help="time_s,frequency_Hz at equal steps")
    noise.add_argument("--without-white", action="store_true", help="no white noise beside that of 1/f")
    noise.add_argument(
        "--out", type=new_file, required=True, metavar="FILE.json", help="a figure is put beside it"
    )


def _tls_noise(chosen: argparse.Namespace) -> int:
    import json

    from cascade_driver.plot import frequency_noise_figure, save_figure
    from cascade_driver.relaxation.tls.frequency import frequency_noise, read_trace

    noise = frequency_noise(read_trace(chosen.data), with_white=not chosen.without_white)
    write_file(chosen.out, json.dumps(noise.as_json(), indent=1) + "\n")
    if not is_stream(chosen.out):
        save_figure(frequency_noise_figure(noise), chosen.out.with_suffix(""))
    print(f"jumps between successive frequencies: {noise.jump_deviation_Hz:.4g} Hz, root mean square")
    for name in ("exponent", "amplitude", "white_Hz2_Hz"):
        print(f"{name:24s} {getattr(noise, name).told}")
    print(
        f"Allan deviation {noise.allan_deviation_Hz[0]:.4g} Hz over {noise.averaging_s[0]:g} s, "
        f"{noise.allan_deviation_Hz[-1]:.4g} Hz over {noise.averaging_s[-1]:g} s"
    )
    print(f"written: {chosen.out}")
    return 0


def _options_dos(dos: argparse.ArgumentParser) -> None:
    from cascade_driver.relaxation.tls.glass import Annealing, Glass
    from cascade_driver.relaxation.tls.realisations import GlassRun, make_realisations

    add_options(dos, Glass)
    add_options(dos.add_argument_group("simulated annealing"), Annealing)
    add_keywords(dos, make_realisations, "realisations", "workers")
    add_options(dos, GlassRun)
    add_out(dos, "DIR", is_folder=True)


def _options_scales(scales: argparse.ArgumentParser) -> None:
    from cascade_driver.relaxation.tls.scales import GlassMaterial

    add_options(scales, GlassMaterial)


def _tls_scales(chosen: argparse.Namespace) -> int:
    from cascade_driver.relaxation.tls.scales import GlassMaterial

    found = built(chosen, GlassMaterial)
    elastic, electric = found.elastic_interaction_K, found.electric_interaction_K
    print(
        f"strong defects {found.glass_transition_K:.4g} K, of the order of the glass transition\n"
        f"h_0 {found.random_field_K:.4g} K\n"
        f"J_0 {elastic:.4g} K elastic, {electric:.4g} K electric: J_0/h_0 "
        f"{max(elastic, electric) / found.random_field_K:.3g}\n"
        f"cascade tls dos --random-field-K {found.random_field_K:.3g} --interaction-K {max(elastic, electric):.3g}"
    )
    return 0


def _options_properties(verb: argparse.ArgumentParser) -> None:
    from cascade_driver.relaxation.tls.density import PowerLawDensity
    from cascade_driver.relaxation.tls.properties import (
        PropertyTemperatures,
        RelaxingSystems,
        beside_standard_model,
        relaxation_constant_per_s_K3,
    )

    verb.add_argument("--glass", type=Path, metavar="DIR", help="density of states that `cascade tls dos` counted")
    _add_debris_glass(verb, "the flat density that times 1 K is its strength, longitudinal")
    add_options(verb, PowerLawDensity, names={"prefactor": "--prefactor-per-K"})
    add_options(verb, RelaxingSystems, only=["coupling_K", "frequency_Hz"])
    add_keywords(verb, relaxation_constant_per_s_K3, "crossover_K")
    add_keywords(verb, beside_standard_model, "variable", names={"variable": "--density-of"})
    _add_temperatures(verb, PropertyTemperatures)


def _add_debris_glass(verb: argparse.ArgumentParser, what: str) -> None:
    verb.add_argument(
        "--debris-glass",
        type=Path,
        metavar="GLASS.json",
        help=f"of `cascade tls glass`, gives {what}; options go first",
    )


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
    from cascade_driver.relaxation.film.spectrum import film_spectra, film_table
    from cascade_driver.spectrum import read_spectrum

    if chosen.over and not chosen.figure:
        raise InputError("--over draws a figure: say where with --figure STEM")
    if chosen.measured and not chosen.figure:
        raise InputError("--measured is drawn in a figure: say where with --figure STEM")
    if not chosen.dynamics and given(chosen, kind_of(chosen, set_free)):
        raise InputError("--start-nm and --resolved-MPa are those of --dynamics: say where with --dynamics STEM")
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


def _tls_damping(chosen: argparse.Namespace) -> int:
    from cascade_driver.plot import save_figure, tls_damping_figure
    from cascade_driver.relaxation.tls.damping import (
        DampingTemperatures,
        Resonator,
        TunnellingSystems,
        crossovers,
        damping_table,
    )

    resonator = built(chosen, Resonator)
    of_debris = {}
    if chosen.debris_glass:
        from cascade_driver.relaxation.debris.glass import read_glass

        glass = read_glass(chosen.debris_glass)
        of_debris = {
            "strength": glass.longitudinal_strength.value,
            "strain_coupling_eV": glass.longitudinal_coupling_eV.value,
        }
    systems = built(chosen, TunnellingSystems, **(of_debris | given(chosen, TunnellingSystems)))
    temperature = built(chosen, DampingTemperatures).each_K
    write_file(
        chosen.out,
        damping_table(temperature, systems=systems, resonator=resonator),
        remedy="choose another place with --out",
    )
    figure = tls_damping_figure(systems=systems, resonator=resonator, temperature_K=temperature, data=None)
    if not is_stream(chosen.out):
        save_figure(figure, chosen.out.with_suffix(""))
    found = crossovers(systems=systems, resonator=resonator)
    electrons = "" if found.electron_K is None else f", of charged systems {found.electron_K:.3g} K"
    print(f"{chosen.out}: crossover temperature {found.phonon_K:.3g} K{electrons}")
    return 0


def _tls_fit(chosen: argparse.Namespace) -> int:
    import json

    from cascade_driver.plot import save_figure

    _refuse_options_of_others(chosen)
    fit: DampingFit | LossFit | PropertyFit
    if chosen.of == "damping":
        fit, figure = _fit_of_damping(chosen)
    elif chosen.of == "loss":
        fit, figure = _fit_of_loss(chosen)
    else:
        fit, figure = _fit_of_property(chosen)
    write_file(chosen.out, json.dumps(fit.as_json(), indent=1) + "\n")
    if not is_stream(chosen.out):
        save_figure(figure, chosen.out.with_suffix(""))
    print(f"written: {chosen.out}")
    return 0


def _refuse_options_of_others(chosen: argparse.Namespace) -> None:
    """Refuse what says nothing of what was measured."""
    from cascade_driver.relaxation.tls.damping import Resonator
    from cascade_driver.relaxation.tls.damping_fit import read_damping
    from cascade_driver.relaxation.tls.loss_fit import fit_loss
    from cascade_driver.relaxation.tls.properties_fit import Probe, read_property

    of_damping = (Resonator, kind_of(chosen, read_damping))
    of_glass = (Probe, kind_of(chosen, read_property))
    of_loss = (kind_of(chosen, fit_loss),)
    refused = {"damping": (*of_glass, *of_loss), "loss": of_damping}.get(chosen.of, (*of_damping, *of_loss))
    for kind in refused:
        for name in given(chosen, kind):
            raise InputError(f"{option_of(chosen, kind, name)} says nothing of a {chosen.of}; leave it out")


def _fit_of_damping(chosen: argparse.Namespace) -> tuple[DampingFit, Figure]:
    import numpy as np

    from cascade_driver.plot import tls_damping_figure
    from cascade_driver.relaxation.tls.damping import Resonator
    from cascade_driver.relaxation.tls.damping_fit import fit_damping, read_damping

    data = read_damping(chosen.data, **keywords(chosen, read_damping))
    resonator = built(chosen, Resonator)
    fit = fit_damping(data, resonator=resonator, **keywords(chosen, fit_damping))
    _print_fit(fit.parameters, fit.goodness, fit.health)
    temperature = np.geomspace(0.8 * data.temperature_K.min(), 1.25 * data.temperature_K.max(), 81)
    return fit, tls_damping_figure(systems=fit.systems, resonator=resonator, temperature_K=temperature, data=data)


def _fit_of_loss(chosen: argparse.Namespace) -> tuple[LossFit, Figure]:
    from cascade_driver.plot import loss_fit_figure
    from cascade_driver.relaxation.tls.damping_fit import fit_damping
    from cascade_driver.relaxation.tls.loss_fit import fit_loss, read_loss
    from cascade_driver.relaxation.tls.properties_fit import Probe, read_property

    probe = built(chosen, Probe)
    with complaints_by_option(chosen, Probe, kind_of(chosen, fit_damping)):
        frequency_Hz = probe.frequency_of("loss")
        data = read_loss(chosen.data, **keywords(chosen, read_property))
        held = keywords(chosen, fit_damping).get("held")
        fit = fit_loss(data, frequency_Hz=frequency_Hz, held=held, **keywords(chosen, fit_loss))
    _print_fit({**fit.parameters, "loss_tangent": fit.loss_tangent}, fit.goodness, fit.health)
    said = ", taken as the error of each point" if data.quality_error is None else ""
    print(f"scatter about the fit {fit.scatter:.3g} of the value{said}")
    return fit, loss_fit_figure(fit)


def _fit_of_property(chosen: argparse.Namespace) -> tuple[PropertyFit, Figure]:
    from cascade_driver.plot import property_fit_figure
    from cascade_driver.relaxation.tls.damping_fit import fit_damping
    from cascade_driver.relaxation.tls.properties_fit import Probe, fit_property, read_property

    data = read_property(chosen.data, of=chosen.of, **keywords(chosen, read_property))
    held = keywords(chosen, fit_damping).get("held")
    with complaints_by_option(chosen, Probe, kind_of(chosen, fit_damping)):
        fit = fit_property(data, probe=built(chosen, Probe), held=held)
    shown = dict(fit.parameters)
    if (constant := fit.relaxation_per_s_K3) is not None:
        shown["relaxation_per_s_K3"] = constant
    _print_fit(shown, fit.goodness, fit.health)
    unit = " of the value" if data.of == "conductivity" else ""
    said = ", taken as the error of each point" if data.error is None else ""
    print(f"scatter about the fit {fit.scatter:.3g}{unit}{said}")
    print(f"standard model, exponent 0: p-value {fit.p_value_of_standard:.3g}")
    return fit, property_fit_figure(fit)


def _tls_dos(chosen: argparse.Namespace) -> int:
    from cascade_driver.campaign.tasks import processes_for
    from cascade_driver.plot import save_figure, tls_density_figure
    from cascade_driver.relaxation.tls.glass import Annealing, Glass
    from cascade_driver.relaxation.tls.realisations import GlassRun, make_realisations, write_summary
    from cascade_driver.terminal.console import make_console
    from cascade_driver.terminal.progress import told_as_it_goes

    run = built(chosen, GlassRun, glass=built(chosen, Glass), annealing=built(chosen, Annealing))
    asked = keywords(chosen, make_realisations)
    workers = processes_for(asked.get("workers"))
    console = make_console()
    with told_as_it_goes(console, "annealing") as tell:
        make_realisations(
            run,
            chosen.out,
            **asked,
            observe=lambda done, wanted: tell(f"annealing: {done} of {wanted} realisations"),
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


def _tls_properties(chosen: argparse.Namespace) -> int:
    from cascade_driver.plot import glass_properties_figure, save_figure
    from cascade_driver.relaxation.tls.density import PowerLawDensity
    from cascade_driver.relaxation.tls.properties import (
        PropertyTemperatures,
        RelaxingSystems,
        beside_standard_model,
        local_exponent,
        relaxation_constant_per_s_K3,
    )
    from cascade_driver.relaxation.tls.realisations import summarise

    frequency_Hz = given(chosen, RelaxingSystems).get("frequency_Hz", RelaxingSystems.frequency_Hz)
    rate = relaxation_constant_per_s_K3(
        frequency_Hz=frequency_Hz, **keywords(chosen, relaxation_constant_per_s_K3)
    )
    of_debris = {}
    if chosen.debris_glass:
        from cascade_driver.relaxation.debris.glass import read_glass

        of_debris = {"prefactor": read_glass(chosen.debris_glass).longitudinal_strength.value, "exponent": 0.0}
    law = built(chosen, PowerLawDensity, **(of_debris | given(chosen, PowerLawDensity)))
    found, standard = beside_standard_model(
        built(chosen, PropertyTemperatures),
        law=law,
        systems=built(chosen, RelaxingSystems, relaxation_per_s_K3=rate),
        counted=summarise(chosen.glass).density if chosen.glass else None,
        **keywords(chosen, beside_standard_model),
    )
    write_file(chosen.out, found.as_csv())
    of_law = f"n = {law.prefactor:g} (T² + E²)^{law.exponent / 2:.3g}"
    drawn = [("standard model, flat", standard), (chosen.glass.name if chosen.glass else of_law, found)]
    if not is_stream(chosen.out):
        save_figure(glass_properties_figure(drawn), chosen.out.with_suffix(""))
    exponents = [local_exponent(found.temperature_K, y) for y in (found.thermal_conductivity, found.specific_heat)]
    print(
        f"{chosen.out}: thermal conductivity ~ T^{exponents[0]:.3f}, specific heat ~ T^{exponents[1]:.3f} "
        f"between {found.temperature_K[0]:g} and {found.temperature_K[-1]:g} K"
    )
    return 0


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
    from cascade_driver.relaxation.debris.pairs import mean_coverage

    if not _is_climbed(debris):
        return "found by bursts alone, without climbs, so how much was missed is not known"
    return f"a further saddle is a known one with a {mean_coverage(debris):.0%} chance"


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
            f"the debris goes down to {reached} minima by {len(times)} ways below {barrier_below_eV:g} eV (found "
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
