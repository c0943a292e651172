"""Verbs on spectra: make, correct and measure them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from cascade_driver.commands.arguments import (
    DIRECTION,
    Verbs,
    add_out,
    add_run,
    add_verb,
    new_figure,
    new_file,
    no_kind,
    run_or_model,
)
from cascade_driver.commands.capture import add_line_options, list_lines
from cascade_driver.commands.options import (
    add_keywords,
    add_options,
    built,
    given,
    keywords,
    kind_of,
    option_of,
    options_given,
    refuse_alone,
)
from cascade_driver.errors import InputError
from cascade_driver.files import write_file

if TYPE_CHECKING:
    from cascade_driver.analysis.model import StoredEnergyModel
    from cascade_driver.kinds import Status
    from cascade_driver.request import AnyNeutrinoRequest, AnySpectrumRequest
    from cascade_driver.spectra.detector import Detector
    from cascade_driver.spectra.line_fit import LineFit, ScaleTest
    from cascade_driver.spectra.observe import Observed
    from cascade_driver.spectrum import Spectrum

#: The capture table of the package.
_SHIPPED = Path()

R = TypeVar("R", bound="AnySpectrumRequest")


#: Of the file of a spectrum.
_ENDINGS = "or as histograms: .json, .h5 (both in the schema of UHI), .root"


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
    add_verb(kinds, "dm", _spectrum_dm, "Dark-matter scattering in the standard halo.", _options_dm)
    add_verb(kinds, "cevns", _spectrum_cevns, "Coherent scattering of neutrinos.", _options_cevns)
    about = "Recoils after the capture of thermal neutrons."
    add_verb(kinds, "capture", _spectrum_capture, about, _options_capture)
    about = "Recoils that another program has listed."
    add_verb(kinds, "recoils", _spectrum_recoils, about, _options_recoils)
    about = "Gamma cascades of a level file of nrCascadeSim."
    add_verb(kinds, "levels", _spectrum_levels, about, _options_levels)


#: Whatever is counted in bins.
_BINS: Any = {"names": {"logarithmic": "--log"}, "target": {"metavar": "FORMULA"}}


def _options_dm(dm: argparse.ArgumentParser) -> None:
    from cascade_driver.request import DarkMatterRequest

    add_options(dm, DarkMatterRequest, **_BINS)
    _add_observation(dm)


def _options_cevns(cevns: argparse.ArgumentParser) -> None:
    from cascade_driver.request import NeutrinoRequest
    from cascade_driver.schema import fields_of

    sources = _neutrino_sources()
    cevns.add_argument(
        "--source", choices=list(sources), default="reactor", help="of the neutrinos (default: reactor)"
    )
    add_options(cevns, NeutrinoRequest, **_BINS)
    for name, title in (("reactor", "a reactor"), ("solar", "the Sun"), ("mono", "neutrinos of one energy")):
        add_options(
            cevns.add_argument_group(title),
            sources[name],
            without=fields_of(NeutrinoRequest),
            may_be_missing=True,
        )
    _add_observation(cevns)


def _neutrino_sources() -> dict[str, type[AnyNeutrinoRequest]]:
    from cascade_driver.request import MonoenergeticRequest, ReactorRequest, SolarRequest

    return {"reactor": ReactorRequest, "solar": SolarRequest, "mono": MonoenergeticRequest}


def _options_capture(capture: argparse.ArgumentParser) -> None:
    from cascade_driver.request import CaptureRequest

    add_options(capture, CaptureRequest, **_BINS)
    capture.add_argument("--mass-g", type=float, metavar="M", help="also say the counts per day in such a crystal")
    _add_observation(capture)


def _options_recoils(recoils: argparse.ArgumentParser) -> None:
    from cascade_driver.request import Bins
    from cascade_driver.sources.recoil_list import spectrum_of_recoils

    recoils.add_argument("file", type=Path, metavar="LIST.csv", help="columns energy_eV[,weight]")
    add_keywords(recoils, spectrum_of_recoils, "counts_per_kg_day", "element")
    add_options(recoils, Bins, **_BINS)
    _add_out(recoils)


def _options_levels(levels: argparse.ArgumentParser) -> None:
    from cascade_driver.request import CaptureRequest, Recoils
    from cascade_driver.sources.recoil_list import read_level_file, spectrum_of_cascades

    levels.add_argument("file", type=Path, metavar="LEVELS.txt")
    add_keywords(levels, spectrum_of_cascades, "captures_per_kg_day")
    add_keywords(levels, read_level_file, "lifetime_unit_fs")
    add_options(levels, CaptureRequest, only=["gamma_timing"])
    add_options(levels, Recoils, **_BINS)
    _add_out(levels)


def _add_out(verb: argparse.ArgumentParser) -> None:
    add_out(verb, "FILE.csv", _ENDINGS)


def _add_enrichment(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--enrich",
        nargs="+",
        default=(),
        metavar="ISOTOPE=SHARE",
        help="share of the atoms of its element, e.g. W183=0.9; the others keep their proportions",
    )


def _add_observation(verb: argparse.ArgumentParser) -> None:
    """Add the options of a spectrum that is made for a target, and written as it is observed."""
    _add_enrichment(verb)
    _add_out(verb)
    seen = verb.add_argument_group("what is observed of it")
    seen.add_argument(
        "--model",
        action="append",
        type=run_or_model,
        default=[],
        metavar="MODEL",
        help="write what is observed: a run directory, a model file, cawo4 or cawo4-published; more of them are "
        "the same with other potentials",
    )
    _add_detection(seen)


#: How a model is used.
_USE = ("fallback_species", "extrapolate", "other_crystal")


def _add_detection(seen: argparse._ActionsContainer) -> None:
    """Add the options of everything that is observed by a model."""
    from cascade_driver.config import AnalysisSpec
    from cascade_driver.spectra.detector import Detector

    add_options(seen, AnalysisSpec, only=_USE, names={"fallback_species": "--species"})
    add_options(seen, Detector)
    seen.add_argument("--no-bands", action="store_true", help="leave out the columns of the error bands")


def _add_correct(verbs: Verbs) -> None:
    about = "Correct a recoil spectrum for the energy stored in defects."
    add_verb(verbs, "correct", _correct, about, _options_correct)


def _options_correct(verb: argparse.ArgumentParser) -> None:
    from cascade_driver.analysis.published import CaWO4Assumptions
    from cascade_driver.config import AnalysisSpec
    from cascade_driver.models import load_model

    verb.add_argument(
        "files",
        nargs="+",
        type=run_or_model,
        metavar="FILE",
        help="MODEL [MODEL ...] SPECTRUM.csv: a run directory, a model file of `cascade fit` or the name "
        "cawo4, cawo4-published (a folder of that name is ./cawo4), and a spectrum; further models are the same "
        "with other potentials",
    )
    verb.add_argument(
        "--model",
        action="append",
        type=run_or_model,
        default=[],
        metavar="MODEL",
        help="a model, if not given before the spectrum",
    )
    add_out(verb, "OBSERVED.csv", f"{_ENDINGS} with the members of the error band")
    verb.add_argument(
        "--expected",
        type=new_file,
        metavar="EXPECTED.csv",
        help="also write what the same detector would see if nothing were stored, to draw beside it",
    )
    verb.add_argument(
        "--workspace",
        type=new_file,
        metavar="FILE.json",
        help="the spectrum with its errors as correlated shapes, for pyhf",
    )
    verb.add_argument(
        "--hs3", type=new_file, metavar="FILE.json", help="the same in the HS3 standard, for ROOT and pyhs3"
    )
    verb.add_argument(
        "--exposure-kg-day", type=float, dest="exposure_kg_day", metavar="X", help="makes counts of rates in it"
    )
    _add_detection(verb)
    add_options(verb, AnalysisSpec, only=["direction", "angular_width_deg"], direction=DIRECTION)
    assumed = verb.add_argument_group("what cawo4-published assumes, because the paper does not print it")
    add_options(assumed, CaWO4Assumptions)
    add_keywords(assumed, load_model, "assumption_error")


def _add_lines(verbs: Verbs) -> None:
    about = (
        "Fit lines in a spectrum after the detector, and test the energy scale; or list those of neutron capture "
        "(--table --target FORMULA)."
    )
    add_verb(verbs, "lines", _lines, about, _options_lines)


def _options_lines(verb: argparse.ArgumentParser) -> None:
    from cascade_driver.spectra.line_fit import fit_spectrum_lines

    # argparse knows one way to use a verb: of what a fit needs it would say that it may be left out
    verb.usage = (
        f"{verb.prog} SPECTRUM.csv --at-eV X [X ...] --resolution-eV X --exposure-kg-day X [options of a fit]\n"
        f"       {verb.prog} --table [FOLDER] --target FORMULA [options of a list]"
    )
    verb.add_argument("spectrum", type=Path, nargs="?", metavar="SPECTRUM.csv", help="measured, or expected")
    verb.add_argument(
        "--recoils",
        type=Path,
        metavar="RECOIL.csv",
        help="spectrum of recoils in fine bins: lines are what it has around them, not single energies",
    )
    add_keywords(
        verb,
        fit_spectrum_lines,
        "at_eV",
        "exposure_kg_day",
        "resolution_eV",
        "between_eV",
        "background_order",
        "half_window_eV",
        "loss_eV",
        "scale_error",
        needed_for="a fit",
    )
    verb.add_argument(
        "--model",
        type=run_or_model,
        metavar="MODEL",
        help="say beside it how far this one moves recoils of these energies, with the error of the model: a run, "
        "a model file, cawo4 or cawo4-published",
    )
    listed = verb.add_argument_group("the lines of neutron capture, as `cascade capture lines` lists them")
    listed.add_argument(
        "--table", nargs="?", type=Path, const=_SHIPPED, metavar="FOLDER", help="of the package, or your own"
    )
    listed.add_argument("--target", metavar="FORMULA", help="e.g. CaWO4, TeO2, LiF, or CaWO4[W183=0.9]")
    add_line_options(listed)
    add_out(verb, "FILE", "the fit as .json; listed lines with their sources as .csv", required=False)
    verb.add_argument("--figure", type=new_figure, metavar="STEM", help="draw the fit: STEM.png and STEM.pdf")


def _add_draw(verbs: Verbs) -> None:
    about = "Draw spectra without and with the loss, and their ratio."
    add_verb(verbs, "draw", _draw, about, _options_draw)


def _options_draw(verb: argparse.ArgumentParser) -> None:
    from cascade_driver.plot.spectra import calibration_figure, spectra_figure

    verb.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="EXPECTED.csv OBSERVED.csv, and more pairs of them"
    )
    verb.add_argument("--titles", nargs="+", default=(), metavar="TEXT", help="one per pair (default: its source)")
    names = {"logarithmic_energy": "--log", "logarithmic_counts": "--log-counts"}
    labels = {"nargs": 2, "metavar": ("DASHED", "PLAIN")}
    add_keywords(verb, spectra_figure, "range_eV", "labels", "logarithmic_energy", names=names, labels=labels)
    calibration = verb.add_argument_group("counts per day of one pair in a crystal instead")
    of_it = ["mass_g", "lines_eV", "logarithmic_counts"]
    add_keywords(calibration, calibration_figure, *of_it, names=names, may_be_missing=True)
    verb.add_argument("--out", type=new_figure, required=True, metavar="FIGURE", help="FIGURE.png and FIGURE.pdf")


def _add_modulation(verbs: Verbs) -> None:
    about = "Daily modulation of dark matter, by what a crystal stores along its axes."
    add_verb(verbs, "modulation", _modulation, about, _options_modulation)


def _options_modulation(verb: argparse.ArgumentParser) -> None:
    from cascade_driver.config import AnalysisSpec
    from cascade_driver.models import modulation_of_run
    from cascade_driver.request import DarkMatterRequest
    from cascade_driver.spectra.daily_modulation import crystal_from_laboratory, times_of

    add_run(verb)
    date = {"required": True, "metavar": "YYYY-MM-DD", "help": "from midnight, UTC"}
    # A light mediator, or a spin, would change which recoils come from where; the Earth has the speed of that day.
    without = ["mediator_mass_MeV", "coupling", "earth_speed_km_s"]
    add_options(verb, DarkMatterRequest, without=without, **_BINS, date=date)
    _add_enrichment(verb)
    _add_out(verb)
    add_keywords(verb, modulation_of_run, "threshold_eV", "latitude_deg", "longitude_deg")
    add_keywords(verb, times_of, "times")
    add_keywords(verb, crystal_from_laboratory, "up", "east")
    names = {"fallback_species": "--species"}
    add_options(verb, AnalysisSpec, only=["fallback_species", "other_crystal"], names=names)


def _spectrum_dm(chosen: argparse.Namespace) -> int:
    from cascade_driver.request import DarkMatterRequest

    return _write_requested(chosen, _request(chosen, DarkMatterRequest))


def _spectrum_cevns(chosen: argparse.Namespace) -> int:
    sources = _neutrino_sources()
    for source, kind in sources.items():
        others = given(chosen, kind).keys() - given(chosen, sources[chosen.source]).keys()
        if source != chosen.source and others:
            option = option_of(chosen, kind, min(others))
            raise InputError(
                f"{option} belongs to --source {source}, found --source {chosen.source}; leave it out"
            )
    return _write_requested(chosen, _request(chosen, sources[chosen.source]))


def _spectrum_capture(chosen: argparse.Namespace) -> int:
    from cascade_driver.request import CaptureRequest

    if chosen.mass_g is not None and not chosen.mass_g > 0:
        raise InputError(f"--mass-g is {chosen.mass_g:g}, expected the mass of the crystal in g")
    return _write_requested(chosen, _request(chosen, CaptureRequest))


def _spectrum_recoils(chosen: argparse.Namespace) -> int:
    from cascade_driver.request import Bins
    from cascade_driver.sources.recoil_list import read_recoil_list, spectrum_of_recoils

    spectrum = spectrum_of_recoils(
        read_recoil_list(chosen.file),
        energy_edges_eV=built(chosen, Bins).edges_eV,
        **keywords(chosen, spectrum_of_recoils),
    )
    spectrum.write(chosen.out)
    print(f"{chosen.out}: {spectrum.total_counts_per_kg_day:.6g} counts per kg and day")
    return 0


def _spectrum_levels(chosen: argparse.Namespace) -> int:
    from cascade_driver.request import CaptureRequest, Recoils
    from cascade_driver.sources.gamma_recoil import GammaTiming
    from cascade_driver.sources.recoil_list import read_level_file, spectrum_of_cascades

    wanted = built(chosen, Recoils)
    timing = given(chosen, CaptureRequest).get("gamma_timing", CaptureRequest.gamma_timing)
    spectrum = spectrum_of_cascades(
        read_level_file(chosen.file, **keywords(chosen, read_level_file)),
        target=wanted.target,
        energy_edges_eV=wanted.edges_eV,
        timing=GammaTiming(law=timing),
        **keywords(chosen, spectrum_of_cascades),
    )
    spectrum.write(chosen.out)
    print(f"{chosen.out}: {spectrum.total_counts_per_kg_day:.6g} counts per kg and day")
    return 0


def _lines(chosen: argparse.Namespace) -> int:
    from cascade_driver.schema import fields_of
    from cascade_driver.spectra.line_fit import fit_spectrum_lines

    kind = kind_of(chosen, fit_spectrum_lines)
    required = [name for name, field in fields_of(kind).items() if field.is_required()]
    needed = {"SPECTRUM.csv": chosen.spectrum}
    needed |= {option_of(chosen, kind, name): given(chosen, kind).get(name) for name in required}
    if chosen.table is not None or chosen.target is not None:
        return _list_capture_lines(chosen, kind, needed=needed)
    if not chosen.recoils:
        refuse_alone(options_given(chosen, kind, only=["half_window_eV"]), needed="--recoils")
    from cascade_driver.sources.neutron_capture import capture_lines

    refuse_alone(options_given(chosen, "first", kind_of(chosen, capture_lines)), needed="--table")
    if missing := [name for name, value in needed.items() if value is None]:
        raise InputError(f"the following arguments are required: {', '.join(missing)}; see `cascade lines --help`")
    from cascade_driver.models import load_model
    from cascade_driver.spectra.line_shift import model_shifts
    from cascade_driver.spectrum import read_spectrum
    from cascade_driver.terminal.console import make_console
    from cascade_driver.terminal.spectra import print_lines, print_model_shifts

    spectrum = read_spectrum(chosen.spectrum)
    shifts = model_shifts(load_model(chosen.model), at_eV=given(chosen, kind)["at_eV"]) if chosen.model else []
    fit, tests = fit_spectrum_lines(
        spectrum,
        recoil=read_spectrum(chosen.recoils) if chosen.recoils else None,
        **keywords(chosen, fit_spectrum_lines),
    )
    print_lines(fit, console=make_console())
    good = fit.goodness
    is_measured = spectrum.source is None
    said = f", p = {good.p_value:.2g}" if is_measured and good.p_value is not None else ""
    print(f"deviance {good.statistic:.4g} for {_freedom(good.degrees_of_freedom)}{said}")
    if not is_measured:
        print(
            "note: expected counts, no measured ones: errors are those of such an exposure, that of a model is "
            "not in them (--model tells it); the deviance has no scatter in it, it is what the form of lines and "
            "background misses",
            file=sys.stderr,
        )
    for test in tests:
        print(
            f"{test.name.replace('_', ' '):14s} chi2 {test.chi_square:8.4g} for "
            f"{_freedom(test.degrees_of_freedom)}: {test.significance:.3g} standard deviations"
        )
    if shifts:
        print_model_shifts(shifts, console=make_console())
    return _keep_lines(chosen, spectrum, fit, tests, is_measured=is_measured)


def _list_capture_lines(chosen: argparse.Namespace, kind: type, *, needed: Mapping[str, Any]) -> int:
    """List lines of neutron capture; `needed` are what a fit of options of `kind` cannot do without."""
    of_fit = {**needed, "--figure": chosen.figure, "--model": chosen.model}
    if more := [name for name, value in of_fit.items() if value is not None]:
        raise InputError(
            f"--table and --target list the lines of neutron capture, {more[0]} fits lines: give one of both"
        )
    how = [option_of(chosen, kind, name) for name in sorted(given(chosen, kind).keys() - {"between_eV"})]
    if how := [*options_given(chosen, "recoils"), *how]:
        raise InputError(f"{how[0]} says how lines are fitted, which --table and --target list: leave it out")
    if chosen.table is None or chosen.target is None:
        raise InputError("the lines of neutron capture are listed by both of --table and --target FORMULA")
    table = None if chosen.table is _SHIPPED else chosen.table
    return list_lines(chosen, target=chosen.target, table=table, between_eV=given(chosen, kind).get("between_eV"))


def _keep_lines(
    chosen: argparse.Namespace, spectrum: Spectrum, fit: LineFit, tests: Sequence[ScaleTest], *, is_measured: bool
) -> int:
    """Write and draw a fit of lines, if that is asked for."""
    from cascade_driver.plot import line_fit_figure, save_figure
    from cascade_driver.spectra.line_fit import write_line_fit

    if chosen.out:
        write_line_fit(fit, tests, chosen.out, is_measured=is_measured)
        print(chosen.out)
    if chosen.figure:
        about = spectrum.observation
        figure = line_fit_figure(
            fit, is_measured=is_measured, potential_status=about.status if about else "quantitative"
        )
        print(*save_figure(figure, chosen.figure), sep="\n")
    return 0


def _freedom(degrees: int | None) -> str:
    return f"{degrees} degree{'' if degrees == 1 else 's'} of freedom"


def _modulation(chosen: argparse.Namespace) -> int:
    from cascade_driver.campaign.rundir import RunDirectory
    from cascade_driver.config import AnalysisSpec
    from cascade_driver.models import modulation_of_run
    from cascade_driver.request import DarkMatterRequest
    from cascade_driver.spectra.daily_modulation import crystal_from_laboratory, times_of

    request = _request(chosen, DarkMatterRequest)
    assert request.date is not None
    times = times_of(request.date, **keywords(chosen, times_of))
    found = modulation_of_run(
        RunDirectory(chosen.run.resolve()),
        request,
        times=times,
        crystal=crystal_from_laboratory(**keywords(chosen, crystal_from_laboratory)),
        **keywords(chosen, modulation_of_run),
        **given(chosen, AnalysisSpec),
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
    from cascade_driver.plot import save_figure
    from cascade_driver.plot.spectra import calibration_figure, spectra_figure
    from cascade_driver.spectra.observe import observed_of_files

    files = chosen.files
    if len(files) % 2:
        raise InputError(f"{len(files)} files given, expected pairs: EXPECTED.csv OBSERVED.csv")
    if chosen.titles and len(chosen.titles) != len(files) // 2:
        raise InputError(f"{len(chosen.titles)} titles for {len(files) // 2} pairs of files, expected one each")
    titles = chosen.titles or [""] * (len(files) // 2)
    pairs = [
        observed_of_files(expected, observed, title=title)
        for expected, observed, title in zip(files[::2], files[1::2], titles, strict=True)
    ]
    for pair in pairs:
        _print_notes([note for note in pair.notes if note not in pair.observed.notes])
    drawn = keywords(chosen, spectra_figure)
    status: Status = "quantitative"
    if any(pair.observed.observation is not None and pair.status == "qualitative" for pair in pairs):
        status = "qualitative"
    of_calibration = kind_of(chosen, calibration_figure)
    if "mass_g" in given(chosen, of_calibration):
        of_others = options_given(chosen, kind_of(chosen, spectra_figure), only=["labels", "logarithmic_energy"])
        if of_others:
            raise InputError(f"{of_others[0]} says nothing of the figure of --mass-g: leave out one of both")
        if len(pairs) != 1:
            raise InputError(f"--mass-g draws one pair, found {len(pairs)}: give EXPECTED.csv OBSERVED.csv")
        figure = calibration_figure(
            pairs[0],
            range_eV=drawn.get("range_eV"),
            potential_status=status,
            **keywords(chosen, calibration_figure),
        )
    else:
        refuse_alone(options_given(chosen, of_calibration), needed="--mass-g")
        figure = spectra_figure(pairs, potential_status=status, **drawn)
    twice = [file for k, file in enumerate(files) if file.exists() and any(map(file.samefile, files[:k]))]
    _print_notes([f"{file} is given twice: one of its curves hides the other" for file in dict.fromkeys(twice)])
    print(*save_figure(figure, chosen.out), sep="\n")
    return 0


def _write_requested(chosen: argparse.Namespace, request: AnySpectrumRequest) -> int:
    from cascade_driver.spectra.observe import expect

    if not chosen.model:
        from cascade_driver.config import AnalysisSpec

        refuse_alone([*options_given(chosen, AnalysisSpec), *options_given(chosen, "no_bands")], needed="--model")
        spectrum = expect(request, detector=_detector(chosen))
        spectrum.write(chosen.out)
        _print_notes(spectrum.notes)
    else:
        from cascade_driver.models import load_model

        spectrum = _write_observed(_observe(chosen, request, load_model(*chosen.model)), chosen.out)
    total = float(spectrum.total_counts_per_kg_day)
    low, high = request.energy_eV
    print(f"{chosen.out}: {total:.5g} counts per kg and day between {low:g} and {high:g} eV")
    if getattr(chosen, "mass_g", None):
        print(f"{chosen.mass_g:g} g: {total * chosen.mass_g / 1e3:.5g} counts per day")
    return 0


def _request(chosen: argparse.Namespace, kind: type[R]) -> R:
    """Return what the options ask for."""
    target = given(chosen, kind)["target"]
    if not chosen.enrich:
        return built(chosen, kind)
    if "[" in target:
        raise InputError(f"--target {target} and --enrich {' '.join(chosen.enrich)} both enrich; use one of them")
    return built(chosen, kind, target=f"{target}[{','.join(chosen.enrich)}]")


def _detector(chosen: argparse.Namespace) -> Detector | None:
    """Return the detector that the options describe, if they describe one."""
    from cascade_driver.spectra.detector import Detector

    made = built(chosen, Detector)
    return None if made == Detector() else made


def _observe(
    chosen: argparse.Namespace, recoils: AnySpectrumRequest | Spectrum, model: StoredEnergyModel
) -> Observed:
    """Return what is observed of recoils in the way that the options describe."""
    from cascade_driver.config import AnalysisSpec
    from cascade_driver.spectra.observe import observe

    use = built(chosen, AnalysisSpec)
    return observe(
        recoils,
        model,
        detector=_detector(chosen),
        bands=not chosen.no_bands,
        fallback_species=use.fallback_species,
        extrapolate=use.extrapolate,
        other_crystal=use.other_crystal,
    )


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

    names: list[str] = [*chosen.model, *chosen.files]
    models, file = names[:-1], names[-1]
    if bool(chosen.workspace or chosen.hs3) != (chosen.exposure_kg_day is not None):
        raise InputError("--exposure-kg-day goes together with --workspace or --hs3: give both or none")
    if not models:
        raise InputError(
            f"1 files or names given ({file}), expected a model and a spectrum: cascade correct MODEL SPECTRUM.csv"
        )
    from cascade_driver.config import AnalysisSpec

    if "direction" not in given(chosen, AnalysisSpec):
        refuse_alone(options_given(chosen, AnalysisSpec, only=["angular_width_deg"]), needed="--direction")
    recoil = read_spectrum(Path(file))  # before what takes seconds: a wrong file is told at once
    if recoil.energy_kind == "recoil" and (low := float(recoil.energy_edges_eV[0])) < 0:
        raise InputError(
            f"{file}: its bins (energy_low_eV) begin at {low:g} eV, and recoil energies are not negative; "
            "leave the bins below 0 eV out"
        )
    from cascade_driver.analysis.published import CAWO4_PUBLISHED, CaWO4Assumptions
    from cascade_driver.models import load_model

    asked = built(chosen, AnalysisSpec)
    if models[0] != CAWO4_PUBLISHED:
        refuse_alone(options_given(chosen, kind_of(chosen, load_model)), needed=f"the model {CAWO4_PUBLISHED}")
    model = load_model(
        *models,
        assumptions=built(chosen, CaWO4Assumptions) if given(chosen, CaWO4Assumptions) else None,
        **keywords(chosen, load_model),
        direction=asked.direction,
        angular_width_deg=asked.angular_width_deg,
    )
    pair = _observe(chosen, recoil, model)
    observed = _write_observed(pair, chosen.out)
    if chosen.expected:
        pair.expected.write(chosen.expected)
        print(f"{chosen.expected}: the same, nothing stored")
    low, *_, high = observed.energy_edges_eV
    total = float(observed.total_counts_per_kg_day)
    print(f"{chosen.out}: {total:.5g} counts per kg and day observed between {low:g} and {high:g} eV")
    if chosen.workspace or chosen.hs3:
        from cascade_driver.spectra.templates import count_templates, hs3_of, workspace_of, write_workspace

        templates = count_templates(pair, exposure_kg_day=chosen.exposure_kg_day)
        for path, content, said in (
            (chosen.workspace, workspace_of, "a workspace of pyhf"),
            (chosen.hs3, hs3_of, "a workspace of HS3"),
        ):
            if path:
                write_workspace(content(templates), path)
                edges_eV = templates.energy_edges_eV
                of = f"{len(templates.counts)} complete bins of {len(observed.energy_edges_eV) - 1}"
                print(f"{path}: {said}, {of}, from {edges_eV[0]:g} to {edges_eV[-1]:g} eV")
    return 0
