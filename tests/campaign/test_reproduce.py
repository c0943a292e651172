"""One cascade again, alone, and its film: the same numbers to the last digit, with and without."""

import dataclasses
import errno
import gzip
import itertools
import json
import os
import shlex
import shutil
import subprocess
import sys

import ase.io
import numpy as np
import pytest

from cascade_driver.campaign import reproduce as reproducing
from cascade_driver.campaign.executors import Processes, Serial, Work
from cascade_driver.campaign.export import export_trajectories
from cascade_driver.campaign.plan import Campaign, RecoilGroup
from cascade_driver.campaign.reproduce import reproduce
from cascade_driver.campaign.rundir import RunDirectory
from cascade_driver.campaign.verify import set_damaged_aside, verify
from cascade_driver.cli import main
from cascade_driver.errors import CascadeError, InputError, RecordError
from cascade_driver.schema import canonical_json, file_sha256, plain
from cascade_driver.simulation.potential import distribution_folder, load_potential
from cascade_driver.simulation.record import write_record
from cascade_driver.simulation.start import read_box, read_snapshot
from cascade_driver.simulation.trajectory import TrajectorySpec, TrajectoryWriter

FILM = TrajectorySpec(every_fs=10)

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")


def silent(_):
    pass


def work_on(run: RunDirectory, **settings) -> Work:
    campaign = run.load()
    settings = {"workers": 1, **settings}
    return Work(run=run, campaign=campaign, potential=run.potential(campaign).folder, **settings)


@pytest.fixture(scope="module")
def plan(silicon) -> Campaign:
    """Two recoils in 216 atoms of silicon, one below and one above the threshold."""
    group = RecoilGroup(
        species="Si",
        recoil_energies_eV=(10.0, 80.0),
        snapshots=1,
        sampling="by hand",
        vectors=((0.48, 0.64, 0.6),),
        weights=(1.0,),
    )
    return Campaign(title="trial", potential_status="qualitative", protocol=silicon.protocol, groups=(group,))


@pytest.fixture(scope="module")
def new_run(silicon, plan):
    """Returns a function that makes a run of that plan, its starting states made already."""

    def make(folder) -> RunDirectory:
        run = RunDirectory(folder)
        run.prepare()
        run.keep(silicon.potential)
        run.save(plan)
        shutil.copytree(silicon.starts, run.starts(plan), dirs_exist_ok=True)
        return run

    return make


@pytest.fixture(scope="module")
def plain_run(new_run, tmp_path_factory) -> RunDirectory:
    run = new_run(tmp_path_factory.mktemp("plain") / "run")
    Processes().work(work_on(run), silent)
    return run


@pytest.fixture(scope="module")
def filmed_run(new_run, tmp_path_factory) -> RunDirectory:
    run = new_run(tmp_path_factory.mktemp("filmed") / "run")
    Processes().work(work_on(run, trajectory=FILM), silent)
    return run


def strongest(run: RunDirectory) -> str:
    return max(run.finished(), key=lambda name: run.record(name).stored_energy_eV)


# -- one cascade again ----------------------------------------------------------------------------------------


def test_the_command_that_show_names_reproduces_the_cascade_to_the_last_digit(plain_run, tmp_path, capsys):
    name = strongest(plain_run)
    assert main(["show", str(plain_run.path), name[:8]]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("alone: ")]
    words = shlex.split(line.removeprefix("alone: "))
    assert words == ["cascade", "reproduce", str(plain_run.path), name, "--out", "reproduced"]
    command = [
        sys.executable,
        "-c",
        "import sys; from cascade_driver.cli import main; sys.exit(main())",
        *words[1:],
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "the same to the last digit: 2" in done.stdout
    stored = plain_run.record(name).stored_energy_eV
    assert stored > 1
    assert f"stored energy {stored!r} eV" in done.stdout
    again = json.loads((tmp_path / "reproduced" / name / "record.json").read_text())
    assert canonical_json(again["physics"]) == canonical_json(plain(plain_run.record(name).physics))
    structure = (tmp_path / "reproduced" / name / "final.extxyz.gz").read_bytes()
    assert structure == (plain_run.cascades / name / "final.extxyz.gz").read_bytes()


def test_the_script_it_leaves_gives_a_bare_lammps_the_same_energy(plain_run, tmp_path):
    name = strongest(plain_run)
    reproduce(plain_run, name, out=tmp_path)
    code = (
        "import sys; from cascade_driver.simulation.lammps_build import import_lammps; lammps = import_lammps();"
        "bare = lammps.lammps(cmdargs=['-screen', 'none', '-log', 'none']); bare.file(sys.argv[1]);"
        "print(repr(float(bare.get_thermo('pe'))))"
    )
    environment = os.environ | {"LAMMPS_POTENTIALS": str(distribution_folder())}
    command = [sys.executable, "-c", code, str(tmp_path / name / "cascade.lmp")]
    said = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    assert float(said) == plain_run.record(name).physics.quenched_energy_eV


def test_negative_control_what_is_not_the_same_is_named(plain_run, new_run, tmp_path, capsys):
    run = new_run(tmp_path / "run")
    name = strongest(plain_run)
    record = plain_run.record(name)
    shutil.copytree(plain_run.cascades / name, run.cascades / name)
    other = dataclasses.replace(record.physics, stored_energy_eV=float(np.nextafter(record.stored_energy_eV, 0.0)))
    write_record(dataclasses.replace(record, physics=other), run.cascades / name)
    assert main(["reproduce", str(run.path), name, "--out", str(tmp_path / "again")]) == 1
    said = capsys.readouterr().out
    assert "not the same" in said
    assert repr(record.stored_energy_eV)[:12] in said


def test_a_cascade_of_an_earlier_plan_is_reproduced_too(plain_run, plan, new_run, tmp_path):
    run = new_run(tmp_path / "run")
    name = strongest(plain_run)
    shutil.copytree(plain_run.cascades / name, run.cascades / name)
    run.save(dataclasses.replace(plan, protocol=dataclasses.replace(plan.protocol, campaign_seed=2)))
    assert reproduce(run, name, out=tmp_path).differences == {}


def test_what_cannot_be_reproduced_is_one_line(plain_run, new_run, tmp_path, capsys):
    name = strongest(plain_run)
    (tmp_path / "taken" / name).mkdir(parents=True)
    run = new_run(tmp_path / "run")
    shutil.copytree(plain_run.cascades / name, run.cascades / name)
    next(run.starts(run.load()).glob("000.npz")).unlink()
    for arguments, words in (
        ([str(plain_run.path), name, "--out", str(tmp_path / "taken")], "is there already; choose another place"),
        (
            [str(plain_run.path), "zz", "--out", str(tmp_path)],
            "no finished cascade with an id that begins with `zz`",
        ),
        ([str(run.path), name, "--out", str(tmp_path / "new")], "000.npz: missing"),
        ([str(run.path), name, "--out", "x", "--trajectory-every-fs", "-1"], "--trajectory-every-fs"),
    ):
        assert main(["reproduce", *arguments]) == 2
        said = capsys.readouterr().err
        assert words in said
        assert said.count("\n") == 1
    assert not (tmp_path / "new" / name).exists()


def test_a_full_disk_leaves_nothing_and_the_same_command_goes_on(plain_run, tmp_path, monkeypatch):
    name = strongest(plain_run)
    write = reproducing._write

    def full(result, folder, *, commands):
        (folder / "final.extxyz.gz").write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(reproducing, "_write", full)
    with pytest.raises(CascadeError, match=r"No space left on device.*make room and run again"):
        reproducing.reproduce(plain_run, name, out=tmp_path)
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(reproducing, "_write", write)
    assert not reproducing.reproduce(plain_run, name, out=tmp_path).differences


def test_the_folder_of_a_reproduction_is_there_when_it_is_whole(plain_run, tmp_path, monkeypatch):
    name = strongest(plain_run)

    def filled(_work, folder, _run, _cascade, _film):
        (folder / "final.extxyz.gz").write_bytes(b"half")
        assert folder.name == name
        assert not (tmp_path / name).exists()
        raise CascadeError(f"{folder}: cannot be written (No space left on device); make room and run again")

    monkeypatch.setattr(reproducing, "apart", filled)
    with pytest.raises(CascadeError) as told:
        reproducing.reproduce_apart(plain_run, name, out=tmp_path)
    assert str(told.value).startswith(f"{tmp_path / name}: cannot be written")
    assert not list(tmp_path.iterdir())


# -- films ----------------------------------------------------------------------------------------------------


def test_a_film_changes_no_digit_and_no_id(plain_run, filmed_run):
    assert plain_run.finished() == filmed_run.finished()
    for name in plain_run.finished():
        one, other = plain_run.record(name), filmed_run.record(name)
        assert one.physics == other.physics
        assert one.spec == other.spec
        structures = [(r.cascades / name / "final.extxyz.gz").read_bytes() for r in (plain_run, filmed_run)]
        assert structures[0] == structures[1]
        assert not (plain_run.cascades / name / "trajectory.extxyz.gz").exists()
        assert (filmed_run.cascades / name / "trajectory.extxyz.gz").exists()


def frames_of(run: RunDirectory, name: str) -> list:
    return ase.io.read(run.cascades / name / "trajectory.extxyz.gz", ":")


def test_a_film_begins_with_the_knock_on_and_shows_what_moves(filmed_run):
    name = strongest(filmed_run)
    record, frames = filmed_run.record(name), frames_of(filmed_run, name)
    pka = record.physics.pka.index
    assert frames[0].arrays["id"].tolist() == [pka + 1]
    times = [f.info["time_ps"] for f in frames]
    assert times[0] == 0
    # Steps are at most 2 fs, so that a frame comes at most so late.
    assert np.abs(np.array(times) - 0.01 * np.arange(len(times))).max() < 0.002
    assert times[-1] == pytest.approx(record.physics.followed_ps, abs=0.011)
    ids = [set(f.arrays["id"].tolist()) for f in frames]
    assert all(a <= b for a, b in itertools.pairwise(ids))
    assert 1 < len(ids[-1]) < 216
    # Whatever ended up displaced is in it, near where it was quenched to.
    final = ase.io.read(filmed_run.cascades / name / "final.extxyz.gz")
    far = np.flatnonzero(np.linalg.norm(final.arrays["displacement"], axis=1) > 1.0) + 1
    assert len(far) > 0
    assert set(far.tolist()) <= ids[-1]
    where = dict(zip(frames[-1].arrays["id"].tolist(), frames[-1].positions, strict=True))
    apart = np.array([where[i] - final.positions[i - 1] for i in far.tolist()])
    # One box has all atoms within its faces, the other where they were before.
    apart -= final.cell.lengths() * np.round(apart / final.cell.lengths())
    assert np.linalg.norm(apart, axis=1).max() < 1.5


def test_a_film_of_all_atoms_starts_in_the_snapshot(plain_run, silicon, tmp_path):
    name = strongest(plain_run)
    spec = TrajectorySpec(every_fs=100, atoms="all")
    assert reproduce(plain_run, name, out=tmp_path, trajectory=spec).differences == {}
    frames = ase.io.read(tmp_path / name / "trajectory.extxyz.gz", ":")
    assert [len(f) for f in frames] == [216] * 4
    box = read_box(silicon.starts)
    assert frames[0].get_chemical_symbols() == list(box.symbols)
    assert frames[0].pbc.all()
    rest = read_snapshot(silicon.starts, 0).reference_positions_A
    apart = frames[0].positions - rest
    apart -= box.lengths_A * np.round(apart / box.lengths_A)
    # Thermal: about 0.1 angstrom along each axis.
    assert np.linalg.norm(apart, axis=1).max() < 0.5


def test_the_same_cascade_gives_the_same_film(filmed_run, tmp_path):
    name = strongest(filmed_run)
    reproduce(filmed_run, name, out=tmp_path, trajectory=FILM)
    one, other = (p / "trajectory.extxyz.gz" for p in (filmed_run.cascades / name, tmp_path / name))
    assert one.read_bytes() == other.read_bytes()


def test_a_film_follows_atoms_through_faces_without_the_drift_of_the_box(tmp_path):
    length, n = np.array([10.0, 10.0, 10.0]), 9
    start = np.random.default_rng(1).uniform(0, 10, (n, 3))
    film = TrajectorySpec(every_fs=1)
    with TrajectoryWriter(
        tmp_path / "x.gz", film, symbols=["Si"] * n, lengths_A=length, periodic=[True, True, True]
    ) as writer:
        for step in range(30):
            now = start + 0.1 * step * np.array([1.0, 0.0, 0.0])  # all drift
            now[3] += 0.4 * step * np.array([0.0, 0.0, 1.0])  # one moves
            shuffled = np.roll(np.arange(n), step)
            writer.see(time_ps=step * 1e-3, pka=5, ids=shuffled + 1, positions_A=(now % length)[shuffled])
    with gzip.open(tmp_path / "x.gz", "rt") as stream:
        frames = ase.io.read(stream, ":", format="extxyz")
    assert len(frames) == writer.frames == 30
    assert frames[-1].arrays["id"].tolist() == [4, 6]
    assert frames[-1].positions == pytest.approx(start[[3, 5]] + [[0, 0, 0.4 * 29], [0, 0, 0]], abs=1e-3)


def test_films_are_verified_repaired_exported_and_counted(new_run, tmp_path):
    run = new_run(tmp_path / "run")
    Serial().work(work_on(run, trajectory=FILM), silent)
    name, other = sorted(run.finished())
    rows, _ = run.index.read()
    assert rows[name].kept_bytes == sum(f.stat().st_size for f in (run.cascades / name).iterdir())
    assert export_trajectories(run, tmp_path / "films") == export_trajectories(run, tmp_path / "films") == 2
    exported = tmp_path / "films" / f"{name}.extxyz.gz"
    file = run.cascades / name / "trajectory.extxyz.gz"
    before = file.read_bytes()
    assert exported.read_bytes() == before
    assert len(ase.io.read(exported, ":")) > 1
    # Who needs the room may remove one; a damaged one is named, and made again with its cascade.
    (run.cascades / other / "trajectory.extxyz.gz").unlink()
    assert verify(run).is_sound
    file.write_bytes(before[:200] + bytes([before[200] ^ 4]) + before[201:])
    assert list(verify(run).damaged_cascades) == [name]
    assert len(set_damaged_aside(run, run.load())) == 1
    assert Serial().work(work_on(run, trajectory=FILM), silent).done_here == 1
    assert file.read_bytes() == before


@needs_root
@pytest.mark.parametrize("executor", [Serial(), Processes()], ids=["serial", "processes"])
def test_a_disk_that_a_film_fills_stops_with_one_line_and_loses_nothing(plain_run, new_run, tmp_path, executor):
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], check=True)
    try:
        run = new_run(place / "run")
        # 100 kB are left; a film takes 160.
        free = shutil.disk_usage(place).free
        (place / "filler").write_bytes(bytes(free - 100_000))
        film = TrajectorySpec(every_fs=4, atoms="all")
        with pytest.raises(CascadeError, match=r"No space left on device.*what is finished is safe") as caught:
            executor.work(work_on(run, trajectory=film), silent)
        assert "\n" not in str(caught.value)
        assert not list(run.cascades.glob(".*"))
        (place / "filler").unlink()
        assert executor.work(work_on(run, trajectory=film), silent).done == 2
        for name in plain_run.finished():
            assert canonical_json(plain(run.record(name).physics)) == canonical_json(
                plain(plain_run.record(name).physics)
            )
            packed = (run.cascades / name / "trajectory.extxyz.gz").read_bytes()
            assert len(packed) > 100_000
            assert gzip.decompress(packed).count(b"time_ps=") == pytest.approx(75, abs=3)
        assert verify(run).is_sound
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def test_a_film_that_cannot_be_written_stops_the_engine_at_once(plain_run, tmp_path, monkeypatch):
    seen = []

    def see(_self, *, time_ps, **_):
        seen.append(time_ps)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(TrajectoryWriter, "see", see)
    with pytest.raises(CascadeError, match="No space left on device"):
        reproduce(plain_run, strongest(plain_run), out=tmp_path, trajectory=FILM)
    assert len(seen) == 1


def test_a_bad_film_is_refused_in_the_input(tmp_path, capsys):
    path = tmp_path / "x.toml"
    text = (
        'crystal = { name = "Si", repeats = [4, 4, 4] }\npotential = { name = "si-tersoff-zbl" }\n'
        '[[recoils]]\nspecies = "Si"\nrecoil_energies_eV = [20]\n'
        'directions = { scheme = "symmetry", count = 2 }\n'
    )
    for film, words in (
        ("{ every_fs = 0 }", "work.trajectory.every_fs"),
        ('{ every_fs = 10, atoms = "some" }', "work.trajectory.atoms"),
        ("{ }", "`work.trajectory.every_fs` is missing"),
    ):
        path.write_text(text + f"[work]\ntrajectory = {film}\n")
        assert main(["run", str(path), "--out", str(tmp_path / "run")]) == 2
        said = capsys.readouterr().err
        assert words in said
        assert said.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_damage_is_not_reproduced(plain_run, new_run, tmp_path):
    run = new_run(tmp_path / "run")
    name = strongest(plain_run)
    shutil.copytree(plain_run.cascades / name, run.cascades / name)
    (run.cascades / name / "record.json").write_text("{")
    with pytest.raises(RecordError, match="damaged"):
        reproduce(run, name, out=tmp_path)
    potential = load_potential("si-tersoff-zbl")
    shutil.copytree(plain_run.cascades / name, run.cascades / name, dirs_exist_ok=True)
    shutil.rmtree(run.path / "potentials" / potential.digest)
    with pytest.raises(InputError, match=r"no potential\.toml there"):
        reproduce(run, name, out=tmp_path)


@pytest.mark.parametrize(
    "verb",
    [
        ["reproduce", "RUN", "ID", "--out", "OUT"],
        ["tls", "debris", "RUN", "--out", "OUT"],
        ["work", "RUN"],
        ["submit", "RUN", "--slurm", "--time", "1:00:00", "--dry-run"],
    ],
    ids=lambda words: words[0],
)
def test_a_potential_that_was_changed_in_a_run_is_refused(plain_run, tmp_path, capsys, verb):
    run = RunDirectory(tmp_path / "run")
    shutil.copytree(plain_run.path, run.path)
    kept = run.potential(run.load())
    before = file_sha256(kept.include_path)
    kept.include_path.write_text(kept.include_path.read_text() + "pair_modify shift no\n")
    about = kept.folder / "potential.toml"
    about.write_text(about.read_text().replace(before, file_sha256(kept.include_path)))
    words = {"RUN": str(run.path), "ID": strongest(run), "OUT": str(tmp_path / "out")}
    assert main([words.get(word, word) for word in verb]) == 2
    said = capsys.readouterr().err
    assert f"{kept.digest} was planned with" in said
    assert said.count("\n") == 1
    assert not list((tmp_path / "out").glob("*"))
