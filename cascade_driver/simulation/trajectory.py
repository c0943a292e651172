"""A film of a cascade, if one is wanted: frames at even times, compressed while it runs.

A trajectory is looked at and never computed from: it is no part of what names a cascade, and the engine gives
positions away without being touched, so that energies are the same to the last digit with and without.
"""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cascade_driver.schema import parameters
from cascade_driver.simulation.defects import drift_A
from cascade_driver.units import FS_PER_PS

TRAJECTORY_FILE = "trajectory.extxyz.gz"

#: An atom belongs to a film once it has been so far from its start: beyond thermal motion, below half a bond.
_MOVED_A = 0.5


@parameters
class TrajectorySpec:
    """Which trajectory is kept of each cascade: the key `trajectory` of `[work]`.

    Attributes
    ----------
    every_fs : float
        Time from one frame to the next; a frame is taken at the first step that reaches it.
    atoms : str
        `moved`: those that have been more than 0.5 angstrom away from where they started, and the knock-on; 11
        bytes per frame and atom on disk. `all`: 9 bytes.
    """

    every_fs: float = Field(gt=0)
    atoms: Literal["moved", "all"] = "moved"


class TrajectoryWriter:
    """Writes frames as extended XYZ, which OVITO and ASE open as it is; a context.

    Each frame has the columns species, pos (angstrom, unwrapped, the drift of the box removed) and id (1, 2, ...
    as in the final structure), and `time_ps` since the kick. What is there when the context ends is complete.

    Parameters
    ----------
    path : pathlib.Path
        The file to write.
    wanted : TrajectorySpec
        Which frames and atoms.
    symbols : n str
        Species of the atoms.
    lengths_A : (3,) float
        Edges of the box.
    periodic : three bool
        Along which axes it repeats.
    """

    def __init__(
        self,
        path: Path,
        wanted: TrajectorySpec,
        *,
        symbols: Sequence[str],
        lengths_A: NDArray[np.float64],
        periodic: Sequence[bool],
    ) -> None:
        self.path = path
        self.frames = 0
        self._every_ps = wanted.every_fs / FS_PER_PS
        self._next_ps = 0.0
        self._symbols = symbols
        self._lengths_A = np.asarray(lengths_A, dtype=np.float64)
        self._periodic = tuple(bool(p) for p in periodic)
        self._wrap = np.where(np.asarray(periodic, dtype=bool), 1 / self._lengths_A, 0.0)
        lattice = " ".join(f"{x:.8f}" for x in np.diag(self._lengths_A).ravel())
        flags = " ".join("FT"[int(p)] for p in periodic)
        self._header = f'Lattice="{lattice}" Properties=species:S:1:pos:R:3:id:I:1 pbc="{flags}"'
        self._start_A: NDArray[np.float64] | None = None
        self._now_A: NDArray[np.float64] = np.zeros((len(symbols), 3))
        self._chosen = np.full(len(symbols), wanted.atoms == "all")
        self._stream = path.open("wb")
        # No name and no time in it: the same cascade gives the same bytes.
        self._packed = gzip.GzipFile(filename="", fileobj=self._stream, mode="wb", mtime=0)

    def __enter__(self) -> TrajectoryWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            try:
                self._packed.close()
            finally:
                self._stream.close()
            return
        # What failed already is what is told.
        with suppress(OSError):
            self._packed.close()
        with suppress(OSError):
            self._stream.close()

    def see(self, *, time_ps: float, pka: int, ids: NDArray[np.int32], positions_A: NDArray[np.float64]) -> None:
        """Take a frame if it is time for one.

        Parameters
        ----------
        time_ps : float
            Time since the kick.
        pka : int
            The knock-on atom, from 0.
        ids : (n,) int
            Which atoms the positions are of, from 1.
        positions_A : (n, 3) float
            Positions, wrapped or not.

        Raises
        ------
        OSError
            If the disk is full.
        """
        if time_ps < self._next_ps:
            return
        # Not the last frame's time plus the interval: the lateness of each frame would add up.
        self._next_ps = (np.floor(time_ps / self._every_ps + 1e-9) + 1) * self._every_ps
        ordered = np.empty_like(self._now_A)
        ordered[ids - 1] = positions_A
        if self._start_A is None:
            self._start_A = self._now_A = ordered
        step = ordered - self._now_A
        self._now_A = self._now_A + step - self._lengths_A * np.round(step * self._wrap)
        moved = self._now_A - self._start_A
        drift = drift_A(moved, periodic=self._periodic)
        self._chosen |= np.einsum("ij,ij->i", moved - drift, moved - drift) > _MOVED_A**2
        self._chosen[pka] = True
        self._write(time_ps, self._now_A - drift)

    def _write(self, time_ps: float, positions_A: NDArray[np.float64]) -> None:
        chosen = np.flatnonzero(self._chosen)
        lines = [str(len(chosen)), f"{self._header} time_ps={time_ps:.6f}"]
        lines += [
            f"{self._symbols[i]} {x:.3f} {y:.3f} {z:.3f} {i + 1}"
            for i, (x, y, z) in zip(chosen.tolist(), positions_A[chosen].tolist(), strict=True)
        ]
        self._packed.write(("\n".join(lines) + "\n").encode("ascii"))
        self.frames += 1
