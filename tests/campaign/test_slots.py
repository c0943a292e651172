"""What a process of a task costs: nothing but its task."""

import dataclasses
import pickle
import subprocess
import sys

from fake_engine import POTENTIAL, a_campaign, a_run

from cascade_driver.campaign.task import Task, Workshop
from cascade_driver.schema import plain
from cascade_driver.simulation.potential import load_potential
from cascade_driver.simulation.spec import FollowSpec, ThermalSpec

#: Does what a forked process does, in one whose modules are those of the fork server.
CHILD = """
import pickle, sys
import cascade_driver.campaign._fork_server
there = set(sys.modules)
with open(sys.argv[1], "rb") as stream:
    workshop, tasks = pickle.load(stream)
rows = [workshop.perform(task) for task in tasks]
assert rows[-1].outcome == "completed", rows[-1]
print(*sorted(set(sys.modules) - there))
"""


def test_a_task_finds_in_the_fork_server_all_modules_that_it_needs(tmp_path):
    """Else each cascade would load them anew: a third of a second for those of scipy."""
    campaign = a_campaign(directions=1, snapshots=1, repeats=(4, 4, 4))
    short = dataclasses.replace(
        campaign.protocol,
        thermal=ThermalSpec(temperature_K=50, equilibration_ps=0.02, snapshot_interval_ps=0.02),
        follow=FollowSpec(duration_ps=0.1, max_displacement_A=0.02),
    )
    campaign = dataclasses.replace(campaign, protocol=short)
    run = a_run(tmp_path / "run", campaign)
    workshop = Workshop(
        run=run.path, protocol=plain(short), potential=load_potential(POTENTIAL).folder, time_limit_s=60
    )
    (cascade,) = campaign.cascades()
    tasks = [Task(name="box"), Task(name="start", snapshot=0), Task(name=cascade.id, cascade=cascade)]
    (tmp_path / "work").write_bytes(pickle.dumps((workshop, tasks)))
    child = [sys.executable, "-c", CHILD, str(tmp_path / "work")]
    done = subprocess.run(child, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    late = [
        name
        for name in done.stdout.split()
        if name.partition(".")[0] in ("ase", "numpy", "scipy", "cascade_driver")
    ]
    assert late == []
