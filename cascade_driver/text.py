"""Text as a terminal may get it: nothing in it acts, and every terminal can show it."""

from __future__ import annotations

import codecs
import difflib
import math
import re
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

#: Signs that we print ourselves, in ASCII; letters lose their accents, whatever else is left becomes `?`.
_TWINS = str.maketrans(
    {"±": "+-", "−": "-", "–": "-", "×": "x", "·": ".", "→": "->", "…": "...", "≥": ">=", "≤": "<=", "°": " deg"}
)

#: Unicode categories of characters that steer a terminal, or show a text in another order than it has.
_ACTING = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})

#: Category Cc but for line ends, tabulators and form feeds.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f]")

#: Of those, what lays out a text.
_LAYOUT = frozenset("\n\t")


def visible(text: str) -> str:
    r"""Return a text with all characters written out that would act on a terminal.

    Examples
    --------
    >>> print(visible("a title\x1b[2J of \u202eothers"))
    a title\x1b[2J of \u202eothers
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c in _LAYOUT or unicodedata.category(c) not in _ACTING else ascii(c)[1:-1] for c in text)


def one_line(text: str) -> str:
    """Return a text in one line of visible characters."""
    return visible(" ".join(text.split()))


def closest(word: str, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """Return which known word was meant by an unknown one, capitals apart; None if none is near.

    Examples
    --------
    >>> closest("cawo4", ["CaWO4", "Si"]), closest("x", ["CaWO4", "Si"])
    ('CaWO4', None)
    """
    by_letters = {name.casefold(): name for name in known}
    found = difflib.get_close_matches(word.casefold(), by_letters, n=1, cutoff=cutoff)
    return by_letters[found[0]] if found else None


def number_of(text: str) -> float:
    """Return the number that a text is.

    Raises
    ------
    ValueError
        If it is none. Python alone takes `2_0` for 20, which nobody else writes or reads so.

    Examples
    --------
    >>> number_of(" 2e1 ")
    20.0
    """
    if "_" in text:
        raise ValueError(f"{text!r} is not a number")
    return float(text)


def told_apart(places: Sequence[Path]) -> list[str]:
    """Return the shortest ends of paths that tell them apart.

    Examples
    --------
    >>> told_apart([Path("/data/small/RUN"), Path("/data/large/RUN"), Path("/data/other")])
    ['small/RUN', 'large/RUN', 'other']
    """
    whole = [place.resolve().parts for place in places]
    different = set(whole)

    def is_enough(one: tuple[str, ...], n: int) -> bool:
        return sum(other[-n:] == one[-n:] for other in different) == 1

    return ["/".join(one[-next(n for n in range(1, len(one) + 1) if is_enough(one, n)) :]) for one in whole]


def acting_characters(text: str) -> list[str]:
    """Return the control characters of a text that no name and no table needs, as they are written out."""
    return [ascii(c)[1:-1] for c in _CONTROL.findall(text)]


def speak_everywhere() -> None:
    """Let standard output and standard error take any text, whatever their encoding: logs are often ASCII."""
    codecs.register_error("twins", _twin)
    for stream in (sys.stdout, sys.stderr):
        if (reconfigure := getattr(stream, "reconfigure", None)) is not None:
            reconfigure(errors="twins")


def _twin(error: UnicodeError) -> tuple[str, int]:
    """Return what stands for characters that an encoding does not have, and where to go on."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    twins = [
        unicodedata.normalize("NFKD", c.translate(_TWINS)).encode("ascii", "ignore").decode("ascii") or "?"
        for c in error.object[error.start : error.end]
    ]
    return "".join(twins), error.end


def duration(seconds: float) -> str:
    """Return a time as people say it: 45 s, 5 min 20 s, 3 h 12 min, 4 d 2 h."""
    if not math.isfinite(seconds):
        return "unknown"
    s = round(seconds)
    if s < 60:
        return f"{s} s"
    if s < 3600:
        return f"{s // 60} min {s % 60} s"
    if s < 48 * 3600:
        return f"{s // 3600} h {s % 3600 // 60} min"
    return f"{s // 86400} d {s % 86400 // 3600} h"


#: Smaller errors are written with an exponent: many zeros are hard to count.
_FIXED_ABOVE = 1e-5


def value_with_error(value: float, error: float | None) -> str:
    """Return a value with its standard error, both cut at the second digit of the error, or six of the value.

    Examples
    --------
    >>> value_with_error(50.234, 1.27), value_with_error(7.5, None), value_with_error(1234.5, 210.0)
    ('50.2 ± 1.3', '7.5', '1234 ± 210')
    >>> value_with_error(2.92e-7, 2.9e-7)
    '2.9e-07 ± 2.9e-07'
    >>> value_with_error(12.007480449, 4.8e-11)
    '12.0075 ± 4.8e-11'
    """
    if error is None or not (math.isfinite(error) and error > 0):
        return f"{value:.4g}"
    if error < _FIXED_ABOVE:
        digits = 2 + math.floor(math.log10(max(abs(value), error) / error))
        return f"{value:.{min(max(2, digits), 6)}g} ± {error:.2g}"
    digits = max(1 - math.floor(math.log10(error)), 0)
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def mean_with_error(mean: float, error: float | None) -> str:
    """Return a mean with its standard error, which that of a single event does not have.

    Examples
    --------
    >>> mean_with_error(9.951, 0.668), mean_with_error(9.581, None)
    ('9.95 ± 0.67', '9.581 (one event)')
    """
    return value_with_error(mean, error) + (" (one event)" if error is None else "")
