"""Several potentials in one crystal: what a curve of stored energies owes to the choice of the potential.

A folder of campaigns, one per potential, each with the same box, recoils, directions and times, and what it makes
of the crystal itself: `OUT/<potential>.toml` and `OUT/<potential>/` are an input and its run as any other,
`OUT/<potential>-crystal/` holds sections as of `cascade train validate`. What is there is not done again.
"""

# ASE annotates only part of what it offers:
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import csv
import io
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, field_validator

from cascade_driver.analysis.comparison import Estimate, Sample
from cascade_driver.analysis.outcomes import UsableCascades, usable_cascades
from cascade_driver.analysis.threshold import threshold_energies
from cascade_driver.campaign.contents import contents_of
from cascade_driver.campaign.rundir import RunDirectory
from cascade_driver.errors import InputError
from cascade_driver.files import write_atomically
from cascade_driver.plot import save_figure
from cascade_driver.plot.potentials import PotentialInFigure, potential_comparison_figure
from cascade_driver.schema import parameters
from cascade_driver.simulation.apart import apart
from cascade_driver.simulation.crystal import assemble, constituents, named_or_file, resized
from cascade_driver.simulation.lammps_engine import LammpsEngine
from cascade_driver.simulation.named_crystals import named_crystals
from cascade_driver.simulation.outcome import CascadeTable
from cascade_driver.simulation.potential import Potential
from cascade_driver.training.validate import Bench, Measure, validate
from cascade_driver.validation.calculator import calculator

#: Steps of a cascade beside one per fs: the first collisions and the quench. Measured in Si, 20 to 100 eV.
_MORE_STEPS = 500
#: Atoms times force evaluations of the crystal's own numbers, and of a search for Frenkel pairs.
_CRYSTAL_EVALUATIONS, _FRENKEL_EVALUATIONS = 1e5, 1e6
#: Equilibration and the way to the snapshot.
_START_PS = 1.2
#: Sections of a validation that are asked of a crystal.
_SECTIONS = ("crystal", "elastic", "frenkel")
#: Of these its table tells.
_SHOWN = ("a", "c", "energy per atom", "C11", "C12", "C44", "bulk modulus")


@parameters
class ComparisonSpec:
    """What potentials are asked.

    Attributes
    ----------
    potentials : list of str
        Names of shipped ones, or folders.
    crystal : str
        Its name, or a structure file.
    species : str, optional
        That recoils; by default the first of the crystal.
    recoil_energies_eV : list of float
        A ladder: directions that store energy are looked for, and how much.
    directions : int
        Of the site's symmetry-distinct ones.
    minimum_atoms : int
        Of the box, which is closed: 100 eV heat 1700 atoms by 228 K, and a cold border would change thresholds.
    duration_ps : float
        Of each flight.
    """

    potentials: tuple[str, ...] = Field(min_length=2, max_length=12)
    crystal: str
    species: str | None = None
    recoil_energies_eV: tuple[float, ...] = Field(default=(15.0, 20.0, 30.0, 50.0, 100.0), min_length=1)
    directions: int = Field(default=4, ge=1, le=1000)
    minimum_atoms: int = Field(default=1700, ge=1, le=1_000_000)
    duration_ps: float = Field(default=1.0, gt=0)

    @field_validator("potentials")
    @classmethod
    def _are_different(cls, potentials: tuple[str, ...]) -> tuple[str, ...]:
        labels = [Path(p).name for p in potentials]
        if len(set(labels)) < len(labels):
            raise ValueError("two of the potentials have one name; give each folder a name of its own")
        return potentials

    @property
    def recoiling(self) -> str:
        """The species that recoils."""
        if self.species is not None:
            return self.species
        return str(next(iter(constituents(named_or_file(self.crystal)).values())).get_chemical_symbols()[0])

    @property
    def said(self) -> str:
        """What each potential is asked, in words."""
        energies = ", ".join(f"{energy:g}" for energy in self.recoil_energies_eV)
        where = f"{self.directions} direction{'s' if self.directions > 1 else ''}"
        return (
            f"{self.recoiling} recoils of {energies} eV in {where}, for {self.duration_ps:g} ps in a closed box "
            f"of {self.minimum_atoms} atoms or more of {Path(self.crystal).name}"
        )

    def input_text(self, potential: Potential) -> str:
        """Return the input of the campaign of a potential."""
        crystal = named_or_file(self.crystal)
        known = named_crystals().get(crystal.name or "")
        rule = 'temperature = "zero-point-energy"\n' if known and known.debye_temperature_K else ""
        return (
            f"title = {_quoted(f'{potential.name} in {Path(self.crystal).name}')}\n\n"
            f"[crystal]\n{'name' if crystal.name else 'file'} = {_quoted(crystal.name or str(crystal.file))}\n"
            f"minimum_atoms = {self.minimum_atoms}\n\n"
            f"[potential]\n{'name' if potential.is_shipped else 'folder'} = "
            f"{_quoted(potential.name if potential.is_shipped else str(potential.folder))}\n\n"
            f"[thermal]\n{rule}equilibration_ps = 1\nsnapshot_interval_ps = {_START_PS - 1:.1f}\n\n"
            f"[follow]\nduration_ps = {self.duration_ps:g}\nmax_displacement_A = 0.03\n\n"
            f"[[recoils]]\nspecies = {_quoted(self.recoiling)}\n"
            f"recoil_energies_eV = [{', '.join(f'{e:g}' for e in self.recoil_energies_eV)}]\n"
            f"directions = {{ count = {self.directions} }}\nsnapshots = 1\n"
        )


@dataclass(frozen=True, kw_only=True)
class Foreseen:
    """What a potential will cost.

    Attributes
    ----------
    us_per_atom_step : float
        CPU time, measured on this machine.
    cascades : int
    cpu_s : float
        Of all that is asked, what is there included.
    """

    us_per_atom_step: float
    cascades: int
    cpu_s: float


@dataclass(frozen=True, kw_only=True)
class Compared:
    """A potential in the crystal.

    Attributes
    ----------
    measures : tuple of Measure
        Of the crystal and its Frenkel pairs, and of the recoils.
    errors : mapping of str to float
        Of those of the recoils, by name; of a threshold half the distance of the energies that bracket it.
    pairs_eV : tuple of float
        Frenkel pairs, relaxed in the larger box.
    recoil_energy_eV, stored_energy_eV, error_eV, damaged_share : (n,) tuple of float
        Mean over directions by recoil energy, its standard error, and the share that stores energy.
    """

    measures: tuple[Measure, ...]
    errors: Mapping[str, float]
    pairs_eV: tuple[float, ...]
    recoil_energy_eV: tuple[float, ...]
    stored_energy_eV: tuple[float, ...]
    error_eV: tuple[float, ...]
    damaged_share: tuple[float, ...]


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def require_same_comparison(spec: ComparisonSpec, potentials: Mapping[str, Potential], out: Path) -> None:
    """Refuse a folder that holds another comparison.

    Raises
    ------
    InputError
        If it does.
    """
    for name, potential in potentials.items():
        path = out / f"{name}.toml"
        if path.is_file() and path.read_text(encoding="utf-8") != spec.input_text(potential):
            raise InputError(f"{path}: holds another comparison; choose another --out, or ask as it did")


def write_inputs(spec: ComparisonSpec, potentials: Mapping[str, Potential], out: Path) -> dict[str, Path]:
    """Write the input of each campaign and return their paths."""
    out.mkdir(parents=True, exist_ok=True)
    paths = {name: out / f"{name}.toml" for name in potentials}
    for name, path in paths.items():
        write_atomically(path, spec.input_text(potentials[name]))
    return paths


def foresee_cost(spec: ComparisonSpec, potential: Potential) -> Foreseen:
    """Measure what a force evaluation costs, and return what follows for all that is asked."""
    atoms, us = apart(_measured_us, spec, potential)
    cascades = len(spec.recoil_energies_eV) * spec.directions
    steps = cascades * (1000 * spec.duration_ps + _MORE_STEPS) + 1000 * _START_PS + _MORE_STEPS
    evaluations = atoms * steps + _CRYSTAL_EVALUATIONS + _FRENKEL_EVALUATIONS
    return Foreseen(us_per_atom_step=us, cascades=cascades, cpu_s=evaluations * us * 1e-6)


def _measured_us(say: Callable[[Any], None], spec: ComparisonSpec, potential: Potential) -> tuple[int, float]:
    """Return the atoms of the box and the CPU time per atom and step in microseconds."""
    del say
    crystal = resized(named_or_file(spec.crystal), minimum_atoms=spec.minimum_atoms)
    box = assemble(crystal, constituents(crystal))
    engine = LammpsEngine(potential=potential)
    try:
        engine.build(box)
        engine.run(duration_ps=0.002, timestep_ps=0.001)
        began = time.process_time()
        engine.run(duration_ps=0.01, timestep_ps=0.001)
        return len(box), (time.process_time() - began) / (10 * len(box)) * 1e6
    finally:
        engine.close()


def measure_crystal(
    spec: ComparisonSpec, potential: Potential, folder: Path, *, observe: Callable[[str], None]
) -> None:
    """Work out what a potential makes of the crystal and its Frenkel pairs, where that is not there."""
    (cell,) = constituents(named_or_file(spec.crystal)).values()
    bench = Bench(
        potential=potential,
        make_calculator=lambda: calculator(potential),
        make_engine=lambda: LammpsEngine(potential=potential),
        crystal=cell,
        frenkel_species=tuple(dict.fromkeys(cell.get_chemical_symbols())),
        observe=observe,
    )
    validate(bench, folder, sections=_SECTIONS)


def read_compared(spec: ComparisonSpec, potential: Potential, out: Path) -> Compared:
    """Return what was found of a potential."""
    (cell,) = constituents(named_or_file(spec.crystal)).values()
    bench = Bench(
        potential=potential,
        make_calculator=partial(calculator, potential),
        make_engine=partial(LammpsEngine, potential=potential),
        crystal=cell,
    )
    sections = validate(bench, out / f"{potential.name}-crystal", sections=_SECTIONS)
    crystal = [m for section in sections.values() for m in section.measures if m.name in _SHOWN]
    edge_A = {m.name: m.value for m in crystal if m.unit == "A"}
    if math.isclose(edge_A["a"], edge_A["c"], rel_tol=1e-4):
        crystal = [m for m in crystal if m.name != "c"]
    pairs: Any = sections["frenkel"].curves.get("pairs_eV", {}) if "frenkel" in sections else {}
    larger = tuple(sorted(there for found in pairs.values() for _, there in found if there > _HEALED_eV))
    table = contents_of(RunDirectory(out / potential.name)).table()
    samples = samples_of(table)
    stored = [one.mean(nonzero=False) for one in samples]
    recoils = _recoil_estimates(table, samples)
    measures = [
        Measure(section="recoils", name=name, value=one.value, unit=unit) for name, (one, unit) in recoils.items()
    ]
    return Compared(
        measures=(*crystal, *_pair_measures(larger), *measures),
        errors={name: one.error for name, (one, _) in recoils.items()},
        pairs_eV=larger,
        recoil_energy_eV=tuple(one.recoil_energy_eV for one in samples),
        stored_energy_eV=tuple(mean.value for mean in stored),
        error_eV=tuple(mean.error for mean in stored),
        damaged_share=tuple(one.probability.value for one in samples),
    )


#: A pair that heals in the larger box is none.
_HEALED_eV = 0.1


def _pair_measures(pairs_eV: Sequence[float]) -> list[Measure]:
    def measure(name: str, value: float) -> Measure:
        return Measure(section="frenkel", name=name, value=value, unit="eV")

    if not pairs_eV:
        return []
    return [
        measure("lowest Frenkel pair", min(pairs_eV)),
        measure("mean of close Frenkel pairs", float(np.mean(pairs_eV))),
    ]


def samples_of(table: CascadeTable) -> list[Sample]:
    """Return the usable cascades of each species and recoil energy, in rising order."""
    return [
        Sample.of(cascades, energy)
        for cascades in _usable(table)
        for energy in np.unique(cascades.recoil_energy_eV).tolist()
    ]


def _usable(table: CascadeTable) -> list[UsableCascades]:
    species = sorted({str(s) for s in table.species})
    return [usable_cascades(table, species=one, allow_failures=True) for one in species]


def _recoil_estimates(table: CascadeTable, samples: Sequence[Sample]) -> dict[str, tuple[Estimate, str]]:
    """Return what the recoils did, with its error and unit."""
    found: dict[str, tuple[Estimate, str]] = {}
    for cascades in _usable(table):
        threshold = threshold_energies(cascades)
        low, high = threshold.median_between_eV or (math.nan, math.nan)
        found[f"median threshold of {cascades.species}"] = (
            Estimate(value=(low + high) / 2, error=(high - low) / 2),
            "eV",
        )
    for one in samples:
        found[f"stored of {one.recoil_energy_eV:g} eV"] = (one.mean(nonzero=False), "eV")
    for one in samples:
        found[f"damaging share at {one.recoil_energy_eV:g} eV"] = (one.probability, "1")
    return found


def comparison_rows(compared: Mapping[str, Compared]) -> list[tuple[str, str, float | None, tuple[Estimate, ...]]]:
    """Return quantity, unit, experiment and what each potential has, nan where it has none."""
    names: dict[str, Measure] = {m.name: m for one in compared.values() for m in one.measures}
    rows = []
    for name, example in names.items():
        of_each = [
            Estimate(
                value=next((m.value for m in one.measures if m.name == name), math.nan),
                error=one.errors.get(name, math.nan),
            )
            for one in compared.values()
        ]
        rows.append((name, example.unit, example.reference, tuple(of_each)))
    return rows


def write_comparison(spec: ComparisonSpec, compared: Mapping[str, Compared], out: Path) -> list[Path]:
    """Write `comparison.csv` and its figure; return their paths."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["quantity", "unit", "experiment", *compared, *(f"error of {name}" for name in compared)])
    for name, unit, reference, found in comparison_rows(compared):
        numbers = (reference, *(one.value for one in found), *(one.error for one in found))
        writer.writerow([name, unit, *("" if x is None or math.isnan(x) else f"{x:.6g}" for x in numbers)])
    table = out / "comparison.csv"
    write_atomically(table, text.getvalue())
    drawn = {
        name: PotentialInFigure(
            deviations={m.name: m.deviation for m in one.measures if m.deviation is not None},
            pairs_eV=one.pairs_eV,
            recoil_energy_eV=one.recoil_energy_eV,
            stored_energy_eV=one.stored_energy_eV,
            error_eV=one.error_eV,
            damaged_share=one.damaged_share,
        )
        for name, one in compared.items()
    }
    figure = potential_comparison_figure(drawn, crystal=Path(spec.crystal).name)
    return [table, *save_figure(figure, out / "comparison")]
