"""How figures look, and how they are kept: one column of a journal wide, no display, no state of pyplot.

Data are dark, fitted models vermilion, and what comes from a potential that calls itself qualitative says so
in its corner.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import matplotlib.style
import numpy as np
from ase.data import atomic_numbers
from ase.data.colors import jmol_colors
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import to_hex
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator, ScalarFormatter
from numpy.typing import NDArray

from cascade_driver.files import write_file
from cascade_driver.kinds import Array
from cascade_driver.text import value_with_error

#: What a figure says whose potential calls itself qualitative.
QUALITATIVE_MARK = "qualitative potential"

#: One column of a two-column journal, 86 mm.
COLUMN_WIDTH_in = 3.39

#: Of PNG files: what journals ask for.
RESOLUTION_dpi = 300

DATA_COLOUR = "#262626"

FILL_COLOUR = "#c3ccd4"

MODEL_COLOUR = "#d55e00"

QUIET_COLOUR = "#6e6e6e"

#: One per spectrum: told apart with any colour vision, and by their lightness in grey (after Okabe and Ito).
PAIR_COLOURS = ("#262626", "#d55e00", "#0072b2", "#009e73", "#cc79a7", "#56b4e9")

#: Orders of magnitude below the largest rate that a spectrum is drawn over.
RATE_DECADES = 5

#: Of error bands.
BAND_ALPHA = 0.3

#: Of lines where nothing was simulated, and what the legend says of them.
EXTRAPOLATED_LINE = (0, (1, 1.1))
EXTRAPOLATED = "extrapolated"

_FONT = "DejaVu Sans"

#: What is drawn for a character that the font does not have.
_NO_GLYPH = "□"

_STYLE = {
    "font.family": "sans-serif",
    "font.sans-serif": [_FONT],  # comes with matplotlib: the same figure on every machine
    "mathtext.fontset": "dejavusans",
    "font.size": 7.5,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "axes.linewidth": 0.7,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 7,
    "legend.frameon": True,  # else the sign of a point could pass for a point
    "legend.fancybox": False,
    "legend.framealpha": 0.9,
    "legend.edgecolor": "#d9d9d9",
    "legend.handlelength": 1.8,
    "lines.linewidth": 1.3,
    "savefig.dpi": RESOLUTION_dpi,
    "pdf.fonttype": 42,  # text stays text
}

#: Reset whatever the user's matplotlibrc holds, for the time of one function.
styled = matplotlib.style.context(["default", _STYLE])


def save_figure(figure: Figure, stem: Path | str) -> list[Path]:
    """Write `<stem>.png` and `<stem>.pdf` and return their paths; a reader never sees half a file.

    No date goes into the files: the same figure gives the same bytes.

    Parameters
    ----------
    figure : Figure
    stem : Path
        Without suffix; folders that do not exist are made.

    Raises
    ------
    InputError
        If a file cannot be written.
    """
    stem = Path(stem)
    paths = []
    for suffix, content in ((".png", png_bytes(figure)), (".pdf", _pdf_bytes(figure))):
        path = stem.with_name(stem.name + suffix)
        write_file(path, content, remedy="choose another folder")
        paths.append(path)
    return paths


@styled
def png_bytes(figure: Figure, *, resolution_dpi: int = RESOLUTION_dpi) -> bytes:
    """Return a figure as the content of a PNG file."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=resolution_dpi, metadata={"Software": None})
    return stream.getvalue()


@styled
def _pdf_bytes(figure: Figure) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="pdf", metadata={"CreationDate": None, "Producer": None, "Creator": None})
    return stream.getvalue()


def as_drawn(text: str) -> str:
    """Return a title or a name that a user chose, to be drawn as it stands.

    A dollar begins no formula, an underscore at the front does not keep it out of the legend, and a character
    that the font does not have becomes a box.
    """
    font = get_font(findfont(_FONT))
    known = "".join(c if c.isspace() or font.get_char_index(ord(c)) else _NO_GLYPH for c in text)
    escaped = known.replace("$", r"\$")
    return f" {escaped}" if escaped.startswith("_") else escaped


@dataclass(frozen=True, kw_only=True)
class CaptionedFigure:
    """A figure with a name fit for a file, the text that belongs under it, and its part of a page."""

    name: str
    caption: str
    figure: Figure
    part: Literal["answer", "fits", "maps"] = "fits"


def plus_minus(value: float, errors: Sequence[float]) -> str:
    """Return a value with the first of its errors, if it has any."""
    return value_with_error(value, errors[0] if errors else None)


def mark(axes: Axes, status: str, *, above_pt: float = 0.0) -> None:
    """Say above the axes, and above what else stands there, that the potential is qualitative."""
    if status != "quantitative":
        axes.set_title(
            QUALITATIVE_MARK, loc="right", fontsize=6, fontstyle="italic", color=QUIET_COLOUR, pad=4 + above_pt
        )


def draw_curve(
    axes: Axes, x: NDArray[np.float64], y: NDArray[np.float64], *, simulated: tuple[float, float], **line: Any
) -> None:
    """Draw a curve, dotted where it leaves what was simulated: there it is a formula and no result."""
    low, high = simulated
    inside = (x >= low) & (x <= high)
    axes.plot(x[inside], y[inside], **line)
    if not inside.all():
        # from the last points inside on, so that the curve has no gaps
        outside = ~inside | np.append(~inside[1:], False) | np.append(False, ~inside[:-1])
        label = "" if is_said(axes, EXTRAPOLATED) else EXTRAPOLATED
        dotted = line | {"linestyle": EXTRAPOLATED_LINE, "label": label}
        axes.plot(x, np.where(outside, y, np.nan), **dotted)


def is_said(axes: Axes, label: str) -> bool:
    """Return whether the legend of axes says this."""
    return label in axes.get_legend_handles_labels()[1]


def legend(
    axes: Axes, *, loc: Literal["best", "upper left"] = "best", below: bool = False, columns: int = 2
) -> None:
    """Add the legend, data first; `below` the axes, in columns, where it covers nothing."""
    handles, labels = axes.get_legend_handles_labels()
    order = sorted(range(len(handles)), key=lambda i: not isinstance(handles[i], ErrorbarContainer))
    if not order:
        return
    shown, words = [handles[i] for i in order], [labels[i] for i in order]
    if below:
        axes.legend(shown, words, loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=columns, frameon=False)
    else:
        axes.legend(shown, words, loc=loc)


def new_axes() -> Axes:
    """Return axes of a figure that notebooks and `plt.show()` show."""
    from matplotlib import pyplot

    return pyplot.subplots(layout="constrained")[1]


def dress(axes: Axes) -> None:
    """Give axes the ticks of all figures."""
    axes.tick_params(which="both", direction="in", top=True, right=True, width=0.6)
    axes.tick_params(which="major", labelsize=7.5, length=3)
    axes.tick_params(which="minor", length=1.8)


#: Digits of a logarithmic axis that are labelled, from few to many, and how many labels are enough.
_DIGITS = ((1,), (1, 2, 5), (1, 2, 3, 5, 7), tuple(range(1, 10)))
_ENOUGH_LABELS = 3


def label_few_decades(axis: Axis) -> None:
    """Label a logarithmic axis that has less than three powers of ten at 1, 2 and 5, as plain numbers.

    Matplotlib prints 2x10^-2, 3x10^-2 ... over each other there. Called when the limits are set; axes of other
    scales, and those whose ticks were chosen, stay as they are.
    """
    if axis.get_scale() != "log" or not isinstance(axis.get_major_locator(), LogLocator):
        return
    axis.set_minor_formatter(NullFormatter())
    digits = next((found for found in _DIGITS if _labels(axis, found) >= _ENOUGH_LABELS), None)
    if digits == (1,):
        return
    if digits is None:  # such a short piece of a logarithm is all but a straight scale
        axis.set_major_locator(MaxNLocator(4))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(ScalarFormatter(useMathText=True))
        return
    axis.set_major_locator(LogLocator(subs=digits, numticks=100))
    axis.set_minor_locator(LogLocator(subs=range(1, 10), numticks=100))
    axis.set_major_formatter(FuncFormatter(lambda value, _: _plain(value)))


def _labels(axis: Axis, digits: tuple[int, ...]) -> int:
    """Return how many labels of some digits lie on an axis."""
    low, high = sorted(axis.get_view_interval())
    powers = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    values = np.outer(powers, digits)
    # 1e-9: limits that are a label up to rounding
    return int(((values > low * (1 - 1e-9)) & (values < high * (1 + 1e-9))).sum())


def _plain(value: float) -> str:
    """Return a number as a label has it, with a power of ten where many zeros would stand."""
    if 1e-3 <= value < 1e5:
        return f"{value:g}"
    power = int(np.floor(np.log10(value) + 1e-9))
    digit = round(value / 10.0**power)
    return f"$10^{{{power}}}$" if digit == 1 else rf"${digit}\times10^{{{power}}}$"


def layout_pads(figure: Figure, *, h_pad: float) -> None:
    """Set the vertical room between the panels of a figure."""
    engine = figure.get_layout_engine()
    if isinstance(engine, ConstrainedLayoutEngine):
        engine.set(h_pad=h_pad, hspace=0.0)


def finished(figure: Figure) -> Figure:
    """Lay out and make all ticks now, while the style holds.

    Once: the same places hold for every file, which would take another layout and a drawing more each. Who changes
    the figure may ask for one again, `figure.set_layout_engine("constrained")`.
    """
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            label_few_decades(axis)
    figure.draw_without_rendering()
    figure.set_layout_engine(None)
    return figure


def species_colour(species: str) -> str:
    """Return the colour of a chemical element, as molecular viewers have it (Jmol)."""
    return str(to_hex(jmol_colors[atomic_numbers[species]]))


def species_handles(symbols: Iterable[str]) -> list[Line2D]:
    """Return the entries of a legend of species, each once in the order of its name."""
    return [
        Line2D(
            [],
            [],
            linestyle="none",
            marker="o",
            markersize=5,
            markeredgecolor=DATA_COLOUR,
            color=species_colour(one),
            label=one,
        )
        for one in sorted(set(map(str, symbols)))
    ]


def draw_points(axes: Axes, x: Array, y: Array, error: Array | None) -> None:
    """Draw measured points of one kind, with their errors where there are any."""
    axes.errorbar(x, y, yerr=error, fmt="o", markersize=2.5, linewidth=0.7, color=DATA_COLOUR, label="measured")
