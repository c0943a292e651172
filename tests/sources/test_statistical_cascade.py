"""Gammas by the statistical model: energy is conserved, and what is known of such cascades is met."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cascade_driver.errors import InputError
from cascade_driver.sources.capture_table import capture_table
from cascade_driver.sources.statistical_cascade import (
    TEMPERATURE_ERROR,
    StatisticalModel,
    complete_below_MeV,
    dipole_strength,
    level_temperature_MeV,
    resolved_share,
    statistical_cascades,
)

#: Heavy nuclei without a closed shell, of which the table resolves a part.
HEAVY = ("Cd113", "Te123", "I127", "Xe131", "Cs133", "Gd157", "W183", "W186")


@pytest.mark.parametrize("target", ["Al27", "Ge73", "Te125", "Gd157", "W180", "W182", "W186"])
def test_gammas_of_a_capture_sum_to_the_separation_energy(target: str) -> None:
    isotope = capture_table()[target]
    found = statistical_cascades(isotope, count=2000)
    # 183W alone of these has an isomer of seconds, at 309.5 keV
    missing = isotope.neutron_separation_keV - found.gammas_keV.sum(axis=1)
    assert set(np.round(missing, 1)) <= ({0.0, 309.5} if target == "W182" else {0.0})
    assert found.gammas_keV.min() >= 0
    assert np.all(found.gammas_keV[:, 0] > 0)
    lives = found.mean_lives_fs[found.gammas_keV[:, 1:] > 0]
    assert np.all(np.isnan(lives) | ((lives >= 0) & (lives <= 1e12)))
    # not all end in the continuum, where lives are 0; the table knows no level of 181W
    assert np.any(lives != 0) or target == "W180"


def test_tungsten_emits_four_to_six_gammas_per_capture() -> None:
    # what calorimeters count in heavy nuclei between closed shells
    table = capture_table()
    for target in ("W182", "W183", "W186"):
        found = statistical_cascades(table[target], count=4000)
        assert 4 < found.multiplicity.mean() < 6, target
    # negative control: in silicon, with few levels, far fewer
    assert statistical_cascades(table["Si30"], count=4000).multiplicity.mean() < 3


def test_the_model_resolves_what_the_table_resolves() -> None:
    """The share of first gammas that lead to the levels of the table, which the model does not know of."""
    table = capture_table()

    def ratios(scale: float) -> list[float]:
        found = []
        for target in HEAVY:
            model = StatisticalModel(temperature_MeV=scale * level_temperature_MeV(table[target].mass_number + 1))
            share, tabulated = resolved_share(table[target], model=model)
            found.append(math.log(share / tabulated))
        return found

    # single widths fluctuate (Porter and Thomas), and the strongest decide: a factor of three each
    assert np.abs(ratios(1.0)).max() < math.log(3)
    assert np.mean(ratios(1.0)) == pytest.approx(0.0, abs=math.log(1.3))
    # the band of the temperature holds the table; beyond it the model does not
    assert np.mean(ratios(0.8)) < 0 < np.mean(ratios(1.2))
    assert np.mean(ratios(0.6)) < -math.log(3)
    assert np.mean(ratios(1.6)) > math.log(2)


def test_first_gammas_are_what_the_table_lacks() -> None:
    isotope = capture_table()["W186"]
    first = statistical_cascades(isotope, count=20_000).gammas_keV[:, 0]
    # the ground-state doublet and all else above 5 MeV is resolved
    assert (first > 5000).mean() == 0
    assert 1000 < first.mean() < 3000


def test_other_models_get_the_same_random_numbers() -> None:
    isotope = capture_table()["W182"]
    one, again = (statistical_cascades(isotope, count=300) for _ in range(2))
    np.testing.assert_array_equal(one.gammas_keV, again.gammas_keV)
    other = statistical_cascades(isotope, count=300, model=StatisticalModel(strength="standard"))
    # alike, but not the same: first gammas of equal quantiles
    assert np.corrcoef(one.gammas_keV[:, 0], other.gammas_keV[:, 0])[0, 1] > 0.99
    assert not np.array_equal(one.gammas_keV[:, 0], other.gammas_keV[:, 0])


def test_strength_is_the_lorentzian_of_its_name() -> None:
    mass_number = 187
    resonance = 31.2 * mass_number ** (-1 / 3) + 20.6 * mass_number ** (-1 / 6)
    width = 0.026 * resonance**1.91
    assert (resonance, width) == (pytest.approx(14.1, abs=0.3), pytest.approx(4.0, abs=0.3))  # 187W, in MeV
    at = {"mass_number": mass_number, "temperature_MeV": 0.5}
    standard = dipole_strength(np.array([0.0, resonance]), strength="standard", **at)
    assert standard == pytest.approx([0.0, 1 / (resonance * width)])
    # the generalised one does not vanish at zero energy: 0.7 Gamma(0) / E0^3
    limit = 0.7 * width * 4 * math.pi**2 * 0.25 / resonance**5
    assert dipole_strength(np.array([0.0]), **at)[0] == pytest.approx(limit)


def test_levels_are_complete_where_they_follow_the_temperature() -> None:
    # 29Si: 2.16 MeV in the input of DICEBOX that comes with python_egaf (RIPL), within the error of the
    # systematics
    assert level_temperature_MeV(29) == pytest.approx(2.16, rel=TEMPERATURE_ERROR)
    assert level_temperature_MeV(187) == pytest.approx(0.51, abs=0.01)
    table = capture_table()
    assert 0.5 < complete_below_MeV(table["W182"], temperature_MeV=0.52) < 1.5
    assert complete_below_MeV(table["W180"], temperature_MeV=0.52) == 0.0  # no levels in the table


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature_MeV": 0.0}, "temperature of the continuum is 0 MeV"),
        ({"strength": "none"}, "strength is 'none', expected generalised or standard"),
    ],
)
def test_models_that_cannot_be_are_named(settings: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        StatisticalModel(**settings)
