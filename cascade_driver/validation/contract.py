"""What a potential must do before its cascades mean anything: the contract that every folder is held to.

Each check measures one number, says what it should be and, if it is not, what to do. They are ordered by cost: two
atoms in vacuum, a crystal at rest, a crystal in motion. A potential that passes is mechanically sound; whether its
stored energies are right is another matter (`status` in potential.toml).
"""

# ASE annotates only part of what it offers:
# mypy: disallow-untyped-calls=False, warn-return-any=False

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk, make_supercell
from ase.data import atomic_masses, atomic_numbers
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d

from cascade_driver.errors import EngineError, InputError
from cascade_driver.simulation.apart import ProcessEndedError, apart
from cascade_driver.simulation.crystal import (
    CrystalSpec,
    assemble,
    constituents,
    named_or_file,
    repeats_for,
)
from cascade_driver.simulation.engine import Engine, FlightRules, Minimum
from cascade_driver.simulation.knock_on import choose_atom, kick_velocity
from cascade_driver.simulation.potential import Potential, element_pairs
from cascade_driver.simulation.spec import ZERO_POINT_TEMPERATURE_CAWO4_K, Protocol
from cascade_driver.simulation.start import MakeEngine, relaxed_constituents
from cascade_driver.units import GPA_PER_eV_A3
from cascade_driver.validation.zbl import CLOSEST_APPROACH_A, PairCurve, dimer, numbers_of, zbl

#: Force against energy difference: what the interpolation of tables (1e-6) and a fourth-order difference leave is
#: far below, a wrong column far above. Relative where the force exceeds 1 eV/A.
GRADIENT_TOLERANCE = 1e-4
#: Short, so that hardly a pair crosses a cutoff where the second derivative may jump; rounding leaves 1e-7 eV/A.
_GRADIENT_STEP_A = 1e-5

#: The universal ZBL energy differs from first-principles pair energies by some 5 % (standard deviation; Ziegler,
#: Biersack & Littmark 1985, ch. 2): 1 % is ZBL, and leaves room for the tail of a Fermi switch.
ZBL_TOLERANCE = 0.01

#: In a crystal the surroundings add some eV/A and change embedding energies; half way into the core that must not
#: be more than the uncertainty of ZBL itself, for the heaviest collisions are decided there.
ZBL_IN_CRYSTAL_TOLERANCE = 0.10

#: A jump of the second derivative that counts: 1 eV/A^2 is some percent of the stiffness of a bond (10 to 40), and
#: as much of the core's own stiffness where that is larger.
KINK_TOLERANCE_eV_A2 = 1.0
KINK_TOLERANCE = 0.01
_KINK_STEP_A = 0.005
#: Where h is halved, an estimate of the jump falls to 1/4 if the curve is smooth, to 1/2 where its third
#: derivative jumps (the knots of cubic splines); a true kink stays.
_KINK_STAYS = 0.7

#: An energy may not step anywhere by more than this (Simpson's rule over a kink of 300 eV/A^2 is off by 6e-4).
ENERGY_STEP_TOLERANCE_eV = 1e-3

#: Lattice constants against room-temperature experiment: density functional theory itself is off by 1 to 2 % (c of
#: CaWO4 in PBE with a double-zeta basis: 2.1 %).
LATTICE_TOLERANCE = 0.025

#: Same minimum or another: minima reached from different sides agree to 1e-8 eV, defects store eV.
SAME_ENERGY_eV = 1e-6

#: Below this stiffness a crystal gives way; the softest combination of constants of the built-in crystals, (C11 -
#: C12)/2 of aluminium, is 23 GPa.
SMALLEST_STIFFNESS_GPA = 2.0
_STRAIN = 0.005

#: Where cascades start, and where they end: a small box heated by its own recoil.
TEMPERATURES_K = (ZERO_POINT_TEMPERATURE_CAWO4_K, 600.0)
_HEATING_PS = 0.4
_RUNNING_PS = 0.6
_TIMESTEP_PS = 0.001
_DAMPING_PS = 0.1

#: Kicks of the crystal in motion: well above every threshold, in a box that they heat to thousands of kelvin, so
#: that atoms meet as they do in the core of a cascade. Steps as fine as cascades have them.
KICK_eV = 80.0
_KICKS = 6
_KICK_PS = 0.2
_KICK_DISPLACEMENT_A = 0.02

#: Total energy of such a flight: a hole that atoms fall into gives back thousands of eV.
KICK_DRIFT_TOLERANCE_eV = 0.5

#: Random displacements (standard deviation) of the rattled crystal; those of atoms at 133 K are 0.05 A.
_RATTLE_A = 0.05

#: Atoms of the box at rest and in motion; of the box for the gradient.
_BOX_ATOMS = 96
_SMALL_BOX_ATOMS = 24

_QUENCH_FORCE_eV_A = 1e-5
_SEED = 20_260_101


@dataclass(frozen=True, kw_only=True)
class ContractResult:
    """What one check found.

    Attributes
    ----------
    name : str
        The check; one of `CHECKS`.
    subject : str
        What it was found at: a pair, a crystal.
    passed : bool
        Whether the requirement is met.
    measured : float
        The number that decides; nan if it could not be had.
    unit : str
        Its unit.
    requirement : str
        What it must be.
    remedy : str
        What to do if it is not; empty if it is.
    """

    name: str
    subject: str
    passed: bool
    measured: float
    unit: str
    requirement: str
    remedy: str


def check_potential(
    potential: Potential,
    *,
    make_engine: MakeEngine,
    checks: Sequence[str] | None = None,
    crystals: Mapping[str, CrystalSpec] | None = None,
    progress: Callable[[ContractResult], None] | None = None,
    begin: Callable[[str], None] | None = None,
) -> list[ContractResult]:
    """Return what every check of the contract finds about a potential.

    Parameters
    ----------
    potential : Potential
        Any folder; its `zbl` and `crystals` say what is asked of it.
    make_engine : callable
        Returns a fresh engine with this potential.
    checks : sequence of str, optional
        Some of `CHECKS`; all by default.
    crystals : mapping of str to CrystalSpec, optional
        Bulk crystals by name, see `contract_crystals`; by default those of the potential. Without any,
        `CRYSTAL_CHECKS` are not run.
    progress : callable, optional
        Told each result as it comes.
    begin : callable, optional
        Told the name of each check as it begins.

    Raises
    ------
    InputError
        If a check is not known.
    """
    for name in checks or ():
        if name not in _CHECKS:
            raise InputError(f"no check named `{name}`; known are {', '.join(CHECKS)}")
    results: list[ContractResult] = []
    bench = _Bench(potential, make_engine, contract_crystals(potential) if crystals is None else crystals)
    try:
        for name in checks or CHECKS:
            if begin:
                begin(name)
            for result in _run(name, bench):
                results.append(result)
                if progress:
                    progress(result)
    finally:
        bench.close()
    return results


def contract_crystals(potential: Potential, given: Sequence[str] = ()) -> dict[str, CrystalSpec]:
    """Return the bulk crystals that a potential is checked in, by name; a film counts as the two it is made of.

    Parameters
    ----------
    potential : Potential
        Its `crystals` are taken where none are given.
    given : sequence of str
        Names of built-in crystals, or structure files.

    Raises
    ------
    InputError
        If one cannot be used, or holds elements that the potential does not know.
    """
    found: dict[str, CrystalSpec] = {}
    for word in given or potential.about.crystals:
        spec = named_or_file(word)
        for name, cell in constituents(spec).items():
            if unknown := sorted(set(cell.get_chemical_symbols()) - set(potential.species)):
                raise InputError(
                    f"crystal {word}: holds {', '.join(unknown)}, which {potential.name} does not know; it knows "
                    f"{', '.join(potential.species)}"
                )
            if spec.file is not None:
                found[Path(word).name] = spec
            else:
                found[name] = CrystalSpec(name=name, minimum_atoms=1)
    return found


def check_apart(
    potential: Potential,
    *,
    make_engine: MakeEngine,
    crystals: Mapping[str, CrystalSpec] | None = None,
    progress: Callable[[ContractResult], None] | None = None,
) -> list[ContractResult]:
    """Return what `check_potential` does, found in a process of its own.

    An engine that ends its process, with a crash or without a word, fails the check that it was at; the others go
    on in a new one.

    Parameters
    ----------
    potential, make_engine, crystals, progress
        As of `check_potential`; all but the last travel to the process.
    """
    results: list[ContractResult] = []
    left = list(CHECKS)
    at = left[0]

    def hear(said: str | ContractResult) -> None:
        nonlocal at
        if isinstance(said, str):
            at = said
            return
        results.append(said)
        if progress:
            progress(said)

    while left:
        try:
            apart(_check_and_say, potential, make_engine, left, crystals, tell=hear)
            break
        except ProcessEndedError as error:
            hear(_result(at, potential.name, remedy=str(error)))
            left = left[left.index(at) + 1 :]
            at = left[0] if left else at
    return results


def _check_and_say(
    say: Callable[[str | ContractResult], None],
    potential: Potential,
    make_engine: MakeEngine,
    checks: Sequence[str],
    crystals: Mapping[str, CrystalSpec] | None,
) -> None:
    """Do checks; say the name of each as it begins, and its results as they come."""
    check_potential(potential, make_engine=make_engine, checks=checks, crystals=crystals, progress=say, begin=say)


def _result(name: str, subject: str, *, remedy: str) -> ContractResult:
    """Return the result of a check that gave no number."""
    _, unit, requirement = _CHECKS[name]
    return ContractResult(
        name=name,
        subject=subject,
        passed=False,
        measured=math.nan,
        unit=unit,
        requirement=requirement,
        remedy=remedy,
    )


@dataclass(frozen=True, kw_only=True)
class _Finding:
    """What a check yields; the rest of a `ContractResult` is the check's own."""

    subject: str
    measured: float
    passed: bool
    remedy: str


def _run(name: str, bench: _Bench) -> Iterator[ContractResult]:
    """Yield the results of one check; an engine that stops is a failure of the check, not of the program."""
    check, unit, requirement = _CHECKS[name]
    subject = bench.potential.name
    try:
        for finding in check(bench):
            subject = finding.subject
            yield ContractResult(
                name=name,
                subject=finding.subject,
                passed=finding.passed,
                measured=finding.measured,
                unit=unit,
                requirement=requirement,
                remedy="" if finding.passed else finding.remedy,
            )
    except EngineError as error:
        yield _result(name, bench.subject or subject, remedy=f"the engine stopped: {error}")
        bench.renew()


class _Bench:
    """A potential on the bench: one engine for statics, and what several checks need."""

    def __init__(self, potential: Potential, make_engine: MakeEngine, crystals: Mapping[str, CrystalSpec]) -> None:
        self.potential = potential
        self.make_engine = make_engine
        self.crystals = crystals
        self.subject = ""
        self._engine: Engine | None = None
        self._curves: dict[str, PairCurve] = {}

    @property
    def engine(self) -> Engine:
        if self._engine is None:
            self._engine = self.make_engine()
        return self._engine

    def renew(self) -> None:
        """Forget an engine that has stopped with an error."""
        self.close()
        self._engine = None

    def close(self) -> None:
        if self._engine is not None:
            self._engine.close()

    def pairs(self) -> Iterator[tuple[str, tuple[str, str], float, float]]:
        """Yield name, symbols, inner and outer radius of every pair."""
        for pair in element_pairs(self.potential.species):
            name = self.subject = "-".join(pair)
            switch = self.potential.about.zbl[name]
            yield name, pair, switch.inner_A, switch.outer_A
        self.subject = ""

    def dimer(self, pair: tuple[str, str], distance_A: NDArray[np.float64]) -> PairCurve:
        return dimer(self.engine, pair, distance_A, reach_A=self.potential.about.cutoff_A)

    def through_switch(self, name: str, pair: tuple[str, str], inner_A: float, outer_A: float) -> PairCurve:
        """Return the dimer on a uniform grid of half `_KINK_STEP_A` from below the switch to above it."""
        if name not in self._curves:
            step = _KINK_STEP_A / 2
            start = max(CLOSEST_APPROACH_A, inner_A - 0.2)
            r = start + step * np.arange(math.ceil((outer_A + 0.1 - start) / step), dtype=np.float64)
            self._curves[name] = self.dimer(pair, r)
        return self._curves[name]

    @cached_property
    def cells(self) -> dict[str, Atoms]:
        """Unit cells with the lattice constants of the potential."""
        cells = {}
        for name, spec in self.crystals.items():
            self.subject = name
            protocol = Protocol(
                crystal=spec, potential_name=self.potential.name, potential_digest=self.potential.digest
            )
            (cells[name],) = relaxed_constituents(protocol, self.make_engine).values()
        self.subject = ""
        return cells

    def box(self, name: str, *, atoms: int) -> Atoms:
        """Return a box of a crystal as it relaxes, with at least so many atoms."""
        spec = dataclasses.replace(self.crystals[name], minimum_atoms=atoms)
        return assemble(spec, {spec.name or "file": self.cells[name]})

    def surroundings(self) -> Atoms:
        """Return some crystal that holds all species: the first it is for, or a loose fcc of all."""
        if self.crystals:
            return self.box(next(iter(self.crystals)), atoms=_SMALL_BOX_ATOMS)
        return loose_crystal(self.potential)

    def minimise(self) -> Minimum:
        return self.engine.minimise(force_tolerance_eV_A=_QUENCH_FORCE_eV_A, max_iterations=5000)


def loose_crystal(potential: Potential) -> Atoms:
    """Return an fcc crystal of all species of a potential, its atoms beyond the ZBL core of each other."""
    spacing = max(s.outer_A for s in potential.about.zbl.values()) + 0.5
    atoms = bulk("Al", "fcc", a=spacing * math.sqrt(2), cubic=True) * (2, 2, 2)
    species = potential.species
    atoms.set_chemical_symbols([species[i % len(species)] for i in range(len(atoms))])
    return atoms


# -- two atoms --------------------------------------------------------------------------------------------


def _worst(error: NDArray[np.float64]) -> int:
    """Return where the largest error is; what is not finite is larger than any."""
    return int(np.argmax(np.where(np.isfinite(error), error, np.inf)))


def _zbl_limit(bench: _Bench) -> Iterator[_Finding]:
    """Two atoms in vacuum below the inner radius: the force is that of ZBL."""
    for name, pair, inner, _ in bench.pairs():
        r = np.geomspace(CLOSEST_APPROACH_A, inner, 25)
        found = bench.dimer(pair, r).force_eV_A
        wanted = -zbl(r, numbers=numbers_of(pair))[1]
        error = np.abs(found / wanted - 1)
        worst = _worst(error)
        yield _Finding(
            subject=name,
            measured=float(error[worst]),
            passed=bool(error[worst] <= ZBL_TOLERANCE),
            remedy=(
                f"at {r[worst]:.3f} A the force is {found[worst]:.5g} eV/A, ZBL {wanted[worst]:.5g}; lower "
                "inner_A if the body rules there, join a core (`cascade potential join`), or give the "
                "table more points"
            ),
        )


def _repulsive_core(bench: _Bench) -> Iterator[_Finding]:
    """No well inside the core: a hole there would swallow atoms and give back more than was put in."""
    for name, pair, inner, outer in bench.pairs():
        below = bench.dimer(pair, np.geomspace(CLOSEST_APPROACH_A, inner, 25))
        across = bench.through_switch(name, pair, inner, outer)
        r = np.concatenate([below.distance_A[:-1], across.distance_A[across.distance_A >= inner]])
        force = np.concatenate([below.force_eV_A[:-1], across.force_eV_A[across.distance_A >= inner]])
        pushes = np.flatnonzero((force > 0) & (r <= outer))
        core = slice(0, int(pushes[-1]) + 1 if len(pushes) else 1)
        weakest = int(np.argmin(force[core]))
        yield _Finding(
            subject=name,
            measured=float(force[core][weakest]),
            passed=bool(force[core][weakest] > 0),
            remedy=(
                f"two atoms attract each other at {r[weakest]:.3f} A and repel each other farther out: a spurious "
                "minimum inside the core; choose other inner and outer radii"
            ),
        )


def _smooth_switch(bench: _Bench) -> Iterator[_Finding]:
    """The second derivative of the dimer energy does not jump between below the switch and above it.

    One-sided slopes of the force, (3 F_0 - 4 F_1 + F_2)/2h on either side, differ by O(h^2) if the force has a
    continuous slope, and by the jump if not: what stays when h is halved is a kink.
    """
    for name, pair, inner, outer in bench.pairs():
        curve = bench.through_switch(name, pair, inner, outer)
        force, n = curve.force_eV_A, len(curve.force_eV_A)
        middle = np.arange(4, n - 4)
        jump, curvature = _slope_jump(force, middle, 1)
        coarse, _ = _slope_jump(force, middle, 2)
        # A knot between two points shows at one of them first: each is compared with all that its stencils see.
        stays = np.abs(jump) > _KINK_STAYS * maximum_filter1d(np.abs(coarse), size=9)
        excess = np.abs(jump) / (KINK_TOLERANCE_eV_A2 + KINK_TOLERANCE * np.abs(curvature)) * stays
        worst = _worst(excess)
        yield _Finding(
            subject=name,
            measured=float(excess[worst]),
            passed=bool(excess[worst] <= 1),
            remedy=(
                f"at {curve.distance_A[middle[worst]]:.3f} A the second derivative jumps by {jump[worst]:+.3g} "
                f"eV/A^2 (it is {curvature[worst]:.3g}); switch with two continuous derivatives, give tables more "
                "points"
            ),
        )


def _slope_jump(
    force: NDArray[np.float64], at: NDArray[np.int64], stride: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return right minus left one-sided slope of -dE/dr, and minus their mean, d2E/dr2."""
    h = stride * _KINK_STEP_A / 2
    right = (-3 * force[at] + 4 * force[at + stride] - force[at + 2 * stride]) / (2 * h)
    left = (3 * force[at] - 4 * force[at - stride] + force[at - 2 * stride]) / (2 * h)
    return right - left, -(right + left) / 2


def _continuous_energy(bench: _Bench) -> Iterator[_Finding]:
    """Differences of the dimer energy are the integral of its force (Simpson), everywhere in the switch."""
    for name, pair, inner, outer in bench.pairs():
        curve = bench.through_switch(name, pair, inner, outer)
        F, E = curve.force_eV_A, curve.energy_eV
        work = (F[:-2] + 4 * F[1:-1] + F[2:]) * _KINK_STEP_A / 6
        step = np.abs(E[2:] - E[:-2] + work) / np.maximum(1.0, np.abs(work))
        worst = _worst(step)
        yield _Finding(
            subject=name,
            measured=float(step[worst]),
            passed=bool(step[worst] <= ENERGY_STEP_TOLERANCE_eV),
            remedy=(
                f"at {curve.distance_A[worst + 1]:.3f} A the energy steps, or the force is not its derivative; "
                "mend the table: F = -dE/dr in every row"
            ),
        )


# -- a crystal at rest ------------------------------------------------------------------------------------


def _force_is_gradient(bench: _Bench) -> Iterator[_Finding]:
    """The force is minus the gradient of the energy, in a rattled crystal and for close pairs in vacuum."""
    for name, pair, inner, outer in bench.pairs():
        r = np.array([CLOSEST_APPROACH_A * 1.1, inner / 2, 0.9 * inner, 0.7 * inner + 0.3 * outer, 0.9 * outer])
        h = 2e-3 * r
        rows = np.concatenate([r + k * h for k in (-2, -1, 0, 1, 2)])
        curve = bench.dimer(pair, rows)
        E = curve.energy_eV.reshape(5, -1)
        F = curve.force_eV_A.reshape(5, -1)[2]
        yield _gradient_finding(name, F, -(E[0] - 8 * E[1] + 8 * E[3] - E[4]) / (12 * h))
    atoms = bench.surroundings()
    random = np.random.default_rng(_SEED)
    positions = atoms.get_positions() + random.normal(scale=_RATTLE_A, size=(len(atoms), 3))
    atoms.set_positions(positions)
    bench.subject = "rattled crystal"
    engine = bench.engine
    engine.build(atoms)
    engine.potential_energy_eV()
    forces = engine.forces_eV_A()
    found, wanted = [], []
    for index in random.choice(len(atoms), size=6, replace=False):
        for axis in range(3):
            energies = []
            for k in (-2, -1, 1, 2):
                moved = positions[index].copy()
                moved[axis] += k * _GRADIENT_STEP_A
                engine.set_position(int(index), moved)
                energies.append(engine.potential_energy_eV())
            found.append(forces[index, axis])
            wanted.append(
                -(energies[0] - 8 * energies[1] + 8 * energies[2] - energies[3]) / (12 * _GRADIENT_STEP_A)
            )
        engine.set_position(int(index), positions[index])
    yield _gradient_finding("rattled crystal", np.array(found), np.array(wanted))


def _gradient_finding(subject: str, force: NDArray[np.float64], minus_gradient: NDArray[np.float64]) -> _Finding:
    error = np.abs(force - minus_gradient) / np.maximum(1.0, np.abs(minus_gradient))
    worst = _worst(error)
    return _Finding(
        subject=subject,
        measured=float(error[worst]),
        passed=bool(error[worst] <= GRADIENT_TOLERANCE),
        remedy=(
            f"the force is {force[worst]:.6g} eV/A, minus the gradient of the energy {minus_gradient[worst]:.6g}: "
            "energy would not be conserved; mend the table or file that holds both"
        ),
    )


def _finite_when_close(bench: _Bench) -> Iterator[_Finding]:
    """Every pair at the closest approach, in vacuum and inside a crystal, has finite energy and forces."""
    surroundings = bench.surroundings()
    for name, pair, _, _ in bench.pairs():
        curve = bench.dimer(pair, np.array([CLOSEST_APPROACH_A]))
        energy, forces = _pushed_together(bench, surroundings, pair, CLOSEST_APPROACH_A)
        finite = bool(
            np.isfinite([curve.energy_eV[0], curve.force_eV_A[0], energy]).all() and np.isfinite(forces).all()
        )
        yield _Finding(
            subject=name,
            measured=float(energy),
            passed=finite,
            remedy=f"energy or force at {CLOSEST_APPROACH_A} A is not a number; begin tables at 0.01 A",
        )


def _zbl_in_crystal(bench: _Bench) -> Iterator[_Finding]:
    """Half way into the core, surroundings change the force between two atoms by no more than ZBL is uncertain."""
    surroundings = bench.surroundings()
    for name, pair, inner, _ in bench.pairs():
        distance = inner / 2
        wanted = -float(zbl(distance, numbers=numbers_of(pair))[1])
        _, forces = _pushed_together(bench, surroundings, pair, distance)
        excess = abs(float(np.linalg.norm(forces)) / wanted - 1)
        yield _Finding(
            subject=name,
            measured=excess,
            passed=bool(excess <= ZBL_IN_CRYSTAL_TOLERANCE),
            remedy=(
                f"at {distance:.2f} A in the crystal the force is {np.linalg.norm(forces):.5g} eV/A, ZBL "
                f"{wanted:.5g}: the many-body part of the body is too strong there; make it vanish or "
                "flatten at short range"
            ),
        )


def _pushed_together(
    bench: _Bench, surroundings: Atoms, pair: tuple[str, str], distance_A: float
) -> tuple[float, NDArray[np.float64]]:
    """Return energy and the force on the second atom, if neighbours in a crystal become such a pair, so close."""
    atoms = surroundings.copy()
    bonds = atoms.get_distances(0, range(1, len(atoms)), mic=True, vector=True)
    nearest = int(np.argmin(np.linalg.norm(bonds, axis=1)))
    symbols = atoms.get_chemical_symbols()
    symbols[0], symbols[nearest + 1] = pair
    atoms.set_chemical_symbols(symbols)
    along = bonds[nearest] / np.linalg.norm(bonds[nearest])
    positions = atoms.get_positions()
    positions[nearest + 1] = positions[0] + distance_A * along
    atoms.set_positions(positions)
    bench.engine.build(atoms)
    energy = bench.engine.potential_energy_eV()
    return energy, bench.engine.forces_eV_A()[nearest + 1]


def _lattice_constants(bench: _Bench) -> Iterator[_Finding]:
    """Lattice constants, relaxed, against those of experiment, or of the file."""
    for name, spec in bench.crystals.items():
        (cell,) = constituents(spec).values()
        given = cell.cell.lengths()
        relaxed = bench.cells[name].cell.lengths()
        change = relaxed / given - 1
        worst = int(np.argmax(np.abs(change)))
        yield _Finding(
            subject=name,
            measured=float(change[worst]),
            passed=bool(np.isfinite(change).all() and abs(change[worst]) <= LATTICE_TOLERANCE),
            remedy=(
                f"edges relax to {np.round(relaxed, 3).tolist()} A, "
                f"{'experiment' if spec.name else 'the file'} {np.round(given, 3).tolist()}; "
                "this potential is not for this crystal: take it out of `crystals` or fit again"
            ),
        )


def _cohesion(bench: _Bench) -> Iterator[_Finding]:
    """The crystal is bound: its energy per atom is finite and below that of its atoms far apart."""
    for name in bench.crystals:
        box = bench.box(name, atoms=_BOX_ATOMS)
        bench.engine.build(box)
        energy = bench.engine.potential_energy_eV() / len(box)
        yield _Finding(
            subject=name,
            measured=energy,
            passed=bool(math.isfinite(energy) and energy < 0),
            remedy="the crystal is not bound; check units (metal) and the order of the species",
        )


def _restores(bench: _Bench) -> Iterator[_Finding]:
    """A rattled crystal relaxes back to the energy it came from."""
    random = np.random.default_rng(_SEED)
    for name in bench.crystals:
        box = bench.box(name, atoms=_BOX_ATOMS)
        bench.engine.build(box)
        reference = bench.minimise().potential_energy_eV
        box.set_positions(box.get_positions() + random.normal(scale=_RATTLE_A, size=(len(box), 3)))
        bench.engine.build(box)
        change = bench.minimise().potential_energy_eV - reference
        yield _Finding(
            subject=name,
            measured=change,
            passed=bool(abs(change) <= SAME_ENERGY_eV),
            remedy=(
                "small displacements lead to another structure: the crystal is no minimum of this potential; take "
                "it out of `crystals` or fit again with displaced crystals"
            ),
        )


def _elastic(bench: _Bench) -> Iterator[_Finding]:
    """The crystal resists strain (Born): its energy rises whichever way the box is strained, atoms relaxed.

    The stiffness is (E(+e) + E(-e) - 2 E(0)) / (V e^2) for the strains e (1,1,1)/sqrt 3, e (1,-1,0)/sqrt 2,
    e (1,1,-2)/sqrt 6 and e (0,0,1), in the frame of the cell and turned by 45 degrees about z. In a cubic crystal
    the first two are C11 + 2 C12 and C11 - C12, the second turned is 2 C44: the three criteria of Born. Of a
    tetragonal crystal C44 is left to the crystal in motion.
    """
    modes = np.array([[1, 1, 1], [1, -1, 0], [1, 1, -2], [0, 0, 1]], dtype=np.float64)
    modes /= np.linalg.norm(modes, axis=1)[:, None]
    for name in bench.crystals:
        stiffness = [
            _stiffness(bench, box, mode)
            for box in (bench.cells[name], _turned(bench.cells[name]))
            for mode in modes
        ]
        softest = min(stiffness, key=lambda s: s if math.isfinite(s) else -math.inf)
        yield _Finding(
            subject=name,
            measured=softest,
            passed=bool(softest > SMALLEST_STIFFNESS_GPA),
            remedy=(
                "the crystal gives way under strain: it is no stable phase of this potential; take it out of "
                "`crystals` or fit again with strained crystals"
            ),
        )


def _stiffness(bench: _Bench, box: Atoms, mode: NDArray[np.float64]) -> float:
    """Return the second derivative of the energy per volume with respect to a strain, in GPa."""
    # Repeated, so that a period doubling has room.
    box = box * repeats_for(box, _SMALL_BOX_ATOMS)
    energies = []
    for sign in (1, 0, -1):
        strained = box.copy()
        strained.set_cell(box.cell.array * (1 + sign * _STRAIN * mode), scale_atoms=True)
        bench.engine.build(strained)
        energies.append(bench.minimise().potential_energy_eV)
    return (energies[0] + energies[2] - 2 * energies[1]) / (box.get_volume() * _STRAIN**2) * GPA_PER_eV_A3


def _turned(cell: Atoms) -> Atoms:
    """Return the crystal turned by 45 degrees about z, if its cell is square there; else as it is."""
    a, b, _ = cell.cell.lengths()
    if abs(a - b) > 1e-6:
        return cell.copy()
    turned = make_supercell(cell, [[1, 1, 0], [-1, 1, 0], [0, 0, 1]])
    turned.rotate(-45, "z", rotate_cell=True)
    turned.set_cell(np.diag(turned.cell.lengths()))
    turned.wrap()
    return turned


# -- a crystal in motion ----------------------------------------------------------------------------------


def _survives(temperature_K: float) -> Callable[[_Bench], Iterator[_Finding]]:
    def check(bench: _Bench) -> Iterator[_Finding]:
        for name in bench.crystals:
            bench.subject = name
            bench.engine.build(bench.box(name, atoms=_BOX_ATOMS))
            reference = bench.minimise().potential_energy_eV
            bench.engine.heat(
                temperature_K=temperature_K,
                duration_ps=_HEATING_PS,
                damping_ps=_DAMPING_PS,
                timestep_ps=_TIMESTEP_PS,
                seed=_SEED,
            )
            bench.engine.run(duration_ps=_RUNNING_PS, timestep_ps=_TIMESTEP_PS)
            change = bench.minimise().potential_energy_eV - reference
            yield _Finding(
                subject=name,
                measured=change,
                passed=bool(abs(change) <= SAME_ENERGY_eV),
                remedy=(
                    f"after 1 ps at {temperature_K:g} K the crystal quenches to another state ({change:+.3g} eV): "
                    "it melts, or falls into a spurious minimum; fit again with snapshots of it in the "
                    "training data"
                ),
            )
        bench.subject = ""

    return check


def _survives_kicks(bench: _Bench) -> Iterator[_Finding]:
    """Recoils of each species neither gain energy in flight nor end below the crystal."""
    random = np.random.default_rng(_SEED)
    for name in bench.crystals:
        bench.subject = name
        box = bench.box(name, atoms=_BOX_ATOMS)
        bench.engine.build(box)
        crystal_eV = bench.minimise().potential_energy_eV
        species = sorted(set(box.get_chemical_symbols()))
        flights = [
            (symbol, *_kicked(bench, box, symbol, random.normal(size=3)))
            for symbol in species * max(1, _KICKS // len(species))
        ]
        # The worst of both, in units of what is put up with.
        worst = max(
            flights, key=lambda f: max(abs(f[1]) / KICK_DRIFT_TOLERANCE_eV, (crystal_eV - f[2]) / SAME_ENERGY_eV)
        )
        symbol, drift_eV, end_eV = worst
        is_sound = abs(drift_eV) <= KICK_DRIFT_TOLERANCE_eV and end_eV >= crystal_eV - SAME_ENERGY_eV
        yield _Finding(
            subject=name,
            measured=drift_eV,
            passed=bool(is_sound),
            remedy=(
                f"a recoil of {symbol} with {KICK_eV:g} eV in {len(box)} atoms gains {drift_eV:+.3g} eV in flight "
                f"and ends {end_eV - crystal_eV:+.3g} eV from the crystal: atoms fall into a hole where no label "
                "holds them; fit with frames of such flights, or hold the core"
            ),
        )
    bench.subject = ""


def _kicked(bench: _Bench, box: Atoms, symbol: str, direction: NDArray[np.float64]) -> tuple[float, float]:
    """Return by how much the total energy of a flight drifts, and the energy that it quenches to."""
    engine = bench.engine
    engine.build(box)
    flight = engine.follow(
        pka=choose_atom(box, symbol),
        velocity_A_ps=kick_velocity(
            recoil_energy_eV=KICK_eV,
            mass_amu=float(atomic_masses[atomic_numbers[symbol]]),
            direction=direction,
            kinetic_eV_per_amu_A2_ps2=engine.kinetic_eV_per_amu_A2_ps2,
        ),
        rules=FlightRules(
            duration_ps=_KICK_PS, max_displacement_A=_KICK_DISPLACEMENT_A, max_timestep_ps=_TIMESTEP_PS
        ),
    )
    return flight.energy_drift_eV, bench.minimise().potential_energy_eV


_Check = Callable[[_Bench], Iterator[_Finding]]

#: Check, unit of what it measures, and requirement, by name.
_CHECKS: dict[str, tuple[_Check, str, str]] = {
    "ZBL limit": (
        _zbl_limit,
        "1",
        f"force of two atoms from {CLOSEST_APPROACH_A} A to inner_A within {ZBL_TOLERANCE:.0%} of ZBL",
    ),
    "repulsive core": (_repulsive_core, "eV/A", "two atoms repel each other all the way into the core: above 0"),
    "smooth switch": (
        _smooth_switch,
        "1",
        f"jumps of d2E/dr2 below {KINK_TOLERANCE_eV_A2:g} eV/A^2 + {KINK_TOLERANCE:.0%} of it: below 1",
    ),
    "continuous energy": (
        _continuous_energy,
        "eV",
        f"energy differences are the work of the force, within {ENERGY_STEP_TOLERANCE_eV:g}",
    ),
    "force is gradient": (
        _force_is_gradient,
        "eV/A",
        f"force is minus the gradient within {GRADIENT_TOLERANCE:g} (relative above 1 eV/A)",
    ),
    "finite when close": (_finite_when_close, "eV", f"finite energy and forces at {CLOSEST_APPROACH_A} A"),
    "ZBL in crystal": (
        _zbl_in_crystal,
        "1",
        f"force of two atoms at inner_A/2 in a crystal within {ZBL_IN_CRYSTAL_TOLERANCE:.0%} of ZBL",
    ),
    "lattice constants": (_lattice_constants, "1", f"within {LATTICE_TOLERANCE:.1%} of experiment or file"),
    "cohesion": (_cohesion, "eV/atom", "finite and below 0"),
    "restores": (_restores, "eV", f"rattled, it relaxes back within {SAME_ENERGY_eV:g}"),
    "elastic stability": (_elastic, "GPa", f"softest strain stiffer than {SMALLEST_STIFFNESS_GPA:g}"),
    **{
        f"survives {t:g} K": (_survives(t), "eV", f"after 1 ps quenches back within {SAME_ENERGY_eV:g}")
        for t in TEMPERATURES_K
    },
    "survives kicks": (
        _survives_kicks,
        "eV",
        f"{KICK_eV:g} eV recoils drift below {KICK_DRIFT_TOLERANCE_eV:g} and none ends below the crystal",
    ),
}

#: Names of the checks, in the order of their cost.
CHECKS: tuple[str, ...] = tuple(_CHECKS)

#: Those that are asked of a crystal: nothing is known of them where none is named.
CRYSTAL_CHECKS: tuple[str, ...] = CHECKS[CHECKS.index("lattice constants") :]
