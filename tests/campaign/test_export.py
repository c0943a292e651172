"""Exports: complete, whole, and made again at any moment."""

import contextlib
import csv
import resource
import sqlite3
import subprocess
import sys

import ase.db
import ase.io
import fake_engine
import numpy as np
import pytest
from ase.build import molecule
from fake_engine import a_campaign, a_run, work_of

from cascade_driver.analysis.imported import read_stored_energies
from cascade_driver.campaign.executors import Processes, Serial
from cascade_driver.campaign.export import export_ase_db, export_structures, export_table
from cascade_driver.campaign.rundir import RunDirectory
from cascade_driver.cli import main
from cascade_driver.errors import InputError


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> RunDirectory:
    """Six finished cascades of eight; two of them lost their atoms."""
    energies = (50, 60, fake_engine.LOSES_ATOMS)
    run = a_run(tmp_path_factory.mktemp("run"), a_campaign(energies=energies, directions=1))
    Processes().work(work_of(run), lambda _: None)
    run.save(a_campaign(energies=(*energies, 70), directions=1))
    return run


def test_csv_says_what_the_records_say(run, tmp_path):
    path = tmp_path / "x.csv"
    assert export_table(run, path) == 6
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert len(rows) == 6
    for row in rows:
        record = run.record(row["id"])
        assert row["outcome"] == record.outcome.key
        assert float(row["recoil_energy_eV"]) == record.spec.knock_on.recoil_energy_eV
        if record.physics:
            assert float(row["stored_energy_eV"]) == record.stored_energy_eV
        else:
            assert row["stored_energy_eV"] == ""
        assert row["potential_status"] == "qualitative"


def test_a_table_is_read_again_by_import_without_the_failed(run, tmp_path):
    path = tmp_path / "x.csv"
    export_table(run, path)
    lines = path.read_text().splitlines(keepends=True)
    rows = list(csv.DictReader(lines))
    species = rows[0]["species"]
    failed = sum(row["species"] == species and row["outcome"] != "completed" for row in rows)
    assert failed  # else nothing is refused below
    with pytest.raises(InputError, match=rf"{failed} of .* did not end as completed.*lost_atoms"):
        read_stored_energies(path, species=species)
    path.write_text("".join([lines[0], *(line for line in lines[1:] if ",lost_atoms," not in line)]))
    wanted = [row for row in rows if row["species"] == species and row["outcome"] == "completed"]
    read = read_stored_energies(path, species=species)
    assert read.stored_energy_eV.tolist() == [float(row["stored_energy_eV"]) for row in wanted]
    assert read.direction[0] == pytest.approx([float(wanted[0][f"direction_{axis}"]) for axis in "xyz"], abs=1e-8)
    with pytest.raises(InputError, match=r"holds recoils of .*, expected Xe"):
        read_stored_energies(path, species="Xe")
    whole = path.read_text()
    path.write_text("# of a colleague\n" + whole)
    assert read_stored_energies(path, species=species).stored_energy_eV.tolist() == read.stored_energy_eV.tolist()
    # Checked as any other table is.
    stored = wanted[0]["stored_energy_eV"]
    path.write_text(whole.replace(f",{stored},", ",nan,", 1))
    with pytest.raises(InputError, match=r"x.csv, line \d: stored energy in eV is nan, expected a finite one"):
        read_stored_energies(path, species=species)
    path.write_text(whole.replace("outcome", "ended", 1))
    with pytest.raises(InputError, match=r"no column outcome, or no row"):
        read_stored_energies(path, species=species)


def test_parquet_holds_the_same_as_csv(run, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra `export`")
    export_table(run, tmp_path / "x.csv")
    export_table(run, tmp_path / "x.parquet")
    rows = parquet.read_table(tmp_path / "x.parquet").to_pylist()
    texts = list(csv.DictReader((tmp_path / "x.csv").read_text().splitlines()))
    assert [{k: "" if v is None else str(v) for k, v in row.items()} for row in rows] == texts


def test_ase_database_opens_and_holds_every_cascade(run, tmp_path):
    path = tmp_path / "x.db"
    assert export_ase_db(run, path) == export_ase_db(run, path) == 6
    with ase.db.connect(path) as database:
        assert database.count() == 6
        for row in database.select(outcome="completed"):
            assert row.toatoms().get_chemical_formula() == "Si8"
            assert row.stored_energy_eV == run.record(row.cascade[1:]).stored_energy_eV
            assert row.data["displacement"].shape == (8, 3)
        assert database.count(outcome="lost_atoms") == 2
    shown = subprocess.run(
        [sys.executable, "-m", "ase", "db", str(path), "outcome=completed", "-c", "cascade,recoil_energy_eV"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Rows: 4" in shown.stdout
    assert list(tmp_path.iterdir()) == [path]


def test_rows_of_others_stay_in_a_database(run, tmp_path, capsys):
    path = tmp_path / "mine.db"
    with ase.db.connect(path) as database:
        for name in ("H2O", "CH4", "NH3"):
            database.write(molecule(name), note="mine", data={"x": [1, 2]})
    other = a_run(tmp_path / "other", a_campaign(energies=(80,), directions=2, snapshots=1))
    Serial().work(work_of(other), lambda _: None)
    for each in (run, other, run):
        assert main(["export", str(each.path), "--ase-db", str(path)]) == 0
    with ase.db.connect(path) as database:
        assert database.count() == 3 + 6 + 2
        mine = [row.formula for row in database.select(note="mine")]
        assert mine == ["H2O", "CH4", "H3N"]
        assert all(row.data["x"] == [1, 2] for row in database.select(note="mine"))
        assert {row.cascade[1:] for row in database.select("cascade")} == (
            {p.id for p in run.load().cascades() if run.is_finished(p.id)} | other.finished()
        )
        for row in database.select(recoil_energy_eV=80):
            assert row.stored_energy_eV == other.record(row.cascade[1:]).stored_energy_eV


def test_a_row_is_brought_up_to_date(run, tmp_path):
    path = tmp_path / "x.db"
    export_ase_db(run, path)
    with ase.db.connect(path) as database:
        row = next(database.select(outcome="lost_atoms"))
        database.update(row.id, vacancies=3, outcome="completed", mark="mine")
    assert export_ase_db(run, path) == 6
    with ase.db.connect(path) as database:
        again = database.get(row.id)
        assert (again.outcome, again.mark) == ("lost_atoms", "mine")
        assert "vacancies" not in again


def test_what_is_no_ase_database_or_held_by_another_stays_as_it_is(run, tmp_path, capsys, monkeypatch):
    text, foreign, held = tmp_path / "text.db", tmp_path / "foreign.db", tmp_path / "held.db"
    text.write_text("my notes, " * 1000)
    with contextlib.closing(sqlite3.connect(foreign)) as connection:
        connection.execute("CREATE TABLE notes (x)")
        connection.commit()
    export_ase_db(run, held)
    before = {path: path.read_bytes() for path in (text, foreign, held)}
    monkeypatch.setattr(
        "ase.db.sqlite.SQLite3Database._connect", lambda self: sqlite3.connect(self.filename, timeout=0.1)
    )
    with contextlib.closing(sqlite3.connect(held)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        for path, words in ((text, "no ASE database"), (foreign, "no ASE database"), (held, "is locked")):
            assert main(["export", str(run.path), "--ase-db", str(path)]) == 2
            error = capsys.readouterr().err
            assert words in error
            assert error.count("\n") == 1
    assert {path: path.read_bytes() for path in before} == before


def test_structures_carry_displacements_and_flags(run, tmp_path):
    assert export_structures(run, tmp_path / "s") == 4
    for path in (tmp_path / "s").iterdir():
        atoms = ase.io.read(path)
        assert atoms.arrays["displacement"].shape == (8, 3)
        assert set(np.unique(atoms.arrays["defect"])) <= {0, 1, 2}
        assert atoms.arrays["is_pka"].sum() == 1
        assert atoms.info["recoil_energy_eV"] in {50.0, 60.0}
    assert export_structures(run, tmp_path / "s") == 4


def test_a_database_that_does_not_fit_on_the_disk_is_one_line_and_leaves_nothing(run, tmp_path, capsys):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
        code = main(["export", str(run.path), "--ase-db", str(tmp_path / "x.db")])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert code == 2
    assert "x.db: cannot be written" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_is_replaced_whole_or_stays(run, tmp_path, monkeypatch):
    path = tmp_path / "x.csv"
    path.write_text("old")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("cascade_driver.campaign.export.csv.DictWriter", full)
        assert main(["export", str(run.path), "--table", str(path)]) == 2
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--table", "x.xls"], "written as .csv or .parquet"),
        (["--ase-db", "x.json"], "written as .db"),
        (["--table", "nowhere/x.csv"], "folder does not exist"),
        ([], "say what to export"),
    ],
)
def test_what_cannot_be_exported_is_one_line(run, tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    assert main(["export", str(run.path), *arguments]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1


def test_parquet_without_pyarrow_is_one_line(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert main(["export", str(run.path), "--table", str(tmp_path / "x.parquet")]) == 2
    assert "cascade-driver[export]" in capsys.readouterr().err
