"""What a target is made of."""

from __future__ import annotations

import ase.data
import pytest

from cascade_driver.errors import InputError
from cascade_driver.spectra.target import parse_target


def test_mass_fractions_of_calcium_tungstate_follow_from_atomic_weights() -> None:
    # IUPAC 2021 standard atomic weights, ciaaw.org: Ca 40.078, W 183.84, O 15.999.
    whole = 40.078 + 183.84 + 4 * 15.999
    fractions = parse_target("CaWO4").mass_fractions
    assert fractions == pytest.approx(
        {"Ca": 40.078 / whole, "W": 183.84 / whole, "O": 4 * 15.999 / whole}, rel=1e-4
    )
    assert sum(fractions.values()) == pytest.approx(1.0, rel=1e-14)


def test_isotopes_carry_their_own_masses() -> None:
    target = parse_target("CaWO4")
    tungsten = {isotope.mass_number: isotope for isotope in target.isotopes_of("W")}
    assert sorted(tungsten) == [180, 182, 183, 184, 186]
    assert tungsten[184].mass_u == pytest.approx(183.9509, abs=1e-4)  # AME2020
    assert tungsten[184].neutron_number == 110
    atoms = sum(isotope.atoms_per_kg for isotope in tungsten.values())
    assert atoms == pytest.approx(6.02214076e26 / (40.078 + 183.84 + 4 * 15.999), rel=1e-4)
    assert target.elements == ("Ca", "W", "O")


@pytest.mark.parametrize("symbol", ["Si", "Ge", "Al", "Xe", "Pb", "Bi"])
def test_mean_isotope_mass_is_the_atomic_weight(symbol: str) -> None:
    isotopes = parse_target(symbol).isotopes
    mean = 1.0 / sum(isotope.mass_fraction / isotope.mass_u for isotope in isotopes)
    assert mean == pytest.approx(ase.data.atomic_masses[ase.data.atomic_numbers[symbol]], rel=2e-4)


def test_brackets_are_understood() -> None:
    assert parse_target("(CaO)2SiO2").mass_fractions == pytest.approx(parse_target("Ca2SiO4").mass_fractions)


@pytest.mark.parametrize(
    ("formula", "words"),
    [
        ("CaWo4", "'Wo' is not a chemical element. Did you mean WO?"),
        ("CaWw", "Did you mean WW?"),
        ("Sx", "Did you mean S"),
        ("D2O", "write H"),
        ("Qq", "capital letter"),
        ("", "names no element"),
        ("W0", "names no element"),
        ("cawo4", "not a chemical formula"),
        ("CaWO4.5", "not a chemical formula"),
        ("Tc", "no natural isotopic composition"),
    ],
)
def test_bad_formula_is_refused_with_a_suggestion(formula: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_target(formula)
    assert words in str(caught.value)
