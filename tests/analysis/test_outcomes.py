import numpy as np
import pytest

from cascade_driver.analysis.outcomes import count_outcomes, effective_number, usable_cascades
from cascade_driver.analysis.threshold import threshold_energies
from cascade_driver.errors import FitError, InputError, RecordError
from cascade_driver.simulation.outcome import CascadeTable


def make_table(stored, energy, *, weight=None, outcome=None, direction=None, species="W"):
    n = len(stored)
    index = np.arange(n) if direction is None else np.asarray(direction)
    angle = index * 2 * np.pi / (index.max() + 1)
    return CascadeTable(
        id=np.array([f"c{i}" for i in range(n)]),
        species=np.full(n, species),
        recoil_energy_eV=np.asarray(energy, dtype=float),
        direction=np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1),
        direction_weight=np.full(n, 1 / n) if weight is None else np.asarray(weight, dtype=float),
        snapshot=np.zeros(n, dtype=int),
        outcome=np.full(n, "completed", dtype="U32") if outcome is None else np.asarray(outcome, dtype="U32"),
        stored_energy_eV=np.asarray(stored, dtype=float),
    )


def test_weights_have_mean_one_at_each_energy_over_the_usable_ones():
    outcome = ["completed"] * 99 + ["timed_out"]
    table = make_table(
        np.r_[np.zeros(50), np.full(49, 5.0), np.nan],
        np.repeat([40.0, 60.0], 50),
        weight=np.random.default_rng(1).random(100),
        outcome=outcome,
    )
    cascades = usable_cascades(table, species="W")
    assert len(cascades) == 99
    for energy in (40.0, 60.0):
        assert cascades.weight[cascades.recoil_energy_eV == energy].mean() == pytest.approx(1)
    assert any("1 timed_out" in note for note in cascades.notes)


def test_effective_number_is_that_of_kish():
    assert effective_number(np.array([2.0, 2.0, 2.0])) == pytest.approx(3)
    assert effective_number(np.array([3.0, 1.0])) == pytest.approx(1.6)
    assert effective_number(np.array([])) == 0


def test_many_failures_are_refused_in_one_line_that_counts_them():
    n = 400
    outcome = ["completed"] * (n - 12) + ["energy_drift"] * 8 + ["timed_out"] * 4
    stored = np.r_[np.full(n - 12, 3.0), np.full(12, np.nan)]
    table = make_table(stored, np.full(n, 81.0), outcome=outcome)
    with pytest.raises(FitError, match=r"81 eV: 12 of 400 .*8 energy_drift, 4 timed_out; 3\.0%.*2\.5%") as caught:
        usable_cascades(table, species="W")
    assert "\n" not in str(caught.value)
    forced = usable_cascades(table, species="W", allow_failures=True)
    assert len(forced) == n - 12
    assert any("allow_failures" in note for note in forced.notes)


def test_two_energies_with_failures_are_both_mentioned():
    outcome = ["completed"] * 5 + ["lost_atoms"] * 5 + ["completed"] * 5 + ["lost_atoms"] * 5
    table = make_table(np.zeros(20), np.repeat([40.0, 60.0], 10), outcome=outcome)
    with pytest.raises(FitError, match=r"and 1 more energies"):
        usable_cascades(table, species="W")


def test_one_failure_among_32_does_not_stop_the_work_but_a_heavy_direction_does():
    outcome = ["completed"] * 31 + ["lost_atoms"]
    table = make_table(np.zeros(32), np.full(32, 20.0), outcome=outcome)
    assert len(usable_cascades(table, species="W")) == 31
    weight = np.r_[np.ones(31), 6.0]
    with pytest.raises(FitError, match="1 of 32"):
        usable_cascades(make_table(np.zeros(32), np.full(32, 20.0), outcome=outcome, weight=weight), species="W")


def test_negative_stored_energies_are_counted_noted_and_left_out():
    stored = np.r_[np.full(99, 4.0), -2.0]
    for outcome in (None, ["completed"] * 99 + ["negative_stored_energy"]):
        cascades = usable_cascades(make_table(stored, np.full(100, 81.0), outcome=outcome), species="W")
        assert len(cascades) == 99
        assert cascades.groups[0].counts == {"completed": 99, "negative_stored_energy": 1}
        assert any("spurious minima" in note for note in cascades.notes)


def test_more_stored_than_given_is_counted_as_unusable():
    cascades = usable_cascades(make_table(np.r_[np.full(99, 4.0), 90.0], np.full(100, 81.0)), species="W")
    assert cascades.groups[0].counts["stored_more_than_recoil"] == 1
    assert len(cascades) == 99


def test_impossible_tables_are_refused():
    with pytest.raises(RecordError, match=r"1 cascades are marked completed without .*c1"):
        count_outcomes(make_table([1.0, np.nan], [40.0, 40.0]))
    with pytest.raises(InputError, match="finite and not negative"):
        count_outcomes(make_table([1.0, 1.0], [40.0, 40.0], weight=[1.0, -1.0]))
    with pytest.raises(InputError, match="all direction weights are zero"):
        count_outcomes(make_table([1.0, 1.0], [40.0, 40.0], weight=[0.0, 0.0]))
    with pytest.raises(FitError, match="no cascade of O"):
        usable_cascades(make_table([1.0], [40.0]), species="O")
    failed = make_table([np.nan], [40.0], outcome=["timed_out"])
    with pytest.raises(FitError, match="none of 1 cascades is usable"):
        usable_cascades(failed, species="W", allow_failures=True)


def test_threshold_energies_bracket_each_direction():
    energy = np.repeat([20.0, 40.0, 60.0], 3)
    stored = np.array([0, 0, 0, 5, 0, 0, 5, 5, 0], dtype=float)
    weight = np.tile([0.5, 0.3, 0.2], 3)
    table = make_table(stored, energy, weight=weight, direction=np.tile([0, 1, 2], 3))
    result = threshold_energies(usable_cascades(table, species="W"))
    by_weight = np.argsort(-result.weight)
    assert result.threshold_eV[by_weight].tolist() == [40.0, 60.0, np.inf]
    assert result.below_eV[by_weight].tolist() == [20.0, 40.0, 60.0]
    assert result.mean_eV is None
    assert (result.median_eV, result.median_between_eV) == (30.0, (20.0, 40.0))
    assert result.undamaged_share == pytest.approx(0.2)
    all_hit = make_table([0.0, 0.0, 5.0, 5.0], [20.0, 20.0, 40.0, 40.0], direction=[0, 1, 0, 1])
    assert threshold_energies(usable_cascades(all_hit, species="W")).mean_eV == 30.0
