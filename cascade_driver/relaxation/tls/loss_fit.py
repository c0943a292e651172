r"""Fit of tunnelling systems to the internal loss 1/Q of a resonator, electric or mechanical, against temperature.

.. math::
    \frac{1}{Q} = \pi C \frac{\tanh x}{\sqrt{1 + S \tanh x}}
        + C \int_0^\infty \mathrm{sech}^2\frac{u}{2}\, \mathrm{Im}\, R(a)\, du
        + q\, e^{-\Delta/T} \sinh(x) K_0(x) + \frac{1}{Q_\infty}, \qquad
    x = \frac{h f}{2 k_B T}, \quad S = \frac{s\, n^{\beta_n}}{(T / 1\,\mathrm{K})^{\beta_T}}, \quad
    a = \left(\frac{T_0}{T}\right)^3 \frac{\tanh(u/2)}{u^3}

- Resonant: C is :math:`P_0 \gamma^2 / \rho v^2`, or the electric strength times the share F of the field that the
  systems fill; :math:`\pi C = F \tan\delta`. n photons saturate it, with the exponents of K. D. Crowley et al.,
  Phys. Rev. X 13, 041005 (2023); 1/2 and 0 are those of a uniform field.
- Relaxation: W. A. Phillips, Rep. Prog. Phys. 50, 1657 (1987), with the R of `distribution.relaxation_response`.
  Far below T_0 it is :math:`\pi^4 C (T/T_0)^3 / 12`, far above it the plateau :math:`\pi C / 2`.
- Quasiparticles of a superconductor, in the limit of Mattis and Bardeen, as Crowley et al. have them.

Terms that the data do not show end as bounds.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from iminuit import Minuit
from numpy.typing import NDArray
from scipy import constants, special
from scipy.optimize import nnls

from cascade_driver.analysis.estimation import FitHealth, FittedParameter, Goodness
from cascade_driver.errors import FitError, InputError
from cascade_driver.relaxation.tls.distribution import positive_array, reduced_energies, relaxation_response
from cascade_driver.relaxation.tls.ranges import Ranges
from cascade_driver.table import read_columns, rows_of

#: What may damp beside resonant systems, and what takes these out.
LossTerm = Literal["saturation", "relaxation", "quasiparticles", "constant"]

#: The columns of a measurement; `photons` and `quality_error` may be missing.
COLUMNS = ("temperature_K", "quality", "quality_error", "photons")

#: Parameters with the range of the fit.
_RANGES = Ranges(
    limits={
        "strength": (1e-12, 1.0),
        "saturation": (1e-8, 1e12),
        "photon_exponent": (0.0, 3.0),
        "temperature_exponent": (0.0, 5.0),
        "crossover_K": (1e-4, 1e3),
        "quasiparticle_loss": (1e-12, 1e3),
        "gap_K": (0.1, 1e2),
        "constant_loss": (1e-14, 1.0),
    },
    plain=("photon_exponent", "temperature_exponent"),
)

#: The parameters of each term.
_OF_TERM: dict[LossTerm, tuple[str, ...]] = {
    "saturation": ("saturation", "photon_exponent", "temperature_exponent"),
    "relaxation": ("crossover_K",),
    "quasiparticles": ("quasiparticle_loss", "gap_K"),
    "constant": ("constant_loss",),
}

#: Those that the loss is proportional to: where the search may start they are those of least squares.
_AMPLITUDES = ("strength", "quasiparticle_loss", "constant_loss")


@dataclass(frozen=True, kw_only=True, eq=False)
class LossData:
    """Measured internal quality factors.

    Attributes
    ----------
    temperature_K, quality : (n,) float
    quality_error : (n,) float or None
        Standard errors. Where they are not known all points are equally good, relative to their value, and their
        scatter about the best fit is their error.
    photons : (n,) float or None
        Mean number of photons, or phonons, in the resonator.
    """

    temperature_K: NDArray[np.float64]
    quality: NDArray[np.float64]
    quality_error: NDArray[np.float64] | None = None
    photons: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        for name in COLUMNS:
            if getattr(self, name) is not None:
                positive_array(getattr(self, name), name=name)

    def between(self, low_K: float, high_K: float) -> LossData:
        """Return the points of these temperatures."""
        keep = (self.temperature_K >= low_K) & (self.temperature_K <= high_K)
        return rows_of(self, keep)


def read_loss(path: Path | str, *, temperature_K: tuple[float, float] | None = None) -> LossData:
    """Return the quality factors of a table with the columns of `COLUMNS`, of which the last two may be missing.

    Parameters
    ----------
    path : str or pathlib.Path
    temperature_K : (float, float), optional
        Only points from here to there.

    Raises
    ------
    InputError
        If the file cannot be read, lacks a column, or holds what cannot be.
    """
    path = Path(path)
    columns = read_columns(path, COLUMNS[:2], or_also=COLUMNS[2:])
    try:
        data = LossData(**columns)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return data.between(*temperature_K) if temperature_K else data


@dataclass(frozen=True, kw_only=True, eq=False)
class LossFit:
    """The law of the module, fitted.

    Attributes
    ----------
    data : LossData
    frequency_Hz : float
    parameters : dict of str to FittedParameter
        `strength` (C) and those of the terms that were asked for.
    scatter : float
        Root mean square of the relative residuals, per degree of freedom.
    goodness : Goodness
        Chi-square; not tested where the errors are the scatter.
    health : FitHealth
    """

    data: LossData
    frequency_Hz: float
    parameters: dict[str, FittedParameter]
    scatter: float
    goodness: Goodness
    health: FitHealth

    @property
    def loss_tangent(self) -> FittedParameter:
        """F tan delta, pi times the strength."""
        one = self.parameters["strength"]
        ends = {
            name: None if (v := getattr(one, name)) is None else math.pi * v
            for name in ("error", "lower", "upper")
        }
        return FittedParameter(value=math.pi * one.value, is_held=one.is_held, **ends)

    def loss(self, temperature_K: NDArray[np.float64], *, photons: float | None = None) -> NDArray[np.float64]:
        """Return the fitted 1/Q, (n,)."""
        named = {name: p.value for name, p in self.parameters.items()}
        many = None if photons is None else np.full(len(temperature_K), photons)
        return model_loss(temperature_K, named, frequency_Hz=self.frequency_Hz, photons=many)

    def as_json(self) -> Mapping[str, object]:
        """Return the fit, JSON-ready."""
        content = dataclasses.asdict(self)
        del content["data"]
        content["health"]["at_limit"] = list(self.health.at_limit)
        told = {"loss_tangent": dataclasses.asdict(self.loss_tangent)}
        return {"of": "loss", "points": len(self.data.quality), **content, **told}


def model_loss(
    temperature_K: NDArray[np.float64],
    named: Mapping[str, float],
    *,
    frequency_Hz: float,
    photons: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Return 1/Q by the law of the module, (n,); terms whose parameters are not named are left out.

    Parameters
    ----------
    temperature_K : (n,) float
    named : mapping of str to float
        Parameters as of `LossFit`.
    frequency_Hz : float
    photons : (n,) float, optional
        1 by default.
    """
    T = np.asarray(temperature_K, dtype=np.float64)
    x = constants.h * frequency_Hz / (2 * constants.k * T)
    occupied = np.tanh(x)
    resonant = occupied
    if "saturation" in named:
        drive = np.ones_like(T) if photons is None else photons ** named.get("photon_exponent", 0.5)
        heated = named["saturation"] * drive / T ** named.get("temperature_exponent", 0.0)
        resonant = occupied / np.sqrt(1 + heated * occupied)
    total = math.pi * named["strength"] * resonant
    if "crossover_K" in named:
        total = total + named["strength"] * relaxation_loss(T / named["crossover_K"])
    if "quasiparticle_loss" in named:
        # k0e is K_0 with its exponential taken out: cold points neither overflow nor vanish
        pairs = -np.expm1(-2 * x) / 2 * special.k0e(x) * np.exp(-named["gap_K"] / T)
        total = total + named["quasiparticle_loss"] * pairs
    return np.asarray(total + named.get("constant_loss", 0.0))


def relaxation_loss(reduced_temperature: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the loss of relaxing systems over their strength, the integral of the module; (n,), from T / T_0."""
    u, weights = reduced_energies()
    slowness = np.tanh(u / 2) / (u * np.asarray(reduced_temperature)[..., None]) ** 3
    return np.asarray(relaxation_response(slowness).imag @ weights)


def fit_loss(
    data: LossData,
    *,
    frequency_Hz: float,
    terms: tuple[LossTerm, ...] = ("constant",),
    held: Mapping[str, float] | None = None,
) -> LossFit:
    """Return the tunnelling systems that fit measured quality factors best, by least squares of their logarithms.

    Parameters
    ----------
    data : LossData
    frequency_Hz : float
    terms : tuple of LossTerm
        What there is beside resonant systems.
    held : mapping of str to float, optional
        Parameters that are given instead of fitted.

    Raises
    ------
    InputError
        If a held parameter is unknown or out of its range.
    FitError
        If there are not more points of different temperature or drive than parameters.
    """
    names = _names(terms, data)
    fixed = _RANGES.checked(held or {}, names, fit="this fit of a loss")
    photons = np.ones(len(data.quality)) if data.photons is None else data.photons
    different = len(np.unique(np.stack([data.temperature_K, photons]), axis=1).T)
    free = len(names) - len(fixed)
    if different <= free:
        raise FitError(f"{different} different points for {free} parameters; measure more, or hold some")
    error = 1.0 if data.quality_error is None else data.quality_error / data.quality

    def residuals(named: Mapping[str, float]) -> NDArray[np.float64]:
        model = model_loss(data.temperature_K, named, frequency_Hz=frequency_Hz, photons=data.photons)
        return np.log(model * data.quality)

    def chi_square(values: NDArray[np.float64]) -> float:
        named = {name: _RANGES.outer(name, float(v)) for name, v in zip(names, values, strict=True)}
        residual = residuals(named) / error
        return float(residual @ residual)

    starts = [
        np.array([_RANGES.inner(n, one[n]) for n in names]) for one in _starts(data, names, fixed, frequency_Hz)
    ]
    minuit = Minuit(chi_square, min(starts, key=chi_square), name=names)
    for name in names:
        minuit.limits[name] = _RANGES.inner_limits(name)
        minuit.errors[name] = 0.1
        minuit.fixed[name] = name in fixed
    freedom = len(data.quality) - free
    if free:
        minuit.errordef = Minuit.LEAST_SQUARES if data.quality_error is not None else chi_square(starts[0])
        minuit.migrad()
        if data.quality_error is None:  # the scatter about the best fit is the error of one standard deviation
            minuit.errordef = max(float(minuit.fval or 0.0) / freedom, 1e-12)
            minuit.migrad()
        minuit.hesse()
    best = {name: _RANGES.outer(name, float(minuit.values[name])) for name in names}
    away = residuals(best)
    goodness = Goodness.of_chi_square(float(minuit.fval or 0.0), freedom)
    if data.quality_error is None:
        goodness = dataclasses.replace(goodness, statistic=float(freedom), p_value=None, method="none")
    return LossFit(
        data=data,
        frequency_Hz=frequency_Hz,
        parameters={name: _RANGES.found(minuit, name, fixed) for name in names},
        scatter=float(np.sqrt(away @ away / freedom)),
        goodness=goodness,
        health=FitHealth.of(minuit),
    )


def _names(terms: Sequence[LossTerm], data: LossData) -> tuple[str, ...]:
    """Return the parameters of a fit; without photons there is no exponent of their number."""
    names = ("strength", *itertools.chain.from_iterable(_OF_TERM[one] for one in dict.fromkeys(terms)))
    return tuple(name for name in names if name != "photon_exponent" or data.photons is not None)


def _starts(
    data: LossData, names: tuple[str, ...], fixed: Mapping[str, float], frequency_Hz: float
) -> list[dict[str, float]]:
    """Return where the search may start: shapes on a grid, amplitudes by least squares."""
    T = data.temperature_K
    grid: dict[str, tuple[float, ...]] = {
        "saturation": (1e-2, 1.0, 1e2),
        "photon_exponent": (0.3, 0.5),
        "temperature_exponent": (0.3, 1.0),
        "crossover_K": tuple(np.geomspace(0.3 * T.min(), 10 * T.max(), 7)),
        "gap_K": tuple(T.max() * np.array([2.0, 5.0, 10.0])),
    }
    shapes = [name for name in names if name not in _AMPLITUDES]
    columns = [name for name in names if name in _AMPLITUDES]
    found = []
    for chosen in itertools.product(*((fixed[n],) if n in fixed else grid[n] for n in shapes)):
        shape = dict(zip(shapes, chosen, strict=True))
        each = []
        for column in columns:
            one = dict.fromkeys(columns, 0.0) | {column: 1.0} | shape
            loss = model_loss(T, one, frequency_Hz=frequency_Hz, photons=data.photons)
            each.append(loss * data.quality)
        amplitudes, _ = nnls(np.array(each).T, np.ones(len(T)))
        # none at 0, from where no logarithm leads back
        floor = 1e-3 / np.max(np.array(each), axis=1)
        some = dict(zip(columns, np.maximum(amplitudes, floor).tolist(), strict=True))
        found.append({n: fixed.get(n, _within(n, v)) for n, v in (shape | some).items()})
    return found


def _within(name: str, value: float) -> float:
    low, high = _RANGES.inner_limits(name)
    inner = _RANGES.inner(name, max(value, _RANGES.limits[name][0]))
    return _RANGES.outer(name, min(max(inner, low + 0.01 * (high - low)), high - 0.01 * (high - low)))
