"""A cascade as it is looked at: what the structure and the film on the disk say, and nothing else."""

import csv
import gzip
import shutil
import sys

import ase.io
import numpy as np
import pytest
from PIL import Image

from cascade_driver import conclusion, plot
from cascade_driver.campaign import scene
from cascade_driver.campaign.contents import contents_of
from cascade_driver.campaign.rundir import RunDirectory
from cascade_driver.campaign.scene import frames_of, scene_of
from cascade_driver.cli import main
from cascade_driver.errors import InputError, RecordError
from cascade_driver.plot.scenes import FRAMES_PER_S
from cascade_driver.simulation.cascade import STRUCTURE_FILE
from cascade_driver.simulation.trajectory import TRAJECTORY_FILE

INPUT = """
title = "two recoils"
[crystal]
name = "Si"
repeats = [4, 4, 4]
[potential]
name = "si-tersoff-zbl"
[thermal]
temperature_K = 133
equilibration_ps = 0.1
snapshot_interval_ps = 0.1
[follow]
duration_ps = 0.2
max_displacement_A = 0.03
max_timestep_fs = 2
border = { width_A = 2, damping_ps = 0.1 }
[work]
trajectory = { every_fs = 2 }
[[recoils]]
species = "Si"
recoil_energies_eV = [10, 70]
snapshots = 1
directions = { scheme = "list", vectors = [[0.6, 0.3, 0.74]] }
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> RunDirectory:
    folder = tmp_path_factory.mktemp("scene")
    (folder / "input.toml").write_text(INPUT)
    assert main(["run", str(folder / "input.toml"), "--out", str(folder / "run"), "--workers", "1"]) == 0
    return RunDirectory(folder / "run")


@pytest.fixture(scope="module")
def name(run) -> str:
    return max(run.finished(), key=lambda n: run.record(n).spec.knock_on.recoil_energy_eV)


def test_a_structure_that_is_sent_alone_says_whose_it_is(run, name):
    record = run.record(name)
    with gzip.open(run.cascades / name / STRUCTURE_FILE, "rt") as stream:
        atoms = ase.io.read(stream, format="extxyz")
    said = atoms.info
    assert said["cascade"] == f"c{name}"
    assert (said["recoil_species"], said["recoil_energy_eV"], said["outcome"]) == ("Si", 70, "completed")
    assert said["stored_energy_eV"] == pytest.approx(record.stored_energy_eV)
    np.testing.assert_allclose(said["direction"], record.spec.knock_on.direction)
    assert said["potential"] == "si-tersoff-zbl"
    assert said["potential_digest"] == f"d{record.spec.protocol.potential_digest}"
    assert atoms.arrays["id"].tolist() == list(range(1, 513))
    assert np.flatnonzero(atoms.arrays["is_pka"]).tolist() == [record.physics.pka.index]


def test_a_scene_is_seen_from_the_site_of_the_knock_on(run, name):
    seen, record = scene_of(run, name), run.record(name)
    np.testing.assert_allclose(seen.start_A[seen.knocked], 0, atol=1e-6)
    # ASE writes eight digits
    end = np.linalg.norm(seen.end_A[seen.knocked])
    assert end == pytest.approx(record.physics.pka.end_displacement_A, abs=1e-6)
    assert np.linalg.norm(seen.track_A - seen.track_A[0], axis=1).max() == pytest.approx(
        record.physics.pka.largest_displacement_A, abs=0.05
    )
    assert sum(record.physics.displaced_atoms.values()) == seen.displaced.sum()
    counts = record.physics.defects
    for kind, expected in (("vacancy", counts.vacancies), ("interstitial", counts.interstitials)):
        assert sum(d.kind == kind for d in seen.defects) == sum(expected.values())
    assert np.abs(seen.start_A).max() <= seen.period_A[0] / 2 + 1e-6


def test_frames_begin_at_the_kick_and_crowd_where_atoms_are_fast(run, name):
    seen = scene_of(run, name)
    every = frames_of(seen, run.cascades / name, number=1000)
    some = frames_of(seen, run.cascades / name, number=20)
    assert (some[0].time_ps, some[-1].time_ps) == (every[0].time_ps, every[-1].time_ps)
    assert len(some) <= 22 < len(every)
    steps = np.diff([frame.time_ps for frame in some])
    assert steps[:3].mean() < 0.7 * steps[-3:].mean()  # the knock-on is fast at first
    first = every[0]
    assert np.abs(first.positions_A[first.atoms == seen.knocked]).max() < 0.5  # thermal motion
    for frame in every:
        # atoms are where they belong, not on the other side of the box
        assert np.linalg.norm(frame.positions_A - seen.start_A[frame.atoms], axis=1).max() < seen.period_A[0] / 2


def test_pictures_and_films_are_made_by_show(run, name, tmp_path, capsys):
    words = ["show", str(run.path), name, "--picture", str(tmp_path / "still.png"), "--frames", "2"]
    assert main([*words, "--film", str(tmp_path / "film.gif")]) == 0
    assert {"still.png", "still.pdf", "film.gif"} == {path.name for path in tmp_path.iterdir()}
    with Image.open(tmp_path / "film.gif") as film:
        assert film.n_frames > 2  # and the end
    capsys.readouterr()
    assert main([*words, "--film", str(tmp_path / "film.avi")]) == 2
    assert ".gif or .mp4" in capsys.readouterr().err


def test_a_film_is_also_an_mp4_where_there_is_an_ffmpeg_and_one_line_where_there_is_none(
    run, name, tmp_path, capsys, monkeypatch
):
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg", reason="needs ffmpeg: pip install imageio-ffmpeg")
    monkeypatch.setenv("PATH", str(tmp_path))  # no other is found
    words = ["show", str(run.path), name, "--frames", "2", "--film", str(tmp_path / "film.mp4")]
    assert main(words) == 0
    frames, seconds = imageio_ffmpeg.count_frames_and_secs(str(tmp_path / "film.mp4"))
    shown = len(frames_of(scene_of(run, name), run.cascades / name, number=2))
    assert (frames, round(seconds * FRAMES_PER_S)) == (
        shown + 2 * FRAMES_PER_S,
    ) * 2  # the end is held for two seconds
    capsys.readouterr()
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    (tmp_path / "film.mp4").unlink()
    assert main(words) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "cascade-driver[film]" in said
    assert not (tmp_path / "film.mp4").exists()


def test_every_displaced_atom_has_its_arrow_and_the_knock_on_is_black(run, name):
    seen = scene_of(run, name)
    axes = plot.draw_cascade(seen, ax=plot.cascade_figure(seen).add_subplot())
    (arrows,) = [c for c in axes.collections if hasattr(c, "U")]
    assert len(arrows.U) == seen.displaced.sum()
    way = seen.end_A[seen.displaced] - seen.start_A[seen.displaced]
    # the plane holds the first recoil: what is not seen of an arrow is its depth
    assert np.all(np.hypot(arrows.U, arrows.V) <= np.linalg.norm(way, axis=1) + 1e-6)
    (track,) = [line for line in axes.lines if line.get_color() == "black" and len(line.get_xdata()) > 2]
    assert len(track.get_xdata()) == len(seen.track_A)
    along = np.asarray(seen.record.spec.knock_on.direction)
    np.testing.assert_allclose(track.get_xdata(), seen.track_A @ along, atol=1e-9)
    for draw in (plot.draw_defect_distances, plot.draw_pockets):
        assert draw([seen.remains], ax=axes) is axes


def test_defects_are_listed_with_their_places(run, name, tmp_path, capsys):
    words = ["defects", str(run.path), "--out", str(tmp_path / "d.csv"), "--figure", str(tmp_path / "d")]
    assert main(words) == 0
    with (tmp_path / "d.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    seen = [d for n in run.finished() for d in scene_of(run, n).defects]
    assert len(rows) == len(seen)
    assert tuple(rows[0]) == scene.DEFECT_COLUMNS if rows else True
    distance = [np.hypot(np.hypot(float(r["x_A"]), float(r["y_A"])), float(r["z_A"])) for r in rows]
    np.testing.assert_allclose([float(r["distance_A"]) for r in rows], distance, atol=2e-3)
    assert (tmp_path / "d.pdf").is_file()
    capsys.readouterr()
    assert main(["defects", str(run.path), name]) == 0
    assert "pocket:" in capsys.readouterr().out


def test_a_cascade_without_a_film_says_how_to_get_one_and_a_damaged_one_is_named(run, name, tmp_path):
    seen = scene_of(run, name)
    with pytest.raises(InputError, match="cascade reproduce RUN ID --out FOLDER --trajectory-every-fs"):
        frames_of(seen, tmp_path, number=5)
    whole = (run.cascades / name / TRAJECTORY_FILE).read_bytes()
    (tmp_path / TRAJECTORY_FILE).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RecordError, match="damaged"):
        frames_of(seen, tmp_path, number=5)


def test_a_report_does_without_what_is_damaged(run, name, tmp_path):
    copy = RunDirectory(shutil.copytree(run.path, tmp_path / "copy"))
    table = contents_of(copy).table()
    assert [seen.record.id for seen in conclusion._scenes(copy, table)] == [name]  # of the highest energy
    assert conclusion._citation(copy)
    (copy.cascades / name / STRUCTURE_FILE).write_bytes(b"no gzip")
    shutil.rmtree(copy.path / "potentials")
    assert conclusion._scenes(copy, table) == []
    assert conclusion._citation(copy) == ()
