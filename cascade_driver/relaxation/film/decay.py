r"""Does a background fall as a power of the time since the cooldown, and is the power that of Eq. 6?

.. math:: R(t) = R_1 \left(\frac{t}{t_1}\right)^{-a} + c

Eq. 6 of Romani 2024, doi:10.48550/arXiv.2406.15425, has a = 1 and c = 0: a uniform distribution of barriers gives
it for any tunnelling or thermal release.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy  # its `stats` is loaded where it is asked for: that takes as long as all the rest
from iminuit import Minuit
from iminuit.cost import LeastSquares
from numpy.typing import NDArray

from cascade_driver.analysis.estimation import FitHealth, FittedParameter, Goodness, profile_interval
from cascade_driver.errors import FitError, InputError
from cascade_driver.table import read_table, rows_of

#: Published exponents a, with their errors: collected in "Challenges of Very-Low-Energy Recoil Detectors"
#: (github.com/fewagner/review_excesses, 4_timedecay.ipynb).
PUBLISHED: Mapping[str, tuple[float, float]] = {
    "CRESST-III CaWO4, 60-120 eV": (0.93, 0.10),
    "CRESST-III Al2O3, 60-120 eV": (0.72, 0.04),
    "CRESST-III Si, 60-120 eV": (0.96, 0.09),
    "TESSERACT low stress, 3-38 eV": (0.60, 0.02),
    "TESSERACT low stress, 38-85 eV": (0.43, 0.10),
    "quasiparticle bursts (Mannila 2022)": (0.95, 0.01),
}

_EXAMPLE = "time_days,rate,rate_error"

#: Exponents within which is searched.
_EXPONENTS = (-3.0, 10.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class RateSeries:
    """A rate against the time since the cooldown.

    Attributes
    ----------
    time_days, rate, rate_error : (n,) float
        In any unit of rate.
    """

    time_days: NDArray[np.float64]
    rate: NDArray[np.float64]
    rate_error: NDArray[np.float64]

    def __post_init__(self) -> None:
        if not np.all(np.isfinite(self.time_days) & (self.time_days > 0)):
            raise InputError("a time that is not above 0, expected days since the cooldown")
        if not np.all(np.isfinite(self.rate)):
            raise InputError("a rate that is no finite number")
        if not np.all(np.isfinite(self.rate_error) & (self.rate_error > 0)):
            raise InputError("an error of 0 or below, expected the standard error of each rate")

    def until(self, last_days: float) -> RateSeries:
        """Return what was measured up to a time."""
        keep = self.time_days <= last_days
        return rows_of(self, keep)


def read_rates(path: Path | str) -> RateSeries:
    """Return the rates of a table with the columns time_days (or time_hours), rate and rate_error, others aside.

    Raises
    ------
    InputError
        If the file cannot be read, lacks a column, or holds what cannot be.
    """
    path = Path(path)

    def check(where: str, names: list[str]) -> list[str]:
        missing = [name for name in _EXAMPLE.split(",") if name not in names]
        if missing and not (missing == ["time_days"] and "time_hours" in names):
            raise InputError(f"{where}: no column {missing[0]}; expected {_EXAMPLE}, or time_hours for time_days.")
        return names

    columns = read_table(path, example=_EXAMPLE, check_names=check).columns
    time = columns["time_days"] if "time_days" in columns else columns["time_hours"] / 24.0
    try:
        return RateSeries(time_days=time, rate=columns["rate"], rate_error=columns["rate_error"])
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


@dataclass(frozen=True, kw_only=True)
class DecayFit:
    """A power law fitted to a rate against time.

    Attributes
    ----------
    parameters : dict of str to FittedParameter
        `rate`, of the time `reference_days`; `exponent`, a; `constant`, c.
    reference_days : float
        t_1, the geometric mean of the times, where rate and exponent are least correlated.
    goodness : Goodness
        Chi-square of the power law.
    p_value_of_1 : float
        Probability that data of a law with a = 1 lie at least as far from it as these, by the rise of chi-square.
    exponential_chi_square : float
        Of the best exponential decay with the same constant or none: what it is if there is one lifetime.
    exponential_lifetime_days : float
    health : FitHealth
    """

    parameters: dict[str, FittedParameter]
    reference_days: float
    goodness: Goodness
    p_value_of_1: float
    exponential_chi_square: float
    exponential_lifetime_days: float
    health: FitHealth

    def as_json(self) -> Mapping[str, object]:
        """Return the fit, JSON-ready, with the published exponents beside it."""
        content = dataclasses.asdict(self)
        content["health"]["at_limit"] = list(self.health.at_limit)
        content["published_exponents"] = {name: list(one) for name, one in PUBLISHED.items()}
        return content


def power_law(
    time_days: NDArray[np.float64], rate: float, exponent: float, constant: float, *, reference_days: float
) -> NDArray[np.float64]:
    """Return the rate of the module's equation at some times, (n,)."""
    return np.asarray(rate * (time_days / reference_days) ** -exponent + constant)


def fit_decay(series: RateSeries, *, with_constant: bool = False) -> DecayFit:
    """Return the power law that fits a rate against time best, by least squares.

    Parameters
    ----------
    series : RateSeries
    with_constant : bool
        Fit the constant too, as of a background that does not decay; otherwise it is 0.

    Raises
    ------
    FitError
        If there are fewer different times than parameters and one.
    """
    free = 3 if with_constant else 2
    if len(np.unique(series.time_days)) <= free:
        raise FitError(
            f"{len(np.unique(series.time_days))} different times for {free} parameters; measure at more times"
        )
    reference = math.exp(float(np.mean(np.log(series.time_days))))

    def power(t: NDArray[np.float64], rate: float, exponent: float, constant: float) -> NDArray[np.float64]:
        return power_law(t, rate, exponent, constant, reference_days=reference)

    def exponential(t: NDArray[np.float64], rate: float, decay: float, constant: float) -> NDArray[np.float64]:
        return np.asarray(rate * np.exp(-decay * (t - reference) / reference) + constant)

    best = _minimised(series, power, "exponent", with_constant=with_constant)
    chi_square = float(best.fval)
    parameters = {}
    for name in ("rate", "exponent", "constant"):
        held = bool(best.fixed[name])
        lower, upper = (None, None) if held else profile_interval(best, name)
        error = None if held or not best.fmin.has_accurate_covar else float(best.errors[name])
        parameters[name] = FittedParameter(
            value=float(best.values[name]), error=error, lower=lower, upper=upper, is_held=held
        )
    at_1 = _minimised(series, power, "exponent", with_constant=with_constant, fixed_at=1.0)
    other = _minimised(series, exponential, "decay", with_constant=with_constant)
    decay = float(other.values["decay"])
    return DecayFit(
        parameters=parameters,
        reference_days=reference,
        goodness=Goodness.of_chi_square(chi_square, len(series.time_days) - free),
        p_value_of_1=float(scipy.stats.chi2.sf(max(float(at_1.fval) - chi_square, 0.0), 1)),
        exponential_chi_square=float(other.fval),
        exponential_lifetime_days=reference / decay if decay else math.inf,
        health=FitHealth.of(best),
    )


def _minimised(
    series: RateSeries, model: object, slope: str, *, with_constant: bool, fixed_at: float | None = None
) -> Minuit:
    """Return the minimised chi-square of a law with rate, slope and constant."""
    cost = LeastSquares(series.time_days, series.rate, series.rate_error, model)
    weight = series.rate_error**-2
    level = float(np.sum(weight * series.rate) / np.sum(weight))
    minuit = Minuit(cost, **{"rate": level, slope: 1.0 if fixed_at is None else fixed_at, "constant": 0.0})
    minuit.limits[slope] = _EXPONENTS
    minuit.fixed["constant"] = not with_constant
    minuit.fixed[slope] = fixed_at is not None
    minuit.migrad()
    minuit.hesse()
    return minuit
