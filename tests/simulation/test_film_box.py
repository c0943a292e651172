"""Aluminium on silicon: planes, strains and stresses of a film, its interface, and what is an adatom."""

import csv
import json

import numpy as np
import pytest
from ase.build import bulk
from ase.neighborlist import neighbor_list

from cascade_driver.analysis.model import StoredEnergyModel
from cascade_driver.campaign.plan import REGIONS
from cascade_driver.cli import main
from cascade_driver.errors import InputError
from cascade_driver.models import load_model
from cascade_driver.schema import build
from cascade_driver.simulation.crystal import CrystalSpec, assemble, axes_in_box_A, constituents
from cascade_driver.simulation.defects import ADATOM, INTERFACE_ATOM, take_census
from cascade_driver.simulation.film_box import (
    REGION_BULK,
    REGION_FILM,
    FilmSpec,
    biaxial_modulus_GPa,
    film_planes,
    film_strain,
    places,
    thinning,
)
from cascade_driver.simulation.knock_on import direction_in_box
from cascade_driver.simulation.lammps_engine import LammpsEngine
from cascade_driver.simulation.potential import load_potential
from cascade_driver.simulation.spec import Protocol, QuenchSpec
from cascade_driver.simulation.start import make_box, read_box


def spec_of(**film) -> CrystalSpec:
    content = {"name": "Al/Si", "repeats": [1, 1, 1], "film": {"film_cells": 4, "substrate_cells": 3, **film}}
    return build(CrystalSpec, content, origin="test")


def box_of(**film):
    spec = spec_of(**film)
    return assemble(spec, constituents(spec))


def at_rest(folder, **film):
    potential = load_potential("alsi-meam-zbl")
    protocol = Protocol(
        crystal=spec_of(**film),
        potential_name=potential.name,
        potential_digest=potential.digest,
        quench=QuenchSpec(force_tolerance_eV_A=2e-2, max_iterations=600, largest_force_eV_A=0.1),
    )
    folder.mkdir(exist_ok=True)
    made = make_box(protocol, folder, lambda: LammpsEngine(potential=potential))
    assert np.array_equal(read_box(folder).stress.stress_MPa, made.stress.stress_MPa)
    return made


def test_moduli_are_the_printed_ones():
    # Nix, Metall. Trans. A 20, 2217 (1989), of (111) aluminium 114 GPa; a free (001) film: E/(1 - nu) = 98 GPa.
    assert biaxial_modulus_GPa("Al", "111") == pytest.approx(114, abs=1)
    assert biaxial_modulus_GPa("Al", "001") == pytest.approx(98, abs=1)
    assert -2 < thinning("Al", "111") < 0


@pytest.mark.parametrize("element", ["Al", "Si"])
@pytest.mark.parametrize("plane", ["001", "111"])
def test_modulus_and_thinning_are_those_of_the_rotated_stiffness(element, plane):
    """The whole tensor, turned into the frame of the film, with no stress along its normal."""
    from cascade_driver.simulation.film_box import _ELASTIC_GPa, cubic_axes

    c11, c12, c44 = _ELASTIC_GPa[element]
    delta = np.eye(3)
    c = c12 * np.einsum("ij,kl->ijkl", delta, delta)
    c += c44 * (np.einsum("ik,jl->ijkl", delta, delta) + np.einsum("il,jk->ijkl", delta, delta))
    for i in range(3):
        c[i, i, i, i] += c11 - c12 - 2 * c44
    turn = cubic_axes(FilmSpec(plane=None if plane == "001" else "111")).T
    c = np.einsum("ai,bj,ck,dl,ijkl->abcd", turn, turn, turn, turn, c)
    strain = np.diag([1.0, 1.0, thinning(element, plane)])
    stress = np.einsum("ijkl,kl->ij", c, strain)
    modulus = biaxial_modulus_GPa(element, plane)
    np.testing.assert_allclose(stress, np.diag([modulus, modulus, 0.0]), atol=1e-9 * modulus)


def test_a_111_film_is_closely_packed_on_double_layers():
    box = box_of(plane="111")
    region = box.arrays["region"]
    film, ground = box[region == REGION_FILM], box[region == REGION_BULK]
    i, d = neighbor_list("id", film, 3.0)
    counts = np.bincount(i)
    layers = np.unique(np.round(film.positions[:, 2], 3))
    assert len(layers) == 12
    assert np.diff(layers) == pytest.approx(2.335, abs=0.02)
    middle = np.isclose(film.positions[:, 2], layers[5], atol=0.01)
    assert (counts[middle] == 12).all()
    assert d.min() > 2.8
    # The surface of silicon under it: one bond of four is broken, not three.
    i, _ = neighbor_list("id", ground, 2.6)
    assert np.bincount(i).min() == 3


def test_directions_are_those_of_the_crystal():
    spec = spec_of(plane="111")
    axes = axes_in_box_A(spec, constituents(spec))
    assert direction_in_box("[1 1 1]", axes_A=axes) == pytest.approx((0, 0, 1))
    assert direction_in_box("[1 -1 0]", axes_A=axes) == pytest.approx((1, 0, 0))
    # A neighbour of the close-packed plane lies along it.
    box = box_of(plane="111")
    film = box[box.arrays["region"] == REGION_FILM]
    bonds = neighbor_list("D", film, 3.0)
    along = bonds @ np.array([1.0, 0, 0]) / np.linalg.norm(bonds, axis=1)
    assert along.max() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("plane", [None, "111"])
def test_a_film_has_the_strain_that_was_asked_for(plane):
    box = box_of(plane=plane, strain_percent=0.4)
    strain = film_strain(spec_of(strain_percent=0.4).film, al_A=4.05, si_A=5.431)
    assert strain.film_percent == pytest.approx(0.4)
    lateral_A = 4 * 4.05 * 1.004 / (np.sqrt(2) if plane else 1)
    assert box.cell.lengths()[0] == pytest.approx(lateral_A)
    assert (1 + strain.substrate_percent / 100) * 3 * 5.431 == pytest.approx(4 * 4.05 * 1.004)


@pytest.mark.parametrize("film", [{"stress_MPa": 400.0}, {"plane": "111", "stress_MPa": 400.0}])
def test_the_potential_has_the_stress_that_was_asked_for(film, tmp_path):
    box = at_rest(tmp_path, **film)
    # Elastic constants of the potential are within a fifth of the measured ones.
    assert box.stress.inside_MPa(REGION_FILM) == pytest.approx(400, rel=0.2)


def test_negative_control_a_film_of_its_own_lattice_has_none(tmp_path):
    box = at_rest(tmp_path, strain_percent=0.0)
    assert abs(box.stress.inside_MPa(REGION_FILM)) < 60
    # The surface pulls all the same: 1 to 2 J/m2 of surface stress in a layer of 4 angstrom.
    assert box.stress.stress_MPa[-1] > 500


def test_virials_add_up_to_the_stress_of_the_box():
    engine = LammpsEngine(potential=load_potential("alsi-meam-zbl"))
    try:
        box = bulk("Al", a=4.1, cubic=True).repeat(3)
        box.rattle(0.05, seed=1)
        engine.build(box)
        total = engine.virials_eV().sum(axis=0) / box.cell.volume
        assert total == pytest.approx(np.diag(engine.stress_eV_A3()), rel=1e-6)
    finally:
        engine.close()


@pytest.mark.physics
def test_a_relaxed_interface_is_not_above_the_one_put_down(tmp_path):
    here, there = (at_rest(tmp_path / name, film_cells=2, **film) for name, film in RELAXED.items())
    assert there.potential_energy_eV < here.potential_energy_eV + 1e-6
    assert len(places(FilmSpec(interface="relaxed"))) == 4


RELAXED = {"as put": {}, "relaxed": {"interface": "relaxed"}}


def test_atoms_on_the_surface_and_at_the_interface_are_no_interstitials():
    box = box_of()
    region, start = box.arrays["region"], box.positions
    planes = film_planes(start, region)
    end = start.copy()
    top = int(np.argmax(np.where(region == REGION_FILM, start[:, 2], -np.inf)))
    end[top, 2] += 2.0  # from its layer to the top
    end[top, :2] += 1.4
    film = np.flatnonzero(region == REGION_FILM)
    low = int(film[np.argmin(start[film, 2])])
    end[low] += (1.3, 1.3, -0.7)
    middle = int(film[np.argmin(np.abs(start[film, 2] - start[film, 2].mean()))])
    end[middle] += (1.6, 1.6, 1.0)
    found = take_census(
        symbols=box.get_chemical_symbols(),
        reference_A=start,
        final_A=end,
        lengths_A=box.cell.lengths(),
        periodic=box.pbc,
        film=planes,
    )
    assert found.adatoms == {"Al": 1}
    assert found.flag[top] == ADATOM
    assert sum(found.interface_atoms.values()) == 1
    assert (found.flag == INTERFACE_ATOM).sum() == 1
    assert found.interstitials == {"Al": 1}
    assert sum(found.vacancies.values()) == 3
    without = take_census(
        symbols=box.get_chemical_symbols(),
        reference_A=start,
        final_A=end,
        lengths_A=box.cell.lengths(),
        periodic=box.pbc,
    )
    assert sum(without.interstitials.values()) == 3


def test_a_strain_beyond_elasticity_is_refused():
    with pytest.raises(InputError, match=r"strains the silicon in its box by -3\.45 %, at most 3 % expected"):
        box_of(strain_percent=-2.9)
    with pytest.raises(InputError, match="either `strain_percent` or `stress_MPa`"):
        spec_of(strain_percent=0.1, stress_MPa=1.0)


INPUT = """
[crystal]
name = "Al/Si"
repeats = [2, 2, 1]
film = { film_cells = 4, substrate_cells = 4, plane = "111", stress_MPa = 400 }
[potential]
name = "alsi-meam-zbl"
[[recoils]]
species = "Al"
recoil_energies_eV = [40]
directions = { scheme = "list", vectors = ["[1 1 1]"] }
"""


def test_a_plan_tells_the_strain(tmp_path, capsys):
    (tmp_path / "film.toml").write_text(INPUT)
    assert main(["run", str(tmp_path / "film.toml"), "--out", str(tmp_path / "run"), "--plan-only"]) == 0
    said = capsys.readouterr().out
    assert "(111) Al on (111) Si, strained +0.35 % in its plane, the silicon of the box -0.22 %" in said
    assert "+400 MPa" in said


SMALL = """
[crystal]
name = "Al/Si"
repeats = [1, 1, 1]
film = { film_cells = 4, substrate_cells = 3 }
[potential]
name = "alsi-meam-zbl"
[thermal]
temperature_K = 20
equilibration_ps = 0.05
snapshot_interval_ps = 0.02
[follow]
duration_ps = 0.15
max_displacement_A = 0.05
max_timestep_fs = 2
small_box = true
[quench]
force_tolerance_eV_A = 2e-2
max_iterations = 60
largest_force_eV_A = 5.0
"""
AIMED = """
[[recoils]]
species = "{species}"
region = "{region}"
recoil_energies_eV = [20]
directions = {{ scheme = "list", vectors = [[0.3, 0.2, -1]] }}
snapshots = 1
"""
AIMS = [("Al", "interface"), ("Si", "interface"), ("Si", "substrate")]


@pytest.fixture(scope="module")
def aimed(tmp_path_factory):
    """The run of a film of 470 atoms with recoils at its interface and below, records by species and region."""
    folder = tmp_path_factory.mktemp("aimed")
    (folder / "film.toml").write_text(SMALL + "".join(AIMED.format(species=s, region=r) for s, r in AIMS))
    assert main(["run", str(folder / "film.toml"), "--out", str(folder / "run"), "--workers", "1"]) == 0
    records = [json.loads(path.read_text()) for path in folder.glob("run/cascades/*/record.json")]
    names = {number: name for name, number in REGIONS.items()}
    kicks = [record["spec"]["knock_on"] for record in records]
    return folder / "run", {(k["species"], names[k["region"]]): r for k, r in zip(kicks, records, strict=True)}


def test_recoils_start_in_the_part_of_a_film_that_is_aimed_at(aimed):
    run, records = aimed
    (starts,) = (run / "starts").iterdir()
    box = read_box(starts)
    planes = film_planes(box.positions_A, box.region)
    depth = {
        aim: planes.interface_A - box.positions_A[r["physics"]["pka"]["index"], 2] for aim, r in records.items()
    }
    assert set(depth) == set(AIMS)
    # The nearest layers of both are 1.2 to 2 A from the plane between them, the middles several layers.
    assert -3 < depth["Al", "interface"] < 0 < depth["Si", "interface"] < 3
    assert depth["Si", "substrate"] > 4
    assert not set(box.held) & {r["physics"]["pka"]["index"] for r in records.values()}


def test_what_the_layers_of_a_film_store_is_what_it_stores(aimed):
    _, records = aimed
    for record in records.values():
        kept, stored_eV = record["physics"]["stored_in"], record["physics"]["stored_energy_eV"]
        assert sum(kept["layer_eV"]) == pytest.approx(stored_eV, abs=1e-4)
        parts = [kept[f"{part}_eV"] for part in ("substrate", "interface", "film")]
        assert sum(parts) == pytest.approx(stored_eV, abs=1e-4)
        assert len(kept["layer_eV"]) == len(kept["height_A"]) == 7
        assert kept["height_A"] == sorted(kept["height_A"])
    # Each keeps most of it where it was: the highest layer of the film knows of none.
    kept = {aim: r["physics"]["stored_in"] for aim, r in records.items()}
    for aim, part in (("Si", "substrate"), "substrate_eV"), (("Si", "interface"), "interface_eV"):
        assert kept[aim][part] > 0.8 * sum(kept[aim]["layer_eV"]) > 1
        assert abs(kept[aim]["layer_eV"][-1]) < 0.02


def test_energies_of_atoms_add_up_and_those_far_from_a_vacancy_do_not_change():
    engine = LammpsEngine(potential=load_potential("alsi-meam-zbl"))
    try:
        crystal = bulk("Al", a=4.05, cubic=True).repeat(4)
        engine.build(crystal)
        whole = engine.atom_energies_eV()
        assert whole.sum() == pytest.approx(engine.potential_energy_eV(), abs=1e-8)
        assert np.ptp(whole) < 1e-8
        moved = crystal.positions.copy()
        moved[0] += (0.4, 0.3, 0.2)
        engine.set_positions(moved)
        change = engine.atom_energies_eV() - whole
        assert change.sum() == pytest.approx(engine.potential_energy_eV() - whole.sum(), abs=1e-8)
        far = crystal.get_distances(0, range(len(crystal)), mic=True) > 7.0
        assert far.any()
        # MEAM sees two cutoffs far by its screening and no farther.
        assert np.abs(change[~far]).max() > 0.05
    finally:
        engine.close()


def test_the_table_and_the_report_of_a_film_tell_where_energy_is_kept(aimed, tmp_path):
    run, records = aimed
    assert main(["export", str(run), "--table", str(tmp_path / "x.csv")]) == 0
    with (tmp_path / "x.csv").open() as lines:
        rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    found = sorted(float(row["stored_in_film_eV"]) for row in rows)
    assert found == pytest.approx(sorted(r["physics"]["stored_in"]["film_eV"] for r in records.values()))
    assert main(["report", str(run)]) == 0
    assert "by where its atoms started" in (run / "report.html").read_text()


def test_regions_of_a_film_have_rows_and_columns_of_their_own(aimed, tmp_path, capsys):
    """Silicon recoils in two of them: what they store is never averaged, nor fitted as one sample."""
    run, records = aimed
    capsys.readouterr()
    assert main(["status", str(run), "--json"]) == 0
    rows = {(row["species"], row["region"]): row for row in json.loads(capsys.readouterr().out)["energies"]}
    assert set(rows) == set(AIMS)
    for aim, row in rows.items():
        stored_eV = records[aim]["physics"]["stored_energy_eV"]
        assert (row["planned"], row["finished"]) == (1, 1)
        assert row["mean_stored_energy_eV"] == pytest.approx(stored_eV)
    assert main(["status", str(run)]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("Si-interface", "Si-substrate", " Al "))  # aluminium has one region
    table = tmp_path / "x.csv"
    assert main(["export", str(run), "--table", str(table)]) == 0
    with table.open() as lines:
        exported = {(row["species"], row["region"]): row for row in csv.DictReader(lines)}
    assert set(exported) == set(AIMS)
    for aim, row in exported.items():
        assert float(row["stored_energy_eV"]) == records[aim]["physics"]["stored_energy_eV"]
    capsys.readouterr()
    assert main(["import", f"Si={table}", "--crystal", "Si", "--out", str(tmp_path / "import")]) == 2
    assert "holds recoils of Si in interface and substrate, which are not one sample" in capsys.readouterr().err
    assert main(["fit", str(run)]) == 1
    assert "Si: recoils in interface and substrate are not one sample" in capsys.readouterr().err
    assert main(["compare", str(run), str(run)]) == 0
    compared = capsys.readouterr().out
    assert "Si-interface 20" in compared
    assert "Si-substrate 20" in compared
    assert main(["ls", str(run), "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert {(cascade["species"], cascade["region"]) for cascade in listed} == set(AIMS)
    assert main(["ls", str(run)]) == 0
    assert "Si-substrate" in capsys.readouterr().out
    assert main(["report", str(run)]) == 0
    assert "Si-substrate" in (run / "report.html").read_text()


def test_one_region_of_a_film_is_fitted_alone(aimed, tmp_path, capsys):
    run, records = aimed
    place = tmp_path / "substrate.json"
    capsys.readouterr()
    assert main(["fit", str(run), "--region", "substrate"]) == 2
    assert "--region gives a model of some recoils alone: say where it goes with --out" in capsys.readouterr().err
    fit = ["fit", str(run), "--shape", "table"]
    assert main([*fit, "--region", "substrate", "--out", str(place)]) == 0
    assert "note: fitted to recoils aimed at the substrate alone" in capsys.readouterr().out
    model = StoredEnergyModel.load(place)
    assert model.name == "film (substrate)"
    assert (model.provenance["region"], model.provenance["cascades"]) == ("substrate", "1 of 1")
    (stored_eV,) = model["Si"].distribution.stored_energy_eV
    assert stored_eV == records["Si", "substrate"]["physics"]["stored_energy_eV"]
    assert list(model.species) == ["Si"]  # the aluminium recoils at the interface
    assert main([*fit, "--region", "interface", "--out", str(tmp_path / "interface.json")]) == 0
    assert sorted(StoredEnergyModel.load(tmp_path / "interface.json").species) == ["Al", "Si"]
    with pytest.raises(InputError, match=r"in the interface of a film, film \(substrate\) one of those"):
        load_model(place, tmp_path / "interface.json")
    capsys.readouterr()
    assert main([*fit, "--region", "film", "--out", str(place)]) == 2
    said = capsys.readouterr().err
    assert "region 'film': no recoils with a single kick are aimed at it, only interface and substrate;" in said
    assert said.count("\n") == 1
