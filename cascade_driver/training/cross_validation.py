"""Errors on frames that a fit has not seen, and the strengths of penalties that make them small.

Frames of one trajectory, exact copies and frames that end in a common minimum never stand on both sides: otherwise
the errors lie.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cascade_driver.files import whole_file
from cascade_driver.kinds import Array
from cascade_driver.schema import digest
from cascade_driver.training.descriptors import Penalty
from cascade_driver.training.frames import LabelledFrame
from cascade_driver.training.linear import Moments, Observation, Prior, Solution, accumulate, solve, squared_error
from cascade_driver.units import GPA_PER_eV_A3

#: Descriptors of two boxes that differ by less than this share belong to one minimum: thermal motion at 133 K
#: changes them by some percent, two descents into one minimum by 1e-4.
SAME_MINIMUM = 1e-3


def linked_frames(frames: Sequence[LabelledFrame], descriptors: Array | None = None) -> list[str]:
    """Return for each frame the name of the set that it must not be torn from.

    Sets are trajectories, joined where they share an exact copy or, with `descriptors` (frames, p), a structure.
    """
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            name = parent[name]
        return name

    def join(a: str, b: str) -> None:
        first, second = sorted((root(a), root(b)))
        parent[second] = first

    seen: dict[str, str] = {}
    names = [frame.trajectory or frame.structure_id for frame in frames]
    for frame, name in zip(frames, names, strict=True):
        join(name, seen.setdefault(frame.structure_id, name))
    if descriptors is not None:
        for i, j in _alike(frames, descriptors):
            join(names[i], names[j])
    return [root(name) for name in names]


def _alike(frames: Sequence[LabelledFrame], descriptors: Array) -> list[tuple[int, int]]:
    """Return pairs of frames of one composition whose descriptors nearly agree."""
    found = []
    formulas = np.array([frame.atoms.get_chemical_formula() for frame in frames])
    for formula in np.unique(formulas):
        here = np.flatnonzero(formulas == formula)
        x = descriptors[here]
        squares = np.einsum("ij,ij->i", x, x)
        distance = squares[:, None] + squares - 2 * x @ x.T
        close = distance < SAME_MINIMUM**2 * squares.mean()
        found += [(int(here[i]), int(here[j])) for i, j in np.argwhere(np.triu(close, 1))]
    return found


def fold_of(name: str, *, folds: int) -> int:
    """Return the fold of a set of frames: from its name alone, so that new frames move no old ones."""
    return int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) % folds


def moments_by_fold(
    frames: Sequence[LabelledFrame],
    fold: Sequence[int],
    *,
    folds: int,
    observe: Callable[[LabelledFrame], Observation],
    size: int,
    cache: Path | None = None,
    key: str = "",
) -> list[Moments]:
    """Return the moments of each fold; with a `cache` only frames that are new to it are evaluated.

    `key` must name form, weights and core: what decides the rows.
    """
    found = []
    for k in range(folds):
        members = {content_id(frame): frame for frame, at in zip(frames, fold, strict=True) if at == k}
        place = cache / f"{digest([key, k, folds])}.npz" if cache else None
        known = _load(place, size) if place else None
        old = known[1] if known and set(known[1]) <= set(members) else []
        new = [name for name in members if name not in set(old)]
        moments = accumulate((observe(members[name]) for name in new), size=size)
        if known and old:
            moments = Moments.total([known[0], moments])
        if place and new:
            _save(place, moments, [*old, *new])
        found.append(moments)
    return found


def content_id(frame: LabelledFrame) -> str:
    """Return a name of a frame with its labels."""
    labels = [round(frame.energy_eV, 6), frame.group, frame.settings]
    return digest([frame.structure_id, labels, np.round(frame.forces_eV_per_A, 5).ravel().tolist()])


def _save(place: Path, moments: Moments, names: Sequence[str]) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(place) as partial:
        np.savez(
            partial,
            gram=moments.gram,
            moment=moments.moment,
            rest=np.array([moments.square, moments.count]),
            energy_rows=moments.energy_rows,
            energy_eV=moments.energy_eV,
            energy_weight=moments.energy_weight,
            frames=np.array(moments.frames),
            names=np.array(names),
        )


def _load(place: Path, size: int) -> tuple[Moments, list[str]] | None:
    if not place.is_file():
        return None
    with np.load(place) as kept:
        if len(kept["moment"]) != size:
            return None
        moments = Moments(
            gram=np.asfortranarray(kept["gram"]),
            moment=kept["moment"],
            square=float(kept["rest"][0]),
            count=int(kept["rest"][1]),
            energy_rows=kept["energy_rows"],
            energy_eV=kept["energy_eV"],
            energy_weight=kept["energy_weight"],
            frames=[str(name) for name in kept["frames"]],
        )
        return moments, [str(name) for name in kept["names"]]


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """What fits say of frames that they have not seen.

    Attributes
    ----------
    score : float
        Root of the mean weighted square error over all rows.
    solutions : list of Solution
        The fit without each fold.
    """

    score: float
    solutions: list[Solution]


def cross_validate(
    parts: Sequence[Moments],
    *,
    penalties: Sequence[Penalty],
    strengths: Mapping[str, float],
    prior: Prior | None = None,
    total: Moments | None = None,
) -> HeldOut:
    """Return fits without each fold, and their weighted error on it."""
    whole = total or Moments.total(parts)
    solutions, error, count = [], 0.0, 0
    for part in parts:
        fit = solve(whole.without(part), penalties=penalties, strengths=strengths, prior=prior)
        missed, rows = squared_error(part, fit.coefficients)
        error += missed
        count += rows
        solutions.append(fit)
    return HeldOut(score=float(np.sqrt(error / max(count, 1))), solutions=solutions)


def choose_strengths(
    parts: Sequence[Moments],
    *,
    penalties: Sequence[Penalty],
    start: Mapping[str, float],
    steps: Sequence[float] = (10.0, 0.1),
    names: Sequence[str] | None = None,
    prior: Prior | None = None,
    progress: Callable[[Mapping[str, float], float], None] | None = None,
) -> tuple[dict[str, float], float]:
    """Return the strengths with the least error on held-out frames, and that error.

    One strength after the other is multiplied by `steps` as long as that helps.
    """
    best = dict(start)
    total = Moments.total(parts)

    def score(strengths: Mapping[str, float]) -> float:
        value = cross_validate(parts, penalties=penalties, strengths=strengths, prior=prior, total=total).score
        if progress:
            progress(strengths, value)
        return value

    least = score(best)
    for name in names if names is not None else sorted(start):
        for step in steps:
            while True:
                trial = best | {name: best[name] * step}
                value = score(trial)
                if value >= least * (1 - 1e-4):
                    break
                best, least = trial, value
            if best[name] != start[name]:
                break
    return best, least


def choose_prior(
    parts: Sequence[Moments],
    *,
    penalties: Sequence[Penalty],
    strengths: Mapping[str, float],
    prior: Prior,
    progress: Callable[[float, float], None] | None = None,
) -> Prior:
    """Return the prior of that strength, among multiples of its own, with the least error on held-out frames."""
    total = Moments.total(parts)
    found: list[tuple[float, Prior]] = []
    for factor in (0.01, 0.1, 1.0, 10.0, 100.0, 1e4):
        trial = dataclasses.replace(prior, strength=factor * prior.strength)
        held = cross_validate(parts, penalties=penalties, strengths=strengths, prior=trial, total=total)
        found.append((held.score, trial))
        if progress:
            progress(trial.strength, held.score)
    return min(found, key=lambda pair: pair[0])[1]


@dataclass(frozen=True, kw_only=True)
class GroupErrors:
    """Mean absolute errors of a group of frames.

    Attributes
    ----------
    group : str
    frames : int
    energy_meV_per_atom, force_eV_A, stress_GPa : float
        nan where there is no label; force components of all atoms.
    force_rms_eV_A : float
    """

    group: str
    frames: int
    energy_meV_per_atom: float
    force_eV_A: float
    force_rms_eV_A: float
    stress_GPa: float


@dataclass(frozen=True, kw_only=True)
class FrameErrors:
    """Prediction less label of one frame.

    Attributes
    ----------
    frame : LabelledFrame
    energy_eV : float
        Of the box.
    forces_eV_A : (n, 3) float
    stress_eV_A3 : (6,) float
        nan where the fit gives it no weight.
    trusted : bool
        Whether all of the frame entered the fit.
    """

    frame: LabelledFrame
    energy_eV: float
    forces_eV_A: Array
    stress_eV_A3: Array
    trusted: bool


def held_out_errors(
    frames: Sequence[LabelledFrame],
    fold: Sequence[int],
    *,
    solutions: Sequence[Solution],
    observe: Callable[[LabelledFrame], Observation],
) -> list[FrameErrors]:
    """Return the errors of each frame by the fit that has not seen its fold."""
    found = []
    for frame, k in zip(frames, fold, strict=True):
        one = observe(frame)
        energy, forces, stress = one.errors(solutions[k].coefficients)
        found.append(
            FrameErrors(
                frame=frame,
                energy_eV=energy,
                forces_eV_A=forces,
                stress_eV_A3=stress,
                trusted=bool(one.energy_weight > 0 and (one.force_weight > 0).all()),
            )
        )
    return found


def errors_by_group(errors: Sequence[FrameErrors]) -> list[GroupErrors]:
    """Return mean absolute errors of each group and, last, of all; frames that are not trusted are left out."""
    trusted = [e for e in errors if e.trusted]
    groups = sorted({e.frame.group for e in trusted})
    rows = [_group_errors(g, [e for e in trusted if e.frame.group == g]) for g in groups]
    return [*rows, _group_errors("all", trusted)] if trusted else []


def _group_errors(name: str, errors: Sequence[FrameErrors]) -> GroupErrors:
    forces = np.concatenate([e.forces_eV_A.ravel() for e in errors])
    stress = [e.stress_eV_A3 for e in errors if np.isfinite(e.stress_eV_A3).all()]
    return GroupErrors(
        group=name,
        frames=len(errors),
        energy_meV_per_atom=float(np.mean([1000 * abs(e.energy_eV) / len(e.frame.atoms) for e in errors])),
        force_eV_A=float(np.abs(forces).mean()),
        force_rms_eV_A=float(np.sqrt((forces**2).mean())),
        stress_GPa=float(np.abs(stress).mean() * GPA_PER_eV_A3) if stress else float("nan"),
    )
