"""How long a film's spectrum takes: one trajectory, the table, a million events.

CPU time of one process: a trajectory 12 ms, the table of 25 x 13 nodes 4 to 8 s, a million events from it 0.5 s.
"""

import time

import numpy as np
import pytest

from cascade_driver.relaxation.film.dislocation import Film
from cascade_driver.relaxation.film.dynamics import Interface, release
from cascade_driver.relaxation.film.spectrum import sample_events, tabulate

pytestmark = pytest.mark.benchmark


def test_a_trajectory_takes_some_milliseconds(benchmark):
    result = benchmark(lambda: release(50.0, stress_MPa=45.0, interface=Interface()))
    assert abs(result.balance_error) < 1e-6


def test_a_million_events_take_seconds():
    began = time.perf_counter()
    table = tabulate(film=Film(), interface=Interface())
    tabulated = time.perf_counter()
    events = sample_events(table, film=table.film, size=1_000_000, generator=np.random.default_rng(1))
    ended = time.perf_counter()
    print(f"table {tabulated - began:.1f} s, a million events {ended - tabulated:.2f} s")
    assert len(events.energy_eV) == 1_000_000
    assert ended - tabulated < 10.0
