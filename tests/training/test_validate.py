"""Validation of potentials: silicon of Tersoff against what its author printed, labels against themselves."""

import dataclasses
import json
import math

import numpy as np
import pytest
from ase.build import bulk

from cascade_driver.cli import main
from cascade_driver.errors import InputError
from cascade_driver.simulation.lammps_engine import LammpsEngine
from cascade_driver.simulation.potential import load_potential
from cascade_driver.training.frames import LabelledFrame, write_frames
from cascade_driver.training.propose import strained
from cascade_driver.training.validate import Bench, _printed_words, debye_temperature_K, frame_errors, validate
from cascade_driver.validation.calculator import calculator


@pytest.fixture(scope="module")
def potential():
    return load_potential("si-tersoff-zbl")


def labelled(potential, *, count=4, shift_eV=0.0, force_error=0.0):
    frames = []
    for number, atoms in enumerate(strained(bulk("Si", cubic=True), strain=0.02, count=count, rattle_A=0.05)):
        copy = atoms.copy()
        copy.calc = calculator(potential)
        frames.append(
            LabelledFrame(
                atoms=atoms,
                energy_eV=float(copy.get_potential_energy()) + shift_eV * len(copy),
                forces_eV_per_A=copy.get_forces() + force_error,
                group="even" if number % 2 == 0 else "odd",
            )
        )
    return frames


@pytest.fixture(scope="module")
def sections(potential, tmp_path_factory):
    bench = Bench(
        potential=potential,
        make_calculator=lambda: calculator(potential),
        make_engine=lambda: LammpsEngine(potential=potential),
        crystal=bulk("Si", cubic=True),
        frames=labelled(potential),
        observe=lambda _: None,
    )
    folder = tmp_path_factory.mktemp("validation")
    return validate(bench, folder, sections=["crystal", "elastic", "phonons", "frames", "pair curves"])


def value(section, name):
    (found,) = [m.value for m in section.measures if m.name == name]
    return found


def test_crystal_and_elastic_constants_are_those_of_the_author(sections):
    """J. Tersoff, Phys. Rev. B 38, 9902 (1988), table II: a = 5.432 A; C11, C12, C44 = 1.43, 0.75, 0.69 Mbar."""
    assert value(sections["crystal"], "a") == pytest.approx(5.432, abs=5e-4)
    assert value(sections["crystal"], "energy per atom") == pytest.approx(-4.63, abs=5e-3)
    assert value(sections["elastic"], "C11") == pytest.approx(143, abs=1)
    assert value(sections["elastic"], "C12") == pytest.approx(75, abs=1)
    assert value(sections["elastic"], "C44") == pytest.approx(69, abs=1)


def test_bulk_modulus_of_a_cubic_crystal_is_a_closed_form(sections):
    expected = (value(sections["elastic"], "C11") + 2 * value(sections["elastic"], "C12")) / 3
    assert value(sections["elastic"], "bulk modulus") == pytest.approx(expected, rel=1e-6)


def test_debye_temperature_of_an_isotropic_solid_is_a_closed_form():
    """v^-3 = (1 / v_l^3 + 2 / v_t^3) / 3, theta = hbar / k (6 pi^2 n)^(1/3) v, in SI units."""
    bulk_GPa, shear_GPa, density_kg_m3, atoms_per_m3 = 76.0, 26.0, 2700.0, 6.02e28
    C = np.zeros((6, 6))
    C[:3, :3] = bulk_GPa - 2 * shear_GPa / 3
    C[:3, :3] += np.diag([2 * shear_GPa] * 3)
    C[3:, 3:] = np.diag([shear_GPa] * 3)
    longitudinal = math.sqrt((bulk_GPa + 4 * shear_GPa / 3) * 1e9 / density_kg_m3)
    transverse = math.sqrt(shear_GPa * 1e9 / density_kg_m3)
    mean = ((longitudinal**-3 + 2 * transverse**-3) / 3) ** (-1 / 3)
    expected = 1.054571817e-34 / 1.380649e-23 * (6 * math.pi**2 * atoms_per_m3) ** (1 / 3) * mean
    found = debye_temperature_K(C, density_kg_m3 / 1.66053906660e-27 * 1e-30, atoms_per_m3 * 1e-30)
    assert found == pytest.approx(expected, rel=1e-4)


def test_a_crystal_without_shear_stiffness_has_no_debye_temperature():
    assert math.isnan(debye_temperature_K(np.diag([100.0] * 3 + [-1.0] * 3), 1.4, 0.05))


def test_highest_frequency_of_silicon_is_near_the_measured_one_and_none_is_imaginary(sections):
    """Raman line of silicon: 15.5 THz; Tersoff's potential is known to be some 3 to 5 % stiff there."""
    assert 15 < value(sections["phonons"], "highest frequency") < 17
    assert value(sections["phonons"], "lowest frequency") > -0.01
    assert len(sections["phonons"].curves["gamma_THz"]) == 24


def test_pair_curves_begin_as_zbl_and_bind_further_out(sections):
    """Two atoms of J. Tersoff, Phys. Rev. B 38, 9902 (1988), table I, have no neighbours to weaken their bond."""
    assert value(sections["pair curves"], "Si-Si, largest departure from ZBL to 0.5 A") < 0.2
    A, B, first, second = 1830.8, 471.18, 2.4799, 1.7322
    distance = np.log(A * first / (B * second)) / (first - second)
    least = A * np.exp(-first * distance) - B * np.exp(-second * distance)
    curve = sections["pair curves"].curves["pairs"]["Si-Si"]
    assert min(curve["energy_eV"]) == pytest.approx(least, abs=0.005)  # sampled every 3 %
    assert min(curve["zbl_eV"]) > 0


def test_labels_of_the_potential_itself_have_no_error(sections):
    assert value(sections["frames"], "force MAE of all") < 1e-6


def test_printed_pairs_are_told_in_a_sentence():
    """Table I of G. Soum-Sidikov et al. (2024)."""
    words = _printed_words({"O": [[3.16, float("nan")], [4.74, 4.84]], "W": []})
    assert words.endswith("in eV: O 3.16 (-), 4.74 (4.84).")
    assert _printed_words({"Si": []}) == ""


def test_planted_errors_are_found_and_a_shift_of_the_zero_is_not_one(potential):
    frames = labelled(potential, shift_eV=3.0, force_error=0.2)
    for one in frame_errors(frames, lambda: calculator(potential)).values():
        assert one.force_eV_per_A == pytest.approx(0.2, abs=1e-6)
        assert one.energy_eV_per_atom < 1e-6
        assert one.count == 2


def test_end_states_count_from_the_crystal(potential):
    """A zero moved by 3 eV per atom is no error, half an eV more in one end state is."""
    box = bulk("Si", cubic=True)
    box.calc = calculator(potential)
    shift_eV = 3.0 * len(box)
    words = {"forces_eV_per_A": box.get_forces(), "settings": "x"}
    crystal = LabelledFrame(
        atoms=bulk("Si", cubic=True), energy_eV=box.get_potential_energy() + shift_eV, group="perfect", **words
    )
    ends = [dataclasses.replace(frame, group="cascade_end") for frame in labelled(potential, shift_eV=3.0)]
    ends[0] = dataclasses.replace(ends[0], energy_eV=ends[0].energy_eV + 0.5)
    errors = frame_errors([crystal, *ends], lambda: calculator(potential))["cascade_end"]
    missed = np.array(errors.labels_eV) - errors.predicted_eV
    assert missed == pytest.approx([0.5] + [0.0] * (len(ends) - 1), abs=1e-6)


def test_a_validation_goes_on_where_it_stopped(potential, tmp_path):
    bench = Bench(
        potential=potential,
        make_calculator=lambda: calculator(potential),
        make_engine=lambda: LammpsEngine(potential=potential),
        crystal=bulk("Si", cubic=True),
        observe=lambda _: None,
    )
    validate(bench, tmp_path, sections=["crystal"])
    stamp = (tmp_path / "crystal.json").stat().st_mtime_ns
    done = validate(bench, tmp_path, sections=["crystal", "frames"])
    assert (tmp_path / "crystal.json").stat().st_mtime_ns == stamp
    assert "no labelled frames" in done["frames"].remark
    with pytest.raises(InputError, match="no section `phonon`; known are"):
        validate(bench, tmp_path, sections=["phonon"])


def test_the_folder_of_another_potential_is_refused(potential, tmp_path):
    (tmp_path / "potential.json").write_text(json.dumps({"name": "other", "digest": "0"}))
    bench = Bench(
        potential=potential,
        make_calculator=lambda: calculator(potential),
        make_engine=lambda: LammpsEngine(potential=potential),
        crystal=bulk("Si", cubic=True),
    )
    with pytest.raises(InputError, match="validation of other"):
        validate(bench, tmp_path)


def test_the_command_writes_a_page_with_figures(potential, tmp_path, capsys):
    write_frames(tmp_path / "frames.extxyz", labelled(potential))
    out = tmp_path / "report"
    command = [
        "train",
        "validate",
        "si-tersoff-zbl",
        "--out",
        str(out),
        "--frames",
        str(tmp_path / "frames.extxyz"),
    ]
    assert main([*command, "--sections", "crystal", "frames", "cost"]) == 0
    page = (out / "report.md").read_text()
    assert "| a | 5.432 A |" in page
    assert "CPU time per atom and step" in page
    assert (out / "energies.png").stat().st_size > 1000
    assert "report.md" in capsys.readouterr().out
