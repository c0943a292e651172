"""Aluminium films: a pinned `dislocation`, its `images` in the planes of a film, its way into the interface
(`dynamics`), what was `measured`, the `spectrum` of all, its `energy_map` and fit (`spectrum_fit`), the `decay` of
rates.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
