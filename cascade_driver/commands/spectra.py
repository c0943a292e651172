"""Verbs on spectra: make, correct and measure them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cascade_driver.commands.arguments import (
    Verbs,
    add_binning,
    add_bins,
    add_direction,
    add_verb,
    named_number,
    new_file,
    no_kind,
    positive,
)
from cascade_driver.errors import InputError
from cascade_driver.files import write_file

if TYPE_CHECKING:
    from cascade_driver.request import AnySpectrumRequest
    from cascade_driver.spectra.detector import Detector
    from cascade_driver.spectra.observe import Observed
    from cascade_driver.spectrum import Spectrum


def add_to(verbs: Verbs) -> None:
    """Add the verbs of this module to the command."""
    _add_spectrum(verbs)
    _add_correct(verbs)
    _add_lines(verbs)
    _add_draw(verbs)
    _add_modulation(verbs)


def _add_spectrum(verbs: Verbs) -> None:
    verb = add_verb(verbs, "spectrum", no_kind, "Make a recoil spectrum.")
    kinds = verb.add_subparsers(title="kinds", metavar="KIND")
    dm = add_verb(kinds, "dm", _spectrum_dm, "Dark-matter scattering in the standard halo.")
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
    dm.add_argument(
        "--date", metavar="YYYY-MM-DD", help="speed of the Earth on that day (default: mean over the year)"
    )
    add_binning(dm)
    _add_observation(dm)
    _add_spectrum_cevns(kinds)
    _add_spectrum_capture(kinds)
    _add_spectrum_files(kinds)


def _add_spectrum_cevns(kinds: Verbs) -> None:
    cevns = add_verb(kinds, "cevns", _spectrum_cevns, "Coherent scattering of neutrinos.")
    cevns.add_argument(
        "--source",
        choices=["reactor", "solar", "mono"],
        default="reactor",
        help="of the neutrinos (default: reactor)",
    )
    reactor = cevns.add_argument_group("a reactor")
    reactor.add_argument(
        "--power-GW", type=float, nargs="+", default=(), dest="power_GW", metavar="P", help="thermal, per core"
    )
    reactor.add_argument(
        "--distance-m", type=float, nargs="+", default=(), dest="distance_m", metavar="D", help="per core"
    )
    reactor.add_argument(
        "--fission-fractions",
        type=named_number,
        nargs="+",
        metavar="ISOTOPE=SHARE",
        help="of U235, U238, Pu239 and Pu241 (default: of a pressurised-water reactor)",
    )
    sun = cevns.add_argument_group("the Sun")
    sun.add_argument(
        "--solar-sources",
        nargs="+",
        metavar="NAME",
        help="some of pp pep hep Be7 B8 N13 O15 F17 (default: all)",
    )
    line = cevns.add_argument_group("neutrinos of one energy")
    line.add_argument("--neutrino-energy-MeV", type=float, dest="neutrino_energy_MeV", metavar="E")
    line.add_argument("--neutrino-flux-cm2-s", type=float, dest="neutrino_flux_per_cm2_s", metavar="F")
    reactor.add_argument(
        "--low-energy-flux",
        choices=["kopeikin", "vogel_engel", "flat", "extrapolate"],
        default="kopeikin",
        help="antineutrinos below 2 MeV (default: kopeikin; flat and extrapolate are known to be wrong)",
    )
    reactor.add_argument(
        "--u238-captures-per-fission",
        type=float,
        metavar="N",
        help="neutrons that U238 captures; two beta decays follow (default: 0.6)",
    )
    cevns.add_argument(
        "--magnetic-moment-bohr",
        type=float,
        default=0.0,
        metavar="MU",
        help="of the neutrino, in Bohr magnetons (default: 0)",
    )
    add_binning(cevns)
    _add_observation(cevns)


def _add_spectrum_files(kinds: Verbs) -> None:
    recoils = add_verb(kinds, "recoils", _spectrum_recoils, "Recoils that another program has listed.")
    recoils.add_argument("file", type=Path, metavar="LIST.csv", help="columns energy_eV[,weight]")
    recoils.add_argument("--counts-per-kg-day", type=float, required=True, metavar="N", help="of the whole list")
    recoils.add_argument("--element", default="", metavar="X", help="which atom recoils")
    add_bins(recoils)
    levels = add_verb(kinds, "levels", _spectrum_levels, "Gamma cascades of a level file of nrCascadeSim.")
    levels.add_argument("file", type=Path, metavar="LEVELS.txt")
    levels.add_argument("--captures-per-kg-day", type=float, required=True, metavar="N", help="of the whole file")
    levels.add_argument("--target", required=True, metavar="FORMULA", help="what the nuclei move in")
    levels.add_argument(
        "--lifetime-unit-fs", type=float, default=1.0, metavar="U", help="of the file (default: 1 fs)"
    )
    levels.add_argument("--gamma-timing", choices=["in_flight", "prompt", "slow"], default="in_flight")
    add_bins(levels)


def _add_spectrum_capture(kinds: Verbs) -> None:
    capture = add_verb(kinds, "capture", _spectrum_capture, "Recoils after the capture of thermal neutrons.")
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
        "--unresolved",
        choices=["statistical", "left_out"],
        default="statistical",
        help="captures without a tabulated primary gamma (default: cascades of the statistical model)",
    )
    capture.add_argument(
        "--continuum-temperature-MeV",
        type=float,
        dest="continuum_temperature_MeV",
        metavar="T",
        help="of that model (default: by the mass of each nucleus, 0.5 for W)",
    )
    capture.add_argument("--table", metavar="FOLDER", help="another capture table (see `cascade capture table`)")
    capture.add_argument("--mass-g", type=float, metavar="M", help="also say the counts per day in such a crystal")
    add_binning(capture)
    _add_observation(capture)


def _add_observation(verb: argparse.ArgumentParser) -> None:
    """Add the options of a spectrum that is written as it is observed."""
    seen = verb.add_argument_group("what is observed of it")
    seen.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="MODEL",
        help="write what is observed: a run directory, a model file or cawo4-published; more of them are the same "
        "with other potentials",
    )
    _add_detection(seen)


def _add_detection(seen: argparse._ActionsContainer) -> None:
    """Add the options of everything that is observed by a model."""
    seen.add_argument("--species", metavar="X", help="whose response stands for elements that have none")
    seen.add_argument("--extrapolate", action="store_true", help="use the model outside of the simulated energies")
    seen.add_argument(
        "--other-crystal", action="store_true", help="use the model for a target that is not its crystal"
    )
    seen.add_argument("--resolution-eV", type=float, default=0.0, dest="resolution_eV", metavar="SIGMA")
    seen.add_argument(
        "--resolution-stochastic-sqrt-eV",
        type=float,
        default=0.0,
        dest="resolution_stochastic_sqrt_eV",
        metavar="B",
        help="sigma^2 also has B^2 E",
    )
    seen.add_argument("--resolution-linear", type=float, default=0.0, metavar="C", help="sigma^2 also has C^2 E^2")
    seen.add_argument("--threshold-eV", type=float, dest="threshold_eV", metavar="E")
    seen.add_argument("--efficiency", type=float, default=1.0, metavar="SHARE", help="of triggers and cuts")
    seen.add_argument("--no-bands", action="store_true", help="leave out the columns of the error bands")


def _add_correct(verbs: Verbs) -> None:
    verb = add_verb(verbs, "correct", _correct, "Correct a recoil spectrum for the energy stored in defects.")
    verb.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="MODEL [MODEL ...] SPECTRUM.csv: a run directory, a model file of `cascade fit` or the name "
        "cawo4-published, and a spectrum; further models are the same with other potentials",
    )
    verb.add_argument(
        "--model", action="append", default=[], metavar="MODEL", help="a model, if not given before the spectrum"
    )
    verb.add_argument("--out", type=new_file, required=True, metavar="OBSERVED.csv")
    _add_detection(verb)
    add_direction(verb)
    assumed = verb.add_argument_group("what cawo4-published assumes, because the paper does not print it")
    assumed.add_argument(
        "--half-energy-eV", type=float, dest="half_energy_eV", metavar="E", help="p_d is 1/2 there"
    )
    assumed.add_argument("--width-eV", type=float, dest="width_eV", metavar="W", help="of the Fermi function")
    assumed.add_argument("--sigma-81-eV", type=float, dest="sigma_81_eV", metavar="S", help="at 81 eV")
    assumed.add_argument("--sigma-160-eV", type=float, dest="sigma_160_eV", metavar="S", help="at 160 eV")
    assumed.add_argument(
        "--assumption-error",
        type=float,
        default=0.3,
        metavar="R",
        help="relative, of each of these four, for the error band (default: 0.3)",
    )


def _add_lines(verbs: Verbs) -> None:
    verb = add_verb(
        verbs, "lines", _lines, "Fit lines in a spectrum after the detector, and test the energy scale."
    )
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


def _add_draw(verbs: Verbs) -> None:
    verb = add_verb(verbs, "draw", _draw, "Draw spectra without and with the loss, and their ratio.")
    verb.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="EXPECTED.csv OBSERVED.csv, and more pairs of them"
    )
    verb.add_argument("--titles", nargs="+", default=(), metavar="TEXT", help="one per pair")
    verb.add_argument("--labels", nargs=2, metavar=("DASHED", "PLAIN"), help="what the two kinds of lines are")
    verb.add_argument("--range-eV", type=float, nargs=2, dest="range_eV", metavar=("LOW", "HIGH"))
    verb.add_argument("--log", action="store_true", help="logarithmic energy axis")
    verb.add_argument(
        "--mass-g", type=float, metavar="M", help="instead: counts per day of one pair in such a crystal"
    )
    verb.add_argument(
        "--lines-eV", type=float, nargs="+", default=(), dest="lines_eV", metavar="E", help="peaks to mark in them"
    )
    verb.add_argument("--log-counts", action="store_true", help="logarithmic axis of them")
    verb.add_argument("--out", type=new_file, required=True, metavar="FIGURE", help="FIGURE.png and FIGURE.pdf")


def _add_modulation(verbs: Verbs) -> None:
    verb = add_verb(
        verbs,
        "modulation",
        _modulation,
        "Daily modulation of dark matter, by what a crystal stores along its axes.",
    )
    verb.add_argument("run", type=Path, metavar="RUN")
    verb.add_argument("--mass-GeV", type=float, required=True, dest="mass_GeV", metavar="M")
    verb.add_argument("--cross-section-cm2", type=float, required=True, dest="cross_section_cm2", metavar="S")
    add_binning(verb)
    verb.add_argument("--threshold-eV", type=float, required=True, dest="threshold_eV", metavar="E")
    verb.add_argument("--latitude-deg", type=float, required=True, metavar="N", help="north is positive")
    verb.add_argument("--longitude-deg", type=float, required=True, metavar="E", help="east is positive")
    verb.add_argument("--date", required=True, metavar="YYYY-MM-DD", help="from midnight, UTC")
    verb.add_argument("--times", type=positive, default=12, metavar="N", help="of that day (default: 12)")
    verb.add_argument(
        "--up", type=float, nargs=3, default=(0, 0, 1), metavar=("X", "Y", "Z"), help="what of the crystal is up"
    )
    verb.add_argument(
        "--east", type=float, nargs=3, default=(1, 0, 0), metavar=("X", "Y", "Z"), help="what points east"
    )
    verb.add_argument("--species", metavar="X", help="whose response stands for elements that have none")
    verb.add_argument("--other-crystal", action="store_true", help="for a target that is not the run's crystal")


def _spectrum_dm(chosen: argparse.Namespace) -> int:
    return _write_requested(chosen, kind="dm")


def _spectrum_cevns(chosen: argparse.Namespace) -> int:
    if chosen.fission_fractions:
        isotopes = [name for name, _ in chosen.fission_fractions]
        if len(set(isotopes)) != len(isotopes):
            raise InputError(f"--fission-fractions {' '.join(isotopes)}: name each isotope once")
        chosen.fission_fractions = dict(chosen.fission_fractions)
    return _write_requested(chosen, kind="cevns")


def _spectrum_capture(chosen: argparse.Namespace) -> int:
    if chosen.mass_g is not None and not chosen.mass_g > 0:
        raise InputError(f"--mass-g is {chosen.mass_g:g}, expected the mass of the crystal in g")
    return _write_requested(chosen, kind="capture")


def _spectrum_recoils(chosen: argparse.Namespace) -> int:
    from cascade_driver.binning import bin_edges
    from cascade_driver.sources.recoil_list import read_recoil_list, spectrum_of_recoils
    from cascade_driver.spectrum import write_spectrum

    spectrum = spectrum_of_recoils(
        read_recoil_list(chosen.file),
        counts_per_kg_day=chosen.counts_per_kg_day,
        energy_edges_eV=bin_edges(*chosen.energy_eV, bins=chosen.bins, logarithmic=chosen.logarithmic),
        element=chosen.element,
    )
    write_spectrum(spectrum, chosen.out)
    print(f"{chosen.out}: {spectrum.total_counts_per_kg_day:.6g} counts per kg and day")
    return 0


def _spectrum_levels(chosen: argparse.Namespace) -> int:
    from cascade_driver.binning import bin_edges
    from cascade_driver.sources.gamma_recoil import GammaTiming
    from cascade_driver.sources.recoil_list import read_level_file, spectrum_of_cascades
    from cascade_driver.spectrum import write_spectrum

    spectrum = spectrum_of_cascades(
        read_level_file(chosen.file, lifetime_unit_fs=chosen.lifetime_unit_fs),
        target=chosen.target,
        captures_per_kg_day=chosen.captures_per_kg_day,
        energy_edges_eV=bin_edges(*chosen.energy_eV, bins=chosen.bins, logarithmic=chosen.logarithmic),
        timing=GammaTiming(law=chosen.gamma_timing),
    )
    write_spectrum(spectrum, chosen.out)
    print(f"{chosen.out}: {spectrum.total_counts_per_kg_day:.6g} counts per kg and day")
    return 0


def _lines(chosen: argparse.Namespace) -> int:
    from cascade_driver.spectra.line_fit import fit_spectrum_lines
    from cascade_driver.spectrum import read_spectrum

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


def _modulation(chosen: argparse.Namespace) -> int:
    import datetime

    from cascade_driver.campaign.rundir import RunDirectory
    from cascade_driver.models import modulation_of_run
    from cascade_driver.request import DarkMatterRequest
    from cascade_driver.spectra.daily_modulation import crystal_from_laboratory

    request = _request(chosen, kind="dm")
    assert isinstance(request, DarkMatterRequest)
    if request.date is None:
        raise InputError("--date is missing: give the day, such as 2026-06-01")
    start = datetime.datetime.combine(request.date, datetime.time(), tzinfo=datetime.UTC)
    times = [start + datetime.timedelta(days=i / chosen.times) for i in range(chosen.times)]
    found = modulation_of_run(
        RunDirectory(chosen.run.resolve()),
        request,
        times=times,
        latitude_deg=chosen.latitude_deg,
        longitude_deg=chosen.longitude_deg,
        crystal=crystal_from_laboratory(up=chosen.up, east=chosen.east),
        threshold_eV=chosen.threshold_eV,
        fallback_species=chosen.species,
        other_crystal=chosen.other_crystal,
    )
    rows = ["time_utc,counts_per_kg_day,deviation,deviation_error"]
    rows += [
        f"{t.isoformat()},{float(n)!r},{float(d)!r},{float(e)!r}"
        for t, n, d, e in zip(times, found.counts_per_kg_day, found.deviation, found.deviation_error, strict=True)
    ]
    write_file(chosen.out, "\n".join(rows) + "\n")
    print(
        f"half of peak to peak: {found.amplitude:.3%}; deviation over its error: {found.significance:.2f} "
        "(noise: 1)"
    )
    print(
        f"{chosen.out}: {len(times)} times, {found.counts_per_kg_day.mean():.6g} counts per kg and day on average"
    )
    return 0


def _draw(chosen: argparse.Namespace) -> int:
    from cascade_driver.plot import calibration_figure, save_figure, spectra_figure
    from cascade_driver.spectra.observe import observed_of_files

    files = chosen.files
    if len(files) % 2:
        raise InputError(f"{len(files)} files given, expected pairs: EXPECTED.csv OBSERVED.csv")
    if chosen.titles and len(chosen.titles) != len(files) // 2:
        raise InputError(f"{len(chosen.titles)} titles for {len(files) // 2} pairs of files, expected one each")
    titles = chosen.titles or [file.stem for file in files[1::2]]
    pairs = [
        observed_of_files(expected, observed, title=title)
        for expected, observed, title in zip(files[::2], files[1::2], titles, strict=True)
    ]
    for pair in pairs:
        _print_notes([note for note in pair.notes if note not in pair.observed.notes])
    range_eV = tuple(chosen.range_eV) if chosen.range_eV else None
    status: Literal["qualitative", "quantitative"] = "quantitative"
    if any(pair.observed.observation is not None and pair.status == "qualitative" for pair in pairs):
        status = "qualitative"
    if chosen.mass_g is not None:
        if len(pairs) != 1:
            raise InputError(f"--mass-g draws one pair, found {len(pairs)}: give EXPECTED.csv OBSERVED.csv")
        figure = calibration_figure(
            pairs[0],
            mass_g=chosen.mass_g,
            lines_eV=chosen.lines_eV,
            range_eV=range_eV,
            logarithmic_counts=chosen.log_counts,
            potential_status=status,
        )
    else:
        labels = {"labels": tuple(chosen.labels)} if chosen.labels else {}
        figure = spectra_figure(
            pairs, logarithmic_energy=chosen.log, range_eV=range_eV, potential_status=status, **labels
        )
    suffixes = {".png", ".pdf"}
    stem = chosen.out.with_suffix("") if chosen.out.suffix in suffixes else chosen.out
    for file in save_figure(figure, stem):
        print(file)
    return 0


def _write_requested(chosen: argparse.Namespace, *, kind: Literal["dm", "cevns", "capture"]) -> int:
    from cascade_driver.spectra.observe import expect, observe
    from cascade_driver.spectrum import write_spectrum

    request = _request(chosen, kind=kind)
    detector = _detector(chosen)
    if not chosen.model:
        spectrum = expect(request, detector=detector)
        write_spectrum(spectrum, chosen.out)
        _print_notes(spectrum.notes)
    else:
        from cascade_driver.models import load_model

        spectrum = _write_observed(observe(request, load_model(*chosen.model), **_ways(chosen)), chosen.out)
    total = float(spectrum.total_counts_per_kg_day)
    low, high = chosen.energy_eV
    print(f"{chosen.out}: {total:.6g} counts per kg and day between {low:g} and {high:g} eV")
    if getattr(chosen, "mass_g", None):
        print(f"{chosen.mass_g:g} g: {total * chosen.mass_g / 1e3:.6g} counts per day")
    return 0


def _request(chosen: argparse.Namespace, *, kind: Literal["dm", "cevns", "capture"]) -> AnySpectrumRequest:
    """Return what the options ask for: each is a field of the request."""
    import dataclasses

    from cascade_driver.request import CaptureRequest, CevnsRequest, DarkMatterRequest
    from cascade_driver.schema import build

    wanted: type[AnySpectrumRequest]
    wanted = {"dm": DarkMatterRequest, "cevns": CevnsRequest, "capture": CaptureRequest}[kind]
    names = {field.name for field in dataclasses.fields(wanted)} & vars(chosen).keys()
    content = {name: getattr(chosen, name) for name in names} | {"kind": kind}
    content["target"] = f"{chosen.target}[{','.join(chosen.enrich)}]" if chosen.enrich else chosen.target
    return build(wanted, content, origin="arguments")


def _detector(chosen: argparse.Namespace) -> Detector | None:
    """Return the detector that the options describe, if they describe one."""
    import dataclasses

    from cascade_driver.schema import build
    from cascade_driver.spectra.detector import Detector

    names = {field.name for field in dataclasses.fields(Detector)} & vars(chosen).keys()
    made = build(Detector, {name: getattr(chosen, name) for name in names}, origin="arguments")
    return None if made == Detector() else made


def _ways(chosen: argparse.Namespace) -> dict[str, Any]:
    """Return how `observe` is to go about it."""
    return {
        "detector": _detector(chosen),
        "bands": not chosen.no_bands,
        "fallback_species": chosen.species,
        "extrapolate": chosen.extrapolate,
        "other_crystal": chosen.other_crystal,
    }


def _write_observed(found: Observed, path: Path) -> Spectrum:
    """Write what is observed with its bands, say what a reader must know, and return it."""
    found.write(path)
    _print_notes(found.notes)
    if found.status == "qualitative":
        print("note: the model is qualitative", file=sys.stderr)
    if found.bands is not None:
        low, high = found.range_eV
        for line in found.bands.diagnosis(low_eV=low, high_eV=high):
            print(line)
    return found.observed_in_same_bins


def _print_notes(notes: Sequence[str]) -> None:
    for note in notes:
        print(f"note: {note}", file=sys.stderr)


def _correct(chosen: argparse.Namespace) -> int:
    from cascade_driver.spectrum import read_spectrum

    given: list[str] = [*chosen.model, *chosen.files]
    models, file = given[:-1], given[-1]
    if not models:
        raise InputError(
            f"1 files or names given ({file}), expected a model and a spectrum: cascade correct MODEL SPECTRUM.csv"
        )
    recoil = read_spectrum(Path(file))  # before what takes seconds: a wrong file is told at once
    from cascade_driver.analysis.published import CaWO4Assumptions
    from cascade_driver.models import load_model
    from cascade_driver.spectra.observe import observe

    names = ("half_energy_eV", "width_eV", "sigma_81_eV", "sigma_160_eV")
    assumed = {name: getattr(chosen, name) for name in names if getattr(chosen, name) is not None}
    model = load_model(
        *models,
        assumptions=CaWO4Assumptions(**assumed) if assumed else None,
        assumption_error=chosen.assumption_error,
        direction=chosen.direction,
        angular_width_deg=chosen.angular_width_deg,
    )
    observed = _write_observed(observe(recoil, model, **_ways(chosen)), chosen.out)
    print(f"{chosen.out}: {float(observed.total_counts_per_kg_day):.6g} counts per kg and day")
    return 0
