"""Figures of tunnelling two-level systems: resonators, and glasses of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

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
from cascade_driver.text import value_with_error

if TYPE_CHECKING:
    from cascade_driver.relaxation.tls.frequency import FrequencyNoise, ShiftData, ShiftFit
    from cascade_driver.relaxation.tls.loss_fit import LossFit
    from cascade_driver.relaxation.tls.properties_fit import PropertyFit
from cascade_driver.plot.style import (
    DATA_COLOUR,
    MODEL_COLOUR,
    PAIR_COLOURS,
    QUIET_COLOUR,
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
    draw_points(axes, data.temperature_K, 1e6 * data.shift, error)
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
    draw_points(axes, data.temperature_K, shown(data.temperature_K, data.value), error)
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
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("temperature (K)")
    axes.set_ylabel("loss 1/Q")
    if len(drives) > 1:
        legend(axes, below=True)
    return axes


#: Fewer temperatures than this are drawn as points.
_FEW_POINTS = 20
