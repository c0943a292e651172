"""Threshold displacement energies of any atom of any crystal, direction by direction.

In reading order: `plan` (which atoms, which directions, how precisely), `search` (the attempts of a direction,
shared by any number of processes and machines), `summary` (mean, median, minimum over the solid angle, tables).
"""
