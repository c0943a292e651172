"""From a knocked-on atom to the spectrum that a cryogenic detector really records."""

__version__ = "0.1.0"
