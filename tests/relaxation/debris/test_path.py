"""Neighbouring minima and the paths between them, on the real engine: vacancy, interstitial, perfect crystal."""

import numpy as np
import pytest
from ase.build import bulk
from ase.constraints import FixAtoms

from cascade_driver.relaxation.debris.path import PathSpec, find_path
from cascade_driver.relaxation.debris.search import (
    Landscape,
    SearchSpec,
    active_atoms,
    begin,
    is_same_place,
    one_burst,
)
from cascade_driver.relaxation.debris.tunnelling import tunnelling_amplitude_eV
from cascade_driver.simulation.lammps_engine import LammpsEngine
from cascade_driver.simulation.potential import load_potential
from cascade_driver.simulation.spec import QuenchSpec

QUENCH = QuenchSpec(force_tolerance_eV_A=1e-4, max_iterations=5000)


def landscape_of(atoms, potential, *, active=()):
    loaded = load_potential(potential)
    return Landscape(
        atoms,
        active=np.array(active, dtype=np.int64),
        make_engine=lambda: LammpsEngine(potential=loaded),
        quench=QUENCH,
    )


@pytest.fixture
def aluminium_vacancy():
    """107 atoms, the vacancy at the origin; atom 0 is one of its neighbours."""
    atoms = bulk("Al", cubic=True, a=4.05).repeat(3)
    hole = atoms.positions[0].copy()
    del atoms[0]
    distances = np.linalg.norm(atoms.positions - hole, axis=1)
    return atoms, hole, int(np.argmin(distances))


def test_vacancy_hop_has_the_barrier_that_its_symmetry_gives(aluminium_vacancy):
    atoms, hole, hopper = aluminium_vacancy
    landscape = landscape_of(atoms, "al-eam-zbl")
    one = landscape.minimum(atoms.get_positions())
    hopped = one.positions_A.copy()
    hopped[hopper] = hole
    other = landscape.minimum(hopped)
    path = find_path(landscape, one.positions_A, other.positions_A, PathSpec(images=3, force_tolerance_eV_A=0.02))
    # Another way to the saddle: by symmetry it lies half way; hold the atom there and relax the others.
    halfway = atoms.copy()
    halfway.positions[hopper] = (atoms.positions[hopper] + hole) / 2
    halfway.set_constraint(FixAtoms(indices=[hopper]))
    engine = LammpsEngine(potential=load_potential("al-eam-zbl"))
    engine.build(halfway)
    saddle = engine.minimise(force_tolerance_eV_A=1e-4, max_iterations=5000)
    engine.close()
    expected = saddle.potential_energy_eV - one.potential_energy_eV
    landscape.close()
    assert path.converged
    assert path.intermediate_A is None
    assert path.well.barrier_eV == pytest.approx(expected, abs=0.005)
    # this potential: 0.18 eV, far below the 0.6 eV of aluminium
    assert expected > 0.1
    assert path.well.asymmetry_eV == pytest.approx(0, abs=1e-5)
    # a vacancy pulls on the crystal alike at both sites
    assert np.abs(path.coupling.tensor_eV).max() < 0.02
    # one atom goes, less far than from site to site: its neighbours lean into the hole
    assert path.largest_displacement_A == pytest.approx(4.05 / np.sqrt(2), rel=0.1)
    assert path.moved_mass_amu == pytest.approx(26.98, rel=0.1)
    first, second = path.well.quanta_eV
    assert first == pytest.approx(second, rel=0.01)
    # no aluminium atom tunnels 2.9 A
    assert tunnelling_amplitude_eV(path.well) < 1e-30


def test_stress_is_the_derivative_of_the_energy_by_strain():
    atoms = bulk("Si", cubic=True, a=5.43).repeat(2)
    atoms.positions += np.random.default_rng(1).normal(scale=0.1, size=atoms.positions.shape)
    loaded = load_potential("si-tersoff-zbl")
    engine = LammpsEngine(potential=loaded)
    engine.build(atoms)
    stress = engine.stress_eV_A3()
    strain = 1e-4
    for axis in range(3):
        energies = []
        for sign in (1, -1):
            stretched = atoms.copy()
            stretch = np.ones(3)
            stretch[axis] += sign * strain
            stretched.set_cell(atoms.cell.lengths() * stretch, scale_atoms=True)
            engine.build(stretched)
            energies.append(engine.potential_energy_eV())
        slope = (energies[0] - energies[1]) / (2 * strain) / atoms.get_volume()
        assert stress[axis, axis] == pytest.approx(slope, rel=1e-5)
    np.testing.assert_allclose(stress, stress.T)
    engine.close()


def test_positions_come_back_unwrapped_however_far_they_are():
    atoms = bulk("Si", cubic=True, a=5.43).repeat(2)
    engine = LammpsEngine(potential=load_potential("si-tersoff-zbl"))
    engine.build(atoms)
    energy = engine.potential_energy_eV()
    far = atoms.get_positions() + np.array([35.0, -80.0, 3.0])
    engine.set_positions(far)
    assert engine.potential_energy_eV() == pytest.approx(energy, abs=1e-9)
    np.testing.assert_allclose(engine.state()[0], far, atol=1e-9)
    with pytest.raises(ValueError, match="box of 64 atoms"):
        engine.set_positions(far[:3])
    engine.close()


def marked(atoms, *, damaged):
    """As a final structure of a cascade, with these atoms as its damage."""
    atoms = atoms.copy()
    atoms.set_array("displacement", np.zeros((len(atoms), 3)))
    atoms.set_array("defect", np.zeros(len(atoms), dtype=int))
    flags = np.zeros(len(atoms), dtype=int)
    flags[damaged] = 1
    atoms.set_array("is_pka", flags)
    return atoms


def test_negative_control_perfect_crystal_has_no_pair():
    atoms = marked(bulk("Si", cubic=True, a=5.4318).repeat(2), damaged=[0])
    landscape = landscape_of(atoms, "si-tersoff-zbl", active=active_atoms(atoms, radius_A=5.0))
    found = begin(landscape)
    spec = SearchSpec(bursts=4, burst_temperatures_K=(600.0,), burst_duration_ps=0.1)

    def refuse(_positions):
        raise AssertionError("the box was quenched after a burst that led nowhere")

    landscape.minimum = refuse
    for _ in range(spec.bursts):
        one_burst(landscape, found, spec, seed=2)
    landscape.close()
    assert found.returned == 4
    assert found.pairs == []
    assert len(found.energies_eV) == 1


def test_bursts_of_an_interstitial_find_other_minima_of_it():
    atoms = bulk("Si", cubic=True, a=5.4318).repeat(2)
    atoms.append("Si")
    atoms.positions[-1] = atoms.positions[0] + 5.4318 * np.array([0.5, 0.0, 0.0]) + [0.3, 0.2, 0.1]
    atoms = marked(atoms, damaged=[len(atoms) - 1])
    landscape = landscape_of(atoms, "si-tersoff-zbl", active=active_atoms(atoms, radius_A=5.0))
    found = begin(landscape)
    spec = SearchSpec(bursts=4, burst_temperatures_K=(1500.0,), burst_duration_ps=0.2)
    for _ in range(spec.bursts):
        one_burst(landscape, found, spec, seed=2)
    landscape.close()
    assert len(found.pairs) >= 1
    # All took part in the quench: each is a minimum of the box.
    whole = landscape_of(atoms, "si-tersoff-zbl", active=np.arange(len(atoms)))
    for place in found.positions_A:
        assert np.abs(whole.energy_and_forces(place)[1]).max() < 2e-3
    whole.close()
    assert found.bursts == sum(found.tried) == 4
    for one, other in found.pairs:
        apart = abs(found.energies_eV[one] - found.energies_eV[other]) > spec.same_energy_eV
        assert apart or not is_same_place(
            atoms, found.positions_A[one], found.positions_A[other], within_A=spec.same_distance_A
        )


def test_exchanged_atoms_are_one_place_and_a_moved_one_is_another():
    atoms = bulk("Si", cubic=True, a=5.43).repeat(2)
    x = atoms.get_positions()
    exchanged = x.copy()
    exchanged[[3, 17]] = exchanged[[17, 3]]
    assert is_same_place(atoms, x, exchanged + 0.4, within_A=0.1)
    moved = x.copy()
    moved[5] += [0.2, 0, 0]
    assert not is_same_place(atoms, x, moved, within_A=0.1)


def test_active_atoms_are_those_about_the_damage_through_the_periodic_face():
    atoms = marked(bulk("Al", cubic=True, a=4.05).repeat(4), damaged=[0])
    chosen = active_atoms(atoms, radius_A=3.0)
    assert len(chosen) == 13
