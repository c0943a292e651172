"""Two potentials as one: the first moves the atoms, the second weighs them at rest."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from cascade_driver import version
from cascade_driver.campaign.rundir import RunDirectory
from cascade_driver.cli import main
from cascade_driver.errors import InputError, PotentialError
from cascade_driver.simulation.cascade import run_cascade
from cascade_driver.simulation.descent import descend, measure_stiffness
from cascade_driver.simulation.lammps_engine import LammpsEngine
from cascade_driver.simulation.potential import combine, copy_potential, load_potential
from cascade_driver.simulation.spec import CascadeSpec, FollowSpec, KnockOn, Protocol, ThermalSpec
from cascade_driver.simulation.start import make_box, make_snapshot

SW, TERSOFF = "si-sw-zbl", "si-tersoff-zbl"
FINE = {"force_tolerance_eV_A": 1e-6, "max_iterations": 5000}


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    return combine(load_potential(SW), load_potential(TERSOFF), out=tmp_path_factory.mktemp("potentials") / "two")


def vacancy(*, moved=0.05):
    """Silicon of 63 atoms, away from any minimum."""
    atoms = bulk("Si", "diamond", a=5.43, cubic=True).repeat((2, 2, 2))
    del atoms[20]
    atoms.rattle(moved, seed=3)
    return atoms


def engine_of(potential, atoms):
    made = LammpsEngine(potential=potential)
    made.build(atoms)
    return made


def energy_eV(potential, atoms):
    engine = engine_of(potential, atoms)
    try:
        return engine.potential_energy_eV()
    finally:
        engine.close()


def alone(name, atoms):
    """Energy and forces of a potential by itself."""
    engine = engine_of(load_potential(name), atoms)
    try:
        return engine.potential_energy_eV(), engine.forces_eV_A()
    finally:
        engine.close()


def test_at_rest_the_second_counts_and_then_the_first_moves_the_atoms_again(two):
    atoms = vacancy()
    engine = engine_of(two, atoms)
    try:
        before_eV = engine.potential_energy_eV()
        rest = engine.minimise(**FINE)
        engine.set_positions(atoms.positions)
        after_eV, forces = engine.potential_energy_eV(), engine.forces_eV_A()
    finally:
        engine.close()
    first_eV, first_forces = alone(SW, atoms)
    assert before_eV == pytest.approx(first_eV, abs=1e-9)
    assert after_eV == pytest.approx(first_eV, abs=1e-9)
    np.testing.assert_allclose(forces, first_forces, atol=1e-9)
    atoms.positions = rest.positions_A
    second_eV, second_forces = alone(TERSOFF, atoms)
    assert rest.potential_energy_eV == pytest.approx(second_eV, abs=1e-8)
    assert np.abs(second_forces).max() < 1e-5
    # The two are not alike there: 0.4 eV and more between any two potentials of a vacancy in silicon.
    assert abs(alone(SW, atoms)[0] - second_eV) > 0.1


def test_the_second_begins_where_the_first_rests(two):
    engine = engine_of(load_potential(SW), vacancy())
    first = engine.minimise(**FINE)
    engine.close()
    engine = engine_of(two, vacancy())
    both = engine.minimise(**FINE)
    engine.close()
    assert both.follow_energy_eV == first.potential_energy_eV
    assert first.follow_energy_eV is None


def test_the_stiffness_finishes_the_descent_of_each(two):
    """It is that of the first; the second is not far."""
    crystal = bulk("Si", "diamond", a=5.43, cubic=True)
    sites = crystal.repeat((2, 2, 2))
    hot = sites.copy()
    hot.rattle(0.1, seed=4)
    engine = engine_of(two, sites)
    try:
        stiffness = measure_stiffness(
            engine,
            sites_A=sites.positions,
            lengths_A=np.array(sites.cell.lengths()),
            cell_A=np.array(crystal.cell.lengths()),
        )
        engine.set_positions(hot.positions)
        nearest = engine.minimise(**FINE)
        engine.set_positions(hot.positions)
        finished = descend(engine, stiffness, **FINE)
        engine.set_positions(hot.positions)
        met = []
        engine.minimise(
            **FINE,
            finish=lambda: met.append((engine.potential_energy_eV(), np.abs(engine.forces_eV_A()).max())),
            finish_below_eV_A=0.2,
        )
    finally:
        engine.close()
    assert finished.potential_energy_eV == pytest.approx(nearest.potential_energy_eV, abs=1e-7)
    assert finished.follow_energy_eV == pytest.approx(nearest.follow_energy_eV, abs=1e-7)
    np.testing.assert_allclose(finished.positions_A, nearest.positions_A, atol=1e-5)
    # Called in the first, then in the second, each nearly at rest.
    assert [energy for energy, _ in met] == pytest.approx(
        [nearest.follow_energy_eV, nearest.potential_energy_eV], abs=0.2
    )
    assert all(force < 0.2 for _, force in met)
    assert abs(nearest.follow_energy_eV - nearest.potential_energy_eV) > 1


@pytest.fixture(scope="module")
def record(two, tmp_path_factory):
    starts = tmp_path_factory.mktemp("starts")
    protocol = Protocol(
        crystal={"name": "Si", "repeats": (3, 3, 3)},
        potential_name=two.name,
        potential_digest=two.digest,
        thermal=ThermalSpec(temperature_K=50, equilibration_ps=0.1, snapshot_interval_ps=0.05),
        follow=FollowSpec(duration_ps=0.4, max_displacement_A=0.03, max_timestep_fs=2, small_box=True),
    )

    def make_engine():
        return LammpsEngine(potential=two)

    make_box(protocol, starts, make_engine)
    make_snapshot(protocol, 0, starts, make_engine)
    kick = KnockOn(species="Si", direction=(0.36, 0.48, 0.8), recoil_energy_eV=40)
    return run_cascade(
        CascadeSpec(protocol=protocol, snapshot=0, knock_on=kick, seed=1), starts=starts, make_engine=make_engine
    )


def test_a_cascade_stores_what_the_second_says_and_tells_both(record):
    physics = record.record.physics
    crystal = record.structure.copy()
    ends, starts = crystal.positions.copy(), crystal.positions - crystal.arrays["displacement"]
    energies = {}
    for name in (SW, TERSOFF):
        for which, positions in (("start", starts), ("end", ends)):
            crystal.positions = positions
            energies[name, which] = alone(name, crystal)[0]
    assert physics.stored_energy_eV > 1
    assert physics.stored_energy_eV == pytest.approx(
        energies[TERSOFF, "end"] - energies[TERSOFF, "start"], abs=1e-4
    )
    # Of the first at its own minima, which lie below where the second has its.
    assert physics.stored_energy_follow_eV < energies[SW, "end"] - energies[SW, "start"]
    assert abs(physics.stored_energy_follow_eV - physics.stored_energy_eV) > 0.05


def test_a_run_keeps_both(two, tmp_path):
    kept = RunDirectory(tmp_path / "run").keep(two)
    assert kept.digest == two.digest
    assert all(part.folder.is_relative_to(tmp_path / "run") for part in kept.parts)
    assert kept.at_rest.name == TERSOFF


def test_the_digest_tells_which_is_which(two, tmp_path):
    turned = combine(load_potential(TERSOFF), load_potential(SW), out=tmp_path / "turned")
    assert len({two.digest, turned.digest, load_potential(SW).digest}) == 3


@pytest.mark.parametrize(
    ("follow", "quench", "name", "said"),
    [
        (SW, "al-eam-zbl", "x", "same elements in the same order"),
        (SW, TERSOFF, SW, "has the name of one of the two"),
    ],
)
def test_what_is_no_pair_is_refused_and_leaves_nothing(tmp_path, follow, quench, name, said):
    with pytest.raises((InputError, PotentialError), match=said):
        combine(load_potential(follow), load_potential(quench), out=tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_two_are_not_two_again(two, tmp_path):
    with pytest.raises(PotentialError, match="is two potentials already"):
        combine(two, load_potential(SW), out=tmp_path / "four")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (f'"{SW}"', '"../../si-sw-zbl"', "follow.name"),
        (f'"{SW}"', '"two"', "potential"),  # itself
        ("digest", "digits", "digest"),
        ('status = "qualitative"', 'status = "perfect"', "status"),
    ],
)
def test_a_hostile_pair_is_refused_in_one_line(two, tmp_path, old, new, said):
    folder = combine(load_potential(SW), load_potential(TERSOFF), out=tmp_path / "two").folder
    text = (folder / "potential.toml").read_text()
    assert old in text
    (folder / "potential.toml").write_text(text.replace(old, new))
    with pytest.raises((InputError, PotentialError), match=said) as refused:
        load_potential(folder)
    assert "\n" not in str(refused.value)


def test_a_part_that_was_changed_is_refused(tmp_path):
    folder = combine(load_potential(SW), load_potential(TERSOFF), out=tmp_path / "two").folder
    (tmp_path / TERSOFF / "potential.lmp").write_text("pair_style none\n")
    with pytest.raises(PotentialError, match=r"potential\.lmp"):
        load_potential(folder)


def test_what_a_wheel_carries_once_serves_two(tmp_path, monkeypatch):
    monkeypatch.setattr(version, "_PACKAGE", tmp_path)
    data = tmp_path / "_data"
    for name in ("one", "two"):
        copy_potential(load_potential(SW), data / "potentials" / name)
    (data / "potentials/two/core.table").unlink()
    with pytest.raises(PotentialError, match="is missing"):
        load_potential(data / "potentials/two")
    (tmp_path / version.KEPT_ONCE_FILE).write_text("potentials/two/core.table\tpotentials/one/core.table\n")
    one, two = (load_potential(data / "potentials" / name) for name in ("one", "two"))
    assert two.digest == one.digest
    close = Atoms("Si2", positions=[(0, 0, 0), (0, 0, 0.7)], cell=[20, 20, 20], pbc=True)
    assert energy_eV(two, close) == energy_eV(one, close) > 100  # of the core, which is in the table
    copy_potential(two, tmp_path / "whole")
    monkeypatch.undo()
    assert load_potential(tmp_path / "whole").digest == one.digest


def test_a_copy_of_two_has_both_beside_it(two, tmp_path, capsys):
    assert main(["potential", "copy", str(two.folder), "--out", str(tmp_path / "p" / "mine")]) == 0
    assert {folder.name for folder in (tmp_path / "p").iterdir()} == {"mine", SW, TERSOFF}
    assert load_potential(tmp_path / "p" / "mine").digest == two.digest
    assert main(["potential", "copy", SW, "--out", str(tmp_path / "p" / "mine")]) == 2
    assert "exists" in capsys.readouterr().err
