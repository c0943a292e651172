"""Measured spectra: the files of the EXCESS workshop, counts and rates, what ships, the scale of Appendix B."""

from pathlib import Path

import numpy as np
import pytest

from cascade_driver.cli import main
from cascade_driver.errors import InputError
from cascade_driver.relaxation.film.measured import counts_of, per_film_area, read_workshop
from cascade_driver.relaxation.film.spectrum import read_film_background
from cascade_driver.spectrum import Spectrum, read_spectrum, write_spectrum


def put(folder: Path, **files: str) -> Path:
    """Write NAME.txt and those beside it; return the first."""
    for name, text in files.items():
        (folder / f"{name}.txt").write_text(text)
    return folder / f"{next(iter(files))}.txt"


def test_measured_spectra_are_scaled_as_in_appendix_B():
    # CPD: 10.6 g, 2 % of 45.6 cm2, cold for 6 weeks. The notebook FIN_SIM_3 prints 8.071393762183234e-06 per m2.
    measured = Spectrum(energy_edges_eV=[10, 20, 30], rate_per_kg_day_keV={"": np.array([1.0, 2.0])})
    scaled = per_film_area(measured, film_area_mm2=91.2, detector_mass_kg=0.0106, days_since_cooldown=42.0)
    np.testing.assert_allclose(scaled, [8.071393762183234e-12, 2 * 8.071393762183234e-12], rtol=1e-12)


def test_a_list_of_events_is_counted_in_eV_and_divided_by_exposure_and_efficiency(tmp_path):
    events = "#Energies (keV)\n0.015\n0.025\n0.026\n1.0\n"
    path = put(tmp_path, D=events, D_exposure="2.0", D_eff="0 0.5\n10 0.5")
    found = read_workshop(path, energy_eV=(10, 30), bins=2)
    np.testing.assert_array_equal(found.events, [1, 2])
    # 1 and 2 events in 0.01 keV, 2 kg day, half of them seen
    np.testing.assert_allclose(found.spectrum().total_rate_per_kg_day_keV, [100, 200])


def test_bins_hold_counts_and_rates_where_the_exposure_beside_is_1(tmp_path):
    bins = "0.1\t0.2\t30\n0.2\t0.3\t10\n"
    counted = read_workshop(put(tmp_path, A=bins, A_exposure="5"))
    np.testing.assert_array_equal(counted.events, [30, 10])
    rated = read_workshop(put(tmp_path, B=bins, B_exposure="1"), exposure_kg_day=2.0)
    np.testing.assert_allclose(rated.events, [6, 2])
    np.testing.assert_allclose(rated.spectrum().total_rate_per_kg_day_keV, [30, 10])


def test_what_three_columns_hold_can_be_said_and_is_told(tmp_path, capsys):
    # An exposure under another name, as of the workshop's MINER: nothing beside says that these are rates.
    path = put(tmp_path, M="0.1\t0.3\t30\n0.3\t0.5\t10\n", M_other_exposure="1")
    np.testing.assert_allclose(read_workshop(path, exposure_kg_day=2.0).events, [30, 10])
    np.testing.assert_allclose(read_workshop(path, exposure_kg_day=2.0, values="rates").events, [12, 4])
    command = ["background", "read", str(path), "--exposure-kg-day", "2", "--out", str(tmp_path / "m.csv")]
    assert main(command) == 0
    assert "the file holds counts (--values says otherwise)" in capsys.readouterr().out
    assert main([*command, "--values", "rates"]) == 0
    assert "the file holds rates" in capsys.readouterr().out
    assert read_workshop(path, exposure_kg_day=2.0, values="rates", energy_eV=(100, 300)).given_as == "rates"
    with pytest.raises(InputError, match="a list of events, which has no rates"):
        read_workshop(put(tmp_path, E="0.1\n0.2\n"), exposure_kg_day=1.0, values="rates")


def test_efficiency_is_that_of_the_events_however_wide_the_bins_are(tmp_path):
    # 4 events of which a quarter and 6 of which three quarters are seen: 16 and 8 happened. Rows in any order.
    events = "0.01\n" * 4 + "0.03\n" * 6
    path = put(tmp_path, D=events, D_eff="0.03 0.75\n0.01 0.25\n0.05 0.75")
    for bins in (1, 2):
        found = read_workshop(path, exposure_kg_day=1.0, energy_eV=(0, 40), bins=bins)
        assert found.spectrum().total_counts_per_kg_day == pytest.approx(24)
    # Where nothing is seen no event can be.
    with pytest.raises(InputError, match="an efficiency of 0"):
        read_workshop(put(tmp_path, Z=events, Z_eff="0.0 0\n0.02 0\n0.03 0.75"), exposure_kg_day=1.0, bins=1)
    # Negative control: the centre of one bin, 20 eV, has the half of them.
    assert found.events.sum() / 0.5 != pytest.approx(24)


def test_energies_of_the_efficiency_are_in_the_unit_of_the_values_and_bins_outside_are_told(tmp_path, capsys):
    in_eV = put(tmp_path, A="10 20 30\n20 30 10\n", A_eff="10 0.2\n30 0.6", A_exposure="2")
    in_keV = put(tmp_path, B="0.01 0.02 30\n0.02 0.03 10\n", B_eff="0.01 0.2\n0.03 0.6", B_exposure="2")
    for path, unit in ((in_eV, "eV"), (in_keV, "keV")):
        found = read_workshop(path, unit=unit)
        np.testing.assert_allclose(found.efficiency, [0.3, 0.5])
        assert not found.notes
    # Of a list of events, too.
    events = put(tmp_path, E="12\n12\n28\n", E_eff="10 0.2\n30 0.6", E_exposure="2")
    assert read_workshop(events, unit="eV", energy_eV=(10, 30), bins=2).efficiency == pytest.approx([0.24, 0.56])
    # A table in keV beside values in eV ends far below them.
    mixed = put(tmp_path, C="10 20 30\n20 30 10\n", C_eff="0.01 0.2\n0.03 0.6", C_exposure="2")
    command = ["background", "read", str(mixed), "--unit", "eV", "--out", str(tmp_path / "c.csv")]
    assert main(command) == 0
    assert (
        "note: the efficiency is tabulated from 0.01 to 0.03 eV; 2 of 2 bins lie outside"
        in capsys.readouterr().err
    )
    assert main([*command, "--efficiency", "0.5"]) == 0
    assert capsys.readouterr().err.count("efficiency") == 0


def test_centres_per_gram_and_eV_are_a_million_times_those_per_kg_and_keV(tmp_path):
    path = put(tmp_path, C="1.0,3.0\n3.0,0.0\n5.0,1.0\n")
    found = read_workshop(path, unit="eV", exposure_kg_day=0.01)
    np.testing.assert_array_equal(found.energy_edges_eV, [0, 2, 4, 6])
    np.testing.assert_allclose(found.events, [3 * 10 * 2, 0, 1 * 10 * 2])
    np.testing.assert_allclose(found.spectrum().total_rate_per_kg_day_keV, [3e6, 0, 1e6])


def test_counts_come_back_from_the_file_of_a_spectrum(tmp_path):
    path = put(tmp_path, D="0.015\n0.025\n0.026\n", D_eff="0.01 0.2\n0.03 0.6")
    found = read_workshop(path, exposure_kg_day=0.3, energy_eV=(10, 30), bins=4)
    write_spectrum(found.spectrum(), tmp_path / "d.csv")
    back = counts_of(read_spectrum(tmp_path / "d.csv"), name="d")
    np.testing.assert_array_equal(back.events, found.events)
    np.testing.assert_allclose(back.exposure_per_rate, found.exposure_per_rate, rtol=1e-8)


def test_shipped_spectra_hold_whole_events():
    # CRESST-III A: 807 of the 1257 events of the workshop's list lie between 30 and 250 eV; both files give rates.
    wanted = read_film_background(Path("film-published.toml"))
    cpd, cresst = (counts_of(one.spectrum(), name=one.called) for one in wanted.measured)
    assert cresst.events.sum() == 807
    assert np.abs(cpd.events - np.round(cpd.events)).max() < 0.01
    # Negative control: with another efficiency they are no whole numbers.
    wrong = cpd.events[-40:] / 0.88588 * 0.95
    assert np.abs(wrong - np.round(wrong)).max() > 0.2


def test_the_command_reads_and_writes_what_is_drawn(tmp_path, capsys):
    path = put(tmp_path, D="0.015\n0.025\n", D_exposure="2.0")
    arguments = ["background", "read", str(path), "--energy-eV", "10", "30", "--bins", "2"]
    assert main([*arguments, "--out", str(tmp_path / "d.csv")]) == 0
    assert "2 events in 2 bins from 10 to 30 eV, 2 kg day" in capsys.readouterr().out
    assert counts_of(read_spectrum(tmp_path / "d.csv"), name="d").events.tolist() == [1, 1]


def test_an_excess_that_falls_into_one_bin_is_told(tmp_path, capsys):
    path = put(tmp_path, D="0.015\n" * 30 + "0.025\n" * 20 + "12\n", D_exposure="2.0")
    arguments = ["background", "read", str(path), "--out", str(tmp_path / "d.csv")]
    assert main(arguments) == 0
    assert "98% of the events lie in one bin, 0 to 120 eV; a narrower range" in capsys.readouterr().err
    assert main([*arguments, "--energy-eV", "10", "40", "--bins", "4"]) == 0
    assert "60% of the events lie in one bin, 10 to 17.5 eV" in capsys.readouterr().err
    even = put(tmp_path, E="0.015\n" * 30 + "0.025\n" * 30, E_exposure="2.0")
    assert main(["background", "read", str(even), "--out", str(tmp_path / "e.csv")]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        ("0.1 0.2 3\n0.3 0.4 1\n", {"exposure_kg_day": 1.0}, "overlap or leave gaps"),
        ("0.1 0.2 3 4\n", {"exposure_kg_day": 1.0}, "rows of \\[4\\] numbers"),
        ("0.1\n0.2 3\n", {"exposure_kg_day": 1.0}, "rows of \\[1, 2\\] numbers"),
        ("0.1 1\n0.2 1\n0.4 1\n", {"exposure_kg_day": 1.0}, "unequal steps"),
        ("0.1 1\nmore\n", {"exposure_kg_day": 1.0}, "line 2: expected numbers, found 'more'"),
        ("0.1\nnan\n", {"exposure_kg_day": 1.0}, "no finite number"),
        ("0.1\n", {}, "the exposure is not known"),
        ("0.1 0.2 3\n", {"exposure_kg_day": 1.0, "bins": 3}, "it has bins already"),
        ("0.1 0.2 3\n", {"exposure_kg_day": 1.0, "energy_eV": (300, 400)}, "no bin between 300 and 400 eV"),
        ("0.1 0.2 -3\n", {"exposure_kg_day": 1.0}, "less than no event"),
    ],
)
def test_files_of_another_kind_get_one_clear_line(tmp_path, text, arguments, message):
    with pytest.raises(InputError, match=message):
        read_workshop(put(tmp_path, D=text), **arguments)


def test_a_spectrum_without_exposure_has_no_counts():
    plain = Spectrum(energy_edges_eV=[1, 2], rate_per_kg_day_keV={"": np.ones(1)})
    with pytest.raises(InputError, match="no exposure, which turns rates into counts"):
        counts_of(plain, name="plain")
    with pytest.raises(InputError, match="film_area_mm2 is 0"):
        per_film_area(plain, film_area_mm2=0.0, detector_mass_kg=1.0, days_since_cooldown=1.0)
