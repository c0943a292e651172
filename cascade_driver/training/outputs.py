"""What the files of other programs say, step by step: VASP, CP2K, FitSNAP, and whatever else ASE reads.

A step is a structure with its energies, forces and stress, or the reason why it is no label: a self-consistent
field that did not converge prints forces as a converged one does, and a force field that the program trained on
the way is no first principle.
"""

# ASE annotates only part of what it offers:
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import itertools
import json
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TextIO, cast
from xml.etree import ElementTree

import ase.io
import numpy as np
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError
from ase.io.formats import UnknownFileTypeError, filetype, ioformats
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray

from cascade_driver.errors import InputError
from cascade_driver.files import readable
from cascade_driver.units import ENERGY, FORCE, LENGTH, STRESS, Dimension, unit_in_eV_A

#: Beginning of a file that tells which program wrote it: CP2K may print thousands of lines before its banner.
_HEAD = 65536


@dataclass(frozen=True, kw_only=True)
class Step:
    """One structure of an output.

    Attributes
    ----------
    atoms : ase.Atoms, optional
        n atoms; no calculator.
    energy_eV : float, optional
        The one whose derivatives the forces are: with smearing the free energy E - TS.
    unsmeared_eV : float, optional
        Extrapolated to no smearing, where the program gives it.
    forces_eV_per_A : ndarray, (n, 3), optional
    stress_eV_per_A3 : ndarray, (6,), optional
        ASE's order and sign.
    flaw : str
        Why the step is no label; empty if it is one.
    """

    atoms: Atoms | None = None
    energy_eV: float | None = None
    unsmeared_eV: float | None = None
    forces_eV_per_A: NDArray[np.float64] | None = None
    stress_eV_per_A3: NDArray[np.float64] | None = None
    flaw: str = ""


@dataclass(frozen=True, kw_only=True)
class Output:
    """A file of another program.

    Attributes
    ----------
    program : str
    steps : list of Step
    group, trajectory : str
        What the place of the file says of all its steps, if anything.
    settings : str
        What decides the zero of its energies, as far as the file tells.
    notes : tuple of str
        What a user should know of them.
    """

    program: str
    steps: Sequence[Step]
    group: str = ""
    trajectory: str = ""
    settings: str = ""
    notes: tuple[str, ...] = ()


def read_output(path: Path) -> Output:
    """Return the steps of a file, by whatever program wrote it; compressed ones (.gz) too.

    Raises
    ------
    InputError
        If the file cannot be read, or is of no known program.
    """
    reader = _reader(path)
    try:
        with warnings.catch_warnings():
            # ASE warns of what becomes a flaw here.
            warnings.simplefilter("ignore")
            return reader(path)
    except InputError:
        raise
    except Exception as error:  # every format fails in its own way
        raise InputError(f"{path}: not a file of labelled structures that can be read ({error})") from None


def is_extended_xyz(path: Path) -> bool:
    """Return whether a file is extended XYZ, by its name or its beginning.

    Raises
    ------
    InputError
        If there is no such file.
    """
    return _format(path) == "extxyz"


def open_text(path: Path) -> TextIO:
    """Return an open text file, compressed (.gz) or not; bytes that are no text are replaced."""
    if path.suffix == ".gz":
        return cast("TextIO", gzip.open(path, "rt", errors="replace"))
    return path.open(errors="replace")


def open_bytes(path: Path) -> IO[bytes]:
    """Return an open file, unpacked if it is compressed (.gz)."""
    return cast("IO[bytes]", gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")


def _format(path: Path) -> str:
    name = readable(path, what="labelled structures").name.removesuffix(".gz").lower()
    if name.endswith((".extxyz", ".xyz")):
        return "extxyz"
    if name.endswith(".json"):
        return "json"
    if "outcar" in name:
        return "vasp-out"
    with open_text(path) as stream:
        try:
            head = stream.read(_HEAD)
        except (OSError, EOFError) as error:
            raise InputError(f"{path}: cannot be read ({error})") from None
    if "CP2K|" in head or "DBCSR|" in head:
        return "cp2k"
    found = ""
    with contextlib.suppress(UnknownFileTypeError, OSError, ValueError):
        found = str(filetype(str(path)))
    if found not in ioformats:
        raise InputError(
            f"{path}: of no known program; give extended XYZ, OUTCAR, vasprun.xml, CP2K's output, FitSNAP's "
            "JSON or another format that ASE reads"
        )
    return found


def _reader(path: Path) -> Callable[[Path], Output]:
    known = {"vasp-out": _outcar, "vasp-xml": _vasprun, "cp2k": _cp2k}
    found = _format(path)
    if found == "json" and (fitsnap := _fitsnap_content(path)) is not None:
        return lambda path: _fitsnap(path, fitsnap)
    return known.get(found, _ase)


# -- VASP ---------------------------------------------------------------------------------------------------


_ELECTRONIC_STEPS = re.compile(r"\bNELM\s*=\s*(\d+)")
_ITERATION = re.compile(r"Iteration\s+\d+\(\s*(\d+)\)")
_NO_MOST = "NELM is not told: whether the steps converged is not checked"
_MACHINE_LEARNED = "made by VASP's machine-learned force field, not by first principles"


def _not_converged(iterations: int, most: int) -> str:
    """Return a flaw: VASP says that EDIFF is reached either way."""
    return f"not converged: all {most} electronic iterations used (NELM)" if iterations >= most > 0 else ""


def _outcar(path: Path) -> Output:
    from ase.io.vasp_parsers.vasp_outcar_parsers import OutcarHeaderParser, build_header

    with open_text(path) as stream:
        head = build_header(stream)
        most = [int(found) for line in head for found in _ELECTRONIC_STEPS.findall(line)]
        header = OutcarHeaderParser().build([_without_dispersion(line) for line in head])
        # Dynamics with a force field may begin before the first electronic iteration.
        early = sum("ML FREE ENERGIE" in line for line in head)
        steps = [Step(flaw=_MACHINE_LEARNED)] * early
        last = head[-1:]
        for lines in _outcar_chunks(stream):
            steps.append(_outcar_step([*last, *lines], header, most=most[-1] if most else 0))
            last = []
    notes = () if most else (_NO_MOST,)
    return Output(program="VASP", steps=steps, settings=_outcar_settings("".join(head)), notes=notes)


def _outcar_settings(head: str) -> str:
    cutoff = re.search(r"^\s*ENCUT\s*=\s*([\d.]+) eV", head, re.MULTILINE)
    functional = re.search(r"^\s*GGA\s*=\s*(\S+)\s+GGA type", head, re.MULTILINE)
    smearing = re.search(r"^\s*ISMEAR\s*=\s*(-?\d+);\s*SIGMA\s*=\s*([\d.]+)", head, re.MULTILINE)
    return _vasp_settings(
        float(cutoff[1]) if cutoff else 0.0,
        functional[1] if functional else "--",
        *((int(smearing[1]), float(smearing[2])) if smearing else (0, 0.0)),
    )


def _vasp_settings(cutoff_eV: float, functional: str, smearing: int, width_eV: float) -> str:
    chosen = "" if functional == "--" else f" GGA={functional}"
    return f"VASP {cutoff_eV:g} eV{chosen} ISMEAR={smearing} SIGMA={width_eV:g}"


def _outcar_chunks(stream: TextIO) -> Iterator[list[str]]:
    from ase.io.vasp_parsers.vasp_outcar_parsers import build_chunk

    while True:
        try:
            yield list(build_chunk(stream))
        except (StopIteration, RuntimeError):
            return


def _outcar_step(lines: list[str], header: dict[str, object], *, most: int) -> Step:
    from ase.io.vasp_parsers.vasp_outcar_parsers import OutcarChunkParser

    if any("ML FREE ENERGIE" in line for line in lines):
        return Step(flaw=_MACHINE_LEARNED)
    iterations = [int(found) for line in lines for found in _ITERATION.findall(line)]
    if not any("POSITION   " in line for line in lines):
        return Step(flaw="no positions and forces are written (NWRITE = 0); take vasprun.xml of the same run")
    if flaw := _not_converged(iterations[-1] if iterations else 0, most):
        return Step(flaw=flaw)
    try:
        atoms = OutcarChunkParser(header=header).build([_without_dispersion(line) for line in lines])
    except Exception as error:  # a step cut short, or columns that run into each other
        return Step(flaw=f"cannot be read ({error}); take vasprun.xml of the same run")
    return _step_of(atoms)


def _without_dispersion(line: str) -> str:
    """Return a line without what some van der Waals patches print beside the numbers: the same without it."""
    return re.sub(r"\s*w/o vdW =\s*\S+(?:\s+eV)?", "", line).replace("eV  energy(", "  energy(")


def _vasprun(path: Path) -> Output:
    """Return the steps of a vasprun.xml, also of one that was cut off."""
    known = _VasprunHead()
    steps, notes = list[Step](), tuple[str, ...]()
    with open_bytes(path) as stream:
        try:
            for _, element in ElementTree.iterparse(stream):
                if element.tag in {"atominfo", "parameters"}:
                    known = known.with_more(element)
                elif element.tag == "calculation":
                    steps.append(known.step(element))
                    element.clear()
        except (ElementTree.ParseError, EOFError):
            if not known.species:
                raise
            notes = ("the file ends in the middle: what was being written is left out",)
    notes += () if known.most else (_NO_MOST,)
    return Output(program="VASP", steps=steps, settings=known.settings, notes=notes)


@dataclass(frozen=True, kw_only=True)
class _VasprunHead:
    """What holds for all steps: elements of the atoms, most electronic iterations, pressure, settings."""

    species: tuple[str, ...] = ()
    most: int = 0
    pressure_kbar: float = 0.0
    settings: str = ""

    def with_more(self, element: ElementTree.Element) -> _VasprunHead:
        """Return this with what an element of the file adds."""
        if element.tag == "atominfo":
            rows = element.iterfind("array[@name='atoms']/set/rc")
            return dataclasses.replace(self, species=tuple(str(row[0].text).strip() for row in rows))
        return dataclasses.replace(
            self,
            most=int(_number(element, ".//i[@name='NELM']")),
            pressure_kbar=_number(element, ".//i[@name='PSTRESS']"),
            settings=_vasp_settings(
                _number(element, ".//i[@name='ENMAX']"),
                str(element.findtext(".//i[@name='GGA']", "--")).strip(),
                int(_number(element, ".//i[@name='ISMEAR']")),
                _number(element, ".//i[@name='SIGMA']"),
            ),
        )

    def step(self, element: ElementTree.Element) -> Step:
        """Return the step that an element `calculation` holds."""
        from ase.io.vasp import atoms_from_step

        iterations = len(element.findall("scstep"))
        if iterations == 0:
            return Step(flaw=_MACHINE_LEARNED)
        if element.find("varray[@name='forces']") is None or element.find("energy") is None:
            return Step(flaw="no forces are written")
        if flaw := _not_converged(iterations, self.most):
            return Step(flaw=flaw)
        atoms = Atoms(self.species, pbc=True)
        return _step_of(atoms_from_step(element, [], [], {"pstress": self.pressure_kbar}, atoms, len(atoms)))


def _number(element: ElementTree.Element, where: str) -> float:
    found = element.find(where)
    return 0.0 if found is None or found.text is None else float(found.text)


# -- what ASE reads -------------------------------------------------------------------------------------------


def _ase(path: Path) -> Output:
    kind = filetype(str(path))
    found = ase.io.read(str(path), index=":", format=kind)
    frames = found if isinstance(found, list) else [found]
    flaws: list[str] = []
    notes: tuple[str, ...] = (f"whether a step of {kind} converged is not checked",)
    if kind == "espresso-out":
        # ASE reads such steps as it reads others, and each says how its own field ended.
        with open_text(path) as stream:
            ends = re.findall(r"convergence has been achieved|convergence NOT achieved", stream.read())
        if len(ends) == len(frames):
            flaws = ["not converged, says Quantum ESPRESSO" if "NOT" in end else "" for end in ends]
            notes = ()
        elif any("NOT" in end for end in ends):
            raise InputError(
                f"{path}: {sum('NOT' in end for end in ends)} of {len(ends)} self-consistent fields did not "
                f"converge, and which of the {len(frames)} steps these are is not told; mend them or write "
                "extended XYZ without them"
            )
    elif kind in {"traj", "db"}:
        notes = ()
    program = {"espresso-out": "Quantum ESPRESSO"}.get(kind, f"ASE's {kind}")
    steps = [_step_of(a, flaw=f) for a, f in itertools.zip_longest(frames, flaws, fillvalue="")]
    return Output(program=program, steps=steps, notes=notes)


def _step_of(atoms: Any, *, flaw: str = "") -> Step:
    """Return a structure with what its calculator knows; the free energy goes before the other one."""
    known = {name: result(atoms, name) for name in ("energy", "free_energy", "forces", "stress")}
    free, plain = known["free_energy"], known["energy"]
    energy = plain if free is None else free
    forces, stress = known["forces"], known["stress"]
    if energy is None or forces is None:
        flaw = flaw or f"no {'energy' if energy is None else 'forces'} in it"
    return Step(
        atoms=atoms,
        energy_eV=None if energy is None else float(energy),
        unsmeared_eV=None if free is None or plain is None else float(plain),
        forces_eV_per_A=None if forces is None else np.asarray(forces, dtype=float),
        stress_eV_per_A3=None if stress is None else np.asarray(stress, dtype=float),
        flaw=flaw,
    )


def result(atoms: Atoms, name: str) -> Any:
    """Return what a structure's calculator knows already, or None."""
    if atoms.calc is None:
        return None
    try:
        return atoms.calc.get_property(name, atoms, allow_calculation=False)
    except (PropertyNotImplementedError, NotImplementedError):
        return None


# -- CP2K ---------------------------------------------------------------------------------------------------


_CP2K_ENERGY = re.compile(r"ENERGY\| Total FORCE_EVAL \( *(\w+) *\) energy\s*[\[(](.*?)[\])]:?\s+(\S+)")
_CP2K_CELL = re.compile(r"^ CELL\| Vector ([abc]) \[(.*?)\]:?\s+(\S+)\s+(\S+)\s+(\S+)", re.MULTILINE)
_CP2K_FORCES = re.compile(r"(?:ATOMIC FORCES in|FORCES\| Atomic forces) \[(.*?)\]")
_CP2K_STRESS = re.compile(r"(?:STRESS TENSOR|STRESS\| (?:Analytical|Numerical) stress tensor) \[(.*?)\]", re.I)
_CP2K_ATOMS = re.compile(r"ATOMIC COORDINATES IN (\w+)", re.IGNORECASE)
_CP2K_TRAJECTORY = re.compile(r"MD\| Coordinates\s+\d+\s+(\S+)")


def _cp2k(path: Path) -> Output:
    """Return the steps of CP2K's output; where it prints no positions they are taken from its trajectory."""
    with open_text(path) as stream:
        text = stream.read()
    if re.search(r"MD\| Ensemble Type\s+NP|GLOBAL\| Run type\s+CELL_OPT", text):
        raise InputError(f"{path}: its cell changes, and CP2K's output does not say how; write extended XYZ")
    cell = _cp2k_cell(text, path)
    ends = [match.start() for match in _CP2K_ENERGY.finditer(text)]
    if not ends:
        raise InputError(f"{path}: CP2K's output without a total energy")
    parts = [text[a:b] for a, b in itertools.pairwise([*ends, len(text)])]
    before = [text[a:b] for a, b in itertools.pairwise([0, *ends])]
    elements: list[str] = []
    moved = _cp2k_trajectory(path, text)
    steps = []
    for part, fore in zip(parts, before, strict=True):
        found, printed = _cp2k_positions(fore)
        elements = found or elements
        steps.append(_cp2k_step(part, fore, elements=elements, cell=cell, printed=printed, moved=moved))
    functionals = "+".join(dict.fromkeys(re.findall(r"FUNCTIONAL\| (\w+):", text)))
    cutoffs = re.findall(r"QS\| Density cutoff \[a\.u\.\]:\s+([\d.]+)", text)
    words = ["CP2K", functionals, f"{2 * float(cutoffs[-1]):g} Ry" if cutoffs else ""]
    return Output(program="CP2K", steps=steps, settings=" ".join(word for word in words if word))


def _cp2k_cell(text: str, path: Path) -> NDArray[np.float64]:
    rows = {}
    for axis, unit, *numbers in _CP2K_CELL.findall(text):
        rows[axis] = unit_in_eV_A(unit, LENGTH) * np.array([float(x) for x in numbers])
    if set(rows) != set("abc"):
        raise InputError(f"{path}: CP2K's output does not tell the cell")
    return np.array([rows[axis] for axis in "abc"])


def _cp2k_positions(text: str) -> tuple[list[str], NDArray[np.float64] | None]:
    """Return elements and positions in A of the last list of atoms in a text, if there is any."""
    lists = list(_CP2K_ATOMS.finditer(text))
    if not lists:
        return [], None
    elements, positions = list[str](), list[list[float]]()
    for line in text[lists[-1].end() :].splitlines():
        words = line.split()
        if len(words) >= 7 and words[0].isdigit() and int(words[0]) == len(elements) + 1:
            elements.append(words[2])
            positions.append([float(x) for x in words[4:7]])
        elif elements:
            break
    return elements, unit_in_eV_A(lists[-1][1], LENGTH) * np.array(positions)


def _cp2k_trajectory(path: Path, text: str) -> dict[int, NDArray[np.float64]]:
    """Return the positions of a trajectory beside the output, by the energy in 1e-8 hartree that each carries."""
    project = re.search(r"GLOBAL\| Project name\s+(\S+)", text)
    names = _CP2K_TRAJECTORY.findall(text) + ([f"{project[1]}-pos-1.xyz"] if project else [])
    for name in names:
        beside = path.parent / Path(name).name
        if beside.is_file():
            frames: Any = ase.io.read(str(beside), index=":", format="extxyz")
            return {round(float(f.info["E"]) * 1e8): f.positions for f in frames if "E" in f.info}
    return {}


def _cp2k_step(
    part: str,
    before: str,
    *,
    elements: list[str],
    cell: NDArray[np.float64],
    printed: NDArray[np.float64] | None,
    moved: Mapping[int, NDArray[np.float64]],
) -> Step:
    """Return one step: `part` begins with its energy, `before` holds its self-consistent field."""
    method, unit, number = _CP2K_ENERGY.findall(part)[0]
    if "NOT converged" in before or "NOT converged" in part:
        return Step(flaw="not converged, says CP2K")
    if method == "QS" and "SCF run converged" not in before:
        return Step(flaw="no word of CP2K that its self-consistent field converged")
    forces = _cp2k_forces(part, len(elements))
    if forces is None:
        return Step(flaw="no forces are printed (FORCE_EVAL/PRINT/FORCES)")
    positions = moved.get(round(float(number) * 1e8))
    positions = printed if positions is None else positions
    if positions is None or len(positions) != len(elements):
        return Step(flaw="no positions: neither printed nor in the trajectory PROJECT-pos-1.xyz beside the output")
    return Step(
        atoms=Atoms(elements, positions=positions, cell=cell, pbc=True),
        energy_eV=float(number) * unit_in_eV_A(unit, ENERGY),
        forces_eV_per_A=forces,
        stress_eV_per_A3=_cp2k_stress(part),
    )


def _cp2k_forces(text: str, count: int) -> NDArray[np.float64] | None:
    found = _CP2K_FORCES.search(text)
    if found is None:
        return None
    rows = list[list[float]]()
    for line in text[found.end() :].splitlines():
        words = line.replace("FORCES|", " ").split()
        if not words or not words[0].isdigit() or int(words[0]) != len(rows) + 1:
            if rows:
                break
            continue
        # `atom kind element x y z` of the older form, `atom x y z |f|` of the newer.
        rows.append([float(x) for x in (words[1:4] if "FORCES|" in line else words[3:6])])
    if len(rows) != count:
        return None
    return np.array(rows) * unit_in_eV_A(found[1], FORCE)


def _cp2k_stress(text: str) -> NDArray[np.float64] | None:
    """Return ASE's stress; CP2K's is positive under compression."""
    found = _CP2K_STRESS.search(text)
    if found is None:
        return None
    rows = dict[str, list[float]]()
    for line in text[found.end() :].splitlines():
        words = line.replace("STRESS|", " ").split()
        if len(words) == 4 and words[0].lower() in "xyz" and words[0].lower() not in rows:
            rows[words[0].lower()] = [float(x) for x in words[1:]]
        if len(rows) == 3:
            tensor = np.array([rows[axis] for axis in "xyz"])
            return np.asarray(-full_3x3_to_voigt_6_stress(tensor) * unit_in_eV_A(found[1], STRESS))
    return None


# -- FitSNAP ------------------------------------------------------------------------------------------------


def _fitsnap_content(path: Path) -> Mapping[str, Any] | None:
    """Return the data set of FitSNAP's JSON, or None for another one; its first line is a comment."""
    with open_text(path) as stream:
        text = stream.read()
    if text.lstrip().startswith("#"):
        text = text.partition("\n")[2]
    try:
        content = json.loads(text)
    except ValueError as error:
        raise InputError(f"{path}: not valid JSON ({error})") from None
    found = content.get("Dataset") if isinstance(content, Mapping) else None
    return found if isinstance(found, Mapping) and isinstance(found.get("Data"), list) else None


def _fitsnap(path: Path, content: Mapping[str, Any]) -> Output:
    """Return the configurations of FitSNAP's JSON. Its folders are its groups; stresses are those of LAMMPS."""

    def unit(name: str, default: str, dimension: Dimension) -> float:
        text = str(content.get(name, default))
        try:
            return unit_in_eV_A(text, dimension)
        except ValueError as error:
            raise InputError(f"{path}: `{name}`: {error}; write another unit") from None

    factors = {
        "length": unit("LatticeStyle", "angstrom", LENGTH),
        "energy": unit("EnergyStyle", "electronvolt", ENERGY),
        "force": unit("ForcesStyle", "electronvoltperangstrom", FORCE),
        "stress": unit("StressStyle", "bar", STRESS),
    }
    steps = [_fitsnap_step(one, factors, fractional=_is_fractional(content)) for one in content["Data"]]
    group = path.resolve().parent.name
    words = (
        f"stresses in {content.get('StressStyle', 'bar')}, positive under compression as in LAMMPS, were turned"
    )
    notes = (words,) if any(step.stress_eV_per_A3 is not None for step in steps) else ()
    # Its folders hold one frame per file, of one dynamics or one scan.
    return Output(program="FitSNAP", steps=steps, group=group, trajectory=group, notes=notes)


def _is_fractional(content: Mapping[str, Any]) -> bool:
    return "frac" in str(content.get("PositionsStyle", "angstrom")).lower()


def _fitsnap_step(one: Mapping[str, Any], factors: Mapping[str, float], *, fractional: bool) -> Step:
    lacking = [name for name in ("AtomTypes", "Positions", "Lattice", "Energy", "Forces") if name not in one]
    if lacking:
        return Step(flaw=f"no {lacking[0]} in it")
    number, species = int(one.get("NumAtoms", len(one["AtomTypes"]))), list(one["AtomTypes"])
    positions = np.array(one["Positions"], dtype=float)
    forces = np.array(one["Forces"], dtype=float)
    if not number == len(species) == len(positions) == len(forces):
        found = f"{len(species)} species, {len(positions)} positions, {len(forces)} forces"
        return Step(flaw=f"{number} atoms are announced, found {found}")
    atoms = Atoms(species, cell=np.array(one["Lattice"], dtype=float) * factors["length"], pbc=True)
    if fractional:
        atoms.set_scaled_positions(positions)
    else:
        atoms.positions = positions * factors["length"]
    stress = None
    if "Stress" in one:
        tensor = np.array(one["Stress"], dtype=float).reshape(3, 3)
        stress = np.asarray(-full_3x3_to_voigt_6_stress(tensor) * factors["stress"])
    return Step(
        atoms=atoms,
        energy_eV=float(one["Energy"]) * factors["energy"],
        forces_eV_per_A=forces * factors["force"],
        stress_eV_per_A3=stress,
    )
