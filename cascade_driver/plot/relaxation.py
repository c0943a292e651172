"""Figures of what relaxes later: aluminium films and tunnelling systems."""

from __future__ import annotations

import itertools
import math
import textwrap
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from numpy.typing import NDArray

from cascade_driver.errors import InputError
from cascade_driver.kinds import Array
from cascade_driver.relaxation.tls.damping import (
    MetalState,
    Resonator,
    TunnellingSystems,
    low_temperature_damping_per_s,
    mode_damping_Hz,
    phonon_rate_constant_per_eV_s,
    plateau_per_s,
)
from cascade_driver.relaxation.tls.damping_fit import DampingData
from cascade_driver.relaxation.tls.density import (
    CountedDensity,
    DensityFit,
    PowerLawDensity,
    gaussian_density_per_K,
)
from cascade_driver.relaxation.tls.properties import GlassProperties
from cascade_driver.spectrum import Spectrum
from cascade_driver.text import value_with_error
from cascade_driver.units import SECONDS_PER_DAY

if TYPE_CHECKING:
    from cascade_driver.relaxation.debris.glass import Afterglow, PairWindow
    from cascade_driver.relaxation.debris.pairs import Debris, MeanRelease
    from cascade_driver.relaxation.film.decay import DecayFit, RateSeries
    from cascade_driver.relaxation.film.dynamics import FreedDislocation, Interface, Release, Trajectory
    from cascade_driver.relaxation.film.energy_map import EnergyMap
    from cascade_driver.relaxation.film.measured import MeasuredFilm
    from cascade_driver.relaxation.film.spectrum import FilmSpectrum
    from cascade_driver.relaxation.film.spectrum_fit import FilmFit
    from cascade_driver.relaxation.tls.frequency import FrequencyNoise, ShiftData, ShiftFit
    from cascade_driver.relaxation.tls.loss_fit import LossFit
    from cascade_driver.relaxation.tls.properties_fit import PropertyFit
from cascade_driver.plot.spectra import RATE_LABEL
from cascade_driver.plot.style import (
    BAND_ALPHA,
    DATA_COLOUR,
    MODEL_COLOUR,
    PAIR_COLOURS,
    QUALITATIVE_MARK,
    QUIET_COLOUR,
    RATE_DECADES,
    COLUMN_WIDTH_in,
    as_drawn,
    dress,
    finished,
    legend,
    new_axes,
    styled,
)


@styled
def film_spectra_figure(
    spectra: Sequence[FilmSpectrum],
    *,
    measured: Sequence[tuple[MeasuredFilm, Spectrum]] = (),
    scale: float | None = None,
) -> Figure:
    """Return spectra of the events of films per area of film, as in Fig. 6 of Romani 2024.

    Parameters
    ----------
    spectra : sequence of FilmSpectrum
        Of the same bins, named by their dislocation spacing.
    measured : sequence of (MeasuredFilm, Spectrum)
        Films of detectors and what these saw, drawn as if it came from the film, at the age of the first spectrum;
        with the errors of their counts where the exposure is told.
    scale : float, optional
        Each spectrum a second time, pale, times this.

    Raises
    ------
    InputError
        If there is no spectrum.
    """
    figure = Figure(figsize=(COLUMN_WIDTH_in, 2.9), layout="constrained")
    axes = draw_film_spectra(spectra, measured=measured, scale=scale, ax=figure.subplots())
    entries = len(axes.get_legend_handles_labels()[1])
    if entries > 4:
        figure.set_figheight(2.9 + 0.16 * ((entries + 1) // 2))
    legend(axes, below=entries > 4)
    return finished(figure)


@styled
def draw_film_spectra(
    spectra: Sequence[FilmSpectrum],
    *,
    measured: Sequence[tuple[MeasuredFilm, Spectrum]] = (),
    scale: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw what `film_spectra_figure` shows, but for the legend, into these axes or new ones; return them."""
    if not spectra:
        raise InputError("a figure of film spectra without a spectrum: give at least one")
    axes = ax or new_axes()
    dress(axes)
    first = spectra[0].background
    for number, spectrum in enumerate(spectra):
        colour = PAIR_COLOURS[1 + number % (len(PAIR_COLOURS) - 1)]
        rate, edges = spectrum.rate_per_mm2_s_eV, spectrum.energy_edges_eV
        name = f"$\\rho_D$ = ({spectrum.background.film.dislocation_spacing_nm:g} nm)$^{{-2}}$"
        axes.stairs(
            np.where(rate > 0, rate, np.nan), edges, baseline=None, color=colour, label=name, linewidth=1.2
        )
        if scale is not None:
            pale = np.where(rate > 0, scale * rate, np.nan)
            axes.stairs(pale, edges, baseline=None, color=colour, alpha=0.4, label=f"{name} × {scale:g}")
    for number, (detector, one) in enumerate(measured):
        _draw_measured(axes, detector, one, age_days=first.days_since_cooldown, number=number)
    axes.set_yscale("log")
    top = max(float(s.rate_per_mm2_s_eV.max()) for s in spectra)
    if top > 0:
        axes.set_ylim(top / 10**RATE_DECADES, 2 * top)
    axes.set_xlim(0, float(max(s.energy_edges_eV[-1] for s in spectra)))
    axes.set_xlabel("phonon energy above the gap, into the crystal (eV)")
    axes.set_ylabel(r"rate (mm$^{-2}$ s$^{-1}$ eV$^{-1}$)")
    axes.set_title(
        f"{first.interface.metal.name} film, $\\sigma_0$ = {first.film.bulk_stress_MPa:g} MPa, "
        f"{first.days_since_cooldown:g} days after cooldown",
        loc="left",
        fontsize=6.5,
        color=QUIET_COLOUR,
    )
    return axes


def _draw_measured(axes: Axes, detector: MeasuredFilm, one: Spectrum, *, age_days: float, number: int) -> None:
    """Draw what a detector saw per area of its film, with the errors of its counts where they are known."""
    from cascade_driver.relaxation.film.measured import counts_of

    rate = detector.per_film_area(one, reference_days=age_days)
    shown = np.where(rate > 0, rate, np.nan)
    label = as_drawn(detector.called)
    if "exposure_kg_day" not in one.metadata:
        style = ("--", ":", "-.")[number % 3]
        axes.stairs(shown, one.energy_edges_eV, baseline=None, linestyle=style, color=DATA_COLOUR, label=label)
        return
    events = counts_of(one, name=detector.called).events
    error = np.divide(rate, np.sqrt(events), out=np.zeros(len(rate)), where=events > 0)
    # One event: the lower end of the bar is not on a logarithmic axis.
    lower = np.minimum(error, 0.99 * rate)
    axes.errorbar(
        one.energy_centers_eV,
        shown,
        yerr=[lower, error],
        fmt="os^D"[number % 4],
        markersize=2,
        markerfacecolor=DATA_COLOUR if number % 2 == 0 else "white",
        linewidth=0.6,
        color=DATA_COLOUR,
        label=label,
    )


@styled
def film_fit_figure(fit: FilmFit) -> Figure:
    """Return measured spectra with the film that fits them, a panel each; dashed its flat part.

    Parameters
    ----------
    fit : FilmFit
    """
    figure = Figure(figsize=(COLUMN_WIDTH_in, 0.6 + 2.0 * len(fit.spectra)), layout="constrained")
    panels = np.atleast_1d(figure.subplots(len(fit.spectra), 1, sharex=True))
    for axes, one in zip(panels, fit.spectra, strict=True):
        dress(axes)
        rate, error = (values / one.exposure_per_rate for values in (one.events, np.sqrt(one.events)))
        centres = 0.5 * (one.energy_edges_eV[1:] + one.energy_edges_eV[:-1])
        axes.errorbar(
            centres,
            np.where(rate > 0, rate, np.nan),
            yerr=[np.minimum(error, 0.99 * rate), error],
            fmt="o",
            markersize=2,
            linewidth=0.6,
            color=DATA_COLOUR,
            label=as_drawn(one.name),
        )
        for values, style, label in ((one.expected, "-", "film and flat part"), (one.flat, "--", "flat part")):
            if values.max() > 0:
                shown = values / one.exposure_per_rate
                axes.stairs(
                    shown, one.energy_edges_eV, baseline=None, color=MODEL_COLOUR, linestyle=style, label=label
                )
        axes.set_yscale("log")
        positive = rate[rate > 0] if rate.any() else one.expected / one.exposure_per_rate
        axes.set_ylim(0.3 * float(positive.min()), 3 * float(positive.max()))
        axes.set_ylabel(RATE_LABEL)
        legend(axes)
    panels[-1].set_xlabel("phonon energy (eV)")
    return finished(figure)


@styled
def film_decay_figure(series: RateSeries, fit: DecayFit) -> Figure:
    """Return a rate against the time since the cooldown, with the power law that fits it and the best one of 1/t.

    Parameters
    ----------
    series : RateSeries
    fit : DecayFit
    """
    figure = Figure(figsize=(COLUMN_WIDTH_in, 2.6), layout="constrained")
    draw_film_decay(series, fit, ax=figure.subplots())
    return finished(figure)


def _draw_points(axes: Axes, x: Array, y: Array, error: Array | None) -> None:
    """Draw measured points of one kind, with their errors where there are any."""
    axes.errorbar(x, y, yerr=error, fmt="o", markersize=2.5, linewidth=0.7, color=DATA_COLOUR, label="measured")


@styled
def draw_film_decay(series: RateSeries, fit: DecayFit, *, ax: Axes | None = None) -> Axes:
    """Draw what `film_decay_figure` shows into axes or into new ones; return them."""
    from cascade_driver.relaxation.film.decay import power_law

    axes = ax or new_axes()
    dress(axes)
    _draw_points(axes, series.time_days, series.rate, series.rate_error)
    time = np.geomspace(series.time_days.min(), series.time_days.max(), 101)
    rate, exponent, constant = (fit.parameters[name].value for name in ("rate", "exponent", "constant"))
    drawn = (
        (exponent, "-", f"$t^{{-{exponent:.2f}}}$" if exponent >= 0 else f"$t^{{{-exponent:.2f}}}$"),
        (1.0, ":", "$t^{-1}$, same rate in the middle"),
    )
    for power, style, label in drawn:
        law = power_law(time, rate, power, constant, reference_days=fit.reference_days)
        axes.plot(time, law, color=MODEL_COLOUR, linestyle=style, label=label)
    axes.set_xscale("log")
    if np.all(series.rate > series.rate_error):
        axes.set_yscale("log")
    axes.set_xlabel("time since the cooldown (days)")
    axes.set_ylabel("rate")
    legend(axes)
    return axes


@styled
def film_map_figure(found: EnergyMap, *, interface: Interface) -> Figure:
    """Return above-gap energy and crystal's share over pinning distance and stress, as Fig. 5 of Romani.

    Right of the dotted line the outermost part of the dislocation gets faster than sound. Blank is what begins
    beyond the table of the film, whose dislocations lie closer: a wider `--spacing-nm` reaches further.

    Parameters
    ----------
    found : EnergyMap
    interface : Interface

    Raises
    ------
    InputError
        If no dislocation radiates.
    """
    energy = np.ma.masked_invalid(found.crystal_eV)
    if not energy.max() > 0:
        raise InputError("a map without any energy: choose larger distances or stresses")
    figure = Figure(figsize=(COLUMN_WIDTH_in, 4.6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    h, tau = found.pinning_distance_nm, found.stress_MPa
    decades = [1.0, 2, 5, 10, 20, 50, 100, 200, 400, 800, 1600, 3200, 6400]
    levels = [one for one in decades if one < energy.max()] or [0.5 * float(energy.max())]
    drawn = upper.contour(h, tau, energy, levels=levels, colors=[MODEL_COLOUR], linewidths=0.9)
    upper.clabel(drawn, fmt="%g eV", fontsize=6)
    share = np.ma.masked_invalid(found.crystal_share)
    shares = lower.contour(h, tau, share, levels=np.arange(0.8, 1.0, 0.02), colors=[MODEL_COLOUR], linewidths=0.9)
    lower.clabel(shares, fmt="%.2f", fontsize=6)
    for axes in (upper, lower):
        dress(axes)
        if found.is_supersonic.any() and not found.is_supersonic.all():
            fast = found.is_supersonic.astype(float)
            axes.contour(h, tau, fast, levels=[0.5], colors=[QUIET_COLOUR], linestyles=":", linewidths=1.0)
        axes.set_ylabel("resolved shear stress (MPa)")
    lower.set_xlabel("pinning site from the interface (nm)")
    for axes, said in ((upper, "above-gap energy into the crystal"), (lower, "its share, from 0.8")):
        title = f"{interface.metal.name}: {said}; dotted: faster than sound"
        axes.set_title(title, loc="left", fontsize=6.5, color=QUIET_COLOUR)
    return finished(figure)


@styled
def film_overlay_figure(film: Spectrum, others: Sequence[tuple[str, Spectrum]]) -> Figure:
    """Return the background of a film in a detector, laid over other spectra of the same detector.

    Parameters
    ----------
    film : Spectrum
    others : sequence of (str, Spectrum)
        Names and spectra, such as corrected ones of dark matter and of neutrinos.

    Raises
    ------
    InputError
        If all rates are zero.
    """
    figure = Figure(figsize=(COLUMN_WIDTH_in, 2.9), layout="constrained")
    draw_film_overlay(film, others, ax=figure.subplots())
    return finished(figure)


@styled
def draw_film_overlay(film: Spectrum, others: Sequence[tuple[str, Spectrum]], *, ax: Axes | None = None) -> Axes:
    """Draw what `film_overlay_figure` shows into axes or into new ones; return them."""
    drawn = [("film", film), *others]
    tops = [float(one.total_rate_per_kg_day_keV.max()) for _, one in drawn]
    if max(tops) <= 0:
        raise InputError("every spectrum is zero in its range: choose a range with some rate")
    axes = ax or new_axes()
    dress(axes)
    for number, (name, one) in enumerate(drawn):
        rate = one.total_rate_per_kg_day_keV
        colour = PAIR_COLOURS[(1 - number if number < 2 else number) % len(PAIR_COLOURS)]
        shown = np.where(rate > 0, rate, np.nan)
        label = as_drawn(textwrap.fill(name, 48))
        stairs = partial(axes.stairs, edges=one.energy_edges_eV, baseline=None, color=colour, linewidth=1.2)
        whole = _is_complete(one)
        stairs(np.where(whole, shown, np.nan), label=label)
        if not whole.all():
            stairs(np.where(whole, np.nan, shown), alpha=0.3)
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(numticks=8))
    lowest = min(top for top in tops if top > 0)
    axes.set_ylim(lowest / 10 ** (RATE_DECADES - 2), 3 * max(tops))
    axes.set_xlim(0, float(max(one.energy_edges_eV[-1] for _, one in drawn)))
    axes.set_xlabel("observed energy (eV)")
    axes.set_ylabel(RATE_LABEL)
    legend(axes)
    return axes


def _is_complete(spectrum: Spectrum) -> NDArray[np.bool_]:
    """Return (n,) in which bins of a corrected spectrum no recoil is missing; of others it is not said."""
    edges = spectrum.energy_edges_eV
    if spectrum.observation is None:
        return np.ones(len(edges) - 1, dtype=bool)
    low, high = spectrum.observation.complete_eV or (np.inf, -np.inf)
    return np.asarray((edges[:-1] >= low) & (edges[1:] <= high))


def _release_title(start_nm: float, stress_MPa: float, interface: Interface) -> str:
    return f"{interface.metal.name}, released {start_nm:.3g} nm from the interface at {stress_MPa:g} MPa"


def film_dynamics_figures(freed: FreedDislocation) -> dict[str, Figure]:
    """Return the figures of a dislocation that comes free, by name: its motion, its phonons, beside others."""
    stress_MPa, interface = freed.stress_MPa, freed.interface
    return {
        "motion": film_motion_figure(freed.path, stress_MPa=stress_MPa, interface=interface),
        "phonons": film_phonons_figure(freed.path, stress_MPa=stress_MPa, interface=interface),
        "release": film_release_figure(freed.others),
    }


@styled
def film_motion_figure(path: Trajectory, *, stress_MPa: float, interface: Interface) -> Figure:
    """Return distance, speed, phonon energy and radiated power of a dislocation against time, as Fig. 3 of Romani.

    Shaded is where it moves toward the interface and radiates into the crystal; Romani 2024,
    doi:10.48550/arXiv.2406.15425.

    Parameters
    ----------
    path : Trajectory
    stress_MPa : float
        The resolved shear stress it was released at.
    interface : Interface
    """
    figure = Figure(figsize=(COLUMN_WIDTH_in, 5.0), layout="constrained")
    panels = figure.subplots(4, 1, sharex=True)
    drawn = (
        (path.distance_nm, "distance (nm)"),
        (path.speed_km_s, "speed (km/s)"),
        (path.phonon_energy_meV, r"$\hbar\omega$ (meV)"),
        (path.radiated_power_eV_per_nm_ps, "power\n(eV nm$^{-1}$ ps$^{-1}$)"),
    )
    for axes, (values, label) in zip(panels, drawn, strict=True):
        dress(axes)
        axes.plot(path.time_ps, values, color=DATA_COLOUR, linewidth=1.0)
        axes.fill_between(
            path.time_ps,
            0,
            1,
            where=(path.speed_km_s < 0).tolist(),
            transform=axes.get_xaxis_transform(),
            color=MODEL_COLOUR,
            alpha=0.15,
            linewidth=0,
        )
        axes.set_ylabel(label)
    sound = interface.metal.transverse_speed_km_s
    if np.abs(path.speed_km_s).max() > 0.8 * sound:
        for limit in (-sound, sound):
            panels[1].axhline(limit, color=QUIET_COLOUR, linestyle=":", linewidth=0.8)
    panels[2].axhline(interface.pair_breaking_energy_meV, color="#009e73", linestyle=":", linewidth=1.0)
    panels[2].set_ylim(0, None)
    panels[0].set_ylim(0, None)
    highest = float(path.radiated_power_eV_per_nm_ps.max())
    panels[3].set_yscale("log", nonpositive="mask")
    panels[3].set_ylim(1e-5 * highest, 2 * highest)
    panels[-1].set_xlabel("time (ps)")
    panels[-1].set_xlim(0, _end_of_the_swing_ps(path))
    title = _release_title(float(path.distance_nm[0]), stress_MPa, interface)
    panels[0].set_title(title, loc="left", fontsize=6.5, color=QUIET_COLOUR)
    return finished(figure)


def _end_of_the_swing_ps(path: Trajectory) -> float:
    """When all but 1e-5 is radiated: what follows is a line."""
    done = np.flatnonzero(path.radiated_eV_per_nm >= (1 - 1e-5) * path.radiated_eV_per_nm[-1])
    return float(path.time_ps[done[0]] or path.time_ps[-1])


def _radiated_by_phonon_energy(
    path: Trajectory, edges_meV: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what went into crystal and film per bin of phonon energy, in eV/nm.

    Between turning points the phonon energy is monotone in time: the radiated energy is read there at the edges.
    """
    crystal, film = (np.zeros(len(edges_meV) - 1) for _ in range(2))
    toward = path.speed_km_s < 0
    turns = np.flatnonzero(toward[1:] != toward[:-1]) + 1
    bounds = [0, *turns.tolist(), len(toward) - 1]
    for first, last in itertools.pairwise(bounds):
        if last <= first:
            continue
        energy, radiated = path.phonon_energy_meV[first : last + 1], path.radiated_eV_per_nm[first : last + 1]
        rising = np.argsort(energy, kind="stable")
        gained = np.abs(np.diff(np.interp(edges_meV, energy[rising], radiated[rising])))
        into = crystal if toward[(first + last) // 2] else film
        into += gained
    return crystal, film


@styled
def film_phonons_figure(path: Trajectory, *, stress_MPa: float, interface: Interface) -> Figure:
    """Return the spectrum of the phonons that a dislocation radiates into crystal and film, as Fig. 4 of Romani.

    Parameters
    ----------
    path : Trajectory
    stress_MPa : float
        The resolved shear stress it was released at.
    interface : Interface
    """
    figure = Figure(figsize=(COLUMN_WIDTH_in, 2.5), layout="constrained")
    draw_film_phonons(path, stress_MPa=stress_MPa, interface=interface, ax=figure.subplots())
    return finished(figure)


@styled
def draw_film_phonons(
    path: Trajectory, *, stress_MPa: float, interface: Interface, ax: Axes | None = None
) -> Axes:
    """Draw what `film_phonons_figure` shows into axes or into new ones; return them."""
    edges = np.linspace(0, 1.02 * float(path.phonon_energy_meV.max()), 61)
    crystal, film = _radiated_by_phonon_energy(path, edges)
    width = edges[1] - edges[0]
    axes = ax or new_axes()
    dress(axes)
    for values, colour, name in (
        (crystal, PAIR_COLOURS[2], "into the crystal"),
        (film, PAIR_COLOURS[1], "into the film"),
    ):
        shown = np.where(values > 0, values / width, np.nan)
        axes.stairs(shown, edges, baseline=None, color=colour, linewidth=1.2, label=name)
    gap = interface.pair_breaking_energy_meV
    axes.axvline(gap, color=QUIET_COLOUR, linestyle=":", linewidth=1.0, label=f"gap, {gap:g} meV")
    axes.set_yscale("log")
    top = float(crystal.max() / width)
    axes.set_ylim(top / 10 ** (RATE_DECADES - 1), 3 * top)
    axes.set_xlim(0, float(edges[-1]))
    axes.set_xlabel("phonon energy (meV)")
    axes.set_ylabel(r"radiated (eV nm$^{-1}$ meV$^{-1}$)")
    title = _release_title(float(path.distance_nm[0]), stress_MPa, interface)
    axes.set_title(title, loc="left", fontsize=6.5, color=QUIET_COLOUR)
    legend(axes)
    return axes


@styled
def film_release_figure(releases: Mapping[float, Sequence[tuple[float, Release]]]) -> Figure:
    """Return the energy above the gap per length into the crystal, and its share, against the start.

    What Fig. 5 of Romani shows as contours; dashed where the dislocation gets faster than sound.

    Parameters
    ----------
    releases : mapping of float to sequence of (float, Release)
        For each resolved shear stress in MPa the starts in nm, rising, and what came of them.

    Raises
    ------
    InputError
        If there is nothing to draw.
    """
    from cascade_driver.relaxation.film.dynamics import Course

    if not any(releases.values()):
        raise InputError("a figure of released dislocations without one: give at least one stress and one start")
    figure = Figure(figsize=(COLUMN_WIDTH_in, 4.0), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    for number, (stress, rows) in enumerate(releases.items()):
        start = np.array([h for h, _ in rows])
        crystal = np.array([one.crystal_above_gap_eV_per_nm for _, one in rows])
        both = crystal + np.array([one.film_above_gap_eV_per_nm for _, one in rows])
        slow = np.array([one.course is Course.INSIDE for _, one in rows])
        # The last slow start joins both lines.
        fast = ~slow
        fast[:-1] |= fast[1:]
        colour = PAIR_COLOURS[1 + number % (len(PAIR_COLOURS) - 1)]
        share = np.divide(crystal, both, out=np.full(len(both), np.nan), where=both > 0)
        for axes, values in ((upper, crystal), (lower, share)):
            axes.plot(start, np.where(slow, values, np.nan), color=colour, label=f"{stress:g} MPa")
            axes.plot(start, np.where(fast, values, np.nan), color=colour, linestyle="--")
    for axes in (upper, lower):
        dress(axes)
        axes.set_ylim(0, None)
    upper.set_ylabel("above the gap, into\nthe crystal (eV nm$^{-1}$)")
    lower.set_ylabel("share of crystal\nabove the gap")
    lower.set_ylim(0, 1)
    lower.set_xlabel("start from the interface (nm)")
    upper.set_title("dashed: gets faster than sound", loc="left", fontsize=6.5, color=QUIET_COLOUR)
    legend(upper)
    return finished(figure)


@styled
def tls_damping_figure(
    *,
    systems: TunnellingSystems,
    resonator: Resonator,
    temperature_K: NDArray[np.float64],
    data: DampingData | None,
) -> Figure:
    """Return the damping of a resonator by tunnelling systems against temperature, in both states of the metal.

    Curves of the model with the limits of the superconducting one, dashed; data with their errors, filled in the
    normal state (Fig. 3 of Maillet et al. 2023, doi:10.1103/PhysRevB.107.064104).
    """
    figure = Figure(figsize=(COLUMN_WIDTH_in, 2.6), layout="constrained")
    draw_tls_damping(
        systems=systems, resonator=resonator, temperature_K=temperature_K, data=data, ax=figure.subplots()
    )
    return finished(figure)


@styled
def draw_tls_damping(
    *,
    systems: TunnellingSystems,
    resonator: Resonator,
    temperature_K: NDArray[np.float64],
    data: DampingData | None,
    ax: Axes | None = None,
) -> Axes:
    """Draw what `tls_damping_figure` shows into axes or into new ones; return them."""
    axes = ax or new_axes()
    dress(axes)
    lowest = math.inf
    states: tuple[MetalState, ...] = (
        ("normal", "superconducting") if systems.charged_fraction else ("superconducting",)
    )
    for metal in states:
        colour = PAIR_COLOURS[2] if metal == "normal" else MODEL_COLOUR
        damping = mode_damping_Hz(temperature_K, systems=systems, resonator=resonator, metal=metal)
        lowest = min(lowest, float(damping.min()))
        axes.plot(temperature_K, damping, color=colour, label=metal)
        if data is not None:
            chosen = data.is_normal == (metal == "normal")
            axes.errorbar(
                data.temperature_K[chosen],
                data.damping_Hz[chosen],
                yerr=data.damping_error_Hz[chosen],
                fmt="o",
                markersize=3,
                color=colour,
                markerfacecolor=colour if metal == "normal" else "white",
                linewidth=0.8,
            )
    cold = low_temperature_damping_per_s(
        temperature_K,
        strength=systems.strength,
        rate_constant_per_eV_s=float(
            phonon_rate_constant_per_eV_s(strain_coupling_eV=systems.strain_coupling_eV, resonator=resonator)
        ),
        exponent=resonator.phonon_exponent,
        energy_eV=resonator.beam_energy_eV,
    )
    plateau = plateau_per_s(strength=systems.strength, mode_frequency_Hz=resonator.mode_frequency_Hz)
    for limit_per_s, label in ((cold, "limits"), (np.full_like(temperature_K, plateau), None)):
        damping = limit_per_s / (2 * np.pi)
        axes.plot(temperature_K, damping, label=label, color=QUIET_COLOUR, linestyle="--", linewidth=0.8, zorder=0)
    axes.set(xscale="log", yscale="log", ylim=(0.7 * lowest, 1.6 * plateau / (2 * np.pi)))
    axes.set_xlim(float(temperature_K.min()), float(temperature_K.max()))
    axes.set_xlabel("temperature (K)")
    axes.set_ylabel(r"damping $\Gamma/2\pi$ (Hz)")
    legend(axes)
    return axes


@styled
def frequency_shift_figure(data: ShiftData, fit: ShiftFit) -> Figure:
    """Return frequency shifts against temperature with the fitted law, as Fig. 2 (b) of Maillet et al. 2023.

    Dashed the logarithm alone, where the cube counts.
    """
    figure = Figure(figsize=(COLUMN_WIDTH_in, 2.6), layout="constrained")
    draw_frequency_shift(data, fit, ax=figure.subplots())
    return finished(figure)


@styled
def draw_frequency_shift(data: ShiftData, fit: ShiftFit, *, ax: Axes | None = None) -> Axes:
    """Draw what `frequency_shift_figure` shows into axes or into new ones; return them."""
    axes = ax or new_axes()
    dress(axes)
    error = None if data.shift_error is None else 1e6 * data.shift_error
    _draw_points(axes, data.temperature_K, 1e6 * data.shift, error)
    time = np.geomspace(data.temperature_K.min(), data.temperature_K.max(), 201)
    C, T_0, D = (one.value for one in fit.parameters.values())
    if D:
        axes.plot(time, 1e6 * C * np.log(time / T_0), color=MODEL_COLOUR, linestyle="--", label="logarithm alone")
    label = f"C = {C:.3g}" + (f", D = {D:.2g} K$^{{-3}}$" if D else "")
    axes.plot(time, 1e6 * fit.shift(time), color=MODEL_COLOUR, label=label)
    axes.set_xscale("log")
    axes.set_xlabel("temperature (K)")
    axes.set_ylabel(r"$\delta\omega_0/\omega_0$ (10$^{-6}$)")
    legend(axes)
    return axes


@styled
def frequency_noise_figure(noise: FrequencyNoise) -> Figure:
    """Return spectrum and Allan deviation of a frequency, as Fig. 4 of Maillet et al. 2023.

    The spectrum is shown as means over a tenth of a decade; it was fitted without.
    """
    figure = Figure(figsize=(COLUMN_WIDTH_in, 4.2), layout="constrained")
    upper, lower = figure.subplots(2, 1)
    f, power = noise.spectrum_Hz, noise.power_Hz2_Hz
    bins = np.floor(10 * np.log10(f / f[0])).astype(int)
    number = np.bincount(bins)
    kept = number > 0
    x, y = (np.bincount(bins, weights=w)[kept] / number[kept] for w in (f, power))
    dress(upper)
    upper.errorbar(x, y, yerr=y / np.sqrt(number[kept]), fmt="o", markersize=2.5, linewidth=0.7, color=DATA_COLOUR)
    label = f"$1/f^\\mu$, $\\mu$ = {noise.exponent.value:.2f}"
    upper.plot(f, noise.density_Hz2_Hz(f), color=MODEL_COLOUR, label=label)
    upper.set_ylabel("frequency noise (Hz$^2$/Hz)")
    upper.set_xlabel("frequency of the noise (Hz)")
    dress(lower)
    lower.plot(noise.averaging_s, noise.allan_deviation_Hz, "o-", markersize=2.5, color=DATA_COLOUR, linewidth=0.8)
    lower.set_xlabel("averaged over (s)")
    lower.set_ylabel("Allan deviation (Hz)")
    for axes in (upper, lower):
        axes.set_xscale("log")
        axes.set_yscale("log")
    legend(upper)
    return finished(figure)


@styled
def tls_density_figure(counted: CountedDensity, *, fits: Sequence[DensityFit], random_field_K: float) -> Figure:
    """Return the density of states of a glass at each temperature that was fitted, and at zero.

    Left all energies with the exact Gaussian without interactions, right the low ones with their fits (Fig. 1 of
    Churkin et al. 2021).
    """
    figure = Figure(figsize=(2 * COLUMN_WIDTH_in, 2.6), layout="constrained")
    wide, low = figure.subplots(1, 2)
    energy = np.geomspace(1e-2, 80, 400)
    wide.plot(
        energy,
        gaussian_density_per_K(energy, random_field_K=random_field_K),
        color=QUIET_COLOUR,
        linestyle="--",
        label="no interaction",
    )
    for axes, edges in ((wide, np.linspace(0, 80, 41)), (low, np.linspace(0, 3, 16))):
        dress(axes)
        for fit, colour in zip(fits, PAIR_COLOURS, strict=False):
            n = np.diff(counted.integral(edges, fit.temperature_K)) / np.diff(edges)
            axes.stairs(n, edges, color=colour, linewidth=0.9, label=f"{fit.temperature_K:g} K")
        axes.set_xlabel(r"excitation energy $E = 2|\Delta|$ (K)")
        axes.set_ylabel("density of states $n$ (1/K), both signs")
        axes.set_ylim(bottom=0)
    for fit, colour in zip(fits, PAIR_COLOURS, strict=False):
        E = np.linspace(0.01 * fit.highest_K, fit.highest_K, 100)
        density = PowerLawDensity(prefactor=fit.prefactor, exponent=fit.exponent, cutoff_K=1e6)
        low.plot(E, density.per_K(E, fit.temperature_K), color=colour, linewidth=1.6)
    low.set_xlim(0, 3)
    legend(wide)
    return finished(figure)


@styled
def glass_properties_figure(drawn: Sequence[tuple[str, GlassProperties]]) -> Figure:
    """Return heat conduction, specific heat, sound velocity and dielectric constant against temperature.

    Conductivity over T^2 and specific heat over T, which the standard model has flat; relative changes of sound
    velocity and dielectric constant against the logarithm of temperature (Fig. 3 to 5 of Churkin et al. 2021).

    Parameters
    ----------
    drawn : sequence of (str, GlassProperties)
        Names and properties; few temperatures are drawn as points.
    """
    figure = Figure(figsize=(2 * COLUMN_WIDTH_in, 4.4), layout="constrained")
    panels = figure.subplots(2, 2, sharex=True).ravel()
    for (name, one), colour in zip(drawn, PAIR_COLOURS, strict=False):
        T = one.temperature_K
        values = (
            one.thermal_conductivity / T**2,
            one.specific_heat / T,
            one.sound_velocity_shift,
            one.dielectric_shift,
        )
        marker = "o" if T.size < _FEW_POINTS else ""
        for axes, y in zip(panels, values, strict=True):
            axes.plot(T, y, color=colour, label=as_drawn(name), marker=marker, markersize=3)
    labels = (
        r"$\kappa / T^2$ (arbitrary)",
        r"$C / T$ ($k_B$/K)",
        r"$\delta v / v$",
        r"$\delta\epsilon / \epsilon$",
    )
    for axes, label in zip(panels, labels, strict=True):
        dress(axes)
        axes.set_xscale("log")
        axes.set_ylabel(label)
    for axes in panels[:2]:
        axes.set_ylim(bottom=0)
    for axes in panels[2:]:
        axes.set_xlabel("temperature (K)")
    legend(panels[0])
    return finished(figure)


@styled
def property_fit_figure(fit: PropertyFit) -> Figure:
    """Return a measured property with its fit, dashed that of the standard model, as Fig. 4 to 6 of Churkin 2021.

    A conductivity is drawn over T^2, which the standard model has flat.

    Parameters
    ----------
    fit : PropertyFit
    """
    figure = Figure(figsize=(COLUMN_WIDTH_in, 2.6), layout="constrained")
    draw_property_fit(fit, ax=figure.subplots())
    return finished(figure)


@styled
def draw_property_fit(fit: PropertyFit, *, ax: Axes | None = None) -> Axes:
    """Draw what `property_fit_figure` shows into axes or into new ones; return them."""
    axes, data = ax or new_axes(), fit.data
    dress(axes)

    def shown(T: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(values / T**2 if data.of == "conductivity" else 1e6 * values)

    error = None if data.error is None else shown(data.temperature_K, data.error)
    _draw_points(axes, data.temperature_K, shown(data.temperature_K, data.value), error)
    T = np.geomspace(data.temperature_K.min(), data.temperature_K.max(), 201)
    mu = fit.parameters["exponent"]
    said = value_with_error(mu.value, mu.error) if mu.error else f"{mu.value:.3g}"
    axes.plot(
        T,
        shown(T, fit.value(T, standard=True)),
        color=QUIET_COLOUR,
        linestyle="--",
        label=r"standard model, $\mu$ = 0",
    )
    axes.plot(T, shown(T, fit.value(T)), color=MODEL_COLOUR, label=f"$\\mu$ = {said}")
    axes.set_xscale("log")
    axes.set_xlabel("temperature (K)")
    labels = {
        "conductivity": r"$\kappa / T^2$ (W m$^{-1}$ K$^{-3}$)",
        "velocity": r"$\delta v/v$ (10$^{-6}$)",
        "dielectric": r"$\delta\epsilon/\epsilon$ (10$^{-6}$)",
    }
    axes.set_ylabel(labels[data.of])
    legend(axes)
    return axes


@styled
def loss_fit_figure(fit: LossFit) -> Figure:
    """Return the measured loss of a resonator with its fit, a curve for each number of photons.

    Parameters
    ----------
    fit : LossFit
    """
    figure = Figure(figsize=(COLUMN_WIDTH_in, 3.0), layout="constrained")
    draw_loss_fit(fit, ax=figure.subplots())
    return finished(figure)


#: With more numbers of photons than this, as where each point has its own, colours tell them.
_MOST_DRIVES = 8


def _draw_loss_points(fit: LossFit, axes: Axes) -> None:
    """Draw measured points in colours of their photons, and the fit at each of them as a line across."""
    data = fit.data
    photons = np.asarray(data.photons, dtype=np.float64)
    at_each = zip(data.temperature_K, photons.tolist(), strict=True)
    loss = [fit.loss(np.array([T]), photons=n)[0] for T, n in at_each]
    shown = axes.scatter(data.temperature_K, 1 / data.quality, c=np.log10(photons), s=8, cmap="viridis")
    axes.plot(data.temperature_K, loss, "_", color=MODEL_COLOUR, markersize=7, label="fit at each point")
    axes.figure.colorbar(shown, ax=axes, label="photons, power of ten")
    legend(axes)


@styled
def draw_loss_fit(fit: LossFit, *, ax: Axes | None = None) -> Axes:
    """Draw what `loss_fit_figure` shows into axes or into new ones; return them."""
    axes, data = ax or new_axes(), fit.data
    dress(axes)
    T = np.geomspace(data.temperature_K.min(), data.temperature_K.max(), 201)
    drives = [None] if data.photons is None else np.unique(data.photons).tolist()
    if len(drives) > _MOST_DRIVES:
        _draw_loss_points(fit, axes)
        drives = []
    for k, photons in enumerate(drives):
        chosen = np.full(len(data.quality), True) if data.photons is None else data.photons == photons
        colour = PAIR_COLOURS[k % len(PAIR_COLOURS)] if len(drives) > 1 else DATA_COLOUR
        loss = 1 / data.quality[chosen]
        error = None if data.quality_error is None else loss**2 * data.quality_error[chosen]
        axes.errorbar(data.temperature_K[chosen], loss, yerr=error, fmt="o", markersize=2.5, color=colour)
        said = None if photons is None else f"{photons:.3g} photons"
        shown = MODEL_COLOUR if len(drives) == 1 else colour
        axes.plot(T, fit.loss(T, photons=photons), color=shown, label=said)
    # Within a decade the labels between two powers of ten would lie on each other.
    axes.set_xscale("log" if T[-1] > 10 * T[0] else "linear")
    axes.set_yscale("log")
    axes.set_xlabel("temperature (K)")
    axes.set_ylabel("loss 1/Q")
    if len(drives) > 1:
        legend(axes, below=True)
    return axes


#: Fewer temperatures than this are drawn as points.
_FEW_POINTS = 20


@styled
def debris_figure(debris: Sequence[Debris], means: Sequence[MeanRelease], *, potential_status: str) -> Figure:
    """Return the pairs of minima in the debris of cascades, and the energy that they give off later.

    Left the barrier of each elementary pair against its asymmetry, both from the higher ground level; right
    the mean energy given off until a time, per cascade that stored energy, with its standard error.
    """
    figure = Figure(figsize=(2 * COLUMN_WIDTH_in, 2.6), layout="constrained")
    wells, later = figure.subplots(1, 2)
    dress(wells)
    dress(later)
    elementary = [pair for one in debris for pair in one.elementary]
    asymmetries_eV = np.array([abs(pair.ground_asymmetry_eV) for pair in elementary])
    barriers_eV = np.array([pair.lower_barrier_eV for pair in elementary])
    has_converged = np.array([pair.converged for pair in elementary], dtype=bool)
    wells.set(xscale="log", yscale="log")  # first: the limits of axes without a point are those of their scale
    for converged, face in ((True, DATA_COLOUR), (False, "white")):
        chosen = has_converged == converged
        wells.plot(
            np.maximum(asymmetries_eV[chosen], _LEAST_DRAWN_eV),
            np.maximum(barriers_eV[chosen], _LEAST_DRAWN_eV),
            "o",
            markersize=3.5,
            color=DATA_COLOUR,
            markerfacecolor=face,
            label="converged path" if converged else "not converged",
        )
    wells.set_xlabel("asymmetry (eV)")
    wells.set_ylabel("barrier from the higher minimum (eV)")
    _tell_least(wells, asymmetries_eV=asymmetries_eV, barriers_eV=barriers_eV)
    legend(wells)
    for mean, colour in zip(means, PAIR_COLOURS, strict=False):
        later.plot(mean.time_s, mean.released_eV, color=colour, label=f"{mean.temperature_K:g} K")
        if np.all(np.isfinite(mean.released_error_eV)):
            low, high = (mean.released_eV + sign * mean.released_error_eV for sign in (-1, 1))
            later.fill_between(mean.time_s, low, high, color=colour, alpha=BAND_ALPHA / 2, linewidth=0)
    later.set_xscale("log")
    later.set_ylim(bottom=0)
    later.set_xlabel("time after the cascade (s)")
    later.set_ylabel("given off (eV per cascade with debris)")
    legend(later)
    if potential_status != "quantitative":
        later.set_title(QUALITATIVE_MARK, loc="right", fontsize=6.5, color=QUIET_COLOUR)
    return finished(figure)


#: What lies below this, to which quenched energies agree, is drawn here: barriers that zero-point energies take
#: away, too.
_LEAST_DRAWN_eV = 1e-4


def _tell_least(axes: Axes, **energies_eV: NDArray[np.float64]) -> None:
    """Say above the axes how many of some energies are drawn at `_LEAST_DRAWN_eV` because they lie lower."""
    lower = {name: np.less(given, _LEAST_DRAWN_eV).sum() for name, given in energies_eV.items()}
    said = " and ".join(f"{n} {name.removesuffix('_eV')}" for name, n in lower.items() if n)
    if said:
        title = f"{said} below {1e3 * _LEAST_DRAWN_eV:g} meV, drawn there"
        axes.set_title(title, loc="left", fontsize=6.5, color=QUIET_COLOUR)


@styled
def debris_glass_figure(debris: Sequence[Debris], window: PairWindow, late: Afterglow) -> Figure:
    """Return the pairs in the plane of asymmetry and tunnelling amplitude, and the heat after an irradiation.

    Grey is the window in which pairs are counted, dotted where levels are 0.1 meV apart.
    """
    from cascade_driver.relaxation.debris.pairs import TWO_LEVEL_BELOW_eV

    figure = Figure(figsize=(2 * COLUMN_WIDTH_in, 2.6), layout="constrained")
    plane, heat = figure.subplots(1, 2)
    dress(plane)
    dress(heat)
    pairs = [pair for one in debris for pair in one.elementary if pair.converged and pair.tunnelling_eV]
    plane.set(xscale="log", yscale="log")
    low, high = window.tunnelling_eV
    asymmetries_eV = np.array([abs(pair.ground_asymmetry_eV) for pair in pairs])
    plane.fill_between(
        [_LEAST_DRAWN_eV / 2, window.asymmetry_below_eV],
        low,
        high,
        color=QUIET_COLOUR,
        alpha=0.15,
        linewidth=0,
    )
    plane.axvline(TWO_LEVEL_BELOW_eV, color=QUIET_COLOUR, linestyle=":", linewidth=1.0)
    plane.plot(
        np.maximum(asymmetries_eV, _LEAST_DRAWN_eV),
        [pair.tunnelling_eV for pair in pairs],
        "o",
        markersize=3.5,
        color=DATA_COLOUR,
    )
    plane.set_xlabel("asymmetry (eV)")
    plane.set_ylabel("tunnelling amplitude (eV)")
    _tell_least(plane, asymmetries_eV=asymmetries_eV)
    shown = np.where(late.heat_eV_per_s > 0, late.heat_eV_per_s, np.nan)
    heat.plot(late.time_s, shown, color=MODEL_COLOUR)
    heat.set_xscale("log")
    heat.set_xlim(late.time_s[0], late.time_s[-1])
    top = late.heat_eV_per_s.max()
    if top > 0:
        heat.set_yscale("log")
        heat.set_ylim(max(float(np.nanmin(shown)), 1e-12 * top) / 2, 2 * top)
    heat.set_xlabel("time after the irradiation (s)")
    heat.set_ylabel("heat (eV/s per cascade)")
    title = f"irradiated for {late.irradiation_s / SECONDS_PER_DAY:.3g} d, {late.temperature_K:g} K"
    heat.set_title(title, loc="left", fontsize=6.5, color=QUIET_COLOUR)
    return finished(figure)
