"""Labels: the energy, forces and stress of one structure, from CP2K or from any calculator of ASE.

CP2K is driven through ASE's calculator, one process and one folder per structure: what crashes costs one label.
"""

# ASE annotates only part of what it offers:
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import subprocess
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from pydantic import Field, JsonValue, field_validator

from cascade_driver.errors import CascadeError, InputError
from cascade_driver.schema import build, digest, parameters, plain, read_toml
from cascade_driver.training.frames import LabelledFrame, bare, k_mesh

#: Calculators that settings may name, each with the arguments that they may give it: formulas of numbers, and the
#: potentials that ship. Settings lie in folders that come from anybody, and a name can be that of any function.
CALCULATORS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "ase.calculators.emt:EMT": frozenset({"asap_cutoff"}),
        "ase.calculators.lj:LennardJones": frozenset({"sigma", "epsilon", "rc", "ro", "smooth"}),
        "ase.calculators.morse:MorsePotential": frozenset({"epsilon", "r0", "rho0", "rcut1", "rcut2"}),
        "cascade_driver.validation.calculator:shipped": frozenset({"name"}),
    }
)

#: A word that stands in CP2K's input, where more than a word could include files and run programs.
Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+()-]*$")]

#: The orbitals that the self-consistent field of a structure ended with.
ORBITALS = "label-RESTART.wfn"


class LabelError(CascadeError):
    """A calculation that gave no label: not converged, crashed, or not finite."""


@parameters
class Cp2kKind:
    """Basis set and pseudopotential of one element, by their names in CP2K's files."""

    basis: Word
    pseudopotential: Word


@parameters
class Cp2kSettings:
    """A single point of CP2K's Quickstep with diagonalisation and Broyden mixing, right for insulators.

    Attributes
    ----------
    kinds : dict
        Per element its basis set and pseudopotential.
    functional : str
        As CP2K names it.
    cutoff_Ry, relative_cutoff_Ry : float
        Of the finest grid, and of the Gaussians on their grids.
    grids : int
        Levels of the grid.
    grid_progression : float
        Ratio of the cutoffs of neighbouring levels: the smaller, the better each product of orbitals finds its
        grid (2 takes a quarter less time than 3 at the same relative cutoff).
    threshold : float
        `EPS_DEFAULT`: how small an overlap may be before it is left out.
    convergence : float
        `EPS_SCF`, of the density matrix.
    mixing : float
        Share of the new density in Broyden's first step.
    history : int
        Densities that Broyden remembers.
    largest_number_of_iterations : int
        More end the label as not converged.
    wall_time_s : float
        More end the label as not converged.
    basis_file, potential_file : str
        Of CP2K's data folder.
    electronic_temperature_K : float, optional
        Of a Fermi-Dirac smearing, for structures whose gap closes; energies and forces are then those of the free
        energy. By default occupations are integers.
    added_orbitals : int
        Empty ones that the smearing may fill.
    extrapolation : str
        Of the density from one step of a flight to the next, as CP2K names it; single points start anew.
    """

    kind: Literal["cp2k"] = "cp2k"
    kinds: dict[Word, Cp2kKind] = Field(min_length=1)
    functional: Word = "PBE"
    cutoff_Ry: float = Field(default=400, gt=0)
    relative_cutoff_Ry: float = Field(default=50, gt=0)
    grids: int = Field(default=6, ge=1)
    grid_progression: float = Field(default=2, gt=1)
    threshold: float = Field(default=1e-8, gt=0)
    convergence: float = Field(default=2e-6, gt=0)
    mixing: float = Field(default=0.4, gt=0, le=1)
    history: int = Field(default=8, ge=1)
    largest_number_of_iterations: int = Field(default=40, ge=1)
    wall_time_s: float = Field(default=7200, gt=0)
    basis_file: Word = "BASIS_MOLOPT"
    potential_file: Word = "GTH_POTENTIALS"
    electronic_temperature_K: float | None = Field(default=None, gt=0)
    added_orbitals: int | None = Field(default=None, ge=1)
    extrapolation: Literal["ASPC", "LINEAR_P", "PS", "USE_GUESS"] | None = None


@parameters
class AseSettings:
    """A calculator that ASE can drive.

    Attributes
    ----------
    factory : str
        `module:function` (or class) that returns a calculator: one of `CALCULATORS`, or one that whoever labels
        allows by name.
    arguments : dict
        What it is called with.
    """

    kind: Literal["ase"]
    factory: str
    arguments: dict[str, JsonValue] = Field(default_factory=dict)

    @field_validator("factory")
    @classmethod
    def _names_both(cls, factory: str) -> str:
        if factory.count(":") != 1:
            raise ValueError("expected `module:function`, such as `ase.calculators.emt:EMT`")
        return factory


def read_label_settings(path: Path) -> Cp2kSettings | AseSettings:
    """Return the settings of a TOML file.

    Raises
    ------
    InputError
        If something in it is wrong.
    """
    return build_settings(read_toml(path), origin=str(path))


def build_settings(content: Mapping[str, Any], *, origin: str) -> Cp2kSettings | AseSettings:
    """Return settings from their plain content; `kind` says which.

    Raises
    ------
    InputError
        If something in it is wrong.
    """
    kinds: dict[str, type[Cp2kSettings | AseSettings]] = {"cp2k": Cp2kSettings, "ase": AseSettings}
    kind = content.get("kind", "cp2k")
    if kind not in kinds:
        raise InputError(f"{origin}: `kind` is {kind!r}, expected one of {sorted(kinds)}")
    return build(kinds[kind], content, origin=origin)


def require_allowed(settings: Cp2kSettings | AseSettings, allowed: Collection[str] = ()) -> None:
    """Refuse settings that name a function which is neither of `CALCULATORS` nor allowed by name.

    Raises
    ------
    InputError
        If they do.
    """
    if isinstance(settings, Cp2kSettings) or settings.factory in allowed:
        return
    if settings.factory not in CALCULATORS:
        raise InputError(
            f"the settings name the calculator {settings.factory}, which could be any program; if you trust it "
            f"and its arguments {settings.arguments}, say --allow-calculator {settings.factory}; without that "
            f"only {', '.join(CALCULATORS)} are run"
        )
    known = CALCULATORS[settings.factory]
    for name, value in settings.arguments.items():
        if name not in known or not isinstance(value, str | float | int):
            raise InputError(
                f"the settings give {settings.factory} the argument {name} = {value!r}; "
                f"known are numbers for {', '.join(sorted(known))}; say --allow-calculator to have it nevertheless"
            )


def settings_words(settings: Cp2kSettings | AseSettings) -> str:
    """Return settings in few words and with their digest, for the frames that carry them."""
    name = digest(plain(settings), length=8)
    if isinstance(settings, AseSettings):
        return f"{settings.factory} [{name}]"
    bases = "+".join(sorted({kind.basis for kind in settings.kinds.values()}))
    return f"CP2K {settings.functional} {bases} {settings.cutoff_Ry:g} Ry [{name}]"


def label(
    atoms: Atoms, settings: Cp2kSettings | AseSettings, *, folder: Path, orbitals: Path | None = None
) -> LabelledFrame:
    """Return a structure with its energy, forces and stress.

    Parameters
    ----------
    atoms : Atoms
        n atoms, periodic. `info` may hold `k_mesh`, `group`, `trajectory` and `origin`.
    settings : Cp2kSettings or AseSettings
    folder : Path
        Where the calculation may write; made anew.
    orbitals : Path, optional
        Converged orbitals of a similar structure to start from.

    Raises
    ------
    InputError
        If the program or the calculator is not installed.
    LabelError
        If the calculation does not end well; `folder` holds its output.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    system = atoms.copy()
    if isinstance(settings, Cp2kSettings):
        results = _cp2k(system, settings, folder=folder, orbitals=orbitals)
    else:
        results = _ase(system, settings)
    energy, forces, stress = results
    finite = np.isfinite(energy) and np.isfinite(forces).all() and (stress is None or np.isfinite(stress).all())
    if not finite:
        raise LabelError("a label is not finite")
    return LabelledFrame(
        atoms=bare(atoms),
        energy_eV=float(energy),
        forces_eV_per_A=forces,
        stress_eV_per_A3=stress,
        group=str(atoms.info.get("group", "")),
        trajectory=str(atoms.info.get("trajectory", "")),
        origin=str(atoms.info.get("origin", "")),
        settings=settings_words(settings),
    )


Results = tuple[float, np.ndarray[Any, Any], np.ndarray[Any, Any] | None]


def make_ase_calculator(factory: str, arguments: Mapping[str, Any]) -> Calculator:
    """Return the calculator that `module:name`, called with arguments, makes.

    Raises
    ------
    InputError
        If there is no such module, nothing of this name in it, or it is no calculator.
    """
    module, _, name = factory.partition(":")
    try:
        made: Calculator = getattr(importlib.import_module(module), name)(**arguments)
    except Exception as error:  # calculators fail in their own ways
        said = " ".join(f"{error or type(error).__name__}".split())
        raise InputError(f"calculator {factory}: {said}; install it, or mend `module:name`") from None
    if not hasattr(made, "get_potential_energy"):
        raise InputError(f"calculator {factory}: gives a {type(made).__name__}, not a calculator of ASE")
    return made


def _ase(system: Atoms, settings: AseSettings) -> Results:
    system.calc = make_ase_calculator(settings.factory, settings.arguments)
    try:
        energy, forces = system.get_potential_energy(), system.get_forces()
    except Exception as error:  # calculators fail in their own ways
        raise LabelError(f"{settings.factory}: {error}") from error
    if not _converged(system.calc):
        raise LabelError(f"{settings.factory}: not converged, as it says itself")
    stress = None
    if system.cell.rank == 3 and "stress" in system.calc.implemented_properties:
        stress = np.array(system.get_stress(), dtype=float)
    return float(energy), np.asarray(forces, dtype=float), stress


def _converged(calculator: Any) -> bool:
    """Return whether a calculator does not say that its last field failed: several end without an error then."""
    said = getattr(calculator, "converged", None)
    if said is None:
        said = calculator.results.get("converged")
    return bool(said()) if callable(said) else said is None or bool(said)


# -- CP2K ---------------------------------------------------------------------------------------------------


def require_cp2k() -> str:
    """Return the command that runs CP2K: `ASE_CP2K_COMMAND`, else `cp2k.psmp -s`.

    Raises
    ------
    InputError
        If it is not installed.
    """
    command = os.environ.get("ASE_CP2K_COMMAND", "cp2k.psmp -s")
    if shutil.which(command.split()[0]) is None:
        raise InputError(
            f"{command.split()[0]}: no such program; install CP2K (Debian: cp2k, libopenblas0-serial) "
            "or set ASE_CP2K_COMMAND"
        )
    return command


def _cp2k(system: Atoms, settings: Cp2kSettings, *, folder: Path, orbitals: Path | None) -> Results:
    if orbitals is not None:
        shutil.copyfile(orbitals, folder / "start.wfn")
    with _cp2k_in(folder, system, settings, restart="start.wfn" if orbitals is not None else None) as calculator:
        system.calc = calculator
        energy = system.get_potential_energy()
        forces = np.asarray(calculator.results["forces"], dtype=float)
        stress = np.asarray(calculator.results["stress"], dtype=float)
    _require_convergence((folder / "label.out").read_text(errors="replace"), folder)
    return float(energy), forces, stress


@contextlib.contextmanager
def _cp2k_in(
    folder: Path, system: Atoms, settings: Cp2kSettings, *, restart: str | None, stress: bool = True
) -> Iterator[Any]:
    """Give CP2K as a calculator that works in a folder, and end it afterwards."""
    from ase.calculators.cp2k import CP2K

    missing = sorted(set(system.get_chemical_symbols()) - set(settings.kinds))
    if missing:
        raise InputError(f"`kinds` names no basis set for {', '.join(missing)}; add [kinds.{missing[0]}]")
    command = require_cp2k()
    with contextlib.chdir(folder), contextlib.ExitStack() as stack:
        try:
            calculator = CP2K(
                label="label",
                command=command,
                inp=cp2k_input(system, settings, restart=restart),
                xc=None,
                basis_set=None,
                basis_set_file=None,
                pseudo_potential=None,
                potential_file=None,
                cutoff=None,
                max_scf=settings.largest_number_of_iterations,
                stress_tensor=stress,
                print_level="LOW",
                poisson_solver=None,
            )
            stack.callback(_end, calculator)
            yield calculator
        except (AssertionError, RuntimeError, ValueError, OSError) as error:
            raise LabelError(f"CP2K ended with an error ({error}); see {folder / 'label.out'}") from error


def _require_convergence(output: str, folder: Path) -> None:
    if "SCF run NOT converged" in output or "SCF run converged" not in output:
        raise LabelError(f"the self-consistent field did not converge; see {folder / 'label.out'}")


@contextlib.contextmanager
def flight_calculator(settings: Cp2kSettings | AseSettings, system: Atoms, folder: Path) -> Iterator[Calculator]:
    """Give the calculator of a flight: one process for all its steps, each starting from the density before.

    Raises
    ------
    InputError
        If the program or the calculator is not installed.
    LabelError
        If it fails at a step; none of its results is used before the field has converged.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(settings, AseSettings):
        yield make_ase_calculator(settings.factory, settings.arguments)
        return
    # Of an interrupted flight, if there was one; else CP2K starts from atoms.
    restart = ORBITALS if (folder / ORBITALS).is_file() else None
    with _cp2k_in(folder, system, settings, restart=restart, stress=False) as calculator:
        yield _Checked(calculator, folder)


class _Checked(Calculator):
    """CP2K, each of whose results is used only if its field has converged."""

    implemented_properties: Any = ("energy", "forces")

    def __init__(self, calculator: Any, folder: Path) -> None:
        super().__init__()
        self._calculator = calculator
        self._folder = folder
        self._read_bytes = 0

    def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = None) -> None:
        super().calculate(atoms, properties, system_changes)
        self._calculator.calculate(atoms, ["energy", "forces"], system_changes)
        with (self._folder / "label.out").open(errors="replace") as stream:
            stream.seek(self._read_bytes)
            news = stream.read()
            self._read_bytes = stream.tell()
        _require_convergence(news, self._folder)
        self.results = {name: self._calculator.results[name] for name in ("energy", "forces")}


def _end(calculator: Any) -> None:
    """End CP2K's process, also one that does not listen any more."""
    shell = calculator._shell
    child = None if shell is None else shell._child
    with contextlib.suppress(Exception):
        calculator.close()
    if child is not None:
        try:
            child.wait(timeout=20)
        except subprocess.TimeoutExpired:
            child.kill()


def cp2k_input(atoms: Atoms, settings: Cp2kSettings, *, restart: str | None) -> str:
    """Return CP2K's input for a structure, without the structure: ASE adds it.

    The mesh of k points is written out point by point. Half of a mesh that contains -k with every k is enough
    in the absence of magnetism, but CP2K 2023.1 takes all of them with `FULL_GRID`.
    """
    kinds = "\n".join(
        f"    &KIND {symbol}\n      BASIS_SET {settings.kinds[symbol].basis}\n"
        f"      POTENTIAL {settings.kinds[symbol].pseudopotential}\n    &END KIND"
        for symbol in sorted(set(atoms.get_chemical_symbols()))
    )
    guess = "ATOMIC" if restart is None else f"RESTART\n    WFN_RESTART_FILE_NAME {restart}"
    word, _, file_line = guess.partition("\n")
    return f"""&GLOBAL
  WALLTIME {settings.wall_time_s:.0f}
&END GLOBAL
&FORCE_EVAL
  &DFT
    BASIS_SET_FILE_NAME {settings.basis_file}
    POTENTIAL_FILE_NAME {settings.potential_file}
{file_line}
    &MGRID
      CUTOFF {settings.cutoff_Ry}
      REL_CUTOFF {settings.relative_cutoff_Ry}
      NGRIDS {settings.grids}
      PROGRESSION_FACTOR {settings.grid_progression}
    &END MGRID
    &QS
      EPS_DEFAULT {settings.threshold}
      EXTRAPOLATION {settings.extrapolation or "USE_GUESS"}
    &END QS
    &SCF
      SCF_GUESS {word}
      EPS_SCF {settings.convergence}
{_smearing(settings)}      &DIAGONALIZATION ON
        ALGORITHM STANDARD
      &END DIAGONALIZATION
      &MIXING
        METHOD BROYDEN_MIXING
        ALPHA {settings.mixing}
        NBROYDEN {settings.history}
      &END MIXING
      &PRINT
        &RESTART
          BACKUP_COPIES 0
        &END RESTART
        &RESTART_HISTORY OFF
        &END RESTART_HISTORY
      &END PRINT
    &END SCF
    &XC
      &XC_FUNCTIONAL {settings.functional}
      &END XC_FUNCTIONAL
    &END XC
{_k_points(k_mesh(atoms))}
  &END DFT
  &SUBSYS
{kinds}
  &END SUBSYS
&END FORCE_EVAL
"""


def _smearing(settings: Cp2kSettings) -> str:
    if settings.electronic_temperature_K is None:
        return ""
    return f"""      ADDED_MOS {settings.added_orbitals or 16}
      &SMEAR ON
        METHOD FERMI_DIRAC
        ELECTRONIC_TEMPERATURE [K] {settings.electronic_temperature_K}
      &END SMEAR
"""


def _k_points(mesh: list[int]) -> str:
    """Return the section of a Gamma-centred mesh.

    CP2K's own `SCHEME GAMMA 2 2 2` silently means the Gamma point alone, so every point is written out.
    """
    if mesh == [1, 1, 1]:
        return ""
    points = [
        f"      KPOINT {a / mesh[0]:.10f} {b / mesh[1]:.10f} {c / mesh[2]:.10f} 1.0"
        for a in range(mesh[0])
        for b in range(mesh[1])
        for c in range(mesh[2])
    ]
    lines = "\n".join(points)
    return f"""    &KPOINTS
      SCHEME GENERAL
      UNITS B_VECTOR
      SYMMETRY F
      FULL_GRID F
{lines}
    &END KPOINTS"""
