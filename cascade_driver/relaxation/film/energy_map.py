"""What whole dislocations radiate over pinning distance and stress: Fig. 5 of Romani 2024, as numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cascade_driver.errors import InputError
from cascade_driver.relaxation.film.spectrum import EnergyTable, SteppedTable


@dataclass(frozen=True, kw_only=True, eq=False)
class EnergyMap:
    """Above-gap energy of whole dislocations on a grid, Eq. A12 of Romani 2024, doi:10.48550/arXiv.2406.15425.

    Attributes
    ----------
    pinning_distance_nm : (n,) float
    stress_MPa : (m,) float
    crystal_eV, film_eV : (m, n) float
        Into the crystal and back into the film; nan where dislocations begin beyond the table.
    is_supersonic : (m, n) bool
        Whether the outermost part gets faster than sound.
    """

    pinning_distance_nm: NDArray[np.float64]
    stress_MPa: NDArray[np.float64]
    crystal_eV: NDArray[np.float64]
    film_eV: NDArray[np.float64]
    is_supersonic: NDArray[np.bool_]

    @property
    def crystal_share(self) -> NDArray[np.float64]:
        """(m, n) share of the above-gap energy that goes into the crystal; nan where there is none."""
        both = self.crystal_eV + self.film_eV
        return np.asarray(np.divide(self.crystal_eV, both, out=np.full(both.shape, np.nan), where=both > 0))

    def as_csv(self) -> str:
        """Return the map as a table, a line per distance and stress."""
        lines = ["pinning_distance_nm,stress_MPa,crystal_eV,film_eV,crystal_share,supersonic"]
        share = self.crystal_share
        for i, stress in enumerate(self.stress_MPa):
            for j, h in enumerate(self.pinning_distance_nm):
                found = (self.crystal_eV[i, j], self.film_eV[i, j], share[i, j])
                told = ",".join("" if np.isnan(one) else f"{one:.6g}" for one in found)
                lines.append(f"{h:.6g},{stress:.6g},{told},{int(self.is_supersonic[i, j])}")
        return "\n".join(lines) + "\n"


def map_energies(
    table: EnergyTable | SteppedTable,
    *,
    pinning_distance_nm: ArrayLike | None = None,
    stress_MPa: ArrayLike | None = None,
) -> EnergyMap:
    """Return what dislocations of a table radiate over pinning distance and stress.

    Parameters
    ----------
    table : EnergyTable or SteppedTable
        The latter's trajectories are taken without its steps.
    pinning_distance_nm : (n,) array_like, optional
        By default 10 to 400 nm, the range of the figure.
    stress_MPa : (m,) array_like, optional
        By default from 20 MPa to the largest of the table.

    Raises
    ------
    InputError
        If a distance or stress is not positive, or a stress above those of the table.
    """
    table = table.rows if isinstance(table, SteppedTable) else table
    largest = float(table.stress_MPa[-1])
    h = np.asarray(np.linspace(10, 400, 79) if pinning_distance_nm is None else pinning_distance_nm, dtype=float)
    lowest = max(min(20.0, 0.3 * largest), float(table.stress_MPa[0]))
    tau = np.asarray(np.linspace(lowest, largest, 41) if stress_MPa is None else stress_MPa, dtype=float)
    if not (np.all(h > 0) and np.all(tau > 0)):
        raise InputError(f"distances from {h.min():g} nm and stresses from {tau.min():g} MPa, expected above 0.")
    distances, stresses = np.broadcast_arrays(h[None, :], tau[:, None])
    beyond = ~table.reaches(distances, stresses)
    return EnergyMap(
        pinning_distance_nm=h,
        stress_MPa=tau,
        crystal_eV=np.where(beyond, np.nan, table.energy_eV(distances, stresses)),
        film_eV=np.where(beyond, np.nan, table.energy_eV(distances, stresses, into="film")),
        is_supersonic=table.is_supersonic(distances, stresses),
    )
