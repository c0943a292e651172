"""Tables of spectra as people write them."""

import re

import numpy as np
import pytest

from cascade_driver.errors import InputError
from cascade_driver.request import MonoenergeticRequest, ReactorRequest, SolarRequest
from cascade_driver.spectrum import read_spectrum
from cascade_driver.table import read_columns

WANTED = ([0.0, 10.0, 20.0], [1.5, 0.25])


def numpy_header(path, **changes):
    rows = np.array([[0.0, 10.0, 1.5], [10.0, 20.0, 0.25]])
    np.savetxt(path, rows, **{"header": "energy_low_eV,energy_high_eV,rate_W", "delimiter": ",", **changes})


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("energy_low_eV;energy_high_eV;rate_W\n0;10;1.5\n10;20;0.25\n", id="semicolons"),
        pytest.param("energy_low_eV;energy_high_eV;rate_W\n0,0;10,0;1,5\n10;20;0,25\n", id="decimal commas"),
        pytest.param("energy_low_eV\tenergy_high_eV\trate_W\n0\t10\t1,5\n10\t20\t0,25\n", id="tabs"),
        pytest.param("energy_low_eV energy_high_eV  rate_W\n 0 10   1.5\n10 20 0.25\n", id="blanks"),
        pytest.param("energy_low_keV,energy_high_keV,rate_W\n0,0.01,1.5\n0.01,0.02,0.25\n", id="keV"),
        pytest.param("energy_eV,rate_W\n5,1.5\n15,0.25\n", id="centres"),
        pytest.param("E_keV,rate_W\n0.005,1.5\n0.015,0.25\n", id="a physicist's E"),
        pytest.param("rate_W energy_keV\n1,5 0,005\n0,25 0,015\n", id="centres in keV, decimal commas"),
        pytest.param("# made on Monday\n# energy_eV rate_W\n5 1.5\n15 0.25\n", id="names in a comment"),
    ],
)
def test_a_table_is_read_as_it_is_written(text, tmp_path):
    (tmp_path / "s.csv").write_text(text)
    spectrum = read_spectrum(tmp_path / "s.csv")
    assert spectrum.energy_edges_eV == pytest.approx(WANTED[0])
    assert spectrum.rate_per_kg_day_keV["W"] == pytest.approx(WANTED[1])


@pytest.mark.parametrize("delimiter", [",", " ", ";", "\t"])
def test_what_numpy_writes_is_read(delimiter, tmp_path):
    numpy_header(tmp_path / "s.csv", delimiter=delimiter)
    assert read_spectrum(tmp_path / "s.csv").rate_per_kg_day_keV["W"].tolist() == WANTED[1]
    numpy_header(tmp_path / "s.csv", delimiter=delimiter, comments="")
    assert read_spectrum(tmp_path / "s.csv").rate_per_kg_day_keV["W"].tolist() == WANTED[1]


MIDDLES = {"geometric": lambda low, high: np.sqrt(low * high), "arithmetic": lambda low, high: (low + high) / 2}


@pytest.mark.parametrize("middle", MIDDLES)
def test_centres_of_equal_ratio_make_bins_of_equal_ratio(middle, tmp_path):
    edges = np.geomspace(1.0, 100.0, 9)
    rows = "\n".join(f"{c:.6g},1" for c in MIDDLES[middle](edges[:-1], edges[1:]))
    (tmp_path / "s.csv").write_text(f"# centres: {middle}\nenergy_eV,rate\n{rows}\n")
    assert read_spectrum(tmp_path / "s.csv").energy_edges_eV == pytest.approx(edges, rel=1e-4)
    # Which middles they are nobody can tell, and both readings are named.
    (tmp_path / "s.csv").write_text(f"energy_eV,rate\n{rows}\n")
    with pytest.raises(InputError, match=r"from (1|0.99999\d) to (100|99.99\d*) eV.*# centres: geometric"):
        read_spectrum(tmp_path / "s.csv")


def test_of_narrow_bins_both_middles_are_one(tmp_path):
    edges = np.geomspace(1.0, 100.0, 200)
    rows = "\n".join(f"{c:.8g},1" for c in MIDDLES["arithmetic"](edges[:-1], edges[1:]))
    (tmp_path / "s.csv").write_text(f"energy_eV,rate\n{rows}\n")
    assert read_spectrum(tmp_path / "s.csv").energy_edges_eV == pytest.approx(edges, rel=3e-4)


def test_bins_below_zero_are_taken_with_a_note(tmp_path):
    (tmp_path / "s.csv").write_text("energy_low_eV,energy_high_eV,rate_W\n0,10,1.5\n10,20,-0.25\n")
    spectrum = read_spectrum(tmp_path / "s.csv")
    assert spectrum.rate_per_kg_day_keV["W"].tolist() == [1.5, -0.25]
    assert any("1 of 2 bins have a negative rate" in note for note in spectrum.notes)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("energy_eV,rate\n1,1\n2,1\n5,1\n", ["equal steps or ratios", "energy_low_eV"]),
        (
            "energy_eV,energy_low_eV,energy_high_eV,rate\n1,0,2,1\n",
            ["expected energy_low_eV and energy_high_eV alone"],
        ),
        (
            "energy_low_eV,energy_high_eV,rate\n0,0,10,0,1,5\n",
            ["line 2", "found 6 cells, expected 3", "decimal point"],
        ),
        ("# centres: harmonic\nenergy_eV,rate\n1,1\n2,1\n", ["geometric or arithmetic"]),
        ("# my spectrum\n0,10,1\n", ["found numbers", "names of the columns"]),
        ("0 10 1\n", ["found numbers", "put a line energy_low_eV,energy_high_eV,rate above"]),
        ("5 1\n15 2\n", ["found numbers", "put a line energy_eV,rate above"]),
        ("energy_low_eV,energy_high_eV,counts\n0,1,7\n", ["'counts' is unknown", "divide", "kg day", "in keV"]),
        ("energy_eV;Events\n1;7\n", ["'Events' is unknown", "divide", "name the column rate"]),
    ],
)
def test_what_cannot_be_meant_is_refused(text, words, tmp_path):
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(InputError) as caught:
        read_spectrum(tmp_path / "s.csv")
    assert all(word in str(caught.value) for word in words), caught.value


def test_an_array_of_numpy_is_told_how_it_becomes_a_table(tmp_path):
    np.save(tmp_path / "s.npy", np.c_[[0.0, 1.0], [1.0, 2.0], [3.0, 4.0]])
    with pytest.raises(InputError) as caught:
        read_spectrum(tmp_path / "s.npy")
    # what it says is what helps
    remedy = re.search(r"write it by (numpy\.savetxt\(.*\))", str(caught.value))[1]
    array = np.load(tmp_path / "s.npy")
    eval(remedy.replace("'s.csv'", f"'{tmp_path / 's.csv'}'"), {"numpy": np, "array": array})
    assert read_spectrum(tmp_path / "s.csv").energy_edges_eV.tolist() == [0, 1, 2]


def test_a_line_of_another_version_leaves_the_numbers_with_a_note(tmp_path):
    for line in ('{"source":{"kind":"axions"}}', "{half", '["x"]'):
        (tmp_path / "s.csv").write_text(f"# made by: {line}\nenergy_eV,rate_W\n5,1.5\n15,0.25\n")
        spectrum = read_spectrum(tmp_path / "s.csv")
        assert spectrum.source is None
        assert spectrum.rate_per_kg_day_keV["W"].tolist() == WANTED[1]
        assert any("taken as a file of another program" in note for note in spectrum.notes)


#: Neutrinos as the version wrote them that kept all their sources in one type (commit b07566d).
EARLIER = {
    "solar": '"power_GW":[],"distance_m":[],"solar_sources":["B8"]',
    "mono": '"power_GW":[],"distance_m":[],"neutrino_energy_MeV":5.0,"neutrino_flux_per_cm2_s":10000000000.0',
    "reactor": '"power_GW":[4.0],"distance_m":[70.0],"fission_fractions":{"Pu239":0.4,"U235":0.6}',
}


@pytest.mark.parametrize(
    ("source", "kind"), [("solar", SolarRequest), ("mono", MonoenergeticRequest), ("reactor", ReactorRequest)]
)
def test_a_line_about_neutrinos_of_an_earlier_version_is_read(tmp_path, source, kind):
    line = (
        '{"source":{"bins":2,"energy_eV":[10.0,100.0],"kind":"cevns","logarithmic":false,'
        f'"low_energy_flux":"kopeikin","magnetic_moment_bohr":0.0,"source":"{source}","target":"Ge",'
        f"{EARLIER[source]}}}}}"
    )
    (tmp_path / "s.csv").write_text(f"# made by: {line}\nenergy_eV,rate_Ge\n32.5,1.5\n77.5,0.25\n")
    spectrum = read_spectrum(tmp_path / "s.csv")
    assert isinstance(spectrum.source, kind)
    assert spectrum.source.edges_eV.tolist() == [10.0, 55.0, 100.0]
    # a control: what no version has written is not overheard
    (tmp_path / "t.csv").write_text((tmp_path / "s.csv").read_text().replace('"bins":2', '"bins":2,"date":1'))
    assert read_spectrum(tmp_path / "t.csv").source is None


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("2_0,1", "energy is '2_0', expected a number"),
        ('"2,1', "line 2: not a line of CSV"),
    ],
)
def test_what_python_alone_reads_as_a_number_is_none(tmp_path, row, words):
    (tmp_path / "t.csv").write_text(f"energy,rate\n{row}\n")
    with pytest.raises(InputError, match=words):
        read_columns(tmp_path / "t.csv", ("energy", "rate"))
