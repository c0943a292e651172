"""The inputs that ship: each can be planned, each crystal runs one cascade cut short."""

import dataclasses

import pytest

from cascade_driver.campaign.rundir import RunDirectory
from cascade_driver.cli import main
from cascade_driver.config import read_input
from cascade_driver.files import data_folder
from cascade_driver.simulation.outcome import Outcome

INPUTS = sorted(data_folder("inputs").glob("*.toml"))

#: Cascades of each that a user should know about before a relaunch makes them.
SIZES = {
    "al-film-substrate": 2,
    "al-film": 2,
    "al": 3,
    "cawo4-laptop": 192,
    "cawo4-reference": 1184,
    "dark-matter-c": 608,
    "dark-matter-ge": 576,
    "dark-matter-si": 576,
    "minimal": 1,
    "quickstart": 12,
    "si": 3,
}


@pytest.mark.parametrize("path", INPUTS, ids=lambda p: p.stem)
def test_a_shipped_input_can_be_planned(path, tmp_path):
    assert main(["run", str(path), "--out", str(tmp_path / "RUN"), "--plan-only"]) == 0
    campaign = RunDirectory(tmp_path / "RUN").load()
    assert campaign.size == len(list(campaign.cascades()))
    if path.stem in SIZES:
        assert campaign.size == SIZES[path.stem]
    for group in campaign.groups:
        # Rounding of at most a thousand weights.
        assert sum(group.weights) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("path", INPUTS, ids=lambda p: p.stem)
def test_a_shipped_input_says_what_it_is(path):
    assert path.read_text().startswith("# ")
    assert all(len(line) <= 120 for line in path.read_text().splitlines())


def test_the_reference_is_the_published_campaign():
    wanted = read_input(data_folder("inputs") / "cawo4-reference.toml")
    energies = {e: g.snapshots for g in wanted.recoils for e in g.recoil_energies_eV}
    assert energies == {20: 1, 40: 10, 60: 1, 81: 5, 112: 10, 160: 10}
    assert all(g.directions.count == 32 for g in wanted.recoils)
    assert wanted.crystal.repeats == (16, 16, 8)
    assert (wanted.follow.duration_ps, wanted.follow.max_displacement_A) == (8, 0.01)
    assert wanted.follow.border is None


#: Small boxes of their crystals; the rest of the input as it ships.
SMALL = {
    "si": {"minimum_atoms": 200},
    "al": {"minimum_atoms": 250},
    "dark-matter-c": {"minimum_atoms": 200},
    "dark-matter-ge": {"minimum_atoms": 200},
    "dark-matter-si": {"minimum_atoms": 200},
    "al-film": {"repeats": (1, 1, 1)},
    "al-film-substrate": {"repeats": (1, 1, 1)},
}


#: An interface creeps; here it need not come to rest.
COARSE_QUENCH = {"force_tolerance_eV_A": 0.05, "max_iterations": 200, "largest_force_eV_A": 0.2}


@pytest.mark.parametrize("name", SMALL)
def test_one_cascade_runs_in_each_crystal(make_laboratory, name):
    wanted = read_input(data_folder("inputs") / f"{name}.toml")
    crystal = dataclasses.replace(wanted.crystal, **{"minimum_atoms": None, "repeats": None} | SMALL[name])
    laboratory = make_laboratory(
        potential=wanted.potential.name,
        crystal=crystal,
        quench=COARSE_QUENCH if crystal.is_film else wanted.quench,
        thermal=dataclasses.replace(wanted.thermal, equilibration_ps=0.05, snapshot_interval_ps=0.02),
        follow=dataclasses.replace(wanted.follow, duration_ps=0.1),
    )
    group = wanted.recoils[0]
    region = {"film": 1, "substrate": 0, None: None}[group.region]
    record = laboratory.run(laboratory.spec(species=group.species, recoil_energy_eV=15.0, region=region)).record
    assert record.outcome in {Outcome.COMPLETED, Outcome.NEGATIVE_STORED_ENERGY}
    assert record.physics.given_energy_eV == pytest.approx(15.0, abs=1e-9)
    assert abs(record.physics.energy_drift_eV) < 0.1
    assert record.physics.pka.species == group.species
