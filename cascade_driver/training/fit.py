"""From labelled frames and a plan to a potential: one call for each thing that a user does."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from pydantic import Field, model_validator

from cascade_driver.errors import InputError
from cascade_driver.schema import digest, parameters, plain
from cascade_driver.simulation.lammps_engine import SinglePoints
from cascade_driver.simulation.potential import Potential, ZblSwitch, element_pairs
from cascade_driver.training.cross_validation import (
    FrameErrors,
    choose_prior,
    choose_strengths,
    cross_validate,
    fold_of,
    held_out_errors,
    linked_frames,
    moments_by_fold,
)
from cascade_driver.training.descriptors import CombinedForm, LinearForm
from cascade_driver.training.ensemble import anchored, group_draws, scores, spread_factor, write_ensemble
from cascade_driver.training.export import About, bodies_of, write_potential
from cascade_driver.training.frames import PERFECT, LabelledFrame, without_copies
from cascade_driver.training.linear import (
    GroupWeight,
    Moments,
    Observation,
    Prior,
    Solution,
    Weights,
    accumulate,
    cheap_prior,
    observe,
    solve,
)
from cascade_driver.training.pod import PodForm
from cascade_driver.training.snap import SnapForm
from cascade_driver.training.splines import SplineForm
from cascade_driver.training.zbl_core import CORE_GROUP, core_calculator, core_dimers

#: Strength of a penalty that a plan does not name, per squared eV, in the units of weighted rows. Curvatures are
#: what cross-validation chose for 789 frames of CaWO4; sizes only decide what nothing else does.
DEFAULT_STRENGTHS = {
    "one_body_size": 1e-6,
    "two_body_curvature": 0.1,
    "two_body_size": 1e-3,
    "three_body_curvature": 0.3,
    "three_body_size": 1e-2,
    "embedding_curvature": 100.0,
    "embedding_size": 1e-3,
    "snap_size": 1e-4,
    # Only for plans whose splines describe pairs.
    "snap_pairs": 0.0,
    "pod_size": 1e-4,
    "pod_pairs": 0.0,
    "pod_core": 1.0,
}


#: How groups of frames near the crystal begin, and how many times their spread is held below what the fit leaves.
CRYSTAL_GROUPS = (PERFECT, "strain")
_HOLD = 10.0

#: What stands for the strength of the prior among the names of penalties.
CHEAP_STRENGTH = "cheap_strength"


@parameters
class FitPlan:
    """How to fit.

    Attributes
    ----------
    species : tuple of str
        Chemical symbols of the atom types.
    zbl : dict
        Per pair the switch of the ZBL core.
    splines : SplineForm, optional
        Two- and three-body splines with embedding terms.
    snap : tuple of SnapForm
        Bispectra; one chemical, or several channels of weights.
    pod : PodForm, optional
        Proper orthogonal descriptors of up to four atoms.
    weights : Weights
        What errors are put up with. Labels of pairs closer than `zbl`'s inner radius are never trusted.
    strengths : dict
        Of the penalties; see `DEFAULT_STRENGTHS`.
    folds : int
        Parts of the cross-validation.
    """

    species: tuple[str, ...] = Field(min_length=1)
    zbl: dict[str, ZblSwitch]
    splines: SplineForm | None = None
    snap: tuple[SnapForm, ...] = ()
    pod: PodForm | None = None
    weights: Weights = Field(default_factory=Weights)
    strengths: dict[str, float] = Field(default_factory=dict)
    folds: int = Field(default=5, ge=2)

    @model_validator(mode="after")
    def _something_to_fit(self) -> FitPlan:
        if not self.parts:
            raise ValueError("nothing to fit: name `splines`, `snap`, `pod`, or several of them")
        for part in self.parts:
            if part.species != self.species:
                raise ValueError(f"a form of the species {part.species} in a plan for {self.species}")
        pairs = {"-".join(pair) for pair in element_pairs(self.species)}
        if set(self.zbl) != pairs:
            raise ValueError(f"zbl must name the pairs {sorted(pairs)}, found {sorted(self.zbl)}")
        if self.splines and self.splines.zbl != self.zbl:
            raise ValueError("the splines and the plan name different zbl switches; give both the same")
        return self

    @property
    def parts(self) -> tuple[LinearForm, ...]:
        """All forms that add up."""
        return tuple(form for form in (self.splines, *self.snap, self.pod) if form is not None)

    @property
    def all_strengths(self) -> dict[str, float]:
        """Strengths of all penalties of the form."""
        names = {penalty.name for penalty in self.form.penalties()}
        return {name: self.strengths.get(name, DEFAULT_STRENGTHS[name]) for name in sorted(names)}

    @property
    def form(self) -> LinearForm:
        """The form with all its parts."""
        return self.parts[0] if len(self.parts) == 1 else CombinedForm(self.parts)


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A fit and how it does on frames that it has not seen.

    Attributes
    ----------
    plan : FitPlan
    solution : Solution
    strengths : dict
        Of the penalties, as used.
    frames : list of LabelledFrame
        Without exact copies.
    sets : list of str
        Of each frame the set that was never torn apart.
    moments : Moments
    score : float
        Root of the mean weighted square error on held-out frames; nan if not asked for.
    errors : list of FrameErrors
        Held out; empty if not asked for.
    """

    plan: FitPlan
    solution: Solution
    strengths: Mapping[str, float]
    frames: Sequence[LabelledFrame]
    sets: Sequence[str]
    moments: Moments
    score: float
    errors: Sequence[FrameErrors]


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What evaluates frames for a plan; the core runs in LAMMPS, once per frame.

    Attributes
    ----------
    plan : FitPlan
    folder : pathlib.Path
        For the core's table and, in `moments`, what is kept between fits.
    """

    plan: FitPlan
    folder: Path

    @cached_property
    def core(self) -> SinglePoints:
        """LAMMPS with the fixed part alone."""
        return core_calculator(self.folder / "core", species=self.plan.species, zbl=self.plan.zbl)

    @cached_property
    def weights(self) -> Weights:
        """The plan's, with no trust in labels where ZBL rules alone."""
        limits = {name: z.inner_A for name, z in self.plan.zbl.items()} | self.plan.weights.trusted_from_A
        return dataclasses.replace(self.plan.weights, trusted_from_A=limits)

    def observe(self, frame: LabelledFrame) -> Observation:
        """Return a frame as the regression sees it."""
        return observe(frame, self.plan.form, core=self.core, weights=self.weights)

    def core_moments(self) -> Moments:
        """Return the moments of two atoms alone: they must repel where ZBL hands over."""
        groups = {CORE_GROUP: GroupWeight(energy=0.0, stress=0.0)}
        weights = Weights(force_floor_eV_A=0.3, force_share=0.1, groups=groups)
        dimers = core_dimers(species=self.plan.species, zbl=self.plan.zbl)
        seen = (observe(dimer, self.plan.form, core=self.core, weights=weights) for dimer in dimers)
        return accumulate(seen, size=self.plan.form.size)

    @property
    def key(self) -> str:
        """Name of all that decides the rows."""
        return digest(
            [self.plan.form.digest, plain(self.weights), {k: plain(z) for k, z in self.plan.zbl.items()}]
        )


def fit_potential(
    plan: FitPlan,
    frames: Sequence[LabelledFrame],
    *,
    folder: Path,
    choose: Sequence[str] = (),
    cheap: Fit | None = None,
    cheap_strength: float = 0.1,
    judge: bool = True,
    progress: Callable[[str], None] = lambda _line: None,
) -> Fit:
    """Return a potential fitted to labelled frames, with its errors on held-out ones.

    Parameters
    ----------
    plan : FitPlan
    frames : sequence of LabelledFrame
        Exact copies are left out.
    folder : pathlib.Path
        Where normal equations are kept, so that the next fit evaluates only what is new.
    choose : sequence of str
        Penalties whose strengths are chosen by cross-validation, beginning with the plan's; `cheap_strength` for
        that of the prior.
    cheap : Fit, optional
        A fit of the same form to cheap labels, from which these depart.
    cheap_strength : float
        How many of its rows count as much as all of these.
    judge : bool
        Without, held-out errors are left out: they take as long as all the rest.
    progress : callable
        Is told what goes on.

    Raises
    ------
    InputError
        If there are too few frames for the folds.
    FitError
        If the coefficients are not determined.
    """
    form, bench = plan.form, Bench(plan=plan, folder=folder)
    frames = without_copies(frames)
    # Common minima are looked for where a fit is judged: the rows of all frames are half of the work.
    descriptors = np.array([form.rows(frame.atoms, stress=False).energy for frame in frames]) if judge else None
    sets = linked_frames(frames, descriptors)
    fold = [fold_of(name, folds=plan.folds) for name in sets]
    for complaint in unfilled_folds(frames, folds=plan.folds, sets=sets):
        raise InputError(complaint)
    progress(f"{len(frames)} frames of {len(set(sets))} trajectories, {form.size} coefficients")
    parts = moments_by_fold(
        frames,
        fold,
        folds=plan.folds,
        observe=bench.observe,
        size=form.size,
        cache=folder / "moments",
        key=bench.key,
    )
    total = Moments.total([*parts, bench.core_moments()])
    penalties = form.penalties()
    strengths = plan.all_strengths
    prior = None if cheap is None else prior_of(cheap, strength=cheap_strength)
    if prior is not None and CHEAP_STRENGTH in choose:
        prior = choose_prior(
            parts,
            penalties=penalties,
            strengths=strengths,
            prior=prior,
            progress=lambda tried, score: progress(f"held-out error {score:.4f} with {CHEAP_STRENGTH} {tried:g}"),
        )
    names = [name for name in choose if name != CHEAP_STRENGTH]
    if names:
        strengths, _ = choose_strengths(
            parts,
            penalties=penalties,
            start=strengths,
            names=names,
            prior=prior,
            progress=lambda tried, score: progress(f"held-out error {score:.4f} with {dict(tried)}"),
        )
    solution = solve(total, penalties=penalties, strengths=strengths, prior=prior)
    score, errors = math.nan, list[FrameErrors]()
    if judge:
        held = cross_validate(parts, penalties=penalties, strengths=strengths, prior=prior, total=total)
        score = held.score
        progress(f"held-out error {score:.4f}")
        errors = held_out_errors(frames, fold, solutions=held.solutions, observe=bench.observe)
    return Fit(
        plan=plan,
        solution=solution,
        strengths=strengths,
        frames=frames,
        sets=sets,
        moments=total,
        score=score,
        errors=errors,
    )


def unfilled_folds(frames: Sequence[LabelledFrame], *, folds: int, sets: Sequence[str] | None = None) -> list[str]:
    """Return a complaint if the sets of frames (see `linked_frames`) leave a fold empty."""
    names = set(linked_frames(frames) if sets is None else sets)

    def filled(n: int) -> bool:
        return len({fold_of(name, folds=n) for name in names}) == n

    if filled(folds):
        return []
    fewer = next((n for n in range(folds - 1, 1, -1) if filled(n)), None)
    remedy = f"write `folds = {fewer}` into [plan]" if fewer else "label more trajectories"
    return [
        f"{len(frames)} frames of {len(names)} trajectories do not fill {folds} folds; {remedy}, or import frames "
        "that do not come out of each other with `--trajectory each`"
    ]


def prior_of(cheap: Fit, *, strength: float) -> Prior:
    """Return what a fit to cheap labels says before the dear ones."""
    return cheap_prior(cheap.moments, cheap.solution, strength=strength)


def export_fit(fit: Fit, out: Path, *, about: About) -> Potential:
    """Write a fit as a potential's folder and return it."""
    plan = fit.plan
    bodies = bodies_of(plan.form, fit.solution.coefficients, name=out.name)
    return write_potential(out, species=plan.species, zbl=plan.zbl, bodies=bodies, about=about)


def export_ensemble(fit: Fit, out: Path, *, about: About, draws: int, seed: int, folder: Path) -> list[Potential]:
    """Write draws as folders `out-1`, `out-2`, ... and return them.

    They come from the bootstrap over sets of frames, spread such that they miss as the held-out energies do, and
    held where the labels of the crystal and the cores speak: a draw without its crystal could not run.
    """
    bench = Bench(plan=fit.plan, folder=folder)
    seen = ((name, bench.observe(frame)) for name, frame in zip(fit.sets, fit.frames, strict=True))
    votes = scores(seen, fit.solution.coefficients)
    trusted = [error for error in fit.errors if error.trusted]
    row = dict(zip(fit.moments.frames, fit.moments.energy_rows, strict=True))
    rows = np.array([row[error.frame.structure_id] for error in trusted]).T
    missed = np.array([error.energy_eV for error in trusted])
    factor = spread_factor(fit.solution, votes, rows=rows, errors=missed)
    crystal = (bench.observe(frame) for frame in fit.frames if frame.group.startswith(CRYSTAL_GROUPS))
    anchors = Moments.total([accumulate(crystal, size=fit.plan.form.size), bench.core_moments()])
    solution = anchored(fit.solution, anchors, weight=_HOLD * factor**2)
    factor = spread_factor(solution, votes, rows=rows, errors=missed)
    words = f"A draw of the bootstrap over trajectories, spread {factor:.1f} times to err as on held-out frames."
    about = dataclasses.replace(about, description=f"{about.description}\n{words}".strip())
    random = np.random.default_rng(seed)
    drawn = group_draws(solution, votes, draws=draws, random=random, factor=factor)
    return write_ensemble(out, drawn, form=fit.plan.form, zbl=fit.plan.zbl, about=about)
