r"""How far a model moves a line, with the model's own error.

A fit of a spectrum (`line_fit`) has the error of its counts; what the model behind an expected spectrum does not
know is in none of its numbers. Here a line is recoils of one energy alone: without neighbours, without background.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cascade_driver.analysis.model import StoredEnergyModel
from cascade_driver.errors import InputError
from cascade_driver.spectra.ensemble import SAME_AS
from cascade_driver.spectra.observe import observe
from cascade_driver.spectrum import Spectrum

#: Width of the bins; recoils that store less than half of it count as storing nothing.
_BIN_eV = 0.5


@dataclass(frozen=True, kw_only=True)
class ModelShift:
    """What a model makes of a line.

    Attributes
    ----------
    species : str
    energy_eV : float
        Of the recoils.
    storing_share : float
        Of them, in the peak that moves; the others stay where they are.
    shift_eV, error_eV : float
        Mean distance of that peak, below 0, and its standard error: of all parts.
    parts_eV : mapping of str to float
        Root mean square of what each component of the error band moves it by.
    """

    species: str
    energy_eV: float
    storing_share: float
    shift_eV: float
    error_eV: float
    parts_eV: Mapping[str, float]


def model_shifts(model: StoredEnergyModel, *, at_eV: Sequence[float]) -> list[ModelShift]:
    """Return how far recoils of single energies are moved by what they store, for each species of a model.

    Parameters
    ----------
    model : StoredEnergyModel
    at_eV : sequence of float
        Recoil energies.

    Raises
    ------
    InputError
        If an energy cannot be, or lies outside what was simulated and the model is not to be extrapolated.
    """
    if wrong := [e for e in at_eV if not (math.isfinite(e) and e > 2 * _BIN_eV)]:
        raise InputError(f"a line at {wrong[0]:g} eV, expected a recoil energy above {2 * _BIN_eV:g} eV")
    return [_shift(model, species, energy) for species in model.species for energy in at_eV]


def _shift(model: StoredEnergyModel, species: str, energy_eV: float) -> ModelShift:
    bins = math.floor(energy_eV / _BIN_eV)
    edges = energy_eV + _BIN_eV * (np.arange(bins + 1, dtype=np.float64) - bins + 0.5)
    rate = np.zeros(bins)
    rate[-1] = 1.0
    # Half of the line's own bin lies above it: a line at the highest simulated energy is no extrapolation.
    within = energy_eV <= model[species].maximum_recoil_energy_eV
    law = replace(model, extrapolate=model.extrapolate or within)
    seen = observe(Spectrum(energy_edges_eV=edges, rate_per_kg_day_keV={species: rate}), law)
    nominal, stored = _moved_eV(seen.observed.total_rate_per_kg_day_keV, seen.observed.energy_edges_eV, energy_eV)
    parts = {}
    bands = seen.bands
    for name, band in bands.components.items() if bands is not None else ():
        members = band.members_per_kg_day_keV
        if bands is not None and members is not None and SAME_AS.get(name) not in bands.components:
            moved, _ = _moved_eV(members, bands.energy_edges_eV, energy_eV)
            parts[name] = float(np.sqrt(np.nanmean((moved - nominal) ** 2)))
    return ModelShift(
        species=species,
        energy_eV=energy_eV,
        storing_share=float(stored),
        shift_eV=float(nominal),
        error_eV=math.hypot(*parts.values()) if parts else math.nan,
        parts_eV=parts,
    )


def _moved_eV(
    rate: NDArray[np.float64], edges_eV: NDArray[np.float64], energy_eV: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean distance of all below the line's own bin, nan if nothing does, and its share, (...)."""
    distance = (edges_eV[:-1] + edges_eV[1:]) / 2 - energy_eV
    below = distance < -_BIN_eV / 2
    total = rate[..., below].sum(axis=-1)
    mean = rate[..., below] @ distance[below] / np.where(total > 0, total, np.nan)
    return np.asarray(mean), np.asarray(total / rate.sum(axis=-1))
