"""What comes in by files is read to its end or refused at once; what goes out is there whole or not at all."""

import gzip
import json
import os
import stat
import subprocess
import sys
import threading

import pytest

from cascade_driver.campaign.rundir import RunDirectory
from cascade_driver.errors import InputError
from cascade_driver.files import (
    LARGEST_TEXT_bytes,
    readable,
    text_of,
    whole_file,
    whole_folder,
    write_atomically,
    write_file,
)
from cascade_driver.schema import read_json, read_toml
from cascade_driver.sources.recoil_list import read_recoil_list
from cascade_driver.spectrum import read_spectrum, write_spectrum
from cascade_driver.training.extended_xyz import read_frames
from cascade_driver.workflow import plan_run

TABLE = "energy_low_eV,energy_high_eV,rate\n1,2,3\n"


def test_a_text_is_read_with_any_mark_and_line_end_by_path_or_name(tmp_path):
    file = tmp_path / "Größe.csv"
    for content in (TABLE, "\ufeff" + TABLE, TABLE.replace("\n", "\r\n"), TABLE.replace("\n", "\r")):
        file.write_bytes(content.encode())
        assert text_of(file, what="a table") == text_of(str(file), what="a table") == TABLE
    assert read_spectrum(str(file)).total_counts_per_kg_day == read_spectrum(file).total_counts_per_kg_day


def test_what_is_no_text_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "sparse").open("wb") as stream:
        stream.truncate(LARGEST_TEXT_bytes + 1)
    (tmp_path / "latin").write_bytes("±".encode("latin-1"))
    (tmp_path / "binary").write_bytes(b"a\0b")
    (tmp_path / "packed").write_bytes(gzip.compress(b"a"))
    for name, complaint in {
        "none": "no such file, expected a table",
        "pipe": "it is a named pipe; expected a file, a table",
        "/dev/zero": "it is a device",
        ".": "it is a folder",
        "sparse": "larger than 512 MiB",
        "latin": "not a text file in UTF-8 (byte 0xb1 at 0)",
        "packed": "compressed by gzip, expected a table; unpack it",
        "binary": "it holds the character \\x00",
        "a\0b": "embedded null byte",
        300 * "x": "File name too long",
    }.items():
        with pytest.raises(InputError) as caught:
            text_of(str(tmp_path / name), what="a table")
        assert complaint in str(caught.value)
        assert "\n" not in str(caught.value)


def test_what_the_shell_pipes_in_is_read(tmp_path):
    # Negative control of the refusal of pipes: `cascade ... <(command)` and /dev/stdin have somebody who writes.
    program = "import sys; from cascade_driver.files import text_of; print(text_of(sys.argv[1], what='x'), end='')"
    for command in ('echo a | "$0" -c "$1" /dev/stdin', '"$0" -c "$1" <(echo a)'):
        done = subprocess.run(
            ["bash", "-c", command, sys.executable, program],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert done.stdout == "a\n"


@pytest.mark.parametrize("depth", [100, 100_000])
def test_deep_nesting_is_told(tmp_path, depth):
    (tmp_path / "x.json").write_text('{"a":' + depth * "[" + depth * "]" + "}")
    (tmp_path / "x.toml").write_text("a = " + depth * "[" + depth * "]")
    for read, file in ((read_json, "x.json"), (read_toml, "x.toml")):
        if depth == 100:
            assert set(read(tmp_path / file)) == {"a"}
            continue
        with pytest.raises(InputError, match="nested too deeply"):
            read(tmp_path / file)


def test_paths_may_be_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dm.csv").write_text(TABLE)
    write_spectrum(read_spectrum("dm.csv"), "again.csv")
    assert read_spectrum("again.csv").total_counts_per_kg_day == read_spectrum("dm.csv").total_counts_per_kg_day
    (tmp_path / "list.csv").write_text("energy_eV\n1\n")
    assert read_recoil_list("list.csv").recoil_energy_eV.tolist() == [1.0]
    with pytest.raises(InputError, match=r"no campaign\.json there"):
        RunDirectory("nowhere").load()
    with pytest.raises(InputError, match="no such input file"):
        plan_run("nowhere.toml", out="RUN")
    with pytest.raises(InputError, match="no such file"):
        read_frames("nowhere.extxyz")


def test_numbers_and_texts_that_nobody_can_mean_are_told(tmp_path):
    (tmp_path / "x.toml").write_text("a = " + 5000 * "9")
    with pytest.raises(InputError, match=r"not valid TOML: Exceeds the limit"):
        read_toml(tmp_path / "x.toml")
    (tmp_path / "x.toml").write_text("a = [{ b = -1e200 }]")
    with pytest.raises(InputError, match="larger than any quantity"):
        read_toml(tmp_path / "x.toml")
    (tmp_path / "x.toml").write_text('a = [{ b = "\\u001b[2J" }]')
    with pytest.raises(InputError, match=r"holds the control character \\x1b"):
        read_toml(tmp_path / "x.toml")
    (tmp_path / "x.toml").write_text('a = "Läufe\\nand ±"')
    assert read_toml(tmp_path / "x.toml") == {"a": "Läufe\nand ±"}
    (tmp_path / "x.json").write_text(json.dumps({"a": 1})[:-1])
    with pytest.raises(InputError, match="not valid JSON"):
        read_json(tmp_path / "x.json")
    assert readable(tmp_path / "x.json", what="JSON") == tmp_path / "x.json"


# -- what goes out ----------------------------------------------------------------------------------------------


def test_a_file_is_replaced_whole_or_stays_with_its_mode_and_leaves_nothing_behind(tmp_path):
    path = tmp_path / "x.csv"
    write_file(path, "old")
    path.chmod(0o640)

    def give_up():
        with whole_file(path) as draft:
            assert draft.suffix == ".csv"
            draft.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        give_up()
    assert path.read_text() == "old"
    write_file(path, b"new")
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert [p.name for p in tmp_path.iterdir()] == ["x.csv"]


def test_a_link_is_replaced_and_its_target_stays(tmp_path):
    target, link = tmp_path / "mine", tmp_path / "link"
    target.write_text("mine")
    for place in (target, tmp_path / "nowhere"):
        link.symlink_to(place)
        write_atomically(link, "new")
        assert link.read_text() == "new"
        assert not link.is_symlink()
        link.unlink()
    assert target.read_text() == "mine"
    assert not (tmp_path / "nowhere").exists()


def test_a_pipe_is_written_to_and_stays_one(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    heard = []
    reader = threading.Thread(target=lambda: heard.append(pipe.read_text()))
    reader.start()
    write_file(pipe, "content")
    reader.join()
    assert heard == ["content"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert [p.name for p in tmp_path.iterdir()] == ["pipe"]


def device(path, minor: int):
    """Make a device of our own: the system's are not for trials."""
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, minor))
        with path.open("wb"):
            return path
    except OSError:
        pytest.skip("devices cannot be made or opened here")


def test_a_device_is_written_to_and_stays_one(tmp_path):
    null, full = device(tmp_path / "null", 3), device(tmp_path / "full", 7)
    write_file(null, "content")
    with pytest.raises(InputError, match=r"full: cannot be written \(No space left on device\); choose another"):
        write_file(full, "content")
    for path in (null, full):
        assert stat.S_ISCHR(path.stat().st_mode)
    assert {p.name for p in tmp_path.iterdir()} == {"null", "full"}


@pytest.mark.parametrize("place", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_the_standard_output_goes_on_where_it_is(tmp_path, place):
    program = (
        "import sys; from pathlib import Path; from cascade_driver.files import write_file\n"
        "print('before'); write_file(Path(sys.argv[1]), 'content\\n'); print('after')"
    )
    whole = "before\ncontent\nafter\n"
    command = [sys.executable, "-c", program, place]
    assert subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout == whole
    log = tmp_path / "log"
    with log.open("w") as stream:
        stream.write("first\n")
        stream.flush()
        subprocess.run(command, stdout=stream, check=True, timeout=60)
    assert log.read_text() == "first\n" + whole
    assert stat.S_ISLNK(os.lstat("/dev/stdout").st_mode)


def test_what_cannot_be_written_is_told(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    for name, complaint in {
        "folder": "cannot be written (Is a directory); elsewhere",
        "file/x": "cannot be written (its folder is a file); elsewhere",
        300 * "x": "cannot be written (File name too long); elsewhere",
    }.items():
        with pytest.raises(InputError) as caught:
            write_file(tmp_path / name, "", remedy="elsewhere")
        assert complaint in str(caught.value)
    with (
        pytest.raises(InputError, match="its folder does not exist; make it, or elsewhere"),
        whole_file(tmp_path / "none" / "x", remedy="elsewhere") as draft,
    ):
        draft.write_text("")
    assert {p.name for p in tmp_path.iterdir()} == {"folder", "file"}
    write_file(tmp_path / (250 * "x"), "a long name is no draft's trouble")


def test_a_folder_is_made_whole_or_not_at_all(tmp_path):
    out = tmp_path / "new" / "made"

    def fill_the_disk(folder):
        folder.mkdir()
        (folder / "half").write_text("x")
        with open("/dev/full", "wb", buffering=0) as full:  # noqa: PTH123
            full.write(b"x")

    with pytest.raises(InputError) as caught, whole_folder(out) as draft:
        fill_the_disk(draft)
    assert str(caught.value) == f"{out}: cannot be written (No space left on device); choose another place"
    assert list(out.parent.iterdir()) == []
    with whole_folder(out) as draft:
        draft.mkdir()
        (draft / "file").write_text("x")
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()] == [
        "new/made/file"
    ]
    with pytest.raises(InputError, match="exists; give the name of a new folder"), whole_folder(out):
        pass
