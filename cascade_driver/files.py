"""The door that files come in by: what cannot be read is one line, and nothing keeps us waiting for ever."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from cascade_driver.errors import InputError
from cascade_driver.text import acting_characters

#: No table and no input that people or programs give us is larger; a sparse or an endless file is.
LARGEST_TEXT_bytes = 2**29

#: Of what is neither a file nor a folder.
_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}


def readable(path: Path | str, *, what: str) -> Path:
    """Return the path of a file that can be read to its end: a regular one, or a pipe that the shell has opened.

    Parameters
    ----------
    path : pathlib.Path or str
        The file.
    what : str
        What is expected in it, for the complaint.

    Raises
    ------
    InputError
        If it is missing, closed to us, or something else: a named pipe or a device might never end.
    """
    try:
        path = Path(path)
        kind = stat.S_IFMT(path.stat().st_mode)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file, expected {what}; check the name") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({_reason(error)}), expected {what}; check the name") from None
    # `<(command)` and /dev/stdin: somebody writes, or has written.
    is_open = kind == stat.S_IFIFO and Path(os.path.realpath(path)).parent.match("/proc/*/fd")
    if not (kind == stat.S_IFREG or is_open):
        raise InputError(f"{path}: cannot be read, it is {_KINDS.get(kind, 'no file')}; expected a file, {what}")
    return path


def text_of(path: Path | str, *, what: str) -> str:
    r"""Return the text of a file in UTF-8, with or without its mark, its lines ended by \n.

    Parameters
    ----------
    path : pathlib.Path or str
        The file.
    what : str
        What is expected in it, for the complaint.

    Raises
    ------
    InputError
        If it cannot be read, see `readable`, is no text, or larger than `LARGEST_TEXT_bytes`.
    """
    path = readable(path, what=what)
    try:
        with path.open("rb") as stream:
            content = stream.read(LARGEST_TEXT_bytes + 1)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({_reason(error)}), expected {what}; check its permissions"
        ) from None
    if len(content) > LARGEST_TEXT_bytes:
        raise InputError(f"{path}: larger than {LARGEST_TEXT_bytes / 2**20:.0f} MiB, expected {what}")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        found = f"byte {content[error.start]:#04x} at {error.start}"
        raise InputError(
            f"{path}: not a text file in UTF-8 ({found}), expected {what}; save it as UTF-8"
        ) from None
    if acting := acting_characters(text):
        raise InputError(f"{path}: not a text file (it holds the character {acting[0]}), expected {what}")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _reason(error: OSError | ValueError) -> str:
    return str(getattr(error, "strerror", None) or error)
