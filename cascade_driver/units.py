"""The only unit conversions of the project.

Inside: eV, angstrom, ps, K, amu (those of LAMMPS' `metal`). Constants come from CODATA through scipy.
"""

from scipy import constants

BOLTZMANN_eV_PER_K: float = constants.k / constants.e

#: One amu (angstrom/ps)^2 in eV, CODATA. The engine carries its own rounded value: a kinetic energy that
#: must balance against the engine's totals uses the engine's (`Engine.kinetic_eV_per_amu_A2_ps2`).
eV_PER_AMU_A2_PS2: float = constants.atomic_mass * 1e4 / constants.e

#: Rest energy of one amu.
AMU_MeV: float = constants.physical_constants["atomic mass constant energy equivalent in MeV"][0]

SPEED_OF_LIGHT_KM_S: float = constants.c / 1e3

SECONDS_PER_DAY: float = constants.day

FS_PER_PS: float = 1e3

EV_PER_KEV: float = 1e3

GPA_PER_eV_A3: float = constants.e * 1e30 / 1e9

HBAR_eV_s: float = constants.hbar / constants.e

eV_J: float = constants.e

NM_M: float = constants.nano

PS_PER_S: float = 1e12
