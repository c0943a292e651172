"""An engine that knows no physics and costs nothing, and a campaign for it: the driver's own logic under test.

What it does with a cascade follows from the recoil energy, so that a plan can contain every kind of trouble.
"""

import ctypes
import errno
import json
import os
import signal
import time
import uuid
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import atomic_masses

from cascade_driver.analysis.defect_probability import FermiProbability
from cascade_driver.campaign.claims import Claims
from cascade_driver.campaign.executors import Work
from cascade_driver.campaign.plan import Campaign, RecoilGroup
from cascade_driver.campaign.rundir import RunDirectory
from cascade_driver.errors import PotentialError
from cascade_driver.schema import file_sha256
from cascade_driver.simulation.crystal import CrystalSpec
from cascade_driver.simulation.engine import EngineAbortError, Flight, Minimum
from cascade_driver.simulation.outcome import Outcome
from cascade_driver.simulation.potential import load_potential
from cascade_driver.simulation.record import Defects, KnockOnPath, Physics, Track
from cascade_driver.simulation.spec import Protocol

KILLED, SEGFAULT, HANGS, CRASHES_ONCE, LOSES_ATOMS, FATAL, DISK_FULL, BUG, CRASHES = (
    13,
    14,
    15,
    16,
    17,
    18,
    19,
    21,
    22,
)

_HALF_M_V2_eV = 0.5 * 1.0364269e-4


class FakeEngine:
    """Answers as an engine would; its energies are a hash of what it was asked."""

    version = "fake 1"
    kinetic_eV_per_amu_A2_ps2 = 2 * _HALF_M_V2_eV
    sleep_s = 0.0

    def __init__(self, *, potential, time_limit_s, onlooker=None):
        self.onlooker = onlooker
        self.potential = potential
        self.library = None
        self.stored_eV = 0.0

    def build(self, atoms):
        self.positions = atoms.get_positions()
        self.lengths = atoms.cell.lengths()

    def read(self, state, *, periodic, held):
        self.state = Path(state)
        content = json.loads(self.state.read_text())
        self.positions, self.lengths = np.array(content["positions"]), np.array(content["lengths"])

    def write(self, state):
        state.write_text(json.dumps({"positions": self.positions.tolist(), "lengths": self.lengths.tolist()}))

    def minimise(self, *, force_tolerance_eV_A, max_iterations, **_):
        return Minimum(
            potential_energy_eV=-100.0 + self.stored_eV, largest_force_eV_A=0.0, positions_A=self.positions.copy()
        )

    def relax_box(self, *, force_tolerance_eV_A):
        return np.array(self.lengths)

    def heat(self, **_):
        pass

    def run(self, **_):
        # A snapshot differs from the one before, as it does with physics.
        self.positions = self.positions + np.sin(1 + self.positions) * 1e-3
        return 133.0

    def follow(self, *, pka, velocity_A_ps, rules, **_):
        energy = _HALF_M_V2_eV * atomic_masses[14] * float(np.dot(velocity_A_ps, velocity_A_ps))
        time.sleep(self.sleep_s)
        self.misbehave(round(energy, 6))
        number = int(file_sha256(self.state)[:8], 16) / 2**32 + (rules.seed % 1000) / 1000
        self.stored_eV = 0.0 if number < 1 else number
        rows = np.linspace(0, 1, 5)
        return Flight(
            time_ps=rows * rules.duration_ps,
            pka_position_A=np.outer(rows, velocity_A_ps) * 1e-3,
            pka_kinetic_energy_eV=energy * (1 - rows),
            least_distance_A=np.full(5, 1.5),
            temperature_start_K=133.0,
            temperature_end_K=200.0,
            energy_drift_eV=0.0,
            finished=True,
        )

    def misbehave(self, energy):
        if energy == KILLED:
            print("about to die", flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        if energy == SEGFAULT:
            ctypes.string_at(0)
        if energy == HANGS:
            time.sleep(1000)
        if energy == CRASHES_ONCE:
            marker = self.state.parent / ".crashed-once"
            if not marker.exists():
                marker.touch()
                os.kill(os.getpid(), signal.SIGSEGV)
        if energy == CRASHES:
            os._exit(3)
        if energy == LOSES_ATOMS:
            raise EngineAbortError(Outcome.LOST_ATOMS, "3 atoms lost")
        if energy == FATAL:
            raise PotentialError("the potential is gone")
        if energy == DISK_FULL:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if energy == BUG:
            raise ZeroDivisionError("a bug of ours")

    def close(self):
        pass


#: The law that `LawfulEngine` stores by.
FERMI = FermiProbability(half_energy_eV=45.0, width_eV=6.0)


class LawfulEngine(FakeEngine):
    """Stores energy by a known law, drawn by the seed of the cascade."""

    shift_eV = 0.0

    def follow(self, *, rules, **settings):
        flight = super().follow(rules=rules, **settings)
        energy = flight.pka_kinetic_energy_eV[0]
        rng = np.random.default_rng(rules.seed)
        stores = rng.random() < FERMI(energy)
        mean = 7.0 + 0.04 * (energy - 81.0) + self.shift_eV
        self.stored_eV = max(float(rng.normal(mean, 1.0)), 0.5) if stores else 0.0
        return flight


class Mended(FakeEngine):
    """Whatever made cascades crash is gone."""

    def misbehave(self, energy):
        if energy != CRASHES:
            super().misbehave(energy)


class SlowEngine(FakeEngine):
    """As slow as a very short cascade, so that it can be killed in the middle."""

    sleep_s = 0.05


POTENTIAL = "si-tersoff-zbl"


def a_campaign(*, energies=(50.0,), directions=2, snapshots=2, seed=1, repeats=(1, 1, 1)) -> Campaign:
    """Return a plan of `energies` x `directions` x `snapshots` cascades in silicon, 8 atoms unless repeated."""
    angle = np.linspace(0.1, 3, directions)
    vectors = tuple((round(float(np.cos(a)), 9), round(float(np.sin(a)), 9), 0.0) for a in angle)
    return Campaign(
        title="trial",
        potential_status="qualitative",
        protocol=Protocol(
            crystal=CrystalSpec(name="Si", repeats=repeats, relax_cell=False),
            potential_name=POTENTIAL,
            potential_digest=load_potential(POTENTIAL).digest,
            campaign_seed=seed,
        ),
        groups=(
            RecoilGroup(
                species="Si",
                recoil_energies_eV=tuple(float(e) for e in energies),
                snapshots=snapshots,
                sampling="by hand",
                vectors=vectors,
                weights=(1 / directions,) * directions,
            ),
        ),
    )


def a_run(folder: Path, campaign: Campaign) -> RunDirectory:
    """Return a run directory with the campaign in it."""
    run = RunDirectory(folder)
    run.prepare()
    run.keep(load_potential(POTENTIAL))
    run.save(campaign)
    return run


def work_of(run: RunDirectory, campaign: Campaign | None = None, *, engine=FakeEngine, **settings) -> Work:
    """Return the work on a campaign with a fake engine."""
    return Work(
        run=run,
        campaign=campaign or run.load(),
        potential=load_potential(POTENTIAL).folder,
        engine=engine,
        **{"workers": 2, "attempts": 2, "time_limit_s": 60.0, "grace_s": 0.0, **settings},
    )


def physics(**found: Any) -> Physics:
    """Return what a cascade without anything of note leaves, but for what is given."""
    return Physics(
        **{
            "stored_energy_eV": 0.0,
            "reference_energy_eV": -100.0,
            "quenched_energy_eV": -100.0,
            "largest_force_eV_A": 1e-5,
            "start_sha256": "0" * 64,
            "given_energy_eV": 20.0,
            "energy_drift_eV": 0.0,
            "temperature_start_K": 133.0,
            "temperature_end_K": 133.0,
            "temperature_rise_K": 0.0,
            "least_distance_A": 1.5,
            "followed_ps": 1.0,
            "steps": 1000,
            "defects": Defects(vacancies={}, interstitials={}, antisites={}, clusters=()),
            "displaced_atoms": {},
            "pka": KnockOnPath(
                index=0,
                species="Si",
                end_displacement_A=0.0,
                largest_displacement_A=0.5,
                path_length_A=1.0,
                track=Track(time_ps=(0.0,), position_A=((0.0, 0.0, 0.0),), kinetic_energy_eV=(20.0,)),
            ),
            **found,
        }
    )


def physics_of(run: RunDirectory) -> dict[str, tuple]:
    """Return what every record says that no machine and no accident may change."""
    return {
        name: (record.outcome, record.physics, record.spec)
        for name in sorted(run.finished())
        for record in [run.record(name)]
    }


class CountingEngine(FakeEngine):
    """Leaves a mark for all that is shared and made once: the box at rest, the heated crystal, each snapshot."""

    def __init__(self, *, potential, time_limit_s, marks, onlooker=None):
        super().__init__(potential=potential, time_limit_s=time_limit_s, onlooker=onlooker)
        self.marks = Path(marks)

    def mark(self, what):
        time.sleep(0.05)  # others come in the meantime
        (self.marks / f"{what}-{uuid.uuid4()}").touch()

    def build(self, atoms):
        self.mark("built")
        super().build(atoms)

    def heat(self, **_):
        self.mark("heated")

    def run(self, **_):
        self.mark("run")
        return super().run()


class BadCrystal(FakeEngine):
    def build(self, atoms):
        os._exit(3)


class AnotherBuild(FakeEngine):
    def run(self, **_):
        self.positions = self.positions + 1e-3
        return 133.0


def take_all_claims(folder, barrier, results):
    mine = Claims(folder)
    barrier.wait()
    results.put([k for k in range(200) if mine.take(str(k)) is not None])
    barrier.wait()  # nobody leaves before all have tried: the claims of who left would be free
