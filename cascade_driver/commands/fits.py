"""What every command that fits says of its fit."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cascade_driver.analysis.estimation import FitHealth, FittedParameter, Goodness


def print_fit(parameters: Mapping[str, FittedParameter], goodness: Goodness, health: FitHealth) -> None:
    """Print what a fit came to, parameter by parameter, and whether it can be trusted."""
    for name, p in parameters.items():
        print(f"{name:24s} {p.told}")
    p_value = "none" if goodness.p_value is None else f"{goodness.p_value:.3g}"
    print(f"{goodness.name} {goodness.statistic:.1f} of {goodness.degrees_of_freedom}, p-value {p_value}")
    if not health.is_good:
        at = f" ({', '.join(health.at_limit)} at the end of the range)" if health.at_limit else ""
        print(
            f"note: the minimiser does not trust this fit{at}; look at the intervals and at `health`",
            file=sys.stderr,
        )
