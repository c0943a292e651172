r"""The last part of a descent, with the crystal's own stiffness as preconditioner.

A cascade disturbs some ten atoms and leaves the rest vibrating about sites whose force constants H are known:
those of the perfect crystal. L-BFGS that takes the step

.. math:: -(H + c)^{-1} \nabla E

where it has learned nothing yet needs some 50 evaluations for what conjugate gradients need 200 to 300 for. H is a
convolution over the cells of the crystal, so that its powers are 3n x 3n matrices for each wave vector of the box,
applied by Fourier transforms.

It must not begin before it is decided into which minimum the way leads, as it goes downhill in another metric. Of
60 hot states of silicon (60 eV, 0.1 to 1 ps old) conjugate gradients ended in 58 where the gradient flow dx/dt = F
does; with the stiffness from the start (c = 2 eV/A^2) 37 did, which stored 0.5 +- 0.2 eV less in the mean, and
L-BFGS without it 52. Where conjugate gradients go first until no component of a force is larger than 0.2 eV/A, 59
did.

J. Nocedal, S. J. Wright: Numerical Optimization, algorithm 7.4 (doi:10.1007/978-0-387-40065-5).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cascade_driver.simulation.engine import Engine, Minimum

#: Where the stiffness may take over: no component of a force is larger.
NEARLY_AT_REST_eV_A = 0.2

#: Added to the stiffness, eV/A^2: translations have none, and damage is softer than the crystal. With 0.5, 2, 6,
#: 12 and 25 it took 73, 64, 44, 53 and 121 evaluations after a tungsten recoil of 81 eV in CaWO4. With 0.5 and 2
#: it overshot 23 and 14 times, with 6 never.
_SOFTEST_eV_A2 = 6.0

#: Displacement of the central differences of the forces.
_STEP_A = 0.01

#: Pairs of steps that L-BFGS remembers. With 30 it took 54 and 90 evaluations, with 60 44 and 84.
_MEMORY = 60

#: No atom moves farther in a step: what LAMMPS allows a coordinate in one of conjugate gradients.
_LONGEST_STEP_A = 0.1
#: A step that moves no atom farther than this and still goes up will not go down any more.
_SHORTEST_STEP_A = 1e-7

#: A step is taken if it lowers the energy by this share of what the slope promises.
_SUFFICIENT = 1e-4
#: Differences of the energy below this may be rounding (of some 10 keV); the slope along the step decides then,
#: which must have become less steep than this share of what it was.
_ROUNDING_eV = 1e-7
_LESS_STEEP = 0.9

#: Positions of the cells must repeat to this.
_REPEATS_TO_A = 1e-3


@dataclass(frozen=True, kw_only=True)
class Stiffness:
    """Force constants of a crystal in a periodic box of whole cells.

    Attributes
    ----------
    force_constants_eV_A2 : (3 n, n_1, n_2, n_3, 3 n) float
        Second derivative of the energy by a coordinate of cell (0, 0, 0) and one of cell (l_1, l_2, l_3), n
        atoms in a cell.
    sites_A : (n_1 n_2 n_3 n, 3) float
        Positions at rest, cell by cell, the last index of the cell running fastest.
    """

    force_constants_eV_A2: NDArray[np.float64]
    sites_A: NDArray[np.float64]

    @cached_property
    def _inverse(self) -> NDArray[np.complex128]:
        return self._power(-1.0)

    def _power(self, exponent: float) -> NDArray[np.complex128]:
        """Return a power of H + c for each wave vector; those of a real field are half of all."""
        at_q = np.conj(np.moveaxis(np.fft.rfftn(self.force_constants_eV_A2, axes=(1, 2, 3)), 0, 3))
        values, vectors = np.linalg.eigh((at_q + np.conj(np.swapaxes(at_q, -1, -2))) / 2)
        scaled = vectors * (np.maximum(values, 0.0) + _SOFTEST_eV_A2)[..., None, :] ** exponent
        return np.asarray(scaled @ np.conj(np.swapaxes(vectors, -1, -2)))

    def displacement_A(self, forces_eV_A: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the displacements (n_atoms, 3) by which forces would be gone in the crystal."""
        return self._applied(self._inverse, forces_eV_A)

    def _applied(self, matrix: NDArray[np.complex128], field: NDArray[np.float64]) -> NDArray[np.float64]:
        cells = self.force_constants_eV_A2.shape[1:4]
        at_q = np.fft.rfftn(field.reshape(*cells, -1), axes=(0, 1, 2))
        return np.fft.irfftn((matrix @ at_q[..., None])[..., 0], s=cells, axes=(0, 1, 2)).reshape(-1, 3)


def measure_stiffness(
    engine: Engine, *, sites_A: NDArray[np.float64], lengths_A: NDArray[np.float64], cell_A: NDArray[np.float64]
) -> Stiffness | None:
    """Return the force constants of the box that `engine` holds, or None if it is no box of whole cells.

    Parameters
    ----------
    engine : Engine
        Holds the box; its atoms are moved.
    sites_A : (n_atoms, 3) float
        Positions at rest.
    lengths_A, cell_A : (3,) float
        Edges of the periodic box and of the crystal's cell.
    """
    cells = np.rint(lengths_A / cell_A).astype(int)
    if not _is_crystal(sites_A, lengths_A, cells):
        return None
    atoms = len(sites_A) // int(cells.prod())
    constants = np.empty((3 * atoms, *cells, 3 * atoms))
    for coordinate in range(3 * atoms):
        constants[coordinate] = _response(engine, sites_A, divmod(coordinate, 3)).reshape(constants.shape[1:])
    return Stiffness(force_constants_eV_A2=constants, sites_A=sites_A)


def _is_crystal(sites_A: NDArray[np.float64], lengths_A: NDArray[np.float64], cells: NDArray[np.int64]) -> bool:
    """Return whether the atoms stand cell by cell, each cell like the first."""
    if len(sites_A) % cells.prod():
        return False
    by_cell = sites_A.reshape(*cells, -1, 3)
    shift = np.stack(np.meshgrid(*(np.arange(n) for n in cells), indexing="ij"), axis=-1) * lengths_A / cells
    off = by_cell - by_cell[0, 0, 0] - shift[..., None, :]
    return bool(np.abs(off - lengths_A * np.rint(off / lengths_A)).max() < _REPEATS_TO_A)


def _response(engine: Engine, sites_A: NDArray[np.float64], coordinate: tuple[int, int]) -> NDArray[np.float64]:
    """Return minus the derivative (n_atoms, 3) of all forces by one coordinate."""
    forces = []
    for step in (_STEP_A, -_STEP_A):
        moved = sites_A.copy()
        moved[coordinate] += step
        engine.set_positions(moved)
        engine.potential_energy_eV()
        forces.append(engine.forces_eV_A())
    return (forces[1] - forces[0]) / (2 * _STEP_A)


def descend(
    engine: Engine,
    stiffness: Stiffness,
    *,
    force_tolerance_eV_A: float,
    max_iterations: int,
    below_eV_A: float = NEARLY_AT_REST_eV_A,
) -> Minimum:
    """Return the local minimum below the state that `engine` holds, its atoms at rest.

    Conjugate gradients begin, the stiffness goes on where no component of a force is larger than `below_eV_A`,
    until the norm of all forces is below the tolerance. Where it finds nothing lower before, conjugate gradients
    have the last word. Of a potential that is two, both are gone down in this way.
    """

    def finish() -> None:
        positions_A = _bottom(engine, stiffness, force_tolerance_eV_A, most_evaluations=2 * max_iterations)
        engine.set_positions(positions_A)

    return engine.minimise(
        force_tolerance_eV_A=force_tolerance_eV_A,
        max_iterations=max_iterations,
        finish=finish,
        finish_below_eV_A=below_eV_A,
    )


@dataclass(frozen=True, kw_only=True)
class _Point:
    """Where a descent is."""

    positions_A: NDArray[np.float64]
    energy_eV: float
    forces_eV_A: NDArray[np.float64]


def _bottom(
    engine: Engine, stiffness: Stiffness, force_tolerance_eV_A: float, *, most_evaluations: int
) -> NDArray[np.float64]:
    """Return the positions (n_atoms, 3) where the forces vanish, or as far down as it went."""
    curvature = _Curvature(stiffness)
    left = most_evaluations

    def look(positions_A: NDArray[np.float64]) -> _Point:
        nonlocal left
        left -= 1
        engine.set_positions(positions_A)
        energy_eV = engine.potential_energy_eV()
        return _Point(positions_A=positions_A, energy_eV=energy_eV, forces_eV_A=engine.forces_eV_A())

    here = look(engine.state()[0])
    while left > 0 and np.linalg.norm(here.forces_eV_A) > force_tolerance_eV_A:
        step_A = curvature.step_A(here.forces_eV_A)
        step_A *= min(1.0, _LONGEST_STEP_A / _farthest_A(step_A))
        there = look(here.positions_A + step_A)
        while not _is_lower(there, here) and _farthest_A(step_A) > _SHORTEST_STEP_A and left > 0:
            step_A = step_A * _shortened(there, here)
            there = look(here.positions_A + step_A)
        if _is_lower(there, here):
            curvature.learn(step_A, here.forces_eV_A - there.forces_eV_A)
            here = there
        elif curvature.is_learned:
            curvature = _Curvature(stiffness)
        else:
            break
    return here.positions_A


def _farthest_A(step_A: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.einsum("ij,ij->i", step_A, step_A).max()))


def _is_lower(there: _Point, here: _Point) -> bool:
    """Return whether a step goes down, by the energy or, where that is rounded, by the slope along it."""
    step_A = there.positions_A - here.positions_A
    rise_eV = there.energy_eV - here.energy_eV
    promised_eV = float(np.vdot(here.forces_eV_A, step_A))
    if rise_eV <= -_SUFFICIENT * promised_eV:
        return True
    slope_eV = float(np.vdot(there.forces_eV_A, step_A))
    return abs(rise_eV) < _ROUNDING_eV and abs(slope_eV) <= _LESS_STEEP * promised_eV


def _shortened(there: _Point, here: _Point) -> float:
    """Return the share of a step that went up at which a parabola through both ends is lowest."""
    promised_eV = float(np.vdot(here.forces_eV_A, there.positions_A - here.positions_A))
    curved_eV = there.energy_eV - here.energy_eV + promised_eV
    return float(np.clip(promised_eV / (2 * curved_eV), 0.1, 0.5)) if np.isfinite(curved_eV) else 0.1


class _Curvature:
    """What a descent knows of the second derivatives: the crystal's, and what its last steps met."""

    def __init__(self, stiffness: Stiffness) -> None:
        self._stiffness = stiffness
        self._pairs: deque[tuple[NDArray[np.float64], NDArray[np.float64], float]] = deque(maxlen=_MEMORY)

    @property
    def is_learned(self) -> bool:
        """Whether it knows more than the crystal."""
        return bool(self._pairs)

    def learn(self, step_A: NDArray[np.float64], lost_eV_A: NDArray[np.float64]) -> None:
        """Take in a step and the forces lost on it, unless it curves down."""
        curved = float(np.vdot(step_A, lost_eV_A))
        if curved > 1e-10 * np.linalg.norm(step_A) * np.linalg.norm(lost_eV_A):
            self._pairs.append((step_A, lost_eV_A, curved))

    def step_A(self, forces_eV_A: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the step (n_atoms, 3) after which no force would be left (the two loops of L-BFGS)."""
        left, shares = forces_eV_A.copy(), []
        for step_A, lost_eV_A, curved in reversed(self._pairs):
            shares.append(float(np.vdot(step_A, left)) / curved)
            left -= shares[-1] * lost_eV_A
        wanted_A = self._stiffness.displacement_A(left)
        for (step_A, lost_eV_A, curved), share in zip(self._pairs, reversed(shares), strict=True):
            wanted_A += (share - float(np.vdot(lost_eV_A, wanted_A)) / curved) * step_A
        return wanted_A
