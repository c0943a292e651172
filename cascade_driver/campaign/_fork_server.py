"""Imported by the fork server, and by nobody else: what costs 0.6 s is paid once, for all children."""

# Nothing is used here:
# ruff: noqa: F401

import gc
import signal
from contextlib import suppress

# What a task asks for when it needs it, a driver may never need.
import ase.build
import ase.constraints
import ase.io.extxyz
import ase.neighborlist
import scipy.optimize
import scipy.sparse.csgraph
import scipy.spatial.distance

import cascade_driver.campaign.task
from cascade_driver.errors import EngineError
from cascade_driver.simulation.lammps_build import EngineSpec, import_lammps
from cascade_driver.simulation.provenance import provenance

# A signal to the whole process group is the parent's to answer; the fork server ends when the parent does.
signal.signal(signal.SIGTERM, signal.SIG_IGN)

# Where it cannot be loaded, the first task says so; a fork server that dies would not.
with suppress(EngineError):
    import_lammps(EngineSpec())

# Looked up once: children inherit what is cached.
provenance()
# A collection in a child would copy all pages that it shares with the server.
gc.collect()
gc.freeze()
