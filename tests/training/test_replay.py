"""A cascade followed again: the engine's own flight by the same potential, kept through every stop."""

import json

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import Calculator
from hypothesis import given
from hypothesis import strategies as st

from cascade_driver.cli import main
from cascade_driver.training.replay import ReplaySettings, _Forces, _longest_ps, _next
from cascade_driver.units import eV_PER_AMU_A2_PS2

CAMPAIGN = """
seed = 5
[crystal]
name = "Si"
repeats = [2, 2, 2]
[potential]
name = "si-tersoff-zbl"
[thermal]
temperature_K = 100
equilibration_ps = 0.1
snapshot_interval_ps = 0.05
[follow]
duration_ps = 0.05
max_displacement_A = 0.01
max_timestep_fs = 0.5
small_box = true
[[recoils]]
species = "Si"
recoil_energies_eV = [20]
directions = { scheme = "list", vectors = [[1, 2, 3]] }
snapshots = 1
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("replay")
    (folder / "si.toml").write_text(CAMPAIGN)
    assert main(["run", str(folder / "si.toml"), "--out", str(folder / "RUN"), "--workers", "1"]) == 0
    return folder / "RUN"


def cascade_of(run):
    (folder,) = (run / "cascades").glob("[0-9a-f]*")
    return folder.name


def replayed(run, out, *more):
    words = ["train", "replay", str(run), cascade_of(run)[:6], "--potential", "si-tersoff-zbl", "--out", str(out)]
    return main([*words, "--max-displacement-A", "0.01", "--max-timestep-fs", "0.5", *more])


def test_a_box_of_64_atoms_is_refused_unless_told_to(tmp_path, capsys):
    (tmp_path / "si.toml").write_text(CAMPAIGN.replace("small_box = true\n", ""))
    assert main(["run", str(tmp_path / "si.toml"), "--out", str(tmp_path / "RUN"), "--plan-only"]) == 2
    assert "box too small for the recoil" in capsys.readouterr().err


def test_the_same_potential_flies_the_same_way(run, tmp_path):
    assert replayed(run, tmp_path / "out", "--until-fs", "50") == 0
    flight = ase.io.read(tmp_path / "out" / "flight.extxyz", ":")
    record = json.loads((run / "cascades" / cascade_of(run) / "record.json").read_text())
    track = record["physics"]["pka"]["track"]
    pka = record["physics"]["pka"]["index"]
    time_fs = np.array([frame.info["time_fs"] for frame in flight])
    ours = np.array([frame.positions[pka] - flight[0].positions[pka] for frame in flight])
    theirs = np.array(track["position_A"]) - track["position_A"][0]
    # The engine works out each step from the one before; both step lengths are within 0.002 A of the true flight.
    for axis in range(3):
        np.testing.assert_allclose(
            np.interp(1e3 * np.array(track["time_ps"]), time_fs, ours[:, axis])[:-1], theirs[:-1, axis], atol=5e-3
        )
    assert flight[0].info["pka_kinetic_energy_eV"] == pytest.approx(20, abs=1e-5)
    total = np.array([frame.info["total_energy_eV"] for frame in flight])
    assert np.abs(total - total[0]).max() < 5e-3
    assert time_fs[-1] == pytest.approx(50, abs=1e-9)
    steps = np.linalg.norm(np.diff([f.positions for f in flight], axis=0), axis=-1)
    assert steps.max() <= 0.01 + 1e-9


def test_a_replay_that_was_stopped_at_any_place_goes_on_to_the_same_end(run, tmp_path):
    assert replayed(run, tmp_path / "whole", "--until-fs", "10") == 0
    out = tmp_path / "parts"
    assert replayed(run, out, "--until-fs", "10", "--stop-after", "0") == 0
    # As after a kill between the two writes of a step, and in the middle of one.
    with (out / "flight.extxyz").open("a") as stream:
        stream.write("64\nLattice=")
    assert replayed(run, out, "--until-fs", "10") == 0
    one, two = (ase.io.read(folder / "flight.extxyz", ":") for folder in (tmp_path / "whole", out))
    assert [f.info["time_fs"] for f in one] == [f.info["time_fs"] for f in two]
    np.testing.assert_array_equal(one[-1].positions, two[-1].positions)


def test_a_place_that_holds_another_replay_is_refused(run, tmp_path, capsys):
    assert replayed(run, tmp_path / "out", "--until-fs", "1") == 0
    assert replayed(run, tmp_path / "out", "--until-fs", "1", "--max-timestep-fs", "0.2") == 2
    assert "another cascade or by other means" in capsys.readouterr().err


# -- the integrator, on springs -------------------------------------------------------------------------------


class Springs(Calculator):
    """Each atom on a spring to its place: periods and energies are closed forms."""

    implemented_properties = ("energy", "forces")

    def __init__(self, places_A, stiffness_eV_A2=5.0):
        super().__init__()
        self.places_A, self.stiffness_eV_A2 = places_A, stiffness_eV_A2

    def calculate(self, atoms=None, properties=None, system_changes=None):
        super().calculate(atoms, properties, system_changes)
        away = atoms.positions - self.places_A
        self.results["energy"] = 0.5 * self.stiffness_eV_A2 * (away**2).sum()
        self.results["forces"] = -self.stiffness_eV_A2 * away


def flown(*, step_fs, until_fs, cap_A=1.0, velocities=((20.0, 0.0, 0.0), (0.0, -7.0, 3.0))):
    """Return the last step of two atoms on springs, and all steps."""
    atoms = Atoms("ArSi", positions=[[0, 0, 0], [4, 4, 4]], cell=np.eye(3) * 9, pbc=True)
    atoms.set_array("velocities_A_ps", np.array(velocities))
    forces = _Forces(atoms, Springs(atoms.positions.copy()))
    settings = ReplaySettings(cascade="x", calculator="springs", max_timestep_fs=step_fs, max_displacement_A=cap_A)
    steps = [forces.at_start()]
    while steps[-1].time_ps * 1e3 < until_fs - 1e-9:
        steps.append(_next(steps[-1], forces, settings, until_fs=until_fs))
    return forces.masses_amu, steps


def total_eV(masses, step):
    return step.potential_energy_eV + step.kinetic_energies_eV(masses).sum()


def test_an_atom_on_a_spring_swings_as_a_spring_does():
    masses, steps = flown(step_fs=0.5, until_fs=100.0)
    # x = v/w sin(w t), w^2 = k/m; 1 amu (A/ps)^2 is 1.036e-4 eV
    omega = np.sqrt(5.0 / (masses * eV_PER_AMU_A2_PS2))
    end = steps[-1]
    assert end.time_ps == pytest.approx(0.1, abs=1e-12)
    assert end.positions_A[0, 0] == pytest.approx(20.0 / omega[0] * np.sin(omega[0] * 0.1), abs=1e-4)
    assert end.velocities_A_ps[1, 1] == pytest.approx(-7.0 * np.cos(omega[1] * 0.1), abs=1e-2)


def test_half_the_step_makes_a_quarter_of_the_error():
    exact = None
    errors = []
    for step_fs in (4.0, 2.0, 1.0):
        masses, steps = flown(step_fs=step_fs, until_fs=64.0)
        omega = np.sqrt(5.0 / (masses[0] * eV_PER_AMU_A2_PS2))
        exact = 20.0 / omega * np.sin(omega * 0.064)
        errors.append(abs(steps[-1].positions_A[0, 0] - exact))
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.1)
    assert errors[1] / errors[2] == pytest.approx(4, rel=0.1)


def test_the_total_energy_of_springs_is_kept_and_comes_back():
    masses, steps = flown(step_fs=1.0, until_fs=400.0)
    drift = np.array([total_eV(masses, step) - total_eV(masses, steps[0]) for step in steps])
    assert np.abs(drift).max() < 2e-3 * total_eV(masses, steps[0])
    # Bounded, as of a symplectic step: the second half strays no farther than the first.
    half = len(drift) // 2
    assert np.abs(drift[half:]).max() < 1.2 * np.abs(drift[:half]).max()


def test_a_flight_turned_round_comes_back_to_its_start():
    _, steps = flown(step_fs=1.0, until_fs=50.0)
    end = steps[-1]
    atoms = Atoms("ArSi", positions=end.positions_A, cell=np.eye(3) * 9, pbc=True)
    atoms.set_array("velocities_A_ps", -end.velocities_A_ps)
    forces = _Forces(atoms, Springs(steps[0].positions_A))
    settings = ReplaySettings(cascade="x", calculator="springs", max_timestep_fs=1.0, max_displacement_A=1.0)
    back = forces.at_start()
    for _ in steps[1:]:
        back = _next(back, forces, settings, until_fs=1e9)
    np.testing.assert_allclose(back.positions_A, steps[0].positions_A, atol=1e-9)
    np.testing.assert_allclose(back.velocities_A_ps, -steps[0].velocities_A_ps, atol=1e-8)


@given(
    speed=st.floats(1e-3, 1e3),
    pull=st.one_of(st.just(0.0), st.floats(1e-3, 1e7)),
    most=st.floats(1e-3, 0.5),
)
def test_the_longest_step_moves_an_atom_by_the_most_allowed_and_no_more(speed, pull, most):
    step = _longest_ps(np.array([[speed, 0, 0], [0, 0, 0]]), np.array([[pull, 0, 0], [0, 0, 0]]), most)
    assert speed * step + 0.5 * pull * step**2 == pytest.approx(most, rel=1e-9)


def test_steps_are_as_short_as_the_displacement_asks_for_and_the_last_one_ends_on_time():
    _, steps = flown(step_fs=2.0, until_fs=33.3, cap_A=0.02)
    way = np.linalg.norm(np.diff([s.positions_A for s in steps], axis=0), axis=-1)
    assert way.max() <= 0.02 + 1e-9
    assert steps[-1].time_ps == pytest.approx(0.0333, abs=1e-12)
    # Negative control: 20 A/ps for 2 fs would be 0.04 A.
    _, free = flown(step_fs=2.0, until_fs=33.3)
    assert np.linalg.norm(np.diff([s.positions_A for s in free], axis=0), axis=-1).max() > 0.03
