"""Radii of a core: between the closest approach and the bond, with the least force of their own, and explained."""

import numpy as np
import pytest

from cascade_driver.cli import main
from cascade_driver.errors import InputError
from cascade_driver.simulation.crystal import named_or_file
from cascade_driver.simulation.potential import load_potential
from cascade_driver.validation.switch_choice import (
    LARGEST_BOND_SHARE,
    choose_switch,
    closest_approach_A,
    shortest_bonds_A,
)
from cascade_driver.validation.zbl import PairCurve, zbl

R = np.arange(0.1, 3.5, 0.01)


def scaled_zbl(factor: float) -> PairCurve:
    """Return a body that is ZBL times a factor."""
    energy, first, _ = zbl(R, numbers=(14, 14))
    return PairCurve(distance_A=R, energy_eV=factor * energy, force_eV_A=-factor * first)


def test_two_atoms_meet_where_zbl_is_the_energy_of_their_relative_motion():
    # Equal masses share the energy by halves; a light atom keeps nearly all of it against a heavy one.
    r = closest_approach_A(("Si", "Si"), 100.0)
    assert float(zbl(r, numbers=(14, 14))[0]) == pytest.approx(50.0)
    r = closest_approach_A(("Li", "W"), 100.0)
    assert float(zbl(r, numbers=(3, 74))[0]) == pytest.approx(100 * 183.84 / (183.84 + 6.94), rel=1e-4)
    assert closest_approach_A(("Si", "Si"), 1000.0) < closest_approach_A(("Si", "Si"), 100.0)


def test_bonds_are_those_of_the_crystal_where_they_are_shorter_than_the_radii():
    # Al-O of sapphire: 1.855 A (Lewis, Schwarzenbach & Flack 1982), the covalent radii make 1.87.
    assert shortest_bonds_A(("Al", "O"), [named_or_file("Al2O3")])["Al-O"] == pytest.approx(1.855, abs=1e-3)
    assert shortest_bonds_A(("Al", "O"), [])["Al-O"] == pytest.approx(1.87, abs=1e-6)


@pytest.mark.parametrize("energy_eV", [50, 200, 1000])
def test_the_switch_lies_between_the_closest_approach_and_the_bond(energy_eV):
    chosen = choose_switch("Si-Si", scaled_zbl(0.8), bond_A=2.35, recoil_energy_eV=energy_eV)
    closest = closest_approach_A(("Si", "Si"), energy_eV)
    assert closest <= chosen.radii.inner_A < chosen.radii.outer_A <= LARGEST_BOND_SHARE * 2.35
    assert f"{closest:.2f} A" in chosen.said
    assert f"recoils of {energy_eV} eV" in chosen.said


def test_a_body_that_is_zbl_is_joined_without_any_force_and_another_with_one():
    assert choose_switch("Si-Si", scaled_zbl(1.0), bond_A=2.35, recoil_energy_eV=200).added_share < 1e-12
    assert choose_switch("Si-Si", scaled_zbl(0.5), bond_A=2.35, recoil_energy_eV=200).added_share > 0.05


def test_given_radii_are_kept():
    chosen = choose_switch("Si-Si", scaled_zbl(0.8), bond_A=2.35, recoil_energy_eV=200, inner_A=1.23)
    assert chosen.radii.inner_A == 1.23
    chosen = choose_switch("Si-Si", scaled_zbl(0.8), bond_A=2.35, recoil_energy_eV=200, outer_A=1.9)
    assert chosen.radii.outer_A == 1.9


def test_a_body_that_would_leave_a_well_is_refused():
    high = PairCurve(distance_A=R, energy_eV=1e4 * np.ones_like(R), force_eV_A=np.zeros_like(R))
    with pytest.raises(InputError, match=r"pair Si-Si: no switch between .* give --inner and --outer"):
        choose_switch("Si-Si", high, bond_A=2.35, recoil_energy_eV=200)


def test_no_room_below_the_bond_is_refused():
    with pytest.raises(InputError, match="the closest approach at 1 eV"):
        choose_switch("Si-Si", scaled_zbl(0.8), bond_A=2.35, recoil_energy_eV=1)


def test_the_command_chooses_and_writes_why(tmp_path, capsys):
    body = tmp_path / "soft.lmp"
    body.write_text("pair_style morse 4.0\npair_coeff * * 0.5 1.5 2.6\npair_modify shift yes\n")
    words = ["potential", "join", str(body), "--species", "Al", "--crystals", "Al", "--out", str(tmp_path / "al")]
    assert main(words) == 0
    said = capsys.readouterr().out
    about = load_potential(tmp_path / "al").about
    radii = about.zbl["Al-Al"]
    assert f"Al-Al: pure ZBL below {radii.inner_A:g} A" in said
    assert f"pure body above {radii.outer_A:g} A" in about.description
    assert main([*words[:-1], str(tmp_path / "b"), "--inner", "1.0", "--outer", "1.8"]) == 0
    assert load_potential(tmp_path / "b").about.zbl["Al-Al"].inner_A == 1.0


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        (["--inner", "Al-Si=1"], "--inner: Al-Si is none of the pairs Al-Al"),
        (["--inner", "2", "--outer", "1"], "must be below"),
        (["--species", "/"], "'/' is no chemical element"),
        (["--energy-eV", "0"], "`--energy-eV`: input should be greater than 0"),
        (["--energy-eV", "1"], "closest approach at 1 eV"),
    ],
)
def test_bad_radii_are_refused_in_one_line(tmp_path, capsys, more, complaint):
    body = tmp_path / "soft.lmp"
    body.write_text("pair_style morse 4.0\npair_coeff * * 0.5 1.5 2.6\npair_modify shift yes\n")
    words = ["potential", "join", str(body), "--species", "Al", "--out", str(tmp_path / "al")]
    assert main([*words, *more]) == 2
    said = capsys.readouterr().err
    assert complaint in said
    assert said.count("\n") == 1
    assert not (tmp_path / "al").exists()


def test_a_body_that_goes_with_no_table_is_refused_when_it_is_joined(tmp_path, capsys):
    body = tmp_path / "bop.lmp"
    body.write_text("pair_style bop\npair_coeff * * CdTe.bop.table Cd Te\ncomm_modify cutoff 20\n")
    words = ["potential", "join", str(body), "--species", "Cd", "Te", "--out", str(tmp_path / "cdte")]
    assert main([*words, "--inner", "1.2", "--outer", "2"]) == 2
    assert "cannot have a core joined to it" in capsys.readouterr().err
    assert not (tmp_path / "cdte").exists()
