"""Everything that defines one cascade, and its id.

A cascade is a protocol (crystal, potential, temperature, how it is followed and quenched), which a campaign's
cascades share, and what is its own: the thermal starting state, the knock-on, with later kicks if it gets any, and
the seed.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import cached_property
from typing import Literal

from pydantic import Field, field_validator, model_validator

from cascade_driver.errors import InputError
from cascade_driver.schema import digest, parameters, plain
from cascade_driver.simulation.crystal import CrystalSpec, identity
from cascade_driver.simulation.named_crystals import (
    SHARES,
    TemperatureRule,
    named_crystals,
    ruled_temperature_K,
)
from cascade_driver.simulation.stopping import ElectronicStopping
from cascade_driver.units import AMU_MeV

#: 3/8 of the Debye temperature Theta of CaWO4 (354 K, doi:10.1103/PhysRevB.70.214306): the classical temperature
#: whose vibrations have the energy of the quantum zero-point motion (Soum-Sidikov et al. 2024, refs. 32, 34). In
#: the Debye model k T = <hbar omega>/2 = 3/8 k Theta. Their mean square displacement is 1.5 times that of the
#: zero-point motion, which it equals at Theta/4, 89 K: k T/M <1/omega^2> = hbar/(2 M) <1/omega>.
ZERO_POINT_TEMPERATURE_CAWO4_K = 133.0


@parameters
class ThermalSpec:
    """The thermal starting states: the section `[thermal]`.

    Attributes
    ----------
    temperature_K : float
        Classical temperature; the default has the energy of the zero-point motion of CaWO4. Of a quantum start the
        real one.
    start : 'quantum', optional
        Draws positions and velocities from the quantum distribution of the crystal's own harmonic modes,
        zero-point motion included, in place of a thermostat (`zero_point`); each snapshot by itself. The
        default is a classical start.
    temperature : str, optional
        Instead: a rule that works it out of the Debye temperature, `zero-point-energy` (3/8 of it) or
        `zero-point-width` (1/4), see `named_crystals`.
    debye_temperature_K : float, optional
        Of the crystal, for that rule; named crystals have their own.
    equilibration_ps : float
        Time under a Langevin thermostat before the first snapshot.
    damping_ps : float
        Its damping time.
    snapshot_interval_ps : float
        Time at constant energy between one snapshot and the next.
    timestep_fs : float
        Time step of it all; 1 fs is 1/37 of the period of the fastest W-O vibration.
    """

    temperature_K: float = Field(default=ZERO_POINT_TEMPERATURE_CAWO4_K, gt=0, le=5000)
    start: Literal["quantum"] | None = None
    temperature: TemperatureRule | None = None
    debye_temperature_K: float | None = Field(default=None, gt=0, le=5000)
    equilibration_ps: float = Field(default=5.0, gt=0)
    damping_ps: float = Field(default=0.1, gt=0)
    snapshot_interval_ps: float = Field(default=1.0, gt=0)
    timestep_fs: float = Field(default=1.0, gt=0, le=5)

    @model_validator(mode="after")
    def _quantum_needs_the_real_temperature(self) -> ThermalSpec:
        stand_in = self.temperature is not None or self.temperature_K == ZERO_POINT_TEMPERATURE_CAWO4_K
        if self.start == "quantum" and stand_in:
            raise ValueError(
                "a quantum start has its zero-point motion by itself: give the real temperature_K, such as 0.02"
            )
        return self

    @model_validator(mode="after")
    def _rule_and_number_agree(self) -> ThermalSpec:
        if self.temperature is None:
            if self.debye_temperature_K is not None:
                raise ValueError("`debye_temperature_K` belongs to a rule; add temperature = 'zero-point-energy'")
            return self
        known = self.debye_temperature_K
        ruled_K = None if known is None else ruled_temperature_K(self.temperature, known)
        if self.temperature_K not in (ZERO_POINT_TEMPERATURE_CAWO4_K, ruled_K):
            raise ValueError("give either `temperature_K` or the rule `temperature`, not both")
        if ruled_K is not None:
            object.__setattr__(self, "temperature_K", ruled_K)  # frozen for all others
        return self

    @property
    def content(self) -> Mapping[str, object]:
        """What enters ids: the temperature by its number, however it was come by."""
        return {k: v for k, v in plain(self).items() if k not in {"temperature", "debye_temperature_K"}}


def thermal_of(thermal: ThermalSpec, crystal: CrystalSpec) -> ThermalSpec:
    """Return `thermal` with the temperature that its rule gives to a crystal.

    Raises
    ------
    InputError
        If the crystal has no name, and no Debye temperature is given.
    """
    if thermal.temperature is None or thermal.debye_temperature_K is not None:
        return thermal
    named = named_crystals().get(crystal.name or "")
    if named is None or named.debye_temperature_K is None:
        raise InputError(
            f"[thermal] temperature = {thermal.temperature!r}: no Debye temperature is known of "
            f"{crystal.name or crystal.file}; give debye_temperature_K, or temperature_K in place of the rule"
        )
    return replace(thermal, debye_temperature_K=named.debye_temperature_K)


def thermal_said(thermal: ThermalSpec) -> str:
    """Return the temperature in words, with the rule that it comes from."""
    said = f"{thermal.temperature_K:g} K" + (", quantum start" if thermal.start == "quantum" else "")
    if thermal.temperature is None:
        return said
    share = Fraction(SHARES[thermal.temperature])
    return f"{said} ({thermal.temperature}: {share} of the Debye temperature, {thermal.debye_temperature_K:g} K)"


@parameters
class BorderThermostat:
    """A Langevin thermostat on the atoms near the periodic faces, which takes the heat of the recoil away.

    Attributes
    ----------
    width_A : float
        Thickness of the thermostatted layer inside each face.
    damping_ps : float
        Damping time.
    """

    width_A: float = Field(default=4.0, gt=0)
    damping_ps: float = Field(default=0.1, gt=0)


@parameters
class SettledStop:
    """When a flight may end before `duration_ps`: the table `settled` of `[follow]`.

    A copy of the box is quenched now and then. Once what it stores has not changed for a while, no pair recombines
    any more, and the flight is over. A fit to the potential energy of the moving box, as of a cold crystal, would
    see the heat of its atoms: 1 eV in 1500 of them at 133 K.

    Attributes
    ----------
    every_ps : float
        Time from one copy to the next.
    within_eV : float
        Stored energies that differ by less are the same.
    for_ps : float
        So long they must have been the same.
    """

    every_ps: float = Field(default=0.5, gt=0)
    within_eV: float = Field(default=0.05, gt=0)
    for_ps: float = Field(default=1.0, gt=0)

    @model_validator(mode="after")
    def _looks_twice(self) -> SettledStop:
        if self.for_ps < self.every_ps:
            raise ValueError(f"`for_ps` = {self.for_ps:g} is shorter than `every_ps` = {self.every_ps:g}")
        return self

    def times_ps(self, duration_ps: float) -> tuple[float, ...]:
        """Return when copies are quenched in a flight of at most `duration_ps`."""
        return tuple(self.every_ps * number for number in range(1, math.ceil(duration_ps / self.every_ps)))

    def is_settled(self, time_ps: Sequence[float], stored_energy_eV: Sequence[float]) -> bool:
        """Return whether copies at these times say that nothing changes any more."""
        first = time_ps[-1] - self.for_ps
        # A flight looks a few steps late, each time by another number of them.
        late = [
            stored for at, stored in zip(time_ps, stored_energy_eV, strict=True) if at >= first - self.every_ps / 2
        ]
        is_long = time_ps[0] <= first + self.every_ps / 2
        return is_long and max(late) - min(late) <= self.within_eV


@parameters
class FollowSpec:
    """How a cascade is followed: the section `[follow]`.

    Attributes
    ----------
    duration_ps : float
        Time from the kick to the quench; from the last one, if the knock-on gets several.
    max_displacement_A : float
        No atom moves farther in a step.
    max_timestep_fs : float
        No step is longer.
    border : BorderThermostat, optional
        Without it the box is closed and its energy conserved.
    energy_drift_tolerance_eV : float
        A larger change of the total energy (what the border took out added back) is an outcome of its own.
    small_box : true, optional
        The box may be too small for the recoil, as those are that first principles can follow: neither its width
        nor its heating is checked, and a knock-on may pass its own image. Such cascades are there to be held
        against others of the same box.
    also_quench_at_ps : list of float, optional
        Times, counted as `duration_ps`, at which a copy of the box is quenched too; the flight goes on as if it
        were not. What is stored at each, cascade by cascade, tells whether `duration_ps` is long enough:
        `cascade compare RUN`.
    settled : SettledStop, optional
        The flight ends once what is stored does not change any more; `duration_ps` is the longest then.
    electronic_stopping : ElectronicStopping, optional
        What electrons take from fast atoms; by default nothing.
    """

    duration_ps: float = Field(default=8.0, gt=0)
    max_displacement_A: float = Field(default=0.01, gt=0, le=0.1)
    max_timestep_fs: float = Field(default=1.0, gt=0, le=5)
    border: BorderThermostat | None = None
    energy_drift_tolerance_eV: float = Field(default=0.5, gt=0)
    small_box: Literal[True] | None = None
    also_quench_at_ps: tuple[float, ...] | None = None
    settled: SettledStop | None = None
    electronic_stopping: ElectronicStopping | None = None

    @model_validator(mode="after")
    def _quenches_come_in_order(self) -> FollowSpec:
        times = (0.0, *(self.also_quench_at_ps or ()), self.duration_ps)
        if any(not before < after for before, after in itertools.pairwise(times)):
            raise ValueError(
                f"`also_quench_at_ps` is {list(times[1:-1])}; expected rising times between 0 and `duration_ps`, "
                f"{self.duration_ps:g}"
            )
        return self

    @model_validator(mode="after")
    def _copies_have_one_reason(self) -> FollowSpec:
        if self.settled and self.also_quench_at_ps:
            raise ValueError("`settled` chooses when copies are quenched: leave out `also_quench_at_ps`")
        if self.settled and self.settled.for_ps + self.settled.every_ps > self.duration_ps:
            raise ValueError(
                f"`settled` sees nothing in `duration_ps` = {self.duration_ps:g}: make that longer than "
                f"{self.settled.for_ps + self.settled.every_ps:g} ps, its `for_ps` and `every_ps` together"
            )
        return self


@parameters
class QuenchSpec:
    """How states are quenched: the section `[quench]`.

    Attributes
    ----------
    force_tolerance_eV_A : float
        The minimiser stops when the norm of all forces is below it.
    max_iterations : int
        Or after this many iterations.
    largest_force_eV_A : float
        If a force component is larger than this in the end, the state was not quenched: an outcome of its own.
    method : "cg-stiffness" or "stiffness", optional
        By default conjugate gradients alone. `cg-stiffness`: where they have come so far that no component of a
        force is larger than 0.2 eV/A, the crystal's force constants find the rest (`descent`), which takes half
        the time to the same minimum; a box that is no bulk crystal goes on by conjugate gradients. `stiffness`:
        the same from the start, for runs that have begun with it; it ends in other minima, lower ones in the mean.
    """

    force_tolerance_eV_A: float = Field(default=1e-4, gt=0)
    max_iterations: int = Field(default=5000, ge=1)
    largest_force_eV_A: float = Field(default=1e-2, gt=0)
    method: Literal["cg-stiffness", "stiffness"] | None = None


@parameters
class LaterKick:
    r"""A kick that the knock-on gets while it may still move, as when its nucleus emits another gamma.

    It adds the momentum p to what the atom has at that moment. The momentum is kept as the recoil energy from rest

    .. math:: E = \frac{p^2}{2 M}, \qquad p = \frac{E_\gamma}{c} \text{ for a gamma,}

    in the form of the first kick: how the energies of two kicks combine (`kick_sequence`) then does not depend on
    whether the isotope's mass M moves or, as here, the element's mean mass.

    Attributes
    ----------
    time_fs : float
        Time after the first kick.
    direction : three float
        Unit vector of the momentum that the atom gains, in the crystal frame: opposite to the gamma.
    recoil_energy_eV : float
        Kinetic energy that it would give to the atom at rest.
    """

    time_fs: float = Field(ge=0)
    direction: tuple[float, float, float]
    recoil_energy_eV: float = Field(gt=0)

    def momentum_keV_c(self, mass_u: float) -> tuple[float, float, float]:
        """Return the momentum gained by a nucleus of mass `mass_u`, in keV/c: for a gamma its energy in keV."""
        size = math.sqrt(2 * mass_u * AMU_MeV * self.recoil_energy_eV) / math.hypot(*self.direction)
        x, y, z = self.direction
        return size * x, size * y, size * z


@parameters
class KnockOn:
    """A primary knock-on atom: which, where to, how fast.

    Attributes
    ----------
    species : str
        Its chemical symbol; of that species, the atom nearest the centre.
    region : int, optional
        0 for a bulk crystal or a substrate, 1 for a film; None for anywhere.
    direction : three float
        Unit vector in the crystal frame.
    recoil_energy_eV : float
        Kinetic energy that replaces its thermal one.
    then : list of LaterKick, optional
        Kicks that the same atom gets after it, in the order of time.
    """

    species: str
    region: int | None = None
    direction: tuple[float, float, float]
    recoil_energy_eV: float = Field(gt=0)
    then: tuple[LaterKick, ...] | None = None

    @field_validator("then")
    @classmethod
    def _in_order(cls, then: tuple[LaterKick, ...] | None) -> tuple[LaterKick, ...] | None:
        for before, after in itertools.pairwise(then or ()):
            if after.time_fs < before.time_fs:
                raise ValueError(
                    f"a kick at {after.time_fs:g} fs comes after one at {before.time_fs:g} fs; give them in the "
                    "order of time"
                )
        # None is left out of what is hashed: no kicks are no kicks.
        return then or None


@parameters
class Protocol:
    """What the cascades of a campaign have in common.

    Attributes
    ----------
    crystal, thermal, follow, quench
        As in the input.
    potential_name : str
        For people.
    potential_digest : str
        What counts: the hash of the potential's content.
    campaign_seed : int
        Root of all random numbers.
    """

    crystal: CrystalSpec
    potential_name: str
    potential_digest: str
    thermal: ThermalSpec = ThermalSpec()
    follow: FollowSpec = FollowSpec()
    quench: QuenchSpec = QuenchSpec()
    campaign_seed: int = Field(default=1, ge=0)

    @cached_property
    def start_id(self) -> str:
        """Name of the set of thermal starting states that this protocol needs."""
        return digest(self._start_content)

    @cached_property
    def digest(self) -> str:
        """Hash of the whole protocol."""
        return digest({"start": self._start_content, "follow": plain(self.follow)})

    @cached_property
    def _start_content(self) -> Mapping[str, object]:
        return {
            "crystal": identity(self.crystal),
            "potential": self.potential_digest,
            "thermal": self.thermal.content,
            "quench": plain(self.quench),
            "seed": self.campaign_seed,
        }


@parameters
class CascadeSpec:
    """Everything that defines one cascade.

    Attributes
    ----------
    protocol : Protocol
        What it shares with its campaign.
    snapshot : int
        Index of the thermal starting state.
    knock_on : KnockOn
        The kick.
    seed : int
        Of the border thermostat; in the range of LAMMPS.
    """

    protocol: Protocol
    snapshot: int = Field(ge=0)
    knock_on: KnockOn
    seed: int = Field(ge=1, le=900_000_000)

    @cached_property
    def id(self) -> str:
        """The cascade's name: the hash of its content."""
        return cascade_id(
            protocol_digest=self.protocol.digest,
            snapshot=self.snapshot,
            species=self.knock_on.species,
            region=self.knock_on.region,
            direction=self.knock_on.direction,
            recoil_energy_eV=self.knock_on.recoil_energy_eV,
            seed=self.seed,
            then=self.knock_on.then,
        )


def cascade_id(
    *,
    protocol_digest: str,
    snapshot: int,
    species: str,
    region: int | None,
    direction: tuple[float, float, float],
    recoil_energy_eV: float,
    seed: int,
    then: tuple[LaterKick, ...] | None = None,
) -> str:
    """Return the id of a cascade; 16 hexadecimal digits, among 1e5 cascades a collision is a 1e-9 chance."""
    kick = [species, -1 if region is None else region, *direction, recoil_energy_eV]
    # What has one kick only keeps the name that it had before there were others.
    later = [[[k.time_fs, *k.direction, k.recoil_energy_eV] for k in then]] if then else []
    return digest([protocol_digest, snapshot, kick, seed, *later])
