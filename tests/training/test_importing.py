"""`cascade train import`: the labels of others are converted, left out or refused, never taken for others."""

import gzip
import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from cascade_driver.cli import main
from cascade_driver.errors import FitError, InputError
from cascade_driver.files import data_folder
from cascade_driver.training.cross_validation import linked_frames
from cascade_driver.training.extended_xyz import read_frames
from cascade_driver.training.fit_input import DataFile, HeldBlocks
from cascade_driver.training.frames import LabelledFrame, write_frames
from cascade_driver.training.importing import ImportRules, doubts, import_frames
from cascade_driver.training.linear import Moments, solve
from cascade_driver.units import ENERGY, FORCE, STRESS, unit_in_eV_A

#: Public outputs of other programs, see the README there.
DATA = Path(__file__).parents[1] / "data" / "other_programs"

HARTREE_eV, BOHR_A = 27.211386245988, 0.529177210903  # CODATA 2018


def imported(name, **rules):
    return import_frames(DATA / name, ImportRules(**rules))


def command(tmp_path, *words):
    return main(["train", "import", *map(str, words), "--out", str(tmp_path / "out.extxyz")])


# -- VASP: what converged, which energy -------------------------------------------------------------------------


def test_steps_that_used_all_electronic_iterations_are_left_out(tmp_path, capsys):
    """dpdata keeps the third step alone; all three end with `aborting loop because EDIFF is reached`."""
    assert command(tmp_path, DATA / "OUTCAR.ch4.unconverged.gz") == 0
    assert "left out frames 0-1: not converged: all 15 electronic iterations used" in capsys.readouterr().out
    (frame,) = read_frames(tmp_path / "out.extxyz")
    assert frame.energy_eV == pytest.approx(-23.94708651, abs=1e-8)
    np.testing.assert_allclose(frame.forces_eV_per_A[0], [0.03336, -0.393549, -0.684725], atol=1e-6)
    np.testing.assert_allclose(
        frame.stress_eV_per_A3, [0.001178, 0.000297, 0.000875, -0.001216, 0.000323, -0.000534], atol=1e-6
    )


def test_a_file_without_a_label_is_refused(tmp_path, capsys):
    assert command(tmp_path, DATA / "OUTCAR.ch4.1step.gz") == 2
    shown = capsys.readouterr()
    assert "all 1 electronic iterations used" in shown.out
    assert "no frame is left" in shown.err
    assert not (tmp_path / "out.extxyz").exists()


def test_an_unconverged_step_of_vasprun_is_left_out_too(tmp_path):
    """The same dynamics, as if no more than 9 iterations had been allowed."""
    text = gzip.decompress((DATA / "vasprun.h2o.md.xml.gz").read_bytes()).decode()
    iterations = [part.count("<scstep>") for part in text.split("<calculation>")[1:]]
    most = sorted(iterations)[1]
    path = tmp_path / "vasprun.xml"
    path.write_text(text.replace('name="NELM">    60<', f'name="NELM">    {most}<'))
    found = import_frames(path, ImportRules())
    assert len(found.frames) == sum(n < most for n in iterations) == 1
    (reason,) = found.left_out
    assert f"all {most} electronic iterations" in reason


def test_the_energy_is_the_one_that_forces_derive_from():
    free, unsmeared = (imported("OUTCAR.Ti-O-Ti.gz", smeared=smeared) for smeared in (True, False))
    assert free.frames[0].energy_eV == pytest.approx(-57.48343729, abs=1e-8)
    assert unsmeared.frames[0].energy_eV == pytest.approx(-57.47495449, abs=1e-8)
    assert any("the free one" in note and "1.06 meV/atom" in note for note in free.notes)


def test_van_der_waals_outputs_say_the_same_in_both_files():
    (outcar,), (vasprun,) = imported("OUTCAR.Ge.vdw.gz").frames, imported("vasprun.Ge.vdw.xml.gz").frames
    assert outcar.energy_eV == vasprun.energy_eV == pytest.approx(-33.36815582, abs=1e-8)
    np.testing.assert_allclose(outcar.forces_eV_per_A, vasprun.forces_eV_per_A, atol=1e-6)
    np.testing.assert_allclose(vasprun.forces_eV_per_A[0], [-0.05644767, 0.10894589, 0.29689164], atol=1e-8)
    np.testing.assert_allclose(outcar.stress_eV_per_A3, vasprun.stress_eV_per_A3, atol=1e-6)


def test_steps_of_a_force_field_are_no_labels():
    found = imported("OUTCAR.ch4.ml.gz")
    assert [round(frame.energy_eV, 8) for frame in found.frames[:3]] == [-24.12709802, -24.12724275, -24.12737148]
    (reason,) = found.left_out
    assert "machine-learned force field" in reason
    assert len(found.left_out[reason]) == 10


def test_an_output_cut_off_keeps_its_whole_steps(tmp_path):
    whole = gzip.decompress((DATA / "vasprun.h2o.md.xml.gz").read_bytes())
    (tmp_path / "vasprun.xml").write_bytes(whole[: int(0.8 * len(whole))])
    found = import_frames(tmp_path / "vasprun.xml", ImportRules())
    assert [frame.energy_eV for frame in found.frames] == pytest.approx([-28.38622624, -28.43874406])
    assert any("ends in the middle" in note for note in found.notes)


# -- other programs ---------------------------------------------------------------------------------------------


def test_cp2k_is_read_in_its_old_and_new_forms():
    (old,), (new,) = imported("cp2k_output.gz").frames, imported("cp2k_2025_output.gz").frames
    assert old.atoms.get_chemical_formula() == "Fe12O18"
    assert old.energy_eV == pytest.approx(-48061.44846401638, abs=1e-6)
    np.testing.assert_allclose(old.forces_eV_per_A[0], [0.01108711, 0.01754315, 0.16323318], atol=1e-7)
    np.testing.assert_allclose(
        old.stress_eV_per_A3, [0.049665, 0.050286, 0.051083, 0.000116, -3e-6, 0.00048], atol=1e-6
    )
    assert new.energy_eV == pytest.approx(-200.3898256786414, abs=1e-6)
    np.testing.assert_allclose(new.forces_eV_per_A[0], [-2.94874881, 1.51836466, -0.77641237], atol=1e-7)


def test_cp2k_says_that_it_did_not_converge(tmp_path):
    text = gzip.decompress((DATA / "cp2k_output.gz").read_bytes()).decode()
    told = text.replace(
        "*** SCF run converged in    47 steps ***", "*** WARNING in qs_scf.F:542 :: SCF run NOT converged ***"
    )
    for number, (words, reason) in enumerate(
        {told: "says CP2K", text.replace("SCF run conv", ""): "no word"}.items()
    ):
        (tmp_path / f"{number}.out").write_text(words)
        found = import_frames(tmp_path / f"{number}.out", ImportRules())
        assert not found.frames
        assert reason in next(iter(found.left_out))


needs_cp2k = pytest.mark.skipif(shutil.which("cp2k.psmp") is None, reason="CP2K is not installed")


def cp2k_run(folder, *, edge=3.2, z=1.6, kind="ENERGY_FORCE", more=""):
    """The frames of a calculation of two helium atoms in one box."""
    import subprocess

    from cascade_driver.training.labelling import Cp2kKind, Cp2kSettings, cp2k_input

    kinds = {"He": Cp2kKind(basis="SZV-MOLOPT-SR-GTH", pseudopotential="GTH-PBE-q2")}
    # At 200 Ry the grid alone changes energies by 0.7 meV as the atoms move through it.
    settings = Cp2kSettings(kinds=kinds, cutoff_Ry=400, relative_cutoff_Ry=60, convergence=1e-7)
    atoms = Atoms("He2", positions=[[0, 0, 0], [0.5 * edge, 0.9, z]], cell=[edge, 3.0, 4.0], pbc=True)
    rows = "\n".join(f"He {x} {y} {w}" for x, y, w in atoms.positions)
    text = cp2k_input(atoms, settings, restart=None) + more
    printed = "&PRINT\n&FORCES ON\n&END\n&STRESS_TENSOR ON\n&END\n&END"
    for old, new in {
        "&SUBSYS": f"&SUBSYS\n&CELL\nABC {edge} 3.0 4.0\n&END\n&COORD\n{rows}\n&END",
        "&FORCE_EVAL": f"&FORCE_EVAL\nSTRESS_TENSOR ANALYTICAL\n{printed}",
        "&GLOBAL": f"&GLOBAL\nRUN_TYPE {kind}\nPROJECT he",
    }.items():
        text = text.replace(old, new, 1)
    (folder / "he.inp").write_text(text)
    run = ["cp2k.psmp", "-i", "he.inp", "-o", "he.out"]
    subprocess.run(run, cwd=folder, check=True, capture_output=True, timeout=200)
    return import_frames(folder / "he.out", ImportRules(trajectory="one")).frames


@needs_cp2k
def test_forces_and_stresses_of_cp2k_are_derivatives_of_its_energies(tmp_path):
    """Moved and strained; the negative control has the sign of CP2K's own stress."""
    steps = [(3.2, 1.6), (3.2, 1.63), (3.2, 1.66), (3.22, 1.66), (3.24, 1.66)]
    frames = []
    for number, (edge, z) in enumerate(steps):
        (tmp_path / str(number)).mkdir()
        frames += cp2k_run(tmp_path / str(number), edge=edge, z=z)
    assert len(frames) == 5
    assert doubts(frames) == []
    turned = [_with(frame, stress_eV_per_A3=-frame.stress_eV_per_A3) for frame in frames]
    assert "positive under compression" in " ".join(doubts(turned))


@needs_cp2k
def test_the_steps_of_cp2ks_dynamics_take_their_positions_from_its_trajectory(tmp_path):
    """Energies change by the work of the forces along the positions, by a trapezoid, within 10 % and 0.02 meV."""
    motion = "\n&MOTION\n&MD\nENSEMBLE NVE\nSTEPS 5\nTIMESTEP 1.0\nTEMPERATURE 600\n&END\n&END\n"
    frames = cp2k_run(tmp_path, z=1.2, kind="MD", more=motion)
    assert len(frames) == 6
    for one, two in itertools.pairwise(frames):
        moved = two.atoms.positions - one.atoms.positions
        work = -0.5 * ((one.forces_eV_per_A + two.forces_eV_per_A) * moved).sum()
        assert np.abs(moved).max() > 1e-3
        assert abs(work) > 1e-4
        assert two.energy_eV - one.energy_eV == pytest.approx(work, rel=0.1, abs=2e-5)
    (tmp_path / "he-pos-1.xyz").unlink()
    alone = import_frames(tmp_path / "he.out", ImportRules())
    assert len(alone.frames) == 1
    assert [reason for reason in alone.left_out if "no positions" in reason]


def test_quantum_espresso_says_whether_it_converged(tmp_path):
    (frame,) = imported("Al.out.gz").frames
    np.testing.assert_allclose(
        frame.forces_eV_per_A[0], [-1.64550616e-05, 7.40477772e-05, -2.49397027e-05], atol=1e-10
    )
    np.testing.assert_allclose(frame.stress_eV_per_A3[:3], 0.023374, atol=2e-6)
    text = gzip.decompress((DATA / "Al.out.gz").read_bytes()).decode()
    (tmp_path / "pw.out").write_text(text.replace("convergence has been achieved", "convergence NOT achieved"))
    assert not import_frames(tmp_path / "pw.out", ImportRules()).frames


def test_fitsnap_has_the_stresses_of_lammps(tmp_path):
    """Compressed copper: LAMMPS' pressure is positive, ASE's stress negative; zero stresses mean unknown ones."""
    (frame,) = emt_run(count=1, squeeze=0.97)
    tensor = np.diag(frame.stress_eV_per_A3[:3])
    tensor[1, 2] = tensor[2, 1] = frame.stress_eV_per_A3[3]
    tensor[0, 2] = tensor[2, 0] = frame.stress_eV_per_A3[4]
    tensor[0, 1] = tensor[1, 0] = frame.stress_eV_per_A3[5]
    data = {
        "NumAtoms": len(frame.atoms),
        "AtomTypes": list(frame.atoms.symbols),
        "Positions": frame.atoms.positions.tolist(),
        "Lattice": frame.atoms.cell.array.tolist(),
        "Energy": frame.energy_eV,
        "Forces": frame.forces_eV_per_A.tolist(),
        "Stress": (-tensor * 1.602176634e6).tolist(),  # bar per eV/A^3
    }
    content = {"Data": [data, data | {"Stress": np.zeros((3, 3)).tolist(), "Energy": 1.0}], "StressStyle": "bar"}
    folder = tmp_path / "Compressed"
    folder.mkdir()
    (folder / "Cu_1.json").write_text("# first line\n" + json.dumps({"Dataset": content}))
    found = import_frames(folder / "Cu_1.json", ImportRules())
    assert (found.frames[0].group, found.frames[0].trajectory) == ("Compressed", "Compressed")
    assert found.frames[0].stress_eV_per_A3[0] < 0
    np.testing.assert_allclose(found.frames[0].stress_eV_per_A3, frame.stress_eV_per_A3, rtol=1e-9)
    assert found.frames[1].stress_eV_per_A3 is None
    content["Data"][0]["NumAtoms"] += 1
    (folder / "Cu_2.json").write_text("# first line\n" + json.dumps({"Dataset": content}))
    assert "atoms are announced" in next(iter(import_frames(folder / "Cu_2.json", ImportRules()).left_out))


# -- units, names and signs -------------------------------------------------------------------------------------


COMMENT = 'Lattice="5.4 0 0 0 5.4 0 0 0 5.4" Properties=species:S:1:pos:R:3:force:R:3 pbc="T T T" '


def xyz(tmp_path, words, *, force=0.01):
    path = tmp_path / "frame.extxyz"
    path.write_text(f"2\n{COMMENT}{words}\nSi 0 0 0 {force} 0 0\nSi 1.35 1.35 1.35 {-force} 0 0\n")
    return path


@pytest.mark.parametrize(
    ("words", "energy", "force", "stress"),
    [
        (
            'energy=-0.5 energy-unit=hartree force-unit=hartree/bohr stress="1 0 0 0 1 0 0 0 1" stress-unit=GPa',
            -0.5 * HARTREE_eV,
            0.01 * HARTREE_eV / BOHR_A,
            1 / 160.2176634,
        ),
        ("energy=-0.5 energy-unit=au force-unit=a.u.", -0.5 * HARTREE_eV, 0.01 * HARTREE_eV / BOHR_A, None),
        ("energy=-1 energy_units=Ry forces_units=Ry/bohr", -HARTREE_eV / 2, 0.005 * HARTREE_eV / BOHR_A, None),
        ("energy=-10 energy-unit=kcal/mol force-unit=kcal/mol/angstrom", -0.4336410424, 4.336410424e-4, None),
        ('energy=-3 stress="10 0 0 0 10 0 0 0 10" stress-unit=kbar', -3, 0.01, 1 / 160.2176634),
        (
            'energy=-3 stress="0.001 0 0 0 0.001 0 0 0 0.001" stress-unit=au/bohr^3',
            -3,
            0.01,
            0.001 * HARTREE_eV / BOHR_A**3,
        ),
        ('energy=-3 stress="0.1 0.1 0.1 0 0 0"', -3, 0.01, 0.1),
        ('energy=-3 virial="15.7464 15.7464 15.7464 0 0 0"', -3, 0.01, -0.1),
        ('energy=-3 virial="15.7464 0 0 0 15.7464 0 0 0 15.7464"', -3, 0.01, -0.1),
        (
            'energy=-3 units="_JSON {\\"energy\\": \\"hartree\\", \\"forces\\": \\"hartree/bohr\\"}"',
            -3 * HARTREE_eV,
            0.01 * HARTREE_eV / BOHR_A,
            None,
        ),
    ],
)
def test_declared_units_are_converted(tmp_path, words, energy, force, stress):
    assert command(tmp_path, xyz(tmp_path, words), "--key", "forces=force") == 0
    (frame,) = read_frames(tmp_path / "out.extxyz")
    assert frame.energy_eV == pytest.approx(energy, rel=1e-9)
    assert frame.forces_eV_per_A[0, 0] == pytest.approx(force, abs=1e-8)
    if stress is None:
        assert frame.stress_eV_per_A3 is None
    else:
        np.testing.assert_allclose(frame.stress_eV_per_A3, [stress] * 3 + [0] * 3, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("energy=-3 energy-unit=nonsense", "`energy-unit`: unit 'nonsense' is not known"),
        ("energy=-3 energy-unit=eV/atom", "`energy-unit`: unit 'eV/atom' is not known"),
        ("energy=-3 force-unit=GPa", "`force-unit`: unit 'GPa' is one of something else"),
        ("energy=-3 energy-unit=hartree", "nothing says what the forces is in"),
        ("energy=-3 units=metal", "`units` is 'metal'"),
        ("energy=-3 pos-unit=bohr", "`pos-unit` is bohr; write positions and cell in angstrom"),
        ('energy=-3 stress="24000 0 0 0 26100 0 0 0 26000"', "4.18e+06 GPa, which no solid bears"),
        ('energy=-3 stress="1 2 3 4"', "not a file of structures"),
        ("REF_energy=-3", "--key energy=REF_energy"),
        ("energy=abc", "`energy` holds no numbers, expected one number"),
        ('energy="1 2 3"', "`energy` holds numbers of shape (3,), expected one number"),
        ("energy=T", "`energy` holds no numbers"),
        ("energy=-3 energy-unit=hartree^99999", "`energy-unit`: unit 'hartree^99999' is not known"),
        ('energy=-3 units="_JSON [1, 2]"', "does not say what is in what"),
    ],
)
def test_units_and_names_that_are_not_known_are_refused_in_one_line(tmp_path, capsys, words, complaint):
    assert command(tmp_path, xyz(tmp_path, words), "--key", "forces=force") == 2
    error = capsys.readouterr().err
    assert complaint in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out.extxyz").exists()


@pytest.mark.parametrize("count", ["3", "-2", "99999999999999", "two"])
def test_a_frame_that_announces_more_atoms_than_follow_is_refused_at_once(tmp_path, capsys, count):
    """ASE's reader would look for them for ever."""
    path = xyz(tmp_path, "energy=-3")
    path.write_text(path.read_text().replace("2\n", f"{count}\n", 1))
    assert command(tmp_path, path, "--key", "forces=force") == 2
    assert f"line 1 is '{count}', expected the number of atoms" in capsys.readouterr().err


def test_the_user_may_say_the_units(tmp_path):
    path = xyz(tmp_path, 'energy=-3 energy-unit=nonsense stress="24000 0 0 0 26100 0 0 0 26000"')
    options = ["--key", "forces=force", "--unit", "energy=Ry", "--unit", "forces=eV/A", "--unit", "stress=bar"]
    assert command(tmp_path, path, *options, "--compression-positive") == 0
    (frame,) = read_frames(tmp_path / "out.extxyz")
    assert frame.energy_eV == pytest.approx(-1.5 * HARTREE_eV)
    np.testing.assert_allclose(frame.stress_eV_per_A3[0], -24000 / 1.602176634e6)


def test_units_are_those_of_codata():
    assert unit_in_eV_A("hartree", ENERGY) == pytest.approx(HARTREE_eV, rel=1e-9)
    assert unit_in_eV_A("electronvoltperangstrom", FORCE) == 1
    assert unit_in_eV_A("eV A^-3", STRESS) == unit_in_eV_A("eV/Å**3", STRESS) == 1
    for text in ("", "eV//A", "eV/", "meV"):
        with pytest.raises(ValueError, match="unit"):
            unit_in_eV_A(text, ENERGY)


def test_numbers_that_look_like_labels_are_not_dropped_without_a_word(tmp_path, capsys):
    path = xyz(tmp_path, 'energy=-3 virials="1 0 0 0 1 0 0 0 1" dft_energy=-4')
    assert command(tmp_path, path, "--key", "forces=force") == 0
    assert "not taken: `dft_energy`, `virials`" in capsys.readouterr().out


# -- frames that cannot be labels -------------------------------------------------------------------------------


def emt_run(*, count, squeeze=1.0, seed=1, rattle=0.1, calculator=EMT, symbol="Cu"):
    """Frames of a crystal whose atoms drift apart evenly, as in a short dynamics, with EMT's labels."""
    random = np.random.default_rng(seed)
    box = bulk(symbol, cubic=True) * (2, 2, 2)
    box.set_cell(box.cell * squeeze, scale_atoms=True)
    start, drift = random.normal(scale=rattle, size=(2, len(box), 3))
    frames = []
    for number in range(count):
        atoms = box.copy()
        atoms.positions += start + 0.05 * number * drift
        atoms.calc = calculator()
        frames.append(
            LabelledFrame(
                atoms=Atoms(atoms.symbols, positions=atoms.positions, cell=atoms.cell, pbc=True),
                energy_eV=float(atoms.get_potential_energy()),
                forces_eV_per_A=atoms.get_forces(),
                stress_eV_per_A3=atoms.get_stress(),
                group="md",
                trajectory="md",
            )
        )
    return frames


def _with(frame, **changes):
    import dataclasses

    return dataclasses.replace(frame, **changes)


def structures(frames, *, words=()):
    """Return frames as ASE keeps them, with these words alone."""
    found = []
    for frame in frames:
        atoms = frame.atoms.copy()
        atoms.calc = SinglePointCalculator(
            atoms, energy=frame.energy_eV, forces=frame.forces_eV_per_A, stress=frame.stress_eV_per_A3
        )
        atoms.info.update(words)
        found.append(atoms)
    return found


@pytest.mark.parametrize(
    ("break_it", "reason"),
    [
        (lambda a: a.calc.results.update(energy=np.nan), "nan or inf in its energy"),
        (lambda a: a.calc.results["forces"].__setitem__((3, 1), np.inf), "nan or inf in its forces"),
        (lambda a: a.calc.results["stress"].__setitem__(0, np.nan), "nan or inf in its stress"),
        (lambda a: a.calc.results["forces"].__imul__(0), "forces all zero, which no symmetry asks for"),
        (lambda a: a.set_pbc([True, True, False]), "not periodic in all directions"),
        (lambda a: a.set_cell(a.cell * 0.2), "A^3 to an atom"),
        (lambda a: a.positions.__setitem__(0, a.positions[1]), "stand within 0.1 A"),
        (lambda a: a.numbers.__setitem__(0, 0), "an atom of no element"),
    ],
)
def test_what_cannot_be_a_label_is_left_out_of_an_import_and_refused_by_a_fit(tmp_path, break_it, reason):
    frames = structures(emt_run(count=3))
    break_it(frames[1])
    write(tmp_path / "f.extxyz", frames)
    found = import_frames(tmp_path / "f.extxyz", ImportRules())
    assert len(found.frames) == 2
    assert [numbers for said, numbers in found.left_out.items() if reason in said] == [[1]]
    with pytest.raises(InputError, match="frame 1: ") as complaint:
        read_frames(tmp_path / "f.extxyz")
    assert reason in str(complaint.value)


def test_a_crystal_may_have_no_forces(tmp_path):
    """Atoms of copper stand on centres; those of wurtzite may move along c, unless it is `perfect`."""
    for symbol in ("Cu", "Au"):
        atoms = bulk(symbol)
        atoms.calc = SinglePointCalculator(atoms, energy=-1.0, forces=np.zeros((1, 3)))
        write(tmp_path / "f.extxyz", atoms)
        assert len(read_frames(tmp_path / "f.extxyz")) == 1
    wurtzite = bulk("ZnO", "wurtzite", a=3.25, c=5.2)
    wurtzite.calc = SinglePointCalculator(wurtzite, energy=-1.0, forces=np.zeros((4, 3)))
    write(tmp_path / "f.extxyz", wurtzite)
    assert not import_frames(tmp_path / "f.extxyz", ImportRules()).frames
    assert import_frames(tmp_path / "f.extxyz", ImportRules(group="perfect")).frames


def test_nan_never_becomes_a_potential():
    rows, nan = np.eye(2), np.array([1.0, np.nan])
    moments = Moments(
        gram=rows, moment=nan, energy_rows=np.zeros((0, 2)), energy_eV=np.zeros(0), energy_weight=np.zeros(0)
    )
    with pytest.raises(FitError, match="nan or inf"):
        solve(moments, penalties=(), strengths={})


# -- one run, one trajectory ------------------------------------------------------------------------------------


def test_the_frames_of_one_run_are_never_torn_apart(tmp_path):
    assert command(tmp_path, DATA / "vasprun.h2o.md.xml.gz") == 0
    frames = read_frames(tmp_path / "out.extxyz")
    assert len(frames) == 3
    assert len(set(linked_frames(frames))) == 1


def test_frames_without_words_are_of_one_run_and_two_files_are_two(tmp_path):
    for number in (1, 2):
        (tmp_path / str(number)).mkdir()
        write(tmp_path / str(number) / "md.xyz", structures(emt_run(count=4, seed=number)), format="extxyz")
    assert len(set(linked_frames(read_frames(tmp_path / "1" / "md.xyz")))) == 1
    assert command(tmp_path, tmp_path / "1" / "md.xyz", tmp_path / "2" / "md.xyz") == 0
    assert len(set(linked_frames(read_frames(tmp_path / "out.extxyz")))) == 2
    for option, runs in (("each", 8), ("all", 1)):
        assert command(tmp_path, *tmp_path.glob("?/md.xyz"), "--trajectory", option, "--group", "perfect") == 0
        frames = read_frames(tmp_path / "out.extxyz")
        assert len(set(linked_frames(frames))) == runs
        assert {frame.group for frame in frames} == {"perfect"}


def test_the_structures_of_a_file_that_wait_for_labels_are_one_run_too(tmp_path):
    from cascade_driver.training.label_queue import LabelQueue

    (tmp_path / "lj.toml").write_text('kind = "ase"\nfactory = "ase.calculators.lj:LennardJones"\n')
    write(tmp_path / "md.xyz", structures(emt_run(count=3)), format="extxyz")
    for option, runs in (([], 1), (["--trajectory", "each"], 3)):
        folder = tmp_path / f"Q{runs}"
        queue = ["--queue", str(folder), "--settings", str(tmp_path / "lj.toml")]
        assert main(["train", "propose", "file", str(tmp_path / "md.xyz"), *queue, *option]) == 0
        assert main(["train", "label", str(folder)]) == 0
        assert len({frame.trajectory for frame in LabelQueue(folder).labelled()}) == runs


def test_structures_asked_for_one_by_one_stay_independent_in_a_collection(tmp_path, capsys):
    from cascade_driver.training.label_queue import LabelQueue
    from cascade_driver.training.labelling import AseSettings

    settings = AseSettings(kind="ase", factory="ase.calculators.lj:LennardJones")
    queue = LabelQueue.create(tmp_path / "Q", settings)
    queue.add([frame.atoms for seed in range(3) for frame in emt_run(count=1, seed=seed)])
    assert queue.work(observe=lambda _: None) == 3
    assert main(["train", "collect", str(queue.folder), "--out", str(tmp_path / "f.extxyz")]) == 0
    assert "warning" not in capsys.readouterr().out
    assert len(set(linked_frames(read_frames(tmp_path / "f.extxyz")))) == 3


# -- what only looks wrong --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda f: f, None),
        (lambda f: _with(f, forces_eV_per_A=-f.forces_eV_per_A), "they are gradients, not forces"),
        (
            lambda f: _with(
                f,
                energy_eV=f.energy_eV / HARTREE_eV,
                forces_eV_per_A=f.forces_eV_per_A * BOHR_A / HARTREE_eV,
            ),
            "both are in atomic units",
        ),
        (lambda f: _with(f, energy_eV=f.energy_eV / HARTREE_eV), "the energies are in hartree"),
        (
            lambda f: _with(f, forces_eV_per_A=f.forces_eV_per_A * BOHR_A / HARTREE_eV),
            "forces are in hartree/bohr",
        ),
    ],
)
def test_energies_must_change_as_the_forces_say(change, sentence):
    frames = [change(frame) for seed in range(3) for frame in emt_run(count=12, seed=seed, rattle=0.15)]
    said = doubts(frames)
    assert said == [] if sentence is None else sentence in said[0]


def test_stresses_must_have_the_sign_of_the_strain():
    frames = [
        frame for squeeze in np.arange(0.94, 1.04, 0.01) for frame in emt_run(count=1, squeeze=squeeze, rattle=0.0)
    ]
    assert doubts(frames) == []
    turned = [_with(frame, stress_eV_per_A3=-frame.stress_eV_per_A3) for frame in frames]
    assert "positive under compression" in doubts(turned)[0]


def test_contradictions_and_mixed_settings_are_said():
    one, two = emt_run(count=2)
    twice = [one, _with(one, energy_eV=one.energy_eV + 1), two]
    assert "stand there twice" in doubts(twice)[0]
    mixed = doubts([_with(one, settings="coarse", group="perfect"), _with(two, settings="fine")])
    assert any("labels of 2 settings (`coarse`, `fine`)" in said for said in mixed)


def test_labels_that_count_from_the_crystal_of_other_settings_are_said(tmp_path, copper):
    from cascade_driver.training.fit_input import frames_of, read_fit_input

    for name in ("crystal.extxyz.gz", "frames.extxyz.gz"):
        frames = read_frames(copper / name)
        write_frames(tmp_path / name, [_with(frame, settings=f"VASP {name[0]}") for frame in frames])
    shutil.copy(data_folder("inputs") / "training" / "minimal.toml", tmp_path)
    wanted, said = read_fit_input(tmp_path / "minimal.toml"), list[str]()
    frames_of(wanted, warn=said.append)
    assert len(said) == 1
    assert "labels of `VASP f` count from the crystal of other settings" in said[0]
    write_frames(tmp_path / "frames.extxyz.gz", [_with(f, settings="VASP c") for f in frames])
    frames_of(wanted, warn=said.append)
    assert len(said) == 1


def test_blocks_of_a_flight_and_what_comes_after_its_stop_are_kept_for_tests():
    flight = [
        _with(frame, energy_eV=k, group="hot" if k == 1 else "flight") for k, frame in enumerate(emt_run(count=14))
    ]
    wanted = DataFile(file="", leave_out=("hot",), hold_blocks=HeldBlocks(frames=2, every=3), stop=12)
    assert [frame.energy_eV for frame in wanted.fitted(flight)] == [0, 2, 3, 6, 7, 8, 9]


def test_both_files_of_vasp_name_the_same_settings():
    (outcar,), (vasprun,) = imported("OUTCAR.Ge.vdw.gz").frames, imported("vasprun.Ge.vdw.xml.gz").frames
    assert outcar.settings == vasprun.settings == "VASP 226 eV GGA=PE ISMEAR=1 SIGMA=0.1"
    assert imported("cp2k_output.gz").frames[0].settings == "CP2K PBE 400 Ry"
    assert imported("OUTCAR.Ge.vdw.gz", settings="mine").frames[0].settings == "mine"


def test_an_import_says_what_it_doubts(tmp_path, capsys):
    wrong = [_with(frame, forces_eV_per_A=-frame.forces_eV_per_A) for frame in emt_run(count=12, rattle=0.15)]
    write_frames(tmp_path / "f.extxyz", wrong)
    assert command(tmp_path, tmp_path / "f.extxyz") == 0
    assert "warning: the forces are not the derivatives" in capsys.readouterr().out


def test_frames_of_another_program_are_not_fitted_without_an_import():
    with pytest.raises(InputError, match="cascade train import"):
        read_frames(DATA / "OUTCAR.ch4.unconverged.gz")


# -- the queue --------------------------------------------------------------------------------------------------


def test_calculators_that_did_not_converge_give_no_label(tmp_path, monkeypatch):
    from cascade_driver.training.label_queue import LabelQueue
    from cascade_driver.training.labelling import AseSettings

    atoms = bulk("Ar", a=5.0) * (2, 1, 1)
    atoms.rattle(0.1, seed=1)
    settings = AseSettings(kind="ase", factory="ase.calculators.lj:LennardJones")
    for number, (name, value, reason) in enumerate(
        [("converged", False, "not converged"), ("calculate", _forceless, "forces all zero")]
    ):
        with monkeypatch.context() as patched:
            patched.setattr(LennardJones, name, value, raising=False)
            queue = LabelQueue.create(tmp_path / str(number), settings)
            queue.add([atoms])
            assert queue.work(observe=lambda _: None) == 0
        (kept,) = queue.failures().values()
        assert reason in kept


def _forceless(self, atoms=None, properties=None, system_changes=None):
    """A calculator that knows energies alone and fills the rest with zeros."""
    self.results = {"energy": -1.0, "forces": np.zeros((len(atoms), 3)), "stress": np.zeros(6)}


# -- from there to a potential ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def copper(tmp_path_factory):
    """The crystal and six short runs of copper with EMT's labels, as another program would leave them."""
    folder = tmp_path_factory.mktemp("copper")
    (crystal,) = emt_run(count=1, rattle=0.0)
    write(folder / "crystal.xyz", structures([crystal]), format="extxyz")
    for seed in range(6):
        frames = emt_run(count=4, seed=seed, rattle=0.08, squeeze=0.97 + 0.01 * seed)
        write(folder / f"run-{seed}.xyz", structures(frames), format="extxyz")
    verb = ["train", "import"]
    crystal_out, frames_out = (str(folder / f"{name}.extxyz.gz") for name in ("crystal", "frames"))
    assert main([*verb, str(folder / "crystal.xyz"), "--group", "perfect", "--out", crystal_out]) == 0
    assert main([*verb, *map(str, sorted(folder.glob("run-*.xyz"))), "--out", frames_out]) == 0
    return folder


def test_the_minimal_input_of_a_fit_makes_a_potential_of_imported_labels(copper):
    """Forces of frames not seen, some 1 eV/A, within a tenth."""
    from cascade_driver.simulation.potential import load_potential
    from cascade_driver.validation.calculator import calculator

    shutil.copy(data_folder("inputs") / "training" / "minimal.toml", copper)
    assert main(["train", "fit", str(copper / "minimal.toml"), "--out", str(copper / "my-copper")]) == 0
    potential = load_potential(copper / "my-copper")
    missed, size = [], []
    for frame in emt_run(count=2, seed=77, rattle=0.08):
        atoms = frame.atoms.copy()
        atoms.calc = calculator(potential)
        missed.append(np.abs(atoms.get_forces() - frame.forces_eV_per_A).mean())
        size.append(np.abs(frame.forces_eV_per_A).mean())
    assert np.mean(missed) < 0.1 * np.mean(size)


def test_a_fit_complains_of_everything_at_once(copper, tmp_path, capsys):
    """What took a user five attempts: no origin, no crystal, too few trajectories, silver in the frames."""
    for name in ("crystal.extxyz.gz", "frames.extxyz.gz", "minimal.toml"):
        shutil.copy((copper if name.endswith("gz") else data_folder("inputs") / "training") / name, tmp_path)
    text = (tmp_path / "minimal.toml").read_text()
    write_frames(tmp_path / "frames.extxyz.gz", emt_run(count=3))
    broken = text.replace("origin =", "# origin =").replace("crystal =", "# crystal =")
    more = '[[data]]\nfile = "few.extxyz.gz"\ncrystal = "crystal.extxyz.gz"\n\n[plan]'
    write_frames(tmp_path / "few.extxyz.gz", emt_run(count=3, seed=4))

    def complaint(content):
        (tmp_path / "fit.toml").write_text(content)
        assert main(["train", "fit", str(tmp_path / "fit.toml"), "--out", str(tmp_path / "P")]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        return error

    error = complaint(broken.replace("[plan]", more, 1))
    for words in (
        "`origin` is missing",
        "no frame of the group `perfect`",
        "--group perfect",
        "fill 3 folds",
    ):
        assert words in error
    write_frames(tmp_path / "few.extxyz.gz", emt_run(count=3, seed=4, symbol="Ag"))
    error = complaint(text.replace("[plan]", more, 1).replace("crystal =", "# crystal =", 1))
    for words in (
        "frames.extxyz.gz: no frame of the group",
        "few.extxyz.gz: holds Ag; add it to",
        "3 folds",
    ):
        assert words in error
    assert main(["train", "fit", str(tmp_path / "frames.extxyz.gz"), "--out", str(tmp_path / "P")]) == 2
    assert "expected an input that names them; copy inputs/training/minimal.toml" in capsys.readouterr().err


def test_a_fit_says_how_many_folds_its_trajectories_fill():
    from cascade_driver.training.fit import unfilled_folds

    frames = [frame for seed in range(4) for frame in emt_run(count=2, seed=seed)]
    frames = [_with(frame, trajectory=f"run {n // 2}") for n, frame in enumerate(frames)]
    (complaint,) = unfilled_folds(frames, folds=5)
    fewer = int(complaint.partition("`folds = ")[2][0])
    assert unfilled_folds(frames, folds=fewer) == []
    assert "label more trajectories" in unfilled_folds(frames[:2], folds=5)[0]
