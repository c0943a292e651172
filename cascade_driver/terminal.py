"""What people see in a terminal: tables, and a progress bar that tells the time left."""

from __future__ import annotations

import itertools
import math
import shlex
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from cascade_driver.analysis.comparison import are_the_same, equal_within, verdict
from cascade_driver.analysis.defect_probability import defect_points
from cascade_driver.analysis.distribution import summarise_stored_energies
from cascade_driver.analysis.outcomes import usable_cascades
from cascade_driver.campaign.contents import outside_said
from cascade_driver.campaign.flown import flights_said
from cascade_driver.campaign.plan import start_said
from cascade_driver.schema import plain
from cascade_driver.simulation.lammps_build import ENVIRONMENT, INSTALLED
from cascade_driver.simulation.outcome import Outcome, STORED_ENERGY_FLOOR_eV
from cascade_driver.text import duration, mean_with_error, value_with_error, visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from cascade_driver.analysis.comparison import Estimate
    from cascade_driver.analysis.model import StoredEnergyModel
    from cascade_driver.campaign.listing import ListedCascade
    from cascade_driver.campaign.reproduce import Reproduction
    from cascade_driver.campaign.rundir import RunDirectory
    from cascade_driver.campaign.scene import Scene
    from cascade_driver.campaign.status import RunStatus
    from cascade_driver.campaign.supervise import Progress as WorkProgress
    from cascade_driver.potential_comparison import Foreseen
    from cascade_driver.run_comparison import RunComparison
    from cascade_driver.simulation.defects import Pocket
    from cascade_driver.simulation.outcome import CascadeTable
    from cascade_driver.simulation.potential import Potential
    from cascade_driver.simulation.record import Record
    from cascade_driver.simulation.spec import ThermalSpec
    from cascade_driver.spectra.difference import SpectrumDifference
    from cascade_driver.spectra.line_fit import LineFit
    from cascade_driver.spectra.line_shift import ModelShift
    from cascade_driver.spectra.observe import Observed
    from cascade_driver.spectra.planning import CampaignAdvice
    from cascade_driver.threshold_run import PlannedSearch, SearchStatus
    from cascade_driver.thresholds.summary import GroupThresholds
    from cascade_driver.training.relax import Relaxation
    from cascade_driver.workflow import PlannedRun


class PlainConsole(Console):
    """A console for which a text is what it says: titles and names are no markup and move no cursor."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(markup=False, emoji=False, **settings)

    def render_str(self, text: str, **settings: Any) -> Text:
        """Return a text to be printed, its control characters written out."""
        return super().render_str(visible(text), **settings)


def make_console() -> PlainConsole:
    """Return a console that keeps tables whole in pipes, too."""
    console = PlainConsole()
    # A pipe or a file has no width of its own; 80 columns would break the tables.
    return console if console.is_terminal else PlainConsole(width=120)


def headed(title: str, rest: str = "", *, style: str = "bold") -> Text:
    """Return a line that begins with something to be seen first."""
    return Text.assemble((visible(title), style), visible(rest))


def watched_work(
    planned: PlannedRun,
    *,
    console: Console,
    workers: int | None = None,
    executor: str | None = None,
    allow_failed_contract: bool = False,
) -> None:
    """Work on a run under a progress bar."""
    from cascade_driver.workflow import work_on

    began = time.monotonic()
    thermal = planned.campaign.protocol.thermal
    flight_ps = planned.campaign.protocol.follow.duration_ps
    log = WorkLog(console=console, thermal=thermal, flight_ps=flight_ps)
    with _bar(console, "cascades") as bar:
        task = bar.add_task("", total=planned.campaign.size, left="")

        def observe(progress: WorkProgress) -> None:
            failed = f", {progress.failures} not usable" if progress.failures else ""
            left = next(iter(_starts_said(progress, thermal)), _time_left(progress)) + failed
            left = ", ".join(filter(None, (left, flights_said(progress.flown_ps, of_ps=flight_ps))))
            bar.update(task, total=progress.total, completed=progress.done, left=left)
            if not console.is_terminal:
                log(progress)

        progress = work_on(
            planned,
            workers=workers,
            executor=executor,
            observe=observe,
            allow_failed_contract=allow_failed_contract,
            tell=lambda said: console.print(said, soft_wrap=True),
        )
    seconds = time.monotonic() - began
    console.print(
        f"{progress.done} of {progress.total} cascades finished, {progress.done_here} of them now, "
        f"in {duration(seconds)}",
    )


def watched_search(
    planned: PlannedSearch,
    *,
    console: Console,
    workers: int | None = None,
    executor: str | None = None,
    allow_failed_contract: bool = False,
) -> None:
    """Work on a search for thresholds under a progress bar."""
    from cascade_driver.threshold_run import work_on_search

    began = time.monotonic()
    log = WorkLog(console=console, what="directions")
    with _bar(console, "directions") as bar:
        task = bar.add_task("", total=planned.plan.size, left="making the starting states")

        def observe(progress: WorkProgress) -> None:
            bar.update(task, total=progress.total, completed=progress.done, left=_time_left(progress))
            if not console.is_terminal:
                log(progress)

        progress = work_on_search(
            planned,
            workers=workers,
            executor=executor,
            observe=observe,
            allow_failed_contract=allow_failed_contract,
            tell=lambda said: console.print(said, soft_wrap=True),
        )
    console.print(
        f"{progress.done} of {progress.total} directions finished, {progress.done_here} of them now, "
        f"in {duration(time.monotonic() - began)}"
    )


def _bar(console: Console, what: str) -> Progress:
    return Progress(
        TextColumn(what),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
        console=console,
        # A log file gets no bar, only the lines around it.
        disable=not console.is_terminal,
        refresh_per_second=2,
    )


#: The shortest time between two lines on how far a run is, where they stay: in a log.
_LOG_EVERY_s = 60.0


@dataclass(kw_only=True)
class WorkLog:
    """How far work is, in lines that stay: what a thermal start does, the first task, and then every minute or so.

    Attributes
    ----------
    console : Console
    what : str
        What is done.
    thermal : ThermalSpec, optional
        The thermal start of a campaign.
    flight_ps : float
        How far its cascades fly.
    clock : callable
        Time in s.
    """

    console: Console
    what: str = "cascades"
    thermal: ThermalSpec | None = None
    flight_ps: float = 0.0
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        # The first that is done is told at once, and without one how far it is after a minute.
        self._began_s, self._next_s, self._first_s = self.clock(), 0.0, _LOG_EVERY_s
        self._said: set[str] = set()

    def __call__(self, progress: WorkProgress) -> None:
        """Say what is new, if anything is."""
        for said in _starts_said(progress, self.thermal) if self.thermal else ():
            if said not in self._said:
                self.console.print(said)
                self._said.add(said)
        passed = self.clock() - self._began_s
        due_s = self._next_s if progress.done_here else max(self._next_s, self._first_s)
        if progress.done < progress.total and passed >= due_s:
            parts = (_time_left(progress), flights_said(progress.flown_ps, of_ps=self.flight_ps))
            self.console.print(
                f"{progress.done} of {progress.total} {self.what} after {duration(passed)}, "
                f"{', '.join(filter(None, parts))}",
                soft_wrap=True,
            )
            # A run of days does not fill the disk.
            self._next_s = passed + max(_LOG_EVERY_s, passed / 10)


def _starts_said(progress: WorkProgress, thermal: ThermalSpec) -> list[str]:
    """Return what is done for the thermal start just now, in words."""
    return [said for name in progress.running if (said := start_said(name, thermal))]


def _time_left(progress: WorkProgress) -> str:
    """Return how long what is left takes at the mean time of the cascades of this session."""
    if progress.done == progress.total:
        return "done"
    if not progress.done_here:
        return "time left unknown until the first one is done"
    slots = max(1, len(progress.running))
    each = progress.busy_s / progress.done_here
    # Those in progress are half done on average.
    left = max(0.5, progress.total - progress.done - slots / 2)
    return f"about {duration(each * left / slots)} left"


def print_energies(table: CascadeTable, *, console: Console) -> None:
    """Print the small table of results: energy, cascades, p_d, mean stored energy with its error."""
    title = "stored energies" + (" (qualitative potential)" if table.potential_status == "qualitative" else "")
    shown = Table(title=title, title_justify="left")
    headings = ("recoil", "E_R / eV", "cascades", "usable", "effective", "p_d", "mean E_s > 0 / eV", "rms / eV")
    for heading in headings:
        shown.add_column(heading, justify="right")
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
        if dominant and dominant != "statistics":
            console.print(f"  {dominant} dominates: more cascades alone help little")
        for note in pair.bands.notes:
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
    for e in status.energies:
        shown.add_row(
            e.species,
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


def print_columns(columns: Mapping[str, Sequence[float]], *, title: str, console: Console) -> None:
    """Print columns of numbers under their names."""
    shown = Table(title=title)
    for name in columns:
        shown.add_column(name, justify="right")
    for row in zip(*columns.values(), strict=True):
        shown.add_row(*(f"{value:.4g}" for value in row))
    console.print(shown)


def print_lines(fit: LineFit, *, console: Console) -> None:
    """Print the lines that were fitted to a spectrum, a row each with standard errors."""
    shown = Table("line (eV)", "position (eV)", "shift (eV)", "width (eV)", "counts")
    for column in shown.columns:
        column.justify = "right"
    for line in fit.lines:
        shown.add_row(
            f"{line.reference_energy_eV:.2f}",
            value_with_error(line.position_eV, line.shift_error_eV),
            value_with_error(line.shift_eV, line.shift_error_eV),
            value_with_error(line.width_eV, line.width_error_eV),
            value_with_error(line.counts, line.counts_error),
        )
    console.print(shown)


def print_model_shifts(shifts: Sequence[ModelShift], *, console: Console) -> None:
    """Print how far a model moves lines, with its own error and what that is made of."""
    shown = Table("recoil", "E_R (eV)", "storing", "shift (eV)", "of this error", title="by the model alone")
    for column in shown.columns:
        column.justify = "right"
    for one in shifts:
        parts = ", ".join(
            f"{name} {value:.2g}" for name, value in one.parts_eV.items() if value > one.error_eV / 100
        )
        shown.add_row(
            one.species,
            f"{one.energy_eV:g}",
            f"{one.storing_share:.2f}",
            "-" if math.isnan(one.shift_eV) else value_with_error(one.shift_eV, one.error_eV),
            parts or "-",
        )
    console.print(shown)


def print_search(status: SearchStatus, *, console: Console) -> None:
    """Print how far a search for thresholds is."""
    console.print(headed(status.title, f"  potential {status.potential} ({status.potential_status})"))
    console.print(
        f"{status.finished} of {status.directions} directions finished, {status.in_progress} tasks in progress"
        + (f", {status.attempts_under_way} attempts made of the others" if status.attempts_under_way else "")
        + ("" if status.starts else "; the starting states are not made yet")
    )
    if status.cpu_s_left:
        at_work = "nobody is at work: `cascade threshold` goes on"
        if status.wall_s_left:
            at_work = f"with {status.in_progress} at work about {duration(status.wall_s_left)}"
        console.print(f"about {duration(status.cpu_s_left)} of CPU time left, {at_work}")
    shown = Table()
    for heading in ("atom", "directions", "attempts", "met image", "failures", "CPU s", "mean E_d / eV"):
        shown.add_column(heading, justify="right")
    for one in status.groups:
        mean = one.mean_of_finished_eV
        shown.add_row(
            one.atom,
            f"{one.finished}/{one.directions}",
            *(str(value) for value in (one.attempts, one.met_image, one.failures, one.cpu_s)),
            "-" if mean is None else f"{mean:.1f}",
        )
    console.print(shown)


def print_thresholds(found: Sequence[GroupThresholds], files: Sequence[Path], *, console: Console) -> None:
    """Print threshold displacement energies and what was written."""
    shown = Table(title="threshold displacement energies / eV, with 68 % intervals")
    for heading in ("atom", "directions", "mean", "median", "lowest direction", "attempts", "CPU s each"):
        shown.add_column(heading, justify="right")
    for one in found:
        attempts = sum(row.attempts for row in one.directions)
        cpu_s = sum(row.cpu_s for row in one.directions)
        shown.add_row(
            one.group.name,
            f"{len(one.directions)}/{len(one.group.vectors)}",
            *(
                f"{e.value:.1f} ({e.low:.1f} to {e.high:.1f})"
                for e in (one.mean_eV, one.median_eV, one.minimum_eV)
            ),
            str(attempts),
            f"{cpu_s / len(one.directions):.3g}",
        )
    console.print(shown)
    for one in found:
        if one.beyond > 0.01:
            console.print(
                f"note: {one.group.name}: {one.beyond:.0%} of the solid angle lie above highest_eV = "
                f"{one.group.wanted.highest_eV:g} and are counted there; raise it",
                soft_wrap=True,
            )
        if met := sum(row.met_image for row in one.directions):
            console.print(
                f"note: {one.group.name}: in {met} attempts damage came near its own image; a larger box tells "
                "whether that matters",
                soft_wrap=True,
            )
    console.print("written:")
    for file in files:
        console.print(f"  {file}", soft_wrap=True)


def print_cascades(cascades: Sequence[ListedCascade], *, of: int, console: Console) -> None:
    """Print a line per cascade, some of the `of` of a plan."""
    shown = Table()
    for heading in ("number", "id", "recoil", "E_R / eV", "direction", "snapshot", "outcome", "E_s / eV"):
        shown.add_column(heading, justify="left" if heading in {"id", "outcome"} else "right", no_wrap=True)
    for c in cascades:
        shown.add_row(
            str(c.number),
            c.id,
            c.species,
            f"{c.recoil_energy_eV:g}",
            " ".join(f"{x:.2f}" for x in c.direction),
            str(c.snapshot),
            c.outcome,
            _stored(c.stored_energy_eV),
        )
    console.print(shown)
    console.print(f"{len(cascades)} of the {of} cascades of the plan")


def _stored(energy_eV: float) -> str:
    """Return a stored energy as people read it: what rounding leaves of none is 0."""
    if math.isnan(energy_eV):
        return "-"
    return "0" if abs(energy_eV) <= STORED_ENERGY_FLOOR_eV else f"{energy_eV:.4g}"


def watched_verification(run: RunDirectory, *, console: Console) -> int:
    """Verify a run under a progress bar, name what is damaged, and return 0, or 1 if anything is."""
    from cascade_driver.campaign.verify import verify

    with _bar(console, "records") as bar:
        task = bar.add_task("", total=None, left="")
        found = verify(run, observe=lambda done, total: bar.update(task, completed=done, total=total))
    for message in (*found.damaged_cascades.values(), *found.damaged_starts.values()):
        console.print(message, soft_wrap=True)
    console.print(
        f"{found.cascades} cascades and {found.starts} starting states read: "
        f"{len(found.damaged_cascades)} and {len(found.damaged_starts)} damaged",
    )
    if found.without_checksum:
        console.print(
            f"{found.without_checksum} records name no checksum of their structure, as they did not in the first "
            "days: whether it is theirs cannot be told"
        )
    if len(found.makers) > 1:
        console.print("made by different codes or engines; within their errors they must agree:")
    for made_by, count in found.makers.items():
        console.print(f"{count} by {made_by}", soft_wrap=True)
    return 0 if found.is_sound else 1


def print_record(record: Record, *, folder: Path, again: str, console: Console) -> None:
    """Print one cascade, with the command `again` that reproduces it alone."""
    from cascade_driver.simulation.crystal import orientation_said

    kick = record.spec.knock_on
    along = ", ".join(f"{x:.3f}" for x in kick.direction)
    given = f"{kick.recoil_energy_eV:g} eV {kick.species} along ({along}), snapshot {record.spec.snapshot}"
    console.print(headed(record.id, f"  {given}"))
    console.print(orientation_said(record.spec.protocol.crystal), soft_wrap=True)
    for line in _later_kicks(record):
        console.print(line)
    console.print(f"outcome: {record.outcome.value} {record.message}".rstrip(), soft_wrap=True)
    if rows := list(_found(record)):
        shown = Table(show_header=False)
        for words, value in rows:
            shown.add_row(words, value)
        console.print(shown)
    console.print(f"files: {folder}", soft_wrap=True)
    console.print(f"alone: {again}", soft_wrap=True)


#: What the numbers of a record are, by the names that they have in it; the unit stands at the end of the name.
RECORD_WORDS = {
    "stored_energy_eV": "stored energy E_s",
    "stored_energy_follow_eV": "E_s in the potential that moves the atoms",
    "reference_energy_eV": "energy of the quenched box before",
    "quenched_energy_eV": "energy of the quenched box after",
    "largest_force_eV_A": "largest force after the quench",
    "start_sha256": "checksum of the thermal start",
    "given_energy_eV": "kinetic energy after the kick",
    "recoil_energy_total_eV": "energy of all kicks",
    "energy_drift_eV": "drift of the total energy",
    "electronic_loss_eV": "energy given to electrons",
    "temperature_start_K": "temperature before the kick",
    "temperature_end_K": "temperature at the end",
    "temperature_rise_K": "rise of the temperature",
    "least_distance_A": "least distance of two atoms",
    "followed_ps": "followed for",
    "steps": "time steps",
    "defects.vacancies": "vacancies",
    "defects.interstitials": "interstitials",
    "defects.antisites": "antisites",
    "defects.clusters": "vacancies and interstitials per cluster",
    "defects.adatoms": "adatoms",
    "defects.interface_atoms": "atoms at the interface without a site",
    "displaced_atoms": "displaced atoms",
    "pka.index": "knock-on, row in the final structure",
    "pka.species": "knock-on, species",
    "pka.end_displacement_A": "knock-on, from its site to its end",
    "pka.largest_displacement_A": "knock-on, farthest from its start",
    "pka.path_length_A": "knock-on, length of its way",
    "stored_in.substrate_eV": "E_s in the substrate",
    "stored_in.interface_eV": "E_s at the interface",
    "stored_in.film_eV": "E_s in the film",
    "attempts": "attempts",
    "cpu_s": "CPU time",
    "wall_s": "wall time",
    "peak_memory_MiB": "peak memory",
}

#: Parts of a record that the lines about them tell, or its file alone.
_TOLD_ELSEWHERE = ("later_kicks", "earlier_quenches", "pka.track.", "stored_in.height_A", "stored_in.layer_eV")

#: As they end names of numbers, the longest first.
_UNITS = {"_eV_A": "eV/Å", "_eV": "eV", "_A": "Å", "_K": "K", "_ps": "ps", "_s": "s", "_MiB": "MiB"}


def _found(record: Record) -> Iterator[tuple[str, str]]:
    """Yield what a record says of physics and cost, in words and with units, but what is told elsewhere."""
    content = _by_name(plain(record.physics)) if record.physics else {}
    for name, value in (content | plain(record.cost)).items():
        if name.startswith(_TOLD_ELSEWHERE):
            continue
        yield RECORD_WORDS.get(name, name), _with_unit(name, value)
        if name == "stored_energy_eV":
            for one in (record.physics and record.physics.earlier_quenches) or ():
                yield f"E_s after {one.time_ps:g} ps", _with_unit(name, one.stored_energy_eV)


def _by_name(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return JSON-ready content by dotted name; counts by species and lists stay whole."""
    values: dict[str, Any] = {}
    for key, value in content.items():
        # Counts have symbols for keys, and may be empty; groups have names.
        if isinstance(value, dict) and any(name[0].islower() for name in value):
            values |= _by_name(value, f"{prefix}{key}.")
        else:
            values[prefix + key] = value
    return values


def _with_unit(name: str, value: Any) -> str:
    """Return a number of a record, counts by species, or sizes, as people read them."""
    if isinstance(value, dict):
        return ", ".join(f"{n} {species}" for species, n in sorted(value.items())) or "none"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    if not isinstance(value, int | float):
        return str(value)
    unit = next((unit for end, unit in _UNITS.items() if name.endswith(end)), "")
    if name.startswith("stored_"):
        said = _stored(value)
    elif name in {"reference_energy_eV", "quenched_energy_eV"}:
        said = f"{value:.4f}"  # their difference counts
    else:
        said = f"{value:.4g}" if isinstance(value, float) else str(value)
    return f"{said} {unit}".rstrip()


def _later_kicks(record: Record) -> list[str]:
    """Return a line for each later kick of a cascade: what was asked for, what it found and did."""
    lines = []
    wanted, measured = record.spec.knock_on.then or (), (record.physics and record.physics.later_kicks) or ()
    for kick, found in itertools.zip_longest(wanted, measured):
        energies = (found.kinetic_energy_before_eV, found.kinetic_energy_after_eV) if found else ()
        before, after = (f"{energy:.4g}" for energy in energies) if energies else ("?", "?")
        lines.append(
            f"then at {kick.time_fs:g} fs {kick.recoil_energy_eV:g} eV along "
            f"({', '.join(f'{x:.3f}' for x in kick.direction)}): kinetic energy {before} -> {after} eV"
        )
    return lines


def print_reproduction(done: Reproduction, *, console: Console) -> None:
    """Print whether a cascade came out as before, and what is different."""
    if not done.differences:
        found = done.again.physics
        stored = "" if found is None else f", stored energy {found.stored_energy_eV!r} eV"
        console.print(headed(done.record.id, f"  the same to the last digit: {done.compared} values{stored}"))
    else:
        shown = Table(title=f"{done.record.id}: not the same", title_justify="left")
        for heading in ("value", "in the run", "now"):
            shown.add_column(heading)
        made = [
            (name, *(str(getattr(r.provenance, name)) for r in (done.record, done.again)))
            for name in ("engine", "host")
        ]
        for name, one, other in [(n, *map(_shortened, pair)) for n, pair in done.differences.items()] + made:
            shown.add_row(name, one, other)
        console.print(shown)
        console.print(
            "all digits agree only with one build of the engine on one kind of processor",
        )
    then, now = (r.provenance.maker for r in (done.record, done.again))
    if then != now:
        console.print(f"in the run by {then}, now by {now}", soft_wrap=True)
    engines = [_lammps_of(r) for r in (done.record, done.again)]
    if engines[0] != engines[1]:
        console.print(f"with the LAMMPS of the run: {ENVIRONMENT}={shlex.quote(engines[0])}", soft_wrap=True)
    console.print(f"files: {done.folder}", soft_wrap=True)


def _lammps_of(record: Record) -> str:
    own = record.provenance.engine_library
    return own.name if own else INSTALLED


def _shortened(value: object) -> str:
    text = repr(value) if isinstance(value, float) else str(value)
    return text if len(text) <= 40 else text[:37] + "..."


def print_defects(scenes: Sequence[Scene], *, one_by_one: bool, console: Console) -> None:
    """Print what cascades left: a row per cascade that left something, or per defect of one."""
    if one_by_one:
        for scene in scenes:
            console.print(headed(scene.title, f", cascade {scene.record.id}"))
            shown = Table("defect", "species", "from the knock-on's site (A)", "distance (A)", "cluster")
            for d in scene.defects:
                where = "  ".join(f"{x:7.2f}" for x in d.position_A)
                cluster = str(d.cluster) if d.cluster else "-"
                shown.add_row(d.kind, d.species, where, f"{math.hypot(*d.position_A):.2f}", cluster)
            console.print(shown)
            if (pocket := scene.pocket) is not None:
                console.print(
                    f"pocket: {pocket.atoms} displaced atoms and {pocket.vacancies} empty sites within "
                    f"{pocket.extent_A:.1f} A, root mean square radius {pocket.radius_A:.1f} A"
                )
        return
    shown = Table()
    found = {defect.kind for scene in scenes for defect in scene.defects}
    names = {"vacancy": "vacancies", "interstitial": "interstitials", "antisite": "antisites"}
    names |= {kind: f"{kind}s" for kind in ("adatom", "interface atom") if kind in found}
    for heading in ("cascade", "recoil (eV)", "stored (eV)", *names.values(), "pocket"):
        shown.add_column(heading, justify="left" if heading == "cascade" else "right")
    left = [scene for scene in scenes if scene.defects or scene.pocket is not None]
    for scene in left:
        knock_on = scene.record.spec.knock_on
        kinds = (_by_species(scene, kind) for kind in names)
        energy = f"{knock_on.species} {knock_on.recoil_energy_eV:g}"
        stored = round(scene.record.stored_energy_eV, 2) + 0.0  # no -0.00
        shown.add_row(scene.record.id, energy, f"{stored:.2f}", *kinds, _size_of(scene.pocket))
    console.print(shown)
    console.print(
        f"{len(left)} of {len(scenes)} cascades left something; pocket: its displaced atoms, and its extent"
    )


def _size_of(pocket: Pocket | None) -> str:
    if pocket is None:
        return "-"
    return "1 atom" if pocket.atoms == 1 else f"{pocket.atoms} atoms, {pocket.extent_A:.1f} A"


def _by_species(scene: Scene, kind: str) -> str:
    found = Counter(d.species for d in scene.defects if d.kind == kind)
    return " ".join(f"{n} {species}" for species, n in sorted(found.items())) or "-"


def print_potentials(potentials: list[Potential], *, console: Console) -> None:
    """Print a line per potential."""
    shown = Table()
    for heading in ("name", "species", "status", "what"):
        shown.add_column(heading)
    for p in potentials:
        shown.add_row(p.name, " ".join(p.species), p.about.status, p.about.title)
    console.print(shown)


def print_potential(potential: Potential, *, console: Console) -> None:
    """Print what a potential says of itself, and how to use it in a bare LAMMPS script."""
    about = potential.about
    console.print(headed(potential.name, f"  {about.title}"))
    console.print(f"folder    {potential.folder}{' (shipped)' if potential.is_shipped else ''}", soft_wrap=True)
    console.print(f"status    {about.status}")
    types = ", ".join(f"{i} {s}" for i, s in enumerate(about.species, start=1))
    console.print(f"types     {types}; LAMMPS units metal; cutoff {about.cutoff_A:g} A")
    for pair, switch in about.zbl.items():
        console.print(f"ZBL       {pair} up to {switch.inner_A:g} A, body from {switch.outer_A:g} A")
    console.print(f"digest    {potential.digest}")
    console.print(f"origin    {about.origin}")
    console.print(f"license   {about.license}")
    console.print(about.description.strip())
    for part in potential.parts or (potential,):
        use = " to follow" if part is potential.follow else " to quench" if part is potential.quench else ""
        console.print(f"in a bare LAMMPS script, after the box exists{use and f', {part.name}{use}'}:")
        for command in (f'variable potential_dir index "{part.folder}"', f'include "{part.include_path}"'):
            console.print(f"    {command}", soft_wrap=True)
        if part.elsewhere:
            console.print(
                f"    # of a copy, this folder lacks {', '.join(part.elsewhere)}: "
                f"cascade potential copy {part.name} --out {part.name}",
                soft_wrap=True,
            )


def print_foreseen(foreseen: Mapping[str, Foreseen], *, console: Console) -> None:
    """Print what the potentials of a comparison cost, in CPU time of this machine."""
    shown = Table("potential", "us per atom-step", "cascades", "CPU time")
    for name, one in foreseen.items():
        shown.add_row(name, f"{one.us_per_atom_step:.3g}", str(one.cascades), duration(one.cpu_s))
    console.print(shown)
    console.print(f"about {duration(sum(one.cpu_s for one in foreseen.values()))} of CPU time in all")


def print_potential_comparison(
    names: Sequence[str],
    rows: Sequence[tuple[str, str, float | None, tuple[Estimate, ...]]],
    *,
    console: Console,
) -> None:
    """Print several potentials in one crystal, a quantity in each row."""
    shown = Table("", "unit", "experiment", *names)
    for name, unit, reference, found in rows:
        known = "" if reference is None else f"{reference:.4g}"
        told = ("-" if math.isnan(one.value) else value_with_error(one.value, one.error) for one in found)
        shown.add_row(name, unit, known, *told)
    console.print(shown)


def watched_check(potential: Potential, *, crystals: Sequence[str], console: Console) -> int:
    """Put a potential through the contract, a line for each check as it comes, and keep what was found.

    Returns
    -------
    int
        0 if all is well, 1 if a check failed, 3 if checks could not be run.
    """
    from functools import partial

    from cascade_driver.simulation.lammps_build import chosen
    from cascade_driver.simulation.lammps_engine import LammpsEngine
    from cascade_driver.validation.builds import record_contract, require_lammps
    from cascade_driver.validation.checked import place_of_memory, remember
    from cascade_driver.validation.contract import (
        CRYSTAL_CHECKS,
        ContractResult,
        check_apart,
        contract_crystals,
    )

    def show(result: ContractResult) -> None:
        verdict, style = ("passed", "green") if result.passed else ("FAILED", "bold red")
        value = "-" if math.isnan(result.measured) else f"{result.measured:.3g} {result.unit}".rstrip()
        console.print(
            headed(verdict, f"  {result.name}, {result.subject}: {value} ({result.requirement})", style=style)
        )
        if not result.passed:
            console.print(f"        {result.remedy}")

    console.print(headed(potential.name_and_place, f", {potential.about.status}"))
    if not (own := chosen()).is_installed:
        console.print(f"LAMMPS    {own.name}", soft_wrap=True)
    require_lammps(potential)
    boxes = contract_crystals(potential, crystals)
    make_engine = partial(LammpsEngine, potential=potential)
    results = check_apart(potential, make_engine=make_engine, crystals=boxes, progress=show)
    record_contract(potential, results)
    failed = sum(not r.passed for r in results)
    summary = f"{len(results) - failed} checks passed" + (f", {failed} failed" if failed else "")
    if not boxes:
        console.print(
            f"{summary}, {len(CRYSTAL_CHECKS)} not run, because potential.toml names no crystal: "
            "say --crystal NAME or --crystal FILE"
        )
        return 1 if failed else 3
    console.print(summary)
    try:
        remember(potential, results, boxes)
    except OSError as error:
        place = place_of_memory(potential)
        console.print(
            f"note: {place} cannot be written ({error.strerror}); nothing remembers this", soft_wrap=True
        )
    return 1 if failed else 0


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


def print_relaxations(found: Sequence[Relaxation], *, console: Console) -> None:
    """Print how structures came to rest; energies count from the crystal, if one of them is of that group."""
    from cascade_driver.training.frames import PERFECT

    crystal_eV = next((one.energy_eV for one in found if one.group == PERFECT and one.is_at_rest), None)
    shown = Table(title="Relaxations", title_justify="left")
    for heading in ("structure", "group", "steps", "change (eV)", "moved (A)", "largest force (eV/A)"):
        shown.add_column(heading, justify="left" if heading == "group" else "right")
    if crystal_eV is not None:
        shown.add_column("above the crystal (eV)", justify="right")
    for one in found:
        row = [
            one.name,
            visible(one.group),
            str(one.steps),
            f"{one.energy_eV - one.start_energy_eV:+.3f}",
            f"{one.largest_displacement_A:.2f}",
            f"{one.largest_force_eV_A:.3f}" + ("" if one.is_at_rest else ", not at rest"),
        ]
        shown.add_row(*row, *([] if crystal_eV is None else [f"{one.energy_eV - crystal_eV:.3f}"]))
    console.print(shown)
