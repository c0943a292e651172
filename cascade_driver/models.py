"""Stored-energy models and how well they are known: of runs, of files, and published ones."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase.formula import Formula
from numpy.typing import NDArray

from cascade_driver.analysis.directional import toward
from cascade_driver.analysis.imported import Imported, is_import, load_import
from cascade_driver.analysis.model import StoredEnergyModel, fit_stored_energy_model
from cascade_driver.analysis.published import (
    ASSUMPTION_ERROR,
    NAMED_MODELS,
    PUBLISHED_MODELS,
    CaWO4Assumptions,
    assumption_replicas,
    load_stored_energy_model,
    named_hint,
)
from cascade_driver.campaign.contents import RunContents, contents_of, outside_said
from cascade_driver.campaign.plan import Region, require_region
from cascade_driver.campaign.rundir import RunDirectory
from cascade_driver.config import AnalysisSpec, RunInput, analysis_with, read_input
from cascade_driver.errors import FitError, InputError
from cascade_driver.request import DarkMatterRequest
from cascade_driver.simulation.crystal import CrystalSpec, assemble, axes_in_box_A, constituents
from cascade_driver.simulation.frame import Direction, direction_in_box
from cascade_driver.simulation.knock_on import Surroundings, choose_atom, site_rotations, surroundings_of
from cascade_driver.simulation.outcome import CascadeTable, concatenate
from cascade_driver.simulation.spec import Protocol
from cascade_driver.sources.requested import halo_of, requested_spectrum
from cascade_driver.spectra.correction import species_of_elements
from cascade_driver.spectra.daily_modulation import DailyModulation, daily_modulation
from cascade_driver.spectra.ensemble import Ensemble, campaign_ensemble, with_alternatives
from cascade_driver.spectra.ensemble_content import ensemble_content, ensemble_of
from cascade_driver.spectra.observe import check_crystal
from cascade_driver.spectra.recoil_direction import laboratory_velocity_km_s

#: Names of files in a run directory.
INPUT_FILE = "input.toml"
MODEL_FILE = "model.json"


def analysis_of(directory: RunDirectory) -> RunInput:
    """Return the input that a run directory was made from.

    Raises
    ------
    InputError
        If it is not there any more.
    """
    path = directory.path / INPUT_FILE
    if not path.is_file():
        raise InputError(f"{directory.path}: no {INPUT_FILE} there; give the folder that `cascade run` made")
    return read_input(path)


def analysis_section(directory: RunDirectory, **changes: Any) -> AnalysisSpec:
    """Return the section `[analysis]` of a run's input, or its defaults, with changes.

    Raises
    ------
    InputError
        If the input is gone, or a change is unfit.
    """
    return analysis_with(analysis_of(directory).analysis or AnalysisSpec(), **changes)


def fit_run(
    directory: RunDirectory, *, analysis: AnalysisSpec, out: Path | None = None
) -> tuple[CascadeTable, StoredEnergyModel, Path]:
    """Fit the stored-energy model to the finished cascades of a run, and write the model file with its errors.

    Returns
    -------
    table, model, path
        What was fitted, the model, and its file (`model.json` in the run directory by default).

    Raises
    ------
    FitError
        If the records do not allow a fit.
    InputError
        If a run with another potential that the input names cannot be found.
    """
    table, model = fitted_with_errors(directory, analysis=analysis)
    path = out or directory.path / MODEL_FILE
    return table, model, model.save(path)


def fitted_run(
    directory: RunDirectory,
    *,
    analysis: AnalysisSpec,
    contents: RunContents | None = None,
    table: CascadeTable | None = None,
) -> tuple[CascadeTable, StoredEnergyModel]:
    """Return the finished cascades of a run and the model fitted to them, without its errors; nothing is written.

    Where what it holds was read already, it is fitted to that; or to another table of the same cascades.

    Raises
    ------
    FitError
        If the records do not allow a fit.
    InputError
        If the recoils of a region are asked for, and none are aimed at it.
    """
    now = contents or contents_of(directory)
    campaign = now.campaign
    table = now.table(single_kicks=True) if table is None else table
    if len(table) == 0 and not any(planned.id in now.rows for planned in now.planned):
        raise FitError(f"{directory.path}: no finished cascades; run the campaign first")
    if len(table) == 0:
        raise FitError(
            f"{directory.path}: every finished cascade has later kicks and no single recoil energy: a response "
            "is fitted to [[recoils]] without [[recoils.then]]"
        )
    protocol = campaign.protocol
    if analysis.region is not None:
        table = _in_region(table, analysis.region, now)
    if analysis.direction is not None:
        table = near_direction(table, protocol, analysis.direction, angular_width_deg=analysis.angular_width_deg)
    planned = [one for one in now.planned if analysis.region in (None, one.region_name)]
    fitted = fit_stored_energy_model(
        table,
        shape=analysis.shape,
        order=analysis.order,
        allow_failures=analysis.allow_failures,
        provenance={
            "campaign": campaign.title,
            "crystal": protocol.crystal.name or str(protocol.crystal.file),
            "potential": protocol.potential_name,
            "potential_digest": protocol.potential_digest,
            "protocol_digest": protocol.digest,
            "cascades": f"{len(table)} of {len(planned)}",
            **({"region": analysis.region} if analysis.region else {}),
            **_direction_said(analysis),
        },
    )
    return table, dataclasses.replace(
        fitted,
        notes=(
            *([f"fitted to recoils aimed at the {analysis.region} alone"] if analysis.region else []),
            *fitted.notes,
            *outside_said(now.outside),
        ),
        crystal=crystal_formulas(protocol.crystal),
        fallback_species=analysis.fallback_species,
        extrapolate=analysis.extrapolate,
        other_crystal=analysis.other_crystal,
    )


def _in_region(table: CascadeTable, region: Region, contents: RunContents) -> CascadeTable:
    """Return the cascades whose recoils are aimed at one region of a film."""
    require_region(region, [planned.region_name for planned in contents.planned if not planned.then])
    found = table.select(table.region == region)
    if len(found) == 0:
        raise FitError(f"no cascade aimed at the {region} has finished; go on with the campaign first")
    return found


def crystal_formulas(crystal: CrystalSpec) -> tuple[str, ...]:
    """Return the chemical formula of each crystal in the box; none if its file is not there any more."""
    try:
        cells = constituents(crystal)
    except InputError:
        return ()
    return tuple(str(Formula(cell.get_chemical_formula()).reduce()[0].convert("metal")) for cell in cells.values())


def rotations_of_sites(protocol: Protocol, species: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """Return the point group of the site of each species in a run's crystal, (g, 3, 3), by species.

    Raises
    ------
    InputError
        If the crystal is a film, whose sites have too little symmetry to be told from it.
    """
    if protocol.crystal.is_film:
        raise InputError("responses by direction are for bulk crystals: leave the direction out")
    cells = constituents(protocol.crystal)
    box = assemble(protocol.crystal, cells)
    (cell,) = cells.values()
    return {s: site_rotations(cell, int(box.get_array("cell_index")[choose_atom(box, s)])) for s in species}


def surroundings_of_sites(protocol: Protocol, species: Sequence[str]) -> dict[str, Surroundings]:
    """Return what recoils of each species have around them, by species; nothing for a film.

    Raises
    ------
    InputError
        If the file of the crystal is not there any more.
    """
    if protocol.crystal.is_film:
        return {}
    cells = constituents(protocol.crystal)
    box = assemble(protocol.crystal, cells)
    (cell,) = cells.values()
    axes_A = axes_in_box_A(protocol.crystal, cells)
    in_cell = {s: int(box.get_array("cell_index")[choose_atom(box, s)]) for s in species}
    return {s: surroundings_of(cell, index, axes_A=axes_A) for s, index in in_cell.items()}


def near_direction(
    table: CascadeTable, protocol: Protocol, direction: Direction, *, angular_width_deg: float
) -> CascadeTable:
    """Return the cascades of a run weighted for recoils near one direction of the crystal, see `toward`.

    Raises
    ------
    InputError
        If the direction is none, or the crystal a film.
    """
    rotations = rotations_of_sites(protocol, sorted({str(s) for s in table.species}))
    axes_A = axes_in_box_A(protocol.crystal, constituents(protocol.crystal))
    vector = direction_in_box(direction, axes_A=axes_A)
    parts = [
        toward(
            table.select(table.species == species),
            vector,
            rotations=of_site,
            angular_width_deg=angular_width_deg,
        )
        for species, of_site in rotations.items()
    ]
    return concatenate(parts)


def _direction_said(analysis: AnalysisSpec) -> dict[str, str]:
    if analysis.direction is None:
        return {}
    given = analysis.direction
    said = f"{given} of the crystal" if isinstance(given, str) else f"({', '.join(f'{x:g}' for x in given)})"
    return {"direction": f"recoils within {analysis.angular_width_deg:g} degrees of {said}"}


def run_ensemble(
    table: CascadeTable, model: StoredEnergyModel, *, analysis: AnalysisSpec, relative_to: Path | None = None
) -> Ensemble:
    """Return what a run leaves uncertain of its model; always the same for the same cascades.

    Runs with another potential or protocol that its input names are looked for from the run directory,
    `relative_to`.

    Raises
    ------
    InputError, FitError
        If one of those cannot be found or fitted.
    """
    place = relative_to or Path()
    changes = {name: getattr(analysis, name) for name in ("direction", "angular_width_deg") if analysis.direction}
    if analysis.region:
        changes["region"] = analysis.region
    own = campaign_ensemble(
        table,
        model,
        unit=analysis.resampling,
        allow_failures=analysis.allow_failures,
        rng=np.random.default_rng(0),
    )
    potentials, protocols = (
        {name: central_model(str(place / name), **changes) for name in named}
        for named in (analysis.potential_runs, analysis.protocol_runs)
    )
    _require_one_region(model, {**potentials, **protocols})
    return with_alternatives(
        _told_of_same(own, model, potentials), model, potentials=potentials, protocols=protocols
    )


def _require_one_region(model: StoredEnergyModel, others: Mapping[str, StoredEnergyModel]) -> None:
    """Refuse models of recoils in another region of a film than a model is known to be of."""
    own = model.provenance.get("region")
    for name, other in others.items():
        theirs = other.provenance.get("region")
        if own and theirs and own != theirs:
            raise InputError(
                f"{name} is a model of recoils in the {theirs} of a film, {model.name} one of those in the {own}: "
                "give models of one region"
            )


def _told_of_same(
    ensemble: Ensemble, model: StoredEnergyModel, potentials: Mapping[str, StoredEnergyModel]
) -> Ensemble:
    """Return an ensemble with a note on each model that should be of another potential and is of the same one."""
    own = model.provenance.get("potential_digest")
    notes = [
        f"{name} and {model.name} are both of {model.provenance.get('potential', 'one potential')}: their "
        "distance is no error of the potential; another box or time is `[analysis] protocol_runs`"
        for name, other in potentials.items()
        # tables of others and older files do not say
        if own is not None and other.provenance.get("potential_digest") == own
    ]
    return dataclasses.replace(ensemble, notes=(*ensemble.notes, *notes))


def with_errors(
    table: CascadeTable, model: StoredEnergyModel, *, analysis: AnalysisSpec, relative_to: Path | None = None
) -> StoredEnergyModel:
    """Return a model that carries what its run leaves uncertain of it (`run_ensemble`), also into its file.

    A table carries its directions, from which the same errors are drawn again.
    """
    if analysis.shape == "table" and not (analysis.potential_runs or analysis.protocol_runs):
        return model
    ensemble = run_ensemble(table, model, analysis=analysis, relative_to=relative_to)
    return dataclasses.replace(model, uncertainty=ensemble_content(ensemble))


def fitted_with_errors(
    directory: RunDirectory, *, analysis: AnalysisSpec
) -> tuple[CascadeTable, StoredEnergyModel]:
    """Return the finished cascades of a run and the model fitted to them, with its errors; nothing is written.

    Raises
    ------
    FitError, InputError
        As `fitted_run` and `run_ensemble`.
    """
    table, model = fitted_run(directory, analysis=analysis)
    return table, with_errors(table, model, analysis=analysis, relative_to=directory.path)


def fitted_import(folder: Path, *, analysis: AnalysisSpec | None = None) -> tuple[CascadeTable, StoredEnergyModel]:
    """Return the records of a folder of imported tables and their model, with its errors; nothing is written.

    Parameters
    ----------
    folder : pathlib.Path
    analysis : AnalysisSpec, optional
        By default the records stand as they are (`shape = "table"`).

    Raises
    ------
    FitError, InputError, RecordError
        If the folder or its records cannot be used.
    """
    made, table = load_import(folder)
    return table, model_of_import(made, table, folder=folder, analysis=analysis)


def model_of_import(
    made: Imported, table: CascadeTable, *, folder: Path, analysis: AnalysisSpec | None = None
) -> StoredEnergyModel:
    """Return the model of imported records, see `fitted_import`; their folder need not be there yet."""
    asked = analysis or AnalysisSpec(shape="table")
    if asked.direction is not None:
        raise InputError(f"{folder}: of imported tables no axes are known; leave the direction out")
    if asked.region is not None:
        raise InputError(f"{folder}: imported tables know no regions of a film; leave the region out")
    fitted = fit_stored_energy_model(
        table,
        shape=asked.shape,
        order=asked.order,
        allow_failures=asked.allow_failures,
        provenance={
            "campaign": folder.name,
            "crystal": made.crystal,
            "source": made.source or ", ".join(one.origin for one in made.tables),
            "cascades": f"{len(table)} of {len(table)}",
        },
    )
    model = dataclasses.replace(
        fitted,
        notes=(*made.notes, *fitted.notes),
        crystal=(made.crystal,),
        fallback_species=asked.fallback_species,
        extrapolate=asked.extrapolate,
        other_crystal=asked.other_crystal,
    )
    return with_errors(table, model, analysis=asked, relative_to=folder)


def names_an_import(given: str) -> bool:
    """Return whether a model is meant to be a folder of imported tables."""
    return given not in NAMED_MODELS and is_import(Path(given))


def names_a_run(given: str) -> bool:
    """Return whether a model is meant to be a run directory; the name of one that ships never is."""
    return given not in NAMED_MODELS and Path(given).is_dir() and not is_import(Path(given))


def central_model(given: str, **changes: Any) -> StoredEnergyModel:
    """Return the model of a run directory, of a model file, or a published one.

    A run is fitted as its input says, with changes of its [analysis].

    Raises
    ------
    InputError, FitError
        If there is none, or a run does not allow a fit.
    """
    if not names_an_import(given) and not names_a_run(given):
        return model_of_file(given)
    with _complaints_of(given):
        if names_an_import(given):
            return fitted_import(Path(given))[1]
        directory = RunDirectory(Path(given).resolve())
        return fitted_run(directory, analysis=analysis_section(directory, **changes))[1]


@contextlib.contextmanager
def _complaints_of(given: str) -> Iterator[None]:
    """Say of which of several runs it is that it does not allow a fit."""
    try:
        yield
    except FitError as error:
        said = str(error)
        is_named = said.startswith(str(Path(given).resolve()))
        raise FitError(said if is_named else f"{given}: {said}") from None


def model_of_file(given: str, *, assumptions: CaWO4Assumptions | None = None) -> StoredEnergyModel:
    """Return the model of a file, or a published one; the complaint also thinks of run directories.

    Raises
    ------
    InputError
        If there is none.
    """
    if assumptions is None and given not in NAMED_MODELS and not Path(given).exists():
        raise InputError(
            f"{given}: no such model file or run directory, nor imported tables, nor a model of this name; "
            f"{named_hint(given)}"
        )
    return load_stored_energy_model(given, assumptions=assumptions)


def load_model(
    *given: str | Path,
    assumptions: CaWO4Assumptions | None = None,
    assumption_error: float = ASSUMPTION_ERROR,
    direction: Direction | None = None,
    angular_width_deg: float = 15.0,
) -> StoredEnergyModel:
    """Return a stored-energy model with its errors; further ones are the same with other potentials.

    A run, and its model file, brings the bootstrap of its cascades, the covariance of its fits and its alternative
    shapes; a published model draws of what it assumes. The distances of all further ones from the first are the
    error of the potential. They contain the statistical errors of both campaigns, so that this error is too large
    rather than too small.

    Parameters
    ----------
    *given : str or pathlib.Path
        A run directory, a model file, `cawo4` or `cawo4-published`, and further ones. Those that the input of
        the first one names as `potential_runs` and `protocol_runs` count as well.
    assumptions : CaWO4Assumptions, optional
        Of the published model.
    assumption_error : float
        Relative, of each of these assumptions, for the error band.
    direction : optional
        Of the recoils, for runs, as in `AnalysisSpec`; by default what their inputs say.
    angular_width_deg : float
        See `toward`.

    Raises
    ------
    InputError
        If one cannot be found, is named twice or of another crystal, or something without cascades is asked for a
        direction.
    FitError
        If a run does not allow a fit.
    """
    names = [str(one) for one in given]
    first, *others = names
    paths = [name if name in NAMED_MODELS else Path(name).resolve() for name in names]
    if twice := [name for name, path in zip(names, paths, strict=True) if paths.count(path) > 1]:
        raise InputError(f"{twice[0]}: given twice as a model; each potential counts once")
    if direction is not None and (files := [name for name in names if not names_a_run(name)]):
        raise InputError(
            f"{files[0]}: only the cascades of a run directory know directions; give one in its place"
        )
    changes = {} if direction is None else {"direction": direction, "angular_width_deg": angular_width_deg}
    potentials = {name: central_model(name, **changes) for name in others}
    if names_a_run(first):
        if assumptions is not None:
            raise InputError(f"{first}: assumptions are for published models only; a run has its own numbers")
        directory = RunDirectory(Path(first).resolve())
        with _complaints_of(first):
            _, model = fitted_with_errors(directory, analysis=analysis_section(directory, **changes))
    elif names_an_import(first):
        with _complaints_of(first):
            model = fitted_import(Path(first).resolve())[1]
    else:
        model = model_of_file(first, assumptions=assumptions)
    for name, other in potentials.items():
        if model.crystal and other.crystal and set(model.crystal) != set(other.crystal):
            raise InputError(
                f"{name} is a model of {' on '.join(other.crystal)}, {first} one of {' on '.join(model.crystal)}: "
                "give models of one crystal with other potentials"
            )
    _require_one_region(model, potentials)
    ensemble = ensemble_of(model)
    if first in PUBLISHED_MODELS:
        rng = np.random.default_rng(0)
        drawn = assumption_replicas(assumptions, relative_error=assumption_error, rng=rng)
        note = f"{first}: each assumed number varies by {assumption_error:.0%}, the printed means not at all"
        ensemble = dataclasses.replace(ensemble, assumptions={"W": drawn}, notes=(note,))
    elif not potentials:
        return model  # it tells all that there is
    return dataclasses.replace(
        model,
        uncertainty=ensemble_content(
            with_alternatives(_told_of_same(ensemble, model, potentials), model, potentials=potentials)
        ),
    )


def modulation_of_run(
    directory: RunDirectory,
    request: DarkMatterRequest,
    *,
    times: Sequence[datetime.datetime],
    latitude_deg: float,
    longitude_deg: float,
    crystal: NDArray[np.float64],
    threshold_eV: float,
    fallback_species: str | None = None,
    other_crystal: bool = False,
) -> DailyModulation:
    """Return how the counts of dark matter above a threshold vary with the hour, by the cascades of a run.

    Parameters
    ----------
    directory : RunDirectory
    request : DarkMatterRequest
    times : sequence of datetime.datetime
    latitude_deg : float
        Of the laboratory; north is positive.
    longitude_deg : float
        Of the laboratory; east is positive.
    crystal : (3, 3) float
        From the frame of the laboratory to that of the crystal, see `crystal_from_laboratory`.
    threshold_eV : float
        Observed energy from which recoils count.
    fallback_species : str, optional
        Whose response stands for elements that were not simulated; by default what the run says.
    other_crystal : bool
        As in `observe`.

    Raises
    ------
    InputError, FitError
        As `daily_modulation`; or if the target is not the crystal of the run.
    """
    analysis = analysis_section(directory)
    table, model = fitted_run(directory, analysis=analysis)
    fallback = fallback_species or model.response_fallback
    spectrum = requested_spectrum(request)
    used = species_of_elements(spectrum.elements, list(model.species), fallback)
    check_crystal(
        model.crystal, target=request.target, used=used, other_crystal=other_crystal or model.other_crystal
    )
    velocities = [
        crystal @ laboratory_velocity_km_s(t, latitude_deg=latitude_deg, longitude_deg=longitude_deg)
        for t in times
    ]
    return daily_modulation(
        spectrum,
        table,
        velocities_km_s=np.array(velocities),
        mass_GeV=request.mass_GeV,
        rotations=rotations_of_sites(directory.load().protocol, sorted(model.species)),
        threshold_eV=threshold_eV,
        fallback_species=fallback,
        allow_failures=analysis.allow_failures,
        halo=halo_of(request),
    )
