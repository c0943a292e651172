"""What relaxes later, without a recoil: three wings that know nothing of each other."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
