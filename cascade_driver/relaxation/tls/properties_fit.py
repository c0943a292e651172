r"""Fit of tunnelling systems to the measured heat conduction, sound velocity or dielectric constant of a glass.

Eq. 5, 7 and 8 of A. Churkin et al. 2021 ("the paper") with the density of Eq. 3, whose exponent mu is the same at
all temperatures (Sec. III D, Fig. 4 to 6), beside the standard model, mu = 0. The tunnelling strength
:math:`P_0 \gamma^2 / \rho v^2` depends on energy and temperature then; as in the paper it is that of
:math:`T^2 + E^2` = (1 K)^2.

- Heat conduction is a power law, :math:`\kappa = \kappa_1 (T / 1\,\mathrm{K})^{2 - \mu}`. With the speeds of sound
  the strength is fitted in the place of :math:`\kappa_1`, see `conductivity_1K_W_mK`.
- Velocity and dielectric constant are fitted up to a constant, which the reference of the measurement decides.
  Of A and omega only the crossover temperature :math:`T_0 = (\omega / A)^{1/3}` enters: it is what is fitted.

The model ends where other phonon scattering sets in, for most glasses near 1 K: choose the range of the fit.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import scipy  # its `stats` is loaded where it is asked for: that takes as long as all the rest
from iminuit import Minuit
from numpy.typing import NDArray
from pydantic import Field
from scipy import constants

from cascade_driver.analysis.estimation import FitHealth, FittedParameter, Goodness
from cascade_driver.errors import FitError, InputError
from cascade_driver.relaxation.tls.density import PowerLawDensity
from cascade_driver.relaxation.tls.distribution import positive_array
from cascade_driver.relaxation.tls.properties import (
    power_law_velocity,
    relaxation_constant_per_s_K3,
    thermal_conductivity,
)
from cascade_driver.relaxation.tls.ranges import Ranges
from cascade_driver.schema import parameters
from cascade_driver.table import read_columns, rows_of

#: What is measured.
Property = Literal["conductivity", "velocity", "dielectric"]

#: The column of its values; `_error` after it is that of their standard errors, which may be missing.
COLUMNS: dict[Property, str] = {
    "conductivity": "conductivity_W_mK",
    "velocity": "velocity_shift",
    "dielectric": "dielectric_shift",
}

#: Above it phonons are scattered by other things; data that begin here are of another subject, or in millikelvin.
HOTTEST_K = 10.0

#: Parameters with the range of the fit.
_RANGES = Ranges(
    limits={
        "exponent": (-0.9, 1.9),
        "strength": (1e-12, 1.0),
        "conductivity_1K_W_mK": (1e-12, 1e6),
        "crossover_K": (1e-4, 1e2),
    },
    plain=("exponent",),
)

#: Of the density, above all energies that scatter heat at 1 K.
_CUTOFF_K = 300.0


@dataclass(frozen=True, kw_only=True, eq=False)
class PropertyData:
    """A measured property.

    Attributes
    ----------
    of : Property
    temperature_K, value : (n,) float
        Conductivity in W/(m K), or the relative change of velocity or dielectric constant from any reference.
    error : (n,) float or None
        Standard errors; None if they are not known. Then all points are taken as equally good (conductivities
        relative to their value), and their scatter about the best fit is their error.
    """

    of: Property
    temperature_K: NDArray[np.float64]
    value: NDArray[np.float64]
    error: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        positive_array(self.temperature_K, name="temperature_K")
        if self.of == "conductivity":
            positive_array(self.value, name=COLUMNS[self.of])
        if not np.all(np.isfinite(self.value)):
            raise InputError(f"`{COLUMNS[self.of]}` must be finite in every row")
        if self.error is not None:
            positive_array(self.error, name=f"{COLUMNS[self.of]}_error")

    def between(self, low_K: float, high_K: float) -> PropertyData:
        """Return the points of these temperatures."""
        keep = (self.temperature_K >= low_K) & (self.temperature_K <= high_K)
        return rows_of(self, keep)


def read_property(
    path: Path | str, *, of: Property, temperature_K: tuple[float, float] | None = None
) -> PropertyData:
    """Return the measured property of a table with columns for temperature, values and, maybe, their errors.

    Parameters
    ----------
    path : str or pathlib.Path
    of : Property
        It has the columns temperature_K and that of `COLUMNS`, and may have the latter with `_error`.
    temperature_K : (float, float), optional
        Only points from here to there.

    Raises
    ------
    InputError
        If the file cannot be read, lacks a column, or holds what cannot be.
    """
    path, column = Path(path), COLUMNS[of]
    columns = read_columns(path, ("temperature_K", column), or_also=(f"{column}_error",))
    try:
        data = PropertyData(
            of=of,
            temperature_K=columns["temperature_K"],
            value=columns[column],
            error=columns.get(f"{column}_error"),
        )
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    if (coldest_K := float(data.temperature_K.min())) > HOTTEST_K:
        raise InputError(
            f"{path}: temperatures of {coldest_K:g} K and more; two-level systems rule below some kelvin, so give "
            "colder points, or kelvin where these are millikelvin"
        )
    return data.between(*temperature_K) if temperature_K else data


@parameters
class Probe:
    """What is known beside the data.

    Attributes
    ----------
    longitudinal_speed_m_s, transverse_speed_m_s : float, optional
        Of sound; with both, the strength is fitted to a conductivity.
    frequency_Hz : float, optional
        Of the wave; it turns the crossover temperature of velocity and dielectric constant into A. A fit of a loss
        needs it.
    """

    longitudinal_speed_m_s: Annotated[float, Field(gt=0)] | None = None
    transverse_speed_m_s: Annotated[float, Field(gt=0)] | None = None
    frequency_Hz: Annotated[float, Field(gt=0)] | None = None

    @property
    def inverse_speed_s_m(self) -> float | None:
        r"""Sum over polarisations of 1/v, :math:`1/v_l + 2/v_t`; None where they are not known."""
        if self.longitudinal_speed_m_s is None or self.transverse_speed_m_s is None:
            return None
        return 1 / self.longitudinal_speed_m_s + 2 / self.transverse_speed_m_s

    def frequency_of(self, of: str) -> float:
        """Return the frequency; an `InputError` where it is missing, or where a speed is given."""
        for name in ("longitudinal_speed_m_s", "transverse_speed_m_s"):
            if getattr(self, name) is not None:
                raise InputError(f"`{name}`: it says nothing of a {of}; leave it out")
        if self.frequency_Hz is None:
            raise InputError(f"`frequency_Hz`: missing; a {of} is one at a frequency")
        return self.frequency_Hz

    def check(self, of: Property) -> None:
        """Raise an `InputError` where something is given that says nothing of a property, or half of something."""
        speeds = {name: getattr(self, name) for name in ("longitudinal_speed_m_s", "transverse_speed_m_s")}
        missing = [name for name, value in speeds.items() if value is None]
        if of == "conductivity":
            if len(missing) == 1:
                raise InputError(f"`{missing[0]}`: missing; a strength needs both speeds of sound")
            useless = ["frequency_Hz"] if self.frequency_Hz is not None else []
        else:
            useless = [name for name in speeds if name not in missing]
        if useless:
            raise InputError(f"`{useless[0]}`: it says nothing of a {of}; leave it out")


def conductivity_1K_W_mK(*, strength: float, exponent: float, inverse_speed_s_m: float) -> float:
    r"""Return the conductivity at 1 K, in W/(m K).

    .. math::
        \kappa_1 = \frac{k_B^3 (1\,\mathrm{K})^2}{24 \pi^3 \hbar^2 C} \left(\frac{1}{v_l} + \frac{2}{v_t}\right)
        \int_0^\infty \frac{x^3 (1 + x^2)^{-\mu/2}\, dx}{\sinh^2(x/2) \tanh(x/2)}

    Eq. 4 and 5 of the paper with their constants, where all polarisations have one strength C; for mu = 0 the
    integral is :math:`4 \pi^2`.
    """
    density = PowerLawDensity(prefactor=1.0, exponent=exponent, cutoff_K=_CUTOFF_K)
    shape = float(thermal_conductivity(1.0, density=density))
    return constants.k**3 * inverse_speed_s_m * shape / (24 * np.pi**3 * constants.hbar**2 * strength)


@dataclass(frozen=True, kw_only=True, eq=False)
class PropertyFit:
    r"""Tunnelling systems fitted to a property.

    Attributes
    ----------
    data : PropertyData
    parameters : dict of str to FittedParameter
        `exponent` (mu); `strength` (:math:`P_0 \gamma^2 / \rho v^2` at 1 K) or `conductivity_1K_W_mK`;
        `crossover_K` (T_0) of velocity and dielectric constant.
    probe : Probe
    standard : dict of str to float
        Parameters of the best fit of the standard model, mu = 0.
    p_value_of_standard : float
        Probability that data of the standard model lie at least as far from it as these, by the rise of
        chi-square, or F test where the errors are the scatter.
    scatter : float
        Root mean square of the residuals, per degree of freedom; of conductivities relative.
    goodness : Goodness
        Chi-square; not tested where the errors are the scatter.
    health : FitHealth
    """

    data: PropertyData
    parameters: dict[str, FittedParameter]
    probe: Probe
    standard: dict[str, float]
    p_value_of_standard: float
    scatter: float
    goodness: Goodness
    health: FitHealth

    def value(self, temperature_K: NDArray[np.float64], *, standard: bool = False) -> NDArray[np.float64]:
        """Return the fitted property, or that of the standard model, at the level of the data; (n,)."""
        named = self.standard if standard else {name: p.value for name, p in self.parameters.items()}
        T, data = np.asarray(temperature_K, dtype=np.float64), self.data
        if data.of == "conductivity":
            return model_values("conductivity", T, named, self.probe)
        # one level for both, that of the data
        together = model_values(data.of, np.concatenate([data.temperature_K, T]), named, self.probe)
        there, shown = together[: len(data.value)], together[len(data.value) :]
        return np.asarray(shown + _level(data, there))

    @property
    def relaxation_per_s_K3(self) -> FittedParameter | None:
        r"""A of Eq. 8 with omega = 2 pi f, :math:`2 \pi f / T_0^3`; None where the frequency is not known.

        The paper's A in "MHz" go with its omega "90 kHz": whatever is meant, they are in one ratio.
        """
        one, frequency = self.parameters.get("crossover_K"), self.probe.frequency_Hz
        if one is None or frequency is None:
            return None

        def constant(crossover_K: float) -> float:
            return relaxation_constant_per_s_K3(frequency_Hz=frequency, crossover_K=crossover_K)

        value = constant(one.value)
        return FittedParameter(
            value=value,
            error=None if one.error is None else 3 * value * one.error / one.value,
            lower=None if one.upper is None else constant(one.upper),
            upper=None if one.lower is None else constant(one.lower),
            is_held=one.is_held,
        )

    def as_json(self) -> Mapping[str, object]:
        """Return the fit, JSON-ready."""
        content = dataclasses.asdict(self)
        del content["data"]
        if (constant := self.relaxation_per_s_K3) is not None:
            content["relaxation_per_s_K3"] = dataclasses.asdict(constant)
        content["health"]["at_limit"] = list(self.health.at_limit)
        return {"of": self.data.of, "points": len(self.data.value), **content}


def model_values(
    of: Property, temperature_K: NDArray[np.float64], named: Mapping[str, float], probe: Probe
) -> NDArray[np.float64]:
    """Return a property by its parameters, (n,); of velocity and dielectric constant up to a constant."""
    exponent = named["exponent"]
    if of == "conductivity":
        if (inverse := probe.inverse_speed_s_m) is not None:
            first = conductivity_1K_W_mK(strength=named["strength"], exponent=exponent, inverse_speed_s_m=inverse)
        else:
            first = named["conductivity_1K_W_mK"]
        return np.asarray(first * temperature_K ** (2 - exponent))
    shift = named["strength"] * power_law_velocity(
        temperature_K, exponent=exponent, crossover_K=named["crossover_K"]
    )
    return shift if of == "velocity" else -shift


def fit_property(
    data: PropertyData, *, probe: Probe | None = None, held: Mapping[str, float] | None = None
) -> PropertyFit:
    r"""Return the tunnelling systems that fit a measured property best, by least squares.

    Parameters
    ----------
    data : PropertyData
    probe : Probe, optional
    held : mapping of str to float, optional
        exponent, strength, conductivity_1K_W_mK or crossover_K that are given instead of fitted.

    Raises
    ------
    InputError
        If a held parameter is unknown or out of its range.
    FitError
        If there are not more different temperatures than parameters.
    """
    probe = probe or Probe()
    probe.check(data.of)
    names = _names(data.of, probe)
    fixed = _RANGES.checked(held or {}, names, fit=f"a fit of {data.of}")
    free = len(names) - len(fixed) + (data.of != "conductivity")
    different = len(np.unique(np.round(np.log(data.temperature_K), 6)))
    if different <= free:
        raise FitError(f"{different} different temperatures for {free} parameters; measure at more, or hold some")
    freedom = len(data.value) - free
    error = _scattered(data, probe, fixed, freedom=freedom) if data.error is None else data.error
    best = _minimised(data, probe, fixed, error=error)
    plain = _minimised(data, probe, fixed | {"exponent": 0.0}, error=error)
    return _result(best, plain, data=data, probe=probe, held=fixed, freedom=freedom)


def _names(of: Property, probe: Probe) -> tuple[str, ...]:
    """Return the parameters of a fit."""
    if of != "conductivity":
        return ("exponent", "strength", "crossover_K")
    return ("exponent", "conductivity_1K_W_mK" if probe.inverse_speed_s_m is None else "strength")


def _unit(data: PropertyData) -> NDArray[np.float64]:
    """Return what errors that are not known are proportional to, (n,)."""
    return data.value if data.of == "conductivity" else np.ones(len(data.value))


def _residuals(data: PropertyData, named: Mapping[str, float], probe: Probe) -> NDArray[np.float64]:
    """Return data minus model, the level that they leave open fitted, (n,)."""
    model = model_values(data.of, data.temperature_K, named, probe)
    return data.value - model if data.of == "conductivity" else data.value - model - _level(data, model)


def _level(data: PropertyData, model: NDArray[np.float64]) -> float:
    """Return the constant that takes a model to the data, their weighted mean difference."""
    weight = np.ones(len(data.value)) if data.error is None else data.error**-2
    return float(np.sum(weight * (data.value - model)) / np.sum(weight))


def _scattered(
    data: PropertyData, probe: Probe, fixed: Mapping[str, float], *, freedom: int
) -> NDArray[np.float64]:
    """Return errors by which chi-square is the degrees of freedom, (n,)."""
    unit = np.abs(_unit(data))
    spread = float(np.ptp(data.value / unit)) or 1.0
    scatter = 0.1 * spread
    # a minimum is found to within a share of one standard deviation: as often as that shrinks
    for _ in range(4):
        scatter *= math.sqrt(float(_minimised(data, probe, fixed, error=scatter * unit).fval) / freedom)
        scatter = max(scatter, 1e-6 * spread)  # of exact data
    return scatter * unit


def _minimised(
    data: PropertyData, probe: Probe, fixed: Mapping[str, float], *, error: NDArray[np.float64]
) -> Minuit:
    """Return the minimised chi-square."""
    names = _names(data.of, probe)

    def chi_square(values: NDArray[np.float64]) -> float:
        named = {name: _RANGES.outer(name, float(v)) for name, v in zip(names, values, strict=True)}
        residual = _residuals(data, named, probe) / error
        return float(residual @ residual)

    starts = [np.array([_RANGES.inner(n, fixed.get(n, one[n])) for n in names]) for one in _starts(data, probe)]
    minuit = Minuit(chi_square, min(starts, key=chi_square), name=names)
    minuit.errordef = Minuit.LEAST_SQUARES
    for name in names:
        minuit.limits[name] = _RANGES.inner_limits(name)
        minuit.errors[name] = 0.1
        minuit.fixed[name] = name in fixed
    if len(fixed) < len(names):
        minuit.migrad()
        minuit.hesse()
    return minuit


def _starts(data: PropertyData, probe: Probe) -> list[dict[str, float]]:
    """Return where the search may start: from the best of them."""
    T, y = data.temperature_K, data.value
    if data.of == "conductivity":
        first = math.exp(float(np.mean(np.log(y / T**2))))
        strength = conductivity_1K_W_mK(
            strength=first, exponent=0.0, inverse_speed_s_m=probe.inverse_speed_s_m or 1.0
        )
        return [_within({"exponent": 0.1, "conductivity_1K_W_mK": first, "strength": strength})]
    found = []
    for exponent, crossover in itertools.product((0.0, 0.2), np.geomspace(0.3 * T.min(), 3 * T.max(), 7)):
        one = {"exponent": exponent, "strength": 1e-4, "crossover_K": float(crossover)}
        model = model_values(data.of, T, one, probe)
        # the strength is linear: that of the least squares, if it has the sign
        x = model - model.mean()
        found.append(_within(one | {"strength": max(1e-4 * float(x @ y / (x @ x)), 1e-8)}))
    return found


def _within(one: Mapping[str, float]) -> dict[str, float]:
    return {
        name: min(max(v, 1.01 * _RANGES.limits[name][0]), 0.99 * _RANGES.limits[name][1])
        for name, v in one.items()
    }


def _result(
    best: Minuit,
    plain: Minuit,
    *,
    data: PropertyData,
    probe: Probe,
    held: Mapping[str, float],
    freedom: int,
) -> PropertyFit:
    chi_square, scaled = float(best.fval), data.error is None
    named = {name: _RANGES.outer(name, float(best.values[name])) for name in _names(data.of, probe)}
    relative = _residuals(data, named, probe) / _unit(data)
    rise = max(float(plain.fval) - chi_square, 0.0)
    # the standard model has one parameter less; where the errors are the scatter, chi-square is `freedom`
    p_value = scipy.stats.f.sf(rise, 1, freedom) if scaled else scipy.stats.chi2.sf(rise, 1)
    goodness = Goodness.of_chi_square(chi_square, freedom)
    return PropertyFit(
        data=data,
        parameters={name: _RANGES.found(best, name, held) for name in named},
        probe=probe,
        standard={name: _RANGES.outer(name, float(plain.values[name])) for name in named},
        p_value_of_standard=float(p_value),
        scatter=float(np.sqrt(relative @ relative / freedom)),
        goodness=dataclasses.replace(goodness, p_value=None, method="none") if scaled else goodness,
        health=FitHealth.of(best),
    )
