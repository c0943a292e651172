"""Kinds of values that modules of all wings name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

#: Real numbers; shapes stand in the docstrings.
Array = NDArray[np.float64]

#: Whole numbers.
Ints = NDArray[np.int64]

#: What a potential, and all that is made with it, may be trusted for.
Status = Literal["qualitative", "quantitative"]


def weakest(statuses: Iterable[str]) -> Status:
    """Return what several, taken together, may be trusted for."""
    return "quantitative" if set(statuses) == {"quantitative"} else "qualitative"
