r"""Fit of a film's dislocations to measured spectra: counts in bins, by extended binned likelihood.

Expected in bin i of detector d, with the rate R of Eq. 16 of Romani 2024, doi:10.48550/arXiv.2406.15425, and the
share p_i of the depinning events whose energy lies in the bin:

.. math::
    \mu_{di} = \left( s \, \frac{A_d R(t_d)}{m_d} \, p_i(\rho_D, \sigma_0) + b_d \, \Delta E_i \right)
        \epsilon_{di} \, X_d

p_i is an integral over stress and pinning distance, not a sample: the likelihood is smooth. s is the ad-hoc scale
of the paper and stands for Gamma/s; b_d is flat. The detector's resolution is not in it: fit well above threshold.
Spacing, stress and scale are fitted by their logarithms, in which errors are closest to Gaussian.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import scipy  # its `stats` is loaded where it is asked for: that takes as long as all the rest
from iminuit import Minuit
from iminuit.cost import ExtendedBinnedNLL
from numpy.typing import NDArray
from pydantic import Field, field_validator
from scipy.interpolate import CubicSpline

from cascade_driver.analysis.estimation import FitHealth, FittedParameter, Goodness, profile_interval
from cascade_driver.errors import FitError, InputError
from cascade_driver.relaxation.film.dislocation import StressSampling, depinning_rate_per_mm2_Hz
from cascade_driver.relaxation.film.measured import Counts, MeasuredFilm
from cascade_driver.relaxation.film.spectrum import (
    EnergyTable,
    FilmBackground,
    held_below_nm,
    mean_pinning_distance_nm,
    tabulate,
)
from cascade_driver.schema import parameters
from cascade_driver.units import SECONDS_PER_DAY

_SPACING, _STRESS, _SCALE, _FLAT = "dislocation_spacing_nm", "bulk_stress_MPa", "scale", "flat"

#: Nodes of the integral over stress (Gauss-Legendre) and over distance, in means.
_STRESS_NODES = 64
_DISTANCES = np.concatenate([[0.0], np.geomspace(1e-3, 14.0, 160)])

#: Points per interval at which splines between the distances are read: the kinks that are left do not move Minuit.
_REFINED = 16

#: Of the table, which covers wide ranges.
_TABLE_NODES = (25, 17)

#: Less than this expected in a bin is this: a likelihood of events where none are expected has no slope.
_LEAST = 1e-12

_SCALES = (1e-6, 1e4)


_Positive = Annotated[float, Field(gt=0)]


@parameters
class FitRanges:
    """Between which a film is looked for; its table of energies is made for all of it.

    Attributes
    ----------
    spacing_nm : (float, float)
        Dislocation spacings.
    stress_MPa : (float, float)
        Bulk stresses.
    """

    spacing_nm: tuple[_Positive, _Positive] = (25.0, 150.0)
    stress_MPa: tuple[_Positive, _Positive] = (60.0, 200.0)

    @field_validator("spacing_nm", "stress_MPa")
    @classmethod
    def _rises(cls, ends: tuple[float, float]) -> tuple[float, float]:
        if not ends[0] < ends[1]:
            raise ValueError(f"expected two rising numbers, found {ends[0]:g} and {ends[1]:g}")
        return ends


@dataclass(frozen=True, kw_only=True, eq=False)
class FittedSpectrum:
    """A measured spectrum beside the best fit.

    Attributes
    ----------
    name : str
    energy_edges_eV : (n + 1,) float
    events, expected, flat : (n,) float
        Counted, expected in all, expected of the flat part alone.
    exposure_per_rate : (n,) float
        Events per rate of 1 /(kg day keV).
    """

    name: str
    energy_edges_eV: NDArray[np.float64]
    events: NDArray[np.float64]
    expected: NDArray[np.float64]
    flat: NDArray[np.float64]
    exposure_per_rate: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class FilmFit:
    """A film fitted to measured spectra.

    Attributes
    ----------
    parameters : dict of str to FittedParameter
        `dislocation_spacing_nm`, `bulk_stress_MPa`, `scale` and, for each detector, `flat_1` ... in counts per kg,
        day and keV.
    gamma : FittedParameter
        The Gamma that the scale stands for: that of the input over the scale.
    spectra : tuple of FittedSpectrum
        In the order of the flat parts.
    goodness : Goodness
        Deviance (Baker & Cousins 1984, doi:10.1016/0167-5087(84)90016-4); with a handful of events per bin its
        chi-square limit is rough.
    health : FitHealth
    interpolation_error : float
        Of the table of energies.
    """

    parameters: dict[str, FittedParameter]
    gamma: FittedParameter
    spectra: tuple[FittedSpectrum, ...]
    goodness: Goodness
    health: FitHealth
    interpolation_error: float

    def as_json(self) -> Mapping[str, object]:
        """Return the fit, JSON-ready."""
        content = dataclasses.asdict(self)
        content["health"]["at_limit"] = list(self.health.at_limit)
        content["spectra"] = [
            {n: v.tolist() if isinstance(v, np.ndarray) else v for n, v in one.items()}
            for one in content["spectra"]
        ]
        return content


def shares_below(
    table: EnergyTable, energy_eV: NDArray[np.float64], *, spacing_nm: float, stress_MPa: float
) -> NDArray[np.float64]:
    r"""Return the share of depinning events with less than some energies into the crystal, (n,).

    .. math:: F(E) = \int_0^1 du \; \Pr\big(E_\mathrm{tot}(h, \tau(u)) < E\big)

    with u = sin(theta), or theta over a right angle in the program's sampling (Eq. 13-14), and h exponential.

    Raises
    ------
    InputError
        If the table does not reach the stress or spacing.
    """
    film = dataclasses.replace(table.film, dislocation_spacing_nm=spacing_nm, bulk_stress_MPa=stress_MPa)
    if spacing_nm > table.film.dislocation_spacing_nm * (1 + 1e-9):
        raise InputError(
            f"a spacing of {spacing_nm:g} nm, but the table is of {table.film.dislocation_spacing_nm:g} nm."
        )
    node, weight = np.polynomial.legendre.leggauss(_STRESS_NODES)
    u, weight = 0.5 * (node + 1.0), 0.5 * weight
    if film.stress_sampling is StressSampling.WEIGHT:
        tau = stress_MPa * u * np.sqrt(1.0 - u**2)
    else:
        tau = 0.5 * stress_MPa * np.sin(np.pi * u) * np.cos(0.5 * np.pi * u)
    mean = mean_pinning_distance_nm(tau, film=film, interface=table.interface)[:, None]
    reach = _DISTANCES * np.ones_like(mean)
    if film.largest_start_nm is not None:
        reach = np.minimum(reach, film.largest_start_nm / mean)
    energy = table.energy_eV(np.maximum(reach * mean, 1e-6), np.broadcast_to(tau[:, None], reach.shape))
    fine = np.linspace(0, len(_DISTANCES) - 1, _REFINED * (len(_DISTANCES) - 1) + 1)
    energy = CubicSpline(np.arange(len(_DISTANCES)), energy, axis=1)(fine)
    reach = CubicSpline(np.arange(len(_DISTANCES)), reach, axis=1)(fine)
    # Beyond the table energies fall: those few are taken at its end.
    energy = np.maximum.accumulate(energy, axis=1)
    # Distances are closer to linear in the energy than shares.
    at = np.array([np.interp(energy_eV, e, t, right=t[-1]) for e, t in zip(energy, reach, strict=True)])
    # What is pinned further out leaves through the free surface and has no energy.
    held = np.maximum(held_below_nm(tau, interface=table.interface)[:, None] / mean, 0.0)
    below = -np.expm1(-np.minimum(at, held)) + np.maximum(np.exp(-held) - np.exp(-reach[:, -1:]), 0.0)
    return np.asarray(weight @ (below / -np.expm1(-reach[:, -1:])), dtype=np.float64)


def table_for(background: FilmBackground, ranges: FitRanges) -> EnergyTable:
    """Return the table of energies that serves all films within some ranges.

    Raises
    ------
    InputError
        If the film has `steps`, whose energies jump.
    """
    if background.film.steps is not None:
        raise InputError(
            "a film with `steps` cannot be fitted, its energies jump; leave them out, or take film.toml."
        )
    film = dataclasses.replace(
        background.film, dislocation_spacing_nm=ranges.spacing_nm[1], bulk_stress_MPa=ranges.stress_MPa[1]
    )
    starts, stresses = _TABLE_NODES
    table = tabulate(film=film, interface=background.interface, start_nodes=starts, stress_nodes=stresses)
    assert isinstance(table, EnergyTable)
    return table


def fit_film(
    background: FilmBackground,
    measured: Sequence[tuple[MeasuredFilm, Counts]],
    *,
    held: Mapping[str, float] | None = None,
    ranges: FitRanges | None = None,
    table: EnergyTable | None = None,
) -> FilmFit:
    """Return the film that fits one or more measured spectra best: all share its dislocations, stress and scale.

    Parameters
    ----------
    background : FilmBackground
        Gives all that is not fitted, and where the search starts.
    measured : sequence of (MeasuredFilm, Counts)
    held : mapping of str to float, optional
        Not to fit: dislocation_spacing_nm, bulk_stress_MPa, scale, flat_1, flat_2 ...
    ranges : FitRanges, optional
    table : EnergyTable, optional
        Of `table_for` these ranges.

    Raises
    ------
    InputError
        If there is no spectrum, or a held parameter is unknown or outside its range.
    FitError
        If there are fewer bins than parameters.
    """
    if not measured:
        raise InputError("no measured spectrum to fit: give at least one [[measured]], or --measured.")
    within, fixed = ranges or FitRanges(), dict(held or {})
    flats = [f"{_FLAT}_{number}" for number in range(1, len(measured) + 1)]
    limits = {_SPACING: within.spacing_nm, _STRESS: within.stress_MPa, _SCALE: _SCALES}
    limits |= dict.fromkeys(flats, (0.0, np.inf))
    _check_held(fixed, limits)
    bins = sum(len(counts.events) for _, counts in measured)
    if bins < len(limits) - len(fixed):
        raise FitError(f"{bins} bins for {len(limits) - len(fixed)} parameters; hold some, or take more bins.")
    energies = _Energies(table if table is not None else table_for(background, within))
    model = [
        _Detector(background, *one, energies=energies, flat=flat)
        for one, flat in zip(measured, flats, strict=True)
    ]
    costs = [ExtendedBinnedNLL(d.counts.events, d.edges, d.cumulated, name=d.names) for d in model]
    total = functools.reduce(lambda a, b: a + b, costs[1:], costs[0])
    start = _start(model, background, limits=limits, fixed=fixed)
    minuit = Minuit(total, **{name: _inner(name, value) for name, value in start.items()})
    for name in minuit.parameters:
        minuit.limits[name] = tuple(_inner(name, end) for end in limits[name])
        minuit.fixed[name] = name in fixed
    minuit.migrad()
    minuit.hesse()
    return _result(minuit, model, background=background, bins=bins, fixed=fixed, table=energies.table)


def _check_held(fixed: Mapping[str, float], limits: Mapping[str, tuple[float, float]]) -> None:
    for name, value in fixed.items():
        if name not in limits:
            raise InputError(f"`{name}` cannot be held: expected one of {', '.join(limits)}.")
        low, high = limits[name]
        if not low <= value <= high:
            raise InputError(f"`{name}` is held at {value:g}, expected {low:g} to {high:g}.")


def _inner(name: str, value: float) -> float:
    """Return the variable of the minimiser: logarithms, but flat parts as they are."""
    return value if name.startswith(_FLAT) else math.log(value)


def _outer(name: str, value: float) -> float:
    """Undo `_inner`."""
    return value if name.startswith(_FLAT) else math.exp(value)


class _Energies:
    """Shares below the edges of all detectors, kept for the film that was asked for last."""

    def __init__(self, table: EnergyTable) -> None:
        self.table = table
        self.below = functools.lru_cache(maxsize=8)(self._below)

    def _below(self, spacing_nm: float, stress_MPa: float, edges_eV: tuple[float, ...]) -> NDArray[np.float64]:
        return shares_below(self.table, np.array(edges_eV), spacing_nm=spacing_nm, stress_MPa=stress_MPa)


class _Detector:
    """What one detector expects of a film, for the likelihood."""

    def __init__(
        self, background: FilmBackground, film: MeasuredFilm, counts: Counts, *, energies: _Energies, flat: str
    ) -> None:
        self.background, self.film, self.counts, self.energies = background, film, counts, energies
        self.edges = counts.energy_edges_eV
        self.names = (_SPACING, _STRESS, _SCALE, flat)

    def expected(self, spacing_nm: float, stress_MPa: float, scale: float, flat: float) -> NDArray[np.float64]:
        """Return the events expected in each bin, (n,)."""
        film = dataclasses.replace(self.background.film, dislocation_spacing_nm=spacing_nm)
        per_mm2 = depinning_rate_per_mm2_Hz(
            self.film.days_since_cooldown * SECONDS_PER_DAY,
            film=film,
            metal=self.background.interface.metal,
            tunnelling=self.background.tunnelling,
        )
        share = np.diff(self.energies.below(spacing_nm, stress_MPa, tuple(self.edges.tolist())))
        per_kg_day = float(per_mm2) * self.film.film_area_mm2 * SECONDS_PER_DAY / self.film.detector_mass_kg
        seen = self.counts.exposure_kg_day * self.counts.efficiency
        events = scale * per_kg_day * share * seen + flat * self.counts.exposure_per_rate
        return np.maximum(events, _LEAST)

    def cumulated(
        self, _edges: NDArray[np.float64], spacing: float, stress: float, scale: float, flat: float
    ) -> NDArray[np.float64]:
        """Return the events expected below each edge, (n + 1,), of the variables of the minimiser."""
        outer = (_outer(n, v) for n, v in zip(self.names, (spacing, stress, scale, flat), strict=True))
        return np.concatenate([[0.0], np.cumsum(self.expected(*outer))])


def _start(
    model: Sequence[_Detector],
    background: FilmBackground,
    *,
    limits: Mapping[str, tuple[float, float]],
    fixed: Mapping[str, float],
) -> dict[str, float]:
    """Return the best of a few films: scale from all counts, flat part from the last quarter of the bins."""
    (low, high), (weak, strong) = limits[_SPACING], limits[_STRESS]
    spacings = [fixed[_SPACING]] if _SPACING in fixed else np.geomspace(1.1 * low, 0.9 * high, 5).tolist()
    stress = fixed.get(_STRESS, min(max(background.film.bulk_stress_MPa, 1.05 * weak), 0.95 * strong))
    found: list[tuple[float, dict[str, float]]] = []
    for spacing in spacings:
        here = {_SPACING: spacing, _STRESS: stress}
        flats = {}
        for one in model:
            last = slice(-max(1, len(one.counts.events) // 4), None)
            level = one.counts.events[last].sum() / one.counts.exposure_per_rate[last].sum()
            flats[one.names[3]] = fixed.get(one.names[3], 0.5 * level)
        of_film = sum(float(one.expected(spacing, stress, 1.0, 0.0).sum()) for one in model)
        flat = sum(float((flats[one.names[3]] * one.counts.exposure_per_rate).sum()) for one in model)
        events = sum(float(one.counts.events.sum()) for one in model)
        scale = fixed.get(_SCALE, float(np.clip(max(events - flat, 0.1 * events + 1) / of_film, *_SCALES)))
        deviance = 0.0
        for one in model:
            mu = one.expected(spacing, stress, scale, flats[one.names[3]])
            deviance += float(np.sum(mu - one.counts.events * np.log(mu)))
        found.append((deviance, here | {_SCALE: scale} | flats))
    return min(found, key=lambda one: one[0])[1]


def _result(
    minuit: Minuit,
    model: Sequence[_Detector],
    *,
    background: FilmBackground,
    bins: int,
    fixed: Mapping[str, float],
    table: EnergyTable,
) -> FilmFit:
    found: dict[str, FittedParameter] = {}
    for name in minuit.parameters:
        if name in fixed:
            found[name] = FittedParameter(value=fixed[name], is_held=True)
            continue
        value = _outer(name, float(minuit.values[name]))
        lower, upper = (None if end is None else _outer(name, end) for end in profile_interval(minuit, name))
        error = float(minuit.errors[name]) * (1.0 if name.startswith(_FLAT) else value)
        found[name] = FittedParameter(
            value=value, error=error if minuit.fmin.has_accurate_covar else None, lower=lower, upper=upper
        )
    scale, gamma = found[_SCALE], background.tunnelling.gamma(background.interface.metal)
    freedom, deviance = bins - len(minuit.parameters) + len(fixed), float(minuit.fval)
    return FilmFit(
        parameters=found,
        gamma=FittedParameter(
            value=gamma / scale.value,
            error=None if scale.error is None else gamma / scale.value * scale.error / scale.value,
            lower=None if scale.upper is None else gamma / scale.upper,
            upper=None if scale.lower is None else gamma / scale.lower,
            is_held=scale.is_held,
        ),
        spectra=tuple(_beside(one, minuit) for one in model),
        goodness=Goodness(
            name="deviance",
            statistic=deviance,
            degrees_of_freedom=freedom,
            p_value=float(scipy.stats.chi2.sf(deviance, freedom)) if freedom > 0 else None,
            method="chi-square" if freedom > 0 else "none",
        ),
        health=FitHealth.of(minuit),
        interpolation_error=table.interpolation_error,
    )


def _beside(one: _Detector, minuit: Minuit) -> FittedSpectrum:
    values = [_outer(name, float(minuit.values[name])) for name in one.names]
    return FittedSpectrum(
        name=one.film.called,
        energy_edges_eV=one.edges,
        events=one.counts.events,
        expected=one.expected(*values),
        flat=values[-1] * one.counts.exposure_per_rate,
        exposure_per_rate=one.counts.exposure_per_rate,
    )
