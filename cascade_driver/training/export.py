"""A fitted form as a potential's folder: the LAMMPS include, its files and `potential.toml`.

What runs is what was fitted: the core is the very table that the fit subtracted, pairs and triples are LAMMPS' own
splines, embedding energies are tabulated so finely that forces agree to 1e-5 eV/A.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase.data import atomic_masses, atomic_numbers
from numpy.typing import NDArray
from scipy.interpolate import BSpline

from cascade_driver.errors import FitError, InputError
from cascade_driver.files import whole_folder
from cascade_driver.schema import file_sha256
from cascade_driver.simulation.potential import Potential, ZblSwitch, element_pairs, load_potential
from cascade_driver.training.descriptors import CombinedForm, LinearForm
from cascade_driver.training.pod import PodForm
from cascade_driver.training.snap import SnapForm
from cascade_driver.training.splines import SplineForm
from cascade_driver.training.zbl_core import CORE_FILE, core_coefficients, write_core
from cascade_driver.validation.zbl import TABLE_POINTS, switch

#: Points of an embedding energy and of a density. LAMMPS takes slopes from differences of five points.
_DENSITY_POINTS = 2000
_EMBEDDING_POINTS = 6000


@dataclass(frozen=True, kw_only=True)
class About:
    """What `potential.toml` says of a fitted potential beside its files; see `PotentialFile`."""

    title: str
    description: str
    origin: str
    license: str = "GPL-3.0-or-later"
    status: str = "qualitative"
    crystals: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Body:
    """What stands in an include.

    Attributes
    ----------
    terms : tuple of tuple of str
        Of each sub-style of `hybrid/overlay` its name, its arguments, and what its `pair_coeff * *` says.
    files : dict
        Texts by name.
    cutoff_A : float
        Reach.
    """

    terms: tuple[tuple[str, str, str], ...]
    files: Mapping[str, str]
    cutoff_A: float


def spline_body(form: SplineForm, coefficients: NDArray[np.float64], *, name: str) -> Body:
    """Return the LAMMPS styles and files of splines; files are named after `name`."""
    numbers = range(len(form.embedding))
    files = {f"{name}.uf3": _uf3(form, coefficients)}
    files |= {f"{name}.eam{m}.fs": _eam(form, coefficients, m) for m in numbers}
    symbols = " ".join(form.species)
    terms = [("uf3", "3" if form.triples() else "2", f"${{potential_dir}}/{name}.uf3 {symbols}")]
    terms += [("eam/fs", "", f"${{potential_dir}}/{name}.eam{m}.fs {symbols}") for m in numbers]
    radii = [d.outer_A for term in form.embedding for d in term.densities.values()]
    cutoff = max(form.two_body_cutoff_A, form.three_body_cutoff_A, *radii)
    return Body(terms=tuple(terms), files=files, cutoff_A=cutoff)


def snap_body(form: SnapForm, coefficients: NDArray[np.float64], *, name: str) -> Body:
    """Return the LAMMPS style and files of a bispectrum; files are named after `name`."""
    files = form.files(coefficients, name=name)
    arguments = " ".join(f"${{potential_dir}}/{file}" for file in files)
    term = ("snap", "", f"{arguments} {' '.join(form.species)}")
    return Body(terms=(term,), files=files, cutoff_A=form.cutoff_A)


def pod_body(form: PodForm, coefficients: NDArray[np.float64], *, name: str) -> Body:
    """Return the LAMMPS style and files of proper orthogonal descriptors; files are named after `name`."""
    files = form.files(coefficients, name=name)
    arguments = " ".join(f"${{potential_dir}}/{file}" for file in files)
    return Body(terms=(("pod", "", f"{arguments} {' '.join(form.species)}"),), files=files, cutoff_A=form.cutoff_A)


def bodies_of(form: LinearForm, coefficients: NDArray[np.float64], *, name: str) -> list[Body]:
    """Return what LAMMPS needs of any form; its files are named after `name`, in letters that LAMMPS reads.

    Raises
    ------
    InputError
        If LAMMPS has no style for it.
    FitError
        If a coefficient is nan or inf: LAMMPS would run with it.
    """
    if not np.isfinite(coefficients).all():
        raise FitError(f"{name}: a coefficient is nan or inf; nothing is written")
    name = re.sub(r"[^A-Za-z0-9_.+-]+", "-", name).strip("-.") or "potential"
    if isinstance(form, CombinedForm):
        pairs = enumerate(zip(form.parts, form.split(coefficients), strict=True), start=1)
        return [body for n, (part, own) in pairs for body in bodies_of(part, own, name=f"{name}-{n}")]
    if isinstance(form, SplineForm):
        return [spline_body(form, coefficients, name=name)]
    if isinstance(form, SnapForm):
        return [snap_body(form, coefficients, name=name)]
    if isinstance(form, PodForm):
        return [pod_body(form, coefficients, name=name)]
    raise InputError(f"{type(form).__name__}: LAMMPS has no style for it; use splines, bispectra or POD")


def write_potential(
    out: Path, *, species: tuple[str, ...], zbl: Mapping[str, ZblSwitch], bodies: Sequence[Body], about: About
) -> Potential:
    """Write the folder of a potential that is the ZBL core and `bodies`, and return it.

    Raises
    ------
    InputError
        If the folder exists, or cannot be written.
    """
    with whole_folder(out) as made:
        made.mkdir()
        write_core(made / CORE_FILE, zbl=zbl)
        for body in bodies:
            for file, text in body.files.items():
                (made / file).write_text(text, encoding="ascii")
        (made / "potential.lmp").write_text(_include(species, zbl, bodies, about), encoding="utf-8")
        cutoff = max(*(b.cutoff_A for b in bodies), *(z.outer_A for z in zbl.values()))
        names = ["potential.lmp", CORE_FILE, *(file for body in bodies for file in body.files)]
        sums = {file: file_sha256(made / file) for file in names}
        text = _toml(species, zbl, about, cutoff_A=cutoff, files=sums)
        (made / "potential.toml").write_text(text, encoding="utf-8")
    return load_potential(out)


def _include(species: tuple[str, ...], zbl: Mapping[str, ZblSwitch], bodies: Sequence[Body], about: About) -> str:
    terms = [term for body in bodies for term in body.terms]
    names = [style for style, _, _ in terms]
    styles = [f"{style} {arguments}".strip() for style, arguments, _ in terms]
    coefficients = []
    for n, (style, _, words) in enumerate(terms):
        # Where a style stands twice LAMMPS wants to know which of them is meant.
        number = f"{names[: n + 1].count(style)} " if names.count(style) > 1 else ""
        coefficients.append(f"pair_coeff * * {style} {number}{words}")
    types = ", ".join(f"{i} {s}" for i, s in enumerate(species, start=1))
    lines = [
        f"# {about.title}",
        f"# LAMMPS units metal; atom types {types}. The table is the ZBL core.",
        "# In a bare script: lmp -var potential_dir <this folder> -in script, and",
        "# `include ${potential_dir}/potential.lmp`.",
        "variable potential_dir index .",
        f"pair_style hybrid/overlay {' '.join(styles)} table spline {TABLE_POINTS}",
        *coefficients,
        *core_coefficients("${potential_dir}", species=species, zbl=zbl),
        "# Without this LAMMPS fails to reorder the neighbour lists of overlays of many-body styles.",
        "pair_modify neigh/trim no",
    ]
    return "\n".join(lines) + "\n"


def _toml(
    species: tuple[str, ...],
    zbl: Mapping[str, ZblSwitch],
    about: About,
    *,
    cutoff_A: float,
    files: Mapping[str, str],
) -> str:
    def quoted(text: str) -> str:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    lines = [
        "schema_version = 1",
        f"title = {quoted(about.title)}",
        'description = """',
        *about.description.strip().replace("\\", "\\\\").replace('"""', "'''").splitlines(),
        '"""',
        f"origin = {quoted(about.origin)}",
        f"license = {quoted(about.license)}",
        f"status = {quoted(about.status)}",
        "species = [" + ", ".join(quoted(s) for s in species) + "]",
        'include = "potential.lmp"',
        f"cutoff_A = {cutoff_A}",
        "crystals = [" + ", ".join(quoted(c) for c in about.crystals) + "]",
        "",
        "[zbl]",
        *(f'"{n}" = {{ inner_A = {z.inner_A}, outer_A = {z.outer_A} }}' for n, z in zbl.items()),
        "",
        "[files]",
        *(f"{quoted(name)} = {quoted(total)}" for name, total in files.items()),
    ]
    return "\n".join(lines) + "\n"


# -- splines as LAMMPS reads them ------------------------------------------------------------------------------


def _uf3(form: SplineForm, coefficients: NDArray[np.float64]) -> str:
    """Return pairs and triples for `pair_style uf3 3`."""
    head = "#UF3 POT UNITS: metal DATE: 2026-01-01 AUTHOR: cascade_driver CITATION: none"
    blocks: list[str] = []
    for a, b in element_pairs(form.species):
        knots = form.two_body_knots()
        # LAMMPS meets each pair twice.
        values = 0.5 * form.coefficients_of(f"two_body {a}-{b}", coefficients)
        size = f"{form.two_body_cutoff_A!r} {len(knots)}"
        blocks += [head, f"2B {a} {b} 0 3 uk", size, _numbers(knots), str(len(values)), _numbers(values), "#"]
    for i, j, k in form.triples():
        tensor = form.coefficients_of(f"three_body {i}-{j}-{k}", coefficients)
        ij, ik = (form.leg_knots(form.pair_of(i, other)) for other in (j, k))
        jk = form.far_knots(i, j, k)
        cutoff = form.three_body_cutoff_A
        blocks += [
            head,
            f"3B {i} {j} {k} 0 3 uk",
            f"{2 * cutoff!r} {cutoff!r} {cutoff!r} {len(jk)} {len(ik)} {len(ij)}",
            *(_numbers(knots) for knots in (jk, ik, ij)),
            " ".join(str(n) for n in tensor.shape),
            *(_numbers(line) for line in tensor.reshape(-1, tensor.shape[-1])),
            "#",
        ]
    return "\n".join(blocks) + "\n"


def _numbers(values: NDArray[np.float64]) -> str:
    return " ".join(f"{v:.12g}" for v in values)


def _eam(form: SplineForm, coefficients: NDArray[np.float64], term: int) -> str:
    """Return one embedding term for `pair_style eam/fs`; the first carries the energies of single atoms."""
    about = form.embedding[term]
    cutoff = max(d.outer_A for d in about.densities.values())
    r = np.linspace(0.0, cutoff, _DENSITY_POINTS)
    # Some points of the straight line beyond, since LAMMPS takes the slope at the end from one side only.
    rho = np.linspace(0.0, 1.01 * max(about.largest_density.values()), _EMBEDDING_POINTS)
    lines = ["# embedding term of a fitted potential", "#", "#", f"{len(form.species)} {' '.join(form.species)}"]
    lines.append(f"{len(rho)} {float(rho[1])!r} {len(r)} {float(r[1])!r} {cutoff!r}")
    for partner in form.species:
        number = atomic_numbers[partner]
        lines.append(f"{number} {atomic_masses[number]} 1.0 none")
        energy = _embedding_energy(form, coefficients, term, partner, rho)
        lines += [f"{value:.12g}" for value in energy]
        # What `partner` gives to each species, in their order.
        for centre in form.species:
            given = about.densities.get(f"{centre} by {partner}")
            phi = np.zeros_like(r)
            if given is not None:
                phi = given.weight * switch(r, inner_A=given.inner_A, outer_A=given.outer_A)[0]
            lines += [f"{value:.12g}" for value in phi]
    nothing = "0\n" * (len(r) * len(element_pairs(form.species)))
    return "\n".join(lines) + "\n" + nothing


def _embedding_energy(
    form: SplineForm, coefficients: NDArray[np.float64], term: int, species: str, rho: NDArray[np.float64]
) -> NDArray[np.float64]:
    energy = np.zeros_like(rho)
    knots = form.embedding_knots(term, species)
    if len(knots):
        spline = BSpline(knots, form.coefficients_of(f"embedding {term} {species}", coefficients), 3)
        inside = np.minimum(rho, knots[-1])
        energy = spline(inside) + spline(knots[-1], 1) * (rho - inside)
    if term == 0:
        energy = energy + form.coefficients_of(f"one_body {species}", coefficients)[0]
    return np.asarray(energy)
