"""Typed parameters: strict at the door, named by their content."""

import dataclasses
import datetime
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from cascade_driver.errors import InputError
from cascade_driver.request import DarkMatterRequest
from cascade_driver.schema import build, canonical_json, digest, parameters, plain, read_json, read_toml, seed_from
from cascade_driver.simulation.spec import CascadeSpec, KnockOn


@parameters
class Inner:
    width_A: float = Field(gt=0)
    count: int = 1


@parameters
class Outer:
    inner: Inner
    many: tuple[Inner, ...] = ()
    word: str | None = None


def made(**content) -> Outer:
    return build(Outer, content, origin="here")


def test_what_is_built_is_typed_and_frozen():
    outer = made(inner={"width_A": 2})
    assert outer.inner.width_A == 2.0
    assert isinstance(outer.inner.width_A, float)
    with pytest.raises(dataclasses.FrozenInstanceError):
        outer.word = "x"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({}, "here: `inner` is missing; add it"),
        ({"inner": {}}, "here: `inner.width_A` is missing; add it"),
        ({"inner": {"width_a": 1}}, "here: unknown key `inner.width_a`; did you mean `width_A`?"),
        ({"inner": {"width_A": 1, "cuont": 2}}, "here: unknown key `inner.cuont`; did you mean `count`?"),
        ({"inner": {"width_A": 1}, "many": [{"width_A": 1}, {"wdth_A": 2}]}, "`many[2].wdth_A`; did you mean"),
        ({"inner": {"width_A": 1}, "qqqqq": 2}, "here: unknown key `qqqqq`; remove it"),
        ({"inner": {"width_A": 1}, "width_A": 2}, "unknown key `width_A`; it belongs to another section"),
        ({"inner": {"width_A": "1 A"}}, "found '1 A'"),
        ({"inner": {"width_A": -1}}, "here: `inner.width_A`: input should be greater than 0; found -1"),
        ({"inner": {"width_A": float("nan")}}, "finite"),
        ({"inner": {"width_A": 1, "count": 1.5}}, "found 1.5"),
        ({"inner": 3}, "inner"),
    ],
)
def test_each_complaint_is_one_line_that_says_where(content, expected):
    with pytest.raises(InputError) as error:
        made(**content)
    assert expected in str(error.value)
    assert "\n" not in str(error.value)


def knock_on(energy) -> KnockOn:
    return build(KnockOn, {"species": "W", "direction": [0, 0, 1], "recoil_energy_eV": energy}, origin="knock-on")


def test_50_and_50_point_0_are_one_energy():
    assert digest(plain(knock_on(50))) == digest(plain(knock_on(50.0)))
    assert digest(plain(knock_on(50))) != digest(plain(knock_on(50.000001)))


def test_what_is_none_does_not_change_a_name():
    assert "word" not in plain(made(inner={"width_A": 1}))


@given(st.floats(min_value=1e-6, max_value=1e6), st.integers(0, 10**6), st.integers(1, 900_000_000))
def test_a_spec_read_back_from_json_has_the_same_id(energy, snapshot, seed):
    protocol = {
        "crystal": {"name": "CaWO4", "repeats": [4, 4, 2]},
        "potential_name": "x",
        "potential_digest": "0" * 16,
    }
    content = {"protocol": protocol, "snapshot": snapshot, "knock_on": plain(knock_on(energy)), "seed": seed}
    spec = build(CascadeSpec, content, origin="spec")
    again = build(CascadeSpec, json.loads(canonical_json(plain(spec))), origin="spec")
    assert again == spec
    assert again.id == spec.id
    assert len(spec.id) == 16


@given(st.dictionaries(st.text(max_size=5), st.integers() | st.floats(allow_nan=False, allow_infinity=False)))
def test_the_order_of_keys_does_not_change_a_name(content):
    assert digest(content) == digest(dict(reversed(list(content.items()))))


def test_a_nan_has_no_name():
    with pytest.raises(ValueError, match="JSON"):
        digest({"x": float("nan")})


@given(st.integers(0, 2**63), st.lists(st.integers(0, 2**31), max_size=4))
def test_seeds_are_in_the_range_of_lammps_and_repeat(campaign_seed, place):
    seed = seed_from(campaign_seed, *place)
    assert 1 <= seed <= 900_000_000
    assert seed == seed_from(campaign_seed, *place)


def test_neighbouring_places_have_different_seeds():
    seeds = {seed_from(1, i) for i in range(1000)} | {seed_from(2, i) for i in range(1000)}
    # Two of 2000 fall together with a chance of 2000^2 / 2 / 9e8 = 0.2 %, on no build if on none.
    assert len(seeds) == 2000


def test_files_that_cannot_be_read_are_told(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_toml(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("a = ")
    with pytest.raises(InputError, match="not valid TOML"):
        read_toml(tmp_path / "bad.toml")
    with pytest.raises(InputError, match="no such file"):
        read_json(tmp_path / "none.json")
    (tmp_path / "list.json").write_text("[1]")
    with pytest.raises(InputError, match="holds a list, expected an object"):
        read_json(tmp_path / "list.json")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(InputError, match="not valid JSON"):
        read_json(tmp_path / "bad.json")


@parameters
class _Inner:
    seed: int = 1


@parameters
class _Numbers:
    bins: int = 3
    width_eV: float = 1.0
    edges_eV: tuple[float, ...] = ()
    lengths_A: dict[str, float] = Field(default_factory=dict)
    either: float | str = 0.0
    inner: tuple[_Inner, ...] = ()
    logarithmic: bool = False


@pytest.mark.parametrize(
    ("content", "where"),
    [
        ({"bins": True}, "`bins`"),
        ({"width_eV": False}, "`width_eV`"),
        ({"edges_eV": [12, True]}, "`edges_eV[2]`"),
        ({"lengths_A": {"Al": True}}, "`lengths_A`"),
        ({"either": True}, "`either`"),
        ({"inner": [{"seed": 1}, {"seed": True}]}, "`inner[2].seed`"),
    ],
)
def test_a_truth_value_is_no_number(content, where):
    with pytest.raises(InputError, match=r"expected a number; found (true|false)") as of_file:
        build(_Numbers, content, origin="input.toml")
    assert f"input.toml: {where}" in str(of_file.value)
    with pytest.raises(InputError, match="expected a number"):
        _Numbers(**content)


def test_numbers_and_truth_values_stay_what_they_are():
    made = build(_Numbers, {"bins": 1, "width_eV": 1, "edges_eV": [0, 1], "logarithmic": True}, origin="x")
    assert (made.bins, made.width_eV, made.edges_eV, made.logarithmic) == (1, 1.0, (0.0, 1.0), True)


@pytest.mark.parametrize("date", ["0", "1780272000", 0, 1780272000, 1780272000.0, "20260601", "2026-6-1"])
def test_a_date_is_no_count_of_seconds(date):
    content = {"kind": "dm", "target": "Si", "mass_GeV": 1, "cross_section_cm2": 1e-40, "date": date}
    with pytest.raises(InputError, match="`date`: expected a date as YYYY-MM-DD; found"):
        build(DarkMatterRequest, {**content, "energy_eV": [1, 100], "bins": 9}, origin="input.toml")


@pytest.mark.parametrize("date", ["2026-06-01", datetime.date(2026, 6, 1)])
def test_a_date_is_an_iso_date(date):
    content = {"kind": "dm", "target": "Si", "mass_GeV": 1, "cross_section_cm2": 1e-40, "date": date}
    made = build(DarkMatterRequest, {**content, "energy_eV": [1, 100], "bins": 9}, origin="input.toml")
    assert made.date == datetime.date(2026, 6, 1)
