"""Proposals, labels and the queue between them, with a calculator of ASE and the real engine."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.lj import LennardJones
from ase.geometry import find_mic

from cascade_driver.campaign.claims import Claims
from cascade_driver.cli import main
from cascade_driver.errors import InputError
from cascade_driver.simulation.lammps_engine import LammpsEngine
from cascade_driver.simulation.potential import load_potential
from cascade_driver.training.extended_xyz import FrameKeys, read_frames
from cascade_driver.training.frames import as_atoms, structure_id, without_copies, write_frames, write_structures
from cascade_driver.training.label_queue import LabelQueue
from cascade_driver.training.labelling import (
    AseSettings,
    Cp2kKind,
    Cp2kSettings,
    LabelError,
    cp2k_input,
    label,
    read_label_settings,
    settings_words,
)
from cascade_driver.training.propose import (
    FrenkelSearch,
    SmallCascades,
    cascade_structures,
    close_pairs,
    frenkel_pairs,
    frenkel_places,
    molecular_dynamics,
    strained,
)
from cascade_driver.validation.calculator import calculator

LJ = AseSettings(
    kind="ase", factory="ase.calculators.lj:LennardJones", arguments={"sigma": 2.2, "epsilon": 1.0, "rc": 5.0}
)
KINDS = {"Si": Cp2kKind(basis="DZVP-MOLOPT-SR-GTH", pseudopotential="GTH-PBE-q4")}


def silicon(count=3):
    return strained(bulk("Si", cubic=True), strain=0.02, count=count, rattle_A=0.05)


def test_a_queue_lies_where_it_lay_whatever_folder_one_works_in(tmp_path, monkeypatch):
    LabelQueue.create(tmp_path / "queue", LJ)
    monkeypatch.chdir(tmp_path)
    queue = LabelQueue(Path("queue"))
    monkeypatch.chdir("queue")
    assert queue.folder.is_dir()


@pytest.fixture
def queue(tmp_path):
    return LabelQueue.create(tmp_path / "queue", LJ)


# -- frames -------------------------------------------------------------------------------------------------


def test_a_label_is_what_the_calculator_says(tmp_path):
    (atoms,) = silicon(1)
    frame = label(atoms, LJ, folder=tmp_path / "work")
    atoms.calc = LennardJones(sigma=2.2, epsilon=1.0, rc=5.0)
    assert frame.energy_eV == pytest.approx(atoms.get_potential_energy(), abs=1e-10)
    np.testing.assert_allclose(frame.forces_eV_per_A, atoms.get_forces(), atol=1e-10)
    np.testing.assert_allclose(frame.stress_eV_per_A3, atoms.get_stress(), atol=1e-10)
    assert "LennardJones" in frame.settings


def test_frames_survive_a_file_and_other_tools_read_it(tmp_path):
    import ase.io

    frames = [label(atoms, LJ, folder=tmp_path / "work") for atoms in silicon(2)]
    write_frames(tmp_path / "f.extxyz.gz", frames)
    back = read_frames(tmp_path / "f.extxyz.gz")
    for one, two in zip(frames, back, strict=True):
        assert one.structure_id == two.structure_id
        assert two.energy_eV == pytest.approx(one.energy_eV, abs=1e-6)
        np.testing.assert_allclose(two.forces_eV_per_A, one.forces_eV_per_A, atol=2e-8)
        np.testing.assert_allclose(two.stress_eV_per_A3, one.stress_eV_per_A3, atol=2e-8)
        assert (two.group, two.trajectory, two.origin, two.settings) == (
            one.group,
            one.trajectory,
            one.origin,
            one.settings,
        )
    assert ase.io.read(tmp_path / "f.extxyz.gz").get_potential_energy() == pytest.approx(frames[-1].energy_eV)
    before = (tmp_path / "f.extxyz.gz").read_bytes()
    write_frames(tmp_path / "f.extxyz.gz", frames)
    assert (tmp_path / "f.extxyz.gz").read_bytes() == before


def test_keys_of_other_programs_are_mapped(tmp_path):
    atoms = bulk("Si")
    atoms.info.update(REF_E=-1.5, REF_S=np.eye(3).ravel() * 0.1, config_type="crystal_7")
    atoms.arrays["REF_F"] = np.ones((2, 3))
    write_structures(tmp_path / "f.extxyz", [atoms])
    keys = FrameKeys(energy="REF_E", forces="REF_F", stress="REF_S", group="config_type")
    (frame,) = read_frames(tmp_path / "f.extxyz", keys=keys)
    assert frame.energy_eV == -1.5
    assert (frame.group, frame.trajectory) == ("crystal", "crystal")
    np.testing.assert_allclose(frame.stress_eV_per_A3, [0.1, 0.1, 0.1, 0, 0, 0])
    with pytest.raises(InputError, match=r"frame 0: no energy .* no forces .*REF_E.*--key energy="):
        read_frames(tmp_path / "f.extxyz")


def test_labels_in_another_format_are_imported(tmp_path, capsys):
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.io import write

    atoms = bulk("Si")
    forces = np.array([[-0.1, -0.2, 0.3], [0.1, 0.2, -0.3]])
    atoms.calc = SinglePointCalculator(atoms, energy=-10.8, forces=forces)
    write(tmp_path / "run.traj", [atoms, atoms])
    command = ["train", "import", str(tmp_path / "run.traj"), "--out", str(tmp_path / "f.extxyz.gz")]
    assert main([*command, "--settings", "VASP PBE"]) == 0
    assert "1 frames of 1 trajectories, 1 exact copies left out" in capsys.readouterr().out
    (frame,) = read_frames(tmp_path / "f.extxyz.gz")
    assert (frame.energy_eV, frame.settings) == (-10.8, "VASP PBE")
    np.testing.assert_allclose(frame.forces_eV_per_A, forces)
    assert main([*command, "--key", "enrgy=E"]) == 2
    assert "did you mean `energy`" in capsys.readouterr().err


def test_copies_are_found_and_neighbours_are_not():
    (atoms,) = silicon(1)
    moved = atoms.copy()
    moved.positions[0, 0] += 1e-3
    other_mesh = atoms.copy()
    other_mesh.info["k_mesh"] = [2, 2, 2]
    assert structure_id(atoms.copy()) == structure_id(atoms)
    assert len({structure_id(a) for a in (atoms, moved, other_mesh)}) == 3


# -- the queue ----------------------------------------------------------------------------------------------


def test_every_structure_is_labelled_once(queue):
    assert queue.add(silicon()) == 3
    assert queue.add(silicon()) == 0
    assert queue.work(observe=lambda _: None) == 3
    stamps = {path: path.stat().st_mtime_ns for path in (queue.folder / "labels").iterdir()}
    assert queue.work(observe=lambda _: None) == 0
    assert stamps == {path: path.stat().st_mtime_ns for path in (queue.folder / "labels").iterdir()}
    assert queue.status().waiting == 0
    assert [f.structure_id for f in queue.labelled()] == [structure_id(a) for a in silicon()]
    assert len(without_copies(queue.labelled() * 2)) == 3


def test_urgent_structures_come_first(queue):
    usual, urgent = silicon(1), strained(bulk("Si"), strain=0.03, count=1)
    queue.add(usual)
    queue.add(urgent, priority=1)
    assert list(queue.waiting()) == [structure_id(a) for a in urgent + usual]


def test_a_failure_is_kept_and_does_not_stop_the_others(tmp_path, capsys):
    settings = AseSettings(kind="ase", factory="ase.calculators.emt:EMT")
    queue = LabelQueue.create(tmp_path / "queue", settings)
    queue.add([bulk("W")])  # which EMT has no parameters for
    queue.add([bulk("Cu")])
    said = []
    assert queue.work(observe=said.append) == 1
    assert queue.status().failed == 1
    (reason,) = queue.failures().values()
    assert "EMT" in reason
    assert main(["train", "status", str(queue.folder)]) == 0
    assert "1 of 2 labelled, 1 failed, 0 wait" in (shown := capsys.readouterr().out)
    assert "EMT" in shown
    assert main(["train", "status", str(queue.folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["failed"] == 1
    assert any("failed" in line for line in said)


def test_what_a_living_worker_is_at_is_left_alone(queue):
    queue.add(silicon(2))
    name = next(queue.waiting())
    claim = Claims(queue.folder / "claims").take(name)
    assert queue.work(observe=lambda _: None) == 1
    claim.release()
    assert queue.work(observe=lambda _: None) == 1


def test_a_killed_worker_costs_nothing_but_its_structure(tmp_path):
    slow = tmp_path / "slow_calculator.py"
    slow.write_text(
        "import time\nfrom ase.calculators.lj import LennardJones\n"
        "class Slow(LennardJones):\n"
        "    def calculate(self, *a, **k):\n        time.sleep(0.3)\n        super().calculate(*a, **k)\n"
    )
    settings = AseSettings(kind="ase", factory="slow_calculator:Slow")
    queue = LabelQueue.create(tmp_path / "queue", settings)
    queue.add(silicon(5))
    command = [sys.executable, "-c", "import sys; from cascade_driver.cli import main; sys.exit(main())"]
    command += ["train", "label", str(queue.folder), "--allow-calculator", settings.factory]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    worker = subprocess.Popen(command, env=environment)
    end = time.monotonic() + 30
    while queue.status().labelled == 0 and time.monotonic() < end:
        time.sleep(0.05)
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    kept = queue.status().labelled
    assert 0 < kept < 5
    subprocess.run(command, env=environment, check=True)
    assert queue.status().labelled == 5


def test_a_file_that_is_just_being_written_is_no_label(queue):
    before = queue.status()
    (queue.folder / "labels" / ".draft-4fe82eec-18603-0.json").write_text("")
    assert queue.status() == before


def test_labels_of_two_kinds_are_not_mixed(queue):
    other = AseSettings(kind="ase", factory="ase.calculators.emt:EMT")
    with pytest.raises(InputError, match="other settings"):
        LabelQueue.create(queue.folder, other)


def folder_of_somebody(folder, *, factory, arguments):
    """Return a queue as anybody can write it, with one structure in it."""
    queue = LabelQueue.create(folder, LJ)
    queue.add(silicon(1))
    content = {"kind": "ase", "factory": factory, "arguments": arguments}
    (folder / "settings.json").write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize(
    ("factory", "arguments", "complaint"),
    [
        ("os:system", {"command": "touch {out}"}, "the calculator os:system, which could be any program"),
        ("subprocess:run", {"args": ["touch", "{out}"]}, "--allow-calculator subprocess:run"),
        ("ase.calculators.lj:os.system", {}, "could be any program"),
        ("ase.calculators.lj:LennardJones", {"restart": "{out}"}, "the argument restart"),
        ("ase.calculators.lj:LennardJones", {"sigma": [1.0]}, "the argument sigma"),
    ],
)
def test_a_queue_from_anybody_runs_no_program(tmp_path, capsys, factory, arguments, complaint):
    out = tmp_path / "written"
    told = json.loads(json.dumps(arguments).replace("{out}", str(out)))
    queue = folder_of_somebody(tmp_path / "queue", factory=factory, arguments=told)
    assert main(["train", "label", str(queue)]) == 2
    said = capsys.readouterr().err
    assert complaint in said
    assert said.count("\n") == 1
    assert not out.exists()
    assert main(["train", "status", str(queue)]) == 0
    assert "1 wait" in capsys.readouterr().out


def test_negative_control_what_is_allowed_by_name_is_run(tmp_path):
    out = tmp_path / "written"
    queue = folder_of_somebody(tmp_path / "queue", factory="os:system", arguments={"command": f"touch {out}"})
    main(["train", "label", str(queue), "--allow-calculator", "os:mkdir"])
    assert not out.exists()
    main(["train", "label", str(queue), "--allow-calculator", "os:system"])
    assert out.exists()


def test_a_potential_that_ships_can_make_labels(tmp_path):
    settings = AseSettings(
        kind="ase", factory="cascade_driver.validation.calculator:shipped", arguments={"name": "si-tersoff-zbl"}
    )
    queue = LabelQueue.create(tmp_path / "queue", settings)
    (atoms,) = silicon(1)
    queue.add([atoms])
    assert queue.work(observe=lambda _: None) == 1
    (frame,) = queue.labelled()
    atoms.calc = calculator(load_potential("si-tersoff-zbl"))
    assert frame.energy_eV == pytest.approx(atoms.get_potential_energy(), abs=1e-6)


@pytest.mark.parametrize(
    "line",
    [
        'functional = "PBE\\n@INCLUDE /etc/passwd"',
        'basis_file = "/etc/passwd"',
        'potential_file = "$HOME"',
        '[kinds.O]\nbasis = "x\\n&END"\npseudopotential = "y"',
    ],
)
def test_words_for_cp2k_are_words(tmp_path, line):
    path = tmp_path / "label.toml"
    path.write_text(line + "\n" + ("" if "kinds" in line else '[kinds.O]\nbasis = "x"\npseudopotential = "y"\n'))
    with pytest.raises(InputError, match="string should match pattern"):
        read_label_settings(path)


def test_labels_that_are_not_finite_are_failures(tmp_path):
    atoms = Atoms("Si2", positions=[[0, 0, 0], [0, 0, 0]], cell=[5, 5, 5], pbc=True)
    with np.errstate(all="ignore"), pytest.raises(LabelError):
        label(atoms, LJ, folder=tmp_path / "work")


# -- CP2K ---------------------------------------------------------------------------------------------------


def test_k_points_are_written_out_one_by_one():
    atoms = bulk("Si")
    atoms.info["k_mesh"] = [2, 2, 1]
    text = cp2k_input(atoms, Cp2kSettings(kinds=KINDS), restart=None)
    assert text.count("KPOINT ") == 4
    assert "SCHEME GENERAL" in text
    assert "KPOINTS" not in cp2k_input(bulk("Si"), Cp2kSettings(kinds=KINDS), restart=None)


def test_settings_are_named_by_their_content():
    one, two = Cp2kSettings(kinds=KINDS), Cp2kSettings(kinds=KINDS, cutoff_Ry=401)
    assert settings_words(one) != settings_words(two)
    assert settings_words(one) == settings_words(Cp2kSettings(kinds=KINDS, cutoff_Ry=400.0))


def test_a_missing_program_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ASE_CP2K_COMMAND", "no-such-cp2k -s")
    queue = LabelQueue.create(tmp_path / "queue", Cp2kSettings(kinds=KINDS))
    queue.add([bulk("Si")])
    assert main(["train", "label", str(queue.folder)]) == 2
    error = capsys.readouterr().err
    assert "no-such-cp2k: no such program; install CP2K" in error
    assert error.count("\n") == 1
    assert queue.status().waiting == 1


# -- proposals ----------------------------------------------------------------------------------------------


def test_close_pairs_stand_at_the_distance_asked_for():
    box = bulk("Si", cubic=True) * (2, 2, 2)
    for atoms, distance in zip(close_pairs(box, distances_A={("Si", "Si"): (1.0, 1.7)}), (1.0, 1.7), strict=True):
        distances = atoms.get_all_distances(mic=True)
        assert distances[np.triu_indices(64, 1)].min() == pytest.approx(distance, abs=1e-9)


def test_a_pair_that_the_box_does_not_hold_is_refused():
    with pytest.raises(InputError, match="no pair Si-O"):
        close_pairs(bulk("Si"), distances_A={("Si", "O"): (1.0,)})


def test_dynamics_stay_at_their_temperature():
    potential = load_potential("si-tersoff-zbl")
    box = bulk("Si", cubic=True) * (2, 2, 2)
    frames = list(
        molecular_dynamics(box, lambda: calculator(potential), temperature_K=300, frames=4, spacing_ps=0.1)
    )
    assert len(frames) == 4
    # Debye-Waller: 0.08 A in each direction at room temperature (B about 0.46 A^2 = 8 pi^2 u^2).
    rms = np.sqrt(
        np.mean([(f.positions - f.positions.mean(0) - box.positions + box.positions.mean(0)) ** 2 for f in frames])
    )
    assert 0.03 < rms < 0.15


def test_symmetry_leaves_the_places_of_silicon_that_differ():
    """Of the tetrahedral interstitial sites nearest to an atom, all four are one."""
    box = bulk("Si", cubic=True) * (2, 2, 2)
    reach = FrenkelSearch(species="Si", grid_A=5.431 / 4, clearance_A=2.3, reach_A=2.4)
    moved, places = frenkel_places(box, reach)
    assert moved == 0
    assert len(places) == 1
    assert np.linalg.norm(places[0] - box.positions[0]) == pytest.approx(5.431 * np.sqrt(3) / 4, abs=0.02)


def test_frenkel_pairs_of_silicon_are_minima_of_several_eV():
    potential = load_potential("si-tersoff-zbl")
    box = bulk("Si", cubic=True) * (2, 2, 2)
    search = FrenkelSearch(species="Si", grid_A=1.4, clearance_A=1.8, reach_A=5.0)
    pairs = list(frenkel_pairs(box, search, lambda: calculator(potential), observe=lambda _: None))
    assert pairs
    for pair in pairs:
        assert 1 < pair.energy_eV < 15
        assert len({f.info["trajectory"] for f in pair.frames}) == 1
    assert np.diff(sorted(p.energy_eV for p in pairs)).min(initial=1) >= 0.02


def test_cascades_end_in_frames_of_one_trajectory():
    potential = load_potential("si-tersoff-zbl")
    box = bulk("Si", cubic=True) * (2, 2, 2)
    wanted = SmallCascades(species=("Si",), energies_eV=(30.0,), count=2, frames=2, duration_ps=0.2)
    flights = list(cascade_structures(box, wanted, lambda seen: LammpsEngine(potential=potential, onlooker=seen)))
    for frames in flights:
        assert [f.info["group"] for f in frames] == ["cascade", "cascade", "cascade_end"]
        assert len({f.info["trajectory"] for f in frames}) == 1
        # 30 eV carry the atom away from its site; warmth alone does not.
        assert find_mic(frames[0].positions - box.positions, box.cell)[1].max() > 1.0
    assert not np.allclose(flights[0][0].positions, flights[1][0].positions)


# -- the command --------------------------------------------------------------------------------------------


def test_propose_label_and_collect(tmp_path, capsys):
    settings = tmp_path / "lj.toml"
    settings.write_text(
        'kind = "ase"\nfactory = "ase.calculators.lj:LennardJones"\narguments = { sigma = 2.2, rc = 5.0 }\n'
    )
    queue, out = str(tmp_path / "q"), str(tmp_path / "frames.extxyz.gz")
    propose = ["train", "propose", "strain", "--crystal", "Si", "--count", "3", "--queue", queue]
    assert main(propose) == 2
    assert "--settings" in capsys.readouterr().err
    assert main([*propose, "--settings", str(settings)]) == 0
    assert main(["train", "label", queue, "--most", "2"]) == 0
    assert main(["train", "collect", queue, "--out", out]) == 0
    assert len(read_frames(tmp_path / "frames.extxyz.gz")) == 2
    assert main(["train", "label", queue]) == 0
    assert main(["train", "collect", queue, "--out", out]) == 0
    assert "3 frames, 1 of them new" in capsys.readouterr().out
    assert all(as_atoms(f).get_potential_energy() < 0 for f in read_frames(tmp_path / "frames.extxyz.gz"))


def test_strained_crystals_relax_within_their_cell(tmp_path):
    """Two atoms of silicon under shear leave their places (Kleinman's internal strain)."""
    potential = load_potential("si-tersoff-zbl")
    rigid = strained(bulk("Si"), strain=0.03, count=3, seed=5)
    relaxed = strained(bulk("Si"), strain=0.03, count=3, seed=5, relax=lambda: calculator(potential))
    for before, after in zip(rigid, relaxed, strict=True):
        before.calc, after.calc = calculator(potential), calculator(potential)
        np.testing.assert_array_equal(before.cell, after.cell)
        assert abs(before.get_forces()).max() > 0.1
        assert abs(after.get_forces()).max() < 0.011
        assert after.get_potential_energy() < before.get_potential_energy()
        assert (before.info["group"], after.info["group"]) == ("strain", "strain_relaxed")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('kind = "vasp"\n', "`kind` is 'vasp', expected one of"),
        ('kind = "ase"\nfactory = "emt"\n', "`factory`: expected `module:function`"),
        ("cutoff_Ry = 400\n", "`kinds` is missing"),
        ('cutof_Ry = 400\n[kinds]\nO = { basis = "x", pseudopotential = "y" }\n', "did you mean `cutoff_Ry`"),
    ],
)
def test_bad_settings_are_one_line(tmp_path, capsys, text, complaint):
    (tmp_path / "label.toml").write_text(text)
    command = ["train", "propose", "strain", "--crystal", "Si", "--queue", str(tmp_path / "q")]
    assert main([*command, "--settings", str(tmp_path / "label.toml")]) == 2
    error = capsys.readouterr().err
    assert complaint in error
    assert error.count("\n") == 1
    assert not (tmp_path / "q").exists()
