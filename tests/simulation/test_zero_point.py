"""The quantum distribution of a harmonic crystal: closed forms, limits, laws, and draws that have them."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from scipy import constants

from cascade_driver.errors import InputError
from cascade_driver.simulation.descent import Stiffness, measure_stiffness
from cascade_driver.simulation.lammps_engine import LammpsEngine
from cascade_driver.simulation.potential import load_potential
from cascade_driver.simulation.spec import ThermalSpec
from cascade_driver.simulation.start import read_box, read_snapshot
from cascade_driver.simulation.zero_point import Vibrations, vibrations_of

#: amu A^2 / ps^2 and K in eV, of CODATA.
AMU_A2_PS2 = constants.atomic_mass * 1e4 / constants.e
KELVIN = constants.k / constants.e
HBAR_eV_ps = constants.hbar / constants.e * 1e12

SILICON = {
    "potential": "si-tersoff-zbl",
    "crystal": {"name": "Si", "repeats": [2, 2, 2]},
    "thermal": {"temperature_K": 0.02, "start": "quantum"},
}


def measured(cells: int) -> tuple[Stiffness, np.ndarray]:
    """Force constants of silicon (Tersoff) in a box, and the masses of its atoms."""
    cell = bulk("Si", "diamond", a=5.432, cubic=True)
    box = cell.repeat(cells)
    engine = LammpsEngine(potential=load_potential("si-tersoff-zbl"))
    try:
        engine.build(box)
        sites = engine.minimise(force_tolerance_eV_A=1e-8, max_iterations=1000).positions_A
        stiffness = measure_stiffness(
            engine, sites_A=sites, lengths_A=box.cell.lengths(), cell_A=cell.cell.lengths()
        )
    finally:
        engine.close()
    assert stiffness is not None
    return stiffness, box.get_masses()


@pytest.fixture(scope="module")
def silicon() -> tuple[Stiffness, np.ndarray]:
    return measured(3)


def springs(constants_eV_A2, cells=(4, 4, 4)) -> Stiffness:
    """One atom a cell, tied to its neighbour along x with one constant and to its site with another."""
    between, own = constants_eV_A2
    content = np.zeros((3, *cells, 3))
    for axis in range(3):
        content[axis, 0, 0, 0, axis] = 2 * between + own
        content[axis, 1, 0, 0, axis] -= between
        content[axis, -1, 0, 0, axis] -= between
    return Stiffness(force_constants_eV_A2=content, sites_A=np.zeros((int(np.prod(cells)), 3)))


def test_a_chain_has_the_frequencies_of_the_closed_form() -> None:
    # omega^2 = (k_0 + 4 k sin^2(q / 2)) / m, to the last digits
    found = Vibrations(stiffness=springs((3.0, 2.0)), masses_u=np.array([28.0]), temperature_K=0.0)
    q = 2 * np.pi * np.arange(4) / 4
    expected = np.sqrt((2.0 + 12.0 * np.sin(q / 2) ** 2) / 28.0 / AMU_A2_PS2)
    # the three translations are left out, whatever holds them
    np.testing.assert_allclose(found.frequencies_per_ps[1:, 1, 1, 0], expected[1:], rtol=1e-12)


@pytest.mark.parametrize("temperature_K", [0.0, 50.0, 300.0])
def test_each_spring_moves_by_the_closed_form(temperature_K: float) -> None:
    # u^2 = hbar / (2 m omega) coth(hbar omega / 2 k T) of springs that know nothing of each other
    found = vibrations_of(springs((0.0, 5.0)), masses_u=np.full(64, 28.0), temperature_K=temperature_K)
    omega = np.sqrt(5.0 / 28.0 / AMU_A2_PS2)
    coth = 1.0 if temperature_K == 0 else 1 / np.tanh(HBAR_eV_ps * omega / (2 * KELVIN * temperature_K))
    expected = HBAR_eV_ps / (2 * 28.0 * omega) * coth / AMU_A2_PS2
    # 63 of 64 waves: the box itself does not move
    assert found.mean_square_displacement_A2() == pytest.approx(np.full((1, 3), expected * 63 / 64), rel=1e-9)
    kinetic_K = HBAR_eV_ps * omega / 2 * coth / KELVIN
    assert found.kinetic_temperature_K == pytest.approx(kinetic_K, rel=1e-9)
    assert found.kinetic_temperatures_K() == pytest.approx([kinetic_K * 63 / 64], rel=1e-9)


def test_hot_crystals_are_classical(silicon: tuple[Stiffness, np.ndarray]) -> None:
    stiffness, masses = silicon
    hot = vibrations_of(stiffness, masses_u=masses, temperature_K=20_000.0)
    # 1 + (hbar omega / k T)^2 / 12 on average, below 1e-3
    assert hot.kinetic_temperature_K == pytest.approx(20_000, rel=1e-3)
    energy = KELVIN * 20_000 / AMU_A2_PS2
    moving = hot.frequencies_per_ps.ravel()[3:]
    classical = energy * np.sum(1 / moving**2) / (moving.size + 3) / masses[0]
    assert hot.mean_square_displacement_A2().mean() == pytest.approx(classical, rel=1e-3)
    # negative control: a cold one is not
    cold = vibrations_of(stiffness, masses_u=masses, temperature_K=100.0)
    assert cold.kinetic_temperature_K > 250


def test_silicon_moves_as_measured_but_for_the_stiffness_of_its_potential() -> None:
    # B = 8 pi^2 u^2 = 0.4613 +- 0.0027 A^2 at 293 K: Aldred & Hart 1973, doi:10.1098/rspa.1973.0018. A box lacks
    # long waves, a share that falls as 1 / L; Tersoff's silicon is a little too stiff
    B = {}
    for cells in (3, 4):
        vibrations = vibrations_of(*measured(cells)[:1], masses_u=measured(cells)[1], temperature_K=293.0)
        B[cells] = 8 * np.pi**2 * vibrations.mean_square_displacement_A2().mean()
    without_end = B[4] + 3 * (B[4] - B[3])
    assert without_end == pytest.approx(0.4613, rel=0.15)
    assert B[3] < B[4] < without_end


def test_zero_point_motion_is_at_least_what_the_mean_frequency_says(silicon: tuple[Stiffness, np.ndarray]) -> None:
    stiffness, masses = silicon
    found = vibrations_of(stiffness, masses_u=masses, temperature_K=0.0)
    moving = found.frequencies_per_ps.ravel()[3:]
    # <1 / omega> >= 1 / <omega>, and 3/8 of the Debye temperature of 645 K is 242 K
    least = HBAR_eV_ps / (2 * masses[0] * moving.mean()) / AMU_A2_PS2
    assert least < found.mean_square_displacement_A2().mean() < 1.5 * least
    assert found.kinetic_temperature_K == pytest.approx(242, rel=0.1)
    # a cubic site moves alike along all axes
    np.testing.assert_allclose(found.mean_square_displacement_A2(), found.mean_square_displacement_A2().mean())


def test_draws_have_the_variances_and_forget_nothing(silicon: tuple[Stiffness, np.ndarray]) -> None:
    stiffness, masses = silicon
    vibrations = vibrations_of(stiffness, masses_u=masses, temperature_K=0.0)
    rng = np.random.default_rng(5)
    drawn = [vibrations.draw(rng) for _ in range(60)]
    place, speed = (np.array(x) for x in zip(*drawn, strict=True))
    n = place.size
    # soft modes weigh more in u^2 than in the energy: 5 standard errors of independent numbers, twice
    tolerance = 10 * np.sqrt(2 / n)
    u2 = vibrations.mean_square_displacement_A2().mean()
    assert np.mean(place**2) == pytest.approx(u2, rel=tolerance)
    kinetic = masses[0] * np.mean(speed**2) * AMU_A2_PS2 / KELVIN * n / (n - 3 * 60)
    assert kinetic == pytest.approx(vibrations.kinetic_temperature_K, rel=tolerance)
    assert np.mean(place**2) != pytest.approx(1.1 * u2, rel=tolerance)  # negative control
    # the box as a whole neither moves nor lies elsewhere
    np.testing.assert_allclose(place.mean(axis=1), 0, atol=1e-12)
    np.testing.assert_allclose(speed.mean(axis=1), 0, atol=1e-9)
    # places and velocities know nothing of each other
    assert abs(np.corrcoef(place.ravel(), speed.ravel())[0, 1]) < 5 / np.sqrt(n)


def test_neighbours_move_together_as_the_modes_say() -> None:
    vibrations = Vibrations(stiffness=springs((3.0, 0.5)), masses_u=np.array([28.0]), temperature_K=0.0)
    rng = np.random.default_rng(7)
    place = np.array([vibrations.draw(rng)[0] for _ in range(400)]).reshape(400, 4, 4, 4, 3)
    together = np.mean(place * np.roll(place, 1, axis=1)) / np.mean(place**2)
    omega = vibrations.frequencies_per_ps[..., 0]
    with np.errstate(divide="ignore"):
        weight = np.where(omega > 0, 1 / omega, 0.0)
    q = 2 * np.pi * np.arange(4)[:, None, None] / 4
    assert together == pytest.approx(np.sum(weight * np.cos(q)) / weight.sum(), abs=0.02)


def test_a_crystal_that_falls_apart_has_no_distribution() -> None:
    with pytest.raises(InputError, match="a mode without restoring force"):
        Vibrations(stiffness=springs((-1.0, 1.0)), masses_u=np.array([28.0]), temperature_K=0.0)
    with pytest.raises(InputError, match="give a temperature of at least 0"):
        Vibrations(stiffness=springs((1.0, 1.0)), masses_u=np.array([28.0]), temperature_K=-1.0)


def test_a_quantum_start_is_drawn_and_quenches_back_to_the_crystal(make_laboratory) -> None:
    laboratory = make_laboratory(snapshots=2, **SILICON)
    box, first, second = (read_box(laboratory.starts), *(read_snapshot(laboratory.starts, i) for i in (0, 1)))
    for snapshot in (first, second):
        assert snapshot.reference_energy_eV == pytest.approx(box.potential_energy_eV, abs=1e-5)
        assert snapshot.temperature_K == pytest.approx(264, abs=2)  # by another 2 x 2 x 2 box, above
    assert first.state_sha256 != second.state_sha256
    engine = LammpsEngine(potential=load_potential("si-tersoff-zbl"))
    try:
        energies = []
        for snapshot in (first, second):
            engine.read(snapshot.state, periodic=box.periodic, held=())
            place, speed = engine.state()
            moved = place - box.positions_A
            kinetic = 0.5 * 28.085 * np.sum(speed**2) * AMU_A2_PS2
            energies.append((engine.potential_energy_eV() - box.potential_energy_eV, kinetic))
            assert 0.001 < np.mean(moved**2) < 0.004
    finally:
        engine.close()
    # 189 modes of (3/2) k 264 K between potential and kinetic energy, five standard errors
    expected = 0.5 * 189 * KELVIN * 264
    assert np.array(energies) == pytest.approx(expected, rel=5 * np.sqrt(2 / 189))


def test_a_classical_start_keeps_its_name(make_laboratory) -> None:
    plain = ThermalSpec(temperature_K=50.0)
    assert "start" not in plain.content
    assert ThermalSpec(temperature_K=50.0, start=None).content == plain.content
    assert ThermalSpec(temperature_K=50.0, start="quantum").content != plain.content


@pytest.mark.parametrize("given", [{}, {"temperature": "zero-point-energy", "debye_temperature_K": 645.0}])
def test_a_quantum_start_wants_the_real_temperature(given) -> None:
    with pytest.raises(InputError, match="give the real temperature_K"):
        ThermalSpec(start="quantum", **given)
