"""Binned spectra: their file, their checks, their rebinning."""

from __future__ import annotations

import stat
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cascade_driver.errors import InputError
from cascade_driver.spectrum import (
    UNRESOLVED,
    Spectrum,
    check_edges,
    overlap_counts,
    read_spectrum,
    rebin,
    write_spectrum,
)

FEW = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

GOOD = """# made by hand
# target: CaWO4
energy_low_eV,energy_high_eV,rate_W,rate_O,rate
0,10,2.0,1.0,3.0
10,20,1.0,0.5,1.5
"""


@st.composite
def edges(draw: st.DrawFn) -> np.ndarray:
    start = draw(st.floats(-50.0, 50.0))
    widths = draw(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=12))
    return start + np.concatenate([[0.0], np.cumsum(widths)])


@st.composite
def spectra(draw: st.DrawFn) -> Spectrum:
    e = draw(edges())
    names = draw(st.sampled_from([("",), ("W",), ("Ca", "W", "O")]))
    rate = st.one_of(st.just(0.0), st.floats(1e-30, 1e12))
    return Spectrum(
        energy_edges_eV=e,
        rate_per_kg_day_keV={n: np.array([draw(rate) for _ in range(len(e) - 1)]) for n in names},
        energy_kind=draw(st.sampled_from(["recoil", "observed"])),
        metadata={"source": draw(st.text("abc: =#,1é", max_size=12))},
    )


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "spectrum.csv"
    path.write_text(text, encoding="utf-8")
    return path


@FEW
@given(spectrum=spectra())
def test_csv_round_trip_gives_the_same_spectrum(spectrum: Spectrum, tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    write_spectrum(spectrum, path)
    back = read_spectrum(path)
    np.testing.assert_array_equal(back.energy_edges_eV, spectrum.energy_edges_eV)
    assert list(back.rate_per_kg_day_keV) == list(spectrum.rate_per_kg_day_keV)
    for element, rate in spectrum.rate_per_kg_day_keV.items():
        np.testing.assert_array_equal(back.rate_per_kg_day_keV[element], rate)
    assert back.energy_kind == spectrum.energy_kind
    assert dict(back.metadata) == dict(spectrum.metadata)


@FEW
@given(spectrum=spectra(), new=edges())
def test_rebinning_conserves_counts_in_the_common_range(spectrum: Spectrum, new: np.ndarray) -> None:
    old = spectrum.energy_edges_eV
    whole = np.concatenate(
        [[min(old[0], new[0]) - 1.0], new[(new > old[0]) & (new < old[-1])], [max(old[-1], new[-1]) + 1.0]]
    )
    moved = rebin(spectrum, whole)
    assert moved.total_counts_per_kg_day == pytest.approx(spectrum.total_counts_per_kg_day, rel=1e-12)
    assert moved.energy_kind == spectrum.energy_kind


@FEW
@given(spectrum=spectra(), new=edges())
def test_rebinning_twice_equals_rebinning_once_when_the_first_is_finer(
    spectrum: Spectrum, new: np.ndarray
) -> None:
    fine = np.unique(np.concatenate([spectrum.energy_edges_eV, new]))
    once, twice = rebin(spectrum, new), rebin(rebin(spectrum, fine), new)
    np.testing.assert_allclose(twice.total_rate_per_kg_day_keV, once.total_rate_per_kg_day_keV, rtol=1e-9, atol=0)


def test_rebinning_keeps_a_tail_far_below_the_peak() -> None:
    spectrum = Spectrum(energy_edges_eV=[0, 1, 2, 4], rate_per_kg_day_keV={"W": [1e20, 1.0, 1e-6]})
    np.testing.assert_allclose(
        rebin(spectrum, [1, 2, 3, 4]).rate_per_kg_day_keV["W"], [1.0, 1e-6, 1e-6], rtol=1e-14
    )


def test_rebinning_to_disjoint_bins_gives_nothing() -> None:
    assert overlap_counts(np.ones(1), np.array([0.0, 1.0]), np.array([2.0, 3.0])).tolist() == [0.0]


def test_counts_are_rate_times_width() -> None:
    spectrum = Spectrum(energy_edges_eV=[0, 500, 1500], rate_per_kg_day_keV={"W": [2.0, 3.0], "O": [1.0, 0.0]})
    np.testing.assert_allclose(spectrum.counts_per_kg_day["W"], [1.0, 3.0])
    assert spectrum.total_counts_per_kg_day == pytest.approx(4.5)
    assert spectrum.elements == ("W", "O")
    np.testing.assert_allclose(spectrum.energy_centers_eV, [250.0, 1000.0])


def test_spectrum_cannot_be_changed_by_its_maker() -> None:
    rate = np.ones(1)
    spectrum = Spectrum(energy_edges_eV=[0, 1], rate_per_kg_day_keV={"W": rate})
    rate[0] = 5.0
    assert spectrum.rate_per_kg_day_keV["W"][0] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        spectrum.rate_per_kg_day_keV["W"][0] = 5.0


def test_file_of_a_user_is_read(tmp_path: Path) -> None:
    spectrum = read_spectrum(written(tmp_path, GOOD))
    assert spectrum.elements == ("W", "O")
    assert dict(spectrum.metadata) == {"target": "CaWO4"}
    assert spectrum.energy_kind == "recoil"
    alone = read_spectrum(
        written(tmp_path, "\ufeffrate, energy_low_eV ,energy_high_eV\r\n\r\n1.5,0,10\r\n# end\r\n2,10,30\r\n")
    )
    assert list(alone.rate_per_kg_day_keV) == [UNRESOLVED]
    np.testing.assert_array_equal(alone.total_rate_per_kg_day_keV, [1.5, 2.0])


def test_rounded_total_is_accepted(tmp_path: Path) -> None:
    assert read_spectrum(written(tmp_path, GOOD.replace("1.0,0.5,1.5", "1.0,0.5,1.5004"))).elements == (
        "W",
        "O",
    )


HEAD = "energy_low_eV,energy_high_eV,rate\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["empty"]),
        ("  \n", ["empty"]),
        ("# only a comment\n", ["no table"]),
        (HEAD, ["line 1", "no rows"]),
        ("0,10,1\n10,20,1\n", ["found numbers", "names of the columns"]),
        ("energy_low_eV,rate\n0,1\n", ["missing: energy_high_eV"]),
        ("energy_low_eV,energy_high_eV\n0,1\n", ["missing: rate"]),
        (
            "energy_low_ev,energy_high_eV,rate\n0,1,1\n",
            ["'energy_low_ev' is unknown", "Did you mean energy_low_eV?"],
        ),
        ("energy_low_eV,energy_high_eV,rate_w\n0,1,1\n", ["'rate_w' is unknown", "Did you mean rate_W?"]),
        ("energy_low_eV,energy_high_eV,rate_per_keV\n0,1,1\n", ["Did you mean rate, per kg, day and keV?"]),
        ("energy_low_eV,energy_high_eV,rate,rate\n0,1,1,1\n", ["twice"]),
        (HEAD + "0,10,one\n", ["line 2", "rate is 'one'", "expected a number"]),
        (HEAD + "0,10,nan\n", ["line 2", "rate is nan", "finite"]),
        (HEAD + "0,10,1\n10,inf,1\n", ["line 3", "energy_high_eV is inf"]),
        (HEAD + "0,10,1\n10,20,1e300\n", ["line 3", "rate is 1e300", "finite"]),
        (HEAD + "0,10,1,5\n", ["line 2", "found 4 cells, expected 3", "decimal point"]),
        (HEAD + "10,10,1\n", ["line 2", "from 10 to 10 eV", "above energy_low_eV"]),
        (HEAD + "10,20,1\n0,10,1\n", ["line 3", "sort the lines"]),
        (HEAD + "0,10,1\n9,20,1\n", ["line 3", "overlaps", "10 eV"]),
        (HEAD + "0,10,1\n# note\n11,20,1\n", ["line 4", "gap", "rate 0"]),
        (GOOD.replace("1.0,0.5,1.5", "1.0,0.5,1.6"), ["line 5", "rate is 1.6", "sum to 1.5"]),
        ("# energy: stored\n" + HEAD + "0,1,1\n", ["energy: stored", "recoil or observed"]),
        ("\0\1\2", ["not a text file"]),
        (HEAD + '"' + "1" * 140000 + '"\n', ["line 2", "not a line of CSV"]),
    ],
)
def test_bad_file_is_refused_with_its_place_and_remedy(tmp_path: Path, text: str, words: list[str]) -> None:
    path = written(tmp_path, text)
    with pytest.raises(InputError) as caught:
        read_spectrum(path)
    assert str(path) in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_spectrum(tmp_path / "absent.csv")
    with pytest.raises(InputError, match="cannot be read"):
        read_spectrum(tmp_path)
    (tmp_path / "latin").write_bytes(b"energy\xff\xfe")
    with pytest.raises(InputError, match="not a text file"):
        read_spectrum(tmp_path / "latin")


def test_writing_replaces_at_once_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "new" / "s.csv"
    for rate in (1.0, 2.0):
        write_spectrum(Spectrum(energy_edges_eV=[0, 1], rate_per_kg_day_keV={"W": [rate]}), path)
    assert [file.name for file in path.parent.iterdir()] == ["s.csv"]
    assert read_spectrum(path).rate_per_kg_day_keV["W"][0] == 2.0
    assert stat.S_IMODE(path.stat().st_mode) & stat.S_IRUSR


def test_writing_where_it_cannot_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    spectrum = Spectrum(energy_edges_eV=[0, 1], rate_per_kg_day_keV={"W": [1.0]})
    with pytest.raises(InputError, match="cannot be written"):
        write_spectrum(spectrum, tmp_path / "file" / "s.csv")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        write_spectrum(spectrum, tmp_path / "folder")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["file", "folder"]


@pytest.mark.parametrize("name", ["s.xlsx", "s.hdf5", "s.parquet", "s.npz"])
def test_a_table_is_not_written_under_the_ending_of_something_else(tmp_path: Path, name: str) -> None:
    spectrum = Spectrum(energy_edges_eV=[0, 1], rate_per_kg_day_keV={"W": [1.0]})
    with pytest.raises(InputError, match=r"written as \.csv \(or \.txt, \.dat\), or as histograms, \.json, \.h5"):
        spectrum.write(tmp_path / name)
    assert not list(tmp_path.iterdir())
    for text in ("s", "s.CSV", "s.dat"):
        spectrum.write(tmp_path / text)
        assert read_spectrum(tmp_path / text).rate_per_kg_day_keV["W"][0] == 1.0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"rate_per_kg_day_keV": {}}, "without any rate"),
        ({"rate_per_kg_day_keV": {"": [1.0], "W": [1.0]}}, "count events twice"),
        ({"rate_per_kg_day_keV": {"w": [1.0]}}, "not a chemical element"),
        ({"rate_per_kg_day_keV": {74: [1.0]}}, "rate of 74: not a chemical element"),
        ({"rate_per_kg_day_keV": {"W": [1.0, 2.0]}}, "one value per bin"),
        ({"rate_per_kg_day_keV": {"W": [1j]}}, "rate of W: expected numbers per kg, day and keV"),
        ({"rate_per_kg_day_keV": {"W": ["1"]}}, "rate of W: expected numbers per kg, day and keV"),
        # what a mask hides is no rate; the number under it, here 1, was taken
        ({"rate_per_kg_day_keV": {"W": np.ma.array([1.0], mask=[True])}}, "rate of W in bin 0 .* is nan"),
        ({"energy_edges_eV": np.ma.array([0.0, 1.0], mask=[False, True])}, "edge 1 is nan"),
        ({"rate_per_kg_day_keV": {"": [np.nan]}}, "the total in bin 0"),
        ({"rate_per_kg_day_keV": {"": [1e300]}}, "is 1e.300, expected a finite rate"),
        ({"energy_kind": "stored"}, "'recoil' or 'observed'"),
        ({"energy_edges_eV": [1.0, 0.0]}, "must increase"),
        ({"metadata": {"a:b": "c"}}, "without colon"),
        ({"metadata": {"energy": "recoil"}}, "the key 'energy'"),
        ({"metadata": {"made by": "me"}}, "the key 'made by'"),
    ],
)
def test_impossible_spectrum_is_refused(arguments: dict[str, object], words: str) -> None:
    good: dict[str, object] = {"energy_edges_eV": [0.0, 1.0], "rate_per_kg_day_keV": {"W": [1.0]}}
    with pytest.raises(InputError, match=words):
        Spectrum(**{**good, **arguments})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([1.0], "at least two"),
        ([0.0, np.nan], "edge 1 is nan"),
        ([0.0, 1e200], "edge 1 is 1e.200"),
        ([-1.0, 1.0], "at least 0 eV"),
        (["a", "b"], "numbers in eV"),
    ],
)
def test_bad_edges_are_refused(values: list[float], words: str) -> None:
    with pytest.raises(InputError, match=words):
        check_edges(values, floor_eV=0.0)


@pytest.mark.parametrize("name", ["E", "energy", "energy_low"])
def test_an_energy_without_its_unit_is_asked_for_it(tmp_path, name):
    path = tmp_path / "s.csv"
    path.write_text(f"{name},rate\n10,1\n12,2\n")
    with pytest.raises(InputError, match=f"Name its unit: {name}_eV or {name}_keV"):
        read_spectrum(path)
