"""What every fit returns beside its values: health, goodness, and a covariance that knows of the weights."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy
from iminuit import Minuit
from numpy.typing import NDArray

from cascade_driver.analysis.outcomes import effective_number

#: What is independent: every cascade, or only the directions (all snapshots and energies of one belong
#: together).
Independence = Literal["cascade", "direction"]


#: A shape whose p-value is no larger is refused by the data: one campaign in a hundred of which it is the truth.
REFUSED = 0.01


#: Letters of fitted parameters, as in the formulae of the laws that are fitted, and their units.
_SYMBOLS = {
    "half_energy_eV": ("E½", "eV"),
    "width_eV": ("w", "eV"),
    "maximum": ("p_max", ""),
    "location": ("m", "eV"),
    "log_sigma": ("s", ""),
    "asymmetry": ("a", ""),
}

_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


def symbol_of(parameter: str) -> str:
    """Return the letter of a fitted parameter, and its unit, for people.

    Examples
    --------
    >>> symbol_of("half_energy_eV"), symbol_of("location_1_eV"), symbol_of("log_sigma_0"), symbol_of("other")
    ('E½ (eV)', 'm₁ (eV)', 's₀', 'other')
    """
    found = re.fullmatch(r"(.*?)_(\d+)(?:_eV)?", parameter)
    name, order = (found[1], found[2]) if found else (parameter, "")
    if name not in _SYMBOLS:
        return parameter
    letter, unit = _SYMBOLS[name]
    return letter + order.translate(_SUBSCRIPTS) + (f" ({unit})" if unit else "")


@dataclass(frozen=True, kw_only=True)
class FitHealth:
    """Whether the minimiser trusts its result.

    Attributes
    ----------
    is_valid : bool
        The minimum was found within the tolerance.
    has_accurate_covariance : bool
        The second derivatives were computed in full and are positive definite without help.
    at_limit : tuple of str
        Parameters that ended at the border of their allowed range: neither they nor the errors mean much.
    estimated_distance : float
        Estimated vertical distance to the minimum, in units of the negative log-likelihood.
    """

    is_valid: bool
    has_accurate_covariance: bool
    at_limit: tuple[str, ...] = ()
    estimated_distance: float = 0.0

    @property
    def is_good(self) -> bool:
        """Whether values and errors can be used as they stand."""
        return self.is_valid and self.has_accurate_covariance and not self.at_limit

    @classmethod
    def of(cls, minuit: Minuit) -> FitHealth:
        """Return the health of a finished minimisation."""
        fmin = minuit.fmin
        at_limit = []
        for p in minuit.params:
            for limit in (p.lower_limit, p.upper_limit):
                # a hundredth of the range: towards a border the likelihood is flat, the search stops short
                if limit is not None and not p.is_fixed:
                    both = p.lower_limit is not None and p.upper_limit is not None
                    span = p.upper_limit - p.lower_limit if both else max(abs(limit), abs(p.value))
                    if abs(p.value - limit) <= 1e-2 * span:
                        at_limit.append(str(p.name))
        return cls(
            is_valid=bool(fmin.is_valid),
            has_accurate_covariance=bool(fmin.has_accurate_covar and not fmin.has_made_posdef_covar),
            at_limit=tuple(at_limit),
            estimated_distance=float(fmin.edm),
        )


@dataclass(frozen=True, kw_only=True)
class Goodness:
    """How well a fitted model describes its data.

    Attributes
    ----------
    name : str
        The statistic, e.g. `deviance`.
    statistic : float
    degrees_of_freedom : int or None
        Where the statistic has a chi-square limit.
    p_value : float or None
        Probability of a worse value were the model true; none where nothing is left to test.
    method : str
        `chi-square`, `parametric bootstrap` or `none`.
    """

    name: str
    statistic: float
    degrees_of_freedom: int | None
    p_value: float | None
    method: str

    @classmethod
    def of_chi_square(cls, statistic: float, degrees_of_freedom: int) -> Goodness:
        """Return how well least squares describe data of known errors."""
        is_tested = degrees_of_freedom > 0
        return cls(
            name="chi-square",
            statistic=statistic,
            degrees_of_freedom=degrees_of_freedom,
            p_value=float(scipy.special.chdtrc(degrees_of_freedom, statistic)) if is_tested else None,
            method="chi-square" if is_tested else "none",
        )


@dataclass(frozen=True, kw_only=True)
class FittedParameter:
    """One parameter of a fit.

    Attributes
    ----------
    value : float
    error : float or None
        Standard error from the curvature at the minimum; None if the parameter was held or there is no such error.
    lower, upper : float or None
        Ends of the profile interval of one standard deviation; None where the statistic never rises by 1, so that
        the data set no limit on that side, and for held parameters.
    is_held : bool
        Whether it was given instead of fitted.
    """

    value: float
    error: float | None = None
    lower: float | None = None
    upper: float | None = None
    is_held: bool = False

    @property
    def told(self) -> str:
        """The parameter in words: a value with its interval, or the one bound that the data set."""
        if self.is_held:
            return f"{self.value:.4g} (held)"
        if self.lower is None and self.upper is None:
            return f"not determined (best {self.value:.4g})"
        if self.upper is None:
            return f"above {self.lower:.4g} (68 %; best {self.value:.4g}, no upper end)"
        if self.lower is None:
            return f"below {self.upper:.4g} (68 %; best {self.value:.4g}, no lower end)"
        error = "" if self.error is None else f" ± {self.error:.2g}"
        return f"{self.value:.4g}{error}, 68 % interval {self.lower:.4g} to {self.upper:.4g}"


def profile_interval(minuit: Minuit, name: str) -> tuple[float | None, float | None]:
    """Return the ends of the profile interval (MINOS) of a parameter, None where its range has none."""
    try:
        minuit.minos(name)
    except RuntimeError:  # not at a valid minimum
        return None, None
    found = minuit.merrors[name]
    centre = float(minuit.values[name])
    return (
        centre + found.lower if found.lower_valid and not found.at_lower_limit else None,
        centre + found.upper if found.upper_valid and not found.at_upper_limit else None,
    )


def sandwich_covariance(
    *,
    inverse_hessian: NDArray[np.float64],
    score: NDArray[np.float64],
    weight: NDArray[np.float64],
    cluster: NDArray[np.int64] | None = None,
) -> NDArray[np.float64]:
    r"""Return the covariance of a weighted maximum-likelihood estimate.

    .. math::
        C = H^{-1} \Big( \sum_c s_c s_c^T \Big) H^{-1} \, \frac{n_c}{n_c - k}, \qquad
        s_c = \sum_{i \in c} w_i \, \nabla_\theta \ln L_i

    with :math:`H` the Hessian of :math:`-\sum_i w_i \ln L_i`. With weights, :math:`H^{-1}` alone is not a
    covariance: it would shrink if all weights were doubled. The last factor is the usual correction for the
    :math:`k` parameters taken from :math:`n_c` independent scores.

    Parameters
    ----------
    inverse_hessian : (k, k) float
    score : (n, k) float
        Gradient of the log-likelihood of each event, without its weight.
    weight : (n,) float
    cluster : (n,) int, optional
        Events of one cluster may depend on each other; by default all are independent.

    References
    ----------
    Langenbruch 2022, doi:10.1140/epjc/s10052-022-10254-8 (weighted likelihoods); White 1982,
    doi:10.2307/1912526.
    """
    scores, total = score * weight[:, None], weight
    if cluster is not None:
        number = np.unique(cluster, return_inverse=True)[1].reshape(-1)
        summed = np.zeros((int(number.max()) + 1, score.shape[1]))
        np.add.at(summed, number, scores)
        scores, total = summed, np.bincount(number, weight).astype(np.float64)
    n, k = effective_number(total), score.shape[1]
    meat = scores.T @ scores * (n / max(n - k, 1.0))
    covariance: NDArray[np.float64] = inverse_hessian @ meat @ inverse_hessian
    return (covariance + covariance.T) / 2
