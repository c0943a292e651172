"""What a search for thresholds is of: atoms, directions, what counts as displaced, how precisely.

DIR/threshold.json           the plan
DIR/input.toml               what it was made of
DIR/potentials/ crystals/    copies of what it uses
DIR/starts/                  thermal starting states, as of a campaign
DIR/directions/<place>.json  a finished direction: all its attempts
DIR/directions/<place>.partial.json   one on its way
DIR/claims/                  who is at what
"""

# ASE annotates only part of what it offers:
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import dataclasses

import numpy as np
import spglib
from ase import Atoms
from numpy.typing import NDArray
from pydantic import Field, model_validator

from cascade_driver.campaign.plan import REGIONS, Region, require_species
from cascade_driver.campaign.rundir import RunDirectory
from cascade_driver.errors import InputError
from cascade_driver.files import write_atomically
from cascade_driver.kinds import Status
from cascade_driver.schema import build, canonical_json, digest, parameters, plain, read_json
from cascade_driver.simulation.crystal import (
    SYMMETRY_PRECISION_A,
    assemble,
    axes_in_box_A,
    constituents,
    heating_K,
    require_bonds,
    require_room,
)
from cascade_driver.simulation.crystal_file import quiet_spglib
from cascade_driver.simulation.displacement import DisplacedSpec
from cascade_driver.simulation.knock_on import DirectionsSpec, choose_atom, directions, site_rotations
from cascade_driver.simulation.potential import Potential
from cascade_driver.simulation.spec import Protocol
from cascade_driver.simulation.stopping import require_reach

PLAN_FILE = "threshold.json"
SCHEMA = 1

_DIGITS = 9


@parameters
class ThresholdSpec:
    """An atom whose thresholds are looked for: one table `[[thresholds]]`.

    Attributes
    ----------
    species : str
        Its chemical symbol.
    site : int, optional
        Which of the sites of that species that no symmetry joins, from 1 in the order of the cell.
    region : str, optional
        Of a film: `film`, `substrate`, or `interface`, the atom of the species nearest to it.
    directions : DirectionsSpec
        Along which, e.g. `{ scheme = "symmetry", count = 32 }`.
    precision_eV, precision_share : float
        A direction is done when the central 68 % of its threshold are within as much of their middle, or within
        that share of it.
    most_attempts : int
        Or after so many attempts.
    lowest_eV, highest_eV : float
        Thresholds are looked for between these recoil energies.
    """

    species: str
    site: int | None = Field(default=None, ge=1)
    region: Region | None = None
    directions: DirectionsSpec
    precision_eV: float = Field(default=1.0, gt=0)
    precision_share: float = Field(default=0.05, gt=0, lt=1)
    most_attempts: int = Field(default=30, ge=3, le=10_000)
    lowest_eV: float = Field(default=5.0, gt=0)
    highest_eV: float = Field(default=100.0, gt=0)

    @model_validator(mode="after")
    def _rises(self) -> ThresholdSpec:
        if self.highest_eV < 2 * self.lowest_eV:
            raise ValueError(
                f"`highest_eV` {self.highest_eV:g} is not twice `lowest_eV` {self.lowest_eV:g}; take them apart"
            )
        return self


@parameters
class ThresholdGroup:
    """An atom with its directions worked out.

    Attributes
    ----------
    wanted : ThresholdSpec
    atoms : list of int
        Atoms of the box on such a site that a translation joins: any of them is kicked, each has a thermal
        surrounding of its own.
    vectors : (n, 3) float
        Unit vectors in the crystal frame.
    weights : (n,) float
        Shares of the solid angle.
    rotations : (g, 3, 3) float
        Point group of the site.
    """

    wanted: ThresholdSpec
    atoms: tuple[int, ...]
    vectors: tuple[tuple[float, float, float], ...]
    weights: tuple[float, ...]
    rotations: tuple[tuple[tuple[float, ...], ...], ...]

    @property
    def name(self) -> str:
        """The atom: its species, and which site of it."""
        return self.wanted.species + (f"{self.wanted.site}" if self.wanted.site else "")


@parameters
class ThresholdPlan:
    """The plan of a search; the content of `threshold.json`.

    Attributes
    ----------
    title : str
        For people.
    potential_status : str
        `qualitative` or `quantitative`.
    protocol : Protocol
        Crystal, potential, thermal starts, how a kick is followed.
    displaced : DisplacedSpec
    snapshots : int
        Thermal starting states.
    groups : tuple of ThresholdGroup
    """

    title: str
    potential_status: Status
    protocol: Protocol
    displaced: DisplacedSpec
    snapshots: int
    groups: tuple[ThresholdGroup, ...]

    @property
    def size(self) -> int:
        """Number of directions."""
        return sum(len(group.vectors) for group in self.groups)


def make_plan(
    *,
    title: str,
    protocol: Protocol,
    potential: Potential,
    displaced: DisplacedSpec,
    snapshots: int,
    thresholds: tuple[ThresholdSpec, ...],
) -> ThresholdPlan:
    """Work out the atoms, their site symmetries and the directions, and check that the box is wide enough.

    Raises
    ------
    InputError
        If a species or site is not in the crystal, or not in the potential, or the box is narrower than two
        cutoffs.
    """
    cells = constituents(protocol.crystal)
    require_species(sorted({s for cell in cells.values() for s in cell.get_chemical_symbols()}), potential)
    for name, cell in cells.items():
        require_bonds(cell, cutoff_A=potential.about.cutoff_A, name=protocol.crystal.file or name)
    axes_A = axes_in_box_A(protocol.crystal, cells)
    box = assemble(protocol.crystal, cells)
    # Heat is told and not refused: a threshold is over before the box has warmed.
    require_room(box, recoil_energy_eV=0.0, border_A=0.0, cutoff_A=potential.about.cutoff_A)
    if protocol.follow.electronic_stopping is not None:
        require_reach(
            protocol.follow.electronic_stopping,
            species=sorted(set(box.get_chemical_symbols())),
            highest_eV=max(wanted.highest_eV for wanted in thresholds),
            fills_its_box=not protocol.crystal.is_film,
        )
    groups = []
    for number, wanted in enumerate(thresholds):
        atoms, rotations = _site(protocol, cells, box, wanted)
        rng = np.random.default_rng(np.random.SeedSequence(protocol.campaign_seed, spawn_key=(1, number)))
        sampled = directions(wanted.directions.in_box(axes_A), rotations=rotations, rng=rng)
        groups.append(
            ThresholdGroup(
                wanted=wanted,
                atoms=tuple(atoms),
                vectors=tuple((x, y, z) for x, y, z in sampled.vectors.round(_DIGITS).tolist()),
                weights=tuple(sampled.weights.tolist()),
                rotations=tuple(tuple(tuple(row) for row in r) for r in rotations.round(_DIGITS).tolist()),
            )
        )
    return ThresholdPlan(
        title=title,
        potential_status=potential.about.status,
        protocol=protocol,
        displaced=displaced,
        snapshots=snapshots,
        groups=tuple(groups),
    )


def _site(
    protocol: Protocol, cells: dict[str, Atoms], box: Atoms, wanted: ThresholdSpec
) -> tuple[list[int], NDArray[np.float64]]:
    """Return the atoms of the box that may be kicked, and the point group of their site."""
    region = REGIONS[wanted.region] if wanted.region else None
    index = choose_atom(box, wanted.species, region=region)
    if protocol.crystal.is_film:
        if wanted.site is not None:
            raise InputError(f"{wanted.species}: a film has no numbered sites; remove `site`")
        return [index], site_rotations(box, index)
    (cell,) = cells.values()
    cell_index = box.get_array("cell_index")
    orbits = _orbits(cell, wanted.species)
    if wanted.site is None:
        in_cell = int(cell_index[index])
    elif wanted.site > len(orbits):
        raise InputError(
            f"{wanted.species}: site {wanted.site}, but there are {len(orbits)} that no symmetry joins; "
            "give one of those"
        )
    else:
        in_cell = orbits[wanted.site - 1]
    return np.flatnonzero(cell_index == in_cell).tolist(), site_rotations(cell, in_cell)


def _orbits(cell: Atoms, species: str) -> list[int]:
    """Return the first atom of each set of atoms of a species that symmetry joins."""
    given = (cell.cell.array, cell.get_scaled_positions(), cell.numbers)
    with quiet_spglib():
        found = spglib.get_symmetry_dataset(given, symprec=SYMMETRY_PRECISION_A)
    if found is None:
        raise InputError(f"spglib finds no symmetry within {SYMMETRY_PRECISION_A:g} A; remove `site`")
    mine = np.array(cell.get_chemical_symbols()) == species
    return sorted({int(k) for k in np.asarray(found.crystallographic_orbits)[mine]})


def heat_said(plan: ThresholdPlan) -> str:
    """Return a line about the heat that the highest recoil energy leaves in the box."""
    atoms = len(assemble(plan.protocol.crystal, constituents(plan.protocol.crystal)))
    highest = max(group.wanted.highest_eV for group in plan.groups)
    border = plan.protocol.follow.border
    ends = "a border takes it away, and may raise thresholds" if border else "it stays in the box"
    return (
        f"{atoms} atoms; {highest:g} eV, the highest recoil energy, are {heating_K(highest, atoms):.0f} K; {ends}"
    )


def save_plan(folder: RunDirectory, plan: ThresholdPlan) -> None:
    """Write the plan."""
    content = {"schema_version": SCHEMA, **plain(plan)}
    text = canonical_json({**content, "checksum": digest(content, length=64)})
    write_atomically(folder.path / PLAN_FILE, text + "\n")


def load_plan(folder: RunDirectory) -> ThresholdPlan:
    """Return the plan of a folder.

    Raises
    ------
    InputError
        If there is none, or it is damaged or of another schema.
    """
    path = folder.path / PLAN_FILE
    if not path.is_file():
        raise InputError(f"{folder.path}: no {PLAN_FILE} there; give the folder that `cascade threshold` made")
    content = read_json(path, remedy="run `cascade threshold` with its input again")
    checksum, version = content.pop("checksum", None), content.get("schema_version")
    if version != SCHEMA:
        raise InputError(f"{path}: schema version {version}, this program reads {SCHEMA}; start a new folder")
    if checksum != digest(content, length=64):
        raise InputError(
            f"{path}: content differs from its checksum; run `cascade threshold` with its input again"
        )
    content.pop("schema_version")
    plan = build(ThresholdPlan, content, origin=str(path))
    return dataclasses.replace(plan, protocol=folder.with_own_crystal(plan.protocol))


def is_search(folder: RunDirectory) -> bool:
    """Return whether a folder holds a search for thresholds."""
    return (folder.path / PLAN_FILE).is_file()
