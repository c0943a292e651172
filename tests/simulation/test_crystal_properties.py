"""Structure files of random crystals: the crystal of the file is that of the box, whatever its form."""

import functools
import tempfile
from pathlib import Path

import ase.io
import numpy as np
import pytest
import spglib
from ase import Atoms
from ase.neighborlist import neighbor_list
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cascade_driver.simulation.crystal import (
    SHEAR_TOLERANCE,
    SYMMETRY_PRECISION_A,
    CrystalSpec,
    axes_in_box_A,
    constituents,
    orthogonal_cell,
    resolved,
)
from cascade_driver.simulation.crystal_file import quiet_spglib, read_crystal
from cascade_driver.simulation.frame import direction_in_box

#: Radii in angstrom of the spheres by which random atoms are kept apart.
APART_A = 1.7


@functools.cache
def setting(hall: int):
    with quiet_spglib():
        operations = spglib.get_symmetry_from_database(hall)
        return spglib.get_spacegroup_type(hall), operations["rotations"], operations["translations"]


def cell_kept_by(rotations: np.ndarray, metric: np.ndarray) -> np.ndarray:
    """Return a cell (rows) whose metric is the mean of one over a point group: the group keeps it."""
    mean = np.mean([r.T @ metric @ r for r in rotations], axis=0)
    return np.linalg.cholesky(mean)


@st.composite
def crystals(draw, halls):
    """A Hall number, a cell that it keeps, and one or two sites."""
    hall = draw(halls)
    assume(len(setting(hall)[1]) <= 48)
    _, rotations, translations = setting(hall)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    start = np.diag(rng.uniform(0.8, 1.25, 3)) @ (np.eye(3) + 0.15 * rng.normal(size=(3, 3)))
    cell = cell_kept_by(rotations, start @ start.T)
    sites = [("Si", rng.uniform(0, 1, 3)), ("O", rng.uniform(0, 1, 3))][: draw(st.integers(1, 2))]
    atoms = expanded(sites, rotations, translations, cell)
    # As wide as its atoms want to be.
    _, _, distance = neighbours(atoms, reach_A=np.linalg.norm(atoms.cell.array, axis=1).min() * 1.001)
    atoms.set_cell(atoms.cell.array * APART_A / distance.min(), scale_atoms=True)
    assume(atoms.get_volume() / len(atoms) < 100)
    return hall, sites, atoms


def neighbours(atoms: Atoms, *, reach_A: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return pairs i, j within reach, images counted one by one, and their distances."""
    cell = atoms.cell.array
    images = np.ceil(reach_A * np.linalg.norm(np.linalg.inv(cell), axis=0)).astype(int)
    steps = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in images), indexing="ij"), axis=-1).reshape(-1, 3)
    scaled = atoms.get_scaled_positions()
    apart = (scaled[None, :] - scaled[:, None]) @ cell
    distance = np.linalg.norm(apart[:, :, None] + steps @ cell, axis=-1)
    i, j, k = np.nonzero((distance < reach_A) & (distance > 1e-9))
    return i, j, distance[i, j, k]


def expanded(sites, rotations, translations, cell) -> Atoms:
    """Return all images of general sites: as many as operations."""
    symbols = [symbol for symbol, _ in sites for _ in rotations]
    scaled = np.concatenate([rotations @ place + translations for _, place in sites])
    return Atoms(symbols, scaled_positions=scaled % 1.0, cell=cell, pbc=True)


def shells(atoms: Atoms, *, reach_A: float = 4.0) -> dict:
    """Return the sorted distances per atom of each pair of species: the mark of a crystal."""
    i, j, distance = neighbours(atoms, reach_A=reach_A)
    pairs = {}
    for a in sorted(set(atoms.symbols)):
        for b in sorted(set(atoms.symbols)):
            of_pair = np.sort(distance[(atoms.symbols[i] == a) & (atoms.symbols[j] == b)])
            pairs[a, b] = of_pair, int((atoms.symbols == a).sum())
    return pairs


def assert_same_crystal(one: Atoms, other: Atoms, *, within_A: float = 1e-3) -> None:
    assert other.get_volume() / len(other) == pytest.approx(one.get_volume() / len(one), rel=1e-4)
    assert other.symbols.formula.reduce()[0] == one.symbols.formula.reduce()[0]
    mine, yours = shells(one), shells(other)
    assert mine.keys() == yours.keys()
    for pair, (distance, count) in mine.items():
        theirs, of = yours[pair]
        # As many for each atom; those at the reach itself may fall on either side of it.
        k = min(len(distance) * of, len(theirs) * count)
        assert abs(len(distance) / count - len(theirs) / of) < 3
        a, b = np.repeat(distance, of)[:k], np.repeat(theirs, count)[:k]
        assert np.abs(a - b).max(initial=0) < within_A


CELL = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")


def cif(hall: int, sites, atoms: Atoms, *, operations: bool) -> str:
    kind, rotations, translations = setting(hall)
    lines = ["data_random"]
    lines += [f"_cell_{name} {value:.6f}" for name, value in zip(CELL, atoms.cell.cellpar(), strict=True)]
    if operations:
        lines += ["loop_", "_space_group_symop_operation_xyz"]
        for r, t in zip(rotations, translations, strict=True):
            words = []
            for row, shift in zip(r, t, strict=True):
                terms = "".join(f"{'+' if n > 0 else '-'}{axis}" for n, axis in zip(row, "xyz", strict=True) if n)
                words.append(f"{terms.removeprefix('+')}{f'+{round(shift * 24)}/24' if shift % 1 else ''}")
            lines.append(f"'{', '.join(words)}'")
    else:
        lines.append(f"_space_group_name_Hall '{kind.hall_symbol}'")
    lines += ["loop_", "_atom_site_label", "_atom_site_type_symbol"]
    lines += [f"_atom_site_fract_{axis}" for axis in "xyz"]
    for n, (symbol, place) in enumerate(sites, start=1):
        lines.append(f"{symbol}{n} {symbol} " + " ".join(f"{x:.7f}" for x in place))
    return "\n".join(lines) + "\n"


@settings(max_examples=40)
@given(crystals(st.integers(1, 530)), st.booleans())
def test_a_cif_of_any_space_group_is_the_crystal_of_its_operations(given_crystal, operations):
    hall, sites, atoms = given_crystal
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "random.cif"
        path.write_text(cif(hall, sites, atoms, operations=operations))
        found, oriented = read_crystal(path)
    assert not oriented
    assert len(found) == len(atoms)
    assert_same_crystal(atoms, found)


#: Lattices in which three lattice vectors are perpendicular: orthorhombic, tetragonal, hexagonal, cubic.
RIGHT_ANGLED = st.sampled_from([h for h in range(108, 531) if setting(h)[0].number >= 16])


@settings(max_examples=30)
@given(crystals(RIGHT_ANGLED), st.sampled_from(["vasp", "extxyz", "cif", "xsf", "gen"]), st.randoms())
def test_a_file_of_any_format_and_orientation_is_built_as_its_crystal(given_crystal, form, random):
    _, _, atoms = given_crystal
    turn = np.linalg.qr(np.random.default_rng(random.getrandbits(32)).normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    atoms = Atoms(atoms.numbers, positions=atoms.positions @ turn.T, cell=atoms.cell.array @ turn.T, pbc=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ("POSCAR" if form == "vasp" else f"random.{form}")
        ase.io.write(path, atoms, format=form)
        spec = resolved(CrystalSpec(file=str(path), minimum_atoms=1), Path())
        (cell,) = constituents(spec).values()
        axes = axes_in_box_A(spec, {"file": cell})
        held = ase.io.read(path, format=form)
    assert cell.cell.angles() == pytest.approx([90, 90, 90])
    # Sites that translations join within the precision of the symmetry search become one, at their mean.
    assert_same_crystal(atoms, cell, within_A=SYMMETRY_PRECISION_A)
    # The lattice of the file lies where it is said to lie: its vectors lead from atoms to atoms.
    for axis in axes:
        moved = cell.copy()
        moved.positions += axis
        moved.wrap()
        cell.wrap()
        both = moved + cell
        both.set_cell(cell.cell)
        near = neighbor_list("i", both, 0.02)
        assert len(set(near)) == len(both)
    for word, row in zip(("[1 0 0]", "[0 1 0]", "[0 0 1]"), axes, strict=True):
        assert direction_in_box(word, axes_A=axes) == pytest.approx(row / np.linalg.norm(row), abs=1e-6)
    assert np.linalg.norm(axes, axis=1) == pytest.approx(held.cell.lengths(), rel=1e-4)


@settings(max_examples=15)
@given(
    st.tuples(*[st.floats(3, 12)] * 3),
    st.tuples(*[st.floats(65, 115)] * 3),
    st.integers(0, 2**32 - 1),
)
def test_any_triclinic_lattice_has_a_box_that_is_sheared_by_less_than_a_third_of_a_degree(lengths, angles, seed):
    assume(max(lengths) < 2.5 * min(lengths))
    cosines = np.cos(np.radians(angles))
    assume(1 + 2 * cosines.prod() - (cosines**2).sum() > 0.3)
    lattice = Atoms("W", cell=[*lengths, *angles], pbc=True)
    found = orthogonal_cell(lattice)
    edges = found.info["edges"]
    assert edges == pytest.approx(np.rint(edges), abs=1e-6)
    assert abs(np.linalg.det(edges)) == pytest.approx(len(found))
    assert found.get_volume() / len(found) == pytest.approx(lattice.get_volume(), rel=1e-4)
    # The edges are the lattice vectors that are told, turned as is told, but for the shear.
    vectors = edges @ lattice.cell.array @ found.info["crystal_to_box"].T
    off = vectors / np.linalg.norm(vectors, axis=1)[:, None] - np.eye(3)
    assert np.abs(off).max() < SHEAR_TOLERANCE
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(found.cell.lengths())
    # Whatever vectors span it.
    rng = np.random.default_rng(seed)
    other = np.eye(3, dtype=int)
    for _ in range(4):
        i, j = rng.choice(3, 2, replace=False)
        other[i] += rng.choice([-1, 1]) * other[j]
    again = orthogonal_cell(Atoms("W", cell=other @ lattice.cell.array, pbc=True))
    assert again.cell.lengths() == pytest.approx(found.cell.lengths(), abs=1e-6)
    assert again.info["crystal_to_box"] == pytest.approx(found.info["crystal_to_box"], abs=1e-6)
