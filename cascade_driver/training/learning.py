"""How the errors fall as labels come: fits to growing parts of the frames, judged by frames that none has seen."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cascade_driver.errors import InputError
from cascade_driver.schema import findings
from cascade_driver.training.cross_validation import linked_frames
from cascade_driver.training.extended_xyz import read_frames
from cascade_driver.training.fit import Bench, Fit, prior_of
from cascade_driver.training.fit_input import FitInput, frames_of, run_cheap_fit
from cascade_driver.training.frames import PERFECT, LabelledFrame, from_the_crystal, without_copies
from cascade_driver.training.linear import Moments, Observation, accumulate, solve
from cascade_driver.training.propose import CASCADE_END
from cascade_driver.training.validate import LEARNING, Measure, Section

#: Parts of the frames that are fitted to.
SHARES = (0.0625, 0.125, 0.25, 0.5, 1.0)


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """A fit to a part of the frames.

    Attributes
    ----------
    frames : int
        Fitted to.
    energy_meV_per_atom, force_eV_A : float
        Mean absolute errors on the test frames.
    end_labels_eV, end_predicted_eV : tuple of float
        Stored energies of the quenched cascades among them.
    """

    frames: int
    energy_meV_per_atom: float
    force_eV_A: float
    end_labels_eV: tuple[float, ...]
    end_predicted_eV: tuple[float, ...]


def learning_curve(
    wanted: FitInput,
    test: Path,
    *,
    cache: Path,
    progress: Callable[[str], None] = lambda _line: None,
) -> list[CurvePoint]:
    """Return fits to growing parts of an input's dear frames (`SHARES`), each with its errors on test frames.

    Whole trajectories come in an order that only their names decide, so each part contains the one before. Cheap
    labels count in all of them; penalties have the input's strengths.

    Parameters
    ----------
    wanted : FitInput
    test : Path
        Labelled frames, the perfect crystal among them. Trajectories that they share with the input are left out
        of the fits.
    cache : Path
        Of the fit.
    progress : callable
        Is told what goes on.

    Raises
    ------
    InputError
        If the input has no dear frames, or the test no crystal.
    FitError
        If the coefficients are not determined.
    """
    judges = from_the_crystal(read_frames(test), where=str(test))
    seen = {frame.trajectory for frame in judges if frame.trajectory}
    frames = frames_of(wanted)
    dear = [f for f in without_copies(frames["dear"]) if f.group == PERFECT or f.trajectory not in seen]
    if not dear:
        raise InputError(f"{wanted.title}: no dear frames; a learning curve needs labels to learn from")
    cheap = run_cheap_fit(wanted, frames, cache=cache, progress=progress)
    bench = Bench(plan=wanted.plan, folder=cache)
    size = wanted.plan.form.size
    judged = [bench.observe(frame) for frame in judges]
    points, moments = [], bench.core_moments()
    dimers = len(moments.frames)
    for part in _growing_parts(dear, SHARES):
        new = accumulate((bench.observe(frame) for frame in part), size=size)
        moments = Moments.total([moments, new])
        points.append(_point(wanted, moments, judged, cheap=cheap, frames=len(moments.frames) - dimers))
        last = points[-1]
        progress(f"{last.frames} frames: {last.energy_meV_per_atom:.2f} meV/atom, {last.force_eV_A:.3f} eV/A")
    return points


def _growing_parts(frames: Sequence[LabelledFrame], shares: Sequence[float]) -> list[list[LabelledFrame]]:
    """Return what each share adds to the one before, by whole trajectories; the perfect crystal comes first."""
    sets = linked_frames(frames)

    def place(name: str) -> str:
        return hashlib.sha256(name.encode()).hexdigest()

    order = sorted(range(len(frames)), key=lambda k: (frames[k].group != PERFECT, place(sets[k]), k))
    borders = [0]
    for share in shares:
        border = max(1, round(share * len(order)))
        while border < len(order) and sets[order[border]] == sets[order[border - 1]]:
            border += 1
        borders.append(max(border, borders[-1]))
    return [[frames[k] for k in order[a:b]] for a, b in itertools.pairwise(borders) if b > a]


def _point(
    wanted: FitInput, moments: Moments, judged: Sequence[Observation], *, cheap: Fit | None, frames: int
) -> CurvePoint:
    plan = wanted.plan
    prior = None if cheap is None else prior_of(cheap, strength=wanted.cheap_strength)
    fit = solve(moments, penalties=plan.form.penalties(), strengths=plan.all_strengths, prior=prior)
    errors = [one.errors(fit.coefficients) for one in judged]
    ends = [k for k, one in enumerate(judged) if one.frame.group == CASCADE_END]
    labels = [judged[k].frame.energy_eV for k in ends]
    per_atom = [abs(error[0]) / len(one.frame.atoms) for error, one in zip(errors, judged, strict=True)]
    forces: NDArray[np.float64] = np.concatenate([error[1].ravel() for error in errors])
    return CurvePoint(
        frames=frames,
        energy_meV_per_atom=1e3 * float(np.mean(per_atom)),
        force_eV_A=float(np.abs(forces).mean()),
        end_labels_eV=tuple(labels),
        end_predicted_eV=tuple(label + errors[k][0] for k, label in zip(ends, labels, strict=True)),
    )


@findings
class LearningCurves:
    """A learning curve by columns, as a section keeps it.

    Attributes
    ----------
    frames, energy_meV_per_atom, force_eV_A : (n,) tuple
        As of `CurvePoint`.
    end_labels_eV, end_predicted_eV : (n, ends) tuple of float
    """

    frames: tuple[int, ...]
    energy_meV_per_atom: tuple[float, ...]
    force_eV_A: tuple[float, ...]
    end_labels_eV: tuple[tuple[float, ...], ...]
    end_predicted_eV: tuple[tuple[float, ...], ...]


def learning_curves(points: Sequence[CurvePoint]) -> LearningCurves:
    """Return a learning curve by columns."""
    return LearningCurves(
        frames=tuple(point.frames for point in points),
        energy_meV_per_atom=tuple(point.energy_meV_per_atom for point in points),
        force_eV_A=tuple(point.force_eV_A for point in points),
        end_labels_eV=tuple(point.end_labels_eV for point in points),
        end_predicted_eV=tuple(point.end_predicted_eV for point in points),
    )


def learning_section(points: Sequence[CurvePoint], *, test: str) -> Section:
    """Return a learning curve as a section of a validation."""
    measures = [measure for point in points for measure in _measures(point)]
    remark = f"Fits to growing parts of the frames, judged by those of {test}, which none has seen."
    return Section(measures=tuple(measures), curves=asdict(learning_curves(points)), remark=remark)


def _measures(point: CurvePoint) -> list[Measure]:
    measure = partial(Measure, section=LEARNING)
    name = f"{point.frames} frames"
    measures = [
        measure(name=f"{name}, energy MAE", value=point.energy_meV_per_atom, unit="meV/atom"),
        measure(name=f"{name}, force MAE", value=point.force_eV_A, unit="eV/A"),
    ]
    if point.end_labels_eV:
        labels, ours = float(np.mean(point.end_labels_eV)), float(np.mean(point.end_predicted_eV))
        ends = f"{name}, mean of {len(point.end_labels_eV)} end states"
        measures.append(measure(name=ends, value=ours, unit="eV", reference=labels, origin="their labels"))
    return measures
