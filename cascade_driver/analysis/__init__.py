"""Records to defect probability, stored-energy distribution and response.

In reading order: `outcomes` (which cascades may be used), `estimation` (health, goodness, covariance),
`fermi_posterior` (centre and band of the defect probability),
`defect_probability` and `distribution` (the two models and their fits), `empirical_law` (the stored energies
themselves, for data that refuse a shape), `model` (both, for every species,
as a file), `response` (recoil energy to observed energy), `threshold` (lowest energy of a defect, per
direction).
"""
