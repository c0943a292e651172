r"""How much damage a recoil does, without molecular dynamics: partition of its energy, numbers of defects.

A recoil of energy E_R spends a part on electrons; the rest, the damage energy, moves atoms (Robinson's fit of
Lindhard's theory, in Norgett, Robinson & Torrens, Nucl. Eng. Des. 33, 50 (1975),
doi:10.1016/0029-5493(75)90035-7, eqs. 1-6):

.. math::
    T &= \frac{E_R}{1 + k\,g(\epsilon)}, \quad \epsilon = E_R/E_L, \quad
    g(\epsilon) = 3.4008\,\epsilon^{1/6} + 0.40244\,\epsilon^{3/4} + \epsilon \\
    E_L &= 30.724\,Z_1 Z_2 \sqrt{Z_1^{2/3} + Z_2^{2/3}}\,\frac{A_1 + A_2}{A_2}\ \mathrm{eV} \\
    k &= 0.0793\,Z_1^{2/3} Z_2^{1/2} (A_1 + A_2)^{3/2} (Z_1^{2/3} + Z_2^{2/3})^{-3/4} A_1^{-3/2} A_2^{-1/2}

which for an atom in its own crystal is k = 0.1337 Z^{1/6} (Z/A)^{1/2}. In a compound the target is the mean atom,
Z and A weighted by the numbers of atoms, as Bragg's rule has it; E_d is the harmonic mean of the species', each
of which is hit as often as there are atoms of it. Below about a keV and for a light recoil among heavy atoms this
is an extrapolation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from ase.data import atomic_masses, atomic_numbers
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from cascade_driver.analysis.outcomes import usable_cascades
from cascade_driver.analysis.threshold import threshold_energies
from cascade_driver.errors import FitError, InputError
from cascade_driver.schema import parameters
from cascade_driver.simulation.outcome import CascadeTable
from cascade_driver.target import parse_target

#: b, c and the E_d in eV that belong to them, of the efficiency of arc-dpa: Nordlund et al., Nat. Commun. 9, 1084
#: (2018), doi:10.1038/s41467-018-03415-5, table 1 (errors 0.02 to 0.12 of b, 0.005 to 0.02 of c). The table was
#: not at hand: b and c are as two other codes or more copy them from there, those of Ni and all E_d as one does.
ARC_DPA: Mapping[str, tuple[float, float, float]] = MappingProxyType(
    {
        "Fe": (-0.568, 0.286, 40.0),
        "Cu": (-0.68, 0.16, 33.0),
        "Ni": (-1.01, 0.23, 39.0),
        "Pd": (-0.88, 0.15, 41.0),
        "Pt": (-1.12, 0.11, 42.0),
        "W": (-0.56, 0.12, 70.0),
    }
)

#: Of Norgett, Robinson & Torrens: an interatomic potential is softer than hard spheres.
NRT_EFFICIENCY = 0.8


@parameters
class DamageSpec:
    """A recoil in a target, and what damage costs there.

    Attributes
    ----------
    target : str
        Chemical formula, e.g. `Si`, `CaWO4` or, enriched, `CaWO4[W183=0.9]`.
    recoil : str, optional
        Species of the recoil; by default that of an elemental target.
    displacement_eV : dict of str to float
        Threshold displacement energy E_d of each species, e.g. `Si=20`.
    pair_eV : float, optional
        Energy that one Frenkel pair stores.
    """

    target: str
    recoil: str | None = None
    displacement_eV: dict[str, float] = Field(min_length=1)
    pair_eV: float | None = Field(default=None, gt=0)


@dataclass(frozen=True, kw_only=True, eq=False)
class DamageEstimate:
    """What recoils of some energies do, (n,) each.

    Attributes
    ----------
    recoil_energy_eV, damage_energy_eV : (n,) float
        E_R and T.
    kinchin_pease, nrt : (n,) float
        Frenkel pairs.
    arc_dpa : (n,) float, optional
        Of the six metals in `ARC_DPA`.
    stored_energy_eV : (n,) float, optional
        Pairs of NRT (arc-dpa where there is one) times their energy.
    displacement_eV : float
        The E_d that was used.
    """

    recoil_energy_eV: NDArray[np.float64]
    damage_energy_eV: NDArray[np.float64]
    kinchin_pease: NDArray[np.float64]
    nrt: NDArray[np.float64]
    arc_dpa: NDArray[np.float64] | None
    stored_energy_eV: NDArray[np.float64] | None
    displacement_eV: float


def damage_energy_eV(
    recoil_energy_eV: ArrayLike, *, recoil: tuple[float, float], target: tuple[float, float]
) -> NDArray[np.float64]:
    """Return the damage energy T of a recoil, in eV; see the head of the module.

    Parameters
    ----------
    recoil_energy_eV : (n,) float
    recoil, target : (float, float)
        Atomic number and mass in u; of a compound the mean ones.
    """
    energy = np.asarray(recoil_energy_eV, dtype=np.float64)
    (z1, a1), (z2, a2) = recoil, target
    screening = z1 ** (2 / 3) + z2 ** (2 / 3)
    epsilon = energy / (30.724 * z1 * z2 * np.sqrt(screening) * (a1 + a2) / a2)
    k = 0.0793 * z1 ** (2 / 3) * np.sqrt(z2) * (a1 + a2) ** 1.5 / (screening**0.75 * a1**1.5 * np.sqrt(a2))
    g = 3.4008 * epsilon ** (1 / 6) + 0.40244 * epsilon**0.75 + epsilon
    return np.asarray(energy / (1 + k * g))


def kinchin_pease(recoil_energy_eV: ArrayLike, *, displacement_eV: float, mass_u: float) -> NDArray[np.float64]:
    r"""Return the displaced atoms of Kinchin & Pease, Rep. Prog. Phys. 18, 1 (1955),
    doi:10.1088/0034-4885/18/1/301.

    0 below E_d, 1 up to 2 E_d, then E_R/(2 E_d), with E_R no larger than A keV, above which all goes to electrons.
    """
    energy = np.minimum(np.asarray(recoil_energy_eV, dtype=np.float64), 1e3 * mass_u)
    return _steps(energy, displacement_eV, efficiency=1.0)


def nrt(damage_energy_eV: ArrayLike, *, displacement_eV: float) -> NDArray[np.float64]:
    """Return the Frenkel pairs of Norgett, Robinson & Torrens: 0, 1, then 0.8 T/(2 E_d)."""
    return _steps(np.asarray(damage_energy_eV, dtype=np.float64), displacement_eV, efficiency=NRT_EFFICIENCY)


def _steps(energy: NDArray[np.float64], displacement_eV: float, *, efficiency: float) -> NDArray[np.float64]:
    many = efficiency * energy / (2 * displacement_eV)
    return np.asarray(np.where(energy < displacement_eV, 0.0, np.maximum(many, 1.0)))


def arc_dpa(damage_energy_eV: ArrayLike, *, element: str, displacement_eV: float) -> NDArray[np.float64]:
    r"""Return the Frenkel pairs that survive the cascade's own recombination (arc-dpa).

    NRT times :math:`\xi = (1 - c) (T/(2 E_d/0.8))^b + c` where NRT is above 1; paper at `ARC_DPA`.

    Raises
    ------
    InputError
        If the table has no constants for the element.
    """
    if element not in ARC_DPA:
        raise InputError(
            f"arc-dpa: no b and c here for {element}, only for {', '.join(ARC_DPA)}: use NRT, which is an upper "
            "estimate"
        )
    b, c, _ = ARC_DPA[element]
    damage = np.asarray(damage_energy_eV, dtype=np.float64)
    above = np.maximum(damage * NRT_EFFICIENCY / (2 * displacement_eV), 1.0)
    return np.asarray(nrt(damage, displacement_eV=displacement_eV) * ((1 - c) * above**b + c))


def mean_atom(formula: str) -> tuple[dict[str, float], float, float]:
    """Return shares of the species by number, and mean atomic number and mass in u.

    Parameters
    ----------
    formula : str
        As `parse_target` takes it.

    Raises
    ------
    InputError
        As `parse_target`.
    """
    isotopes = parse_target(formula).isotopes
    atoms = sum(isotope.atoms_per_kg for isotope in isotopes)
    shares: dict[str, float] = {}
    for isotope in isotopes:
        shares[isotope.symbol] = shares.get(isotope.symbol, 0.0) + isotope.atoms_per_kg / atoms
    z = sum(isotope.atomic_number * isotope.atoms_per_kg for isotope in isotopes) / atoms
    a = sum(isotope.mass_u * isotope.atoms_per_kg for isotope in isotopes) / atoms
    return shares, z, a


def estimate(spec: DamageSpec, *, energies_eV: ArrayLike) -> DamageEstimate:
    """Return what recoils do in a target, without molecular dynamics.

    Parameters
    ----------
    spec : DamageSpec
    energies_eV : (n,) float
        Recoil energies E_R.

    Raises
    ------
    InputError
        If the target is no formula, an energy is not positive, or a threshold or the recoil is missing.
    """
    shares, z, a = mean_atom(spec.target)
    energies = np.atleast_1d(np.asarray(energies_eV, dtype=np.float64))
    if not len(energies) or not np.all((energies > 0) & np.isfinite(energies)):
        raise InputError("recoil energies must be above 0 eV; correct them")
    if strange := sorted(set(spec.displacement_eV) - set(shares)):
        raise InputError(
            f"a displacement energy is given for {', '.join(strange)}, not in {spec.target}; remove it"
        )
    if missing := sorted(set(shares) - set(spec.displacement_eV)):
        raise InputError(
            f"no displacement energy of {', '.join(missing)}; give one for each species of {spec.target}"
        )
    if low := [symbol for symbol, energy in spec.displacement_eV.items() if energy <= 0]:
        raise InputError(f"the displacement energy of {low[0]} is not above 0 eV; correct it")
    if spec.pair_eV is not None and spec.pair_eV > max(spec.displacement_eV.values()):
        raise InputError(
            f"a Frenkel pair cannot store {spec.pair_eV:g} eV where {max(spec.displacement_eV.values()):g} eV "
            "make one; correct `pair_eV` or the displacement energies"
        )
    recoil = spec.recoil or (next(iter(shares)) if len(shares) == 1 else None)
    if recoil not in atomic_numbers or recoil == "X":
        wrong = "" if spec.recoil is None else f"`recoil` {spec.recoil!r} is no element: "
        raise InputError(
            f"{wrong}name the element that recoils in {spec.target}, e.g. `recoil` {next(iter(shares))}"
        )
    of_recoil = float(atomic_numbers[recoil]), float(atomic_masses[atomic_numbers[recoil]])
    displacement = 1 / sum(share / spec.displacement_eV[symbol] for symbol, share in shares.items())
    damage = damage_energy_eV(energies, recoil=of_recoil, target=(z, a))
    pairs = nrt(damage, displacement_eV=displacement)
    surviving = (
        arc_dpa(damage, element=recoil, displacement_eV=displacement)
        if len(shares) == 1 and recoil in ARC_DPA and recoil in shares
        else None
    )
    return DamageEstimate(
        recoil_energy_eV=energies,
        damage_energy_eV=damage,
        kinchin_pease=kinchin_pease(energies, displacement_eV=displacement, mass_u=of_recoil[1]),
        nrt=pairs,
        arc_dpa=surviving,
        stored_energy_eV=None
        if spec.pair_eV is None
        else (pairs if surviving is None else surviving) * spec.pair_eV,
        displacement_eV=displacement,
    )


def damage_columns(found: DamageEstimate) -> dict[str, list[float]]:
    """Return an estimate as columns of a table, by name with unit."""
    columns = {
        "recoil_energy_eV": found.recoil_energy_eV,
        "damage_energy_eV": found.damage_energy_eV,
        "kinchin_pease_pairs": found.kinchin_pease,
        "nrt_pairs": found.nrt,
        "arc_dpa_pairs": found.arc_dpa,
        "stored_energy_eV": found.stored_energy_eV,
    }
    return {name: values.tolist() for name, values in columns.items() if values is not None}


def said_beside(table: CascadeTable, *, formula: str) -> dict[str, str]:
    """Return what NRT says of the recoils of a campaign beside what they did, a line per species.

    E_d is the median over the campaign's own directions of the lowest energy that stores something; in a compound
    it stands for all species. Species whose cascades do not bracket it are left out.
    """
    said = {}
    shares = mean_atom(formula)[0]
    for species in sorted({str(name) for name in table.species}):
        try:
            cascades = usable_cascades(table, species=species, allow_failures=True)
        except FitError:
            continue
        displacement = threshold_energies(cascades).median_eV
        if displacement is None or species not in shares:
            continue
        energy = float(cascades.recoil_energy_eV.max())
        there = cascades.recoil_energy_eV == energy
        stored = float(np.average(cascades.stored_energy_eV[there], weights=cascades.weight[there]))
        spec = DamageSpec(target=formula, recoil=species, displacement_eV=dict.fromkeys(shares, displacement))
        found = estimate(spec, energies_eV=[energy])
        said[f"estimate for {species}"] = (
            f"E_d about {displacement:.3g} eV (median of the directions here); at {energy:g} eV NRT "
            f"{found.nrt[0]:.2f}, Kinchin-Pease {found.kinchin_pease[0]:.2f} Frenkel pairs; stored here "
            f"{stored:.3g} eV"
        )
    return said
