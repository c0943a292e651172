"""From pairs to a glass: a drawn density comes back, and what an irradiation leaves is a closed form."""

import dataclasses
import json

import numpy as np
import pytest

from cascade_driver.errors import InputError
from cascade_driver.relaxation.debris.glass import (
    PairWindow,
    after_irradiation,
    afterglow,
    glass_of,
    read_folders,
)
from cascade_driver.relaxation.debris.pairs import Debris, MeanRelease, Pair, WellPath
from cascade_driver.relaxation.debris.tunnelling import SOLIDS
from cascade_driver.units import eV_J

DENSITY_per_J_m3 = 1e45
VOLUME_A3 = 3000.0
CASCADES = 400


def a_pair(*, asymmetry_eV: float, tunnelling_eV: float | None, coupling_eV: float = 1.0, converged: bool = True):
    return Pair(
        minima=(0, 1),
        elementary=True,
        converged=converged,
        asymmetry_eV=asymmetry_eV,
        barrier_eV=0.2,
        tunnelling_eV=tunnelling_eV,
        action=10.0,
        length_amu12_A=3.0,
        quanta_eV=(0.02, 0.02),
        moved_mass_amu=30.0,
        movers=(1,),
        largest_displacement_A=0.5,
        strain_coupling_eV=tuple(tuple(row) for row in (coupling_eV * np.eye(3)).tolist()),
        path=WellPath(
            distance_amu12_A=(0.0, 1.5, 3.0),
            energy_eV=(0.0, 0.2, asymmetry_eV),
            slope_eV_amu12_A=(0.0, 0.0, 0.0),
        ),
        evaluations=1,
    )


def some_debris(pairs):
    return Debris(
        cascade="0",
        energies_eV=np.array([0.0, -0.1]),
        zero_point_eV=np.zeros(2),
        pairs=tuple(pairs),
        counts={"bursts": 1},
        volume_A3=VOLUME_A3,
        times=(1, 3),
        coverages=(0.5, 1.0),
    )


def drawn(generator, *, coupling_eV=1.2):
    """Cascades of the standard model: flat in asymmetry and in the logarithm of the amplitude."""
    mean = DENSITY_per_J_m3 * eV_J / 1e30 * VOLUME_A3 * 0.4 * np.log(1e10)
    debris = []
    for _ in range(CASCADES):
        number = generator.poisson(mean)
        each = zip(
            generator.uniform(-0.4, 0.4, size=number),
            10 ** generator.uniform(-13, -3, size=number),
            np.abs(generator.normal(scale=coupling_eV, size=number)),
            strict=True,
        )
        debris.append(some_debris([a_pair(asymmetry_eV=a, tunnelling_eV=t, coupling_eV=c) for a, t, c in each]))
    return debris


def test_a_density_that_pairs_are_drawn_from_comes_back_in_any_window():
    debris = drawn(np.random.default_rng(5))
    solid = SOLIDS["Si"]
    # an isotropic coupling is longitudinal alone: gamma_l^2 = (9 + 6) / 15 of the square of its strength
    strength = DENSITY_per_J_m3 * (1.2 * eV_J) ** 2 / (solid.density_kg_m3 * solid.longitudinal_speed_m_s**2)
    for window in (PairWindow(), PairWindow(asymmetry_below_eV=0.3, tunnelling_eV=(1e-10, 1e-6))):
        glass = glass_of(debris, solid=solid, window=window)
        for found, expected in (
            (glass.density_per_J_m3, DENSITY_per_J_m3),
            (glass.longitudinal_coupling_eV, 1.2),
            (glass.longitudinal_strength, strength),
        ):
            # Four standard errors, which are small enough to say something.
            assert found.value == pytest.approx(expected, abs=4 * found.error)
            assert found.error < 0.25 * expected
        assert glass.transverse_coupling_eV.value == pytest.approx(0, abs=1e-6)
        assert glass.coverage == pytest.approx(0.75)
    # Negative control: asymmetries that reach further than the pairs are another density.
    wrong = glass_of(debris, solid=solid, window=PairWindow(asymmetry_below_eV=2.0)).density_per_J_m3
    assert wrong.value < DENSITY_per_J_m3 - 4 * wrong.error


def test_cascades_that_differ_more_than_chance_make_the_error_larger():
    pair = a_pair(asymmetry_eV=0.01, tunnelling_eV=1e-8)
    even = glass_of([some_debris([pair] * 5)] * 4, solid=SOLIDS["Si"]).density_per_J_m3
    uneven = glass_of([some_debris([pair] * 20), *[some_debris([])] * 3], solid=SOLIDS["Si"]).density_per_J_m3
    assert even.value == pytest.approx(uneven.value)
    assert even.error == pytest.approx(even.value / np.sqrt(20))
    assert uneven.error == pytest.approx(uneven.value)  # sums 20, 0, 0, 0


def test_what_does_not_lie_in_the_window_or_did_not_converge_is_not_counted():
    outside = [
        a_pair(asymmetry_eV=0.2, tunnelling_eV=1e-8),
        a_pair(asymmetry_eV=0.01, tunnelling_eV=1e-20),
        a_pair(asymmetry_eV=0.01, tunnelling_eV=None),
        a_pair(asymmetry_eV=0.01, tunnelling_eV=1e-8, converged=False),
    ]
    with pytest.raises(InputError, match="none of the pairs of 1 cascades lies in the window"):
        glass_of([some_debris(outside)], solid=SOLIDS["Si"])
    close = a_pair(asymmetry_eV=5e-5, tunnelling_eV=1e-6)
    glass = glass_of(
        [some_debris([*outside, close, a_pair(asymmetry_eV=0.01, tunnelling_eV=1e-6)])], solid=SOLIDS["Si"]
    )
    assert (glass.pairs, glass.two_level_systems) == (2, 1)
    assert sum(one.pairs_per_cascade.value for one in glass.decades) == pytest.approx(2)


def test_release_in_the_logarithm_of_time_is_one_over_time_after_an_irradiation():
    time = 2.0 ** np.arange(-20, 27)
    at = np.array([1e-2, 1.0, 1e3, 1e6])
    found = after_irradiation(time, 0.3 * np.log(time), at, irradiation_s=1e3)
    np.testing.assert_allclose(found, 0.3 * np.log1p(1e3 / at) / 1e3, rtol=1e-9)
    # Long after, each of its cascades gives off as if it had been made at its end.
    assert found[-1] == pytest.approx(0.3 / at[-1], rel=1e-3)


def test_afterglow_ends_a_year_after_and_conserves_what_is_given_off():
    late = afterglow([some_debris([a_pair(asymmetry_eV=-0.1, tunnelling_eV=1e-8)])], solid=SOLIDS["Si"])
    assert late.time_s[0] == pytest.approx(1e-3, rel=0.1)
    assert late.time_s[-1] == pytest.approx(365 * 86400, rel=0.1)
    assert np.all(late.heat_eV_per_s >= 0)
    assert late.released_eV[0] == late.events[0] == 0  # counted since then
    assert late.as_csv().startswith("time_s,released_eV,")


def test_the_error_of_what_comes_late_is_not_that_of_the_pulse():
    """One gives off 1 eV within the pulse, the other nothing; both 0.1 eV afterwards."""
    time = np.array([1e-9, 1e-3, 1.0])
    each = np.array([[0.0, 1.0, 1.1], [0.0, 0.0, 0.1]])
    mean = MeanRelease(temperature_K=0.01, time_s=time, each_eV=each, events=each.mean(axis=0))
    np.testing.assert_allclose(mean.released_error_eV, [0, 0.5, 0.5])
    late, error = mean.since(1)
    np.testing.assert_allclose(late, [-0.5, 0.0, 0.1])
    np.testing.assert_allclose(error, [0.5, 0.0, 0.0], atol=1e-15)
    one = dataclasses.replace(mean, each_eV=each[:1])
    assert np.isnan(one.since(1)[1]).all()


def test_folders_of_two_crystals_make_no_glass(tmp_path):
    for name, speed in (("a", 1.0), ("b", 2.0)):
        (tmp_path / name).mkdir()
        content = {"solid": {"longitudinal_speed_m_s": speed}, "potential": "p"}
        (tmp_path / name / "summary.json").write_text(json.dumps(content))
        (tmp_path / name / "debris.json").write_text("{}")
    with pytest.raises(InputError, match="different solids"):
        read_folders([tmp_path / "a", tmp_path / "b"])


def test_a_folder_that_is_none_of_searches_is_refused(tmp_path):
    (tmp_path / "summary.json").write_text("{}")
    with pytest.raises(InputError, match="no folder of `cascade tls debris`; name what that was given as --out"):
        read_folders([tmp_path])
