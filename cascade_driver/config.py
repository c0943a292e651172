"""The input file of a run: a TOML file, typed, unknown keys refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import Field, JsonValue, field_validator, model_validator

from cascade_driver.campaign.executors import require_executor
from cascade_driver.campaign.plan import RecoilsSpec, Region, require_region
from cascade_driver.errors import InputError
from cascade_driver.files import data_folder
from cascade_driver.request import SpectrumRequest
from cascade_driver.schema import build, parameters, plain, read_toml
from cascade_driver.simulation.crystal import CrystalSpec
from cascade_driver.simulation.displacement import DisplacedSpec
from cascade_driver.simulation.frame import Direction
from cascade_driver.simulation.lammps_build import EngineSpec
from cascade_driver.simulation.protocols import with_protocol
from cascade_driver.simulation.spec import FollowSpec, QuenchSpec, ThermalSpec
from cascade_driver.simulation.trajectory import TrajectorySpec
from cascade_driver.spectra.detector import Detector
from cascade_driver.text import closest
from cascade_driver.thresholds.plan import ThresholdSpec

T = TypeVar("T")


@parameters
class PotentialChoice:
    """Which potential: the section `[potential]`.

    Attributes
    ----------
    name : str, optional
        One that ships with the package; `cascade potential list` names them.
    folder : str, optional
        Instead: the path of any potential folder, relative to the input file.
    """

    name: str | None = None
    folder: str | None = None

    @model_validator(mode="after")
    def _is_one(self) -> PotentialChoice:
        if (self.name is None) == (self.folder is None):
            raise ValueError("give either `name` or `folder`")
        return self

    def locate(self, base_folder: Path) -> str | Path:
        """Return what `load_potential` wants."""
        return (base_folder / self.folder).resolve() if self.folder else str(self.name)


@parameters
class DaskSpec:
    """Where Dask finds its workers: the section `[work.dask]`; without it they are started on this machine.

    Attributes
    ----------
    scheduler : str, optional
        Address of a running scheduler, or the path of its scheduler file.
    job_class : str, optional
        Instead: `SLURMCluster`, `PBSCluster`, ... of dask-jobqueue.
    jobs : int
        How many jobs it starts.
    job_options : dict
        Its arguments, e.g. `{ cores = 16, memory = "32 GB", walltime = "12:00:00" }`.
    workers_within_s : float
        Without any worker for so long the work stops; in a busy queue a job may wait for days.
    """

    scheduler: str | None = None
    job_class: str | None = None
    jobs: int = Field(default=1, ge=1, le=10_000)
    job_options: dict[str, JsonValue] = Field(default_factory=dict)
    workers_within_s: float = Field(default=60.0, gt=0)

    @model_validator(mode="after")
    def _is_one(self) -> DaskSpec:
        if self.scheduler is not None and self.job_class is not None:
            raise ValueError("give either `scheduler` or `job_class`")
        return self


@parameters
class SearchWorkSpec:
    """How a search is done; nothing here changes a result: the section `[work]`.

    Attributes
    ----------
    workers : int, optional
        Processes at a time; all cores by default.
    time_limit_s : float
        Wall time of one cascade.
    executor : str
        `processes`, `serial` or `dask`.
    dask : DaskSpec
        For the last.
    allow_failed_contract : bool
        Work also with a LAMMPS in which the potential fails the contract.
    """

    workers: int | None = Field(default=None, ge=1, le=10_000)
    time_limit_s: float = Field(default=6 * 3600.0, gt=0)
    executor: str = "processes"
    dask: DaskSpec = DaskSpec()
    allow_failed_contract: bool = False

    @field_validator("executor")
    @classmethod
    def _is_known(cls, executor: str) -> str:
        try:
            return require_executor(executor)
        except InputError as error:
            raise ValueError(str(error)) from None


@parameters
class WorkSpec(SearchWorkSpec):
    """How the work is done; nothing here changes a result: the section `[work]`.

    Attributes
    ----------
    workers, time_limit_s, executor, dask, allow_failed_contract
        See `SearchWorkSpec`.
    attempts : int
        Tries of a cascade whose process crashed or hung.
    trajectory : TrajectorySpec, optional
        Which film is kept of each cascade; none by default.
    """

    attempts: int = Field(default=2, ge=1)
    trajectory: TrajectorySpec | None = None


@parameters
class AnalysisSpec:
    """What is fitted to the records: the section `[analysis]`.

    Attributes
    ----------
    shape : str
        Of the distribution of the non-zero stored energies: `auto` (the Gaussian, or where the data refuse it the
        cascades themselves), or whatever the data say `gaussian`, `split_gaussian` or `empirical` (the cascades).
        `table` fits nothing, neither a defect probability: for records at energies that lie close together.
    order : int
        Of its location as a polynomial in the recoil energy.
    allow_failures : bool
        Fit although more cascades failed than could be tolerated.
    fallback_species : str, optional
        Whose response stands for elements that were not simulated.
    extrapolate : bool
        Use the model outside of the simulated energies.
    other_crystal : bool
        Use the model for targets that are not its crystal.
    resampling : str
        What the bootstrap behind the statistical error takes as independent: every cascade, whole directions, or
        directions and starting snapshots both (cautious, for campaigns whose cascades of one start resemble each
        other).
    potential_runs : tuple of str
        Runs or model files of the same campaign with other potentials, relative to the run directory: their
        distance from this run is the error of the potential.
    protocol_runs : tuple of str
        The same with another protocol, as a larger box or a longer flight: their distance is its error.
    region : str, optional
        Of a film: fit the recoils that were aimed at `film`, `interface` or `substrate` alone.
    direction : optional
        Of recoils near it alone, as after the tag of a gamma; by default of all, isotropic. Three Cartesian
        components in the frame of the box, or indices of the crystal, `"[0 0 1]"` or `"(1 1 0)"`.
    angular_width_deg : float
        Standard deviation of "near".
    """

    shape: Literal["auto", "gaussian", "split_gaussian", "empirical", "table"] = "auto"
    order: Literal[1, 2] = 1
    allow_failures: bool = False
    fallback_species: str | None = None
    extrapolate: bool = False
    other_crystal: bool = False
    resampling: Literal["cascade", "direction", "direction_and_snapshot"] = "cascade"
    potential_runs: tuple[str, ...] = ()
    protocol_runs: tuple[str, ...] = ()
    region: Region | None = None
    direction: Direction | None = None
    angular_width_deg: float = Field(default=15.0, gt=0)

    @field_validator("direction")
    @classmethod
    def _points_somewhere(cls, direction: tuple[float, float, float] | None) -> tuple[float, float, float] | None:
        if direction is not None and not any(direction):
            raise ValueError("a direction of length zero; give three numbers, not all zero")
        return direction

    @model_validator(mode="after")
    def _width_has_a_direction(self) -> AnalysisSpec:
        # the default is what a section says that was written out in full
        if self.direction is None and self.angular_width_deg != type(self).angular_width_deg:
            raise ValueError(
                "`angular_width_deg` says nothing without `direction`: give `direction`, or leave it out"
            )
        return self


def analysis_with(analysis: AnalysisSpec, **changes: Any) -> AnalysisSpec:
    """Return other settings of the analysis: options of a command in place of what the input says.

    Raises
    ------
    InputError
        If one is unfit.
    """
    return build(AnalysisSpec, {**plain(analysis), **changes}, origin="arguments")


@parameters
class RunInput:
    """The whole input file of `cascade run`.

    Attributes
    ----------
    title : str
        For people.
    seed : int
        Root of all random numbers.
    protocol : str, optional
        Name of a protocol that says what the sections crystal, thermal, follow and quench do not say themselves,
        see `simulation.protocols`.
    crystal, potential, thermal, follow, quench, recoils
        The campaign.
    work, engine
        How it is run, and by which LAMMPS.
    analysis, detector, spectra
        What is done with it afterwards; without `analysis` nothing is.
    """

    title: str = ""
    seed: int = Field(default=1, ge=0)
    protocol: str | None = None
    crystal: CrystalSpec
    potential: PotentialChoice
    thermal: ThermalSpec = ThermalSpec()
    follow: FollowSpec = FollowSpec()
    quench: QuenchSpec = QuenchSpec()
    recoils: tuple[RecoilsSpec, ...] = Field(min_length=1)
    work: WorkSpec = WorkSpec()
    engine: EngineSpec = EngineSpec()
    analysis: AnalysisSpec | None = None
    detector: Detector | None = None
    spectra: tuple[SpectrumRequest, ...] = ()

    @model_validator(mode="after")
    def _models_need_single_recoils(self) -> RunInput:
        if self.analysis is not None and all(group.then for group in self.recoils):
            raise ValueError(
                "[analysis] fits what single recoils store, and every [[recoils]] has later kicks: remove "
                "[analysis], or add [[recoils]] without [[recoils.then]]"
            )
        return self

    @model_validator(mode="after")
    def _a_fitted_species_recoils_in_one_region(self) -> RunInput:
        """What recoils in film and substrate store is not one sample: of several regions a fit takes one."""
        if self.analysis is None:
            return self
        single = [group for group in self.recoils if not group.then]
        if self.analysis.region is not None:
            try:
                require_region(self.analysis.region, [group.region for group in single])
            except InputError as error:
                raise ValueError(f"`analysis.region`: {error}") from None
            return self
        regions: dict[str, set[str]] = {}
        for group in single:
            regions.setdefault(group.species, set()).add(group.region or "box")
        for species, places in regions.items():
            if len(places) > 1:
                raise ValueError(
                    f"[analysis] would fit [[recoils]] of {species} in {' and '.join(sorted(places))} as one "
                    "sample: choose one by its `region`, or leave [analysis] out"
                )
        return self

    @model_validator(mode="after")
    def _spectra_need_a_model(self) -> RunInput:
        if self.spectra and self.analysis is None:
            raise ValueError("[[spectra]] are corrected by a fitted model: add a section [analysis]")
        return self


def read_input(path: Path | str) -> RunInput:
    """Return the content of an input file.

    Raises
    ------
    InputError
        With one line for the first thing that is wrong.
    """
    return _read(RunInput, Path(path))


def _read(kind: type[T], path: Path) -> T:
    """Return an input of some kind, its protocol by name worked out."""
    content = read_toml(path)
    for section, verb, of in (("thresholds", "threshold", ThresholdInput), ("recoils", "run", RunInput)):
        if section in content and of is not kind:
            raise InputError(f"{path}: [[{section}]] make it an input of `cascade {verb}`; give it to that")
    return build(kind, with_protocol(content, origin=str(path)), origin=str(path))


def find_input(given: Path | str, *, room: str = "") -> Path:
    """Return the path of an input file; a shipped one is found by its name from anywhere.

    Parameters
    ----------
    given : pathlib.Path
    room : str
        Folder of the shipped inputs of its kind; those of campaigns by default.

    Raises
    ------
    InputError
        If there is none, naming those that ship.
    """
    given = Path(given)
    if given.is_file():
        return given
    shipped = data_folder("inputs") / room
    if given.suffix == ".toml" and (shipped / given.name).is_file() and given.parent.name in {"", shipped.name}:
        return shipped / given.name
    names = sorted(p.stem for p in shipped.glob("*.toml"))
    close = closest(given.stem, names)
    hint = f"; did you mean {close}.toml?" if close else ""
    ships = ", ".join(f"{name}.toml" for name in names)
    raise InputError(f"{given}: no such input file; shipped with the package are {ships}{hint}")


@parameters
class ThresholdInput:
    """The whole input file of `cascade threshold`.

    Attributes
    ----------
    title : str
        For people.
    seed : int
        Root of all random numbers.
    protocol : str, optional
        As in the input of a campaign.
    crystal, potential, thermal, follow, quench
        As there; a kick is followed for 2 ps at most, in steps of 0.03 angstrom.
    displaced : DisplacedSpec
        When an atom counts as displaced.
    snapshots : int
        Thermal starting states; any equivalent atom of each is kicked, so that a few are many starts.
    thresholds : tuple of ThresholdSpec
        Whose thresholds: tables `[[thresholds]]`.
    work, engine
        How it is done, and by which LAMMPS.
    """

    title: str = ""
    seed: int = Field(default=1, ge=0)
    protocol: str | None = None
    crystal: CrystalSpec
    potential: PotentialChoice
    thermal: ThermalSpec = ThermalSpec()
    follow: FollowSpec = FollowSpec(duration_ps=2.0, max_displacement_A=0.03)
    quench: QuenchSpec = QuenchSpec()
    displaced: DisplacedSpec = DisplacedSpec()
    snapshots: int = Field(default=4, ge=1, le=1000)
    thresholds: tuple[ThresholdSpec, ...] = Field(min_length=1)
    work: SearchWorkSpec = SearchWorkSpec()
    engine: EngineSpec = EngineSpec()

    @field_validator("quench")
    @classmethod
    def _goes_downhill(cls, quench: QuenchSpec) -> QuenchSpec:
        if quench.method is not None:
            raise ValueError(f"a search knows conjugate gradients alone; leave out method = {quench.method!r}")
        return quench


def read_threshold_input(path: Path | str) -> ThresholdInput:
    """Return the content of an input file of thresholds.

    Raises
    ------
    InputError
        With one line for the first thing that is wrong.
    """
    return _read(ThresholdInput, Path(path))
