"""Images of a screw dislocation in a film: closed forms, fields of image dislocations, balances."""

import math

import numpy as np
import pytest

from cascade_driver.errors import InputError
from cascade_driver.relaxation.film.dynamics import (
    Course,
    Inertia,
    Interface,
    follow,
    release,
    set_free,
    stored_energy_eV_per_nm,
)
from cascade_driver.relaxation.film.images import Images
from cascade_driver.units import eV_NM3_PER_GPA

#: K = mu_f b^2/(4 pi) of aluminium as the paper prints it, 25 GPa and 0.286 nm, in eV/nm.
K = 25.0 * eV_NM3_PER_GPA * 0.286**2 / (4 * math.pi)


def images(contrast: float, thickness_nm: float | None) -> Images:
    return Images(strength_eV_per_nm=K, contrast=contrast, thickness_nm=thickness_nm)


def test_under_a_free_surface_alone_the_energy_is_that_of_hirth_and_lothe():
    # mu b^2/(4 pi) ln(2 s/r_0) at a depth s, and mu b^2/(4 pi s) toward the surface: no contrast, no interface.
    depth = np.array([0.5, 2.0, 10.0, 80.0])
    half_space = images(1e-12, 100.0)
    np.testing.assert_allclose(half_space.force_eV_per_nm2(100.0 - depth), K / depth, rtol=1e-9)
    energy = half_space.energy_eV_per_nm(100.0 - depth)
    np.testing.assert_allclose(energy - energy[0], K * np.log(2 * depth / (2 * depth[0])), rtol=1e-9)


def test_between_a_rigid_substrate_and_a_free_surface_the_images_add_up_to_a_sine():
    # pi / sin(pi z) = sum over all n of (-1)^n / (z + n); the energy its integral.
    x = np.array([0.1, 1.0, 20.0, 50.0, 99.0])
    rigid = images(1.0, 100.0)
    np.testing.assert_allclose(rigid.force_eV_per_nm2(x), K * math.pi / 100 / np.sin(math.pi * x / 100), rtol=1e-6)
    energy = rigid.energy_eV_per_nm(x)
    closed = -K * np.log(np.tan(math.pi * x / 200))
    np.testing.assert_allclose(energy - energy[0], closed - closed[0], atol=1e-6 * K)
    # Where a pull balances it: sin(pi x/d) = pi K / (d tau b), on both sides of the middle.
    rest = 100 / math.pi * math.asin(0.3)
    pull = K * math.pi / 100 / 0.3
    assert rigid.rest_nm(pull) == pytest.approx(rest, rel=1e-5)
    assert float(rigid.brink_nm(pull)) == pytest.approx(100 - rest, rel=1e-5)
    assert rigid.rest_nm(K * math.pi / 100 * 0.99) is None
    assert float(rigid.brink_nm(K * math.pi / 100 * 0.99)) == 0.0


def test_force_is_that_of_reflected_dislocations_which_leave_the_surface_without_traction():
    d, x, contrast = 30.0, 11.0, 0.34
    sources = {round(x, 9): 1.0}  # place and Burgers vector, in units of b
    for _ in range(60):  # each reflected in both planes, again and again
        for p, s in tuple(sources.items()):
            sources[round(-p, 9)] = contrast * s if p > 0 else sources[round(-p, 9)]
            sources[round(2 * d - p, 9)] = -s if p < d else sources[round(2 * d - p, 9)]
        if max(sources) > 40 * d:
            break
    place, burgers = np.array(list(sources)), np.array(list(sources.values()))
    along = np.array([0.0, 3.0, 17.0, 60.0])[:, None]

    def normal_stress(at: float):
        """Of all of them, sigma_xz ~ b y/r^2 in the plane x = at."""
        return np.sum(burgers * along / ((at - place) ** 2 + along**2), axis=1)

    np.testing.assert_allclose(normal_stress(d), 0, atol=1e-9)
    assert np.all(np.abs(normal_stress(0.9 * d)[1:]) > 1e-3)  # negative control: within the film there is some
    others = place != round(x, 9)
    expected = 2 * K * np.sum(burgers[others] / (x - place[others]))
    assert float(images(contrast, d).force_eV_per_nm2(x)) == pytest.approx(expected, rel=1e-9)


def test_a_thick_film_is_one_without_end():
    x = np.array([1.0, 10.0, 60.0])
    np.testing.assert_allclose(
        images(0.34, 1e7).force_eV_per_nm2(x), images(0.34, None).force_eV_per_nm2(x), rtol=3e-5
    )
    assert float(images(0.34, None).brink_nm(1.0)) == math.inf


@pytest.mark.parametrize("inertia", list(Inertia))
@pytest.mark.parametrize(("start_nm", "thickness_nm"), [(50.0, 80.0), (30.0, 45.0), (100.0, 1000.0)])
def test_energy_balance_closes_under_a_free_surface(start_nm, thickness_nm, inertia):
    interface = Interface(thickness_nm=thickness_nm, inertia=inertia)
    path, result = follow(start_nm, stress_MPa=45.0, interface=interface)
    assert abs(result.balance_error) < 1e-6
    total = result.crystal_eV_per_nm + result.film_eV_per_nm + result.remaining_eV_per_nm
    assert total == pytest.approx(result.stored_eV_per_nm, rel=1e-6)
    stored = float(stored_energy_eV_per_nm(start_nm, stress_MPa=45.0, interface=interface))
    assert result.stored_eV_per_nm == pytest.approx(stored, rel=1e-12)
    # The work of the force, by quadrature; and less than without a surface.
    x = np.linspace(interface.rest_distance_nm(45.0), start_nm, 20_001)
    force = interface.pull_eV_per_nm2(45.0) - interface.images.force_eV_per_nm2(x)
    assert stored == pytest.approx(np.trapezoid(force, x), rel=1e-5)
    endless = float(stored_energy_eV_per_nm(start_nm, stress_MPa=45.0, interface=Interface()))
    assert stored < endless
    whole = np.trapezoid(path.radiated_power_eV_per_nm_ps, path.time_ps)
    assert whole == pytest.approx(result.stored_eV_per_nm, rel=3e-3)  # of the trapezia


def test_what_begins_where_the_surface_pulls_more_than_the_stress_goes_out():
    interface = Interface(thickness_nm=80.0)
    brink = float(interface.images.brink_nm(interface.pull_eV_per_nm2(45.0)))
    # mu b/(4 pi tau) = 12.6 nm below a surface alone; the images in the interface add a little.
    assert 80 - brink == pytest.approx(25e3 * 0.286 / (4 * math.pi * 45), rel=0.07)
    assert release(brink - 0.01, stress_MPa=45.0, interface=interface).crystal_eV_per_nm > 0.1
    gone = release(brink + 0.01, stress_MPa=45.0, interface=interface)
    assert gone.course is Course.OUT
    assert gone.stored_eV_per_nm == gone.crystal_eV_per_nm == gone.film_eV_per_nm == 0.0
    with pytest.raises(InputError, match="does not run into the interface: it goes out through the free surface"):
        set_free(interface, start_nm=75.0, stress_MPa=45.0)
    with pytest.raises(InputError, match="a film of 10 nm pulls more strongly than 45 MPa everywhere"):
        Interface(thickness_nm=10.0).rest_distance_nm(45.0)
