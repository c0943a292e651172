"""Verbs on tunnelling two-level systems: resonators, and glasses of them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from cascade_driver.commands.arguments import Verbs, add_out, add_verb, new_file, no_kind
from cascade_driver.commands.debris import add_debris
from cascade_driver.commands.fits import print_fit
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

    from cascade_driver.relaxation.tls.damping_fit import DampingFit
    from cascade_driver.relaxation.tls.distribution import Temperatures
    from cascade_driver.relaxation.tls.loss_fit import LossFit
    from cascade_driver.relaxation.tls.properties_fit import PropertyFit


def add_to(verbs: Verbs) -> None:
    """Add the verbs of this module to the command."""
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
    add_debris(kinds)
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
    print_fit(fit.parameters, fit.goodness, fit.health)
    for T, found in zip(data.temperature_K[~warm], fit.temperature_K(data.shift[~warm]), strict=True):
        told = f"at {found:.4g} K" if found > 0 else "colder than the least shift tells"
        print(f"at {T:.4g} K the systems are {told}")
    if fit.coldest_told_K > 0 and not warm.all():
        print(f"note: below {fit.coldest_told_K:.3g} K a shift is that of a warmer temperature, too: the one told")
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
    print_fit(fit.parameters, fit.goodness, fit.health)
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
    print_fit({**fit.parameters, "loss_tangent": fit.loss_tangent}, fit.goodness, fit.health)
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
    print_fit(shown, fit.goodness, fit.health)
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
        f"10 000 realisations of this size take {summary.hours_of_paper(workers):.2g} h on {workers} processes"
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
