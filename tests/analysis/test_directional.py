"""Responses by direction: symmetry, the isotropic limit, and a crystal with a soft axis."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import f_oneway, kstest

from cascade_driver.analysis.directional import along, direction_effect, direction_map, toward
from cascade_driver.analysis.outcomes import usable_cascades
from cascade_driver.errors import InputError
from cascade_driver.simulation.outcome import CascadeTable

#: -4 along z, the site of W in CaWO4.
S4 = np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, -1]])
ROTATIONS = np.stack([np.linalg.matrix_power(S4, k) for k in range(4)])


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(1)
    v = rng.normal(size=(60, 3))
    v /= np.linalg.norm(v, axis=1)[:, None]
    of = np.repeat(np.arange(60), 20)
    p = np.abs(v[of, 2])  # soft along the axis
    n = len(of)
    return CascadeTable(
        id=np.arange(n).astype(str),
        species=np.full(n, "W"),
        recoil_energy_eV=np.full(n, 100.0),
        direction=v[of],
        direction_weight=np.full(n, 1 / 60),
        snapshot=np.tile(np.arange(20), 60),
        outcome=np.full(n, "completed"),
        stored_energy_eV=np.where(rng.random(n) < p, 8.0, 0.0),
    )


def share(table):
    cascades = usable_cascades(table, species="W")
    return float(np.average(cascades.stores_energy, weights=cascades.weight))


def test_the_map_counts_each_direction_with_its_errors(table):
    points = direction_map(table, species="W", recoil_energy_eV=100.0)
    assert len(points) == 60
    assert sum(p.n_cascades for p in points) == len(table)
    inside = [p.lower <= abs(p.direction[2]) <= p.upper for p in points]
    assert 0.45 < np.mean(inside) < 0.9  # 68 % of 60, four standard deviations
    assert points[0].mean_stored_energy_eV == pytest.approx(8 * points[0].probability)
    with pytest.raises(InputError, match="choose a simulated energy"):
        direction_map(table, species="W", recoil_energy_eV=99.0)


def test_the_share_of_the_direction_is_that_of_the_variance_it_makes(table):
    effect = direction_effect(table, species="W", recoil_energy_eV=100.0)
    # p = |z| of isotropic directions is uniform: of p (1 - p), in all 1/4, its variance 1/12 is a third.
    assert effect.share == pytest.approx(1 / 3, abs=0.1)
    assert effect.p_value == 5e-4
    assert (effect.n_directions, effect.n_cascades) == (60, 1200)


def test_directions_that_do_not_matter_have_an_even_p_value(table):
    rng = np.random.default_rng(2)
    effects = []
    for _ in range(60):
        few = table.select(rng.random(len(table)) < 0.1)
        stored = np.where(rng.random(len(few)) < 0.5, rng.normal(8.0, 2.0, len(few)), 0.0)
        effects.append(
            direction_effect(replace(few, stored_energy_eV=stored), species="W", recoil_energy_eV=100.0)
        )
    assert kstest([effect.p_value for effect in effects], "uniform").pvalue > 1e-3
    assert abs(np.mean([effect.share for effect in effects])) < 0.06


def test_the_share_is_that_of_an_analysis_of_variance(table):
    few = table.select(np.arange(len(table)) % 20 < 4)
    groups = few.stored_energy_eV.reshape(60, 4)
    f = f_oneway(*groups).statistic
    effect = direction_effect(few, species="W", recoil_energy_eV=100.0)
    assert effect.share == pytest.approx((f - 1) / (f + 3))


def test_directions_that_were_flown_once_or_store_the_same_say_nothing(table):
    once = table.select(table.snapshot == 0)
    assert direction_effect(once, species="W", recoil_energy_eV=100.0) is None
    same = replace(table, stored_energy_eV=np.zeros(len(table)))
    assert direction_effect(same, species="W", recoil_energy_eV=100.0) is None


def test_recoils_along_the_soft_axis_store_more_and_images_are_alike(table):
    axis = toward(table, [0, 0, 1], rotations=ROTATIONS)
    across = toward(table, [1, 0, 0], rotations=ROTATIONS)
    assert share(axis) > 0.8
    assert share(across) < 0.4
    vector = np.array([0.3, 0.5, 0.7])
    images = [toward(table, g @ vector, rotations=ROTATIONS).direction_weight for g in ROTATIONS]
    for other in images[1:]:
        assert other == pytest.approx(images[0])


def test_a_wide_kernel_and_a_flat_density_are_the_isotropic_average(table):
    wide = toward(table, [0, 0, 1], rotations=ROTATIONS, angular_width_deg=5000.0)
    assert share(wide) == pytest.approx(share(table), abs=1e-3)
    flat = along(table, lambda v: np.ones(len(v)), rotations=ROTATIONS)
    assert flat.direction_weight == pytest.approx(table.direction_weight)
    with pytest.raises(InputError, match="three numbers"):
        toward(table, [0, 0, 0], rotations=ROTATIONS)
    with pytest.raises(InputError, match="positive somewhere"):
        along(table, lambda v: np.zeros(len(v)), rotations=ROTATIONS)


def test_the_map_is_drawn_once_per_species_that_has_enough_directions(table):
    from cascade_driver.plot import direction_figure

    points = direction_map(table, species="W", recoil_energy_eV=100.0)
    axes = direction_figure(points, "W").axes[0]
    shown = sum(len(collection.get_offsets()) for collection in axes.collections)
    assert shown == 60
    with pytest.raises(InputError, match="at least one point"):
        direction_figure((), "W")
