"""Labels in any unit are the same labels; forms of every kind know neither place, order, turn nor cell."""

import dataclasses
import itertools
import json

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.stress import full_3x3_to_voigt_6_stress, voigt_6_to_full_3x3_stress
from forms import SPECIES, SPLINES, crowd
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from cascade_driver.training.descriptors import CombinedForm
from cascade_driver.training.extended_xyz import FrameUnits
from cascade_driver.training.frames import LabelledFrame, as_atoms
from cascade_driver.training.importing import ImportRules, doubts, import_frames
from cascade_driver.training.labelling import AseSettings, label
from cascade_driver.training.pod import PodForm
from cascade_driver.training.snap import SnapForm
from cascade_driver.units import ENERGY, FORCE, STRESS, unit_in_eV_A

FEW = settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
seeds = st.integers(0, 2**32 - 1)


# -- units --------------------------------------------------------------------------------------------------------

#: By CODATA 2018 and the thermochemical calorie: eV of an energy, A of a length, eV/A^3 of a pressure.
ENERGIES = {
    "eV": 1.0,
    "hartree": 27.211386245988,
    "Ry": 13.605693122994,
    "kcal/mol": 0.0433641043,
    "kJ/mol": 0.010364269657,
}
LENGTHS = {"A": 1.0, "Angstrom": 1.0, "bohr": 0.529177210903, "nm": 10.0}
PRESSURES = {"GPa": 1 / 160.2176634, "kbar": 1 / 1602.176634, "bar": 1 / 1602176.634, "eV/A^3": 1.0}


@given(
    st.sampled_from(sorted(ENERGIES)), st.sampled_from(sorted(LENGTHS)), st.booleans(), st.sampled_from(["", " "])
)
def test_a_unit_is_the_quotient_of_its_parts_however_it_is_written(energy, length, small, blank):
    wanted = ENERGIES[energy] / LENGTHS[length]
    for written, of, value in (
        (energy, ENERGY, ENERGIES[energy]),
        (f"{energy}{blank}/{blank}{length}", FORCE, wanted),
        (f"{energy}*{length}^-1", FORCE, wanted),
        (f"{energy}{blank}/{blank}{length}**3", STRESS, ENERGIES[energy] / LENGTHS[length] ** 3),
    ):
        text = written.lower() if small else written
        assert unit_in_eV_A(text, of) == pytest.approx(value, rel=1e-8), text


def a_frame(seed: int, *, atoms: int = 4) -> LabelledFrame:
    rng = np.random.default_rng(seed)
    return LabelledFrame(
        atoms=crowd(seed, atoms=atoms),
        energy_eV=float(rng.normal(-20, 5)),
        forces_eV_per_A=rng.normal(size=(atoms, 3)),
        stress_eV_per_A3=rng.normal(size=6) * 0.05,
    )


def assert_same_labels(one: LabelledFrame, other: LabelledFrame, *, within: float = 1e-6) -> None:
    assert other.atoms.get_chemical_symbols() == one.atoms.get_chemical_symbols()
    np.testing.assert_allclose(other.atoms.positions, one.atoms.positions, atol=1e-6)
    np.testing.assert_allclose(other.atoms.cell.array, one.atoms.cell.array, atol=1e-6)
    assert other.energy_eV == pytest.approx(one.energy_eV, rel=within)
    np.testing.assert_allclose(other.forces_eV_per_A, one.forces_eV_per_A, atol=within * 10)
    np.testing.assert_allclose(other.stress_eV_per_A3, one.stress_eV_per_A3, atol=within)


@FEW
@given(
    seeds,
    st.sampled_from(sorted(ENERGIES)),
    st.sampled_from(sorted(LENGTHS)),
    st.sampled_from(sorted(PRESSURES)),
    st.booleans(),
    st.booleans(),
)
def test_a_frame_in_any_units_and_either_sign_is_the_same_frame(
    tmp_path, seed, energy, length, pressure, compression, declared
):
    frame = a_frame(seed)
    sign = -1 if compression else 1
    atoms = frame.atoms.copy()
    force = f"{energy}/{length}"
    atoms.info |= {
        "energy": frame.energy_eV / ENERGIES[energy],
        "stress": sign * voigt_6_to_full_3x3_stress(frame.stress_eV_per_A3) / PRESSURES[pressure],
    }
    atoms.set_array("force", frame.forces_eV_per_A / (ENERGIES[energy] / LENGTHS[length]))
    units = FrameUnits(compression_positive=compression)
    if declared:
        atoms.info |= {"energy-unit": energy, "force-unit": force, "stress-unit": pressure}
    else:
        units = dataclasses.replace(units, energy=energy, forces=force, stress=pressure)
    path = tmp_path / "frame.extxyz"
    ase.io.write(path, atoms, format="extxyz", columns=["symbols", "positions", "force"])
    rules = ImportRules(units=units)
    rules = dataclasses.replace(rules, keys=dataclasses.replace(rules.keys, forces="force"))
    (found,) = import_frames(path, rules).frames
    assert_same_labels(frame, found)


@FEW
@given(seeds, st.sampled_from(["traj", "json", "fitsnap", "extxyz"]), st.integers(1, 3))
def test_labels_survive_every_format_in_their_order(tmp_path, seed, form, count):
    frames = [a_frame(seed + k) for k in range(count)]
    if form == "fitsnap":
        data = [
            {
                "AtomTypes": f.atoms.get_chemical_symbols(),
                "Positions": f.atoms.positions.tolist(),
                "Lattice": f.atoms.cell.array.tolist(),
                "Energy": f.energy_eV,
                "Forces": f.forces_eV_per_A.tolist(),
                # LAMMPS counts compression as positive, in bar.
                "Stress": (-voigt_6_to_full_3x3_stress(f.stress_eV_per_A3) / PRESSURES["bar"]).tolist(),
            }
            for f in frames
        ]
        path = tmp_path / "run.json"
        path.write_text("# comment\n" + json.dumps({"Dataset": {"Data": data}}))
    else:
        path = tmp_path / f"run.{form}"
        ase.io.write(path, [as_atoms(f) for f in frames])
    found = import_frames(path, ImportRules())
    assert not found.left_out
    for one, other in zip(frames, found.frames, strict=True):
        assert_same_labels(one, other)
    assert len({frame.trajectory for frame in found.frames}) == 1


LENNARD_JONES = AseSettings(
    kind="ase",
    factory="ase.calculators.lj:LennardJones",
    arguments={"sigma": 1.4, "epsilon": 1.0, "rc": 4.0, "smooth": 1},
)


@FEW
@given(seeds, st.sampled_from([("energy", 1 / 27.211386), ("forces", -1.0), ("forces", 27.211386 / 0.5291772)]))
def test_labels_agree_with_their_own_derivatives_and_broken_ones_do_not(tmp_path, seed, broken):
    atoms, frames = crowd(seed % 1000, atoms=6, nearest_A=1.6), []
    for _ in range(6):
        frames.append(label(atoms, LENNARD_JONES, folder=tmp_path / "label"))
        atoms = atoms.copy()
        # Downhill, so that each step has work to do.
        atoms.positions += 0.02 * frames[-1].forces_eV_per_A / np.abs(frames[-1].forces_eV_per_A).max()
    frames = [dataclasses.replace(f, trajectory="run") for f in frames]
    # Else the work is lost in the digits of the energies.
    assume(min(a.energy_eV - b.energy_eV for a, b in itertools.pairwise(frames)) > 0.02)
    assert not doubts(frames)
    name, factor = broken
    changed = [
        dataclasses.replace(f, energy_eV=f.energy_eV * factor)
        if name == "energy"
        else dataclasses.replace(f, forces_eV_per_A=f.forces_eV_per_A * factor)
        for f in frames
    ]
    assert any("not the derivatives of the energies" in said for said in doubts(changed))


# -- forms --------------------------------------------------------------------------------------------------------

SNAP = SnapForm(species=SPECIES, cutoff_A=4.0, twojmax=4, weights={"Al": 1.0, "O": 0.6})
POD = PodForm(
    species=SPECIES,
    cutoff_A=4.0,
    radial=3,
    triples_radial=2,
    triples_angular=2,
    quadruples_radial=0,
    quadruples_angular=0,
    bessel_degree=3,
    inverse_degree=4,
)
FORMS = {"snap": SNAP, "pod": POD, "splines": SPLINES, "splines and snap": CombinedForm((SPLINES, SNAP))}


def spanned_anew(atoms: Atoms, rng: np.random.Generator) -> Atoms:
    """The same crystal in another cell of its lattice."""
    vectors = np.eye(3, dtype=int)
    i, j = rng.choice(3, 2, replace=False)
    vectors[i] += rng.choice([-1, 1]) * vectors[j]
    return Atoms(atoms.numbers, positions=atoms.positions, cell=vectors @ atoms.cell.array, pbc=True)


@pytest.mark.parametrize("name", FORMS)
@settings(max_examples=6)
@given(seeds)
def test_rows_of_every_form_turn_with_the_crystal_and_know_nothing_else(name, seed):
    form, atoms, rng = FORMS[name], crowd(seed % 1000, atoms=6), np.random.default_rng(seed)
    before = form.rows(atoms)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    order = rng.permutation(len(atoms))
    changed = spanned_anew(atoms, rng)[order]
    changed.positions += rng.uniform(-5, 5, 3) + rng.integers(-1, 2, (len(atoms), 3)) @ changed.cell.array
    changed.positions = changed.positions @ turn.T
    changed.set_cell(changed.cell.array @ turn.T)
    after = form.rows(changed)
    close = {"rtol": 1e-6, "atol": 1e-7 * max(1.0, np.abs(before.energy).max())}
    np.testing.assert_allclose(after.energy, before.energy, **close)
    forces = np.einsum("pni,ji->pnj", before.forces_per_A[:, order], turn)
    np.testing.assert_allclose(after.forces_per_A, forces, rtol=1e-5, atol=1e-6 * np.abs(forces).max())
    stress = np.array(
        [full_3x3_to_voigt_6_stress(turn @ voigt_6_to_full_3x3_stress(s) @ turn.T) for s in before.stress_per_A3]
    )
    np.testing.assert_allclose(after.stress_per_A3, stress, rtol=1e-5, atol=1e-6 * np.abs(stress).max())
