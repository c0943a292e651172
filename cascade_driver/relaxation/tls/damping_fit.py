r"""Fit of tunnelling systems to the measured damping of a resonator, with errors and health.

Least squares of :math:`\Gamma/2\pi` in both states of the metal at once. Positive parameters are fitted by their
logarithms, in which the errors are closest to Gaussian; profile intervals (MINOS) say where they are not.

What data determine: the plateau gives C; plateau and slope in the superconducting state give gamma; the excess in
the normal state gives x; its slow temperature dependence gives K, badly, as long as the data end far above the
crossover temperature of charged systems. A parameter that the data leave open has an open interval: see
`FittedParameter.lower` and `upper`.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from iminuit import Minuit
from numpy.typing import NDArray

from cascade_driver.analysis.estimation import FitHealth, FittedParameter, Goodness, profile_interval
from cascade_driver.errors import FitError, InputError
from cascade_driver.files import text_of
from cascade_driver.relaxation.tls.damping import MetalState, Resonator, TunnellingSystems, mode_damping_Hz
from cascade_driver.relaxation.tls.ranges import Ranges
from cascade_driver.schema import build
from cascade_driver.table import csv_cells, rows_of
from cascade_driver.text import number_of

#: Parameters with the range of the fit; the borders are far beyond what the model is meant for.
_RANGES = Ranges(
    limits={
        "strength": (1e-9, 1e-1),
        "strain_coupling_eV": (1e-3, 1e3),
        "charged_fraction": (0.0, 1.0),
        "electron_coupling": (1e-7, 1 - 1e-9),
    },
    plain=("charged_fraction",),
)

#: They act in the normal state alone.
_OF_NORMAL_STATE = ("charged_fraction", "electron_coupling")

#: Where the search may start: from the best of all combinations.
_STARTS = {
    "strain_coupling_eV": (0.3, 3.0, 30.0),
    "charged_fraction": (0.05, 0.3),
    "electron_coupling": (1e-3, 0.05, 0.5),
}

_COLUMNS = ("temperature_K", "damping_Hz", "damping_error_Hz", "metal")


@dataclass(frozen=True, kw_only=True)
class DampingData:
    """Measured damping.

    Attributes
    ----------
    temperature_K, damping_Hz, damping_error_Hz : (n,) float
        Temperature, Gamma / 2 pi and its standard error.
    is_normal : (n,) bool
        Whether the metal was in the normal state.
    """

    temperature_K: NDArray[np.float64]
    damping_Hz: NDArray[np.float64]
    damping_error_Hz: NDArray[np.float64]
    is_normal: NDArray[np.bool_]

    def __post_init__(self) -> None:
        for name in _COLUMNS[:3]:
            values = getattr(self, name)
            if not np.all(np.isfinite(values) & (values > 0)):
                raise InputError(f"`{name}` must be finite and above 0 in every row")

    def without_superconducting(self, low_K: float, high_K: float) -> DampingData:
        """Return the data without superconducting points from `low_K` to `high_K`, where quasiparticles damp."""
        keep = self.is_normal | (self.temperature_K < low_K) | (self.temperature_K > high_K)
        return rows_of(self, keep)


def read_damping(path: Path | str, *, without_superconducting_K: tuple[float, float] | None = None) -> DampingData:
    """Return the data of a CSV file with the columns temperature_K, damping_Hz, damping_error_Hz and metal.

    `metal` is `normal` or `superconducting`. Lines that begin with # are left out.

    Parameters
    ----------
    path : str or pathlib.Path
    without_superconducting_K : (float, float), optional
        Leave out superconducting points here, where quasiparticles damp.

    Raises
    ------
    InputError
        If the file cannot be read, lacks a column, or holds something else than positive numbers; with the line.
    """
    path = Path(path)
    text = text_of(path, what="measured damping as CSV")
    lines = [(n, line) for n, line in enumerate(text.splitlines(), 1) if line.strip() and not line.startswith("#")]
    rows = [csv_cells(f"{path}, line {n}", line) for n, line in lines]
    header = [word.strip() for word in rows[0]] if rows else []
    missing = [name for name in _COLUMNS if name not in header]
    if missing:
        raise InputError(f"{path}: no column `{missing[0]}`; expected {', '.join(_COLUMNS)}")
    numbers: list[list[float]] = []
    normal: list[bool] = []
    for (line, _), row in zip(lines[1:], rows[1:], strict=True):
        try:
            record = dict(zip(header, (word.strip() for word in row), strict=True))
            values = [number_of(record[name]) for name in _COLUMNS[:3]]
        except ValueError:
            raise InputError(f"{path}, line {line}: expected {len(header)} columns with numbers") from None
        if record["metal"] not in {"normal", "superconducting"}:
            raise InputError(f"{path}, line {line}: metal `{record['metal']}`; write normal or superconducting")
        if not all(math.isfinite(v) and v > 0 for v in values):
            raise InputError(f"{path}, line {line}: temperature, damping and its error must be above 0")
        numbers.append(values)
        normal.append(record["metal"] == "normal")
    table = np.array(numbers, dtype=np.float64).reshape(-1, 3)
    data = DampingData(
        temperature_K=table[:, 0],
        damping_Hz=table[:, 1],
        damping_error_Hz=table[:, 2],
        is_normal=np.array(normal, dtype=np.bool_),
    )
    return data.without_superconducting(*without_superconducting_K) if without_superconducting_K else data


@dataclass(frozen=True, kw_only=True)
class DampingFit:
    """Tunnelling systems fitted to data.

    Attributes
    ----------
    parameters : dict of str to FittedParameter
        By the names of `TunnellingSystems`.
    covariance : (k, k) float
        Of the parameters `free`, in that order.
    free : tuple of str
    health : FitHealth
    goodness : Goodness
        Chi-square.
    resonator : Resonator
    """

    parameters: dict[str, FittedParameter]
    covariance: NDArray[np.float64]
    free: tuple[str, ...]
    health: FitHealth
    goodness: Goodness
    resonator: Resonator

    @property
    def systems(self) -> TunnellingSystems:
        """The best fit."""
        values = {name: p.value for name, p in self.parameters.items()}
        return build(TunnellingSystems, values, origin="fit")

    def as_json(self) -> Mapping[str, object]:
        """Return the fit, JSON-ready."""
        content = dataclasses.asdict(self)
        content["covariance"] = self.covariance.tolist()
        content["free"] = list(self.free)
        content["health"]["at_limit"] = list(self.health.at_limit)
        return content


def fit_damping(data: DampingData, *, resonator: Resonator, held: Mapping[str, float] | None = None) -> DampingFit:
    r"""Return the tunnelling systems that fit measured damping best, by least squares.

    .. math:: \chi^2 = \sum_i \left( \frac{\Gamma(T_i)/2\pi - d_i}{\sigma_i} \right)^2

    Parameters
    ----------
    data : DampingData
        Without points in the normal state, charged fraction and electron coupling are held at 0.
    resonator : Resonator
    held : mapping of str to float, optional
        Parameters that are given instead of fitted; of a damping those of `TunnellingSystems`.

    Raises
    ------
    InputError
        If a held parameter is unknown or out of its range.
    FitError
        If there are fewer points of different temperature or state of the metal than parameters.
    """
    fixed = dict(held or {})
    if not data.is_normal.any():
        fixed = dict.fromkeys(_OF_NORMAL_STATE, 0.0) | fixed
    build(TunnellingSystems, {"strength": 1e-5, "strain_coupling_eV": 1.0} | fixed, origin="held parameters")
    free = tuple(name for name in _RANGES.limits if name not in fixed)
    # of one temperature and state there is one damping, however often it was measured
    different = len(np.unique(np.stack([np.round(np.log(data.temperature_K), 6), data.is_normal]), axis=1).T)
    if different < len(free) or not free:
        raise FitError(f"{different} different points for {len(free)} free parameters; hold some or add data")

    def chi_square(values: NDArray[np.float64]) -> float:
        named = fixed | {n: _RANGES.outer(n, float(v)) for n, v in zip(free, values, strict=True)}
        residual = (model_damping_Hz(data, named, resonator) - data.damping_Hz) / data.damping_error_Hz
        return float(residual @ residual)

    starts = [np.array([_RANGES.inner(n, s[n]) for n in free]) for s in _starts(data, free, resonator)]
    minuit = Minuit(chi_square, min(starts, key=chi_square), name=free)
    minuit.errordef = Minuit.LEAST_SQUARES
    for name in free:
        minuit.limits[name] = _RANGES.inner_limits(name)
    minuit.migrad()
    minuit.hesse()
    return _result(minuit, free=free, fixed=fixed, points=len(data.temperature_K), resonator=resonator)


def model_damping_Hz(
    data: DampingData, parameters: Mapping[str, float], resonator: Resonator
) -> NDArray[np.float64]:
    """Return the model at the points of the data, (n,) in Hz."""
    systems = TunnellingSystems(**parameters)
    result = np.zeros(len(data.temperature_K))
    states: tuple[tuple[MetalState, NDArray[np.bool_]], ...] = (
        ("normal", data.is_normal),
        ("superconducting", ~data.is_normal),
    )
    for metal, chosen in states:
        if chosen.any():
            result[chosen] = mode_damping_Hz(
                data.temperature_K[chosen], systems=systems, resonator=resonator, metal=metal
            )
    return result


def _starts(data: DampingData, free: tuple[str, ...], resonator: Resonator) -> list[dict[str, float]]:
    # the plateau of Gamma / 2 pi is C omega / 4 = pi C f / 2
    strength = float(np.max(data.damping_Hz)) * 2 / np.pi / resonator.mode_frequency_Hz
    low, high = _RANGES.limits["strength"]
    grid = [_STARTS[name] if name in free else (None,) for name in _STARTS]
    return [
        {"strength": min(max(strength, 2 * low), high / 2)}
        | {n: v for n, v in zip(_STARTS, choice, strict=True) if v is not None}
        for choice in itertools.product(*grid)
    ]


def _result(
    minuit: Minuit, *, free: tuple[str, ...], fixed: Mapping[str, float], points: int, resonator: Resonator
) -> DampingFit:
    values = {n: _RANGES.outer(n, float(minuit.values[n])) for n in free}
    # errors of the logarithms to errors of the parameters
    scale = np.array([1.0 if n in _RANGES.plain else values[n] for n in free])
    covariance = np.asarray(minuit.covariance, dtype=np.float64) if minuit.covariance is not None else None
    accurate = covariance is not None
    full = np.full((len(free), len(free)), np.nan) if covariance is None else covariance * np.outer(scale, scale)
    parameters = {name: FittedParameter(value=value, is_held=True) for name, value in fixed.items()}
    for i, name in enumerate(free):
        lower, upper = (None if e is None else _RANGES.outer(name, e) for e in profile_interval(minuit, name))
        parameters[name] = FittedParameter(
            value=values[name], error=float(np.sqrt(full[i, i])) if accurate else None, lower=lower, upper=upper
        )
    return DampingFit(
        parameters={name: parameters[name] for name in _RANGES.limits},
        covariance=full,
        free=free,
        health=FitHealth.of(minuit),
        goodness=Goodness.of_chi_square(float(minuit.fval), points - len(free)),
        resonator=resonator,
    )
