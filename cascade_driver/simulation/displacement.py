"""Does one kick displace an atom for good? The question behind a threshold displacement energy.

An atom is *displaced* when a Frenkel pair is left some picoseconds after the kick: by the Wigner-Seitz census
against the quenched start, some site is empty or holds an atom of another species. Or, as an option, when the box
has stored more than so much energy after a quench.

kick one atom; every 25 fs:
    all sites hold their own species, nobody moves far or fast   -> not displaced, stop
    the same defects for a while, nobody fast                    -> displaced, stop
at the end of the time: the census decides

The two early answers save most of the time: a recoil below the threshold is back within half a picosecond.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from ase.data import atomic_masses, atomic_numbers
from numpy.typing import NDArray
from pydantic import Field

from cascade_driver.schema import findings, parameters
from cascade_driver.simulation.defects import DISPLACED_BEYOND_A, Census, take_census
from cascade_driver.simulation.engine import EngineAbortError, Motion, WatchfulEngine, flight_rules
from cascade_driver.simulation.knock_on import kick_velocity
from cascade_driver.simulation.outcome import Outcome
from cascade_driver.simulation.spec import FollowSpec, QuenchSpec
from cascade_driver.simulation.start import Box, Snapshot
from cascade_driver.units import FS_PER_PS

#: An attempt whose energy drifts too much is made again with steps of this share.
_SHORTER = 1 / 3

#: Damage within this share of the box from the image of the knock-on has met it, or is about to.
_NEAR_IMAGE = 0.1


@parameters
class DisplacedSpec:
    """When an atom counts as displaced, and when that is clear.

    Attributes
    ----------
    criterion : str
        `frenkel`, a pair is left at the end (Wigner-Seitz), or `stored`, a quench then leaves `stored_above_eV`.
    stored_above_eV : float
        For the latter; a Frenkel pair stores several eV.
    early : bool
        Answer before the time is over where nothing can change any more; otherwise each attempt is followed to the
        end.
    look_every_fs : float
        Time between two looks at the box.
    calm_eV : float
        For an early answer no atom has more kinetic energy: far less than it takes to make or to move a defect in
        one collision.
    calm_A : float
        And for an early "not displaced" none is farther from its site: less than half of the way to the next one.
    settled_fs : float
        An early "displaced" needs the same defects so long.
    """

    criterion: Literal["frenkel", "stored"] = "frenkel"
    stored_above_eV: float = Field(default=1.0, gt=0)
    early: bool = True
    look_every_fs: float = Field(default=25.0, gt=0)
    calm_eV: float = Field(default=0.6, gt=0)
    calm_A: float = Field(default=0.7, gt=0)
    settled_fs: float = Field(default=400.0, ge=0)


@findings
class Attempt:
    """One kick and what became of it.

    Attributes
    ----------
    recoil_energy_eV : float
    snapshot, atom : int
        The thermal start, and which of its atoms was kicked.
    displaced : bool
    defects : int
        Empty sites and antisites at the end.
    stored_energy_eV : float, optional
        Where the criterion asks for it.
    decided_ps : float
        Time of the answer.
    early : bool
        Whether that was before the end.
    met_image : bool
        Whether damage came near the image of the knock-on: the box is small for it.
    energy_drift_eV : float
        Change of the total energy.
    cpu_s : float
        Process time.
    """

    recoil_energy_eV: float
    snapshot: int
    atom: int
    displaced: bool
    defects: int
    decided_ps: float
    early: bool
    met_image: bool
    energy_drift_eV: float
    cpu_s: float
    stored_energy_eV: float | None = None


@dataclass(frozen=True, kw_only=True)
class Kick:
    """Which atom of which start is kicked, and how.

    Attributes
    ----------
    snapshot : Snapshot
    atom : int
    direction : (3,) float
    recoil_energy_eV : float
    seed : int
        Of a border thermostat.
    """

    snapshot: Snapshot
    atom: int
    direction: NDArray[np.float64]
    recoil_energy_eV: float
    seed: int


def attempt(
    kick: Kick,
    *,
    box: Box,
    engine: WatchfulEngine,
    follow: FollowSpec,
    quench: QuenchSpec,
    displaced: DisplacedSpec,
    temperature_K: float,
) -> Attempt:
    """Kick one atom and return whether it is displaced.

    Parameters
    ----------
    kick : Kick
    box : Box
        Of the snapshot.
    engine : WatchfulEngine
        With the potential; its box is replaced.
    follow : FollowSpec
        Largest time, steps, border.
    quench : QuenchSpec
        For the criterion `stored`.
    displaced : DisplacedSpec
    temperature_K : float
        Of a border thermostat.

    Raises
    ------
    EngineAbortError
        If the engine gives up, or energy is not conserved even by shorter steps.
    """
    began = time.process_time()
    rules = flight_rules(
        follow,
        temperature_K=temperature_K,
        seed=kick.seed,
        symbols=box.symbols,
        volume_A3=float(np.prod(box.lengths_A)),
    )
    for share in (1.0, _SHORTER):
        judge = _Judge(kick, box=box, spec=displaced)
        engine.read(kick.snapshot.state, periodic=box.periodic, held=box.held.tolist())
        drift = engine.follow_until(
            judge,
            pka=kick.atom,
            velocity_A_ps=kick_velocity(
                recoil_energy_eV=kick.recoil_energy_eV,
                mass_amu=float(atomic_masses[atomic_numbers[box.symbols[kick.atom]]]),
                direction=kick.direction,
                kinetic_eV_per_amu_A2_ps2=engine.kinetic_eV_per_amu_A2_ps2,
            ),
            rules=replace(
                rules,
                max_displacement_A=rules.max_displacement_A * share,
                max_timestep_ps=rules.max_timestep_ps * share,
            ),
            look_every_ps=displaced.look_every_fs / FS_PER_PS,
        )
        if abs(drift) <= follow.energy_drift_tolerance_eV:
            break
    else:
        raise EngineAbortError(
            Outcome.ENERGY_DRIFT,
            f"the total energy drifts by {drift:+.2f} eV after {kick.recoil_energy_eV:g} eV; lower [follow] "
            "max_displacement_A",
        )
    stored, is_displaced = None, judge.defects > 0
    if displaced.criterion == "stored":
        stored = 0.0
        if is_displaced or not judge.early:
            end = engine.minimise(
                force_tolerance_eV_A=quench.force_tolerance_eV_A, max_iterations=quench.max_iterations
            )
            stored = end.potential_energy_eV - kick.snapshot.reference_energy_eV
        is_displaced = stored > displaced.stored_above_eV
    return Attempt(
        recoil_energy_eV=kick.recoil_energy_eV,
        snapshot=kick.snapshot.index,
        atom=kick.atom,
        displaced=is_displaced,
        defects=judge.defects,
        stored_energy_eV=None if stored is None else round(stored, 6),
        decided_ps=round(judge.time_ps, 4),
        early=judge.early,
        met_image=judge.met_image,
        energy_drift_eV=round(drift, 5),
        cpu_s=round(time.process_time() - began, 3),
    )


class _Judge:
    """Looks at the box and says when it is clear what will be left."""

    def __init__(self, kick: Kick, *, box: Box, spec: DisplacedSpec) -> None:
        self._box, self._spec = box, spec
        self._reference = kick.snapshot.reference_positions_A
        period = np.where(box.periodic, box.lengths_A, math.inf)
        offset = self._reference - self._reference[kick.atom]
        offset -= np.where(np.asarray(box.periodic), np.round(offset / period), 0.0) * box.lengths_A
        #: Sites as far from the knock-on, along a periodic axis, as its image is, nearly.
        self._far = (np.abs(offset) > (0.5 - _NEAR_IMAGE) * period).any(axis=1)
        self._same_since: tuple[float, bytes] | None = None
        self._calm_before = False
        self.time_ps, self.defects, self.early, self.met_image = 0.0, 0, False, False

    def __call__(self, look: Motion) -> bool:
        census = take_census(
            symbols=self._box.symbols,
            reference_A=self._reference,
            final_A=look.positions_A,
            lengths_A=self._box.lengths_A,
            periodic=self._box.periodic,
        )
        self.time_ps = look.time_ps
        self.defects = sum(census.vacancies.values()) + sum(census.antisites.values())
        away = np.linalg.norm(census.displacement_A, axis=1)
        self.met_image |= bool((away[self._far] > DISPLACED_BEYOND_A).any())
        self.early = self._spec.early and self._is_clear(look, census)
        return self.early

    def _is_clear(self, look: Motion, census: Census) -> bool:
        calm = bool(look.kinetic_energy_eV.max() < self._spec.calm_eV)
        if not self.defects:
            self._same_since = None
            calm = calm and bool(census.site_distance_A.max() < self._spec.calm_A)
            # Twice, or an atom at a turning point looks calm.
            clear, self._calm_before = calm and self._calm_before, calm
            return clear
        self._calm_before = False
        seen = np.sort(census.vacancy_positions_A.round(1), axis=0).tobytes() + bytes([self.defects % 256])
        if not calm or self._same_since is None or self._same_since[1] != seen:
            self._same_since = (look.time_ps, seen)
        return look.time_ps - self._same_since[0] >= self._spec.settled_fs / FS_PER_PS
