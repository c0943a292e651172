"""A climb from a minimum to a saddle along the softest mode, and the minima on both sides of it.

G. Henkelman and H. Jonsson, J. Chem. Phys. 111, 7010 (1999), the dimer, as ASE has it. Only the atoms about the
damage move on the way up, which is too high by what the others would give way: the minima on both sides and the
path that is found between them are those of the whole box.
"""

# ASE annotates only part of what it offers:
# mypy: disallow-untyped-calls=False, disable-error-code=misc

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.mep import DimerControl, MinModeAtoms, MinModeTranslate
from numpy.typing import NDArray

from cascade_driver.relaxation.debris.search import (
    Found,
    Landscape,
    SearchSpec,
    WayOut,
    add,
    is_same_place,
    near,
    next_to_climb_from,
)
from cascade_driver.schema import seed_from
from cascade_driver.simulation.engine import EngineAbortError, Minimum

#: A climb begins with atoms about one that lies this near to the damage,
CENTRE_A = 3.0
#: those this near to it,
_TOGETHER_A = 3.2
#: displaced by this in each direction: out of the bottom of the well.
_DISPLACED_A = 0.05

#: Rotations of the dimer towards a soft mode before its first step, and at each. Without the former, and with one
#: each, four of five climbs go up a stiff one and lose their way, and a find takes twice the time.
_ROTATIONS_BEFORE, _ROTATIONS = 12, 2

#: The force that is left at a saddle, at most, and the steps that it may take.
_SADDLE_eV_A = 0.05
_STEPS = 120

#: A climb this far above the highest barrier that counts leads nowhere of interest; it begins high, too.
_ABOVE_eV = 1.0
_FIRST_STEPS = 20

#: From the saddle to both sides, the longest displacement of an atom.
_ASIDE_A = 0.15

#: A climb to a minimum that is known begins after this share of the way: from half of it some come to the saddle
#: beyond.
_SHARE_OF_WAY = 0.3

#: Nearly at rest, and the surroundings held, a minimum is told from others by this.
_SAME_eV, _SAME_A = 0.02, 0.3

#: A saddle, with the force that is left there, is told from others by this.
_SAME_SADDLE_A = 0.1

#: A way further up is none of cold debris, nor a pair that tunnels: its path is not worth the time.
_PAIR_eV = 0.1

#: The seeds of bursts end before those of climbs begin.
_SEEDS_OF_CLIMBS = 1_000_000


class _NearCalculator(Calculator):
    """The active atoms as ASE sees them, all others held."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012  as the base class declares it

    def __init__(self, landscape: Landscape, around_A: NDArray[np.float64]) -> None:
        super().__init__()
        self._landscape, self._around_A = landscape, around_A

    def calculate(
        self, atoms: Any = None, properties: Any = ("energy",), system_changes: Any = all_changes
    ) -> None:
        """Evaluate energy and forces."""
        super().calculate(atoms, properties, system_changes)
        positions = np.asarray(self.atoms.get_positions() if self.atoms is not None else [], dtype=np.float64)
        energy, forces = self._landscape.energy_and_forces_near(positions, around_A=self._around_A)
        self.results = {"energy": energy, "forces": forces}


def one_saddle_search(landscape: Landscape, found: Found, spec: SearchSpec, *, seed: int) -> None:
    """Do the next saddle search and add what it finds.

    Raises
    ------
    EngineAbortError
        If the engine gave up; the search is counted as lost.
    """
    parent = next_to_climb_from(found, spec)
    generator = np.random.default_rng(seed_from(seed, _SEEDS_OF_CLIMBS + found.searches))
    found.searches += 1
    found.climbed[parent] += 1
    pushed = _pushed_at_random(landscape, found.positions_A[parent], generator)
    try:
        for side in _climb_and_add(landscape, found, spec, parent, pushed_A=pushed, generator=generator):
            # A saddle between two others: what is below is near, and there is a way to it.
            towards = _SHARE_OF_WAY * (side - found.positions_A[parent])
            _climb_and_add(landscape, found, spec, parent, pushed_A=towards, generator=generator)
    except EngineAbortError:
        found.lost += 1
        raise


def _climb_and_add(
    landscape: Landscape,
    found: Found,
    spec: SearchSpec,
    parent: int,
    *,
    pushed_A: NDArray[np.float64],
    generator: np.random.Generator,
) -> list[NDArray[np.float64]]:
    """Climb from displaced atoms and add the saddle, or count it once more.

    Returns
    -------
    list of (n, 3) float
        Minima below a saddle that is none of the parent's, nearly at rest, if debris may go down to them.
    """
    at = climb(
        landscape,
        found.positions_A[parent],
        pushed_A=pushed_A,
        above_eV=spec.barrier_below_eV,
        generator=generator,
    )
    if at is None:
        found.lost += 1
        return []
    for way in found.ways:
        if way.parent == parent and is_same_place(
            landscape.atoms, way.saddle_A, at.saddle_A, within_A=_SAME_SADDLE_A
        ):  # quenches on both sides would cost more than the climb did
            way.times += 1
            return []
    sides = _sides(landscape, at) if at.barrier_eV <= spec.barrier_below_eV else []
    began_A = found.positions_A[parent]
    back = [landscape.is_back(side, began_A, within_eV=_SAME_eV, within_A=_SAME_A) for side in sides]
    found.too_high += not sides
    found.unconnected += bool(sides) and not any(back)
    child, length = None, 0.0
    if any(back):
        beyond_A = sides[1 - back.index(True)].positions_A
        child, length = _beyond(landscape, found, spec, at, parent=parent, beyond_A=beyond_A)
    found.ways.append(
        WayOut(parent=parent, child=child, barrier_eV=at.barrier_eV, saddle_A=at.saddle_A, length_amu12_A=length)
    )
    if child is not None and found.energies_eV[child] <= found.energies_eV[parent] + _PAIR_eV:
        found.link(parent, child)
        found.saddles_A.setdefault((min(parent, child), max(parent, child)), at.saddle_A)
    if any(back):
        return []
    top = at.floor_eV + spec.explore_below_eV
    return [side.positions_A for side in sides if side.potential_energy_eV <= top]


def _sides(landscape: Landscape, at: Saddle) -> list[Minimum]:
    """Return the minima on both sides of a saddle, nearly at rest."""
    aside = _ASIDE_A / np.max(np.linalg.norm(at.mode, axis=1)) * at.mode
    return [landscape.minimum_near(at.saddle_A + sign * aside) for sign in (1, -1)]


def _beyond(
    landscape: Landscape,
    found: Found,
    spec: SearchSpec,
    at: Saddle,
    *,
    parent: int,
    beyond_A: NDArray[np.float64],
) -> tuple[int | None, float]:
    """Return the minimum beyond a new saddle and the length of the way; None and 0 if there is none to keep."""
    other = landscape.minimum(beyond_A)
    child = add(landscape, found, other, spec)
    if child == parent:  # a saddle between two images of one minimum
        found.returned += 1
        return None, 0.0
    if child is None:
        return None, 0.0
    root = np.sqrt(landscape.atoms.get_masses())[:, None]
    steps = (at.saddle_A - found.positions_A[parent], other.positions_A - at.saddle_A)
    return child, float(sum(np.linalg.norm(root * step) for step in steps))


@dataclass(frozen=True, kw_only=True)
class Saddle:
    """Where a climb ended.

    Attributes
    ----------
    saddle_A, mode : (n, 3) float
        Place, and direction of the negative curvature.
    floor_eV, barrier_eV : float
        Energy of the minimum that it began in, of the active atoms and what they feel, and the saddle's above it.
    """

    saddle_A: NDArray[np.float64]
    mode: NDArray[np.float64]
    floor_eV: float
    barrier_eV: float


def _pushed_at_random(
    landscape: Landscape, minimum_A: NDArray[np.float64], generator: np.random.Generator
) -> NDArray[np.float64]:
    """Return displacements (n, 3) of some active atoms about one of the centres."""
    pushed = np.zeros_like(minimum_A)
    centre = generator.choice(landscape.centres)
    box = landscape.atoms.copy()
    box.set_positions(minimum_A)
    together = np.intersect1d(near(box, np.array([centre]), within_A=_TOGETHER_A), landscape.active)
    pushed[together] = generator.normal(scale=_DISPLACED_A, size=(len(together), 3))
    return pushed


def climb(
    landscape: Landscape,
    minimum_A: NDArray[np.float64],
    *,
    pushed_A: NDArray[np.float64],
    above_eV: float,
    generator: np.random.Generator,
) -> Saddle | None:
    """Return the saddle that a climb from a minimum comes to; None if to none.

    Parameters
    ----------
    landscape : Landscape
    minimum_A, pushed_A : (n, 3) float
        Where it begins, and the displacement of active atoms that the climb goes on along at first.
    above_eV : float
        Where the climb is given up, `_ABOVE_eV` above this.
    generator : numpy.random.Generator
    """
    active = landscape.active
    moving = Atoms(landscape.atoms.get_chemical_symbols(), positions=minimum_A)[active]
    moving.calc = _NearCalculator(landscape, minimum_A)
    floor = float(moving.get_potential_energy())
    control = DimerControl(
        logfile=None,
        initial_eigenmode_method="displacement",
        displacement_method="vector",
        mask=[True] * len(active),
        max_num_rot=_ROTATIONS_BEFORE,
    )
    dimer = MinModeAtoms(moving, control, random_seed=int(generator.integers(2**31)))
    dimer.displace(displacement_vector=pushed_A[active])
    dimer.get_forces()
    control.set_parameter("max_num_rot", _ROTATIONS)
    converged = False
    with MinModeTranslate(dimer, logfile=None) as optimiser:
        for step, converged in enumerate(optimiser.irun(fmax=_SADDLE_eV_A, steps=_STEPS)):  # noqa: B007  the last
            if step > _FIRST_STEPS and dimer.get_potential_energy() - floor > above_eV + _ABOVE_eV:
                return None
    if not converged or dimer.get_curvature() >= 0:
        return None
    saddle, mode = minimum_A.copy(), np.zeros_like(minimum_A)
    saddle[active] = moving.get_positions()
    mode[active] = dimer.get_eigenmode()
    barrier = float(moving.get_potential_energy()) - floor
    return Saddle(saddle_A=saddle, mode=mode, floor_eV=floor, barrier_eV=barrier)
