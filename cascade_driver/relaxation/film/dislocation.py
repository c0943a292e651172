"""Pinned dislocations in a stressed film: how strongly they are held, and how often they tunnel free.

The model of Romani 2024, *Aluminum Relaxation as the Source of Excess Low Energy Events in Low Threshold
Calorimeters*, doi:10.48550/arXiv.2406.15425, called "the paper" in the modules of aluminium films.
"""

from __future__ import annotations

import math
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, model_validator
from scipy import constants

from cascade_driver.errors import InputError
from cascade_driver.schema import parameters
from cascade_driver.units import MPA_PER_GPA, NM_PER_A, PS_PER_S, UM2_PER_MM2, HBAR_eV_s, eV_PER_AMU_A2_PS2


@parameters
class FccMetal:
    """An elastically isotropic face-centred cubic metal with little Peierls stress.

    Attributes
    ----------
    name : str
        For people.
    shear_modulus_GPa : float
        mu_f.
    transverse_speed_km_s : float
        c_t; 1 km/s is 1 nm/ps.
    lattice_constant_nm : float
        a, of the cubic cell.
    burgers_vector_nm : float, optional
        b; by default a/sqrt(2), that of a perfect dislocation.
    atomic_mass_amu : float
        M of Eq. 2.
    debye_temperature_K : float
        Its frequency k theta/h is the attempt frequency nu_D.
    """

    name: str
    shear_modulus_GPa: float = Field(gt=0)
    transverse_speed_km_s: float = Field(gt=0)
    lattice_constant_nm: float = Field(gt=0)
    burgers_vector_nm: float | None = Field(default=None, gt=0)
    atomic_mass_amu: float = Field(gt=0)
    debye_temperature_K: float = Field(gt=0)

    @property
    def b_nm(self) -> float:
        """The Burgers vector."""
        return self.burgers_vector_nm or self.lattice_constant_nm / math.sqrt(2.0)

    @property
    def attempt_frequency_Hz(self) -> float:
        """nu_D = k theta_D / h."""
        return float(constants.k * self.debye_temperature_K / constants.h)


def hill_shear_modulus_GPa(*, c11_GPa: float, c12_GPa: float, c44_GPa: float) -> float:
    r"""Return the shear modulus of a polycrystal of a cubic metal.

    .. math::
        \mu = \tfrac12(\mu_V + \mu_R),\quad \mu_V = \frac{C_{11} - C_{12} + 3 C_{44}}{5},\quad
        \mu_R = \frac{5 (C_{11} - C_{12}) C_{44}}{4 C_{44} + 3 (C_{11} - C_{12})}

    Hill 1952, doi:10.1088/0370-1298/65/5/307.

    Raises
    ------
    InputError
        If the crystal would not be stable: C44 and C11 - C12 must be positive.

    Examples
    --------
    >>> round(hill_shear_modulus_GPa(c11_GPa=114.3, c12_GPa=61.9, c44_GPa=31.6), 1)
    29.3
    """
    difference = c11_GPa - c12_GPa
    if not (c44_GPa > 0 and difference > 0):
        raise InputError(
            f"C44 = {c44_GPa:g} GPa and C11 - C12 = {difference:g} GPa, expected both above 0: no crystal is "
            "stable otherwise, check the constants."
        )
    voigt = (difference + 3.0 * c44_GPa) / 5.0
    reuss = 5.0 * difference * c44_GPa / (4.0 * c44_GPa + 3.0 * difference)
    return 0.5 * (voigt + reuss)


def _from_elastic_constants(
    name: str, *, c_GPa: tuple[float, float, float], a_nm: float, mass_amu: float, debye_K: float
) -> FccMetal:
    c11, c12, c44 = c_GPa
    modulus = hill_shear_modulus_GPa(c11_GPa=c11, c12_GPa=c12, c44_GPa=c44)
    density_kg_m3 = 4.0 * mass_amu * constants.atomic_mass / (a_nm * 1e-9) ** 3
    return FccMetal(
        name=name,
        shear_modulus_GPa=modulus,
        transverse_speed_km_s=math.sqrt(modulus * 1e9 / density_kg_m3) / 1e3,
        lattice_constant_nm=a_nm,
        atomic_mass_amu=mass_amu,
        debye_temperature_K=debye_K,
    )


#: Aluminium as the paper prints it (App. A); lattice constant and Debye temperature: Kittel, *Introduction to
#: Solid State Physics*, 8th ed., Ch. 1 and Ch. 5, Table 1.
ALUMINIUM = FccMetal(
    name="Al",
    shear_modulus_GPa=25.0,
    transverse_speed_km_s=3.04,
    lattice_constant_nm=0.405,
    burgers_vector_nm=0.286,
    atomic_mass_amu=26.982,
    debye_temperature_K=428.0,
)

#: Copper: elastic constants at 0 K, Overton & Gaffney 1955, doi:10.1103/PhysRev.98.969.
COPPER = _from_elastic_constants("Cu", c_GPa=(176.2, 124.9, 81.8), a_nm=0.3603, mass_amu=63.546, debye_K=343.0)

#: Gold: elastic constants at 0 K, Neighbours & Alers 1958, doi:10.1103/PhysRev.111.707.
GOLD = _from_elastic_constants("Au", c_GPa=(201.6, 169.7, 45.4), a_nm=0.4065, mass_amu=196.967, debye_K=165.0)

METALS = {metal.name: metal for metal in (ALUMINIUM, COPPER, GOLD)}


class StressSampling(StrEnum):
    """How the resolved shear stress of a pinned dislocation is drawn from the angle theta of its slip plane."""

    #: Eq. 13-14: cos(theta) is the weight of theta, so that sin(theta) is uniform; tau = sigma0/2 sin(2 theta).
    WEIGHT = "weight"
    #: What the rates printed in Sec. VI were made with: theta uniform, tau = sigma0/2 sin(2 theta) cos(theta).
    PROGRAM = "program"


@parameters
class Tunnelling:
    """How a pinned dislocation tunnels free.

    Attributes
    ----------
    shape_factor : float
        The A of Eq. 2, which Mott takes as 1.
    activation_energy_eV : float
        W0, which Mott takes as about 1 eV.
    mass_amu : float, optional
        M; by default one atom of the metal.
    exponent : float, optional
        Gamma itself, instead of Eq. 2; the paper's rates have 900.
    lowest_eta, highest_eta : float
        eta = 1 - tau/tau_c of the pinned dislocations is flat in between: 0 to 1 in the paper.
    """

    shape_factor: float = Field(default=1.0, gt=0)
    activation_energy_eV: float = Field(default=1.0, gt=0)
    mass_amu: float | None = Field(default=None, gt=0)
    exponent: float | None = Field(default=None, gt=0)
    lowest_eta: float = Field(default=0.0, ge=0, le=1)
    highest_eta: float = Field(default=1.0, ge=0, le=1)

    @model_validator(mode="after")
    def _is_a_range(self) -> Tunnelling:
        if not self.lowest_eta < self.highest_eta:
            raise ValueError(
                f"expected lowest_eta below highest_eta, found {self.lowest_eta} and {self.highest_eta}"
            )
        return self

    def gamma(self, metal: FccMetal) -> float:
        r"""Return the exponent of Eq. 2-3 of the paper, a number.

        .. math:: \Gamma = 2 A a \sqrt{2 M W_0 / \hbar^2}

        with a the *cubic* lattice constant (Mott 1956, Phil. Mag. 1, 568): 920 for aluminium, which
        the paper rounds to 900.
        """
        if self.exponent is not None:
            return self.exponent
        mass = (self.mass_amu or metal.atomic_mass_amu) * eV_PER_AMU_A2_PS2
        momentum_eV_ps_A = math.sqrt(2.0 * mass * self.activation_energy_eV)
        return (
            2.0
            * self.shape_factor
            * metal.lattice_constant_nm
            / NM_PER_A
            * momentum_eV_ps_A
            / (HBAR_eV_s * PS_PER_S)
        )


def pinned_length_nm(stress_MPa: ArrayLike, *, metal: FccMetal, lock_strength: float = 0.8) -> NDArray[np.float64]:
    r"""Return the length L of the dislocation whose lock is about to fail, in nm, the shape of `stress_MPa`.

    .. math:: \tau_c = \alpha \mu_f b / L

    Eq. 1 of the paper solved for L. Its "6 GPa" is alpha mu b / nm, with alpha = 0.8 of a Lomer-Cottrell lock.

    Raises
    ------
    InputError
        If a stress or the strength is not positive.
    """
    stress = _positive("stress_MPa", stress_MPa)
    strength = float(_positive("lock_strength", lock_strength))
    return strength * metal.shear_modulus_GPa * MPA_PER_GPA * metal.b_nm / stress


def tunnelling_rate_Hz(
    eta: ArrayLike, *, metal: FccMetal, tunnelling: Tunnelling | None = None
) -> NDArray[np.float64]:
    r"""Return the rate at which one pinned dislocation tunnels free, in Hz, the shape of `eta`.

    .. math:: r(\eta) = \nu_D e^{-\Gamma \eta},\quad \eta = 1 - \tau/\tau_c

    Eq. 2-3 of the paper, after Mott 1956, Phil. Mag. 1, 568.

    Raises
    ------
    InputError
        If an eta lies outside 0 to 1, where there is no barrier or a stress of the other sign.
    """
    eta = np.asarray(eta, dtype=np.float64)
    if not np.all((eta >= 0) & (eta <= 1)):
        raise InputError(
            "eta = 1 - tau/tau_c lies outside 0 to 1: expected a stress between 0 and the critical one."
        )
    return metal.attempt_frequency_Hz * np.exp(-(tunnelling or Tunnelling()).gamma(metal) * eta)


def depinning_rate_per_site_Hz(
    time_s: ArrayLike, *, metal: FccMetal, tunnelling: Tunnelling | None = None
) -> NDArray[np.float64]:
    r"""Return R(t)/N, the rate of depinning per site pinned at the cooldown, in Hz, the shape of `time_s`.

    .. math::
        \frac{R(t)}{N} = \frac{1}{\eta_1 - \eta_0} \int_{\eta_0}^{\eta_1} r(\eta)\, e^{-r(\eta) t}\, d\eta =
            \frac{e^{-\nu_D t e^{-\Gamma\eta_1}} - e^{-\nu_D t e^{-\Gamma\eta_0}}}{(\eta_1 - \eta_0)\, \Gamma t}

    Eq. 4-5 of the paper, exact: the rates are log-uniform. Long before 1/nu_D it is the plateau nu_D/Gamma (for
    Gamma >> 1), afterwards 1/(Gamma t), Eq. 6.

    Raises
    ------
    InputError
        If a time is not positive.
    """
    time = _positive("time_s", time_s)
    chosen = tunnelling or Tunnelling()
    gamma, attempts = chosen.gamma(metal), metal.attempt_frequency_Hz * time
    slow = attempts * math.exp(-gamma * chosen.highest_eta)
    fast = attempts * math.exp(-gamma * chosen.lowest_eta)
    share = -np.exp(-slow) * np.expm1(slow - fast)
    return np.asarray(share / ((chosen.highest_eta - chosen.lowest_eta) * gamma * time))


@parameters
class Steps:
    """The grid of the program behind the printed rates: an event takes the next row of stress and adds up starts.

    Attributes
    ----------
    lowest_stress_MPa : float
        First row; lower stresses take it, too.
    stress_MPa : float
        Between rows; an event takes the first row that is not below its stress.
    start_nm : float
        Between starts, the first of which lies one step above `Film.lowest_start_nm`; the integral of Eq. A12 is
        the sum of those closer than the pinning site.
    """

    lowest_stress_MPa: float = Field(default=25.0, gt=0)
    stress_MPa: float = Field(default=2.5, gt=0)
    start_nm: float = Field(default=2.5, gt=0)


@parameters
class Film:
    """A stressed metal film and its dislocations.

    Attributes
    ----------
    dislocation_spacing_nm : float
        The dislocation density rho_D is its inverse square.
    bulk_stress_MPa : float
        sigma0, the tensile stress that remains in the film.
    thermal_strain : float
        epsilon, of the cooldown.
    locking_probability : float
        phi: share of the encounters of two dislocations that make a Lomer-Cottrell lock; 24 of 144.
    lock_strength : float
        alpha of Eq. 1.
    stress_sampling : {'weight', 'program'}
        `StressSampling`.
    largest_start_nm : float, optional
        No dislocation is pinned further from the substrate, along its slip plane; unlimited in the paper.
    lowest_start_nm : float
        What starts closer to the substrate emits nothing; the published figures have 10 nm.
    nonzero_cut_eV : float
        An event is one with at least this much above-gap energy in the crystal.
    steps : Steps, optional
        Energies from a grid without interpolation; by default Eq. A12 is integrated.
    """

    dislocation_spacing_nm: float = Field(default=60.0, gt=0)
    bulk_stress_MPa: float = Field(default=120.0, gt=0)
    thermal_strain: float = Field(default=4e-3, gt=0)
    locking_probability: float = Field(default=24 / 144, gt=0, le=1)
    lock_strength: float = Field(default=0.8, gt=0)
    stress_sampling: StressSampling = StressSampling.WEIGHT
    largest_start_nm: float | None = Field(default=None, gt=0)
    lowest_start_nm: float = Field(default=0.0, ge=0)
    nonzero_cut_eV: float = Field(default=0.01, ge=0)
    steps: Steps | None = None

    @model_validator(mode="after")
    def _has_room(self) -> Film:
        if self.largest_start_nm is not None and self.largest_start_nm <= self.lowest_start_nm:
            raise ValueError(
                f"expected largest_start_nm above lowest_start_nm, found {self.largest_start_nm:g} and "
                f"{self.lowest_start_nm:g}"
            )
        return self

    @property
    def dislocation_density_per_nm2(self) -> float:
        """The dislocation density rho_D."""
        return 1.0 / self.dislocation_spacing_nm**2


def pinned_share(film: Film, *, metal: FccMetal) -> float:
    r"""Return the share of dislocations that end in a lock as the film is cooled.

    .. math:: f = 1 - e^{-d \phi/\lambda} = 1 - \exp\left(-\frac{\epsilon\phi}{b \sqrt{\rho_D}}\right)

    with the path d = epsilon/(rho_D b) and the mean free path lambda = rho_D^(-1/2); Eq. 15 of the paper.
    """
    path_per_free_path = film.thermal_strain * film.dislocation_spacing_nm / metal.b_nm
    return -math.expm1(-path_per_free_path * film.locking_probability)


def depinning_rate_per_mm2_Hz(
    time_s: ArrayLike, *, film: Film, metal: FccMetal, tunnelling: Tunnelling | None = None
) -> NDArray[np.float64]:
    r"""Return the rate of all depinning events, also those that emit nothing, per mm2 of film, in Hz.

    .. math:: \frac{R(t)}{A} = \rho_D f \frac{R(t)}{N}

    Eq. 16 of the paper with the exact `depinning_rate_per_site_Hz`. The shape of `time_s`, the time since the
    cooldown.

    Raises
    ------
    InputError
        If a time is not positive.
    """
    per_mm2: float = film.dislocation_density_per_nm2 * 1e6 * UM2_PER_MM2 * pinned_share(film, metal=metal)
    return np.asarray(per_mm2 * depinning_rate_per_site_Hz(time_s, metal=metal, tunnelling=tunnelling))


def _positive(name: str, value: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(value, dtype=np.float64)
    if not np.all(np.isfinite(array) & (array > 0)):
        raise InputError(f"{name}: found {np.min(array):g}, expected finite numbers above 0.")
    return array
