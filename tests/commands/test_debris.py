"""`cascade tls debris`: a search of a real cascade, what it writes, how it goes on, and what it refuses."""

import json
import shutil
from dataclasses import replace

import ase.io
import numpy as np
import pytest

from cascade_driver.campaign.plan import Campaign, RecoilGroup
from cascade_driver.campaign.rundir import RunDirectory
from cascade_driver.cli import main
from cascade_driver.errors import RecordError
from cascade_driver.plot import debris_figure
from cascade_driver.relaxation.debris.pairs import (
    DebrisRun,
    read_debris,
    release_of,
    search_cascade,
)
from cascade_driver.relaxation.debris.path import PathSpec
from cascade_driver.relaxation.debris.search import SearchSpec
from cascade_driver.relaxation.debris.tunnelling import SOLIDS
from cascade_driver.relaxation.debris.vibrations import ZeroPoint
from cascade_driver.schema import build, read_json
from cascade_driver.simulation.cascade import STRUCTURE_FILE, run_cascade
from cascade_driver.simulation.lammps_engine import LammpsEngine
from cascade_driver.simulation.potential import load_potential
from cascade_driver.simulation.start import make_box, make_snapshot

POTENTIAL = "si-tersoff-zbl"
SEARCH = ["--bursts", "2", "--burst-temperature-K", "1500", "--images", "3", "--saddle-searches", "2"]
SEARCH += ["--vibrating-atoms", "12", "--keep-below-eV", "1", "--path-steps", "60"]


def a_finished_run(folder, *, recoil_energy_eV: float) -> RunDirectory:
    """One cascade in 64 atoms of silicon, done in this process."""
    potential = load_potential(POTENTIAL)
    content = {
        "title": "debris",
        "potential_status": "qualitative",
        "protocol": {
            "crystal": {"name": "Si", "repeats": [2, 2, 2], "relax_cell": False},
            "potential_name": POTENTIAL,
            "potential_digest": potential.digest,
            "thermal": {"equilibration_ps": 0.1, "snapshot_interval_ps": 0.05},
            "follow": {"duration_ps": 0.4, "max_displacement_A": 0.03, "max_timestep_fs": 2},
        },
        "groups": [],
    }
    group = RecoilGroup(
        species="Si",
        recoil_energies_eV=(recoil_energy_eV,),
        snapshots=1,
        sampling="by hand",
        vectors=((0.6, 0.0, 0.8),),
        weights=(1.0,),
    )
    campaign = build(Campaign, {**content, "groups": [group]}, origin="test")
    run = RunDirectory(folder)
    run.prepare()
    run.keep(potential)
    run.save(campaign)

    def engine() -> LammpsEngine:
        return LammpsEngine(potential=potential)

    starts = run.starts(campaign)
    make_box(campaign.protocol, starts, engine)
    make_snapshot(campaign.protocol, 0, starts, engine)
    for planned in campaign.cascades():
        run.store(run_cascade(campaign.spec(planned), starts=starts, make_engine=engine))
    return run


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return a_finished_run(tmp_path_factory.mktemp("run"), recoil_energy_eV=40.0)


@pytest.fixture(scope="module")
def searched(finished, tmp_path_factory):
    out = tmp_path_factory.mktemp("debris")
    assert main(["tls", "debris", str(finished.path), "--out", str(out), "--cascades", "1", *SEARCH]) == 0
    return out


def test_command_writes_systems_release_summary_and_figure(searched):
    summary = json.loads((searched / "summary.json").read_text())
    assert summary["searched_cascades"] == 1
    assert summary["counts"]["bursts"] == 2
    assert summary["counts"]["searches"] == 2
    assert 0 <= summary["coverage"] <= 1
    assert summary["potential_status"] == "qualitative"
    assert (searched / "debris.png").is_file()
    table = np.genfromtxt(searched / "release.csv", delimiter=",", names=True)
    assert set(table["temperature_K"]) == {0.01, 0.1, 1.0}
    for temperature in (0.01, 0.1, 1.0):
        released = table["released_eV"][table["temperature_K"] == temperature]
        assert released.min() >= -1e-4
        assert released.max() <= summary["metastable_energy_eV_per_cascade"] + 1e-6
    assert (searched / "pairs.csv").read_text().count("\n") == 1 + summary["pairs"]


def test_places_of_pairs_are_frames_with_the_atoms_that_move_marked(searched):
    (one,) = read_debris(searched)
    frames = ase.io.read(searched / "cascades" / f"{one.cascade}.extxyz.gz", index=":", format="extxyz")
    assert sum(frame.info["point"] == "one" for frame in frames) == len(one.pairs)
    known = [pair for pair in one.pairs if pair.ground_barrier_eV is not None]
    assert sum(frame.info["point"] == "saddle" for frame in frames) >= len(known)
    for pair in one.pairs:
        ends = {f.info["point"]: f for f in frames if f.info["pair"].tolist() == list(pair.minima)}
        moved = np.linalg.norm(ends["other"].positions - ends["one"].positions, axis=1)
        marked = ends["one"].arrays["moved"] > 0
        assert np.flatnonzero(marked).tolist() == list(pair.movers)
        assert moved[marked].min() > 0.05  # what drifts as a whole is not taken off in the frames
    table = (searched / "pairs.csv").read_text().splitlines()
    assert table[1].rpartition(",")[2] == " ".join(map(str, one.pairs[0].movers))


def test_pairs_are_those_of_their_paths(searched):
    (one,) = read_debris(searched)
    assert one.pairs, "the burst found no other minimum: choose another direction"
    for pair in one.pairs:
        i, j = pair.minima
        well = pair.well
        assert pair.asymmetry_eV == pytest.approx(one.energies_eV[j] - one.energies_eV[i], abs=1e-3)
        ground = one.ground_energies_eV
        assert pair.ground_asymmetry_eV == pytest.approx(ground[j] - ground[i], abs=1e-3)
        assert well.ground_asymmetry_eV == pytest.approx(pair.ground_asymmetry_eV, abs=1e-9)
        assert pair.barrier_eV >= max(0.0, pair.asymmetry_eV) - 1e-9
        # the mass-weighted length is at least that of the straight way
        assert well.length_amu12_A > 0.95 * pair.largest_displacement_A * np.sqrt(pair.moved_mass_amu)
    cold = release_of(one, solid=SOLIDS["Si"], temperature_K=0.01)
    assert np.all(np.diff(cold.released_eV) >= -1e-9)


def test_figure_says_how_many_barriers_lie_below_what_it_draws(searched):
    (one,) = read_debris(searched)
    high = [
        replace(pair, elementary=True, zero_point=None, barrier_eV=0.3, asymmetry_eV=0.1) for pair in one.pairs
    ]
    # The zero-point energy at the saddle takes the barrier away.
    shift = {"one_eV": (0.0, 0.0, 1.0), "other_eV": (0.0, 0.0, 1.0), "saddle_eV": (0.0, 0.0, 0.6)}
    low = replace(high[0], zero_point=ZeroPoint(**shift, prefactors_Hz=None))
    assert low.lower_barrier_eV < 0
    for pairs, said in ((high, ""), ([*high, low], "1 barriers below 0.1 meV, drawn there")):
        figure = debris_figure([replace(one, pairs=tuple(pairs))], [], potential_status="quantitative")
        assert len(figure.axes) == 2
        assert figure.axes[0].get_title(loc="left") == said


def test_a_pair_is_told_from_a_two_level_system_no_better_than_its_zero_point_energy_is_known(searched):
    (one,) = read_debris(searched)
    pair = replace(one.pairs[0], elementary=True, converged=True, tunnelling_eV=1e-6, asymmetry_eV=0.05)

    def with_asymmetry(ground_eV, *, step_eV):
        settled = {"one_eV": (0.0, 0.0, 0.0), "other_eV": (0.0, ground_eV - 0.05, ground_eV - 0.05)}
        z = ZeroPoint(**settled, saddle_eV=None, prefactors_Hz=None, step_eV=step_eV)
        return replace(pair, zero_point=z)

    far = with_asymmetry(0.03, step_eV=0.01)
    near = with_asymmetry(0.003, step_eV=0.01)
    there = with_asymmetry(5e-5, step_eV=1e-5)
    assert [(p.is_two_level, p.may_be_two_level) for p in (far, near, there)] == [
        (False, False),
        (False, True),
        (True, False),
    ]


def test_debris_makes_a_glass_that_damping_and_properties_take(searched, tmp_path, capsys):
    glass, debris = tmp_path / "glass.json", tmp_path / "debris"
    shutil.copytree(searched, debris)
    (cascade,) = (debris / "cascades").glob("*.json")
    content = json.loads(cascade.read_text())
    # So short a search need not find one that tunnels: it gets a pair 10 meV apart.
    path = {"distance_amu12_A": [0.0, 1.5, 3.0], "energy_eV": [0.0, 0.2, 0.01], "slope_eV_amu12_A": [0.0] * 3}
    tunnels = {
        "elementary": True,
        "converged": True,
        "asymmetry_eV": 0.01,
        "barrier_eV": 0.2,
        "tunnelling_eV": 1e-7,
    }
    content["pairs"].append(content["pairs"][0] | tunnels | {"path": path, "quanta_eV": [0.02, 0.02]})
    content["pairs"][-1]["zero_point"] = None
    cascade.write_text(json.dumps(content))
    assert main(["tls", "glass", str(debris), "--out", str(glass)]) == 0
    found = json.loads(glass.read_text())["glass"]
    assert found["cascades"] == 1
    assert found["longitudinal_strength"]["value"] > 0
    late = np.genfromtxt(glass.with_suffix(".csv"), delimiter=",", names=True)
    assert np.all(np.diff(late["released_eV"]) >= -1e-6)  # of six digits
    assert glass.with_suffix(".png").is_file()
    damping, beam = tmp_path / "damping.csv", ["--mode-frequency-Hz", "17.5e6", "--thickness-nm", "130"]
    command = ["tls", "damping", *beam, "--width-nm", "300", "--out", str(damping), "--debris-glass", str(glass)]
    assert main(command) == 0
    # Its strength is that of the glass: the plateau is pi^2 f C / (2 pi).
    hot = np.genfromtxt(damping, delimiter=",", names=True)["superconducting_damping_Hz"]
    assert main([*command, "--strength", str(2 * found["longitudinal_strength"]["value"])]) == 0
    twice = np.genfromtxt(damping, delimiter=",", names=True)["superconducting_damping_Hz"]
    np.testing.assert_allclose(twice, 2 * hot, rtol=1e-6)
    properties = tmp_path / "properties.csv"
    assert main(["tls", "properties", "--debris-glass", str(glass), "--out", str(properties)]) == 0
    assert "thermal conductivity ~ T^2.000" in capsys.readouterr().out
    assert main(["tls", "damping", *beam, "--width-nm", "300", "--out", str(damping)]) == 2
    assert "`--strength` is missing" in capsys.readouterr().err
    assert main(["tls", "glass", str(tmp_path), "--out", str(glass)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_same_command_searches_nothing_twice_and_another_search_is_refused(finished, searched, capsys):
    stamps = {p: p.stat().st_mtime_ns for p in (searched / "cascades").iterdir()}
    command = ["tls", "debris", str(finished.path), "--out", str(searched), "--cascades", "1"]
    assert main([*command, *SEARCH, "--temperature-K", "0.5"]) == 0
    assert {p: p.stat().st_mtime_ns for p in (searched / "cascades").iterdir()} == stamps
    capsys.readouterr()
    assert main([*command, "--bursts", "3"]) == 2
    said = capsys.readouterr().err
    assert "holds another search" in said
    assert said.count("\n") == 1


def test_finished_sums_up_what_is_there_and_searches_nothing(finished, searched, tmp_path, capsys):
    on_its_way = shutil.copytree(searched, tmp_path / "on_its_way")
    (on_its_way / "summary.json").unlink()
    (table := on_its_way / "pairs.csv").unlink()
    assert main(["tls", "glass", str(on_its_way), "--out", str(tmp_path / "glass.json")]) == 2
    assert "--finished it sums up" in capsys.readouterr().err
    words = ["tls", "debris", str(finished.path), "--out", str(on_its_way), "--finished"]
    for more, complaint in (
        (["--bursts", "3"], "leave out what says how to search"),
        (["--cascades", "1"], "leave out what says how to search"),
        (["--out", str(tmp_path / "none")], "no such file"),
    ):
        assert main([*words, *more]) == 2
        assert complaint in capsys.readouterr().err
    assert not table.exists()
    assert main(words) == 0
    assert "cascades with debris are searched" not in capsys.readouterr().out
    assert table.read_bytes() == (searched / "pairs.csv").read_bytes()
    (only,) = (on_its_way / "cascades").glob("*.json")
    by_bursts = read_json(only)
    by_bursts["counts"]["searches"] = 0
    only.write_text(json.dumps(by_bursts))
    assert main(words) == 0
    told = capsys.readouterr().out
    assert "by bursts alone" in told
    assert "chance" not in told
    only.unlink()
    assert main(words) == 2
    assert "no finished search" in capsys.readouterr().err
    another = read_json(on_its_way / "debris.json")
    another["debris"]["run_protocol"] = "0" * 64
    (on_its_way / "debris.json").write_text(json.dumps(another))
    assert main(words) == 2
    assert "of another run" in capsys.readouterr().err


def test_interrupted_search_goes_on_where_it_stopped(finished, searched, tmp_path):
    (one,) = read_debris(searched)
    debris = DebrisRun(
        run_protocol="",
        search=SearchSpec(bursts=2, burst_temperatures_K=(1500.0,), saddle_searches=1),
        path=PathSpec(images=3, vibrating_atoms=0),
    )
    (tmp_path / "cascades").mkdir()
    steps = []

    def interrupt(_cascade, done, _known):
        steps.append(done)
        if len(steps) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search_cascade(debris, tmp_path, run=finished, cascade=one.cascade, observe=interrupt)
    assert not read_debris(tmp_path)
    state = tmp_path / "cascades" / f"{one.cascade}.npz"
    with np.load(state) as kept:
        np.savez_compressed(state, **dict(kept))  # as earlier versions left it
    search_cascade(
        debris, tmp_path, run=finished, cascade=one.cascade, observe=lambda _c, done, _k: steps.append(done)
    )
    assert steps[:2] == [1, 2]
    (again,) = read_debris(tmp_path)
    assert again.counts["bursts"] == 2
    # the same bursts lead to the same places, but for the last digits of a new engine
    np.testing.assert_allclose(again.energies_eV[:2], one.energies_eV[:2], atol=1e-4)
    kept = tmp_path / "cascades" / f"{one.cascade}.json"
    kept.write_text(kept.read_text()[:100])
    with pytest.raises(RecordError, match="damaged"):
        read_debris(tmp_path)


def test_a_run_without_debris_an_unknown_crystal_and_no_run_are_one_line(tmp_path, capsys):
    run = a_finished_run(tmp_path / "run", recoil_energy_eV=2.0)
    out = ["--out", str(tmp_path / "out")]
    for command, complaint in (
        ([str(run.path), *out], "none of 1 usable cascades stored energy"),
        ([str(run.path), *out, "--temperature-K", "-1"], "input should be greater than 0"),
        (
            [str(run.path), *out, "--debye-temperature-K", "0"],
            "`--debye-temperature-K`: input should be greater than 0",
        ),
        ([str(tmp_path), *out], "no campaign.json there"),
    ):
        assert main(["tls", "debris", *command]) == 2
        said = capsys.readouterr().err
        assert complaint in said
        assert said.count("\n") == 1


def test_a_missing_and_a_damaged_structure_are_one_line(finished, tmp_path, capsys):
    run = RunDirectory(shutil.copytree(finished.path, tmp_path / "run"))
    (structure,) = run.cascades.glob(f"*/{STRUCTURE_FILE}")
    words = ["tls", "debris", str(run.path), "--out", str(tmp_path / "out"), "--cascades", "1", *SEARCH]
    structure.unlink()
    assert main(words) == 2
    assert "its final structure is missing" in capsys.readouterr().err
    structure.write_bytes(b"no gzip")
    assert main(words) == 2
    assert f"{structure}: damaged" in capsys.readouterr().err
