"""One cascade is one process that talks to nobody: MPI opens no port, and the environment stays as it was."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SOCKETS = """
from pathlib import Path
import os
LOOPBACK = {"0100007F", "00000000000000000000000001000000"}
def listening():
    "Return (protocol, local address in hexadecimal) of this process' sockets that other machines can reach."
    mine = set()
    for link in Path("/proc/self/fd").iterdir():
        try:
            mine.add(os.readlink(link))
        except OSError:
            pass
    found = []
    for protocol in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path("/proc/self/net", protocol).read_text().splitlines()[1:]:
            words = line.split()
            if f"socket:[{words[9]}]" in mine and words[1].split(":")[0] not in LOOPBACK:
                found.append((protocol, words[1]))
    return found
"""


ENGINE = "from cascade_driver.simulation.lammps_engine import LammpsEngine as E; e = E(potential=p)"
POINTS = "from cascade_driver.simulation.lammps_engine import SinglePoints as S; e = S(species='Si', commands=[])"
CALCULATOR = (
    "from cascade_driver.validation.calculator import calculator; from ase.build import bulk; e = bulk('Si');"
    "e.calc = calculator(p); e.get_potential_energy()"
)


def told(program: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", SOCKETS + program],
        capture_output=True,
        text=True,
        check=False,
        env={k: v for k, v in os.environ.items() if not k.startswith(("UCX_", "FI_", "MPIR_"))} | environment,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.skipif(not Path("/proc/self/net/tcp").exists(), reason="needs Linux")
@pytest.mark.parametrize(
    ("make", "environment"),
    [
        (ENGINE, {}),
        (ENGINE, {"UCX_TLS": "tcp,self", "MPIR_CVAR_CH4_NETMOD": "ofi"}),
        (POINTS, {}),
        (CALCULATOR, {}),
    ],
    ids=["engine", "engine where a site has set a network", "single points", "calculator"],
)
def test_nothing_listens_while_lammps_is_there(make, environment):
    program = "from cascade_driver.simulation import potential; p = potential.load_potential('si-tersoff-zbl');"
    program += f"before = dict(os.environ);{make};after = dict(os.environ)\n"
    program += "print(listening(), [k for k in {**before, **after} if k.startswith(('UCX', 'FI_', 'MPI')) and "
    program += "before.get(k) != after.get(k)])"
    assert told(program, **environment) == "[] []"


def test_negative_control_mpi_left_to_itself_listens():
    program = """
from cascade_driver.simulation import lammps_build
lammps_build.start_mpi = lambda: None
lammps_build.new_instance()
print(listening())
"""
    found = told(program)
    if found == "[]":
        pytest.skip("this MPI listens nowhere")
    assert "tcp" in found
