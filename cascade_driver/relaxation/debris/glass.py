r"""From pairs to a glass: what much debris has of two-level systems, and what it gives off within a year.

The standard model is flat in the asymmetry and in the logarithm of the tunnelling amplitude,

.. math:: P(\Delta, \Delta_0) = P_0 / \Delta_0, \qquad \Delta \ge 0

P. W. Anderson, B. I. Halperin, C. M. Varma, Phil. Mag. 25, 1 (1972); W. A. Phillips, J. Low Temp. Phys. 7, 351
(1972). Few pairs are two-level systems; those of a wide window stand for them, if the density is flat up to there,
which `DebrisGlass.decades` lets see. The volume is that of the active atoms: P_0 is that of debris without crystal
between.

    N pairs in the window -> P_0 = N / (V W ln(high / low)),    C = P_0 gamma^2 / (rho v^2)

An irradiation of length D makes cascades at a constant rate; at t after its end one of its cascades gives off

    events per second [N(t + D) - N(t)] / D,    heat per second [E(t + D) - E(t)] / D

of the release N, E of one cascade (K. Nordlund et al., arXiv:2408.07518, on such release of silicon; measured:
TESSERACT, arXiv:2603.17964).
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, field_validator

from cascade_driver.errors import InputError
from cascade_driver.relaxation.debris.pairs import (
    DEBRIS_FILE,
    Debris,
    Pair,
    mean_coverage,
    mean_release,
    read_debris,
)
from cascade_driver.relaxation.debris.tunnelling import Solid, StrainCoupling
from cascade_driver.schema import build, findings, parameters, read_json
from cascade_driver.units import A3_PER_M3, SECONDS_PER_DAY, eV_J

#: From where on a release is late: the pulse of a detector is over.
_AFTER_THE_PULSE_s = 1e-3


@parameters
class PairWindow:
    """Pairs that are counted.

    Attributes
    ----------
    asymmetry_below_eV : float
        W; the density is taken as flat up to there.
    tunnelling_eV : (float, float)
        Amplitudes between these.
    """

    asymmetry_below_eV: Annotated[float, Field(gt=0)] = 0.1
    tunnelling_eV: tuple[float, float] = (1e-12, 1e-4)

    @field_validator("tunnelling_eV")
    @classmethod
    def _rise(cls, ends: tuple[float, float]) -> tuple[float, float]:
        if not 0 < ends[0] < ends[1]:
            raise ValueError("must rise and begin above 0")
        return ends

    def has(self, pair: Pair) -> bool:
        """Whether a pair lies in it."""
        low, high = self.tunnelling_eV
        is_flat = abs(pair.ground_asymmetry_eV) < self.asymmetry_below_eV
        return is_flat and pair.tunnelling_eV is not None and low <= pair.tunnelling_eV < high


@findings
class Counted:
    """A number and its standard error, of which the spread from cascade to cascade is part."""

    value: float
    error: float

    def times(self, factor: float) -> Counted:
        """Return it in another unit."""
        return Counted(value=self.value * factor, error=self.error * factor)

    @property
    def told(self) -> str:
        """Value and error."""
        return f"{self.value:.3g} ± {self.error:.2g}"


@findings
class Decade:
    """Pairs whose amplitude lies within a factor of ten, in the window of asymmetries."""

    tunnelling_eV: tuple[float, float]
    pairs_per_cascade: Counted


@findings
class DebrisGlass:
    r"""What a glass made of the debris of cascades has.

    Attributes
    ----------
    cascades, pairs, two_level_systems : int
        Cascades searched, pairs in the window, those of them split by less than 0.1 meV.
    coverage : float
        That of the debris, `pairs.Debris.coverage`: counts are lower bounds.
    volume_A3 : float
        Of the active atoms of all cascades.
    density_per_J_m3 : Counted
        P_0, of :math:`\Delta \ge 0`.
    longitudinal_coupling_eV, transverse_coupling_eV : Counted
        gamma, root mean square over pairs and directions, the transverse one of one polarisation.
    longitudinal_strength, transverse_strength : Counted
        C.
    decades : tuple of Decade
        The distribution of amplitudes; flat in the standard model.
    """

    cascades: int
    pairs: int
    two_level_systems: int
    coverage: float
    volume_A3: float
    density_per_J_m3: Counted
    longitudinal_coupling_eV: Counted
    transverse_coupling_eV: Counted
    longitudinal_strength: Counted
    transverse_strength: Counted
    decades: tuple[Decade, ...]


def read_folders(folders: Sequence[Path]) -> tuple[list[Debris], Solid]:
    """Return the cascades of some folders of searches, and the crystal that they are in.

    Raises
    ------
    InputError
        If a folder is none of searches or has no summary, or they are of different crystals or potentials.
    RecordError
        If a cascade is damaged.
    """
    for folder in folders:
        if not (folder / DEBRIS_FILE).is_file():
            raise InputError(f"{folder}: no folder of `cascade tls debris`; name what that was given as --out")
        if not (folder / "summary.json").is_file():
            raise InputError(
                f"{folder}: not summed up yet; `cascade tls debris RUN --out {folder}` goes on with the search, "
                "with --finished it sums up what is there"
            )
    summaries = [read_json(folder / "summary.json") for folder in folders]
    for name in ("solid", "potential"):
        if len({json.dumps(summary.get(name), sort_keys=True) for summary in summaries}) != 1:
            raise InputError(
                f"searches of different {name}s make no glass: give folders of one crystal and one potential"
            )
    debris = [one for folder in folders for one in read_debris(folder)]
    if not debris:
        raise InputError(f"{folders[0]}: no finished search of a cascade; `cascade tls debris` makes them")
    return debris, build(Solid, summaries[0].get("solid", {}), origin=str(folders[0] / "summary.json"))


def glass_of(debris: Sequence[Debris], *, solid: Solid, window: PairWindow | None = None) -> DebrisGlass:
    """Return the glass that the debris of some cascades makes.

    Raises
    ------
    InputError
        If no pair lies in the window.
    """
    window = window or PairWindow()
    each = [[pair for pair in one.elementary if pair.converged and window.has(pair)] for one in debris]
    pairs = [pair for some in each for pair in some]
    if not pairs:
        raise InputError(
            f"none of the pairs of {len(debris)} cascades lies in the window; search more cascades, or widen "
            "--asymmetry-below-eV or --tunnelling-eV"
        )
    volume = float(sum(one.volume_A3 for one in debris))
    low, high = window.tunnelling_eV
    per_J_m3 = A3_PER_M3 / eV_J / (volume * window.asymmetry_below_eV * np.log(high / low))
    number = _sum_of([[1.0] * len(some) for some in each])
    couplings = [[StrainCoupling(tensor_eV=np.array(pair.strain_coupling_eV)) for pair in some] for some in each]
    along = [[one.longitudinal_squared_eV2 for one in some] for some in couplings]
    across = [[one.transverse_squared_eV2 / 2 for one in some] for some in couplings]
    strengths = [
        _sum_of(squares).times(per_J_m3 * eV_J**2 / (solid.density_kg_m3 * speed**2))
        for squares, speed in ((along, solid.longitudinal_speed_m_s), (across, solid.transverse_speed_m_s))
    ]
    return DebrisGlass(
        cascades=len(debris),
        pairs=len(pairs),
        two_level_systems=sum(pair.is_two_level for pair in pairs),
        coverage=mean_coverage(debris),
        volume_A3=volume,
        density_per_J_m3=number.times(per_J_m3),
        longitudinal_coupling_eV=_root_mean(along),
        transverse_coupling_eV=_root_mean(across),
        longitudinal_strength=strengths[0],
        transverse_strength=strengths[1],
        decades=_decades(each, window),
    )


def _sum_of(values: Sequence[Sequence[float]]) -> Counted:
    """Return the sum over cascades, with the larger of its error as of independent pairs and of cascades."""
    error = np.sqrt(sum(x**2 for some in values for x in some))
    sums = np.array([sum(some) for some in values])
    if len(sums) > 1:
        error = max(error, np.std(sums, ddof=1) * np.sqrt(len(sums)))
    return Counted(value=float(sums.sum()), error=float(error))


def _root_mean(squares: Sequence[Sequence[float]]) -> Counted:
    each = np.array([x for some in squares for x in some])
    root = float(np.sqrt(each.mean()))
    spread = float(each.std(ddof=1) / np.sqrt(each.size)) if each.size > 1 else float(each.mean())
    return Counted(value=root, error=0.5 * spread / root if root > 0 else 0.0)


def _decades(each: Sequence[Sequence[Pair]], window: PairWindow) -> tuple[Decade, ...]:
    low, high = np.log10(window.tunnelling_eV)
    edges = 10 ** np.linspace(low, high, max(1, round(high - low)) + 1)
    counted = []
    for first, last in itertools.pairwise(edges):
        inside = [[1.0 for p in some if first <= (p.tunnelling_eV or 0.0) < last] for some in each]
        number = _sum_of(inside)
        number = Counted(value=number.value, error=max(number.error, 1.0))  # none seen is below one
        ends = (float(first), float(last))
        counted.append(Decade(tunnelling_eV=ends, pairs_per_cascade=number.times(1 / len(each))))
    return tuple(counted)


def read_glass(path: Path) -> DebrisGlass:
    """Return a glass that `cascade tls glass` wrote.

    Raises
    ------
    InputError
        If it is none.
    """
    return build(DebrisGlass, read_json(path).get("glass", {}), origin=str(path))


@dataclass(frozen=True, kw_only=True)
class Afterglow:
    """What a cascade gives off late, alone and as one of an irradiation.

    Attributes
    ----------
    temperature_K, irradiation_s : float
    time_s : (k,) float
        Since the cascade, or since the end of the irradiation.
    released_eV, released_error_eV, events : (k,) float
        Of one cascade from the first of these times on, after its pulse.
    events_per_s, heat_eV_per_s : (k,) float
        After an irradiation, per cascade that it made.
    """

    temperature_K: float
    irradiation_s: float
    time_s: NDArray[np.float64]
    released_eV: NDArray[np.float64]
    released_error_eV: NDArray[np.float64]
    events: NDArray[np.float64]
    events_per_s: NDArray[np.float64]
    heat_eV_per_s: NDArray[np.float64]

    def as_csv(self) -> str:
        """Return all of it, a row per time."""
        names = [field.name for field in dataclasses.fields(self)][2:]
        columns = [getattr(self, name) for name in names]
        rows = [",".join("" if np.isnan(x) else f"{x:.6g}" for x in row) for row in zip(*columns, strict=True)]
        return "\n".join([",".join(names), *rows]) + "\n"


def afterglow(
    debris: Sequence[Debris],
    *,
    solid: Solid,
    temperature_K: Annotated[float, Field(gt=0)] = 0.01,
    irradiation_s: Annotated[float, Field(gt=0, le=365 * SECONDS_PER_DAY)] = SECONDS_PER_DAY,
) -> Afterglow:
    """Return what the debris of cascades gives off from 1 ms to a year, per cascade that stores energy.

    Parameters
    ----------
    debris : sequence of Debris
    solid : Solid
    temperature_K : float
        Of the detector.
    irradiation_s : float
        Length of the irradiation, over which cascades are spread evenly.
    """
    mean = mean_release(debris, solid=solid, temperature_K=temperature_K)
    year_s = 365.25 * SECONDS_PER_DAY
    shown = (mean.time_s >= 0.5 * _AFTER_THE_PULSE_s) & (mean.time_s <= 1.1 * year_s)
    time = mean.time_s[shown]
    pulse = int(np.flatnonzero(shown)[0])
    released, error = mean.since(pulse)
    return Afterglow(
        temperature_K=temperature_K,
        irradiation_s=irradiation_s,
        time_s=time,
        released_eV=released[shown],
        released_error_eV=error[shown],
        events=mean.events[shown] - mean.events[pulse],
        events_per_s=after_irradiation(mean.time_s, mean.events, time, irradiation_s=irradiation_s),
        heat_eV_per_s=after_irradiation(mean.time_s, mean.released_eV, time, irradiation_s=irradiation_s),
    )


def after_irradiation(
    time_s: ArrayLike, until: ArrayLike, at_s: ArrayLike, *, irradiation_s: float
) -> NDArray[np.float64]:
    r"""Return what one cascade gives off per second at times after an irradiation, (m,) float.

    .. math:: \frac{1}{D} \int_0^D \dot N(t + s)\, ds = \frac{N(t + D) - N(t)}{D}

    Parameters
    ----------
    time_s, until : (k,) float
        What one cascade has given off until a time; between times it is a line in the logarithm.
    at_s : (m,) float
    irradiation_s : float
    """
    at, known, given = (np.asarray(values, dtype=np.float64) for values in (at_s, time_s, until))
    early, late = (np.interp(np.log(t), np.log(known), given) for t in (at, at + irradiation_s))
    return np.asarray((late - early) / irradiation_s)
