"""Linear potentials: what is fitted is what LAMMPS runs, and quoted errors are those of unseen frames."""

import dataclasses

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from forms import PAIRWISE, SPECIES, SPLINES, ZBL, crowd

from cascade_driver.errors import FitError, InputError
from cascade_driver.simulation.lammps_engine import SinglePoints
from cascade_driver.simulation.potential import load_potential
from cascade_driver.training.cross_validation import (
    choose_prior,
    choose_strengths,
    cross_validate,
    errors_by_group,
    fold_of,
    held_out_errors,
    linked_frames,
    moments_by_fold,
)
from cascade_driver.training.descriptors import CombinedForm
from cascade_driver.training.ensemble import (
    anchored,
    group_draws,
    posterior_draws,
    scores,
    spread_factor,
    write_ensemble,
)
from cascade_driver.training.export import About, bodies_of, write_potential
from cascade_driver.training.fit import Bench, FitPlan
from cascade_driver.training.frames import LabelledFrame
from cascade_driver.training.linear import (
    GroupWeight,
    Moments,
    Weights,
    accumulate,
    cheap_prior,
    force_spread_eV_A,
    observe,
    solve,
)
from cascade_driver.training.snap import InnerSwitch, SnapForm
from cascade_driver.training.splines import Density, Embedding, SplineForm
from cascade_driver.training.zbl_core import core_calculator, core_dimers

ABOUT = About(title="a test", description="random", origin="tests")
INNER = {"Al": InnerSwitch(middle_A=1.6, half_width_A=0.4), "O": InnerSwitch(middle_A=1.2, half_width_A=0.3)}
CHEMICAL = SnapForm(species=SPECIES, cutoff_A=4.0, twojmax=2, chemical=True, inner=INNER)
CHANNELS = CombinedForm(
    tuple(
        SnapForm(species=SPECIES, cutoff_A=4.0, twojmax=4, inner=INNER, weights={"Al": 1.0, "O": w})
        for w in (1.0, 0.3, -0.5)
    )
)
PAIRS = SplineForm(species=SPECIES, zbl=ZBL, two_body_cutoff_A=5.0, two_body_knot_A=0.3, three_body_cutoff_A=0)
PUBLISHED = CombinedForm((PAIRS, *CHANNELS.parts))  # the kind of the published potential of CaWO4
FORMS = {
    "published": PUBLISHED,
    "splines": SPLINES,
    "chemical": CHEMICAL,
    "channels": CHANNELS,
    "both": CombinedForm((SPLINES, CHEMICAL)),
}


def smooth_coefficients(form, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(scale=0.3, size=form.size)


@pytest.fixture
def core(tmp_path):
    points = core_calculator(tmp_path / "core", species=SPECIES, zbl=ZBL)
    yield points
    points.close()


def test_a_fit_may_be_written_to_a_folder_of_any_name(tmp_path):
    form = FORMS[next(iter(FORMS))]
    energies = []
    for name in ("made", "Läufe $1 'x' &", "中文"):
        bodies = bodies_of(form, smooth_coefficients(form, 1), name=name)
        potential = write_potential(tmp_path / name, species=SPECIES, zbl=ZBL, bodies=bodies, about=ABOUT)
        run = SinglePoints(species=SPECIES, commands=potential.commands, folders=potential.folders)
        energies.append(run(crowd(1)).energy_eV)
        run.close()
    assert energies == [energies[0]] * 3


@pytest.mark.parametrize("name", FORMS)
def test_lammps_runs_what_the_fit_saw(name, tmp_path, core):
    form = FORMS[name]
    coefficients = smooth_coefficients(form, 1)
    bodies = bodies_of(form, coefficients, name="body")
    potential = write_potential(tmp_path / "made", species=SPECIES, zbl=ZBL, bodies=bodies, about=ABOUT)
    assert load_potential(potential.folder).digest == potential.digest
    run = SinglePoints(species=SPECIES, commands=potential.commands, folders=potential.folders)
    for seed in (1, 2):
        box = crowd(seed)
        whole, fixed, rows = run(box), core(box), form.rows(box)
        forces = fixed.forces_eV_A + np.tensordot(coefficients, rows.forces_per_A, axes=1)
        assert np.abs(forces).max() > 1  # there is something to agree about
        assert whole.energy_eV == pytest.approx(fixed.energy_eV + coefficients @ rows.energy, abs=1e-6)
        assert np.abs(whole.forces_eV_A - forces).max() < 1e-5
        stress = (whole.stress_eV_A3 - fixed.stress_eV_A3)[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
        assert np.abs(stress - coefficients @ rows.stress_per_A3).max() < 1e-6
    run.close()


def test_rows_are_derivatives_of_the_energy_rows():
    box, h = crowd(3), 1e-4
    rows = SPLINES.rows(box)
    for atom, axis in ((0, 0), (3, 1), (6, 2)):
        ends = []
        for sign in (1, -1):
            moved = box.copy()
            moved.positions[atom, axis] += sign * h
            ends.append(SPLINES.rows(moved).energy)
        slope = -(ends[0] - ends[1]) / (2 * h)
        assert np.abs(slope - rows.forces_per_A[:, atom, axis]).max() < 1e-5


def test_nothing_but_zbl_is_left_below_the_inner_radius(core):
    for (a, b), radii in ((name.split("-"), z) for name, z in ZBL.items()):
        pair = Atoms([a, b], positions=[[0, 0, 0], [0.98 * radii.inner_A, 0, 0]], cell=[12.0] * 3, pbc=True)
        assert np.abs(SPLINES.rows(pair).forces_per_A).max() < 1e-12


# -- the solver, on labels made by a potential of the form itself ------------------------------------------------

SMALL = SplineForm(
    species=SPECIES,
    zbl=ZBL,
    two_body_cutoff_A=4.5,
    two_body_knot_A=0.5,
    three_body_cutoff_A=3.0,
    leg_knot_A=dict.fromkeys(ZBL, 0.6),
    far_knot_A=dict.fromkeys(ZBL, 1.2),
)
STRENGTHS = {p.name: 1e-6 for p in SMALL.penalties()}
WEIGHTS = Weights(energy_eV_per_atom=0.002)


def labelled(seeds, core, truth, *, form=SMALL, noise_eV_A=0.0, group="", trajectories=None, nearest_A=1.3):
    """Frames whose labels are those of a potential of the form, with noise on the forces."""
    frames = []
    for k, seed in enumerate(seeds):
        box = crowd(seed, nearest_A=nearest_A)
        rows, fixed = form.rows(box), core(box)
        random = np.random.default_rng(1000 + seed)
        forces = fixed.forces_eV_A + np.tensordot(truth, rows.forces_per_A, axes=1)
        stress = fixed.stress_eV_A3[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]] + truth @ rows.stress_per_A3
        frames.append(
            LabelledFrame(
                atoms=box,
                energy_eV=fixed.energy_eV + float(truth @ rows.energy),
                forces_eV_per_A=forces + noise_eV_A * random.normal(size=forces.shape),
                stress_eV_per_A3=stress,
                group=group,
                trajectory=trajectories[k] if trajectories else f"t{seed}",
            )
        )
    return frames


def observer(core, form=SMALL, weights=WEIGHTS):
    return lambda frame: observe(frame, form, core=core, weights=weights)


@pytest.fixture
def truth():
    return smooth_coefficients(SMALL, 7)


def test_a_potential_of_the_form_is_found_again(core, truth):
    see = observer(core)
    fit = solve(
        accumulate(map(see, labelled(range(12), core, truth)), size=SMALL.size),
        penalties=SMALL.penalties(),
        strengths=STRENGTHS,
    )
    energy, forces, stress = see(labelled([99], core, truth)[0]).errors(fit.coefficients)
    assert abs(energy) < 1e-3
    assert np.abs(forces).max() < 2e-3
    assert np.abs(stress).max() < 1e-4


def test_normal_equations_are_those_of_the_stacked_rows(core, truth):
    frames = labelled(range(4), core, truth, noise_eV_A=0.3)
    see = observer(core)
    fit = solve(accumulate(map(see, frames), size=SMALL.size), penalties=SMALL.penalties(), strengths=STRENGTHS)
    rows, target = [], []
    for one in map(see, frames):
        row, y = one.weighted()
        rows += [row.T, one.energy_weight * one.design.energy[None]]
        target += [y, [one.energy_weight * one.energy_eV]]
    for penalty in SMALL.penalties():
        rows.append(np.sqrt(STRENGTHS[penalty.name]) * penalty.rows.toarray())
        target.append(np.zeros(penalty.rows.shape[0]))
    expected = np.linalg.lstsq(np.concatenate(rows), np.concatenate(target), rcond=None)[0]
    difference = np.concatenate(rows[:-5]) @ (fit.coefficients - expected)
    assert np.abs(difference).max() < 1e-5


def test_posterior_spread_covers_the_truth(core, truth):
    """Pulls of forces, with noise of the tolerated size; one in 1e4 such trials is outside the bounds."""
    weights = Weights(force_floor_eV_A=0.3, force_share=0.0, energy_eV_per_atom=10.0, stress_eV_A3=100.0)
    see = observer(core, weights=weights)
    frames = labelled(range(15), core, truth, noise_eV_A=0.3)
    fit = solve(accumulate(map(see, frames), size=SMALL.size), penalties=SMALL.penalties(), strengths=STRENGTHS)
    pulls = []
    for frame in labelled(range(200, 205), core, truth):
        one = see(frame)
        rows = one.design.forces_per_A.reshape(SMALL.size, -1)
        seen = fit.spread(rows) < 1.0  # elsewhere the penalties decide, not the labels
        pulls.append((one.errors(fit.coefficients)[1].ravel() / fit.spread(rows))[seen])
    pulls = np.concatenate(pulls)
    assert len(pulls) > 60
    assert 0.7 < pulls.std() < 1.35


def test_extrapolation_grade_rises_where_nothing_was_learnt(core, truth):
    fine = dataclasses.replace(SMALL, two_body_knot_A=0.15)
    see = observer(core, fine)
    frames = labelled(range(12), core, truth, noise_eV_A=0.1, nearest_A=1.9)
    fit = solve(accumulate(map(see, frames), size=fine.size), penalties=fine.penalties(), strengths=STRENGTHS)
    known = force_spread_eV_A(fit, fine.rows(frames[0].atoms))
    close = frames[0].atoms.copy()
    close.positions[1] = close.positions[0] + [1.4, 0, 0]  # closer than any pair of the training
    grade = force_spread_eV_A(fit, fine.rows(close))
    assert grade[:2].min() > 5 * known.max()
    assert force_spread_eV_A(fit, fine.rows(close), atoms=[1])[0] == pytest.approx(grade[1])


def test_atoms_closer_than_trusted_lose_their_forces_and_the_frame_its_energy(core, truth):
    frame = labelled([1], core, truth, group="pairs")[0]
    shortest = min(
        frame.atoms.get_distances(i, [j for j in range(10) if j != i], mic=True).min() for i in range(10)
    )
    limits = dict.fromkeys(ZBL, shortest + 1e-6)
    one = observe(frame, SMALL, core=core, weights=Weights(trusted_from_A=limits))
    assert one.energy_weight == one.stress_weight == 0
    assert np.count_nonzero(one.force_weight == 0) == 2
    sound = observe(frame, SMALL, core=core, weights=Weights(groups={"pairs": GroupWeight(energy=5)}))
    assert sound.energy_weight == pytest.approx(5 / (0.003 * 10))
    assert np.isfinite(sound.errors(truth)[2]).all()
    assert np.isnan(one.errors(truth)[2]).all()


def test_no_trajectory_stands_on_both_sides(core, truth):
    frames = labelled(range(6), core, truth, trajectories=["a", "a", "b", "b", "c", "d"])
    copy = labelled([2], core, truth, trajectories=["d"])  # an exact copy of a frame of b ties d to b
    names = linked_frames([*frames, *copy])
    assert names[0] == names[1]
    assert names[2] == names[3] == names[5] == names[6]
    assert len({names[0], names[2], names[4]}) == 3
    descriptors = np.array([SMALL.rows(f.atoms).energy for f in frames])
    moved = frames[4].atoms.copy()
    moved.positions += 0.7
    same = LabelledFrame(atoms=moved[::-1], energy_eV=0.0, forces_eV_per_A=np.zeros((10, 3)), trajectory="e")
    both = [*frames, same]
    assert len(set(linked_frames(both))) == 5
    assert linked_frames(both, np.vstack([descriptors, SMALL.rows(same.atoms).energy]))[-1] == "c"


def test_held_out_errors_exceed_those_of_seen_frames(core, truth):
    frames = labelled(range(5), core, truth, noise_eV_A=0.3)
    see = observer(core)
    parts = moments_by_fold(frames, range(5), folds=5, observe=see, size=SMALL.size)
    held = cross_validate(parts, penalties=SMALL.penalties(), strengths=STRENGTHS)
    seen = solve(Moments.total(parts), penalties=SMALL.penalties(), strengths=STRENGTHS)
    unseen = errors_by_group(held_out_errors(frames, range(5), solutions=held.solutions, observe=see))[-1]
    known = errors_by_group(held_out_errors(frames, range(5), solutions=[seen] * 5, observe=see))[-1]
    assert (unseen.group, unseen.frames) == ("all", 5)
    assert unseen.energy_meV_per_atom > 10 * known.energy_meV_per_atom
    assert unseen.force_eV_A > 1.05 * known.force_eV_A
    # Leaving a fold out is the fit to the others.
    others = accumulate((see(f) for f in [*frames[:2], *frames[3:]]), size=SMALL.size)
    direct = solve(others, penalties=SMALL.penalties(), strengths=STRENGTHS)
    error = (
        see(frames[2]).errors(direct.coefficients)[1] - see(frames[2]).errors(held.solutions[2].coefficients)[1]
    )
    assert np.abs(error).max() < 1e-4


def test_strengths_are_chosen_by_unseen_frames(core, truth):
    frames = labelled(range(10), core, truth, noise_eV_A=1.0)
    parts = moments_by_fold(frames, [k % 5 for k in range(10)], folds=5, observe=observer(core), size=SMALL.size)
    start = dict.fromkeys(STRENGTHS, 1e-6)
    before = cross_validate(parts, penalties=SMALL.penalties(), strengths=start).score
    names = [n for n in start if n.endswith("curvature")]
    best, after = choose_strengths(
        parts, penalties=SMALL.penalties(), start=start, names=names, steps=(100.0, 0.01)
    )
    assert after < before
    assert best["three_body_curvature"] > start["three_body_curvature"]


def test_cached_moments_grow_by_new_frames_only(core, truth, tmp_path):
    frames = labelled(range(6), core, truth)
    see = observer(core)
    asked = []

    def counting(frame):
        asked.append(frame)
        return see(frame)

    def run(count):
        fold = [fold_of(f.trajectory, folds=2) for f in frames[:count]]
        return moments_by_fold(
            frames[:count], fold, folds=2, observe=counting, size=SMALL.size, cache=tmp_path, key="a"
        )

    run(4)
    assert len(asked) == 4
    grown = Moments.total(run(6))
    assert len(asked) == 6
    fresh = accumulate(map(see, frames), size=SMALL.size)
    assert np.allclose(np.tril(grown.gram), np.tril(fresh.gram), rtol=1e-9, atol=1e-6)
    assert sorted(grown.frames) == sorted(fresh.frames)


def test_few_dear_labels_move_a_cheap_fit_where_they_speak(core, truth):
    """Dear labels differ by a short-ranged pair energy; two such frames do little alone, much on a cheap fit."""
    dear_truth = truth.copy()
    changed = SMALL.blocks["two_body Al-O"]
    dear_truth[changed] += np.exp(-np.arange(len(changed)))
    see = observer(core, weights=Weights(force_floor_eV_A=0.05, force_share=0.0))
    cheap = accumulate(map(see, labelled(range(12), core, truth, noise_eV_A=0.05)), size=SMALL.size)
    dear = accumulate(map(see, labelled([30, 31], core, dear_truth, noise_eV_A=0.05)), size=SMALL.size)
    penalties, smooth = SMALL.penalties(), dict.fromkeys(STRENGTHS, 1.0)
    base = solve(cheap, penalties=penalties, strengths=STRENGTHS)
    alone = solve(dear, penalties=penalties, strengths=STRENGTHS)

    def with_prior(strength):
        return solve(
            dear, penalties=penalties, strengths=smooth, prior=cheap_prior(cheap, base, strength=strength)
        )

    test = [see(f) for f in labelled(range(60, 64), core, dear_truth)]

    def error(fit):
        return np.mean([np.abs(one.errors(fit.coefficients)[1]).mean() for one in test])

    assert error(with_prior(0.1)) < 0.3 * min(error(base), error(alone))
    assert error(with_prior(1e12)) == pytest.approx(error(base), rel=1e-2)
    # Cross-validation on the dear labels keeps away from the strengths that do harm.
    each = [
        accumulate(map(see, labelled([k], core, dear_truth, noise_eV_A=0.05)), size=SMALL.size) for k in (30, 31)
    ]
    prior = cheap_prior(cheap, base, strength=1.0)
    chosen = choose_prior(each, penalties=penalties, strengths=smooth, prior=prior)
    assert error(with_prior(chosen.strength)) < 0.6 * error(with_prior(10.0))


def test_draws_spread_as_the_covariance_says(core, truth, tmp_path):
    frames = labelled(range(12), core, truth, noise_eV_A=0.3)
    see = observer(core, weights=Weights(force_floor_eV_A=0.3, force_share=0.0))
    fit = solve(accumulate(map(see, frames), size=SMALL.size), penalties=SMALL.penalties(), strengths=STRENGTHS)
    rows = see(labelled([80], core, truth)[0]).design.forces_per_A.reshape(SMALL.size, -1)
    expected = fit.spread(rows)
    random = np.random.default_rng(5)
    draws = posterior_draws(fit, draws=400, random=random)
    ratio = ((draws - fit.coefficients) @ rows).std(axis=0) / expected
    assert 0.9 < np.median(ratio) < 1.1
    votes = scores(((f.trajectory, see(f)) for f in frames), fit.coefficients)
    assert len(votes) == 12
    ratio = ((group_draws(fit, votes, draws=400, random=random) - fit.coefficients) @ rows).std(axis=0) / expected
    assert 0.3 < np.median(ratio) < 2.0  # the noise is independent here, so both mean the same
    made = write_ensemble(tmp_path / "made", draws[:2], form=SMALL, zbl=ZBL, about=ABOUT)
    assert [p.name for p in made] == ["made-1", "made-2"]
    assert made[0].digest != made[1].digest


def test_two_atoms_alone_repel_where_zbl_hands_over(core, truth, tmp_path):
    """Labels that end before the core, on a rim, leave a well inside it; the dimers of a fit fill it."""
    rim, fine = truth.copy(), dataclasses.replace(SMALL, two_body_knot_A=0.1)
    rim[SMALL.blocks["two_body Al-Al"][:3]] += 200.0
    see, penalties = observer(core, form=fine), fine.penalties()
    crowds = accumulate(map(see, labelled(range(12), core, rim, nearest_A=1.8)), size=fine.size)
    bench = Bench(plan=FitPlan(species=SPECIES, zbl=ZBL, splines=fine), folder=tmp_path)
    dimers = [d for d in core_dimers(species=SPECIES, zbl=ZBL) if d.atoms.get_chemical_formula() == "Al2"]

    def least_push_eV_A(moments):
        fit = solve(moments, penalties=penalties, strengths=dict.fromkeys(STRENGTHS, 1e-3))
        errors = [see(dimer).errors(fit.coefficients)[1] for dimer in dimers]
        return min(-(d.forces_eV_per_A + e)[0, 0] for d, e in zip(dimers, errors, strict=True))

    assert least_push_eV_A(crowds) < 0
    assert least_push_eV_A(Moments.total([crowds, bench.core_moments()])) > 0
    bench.core.close()


def test_bispectra_leave_two_atoms_alone_to_the_splines(core):
    """Asked to, they bind no two atoms at any distance; unasked they share the work as they please."""
    form = CombinedForm((SMALL, CHEMICAL))
    labels = labelled(range(10), core, smooth_coefficients(form, 8), form=form)
    moments = accumulate(map(observer(core, form=form), labels), size=form.size)
    sizes = {p.name: 1e-4 for p in form.penalties()}

    def pair_energies_eV(strength):
        fit = solve(moments, penalties=form.penalties(), strengths=sizes | {"snap_pairs": strength})
        _, own = form.split(fit.coefficients)
        box = {"cell": [30.0] * 3, "pbc": True}
        far, *near = (
            CHEMICAL.rows(Atoms("AlO", positions=[[0, 0, 0], [r, 0, 0]], **box)) for r in (9, 1.3, 1.7, 2.5)
        )
        return np.abs([(rows.energy - far.energy) @ own for rows in near])

    assert pair_energies_eV(0.0).max() > 0.1
    assert pair_energies_eV(1e6).max() < 0.005


@pytest.mark.parametrize("missed", [0.2, 1.0, 5.0])
def test_draws_are_spread_until_they_err_as_the_fit_does(core, truth, missed):
    """Errors that are `missed` times what the draws themselves would make."""
    frames = labelled(range(12), core, truth, noise_eV_A=0.3)
    see = observer(core, weights=Weights(force_floor_eV_A=0.3, force_share=0.0))
    fit = solve(accumulate(map(see, frames), size=SMALL.size), penalties=SMALL.penalties(), strengths=STRENGTHS)
    votes = scores(((f.trajectory, see(f)) for f in frames), fit.coefficients)
    rows = np.array([see(f).design.energy for f in labelled(range(80, 90), core, truth)]).T
    random = np.random.default_rng(6)
    errors = missed * (group_draws(fit, votes, draws=400, random=random) - fit.coefficients) @ rows
    factor = spread_factor(fit, votes, rows=np.tile(rows, 400), errors=errors.ravel())
    assert factor == pytest.approx(max(1.0, missed), rel=0.1)
    wide = (group_draws(fit, votes, draws=400, random=random, factor=factor) - fit.coefficients) @ rows
    assert wide.std() == pytest.approx(errors.std() * max(1.0, missed) / missed, rel=0.1)


def test_anchored_draws_leave_what_is_held_and_spread_elsewhere(core, truth):
    frames = labelled(range(12), core, truth, noise_eV_A=0.3)
    see = observer(core, weights=Weights(force_floor_eV_A=0.3, force_share=0.0))
    fit = solve(accumulate(map(see, frames), size=SMALL.size), penalties=SMALL.penalties(), strengths=STRENGTHS)
    votes = scores(((f.trajectory, see(f)) for f in frames), fit.coefficients)

    def spread_eV_A(solution, frame):
        draws = group_draws(solution, votes, draws=200, random=np.random.default_rng(4)) - fit.coefficients
        return (draws @ see(frame).design.forces_per_A.reshape(SMALL.size, -1)).std()

    held = anchored(fit, accumulate([see(frames[0])], size=SMALL.size), weight=1000.0)
    assert spread_eV_A(held, frames[0]) < 0.1 * spread_eV_A(fit, frames[0])
    assert spread_eV_A(held, frames[7]) > 0.3 * spread_eV_A(fit, frames[7])
    none = anchored(fit, accumulate([see(frames[0])], size=SMALL.size), weight=0.0)
    assert spread_eV_A(none, frames[0]) == pytest.approx(spread_eV_A(fit, frames[0]), rel=1e-6)


# -- what is refused ---------------------------------------------------------------------------------------------


def test_what_cannot_be_fitted_is_refused(core, tmp_path):
    with pytest.raises(InputError, match=r"knows Al, O, not Cu"):
        SPLINES.rows(bulk("Cu"))
    empty = Moments.empty(SMALL.size)
    with pytest.raises(FitError, match="not determined"):
        solve(empty, penalties=SMALL.penalties(), strengths=dict.fromkeys(STRENGTHS, 0.0))
    with pytest.raises(FitError, match="strengths must be given"):
        solve(empty, penalties=SMALL.penalties(), strengths={"nonsense": 1.0})
    (tmp_path / "there").mkdir()
    with pytest.raises(InputError, match="exists"):
        write_potential(tmp_path / "there", species=SPECIES, zbl=ZBL, bodies=[], about=ABOUT)
    with pytest.raises(InputError, match="leg_knot_A must name"):
        SplineForm(species=SPECIES, zbl=ZBL, leg_knot_A={}, far_knot_A=PAIRWISE)
    with pytest.raises(InputError, match="a density is named like"):
        SplineForm(
            species=SPECIES,
            zbl=ZBL,
            leg_knot_A=PAIRWISE,
            far_knot_A=PAIRWISE,
            embedding=(Embedding(densities={"Al-O": Density(inner_A=1, outer_A=2)}, largest_density={"Al": 1.0}),),
        )
    with pytest.raises(InputError, match="weights must name"):
        SnapForm(species=SPECIES, weights={"Al": 1.0})
