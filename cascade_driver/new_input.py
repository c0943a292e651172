"""A new input, with a comment for each key: what the types say of it."""

# ASE annotates only part of what it offers:
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import inspect
import os
import re
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

from pydantic import Field

from cascade_driver.campaign.plan import RecoilsSpec
from cascade_driver.config import AnalysisSpec, PotentialChoice, RunInput, ThresholdInput, WorkSpec
from cascade_driver.errors import InputError
from cascade_driver.models import crystal_formulas
from cascade_driver.request import CaptureRequest, DarkMatterRequest, ReactorRequest
from cascade_driver.schema import build, field_descriptions, fields_of, parameters, plain
from cascade_driver.simulation.crystal import (
    CrystalSpec,
    assemble,
    constituents,
    named_or_file,
    require_room,
    resized,
)
from cascade_driver.simulation.potential import Potential, load_potential, shipped_potentials
from cascade_driver.simulation.spec import FollowSpec, QuenchSpec, ThermalSpec
from cascade_driver.spectra.detector import Detector
from cascade_driver.thresholds.plan import ThresholdSpec

Purpose: TypeAlias = Literal["dark-matter", "neutrinos", "capture", "defects", "thresholds"]
Machine: TypeAlias = Literal["minutes", "laptop", "cluster"]

#: A section of an input: its heading, its type, what of it is set.
_Section: TypeAlias = tuple[str, type, Mapping[str, Any]]


@parameters
class NewInput:
    """What a new input is of.

    Attributes
    ----------
    crystal : str
        A crystal by name (CaWO4, Si, Ge, ...; see `cascade guide crystal`), or a structure file (CIF, POSCAR).
    potential : str, optional
        A shipped one (`cascade potential list`) or a folder; needed where not one alone ships for the crystal.
    purpose : str
        What it is for: the spectrum of `dark-matter`, reactor `neutrinos` or neutron `capture` in a detector,
        `defects` alone, or `thresholds` (an input of `cascade threshold`).
    machine : str
        `minutes` for a first look, `laptop` for a night on some cores, `cluster` for a campaign to be published.
    species : str, optional
        Which atom recoils; by default the heaviest, of which most recoils of dark matter and neutrinos are.
    debye_temperature_K : float, optional
        Of a crystal of a file: its thermal starts have the energy of the zero-point motion.
    """

    crystal: str
    potential: str | None = None
    purpose: Purpose = "dark-matter"
    machine: Machine = "minutes"
    species: str | None = None
    debye_temperature_K: float | None = Field(default=None, gt=0, le=5000)


#: What machines can do: atoms of the box, energies in eV, directions, and the sections of an input. All boxes are
#: closed: a border that takes the heat away within a picosecond freezes pairs in that heal.
_MACHINES: dict[Machine, dict[str, Any]] = {
    "minutes": {
        "atoms": 1500,
        "energies_eV": [20, 30, 40, 60, 80],
        "directions": 3,
        "snapshots": 1,
        "thermal": {"equilibration_ps": 0.4, "snapshot_interval_ps": 0.2},
        "follow": {"duration_ps": 1.5, "max_displacement_A": 0.04, "max_timestep_fs": 2},
        "quench": {"force_tolerance_eV_A": 1e-3, "method": "cg-stiffness"},
    },
    "laptop": {
        "atoms": 6000,
        "energies_eV": [15, 20, 30, 40, 60, 80, 110],
        "directions": 16,
        "snapshots": 2,
        "thermal": {"equilibration_ps": 3, "snapshot_interval_ps": 0.5},
        # 110 eV heat this box by 70 K.
        "follow": {"duration_ps": 4, "max_displacement_A": 0.02, "max_timestep_fs": 1.5},
        "quench": {"force_tolerance_eV_A": 1e-3, "method": "cg-stiffness"},
    },
    "cluster": {
        "atoms": 49_000,
        "energies_eV": [15, 20, 30, 40, 60, 80, 110, 160],
        "directions": 32,
        "snapshots": 5,
        "thermal": {"equilibration_ps": 5, "snapshot_interval_ps": 1},
        "follow": {"duration_ps": 8, "max_displacement_A": 0.01, "max_timestep_fs": 1},
        "quench": {"force_tolerance_eV_A": 1e-4},
        "work": {"time_limit_s": 172_800},
    },
}

#: Searches need less: a box of so many atoms, directions, starts.
_SEARCHES: dict[Machine, tuple[int, int, int]] = {
    "minutes": (216, 4, 2),
    "laptop": (512, 64, 4),
    "cluster": (1700, 256, 8),
}


def new_input(wanted: NewInput, *, base: Path) -> str:
    """Return the text of an input in the folder `base`, each key with its comment.

    Raises
    ------
    InputError
        If the crystal or the potential cannot be, or one that is to be chosen is not named.
    """
    crystal = named_or_file(wanted.crystal)
    if crystal.is_film:
        raise InputError(f"{wanted.crystal}: for films begin with inputs/al-film.toml, which ships")
    (cell,) = constituents(crystal).values()
    species = wanted.species or max(cell.get_chemical_symbols(), key=_number)
    if species not in cell.get_chemical_symbols():
        raise InputError(f"species {species}: {wanted.crystal} has {', '.join(dict.fromkeys(cell.symbols))}")
    potential = _potential(wanted, species=tuple(dict.fromkeys(cell.get_chemical_symbols())))
    is_search = wanted.purpose == "thresholds"
    sections = (_search if is_search else _campaign)(wanted, crystal, species, potential)
    top = {
        "title": f"{species} recoils in {Path(wanted.crystal).stem}: {wanted.purpose.replace('-', ' ')}",
        "seed": 1,
    }
    kind = ThresholdInput if is_search else RunInput
    if is_search:
        top["snapshots"] = _SEARCHES[wanted.machine][2]
    return "\n".join([*_head(wanted), *_keys(kind, top, only_set=True), *_told(sections, base)]) + "\n"


def _number(symbol: str) -> int:
    from ase.data import atomic_numbers

    return int(atomic_numbers[symbol])


def _potential(wanted: NewInput, *, species: tuple[str, ...]) -> Potential:
    """Return the potential that is named, or the only one that ships for the crystal."""
    if wanted.potential is not None:
        place = Path(wanted.potential)
        found = load_potential(wanted.potential if wanted.potential in shipped_potentials() else place.resolve())
        if missing := set(species) - set(found.species):
            raise InputError(f"potential {found.name} is for {', '.join(found.species)}, not {', '.join(missing)}")
        return found
    known = [load_potential(name) for name in shipped_potentials()]
    known = [one for one in known if wanted.crystal in one.about.crystals]
    if len(known) == 1:
        return known[0]
    if not known:
        raise InputError(
            f"no potential ships for {wanted.crystal}: name a folder with --potential; `cascade guide crystal` "
            "says how to make one"
        )
    raise InputError(
        f"{len(known)} potentials ship for {wanted.crystal} and store different energies: choose with --potential "
        f"{', '.join(one.name for one in known)} (`cascade potential list`)"
    )


def _campaign(wanted: NewInput, crystal: CrystalSpec, species: str, potential: Potential) -> Iterator[_Section]:
    machine = _MACHINES[wanted.machine]
    energies = machine["energies_eV"]
    if wanted.purpose == "capture":
        energies = [*energies[:-1], *(e for e in (80, 110, 160) if e >= energies[-1])]
    yield from _common(wanted, crystal, potential, machine, atoms=machine["atoms"], highest_eV=energies[-1])
    directions = {"scheme": "symmetry", "count": machine["directions"]}
    recoils = {"species": species, "recoil_energies_eV": energies}
    yield "[[recoils]]", RecoilsSpec, {**recoils, "directions": directions, "snapshots": machine["snapshots"]}
    if "work" in machine:
        yield "[work]", WorkSpec, machine["work"]
    elements = list(dict.fromkeys(next(iter(constituents(crystal).values())).get_chemical_symbols()))
    lent = {"fallback_species": species} if len(elements) > 1 else {}
    yield "[analysis]", AnalysisSpec, {"extrapolate": True, **lent}
    (target,) = crystal_formulas(crystal)
    binned = {"target": target, "energy_eV": [1, energies[-1]], "bins": energies[-1] - 1}
    if wanted.purpose == "dark-matter":
        asked = {"kind": "dm", "mass_GeV": 2, "cross_section_cm2": 1e-40, **binned}
        yield "[[spectra]]", DarkMatterRequest, asked
    elif wanted.purpose == "neutrinos":
        asked = {"kind": "cevns", "power_GW": [4.25, 4.25], "distance_m": [72, 102], **binned}
        yield "[[spectra]]", ReactorRequest, asked
    elif wanted.purpose == "capture":
        yield "[detector]", Detector, {"resolution_eV": 5, "threshold_eV": 20}
        yield "[[spectra]]", CaptureRequest, {"kind": "capture", "neutron_flux_cm2_s": 100, **binned}


def _search(wanted: NewInput, crystal: CrystalSpec, species: str, potential: Potential) -> Iterator[_Section]:
    atoms, directions, _ = _SEARCHES[wanted.machine]
    follow = {"duration_ps": 2, "max_displacement_A": 0.03, "max_timestep_fs": 1.5}
    machine = {**_MACHINES[wanted.machine], "follow": follow, "quench": {}}
    highest_eV = 100
    yield from _common(wanted, crystal, potential, machine, atoms=atoms, highest_eV=highest_eV)
    along = {"scheme": "symmetry", "count": directions}
    yield "[[thresholds]]", ThresholdSpec, {"species": species, "directions": along, "highest_eV": highest_eV}


def _common(
    wanted: NewInput,
    crystal: CrystalSpec,
    potential: Potential,
    machine: Mapping[str, Any],
    *,
    atoms: int,
    highest_eV: float,
) -> Iterator[_Section]:
    is_named = crystal.file is None
    place = {"name": wanted.crystal} if is_named else {"file": str(Path(wanted.crystal).resolve())}
    thermal = {"temperature": "zero-point-energy", **machine["thermal"]}
    if not is_named:
        if wanted.debye_temperature_K is None:
            raise InputError(
                f"{wanted.crystal}: the thermal starts need its Debye temperature: --debye-temperature-K"
            )
        thermal["debye_temperature_K"] = wanted.debye_temperature_K
    most = _roomy(crystal, atoms, recoil_energy_eV=highest_eV, cutoff_A=potential.about.cutoff_A)
    yield "[crystal]", CrystalSpec, {**place, "minimum_atoms": most}
    chosen = {"name": potential.name} if potential.is_shipped else {"folder": potential.folder}
    yield "[potential]", PotentialChoice, chosen
    yield "[thermal]", ThermalSpec, thermal
    yield "[follow]", FollowSpec, machine["follow"]
    yield "[quench]", QuenchSpec, machine["quench"]


def _roomy(crystal: CrystalSpec, atoms: int, *, recoil_energy_eV: float, cutoff_A: float) -> int:
    """Return that number of atoms, or a larger one that gives a recoil room in a closed box."""
    limits = {"recoil_energy_eV": recoil_energy_eV, "border_A": 0.0, "cutoff_A": cutoff_A}
    while True:
        box = assemble(sized := resized(crystal, minimum_atoms=atoms), constituents(sized))
        try:
            require_room(box, **limits)
        except InputError:
            atoms = 10 * round(0.13 * atoms)
        else:
            return atoms


# -- the text ----------------------------------------------------------------------------------------------------

#: What only the program writes.
_FILLED_IN = frozenset({"file_sha256", "frame"})


def _head(wanted: NewInput) -> list[str]:
    verb = "threshold" if wanted.purpose == "thresholds" else "run"
    return [
        f"# An input of `cascade {verb}`: `--plan-only` says what it would do. A key behind `#` has its default.",
        "# Every key of it: `cascade guide inputs`; what it costs: `cascade guide costs`.",
        "",
    ]


def _told(sections: Iterator[_Section], base: Path) -> Iterator[str]:
    for heading, kind, given in sections:
        # Paths in an input are seen from its folder.
        content = {
            key: os.path.relpath(value, base) if isinstance(value, Path) else value for key, value in given.items()
        }
        build(kind, content, origin=heading)
        yield ""
        about = inspect.cleandoc(kind.__doc__ or "").partition("\n")[0]
        # Where it stands is seen.
        yield from _comment(re.sub(r",? ?(:|in) (the section|section|one table|a table) `\[.*$", "", about))
        yield heading
        yield from _keys(kind, content)


def _keys(kind: type, content: Mapping[str, Any], *, only_set: bool = False) -> Iterator[str]:
    """Return the lines of keys: those that are set first, the others behind `#`, each after what is said of it."""
    about = field_descriptions(kind)
    for name in content:
        yield from _comment(about.get(name, ""))
        yield f"{name} = {_toml(content[name])}"
    for name, field in fields_of(kind).items():
        if name in content or name in _FILLED_IN or only_set:
            continue
        default = None if field.is_required() else plain(field.get_default(call_default_factory=True))
        shown = "..." if default is None or default == [] else _toml(default)
        yield from _comment(about.get(name, ""))
        yield f"#{name} = {shown}"


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(text, 112, break_on_hyphens=False, break_long_words=False)]


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        inside = ", ".join(f"{name} = {_toml(one)}" for name, one in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"{value:g}" if isinstance(value, float) else str(value)
