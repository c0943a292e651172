"""What several test files need: a small crystal with its thermal starting states, and cascades in it."""

import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from cascade_driver.plot import style
from cascade_driver.schema import build
from cascade_driver.simulation.cascade import Result, run_cascade
from cascade_driver.simulation.lammps_engine import LammpsEngine
from cascade_driver.simulation.potential import Potential, load_potential
from cascade_driver.simulation.spec import CascadeSpec, KnockOn, Protocol
from cascade_driver.simulation.start import make_box, make_snapshot

# No test judges by the clock: machines are loaded.
# The same examples on every run: a failure is the commit's. `--hypothesis-profile search` looks for new ones.
settings.register_profile("patient", deadline=None, derandomize=True)
settings.register_profile("search", deadline=None, max_examples=1000)
settings.load_profile("patient")


def pytest_configure(config: pytest.Config) -> None:
    """Give all tests a cache of their own, shared by the processes of one session; figures keep their fonts.

    A processor for each of these processes, as the command does it: threads of linear algebra that wait for one
    another where others are at work, too, take three times the processor time, and ten times as long.
    """
    if "PYTEST_XDIST_WORKER" in os.environ:
        return
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    os.environ.setdefault("MPLCONFIGDIR", str(home / "matplotlib"))
    cache = tempfile.TemporaryDirectory(prefix="cascade-tests-")
    config.add_cleanup(cache.cleanup)
    os.environ["XDG_CACHE_HOME"] = cache.name


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One more than there are processors: tests of campaigns wait for processes of their own."""
    del config
    return len(os.sched_getaffinity(0)) + 1


@pytest.fixture(autouse=True)
def _environment_of_its_own() -> Iterator[None]:
    """The command sets variables for the processes that it starts; the next test begins without them."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(autouse=True, scope="session")
def embedded_fonts() -> Iterator[int]:
    """Figures of the tests draw their letters: to embed a font costs half a second for each figure.

    Returns how figures embed fonts outside the tests (`pdf.fonttype`).
    """
    with pytest.MonkeyPatch.context() as patch:
        usual = style._STYLE["pdf.fonttype"]
        patch.setitem(style._STYLE, "pdf.fonttype", 3)
        yield usual


@dataclass(frozen=True, kw_only=True)
class Laboratory:
    """A protocol, its potential, and the folder of its starting states."""

    protocol: Protocol
    potential: Potential
    starts: Path

    def engine(self, **settings: Any) -> LammpsEngine:
        return LammpsEngine(potential=self.potential, **settings)

    def prepare(self, *, snapshots: int) -> None:
        make_box(self.protocol, self.starts, self.engine)
        for index in range(snapshots):
            make_snapshot(self.protocol, index, self.starts, self.engine)

    def spec(
        self,
        *,
        species: str,
        recoil_energy_eV: float,
        direction: tuple[float, float, float] = (0.6, 0.0, 0.8),
        snapshot: int = 0,
        seed: int = 1,
        region: int | None = None,
        follow: dict[str, Any] | None = None,
    ) -> CascadeSpec:
        """A cascade of this laboratory; what `follow` names replaces what its protocol has."""
        knock_on = KnockOn(species=species, region=region, direction=direction, recoil_energy_eV=recoil_energy_eV)
        return CascadeSpec(
            protocol=with_follow(self.protocol, follow), snapshot=snapshot, knock_on=knock_on, seed=seed
        )

    def run(self, spec: CascadeSpec, *, make_engine: Callable[[], Any] | None = None) -> Result:
        return run_cascade(spec, starts=self.starts, make_engine=make_engine or self.engine)


def with_follow(protocol: Protocol, follow: dict[str, Any] | None) -> Protocol:
    import dataclasses

    if not follow:
        return protocol
    return dataclasses.replace(protocol, follow=dataclasses.replace(protocol.follow, **follow))


MakeLaboratory = Callable[..., Laboratory]


@pytest.fixture(scope="session")
def make_laboratory(tmp_path_factory: pytest.TempPathFactory) -> MakeLaboratory:
    """Returns a function that makes a laboratory, with as many snapshots as asked for."""

    def make(*, potential: str, snapshots: int = 1, seed: int = 1, **sections: Any) -> Laboratory:
        loaded = load_potential(potential)
        content = {
            "potential_name": loaded.name,
            "potential_digest": loaded.digest,
            "campaign_seed": seed,
            **sections,
        }
        protocol = build(Protocol, content, origin="laboratory")
        starts = tmp_path_factory.mktemp("starts")
        laboratory = Laboratory(protocol=protocol, potential=loaded, starts=starts)
        laboratory.prepare(snapshots=snapshots)
        return laboratory

    return make


@pytest.fixture(scope="session")
def silicon(make_laboratory: MakeLaboratory) -> Laboratory:
    """216 atoms of silicon at 133 K: the cheapest crystal on the real engine."""
    return make_laboratory(
        potential="si-tersoff-zbl",
        snapshots=2,
        crystal={"name": "Si", "repeats": [3, 3, 3]},
        thermal={"equilibration_ps": 0.3, "snapshot_interval_ps": 0.1},
        follow={"duration_ps": 0.3, "max_displacement_A": 0.02, "max_timestep_fs": 2},
    )


@pytest.fixture(scope="session")
def scheelite(make_laboratory: MakeLaboratory) -> Laboratory:
    """96 atoms of CaWO4 at 133 K, the crystal of the project."""
    return make_laboratory(
        potential="cawo4-pbe-spline",
        crystal={"name": "CaWO4", "repeats": [2, 2, 1]},
        thermal={"equilibration_ps": 0.1, "snapshot_interval_ps": 0.05},
        follow={"duration_ps": 0.3, "max_displacement_A": 0.03, "max_timestep_fs": 2},
    )
