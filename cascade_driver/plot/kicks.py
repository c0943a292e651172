"""Figure of second kicks: what the first recoil had left, and what both brought together."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from cascade_driver.campaign.kick_events import KickEvents
from cascade_driver.errors import InputError
from cascade_driver.plot.style import (
    DATA_COLOUR,
    FILL_COLOUR,
    MODEL_COLOUR,
    QUIET_COLOUR,
    COLUMN_WIDTH_in,
    dress,
    finished,
    legend,
    mark,
    styled,
)
from cascade_driver.simulation.kick_sequence import work_of_kick_eV


@styled
def second_kick_figure(events: KickEvents) -> Figure:
    """Return the kinetic energy before the second kick, and the total recoil energy, over the delay.

    The line is the slow limit, where each kick finds the atom at rest; the band holds all angles of the prompt
    one.

    Parameters
    ----------
    events : KickEvents
        Cascades of two kicks, of one first and one second recoil energy.

    Raises
    ------
    InputError
        If the energies differ, or no cascade got to its second kick.
    """
    reached = np.isfinite(events.kick_time_fs[:, 0])
    first, second = events.first_recoil_energy_eV[reached], events.kick_recoil_energy_eV[reached, 0]
    if len(first) == 0:
        raise InputError("no cascade got to its second kick; see what `cascade status` says of the outcomes")
    if np.ptp(first) > 0 or np.ptp(second) > 0 or events.kick_time_fs.shape[1] != 1:
        raise InputError("second kicks of several energies in one run; a figure is of one first and one second")
    delay = events.kick_time_fs[reached, 0]
    figure = Figure(figsize=(COLUMN_WIDTH_in, 1.25 * COLUMN_WIDTH_in), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    above.plot(delay, events.kinetic_energy_before_eV[reached, 0], "o", ms=3, color=DATA_COLOUR)
    above.axhline(first[0], color=QUIET_COLOUR, lw=0.8, ls="--", label=r"first recoil, $E_1$")
    above.set_ylabel("kinetic energy\nbefore second kick / eV")
    slow = float(first[0] + second[0])
    work = work_of_kick_eV(second[0], kinetic_energy_eV=first[0], cosine=[-1.0, 1.0])
    below.axhspan(*(first[0] + work), color=FILL_COLOUR, alpha=0.5, lw=0, label="prompt, any angle")
    below.axhline(slow, color=MODEL_COLOUR, label=r"slow, $E_1 + E_2$")
    below.plot(delay, events.recoil_energy_total_eV[reached], "o", ms=3, color=DATA_COLOUR, label="cascades")
    below.set_ylabel("total recoil energy / eV")
    below.set_xlabel("delay of second kick / fs")
    for axes in (above, below):
        dress(axes)
        legend(axes)
    mark(above, events.potential_status)
    return finished(figure)
