"""What a detector sees of a recoil spectrum.

In reading order: `correction` (stored energy), `detector` (resolution, threshold, efficiency), `line_fit` (lines
of a measured spectrum), `ensemble`, `ensemble_check` and `ensemble_content` (error bands), `observed_capture`
(several recoils at once), `limits` (what the tail of a fit and wide bins do), `observe` (the one road through all
of them), `line_shift` (how far a model moves lines), `templates` and `response_file` (for fits of other
programs), `difference` (of what two models make of one spectrum), `recoil_direction` and `daily_modulation`,
`planning` (what more cascades would bring).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
