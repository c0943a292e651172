"""What comes in by files is read to its end, or refused in one line and without waiting."""

import json
import os
import subprocess
import sys

import pytest

from cascade_driver.errors import InputError
from cascade_driver.files import LARGEST_TEXT_bytes, readable, text_of
from cascade_driver.schema import read_json, read_toml
from cascade_driver.spectra.spectrum import read_spectrum

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
    for name, complaint in {
        "none": "no such file, expected a table",
        "pipe": "it is a named pipe; expected a file, a table",
        "/dev/zero": "it is a device",
        ".": "it is a folder",
        "sparse": "larger than 512 MiB",
        "latin": "not a text file in UTF-8 (byte 0xb1 at 0)",
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


def test_numbers_and_texts_that_nobody_can_mean_are_told(tmp_path):
    (tmp_path / "x.toml").write_text("a = " + 5000 * "9")
    with pytest.raises(InputError, match=r"not valid TOML: Exceeds the limit"):
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
