r"""Interacting tunnelling systems on a diluted lattice, annealed to states that no single or pair flip lowers.

The model of A. Churkin et al. 2021, *Anomalous low-energy properties in amorphous solids and the interplay of
electric and elastic interactions of tunneling two-level systems* ("the paper"): Ising variables in random fields
with random dipolar interactions.

    place systems -> random fields, interactions -> anneal, note excitation energies -> quench -> pair descent

Energies are in kelvin (k_B = 1), lengths in lattice constants R_0. The inner loops are compiled by numba, which is
an optional dependency (`pip install 'cascade-driver[relaxation]'`).
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from cascade_driver.errors import InputError
from cascade_driver.schema import parameters

#: An energy that a flip lowers by less than this share of the largest local field is rounding.
_ROUNDING = 1e-10

#: Above this exponent a flip is not tried: the probability is below 1e-30.
_HOPELESS = 70.0

Positive = Annotated[float, Field(gt=0)]


@parameters
class Glass:
    r"""A random-field dipolar glass.

    .. math::
        H = \sum_i h_i \tau_i + \tfrac12 \sum_{i \ne j} J_{ij} \tau_i \tau_j, \qquad
        h_i = h_0 c_i, \quad J_{ij} = \frac{J_0\, c_{ij}}{(R_{ij} / R_0)^3 + C}

    (Eq. 2 of the paper) with :math:`\tau = \pm 1`, c standard normal, :math:`c_{ij} = c_{ji}`, and R the distance
    to the nearest periodic image.

    Attributes
    ----------
    size : int
        L, edge of the cube in sites; 8 and 12 in the paper.
    concentration : float
        x, share of sites that hold a system.
    random_field_K : float
        h_0.
    interaction_K : float
        J_0; 0 for independent systems.
    short_distance_cutoff : float
        C, in units of R_0 cubed.
    """

    size: Annotated[int, Field(ge=2, le=40)]
    concentration: Annotated[float, Field(gt=0, le=1)] = 0.5
    random_field_K: Positive = 10.0
    interaction_K: Annotated[float, Field(ge=0)]
    short_distance_cutoff: Annotated[float, Field(ge=0)] = 1.0

    @property
    def number(self) -> int:
        """Number of systems, x L^3 rounded."""
        return round(self.concentration * self.size**3)

    @model_validator(mode="after")
    def _enough(self) -> Glass:
        if self.number < 2:
            raise ValueError(f"{self.number} systems on {self.size**3} sites; a glass needs at least 2")
        return self


@parameters
class Annealing:
    """The protocol of simulated annealing.

    The paper names 42 temperatures from 300 K to 0.02 K and 257 steps at each, not the temperatures between:
    here all measured ones are among them, and the gaps are filled evenly in the logarithm. One step is one sweep:
    every system is asked once.

    Attributes
    ----------
    temperatures : int
        Number of rungs.
    highest_K : float
        First rung.
    lowest_K : float
        Last rung.
    quench_K : float
        The temperature that stands for zero.
    sweeps : int
        At each rung, and again at the quench.
    measured_K : tuple of float
        Where excitation energies are noted, at the end of the rung; in [lowest_K, highest_K].
    """

    temperatures: Annotated[int, Field(ge=2)] = 42
    highest_K: Positive = 300.0
    lowest_K: Positive = 0.02
    quench_K: Positive = 2e-6
    sweeps: Annotated[int, Field(ge=1, le=1_000_000)] = 257
    measured_K: tuple[Positive, ...] = (0.02, 0.1, 0.2, 0.4, 0.5, 0.6, 0.8, 1.0)

    @model_validator(mode="after")
    def _ordered(self) -> Annealing:
        if not self.quench_K < self.lowest_K < self.highest_K:
            raise ValueError("the temperatures must fall: highest_K, lowest_K, quench_K")
        if any(not self.lowest_K <= t <= self.highest_K for t in self.measured_K):
            raise ValueError(f"a measured temperature lies outside [{self.lowest_K:g}, {self.highest_K:g}] K")
        if len(self._fixed) > self.temperatures:
            raise ValueError(f"{self.temperatures} temperatures cannot hold {len(self._fixed)} that are named")
        return self

    @property
    def _fixed(self) -> list[float]:
        return sorted({self.highest_K, self.lowest_K, *self.measured_K}, reverse=True)

    @property
    def ladder_K(self) -> NDArray[np.float64]:
        """(temperatures,) rungs from the highest to the lowest, all measured ones among them."""
        fixed = self._fixed
        gaps = [math.log(a / b) for a, b in itertools.pairwise(fixed)]
        pieces = [1] * len(gaps)
        for _ in range(self.temperatures - len(fixed)):
            widest = max(range(len(gaps)), key=lambda i: gaps[i] / pieces[i])
            pieces[widest] += 1
        rungs = [
            high * (low / high) ** (k / n)
            for high, low, n in zip(fixed, fixed[1:], pieces, strict=False)
            for k in range(n)
        ]
        return np.array([*rungs, fixed[-1]])


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One realisation of the disorder.

    Attributes
    ----------
    field_K : (n,) float
        h_i.
    coupling_K : (n, n) float
        J_ij, symmetric with zero diagonal.
    """

    field_K: NDArray[np.float64]
    coupling_K: NDArray[np.float64]

    def bias_K(self, spins: NDArray[np.float64]) -> NDArray[np.float64]:
        r"""Return the bias of each system, :math:`\Delta_i = h_i + \sum_j J_{ij} \tau_j`, (n,)."""
        return np.asarray(self.field_K + self.coupling_K @ spins)

    def energy_K(self, spins: NDArray[np.float64]) -> float:
        """Return the energy of a state, H."""
        return float(spins @ (self.field_K + 0.5 * self.coupling_K @ spins))


@dataclass(frozen=True, kw_only=True)
class AnnealedState:
    r"""What annealing one sample gave.

    Attributes
    ----------
    measured_K : (m,) float
        Temperatures of the rows of `excitation_K`, in falling order; 0 is the last, after the pair descent.
    excitation_K : (m, n) float
        :math:`E = 2 |\Delta_i|`, the energy of flipping one system in the field of all others.
    spins : (n,) float
        The final state, +1 and -1.
    energy_quenched_K, energy_K : float
        Of the state before and after the pair descent.
    pair_flips : int
        Flips of pairs in the descent; 0 if the quenched state was stable already.
    attempts, flips : int
        Single flips tried and done on the ladder.
    """

    measured_K: NDArray[np.float64]
    excitation_K: NDArray[np.float64]
    spins: NDArray[np.float64]
    energy_quenched_K: float
    energy_K: float
    pair_flips: int
    attempts: int
    flips: int


def draw_sample(glass: Glass, *, generator: np.random.Generator) -> Sample:
    """Return one realisation of positions, fields and interactions.

    Systems are placed on sites of a simple cubic lattice without repetition, exactly `glass.number` of them.
    """
    L, n = glass.size, glass.number
    sites = np.sort(generator.choice(L**3, size=n, replace=False))
    positions = np.stack(np.unravel_index(sites, (L, L, L)), axis=1).astype(np.float64)
    field = glass.random_field_K * generator.standard_normal(n)
    coupling = np.zeros((n, n))
    if glass.interaction_K > 0:
        upper = np.triu_indices(n, k=1)
        apart = np.abs(positions[upper[0]] - positions[upper[1]])
        apart = np.minimum(apart, L - apart)
        cubed = np.sum(apart**2, axis=1) ** 1.5
        coupling[upper] = (
            glass.interaction_K * generator.standard_normal(len(cubed)) / (cubed + glass.short_distance_cutoff)
        )
        coupling += coupling.T
    return Sample(field_K=field, coupling_K=coupling)


def anneal(
    sample: Sample, annealing: Annealing, *, generator: np.random.Generator, pair_descent: bool = True
) -> AnnealedState:
    """Return the state that simulated annealing, quench and pair descent lead to.

        random state; for each temperature: sweeps; note 2 |bias| where asked
        sweeps at the quench temperature; flip singles until none lowers the energy
        while a pair lowers it: flip the best pair, then singles again

    The paper verifies that its final states are stable to single and pair flips. Annealing alone does not see to
    that (some 22 % of the states at L = 12 and J = 2 K are not), so the descent is part of the method.

    Parameters
    ----------
    sample : Sample
    annealing : Annealing
    generator : numpy.random.Generator
        For the state and the flips.
    pair_descent : bool
        False leaves the last line out.

    Raises
    ------
    InputError
        If numba is not installed.
    """
    sweep, settle, best_pair = _compiled()
    n = len(sample.field_K)
    spins = np.where(generator.random(n) < 0.5, -1.0, 1.0)
    bias = sample.bias_K(spins)
    measured, rows, flips = [], [], 0
    ladder = annealing.ladder_K
    for temperature in ladder:
        flips += sweep(spins, bias, sample.coupling_K, temperature, annealing.sweeps, generator)
        bias = sample.bias_K(spins)  # rounding of many small updates goes no further than one rung
        if any(math.isclose(temperature, t, rel_tol=1e-12) for t in annealing.measured_K):
            measured.append(float(temperature))
            rows.append(2 * np.abs(bias))
    sweep(spins, bias, sample.coupling_K, annealing.quench_K, annealing.sweeps, generator)
    tolerance = _ROUNDING * float(np.max(np.abs(bias)))
    settle(spins, bias, sample.coupling_K, tolerance)
    quenched = sample.energy_K(spins)
    pair_flips = 0
    while pair_descent:
        first, second, change = best_pair(spins, bias, sample.coupling_K)
        if change >= -tolerance:
            break
        spins[[first, second]] *= -1
        bias = sample.bias_K(spins)
        settle(spins, bias, sample.coupling_K, tolerance)
        pair_flips += 1
    return AnnealedState(
        measured_K=np.array([*measured, 0.0]),
        excitation_K=np.array([*rows, 2 * np.abs(sample.bias_K(spins))]),
        spins=spins,
        energy_quenched_K=quenched,
        energy_K=sample.energy_K(spins),
        pair_flips=pair_flips,
        attempts=n * annealing.sweeps * len(ladder),
        flips=int(flips),
    )


def warm_up() -> None:
    """Compile the inner loops, or load them from disk, so that no realisation is charged for it.

    Raises
    ------
    InputError
        If numba is not installed.
    """
    generator = np.random.default_rng(0)
    sample = draw_sample(Glass(size=2, interaction_K=1.0), generator=generator)
    anneal(sample, Annealing(temperatures=2, sweeps=1, measured_K=()), generator=generator)


# -- compiled loops: plain Python, so that they can be read and tested without the compiler -----------------


def _sweep(  # noqa: PLR0917 (the compiler wants them by position)
    spins: NDArray[np.float64],
    bias: NDArray[np.float64],
    coupling: NDArray[np.float64],
    temperature: float,
    sweeps: int,
    generator: np.random.Generator,
) -> int:
    """Ask every system in turn whether it flips, by the heat bath; return the number of flips.

    The heat bath, 1 / (1 + exp(dE / T)), and not Metropolis: in a fixed order of asking, Metropolis at high
    temperature flips all systems at every sweep and back at the next.
    """
    flips, colder = 0, -2.0 / temperature
    for _ in range(sweeps):
        for i in range(len(spins)):
            exponent = colder * spins[i] * bias[i]
            if exponent > _HOPELESS:
                continue
            if exponent > -_HOPELESS:
                drawn = generator.random()
                # The exponential is not below its series, and not above 1 downhill: most answers need no more.
                if exponent > 0.0:
                    if drawn * (2.0 + exponent * (1.0 + 0.5 * exponent)) >= 1.0:
                        continue
                    if drawn * (1.0 + math.exp(exponent)) >= 1.0:
                        continue
                elif drawn >= 0.5 and drawn * (1.0 + math.exp(exponent)) >= 1.0:
                    continue
            spins[i] = -spins[i]
            change = 2.0 * spins[i]
            row = coupling[i]
            for j in range(len(spins)):
                bias[j] += change * row[j]
            flips += 1
    return flips


def _settle(
    spins: NDArray[np.float64], bias: NDArray[np.float64], coupling: NDArray[np.float64], tolerance: float
) -> int:
    """Flip, again and again, the system that lowers the energy most, until none does; return the number."""
    flips = 0
    while True:
        lowest, which = -tolerance, -1
        for i in range(len(spins)):
            change = -2.0 * spins[i] * bias[i]
            if change < lowest:
                lowest, which = change, i
        if which < 0:
            return flips
        spins[which] = -spins[which]
        for j in range(len(spins)):
            bias[j] += 2.0 * spins[which] * coupling[which, j]
        flips += 1


def _best_pair(
    spins: NDArray[np.float64], bias: NDArray[np.float64], coupling: NDArray[np.float64]
) -> tuple[int, int, float]:
    r"""Return the pair whose flip lowers the energy most, and by how much.

    .. math:: \delta E_{ij} = -2 \tau_i \Delta_i - 2 \tau_j \Delta_j + 4 J_{ij} \tau_i \tau_j

    The last term is the Efros-Shklovskii attraction: flipping both leaves their mutual energy as it was.
    """
    lowest, first, second = math.inf, 0, 0
    for i in range(len(spins)):
        single = -2.0 * spins[i] * bias[i]
        for j in range(i + 1, len(spins)):
            change = single - 2.0 * spins[j] * bias[j] + 4.0 * coupling[i, j] * spins[i] * spins[j]
            if change < lowest:
                lowest, first, second = change, i, j
    return first, second, lowest


@functools.cache
def _compiled() -> tuple[Callable[..., Any], ...]:
    """Return the three loops, compiled; the machine code is kept on disk between processes."""
    try:
        import numba
    except ModuleNotFoundError:
        raise InputError("annealing needs the compiler numba; pip install 'cascade-driver[relaxation]'") from None
    return tuple(numba.njit(loop, cache=True) for loop in (_sweep, _settle, _best_pair))
