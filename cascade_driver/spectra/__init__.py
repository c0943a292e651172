"""Source spectra, and what a detector makes of them.

In reading order: `spectrum` (the one type), `quadrature` (bin averages), `target` (isotopes of a crystal),
`form_factor`, the sources `dark_matter` and `neutrino_flux` -> `reactor` -> `cevns`, then `correction`
(stored energy) and `detector` (resolution, threshold, efficiency).
"""
