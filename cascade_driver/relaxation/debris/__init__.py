"""What the debris of cascades relaxes into.

In reading order: `tunnelling` (one system between two minima), `saddle` (climbs to the ways out), `search`
(neighbouring minima), `path` (between two), `release` (energy given off later), `systems` (of all cascades of a
run, on disk).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
