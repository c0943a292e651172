"""A search for thresholds so small that the real engine does it within seconds."""

SMALL_SEARCH = """
title = "small"
snapshots = 1
[crystal]
name = "Si"
repeats = [2, 2, 2]
[potential]
name = "si-tersoff-zbl"
[thermal]
temperature_K = 30
equilibration_ps = 0.2
snapshot_interval_ps = 0.1
[follow]
duration_ps = 0.4
max_displacement_A = 0.05
max_timestep_fs = 2
energy_drift_tolerance_eV = 2
[[thresholds]]
species = "Si"
directions = {{ {directions} }}
precision_eV = 5
most_attempts = {most}
"""
