"""Campaigns and single cascades in the hands of Python: `run`, `open_run`, `crystal`, `run_cascade`."""

from __future__ import annotations

import html
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, get_args

from ase import Atoms
from ase.calculators.calculator import Calculator
from numpy.typing import ArrayLike

from cascade_driver.analysis.model import StoredEnergyModel
from cascade_driver.campaign.contents import contents_of
from cascade_driver.campaign.export import read_structure
from cascade_driver.campaign.kick_events import KickEvents, kick_events
from cascade_driver.campaign.listing import ListedCascade, listed, one_finished
from cascade_driver.campaign.plan import RecoilsSpec, make_campaign
from cascade_driver.campaign.rundir import RunDirectory
from cascade_driver.campaign.status import RunStatus, run_status
from cascade_driver.campaign.supervise import Progress
from cascade_driver.conclusion import conclude
from cascade_driver.errors import InputError
from cascade_driver.models import analysis_of, analysis_section, fitted_with_errors, load_model
from cascade_driver.request import AnySpectrumRequest
from cascade_driver.schema import build
from cascade_driver.simulation.cascade import Result
from cascade_driver.simulation.cascade import run_cascade as run_one
from cascade_driver.simulation.crystal import CrystalSpec, assemble, constituents, resolved
from cascade_driver.simulation.lammps_engine import LammpsEngine
from cascade_driver.simulation.outcome import CascadeTable
from cascade_driver.simulation.potential import Potential
from cascade_driver.simulation.potential import load_potential as potential_of
from cascade_driver.simulation.protocols import with_protocol
from cascade_driver.simulation.record import Record
from cascade_driver.simulation.spec import FollowSpec, Protocol, QuenchSpec, ThermalSpec
from cascade_driver.simulation.start import make_box, make_snapshot, relaxed_constituents
from cascade_driver.spectra.detector import Detector
from cascade_driver.spectra.observe import Observed
from cascade_driver.spectra.observe import observe as observe_with
from cascade_driver.spectrum import Spectrum, read_spectrum
from cascade_driver.validation.calculator import calculator as calculator_of
from cascade_driver.validation.contract import ContractResult, check_apart, contract_crystals
from cascade_driver.workflow import attended_run, make_protocol, plan_run, work_on


class Run:
    """A campaign on the disk: what `cascade run` made of an input, whole or in part.

    Parameters
    ----------
    path : str or pathlib.Path
        The run directory.

    Raises
    ------
    InputError
        If it is none.
    """

    def __init__(self, path: Path | str) -> None:
        self._directory = RunDirectory(Path(path).resolve())
        self._title = self._directory.load().title

    @property
    def path(self) -> Path:
        """The run directory."""
        return self._directory.path

    def __repr__(self) -> str:
        """Return one line: which campaign, where, how far."""
        status = self.status()
        return f"<Run: {self._title}, {status.finished} of {status.planned} cascades finished, {self.path}>"

    def _repr_html_(self) -> str:
        """Return the same for a notebook."""
        return f"<p>{html.escape(repr(self)[1:-1])}</p>"

    def status(self) -> RunStatus:
        """Return how far it is and what it has found so far, as `cascade status`."""
        return run_status(self._directory)

    def cascades(self) -> list[ListedCascade]:
        """Return all cascades of its plan, as `cascade ls`."""
        return listed(self._directory)

    def table(self) -> CascadeTable:
        """Return one row per finished cascade.

        Raises
        ------
        RecordError
            If a record is damaged.
        """
        return contents_of(self._directory).table()

    def record(self, cascade: str | int) -> Record:
        """Return the record of a finished cascade, by its number in the plan, from 1, its id, or the
        beginning of it.

        Raises
        ------
        InputError
            If there is none, or several.
        RecordError
            If it is damaged.
        """
        return self._directory.record(one_finished(self._directory, cascade))

    def structure(self, cascade: str | int) -> Atoms | None:
        """Return the quenched atoms of a finished cascade, named as for `record`; None where it left none.

        Raises
        ------
        InputError, RecordError
            As `record`.
        """
        return read_structure(self._directory, one_finished(self._directory, cascade))

    def kick_events(self) -> KickEvents:
        """Return the finished cascades that have later kicks, as `[[recoils.then]]` gives them.

        Raises
        ------
        InputError
            If there is none.
        RecordError
            If a record is damaged.
        """
        return kick_events(self._directory)

    def fit(self, **analysis: Any) -> StoredEnergyModel:
        """Return the stored-energy model of the finished cascades with its errors; nothing is written.

        Parameters
        ----------
        **analysis
            In place of what its input says in `[analysis]`, such as `shape="empirical"`, `direction="[0 0 1]"`, or
            `region="film"`.

        Raises
        ------
        FitError
            If the cascades do not allow a fit.
        InputError
            If an option is unknown or unfit.
        """
        return fitted_with_errors(self._directory, analysis=analysis_section(self._directory, **analysis))[1]

    def spectra(self) -> list[Observed]:
        """Return the spectra that its input asks for, as expected and as observed.

        Raises
        ------
        FitError, InputError
            As `fit` and `observe`.
        """
        wanted = analysis_of(self._directory)
        model = self.fit()
        return [
            observe_with(request, model, detector=wanted.detector, name=f"{number}-{request.kind}")
            for number, request in enumerate(wanted.spectra, start=1)
        ]

    def report(self) -> Path:
        """Fit, correct, draw and write its report again; return the page.

        Raises
        ------
        InputError, RecordError
            If the folder cannot be written, or a record is damaged.
        """
        conclude(self._directory)
        return self.path / "report.html"


def open_run(path: Path | str) -> Run:
    """Return the campaign in a run directory.

    Raises
    ------
    InputError
        If there is none.
    """
    return Run(path)


def plan(given: Path | str, *, out: Path | str | None = None, replace_plan: bool = False) -> Run:
    """Work a campaign out and write its plan; nothing of it runs. Any number of workers may then, anywhere.

    Parameters
    ----------
    given, out
        As for `run`.
    replace_plan : bool
        Whether the plan that is there may lose cascades; adding to it needs no such word.

    Raises
    ------
    InputError, PotentialError
        If something in the input cannot be used, or it would take the place of another campaign.
    """
    return Run(plan_run(given, out=out, replace_plan=replace_plan).directory.path)


def run(
    given: Path | str,
    *,
    out: Path | str | None = None,
    workers: int | None = None,
    executor: str | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Run:
    """Plan a campaign, run what is missing of it, do what its input asks for after it, and return it.

    Parameters
    ----------
    given : str or pathlib.Path
        The input file (TOML), or the name of a shipped one such as `quickstart`.
    out : str or pathlib.Path, optional
        The run directory; by default `runs/<name of the input>` in the current folder.
    workers : int, optional
        Processes at a time; by default what the input says, or all cores.
    executor : {'processes', 'serial', 'dask'}, optional
        By default what the input says.
    progress : callable, optional
        Called with a `Progress` while it runs.

    Raises
    ------
    InputError, PotentialError
        If something in the input cannot be used; nothing was written then.
    CascadeError
        If something is wrong that concerns the whole campaign.
    """
    with attended_run(given, out=out) as planned:
        work_on(planned, workers=workers, executor=executor, observe=progress or (lambda _: None))
        if planned.wanted.analysis is not None:
            conclude(planned.directory)
        return Run(planned.directory.path)


def crystal(given: Path | str, *, potential: Potential | Path | str | None = None, **size: Any) -> Atoms:
    """Return the box of a crystal in which cascades run, with the arrays `region` and `cell_index`.

    Parameters
    ----------
    given : str or pathlib.Path
        A named crystal such as `CaWO4`, `Si`, `Ge` or `Al/Si`, or a structure file.
    potential : Potential, str or pathlib.Path, optional
        Relax its cell in this one; by default it is as measured, or as the file has it.
    **size
        `minimum_atoms`, or `repeats`, and `film`, as in the section `[crystal]` of an input.

    Raises
    ------
    InputError
        If it cannot be built.
    """
    spec = _crystal_spec(given, size)
    if potential is None:
        return assemble(spec, constituents(spec))
    chosen = _potential(potential)
    protocol = Protocol(crystal=spec, potential_name=chosen.name, potential_digest=chosen.digest)
    return assemble(spec, relaxed_constituents(protocol, partial(LammpsEngine, potential=chosen)))


def run_cascade(
    given: Path | str,
    *,
    potential: Potential | Path | str,
    species: str,
    recoil_energy_eV: float,
    direction: str | tuple[float, float, float],
    snapshot: int = 0,
    seed: int = 1,
    minimum_atoms: int | None = None,
    thermal: Mapping[str, Any] | None = None,
    follow: Mapping[str, Any] | None = None,
    quench: Mapping[str, Any] | None = None,
    protocol: str | None = None,
    starts: Path | str | None = None,
) -> Result:
    """Run one cascade in this process and return its record and its quenched atoms.

    It is the cascade that a campaign of the same parameters and seed contains, with the same id.

    Parameters
    ----------
    given : str or pathlib.Path
        The crystal: a built-in one, or a structure file.
    potential : Potential, str or pathlib.Path
        Or the name of a shipped one, or a folder.
    species : str
        Of the primary knock-on atom.
    recoil_energy_eV : float
    direction : three float, or str
        Cartesian in the frame of the box, or indices of the crystal's cell such as `"[1 0 0]"`.
    snapshot : int
        Which thermal starting state.
    seed : int
        Of the campaign.
    minimum_atoms : int, optional
        Of the box.
    thermal, follow, quench : mapping, optional
        What the sections of an input hold.
    protocol : str, optional
        Name of a protocol that says what they do not.
    starts : str or pathlib.Path, optional
        A folder that keeps the thermal starting states, which take longer than a cascade; by default they are
        made for this cascade alone.

    Raises
    ------
    InputError, PotentialError
        If something cannot be used.
    EngineError
        If the crystal cannot be brought to its starting state; what goes wrong later is an outcome.
    """
    chosen = _potential(potential)
    size = {} if minimum_atoms is None else {"minimum_atoms": minimum_atoms}
    asked = {"crystal": size, "thermal": thermal or {}, "follow": follow or {}, "quench": quench or {}}
    says = with_protocol({**asked, **({"protocol": protocol} if protocol else {})}, origin="run_cascade")
    crystal_spec = _crystal_spec(given, says["crystal"])
    shared = make_protocol(
        crystal_spec,
        chosen,
        thermal=build(ThermalSpec, says["thermal"], origin="thermal"),
        follow=build(FollowSpec, says["follow"], origin="follow"),
        quench=build(QuenchSpec, says["quench"], origin="quench"),
        seed=seed,
        base=Path(),
    )
    recoils = build(
        RecoilsSpec,
        {
            "species": species,
            "recoil_energies_eV": (recoil_energy_eV,),
            "directions": {"scheme": "list", "vectors": (direction,)},
            "snapshots": snapshot + 1,
        },
        origin="run_cascade",
    )
    campaign = make_campaign(title="", protocol=shared, potential=chosen, recoils=(recoils,))
    (planned,) = (one for one in campaign.cascades() if one.snapshot == snapshot)
    make_engine = partial(LammpsEngine, potential=chosen)
    with ExitStack() as kept:
        place = Path(starts or kept.enter_context(tempfile.TemporaryDirectory())) / shared.start_id
        place.mkdir(parents=True, exist_ok=True)
        make_box(shared, place, make_engine)
        for index in range(snapshot + 1):
            make_snapshot(shared, index, place, make_engine)
        return run_one(campaign.spec(planned), starts=place, make_engine=make_engine)


def observe(
    source: AnySpectrumRequest | Spectrum | Path | str,
    model: StoredEnergyModel | Path | str,
    *,
    detector: Detector | None = None,
    edges_eV: ArrayLike | None = None,
    bands: bool = True,
    fallback_species: str | None = None,
    extrapolate: bool = False,
    other_crystal: bool = False,
    name: str = "",
    title: str = "",
) -> Observed:
    """Return what a detector sees of a source of recoils, beside what it would see if none stored energy.

    Parameters
    ----------
    source : Spectrum, str, pathlib.Path or a request
        Of recoils: what `dark_matter`, `reactor`, `solar`, `monoenergetic` and `capture` make; a path is that of a
        file, which `read_spectrum` reads.
    model : StoredEnergyModel, str or pathlib.Path
        A model, or what `load_model` makes one of: `cawo4`, `cawo4-published`, a run directory, a model file.
    detector : Detector, optional
    edges_eV : (n + 1,) array_like, optional
        Bins of the result; by default those of the source.
    bands : bool
        Whether to work out the error bands.
    fallback_species : str, optional
        Whose response stands for elements of the crystal that were not simulated; by default what the model's run
        says, and the only species of a model of one.
    extrapolate : bool
        Use the model outside the simulated energies, even if its run does not say so. A note tells the energies.
    other_crystal : bool
        Use the model for a target that is not its crystal. A note says so.
    name, title : str
        For files and people; by default from the source.

    Raises
    ------
    InputError
        If one of them is something else, or the source cannot be observed with the model.
    """
    if isinstance(source, str | Path):
        source = read_spectrum(source)
    if isinstance(model, str | Path):
        model = load_model(model)
    for given, kinds, what in (
        (
            source,
            (Spectrum, *get_args(AnySpectrumRequest)),
            "a spectrum, what cd.dark_matter(...) makes, or a path",
        ),
        (model, StoredEnergyModel, "a model, as of cd.load_model(...), a path or a name"),
        (detector, (Detector, type(None)), "cd.Detector(resolution_eV=..., threshold_eV=...)"),
    ):
        if not isinstance(given, kinds):
            raise InputError(f"found {given!r} of type {type(given).__name__}, expected {what}")
    return observe_with(
        source,
        model,
        detector=detector,
        edges_eV=edges_eV,
        bands=bands,
        fallback_species=fallback_species,
        extrapolate=extrapolate,
        other_crystal=other_crystal,
        name=name,
        title=title,
    )


def load_potential(given: Path | str) -> Potential:
    """Return a shipped potential by its name, or any potential by its folder: a path, or text with a slash in it.

    Raises
    ------
    InputError, PotentialError
        If there is none, or it is not what its checksums say.
    """
    is_folder = isinstance(given, Path) or os.sep in given
    return potential_of(Path(given) if is_folder else given)


def calculator(given: Potential | Path | str) -> Calculator:
    """Return a potential, its name or its folder as an ASE calculator: eV, eV/A, eV/A^3.

    Raises
    ------
    InputError, PotentialError, EngineError
        If it cannot be loaded.
    """
    return calculator_of(_potential(given))


def check_potential(
    given: Potential | Path | str,
    *,
    crystals: Sequence[str] = (),
    progress: Callable[[ContractResult], None] | None = None,
) -> list[ContractResult]:
    """Return what the contract finds about a potential: whether it is fit for cascades, check by check.

    It is evaluated in a process of its own: one that crashes LAMMPS fails a check.

    Parameters
    ----------
    given : Potential, str or pathlib.Path
        Or its name, or its folder.
    crystals : sequence of str
        Built-in ones or structure files; by default those that it names.
    progress : callable, optional
        Called with each result as it comes.

    Raises
    ------
    InputError, PotentialError
        If it cannot be loaded.
    """
    potential = _potential(given)
    return check_apart(
        potential,
        make_engine=partial(LammpsEngine, potential=potential),
        crystals=contract_crystals(potential, crystals),
        progress=progress,
    )


def _potential(given: Potential | Path | str) -> Potential:
    return given if isinstance(given, Potential) else load_potential(given)


def _crystal_spec(given: Path | str, size: Mapping[str, Any]) -> CrystalSpec:
    """Return a built-in crystal, or that of a file; a file of such a name is meant if it is a path."""
    kind = "file" if isinstance(given, Path) or Path(given).suffix or "\\" in given else "name"
    content = {kind: str(given), **(size or {"minimum_atoms": 1})}
    return resolved(build(CrystalSpec, content, origin="crystal"), Path())
