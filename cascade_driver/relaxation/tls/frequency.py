r"""Frequency of a resonator that carries tunnelling systems: its shift with temperature, and its noise.

.. math::
    \frac{\delta\omega_0}{\omega_0} = C \left[\ln\frac{T}{T_0} + \mathrm{Re}\,
    \psi\Big(\frac12 + \frac{i h f}{2\pi k_B T}\Big) - \psi\Big(\frac12\Big)\right] + D\, T^3, \qquad
    S_f(f) = \frac{A}{f^\mu} + W

The digamma function counts where h f is not small beside k_B T (W. A. Phillips, Rep. Prog. Phys. 50, 1657 (1987);
J. Gao et al., Appl. Phys. Lett. 92, 152505 (2008)); it is left out where no frequency is given. Sec. II and Fig. 4
of O. Maillet et al. 2023, doi:10.1103/PhysRevB.107.064104: the logarithm is the resonant response of tunnelling
systems, the cube an empirical law of thermal expansion above 1 K, the noise that of systems that switch.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from iminuit import Minuit
from numpy.typing import ArrayLike, NDArray
from pydantic import Field
from scipy import constants, special

from cascade_driver.analysis.estimation import FitHealth, FittedParameter, Goodness, profile_interval
from cascade_driver.errors import FitError, InputError
from cascade_driver.relaxation.tls.distribution import positive_array
from cascade_driver.table import read_columns, rows_of

_SHIFT_COLUMNS = ("temperature_K", "shift", "shift_error")
_TRACE_COLUMNS = ("time_s", "frequency_Hz")

#: Times between measurements of a trace differ by less than this share.
_EQUAL_STEPS = 0.01

#: Fewer measurements say nothing of noise.
_SHORTEST_TRACE = 64


#: Temperatures between which a shift is inverted, in quanta h f / k.
_INVERTED_hf = (0.05, 1e6)


@dataclass(frozen=True, kw_only=True, eq=False)
class ShiftData:
    """Measured frequency shifts.

    Attributes
    ----------
    temperature_K, shift : (n,) float
        Relative to any reference.
    shift_error : (n,) float or None
        Standard errors; None if they are not known: the scatter about the best fit is the error of each.
    """

    temperature_K: NDArray[np.float64]
    shift: NDArray[np.float64]
    shift_error: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        positive_array(self.temperature_K, name="temperature_K")
        if self.shift_error is not None:
            positive_array(self.shift_error, name="shift_error")
        if not np.all(np.isfinite(self.shift)):
            raise InputError("`shift` must be finite in every row")

    def where(self, keep: NDArray[np.bool_]) -> ShiftData:
        """Return some of the points."""
        return rows_of(self, keep)


@dataclass(frozen=True, kw_only=True)
class ShiftFit:
    """The law of the module, fitted.

    Attributes
    ----------
    parameters : dict of str to FittedParameter
        `strength` (C), `reference_temperature_K` (T_0) and `cubic_per_K3` (D).
    goodness : Goodness
        Chi-square.
    health : FitHealth
    frequency_Hz : float or None
        Of the resonator, where h f counts.
    """

    parameters: dict[str, FittedParameter]
    goodness: Goodness
    health: FitHealth
    frequency_Hz: float | None = None

    def shift(self, temperature_K: ArrayLike) -> NDArray[np.float64]:
        """Return the fitted shift, (...) float."""
        T = positive_array(temperature_K, name="temperature_K")
        C, T_0, D = (one.value for one in self.parameters.values())
        return np.asarray(C * (np.log(T / T_0) + quantum_term(T, frequency_Hz=self.frequency_Hz)) + D * T**3)

    def temperature_K(self, shift: ArrayLike) -> NDArray[np.float64]:
        r"""Return what the logarithm, without the cube, says of the temperature: nan where it says nothing.

        A thermometer of the systems where they are warmer than the cryostat (dotted line of Fig. 2 b),
        :math:`T_0 e^{\delta\omega/(\omega C)}`. With a frequency the quantum term of the fit is in it, too; the
        shift then has a minimum near h f = 2 k T, and what is told is the temperature above it.
        """
        C, T_0 = self.parameters["strength"].value, self.parameters["reference_temperature_K"].value
        given = np.asarray(shift, dtype=np.float64) / C
        if self.frequency_Hz is None:
            return np.asarray(T_0 * np.exp(given))
        temperature, law = _rising_law(self.frequency_Hz)
        return np.asarray(np.interp(given + np.log(T_0), law, temperature, left=np.nan, right=np.nan))

    @property
    def coldest_told_K(self) -> float:
        """Below it a shift is that of a warmer temperature, too; 0 without a frequency."""
        return 0.0 if self.frequency_Hz is None else float(_rising_law(self.frequency_Hz)[0][0])

    def as_json(self) -> Mapping[str, object]:
        """Return the fit, JSON-ready."""
        content = dataclasses.asdict(self)
        content["health"]["at_limit"] = list(self.health.at_limit)
        return content


def _rising_law(frequency_Hz: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return temperatures from the minimum of the shift on, in K, and logarithm with quantum term at them."""
    temperature = np.geomspace(*_INVERTED_hf, 20_001) * constants.h * frequency_Hz / constants.k
    law = np.log(temperature) + quantum_term(temperature, frequency_Hz=frequency_Hz)
    least = int(np.argmin(law))
    return temperature[least:], law[least:]


def quantum_term(temperature_K: NDArray[np.float64], *, frequency_Hz: float | None) -> NDArray[np.float64]:
    """Return what the digamma function of the module adds to the logarithm, (n,); 0 without a frequency."""
    if frequency_Hz is None:
        return np.zeros(len(temperature_K))
    x = constants.h * frequency_Hz / (2 * np.pi * constants.k * temperature_K)
    return np.asarray(special.digamma(0.5 + 1j * x).real - special.digamma(0.5))


def read_shifts(path: Path | str) -> ShiftData:
    """Return the shifts of a table with the columns temperature_K, shift and, maybe, shift_error.

    Raises
    ------
    InputError
        If the file cannot be read, lacks a column, or holds what cannot be.
    """
    columns = read_columns(Path(path), _SHIFT_COLUMNS[:2], or_also=_SHIFT_COLUMNS[2:])
    try:
        return ShiftData(**columns)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def fit_shift(
    data: ShiftData,
    *,
    with_cubic: bool = True,
    frequency_Hz: Annotated[float, Field(gt=0)] | None = None,
) -> ShiftFit:
    """Return the law that fits frequency shifts best, by least squares.

    Parameters
    ----------
    data : ShiftData
    with_cubic : bool
        Whether the cube of the temperature is fitted, or 0.
    frequency_Hz : float, optional
        Of the resonator, for one whose h f is not small beside k_B T: some GHz.

    Raises
    ------
    FitError
        If there are fewer different temperatures than parameters.
    """
    free = 3 if with_cubic else 2
    T = data.temperature_K
    if len(np.unique(T)) < free:
        raise FitError(f"{len(np.unique(T))} different temperatures for {free} parameters; measure at more")
    if data.shift_error is None and len(T) <= free:
        raise FitError(f"{len(T)} points without errors for {free} parameters leave no scatter; measure at more")
    middle = math.exp(float(np.mean(np.log(T))))
    resonant = np.log(T / middle) + quantum_term(T, frequency_Hz=frequency_Hz)
    scale = float(np.ptp(data.shift) or np.max(data.shift_error if data.shift_error is not None else 1.0))
    error = _scatter(data, resonant, with_cubic=with_cubic) if data.shift_error is None else data.shift_error

    def chi_square(slope: float, level: float, cubic: float) -> float:
        law = slope * resonant + level + cubic * T**3
        return float(np.sum(((law - data.shift) / error) ** 2))

    minuit = Minuit(chi_square, slope=scale, level=float(np.mean(data.shift)), cubic=0.0)
    minuit.errordef = Minuit.LEAST_SQUARES
    for name in minuit.parameters:
        minuit.errors[name] = 0.1 * scale
    minuit.fixed["cubic"] = not with_cubic
    minuit.migrad()
    minuit.hesse()
    found = _shift_result(minuit, middle_K=middle, freedom=len(T) - free, with_cubic=with_cubic)
    goodness = found.goodness
    if data.shift_error is None:
        goodness = dataclasses.replace(goodness, p_value=None, method="none")
    return dataclasses.replace(found, goodness=goodness, frequency_Hz=frequency_Hz)


def _scatter(data: ShiftData, resonant: NDArray[np.float64], *, with_cubic: bool) -> float:
    """Return the root mean square about the best fit, per degree of freedom: the law is linear."""
    columns = [resonant, np.ones_like(resonant), *([data.temperature_K**3] if with_cubic else [])]
    design = np.array(columns).T
    away = data.shift - design @ np.linalg.lstsq(design, data.shift, rcond=None)[0]
    return max(float(np.sqrt(away @ away / (len(away) - len(columns)))), 1e-9 * float(np.ptp(data.shift)), 1e-30)


def _shift_result(minuit: Minuit, *, middle_K: float, freedom: int, with_cubic: bool) -> ShiftFit:
    slope, level = float(minuit.values["slope"]), float(minuit.values["level"])
    covariance = minuit.covariance
    if covariance is None:
        raise FitError("the fit of the frequency shift has no covariance; look at the data")
    # ln T_0 = ln(middle) - level / slope, and its variance to first order.
    ratio = level / slope
    variance = (
        covariance["level", "level"]
        - 2 * ratio * covariance["level", "slope"]
        + ratio**2 * covariance["slope", "slope"]
    ) / slope**2
    reference, spread = middle_K * math.exp(-ratio), math.sqrt(variance)
    parameters = {
        "strength": _linear(minuit, "slope"),
        "reference_temperature_K": FittedParameter(
            value=reference,
            error=reference * spread,
            lower=reference * math.exp(-spread),
            upper=reference * math.exp(spread),
        ),
        "cubic_per_K3": _linear(minuit, "cubic") if with_cubic else FittedParameter(value=0.0, is_held=True),
    }
    return ShiftFit(
        parameters=parameters,
        goodness=Goodness.of_chi_square(float(minuit.fval), freedom),
        health=FitHealth.of(minuit),
    )


def _linear(minuit: Minuit, name: str) -> FittedParameter:
    """Return a parameter in which chi-square is a parabola."""
    value, error = float(minuit.values[name]), float(minuit.errors[name])
    return FittedParameter(value=value, error=error, lower=value - error, upper=value + error)


# -- noise ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, eq=False)
class FrequencyTrace:
    """Frequencies measured one after the other, at equal steps of time.

    Attributes
    ----------
    step_s : float
    frequency_Hz : (n,) float
    """

    step_s: float
    frequency_Hz: NDArray[np.float64]

    def __post_init__(self) -> None:
        if len(self.frequency_Hz) < _SHORTEST_TRACE or not np.all(np.isfinite(self.frequency_Hz)):
            raise InputError(
                f"{len(self.frequency_Hz)} frequencies, expected at least {_SHORTEST_TRACE} finite ones"
            )
        if not (math.isfinite(self.step_s) and self.step_s > 0):
            raise InputError(f"a step of {self.step_s:g} s, expected one above 0")
        if np.ptp(self.frequency_Hz) == 0:
            raise InputError(f"all frequencies are {self.frequency_Hz[0]:.12g} Hz: there is no noise in it")


def read_trace(path: Path | str) -> FrequencyTrace:
    """Return the frequencies of a table with the columns time_s, at equal steps, and frequency_Hz.

    Raises
    ------
    InputError
        If the file cannot be read, lacks a column, or the steps differ.
    """
    columns = read_columns(Path(path), _TRACE_COLUMNS)
    steps = np.diff(columns["time_s"])
    if len(steps) == 0 or np.any(np.abs(steps - steps.mean()) > _EQUAL_STEPS * abs(steps.mean())):
        raise InputError(f"{path}: times at unequal steps, expected one measurement after the other")
    try:
        return FrequencyTrace(step_s=float(steps.mean()), frequency_Hz=columns["frequency_Hz"])
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


@dataclass(frozen=True, kw_only=True, eq=False)
class FrequencyNoise:
    """What a trace says of the noise of a frequency.

    Attributes
    ----------
    jump_deviation_Hz : float
        Root mean square of the jumps between successive frequencies, which Fig. 4 (b) of the paper calls Allan
        deviation; the latter is 2^(1/2) smaller at one step.
    averaging_s, allan_deviation_Hz : (k,) float
        Overlapping Allan deviation against the time averaged over, octave by octave up to a quarter of the trace.
    spectrum_Hz, power_Hz2_Hz : (m,) float
        Frequencies and one-sided spectral density.
    exponent, amplitude, white_Hz2_Hz : FittedParameter
        mu, A (the density of the power at 1 Hz, Hz2/Hz) and W.
    health : FitHealth
    """

    jump_deviation_Hz: float
    averaging_s: NDArray[np.float64]
    allan_deviation_Hz: NDArray[np.float64]
    spectrum_Hz: NDArray[np.float64]
    power_Hz2_Hz: NDArray[np.float64]
    exponent: FittedParameter
    amplitude: FittedParameter
    white_Hz2_Hz: FittedParameter
    health: FitHealth

    def density_Hz2_Hz(self, frequency_Hz: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the fitted spectral density."""
        return np.asarray(
            self.amplitude.value * frequency_Hz**-self.exponent.value + self.white_Hz2_Hz.value, dtype=np.float64
        )

    def as_json(self) -> Mapping[str, object]:
        """Return the noise, JSON-ready."""
        content = dataclasses.asdict(self)
        content["health"]["at_limit"] = list(self.health.at_limit)
        return {name: v.tolist() if isinstance(v, np.ndarray) else v for name, v in content.items()}


def allan_deviation_Hz(trace: FrequencyTrace, steps: int) -> float:
    r"""Return the overlapping Allan deviation of a frequency averaged over some steps, in Hz.

    .. math:: \sigma^2 = \tfrac12 \left\langle (\bar f_{k+m} - \bar f_k)^2 \right\rangle

    D. W. Allan, Proc. IEEE 54, 221 (1966), over all k.

    Raises
    ------
    InputError
        If the trace is not twice as long.
    """
    if not 1 <= steps <= len(trace.frequency_Hz) // 2:
        raise InputError(
            f"an average over {steps} steps of {len(trace.frequency_Hz)}, expected at most half of them"
        )
    summed = np.concatenate([[0.0], np.cumsum(trace.frequency_Hz - trace.frequency_Hz.mean())])
    means = (summed[steps:] - summed[:-steps]) / steps
    return float(np.sqrt(0.5 * np.mean((means[steps:] - means[:-steps]) ** 2)))


def frequency_noise(trace: FrequencyTrace, *, with_white: bool = True) -> FrequencyNoise:
    r"""Return the noise of a measured frequency; its spectrum is fitted by the likelihood of a periodogram.

    .. math:: -\ln L = \sum_j \left(\ln S(f_j) + \frac{P_j}{S(f_j)}\right)

    P. Whittle, Ark. Mat. 2, 423 (1953): each ordinate P_j is exponential about S(f_j), no bins and no windows.

    Parameters
    ----------
    trace : FrequencyTrace
    with_white : bool
        Whether white noise, as of the measurement, is fitted or 0.
    """
    f, n = trace.frequency_Hz - trace.frequency_Hz.mean(), len(trace.frequency_Hz)
    power = 2.0 * trace.step_s / n * np.abs(np.fft.rfft(f)[1 : (n + 1) // 2]) ** 2
    frequency = np.asarray(np.fft.rfftfreq(n, trace.step_s)[1 : (n + 1) // 2], dtype=np.float64)
    minuit, middle = _fitted_spectrum(frequency, power, with_white=with_white)
    octaves = [2**k for k in range(int(math.log2(n // 4)) + 1)]
    return FrequencyNoise(
        jump_deviation_Hz=float(np.sqrt(np.mean(np.diff(trace.frequency_Hz) ** 2))),
        averaging_s=trace.step_s * np.array(octaves, dtype=np.float64),
        allan_deviation_Hz=np.array([allan_deviation_Hz(trace, m) for m in octaves]),
        spectrum_Hz=frequency,
        power_Hz2_Hz=power,
        exponent=_fitted(minuit, "exponent"),
        amplitude=_at_1_Hz(minuit, middle),
        white_Hz2_Hz=_fitted(minuit, "white", logarithm=True)
        if with_white
        else FittedParameter(value=0.0, is_held=True),
        health=FitHealth.of(minuit),
    )


def _fitted_spectrum(
    frequency: NDArray[np.float64], power: NDArray[np.float64], *, with_white: bool
) -> tuple[Minuit, float]:
    """Return the minimised likelihood, in logarithms of the densities, and the frequency of the first."""
    middle = math.exp(float(np.mean(np.log(frequency))))
    level = math.log(float(np.median(power)) / math.log(2.0))

    def minus_log_likelihood(exponent: float, amplitude: float, white: float) -> float:
        with np.errstate(over="ignore"):  # the minimiser may try anything on its way
            density = np.exp(amplitude) * (frequency / middle) ** -exponent
            if with_white:
                density = density + np.exp(white)
            return float(2.0 * np.sum(np.log(density) + power / density))

    minuit = Minuit(minus_log_likelihood, exponent=0.8, amplitude=level, white=level - 2.0)
    minuit.errordef = Minuit.LEAST_SQUARES  # the sum has a factor of 2
    minuit.limits["exponent"] = (-2.0, 4.0)
    minuit.limits["white"] = (level - 12.0, level + 12.0)
    minuit.fixed["white"] = not with_white
    minuit.migrad()
    minuit.hesse()
    return minuit, middle


def _fitted(minuit: Minuit, name: str, *, logarithm: bool = False) -> FittedParameter:
    value, error = float(minuit.values[name]), float(minuit.errors[name])
    lower, upper = profile_interval(minuit, name)
    if logarithm:
        lower, upper = (None if end is None else math.exp(end) for end in (lower, upper))
        value, error = math.exp(value), math.exp(value) * error
    return FittedParameter(value=value, error=error, lower=lower, upper=upper)


def _at_1_Hz(minuit: Minuit, middle_Hz: float) -> FittedParameter:
    """Return the amplitude at 1 Hz, to which that of the middle is carried with the exponent."""
    log = math.log(middle_Hz)
    value = math.exp(float(minuit.values["amplitude"]) + float(minuit.values["exponent"]) * log)
    covariance = minuit.covariance
    if covariance is None:
        return FittedParameter(value=value)
    spread = math.sqrt(
        covariance["amplitude", "amplitude"]
        + 2 * log * covariance["amplitude", "exponent"]
        + log**2 * covariance["exponent", "exponent"]
    )
    lower, upper = value * math.exp(-spread), value * math.exp(spread)
    return FittedParameter(value=value, error=value * spread, lower=lower, upper=upper)
