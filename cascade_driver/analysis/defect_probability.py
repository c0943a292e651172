"""The probability that a recoil leaves a defect, and its fit to a campaign."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from iminuit import Minuit
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special, stats

from cascade_driver.analysis.estimation import FitHealth, Goodness, Independence, sandwich_covariance
from cascade_driver.analysis.outcomes import UsableCascades
from cascade_driver.errors import FitError, InputError

#: Below this expected count in a cell the chi-square limit of the deviance is not trusted (Cochran's rule).
SMALLEST_EXPECTED_COUNT = 5.0

#: Coverage of the interval drawn at each recoil energy: one standard deviation of a normal law.
POINT_COVERAGE = 0.6827

#: Errors from directions as independent units this much larger than from cascades are worth a note.
NOTABLE_RATIO = 1.3


@dataclass(frozen=True, kw_only=True)
class FermiProbability:
    r"""Defect probability as a Fermi function of the recoil energy.

    .. math:: p_d(E_R) = \frac{p_\mathrm{max}}{1 + \exp[-(E_R - E_{1/2}) / w]}

    (Soum-Sidikov et al. 2024, Fig. 3, where the parameters are not printed.)

    Attributes
    ----------
    half_energy_eV : float
        :math:`E_{1/2}`, recoil energy at which half of the maximum is reached.
    width_eV : float
        :math:`w`; zero is the step function.
    maximum : float
        :math:`p_\mathrm{max}`, between 0 and 1.

    Raises
    ------
    InputError
        If a parameter is not finite, the width negative, or the maximum outside [0, 1].

    Examples
    --------
    >>> FermiProbability(half_energy_eV=45.0, width_eV=8.0)(45.0).item()
    0.5
    """

    half_energy_eV: float
    width_eV: float
    maximum: float = 1.0

    def __post_init__(self) -> None:
        if not (np.isfinite([self.half_energy_eV, self.width_eV]).all() and self.width_eV >= 0):
            raise InputError(
                f"Fermi function with half energy {self.half_energy_eV:g} eV and width {self.width_eV:g} "
                "eV: both must be finite and the width not negative"
            )
        if not 0 <= self.maximum <= 1:
            raise InputError(f"maximum defect probability {self.maximum:g}: must lie between 0 and 1")

    def __call__(self, recoil_energy_eV: ArrayLike) -> NDArray[np.float64]:
        """Return the defect probability at recoil energies of any shape."""
        distance = np.asarray(recoil_energy_eV, dtype=np.float64) - self.half_energy_eV
        if self.width_eV == 0:
            return np.asarray(self.maximum * np.heaviside(distance, 0.5))
        with np.errstate(over="ignore"):  # infinitely many widths away: zero or the maximum
            return np.asarray(self.maximum * special.expit(distance / self.width_eV))


@dataclass(frozen=True, kw_only=True)
class DefectPoint:
    """Share of cascades that stored energy, at one recoil energy.

    Attributes
    ----------
    recoil_energy_eV : float
    n_cascades, n_defects : int
        Usable cascades, and those of them that stored energy.
    effective_number : float
        Equally weighted cascades of the same information.
    probability, lower, upper : float
        Weighted share and its 68.27 % Wilson interval.
    """

    recoil_energy_eV: float
    n_cascades: int
    n_defects: int
    effective_number: float
    probability: float
    lower: float
    upper: float


@dataclass(frozen=True, kw_only=True)
class DefectProbabilityFit:
    """A Fermi function fitted to a campaign, with all that says how far to trust it.

    Attributes
    ----------
    probability : FermiProbability
        The best fit. Where the data are separated it is the step function.
    parameters : tuple of str
        Names of the fitted parameters, in the order of `values`, `errors` and `covariance`; empty where the
        data are separated, because then there is no error to quote.
    values, errors : tuple of float
        eV for energies.
    covariance : tuple of tuple of float
        (k, k) sandwich covariance.
    width_upper_limit_eV, width_confidence : float or None
        Only where the data are separated: upper limit on the width and its confidence level.
    half_energy_bracket_eV : (float, float) or None
        Only where the data are separated: highest energy with an undamaged crystal, lowest with a defect.
    points : tuple of DefectPoint
    goodness : Goodness
        Deviance against one free probability per recoil energy.
    health : FitHealth
    independent : str
        What the errors take as independent, `cascade` or `direction`.
    n_cascades, n_defects : int
    notes : tuple of str
    """

    probability: FermiProbability
    parameters: tuple[str, ...]
    values: tuple[float, ...]
    errors: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]
    width_upper_limit_eV: float | None
    width_confidence: float | None
    half_energy_bracket_eV: tuple[float, float] | None
    points: tuple[DefectPoint, ...]
    goodness: Goodness
    health: FitHealth
    independent: Independence
    n_cascades: int
    n_defects: int
    notes: tuple[str, ...]

    @property
    def is_separated(self) -> bool:
        """Whether the data only bound the width from above."""
        return self.width_upper_limit_eV is not None

    def probability_error(self, recoil_energy_eV: ArrayLike) -> NDArray[np.float64]:
        """Return the standard error of the fitted defect probability, by linear propagation; same shape.

        Raises
        ------
        FitError
            If the data are separated, so that there is no covariance.
        """
        if self.is_separated:
            raise FitError("the defect probability has only an upper limit on its width: there is no error band")
        energy = np.asarray(recoil_energy_eV, dtype=np.float64)
        slope = _derivatives(self.probability, energy)[..., : len(self.parameters)]
        return np.asarray(np.sqrt(np.einsum("...i,ij,...j", slope, np.array(self.covariance), slope)))


@dataclass(frozen=True, kw_only=True)
class _Groups:
    """Sums over the cascades of each recoil energy: all that the likelihood of the Fermi function needs."""

    energy: NDArray[np.float64]
    trials: NDArray[np.float64]
    defects: NDArray[np.float64]
    effective: NDArray[np.float64]
    cascades: NDArray[np.int64]
    of_cascade: NDArray[np.int64]


def _group(cascades: UsableCascades) -> _Groups:
    energy, group = np.unique(cascades.recoil_energy_eV, return_inverse=True)
    w = cascades.weight
    n = len(energy)
    trials = np.bincount(group, w, n).astype(np.float64)
    return _Groups(
        energy=energy,
        trials=trials,
        defects=np.bincount(group, w * cascades.stores_energy, n).astype(np.float64),
        effective=trials**2 / np.bincount(group, w * w, n),
        cascades=np.bincount(group, minlength=n).astype(np.int64),
        of_cascade=group.astype(np.int64),
    )


def defect_points(cascades: UsableCascades, *, coverage: float = POINT_COVERAGE) -> tuple[DefectPoint, ...]:
    r"""Return the share of cascades that stored energy at each recoil energy, with Wilson intervals.

    .. math::
        p_\pm = \frac{\hat p + z^2/2n \pm z\sqrt{\hat p(1-\hat p)/n + z^2/4n^2}}{1 + z^2/n}, \qquad
        \hat p = \frac{\sum w k}{\sum w}, \quad n = \frac{(\sum w)^2}{\sum w^2}

    Wilson's interval and not the exact one of Clopper and Pearson: with weights no interval is exact, and
    Wilson's keeps the mean coverage where the exact one is always wider. It never leaves [0, 1].

    References
    ----------
    Brown, Cai & DasGupta 2001, doi:10.1214/ss/1009213286, Eq. 4.
    """
    g = _group(cascades)
    z2 = stats.norm.ppf(0.5 + coverage / 2) ** 2
    p, n = g.defects / g.trials, g.effective
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = np.sqrt(z2 * np.maximum(p * (1 - p) / n + z2 / (4 * n * n), 0)) / (1 + z2 / n)
    n_defects = np.bincount(g.of_cascade, cascades.stores_energy, len(g.energy))
    return tuple(
        DefectPoint(
            recoil_energy_eV=float(g.energy[i]),
            n_cascades=int(g.cascades[i]),
            n_defects=int(n_defects[i]),
            effective_number=float(n[i]),
            probability=float(min(p[i], 1.0)),
            lower=float(max(centre[i] - half[i], 0.0)) if n_defects[i] > 0 else 0.0,
            upper=float(min(centre[i] + half[i], 1.0)) if n_defects[i] < g.cascades[i] else 1.0,
        )
        for i in range(len(g.energy))
    )


def _derivatives(model: FermiProbability, energy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (..., 3) derivatives of the probability by half energy, width and maximum."""
    eta = (energy - model.half_energy_eV) / model.width_eV
    s = special.expit(eta)
    slope = model.maximum * s * special.expit(-eta) / model.width_eV
    return np.stack([-slope, -slope * eta, s], axis=-1)


def _negative_log_likelihood(
    energy: NDArray[np.float64], trials: NDArray[np.float64], defects: NDArray[np.float64], theta: ArrayLike
) -> float:
    half, width, maximum = np.asarray(theta, dtype=np.float64)
    eta = (energy - half) / width
    log_s, log_not_s = special.log_expit(eta), special.log_expit(-eta)
    if maximum >= 1:
        return -float(defects @ log_s + (trials - defects) @ log_not_s)
    # 1 - p = (1 - s) + (1 - p_max) s, without the cancellation of 1 - p
    log_not_p = np.logaddexp(log_not_s, np.log1p(-maximum) + log_s)
    return -float(defects @ (np.log(maximum) + log_s) + (trials - defects) @ log_not_p)


def _minimise(g: _Groups, defects: NDArray[np.float64], *, fit_maximum: bool) -> Minuit:
    """Return the finished minimisation for weighted numbers of defects per energy."""
    share = defects / g.trials
    top = max(float(share.max()), 1e-3) if fit_maximum else 1.0
    # moments of dp/dE over the grid: the mean of a logistic density is E_half, its variance (pi w)^2 / 3
    rising = np.maximum.accumulate(share) / max(float(share.max()), 1e-12)
    half = float(np.interp(0.5, rising, g.energy)) if rising[0] < 0.5 else float(g.energy[0])
    span = float(g.energy[-1] - g.energy[0])

    def cost(theta: NDArray[np.float64]) -> float:
        return _negative_log_likelihood(g.energy, g.trials, defects, theta)

    m = Minuit(
        cost,
        np.array([half, span / 10, min(top, 0.999) if fit_maximum else 1.0]),
        name=("half_energy_eV", "width_eV", "maximum"),
    )
    m.errordef = Minuit.LIKELIHOOD
    m.limits["width_eV"] = (1e-6 * span, None)
    m.limits["maximum"] = (1e-6, 1.0)
    m.fixed["maximum"] = not fit_maximum
    m.strategy = 1
    m.migrad()
    return m


def _deviance(g: _Groups, defects: NDArray[np.float64], fitted: NDArray[np.float64]) -> float:
    """Return twice the log-likelihood ratio to one free probability per energy, in effective cascades."""
    p = np.clip(defects / g.trials, 0, 1)
    fitted = np.clip(fitted, 1e-300, 1 - 1e-16)
    return float(2 * g.effective @ (special.rel_entr(p, fitted) + special.rel_entr(1 - p, 1 - fitted)))


def _goodness(
    g: _Groups,
    cascades: UsableCascades,
    model: FermiProbability,
    *,
    fit_maximum: bool,
    n_bootstrap: int,
    rng: np.random.Generator,
) -> Goodness:
    p = model(g.energy)
    deviance = _deviance(g, g.defects, p)
    dof = len(g.energy) - (3 if fit_maximum else 2)
    if dof <= 0:
        return Goodness(name="deviance", statistic=deviance, degrees_of_freedom=dof, p_value=None, method="none")
    if n_bootstrap == 0 or np.min(g.effective * np.minimum(p, 1 - p)) >= SMALLEST_EXPECTED_COUNT:
        value = float(stats.chi2.sf(deviance, dof))
        return Goodness(
            name="deviance", statistic=deviance, degrees_of_freedom=dof, p_value=value, method="chi-square"
        )
    worse = 0
    for _ in range(n_bootstrap):
        hit = rng.random(len(cascades)) < p[g.of_cascade]
        defects = np.bincount(g.of_cascade, cascades.weight * hit, len(g.energy)).astype(np.float64)
        if not 0 < defects.sum() < g.trials.sum():
            continue  # one probability for all: deviance zero, never worse
        refit = _minimise(g, defects, fit_maximum=fit_maximum)
        half, width, top = refit.values
        again = FermiProbability(half_energy_eV=half, width_eV=width, maximum=top)
        worse += _deviance(g, defects, again(g.energy)) >= deviance
    return Goodness(
        name="deviance",
        statistic=deviance,
        degrees_of_freedom=dof,
        p_value=(worse + 1) / (n_bootstrap + 1),
        method="parametric bootstrap",
    )


def _width_limit(g: _Groups, *, bracket: tuple[float, float], confidence: float, species: str) -> float:
    """Return the upper limit on the width of separated data; see `fit_defect_probability`."""
    scale = g.effective / g.trials  # weighted trials count as their effective number
    trials, defects = g.trials * scale, g.defects * scale
    share = np.clip(g.defects / g.trials, 0, 1)
    best = float(g.effective @ (special.entr(share) + special.entr(1 - share)))
    span = float(g.energy[-1] - g.energy[0])

    def excess(log_width: float) -> float:
        width = float(np.exp(log_width))
        found = optimize.minimize_scalar(
            lambda half: _negative_log_likelihood(g.energy, trials, defects, (half, width, 1.0)),
            bounds=(bracket[0] - 40 * width, bracket[1] + 40 * width),
            method="bounded",
            options={"xatol": 1e-6 * width},
        )
        return float(found.fun) - best + float(np.log1p(-confidence))

    lowest, highest = np.log(1e-3 * span), np.log(1e3 * span)
    lowest = min(lowest, float(np.log(1e-2 * np.diff(g.energy).min())))
    if excess(highest) < 0:
        raise FitError(
            f"{species}: {len(g.of_cascade)} cascades are too few to limit the width of the defect "
            "probability: simulate more"
        )
    return float(np.exp(optimize.brentq(excess, lowest, highest, xtol=1e-6)))


def _check(cascades: UsableCascades, g: _Groups) -> None:
    k = cascades.stores_energy
    low, high = g.energy[0], g.energy[-1]
    none, every = 1 - 0.1 ** (1 / g.effective[-1]), 0.1 ** (1 / g.effective[0])  # exact, at the far energy
    if len(g.energy) == 1:
        raise FitError(
            f"{cascades.species}: a single recoil energy ({low:g} eV) cannot fix the defect probability as "
            "a function of it: simulate at least two"
        )
    if not k.any():
        raise FitError(
            f"{cascades.species}: none of {len(k)} cascades up to {high:g} eV stored energy (p_d below "
            f"{none:.2g} there at 90 % confidence): simulate higher recoil energies"
        )
    if k.all():
        raise FitError(
            f"{cascades.species}: every one of {len(k)} cascades from {low:g} eV on stored energy (p_d "
            f"above {every:.2g} there at 90 % confidence): simulate lower recoil energies"
        )
    # the sign of the slope at the maximum is that of the covariance: the likelihood is concave in it
    mean = np.average(cascades.recoil_energy_eV, weights=cascades.weight)
    if float(cascades.weight @ ((cascades.recoil_energy_eV - mean) * k)) <= 0:
        raise FitError(
            f"{cascades.species}: the share of cascades that store energy does not rise from {low:g} to "
            f"{high:g} eV: a Fermi function cannot describe it; look at the outcomes and the potential"
        )


def _separated_fit(
    cascades: UsableCascades,
    g: _Groups,
    *,
    bracket: tuple[float, float],
    confidence: float,
    independent: Independence,
) -> DefectProbabilityFit:
    limit = _width_limit(g, bracket=bracket, confidence=confidence, species=cascades.species)
    lower, upper = bracket
    note = (
        f"the data are separated (no defect up to {lower:g} eV, only defects from {upper:g} eV on): the "
        f"width has an upper limit of {limit:.3g} eV at {confidence:.0%} confidence and no error; the half "
        "energy is only bracketed; simulate energies in between"
        if lower < upper
        else f"all energies but {lower:g} eV are all or nothing: the width has an upper limit of {limit:.3g} "
        f"eV at {confidence:.0%} confidence and no error; simulate energies around it"
    )
    return DefectProbabilityFit(
        probability=FermiProbability(half_energy_eV=(lower + upper) / 2, width_eV=0.0),
        parameters=(),
        values=(),
        errors=(),
        covariance=(),
        width_upper_limit_eV=limit,
        width_confidence=confidence,
        half_energy_bracket_eV=bracket,
        points=defect_points(cascades),
        goodness=Goodness(name="deviance", statistic=0.0, degrees_of_freedom=0, p_value=None, method="none"),
        health=FitHealth(is_valid=True, has_accurate_covariance=False, at_limit=("width_eV",)),
        independent=independent,
        n_cascades=len(cascades),
        n_defects=int(cascades.stores_energy.sum()),
        notes=(*cascades.notes, note),
    )


def probability_score(
    cascades: UsableCascades, model: FermiProbability, *, n_free: int = 2
) -> NDArray[np.float64]:
    r"""Return the gradient of ln L of each cascade, (n, n_free), without its weight.

    .. math:: \frac{\partial \ln L_i}{\partial \theta} = \frac{k_i - p_d}{p_d (1 - p_d)}
        \frac{\partial p_d}{\partial \theta}

    by :math:`E_{1/2}` and :math:`w` (1/eV) and, with three, by :math:`p_\mathrm{max}`; its 0/0 taken out.
    """
    eta = (cascades.recoil_energy_eV - model.half_energy_eV) / model.width_eV
    s, not_s = special.expit(eta), special.expit(-eta)
    miss = cascades.stores_energy - model.maximum * s
    ratio = 1.0 if model.maximum >= 1 else not_s / (not_s + (1 - model.maximum) * s)
    by_eta = miss * ratio
    columns = [-by_eta / model.width_eV, -by_eta * eta / model.width_eV]
    if n_free == 3:
        columns.append(miss / (model.maximum * (not_s + (1 - model.maximum) * s)))
    return np.stack(columns, axis=1)


def fit_defect_probability(
    cascades: UsableCascades,
    *,
    fit_maximum: bool = False,
    independent: Independence = "cascade",
    confidence: float = 0.9,
    n_bootstrap: int = 200,
    rng: np.random.Generator | None = None,
) -> DefectProbabilityFit:
    r"""Return the Fermi function that makes the observed yes and no of all cascades most likely.

    One binomial trial per cascade, :math:`k_i = 1` where it stored energy:

    .. math:: \ln L = \sum_i w_i \, [k_i \ln p_d(E_i) + (1 - k_i) \ln(1 - p_d(E_i))]

    with the covariance of `sandwich_covariance`, because the direction weights :math:`w_i` are not equal.

    *Separated data.* If no undamaged cascade has a higher recoil energy than a damaged one, the likelihood
    rises without end as :math:`w \to 0` (also with a single mixed energy between nothing and all). Then the
    step function is returned with an upper limit on the width: the largest :math:`w` for which the
    likelihood, maximised over :math:`E_{1/2}`, is at least 1 - `confidence` of its supremum. For wholly
    separated data that is the exact statement that any larger width would give such data with a probability
    below 1 - `confidence`, wherever the threshold lies.

    *Independence.* Snapshots of one direction may resemble each other. Taking every cascade as independent is
    right for the scatter at given directions (and even cautious, as the directions are spread evenly); taking
    only directions as independent adds the error of having sampled few of them. A note says where it matters.

    Parameters
    ----------
    cascades : UsableCascades
    fit_maximum : bool
        Fit :math:`p_\mathrm{max}` too; by default it is 1.
    independent : {'cascade', 'direction'}
    confidence : float
        Of the upper limit on the width.
    n_bootstrap : int
        Simulated campaigns for the p-value where an expected count is below 5; 0 takes the chi-square limit.
    rng : numpy.random.Generator, optional
        For those; by default a fixed seed, so that a table has one p-value.

    Raises
    ------
    FitError
        If there is a single recoil energy, no defect, nothing but defects, a share that falls with energy,
        too few cascades for a limit, or a maximum that cannot be fitted.
    """
    g = _group(cascades)
    _check(cascades, g)
    energy, k = cascades.recoil_energy_eV, cascades.stores_energy
    bracket = (float(energy[~k].max()), float(energy[k].min()))
    if bracket[0] <= bracket[1]:
        return _separated_fit(cascades, g, bracket=bracket, confidence=confidence, independent=independent)
    minuit = _minimise(g, g.defects, fit_maximum=fit_maximum)
    minuit.strategy = 2
    minuit.hesse()
    n_free = 3 if fit_maximum else 2
    health = FitHealth.of(minuit)
    half, width, top = (float(v) for v in minuit.values)
    if fit_maximum and (health.at_limit or minuit.covariance is None):
        raise FitError(
            f"{cascades.species}: with a free maximum the fit runs to the border of "
            f"{', '.join(health.at_limit)} "
            f"(width {width:.3g} eV, maximum {top:.3g}): keep the maximum at 1"
        )
    model = FermiProbability(half_energy_eV=half, width_eV=width, maximum=top)
    inverse_hessian = np.array(minuit.covariance)[:n_free, :n_free]
    score = probability_score(cascades, model, n_free=n_free)
    by_unit = {
        "cascade": sandwich_covariance(inverse_hessian=inverse_hessian, score=score, weight=cascades.weight),
        "direction": sandwich_covariance(
            inverse_hessian=inverse_hessian,
            score=score,
            weight=cascades.weight,
            cluster=cascades.direction_index,
        ),
    }
    covariance = by_unit[independent]
    errors = np.sqrt(np.diag(covariance))
    ratio = float(np.sqrt(np.max(np.diag(by_unit["direction"]) / np.diag(by_unit["cascade"]))))
    notes = list(cascades.notes)
    if not health.is_good:
        notes.append("the fit of the defect probability is not healthy: its errors mean little")
    if independent == "cascade" and ratio > NOTABLE_RATIO:
        notes.append(
            "cascades of one direction resemble each other: with directions as the independent units the "
            f"errors of the defect probability grow up to {ratio:.2g} times"
        )
    return DefectProbabilityFit(
        probability=model,
        parameters=tuple(itertools.islice(minuit.parameters, n_free)),
        values=(half, width, top)[:n_free],
        errors=tuple(float(e) for e in errors),
        covariance=tuple(tuple(float(c) for c in row) for row in covariance),
        width_upper_limit_eV=None,
        width_confidence=None,
        half_energy_bracket_eV=None,
        points=defect_points(cascades),
        goodness=_goodness(
            g,
            cascades,
            model,
            fit_maximum=fit_maximum,
            n_bootstrap=n_bootstrap,
            rng=rng or np.random.default_rng(0),
        ),
        health=health,
        independent=independent,
        n_cascades=len(cascades),
        n_defects=int(k.sum()),
        notes=tuple(notes),
    )
