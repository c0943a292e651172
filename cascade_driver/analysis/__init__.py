"""Records to defect probability, stored-energy distribution and response.

In reading order: `outcomes` (which cascades may be used), `comparison` (of two campaigns), `estimation`
(health, goodness, covariance), `fermi_posterior` (centre and band of the defect probability),
`defect_probability` and `distribution` (the two models and their fits), `empirical_law` (the stored energies
themselves, for data that refuse a shape), `response` (recoil energy to observed energy, in bins),
`tabulated` (records that are dense in energy, to which nothing is fitted), `model` (all of it, for every species,
as a file), `uncertainty` and `empirical` (replicas of it), `published` (models of printed numbers), `directional`
(recoils near one direction), `imported` (tables of others), `threshold` (threshold displacement energy: the lowest
that leaves a defect, by direction, in the cascades of a campaign), `threshold_posterior` and `threshold_field`
(looked for on purpose: what attempts say of a direction, and directions of each other), `damage` and
`resolution_limit` (estimates without molecular dynamics).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
