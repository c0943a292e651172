"""What a classical crystal of 133 K stands for in CaWO4: the kinetic energy of W and Ca, and the width of O."""

import numpy as np
import pytest

from cascade_driver.simulation.crystal import CrystalSpec, assemble, constituents
from cascade_driver.simulation.descent import Stiffness, measure_stiffness
from cascade_driver.simulation.lammps_engine import LammpsEngine
from cascade_driver.simulation.potential import load_potential
from cascade_driver.simulation.zero_point import vibrations_of

pytestmark = pytest.mark.physics

#: 3/8 of the Debye temperature, 354 K (Soum-Sidikov et al. 2024).
CLASSICAL_K = 133.0
#: So hot that all modes are classical.
HOT_K = 20_000.0


@pytest.fixture(scope="module", params=["cawo4-pbe-spline", "cawo4-pbe-accurate"])
def modes(request: pytest.FixtureRequest) -> tuple[Stiffness, np.ndarray, np.ndarray]:
    """Force constants of a box of 768 atoms, their masses, and the species of one cell."""
    crystal = CrystalSpec(name="CaWO4", repeats=(4, 4, 2))
    cells = constituents(crystal)
    (cell,) = cells.values()
    box = assemble(crystal, cells)
    engine = LammpsEngine(potential=load_potential(request.param))
    try:
        engine.build(box)
        sites = engine.minimise(force_tolerance_eV_A=1e-7, max_iterations=2000).positions_A
        stiffness = measure_stiffness(
            engine, sites_A=sites, lengths_A=box.cell.lengths(), cell_A=cell.cell.lengths()
        )
    finally:
        engine.close()
    assert stiffness is not None
    return stiffness, box.get_masses(), np.array(cell.get_chemical_symbols())


def test_133_K_has_the_kinetic_energy_of_tungsten_and_the_width_of_oxygen_and_no_others(modes) -> None:
    stiffness, masses_u, species = modes
    zero_point, hot = (vibrations_of(stiffness, masses_u=masses_u, temperature_K=t) for t in (0.0, HOT_K))
    width = {
        s: zero_point.mean_square_displacement_A2()[species == s].mean()
        / (hot.mean_square_displacement_A2()[species == s].mean() * CLASSICAL_K / HOT_K)
        for s in ("W", "Ca", "O")
    }
    kinetic_K = {s: zero_point.kinetic_temperatures_K()[species == s].mean() for s in ("W", "Ca", "O")}
    assert kinetic_K["W"] == pytest.approx(CLASSICAL_K, rel=0.05)
    assert width["O"] == pytest.approx(1.0, rel=0.15)
    assert 300 < kinetic_K["O"] < 350
    assert width["W"] < 0.45
    # all modes have their share: the mean over the atoms is that over the modes, but for 3 translations of 2304
    mean_K = zero_point.kinetic_temperatures_K().mean()
    assert mean_K == pytest.approx(zero_point.kinetic_temperature_K, rel=2e-3)
