"""The LAMMPS backend.

Every command that LAMMPS receives is kept in `commands`: written to a file they are a bare LAMMPS script that
does the same, to the bit. In commands `${name}` stands for a folder; see `with_folders`.
"""

# ASE and LAMMPS annotate only part of what they offer:
# mypy: disallow-untyped-calls=False, warn-return-any=False

from __future__ import annotations

import contextlib
import errno
import math
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import ase
import numpy as np
import scipy
from ase.data import atomic_masses, atomic_numbers
from numpy.typing import NDArray

from cascade_driver.errors import EngineError
from cascade_driver.simulation.engine import (
    EngineAbortError,
    Flight,
    FlightRules,
    HeatedBorder,
    Look,
    MeasuredKick,
    Minimum,
    Motion,
    Onlooker,
    VelocityKick,
)
from cascade_driver.simulation.lammps_build import EngineSpec, new_instance, said_of
from cascade_driver.simulation.outcome import Outcome
from cascade_driver.simulation.potential import Potential
from cascade_driver.simulation.provenance import EngineLibrary
from cascade_driver.simulation.stopping import StoppingCurves

#: Verlet skin. Rebuilds are checked at every step: a fast recoil crosses half of it in a few steps.
_SKIN_A = 1.0

#: A flight stops on elapsed time, not on this number of steps.
_MOST_STEPS = 2_000_000_000

#: Conjugate gradients take 100 to 1000 evaluations of the forces, or get stuck and take any number.
_CONJUGATE_GRADIENT_EVALUATIONS = 1000

#: First step of the damped minimiser; it adapts it.
_FIRE_TIMESTEP_ps = 0.001

#: The elapsed time is looked at every so many steps; a flight ends that much late at most.
_STEPS_BETWEEN_LOOKS = 10

#: Atoms above this kinetic energy are asked for their nearest neighbour: it takes several eV to bring two atoms
#: closer than thermal motion does.
_FAST_eV = 5.0

#: Paths that LAMMPS reads as they are.
_PLAIN_PATH = re.compile(r"[A-Za-z0-9_./+=,@%^~:-]+")

#: Commands of potentials with proper orthogonal descriptors.
_POD = re.compile(r"pair_style\s(.*\s)?pod(\s|$)")

#: What LAMMPS says of a style whose package was not built, or that it did not have yet.
_LACKS = re.compile(r"package which is not enabled|Unrecognized (pair|fix|compute) style")

#: What an evaluation of forces is to LAMMPS, and another one where only positions changed.
_EVALUATE, _EVALUATE_AGAIN = "run 0 post no", "run 1 pre no post no"
_AT_REST = "velocity all set 0 0 0"
_HOLD = "fix hold held setforce 0 0 0"

_NO_FOLDERS: Mapping[str, Path] = MappingProxyType({})

#: LAMMPS' own `nktv2p`: units `metal` give pressures in bar.
_BAR_PER_eV_A3 = 1.6021765e6

# LAMMPS' own constants for `extract_fix` and `extract_compute`.
_GLOBAL, _SCALAR = 0, 0


@contextlib.contextmanager
def with_folders(command: str, folders: Mapping[str, Path]) -> Iterator[str]:
    """Give a command in which `${name}` stands for a folder as LAMMPS can read it, whatever the folder is called.

    LAMMPS refuses letters beyond ASCII, replaces `$` and, in names of files that it writes, `*`, and ends names at
    quotes. An open folder has a plain name for as long as it is open: /proc/self/fd/<number>.
    """
    descriptors = []
    try:
        for name, folder in folders.items():
            if f"${{{name}}}" not in command:
                continue
            plain = str(folder)
            if not _PLAIN_PATH.fullmatch(plain):
                descriptors.append(os.open(folder, os.O_RDONLY | os.O_DIRECTORY))
                plain = f"/proc/self/fd/{descriptors[-1]}"
            command = command.replace(f"${{{name}}}", plain)
        yield command
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _for_people(command: str, folders: Mapping[str, Path]) -> str:
    """Return a command with the folders by their own names, for a bare script."""

    def named(word: str) -> str:
        for name, folder in folders.items():
            word = word.replace(f"${{{name}}}", str(folder))
        return word if word.isascii() and len(word.split()) < 2 else f'"{word}"'

    return " ".join(named(word) if "${" in word else word for word in command.split(" "))


def _run_of_ids(indices: Sequence[int]) -> str:
    """Return 0-based indices as LAMMPS' compact list of ids: 0 1 2 7 becomes `1:3 8`."""
    words: list[str] = []
    ids = sorted(int(i) + 1 for i in indices)
    start = 0
    for k in range(1, len(ids) + 1):
        if k == len(ids) or ids[k] != ids[k - 1] + 1:
            words.append(str(ids[start]) if k - 1 == start else f"{ids[start]}:{ids[k - 1]}")
            start = k
    return " ".join(words)


def _as_ctypes(values: NDArray[Any]) -> Any:
    """Return a copy of an array as LAMMPS takes it, without a detour over Python's numbers."""
    return np.ctypeslib.as_ctypes(np.array(values).ravel())


class LammpsEngine:
    """LAMMPS in this process, single-threaded.

    Parameters
    ----------
    potential : Potential
        What every box of this engine interacts by.
    time_limit_s : float
        Wall time after which a run stops of itself; infinite by default.
    onlooker : Onlooker
        Sees every step of a cascade; none by default.
    lammps : EngineSpec, optional
        Which LAMMPS; by default the one that the environment names, or the installed one.
    """

    def __init__(
        self,
        *,
        potential: Potential,
        time_limit_s: float = math.inf,
        onlooker: Onlooker | None = None,
        lammps: EngineSpec | None = None,
    ) -> None:
        self.potential = potential
        self.commands: list[str] = []
        # Whether nothing but positions changed since the last evaluation; fixes that make more of a step than one.
        self._neighbours_known = False
        self._moving: set[str] = set()
        self._time_limit_s = time_limit_s
        self._onlooker = onlooker
        self._disk_error: OSError | None = None
        self._lmp = new_instance(lammps)
        self._library = said_of(self._lmp, lammps)
        # Asked for now: a closed instance answers 0, and one without a box in units of its own.
        self._version = f"LAMMPS {self._lmp.version()}"
        self._lmp.command("units metal")
        self._kinetic_eV_per_amu_A2_ps2 = float(self._lmp.extract_global("mvv2e"))
        self._held: tuple[int, ...] = ()
        self._n_atoms = 0

    @property
    def version(self) -> str:
        """Name and version, e.g. `LAMMPS 20250722`."""
        return self._version

    @property
    def library(self) -> EngineLibrary | None:
        """Which LAMMPS of one's own; see `Engine.library`."""
        return self._library

    @property
    def kinetic_eV_per_amu_A2_ps2(self) -> float:
        """LAMMPS' rounded value of 1 amu (angstrom/ps)^2 in eV, by which its energies balance."""
        return self._kinetic_eV_per_amu_A2_ps2

    def close(self) -> None:
        """Close the instance; numpy views of its memory must not be used afterwards."""
        self._lmp.close()

    # -- boxes ---------------------------------------------------------------------------------------------

    def build(self, atoms: ase.Atoms) -> None:
        """Make a box of `atoms`; see `Engine.build`."""
        self._require_fit(atoms)
        with tempfile.TemporaryDirectory() as folder:
            state = Path(folder) / "box.data"
            _write_data(state, atoms, species=self.potential.species)
            self.read(state, periodic=[bool(p) for p in atoms.get_pbc()], held=_held_atoms(atoms))

    def read(self, state: Path, *, periodic: Sequence[bool], held: Sequence[int]) -> None:
        """Make a box of a written state; see `Engine.read`."""
        self._start(periodic=periodic)
        self._do(f"read_data ${{state}}/{state.name}", {"state": state.parent})
        self._finish_box(held=held)

    def write(self, state: Path) -> None:
        """Write a LAMMPS data file with 17 digits, which `read_data` gives back to the bit.

        Raises
        ------
        OSError
            If the disk is full, which LAMMPS itself does not notice.
        """
        self._do(f"write_data ${{state}}/{state.name} nocoeff nofix", {"state": state.parent})
        written = state.read_text(encoding="ascii")
        if written.partition("Velocities")[2].count("\n") != self._n_atoms + 2 or written[-1] != "\n":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(state))

    def _start(self, *, periodic: Sequence[bool]) -> None:
        if self.commands:
            self._do("clear")
        self.commands.clear()
        self._do("units metal")
        self._do("atom_style atomic")
        self._do("atom_modify map array")
        # A free face shrink-wraps: an atom that leaves the surface is followed, not lost.
        self._do("boundary " + " ".join("p" if p else "s" for p in periodic))

    def _finish_box(self, *, held: Sequence[int]) -> None:
        self._use(self.potential)
        for kind, symbol in enumerate(self.potential.species, start=1):
            self._do(f"mass {kind} {atomic_masses[atomic_numbers[symbol]]:.17g}")
        self._do(f"neighbor {_SKIN_A} bin")
        self._do("neigh_modify every 1 delay 0 check yes")
        self._held = tuple(int(i) for i in held)
        if self._held:
            self._do(f"group held id {_run_of_ids(self._held)}")
            self._do("group mobile subtract all held")
            self._do("velocity held set 0 0 0")
            self._do(_HOLD)
        else:
            self._do("group mobile union all")
        self._do("compute mobile_temperature mobile temp")
        self._do("thermo_style custom step time temp press pe etotal econserve fmax")
        self._do("thermo_modify temp mobile_temperature norm no lost error flush no")
        self._do("thermo 200")
        if math.isfinite(self._time_limit_s):
            self._do(f"timer timeout {max(1, round(self._time_limit_s))} every 50")
        self._n_atoms = int(self._lmp.get_natoms())
        told = (*self.potential.commands, *(c for part in self.potential.parts for c in part.commands))
        if any(_POD.match(command) for command in told):
            self._require_neighbours()

    def _use(self, potential: Potential) -> None:
        """Let forces come from a potential, in place of another if there is one."""
        for command in potential.commands:
            self._do(command, potential.folders)

    def _require_neighbours(self) -> None:
        """Refuse atoms without neighbours, at the first of which LAMMPS' POD would crash."""
        low, high, *_, periodic, _ = self._lmp.extract_box()
        lengths, x = np.array(high) - np.array(low), self._gather("x") - low
        around = np.where(periodic, lengths, 0.0)
        tree = scipy.spatial.KDTree(np.where(periodic, x % lengths % lengths, x), boxsize=around)
        reach = self.potential.about.cutoff_A + _SKIN_A
        nearest = np.asarray(tree.query(tree.data, k=[2], distance_upper_bound=reach)[0])
        alone = ~np.isfinite(nearest[:, 0])
        if alone.any():
            raise EngineError(
                f"atom {int(np.argmax(alone)) + 1} has no neighbour within {reach:g} A, at which LAMMPS' POD "
                "may crash; leave it out, or choose a potential of another form"
            )

    def _require_fit(self, atoms: ase.Atoms) -> None:
        if not np.allclose(atoms.cell.array, np.diag(atoms.cell.array.diagonal()), atol=1e-9):
            raise ValueError("the box must be orthogonal, with its edges along x, y and z")
        missing = sorted(set(atoms.get_chemical_symbols()) - set(self.potential.species))
        if missing:
            raise EngineError(
                f"potential {self.potential.name} knows {', '.join(self.potential.species)}, "
                f"not {', '.join(missing)}; choose another potential"
            )

    # -- statics -------------------------------------------------------------------------------------------

    def minimise(
        self,
        *,
        force_tolerance_eV_A: float,
        max_iterations: int,
        finish: Callable[[], None] | None = None,
        finish_below_eV_A: float = math.inf,
    ) -> Minimum:
        """Descend by conjugate gradients on the force alone; see `Engine.minimise`.

        An energy tolerance would stop up to 3e-4 eV too high. Where a potential's force bends at its cutoff
        (Tersoff) a line search for the lowest energy may find no step downhill: one for the place where the force
        along the line is zero gets past it, and at last a damped run (FIRE). It is not used from the start, though
        it is cheaper, because it may pass into another minimum: it did from one of ten hot ends in diamond.
        """

        def down() -> Minimum:
            if finish is not None:
                self._approach(finish_below_eV_A, max_iterations)
                finish()
            return self._descend(force_tolerance_eV_A, max_iterations)

        minimum = down()
        if self.potential.quench is None:
            return minimum
        with self._resting():
            return replace(down(), follow_energy_eV=minimum.potential_energy_eV)

    @contextlib.contextmanager
    def _resting(self) -> Iterator[None]:
        """Let the potential act that says where atoms rest, where there are two."""
        if self.potential.quench is None:
            yield
            return
        self._do("pair_style none")
        self._use(self.potential.quench)
        try:
            yield
        finally:
            self._do("pair_style none")
            self._use(self.potential)

    def _approach(self, largest_force_eV_A: float, max_iterations: int) -> None:
        """Descend by conjugate gradients until no component of a force is larger."""
        if math.isinf(largest_force_eV_A):
            return
        self._do("min_style cg")
        self._do("min_modify norm max")
        self._do(f"minimize 0 {largest_force_eV_A:.17g} {max_iterations} {_CONJUGATE_GRADIENT_EVALUATIONS}")
        self._do("min_modify norm two")

    def _descend(self, force_tolerance_eV_A: float, max_iterations: int) -> Minimum:
        self._do("min_style cg")
        self._do(f"minimize 0 {force_tolerance_eV_A:.17g} {max_iterations} {_CONJUGATE_GRADIENT_EVALUATIONS}")
        if self._thermo("fmax") > force_tolerance_eV_A:
            self._do("min_modify line forcezero")
            self._do(f"minimize 0 {force_tolerance_eV_A:.17g} {max_iterations} {_CONJUGATE_GRADIENT_EVALUATIONS}")
        if self._thermo("fmax") > force_tolerance_eV_A:
            if self._has_fire():
                self._do("min_style fire")
                self._do(f"timestep {_FIRE_TIMESTEP_ps}")
            self._do(f"minimize 0 {force_tolerance_eV_A:.17g} {max_iterations} {10 * max_iterations}")
        energy = self._thermo("pe")
        largest = self._thermo("fmax")
        if not (math.isfinite(energy) and math.isfinite(largest)):
            raise EngineAbortError(Outcome.NON_FINITE_ENERGY, f"potential energy {energy} eV after the quench")
        return Minimum(potential_energy_eV=energy, largest_force_eV_A=largest, positions_A=self.state()[0])

    def _has_fire(self) -> bool:
        """Return whether this LAMMPS can run it: with KOKKOS only newer ones can, and others go on with CG."""
        return not self._lmp.extract_setting("kokkos_active") or self._lmp.has_style("minimize", "fire/kk")

    def relax_box(self, *, force_tolerance_eV_A: float) -> NDArray[np.float64]:
        """Relax atoms and box lengths; see `Engine.relax_box`."""
        # The objective of box/relax is strained against the box it started from: a few rounds make it exact.
        for _ in range(4):
            self._do("fix relax all box/relax aniso 0.0 vmax 0.002")
            self._do(f"minimize 0 {force_tolerance_eV_A:.17g} 1000 10000")
            self._do("unfix relax")
        low, high = self._lmp.extract_box()[:2]
        return np.array(high) - np.array(low)

    def potential_energy_eV(self) -> float:
        """Return the potential energy of the box as it is.

        A step in which nothing moves does it with the neighbours that LAMMPS knows; they are found anew if an atom
        has left its skin. `run 0` always finds them and sets all up: some half of the time.
        """
        if self._neighbours_known:
            self._do(_EVALUATE_AGAIN)
        else:
            self._do(_EVALUATE)
            self._neighbours_known = not (self._moving or self._lmp.extract_setting("kokkos_active"))
        return self._thermo("pe")

    def forces_eV_A(self) -> NDArray[np.float64]:
        """Return the forces (n, 3) of the last evaluation, in the order of the atoms."""
        return self._gather("f")

    def stress_eV_A3(self) -> NDArray[np.float64]:
        """Return the stress (3, 3) of the box as it is, without kinetic part; see `Engine.stress_eV_A3`."""
        self._do("compute static all pressure NULL virial")
        self._do("fix ask all ave/time 1 1 1 c_static[*] mode scalar")
        self._do(_EVALUATE)
        xx, yy, zz, xy, xz, yz = (-float(self._lmp.extract_fix("ask", _GLOBAL, 1, i)) for i in range(6))
        self._do("unfix ask")
        self._do("uncompute static")
        return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]) / _BAR_PER_eV_A3

    def virials_eV(self) -> NDArray[np.float64]:
        """Return what each atom adds to the stress of the box; see `Engine.virials_eV`."""
        return self._of_atoms("stress/atom NULL virial", columns=3) / _BAR_PER_eV_A3

    def atom_energies_eV(self) -> NDArray[np.float64]:
        """Return what each atom adds to the potential energy; see `Engine.atom_energies_eV`."""
        with self._resting():
            return self._of_atoms("pe/atom", columns=1)[:, 0]

    def _of_atoms(self, style: str, *, columns: int) -> NDArray[np.float64]:
        """Return what a compute says of each atom (n, columns), in the order of the atoms."""
        self._do(f"compute of_atoms all {style}")
        # A fix that averages over the one step has it evaluated then.
        names = "c_of_atoms" if columns == 1 else " ".join(f"c_of_atoms[{k + 1}]" for k in range(columns))
        self._do(f"fix ask all ave/atom 1 1 1 {names}")
        self._do(_EVALUATE)
        found = np.array(self._lmp.gather("f_ask", 1, columns), dtype=np.float64).reshape(-1, columns)
        self._do("unfix ask")
        self._do("uncompute of_atoms")
        return found

    def set_position(self, index: int, position_A: NDArray[np.float64]) -> None:
        """Move one atom."""
        x, y, z = position_A
        self._do(f"set atom {index + 1} x {x:.17g} y {y:.17g} z {z:.17g}")

    def set_positions(self, positions_A: NDArray[np.float64]) -> None:
        """Move all atoms and bring them to rest; see `Engine.set_positions`."""
        flat = np.ascontiguousarray(positions_A, dtype=np.float64)
        if flat.shape != (self._n_atoms, 3):
            raise ValueError(f"positions of shape {flat.shape} for a box of {self._n_atoms} atoms")
        low, high, _, _, _, periodic, _ = self._lmp.extract_box()
        lengths = np.subtract(high, low)
        # LAMMPS itself puts atoms back that are one box away, not more.
        images = np.where(np.asarray(periodic, dtype=bool), np.floor((flat - low) / lengths), 0.0)
        inside = flat - images * lengths
        self._lmp.scatter_atoms("image", 0, 3, _as_ctypes(images.astype(np.intc)))
        self._lmp.scatter_atoms("x", 1, 3, _as_ctypes(inside))
        self._do(_AT_REST)

    def set_velocities(self, velocities_A_ps: NDArray[np.float64]) -> None:
        """Give all atoms velocities; see `Engine.set_velocities`."""
        flat = np.ascontiguousarray(velocities_A_ps, dtype=np.float64)
        if flat.shape != (self._n_atoms, 3):
            raise ValueError(f"velocities of shape {flat.shape} for a box of {self._n_atoms} atoms")
        self._lmp.scatter_atoms("v", 1, 3, _as_ctypes(flat))

    # -- dynamics ------------------------------------------------------------------------------------------

    def heat(
        self, *, temperature_K: float, duration_ps: float, damping_ps: float, timestep_ps: float, seed: int
    ) -> None:
        """Heat a minimised box; see `Engine.heat`.

        Half of the velocities' energy goes into the potential energy (equipartition), hence 2 T.
        """
        self._do(f"timestep {timestep_ps:.17g}")
        self._do(f"velocity mobile create {2 * temperature_K:.17g} {seed} mom yes rot no dist gaussian")
        self._do("fix move mobile nve")
        self._do(
            f"fix bath mobile langevin {temperature_K:.17g} {temperature_K:.17g} {damping_ps:.17g} {seed} zero yes"
        )
        self._do(f"run {max(1, round(duration_ps / timestep_ps))} post no")
        self._do("unfix bath")
        self._do("unfix move")

    def run(self, *, duration_ps: float, timestep_ps: float) -> float:
        """Run at constant energy; see `Engine.run`."""
        steps = max(1, round(duration_ps / timestep_ps))
        # The average is complete at multiples of its length only.
        self._do("reset_timestep 0")
        self._do(f"timestep {timestep_ps:.17g}")
        self._do("fix move mobile nve")
        self._do(f"fix mean all ave/time 1 {steps} {steps} c_mobile_temperature")
        self._do(f"run {steps} post no")
        mean = float(self._lmp.extract_fix("mean", _GLOBAL, _SCALAR))
        self._do("unfix mean")
        self._do("unfix move")
        return mean

    def follow(
        self,
        *,
        pka: int,
        velocity_A_ps: NDArray[np.float64],
        rules: FlightRules,
        later_kicks: Sequence[VelocityKick] = (),
        look_at_ps: Sequence[float] = (),
        is_over: Callable[[Look], bool] | None = None,
    ) -> Flight:
        """Kick and follow; see `Engine.follow`."""
        self._do(_EVALUATE)
        temperature_start = self._thermo("c_mobile_temperature")
        energy_start = self._begin_flight(pka, velocity_A_ps, rules)
        rows = self._watch(pka)
        adaptive = _adaptive_step(rules)
        self._do("variable now equal time")
        kicks: list[MeasuredKick] = []
        for kick in later_kicks:
            if not self._fly_exactly_to(kick.time_ps, adaptive, rules.max_timestep_ps):
                break
            kicks.append(self._kick_again(pka, kick.velocity_A_ps))
        self._do(adaptive)
        # Evaluating a variable makes LAMMPS tally energy and virial at that step, a third of the cost of a step.
        looks: list[Look] = []
        end_ps = rules.duration_ps
        for time_ps in look_at_ps:
            self._fly_until(f"v_now >= {time_ps:.17g}", every=_STEPS_BETWEEN_LOOKS)
            looks.append(Look(time_ps=self._thermo("time"), positions_A=self.state()[0]))
            if is_over is not None and looks[-1].time_ps >= time_ps and is_over(looks[-1]):
                end_ps = time_ps
                break
        else:
            self._fly_until(f"v_now >= {end_ps:.17g}", every=_STEPS_BETWEEN_LOOKS)
        energy_end = self._conserved_eV(rules)
        if not math.isfinite(energy_end):
            raise EngineAbortError(Outcome.NON_FINITE_ENERGY, f"total energy {energy_end} eV during the cascade")
        watched = np.array(rows)
        flight = Flight(
            time_ps=watched[:, 0],
            pka_position_A=watched[:, 1:4],
            pka_kinetic_energy_eV=watched[:, 4],
            least_distance_A=watched[:, 5],
            temperature_start_K=temperature_start,
            temperature_end_K=self._thermo("c_mobile_temperature"),
            energy_drift_eV=energy_end - energy_start - sum(kick.work_eV for kick in kicks),
            finished=bool(watched[-1, 0] >= end_ps - rules.max_timestep_ps) and len(kicks) == len(later_kicks),
            later_kicks=tuple(kicks),
            looks=tuple(looks),
            electronic_loss_eV=self._electronic_loss_eV() if rules.stopping else None,
        )
        self._do("unfix watch", bare=False)
        self._end_flight(rules)
        return flight

    def follow_until(
        self,
        is_enough: Callable[[Motion], bool],
        *,
        pka: int,
        velocity_A_ps: NDArray[np.float64],
        rules: FlightRules,
        look_every_ps: float,
    ) -> float:
        """Kick and look now and then; see `WatchfulEngine.follow_until`."""
        energy_start = self._begin_flight(pka, velocity_A_ps, rules)
        self._do(_adaptive_step(rules))
        self._do("variable now equal time")
        half_mass = 0.5 * self.kinetic_eV_per_amu_A2_ps2 * self._masses_amu()
        time_ps, told = 0.0, False
        while time_ps < rules.duration_ps and not told:
            target_ps = min(time_ps + look_every_ps, rules.duration_ps)
            self._fly_until(f"v_now >= {target_ps:.17g}", every=_STEPS_BETWEEN_LOOKS)
            before_ps, time_ps = time_ps, self._thermo("time")
            positions, velocities = self.state()
            kinetic = half_mass * np.einsum("ij,ij->i", velocities, velocities)
            if not np.isfinite(kinetic.sum()):
                raise EngineAbortError(Outcome.NON_FINITE_ENERGY, "kinetic energies are not finite")
            told = is_enough(Motion(time_ps=time_ps, positions_A=positions, kinetic_energy_eV=kinetic))
            if time_ps < target_ps and time_ps - before_ps < look_every_ps / 2:
                raise EngineAbortError(Outcome.TIMED_OUT, f"stopped after {time_ps:.3f} ps by the time limit")
        drift = self._conserved_eV(rules) - energy_start
        self._end_flight(rules)
        return drift

    def _set_velocity(self, atom: int, velocity_A_ps: NDArray[np.float64]) -> None:
        vx, vy, vz = velocity_A_ps
        self._do(f"set atom {atom + 1} vx {vx:.17g} vy {vy:.17g} vz {vz:.17g}")

    def _begin_flight(self, pka: int, velocity_A_ps: NDArray[np.float64], rules: FlightRules) -> float:
        """Kick, let all mobile atoms move from now on, start the clock; return the conserved energy in eV."""
        self._set_velocity(pka, velocity_A_ps)
        self._do("fix move mobile nve")
        if rules.border is not None:
            self._thermostat_border(rules.border, rules.seed)
        if rules.stopping is not None:
            self._stop_by_electrons(rules.stopping)
        self._do("reset_timestep 0 time 0.0")
        self._do(f"timestep {rules.max_timestep_ps:.17g}")
        self._do(_EVALUATE)
        return self._conserved_eV(rules)

    def _conserved_eV(self, rules: FlightRules) -> float:
        """Return the total energy, what the border and electrons took out added back."""
        if self._lmp.extract_setting("kokkos_active"):
            self._do(_EVALUATE)  # KOKKOS sums energies up at planned steps only; a flight ends where it ends
        return self._thermo("econserve") + (self._electronic_loss_eV() if rules.stopping else 0.0)

    def _electronic_loss_eV(self) -> float:
        return float(self._lmp.extract_fix("stopping", _GLOBAL, _SCALAR))

    def _stop_by_electrons(self, curves: StoppingCurves) -> None:
        """Let electrons take energy from fast atoms; LAMMPS reads a table of all types."""
        columns = [
            curves.stopping_eV_A.get(name, np.zeros_like(curves.energy_eV)) for name in self.potential.species
        ]
        rows = np.column_stack([curves.energy_eV, *columns])
        with tempfile.TemporaryDirectory() as folder:
            table = Path(folder) / "stopping.txt"
            np.savetxt(table, rows, fmt="%.10g")
            self._do(
                f"fix stopping mobile electron/stopping {curves.above_eV:.17g} ${{stopping}}/{table.name}",
                {"stopping": table.parent},
            )

    def _end_flight(self, rules: FlightRules) -> None:
        """Take off what a flight has put on."""
        optional = {"border": rules.border, "stopping": rules.stopping}
        for name in ["step", "move", *(name for name, there in optional.items() if there)]:
            self._do(f"unfix {name}")
        self._do("variable now delete")
        if rules.border:
            for what in ("group border", "group near_border", "region border"):
                self._do(f"{what} delete")

    def _fly_exactly_to(self, time_ps: float, adaptive: str, max_timestep_ps: float) -> bool:
        """Fly until a time, on which the last step ends to the last digits; return False if time ran out before.

        With steps of adapted length as long as the next one ends before that time, then with one that is as long
        as what is left: no step is longer than the rules allow.
        """
        self._do(adaptive)
        # Looking at the time costs (see `follow`): often only near the end.
        early_ps = time_ps - (_STEPS_BETWEEN_LOOKS + 1) * max_timestep_ps
        if self._thermo("time") < early_ps:
            self._fly_until(f"v_now >= {early_ps:.17g}", every=_STEPS_BETWEEN_LOOKS)
        self._do(_EVALUATE)  # works out the length of the next step
        if self._thermo("time") + self._thermo("dt") < time_ps:
            self._do("variable next equal time+dt")
            self._fly_until(f"v_next >= {time_ps:.17g}", every=1)
            self._do("variable next delete")
        left_ps, step_ps = time_ps - self._thermo("time"), self._thermo("dt")
        self._do("unfix step")
        if left_ps > step_ps:
            return False
        if left_ps > 0:
            self._do(f"timestep {left_ps:.17g}")
            self._do("run 1 post no")
            self._do(f"timestep {max_timestep_ps:.17g}")
        return True

    def _fly_until(self, condition: str, *, every: int) -> None:
        """Run until a condition holds, looked at every so many steps."""
        self._do(f"fix stop all halt {every} {condition} error continue message no")
        self._do(f"run {_MOST_STEPS} post no")
        if self._disk_error is not None:
            raise self._disk_error
        self._do("unfix stop")

    def _kick_again(self, pka: int, velocity_A_ps: NDArray[np.float64]) -> MeasuredKick:
        """Add to the velocity of the knock-on atom, and measure what that does to its energy."""
        before = self._gather("v")[pka]
        after = before + velocity_A_ps
        self._set_velocity(pka, after)
        half_mass = 0.5 * self.kinetic_eV_per_amu_A2_ps2 * float(self._masses_amu()[pka])
        return MeasuredKick(
            time_ps=self._thermo("time"),
            kinetic_energy_before_eV=half_mass * float(before @ before),
            kinetic_energy_after_eV=half_mass * float(after @ after),
            velocity_before_A_ps=before,
        )

    def _thermostat_border(self, of: HeatedBorder, seed: int) -> None:
        """Put a Langevin thermostat on the mobile atoms near the periodic faces (and above held atoms).

        v <- exp(-dt/tau) v + noise after each step (Bussi & Parrinello, Phys. Rev. E 75, 056707 (2007)): the heat
        taken out is a difference of kinetic energies, exact for steps of any length. `fix langevin` tallies force
        times velocity; where each step is of another length it loses 0.4 eV per ps and 750 atoms.
        """
        low, high = self._lmp.extract_box()[:2]
        periodic = self._lmp.extract_box()[5]
        bounds = []
        for axis in range(3):
            if periodic[axis]:
                bounds += [f"{low[axis] + of.width_A:.17g}", f"{high[axis] - of.width_A:.17g}"]
            else:
                bounds += [f"{self._top_of_held(axis) + of.width_A:.17g}" if self._held else "INF", "INF"]
        self._do(f"region border block {' '.join(bounds)} side out units box")
        self._do("group near_border region border")
        self._do("group border intersect near_border mobile")
        bath = f"{of.temperature_K:.17g} {of.temperature_K:.17g} {of.damping_ps:.17g} {seed}"
        self._do(f"fix border border temp/csld {bath}")

    def _top_of_held(self, axis: int) -> float:
        return float(self.state()[0][list(self._held), axis].max())

    def _watch(self, pka: int) -> list[tuple[float, ...]]:
        """Return a list that grows by a row per step: time, position and energy of the knock-on atom, distance.

        A Python callback, since LAMMPS' own `compute pair/local` costs 40 % of a step and this 0.2 ms (2 % of a
        step of 768 atoms).
        """
        rows: list[tuple[float, ...]] = []
        # By id minus one: the callback tells the ids of the atoms in the order in which it hands them over.
        half_mass = 0.5 * self.kinetic_eV_per_amu_A2_ps2 * self._masses_amu()
        low, high, _, _, _, periodic, _ = self._lmp.extract_box()
        lengths = np.subtract(high, low)
        waves = np.where(np.asarray(periodic, dtype=bool), 1 / lengths, 0.0)
        unwrap = _Unwrapper(lengths)
        arrays = self._lmp.numpy

        def see(_caller: object, _step: int, n_local: int, tag: Any, x: Any, _f: Any) -> None:
            time_ps = self._thermo("time")
            if rows and time_ps <= rows[-1][0]:
                return  # a run that goes on where the one before it ended
            v = arrays.extract_atom("v", nelem=n_local, dim=3)
            kinetic = half_mass[tag - 1] * np.einsum("ij,ij->i", v, v)
            me = int(np.flatnonzero(tag == pka + 1)[0])
            fast = {me, *np.flatnonzero(kinetic > _FAST_eV).tolist()}
            distance = min(_distance_to_nearest(x, i, lengths_A=lengths, waves_per_A=waves) for i in fast)
            rows.append((time_ps, *unwrap(x[me]), float(kinetic[me]), distance))
            if self._onlooker is not None and self._disk_error is None:
                try:
                    self._onlooker(time_ps=time_ps, pka=pka, ids=tag, positions_A=x[:n_local])
                except OSError as error:  # LAMMPS would swallow it
                    self._disk_error = error
                    self._lmp.lib.lammps_force_timeout(self._lmp.lmp)

        self._do("fix watch all external pf/callback 1 1", bare=False)
        self._lmp.set_fix_external_callback("watch", see, None)
        return rows

    def _masses_amu(self) -> NDArray[np.float64]:
        by_type = np.array([0.0, *(atomic_masses[atomic_numbers[s]] for s in self.potential.species)])
        return np.asarray(by_type[np.array(self._lmp.gather_atoms("type", 0, 1))])

    # -- what LAMMPS holds ---------------------------------------------------------------------------------

    def state(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return unwrapped positions and velocities; see `Engine.state`."""
        low, high = self._lmp.extract_box()[:2]
        lengths = np.array(high) - np.array(low)
        images = np.array(self._lmp.gather_atoms("image", 0, 3), dtype=np.float64).reshape(-1, 3)
        return self._gather("x") + images * lengths, self._gather("v")

    def _gather(self, name: str) -> NDArray[np.float64]:
        return np.array(self._lmp.gather_atoms(name, 1, 3), dtype=np.float64).reshape(-1, 3)

    def _thermo(self, keyword: str) -> float:
        if keyword.startswith("c_"):
            return float(self._lmp.extract_compute(keyword[2:], _GLOBAL, _SCALAR))
        return float(self._lmp.get_thermo(keyword))

    def _remember(self, command: str) -> None:
        """Remember what a command does to neighbours and steps."""
        self._neighbours_known &= command in (_AT_REST, _EVALUATE_AGAIN)
        if command == "clear":
            self._moving.clear()
        elif command.startswith("fix ") and command != _HOLD:
            self._moving.add(command.split()[1])
        elif command.startswith("unfix "):
            self._moving.discard(command.split()[1])

    def _do(self, command: str, folders: Mapping[str, Path] = _NO_FOLDERS, *, bare: bool = True) -> None:
        """Give LAMMPS one command and keep it for the bare script; turn its complaint into an outcome."""
        kept = _for_people(command, folders)
        if bare:
            self.commands.append(kept)
        self._remember(command)
        with with_folders(command, folders) as plain:
            try:
                self._lmp.command(plain)
            except Exception as error:  # LAMMPS raises plain Exception for everything
                message = " ".join(str(error).split())
                if _LACKS.search(message):  # no matter of this cascade: the next one would end like it
                    raise EngineError(f"LAMMPS at `{kept}`: {message}; use a build that has it") from None
                raise EngineAbortError(_outcome_of(message), f"LAMMPS at `{kept}`: {message}") from None


class SinglePoints:
    """LAMMPS as a calculator of energies, forces and stresses of periodic boxes of any shape; no dynamics.

    Parameters
    ----------
    species : sequence of str
        Chemical symbols of the atom types 1, 2, ...
    commands : sequence of str
        What sets the interaction up, from `pair_style` on.
    compute : str
        Style and arguments of a compute whose global array is wanted too, e.g. `snap 4.8 0.99 6 ...`; or none.
    folders : mapping of str to pathlib.Path
        That `commands` name as `${name}`.
    """

    def __init__(
        self,
        *,
        species: Sequence[str],
        commands: Sequence[str],
        compute: str = "",
        folders: Mapping[str, Path] = _NO_FOLDERS,
    ) -> None:
        self._lmp = new_instance()
        self._species, self._commands, self._compute = tuple(species), tuple(commands), compute
        self._folders = dict(folders)

    def close(self) -> None:
        """Close the instance."""
        self._lmp.close()

    def _do(self, command: str, folders: Mapping[str, Path] = _NO_FOLDERS) -> None:
        with with_folders(command, folders) as plain:
            self._lmp.command(plain)

    def __call__(self, atoms: ase.Atoms) -> SinglePoint:
        """Return what the interaction says of a box.

        Raises
        ------
        EngineError
            If LAMMPS complains, or the energy is not finite.
        """
        edges, turn = _lower_triangular(np.asarray(atoms.cell, dtype=np.float64))
        try:
            with tempfile.TemporaryDirectory() as folder:
                state = Path(folder) / "box.data"
                _write_tilted_data(state, atoms, edges=edges, turn=turn, species=self._species)
                head = ["clear", "units metal", "atom_style atomic", "atom_modify map array sort 0 0"]
                for command in [*head, "boundary p p p", "box tilt large", "read_data ${state}/box.data"]:
                    self._do(command, {"state": Path(folder)})
            masses = [f"mass {n} {atomic_masses[atomic_numbers[s]]}" for n, s in enumerate(self._species, start=1)]
            computes = ["compute virial all pressure NULL virial"]
            # An output that names a compute has it evaluated.
            columns = "thermo_style custom pe c_virial[1]"
            if self._compute:
                computes.append(f"compute wanted all {self._compute}")
                columns += " c_wanted[1][1]"
            for command in [*self._commands, *masses, *computes, columns, _EVALUATE]:
                self._do(command, self._folders)
        except Exception as error:  # LAMMPS raises plain Exception for everything
            raise EngineError(f"LAMMPS: {' '.join(str(error).split())}") from None
        energy = float(self._lmp.get_thermo("pe"))
        if not math.isfinite(energy):
            raise EngineError(f"a potential energy of {energy} eV: two atoms on one spot?")
        xx, yy, zz, xy, xz, yz = self._lmp.numpy.extract_compute("virial", _GLOBAL, 1)[:6]
        pressure = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]) / _BAR_PER_eV_A3
        forces = np.array(self._lmp.gather_atoms("f", 1, 3), dtype=np.float64).reshape(-1, 3)
        return SinglePoint(
            energy_eV=energy,
            forces_eV_A=forces @ turn,
            stress_eV_A3=-(turn.T @ pressure @ turn),
            array=np.array(self._lmp.numpy.extract_compute("wanted", _GLOBAL, 2)) if self._compute else None,
            turn=turn,
        )


@dataclass(frozen=True, kw_only=True)
class SinglePoint:
    """Answer of `SinglePoints`.

    Attributes
    ----------
    energy_eV : float
    forces_eV_A : (n, 3) float
    stress_eV_A3 : (3, 3) float
        Positive under tension.
    array : (a, b) float, optional
        Global array of the compute, in the frame of LAMMPS.
    turn : (3, 3) float
        Orthogonal: a vector v of LAMMPS' frame is v @ turn in that of the box.
    """

    energy_eV: float
    forces_eV_A: NDArray[np.float64]
    stress_eV_A3: NDArray[np.float64]
    array: NDArray[np.float64] | None
    turn: NDArray[np.float64]


def _lower_triangular(cell: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return L and Q with cell = L Q, L lower triangular with positive diagonal as LAMMPS wants it, Q orthogonal.

    Q also reflects a left-handed cell, which no interaction notices.
    """
    q, r = np.linalg.qr(cell.T)
    sign = np.sign(np.diag(r))
    return (r * sign[:, None]).T, (q * sign).T


def _write_tilted_data(
    path: Path,
    atoms: ase.Atoms,
    *,
    edges: NDArray[np.float64],
    turn: NDArray[np.float64],
    species: Sequence[str],
) -> None:
    """Write a box of any shape as a LAMMPS data file, its edges being the rows of `edges`."""
    types = [species.index(s) + 1 for s in atoms.get_chemical_symbols()]
    inside = np.linalg.solve(edges.T, (atoms.get_positions() @ turn.T).T).T
    positions = (inside - np.floor(inside)) @ edges
    lines = ["cascade_driver box", "", f"{len(atoms)} atoms", f"{len(species)} atom types", ""]
    lines += [f"0 {edges[k, k]:.17g} {a}lo {a}hi" for k, a in enumerate("xyz")]
    lines += [f"{edges[1, 0]:.17g} {edges[2, 0]:.17g} {edges[2, 1]:.17g} xy xz yz", "", "Atoms # atomic", ""]
    rows = zip(types, positions, strict=True)
    lines += [f"{i} {kind} {x:.17g} {y:.17g} {z:.17g}" for i, (kind, (x, y, z)) in enumerate(rows, start=1)]
    path.write_text("\n".join(lines) + "\n")


def _adaptive_step(rules: FlightRules) -> str:
    """Return the fix that makes each step as long as both limits allow."""
    longest = f"{rules.max_timestep_ps:.17g} {rules.max_displacement_A:.17g}"
    return f"fix step all dt/reset 1 1e-9 {longest} units box"


class _Unwrapper:
    """Follows one atom through periodic faces; it must move less than half a box between two calls."""

    def __init__(self, lengths_A: NDArray[np.float64]) -> None:
        self._lengths = lengths_A
        self._last: NDArray[np.float64] | None = None

    def __call__(self, wrapped: NDArray[np.float64]) -> tuple[float, float, float]:
        if self._last is None:
            self._last = np.array(wrapped)
        else:
            step = wrapped - self._last
            self._last = self._last + step - self._lengths * np.round(step / self._lengths)
        x, y, z = (float(c) for c in self._last)
        return x, y, z


def _distance_to_nearest(
    positions_A: NDArray[np.float64],
    index: int,
    *,
    lengths_A: NDArray[np.float64],
    waves_per_A: NDArray[np.float64],
) -> float:
    """Return the distance of an atom to the nearest other one; `waves_per_A` is 1/length, 0 along free axes."""
    offsets: NDArray[np.float64] = positions_A - positions_A[index]
    offsets -= lengths_A * np.round(offsets * waves_per_A)
    squares = np.einsum("ij,ij->i", offsets, offsets)  # five times faster than a sum along rows of three
    squares[index] = np.inf
    return float(np.sqrt(squares.min()))


def _outcome_of(message: str) -> Outcome:
    lower = message.lower()
    if "lost atoms" in lower or "out of range atoms" in lower:
        return Outcome.LOST_ATOMS
    if "non-numeric" in lower or "nan" in lower.split():
        return Outcome.NON_FINITE_ENERGY
    return Outcome.ENGINE_ERROR


def _write_data(path: Path, atoms: ase.Atoms, *, species: Sequence[str]) -> None:
    """Write `atoms` at rest as a LAMMPS data file with 17 digits, ids in their order."""
    types = [species.index(s) + 1 for s in atoms.get_chemical_symbols()]
    lines = ["cascade_driver box", "", f"{len(atoms)} atoms", f"{len(species)} atom types", ""]
    lines += [f"0 {length:.17g} {a}lo {a}hi" for a, length in zip("xyz", atoms.cell.lengths(), strict=True)]
    lines += ["", "Atoms # atomic", ""]
    rows = zip(types, atoms.get_positions(), strict=True)
    lines += [f"{i} {kind} {x:.17g} {y:.17g} {z:.17g}" for i, (kind, (x, y, z)) in enumerate(rows, start=1)]
    path.write_text("\n".join(lines) + "\n")


def _held_atoms(atoms: ase.Atoms) -> list[int]:
    from ase.constraints import FixAtoms

    held: set[int] = set()
    for constraint in atoms.constraints:
        if not isinstance(constraint, FixAtoms):
            raise ValueError(f"only FixAtoms can be simulated, found {type(constraint).__name__}")
        held.update(int(i) for i in constraint.get_indices())
    return sorted(held)
