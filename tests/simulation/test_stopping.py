"""Electronic stopping: Lindhard and Scharff's law, tables of one's own, and what a flight loses by them."""

import json
import math

import numpy as np
import pytest
from ase.build import bulk

from cascade_driver.cli import main
from cascade_driver.errors import InputError
from cascade_driver.simulation.engine import FlightRules
from cascade_driver.simulation.knock_on import kick_velocity
from cascade_driver.simulation.lammps_engine import LammpsEngine
from cascade_driver.simulation.potential import load_potential
from cascade_driver.simulation.stopping import (
    ElectronicStopping,
    lindhard_scharff_eV_A,
    resolved_stopping,
    stopping_curves,
)

MASS_Si_amu = 28.085


@pytest.mark.parametrize(
    ("species", "z", "mass", "density_A3"), [("Si", 14, 28.085, 0.05), ("W", 74, 183.84, 0.063)]
)
@pytest.mark.parametrize("energy_eV", [20.0, 1000.0])
def test_in_reduced_units_it_is_lindhards_k_times_the_root(species, z, mass, density_A3, energy_eV):
    """d(epsilon)/d(rho) = k sqrt(epsilon), k = 0.1337 Z^(2/3) / A^(1/2): Lindhard et al. (1963)."""
    length_A = 0.8853 * 0.529177 / math.sqrt(2 * z ** (2 / 3))
    per_eV = length_A / (2 * z * z * 14.39964)
    per_A = density_A3 * math.pi * length_A**2
    k = 0.1337 * z ** (2 / 3) / math.sqrt(mass)
    wanted = k * math.sqrt(energy_eV * per_eV) * per_A / per_eV
    found = lindhard_scharff_eV_A(energy_eV, species=species, density_A3={species: density_A3})
    assert found == pytest.approx(wanted, rel=1e-3)


def test_species_of_a_crystal_add_up():
    density = {"Ca": 0.0128, "W": 0.0128, "O": 0.0512}
    each = [lindhard_scharff_eV_A(50.0, species="W", density_A3={s: n}) for s, n in density.items()]
    assert lindhard_scharff_eV_A(50.0, species="W", density_A3=density) == pytest.approx(sum(each))


def fly(given, *, duration_ps=0.1):
    """Return a flight of 200 eV in 1000 atoms of silicon, and what its curves say."""
    engine = LammpsEngine(potential=load_potential("si-tersoff-zbl"))
    try:
        box = bulk("Si", "diamond", a=5.432, cubic=True).repeat((5, 5, 5))
        engine.build(box)
        curves = (
            stopping_curves(given, symbols=box.get_chemical_symbols(), volume_A3=box.get_volume())
            if given
            else None
        )
        velocity = kick_velocity(
            recoil_energy_eV=200.0,
            mass_amu=MASS_Si_amu,
            direction=(1, 2, 3),
            kinetic_eV_per_amu_A2_ps2=engine.kinetic_eV_per_amu_A2_ps2,
        )
        rules = FlightRules(
            duration_ps=duration_ps, max_displacement_A=0.01, max_timestep_ps=0.001, seed=1, stopping=curves
        )
        return engine.follow(pka=444, velocity_A_ps=velocity, rules=rules), curves
    finally:
        engine.close()


def test_a_flight_loses_the_stopping_power_along_its_way():
    # Above half of the energy there is one atom at most: the knock-on, until it has given that away.
    flight, curves = fly(ElectronicStopping(above_eV=101.0), duration_ps=0.02)
    energy = flight.pka_kinetic_energy_eV
    way = np.linalg.norm(np.diff(flight.pka_position_A, axis=0), axis=1)
    middle = (energy[1:] + energy[:-1]) / 2
    along = np.interp(middle, curves.energy_eV, curves.stopping_eV_A["Si"]) * way * (middle > 101.0)
    assert flight.electronic_loss_eV == pytest.approx(along.sum(), rel=0.02)
    assert flight.electronic_loss_eV > 2


def test_what_electrons_took_is_added_back_to_the_energy():
    flight, _ = fly(ElectronicStopping(above_eV=5.0))
    assert flight.electronic_loss_eV > 5
    assert abs(flight.energy_drift_eV) < 0.02
    without, _ = fly(None)
    assert without.electronic_loss_eV is None


TABLE = "energy_eV Si\n{rows}\n"


def table_of_the_law(path, *, energies):
    powers = lindhard_scharff_eV_A(energies, species="Si", density_A3={"Si": 8 / 5.432**3})
    path.write_text(TABLE.format(rows="\n".join(f"{e} {s}" for e, s in zip(energies, powers, strict=True))))


def test_a_table_of_the_law_is_the_law(tmp_path):
    table_of_the_law(tmp_path / "stopping.txt", energies=np.geomspace(5, 1000, 300))
    given = resolved_stopping(ElectronicStopping(above_eV=10.0, file="stopping.txt"), tmp_path)
    assert given.file is None
    one, _ = fly(given, duration_ps=0.03)
    other, _ = fly(ElectronicStopping(above_eV=10.0), duration_ps=0.03)
    assert one.electronic_loss_eV == pytest.approx(other.electronic_loss_eV, rel=1e-3)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the file is empty, expected a line energy_eV and the species"),
        ("10 1\n20 2\n", "found numbers, expected the names of the columns"),
        (TABLE.format(rows="10 1\n20"), "line 3: found 1 cells, expected 2"),
        (TABLE.format(rows="10 1\n20 nan"), "line 3: Si is nan, expected a finite number"),
        (TABLE.format(rows="20 1\n10 2"), "rising energies"),
        (TABLE.format(rows="10 -1\n20 2"), "not negative"),
        ("energy_eV Si Si\n10 1 1\n20 2 2\n", "two columns Si"),
        ("Si energy_eV\n1 10\n2 20\n", "line 1: found the columns Si, energy_eV; expected energy_eV"),
        ("energy_eV Xx\n10 1\n20 2\n", "no element"),
    ],
)
def test_a_bad_table_is_refused_in_one_line(text, said, tmp_path):
    (tmp_path / "s.txt").write_text(text)
    with pytest.raises(InputError) as refused:
        resolved_stopping(ElectronicStopping(file="s.txt"), tmp_path)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


INPUT = """
[crystal]
name = "{crystal}"
repeats = {repeats}
[potential]
name = "{potential}"
[thermal]
temperature_K = 242
equilibration_ps = 0.05
snapshot_interval_ps = 0.02
[follow]
duration_ps = 0.05
max_displacement_A = 0.05
border = {{ width_A = 4, damping_ps = 0.1 }}
[follow.electronic_stopping]
{stopping}
[[recoils]]
species = "{species}"
recoil_energies_eV = [60]
directions = {{ scheme = "list", vectors = [[1, 2, 3]] }}
snapshots = 1
"""
SILICON = {"crystal": "Si", "repeats": "[4, 4, 4]", "potential": "si-tersoff-zbl", "species": "Si"}


def test_a_run_keeps_the_table_and_what_electrons_took(tmp_path, capsys):
    table_of_the_law(tmp_path / "s.txt", energies=np.geomspace(5, 200, 50))
    (tmp_path / "input.toml").write_text(INPUT.format(**SILICON, stopping='file = "s.txt"'))
    run = tmp_path / "run"
    assert main(["run", str(tmp_path / "input.toml"), "--out", str(run), "--workers", "1"]) == 0
    (tmp_path / "s.txt").unlink()
    (record,) = run.glob("cascades/*/record.json")
    physics = json.loads(record.read_text())["physics"]
    assert physics["electronic_loss_eV"] > 0.5
    # The plan has the numbers: it needs the file no more.
    assert main(["reproduce", str(run), record.parent.name, "--out", str(tmp_path / "again")]) == 0
    assert main(["cite", str(run)]) == 0
    assert "10.1103/PhysRev.124.128" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("crystal", "table", "said"),
    [
        (SILICON, "energy_eV W\n10 1\n900 2\n", "no column for Si"),
        (SILICON, "energy_eV Si\n10 1\n50 2\n", "ends at 50 eV, but recoils have up to 60 eV"),
        (
            {"crystal": "Al/Si", "repeats": "[2, 2, 1]", "potential": "alsi-meam-zbl", "species": "Al"},
            None,
            "cannot serve a film",
        ),
    ],
)
def test_a_table_that_cannot_serve_is_refused_before_anything_runs(crystal, table, said, tmp_path, capsys):
    if table is not None:
        (tmp_path / "s.txt").write_text(table)
    stopping = "above_eV = 10" if table is None else 'file = "s.txt"'
    (tmp_path / "input.toml").write_text(INPUT.format(**crystal, stopping=stopping))
    assert main(["run", str(tmp_path / "input.toml"), "--out", str(tmp_path / "run"), "--plan-only"]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "run" / "campaign.json").exists()
