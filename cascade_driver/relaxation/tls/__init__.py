"""Tunnelling two-level systems.

In reading order: `distribution` (standard model), `damping` of a resonator, `ranges` of what is fitted,
`damping_fit`, shift and noise of the `frequency`, `loss_fit` to the quality factor; interacting systems: `scales`
of a material, `glass` (annealed), `density` of states, `realisations` (many, on disk), `properties` (heat, sound,
dielectric) and `properties_fit` to measured ones.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
