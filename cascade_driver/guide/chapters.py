"""The chapters of the guide."""

from __future__ import annotations

import re
from pathlib import Path

from cascade_driver.errors import InputError
from cascade_driver.text import closest

_FOLDER = Path(__file__).parent

#: The chapters in reading order, and what each is about.
CHAPTERS: dict[str, str] = {
    "start": "from a first cascade to a corrected spectrum, in ten steps",
    "spectra": "spectra of sources and of your own, corrected",
    "notebook": "your own spectrum in Python, as a notebook",
    "crystal": "your own crystal, with your own potential",
    "cluster": "laptop to cluster, and what a run is on disk",
    "training": "a potential made of labelled structures",
    "thresholds": "threshold displacement energies, and estimates without molecular dynamics",
    "relaxation": "films, glasses and debris: what relaxes without a recoil",
    "inputs": "reference: every key of every input",
    "verbs": "reference: every verb of the command",
    "method": "how it works: what a cascade is, with the equations and their sources",
    "trust": "how far to trust it, and what was found beside printed numbers",
    "costs": "what it costs: time, memory, disk",
    "glossary": "the words: PKA, quenching factor, threshold displacement energy, NRT, ...",
}


def chapter(topic: str) -> str:
    """Return the text of a chapter as it was written, in Markdown.

    Raises
    ------
    InputError
        If there is none.
    """
    if topic not in CHAPTERS:
        close = closest(topic, CHAPTERS)
        hint = f"did you mean {close}?" if close else f"there are {', '.join(CHAPTERS)}"
        raise InputError(f"the guide has no chapter `{topic}`; {hint}")
    place = _FOLDER / f"{topic}.md"
    return place.read_text(encoding="utf-8") if place.is_file() else _of_notebook(script(topic))


def script(topic: str) -> str:
    """Return a chapter that is a notebook, as the script in the percent format of jupytext that it ships as."""
    return (_FOLDER / f"{topic}.py").read_text(encoding="utf-8")


def _of_notebook(text: str) -> str:
    """Return a script in the percent format as Markdown."""
    made = []
    for cell in re.split(r"^# %%", text, flags=re.MULTILINE)[1:]:
        kind, _, content = cell.partition("\n")
        if "[markdown]" in kind:
            made.append(re.sub(r"^# ?", "", content.strip("\n"), flags=re.MULTILINE))
        else:
            made.append(f"```python\n{content.strip()}\n```")
    return "\n\n".join(made) + "\n"


def without_marks(text: str) -> str:
    """Return a chapter without the comments that are for its tests."""
    return re.sub(r"^<!--.*?-->\n", "", text, flags=re.MULTILINE | re.DOTALL)
