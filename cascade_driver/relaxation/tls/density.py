r"""Density of states of interacting tunnelling systems: n(T, E) counted, tabulated and fitted.

E is the energy of flipping one system, :math:`2 |\Delta_i|`, in kelvin. **n is normalised over both signs**:
:math:`\int_{-\infty}^{\infty} n\, dE = 1`, so that the densities at E > 0 of one system add up to 1/2. With this
the prefactors have the size of those of Churkin et al. 2021 ("the paper"), Table II: without interactions
:math:`n(0) = 1 / (2 h_0 \sqrt{2\pi})` = 0.0199 per kelvin.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import scipy  # its `stats` is loaded where it is asked for: that takes as long as all the rest
from iminuit import Minuit
from numpy.typing import ArrayLike, NDArray
from scipy import special

from cascade_driver.analysis.estimation import FitHealth, Goodness
from cascade_driver.errors import FitError, InputError
from cascade_driver.schema import parameters

#: Bins of the counted density: 40 per decade from 1 mK to 1000 K, and one below. A bin is 6 % wide.
EDGES_K: NDArray[np.float64] = np.concatenate([[0.0], np.geomspace(1e-3, 1e3, 241)])

#: Gauss-Legendre nodes per bin where a fitted density is integrated over bins.
_NODES = 4

#: Decades that the panels of a smooth density reach below the temperature.
_DECADES_BELOW = 8


class DensityOfStates(Protocol):
    """What the thermal properties need to know of a density of states."""

    def per_K(self, energy_K: NDArray[np.float64], temperature_K: float) -> NDArray[np.float64]:
        """Return n(T, E) in 1/K."""
        ...

    def integral(self, energy_K: NDArray[np.float64], temperature_K: float) -> NDArray[np.float64]:
        """Return the integral of n(T, E) from 0 to the energy."""
        ...

    def panels_K(self, temperature_K: float) -> NDArray[np.float64]:
        """Return energies from 0 to the cutoff between which n is smooth."""
        ...


@parameters
class PowerLawDensity:
    r"""The density that the paper fits to its simulations.

    .. math:: n(T, E) = B\, (T^2 + E^2)^{\mu / 2}

    (Eq. 3). With B and mu the same at all temperatures it is the model of Fig. 3 to 6.

    Attributes
    ----------
    prefactor : float
        B, in 1/K where T and E are taken in kelvin.
    exponent : float
        mu; 0 is the standard tunnelling model.
    cutoff_K : float
        Highest energy of a system. Not in the paper, whose Eq. 7 has no value without one.

    Raises
    ------
    InputError
        If prefactor or cutoff is not above 0, or the exponent not within (-1, 2).
    """

    prefactor: float = 0.0135
    exponent: float = 0.127
    cutoff_K: float = 100.0

    def __post_init__(self) -> None:
        if not (0 < self.prefactor < math.inf and 0 < self.cutoff_K < math.inf):
            raise InputError("prefactor and cutoff of a density of states must be above 0")
        if not -1 < self.exponent < 2:
            raise InputError(f"exponent {self.exponent:g} of a density of states; expected one between -1 and 2")

    def per_K(self, energy_K: NDArray[np.float64], temperature_K: float) -> NDArray[np.float64]:
        """Return n(T, E) in 1/K; 0 above the cutoff."""
        inside = np.asarray(energy_K) <= self.cutoff_K
        return np.asarray(
            np.where(inside, self.prefactor * (temperature_K**2 + energy_K**2) ** (self.exponent / 2), 0.0)
        )

    def integral(self, energy_K: NDArray[np.float64], temperature_K: float) -> NDArray[np.float64]:
        """Return the integral of n from 0 to the energy, by the hypergeometric function."""
        E, mu = np.minimum(energy_K, self.cutoff_K), self.exponent
        if temperature_K == 0:
            return np.asarray(self.prefactor * E ** (1 + mu) / (1 + mu))
        shape = special.hyp2f1(0.5, -mu / 2, 1.5, -((E / temperature_K) ** 2))
        return np.asarray(self.prefactor * temperature_K**mu * E * shape)

    def panels_K(self, temperature_K: float) -> NDArray[np.float64]:
        """Return 0 and energies four per decade up to the cutoff."""
        low = min(temperature_K, self.cutoff_K) * 10.0**-_DECADES_BELOW
        count = math.ceil(4 * math.log10(self.cutoff_K / low))
        return np.concatenate([[0.0], np.geomspace(low, self.cutoff_K, count + 1)])


@dataclass(frozen=True, kw_only=True)
class CountedDensity:
    """A density of states counted in simulated samples, at the temperatures at which it was measured.

    Attributes
    ----------
    temperature_K : (m,) float
        0 stands for the quenched states.
    edges_K : (k + 1,) float
    counts : (m, k) int
    systems : int
        Number of systems that were looked at, at each temperature; some may lie above the last edge.
    """

    temperature_K: NDArray[np.float64]
    edges_K: NDArray[np.float64]
    counts: NDArray[np.int64]
    systems: int

    def __post_init__(self) -> None:
        if self.systems < 1:
            raise InputError("a counted density of states needs at least one system")

    def row(self, temperature_K: float) -> int:
        """Return the index of a measured temperature.

        Raises
        ------
        InputError
            If it was not measured.
        """
        found = np.flatnonzero(np.isclose(self.temperature_K, temperature_K, rtol=1e-9, atol=0))
        if len(found) == 0:
            known = ", ".join(f"{t:g}" for t in self.temperature_K)
            raise InputError(f"no excitation energies were noted at {temperature_K:g} K; known are {known}")
        return int(found[0])

    def density_per_K(self, temperature_K: float) -> NDArray[np.float64]:
        """Return n in each bin, (k,) in 1/K; half the share, as n holds both signs."""
        return np.asarray(self.counts[self.row(temperature_K)] / (2 * self.systems * np.diff(self.edges_K)))

    def per_K(self, energy_K: NDArray[np.float64], temperature_K: float) -> NDArray[np.float64]:
        """Return n(T, E) in 1/K, constant over each bin; in the first ones, where few lie, their common mean."""
        density = self._smooth(temperature_K)
        index = np.searchsorted(self.edges_K, energy_K, side="right") - 1
        inside = index < len(density)
        return np.where(inside, density[np.minimum(index, len(density) - 1)], 0.0)

    def integral(self, energy_K: NDArray[np.float64], temperature_K: float) -> NDArray[np.float64]:
        """Return the integral of n from 0 to the energy."""
        steps = np.concatenate([[0.0], np.cumsum(self._smooth(temperature_K) * np.diff(self.edges_K))])
        return np.asarray(np.interp(energy_K, self.edges_K, steps))

    def panels_K(self, temperature_K: float) -> NDArray[np.float64]:
        """Return the bin edges; the last is the cutoff."""
        del temperature_K
        return self.edges_K

    def _smooth(self, temperature_K: float) -> NDArray[np.float64]:
        """Return the density with runs of bins joined from below until each holds 25 counts."""
        counts = self.counts[self.row(temperature_K)].astype(np.float64)
        widths = np.diff(self.edges_K)
        density = counts / (2 * self.systems * widths)
        start = 0
        highest = int(np.max(np.flatnonzero(counts), initial=0))
        while start <= highest:
            stop = start + 1
            while stop <= highest and counts[start:stop].sum() < 25:
                stop += 1
            density[start:stop] = counts[start:stop].sum() / (2 * self.systems * widths[start:stop].sum())
            start = stop
        return np.asarray(density)


def gaussian_density_per_K(energy_K: ArrayLike, *, random_field_K: float) -> NDArray[np.float64]:
    r"""Return the exact density without interactions, a Gaussian of standard deviation :math:`2 h_0`, in 1/K."""
    return np.asarray(scipy.stats.norm.pdf(np.asarray(energy_K, dtype=np.float64), scale=2 * random_field_K))


def dipolar_gap_density(energy_K: ArrayLike, *, interaction_K: float, ratio: float) -> NDArray[np.float64]:
    r"""Return the density of the weak-interaction theory relative to its value at :math:`E = J_0`.

    .. math:: \frac{n(E)}{n_0} = \frac{1}{1 + c\, (J_0/h_0) \ln(J_0 / E)}, \qquad c = 2\pi/3

    (Eq. 9 of the paper, with :math:`\tilde J_0 n_0 = J_0 / h_0`.) Its local exponent at :math:`E = J_0` is
    :math:`c J_0/h_0`, twice the printed "mu about J_0/h_0" for 0.03; it falls below only at
    :math:`E = e^{-17} J_0`.

    Raises
    ------
    InputError
        If an energy is not in (0, J_0].
    """
    energy = np.asarray(energy_K, dtype=np.float64)
    if not np.all((energy > 0) & (energy <= interaction_K)):
        raise InputError(f"the dipolar gap holds for energies above 0 and up to J_0 = {interaction_K:g} K")
    return np.asarray(1 / (1 + 2 * np.pi / 3 * ratio * np.log(interaction_K / energy)))


@dataclass(frozen=True, kw_only=True)
class DensityFit:
    """Prefactor and exponent at one temperature.

    Attributes
    ----------
    temperature_K : float
    prefactor, prefactor_error : float
        B of Eq. 3, in 1/K where T and E are taken in kelvin.
    exponent, exponent_error : float
        mu.
    correlation : float
        Of the two.
    highest_K : float
        End of the range of the fit.
    number : int
        Systems in it.
    health : FitHealth
    goodness : Goodness
    """

    temperature_K: float
    prefactor: float
    prefactor_error: float
    exponent: float
    exponent_error: float
    correlation: float
    highest_K: float
    number: int
    health: FitHealth
    goodness: Goodness


def fit_density(counted: CountedDensity, *, temperature_K: float, highest_K: float | None = None) -> DensityFit:
    r"""Return B and mu of Eq. 3 that describe counted excitation energies best.

    Maximum likelihood of the counts in bins of a twentieth of a decade and less, Poisson; at temperature 0 the
    density is :math:`B E^\mu`. Systems of one sample are taken as independent: few of them lie in the range.

    Parameters
    ----------
    counted : CountedDensity
    temperature_K : float
        A measured one; 0 for the quenched states.
    highest_K : float, optional
        End of the range. By default :math:`2 T`, as in the paper; at temperature 0 there is no default.

    Raises
    ------
    InputError
        If the temperature was not measured, or no range is given at temperature 0.
    FitError
        If fewer than 30 systems lie in the range.
    """
    end = 2 * temperature_K if highest_K is None else highest_K
    if not end > 0:
        raise InputError("a fit at temperature 0 needs the end of its range; give highest_K")
    edges = counted.edges_K[counted.edges_K <= end * (1 + 1e-9)]
    counts = counted.counts[counted.row(temperature_K)][: len(edges) - 1].astype(np.float64)
    number = int(counts.sum())
    if number < 30:
        raise FitError(f"{number} systems below {end:g} K at {temperature_K:g} K; run more realisations")
    edges, counts = _merged(edges, counts)
    expected = _expectation(edges, temperature_K=temperature_K, systems=counted.systems)

    def negative_log_likelihood(log_prefactor: float, exponent: float) -> float:
        mean = expected(math.exp(log_prefactor), exponent)
        return float(np.sum(mean - special.xlogy(counts, mean)))

    minuit = Minuit(negative_log_likelihood, math.log(number / (2 * counted.systems * end)), 0.1)
    minuit.errordef = Minuit.LIKELIHOOD
    minuit.limits["exponent"] = (-0.9, 1.9)
    minuit.migrad()
    minuit.hesse()
    B, mu = math.exp(minuit.values["log_prefactor"]), float(minuit.values["exponent"])
    mean = expected(B, mu)
    deviance = float(2 * np.sum(special.xlogy(counts, counts / mean) - (counts - mean)))
    freedom = len(counts) - 2
    covariance = minuit.covariance
    return DensityFit(
        temperature_K=temperature_K,
        prefactor=B,
        prefactor_error=B * float(minuit.errors["log_prefactor"]),
        exponent=mu,
        exponent_error=float(minuit.errors["exponent"]),
        correlation=float(covariance.correlation()[0, 1]) if covariance is not None else math.nan,
        highest_K=float(edges[-1]),
        number=number,
        health=FitHealth.of(minuit),
        goodness=Goodness(
            name="deviance",
            statistic=deviance,
            degrees_of_freedom=freedom if freedom > 0 else None,
            p_value=float(scipy.stats.chi2.sf(deviance, freedom)) if freedom > 0 else None,
            method="chi-square" if freedom > 0 else "none",
        ),
    )


def _merged(
    edges: NDArray[np.float64], counts: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Join bins from below until each holds 10 counts, so that the deviance has its chi-square limit."""
    kept, sums, running = [edges[0]], [], 0.0
    for edge, count in zip(edges[1:], counts, strict=True):
        running += count
        if running >= 10:
            kept.append(edge)
            sums.append(running)
            running = 0.0
    if running:
        sums[-1] += running
    kept[-1] = edges[-1]
    return np.array(kept), np.array(sums)


def _expectation(
    edges: NDArray[np.float64], *, temperature_K: float, systems: int
) -> Callable[[float, float], NDArray[np.float64]]:
    """Return the expected counts per bin as a function of prefactor and exponent."""
    if temperature_K == 0:
        return lambda B, mu: 2 * systems * B * np.diff(edges ** (1 + mu)) / (1 + mu)
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    half = np.diff(edges)[:, None] / 2
    squares = temperature_K**2 + (edges[:-1, None] + half * (nodes + 1)) ** 2
    return lambda B, mu: 2 * systems * B * np.sum(half * weights * squares ** (mu / 2), axis=1)
