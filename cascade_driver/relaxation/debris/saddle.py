"""A climb from a minimum to a saddle along the softest mode, and the minima on both sides of it.

G. Henkelman and H. Jonsson, J. Chem. Phys. 111, 7010 (1999), the dimer, as ASE has it. Only the atoms about the
damage move on the way up, which is too high by what the others would give way: the minima on both sides and the
path that is found between them are those of the whole box.

    an atom near the damage and those about it -> a fluctuation of them as heat makes it, soft modes most
    -> climb of these alone -> climb of all active atoms

Soft modes of all active atoms are waves across them, which lead nowhere; those of a few are what gives way.
"""

# ASE annotates only part of what it offers:
# mypy: disallow-untyped-calls=False, disable-error-code=misc

from __future__ import annotations

from collections.abc import Sequence
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
_TOGETHER_A = 5.0
#: displaced along their modes as heat does it, to an energy between these in all; no mode counts for softer than
#: this. With 0.5 eV one climb in eight leaves the bottom of the well.
_DISPLACED_eV = (1.0, 3.0)
_SOFTEST_eV_A2 = 0.3

#: Rotations of the dimer towards a soft mode before its first step, and at each. Without the former, and with one
#: each, four of five climbs go up a stiff one and lose their way, and a find takes twice the time.
_ROTATIONS_BEFORE, _ROTATIONS = 12, 2

#: The force that is left at a saddle, at most, and the steps that it may take.
_SADDLE_eV_A = 0.05
_STEPS = 120

#: Of the climb of a few atoms, which the climb of all goes on from.
_NEARLY_SADDLE_eV_A = 0.3
_FIRST_CLIMB_STEPS = 60

#: A climb this far above the highest barrier that counts leads nowhere of interest; it begins high, too: until so
#: many steps it may be higher.
_ABOVE_eV, _FAR_ABOVE_eV = 1.0, 5.0
_FIRST_STEPS = 20

#: A climb that has come to no negative curvature after so many steps goes up a stiff mode: of 25 that came to a
#: saddle all had after 11.
_CONVEX_STEPS = 12

#: From the saddle to both sides, the longest displacement of an atom.
_ASIDE_A = 0.15

#: A climb to a minimum that is known begins after this share of the way: from half of it some come to the saddle
#: beyond.
_SHARE_OF_WAY = 0.3

#: Nearly at rest, and the surroundings held, a minimum is told from others by this.
_SAME_eV, _SAME_A = 0.02, 0.3

#: A saddle, with the force that is left there, is told from others by this.
_SAME_SADDLE_A = 0.1

#: A way further up is none of cold debris, nor a pair that tunnels: its path is not worth the time, nor is a
#: quench of the box, where it is further up by more than the surroundings give way.
_PAIR_eV, _GIVES_WAY_eV = 0.1, 0.1

#: The seeds of bursts end before those of climbs begin.
_SEEDS_OF_CLIMBS = 1_000_000


class _NearCalculator(Calculator):
    """Some of the active atoms as ASE sees them, all others held."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012  as the base class declares it

    def __init__(self, landscape: Landscape, around_A: NDArray[np.float64], some: NDArray[np.int64]) -> None:
        super().__init__()
        self._landscape, self._around_A, self._some = landscape, around_A, some

    def calculate(
        self, atoms: Any = None, properties: Any = ("energy",), system_changes: Any = all_changes
    ) -> None:
        """Evaluate energy and forces."""
        super().calculate(atoms, properties, system_changes)
        positions = self._around_A[self._landscape.active]
        positions[self._some] = self.atoms.get_positions() if self.atoms is not None else []
        energy, forces = self._landscape.energy_and_forces_near(positions, around_A=self._around_A)
        self.results = {"energy": energy, "forces": forces[self._some]}


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
    try:
        few = _few_together(landscape, found.positions_A[parent], generator)
        pushed = _pushed_by_heat(landscape, found.positions_A[parent], few, generator)
        for side in _climb_and_add(
            landscape, found, spec, parent, pushed_A=pushed, generator=generator, at_first=few
        ):
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
    at_first: NDArray[np.int64] | None = None,
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
        at_first=at_first,
        known_A=[way.saddle_A for way in found.ways if way.parent == parent],
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
        beyond = sides[1 - back.index(True)]
        if beyond.potential_energy_eV > at.floor_eV + _PAIR_eV + _GIVES_WAY_eV:
            found.too_high += 1
        else:
            child, length = _beyond(landscape, found, spec, at, parent=parent, beyond_A=beyond.positions_A)
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


def _few_together(
    landscape: Landscape, minimum_A: NDArray[np.float64], generator: np.random.Generator
) -> NDArray[np.int64]:
    """Return the active atoms about one of the centres, by their place in `active`."""
    centre = generator.choice(landscape.centres)
    box = landscape.atoms.copy()
    box.set_positions(minimum_A)
    return np.flatnonzero(np.isin(landscape.active, near(box, np.array([centre]), within_A=_TOGETHER_A)))


def _pushed_by_heat(
    landscape: Landscape,
    minimum_A: NDArray[np.float64],
    few: NDArray[np.int64],
    generator: np.random.Generator,
) -> NDArray[np.float64]:
    r"""Return displacements (n, 3) of a few active atoms: a thermal fluctuation of these alone.

    .. math:: q = \sum_k \xi_k e_k / \sqrt{\lambda_k}, \qquad \tfrac12 q^T H q = E

    with eigenvectors and eigenvalues of their second derivatives H, normal random numbers xi, and E of
    `_DISPLACED_eV`.
    """
    curvatures = landscape.curvatures_near(minimum_A, few)
    stiffness, modes = np.linalg.eigh(curvatures)
    stiffness = np.clip(stiffness, _SOFTEST_eV_A2, None)
    along = generator.normal(size=len(stiffness)) / np.sqrt(stiffness)
    along *= np.sqrt(generator.uniform(*_DISPLACED_eV) / (0.5 * np.sum(stiffness * along**2)))
    pushed = np.zeros_like(minimum_A)
    pushed[landscape.active[few]] = (modes @ along).reshape(-1, 3)
    return pushed


@dataclass(kw_only=True)
class _Climb:
    """A climb on its way: where it is, and the direction that it goes on along.

    Attributes
    ----------
    positions_A, mode : (n, 3) float
    floor_eV, height_eV : float
        Energy where it began, and where it is above that.
    curvature_eV_A2 : float
        Along the mode.
    """

    positions_A: NDArray[np.float64]
    mode: NDArray[np.float64]
    floor_eV: float
    height_eV: float = 0.0
    curvature_eV_A2: float = 0.0


def climb(
    landscape: Landscape,
    minimum_A: NDArray[np.float64],
    *,
    pushed_A: NDArray[np.float64],
    above_eV: float,
    generator: np.random.Generator,
    at_first: NDArray[np.int64] | None = None,
    known_A: Sequence[NDArray[np.float64]] = (),
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
    at_first : (k,) int, optional
        These alone climb first, by their place in `active`; then all do.
    known_A : sequence of (n, 3) float
        Saddles that need not be found to the last digit: the climb ends near one of them.
    """
    every = np.arange(len(landscape.active))
    floor, _ = landscape.energy_and_forces_near(minimum_A[landscape.active], around_A=minimum_A)
    at = _Climb(positions_A=minimum_A + pushed_A, mode=pushed_A, floor_eV=floor)
    if at_first is not None:
        at_rest = _follow(
            landscape, at, at_first, above_eV=above_eV, rest_eV_A=_NEARLY_SADDLE_eV_A, generator=generator
        )
        if at_rest is None or at.curvature_eV_A2 >= 0:
            return None
    is_first = at_first is None
    at_rest = _follow(
        landscape,
        at,
        every,
        above_eV=above_eV,
        rest_eV_A=_SADDLE_eV_A,
        generator=generator,
        rotations=_ROTATIONS_BEFORE if is_first else _ROTATIONS,
        known_A=known_A,
    )
    if not at_rest or at.curvature_eV_A2 >= 0:
        return None
    return Saddle(saddle_A=at.positions_A, mode=at.mode, floor_eV=floor, barrier_eV=at.height_eV)


def _follow(
    landscape: Landscape,
    at: _Climb,
    some: NDArray[np.int64],
    *,
    above_eV: float,
    rest_eV_A: float,
    generator: np.random.Generator,
    rotations: int = _ROTATIONS_BEFORE,
    known_A: Sequence[NDArray[np.float64]] = (),
) -> bool | None:
    """Let some of the active atoms climb on; return whether they came to rest, None where they lost their way."""
    moving_atoms = landscape.active[some]
    moving = Atoms(landscape.atoms.get_chemical_symbols(), positions=at.positions_A)[moving_atoms]
    moving.calc = _NearCalculator(landscape, at.positions_A, some)
    control = DimerControl(logfile=None, mask=[True] * len(some), max_num_rot=rotations)
    mode = at.mode[moving_atoms]
    dimer = MinModeAtoms(
        moving,
        control,
        random_seed=int(generator.integers(2**31)),
        eigenmodes=[mode / np.linalg.norm(mode)],
    )
    dimer.get_forces()
    control.set_parameter("max_num_rot", _ROTATIONS)
    converged, has_turned, is_known = False, False, False
    steps = _STEPS if len(some) == len(landscape.active) else _FIRST_CLIMB_STEPS
    with MinModeTranslate(dimer, logfile=None) as optimiser:
        for step, converged in enumerate(optimiser.irun(fmax=rest_eV_A, steps=steps)):  # noqa: B007  the last
            height = dimer.get_potential_energy() - at.floor_eV - above_eV
            has_turned = has_turned or dimer.get_curvature() < 0
            is_astray = step >= _CONVEX_STEPS and not has_turned
            if is_astray or height > (_ABOVE_eV if step > _FIRST_STEPS else _FAR_ABOVE_eV):
                return None
            here = moving.get_positions()
            apart = [np.linalg.norm(here - saddle[moving_atoms], axis=1).max() for saddle in known_A]
            is_known = dimer.get_curvature() < 0 and min(apart, default=np.inf) < _SAME_SADDLE_A
            if is_known:
                break
    at.positions_A, at.mode = at.positions_A.copy(), np.zeros_like(at.positions_A)
    at.positions_A[moving_atoms] = moving.get_positions()
    at.mode[moving_atoms] = dimer.get_eigenmode()
    at.height_eV = float(dimer.get_potential_energy()) - at.floor_eV
    at.curvature_eV_A2 = float(dimer.get_curvature())
    return bool(converged or is_known)
