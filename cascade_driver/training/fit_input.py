"""The input of `cascade train fit`: which frames, which form, and what the potential is called."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from cascade_driver.errors import InputError
from cascade_driver.files import write_atomically
from cascade_driver.schema import build, parameters, read_toml
from cascade_driver.simulation.potential import Potential
from cascade_driver.training.cross_validation import GroupErrors, errors_by_group
from cascade_driver.training.export import About
from cascade_driver.training.extended_xyz import read_frames
from cascade_driver.training.fit import Fit, FitPlan, export_ensemble, export_fit, fit_potential, unfilled_folds
from cascade_driver.training.frames import LabelledFrame, from_the_crystal, without_own_crystal
from cascade_driver.training.importing import contradictions, wrong_derivatives


@parameters
class HeldBlocks:
    """Stretches of a file that are kept for tests: neighbours in a trajectory are too alike to test each other.

    Attributes
    ----------
    frames : int
        Successive frames of a block.
    every : int
        The last of so many blocks is not fitted to.
    """

    frames: int = Field(ge=1)
    every: int = Field(ge=2)

    def holds(self, place: int) -> bool:
        """Return whether the frame at a place of the file, from 0, is kept for tests."""
        return place // self.frames % self.every == self.every - 1


@parameters
class DataFile:
    """Labelled frames.

    Attributes
    ----------
    file : str
        Beside the input, or absolute.
    labels : str
        `dear` ones (first principles) decide; `cheap` ones (a universal potential), many and biased, say what the
        dear ones leave open.
    leave_out : tuple of str
        Groups that are not fitted to.
    hold_blocks : HeldBlocks, optional
        Stretches that are not fitted to.
    stop : int, optional
        Nor are the frames from this place of the file on: a flight that goes on stays a test.
    crystal : str
        File whose frames of the group `perfect` energies count from, if this one has none: same settings!
    """

    file: str
    labels: Literal["dear", "cheap"] = "dear"
    leave_out: tuple[str, ...] = ()
    hold_blocks: HeldBlocks | None = None
    stop: int | None = Field(default=None, ge=1)
    crystal: str | None = None

    def fitted(self, frames: Sequence[LabelledFrame]) -> list[LabelledFrame]:
        """Return those of the file's frames that are fitted to."""
        return [
            frame
            for place, frame in enumerate(frames[: self.stop])
            if frame.group not in self.leave_out and not (self.hold_blocks and self.hold_blocks.holds(place))
        ]


@parameters
class FitInput:
    """The content of an input.

    Attributes
    ----------
    title, description, origin : str
        Of the potential.
    crystals : tuple of str
        That its contract must hold for.
    data : tuple of DataFile
    plan : FitPlan
    choose : tuple of str
        Penalties whose strengths are chosen by cross-validation.
    cheap_strength : float
        How many rows of the cheap labels count as much as all the dear ones.
    """

    title: str
    description: str = ""
    origin: str
    crystals: tuple[str, ...] = ()
    data: tuple[DataFile, ...] = Field(min_length=1)
    plan: FitPlan
    choose: tuple[str, ...] = ()
    cheap_strength: float = Field(default=0.1, gt=0)


def read_fit_input(path: Path | str) -> FitInput:
    """Return the content of a TOML file; its splines and bispectra need not repeat the species and switches.

    Raises
    ------
    InputError
        With all that is wrong in it and, if anything is, in the frames that it names.
    """
    path = Path(path)
    if path.suffix in {".xyz", ".extxyz", ".gz"}:
        raise InputError(f"{path}: frames, expected an input that names them; copy inputs/training/minimal.toml")
    content = read_toml(path)
    complaints = []
    try:
        wanted = build(
            FitInput, content | {"plan": _complete(content.get("plan", {}))}, origin=str(path), every=True
        )
    except InputError as error:
        complaints.append(str(error))
    files = _files_of(content.get("data"))
    complaints += [
        f"{path.parent / name}: no such file; `data` names frames beside {path.name}"
        for names in files
        for name in names
        if not (path.parent / name).is_file()
    ]
    if complaints:
        complaints += _complaints_of_files(path, files, content)
        raise InputError("; ".join(complaints))
    return dataclasses.replace(
        wanted,
        data=tuple(
            dataclasses.replace(
                one,
                file=str(path.parent / one.file),
                crystal=None if one.crystal is None else str(path.parent / one.crystal),
            )
            for one in wanted.data
        ),
    )


def _files_of(data: Any) -> list[list[str]]:
    """Return the files of each entry of `data` that is as it should be: the frames, and their crystal."""
    entries = [one for one in data if isinstance(one, Mapping)] if isinstance(data, list) else []
    names = [[one.get("file"), one.get("crystal")] for one in entries]
    return [[name for name in pair if isinstance(name, str)] for pair in names if isinstance(pair[0], str)]


def _complaints_of_files(path: Path, files: Sequence[Sequence[str]], content: Mapping[str, Any]) -> list[str]:
    """Return what would be complained of next: the frames of an input that is wrong for another reason."""
    complaints, frames = list[str](), list[LabelledFrame]()
    for names in files:
        try:
            *_, crystal = read = [read_frames(path.parent / name) for name in names]
            frames += from_the_crystal(read[0], crystal=crystal, where=names[0])
        except InputError as error:
            complaints.append(str(error))
    plan = content.get("plan")
    folds = plan.get("folds", 5) if isinstance(plan, Mapping) else 5
    if frames and isinstance(folds, int) and folds > 1:
        complaints += unfilled_folds(frames, folds=folds)
    missing = {str(path.parent / name) for names in files for name in names if not (path.parent / name).is_file()}
    return [one for one in complaints if not any(one.startswith(name) for name in missing)]


def _complete(plan: Any) -> Any:
    """Return the plan's table with species and switches handed down to its forms."""
    if not isinstance(plan, Mapping):
        return plan
    shared = {name: plan[name] for name in ("species", "zbl") if name in plan}
    complete = dict(plan)
    if isinstance(plan.get("splines"), Mapping):
        complete["splines"] = {**shared, **plan["splines"]}
    species = {name: value for name, value in shared.items() if name == "species"}
    if isinstance(plan.get("pod"), Mapping):
        complete["pod"] = {**species, **plan["pod"]}
    if isinstance(plan.get("snap"), list):
        complete["snap"] = [{**species, **one} if isinstance(one, Mapping) else one for one in plan["snap"]]
    return complete


def frames_of(
    wanted: FitInput, *, warn: Callable[[str], None] = lambda _line: None
) -> dict[str, list[LabelledFrame]]:
    """Return the frames of an input by kind of labels; `warn` is told what looks wrong with them.

    Raises
    ------
    InputError
        If there are none that may be fitted to.
    """
    found: dict[str, list[LabelledFrame]] = {"cheap": [], "dear": []}
    complaints = []
    for data in wanted.data:
        try:
            crystal = read_frames(Path(data.crystal)) if data.crystal else None
            labelled = read_frames(Path(data.file))
            frames = from_the_crystal(labelled, crystal=crystal, where=data.file)
        except InputError as error:
            complaints.append(str(error))
            continue
        for settings in without_own_crystal(labelled, crystal=crystal):
            warn(f"{data.file}: labels of `{settings}` count from the crystal of other settings")
        found[data.labels] += data.fitted(frames)
        foreign = {symbol for frame in frames for symbol in frame.atoms.symbols} - set(wanted.plan.species)
        if foreign:
            complaints.append(f"{data.file}: holds {', '.join(sorted(foreign))}; add it to `species` in [plan]")
    complaints += [
        complaint
        for frames in found.values()
        if frames
        for complaint in unfilled_folds(frames, folds=wanted.plan.folds)
    ]
    if complaints:
        raise InputError("; ".join(complaints))
    if not any(found.values()):
        raise InputError("no frames to fit to; name files in `data`")
    return found


def run_fit(wanted: FitInput, *, cache: Path, progress: Callable[[str], None]) -> Fit:
    """Return the fit that an input asks for: the cheap labels first, then the dear ones from there.

    Raises
    ------
    InputError, FitError
        See `fit_potential`.
    """
    frames = frames_of(wanted, warn=lambda line: progress(f"warning: {line}"))
    for line in [*wrong_derivatives(frames["dear"] + frames["cheap"]), *contradictions(frames["dear"])]:
        progress(f"warning: {line}")
    cheap = run_cheap_fit(wanted, frames, cache=cache, progress=progress)
    if not frames["dear"]:
        assert cheap is not None
        return cheap
    return fit_potential(
        wanted.plan,
        frames["dear"],
        folder=cache,
        choose=wanted.choose,
        cheap=cheap,
        cheap_strength=wanted.cheap_strength,
        progress=lambda line: progress(f"dear labels: {line}"),
    )


def run_cheap_fit(
    wanted: FitInput,
    frames: Mapping[str, Sequence[LabelledFrame]],
    *,
    cache: Path,
    progress: Callable[[str], None],
) -> Fit | None:
    """Return the fit to the cheap labels of an input alone, if there are any; `frames` are those of `frames_of`.

    Raises
    ------
    InputError, FitError
        See `fit_potential`.
    """
    if not frames["cheap"]:
        return None
    return fit_potential(
        wanted.plan,
        frames["cheap"],
        folder=cache,
        choose=() if frames["dear"] else wanted.choose,
        judge=not frames["dear"],
        progress=lambda line: progress(f"{'cheap labels' if frames['dear'] else 'labels'}: {line}"),
    )


def write_fit(
    wanted: FitInput, fit: Fit, out: Path, *, cache: Path, ensemble: int = 0, seed: int = 1
) -> tuple[list[GroupErrors], list[Potential]]:
    """Write the potential and, beside it, draws of its ensemble; return the held-out errors and the potentials.

    Parameters
    ----------
    wanted : FitInput
    fit : Fit
        Of it.
    out : pathlib.Path
        A new folder; those of the draws stand beside it.
    cache : pathlib.Path
    ensemble : int
        Number of draws to write beside it.
    seed : int
        Of the draws.

    Raises
    ------
    InputError
        If a folder exists.
    """
    errors = errors_by_group(fit.errors)
    about = About(
        title=wanted.title,
        description=f"{wanted.description.strip()}\n{_in_words(fit, errors)}".strip(),
        origin=wanted.origin,
        crystals=wanted.crystals,
    )
    potentials = [export_fit(fit, out, about=about)]
    summary = {
        "frames": len(fit.frames),
        "strengths": dict(fit.strengths),
        "score": fit.score,
        "held_out_errors": [dataclasses.asdict(one) for one in errors],
    }
    write_atomically(out / "fit.json", json.dumps(summary, indent=1) + "\n")
    if ensemble:
        potentials += export_ensemble(fit, out, about=about, draws=ensemble, seed=seed, folder=cache)
    return errors, potentials


def _in_words(fit: Fit, errors: Sequence[GroupErrors]) -> str:
    everything = errors[-1]
    return (
        f"Fitted to {len(fit.frames)} frames; on frames not seen {everything.energy_meV_per_atom:.1f} meV/atom, "
        f"{everything.force_eV_A:.3f} eV/A."
    )
