"""The validation of a potential as a page of Markdown with figures beside it: it reads well in a repository."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from cascade_driver.files import write_atomically
from cascade_driver.plot import save_figure
from cascade_driver.plot.training import (
    energy_parity_figure,
    frenkel_pair_figure,
    learning_figure,
    pair_curve_figure,
    phonon_figure,
)
from cascade_driver.simulation.potential import Potential
from cascade_driver.training.validate import LEARNING, Measure, Section

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
    figures = {}
    if sections.get("frames") and sections["frames"].curves:
        figures["energies"] = energy_parity_figure(sections["frames"].curves)
    if sections.get("frenkel") and any(sections["frenkel"].curves.get("pairs_eV", {}).values()):
        curves = sections["frenkel"].curves
        figures["frenkel-pairs"] = frenkel_pair_figure(curves["pairs_eV"], curves["printed_eV"])
    if sections.get("phonons") and sections["phonons"].curves:
        figures["phonons"] = phonon_figure(sections["phonons"].curves)
    if sections.get("pair curves"):
        figures["pair-curves"] = pair_curve_figure(sections["pair curves"].curves)
    if LEARNING in sections:
        figures["learning-curve"] = learning_figure(sections[LEARNING].curves)
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


def _table(section: Section) -> list[str]:
    lines = ["| what | value | reference | deviation | from |", "|---|---|---|---|---|"]
    return [*lines, *(_row(measure) for measure in section.measures), ""]


def _row(measure: Measure) -> str:
    value = "-" if math.isnan(measure.value) else f"{measure.value:.4g} {measure.unit}"
    reference = "" if measure.reference is None else f"{measure.reference:.4g}"
    deviation = "" if measure.deviation is None else f"{100 * measure.deviation:+.1f} %"
    return f"| {measure.name} | {value} | {reference} | {deviation} | {measure.origin} |"
