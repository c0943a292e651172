"""What detectors have measured at low energies: counts in bins, with exposure and efficiency.

The files of the EXCESS workshop (Adari et al. 2022, doi:10.21468/SciPostPhysProc.9.001; data at
github.com/fewagner/excess, CC BY 4.0) are read as they are: a list of events in keV, or bins in keV with counts or
rates; beside NAME.txt stand NAME_exposure.txt, in kg day, and NAME_eff.txt, of energies in keV, too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cascade_driver.errors import InputError
from cascade_driver.files import data_folder, text_of
from cascade_driver.schema import parameters
from cascade_driver.spectrum import UNRESOLVED, Spectrum, check_edges, read_spectrum
from cascade_driver.text import number_of
from cascade_driver.units import EV_PER_KEV, SECONDS_PER_DAY

#: Of the metadata of a spectrum: what counts are made of again.
_EXPOSURE, _EFFICIENCY = "exposure_kg_day", "efficiency"

#: Bins whose edges differ by less than this share of their width touch: files are printed with few digits.
_TOUCH = 0.01


@dataclass(frozen=True, kw_only=True, eq=False)
class Counts:
    """A counted spectrum.

    Attributes
    ----------
    name : str
    energy_edges_eV : (n + 1,) float
    events : (n,) float
        Whole numbers where a file gives them; a file of rates is turned back with the exposure.
    exposure_kg_day : float
        Mass times live time.
    efficiency : (n,) float
        Share of the events in a bin that are seen.
    given_as : {'events', 'counts', 'rates'}
        What the file holds.
    efficiency_range_eV : (float, float)
        The energies that the efficiency was tabulated between; below and above, its ends are held.
    """

    name: str
    energy_edges_eV: NDArray[np.float64]
    events: NDArray[np.float64]
    exposure_kg_day: float
    efficiency: NDArray[np.float64]
    given_as: Literal["events", "counts", "rates"] = "counts"
    efficiency_range_eV: tuple[float, float] = (-math.inf, math.inf)

    def __post_init__(self) -> None:
        if not (math.isfinite(self.exposure_kg_day) and self.exposure_kg_day > 0):
            raise InputError(f"{self.name}: an exposure of {self.exposure_kg_day:g} kg day, expected one above 0.")
        if not np.all(np.isfinite(self.events) & (self.events >= 0)):
            low = float(self.energy_edges_eV[:-1][~(self.events >= 0)][0])
            raise InputError(
                f"{self.name}: less than no event in the bin from {low:g} eV, expected counts of at least 0."
            )
        if not np.all((self.efficiency > 0) & (self.efficiency <= 1)):
            raise InputError(
                f"{self.name}: an efficiency of {self.efficiency.min():g} to {self.efficiency.max():g}, expected "
                "above 0 and at most 1; leave out the bins where nothing is seen."
            )

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know: bins whose efficiency is no value of the table."""
        low, high = self.efficiency_range_eV
        centres = 0.5 * (self.energy_edges_eV[1:] + self.energy_edges_eV[:-1])
        outside = int(np.count_nonzero((centres < low) | (centres > high)))
        if not outside:
            return ()
        return (
            f"the efficiency is tabulated from {low:g} to {high:g} eV; {outside} of {len(centres)} bins lie "
            "outside and have that of its nearer end; its energies are in the unit of the values (--unit)",
        )

    @property
    def exposure_per_rate(self) -> NDArray[np.float64]:
        """(n,) events in a bin per rate of 1 /(kg day keV)."""
        return self.exposure_kg_day * self.efficiency * np.diff(self.energy_edges_eV) / EV_PER_KEV

    def within(self, low_eV: float, high_eV: float) -> Counts:
        """Return the bins that lie between two energies as a whole.

        Raises
        ------
        InputError
            If there is none.
        """
        slack = 1e-9 * max(abs(low_eV), abs(high_eV))
        inside = (self.energy_edges_eV[:-1] >= low_eV - slack) & (self.energy_edges_eV[1:] <= high_eV + slack)
        if not inside.any():
            raise InputError(
                f"{self.name}: no bin between {low_eV:g} and {high_eV:g} eV; it has "
                f"{self.energy_edges_eV[0]:g} to {self.energy_edges_eV[-1]:g} eV."
            )
        first, last = np.flatnonzero(inside)[[0, -1]]
        return replace(
            self,
            energy_edges_eV=self.energy_edges_eV[first : last + 2],
            events=self.events[first : last + 1],
            efficiency=self.efficiency[first : last + 1],
        )

    def spectrum(self) -> Spectrum:
        """Return the rate, corrected for the efficiency; its metadata hold what counts are made of again."""
        each = self.efficiency
        told = [f"{each[0]:.9g}"] if np.all(each == each[0]) else [f"{one:.9g}" for one in each]
        return Spectrum(
            energy_edges_eV=self.energy_edges_eV,
            rate_per_kg_day_keV={UNRESOLVED: self.events / self.exposure_per_rate},
            energy_kind="observed",
            metadata={
                "source": self.name,
                _EXPOSURE: repr(self.exposure_kg_day),
                _EFFICIENCY: " ".join(told),
            },
        )


def counts_of(spectrum: Spectrum, *, name: str) -> Counts:
    """Return the counts behind a measured spectrum, from the exposure and efficiency in its metadata.

    Raises
    ------
    InputError
        If it does not say its exposure.
    """
    try:
        exposure = float(spectrum.metadata[_EXPOSURE])
        efficiency = np.array([float(one) for one in spectrum.metadata.get(_EFFICIENCY, "1").split()])
        efficiency = np.broadcast_to(efficiency, len(spectrum.energy_centers_eV)).copy()
    except KeyError:
        raise InputError(
            f"{name}: no exposure, which turns rates into counts; write it with `cascade background read`, or a "
            f"line '# {_EXPOSURE}: X' into the file."
        ) from None
    except ValueError:
        raise InputError(
            f"{name}: '# {_EXPOSURE}' and '# {_EFFICIENCY}' are not understood, expected a number of kg day, and "
            "one efficiency or one per bin."
        ) from None
    made = Counts(
        name=name,
        energy_edges_eV=spectrum.energy_edges_eV,
        events=np.zeros(len(efficiency)),
        exposure_kg_day=exposure,
        efficiency=efficiency,
    )
    events = spectrum.total_rate_per_kg_day_keV * made.exposure_per_rate
    whole = np.round(events)
    events = np.where(np.abs(events - whole) < 1e-3, whole, events)
    return replace(made, events=events)


def read_workshop(
    path: Path | str,
    *,
    name: str = "",
    unit: Literal["keV", "eV"] = "keV",
    exposure_kg_day: Annotated[float, Field(gt=0)] | None = None,
    efficiency: Annotated[float, Field(gt=0, le=1)] | None = None,
    energy_eV: tuple[float, float] | None = None,
    bins: Annotated[int, Field(ge=1)] | None = None,
    values: Literal["counts", "rates"] | None = None,
) -> Counts:
    """Return the counts in a file of the EXCESS workshop.

    One column is a list of events. Three are lower and upper edges and counts, or rates if the file
    `NAME_exposure.txt` beside says 1. Two are bin centres at equal steps and rates. Lines before the first number
    are passed over.

    Parameters
    ----------
    path : Path or str
    name : str
        Of the detector; by default that of the file.
    unit : {'keV', 'eV'}
        Of energies, also of those in NAME_eff.txt; rates are per kg, keV and day, or per g, eV and day.
    exposure_kg_day : float, optional
        Mass times live time, in kg day; by default that of the file beside.
    efficiency : float, optional
        Share of events that is seen; by default that of NAME_eff.txt, or 1.
    energy_eV : (float, float), optional
        Range to take; by default all bins, of events from 0 to the largest.
    bins : int, optional
        Of events, in that range; by default 100.
    values : {'counts', 'rates'}, optional
        What the last column of bins holds; by default rates of two columns, or where the exposure beside is 1.

    Raises
    ------
    InputError
        If the file is none of these, or an exposure is missing.
    """
    path = Path(path)
    rows = _numbers(path)
    scale = EV_PER_KEV if unit == "keV" else 1.0
    beside = _beside(path, "exposure")
    told = float(beside[0, 0]) if beside is not None else None
    exposure = exposure_kg_day if exposure_kg_day is not None else None if told == 1 else told
    if exposure is None:
        said = f" ({path.stem}_exposure.txt says 1, as beside rates)" if told == 1 else ""
        raise InputError(f"{path}: the exposure is not known{said}; give it with --exposure-kg-day.")
    table = _efficiency_table(path, scale) if efficiency is None else None
    called = name or path.stem
    events_eV = rows[:, 0] * scale if rows.shape[1] == 1 else None
    if events_eV is not None:
        if values is not None:
            raise InputError(f"{path}: a list of events, which has no {values}; leave out --values.")
        low, high = energy_eV or (0.0, float(rows.max()) * scale)
        edges = check_edges(np.linspace(low, high, (bins or 100) + 1), name="energy_eV")
        events, _ = np.histogram(events_eV, bins=edges)
        made, is_rate = events.astype(np.float64), False
    elif bins is not None:
        raise InputError(f"{path}: it has bins already; leave out --bins.")
    else:
        edges, made = _edges(path, rows, scale), rows[:, -1]
        is_rate = values == "rates" if values is not None else rows.shape[1] == 2 or told == 1
    counts = Counts(
        name=called,
        energy_edges_eV=edges,
        events=np.zeros(len(made)),
        exposure_kg_day=exposure,
        efficiency=_efficiency(table, edges, events_eV=events_eV) * (1.0 if efficiency is None else efficiency),
        given_as="events" if events_eV is not None else "rates" if is_rate else "counts",
        efficiency_range_eV=(-math.inf, math.inf) if table is None else (table[0, 0], table[-1, 0]),
    )
    if is_rate:
        per_kg_keV = 1.0 if unit == "keV" else 1e3 * EV_PER_KEV  # per g and eV
        made = made * per_kg_keV * counts.exposure_per_rate
    counts = replace(counts, events=made)
    return counts if energy_eV is None or rows.shape[1] == 1 else counts.within(*energy_eV)


def _numbers(path: Path) -> NDArray[np.float64]:
    """Return the numbers of a file, (n, 1 to 3), after its header."""
    rows: list[list[float]] = []
    for number, line in enumerate(text_of(path, what="a measured spectrum").splitlines(), 1):
        cells = line.split("#")[0].replace(",", " ").replace(";", " ").split()
        try:
            values = [number_of(cell) for cell in cells]
        except ValueError:
            if rows:
                raise InputError(f"{path}, line {number}: expected numbers, found {line.strip()!r}.") from None
            continue
        if values:
            rows.append(values)
    widths = {len(row) for row in rows}
    if len(widths) != 1 or not widths <= {1, 2, 3}:
        raise InputError(
            f"{path}: found rows of {sorted(widths)} numbers, expected one (events), two (centres, rates) or "
            "three (edges, counts) in all rows."
        )
    table = np.array(rows)
    if not np.all(np.isfinite(table)):
        raise InputError(f"{path}: found something that is no finite number.")
    return table


def _edges(path: Path, rows: NDArray[np.float64], scale: float) -> NDArray[np.float64]:
    """Return the edges in eV of bins that are given by both edges or by centres."""
    if rows.shape[1] == 3:
        low, high = rows[:, 0] * scale, rows[:, 1] * scale
        if np.any(np.abs(low[1:] - high[:-1]) > _TOUCH * (high - low)[1:]):
            raise InputError(f"{path}: bins overlap or leave gaps, expected that each begins where one ends.")
        return check_edges([*low, high[-1]], name=str(path))
    centres = rows[:, 0] * scale
    steps = np.diff(centres)
    if len(steps) < 1 or np.any(np.abs(steps - steps.mean()) > _TOUCH * abs(steps.mean())):
        raise InputError(f"{path}: bin centres at unequal steps; give both edges of each bin.")
    half = 0.5 * steps.mean()
    # Rounded: the lower end of the first bin is 0, not a few 1e-16.
    return check_edges(np.round([*(centres - half), centres[-1] + half], 9), name=str(path))


def _beside(path: Path, what: str) -> NDArray[np.float64] | None:
    """Return the numbers of the file that stands beside a spectrum, NAME_what.txt."""
    other = path.with_name(f"{path.stem}_{what}.txt")
    return _numbers(other) if other.is_file() else None


def _efficiency_table(path: Path, scale: float) -> NDArray[np.float64] | None:
    """Return NAME_eff.txt with rising energies in eV, (n, 2); its energies are in the unit of the values."""
    table = _beside(path, "eff")
    if table is None:
        return None
    if table.shape[1] != 2:
        raise InputError(
            f"{path}: {path.stem}_eff.txt has {table.shape[1]} columns, expected two, energy and efficiency."
        )
    return table[np.argsort(table[:, 0], kind="stable")] * (scale, 1.0)


def _efficiency(
    table: NDArray[np.float64] | None, edges_eV: NDArray[np.float64], *, events_eV: NDArray[np.float64] | None
) -> NDArray[np.float64]:
    """Return the share of the events in each bin that is seen.

    It is that at the centre of the bin, or of events, one by one, the harmonic mean: it may rise within a bin.
    """
    centres = 0.5 * (edges_eV[1:] + edges_eV[:-1])
    if table is None:
        return np.ones(len(centres))
    seen = np.interp(centres, *table.T)
    if events_eV is not None:
        inside = events_eV[(events_eV >= edges_eV[0]) & (events_eV <= edges_eV[-1])]
        each = np.interp(inside, *table.T)
        bins = np.minimum(np.searchsorted(edges_eV, inside, side="right") - 1, len(centres) - 1)
        number = np.bincount(bins, minlength=len(centres))
        with np.errstate(divide="ignore", invalid="ignore"):  # nothing is seen where the efficiency is 0: refused
            seen = np.where(number > 0, number / np.bincount(bins, 1 / each, minlength=len(centres)), seen)
    return np.asarray(seen, dtype=np.float64)


@parameters
class MeasuredFilm:
    """A measured spectrum, and the film that was on its detector: a table `[[measured]]` of an input.

    Attributes
    ----------
    file : str
        Of `cascade background read`; one that ships is found by its name.
    name : str
        For figures; by default that of the file.
    film_area_mm2 : float
        Of all films on the detector.
    detector_mass_kg : float
    days_since_cooldown : float
        Age of the film when the spectrum was taken.
    """

    file: str
    name: str = ""
    film_area_mm2: float = Field(gt=0)
    detector_mass_kg: float = Field(gt=0)
    days_since_cooldown: float = Field(gt=0)

    @property
    def called(self) -> str:
        """How figures and messages call it."""
        return self.name or Path(self.file).stem

    def spectrum(self) -> Spectrum:
        """Read it.

        Raises
        ------
        InputError
            If it cannot be read.
        """
        return read_spectrum(shipped_or_own(Path(self.file)))

    def per_film_area(self, spectrum: Spectrum, *, reference_days: float = 7.0) -> NDArray[np.float64]:
        """Return the spectrum per mm2, s and eV, (n,), scaled to an age: `per_film_area`."""
        return per_film_area(
            spectrum,
            film_area_mm2=self.film_area_mm2,
            detector_mass_kg=self.detector_mass_kg,
            days_since_cooldown=self.days_since_cooldown,
            reference_days=reference_days,
        )


def shipped_or_own(given: Path) -> Path:
    """Return the path of an input about backgrounds; a shipped one is found by its name, where none lies here."""
    shipped = data_folder("inputs") / "backgrounds" / given.name
    is_name = given.parent == Path()
    return shipped if is_name and not given.is_file() and shipped.is_file() else given


def per_film_area(
    measured: Spectrum,
    *,
    film_area_mm2: float,
    detector_mass_kg: float,
    days_since_cooldown: float,
    reference_days: float = 7.0,
) -> NDArray[np.float64]:
    """Return a measured spectrum per mm2, s and eV, (n,), scaled to `reference_days` after the cooldown by 1/t.

    App. B of Romani 2024, doi:10.48550/arXiv.2406.15425: as if all its events came from the film.

    Parameters
    ----------
    measured : Spectrum
        Of a detector, per kg, day and keV.
    film_area_mm2, detector_mass_kg, days_since_cooldown : float
        Of that detector when it was measured.
    reference_days : float

    Raises
    ------
    InputError
        If one of them is not positive.
    """
    given = {
        "film_area_mm2": film_area_mm2,
        "detector_mass_kg": detector_mass_kg,
        "days_since_cooldown": days_since_cooldown,
        "reference_days": reference_days,
    }
    for name, value in given.items():
        if not (math.isfinite(value) and value > 0):
            raise InputError(f"{name} is {value:g}, expected a finite number above 0.")
    per_mm2 = detector_mass_kg / (film_area_mm2 * SECONDS_PER_DAY * EV_PER_KEV)
    return measured.total_rate_per_kg_day_keV * per_mm2 * days_since_cooldown / reference_days
