"""Parameters of a fit between their limits: what the minimiser varies, and what comes out of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from iminuit import Minuit

from cascade_driver.analysis.estimation import FittedParameter, profile_interval
from cascade_driver.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Ranges:
    """Parameters with their limits; the minimiser varies their logarithms, but for some.

    Attributes
    ----------
    limits : mapping of str to (float, float)
        Far beyond what the model is meant for.
    plain : tuple of str
        Those that are varied as they are.
    """

    limits: Mapping[str, tuple[float, float]]
    plain: tuple[str, ...]

    def inner(self, name: str, value: float) -> float:
        """Return the variable of the minimiser."""
        return value if name in self.plain else math.log(value)

    def outer(self, name: str, value: float) -> float:
        """Undo `inner`, within the limits in spite of rounding."""
        low, high = self.limits[name]
        return min(max(value if name in self.plain else math.exp(value), low), high)

    def inner_limits(self, name: str) -> tuple[float, float]:
        """Return the limits of the variable of the minimiser."""
        low, high = self.limits[name]
        return self.inner(name, low), self.inner(name, high)

    def checked(self, held: Mapping[str, float], names: Sequence[str], *, fit: str) -> dict[str, float]:
        """Return parameters that are given instead of fitted.

        Raises
        ------
        InputError
            If one is none of `names`, which `fit` has, or beyond its limits.
        """
        for name, value in held.items():
            if name not in names:
                raise InputError(f"`held`: no parameter {name}; {fit} has {', '.join(names)}")
            low, high = self.limits[name]
            if not low <= value <= high:
                raise InputError(f"`held`: {name} = {value:g}, expected one from {low:g} to {high:g}")
        return dict(held)

    def found(self, minuit: Minuit, name: str, held: Mapping[str, float]) -> FittedParameter:
        """Return a parameter at a minimum, with its error and the interval of its profile."""
        if name in held:
            return FittedParameter(value=held[name], is_held=True)
        value = self.outer(name, float(minuit.values[name]))
        lower, upper = (None if e is None else self.outer(name, e) for e in profile_interval(minuit, name))
        error = float(minuit.errors[name]) * (1.0 if name in self.plain else value)
        return FittedParameter(
            value=value, error=error if minuit.fmin.has_covariance else None, lower=lower, upper=upper
        )
