r"""Descent into the minimum with the crystal's own stiffness as preconditioner.

A cascade disturbs some ten atoms and leaves the rest vibrating about sites whose force constants H are known:
those of the perfect crystal. In the coordinates

.. math:: y = (H + c)^{1/2} (x - x_0)

the energy of a vibrating crystal is nearly a sphere, whose bottom L-BFGS finds in some thirty evaluations, or in a
hundred where there is damage; conjugate gradients in x need 280 and 420. H is a convolution over the cells of the
crystal, so that its powers are 3n x 3n matrices for each wave vector of the box, applied by Fourier transforms.
Forces and energy are those of the potential; but on a slope between two minima its steps, longer than those of
conjugate gradients, may take it to the other one. Of the 15 cascades of a former quickstart 14 ended within 7e-5
eV of where conjugate gradients did, one of 81 eV in a minimum of 8.90 in place of 7.68 eV; 8 % of the CPU time was
saved. A campaign that is compared with others had better not use it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from cascade_driver.simulation.engine import Engine, Minimum

#: Added to the stiffness, eV/A^2: translations have none, and damage is softer than the crystal. Of 0.3, 1 and 3
#: it needed the fewest evaluations, for an 81 eV tungsten recoil in CaWO4.
_SOFTEST_eV_A2 = 1.0

#: Displacement of the central differences of the forces.
_STEP_A = 0.01

#: Pairs of steps that L-BFGS remembers.
_MEMORY = 20

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
    def _modes(self) -> tuple[NDArray[np.float64], NDArray[np.complex128]]:
        """Eigenvalues and vectors of the dynamical matrix without masses, for each wave vector."""
        at_q = np.conj(np.moveaxis(np.fft.fftn(self.force_constants_eV_A2, axes=(1, 2, 3)), 0, 3))
        values, vectors = np.linalg.eigh((at_q + np.conj(np.swapaxes(at_q, -1, -2))) / 2)
        return np.maximum(values, 0.0) + _SOFTEST_eV_A2, vectors

    @cached_property
    def _root(self) -> NDArray[np.complex128]:
        return self._power(0.5)

    @cached_property
    def _inverse_root(self) -> NDArray[np.complex128]:
        return self._power(-0.5)

    def _power(self, exponent: float) -> NDArray[np.complex128]:
        values, vectors = self._modes
        return (vectors * values[..., None, :] ** exponent) @ np.conj(np.swapaxes(vectors, -1, -2))

    def flattened(self, displacement_A: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return y of displacements (n_atoms, 3), flat."""
        return self._applied(self._root, displacement_A)

    def displacement_A(self, y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the displacements (n_atoms, 3) of y, or the gradient by y of a gradient by positions."""
        return self._applied(self._inverse_root, y).reshape(-1, 3)

    def _applied(self, matrix: NDArray[np.complex128], field: NDArray[np.float64]) -> NDArray[np.float64]:
        cells = self.force_constants_eV_A2.shape[1:4]
        at_q = np.fft.fftn(field.reshape(*cells, -1), axes=(0, 1, 2))
        return np.real(np.fft.ifftn((matrix @ at_q[..., None])[..., 0], axes=(0, 1, 2))).ravel()


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


def descend(engine: Engine, stiffness: Stiffness, *, force_tolerance_eV_A: float, max_iterations: int) -> Minimum:
    """Return the local minimum below the state that `engine` holds, its atoms at rest.

    Ends where the norm of all forces is below the tolerance. Where rounding ends the search before, conjugate
    gradients go on from there.
    """
    objective = _Objective(engine, stiffness, force_tolerance_eV_A)
    scipy.optimize.minimize(
        objective.at,
        stiffness.flattened(engine.state()[0] - stiffness.sites_A),
        jac=True,
        method="L-BFGS-B",
        callback=objective.stop_at_the_bottom,
        options={"maxiter": max_iterations, "maxfun": 2 * max_iterations, "maxcor": _MEMORY, "ftol": 0, "gtol": 0},
    )
    # The last point looked at need not be the best one.
    engine.set_positions(objective.best_positions_A)
    return engine.minimise(force_tolerance_eV_A=force_tolerance_eV_A, max_iterations=max_iterations)


class _Objective:
    """Energy and gradient by y; keeps the lowest point."""

    def __init__(self, engine: Engine, stiffness: Stiffness, force_tolerance_eV_A: float) -> None:
        self._engine = engine
        self._stiffness = stiffness
        self._tolerance_eV_A = force_tolerance_eV_A
        self._best_eV = np.inf
        self._best_force_eV_A = np.inf
        self.best_positions_A = engine.state()[0]

    def at(self, y: Any) -> tuple[float, NDArray[np.float64]]:
        """Return the energy and its gradient."""
        positions_A = self._stiffness.sites_A + self._stiffness.displacement_A(y)
        self._engine.set_positions(positions_A)
        energy_eV = self._engine.potential_energy_eV()
        forces_eV_A = self._engine.forces_eV_A()
        if energy_eV < self._best_eV:
            self._best_eV, self.best_positions_A = energy_eV, positions_A
            self._best_force_eV_A = float(np.linalg.norm(forces_eV_A))
        return energy_eV, -self._stiffness.displacement_A(forces_eV_A).ravel()

    def stop_at_the_bottom(self, xk: Any) -> None:
        """End the search where the lowest point is the bottom; SciPy names the argument."""
        del xk
        if self._best_force_eV_A < self._tolerance_eV_A:
            raise StopIteration
