"""A potential as a calculator of ASE: phonons, elastic constants, paths, whatever ASE and its friends can do.

Cascades do not use it: they run inside the engine. ASE's own `LAMMPSlib` does the work, also for boxes that are
not orthogonal.
"""

from __future__ import annotations

import os
import weakref
from contextlib import ExitStack

from ase.calculators.calculator import Calculator
from ase.calculators.lammpslib import LAMMPSlib
from ase.data import atomic_masses, atomic_numbers

from cascade_driver.simulation.lammps_build import import_lammps, start_mpi
from cascade_driver.simulation.lammps_engine import with_folders
from cascade_driver.simulation.potential import Potential, distribution_folder, load_potential


def shipped(name: str) -> Calculator:
    """Return the calculator of a potential that ships with the package; see `calculator`."""
    return calculator(load_potential(name))


def calculator(potential: Potential) -> Calculator:
    """Return a calculator for energies (eV), forces (eV/A) and stresses (eV/A^3) of a potential.

    Raises
    ------
    EngineError
        If LAMMPS cannot be loaded.
    """
    os.environ["LAMMPS_POTENTIALS"] = str(distribution_folder())
    import_lammps()
    start_mpi()
    # LAMMPSlib sends these commands once the box exists; masses are asked for in its own way.
    opened = ExitStack()
    made = LAMMPSlib(
        lmpcmds=[opened.enter_context(with_folders(c, potential.folders)) for c in potential.commands],
        atom_types={symbol: kind for kind, symbol in enumerate(potential.species, start=1)},
        atom_type_masses={symbol: atomic_masses[atomic_numbers[symbol]] for symbol in potential.species},
        lammps_header=["units metal", "atom_style atomic", "atom_modify map array sort 0 0"],
        amendments=[
            f"mass {k} {atomic_masses[atomic_numbers[s]]}" for k, s in enumerate(potential.species, start=1)
        ],
        boundary=True,
        keep_alive=True,
        log_file=None,
    )
    weakref.finalize(made, opened.close)
    return made
