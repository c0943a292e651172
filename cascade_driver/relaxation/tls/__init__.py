"""Tunnelling two-level systems.

In reading order: `distribution` (standard model), `damping` of a resonator and `damping_fit`; interacting systems:
`glass` (annealed), `density` of states, `realisations` (many, on disk), `properties` (heat, sound, dielectric).
"""
