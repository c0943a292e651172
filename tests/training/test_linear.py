"""Linear fits: what normal equations give is what least squares gives, whatever the order and the parts."""

import dataclasses

import numpy as np
import pytest
from ase import Atoms
from ase.stress import full_3x3_to_voigt_6_stress, voigt_6_to_full_3x3_stress
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from cascade_driver.errors import FitError
from cascade_driver.simulation.lammps_engine import SinglePoint
from cascade_driver.training.descriptors import DesignRows, Penalty
from cascade_driver.training.frames import LabelledFrame
from cascade_driver.training.linear import (
    GroupWeight,
    Moments,
    Observation,
    Prior,
    Weights,
    accumulate,
    observe,
    solve,
)

SIZE = 4


class PowersOfDistance:
    """A form whose energy is a sum over pairs of powers of their distance, in a box without images."""

    species = ("Ar",)
    size = SIZE
    digest = "powers"

    def rows(self, atoms: Atoms, *, stress: bool = True) -> DesignRows:
        vector = atoms.positions[:, None] - atoms.positions[None]
        distance = np.linalg.norm(vector, axis=2) + np.eye(len(atoms))
        energy, forces, virial = [], [], []
        for power in range(1, SIZE + 1):
            pairs = np.triu(distance**-power, 1)
            energy.append(pairs.sum())
            push = power * distance ** -(power + 2.0)
            np.fill_diagonal(push, 0.0)
            forces.append((push[..., None] * vector).sum(axis=1))
            full = -(push[..., None, None] * vector[..., :, None] * vector[..., None, :]).sum(axis=(0, 1)) / 2
            xx, yy, zz, yz, xz, xy = full[0, 0], full[1, 1], full[2, 2], full[1, 2], full[0, 2], full[0, 1]
            virial.append(np.array([xx, yy, zz, yz, xz, xy]) / atoms.get_volume())
        return DesignRows(
            energy=np.array(energy), forces_per_A=np.array(forces), stress_per_A3=np.array(virial) * bool(stress)
        )


FORM = PowersOfDistance()
TRUTH = np.array([1.0, -3.0, 0.5, 2.0])


def fixed(energy_eV, forces_eV_A, stress_eV_A3) -> SinglePoint:
    return SinglePoint(
        energy_eV=energy_eV, forces_eV_A=forces_eV_A, stress_eV_A3=stress_eV_A3, array=None, turn=np.eye(3)
    )


def nothing(atoms: Atoms) -> SinglePoint:
    return fixed(0.0, np.zeros((len(atoms), 3)), np.zeros((3, 3)))


def a_box(rng: np.random.Generator, atoms: int = 4) -> Atoms:
    """Return atoms none of which touch, in a box that is wide."""
    places = np.array([[i, j, k] for i in (0, 2) for j in (0, 2) for k in (0, 2)])[:atoms]
    return Atoms(f"Ar{atoms}", positions=3 + places + rng.uniform(-0.4, 0.4, (atoms, 3)), cell=[9] * 3, pbc=True)


def labelled(atoms: Atoms, *, coefficients=TRUTH, noise=0.0, rng=None, group="") -> LabelledFrame:
    rows = FORM.rows(atoms)
    forces = np.tensordot(coefficients, rows.forces_per_A, axes=1)
    return LabelledFrame(
        atoms=atoms,
        energy_eV=float(coefficients @ rows.energy),
        forces_eV_per_A=forces + (noise * rng.normal(size=forces.shape) if noise else 0.0),
        stress_eV_per_A3=coefficients @ rows.stress_per_A3,
        group=group,
    )


def observations(count: int = 6, *, seed: int = 1, weights: Weights | None = None, **how) -> list[Observation]:
    rng = np.random.default_rng(seed)
    frames = [labelled(a_box(rng), rng=rng, **how) for _ in range(count)]
    return [observe(frame, FORM, core=nothing, weights=weights or Weights()) for frame in frames]


def stacked(seen: list[Observation]) -> tuple[np.ndarray, np.ndarray]:
    """Return all weighted rows (m, p) and targets (m,), those of the energies among them."""
    rows, targets = zip(*(one.weighted() for one in seen), strict=True)
    energy = np.array([one.energy_weight * one.design.energy for one in seen])
    energies = np.array([one.energy_weight * one.energy_eV for one in seen])
    return np.vstack([np.concatenate(rows, axis=1).T, energy]), np.concatenate([*targets, energies])


def test_rows_of_the_form_are_derivatives_of_its_energy():
    rng = np.random.default_rng(3)
    atoms = a_box(rng)
    rows, step = FORM.rows(atoms), 1e-5
    for atom, axis in ((0, 0), (2, 1), (3, 2)):
        ends = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[atom, axis] += sign * step
            ends.append(FORM.rows(moved).energy)
        np.testing.assert_allclose(rows.forces_per_A[:, atom, axis], -(ends[0] - ends[1]) / (2 * step), rtol=1e-6)


def test_labels_without_noise_give_the_coefficients_that_made_them():
    found = solve(accumulate(observations(), size=SIZE), penalties=[], strengths={})
    np.testing.assert_allclose(found.coefficients, TRUTH, rtol=1e-8)
    for one in observations(2, seed=9):
        energy, forces, stress = one.errors(found.coefficients)
        assert abs(energy) < 1e-8
        assert np.abs(forces).max() < 1e-8
        assert np.abs(stress).max() < 1e-8


def test_normal_equations_are_the_least_squares_of_all_weighted_rows():
    seen = observations(noise=0.1)
    found = solve(accumulate(seen, size=SIZE), penalties=[], strengths={})
    rows, targets = stacked(seen)
    expected, *_ = np.linalg.lstsq(rows, targets, rcond=None)
    np.testing.assert_allclose(found.coefficients, expected, rtol=1e-7)
    assert np.abs(found.coefficients - TRUTH).max() > 1e-3, "negative control: noise moves them"


def test_spread_of_predictions_is_that_of_ordinary_least_squares():
    seen = observations(noise=0.1)
    found = solve(accumulate(seen, size=SIZE), penalties=[], strengths={})
    rows, _ = stacked(seen)
    wanted = np.random.default_rng(5).normal(size=(SIZE, 7))
    covariance = np.linalg.inv(rows.T @ rows)
    np.testing.assert_allclose(
        found.spread(wanted), found.scale * np.sqrt(np.diag(wanted.T @ covariance @ wanted)), rtol=1e-6
    )


@given(st.permutations(range(6)))
def test_the_order_of_frames_does_not_matter(order):
    seen = observations(noise=0.1)
    one = solve(accumulate(seen, size=SIZE), penalties=[], strengths={})
    other = solve(accumulate([seen[k] for k in order], size=SIZE), penalties=[], strengths={})
    np.testing.assert_allclose(other.coefficients, one.coefficients, rtol=1e-6)  # rounding times the condition


def test_moments_of_parts_add_up_and_a_part_can_be_taken_away():
    seen = observations(noise=0.1)
    whole, first, rest = (accumulate(part, size=SIZE) for part in (seen, seen[:2], seen[2:]))
    np.testing.assert_allclose(
        solve(Moments.total([first, rest]), penalties=[], strengths={}).coefficients,
        solve(whole, penalties=[], strengths={}).coefficients,
        rtol=1e-6,
    )
    left = whole.without(first)
    assert left.frames == rest.frames
    assert left.count == rest.count
    assert left.square == pytest.approx(rest.square, rel=1e-9)
    alone = solve(left, penalties=[], strengths={})
    np.testing.assert_allclose(alone.coefficients, solve(rest, penalties=[], strengths={}).coefficients, rtol=1e-7)


def test_a_penalty_is_rows_that_want_to_be_zero():
    seen = observations(noise=0.1)
    rough = np.array([[1.0, -2.0, 1.0, 0.0], [0.0, 1.0, -2.0, 1.0]])
    found = solve(
        accumulate(seen, size=SIZE),
        penalties=[Penalty(name="curvature", rows=sparse.csr_array(rough))],
        strengths={"curvature": 40.0},
    )
    rows, targets = stacked(seen)
    expected, *_ = np.linalg.lstsq(
        np.vstack([rows, np.sqrt(40.0) * rough]), np.concatenate([targets, [0.0, 0.0]]), rcond=None
    )
    np.testing.assert_allclose(found.coefficients, expected, rtol=1e-6)
    stiff = solve(
        accumulate(seen, size=SIZE),
        penalties=[Penalty(name="curvature", rows=sparse.csr_array(rough))],
        strengths={"curvature": 1e12},
    )
    np.testing.assert_allclose(rough @ stiff.coefficients, 0.0, atol=1e-6)


def test_a_prior_that_is_strong_is_kept_and_one_that_is_weak_is_not_seen():
    seen = observations(noise=0.1)
    moments = accumulate(seen, size=SIZE)
    belief = np.array([4.0, 3.0, 2.0, 1.0])
    free = solve(moments, penalties=[], strengths={})

    def with_strength(strength):
        prior = Prior(coefficients=belief, metric=np.eye(SIZE), strength=strength)
        return solve(moments, penalties=[], strengths={}, prior=prior).coefficients

    np.testing.assert_allclose(with_strength(1e12), belief, rtol=1e-6)
    np.testing.assert_allclose(with_strength(1e-9), free.coefficients, rtol=1e-6)
    distance = [np.linalg.norm(with_strength(s) - belief) for s in (1e-2, 1.0, 1e2, 1e4)]
    assert distance == sorted(distance, reverse=True)


def test_labels_that_leave_a_coefficient_free_are_a_fit_error():
    with pytest.raises(FitError, match="not determined"):
        solve(Moments.empty(SIZE), penalties=[], strengths={})


def test_a_strength_without_its_penalty_is_named():
    with pytest.raises(FitError, match=r"mind \['slope'\]"):
        solve(accumulate(observations(2), size=SIZE), penalties=[], strengths={"slope": 1.0})


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("label", ["energy_eV", "forces_eV_per_A", "stress_eV_per_A3"])
def test_a_label_that_is_no_number_is_told_with_its_frame_and_not_fitted(label, value):
    good = labelled(a_box(np.random.default_rng(7)))
    broken = np.array(getattr(good, label), dtype=float)
    broken.flat[0] = value
    frame = dataclasses.replace(good, origin="run 7", **{label: broken if broken.ndim else float(broken)})
    with pytest.raises(FitError, match="a label of run 7 is nan or inf; leave its frame out"):
        observe(frame, FORM, core=nothing, weights=Weights())


def test_what_is_fixed_is_taken_off_the_labels():
    def core(atoms: Atoms) -> SinglePoint:
        rows = FORM.rows(atoms)
        xx, yy, zz, yz, xz, xy = rows.stress_per_A3[0]
        stress = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
        return fixed(float(rows.energy[0]), rows.forces_per_A[0], stress)

    rng = np.random.default_rng(1)
    seen = [observe(labelled(a_box(rng)), FORM, core=core, weights=Weights()) for _ in range(6)]
    found = solve(accumulate(seen, size=SIZE), penalties=[], strengths={})
    np.testing.assert_allclose(found.coefficients, TRUTH - np.eye(SIZE)[0], atol=1e-7)


def test_a_group_of_weight_zero_teaches_nothing_and_twice_the_weight_is_four_frames():
    rng = np.random.default_rng(1)
    good = [labelled(a_box(rng), group="good") for _ in range(4)]
    wrong = [labelled(a_box(rng), coefficients=-TRUTH, group="wrong") for _ in range(4)]
    silent = Weights(groups={"wrong": GroupWeight(energy=0, forces=0, stress=0)})
    seen = [observe(f, FORM, core=nothing, weights=silent) for f in [*good, *wrong]]
    found = solve(accumulate(seen, size=SIZE), penalties=[], strengths={})
    np.testing.assert_allclose(found.coefficients, TRUTH, rtol=1e-7)
    double = Weights(groups={"wrong": GroupWeight(energy=2, forces=2, stress=2)})
    heavy = [observe(f, FORM, core=nothing, weights=double) for f in [*good, *wrong]]
    four = [observe(f, FORM, core=nothing, weights=Weights()) for f in [*good, *(4 * wrong)]]
    np.testing.assert_allclose(
        solve(accumulate(heavy, size=SIZE), penalties=[], strengths={}).coefficients,
        solve(accumulate(four, size=SIZE), penalties=[], strengths={}).coefficients,
        rtol=1e-7,
    )


def test_atoms_closer_than_labels_are_trusted_lose_their_forces_and_the_box_its_energy():
    rng = np.random.default_rng(1)
    atoms = a_box(rng)
    atoms.positions[1] = atoms.positions[0] + [0.7, 0.0, 0.0]
    frame = labelled(atoms)
    trusted = observe(frame, FORM, core=nothing, weights=Weights())
    doubted = observe(frame, FORM, core=nothing, weights=Weights(trusted_from_A={"Ar-Ar": 1.0}))
    assert trusted.energy_weight > 0
    assert (doubted.energy_weight, doubted.stress_weight) == (0, 0)
    np.testing.assert_array_equal(doubted.force_weight > 0, [False, False, True, True])
    np.testing.assert_array_equal(doubted.force_weight[2:], trusted.force_weight[2:])
    assert np.isnan(doubted.errors(TRUTH)[2]).all()


def test_errors_of_large_forces_may_be_larger():
    one = observe(
        labelled(a_box(np.random.default_rng(2))),
        FORM,
        core=nothing,
        weights=Weights(force_floor_eV_A=0.1, force_share=0.5),
    )
    size = np.linalg.norm(one.frame.forces_eV_per_A, axis=1)
    np.testing.assert_allclose(1 / one.force_weight, 0.1 + 0.5 * size)


# -- what a fit must not know -------------------------------------------------------------------------------------


seeds = st.integers(0, 2**32 - 1)


def noisy(seed: int, *, count: int = 5) -> list[LabelledFrame]:
    rng = np.random.default_rng(seed)
    return [labelled(a_box(rng, atoms=int(rng.integers(3, 7))), noise=0.1, rng=rng) for _ in range(count)]


def coefficients(frames: list[LabelledFrame], *, weights: Weights | None = None, **how) -> np.ndarray:
    """Return the fit to frames, scaled by what makes its coefficients alike."""
    seen = [observe(frame, FORM, core=nothing, weights=weights or Weights()) for frame in frames]
    return solve(accumulate(seen, size=SIZE), penalties=[], strengths={}, **how).coefficients


def assert_same_fit(one: np.ndarray, other: np.ndarray) -> None:
    np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)


@settings(max_examples=20)
@given(seeds)
def test_the_order_of_atoms_and_the_place_of_a_frame_do_not_matter(seed):
    frames, rng = noisy(seed), np.random.default_rng(seed)
    changed = []
    for frame in frames:
        order = rng.permutation(len(frame.atoms))
        atoms = frame.atoms[order]
        atoms.positions += rng.uniform(-5, 5, 3)
        changed.append(dataclasses.replace(frame, atoms=atoms, forces_eV_per_A=frame.forces_eV_per_A[order]))
    assert_same_fit(coefficients(changed), coefficients(frames))


@settings(max_examples=20)
@given(seeds)
def test_a_fit_knows_no_direction_of_space(seed):
    frames, rng = noisy(seed), np.random.default_rng(seed)
    turned = []
    for frame in frames:
        turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        atoms = frame.atoms.copy()
        atoms.set_positions(atoms.positions @ turn.T)
        atoms.set_cell(atoms.cell.array @ turn.T)
        stress = voigt_6_to_full_3x3_stress(frame.stress_eV_per_A3)
        turned.append(
            dataclasses.replace(
                frame,
                atoms=atoms,
                forces_eV_per_A=frame.forces_eV_per_A @ turn.T,
                # Components of a stress have one weight each, so that off-diagonal ones count half of what they
                # should: a turned frame weighs another way. Labels that agree with each other do not see it.
                stress_eV_per_A3=full_3x3_to_voigt_6_stress(turn @ stress @ turn.T),
            )
        )
    no_stress = Weights(stress_eV_A3=1e6)
    assert_same_fit(coefficients(turned, weights=no_stress), coefficients(frames, weights=no_stress))


@settings(max_examples=20)
@given(seeds, st.integers(2, 4))
def test_copies_of_a_frame_are_a_frame_of_more_weight(seed, copies):
    first, *others = noisy(seed)
    named = dataclasses.replace(first, group="many")
    factor = float(np.sqrt(copies))
    weights = Weights(groups={"many": GroupWeight(energy=factor, forces=factor, stress=factor)})
    assert_same_fit(coefficients([first] * copies + others), coefficients([named, *others], weights=weights))


@settings(max_examples=20)
@given(seeds, st.floats(0.01, 100))
def test_errors_that_are_all_put_up_with_alike_leave_the_fit_and_scale_its_spread(seed, factor):
    frames, usual = noisy(seed), Weights(force_share=0.0)
    wider = Weights(
        force_share=0.0,
        force_floor_eV_A=factor * usual.force_floor_eV_A,
        energy_eV_per_atom=factor * usual.energy_eV_per_atom,
        stress_eV_A3=factor * usual.stress_eV_A3,
    )
    found = []
    for weights in (usual, wider):
        seen = [observe(frame, FORM, core=nothing, weights=weights) for frame in frames]
        found.append(solve(accumulate(seen, size=SIZE), penalties=[], strengths={}))
    assert_same_fit(found[1].coefficients, found[0].coefficients)
    assert found[1].scale * factor == pytest.approx(found[0].scale, rel=1e-6)
    # What a prediction is uncertain by is in eV, whatever error was called tolerable.
    rows = FORM.rows(frames[0].atoms).energy[:, None]
    np.testing.assert_allclose(found[1].spread(rows), found[0].spread(rows), rtol=1e-5)


@settings(max_examples=20)
@given(seeds, st.floats(-3, 3))
def test_a_fit_is_linear_in_its_labels(seed, share):
    """With force_share = 0, so that weights do not depend on the labels."""
    weights = Weights(force_share=0.0)
    frames = noisy(seed)
    rng = np.random.default_rng(seed + 1)
    others = [labelled(f.atoms, coefficients=rng.normal(size=SIZE), noise=0.2, rng=rng) for f in frames]
    both = [
        dataclasses.replace(
            one,
            energy_eV=one.energy_eV + share * two.energy_eV,
            forces_eV_per_A=one.forces_eV_per_A + share * two.forces_eV_per_A,
            stress_eV_per_A3=one.stress_eV_per_A3 + share * two.stress_eV_per_A3,
        )
        for one, two in zip(frames, others, strict=True)
    ]
    one, two, sum_of_both = (coefficients(some, weights=weights) for some in (frames, others, both))
    np.testing.assert_allclose(sum_of_both, one + share * two, rtol=1e-6, atol=1e-6)
