"""A spectrum beside itself: without and with the loss to stored energy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cascade_driver.spectra.ensemble import SpectrumBands
from cascade_driver.spectra.spectrum import Spectrum, rebin

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, kw_only=True)
class CorrectedPair:
    """A spectrum without and with the loss to stored energy, all else equal.

    Attributes
    ----------
    name : str
        Short, fit for a file name.
    title : str
        For people.
    expected : Spectrum
        As if no recoil stored energy.
    observed : Spectrum
        With the stored energy taken off. Its bins may reach further down: observed energies are lower.
    threshold_eV : float, optional
        Of the detector, if both went through one.
    complete_below_eV : float, optional
        Above it the observed spectrum lacks what recoils beyond the range of `expected` would bring, and is
        drawn pale. By default all is taken as complete.
    bands : SpectrumBands, optional
        Errors of `observed`, in the bins of `expected`.
    """

    name: str
    title: str
    expected: Spectrum
    observed: Spectrum
    threshold_eV: float | None = None
    complete_below_eV: float | None = None
    bands: SpectrumBands | None = None

    @property
    def observed_in_same_bins(self) -> Spectrum:
        """The observed spectrum in the bins of the expected one."""
        return rebin(self.observed, self.expected.energy_edges_eV)

    @property
    def ratio(self) -> NDArray[np.float64]:
        """(n,) observed to expected rate in the n bins of `expected`; nan where none is expected."""
        expected = self.expected.total_rate_per_kg_day_keV
        observed = self.observed_in_same_bins.total_rate_per_kg_day_keV
        return np.divide(observed, expected, out=np.full_like(expected, np.nan), where=expected > 0)

    @property
    def is_complete(self) -> NDArray[np.bool_]:
        """(n,) which bins of `expected` lie below `complete_below_eV`; all if that is not set."""
        limit = math.inf if self.complete_below_eV is None else self.complete_below_eV
        return self.expected.energy_edges_eV[1:] <= limit * (1 + 1e-9)  # an edge that rounding puts a hair above
