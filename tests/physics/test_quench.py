"""A quench ends where the gradient flow dx/dt = F ends: in the nearest minimum, not in another that is as deep.

Hot states tell, in which a cascade has not yet chosen its minimum: silicon 0.1 and 0.2 ps after a recoil of 60 eV.
The control is a descent in another metric from the start, which is as downhill and ends elsewhere.
"""

import numpy as np
import pytest
from ase.data import atomic_masses, atomic_numbers

from cascade_driver.simulation.descent import descend, measure_stiffness
from cascade_driver.simulation.engine import FlightRules
from cascade_driver.simulation.knock_on import choose_atom, kick_velocity, random_directions
from cascade_driver.simulation.start import read_box, read_snapshot

pytestmark = pytest.mark.physics

RECOIL_ENERGY_eV = 60.0
DIRECTIONS = 8
AT_ps = (0.1, 0.2)

#: Of the flow. The stiffest vibration has some 30 eV/A^2; a third of the longest step that is stable for it.
STEP_A2_eV, LONGEST_STEP_A = 0.01, 0.02
#: Norm of all forces below which the flow has chosen; conjugate gradients do the rest.
CHOSEN_eV_A = 0.05

#: Two minima differ by more, one by less.
SAME_eV = 1e-3

REST = {"force_tolerance_eV_A": 1e-3, "max_iterations": 5000}


@pytest.fixture(scope="module")
def silicon(make_laboratory):
    return make_laboratory(
        potential="si-sw-zbl",
        crystal={"name": "Si", "repeats": [5, 5, 5]},
        thermal={"temperature": "zero-point-energy", "equilibration_ps": 0.5, "snapshot_interval_ps": 0.2},
    )


@pytest.fixture(scope="module")
def engine(silicon):
    made = silicon.engine()
    box, snapshot = read_box(silicon.starts), read_snapshot(silicon.starts, 0)
    made.read(snapshot.state, periodic=box.periodic, held=box.held.tolist())
    yield made
    made.close()


@pytest.fixture(scope="module")
def hot_A(silicon):
    """Positions (n_atoms, 3) of each hot state."""
    box, snapshot = read_box(silicon.starts), read_snapshot(silicon.starts, 0)
    states = []
    for direction in random_directions(DIRECTIONS, np.random.default_rng(3)).vectors:
        engine = silicon.engine()
        try:
            engine.read(snapshot.state, periodic=box.periodic, held=box.held.tolist())
            flight = engine.follow(
                pka=choose_atom(box.atoms(), "Si"),
                velocity_A_ps=kick_velocity(
                    recoil_energy_eV=RECOIL_ENERGY_eV,
                    mass_amu=float(atomic_masses[atomic_numbers["Si"]]),
                    direction=direction,
                    kinetic_eV_per_amu_A2_ps2=engine.kinetic_eV_per_amu_A2_ps2,
                ),
                rules=FlightRules(
                    duration_ps=AT_ps[-1] + 0.01, max_displacement_A=0.04, max_timestep_ps=0.0015, seed=1
                ),
                look_at_ps=AT_ps,
            )
        finally:
            engine.close()
        states += [look.positions_A for look in flight.looks]
    return states


@pytest.fixture(scope="module")
def stiffness(silicon, engine):
    box = read_box(silicon.starts)
    return measure_stiffness(
        engine, sites_A=box.positions_A, lengths_A=box.lengths_A, cell_A=np.array(box.cells_A["Si"])
    )


@pytest.fixture(scope="module")
def nearest_eV(engine, hot_A):
    return np.array([flowed_eV(engine, state) for state in hot_A])


def flowed_eV(engine, positions_A):
    """Energy at the end of the gradient flow."""
    for _ in range(3000):
        engine.set_positions(positions_A)
        engine.potential_energy_eV()
        forces = engine.forces_eV_A()
        if np.linalg.norm(forces) < CHOSEN_eV_A:
            break
        step = STEP_A2_eV * forces
        positions_A = positions_A + step * min(1.0, LONGEST_STEP_A / np.linalg.norm(step, axis=1).max())
    return engine.minimise(**REST).potential_energy_eV


def elsewhere(engine, states, nearest_eV, way):
    """How many of the states come to rest in another minimum than the nearest."""
    ends = []
    for state in states:
        engine.set_positions(state)
        ends.append(way(**REST).potential_energy_eV)
    return int(np.sum(np.abs(ends - nearest_eV) > SAME_eV))


def test_conjugate_gradients_end_in_the_nearest_minimum(engine, hot_A, nearest_eV):
    assert elsewhere(engine, hot_A, nearest_eV, engine.minimise) <= len(hot_A) // 5


def test_so_they_do_where_the_stiffness_finishes(engine, hot_A, nearest_eV, stiffness):
    def way(**rest):
        return descend(engine, stiffness, **rest)

    assert elsewhere(engine, hot_A, nearest_eV, way) <= len(hot_A) // 5


def test_the_stiffness_from_the_start_does_not(engine, hot_A, nearest_eV, stiffness):
    def way(**rest):
        return descend(engine, stiffness, **rest, below_eV_A=np.inf)

    assert elsewhere(engine, hot_A, nearest_eV, way) > len(hot_A) // 3
