"""What no table resolves of neutron capture: gammas by the statistical model, down to the known levels."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from cascade_driver.errors import InputError
from cascade_driver.kinds import Array
from cascade_driver.sources.capture_table import CaptureIsotope

Strength = Literal["generalised", "standard"]

#: Nuclei of fewer nucleons have too few levels for statistics: what their table lacks is left out.
LIGHTEST = 20

#: T = 16.75 MeV A^(-2/3), and how far nuclei are from it.
_TEMPERATURE_MeV, TEMPERATURE_ERROR = 1 / 0.0597, 0.2

#: Known levels count as all that there are up to an energy above this one, and if there are so many.
_LEAST_COMPLETE_MeV, _LEAST_LEVELS = 0.5, 5

#: Width in which the table is taken off what the model has of first gammas, and continuum bins in it.
_COARSE_MeV, _FINE_PER_COARSE = 0.25, 8

_CHUNK = 4096


@dataclass(frozen=True, kw_only=True)
class StatisticalModel:
    r"""Level density and dipole strength of a nucleus above the levels that are known.

    .. math:: \rho(E) = \frac{N_c}{T}\, e^{(E - E_c) / T}, \qquad
        P(E \to E') \propto E_\gamma^3\, f(E_\gamma)\, \rho(E'), \qquad E_\gamma = E - E'

    with the number :math:`N_c` of known levels up to the energy :math:`E_c` (`complete_below_MeV`), so that known
    levels and continuum count the same states: those that capture feeds. f is the E1 strength (`dipole_strength`).
    Spins, parities, M1 and E2, and the fluctuations of single widths are left out: the smooth shape means
    something, no single line does.

    Attributes
    ----------
    temperature_MeV : float, optional
        T; by default `level_temperature_MeV`.
    strength : {'generalised', 'standard'}
        Lorentzian of the giant dipole resonance.

    Raises
    ------
    InputError
        If one of them cannot be used.
    """

    temperature_MeV: float | None = None
    strength: Strength = "generalised"

    def __post_init__(self) -> None:
        T = self.temperature_MeV
        if T is not None and not (math.isfinite(T) and T > 0):
            raise InputError(f"temperature of the continuum is {T:g} MeV, expected a positive one")
        if self.strength not in get_args(Strength):
            raise InputError(f"strength is {self.strength!r}, expected generalised or standard")

    def temperature_of(self, isotope: CaptureIsotope) -> float:
        """Return T in MeV for the compound nucleus."""
        return self.temperature_MeV or level_temperature_MeV(isotope.mass_number + 1)


@dataclass(frozen=True, kw_only=True, eq=False)
class GammaSequences:
    """Captures, one per row, each with its gammas in the order of emission.

    Attributes
    ----------
    gammas_keV : (n, k) float
        0 behind the last one.
    mean_lives_fs : (n, k - 1) float
        Of the levels between them; nan where it is not known.
    """

    gammas_keV: Array
    mean_lives_fs: Array

    @property
    def multiplicity(self) -> NDArray[np.intp]:
        """(n,) number of gammas."""
        return np.asarray(np.count_nonzero(self.gammas_keV, axis=1), dtype=np.intp)


def level_temperature_MeV(mass_number: int) -> float:
    r"""Return the temperature of the level density.

    .. math:: T = \frac{A^{-2/3}}{0.0597}\ \mathrm{MeV}

    von Egidy & Bucurescu 2009, doi:10.1103/PhysRevC.80.054310, without their correction for shells and pairing,
    which moves it by up to a fifth between closed shells (`TEMPERATURE_ERROR`), and more at 208Pb.

    Examples
    --------
    >>> round(level_temperature_MeV(187), 2)
    0.51
    """
    return float(_TEMPERATURE_MeV * mass_number ** (-2.0 / 3.0))


def dipole_strength(
    gamma_MeV: Array, *, mass_number: int, temperature_MeV: float, strength: Strength = "generalised"
) -> Array:
    r"""Return the E1 strength function, not normalised, same shape as the energies.

    .. math::
        f(E_\gamma) \propto
            \frac{E_\gamma \Gamma(E_\gamma)}{(E_\gamma^2 - E_0^2)^2 + E_\gamma^2 \Gamma(E_\gamma)^2}
            + 0.7\, \frac{\Gamma(0)}{E_0^3}, \qquad
        \Gamma(E_\gamma) = \Gamma_0 \frac{E_\gamma^2 + 4 \pi^2 T^2}{E_0^2}

    the generalised Lorentzian of Kopecky & Uhl 1990, doi:10.1103/PhysRevC.41.1941; the standard one has the width
    :math:`\Gamma_0` and no constant. Giant dipole resonance of spherical nuclei:
    :math:`E_0 = 31.2 A^{-1/3} + 20.6 A^{-1/6}`, :math:`\Gamma_0 = 0.026 E_0^{1.91}` in MeV (RIPL-2,
    IAEA-TECDOC-1506, 2006).
    """
    resonance = 31.2 * mass_number ** (-1 / 3) + 20.6 * mass_number ** (-1 / 6)
    width = 0.026 * resonance**1.91
    if strength == "standard":
        broad, constant = np.full_like(gamma_MeV, width), 0.0
    else:
        heat = 4 * math.pi**2 * temperature_MeV**2
        broad = width * (gamma_MeV**2 + heat) / resonance**2
        constant = 0.7 * width * heat / resonance**5
    lorentzian = gamma_MeV * broad / ((gamma_MeV**2 - resonance**2) ** 2 + (gamma_MeV * broad) ** 2)
    return np.asarray(lorentzian + constant, dtype=np.float64)


def complete_below_MeV(isotope: CaptureIsotope, *, temperature_MeV: float) -> float:
    r"""Return the energy up to which the table knows the levels that capture feeds.

    Where the known levels, counted from the ground, fall behind the exponential: the level of the largest
    :math:`\ln N(E) - E / T` above 0.5 MeV and below half of the separation energy, if there are five. Without
    such a level the ground state alone is known.
    """
    levels = np.array(isotope.levels_keV) / 1e3
    number = np.arange(1, len(levels) + 1)
    fit = (
        (levels > _LEAST_COMPLETE_MeV)
        & (levels < isotope.neutron_separation_keV / 2e3)
        & (number >= _LEAST_LEVELS)
    )
    if not fit.any():
        return 0.0
    ahead = np.where(fit, np.log(number) - levels / temperature_MeV, -np.inf)
    return float(levels[int(ahead.argmax())])


@dataclass(frozen=True, kw_only=True, eq=False)
class _States:
    """Known levels, and above them bins of the continuum.

    Attributes
    ----------
    energy_MeV, width_MeV : (s,) float
        Of each state, the width 0 for levels.
    known : int
        Number of levels; they come first, the ground state first of all.
    cumulative : (s, s) float
        Probability that a state decays to one of the states up to each.
    mean_life_fs : (s,) float
        nan where it is not known, infinite where an event ends.
    first : (s,) float
        Cumulative distribution of the states after the first gamma.
    """

    energy_MeV: Array
    width_MeV: Array
    known: int
    cumulative: Array
    mean_life_fs: Array
    first: Array


@functools.lru_cache(maxsize=128)
def statistical_cascades(
    isotope: CaptureIsotope, *, model: StatisticalModel | None = None, count: int
) -> GammaSequences:
    """Return captures whose first gamma is not in the table, followed down to the ground state.

    The first gammas are what the model has in each quarter of an MeV more than the table. They lead to the
    continuum, where all levels are prompt; from there gammas lead down, by the model, until a known level is
    reached, and further by the decays of the table, with their lifetimes. A known level of which no decay is
    tabulated decays to the ground state; one that lives over 1 ms ends the event. The gammas of an event sum to
    the neutron separation energy (less that of the isomer).

    Parameters
    ----------
    isotope : CaptureIsotope
        Of at least `LIGHTEST` nucleons.
    model : StatisticalModel, optional
    count : int
        Number of captures, n. All models get the same random numbers, so that differences keep their digits.
    """
    states = _states(isotope, model or StatisticalModel())
    rng = np.random.default_rng(2)
    at = np.searchsorted(states.first, rng.random(count), side="right")
    energy = states.energy_MeV[at] + states.width_MeV[at] * (rng.random(count) - 0.5)
    gammas, lives = [isotope.neutron_separation_keV / 1e3 - energy], []
    while (moving := np.isnan(states.mean_life_fs[at]) | np.isfinite(states.mean_life_fs[at])).any():
        after = at.copy()
        u = rng.random(count)
        for rows in np.array_split(np.flatnonzero(moving), max(1, int(moving.sum()) // _CHUNK)):
            after[rows] = np.argmax(states.cumulative[at[rows]] > u[rows, None], axis=1)
        spread = states.width_MeV[after] * (rng.random(count) - 0.5)
        lower = np.where(moving, np.minimum(states.energy_MeV[after] + spread, energy), energy)
        lives.append(np.where(moving, states.mean_life_fs[at], 0.0))
        gammas.append(energy - lower)
        at, energy = after, lower
    return GammaSequences(
        gammas_keV=np.stack(gammas, axis=1) * 1e3,
        mean_lives_fs=np.stack(lives, axis=1) if lives else np.zeros((count, 0)),
    )


def resolved_share(isotope: CaptureIsotope, *, model: StatisticalModel | None = None) -> tuple[float, float]:
    """Return what share of the first gammas the model leads up to the highest level of the table, and the table's.

    A test of the model: single widths fluctuate, so that a factor of two or three is what can be expected.
    """
    model = model or StatisticalModel()
    highest = max((line.final_level_keV for line in isotope.lines), default=0.0) / 1e3
    states = _states(isotope, model, subtract=False)
    inside = int(np.searchsorted(states.energy_MeV, highest, side="right"))
    return float(states.first[inside - 1]), isotope.tabulated_per_capture


def _states(isotope: CaptureIsotope, model: StatisticalModel, *, subtract: bool = True) -> _States:
    T, top = model.temperature_of(isotope), isotope.neutron_separation_keV / 1e3
    begin = complete_below_MeV(isotope, temperature_MeV=T)
    levels = np.array([level / 1e3 for level in isotope.levels_keV if level / 1e3 <= begin])
    coarse = max(1, round((top - begin) / _COARSE_MeV))
    edges = np.linspace(begin, top, coarse * _FINE_PER_COARSE + 1)
    energy = np.concatenate([levels, (edges[1:] + edges[:-1]) / 2])
    width = np.concatenate([np.zeros(len(levels)), np.diff(edges)])
    density = np.concatenate(
        [np.ones(len(levels)), len(levels) / T * np.exp((energy[len(levels) :] - begin) / T) * np.diff(edges)]
    )

    def weights(above: Array) -> Array:
        gamma = np.maximum(above[:, None] - energy[None, :], 0.0)
        strength = dipole_strength(
            gamma, mass_number=isotope.mass_number + 1, temperature_MeV=T, strength=model.strength
        )
        return np.asarray(gamma**3 * strength * density, dtype=np.float64)

    rows = weights(energy)
    rows[: len(levels)] = 0.0
    lives = np.zeros(len(energy))
    for i, level in enumerate(levels):
        lives[i] = _known_decay(isotope, level * 1e3, rows[i], levels * 1e3)
    lives[0] = math.inf
    first = weights(np.array([top]))[0]
    first /= first.sum()
    if subtract:
        first = _beyond_the_table(isotope, first, edges=edges, known=len(levels))
    with np.errstate(invalid="ignore", divide="ignore"):
        cumulative = np.cumsum(rows, axis=1) / rows.sum(axis=1, keepdims=True)
    cumulative[:, -1] = 1.0
    return _States(
        energy_MeV=energy,
        width_MeV=width,
        known=len(levels),
        cumulative=np.nan_to_num(cumulative),
        mean_life_fs=lives,
        first=np.cumsum(first) / first.sum(),
    )


def _known_decay(isotope: CaptureIsotope, level_keV: float, row: Array, levels_keV: Array) -> float:
    """Write the decays of a level in its row, and return its mean life: infinite if it ends an event."""
    decays = isotope.decays.get(level_keV, ())
    if not decays:
        row[0] = 1.0
        return math.nan
    for decay in decays:
        row[int(np.argmin(np.abs(levels_keV - decay.final_level_keV)))] += decay.share
    life_fs = isotope.mean_life_fs(level_keV)
    return math.nan if life_fs is None else life_fs


def _beyond_the_table(isotope: CaptureIsotope, first: Array, *, edges: Array, known: int) -> Array:
    """Return the part of the first gammas to the continuum that the table lacks, in each coarse bin."""
    continuum = first[known:]
    model = continuum.reshape(-1, _FINE_PER_COARSE).sum(axis=1)
    finals = [line.final_level_keV / 1e3 for line in isotope.lines]
    table, _ = np.histogram(
        finals, edges[::_FINE_PER_COARSE], weights=[line.per_capture for line in isotope.lines]
    )
    left = np.maximum(model - table, 0.0)
    if not left.sum() > 0:
        left = model
    share = np.repeat(np.divide(left, model, out=np.zeros_like(model), where=model > 0), _FINE_PER_COARSE)
    return np.concatenate([np.zeros(known), continuum * share])
