r"""Where the ZBL core of a pair ends and its body begins, chosen by what is known of the pair.

Three things bound the switch of a pair of elements.

1. The body must be left alone where atoms of a solid are: the switch ends at `LARGEST_BOND_SHARE` of the shortest
   bond of the pair at the latest.
2. Collisions of the energies wanted must meet ZBL alone where they are hardest: the switch begins above the
   distance of closest approach, which two atoms have in a head-on collision,

   .. math:: E_{ZBL}(r) = E_R \frac{M_2}{M_1 + M_2}.

3. Between the two it should add no force of its own. In E = s E_ZBL + (1 - s) E_body the switch adds
   -s' (E_ZBL - E_body): of all pairs of radii on a grid those are taken where its largest share of the force that
   core and body exert is least, and two atoms repel each other all the way.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from ase.data import atomic_masses, atomic_numbers, covalent_radii
from ase.neighborlist import neighbor_list
from numpy.typing import NDArray
from pydantic import Field
from scipy.optimize import brentq

from cascade_driver.errors import InputError
from cascade_driver.schema import build, parameters
from cascade_driver.simulation.crystal import CrystalSpec, constituents
from cascade_driver.simulation.potential import ZblSwitch
from cascade_driver.validation.zbl import PairCurve, numbers_of, switch, zbl

#: Thermal and zero-point motion bring bonded atoms to 0.9 of their distance (0.15 A of 1.5, 0.2 of 2.4 at 600 K).
LARGEST_BOND_SHARE = 0.85
#: Shortest switch, as a share of the bond: a shorter one has a curvature of its own that a cascade would feel.
SMALLEST_WIDTH_SHARE = 0.2
#: Radii are looked for on this grid.
_GRID_A = 0.05


@dataclass(frozen=True, kw_only=True)
class ChosenSwitch:
    """Radii of a pair, and why.

    Attributes
    ----------
    radii : ZblSwitch
        Pure ZBL below `inner_A`, pure body above `outer_A`.
    bond_A : float
        Shortest bond of the pair.
    closest_A : float
        Distance of closest approach at the energy wanted.
    added_share : float
        Largest force that the switch adds, as a share of that of core and body.
    recoil_energy_eV : float
        The energy wanted.
    """

    radii: ZblSwitch
    bond_A: float
    closest_A: float
    added_share: float
    recoil_energy_eV: float

    @property
    def said(self) -> str:
        """The choice in words."""
        return (
            f"pure ZBL below {self.radii.inner_A:g} A (recoils of {self.recoil_energy_eV:g} eV come as near as "
            f"{self.closest_A:.2f} A), pure body above {self.radii.outer_A:g} A "
            f"({self.radii.outer_A / self.bond_A:.2f} of the shortest bond, {self.bond_A:.2f} A); the switch adds "
            f"{self.added_share:.0%} to the force at most"
        )


def closest_approach_A(pair: tuple[str, str], recoil_energy_eV: float) -> float:
    """Return the least distance of two atoms in a head-on ZBL collision, the heavier one at rest.

    Examples
    --------
    >>> round(closest_approach_A(("Si", "Si"), 100.0), 2)
    1.01
    """
    masses = [float(atomic_masses[atomic_numbers[symbol]]) for symbol in pair]
    in_centre_of_mass_eV = recoil_energy_eV * max(masses) / sum(masses)
    numbers = numbers_of(pair)

    def excess_eV(r: float) -> float:
        return float(zbl(r, numbers=numbers)[0]) - in_centre_of_mass_eV

    return float(brentq(excess_eV, 1e-3, 10.0))


def shortest_bonds_A(species: tuple[str, ...], crystals: Iterable[CrystalSpec]) -> dict[str, float]:
    """Return the shortest bond of each pair such as `Al-O`: in the crystals, or the sum of the covalent radii.

    Raises
    ------
    InputError
        If a species is no element.
    """
    if strangers := [symbol for symbol in species if symbol not in atomic_numbers]:
        raise InputError(f"--species: {strangers[0]!r} is no chemical element; give symbols such as Si")
    bonds = {
        f"{a}-{b}": float(covalent_radii[atomic_numbers[a]] + covalent_radii[atomic_numbers[b]])
        for i, a in enumerate(species)
        for b in species[i:]
    }
    for spec in crystals:
        for cell in constituents(spec).values():
            i, j, distance_A = neighbor_list("ijd", cell, max(bonds.values()))
            for first, second, d in zip(cell.symbols[i], cell.symbols[j], distance_A, strict=True):
                name = f"{first}-{second}"
                if name in bonds:
                    bonds[name] = min(bonds[name], float(d))
    return bonds


def choose_switch(
    name: str,
    body: PairCurve,
    *,
    bond_A: float,
    recoil_energy_eV: float,
    inner_A: float | None = None,
    outer_A: float | None = None,
) -> ChosenSwitch:
    """Return the radii of a pair with the least force of their own.

    Parameters
    ----------
    name : str
        The pair, such as `Al-O`.
    body : PairCurve
        Two atoms of the body in vacuum, from below the closest approach to the bond.
    bond_A : float
        Shortest bond.
    recoil_energy_eV : float
        Largest energy wanted.
    inner_A, outer_A : float, optional
        Given ones are kept.

    Raises
    ------
    InputError
        If no radii would do.
    """
    first, second = name.split("-")
    pair = (first, second)
    closest_A = closest_approach_A(pair, recoil_energy_eV)
    inners = _grid(closest_A, bond_A) if inner_A is None else np.array([inner_A])
    outers = _grid(closest_A, LARGEST_BOND_SHARE * bond_A) if outer_A is None else np.array([outer_A])
    best: ChosenSwitch | None = None
    for inner in inners.tolist():
        for outer in outers.tolist():
            free = inner_A is None or outer_A is None
            if outer <= inner or (free and outer - inner < SMALLEST_WIDTH_SHARE * bond_A):
                continue
            added = _added_share(body, numbers_of(pair), inner_A=inner, outer_A=outer)
            if best is None or added < best.added_share - 1e-3:
                best = ChosenSwitch(
                    radii=ZblSwitch(inner_A=inner, outer_A=outer),
                    bond_A=bond_A,
                    closest_A=closest_A,
                    added_share=added,
                    recoil_energy_eV=recoil_energy_eV,
                )
    if best is None or not np.isfinite(best.added_share):
        raise InputError(
            f"pair {name}: no switch between {closest_A:.2f} A, the closest approach at {recoil_energy_eV:g} eV, "
            f"and {LARGEST_BOND_SHARE * bond_A:.2f} A, {LARGEST_BOND_SHARE:g} of its shortest bond, joins ZBL and "
            "body without a well; give --inner and --outer, or another --energy-eV"
        )
    return best


@parameters
class SwitchChooser:
    """Chooses the radii of each pair of a potential, for `zbl.join_core`.

    Attributes
    ----------
    bonds_A : mapping of str to float
        Shortest bond of each pair.
    recoil_energy_eV : float
        Recoils up to here meet pure ZBL where they come closest.
    inner_A, outer_A : mapping of str to float
        Given ones, of some pairs.
    """

    bonds_A: dict[str, float]
    recoil_energy_eV: float = Field(default=200.0, gt=0, le=1e6)
    inner_A: dict[str, float]
    outer_A: dict[str, float]

    def __call__(self, name: str, body: PairCurve) -> tuple[ZblSwitch, str]:
        """Return the radii of a pair whose body is `body`, and why."""
        inner, outer = self.inner_A.get(name), self.outer_A.get(name)
        if inner is not None and outer is not None:
            radii = build(ZblSwitch, {"inner_A": inner, "outer_A": outer}, origin=f"pair {name}")
            return radii, f"pure ZBL below {inner:g} A, pure body above {outer:g} A, as given"
        chosen = choose_switch(
            name,
            body,
            bond_A=self.bonds_A[name],
            recoil_energy_eV=self.recoil_energy_eV,
            inner_A=inner,
            outer_A=outer,
        )
        return chosen.radii, chosen.said


def _grid(low: float, high: float) -> NDArray[np.float64]:
    """Return the round numbers between two lengths."""
    steps = np.arange(np.ceil(low / _GRID_A - 1e-9), np.floor(high / _GRID_A + 1e-9) + 1)
    return np.round(steps * _GRID_A, 3)


def _added_share(body: PairCurve, numbers: tuple[int, int], *, inner_A: float, outer_A: float) -> float:
    """Return the largest |s' (E_ZBL - E_body)| over F_ZBL + |F_body|; infinite if the pair attracts in between."""
    inside = (body.distance_A >= inner_A) & (body.distance_A <= outer_A)
    r, energy, force = body.distance_A[inside], body.energy_eV[inside], body.force_eV_A[inside]
    core, slope, _ = zbl(r, numbers=numbers)
    s, ds, _ = switch(r, inner_A=inner_A, outer_A=outer_A)
    added = -ds * (core - energy)
    total = -s * slope + (1 - s) * force + added
    if not np.isfinite(total).all() or (total <= 0).any():
        return float("inf")
    return float((np.abs(added) / (-slope + np.abs(force))).max())
