r"""One tunnelling system between two minima of an atomistic potential: its splitting, and how fast it relaxes.

A system is a path between two minima, reduced to one dimension: the mass-weighted distance s along it,
:math:`ds^2 = \sum_i m_i\, |d\mathbf{r}_i|^2`, in which all atoms together move as one particle of mass 1 in the
potential V(s). This is the reduction of D. Khomenko et al. 2020 (arXiv:1910.11168) and F. Mocanu et al. 2022
(arXiv:2209.09579), who search glasses for tunnelling systems.

    V(s) + zero-point energy across the path -> exact levels -> tunnelling amplitude
                                             -> action through the barrier -> escape rate  (semiclassical)
    asymmetry, amplitude, strain coupling -> relaxation by one phonon                      (standard model)

What vibrates across the path has zero-point energy that changes along it, by tens of meV: it belongs to the
potential (the vibrationally adiabatic one of W. H. Miller, N. C. Handy and J. E. Adams, J. Chem. Phys. 72, 99
(1980)). The path of least energy is not that of least action: an amplitude from it is a lower bound of what the
potential gives. Every exponent counts with the mass of all that moves, however little.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import constants
from scipy.interpolate import CubicHermiteSpline
from scipy.linalg import eigh_tridiagonal
from scipy.optimize import brentq

from cascade_driver.errors import InputError
from cascade_driver.schema import build, fields_of, parameters, plain
from cascade_driver.units import PS_PER_S, BOLTZMANN_eV_PER_K, HBAR_eV_s, eV_J, eV_PER_AMU_A2_PS2

#: hbar in sqrt(amu eV) angstrom: what an action along a mass-weighted path is measured in.
HBAR_AMU12_A_eV12: float = HBAR_eV_s * PS_PER_S / float(np.sqrt(eV_PER_AMU_A2_PS2))

#: Points at which the potential along a path is integrated; the square roots at the turning points leave 1e-5.
_POINTS = 4001

#: Exact over WKB amplitude of a ground state: the connection at a turning point that lies close to the minimum,
#: sqrt(pi / e) (D.-Y. Song 2008, arXiv:0803.3113: with it WKB is the instanton result).
GROUND_STATE_FACTOR: float = float(np.sqrt(np.pi / np.e))

#: Levels are exact where the amplitude is above this share of a quantum: rounding leaves 1e-12 of one. Below, both
#: agree to 7 %.
_EXACT_ABOVE = 1e-8

#: Steps of the grid of levels in the shorter of the oscillator lengths of both wells, and points at most: the
#: amplitude is good to 1e-3.
_STEPS_PER_LENGTH = 50
_MOST_POINTS = 8000

#: So many quanta above the barrier the grid ends.
_BEYOND_QUANTA = 10

#: Levels of a well beyond this many are not populated at any temperature of interest.
_MOST_LEVELS = 2000

Positive = Annotated[float, Field(gt=0)]


@parameters
class Solid:
    """The crystal as a bath of phonons, isotropic.

    Attributes
    ----------
    density_kg_m3 : float
    longitudinal_speed_m_s, transverse_speed_m_s : float
        Of sound.
    debye_temperature_K : float
        Above its energy there is no single phonon that could take the energy of a transition.
    """

    density_kg_m3: Positive
    longitudinal_speed_m_s: Positive
    transverse_speed_m_s: Positive
    debye_temperature_K: Positive


#: Phonons of the crystals that ship. Si: Voigt-Reuss-Hill average of 165.7, 63.9, 79.6 GPa. Al: handbook values of
#: the polycrystal. CaWO4: chosen to give its elastic Debye temperature of 354 K (doi:10.1103/PhysRevB.70.214306)
#: with the usual ratio of the two speeds; good to some 10 %. Rates go as the fifth power of a speed.
SOLIDS: dict[str, Solid] = {
    "Si": Solid(
        density_kg_m3=2329, longitudinal_speed_m_s=8950, transverse_speed_m_s=5340, debye_temperature_K=645
    ),
    "Al": Solid(
        density_kg_m3=2700, longitudinal_speed_m_s=6420, transverse_speed_m_s=3040, debye_temperature_K=428
    ),
    "CaWO4": Solid(
        density_kg_m3=6060, longitudinal_speed_m_s=4600, transverse_speed_m_s=2510, debye_temperature_K=354
    ),
}


def solid_of(crystal: str | None, values: Mapping[str, float]) -> Solid:
    """Return the solid that a crystal is; `values` of its fields go before those that are known.

    Raises
    ------
    InputError
        If it is not known, and not all is given.
    """
    known = {} if crystal not in SOLIDS else plain(SOLIDS[crystal])
    content = {**known, **values}
    if missing := [name for name in fields_of(Solid) if name not in content]:
        raise InputError(f"the phonons of {crystal or 'this crystal'} are not known; give {' '.join(missing)}")
    return build(Solid, content, origin="arguments")


@dataclass(frozen=True, kw_only=True)
class DoubleWell:
    r"""Two minima and the potential along the path between them.

    Attributes
    ----------
    distance_amu12_A : (k,) float
        Mass-weighted distance s from the first minimum, in :math:`\sqrt{\mathrm{amu}}` angstrom, rising from 0.
    energy_eV : (k,) float
        Potential energy; the first and the last are those of the minima.
    slope_eV_amu12_A : (k,) float
        dV/ds.
    quanta_eV : two float
        :math:`\hbar\omega` of small oscillations along the path in the first and in the second minimum.
    """

    distance_amu12_A: NDArray[np.float64]
    energy_eV: NDArray[np.float64]
    slope_eV_amu12_A: NDArray[np.float64]
    quanta_eV: tuple[float, float]

    @property
    def asymmetry_eV(self) -> float:
        """Energy of the second minimum above the first."""
        return float(self.energy_eV[-1] - self.energy_eV[0])

    @property
    def length_amu12_A(self) -> float:
        """Mass-weighted length of the path."""
        return float(self.distance_amu12_A[-1])

    @property
    def ground_asymmetry_eV(self) -> float:
        """Energy of the ground level of the second well above that of the first, harmonic."""
        return self.asymmetry_eV + 0.5 * (self.quanta_eV[1] - self.quanta_eV[0])

    @cached_property
    def _curve(self) -> CubicHermiteSpline:
        return CubicHermiteSpline(self.distance_amu12_A, self.energy_eV, self.slope_eV_amu12_A)

    @cached_property
    def _fine(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Distance and potential above the first minimum, on many points."""
        s = np.linspace(0.0, self.length_amu12_A, _POINTS)
        return s, np.asarray(self._curve(s) - self.energy_eV[0])

    @cached_property
    def barrier_eV(self) -> float:
        """Energy of the highest point of the path above the first minimum."""
        return float(self._fine[1].max())

    @property
    def quantum_eV(self) -> float:
        """Geometric mean of the quanta of the two wells."""
        return float(np.sqrt(self.quanta_eV[0] * self.quanta_eV[1]))

    @property
    def is_double(self) -> bool:
        """Whether the barrier stands above the zero-point energy of both wells; else there is one well."""
        forward, backward = self.barrier_eV, self.barrier_eV - self.asymmetry_eV
        return forward > self.quanta_eV[0] / 2 and backward > self.quanta_eV[1] / 2

    def raised(self, *, top_eV: float | None, other_eV: float) -> DoubleWell:
        """Return the well with energies added, smoothly: none at the first minimum.

        What is added has no slope at the minima and at the top, so that they stay where they are.

        Parameters
        ----------
        top_eV : float or None
            At the highest of the points that are known; None for one smooth step from end to end.
        other_eV : float
            At the second minimum.
        """
        s, top = self.distance_amu12_A, int(np.argmax(self.energy_eV))
        known = [(s[0], 0.0), (s[-1], other_eV)]
        if top_eV is not None and 0 < top < len(s) - 1:
            known.insert(1, (s[top], top_eV))
        places, values = zip(*known, strict=True)
        added = CubicHermiteSpline(places, values, np.zeros(len(known)))
        return replace(
            self,
            energy_eV=self.energy_eV + added(s),
            slope_eV_amu12_A=self.slope_eV_amu12_A + added.derivative()(s),
        )

    def reversed(self) -> DoubleWell:
        """Return the same system seen from its second minimum."""
        return DoubleWell(
            distance_amu12_A=(self.length_amu12_A - self.distance_amu12_A)[::-1],
            energy_eV=self.energy_eV[::-1],
            slope_eV_amu12_A=-self.slope_eV_amu12_A[::-1],
            quanta_eV=(self.quanta_eV[1], self.quanta_eV[0]),
        )

    def action(self, energy_eV: float) -> float:
        r"""Return the action through the barrier at an energy above the first minimum, in units of hbar.

        .. math:: S(E) / \hbar = \frac{1}{\hbar} \int_{V > E} \sqrt{2 (V(s) - E)}\, ds
        """
        return _action(*self._fine, energy_eV)

    @property
    def aligned_action(self) -> float:
        """Action in units of hbar where both ground states have one energy: the asymmetry taken off smoothly.

        What is taken off has no slope at the two minima, so that they stay where they are.
        """
        s, V = self._fine
        u = s / s[-1]
        return _action(s, V - self.asymmetry_eV * u**2 * (3 - 2 * u), self.quantum_eV / 2)


def _action(s: NDArray[np.float64], V: NDArray[np.float64], energy_eV: float) -> float:
    momentum = np.sqrt(2 * np.clip(V - energy_eV, 0.0, None))
    return float(np.trapezoid(momentum, s)) / HBAR_AMU12_A_eV12


def tunnelling_amplitude_eV(well: DoubleWell) -> float:
    r"""Return the splitting :math:`\Delta_0` that the two ground states would have without asymmetry.

    .. math::
        \Delta_0 = \min_b (E_1 - E_0), \qquad
        -\frac{\hbar^2}{2} \frac{d^2\psi_n}{ds^2} + [V(s) - b\, u^2 (3 - 2u)]\, \psi_n = E_n \psi_n,
        \qquad u = s / L

    the exact levels of the particle of mass 1 on the path, beyond whose ends the wells go on as quartics; b takes
    the asymmetry off, as `DoubleWell.aligned_action` does. Below `_EXACT_ABOVE` quanta it is
    `semiclassical_amplitude_eV`.

    Raises
    ------
    InputError
        If there is no double well: zero-point motion goes over the barrier.
    """
    if not well.is_double:
        raise InputError(
            f"a barrier of {well.barrier_eV:.3g} eV lies below the zero-point motion of "
            f"{well.quanta_eV[0] / 2:.3g} or {well.quanta_eV[1] / 2:.3g} eV: one well, which does not tunnel"
        )
    rough = semiclassical_amplitude_eV(well)
    if rough <= _EXACT_ABOVE * well.quantum_eV:
        return rough
    levels = _Levels.of(well)
    low, high = (well.asymmetry_eV + sign * max(well.quanta_eV) for sign in (-1, 1))
    if not levels.imbalance_eV(low) > 0 > levels.imbalance_eV(high):
        return rough  # the second level is not that of the other well: no system of two levels
    aligned = brentq(levels.imbalance_eV, low, high, xtol=1e-4 * rough)
    return levels.lowest(float(aligned))[0]


@dataclass(frozen=True, kw_only=True)
class _Wall:
    r"""The potential beyond the first minimum: :math:`k y^2 (1 + c y)^2 / 2` of the distance y from it.

    It has the curvature k of the well, and goes on through the first point of the path on the other side, where y
    is negative: all of a quartic double well is of this form.
    """

    stiffness: float
    skew: float

    @classmethod
    def of(cls, well: DoubleWell) -> _Wall:
        k = (well.quanta_eV[0] / HBAR_AMU12_A_eV12) ** 2
        near = float(well.distance_amu12_A[1])
        rise = max(float(well.energy_eV[1] - well.energy_eV[0]), 0.0)
        # Where the well is the softer one outside, it goes on as a parabola.
        return cls(stiffness=k, skew=max(0.0, (1 - np.sqrt(2 * rise / k) / near) / near))

    def __call__(self, beyond: NDArray[np.float64]) -> NDArray[np.float64]:
        y = np.clip(beyond, 0.0, None)
        return np.asarray(0.5 * self.stiffness * y**2 * (1 + self.skew * y) ** 2)

    def reach(self, energy_eV: float) -> float:
        """Return the distance at which it is that high."""
        root = np.sqrt(2 * energy_eV / self.stiffness)  # of y (1 + c y)
        return float(2 * root / (1 + np.sqrt(1 + 4 * self.skew * root)))


@dataclass(frozen=True, kw_only=True)
class _Levels:
    """The lowest two levels in a double well whose second minimum is lowered.

    Attributes
    ----------
    hop_eV : float
        hbar^2 / 2 over the square of the step.
    potential_eV, lowered : (n,) float
        V, and the share of the lowering that counts.
    is_right : (n,) bool
        Beyond the top of the barrier.
    """

    hop_eV: float
    potential_eV: NDArray[np.float64]
    lowered: NDArray[np.float64]
    is_right: NDArray[np.bool_]

    @classmethod
    def of(cls, well: DoubleWell) -> _Levels:
        highest = well.barrier_eV + _BEYOND_QUANTA * max(well.quanta_eV)
        walls = (_Wall.of(well), _Wall.of(well.reversed()))
        before, after = (wall.reach(highest - V) for wall, V in zip(walls, (0.0, well.asymmetry_eV), strict=True))
        end = well.length_amu12_A
        step = HBAR_AMU12_A_eV12 / np.sqrt(max(well.quanta_eV)) / _STEPS_PER_LENGTH
        points = min(int((before + end + after) / step), _MOST_POINTS)
        s, step = np.linspace(-before, end + after, points, retstep=True)
        inside = np.clip(s, 0.0, end)
        potential = well._curve(inside) - well.energy_eV[0] + walls[0](inside - s) + walls[1](s - inside)
        fine_s, fine_V = well._fine
        u = inside / end
        return cls(
            hop_eV=float(0.5 * (HBAR_AMU12_A_eV12 / step) ** 2),
            potential_eV=np.asarray(potential),
            lowered=np.asarray(u**2 * (3 - 2 * u)),
            is_right=s > fine_s[np.argmax(fine_V)],
        )

    def lowest(self, lowered_eV: float) -> tuple[float, float]:
        """Return the difference of the two levels, and the share of the lower one that is on the right."""
        diagonal = 2 * self.hop_eV + self.potential_eV - lowered_eV * self.lowered
        hops = np.full(len(diagonal) - 1, -self.hop_eV)
        energies, states = eigh_tridiagonal(diagonal, hops, select="i", select_range=(0, 1))
        return float(energies[1] - energies[0]), float(np.sum(states[self.is_right, 0] ** 2))

    def imbalance_eV(self, lowered_eV: float) -> float:
        """Return how far the left ground state lies below the right one."""
        splitting_eV, on_the_right = self.lowest(lowered_eV)
        return splitting_eV * (1 - 2 * on_the_right)


def semiclassical_amplitude_eV(well: DoubleWell) -> float:
    r"""Return the splitting :math:`\Delta_0` as a high barrier gives it.

    .. math:: \Delta_0 = \sqrt{\frac{\pi}{e}}\; \frac{\hbar\omega}{\pi}\, e^{-S(\hbar\omega/2) / \hbar}

    Landau and Lifshitz, Quantum Mechanics, Sec. 50 problem 3, times the factor of a ground state
    (`GROUND_STATE_FACTOR`); :math:`\omega` is the geometric mean of the two wells, S the `aligned_action`. In
    a quartic double well it is 1.9 times too large for a barrier of half a quantum, 10 % for three, 7 % for four,
    exact for high ones.
    """
    return GROUND_STATE_FACTOR * well.quantum_eV / np.pi * float(np.exp(-well.aligned_action))


def escape_rate_per_s(well: DoubleWell, *, temperature_K: float) -> float:
    r"""Return the rate at which the first well is left through and over the barrier, in 1/s.

    .. math::
        \Gamma = \frac{\omega}{2\pi}\,
        \frac{\sum_n e^{-n \hbar\omega / k_B T}\, P(E_n)}{\sum_n e^{-n \hbar\omega / k_B T}}, \qquad
        P(E) = \frac{1}{1 + e^{2 S(E)/\hbar}}, \quad E_n = (n + 1/2)\, \hbar\omega

    A particle that knocks once per period at the barrier, from thermally populated levels. At high temperature it
    is the rate of transition-state theory, :math:`(\omega/2\pi)\, e^{-(V - \hbar\omega/2) / k_B T}`; at low
    temperature that of Gamow. It holds for a well from which there is no way back, whose final states are as
    dense as the oscillations along the path: for an asymmetry that takes several phonons away.

    Raises
    ------
    InputError
        If the temperature is not above 0.
    """
    if not temperature_K > 0:
        raise InputError(f"temperature_K: must be above 0; found {temperature_K:g}")
    quantum = well.quanta_eV[0]
    ratio = quantum / (BOLTZMANN_eV_PER_K * temperature_K)
    attempts_per_s = quantum / (2 * np.pi * HBAR_eV_s)
    total = 0.0
    for n in range(_MOST_LEVELS):
        level_eV = (n + 0.5) * quantum
        weight = np.exp(-n * ratio)
        if level_eV >= well.barrier_eV:
            # From here on every level is above the barrier: the rest of the geometric sum.
            return float(attempts_per_s * ((1 - np.exp(-ratio)) * total + weight))
        total += float(weight / (1 + np.exp(min(2 * well.action(level_eV), 700.0))))
        if weight == 0.0:
            break
    return float(attempts_per_s * (1 - np.exp(-ratio)) * total)


@dataclass(frozen=True, kw_only=True)
class StrainCoupling:
    r"""How strain changes the asymmetry of a system: :math:`D_{ab} = \frac12\, \partial\Delta/\partial e_{ab}`.

    Attributes
    ----------
    tensor_eV : (3, 3) float
        D, symmetric.
    """

    tensor_eV: NDArray[np.float64]

    @property
    def longitudinal_squared_eV2(self) -> float:
        r"""Mean over all directions n of :math:`(n D n)^2 = ((\mathrm{tr} D)^2 + 2\, \mathrm{tr} D^2) / 15`."""
        D = self.tensor_eV
        return float((np.trace(D) ** 2 + 2 * np.trace(D @ D)) / 15)

    @property
    def transverse_squared_eV2(self) -> float:
        r"""Mean over directions of :math:`|D n|^2 - (n D n)^2`: both transverse polarisations together."""
        D = self.tensor_eV
        # An isotropic coupling has none, but for rounding.
        return max(0.0, float((3 * np.trace(D @ D) - np.trace(D) ** 2) / 15))


def one_phonon_rate_per_s(
    *, asymmetry_eV: float, tunnelling_eV: float, coupling: StrainCoupling, solid: Solid, temperature_K: float
) -> float:
    r"""Return the relaxation rate of a system by emission and absorption of one phonon, in 1/s.

    .. math::
        \tau^{-1} = \frac{\Delta_0^2\, \epsilon}{2\pi \rho \hbar^4}
        \left(\frac{\gamma_l^2}{v_l^5} + \frac{2 \gamma_t^2}{v_t^5}\right) \coth\frac{\epsilon}{2 k_B T},
        \qquad \epsilon = \sqrt{\Delta^2 + \Delta_0^2}

    the standard model in three dimensions (W. A. Phillips, Rep. Prog. Phys. 50, 1657 (1987)), the golden rule for
    the coupling :math:`D_{ab} e_{ab} \sigma_z`; :math:`\gamma_l^2` and :math:`2\gamma_t^2` are the means of
    `StrainCoupling`. It is the sum of the rates down and up.
    """
    energy = float(np.hypot(asymmetry_eV, tunnelling_eV))
    bath = (
        coupling.longitudinal_squared_eV2 / solid.longitudinal_speed_m_s**5
        + coupling.transverse_squared_eV2 / solid.transverse_speed_m_s**5
    )
    rate = (
        tunnelling_eV**2
        * energy
        * bath
        * eV_J**5
        / (2 * np.pi * solid.density_kg_m3 * constants.hbar**4)
        / np.tanh(energy / (2 * BOLTZMANN_eV_PER_K * temperature_K))
    )
    return float(rate)


def rates_per_s(
    well: DoubleWell, *, coupling: StrainCoupling, solid: Solid, temperature_K: float
) -> tuple[float, float]:
    r"""Return the rates from the first to the second minimum and back, in 1/s.

    Downhill, from the higher ground level to the lower, of the following the first that applies; uphill
    :math:`e^{-|\epsilon| / k_B T}` times that:

    - no barrier above the zero-point motion: the oscillation itself, :math:`\omega / 2\pi`;
    - an energy below a quantum of the lower well and below that of the Debye phonon: the smaller of
      `one_phonon_rate_per_s`, whose long waves couple too strongly when they get as short as the system is large,
      and of the escape from the ground level; with what excited levels add;
    - more: `escape_rate_per_s` into excited levels of the lower well, which cool at once. It takes them as dense:
      an estimate from above.

    Raises
    ------
    InputError
        If the temperature is not above 0.
    """
    uphill = well.ground_asymmetry_eV > 0
    high = well.reversed() if uphill else well
    kT = BOLTZMANN_eV_PER_K * temperature_K
    escape = escape_rate_per_s(high, temperature_K=temperature_K)
    splitting = abs(well.ground_asymmetry_eV)
    if not well.is_double:
        down = high.quanta_eV[0] / (2 * np.pi * HBAR_eV_s)
    elif splitting < min(high.quanta_eV[1], BOLTZMANN_eV_PER_K * solid.debye_temperature_K):
        amplitude = tunnelling_amplitude_eV(well)
        asymmetry, splitting = splitting, float(np.hypot(splitting, amplitude))
        both = one_phonon_rate_per_s(
            asymmetry_eV=asymmetry,
            tunnelling_eV=amplitude,
            coupling=coupling,
            solid=solid,
            temperature_K=temperature_K,
        )
        ground = escape_rate_per_s(high, temperature_K=_COLD_K)
        down = min(both / (1 + np.exp(-splitting / kT)), ground) + max(escape - ground, 0.0)
    else:
        down = escape
    up = down * float(np.exp(-splitting / kT))
    return (up, down) if uphill else (down, up)


#: No excited level of a well is populated here.
_COLD_K = 1e-3
