"""What the debris of cascades relaxes into.

In reading order: `tunnelling` (between two minima), `search` (neighbouring minima), `saddle` (climbs to the ways
out), `path` (between two), `vibrations` (zero-point energies), `release` (energy given off later), `pairs` (of all
cascades of a run, on disk), `glass` (what many of them make).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
