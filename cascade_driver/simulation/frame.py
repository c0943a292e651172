r"""How a crystal lies in its box: the directions [uvw] and (hkl), and words for the orientation.

All vectors of the project are Cartesian, in the frame of the box (x, y, z along its edges). A crystal's own axes
a, b, c are three rows in that frame, `axes_A`; the direction [uvw] is

.. math:: u\,a + v\,b + w\,c

and the normal of the planes (hkl) is

.. math:: h\,a^* + k\,b^* + l\,c^*, \qquad a_i \cdot a^*_j = \delta_{ij}
"""

from __future__ import annotations

import math
import re
from typing import Annotated

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BeforeValidator

from cascade_driver.errors import InputError
from cascade_driver.schema import parameters

#: Largest index that is looked for when a direction is put into words.
_LARGEST_INDEX = 30
#: A turn that is the rounding of a file.
_NO_TURN_DEG = 0.01
#: Edges of a box are along lattice vectors to within this angle, however large their indices.
_MOST_OFF = 1e-3
#: Digits of lengths in angstrom and of rotations that are kept: below the rounding of structure files.
_DIGITS = 6


def _known(given: object) -> object:
    """Refuse a text that is no direction; numbers are checked where they are asked for."""
    if isinstance(given, str) and not is_direction(given):
        raise ValueError(_EXPECTED)
    return given


def is_direction(text: str) -> bool:
    """Whether a text is a lattice direction `[u v w]` or the normal `(h k l)` of a plane."""
    return any(_indices(text) or ())


_EXPECTED = "expected three numbers, or three indices, not all zero, as in '[1 -1 0]' or '(1 1 0)'"

#: A direction as people give it: a Cartesian vector in the frame of the box, or indices of the crystal.
Direction = Annotated[tuple[float, float, float] | str, BeforeValidator(_known)]

Indices = tuple[int, int, int]
Rows = tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]


@parameters
class Frame:
    """How the crystal of a structure file lies in the box.

    Attributes
    ----------
    axes_A : three rows of three float
        Lattice vectors a, b, c of the file's cell in the frame of the box.
    rotation : three rows of three float
        Proper rotation R from the Cartesian frame of the file to that of the box, x_box = R x_file. The Cartesian
        frame of a CIF is the usual one, a along x and b in the xy plane.
    edges : three rows of three int, optional
        Indices of the directions that became the edges of the box, of a lattice that is sheared for it by more
        than the rounding of its file. `axes_A` are not sheared.
    """

    axes_A: Rows
    rotation: Rows
    edges: tuple[Indices, Indices, Indices] | None = None

    @property
    def turn_deg(self) -> float:
        """Angle of the rotation."""
        cosine = (np.trace(np.array(self.rotation)) - 1) / 2
        return math.degrees(math.acos(min(1.0, max(-1.0, cosine))))

    def is_close(self, other: Frame) -> bool:
        """Whether another frame is the same but for the last digit, which machines may round differently."""
        return np.allclose(self.axes_A, other.axes_A, rtol=0, atol=2e-6) and np.allclose(
            self.rotation, other.rotation, rtol=0, atol=2e-6
        )


def make_frame(axes_A: ArrayLike, rotation: ArrayLike, *, edges: ArrayLike | None = None) -> Frame:
    """Return a frame of matrices (3, 3), rounded so that it is the same on every machine.

    Parameters
    ----------
    axes_A, rotation, edges
        As of `Frame`; edges of any length.
    """
    x, y, z = (None,) * 3 if edges is None else map(_whole, np.asarray(edges, dtype=np.float64))
    told = None if x is None or y is None or z is None else (x, y, z)
    return Frame(axes_A=_rows(axes_A), rotation=_rows(rotation), edges=told)


def _whole(vector: NDArray[np.float64]) -> Indices:
    """Return the smallest whole numbers along lattice coordinates, which centrings make twelfths at worst."""
    found = np.rint(12 * vector).astype(np.int64)
    u, v, w = (found // np.gcd.reduce(found)).tolist()
    return u, v, w


def direction_in_box(given: str | ArrayLike, *, axes_A: ArrayLike) -> tuple[float, float, float]:
    """Return a direction as a vector in the frame of the box.

    Parameters
    ----------
    given : str or three float
        `"[1 1 0]"`, a lattice direction; `"(1 1 0)"`, the normal of a lattice plane; or a Cartesian vector, of
        any length, which is kept as it is.
    axes_A : (3, 3) float
        Rows a, b, c in the frame of the box.

    Raises
    ------
    InputError
        If a text is neither, or all indices are zero.
    """
    if not isinstance(given, str):
        x, y, z = (float(c) for c in np.asarray(given, dtype=np.float64))
        return x, y, z
    if not is_direction(given):
        raise InputError(f"direction {given!r}: {_EXPECTED}")
    axes = np.asarray(axes_A, dtype=np.float64)
    vector = np.array(_indices(given)) @ (axes if given.strip().startswith("[") else np.linalg.inv(axes).T)
    # So that [1 0 0] of a cell along x is (1, 0, 0) and nothing beside it.
    vector = np.round(vector / np.linalg.norm(vector), 9) + 0.0
    return float(vector[0]), float(vector[1]), float(vector[2])


def frame_said(frame: Frame | None, *, of: str = "file") -> str:
    """Return a line about how the crystal `of` a file lies in the box; None is one whose a, b, c are its edges."""
    axes = np.eye(3) if frame is None else np.array(frame.axes_A)
    if frame is None or (np.array_equal(axes, np.diag(axes.diagonal())) and frame.turn_deg < _NO_TURN_DEG):
        return "box: x, y, z along a, b, c of the crystal"
    along = _edges(frame, axes)
    edges = ", ".join(f"{name} along {words}" for name, (words, _) in zip("xyz", along, strict=True))
    off = max(off_deg for _, off_deg in along)
    sheared = f"; sheared by up to {off:.2f} degrees to be orthogonal" if off > _NO_TURN_DEG else ""
    lattice = ", ".join(f"{name} = {_numbers(row)}" for name, row in zip("abc", axes, strict=True))
    turned = f"{_turn_said(frame)} the Cartesian frame of the {of}"
    return f"box: {edges} of the {of}'s cell; {lattice} A; {turned}{sheared}"


def _edges(frame: Frame, axes_A: NDArray[np.float64]) -> list[tuple[str, float]]:
    """Return of each edge of the box the direction that it is along, in words, and by how much that was turned."""
    found = []
    for edge, told in zip(np.eye(3), frame.edges or (None,) * 3, strict=True):
        indices = np.array(told) if told is not None else _smallest_indices(edge, axes_A)
        if indices is None:
            indices = _smallest_indices(edge, axes_A, off=_MOST_OFF)
        if indices is None:
            found.append((_in_words(edge, axes_A), 0.0))
            continue
        along = indices @ axes_A
        off = math.degrees(math.acos(min(1.0, float(along @ edge) / float(np.linalg.norm(along)))))
        found.append((_bracketed(indices), off))
    return found


def _turn_said(frame: Frame) -> str:
    if frame.turn_deg < _NO_TURN_DEG:
        return "not turned against"
    turn = np.array(frame.rotation)
    # The axis is what the rotation leaves in place; its sense makes the angle positive.
    _, _, vt = np.linalg.svd(turn - np.eye(3))
    axis = vt[-1]
    antisymmetric = np.array([turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]])
    if antisymmetric @ axis < 0:
        axis = -axis
    return f"turned by {frame.turn_deg:.1f} degrees about {_numbers(axis)} from"


def _in_words(vector: NDArray[np.float64], axes_A: NDArray[np.float64]) -> str:
    """Return the smallest [uvw] along a vector, or its coordinates on a, b, c if there is none."""
    indices = _smallest_indices(vector, axes_A)
    if indices is not None:
        return _bracketed(indices)
    coordinates = vector @ np.linalg.inv(axes_A)
    return _numbers(coordinates / np.abs(coordinates).max())


def _bracketed(indices: NDArray[np.int64]) -> str:
    return f"[{' '.join(str(i) for i in indices)}]"


def _smallest_indices(
    vector: NDArray[np.float64], axes_A: NDArray[np.float64], *, off: float | None = None
) -> NDArray[np.int64] | None:
    """Return the smallest indices of a direction to within an angle, by default a narrower one for larger ones."""
    coordinates = vector @ np.linalg.inv(axes_A)
    largest = np.abs(coordinates).max()
    for n in range(1, _LARGEST_INDEX + 1):
        scaled = coordinates * n / largest
        indices = np.rint(scaled).astype(np.int64)
        along = indices @ axes_A
        # Not quite, where the cell has been strained to be orthogonal; large indices come near to anything.
        if np.linalg.norm(along - (along @ vector) * vector) < (off or 1e-3 / n) * np.linalg.norm(along):
            return np.asarray(indices, dtype=np.int64)
    return None


def _numbers(vector: ArrayLike) -> str:
    return f"({', '.join(f'{x:.3f}' for x in np.round(np.asarray(vector), 3) + 0.0)})"


def _rows(matrix: ArrayLike) -> Rows:
    x, y, z = (
        (float(row[0]), float(row[1]), float(row[2]))
        for row in np.round(np.asarray(matrix, dtype=np.float64), _DIGITS) + 0.0
    )
    return x, y, z


def _indices(text: str) -> tuple[int, int, int] | None:
    """Return the three integers of `[1 -1 0]`, `[1,-1,0]`, `[1-10]` or the same in round brackets."""
    match = re.fullmatch(r"\s*(?:\[([^\[\]]*)\]|\(([^()]*)\))\s*", text)
    if match is None:
        return None
    inside = (match[1] if match[1] is not None else match[2]).strip()
    parts = re.split(r"[\s,]+", inside)
    if len(parts) == 1:
        parts = re.findall(r"-?\d", inside) if re.fullmatch(r"(-?\d){3}", inside) else parts
    if len(parts) != 3 or not all(re.fullmatch(r"[+-]?\d{1,4}", part) for part in parts):
        return None
    return int(parts[0]), int(parts[1]), int(parts[2])
