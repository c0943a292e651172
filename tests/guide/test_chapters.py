"""The guide is true: its commands run as they stand, its links lead somewhere, its references name all."""

import argparse
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from cascade_driver.cli import main
from cascade_driver.commands.guide import whole_guide
from cascade_driver.commands.parser import make_parser
from cascade_driver.config import RunInput
from cascade_driver.guide.chapters import CHAPTERS, chapter, script
from cascade_driver.guide.keys import keys_reference, sections
from cascade_driver.json_schema import SCHEMAS, json_schema
from cascade_driver.schema import fields_of

NOTEBOOKS = ("notebook",)


@dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced block of a chapter: its language, its text, and the comments that stand directly before it."""

    language: str
    text: str
    marks: tuple[str, ...]


def blocks(text):
    """The fenced blocks of a chapter, in order."""
    found = re.finditer(r"((?:^<!--.*?-->\n)*)^```(\w*)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    return [
        Block(
            language=one[2],
            text=one[3],
            marks=tuple(mark.strip() for mark in re.findall(r"<!--(.*?)-->", one[1], flags=re.DOTALL)),
        )
        for one in found
    ]


def marked(block, word):
    """What a mark of a block says after its word, None if it has none such."""
    return next((mark.partition(word)[2].strip(" :") for mark in block.marks if mark.startswith(word)), None)


def commands(text):
    """The commands of a block, continued lines joined."""
    return [line for line in text.replace("\\\n", " ").splitlines() if line.strip() and not line.startswith("#")]


def follow(topic, ring):
    """Do what a chapter says in the current folder, up to the ring of tests that is asked for."""
    done = 0
    for block in blocks(chapter(topic)):
        if (file := marked(block, "file")) is not None:
            Path(file).write_text(block.text)
        if block.language != "sh" or marked(block, "not run") is not None:
            continue
        if marked(block, "physics") is not None and ring != "physics":
            continue
        for line in commands(block.text):
            words = shlex.split(line, comments=True)
            assert words[0] == "cascade", line
            code = main(words[1:])
            assert code == 0, line
            done += 1
        if (smaller := marked(block, "tests")) is not None:
            subprocess.run(smaller, shell=True, check=True)
    return done


RUN_AS_THEY_STAND = [
    topic
    for topic in CHAPTERS
    if any(b.language == "sh" and marked(b, "not run") is None for b in blocks(chapter(topic)))
]


@pytest.mark.parametrize("topic", RUN_AS_THEY_STAND)
def test_the_commands_of_a_chapter_run_as_they_stand(topic, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert follow(topic, "quick") > 0


@pytest.mark.physics
@pytest.mark.parametrize("topic", RUN_AS_THEY_STAND)
def test_the_slow_commands_of_a_chapter_run_as_they_stand(topic, tmp_path, monkeypatch):
    if not any(marked(block, "physics") is not None for block in blocks(chapter(topic))):
        pytest.skip("nothing in it is slow")
    monkeypatch.chdir(tmp_path)
    assert follow(topic, "physics") > 0


@pytest.mark.parametrize("topic", CHAPTERS)
def test_every_command_of_a_chapter_is_one(topic, tmp_path, monkeypatch):
    """Also those that need days, a cluster or files of yours: their options are there."""
    monkeypatch.chdir(tmp_path)
    for block in blocks(chapter(topic)):
        if block.language == "sh":
            for line in commands(block.text):
                words = shlex.split(line, comments=True)
                if words[0] == "cascade" and ">" not in words:
                    make_parser().parse_args(words[1:])


README = Path(__file__).parents[2] / "README.md"
GUIDE = README.parent / "cascade_driver" / "guide"


def test_the_front_page_is_short_its_commands_are_some_and_its_links_lead_somewhere(tmp_path, monkeypatch):
    text = README.read_text()
    assert len(text.splitlines()) <= 150
    monkeypatch.chdir(tmp_path)
    lines = [line for block in blocks(text) if block.language == "sh" for line in commands(block.text)]
    assert len(lines) == 6
    for line in lines:
        make_parser().parse_args(shlex.split(line, comments=True)[1:])
    targets = re.findall(r"\]\(([^)#\s]+)\)", text)
    assert len(targets) > 10
    assert [target for target in targets if not (README.parent / target).is_file()] == []


@pytest.mark.parametrize("topic", NOTEBOOKS)
def test_a_notebook_runs(topic, tmp_path):
    (tmp_path / "script.py").write_text(script(topic))
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "MPLBACKEND": "agg"},
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "seen.csv").is_file()


@pytest.fixture(scope="module")
def pages():
    return whole_guide(make_parser())


def anchors(text):
    return {
        re.sub(r"[^\w -]", "", h.lower()).strip().replace(" ", "-") for h in re.findall(r"^#+ (.*)$", text, re.M)
    }


def pictures(text):
    """Captions and files of the pictures of a chapter."""
    return re.findall(r"!\[([^\]]*)\]\(([^)\s]+)\)", text)


def dead_links(pages):
    """Links within the guide that lead nowhere."""
    found = []
    for topic, text in pages.items():
        for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```|`[^`]*`", "", text, flags=re.DOTALL)):
            page, _, anchor = target.partition("#")
            if target.startswith(("http://", "https://")) or target.endswith(".png"):
                continue
            there = pages.get(page.removesuffix(".md") or topic)
            if there is None or (anchor and anchor not in anchors(there)):
                found.append(f"{topic}: {target}")
    return found


def test_links_within_the_guide_lead_somewhere(pages):
    assert dead_links(pages) == []
    # Negative control.
    assert dead_links({**pages, "start": "[a](nowhere.md) [b](trust.md#nothing) [c](trust.md)"}) == [
        "start: nowhere.md",
        "start: trust.md#nothing",
    ]


def test_every_picture_is_shown_with_words_for_those_who_do_not_see_it(pages):
    shown = [picture for text in pages.values() for picture in pictures(text)]
    assert {file for _, file in shown} == {path.name for path in GUIDE.glob("*.png")} != set()
    assert all(len(words) > 20 for words, _ in shown)


def test_the_reference_names_every_key_of_an_input():
    said = keys_reference()
    assert {f"| `{name}` |" in said for name in fields_of(RunInput)} == {True}
    for of in SCHEMAS:
        for section in sections(json_schema(of)):
            assert section.schema["properties"]
    places = {section.place for section in sections(json_schema("input"))}
    assert {
        "",
        "[crystal.film]",
        "[[recoils]]",
        "[recoils.directions]",
        "[[recoils.then]]",
        "[work.dask]",
    } <= places
    spectra = [s.heading for s in sections(json_schema("input")) if s.place == "[[spectra]]"]
    assert len(set(spectra)) == len(spectra) == 5


def test_the_reference_names_every_verb_with_its_options(pages):
    said = dict(re.findall(r"^## `(.*?)`\n(.*?)(?=^## |\Z)", pages["verbs"], flags=re.DOTALL | re.MULTILINE))
    known = {verb.prog: verb for verb in make_parser().leaves()}
    assert set(said) == set(known)
    for name, verb in known.items():
        for action in verb._actions:
            if action.help != argparse.SUPPRESS and action.dest != "help":
                assert all(option in said[name] for option in action.option_strings), (name, action)


def test_a_pipe_gets_the_text_as_it_stands_and_a_terminal_gets_it_laid_out(capsys):
    assert main(["guide", "glossary"]) == 0
    assert capsys.readouterr().out.startswith("# Glossary\n")
    laid_out = subprocess.run(
        ["script", "-qec", f"{sys.executable} -m cascade_driver guide glossary", "/dev/null"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    ).stdout
    assert "Glossary" in laid_out
    assert "# Glossary" not in laid_out
    assert "**PKA**" not in laid_out


def test_an_unknown_chapter_is_told_in_one_line(capsys):
    assert main(["guide", "trainig"]) == 2
    assert capsys.readouterr().err == "cascade: the guide has no chapter `trainig`; did you mean training?\n"


def test_the_site_is_built_and_needs_no_network(tmp_path, capsys):
    pytest.importorskip("material", reason="pip install 'cascade-driver[docs]'")
    assert main(["guide", "--site", str(tmp_path / "site")]) == 0
    pages = sorted((tmp_path / "site").glob("*.html"))
    assert {"index", *CHAPTERS} <= {page.stem for page in pages}
    for page in pages:
        text = page.read_text()
        # Links to papers are there to be followed; nothing is loaded.
        assert re.findall(r'<(?:script|img|iframe)[^>]* src="(?:https?:)?//', text) == []
        assert (
            re.findall(r'<link[^>]* rel="(?:stylesheet|preload|preconnect)"[^>]* href="(?:https?:)?//', text) == []
        )
        assert all((page.parent / src).is_file() for src in re.findall(r'<img[^>]* src="([^":]+)"', text))
    assert 'src="compare.png"' in (tmp_path / "site" / "cluster.html").read_text()
    capsys.readouterr()
    # Again over itself, never over something else.
    assert main(["guide", "--site", str(tmp_path / "site")]) == 0
    assert main(["guide", "--site", str(tmp_path)]) == 2
    assert "holds something that is no site of the guide" in capsys.readouterr().err


def test_a_dead_link_stops_the_site(tmp_path):
    pytest.importorskip("material", reason="pip install 'cascade-driver[docs]'")
    from cascade_driver.errors import CascadeError
    from cascade_driver.guide.site import build_site

    chapters = dict.fromkeys(["index", *CHAPTERS], "# a page\n")
    with pytest.raises(CascadeError, match="nowhere"):
        build_site({**chapters, "start": "# start\n\n[dead](nowhere.md)\n"}, tmp_path / "site")
