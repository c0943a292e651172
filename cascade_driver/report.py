"""One page about a campaign, complete in itself: what was run, what came out, how far to trust it."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path, PurePosixPath

import jinja2
import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

from cascade_driver import plot
from cascade_driver.analysis.defect_probability import DefectPoint, DefectProbabilityFit, defect_points
from cascade_driver.analysis.directional import DirectionEffect, DirectionPoint, direction_effect, direction_map
from cascade_driver.analysis.distribution import (
    SMALLEST_GROUP_FOR_A_WIDTH,
    DistributionFit,
    StoredEnergySummary,
    summarise_stored_energies,
)
from cascade_driver.analysis.empirical_law import EmpiricalDistribution
from cascade_driver.analysis.estimation import REFUSED, FitHealth, Goodness, symbol_of
from cascade_driver.analysis.model import SpeciesModel, StoredEnergyModel
from cascade_driver.analysis.outcomes import (
    EXCESS_ENERGY,
    GroupOutcomes,
    count_outcomes,
    effective_number,
    usable_cascades,
)
from cascade_driver.analysis.tabulated import TabulatedDistribution, TabulatedProbability
from cascade_driver.answer import (
    TRUST,
    counts_of,
    light_of,
    said_of_cascades,
    said_of_recoils,
    said_of_spectra,
)
from cascade_driver.campaign.scene import Scene
from cascade_driver.errors import FitError, InputError
from cascade_driver.files import write_atomically
from cascade_driver.kinds import Status, weakest
from cascade_driver.plot import CaptionedFigure
from cascade_driver.plot.scenes import species_radius_A
from cascade_driver.plot.style import COLUMN_WIDTH_in, species_colour
from cascade_driver.simulation.knock_on import Surroundings
from cascade_driver.simulation.outcome import CascadeTable, Outcome
from cascade_driver.spectra.ensemble import SpectrumBands
from cascade_driver.spectra.observe import Observed
from cascade_driver.text import mean_with_error, value_with_error

REPORT_FILE = "report.html"

_TEMPLATE = "report.html.jinja"

#: What makes tables sortable and figures larger; the page is whole without it.
_SCRIPT = "report.js"

#: Failed cascades named one by one; the others are only counted.
MOST_FAILURES_NAMED = 40

#: Of the figures in the page: sharp on a screen of twice the usual density.
FIGURE_RESOLUTION_dpi = 200

#: Fewer directions than this are no map.
MAP_DIRECTIONS = 8

#: Of crystal about a cascade to be turned.
CRYSTAL_ABOUT_A = 3.0

_DASH = "–"


@dataclass(frozen=True, kw_only=True)
class ReportContent:
    """All that a report tells; what is left at its default is left out, or said to be missing.

    Attributes
    ----------
    title : str
    table : CascadeTable
        The finished cascades, however many there are; may be empty.
    facts : mapping
        What was run, in the order in which it is to be read: names to anything that prints well (crystal,
        temperature, duration, largest displacement, border thermostat, seed, ...).
    potential_name, potential_digest : str
        Its status is that of the table.
    planned : mapping
        Planned cascades by (species, recoil energy in eV); without it nobody can tell what is missing.
    work : str
        Who is at work on what is missing, and how long it takes: a sentence.
    damaged : mapping
        Cascades whose record cannot be read: id to what is wrong.
    model : StoredEnergyModel, optional
    model_problem : str
        Why there is no model.
    pairs : sequence of Observed
    spectra_problem : str
        Why there are no spectra, where some were asked for.
    files : mapping
        What was written: path to what it is.
    cpu_hours, cpu_s_per_cascade, peak_memory_MiB : float, optional
        Of the finished cascades; nan counts as unknown.
    provenance : mapping
        Software, versions, machine, time, seed; mappings within it are laid flat.
    command : str
        How to make all this again, a line each.
    notes : sequence of str
        What else a reader must know.
    defects : mapping
        Numbers of what was left in each row of the table, (n,) each, by what they count; nan where nobody counted.
    citation : sequence of str
        What to cite, a line each.
    scenes : sequence of Scene
        Cascades to be turned and looked at.
    sites : mapping
        What knock-ons have around them, by species: without it maps show the sampled directions alone.
    """

    title: str
    table: CascadeTable
    facts: Mapping[str, object] = field(default_factory=dict)
    potential_name: str = ""
    potential_digest: str = ""
    planned: Mapping[tuple[str, float], int] = field(default_factory=dict)
    work: str = ""
    damaged: Mapping[str, str] = field(default_factory=dict)
    model: StoredEnergyModel | None = None
    model_problem: str = ""
    pairs: Sequence[Observed] = ()
    spectra_problem: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    cpu_hours: float | None = None
    cpu_s_per_cascade: float | None = None
    peak_memory_MiB: float | None = None
    provenance: Mapping[str, object] = field(default_factory=dict)
    command: str = ""
    notes: Sequence[str] = ()
    defects: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    citation: Sequence[str] = ()
    scenes: Sequence[Scene] = ()
    sites: Mapping[str, Surroundings] = field(default_factory=dict)

    @property
    def status(self) -> Status:
        """The weaker of what table and model say of the potential."""
        return weakest([self.table.potential_status, *([self.model.status] if self.model else [])])

    @property
    def n_planned(self) -> int | None:
        """Planned cascades; none if nobody said."""
        return sum(self.planned.values()) if self.planned else None

    @property
    def species(self) -> tuple[str, ...]:
        """Every species with a finished cascade."""
        return tuple(sorted({str(s) for s in self.table.species}))


def write_report(
    path: Path | str, content: ReportContent, *, figures: Sequence[CaptionedFigure] | None = None
) -> Path:
    """Write the report as one HTML file that needs nothing else, all at once, and return its path.

    Parameters
    ----------
    path : Path
        The file, or a folder that there is: then `report.html` in it.
    content : ReportContent
    figures : sequence of CaptionedFigure, optional
        By default those of `report_figures`; give them if they are made already.

    Raises
    ------
    InputError
        If the file cannot be written, or the direction weights of the table are unfit.
    RecordError
        If a completed cascade of the table has no stored energy.
    """
    path = Path(path)
    path = path / REPORT_FILE if path.is_dir() else path
    html = report_html(content, figures=report_figures(content) if figures is None else figures)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, html)
    except OSError as error:
        raise InputError(
            f"{path}: the report cannot be written ({error.strerror or error}); choose another place"
        ) from error
    return path


def report_html(content: ReportContent, *, figures: Sequence[CaptionedFigure] = ()) -> str:
    """Return the report as the text of an HTML page; see `write_report`."""
    groups = count_outcomes(content.table) if len(content.table) else ()
    remarks = _attention(content, groups)
    views = [_FigureView.of(figure, number) for number, figure in enumerate(_in_reading_order(figures), start=1)]
    script = _script()
    return _template().render(
        content=content,
        script=Markup(script),  # nosec: our own file; the page allows no other script
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
        answer=_answer(content),
        trust=TRUST["quantitative"] if content.status == "quantitative" else "",
        light=light_of(remarks, is_usable=_is_usable(content, groups)),
        attention=[*([TRUST["qualitative"]] if content.status == "qualitative" else []), *remarks],
        cascade_rows=_cascade_rows(content, groups),
        defect_names=tuple(content.defects),
        defect_rows=_defect_rows(content),
        outcomes=_outcome_rows(groups),
        failing_groups=[str(group) for group in groups if group.n_unusable],
        failures=_failures(content.table),
        n_failures=sum(group.n_unusable for group in groups),
        fits=_fit_views(content.model),
        figures={part: [view for view in views if view.part == part] for part in ("answer", "fits", "maps")},
        scenes=[(scene.title, scene.record.id, json.dumps(_seen(scene))) for scene in content.scenes],
        spectra=[_spectrum_row(pair) for pair in content.pairs],
        spectra_remarks=_spectra_remarks(content),
        cost=_cost(content),
        provenance=_flat(content.provenance),
        files=_files(content.files),
    )


def _in_reading_order(figures: Sequence[CaptionedFigure]) -> list[CaptionedFigure]:
    """Return the figures as they come in the page: first the answer, or what is nearest to one."""
    ordered = sorted(figures, key=lambda figure: ("answer", "fits", "maps").index(figure.part))
    if ordered and ordered[0].part != "answer":
        ordered[0] = replace(ordered[0], part="answer")
    return ordered


@dataclass(frozen=True, kw_only=True)
class _FigureView:
    """A figure as the page has it."""

    number: int
    name: str
    caption: str
    part: str
    address: str
    is_wide: bool

    @classmethod
    def of(cls, figure: CaptionedFigure, number: int) -> _FigureView:
        return cls(
            number=number,
            name=figure.name,
            caption=figure.caption,
            part=figure.part,
            address=_embedded(figure),
            is_wide=figure.figure.get_figwidth() > 1.5 * COLUMN_WIDTH_in,
        )


def _answer(content: ReportContent) -> list[tuple[str, str]]:
    """Return what came out: of whom, and a sentence or two."""
    said = said_of_spectra([pair for pair in content.pairs if pair.expected.total_counts_per_kg_day > 0])
    recoils = said_of_cascades(content.table) if content.model is None else said_of_recoils(content.model)
    return said + [("", text) for text in recoils]


def _is_usable(content: ReportContent, groups: Sequence[GroupOutcomes]) -> bool:
    """Return whether there is a result, and no failures that could bias it."""
    return content.model is not None and bool(len(content.table)) and all(group.is_tolerable for group in groups)


def report_figures(content: ReportContent) -> tuple[CaptionedFigure, ...]:
    """Return all figures that the content allows, with captions: three per species, one of the spectra."""
    table, model = content.table, content.model
    made = []
    for species in content.species:
        try:
            cascades = usable_cascades(table, species=species, allow_failures=True)
        except FitError:  # not one usable cascade: nothing to draw, and the tables say so
            continue
        known = model if model is not None and species in model.species else None
        drawings = (
            ("defect-probability", _probability_caption(known, species), plot.defect_probability_figure),
            ("stored-energy", _distribution_caption(known, species), plot.stored_energy_figure),
            ("stored-energy-trend", _trend_caption(known, species), plot.stored_energy_trend_figure),
        )
        # Where nothing is stored, only the first has anything in it.
        for name, caption, draw in drawings if cascades.stores_energy.any() else drawings[:1]:
            made.append(
                CaptionedFigure(name=f"{name}-{species}", caption=caption, figure=draw(table, known, species))
            )
        made += _direction_map(content, species)
    pairs = [pair for pair in content.pairs if pair.expected.total_counts_per_kg_day > 0]
    if pairs:
        made.append(
            CaptionedFigure(
                name="spectra",
                caption=_spectra_caption(pairs),
                part="answer",
                figure=plot.spectra_figure(pairs, potential_status=content.status),
            )
        )
    return tuple(made)


def _direction_map(content: ReportContent, species: str) -> list[CaptionedFigure]:
    """Return the map of directions at the recoil energy with the most of them, if that makes a map."""
    table = content.table
    usable = table.select(table.is_usable & (table.species == species))
    known = {
        float(energy): len(np.unique(np.round(usable.direction[usable.recoil_energy_eV == energy], 9), axis=0))
        for energy in np.unique(usable.recoil_energy_eV)
    }
    # of several the middle one: where all recoils store energy, or none does, a map shows least
    best = sorted(energy for energy, n in known.items() if n == max(known.values()))
    if not best or max(known.values()) < MAP_DIRECTIONS:
        return []
    energy = best[len(best) // 2]
    points = direction_map(usable, species=species, recoil_energy_eV=energy)
    site = content.sites.get(species)
    figure = plot.direction_figure(points, species, site=site, potential_status=content.status)
    caption = _map_caption(points, species, is_whole=site is not None) + _effect_said(
        direction_effect(usable, species=species, recoil_energy_eV=energy)
    )
    made = [CaptionedFigure(name=f"direction-{species}", caption=caption, figure=figure, part="maps")]
    if site is None:
        return made
    directions = np.array([point.direction for point in points])
    figure = plot.surroundings_figure(site, species, directions=directions, potential_status=content.status)
    caption = (
        f"The crystal as the {species} knock-on sees it (Mollweide projection, z up, x at the centre): disks are "
        "atoms, larger the nearer they are; dots the sampled directions, the line the elementary region that they "
        "cover. Beside Fig. 1 of Soum-Sidikov et al. (2024)."
    )
    return [
        CaptionedFigure(name=f"surroundings-{species}", caption=caption, figure=figure, part="maps"),
        *made,
    ]


def _map_caption(points: Sequence[DirectionPoint], species: str, *, is_whole: bool) -> str:
    """Return what a map of directions shows."""
    text = (
        f"Energy stored by {species} recoils of {points[0].recoil_energy_eV:g} eV along each of {len(points)} "
        "directions in the crystal frame (Mollweide projection, z up, x at the centre), mean over all "
        f"{sum(p.n_cascades for p in points)} cascades, zeros included"
    )
    if not is_whole:
        return text + ". Directions that the symmetry of the site makes equal are shown once."
    return text + (
        ", beside its standard error; below the defect probability, beside half of its 68 % interval. Each "
        "sampled direction (dot) stands for what is nearest to its images; the line encloses the elementary "
        "region, crosses are the crystal's axes."
    )


def _effect_said(effect: DirectionEffect | None) -> str:
    """Return whether the directions of a map differ by more than chance."""
    if effect is None:
        return (
            " Differences may be chance: at most one direction was flown twice, or all cascades stored the same."
        )
    return (
        f" The direction explains {max(effect.share, 0.0):.0%} of the variance between the {effect.n_cascades} "
        f"cascades of the {effect.n_directions} directions that were flown more than once (p = "
        f"{effect.p_value:.2g} that it explains nothing); the rest is the thermal start's."
    )


# -- what a reader must see first ------------------------------------------------------------------------------


def _attention(content: ReportContent, groups: Sequence[GroupOutcomes]) -> list[str]:
    """Return in words what limits the use of the results, beside the potential."""
    said = []
    finished = len(content.table)
    if content.n_planned is not None and finished < content.n_planned:
        missing = content.n_planned - finished
        said.append(
            f"The campaign is not finished: {missing} of {content.n_planned} planned cascades are missing, and "
            "all numbers are those of the finished ones." + (f" {content.work}" if content.work else "")
        )
    if finished == 0:
        said.append("No cascade has finished yet.")
    if content.damaged:
        said.append(f"{_count(len(content.damaged), 'record')} cannot be read and left out.")
    unusable = sum(group.n_unusable for group in groups)
    if unusable:
        said.append(
            f"{_count(unusable, 'cascade')} of {finished} failed or ended where the stored energy means nothing. "
            "They are counted below and enter no average."
        )
    negative = sum(group.counts.get(Outcome.NEGATIVE_STORED_ENERGY.key, 0) for group in groups)
    if negative:
        said.append(
            f"{_count(negative, 'cascade')} ended with a negative stored energy, below the perfect crystal: the "
            "potential has spurious minima and needs training there."
        )
    for group in groups:
        if not group.is_tolerable:
            said.append(f"Too many failures to rule out a bias: {group}.")
    if content.model is None:
        said.append("There is no stored-energy model: " + _sentence(content.model_problem or "none was fitted"))
    else:
        said += [text for species, one in sorted(content.model.species.items()) for text in _ill(species, one)]
    if content.spectra_problem:
        which = "Spectra that are not corrected" if content.pairs else "There are no corrected spectra"
        said.append(f"{which}: {_sentence(content.spectra_problem)}")
    said += [
        f"{pair.title}: recoils from beyond its range are missing in all bins; let it, and the simulated "
        "energies, reach higher."
        for pair in content.pairs
        if pair.complete_eV is None
    ]
    return [*said, *content.notes]


def _sentence(text: str) -> str:
    """Return a text with a full stop at its end, if it has none."""
    return text if text.endswith((".", "!", "?")) else text + "."


def _ill(species: str, model: SpeciesModel) -> list[str]:
    """Return in words which fits are not to be trusted as they stand."""
    said = []
    probability, distribution = model.defect_probability_fit, model.distribution_fit
    if probability is not None and probability.is_separated:
        said.append(
            f"{species}: the data only limit the width of the defect probability, which leans on its prior."
        )
    elif probability is not None and not probability.health.is_good:
        said.append(f"{species}: the fit of the defect probability is not healthy.")
    if distribution is not None and not distribution.health.is_good:
        said.append(f"{species}: the fit of the stored energies is not healthy.")
    for name, fit in (("defect probability", probability), ("stored-energy distribution", distribution)):
        if fit is None or fit.goodness.p_value is None or fit.goodness.p_value > REFUSED:
            continue
        p_value = f"p = {fit.goodness.p_value:.2g}"
        if isinstance(model.distribution, EmpiricalDistribution) and fit is distribution:
            said.append(
                f"{species}: the stored energies refuse a Gaussian ({p_value}): they stand for themselves."
            )
        else:
            said.append(f"{species}: the data do not look like the fitted {name} ({p_value}).")
    return said


# -- tables ----------------------------------------------------------------------------------------------------


def _cascade_rows(content: ReportContent, groups: Sequence[GroupOutcomes]) -> list[dict[str, str]]:
    """Return one row per species and recoil energy, planned or finished."""
    by_key = {(group.species, group.recoil_energy_eV): group for group in groups}
    points: dict[tuple[str, float], tuple[DefectPoint, StoredEnergySummary]] = {}
    for species in content.species:
        try:
            cascades = usable_cascades(content.table, species=species, allow_failures=True)
        except FitError:  # not one usable cascade: the row says so
            continue
        both = zip(defect_points(cascades), summarise_stored_energies(cascades), strict=True)
        points |= {(species, point.recoil_energy_eV): (point, summary) for point, summary in both}
    return [
        _cascade_row(key, content.planned.get(key), by_key.get(key), *points.get(key, (None, None)))
        for key in sorted({*by_key, *content.planned})
    ]


def _cascade_row(
    key: tuple[str, float],
    planned: int | None,
    group: GroupOutcomes | None,
    point: DefectPoint | None,
    summary: StoredEnergySummary | None,
) -> dict[str, str]:
    finished = group.n_cascades if group else 0
    mean = None if summary is None else summary.mean_eV
    return {
        "species": key[0],
        "recoil_energy": f"{key[1]:g}",
        "planned": _DASH if planned is None else str(planned),
        "finished": str(finished),
        "is_short": "yes" if planned is not None and finished < planned else "",
        "unusable": str(group.n_unusable) if group else _DASH,
        "has_failures": "yes" if group and group.n_unusable else "",
        "defects": str(point.n_defects) if point else _DASH,
        "probability": f"{point.probability:.3f}" if point else _DASH,
        "interval": f"{point.lower:.3f} to {point.upper:.3f}" if point else _DASH,
        "mean": _DASH if summary is None or mean is None else mean_with_error(mean, summary.standard_error_eV),
        "rms": _DASH if summary is None or summary.rms_eV is None else f"{summary.rms_eV:.3g}",
        "share": _DASH if mean is None else f"{100 * mean / key[1]:.1f}",
    }


def _outcome_rows(groups: Sequence[GroupOutcomes]) -> list[tuple[str, str, int, bool]]:
    """Return key, message, number and whether it is a failure, for every way in which cascades ended."""
    counts: Counter[str] = Counter()
    for group in groups:
        counts.update(group.counts)
    return [(key, _message(key), n, key != Outcome.COMPLETED.key) for key, n in counts.most_common()]


def _message(key: str) -> str:
    if key == EXCESS_ENERGY:
        return "more energy stored than the recoil had"
    try:
        return Outcome.from_key(key).value
    except KeyError:
        return key


def _failures(table: CascadeTable) -> list[tuple[str, str, str, str]]:
    """Return id, species, recoil energy and outcome of the first failed cascades."""
    rows = np.flatnonzero(~table.is_usable)[:MOST_FAILURES_NAMED]
    return [
        (
            str(table.id[i]),
            str(table.species[i]),
            f"{table.recoil_energy_eV[i]:g}",
            _message(str(table.outcome[i])),
        )
        for i in rows
    ]


def _defect_rows(content: ReportContent) -> list[list[str]]:
    """Return species, recoil energy, cascades and mean numbers of defects with their errors, a row per recoil."""
    table, rows = content.table, []
    if not content.defects:
        return []
    recoils = {(str(s), float(e)) for s, e in zip(table.species, table.recoil_energy_eV, strict=True)}
    for species, energy in sorted(recoils):
        here = table.is_usable & (table.species == species) & (table.recoil_energy_eV == energy)
        if here.any():
            means = [_mean(values[here], table.direction_weight[here]) for values in content.defects.values()]
            rows.append([species, f"{energy:g}", str(int(here.sum())), *means])
    return rows


def _mean(values: NDArray[np.float64], weight: NDArray[np.float64]) -> str:
    """Return the weighted mean of numbers with its standard error."""
    known = np.isfinite(values)
    if not known.any():
        return _DASH
    values, weight = values[known], weight[known]
    mean, n = float(np.average(values, weights=weight)), effective_number(weight)
    if n <= 1:
        return f"{mean:.3g}"
    scatter = float(np.average((values - mean) ** 2, weights=weight))
    return value_with_error(mean, math.sqrt(scatter / (n - 1)))


def _spectra_remarks(content: ReportContent) -> list[tuple[str, list[str]]]:
    """Return what is to be remarked on the spectra, without notes of the model: on all first, then by title."""
    known = set(content.model.notes if content.model else ())
    common = set.intersection(*(set(pair.notes) for pair in content.pairs)) if len(content.pairs) > 1 else set()
    rows = (
        [("Of all spectra", [note for note in content.pairs[0].notes if note in common - known])] if common else []
    )
    for pair in content.pairs:
        remarks = [note for note in pair.notes if note not in known | common]
        if pair.bands is not None and pair.told_eV is not None:
            remarks.append(_error_remark(pair.bands, *pair.told_eV))
        rows.append((pair.title, remarks))
    return [row for row in rows if row[1]]


def _spectrum_row(pair: Observed) -> dict[str, str]:
    """Return total counts without and with the loss, in the range that matters."""
    row = {
        "title": pair.title,
        "name": pair.name,
        "threshold": "none" if pair.threshold_eV is None else f"{pair.threshold_eV:g}",
        "range": "{:.4g} to {:.4g}".format(*pair.told_eV) if pair.told_eV else "empty",
        "expected": _DASH,
        "observed": _DASH,
        "ratio": _DASH,
    }
    counts = counts_of(pair)
    if counts is not None:
        row["expected"] = value_with_error(counts.expected, counts.expected_error)
        row["observed"] = value_with_error(counts.observed, counts.observed_error)
    if counts is not None and counts.ratio is not None:
        row["ratio"] = value_with_error(counts.ratio, counts.ratio_error)
    return row


def _error_remark(bands: SpectrumBands, low_eV: float, high_eV: float) -> str:
    """Return in words how well the observed rate is known, and by what it is limited."""
    parts = {name: bands.relative_deviation(name, low_eV=low_eV, high_eV=high_eV) for name in bands.components}
    listed = ", ".join(f"{name} {value:.1%}" for name, value in sorted(parts.items(), key=lambda p: -p[1]))
    total = bands.relative_deviation("total", low_eV=low_eV, high_eV=high_eV)
    return f"Error of the observed rate in a bin {total:.1%} (root mean square; {listed})."


# -- single cascades -------------------------------------------------------------------------------------------


def _seen(scene: Scene) -> dict[str, object]:
    """Return what the script draws of a cascade: the crystal about it, displaced atoms, empty sites, the track."""
    strong = scene.displaced.astype(int)
    strong[scene.knocked] = 2
    points = np.concatenate([scene.track_A, scene.end_A[strong > 0], scene.start_A[strong > 0]])
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    radius = float(np.linalg.norm(points - middle, axis=1).max()) + CRYSTAL_ABOUT_A
    shown = (np.linalg.norm(scene.start_A - middle, axis=1) < radius) | (strong > 0)
    species = sorted({str(s) for s in scene.symbols})
    place = {name: number for number, name in enumerate(species)}
    both = np.concatenate([scene.start_A, scene.end_A], axis=1)[shown].round(2).tolist()
    kinds = ([place[str(s)], int(k)] for s, k in zip(scene.symbols[shown], strong[shown], strict=True))
    return {
        "middle": middle.round(2).tolist(),
        "radius": round(radius, 2),
        "species": [[name, species_colour(name), species_radius_A(name)] for name in species],
        "atoms": [[*where, *kind] for where, kind in zip(both, kinds, strict=True)],
        "empty": [
            [*np.round(d.position_A, 2).tolist(), place[d.species]] for d in scene.defects if d.kind == "vacancy"
        ],
        "track": scene.track_A.round(2).tolist(),
    }


# -- fits ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _FitView:
    """A fit as text; what it does not have is empty."""

    name: str
    values: Sequence[tuple[str, str]]
    source: str
    formula: str = ""
    energies: Sequence[tuple[str, str, str, str]] = ()
    parameters: Sequence[str] = ()
    covariance: Sequence[Sequence[str]] = ()
    goodness: str = ""
    health: str = ""
    is_healthy: bool = True


@dataclass(frozen=True, kw_only=True)
class _SpeciesView:
    """The fits of a species as text."""

    species: str
    range: str
    fits: tuple[_FitView, ...]


def _fit_views(model: StoredEnergyModel | None) -> list[_SpeciesView]:
    """Return per species and fit what there is to say of it, as text."""
    if model is None:
        return []
    return [
        _SpeciesView(
            species=species,
            range=f"{one.minimum_recoil_energy_eV:g} to {one.maximum_recoil_energy_eV:g}",
            fits=(_probability_view(one), _distribution_view(one)),
        )
        for species, one in sorted(model.species.items())
    ]


def _probability_view(model: SpeciesModel) -> _FitView:
    if isinstance(model.defect_probability, TabulatedProbability):
        n = len(model.defect_probability.knots_eV)
        source = f"shares of the cascades at {n} recoil energies, linear between them; nothing is fitted"
        return _view("Defect probability, a table", values=[], source=source)
    fit, law = model.defect_probability_fit, model.defect_probability
    name = "Defect probability, Fermi function"
    if fit is None:
        values = (("half_energy_eV", law.half_energy_eV), ("width_eV", law.width_eV), ("maximum", law.maximum))
        by_hand = [(symbol_of(key), f"{value:.5g}") for key, value in values]
        return _view(name, values=by_hand, source="put in by hand", formula=law.formula)
    source = _source(fit)
    if fit.is_separated:
        low, high = fit.half_energy_bracket_eV or (law.half_energy_eV, law.half_energy_eV)
        source += (
            f"; all or nothing outside {low:g} to {high:g} eV, so that the width is only known to lie below "
            f"{fit.width_upper_limit_eV:.3g} eV ({fit.width_confidence:.0%} confidence)"
        )
    return _view(name, values=_values(fit), fit=fit, source=source, formula=law.formula)


def _distribution_view(model: SpeciesModel) -> _FitView:
    fit, law = model.distribution_fit, model.distribution
    if isinstance(law, TabulatedDistribution):
        source = f"{_count(len(law.knot), 'cascade')} at {len(law.knots_eV)} recoil energies, mixed between them"
        return _view("Stored energies, a table", values=[], source=source)
    if isinstance(law, EmpiricalDistribution):
        source = (
            f"{_count(len(law.knot), 'cascade')} at {len(law.knots_eV)} recoil energies stand for themselves, "
            "smoothed, and are carried from one recoil energy to the next with their mean"
        )
        if fit is None or fit.goodness.p_value is None or fit.goodness.p_value > REFUSED:
            return _view("Stored energies, the cascades themselves", values=[], source=source)
        each = _energies(fit)
        source += "; goodness of the Gaussian that they refuse:"
        return _view("Stored energies, the cascades themselves", values=[], fit=fit, source=source, energies=each)
    shape = {"gaussian": "Gaussian", "split_gaussian": "two half Gaussians"}[law.shape]
    name = f"Stored energies, {shape} truncated to [0, E_R]"
    if fit is None:
        values = [
            *((symbol_of(f"location_{k}_eV"), f"{c:.5g}") for k, c in enumerate(law.location_eV)),
            *((symbol_of(f"log_sigma_{k}"), f"{c:.5g}") for k, c in enumerate(law.log_sigma)),
            *((symbol_of(f"asymmetry_{k}"), f"{c:.5g}") for k, c in enumerate(law.asymmetry)),
        ]
        return _view(name, values=values, source="put in by hand", formula=law.formula)
    source = (
        f"{_count(fit.n_events, 'non-zero stored energy', 'non-zero stored energies')} (effective number "
        f"{fit.effective_number:.4g}); independent unit: {fit.independent}; "
        f"AIC {fit.akaike:.1f}, BIC {fit.bayes:.1f}"
    )
    each = _energies(fit)
    return _view(name, values=_values(fit), fit=fit, source=source, energies=each, formula=law.formula)


def _energies(fit: DistributionFit) -> list[tuple[str, str, str, str]]:
    """Return recoil energy, events, distance and p-value of each recoil energy; of a few events no distance."""
    return [
        (f"{e.recoil_energy_eV:g}", str(e.n_nonzero), f"{e.statistic:.3g}", _p_value(e.p_value))
        if e.n_nonzero >= SMALLEST_GROUP_FOR_A_WIDTH
        else (f"{e.recoil_energy_eV:g}", str(e.n_nonzero), _DASH, _DASH)
        for e in fit.energies
    ]


def _view(
    name: str,
    *,
    values: Sequence[tuple[str, str]],
    source: str,
    fit: DefectProbabilityFit | DistributionFit | None = None,
    energies: Sequence[tuple[str, str, str, str]] = (),
    formula: str = "",
) -> _FitView:
    view = _FitView(name=name, values=values, source=source, energies=energies, formula=formula)
    if fit is None:
        return view
    return replace(
        view,
        parameters=tuple(symbol_of(name) for name in fit.parameters),
        covariance=[[f"{c:.3g}" for c in row] for row in fit.covariance],
        goodness=_goodness(fit.goodness),
        health=_health(fit),
        is_healthy=fit.health.is_good,
    )


def _source(fit: DefectProbabilityFit) -> str:
    return (
        f"{_count(fit.n_cascades, 'cascade')}, {fit.n_defects} of them with a defect; independent unit: "
        f"{fit.independent}; errors are half of the central 68 % intervals, the covariance is that of the whole "
        "law of the parameters, with tails that reach farther"
    )


def _values(fit: DefectProbabilityFit | DistributionFit) -> list[tuple[str, str]]:
    return [
        (symbol_of(name), value_with_error(value, error))
        for name, value, error in zip(fit.parameters, fit.values, fit.errors, strict=True)
    ]


def _goodness(goodness: Goodness) -> str:
    text = f"{goodness.name} {goodness.statistic:.3g}"
    if goodness.degrees_of_freedom is not None:
        text += f", {_count(goodness.degrees_of_freedom, 'degree of freedom', 'degrees of freedom')}"
    if goodness.p_value is None:
        return text + ": nothing left to test"
    return text + f": p = {_p_value(goodness.p_value)} ({goodness.method})"


def _p_value(p_value: float | None) -> str:
    return _DASH if p_value is None else f"{p_value:.2g}"


def _health(fit: DefectProbabilityFit | DistributionFit) -> str:
    health: FitHealth = fit.health
    if health.is_good:
        return "good: minimum found, covariance accurate, no parameter at its limit"
    if isinstance(fit, DefectProbabilityFit) and fit.is_separated:
        return "separated data: the width leans on its prior"
    wrong = [
        *([] if health.is_valid else ["no valid minimum"]),
        *([] if health.has_accurate_covariance else ["covariance not accurate"]),
        *([f"at the limit: {', '.join(symbol_of(name) for name in health.at_limit)}"] if health.at_limit else []),
    ]
    return "not good: " + "; ".join(wrong)


# -- captions --------------------------------------------------------------------------------------------------


def _probability_caption(model: StoredEnergyModel | None, species: str) -> str:
    text = (
        f"Defect probability of {species} recoils. Points: weighted share of cascades that stored energy, with "
        "68 % Wilson intervals; above them defects/cascades."
    )
    if model is None:
        return text + " No fit."
    fit = model[species].defect_probability_fit
    text += " Curve: Fermi function" + (", with its 68 % band." if fit else ", put in by hand.")
    if fit is not None and fit.is_separated:
        text += " The data are separated: they only limit its width from above."
    return text


def _distribution_caption(model: StoredEnergyModel | None, species: str) -> str:
    text = (
        f"Non-zero energies stored by {species} recoils, weighted by direction: a density, or, of few, a mark "
        "each and their cumulative distribution; dashed: their mean, with its standard error in the text."
    )
    return text + (" No fit." if model is None else " Curves: the fitted distribution at each recoil energy.")


def _trend_caption(model: StoredEnergyModel | None, species: str) -> str:
    text = (
        f"Mean of the non-zero stored energies of {species} recoils with its standard error (above), and its "
        "share of the recoil energy (below)."
    )
    if model is None:
        return text + " No fit."
    return text + " Curves: fitted distribution; dashed: including recoils that store nothing."


def _spectra_caption(pairs: Sequence[Observed]) -> str:
    text = (
        "Spectra without (dashed) and with (plain) the loss to stored energy; below their ratio, with 10 % on "
        "either side of 1 marked."
    )
    if all(pair.is_complete.all() for pair in pairs):
        return text
    return text + (
        " Pale: near the upper end of the range the observed rate lacks what recoils from above it would bring."
    )


# -- the page --------------------------------------------------------------------------------------------------


def _said(text: str) -> Markup:
    """Return a sentence as HTML: what stands between backticks is a name or a command."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # nosec: escaped


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["said"] = _said
    source = files("cascade_driver").joinpath(_TEMPLATE).read_text(encoding="utf-8")
    return environment.from_string(source)


@functools.cache
def _script() -> str:
    return files("cascade_driver").joinpath(_SCRIPT).read_text(encoding="utf-8")


def _embedded(figure: CaptionedFigure) -> str:
    """Return a figure as the address of an image that holds its own data."""
    content = plot.png_bytes(figure.figure, resolution_dpi=FIGURE_RESOLUTION_dpi)
    return "data:image/png;base64," + base64.b64encode(content).decode("ascii")


def _cost(content: ReportContent) -> list[tuple[str, str]]:
    rows = (
        ("CPU time of the finished cascades", content.cpu_hours, "{:.3g} h"),
        ("CPU time per cascade", content.cpu_s_per_cascade, "{:.3g} s"),
        ("largest memory of a worker", content.peak_memory_MiB, "{:.0f} MiB"),
    )
    return [(name, form.format(value)) for name, value, form in rows if value is not None and math.isfinite(value)]


def _files(files: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return paths and what is there, one row for a figure in several formats."""
    rows: dict[tuple[str, str], list[str]] = {}
    for path, what in files.items():
        place = PurePosixPath(path)
        rows.setdefault((str(place.with_suffix("")), what), []).append(place.suffix)
    return [(stem + ", ".join(endings), what) for (stem, what), endings in rows.items()]


def _flat(values: Mapping[str, object]) -> list[tuple[str, str]]:
    """Return names and text; a mapping within becomes one line of `name value` pairs."""
    rows = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            text = ", ".join(f"{key} {inner}" for key, inner in value.items())
        elif isinstance(value, list | tuple):
            text = ", ".join(str(inner) for inner in value)
        else:
            text = str(value)
        if text:
            rows.append((str(name).replace("_", " "), text))
    return rows


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
