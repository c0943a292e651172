"""How a crystal lies in its box: closed forms of crystallography, and the words for it."""

import numpy as np
import pytest
from ase.cell import Cell

from cascade_driver.errors import InputError
from cascade_driver.simulation.frame import direction_in_box, frame_said, make_frame

CUBIC = np.eye(3) * 5.431
SCHEELITE = np.diag([5.243, 5.243, 11.376])
QUARTZ = Cell.fromcellpar([4.916, 4.916, 5.405, 90, 90, 120]).array
TRICLINIC = Cell.fromcellpar([4.1, 5.37, 6.73, 77.3, 81.9, 68.7]).array


def angle_deg(one, other) -> float:
    one, other = np.asarray(one), np.asarray(other)
    return float(np.degrees(np.arccos(one @ other / np.linalg.norm(one) / np.linalg.norm(other))))


@pytest.mark.parametrize("indices", ["1 1 0", "1 -1 2", "0 0 1", "3 2 1"])
def test_in_a_cubic_crystal_a_direction_is_normal_to_the_plane_of_its_indices(indices):
    along = direction_in_box(f"[{indices}]", axes_A=CUBIC)
    assert along == pytest.approx(direction_in_box(f"({indices})", axes_A=CUBIC), abs=1e-9)
    assert along == pytest.approx(
        np.array(indices.split(), float) / np.linalg.norm(np.array(indices.split(), float))
    )


def test_in_a_tetragonal_crystal_they_lean_to_opposite_sides():
    # tan of the angle to a: c/a for [101], a/c for (101).
    ratio = 11.376 / 5.243
    assert angle_deg(direction_in_box("[101]", axes_A=SCHEELITE), [1, 0, 0]) == pytest.approx(
        np.degrees(np.arctan(ratio))
    )
    assert angle_deg(direction_in_box("(101)", axes_A=SCHEELITE), [1, 0, 0]) == pytest.approx(
        np.degrees(np.arctan(1 / ratio))
    )


def test_in_a_hexagonal_crystal_a_and_its_reciprocal_are_30_degrees_apart():
    a, normal = (direction_in_box(text, axes_A=QUARTZ) for text in ("[1 0 0]", "(1 0 0)"))
    assert angle_deg(a, normal) == pytest.approx(30)
    assert angle_deg(a, direction_in_box("[0 1 0]", axes_A=QUARTZ)) == pytest.approx(120)


def test_a_plane_holds_the_directions_of_its_zone():
    # h u + k v + l w = 0 (Weiss zone law), whatever the axes.
    normal = np.array(direction_in_box("(1 2 3)", axes_A=TRICLINIC))
    for text in ("[1 1 -1]", "[2 -1 0]", "[3 0 -1]"):
        assert normal @ direction_in_box(text, axes_A=TRICLINIC) == pytest.approx(0, abs=1e-8)
    assert abs(normal @ direction_in_box("[1 0 0]", axes_A=TRICLINIC)) > 0.1


@pytest.mark.parametrize("text", ["[1 -1 0]", " [1,-1,0] ", "[1-10]", "[ 1  -1 0 ]", "[2 -2 0]", "[12, -12, 0]"])
def test_indices_are_read_as_people_write_them(text):
    assert direction_in_box(text, axes_A=CUBIC) == pytest.approx((0.5**0.5, -(0.5**0.5), 0), abs=1e-9)


def test_numbers_are_kept_as_they_are():
    assert direction_in_box((3, 1, -2.5), axes_A=TRICLINIC) == (3.0, 1.0, -2.5)


@pytest.mark.parametrize(
    "text", ["[0 0 0]", "[1 1]", "[1 1 0)", "1 1 0", "[1 1 -2 0]", "[1.5 0 0]", "[110", "north"]
)
def test_what_is_no_direction_is_refused(text):
    with pytest.raises(InputError, match="expected three numbers, or three indices, not all zero") as caught:
        direction_in_box(text, axes_A=CUBIC)
    assert "\n" not in str(caught.value)


def test_words_name_the_edges_the_axes_and_the_turn():
    turn = np.array([[1, 1, 0], [-1, 1, 0], [0, 0, 2**0.5]]) / 2**0.5
    said = frame_said(make_frame(CUBIC @ turn.T, turn))
    assert "x along [1 1 0], y along [-1 1 0], z along [0 0 1] of the file's cell" in said
    assert "a = (3.840, -3.840, 0.000)" in said
    assert "turned by 45.0 degrees about (0.000, 0.000, -1.000) from the Cartesian frame of the file" in said


def test_a_crystal_along_the_edges_is_said_in_one_breath():
    words = "box: x, y, z along a, b, c of the crystal"
    assert frame_said(None) == frame_said(make_frame(SCHEELITE, np.eye(3))) == words
    assert "x along [1 0 0], y along [1 2 0], z along [0 0 1]" in frame_said(make_frame(QUARTZ, np.eye(3)))


def test_a_frame_is_the_same_on_a_machine_that_rounds_differently():
    frame = make_frame(QUARTZ, np.eye(3))
    assert frame.is_close(make_frame(QUARTZ + 1e-6, np.eye(3)))
    assert not frame.is_close(make_frame(QUARTZ + 1e-4, np.eye(3)))
