"""A campaign whose truth is known: cascades drawn from a Fermi function and a distribution of stored energies."""

from dataclasses import replace

import numpy as np

from cascade_driver.analysis.defect_probability import FermiProbability
from cascade_driver.analysis.distribution import StoredEnergyDistribution
from cascade_driver.simulation.outcome import CascadeTable

FERMI = FermiProbability(half_energy_eV=50.0, width_eV=10.0)
LAW = StoredEnergyDistribution(
    shape="gaussian",
    reference_energy_eV=90.0,
    energy_scale_eV=70.0,
    lowest_energy_eV=20.0,
    location_eV=(8.0, 3.2),
    log_sigma=(float(np.log(3.0)), 0.4),
)
#: Simulated recoil energies in eV.
ENERGIES = (20.0, 40.0, 60.0, 81.0, 112.0, 160.0)


def simulate(
    rng,
    *,
    energies=ENERGIES,
    n_directions=16,
    n_snapshots=10,
    p=FERMI,
    law=LAW,
    spread=0.25,
    common=None,
    species="W",
):
    """Return the table of a campaign.

    `p` is the defect probability as a function of recoil energies in eV, `law` that of stored energies; `spread`
    is the variance of the direction weights over their mean squared, and `common` the share of cascades that end
    like the others of their direction.
    """
    direction = rng.normal(size=(n_directions, 3))
    direction /= np.linalg.norm(direction, axis=1)[:, None]
    weight = rng.gamma(1 / spread, size=n_directions) if spread else np.ones(n_directions)
    of = np.tile(np.repeat(np.arange(n_directions), n_snapshots), len(energies))
    energy = np.repeat(np.asarray(energies, dtype=float), n_directions * n_snapshots)
    n = len(energy)
    alike = np.zeros(n, dtype=bool) if common is None else rng.random(n) < common
    u = rng.random(n) if common is None else np.where(alike, rng.random(n_directions)[of], rng.random(n))
    stores = u < p(energy)
    return CascadeTable(
        id=np.array([f"{species}{i:015x}" for i in range(n)]),
        species=np.full(n, species),
        recoil_energy_eV=energy,
        direction=direction[of],
        direction_weight=(weight / weight.sum())[of],
        snapshot=np.tile(np.arange(n_snapshots), n // n_snapshots),
        outcome=np.full(n, "completed", dtype="U40"),
        stored_energy_eV=np.where(stores, law.quantile(rng.random(n), energy), 0.0),
    )


def model_of_replica(replicas, number, *, like):
    """Return one of `ParameterReplicas` as a `SpeciesModel`, with the simulated range of `like`."""
    return replace(
        like,
        defect_probability=FermiProbability(
            half_energy_eV=float(replicas.half_energy_eV[number]),
            width_eV=float(replicas.width_eV[number]),
            maximum=float(replicas.maximum[number]),
        ),
        distribution=StoredEnergyDistribution(
            shape=replicas.shape,
            reference_energy_eV=replicas.reference_energy_eV,
            energy_scale_eV=replicas.energy_scale_eV,
            lowest_energy_eV=replicas.lowest_energy_eV,
            location_eV=tuple(map(float, replicas.location_eV[number])),
            log_sigma=tuple(map(float, replicas.log_sigma[number])),
            asymmetry=tuple(map(float, replicas.asymmetry[number])),
        ),
        defect_probability_fit=None,
        distribution_fit=None,
    )
