"""A potential as a calculator of ASE agrees with the engine and with its own gradient."""

import numpy as np
import pytest
from ase.build import bulk

from cascade_driver.simulation.lammps_engine import LammpsEngine
from cascade_driver.simulation.potential import load_potential
from cascade_driver.validation.calculator import calculator


@pytest.fixture(scope="module")
def silicon():
    atoms = bulk("Si", cubic=True) * (2, 2, 2)
    atoms.rattle(0.1, seed=3)
    return atoms


def test_calculator_and_engine_agree(silicon):
    potential = load_potential("si-tersoff-zbl")
    engine = LammpsEngine(potential=potential)
    engine.build(silicon)
    silicon.calc = calculator(potential)
    assert silicon.get_potential_energy() == pytest.approx(engine.potential_energy_eV(), abs=1e-8)
    np.testing.assert_allclose(silicon.get_forces(), engine.forces_eV_A(), atol=1e-8)
    assert np.abs(silicon.get_forces()).max() > 0.1


def test_a_cell_that_is_not_orthogonal_has_the_same_energy_per_atom():
    potential = load_potential("si-tersoff-zbl")
    energies = []
    for atoms in (bulk("Si") * (3, 3, 3), bulk("Si", cubic=True) * (2, 2, 2)):
        atoms.calc = calculator(potential)
        energies.append(atoms.get_potential_energy() / len(atoms))
    assert energies[0] == pytest.approx(energies[1], abs=1e-9)


def test_stress_is_the_derivative_of_the_energy_by_the_strain(silicon):
    potential = load_potential("si-tersoff-zbl")

    def energy(strain):
        atoms = silicon.copy()
        atoms.set_cell(atoms.cell @ (np.eye(3) + np.diag([strain, 0, 0])), scale_atoms=True)
        atoms.calc = calculator(potential)
        return atoms.get_potential_energy()

    silicon.calc = calculator(potential)
    derivative = (energy(1e-5) - energy(-1e-5)) / 2e-5 / silicon.get_volume()
    assert silicon.get_stress()[0] == pytest.approx(derivative, abs=1e-6)
