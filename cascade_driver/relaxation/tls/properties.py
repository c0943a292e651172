r"""Thermal, acoustic and dielectric properties of a glass from the density of states of its tunnelling systems.

After A. Churkin et al. 2021 ("the paper"), Eq. 4 to 8, A1 and A2. Energies and temperatures are in kelvin
(k_B = 1); n(T, E) is any `DensityOfStates`. How the printed equations are read:

- The paper takes its simulated density either as that of E (main text) or of the asymmetry (its App. A), see
  `DensityVariable`; the results differ little.
- Eq. 6 counts energies above 0. With n normalised over both signs, as here, the heat capacity per system is twice
  that, and so is the tunnelling strength of Eq. 7 and 8: they are proportional to n, whatever it counts.
- Eq. 7 diverges logarithmically at high energy: the density carries its cutoff. Only differences between
  temperatures are free of it.
- :math:`\omega` in Eq. 8 is an angular frequency, :math:`2\pi f`. Only :math:`\omega / A` enters. The paper
  inserts "90 kHz" and the like; if those were f, its A would be in units of f too: use `omega_is_frequency`.
- The phonon heat capacity above Eq. 4 has :math:`\hbar^2` printed where :math:`\hbar^3` is meant.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Annotated, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from cascade_driver.errors import InputError
from cascade_driver.relaxation.tls.density import CountedDensity, DensityOfStates, PowerLawDensity
from cascade_driver.relaxation.tls.distribution import Temperatures, positive_array, relaxation_response
from cascade_driver.schema import parameters

#: What the simulated density is a density of: the energy, or the asymmetry.
DensityVariable = Literal["energy", "asymmetry"]

#: Nodes per panel; panels are a quarter of a decade or less.
_NODES = 6

#: Energies above this many temperatures do not count where sech^2 or 1/sinh^2 cuts.
_LARGEST_RATIO = 80.0

#: Nodes over the asymmetry in Eq. A2, on each side of the middle.
_INNER_NODES = 64


@parameters
class RelaxingSystems:
    r"""How tunnelling systems couple to the wave that probes them.

    Attributes
    ----------
    coupling_K : float
        What makes n in 1/K dimensionless. It is :math:`\gamma^2 / (\rho v^2 L_0)`, or
        :math:`p^2 / (4\pi\epsilon_0 L_0)` for the dielectric constant. The product with n is the tunnelling
        strength of the standard model.
    frequency_Hz : float
        f of the wave.
    relaxation_per_s_K3 : float
        A of Eq. 8; the crossover temperature is :math:`T_0 = (\omega / A)^{1/3}`.
    omega_is_frequency : bool
        Take omega = f in Eq. 8 instead of :math:`2 \pi f`, for values of A that were found so.
    """

    coupling_K: Annotated[float, Field(gt=0)] = 1.0
    frequency_Hz: Annotated[float, Field(gt=0)] = 90e3
    relaxation_per_s_K3: Annotated[float, Field(gt=0)]
    omega_is_frequency: bool = False

    @property
    def omega_per_s(self) -> float:
        """Omega as Eq. 8 takes it."""
        return self.frequency_Hz * (1.0 if self.omega_is_frequency else 2 * np.pi)

    @property
    def crossover_temperature_K(self) -> float:
        r""":math:`T_0 = (\omega / A)^{1/3}`, of the order of that of the maximum of the sound velocity."""
        return float((self.omega_per_s / self.relaxation_per_s_K3) ** (1 / 3))


def relaxation_constant_per_s_K3(
    *, frequency_Hz: float, crossover_K: Annotated[float, Field(gt=0)] = 0.1
) -> float:
    r"""Return the A of Eq. 8 with which the crossover temperature is a given one, :math:`2 \pi f / T_0^3`.

    Parameters
    ----------
    frequency_Hz : float
        Of the wave.
    crossover_K : float
        Crossover temperature T_0 of the sound velocity, (omega / A)^(1/3).
    """
    return float(2 * np.pi * frequency_Hz / crossover_K**3)


@parameters
class PropertyTemperatures(Temperatures):
    """At which the properties of a glass are tabulated."""

    temperature_K: tuple[float, float] = (0.01, 2.0)
    points: int = Field(default=41, ge=1)


def thermal_conductivity(
    temperature_K: ArrayLike, *, density: DensityOfStates, variable: DensityVariable = "energy"
) -> NDArray[np.float64]:
    r"""Return the thermal conductivity in arbitrary units, (...) float.

    .. math::
        \kappa \propto \int_0^\infty \frac{E^3\, dE}{T^2 \sinh^2(E/2T) \tanh(E/2T)\, n(T, E)}

    (Eq. 5 of the paper), or with :math:`\int_0^E n\, d\Delta / E` in the place of n (Eq. A1). For a constant n it
    is :math:`4 \pi^2 T^2 / n`; for Eq. 3 with constant B and mu exactly proportional to :math:`T^{2 - \mu}`, so
    that the paper's mu = 0.04 gives T^1.96 and not the printed T^1.95. Phonons of all energies up to the cutoff
    scatter off tunnelling systems alone.

    Multiply by :math:`\rho k_B^3 v / (24 \pi^3 \hbar^2 \gamma^2)`, summed over polarisations, for W/(m K), n per
    energy and volume.

    Raises
    ------
    InputError
        If a temperature is not above 0.
    """

    def integrand(E: NDArray[np.float64], T: float) -> NDArray[np.float64]:
        n = density.per_K(E, T) if variable == "energy" else density.integral(E, T) / E
        x = E / (2 * T)
        return np.asarray(
            np.divide(E**3, T**2 * np.sinh(x) ** 2 * np.tanh(x) * n, out=np.zeros_like(E), where=n > 0)
        )

    return _over_energies(integrand, temperature_K, density=density)


def specific_heat(temperature_K: ArrayLike, *, density: DensityOfStates) -> NDArray[np.float64]:
    r"""Return the specific heat of tunnelling systems in units of k_B, (...) float.

    .. math:: C = \int_0^\infty \frac{n(T, E)\, E^2\, dE}{4 T^2 \cosh^2(E / 2T)}

    (Eq. 6 of the paper); for a constant n it is :math:`\pi^2 n T / 6`. Twice this is the value per system, as n is
    normalised over both signs. The states are those of the given density, not those that equilibrate in the time
    of a measurement.

    Raises
    ------
    InputError
        If a temperature is not above 0.
    """
    return _over_energies(
        lambda E, T: density.per_K(E, T) * (E / (2 * T * np.cosh(E / (2 * T)))) ** 2,
        temperature_K,
        density=density,
    )


def resonant_shift(
    temperature_K: ArrayLike, *, density: DensityOfStates, systems: RelaxingSystems
) -> NDArray[np.float64]:
    r"""Return the resonant part of the relative change of the sound velocity, (...) float.

    .. math::
        \frac{\delta v_\mathrm{res}}{v} =
        -\frac{\gamma^2}{L_0 \rho v^2} \int_0^{E_\mathrm{max}} \frac{n(T, E)}{E} \tanh\frac{E}{2T}\, dE

    (Eq. 7 of the paper, with the cutoff that it lacks: the last of `density.panels_K`). For a constant n it grows
    as :math:`n \gamma^2 / (L_0 \rho v^2) \ln T`.

    Raises
    ------
    InputError
        If a temperature is not above 0.
    """
    value = _over_energies(
        lambda E, T: density.per_K(E, T) / E * np.tanh(E / (2 * T)), temperature_K, density=density, cut=False
    )
    return np.asarray(-systems.coupling_K * value)


def relaxation_shift(
    temperature_K: ArrayLike,
    *,
    density: DensityOfStates,
    systems: RelaxingSystems,
    variable: DensityVariable = "energy",
) -> NDArray[np.float64]:
    r"""Return the relaxational part of the relative change of the sound velocity, (...) float.

    .. math::
        \frac{\delta v_\mathrm{rel}}{v} = -\frac{\gamma^2}{L_0 \rho v^2}
        \int_0^\infty \frac{n(T, E)\, dE}{2T \cosh^2(E/2T)} \int_0^1 \frac{\sqrt{1 - x^2}}{x}
        \frac{dx}{1 + \omega^2 / [A x^2 E^3 \coth(E/2T)]^2}

    (Eq. 8 of the paper; Eq. A2 with n at :math:`E \sqrt{1 - x^2}` for `variable="asymmetry"`). The inner integral
    of Eq. 8 is the real part of `relaxation_response`. Above the crossover temperature a constant n gives a slope
    of -3/2 per unit of ln T, so that with Eq. 7 the slopes are 1 : -1/2.

    Raises
    ------
    InputError
        If a temperature is not above 0.
    """

    def integrand(E: NDArray[np.float64], T: float) -> NDArray[np.float64]:
        slowness = systems.omega_per_s / (systems.relaxation_per_s_K3 * E**3 / np.tanh(E / (2 * T)))
        if variable == "energy":
            inner = density.per_K(E, T) * relaxation_response(slowness).real
        else:
            inner = _average_over_asymmetry(E, T, slowness, density)
        return np.asarray(inner / (2 * T * np.cosh(E / (2 * T)) ** 2))

    return np.asarray(-systems.coupling_K * _over_energies(integrand, temperature_K, density=density))


def sound_velocity_shift(
    temperature_K: ArrayLike,
    *,
    density: DensityOfStates,
    systems: RelaxingSystems,
    variable: DensityVariable = "energy",
) -> NDArray[np.float64]:
    r"""Return :math:`\delta v / v`, the sum of Eq. 7 and 8, up to a constant that the cutoff decides; (...) float.

    Raises
    ------
    InputError
        If a temperature is not above 0.
    """
    return resonant_shift(temperature_K, density=density, systems=systems) + relaxation_shift(
        temperature_K, density=density, systems=systems, variable=variable
    )


def power_law_velocity(temperature_K: ArrayLike, *, exponent: float, crossover_K: float) -> NDArray[np.float64]:
    r"""Return :math:`\delta v / v` over the tunnelling strength at 1 K for the density of Eq. 3, (...) float.

    .. math::
        \frac{\delta v}{v} = C \left[ c\, \frac{T^\mu - 1}{\mu} - T^\mu \int_0^\infty
        \frac{(1 + x^2)^{\mu/2}\, \mathrm{Re}\, R(a)}{2 \cosh^2(x/2)}\, dx \right] + \mathrm{constant},
        \quad c = \int_0^\infty x^\mu w'(x)\, dx, \quad w = (1 + x^{-2})^{\mu/2} \tanh\frac{x}{2}, \quad
        a = \left(\frac{T_0}{T}\right)^3 \frac{\tanh(x/2)}{x^3}

    Eq. 7 and 8 with E = x T, Eq. 7 by parts, T in kelvin: without a cutoff, for mu below 2. What
    `sound_velocity_shift` has for any density, but for a constant; a hundred times faster, for fits.

    Parameters
    ----------
    temperature_K : (...) float
    exponent : float
        mu, above -1 and below 2.
    crossover_K : float
        T_0.

    Raises
    ------
    InputError
        If a temperature is not above 0.
    """
    temperature = positive_array(temperature_K, name="temperature_K")
    x, weights = _reduced_energies()
    shape = (1 + x**2) ** (exponent / 2)
    # x^mu w' = (1 + x^2)^(mu/2) [1 / (2 cosh^2) - mu tanh / (x (1 + x^2))]; beyond the nodes next to nothing
    rise = shape * (0.5 / np.cosh(x / 2) ** 2 - exponent * np.tanh(x / 2) / (x * (1 + x**2)))
    slowness = (crossover_K / temperature[..., None]) ** 3 * np.tanh(x / 2) / x**3
    relaxed = np.sum(weights * shape * relaxation_response(slowness).real / (2 * np.cosh(x / 2) ** 2), axis=-1)
    log = np.log(temperature)
    resonant = np.expm1(exponent * log) / exponent if exponent else log
    return np.asarray(float(weights @ rise) * resonant - temperature**exponent * relaxed)


@functools.cache
def _reduced_energies() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return nodes and weights of E / T from 1e-7 to 300, six in each third of a decade."""
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    edges = np.linspace(math.log(1e-7), math.log(300.0), 30)
    half = np.diff(edges)[:, None] / 2
    x = np.exp(edges[:-1, None] + half * (nodes + 1))
    found = x.ravel(), (half * weights * x).ravel()
    for one in found:
        one.flags.writeable = False  # the cache hands out the same arrays
    return found


def dielectric_shift(
    temperature_K: ArrayLike,
    *,
    density: DensityOfStates,
    systems: RelaxingSystems,
    variable: DensityVariable = "energy",
) -> NDArray[np.float64]:
    r"""Return the relative change of the dielectric constant, :math:`\delta\epsilon / \epsilon`, (...) float.

    .. math:: \frac{\delta\epsilon}{\epsilon} = -\frac{\delta v}{v} \quad\text{with}\quad
        \frac{\gamma^2}{\rho v^2} \to \frac{p^2}{4\pi\epsilon_0}

    The paper prints the substitution (below Eq. 8) and not the sign: the constant has a minimum where the velocity
    has its maximum. Numerical factors that belong to dipoles are part of `coupling_K`.

    Raises
    ------
    InputError
        If a temperature is not above 0.
    """
    return -sound_velocity_shift(temperature_K, density=density, systems=systems, variable=variable)


def interaction_ratio(*, dielectric_slope: float, elastic_slope: float) -> float:
    r"""Return the ratio of electric to elastic interactions from logarithmic slopes.

    .. math:: r = \frac{0.56\, C_\mathrm{dip}}{1.74\, C_\mathrm{el}}

    (App. C of the paper.)

    Raises
    ------
    InputError
        If a slope is not above 0.
    """
    positive_array([dielectric_slope, elastic_slope], name="slope")
    return 0.56 * dielectric_slope / (1.74 * elastic_slope)


@dataclass(frozen=True, kw_only=True)
class GlassProperties:
    """Properties of a glass against temperature.

    Attributes
    ----------
    temperature_K : (k,) float
    thermal_conductivity : (k,) float
        In arbitrary units; see `thermal_conductivity`.
    specific_heat : (k,) float
        In units of k_B; see `specific_heat`.
    sound_velocity_shift, dielectric_shift : (k,) float
        Relative changes from the lowest temperature, which the cutoff of the density does not touch.
    """

    temperature_K: NDArray[np.float64]
    thermal_conductivity: NDArray[np.float64]
    specific_heat: NDArray[np.float64]
    sound_velocity_shift: NDArray[np.float64]
    dielectric_shift: NDArray[np.float64]

    def as_csv(self) -> str:
        """Return the properties as a table."""
        names = [field.name for field in fields(self)]
        rows = zip(*(getattr(self, name) for name in names), strict=True)
        return "\n".join([",".join(names), *(",".join(f"{v:.9g}" for v in row) for row in rows)]) + "\n"


def glass_properties(
    temperature_K: ArrayLike,
    *,
    density: DensityOfStates,
    systems: RelaxingSystems,
    variable: DensityVariable = "energy",
) -> GlassProperties:
    """Return all properties of a glass at rising temperatures.

    Raises
    ------
    InputError
        If a temperature is not above 0.
    """
    temperature = np.atleast_1d(positive_array(temperature_K, name="temperature_K"))
    shift = sound_velocity_shift(temperature, density=density, systems=systems, variable=variable)
    return GlassProperties(
        temperature_K=temperature,
        thermal_conductivity=thermal_conductivity(temperature, density=density, variable=variable),
        specific_heat=specific_heat(temperature, density=density),
        sound_velocity_shift=shift - shift[0],
        dielectric_shift=shift[0] - shift,
    )


def beside_standard_model(
    temperatures: PropertyTemperatures,
    *,
    law: PowerLawDensity,
    systems: RelaxingSystems,
    counted: CountedDensity | None = None,
    variable: DensityVariable = "energy",
) -> tuple[GlassProperties, GlassProperties]:
    """Return the properties by a density of states, and those of the standard model over the same range.

    Parameters
    ----------
    temperatures : PropertyTemperatures
    law : PowerLawDensity
        The standard model has its density at 1 K at all energies.
    systems : RelaxingSystems
    counted : CountedDensity, optional
        In place of the law, at the temperatures at which it was counted.
    variable : {'energy', 'asymmetry'}
        What the density is one of: Eq. 5 and 8 of Churkin 2021, or Eq. A1 and A2.
    """
    flat, at_K = dataclasses.replace(law, exponent=0.0), temperatures.each_K
    if counted is None:
        found = glass_properties(at_K, density=law, systems=systems, variable=variable)
    else:
        measured = np.sort(counted.temperature_K[counted.temperature_K > 0])
        found = glass_properties(measured, density=counted, systems=systems, variable=variable)
        at_K = np.geomspace(measured[0], measured[-1], temperatures.points)
    return found, glass_properties(at_K, density=flat, systems=systems, variable=variable)


def _over_energies(
    integrand: Callable[[NDArray[np.float64], float], NDArray[np.float64]],
    temperature_K: ArrayLike,
    *,
    density: DensityOfStates,
    cut: bool = True,
) -> NDArray[np.float64]:
    """Return the integral over E from 0 to the cutoff, by Gauss-Legendre on the panels of the density."""
    temperature = positive_array(temperature_K, name="temperature_K")
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    result = np.empty(temperature.size)
    for k, T in enumerate(temperature.ravel()):
        edges = np.union1d(density.panels_K(T), T * np.geomspace(1e-3, _LARGEST_RATIO, 41))
        edges = edges[edges <= density.panels_K(T)[-1]]
        if cut:
            edges = edges[edges <= _LARGEST_RATIO * T]
        half = np.diff(edges)[:, None] / 2
        E = edges[:-1, None] + half * (nodes + 1)
        result[k] = np.sum(half * weights * integrand(E.ravel(), float(T)).reshape(E.shape))
    return result.reshape(temperature.shape)


def _average_over_asymmetry(
    E: NDArray[np.float64], T: float, slowness: NDArray[np.float64], density: DensityOfStates
) -> NDArray[np.float64]:
    r"""Return the inner integral of Eq. A2 at each energy, (k,).

    In :math:`s = x^2`: half of the integral of :math:`s \sqrt{1 - s}\, n(E \sqrt{1 - s}) / (s^2 + a^2)`, over ln s
    up to s = 1/2 and over :math:`w = \sqrt{1 - s}` beyond.
    """
    nodes, weights = np.polynomial.legendre.leggauss(_INNER_NODES)
    a = slowness[:, None]

    def value(s: NDArray[np.float64], w: NDArray[np.float64]) -> NDArray[np.float64]:
        n = density.per_K((E[:, None] * w).ravel(), T).reshape(len(E), -1)
        return np.asarray(0.5 * s * w * n / (s**2 + a**2))

    top = np.log(0.5)
    bottom = np.minimum(np.log(a), top) - 18.0  # below, the integrand in ln s falls as s^2 / a^2
    half = (top - bottom) / 2
    s = np.exp(bottom + half * (nodes + 1))
    low = np.sum(half * weights * s * value(s, np.sqrt(1 - s)), axis=1)
    w = np.sqrt(0.5) / 2 * (nodes + 1) + np.zeros_like(a)
    high = np.sum(np.sqrt(0.5) / 2 * weights * 2 * w * value(1 - w**2, w), axis=1)
    return np.asarray(low + high)


def local_exponent(temperature_K: ArrayLike, values: ArrayLike) -> float:
    """Return the exponent of the power law that fits values best, by least squares of logarithms.

    Raises
    ------
    InputError
        If there are fewer than two temperatures, or a number is not above 0.
    """
    T = positive_array(temperature_K, name="temperature_K")
    y = positive_array(values, name="values")
    if T.size < 2 or np.ptp(np.log(T)) < 1e-6:
        raise InputError("a power law needs at least two temperatures that differ")
    return float(np.polyfit(np.log(T), np.log(y), 1)[0])
