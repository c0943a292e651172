"""Every cascade of a plan is listed with what became of it, and found by its number or its id."""

import dataclasses
import json
import math
from typing import get_args, get_origin, get_type_hints

import fake_engine
import pytest
from fake_engine import a_campaign, a_run, work_of

from cascade_driver.campaign.executors import Serial
from cascade_driver.campaign.flown import flown_ps
from cascade_driver.campaign.listing import SORT_KEYS, listed
from cascade_driver.campaign.rundir import RunDirectory
from cascade_driver.cli import main
from cascade_driver.simulation.record import Cost, Physics
from cascade_driver.terminal.records import _TOLD_ELSEWHERE, RECORD_WORDS, _stored


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> RunDirectory:
    """Twelve finished cascades of sixteen; four of them lost their atoms, the record of one is damaged."""
    energies = (50, 60, fake_engine.LOSES_ATOMS)
    run = a_run(tmp_path_factory.mktemp("run"), a_campaign(energies=energies))
    Serial().work(work_of(run), lambda _: None)
    run.save(a_campaign(energies=(*energies, 70)))
    first = next(run.load().cascades())
    (run.cascades / first.id / "record.json").write_text("{")
    return run


def in_json(run: RunDirectory, capsys, *options: str) -> list[dict]:
    assert main(["ls", str(run.path), "--json", *options]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_list_says_what_plan_and_records_say(run, capsys):
    shown = in_json(run, capsys)
    plan = list(run.load().cascades())
    assert [c["number"] for c in shown] == list(range(1, 17))
    assert [c["id"] for c in shown] == [p.id for p in plan]
    for cascade, planned in zip(shown, plan, strict=True):
        assert cascade["recoil_energy_eV"] == planned.recoil_energy_eV
        assert tuple(cascade["direction"]) == planned.direction
        if cascade["outcome"] in {"planned", "damaged"}:
            assert cascade["stored_energy_eV"] is None
            continue
        record = run.record(planned.id)
        assert cascade["outcome"] == record.outcome.key
        assert cascade["stored_energy_eV"] == (record.physics.stored_energy_eV if record.physics else None)
    assert shown[0]["outcome"] == "damaged"
    outcomes = [c["outcome"] for c in shown]
    assert {key: outcomes.count(key) for key in outcomes} == {
        "damaged": 1,
        "completed": 7,
        "lost_atoms": 4,
        "planned": 4,
    }


@pytest.mark.parametrize("key", SORT_KEYS)
def test_the_list_is_sorted_by_any_column(run, capsys, key):
    column = {"energy": "recoil_energy_eV", "stored": "stored_energy_eV"}.get(key, key)
    values = [c[column] for c in in_json(run, capsys, "--sort", key)]
    known = [math.inf if value is None else value for value in values]
    assert known == sorted(known)
    backwards = [c[column] for c in in_json(run, capsys, "--sort", key, "--reverse")]
    assert backwards == values[::-1]


def test_the_list_is_filtered(run, capsys):
    assert len(in_json(run, capsys, "--energy-eV", "60")) == 4
    assert {c["outcome"] for c in in_json(run, capsys, "--outcome", "lost_atoms")} == {"lost_atoms"}
    assert len(in_json(run, capsys, "--species", "Si", "--energy-eV", "70", "--outcome", "planned")) == 4
    assert in_json(run, capsys, "--species", "W") == []
    main(["ls", str(run.path), "--energy-eV", "60"])
    out = capsys.readouterr().out
    assert "4 of the 16 cascades of the plan" in out
    assert all(c.id in out for c in listed(run) if c.recoil_energy_eV == 60)


def test_a_cascade_is_found_by_its_number_its_id_and_the_beginning_of_it(run, capsys):
    for cascade in listed(run):
        if cascade.outcome in {"planned", "damaged"}:
            continue
        for name in (str(cascade.number), cascade.id, cascade.id[:12]):
            assert main(["show", str(run.path), name, "--json"]) == 0
            assert json.loads(capsys.readouterr().out)["id"] == cascade.id


def test_without_a_name_the_cascades_are_listed(run, capsys):
    assert main(["show", str(run.path)]) == 0
    out = capsys.readouterr().out
    assert all(c.id in out for c in listed(run))
    assert f"cascade show {run.path} NUMBER" in out
    assert main(["show", str(run.path), "--json"]) == 2
    assert "--json is of one cascade" in capsys.readouterr().err


def numbers_of(kind, prefix=""):
    """The dotted names of all that a group of fields of a record holds."""
    for name, hint in get_type_hints(kind).items():
        kinds = [one for one in (*get_args(hint), hint) if dataclasses.is_dataclass(one)]
        if kinds and get_origin(hint) is not tuple and not str(hint).startswith("tuple"):
            yield from numbers_of(kinds[0], f"{prefix}{name}.")
        else:
            yield prefix + name


def test_everything_in_a_record_is_told_in_words():
    """What a later version adds to a record has its words, too, or a place where it is told."""
    named = {name for kind in (Physics, Cost) for name in numbers_of(kind)}
    assert {name for name in named if not name.startswith(_TOLD_ELSEWHERE)} <= RECORD_WORDS.keys()
    assert {"pka.path_length_A", "stored_in.film_eV"} <= named  # groups are looked into


def test_a_cascade_is_shown_in_words_with_units(run, capsys):
    by_outcome = {c.outcome: c for c in listed(run)}
    assert main(["show", str(run.path), by_outcome["completed"].id]) == 0
    said = capsys.readouterr().out
    assert "stored energy E_s" in said
    assert " eV" in said
    assert not any(name in said for name in ("stored_energy_eV", "pka.", "followed_ps"))
    assert main(["show", str(run.path), by_outcome["lost_atoms"].id]) == 0
    assert "outcome: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("verb", "words"),
    [
        (["show", "RUN", "4"], "cascade 4 of the plan ("),
        (["show", "RUN", "17"], "begins with `17`, and the plan has 16 cascades"),
        (["show", "RUN", "zz"], "no finished cascade with an id that begins with `zz`"),
        (["show", "RUN", ""], "12 cascades"),
        (["ls", "RUN", "--sort", "size"], "invalid choice: 'size' (choose from "),
    ],
)
def test_what_cannot_be_found_is_one_line(run, capsys, verb, words):
    (planned,) = [c for c in listed(run) if c.outcome == "planned"][:1]
    name = str(planned.number) if verb[-1] == "4" else verb[-1]
    arguments = [str(run.path) if word == "RUN" else word for word in verb[:-1]]
    assert main([*arguments, name]) == 2
    error = capsys.readouterr().err
    assert (f"cascade {name} of the plan (" if verb[-1] == "4" else words) in error
    assert error.count("\n") == 1


def test_a_cascade_in_flight_is_shown_with_how_far_it_is(run, capsys):
    (planned,) = [c for c in listed(run) if c.outcome == "planned"][:1]
    note = run.logs / f"{planned.id}.ps"
    note.write_text("0.125\n")
    try:
        assert flown_ps(run.logs, planned.id) == 0.125
        for name in (str(planned.number), planned.id[:10]):
            assert main(["show", str(run.path), name]) == 2
            said = capsys.readouterr().err
            assert (
                f"cascade {planned.number} of the plan ({planned.id}) is not finished, it has flown 0.12 of"
                in said
            )
    finally:
        note.unlink()


def test_what_rounding_leaves_of_no_stored_energy_is_printed_as_0():
    shown = [_stored(energy_eV) for energy_eV in (-8.3e-10, 7.8e-08, 8.902, 10.7912, math.nan)]
    assert shown == ["0", "0", "8.902", "10.79", "-"]
