"""The verb that shows the guide, and the reference of all verbs, which is made of their parsers."""

from __future__ import annotations

import argparse
import re
from functools import partial

from cascade_driver.commands.arguments import Parser, Verbs, add_verb, new_folder


def add_to(verbs: Verbs, command: Parser) -> None:
    """Add the verb of this module to the command, of which the reference of verbs is made."""
    about = "Read the guide: its chapters, or one of them."
    verb = add_verb(verbs, "guide", partial(_guide, command), about)
    verb.add_argument("topic", nargs="?", metavar="TOPIC", help="a chapter (default: list them)")
    verb.add_argument(
        "--site",
        type=new_folder,
        metavar="FOLDER",
        help="write all of it as a site that needs no network; takes pip install 'cascade-driver[docs]'",
    )


def _guide(command: Parser, chosen: argparse.Namespace) -> int:
    from cascade_driver.guide.chapters import CHAPTERS
    from cascade_driver.guide.page import show

    if chosen.site is not None:
        from cascade_driver.guide.site import build_site

        print(f"written: {build_site(whole_guide(command), chosen.site)}")
    elif chosen.topic is not None:
        show(whole_chapter(chosen.topic, command))
    else:
        width = max(map(len, CHAPTERS))
        for topic, about in CHAPTERS.items():
            print(f"  {topic:{width}}  {about}")
        print("`cascade guide TOPIC` shows one; begin with `cascade guide start`")
    return 0


def whole_guide(command: Parser) -> dict[str, str]:
    """Return the Markdown of all chapters by topic, and of a first page, `index`, that lists them."""
    from cascade_driver.guide.chapters import CHAPTERS

    listed = [f"- [{topic}]({topic}.md): {about}" for topic, about in CHAPTERS.items()]
    front = ["# cascade_driver", "", "A knocked-on atom goes in, the spectrum that a cryogenic detector really"]
    front += ["records comes out. Begin with the chapter [start](start.md).", "", *listed]
    return {"index": "\n".join(front) + "\n", **{topic: whole_chapter(topic, command) for topic in CHAPTERS}}


def whole_chapter(topic: str, command: Parser) -> str:
    """Return the Markdown of a chapter, with the reference that is made of types or parsers where it has one.

    Raises
    ------
    InputError
        If there is none.
    """
    from cascade_driver.guide.chapters import chapter, without_marks
    from cascade_driver.guide.keys import keys_reference

    text = without_marks(chapter(topic))
    if topic == "inputs":
        return f"{text}\n{keys_reference()}"
    return f"{text}\n{verbs_reference(command)}" if topic == "verbs" else text


def verbs_reference(command: Parser) -> str:
    """Return what all verbs do and take, as Markdown."""
    return "\n".join(line for verb in command.leaves() for line in _told(verb))


def _told(verb: argparse.ArgumentParser) -> list[str]:
    lines = [f"## `{verb.prog}`", "", _escaped(verb.description or ""), ""]
    shown = [a for a in verb._actions if a.help != argparse.SUPPRESS and not isinstance(a, argparse._HelpAction)]
    if shown:
        lines += ["| argument | what |", "| --- | --- |"]
        formatter = argparse.HelpFormatter(verb.prog)
        for action in shown:
            name = formatter._format_action_invocation(action)
            needed = "" if not action.required or not action.option_strings else " (needed)"
            about = " ".join(formatter._expand_help(action).split()) if action.help else ""
            lines.append(f"| `{name}`{needed} | {_escaped(about)} |")
    return [*lines, ""]


def _escaped(text: str) -> str:
    """Return a text of argparse as Markdown that shows the same."""
    return re.sub(r"([|<*])", r"\\\1", text)
