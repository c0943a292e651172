"""What a source gives to the nuclei of a target: dark matter, neutrinos, neutron capture.

In reading order: `form_factor`, `quadrature` (bin averages), `dark_matter`;
`neutrino_flux` -> `reactor`, `solar` -> `cevns`; `capture_table` (made by `egaf`), `gamma_recoil` and
`statistical_cascade` -> `neutron_capture`; `recoil_list` and `collision_files` (what others have
computed), `requested` (the spectrum that a request asks for, and how well its source is known).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
