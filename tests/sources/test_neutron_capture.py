"""Recoils after neutron capture: the table, the kinematics, cascades of gammas, and what is observed of them."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import constants, integrate

from cascade_driver.analysis.defect_probability import FermiProbability
from cascade_driver.analysis.distribution import StoredEnergyDistribution
from cascade_driver.analysis.model import SpeciesModel, StoredEnergyModel
from cascade_driver.analysis.published import cawo4_published
from cascade_driver.errors import InputError
from cascade_driver.sources import capture_table as table_module
from cascade_driver.sources.capture_table import LevelDecay, PrimaryGamma, capture_table
from cascade_driver.sources.egaf import write_capture_table
from cascade_driver.sources.gamma_recoil import (
    GammaCascade,
    GammaTiming,
    momentum_exponents,
    recoil_cumulative,
    recoil_energy_eV,
    recoil_events,
    sequence_cumulative,
    sequence_events,
    sequence_exponents,
    slowing_time_fs,
    two_gamma_cumulative,
)
from cascade_driver.sources.neutron_capture import (
    Captures,
    GammaEscape,
    GammaTag,
    capture_lines,
    capture_parts,
    capture_rate_per_kg_day,
    capture_spectrum,
    cascades_of,
    unresolved_shares,
)
from cascade_driver.sources.statistical_cascade import statistical_cascades
from cascade_driver.spectra.detector import Detector, apply_detector
from cascade_driver.spectra.observed_capture import observed_capture_spectrum
from cascade_driver.spectrum import Spectrum
from cascade_driver.target import abundances, parse_target

FLUX = 100.0


def spectrum_of(*, energy_edges_eV, **asked) -> Spectrum:
    return capture_spectrum(Captures(**asked), energy_edges_eV=energy_edges_eV)


def parts_of(*, energy_edges_eV, **asked):
    return capture_parts(Captures(**asked), energy_edges_eV=energy_edges_eV)


def observed_of(model: StoredEnergyModel, *, energy_edges_eV, extrapolate: bool = False, **asked) -> Spectrum:
    captures = Captures(**asked)
    return observed_capture_spectrum(model, captures, energy_edges_eV=energy_edges_eV, extrapolate=extrapolate)


#: Recoils printed with the EGAF primary gammas (E_gamma^2 / 2 M c^2, compound masses of AME2020), in eV.
EGAF_RECOILS = [
    ("W182", 6190.78, 112.44695279346695),
    ("W183", 7410.99, 160.26561496484882),
    ("W186", 5320.72, 81.28091805138382),
    ("W186", 5261.68, 79.48710032134194),
    ("Si28", 7199.199, 960.0910024836645),
    ("Si28", 8472.209, 1329.6500809174668),
    ("Al27", 7724.027, 1144.4586495342917),
    ("Ge70", 6915.69, 361.96108323440876),
    ("Ge74", 6505.15, 303.1727685414501),
]


def silicon(life_fs: float | None = 290 / math.log(2)) -> GammaCascade:
    """The slow cascade of 28Si through its level at 1273 keV."""
    return GammaCascade(
        symbol="Si",
        target="Si28",
        mass_u=28.97649466,
        gammas_keV=(7199.199, 1273.349),
        mean_lives_fs=(life_fs,),
        per_capture=0.07,
    )


# -- kinematics ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("target", "gamma_keV", "expected_eV"), EGAF_RECOILS)
def test_recoil_of_a_single_gamma_is_that_of_egaf(target: str, gamma_keV: float, expected_eV: float) -> None:
    mass = capture_table()[target].compound_mass_u
    # 1e-5: the masses of two editions
    assert recoil_energy_eV(gamma_keV, mass_u=mass) == pytest.approx(expected_eV, rel=1e-5)


def test_recoil_is_that_of_momentum_conservation_in_si_units() -> None:
    p = 6190.78e3 * constants.e / constants.c
    expected = p**2 / (2 * 182.95 * constants.atomic_mass) / constants.e
    assert recoil_energy_eV(6190.78, mass_u=182.95) == pytest.approx(expected, rel=1e-8)


def test_negative_control_the_mass_of_the_target_would_be_seen() -> None:
    assert abs(recoil_energy_eV(6190.78, mass_u=181.948) - 112.44695) > 0.5


# thousandths: the quadrature, not the law, misses the peak of 1 / g where x is all but nothing
@given(st.floats(0.05, 20.0), st.integers(-1000, 1000).map(lambda n: n / 1000))
@settings(max_examples=40, deadline=None)
def test_two_gamma_law_is_the_average_over_time_and_direction(exponent: float, x: float) -> None:
    # P(g c <= x) with g = U^exponent and c uniform, by quadrature over U
    def share(u: float) -> float:
        g = u**exponent
        return 0.5 * (1 + np.clip(x / g, -1, 1)) if g > 0 else float(x > 0)

    kink = min(max(abs(x) ** (1 / exponent), 0.0), 1.0) if x else 0.0
    points = [kink] if 0 < kink < 1 else None
    expected, _ = integrate.quad(share, 0, 1, points=points, limit=200)
    assert two_gamma_cumulative(x, exponent=exponent) == pytest.approx(expected, abs=2e-6)


def test_two_gamma_law_is_continuous_at_equal_times_and_has_its_limits() -> None:
    x = np.linspace(-1, 1, 41)
    here = two_gamma_cumulative(x, exponent=1.0)
    np.testing.assert_allclose(two_gamma_cumulative(x, exponent=1.0 + 1e-5), here, atol=1e-5)
    np.testing.assert_allclose(two_gamma_cumulative(x, exponent=1e-9), 0.5 * (1 + x), atol=1e-8)
    np.testing.assert_allclose(two_gamma_cumulative(x, exponent=1e4), 0.5 * (1 + np.sign(x)), atol=2e-3)


def test_prompt_cascade_is_flat_between_difference_and_sum_of_the_momenta() -> None:
    cascade = silicon()
    p1, p2 = cascade.gammas_keV
    low, high = (recoil_energy_eV(p, mass_u=cascade.mass_u).item() for p in (p1 - p2, p1 + p2))
    edges = np.linspace(low, high, 8)
    below = recoil_cumulative(cascade, [low - 1, *edges, high + 1], exponents=(0.0,))
    np.testing.assert_allclose(below, [0, *np.linspace(0, 1, 8), 1], atol=1e-9)


def test_slow_cascade_is_a_line_at_the_sum_of_two_recoils() -> None:
    cascade = silicon()
    first, second = cascade.single_recoils_eV
    assert (first, second) == pytest.approx((960.09, 30.04), abs=0.01)
    below = recoil_cumulative(cascade, [first + second - 1e-9, first + second + 1e-9], exponents=(math.inf,))
    np.testing.assert_array_equal(below, [0, 1])


def test_silicon_level_of_290_fs_is_mostly_slow_and_keeps_the_mean() -> None:
    cascade, target = silicon(), parse_target("Si")
    (exponent,) = momentum_exponents(cascade, GammaTiming(), target=target)
    assert 1 < exponent < 20
    line = cascade.single_recoils_eV.sum()
    within = np.diff(recoil_cumulative(cascade, [line - 5, line + 5], exponents=(exponent,)))
    prompt = np.diff(recoil_cumulative(cascade, [line - 5, line + 5], exponents=(0.0,)))
    assert within > 10 * prompt


@pytest.mark.parametrize("exponent", [0.0, 0.3, 4.3])
def test_sampled_events_follow_the_closed_form(exponent: float) -> None:
    cascade = silicon()
    total = recoil_events(cascade, exponents=(exponent,)).sum(axis=1)
    levels = np.linspace(700, 1350, 27)
    sampled = (total[:, None] < levels).mean(axis=0)
    # 0.01: discrepancy of 4096 Halton points is below 0.005
    np.testing.assert_allclose(sampled, recoil_cumulative(cascade, levels, exponents=(exponent,)), atol=0.01)


def test_three_prompt_gammas_keep_the_mean_and_the_limits() -> None:
    cascade = GammaCascade(
        symbol="W",
        target="W182",
        mass_u=182.95,
        gammas_keV=(3000.0, 2000.0, 1000.0),
        mean_lives_fs=(0.0, 0.0),
        per_capture=1.0,
    )
    total = recoil_events(cascade, exponents=(0.0, 0.0)).sum(axis=1)
    alone = cascade.single_recoils_eV
    assert total.mean() == pytest.approx(alone.sum(), rel=5e-3)
    assert total.max() <= recoil_energy_eV(6000.0, mass_u=182.95)
    # variance of the sum of pairwise 2 sqrt(Ei Ej) cos: 4 Ei Ej / 3 each, uncorrelated
    expected = sum(4 * a * b / 3 for a, b in itertools.combinations(alone, 2))
    assert total.var() == pytest.approx(expected, rel=0.02)


def test_recoils_apart_are_separate_pieces_and_together_are_one() -> None:
    apart = recoil_events(silicon(), exponents=(math.inf,), count=8)
    np.testing.assert_allclose(apart, np.tile(silicon().single_recoils_eV, (8, 1)))
    together = recoil_events(silicon(), exponents=(0.0,), count=8)
    assert np.all(together[:, 1] == 0)


def test_slowing_time_falls_with_density_and_needs_one() -> None:
    target = parse_target("Si")
    times = [
        slowing_time_fs("Si", mass_u=29.0, recoil_energy_eV=960.0, target=target, density_g_cm3=d) for d in (2, 4)
    ]
    assert times[0] == pytest.approx(2 * times[1])
    assert 10 < times[1] < times[0] < 1000  # recoils last 1e-14 to 1e-12 s
    with pytest.raises(InputError, match="no density is known of O: give it"):
        slowing_time_fs("O", mass_u=17.0, recoil_energy_eV=100.0, target=parse_target("O"))


def test_lifetimes_that_are_not_known_follow_the_wish() -> None:
    cascade, target = silicon(None), parse_target("Si")
    estimate, prompt, slow = (
        momentum_exponents(cascade, GammaTiming(unknown_lifetime=w, slowing_time_fs=50.0), target=target)[0]
        for w in ("single_particle", "prompt", "slow")
    )
    assert estimate == pytest.approx(31.8 / 1.273349**3 / 50)
    assert (prompt, slow) == (0.0, math.inf)
    assert momentum_exponents(silicon(), GammaTiming(law="prompt")) == (0.0,)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GammaTiming(law="fast"), "timing law is 'fast'"),  # type: ignore[arg-type]
        (lambda: GammaTiming(unknown_lifetime="x"), "unknown_lifetime is 'x'"),  # type: ignore[arg-type]
        (lambda: GammaTiming(slowing_time_fs=-1.0), "slowing_time_fs is -1"),
        (lambda: GammaEscape(points=((10.0, 0.5), (5.0, 1.0))), "expected increasing energies"),
        (lambda: GammaEscape(points=((10.0, 1.5),)), "is 1.5, expected 0 to 1"),
        (lambda: recoil_energy_eV(1.0, mass_u=0.0), "expected a positive mass"),
        (lambda: two_gamma_cumulative(0.1, exponent=-1.0), "expected at least 0"),
        (lambda: recoil_events(silicon(), exponents=()), "0 exponents for 1 levels"),
        (lambda: momentum_exponents(silicon(), GammaTiming()), "need the target"),
    ],
)
def test_bad_settings_are_named(make, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gammas_keV": (1.0,)}, "1 gammas and 1 lifetimes"),
        ({"gammas_keV": (1.0, -2.0)}, "expected positive ones"),
        ({"mean_lives_fs": (-1.0,)}, "expected none below 0"),
        ({"per_capture": -1.0}, "expected at least 0"),
    ],
)
def test_impossible_cascades_are_named(change: dict[str, object], message: str) -> None:
    good = {"symbol": "Si", "target": "Si28", "mass_u": 29.0, "per_capture": 1.0}
    with pytest.raises(InputError, match=message):
        GammaCascade(**(good | {"gammas_keV": (1.0, 2.0), "mean_lives_fs": (None,)} | change))  # type: ignore[arg-type]


# -- the table ----------------------------------------------------------------------------------------------


#: Elements whose lines people look for.
OF_DETECTORS = ("C", "O", "F", "Na", "Mg", "Al", "Si", "Ca", "Zn", "Ga", "Ge", "As", "Te", "I", "Cs", "W", "Pb")


def test_every_row_of_the_table_has_a_citation_and_a_possible_energy() -> None:
    for isotope in capture_table().values():
        assert all(isotope.sources)
        for line in isotope.lines:
            assert "EGAF" in line.source
            recoil_keV = recoil_energy_eV(line.gamma_keV, mass_u=isotope.compound_mass_u).item() / 1e3
            # separation energies, levels and gammas come from different evaluations
            missing = isotope.neutron_separation_keV - line.gamma_keV - recoil_keV - line.final_level_keV
            assert abs(missing) < (3 if isotope.symbol in OF_DETECTORS else 20), (isotope.target, line)
        for level, decays in isotope.decays.items():
            assert sum(d.share for d in decays) <= 1.02
            for d in decays:
                recoil_keV = recoil_energy_eV(d.gamma_keV, mass_u=isotope.compound_mass_u).item() / 1e3
                assert level - d.gamma_keV - d.final_level_keV == pytest.approx(recoil_keV, abs=0.01)


def test_separation_energies_are_those_of_the_masses() -> None:
    neutron_u = 1.00866491590
    for isotope in capture_table().values():
        element = table_module.periodictable.elements.symbol(isotope.symbol)
        difference_u = element[isotope.mass_number].mass + neutron_u - isotope.compound_mass_u
        expected_keV = (
            difference_u * constants.physical_constants["atomic mass constant energy equivalent in MeV"][0]
        )
        # 1.5 keV: W186's differs by 1.4 keV between the newest mass tables; heavier ones have larger errors
        error_keV = max(1.5, 3 * isotope.neutron_separation_error_keV)
        assert isotope.neutron_separation_keV == pytest.approx(expected_keV * 1e3, abs=error_keV), isotope.target


def test_the_table_holds_the_line_of_the_notes() -> None:
    lines = {line.gamma_keV: line for line in capture_table()["W182"].lines}
    assert lines[6190.78].per_capture == pytest.approx(0.082, abs=0.001)


def test_abundances_of_the_target_are_those_of_the_evaluation() -> None:
    content = table_module.read_toml(Path(table_module.__file__).parent / "capture_isotopes.toml")
    for entry in content["isotopes"]:
        # swapped in the evaluation, and rescaled in the table; one in 10000 in nature
        if entry["target"] in ("Ti49", "Ti50", "H2", "He3"):
            continue
        symbol = entry["target"].rstrip("0123456789")
        number = int(entry["target"][len(symbol) :])
        assert 100 * abundances(symbol)[number] == pytest.approx(entry["abundance_percent"], rel=0.05, abs=0.01)


def test_captures_of_natural_elements_are_those_of_another_evaluation() -> None:
    """Sears 1992 (NIST), measured on elements, where nothing but capture absorbs."""
    table = capture_table()
    for symbol in ("C", "F", "Na", "Mg", "Al", "Si", "Ca", "Ti", "Fe", "Ga", "Ge", "As", "Cd", "Te", "I", "Xe",
                   "Cs", "Gd", "Hf", "W", "Hg", "Tl", "Pb", "Bi"):  # fmt: skip
        captured = sum(
            share * table[f"{symbol}{number}"].cross_section_b
            for number, share in abundances(symbol).items()
            if f"{symbol}{number}" in table
        )
        absorbed = table_module.periodictable.elements.symbol(symbol).neutron.absorption
        # 16 %: silver-like resonances, 200Hg's 60 b is an upper limit
        assert captured == pytest.approx(absorbed, rel=0.16), symbol


def test_the_table_holds_every_natural_isotope_that_captures() -> None:
    table = capture_table()
    assert len(table) > 280
    for symbol in ("O", "F", "Li", "C", "Al", "Si", "Ca", "Zn", "Ga", "Ge", "As", "Mo", "Te", "I", "Xe", "Cs", "W",
                   "Pb", "Bi", "Na", "Mg", "Ti"):  # fmt: skip
        missing = sum(share for A, share in abundances(symbol).items() if f"{symbol}{A}" not in table)
        assert missing < 0.01, symbol
    # 4He and 208Pb's neighbours aside, what the table says of an isotope it says with a source
    assert all("EGAF" in isotope.note for isotope in table.values() if not isotope.lines)


def test_intensities_that_belong_to_something_else_are_left_out_and_noted() -> None:
    table = capture_table()
    for target in ("Ge76", "Sr86", "Cd110", "H2"):
        assert not table[target].lines
        assert "add up to" in table[target].note
    assert all(isotope.tabulated_per_capture <= 1.5 for isotope in table.values())
    # slips of powers of ten in EGAF: 5900 b of 130Xe would be ten times the capture of natural xenon
    assert table["Xe130"].cross_section_b == 26
    assert "charged particles" in table["Li6"].note


def test_cascades_carry_the_tabulated_intensity_and_energy() -> None:
    for isotope in capture_table().values():
        found = cascades_of(isotope)
        assert sum(c.per_capture for c in found) == pytest.approx(isotope.tabulated_per_capture, rel=1e-12)
        for cascade in found:
            whole = sum(cascade.gammas_keV)
            long_lived = whole < isotope.neutron_separation_keV - 10
            slip_keV = 8 if isotope.symbol in OF_DETECTORS else 30
            assert long_lived or whole == pytest.approx(isotope.neutron_separation_keV, abs=slip_keV)


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        (
            "capture_lines.csv",
            "W182,6190.78,",
            "W182,fast,",
            r"capture_lines.csv, line \d+: `gamma_keV` is 'fast'",
        ),
        ("capture_lines.csv", "W182,6190.78,", "W182,-3,", "is -3, expected a positive number"),
        ("capture_lines.csv", "W182,6190.78,", "W999,6190.78,", "'W999' is not in capture_isotopes.toml; add it"),
        ("capture_lines.csv", "W182,6190.78,", "W182,6190.78,1,", "7 cells, expected 6"),
        ("capture_lines.csv", "target,gamma_keV", "target,energy", "expected the columns target,gamma_keV"),
        (
            "capture_lines.csv",
            "W182,6190.78,0.03,0,0.08204",
            "W182,6190.78,0.03,0,1.4",
            "add up to 1.53 per capture",
        ),
        # in MeV
        (
            "capture_lines.csv",
            "W182,6190.78,",
            "W182,6.19078,",
            "a gamma of 6.19078 keV to a level of 0 keV is less than the 6190.* sets free",
        ),
        (
            "capture_levels.csv",
            "W182,99.0792,,46.502,0.452",
            "W182,99.0792,,46.502,0.9",
            "shares of the gammas of W182 from 99.0792 keV add up to 1.448, expected at most 1",
        ),
        ("capture_lines.csv", "W182,6190.78,", '"W182,6190.78,', "not a line of CSV"),
        ("capture_lines.csv", "W182,6190.78,", "W182,6_190.78,", "is '6_190.78', expected a number"),
        ("capture_levels.csv", "Si28,1273.379,290,0,", "Si28,1273.379,290,9999,", "lower final"),
        ("capture_isotopes.toml", 'target = "W182"', 'target = "182W"', "expected symbol and mass number"),
        ("capture_isotopes.toml", "cross_section_b = 20.7", "cross_section_b = 0", "expected a positive number"),
        ("capture_isotopes.toml", "egaf2003 =", "egaf =", "source 'egaf2003' is not under"),
        ("capture_isotopes.toml", 'target = "W182"', 'target = "W999"', "no mass is known"),
        ("capture_isotopes.toml", 'target = "W183"', 'target = "W182"', "name each once"),
    ],
)
def test_a_damaged_table_is_named_by_file_and_row(
    tmp_path: Path, file: str, old: str, new: str, message: str
) -> None:
    for name in ("capture_lines.csv", "capture_levels.csv", "capture_isotopes.toml"):
        shutil.copy(Path(table_module.__file__).parent / name, tmp_path / name)
    text = (tmp_path / file).read_text()
    assert old in text
    (tmp_path / file).write_text(text.replace(old, new, 1))
    with pytest.raises(InputError, match=message):
        capture_table(tmp_path)


# -- rates and spectra --------------------------------------------------------------------------------------


def test_capture_rate_of_tungsten_is_that_of_a_hand_calculation() -> None:
    # 1 kg of CaWO4 (287.92 g/mol) holds 2.0916e24 W atoms, 28.43 % of them 186W with 37.9 b; 100 per cm2 and s
    (isotope,) = [i for i in parse_target("CaWO4").isotopes if i.symbol == "W" and i.mass_number == 186]
    expected = 1000 / 287.92 * constants.N_A * 0.2843 * 37.9e-24 * 100 * 86400
    found = capture_rate_per_kg_day(isotope, cross_section_b=37.9, neutron_flux_cm2_s=FLUX)
    assert found == pytest.approx(expected, rel=1e-3)


def test_the_strongest_lines_of_cawo4_are_the_three_peaks() -> None:
    strongest = [line for line in capture_lines(target="CaWO4", neutron_flux_cm2_s=FLUX) if line.target[0] == "W"]
    assert [round(line.recoil_energy_eV, 1) for line in strongest[:3]] == [79.5, 81.3, 112.4]
    third = next(line for line in strongest if line.target == "W183")
    assert round(third.recoil_energy_eV, 1) == 160.3
    assert 0 < third.rate_error_per_kg_day < 0.2 * third.rate_per_kg_day


def test_a_single_gamma_lies_wholly_in_its_bin() -> None:
    edges = np.array([112.0, 112.4, 112.5, 113.0])
    spectrum = spectrum_of(
        target="W", neutron_flux_cm2_s=FLUX, energy_edges_eV=edges, timing=GammaTiming(law="slow")
    )
    line = next(x for x in capture_lines(target="W", neutron_flux_cm2_s=FLUX) if x.gamma_keV == 6190.78)
    # the only one in its bin: other cascades add less than 2 %
    assert spectrum.counts_per_kg_day["W"][1] == pytest.approx(line.rate_per_kg_day, rel=0.02)


@pytest.mark.parametrize(
    ("target", "law"),
    [("CaWO4", "in_flight"), ("Si", "prompt"), ("Si", "in_flight"), ("Al2O3", "slow")],
)
def test_all_tabulated_captures_are_in_the_spectrum(target: str, law) -> None:
    spectrum = spectrum_of(
        target=target,
        neutron_flux_cm2_s=FLUX,
        energy_edges_eV=[0, 100, 1e5],
        timing=GammaTiming(law=law),
        unresolved="left_out",
    )
    lines = capture_lines(target=target, neutron_flux_cm2_s=FLUX)
    assert spectrum.total_counts_per_kg_day == pytest.approx(sum(x.rate_per_kg_day for x in lines), rel=1e-9)
    assert list(spectrum.rate_per_kg_day_keV) == list(parse_target(target).elements)


def test_bins_do_not_change_the_counts() -> None:
    fine = spectrum_of(target="Si", neutron_flux_cm2_s=FLUX, energy_edges_eV=np.arange(0, 1501.0))
    coarse = spectrum_of(target="Si", neutron_flux_cm2_s=FLUX, energy_edges_eV=np.arange(0, 1501.0, 100))
    np.testing.assert_allclose(
        fine.counts_per_kg_day["Si"].reshape(-1, 100).sum(axis=1), coarse.counts_per_kg_day["Si"], rtol=1e-9
    )


def test_timing_moves_the_silicon_feature_but_not_the_single_gamma_lines() -> None:
    edges = [985.0, 995.0, 1329.0, 1331.0]
    counts = {
        law: spectrum_of(
            target="Si", neutron_flux_cm2_s=FLUX, energy_edges_eV=edges, timing=GammaTiming(law=law)
        ).counts_per_kg_day["Si"]
        for law in ("prompt", "in_flight", "slow")
    }
    assert counts["prompt"][0] < counts["in_flight"][0] < counts["slow"][0]
    assert counts["slow"][2] == pytest.approx(counts["prompt"][2], rel=0.05)


# -- what the table does not resolve ------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["CaWO4", "Si", "TeO2", "GaAs", "Ge", "Al2O3", "CsI"])
@pytest.mark.parametrize("law", ["prompt", "in_flight", "slow"])
def test_lines_and_statistical_cascades_add_up_to_the_captures(target: str, law) -> None:
    spectrum = spectrum_of(
        target=target, neutron_flux_cm2_s=FLUX, energy_edges_eV=[0, 1e5], timing=GammaTiming(law=law)
    )
    table = capture_table()
    for element, counts in spectrum.counts_per_kg_day.items():
        expected = 0.0
        for isotope in parse_target(target).isotopes_of(element):
            if (entry := table.get(f"{element}{isotope.mass_number}")) is None:
                continue
            rate = capture_rate_per_kg_day(isotope, cross_section_b=entry.cross_section_b, neutron_flux_cm2_s=FLUX)
            # what measured intensities have too much stays; light nuclei have no continuum
            light = isotope.mass_number < 19
            expected += rate * (entry.tabulated_per_capture if light else max(entry.tabulated_per_capture, 1.0))
        assert counts.sum() == pytest.approx(expected, rel=1e-6), element


def test_statistical_recoils_end_at_a_single_gamma_of_all_the_energy() -> None:
    (top,) = (
        recoil_energy_eV(i.neutron_separation_keV, mass_u=i.compound_mass_u).item()
        for i in [capture_table()["W183"]]  # the hardest of tungsten
    )
    spectrum = spectrum_of(target="W", neutron_flux_cm2_s=FLUX, energy_edges_eV=[0, top + 0.1, 1e5])
    assert spectrum.counts_per_kg_day["W"][1] == 0


def test_closed_form_over_the_hardest_gamma_is_the_sampled_one() -> None:
    isotope = capture_table()["W182"]
    sequences = statistical_cascades(isotope, count=4000)
    for law in ("prompt", "in_flight"):
        exponents = sequence_exponents(
            sequences.gammas_keV,
            sequences.mean_lives_fs,
            GammaTiming(law=law),
            symbol="W",
            mass_u=isotope.compound_mass_u,
            target=parse_target("W"),
        )
        levels = np.linspace(0.0, 110.0, 45)
        below = sequence_cumulative(
            sequences.gammas_keV, exponents, levels, mass_u=isotope.compound_mass_u, rng=np.random.default_rng(5)
        )
        total = sequence_events(
            np.repeat(sequences.gammas_keV, 4, axis=0),
            np.repeat(exponents, 4, axis=0),
            mass_u=isotope.compound_mass_u,
            rng=np.random.default_rng(6),
        ).sum(axis=1)
        sampled = (total[:, None] < levels).mean(axis=0)
        # 4000 sequences, the same in both: 0.01 is four standard errors of 16000 directions
        np.testing.assert_allclose(below, sampled, atol=0.016)
        alone = recoil_energy_eV(sequences.gammas_keV, mass_u=isotope.compound_mass_u).sum(axis=1).mean()
        # directions are independent: the mean is the sum of the single recoils
        assert total.mean() == pytest.approx(alone, rel=0.02)


def test_what_is_not_resolved_is_said() -> None:
    def notes(target: str, **others) -> str:
        spectrum = spectrum_of(target=target, neutron_flux_cm2_s=FLUX, energy_edges_eV=[0, 1e4], **others)
        return " | ".join(spectrum.notes)

    assert "65.8% of the captures in W have no tabulated primary gamma: they are cascades" in notes("W")
    assert "have no tabulated primary gamma: they are left out" in notes("W", unresolved="left_out")
    # silicon's lines are 1.05 captures, within the errors of the two cross-sections
    assert "primary gammas of Si add up to 1.05 +- 0.03 captures: partial and thermal" in notes("Si")
    assert "940 b of neutron absorption give charged particles" in notes("LiF")
    assert not notes("C")
    # one isotope has too much, which another one's lack must not hide
    assert "primary gammas of Cu63 add up to 1.05 +- 0.02 captures" in notes("Cu", timing=GammaTiming(law="slow"))
    assert unresolved_shares(target="CaWO4") == {"W": pytest.approx(0.658, abs=0.001)}
    assert not unresolved_shares(target="Si")


def test_parts_of_what_is_not_known_keep_the_captures() -> None:
    edges = np.linspace(0.0, 200.0, 41)
    request = {"target": "W", "neutron_flux_cm2_s": FLUX, "energy_edges_eV": edges}
    nominal = spectrum_of(**request).counts_per_kg_day["W"]
    parts = list(parts_of(**request))
    rate = sum(
        capture_rate_per_kg_day(
            i, cross_section_b=capture_table()[f"W{i.mass_number}"].cross_section_b, neutron_flux_cm2_s=FLUX
        )
        for i in parse_target("W").isotopes
    )
    band = np.sqrt(sum((error * part["W"]) ** 2 for error, part in parts))
    # lines and other models move counts about; only the cross-section, to 2 %, adds some
    for error, part in parts:
        assert abs(error * part["W"].sum()) < 0.02 * rate
    assert np.all(band[nominal > 0] > 0)
    # where there is no line the model decides
    smooth = (edges[:-1] > 20) & (edges[:-1] < 70)
    assert np.all(band[smooth] > 0.02 * nominal[smooth])
    assert np.all(band[smooth] < 0.4 * nominal[smooth])
    # the band spans what another strength function gives
    lines_alone = spectrum_of(unresolved="left_out", **request).counts_per_kg_day["W"]
    hotter = spectrum_of(continuum_temperature_MeV=0.6, **request).counts_per_kg_day["W"]
    assert np.all(np.abs(hotter - nominal)[smooth] < 2 * band[smooth])
    # negative control: leaving the captures out is far outside of it
    assert np.all(np.abs(lines_alone - nominal)[smooth] > 2 * band[smooth])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"continuum_temperature_MeV": 0.0}, "temperature of the continuum is 0 MeV"),
        ({"unresolved": "guessed"}, "unresolved captures are 'guessed', expected statistical or left_out"),
        ({"unresolved": "left_out", "continuum_temperature_MeV": 0.5}, "are left out, and have a temperature"),
    ],
)
def test_bad_wishes_of_unresolved_captures_are_named(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        spectrum_of(target="W", neutron_flux_cm2_s=FLUX, energy_edges_eV=[0, 1], **change)  # type: ignore[arg-type]


def test_escape_takes_events_whose_gammas_stay() -> None:
    edges = np.array([0.0, 112.0, 113.0, 500.0])
    escape = GammaEscape(points=((50.0, 0.0), (1000.0, 0.5), (6000.0, 0.9)))
    settings_ = {"target": "W", "neutron_flux_cm2_s": FLUX, "energy_edges_eV": edges}
    every, some = spectrum_of(**settings_), spectrum_of(escape=escape, **settings_)
    ratio = some.counts_per_kg_day["W"] / every.counts_per_kg_day["W"]
    assert ratio[0] < 0.5
    assert ratio[1] == pytest.approx(0.9, abs=0.02)
    assert escape.of_events(np.array([[3500.0, 6190.0]])) == pytest.approx([0.7 * 0.9])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"neutron_flux_cm2_s": -1.0}, "neutron flux is -1"),
        (
            {"target": "CaWO4", "table": {"W182": capture_table()["W182"]}},
            "the capture table knows nothing of Ca, O, only of W; give one that does",
        ),
        ({"energy_edges_eV": [-1.0, 2.0]}, "expected at least 0 eV"),
        ({"energy_edges_eV": [2.0, 1.0]}, "does not lie above"),
    ],
)
def test_bad_requests_are_named(change: dict[str, object], message: str) -> None:
    good = {"target": "W", "neutron_flux_cm2_s": FLUX, "energy_edges_eV": [0.0, 1.0]}
    with pytest.raises(InputError, match=message):
        spectrum_of(**(good | change))  # type: ignore[arg-type]


# -- observed -----------------------------------------------------------------------------------------------


def no_loss(*species: str) -> StoredEnergyModel:
    one = SpeciesModel(
        defect_probability=FermiProbability(half_energy_eV=1e6, width_eV=0.0),
        distribution=StoredEnergyDistribution(
            shape="gaussian",
            reference_energy_eV=100.0,
            energy_scale_eV=50.0,
            lowest_energy_eV=20.0,
            location_eV=(9.0,),
            log_sigma=(1.0,),
        ),
        minimum_recoil_energy_eV=1.0,
        maximum_recoil_energy_eV=1e5,
    )
    return StoredEnergyModel(species=dict.fromkeys(species, one))


def constant_loss(loss_eV: float) -> StoredEnergyModel:
    """Every recoil above 5 eV stores almost exactly the same energy, which is no linear function."""
    one = SpeciesModel(
        defect_probability=FermiProbability(half_energy_eV=5.0, width_eV=0.0),
        distribution=StoredEnergyDistribution(
            shape="gaussian",
            reference_energy_eV=100.0,
            energy_scale_eV=50.0,
            lowest_energy_eV=6.0,
            location_eV=(loss_eV,),
            log_sigma=(math.log(0.3),),
        ),
        minimum_recoil_energy_eV=0.0,
        maximum_recoil_energy_eV=1e5,
    )
    return StoredEnergyModel(species={"Si": one})


def test_without_loss_the_observed_spectrum_is_the_recoil_spectrum() -> None:
    request = {"target": "CaWO4", "neutron_flux_cm2_s": FLUX, "energy_edges_eV": np.arange(0.0, 201.0)}
    recoil = spectrum_of(**request)
    observed = observed_of(no_loss("W", "Ca", "O"), **request)
    detector = Detector(resolution_eV=5.0)
    a, b = (apply_detector(s, detector).total_rate_per_kg_day_keV[20:180] for s in (recoil, observed))
    # 2 %: sampled cascades against the closed form
    np.testing.assert_allclose(b, a, rtol=0.02)


def test_two_recoils_of_a_slow_cascade_store_energy_twice() -> None:
    request = {
        "target": "Si",
        "neutron_flux_cm2_s": FLUX,
        "energy_edges_eV": np.arange(970.0, 1000.0, 1.0),
        "timing": GammaTiming(law="slow"),
    }
    recoil = spectrum_of(**request)
    observed = observed_of(constant_loss(4.0), **request)
    peak = recoil.energy_centers_eV[np.argmax(recoil.total_rate_per_kg_day_keV)]
    shifted = observed.energy_centers_eV[np.argmax(observed.total_rate_per_kg_day_keV)]
    assert peak == 990.5
    assert shifted == pytest.approx(990.14 - 2 * 4.0, abs=0.6)  # once would be 986.1


def test_three_peaks_of_cawo4_move_by_what_is_printed() -> None:
    """Fig. 4 of Soum-Sidikov et al. 2024: peaks at 81, 112, 160 eV, 5 eV resolution, shifts of about 10 %."""
    request = {
        "target": "CaWO4",
        "neutron_flux_cm2_s": FLUX,
        "energy_edges_eV": np.arange(0.0, 201.0, 0.5),
        "timing": GammaTiming(law="slow"),
    }
    detector = Detector(resolution_eV=5.0)
    recoil = apply_detector(spectrum_of(**request), detector)
    observed = apply_detector(observed_of(cawo4_published(), extrapolate=True, **request), detector)

    def peak(spectrum, low: float, high: float) -> float:
        inside = (spectrum.energy_centers_eV > low) & (spectrum.energy_centers_eV < high)
        best = np.argmax(np.where(inside, spectrum.total_rate_per_kg_day_keV, 0))
        return float(spectrum.energy_centers_eV[best])

    for energy, loss in ((80.0, 7.5), (112.0, 8.9), (160.0, 11.0)):
        shift = peak(recoil, energy - 8, energy + 8) - peak(observed, energy - loss - 8, energy - loss + 8)
        assert shift == pytest.approx(loss, abs=1.0)
    assert "response of W used for Ca, O" in observed.notes


def test_an_element_without_response_is_named() -> None:
    with pytest.raises(InputError, match="no response for Ca; there are: W, O"):
        observed_of(no_loss("W", "O"), target="CaWO4", neutron_flux_cm2_s=FLUX, energy_edges_eV=[0.0, 1.0])


def test_the_figure_of_merit_is_the_product_that_the_slides_name() -> None:
    # share (%) x b x gammas per 100 captures x 1e22 atoms of the element per cm3, by hand for 28Si, 8472 keV, of
    # EGAF: 92.22 % of 0.177 b, 0.0023 per capture; 2.33 g/cm3
    lines = {line.gamma_keV: line for line in capture_lines(target="Si", neutron_flux_cm2_s=FLUX)}
    isotope = capture_table()["Si28"]
    (gamma,) = [x for x in isotope.lines if x.gamma_keV == 8472.209]
    atoms_1e22 = 2.33 / 28.085 * constants.N_A / 1e22
    expected = 92.22 * isotope.cross_section_b * 100 * gamma.per_capture * atoms_1e22
    assert lines[8472.209].figure_of_merit == pytest.approx(expected, rel=2e-3)
    # printed, with intensities of another evaluation: 180 (1330 eV), 589 (7199 keV, then 1273 keV: 990 eV);
    # lecture of G. Soum-Sidikov, Aussois 2024, "CRAB targets"
    assert lines[8472.209].figure_of_merit == pytest.approx(180, rel=0.07)
    assert lines[7199.199].figure_of_merit == pytest.approx(589, rel=0.07)
    # of Ge the ratio is the printed one, 538 / 238, the values are 1.3 times those
    ge = {x.target: x.figure_of_merit for x in capture_lines(target="Ge", neutron_flux_cm2_s=1.0) if x.is_single}
    assert ge["Ge70"] / ge["Ge74"] == pytest.approx(538 / 238, rel=0.02)
    double = capture_lines(target="Si", neutron_flux_cm2_s=FLUX, density_g_cm3=4.66)
    assert double[0].figure_of_merit == pytest.approx(2 * lines[double[0].gamma_keV].figure_of_merit)
    assert capture_lines(target="NaCl", neutron_flux_cm2_s=1.0)[0].figure_of_merit is None


def test_a_table_of_ones_own_adds_elements_and_replaces_whole_ones(tmp_path: Path) -> None:
    (tmp_path / "capture_isotopes.toml").write_text(
        '[sources]\nmine = "measured by us"\n[[isotopes]]\ntarget = "Tc99"\ncross_section_b = 20.0\n'
        "cross_section_error_b = 1.0\nneutron_separation_keV = 6764.4\nneutron_separation_error_keV = 1.0\n"
        'cross_section_source = "mine"\nneutron_separation_source = "mine"\ngammas_source = "mine"\n'
        '[[isotopes]]\ntarget = "W182"\ncross_section_b = 20.0\n'
        "cross_section_error_b = 1.0\nneutron_separation_keV = 6190.8\nneutron_separation_error_keV = 1.0\n"
        'cross_section_source = "mine"\nneutron_separation_source = "mine"\ngammas_source = "mine"\n'
    )
    (tmp_path / "capture_lines.csv").write_text(
        "target,gamma_keV,gamma_error_keV,final_level_keV,per_capture,per_capture_error\nTc99,6764.0,,0,0.1,0.01\n"
    )
    (tmp_path / "capture_levels.csv").write_text("target,level_keV,half_life_fs,final_level_keV,share\n")
    table = capture_table(tmp_path)
    assert table["Tc99"].lines[0].source == "measured by us"
    assert table["Si28"] is capture_table()["Si28"]
    assert [name for name in table if name.startswith("W")] == ["W182"]  # of W no isotope is ours any more
    beyond = tmp_path / "beyond"
    shutil.copytree(tmp_path, beyond, ignore=shutil.ignore_patterns("beyond"))
    text = (beyond / "capture_lines.csv").read_text()
    (beyond / "capture_lines.csv").write_text(text.replace("6764.0,,0,", "6764.0,,1e9,"))
    with pytest.raises(InputError, match=r"of 1e\+09 keV is more than the 6764.4 keV that a capture in Tc99"):
        capture_table(beyond)


# -- a gamma in coincidence ---------------------------------------------------------------------------------

#: What may be asked for in any of these tests.
ASKED = {"target": "CaWO4", "neutron_flux_cm2_s": FLUX, "energy_edges_eV": np.arange(0.0, 201.0)}


def two_steps(per_capture: float) -> dict:
    """A tungsten of one isotope: a part of its captures goes straight down, the rest stops at 2 MeV on the way."""
    isotope = dataclasses.replace(
        capture_table()["W182"],
        lines=(
            PrimaryGamma(gamma_keV=6190.7, gamma_error_keV=None, final_level_keV=0.0,
                         per_capture=1 - per_capture, per_capture_error=None, source="made up"),
            PrimaryGamma(gamma_keV=4190.7, gamma_error_keV=None, final_level_keV=2000.0,
                         per_capture=per_capture, per_capture_error=None, source="made up"),
        ),
        decays={2000.0: (LevelDecay(level_keV=2000.0, gamma_keV=2000.0, final_level_keV=0.0, share=1.0,
                                    half_life_fs=0.0),)},
    )  # fmt: skip
    return {"W182": isotope}


def tagged(tag: GammaTag | None, *, table: dict, target: str = "W[W182=1]") -> np.ndarray:
    spectrum = spectrum_of(
        target=target,
        neutron_flux_cm2_s=FLUX,
        energy_edges_eV=np.arange(0.0, 201.0),
        timing=GammaTiming(law="prompt"),
        tag=tag,
        table=table,
    )
    return spectrum.counts_per_kg_day["W"]


def test_a_tag_that_takes_any_gamma_is_none() -> None:
    free = spectrum_of(**ASKED)
    any_gamma = GammaTag(energy_keV=1.0, width_keV=math.inf)
    for element, counts in spectrum_of(**ASKED, tag=any_gamma).counts_per_kg_day.items():
        np.testing.assert_allclose(counts, free.counts_per_kg_day[element], rtol=1e-12)


@given(st.floats(0.01, 1.0), st.floats(0.05, 0.95))
@settings(max_examples=10, deadline=None)
def test_a_tag_keeps_the_captures_of_which_a_gamma_is_seen(efficiency: float, share: float) -> None:
    table = two_steps(share)
    whole = tagged(None, table=table).sum()
    for tag, kept in (
        (GammaTag(energy_keV=6190.7, width_keV=5.0, efficiency=efficiency), (1 - share) * efficiency),
        (GammaTag(energy_keV=4190.7, width_keV=5.0, efficiency=efficiency), share * efficiency),
        # the other gamma of the same cascade selects the same captures
        (GammaTag(energy_keV=2000.0, width_keV=5.0, efficiency=efficiency), share * efficiency),
        # two chances to see one of two
        (
            GammaTag(energy_keV=3000.0, width_keV=1500.0, efficiency=efficiency),
            share * (1 - (1 - efficiency) ** 2),
        ),
        (GammaTag(energy_keV=9000.0, width_keV=5.0), 0.0),
    ):
        assert tagged(tag, table=table).sum() == pytest.approx(kept * whole, rel=1e-9, abs=1e-12 * whole)


def test_a_tag_of_one_gamma_of_two_selects_the_cascade_and_no_line() -> None:
    table = two_steps(0.5)
    seen = tagged(GammaTag(energy_keV=4190.7, width_keV=5.0), table=table)
    assert seen[112] < 0.05 * seen.sum()  # 112.4 eV is the line of the single gamma
    # both gammas at once: uniform between (p1 - p2)^2 / 2M and (p1 + p2)^2 / 2M
    mass_MeV = (
        table["W182"].compound_mass_u
        * constants.physical_constants["atomic mass constant energy equivalent in MeV"][0]
    )
    low, high = ((4190.7 - s * 2000.0) ** 2 / (2 * mass_MeV) for s in (1, -1))
    expected = np.clip((np.arange(201.0) - low) / (high - low), 0, 1)
    np.testing.assert_allclose(np.cumsum(seen), expected[1:] * seen.sum(), atol=1e-9 * seen.sum())
    alone = tagged(GammaTag(energy_keV=6190.7, width_keV=5.0), table=table)
    assert alone[112] == pytest.approx(alone.sum())


def test_untagged_captures_are_tagged_ones_and_the_others() -> None:
    # windows that share no gamma and cover all primaries of a table: one primary each
    table = two_steps(0.3)
    parts = [tagged(GammaTag(energy_keV=e, width_keV=5.0), table=table) for e in (6190.7, 4190.7)]
    np.testing.assert_allclose(sum(parts), tagged(None, table=table), rtol=1e-12)


def test_the_third_peak_of_cawo4_comes_out_in_coincidence() -> None:
    # G. Soum-Sidikov, lecture at DRBT (Aussois, 2024): a third peak at 80 eV in coincidence with 5.47 +- 0.20 MeV
    slow = {**ASKED, "timing": GammaTiming(law="slow")}
    free = spectrum_of(**slow).total_rate_per_kg_day_keV
    seen = spectrum_of(**slow, tag=GammaTag(energy_keV=5470.0, width_keV=200.0)).total_rate_per_kg_day_keV
    assert np.all(seen <= free * (1 + 1e-9))
    peak = int(np.argmax(seen))
    assert 79 <= peak <= 86
    beside = np.r_[60:75, 95:108]
    assert seen[peak] > 20 * seen[beside].mean()
    assert free[peak] < 20 * free[beside].mean()  # without the tag it is one of many
    assert seen[112] < 0.02 * free[112]


def test_a_tag_that_no_capture_gives_is_said() -> None:
    words = {"target": "Si", "neutron_flux_cm2_s": 100.0, "energy_edges_eV": [0.0, 700.0, 1400.0]}
    none = spectrum_of(**words, tag=GammaTag(energy_keV=9999, width_keV=5))
    assert none.notes[-1].startswith("no capture in Si of which a gamma of 9999 +- 5 keV is seen")
    some = spectrum_of(**words, tag=GammaTag(energy_keV=4933, width_keV=5))
    assert not any("no capture" in note for note in some.notes)


def test_what_is_observed_of_tagged_captures_keeps_their_counts() -> None:
    tag = GammaTag(energy_keV=5470.0, width_keV=200.0, efficiency=0.3)
    recoil = spectrum_of(**ASKED, tag=tag)
    observed = observed_of(no_loss("W", "Ca", "O"), **ASKED, tag=tag, extrapolate=True)
    # the continuum is drawn one by one in the one, and averaged in the other
    assert observed.total_counts_per_kg_day == pytest.approx(recoil.total_counts_per_kg_day, rel=0.01)


def test_the_errors_of_tagged_lines_are_those_of_the_gammas_that_are_seen() -> None:
    case = {**ASKED, "unresolved": "left_out", "energy_edges_eV": [0.0, 1e4]}
    narrow = list(parts_of(**case, tag=GammaTag(energy_keV=6190.78, width_keV=1.0)))
    (line,) = [x for x in capture_lines(target="CaWO4", neutron_flux_cm2_s=FLUX) if x.gamma_keV == 6190.78]
    variance = sum((error * sum(c.sum() for c in part.values())) ** 2 for error, part in narrow)
    assert math.sqrt(variance) == pytest.approx(line.rate_error_per_kg_day, rel=1e-6)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"energy_keV": -1.0, "width_keV": 1.0}, "energy_keV of a tag is -1"),
        ({"energy_keV": 1.0, "width_keV": 0.0}, "width_keV of a tag is 0"),
        ({"energy_keV": 1.0, "width_keV": 1.0, "efficiency": 1.5}, "efficiency of a tag is 1.5"),
    ],
)
def test_impossible_tags_are_refused(wrong: dict[str, float], words: str) -> None:
    with pytest.raises(InputError, match=words):
        GammaTag(**wrong)


# -- making the table ---------------------------------------------------------------------------------------


def egaf_file(target: str, residual: str, *, primaries: list[tuple[float, float, float]]) -> dict[str, object]:
    """What EGAF says of a made-up isotope: primaries as energy, final level (keV), partial cross-section (b)."""

    def gamma(energy: float, final: float, kind: str, partial_b: float) -> dict[str, object]:
        cell = {
            "partialIsotopicCrossSection": partial_b,
            "dPartialIsotopicCrossSection": 0.1 * partial_b,
            "populationPerNeutronCapture": partial_b / 20.0,
        }
        return {
            "gammaEnergy": energy,
            "dGammaEnergy": 0.5,
            "levelEnergyFinal": final,
            "gammaTransitionType": kind,
            "gammaAbsoluteIntensities": [cell],
        }

    life = [{"halfLifeConverted": 2e-13}]
    return {
        "nucleusTargetID": target,
        "nucleusID": residual,
        "recordQ": [{"energyNeutronSeparationAME2020": 6190.8, "dEnergyNeutronSeparationAME2020": 0.04}],
        "neutronCaptureNormalization": [
            {
                "normalizationRecord": [
                    {
                        "naturalIsotopicAbundance": 26.5,
                        "adoptedTotalThermalCaptureCrossSection": 20.0,
                        "dAdoptedTotalThermalCaptureCrossSection": 0.5,
                    }
                ]
            }
        ],
        "levelScheme": [
            {"levelEnergy": 0.0, "isomerDecay": [], "gammaDecay": []},
            {"levelEnergy": 46.5, "isomerDecay": life, "gammaDecay": [gamma(46.5, 0.0, "secondary", 3.0)]},
            {"levelEnergy": 99.0, "isomerDecay": [], "gammaDecay": [gamma(99.0, 0.0, "secondary", 3.0),
                                                                    gamma(52.5, 46.5, "secondary", 1.0)]},
            {
                "levelEnergy": 6190.8,
                "isomerDecay": [],
                "gammaDecay": [gamma(e, final, "primary", b) for e, final, b in primaries],
            },
        ],
    }  # fmt: skip


def test_a_table_is_made_of_egaf_and_read_again(tmp_path: Path) -> None:
    primaries = [(6190.7, 0.0, 4.0), (6144.2, 46.5, 1.0), (6091.7, 99.0, 0.001), (5000.0, 99.0, 2.0)]
    (tmp_path / "w.json").write_text(json.dumps(egaf_file("W182", "W183", primaries=primaries)))
    assert write_capture_table(tmp_path, tmp_path / "out") == 5  # the other natural isotopes, without gammas
    table = capture_table(tmp_path / "out")
    isotope = table["W182"]
    # the third is below 1e-3 per capture, the fourth misses the separation energy by 1.1 MeV
    assert [(x.gamma_keV, x.per_capture, x.per_capture_error) for x in isotope.lines] == [
        (6190.7, 0.2, 0.02),
        (6144.2, 0.05, 0.005),
    ]
    assert "1 primary gammas left out: in EGAF they miss" in isotope.note
    assert [(d.final_level_keV, d.share) for d in isotope.decays[99.0]] == [(0.0, 0.75), (46.5, 0.25)]
    assert isotope.decays[46.5][0].half_life_fs == pytest.approx(200)
    assert isotope.levels_keV == (0.0, 46.5, 99.0)
    assert table["W186"].note == "not in EGAF"
    assert table["W186"].cross_section_b == pytest.approx(37.9, rel=0.02)  # NIST, and EGAF
    with pytest.raises(InputError, match="no JSON file in it"):
        write_capture_table(tmp_path / "out", tmp_path)


def test_egaf_that_adds_up_to_too_much_has_its_lines_left_out(tmp_path: Path) -> None:
    (tmp_path / "w.json").write_text(
        json.dumps(egaf_file("W182", "W183", primaries=[(6190.7, 0.0, 25.0), (6144.2, 46.5, 7.0)]))
    )
    write_capture_table(tmp_path, tmp_path / "out")
    isotope = capture_table(tmp_path / "out")["W182"]
    assert not isotope.lines
    assert "add up to 1.6 captures" in isotope.note
