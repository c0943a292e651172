"""What is proposed for labels: strains of the size asked for, pairs at their distance, places that differ."""

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.geometry import find_mic
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade_driver.errors import InputError
from cascade_driver.schema import build
from cascade_driver.simulation.crystal import MOST_CELLS
from cascade_driver.training.frames import write_structures
from cascade_driver.training.propose import (
    Cell,
    FrenkelSearch,
    close_pairs,
    conventional_cell,
    frenkel_places,
    molecular_dynamics,
    strained,
    structures_in,
)

NACL = bulk("NaCl", "rocksalt", a=5.64, cubic=True)


# -- strains ------------------------------------------------------------------------------------------------------


def strain_of(structure: Atoms, cell: Atoms) -> np.ndarray:
    return np.linalg.solve(cell.cell.array, structure.cell.array) - np.eye(3)


def test_strains_are_symmetric_and_as_large_as_asked_for():
    found = np.array([strain_of(one, NACL) for one in strained(NACL, strain=0.02, count=400)])
    np.testing.assert_allclose(found, found.transpose(0, 2, 1), atol=1e-12)
    # Diagonal: (r + r)/2; off the diagonal the mean of two, narrower by sqrt 2. 400 draws: 3.5 % each, 4 sigma.
    diagonal = found[:, range(3), range(3)]
    off = found[:, [0, 0, 1], [1, 2, 2]]
    assert diagonal.std() == pytest.approx(0.02, rel=0.09)
    assert off.std() == pytest.approx(0.02 / np.sqrt(2), rel=0.09)
    assert abs(found.mean()) < 4 * 0.02 / np.sqrt(400 * 6)


def test_without_shaking_atoms_go_with_the_cell_and_with_it_they_do_not():
    (calm,) = strained(NACL, count=1, seed=7)
    np.testing.assert_allclose(calm.get_scaled_positions(), NACL.get_scaled_positions(), atol=1e-12)
    shaken = strained(NACL, strain=0.0, rattle_A=0.05, count=60, seed=7)
    moved = np.array([one.positions - NACL.positions for one in shaken])
    assert moved.std() == pytest.approx(0.05, rel=0.1)
    np.testing.assert_array_equal(shaken[0].cell.array, NACL.cell.array)


def test_the_same_seed_gives_the_same_structures_and_another_one_others():
    one, same, other = (strained(NACL, count=2, seed=seed) for seed in (1, 1, 2))
    assert [a.positions.tobytes() for a in one] == [a.positions.tobytes() for a in same]
    assert one[0].positions.tobytes() != other[0].positions.tobytes()
    assert len({a.info["trajectory"] for a in one + other}) == 4


# -- pairs --------------------------------------------------------------------------------------------------------


@settings(max_examples=25)
@given(distance=st.floats(0.4, 2.5))
def test_a_pair_stands_at_its_distance_about_its_old_centre_and_nothing_else_moves(distance):
    box = NACL.copy()
    box.rattle(0.05, seed=3)
    (pair,) = close_pairs(box, distances_A={("Na", "Cl"): [distance]})
    moved = np.flatnonzero(np.linalg.norm(pair.positions - box.positions, axis=1) > 1e-12)
    i, j = moved if len(moved) else (0, 0)
    if len(moved):
        assert set(box.symbols[moved]) == {"Na", "Cl"}
        assert pair.get_distance(i, j, mic=True) == pytest.approx(distance, abs=1e-9)
        np.testing.assert_allclose(
            (pair.positions - box.positions)[[i, j]].sum(axis=0), 0, atol=1e-9
        )  # the centre stays
        way, before = (find_mic(a.positions[j] - a.positions[i], a.cell)[0] for a in (pair, box))
        assert np.linalg.norm(np.cross(way, before)) < 1e-8  # along the bond


def test_a_box_whose_images_come_nearer_than_the_pair_is_refused():
    (far,) = close_pairs(NACL * (2, 2, 2), distances_A={("Na", "Cl"): [4.5]})
    assert "4.5 A" in far.info["origin"]
    with pytest.raises(InputError, match=r"Na-Cl at 4\.5 A: an image of one stands 1\.14 A from the other"):
        close_pairs(NACL, distances_A={("Na", "Cl"): [4.5]})


def test_the_others_relax_about_a_pair_that_is_held():
    box = bulk("Cu", cubic=True) * (2, 2, 2)
    bare, relaxed = close_pairs(box, distances_A={("Cu", "Cu"): [1.9]}, relax=EMT)
    for one in (bare, relaxed):
        assert one.get_all_distances(mic=True)[np.triu_indices(32, 1)].min() == pytest.approx(1.9, abs=1e-4)
        one.calc = EMT()
    assert relaxed.get_potential_energy() < bare.get_potential_energy() - 0.1


# -- places of Frenkel pairs --------------------------------------------------------------------------------------


@settings(max_examples=5)
@given(grid=st.floats(0.6, 0.8), clearance=st.floats(0.9, 1.1), reach=st.floats(2.5, 3.0))
def test_places_are_clear_within_reach_and_no_two_are_alike(grid, clearance, reach):
    box = bulk("Cu", cubic=True) * (2, 2, 2)
    search = FrenkelSearch(species="Cu", grid_A=grid, clearance_A=clearance, reach_A=reach)
    moved, places = frenkel_places(box, search)
    way = places - box.positions[moved]
    distance = np.linalg.norm(way, axis=1)
    assert distance.min() >= clearance
    assert distance.max() <= reach + 1e-9
    others = np.delete(box.positions, moved, axis=0)
    for place in places:
        assert np.linalg.norm(find_mic(others - place, box.cell)[0], axis=1).min() >= clearance - 1e-9
    # The site of an fcc crystal is cubic: |x|, |y|, |z| in order name a place.
    names = np.sort(np.abs(way), axis=1)
    apart = np.linalg.norm(names[:, None] - names[None], axis=-1)[np.triu_indices(len(names), 1)]
    assert len(names) == 1 or apart.min() >= grid / 2 - 1e-6


def test_a_box_without_the_species_or_without_room_is_refused():
    with pytest.raises(InputError, match="no Ag in a box of Cu"):
        frenkel_places(bulk("Cu", cubic=True), FrenkelSearch(species="Ag"))
    with pytest.raises(InputError, match="no place is 3 A from all atoms"):
        frenkel_places(bulk("Cu", cubic=True), FrenkelSearch(species="Cu", clearance_A=3.0))


# -- dynamics -----------------------------------------------------------------------------------------------------


def test_a_box_that_explodes_is_refused():
    box = Atoms("Ar8", positions=[[x, y, z] for x in (0, 2.2) for y in (0, 2.2) for z in (0, 2.2)], pbc=True)
    box.set_cell(np.eye(3) * 4.4)
    hard = lambda: LennardJones(sigma=3.4, epsilon=5.0, rc=2.15 * 2)  # noqa: E731
    with pytest.raises(InputError, match="does not hold"):
        list(molecular_dynamics(box, hard, temperature_K=50.0, frames=3, spacing_ps=0.02, timestep_fs=20.0))


# -- the cell -----------------------------------------------------------------------------------------------------


def test_a_cell_is_known_by_name_or_read_from_a_file(tmp_path):
    silicon = conventional_cell("Si")
    assert silicon.symbols.formula.count() == {"Si": 8}
    for name in ("c.vasp", "c.extxyz", "c.xyz"):
        ase.io.write(tmp_path / name, NACL)
        read = conventional_cell(str(tmp_path / name))
        assert sorted(read.symbols) == sorted(NACL.symbols)
        np.testing.assert_allclose(read.cell.array, NACL.cell.array, atol=1e-6)


def test_the_last_structure_of_a_file_is_the_cell_and_all_are_structures(tmp_path):
    path = tmp_path / "two.extxyz"
    one = bulk("Cu", cubic=True)
    one.info["trajectory"] = "007"
    write_structures(path, [one, NACL])
    assert [len(atoms) for atoms in structures_in(path)] == [4, 8]
    assert structures_in(path)[0].info["trajectory"] == "007"
    assert len(conventional_cell(str(path))) == 8


@pytest.mark.parametrize(
    ("text", "complaint"),
    [("", "not a file of structures"), ("no structure\n", "not a file of structures"), (None, "no such file")],
)
def test_a_file_without_a_structure_is_one_line(tmp_path, text, complaint):
    path = tmp_path / "c.vasp"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=complaint) as raised:
        conventional_cell(str(path))
    assert "\n" not in str(raised.value)


def test_a_box_is_so_many_cells_and_knows_its_mesh():
    box = Cell(crystal="Si", repeat=(1, 2, 3), k_mesh=(3, 2, 1)).atoms()
    assert len(box) == 48
    assert box.info["k_mesh"] == [3, 2, 1]
    assert "k_mesh" not in Cell(crystal="Si").atoms().info


@pytest.mark.parametrize(
    "content",
    [
        {"repeat": [0, 1, 1]},
        {"repeat": [1, 1]},
        {"repeat": [MOST_CELLS, 2, 1]},
        {"k_mesh": [1, 1, -1]},
        {"crystal": 5},
    ],
)
def test_a_box_that_is_a_slip_of_the_pen_is_refused(content):
    with pytest.raises(InputError, match=r"crystal|repeat|k_mesh"):
        build(Cell, {"crystal": "Si"} | content, origin="arguments")
