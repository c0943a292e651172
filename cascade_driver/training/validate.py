"""What a potential gets right and wrong, measured against first principles and experiment, number by number.

Every section is computed on its own and kept as it ends, so that a validation that was interrupted goes on. A
number without a reference is there for people; one with a reference is neither passed nor failed here: whoever
reads the report judges.
"""

# ASE annotates only part of what it offers:
# mypy: disallow-untyped-calls=False, warn-return-any=False

from __future__ import annotations

import json
import math
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from ase.data import atomic_numbers
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS, FIRE
from numpy.typing import NDArray
from pydantic import Field

from cascade_driver.errors import InputError
from cascade_driver.files import write_atomically
from cascade_driver.schema import findings, read_json
from cascade_driver.simulation.crystal_file import nearest_neighbours_A
from cascade_driver.simulation.engine import Engine
from cascade_driver.simulation.potential import Potential, element_pairs
from cascade_driver.training.frames import PERFECT, LabelledFrame, from_the_crystal
from cascade_driver.training.propose import CASCADE_END, FrenkelSearch, frenkel_pairs, molecular_dynamics
from cascade_driver.validation.contract import CRYSTAL_CHECKS, check_potential
from cascade_driver.validation.zbl import dimer, numbers_of, zbl

MakeCalculator = Callable[[], Calculator]

#: Neighbours of one kind whose distances differ by less are one shell.
_SHELL_A = 0.05

#: Of the distance of nearest neighbours: the largest holes of diamond are 1 wide, and a grid passes them by.
_HOLE_SHARE = 0.8

#: Box of the phonons: forces of a displaced atom have died away at half of its edge.
_PHONON_BOX_A = 10.0


#: Remark of a section that is made again once what it needs is installed.
NEEDS_EXTRA = "needs pip install 'cascade-driver[training]'"

#: Section of the learning curve: it needs the fit, not the potential alone, see `learning`.
LEARNING = "learning"


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One number of a validation.

    Attributes
    ----------
    section, name : str
    value : float
    unit : str
    reference : float, optional
        What it should be.
    origin : str
        Where the reference comes from.
    """

    section: str
    name: str
    value: float
    unit: str
    reference: float | None = None
    origin: str = ""

    @property
    def deviation(self) -> float | None:
        """Value minus reference, relative to the reference; None without one."""
        return None if not self.reference else self.value / self.reference - 1


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of a validation.

    Attributes
    ----------
    measures : tuple of Measure
    curves : mapping
        Numbers for a figure, JSON-ready; `PhononCurves` and its like read them.
    remark : str
        What a reader should know, such as why a part is missing.
    """

    measures: tuple[Measure, ...] = ()
    curves: Mapping[str, object] = field(default_factory=dict)
    remark: str = ""


@findings
class PhononCurves:
    """The curves of a section on vibrations.

    Attributes
    ----------
    frequency_THz, density_per_THz : (n,) tuple of float
        The density of states.
    gamma_THz : tuple of float
        Frequencies at Gamma.
    """

    frequency_THz: tuple[float, ...]
    density_per_THz: tuple[float, ...]
    gamma_THz: tuple[float, ...]


_FloatOrNan = Annotated[float, Field(allow_inf_nan=True)]


@findings
class FrenkelCurves:
    """The curves of a section on close Frenkel pairs.

    Attributes
    ----------
    pairs_eV, printed_eV : dict
        By species energies in the small and in the large box; nan where nothing is printed.
    """

    pairs_eV: dict[str, tuple[tuple[float, ...], ...]]
    printed_eV: dict[str, tuple[tuple[_FloatOrNan, ...], ...]]


@findings
class Parity:
    """Energies of boxes beside their labels.

    Attributes
    ----------
    label_eV, predicted_eV : (n,) tuple of float
    """

    label_eV: tuple[float, ...]
    predicted_eV: tuple[float, ...]


@findings
class PairEnergies:
    """Energies of two atoms in vacuum.

    Attributes
    ----------
    energy_eV, zbl_eV : (n,) tuple of float
        Of the potential, and ZBL's.
    """

    energy_eV: tuple[float, ...]
    zbl_eV: tuple[float, ...]


@findings
class PairCurves:
    """The curves of a section on two atoms in vacuum.

    Attributes
    ----------
    distance_A : (n,) tuple of float
    pairs : dict
        By the names of both, such as `O-W`.
    """

    distance_A: tuple[float, ...]
    pairs: dict[str, PairEnergies]


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What the sections need.

    Attributes
    ----------
    potential : Potential
    make_calculator : callable
        Of the potential.
    make_engine : callable
        Of the potential.
    crystal : Atoms
        A cell of the crystal, not yet relaxed.
    frames : sequence of LabelledFrame
        That the potential has not seen; may be empty.
    frenkel_species : tuple of str
    observe : callable
        Is given a line now and then.
    """

    potential: Potential
    make_calculator: MakeCalculator
    make_engine: Callable[[], Engine]
    crystal: Atoms
    frames: Sequence[LabelledFrame] = ()
    frenkel_species: tuple[str, ...] = ()
    observe: Callable[[str], None] = print

    @cached_property
    def relaxed(self) -> Atoms:
        """The crystal at zero stress and zero forces."""
        cell = self.crystal.copy()
        cell.calc = self.make_calculator()
        filtered: Any = FrechetCellFilter(cell)
        if not BFGS(filtered, logfile=None).run(fmax=1e-4, steps=500):
            self.observe("the crystal did not relax to 1e-4 eV/A in 500 steps")
        return cell


_KITTEL = "experiment: Kittel, Introduction to Solid State Physics, ch. 1, 3, 5"
_MCSKIMIN_1963 = "experiment: McSkimin & Andreatch, J. Appl. Phys. 34, 651 (1963)"
_MCSKIMIN_1964 = "experiment: McSkimin & Andreatch, J. Appl. Phys. 35, 2161 (1964)"
_MCSKIMIN_1972 = "experiment: McSkimin & Andreatch, J. Appl. Phys. 43, 2944 (1972)"

_LAMBRECHT_1991 = "computed: Lambrecht et al., Phys. Rev. B 44, 3685 (1991)"
_GOTO_1989 = "experiment: Goto, Anderson, Ohno & Yamamoto, J. Geophys. Res. 94, 7588 (1989)"


def _measured(
    *, a_A: float, cohesive_eV: float, c_GPa: tuple[float, float, float], debye_K: float, of: str
) -> dict[str, tuple[float, str]]:
    """Return what is measured of a cubic crystal: C11, C12, C44 by the paper `of`, the rest by Kittel."""
    c11, c12, c44 = c_GPa
    return {
        "crystal/a": (a_A, _KITTEL),
        "crystal/c": (a_A, _KITTEL),
        "crystal/energy per atom": (-cohesive_eV, _KITTEL),
        "elastic/C11": (c11, of),
        "elastic/C12": (c12, of),
        "elastic/C44": (c44, of),
        "elastic/bulk modulus": ((c11 + 2 * c12) / 3, of),
        "elastic/Debye temperature, elastic": (debye_K, _KITTEL),
    }


#: By crystal, section and name: value and origin. Printed numbers and our own labels, nothing fitted here.
_PAPER = "G. Soum-Sidikov et al. (2024), PBE"
REFERENCES: dict[str, dict[str, tuple[float, str]]] = {
    "CaWO4": {
        "crystal/a": (5.3344, f"{_PAPER}, box of 49 152 atoms"),
        "crystal/c": (11.510, f"{_PAPER}, box of 49 152 atoms"),
        "crystal/W-O shell 1": (1.794, "CP2K, PBE at a = 5.3344, c = 11.510 A"),
        "crystal/Ca-O shell 1": (2.469, "CP2K, PBE at a = 5.3344, c = 11.510 A"),
        "crystal/Ca-O shell 2": (2.542, "CP2K, PBE at a = 5.3344, c = 11.510 A"),
        "elastic/bulk modulus": (77.0, "experiment"),
        "elastic/Debye temperature, elastic": (354.0, "experiment, as cited by G. Soum-Sidikov et al. (2024)"),
    },
    "Si": _measured(a_A=5.431, cohesive_eV=4.63, c_GPa=(165.7, 63.9, 79.6), debye_K=645, of=_MCSKIMIN_1964),
    "Ge": _measured(a_A=5.658, cohesive_eV=3.85, c_GPa=(128.5, 48.3, 68.0), debye_K=374, of=_MCSKIMIN_1963),
    "C": _measured(a_A=3.567, cohesive_eV=7.37, c_GPa=(1079.0, 124.0, 578.0), debye_K=2230, of=_MCSKIMIN_1972),
    "SiC": {
        "crystal/a": (4.3596, "experiment: Taylor & Jones, Silicon Carbide (1960), p. 147"),
        "crystal/c": (4.3596, "experiment: Taylor & Jones, Silicon Carbide (1960), p. 147"),
        "elastic/C11": (390.0, _LAMBRECHT_1991),
        "elastic/C12": (142.0, _LAMBRECHT_1991),
        "elastic/C44": (256.0, _LAMBRECHT_1991),
        "elastic/Debye temperature, elastic": (1200.0, "experiment: Slack, J. Appl. Phys. 35, 3460 (1964)"),
    },
    "Al2O3": {
        "crystal/a": (4.7602, "experiment: Lewis, Schwarzenbach & Flack, Acta Cryst. A38, 733 (1982)"),
        "crystal/c": (12.9933, "experiment: Lewis, Schwarzenbach & Flack, Acta Cryst. A38, 733 (1982)"),
        "elastic/C11": (497.3, _GOTO_1989),
        "elastic/C12": (162.8, _GOTO_1989),
        "elastic/C13": (116.0, _GOTO_1989),
        "elastic/C33": (500.9, _GOTO_1989),
        "elastic/C44": (146.8, _GOTO_1989),
        "elastic/Debye temperature, elastic": (
            1047.0,
            "experiment: Fugate & Swenson, J. Appl. Phys. 40, 3034 (1969)",
        ),
    },
    "Al": _measured(a_A=4.05, cohesive_eV=3.39, c_GPa=(106.8, 60.7, 28.2), debye_K=428, of=_KITTEL),
}

#: Table I of G. Soum-Sidikov et al. (2024): formation energies in eV, boxes of 2x2x2 and 3x3x3 primitive cells,
#: with a correction for elastic effects that ours have not.
PRINTED_FRENKEL_PAIRS_eV = {
    "W": ((5.56, 7.05), (6.83, 7.30), (8.07, 10.59), (8.58, 11.07)),
    "Ca": ((5.02, 5.60), (5.11, 5.19)),
    "O": ((3.16, math.nan), (4.74, 4.84), (4.96, 4.87), (5.07, 5.14), (5.22, 5.28)),
}


def validate(bench: Bench, folder: Path, *, sections: Sequence[str] | None = None) -> dict[str, Section]:
    """Return all sections, those that `folder` holds already as they are; a learning curve only if it is there.

    Parameters
    ----------
    bench : Bench
    folder : Path
        Each section becomes `<section>.json` here.
    sections : sequence of str, optional
        Only these, such as `elastic phonons`; all by default.

    Raises
    ------
    InputError
        If a section is not known, or `folder` belongs to a potential with other content.
    """
    wanted = tuple(sections or SECTIONS)
    for name in wanted:
        if name not in SECTIONS:
            raise InputError(f"no section `{name}`; known are {', '.join(SECTIONS)}")
    folder.mkdir(parents=True, exist_ok=True)
    _require_same_potential(bench.potential, folder / "potential.json")
    done: dict[str, Section] = {}
    for name in wanted:
        path = folder / f"{name}.json"
        if not path.exists() or read_section(path).remark == NEEDS_EXTRA:
            begun = time.monotonic()
            write_section(path, SECTIONS[name](bench))
            missing = f"; not made: {NEEDS_EXTRA}" if read_section(path).remark == NEEDS_EXTRA else ""
            bench.observe(f"{name}: {time.monotonic() - begun:.0f} s{missing}")
        done[name] = read_section(path)
    if (folder / f"{LEARNING}.json").exists():
        done[LEARNING] = read_section(folder / f"{LEARNING}.json")
    return done


def _require_same_potential(potential: Potential, path: Path) -> None:
    if not path.exists():
        write_atomically(path, json.dumps({"name": potential.name, "digest": potential.digest}) + "\n")
    found = read_json(path)
    if found.get("digest") != potential.digest:
        raise InputError(
            f"{path.parent}: holds the validation of {found.get('name')} with other content; choose another folder"
        )


def write_section(path: Path, section: Section) -> None:
    """Keep a section."""
    write_atomically(path, json.dumps(asdict(section), indent=1) + "\n")


def read_section(path: Path) -> Section:
    """Return a section as it was kept."""
    content = read_json(path)
    measures = tuple(Measure(**one) for one in content["measures"])
    return Section(measures=measures, curves=content["curves"], remark=content["remark"])


# -- the crystal --------------------------------------------------------------------------------------------


def _measures(bench: Bench, section: str, values: Mapping[str, tuple[float, str]]) -> tuple[Measure, ...]:
    """Return values with their units as measures, with the references that are known of the crystal."""
    known = next((r for name, r in REFERENCES.items() if _same_formula(name, bench.crystal)), {})
    found = []
    for name, (value, unit) in values.items():
        reference, origin = known.get(f"{section}/{name}", (None, ""))
        found.append(
            Measure(section=section, name=name, value=float(value), unit=unit, reference=reference, origin=origin)
        )
    return tuple(found)


def _same_formula(name: str, atoms: Atoms) -> bool:
    from ase.formula import Formula

    return Formula(name).reduce()[0].count() == atoms.symbols.formula.reduce()[0].count()


def relaxed_crystal(bench: Bench) -> Atoms:
    """Return the crystal at zero stress and zero forces."""
    cell = bench.relaxed.copy()
    cell.calc = bench.make_calculator()
    return cell


def _crystal(bench: Bench) -> Section:
    cell = relaxed_crystal(bench)
    lengths = cell.cell.lengths()
    values: dict[str, tuple[float, str]] = {"a": (lengths[0], "A"), "c": (lengths[2], "A")}
    values["volume per atom"] = (cell.get_volume() / len(cell), "A^3")
    values["energy per atom"] = (cell.get_potential_energy() / len(cell), "eV")
    for pair, shells in _shells(cell).items():
        for number, distance in enumerate(shells[:2], start=1):
            values[f"{pair} shell {number}"] = (distance, "A")
    return Section(measures=_measures(bench, "crystal", values))


def _shells(cell: Atoms) -> dict[str, list[float]]:
    """Return the distances of the nearest shells of neighbours by pair, of pairs with oxygen or of all."""
    from ase.neighborlist import neighbor_list

    i, j, distance = neighbor_list("ijd", cell, 3.2)
    symbols = cell.get_chemical_symbols()
    by_pair = defaultdict(list)
    for a, b, d in zip(i, j, distance, strict=True):
        if "O" not in symbols or (symbols[b] == "O" and symbols[a] != "O"):
            by_pair[f"{symbols[a]}-{symbols[b]}"].append(d)
    shells = {}
    for pair, distances in by_pair.items():
        ordered = np.sort(distances)
        groups = np.split(ordered, np.flatnonzero(np.diff(ordered) > _SHELL_A) + 1)
        shells[pair] = [float(group.mean()) for group in groups]
    return shells


def _elastic(bench: Bench) -> Section:
    try:
        from matscipy.elasticity import measure_triclinic_elastic_constants
    except ImportError:
        return Section(remark=NEEDS_EXTRA)
    cell = relaxed_crystal(bench)
    stiffness = measure_triclinic_elastic_constants(cell, delta=5e-4, optimizer=FIRE, fmax=1e-4)
    full = np.asarray(stiffness)
    voigt = full if full.shape == (6, 6) else _voigt_matrix(full)
    C = voigt / units.GPa
    C = (C + C.T) / 2
    compliance = np.linalg.inv(C)
    voigt_bulk = C[:3, :3].sum() / 9
    reuss_bulk = 1 / compliance[:3, :3].sum()
    values: dict[str, tuple[float, str]] = {
        f"C{a + 1}{b + 1}": (C[a, b], "GPa") for a, b in ((0, 0), (0, 1), (0, 2), (2, 2), (3, 3), (5, 5), (0, 5))
    }
    values["bulk modulus"] = ((voigt_bulk + reuss_bulk) / 2, "GPa")
    values["least stiffness"] = (float(np.linalg.eigvalsh(C).min()), "GPa")
    density = cell.get_masses().sum() / cell.get_volume()
    values["Debye temperature, elastic"] = (debye_temperature_K(C, density, len(cell) / cell.get_volume()), "K")
    return Section(measures=_measures(bench, "elastic", values), curves={"C_GPa": C.tolist()})


def _voigt_matrix(full: NDArray[np.float64]) -> NDArray[np.float64]:
    pairs = [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]
    return np.array([[full[i, j, k, m] for k, m in pairs] for i, j in pairs])


def debye_temperature_K(stiffness_GPa: NDArray[np.float64], density_amu_A3: float, atoms_per_A3: float) -> float:
    """Return the Debye temperature of the sound velocities, averaged over all directions.

    theta = (hbar / k) (6 pi^2 n)^(1/3) v,  v^-3 = <sum_s v_s^-3> / 3, with the velocities of the Christoffel
    equation (O. L. Anderson, J. Phys. Chem. Solids 24, 909 (1963), the exact average).

    Parameters
    ----------
    stiffness_GPa : (6, 6) float
    density_amu_A3, atoms_per_A3 : float

    Returns
    -------
    float
        nan if a velocity is imaginary.
    """
    index = [[0, 5, 4], [5, 1, 3], [4, 3, 2]]
    full = np.array(
        [
            [[[stiffness_GPa[index[i][j], index[k][m]] for m in range(3)] for k in range(3)] for j in range(3)]
            for i in range(3)
        ]
    )
    directions = _even_directions(2000)
    christoffel = np.einsum("nj,ijkm,nm->nik", directions, full, directions)
    squared = np.linalg.eigvalsh(christoffel) * units.GPa / density_amu_A3
    if (squared <= 0).any():
        return math.nan
    mean = (squared**-1.5).mean() ** (-1 / 3)
    return float(units._hbar * units.J * units.s / units.kB * (6 * math.pi**2 * atoms_per_A3) ** (1 / 3) * mean)


def _even_directions(count: int) -> NDArray[np.float64]:
    """Return unit vectors on a Fibonacci spiral."""
    k = np.arange(count) + 0.5
    cosine, azimuth = 1 - 2 * k / count, math.pi * (1 + 5**0.5) * k
    sine = np.sqrt(1 - cosine**2)
    return np.stack([sine * np.cos(azimuth), sine * np.sin(azimuth), cosine], axis=1)


def _phonons(bench: Bench) -> Section:
    try:
        from phonopy import Phonopy
        from phonopy.structure.atoms import PhonopyAtoms
    except ImportError:
        return Section(remark=NEEDS_EXTRA)
    cell = relaxed_crystal(bench)
    repeats = np.maximum(1, np.round(_PHONON_BOX_A / cell.cell.lengths())).astype(int)
    unit = PhonopyAtoms(symbols=cell.get_chemical_symbols(), cell=np.asarray(cell.cell), positions=cell.positions)
    phonons = Phonopy(unit, supercell_matrix=np.diag(repeats), primitive_matrix="P", log_level=0)
    phonons.generate_displacements(distance=0.01)
    forces = []
    for displaced in phonons.supercells_with_displacements or ():
        box = Atoms(displaced.symbols, cell=displaced.cell, positions=displaced.positions, pbc=True)
        box.calc = bench.make_calculator()
        forces.append(box.get_forces())
    phonons.forces = forces
    phonons.produce_force_constants()
    phonons.symmetrize_force_constants()
    phonons.run_mesh([8, 8, 8])
    mesh: Any = phonons.mesh
    THz = np.asarray(mesh.frequencies)
    weights = np.repeat(np.asarray(mesh.weights), THz.shape[1]).astype(float)
    flat = THz.ravel()
    # Second moment of the spectrum: of a Debye spectrum it is 3/5 of the squared cutoff.
    second = float(np.average(np.clip(flat, 0, None) ** 2, weights=weights))
    kelvin_per_THz = units._hplanck * 1e12 / units._k
    lowest = float(flat.min())
    phonons.run_qpoints([[0, 0, 0]])
    points: Any = phonons.qpoints
    at_gamma = np.sort(np.asarray(points.frequencies)[0])
    values: dict[str, tuple[float, str]] = {
        "lowest frequency": (lowest, "THz"),
        "highest frequency": (float(flat.max()), "THz"),
        "Debye temperature, second moment": (kelvin_per_THz * math.sqrt(5 / 3 * second), "K"),
    }
    density, edges = np.histogram(flat, bins=120, weights=weights, density=True)
    curves = PhononCurves(
        frequency_THz=tuple(((edges[1:] + edges[:-1]) / 2).tolist()),
        density_per_THz=tuple(density.tolist()),
        gamma_THz=tuple(at_gamma.tolist()),
    )
    remark = "" if lowest > -0.1 else "imaginary frequencies: the crystal is not stable"
    return Section(measures=_measures(bench, "phonons", values), curves=asdict(curves), remark=remark)


# -- damage -------------------------------------------------------------------------------------------------


def _frenkel(bench: Bench) -> Section:
    """Search close pairs in the box of the paper's size and let each relax again in a larger one."""
    cell = relaxed_crystal(bench)
    repeats = _repeats_for(cell, 96)
    small, large = cell.repeat(repeats), cell.repeat([r + 1 for r in repeats])
    energies: dict[str, list[list[float]]] = {}
    values: dict[str, tuple[float, str]] = {}
    large.calc = bench.make_calculator()
    large_eV = float(large.get_potential_energy())
    for species in bench.frenkel_species:
        found = []
        search = FrenkelSearch(species=species, clearance_A=_clearance_A(cell))
        for pair in frenkel_pairs(small, search, bench.make_calculator, observe=bench.observe):
            if pair.converged:
                found.append([pair.energy_eV, _in_larger_box(bench, small, large, pair.frames[-1], large_eV)])
        energies[species] = sorted(found)
        for number, (here, there) in enumerate(energies[species][:6], start=1):
            values[f"{species} pair {number}, {len(small)} atoms"] = (here, "eV")
            values[f"{species} pair {number}, {len(large)} atoms"] = (there, "eV")
    known = PRINTED_FRENKEL_PAIRS_eV if _same_formula("CaWO4", cell) else {}
    printed = {species: [list(row) for row in known.get(species, ())] for species in energies}
    return Section(
        measures=_measures(bench, "frenkel", values),
        curves={"pairs_eV": energies, "printed_eV": printed},
        remark="Energies without elastic correction; the printed ones have it. A pair that relaxes to the crystal "
        f"in the larger box has about 0 eV there.{_printed_words(printed)}",
    )


def _clearance_A(cell: Atoms) -> float:
    """Return how near to an atom a place for another may be: in diamond the largest holes are a bond wide."""
    usual_A = FrenkelSearch(species=cell.get_chemical_symbols()[0]).clearance_A
    return min(usual_A, _HOLE_SHARE * float(nearest_neighbours_A(cell).max()))


def _printed_words(printed: Mapping[str, Sequence[Sequence[float]]]) -> str:
    """Return printed pairs in a sentence; which of them is which of the found is for the reader to say."""
    rows = [f"{s} {', '.join(f'{a:.2f} ({b:.2f})' for a, b in pairs)}" for s, pairs in printed.items() if pairs]
    if not rows:
        return ""
    table = "; ".join(rows).replace("(nan)", "(-)")
    return f" Printed in Table I of G. Soum-Sidikov et al. (2024), 96 atoms (324 atoms), in eV: {table}."


def _repeats_for(cell: Atoms, atoms: int) -> list[int]:
    """Return the repeats of a cell that bring about `atoms` atoms in a box as near to a cube as may be."""
    repeats = [1, 1, 1]
    while len(cell) * np.prod(repeats) < atoms:
        repeats[int(np.argmin(np.array(repeats) * cell.cell.lengths()))] += 1
    return repeats


def _in_larger_box(bench: Bench, small: Atoms, large: Atoms, pair: Atoms, large_eV: float) -> float:
    """Return the energy of a pair that was cut out of its box and relaxed in a larger one, above its crystal."""
    from ase.geometry import find_mic

    moved, _ = find_mic(pair.positions - small.positions, small.cell)
    atoms = large.copy()
    # The atoms of the small box are found in the large one by their place in the crystal.
    for place, shift in zip(small.positions, moved, strict=True):
        if np.linalg.norm(shift) < 0.02:
            continue
        distance = find_mic(large.positions - place, large.cell)[1]
        atoms.positions[int(distance.argmin())] += shift
    atoms.calc = bench.make_calculator()
    FIRE(atoms, logfile=None).run(fmax=0.02, steps=600)
    return float(atoms.get_potential_energy()) - large_eV


def _frames(bench: Bench) -> Section:
    """Compare with labels, group by group; energies above the crystal, per atom."""
    if not bench.frames:
        return Section(remark="no labelled frames were given")
    values: dict[str, tuple[float, str]] = {}
    errors = frame_errors(bench.frames, bench.make_calculator)
    every: dict[str, list[float]] = defaultdict(list)
    for group, one in sorted(errors.items()):
        values[f"{group} energy MAE ({one.count} frames)"] = (1e3 * one.energy_eV_per_atom, "meV/atom")
        values[f"{group} force MAE"] = (one.force_eV_per_A, "eV/A")
        every["force"] += one.forces
    values["force MAE of all"] = (float(np.mean(every["force"])), "eV/A")
    curves = {
        group: {"label_eV": list(one.labels_eV), "predicted_eV": list(one.predicted_eV)}
        for group, one in errors.items()
    }
    return Section(measures=_measures(bench, "frames", values) + _end_states(errors), curves=curves)


def _end_states(errors: Mapping[str, GroupComparison]) -> tuple[Measure, ...]:
    """Return how the stored energies of quenched cascades compare with labels; nothing without a crystal."""
    if not {CASCADE_END, PERFECT} <= set(errors):
        return ()
    labels, ours = np.array(errors[CASCADE_END].labels_eV), np.array(errors[CASCADE_END].predicted_eV)
    measure = partial(Measure, section="frames", unit="eV")
    beside = partial(measure, origin="their labels")
    off, mean = float(np.abs(ours - labels).mean()), float(labels.mean())
    return (
        beside(name=f"mean of {len(labels)} end states", value=float(ours.mean()), reference=mean),
        beside(name="lowest end state", value=float(ours.min()), reference=float(labels.min())),
        measure(name="mean absolute error of end states", value=off),
    )


@dataclass(frozen=True, kw_only=True)
class GroupComparison:
    """A calculator beside the labels of a group of frames.

    Attributes
    ----------
    count : int
    energy_eV_per_atom, force_eV_per_A : float
        Mean absolute errors; energies above the perfect crystal, see `frame_errors`.
    labels_eV, predicted_eV : tuple of float
        Energies of the boxes.
    forces : list of float
        Absolute errors of all components.
    """

    count: int
    energy_eV_per_atom: float
    force_eV_per_A: float
    labels_eV: tuple[float, ...]
    predicted_eV: tuple[float, ...]
    forces: list[float]


def frame_errors(frames: Sequence[LabelledFrame], make_calculator: MakeCalculator) -> dict[str, GroupComparison]:
    """Return the errors of a calculator in labelled frames by group.

    Energies of two programs have different zeros. With the perfect crystal among the frames, both count from it.
    Else one constant per formula unit is taken out: the median of the differences per atom over all frames of one
    composition, so that a few bad frames do not move it.

    Raises
    ------
    InputError
        If there is no frame.
    """
    if not frames:
        raise InputError("no frames to compare with; give a file of labelled structures")
    predicted = [_predicted(frame, make_calculator) for frame in frames]
    labels_eV, predicted_eV = _on_one_scale(frames, predicted)
    sizes = np.array([len(frame.atoms) for frame in frames])
    groups = np.array([frame.group or "all" for frame in frames])
    found = {}
    for group in sorted(set(groups)):
        of = np.flatnonzero(groups == group)
        pairs = [(frames[k], predicted[k]) for k in of.tolist()]
        components = np.concatenate([np.abs(b.forces_eV_per_A - a.forces_eV_per_A).ravel() for a, b in pairs])
        found[str(group)] = GroupComparison(
            count=len(of),
            energy_eV_per_atom=float(np.abs((predicted_eV[of] - labels_eV[of]) / sizes[of]).mean()),
            force_eV_per_A=float(components.mean()),
            labels_eV=tuple(labels_eV[of].tolist()),
            predicted_eV=tuple(predicted_eV[of].tolist()),
            forces=components.tolist(),
        )
    return found


def _predicted(frame: LabelledFrame, make_calculator: MakeCalculator) -> LabelledFrame:
    atoms = frame.atoms.copy()
    atoms.calc = make_calculator()
    return replace(frame, energy_eV=float(atoms.get_potential_energy()), forces_eV_per_A=atoms.get_forces())


def _on_one_scale(
    frames: Sequence[LabelledFrame], predicted: Sequence[LabelledFrame]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return labelled and predicted energies of boxes in eV above one zero."""
    if any(frame.group == PERFECT for frame in frames):
        labels, ours = (
            [frame.energy_eV for frame in from_the_crystal(side, where="frames")] for side in (frames, predicted)
        )
        return np.array(labels), np.array(ours)
    sizes = np.array([len(frame.atoms) for frame in frames])
    energies = np.array([frame.energy_eV for frame in frames])
    difference = (np.array([frame.energy_eV for frame in predicted]) - energies) / sizes
    formulas = np.array([frame.atoms.symbols.formula.reduce()[0].format("hill") for frame in frames])
    for formula in set(formulas):
        difference[formulas == formula] -= np.median(difference[formulas == formula])
    relative = energies - float(np.median(energies / sizes)) * sizes
    return relative, relative + difference * sizes


# -- heat, cores and cost -----------------------------------------------------------------------------------


def _stability(bench: Bench) -> Section:
    """Run the crystal hot: nothing may come closer than in the labels, nothing may explode."""
    cell = relaxed_crystal(bench)
    box = cell.repeat(_repeats_for(cell, 96))
    values: dict[str, tuple[float, str]] = {}
    curves: dict[str, dict[str, float]] = {}
    for temperature in (2000.0, 5000.0):
        try:
            frames = list(
                molecular_dynamics(
                    box, bench.make_calculator, temperature_K=temperature, frames=10, spacing_ps=0.2
                )
            )
        except InputError as error:
            return Section(measures=_measures(bench, "stability", values), remark=str(error))
        least = _least_distances(frames)
        curves[f"{temperature:g} K"] = least
        for pair, distance in least.items():
            values[f"closest {pair} at {temperature:g} K"] = (distance, "A")
    labelled = _least_distances([f.atoms for f in bench.frames if f.group.startswith("md")])
    curves["labels"] = labelled
    return Section(measures=_measures(bench, "stability", values), curves=curves)


def _least_distances(frames: Sequence[Atoms]) -> dict[str, float]:
    least: dict[str, float] = {}
    for atoms in frames:
        distance = atoms.get_all_distances(mic=True)
        symbols = np.array(atoms.get_chemical_symbols())
        names = sorted(set(symbols), key=lambda s: atomic_numbers[s])
        for a, first in enumerate(names):
            for second in names[a:]:
                block = distance[np.ix_(symbols == first, symbols == second)]
                block = block[block > 0]
                if len(block):
                    key = f"{first}-{second}"
                    least[key] = min(least.get(key, math.inf), float(block.min()))
    return least


def _contract(bench: Bench) -> Section:
    """Put the potential through the contract: cores, switches, gradients, 133 K and 600 K."""
    results = check_potential(bench.potential, make_engine=bench.make_engine)
    measures = tuple(
        Measure(
            section="contract",
            name=f"{'passed' if r.passed else 'FAILED'}: {r.name}, {r.subject} ({r.requirement})",
            value=r.measured,
            unit=r.unit,
        )
        for r in results
    )
    failed = [r for r in results if not r.passed]
    remarks = [f"{len(failed)} of {len(results)} checks failed"] if failed else []
    if not bench.potential.about.crystals:
        remarks.append(f"{len(CRYSTAL_CHECKS)} not run: potential.toml names no crystal")
    return Section(measures=measures, remark=", ".join(remarks))


def _pair_curves(bench: Bench) -> Section:
    """Follow two atoms in vacuum from 0.1 A outwards, beside ZBL."""
    distances = np.geomspace(0.1, 4.0, 120)
    values: dict[str, tuple[float, str]] = {}
    pairs: dict[str, PairEnergies] = {}
    engine = bench.make_engine()
    try:
        for pair in element_pairs(bench.potential.species):
            name = "-".join(pair)
            ours = dimer(engine, pair, distances, reach_A=bench.potential.about.cutoff_A).energy_eV
            theirs = zbl(distances, numbers=numbers_of(pair))[0]
            close = distances <= 0.5
            values[f"{name}, largest departure from ZBL to 0.5 A"] = (
                100 * float(np.abs(ours / theirs - 1)[close].max()),
                "%",
            )
            pairs[name] = PairEnergies(energy_eV=tuple(ours.tolist()), zbl_eV=tuple(theirs.tolist()))
    finally:
        engine.close()
    curves = PairCurves(distance_A=tuple(distances.tolist()), pairs=pairs)
    return Section(measures=_measures(bench, "pair curves", values), curves=asdict(curves))


def _cost(bench: Bench) -> Section:
    """Time the engine itself, by the processor's clock: the machine may have other work."""
    cell = relaxed_crystal(bench)
    from cascade_driver.simulation.crystal import orthogonal_cell

    box = orthogonal_cell(cell)
    box = box.repeat(_repeats_for(box, 1500))
    engine = bench.make_engine()
    try:
        engine.build(box)
        engine.run(duration_ps=0.02, timestep_ps=0.001)
        begun = time.process_time()
        engine.run(duration_ps=0.1, timestep_ps=0.001)
        seconds = time.process_time() - begun
    finally:
        engine.close()
    values = {"CPU time per atom and step": (1e6 * seconds / (len(box) * 100), "us")}
    return Section(measures=_measures(bench, "cost", values))


#: What is measured, in this order.
SECTIONS: dict[str, Callable[[Bench], Section]] = {
    "crystal": _crystal,
    "elastic": _elastic,
    "phonons": _phonons,
    "frenkel": _frenkel,
    "frames": _frames,
    "stability": _stability,
    "pair curves": _pair_curves,
    "contract": _contract,
    "cost": _cost,
}
