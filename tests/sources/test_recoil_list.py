"""Tables of recoils and level files made by others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cascade_driver.errors import InputError
from cascade_driver.sources.gamma_recoil import GammaTiming
from cascade_driver.sources.recoil_list import (
    read_level_file,
    read_recoil_list,
    spectrum_of_cascades,
    spectrum_of_recoils,
)

LEVELS = """\
# probability nucleus A [levels/keV] [lifetimes]
0.0216 29Si 29 [0]             [100000000000000.0]
7.0e-2 29Si 29 [1273.37 0]     [291.0   100000000000000.0]
0.1111   29Si 29 [6380.58   4840.34  0] [0.36 3.5 100000000000000.0]
"""


def written(tmp_path: Path, text: str, name: str = "list.csv") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def test_recoils_become_a_spectrum_with_the_counts_asked_for(tmp_path: Path) -> None:
    recoils = read_recoil_list(written(tmp_path, "# mine\nenergy_eV,weight\n81.3,2\n112.4,1\n900,1\n"))
    spectrum = spectrum_of_recoils(recoils, counts_per_kg_day=8.0, energy_edges_eV=[0, 100, 200], element="W")
    np.testing.assert_allclose(spectrum.counts_per_kg_day["W"], [4.0, 2.0])
    assert spectrum.metadata["counts_out_of_range_per_kg_day"] == "2"
    alone = read_recoil_list(written(tmp_path, "recoil_energy_eV\n1\n2\n"))
    np.testing.assert_array_equal(alone.weight, [1.0, 1.0])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no table found, expected a line energy_eV"),
        ("E,weight\n1,2\n", r"line 1: found the columns E, weight; expected energy_eV"),
        ("energy_eV,colour\n1,2\n", r"line 1: found the columns energy_eV, colour"),
        ("energy_eV\n", "no rows"),
        ("energy_eV\n1\nfast\n", r"line 3: 'fast' is not a number"),
        ("energy_eV\n1\nnan\n", r"line 3: nan is not finite"),
        ("energy_eV\n1,2\n", r"line 2: 2 values, expected 1"),
        ("energy_eV\n-1\n", r"line 2: energy -1 eV .* mend the row"),
        ("energy_eV,weight\n1,-1\n", r"line 2: .* weight -1"),
        ("energy_eV,weight\n1,0\n", "all weights are 0"),
    ],
)
def test_a_bad_list_is_named_by_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_recoil_list(written(tmp_path, text))


def test_files_that_are_not_there_or_not_text_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_recoil_list(tmp_path / "nothing.csv")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(InputError, match="not a text file"):
        read_level_file(tmp_path / "binary")


def test_level_file_gives_the_gammas_of_silicon(tmp_path: Path) -> None:
    ground, through, long = read_level_file(written(tmp_path, LEVELS, "levels.txt"))
    # EGAF measures 8472.209 and 7199.199 keV
    assert ground.gammas_keV == pytest.approx((8472.27,), abs=0.1)
    assert through.gammas_keV == pytest.approx((7199.2, 1273.35), abs=0.2)
    assert through.mean_lives_fs == (291.0,)
    assert through.single_recoils_eV == pytest.approx([960.09, 30.04], abs=0.05)
    assert len(long.gammas_keV) == 3
    assert (long.target, long.symbol) == ("Si28", "Si")
    (_, fast, _) = read_level_file(tmp_path / "levels.txt", lifetime_unit_fs=1e-3)
    assert fast.mean_lives_fs == pytest.approx((0.291,))


def test_cascades_of_a_file_keep_their_probabilities(tmp_path: Path) -> None:
    cascades = read_level_file(written(tmp_path, LEVELS, "levels.txt"))
    spectrum = spectrum_of_cascades(
        cascades,
        target="Si",
        captures_per_kg_day=1000.0,
        energy_edges_eV=[0, 990, 990.3, 1329, 1331, 2000],
        timing=GammaTiming(law="slow"),
    )
    counts = spectrum.counts_per_kg_day["Si"]
    assert counts.sum() == pytest.approx(1000 * (0.0216 + 0.07 + 0.1111))
    assert counts[1] == pytest.approx(70.0)
    assert counts[3] == pytest.approx(21.6)
    assert spectrum.metadata["captures_without_cascade"] == "79.7%"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("0.1 29Si 29 1273 0 291 1e14", r"line 1: not a cascade, expected probability"),
        ("0.1 29Si 28 [0] [1e14]", "29Si with mass number 28; make them agree"),
        ("0.1 29Xx 29 [0] [1e14]", "'Xx' is not a chemical element"),
        ("0.1 99Si 99 [0] [1e14]", "no masses are known"),
        ("0.1 29Si 29 [1273 0] [1e14]", "2 levels and 1 lifetimes"),
        ("0.1 29Si 29 [1273] [1e14]", "with the ground state 0 last"),
        (
            "0.1 29Si 29 [380.58 4840.34 0] [0.36 3.5 1e14]",
            r"level 4840.34 keV after 380.58 keV.* digit that was lost",
        ),
        ("0.1 29Si 29 [9000 0] [1 1e14]", "below the separation energy of 8473"),
        ("1.5 29Si 29 [0] [1e14]", "probability 1.5"),
        ("0.1 29Si 29 [1273 0] [-1 1e14]", "shortest lifetime -1 fs"),
        ("0.1 29Si 29 [fast 0] [1 1e14]", "'fast' is not a number"),
        ("0.7 29Si 29 [0] [1e14]\n0.7 29Si 29 [0] [1e14]", "sum to 1.4, expected at most 1"),
        ("# nothing", "no cascade found"),
    ],
)
def test_a_bad_level_file_is_named_by_line(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_level_file(written(tmp_path, row + "\n", "levels.txt"))


def test_bad_requests_are_named(tmp_path: Path) -> None:
    recoils = read_recoil_list(written(tmp_path, "energy_eV\n1\n"))
    with pytest.raises(InputError, match="expected more than 0"):
        spectrum_of_recoils(recoils, counts_per_kg_day=0.0, energy_edges_eV=[0, 1])
    cascades = read_level_file(written(tmp_path, LEVELS, "levels.txt"))
    request = {"target": "Si", "captures_per_kg_day": 1.0, "energy_edges_eV": [0, 1]}
    for change, message in (
        ({"target": "CaWO4"}, "a cascade of Si28, but CaWO4 holds Ca, W, O"),
        ({"captures_per_kg_day": -1.0}, "captures are -1"),
    ):
        with pytest.raises(InputError, match=message):
            spectrum_of_cascades(cascades, **(request | change))
    with pytest.raises(InputError, match="no cascades given"):
        spectrum_of_cascades([], **request)
    with pytest.raises(InputError, match="lifetime unit is 0 fs"):
        read_level_file(tmp_path / "levels.txt", lifetime_unit_fs=0.0)
