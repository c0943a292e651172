"""What a target is made of."""

from __future__ import annotations

import ase.data
import pytest

from cascade_driver.errors import InputError
from cascade_driver.target import parse_target


def mass_fractions(formula: str) -> dict[str, float]:
    target = parse_target(formula)
    return {symbol: sum(i.mass_fraction for i in target.isotopes_of(symbol)) for symbol in target.elements}


def test_mass_fractions_of_calcium_tungstate_follow_from_atomic_weights() -> None:
    # IUPAC 2021 standard atomic weights, ciaaw.org: Ca 40.078, W 183.84, O 15.999.
    whole = 40.078 + 183.84 + 4 * 15.999
    fractions = mass_fractions("CaWO4")
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
    assert mass_fractions("(CaO)2SiO2") == pytest.approx(mass_fractions("Ca2SiO4"))


@pytest.mark.parametrize(
    ("formula", "words"),
    [
        ("CaWo4", "'Wo' is not a chemical element. Did you mean CaWO4?"),
        ("SnWo4", "'Wo' is not a chemical element. Did you mean WO?"),
        ("CaWO", "CaWO4 is; Ca1W1O1 if you mean CaWO"),
        ("TeO", "TeO2 is; Te1O1 if you mean TeO"),
        ("Al2O", "Al2O3 is; Al2O1 if you mean Al2O"),
        ("CaWw", "Did you mean WW?"),
        ("Sx", "Did you mean S"),
        ("D2O", "write H"),
        ("Qq", "capital letter"),
        ("", "names no element"),
        ("W0", "names no element"),
        (
            "cawo4",
            "numbers such as CaWO4 or Al2O3. Did you mean CaWO4?",
        ),
        ("Xenon", "CaWO4 or Al2O3."),
        ("CaWO4.5", "not a chemical formula"),
        ("Tc", "no natural isotopic composition"),
    ],
)
def test_bad_formula_is_refused_with_a_suggestion(formula: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_target(formula)
    assert words in str(caught.value)


def test_a_formula_is_taken_at_its_word_where_it_says_all_its_counts() -> None:
    assert mass_fractions("Ca1W1O1")["W"] == pytest.approx(183.84 / (40.078 + 183.84 + 15.999), rel=1e-4)
    assert parse_target("Si").elements == ("Si",)  # SiO2 is another thing
    assert parse_target("CaWO3").elements == ("Ca", "W", "O")


def test_an_enriched_isotope_takes_its_share_and_the_others_keep_their_proportions() -> None:
    natural, enriched = parse_target("CaWO4"), parse_target("CaWO4[W183=0.9, O18=0.5]")
    shares = {}
    for name, target in (("natural", natural), ("enriched", enriched)):
        atoms = {i.mass_number: i.atoms_per_kg for i in target.isotopes_of("W")}
        shares[name] = {A: n / sum(atoms.values()) for A, n in atoms.items()}
    assert shares["enriched"][183] == pytest.approx(0.9, rel=1e-12)
    rest = 0.1 / (1 - shares["natural"][183])
    for A in (180, 182, 184, 186):
        assert shares["enriched"][A] == pytest.approx(rest * shares["natural"][A], rel=1e-12)
    assert sum(i.mass_fraction for i in enriched.isotopes) == pytest.approx(1.0, rel=1e-14)
    # as many W as Ca atoms, and four times as many O, whatever the isotopes
    per_kg = {e: sum(i.atoms_per_kg for i in enriched.isotopes_of(e)) for e in enriched.elements}
    assert per_kg["O"] == pytest.approx(4 * per_kg["W"], rel=1e-12)
    assert parse_target(enriched.name) == enriched
    assert parse_target("W[W180=0]").isotopes_of("W")[0].mass_number == 182


@pytest.mark.parametrize(
    ("formula", "words"),
    [
        ("CaWO4[W183=0.9", "lacks its ]"),
        ("CaWO4[W183]", "enrichment 'W183' is not understood"),
        ("CaWO4[W183=1.2]", "from 0 to 1"),
        ("CaWO4[W=0.9]", "such as W183=0.9"),
        ("CaWO4[W185=0.9]", "W185 is no natural isotope of W; there are W180, W182"),
        ("CaWO4[Si28=1]", "enriched in Si, which it does not hold"),
        ("CaWO4[W183=0.6,W182=0.6]", "sum to 1.2"),
        ("Al[Al27=0.5]", "expected 1, because all of them are given"),
    ],
)
def test_impossible_enrichment_is_refused(formula: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_target(formula)
    assert words in str(caught.value)


def test_lithium_is_what_is_sold_as_natural() -> None:
    # standard atomic weight 6.94 (CIAAW); the middle of the interval of nature has half of the 6Li
    lithium = parse_target("Li").isotopes
    shares = {i.mass_number: i.mass_fraction / i.mass_u for i in lithium}
    assert shares[6] / sum(shares.values()) == pytest.approx(0.0759, abs=1e-4)
    assert 1 / sum(shares.values()) == pytest.approx(6.94, abs=0.002)
