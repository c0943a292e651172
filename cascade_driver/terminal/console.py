"""The console that all tables are printed on, and lines that stand out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cascade_driver.text import visible

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class PlainConsole(Console):
    """A console for which a text is what it says: titles and names are no markup and move no cursor."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(markup=False, emoji=False, **settings)

    def render_str(self, text: str, **settings: Any) -> Text:
        """Return a text to be printed, its control characters written out."""
        return super().render_str(visible(text), **settings)


def make_console() -> PlainConsole:
    """Return a console that keeps tables whole in pipes, too."""
    console = PlainConsole()
    # A pipe or a file has no width of its own; 80 columns would break the tables.
    return console if console.is_terminal else PlainConsole(width=120)


def headed(title: str, rest: str = "", *, style: str = "bold") -> Text:
    """Return a line that begins with something to be seen first."""
    return Text.assemble((visible(title), style), visible(rest))


def print_columns(columns: Mapping[str, Sequence[float]], *, title: str, console: Console) -> None:
    """Print columns of numbers under their names."""
    shown = Table(title=title)
    for name in columns:
        shown.add_column(name, justify="right")
    for row in zip(*columns.values(), strict=True):
        shown.add_row(*(f"{value:.4g}" for value in row))
    console.print(shown)
