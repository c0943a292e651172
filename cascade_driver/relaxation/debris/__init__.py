"""What the debris of cascades relaxes into.

In reading order: `tunnelling` (one system between two minima), `search` (neighbouring minima), `path` (between
two), `release` (energy given off later), `systems` (of all cascades of a run, on disk).
"""
