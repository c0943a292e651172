"""Records: what is written is read, what was tampered with is found."""

import dataclasses
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from fake_engine import physics
from pydantic import TypeAdapter

from cascade_driver import __version__
from cascade_driver.errors import RecordError, SchemaError
from cascade_driver.schema import digest
from cascade_driver.simulation.crystal import CrystalSpec
from cascade_driver.simulation.outcome import (
    CascadeTable,
    Outcome,
    STORED_ENERGY_FLOOR_eV,
    concatenate,
    outcome_of_stored_energy,
)
from cascade_driver.simulation.provenance import provenance
from cascade_driver.simulation.record import (
    NUMBERS,
    RECORD_FILE,
    RECORD_SCHEMA,
    Cost,
    Record,
    numbers,
    read_record,
    write_record,
)
from cascade_driver.simulation.spec import CascadeSpec, KnockOn, Protocol

#: Runs made by earlier commits: 8c21bf6 (`first-layout`), c4d3873 (the others); the inputs lie beside them.
KEPT_RUNS = Path(__file__).parents[1] / "data" / "records"


@pytest.fixture
def record():
    return Record(
        id="0123456789abcdef",
        spec=CascadeSpec(
            protocol=Protocol(
                crystal=CrystalSpec(name="Si", minimum_atoms=512), potential_name="x", potential_digest="0" * 16
            ),
            snapshot=3,
            knock_on=KnockOn(species="Si", direction=(0.0, 0.6, 0.8), recoil_energy_eV=81.0),
            seed=7,
        ),
        outcome=Outcome.COMPLETED,
        physics=physics(stored_energy_eV=7.123456789012345, energy_drift_eV=1e-17, displaced_atoms={"Si": 2}),
        cost=Cost(cpu_s=12.3),
        provenance=dataclasses.replace(provenance(), cascade_driver="0.1.0"),
    )


@pytest.fixture
def folder(tmp_path, record):
    made = tmp_path / record.id
    made.mkdir()
    write_record(record, made)
    return made


def test_a_record_that_is_read_is_the_one_that_was_written(record, folder):
    assert read_record(folder) == record


@pytest.mark.parametrize("outcome", list(Outcome))
def test_each_outcome_survives_the_file(record, tmp_path, outcome):
    changed = dataclasses.replace(record, outcome=outcome, physics=None, message="said something")
    (tmp_path / record.id).mkdir()
    write_record(changed, tmp_path / record.id)
    assert read_record(tmp_path / record.id) == changed
    assert Outcome.from_key(outcome.key) is outcome
    assert math.isnan(changed.stored_energy_eV)


def test_only_completed_cascades_are_usable():
    assert [o for o in Outcome if o.is_usable] == [Outcome.COMPLETED]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("7.123456789012345", "7.123456789012346"),
        ('"completed"', '"timed_out"'),
        ('"snapshot": 3', '"snapshot": 4'),
    ],
)
def test_tampering_is_found(folder, old, new):
    path = folder / RECORD_FILE
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(RecordError, match="content differs from its checksum; `cascade run` repairs it"):
        read_record(folder)


def test_a_record_in_the_wrong_folder_is_found(folder, tmp_path):
    folder.rename(tmp_path / "fedcba9876543210")
    with pytest.raises(RecordError, match="is the record of 0123456789abcdef"):
        read_record(tmp_path / "fedcba9876543210")


def test_a_missing_record_is_found(tmp_path):
    with pytest.raises(RecordError, match="missing"):
        read_record(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"checksum": "x"}', "\x00\xff"])
def test_a_damaged_record_is_found(folder, text):
    (folder / RECORD_FILE).write_bytes(text.encode("latin-1"))
    with pytest.raises(RecordError, match="damaged"):
        read_record(folder)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e999"])
def test_a_record_with_a_number_that_is_none_is_damaged(folder, value):
    path = folder / RECORD_FILE
    content = json.loads(path.read_text())
    content["physics"]["stored_energy_eV"] = "HERE"
    path.write_text(json.dumps(content).replace('"HERE"', value))
    with pytest.raises(RecordError, match=r"damaged .*; `cascade run` repairs it"):
        read_record(folder)


def test_a_record_of_another_schema_is_refused(folder):
    path = folder / RECORD_FILE
    content = json.loads(path.read_text()) | {"schema_version": RECORD_SCHEMA + 1}
    del content["checksum"]
    for checksum in ({"checksum": digest(content, length=64)}, {"checksum": "hashed in another way"}, {}):
        path.write_text(json.dumps(content | checksum))
        program = re.escape(__version__)
        expected = rf"schema version {RECORD_SCHEMA + 1}, this program \({program}\) reads schema version"
        with pytest.raises(SchemaError, match=expected) as caught:
            read_record(folder)
        assert "use cascade_driver 0.1.0, or start a new run" in str(caught.value)


def test_a_bit_flipped_in_the_version_is_damage_and_not_another_schema(folder):
    path = folder / RECORD_FILE
    path.write_text(path.read_text().replace(f'"schema_version": {RECORD_SCHEMA}', '"schema_version": 9'))
    with pytest.raises(RecordError, match="version is damaged, found 9; `cascade run` repairs it") as caught:
        read_record(folder)
    assert not isinstance(caught.value, SchemaError)


UNKNOWN = {
    "outcome": lambda content: content | {"outcome": "melted"},
    "a field": lambda content: content | {"mood": "good"},
    "a result": lambda content: content | {"physics": content["physics"] | {"entropy_eV_K": 1.0}},
    "a result without its unit": lambda content: content | {"physics": {"stored_energy": 1.0}},
    "a parameter": lambda content: content | {"spec": content["spec"] | {"colour": "red"}},
    "a cost": lambda content: content | {"cost": {"gpu_s": 1.0}},
}


@pytest.mark.parametrize("change", UNKNOWN.values(), ids=UNKNOWN)
def test_sound_content_that_this_program_does_not_know_is_of_another_version(folder, change):
    path = folder / RECORD_FILE
    content = change(json.loads(path.read_text()))
    del content["checksum"]
    path.write_text(json.dumps(content | {"checksum": digest(content, length=64)}))
    with pytest.raises(SchemaError, match="unknown content"):
        read_record(folder)


@pytest.mark.parametrize("path", sorted(KEPT_RUNS.glob("*/cascades/*/record.json")), ids=lambda p: p.parts[-4])
def test_records_of_all_layouts_are_read_and_would_be_written_to_the_same_bytes(path):
    record = read_record(path.parent)
    assert json.dumps(record.as_json(), indent=1, allow_nan=False) + "\n" == path.read_text()
    assert record.spec.id == record.id == path.parent.name
    found = dict(zip(NUMBERS, numbers(record), strict=True))
    assert found == expected_numbers(json.loads(path.read_text()))


def expected_numbers(content):
    """What a reader of the JSON alone would put into the columns, key by key."""
    physics, cost = content["physics"], content["cost"]
    named = {name: value for name, value in (physics | cost).items() if isinstance(value, float | int)}
    if physics:
        counts = physics["defects"] | {"displaced_atoms": physics["displaced_atoms"]}
        named |= {name: sum(of.values()) for name, of in counts.items() if name != "clusters"}
        named |= {"clusters": len(counts["clusters"])}
        named |= {f"pka_{name}": value for name, value in physics["pka"].items() if isinstance(value, float | int)}
    return dict.fromkeys(NUMBERS) | named


def test_the_fixtures_hold_what_records_learned_with_time():
    """Negative control of the test above: without checksums of files and commit, with later kicks, failed."""
    records = {path.parts[-4]: read_record(path.parent) for path in KEPT_RUNS.glob("*/cascades/*/record.json")}
    assert records["first-layout"].files == {}
    assert records["first-layout"].provenance.commit is None
    assert records["one-kick"].files
    assert records["one-kick"].provenance.commit
    assert len(records["two-kicks"].physics.later_kicks) == 1
    assert records["crashed"].physics is None
    assert records["crashed"].outcome is Outcome.ENGINE_ERROR


def test_a_record_has_a_json_schema():
    schema = TypeAdapter(Record).json_schema(mode="serialization")
    assert schema["properties"]["outcome"]["enum"] == [outcome.key for outcome in Outcome]
    assert "stored_energy_eV" in schema["$defs"]["Physics"]["required"]


def test_a_record_that_is_not_finite_is_not_written(record, tmp_path):
    with pytest.raises(ValueError, match=r"[Nn]a[Nn]|JSON compliant"):
        write_record(dataclasses.replace(record, physics=physics(stored_energy_eV=math.nan)), tmp_path)
    assert not (tmp_path / RECORD_FILE).exists()


@pytest.mark.parametrize(
    ("stored_energy_eV", "outcome"),
    [
        (0.0, Outcome.COMPLETED),
        (7.5, Outcome.COMPLETED),
        (-1e-9, Outcome.COMPLETED),
        (-STORED_ENERGY_FLOOR_eV, Outcome.COMPLETED),
        (-1.001 * STORED_ENERGY_FLOOR_eV, Outcome.NEGATIVE_STORED_ENERGY),
        (-3.0, Outcome.NEGATIVE_STORED_ENERGY),
        (math.nan, Outcome.NON_FINITE_ENERGY),
        (math.inf, Outcome.NON_FINITE_ENERGY),
    ],
)
def test_a_stored_energy_below_zero_is_an_outcome_of_its_own(stored_energy_eV, outcome):
    assert outcome_of_stored_energy(stored_energy_eV) is outcome


def table_of(stored, outcomes, *, status="quantitative"):
    n = len(stored)
    return CascadeTable(
        id=np.array([f"{i:016x}" for i in range(n)]),
        species=np.array(["W"] * n),
        recoil_energy_eV=np.full(n, 81.0),
        direction=np.tile([0.0, 0.0, 1.0], (n, 1)),
        direction_weight=np.full(n, 1 / n),
        snapshot=np.zeros(n, dtype=np.int64),
        outcome=np.array(outcomes),
        stored_energy_eV=np.array(stored),
        potential_status=status,
    )


def test_a_table_counts_all_outcomes():
    table = table_of([0.0, 5.0, np.nan, -2.0], ["completed", "completed", "timed_out", "negative_stored_energy"])
    assert table.outcome_counts() == {"completed": 2, "timed_out": 1, "negative_stored_energy": 1}
    assert table.is_usable.tolist() == [True, True, False, False]
    assert table.stores_energy.tolist() == [False, True, False, False]
    assert len(table.select(table.is_usable)) == 2


def test_the_status_of_joined_tables_is_the_weakest():
    one, other = table_of([1.0], ["completed"]), table_of([2.0], ["completed"], status="qualitative")
    assert concatenate([one, one]).potential_status == "quantitative"
    joined = concatenate([one, other])
    assert joined.potential_status == "qualitative"
    assert joined.stored_energy_eV.tolist() == [1.0, 2.0]


def test_a_table_with_columns_of_unequal_length_is_refused():
    with pytest.raises(ValueError, match="outcome has 1 rows, id has 2"):
        table_of([1.0, 2.0], ["completed"])
