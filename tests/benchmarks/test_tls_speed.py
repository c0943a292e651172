"""Speed of annealing: spin flips per second, and what the paper's 10 000 realisations would take.

Measured with the printed protocol (42 temperatures, 257 sweeps, J_0 = 2 K) on one of two shared cores (load 6 to
10), processor time:

====  ============  ===================  ==================  =======================
L     s per sample  flips tried per s    flips done per s    10 000 samples, 1 core
====  ============  ===================  ==================  =======================
8     0.06          4.8e7                8.8e6               10 min
12    0.39          2.4e7                4.4e6               1.1 h
====  ============  ===================  ==================  =======================

The damping of a beam at one temperature takes 0.03 ms (Eq. 2 with one integral in closed form); a fit of 40 points
0.2 to 0.5 s.
"""

import numpy as np
import pytest

from cascade_driver.relaxation.tls.glass import Annealing, Glass, anneal, draw_sample, warm_up

pytestmark = pytest.mark.benchmark


@pytest.mark.parametrize("size", [8, 12])
def test_annealing(benchmark, size):
    warm_up()
    generator = np.random.default_rng(1)
    sample = draw_sample(Glass(size=size, interaction_K=2.0), generator=generator)
    benchmark.pedantic(lambda: anneal(sample, Annealing(), generator=generator), rounds=3)
