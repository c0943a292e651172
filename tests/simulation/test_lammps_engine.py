"""The LAMMPS backend: what it does to a box is what it says, to the bit where it says so."""

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.constraints import FixAtoms, FixedPlane

from cascade_driver.errors import EngineError
from cascade_driver.simulation import lammps_engine
from cascade_driver.simulation.engine import EngineAbortError, FlightRules, HeatedBorder
from cascade_driver.simulation.knock_on import kick_velocity
from cascade_driver.simulation.lammps_engine import LammpsEngine, _distance_to_nearest, _outcome_of, _run_of_ids
from cascade_driver.simulation.outcome import Outcome
from cascade_driver.simulation.potential import load_potential

MASS_Si_amu = 28.085

#: Of a closed box of some hundred atoms over half a picosecond with the steps used here: the integrator's error.
LARGEST_DRIFT_eV = 0.03


@pytest.fixture(scope="module")
def potential():
    return load_potential("si-tersoff-zbl")


@pytest.fixture
def engine(potential):
    made = LammpsEngine(potential=potential)
    yield made
    made.close()


def silicon_crystal(*, repeats=(3, 3, 3), lattice_constant_A=5.432) -> Atoms:
    return bulk("Si", "diamond", a=lattice_constant_A, cubic=True).repeat(repeats)


@pytest.fixture(scope="module")
def warm(potential, tmp_path_factory):
    """A file of 216 vibrating atoms of silicon."""
    state = tmp_path_factory.mktemp("warm") / "state.data"
    engine = LammpsEngine(potential=potential)
    engine.build(silicon_crystal())
    engine.minimise(force_tolerance_eV_A=1e-4, max_iterations=1000)
    engine.heat(temperature_K=242, duration_ps=0.3, damping_ps=0.1, timestep_ps=0.001, seed=7)
    engine.write(state)
    engine.close()
    return state


def border(width_A, *, temperature_K=242.0, damping_ps=0.05):
    return HeatedBorder(width_A=width_A, temperature_K=temperature_K, damping_ps=damping_ps)


def fly(engine, *, recoil_energy_eV=20.0, duration_ps=0.3, pka=100, direction=(1, 2, 3), **changes):
    usual = FlightRules(duration_ps=duration_ps, max_displacement_A=0.02, max_timestep_ps=0.002, seed=11)
    velocity = kick_velocity(
        recoil_energy_eV=recoil_energy_eV,
        mass_amu=MASS_Si_amu,
        direction=direction,
        kinetic_eV_per_amu_A2_ps2=engine.kinetic_eV_per_amu_A2_ps2,
    )
    return engine.follow(pka=pka, velocity_A_ps=velocity, rules=replace(usual, **changes))


# -- statics --------------------------------------------------------------------------------------------------


def test_silicon_has_the_lattice_constant_and_cohesion_of_tersoff(engine):
    # Tersoff, Phys. Rev. B 38, 9902 (1988): 5.432 angstrom and 4.63 eV per atom; half a unit of the last digit.
    engine.build(silicon_crystal(repeats=(1, 1, 1), lattice_constant_A=5.5))
    lengths = engine.relax_box(force_tolerance_eV_A=1e-8)
    assert lengths == pytest.approx(5.432, abs=5e-4)
    assert engine.potential_energy_eV() / 8 == pytest.approx(-4.63, abs=5e-3)


def test_aluminium_has_the_lattice_constant_and_cohesion_of_angelo_moody_baskes():
    # Angelo, Moody & Baskes (1995): 4.05 angstrom, 3.36 eV.
    engine = LammpsEngine(potential=load_potential("al-eam-zbl"))
    engine.build(bulk("Al", "fcc", a=4.1, cubic=True))
    lengths = engine.relax_box(force_tolerance_eV_A=1e-8)
    energy = engine.potential_energy_eV()
    engine.close()
    assert lengths == pytest.approx(4.05, abs=5e-3)
    assert energy / 4 == pytest.approx(-3.36, abs=5e-3)


def test_force_is_minus_the_gradient(engine):
    atoms = silicon_crystal(repeats=(2, 2, 2))
    atoms.rattle(0.1, seed=3)
    engine.build(atoms)
    engine.potential_energy_eV()
    force = engine.forces_eV_A()[5]
    step = 1e-4
    for axis in range(3):
        energies = []
        for sign in (1, -1):
            moved = atoms.positions[5].copy()
            moved[axis] += sign * step
            engine.set_position(5, moved)
            energies.append(engine.potential_energy_eV())
        engine.set_position(5, atoms.positions[5])
        # Third derivatives of some 100 eV/A^3 times step^2/6.
        assert force[axis] == pytest.approx(-(energies[0] - energies[1]) / (2 * step), abs=1e-5)


def test_a_quench_returns_the_perfect_crystal(engine):
    atoms = silicon_crystal(repeats=(2, 2, 2))
    engine.build(atoms)
    perfect = engine.potential_energy_eV()
    atoms.rattle(0.05, seed=1)
    engine.build(atoms)
    minimum = engine.minimise(force_tolerance_eV_A=1e-4, max_iterations=1000)
    assert minimum.potential_energy_eV == pytest.approx(perfect, abs=1e-6)
    assert minimum.largest_force_eV_A < 1e-4


@pytest.mark.parametrize(
    ("evaluations", "styles"), [(1000, ["cg"]), (22, ["cg", "forcezero"]), (3, ["cg", "forcezero", "fire"])]
)
def test_a_descent_that_gets_stuck_goes_on_another_way_to_the_same_place(engine, monkeypatch, evaluations, styles):
    # A vacancy: atoms about it move by a tenth of an angstrom, so that there is a way to go.
    monkeypatch.setattr(lammps_engine, "_CONJUGATE_GRADIENT_EVALUATIONS", evaluations)
    atoms = silicon_crystal(repeats=(2, 2, 2))
    atoms.rattle(0.05, seed=1)
    del atoms[20]
    engine.build(atoms)
    before = len(engine.commands)
    minimum = engine.minimise(force_tolerance_eV_A=1e-4, max_iterations=1000)
    assert [c.split()[-1] for c in engine.commands[before:] if c.startswith("min_")] == styles
    assert minimum.largest_force_eV_A < 1e-4
    monkeypatch.undo()
    engine.build(atoms)
    straight = engine.minimise(force_tolerance_eV_A=1e-6, max_iterations=1000)
    assert minimum.potential_energy_eV == pytest.approx(straight.potential_energy_eV, abs=1e-6)


# -- boxes ----------------------------------------------------------------------------------------------------


def test_read_of_write_gives_the_state_to_the_bit(potential, warm, tmp_path):
    states = []
    for n in range(2):
        engine = LammpsEngine(potential=potential)
        engine.read(warm if n == 0 else tmp_path / "copy.data", periodic=[True] * 3, held=[])
        states.append(engine.state())
        engine.write(tmp_path / "copy.data")
        engine.close()
    for one, other in zip(*states, strict=True):
        assert one.tobytes() == other.tobytes()
    assert np.abs(states[0][1]).max() > 1.0, "the state must vibrate for the comparison to mean something"


def test_atoms_stay_in_the_order_in_which_they_were_given(potential):
    atoms = silicon_crystal(repeats=(2, 2, 2))
    shuffled = atoms[np.random.default_rng(0).permutation(len(atoms))]
    engine = LammpsEngine(potential=potential)
    engine.build(shuffled)
    positions, velocities = engine.state()
    engine.close()
    assert positions == pytest.approx(shuffled.positions, abs=1e-12)
    assert not velocities.any()


def test_held_atoms_do_not_move(engine):
    atoms = silicon_crystal(repeats=(2, 2, 2))
    held = [0, 1, 2, 10, 33]
    atoms.set_constraint(FixAtoms(indices=held))
    engine.build(atoms)
    before, _ = engine.state()
    engine.heat(temperature_K=600, duration_ps=0.1, damping_ps=0.1, timestep_ps=0.001, seed=5)
    fly(engine, pka=20, duration_ps=0.1, border=border(2.0))
    engine.minimise(force_tolerance_eV_A=1e-4, max_iterations=50)
    after, velocities = engine.state()
    assert after[held].tobytes() == before[held].tobytes()
    assert not velocities[held].any()
    free = np.delete(np.arange(len(atoms)), held)
    assert np.linalg.norm(after[free] - before[free], axis=1).min() > 1e-6


def test_ids_are_written_compactly():
    assert _run_of_ids([0, 1, 2, 6]) == "1:3 7"
    assert _run_of_ids([4]) == "5"
    assert _run_of_ids([3, 1, 0]) == "1:2 4"


def test_a_tilted_box_is_refused(engine):
    with pytest.raises(ValueError, match="orthogonal"):
        engine.build(bulk("Si", "diamond", a=5.43))


def test_other_constraints_than_held_atoms_are_refused(engine):
    atoms = silicon_crystal(repeats=(1, 1, 1))
    atoms.set_constraint(FixedPlane(0, (0, 0, 1)))
    with pytest.raises(ValueError, match="only FixAtoms"):
        engine.build(atoms)


def test_an_element_that_the_potential_does_not_know_is_named(engine):
    with pytest.raises(EngineError, match="potential si-tersoff-zbl knows Si, not Ge"):
        engine.build(bulk("Ge", "diamond", a=5.43, cubic=True))


# -- flights --------------------------------------------------------------------------------------------------


def test_kick_gives_exactly_the_recoil_energy(engine, warm):
    engine.read(warm, periodic=[True] * 3, held=[])
    for energy in (0.5, 81.0, 1000.0):
        flight = fly(engine, recoil_energy_eV=energy, duration_ps=1e-4)
        assert flight.pka_kinetic_energy_eV[0] == pytest.approx(energy, abs=1e-9)


def test_flight_ends_on_time(engine, warm):
    engine.read(warm, periodic=[True] * 3, held=[])
    flight = fly(engine, duration_ps=0.1)
    assert flight.finished
    # The elapsed time is looked at every ten steps of at most 2 fs.
    assert 0.1 <= flight.time_ps[-1] <= 0.1 + 10 * 0.002
    assert flight.time_ps[0] == 0.0
    assert (np.diff(flight.time_ps) > 0).all()


@pytest.mark.parametrize("cap_A", [0.005, 0.02])
def test_no_step_of_the_fastest_atom_is_longer_than_the_cap(engine, warm, cap_A):
    engine.read(warm, periodic=[True] * 3, held=[])
    flight = fly(engine, recoil_energy_eV=100.0, duration_ps=0.05, max_displacement_A=cap_A)
    steps = np.linalg.norm(np.diff(flight.pka_position_A, axis=0), axis=1)
    # The step is chosen from velocity and force before it: in a head-on collision it is out by some percent.
    assert steps.max() < 1.05 * cap_A
    assert steps.max() > 0.9 * cap_A, "the cap must have been at work"
    assert np.diff(flight.time_ps).max() <= 0.002 * (1 + 1e-9)


def test_a_closed_box_keeps_its_energy(engine, warm):
    engine.read(warm, periodic=[True] * 3, held=[])
    flight = fly(engine, recoil_energy_eV=40.0, duration_ps=0.5, max_displacement_A=0.01)
    assert abs(flight.energy_drift_eV) < LARGEST_DRIFT_eV


def test_negative_control_a_coarse_step_does_not_keep_it(engine, warm):
    engine.read(warm, periodic=[True] * 3, held=[])
    flight = fly(engine, recoil_energy_eV=40.0, duration_ps=0.5, max_displacement_A=0.3, max_timestep_ps=0.005)
    assert abs(flight.energy_drift_eV) > LARGEST_DRIFT_eV


#: A border that exchanges much heat in steps of changing length: the bookkeeping's hardest case.
STRONG_BORDER = {"duration_ps": 0.5, "max_displacement_A": 0.01, "border": border(4.0, damping_ps=0.01)}


def test_what_the_border_takes_out_is_added_back_to_the_energy(engine, warm):
    engine.read(warm, periodic=[True] * 3, held=[])
    flight = fly(engine, recoil_energy_eV=40.0, **STRONG_BORDER)
    assert abs(flight.energy_drift_eV) < LARGEST_DRIFT_eV
    # 40 eV would leave 358 K more in this closed box (equipartition).
    assert flight.temperature_end_K < flight.temperature_start_K + 100


def test_negative_control_a_tally_of_force_times_velocity_loses_energy(engine, warm, monkeypatch):
    give = engine._do

    def with_langevin(command, **keywords):
        give(command.replace("temp/csld", "langevin") + (" tally yes" if "csld" in command else ""), **keywords)

    engine.read(warm, periodic=[True] * 3, held=[])
    monkeypatch.setattr(engine, "_do", with_langevin)
    assert abs(fly(engine, recoil_energy_eV=40.0, **STRONG_BORDER).energy_drift_eV) > LARGEST_DRIFT_eV


def test_border_thermostat_touches_the_border_only(potential, warm):
    width = 2.0
    velocities = []
    for heated in (None, border(width)):
        engine = LammpsEngine(potential=potential)
        engine.read(warm, periodic=[True] * 3, held=[])
        positions, _ = engine.state()
        # Ten steps of 0.1 fs: the change in the border has no time to reach the interior.
        fly(engine, recoil_energy_eV=1.0, duration_ps=1e-3, max_timestep_ps=1e-4, border=heated)
        velocities.append(engine.state()[1])
        engine.close()
    edge = 3 * 5.432
    wrapped = positions % edge
    in_border = ((wrapped < width) | (wrapped > edge - width)).any(axis=1)
    change = np.linalg.norm(velocities[1] - velocities[0], axis=1)
    assert 0 < in_border.sum() < len(in_border)
    assert change[in_border].min() > 1e-2
    # Forces of some eV/A^2 times 1e-3 A of displaced border for 1 fs, over the mass.
    assert change[~in_border].max() < 1e-2 * np.median(change[in_border])


def test_border_thermostat_keeps_its_temperature(engine, warm):
    engine.read(warm, periodic=[True] * 3, held=[])
    # The border is all but a core of 6 A; E_R is nothing; flight after flight in one box.
    hot = border(5.0, temperature_K=500.0, damping_ps=0.02)
    temperatures = [
        fly(engine, recoil_energy_eV=0.03, duration_ps=0.2, seed=seed, border=hot).temperature_end_K
        for seed in range(20, 28)
    ]
    # 645 degrees of freedom: sqrt(2/645) = 5.6 % of 500 K for each, 2.5 % for the mean of the five last;
    # four standard errors are a false alarm on 1 build in 16 000.
    assert np.mean(temperatures[3:]) == pytest.approx(500, rel=0.1)


def test_least_distance_is_seen(engine, warm):
    engine.read(warm, periodic=[True] * 3, held=[])
    thermal = fly(engine, recoil_energy_eV=0.03, duration_ps=0.02)
    hard = fly(engine, recoil_energy_eV=200.0, duration_ps=0.05, direction=(1, 1, 1))
    assert thermal.least_distance_A.min() > 2.0
    assert 0.4 < hard.least_distance_A.min() < 1.6


def test_a_flight_that_reaches_the_time_limit_says_so(potential, warm):
    engine = LammpsEngine(potential=potential, time_limit_s=1.0)
    engine.read(warm, periodic=[True] * 3, held=[])
    flight = fly(engine, duration_ps=1000.0)
    engine.close()
    assert not flight.finished
    assert flight.time_ps[-1] < 1000.0


def test_track_of_the_knock_on_is_unwrapped(engine, warm):
    engine.read(warm, periodic=[True] * 3, held=[])
    positions, _ = engine.state()
    last = int(positions[:, 2].argmax())
    flight = fly(engine, recoil_energy_eV=100.0, duration_ps=0.03, pka=last, direction=(0, 0, 1))
    assert flight.pka_position_A[:, 2].max() > 3 * 5.432, "it must have left through the upper face"
    assert np.linalg.norm(np.diff(flight.pka_position_A, axis=0), axis=1).max() < 0.1


# -- failures -------------------------------------------------------------------------------------------------


def test_two_atoms_on_one_spot_end_as_a_non_finite_energy(engine):
    atoms = silicon_crystal(repeats=(2, 2, 2))
    atoms.positions[1] = atoms.positions[0]
    engine.build(atoms)
    with pytest.raises(EngineAbortError) as abort:
        engine.minimise(force_tolerance_eV_A=1e-4, max_iterations=100)
    assert abort.value.outcome in {Outcome.NON_FINITE_ENERGY, Outcome.LOST_ATOMS}


@pytest.mark.parametrize(
    ("message", "outcome"),
    [
        ("ERROR: Lost atoms: original 768 current 767 (src/thermo.cpp:494)", Outcome.LOST_ATOMS),
        ("ERROR on proc 0: Out of range atoms - cannot compute PPPM", Outcome.LOST_ATOMS),
        ("ERROR: Non-numeric atom coords - simulation unstable (src/domain.cpp:553)", Outcome.NON_FINITE_ENERGY),
        ("ERROR: Non-numeric pressure - simulation unstable", Outcome.NON_FINITE_ENERGY),
        ("ERROR: Neighbor list overflow, boost neigh_modify one", Outcome.ENGINE_ERROR),
        ("ERROR: Cannot open file banana.eam", Outcome.ENGINE_ERROR),
    ],
)
def test_what_lammps_says_becomes_an_outcome(message, outcome):
    assert _outcome_of(message) is outcome


def test_a_command_that_lammps_refuses_is_named(engine):
    with pytest.raises(EngineAbortError, match=r"LAMMPS at `banana 1`: ERROR: .*banana") as abort:
        engine._do("banana 1")
    assert abort.value.outcome is Outcome.ENGINE_ERROR


@pytest.mark.parametrize("command", ["pair_style banana", "compute c all banana"])
def test_what_a_lammps_lacks_is_no_outcome_of_a_cascade(engine, command):
    with pytest.raises(EngineError, match=rf"LAMMPS at `{command}`: .*use a build that has it") as refused:
        engine._do(command)
    assert not isinstance(refused.value, EngineAbortError)


def test_least_distance_sees_through_periodic_faces_and_not_through_free_ones():
    positions = np.array([[0.1, 5.0, 5.0], [9.9, 5.0, 5.0], [3.0, 5.0, 5.0]])
    lengths = np.full(3, 10.0)
    periodic = {"lengths_A": lengths, "waves_per_A": 1 / lengths}
    free = {"lengths_A": lengths, "waves_per_A": np.array([0.0, 0.1, 0.1])}
    assert _distance_to_nearest(positions, 0, **periodic) == pytest.approx(0.2)
    assert _distance_to_nearest(positions, 0, **free) == pytest.approx(2.9)


def test_an_evaluation_again_is_one_of_its_own(engine, potential):
    """However far atoms went since: the neighbours known before are those of where the atoms are."""
    box, random = silicon_crystal(), np.random.default_rng(5)
    engine.build(box)
    fresh = LammpsEngine(potential=potential)
    for scale in (0.0, 0.01, 0.05, 0.5, 0.01, 0.0):
        positions_A = box.positions + random.normal(scale=scale, size=box.positions.shape)
        positions_A[0] += scale * np.array([500.0, -40.0, 3.0])  # some boxes away
        engine.set_positions(positions_A)
        energy_eV = engine.potential_energy_eV()
        fresh.build(box)
        fresh.set_positions(positions_A)
        assert energy_eV == pytest.approx(fresh.potential_energy_eV(), abs=1e-9)
        np.testing.assert_allclose(engine.forces_eV_A(), fresh.forces_eV_A(), atol=1e-9)
    fresh.close()
    ours = [command for command in engine.commands if command.startswith("run ")]
    assert ours == ["run 0 post no"] + ["run 1 pre no post no"] * 5


def test_an_evaluation_after_anything_else_is_set_up_anew(engine):
    """As a step it would move the atoms of a flight, and know nothing of what was changed."""
    box = silicon_crystal(repeats=(2, 2, 2))
    engine.build(box)
    engine.potential_energy_eV()
    engine.heat(temperature_K=100, duration_ps=0.01, damping_ps=0.1, timestep_ps=0.001, seed=1)
    positions_A, velocities_A_ps = engine.state()
    assert engine.potential_energy_eV() == engine.potential_energy_eV()
    engine._do("fix move mobile nve")
    engine._do("timestep 0.001")
    assert engine.potential_energy_eV() == engine.potential_energy_eV()
    now_A, now_A_ps = engine.state()
    np.testing.assert_allclose(now_A, positions_A, atol=1e-12)  # images apart
    np.testing.assert_array_equal(now_A_ps, velocities_A_ps)
