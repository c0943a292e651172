"""Rows of splines obey what holds for every energy of atoms: symmetry, extensivity, locality, smooth ends."""

import numpy as np
import pytest
from ase import Atoms
from forms import SPLINES, crowd
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import BSpline

from cascade_driver.errors import InputError
from cascade_driver.schema import build
from cascade_driver.training.splines import Density, Embedding, SplineForm, clamped_knots

pytest.importorskip("numba")

#: Of the sum of rows: what rounding leaves.
EXACT = 1e-9


@pytest.fixture(scope="module")
def box() -> Atoms:
    return crowd(3, atoms=6)


@pytest.fixture(scope="module")
def rows(box):
    return SPLINES.rows(box)


def same(one, other, *, factor: float = 1.0) -> None:
    np.testing.assert_allclose(one.energy, factor * other.energy, atol=EXACT)


# -- symmetry -----------------------------------------------------------------------------------------------------


def test_a_shifted_crystal_has_the_same_rows(box, rows):
    moved = box.copy()
    moved.positions += (1.7, -40.3, 9.1)
    found = SPLINES.rows(moved)
    same(found, rows)
    np.testing.assert_allclose(found.forces_per_A, rows.forces_per_A, atol=1e-7)


def test_forces_and_stress_turn_with_the_crystal(box, rows):
    turn, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
    turned = Atoms(box.numbers, positions=box.positions @ turn, cell=box.cell.array @ turn, pbc=True)
    found = SPLINES.rows(turned)
    same(found, rows)
    np.testing.assert_allclose(found.forces_per_A, rows.forces_per_A @ turn, atol=1e-7)
    np.testing.assert_allclose(full(found.stress_per_A3), turn.T @ full(rows.stress_per_A3) @ turn, atol=1e-7)
    # Negative control: it is no scalar.
    assert np.abs(full(found.stress_per_A3) - full(rows.stress_per_A3)).max() > 1e-3


def full(stress: np.ndarray) -> np.ndarray:
    """Return (columns, 3, 3) of ASE's six numbers."""
    xx, yy, zz, yz, xz, xy = stress.T
    return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]).transpose(2, 0, 1)


def test_the_order_of_atoms_does_not_matter(box, rows):
    order = np.random.default_rng(2).permutation(len(box))
    found = SPLINES.rows(box[order])
    same(found, rows)
    np.testing.assert_allclose(found.forces_per_A, rows.forces_per_A[:, order], atol=1e-7)


def test_another_cell_of_the_same_crystal_has_the_same_rows(box, rows):
    """Lattice vectors that are sums of others, and atoms that stand in other images."""
    other = box.copy()
    other.set_cell(np.array([[1, 0, 0], [1, 1, 0], [0, -1, 1]]) @ box.cell.array)
    other.positions += np.array([[k % 3 - 1, k % 2, 0] for k in range(len(box))]) @ box.cell.array
    found = SPLINES.rows(other)
    same(found, rows)
    np.testing.assert_allclose(found.stress_per_A3, rows.stress_per_A3, atol=1e-7)


def test_two_boxes_have_twice_the_energy_and_the_same_forces_and_stress(box, rows):
    found = SPLINES.rows(box * (1, 2, 1))
    same(found, rows, factor=2)
    np.testing.assert_allclose(found.forces_per_A[:, len(box) :], rows.forces_per_A, atol=1e-7)
    np.testing.assert_allclose(found.stress_per_A3, rows.stress_per_A3, atol=1e-7)


def test_no_crystal_pulls_itself_away(rows):
    """Newton's third law, of every column alone."""
    assert np.abs(rows.forces_per_A.sum(axis=1)).max() < 1e-7
    assert np.abs(rows.forces_per_A).max() > 0.1


# -- locality -----------------------------------------------------------------------------------------------------


def test_atoms_out_of_reach_have_the_energy_of_single_atoms_alone():
    cell = np.eye(3) * 40.0
    lonely = Atoms("AlO", positions=[[0, 0, 0], [20, 0, 0]], cell=cell, pbc=True)
    found = SPLINES.rows(lonely)
    alone = np.concatenate([SPLINES.blocks["one_body Al"], SPLINES.blocks["one_body O"]])
    assert found.energy[alone].tolist() == [1.0, 1.0]
    assert not np.delete(found.energy, alone).any()
    assert not found.forces_per_A.any()


@settings(max_examples=20)
@given(distance=st.floats(0.2, 7.0))
def test_two_atoms_feel_only_what_reaches_them(distance):
    """V of a pair vanishes beyond its cutoff and in the core, whatever its coefficients."""
    pair = Atoms("Al2", positions=[[0, 0, 0], [distance, 0, 0]], cell=np.eye(3) * 40, pbc=True)
    block = SPLINES.blocks["two_body Al-Al"]
    energy = SPLINES.rows(pair).energy[block]
    knots = SPLINES.two_body_knots()
    first = knots[knots >= SPLINES.zbl["Al-Al"].inner_A].min()
    if distance <= first or distance >= SPLINES.two_body_cutoff_A:
        assert not energy.any()
    elif first + 1e-3 < distance < SPLINES.two_body_cutoff_A - 1e-3:
        assert energy.any()
    # A cubic B-spline is at most 2/3, between at most four knots.
    assert 0 <= energy.min() <= energy.max() <= 2 / 3 + 1e-12
    assert np.count_nonzero(energy) <= 4


def test_the_energy_of_a_pair_is_its_spline_once():
    """Against SciPy's own B-splines on the same knots."""
    knots = SPLINES.two_body_knots()
    coefficients = np.random.default_rng(4).normal(size=SPLINES.size)
    spline = BSpline(knots, SPLINES.coefficients_of("two_body Al-Al", coefficients), 3)
    block = SPLINES.blocks["two_body Al-Al"]
    for distance in (1.9, 2.7, 3.3, 4.6):
        pair = Atoms("Al2", positions=[[0, 0, 0], [0, distance, 0]], cell=np.eye(3) * 40, pbc=True)
        rows = SPLINES.rows(pair)
        assert rows.energy[block] @ coefficients[block] == pytest.approx(spline(distance), abs=1e-12)
        pull = rows.forces_per_A[block][:, 1, 1] @ coefficients[block]
        assert pull == pytest.approx(-spline(distance, 1), abs=1e-12)


# -- knots, columns, penalties ------------------------------------------------------------------------------------


@given(
    start=st.floats(0, 3),
    length=st.floats(0.5, 8),
    spacing=st.floats(0.05, 10),
    at=st.floats(0, 1, exclude_max=True),
)
def test_splines_on_clamped_knots_add_up_to_one(start, length, spacing, at):
    knots = clamped_knots(start, start + length, spacing)
    assert (np.diff(knots) >= 0).all()
    assert (knots[:4] == start).all()
    assert (knots[-4:] == start + length).all()
    assert len(knots) >= 2 + 7
    total = BSpline(knots, np.ones(len(knots) - 4), 3)(start + at * length)
    assert total == pytest.approx(1.0, abs=1e-12)


def test_every_coefficient_belongs_to_one_block_and_comes_back_from_its_tensor():
    columns = np.concatenate(list(SPLINES.blocks.values()))
    assert sorted(columns) == list(range(SPLINES.size))
    values = np.arange(1.0, SPLINES.size + 1)
    for name, block in SPLINES.blocks.items():
        tensor = SPLINES.coefficients_of(name, values)
        assert set(tensor[tensor != 0]) == set(values[block])
        if name.startswith("three_body") and len(set(name.split()[1].split("-")[1:])) == 1:
            np.testing.assert_array_equal(tensor, tensor.transpose(1, 0, 2))  # j and k are alike


def test_a_straight_spline_costs_no_curvature_and_a_bent_one_does():
    penalty = {one.name: one.rows for one in SPLINES.penalties()}
    straight = np.zeros(SPLINES.size)
    block = SPLINES.blocks["embedding 0 Al"]
    straight[block] = 0.7 * np.arange(1, len(block) + 1)  # F(0) = 0 is held
    assert np.abs(penalty["embedding_curvature"] @ straight).max() < 1e-12
    straight[block[2]] += 1.0
    assert np.abs(penalty["embedding_curvature"] @ straight).max() == pytest.approx(2.0)
    # The size of a kind is the sum of its squares.
    x = np.random.default_rng(5).normal(size=SPLINES.size)
    of_kind = np.concatenate([b for name, b in SPLINES.blocks.items() if name.startswith("two_body")])
    assert np.square(penalty["two_body_size"] @ x).sum() == pytest.approx(np.square(x[of_kind]).sum())


def test_the_legs_of_lammps_never_have_more_knots_than_the_far_side():
    for centre, first, second in SPLINES.triples():
        far = len(SPLINES.far_knots(centre, first, second))
        legs = [len(SPLINES.leg_knots(SPLINES.pair_of(centre, other))) for other in (first, second)]
        assert far >= max(legs)


# -- what is refused ----------------------------------------------------------------------------------------------

PAIR = {"species": ["Si"], "zbl": {"Si-Si": {"inner_A": 0.8, "outer_A": 1.6}}}
LEGS = {"leg_knot_A": {"Si-Si": 0.5}, "far_knot_A": {"Si-Si": 0.5}}
PHI = {"inner_A": 1.0, "outer_A": 3.0}
DENSITY = {"densities": {"Si by Si": PHI}, "largest_density": {"Si": 3.0}}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"zbl": {}}, r"zbl must name the pairs \['Si-Si'\], found \[\]"),
        ({"leg_knot_A": {}}, "leg_knot_A must name the pairs"),
        ({"far_knot_A": {"Si-O": 0.5}}, "far_knot_A must name the pairs"),
        ({"three_body_cutoff_A": 0.0}, r"leg_knot_A must name the pairs \[\]"),
        ({"embedding": [DENSITY | {"largest_density": {}}]}, "largest_density must name Si > 0"),
        (
            {"embedding": [DENSITY | {"densities": {"Si of Si": PHI}}]},
            "like `O by W`",
        ),
        (
            {"embedding": [DENSITY | {"densities": {"Si by Ge": PHI}}]},
            "like `O by W`",
        ),
        ({"embedding": [{"densities": {}, "largest_density": {}}]}, "at least 1 item"),
    ],
)
def test_a_form_that_contradicts_itself_is_refused(change, complaint):
    assert build(SplineForm, PAIR | LEGS | {"embedding": [DENSITY]}, origin="fit.toml").size > 0
    with pytest.raises(InputError, match=complaint):
        build(SplineForm, PAIR | LEGS | change, origin="fit.toml")


def test_densities_have_an_inside_and_an_outside():
    with pytest.raises(InputError, match="must be below outer_A"):
        Density(inner_A=2.0, outer_A=2.0)
    with pytest.raises(InputError, match="weight"):
        Density(inner_A=1.0, outer_A=2.0, weight=0.0)


def test_an_element_that_no_spline_knows_is_named():
    with pytest.raises(InputError, match="knows Al, O, not Si"):
        SPLINES.rows(Atoms("Si", cell=np.eye(3) * 5, pbc=True))


def test_a_species_that_nothing_embeds_has_no_embedding():
    one = Embedding(densities={"Al by O": Density(inner_A=1.0, outer_A=3.0)}, largest_density={"Al": 2.0})
    form = build(
        SplineForm, {"species": SPLINES.species, "zbl": SPLINES.zbl, "three_body_cutoff_A": 0.0}, origin="x"
    )
    embedded = build(SplineForm, {**vars(form), "embedding": (one,)}, origin="x")
    assert len(embedded.embedding_knots(0, "O")) == 0
    assert "embedding 0 O" not in embedded.blocks
    assert "one_body Al" in embedded.blocks
    assert not any(name.startswith(("one_body", "embedding", "three_body")) for name in form.blocks)
