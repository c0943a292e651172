"""Thermal starting states: a chain that only grows, quenches back to its crystal, and shows what was altered."""

import dataclasses
import re

import ase.io
import numpy as np
import pytest
from ase.build import bulk
from scipy.integrate import quad

from cascade_driver.errors import InputError, RecordError
from cascade_driver.files import data_folder
from cascade_driver.simulation.spec import ZERO_POINT_TEMPERATURE_CAWO4_K
from cascade_driver.simulation.start import has_snapshot, make_box, make_snapshot, read_box, read_snapshot

SECTIONS = {
    "potential": "si-tersoff-zbl",
    "crystal": {"name": "Si", "repeats": [2, 2, 2]},
    "thermal": {"temperature_K": 242, "equilibration_ps": 0.1, "snapshot_interval_ps": 0.05},
}


@pytest.fixture(scope="module")
def long_chain(make_laboratory):
    return make_laboratory(snapshots=3, **SECTIONS)


def test_the_box_has_the_lattice_constant_of_the_potential(long_chain):
    box = read_box(long_chain.starts)
    # Tersoff, Phys. Rev. B 38, 9902 (1988): 5.432 angstrom, half a unit of the last digit.
    assert box.cells_A["Si"] == pytest.approx([5.432] * 3, abs=5e-4)
    assert box.cells_A["Si"][0] == box.cells_A["Si"][1] == box.cells_A["Si"][2]
    assert box.lengths_A == pytest.approx(2 * np.array(box.cells_A["Si"]), abs=1e-12)
    assert len(box.symbols) == 64
    assert box.potential_energy_eV / 64 == pytest.approx(-4.63, abs=5e-3)


def test_a_crystal_that_relaxes_into_another_is_refused(make_laboratory, tmp_path):
    file = tmp_path / "half.vasp"  # silicon of half its lattice constant would become silicon as it is
    ase.io.write(file, bulk("Si", a=5.431 / 2, cubic=True))
    crystal = {"file": str(file), "repeats": [4, 4, 4]}
    with pytest.raises(InputError, match=r"a cell of 2\.716 x 2\.716 x 2\.716 A relaxes to 5\.43"):
        make_laboratory(snapshots=0, **SECTIONS | {"crystal": crystal})


def test_without_relaxation_the_edges_stay_as_given(make_laboratory):
    crystal = SECTIONS["crystal"] | {"relax_cell": False}
    laboratory = make_laboratory(snapshots=0, **SECTIONS | {"crystal": crystal})
    assert read_box(laboratory.starts).lengths_A == pytest.approx([2 * 5.431] * 3, abs=1e-12)


def test_a_chain_that_is_extended_is_the_longer_chain_to_the_byte(make_laboratory, long_chain):
    short = make_laboratory(snapshots=1, **SECTIONS)
    before = {p.name: p.read_bytes() for p in short.starts.iterdir()}
    short.prepare(snapshots=3)
    for name, content in before.items():
        assert (short.starts / name).read_bytes() == content, "what existed must stay"
    for index in range(3):
        name = f"{index:03d}.data"
        assert (short.starts / name).read_bytes() == (long_chain.starts / name).read_bytes()
        mine, other = (read_snapshot(x.starts, index) for x in (short, long_chain))
        assert mine.reference_energy_eV == other.reference_energy_eV
        assert mine.reference_positions_A.tobytes() == other.reference_positions_A.tobytes()


def test_negative_control_another_seed_gives_another_chain(make_laboratory, long_chain):
    other = make_laboratory(snapshots=1, seed=2, **SECTIONS)
    assert (other.starts / "000.data").read_bytes() != (long_chain.starts / "000.data").read_bytes()
    assert other.protocol.start_id != long_chain.protocol.start_id


def test_each_snapshot_quenches_back_to_the_crystal(long_chain):
    box = read_box(long_chain.starts)
    for index in range(3):
        snapshot = read_snapshot(long_chain.starts, index)
        assert snapshot.reference_energy_eV == pytest.approx(box.potential_energy_eV, abs=1e-6)
        drift = np.median(snapshot.reference_positions_A - box.positions_A, axis=0)
        # sqrt(2 dE / k) with dE < 1e-6 eV and the softest modes of some 0.1 eV/A^2.
        assert np.abs(snapshot.reference_positions_A - box.positions_A - drift).max() < 0.01


def test_snapshots_have_the_temperature_that_was_asked_for(long_chain):
    # Means over 0.05 ps of 64 atoms: 242 K sqrt(2 / 192) = 25 K each; four of these. Negative control: 484 K, the
    # temperature of the first velocities, is farther away.
    for index in range(3):
        assert read_snapshot(long_chain.starts, index).temperature_K == pytest.approx(242, abs=100)


def test_nothing_is_made_twice(long_chain):
    stamps = {p: p.stat().st_mtime_ns for p in long_chain.starts.iterdir()}
    long_chain.prepare(snapshots=3)
    assert {p: p.stat().st_mtime_ns for p in long_chain.starts.iterdir()} == stamps
    assert has_snapshot(long_chain.starts, 2)
    assert not has_snapshot(long_chain.starts, 3)


def test_no_partial_file_is_left(long_chain):
    assert not [p for p in long_chain.starts.iterdir() if p.name.startswith(".")]


def test_a_crystal_that_melts_is_refused(make_laboratory):
    thermal = SECTIONS["thermal"] | {"temperature_K": 5000, "equilibration_ps": 0.5}
    with pytest.raises(InputError, match="not stable at this temperature in this potential"):
        make_laboratory(snapshots=1, **SECTIONS | {"thermal": thermal})


@pytest.mark.parametrize("name", ["box.npz", "001.npz"])
def test_a_damaged_file_is_told(long_chain, tmp_path, name):
    for file in long_chain.starts.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:200])
    with pytest.raises(RecordError, match="damaged"):
        read_box(tmp_path) if name == "box.npz" else read_snapshot(tmp_path, 1)


def test_a_missing_file_is_told(long_chain, tmp_path):
    with pytest.raises(RecordError, match="missing"):
        read_box(tmp_path)
    other = dataclasses.replace(long_chain, starts=tmp_path)
    make_box(other.protocol, tmp_path, other.engine)
    make_snapshot(other.protocol, 0, tmp_path, other.engine)
    (tmp_path / "000.data").unlink()
    with pytest.raises(RecordError, match="missing or altered"):
        read_snapshot(tmp_path, 0)


def debye_mean(law):
    """Mean of law(x) over the modes of a Debye solid, x = omega / omega_D, with density 3 x^2."""
    return quad(lambda x: 3 * x**2 * law(x), 0, 1)[0]


#: In units of the Debye temperature: where k T equals the mean of hbar omega / 2, and where k T <1/omega^2> / M
#: equals hbar <1/omega> / (2 M).
EQUAL_ENERGY = debye_mean(lambda x: x / 2)
EQUAL_WIDTH = debye_mean(lambda x: 1 / (2 * x)) / debye_mean(lambda x: 1 / x**2)


def test_classical_vibrations_have_the_zero_point_energy_at_3_8_and_its_width_at_1_4_of_the_debye_temperature():
    assert pytest.approx(3 / 8) == EQUAL_ENERGY
    assert pytest.approx(1 / 4) == EQUAL_WIDTH
    assert np.sqrt(EQUAL_ENERGY / EQUAL_WIDTH) == pytest.approx(1.2247, abs=1e-4)
    # 354 K: doi:10.1103/PhysRevB.70.214306.
    assert pytest.approx(EQUAL_ENERGY * 354, abs=0.5) == ZERO_POINT_TEMPERATURE_CAWO4_K


def test_shipped_inputs_start_with_the_zero_point_energy_that_they_name():
    # Debye temperatures: CaWO4 as above; Si 645 K, Al 428 K (Kittel, Introduction to Solid State Physics, ch. 5).
    debye_K = {"CaWO4": 354, "Si": 645, "Al": 428}
    seen = 0
    for path in data_folder("inputs").glob("*.toml"):
        line = re.search(r"^temperature_K = (\d+) # 3/8 of the Debye temperature", path.read_text(), re.MULTILINE)
        if line:
            seen += 1
            assert min(abs(int(line[1]) - EQUAL_ENERGY * K) for K in debye_K.values()) <= 0.5, path.name
    assert seen >= 8
    assert not [p.name for p in data_folder("inputs").glob("*.toml") if "as wide as" in p.read_text()]
