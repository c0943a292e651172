"""Many realisations of a glass, on any number of processes and machines, each a file.

Who is killed loses the realisation that it was at; the others go on, and a later run continues.

    DIR/glass.json               what was asked for; a folder holds one glass, one protocol and one seed
    DIR/realisations/000123.npz  counted excitation energies of one realisation, complete or not there
    DIR/claims/                  who is at what

The seed of a realisation is its place, `SeedSequence(seed, spawn_key=(index,))`: any number of processes, in any
order, give the same files, and a run that asks for more keeps what it has.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cascade_driver.campaign.tasks import processes_for, share_tasks
from cascade_driver.errors import FitError, InputError, RecordError
from cascade_driver.files import readable, whole_file, write_atomically
from cascade_driver.relaxation.tls.density import EDGES_K, CountedDensity, DensityFit, fit_density
from cascade_driver.relaxation.tls.glass import Annealing, Glass, anneal, draw_sample, warm_up
from cascade_driver.schema import build, canonical_json, parameters, plain, read_json
from cascade_driver.simulation.provenance import provenance

GLASS_FILE = "glass.json"
SCHEMA = 1

#: Realisations of the paper for each set of parameters.
PAPER_REALISATIONS = 10_000


@parameters
class GlassRun:
    """What a folder of realisations is of.

    Attributes
    ----------
    glass : Glass
    annealing : Annealing
    seed : int
        Root of all random numbers.
    """

    glass: Glass
    annealing: Annealing
    seed: int = 1


@dataclass(frozen=True, kw_only=True)
class GlassSummary:
    """What the finished realisations of a folder say together.

    Attributes
    ----------
    run : GlassRun
    realisations : int
        Finished ones.
    density : CountedDensity
    unstable : int
        Realisations that annealing and quench left unstable to flips of pairs, before the descent.
    attempts_per_s, flips_per_s : float
        Single flips tried and done per second and process.
    seconds : float
        Of one realisation, on average, on one core.
    """

    run: GlassRun
    realisations: int
    density: CountedDensity
    unstable: int
    attempts_per_s: float
    flips_per_s: float
    seconds: float

    def hours_of_paper(self, workers: int) -> float:
        """Return the time for `PAPER_REALISATIONS` on so many processes."""
        return PAPER_REALISATIONS * self.seconds / workers / 3600


def make_realisations(
    run: GlassRun,
    folder: Path,
    *,
    realisations: Annotated[int, Field(ge=1)],
    workers: Annotated[int, Field(ge=1)] | None = None,
    observe: Callable[[int, int], None] | None = None,
) -> None:
    """Make what is missing of the first `realisations` realisations, on some processes.

    Others may do the same in the same folder, also on other machines; all return when all are made.

    Parameters
    ----------
    run : GlassRun
    folder : Path
        Made if it does not exist.
    realisations : int
    workers : int, optional
        Processes at a time (default: all cores).
    observe : callable, optional
        Called with the number of finished and of wanted realisations after each.

    Raises
    ------
    InputError
        If the folder holds another glass, or cannot be written, or numba is missing.
    ProcessEndedError
        If processes were killed and left something undone.
    """
    warm_up()
    _prepare(run, folder)
    tasks = _Realisations(run=run, folder=folder, number=realisations)

    def tell(_name: str) -> None:
        if observe:
            observe(realisations - len(tasks.waiting()), realisations)

    tell("")
    share_tasks(tasks, workers=processes_for(workers), observe=tell)


@dataclass(frozen=True, kw_only=True)
class _Realisations:
    """The first realisations of a glass, as tasks."""

    run: GlassRun
    folder: Path
    number: int

    def waiting(self) -> list[str]:
        there = {file.name for file in (self.folder / "realisations").iterdir()}
        return [file.stem for i in range(self.number) if (file := _file(self.folder, i)).name not in there]

    def is_done(self, name: str) -> bool:
        return _file(self.folder, int(name)).is_file()

    def do(self, name: str) -> None:
        make_one(self.run, self.folder, int(name))


def make_one(run: GlassRun, folder: Path, index: int) -> None:
    """Make one realisation and store it, under another name first."""
    generator = np.random.default_rng(np.random.SeedSequence(run.seed, spawn_key=(index,)))
    began = time.process_time()
    state = anneal(draw_sample(run.glass, generator=generator), run.annealing, generator=generator)
    counts = np.array([np.histogram(row, EDGES_K)[0] for row in state.excitation_K], dtype=np.int32)
    path = _file(folder, index)
    with whole_file(path, remedy="choose another place with --out") as partial:
        np.savez_compressed(
            partial,
            counts=counts,
            measured_K=state.measured_K,
            tally=np.array([state.pair_flips, state.attempts, state.flips], dtype=np.int64),
            seconds=np.array(time.process_time() - began),
        )


def summarise(folder: Path) -> GlassSummary:
    """Return what the finished realisations of a folder say together.

    Raises
    ------
    InputError
        If the folder is none of ours, or holds no realisation.
    RecordError
        If a realisation is damaged.
    """
    run = load_run(folder)
    files = sorted((folder / "realisations").glob("[0-9]*.npz"))
    if not files:
        raise InputError(f"{folder}: no finished realisation; `cascade tls dos` makes them")
    rows = [_read(file) for file in files]
    if any(not np.array_equal(row[0], rows[0][0]) or row[1].shape != rows[0][1].shape for row in rows):
        raise RecordError(f"{folder}: realisations of different protocols; move them away and make them anew")
    tally = np.sum([row[2] for row in rows], axis=0)
    seconds = float(np.sum([row[3] for row in rows]))
    return GlassSummary(
        run=run,
        realisations=len(files),
        density=CountedDensity(
            temperature_K=rows[0][0],
            edges_K=EDGES_K,
            counts=np.sum([row[1] for row in rows], axis=0, dtype=np.int64),
            systems=len(files) * run.glass.number,
        ),
        unstable=sum(int(row[2][0] > 0) for row in rows),
        attempts_per_s=float(tally[1]) / seconds,
        flips_per_s=float(tally[2]) / seconds,
        seconds=seconds / len(files),
    )


def write_summary(folder: Path) -> tuple[GlassSummary, list[DensityFit]]:
    """Write the density of states and the table of prefactors and exponents of a folder; return both.

    `density.csv` has a row per temperature and bin, `fits.json` a row per temperature at which enough systems were
    counted: Eq. 3 up to 2 T, and at temperature 0 up to the interaction.

    Raises
    ------
    InputError, RecordError
        As `summarise`.
    """
    summary = summarise(folder)
    density, interaction = summary.density, summary.run.glass.interaction_K
    fits = []
    for temperature in density.temperature_K.tolist():
        if temperature == 0 and interaction == 0:
            continue
        with suppress(FitError):
            highest = interaction if temperature == 0 else None
            fits.append(fit_density(density, temperature_K=temperature, highest_K=highest))
    rows = [
        f"{t:g},{low:.6g},{high:.6g},{count},{n:.6g}"
        for t, counts in zip(density.temperature_K, density.counts, strict=True)
        for low, high, count, n in zip(
            density.edges_K, density.edges_K[1:], counts, density.density_per_K(t), strict=False
        )
    ]
    header = "temperature_K,energy_low_K,energy_high_K,systems,density_per_K"
    write_atomically(folder / "density.csv", "\n".join([header, *rows]) + "\n")
    content = {
        "realisations": summary.realisations,
        "systems": density.systems,
        "unstable_to_pairs_before_descent": summary.unstable,
        "attempts_per_s": summary.attempts_per_s,
        "flips_per_s": summary.flips_per_s,
        "seconds_per_realisation": summary.seconds,
        "fits": [dataclasses.asdict(fit) for fit in fits],
        "provenance": plain(provenance()),
    }
    write_atomically(folder / "fits.json", json.dumps(content, indent=1) + "\n")
    return summary, fits


def load_run(folder: Path) -> GlassRun:
    """Return what a folder of realisations is of.

    Raises
    ------
    InputError
        If it is no such folder.
    """
    path = folder / GLASS_FILE
    if not path.is_file():
        raise InputError(f"{folder}: no {GLASS_FILE} there; give a folder that `cascade tls dos` made")
    content = read_json(path)
    if content.get("schema_version") != SCHEMA:
        raise InputError(f"{path}: schema version {content.get('schema_version')}, this program reads {SCHEMA}")
    return build(GlassRun, content.get("run", {}), origin=str(path))


def _prepare(run: GlassRun, folder: Path) -> None:
    if (folder / GLASS_FILE).is_file():
        if load_run(folder) != run:
            raise InputError(f"{folder}: holds another glass, protocol or seed; choose another folder with --out")
        return
    try:
        (folder / "realisations").mkdir(parents=True, exist_ok=True)
        content = {"schema_version": SCHEMA, "run": plain(run), "provenance": plain(provenance())}
        write_atomically(folder / GLASS_FILE, canonical_json(content) + "\n")
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror}); choose another place") from None


def _file(folder: Path, index: int) -> Path:
    return folder / "realisations" / f"{index:06d}.npz"


def _read(path: Path) -> Sequence[NDArray[Any]]:
    try:
        with np.load(readable(path, what="a realisation"), allow_pickle=False) as content:
            return [content[name] for name in ("measured_K", "counts", "tally", "seconds")]
    except (InputError, OSError, ValueError, KeyError, BadZipFile, EOFError) as error:
        raise RecordError(f"{path}: damaged ({error}); remove it and run again") from None
