"""The knock-on: point groups of the literature, laws of quadrature on the sphere, exact kicks."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, surface
from ase.constraints import FixAtoms
from ase.neighborlist import neighbor_list
from ase.spacegroup import crystal
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import KDTree
from scipy.special import sph_harm_y

from cascade_driver.errors import InputError
from cascade_driver.schema import build
from cascade_driver.simulation.crystal import (
    CrystalSpec,
    assemble,
    constituents,
    held_atoms,
    orthogonal_cell,
)
from cascade_driver.simulation.film_box import REGION_BULK, REGION_FILM
from cascade_driver.simulation.knock_on import (
    Directions,
    DirectionsSpec,
    choose_atom,
    directions,
    domain_solid_angle_sr,
    kick_velocity,
    listed_directions,
    orbit_weights,
    random_directions,
    sample_directions,
    site_rotations,
    symmetry_orbit,
    to_domain,
)
from cascade_driver.units import eV_PER_AMU_A2_PS2

#: Largest error of a symmetrised spherical harmonic of degree 1 to 8, in units of its root mean square.
#: The orbits below are 100 to 1000 points and resolve degree 8 (81 functions); what is left is the unevenness
#: of the Voronoi cells of nested sets, measured 0.007 to 0.035.
QUADRATURE_TOLERANCE = 0.04


def unit_cell(name: str) -> Atoms:
    return constituents(CrystalSpec(name=name, minimum_atoms=1))[name]


def box_of(name: str, repeats) -> Atoms:
    spec = CrystalSpec(name=name, repeats=repeats)
    return assemble(spec, constituents(spec))


def corundum() -> Atoms:
    # Lewis, Schwarzenbach & Flack, Acta Cryst. A 38, 733 (1982), rounded.
    return crystal(
        ["Al", "O"],
        [(0, 0, 0.3522), (0.3062, 0, 0.25)],
        spacegroup=167,
        cellpar=[4.760, 4.760, 12.993, 90, 90, 120],
    )


def quartz() -> Atoms:
    # Levien, Prewitt & Weidner, Am. Mineral. 65, 920 (1980), rounded.
    return crystal(
        ["Si", "O"],
        [(0.4697, 0, 2 / 3), (0.4135, 0.2669, 0.1191 + 2 / 3)],
        spacegroup=154,
        cellpar=[4.916, 4.916, 5.405, 90, 90, 120],
    )


def rotations_of(cell: Atoms, species: str) -> np.ndarray:
    return site_rotations(cell, cell.get_chemical_symbols().index(species))


TUNGSTEN = rotations_of(unit_cell("CaWO4"), "W")
SILICON = rotations_of(unit_cell("Si"), "Si")
ALUMINIUM = rotations_of(unit_cell("Al"), "Al")
TRIVIAL = np.eye(3)[None]
GROUPS = {"-4": TUNGSTEN, "Td": SILICON, "Oh": ALUMINIUM, "1": TRIVIAL}


def shell(atoms: Atoms, index: int, radius_A: float) -> np.ndarray:
    """(n, 4) atomic number and offset of the neighbours of one atom."""
    i, j, offset_A = neighbor_list("ijD", atoms, radius_A)
    return np.column_stack([atoms.numbers[j[i == index]], offset_A[i == index]])


def largest_quadrature_error(found: Directions, rotations: np.ndarray, degree: int = 8) -> float:
    """Largest |sum_i w_i <Y_lm over the orbit of n_i>| sqrt(4 pi) for degrees 1 to `degree`; 0 is exact."""
    orbit = symmetry_orbit(found.vectors, rotations)
    polar, azimuth = np.arccos(orbit[..., 2].clip(-1, 1)), np.arctan2(orbit[..., 1], orbit[..., 0])
    return max(
        abs((sph_harm_y(n, m, polar, azimuth).mean(axis=0) * found.weights).sum()) * np.sqrt(4 * np.pi)
        for n in range(1, degree + 1)
        for m in range(n + 1)
    )


class TestChoice:
    @pytest.mark.parametrize("species", ["W", "Ca", "O"])
    def test_chosen_atom_is_the_nearest_to_the_centre_of_the_box(self, species):
        box = box_of("CaWO4", (3, 3, 2))
        chosen = choose_atom(box, species)
        distance_A = np.linalg.norm(box.positions - box.cell.lengths() / 2, axis=1)
        assert box.symbols[chosen] == species
        assert distance_A[chosen] <= distance_A[box.symbols == species].min() + 1e-3

    def test_equally_near_atoms_are_told_apart_by_index(self):
        atoms = Atoms(
            "Si4", positions=[[5, 5, 9], [5, 5, 6 + 1e-9], [5, 5, 4], [5, 6, 5]], cell=[10] * 3, pbc=True
        )
        assert choose_atom(atoms, "Si") == 1

    def test_atoms_outside_the_box_count_as_their_images(self):
        atoms = Atoms("Si2", positions=[[5, 5, 6], [5, 5, 14.9]], cell=[10] * 3, pbc=True)
        assert choose_atom(atoms, "Si") == 1

    def test_a_film_is_hit_in_the_middle_of_its_thickness(self):
        box = box_of("Al/Si", (1, 1, 1))
        z = box.positions[:, 2]
        for region, species in ((REGION_FILM, "Al"), (REGION_BULK, "Si")):
            chosen = choose_atom(box, species, region=region)
            inside = z[box.arrays["region"] == region]
            assert box.arrays["region"][chosen] == region
            assert abs(z[chosen] - (inside.min() + inside.max()) / 2) < 1.5

    def test_a_held_atom_is_never_chosen(self):
        box = box_of("Al/Si", (1, 1, 1))
        middle = choose_atom(box, "Si")
        box.set_constraint(FixAtoms(indices=[*held_atoms(box), middle]))
        assert choose_atom(box, "Si") not in held_atoms(box)

    def test_species_that_are_absent_are_named(self):
        with pytest.raises(InputError, match="no free atom of species 'Ge'; present: Ca, O, W"):
            choose_atom(box_of("CaWO4", (1, 1, 1)), "Ge")
        with pytest.raises(InputError, match="region 1 has no free atom of species 'Si'; present: Al"):
            choose_atom(box_of("Al/Si", (1, 1, 1)), "Si", region=REGION_FILM)

    def test_a_box_of_held_atoms_has_none(self):
        atoms = unit_cell("Si")
        atoms.set_constraint(FixAtoms(indices=range(8)))
        with pytest.raises(InputError, match="present: none"):
            choose_atom(atoms, "Si")


class TestSiteSymmetry:
    @pytest.mark.parametrize(
        ("cell", "species", "order"),
        # Wyckoff positions, International Tables A: I4_1/a 4a, 4b (-4), 16f (1); Fd-3m 8a (-43m);
        # Fm-3m 4a (m-3m); R-3c 12c (3.), 18e (.2); P3_2 21 3a (.2.), 6c (1).
        [
            pytest.param(unit_cell("CaWO4"), "W", 4, id="W -4"),
            pytest.param(unit_cell("CaWO4"), "Ca", 4, id="Ca -4"),
            pytest.param(unit_cell("CaWO4"), "O", 1, id="O 1"),
            pytest.param(unit_cell("Si"), "Si", 24, id="Si -43m"),
            pytest.param(unit_cell("Al"), "Al", 48, id="Al m-3m"),
            pytest.param(bulk("Al"), "Al", 48, id="primitive Al m-3m"),
            pytest.param(corundum(), "Al", 3, id="Al 3"),
            pytest.param(corundum(), "O", 2, id="O 2"),
            pytest.param(quartz(), "Si", 2, id="Si 2"),
            pytest.param(quartz(), "O", 1, id="quartz O 1"),
        ],
    )
    def test_order_is_that_of_the_international_tables(self, cell, species, order):
        found = rotations_of(cell, species)
        assert found.shape == (order, 3, 3)
        assert found @ found.transpose(0, 2, 1) == pytest.approx(
            np.broadcast_to(np.eye(3), found.shape), abs=1e-12
        )
        # The orthogonal cell hides no symmetry, not even a three-fold axis.
        assert len(rotations_of(orthogonal_cell(cell), species)) == order

    def test_tungsten_has_the_rotoinversion_along_z_and_no_inversion(self):
        four_bar = np.array([[0, 1, 0], [-1, 0, 0], [0, 0, -1]])
        group = [np.eye(3), np.diag([-1, -1, 1]), four_bar, four_bar.T]
        for g in group:
            assert np.abs(TUNGSTEN - g).max(axis=(1, 2)).min() < 1e-9

    @pytest.mark.parametrize("name", ["CaWO4", "Si", "Al"])
    def test_every_operation_maps_the_surroundings_onto_themselves(self, name):
        box = box_of(name, (3, 3, 2))
        cell = unit_cell(name)
        for species in set(box.symbols):
            index = choose_atom(box, species)
            around = shell(box, index, 5.0)
            for rotation in site_rotations(cell, box.arrays["cell_index"][index]):
                moved = np.column_stack([around[:, 0], around[:, 1:] @ rotation.T])
                distance = np.abs(moved[:, None] - around).max(axis=-1).min(axis=1)
                assert distance.max() < 1e-6

    def test_a_slab_has_no_operation_that_turns_it_over(self):
        # The middle layer of fcc (001): 4/mmm in bulk surroundings that end above and below; 4mm remains.
        slab = surface("Al", (0, 0, 1), 2, vacuum=6.0)
        slab.pbc = (True, True, False)
        found = site_rotations(slab, 0)
        assert len(found) == 8
        assert found[:, 2, 2] == pytest.approx(np.ones(8))
        slab.pbc = True
        assert len(site_rotations(slab, 0)) == 8
        assert len(site_rotations(unit_cell("Al"), 0)) == 48

    def test_symmetry_of_a_symmetric_slab_is_halved(self):
        # One layer: its mirror plane is an operation of the crystal, but takes up to down.
        layer = Atoms("Al", positions=[[0, 0, 6]], cell=[2.86, 2.86, 12], pbc=True)
        assert len(site_rotations(layer, 0)) == 16
        layer.pbc = (True, True, False)
        assert len(site_rotations(layer, 0)) == 8

    def test_a_displaced_neighbour_breaks_the_symmetry(self):
        cell = unit_cell("CaWO4")
        symbols = cell.get_chemical_symbols()
        cell.positions[symbols.index("O")] += [0.1, 0.03, 0.07]
        assert len(site_rotations(cell, symbols.index("W"))) == 1

    def test_overlapping_atoms_have_no_symmetry(self):
        atoms = Atoms("Si2", positions=[[0, 0, 0], [0, 0, 1e-4]], cell=[4] * 3, pbc=(True, True, False))
        with pytest.raises(InputError, match=r"spglib finds no symmetry within 0\.01 A"):
            site_rotations(atoms, 0)

    def test_a_set_that_is_no_group_is_refused(self):
        with pytest.raises(InputError, match="the 3 symmetry operations of the site are no group"):
            sample_directions(TUNGSTEN[:3], 4)
        with pytest.raises(InputError, match="are no group"):
            sample_directions(TUNGSTEN[::-1], 4)
        with pytest.raises(InputError, match="the 0 symmetry operations"):
            sample_directions(TUNGSTEN[:0], 4)


class TestDomain:
    @pytest.mark.parametrize("group", GROUPS)
    def test_solid_angle_is_the_share_of_isotropic_directions_that_need_no_turn(self, group):
        rotations = GROUPS[group]
        n = 20_000
        vectors = random_directions(n, np.random.default_rng(1)).vectors
        share = np.mean(np.abs(to_domain(vectors, rotations) - vectors).max(axis=1) < 1e-9)
        expected = domain_solid_angle_sr(rotations) / (4 * np.pi)
        # 5 sigma: false alarm 6e-7, and the seed is fixed.
        assert abs(share - expected) <= 5 * np.sqrt(expected * (1 - expected) / n)

    def test_domain_of_tungsten_is_pi_steradian(self):
        assert domain_solid_angle_sr(TUNGSTEN) == pytest.approx(np.pi)

    @pytest.mark.parametrize("group", GROUPS)
    def test_all_images_have_one_representative(self, group):
        rotations = GROUPS[group]
        vectors = random_directions(50, np.random.default_rng(2)).vectors
        representative = to_domain(vectors, rotations)
        for images in symmetry_orbit(vectors, rotations):
            assert to_domain(images, rotations) == pytest.approx(representative, abs=1e-12)


class TestSampling:
    @pytest.mark.parametrize(("group", "count"), [("-4", 32), ("-4", 200), ("Td", 32), ("Oh", 12), ("1", 128)])
    def test_weighted_directions_integrate_harmonics_to_zero(self, group, count):
        found = sample_directions(GROUPS[group], count)
        assert largest_quadrature_error(found, GROUPS[group]) < QUADRATURE_TOLERANCE

    def test_equal_weights_on_uneven_directions_do_not(self):
        # Negative control: random directions, and the same with the solid angle they stand for.
        vectors = to_domain(random_directions(200, np.random.default_rng(3)).vectors, TUNGSTEN)
        uneven = Directions(vectors=vectors, weights=np.full(200, 1 / 200))
        weighed = Directions(vectors=vectors, weights=orbit_weights(vectors, TUNGSTEN))
        assert largest_quadrature_error(uneven, TUNGSTEN) > 3 * QUADRATURE_TOLERANCE
        assert largest_quadrature_error(weighed, TUNGSTEN) < largest_quadrature_error(uneven, TUNGSTEN) / 3

    def test_weights_repair_crowded_directions(self):
        # Twice as many directions in the upper half: equal weights would see <cos> = 1/6.
        even = sample_directions(TRIVIAL, 300).vectors
        crowd = random_directions(100, np.random.default_rng(4)).vectors
        crowd[:, 2] = np.abs(crowd[:, 2])
        vectors = np.concatenate([even, crowd])
        weights = orbit_weights(vectors, TRIVIAL)
        assert abs(vectors.mean(axis=0)[2]) > 0.1
        assert np.abs(weights @ vectors).max() < 0.01

    @pytest.mark.parametrize("count", [1, 2, 7, 32, 100])
    @pytest.mark.parametrize("group", GROUPS)
    def test_directions_are_unit_vectors_with_weights_that_sum_to_one(self, group, count):
        found = sample_directions(GROUPS[group], count)
        assert len(found) == count
        assert np.linalg.norm(found.vectors, axis=1) == pytest.approx(np.ones(count), abs=1e-14)
        assert found.weights.sum() == pytest.approx(1, abs=1e-14)
        assert found.weights.min() > 0.3 / count
        assert found.weights.max() < 2.7 / count

    def test_tungsten_is_sampled_at_azimuths_below_ninety_degrees_and_all_polar_angles(self):
        found = sample_directions(TUNGSTEN, 32).vectors
        azimuth_deg = np.degrees(np.arctan2(found[:, 1], found[:, 0]))
        assert ((azimuth_deg >= 0) & (azimuth_deg < 90)).all()
        assert found[:, 2].max() > 0.85
        assert found[:, 2].min() < -0.85
        assert abs((found[:, 2] > 0).mean() - 0.5) < 0.1

    @pytest.mark.parametrize(("group", "count"), [("-4", 32), ("Td", 32), ("Oh", 20), ("1", 100)])
    def test_orbits_are_far_apart(self, group, count):
        rotations = GROUPS[group]
        orbit = symmetry_orbit(sample_directions(rotations, count).vectors, rotations).reshape(-1, 3)
        distance = np.linalg.norm(orbit[:, None] - orbit, axis=-1) + 9 * np.eye(len(orbit))
        # A hexagonal lattice of N points on 4 pi; the best packings on a sphere reach 0.95 of it, halving the
        # number of points on the way down costs sqrt(2).
        assert distance.min() > 0.6 * np.sqrt(8 * np.pi / np.sqrt(3) / len(orbit))

    @pytest.mark.parametrize("group", GROUPS)
    def test_a_larger_set_contains_every_smaller_one(self, group):
        large = sample_directions(GROUPS[group], 64).vectors
        for count in (1, 3, 8, 9, 15, 16, 17, 32, 33):
            assert np.array_equal(sample_directions(GROUPS[group], count).vectors, large[:count])

    @pytest.mark.parametrize("group", GROUPS)
    def test_weights_of_every_beginning_cost_few_effective_directions(self, group):
        rotations = GROUPS[group]
        for count in (8, 9, 12, 16, 23, 32, 48, 64):
            weights = sample_directions(rotations, count).weights
            # Kish; a set made for its number alone has 0.99.
            assert 1 / np.square(weights).sum() > 0.9 * count
        # Negative control: cells of random points vary by half of their area, n_eff = 1/(1 + 0.28) n.
        anywhere = random_directions(64, np.random.default_rng(8)).vectors
        assert 1 / np.square(orbit_weights(to_domain(anywhere, rotations), rotations)).sum() < 0.87 * 64

    @pytest.mark.parametrize("group", GROUPS)
    def test_directions_of_an_earlier_campaign_stay_and_others_come_between_them(self, group):
        rotations = GROUPS[group]
        known = to_domain(random_directions(8, np.random.default_rng(9)).vectors, rotations)
        found = sample_directions(rotations, 16, known=known)
        assert np.array_equal(found.vectors[:8], known)
        assert found.weights == pytest.approx(orbit_weights(found.vectors, rotations))
        # The new ones keep from the old: without a regard they would fall anywhere.
        distance = np.linalg.norm(symmetry_orbit(known, rotations)[:, :, None] - found.vectors[8:], axis=-1)
        spacing = np.sqrt(8 * np.pi / np.sqrt(3) / (16 * len(rotations)))
        assert distance.min() > 0.6 * spacing
        assert np.array_equal(sample_directions(rotations, 5, known=known).vectors, known[:5])

    def test_directions_that_another_machine_rounded_are_the_beginning_of_the_sequence(self):
        sequence = sample_directions(TUNGSTEN, 32).vectors
        rounded = np.round(sequence[:12], 8)
        found = sample_directions(TUNGSTEN, 32, known=rounded).vectors
        assert np.array_equal(found, np.concatenate([rounded, sequence[12:]]))

    def test_order_puts_the_farthest_direction_next(self):
        vectors = sample_directions(TUNGSTEN, 32).vectors
        images = symmetry_orbit(vectors, TUNGSTEN)
        distance = np.linalg.norm(images[:, :, None] - vectors, axis=-1).min(axis=0)
        nearest_before = [distance[:k, k].min() for k in range(1, 32)]
        # Limited also by the distance of a direction from its own images.
        own = np.linalg.norm(images[1:] - vectors, axis=-1).min(axis=0)
        reached = np.minimum(nearest_before, own[1:])
        assert (np.diff(reached) < 1e-6).all()

    def test_the_first_directions_of_a_stopped_campaign_cover_the_sphere(self):
        anywhere = random_directions(5000, np.random.default_rng(7)).vectors

        def covering(vectors):
            """Largest distance of any direction from the nearest image of a sampled one."""
            return KDTree(symmetry_orbit(vectors, TUNGSTEN).reshape(-1, 3)).query(anywhere)[0].max()

        vectors = sample_directions(TUNGSTEN, 64).vectors
        for k in (4, 8, 16, 32):
            best = covering(sample_directions(TUNGSTEN, k).vectors)
            # Farthest points are within 2 of the best; 1.1 to 1.3 are measured.
            assert covering(vectors[:k]) < 1.5 * best
            # Negative control: ordered by polar angle, half of the sphere would stay empty.
            assert covering(vectors[np.argsort(vectors[:, 2])][:k]) > 1.5 * best

    def test_the_same_call_gives_the_same_directions(self):
        assert np.array_equal(sample_directions(SILICON, 9).vectors, sample_directions(SILICON, 9).vectors)

    def test_no_direction_is_refused(self):
        with pytest.raises(InputError, match="count = 0 directions; ask for at least 1"):
            sample_directions(TUNGSTEN, 0)


class TestWeights:
    @pytest.mark.parametrize("n", [1, 2, 3, 4])
    def test_points_evenly_on_a_circle_share_the_sphere(self, n):
        azimuth = 2 * np.pi * np.arange(n) / n + 0.1
        vectors = np.column_stack([np.cos(azimuth), np.sin(azimuth), np.zeros(n)])
        assert orbit_weights(vectors, TRIVIAL) == pytest.approx(np.full(n, 1 / n), abs=1e-4)

    def test_points_unevenly_on_a_circle_have_lunes(self):
        # Lunes from half way to half way: (45 + 90, 45 + 45, 45 + 90) degrees of 360.
        vectors = np.array([[1, 0, 0], [0, 1, 0], [-1, 0, 0]], dtype=float)
        assert orbit_weights(vectors, TRIVIAL) == pytest.approx([0.375, 0.25, 0.375], abs=1e-3)

    def test_octahedron_has_equal_cells(self):
        vectors = np.concatenate([np.eye(3), -np.eye(3)])
        assert orbit_weights(vectors, TRIVIAL) == pytest.approx(np.full(6, 1 / 6))

    def test_a_bipyramid_has_cells_of_known_area(self):
        # Eight points on the equator and the poles: the cell of a pole is an octagon of great circles, each 45
        # degrees from the pole; its area is its spherical excess (Girard).
        azimuth = np.arange(8) * np.pi / 4
        equator = np.column_stack([np.cos(azimuth), np.sin(azimuth), np.zeros(8)])
        vectors = np.concatenate([equator, [[0, 0, 1], [0, 0, -1]]])
        weights = orbit_weights(vectors, TRIVIAL)
        # Right triangle of pole, middle of a side, corner (Napier): cos(angle/2) = cos(45 deg) sin(22.5 deg).
        angle = 2 * np.arccos(np.cos(np.pi / 4) * np.sin(np.pi / 8))
        area_sr = 8 * angle - 6 * np.pi
        assert weights[-2:] == pytest.approx(np.full(2, area_sr / (4 * np.pi)))
        assert weights[:8] == pytest.approx(np.full(8, (1 - 2 * weights[-1]) / 8))


class TestOtherSchemes:
    def test_random_directions_are_isotropic(self):
        n = 4000
        found = random_directions(n, np.random.default_rng(5))
        assert found.weights == pytest.approx(np.full(n, 1 / n))
        assert np.linalg.norm(found.vectors, axis=1) == pytest.approx(np.ones(n))
        # Variance of a component is 1/3, of its square 4/45; 5 sigma on six numbers: false alarm 3e-6.
        assert np.abs(found.vectors.mean(axis=0)).max() < 5 * np.sqrt(1 / 3 / n)
        assert np.abs((found.vectors**2).mean(axis=0) - 1 / 3).max() < 5 * np.sqrt(4 / 45 / n)

    def test_listed_directions_are_normalised(self):
        found = listed_directions([[2, 0, 0], [1, 1, 1]])
        assert found.vectors == pytest.approx(np.array([[1, 0, 0], np.full(3, 3**-0.5)]))
        assert found.weights == pytest.approx([0.5, 0.5])

    @pytest.mark.parametrize(
        ("vectors", "complaint"),
        [
            ([[0, 0, 0]], r"direction \[0\.0, 0\.0, 0\.0\] has no direction"),
            ([[1, np.nan, 0]], "has no direction"),
            ([[1, 0]], r"vectors of three numbers, found shape \(1, 2\)"),
            ([], "vectors of three numbers, found shape"),
            ([1, 0, 0], "vectors of three numbers, found shape"),
        ],
    )
    def test_vectors_without_direction_are_refused(self, vectors, complaint):
        with pytest.raises(InputError, match=complaint):
            listed_directions(vectors)

    def test_no_random_direction_is_refused(self):
        with pytest.raises(InputError, match="count = 0 directions"):
            random_directions(0, np.random.default_rng())

    @pytest.mark.parametrize(
        ("content", "expected"),
        [
            ({"scheme": "symmetry", "count": 5}, sample_directions(TUNGSTEN, 5).vectors),
            ({"count": 5}, sample_directions(TUNGSTEN, 5).vectors),
            ({"scheme": "random", "count": 5}, random_directions(5, np.random.default_rng(6)).vectors),
            ({"scheme": "list", "vectors": [[0, 0, 3]]}, [[0, 0, 1]]),
        ],
    )
    def test_each_scheme_gives_its_directions(self, content, expected):
        spec = build(DirectionsSpec, content, origin="directions")
        found = directions(spec, rotations=TUNGSTEN, rng=np.random.default_rng(6))
        assert found.vectors == pytest.approx(np.array(expected))

    @pytest.mark.parametrize(
        ("content", "complaint"),
        [
            ({"scheme": "symetry", "count": 3}, "did you mean `symmetry`"),
            ({"scheme": "xyz", "count": 3}, "known are symmetry, random, list; choose one of them"),
            ({"scheme": "symmetry"}, "scheme `symmetry` needs `count`"),
            ({"scheme": "random"}, "scheme `random` needs `count`"),
            ({"scheme": "random", "count": 0}, "greater than or equal to 1"),
            ({"scheme": "random", "count": 3, "vectors": [[1, 0, 0]]}, "scheme `random` has no `vectors`"),
            ({"scheme": "list"}, "scheme `list` needs `vectors`"),
            ({"scheme": "list", "vectors": []}, "scheme `list` needs `vectors`"),
            ({"scheme": "list", "vectors": [[1, 0, 0]], "count": 1}, "scheme `list` has no `count`"),
            ({"scheme": "list", "vectors": [[0, 0, 0]]}, "a direction in `vectors` is zero"),
            ({"scheme": "list", "vectors": [[0, 1]]}, r"vectors\[1\]"),
        ],
    )
    def test_what_is_wrong_is_said_in_one_line(self, content, complaint):
        with pytest.raises(InputError, match=complaint) as caught:
            build(DirectionsSpec, content, origin="directions")
        assert "\n" not in str(caught.value)


class TestKick:
    @given(
        recoil_energy_eV=st.floats(0, 1e5),
        mass_amu=st.floats(1, 300),
        direction=st.tuples(*[st.floats(-9, 9)] * 3).filter(lambda n: np.linalg.norm(n) > 1e-3),
        # LAMMPS metal units: mvv2e = 1.0364269e-4.
        constant=st.sampled_from([1.0364269e-4, eV_PER_AMU_A2_PS2]),
    )
    def test_kick_gives_exactly_the_recoil_energy(self, recoil_energy_eV, mass_amu, direction, constant):
        v = kick_velocity(
            recoil_energy_eV=recoil_energy_eV,
            mass_amu=mass_amu,
            direction=direction,
            kinetic_eV_per_amu_A2_ps2=constant,
        )
        assert mass_amu * (v @ v) / 2 * constant == pytest.approx(recoil_energy_eV, rel=1e-13, abs=1e-300)
        n = np.array(direction) / np.linalg.norm(direction)
        assert v == pytest.approx(n * np.linalg.norm(v), rel=1e-12, abs=1e-12)

    def test_tungsten_at_160_eV_flies_at_13_km_per_s(self):
        # v = c sqrt(2 E / m c^2) = 299792 km/s sqrt(320 eV / (183.84 x 931.494 MeV)).
        v = kick_velocity(
            recoil_energy_eV=160,
            mass_amu=183.84,
            direction=[0, 0, 1],
            kinetic_eV_per_amu_A2_ps2=eV_PER_AMU_A2_PS2,
        )
        km_s = 299792.458 * np.sqrt(320 / (183.84 * 931.49410e6))
        assert v == pytest.approx([0, 0, km_s * 10], rel=1e-8)

    @pytest.mark.parametrize(
        ("change", "complaint"),
        [
            ({"recoil_energy_eV": -1.0}, "recoil energy -1 eV of a mass of 28 amu"),
            ({"recoil_energy_eV": np.nan}, "recoil energy nan eV"),
            ({"mass_amu": 0.0}, "a mass of 0 amu; expected an energy of at least 0 and a positive mass"),
            ({"direction": [0, 0, 0]}, "has no direction; give three numbers, not all zero"),
            ({"direction": [1, 0]}, "has no direction"),
        ],
    )
    def test_impossible_kicks_are_refused(self, change, complaint):
        kick = {"recoil_energy_eV": 50.0, "mass_amu": 28.0, "direction": [1, 0, 0]} | change
        with pytest.raises(InputError, match=complaint):
            kick_velocity(**kick, kinetic_eV_per_amu_A2_ps2=eV_PER_AMU_A2_PS2)
