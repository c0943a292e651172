"""A binned spectrum, resolved by the element that recoils, with its source and notes, and its CSV file."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from ase.data import atomic_numbers
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from cascade_driver.errors import InputError
from cascade_driver.files import LARGEST_NUMBER, write_file
from cascade_driver.histogram_file import SUFFIXES, Histogram, write_histograms
from cascade_driver.kinds import Status
from cascade_driver.request import AnySpectrumRequest, SpectrumRequest
from cascade_driver.schema import build, canonical_json, parameters, plain
from cascade_driver.table import Table, read_table
from cascade_driver.text import closest
from cascade_driver.units import EV_PER_KEV

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Key of the only rate of a spectrum that is not resolved by element.
UNRESOLVED = ""

#: Which energy the bins are of: `recoil` is what the source gives to the nucleus, `observed` is what remains
#: of it after the stored energy, with or without the resolution of a detector.
EnergyKind = Literal["recoil", "observed"]

_LOW = "energy_low_eV"
_HIGH = "energy_high_eV"
_TOTAL = "rate"
_EXAMPLE = f"{_LOW},{_HIGH},{_TOTAL}"

#: What a column is often called that is no rate.
_COUNTS = {"count", "counts", "events", "entries", "number", "n"}

#: Columns of an error band: after them its name, such as `total`; a reader of spectra passes over them.
_BAND = ("rate_lower_", "rate_upper_")

#: Endings of spectra as text; what has no ending is text.
_TEXT = ("", ".csv", ".txt", ".dat")

_UNIT_NOTE = "rates are bin averages per kg of target, day and keV"

#: What a comment line of a file begins with if a program is to read it: which energy, what the spectrum was made
#: by, and one note per line. All others are for people.
_ENERGY_KIND, _MADE_BY, _BANDS, _NOTE = "energy", "made by", "bands", "note"

#: Names of a column of bin centres, in place of those of the two edges, and units of energy.
_CENTRES = ("energy", "energy_center", "energy_centre", "center", "centre", "e", "E")
_UNITS_eV = {"eV": 1.0, "keV": EV_PER_KEV}

#: The comment that says which middles of their bins the energies of a file are, and what it may say.
_CENTRES_ARE, _MIDDLES = "centres", ("geometric", "arithmetic")
#: Middles that differ by less than this share of a bin are one.
_SAME_MIDDLE = 0.01

#: The names of the columns of a table of two.
_OF_CENTRES = f"{_CENTRES[0]}_eV,{_TOTAL}"

#: Bin centres are printed with few digits: steps between them that differ by this share are equal.
_STEP_TOLERANCE = 1e-3

#: A file's `rate` may differ from the sum of its elements by this share: files are printed with few digits.
_SUM_TOLERANCE = 1e-3

#: A bin of which this share lies outside a range is in it: such a strip holds about this share of the counts of
#: its bin. Where recoils are missing in it, the bin lacks fewer than that, less than any band is wide.
_OUTSIDE = 0.01

#: Bin edges that differ by this share of the larger one are one edge.
_EDGE_TOLERANCE = 1e-9


def check_edges(
    edges_eV: ArrayLike, *, name: str = "energy_edges_eV", floor_eV: float = -math.inf
) -> NDArray[np.float64]:
    """Return bin edges as an array, having made sure that they are bin edges.

    Parameters
    ----------
    edges_eV : (n + 1,) array_like
        Edges in eV, n >= 1.
    name : str
        What the message calls them.
    floor_eV : float
        Smallest allowed edge: a recoil energy cannot be negative, an observed one can.

    Raises
    ------
    InputError
        If there are fewer than two, if one is not finite or below the floor, or if they do not increase.
    """
    edges = _numbers(edges_eV, name=name, unit="in eV")
    if edges.ndim != 1 or len(edges) < 2:
        raise InputError(f"{name}: found shape {edges.shape}, expected one row of at least two bin edges in eV.")
    if not np.all(fit := np.abs(edges) <= LARGEST_NUMBER):
        index = int(np.argmin(fit))
        raise InputError(f"{name}: edge {index} is {edges[index]}, expected a finite energy in eV.")
    if edges[0] < floor_eV:
        raise InputError(f"{name}: the first edge is {edges[0]:g} eV, expected at least {floor_eV:g} eV.")
    steps = np.diff(edges)
    if np.any(steps <= 0):
        index = int(np.argmax(steps <= 0))
        raise InputError(
            f"{name}: edge {index + 1} ({edges[index + 1]:g} eV) does not lie above edge {index} "
            f"({edges[index]:g} eV); bin edges must increase, sort them and drop repeated ones."
        )
    return edges


def _numbers(values: ArrayLike, *, name: str, unit: str) -> NDArray[np.float64]:
    """Return a copy as real numbers; what a mask hides is nan, and no number that lies under it."""
    try:
        return np.array(np.ma.filled(np.ma.asarray(values).astype(np.float64, casting="same_kind"), np.nan))
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: expected numbers {unit}, got something else ({error}).") from error


@dataclass(frozen=True)
class _AxisTraits:
    """Of UHI: what kind of axis it is."""

    circular: bool = False
    discrete: bool = False


class EnergyAxis:
    """An axis of energies in eV as UHI (`PlottableAxis`) has it: a sequence of bins (low, high).

    Parameters
    ----------
    edges_eV : (n + 1,) float
    name : str
    """

    traits = _AxisTraits()

    def __init__(self, edges_eV: NDArray[np.float64], *, name: str) -> None:
        self.edges = edges_eV
        self.name = name
        self.label = f"{name.removesuffix('_eV').replace('_', ' ')} (eV)"

    def __len__(self) -> int:
        """Return how many bins there are."""
        return len(self.edges) - 1

    def __getitem__(self, index: int) -> tuple[float, float]:
        """Return the edges of one bin in eV."""
        return float(self.edges[:-1][index]), float(self.edges[1:][index])

    def __iter__(self) -> Iterator[tuple[float, float]]:
        """Yield the edges of each bin in eV."""
        return zip(map(float, self.edges[:-1]), map(float, self.edges[1:]), strict=True)

    def __eq__(self, other: object) -> bool:
        """Whether the bins are the same."""
        return isinstance(other, EnergyAxis) and np.array_equal(self.edges, other.edges)

    __hash__ = None  # type: ignore[assignment]


@parameters
class Observation:
    """What took the stored energy off a spectrum, and where nothing of it is missing.

    Attributes
    ----------
    model : str
        Name of the stored-energy model.
    status : {'qualitative', 'quantitative'}
        Of its potential.
    complete_eV : (float, float), optional
        Observed energies between which no recoil is missing that lies beyond the bins; none if there are none.
    simulated_eV : (float, float), optional
        Observed energies to which, but for the resolution, recoils of simulated energies alone contribute; all
        if the model was not extrapolated.
    threshold_eV : float, optional
        Of the detector.
    borrowed : dict
        Species whose response stood for an element, by that element; the key '' is of all elements together.
    """

    model: str
    status: Status
    complete_eV: tuple[float, float] | None = None
    simulated_eV: tuple[float, float] | None = None
    threshold_eV: float | None = None
    borrowed: dict[str, str] = Field(default_factory=dict)


@parameters
class _MadeBy:
    """The line of a file from which its spectrum can be made again."""

    source: SpectrumRequest | None = None
    observation: Observation | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Spectrum:
    """A differential rate in bins, one per recoiling element.

    Attributes
    ----------
    energy_edges_eV : (n + 1,) float
        Increasing bin edges.
    rate_per_kg_day_keV : mapping of str to (n,) float
        For each chemical symbol the average over each bin of its rate per kg of the whole target, day and
        keV: the integral over the bin divided by its width. A spectrum that is not resolved has the only key
        `UNRESOLVED`. May be negative, as after a background was subtracted.
    energy_kind : {"recoil", "observed"}
        Which energy the bins are of.
    source : DarkMatterRequest, ReactorRequest, SolarRequest, MonoenergeticRequest or CaptureRequest, optional
        What it can be made from again (`sources.requested`); none of a spectrum of another program.
    observation : Observation, optional
        What took the stored energy off; none if nothing did.
    notes : tuple of str
        What a reader must know, a sentence each.
    metadata : mapping of str to str
        Where the numbers come from, for people: comment lines of the file. Read again is only `detector`, by which
        a pair without and with the loss is told to be of one detector.

    Raises
    ------
    InputError
        If edges or rates cannot be those of a spectrum.
    """

    energy_edges_eV: NDArray[np.float64]
    rate_per_kg_day_keV: Mapping[str, NDArray[np.float64]]
    energy_kind: EnergyKind = "recoil"
    source: AnySpectrumRequest | None = None
    observation: Observation | None = None
    notes: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        edges = check_edges(self.energy_edges_eV)
        if not isinstance(self.rate_per_kg_day_keV, Mapping):
            raise InputError(
                f"rate_per_kg_day_keV is of type {type(self.rate_per_kg_day_keV).__name__}, expected rates by "
                "element, {'W': [...]}, or the total, {'': [...]}"
            )
        if self.energy_kind not in ("recoil", "observed"):
            raise InputError(f"energy_kind is {self.energy_kind!r}, expected 'recoil' or 'observed'.")
        if not self.rate_per_kg_day_keV:
            raise InputError("A spectrum without any rate: give at least one element, or the total as ''.")
        if UNRESOLVED in self.rate_per_kg_day_keV and len(self.rate_per_kg_day_keV) > 1:
            raise InputError(
                "A spectrum has either rates of elements or one total under the key '', not both: "
                "their sum would count events twice."
            )
        for key in self.metadata:
            reserved = (_ENERGY_KIND, _MADE_BY, _BANDS, _NOTE)
            if not key.strip() or ":" in key or key.strip().startswith("#") or _one_line(key) in reserved:
                raise InputError(
                    f"metadata has the key {key!r}, expected a name without colon or leading # other than "
                    f"{', '.join(map(repr, reserved))}: it must come back from the comments of a file."
                )
        rates: dict[str, NDArray[np.float64]] = {}
        for element, values in self.rate_per_kg_day_keV.items():
            if element != UNRESOLVED and atomic_numbers.get(element, 0) == 0:
                raise InputError(
                    f"rate of {element!r}: not a chemical element.{_did_you_mean(str(element), atomic_numbers)}"
                )
            rate = _numbers(values, name=f"rate of {element or 'the total'}", unit="per kg, day and keV")
            if rate.shape != (len(edges) - 1,):
                raise InputError(
                    f"rate of {element or 'the total'}: found shape {rate.shape}, expected one value per "
                    f"bin, ({len(edges) - 1},)."
                )
            wrong = ~(np.abs(rate) <= LARGEST_NUMBER)  # nan included
            if np.any(wrong):
                index = int(np.argmax(wrong))
                raise InputError(
                    f"rate of {element or 'the total'} in bin {index} ({edges[index]:g} to "
                    f"{edges[index + 1]:g} eV) is {rate[index]:g}, expected a finite rate; correct it."
                )
            rate.flags.writeable = False
            rates[element] = rate
        edges.flags.writeable = False
        object.__setattr__(self, "energy_edges_eV", edges)
        object.__setattr__(self, "rate_per_kg_day_keV", rates)
        object.__setattr__(self, "notes", tuple(dict.fromkeys(_one_line(note) for note in self.notes)))
        object.__setattr__(
            self, "metadata", {_one_line(key): _one_line(value) for key, value in self.metadata.items()}
        )

    @property
    def elements(self) -> tuple[str, ...]:
        """The recoiling elements, in the order given; empty if the spectrum is not resolved."""
        return tuple(element for element in self.rate_per_kg_day_keV if element != UNRESOLVED)

    @property
    def energy_centers_eV(self) -> NDArray[np.float64]:
        """(n,) middle of each bin."""
        return 0.5 * (self.energy_edges_eV[1:] + self.energy_edges_eV[:-1])

    @property
    def bin_widths_keV(self) -> NDArray[np.float64]:
        """(n,) width of each bin."""
        return np.diff(self.energy_edges_eV) / EV_PER_KEV

    @property
    def total_rate_per_kg_day_keV(self) -> NDArray[np.float64]:
        """(n,) sum over the elements."""
        return np.asarray(np.sum(list(self.rate_per_kg_day_keV.values()), axis=0), dtype=np.float64)

    @property
    def counts_per_kg_day(self) -> dict[str, NDArray[np.float64]]:
        """For each element the (n,) counts in each bin: rate times width."""
        return {element: rate * self.bin_widths_keV for element, rate in self.rate_per_kg_day_keV.items()}

    @property
    def total_counts_per_kg_day(self) -> float:
        """Counts of all elements in all bins."""
        return float(np.sum(self.total_rate_per_kg_day_keV * self.bin_widths_keV))

    def __repr__(self) -> str:
        """Return one line: which energy, how many bins, which elements, how many counts."""
        low, *_, high = self.energy_edges_eV
        return (
            f"<Spectrum of {self.energy_kind} energy, {len(self.energy_centers_eV)} bins from {low:g} to {high:g} "
            f"eV, {', '.join(self.elements) or 'not resolved'}, {self.total_counts_per_kg_day:.4g} counts/(kg d)>"
        )

    def write(self, path: Path | str) -> None:
        """Write it as CSV, see `write_spectrum`; or as `.json`, `.h5` or `.root`, see `write_histograms`."""
        if Path(path).suffix in SUFFIXES:
            write_histograms(self.histograms(self.energy_kind), Path(path))
        else:
            write_spectrum(self, path)

    def histograms(self, name: str) -> dict[str, Histogram]:
        """Return its counts per kg and day as histograms: of all elements together by a name, and of each."""
        axes = {f"{self.energy_kind}_energy_eV": self.energy_edges_eV}
        about = {"unit": "counts per kg of target and day", "notes": "\n".join(self.notes), **self.metadata}
        made_by = plain(_MadeBy(source=self.source, observation=self.observation))
        if made_by:
            about[_MADE_BY] = canonical_json(made_by)
        counts = {f"{name}_{element}": n for element, n in self.counts_per_kg_day.items() if element != UNRESOLVED}
        return {
            name: Histogram(values=self.values(), axes=axes, about=about),
            **{one: Histogram(values=values, axes=axes) for one, values in counts.items()},
        }

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the rate, in all and by element, into these axes of matplotlib or into new ones; return them."""
        from cascade_driver.plot import draw_spectrum

        return draw_spectrum(self, ax)

    # What follows is the protocol by which `hist`, `mplhep` and others take it (UHI, `PlottableHistogram`).

    @property
    def kind(self) -> str:
        """Of UHI: the bins hold counts."""
        return "COUNT"

    @property
    def axes(self) -> tuple[EnergyAxis]:
        """Of UHI: the one axis, of energy in eV."""
        return (EnergyAxis(self.energy_edges_eV, name=f"{self.energy_kind}_energy_eV"),)

    def values(self) -> NDArray[np.float64]:
        """Of UHI: (n,) counts of all elements per kg and day."""
        return self.total_rate_per_kg_day_keV * self.bin_widths_keV

    def variances(self) -> None:
        """Of UHI: there are none; an expected spectrum is no sample."""

    def counts(self) -> NDArray[np.float64]:
        """Of UHI: (n,) as `values`."""
        return self.values()

    def _to_boost_histogram_(self) -> Any:
        """Of boost-histogram: what `hist.Hist(spectrum)` asks for."""
        import boost_histogram

        made = boost_histogram.Histogram(boost_histogram.axis.Variable(self.energy_edges_eV))
        made[...] = self.values()
        return made

    @classmethod
    def from_counts(
        cls,
        *,
        energy_edges_eV: ArrayLike,
        counts_per_kg_day: Mapping[str, NDArray[np.float64]],
        energy_kind: EnergyKind = "recoil",
        source: AnySpectrumRequest | None = None,
        notes: tuple[str, ...] = (),
        metadata: Mapping[str, str] | None = None,
    ) -> Spectrum:
        """Return the spectrum that has these counts, (n,) per element, in its bins.

        Raises
        ------
        InputError
            As `Spectrum`.
        """
        edges = check_edges(energy_edges_eV)
        widths_keV = np.diff(edges) / EV_PER_KEV
        return cls(
            energy_edges_eV=edges,
            rate_per_kg_day_keV={element: counts / widths_keV for element, counts in counts_per_kg_day.items()},
            energy_kind=energy_kind,
            source=source,
            notes=notes,
            metadata=metadata or {},
        )


def bins_within(energy_edges_eV: ArrayLike, range_eV: tuple[float, float]) -> NDArray[np.bool_]:
    """Return which bins lie in a range, but for `_OUTSIDE` of their width, (n,).

    >>> bins_within([20.0, 40.0, 60.0, 80.0], (20.0, 79.9))
    array([ True,  True,  True])
    >>> bins_within([20.0, 40.0, 60.0, 80.0], (20.0, 79.5))
    array([ True,  True, False])
    """
    edges = np.asarray(energy_edges_eV, dtype=np.float64)
    low, high = range_eV
    # and an edge that rounding puts a hair outside
    slack_eV = _OUTSIDE * np.diff(edges) + _EDGE_TOLERANCE * edges[-1]
    return np.asarray((edges[:-1] >= low - slack_eV) & (edges[1:] <= high + slack_eV))


def rebin(spectrum: Spectrum, energy_edges_eV: ArrayLike) -> Spectrum:
    """Return the spectrum in other bins, with the same counts.

    The rate is taken as constant within each old bin, so that a new bin gets the share of an old one's counts
    by which they overlap. Counts outside the new range are left out; where the new range reaches beyond the
    old one the rate is 0.

    Parameters
    ----------
    spectrum : Spectrum
        What to rebin.
    energy_edges_eV : (m + 1,) array_like
        New edges in eV.

    Raises
    ------
    InputError
        If the new edges are not bin edges.
    """
    new = check_edges(energy_edges_eV)
    if np.array_equal(new, spectrum.energy_edges_eV):
        return spectrum  # to the last digit
    rates = {
        element: overlap_counts(rate, spectrum.energy_edges_eV, new) / np.diff(new)
        for element, rate in spectrum.rate_per_kg_day_keV.items()
    }
    return replace(spectrum, energy_edges_eV=new, rate_per_kg_day_keV=rates)


def overlap_counts(
    density_per_eV: NDArray[np.float64], old_edges_eV: NDArray[np.float64], new_edges_eV: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the integral over each new bin, (m,), of a density that is constant in each old one, (n,).

    Sums over the pieces that both sets of edges cut, rather than differences of a running sum: a tail many
    decades below the peak keeps its digits.
    """
    low = max(old_edges_eV[0], new_edges_eV[0])
    high = min(old_edges_eV[-1], new_edges_eV[-1])
    if low >= high:
        return np.zeros(len(new_edges_eV) - 1)
    cuts = np.unique(np.concatenate([old_edges_eV, new_edges_eV]))
    cuts = cuts[(cuts >= low) & (cuts <= high)]
    # The left end of a piece decides its bins; a midpoint could round onto an edge.
    old_index = np.searchsorted(old_edges_eV, cuts[:-1], side="right") - 1
    new_index = np.searchsorted(new_edges_eV, cuts[:-1], side="right") - 1
    pieces = density_per_eV[old_index] * np.diff(cuts)
    counts = np.bincount(new_index, weights=pieces, minlength=len(new_edges_eV) - 1)
    return np.asarray(counts, dtype=np.float64)


def write_spectrum(
    spectrum: Spectrum,
    path: Path | str,
    *,
    bands: Mapping[str, tuple[ArrayLike, ArrayLike]] | None = None,
    bands_said: str = "",
) -> None:
    """Write a spectrum as CSV, all at once: a reader sees the old file or the new one, never a part.

    The columns are `energy_low_eV,energy_high_eV,rate_<element>...,rate`; rates are per kg of target, day and
    keV, averaged over the bin. Comment lines stand before them: `# made by: {...}`, canonical JSON of source and
    observation; `# bands: ...`, what further columns hold; `# note: ...`, one each; `# key: value`, the
    metadata. Numbers have all their digits, so that `read_spectrum` gives back the same spectrum. Folders that
    do not exist are made.

    Parameters
    ----------
    spectrum : Spectrum
        What to write.
    path : Path
        The file; an existing one is replaced.
    bands : mapping of str to ((n,) float, (n,) float), optional
        Lower and upper rates by name, as further columns `rate_lower_<name>,rate_upper_<name>`.
    bands_said : str
        What they are, for the comment `# bands: ...`.

    Raises
    ------
    InputError
        If its ending is that of no text, or the folder cannot be made or written to.
    """
    path = Path(path)
    if path.suffix.lower() not in _TEXT:
        raise InputError(
            f"{path}: a spectrum is written as .csv (or .txt, .dat), or as histograms, {', '.join(SUFFIXES)}; "
            "choose one of these endings"
        )
    text = io.StringIO()
    text.write(f"# {_UNIT_NOTE}\n# {_ENERGY_KIND}: {spectrum.energy_kind}\n")
    made_by = plain(_MadeBy(source=spectrum.source, observation=spectrum.observation))
    if made_by:
        text.write(f"# {_MADE_BY}: {canonical_json(made_by)}\n")
    if bands_said:
        text.write(f"# {_BANDS}: {_one_line(bands_said)}\n")
    for note in spectrum.notes:
        text.write(f"# {_NOTE}: {note}\n")
    for key, value in spectrum.metadata.items():
        text.write(f"# {key}: {value}\n")
    table = csv.writer(text, lineterminator="\n")
    limits = [
        (prefix + name, side)
        for name, pair in (bands or {}).items()
        for prefix, side in zip(_BAND, pair, strict=True)
    ]
    table.writerow(
        [
            _LOW,
            _HIGH,
            *(f"{_TOTAL}_{element}" for element in spectrum.elements),
            _TOTAL,
            *(name for name, _ in limits),
        ]
    )
    columns = [
        spectrum.energy_edges_eV[:-1],
        spectrum.energy_edges_eV[1:],
        *(spectrum.rate_per_kg_day_keV[element] for element in spectrum.elements),
        spectrum.total_rate_per_kg_day_keV,
        *(np.asarray(side, dtype=np.float64) for _, side in limits),
    ]
    for row in zip(*columns, strict=True):
        table.writerow([repr(float(value)) for value in row])
    write_file(path, text.getvalue(), remedy="give another place")


def read_bands(path: Path | str) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Return the lower and upper rates, (n,) each, of the error bands in a file of `write_spectrum`, by name.

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    columns = read_table(Path(path), example=_EXAMPLE, check_names=_check_names).columns
    low, high = _BAND
    found = [name.removeprefix(low) for name in columns if name.startswith(low)]
    return {name: (columns[low + name], columns[high + name]) for name in found if high + name in columns}


def read_spectrum(path: Path | str) -> Spectrum:
    """Return the spectrum that a text file holds, as `write_spectrum` or another program wrote it.

    The columns are `energy_low_eV` and `energy_high_eV`, or one of bin centres, `energy_eV`, which then lie at
    equal steps, or at equal ratios with a comment `# centres: geometric` or `# centres: arithmetic`; and
    `rate_<element>` for one or more elements, or `rate`; with both, `rate` must be
    their sum to 0.1 %. Energies named in keV (`energy_low_keV`) become eV. Rates are per kg of target, day and
    keV, averaged over the bin; negative ones, as after a background was subtracted, are taken with a note. Bins
    touch and increase. Columns of error bands (`rate_lower_<name>`, `rate_upper_<name>`) are passed over. See
    `read_table` for how cells are separated. Comments `# energy: observed` (the bins are not of recoil energy),
    `# made by:` and `# note:` are as in `write_spectrum`; others of the form `# key: value` become metadata.

    Parameters
    ----------
    path : Path or str
        The file.

    Raises
    ------
    InputError
        If the file cannot be read or is not such a table; the message names the line, what was found, what
        was expected and what to do.
    """
    path = Path(path)
    table = read_table(path, example=_EXAMPLE, shorter=_OF_CENTRES, check_names=_check_names)
    rates = _check_rates(path, table.numbers, table.columns)
    comments, notes = _comments(table.comments)
    edges = _edges_of(path, table, centres=comments.pop(_CENTRES_ARE, ""))
    kind = comments.pop(_ENERGY_KIND, "recoil")
    if kind not in ("recoil", "observed"):
        raise InputError(
            f"{path}: the comment '# {_ENERGY_KIND}: {kind}' is not understood, expected recoil or observed there."
        )
    comments.pop(_BANDS, None)  # of columns that are passed over
    made_by, complaint = _made_by(comments.pop(_MADE_BY, "{}"))
    negative = np.any([rate < 0 for rate in rates.values()], axis=0)
    if negative.any():
        complaint += (
            f"{int(negative.sum())} of {len(negative)} bins have a negative rate, as after a background was "
            "subtracted; they are taken as they stand",
        )
    return Spectrum(
        energy_edges_eV=edges,
        rate_per_kg_day_keV=rates,
        energy_kind="observed" if kind == "observed" else "recoil",
        source=made_by.source,
        observation=made_by.observation,
        notes=(*notes, *complaint),
        metadata=comments,
    )


def _comments(lines: Iterable[str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return comments of the form `key: value`, and the notes among them."""
    found: dict[str, str] = {}
    notes: list[str] = []
    for line in lines:
        key, colon, value = line.partition(":")
        if colon and _one_line(key) == _NOTE:
            notes.append(value)
        elif colon and key.strip():
            found[_one_line(key)] = _one_line(value)
    return found, tuple(notes)


def _made_by(text: str) -> tuple[_MadeBy, tuple[str, ...]]:
    """Return what a line says that a spectrum was made by; or nothing, and a note: the numbers are there."""
    try:
        return build(_MadeBy, json.loads(text), origin=_MADE_BY), ()
    except (ValueError, TypeError, InputError) as error:
        return _MadeBy(), (
            f"the line '# {_MADE_BY}' is not understood ({error}): taken as a file of another program",
        )


def _one_line(text: str) -> str:
    return " ".join(str(text).split())


def _did_you_mean(found: str, known: Iterable[str]) -> str:
    close = closest(found, known)
    return f" Did you mean {close}?" if close else ""


def _check_names(where: str, names: list[str]) -> list[str]:
    """Return the names of the columns, having made sure that they are those of a spectrum."""
    energies = [f"{name}_{unit}" for name in ("energy_low", "energy_high", *_CENTRES) for unit in _UNITS_eV]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{where}: the column {name} stands there twice, expected once; drop one.")
        element = name.removeprefix(f"{_TOTAL}_")
        if (
            name in energies
            or name == _TOTAL
            or name.startswith(_BAND)
            or (element != name and atomic_numbers.get(element, 0) > 0)
        ):
            continue
        known = [*energies, _TOTAL, *(f"{_TOTAL}_{symbol}" for symbol in atomic_numbers)]
        # more letters than any element's symbol and a slip: `rate_per_keV` is no `rate_V`
        is_total = element != name and len(element) > 3
        meant = f" Did you mean {_TOTAL}, per kg, day and keV?" if is_total else _did_you_mean(name, known)
        if name.lower() in _COUNTS:
            meant = (
                " Counts are no rate: divide them by the exposure in kg day and by the width of their bin in keV, "
                f"and name the column {_TOTAL}."
            )
        if f"{name}_eV" in energies:
            meant = f" Name its unit: {name}_eV or {name}_keV."
        raise InputError(
            f"{where}: the column {name!r} is unknown, expected {_LOW}, {_HIGH} (or {_CENTRES[0]}_eV, of bin "
            f"centres), {_TOTAL}_<element> or {_TOTAL}.{meant}"
        )
    found = {name for name in names if name in energies}
    ways = [{f"energy_low_{unit}", f"energy_high_{unit}"} for unit in _UNITS_eV]
    ways += [{f"{name}_{unit}"} for name in _CENTRES for unit in _UNITS_eV]
    missing = [] if found in ways else [name for name in (_LOW, _HIGH) if name not in names]
    if not any(name.startswith(_TOTAL) and not name.startswith(_BAND) for name in names):
        missing.append(f"{_TOTAL} (or {_TOTAL}_<element>)")
    if missing:
        raise InputError(f"{where}: found {', '.join(names)}; missing: {', '.join(missing)}. Add what is missing.")
    if found not in ways:
        raise InputError(
            f"{where}: found {', '.join(sorted(found))}, expected {_LOW} and {_HIGH} alone; drop the others."
        )
    return names


def _edges_of(path: Path, table: Table, *, centres: str) -> NDArray[np.float64]:
    """Return the (n + 1,) edges in eV that the columns of energy tell; `centres` says which middles they are."""
    if centres not in ("", *_MIDDLES):
        raise InputError(
            f"{path}: the comment '# {_CENTRES_ARE}: {centres}' is not understood, "
            f"expected {' or '.join(_MIDDLES)}"
        )
    for unit, scale in _UNITS_eV.items():
        low, high = (table.columns.get(f"energy_{side}_{unit}") for side in ("low", "high"))
        if low is not None and high is not None:
            return _join_bins(path, table.numbers, low * scale, high * scale)
        for name in _CENTRES:
            if (energies := table.columns.get(f"{name}_{unit}")) is not None:
                return _around(table.where, energies * scale, centres=centres)
    raise InputError(f"{table.where}: no column of energy, expected {_LOW} and {_HIGH}")


def _around(where: str, centres_eV: NDArray[np.float64], *, centres: str) -> NDArray[np.float64]:
    """Return the edges of bins of equal width, or of equal ratio, around their centres.

    Bins of equal ratio r have centres of equal ratio whichever middle was meant; the arithmetic ones lie higher by
    (1 + r)/(2 sqrt(r)). Where that is more than a hundredth of a bin, the file must say.
    """
    if len(centres_eV) > 1 and np.all(np.diff(centres_eV) > 0):
        n = len(centres_eV)
        step = (centres_eV[-1] - centres_eV[0]) / (n - 1)
        if np.all(np.abs(np.diff(centres_eV) - step) <= _STEP_TOLERANCE * step):
            edges = centres_eV[0] + step * (np.arange(n + 1) - 0.5)
            edges[0] = 0.0 if abs(edges[0]) <= _STEP_TOLERANCE * step else edges[0]
            return check_edges(edges, name=where)
        if centres_eV[0] > 0:
            step = np.log(centres_eV[-1] / centres_eV[0]) / (n - 1)
            if np.all(np.abs(np.diff(np.log(centres_eV)) - step) <= _STEP_TOLERANCE * step):
                edges = centres_eV[0] * np.exp(step * (np.arange(n + 1) - 0.5))
                higher = math.cosh(step / 2)
                if not centres and higher - 1 > _SAME_MIDDLE * 2 * math.sinh(step / 2):
                    raise InputError(
                        f"{where}: bin centres at equal ratios are those of bins from {edges[0]:.6g} to "
                        f"{edges[-1]:.6g} eV if they are geometric middles, from {edges[0] / higher:.6g} to "
                        f"{edges[-1] / higher:.6g} eV if arithmetic ones; give the columns {_LOW} and {_HIGH}, or "
                        f"say which by a line '# {_CENTRES_ARE}: {_MIDDLES[0]}' (or {_MIDDLES[1]})"
                    )
                return check_edges(edges / (higher if centres == _MIDDLES[1] else 1.0), name=where)
    raise InputError(
        f"{where}: bin centres at other than equal steps or ratios do not tell the bins; give the columns {_LOW} "
        f"and {_HIGH}"
    )


def _join_bins(
    path: Path, numbers: Sequence[int], low_eV: NDArray[np.float64], high_eV: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the (n + 1,) edges of bins that touch."""
    for index, number in enumerate(numbers):
        low, high = low_eV[index], high_eV[index]
        if high <= low:
            raise InputError(
                f"{path}, line {number}: the bin goes from {low:g} to {high:g} eV, expected {_HIGH} above {_LOW}."
            )
        if index == 0:
            continue
        before = high_eV[index - 1]
        if low < low_eV[index - 1]:
            raise InputError(
                f"{path}, line {number}: the bin begins at {low:g} eV, below the one before it "
                f"({low_eV[index - 1]:g} eV); expected increasing energies, sort the lines."
            )
        if abs(low - before) > _EDGE_TOLERANCE * max(abs(low), abs(before)):
            what = "overlaps the one before it" if low < before else "leaves a gap to the one before it"
            raise InputError(
                f"{path}, line {number}: the bin from {low:g} eV {what}, which ends at {before:g} eV; "
                "expected bins that "
                "touch" + (", put a line with rate 0 into the gap." if low > before else ".")
            )
    return check_edges(np.append(low_eV, high_eV[-1]), name=str(path))


def _check_rates(
    path: Path, numbers: Sequence[int], columns: Mapping[str, NDArray[np.float64]]
) -> dict[str, NDArray[np.float64]]:
    """Return the rates by element, having compared their sum to the column `rate` if there are both."""
    prefix = f"{_TOTAL}_"
    rates = {
        name.removeprefix(prefix): column
        for name, column in columns.items()
        if name.startswith(prefix) and not name.startswith(_BAND)
    }
    if not rates:
        return {UNRESOLVED: columns[_TOTAL]}
    if _TOTAL in columns:
        total = np.sum(list(rates.values()), axis=0)
        size = np.sum(np.abs(list(rates.values())), axis=0)
        wrong = np.abs(columns[_TOTAL] - total) > _SUM_TOLERANCE * np.maximum(size, np.abs(columns[_TOTAL]))
        if np.any(wrong):
            index = int(np.argmax(wrong))
            raise InputError(
                f"{path}, line {numbers[index]}: {_TOTAL} is {columns[_TOTAL][index]:g} but the elements "
                f"sum to {total[index]:g}; expected the same to 0.1 %, correct one of them or drop the "
                f"column {_TOTAL}."
            )
    return rates
