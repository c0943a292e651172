"""The first import of matplotlib, whatever backend the surroundings ask for.

Jupyter sets the variable MPLBACKEND for all that is started from a notebook, and matplotlib does not even load if
it names a backend that is not installed here. Figures go to files: any backend will do.
"""

from __future__ import annotations

import contextlib
import os
import sys

_VARIABLE = "MPLBACKEND"


def load() -> None:
    """Import matplotlib; a backend that the user asks for is kept where there is one."""
    if "matplotlib" in sys.modules:
        return
    wanted = os.environ.pop(_VARIABLE, None)
    try:
        import matplotlib

        if wanted:
            with contextlib.suppress(ValueError):
                matplotlib.rcParams["backend"] = wanted
    finally:
        if wanted is not None:
            os.environ[_VARIABLE] = wanted


load()
