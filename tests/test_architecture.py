"""The house has an order: who may import whom, and which library is behind which wall."""

import ast
import functools
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import cascade_driver

PACKAGE = Path(cascade_driver.__file__).parent


@dataclass(frozen=True)
class Wing:
    """A folder of the package, or modules at its top that belong together.

    Attributes
    ----------
    says : str
        What it is about, as the README of the package tells it.
    imports : tuple of str, or None
        Wings that it may import, or single modules of them, beside itself and the ground; None for all before it.
    rooms : tuple of str
        Its modules in reading order: a module imports only those of its own wing that stand before it.
    """

    says: str
    imports: tuple[str, ...] | None
    rooms: tuple[str, ...]


#: Wings whose modules stand at the top of the package.
AT_THE_TOP = ("ground", "edges", "door")

#: The house from bottom to top: a wing imports only wings that stand before it. Its picture is made of it.
#: A new module gets a place here, and thereby a reader knows when to read it.
HOUSE: dict[str, Wing] = {
    "ground": Wing(
        "one error tree, the only unit conversions, typed parameters, whole files, isotopes, a binned spectrum",
        imports=(),
        rooms=(
            "version",
            "kinds",
            "text",
            "errors",
            "units",
            "files",
            "target",
            "schema",
            "binning",
            "request",
            "table",
            "histogram_file",
            "spectrum",
        ),
    ),
    "simulation": Wing(
        "one cascade: crystal -> potential -> thermalise -> kick -> follow -> quench -> record",
        imports=(),
        rooms=(
            "outcome",
            "provenance",
            "frame",
            "named_crystals",
            "crystal_file",
            "film_box",
            "crystal",
            "include",
            "potential",
            "knock_on",
            "stopping",
            "spec",
            "record",
            "protocols",
            "kick_sequence",
            "engine",
            "lammps_build",
            "lammps_engine",
            "descent",
            "zero_point",
            "start",
            "defects",
            "trajectory",
            "displacement",
            "cascade",
            "apart",
        ),
    ),
    "validation": Wing(
        "is a potential fit for cascades: the ZBL core, the contract",
        imports=("simulation",),
        rooms=("zbl", "switch_choice", "calculator", "contract", "builds", "checked"),
    ),
    "campaign": Wing(
        "many cascades on any machines: plan -> claim -> run -> record on disk",
        imports=("simulation",),
        rooms=(
            "work_log",
            "flown",
            "claims",
            "tasks",
            "plan",
            "index",
            "rundir",
            "contents",
            "kick_events",
            "verify",
            "export",
            "scene",
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
    ),
    "training": Wing(
        "potentials in the making: structures, labels, linear fits",
        imports=("simulation", "validation", "campaign"),
        rooms=(
            "outputs",
            "frames",
            "extended_xyz",
            "importing",
            "labelling",
            "label_queue",
            "replay",
            "relax",
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
    ),
    "analysis": Wing(
        "records -> defect probability + stored-energy distribution -> response",
        imports=("simulation.outcome",),
        rooms=(
            "outcomes",
            "comparison",
            "estimation",
            "fermi_posterior",
            "defect_probability",
            "empirical_law",
            "distribution",
            "response",
            "tabulated",
            "model",
            "uncertainty",
            "published",
            "empirical",
            "directional",
            "imported",
            "threshold",
            "threshold_posterior",
            "threshold_field",
            "damage",
            "resolution_limit",
        ),
    ),
    "thresholds": Wing(
        "threshold displacement energies of any atom, direction by direction",
        imports=("simulation", "campaign", "analysis"),
        rooms=("plan", "search", "summary"),
    ),
    "sources": Wing(
        "what a source gives: dark matter, neutrinos, neutron capture",
        imports=(),
        rooms=(
            "form_factor",
            "quadrature",
            "dark_matter",
            "neutrino_flux",
            "reactor",
            "solar",
            "cevns",
            "capture_table",
            "egaf",
            "gamma_recoil",
            "statistical_cascade",
            "neutron_capture",
            "recoil_list",
            "collision_files",
            "requested",
        ),
    ),
    "spectra": Wing(
        "what a detector sees of it: the one road, bands, lines, modulation",
        imports=("simulation.outcome", "analysis", "sources"),
        rooms=(
            "correction",
            "detector",
            "line_fit",
            "ensemble",
            "ensemble_check",
            "ensemble_content",
            "observed_capture",
            "limits",
            "observe",
            "line_shift",
            "templates",
            "response_file",
            "difference",
            "recoil_direction",
            "daily_modulation",
            "planning",
        ),
    ),
    "relaxation.film": Wing(
        "what relaxes later, without a recoil: dislocations of a film",
        imports=("analysis",),
        rooms=("dislocation", "images", "dynamics", "measured", "spectrum", "energy_map", "spectrum_fit", "decay"),
    ),
    "relaxation.tls": Wing(
        "tunnelling two-level systems of a glass",
        imports=("simulation", "campaign.tasks", "analysis"),
        rooms=(
            "distribution",
            "damping",
            "ranges",
            "damping_fit",
            "frequency",
            "loss_fit",
            "scales",
            "glass",
            "density",
            "realisations",
            "properties",
            "properties_fit",
        ),
    ),
    "relaxation.debris": Wing(
        "what the defects of cascades relax into",
        imports=("simulation", "campaign"),
        rooms=("tunnelling", "search", "saddle", "path", "vibrations", "release", "pairs", "glass"),
    ),
    "plot": Wing(
        "figures",
        imports=(
            "simulation",
            "campaign",
            "analysis",
            "thresholds",
            "sources",
            "spectra",
            "relaxation.film",
            "relaxation.tls",
            "relaxation.debris",
        ),
        rooms=(
            "backend",
            "style",
            "kicks",
            "potentials",
            "stored_energy",
            "comparison",
            "maps",
            "thresholds",
            "scenes",
            "spectra",
            "film",
            "tls",
            "debris",
            "training",
        ),
    ),
    "edges": Wing(
        "TOML in, the steps of a run, pages out",
        imports=None,
        rooms=(
            "config",
            "json_schema",
            "models",
            "new_input",
            "foresight",
            "cite",
            "answer",
            "report",
            "validation_report",
            "workflow",
            "advice",
            "conclusion",
            "threshold_run",
            "session",
            "potential_comparison",
            "run_comparison",
        ),
    ),
    "terminal": Wing(
        "what people see in a terminal: tables, and progress bars that tell the time left",
        imports=None,
        rooms=("console", "progress", "records", "runs", "spectra", "thresholds", "potentials"),
    ),
    "guide": Wing(
        "the texts that users read, shipped with the package",
        imports=("edges",),
        rooms=("chapters", "notebook", "page", "keys", "site"),
    ),
    "commands": Wing(
        "the verbs, each one library call",
        imports=None,
        rooms=(
            "arguments",
            "options",
            "fits",
            "new",
            "thresholds",
            "campaigns",
            "comparison",
            "estimates",
            "capture",
            "spectra",
            "background",
            "debris",
            "tls",
            "potentials",
            "training",
            "schemas",
            "guide",
            "completion",
            "front",
            "parser",
        ),
    ),
    "door": Wing(
        "the command `cascade`",
        imports=None,
        rooms=("cli", "__main__"),
    ),
}

#: Libraries that are imported behind one wall each.
WALLS = {
    "lammps": {"simulation.lammps_build"},
    "matplotlib": {f"plot.{room}" for room in HOUSE["plot"].rooms},
    "tomllib": {"schema"},
    "argparse": {f"commands.{room}" for room in HOUSE["commands"].rooms},
}

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


@functools.cache
def parsed(source: str) -> tuple[ast.Module, tuple[ast.AST, ...]]:
    """The tree of a source and all its nodes: two seconds for the whole package, and several tests want it."""
    tree = ast.parse(source)
    return tree, tuple(ast.walk(tree))


def imports_of(module: str, source: str, *, package: str = "cascade_driver") -> Iterator[Import]:
    """All imports, at any depth; names of the package itself without its prefix."""
    nodes = parsed(source)[1]
    for_types = {
        inner
        for node in nodes
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for statement in node.body
        for inner in ast.walk(statement)
    }
    # A result draws itself when it is asked to: its method `plot` imports the wing of figures, and nothing else.
    to_draw = {
        inner
        for node in nodes
        if isinstance(node, ast.FunctionDef) and node.name == "plot"
        for inner in ast.walk(node)
        if isinstance(inner, ast.ImportFrom) and inner.module == f"{package}.plot"
    }
    for node in nodes:
        if node in to_draw:
            continue
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level:
            names = [f"relative import {'.' * node.level}{node.module or ''}"]
        elif isinstance(node, ast.ImportFrom):
            # `from cascade_driver.simulation import record` imports a module, too.
            beyond = [f"{node.module}.{alias.name}" for alias in node.names]
            is_package = node.module == package or is_folder(str(node.module).removeprefix(f"{package}."))
            names = beyond if is_package else [str(node.module)]
        else:
            continue
        for name in names:
            yield Import(module, name.removeprefix(f"{package}."), node.lineno, node in for_types)


def is_folder(name: str) -> bool:
    """Whether a dotted name is a folder of the package, with modules or with wings in it."""
    return any(f"{wing}.".startswith(f"{name}.") for wing in HOUSE if wing not in AT_THE_TOP)


def wing_of(module: str) -> str | None:
    """The wing in which a module stands, or that offers a name as a whole; None for other libraries."""
    for wing, content in HOUSE.items():
        if module in content.rooms if wing in AT_THE_TOP else f"{module}.".startswith(f"{wing}."):
            return wing
    return None


def place_of(module: str) -> tuple[int, int] | None:
    """Where a module stands: number of its wing, number in the wing; None for one without a place."""
    wing = wing_of(module)
    room = module.rpartition(".")[2]
    if wing is None or room not in HOUSE[wing].rooms or module not in (room, f"{wing}.{room}"):
        return None
    return list(HOUSE).index(wing), HOUSE[wing].rooms.index(room)


def permission(one: Import) -> str | None:
    """What in the table lets one wing import from another: its name, or that of the module."""
    here, there = wing_of(one.importer), wing_of(one.imported)
    allowed = HOUSE[here].imports if here else None
    if allowed is None:
        wings = list(HOUSE)
        return there if here and there and wings.index(there) < wings.index(here) else None
    if there == "ground":
        return there
    return next((name for name in allowed if name in (there, one.imported)), None)


def complaints(imports: list[Import], modules: set[str]) -> list[str]:
    """What is wrong with a set of imports; empty for a house in order."""
    found = [f"{m} has no place in HOUSE" for m in sorted(modules) if place_of(m) is None]
    found += [f"{m} is no home" for m in sorted(modules) if m.rpartition(".")[2] in HOMELESS]
    for one in imports:
        if one.imported.startswith("relative"):
            found.append(f"{one}; write it in full")
        library = one.imported.partition(".")[0]
        if library in WALLS and one.importer not in WALLS[library] and not one.for_types:
            found.append(f"{one}, which belongs behind {sorted(WALLS[library])}")
        wing, other = wing_of(one.importer), wing_of(one.imported)
        if wing is None or other is None or one.for_types:
            continue
        if wing != other and permission(one) is None:
            found.append(f"{one}; {wing} imports {HOUSE[wing].imports or 'only what stands before it'}")
        here, there = place_of(one.importer), place_of(one.imported)
        if wing == other and here and there and there >= here:
            found.append(f"{one}, which stands after it")
    return found


def drawn() -> str:
    """The picture of the house: each wing, what it may import beside the ground, what it is about."""
    rows = [("wing", "imports, beside the ground", "what")]
    for wing, content in HOUSE.items():
        name = " ".join(content.rooms) if wing in AT_THE_TOP else f"{wing.replace('.', '/')}/"
        imports = "all above" if content.imports is None else ", ".join(content.imports)
        rows.append((name, imports, content.says))
    return "\n".join(f"| {' | '.join(row)} |" for row in (rows[0], ("---",) * 3, *rows[1:]))


@functools.cache
def all_imports() -> list[Import]:
    """All imports of the package."""
    return [one for name, path in modules_of(PACKAGE).items() for one in imports_of(name, path.read_text())]


def test_modules_import_only_what_stands_before_them_and_walls_hold():
    modules = modules_of(PACKAGE)
    assert len(modules) > 30
    assert complaints(all_imports(), set(modules)) == []


def test_the_table_permits_nothing_that_is_not_used():
    used = {(wing_of(one.importer), permission(one)) for one in all_imports()}
    idle = [
        f"{wing} imports nothing of {name}"
        for wing, content in HOUSE.items()
        for name in content.imports or ()
        if (wing, name) not in used
    ]
    assert idle == []


def test_the_table_names_modules_that_exist_and_wings_from_bottom_to_top():
    modules = modules_of(PACKAGE)
    named = {room if wing in AT_THE_TOP else f"{wing}.{room}" for wing, w in HOUSE.items() for room in w.rooms}
    assert named == set(modules)
    for number, content in enumerate(HOUSE.values()):
        before = list(HOUSE)[:number]
        assert [name for name in content.imports or () if wing_of(name) not in before and name not in before] == []


def test_the_readme_of_the_house_draws_it():
    assert drawn() in (PACKAGE / "README.md").read_text(), f"cascade_driver/README.md should say:\n\n{drawn()}"


def unreached(sources: dict[str, str], *, offered: str) -> list[str]:
    """Public functions and classes, and their methods, that nothing in the package uses or offers."""
    trees = {name: parsed(source) for name, source in sources.items()}
    used = {
        word
        for _, nodes in trees.values()
        for node in nodes
        for word in (getattr(node, "id", None), getattr(node, "attr", None), getattr(node, "value", None))
        if isinstance(word, str)
    }
    used |= set(re.findall(r"\w+", offered))

    def without_use(body: list[ast.stmt], prefix: str) -> Iterator[str]:
        for node in body:
            if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name.startswith("_"):
                continue
            by_pydantic = any("validator" in ast.unparse(decorator) for decorator in node.decorator_list)
            if node.name not in used and not by_pydantic:
                yield f"{prefix}{node.name}"
            elif isinstance(node, ast.ClassDef) and node.name not in offered:
                yield from without_use(node.body, f"{prefix}{node.name}.")

    return [one for name, (tree, _) in trees.items() for one in without_use(tree.body, f"{name}.")]


def test_what_is_public_is_used_or_offered():
    sources = {name: path.read_text() for name, path in modules_of(PACKAGE).items()}
    doors = ("*.pyi", "__init__.py", "*.jinja")
    offered = " ".join(path.read_text() for pattern in doors for path in PACKAGE.rglob(pattern))
    assert unreached(sources, offered=offered) == []


def test_no_name_that_is_offered_hides_a_module():
    hidden = [
        f"{path.parent.name}: {name}"
        for path in PACKAGE.rglob("__init__.pyi")
        for name in re.findall(r"^from \.\w[\w.]* import (\w+)", path.read_text(), flags=re.MULTILINE)
        if (path.parent / f"{name}.py").exists()
    ]
    assert hidden == []


def test_negative_control_what_nobody_calls_is_found():
    sources = {"a": "def f(): ...\ndef g(): f()\nclass C:\n    def m(self): ...", "b": "C()"}
    assert unreached(sources, offered="") == ["a.g", "a.C.m"]
    assert unreached(sources, offered="C g") == []


def test_each_wing_is_introduced_by_a_chapter_that_names_its_modules():
    silent = {}
    for wing, content in HOUSE.items():
        if wing in (*AT_THE_TOP, "plot"):
            continue
        chapter = (
            ast.get_docstring(ast.parse((PACKAGE / wing.replace(".", "/") / "__init__.py").read_text())) or ""
        )
        if missing := [room for room in content.rooms if room not in chapter and not room.startswith("_")]:
            silent[wing] = missing
    assert silent == {}


def test_each_wing_has_its_tests_and_each_test_says_what_it_is_of():
    folder = Path(__file__).parent
    astray = [
        str(path.relative_to(folder))
        for wing, content in HOUSE.items()
        for path in (folder / wing.replace(".", "/")).glob("test_*.py")
        if not any(f"{path.stem}_".startswith(f"test_{room}_") for room in content.rooms)
    ]
    assert astray == []
    assert [wing for wing in HOUSE if not list((folder / wing.replace(".", "/")).rglob("test_*.py"))] == []


@pytest.mark.parametrize(
    ("module", "source", "complaint"),
    [
        ("simulation.engine", "from cascade_driver.campaign.plan import Campaign", "simulation imports"),
        ("simulation.engine", "from cascade_driver import campaign", "simulation imports"),
        ("simulation.outcome", "def f():\n  from cascade_driver.simulation import spec", "stands after it"),
        ("simulation.outcome", "from cascade_driver.simulation import spec", "stands after it"),
        ("simulation.outcome", "import cascade_driver.simulation.spec", "stands after it"),
        ("errors", "from cascade_driver.units import AMU_MeV", "stands after it"),
        ("errors", "from cascade_driver.simulation import spec", "ground imports"),
        ("workflow", "from cascade_driver import cli", "edges imports only what stands before it"),
        ("simulation.cascade", "import lammps", "behind ['simulation.lammps_build']"),
        ("report", "from matplotlib.figure import Figure", "behind ['plot."),
        ("config", "import tomllib", "behind ['schema']"),
        ("workflow", "import argparse", "behind ['commands."),
        ("analysis.model", "from cascade_driver.simulation.spec import KnockOn", "analysis imports"),
        ("analysis.model", "from cascade_driver.campaign.rundir import RunDirectory", "analysis imports"),
        ("analysis.model", "from . import outcomes", "write it in full"),
        ("spectra.observe", "from cascade_driver.campaign.rundir import RunDirectory", "spectra imports"),
        ("spectra.observe", "from cascade_driver.simulation.crystal import CrystalSpec", "spectra imports"),
        ("sources.cevns", "from cascade_driver.analysis.model import StoredEnergyModel", "sources imports"),
        ("campaign.plan", "from cascade_driver.validation import zbl", "campaign imports"),
        ("relaxation.tls.glass", "from cascade_driver.relaxation.film import dynamics", "relaxation.tls imports"),
        (
            "relaxation.debris.path",
            "from cascade_driver.relaxation.tls.glass import x",
            "relaxation.debris imports",
        ),
        ("relaxation.film.spectrum", "from cascade_driver.relaxation import debris", "relaxation.film imports"),
        ("spectra.observe", "from cascade_driver.plot import spectra_figure", "spectra imports"),
        ("spectra.observe", "def draw(self):\n  from cascade_driver.plot import save_figure", "spectra imports"),
        ("spectra.observe", "def plot(self):\n  from cascade_driver.report import x", "spectra imports"),
        ("simulation.utils", "", "is no home"),
        ("simulation.surprise", "", "has no place"),
    ],
)
def test_negative_control_planted_violations_are_found(module, source, complaint):
    found = complaints(list(imports_of(module, source)), {module})
    assert any(complaint in one for one in found), found


def test_negative_control_what_is_allowed_is_not_complained_about():
    allowed = (
        "from cascade_driver.simulation.outcome import CascadeTable\nfrom cascade_driver.errors import FitError"
    )
    assert complaints(list(imports_of("analysis.outcomes", allowed)), {"analysis.outcomes"}) == []
    types = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from matplotlib.figure import Figure"
    assert complaints(list(imports_of("report", types)), {"report"}) == []
    drawing = "def plot(self):\n    from cascade_driver.plot import draw_spectrum"
    assert complaints(list(imports_of("spectrum", drawing)), {"spectrum"}) == []


def test_what_options_rest_on_loads_none_of_what_takes_long():
    """A wrong file is refused in the time that the options take; a fit, a box, a response load what they need."""
    light = ", ".join(
        f"cascade_driver.{name}" for name in ("config", "models", "spectra.detector", "commands.spectra")
    )
    heavy = (
        "scipy.optimize",
        "scipy.special",
        "scipy.spatial",
        "scipy.stats",
        "ase.build",
        "ase.io",
        "matplotlib",
    )
    script = f"import sys, {light}; print(*sorted(set({heavy!r}) & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
