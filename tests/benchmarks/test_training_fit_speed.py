"""How long a fit takes: rows of a box of 96 atoms, their normal equations, the solution.

CPU time of one process: with 6300 coefficients 0.29 s a frame of 96 atoms, 0.19 s with 4400, rows being 0.04
and the core in LAMMPS 0.05 s; a solution 3 s. So 800 frames take three minutes, a cross-validation a quarter more.
"""

import time

import numpy as np
import pytest

from cascade_driver.simulation.crystal import CrystalSpec, assemble, constituents
from cascade_driver.simulation.potential import ZblSwitch, element_pairs
from cascade_driver.training.frames import LabelledFrame
from cascade_driver.training.linear import Weights, accumulate, observe, solve
from cascade_driver.training.splines import SplineForm
from cascade_driver.training.zbl_core import core_calculator

pytestmark = pytest.mark.benchmark

SPECIES = ("Ca", "W", "O")
PAIRS = ["-".join(pair) for pair in element_pairs(SPECIES)]


def test_a_frame_takes_a_fraction_of_a_second(tmp_path):
    zbl = {name: ZblSwitch(inner_A=1.0, outer_A=1.8) for name in PAIRS}
    form = SplineForm(
        species=SPECIES,
        zbl=zbl,
        leg_knot_A=dict.fromkeys(PAIRS, 0.35) | {"W-O": 0.18},
        far_knot_A=dict.fromkeys(PAIRS, 0.5),
    )
    core = core_calculator(tmp_path, species=SPECIES, zbl=zbl)
    random = np.random.default_rng(1)
    frames = []
    spec = CrystalSpec(name="CaWO4", minimum_atoms=96)
    for _ in range(6):
        atoms = assemble(spec, constituents(spec))
        atoms.positions += random.normal(scale=0.1, size=(len(atoms), 3))
        forces = random.normal(size=(len(atoms), 3))
        frames.append(LabelledFrame(atoms=atoms, energy_eV=0.0, forces_eV_per_A=forces, trajectory="a"))
    form.rows(frames[0].atoms)  # compiles
    began = time.process_time()
    moments = accumulate((observe(f, form, core=core, weights=Weights()) for f in frames), size=form.size)
    gathered = time.process_time()
    solve(moments, penalties=form.penalties(), strengths={p.name: 1.0 for p in form.penalties()})
    solved = time.process_time()
    each = (gathered - began) / len(frames)
    print(
        f"{form.size} coefficients, {len(atoms)} atoms: {each:.2f} s a frame, {solved - gathered:.1f} s to solve"
    )
    assert each < 2.0
