"""Choosing what to label: against the covariance written out, and against copies."""

import numpy as np
import pytest
from scipy import linalg

from cascade_driver.training.descriptors import DesignRows
from cascade_driver.training.linear import Solution
from cascade_driver.training.selection import choose_candidates

SIZE = 12


@pytest.fixture
def solution():
    random = np.random.default_rng(1)
    rows = random.normal(size=(40, SIZE))
    return Solution(coefficients=np.zeros(SIZE), factor=linalg.cholesky(rows.T @ rows, lower=True), scale=0.7)


def design(seed, size=1.0, atoms=2):
    rows = size * np.random.default_rng(seed).normal(size=(SIZE, atoms, 3))
    return DesignRows(energy=np.zeros(SIZE), forces_per_A=rows, stress_per_A3=np.zeros((SIZE, 6)))


def test_order_and_spreads_are_those_of_the_covariance_written_out(solution):
    designs = [design(seed, size) for seed, size in ((1, 1.0), (2, 2.0), (3, 1.5), (4, 0.5))]
    sigma = 0.3
    covariance = solution.scale**2 * np.linalg.inv(solution.factor @ solution.factor.T)
    expected, left = [], list(range(4))
    while left:
        flat = {k: designs[k].forces_per_A.reshape(SIZE, -1) for k in left}
        spread = {k: np.sqrt(np.diag(f.T @ covariance @ f).mean()) for k, f in flat.items()}
        best = max(left, key=spread.__getitem__)
        expected.append((best, spread[best]))
        f = flat[best]
        gain = covariance @ f @ np.linalg.inv(f.T @ covariance @ f + sigma**2 * np.eye(f.shape[1]))
        covariance = covariance - gain @ f.T @ covariance
        left.remove(best)
    found = choose_candidates(solution, designs, count=4, label_error_eV_A=sigma)
    assert [c.index for c in found] == [k for k, _ in expected]
    np.testing.assert_allclose([c.spread_eV_A for c in found], [s for _, s in expected], rtol=1e-9)


def test_a_copy_of_what_was_chosen_teaches_nothing(solution):
    far, near = design(1, 3.0), design(2, 1.0)
    found = choose_candidates(solution, [far, far, near], count=3, label_error_eV_A=1e-3)
    assert [c.index for c in found][:2] == [0, 2]
    assert found[2].spread_eV_A < 1e-2


def test_labels_that_cannot_be_met_teach_nothing_either(solution):
    """The negative control of the test above: with hopeless labels the copy stays second."""
    far, near = design(1, 3.0), design(2, 1.0)
    found = choose_candidates(solution, [far, far, near], count=3, label_error_eV_A=1e3)
    assert [c.index for c in found] == [0, 1, 2]


def test_no_more_than_asked_for_and_no_more_than_there_are(solution):
    assert len(choose_candidates(solution, [design(k) for k in range(5)], count=2)) == 2
    assert len(choose_candidates(solution, [design(1)], count=9)) == 1
