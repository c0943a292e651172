"""Whole campaigns with real LAMMPS: CPU and wall time per cascade by executor and number of processes.

The difference between a campaign of many cascades and one of few leaves their common start out. CPU time is that
of all processes together, orphans too: what a cascade's own process does not report itself (`cost.cpu_s`) is the
driver's. It depends little on what else the machine does; wall time and rate do.

Measured on two cores shared with twenty other processes, ms of CPU per cascade (512 atoms of silicon, 0.01 ps):

==============  =====  ===============  ============  =============
                all    its own process  the driver's  start, once
==============  =====  ===============  ============  =============
1 process       218    161              58            3.3 s
2 processes     207    156              51            3.5 s
dask, 1 worker  310    170              140           13 s
==============  =====  ===============  ============  =============

Dask looks at scheduler and run directory once per second, so that a part of its share grows with the time that a
campaign takes and not with its cascades; wall times of that day say nothing.
"""

import json
import os
import subprocess
import sys

import pytest

from cascade_driver.campaign.rundir import RunDirectory

pytestmark = pytest.mark.benchmark

FEW, MANY = 4, 18

INPUT = """
[crystal]
name = "Si"
repeats = [4, 4, 4]
[potential]
name = "si-tersoff-zbl"
[thermal]
equilibration_ps = 0.05
snapshot_interval_ps = 0.02
[follow]
duration_ps = {duration_ps}
max_displacement_A = 0.05
max_timestep_fs = 2
[[recoils]]
species = "Si"
recoil_energies_eV = [20]
directions = {{ scheme = "symmetry", count = {count} }}
snapshots = 1
"""

#: Runs a command, adopts what it leaves behind, and tells the CPU and wall time of all of it.
_METER = """
import ctypes, json, os, resource, subprocess, sys, time
ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER
began = time.perf_counter()
done = subprocess.run(sys.argv[1:], capture_output=True, text=True)
wall_s = time.perf_counter() - began
while True:
    try:
        os.wait()
    except ChildProcessError:
        break
used = resource.getrusage(resource.RUSAGE_CHILDREN)
assert done.returncode == 0, done.stderr
print(json.dumps({"cpu_s": used.ru_utime + used.ru_stime, "wall_s": wall_s}))
"""


def metered(folder, *, count: int, duration_ps: float, arguments: list[str]) -> dict[str, float]:
    folder.mkdir()
    (folder / "x.toml").write_text(INPUT.format(count=count, duration_ps=duration_ps))
    program = "import sys; from cascade_driver.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "run", str(folder / "x.toml"), "--out", str(folder / "run")]
    meter = [sys.executable, "-c", _METER, *command, *arguments]
    said = json.loads(subprocess.run(meter, capture_output=True, text=True, check=True).stdout)
    run = RunDirectory(folder / "run")
    costs = [run.record(name).cost for name in run.finished()]
    assert len(costs) == count
    return said | {"own_s": sum(c["cpu_s"] for c in costs)}


def per_cascade(folder, **settings) -> dict[str, float]:
    """Seconds per cascade, the start of the campaign left out."""
    folder.mkdir()
    few, many = (metered(folder / str(n), count=n, **settings) for n in (FEW, MANY))
    each = {key: (many[key] - few[key]) / (MANY - FEW) for key in few}
    return each | {"start_cpu_s": few["cpu_s"] - FEW * each["cpu_s"]}


def test_cost_per_cascade_of_driver_and_dask(tmp_path, capsys):
    ways = {
        "1 process": ["--workers", "1"],
        "2 processes": ["--workers", "2"],
        "dask, 1 worker": ["--workers", "1", "--executor", "dask"],
    }
    found = {}
    for number, (name, arguments) in enumerate(ways.items()):
        if "dask" in name:
            pytest.importorskip("distributed", reason="needs the extra `dask`")
        found[name] = per_cascade(tmp_path / str(number), duration_ps=0.01, arguments=arguments)
    with capsys.disabled():
        print(f"\nload {os.getloadavg()[0]:.1f}")
        for name, each in found.items():
            print(
                f"{name}: {1e3 * each['cpu_s']:.0f} ms CPU per cascade, {1e3 * each['own_s']:.0f} its own, "
                f"{1e3 * (each['cpu_s'] - each['own_s']):.0f} the driver's; {1e3 * each['wall_s']:.0f} ms wall; "
                f"start {each['start_cpu_s']:.1f} s CPU"
            )
    for each in found.values():
        assert each["cpu_s"] - each["own_s"] < 0.3


def test_two_processes_against_one(tmp_path, capsys):
    """The ratio of rates needs two idle cores; that of CPU times shows what processes do to each other."""
    one, two = (per_cascade(tmp_path / f"p{n}", duration_ps=0.2, arguments=["--workers", str(n)]) for n in (1, 2))
    with capsys.disabled():
        print(
            f"\nload {os.getloadavg()[0]:.1f}; cascades per hour {3600 / one['wall_s']:.0f} with one process, "
            f"{3600 / two['wall_s']:.0f} with two, ratio {one['wall_s'] / two['wall_s']:.2f}; "
            f"CPU per cascade {one['cpu_s']:.2f} s and {two['cpu_s']:.2f} s"
        )
    # Hyper-threads and a shared cache cost; the driver must not add to that.
    assert two["cpu_s"] < 2 * one["cpu_s"]
