"""What is told of a whole run: how far it is, its energies, its fit, what to add, two runs side by side."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from cascade_driver.analysis.comparison import are_the_same, equal_within, verdict
from cascade_driver.analysis.defect_probability import defect_points
from cascade_driver.analysis.distribution import summarise_stored_energies
from cascade_driver.analysis.outcomes import usable_cascades
from cascade_driver.campaign.contents import outside_said
from cascade_driver.campaign.flown import flights_said
from cascade_driver.simulation.outcome import Outcome, recoils_told, told_apart
from cascade_driver.terminal.console import headed
from cascade_driver.text import duration, mean_with_error, value_with_error, visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cascade_driver.analysis.comparison import Estimate
    from cascade_driver.analysis.model import StoredEnergyModel
    from cascade_driver.campaign.status import RunStatus
    from cascade_driver.run_comparison import RunComparison
    from cascade_driver.simulation.outcome import CascadeTable
    from cascade_driver.spectra.difference import SpectrumDifference
    from cascade_driver.spectra.observe import Observed
    from cascade_driver.spectra.planning import CampaignAdvice


def print_energies(table: CascadeTable, *, console: Console) -> None:
    """Print the small table of results: energy, cascades, p_d, mean stored energy with its error."""
    title = "stored energies" + (" (qualitative potential)" if table.potential_status == "qualitative" else "")
    shown = Table(title=title, title_justify="left")
    headings = ("recoil", "E_R / eV", "cascades", "usable", "effective", "p_d", "mean E_s > 0 / eV", "rms / eV")
    for heading in headings:
        shown.add_column(heading, justify="right")
    (table,) = told_apart(table)
    for species in sorted(set(table.species.tolist())):
        of_species = table.select(table.species == species)
        cascades = usable_cascades(of_species, species=species, allow_failures=True)
        points = {p.recoil_energy_eV: p for p in defect_points(cascades)}
        sums = {s.recoil_energy_eV: s for s in summarise_stored_energies(cascades)}
        for energy in sorted(set(of_species.recoil_energy_eV.tolist())):
            n = int((of_species.recoil_energy_eV == energy).sum())
            row = [species, f"{energy:g}", str(n)]
            if energy in points:
                p = points[energy]
                row += [
                    str(p.n_cascades),
                    f"{p.effective_number:.3g}",
                    f"{p.probability:.2f} [{p.lower:.2f}, {p.upper:.2f}]",
                ]
                row += _mean_and_rms(sums.get(energy))
            else:
                row += ["0", "-", "-", "-", "-"]
            shown.add_row(*row)
    console.print(shown)
    failures = {k: n for k, n in table.outcome_counts().items() if k != Outcome.COMPLETED.key}
    for key, n in failures.items():
        console.print(headed(f"{n} not usable", f": {Outcome.from_key(key).value}"))


def _mean_and_rms(summary: object) -> list[str]:
    mean = getattr(summary, "mean_eV", None)
    error = getattr(summary, "standard_error_eV", None)
    rms = getattr(summary, "rms_eV", None)
    if mean is None:
        return ["-", "-"]
    return [
        mean_with_error(mean, error),
        f"{rms:.2f}" if rms is not None else "-",
    ]


def print_model(model: StoredEnergyModel, *, console: Console) -> None:
    """Print the fitted parameters of a model with errors, goodness and health."""
    from cascade_driver.analysis.estimation import symbol_of
    from cascade_driver.analysis.tabulated import TabulatedDistribution

    for name, species in model.species.items():
        if isinstance(species.distribution, TabulatedDistribution):
            law = species.distribution
            console.print(
                f"{name}: a table of {len(law.knot)} cascades at {len(law.knots_eV)} recoil energies, no fit"
            )
            continue
        shown = Table(title=f"fit of {name} recoils", title_justify="left")
        for heading in ("parameter", "value", "error"):
            shown.add_column(heading, justify="right")
        for fit in (species.defect_probability_fit, species.distribution_fit):
            if fit is None:
                continue
            for parameter, value, error in zip(fit.parameters, fit.values, fit.errors, strict=True):
                shown.add_row(symbol_of(parameter), f"{value:.4g}", "-" if error is None else f"{error:.2g}")
        console.print(shown)
        for formula in species.formulas:
            console.print(formula, soft_wrap=True)
        for fit in (species.defect_probability_fit, species.distribution_fit):
            if fit is not None and fit.goodness is not None:
                good = fit.goodness
                p = "-" if good.p_value is None else f"{good.p_value:.3g}"
                console.print(f"goodness: {good.name} p = {p} ({good.method})")
    for note in model.notes:
        console.print(f"note: {note}", soft_wrap=True)


def print_advice(
    pair: Observed,
    advice: CampaignAdvice,
    *,
    between_eV: tuple[float, float],
    known: Sequence[str] = (),
    console: Console,
) -> None:
    """Print what limits a corrected spectrum and what more cascades would do, without notes that are `known`."""
    low, high = between_eV
    console.print(headed(pair.title, f", observed between {low:g} and {high:g} eV"))
    if pair.bands is not None:
        for name in ("total", *pair.bands.components):
            error = pair.bands.relative_deviation(name, low_eV=low, high_eV=high)
            console.print(f"  {name:11s} {error:6.1%} of the rate per bin (root mean square)")
        dominant = pair.bands.dominant(low_eV=low, high_eV=high)
        if dominant:
            remedy = pair.bands.remedy(low_eV=low, high_eV=high)
            console.print(f"  {dominant} dominates; {remedy}", soft_wrap=True)
    for note in pair.notes:
        if note not in known:
            console.print(f"  note: {note}", soft_wrap=True)
    shown = Table(title="to halve the statistical error, to first order", title_justify="left")
    for heading in ("recoil", "E_R / eV", "with 100 more, of now's", "alone, cascades", "in the mix"):
        shown.add_column(heading, justify="right")
    for e in advice.energies:
        alone = "never" if e.to_halve is None else str(e.to_halve)
        mixed = str(e.in_mix) if e.in_mix else "-"
        # of now's: to first order the error itself is too large where few cascades bracket a threshold
        share = e.error_with_100_more / advice.present_error
        shown.add_row(e.species, f"{e.recoil_energy_eV:g}", f"{share:.2f}", alone, mixed)
    console.print(shown)
    share = advice.mix_error / advice.present_error
    console.print(f"the mix of {advice.mix_total} cascades brings the statistical error to {share:.2f} of now's")


def print_status(status: RunStatus, *, console: Console) -> None:
    """Print how far a run is."""
    share = status.finished / status.planned if status.planned else 0.0
    console.print(headed(status.title, f"  potential {status.potential} ({status.potential_status})"))
    console.print(status.orientation, soft_wrap=True)
    console.print(
        f"{status.finished} of {status.planned} cascades finished ({share:.0%}), {status.in_progress} tasks in "
        f"progress, {len(status.damaged)} damaged"
        + (f", {status.superseded} failures tried again" if status.superseded else ""),
    )
    for note in outside_said(status.other):
        console.print(f"note: {note}", highlight=False, soft_wrap=True)
    for start in status.starting:
        console.print(start)
    if said := flights_said(status.flown_ps, of_ps=status.flight_ps):
        console.print(said)
    rate = "-" if math.isnan(status.cascades_per_hour) else f"{status.cascades_per_hour:.3g} cascades per hour"
    left = "" if status.finished == status.planned else f", {duration(3600 * status.hours_left)} left"
    console.print(f"{rate}{left}; {status.cpu_hours:.3g} CPU hours spent", end="")
    if not math.isnan(status.cpu_s_per_cascade):
        console.print(
            f", {status.cpu_s_per_cascade:.3g} CPU s per cascade, at most {status.peak_memory_MiB:.0f} MiB each; "
            f"{status.kept_bytes / 1e3 / max(1, status.finished):.0f} kB kept of each",
            end="",
        )
    console.print()
    shown = Table()
    headings = ("recoil", "E_R / eV", "planned", "finished", "directions", "usable", "effective", "p_d")
    for heading in (*headings, "mean E_s > 0 / eV"):
        shown.add_column(heading, justify="right")
    told = recoils_told((e.species, e.region) for e in status.energies)
    for e in status.energies:
        shown.add_row(
            told[e.species, e.region],
            f"{e.recoil_energy_eV:g}",
            str(e.planned),
            str(e.finished),
            f"{e.directions_finished}/{e.directions_planned}",
            str(e.usable),
            f"{e.effective:.3g}",
            "-" if math.isnan(e.defect_share) else f"{e.defect_share:.2f}",
            "-" if math.isnan(e.mean_stored_energy_eV) else f"{e.mean_stored_energy_eV:.2f}",
        )
    console.print(shown)
    for key, n in status.outcomes.items():
        console.print(f"{n:6d} {Outcome.from_key(key).value}")
    for message in status.damaged.values():
        console.print(message, soft_wrap=True)


#: Behind a number whose error nobody knows.
_NO_ERROR = " ± ?"


def print_comparison(comparison: RunComparison, *, console: Console) -> None:
    """Print what two campaigns store, side by side, and what that does to spectra."""
    differences = comparison.differences
    shown = Table(title=visible(f"{comparison.second} against {comparison.first}"), title_justify="left")
    for heading in ("recoil (eV)", "run", "cascades", "storing", "p_d", "mean E_s (eV)", "mean E_s > 0 (eV)"):
        shown.add_column(heading, justify="left" if heading == "run" else "right")
    for d in differences:
        for k, name in enumerate((comparison.first, comparison.second)):
            estimates = (d.defect_probability[k], d.mean_stored_eV[k], d.mean_of_nonzero_eV[k])
            shown.add_row(
                "" if k else f"{d.species} {d.recoil_energy_eV:g}",
                visible(name),
                str(d.n_cascades[k]),
                str(d.n_defects[k]),
                *map(_with_error, estimates),
                end_section=bool(k),
            )
    console.print(shown)
    if not are_the_same(differences):
        _print_changes(comparison, console=console)
    if any(1 in (*d.n_cascades, *d.n_defects, d.paired and d.paired.n_pairs) for d in differences):
        console.print(f"{_NO_ERROR.strip()}: a single cascade or pair has no error")
    console.print(headed("verdict", f": {verdict(differences)}"), soft_wrap=True)
    margins = [
        f"{d.species} {d.recoil_energy_eV:g} eV {d.equal_within:.0%}" for d in differences if d.equal_within > 0
    ]
    if margins and not are_the_same(differences):
        console.print(
            f"mean stored energies are equal within: {', '.join(margins)} (two one-sided tests, 95 %)",
            soft_wrap=True,
        )
    for one in comparison.spectra:
        low, high = one.energy_edges_eV[0], one.energy_edges_eV[-1]
        console.print(f"{one.title}, observed from {low:g} to {high:g} eV: {_spectrum_said(one)}", soft_wrap=True)
    for note in comparison.notes:
        console.print(f"note: {note}", soft_wrap=True)


def _print_changes(comparison: RunComparison, *, console: Console) -> None:
    """Print what the second campaign changes, and what tests say of it."""
    differences = comparison.differences
    shown = Table(title="what changes, second minus first", title_justify="left")
    paired = any(d.paired for d in differences)
    headings = ["recoil (eV)", "p_d", "p Fisher", "E_s, ratio", "p KS"]
    for heading in [*headings, *(("pairs", "E_s (eV)", "1st, 2nd alone", "p McNemar") if paired else ())]:
        shown.add_column(heading, justify="right", no_wrap=True)
    for d in differences:
        row = [f"{d.species} {d.recoil_energy_eV:g}", _with_error(d.probability_difference), _p(d.fisher_p)]
        row += [_with_error(d.stored_ratio), _p(d.kolmogorov_smirnov_p)]
        if (pairs := d.paired) is not None:
            alone = f"{pairs.only_first}, {pairs.only_second}"
            row += [str(pairs.n_pairs), _with_error(pairs.stored_energy_eV), alone, _p(pairs.mcnemar_p)]
        shown.add_row(*row)
    console.print(shown)
    said = "p: how probable so large a change is by chance, of how many store energy (Fisher's exact test"
    said += ", McNemar's of pairs" if paired else ""
    said += ") and of how much those do (KS, Kolmogorov-Smirnov)"
    if not all(len(d.p_values) == 2 + bool(d.paired) for d in differences):
        said += "; -: too few to tell"
    console.print(said, soft_wrap=True)
    if paired:
        common = "direction and thermal start" if comparison.share_starts else "direction, not the thermal start"
        console.print(f"pairs have in common their {common}")


def _spectrum_said(one: SpectrumDifference) -> str:
    """Return what the difference of two campaigns does to a spectrum."""
    if one.rms == 0 and one.rms_by_chance == 0:
        return "the same"
    if math.isnan(one.p_value):
        return "too few cascades: chance alone changes bins by more than their rate"
    return (
        f"counts change by {one.counts_ratio - 1:+.1%} ± {one.counts_ratio_error:.1%}, are equal within "
        f"{equal_within(one.counts_ratio, one.counts_ratio_error):.1%}; bins change by {one.rms:.1%} (root mean "
        f"square), by chance alone {one.rms_by_chance:.1%} (p = {one.p_value:.2g})"
        + ("; cascades resampled in pairs" if one.is_paired else "")
    )


def _p(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2g}"


def _with_error(estimate: Estimate) -> str:
    if not math.isfinite(estimate.value):
        return "-"
    without = "" if math.isfinite(estimate.error) else _NO_ERROR
    return value_with_error(estimate.value + 0.0, estimate.error) + without
