"""Recoils and gamma cascades that others have computed: tables of energies, and level files."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import periodictable
from ase.data import atomic_numbers
from numpy.typing import ArrayLike, NDArray

from cascade_driver.errors import InputError
from cascade_driver.files import text_of
from cascade_driver.sources.gamma_recoil import GammaCascade, GammaTiming, momentum_exponents, recoil_cumulative
from cascade_driver.spectrum import UNRESOLVED, Spectrum, check_edges
from cascade_driver.table import csv_cells
from cascade_driver.target import parse_target
from cascade_driver.text import number_of
from cascade_driver.units import AMU_MeV

_ENERGY_COLUMNS = ("energy_eV", "recoil_energy_eV")
_WEIGHT = "weight"

_NEUTRON_u = 1.00866491590

#: `weight  isotope  A  [levels in keV]  [lifetimes]`, blanks of any number between.
_LEVEL_ROW = re.compile(r"^\s*(\S+)\s+(\d+)([A-Z][a-z]?)\s+(\d+)\s+\[([^\]]*)\]\s+\[([^\]]*)\]\s*$")


@dataclass(frozen=True, kw_only=True, eq=False)
class RecoilList:
    """Recoil energies, each with a weight.

    Attributes
    ----------
    recoil_energy_eV : (n,) float
    weight : (n,) float
        Relative; 1 where the table has none.
    """

    recoil_energy_eV: NDArray[np.float64]
    weight: NDArray[np.float64]


def read_recoil_list(path: Path | str) -> RecoilList:
    """Return the recoils of a CSV file.

    The column is `energy_eV` or `recoil_energy_eV`; `weight` may stand beside it. Lines that begin
    with # are comments.

    Raises
    ------
    InputError
        If the file cannot be read or a row is no recoil; the message names the line and what to do.
    """
    path = Path(path)
    rows = [(n, line) for n, line in _lines(path) if line.strip() and not line.lstrip().startswith("#")]
    if not rows:
        raise InputError(
            f"{path}: no table found, expected a line energy_eV[,weight] and one recoil per line below it"
        )
    names = [name.strip() for name in csv_cells(f"{path}, line {rows[0][0]}", rows[0][1])]
    energy = [name for name in names if name in _ENERGY_COLUMNS]
    if len(energy) != 1 or set(names) - {energy[0], _WEIGHT} or len(set(names)) != len(names):
        raise InputError(
            f"{path}, line {rows[0][0]}: found the columns {', '.join(names)}; expected energy_eV, and weight if "
            "recoils have different ones"
        )
    if len(rows) == 1:
        raise InputError(f"{path}: the columns have no rows, expected one recoil per line")
    table = []
    for n, line in rows[1:]:
        cells = csv_cells(f"{path}, line {n}", line)
        if len(cells) != len(names):
            raise InputError(f"{path}, line {n}: {len(cells)} values, expected {len(names)}: {', '.join(names)}")
        values = dict(zip(names, (_number(f"{path}, line {n}", cell) for cell in cells), strict=True))
        row = (values[energy[0]], values.get(_WEIGHT, 1.0))
        if not (row[0] >= 0 and row[1] >= 0):
            raise InputError(
                f"{path}, line {n}: energy {row[0]:g} eV with weight {row[1]:g}, expected none below 0; "
                "mend the row"
            )
        table.append(row)
    energies, weights = np.array(table).T
    if not weights.sum() > 0:
        raise InputError(f"{path}: all weights are 0, expected at least one above")
    return RecoilList(recoil_energy_eV=energies, weight=weights)


def spectrum_of_recoils(
    recoils: RecoilList, *, counts_per_kg_day: float, energy_edges_eV: ArrayLike, element: str = UNRESOLVED
) -> Spectrum:
    """Return the spectrum in which a list of recoils, taken together, has a number of counts.

    Parameters
    ----------
    recoils : RecoilList
    counts_per_kg_day : float
        Of the whole list, in or out of the bins.
    energy_edges_eV : (n + 1,) array_like
        The last edge belongs to the last bin.
    element : str
        Which atom recoils; unresolved by default.

    Raises
    ------
    InputError
        If the counts are not positive, or edges or element cannot be.
    """
    edges = check_edges(energy_edges_eV, floor_eV=0.0)
    if not (math.isfinite(counts_per_kg_day) and counts_per_kg_day > 0):
        raise InputError(
            f"counts of a list of recoils are {counts_per_kg_day:g} per kg and day, expected more than 0"
        )
    counts, _ = np.histogram(recoils.recoil_energy_eV, bins=edges, weights=recoils.weight)
    scale = counts_per_kg_day / recoils.weight.sum()
    outside = counts_per_kg_day - float(counts.sum()) * scale
    return Spectrum.from_counts(
        energy_edges_eV=edges,
        counts_per_kg_day={element: counts * scale},
        metadata={
            "source": f"list of {len(recoils.weight)} recoils",
            "counts_out_of_range_per_kg_day": f"{max(outside, 0.0):.6g}",
        },
    )


def read_level_file(path: Path | str, *, lifetime_unit_fs: float = 1.0) -> tuple[GammaCascade, ...]:
    """Return the gamma cascades of a level file as nrCascadeSim reads them (doi:10.21105/joss.03993).

    One cascade per line: its probability, the nucleus *after* capture and its mass number, the levels passed in
    keV down to 0, and their lifetimes; the last of these stands for the ground state and is not used:

        0.07  29Si 29  [1273.37 0]  [291.0 100000000000000.0]

    The first gamma starts at the separation energy of the neutron, taken from the atomic masses (AME2020).

    Parameters
    ----------
    path : pathlib.Path
    lifetime_unit_fs : float
        Unit of the lifetimes. The documentation of the format says attoseconds (1e-3), while the numbers of its
        silicon files are femtoseconds (the level at 1273 keV has a half-life of 290 fs): hence the default.

    Raises
    ------
    InputError
        If the file cannot be read or a line is no such cascade; the message names it and what to do.
    """
    path = Path(path)
    if not (math.isfinite(lifetime_unit_fs) and lifetime_unit_fs > 0):
        raise InputError(f"lifetime unit is {lifetime_unit_fs:g} fs, expected a positive one")
    cascades = []
    for n, line in _lines(path):
        if line.strip() and not line.lstrip().startswith("#"):
            cascades.append(_cascade(f"{path}, line {n}", line, lifetime_unit_fs=lifetime_unit_fs))
    if not cascades:
        raise InputError(f"{path}: no cascade found, expected lines such as 0.07 29Si 29 [1273.4 0] [291 1e14]")
    total = sum(cascade.per_capture for cascade in cascades)
    # 1e-6: weights are printed with many digits
    if total > 1 + 1e-6:
        raise InputError(
            f"{path}: the probabilities sum to {total:.6g}, expected at most 1; divide them by their sum, or "
            "leave out what is counted twice"
        )
    return tuple(cascades)


def _cascade(where: str, line: str, *, lifetime_unit_fs: float) -> GammaCascade:
    match = _LEVEL_ROW.match(line)
    if match is None:
        raise InputError(
            f"{where}: not a cascade, expected probability, nucleus, mass number, [levels] and [lifetimes] such "
            "as 0.07 29Si 29 [1273.4 0] [291 1e14]"
        )
    mass_number, symbol = int(match[2]), match[3]
    if int(match[4]) != mass_number:
        raise InputError(f"{where}: {match[2]}{symbol} with mass number {match[4]}; make them agree")
    if atomic_numbers.get(symbol, 0) == 0:
        raise InputError(f"{where}: {symbol!r} is not a chemical element")
    element = getattr(periodictable, symbol)
    if mass_number not in element.isotopes or mass_number - 1 not in element.isotopes:
        raise InputError(f"{where}: no masses are known for {symbol}{mass_number} and the nucleus before capture")
    levels = [_number(where, text) for text in match[5].split()]
    lives = [_number(where, text) * lifetime_unit_fs for text in match[6].split()]
    weight = _number(where, match[1])
    if len(levels) != len(lives) or not levels or levels[-1] != 0:
        raise InputError(
            f"{where}: {len(levels)} levels and {len(lives)} lifetimes, expected as many, with the ground "
            "state 0 last"
        )
    mass_u = float(element[mass_number].mass)
    separation_keV = (float(element[mass_number - 1].mass) + _NEUTRON_u - mass_u) * AMU_MeV * 1e3
    steps = np.array([separation_keV, *levels])
    if np.any(np.diff(steps) >= 0):
        at = int(np.argmax(np.diff(steps) >= 0))
        raise InputError(
            f"{where}: level {steps[at + 1]:g} keV after {steps[at]:g} keV, expected falling levels below the "
            f"separation energy of {separation_keV:.1f} keV; look for a digit that was lost"
        )
    if not 0 <= weight <= 1 or min(lives) < 0:
        raise InputError(
            f"{where}: probability {weight:g}, shortest lifetime {min(lives):g} fs; expected 0 to 1, and 0 on"
        )
    gaps = -np.diff(steps)
    gammas = gaps - gaps**2 / (2 * mass_u * AMU_MeV * 1e3)  # the recoil takes its share of the first eV
    return GammaCascade(
        symbol=symbol,
        target=f"{symbol}{mass_number - 1}",
        mass_u=mass_u,
        gammas_keV=tuple(float(g) for g in gammas),
        mean_lives_fs=tuple(lives[:-1]),
        per_capture=weight,
    )


def spectrum_of_cascades(
    cascades: Sequence[GammaCascade],
    *,
    target: str,
    captures_per_kg_day: float,
    energy_edges_eV: ArrayLike,
    timing: GammaTiming | None = None,
) -> Spectrum:
    """Return the recoil spectrum of gamma cascades from a file.

    Parameters
    ----------
    cascades : sequence of GammaCascade
        With probabilities per capture in the whole list.
    target : str
        Chemical formula of what the nuclei move in.
    captures_per_kg_day : float
        Captures that the list stands for.
    energy_edges_eV : (n + 1,) array_like
    timing : GammaTiming, optional
        In flight by default.

    Raises
    ------
    InputError
        If there is no cascade, an element is not in the target, or something else cannot be.
    """
    edges = check_edges(energy_edges_eV, floor_eV=0.0)
    material = parse_target(target)
    if not cascades:
        raise InputError("no cascades given, expected at least one")
    if not (math.isfinite(captures_per_kg_day) and captures_per_kg_day > 0):
        raise InputError(f"captures are {captures_per_kg_day:g} per kg and day, expected more than 0")
    counts = {symbol: np.zeros(len(edges) - 1) for symbol in material.elements}
    for cascade in cascades:
        if cascade.symbol not in counts:
            raise InputError(
                f"a cascade of {cascade.target}, but {target} holds {', '.join(counts)}; give the right target"
            )
        exponents = momentum_exponents(cascade, timing or GammaTiming(), target=material)
        below = recoil_cumulative(cascade, edges, exponents=exponents)
        counts[cascade.symbol] += captures_per_kg_day * cascade.per_capture * np.maximum(np.diff(below), 0.0)
    covered = sum(cascade.per_capture for cascade in cascades)
    return Spectrum.from_counts(
        energy_edges_eV=edges,
        counts_per_kg_day=counts,
        metadata={
            "source": f"{len(cascades)} gamma cascades",
            "target": material.name,
            "captures_without_cascade": f"{max(1 - covered, 0.0):.1%}",
        },
    )


def _lines(path: Path) -> list[tuple[int, str]]:
    return list(enumerate(text_of(path, what="a table").splitlines(), start=1))


def _number(where: str, text: str) -> float:
    try:
        value = number_of(text)
    except ValueError:
        raise InputError(f"{where}: {text.strip()!r} is not a number") from None
    if not math.isfinite(value):
        raise InputError(f"{where}: {text.strip()} is not finite, expected a number")
    return value
