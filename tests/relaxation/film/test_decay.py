"""Rates against time: a known power is found with its error, and one lifetime is no power."""

import json

import numpy as np
import pytest
from scipy import stats

from cascade_driver.cli import main
from cascade_driver.errors import FitError, InputError
from cascade_driver.relaxation.film.decay import PUBLISHED, RateSeries, fit_decay, read_rates

TIME = np.geomspace(5.0, 400.0, 40)


def measured(law, generator: np.random.Generator) -> RateSeries:
    return RateSeries(
        time_days=TIME, rate=generator.normal(law, 0.05 * law.mean()), rate_error=np.full(40, 0.05 * law.mean())
    )


def test_exponents_are_found_with_their_errors():
    generator = np.random.default_rng(1)
    fits = [fit_decay(measured(100.0 * TIME**-0.8, generator)) for _ in range(60)]
    exponents = [fit.parameters["exponent"] for fit in fits]
    pulls = np.array([(p.value - 0.8) / p.error for p in exponents])
    # Of 60 pulls the mean has an error of 0.13, the width one of 0.09: four of each.
    assert abs(pulls.mean()) < 0.52
    assert 0.63 < pulls.std() < 1.37
    inside = np.mean([p.lower < 0.8 < p.upper for p in exponents])
    assert abs(inside - 0.68) < 4 * 0.06
    assert stats.kstest([fit.goodness.p_value for fit in fits], "uniform").pvalue > 1e-4


def test_one_over_t_is_told_from_other_powers_and_from_one_lifetime():
    generator = np.random.default_rng(2)
    one = fit_decay(measured(100.0 / TIME, generator))
    assert one.p_value_of_1 > 1e-3
    assert one.goodness.p_value > 1e-3
    assert one.exponential_chi_square > one.goodness.statistic + 100
    slower = fit_decay(measured(100.0 * TIME**-0.5, generator))
    assert slower.p_value_of_1 < 1e-6
    # Negative control: one lifetime is no power law.
    lifetime = fit_decay(measured(100.0 * np.exp(-TIME / 60.0), generator))
    assert lifetime.goodness.p_value < 1e-6
    assert lifetime.exponential_lifetime_days == pytest.approx(60.0, rel=0.15)


def test_a_constant_that_is_there_must_be_fitted():
    series = measured(100.0 / TIME + 5.0, np.random.default_rng(3))
    with_constant = fit_decay(series, with_constant=True)
    assert with_constant.goodness.p_value > 1e-3
    assert abs(with_constant.parameters["constant"].value - 5.0) < 4 * with_constant.parameters["constant"].error
    assert fit_decay(series).parameters["exponent"].value < 0.8


def test_the_command_prints_the_exponent_beside_the_published_ones(tmp_path, capsys):
    series = measured(100.0 / TIME, np.random.default_rng(4))
    rows = zip(24 * series.time_days, series.rate, series.rate_error, strict=True)
    lines = ["time_hours,rate,rate_error", *(",".join(map(str, row)) for row in rows)]
    (tmp_path / "rates.csv").write_text("\n".join(lines))
    arguments = ["background", "decay", str(tmp_path / "rates.csv"), "--until-days", "300"]
    assert main([*arguments, "--out", str(tmp_path / "fit.json")]) == 0
    shown = capsys.readouterr().out
    assert "exponent 1: p-value" in shown
    assert "CRESST-III CaWO4, 60-120 eV 0.93(10)" in shown
    content = json.loads((tmp_path / "fit.json").read_text())
    assert content["goodness"]["degrees_of_freedom"] == np.sum(TIME <= 300) - 2
    assert content["published_exponents"] == {name: list(one) for name, one in PUBLISHED.items()}
    np.testing.assert_allclose(read_rates(tmp_path / "rates.csv").time_days, TIME)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("time,rate,rate_error\n1,2,3\n", "no column time_days"),
        ("time_days,rate\n1,2\n", "no column rate_error"),
        ("time_days,rate,rate_error\n0,2,1\n", "not above 0"),
        ("time_days,rate,rate_error\n1,2,0\n", "an error of 0 or below"),
    ],
)
def test_tables_of_another_kind_get_one_clear_line(tmp_path, text, message):
    (tmp_path / "r.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_rates(tmp_path / "r.csv")


def test_two_times_fit_no_power():
    with pytest.raises(FitError, match="2 different times for 2 parameters"):
        fit_decay(RateSeries(time_days=np.array([1.0, 2.0]), rate=np.ones(2), rate_error=np.ones(2)))
