"""Figures; nothing else in the package knows matplotlib.

A function `*_figure` returns a whole `matplotlib.figure.Figure`, fit for one column of a journal. A function
`draw_*` draws one panel into the axes that it gets as `ax`, or into new ones, and returns them.
"""

import lazy_loader

# First, before any other room imports matplotlib.
from cascade_driver.plot import backend as backend

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
