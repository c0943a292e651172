"""The table of thermal-neutron capture: cross-sections, primary gammas and level decays, each with its source."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import periodictable

from cascade_driver.errors import InputError
from cascade_driver.files import readable
from cascade_driver.schema import read_toml
from cascade_driver.table import csv_cells
from cascade_driver.text import number_of
from cascade_driver.units import AMU_MeV

#: Where the table lies that ships with the package.
_HERE = Path(__file__).parent

ISOTOPES, LINES, LEVELS = "capture_isotopes.toml", "capture_lines.csv", "capture_levels.csv"

LINE_COLUMNS = ("target", "gamma_keV", "gamma_error_keV", "final_level_keV", "per_capture", "per_capture_error")
LEVEL_COLUMNS = ("target", "level_keV", "half_life_fs", "final_level_keV", "share")

#: Levels that live longer end an event: what they emit is another pulse of the detector.
ISOMER_fs = 1e12

#: Primary gammas of one isotope that add up to more than this per capture are an error of the table, not of the
#: measurements.
LARGEST_SUM = 1.5

#: A primary gamma, the recoil and the level where it ends are the separation energy together, but for errors.
_SPARE_keV = 50.0

#: Shares of the gammas of one level are printed with few digits; in the shipped table they sum to 1.002 at most.
_LARGEST_SHARES = 1.02


@dataclass(frozen=True, kw_only=True)
class PrimaryGamma:
    """A gamma from the capture state to a level of the compound nucleus.

    Attributes
    ----------
    gamma_keV : float
        Its energy.
    gamma_error_keV : float or None
        Standard error; none where none is given.
    final_level_keV : float
        Level that it ends at; 0 is the ground state.
    per_capture : float
        Number of such gammas per capture in the isotope: its partial over the thermal cross-section. The
        product with the table's cross-section is what was measured.
    per_capture_error : float or None
        Standard error of the partial cross-section over the thermal one, whose own error is not in it.
    source : str
        Full citation.
    """

    gamma_keV: float
    gamma_error_keV: float | None
    final_level_keV: float
    per_capture: float
    per_capture_error: float | None
    source: str


@dataclass(frozen=True, kw_only=True)
class LevelDecay:
    """One gamma of one level.

    Attributes
    ----------
    level_keV, final_level_keV : float
        From where to where.
    gamma_keV : float
        Energy of the gamma: their difference, less the recoil of the nucleus.
    share : float
        Of all gammas of the level; internal conversion is left out.
    half_life_fs : float or None
        Of the level; none where it is not known.
    """

    level_keV: float
    gamma_keV: float
    final_level_keV: float
    share: float
    half_life_fs: float | None


@dataclass(frozen=True, kw_only=True, eq=False)
class CaptureIsotope:
    """What is known of the capture of a thermal neutron in one isotope.

    Attributes
    ----------
    target : str
        Symbol and mass number before the capture, such as W182.
    symbol : str
        Chemical symbol.
    mass_number : int
        Before the capture.
    compound_mass_u : float
        Mass of the atom after it, which is what recoils (AME2020, doi:10.1088/1674-1137/abddaf).
    cross_section_b, cross_section_error_b : float
        At 25.3 meV (2200 m/s).
    neutron_separation_keV, neutron_separation_error_keV : float
        Energy that the capture sets free.
    lines : tuple of PrimaryGamma
        In falling energy.
    decays : mapping of float to tuple of LevelDecay
        By energy of the level (keV).
    sources : tuple of str
        Citations of the cross-section and the separation energy.
    note : str
        What is left out, and why.
    """

    target: str
    symbol: str
    mass_number: int
    compound_mass_u: float
    cross_section_b: float
    cross_section_error_b: float
    neutron_separation_keV: float
    neutron_separation_error_keV: float
    lines: tuple[PrimaryGamma, ...]
    decays: Mapping[float, tuple[LevelDecay, ...]]
    sources: tuple[str, str]
    note: str = ""

    @property
    def tabulated_per_capture(self) -> float:
        """Sum of the intensities of all primary gammas in the table; 1 would be all captures."""
        return sum(line.per_capture for line in self.lines)

    @property
    def tabulated_error(self) -> float:
        """Standard error of that sum: of the intensities, and of the cross-section that they are relative to."""
        relative = self.cross_section_error_b / self.cross_section_b
        lines = math.hypot(*(line.per_capture_error or 0.0 for line in self.lines))
        return math.hypot(lines, relative * self.tabulated_per_capture)

    @property
    def levels_keV(self) -> tuple[float, ...]:
        """All levels that gammas of the table begin or end at, from the ground state up."""
        ends = [line.final_level_keV for line in self.lines]
        ends += [decay.final_level_keV for decays in self.decays.values() for decay in decays]
        return tuple(sorted({0.0, *ends, *self.decays}))

    def mean_life_fs(self, level_keV: float) -> float | None:
        """Return the mean life of a level: none where it is not known, infinite where it ends an event."""
        decays = self.decays.get(level_keV, ())
        if not decays or decays[0].half_life_fs is None:
            return None
        life_fs = decays[0].half_life_fs / math.log(2)
        return math.inf if life_fs > ISOMER_fs else life_fs


def capture_table(folder: Path | None = None) -> Mapping[str, CaptureIsotope]:
    """Return the isotopes of the capture table by name, such as W182.

    The three files of a table are

    - `capture_isotopes.toml`: `[sources]`, citations by a key; `[[isotopes]]` with `target` (W182, before the
      capture), `cross_section_b` at 25.3 meV and `cross_section_error_b`, `neutron_separation_keV` and
      `neutron_separation_error_keV`, the keys `cross_section_source`, `neutron_separation_source` and
      `gammas_source` of their sources, and perhaps a `note`;
    - `capture_lines.csv`: `LINE_COLUMNS`, one primary gamma a row. `per_capture` is per capture in the isotope;
      errors may be empty;
    - `capture_levels.csv`: `LEVEL_COLUMNS`, one gamma of a level a row: where it ends, its share of the gammas of
      the level, whose half-life may be empty.

    Lines that begin with # are for people. `egaf.write_capture_table` makes them of EGAF.

    Parameters
    ----------
    folder : pathlib.Path, optional
        Of a table of one's own. Elements of which it names an isotope are as it says and nothing else; all others
        are those of the table that ships with the package.

    Raises
    ------
    InputError
        If a file is missing or something in it cannot be; the message names the file and the row.

    Examples
    --------
    >>> line = capture_table()["W182"].lines[0]
    >>> line.gamma_keV, line.final_level_keV, line.per_capture
    (6190.78, 0.0, 0.08204)
    """
    shipped = read_capture_table(_HERE.resolve())
    if folder is None:
        return shipped
    own = read_capture_table(folder.resolve())
    elements = {isotope.symbol for isotope in own.values()}
    return {name: isotope for name, isotope in shipped.items() if isotope.symbol not in elements} | dict(own)


@functools.lru_cache(maxsize=8)
def read_capture_table(folder: Path) -> Mapping[str, CaptureIsotope]:
    """Return the isotopes of one folder alone, see `capture_table`; its path is whole."""
    path = folder / ISOTOPES
    content = read_toml(path)
    sources = content.get("sources", {})
    entries: Sequence[Mapping[str, object]] = content.get("isotopes", [])
    known = {_target(f"{path}, isotope {n}", entry): entry for n, entry in enumerate(entries, start=1)}
    if len(known) != len(entries):
        raise InputError(f"{path}: {len(entries)} isotopes of {len(known)} names; name each once")
    lines: dict[str, list[PrimaryGamma]] = {}
    for where, row in _rows(folder / LINES, LINE_COLUMNS, known=known):
        lines.setdefault(row["target"], []).append(
            PrimaryGamma(
                gamma_keV=_number(where, row, "gamma_keV", positive=True),
                gamma_error_keV=_optional(where, row, "gamma_error_keV"),
                final_level_keV=_number(where, row, "final_level_keV"),
                per_capture=_number(where, row, "per_capture", positive=True),
                per_capture_error=_optional(where, row, "per_capture_error"),
                source=_source(where, str(known[row["target"]].get("gammas_source", "")), sources),
            )
        )
    decays: dict[str, dict[float, list[LevelDecay]]] = {}
    for where, row in _rows(folder / LEVELS, LEVEL_COLUMNS, known=known):
        level, final = _number(where, row, "level_keV", positive=True), _number(where, row, "final_level_keV")
        decay = LevelDecay(
            level_keV=level,
            gamma_keV=level - final - (level - final) ** 2 / (2e3 * _compound_mass_u(row["target"]) * AMU_MeV),
            final_level_keV=final,
            share=_number(where, row, "share", positive=True),
            half_life_fs=_optional(where, row, "half_life_fs"),
        )
        if not decay.final_level_keV < decay.level_keV or decay.share > 1:
            raise InputError(
                f"{where}: a gamma from {decay.level_keV:g} to {decay.final_level_keV:g} keV with share "
                f"{decay.share:g}; expected a lower final level and a share of at most 1"
            )
        decays.setdefault(row["target"], {}).setdefault(decay.level_keV, []).append(decay)
    if not known:
        raise InputError(f"{path}: no [[isotopes]] in it; expected one table per isotope")
    return {
        target: _isotope(f"{path}, isotope {n}", entry, sources, lines=lines, decays=decays)
        for n, (target, entry) in enumerate(known.items(), start=1)
    }


def _target(where: str, entry: Mapping[str, Any]) -> str:
    """Return the name of an isotope whose compound nucleus has a known mass."""
    target = str(entry.get("target", ""))
    if re.fullmatch(r"[A-Z][a-z]?\d+", target) is None:
        raise InputError(f"{where}: target is {target!r}, expected symbol and mass number such as W182")
    symbol, mass_number = _symbol_and_mass_number(target)
    element = getattr(periodictable, symbol, None)
    if element is None or mass_number + 1 not in element.isotopes:
        raise InputError(f"{where}: no mass is known for {symbol}{mass_number + 1}, which {target} becomes")
    return target


def _symbol_and_mass_number(target: str) -> tuple[str, int]:
    symbol = target.rstrip("0123456789")
    return symbol, int(target[len(symbol) :])


@functools.cache
def _compound_mass_u(target: str) -> float:
    symbol, mass_number = _symbol_and_mass_number(target)
    return float(getattr(periodictable, symbol)[mass_number + 1].mass)


def _isotope(
    where: str,
    entry: Mapping[str, Any],
    sources: Mapping[str, str],
    *,
    lines: Mapping[str, list[PrimaryGamma]],
    decays: Mapping[str, Mapping[float, list[LevelDecay]]],
) -> CaptureIsotope:
    target = str(entry["target"])
    symbol, mass_number = _symbol_and_mass_number(target)

    def number(key: str) -> float:
        value = entry.get(key)
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not (math.isfinite(value) and value > 0)
        ):
            raise InputError(f"{where}: `{key}` is {value!r}, expected a positive number")
        return float(value)

    ours = tuple(sorted(lines.get(target, ()), key=lambda line: -line.gamma_keV))
    if (whole := sum(line.per_capture for line in ours)) > LARGEST_SUM:
        raise InputError(
            f"{where}: the primary gammas of {target} add up to {whole:.3g} per capture, expected at most "
            f"{LARGEST_SUM:g}; per_capture is the partial over the thermal cross-section of the isotope"
        )
    separation_keV = number("neutron_separation_keV")
    for line in ours:
        recoil_keV = line.gamma_keV**2 / (2e3 * _compound_mass_u(target) * AMU_MeV)
        miss_keV = line.gamma_keV + recoil_keV + line.final_level_keV - separation_keV
        if abs(miss_keV) > _SPARE_keV:
            raise InputError(
                f"{where}: a gamma of {line.gamma_keV:g} keV to a level of {line.final_level_keV:g} keV is "
                f"{'more' if miss_keV > 0 else 'less'} than the {separation_keV:g} keV that a capture in {target} "
                f"sets free; {LINES} has primary gammas alone, which end at their level, in keV: correct the line"
            )
    for level, rows in decays.get(target, {}).items():
        if (shares := sum(row.share for row in rows)) > _LARGEST_SHARES:
            raise InputError(
                f"{where}: the shares of the gammas of {target} from {level:g} keV add up to {shares:.4g}, "
                f"expected at most 1; in {LEVELS} a share is of all gammas of its level"
            )
    return CaptureIsotope(
        target=target,
        symbol=symbol,
        mass_number=mass_number,
        compound_mass_u=_compound_mass_u(target),
        cross_section_b=number("cross_section_b"),
        cross_section_error_b=number("cross_section_error_b"),
        neutron_separation_keV=separation_keV,
        neutron_separation_error_keV=number("neutron_separation_error_keV"),
        lines=ours,
        decays={level: tuple(rows) for level, rows in decays.get(target, {}).items()},
        sources=(
            _source(where, str(entry.get("cross_section_source", "")), sources),
            _source(where, str(entry.get("neutron_separation_source", "")), sources),
        ),
        note=str(entry.get("note", "")),
    )


def _rows(path: Path, columns: tuple[str, ...], *, known: Mapping[str, Any]) -> list[tuple[str, dict[str, str]]]:
    """Return each row of a table with the words that name it in a message."""
    path = readable(path, what="part of a capture table")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    numbered = [(n, line) for n, line in enumerate(text.splitlines(), start=1) if line and line[0] != "#"]
    if not numbered or tuple(numbered[0][1].split(",")) != columns:
        raise InputError(f"{path}: expected the columns {','.join(columns)}")
    rows = []
    for n, line in numbered[1:]:
        where = f"{path}, line {n}"
        cells = csv_cells(where, line)
        if len(cells) != len(columns):
            raise InputError(f"{where}: {len(cells)} cells, expected {len(columns)}: {','.join(columns)}")
        row = dict(zip(columns, cells, strict=True))
        if row["target"] not in known:
            raise InputError(f"{where}: target {row['target']!r} is not in {ISOTOPES}; add it there")
        rows.append((where, row))
    return rows


def _number(where: str, row: Mapping[str, str], name: str, *, positive: bool = False) -> float:
    try:
        value = number_of(row[name])
    except ValueError:
        raise InputError(f"{where}: `{name}` is {row[name]!r}, expected a number") from None
    if not math.isfinite(value) or value < 0 or (positive and value == 0):
        expected = "a positive number" if positive else "0 or a positive number"
        raise InputError(f"{where}: `{name}` is {value:g}, expected {expected}")
    return value


def _optional(where: str, row: Mapping[str, str], name: str) -> float | None:
    return _number(where, row, name) if row[name].strip() else None


def _source(where: str, key: str, sources: Mapping[str, str]) -> str:
    if key not in sources:
        raise InputError(f"{where}: source {key!r} is not under [sources] of {ISOTOPES}; cite it there")
    return str(sources[key])
