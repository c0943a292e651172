"""Figures of aluminium films: spectra, fits, and single dislocations."""

from __future__ import annotations

import itertools
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
from cascade_driver.spectrum import Spectrum, bins_within

if TYPE_CHECKING:
    from cascade_driver.relaxation.film.decay import DecayFit, RateSeries
    from cascade_driver.relaxation.film.dynamics import FreedDislocation, Interface, Release, Trajectory
    from cascade_driver.relaxation.film.energy_map import EnergyMap
    from cascade_driver.relaxation.film.measured import MeasuredFilm
    from cascade_driver.relaxation.film.spectrum import FilmSpectrum
    from cascade_driver.relaxation.film.spectrum_fit import FilmFit
from cascade_driver.plot.spectra import RATE_LABEL
from cascade_driver.plot.style import (
    DATA_COLOUR,
    MODEL_COLOUR,
    PAIR_COLOURS,
    QUIET_COLOUR,
    RATE_DECADES,
    COLUMN_WIDTH_in,
    as_drawn,
    draw_points,
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


@styled
def draw_film_decay(series: RateSeries, fit: DecayFit, *, ax: Axes | None = None) -> Axes:
    """Draw what `film_decay_figure` shows into axes or into new ones; return them."""
    from cascade_driver.relaxation.film.decay import power_law

    axes = ax or new_axes()
    dress(axes)
    draw_points(axes, series.time_days, series.rate, series.rate_error)
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
    axes.set_ylim(_lowest_drawn([one for _, one in drawn]) / 2, 3 * max(tops))
    axes.set_xlim(0, float(max(one.energy_edges_eV[-1] for _, one in drawn)))
    axes.set_xlabel("observed energy (eV)")
    axes.set_ylabel(RATE_LABEL)
    legend(axes)
    return axes


def _lowest_drawn(spectra: Sequence[Spectrum]) -> float:
    """Return the lowest rate of the spectra, but for tails far below the top of their own."""
    rates = [one.total_rate_per_kg_day_keV for one in spectra]
    return min(float(rate[rate >= rate.max() / 10**RATE_DECADES].min()) for rate in rates if rate.max() > 0)


def _is_complete(spectrum: Spectrum) -> NDArray[np.bool_]:
    """Return (n,) in which bins of a corrected spectrum no recoil is missing; of others it is not said."""
    edges = spectrum.energy_edges_eV
    if spectrum.observation is None:
        return np.ones(len(edges) - 1, dtype=bool)
    return bins_within(edges, spectrum.observation.complete_eV or (np.inf, -np.inf))


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
