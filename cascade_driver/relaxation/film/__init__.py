"""Aluminium films: a pinned `dislocation`, its way into the interface (`dynamics`), the `spectrum` of all."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
