"""The displacement cap is fine enough: weak kicks, which are not chaotic, end where a far finer step takes them.

Whole cascades cannot tell: the smallest error grows until another defect is made. The same weak kick with the same
start (common random numbers) differs by the integrator's error alone.
"""

import numpy as np
import pytest
from ase.data import atomic_masses, atomic_numbers
from scipy.interpolate import CubicSpline

from cascade_driver.simulation.engine import FlightRules
from cascade_driver.simulation.knock_on import choose_atom, kick_velocity, random_directions
from cascade_driver.simulation.lammps_engine import LammpsEngine
from cascade_driver.simulation.start import read_box, read_snapshot

pytestmark = pytest.mark.physics

#: Below every threshold of tungsten in CaWO4, and as violent as its first collision with oxygen gets.
RECOIL_ENERGY_eV = 20.0
COUNT = 8

#: After the first collisions, before neighbours return.
AFTER_ps = 0.1

#: A tenth of the amplitude of the thermal vibration of tungsten at 133 K, 0.06 A along each axis.
TOLERANCE_A = 0.006


@pytest.fixture(scope="module")
def box(make_laboratory):
    return make_laboratory(
        potential="cawo4-pbe-spline",
        crystal={"name": "CaWO4", "repeats": [2, 2, 1]},
        thermal={"equilibration_ps": 0.3, "snapshot_interval_ps": 0.1},
    )


@pytest.fixture(scope="module")
def ends_A(box):
    """Where the knock-on is after a while, (COUNT, 3), by the cap in angstrom and the longest step in fs."""
    content = read_box(box.starts)
    snapshot = read_snapshot(box.starts, 0)
    pka = choose_atom(content.atoms(), "W")
    directions = random_directions(COUNT, np.random.default_rng(5)).vectors

    def end_A(direction, *, cap_A: float, step_fs: float) -> np.ndarray:
        engine = LammpsEngine(potential=box.potential)
        try:
            engine.read(snapshot.state, periodic=content.periodic, held=content.held.tolist())
            flight = engine.follow(
                pka=pka,
                velocity_A_ps=kick_velocity(
                    recoil_energy_eV=RECOIL_ENERGY_eV,
                    mass_amu=float(atomic_masses[atomic_numbers["W"]]),
                    direction=direction,
                    kinetic_eV_per_amu_A2_ps2=engine.kinetic_eV_per_amu_A2_ps2,
                ),
                rules=FlightRules(
                    duration_ps=AFTER_ps + 0.02, max_displacement_A=cap_A, max_timestep_ps=step_fs / 1e3
                ),
            )
        finally:
            engine.close()
        return CubicSpline(flight.time_ps, flight.pka_position_A)(AFTER_ps)

    known = {}

    def ends(cap_A: float, step_fs: float = 1.0) -> np.ndarray:
        if (cap_A, step_fs) not in known:
            known[cap_A, step_fs] = np.array([end_A(d, cap_A=cap_A, step_fs=step_fs) for d in directions])
        return known[cap_A, step_fs]

    return ends


def error_A(ends_A, cap_A: float, step_fs: float = 1.0) -> float:
    """Root mean square distance from where a cap of 0.004 A leads."""
    distance = np.linalg.norm(ends_A(cap_A, step_fs) - ends_A(0.004), axis=1)
    print(
        f"cap {cap_A} A, {step_fs} fs: rms {np.sqrt(np.mean(distance**2)):.6f} A, largest {distance.max():.6f} A"
    )
    return float(np.sqrt(np.mean(distance**2)))


@pytest.mark.parametrize("cap_A", [0.01, 0.02, 0.03])
def test_a_weak_kick_ends_where_a_far_finer_step_takes_it(ends_A, cap_A):
    assert error_A(ends_A, cap_A) < TOLERANCE_A


def test_the_error_grows_with_the_square_of_the_cap(ends_A):
    # velocity Verlet; while the cap and not the longest step decides
    assert error_A(ends_A, 0.04) / error_A(ends_A, 0.01) == pytest.approx(16, rel=0.5)


def test_negative_control_a_coarse_cap_is_seen(ends_A):
    assert error_A(ends_A, 0.4, 5.0) > TOLERANCE_A
