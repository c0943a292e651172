r"""The events of a film: what dislocations radiate that are pinned here and there, and how often.

A dislocation of length L(tau) is a straight line from the interface to the pinning site at the distance h_max:

.. math::
    E_\mathrm{tot}(h_\mathrm{max}, \tau) = \frac{L(\tau)}{h_\mathrm{max}}
        \int_0^{h_\mathrm{max}} E^*(h, \tau)\, dh

Eq. A12-A13 of Romani 2024, doi:10.48550/arXiv.2406.15425. `tabulate` works E* out on a grid that follows the
smallest start from which any phonon above the gap comes, and `sample_events` draws pinning sites and stresses.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, field_validator
from scipy.integrate import cumulative_simpson
from scipy.interpolate import CubicSpline, RectBivariateSpline
from scipy.optimize import brentq

from cascade_driver.binning import rising_energies
from cascade_driver.errors import InputError
from cascade_driver.relaxation.film.dislocation import (
    Film,
    Steps,
    StressSampling,
    Tunnelling,
    depinning_rate_per_mm2_Hz,
    pinned_length_nm,
)
from cascade_driver.relaxation.film.dynamics import Interface, Release, first_turning_distance_nm, release
from cascade_driver.relaxation.film.measured import MeasuredFilm, shipped_or_own
from cascade_driver.schema import build, parameters, read_toml
from cascade_driver.spectrum import UNRESOLVED, Spectrum, check_edges
from cascade_driver.units import SECONDS_PER_DAY

#: The table reaches so many mean pinning distances beyond the first start that counts: 6e-6 of the dislocations
#: that start further out than that first one lie outside.
_MEAN_DISTANCES = 12.0

#: Points per interval of the grid in the integral of E*.
_REFINEMENT = 8

#: Nodes of the table. With these, energies above 1 eV are good to 0.5 %, half of them to 0.01 %.
_START_NODES = 25
_STRESS_NODES = 13

#: Stands for no reach at all.
_SMALLEST_REACH_nm = 1e-6

#: Energies of which the relative interpolation error is stated: smaller ones are below any threshold.
_STATED_ABOVE_eV = 1.0

#: Likewise of the energies that dislocations store per length, for the energy balance.
_STATED_ABOVE_eV_PER_NM = 1e-3


def largest_stress_MPa(film: Film) -> float:
    """Return the largest resolved shear stress that the film's sampling can give."""
    share = 0.5 if film.stress_sampling is StressSampling.WEIGHT else 2.0 / math.sqrt(27.0)
    return share * film.bulk_stress_MPa


def mean_pinning_distance_nm(stress_MPa: ArrayLike, *, film: Film, interface: Interface) -> NDArray[np.float64]:
    r"""Return the mean of the pinning distance h, in nm, the shape of `stress_MPa`.

    .. math:: \Pr(h) = \rho_D L e^{-\rho_D L h}, \quad \langle h \rangle = \frac{1}{\rho_D L(\tau)}

    Eq. 12 and A14 of Romani 2024, doi:10.48550/arXiv.2406.15425, whose printed exponent h/(rho L) has the wrong
    dimension.

    Raises
    ------
    InputError
        If a stress is not positive.
    """
    length = pinned_length_nm(stress_MPa, metal=interface.metal, lock_strength=film.lock_strength)
    return 1.0 / (film.dislocation_density_per_nm2 * length)


@dataclass(frozen=True, kw_only=True, eq=False)
class EnergyTable:
    """Above-gap energy of whole dislocations as a function of pinning distance and stress.

    The grid is in the logarithm of the stress and in s, h = first + (last - first) s^2. E* starts as (h -
    first)^(3/2), so that its cubic root is smooth in s: that is what is interpolated. Made by `tabulate`.

    Attributes
    ----------
    interface : Interface
    film : Film
        Sets the range, the lengths and where starts begin to count.
    stress_MPa : (m,) float
        Nodes. Below the first no dislocation within reach emits anything.
    first_start_nm, last_start_nm : (m,) float
        Ends of the grid; from closer than the first nothing above the gap comes.
    start_share : (n,) float
        s, from 0 to 1.
    crystal_mean_eV_per_nm, film_mean_eV_per_nm : (m, n) float
        Means of E* between `first_start_nm` and h, of the phonons into the crystal and into the film.
    supersonic_start_nm, leaving_start_nm : (m,) float
        Starts from which a dislocation gets faster than sound, and closer than the model reaches; infinite if
        none does.
    interpolation_error : float
        Largest relative error of energies above 1 eV: a seventh of the change from a table of every second node to
        this one, for an interpolation of third order.
    largest_balance_error : float
        Of the energy balance of all trajectories in it that begin with more than 1 meV/nm.
    """

    interface: Interface
    film: Film
    stress_MPa: NDArray[np.float64]
    first_start_nm: NDArray[np.float64]
    last_start_nm: NDArray[np.float64]
    start_share: NDArray[np.float64]
    crystal_mean_eV_per_nm: NDArray[np.float64]
    film_mean_eV_per_nm: NDArray[np.float64]
    supersonic_start_nm: NDArray[np.float64]
    leaving_start_nm: NDArray[np.float64]
    interpolation_error: float
    largest_balance_error: float

    def energy_eV(
        self, pinning_distance_nm: ArrayLike, stress_MPa: ArrayLike, *, into: str = "crystal"
    ) -> NDArray[np.float64]:
        """Return the above-gap energy of dislocations, in eV: Eq. A12 of the module's paper, interpolated.

        Parameters
        ----------
        pinning_distance_nm, stress_MPa : (k,) array_like
            h_max and tau. Beyond the last start of the table the energy is that of the last start.
        into : {'crystal', 'film'}
            Which phonons.

        Raises
        ------
        InputError
            If a stress is above those of the table.
        """
        h = np.asarray(pinning_distance_nm, dtype=np.float64)
        stress = np.asarray(stress_MPa, dtype=np.float64)
        if np.any(stress > self.stress_MPa[-1] * (1 + 1e-9)):
            raise InputError(
                f"a stress of {np.max(stress):g} MPa, but the table ends at "
                f"{self.stress_MPa[-1]:g} MPa; make one for it."
            )
        energy = np.zeros(np.broadcast_shapes(h.shape, stress.shape))
        h, stress = np.broadcast_to(h, energy.shape), np.broadcast_to(stress, energy.shape)
        inside = stress >= self.stress_MPa[0]
        first = np.where(inside, self._first(stress), np.inf)
        inside &= h > first
        log, h, first = np.log(stress[inside]), h[inside], first[inside]
        extent = _extent_nm(stress[inside], first_nm=first, film=self.film, interface=self.interface)
        reach = np.minimum(h - first, extent)
        means = self.crystal_mean_eV_per_nm if into == "crystal" else self.film_mean_eV_per_nm
        spline = RectBivariateSpline(np.log(self.stress_MPa), self.start_share, np.cbrt(means))
        mean = spline.ev(log, np.sqrt(reach / extent)) ** 3
        length = pinned_length_nm(
            stress[inside], metal=self.interface.metal, lock_strength=self.film.lock_strength
        )
        # The spline may dip below 0 at the start, by its error.
        energy[inside] = np.maximum(mean, 0.0) * reach * length / h
        return energy

    def reaches(self, h_nm: ArrayLike, stress_MPa: ArrayLike) -> NDArray[np.bool_]:
        """Return which dislocations begin within the table; none is needed where nothing is emitted."""
        h, stress = np.broadcast_arrays(np.asarray(h_nm, dtype=float), np.asarray(stress_MPa, dtype=float))
        inside = stress >= self.stress_MPa[0]
        found = np.ones(h.shape, dtype=np.bool_)
        first = self._first(stress[inside])
        extent = _extent_nm(stress[inside], first_nm=first, film=self.film, interface=self.interface)
        found[inside] = h[inside] <= first + extent
        return found

    def is_supersonic(self, h_nm: ArrayLike, stress_MPa: ArrayLike) -> NDArray[np.bool_]:
        """Return of which dislocations the outermost part gets faster than sound."""
        return self._is_beyond(self.supersonic_start_nm, h_nm, stress_MPa)

    def leaves_domain(self, h_nm: ArrayLike, stress_MPa: ArrayLike) -> NDArray[np.bool_]:
        """Return of which dislocations the outermost part comes closer than the model reaches."""
        return self._is_beyond(self.leaving_start_nm, h_nm, stress_MPa)

    def _is_beyond(
        self, starts_nm: NDArray[np.float64], h_nm: ArrayLike, stress_MPa: ArrayLike
    ) -> NDArray[np.bool_]:
        """Return which dislocations reach further out than one of the two limits of the model, `starts_nm`."""
        known = np.isfinite(starts_nm)
        if not known.any():
            return np.zeros(np.shape(h_nm), dtype=np.bool_)
        limit = np.interp(np.log(stress_MPa), np.log(self.stress_MPa[known]), starts_nm[known], left=np.inf)
        return np.asarray(h_nm) > limit

    def is_outside(self, h_nm: ArrayLike, stress_MPa: ArrayLike) -> NDArray[np.bool_]:
        """Return which dislocations are pinned further out than the table reaches."""
        stress = np.asarray(stress_MPa, dtype=np.float64)
        first = self._first(stress)
        last = first + _extent_nm(stress, first_nm=first, film=self.film, interface=self.interface)
        return np.asarray((stress >= self.stress_MPa[0]) & (np.asarray(h_nm) > last))

    def _first(self, stress_MPa: NDArray[np.float64]) -> NDArray[np.float64]:
        spline = CubicSpline(np.log(self.stress_MPa), np.log(self.first_start_nm))
        return np.exp(spline(np.log(np.maximum(stress_MPa, self.stress_MPa[0]))))


@dataclass(frozen=True, kw_only=True, eq=False)
class SteppedTable:
    r"""Above-gap energy of whole dislocations as the program behind the printed rates takes it from its grid.

    .. math::
        E_\mathrm{tot} = \frac{L(\tau)}{h_\mathrm{max}} \, \Delta h \sum_{h_j < h_\mathrm{max}} E^*(h_j, \tau_i)

    with the first row tau_i that is not below tau. Made by `tabulate` for films with `Film.steps`.

    Attributes
    ----------
    rows : EnergyTable
        The trajectories; its stresses are the rows.
    crystal_sum_eV_per_nm, film_sum_eV_per_nm : (m, k + 1) float
        Sums over the first 0 to k starts, for each row.
    """

    rows: EnergyTable
    crystal_sum_eV_per_nm: NDArray[np.float64]
    film_sum_eV_per_nm: NDArray[np.float64]

    @property
    def interface(self) -> Interface:
        """That of the trajectories."""
        return self.rows.interface

    @property
    def film(self) -> Film:
        """That of the trajectories."""
        return self.rows.film

    @property
    def interpolation_error(self) -> float:
        """Of the trajectories between the starts that were followed."""
        return self.rows.interpolation_error

    @property
    def largest_balance_error(self) -> float:
        """Of the energy balance of the trajectories."""
        return self.rows.largest_balance_error

    def energy_eV(
        self, pinning_distance_nm: ArrayLike, stress_MPa: ArrayLike, *, into: str = "crystal"
    ) -> NDArray[np.float64]:
        """Return the above-gap energy of dislocations, in eV; as `EnergyTable.energy_eV`.

        Raises
        ------
        InputError
            If a stress is above the last row.
        """
        h, stress = np.broadcast_arrays(np.asarray(pinning_distance_nm, dtype=np.float64), stress_MPa)
        sums = self.crystal_sum_eV_per_nm if into == "crystal" else self.film_sum_eV_per_nm
        step = _steps(self.film).start_nm
        below = np.ceil((h - self.film.lowest_start_nm) / step - 1e-9).astype(np.int64) - 1
        length = pinned_length_nm(stress, metal=self.interface.metal, lock_strength=self.film.lock_strength)
        return np.asarray(sums[self._row(stress), np.clip(below, 0, sums.shape[1] - 1)] * length / h)

    def is_supersonic(self, h_nm: ArrayLike, stress_MPa: ArrayLike) -> NDArray[np.bool_]:
        """Return of which dislocations the outermost part gets faster than sound."""
        return self.rows.is_supersonic(h_nm, self.rows.stress_MPa[self._row(stress_MPa)])

    def leaves_domain(self, h_nm: ArrayLike, stress_MPa: ArrayLike) -> NDArray[np.bool_]:
        """Return of which dislocations the outermost part comes closer than the model reaches."""
        return self.rows.leaves_domain(h_nm, self.rows.stress_MPa[self._row(stress_MPa)])

    def is_outside(self, h_nm: ArrayLike, stress_MPa: ArrayLike) -> NDArray[np.bool_]:
        """Return which dislocations are pinned further out than the table reaches."""
        return self.rows.is_outside(h_nm, self.rows.stress_MPa[self._row(stress_MPa)])

    def _row(self, stress_MPa: ArrayLike) -> NDArray[np.int64]:
        rows, stress = self.rows.stress_MPa, np.asarray(stress_MPa)
        if np.any(stress > rows[-1] * (1 + 1e-9)):
            raise InputError(
                f"a stress of {np.max(stress):g} MPa, but the table ends at {rows[-1]:g} MPa; make one for it."
            )
        return np.minimum(np.searchsorted(rows, stress), len(rows) - 1)


def _steps(film: Film) -> Steps:
    if film.steps is None:
        raise InputError("a film without `steps`, expected one: they are the grid of this table.")
    return film.steps


def tabulate(
    *, film: Film, interface: Interface, start_nodes: int = _START_NODES, stress_nodes: int = _STRESS_NODES
) -> EnergyTable | SteppedTable:
    """Return the table of above-gap energies of a film; some seconds of trajectories.

    Parameters
    ----------
    film : Film
        A table serves any film of at least its dislocation density and otherwise the same.
    interface : Interface
    start_nodes, stress_nodes : int
        Of the grid; odd, at least 7.

    Raises
    ------
    InputError
        If no dislocation of the film emits phonons above the gap, or the number of nodes is not such.
    """
    if min(start_nodes, stress_nodes) < 7 or not (start_nodes % 2 and stress_nodes % 2):
        raise InputError(f"found {start_nodes} and {stress_nodes} nodes, expected odd numbers of at least 7.")
    if interface.gap_distance_nm == 0.0:
        raise InputError(
            f"2 Delta = {interface.pair_breaking_energy_meV:g} meV lies above all phonon energies of the model; "
            "lower pair_breaking_energy_meV."
        )
    highest = largest_stress_MPa(film)
    if film.steps is not None:
        return _stepped(highest, film=film, interface=interface, start_nodes=start_nodes)
    lowest = _lowest_stress_MPa(highest, film=film, interface=interface)
    stresses = np.geomspace(lowest, highest, stress_nodes)
    return _followed(stresses, film=film, interface=interface, start_nodes=start_nodes)[0]


def _stepped(highest_MPa: float, *, film: Film, interface: Interface, start_nodes: int) -> SteppedTable:
    """Return the table of the rows of `Film.steps`: E* between the starts that are followed by spline."""
    steps = _steps(film)
    count = max(1, math.ceil((highest_MPa - steps.lowest_stress_MPa) / steps.stress_MPa - 1e-9))
    stresses = np.array([steps.lowest_stress_MPa + steps.stress_MPa * row for row in range(count + 1)])
    table, crystal, back = _followed(stresses, film=film, interface=interface, start_nodes=start_nodes)
    starts = np.arange(
        film.lowest_start_nm + steps.start_nm, float(table.last_start_nm.max()) + steps.start_nm, steps.start_nm
    )
    extent = (table.last_start_nm - table.first_start_nm)[:, None]
    at = np.sqrt(np.clip((starts - table.first_start_nm[:, None]) / extent, 0.0, 1.0))
    counted = starts > table.first_start_nm[:, None]

    def sums(density: NDArray[np.float64]) -> NDArray[np.float64]:
        spline = CubicSpline(table.start_share, np.cbrt(np.maximum(density, 0.0)), axis=1)
        here = np.array([np.maximum(spline(one)[row], 0.0) ** 3 for row, one in enumerate(at)])
        summed = steps.start_nm * np.cumsum(np.where(counted, here, 0.0), axis=1)
        return np.hstack([np.zeros((len(stresses), 1)), summed])

    return SteppedTable(rows=table, crystal_sum_eV_per_nm=sums(crystal), film_sum_eV_per_nm=sums(back))


def _followed(
    stresses: NDArray[np.float64], *, film: Film, interface: Interface, start_nodes: int
) -> tuple[EnergyTable, NDArray[np.float64], NDArray[np.float64]]:
    """Return the table of some stresses, and E* at its nodes into the crystal and into the film, (m, n) each."""
    share = np.linspace(0.0, 1.0, start_nodes)
    first = np.array([_first_start_nm(float(tau), film=film, interface=interface) for tau in stresses])
    extent = _extent_nm(stresses, first_nm=first, film=film, interface=interface)
    grid = first[:, None] + extent[:, None] * share**2
    runs = [
        [release(float(h), stress_MPa=float(tau), interface=interface, above_gap_only=True) for h in row]
        for tau, row in zip(stresses, grid, strict=True)
    ]
    lengths = pinned_length_nm(stresses, metal=interface.metal, lock_strength=film.lock_strength)[:, None]
    crystal = np.array([[run.crystal_above_gap_eV_per_nm for run in row] for row in runs])
    back = np.array([[run.film_above_gap_eV_per_nm for run in row] for row in runs])
    table = EnergyTable(
        interface=interface,
        film=film,
        stress_MPa=stresses,
        first_start_nm=first,
        last_start_nm=first + extent,
        start_share=share,
        crystal_mean_eV_per_nm=_running_means(crystal, share),
        film_mean_eV_per_nm=_running_means(back, share),
        supersonic_start_nm=np.array(
            [
                _supersonic_start_nm(r, h, interface.metal.transverse_speed_km_s)
                for r, h in zip(runs, grid, strict=True)
            ]
        ),
        leaving_start_nm=np.array(
            [_leaving_start_nm(r, h, t, interface) for r, h, t in zip(runs, grid, stresses, strict=True)]
        ),
        interpolation_error=_halving_error(
            crystal,
            None if film.steps else np.log(stresses),
            share,
            lengths * (grid - first[:, None]) / grid,
        ),
        largest_balance_error=max(
            abs(run.balance_error) for row in runs for run in row if run.stored_eV_per_nm > _STATED_ABOVE_eV_PER_NM
        ),
    )
    return table, crystal, back


def held_below_nm(stress_MPa: ArrayLike, *, interface: Interface) -> NDArray[np.float64]:
    """Return how far out a dislocation may be pinned and still be drawn to the interface, one for each stress.

    Further out the free surface of the film pulls more strongly than the stress; infinite without a thickness, 0
    where it does so everywhere.
    """
    stress = np.asarray(stress_MPa, dtype=np.float64)
    return interface.images.brink_nm(interface.pull_eV_per_nm2(1.0) * stress)


def _extent_nm(
    stress_MPa: ArrayLike, *, first_nm: ArrayLike, film: Film, interface: Interface
) -> NDArray[np.float64]:
    """Return the range of starts of the table, from the first that counts to the last, for each stress.

    Some mean pinning distances, or what is held; without a kink between the two.
    """
    whole = _MEAN_DISTANCES * mean_pinning_distance_nm(stress_MPa, film=film, interface=interface)
    held = held_below_nm(stress_MPa, interface=interface) - np.asarray(first_nm)
    return np.asarray((whole**-4 + np.maximum(held, _SMALLEST_REACH_nm) ** -4) ** -0.25)


def _first_start_nm(stress_MPa: float, *, film: Film, interface: Interface) -> float:
    """Return the smallest start, beyond the place of rest, that leads to radiation above the gap."""
    gap, rest = interface.gap_distance_nm, interface.rest_distance_nm(stress_MPa)
    floor = max(film.lowest_start_nm, interface.closest_distance_nm)
    if rest <= gap:
        return max(rest, floor)

    def miss(log_start: float) -> float:
        start = math.exp(log_start)
        return math.log(first_turning_distance_nm(start, stress_MPa=stress_MPa, interface=interface) / gap)

    low, high = math.log(1.001 * rest), math.log(2.0 * rest)
    if miss(low) <= 0:  # The place of rest lies so close to the gap that any swing reaches it.
        return max(math.exp(low), floor)
    brink = math.log(held_below_nm(stress_MPa, interface=interface))
    while miss(min(high, brink)) > 0:
        if high >= brink:
            return max(math.exp(brink), floor)
        low, high = high, high + math.log(2.0)
    high = min(high, brink)
    return max(math.exp(brentq(miss, low, high, xtol=1e-5)), floor)


def _lowest_stress_MPa(highest_MPa: float, *, film: Film, interface: Interface) -> float:
    """Return the stress below which even the furthest dislocation emits nothing above the gap."""

    def room(log_stress: float) -> float:
        stress = math.exp(log_stress)
        reach = _MEAN_DISTANCES * float(mean_pinning_distance_nm(stress, film=film, interface=interface))
        if film.largest_start_nm is not None:
            reach = min(reach, film.largest_start_nm)
        reach = min(reach, float(held_below_nm(stress, interface=interface)))
        if reach == 0.0:  # the free surface pulls more strongly everywhere
            return -1.0
        return math.log(max(reach, _SMALLEST_REACH_nm) / _first_start_nm(stress, film=film, interface=interface))

    high = math.log(highest_MPa)
    if room(high) <= 0:
        raise InputError(
            f"no dislocation of this film ({film.dislocation_spacing_nm:g} nm apart, {film.bulk_stress_MPa:g} MPa)"
            " emits phonons above the gap: there are no events; expected a lower density, a higher stress, "
            f"{'a thicker film, ' if interface.thickness_nm else ''}or a smaller gap."
        )
    low = high - 1.0
    while room(low) > 0:
        low -= 1.0
    return math.exp(brentq(room, low, high, xtol=1e-2))  # Energies vanish there: 1 % is close enough.


def _running_means(density: NDArray[np.float64], share: NDArray[np.float64]) -> NDArray[np.float64]:
    r"""Return the means of E* from the first start up to each, (m, n).

    .. math:: s^{-2} \int_0^s E^*(s')\, 2 s'\, ds'
    """
    fine = np.linspace(0.0, 1.0, _REFINEMENT * (len(share) - 1) + 1)
    root = CubicSpline(share, np.cbrt(np.maximum(density, 0.0)), axis=1)(fine)
    integral = cumulative_simpson(root**3 * 2.0 * fine, x=fine, axis=1, initial=0.0)[:, ::_REFINEMENT]
    means = np.maximum(density, 0.0)
    means[:, 1:] = np.maximum(integral[:, 1:], 0.0) / share[1:] ** 2
    return means


def _halving_error(
    density: NDArray[np.float64],
    log_stress: NDArray[np.float64] | None,
    share: NDArray[np.float64],
    factor: NDArray[np.float64],
) -> float:
    """Return the interpolation error of energies above 1 eV, relative: a seventh of what half the nodes change.

    `factor`, (m, n), turns the means into energies. Without stresses nothing is interpolated between rows.
    """
    fine = _running_means(density, share)
    if log_stress is None:
        half = np.cbrt(_running_means(density[:, ::2], share[::2]))
        guess = CubicSpline(share[::2], half, axis=1)(share) ** 3
    else:
        half = np.cbrt(_running_means(density[::2, ::2], share[::2]))
        guess = RectBivariateSpline(log_stress[::2], share[::2], half)(log_stress, share) ** 3
    counted = fine * factor > _STATED_ABOVE_eV
    return float(np.max(np.abs(guess - fine)[counted] / fine[counted])) / 7.0 if counted.any() else 0.0


def _supersonic_start_nm(runs: list[Release], starts: NDArray[np.float64], sound_km_s: float) -> float:
    """Return the start from which a dislocation gets faster than sound, between two nodes by their speeds."""
    speeds = np.array([run.largest_speed_km_s for run in runs])
    if not np.any(speeds > sound_km_s):
        return math.inf
    index = int(np.argmax(speeds > sound_km_s))
    if index == 0:
        return float(starts[0])
    return float(np.interp(sound_km_s, speeds[index - 1 : index + 1], starts[index - 1 : index + 1]))


def _leaving_start_nm(runs: list[Release], starts: NDArray[np.float64], tau: float, interface: Interface) -> float:
    out = [run.left_domain for run in runs]
    if not any(out):
        return math.inf
    index = out.index(True)
    if index == 0:
        return float(starts[0])
    low, high = float(starts[index - 1]), float(starts[index])
    while high - low > 1e-3 * high:
        middle = 0.5 * (low + high)
        if release(middle, stress_MPa=tau, interface=interface, above_gap_only=True).left_domain:
            high = middle
        else:
            low = middle
    return 0.5 * (low + high)


@dataclass(frozen=True, kw_only=True, eq=False)
class FilmEvents:
    """Simulated depinning events of a film.

    Attributes
    ----------
    energy_eV : (n,) float
        Above-gap energy into the crystal; 0 for those that emit none.
    energy_into_film_eV : (n,) float
        Above-gap energy that turns back into the film.
    stress_MPa, pinning_distance_nm : (n,) float
    is_supersonic, leaves_domain : (n,) bool
        The outermost part of the dislocation gets faster than sound; comes closer than the model reaches. In both
        cases the energy is the model's, outside its domain.
    is_beyond_table : (n,) bool
        Pinned further out than the table reaches, where the energy of its end is taken.
    nonzero_cut_eV : float
    """

    energy_eV: NDArray[np.float64]
    energy_into_film_eV: NDArray[np.float64]
    stress_MPa: NDArray[np.float64]
    pinning_distance_nm: NDArray[np.float64]
    is_supersonic: NDArray[np.bool_]
    leaves_domain: NDArray[np.bool_]
    is_beyond_table: NDArray[np.bool_]
    nonzero_cut_eV: float

    @property
    def is_nonzero(self) -> NDArray[np.bool_]:
        """(n,) which events have above-gap energy in the crystal."""
        return self.energy_eV > self.nonzero_cut_eV

    def share_of_nonzero(self, flag: NDArray[np.bool_]) -> float:
        """Return which share of the non-zero events has a flag; 0 if there are none."""
        nonzero = self.is_nonzero
        return float(np.mean(flag[nonzero])) if nonzero.any() else 0.0


def sample_stresses_MPa(size: int, *, film: Film, generator: np.random.Generator) -> NDArray[np.float64]:
    r"""Return resolved shear stresses, (size,), as the film's `StressSampling` draws them.

    .. math:: \tau = \frac{\sigma_0}{2} \sin 2\theta, \quad \Pr(\theta) = \cos\theta, \quad 0 \le \theta \le \pi/2

    Eq. 13-14 of Romani 2024, doi:10.48550/arXiv.2406.15425: sin(theta) is uniform.
    """
    uniform = generator.random(size)
    if film.stress_sampling is StressSampling.WEIGHT:
        return film.bulk_stress_MPa * uniform * np.sqrt(1.0 - uniform**2)
    theta = 0.5 * math.pi * uniform
    return np.asarray(0.5 * film.bulk_stress_MPa * np.sin(2.0 * theta) * np.cos(theta), dtype=np.float64)


def sample_events(
    table: EnergyTable | SteppedTable, *, film: Film, size: int, generator: np.random.Generator
) -> FilmEvents:
    """Return depinning events: stresses by `sample_stresses_MPa`, distances by the exponential law of Eq. 12.

    Parameters
    ----------
    table : EnergyTable or SteppedTable
        Of this film, or of one with a lower dislocation density.
    film : Film
    size : int
    generator : numpy.random.Generator

    Raises
    ------
    InputError
        If the table is of another film, or the size not positive.
    """
    if size < 1:
        raise InputError(f"{size} events asked for, expected at least 1.")
    same = ("lock_strength", "largest_start_nm", "lowest_start_nm", "steps")
    wrong = [name for name in same if getattr(film, name) != getattr(table.film, name)]
    if wrong or film.dislocation_spacing_nm > table.film.dislocation_spacing_nm * (1 + 1e-12):
        raise InputError(
            f"the table is of another film ({', '.join(wrong) or 'dislocation_spacing_nm'}): make one for it."
        )
    stress = sample_stresses_MPa(size, film=film, generator=generator)
    # Exactly 0 happens in one of 2^53 draws.
    stress = np.maximum(stress, 1e-12 * film.bulk_stress_MPa)
    mean = mean_pinning_distance_nm(stress, film=film, interface=table.interface)
    limit = -np.expm1(-(film.largest_start_nm or np.inf) / mean)
    h = -mean * np.log1p(-limit * generator.random(size))
    is_held = h < held_below_nm(stress, interface=table.interface)
    return FilmEvents(
        energy_eV=np.where(is_held, table.energy_eV(h, stress), 0.0),
        energy_into_film_eV=np.where(is_held, table.energy_eV(h, stress, into="film"), 0.0),
        stress_MPa=stress,
        pinning_distance_nm=h,
        is_supersonic=table.is_supersonic(h, stress),
        leaves_domain=table.leaves_domain(h, stress),
        is_beyond_table=table.is_outside(h, stress),
        nonzero_cut_eV=film.nonzero_cut_eV,
    )


@parameters
class FilmBackground:
    """All that decides the background of a film in a detector: the input of `cascade background film`.

    Attributes
    ----------
    title : str
        For people.
    film : Film
    interface : Interface
    tunnelling : Tunnelling
    film_area_mm2 : float
        Of all films on the detector.
    detector_mass_kg : float
        Of the crystal that its spectra are per kg of.
    days_since_cooldown : float
        Age of the film when the spectrum is taken.
    energy_eV : (float, float)
        Range of the spectrum.
    bins : int
    events : int
        Simulated depinning events, with and without energy.
    seed : int
    other_spacings_nm : tuple of float
        Dislocation spacings of further films, for comparison.
    measured : tuple of MeasuredFilm
        Spectra to be drawn with it or fitted, each of a detector of its own.
    scale : float, optional
        Each film a second time in the figure, pale, times this; Fig. 6 of the paper has 0.1.
    """

    title: str = "film"
    film: Film = Film()
    interface: Interface = Interface()
    tunnelling: Tunnelling = Tunnelling()
    film_area_mm2: float = Field(gt=0)
    detector_mass_kg: float = Field(gt=0)
    days_since_cooldown: float = Field(default=7.0, gt=0)
    energy_eV: tuple[float, float] = (1.0, 201.0)
    bins: int = Field(default=100, ge=1, le=100_000)
    events: int = Field(default=1_000_000, ge=1, le=100_000_000)
    seed: int = Field(default=1, ge=0)
    other_spacings_nm: tuple[Annotated[float, Field(gt=0)], ...] = ()
    measured: tuple[MeasuredFilm, ...] = ()
    scale: float | None = Field(default=None, gt=0)

    @property
    def reading(self) -> str:
        """Which reading of the paper it is, and what that means for its printed rates, in a sentence."""
        if (thickness := self.interface.thickness_nm) is not None:
            return f"under the free surface of a film of {thickness:g} nm, which the paper lacks: less than there"
        if self.film.steps is not None and self.film.stress_sampling is StressSampling.PROGRAM:
            return "the steps of the published program, which the paper's printed rates and Fig. 6 were made with"
        if self.film.steps is None and self.film.stress_sampling is StressSampling.WEIGHT:
            return (
                "Eq. 1-16 as printed: 1.5 to 5.5 times the printed rates, 2 to 35 times Fig. 6 of the paper; "
                "film-published.toml has the steps of its program"
            )
        return "between Eq. 1-16 and the published program: neither the printed equations nor the printed rates"

    def films(self) -> list[FilmBackground]:
        """Return the films to be shown: this one, and those of the other spacings."""
        others = [dataclasses.replace(self.film, dislocation_spacing_nm=s) for s in self.other_spacings_nm]
        return [self, *(dataclasses.replace(self, film=film, other_spacings_nm=()) for film in others)]

    def detectors(self, own: Sequence[Path] = ()) -> list[MeasuredFilm]:
        """Return what was measured: `measured`, and files of this detector."""
        here = {n: getattr(self, n) for n in ("film_area_mm2", "detector_mass_kg", "days_since_cooldown")}
        return [*self.measured, *(MeasuredFilm(file=str(path), **here) for path in own)]

    _rises = field_validator("energy_eV")(rising_energies)


def read_film_background(
    path: Path | None = None, options: Mapping[str, Any] | None = None, **sections: Mapping[str, Any]
) -> FilmBackground:
    """Return the input of a film's background: a TOML file, options over it.

    Parameters
    ----------
    path : Path, optional
        The file; one that ships (`film.toml`) is found by its name.
    options : mapping, optional
        Values for the fields of `FilmBackground`, which replace those of the file.
    **sections : mapping
        Values for the fields of `film`, `interface` or `tunnelling`; those that are None are left out.

    Raises
    ------
    InputError
        With one line for the first thing that is wrong.
    """
    content = ({} if path is None else read_toml(shipped_or_own(path))) | dict(options or {})
    for name, values in sections.items():
        given = {key: value for key, value in values.items() if value is not None}
        section = content.get(name, {})
        if given and isinstance(section, dict):
            content[name] = section | given
    return build(FilmBackground, content, origin="arguments" if path is None else str(path))


@dataclass(frozen=True, kw_only=True, eq=False)
class FilmSpectrum:
    """The energies of a film's events and their rates per mm2.

    Attributes
    ----------
    energy_edges_eV : (n + 1,) float
    events_per_bin : (n,) int
        Simulated; their square roots are the statistical errors.
    simulated_events : int
        Of any energy, also none.
    depinning_rate_per_mm2_Hz : float
        Of any energy, also none: Eq. 16 of Romani 2024, doi:10.48550/arXiv.2406.15425.
    nonzero_share : float
        Of the events, above the film's cut.
    supersonic_share, outside_domain_share, beyond_table_share : float
        Of the non-zero events: flagged in `FilmEvents`.
    crystal_share : float
        Of the above-gap energy.
    interpolation_error : float
        Of the table, relative, for energies above 1 eV.
    background : FilmBackground
    """

    energy_edges_eV: NDArray[np.float64]
    events_per_bin: NDArray[np.int64]
    simulated_events: int
    depinning_rate_per_mm2_Hz: float
    nonzero_share: float
    supersonic_share: float
    outside_domain_share: float
    beyond_table_share: float
    crystal_share: float
    interpolation_error: float
    background: FilmBackground = field(repr=False)

    @property
    def nonzero_rate_per_mm2_Hz(self) -> float:
        """Rate of the events that have above-gap energy in the crystal."""
        return self.nonzero_share * self.depinning_rate_per_mm2_Hz

    @property
    def rate_per_mm2_s_eV(self) -> NDArray[np.float64]:
        """(n,) differential rate per area of film."""
        share = self.events_per_bin / self.simulated_events
        return share * self.depinning_rate_per_mm2_Hz / np.diff(self.energy_edges_eV)

    def in_detector(self) -> Spectrum:
        """Return the spectrum in the detector, per kg, day and keV, in the project's form."""
        wanted = self.background
        per_kg_day = (
            self.depinning_rate_per_mm2_Hz * wanted.film_area_mm2 * SECONDS_PER_DAY / wanted.detector_mass_kg
        )
        metal = wanted.interface.metal
        return Spectrum.from_counts(
            energy_edges_eV=self.energy_edges_eV,
            counts_per_kg_day={UNRESOLVED: self.events_per_bin / self.simulated_events * per_kg_day},
            energy_kind="observed",
            metadata={
                "source": f"dislocations of a {metal.name} film, above-gap phonons into the crystal",
                "model": "Romani 2024, arXiv 2406.15425",
                "film_area_mm2": repr(wanted.film_area_mm2),
                "detector_mass_kg": repr(wanted.detector_mass_kg),
                "days_since_cooldown": repr(wanted.days_since_cooldown),
                "dislocation_spacing_nm": repr(wanted.film.dislocation_spacing_nm),
                "bulk_stress_MPa": repr(wanted.film.bulk_stress_MPa),
                "stress_sampling": str(wanted.film.stress_sampling.value),
                "reading": wanted.reading,
                "shear_modulus_GPa": repr(metal.shear_modulus_GPa),
                "pair_breaking_energy_meV": repr(wanted.interface.pair_breaking_energy_meV),
                "image_force": str(wanted.interface.image_force.value),
                "frequency_form": str(wanted.interface.frequency_form.value),
                "inertia": str(wanted.interface.inertia.value),
                "gamma": repr(wanted.tunnelling.gamma(metal)),
                "simulated_events": repr(self.simulated_events),
                "seed": repr(wanted.seed),
                "interpolation_error": f"{self.interpolation_error:.2g}",
                "supersonic_share": f"{self.supersonic_share:.4g}",
                "outside_domain_share": f"{self.outside_domain_share:.4g}",
            },
        )


def film_spectrum(background: FilmBackground, *, table: EnergyTable | SteppedTable | None = None) -> FilmSpectrum:
    """Return the simulated spectrum of a film: Sec. VI of Romani 2024, doi:10.48550/arXiv.2406.15425.

    Parameters
    ----------
    background : FilmBackground
    table : EnergyTable or SteppedTable, optional
        Made by default, which takes longer than a million events.

    Raises
    ------
    InputError
        If the film emits nothing, or the table is of another one.
    """
    film, interface = background.film, background.interface
    low, high = background.energy_eV
    edges = check_edges(np.linspace(low, high, background.bins + 1))
    if table is None:
        table = tabulate(film=film, interface=interface)
    elif table.interface != interface:
        raise InputError("the table is of another interface: make one for this.")
    generator = np.random.default_rng(background.seed)
    events = sample_events(table, film=film, size=background.events, generator=generator)
    counts, _ = np.histogram(events.energy_eV[events.is_nonzero], bins=edges)
    crystal, back = float(events.energy_eV.sum()), float(events.energy_into_film_eV.sum())
    rate = depinning_rate_per_mm2_Hz(
        background.days_since_cooldown * SECONDS_PER_DAY,
        film=film,
        metal=interface.metal,
        tunnelling=background.tunnelling,
    )
    return FilmSpectrum(
        energy_edges_eV=edges,
        events_per_bin=counts,
        simulated_events=background.events,
        depinning_rate_per_mm2_Hz=float(rate),
        nonzero_share=float(np.mean(events.is_nonzero)),
        supersonic_share=events.share_of_nonzero(events.is_supersonic),
        outside_domain_share=events.share_of_nonzero(events.leaves_domain),
        beyond_table_share=events.share_of_nonzero(events.is_beyond_table),
        crystal_share=crystal / (crystal + back) if crystal + back > 0 else 0.0,
        interpolation_error=table.interpolation_error,
        background=background,
    )


def film_table(backgrounds: Sequence[FilmBackground]) -> EnergyTable | SteppedTable:
    """Return the table that serves films which differ in their dislocations: of the one with the longest paths."""
    widest = max(backgrounds, key=lambda one: one.film.dislocation_spacing_nm)
    return tabulate(film=widest.film, interface=widest.interface)


def film_spectra(
    backgrounds: Sequence[FilmBackground], *, table: EnergyTable | SteppedTable | None = None
) -> list[FilmSpectrum]:
    """Return the spectra of films that differ in their dislocations, by one table for all, see `film_table`."""
    table = table or film_table(backgrounds)
    return [film_spectrum(one, table=table) for one in backgrounds]
