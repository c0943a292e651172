"""Daily modulation of dark matter by stored energy alone: the wind turns, and some axes store more than others."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field

from cascade_driver.analysis.model import SpeciesModel, fit_stored_energy_model
from cascade_driver.analysis.outcomes import usable_cascades
from cascade_driver.analysis.response import observed_edges
from cascade_driver.analysis.uncertainty import bootstrap_replicas, central_replica
from cascade_driver.errors import InputError
from cascade_driver.kinds import Array
from cascade_driver.simulation.outcome import CascadeTable
from cascade_driver.sources.dark_matter import HaloModel
from cascade_driver.spectra.correction import counts_by_species, species_of_elements
from cascade_driver.spectra.recoil_direction import in_the_wind
from cascade_driver.spectrum import Spectrum, overlap_counts
from cascade_driver.target import parse_target

#: Resampled campaigns behind the errors.
N_REPLICAS = 200


@dataclass(frozen=True, kw_only=True, eq=False)
class DailyModulation:
    """Counts above a threshold at a series of times.

    Attributes
    ----------
    counts_per_kg_day : (t,) float
        As if each time lasted.
    deviation : (t,) float
        Relative difference from their mean.
    deviation_error : (t,) float
        Its standard error by the cascades: directions drawn with replacement, the same at all times.
    """

    counts_per_kg_day: Array
    deviation: Array
    deviation_error: Array

    @property
    def amplitude(self) -> float:
        """Half the difference of the largest and the smallest deviation; noise alone makes it positive, too."""
        return float(np.ptp(self.deviation) / 2)

    @property
    def significance(self) -> float:
        """Root mean square of deviation over error: about 1 if there is nothing but noise."""
        known = self.deviation_error > 0
        return (
            float(np.sqrt(np.mean((self.deviation[known] / self.deviation_error[known]) ** 2)))
            if known.any()
            else 0.0
        )


def times_of(date: datetime.date, *, times: Annotated[int, Field(ge=1)] = 12) -> list[datetime.datetime]:
    """Return even times from midnight, UTC.

    Parameters
    ----------
    date : datetime.date
    times : int
        Of that day.
    """
    start = datetime.datetime.combine(date, datetime.time(), tzinfo=datetime.UTC)
    return [start + datetime.timedelta(days=i / times) for i in range(times)]


def crystal_from_laboratory(
    *, up: tuple[float, float, float] = (0, 0, 1), east: tuple[float, float, float] = (1, 0, 0)
) -> Array:
    """Return the (3, 3) matrix from the frame of the laboratory (east, north, zenith) to that of the crystal.

    Parameters
    ----------
    up : (3,) float
        Direction in the crystal that points to the zenith.
    east : (3,) float
        Direction that points east, as far as it is not along `up`.

    Raises
    ------
    InputError
        If one is zero, or both are parallel.
    """
    z, x = np.asarray(up, dtype=np.float64), np.asarray(east, dtype=np.float64)
    if z.shape != (3,) or x.shape != (3,) or not (np.all(np.isfinite(z)) and np.all(np.isfinite(x))):
        raise InputError(f"crystal with {z.tolist()} up and {x.tolist()} to the east: give three numbers each")
    length = float(np.linalg.norm(z))
    if length > 0:
        z = z / length
        x = x - z * (x @ z)
    width = float(np.linalg.norm(x))
    if length == 0 or width < 1e-6:
        raise InputError(f"crystal with {np.asarray(up).tolist()} up and {np.asarray(east).tolist()} to the east: "
                         "give two directions that are not parallel")  # fmt: skip
    x = x / width
    return np.stack([x, np.cross(z, x), z], axis=1)


def daily_modulation(
    spectrum: Spectrum,
    table: CascadeTable,
    *,
    velocities_km_s: ArrayLike,
    mass_GeV: float,
    rotations: Mapping[str, Array],
    threshold_eV: float,
    fallback_species: str | None = None,
    allow_failures: bool = False,
    halo: HaloModel | None = None,
    n_replicas: int = N_REPLICAS,
) -> DailyModulation:
    """Return how the counts above a threshold vary because recoils come from other directions.

    The recoil spectrum stays the same; at each time the cascades are weighted as the wind sends them
    (`in_the_wind`), fitted anew, and the spectrum corrected by that fit. Each species is taken as its most
    abundant isotope.

    Parameters
    ----------
    spectrum : Spectrum
        Of recoil energies, of dark matter of that mass.
    table : CascadeTable
        Of all species that were simulated.
    velocities_km_s : (t, 3) array_like
        Of the detector in the galaxy, in the crystal frame.
    mass_GeV : float
    rotations : mapping of str to (g, 3, 3) float
        Point group of the site of each species.
    threshold_eV : float
        Of observed energy.
    fallback_species : str, optional
        As in `correct`.
    allow_failures : bool
        As in `usable_cascades`.
    halo : HaloModel, optional
    n_replicas : int

    Raises
    ------
    InputError
        If an element has no response, or nothing is left above the threshold.
    FitError
        If the cascades of some time do not allow a fit.
    """
    used = species_of_elements(spectrum.rate_per_kg_day_keV, list(rotations), fallback_species)
    counts = counts_by_species(spectrum.counts_per_kg_day, used)
    recoil = spectrum.energy_edges_eV
    edges = observed_edges(recoil)
    above = np.array([threshold_eV, max(float(edges[-1]), threshold_eV + 1e-9)])

    def seen(folded: Array) -> Array:
        return np.array([overlap_counts(row / np.diff(edges), edges, above)[0] for row in folded])

    velocities = np.atleast_2d(np.asarray(velocities_km_s, dtype=np.float64))
    central = np.zeros(len(velocities))
    drawn = np.zeros((len(velocities), n_replicas))
    for number, (species, of) in enumerate(counts.items()):
        part = table.select(table.species == species)
        isotope = max(parse_target(species).isotopes, key=lambda i: i.mass_fraction)
        for time, velocity in enumerate(velocities):
            blown = in_the_wind(
                part,
                velocity_km_s=velocity,
                mass_GeV=mass_GeV,
                isotope=isotope,
                rotations=rotations[species],
                halo=halo,
            )
            model: SpeciesModel = fit_stored_energy_model(blown, allow_failures=allow_failures, n_bootstrap=0)[
                species
            ]
            cascades = usable_cascades(blown, species=species, allow_failures=allow_failures)
            # the same seed at all times: the same directions are drawn, so that differences keep their errors;
            # another one for each species: their errors are independent though they have as many directions
            rng = np.random.default_rng([0, number])
            replicas = bootstrap_replicas(cascades, model, n_replicas=n_replicas, unit="direction", rng=rng)
            central[time] += seen(central_replica(model).fold(of, recoil_edges_eV=recoil))[0]
            drawn[time] += seen(replicas.fold(of, recoil_edges_eV=recoil))
    mean = float(central.mean())
    if not mean > 0:
        raise InputError(f"no counts are observed above {threshold_eV:g} eV: choose a lower threshold")
    return DailyModulation(
        counts_per_kg_day=central,
        deviation=central / mean - 1,
        deviation_error=(drawn / drawn.mean(axis=0) - 1).std(axis=1),
    )
