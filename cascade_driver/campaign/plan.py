"""The plan of a campaign: energies x directions x thermal starting states, each cascade named by its content."""

# ASE annotates only part of what it offers:
# mypy: disallow-untyped-calls=False

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from cascade_driver.errors import InputError
from cascade_driver.schema import digest, parameters, plain, seed_from
from cascade_driver.simulation.crystal import (
    assemble,
    axes_in_box_A,
    constituents,
    heating_said,
    identity,
    require_bonds,
    require_room,
)
from cascade_driver.simulation.film_box import REGION_BULK, REGION_FILM, REGION_INTERFACE
from cascade_driver.simulation.kick_sequence import ThenSpec, draw_later_kicks, most_recoil_energy_eV
from cascade_driver.simulation.knock_on import DirectionsSpec, choose_atom, directions, site_rotations
from cascade_driver.simulation.potential import Potential
from cascade_driver.simulation.spec import CascadeSpec, KnockOn, LaterKick, Protocol, cascade_id
from cascade_driver.simulation.stopping import require_reach

#: Digits kept of a direction: beyond the noise of any minimiser, far below any physics.
_DIGITS = 9

#: Branch of the campaign's random numbers; 0 heats the crystal, 1 draws directions.
_LATER_KICKS = 2

#: Parts of a film that recoils are aimed at.
Region = Literal["film", "interface", "substrate"]
REGIONS = {"film": REGION_FILM, "substrate": REGION_BULK, "interface": REGION_INTERFACE}
_REGION_NAMES = {number: name for name, number in REGIONS.items()}


def require_region(region: Region, aimed_at: Iterable[str | None]) -> None:
    """Refuse a region of a film that no recoils with a single kick are aimed at.

    Raises
    ------
    InputError
        If it is not among those that they name; None and '' name none.
    """
    known = sorted({name for name in aimed_at if name})
    if region not in known:
        where = f"only {' and '.join(known)}; choose one of these" if known else "nor another one; leave it out"
        raise InputError(f"region {region!r}: no recoils with a single kick are aimed at it, {where}")


@parameters
class RecoilsSpec:
    """A group of recoils: one table `[[recoils]]`.

    Attributes
    ----------
    species : str
        Chemical symbol of the primary knock-on atom: the atom of that species nearest the centre is kicked.
    recoil_energies_eV : list of float
        Kinetic energies given to it.
    directions : DirectionsSpec
        Where to, e.g. `{ scheme = "symmetry", count = 32 }`.
    snapshots : int
        Thermal starting states per energy and direction.
    region : str, optional
        Of a film: `film`, `substrate`, or `interface`, the atom of the species nearest to it.
    then : list of ThenSpec
        Kicks that the same atom gets later: tables `[[recoils.then]]`.
    """

    species: str
    recoil_energies_eV: tuple[float, ...] = Field(min_length=1)
    directions: DirectionsSpec
    snapshots: int = Field(default=10, ge=1, le=1000)
    region: Region | None = None
    then: tuple[ThenSpec, ...] = ()

    @field_validator("recoil_energies_eV")
    @classmethod
    def _are_positive(cls, energies: tuple[float, ...]) -> tuple[float, ...]:
        for energy in energies:
            if energy <= 0:
                raise ValueError(f"a recoil energy must be above 0 eV, found {energy:g}")
        if len(set(energies)) != len(energies):
            raise ValueError("an energy is named twice; remove one")
        return energies


@parameters
class RecoilGroup:
    """A group of recoils with its directions worked out.

    Attributes
    ----------
    species, region, recoil_energies_eV, snapshots
        As asked for; the region as the number that boxes carry.
    sampling : str
        Hash of what the directions follow from: the same sampling keeps its directions when a campaign is
        extended, also on a machine whose minimiser rounds differently, and one that differs in the number of
        directions begins with them.
    vectors : (n, 3) float
        Unit vectors in the crystal frame.
    weights : (n,) float
        Shares of the solid angle.
    then : list of ThenSpec, optional
        Later kicks, as asked for; what of them is random is drawn for each cascade.
    """

    species: str
    region: int | None = None
    recoil_energies_eV: tuple[float, ...]
    snapshots: int
    sampling: str
    vectors: tuple[tuple[float, float, float], ...]
    weights: tuple[float, ...]
    then: tuple[ThenSpec, ...] | None = None


@dataclass(frozen=True, slots=True)
class PlannedCascade:
    """A cascade of the plan: its name, and what makes it differ from its neighbours.

    There may be 1e5 of them: plain, cheap objects. The weight of its direction is not part of the name: it
    changes when directions are added.
    """

    id: str
    snapshot: int
    species: str
    region: int | None
    direction: tuple[float, float, float]
    recoil_energy_eV: float
    seed: int
    direction_weight: float
    then: tuple[LaterKick, ...] | None = None

    @property
    def region_name(self) -> str:
        """The region of a film that it is aimed at, as inputs name it; '' for none."""
        return "" if self.region is None else _REGION_NAMES[self.region]

    @property
    def knock_on(self) -> KnockOn:
        """The kick."""
        return KnockOn(
            species=self.species,
            region=self.region,
            direction=self.direction,
            recoil_energy_eV=self.recoil_energy_eV,
            then=self.then,
        )


#: What a group of recoils aims at with all its directions: species, region, later kicks, recoil energy in eV.
_Aim = tuple[str, int | None, tuple[ThenSpec, ...] | None, float]


@parameters
class Campaign:
    """A campaign with everything worked out; the content of `campaign.json`.

    Attributes
    ----------
    title : str
        For people.
    potential_status : str
        `qualitative` or `quantitative`.
    protocol : Protocol
        What all cascades share.
    groups : list of RecoilGroup
        The recoils.
    """

    title: str
    potential_status: str
    protocol: Protocol
    groups: tuple[RecoilGroup, ...]

    @cached_property
    def size(self) -> int:
        """Number of cascades; what two groups ask for counts once."""
        if len(self.groups) > 1:
            return len(self._cascades)
        return sum(len(g.recoil_energies_eV) * len(g.vectors) * g.snapshots for g in self.groups)

    @property
    def heating_said(self) -> str:
        """A sentence, if the highest recoil heats a closed box by more than is known not to matter."""
        protocol = self.protocol
        if protocol.follow.border is not None or protocol.follow.small_box:
            return ""
        box = assemble(protocol.crystal, constituents(protocol.crystal))
        return heating_said(box, recoil_energy_eV=max(_energies_eV(self.groups)))

    @cached_property
    def _joint_weights(self) -> dict[_Aim, dict[tuple[float, float, float], float]]:
        """Weights of the directions of recoils that several groups ask for; what one group asks for has its own.

        If one of the groups contains the directions of the others, its weights hold for all; otherwise each
        direction gets the mean of what the groups give it, which integrates as each of them does.
        """
        asked: dict[_Aim, list[RecoilGroup]] = defaultdict(list)
        for group in self.groups:
            for energy in group.recoil_energies_eV:
                asked[group.species, group.region, group.then, energy].append(group)
        joint = {}
        for aim, groups in asked.items():
            if len(groups) > 1:
                largest = max(groups, key=lambda g: len(g.vectors))
                inside = all(set(g.vectors) <= set(largest.vectors) for g in groups)
                weights: dict[tuple[float, float, float], float] = defaultdict(float)
                for group in [largest] if inside else groups:
                    for vector, weight in zip(group.vectors, group.weights, strict=True):
                        weights[vector] += weight / (1 if inside else len(groups))
                joint[aim] = dict(weights)
        return joint

    def of_region(self, region: Region) -> Campaign:
        """Return the part of it that is aimed at one region of a film."""
        return replace(self, groups=tuple(group for group in self.groups if group.region == REGIONS[region]))

    @property
    def snapshots(self) -> int:
        """Number of thermal starting states that are needed."""
        return max(g.snapshots for g in self.groups)

    def cascades(self) -> Iterator[PlannedCascade]:
        """Yield the cascades in the order in which they should run.

        Snapshots are outermost, then directions, which are well spread from the first one on, then energies:
        whatever is finished when somebody looks covers all energies evenly.
        """
        return iter(self._cascades)

    @cached_property
    def _cascades(self) -> tuple[PlannedCascade, ...]:
        """The cascades in their order; kept, for each costs 40 us and 200 bytes, and they are asked for often."""
        protocol_digest = self.protocol.digest
        # Two groups may ask for the same cascade; it is run once.
        cascades: dict[str, PlannedCascade] = {}
        for snapshot in range(self.snapshots):
            for group in self.groups:
                if snapshot < group.snapshots:
                    for planned in self._of_group(group, snapshot, protocol_digest):
                        cascades.setdefault(planned.id, planned)
        return tuple(cascades.values())

    def _of_group(self, group: RecoilGroup, snapshot: int, protocol_digest: str) -> Iterator[PlannedCascade]:
        joint = {
            e: self._joint_weights.get((group.species, group.region, group.then, e))
            for e in group.recoil_energies_eV
        }
        for vector, own_weight in zip(group.vectors, group.weights, strict=True):
            for energy in group.recoil_energies_eV:
                weights = joint[energy]
                weight = own_weight if weights is None else weights[vector]
                seed = _seed(
                    self.protocol.campaign_seed,
                    snapshot=snapshot,
                    species=group.species,
                    direction=vector,
                    recoil_energy_eV=energy,
                )
                then = self._later_kicks(group, snapshot=snapshot, direction=vector, recoil_energy_eV=energy)
                name = cascade_id(
                    protocol_digest=protocol_digest,
                    snapshot=snapshot,
                    species=group.species,
                    region=group.region,
                    direction=vector,
                    recoil_energy_eV=energy,
                    seed=seed,
                    then=then,
                )
                yield PlannedCascade(
                    name, snapshot, group.species, group.region, vector, energy, seed, weight, then
                )

    def _later_kicks(
        self, group: RecoilGroup, *, snapshot: int, direction: tuple[float, float, float], recoil_energy_eV: float
    ) -> tuple[LaterKick, ...] | None:
        """Return the later kicks of one cascade, drawn from what it is and not from its place."""
        if not group.then:
            return None
        first = digest([snapshot, group.species, *direction, recoil_energy_eV])
        rng = np.random.default_rng(
            np.random.SeedSequence(self.protocol.campaign_seed, spawn_key=(_LATER_KICKS, int(first, 16)))
        )
        return draw_later_kicks(group.then, first_direction=direction, rng=rng)

    def spec(self, planned: PlannedCascade) -> CascadeSpec:
        """Return the full specification of a planned cascade."""
        return CascadeSpec(
            protocol=self.protocol,
            snapshot=planned.snapshot,
            knock_on=planned.knock_on,
            seed=planned.seed,
        )


def what_is_lost(earlier: Campaign, later: Campaign) -> str:
    """Return in one line what a later plan does not ask for any more; empty if it only adds."""
    if earlier == later:
        return ""
    kept = {planned.id for planned in later.cascades()}
    lost = [planned for planned in earlier.cascades() if planned.id not in kept]
    if not lost:
        return ""
    changes = _changes(plain(earlier.protocol), plain(later.protocol))
    if changes:
        more = f" and {len(changes) - 3} more" if len(changes) > 3 else ""
        return ", ".join(changes[:3]) + more
    asked = {(c.species, c.recoil_energy_eV) for c in later.cascades()}
    gone = sorted({(c.species, c.recoil_energy_eV) for c in lost} - asked)
    if gone:
        more = f" and {len(gone) - 3} more" if len(gone) > 3 else ""
        return "without " + ", ".join(f"{species} at {energy:g} eV" for species, energy in gone[:3]) + more
    why = "other directions, fewer snapshots, or other later kicks"
    return f"without {len(lost)} of its {earlier.size} cascades: {why}"


def _changes(before: Any, after: Any, name: str = "") -> list[str]:
    """Return what differs between two JSON-ready protocols, `name before -> after` each."""
    if isinstance(before, dict) and isinstance(after, dict):
        # Where a crystal's file lies does not matter; its checksum does.
        keys = [key for key in dict.fromkeys([*before, *after]) if f"{name}{key}" != "crystal.file"]
        return [c for key in keys for c in _changes(before.get(key), after.get(key), f"{name}{key}.")]
    return [] if before == after else [f"{name[:-1]} {_short(before)} -> {_short(after)}"]


def _short(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 24 else text[:12] + "..."


def solid_angle_shares(cascades: Sequence[PlannedCascade]) -> NDArray[np.float64]:
    """Return the share of the solid angle that each of some cascades stands for, (n,).

    It is the weight of its direction, divided among those of the same recoil along it: a direction that was
    sampled with more snapshots than another, as while a campaign is being extended, counts no more for it.
    """
    along = [(c.species, c.region, c.recoil_energy_eV, c.direction, bool(c.then)) for c in cascades]
    number = Counter(along)
    return np.array([c.direction_weight / number[a] for c, a in zip(cascades, along, strict=True)])


def _energies_eV(recoils: Iterable[RecoilsSpec | RecoilGroup]) -> Iterator[float]:
    """Yield the most energy that each recoil, later kicks included, brings into a box."""
    for group in recoils:
        for energy in group.recoil_energies_eV:
            later = [kick.energy_eV for kick in group.then or ()]
            yield most_recoil_energy_eV([energy, *later]) if later else energy


def _seed(
    campaign_seed: int,
    *,
    snapshot: int,
    species: str,
    direction: tuple[float, float, float],
    recoil_energy_eV: float,
) -> int:
    """Return a seed that depends on what a cascade is and not on its place: extended plans keep theirs."""
    return seed_from(campaign_seed, int(digest([snapshot, species, *direction, recoil_energy_eV], length=8), 16))


def make_campaign(
    *,
    title: str,
    protocol: Protocol,
    potential: Potential,
    recoils: tuple[RecoilsSpec, ...],
    known_groups: Mapping[str, RecoilGroup] | None = None,
) -> Campaign:
    """Work out the atoms, their site symmetries and the directions, and check that the recoils fit the box.

    Parameters
    ----------
    title : str
        For people.
    protocol : Protocol
        With a resolved crystal.
    potential : Potential
        The one that the protocol names.
    recoils : tuple of RecoilsSpec
        As asked for.
    known_groups : mapping, optional
        Groups of an earlier plan by `sampling`, whose directions are kept.

    Raises
    ------
    InputError
        If a species is not in the crystal or not in the potential, the crystal falls apart within its cutoff, or
        the box is too small for a recoil.
    """
    cells = constituents(protocol.crystal)
    require_species(
        sorted({symbol for cell in cells.values() for symbol in cell.get_chemical_symbols()}), potential
    )
    for name, cell in cells.items():
        require_bonds(cell, cutoff_A=potential.about.cutoff_A, name=protocol.crystal.file or name)
    axes_A = axes_in_box_A(protocol.crystal, cells)
    box = assemble(protocol.crystal, cells)
    border = protocol.follow.border
    most = set(_energies_eV(recoils))
    if protocol.follow.electronic_stopping is not None:
        require_reach(
            protocol.follow.electronic_stopping,
            species=sorted(set(box.get_chemical_symbols())),
            highest_eV=max(most),
            fills_its_box=not protocol.crystal.is_film,
        )
    for energy in sorted(most, reverse=True) if not protocol.follow.small_box else ():
        require_room(
            box,
            recoil_energy_eV=energy,
            border_A=border.width_A if border else 0.0,
            cutoff_A=potential.about.cutoff_A,
        )
    groups = []
    for number, wanted in enumerate(recoils):
        region = REGIONS[wanted.region] if wanted.region else None
        sampling = _sampling(wanted, wanted.directions, protocol=protocol, number=number)
        known = (known_groups or {}).get(sampling)
        if known is not None:
            vectors, weights = known.vectors, known.weights
        else:
            rng = np.random.default_rng(np.random.SeedSequence(protocol.campaign_seed, spawn_key=(1, number)))
            index = choose_atom(box, wanted.species, region=region)
            if protocol.crystal.is_film:
                rotations = site_rotations(box, index) if wanted.directions.scheme == "symmetry" else _IDENTITY
            else:
                (cell,) = cells.values()
                rotations = site_rotations(cell, int(box.get_array("cell_index")[index]))
            earlier = _fewer_or_more(wanted, known_groups or {}, protocol=protocol)
            sampled = directions(
                wanted.directions.in_box(axes_A),
                rotations=rotations,
                rng=rng,
                known=None if earlier is None else np.array(earlier.vectors),
            )
            vectors, weights = _as_tuples(sampled.vectors), tuple(float(w) for w in sampled.weights)
        groups.append(
            RecoilGroup(
                species=wanted.species,
                region=region,
                recoil_energies_eV=wanted.recoil_energies_eV,
                snapshots=wanted.snapshots,
                sampling=sampling,
                vectors=vectors,
                weights=weights,
                then=tuple(kick.in_box(axes_A) for kick in wanted.then) or None,
            )
        )
    return Campaign(title=title, potential_status=potential.about.status, protocol=protocol, groups=tuple(groups))


_IDENTITY: NDArray[np.float64] = np.eye(3)[None]


def _sampling(recoils: RecoilsSpec, spec: DirectionsSpec, *, protocol: Protocol, number: int) -> str:
    """Return the hash of what the directions of group `number` follow from."""
    return digest(
        {
            "crystal": identity(protocol.crystal),
            "species": recoils.species,
            "region": recoils.region,
            "directions": plain(spec),
            "random": [protocol.campaign_seed, number] if spec.scheme == "random" else None,
        }
    )


def _fewer_or_more(
    recoils: RecoilsSpec, known_groups: Mapping[str, RecoilGroup], *, protocol: Protocol
) -> RecoilGroup | None:
    """Return a group of an earlier plan that sampled the same sphere by symmetry with another count.

    The one with the most directions that all stay; if each has more than are wanted, the one with the fewest.
    """
    if recoils.directions.scheme != "symmetry":
        return None
    count = recoils.directions.count or 0
    of_this_sphere = [
        group
        for sampling, group in known_groups.items()
        if sampling
        == _sampling(
            recoils, DirectionsSpec(scheme="symmetry", count=len(group.vectors)), protocol=protocol, number=0
        )
    ]
    smaller = [group for group in of_this_sphere if len(group.vectors) < count]
    if smaller:
        return max(smaller, key=lambda g: len(g.vectors))
    return min(of_this_sphere, key=lambda g: len(g.vectors), default=None)


def _as_tuples(vectors: NDArray[np.float64]) -> tuple[tuple[float, float, float], ...]:
    return tuple(
        (
            round(float(x), _DIGITS),
            round(float(y), _DIGITS),
            round(float(z), _DIGITS),
        )
        for x, y, z in vectors
    )


def require_species(symbols: list[str], potential: Potential) -> None:
    """Refuse a crystal with species that a potential does not know."""
    missing = [s for s in symbols if s not in potential.species]
    if missing:
        raise InputError(
            f"potential `{potential.name}` is for {', '.join(potential.species)} and the crystal holds "
            f"{', '.join(missing)} too; choose another [potential] or another [crystal]"
        )


# -- before the first cascade -------------------------------------------------------------------------------

#: Names of the tasks that make the thermal start: the box at rest, and the snapshots, each after the one before.
BOX_TASK, _SNAPSHOT_TASK = "box", "snapshot-"


def snapshot_task(index: int) -> str:
    """Return the name of the task that makes a snapshot."""
    return f"{_SNAPSHOT_TASK}{index:03d}"


def start_said(task: str, protocol: Protocol) -> str | None:
    """Return what a task does for the thermal start of a campaign, in words; None for a cascade."""
    if task == BOX_TASK:
        film = protocol.crystal.film if protocol.crystal.is_film else None
        annealed = film is not None and film.interface == "relaxed"
        return "thermal start: relaxing the crystal" + (", annealing interfaces for minutes" if annealed else "")
    if not task.startswith(_SNAPSHOT_TASK):
        return None
    thermal = protocol.thermal
    index = int(task.removeprefix(_SNAPSHOT_TASK))
    if thermal.start == "quantum":
        return f"thermal start: snapshot {index}, drawn at {thermal.temperature_K:g} K, and a quench"
    length_ps = thermal.snapshot_interval_ps + (0 if index else thermal.equilibration_ps)
    return f"thermal start: snapshot {index}, {length_ps:g} ps at {thermal.temperature_K:g} K and a quench"
