"""Whether one kick displaces an atom: far below and far above the threshold, and the early answer."""

from functools import partial

import numpy as np
import pytest

from cascade_driver.simulation.crystal import CrystalSpec
from cascade_driver.simulation.displacement import DisplacedSpec, Kick, attempt
from cascade_driver.simulation.engine import EngineAbortError
from cascade_driver.simulation.lammps_engine import LammpsEngine
from cascade_driver.simulation.potential import load_potential
from cascade_driver.simulation.spec import BorderThermostat, FollowSpec, Protocol, QuenchSpec, ThermalSpec
from cascade_driver.simulation.start import make_box, make_snapshot, read_snapshot

FOLLOW = FollowSpec(duration_ps=1.5, max_displacement_A=0.03, max_timestep_fs=1.5)


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A thermal start of 216 atoms of silicon."""
    folder = tmp_path_factory.mktemp("starts")
    potential = load_potential("si-tersoff-zbl")
    protocol = Protocol(
        crystal=CrystalSpec(name="Si", repeats=(3, 3, 3)),
        potential_name=potential.name,
        potential_digest=potential.digest,
        thermal=ThermalSpec(temperature_K=30, equilibration_ps=0.3, snapshot_interval_ps=0.1),
    )
    make = partial(LammpsEngine, potential=potential)
    box = make_box(protocol, folder, make)
    make_snapshot(protocol, 0, folder, make)
    engine = make()
    yield box, read_snapshot(folder, 0), engine
    engine.close()


def tried(start, energy_eV, direction=(0.3, -0.5, 0.8), *, follow=FOLLOW, **displaced):
    box, snapshot, engine = start
    kick = Kick(snapshot=snapshot, atom=100, direction=np.array(direction), recoil_energy_eV=energy_eV, seed=1)
    return attempt(
        kick,
        box=box,
        engine=engine,
        follow=follow,
        quench=QuenchSpec(force_tolerance_eV_A=1e-3),
        displaced=DisplacedSpec(**displaced),
        temperature_K=30.0,
    )


def test_far_below_the_threshold_nothing_is_displaced_and_that_is_soon_clear(start):
    found = tried(start, 5.0)
    assert (found.displaced, found.defects, found.early) == (False, 0, True)
    assert found.decided_ps < 0.8


def test_far_above_the_threshold_an_atom_is_displaced(start):
    found = tried(start, 40.0)
    assert found.displaced
    assert found.defects >= 1


@pytest.mark.parametrize("energy_eV", [8.0, 40.0])
def test_an_early_answer_is_that_of_the_whole_time(start, energy_eV):
    """At energies that decide the answer; near the threshold a pair may still recombine."""
    late = tried(start, energy_eV, early=False)
    assert late.decided_ps >= FOLLOW.duration_ps
    assert tried(start, energy_eV).displaced == late.displaced


def test_the_criterion_of_stored_energy_quenches_what_is_left(start):
    nothing = tried(start, 5.0, criterion="stored")
    assert (nothing.displaced, nothing.stored_energy_eV) == (False, 0.0)
    # A Frenkel pair of silicon stores more than two electronvolts in any potential.
    pair = tried(start, 40.0, criterion="stored")
    assert pair.displaced
    assert pair.stored_energy_eV > 2


def test_energy_is_conserved_and_a_border_is_balanced(start):
    for border in (None, BorderThermostat(width_A=2.0, damping_ps=0.1)):
        follow = FollowSpec(duration_ps=0.5, max_displacement_A=0.03, max_timestep_fs=1.5, border=border)
        assert abs(tried(start, 30.0, follow=follow, early=False).energy_drift_eV) < 0.15


def test_an_attempt_that_cannot_conserve_energy_is_no_answer(start):
    careless = FollowSpec(
        duration_ps=0.3, max_displacement_A=0.1, max_timestep_fs=5, energy_drift_tolerance_eV=1e-4
    )
    with pytest.raises(EngineAbortError, match="drifts by"):
        tried(start, 40.0, follow=careless)
