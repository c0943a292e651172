"""The validation of a potential as a page of Markdown with figures beside it: it reads well in a repository."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from cascade_driver.files import write_atomically
from cascade_driver.plot import save_figure
from cascade_driver.plot.training import (
    energy_parity_figure,
    frenkel_pair_figure,
    learning_figure,
    pair_curve_figure,
    phonon_figure,
)
from cascade_driver.schema import build
from cascade_driver.simulation.potential import Potential
from cascade_driver.training.learning import LearningCurves
from cascade_driver.training.validate import (
    LEARNING,
    FrenkelCurves,
    Measure,
    PairCurves,
    Parity,
    PhononCurves,
    Section,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

T = TypeVar("T")

_TITLES = {
    "crystal": "Crystal at rest",
    "elastic": "Elastic constants",
    "phonons": "Vibrations",
    "frenkel": "Close Frenkel pairs",
    "frames": "Labelled frames",
    "stability": "Hot crystal",
    "pair curves": "Two atoms in vacuum",
    "contract": "Contract of potentials",
    "cost": "Cost",
    LEARNING: "Learning curve",
}


def write_validation(potential: Potential, sections: Mapping[str, Section], folder: Path) -> list[Path]:
    """Write `report.md` and its figures; return their paths.

    Raises
    ------
    InputError
        If a figure cannot be written.
    """
    curves = {name: section.curves for name, section in sections.items() if section.curves}
    figures: dict[str, Figure] = {}
    if "frames" in curves:
        groups = {group: _read(Parity, values, "frames") for group, values in curves["frames"].items()}
        figures["energies"] = energy_parity_figure(groups)
    if "frenkel" in curves:
        pairs = _read(FrenkelCurves, curves["frenkel"], "frenkel")
        if any(pairs.pairs_eV.values()):
            figures["frenkel-pairs"] = frenkel_pair_figure(pairs)
    if "phonons" in curves:
        figures["phonons"] = phonon_figure(_read(PhononCurves, curves["phonons"], "phonons"))
    if "pair curves" in curves:
        figures["pair-curves"] = pair_curve_figure(_read(PairCurves, curves["pair curves"], "pair curves"))
    if LEARNING in curves:
        figures["learning-curve"] = learning_figure(_read(LearningCurves, curves[LEARNING], LEARNING))
    written = [path for name, figure in figures.items() for path in save_figure(figure, folder / name)]
    about = potential.about
    lines = [f"# {potential.name}: {about.status}", "", about.title, "", f"Content {potential.digest}.", ""]
    for name, section in sections.items():
        lines += [f"## {_TITLES[name]}", ""]
        lines += [section.remark, ""] if section.remark else []
        lines += _table(section) if section.measures else []
    lines += [f"![{name}]({name}.png)" for name in figures] + [""]
    report = folder / "report.md"
    write_atomically(report, "\n".join(lines))
    return [report, *written]


def _read(kind: type[T], curves: object, section: str) -> T:
    return build(kind, curves, origin=f"curves of the section {section}")


def _table(section: Section) -> list[str]:
    lines = ["| what | value | reference | deviation | from |", "|---|---|---|---|---|"]
    return [*lines, *(_row(measure) for measure in section.measures), ""]


def _row(measure: Measure) -> str:
    value = "-" if math.isnan(measure.value) else f"{measure.value:.4g} {measure.unit}"
    reference = "" if measure.reference is None else f"{measure.reference:.4g}"
    deviation = "" if measure.deviation is None else f"{100 * measure.deviation:+.1f} %"
    return f"| {measure.name} | {value} | {reference} | {deviation} | {measure.origin} |"
