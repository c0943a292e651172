"""What is told of single cascades: lists, one record, its repetition, what it displaced."""

from __future__ import annotations

import itertools
import math
import shlex
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from cascade_driver.schema import plain
from cascade_driver.simulation.lammps_build import ENVIRONMENT, INSTALLED
from cascade_driver.simulation.outcome import STORED_ENERGY_FLOOR_eV, recoils_told
from cascade_driver.terminal.console import headed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cascade_driver.campaign.listing import ListedCascade
    from cascade_driver.campaign.reproduce import Reproduction
    from cascade_driver.campaign.scene import Remains
    from cascade_driver.simulation.defects import Pocket
    from cascade_driver.simulation.record import Record


def print_cascades(cascades: Sequence[ListedCascade], *, of: int, console: Console) -> None:
    """Print a line per cascade, some of the `of` of a plan."""
    shown = Table()
    told = recoils_told((c.species, c.region) for c in cascades)
    for heading in ("number", "id", "recoil", "E_R / eV", "direction", "snapshot", "outcome", "E_s / eV"):
        shown.add_column(heading, justify="left" if heading in {"id", "outcome"} else "right", no_wrap=True)
    for c in cascades:
        shown.add_row(
            str(c.number),
            c.id,
            told[c.species, c.region],
            f"{c.recoil_energy_eV:g}",
            " ".join(f"{x:.2f}" for x in c.direction),
            str(c.snapshot),
            c.outcome,
            _stored(c.stored_energy_eV),
        )
    console.print(shown)
    console.print(f"{len(cascades)} of the {of} cascades of the plan")


def _stored(energy_eV: float) -> str:
    """Return a stored energy as people read it: what rounding leaves of none is 0."""
    if math.isnan(energy_eV):
        return "-"
    return "0" if abs(energy_eV) <= STORED_ENERGY_FLOOR_eV else f"{energy_eV:.4g}"


def print_record(record: Record, *, folder: Path, again: str, console: Console) -> None:
    """Print one cascade, with the command `again` that reproduces it alone."""
    from cascade_driver.simulation.crystal import orientation_said

    kick = record.spec.knock_on
    along = ", ".join(f"{x:.3f}" for x in kick.direction)
    given = f"{kick.recoil_energy_eV:g} eV {kick.species} along ({along}), snapshot {record.spec.snapshot}"
    console.print(headed(record.id, f"  {given}"))
    console.print(orientation_said(record.spec.protocol.crystal), soft_wrap=True)
    for line in _later_kicks(record):
        console.print(line)
    console.print(f"outcome: {record.outcome.value} {record.message}".rstrip(), soft_wrap=True)
    if rows := list(_found(record)):
        shown = Table(show_header=False)
        for words, value in rows:
            shown.add_row(words, value)
        console.print(shown)
    console.print(f"files: {folder}", soft_wrap=True)
    console.print(f"alone: {again}", soft_wrap=True)


#: What the numbers of a record are, by the names that they have in it; the unit stands at the end of the name.
RECORD_WORDS = {
    "stored_energy_eV": "stored energy E_s",
    "stored_energy_follow_eV": "E_s in the potential that moves the atoms",
    "reference_energy_eV": "energy of the quenched box before",
    "quenched_energy_eV": "energy of the quenched box after",
    "largest_force_eV_A": "largest force after the quench",
    "start_sha256": "checksum of the thermal start",
    "given_energy_eV": "kinetic energy after the kick",
    "recoil_energy_total_eV": "energy of all kicks",
    "energy_drift_eV": "drift of the total energy",
    "electronic_loss_eV": "energy given to electrons",
    "temperature_start_K": "temperature before the kick",
    "temperature_end_K": "temperature at the end",
    "temperature_rise_K": "rise of the temperature",
    "least_distance_A": "least distance of two atoms",
    "followed_ps": "followed for",
    "steps": "time steps",
    "defects.vacancies": "vacancies",
    "defects.interstitials": "interstitials",
    "defects.antisites": "antisites",
    "defects.clusters": "vacancies and interstitials per cluster",
    "defects.adatoms": "adatoms",
    "defects.interface_atoms": "atoms at the interface without a site",
    "displaced_atoms": "displaced atoms",
    "pka.index": "knock-on, row in the final structure",
    "pka.species": "knock-on, species",
    "pka.end_displacement_A": "knock-on, from its site to its end",
    "pka.largest_displacement_A": "knock-on, farthest from its start",
    "pka.path_length_A": "knock-on, length of its way",
    "stored_in.substrate_eV": "E_s in the substrate",
    "stored_in.interface_eV": "E_s at the interface",
    "stored_in.film_eV": "E_s in the film",
    "attempts": "attempts",
    "cpu_s": "CPU time",
    "wall_s": "wall time",
    "peak_memory_MiB": "peak memory",
}

#: Parts of a record that the lines about them tell, or its file alone.
_TOLD_ELSEWHERE = ("later_kicks", "earlier_quenches", "pka.track.", "stored_in.height_A", "stored_in.layer_eV")

#: As they end names of numbers, the longest first.
_UNITS = {"_eV_A": "eV/Å", "_eV": "eV", "_A": "Å", "_K": "K", "_ps": "ps", "_s": "s", "_MiB": "MiB"}


def _found(record: Record) -> Iterator[tuple[str, str]]:
    """Yield what a record says of physics and cost, in words and with units, but what is told elsewhere."""
    content = _by_name(plain(record.physics)) if record.physics else {}
    for name, value in (content | plain(record.cost)).items():
        if name.startswith(_TOLD_ELSEWHERE):
            continue
        yield RECORD_WORDS.get(name, name), _with_unit(name, value)
        if name == "stored_energy_eV":
            for one in (record.physics and record.physics.earlier_quenches) or ():
                yield f"E_s after {one.time_ps:g} ps", _with_unit(name, one.stored_energy_eV)


def _by_name(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return JSON-ready content by dotted name; counts by species and lists stay whole."""
    values: dict[str, Any] = {}
    for key, value in content.items():
        # Counts have symbols for keys, and may be empty; groups have names.
        if isinstance(value, dict) and any(name[0].islower() for name in value):
            values |= _by_name(value, f"{prefix}{key}.")
        else:
            values[prefix + key] = value
    return values


def _with_unit(name: str, value: Any) -> str:
    """Return a number of a record, counts by species, or sizes, as people read them."""
    if isinstance(value, dict):
        return ", ".join(f"{n} {species}" for species, n in sorted(value.items())) or "none"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    if not isinstance(value, int | float):
        return str(value)
    unit = next((unit for end, unit in _UNITS.items() if name.endswith(end)), "")
    if name.startswith("stored_"):
        said = _stored(value)
    elif name in {"reference_energy_eV", "quenched_energy_eV"}:
        said = f"{value:.4f}"  # their difference counts
    else:
        said = f"{value:.4g}" if isinstance(value, float) else str(value)
    return f"{said} {unit}".rstrip()


def _later_kicks(record: Record) -> list[str]:
    """Return a line for each later kick of a cascade: what was asked for, what it found and did."""
    lines = []
    wanted, measured = record.spec.knock_on.then or (), (record.physics and record.physics.later_kicks) or ()
    for kick, found in itertools.zip_longest(wanted, measured):
        energies = (found.kinetic_energy_before_eV, found.kinetic_energy_after_eV) if found else ()
        before, after = (f"{energy:.4g}" for energy in energies) if energies else ("?", "?")
        lines.append(
            f"then at {kick.time_fs:g} fs {kick.recoil_energy_eV:g} eV along "
            f"({', '.join(f'{x:.3f}' for x in kick.direction)}): kinetic energy {before} -> {after} eV"
        )
    return lines


def print_reproduction(done: Reproduction, *, console: Console) -> None:
    """Print whether a cascade came out as before, and what is different."""
    if not done.differences:
        found = done.again.physics
        stored = "" if found is None else f", stored energy {found.stored_energy_eV!r} eV"
        console.print(headed(done.record.id, f"  the same to the last digit: {done.compared} values{stored}"))
    else:
        shown = Table(title=f"{done.record.id}: not the same", title_justify="left")
        for heading in ("value", "in the run", "now"):
            shown.add_column(heading)
        made = [
            (name, *(str(getattr(r.provenance, name)) for r in (done.record, done.again)))
            for name in ("engine", "host")
        ]
        for name, one, other in [(n, *map(_shortened, pair)) for n, pair in done.differences.items()] + made:
            shown.add_row(name, one, other)
        console.print(shown)
        console.print(
            "all digits agree only with one build of the engine on one kind of processor",
        )
    then, now = (r.provenance.maker for r in (done.record, done.again))
    if then != now:
        console.print(f"in the run by {then}, now by {now}", soft_wrap=True)
    engines = [_lammps_of(r) for r in (done.record, done.again)]
    if engines[0] != engines[1]:
        console.print(f"with the LAMMPS of the run: {ENVIRONMENT}={shlex.quote(engines[0])}", soft_wrap=True)
    console.print(f"files: {done.folder}", soft_wrap=True)


def _lammps_of(record: Record) -> str:
    own = record.provenance.engine_library
    return own.name if own else INSTALLED


def _shortened(value: object) -> str:
    text = repr(value) if isinstance(value, float) else str(value)
    return text if len(text) <= 40 else text[:37] + "..."


def print_defects(cascades: Sequence[Remains], *, one_by_one: bool, console: Console) -> None:
    """Print what cascades left: a row per cascade that left something, or per defect of one."""
    if one_by_one:
        for left in cascades:
            _print_each_defect(left, console=console)
        return
    shown = Table()
    found = {defect.kind for left in cascades for defect in left.defects}
    names = {"vacancy": "vacancies", "interstitial": "interstitials", "antisite": "antisites"}
    names |= {kind: f"{kind}s" for kind in ("adatom", "interface atom") if kind in found}
    for heading in ("cascade", "recoil (eV)", "stored (eV)", *names.values(), "pocket"):
        shown.add_column(heading, justify="left" if heading == "cascade" else "right")
    with_some = [left for left in cascades if left.defects or left.pocket is not None]
    for left in with_some:
        kinds = (_by_species(left, kind) for kind in names)
        energy = f"{left.knock_on.species} {left.knock_on.recoil_energy_eV:g}"
        stored = round(left.stored_energy_eV, 2) + 0.0  # no -0.00
        shown.add_row(left.cascade, energy, f"{stored:.2f}", *kinds, _size_of(left.pocket))
    console.print(shown)
    console.print(
        f"{len(with_some)} of {len(cascades)} cascades left something; pocket: its displaced atoms, and its extent"
    )


def _print_each_defect(left: Remains, *, console: Console) -> None:
    """Print the defects of a cascade, a row each, and its pocket."""
    console.print(headed(left.title, f", cascade {left.cascade}"))
    shown = Table("defect", "species", "from the knock-on's site (A)", "distance (A)", "cluster")
    for d in left.defects:
        where = "  ".join(f"{x:7.2f}" for x in d.position_A)
        cluster = str(d.cluster) if d.cluster else "-"
        shown.add_row(d.kind, d.species, where, f"{math.hypot(*d.position_A):.2f}", cluster)
    console.print(shown)
    if (pocket := left.pocket) is not None:
        console.print(
            f"pocket: {pocket.atoms} displaced atoms and {pocket.vacancies} empty sites within "
            f"{pocket.extent_A:.1f} A, root mean square radius {pocket.radius_A:.1f} A"
        )


def _size_of(pocket: Pocket | None) -> str:
    if pocket is None:
        return "-"
    return "1 atom" if pocket.atoms == 1 else f"{pocket.atoms} atoms, {pocket.extent_A:.1f} A"


def _by_species(left: Remains, kind: str) -> str:
    found = Counter(d.species for d in left.defects if d.kind == kind)
    return " ".join(f"{n} {species}" for species, n in sorted(found.items())) or "-"
