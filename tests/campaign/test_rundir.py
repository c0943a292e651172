"""The run directory: whole or not at all, never overwritten, damage is seen and set aside."""

import dataclasses
import errno
import json
import os

import pytest
from fake_engine import POTENTIAL, a_campaign, a_run, physics, work_of

from cascade_driver.campaign import rundir as module
from cascade_driver.campaign.claims import Claims, this_place
from cascade_driver.campaign.contents import contents_of
from cascade_driver.campaign.executors import Serial
from cascade_driver.campaign.rundir import RunDirectory
from cascade_driver.cli import main
from cascade_driver.errors import CascadeError, InputError, RecordError
from cascade_driver.files import write_atomically
from cascade_driver.schema import build, digest
from cascade_driver.simulation.cascade import Result
from cascade_driver.simulation.outcome import Outcome
from cascade_driver.simulation.potential import load_potential
from cascade_driver.simulation.provenance import provenance
from cascade_driver.simulation.record import Record
from cascade_driver.simulation.spec import CascadeSpec

INPUT = f"""
crystal = {{ name = "Si", repeats = [4, 4, 4] }}
potential = {{ name = "{POTENTIAL}" }}
recoils = [{{ species = "Si", recoil_energies_eV = [20], directions = {{ scheme = "symmetry", count = 2 }} }}]
"""


@pytest.fixture
def run(tmp_path) -> RunDirectory:
    """Four finished cascades."""
    run = a_run(tmp_path / "run", a_campaign())
    Serial().work(work_of(run), lambda _: None)
    return run


def result(stored=1.0, name="0123456789abcdef") -> Result:
    campaign = a_campaign()
    return Result(
        record=Record(
            id=name,
            spec=campaign.spec(next(campaign.cascades())),
            outcome=Outcome.COMPLETED,
            physics=physics(stored_energy_eV=stored),
            provenance=provenance(),
        ),
        structure=None,
    )


def test_plan_survives_writing_and_reading(tmp_path):
    campaign = a_campaign(energies=(20, 40))
    assert a_run(tmp_path, campaign).load() == campaign


def test_records_hash_to_their_folder(run):
    for name in run.finished():
        record = run.record(name)
        assert build(CascadeSpec, record.spec, origin=name).id == record.id == name


def test_table_has_a_row_per_finished_cascade_in_the_order_of_the_plan(run):
    table = contents_of(run).table()
    assert table.id.tolist() == [c.id for c in run.load().cascades()]
    for name, stored in zip(table.id, table.stored_energy_eV, strict=True):
        assert run.record(name).stored_energy_eV == stored


def test_a_second_result_does_not_overwrite_the_first(tmp_path):
    run = a_run(tmp_path, a_campaign())
    run.store(result(1.0))
    row = run.store(result(2.0))
    assert run.record("0123456789abcdef").stored_energy_eV == 1.0 == row.stored_energy_eV
    assert [p.name for p in run.cascades.iterdir()] == ["0123456789abcdef"]


def test_a_result_that_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    run = a_run(tmp_path, a_campaign())

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(module, "_flush", full)
    with pytest.raises(OSError, match="No space left"):
        run.store(result())
    assert list(run.cascades.iterdir()) == []


def test_leftovers_of_a_dead_process_with_our_number_do_not_lose_a_result(tmp_path, monkeypatch):
    run = a_run(tmp_path, a_campaign())
    monkeypatch.setattr(module, "_count", iter([0]))
    old = run.cascades / f".0123456789abcdef-{this_place()}-{os.getpid()}-0"
    old.mkdir()
    (old / "record.json").write_text("half")
    run.store(result())
    assert run.record("0123456789abcdef").stored_energy_eV == 1.0
    assert run.finished() == {"0123456789abcdef"}


def test_sweep_takes_what_the_dead_left_and_leaves_the_living_alone(tmp_path):
    run = a_run(tmp_path, a_campaign())
    dead = run.cascades / f".a-{this_place()}-999999999-0"
    living = run.cascades / f".b-{this_place()}-{os.getpid()}-0"
    other = run.cascades / ".c-elsewhere-1-0"
    for folder in (dead, living, other):
        folder.mkdir()
    run.sweep()
    assert not dead.exists()
    assert living.exists()
    assert other.exists()


def test_sweep_takes_the_claims_of_the_dead(tmp_path):
    run = a_run(tmp_path, a_campaign())
    mine = Claims(run.claims).take("mine")
    dead = run.claims / "dead.json"
    dead.write_text(json.dumps(json.loads(mine.text) | {"process_start": "1"}))
    run.sweep()
    assert [p.name for p in run.claims.iterdir()] == ["mine.json"]


@pytest.mark.parametrize("damage", ["truncated", "flipped", "missing", "other"])
def test_a_damaged_record_is_named_and_set_aside(run, damage):
    name = sorted(run.finished())[0]
    file = run.cascades / name / "record.json"
    content = file.read_bytes()
    if damage == "truncated":
        file.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        where = content.index(b'"cpu_s": ') + 9
        file.write_bytes(content[:where] + bytes([content[where] ^ 1]) + content[where + 1 :])
    elif damage == "missing":
        file.unlink()
    else:
        file.write_bytes((run.cascades / sorted(run.finished())[1] / "record.json").read_bytes())
    with pytest.raises(RecordError, match=name):
        contents_of(run).table()
    assert list(run.set_damaged_records_aside()) == [name]
    assert name not in run.finished()
    assert [p.name.split("-")[0] for p in (run.path / "damaged").iterdir()] == [name]
    assert len(contents_of(run).table()) == 3


def test_the_index_can_be_removed_at_any_moment(run):
    before = run.index.read()
    assert len(before[0]) == 4
    for file in (run.path / "index").iterdir():
        file.unlink()
    assert run.index.read() == before


def test_a_torn_or_flipped_line_of_the_index_is_made_again(run):
    before = run.index.read()
    (file,) = (run.path / "index").iterdir()
    content = bytearray(file.read_bytes())
    content[40] ^= 1
    file.write_bytes(content[:-7])
    assert run.index.read() == before
    assert run.index.read() == before
    assert len(list((run.path / "index").iterdir())) == 2


def test_a_record_that_changes_is_read_again(run):
    run.index.read()
    name = sorted(run.finished())[0]
    file = run.cascades / name / "record.json"
    content = json.loads(file.read_text())
    content["physics"]["stored_energy_eV"] = 99.0
    file.write_text(json.dumps(content))
    assert "differs from its checksum" in run.index.read()[1][name]


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="give the folder that `cascade run` made"):
        RunDirectory(tmp_path).load()


def test_a_plan_of_another_schema_is_refused(tmp_path):
    run = a_run(tmp_path, a_campaign())
    path = tmp_path / "campaign.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": 99}))
    with pytest.raises(InputError, match="schema version 99"):
        run.load()


def test_a_damaged_plan_is_refused_and_made_again_from_the_input(tmp_path):
    run = a_run(tmp_path, a_campaign(energies=(50,)))
    path = tmp_path / "campaign.json"
    path.write_text(path.read_text().replace("50.0", "58.0"))
    with pytest.raises(
        InputError, match="differs from its checksum; move it away and give `cascade run` the input"
    ):
        run.load()


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("}", "", "not valid JSON"),
        ('"checksum"', '"x": NaN, "checksum"', "differs from its checksum"),
        ('"checksum"', '"x": 1e999, "checksum"', "differs from its checksum"),
    ],
)
def test_a_damaged_plan_is_told_with_what_mends_it(tmp_path, old, new, line):
    run = a_run(tmp_path / "run", a_campaign())
    path = run.path / "campaign.json"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(InputError, match=rf"{line}.*; move it away and give `cascade run` the input again"):
        run.load()


def another_version(run: RunDirectory, name: str) -> dict[str, bytes]:
    """Let another version of the program have written a record; return what all records hold then."""
    path = run.cascades / name / "record.json"
    content = json.loads(path.read_text()) | {"schema_version": 2, "provenance": {"cascade_driver": "7.0"}}
    del content["checksum"]
    path.write_text(json.dumps(content | {"checksum": digest(content, length=64)}))
    return {p.parent.name: p.read_bytes() for p in run.cascades.glob("*/record.json")}


@pytest.mark.parametrize("damaged_too", [False, True])
@pytest.mark.parametrize("verb", ["run", "work", "status", "verify", "export", "fit", "submit", "show"])
def test_a_record_of_another_version_is_refused_with_one_line_and_never_moved(
    run, tmp_path, capsys, verb, damaged_too
):
    run.keep(load_potential(POTENTIAL))
    (run.path / "input.toml").write_text(INPUT)
    names = sorted(run.finished())
    if damaged_too:
        (run.cascades / names[0] / "record.json").write_text("{")
    before = another_version(run, names[-1])
    arguments = {
        "run": ["run", str(run.path / "input.toml"), "--out", str(run.path), "--replace-plan"],
        "export": ["export", str(run.path), "--table", str(tmp_path / "x.csv")],
        "submit": ["submit", str(run.path), "--slurm", "--dry-run"],
        "show": ["show", str(run.path), names[-1]],
    }.get(verb, [verb, str(run.path)])
    assert main(arguments) == (0 if verb == "work" else 2)
    said = capsys.readouterr().err
    if verb != "work":  # a worker makes what is missing and reads nothing
        assert f"{names[-1]}/record.json: schema version 2, this program" in said
        assert "use cascade_driver 7.0, or start a new run with --out" in said
        assert said.count("\n") == 1
    assert {p.parent.name: p.read_bytes() for p in run.cascades.glob("*/record.json")} == before
    assert not (run.path / "damaged").exists()


def test_a_place_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="choose another place with --out"):
        RunDirectory(tmp_path / "file" / "run").prepare()


def test_a_plan_is_replaced_whole(tmp_path, monkeypatch):
    path = tmp_path / "plan"
    write_atomically(path, "old")
    monkeypatch.setattr(module.os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
    with pytest.raises(OSError, match="full"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_disk_trouble_is_one_line_and_other_errors_pass(tmp_path):
    error = module.disk_error(tmp_path, OSError(errno.ENOSPC, "No space left on device"))
    assert isinstance(error, CascadeError)
    assert "what is finished is safe" in str(error)
    with pytest.raises(OSError, match="odd"):
        module.disk_error(tmp_path, OSError(errno.ENOTDIR, "odd"))


def test_known_groups_are_those_of_the_plan(tmp_path):
    campaign = a_campaign()
    assert RunDirectory(tmp_path).known_groups() == {}
    run = a_run(tmp_path, campaign)
    assert run.known_groups() == {"by hand": campaign.groups[0]}
    run.save(dataclasses.replace(campaign, groups=()))
    assert run.known_groups() == {}
