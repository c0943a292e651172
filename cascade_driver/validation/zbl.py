"""The universal screened-nuclear (ZBL) core, and how it is joined to a body that has none.

The body is whatever LAMMPS can evaluate. The join adds one table per pair of elements,

    E_table(r) = s(r) [E_ZBL(r) - E_dimer(r)],

where E_dimer is the energy of two atoms in vacuum, sampled from the body by the engine itself, and s falls from
1 at `inner_A` to 0 at `outer_A` with two continuous derivatives. Two atoms in vacuum then are ZBL below
`inner_A` and the body above `outer_A`, whatever the body is made of.

Inside a crystal a many-body term does not see the pair alone. An embedding energy F(rho_0 + rho(r)) has been
corrected by that of the dimer, F(rho(r)): what is left of it in the force is
[F'(rho_0 + rho) - F'(rho)] rho'(r), with rho_0 the density of the surroundings. It vanishes where F is linear
and is small beside ZBL where F flattens at high density, as it should. No pair term can remove it for all
surroundings at once; the vacuum is the choice without a parameter, and the one that makes the two-body limit
exact. How much is left in the crystal is measured by the contract (`contract.py`), which refuses a body where it
is not small: the F of Al_mm.eam.fs, for one, rises so steeply beyond one and a half times the density of the
crystal that two atoms at 0.5 A repel each other three times as much as by ZBL.

A body whose dimer is far harder than ZBL cannot be taken away in the core: its rounding would be left. If the
include can do without its part for two atoms, the table holds that, sampled from another include (`pairs_from`),

    E_table(r) = s(r) E_ZBL(r) + [1 - s(r)] E_dimer(r).
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from numpy.typing import NDArray

from cascade_driver.errors import EngineError, InputError, PotentialError
from cascade_driver.files import whole_folder
from cascade_driver.schema import file_sha256
from cascade_driver.simulation.engine import Engine
from cascade_driver.simulation.include import FILE_NAME, FOLDER, read_commands, understood
from cascade_driver.simulation.potential import (
    Potential,
    ZblSwitch,
    distribution_folder,
    element_pairs,
    load_potential,
)

# The constants of LAMMPS' `pair_style zbl` (src/pair_zbl_const.h and `units metal`), so that tables and that
# style are one function: Ziegler, Biersack & Littmark, The Stopping and Range of Ions in Matter, Pergamon (1985);
# doi:10.1007/978-1-4615-8103-1_3.
COULOMB_eV_A = 14.399645
SCREENING_LENGTH_A = 0.46850
SCREENING_EXPONENT = 0.23
SCREENING_COEFFICIENTS = (0.02817, 0.28022, 0.50986, 0.18175)
SCREENING_DECAYS = (0.20162, 0.40290, 0.94229, 3.19980)

#: Tables begin here: 240 keV between two aluminium nuclei, which nothing in this project reaches.
TABLE_START_A = 0.01

#: Points of the file in the core, equidistant in ln r: neighbours differ by 1.5 %, which a cubic spline bridges to
#: 1e-8 of ZBL and 1e-6 of a body that falls as r^-4; and in the switch, equidistant, some 0.005 A apart.
CORE_POINTS, SWITCH_POINTS = 300, 200

#: Relative distance of the points of a table beyond the switch, where it holds the pair part of a body: a cubic
#: spline bridges r^-9 to 1e-7 there.
TAIL_SPACING = 0.006

#: LAMMPS carries the file over to a grid equidistant in r^2. With so many points and an outer radius of 2.5 A the
#: spacing at 0.1 A is 3 % of r^2, and the force there is good to 1e-6 (the error falls with the fourth power).
#: Of tables that reach farther, four times as many: with 6 A the force at 0.1 A is good to 1e-5.
TABLE_POINTS, LONG_TABLE_POINTS = 20_000, 80_000
_LONG_A = 3.0

#: From here outwards a table must be good: below, two atoms meet at tens of keV.
CLOSEST_APPROACH_A = 0.1

#: A table follows the body to about 1e-6 of it: one that exceeds ZBL by this factor would leave errors beyond 1e-4
#: of ZBL behind. Fillers of 1e12 at short range, as in Al_mm.eam.fs, are such bodies.
LARGEST_BODY_RATIO = 100.0

#: Beyond this distance no body is looked for.
_FARTHEST_A = 15.0

#: Where two atoms of a body are looked at for a choice of radii.
_CHOICE_A = np.arange(0.1, 3.5, 0.01)
#: Stands for radii that are yet to be chosen.
_UNKNOWN = ZblSwitch(inner_A=1.0, outer_A=2.0)


@dataclass(frozen=True, kw_only=True)
class PairCurve:
    """Energy and force of two atoms in vacuum.

    Attributes
    ----------
    distance_A : (n,) float
        Distances r.
    energy_eV : (n,) float
        Energy relative to the atoms far apart.
    force_eV_A : (n,) float
        -dE/dr; positive repels.
    """

    distance_A: NDArray[np.float64]
    energy_eV: NDArray[np.float64]
    force_eV_A: NDArray[np.float64]


def zbl(
    distance_A: NDArray[np.float64] | float, *, numbers: tuple[int, int]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    r"""Return the universal ZBL energy in eV and its first two derivatives in eV/A and eV/A^2.

    .. math:: E(r) = \frac{e^2 Z_1 Z_2}{4 \pi \epsilon_0 r} \sum_i c_i \exp(-d_i r / a), \quad
              a = 0.4685 / (Z_1^{0.23} + Z_2^{0.23})

    Parameters
    ----------
    distance_A : (n,) float
        Distance r > 0.
    numbers : two int
        Atomic numbers Z_1 and Z_2.

    Notes
    -----
    Ziegler, Biersack & Littmark (1985), doi:10.1007/978-1-4615-8103-1_3; constants as in LAMMPS' `pair_style zbl`.

    Examples
    --------
    >>> E, dE, _ = zbl(np.array([1.0]), numbers=(14, 14))
    >>> print(round(float(E[0]), 3), round(float(dE[0]), 2))
    50.974 -189.8
    """
    r = np.asarray(distance_A, dtype=np.float64)
    z1, z2 = numbers
    a = SCREENING_LENGTH_A / (z1**SCREENING_EXPONENT + z2**SCREENING_EXPONENT)
    decay = np.array(SCREENING_DECAYS) / a
    terms = np.array(SCREENING_COEFFICIENTS) * np.exp(-r[..., None] * decay)
    phi = terms.sum(axis=-1)
    phi1 = -(terms * decay).sum(axis=-1)
    phi2 = (terms * decay**2).sum(axis=-1)
    coulomb = COULOMB_eV_A * z1 * z2
    energy = coulomb * phi / r
    first = coulomb * (phi1 / r - phi / r**2)
    second = coulomb * (phi2 / r - 2 * phi1 / r**2 + 2 * phi / r**3)
    return energy, first, second


def switch(
    distance_A: NDArray[np.float64] | float, *, inner_A: float, outer_A: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return s(r), 1 up to `inner_A` and 0 from `outer_A`, and its first two derivatives in 1/A and 1/A^2.

    s = 1 - 10 t^3 + 15 t^4 - 6 t^5 with t = (r - inner)/(outer - inner): both derivatives vanish at both ends.

    Examples
    --------
    >>> [float(v) for v in switch(1.5, inner_A=1.0, outer_A=2.0)]
    [0.5, -1.875, -0.0]
    """
    width = outer_A - inner_A
    t = np.clip((np.asarray(distance_A, dtype=np.float64) - inner_A) / width, 0.0, 1.0)
    value = 1 - t**3 * (10 - 15 * t + 6 * t**2)
    first = -30 * t**2 * (1 - t) ** 2 / width
    second = -60 * t * (1 - t) * (1 - 2 * t) / width**2
    return value, first, second


def numbers_of(pair: Iterable[str]) -> tuple[int, int]:
    """Return the atomic numbers of a pair of chemical symbols."""
    first, second = pair
    return int(atomic_numbers[first]), int(atomic_numbers[second])


def dimer(
    engine: Engine, pair: tuple[str, str], distance_A: Sequence[float] | NDArray[np.float64], *, reach_A: float
) -> PairCurve:
    """Return energy and force of two atoms in vacuum, as the engine evaluates them.

    Parameters
    ----------
    engine : Engine
        Its box is replaced.
    pair : two str
        Chemical symbols.
    distance_A : (n,) float
        Distances to be sampled.
    reach_A : float
        Cutoff of the potential; the box is so large that images are out of reach.
    """
    r = np.asarray(distance_A, dtype=np.float64)
    edge = 2 * reach_A + float(r.max()) + 4.0
    # Off the middle, so that no distance puts an atom on a face of the box.
    origin = np.array([1.0, edge / 2, edge / 2])
    # Close first: LAMMPS' POD needs to have met a neighbour before it can do without.
    close = origin + np.array([r.min(), 0.0, 0.0])
    engine.build(Atoms(pair, positions=[origin, close], cell=[edge] * 3, pbc=True))
    engine.potential_energy_eV()
    engine.set_position(1, origin + np.array([0.0, edge / 2, 0.0]))
    far = engine.potential_energy_eV()
    energy, force = np.empty(len(r)), np.empty(len(r))
    for k, distance in enumerate(r):
        engine.set_position(1, origin + np.array([distance, 0.0, 0.0]))
        energy[k] = engine.potential_energy_eV() - far
        force[k] = engine.forces_eV_A()[1, 0]
    return PairCurve(distance_A=r, energy_eV=energy, force_eV_A=force)


def core_table(
    body: PairCurve, *, numbers: tuple[int, int], switch_A: ZblSwitch, alone: PairCurve | None = None
) -> PairCurve:
    """Return what must be added to a body so that two atoms in vacuum are ZBL up to a switch, and `alone` beyond.

    Parameters
    ----------
    body : PairCurve
        Two atoms in vacuum, of the body that the table will stand beside.
    numbers : two int
        Atomic numbers.
    switch_A : ZblSwitch
        Where ZBL ends and `alone` begins.
    alone : PairCurve, optional
        What two atoms in vacuum shall be from there on, at the distances of `body`; by default what the body makes
        of them, so that s(r) [E_ZBL(r) - E_dimer(r)] is added, and nothing beyond the switch.

    Raises
    ------
    PotentialError
        If one of them is not finite, or so large that rounding would spoil the difference.
    """
    r = body.distance_A
    energy, first, _ = zbl(r, numbers=numbers)
    s, s1, _ = switch(r, inner_A=switch_A.inner_A, outer_A=switch_A.outer_A)
    _require_bounded(body, energy, where=s > 0)
    inside_eV, inside_eV_A = energy - body.energy_eV, -first - body.force_eV_A
    if alone is None:
        outside_eV, outside_eV_A = np.zeros(len(r)), np.zeros(len(r))
    else:
        _require_bounded(alone, energy, where=(s > 0) & (s < 1))
        # Where the switch is closed it does not matter how hard it is.
        outside_eV = np.where(s < 1, alone.energy_eV - body.energy_eV, 0.0)
        outside_eV_A = np.where(s < 1, alone.force_eV_A - body.force_eV_A, 0.0)
    return PairCurve(
        distance_A=r,
        energy_eV=s * inside_eV + (1 - s) * outside_eV,
        force_eV_A=s * inside_eV_A + (1 - s) * outside_eV_A - s1 * (inside_eV - outside_eV),
    )


def _require_bounded(curve: PairCurve, zbl_eV: NDArray[np.float64], *, where: NDArray[np.bool_]) -> None:
    """Raise if a curve is not finite somewhere, or so much harder than ZBL that rounding spoils differences."""
    r = curve.distance_A
    bad = ~(np.isfinite(curve.energy_eV) & np.isfinite(curve.force_eV_A))
    bad |= (np.abs(curve.energy_eV) > LARGEST_BODY_RATIO * zbl_eV) & (r >= CLOSEST_APPROACH_A)
    bad &= where
    if bad.any():
        raise PotentialError(
            f"the body is not finite, or beyond {LARGEST_BODY_RATIO:g} times ZBL, at {r[bad].max():.3f} A: the "
            "errors of their difference would be left instead of ZBL; use a body with a softer core, or without "
            "its part for two atoms, which another include then gives (--pairs-from)"
        )


def table_text(curves: Mapping[str, PairCurve], *, comment: str) -> str:
    """Return a file for LAMMPS' `pair_style table`: one section per pair, named like `Al_Si`."""
    lines = [f"# {line}" for line in comment.splitlines()]
    for name, curve in curves.items():
        r, force = curve.distance_A, curve.force_eV_A
        # Slopes of the force at both ends, for the splines; without them LAMMPS takes differences.
        slopes = np.gradient(force, r, edge_order=2)
        lines += ["", name.replace("-", "_"), f"N {len(r)} FPRIME {slopes[0]:.12e} {slopes[-1]:.12e}", ""]
        rows = zip(r, curve.energy_eV, force, strict=True)
        lines += [f"{k} {x:.11e} {e:.9e} {f:.9e}" for k, (x, e, f) in enumerate(rows, start=1)]
    return "\n".join(lines) + "\n"


def join_core(
    body: Path,
    *,
    species: tuple[str, ...],
    switches: Mapping[str, ZblSwitch] | Callable[[str, PairCurve], tuple[ZblSwitch, str]],
    out: Path,
    make_engine: Callable[[Potential], Engine],
    title: str = "",
    description: str = "",
    origin: str = "",
    license: str = "",  # noqa: A002  the word of potential.toml
    crystals: Sequence[str] = (),
    cutoff_A: float | None = None,
    pairs_from: Path | None = None,
) -> Potential:
    """Write the folder of a potential that is `body` with a ZBL core, and return it.

    Parameters
    ----------
    body : pathlib.Path
        A LAMMPS include with one `pair_style` (any style, or `hybrid/overlay`) and its `pair_coeff` lines. Files
        that it names lie beside it, with or without `${potential_dir}/`, or come with LAMMPS.
    species : tuple of str
        Chemical symbols of the atom types 1, 2, ...
    switches : mapping of str to ZblSwitch, or callable
        Per pair such as `Al-Si`: pure ZBL below `inner_A`, pure body above `outer_A`. A callable chooses them: it
        is told the pair and the body's two atoms in vacuum, and says why; that goes into the description.
    out : pathlib.Path
        The folder to be made; its name is the potential's name.
    make_engine : callable
        Returns an engine for a potential.
    title : str
        What it is, in a line.
    description : str
        The same at length.
    origin : str
        Where the body comes from.
    license : str
        Of the body.
    crystals : sequence of str
        In which the contract must hold.
    cutoff_A : float, optional
        Largest interaction distance of the body; measured on dimers if not given.
    pairs_from : pathlib.Path, optional
        Another include, for the same atom types: two atoms in vacuum interact as it says, by the table, and `body`
        is what more atoms add. For bodies whose repulsion of two atoms is too hard to be taken away.

    Raises
    ------
    InputError
        If the folder exists, or the body cannot be understood.
    PotentialError
        If the body cannot be joined.
    """
    pairs = {"-".join(pair): pair for pair in element_pairs(species)}
    given = dict.fromkeys(pairs, _UNKNOWN) if callable(switches) else dict(switches)
    if set(given) != set(pairs):
        raise InputError(f"inner and outer radii are needed for {sorted(pairs)}, found {sorted(given)}")
    commands = _read_body(body)
    _require_order(body, commands, species)
    about = _About(
        title=title or f"{body.stem} with a ZBL core",
        description=description,
        origin=origin or f"joined from {body.name} by `cascade potential join`",
        license=license or "that of the body",
        species=species,
        crystals=tuple(crystals),
        switches=given,
    )
    with whole_folder(out) as made:
        bare = made.with_name(f"{out.name}-body")
        commands = _collect(commands, body, [bare, made])
        engine = _sampler(bare, commands, about, make_engine)
        alone = _sampler_of_pairs(made.with_name(f"{out.name}-pairs"), pairs_from, about, make_engine) or engine
        try:
            reach = cutoff_A or max(_reach(one, pair) for pair in pairs.values() for one in {engine, alone})
            if callable(switches):
                chosen = {n: switches(n, dimer(alone, p, _CHOICE_A, reach_A=reach)) for n, p in pairs.items()}
                given = {name: radii for name, (radii, _) in chosen.items()}
                why = [f"{name}: {reason}." for name, (_, reason) in chosen.items()]
                about = replace(about, switches=given, description="\n".join([description, *why]).strip())
            ends_A = {name: radii.outer_A if alone is engine else reach for name, radii in given.items()}
            curves = {}
            for name, pair in pairs.items():
                r = _grid(given[name], end_A=ends_A[name])
                curves[name] = core_table(
                    dimer(engine, pair, r, reach_A=reach),
                    numbers=numbers_of(pair),
                    switch_A=given[name],
                    alone=None if alone is engine else dimer(alone, pair, r, reach_A=reach),
                )
        finally:
            for sampled in {engine, alone}:
                sampled.close()
        (made / "core.table").write_text(
            table_text(curves, comment=f"ZBL core joined to {body.name}; LAMMPS units metal"), encoding="utf-8"
        )
        reach = max(reach, *(s.outer_A for s in given.values()))
        _write_folder(made, commands.joined(species, ends_A), about=about, commands=commands, cutoff_A=reach)
        shutil.copy(body, made / "body.lmp")
        _require_joined(make_engine(load_potential(made)), next(iter(pairs.values())), reach_A=reach)
    return load_potential(out)


def _sampler(folder: Path, commands: _Body, about: _About, make_engine: Callable[[Potential], Engine]) -> Engine:
    """Return an engine for a body as it is, to sample it; its reach is not known yet."""
    _write_folder(folder, commands.lines(), about=about, commands=commands, cutoff_A=_FARTHEST_A)
    return make_engine(load_potential(folder))


def _sampler_of_pairs(
    folder: Path, path: Path | None, about: _About, make_engine: Callable[[Potential], Engine]
) -> Engine | None:
    """Return an engine for the include that two atoms in vacuum are taken from, if there is one."""
    if path is None:
        return None
    return _sampler(folder, _collect(_read_body(path), path, [folder]), about, make_engine)


def _require_joined(engine: Engine, pair: tuple[str, str], *, reach_A: float) -> None:
    """Raise if LAMMPS cannot evaluate a body beside a table."""
    try:
        dimer(engine, pair, [reach_A / 2], reach_A=reach_A)
    except EngineError as error:
        raise PotentialError(f"this body cannot have a core joined to it: {error}; take another one") from None
    finally:
        engine.close()


def _grid(radii: ZblSwitch, *, end_A: float) -> NDArray[np.float64]:
    """Return the distances of a table that ends with the switch, or beyond."""
    core = np.geomspace(TABLE_START_A, radii.inner_A, CORE_POINTS, endpoint=False)
    core[0] = TABLE_START_A
    tail = np.geomspace(radii.outer_A, end_A, 1 + math.ceil(math.log(end_A / radii.outer_A) / TAIL_SPACING))[1:]
    return np.concatenate([core, np.linspace(radii.inner_A, radii.outer_A, SWITCH_POINTS), tail])


def _reach(engine: Engine, pair: tuple[str, str]) -> float:
    """Return the distance beyond which two atoms do not feel each other, rounded up to 0.1 A."""
    r = np.arange(0.1, _FARTHEST_A, 0.1)
    felt = np.flatnonzero(dimer(engine, pair, r, reach_A=_FARTHEST_A).force_eV_A)
    return round(float(r[felt[-1]]) + 0.1, 1) if len(felt) else 0.1


@dataclass(frozen=True, kw_only=True)
class _About:
    """The part of potential.toml that does not depend on files."""

    title: str
    description: str
    origin: str
    license: str
    species: tuple[str, ...]
    crystals: tuple[str, ...]
    switches: dict[str, ZblSwitch]


@dataclass(frozen=True, kw_only=True)
class _Body:
    """A body's LAMMPS commands, taken apart.

    Attributes
    ----------
    before, after : list of str
        Commands around `pair_style` and the `pair_coeff` lines.
    style : list of str
        Words after `pair_style`.
    coefficients : list of list of str
        Words after each `pair_coeff`.
    files, distribution : tuple of str
        Names of files in the folder, and of files that come with LAMMPS.
    """

    before: list[str]
    style: list[str]
    coefficients: list[list[str]]
    after: list[str]
    files: tuple[str, ...] = ()
    distribution: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Return the commands as they were."""
        coefficients = ["pair_coeff " + " ".join(words) for words in self.coefficients]
        return [*self.before, "pair_style " + " ".join(self.style), *coefficients, *self.after]

    def joined(self, species: tuple[str, ...], ends_A: Mapping[str, float]) -> list[str]:
        """Return the commands with the table of the core added, which of each pair ends at a distance."""
        style, coefficients = self.style, self.coefficients
        if style[0] == "hybrid/overlay":
            style = style[1:]
        else:
            # LAMMPS knows the coefficients' style by name only.
            coefficients = [[*words[:2], style[0], *words[2:]] for words in coefficients]
        tables = style.count("table")
        if tables == 1:
            coefficients = [
                [*words[:3], "1", *words[3:]] if words[2] == "table" else words for words in coefficients
            ]
        core = f"table {tables + 1}" if tables else "table"
        points = LONG_TABLE_POINTS if max(ends_A.values()) > _LONG_A else TABLE_POINTS
        lines = [*self.before, f"pair_style hybrid/overlay {' '.join(style)} table spline {points}"]
        lines += ["pair_coeff " + " ".join(words) for words in coefficients]
        for i, first in enumerate(species, start=1):
            for j, second in enumerate(species[i - 1 :], start=i):
                outer = ends_A[f"{first}-{second}"]
                lines.append(f"pair_coeff {i} {j} {core} ${{potential_dir}}/core.table {first}_{second} {outer}")
        return lines + self.after


def _read_body(path: Path) -> _Body:
    """Return the commands of a LAMMPS include."""
    before: list[str] = []
    after: list[str] = []
    style: list[str] = []
    coefficients: list[list[str]] = []
    for command in read_commands(path):
        words = list(command.words)
        if words[:2] == ["variable", "potential_dir"]:
            continue
        if words[0] == "include":
            raise InputError(f"{command.place}: a body is one file; put what it includes into it")
        if words[0] == "pair_style":
            if style:
                raise InputError(f"{path}: two `pair_style` commands; combine them by hybrid/overlay")
            style = words[1:]
        elif words[0] == "pair_coeff":
            coefficients.append(words[1:])
        else:
            (after if style else before).append(" ".join(words))
    if not style or not coefficients:
        raise InputError(f"{path}: needs a `pair_style` and its `pair_coeff` lines")
    if style[0] in {"hybrid", "hybrid/scaled", "none"}:
        raise InputError(f"{path}: `pair_style {style[0]}` cannot be joined; write the body as hybrid/overlay")
    return _Body(before=before, style=style, coefficients=coefficients, after=after)


def _require_order(path: Path, body: _Body, species: tuple[str, ...]) -> None:
    """Refuse a body that gives the atom types other elements: joined, each would have the core of another one.

    Many styles name the elements of the types at the end of `pair_coeff * *`; NULL leaves a type to others.
    """
    for words in body.coefficients:
        named = words[2:][-len(species) :]
        if words[:2] != ["*", "*"] or not all(word in {"NULL", *atomic_numbers} for word in named):
            continue
        if any(word not in {"NULL", symbol} for word, symbol in zip(named, species, strict=False)):
            raise InputError(
                f"{path}: `pair_coeff` ends with {' '.join(named)}, expected the species of the atom types in "
                f"their order, {' '.join(species)}; give --species in the order of the body"
            )


def _collect(body: _Body, path: Path, folders: Sequence[Path]) -> _Body:
    """Copy the files that a body at `path` names into new `folders`, and return it with their new names."""
    for folder in folders:
        folder.mkdir()
    named: list[str] = []
    files: list[str] = []
    distribution: list[str] = []

    def settle(word: str) -> str:
        name = word.removeprefix(f"{FOLDER}/")
        source = path.parent / name
        if FILE_NAME.fullmatch(name) and source.is_file():
            for folder in folders:
                shutil.copy(source, folder / source.name)
            named.append(name)
            files.append(source.name)
            return f"{FOLDER}/{source.name}"
        if word != name:
            raise InputError(f"{source}: named by the body, but missing; put it beside the body")
        if (distribution_folder() / name).is_file():
            distribution.append(name)
        return word

    coefficients = [[*words[:2], *(settle(w) for w in words[2:])] for words in body.coefficients]
    # Complains of the user's own lines, not of those made from them.
    understood(path.name, folder=path.parent, files=named, distribution_files=distribution)
    return _Body(
        before=body.before,
        style=body.style,
        coefficients=coefficients,
        after=body.after,
        files=tuple(dict.fromkeys(files)),
        distribution=tuple(dict.fromkeys(distribution)),
    )


def _write_folder(folder: Path, lines: list[str], *, about: _About, commands: _Body, cutoff_A: float) -> None:
    """Write `potential.lmp` and `potential.toml` into `folder`, which holds all other files."""
    types = ", ".join(f"{i} {s}" for i, s in enumerate(about.species, start=1))
    head = [
        f"# {about.title}",
        f"# LAMMPS units metal; atom types {types}. The table is the ZBL core joined to the body.",
        "# In a bare script: lmp -var potential_dir <this folder> -in script, and",
        "# `include ${potential_dir}/potential.lmp`.",
        "variable potential_dir index .",
    ]
    (folder / "potential.lmp").write_text("\n".join([*head, *lines]) + "\n", encoding="utf-8")
    names = ["potential.lmp", *commands.files, *(["core.table"] if (folder / "core.table").is_file() else [])]
    (folder / "potential.toml").write_text(
        _toml(
            about,
            cutoff_A=cutoff_A,
            files={name: file_sha256(folder / name) for name in names},
            distribution={name: file_sha256(distribution_folder() / name) for name in commands.distribution},
        ),
        encoding="utf-8",
    )


def _toml(about: _About, *, cutoff_A: float, files: Mapping[str, str], distribution: Mapping[str, str]) -> str:
    def quoted(text: str) -> str:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'

    def listed(values: Iterable[str]) -> str:
        return "[" + ", ".join(quoted(v) for v in values) + "]"

    if not math.isfinite(cutoff_A):
        raise PotentialError(f"the cutoff of the body is {cutoff_A}; give a finite one")
    lines = [
        "schema_version = 1",
        f"title = {quoted(about.title)}",
        f'description = """\n{about.description.strip()}\n"""' if about.description else 'description = ""',
        f"origin = {quoted(about.origin)}",
        f"license = {quoted(about.license)}",
        'status = "qualitative"',
        f"species = {listed(about.species)}",
        'include = "potential.lmp"',
        f"cutoff_A = {cutoff_A}",
        f"crystals = {listed(about.crystals)}",
        "",
        "[zbl]",
    ]
    lines += [
        f'"{name}" = {{ inner_A = {s.inner_A}, outer_A = {s.outer_A} }}' for name, s in about.switches.items()
    ]
    lines += ["", "[files]", *(f"{quoted(k)} = {quoted(v)}" for k, v in files.items())]
    if distribution:
        lines += ["", "[distribution_files]", *(f"{quoted(k)} = {quoted(v)}" for k, v in distribution.items())]
    return "\n".join(lines) + "\n"
