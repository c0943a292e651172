r"""What the debris of a cascade gives off later: a network of minima and the rates between them.

    dp_j/dt = sum_i (k_ij p_i - k_ji p_j),    E(t) = sum_i p_i(t) E_i,    p(0) = the debris as it was quenched

Rates of one network span thirty orders of magnitude, and times from a vibration to years. The transition matrix
is therefore squared from a time so short that nothing happens: P(2t) = P(t)^2. All its elements are positive, so
that no digit is lost, and its diagonal is what the conservation of probability leaves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cascade_driver.errors import InputError
from cascade_driver.units import BOLTZMANN_eV_PER_K

#: Powers of two of a second at which a network is looked at: 1 ps to two years.
FIRST_POWER, LAST_POWER = -40, 26

#: The shortest step is at most this over the fastest rate: the error of the first-order step.
_SHORT = 1e-9

#: A step down by more than this many k_B T is an event: it does not come back.
EVENT_KT = 50.0


@dataclass(frozen=True, kw_only=True)
class Release:
    """The delayed release of one cascade at one temperature.

    Attributes
    ----------
    time_s : (k,) float
        Since the cascade, powers of two.
    released_eV : (k,) float
        Mean energy given off until then.
    events : (k,) float
        Mean number of steps down, each by more than `EVENT_KT` times k_B T, until then.
    """

    time_s: NDArray[np.float64]
    released_eV: NDArray[np.float64]
    events: NDArray[np.float64]

    def between(self, early_s: float, late_s: float) -> tuple[float, float]:
        """Return the energy in eV and the number of events between two times, which are rounded to powers of 2."""
        i, j = (int(np.argmin(np.abs(np.log(self.time_s / t)))) for t in (early_s, late_s))
        return float(self.released_eV[j] - self.released_eV[i]), float(self.events[j] - self.events[i])


def release(energies_eV: ArrayLike, rates_per_s: ArrayLike, *, temperature_K: float) -> Release:
    r"""Return what a network gives off that begins in its first minimum.

    .. math::
        P(2t) = P(t)^2, \qquad J(t) = \int_0^t P\, dt', \quad J(2t) = J(t) + J(t) P(t), \qquad
        N_{i \to j}(t) = k_{ij} J_{i0}(t)

    Parameters
    ----------
    energies_eV : (n,) float
    rates_per_s : (n, n) float
        Element [i, j] is the rate from i to j; the diagonal does not count.
    temperature_K : float
        That of the rates, which decides what is an event.

    Raises
    ------
    InputError
        If a rate is negative or not finite, or shapes differ.
    """
    energy = np.asarray(energies_eV, dtype=np.float64)
    k = np.array(rates_per_s, dtype=np.float64)
    if k.shape != (energy.size, energy.size) or not np.all(np.isfinite(k)) or np.any(k < 0):
        raise InputError(f"rates of shape {k.shape} for {energy.size} minima: they must be finite and at least 0")
    np.fill_diagonal(k, 0.0)
    fastest = float(k.sum(axis=1).max(initial=0.0))
    power = FIRST_POWER
    while fastest * 2.0**power > _SHORT:
        power -= 1
    drop = energy[:, None] - energy[None, :]
    event = drop > EVENT_KT * BOLTZMANN_eV_PER_K * temperature_K
    P = _stochastic(k * 2.0**power)
    J = np.eye(energy.size) * 2.0**power
    rows = []
    for p in range(power, LAST_POWER + 1):
        if p >= FIRST_POWER:
            rows.append((2.0**p, float(P[0] @ (energy[0] - energy)), float(J[0] @ (k * event).sum(axis=1))))
        J = J + P @ J
        P = _stochastic(P @ P)
    time, released, events = np.array(rows).T
    return Release(time_s=time, released_eV=released, events=events)


def _stochastic(P: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a transition matrix (rows to columns) whose diagonal conserves probability."""
    P = P.copy()
    np.fill_diagonal(P, 0.0)
    np.fill_diagonal(P, np.clip(1.0 - P.sum(axis=1), 0.0, None))
    return np.asarray(P / P.sum(axis=1, keepdims=True))


def downhill_energy_eV(energies_eV: ArrayLike, pairs: list[tuple[int, int]]) -> float:
    """Return how far below the first minimum of a network its lowest lies that can be reached by any pairs."""
    energy = np.asarray(energies_eV, dtype=np.float64)
    reached, front = {0}, [0]
    while front:
        here = front.pop()
        for one, other in pairs:
            if here in (one, other):
                there = other if here == one else one
                if there not in reached:
                    reached.add(there)
                    front.append(there)
    return float(energy[0] - min(energy[i] for i in reached))
