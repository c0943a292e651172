"""The doors of files. What comes in and cannot be read is one line, and nothing keeps us waiting for ever.

What goes out is there whole or not at all: it is written under another name in the same folder, brought to
the disk and renamed. What is no file (a device, a pipe, /dev/stdout) is written to, never replaced; a link is
replaced, never followed.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import os
import shutil
import socket
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Literal

from cascade_driver.errors import InputError
from cascade_driver.text import acting_characters
from cascade_driver.version import left_out

#: No table and no input that people or programs give us is larger; a sparse or an endless file is.
LARGEST_TEXT_bytes = 2**29

#: No quantity in any unit is larger; its square is still a number.
LARGEST_NUMBER = 1e100

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
        remedy = left_out(Path(path)) or "check the name"
        raise InputError(f"{path}: no such file, expected {what}; {remedy}") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({_reason(error)}), expected {what}; check the name") from None
    # `<(command)` and /dev/stdin: somebody writes, or has written.
    is_open = kind == stat.S_IFIFO and Path(os.path.realpath(path)).parent.match("/proc/*/fd")
    if not (kind == stat.S_IFREG or is_open):
        raise InputError(f"{path}: cannot be read, it is {_KINDS.get(kind, 'no file')}; expected a file, {what}")
    return path


#: How files of gzip begin.
_GZIP = b"\x1f\x8b"


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
    if content.startswith(_GZIP):
        raise InputError(f"{path}: compressed by gzip, expected {what}; unpack it")
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


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a name to write to, of the same ending; what is there in the end becomes `path`, if all went well.

    Raises
    ------
    OSError
        If it cannot be written; nothing is left then.
    """
    if is_stream(path):
        with tempfile.TemporaryDirectory() as folder:
            draft = Path(folder) / f"draft{path.suffix}"
            yield draft
            with draft.open("rb") as content, _opened(path) as stream:
                shutil.copyfileobj(content, stream)
        return
    draft = path.with_name(draft_name(path.suffix))
    try:
        yield draft
        flush(draft)
        if path.is_file() and not path.is_symlink():
            with contextlib.suppress(OSError):
                shutil.copymode(path, draft)
        _rename(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _rename(draft: Path, path: Path) -> None:
    """Rename a draft; a network's file system may do it, lose its answer, and find nothing the second time."""
    size = draft.stat().st_size
    try:
        draft.replace(path)
    except FileNotFoundError:
        if not path.is_file() or path.stat().st_size != size:
            raise


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file: readers see the old or the new one, never half; a text in UTF-8.

    Raises
    ------
    OSError
        As `replacing`.
    """
    with replacing(path) as draft:
        draft.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def whole_file(path: Path, *, remedy: str = "choose another place") -> Iterator[Path]:
    """Give a name to write to as `replacing` does, for what people asked for and others than us write.

    Raises
    ------
    InputError
        If the file cannot be written; ends with `remedy`.
    """
    try:
        with replacing(path) as draft:
            yield draft
    except FileNotFoundError:
        raise InputError(f"{path}: its folder does not exist; make it, or {remedy}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({_reason(error)}); {remedy}") from None


def write_file(path: Path, content: str | bytes, *, remedy: str = "choose another place") -> None:
    """Write a file that people asked for, with its folder, as `write_atomically` does.

    Raises
    ------
    InputError
        If the file cannot be written; ends with `remedy`.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
    except FileExistsError:
        raise InputError(f"{path}: cannot be written (its folder is a file); {remedy}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({_reason(error)}); {remedy}") from None


@contextmanager
def whole_folder(path: Path, *, remedy: str = "choose another place") -> Iterator[Path]:
    """Give the name of a folder to make, in a scratch folder of its own; in the end it becomes `path`.

    Raises
    ------
    InputError
        If it is there already, or cannot be written; nothing is left then.
    """
    if path.exists():
        raise InputError(f"{path}: exists; give the name of a new folder")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".draft-") as scratch:
            draft = Path(scratch) / path.name
            yield draft
            draft.rename(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({_reason(error)}); {remedy}") from None


_count = itertools.count()


def draft_name(suffix: str = "") -> str:
    """Return a new name for what is being written, by which others can tell whether its writer lives."""
    return f".draft-{this_place()}-{os.getpid()}-{next(_count)}{suffix}"


def flush(file: Path) -> None:
    """Bring a file, or the renaming in a folder, to the disk."""
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_stream(path: Path) -> bool:
    """Return whether a name stands for something to write to and not for a file: a device, a pipe, an open file.

    /dev/stdout and /dev/fd/3 are links that only the system makes; other links stand for themselves.
    """
    try:
        kind = stat.S_IFMT(path.lstat().st_mode)
    except OSError:
        return False
    if kind == stat.S_IFLNK:
        folder = Path(os.path.realpath(path.parent))
        return folder == Path("/dev") or folder.match("/proc/*/fd")
    return kind not in {stat.S_IFREG, stat.S_IFDIR}


def _opened(path: Path) -> BinaryIO:
    """Return a stream to write to; one that is open in this process goes on where it is."""
    target = Path(os.path.realpath(path.parent)) / path.name
    for _ in range(8):  # /dev/stdout -> /proc/self/fd/1
        if Path(os.path.realpath(target.parent)).match(f"/proc/{os.getpid()}/fd") and target.name.isdigit():
            sys.stdout.flush()
            return os.fdopen(os.dup(int(target.name)), "wb")
        if not target.is_symlink():
            break
        target = target.parent / target.readlink()
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_NOCTTY), "wb")


@functools.cache
def this_place() -> str:
    """Return a name of where process numbers mean what they say: host, boot and process namespace."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
    with contextlib.suppress(OSError):
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _reason(error: OSError | ValueError) -> str:
    return str(getattr(error, "strerror", None) or error)


def data_folder(kind: Literal["potentials", "inputs"]) -> Path:
    """Return the folder of shipped `potentials` or `inputs`, in a checkout or in an installed package."""
    package = Path(__file__).resolve().parent
    installed = package / "_data" / kind
    return installed if installed.is_dir() else package.parent / kind
