"""Maps show the whole sphere as the symmetry of the site has it."""

import dataclasses

import numpy as np
import pytest
from matplotlib.collections import PathCollection, QuadMesh
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from scipy.spatial import KDTree

from cascade_driver import plot
from cascade_driver.analysis.directional import DirectionPoint
from cascade_driver.plot.maps import sphere_grid
from cascade_driver.plot.style import species_colour
from cascade_driver.simulation.crystal import CrystalSpec, assemble, axes_in_box_A, constituents
from cascade_driver.simulation.knock_on import choose_atom, sample_directions, surroundings_of


@pytest.fixture(scope="module")
def crystal():
    spec = CrystalSpec(name="CaWO4", repeats=(3, 3, 2))
    cells = constituents(spec)
    box = assemble(spec, cells)
    return spec, cells, box, choose_atom(box, "W")


@pytest.fixture(scope="module")
def site(crystal):
    spec, cells, box, index = crystal
    (cell,) = cells.values()
    in_cell = int(box.get_array("cell_index")[index])
    return surroundings_of(cell, in_cell, axes_A=axes_in_box_A(spec, cells))


@pytest.fixture(scope="module")
def points(site):
    vectors = sample_directions(site.rotations, 8).vectors
    return [
        DirectionPoint(
            direction=tuple(vector.tolist()),
            recoil_energy_eV=81.0,
            n_cascades=4,
            n_defects=i % 5,
            probability=(i % 5) / 4,
            lower=0.0,
            upper=0.1 * i,
            mean_stored_energy_eV=float(i),
            standard_error_eV=0.5 * i,
        )
        for i, vector in enumerate(vectors)
    ]


def painted(axes):
    (mesh,) = [c for c in axes.collections if isinstance(c, QuadMesh)]
    return np.asarray(mesh.get_array()).ravel()


def test_the_surroundings_of_a_site_are_those_of_the_box_and_have_its_symmetry(crystal, site):
    _, _, box, index = crystal
    away = box.get_distances(index, range(len(box)), mic=True, vector=True)
    near = [i for i in range(len(box)) if i != index and np.linalg.norm(away[i]) < 6.0]
    assert len(site.symbols) == len(near)
    assert sorted(site.symbols) == sorted(box.get_chemical_symbols()[i] for i in near)
    tree = KDTree(site.neighbours_A)
    np.testing.assert_allclose(tree.query(away[near])[0], 0, atol=1e-6)
    for rotation in site.rotations:
        distance, image = tree.query(site.neighbours_A @ rotation.T)
        assert distance.max() < 1e-3
        assert (site.symbols[image] == site.symbols).all()
    # nearest: W-O, 1.78 angstrom in scheelite (Hazen et al. 1985)
    assert np.linalg.norm(site.neighbours_A, axis=1).min() == pytest.approx(1.78, abs=0.03)


def test_a_map_of_the_whole_sphere_has_the_symmetry_of_the_site(points, site):
    axes = plot.mollweide(Figure())
    assert plot.draw_direction_map(points, "W", quantity="stored energy", site=site, ax=axes) is axes
    values, (_, _, sphere) = painted(axes), sphere_grid()
    assert set(values) == {float(i) for i in range(len(points))}
    tree = KDTree(sphere)
    for rotation in site.rotations:
        turned = values[tree.query(sphere @ rotation.T)[1]]
        assert np.mean(turned == values) > 0.95  # but for fields on a border
    # each sampled direction lies in a field of its own value
    for point in points:
        assert values[tree.query(point.direction)[1]] == point.mean_stored_energy_eV


def test_each_quantity_is_painted_beside_its_error(points, site):
    figure = plot.direction_figure(points, "W", site=site)
    maps = [axes for axes in figure.axes if axes.name == "mollweide"]
    for axes, of in zip(
        maps,
        (
            lambda p: p.mean_stored_energy_eV,
            lambda p: p.standard_error_eV,
            lambda p: p.probability,
            lambda p: (p.upper - p.lower) / 2,
        ),
        strict=True,
    ):
        assert set(painted(axes).tolist()) == {of(p) for p in points}
    labels = [axes.get_xlabel() for axes in figure.axes if axes.name != "mollweide"]
    assert "mean $E_s$ of W recoils of 81 eV" in labels[0]
    assert [label.split()[0] for label in labels[1:]] == ["its", "defect", "half"]


def test_errors_that_nobody_knows_have_no_scale_but_words(points, site):
    alone = [dataclasses.replace(p, standard_error_eV=np.nan) for p in points]
    figure = Figure()
    axes = plot.draw_direction_map(alone, "W", quantity="its error", site=site, ax=plot.mollweide(figure))
    (bar,) = set(figure.axes) - {axes}
    assert "its standard error: of one cascade each, not known" in bar.get_xlabel()
    assert len(bar.get_xticks()) == 0


def test_axes_of_the_crystal_are_where_they_point(site):
    axes = plot.draw_surroundings(site, "W", ax=plot.mollweide(Figure()))
    said = {text.get_text(): text.xy for text in axes.texts}
    assert set(said) == {"a", "b", "c", "−a", "−b", "−c"}
    np.testing.assert_allclose(said["a"], [0, 0], atol=1e-9)
    np.testing.assert_allclose(said["b"], [np.pi / 2, 0], atol=1e-9)
    assert said["c"][1] == pytest.approx(np.pi / 2)


def test_disks_are_inverse_to_the_distance_and_coloured_by_species(site):
    axes = plot.draw_surroundings(site, "W", ax=plot.mollweide(Figure()))
    (disks,) = [c for c in axes.collections if type(c) is PathCollection]
    distance = np.sort(np.linalg.norm(site.neighbours_A, axis=1))[::-1]
    np.testing.assert_allclose(np.sqrt(disks.get_sizes()) * distance, 30.0)
    colours = sorted(to_hex(c) for c in disks.get_facecolors())
    assert colours == sorted(species_colour(str(s)) for s in site.symbols)
