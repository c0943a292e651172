"""Figure of several potentials in one crystal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from cascade_driver.plot.style import (
    PAIR_COLOURS,
    QUIET_COLOUR,
    COLUMN_WIDTH_in,
    as_drawn,
    dress,
    finished,
    styled,
)

_MARKERS = "os^Dv<>ph*PX"


@dataclass(frozen=True, kw_only=True)
class PotentialInFigure:
    """What is drawn of a potential.

    Attributes
    ----------
    deviations : mapping of str to float
        Of numbers of the crystal from experiment, relative.
    pairs_eV : sequence of float
        Frenkel pairs.
    recoil_energy_eV, stored_energy_eV, error_eV, damaged_share : (n,) sequence of float
        Mean stored energy by recoil energy, its error, and the share of directions that store any.
    """

    deviations: Mapping[str, float]
    pairs_eV: Sequence[float]
    recoil_energy_eV: Sequence[float]
    stored_energy_eV: Sequence[float]
    error_eV: Sequence[float]
    damaged_share: Sequence[float]


@styled
def potential_comparison_figure(potentials: Mapping[str, PotentialInFigure], *, crystal: str) -> Figure:
    """Return four panels: crystal against experiment, Frenkel pairs, who is damaged, how much is stored."""
    figure = Figure(figsize=(2 * COLUMN_WIDTH_in, 1.5 * COLUMN_WIDTH_in), layout="constrained")
    (bulk, pairs), (damaged, stored) = figure.subplots(2, 2)
    quantities = list(dict.fromkeys(q for one in potentials.values() for q in one.deviations))
    width = 0.8 / len(potentials)
    for number, (name, one) in enumerate(potentials.items()):
        colour = PAIR_COLOURS[number % len(PAIR_COLOURS)]
        style = {"color": colour, "marker": _MARKERS[number % len(_MARKERS)], "ms": 4, "mfc": "none"}
        shift = (number + 0.5) * width - 0.4
        places = [quantities.index(q) + shift for q in one.deviations]
        bulk.plot(places, [100 * d for d in one.deviations.values()], ls="none", **style)
        pairs.plot(
            number + np.linspace(-0.2, 0.2, max(1, len(one.pairs_eV))),
            sorted(one.pairs_eV) or [np.nan],
            ls="none",
            **style,
        )
        damaged.plot(one.recoil_energy_eV, one.damaged_share, lw=1, **style, label=as_drawn(name))
        stored.errorbar(one.recoil_energy_eV, one.stored_energy_eV, one.error_eV, lw=1, capsize=2, **style)
    bulk.axhline(0, color=QUIET_COLOUR, lw=0.7)
    bulk.set_xticks(range(len(quantities)), [as_drawn(q) for q in quantities], rotation=35, ha="right", fontsize=6)
    bulk.set_ylabel("off experiment / %")
    pairs.set_xticks(
        range(len(potentials)), [as_drawn(n) for n in potentials], rotation=20, ha="right", fontsize=6
    )
    pairs.set_xlim(-0.5, len(potentials) - 0.5)
    pairs.set_ylabel("close Frenkel pairs / eV")
    damaged.set_ylabel("share of directions that store")
    damaged.set_ylim(-0.05, 1.05)
    damaged.legend(fontsize=6, loc="lower right", title=as_drawn(crystal), title_fontsize=6)
    stored.set_ylabel(r"mean stored energy $E_s$ / eV")
    for axes in (damaged, stored):
        axes.set_xlabel(r"recoil energy $E_R$ / eV")
    for axes in (bulk, pairs, damaged, stored):
        dress(axes)
    return finished(figure)
