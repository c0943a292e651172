"""The probability that a recoil leaves a defect, and its fit to a campaign."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from cascade_driver.analysis.estimation import (
    REFUSED,
    FitHealth,
    Goodness,
    Independence,
    sandwich_covariance,
)
from cascade_driver.analysis.fermi_posterior import FermiPosterior, fermi_posterior
from cascade_driver.analysis.outcomes import UsableCascades
from cascade_driver.errors import FitError, InputError

#: Coverage of the interval drawn at each recoil energy: one standard deviation of a normal law.
POINT_COVERAGE = 0.6827

#: Errors from directions as independent units this much larger than from cascades are worth a note.
NOTABLE_RATIO = 1.3

#: A share of defects that rises no more than this many standard errors of a flat one is no rise: a campaign that
#: knows nothing of the energy looks steeper one time in twenty.
SMALLEST_TREND = 1.645

#: A defect probability above this at no recoil energy at all is none: the fit speaks of its energies only.
LARGEST_AT_ZERO = 0.05

#: Standard error of ln w from which on the width is that of the prior as much as of the data.
VAGUE_LOG_WIDTH = 0.5

#: Nodes of the grid of a refit that only serves a p-value.
NODES_OF_A_REFIT = 41

#: Cascades at one energy that are worth asking for: a share of one half is then known to 1/8.
ENOUGH_AT_AN_ENERGY = 16

#: Shares at the two ends that differ by this rise, and only wait for numbers.
PLAIN_RISE = 0.5


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

    @property
    def bends_eV(self) -> tuple[float, ...]:
        """Where it is steepest: its half energy."""
        return (self.half_energy_eV,)

    @property
    def formula(self) -> str:
        """The law in one line, with the letters of `estimation.symbol_of`."""
        return f"p_d(E_R) = {'1' if self.maximum == 1 else 'p_max'} / (1 + exp(−(E_R − E½) / w))"

    def __call__(self, recoil_energy_eV: ArrayLike) -> NDArray[np.float64]:
        """Return the defect probability at recoil energies of any shape."""
        distance = np.asarray(recoil_energy_eV, dtype=np.float64) - self.half_energy_eV
        if self.width_eV == 0:
            return np.asarray(self.maximum * np.heaviside(distance, 0.5))
        with np.errstate(over="ignore"):  # infinitely many widths away: zero or the maximum
            return np.asarray(self.maximum * scipy.special.expit(distance / self.width_eV))


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
class FurtherCascades:
    """Which cascades a campaign wants beside those that it has.

    Attributes
    ----------
    recoil_energies_eV : tuple of float
    each : int
        Cascades at each of these energies, all directions and snapshots together.
    """

    recoil_energies_eV: tuple[float, ...]
    each: int

    def __str__(self) -> str:
        """Return what to do, in words."""
        *others, last = (f"{energy:g}" for energy in self.recoil_energies_eV)
        energies = f"{', '.join(others)} and {last}" if others else last
        return f"simulate {energies} eV too, {self.each} cascades each (directions times snapshots)"


@dataclass(frozen=True, kw_only=True)
class DefectProbabilityFit:
    """A Fermi function fitted to a campaign, with all that says how far to trust it.

    Attributes
    ----------
    probability : FermiProbability
        The centre of the posterior law.
    parameters : tuple of str
        Names of the fitted parameters, in the order of `values`, `errors` and `covariance`.
    values, errors : tuple of float
        In eV; errors are half the central 68 % intervals.
    covariance : tuple of tuple of float
        (2, 2), of the posterior law.
    design_effect : float
        Cascades that carry the information of one independent one, 1 where they are independent.
    width_upper_limit_eV, width_confidence : float or None
        Only where the data are separated: upper limit on the width and its confidence level.
    half_energy_bracket_eV : (float, float) or None
        Only where the data are separated: highest energy with an undamaged crystal, lowest with a defect.
    points : tuple of DefectPoint
    goodness : Goodness
        Deviance against the best probability of which nothing is known than that it rises: it sees thresholds
        that spread over the directions, as those leave shares which rise otherwise.
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
    design_effect: float
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

    @property
    def unsettled_said(self) -> str:
        """Where separated data need cascades, in words; nothing where they are not separated."""
        if self.half_energy_bracket_eV is None:
            return ""
        lower, upper = self.half_energy_bracket_eV
        return f"between {lower:g} and {upper:g} eV" if lower < upper else f"around {lower:g} eV"

    def posterior(self, *, design_effect: float | None = None) -> FermiPosterior:
        """Return the law behind centre, errors and band, which the points alone determine.

        Parameters
        ----------
        design_effect : float, optional
            In place of that of the fit.
        """
        return posterior_of(self.points, design_effect=design_effect or self.design_effect)

    def interval(self, recoil_energy_eV: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the central 68.27 % interval of the defect probability at n energies, (n,) lower and upper."""
        return self.posterior().interval(recoil_energy_eV, coverage=POINT_COVERAGE)


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
    z2 = scipy.special.ndtri(0.5 + coverage / 2) ** 2
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


def _negative_log_likelihood(
    g: _Groups, trials: NDArray[np.float64], defects: NDArray[np.float64], half: float, width: float
) -> float:
    eta = (g.energy - half) / width
    return -float(defects @ scipy.special.log_expit(eta) + (trials - defects) @ scipy.special.log_expit(-eta))


def _posterior(g: _Groups, defects: NDArray[np.float64]) -> FermiPosterior:
    """Return the law for weighted numbers of defects per energy, on a grid that is good for its centre."""
    number = g.effective  # weighted trials count as their effective number
    return fermi_posterior(
        recoil_energy_eV=g.energy, trials=number, defects=number * defects / g.trials, n_nodes=NODES_OF_A_REFIT
    )


def _fermi(posterior: FermiPosterior) -> FermiProbability:
    half, width = posterior.centre_eV
    return FermiProbability(half_energy_eV=half, width_eV=width)


def posterior_of(points: tuple[DefectPoint, ...], *, design_effect: float = 1.0) -> FermiPosterior:
    """Return the law of the Fermi function that points leave open; the design effect divides their numbers."""
    number = np.array([p.effective_number for p in points]) / design_effect
    return fermi_posterior(
        recoil_energy_eV=[p.recoil_energy_eV for p in points],
        trials=number,
        defects=number * np.array([p.probability for p in points]),
    )


def rising_shares(points: tuple[DefectPoint, ...], shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (R, k) shares of defects at the points made to rise with the energy, at least squares.

    The most likely probability of which nothing else is known than that it rises (Barlow et al. 1972,
    `scipy.optimize.isotonic_regression`).
    """
    weight = np.array([p.effective_number for p in points])
    return np.stack([scipy.optimize.isotonic_regression(row, weights=weight).x for row in np.atleast_2d(shares)])


def _deviance(g: _Groups, defects: NDArray[np.float64], fitted: NDArray[np.float64]) -> float:
    """Return twice the log-likelihood ratio of the best rising probability to a fitted one."""
    share = np.clip(defects / g.trials, 0, 1)
    rising = scipy.optimize.isotonic_regression(share, weights=g.effective).x

    def log_likelihood(p: NDArray[np.float64]) -> float:
        p = np.clip(p, 1e-300, 1 - 1e-16)
        return float(g.effective @ (scipy.special.xlogy(share, p) + scipy.special.xlog1py(1 - share, -p)))

    return max(2 * (log_likelihood(rising) - log_likelihood(fitted)), 0.0)


def _goodness(
    g: _Groups,
    cascades: UsableCascades,
    model: FermiProbability,
    *,
    n_bootstrap: int,
    rng: np.random.Generator,
) -> Goodness:
    p = model(g.energy)
    deviance = _deviance(g, g.defects, p)
    dof = len(g.energy) - 2
    if dof <= 0:
        return Goodness(name="deviance", statistic=deviance, degrees_of_freedom=dof, p_value=None, method="none")
    if n_bootstrap == 0:  # the law of a free probability per energy: a cautious limit
        value = float(scipy.special.chdtrc(dof, deviance))
        return Goodness(
            name="deviance", statistic=deviance, degrees_of_freedom=dof, p_value=value, method="chi-square"
        )
    worse = 0
    for _ in range(n_bootstrap):
        hit = rng.random(len(cascades)) < p[g.of_cascade]
        defects = np.bincount(g.of_cascade, cascades.weight * hit, len(g.energy)).astype(np.float64)
        worse += _deviance(g, defects, _fermi(_posterior(g, defects))(g.energy)) >= deviance
    return Goodness(
        name="deviance",
        statistic=deviance,
        degrees_of_freedom=dof,
        p_value=(worse + 1) / (n_bootstrap + 1),
        method="parametric bootstrap",
    )


def _width_limit(
    g: _Groups, *, bracket: tuple[float, float], confidence: float, species: str, further: FurtherCascades
) -> float:
    """Return the upper limit on the width of separated data; see `fit_defect_probability`."""
    scale = g.effective / g.trials  # weighted trials count as their effective number
    trials, defects = g.trials * scale, g.defects * scale
    share = np.clip(g.defects / g.trials, 0, 1)
    best = float(g.effective @ (scipy.special.entr(share) + scipy.special.entr(1 - share)))
    span = float(g.energy[-1] - g.energy[0])

    def excess(log_width: float) -> float:
        width = float(np.exp(log_width))
        found = scipy.optimize.minimize_scalar(
            lambda half: _negative_log_likelihood(g, trials, defects, half, width),
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
            f"probability: {further}"
        )
    return float(np.exp(scipy.optimize.brentq(excess, lowest, highest, xtol=1e-6)))


def further_cascades(cascades: UsableCascades) -> FurtherCascades:
    """Return which cascades let a Fermi function be fitted to a campaign that allows none yet.

    Where the share rises plainly but on few cascades, they lie at its ends and between them. Elsewhere they lie
    above those that there are if hardly anything stores energy, below if nearly everything does, or on both sides.
    """
    g = _group(cascades)
    low, high = float(g.energy[0]), float(g.energy[-1])
    share = g.defects / g.trials
    if share[-1] - share[0] >= PLAIN_RISE:
        energies = (low, (low + high) / 2, high)
    elif share.mean() < 1 / 4:
        energies = (1.5 * high, 2 * high, 3 * high)
    elif share.mean() > 3 / 4:
        energies = (low / 3, low / 2, low / 1.5)
    else:
        energies = (low / 2, (low + high) / 2, 2 * high)
    return FurtherCascades(
        recoil_energies_eV=tuple(float(f"{energy:.2g}") for energy in energies), each=ENOUGH_AT_AN_ENERGY
    )


def _check(cascades: UsableCascades, g: _Groups) -> None:
    k, further = cascades.stores_energy, further_cascades(cascades)
    low, high = g.energy[0], g.energy[-1]
    none, every = 1 - 0.1 ** (1 / g.effective[-1]), 0.1 ** (1 / g.effective[0])  # exact, at the far energy
    if len(g.energy) == 1:
        raise FitError(
            f"{cascades.species}: a single recoil energy ({low:g} eV) cannot fix the defect probability as "
            f"a function of it: {further}"
        )
    if not k.any():
        raise FitError(
            f"{cascades.species}: none of {len(k)} cascades up to {high:g} eV stored energy (p_d below "
            f"{none:.2g} there at 90 % confidence): {further}"
        )
    if k.all():
        raise FitError(
            f"{cascades.species}: every one of {len(k)} cascades from {low:g} eV on stored energy (p_d "
            f"above {every:.2g} there at 90 % confidence): {further}"
        )
    rise = _trend(cascades)
    if rise < SMALLEST_TREND:
        raise FitError(
            f"{cascades.species}: the share of cascades that store energy does not rise from {low:g} to "
            f"{high:g} eV beyond its scatter ({rise:.1f} standard errors, {SMALLEST_TREND:.1f} wanted), so that a "
            f"Fermi function cannot describe it: {further}"
        )


def _trend(cascades: UsableCascades) -> float:
    r"""Return by how many standard errors the share of defects rises with the recoil energy.

    .. math:: z = \frac{\sum w (E - \bar E)(k - \bar k)}{\sqrt{\bar k (1 - \bar k) \sum w^2 (E - \bar E)^2}}

    References
    ----------
    Armitage 1955, doi:10.2307/3001775 (with weights).
    """
    w, k = cascades.weight, cascades.stores_energy
    distance = cascades.recoil_energy_eV - np.average(cascades.recoil_energy_eV, weights=w)
    share = float(np.average(k, weights=w))
    rise = float(w @ (distance * (k - share)))
    return rise / float(np.sqrt(share * (1 - share) * np.sum((w * distance) ** 2)))


def _separation_note(bracket: tuple[float, float], *, limit_eV: float, confidence: float) -> str:
    lower, upper = bracket
    where = (
        f"no defect up to {lower:g} eV, only defects from {upper:g} eV on"
        if lower < upper
        else f"all energies but {lower:g} eV are all or nothing"
    )
    return (
        f"the data are separated ({where}), so that they only limit the width of the defect probability, to "
        f"{limit_eV:.3g} eV at {confidence:.0%} confidence, and below that it is the prior's: simulate energies "
        + ("in between" if lower < upper else "around it")
    )


def _notes(
    posterior: FermiPosterior, *, lowest_eV: float, separated: str, p_value: float | None, direction_ratio: float
) -> tuple[str, ...]:
    """Return what a reader of a fitted defect probability must know."""
    notes = [separated] if separated else []
    log_width_error = float(np.sqrt(posterior.covariance(log_width=True)[1, 1]))
    if not separated and log_width_error > VAGUE_LOG_WIDTH:
        notes.append(
            f"the width of the defect probability is known to a factor of {np.exp(log_width_error):.2g} only, and "
            "leans on its prior: simulate energies where some cascades leave a defect and some do not"
        )
    if p_value is not None and p_value <= REFUSED:
        notes.append(
            f"the data refuse a Fermi function as their defect probability (p = {p_value:.2g}), as thresholds "
            "that spread over the directions do: the error called probability tells by how much"
        )
    at_zero = float(_fermi(posterior)(0.0))
    if at_zero > LARGEST_AT_ZERO:
        notes.append(
            f"the fitted defect probability is {at_zero:.2g} at a recoil energy of 0 eV, where it must vanish, so "
            f"that it says nothing below {lowest_eV:g} eV: simulate lower energies"
        )
    if direction_ratio > NOTABLE_RATIO:
        notes.append(
            "cascades of one direction resemble each other: with directions as the independent units the "
            f"errors of the defect probability grow up to {direction_ratio:.2g} times"
        )
    return tuple(notes)


def probability_score(cascades: UsableCascades, model: FermiProbability) -> NDArray[np.float64]:
    r"""Return the gradient of ln L of each cascade by half energy and ln of the width, (n, 2), without its weight.

    .. math:: \nabla \ln L_i = -(k_i - p_d)\, (1/w,\; \eta), \qquad \eta = (E_R - E_{1/2}) / w
    """
    eta = (cascades.recoil_energy_eV - model.half_energy_eV) / model.width_eV
    miss = cascades.stores_energy - scipy.special.expit(eta)
    return -np.stack([miss / model.width_eV, miss * eta], axis=1)


def inverse_information(cascades: UsableCascades, model: FermiProbability) -> NDArray[np.float64]:
    r"""Return the inverse of the expected information on half energy and ln of the width, (2, 2).

    .. math:: H = \sum_i w_i\, p_d (1 - p_d)\, (1/w, \eta)^T (1/w, \eta)

    Its pseudo-inverse: where one direction of the parameters has none, nothing moves along it.
    """
    eta = (cascades.recoil_energy_eV - model.half_energy_eV) / model.width_eV
    slope = np.stack([np.full(len(eta), 1 / model.width_eV), eta], axis=1)
    scatter = cascades.weight * scipy.special.expit(eta) * scipy.special.expit(-eta)
    return np.asarray(np.linalg.pinv(slope.T @ (slope * scatter[:, None]), hermitian=True))


def design_effect(of_unit: NDArray[np.float64], of_cascade: NDArray[np.float64]) -> float:
    """Return by how much two covariances differ on average over the parameters; not below 1.

    The likelihood to this inverse power has the posterior law of independent units (Rao & Scott 1981,
    doi:10.1080/01621459.1981.10477633; Ribatet, Cooley & Davison 2012, doi:10.5705/ss.2009.248).
    """
    ratio = np.trace(np.linalg.pinv(of_cascade, hermitian=True) @ of_unit) / len(of_cascade)
    return max(float(ratio), 1.0)


def fit_defect_probability(
    cascades: UsableCascades,
    *,
    independent: Independence = "cascade",
    confidence: float = 0.9,
    n_bootstrap: int = 200,
    rng: np.random.Generator | None = None,
) -> DefectProbabilityFit:
    r"""Return the Fermi function in the middle of what the observed yes and no of all cascades allow.

    One binomial trial per cascade, :math:`k_i = 1` where it stored energy:

    .. math:: \ln L = \sum_i w_i \, [k_i \ln p_d(E_i) + (1 - k_i) \ln(1 - p_d(E_i))]

    and the prior of `FermiPosterior`, whose centre is returned and whose law makes every band. Weighted trials
    of one energy count as their effective number.

    *Separated data.* If no undamaged cascade has a higher recoil energy than a damaged one, the likelihood
    rises without end as :math:`w \to 0` (also with a single mixed energy between nothing and all). Then the
    width leans on the prior, and a limit that does not is given with it: the largest :math:`w` for which the
    likelihood, maximised over :math:`E_{1/2}`, is at least 1 - `confidence` of its supremum. For wholly
    separated data that is the exact statement that any larger width would give such data with a probability
    below 1 - `confidence`, wherever the threshold lies.

    *Independence.* Snapshots of one direction may resemble each other. Taking every cascade as independent is
    right for the scatter at given directions (and even cautious, as the directions are spread evenly); taking
    only directions as independent adds the error of having sampled few of them, by `design_effect`. A note says
    where it matters.

    Parameters
    ----------
    cascades : UsableCascades
    independent : {'cascade', 'direction'}
    confidence : float
        Of the upper limit on the width.
    n_bootstrap : int
        Simulated campaigns for the p-value; 0 takes the chi-square limit.
    rng : numpy.random.Generator, optional
        For those; by default a fixed seed, so that a table has one p-value.

    Raises
    ------
    FitError
        If there is a single recoil energy, no defect, nothing but defects, a share that does not rise with energy
        beyond its scatter, or too few cascades for a limit.
    """
    g = _group(cascades)
    _check(cascades, g)
    energy, k = cascades.recoil_energy_eV, cascades.stores_energy
    bracket = (float(energy[~k].max()), float(energy[k].min()))
    separated, limit = "", None
    if bracket[0] <= bracket[1]:
        limit = _width_limit(
            g, bracket=bracket, confidence=confidence, species=cascades.species, further=further_cascades(cascades)
        )
        separated = _separation_note(bracket, limit_eV=limit, confidence=confidence)
    rough = _fermi(_posterior(g, g.defects))
    goodness = _goodness(g, cascades, rough, n_bootstrap=n_bootstrap, rng=rng or np.random.default_rng(0))
    by_unit = [
        sandwich_covariance(
            inverse_hessian=inverse_information(cascades, rough),
            score=probability_score(cascades, rough),
            weight=cascades.weight,
            cluster=cluster,
        )
        for cluster in (None, cascades.direction_index)
    ]
    effect = design_effect(by_unit[1], by_unit[0])
    points = defect_points(cascades)
    posterior = posterior_of(points, design_effect=effect if independent == "direction" else 1.0)
    probability, covariance = _fermi(posterior), posterior.covariance()
    is_at_limit = bool(separated) or float(probability(0.0)) > LARGEST_AT_ZERO
    notes = _notes(
        posterior,
        lowest_eV=float(g.energy[0]),
        separated=separated,
        p_value=goodness.p_value,
        direction_ratio=float(np.sqrt(effect)) if independent == "cascade" else 1.0,
    )
    return DefectProbabilityFit(
        probability=probability,
        parameters=("half_energy_eV", "width_eV"),
        values=posterior.centre_eV,
        errors=posterior.errors_eV,
        covariance=tuple(tuple(float(c) for c in row) for row in covariance),
        design_effect=effect if independent == "direction" else 1.0,
        width_upper_limit_eV=limit,
        width_confidence=confidence if separated else None,
        half_energy_bracket_eV=bracket if separated else None,
        points=points,
        goodness=goodness,
        health=FitHealth(
            is_valid=True, has_accurate_covariance=True, at_limit=("width_eV",) if is_at_limit else ()
        ),
        independent=independent,
        n_cascades=len(cascades),
        n_defects=int(k.sum()),
        notes=(*cascades.notes, *notes),
    )
