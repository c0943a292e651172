"""Debris on the real engine: a perfect crystal has one minimum, and a barrier does not depend on the band."""

import numpy as np
import pytest
from ase.build import bulk
from ase.constraints import FixAtoms

from cascade_driver.relaxation.debris.path import PathSpec, find_path
from cascade_driver.relaxation.debris.search import Landscape, SearchSpec, active_atoms, begin, one_burst
from cascade_driver.simulation.lammps_engine import LammpsEngine
from cascade_driver.simulation.potential import load_potential
from cascade_driver.simulation.spec import QuenchSpec
from cascade_driver.simulation.start import read_box

pytestmark = pytest.mark.physics

QUENCH = QuenchSpec(force_tolerance_eV_A=1e-4, max_iterations=5000)


@pytest.mark.parametrize("temperature_K", [400.0, 800.0])
def test_negative_control_perfect_scheelite_keeps_its_one_minimum(scheelite, temperature_K):
    atoms = read_box(scheelite.starts).atoms()
    flags = np.zeros(len(atoms), dtype=int)
    atoms.set_array("displacement", np.zeros((len(atoms), 3)))
    atoms.set_array("defect", flags)
    atoms.set_array("is_pka", (np.arange(len(atoms)) == 40).astype(int))
    landscape = Landscape(
        atoms, active=active_atoms(atoms, radius_A=6.0), make_engine=scheelite.engine, quench=QUENCH
    )
    found = begin(landscape)
    spec = SearchSpec(bursts=4, burst_temperatures_K=(temperature_K,))
    for _ in range(spec.bursts):
        one_burst(landscape, found, spec, seed=5)
    landscape.close()
    assert (found.returned, found.pairs) == (4, [])


@pytest.mark.parametrize("images", [3, 7])
def test_barrier_of_a_vacancy_does_not_depend_on_the_band(images):
    loaded = load_potential("al-eam-zbl")
    atoms = bulk("Al", cubic=True, a=4.05).repeat(4)
    hole = atoms.positions[0].copy()
    del atoms[0]
    hopper = int(np.argmin(np.linalg.norm(atoms.positions - hole, axis=1)))
    landscape = Landscape(
        atoms,
        active=np.arange(len(atoms)),
        make_engine=lambda: LammpsEngine(potential=loaded),
        quench=QUENCH,
    )
    one = landscape.minimum(atoms.get_positions())
    hopped = one.positions_A.copy()
    hopped[hopper] = hole
    other = landscape.minimum(hopped)
    path = find_path(
        landscape,
        one.positions_A,
        other.positions_A,
        PathSpec(images=images, force_tolerance_eV_A=0.01, steps=500),
    )
    landscape.close()
    # by symmetry the saddle lies half way: hold the atom there and relax the others
    halfway = atoms.copy()
    halfway.positions[hopper] = (atoms.positions[hopper] + hole) / 2
    halfway.set_constraint(FixAtoms(indices=[hopper]))
    engine = LammpsEngine(potential=loaded)
    engine.build(halfway)
    saddle = engine.minimise(force_tolerance_eV_A=1e-4, max_iterations=5000)
    engine.close()
    assert path.well.barrier_eV == pytest.approx(saddle.potential_energy_eV - one.potential_energy_eV, abs=0.003)
