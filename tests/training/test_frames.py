"""A frame keeps its words and numbers through a file, its name is its content, and what is no label is told."""

import dataclasses
import string

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cascade_driver.errors import InputError
from cascade_driver.training.extended_xyz import cut_to, read_frames, whole_frames
from cascade_driver.training.frames import (
    LabelledFrame,
    bare,
    flaw,
    from_the_crystal,
    one_run,
    stress_GPa,
    structure_id,
    without_copies,
    without_own_crystal,
    write_frames,
)

WORDS = st.text(string.ascii_letters + string.digits + "_.+-", min_size=1, max_size=8)
#: A bare sign such as `=` is lost by ASE's reader; nobody calls a frame so.
SENTENCES = (
    st.text(string.ascii_letters + string.digits + " ,;:_.+-()/=", min_size=1, max_size=20)
    .map(str.strip)
    .filter(lambda text: not text or any(sign.isalnum() for sign in text))
)
SMALL = st.floats(-50, 50, allow_subnormal=False)


def frame(atoms: Atoms | None = None, **changes) -> LabelledFrame:
    atoms = bulk("Cu", cubic=True) if atoms is None else atoms
    own = {"energy_eV": -3.5, "forces_eV_per_A": np.full((len(atoms), 3), 0.25), "group": "made"}
    return LabelledFrame(**{"atoms": atoms, **own, **changes})


# -- through a file ---------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(group=WORDS, trajectory=WORDS, origin=SENTENCES, words=SENTENCES)
@example(group="T", trajectory="1e5", origin="007", words="1_2")
@example(group="F", trajectory="inf", origin="1 2 3", words="[1, 2]")
@example(group="nan", trajectory="1.50", origin="true", words="0 0 0 0 0 0 0 0 0")
@example(group="0", trajectory="0", origin="0", words="0=")
@example(group="0", trajectory="0", origin="0=", words="=0")
def test_words_are_words_after_a_file(tmp_path_factory, group, trajectory, origin, words):
    path = tmp_path_factory.mktemp("words") / "f.extxyz"
    given_frame = frame(group=group, trajectory=trajectory, origin=origin or "x", settings=words or "y")
    write_frames(path, [given_frame])
    (read,) = read_frames(path)
    told = (read.group, read.trajectory, read.origin, read.settings)
    assert told == (group, trajectory, origin or "x", words or "y")


@settings(max_examples=30)
@given(
    energy=st.floats(-1e5, 1e5, allow_subnormal=False),
    forces=arrays(float, (4, 3), elements=SMALL),
    stress=arrays(float, 6, elements=st.floats(-1, 1, allow_subnormal=False)),
    moved=arrays(float, (4, 3), elements=st.floats(-0.3, 0.3, allow_subnormal=False)),
    name=st.sampled_from(["f.extxyz", "f.extxyz.gz"]),
)
def test_numbers_are_numbers_after_a_file(tmp_path_factory, energy, forces, stress, moved, name):
    atoms = bulk("Cu", cubic=True)
    atoms.positions += moved
    made = frame(atoms, energy_eV=energy, forces_eV_per_A=forces + 1.0, stress_eV_per_A3=stress, group="perfect")
    path = tmp_path_factory.mktemp("numbers") / name
    write_frames(path, [made])
    (read,) = read_frames(path)
    assert read.energy_eV == pytest.approx(energy, abs=1e-7, rel=1e-12)
    np.testing.assert_allclose(read.forces_eV_per_A, forces + 1.0, atol=1e-7)
    np.testing.assert_allclose(read.stress_eV_per_A3, stress, atol=1e-9)
    np.testing.assert_allclose(read.atoms.positions, atoms.positions, atol=1e-7)
    np.testing.assert_allclose(read.atoms.cell.array, atoms.cell.array, atol=1e-9)


def test_of_a_file_that_was_torn_anywhere_the_whole_frames_are_left(tmp_path):
    path = tmp_path / "f.extxyz"
    frames = [frame(bulk("Cu"), energy_eV=float(k), trajectory=f"t{k}") for k in range(3)]
    write_frames(path, frames)
    text = path.read_bytes()
    write_frames(tmp_path / "one.extxyz", frames[:1])
    each = len((tmp_path / "one.extxyz").read_bytes())
    assert len(text) == 3 * each
    for end in range(0, len(text) + 1, 3):
        path.write_bytes(text[:end])
        found = whole_frames(path)
        assert len(found) == end // each
        assert "".join(found).encode() == text[: end // each * each]
    path.write_bytes(text[: 2 * each + 17])
    cut_to(path, whole_frames(path))
    assert [one.energy_eV for one in read_frames(path)] == [0.0, 1.0]
    before = path.stat().st_mtime_ns
    cut_to(path, whole_frames(path))  # nothing stands behind: nothing is written
    assert path.stat().st_mtime_ns == before


# -- names ------------------------------------------------------------------------------------------------------


@given(noise=arrays(float, (3, 3), elements=st.floats(-1e-9, 1e-9)))
def test_the_name_of_a_structure_does_not_know_the_last_digits(noise):
    atoms = bulk("Cu", cubic=True)
    other = atoms.copy()
    other.set_cell(other.cell.array + noise)
    other.positions += 1e-8
    assert structure_id(other) == structure_id(atoms)


@given(atom=st.integers(0, 3), axis=st.integers(0, 2), by=st.floats(2e-5, 1.0), sign=st.sampled_from([-1, 1]))
def test_negative_control_what_moves_by_more_has_another_name(atom, axis, by, sign):
    atoms = bulk("Cu", cubic=True)
    other = atoms.copy()
    other.positions[atom, axis] += sign * by
    assert structure_id(other) != structure_id(atoms)


def test_mesh_and_elements_are_part_of_the_name_and_words_are_not():
    atoms = bulk("Cu", cubic=True)
    mesh, element, word = atoms.copy(), atoms.copy(), atoms.copy()
    mesh.info["k_mesh"] = np.array([2, 2, 2])
    element.numbers[0] = 47
    word.info["group"] = "made"
    assert structure_id(word) == structure_id(atoms)
    assert len({structure_id(one) for one in (atoms, mesh, element)}) == 3
    assert structure_id(bare(mesh)) == structure_id(mesh)


def test_of_copies_the_first_is_kept_and_the_order_stays():
    one, two = bulk("Cu", cubic=True), bulk("Ag", cubic=True)
    frames = [frame(one, energy_eV=1.0), frame(two, energy_eV=2.0), frame(one.copy(), energy_eV=3.0)]
    assert [f.energy_eV for f in without_copies(frames)] == [1.0, 2.0]
    assert without_copies([]) == []


def test_frames_of_one_file_are_one_run_for_each_list_of_species():
    copper, silver = bulk("Cu", cubic=True), bulk("Ag", cubic=True)
    shaken = copper.copy()
    shaken.rattle(0.05, seed=1)
    frames = [frame(copper), frame(shaken), frame(silver), frame(copper, trajectory="mine")]
    runs = [f.trajectory for f in one_run(frames, name="f.extxyz")]
    assert runs[0] == runs[1] != runs[2]
    assert runs[3] == "mine"
    # Another file of the same name that begins with another structure is another run.
    assert one_run([frame(shaken)], name="f.extxyz")[0].trajectory != runs[0]


# -- what counts from the crystal ------------------------------------------------------------------------------


@given(shift=st.floats(-1e3, 1e3, allow_subnormal=False), atoms=st.integers(1, 3))
def test_the_zero_of_a_program_does_not_matter(shift, atoms):
    """An energy per atom more in all labels changes nothing."""
    crystal, defect = bulk("Cu", cubic=True), bulk("Cu", cubic=True) * (atoms, 1, 1)

    def counted(zero: float) -> list[float]:
        frames = [
            frame(crystal, energy_eV=4 * (zero - 3.5), group="perfect", settings="s"),
            frame(defect, energy_eV=len(defect) * (zero - 3.5) + 2.25, settings="s"),
        ]
        return [one.energy_eV for one in from_the_crystal(frames, where="f")]

    assert counted(shift) == pytest.approx([0.0, 2.25], abs=1e-9 * max(1.0, abs(shift)) * 100)


def test_each_settings_have_their_own_crystal_where_there_is_one():
    crystal = bulk("Cu", cubic=True)
    frames = [
        frame(crystal, energy_eV=-4.0, group="perfect", settings="a"),
        frame(crystal, energy_eV=-40.0, group="perfect", settings="b"),
        *(frame(crystal, energy_eV=-40.0 + 1.0, settings=name) for name in "abc"),
    ]
    energies = [f.energy_eV for f in from_the_crystal(frames, where="f")]
    assert energies == pytest.approx([0.0, 0.0, -35.0, 1.0, 1.0])
    assert without_own_crystal(frames) == ["c"]
    with pytest.raises(InputError, match="no frame of the group `perfect`"):
        from_the_crystal(frames[2:], where="f")


# -- what cannot be a label ------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["energy_eV", "forces_eV_per_A", "stress_eV_per_A3"])
def test_a_number_that_is_none_is_named(name, value):
    wrong = {"energy_eV": value, "forces_eV_per_A": np.zeros((4, 3)), "stress_eV_per_A3": np.zeros(6)}[name]
    if name != "energy_eV":
        wrong.flat[-1] = value
    assert flaw(frame()) == ""
    assert flaw(frame(**{name: wrong})).startswith("nan or inf in its")


@given(
    distance=st.floats(1e-3, 0.2),
    place=arrays(float, 3, elements=st.floats(-2, 2)),
    way=arrays(float, 3, elements=st.floats(-1, 1)).filter(lambda w: np.linalg.norm(w) > 0.1),
    skew=st.floats(-3, 3),
)
def test_two_atoms_in_one_place_are_seen_across_every_face_of_every_box(distance, place, way, skew):
    cell = np.array([[4.0, 0, 0], [skew, 4.2, 0], [-skew, skew, 4.4]])
    other = place @ cell + distance * way / np.linalg.norm(way)
    atoms = Atoms("Cu2", positions=[place @ cell, other], cell=cell, pbc=True)
    near = distance < 0.1
    if abs(distance - 0.1) > 1e-6:
        assert ("stand within 0.1 A" in flaw(frame(atoms))) == near


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"atoms": Atoms(pbc=True, cell=np.eye(3)), "forces_eV_per_A": np.zeros((0, 3))}, "it holds no atoms"),
        ({"atoms": Atoms("X4", positions=np.eye(4)[:, :3] * 2, cell=np.eye(3) * 9, pbc=True)}, "no element"),
        ({"atoms": Atoms("Cu4", positions=np.eye(4)[:, :3] * 2, pbc=True)}, "leaves 0 A^3 to an atom"),
        ({"stress_eV_per_A3": np.array([0, 0, 6.3, 0, 0, 0])}, "a stress beyond 1000 GPa"),
        ({"forces_eV_per_A": np.zeros((4, 3)), "atoms": bulk("Cu", cubic=True) + Atoms("Cu", [[1, 1, 1]])}, ""),
    ],
)
def test_what_cannot_be_a_label_is_told_why(change, reason):
    if not reason:  # an atom beside the sites: forces that are all zero are none
        change["forces_eV_per_A"] = np.zeros((5, 3))
        reason = "forces all zero, which no symmetry asks for"
    assert reason in flaw(frame(**change))


def test_forces_that_symmetry_forbids_may_be_zero():
    crystal = frame(forces_eV_per_A=np.zeros((4, 3)))
    assert flaw(crystal) == ""
    shaken = crystal.atoms.copy()
    shaken.rattle(0.05, seed=2)
    assert "forces all zero" in flaw(dataclasses.replace(crystal, atoms=shaken))
    assert flaw(dataclasses.replace(crystal, atoms=shaken, group="perfect")) == ""


def test_the_largest_stress_counts_whatever_its_sign():
    # 1 eV/A^3 is 160.2177 GPa (CODATA)
    assert stress_GPa(frame(stress_eV_per_A3=np.array([0.1, -1.0, 0, 0, 0, 0.5]))) == pytest.approx(
        160.2177, rel=1e-6
    )
    assert stress_GPa(frame()) == 0.0
