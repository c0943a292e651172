"""The one tree of errors: each message says what was found, what was expected and what to do.

Everything that a user can cause ends a command with one line and exit code 2: what descends from
`CascadeError`, and what `told` can name. Anything else that escapes is a bug of ours and shows its traceback.
"""

from __future__ import annotations

import errno
import os


class CascadeError(Exception):
    """Something outside the program is not as it must be."""


class InputError(CascadeError):
    """An input file, an argument or a data file that cannot be used as it is."""


class PotentialError(CascadeError):
    """A potential folder that is incomplete, altered or unfit."""


class EngineError(CascadeError):
    """The molecular-dynamics engine cannot be used, or stopped with an error of its own."""


class RecordError(CascadeError):
    """A record or a run directory that is damaged or of another schema."""


class SchemaError(RecordError):
    """A record that another version of the program wrote: sound, but not to be read or repaired by this one."""


class FitError(CascadeError):
    """Data from which the wanted quantity cannot be determined."""


#: What to do about an error of the operating system.
_REMEDIES = {
    errno.EMFILE: "raise the limit of open files (`ulimit -n`), or use fewer workers",
    errno.ENFILE: "this machine has too many files open; close some, or wait",
    errno.ENOMEM: "ask for less, or raise the limit of memory (`ulimit -v`)",
    errno.EAGAIN: "raise the limit of processes (`ulimit -u`), or use fewer workers",
    errno.ENAMETOOLONG: "give a shorter name",
    errno.ENOSPC: "make room",
    errno.EDQUOT: "make room",
    errno.ENOENT: "check the name",
    errno.ENOTDIR: "check the name: part of it is a file",
    errno.EISDIR: "give the name of a file",
    errno.ELOOP: "its links lead in a circle",
}

#: Words of a dynamic linker that gets no memory or no file for a compiled library.
_LINKER = ("cannot allocate memory", "failed to map", "too many open files", "cannot open shared object")


def told(error: BaseException) -> str | None:  # noqa: PLR0911  (one line per kind)
    """Return the line that tells of trouble which the world makes; none for a bug of ours."""
    match error:
        case CascadeError():
            return str(error)
        case MemoryError():
            return f"not enough memory ({str(error) or 'none left'}); {_REMEDIES[errno.ENOMEM]}"
        case RecursionError():
            return f"something given is nested too deeply ({error}); make it flatter"
        case UnicodeEncodeError():
            return f"{error.object[:200]!r} cannot be written as {error.encoding}: {error.reason}; change the name"
        case UnicodeDecodeError():
            return f"text that is not {error.encoding} ({error.reason} at byte {error.start}); save it as UTF-8"
        case OSError():
            if error.filename is None and error.errno == errno.ENOENT and _is_nowhere():
                return "the current directory has been deleted; go to one that is there"
            remedy = _REMEDIES.get(error.errno or 0, "check its place and permissions")
            what = f"{error.filename}: " if error.filename is not None else ""
            return f"{what}{error.strerror or error}; {remedy}"
        case ImportError() if any(word in str(error).lower() for word in _LINKER):
            return f"a library cannot be loaded ({error}); {_REMEDIES[errno.ENOMEM]}"
        case RuntimeError() if "Symlink loop" in str(error):  # of Path.resolve
            return f"{error}; {_REMEDIES[errno.ELOOP]}"
        case RuntimeError() if "can't start new thread" in str(error):
            return f"no further thread can be started; {_REMEDIES[errno.EAGAIN]}"
    return None


def _is_nowhere() -> bool:
    """Return whether the current directory is gone."""
    try:
        os.getcwd()  # noqa: PTH109  (pathlib asks the same)
    except FileNotFoundError:
        return True
    return False
