"""The house has an order: who may import whom, and which library is behind which wall."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import cascade_driver

PACKAGE = Path(cascade_driver.__file__).parent

#: Wings from bottom to top, each with its modules in reading order. A module imports only modules that stand
#: before it in this list. A new module gets a place here, and thereby a reader knows when to read it.
ORDER: dict[str, tuple[str, ...]] = {
    "": ("version", "text", "errors", "units", "files", "schema"),
    "simulation": (
        "record",
        "provenance",
        "frame",
        "crystal_file",
        "crystal",
        "include",
        "potential",
        "knock_on",
        "spec",
        "kick_sequence",
        "trajectory",
        "engine",
        "lammps_engine",
        "calculator",
        "descent",
        "start",
        "defects",
        "cascade",
        "zbl",
        "apart",
        "contract",
        "checked",
    ),
    "campaign": (
        "claims",
        "plan",
        "index",
        "rundir",
        "kick_events",
        "verify",
        "export",
        "status",
        "listing",
        "task",
        "_fork_server",
        "slots",
        "supervise",
        "reproduce",
        "executors",
        "dask_executor",
        "slurm",
    ),
    "training": (
        "outputs",
        "frames",
        "extended_xyz",
        "importing",
        "labelling",
        "label_queue",
        "replay",
        "propose",
        "validate",
        "descriptors",
        "spline_kernels",
        "splines",
        "snap",
        "pod",
        "zbl_core",
        "linear",
        "cross_validation",
        "export",
        "ensemble",
        "fit",
        "fit_input",
        "learning",
        "selection",
    ),
    "analysis": (
        "outcomes",
        "comparison",
        "estimation",
        "fermi_posterior",
        "defect_probability",
        "empirical_law",
        "distribution",
        "model",
        "response",
        "uncertainty",
        "published",
        "empirical",
        "directional",
        "threshold",
    ),
    "spectra": (
        "binning",
        "request",
        "table",
        "spectrum",
        "target",
        "form_factor",
        "quadrature",
        "dark_matter",
        "recoil_direction",
        "neutrino_flux",
        "reactor",
        "solar",
        "cevns",
        "correction",
        "detector",
        "ensemble",
        "ensemble_content",
        "daily_modulation",
        "planning",
        "capture_table",
        "egaf",
        "gamma_recoil",
        "statistical_cascade",
        "neutron_capture",
        "sources",
        "observe",
        "recoil_list",
        "line_fit",
    ),
    "relaxation": (
        "dislocation",
        "film_dynamics",
        "film_spectrum",
        "tls_distribution",
        "tls_damping",
        "tls_damping_fit",
        "tls_glass",
        "tls_density",
        "tls_realisations",
        "tls_properties",
        "tls_tunnelling",
        "debris_search",
        "debris_path",
        "debris_release",
        "debris",
    ),
    "plot": ("backend", "style", "kicks", "stored_energy", "spectra", "relaxation", "training"),
    "edges": ("config", "models", "foresight", "report", "validation_report", "workflow", "terminal"),
    "commands": (
        "arguments",
        "campaigns",
        "comparison",
        "spectra",
        "capture",
        "relaxation",
        "potentials",
        "training",
        "parser",
    ),
    "door": ("cli", "__main__"),
}

#: Libraries that are imported behind one wall each.
WALLS = {
    "lammps": {"simulation.lammps_engine"},
    "matplotlib": {f"plot.{room}" for room in ORDER["plot"]},
    "tomllib": {"schema"},
    "argparse": {f"commands.{room}" for room in ORDER["commands"]},
}

#: What analysis may know of the wings before it, apart from the ground.
MEETING_POINT = "simulation.record"

#: A function in a module of such a name has no home.
HOMELESS = {"utils", "util", "core", "common", "helpers", "helper", "base", "misc", "tools"}


@dataclass(frozen=True)
class Import:
    """One import statement: who imports what, and whether only for annotations."""

    importer: str
    imported: str
    line: int
    for_types: bool

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.imported}"


def modules_of(package: Path) -> dict[str, Path]:
    """The modules of a package by dotted name, packages' own files left out."""
    return {
        ".".join(path.relative_to(package).with_suffix("").parts): path
        for path in sorted(package.rglob("*.py"))
        if path.name != "__init__.py"
    }


def imports_of(module: str, source: str, *, package: str = "cascade_driver") -> Iterator[Import]:
    """All imports, at any depth; names of the package itself without its prefix."""
    tree = ast.parse(source)
    for_types = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for statement in node.body
        for inner in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level:
            names = [f"relative import {'.' * node.level}{node.module or ''}"]
        elif isinstance(node, ast.ImportFrom):
            # `from cascade_driver.simulation import record` imports a module, too.
            beyond = [f"{node.module}.{alias.name}" for alias in node.names]
            is_package = node.module in {package, *(f"{package}.{wing}" for wing in ORDER if wing)}
            names = beyond if is_package else [str(node.module)]
        else:
            continue
        for name in names:
            yield Import(module, name.removeprefix(f"{package}."), node.lineno, node in for_types)


def place_of(module: str) -> tuple[int, int] | None:
    """Where a module stands: number of its wing, number in the wing; None for one without a place."""
    wing, _, name = module.rpartition(".")
    for number, (known, names) in enumerate(ORDER.items()):
        if (known == wing or (wing == "" and known in {"edges", "door"})) and name in names:
            return number, names.index(name)
    return None


def complaints(imports: list[Import], modules: set[str]) -> list[str]:
    """What is wrong with a set of imports; empty for a house in order."""
    found = [f"{m} has no place in ORDER" for m in sorted(modules) if place_of(m) is None]
    found += [f"{m} is no home" for m in sorted(modules) if m.rpartition(".")[2] in HOMELESS]
    ground = set(ORDER[""])
    for one in imports:
        if one.imported.startswith("relative"):
            found.append(f"{one}; write it in full")
        library = one.imported.partition(".")[0]
        if library in WALLS and one.importer not in WALLS[library] and not one.for_types:
            found.append(f"{one}, which belongs behind {sorted(WALLS[library])}")
        here, there = place_of(one.importer), place_of(one.imported)
        if here and there and there >= here and not one.for_types:
            found.append(f"{one}, which stands after it")
        if (
            one.importer.startswith("analysis.")
            and there
            and not one.imported.startswith("analysis.")
            and one.imported not in ground | {MEETING_POINT}
        ):
            found.append(f"{one}; analysis and simulation meet only at {MEETING_POINT}")
    return found


def test_modules_import_only_what_stands_before_them_and_walls_hold():
    modules = modules_of(PACKAGE)
    imports = [one for name, path in modules.items() for one in imports_of(name, path.read_text())]
    assert len(modules) > 30
    assert complaints(imports, set(modules)) == []


@pytest.mark.parametrize(
    ("module", "source", "complaint"),
    [
        ("simulation.engine", "from cascade_driver.campaign.plan import Campaign", "stands after it"),
        ("simulation.record", "def f():\n  from cascade_driver.simulation import spec", "stands after it"),
        ("simulation.record", "from cascade_driver.simulation import spec", "stands after it"),
        ("simulation.record", "import cascade_driver.simulation.spec", "stands after it"),
        ("errors", "from cascade_driver.units import AMU_MeV", "stands after it"),
        ("workflow", "from cascade_driver import cli", "stands after it"),
        ("simulation.cascade", "import lammps", "behind ['simulation.lammps_engine']"),
        ("report", "from matplotlib.figure import Figure", "behind ['plot."),
        ("config", "import tomllib", "behind ['schema']"),
        ("workflow", "import argparse", "behind ['commands."),
        ("analysis.model", "from cascade_driver.simulation.spec import KnockOn", "meet only at"),
        ("analysis.model", "from cascade_driver.campaign.rundir import RunDirectory", "meet only at"),
        ("analysis.model", "from . import outcomes", "write it in full"),
        ("simulation.utils", "", "is no home"),
        ("simulation.surprise", "", "has no place"),
    ],
)
def test_negative_control_planted_violations_are_found(module, source, complaint):
    found = complaints(list(imports_of(module, source)), {module})
    assert any(complaint in one for one in found), found


def test_negative_control_what_is_allowed_is_not_complained_about():
    allowed = "from cascade_driver.simulation.record import Record\nfrom cascade_driver.errors import FitError"
    assert complaints(list(imports_of("analysis.outcomes", allowed)), {"analysis.outcomes"}) == []
    types = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from matplotlib.figure import Figure"
    assert complaints(list(imports_of("report", types)), {"report"}) == []
