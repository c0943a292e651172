"""A form of splines that has every kind of term, and boxes without symmetry."""

import numpy as np
from ase import Atoms

from cascade_driver.simulation.potential import ZblSwitch
from cascade_driver.training.splines import Density, Embedding, SplineForm

SPECIES = ("Al", "O")
ZBL = {
    "Al-Al": ZblSwitch(inner_A=1.2, outer_A=2.2),
    "Al-O": ZblSwitch(inner_A=0.9, outer_A=1.6),
    "O-O": ZblSwitch(inner_A=0.9, outer_A=1.7),
}
PAIRWISE = dict.fromkeys(ZBL, 0.6)
SPLINES = SplineForm(
    species=SPECIES,
    zbl=ZBL,
    two_body_cutoff_A=5.0,
    two_body_knot_A=0.3,
    three_body_cutoff_A=3.2,
    # Legs with more knots than the third side would make LAMMPS write beyond an array.
    leg_knot_A=PAIRWISE | {"Al-O": 0.25},
    far_knot_A=PAIRWISE | {"O-O": 1.5},
    embedding=(
        Embedding(
            densities={
                "Al by O": Density(inner_A=1.2, outer_A=2.8),
                "O by Al": Density(inner_A=1.2, outer_A=3.4, weight=1.5),
            },
            largest_density={"Al": 4.0, "O": 5.0},
        ),
        Embedding(densities={"O by O": Density(inner_A=1.1, outer_A=4.0)}, largest_density={"O": 1.0}, knot=0.4),
    ),
)


def crowd(seed: int, *, atoms: int = 10, nearest_A: float = 1.3) -> Atoms:
    """A random box of a skewed, even left-handed shape: all distances, no symmetry that could hide an error."""
    random = np.random.default_rng(seed)
    cell = np.array([[5.2, 0.3, -0.4], [0.8, 4.9, 0.2], [-0.5, 0.9, -5.4]])
    placed: list[np.ndarray] = []
    while len(placed) < atoms:
        trial = random.random(3) @ cell
        box = Atoms("H" * (len(placed) + 1), positions=[*placed, trial], cell=cell, pbc=True)
        if not placed or box.get_distances(-1, range(len(placed)), mic=True).min() > nearest_A:
            placed.append(trial)
    return Atoms([SPECIES[k % 2] for k in range(atoms)], positions=placed, cell=cell, pbc=True)
