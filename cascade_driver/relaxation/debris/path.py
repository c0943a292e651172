r"""The way from one minimum to another: nudged elastic band, and what a tunnelling system is made of.

    two minima -> band of images -> climbing image at the saddle -> V(s) along the mass-weighted path

G. Henkelman, B. P. Uberuaga and H. Jonsson, J. Chem. Phys. 113, 9901 (2000), as ASE has it.
"""

# ASE annotates only part of what it offers:
# mypy: disallow-untyped-calls=False, disable-error-code=misc

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.mep import NEB
from ase.optimize import FIRE
from numpy.typing import NDArray
from pydantic import Field

from cascade_driver.relaxation.debris.search import Landscape
from cascade_driver.relaxation.debris.tunnelling import DoubleWell, HBAR_AMU12_A_eV12, StrainCoupling
from cascade_driver.schema import parameters

#: Step along the mass-weighted path by which curvatures are found, in sqrt(amu) angstrom: anharmonic terms and the
#: rounding of forces are both below 1e-4 of it.
_CURVATURE_STEP_amu12_A = 0.02

#: Two atoms on one spot would blow the band up; a softer spring lets images slide into the wells.
_SPRING_eV_A2 = 0.5

#: Answers that a band asks for again: those of one step, and some.
_MOST_ANSWERS = 64

#: The first stage ends at so many times the force that is left in the end.
_COARSE = 5.0

#: A dip between two images deeper than this is another minimum on the way.
INTERMEDIATE_eV = 0.005

#: An atom that moves more than this counts as one of those that tunnel.
MOVED_BEYOND_A = 0.1


@parameters
class PathSpec:
    """How paths are found.

    Attributes
    ----------
    images : int
        Between the minima.
    force_tolerance_eV_A : float
        The largest force on an image that is left, perpendicular to the path (at the saddle: any). A vacancy of
        aluminium among 107 atoms has its barrier 13 meV too high with 0.05, and 5 meV or less with 0.02.
    steps : int
        At most, of each of the two stages: without and with the climbing image.
    vibrating_atoms : int
        Those that move most in the debris of a cascade: their vibrations about minima and saddles are counted; 0
        for none. It takes six forces per atom and point.
    """

    images: Annotated[int, Field(ge=3, le=1000)] = 7
    force_tolerance_eV_A: Annotated[float, Field(gt=0)] = 0.02
    steps: Annotated[int, Field(ge=1)] = 300
    vibrating_atoms: Annotated[int, Field(ge=0, le=10_000)] = 96


class LandscapeCalculator(Calculator):
    """A landscape as ASE sees it. The images know no box: their positions are unwrapped.

    One calculator serves all images; it keeps the last answers, for which a band asks again and again.
    """

    implemented_properties = ["energy", "forces"]  # noqa: RUF012  as the base class declares it

    def __init__(self, landscape: Landscape) -> None:
        super().__init__()
        self._landscape = landscape
        self._answers: dict[bytes, tuple[float, NDArray[np.float64]]] = {}
        self.evaluations = 0

    def _changed(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """Return what changed since the last answer: positions alone do, and ASE compares all there is."""
        del tol
        same = self.atoms is not None and np.array_equal(self.atoms.positions, atoms.positions)
        return [] if same else ["positions"]

    check_state = _changed

    def calculate(
        self, atoms: Any = None, properties: Any = ("energy",), system_changes: Any = all_changes
    ) -> None:
        """Evaluate energy and forces."""
        super().calculate(atoms, properties, system_changes)
        positions = np.asarray(self.atoms.get_positions() if self.atoms is not None else [], dtype=np.float64)
        key = positions.tobytes()
        if key not in self._answers:
            if len(self._answers) >= _MOST_ANSWERS:
                del self._answers[next(iter(self._answers))]
            self._answers[key] = self._landscape.energy_and_forces(positions)
            self.evaluations += 1
        energy, forces = self._answers[key]
        self.results = {"energy": energy, "forces": forces}


@dataclass(frozen=True, kw_only=True)
class Path:
    r"""The path of least energy between two minima.

    Attributes
    ----------
    well : DoubleWell
        The potential along it.
    coupling : StrainCoupling
    converged : bool
        Whether the band came to rest within the steps allowed.
    intermediate_A : (n, 3) float or None
        A point near another minimum on the way; such a pair is no elementary one.
    saddle_A : (n, 3) float or None
        The highest image, if the band came to rest and it is not one of the minima.
    moved_mass_amu : float
        :math:`M = \sum_i m_i |d_i|^2 / \max_i |d_i|^2` of the displacements between the minima: the mass of one
        atom if one moves.
    movers : tuple of int
        The atoms that move more than `MOVED_BEYOND_A`.
    largest_displacement_A : float
        Of an atom.
    evaluations : int
        Of the forces that it took.
    """

    well: DoubleWell
    coupling: StrainCoupling
    converged: bool
    intermediate_A: NDArray[np.float64] | None
    saddle_A: NDArray[np.float64] | None
    moved_mass_amu: float
    movers: tuple[int, ...]
    largest_displacement_A: float
    evaluations: int


def find_path(
    landscape: Landscape,
    one_A: NDArray[np.float64],
    other_A: NDArray[np.float64],
    spec: PathSpec,
    *,
    saddle_A: NDArray[np.float64] | None = None,
) -> Path:
    """Return the path between two minima of a landscape.

    Parameters
    ----------
    landscape : Landscape
    one_A, other_A : (n, 3) float
        Positions of the minima, unwrapped.
    spec : PathSpec
    saddle_A : (n, 3) float, optional
        A saddle between them, through which the band begins; straight from one to the other by default.
    """
    other_A = other_A - np.median(other_A - one_A, axis=0)
    middle = 0.5 * (one_A + other_A) if saddle_A is None else saddle_A - np.median(saddle_A - one_A, axis=0)
    calculator = LandscapeCalculator(landscape)
    images = _images(landscape.atoms, (one_A, middle, other_A), spec.images, calculator)
    converged = _relax(images, spec)
    masses = landscape.atoms.get_masses()
    positions = np.array([image.get_positions() for image in images])
    energies, forces = _evaluate(landscape, positions)
    well = _double_well(landscape, positions, energies, forces, masses)
    dip, top = _dip(energies), int(np.argmax(energies))
    apart = np.linalg.norm(other_A - one_A, axis=1)
    strained = landscape.stress_eV_A3(other_A) - landscape.stress_eV_A3(one_A)
    return Path(
        well=well,
        coupling=StrainCoupling(tensor_eV=0.5 * landscape.atoms.get_volume() * strained),
        converged=converged,
        intermediate_A=None if dip is None else positions[dip],
        saddle_A=positions[top] if converged and 0 < top < len(energies) - 1 else None,
        moved_mass_amu=float(np.sum(masses * apart**2) / np.max(apart) ** 2),
        movers=tuple(np.flatnonzero(apart > MOVED_BEYOND_A).tolist()),
        largest_displacement_A=float(np.max(apart)),
        evaluations=calculator.evaluations,
    )


def _images(
    atoms: Atoms,
    way_A: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]],
    inner: int,
    calculator: Calculator,
) -> list[Atoms]:
    images = []
    for share in np.linspace(0, 2, inner + 2):
        first, second = way_A[:2] if share <= 1 else way_A[1:]
        here = share if share <= 1 else share - 1
        image = Atoms(atoms.get_chemical_symbols(), positions=(1 - here) * first + here * second)
        image.calc = calculator
        images.append(image)
    return images


def _relax(images: list[Atoms], spec: PathSpec) -> bool:
    """Relax the band, first without, then with the climbing image; return whether it came to rest.

    A band with another minimum on it is left after the first stage: its two parts are to be found instead. No path
    of least energy goes higher than the straight way, with which the band begins: a climbing image that does has
    lost its way, as happens where the band is too coarse about the saddle, and the first stage is what stays.
    """
    energies = _energies(images)
    highest = energies.max()
    _optimise(images, climb=False, tolerance=_COARSE * spec.force_tolerance_eV_A, steps=spec.steps)
    before = [image.get_positions() for image in images]
    if _dip(_energies(images)) is not None:
        return False
    converged = _optimise(images, climb=True, tolerance=spec.force_tolerance_eV_A, steps=spec.steps)
    if _energies(images).max() <= highest:
        return converged
    for image, positions in zip(images, before, strict=True):
        image.set_positions(positions)
    return False


def _energies(images: list[Atoms]) -> NDArray[np.float64]:
    return np.array([image.get_potential_energy() for image in images])


def _optimise(images: list[Atoms], *, climb: bool, tolerance: float, steps: int) -> bool:
    band = NEB(images, k=_SPRING_eV_A2, climb=climb, method="improvedtangent", allow_shared_calculator=True)
    with FIRE(band, logfile=None) as optimiser:
        return bool(optimiser.run(fmax=tolerance, steps=steps))


def _evaluate(
    landscape: Landscape, positions: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    answers = [landscape.energy_and_forces(x) for x in positions]
    return np.array([E for E, _ in answers]), np.array([F for _, F in answers])


def _double_well(
    landscape: Landscape,
    positions: NDArray[np.float64],
    energies: NDArray[np.float64],
    forces: NDArray[np.float64],
    masses: NDArray[np.float64],
) -> DoubleWell:
    steps = np.diff(positions, axis=0)
    lengths = np.sqrt(np.einsum("kij,kij,i->k", steps, steps, masses))
    s = np.concatenate([[0.0], np.cumsum(lengths)])
    along = (positions[2:] - positions[:-2]) / (s[2:] - s[:-2])[:, None, None]
    slopes = -np.einsum("kij,kij->k", forces[1:-1], along)
    quanta = (
        _quantum_eV(landscape, positions[0], steps[0] / lengths[0]),
        _quantum_eV(landscape, positions[-1], steps[-1] / lengths[-1]),
    )
    return DoubleWell(
        distance_amu12_A=s,
        energy_eV=energies,
        slope_eV_amu12_A=np.concatenate([[0.0], slopes, [0.0]]),
        quanta_eV=quanta,
    )


def _quantum_eV(landscape: Landscape, minimum_A: NDArray[np.float64], along: NDArray[np.float64]) -> float:
    r"""Return :math:`\hbar\omega` along a direction dx/ds at a minimum, from a finite difference of forces."""
    step = _CURVATURE_STEP_amu12_A * along
    there, back = (landscape.energy_and_forces(minimum_A + sign * step)[1] for sign in (1, -1))
    curvature = -float(np.sum(along * (there - back))) / (2 * _CURVATURE_STEP_amu12_A)
    return HBAR_AMU12_A_eV12 * float(np.sqrt(max(curvature, 0.0)))


def _dip(energies: NDArray[np.float64]) -> int | None:
    """Return the image of the deepest dip between the ends, or None."""
    found = [
        (min(energies[:k].max(), energies[k + 1 :].max()) - energies[k], k)
        for k in range(1, len(energies) - 1)
        if energies[k] <= min(energies[k - 1], energies[k + 1])
    ]
    depth, image = max(found, default=(0.0, 0))
    return image if depth > INTERMEDIATE_eV else None
