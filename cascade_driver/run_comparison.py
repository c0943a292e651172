"""Campaigns held side by side: what their cascades store, and what that does to the spectra that one asks for.

A folder of imported tables, and a model that comes with its cascades, stand beside runs as campaigns do.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cascade_driver.analysis.comparison import Difference, are_pairs, compare
from cascade_driver.analysis.imported import is_import, load_import
from cascade_driver.analysis.model import StoredEnergyModel
from cascade_driver.analysis.published import NAMED_MODELS, shipped_model_folder
from cascade_driver.campaign.contents import RunContents, contents_of, earlier_tables
from cascade_driver.campaign.rundir import RunDirectory
from cascade_driver.config import AnalysisSpec, RunInput, analysis_with
from cascade_driver.errors import FitError, InputError
from cascade_driver.kinds import Status, weakest
from cascade_driver.models import analysis_of, crystal_formulas, fitted_import, fitted_run, with_errors
from cascade_driver.request import AnySpectrumRequest
from cascade_driver.simulation.outcome import CascadeTable
from cascade_driver.spectra.difference import SpectrumDifference, spectrum_difference
from cascade_driver.spectra.observe import observe
from cascade_driver.spectrum import Spectrum
from cascade_driver.text import told_apart


@dataclass(frozen=True, kw_only=True)
class RunComparison:
    """Two campaigns side by side.

    Attributes
    ----------
    first, second : str
        Their names.
    share_starts : bool
        Whether both flew from the same thermal starts: pairs then have all but the change in common. Otherwise
        pairs have their direction in common, and the number of their start.
    potential_status : str
        "quantitative" if the potentials of both are.
    differences : tuple of Difference
    spectra : tuple of SpectrumDifference
    notes : tuple of str
        Why a spectrum is missing, and that the crystals differ.
    """

    first: str
    second: str
    share_starts: bool
    potential_status: Status
    differences: tuple[Difference, ...]
    spectra: tuple[SpectrumDifference, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Side:
    """A campaign: its folder, its table, perhaps as if it had ended earlier, and what else a run holds."""

    name: str
    folder: Path
    table: CascadeTable
    crystal: tuple[str, ...]
    contents: RunContents | None

    @property
    def run(self) -> RunDirectory:
        return RunDirectory(self.folder)

    @property
    def start_id(self) -> str | None:
        return self.contents.campaign.protocol.start_id if self.contents is not None else None

    @property
    def input(self) -> RunInput | None:
        """The input of a run; a folder of tables asks for nothing itself."""
        return analysis_of(self.run) if self.contents is not None else None


def compare_runs(
    places: Sequence[str], *, spectra: Sequence[Spectrum] = (), allow_failures: bool = False
) -> Iterator[RunComparison]:
    """Yield the first of several campaigns beside each of the others, or a single one beside what it held earlier.

    Parameters
    ----------
    places : sequence of str
        Runs, folders of imported tables, or names of models that come with their cascades.
    spectra : sequence of Spectrum
        Of recoils, beside those that the input of the first one asks for.
    allow_failures : bool
        Compare although many cascades failed.

    Raises
    ------
    InputError
        If there is nothing to compare with.
    FitError, RecordError
        As `compare`.
    """
    names = told_apart([Path(place) for place in places])
    first, *others = [_side(place, name) for place, name in zip(places, names, strict=True)]
    if not others and first.contents is not None:
        others = [
            dataclasses.replace(first, name=f"{first.name} after {time_ps:g} ps", table=table)
            for time_ps, table in earlier_tables(first.run, first.contents).items()
        ]
    if not others:
        raise InputError(
            f"{first.name} alone, without earlier quenches, cannot be compared; name two or more, or give "
            "`also_quench_at_ps` in [follow] of its input"
        )
    wanted = first.input
    asked: list[AnySpectrumRequest | Spectrum] = [*(wanted.spectra if wanted else ()), *spectra]
    for second in others:
        found, notes = _spectra(first, second, asked, wanted, allow_failures=allow_failures)
        yield RunComparison(
            first=first.name,
            second=second.name,
            share_starts=first.start_id is not None and first.start_id == second.start_id,
            potential_status=weakest(side.table.potential_status for side in (first, second)),
            differences=compare(first.table, second.table, allow_failures=allow_failures),
            spectra=found,
            notes=(*_crystals_said(first, second), *notes),
        )


def _side(given: str, name: str) -> _Side:
    folder = Path(given).resolve()
    if given in NAMED_MODELS:
        folder = shipped_model_folder(given)
        if not is_import(folder):
            raise InputError(
                f"{given}: this model has no cascades of its own to compare with; name a run (a folder of this "
                f"name is ./{given}), or cawo4"
            )
    if is_import(folder):
        made, table = load_import(folder)
        return _Side(name=name, folder=folder, table=table, crystal=(made.crystal,), contents=None)
    contents = contents_of(RunDirectory(folder))
    crystal = crystal_formulas(contents.campaign.protocol.crystal)
    return _Side(name=name, folder=folder, table=contents.table(), crystal=crystal, contents=contents)


def _crystals_said(first: _Side, second: _Side) -> tuple[str, ...]:
    """Return a note where two campaigns are known to be of different crystals."""
    if not first.crystal or not second.crystal or set(first.crystal) == set(second.crystal):
        return ()
    one, two = ("/".join(side.crystal) for side in (first, second))
    return (f"the crystals differ, {one} and {two}: what changes is not the protocol or the potential alone",)


def _spectra(
    first: _Side,
    second: _Side,
    asked: Sequence[AnySpectrumRequest | Spectrum],
    wanted: RunInput | None,
    *,
    allow_failures: bool,
) -> tuple[tuple[SpectrumDifference, ...], tuple[str, ...]]:
    """Return what differs in each spectrum, and why it cannot be told."""
    if not asked:
        return (), ()
    analysis = analysis_with(
        (wanted and wanted.analysis) or AnalysisSpec(),
        potential_runs=(),
        protocol_runs=(),
        allow_failures=allow_failures,
    )
    try:
        models = [_model(side, analysis) for side in (first, second)]
    except (FitError, InputError) as error:
        return (), (f"no spectrum is compared: {error}",)
    paired = are_pairs(first.table, second.table)
    found, notes = [], []
    for source in asked:
        try:
            seen = [observe(source, model, detector=wanted.detector if wanted else None) for model in models]
            found.append(spectrum_difference(*seen, paired=paired))
        except InputError as error:
            notes.append(str(error))
    return tuple(found), tuple(notes)


def _model(side: _Side, analysis: AnalysisSpec) -> StoredEnergyModel:
    if side.contents is None:
        return fitted_import(side.folder, analysis=analysis)[1]
    if any(planned.then for planned in side.contents.planned):
        raise InputError(f"{side.name} has later kicks, of which no response is fitted")
    table, model = fitted_run(side.run, analysis=analysis, contents=side.contents, table=side.table)
    return with_errors(table, model, analysis=analysis)
