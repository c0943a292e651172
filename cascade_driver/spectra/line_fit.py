"""Lines in a measured spectrum: their positions, and what these say about the energy scale."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import scipy  # its `stats` is loaded where it is asked for: that takes as long as all the rest
from iminuit import Minuit
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri_exp, xlogy

from cascade_driver.analysis.estimation import FitHealth, Goodness
from cascade_driver.errors import FitError, InputError
from cascade_driver.files import write_file
from cascade_driver.schema import plain
from cascade_driver.spectra.detector import sampled_counts
from cascade_driver.spectrum import Spectrum, check_edges

ScaleName = Literal["absolute", "proportional", "straight_line"]

#: Below this expected count in a bin the chi-square limit of the deviance is not to be trusted (Cochran's rule).
_SMALLEST_EXPECTED = 5.0


@dataclass(frozen=True, kw_only=True, eq=False)
class LineTemplate:
    """What a peak is made of before the detector: lines that move together.

    The "81 eV" peak of CaWO4 holds recoils of 78.3, 79.5 and 81.3 eV: one Gaussian would not be its shape, and the
    middle of the three not its position.

    Attributes
    ----------
    name : str
        For tables and messages.
    energy_eV : (n,) float
        Of its components, without stored energy.
    weight : (n,) float
        Relative intensities.

    Raises
    ------
    InputError
        If there is no component, or one of them is impossible.
    """

    name: str
    energy_eV: NDArray[np.float64]
    weight: NDArray[np.float64]

    def __post_init__(self) -> None:
        energy, weight = np.array(self.energy_eV, dtype=np.float64), np.array(self.weight, dtype=np.float64)
        if energy.ndim != 1 or energy.shape != weight.shape or not len(energy):
            raise InputError(
                f"line {self.name}: energies {energy.shape}, weights {weight.shape}; expected one each"
            )
        if not (np.all(np.isfinite(energy)) and np.all(np.isfinite(weight)) and np.all(weight >= 0)):
            raise InputError(f"line {self.name}: energies and weights must be finite, weights not below 0")
        if not weight.sum() > 0:
            raise InputError(f"line {self.name}: no intensity in it; widen its window")
        object.__setattr__(self, "energy_eV", energy)
        object.__setattr__(self, "weight", weight / weight.sum())

    @property
    def mean_energy_eV(self) -> float:
        """Mean of the components: what a shift is counted from."""
        return float(self.weight @ self.energy_eV)

    @property
    def spread_eV(self) -> float:
        """Standard deviation of the components."""
        return math.sqrt(float(self.weight @ (self.energy_eV - self.mean_energy_eV) ** 2))

    @classmethod
    def single(cls, energy_eV: float) -> LineTemplate:
        """Return the template of one line."""
        return cls(name=f"{energy_eV:g} eV", energy_eV=np.array([energy_eV]), weight=np.ones(1))

    @classmethod
    def from_spectrum(cls, spectrum: Spectrum, *, low_eV: float, high_eV: float, name: str = "") -> LineTemplate:
        """Return what a recoil spectrum has between two energies, above the lower of its ends, as a template.

        Raises
        ------
        InputError
            If there is nothing.
        """
        centre = spectrum.energy_centers_eV
        inside = (centre >= low_eV) & (centre <= high_eV)
        if np.count_nonzero(inside) < 2:
            raise InputError(f"line {name}: the spectrum has no two bins from {low_eV:g} to {high_eV:g} eV")
        counts = (spectrum.total_rate_per_kg_day_keV * spectrum.bin_widths_keV)[inside]
        # what lies under the lines is no part of them: the median is the level of the bins without a line
        above = np.maximum(counts - np.median(counts), 0.0)
        return cls(name=name or f"{low_eV:g}-{high_eV:g} eV", energy_eV=centre[inside], weight=above)


@dataclass(frozen=True, kw_only=True)
class FittedLine:
    """One peak of a fit.

    Attributes
    ----------
    name : str
    reference_energy_eV : float
        Mean energy of its template.
    shift_eV, shift_error_eV : float
        By how much the template had to move.
    width_eV, width_error_eV : float
        Standard deviation that its components had to be smeared with.
    counts, counts_error : float
        In the peak.
    """

    name: str
    reference_energy_eV: float
    shift_eV: float
    shift_error_eV: float
    width_eV: float
    width_error_eV: float
    counts: float
    counts_error: float

    @property
    def position_eV(self) -> float:
        """Where the mean of the template was found."""
        return self.reference_energy_eV + self.shift_eV


@dataclass(frozen=True, kw_only=True)
class LineFit:
    """Lines and background fitted to counts, with all that says how far to trust them.

    Attributes
    ----------
    lines : tuple of FittedLine
    shift_covariance_eV2 : tuple of tuple of float
        (k, k) of the shifts.
    energy_edges_eV : tuple of float
        Bins of the fit.
    counts, expected_counts, background_counts : tuple of float
        In each bin: what was fitted to, lines and background, background alone.
    goodness : Goodness
        Deviance against one free rate per bin.
    health : FitHealth
    """

    lines: tuple[FittedLine, ...]
    shift_covariance_eV2: tuple[tuple[float, ...], ...]
    energy_edges_eV: tuple[float, ...]
    counts: tuple[float, ...]
    expected_counts: tuple[float, ...]
    background_counts: tuple[float, ...]
    goodness: Goodness
    health: FitHealth

    @property
    def positions_eV(self) -> NDArray[np.float64]:
        """(k,) found positions."""
        return np.array([line.position_eV for line in self.lines])


@dataclass(frozen=True, kw_only=True)
class ScaleTest:
    """A hypothesis about the energy scale, tested by the positions of lines.

    Attributes
    ----------
    name : {'absolute', 'proportional', 'straight_line'}
        Observed energy equal to the recoil energy; proportional to it; a straight line in it.
    chi_square : float
        Its distance from the positions.
    degrees_of_freedom : int
        Lines less parameters: k, k - 1, k - 2.
    p_value : float
        Probability of a greater distance if it holds.
    significance : float
        The same as a two-sided number of standard deviations of a normal law.
    """

    name: ScaleName
    chi_square: float
    degrees_of_freedom: int
    p_value: float
    significance: float


def fit_lines(
    counts: ArrayLike,
    *,
    energy_edges_eV: ArrayLike,
    lines: Sequence[LineTemplate],
    resolution_eV: float,
    background_order: int = 2,
    fixed_resolution: bool = False,
    starting_shift_eV: Sequence[float] | None = None,
) -> LineFit:
    r"""Return the positions, widths and counts of lines over a smooth background.

    Expected in the bin :math:`[a, b]` are

    .. math::
        \mu = \sum_k N_k \sum_j w_{kj} \left[ \Phi\!\left(\frac{b - e_{kj} - \delta_k}{\sigma_k}\right)
        - \Phi\!\left(\frac{a - e_{kj} - \delta_k}{\sigma_k}\right) \right]
        + (b - a) \exp \sum_m c_m T_m(x)

    with the components e, w of each template, its shift delta, width sigma and counts N, and Chebyshev polynomials
    T of the energy for the background. The Poisson likelihood of all bins is maximised as the deviance of Baker
    and Cousins (doi:10.1016/0167-5087(84)90016-4), whose minimum says how well the model describes the counts.

    Parameters
    ----------
    counts : (n,) array_like
        Measured numbers of events; expected ones (the Asimov data set) give expected errors.
    energy_edges_eV : (n + 1,) array_like
    lines : sequence of LineTemplate
    resolution_eV : float
        Where the widths start from.
    background_order : int
        Of the polynomial in the exponent; -1 for none.
    fixed_resolution : bool
        Keep the widths there.
    starting_shift_eV : sequence of float, optional
        Where the shifts start from; 0 by default.

    Raises
    ------
    InputError
        If counts, edges, lines or settings cannot be.
    FitError
        If no minimum with errors is found.
    """
    edges = check_edges(energy_edges_eV)
    seen = _checked_counts(counts, edges)
    if not lines:
        raise InputError("no lines to fit, expected at least one template")
    if not (math.isfinite(resolution_eV) and resolution_eV > 0):
        raise InputError(f"resolution of a line fit is {resolution_eV:g} eV, expected more than 0")
    if not -1 <= background_order <= 8:
        raise InputError(f"background order is {background_order}, expected -1 (none) to 8")
    outside = [line for line in lines if not edges[0] < line.mean_energy_eV < edges[-1]]
    if outside:
        raise InputError(
            f"line {outside[0].name} at {outside[0].mean_energy_eV:g} eV lies outside the bins from {edges[0]:g} "
            f"to {edges[-1]:g} eV; widen the range, or leave it out"
        )
    shifts = [0.0] * len(lines) if starting_shift_eV is None else list(starting_shift_eV)
    if len(shifts) != len(lines):
        raise InputError(f"{len(shifts)} starting shifts for {len(lines)} lines, expected one each")
    model = _Model(edges, tuple(lines), background_order)
    minuit = _minimise(model, seen, resolution_eV=resolution_eV, fixed=fixed_resolution, shifts=shifts)
    return _result(model, seen, minuit)


def _checked_counts(counts: ArrayLike, edges: NDArray[np.float64]) -> NDArray[np.float64]:
    seen = np.asarray(counts, dtype=np.float64)
    if seen.shape != (len(edges) - 1,):
        raise InputError(f"counts of shape {seen.shape} in {len(edges) - 1} bins; expected one number per bin")
    wrong = ~(np.isfinite(seen) & (seen >= 0))
    if np.any(wrong):
        at = int(np.argmax(wrong))
        raise InputError(
            f"counts in bin {at} ({edges[at]:g} to {edges[at + 1]:g} eV) are {seen[at]:g}, expected 0 or more"
        )
    if not seen.sum() > 0:
        raise InputError("no counts in any bin; expected some to fit")
    return seen


@dataclass(frozen=True)
class _Model:
    """Expected counts as a function of the parameters: per line counts, shift, ln width; then the background."""

    edges: NDArray[np.float64]
    lines: tuple[LineTemplate, ...]
    order: int

    @property
    def names(self) -> list[str]:
        per_line = [f"{what}_{k}" for k in range(len(self.lines)) for what in ("counts", "shift", "log_width")]
        return [*per_line, *(f"background_{m}" for m in range(self.order + 1))]

    def shape(self, k: int, shift: float, log_width: float) -> NDArray[np.float64]:
        line = self.lines[k]
        z = (self.edges[:, None] - line.energy_eV - shift) / math.exp(log_width)
        return np.asarray(np.diff(ndtr(z) @ line.weight))

    def background(self, coefficients: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.order < 0:
            return np.zeros(len(self.edges) - 1)
        centre = 0.5 * (self.edges[1:] + self.edges[:-1])
        x = 2 * (centre - self.edges[0]) / (self.edges[-1] - self.edges[0]) - 1
        exponent = np.polynomial.chebyshev.chebval(x, coefficients)
        return np.asarray(np.diff(self.edges) * np.exp(np.clip(exponent, -50, 50)))

    def expected(self, theta: NDArray[np.float64]) -> NDArray[np.float64]:
        n = 3 * len(self.lines)
        peaks = [theta[3 * k] * self.shape(k, theta[3 * k + 1], theta[3 * k + 2]) for k in range(len(self.lines))]
        return np.asarray(np.sum(peaks, axis=0) + self.background(theta[n:]))


def _half_deviance(seen: NDArray[np.float64], expected: NDArray[np.float64]) -> float:
    """Return half the deviance of Poisson counts: mu - n + n ln(n / mu)."""
    safe = np.maximum(expected, 1e-12)
    return float(np.sum(safe - seen + xlogy(seen, seen) - xlogy(seen, safe)))


def _minimise(
    model: _Model, seen: NDArray[np.float64], *, resolution_eV: float, fixed: bool, shifts: Sequence[float]
) -> Minuit:
    width = np.diff(model.edges)
    level = max(float(np.percentile(seen / width, 25)), 1e-3 * float(np.mean(seen / width)), 1e-9)
    centre = 0.5 * (model.edges[1:] + model.edges[:-1])
    start = []
    for line, shift in zip(model.lines, shifts, strict=True):
        near = np.abs(centre - line.mean_energy_eV - shift) < 1.5 * resolution_eV + line.spread_eV
        floor = level if model.order >= 0 else 0.0
        start += [max(float(np.sum((seen - floor * width)[near])), 0.01 * float(seen.sum())), shift]
        start += [math.log(resolution_eV)]
    start += [math.log(level), *[0.0] * model.order] if model.order >= 0 else []

    def cost(theta: NDArray[np.float64]) -> float:
        return _half_deviance(seen, model.expected(np.asarray(theta)))

    minuit = Minuit(cost, np.array(start), name=model.names)
    minuit.errordef = Minuit.LIKELIHOOD
    for k, line in enumerate(model.lines):
        minuit.limits[f"counts_{k}"] = (0.0, None)
        minuit.errors[f"counts_{k}"] = math.sqrt(start[3 * k]) + 1
        reach = 5 * resolution_eV + line.spread_eV
        minuit.limits[f"shift_{k}"] = (shifts[k] - reach, shifts[k] + reach)
        minuit.errors[f"shift_{k}"] = 0.2 * resolution_eV
        minuit.limits[f"log_width_{k}"] = (math.log(resolution_eV) - 2.5, math.log(resolution_eV) + 1.5)
        minuit.errors[f"log_width_{k}"] = 0.1
        minuit.fixed[f"log_width_{k}"] = fixed
    for m in range(model.order + 1):
        minuit.errors[f"background_{m}"] = 0.1
    # heights first: a polynomial that is still far off would push lines away
    free = [
        name for name in minuit.parameters if name.startswith(("shift", "log_width")) and not minuit.fixed[name]
    ]
    for name in free:
        minuit.fixed[name] = True
    minuit.strategy = 1
    minuit.migrad(ncall=20_000)
    for name in free:
        minuit.fixed[name] = False
    minuit.migrad(ncall=20_000)
    for _ in range(2):
        if not minuit.valid:
            minuit.simplex().migrad(ncall=20_000)
    minuit.strategy = 2
    minuit.hesse()
    if not minuit.valid:
        minuit.migrad(ncall=20_000).hesse()
    return minuit


def _numbers(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def _result(model: _Model, seen: NDArray[np.float64], minuit: Minuit) -> LineFit:
    health = FitHealth.of(minuit)
    if minuit.covariance is None or not health.is_valid:
        raise FitError(
            "the line fit found no minimum with errors: look at the spectrum, give starting shifts, a narrower "
            "range or another background order"
        )
    if not health.has_accurate_covariance:
        names = ", ".join(line.name for line in model.lines)
        raise FitError(
            f"{len(seen)} bins with {seen.sum():.6g} counts do not determine position, width and counts of "
            f"{names} over {model.order + 1} numbers of the background: leave out lines that coincide or are not "
            "seen, keep the resolution, or measure more"
        )
    values, errors = np.array(minuit.values), np.array(minuit.errors)
    lines = []
    for k, template in enumerate(model.lines):
        width = math.exp(values[3 * k + 2])
        lines.append(
            FittedLine(
                name=template.name,
                reference_energy_eV=template.mean_energy_eV,
                shift_eV=float(values[3 * k + 1]),
                shift_error_eV=float(errors[3 * k + 1]),
                width_eV=width,
                width_error_eV=0.0 if minuit.fixed[3 * k + 2] else float(width * errors[3 * k + 2]),
                counts=float(values[3 * k]),
                counts_error=float(errors[3 * k]),
            )
        )
    at = [3 * k + 1 for k in range(len(model.lines))]
    covariance = np.array(minuit.covariance)[np.ix_(at, at)]
    expected = model.expected(values)
    deviance = 2 * _half_deviance(seen, expected)
    freedom = len(seen) - minuit.nfit
    trusted = freedom > 0 and float(expected.min()) >= _SMALLEST_EXPECTED
    return LineFit(
        lines=tuple(lines),
        shift_covariance_eV2=tuple(tuple(float(c) for c in row) for row in covariance),
        energy_edges_eV=_numbers(model.edges),
        counts=_numbers(seen),
        expected_counts=_numbers(expected),
        background_counts=_numbers(model.background(values[3 * len(model.lines) :])),
        goodness=Goodness(
            name="deviance",
            statistic=deviance,
            degrees_of_freedom=freedom,
            p_value=float(scipy.stats.chi2.sf(deviance, freedom)) if trusted else None,
            method="chi-square" if trusted else "none",
        ),
        health=health,
    )


def energy_scale_tests(
    recoil_energy_eV: ArrayLike,
    position_eV: ArrayLike,
    *,
    covariance_eV2: ArrayLike,
    scale_error: float = 0.0,
) -> tuple[ScaleTest, ...]:
    r"""Return how far the positions of lines are from an energy scale without loss.

    Three hypotheses, each with its chi-square minimised over the parameters:

    * *absolute*, :math:`E_\mathrm{obs} = E_R`: a calibration from elsewhere, known to `scale_error`;
    * *proportional*, :math:`E_\mathrm{obs} = g E_R`: the gain is free, zero is zero;
    * *straight line*, :math:`E_\mathrm{obs} = a + g E_R`: gain and offset are free.

    Stored energy in CaWO4 is close to an offset plus a gain: a straight line through 81 and 160 eV misses the mean
    stored energy at 112 eV by 0.03 eV. The last test sees next to nothing of it, the second sees the offset,
    the first all.

    Parameters
    ----------
    recoil_energy_eV, position_eV : (k,) array_like
        Where lines should be, and where they were found.
    covariance_eV2 : (k, k) array_like
        Of the positions.
    scale_error : float
        Relative error of the absolute scale, common to all lines; used by the first test alone.

    Returns
    -------
    tuple of ScaleTest
        Those with at least one degree of freedom.

    Raises
    ------
    InputError
        If shapes do not fit or the covariance is none.
    """
    energy, found = np.asarray(recoil_energy_eV, dtype=np.float64), np.asarray(position_eV, dtype=np.float64)
    covariance = np.asarray(covariance_eV2, dtype=np.float64)
    k = len(energy)
    if found.shape != (k,) or covariance.shape != (k, k):
        raise InputError(
            f"{k} lines with positions {found.shape} and covariance {covariance.shape}: make them agree"
        )
    if not (math.isfinite(scale_error) and scale_error >= 0):
        raise InputError(f"error of the scale is {scale_error:g}, expected at least 0")
    smallest = float(np.linalg.eigvalsh(covariance).min()) if np.all(np.isfinite(covariance)) else -1.0
    if not smallest > 0:
        raise InputError("the covariance of the positions is not positive definite: the fit gave no errors")
    bases: dict[ScaleName, list[NDArray[np.float64]]] = {
        "absolute": [],
        "proportional": [energy],
        "straight_line": [np.ones(k), energy],
    }
    tests = []
    for name, basis in bases.items():
        freedom = k - len(basis)
        if freedom < 1:
            continue
        within = covariance + (scale_error**2 * np.outer(energy, energy) if name == "absolute" else 0.0)
        tests.append(_scale_test(name, _distance(found - energy, basis, within), freedom))
    return tuple(tests)


def _distance(
    residual: NDArray[np.float64], basis: list[NDArray[np.float64]], covariance: NDArray[np.float64]
) -> float:
    """Return the smallest chi-square of a residual less any combination of the basis."""
    root = np.linalg.cholesky(covariance)
    white = np.linalg.solve(root, residual)
    if basis:
        columns = np.linalg.solve(root, np.stack(basis, axis=1))
        white = white - columns @ np.linalg.lstsq(columns, white, rcond=None)[0]
    return float(white @ white)


def _scale_test(name: ScaleName, chi_square: float, freedom: int) -> ScaleTest:
    # far out p is no float: then the first term of its asymptotic series, as a logarithm
    half = chi_square / 2
    far = -half + (freedom / 2 - 1) * math.log(max(half, 1e-300)) - math.lgamma(freedom / 2)
    log_p = float(scipy.stats.chi2.logsf(chi_square, freedom)) if chi_square < 1000 else far
    significance = max(0.0, -float(ndtri_exp(log_p - math.log(2))))
    return ScaleTest(
        name=name,
        chi_square=chi_square,
        degrees_of_freedom=freedom,
        p_value=math.exp(log_p),
        significance=significance,
    )


def fit_spectrum_lines(
    spectrum: Spectrum,
    *,
    at_eV: Sequence[float],
    exposure_kg_day: float,
    resolution_eV: float,
    between_eV: tuple[float, float] | None = None,
    background_order: int = 6,
    recoil: Spectrum | None = None,
    half_window_eV: float = 4.0,
    loss_eV: Sequence[float] | None = None,
    scale_error: float = 0.0,
) -> tuple[LineFit, tuple[ScaleTest, ...]]:
    """Return the lines of a spectrum for an exposure, and what they say about the energy scale.

    Parameters
    ----------
    spectrum : Spectrum
        After the detector, measured or expected (then errors and distances are those of the Asimov data set).
    at_eV : sequence of float
        Recoil energies of the lines.
    exposure_kg_day : float
        Makes counts of rates.
    resolution_eV : float
        Standard deviation by which the detector smears a line.
    background_order : int
        Degree of the polynomial beneath the lines; -1 for none.
    between_eV : (float, float), optional
        Range of the fit; 5 resolutions beyond the lines by default.
    recoil : Spectrum, optional
        Of recoils in fine bins: each line is what it has within `half_window_eV` of it.
    half_window_eV : float
        Half of the range around a line that counts to it, if recoils are given.
    loss_eV : sequence of float, optional
        Energy by which each line is expected to have moved down, to start from; a tenth of it by default.
    scale_error : float
        Relative error of the calibration, common to all lines.

    Raises
    ------
    InputError, FitError
        As `fit_lines`.
    """
    if not at_eV or not all(math.isfinite(e) and e > 0 for e in at_eV):
        raise InputError(f"lines at {list(at_eV)} eV, expected positive recoil energies")
    if len(set(at_eV)) != len(at_eV):
        raise InputError(f"lines at {list(at_eV)} eV: one is named twice; name each once")
    templates = [
        LineTemplate.single(e)
        if recoil is None
        else LineTemplate.from_spectrum(
            recoil, low_eV=e - half_window_eV, high_eV=e + half_window_eV, name=f"{e:g} eV"
        )
        for e in at_eV
    ]
    margin = 5 * resolution_eV
    low, high = between_eV or (0.9 * min(at_eV) - margin, max(at_eV) + margin)
    edges = spectrum.energy_edges_eV
    inside = np.flatnonzero((edges[:-1] >= low) & (edges[1:] <= high))
    if len(inside) < 2:
        raise InputError(f"no two bins lie between {low:g} and {high:g} eV; widen the range")
    part = slice(inside[0], inside[-1] + 1)
    fit = fit_lines(
        sampled_counts(spectrum, exposure_kg_day=exposure_kg_day)[part],
        energy_edges_eV=edges[inside[0] : inside[-1] + 2],
        lines=templates,
        resolution_eV=resolution_eV,
        background_order=background_order,
        starting_shift_eV=[-x for x in loss_eV] if loss_eV is not None else [-0.1 * e for e in at_eV],
    )
    tests = energy_scale_tests(
        [line.reference_energy_eV for line in fit.lines],
        fit.positions_eV,
        covariance_eV2=np.array(fit.shift_covariance_eV2),
        scale_error=scale_error,
    )
    return fit, tests


def write_line_fit(fit: LineFit, tests: Sequence[ScaleTest], path: Path, *, is_measured: bool) -> None:
    """Write lines, covariance, curves and tests of a fit as JSON; `is_measured`: to counts, not to expected ones.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    content = {
        "schema_version": 1,
        "is_measured": is_measured,
        **plain(fit),
        "positions_eV": fit.positions_eV.tolist(),
        "scale_tests": [plain(test) for test in tests],
    }
    write_file(path, json.dumps(content, indent=1, allow_nan=False) + "\n")
