"""From a knocked-on atom to the spectrum that a cryogenic detector really records."""

from __future__ import annotations

#: Of the installed distribution; see `version`.
__version__: str


def __getattr__(name: str) -> str:
    """Look the version up when it is asked for: it costs a look at the disk."""
    if name == "__version__":
        from cascade_driver.version import version

        return version()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
