"""The contract of potentials: every shipped folder meets it, every tampered one fails where it must."""

import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

from cascade_driver.errors import InputError, PotentialError
from cascade_driver.schema import file_sha256
from cascade_driver.simulation.lammps_engine import LammpsEngine
from cascade_driver.simulation.potential import (
    Potential,
    copy,
    distribution_folder,
    load_potential,
    shipped_potentials,
)
from cascade_driver.validation.contract import CHECKS, check_potential
from cascade_driver.validation.zbl import PairCurve, table_text, zbl

#: Two atoms, a crystal at rest pushed about: no lattice is relaxed beyond a unit cell.
CHEAP = (
    "ZBL limit",
    "repulsive core",
    "smooth switch",
    "continuous energy",
    "force is gradient",
    "finite when close",
    "ZBL in crystal",
)
STATIC = tuple(name for name in CHECKS if not name.startswith("survives"))
CHEAPEST = ("si-tersoff-zbl", "al-eam-zbl", "si-sw-zbl", "ge-tersoff-zbl", "diamond-erhart-albe-zbl")


def failures(potential: Potential, checks=None) -> dict[str, str]:
    results = check_potential(potential, make_engine=partial(LammpsEngine, potential=potential), checks=checks)
    assert all(r.remedy for r in results if not r.passed)
    assert not any(r.remedy for r in results if r.passed)
    return {r.name: r.remedy for r in results if not r.passed}


@pytest.mark.parametrize("name", shipped_potentials())
def test_shipped_potential_meets_the_cheap_checks(name):
    # Three checks sample 600 distances of each pair, 4 ms each where LAMMPS must set up four eam/fs: nightly then.
    potential = load_potential(name)
    sampled = {"repulsive core", "smooth switch", "continuous energy"} if len(potential.species) > 2 else set()
    assert failures(potential, [check for check in CHEAP if check not in sampled]) == {}


@pytest.mark.parametrize("name", CHEAPEST)
def test_shipped_potential_meets_the_whole_contract(name):
    assert failures(load_potential(name)) == {}


@pytest.mark.physics
@pytest.mark.parametrize("name", sorted(set(shipped_potentials()) - set(CHEAPEST)))
def test_shipped_potential_meets_the_whole_contract_slowly(name):
    assert failures(load_potential(name)) == {}


@pytest.mark.parametrize("name", shipped_potentials())
def test_bare_lammps_script_gives_the_energy_of_the_driver(name, tmp_path):
    program = Path(sys.executable).parent / "lmp"
    if not program.is_file():
        pytest.skip("no `lmp` executable beside this Python")
    potential = copy(load_potential(name), out=tmp_path / "potential" / "whole")
    atoms = bulk("Al", "fcc", a=4.6, cubic=True) * (3, 3, 3)
    atoms.set_chemical_symbols([potential.species[i % len(potential.species)] for i in range(len(atoms))])
    engine = LammpsEngine(potential=potential)
    engine.build(atoms)
    wanted = engine.potential_energy_eV()
    engine.write(tmp_path / "box.data")
    engine.close()
    script = [
        "units metal",
        "atom_style atomic",
        f"read_data {tmp_path / 'box.data'}",
        f"include {potential.include_path}",
        "run 0",
        'print "energy $(pe:%.12f)"',
    ]
    (tmp_path / "in.lmp").write_text("\n".join(script) + "\n")
    command = [
        str(program),
        "-log",
        "none",
        "-var",
        "potential_dir",
        str(potential.folders["potential_dir"]),
        "-in",
        "in.lmp",
    ]
    environment = {**os.environ, "LAMMPS_POTENTIALS": str(distribution_folder()), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    if "libmpi" in done.stderr:
        pytest.skip("the `lmp` executable does not find its MPI library")
    found = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("energy")]
    assert found, done.stdout[-500:] + done.stderr[-500:]
    assert float(found[0]) == pytest.approx(wanted, abs=1e-8)


# -- negative controls: exactly the right check fails -------------------------------------------------------


def tampered(tmp_path: Path, change) -> Potential:
    """Return al-eam-zbl with its core table changed: `change(r, E, F)` returns new columns."""
    folder = tmp_path / "tampered"
    shutil.copytree(load_potential("al-eam-zbl").folder, folder)
    table = folder / "core.table"
    rows = [line.split()[1:] for line in table.read_text().splitlines() if line[:1].isdigit()]
    r, energy, force = np.array(rows, dtype=float).T
    r, energy, force = change(r, energy, force)
    curve = PairCurve(distance_A=r, energy_eV=energy, force_eV_A=force)
    table.write_text(table_text({"Al-Al": curve}, comment="tampered"))
    about = folder / "potential.toml"
    old = load_potential("al-eam-zbl").about.files["core.table"]
    about.write_text(about.read_text().replace(old, file_sha256(table)))
    return load_potential(folder)


def test_force_that_is_not_the_gradient_fails(tmp_path):
    # Half a percent: still ZBL, no longer conservative.
    potential = tampered(tmp_path, lambda r, E, F: (r, E, 1.005 * F))
    assert set(failures(potential, STATIC)) == {"force is gradient", "continuous energy"}


def test_core_that_is_not_zbl_fails(tmp_path):
    potential = tampered(tmp_path, lambda r, E, F: (r, 1.03 * E, 1.03 * F))
    found = failures(potential, STATIC)
    assert set(found) == {"ZBL limit"}
    assert "ZBL" in found["ZBL limit"]


def test_switch_with_one_continuous_derivative_fails(tmp_path):
    switch = load_potential("al-eam-zbl").about.zbl["Al-Al"]
    inner, width = switch.inner_A, switch.outer_A - switch.inner_A

    def cubic(r, E, F):
        t = np.clip((r - inner) / width, 0, 1)
        smooth = 1 - t**3 * (10 - 15 * t + 6 * t**2)
        smooth1 = -30 * t**2 * (1 - t) ** 2 / width
        inside = smooth > 1e-9
        safe = np.where(inside, smooth, 1)
        difference = np.where(inside, E / safe, 0)
        slope = np.where(inside, (-F - smooth1 * difference) / safe, 0)
        s, s1 = 1 - 3 * t**2 + 2 * t**3, -6 * t * (1 - t) / width
        return r, s * difference, -(s1 * difference + s * slope)

    found = failures(tampered(tmp_path, cubic), CHEAP)
    # Rows of the table are 3 mA apart: the spline between them oscillates at such a kink, and its energy too.
    assert set(found) - {"continuous energy"} == {"smooth switch"}
    assert "second derivative jumps" in found["smooth switch"]


def test_hole_in_the_core_fails(tmp_path):
    def hole(r, E, F):
        well = -20 * np.exp(-(((r - 1.4) / 0.06) ** 2))
        return r, E + well, F + 2 * (r - 1.4) / 0.06**2 * well

    found = failures(tampered(tmp_path, hole), CHEAP)
    assert set(found) == {"repulsive core"}
    assert "spurious minimum" in found["repulsive core"]


def test_table_that_begins_too_late_fails_where_atoms_come_close(tmp_path):
    def late(r, E, F):
        return r[r > 0.15], E[r > 0.15], F[r > 0.15]

    found = failures(tampered(tmp_path, late), ("ZBL limit", "finite when close", "lattice constants"))
    assert set(found) == {"ZBL limit", "finite when close"}
    assert "the engine stopped" in found["finite when close"]


def test_body_that_explodes_at_high_density_fails_in_the_crystal(tmp_path):
    # The embedding energy of Al_mm.eam.fs rises as a high power beyond the density of the crystal.
    folder = tmp_path / "steep"
    shutil.copytree(load_potential("al-eam-zbl").folder, folder)
    include = folder / "potential.lmp"
    include.write_text("pair_style eam/fs\npair_coeff * * Al_mm.eam.fs Al\n")
    about = folder / "potential.toml"
    text = about.read_text()
    files = load_potential("al-eam-zbl").about.files
    for name in files:
        text = text.replace(files[name], file_sha256(folder / name))
    name = "Al_mm.eam.fs"
    text += f'"{name}" = "{file_sha256(distribution_folder() / name)}"\n'
    # Half of inner_A is 0.65 A: outside of the filler.
    text = text.replace("inner_A = 1.1", "inner_A = 1.3")
    about.write_text(text)
    found = failures(load_potential(folder), ("ZBL in crystal",))
    assert "many-body part" in found["ZBL in crystal"]


def lennard_jones(tmp_path: Path) -> Potential:
    """Return silicon by Lennard-Jones: the right lattice constant, the wrong crystal."""
    folder = tmp_path / "lj"
    shutil.copytree(load_potential("si-tersoff-zbl").folder, folder)
    (folder / "potential.lmp").write_text(
        "pair_style lj/cut 6.0\npair_coeff * * 1.0 2.135\npair_modify shift yes\n"
    )
    about = folder / "potential.toml"
    old = load_potential("si-tersoff-zbl").about.files["potential.lmp"]
    text = about.read_text().replace(old, file_sha256(folder / "potential.lmp"))
    about.write_text(text.replace("cutoff_A = 3.0", "cutoff_A = 6.0"))
    return load_potential(folder)


def test_crystal_that_is_no_minimum_fails(tmp_path):
    checks = ("cohesion", "restores", "survives 133 K", "survives kicks")
    found = failures(lennard_jones(tmp_path), checks)
    assert set(found) == {"restores", "survives 133 K", "survives kicks"}
    assert "another structure" in found["restores"]
    assert "spurious minimum" in found["survives 133 K"]
    assert "from the crystal" in found["survives kicks"]


def test_wrong_lattice_constant_and_soft_shear_fail(tmp_path):
    found = failures(lennard_jones(tmp_path), ("lattice constants", "elastic stability"))
    assert "gives way under strain" in found["elastic stability"]


def test_corrupted_file_is_refused_before_any_check(tmp_path):
    folder = tmp_path / "corrupted"
    shutil.copytree(load_potential("al-eam-zbl").folder, folder)
    with (folder / "core.table").open("a") as stream:
        stream.write(" ")
    with pytest.raises(PotentialError, match=r"core\.table: SHA-256"):
        load_potential(folder)


def test_unknown_check_is_refused():
    potential = load_potential("si-tersoff-zbl")
    with pytest.raises(InputError, match="no check named `beauty`; known are ZBL limit"):
        check_potential(potential, make_engine=partial(LammpsEngine, potential=potential), checks=["beauty"])


def test_progress_hears_every_result_and_no_crystal_is_needed(tmp_path):
    folder = tmp_path / "nothing"
    shutil.copytree(load_potential("si-tersoff-zbl").folder, folder)
    about = folder / "potential.toml"
    about.write_text(about.read_text().replace('crystals = ["Si"]', "crystals = []"))
    potential = load_potential(folder)
    heard = []
    results = check_potential(
        potential, make_engine=partial(LammpsEngine, potential=potential), progress=heard.append
    )
    assert heard == results
    assert {r.name for r in results} == set(CHEAP)
    assert [r for r in results if not r.passed] == []


def test_a_film_is_checked_as_its_two_crystals():
    potential = load_potential("alsi-meam-zbl")
    results = check_potential(
        potential, make_engine=partial(LammpsEngine, potential=potential), checks=["lattice constants"]
    )
    assert [r.subject for r in results] == ["Al", "Si"]


def test_zbl_is_the_reference_of_the_contract():
    # Coulomb at short range: E r / (e^2 Z^2) -> 1, a closed form.
    energy, _, _ = zbl(1e-6, numbers=(13, 13))
    assert float(energy) * 1e-6 / (14.399645 * 169) == pytest.approx(1, abs=1e-4)
