r"""Harmonic vibrations about minima and saddles: zero-point energies and classical prefactors.

    the atoms that move most, all others held -> Hessian from forces -> frequencies
    half the sum of the quanta -> zero-point energy: does it settle with the number of atoms?

The quanta of all 3N modes shift by some per cent from one minimum to another: asymmetries and barriers by tens of
meV, as much as those of interest are large. Where the forces of a potential have a kink within the motion, as at
the cutoff of a bond of Tersoff's, curvatures depend on the step that they are taken over: it is that of the
motion, and a second one tells how much.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cascade_driver.relaxation.debris.search import Landscape
from cascade_driver.relaxation.debris.tunnelling import HBAR_AMU12_A_eV12
from cascade_driver.schema import findings
from cascade_driver.units import HBAR_eV_s

#: An atom is moved by this to both sides, as far as atoms of silicon move at zero temperature: a curvature is the
#: mean over the motion, as in the self-consistent harmonic approximation. Third derivatives drop out, fourth leave
#: below a hundredth of a quantum, alike in all minima. The second step is half as long.
_STEP_A = 0.05

#: Shares of the atoms for which the zero-point energy is told.
_SHARES = (0.25, 0.5, 1.0)


@dataclass(frozen=True, kw_only=True)
class Vibrations:
    """The harmonic modes of some atoms about a point where no force acts.

    Attributes
    ----------
    quanta_eV : (m,) float
        hbar omega of the modes that vibrate, rising.
    growing : int
        Modes along which the energy falls: 0 at a minimum, 1 at a saddle.
    zero_point_eV : tuple of float
        Half the sum of the quanta of the first quarter of the atoms, of half and of all of them.
    by_short_step_eV : float or None
        That of the first quarter, with half the step of finite differences; None where it was not asked for.
    """

    quanta_eV: NDArray[np.float64]
    growing: int
    zero_point_eV: tuple[float, ...]
    by_short_step_eV: float | None = None


@findings
class ZeroPoint:
    r"""Zero-point energies about both minima of a pair and the saddle between them.

    Attributes
    ----------
    one_eV, other_eV : tuple of float
        Of a quarter, half and all of the atoms.
    saddle_eV : tuple of float or None
        Of the modes that vibrate there; None where no saddle is known.
    prefactors_Hz : (float, float) or None
        Classical, from either minimum: :math:`\prod_{i=1}^{3N} \nu_i / \prod_{i=1}^{3N-1} \nu_i^\ddagger`
        (G. H. Vineyard, J. Phys. Chem. Solids 3, 121 (1957)).
    step_eV : float or None
        What half the step of finite differences adds to the asymmetry, of the first quarter of the atoms; None in
        searches of versions that did not look.
    """

    one_eV: tuple[float, ...]
    other_eV: tuple[float, ...]
    saddle_eV: tuple[float, ...] | None
    prefactors_Hz: tuple[float, float] | None
    step_eV: float | None = None

    @property
    def asymmetry_eV(self) -> float:
        """What it adds to the energy of the second minimum above the first."""
        return self.other_eV[-1] - self.one_eV[-1]

    @property
    def barrier_eV(self) -> float | None:
        """What it adds to the barrier as seen from the first minimum."""
        return None if self.saddle_eV is None else self.saddle_eV[-1] - self.one_eV[-1]

    @property
    def unsettled_eV(self) -> float:
        """How much the asymmetry changed when the second half of the atoms was added."""
        return abs(self.asymmetry_eV - (self.other_eV[-2] - self.one_eV[-2]))

    @property
    def error_eV(self) -> float:
        """How well the asymmetry is known: what more atoms and a shorter step change of it, together."""
        return math.hypot(self.unsettled_eV, self.step_eV or 0.0)


def zero_point_of(one: Vibrations, other: Vibrations, saddle: Vibrations | None) -> ZeroPoint:
    """Return the zero-point energies of a pair; a saddle with another number of growing modes than one is none."""
    is_saddle = saddle is not None and saddle.growing == 1
    step_eV = None
    if one.by_short_step_eV is not None and other.by_short_step_eV is not None:
        step_eV = other.by_short_step_eV - one.by_short_step_eV - (other.zero_point_eV[0] - one.zero_point_eV[0])
    return ZeroPoint(
        one_eV=one.zero_point_eV,
        other_eV=other.zero_point_eV,
        saddle_eV=saddle.zero_point_eV if saddle is not None and is_saddle else None,
        prefactors_Hz=(prefactor_Hz(one, saddle), prefactor_Hz(other, saddle))
        if saddle is not None and is_saddle
        else None,
        step_eV=step_eV,
    )


def prefactor_Hz(minimum: Vibrations, saddle: Vibrations) -> float:
    """Return the classical attempt frequency of Vineyard; see `ZeroPoint`."""
    logarithm = np.sum(np.log(minimum.quanta_eV)) - np.sum(np.log(saddle.quanta_eV))
    return float(np.exp(logarithm) / (2 * np.pi * HBAR_eV_s))


def moving_atoms(points_A: Sequence[NDArray[np.float64]], *, most: int) -> NDArray[np.int64]:
    """Return the atoms that move most between the first point (n, 3) and any other; those that move most first."""
    furthest = np.zeros(len(points_A[0]))
    for point in points_A[1:]:
        apart = point - points_A[0]
        apart -= np.median(apart, axis=0)
        furthest = np.maximum(furthest, np.linalg.norm(apart, axis=1))
    return np.argsort(-furthest, kind="stable")[:most]


def vibrations_at(landscape: Landscape, point_A: NDArray[np.float64], moving: NDArray[np.int64]) -> Vibrations:
    """Return the vibrations of some atoms about a minimum or a saddle, all others held.

    Parameters
    ----------
    landscape : Landscape
    point_A : (n, 3) float
    moving : (k,) int
        Each atom once; the order says which are the first.
    """
    around = landscape.about(moving, point_A)
    rising = around.active
    order = np.searchsorted(rising, moving)
    first = order[: _number_of(order, _SHARES[0])]

    def forces(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return around.energy_and_forces_near(x, around_A=point_A)[1]

    masses = around.atoms.get_masses()[rising]
    try:
        hessian = mass_weighted_hessian(forces, point_A[rising], masses)
        second = mass_weighted_hessian(forces, point_A[rising], masses, step_A=0.5 * _STEP_A, of=np.sort(first))
    finally:
        around.close()
    by_short_step = modes_of(second, order=np.arange(len(first))).zero_point_eV[-1]
    return replace(modes_of(hessian, order=order), by_short_step_eV=by_short_step)


def _number_of(order: NDArray[np.int64], share: float) -> int:
    return max(1, round(share * len(order)))


def mass_weighted_hessian(
    forces: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    at_A: NDArray[np.float64],
    masses_amu: NDArray[np.float64],
    *,
    step_A: float = _STEP_A,
    of: NDArray[np.int64] | None = None,
) -> NDArray[np.float64]:
    r"""Return :math:`\partial^2 V / \partial x_i \partial x_j / \sqrt{m_i m_j}`, (3k, 3k) in eV/(amu angstrom^2).

    Parameters
    ----------
    forces : callable
        Of positions (k, 3), in eV/angstrom.
    at_A : (k, 3) float
    masses_amu : (k,) float
    step_A : float
        To both sides.
    of : (m,) int, optional
        Of these atoms alone, all others held: (3m, 3m).
    """
    of = np.arange(len(at_A)) if of is None else of
    coordinates = (3 * of[:, None] + np.arange(3)).ravel()
    rows = []
    for i in coordinates.tolist():
        step = np.zeros(at_A.size)
        step[i] = step_A
        there, back = (forces(at_A + sign * step.reshape(-1, 3)) for sign in (1, -1))
        rows.append((back - there).ravel()[coordinates] / (2 * step_A))
    hessian = np.array(rows)
    root = np.sqrt(np.repeat(masses_amu[of], 3))
    return np.asarray(0.5 * (hessian + hessian.T) / np.outer(root, root))


def modes_of(hessian: NDArray[np.float64], *, order: NDArray[np.int64]) -> Vibrations:
    """Return the modes of a mass-weighted Hessian (3k, 3k).

    Parameters
    ----------
    hessian : (3k, 3k) float
    order : (k,) int
        Its atoms, the first ones first: zero-point energies are told of some of them, all others held.
    """
    zero_points = []
    for share in _SHARES:
        some = order[: _number_of(order, share)]
        rows = (3 * some[:, None] + np.arange(3)).ravel()
        curvatures = np.linalg.eigvalsh(hessian[np.ix_(rows, rows)])
        zero_points.append(0.5 * float(np.sum(_quanta_eV(curvatures))))
    return Vibrations(
        quanta_eV=_quanta_eV(curvatures),
        growing=int(np.sum(curvatures <= 0)),
        zero_point_eV=tuple(zero_points),
    )


def _quanta_eV(curvatures: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(HBAR_AMU12_A_eV12 * np.sqrt(curvatures[curvatures > 0]))
