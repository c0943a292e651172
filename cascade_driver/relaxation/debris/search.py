"""Neighbouring minima of the debris of a cascade: hot bursts of the atoms about the damage, and saddle searches.

    for each burst: choose a known minimum, heat the atoms about the damage for a fraction of a picosecond, quench
    it leads to a known minimum (nothing happened), to one too high to matter, or to a new one: a pair

    for each saddle search: choose a minimum that the debris goes down to, displace some atoms about the damage,
    climb to a saddle with the dimer (`saddle`), quench on both sides: if one is the minimum that it began in, the
    other is a pair

Cold debris goes down, over barriers that it can tunnel through: what else surrounds it does not matter, and there
is ever more of it the further one looks. In the debris of silicon five of six saddles lead up, nowhere, or through
more than is crossed in a year. Climbs therefore begin where ways lead that matter, `Found.matters`, to the minima
of `Found.reached`, until each of these has shown its own, `Found.coverage_of`. The search is a chain whose seeds
are its numbers: what is kept after step k continues to the same result.
"""

# ASE annotates only part of what it offers:
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Annotated

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms
from numpy.typing import NDArray
from pydantic import Field
from scipy.spatial import KDTree
from scipy.special import gammaincinv

from cascade_driver.errors import InputError
from cascade_driver.relaxation.debris.tunnelling import HBAR_AMU12_A_eV12
from cascade_driver.schema import parameters, seed_from
from cascade_driver.simulation.defects import wrapped
from cascade_driver.simulation.engine import Engine, EngineAbortError, Minimum
from cascade_driver.simulation.spec import QuenchSpec
from cascade_driver.units import SECONDS_PER_DAY

MakeEngine = Callable[[], Engine]

#: Atoms displaced by more than this belong to the damage, beside those that the census calls defects.
DAMAGED_BEYOND_A = 0.5

#: Damping time of a burst.
_DAMPING_ps = 0.05

#: Nearly at rest no further than this from where it began, a burst led nowhere: it needs no quench of the box.
_BACK_eV, _BACK_A = 5e-3, 0.1

#: To this force active atoms are relaxed alone, in at most so many steps: they go on from there with all.
_NEARLY_eV_A = 0.02
_NEARLY_STEPS = 300

#: Of a quench of a search: some minimisers run for ever at a kink of a potential. What is left of the force counts
#: less than a meV and 0.01 angstrom of a soft mode.
_MOST_STEPS = 600
_REST_eV_A = 1e-3

#: How far atoms feel is sought in these steps, by forces that are alike to rounding, and so much is added for what
#: moves.
_REACH_STEP_A, _ALIKE_eV_A, _SPARE_A = 0.5, 1e-8, 1.0

#: Curvatures are one-sided differences of forces over this: the soft directions of a climb need no more.
_CURVATURE_STEP_A = 0.02

#: An exponent of tunnelling above which a way is gone less than once a year, by 1e13 attempts per second.
_ONCE_A_YEAR = math.log(1e13 * 365.25 * SECONDS_PER_DAY)

#: After so many climbs without a saddle no more are tried; in silicon one of three comes to one.
_CLIMBS_IN_VAIN = 25

#: With which a minimum is covered.
_CONFIDENCE = 0.9

Positive = Annotated[float, Field(gt=0)]


@parameters
class SearchSpec:
    """How neighbouring minima are searched.

    Attributes
    ----------
    bursts : int
        Per cascade.
    saddle_searches : int
        At most, per cascade; they end when `coverage` is reached, or when the first 25 came to no saddle.
    coverage : float
        Where a search ends: about each minimum that the debris goes down to, the chance that a further find of a
        way out that matters is of a known one is at least this, and so many saddles of any kind were found that
        one with a larger share than what is left would be among them, with 90 % confidence.
    likely_above : float
        Minima that the debris comes to with less than this probability are not climbed from.
    barrier_below_eV : float
        Ways out over higher barriers are left out: cold debris does not take them in a year.
    burst_temperatures_K : tuple of float
        One after the other: cold ones find low barriers, hot ones more of them.
    burst_duration_ps : float
    radius_A : float
        Atoms this near to a damaged one take part in bursts and climbs; all take part in a quench.
    explore_below_eV : float
        A way out that ends up to this above where it begins is one down: zero-point energies may make it so.
    keep_below_eV : float
        Minima higher above the debris are forgotten.
    same_energy_eV, same_distance_A : float
        Minima closer than both are one.
    """

    bursts: Annotated[int, Field(ge=0, le=1_000_000)] = 3
    saddle_searches: Annotated[int, Field(ge=0, le=1_000_000)] = 200
    coverage: Annotated[float, Field(gt=0, lt=1)] = 0.9
    likely_above: Annotated[float, Field(ge=0, lt=1)] = 0.01
    barrier_below_eV: Positive = 0.6
    burst_temperatures_K: tuple[Positive, ...] = Field(default=(400.0, 800.0, 1200.0), min_length=1)
    burst_duration_ps: Positive = 0.3
    radius_A: Positive = 6.0
    explore_below_eV: Annotated[float, Field(ge=0)] = 0.05
    keep_below_eV: Positive = 0.3
    same_energy_eV: Positive = 1e-3
    same_distance_A: Positive = 0.1


class Landscape:
    """The potential energy of one box: its minima, and bursts of motion in it.

    Parameters
    ----------
    atoms : ase.Atoms
        The box; its constraints are kept.
    active : (k,) int
        Atoms that move in bursts and climbs.
    centres : (m,) int, optional
        Atoms about which climbs begin; all active ones by default.
    reach_A : float
        Atoms this near to active ones are what these feel: twice the cutoff of a potential of bonds, or less,
        `narrow`.
    make_engine : callable
        Makes an engine; up to two are held.
    quench : QuenchSpec
        How to minimise.
    timestep_fs : float
        Of bursts.
    """

    def __init__(
        self,
        atoms: Atoms,
        *,
        active: NDArray[np.int64],
        make_engine: MakeEngine,
        quench: QuenchSpec,
        centres: NDArray[np.int64] | None = None,
        reach_A: float = 12.0,
        timestep_fs: float = 1.0,
    ) -> None:
        self.atoms = atoms
        self.active = np.asarray(np.sort(active), dtype=np.int64)
        self.centres = self.active if centres is None else centres
        self._make_engine, self._quench, self._reach_A = make_engine, quench, reach_A
        self._timestep_fs = timestep_fs
        self._engines: dict[str, Engine] = {}
        self._curved_at_A = np.empty((0, 3))
        self._curvatures: dict[int, NDArray[np.float64]] = {}

    def narrow(self, *, from_A: float) -> None:
        """Bring the reach down to what the active atoms really feel, by their forces; `from_A` outward.

        Of a potential whose pairs reach far and whose bonds do not, twice the cutoff is too much.
        """
        start = np.asarray(self.atoms.get_positions())
        moved = start.copy()
        moved[self.active] += np.random.default_rng(0).normal(scale=0.05, size=(len(self.active), 3))
        there = self.energy_and_forces(moved)[1][self.active]
        for reach in np.arange(from_A, self._reach_A - _SPARE_A, _REACH_STEP_A).tolist():
            part = self.about(self.active, start, reach_A=reach)
            forces = part.energy_and_forces_near(moved[self.active], around_A=start)[1]
            part.close()
            if np.max(np.abs(forces - there)) < _ALIKE_eV_A:
                self._reach_A = reach + _SPARE_A
                return

    def about(
        self, active: NDArray[np.int64], positions_A: NDArray[np.float64], *, reach_A: float | None = None
    ) -> Landscape:
        """Return the same box as it is at `positions_A`, with other active atoms, and another reach if given."""
        there = self.atoms.copy()
        there.set_positions(positions_A)
        reach_A = self._reach_A if reach_A is None else reach_A
        return Landscape(there, active=active, make_engine=self._make_engine, quench=self._quench, reach_A=reach_A)

    def _engine(self, name: str, box: Callable[[], Atoms]) -> Engine:
        """Return an engine that holds a box, made when it is first asked for."""
        if name not in self._engines:
            self._engines[name] = self._make_engine()
            self._engines[name].build(box())
        return self._engines[name]

    @cached_property
    def _region(self) -> NDArray[np.int64]:
        return near(self.atoms, self.active, within_A=self._reach_A)

    def _close_by(self) -> Atoms:
        """Return the active atoms and what they feel, this held."""
        free = np.setdiff1d(self.active, [i for c in self.atoms.constraints for i in c.get_indices()])
        box = self.atoms.copy()
        box.set_constraint()
        cut: Atoms = box[self._region]
        cut.set_constraint(FixAtoms(indices=np.flatnonzero(~np.isin(self._region, free))))
        return cut

    @property
    def _still(self) -> Engine:
        return self._engine("still", lambda: self.atoms)

    @property
    def _near(self) -> Engine:
        return self._engine("near", self._close_by)

    @property
    def engine_version(self) -> str:
        """Name and version of the engine."""
        return self._still.version

    def close(self) -> None:
        """Close the engines."""
        for engine in self._engines.values():
            engine.close()

    def energy_and_forces_near(
        self, active_A: NDArray[np.float64], *, around_A: NDArray[np.float64]
    ) -> tuple[float, NDArray[np.float64]]:
        """Return energy and forces (k, 3) of the active atoms, all others held at `around_A`.

        Only the surroundings that they feel are evaluated: the energy is that of the box but for a constant.
        """
        whole = around_A.copy()
        whole[self.active] = active_A
        self._near.set_positions(whole[self._region])
        energy, forces = self._near.potential_energy_eV(), self._near.forces_eV_A()
        return energy, forces[np.searchsorted(self._region, self.active)]

    def curvatures_near(self, minimum_A: NDArray[np.float64], some: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return second derivatives (3k, 3k) in eV/angstrom^2 of some active atoms, by their place in `active`.

        All others are held. Those of one minimum are kept, for climbs from it ask for the same again.
        """
        if not np.array_equal(self._curved_at_A, minimum_A):
            self._curved_at_A, self._curvatures = minimum_A.copy(), {}
        start = minimum_A[self.active]
        missing = [one for one in some.tolist() if one not in self._curvatures]
        if missing:
            _, rest = self.energy_and_forces_near(start, around_A=minimum_A)
        for one in missing:
            rows = []
            for axis in range(3):
                moved = start.copy()
                moved[one, axis] += _CURVATURE_STEP_A
                _, forces = self.energy_and_forces_near(moved, around_A=minimum_A)
                rows.append((rest - forces) / _CURVATURE_STEP_A)
            self._curvatures[one] = np.array(rows)
        whole = np.array([self._curvatures[one][:, some] for one in some.tolist()]).reshape(3 * len(some), -1)
        return np.asarray(0.5 * (whole + whole.T))

    def energy_and_forces(self, positions_A: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Return the energy in eV and the forces (n, 3) in eV/angstrom."""
        self._still.set_positions(positions_A)
        energy = self._still.potential_energy_eV()
        return energy, self._still.forces_eV_A()

    def stress_eV_A3(self, positions_A: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the stress (3, 3), dE/d(strain) over the volume."""
        self._still.set_positions(positions_A)
        return self._still.stress_eV_A3()

    def minimum(self, positions_A: NDArray[np.float64]) -> Minimum:
        """Return the minimum under `positions_A`."""
        self._still.set_positions(positions_A)
        return self._still.minimise(
            force_tolerance_eV_A=max(self._quench.force_tolerance_eV_A, _REST_eV_A),
            max_iterations=min(self._quench.max_iterations, _MOST_STEPS),
        )

    def minimum_near(self, positions_A: NDArray[np.float64]) -> Minimum:
        """Return where the active atoms come to rest alone, nearly; energies as of `energy_and_forces_near`."""
        self._near.set_positions(positions_A[self._region])
        nearly = self._near.minimise(force_tolerance_eV_A=_NEARLY_eV_A, max_iterations=_NEARLY_STEPS)
        whole = positions_A.copy()
        whole[self._region] = nearly.positions_A
        return replace(nearly, positions_A=whole)

    def is_back(
        self, nearly: Minimum, minimum_A: NDArray[np.float64], *, within_eV: float, within_A: float
    ) -> bool:
        """Whether the active atoms, come to rest as of `minimum_near`, are where they are in a minimum."""
        energy, _ = self.energy_and_forces_near(minimum_A[self.active], around_A=minimum_A)
        near_in_energy = abs(nearly.potential_energy_eV - energy) < within_eV
        return near_in_energy and is_same_place(self.atoms, minimum_A, nearly.positions_A, within_A=within_A)

    def is_quenched(self, minimum: Minimum) -> bool:
        """Whether the minimiser got to the bottom."""
        return minimum.largest_force_eV_A <= self._quench.largest_force_eV_A

    def burst(
        self, positions_A: NDArray[np.float64], *, temperature_K: float, duration_ps: float, seed: int
    ) -> Minimum:
        """Return where a burst of the active atoms leads, as of `minimum_near`."""
        self._near.set_positions(positions_A[self._region])
        self._near.heat(
            temperature_K=temperature_K,
            duration_ps=duration_ps,
            damping_ps=_DAMPING_ps,
            timestep_ps=1e-3 * self._timestep_fs,
            seed=seed,
        )
        whole = positions_A.copy()
        whole[self._region] = self._near.state()[0]
        return self.minimum_near(whole)


@dataclass(kw_only=True)
class WayOut:
    """A saddle that climbs from a minimum came to.

    Attributes
    ----------
    parent : int
        Where they began.
    child : int or None
        The minimum beyond; None where there is none to keep: the saddle is another minimum's, its barrier or what
        lies beyond is too high, or beyond lies the same minimum again.
    barrier_eV : float
        Above the minimum, what is about the active atoms held.
    saddle_A : (n, 3) float
    times : int
        How often it was found.
    length_amu12_A : float
        Of the way over it, from minimum to minimum; 0 without a child.
    """

    parent: int
    child: int | None
    barrier_eV: float
    saddle_A: NDArray[np.float64]
    times: int = 1
    length_amu12_A: float = 0.0

    @property
    def action(self) -> float:
        r"""Of tunnelling through a parabola of this height and length, :math:`\pi L (2V)^{1/2} / 4`, over hbar."""
        return math.pi / 4 * self.length_amu12_A * math.sqrt(2 * max(self.barrier_eV, 0.0)) / HBAR_AMU12_A_eV12


@dataclass(kw_only=True)
class Found:
    """What a search knows so far; the first minimum is the debris itself.

    Attributes
    ----------
    energies_eV : list of float
    positions_A : list of (n, 3) float
        Unwrapped.
    tried : list of int
        Bursts that began in each minimum.
    climbed : list of int
        Climbs that began in each.
    pairs : list of (int, int)
        Minima that one burst or climb led from one to the other, the lower number first.
    bursts : int
        Done so far.
    returned, too_high, failed : int
        Bursts and climbs that fell back, that ended in a minimum or saddle too high to keep, that could not be
        quenched.
    searches : int
        Saddle searches done so far.
    lost, unconnected : int
        Saddle searches that came to no saddle, or to one that does not lead back to where they began.
    ways : list of WayOut
    saddles_A : dict of (int, int) to (n, 3) float
        Of each pair of which one is known.
    """

    energies_eV: list[float]
    positions_A: list[NDArray[np.float64]]
    tried: list[int]
    climbed: list[int]
    pairs: list[tuple[int, int]] = field(default_factory=list)
    bursts: int = 0
    returned: int = 0
    too_high: int = 0
    failed: int = 0
    searches: int = 0
    lost: int = 0
    unconnected: int = 0
    ways: list[WayOut] = field(default_factory=list)
    saddles_A: dict[tuple[int, int], NDArray[np.float64]] = field(default_factory=dict)

    def ways_down(self, minimum: int, spec: SearchSpec) -> list[WayOut]:
        """Return the ways out of a minimum that matter, as far as they were found."""
        return [way for way in self.ways if way.parent == minimum and self.matters(way, spec)]

    def matters(self, way: WayOut, spec: SearchSpec) -> bool:
        r"""Whether cold debris may take a way out within a year: it leads down, and it can be tunnelled through.

        .. math::
            10^{13}\,\mathrm{s}^{-1} e^{-2S/\hbar} > 1 / \mathrm{year}, \qquad
            2S = \sqrt{2V}\, \frac{L}{2} \left(1 + \sqrt{\frac{V}{V + D}}\right)

        of a barrier V, a way of length L and a drop D behind: two parabolas up to a cusp, as far as they lie above
        the minimum that is left. Barriers with a round top take longer, so that no way that matters is left out;
        rates are those of its path. Below 100 K nothing hops over a barrier that it does not tunnel through.
        """
        if way.child is None:
            return False
        drop = self.energies_eV[way.parent] - self.energies_eV[way.child]
        if drop < -(spec.explore_below_eV + spec.same_energy_eV):
            return False
        barrier = max(way.barrier_eV, 0.0)
        behind = math.sqrt(barrier / (barrier + drop)) if drop > 0 and barrier > 0 else float(barrier > 0)
        exponent = math.sqrt(2 * barrier) * way.length_amu12_A / 2 * (1 + behind) / HBAR_AMU12_A_eV12
        return exponent < _ONCE_A_YEAR

    def likely_ways(self, minimum: int, spec: SearchSpec) -> list[tuple[WayOut, float]]:
        """Return the ways down that cold debris takes from a minimum with some probability, and this.

        It tunnels: in proportion to exp(-2 action).
        """
        ways = self.ways_down(minimum, spec)
        least = min((way.action for way in ways), default=0.0)
        weights = [math.exp(-2 * (way.action - least)) for way in ways]
        shares = [(way, weight / sum(weights)) for way, weight in zip(ways, weights, strict=True)]
        return [(way, share) for way, share in shares if share >= spec.likely_above]

    def reached(self, spec: SearchSpec) -> dict[int, float]:
        """Return the minima that the debris goes down to, itself the first, and how sure that is.

        Of a way: its share of the likely ones, times the coverage of the minimum that it leaves, from where others
        may lead that were not found. Those that nothing but their coverage makes unlikely are among them.
        """
        likely, sure, waiting = {0: 1.0}, {0: 1.0}, [0]
        while waiting:
            here = max(waiting, key=lambda one: likely[one])
            waiting.remove(here)
            covered = self.coverage_of(here, spec)
            for way, share in self.likely_ways(here, spec):
                child = way.child or 0
                if child not in likely and likely[here] * share >= spec.likely_above:
                    likely[child] = likely[here] * share
                    sure[child] = sure[here] * share * covered
                    waiting.append(child)
        return sure

    def finds_of(self, minimum: int, spec: SearchSpec) -> tuple[int, int]:
        """Return how often saddles about a minimum were found, and how many of them once.

        All below `barrier_below_eV`, wherever they lead.
        """
        return _counted([w for w in self.ways if w.parent == minimum and w.barrier_eV <= spec.barrier_below_eV])

    def finds_that_matter(self, minimum: int, spec: SearchSpec) -> tuple[int, int]:
        """Return how often ways out of a minimum were found that matter, and how many of them once."""
        return _counted(self.ways_down(minimum, spec))

    def coverage_of_all(self, minimum: int, spec: SearchSpec) -> float:
        """Return the chance that a further saddle about a minimum, of any kind, is one that was found before."""
        finds, once = self.finds_of(minimum, spec)
        return 1.0 - once / finds if finds and self.has_finds(minimum, spec) else 0.0

    def coverage_of(self, minimum: int, spec: SearchSpec) -> float:
        r"""Return the chance that a further way out that matters is one that was found before.

        .. math:: C = 1 - \frac{n_1}{n}

        n finds of ways that matter and n_1 of these that were found once: I. J. Good, Biometrika 40, 237 (1953).
        Where none was found, it is as if the next saddle of any kind, after N, were one: C = 1 - 1 / (N + 1). Of
        too few saddles, see `has_finds`, it says nothing: 0.
        """
        if not self.has_finds(minimum, spec):
            return 0.0
        finds, once = self.finds_that_matter(minimum, spec)
        return 1.0 - once / finds if finds else 1.0 - 1.0 / (self.finds_of(minimum, spec)[0] + 1)

    def has_finds(self, minimum: int, spec: SearchSpec) -> bool:
        """Whether saddles of any kind were found so often that few of their share are likely to be missing.

        One with a share of 1 - `coverage` is missed by N finds with less than 10 %: its Poisson limit.
        """
        return float(gammaincinv(1, _CONFIDENCE)) <= (1 - spec.coverage) * self.finds_of(minimum, spec)[0]

    def has_covered(self, minimum: int, spec: SearchSpec) -> bool:
        """Whether enough was seen about a minimum."""
        return self.coverage_of(minimum, spec) >= spec.coverage

    def is_covered(self, spec: SearchSpec) -> bool:
        """Whether enough was seen about each minimum that the debris goes down to."""
        return all(self.has_covered(one, spec) for one in self.reached(spec))

    @property
    def climbs_in_vain(self) -> bool:
        """Whether climbs have come to no saddle at all, and more would not either."""
        return self.searches >= _CLIMBS_IN_VAIN and not self.ways

    def link(self, one: int, other: int) -> None:
        """Remember a pair."""
        pair = (min(one, other), max(one, other))
        if one != other and pair not in self.pairs:
            self.pairs.append(pair)


def _counted(ways: list[WayOut]) -> tuple[int, int]:
    """Return how often ways were found, and how many of them once."""
    return sum(way.times for way in ways), sum(way.times == 1 for way in ways)


def begin(landscape: Landscape) -> Found:
    """Return a search at its beginning: the debris, quenched once more.

    Raises
    ------
    InputError
        If it cannot be quenched.
    """
    first = landscape.minimum(np.asarray(landscape.atoms.get_positions(), dtype=np.float64))
    if not landscape.is_quenched(first):
        raise InputError(
            f"the final structure keeps a force of {first.largest_force_eV_A:.3g} eV/A when quenched; "
            "raise [quench] max_iterations of the campaign"
        )
    return Found(energies_eV=[first.potential_energy_eV], positions_A=[first.positions_A], tried=[0], climbed=[0])


def one_burst(landscape: Landscape, found: Found, spec: SearchSpec, *, seed: int) -> None:
    """Do the next burst of a search and add what it finds."""
    parent = _next_to_heat(found, spec)
    temperature = spec.burst_temperatures_K[found.tried[parent] % len(spec.burst_temperatures_K)]
    number = found.bursts
    found.bursts += 1
    found.tried[parent] += 1
    try:
        nearly = landscape.burst(
            found.positions_A[parent],
            temperature_K=temperature,
            duration_ps=spec.burst_duration_ps,
            seed=seed_from(seed, number),
        )
        if landscape.is_back(nearly, found.positions_A[parent], within_eV=_BACK_eV, within_A=_BACK_A):
            found.returned += 1
            return
        minimum = landscape.minimum(nearly.positions_A)
    except EngineAbortError:
        found.failed += 1
        raise
    child = add(landscape, found, minimum, spec)
    if child is not None:
        found.returned += child == parent
        found.link(parent, child)


def _next_to_heat(found: Found, spec: SearchSpec) -> int:
    """Return the minimum to heat: the debris twice as often as each of the others that are low enough."""
    low = [i for i, E in enumerate(found.energies_eV) if found.energies_eV[0] + spec.explore_below_eV >= E]
    return min(low, key=lambda i: (found.tried[i] / (2 if i == 0 else 1), found.energies_eV[i]))


def next_to_climb_from(found: Found, spec: SearchSpec) -> int:
    """Return the minimum to climb from: of those not yet covered the one where it is surest that debris comes.

    That is the debris itself until it is covered: before, it is not known where it goes.
    """
    reached = found.reached(spec)
    open_ones = [one for one in reached if not found.has_covered(one, spec)] or list(reached)
    return max(open_ones, key=lambda one: reached[one])


def add(landscape: Landscape, found: Found, minimum: Minimum, spec: SearchSpec) -> int | None:
    """Return the number of a minimum, new or known; None if it is none or too high."""
    if not landscape.is_quenched(minimum):
        found.failed += 1
        return None
    known = which(landscape, found, minimum, spec)
    if known is not None:
        return known
    energy = minimum.potential_energy_eV
    if energy > found.energies_eV[0] + spec.keep_below_eV:
        found.too_high += 1
        return None
    found.energies_eV.append(energy)
    found.positions_A.append(minimum.positions_A)
    found.tried.append(0)
    found.climbed.append(0)
    return len(found.energies_eV) - 1


def which(landscape: Landscape, found: Found, minimum: Minimum, spec: SearchSpec) -> int | None:
    """Return the number of a minimum that is known, None of a new one."""
    energy = minimum.potential_energy_eV
    for known, (E, x) in enumerate(zip(found.energies_eV, found.positions_A, strict=True)):
        if abs(E - energy) < spec.same_energy_eV and is_same_place(
            landscape.atoms, x, minimum.positions_A, within_A=spec.same_distance_A
        ):
            return known
    return None


def is_same_place(
    atoms: Atoms, one_A: NDArray[np.float64], other_A: NDArray[np.float64], *, within_A: float
) -> bool:
    """Return whether two configurations are one: each atom has one of its species at its place in the other.

    Exchanging two atoms of a species makes no other minimum.
    """
    shift = np.median(other_A - one_A, axis=0)
    numbers = atoms.get_atomic_numbers()
    period = np.where(atoms.get_pbc(), atoms.cell.lengths(), 0.0)
    for kind in np.unique(numbers):
        sites = wrapped(one_A[numbers == kind], period)
        there = wrapped(other_A[numbers == kind] - shift, period)
        distance, _ = KDTree(sites, boxsize=period).query(there)
        if np.max(distance) > within_A:
            return False
    return True


def active_atoms(atoms: Atoms, *, radius_A: float) -> NDArray[np.int64]:
    """Return the atoms that take part in bursts: those near damaged atoms and near the knock-on.

    Parameters
    ----------
    atoms : ase.Atoms
        A final structure of a cascade, with its arrays `displacement`, `defect` and `is_pka`.
    radius_A : float
    """
    displacement = np.linalg.norm(atoms.get_array("displacement"), axis=1)
    damaged = (displacement > DAMAGED_BEYOND_A) | (atoms.get_array("defect") > 0) | (atoms.get_array("is_pka") > 0)
    return near(atoms, np.flatnonzero(damaged), within_A=radius_A)


def near(atoms: Atoms, some: NDArray[np.int64], *, within_A: float) -> NDArray[np.int64]:
    """Return the atoms that lie within a distance of some of them, these among them; rising numbers."""
    period = np.where(atoms.get_pbc(), atoms.cell.lengths(), 0.0)
    points = wrapped(np.asarray(atoms.get_positions()), period)
    distance, _ = KDTree(points[some], boxsize=period).query(points)
    return np.flatnonzero(np.asarray(distance) <= within_A)
