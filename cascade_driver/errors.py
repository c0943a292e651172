"""The one tree of errors: each message says what was found, what was expected and what to do.

Everything that a user can cause descends from `CascadeError` and ends a command with one line and exit
code 2. Anything else that escapes is a bug of ours and shows its traceback.
"""


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
