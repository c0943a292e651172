"""A chapter as a terminal shows it."""

from __future__ import annotations

import sys


def show(text: str) -> None:
    """Print Markdown: laid out on a terminal, as it stands into a pipe or a file."""
    if sys.stdout is None or not sys.stdout.isatty():
        print(text.rstrip())
        return
    from rich.console import Console
    from rich.markdown import Markdown

    console = Console()
    console.print(Markdown(text, hyperlinks=False), width=min(console.width, 110))
