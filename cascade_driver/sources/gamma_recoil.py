"""How a nucleus recoils that emits one gamma after the other, at rest or still moving."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy  # its `stats` is loaded where it is asked for: that takes as long as all the rest
from ase.data import atomic_numbers
from numpy.typing import ArrayLike, NDArray
from scipy import constants

from cascade_driver.errors import InputError
from cascade_driver.target import DENSITIES_g_cm3, Target
from cascade_driver.units import AMU_MeV

TimingLaw = Literal["in_flight", "prompt", "slow"]
UnknownLifetime = Literal["single_particle", "prompt", "slow"]

#: A nucleus that has lost so much of its momentum that 1 % of the energy is left displaces nothing more: what
#: it does after the next gamma is a recoil of its own.
APART_BELOW = 0.1

#: Mean life of a level that decays by a magnetic dipole gamma of 1 MeV of one single-particle unit:
#: hbar / 2.07e-2 eV (D. H. Wilkinson, in Nuclear Spectroscopy, ed. F. Ajzenberg-Selove, 1960).
_SINGLE_PARTICLE_FS_MeV3 = 31.8

#: Quasi-random events of a cascade of two or more gammas.
_EVENTS = 4096


def recoil_energy_eV(gamma_keV: ArrayLike, *, mass_u: float) -> NDArray[np.float64]:
    r"""Return the recoil energy in eV of a nucleus at rest that emits one gamma.

    .. math:: E_R = \frac{E_\gamma^2}{2 M c^2}

    Parameters
    ----------
    gamma_keV : array_like
        :math:`E_\gamma`, of any shape.
    mass_u : float
        :math:`M`, of the atom that recoils: the *compound* nucleus, one neutron heavier than the target.

    Raises
    ------
    InputError
        If the mass is not positive.

    Examples
    --------
    >>> round(recoil_energy_eV(6190.78, mass_u=182.95022).item(), 2)
    112.45
    """
    if not (math.isfinite(mass_u) and mass_u > 0):
        raise InputError(f"mass_u of a recoil is {mass_u:g}, expected a positive mass in u")
    gamma = np.asarray(gamma_keV, dtype=np.float64)
    return np.asarray(gamma**2 / (2 * mass_u * AMU_MeV))  # keV^2 / MeV = eV


@dataclass(frozen=True, kw_only=True)
class GammaTiming:
    """What a second gamma finds: a nucleus at full speed, at rest, or slowing down.

    Attributes
    ----------
    law : {'in_flight', 'prompt', 'slow'}
        `in_flight` compares the lifetime of each level with the slowing-down of the nucleus, `prompt` and `slow`
        are its limits: all gammas at once, or each from rest.
    unknown_lifetime : {'single_particle', 'prompt', 'slow'}
        Of levels whose lifetime is not in the table: the single-particle estimate of magnetic dipole gammas,
        1/tau = sum of (E_gamma / MeV)^3 / 31.8 fs, or one of the limits. Real ones are often ten times longer.
    slowing_time_fs : float, optional
        Time in which a moving nucleus loses all but 1/e of its momentum; by default `slowing_time_fs`.
    density_g_cm3 : float, optional
        Of the target, for that; crystals of detectors have theirs.

    Raises
    ------
    InputError
        If one of them is unknown or not positive.
    """

    law: TimingLaw = "in_flight"
    unknown_lifetime: UnknownLifetime = "single_particle"
    slowing_time_fs: float | None = None
    density_g_cm3: float | None = None

    def __post_init__(self) -> None:
        if self.law not in ("in_flight", "prompt", "slow"):
            raise InputError(f"timing law is {self.law!r}, expected in_flight, prompt or slow")
        if self.unknown_lifetime not in ("single_particle", "prompt", "slow"):
            raise InputError(
                f"unknown_lifetime is {self.unknown_lifetime!r}, expected single_particle, prompt or slow"
            )
        for name in ("slowing_time_fs", "density_g_cm3"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise InputError(f"{name} is {value:g}, expected a positive number")


@dataclass(frozen=True, kw_only=True)
class GammaCascade:
    """The gammas of one path from the capture state to the ground state.

    Attributes
    ----------
    symbol : str
        Chemical symbol of the recoiling atom.
    target : str
        Isotope before the capture, such as W182.
    mass_u : float
        Mass of the recoiling atom.
    gammas_keV : tuple of float
        Energies in the order of emission.
    mean_lives_fs : tuple of float or None
        Of the levels between them, one fewer; none where it is not known, 0 is prompt, infinite is slow.
    per_capture : float
        Probability of this path.
    """

    symbol: str
    target: str
    mass_u: float
    gammas_keV: tuple[float, ...]
    mean_lives_fs: tuple[float | None, ...]
    per_capture: float

    def __post_init__(self) -> None:
        if len(self.gammas_keV) < 1 or len(self.mean_lives_fs) != len(self.gammas_keV) - 1:
            raise InputError(
                f"cascade of {self.target} with {len(self.gammas_keV)} gammas and {len(self.mean_lives_fs)} "
                "lifetimes; expected one lifetime between every two gammas"
            )
        if not all(math.isfinite(g) and g > 0 for g in self.gammas_keV):
            raise InputError(f"cascade of {self.target} with gammas {self.gammas_keV} keV, expected positive ones")
        if any(t is not None and not t >= 0 for t in self.mean_lives_fs):
            raise InputError(f"cascade of {self.target}: lifetimes {self.mean_lives_fs} fs, expected none below 0")
        if not (math.isfinite(self.per_capture) and self.per_capture >= 0):
            raise InputError(f"cascade of {self.target}: probability {self.per_capture:g}, expected at least 0")

    @property
    def single_recoils_eV(self) -> NDArray[np.float64]:
        """(n,) recoil energy of each gamma alone, from rest."""
        return recoil_energy_eV(self.gammas_keV, mass_u=self.mass_u)


def slowing_time_fs(
    symbol: str, *, mass_u: float, recoil_energy_eV: float, target: Target, density_g_cm3: float | None = None
) -> float:
    r"""Return the time in which a nucleus in matter loses all but 1/e of its momentum.

    .. math::
        \tau_s = \frac{p}{S}, \qquad S = \sum_i n_i \, S_i, \qquad
        S_i = 8.462 \times 10^{-15} \frac{Z_1 Z_2 M_1}{(M_1 + M_2)(Z_1^{0.23} + Z_2^{0.23})}
        \, s(\epsilon_i) \ \mathrm{eV\,cm^2}

    with the nuclear stopping of Ziegler, Biersack and Littmark (1985; doi:10.1016/j.nimb.2010.02.091) at the
    initial energy, elements added (Bragg's rule). A statement of the order of magnitude: at these energies a
    nucleus collides a few times, with all neighbours at once, and the crystal decides. Molecular dynamics of
    960 eV Si in Si (si-tersoff-zbl, 19 directions) gives 38 +- 5 fs where this gives 97 fs: most nuclei lose
    nearly all to one atom of their own mass, which a mean stopping does not know. For what matters, simulate
    cascades with a second kick (`[[recoils.then]]`), or give their slowing time.

    Parameters
    ----------
    symbol : str
        Of the moving atom.
    mass_u : float
        Its mass.
    recoil_energy_eV : float
        Its initial energy.
    target : Target
        What it moves in.
    density_g_cm3 : float, optional
        By default that of `DENSITIES_g_cm3`.

    Raises
    ------
    InputError
        If the density is not known.
    """
    density = density_g_cm3 or DENSITIES_g_cm3.get(target.formula)
    if density is None:
        raise InputError(
            f"no density is known of {target.formula}: give it (--density-g-cm3; density_g_cm3), or a slowing time"
        )
    Z1, M1 = atomic_numbers[symbol], mass_u
    stopping_eV_per_cm = 0.0
    for isotope in target.isotopes:
        Z2, M2 = isotope.atomic_number, isotope.mass_u
        screening = Z1**0.23 + Z2**0.23
        eps = 32.53 * M2 * (recoil_energy_eV / 1e3) / (Z1 * Z2 * (M1 + M2) * screening)
        reduced = math.log1p(1.1383 * eps) / (2 * (eps + 0.01321 * eps**0.21226 + 0.19593 * math.sqrt(eps)))
        one = 8.462e-15 * Z1 * Z2 * M1 / ((M1 + M2) * screening) * reduced
        stopping_eV_per_cm += isotope.atoms_per_kg / 1e3 * density * one
    speed_cm_per_fs = math.sqrt(2 * recoil_energy_eV * constants.e / (M1 * constants.atomic_mass)) * 1e2 * 1e-15
    return 2 * recoil_energy_eV / speed_cm_per_fs / stopping_eV_per_cm


def momentum_exponents(
    cascade: GammaCascade, timing: GammaTiming, *, target: Target | None = None
) -> tuple[float, ...]:
    r"""Return for each level of a cascade its mean life over the slowing-down time, :math:`\tau / \tau_s`.

    The share of its momentum that the nucleus still has when the next gamma is emitted is then
    :math:`g = U^{\tau/\tau_s}` with U uniform: 1 for a prompt level, 0 for a slow one.

    Raises
    ------
    InputError
        If the slowing-down time cannot be known.
    """
    if timing.law == "prompt":
        return (0.0,) * len(cascade.mean_lives_fs)
    if timing.law == "slow" or not cascade.mean_lives_fs:
        return (math.inf,) * len(cascade.mean_lives_fs)
    slowing = timing.slowing_time_fs
    if slowing is None:
        if target is None:
            raise InputError("gammas in flight need the target, or a slowing time")
        slowing = slowing_time_fs(
            cascade.symbol,
            mass_u=cascade.mass_u,
            recoil_energy_eV=float(cascade.single_recoils_eV[0]),
            target=target,
            density_g_cm3=timing.density_g_cm3,
        )
    known = np.array([math.nan if life is None else life for life in cascade.mean_lives_fs])
    lives = _lives_fs(known, np.array(cascade.gammas_keV[1:]), timing)
    return tuple((lives / slowing).tolist())


def _lives_fs(
    mean_lives_fs: NDArray[np.float64], gammas_keV: NDArray[np.float64], timing: GammaTiming
) -> NDArray[np.float64]:
    """Return the mean lives of levels: where they are nan, those of unknown ones, by the gamma that each emits."""
    if timing.unknown_lifetime == "single_particle":
        with np.errstate(divide="ignore"):  # behind the last gamma there is none
            unknown = _SINGLE_PARTICLE_FS_MeV3 / (gammas_keV / 1e3) ** 3
    else:
        unknown = np.full_like(gammas_keV, 0.0 if timing.unknown_lifetime == "prompt" else math.inf)
    return np.where(np.isnan(mean_lives_fs), unknown, mean_lives_fs)


def two_gamma_cumulative(x: ArrayLike, *, exponent: float) -> NDArray[np.float64]:
    r"""Return the probability that two gammas in sequence recoil with at most E1 + E2 + 2 x sqrt(E1 E2).

    If the nucleus has the share g of its first momentum left when the second gamma leaves, both recoils together
    deposit

    .. math:: E = E_1 + E_2 + 2 \sqrt{E_1 E_2}\, x, \qquad x = g \cos\theta

    with independent isotropic directions. For a momentum that decays as exp(-t / tau_s) and a level of mean
    life tau, :math:`k = \tau_s / \tau`,

    .. math:: P(X \le x) = \frac12 + \frac{\mathrm{sgn}(x)}{2}\, \frac{k |x| - |x|^k}{k - 1}

    (at k = 1: :math:`|x| (1 - \ln |x|)` for the fraction). The limits are the prompt cascade, uniform in energy
    between :math:`(p_1 \mp p_2)^2 / 2M` (k to infinity), and the slow one, a line at :math:`E_1 + E_2` (k = 0).

    Parameters
    ----------
    x : array_like
        From -1 to 1; beyond it the probability is 0 or 1.
    exponent : float
        :math:`1/k = \tau / \tau_s`, 0 for prompt, infinite for slow.

    Raises
    ------
    InputError
        If the exponent is negative.

    Examples
    --------
    >>> two_gamma_cumulative([-1.0, -0.5, 0.0, 1.0], exponent=0.0).tolist()
    [0.0, 0.25, 0.5, 1.0]
    """
    if not exponent >= 0:
        raise InputError(f"lifetime over slowing-down time is {exponent:g}, expected at least 0")
    value = np.asarray(x, dtype=np.float64)
    size = np.minimum(np.abs(value), 1.0)
    if exponent == 0:
        fraction = size
    elif math.isinf(exponent):
        fraction = np.where(size > 0, 1.0, 0.0)
    else:
        k = 1 / exponent
        with np.errstate(divide="ignore"):
            log = np.where(size > 0, np.log(size), -np.inf)
        if abs(k - 1) < 1e-6:
            fraction = np.where(size > 0, size * (1 - np.where(size > 0, log, 0.0)), 0.0)
        else:
            # |x| + (|x| - |x|^k) / (k - 1): no cancellation of large k
            fraction = size + (size - np.exp(k * log)) / (k - 1)
    return np.asarray(0.5 + 0.5 * np.sign(value) * np.clip(fraction, 0.0, 1.0))


def recoil_cumulative(
    cascade: GammaCascade, levels_eV: ArrayLike, *, exponents: tuple[float, ...]
) -> NDArray[np.float64]:
    """Return the probability that all recoils of a cascade together deposit less than each level (eV).

    Exact for one and for two gammas (`two_gamma_cumulative`); beyond, the share of 4096 quasi-random events. A
    line that lies on a level counts as above it.

    Raises
    ------
    InputError
        If there is not one exponent (`momentum_exponents`) between every two gammas.
    """
    _check(cascade, exponents)
    levels = np.asarray(levels_eV, dtype=np.float64)
    alone = cascade.single_recoils_eV
    if len(alone) == 1:
        return np.asarray(levels > alone[0], dtype=np.float64)
    if len(alone) == 2:
        x = (levels - alone.sum()) / (2 * math.sqrt(alone[0] * alone[1]))
        if math.isinf(exponents[0]):
            return np.asarray(x > 0, dtype=np.float64)
        return two_gamma_cumulative(x, exponent=exponents[0])
    total = np.sort(recoil_events(cascade, exponents=exponents).sum(axis=1))
    return np.asarray(np.searchsorted(total, levels, side="left") / len(total), dtype=np.float64)


def recoil_events(
    cascade: GammaCascade, *, exponents: tuple[float, ...], count: int = _EVENTS
) -> NDArray[np.float64]:
    r"""Return quasi-random events of a cascade, as the energies of recoils that leave damage of their own.

    Before gamma i the nucleus has the momentum q; what all recoils together deposit is
    :math:`\sum_i E_i + \sum_i q_i p_i \cos\theta_i / M`. Where it had slowed down to less than a tenth of its
    momentum the next gamma begins a new recoil: each stores energy in the crystal by itself, while the detector
    sees the sum.

    Parameters
    ----------
    cascade : GammaCascade
    exponents : tuple of float
        Of `momentum_exponents`.
    count : int
        Number of events, all of the same weight.

    Returns
    -------
    (count, n) float
        Energies in eV; 0 where a gamma belongs to the recoil before it.

    Raises
    ------
    InputError
        If there is not one exponent between every two gammas.
    """
    _check(cascade, exponents)
    gammas = np.broadcast_to(np.array(cascade.gammas_keV), (count, len(cascade.gammas_keV)))
    levels = np.broadcast_to(np.array(exponents, dtype=np.float64), (count, len(exponents)))
    u = _quasi_random(2 * len(exponents), count) if exponents else np.zeros((count, 0))
    return _pieces(gammas, levels, u, mass_u=cascade.mass_u)


def sequence_events(
    gammas_keV: NDArray[np.float64],
    exponents: NDArray[np.float64],
    *,
    mass_u: float,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Return `recoil_events` of sequences that differ from one another, one event each: (n, k) energies in eV.

    Parameters
    ----------
    gammas_keV : (n, k) float
        In the order of emission; 0 behind the last one.
    exponents : (n, k - 1) float
        Of `sequence_exponents`.
    mass_u : float
        Of the atom that recoils.
    rng : numpy.random.Generator
    """
    u = np.maximum(rng.random((len(gammas_keV), 2 * exponents.shape[1])), 1e-300)
    return _pieces(gammas_keV, exponents, u, mass_u=mass_u)


def sequence_exponents(
    gammas_keV: NDArray[np.float64],
    mean_lives_fs: NDArray[np.float64],
    timing: GammaTiming,
    *,
    symbol: str,
    mass_u: float,
    target: Target,
) -> NDArray[np.float64]:
    """Return `momentum_exponents` of sequences that differ from one another, (n, k - 1).

    The slowing-down time is that of the mean first recoil.

    Parameters
    ----------
    gammas_keV : (n, k) float
        In the order of emission; 0 behind the last one.
    mean_lives_fs : (n, k - 1) float
        Of the levels between them; nan where it is not known.
    timing, symbol, mass_u, target
        As `momentum_exponents` and `slowing_time_fs`.
    """
    follows = gammas_keV[:, 1:] > 0
    if timing.law == "prompt":
        return np.zeros_like(mean_lives_fs)
    if timing.law == "slow":
        return np.where(follows, math.inf, 0.0)
    slowing = timing.slowing_time_fs or slowing_time_fs(
        symbol,
        mass_u=mass_u,
        recoil_energy_eV=float(recoil_energy_eV(gammas_keV[:, 0], mass_u=mass_u).mean()),
        target=target,
        density_g_cm3=timing.density_g_cm3,
    )
    lives = _lives_fs(mean_lives_fs, gammas_keV[:, 1:], timing)
    return np.where(follows, lives / slowing, 0.0)


def sequence_cumulative(
    gammas_keV: NDArray[np.float64],
    exponents: NDArray[np.float64],
    levels_eV: ArrayLike,
    *,
    mass_u: float,
    rng: np.random.Generator,
    weights: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    r"""Return the share of sequences whose recoils together deposit less than each level (eV).

    All directions are drawn but that of the hardest gamma m of a sequence, over which the energy is uniform:

    .. math:: E = a + \frac{\vec p_m \cdot \vec V}{M}, \qquad
        \vec V = \vec q_m + \sum_{i > m} h_i \vec p_i

    with :math:`\vec q_m` the momentum that is left when it leaves and :math:`h_i` the share of its own that is
    left at gamma i.

    Parameters
    ----------
    gammas_keV, exponents, mass_u, rng
        As `sequence_events`.
    levels_eV : (m,) array_like
    weights : (n,) float, optional
        Of the sequences; equal ones by default.
    """
    n, count = gammas_keV.shape
    direction = rng.normal(size=(n, count, 3))
    momentum = gammas_keV[:, :, None] * direction / np.linalg.norm(direction, axis=2, keepdims=True)
    hardest = gammas_keV.argmax(axis=1)
    kept = np.maximum(rng.random(exponents.shape), 1e-300) ** exponents
    centre = recoil_energy_eV(gammas_keV, mass_u=mass_u).sum(axis=1)
    moving, own, lever = np.zeros((n, 3)), np.zeros(n), np.zeros((n, 3))
    for i in range(count):
        if i:
            moving, own = moving * kept[:, i - 1, None], own * kept[:, i - 1]
        now = hardest == i
        centre += np.where(now, 0.0, np.sum(moving * momentum[:, i], axis=1)) / (mass_u * AMU_MeV)
        lever += np.where(now[:, None], moving, own[:, None] * momentum[:, i])
        moving = moving + np.where(now[:, None], 0.0, momentum[:, i])
        own = np.where(now, 1.0, own)
    half = gammas_keV.max(axis=1) * np.linalg.norm(lever, axis=1) / (mass_u * AMU_MeV)
    share = np.full(n, 1 / n) if weights is None else weights
    below = [
        float(share @ np.clip(0.5 * (1 + (level - centre) / np.maximum(half, 1e-9)), 0.0, 1.0))
        for level in np.asarray(levels_eV, dtype=np.float64)
    ]
    return np.array(below)


def _pieces(
    gammas_keV: NDArray[np.float64], exponents: NDArray[np.float64], u: NDArray[np.float64], *, mass_u: float
) -> NDArray[np.float64]:
    """Return the recoils of events, (n, k), from two uniform numbers for each gamma after the first."""
    alone = recoil_energy_eV(gammas_keV, mass_u=mass_u)
    pieces = np.zeros_like(alone)
    pieces[:, 0] = alone[:, 0]
    moving = gammas_keV[:, 0].astype(np.float64)
    events, piece = np.arange(len(pieces)), np.zeros(len(pieces), dtype=np.intp)
    for i in range(1, alone.shape[1]):
        left = u[:, 2 * i - 2] ** exponents[:, i - 1]
        cosine = 2 * u[:, 2 * i - 1] - 1
        piece = np.where(left < APART_BELOW, i, piece)
        before = moving * left
        # a new recoil cannot have less than nothing: the little it is short of comes off the one before
        pieces[events, piece] += alone[:, i] + before * gammas_keV[:, i] * cosine / (mass_u * AMU_MeV)
        squared = before**2 + gammas_keV[:, i] ** 2 + 2 * before * gammas_keV[:, i] * cosine
        moving = np.sqrt(np.maximum(squared, 0.0))
    return _without_negative(pieces)


def _without_negative(pieces: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the pieces with what is below zero taken off the first, so that sums are kept."""
    short = np.minimum(pieces[:, 1:], 0.0)
    pieces[:, 1:] -= short
    pieces[:, 0] += short.sum(axis=1)
    return np.maximum(pieces, 0.0)


@functools.lru_cache(maxsize=16)
def _quasi_random(dimensions: int, count: int) -> NDArray[np.float64]:
    """Return a fixed Halton set without its corner at the origin."""
    return np.asarray(
        scipy.stats.qmc.Halton(d=dimensions, scramble=True, rng=np.random.default_rng(1)).random(count)
    )


def _check(cascade: GammaCascade, exponents: tuple[float, ...]) -> None:
    if len(exponents) != len(cascade.mean_lives_fs):
        raise InputError(
            f"{len(exponents)} exponents for {len(cascade.mean_lives_fs)} levels of a cascade; use "
            "`momentum_exponents`"
        )
