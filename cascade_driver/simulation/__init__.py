"""One cascade: crystal, potential, thermalise, kick, follow, quench, record.

In reading order: `outcome` (how it ends; the table that the analysis reads), `provenance`; `frame`,
`named_crystals` and `crystal_file`, `film_box` (aluminium on silicon) -> `crystal` (the box); `include` ->
`potential` (a folder that LAMMPS can evaluate); `knock_on` (which atom, which directions), `stopping` (what
electrons take), `spec` (everything that defines a cascade, and its id), `record` (what it leaves behind),
`protocols` (by name), `kick_sequence` (later kicks), `trajectory`; `engine` (what is asked of one),
`lammps_build` (which LAMMPS) and `lammps_engine`; `descent` (the quench), `zero_point` (the quantum
distribution), `start` (relaxed box, thermal snapshots), `defects` (the census), `displacement` (does one kick
displace?), `cascade` (the method on one page), `apart` (in a process of its own).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
