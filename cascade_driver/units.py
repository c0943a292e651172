"""The only unit conversions of the project.

Inside: eV, angstrom, ps, K, amu (those of LAMMPS' `metal`). Constants come from CODATA through scipy.
"""

import re

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

FS_PER_S: float = 1e15

EV_PER_KEV: float = 1e3

eV_PER_MeV: float = 1e6

eV_PER_GeV: float = 1e9

J_PER_MeV: float = 1e6 * constants.e

WATT_PER_GW: float = 1e9

CM_PER_FM: float = 1e-13

CM_PER_M: float = 1e2

CM_PER_KM: float = 1e5

G_PER_KG: float = 1e3

CM2_PER_BARN: float = 1e-24

NM_PER_A: float = 0.1

UM2_PER_MM2: float = 1e6

MPA_PER_GPA: float = 1e3

GPA_PER_eV_A3: float = constants.e * 1e30 / 1e9

A3_PER_M3: float = 1e30

eV_NM3_PER_GPA: float = 1e3 / GPA_PER_eV_A3

HBAR_eV_s: float = constants.hbar / constants.e

eV_J: float = constants.e

NM_M: float = constants.nano

PS_PER_S: float = 1e12

#: Density of one amu per cubic angstrom in g/cm^3.
G_PER_CM3_OF_AMU_PER_A3: float = constants.atomic_mass * 1e3 / (constants.angstrom * 1e2) ** 3

HARTREE_eV: float = constants.physical_constants["Hartree energy in eV"][0]

BOHR_A: float = constants.physical_constants["Bohr radius"][0] * 1e10

#: Powers of energy and of length: what an energy, a force, a stress are made of.
Dimension = tuple[int, int]

ENERGY: Dimension = (1, 0)
FORCE: Dimension = (1, -1)
STRESS: Dimension = (1, -3)
LENGTH: Dimension = (0, 1)

_PASCAL = 1e-30 / constants.e

#: Units in eV and A by the names that programs write, in small letters.
_UNITS: dict[str, tuple[float, Dimension]] = {
    **dict.fromkeys(("ev", "electronvolt", "electronvolts"), (1.0, ENERGY)),
    **dict.fromkeys(("hartree", "hartrees", "ha", "eh", "au"), (HARTREE_eV, ENERGY)),
    **dict.fromkeys(("ry", "rydberg", "rydbergs"), (HARTREE_eV / 2, ENERGY)),
    "kcal": (1e3 * constants.calorie / constants.e, ENERGY),
    "kj": (1e3 / constants.e, ENERGY),
    **dict.fromkeys(("mol", "mole"), (constants.N_A, (0, 0))),
    **dict.fromkeys(("a", "ang", "angstrom", "angstroms", "å"), (1.0, LENGTH)),
    **dict.fromkeys(("bohr", "bohrs", "a0"), (BOHR_A, LENGTH)),
    "nm": (10.0, LENGTH),
    "pa": (_PASCAL, STRESS),
    "kpa": (1e3 * _PASCAL, STRESS),
    "gpa": (1e9 * _PASCAL, STRESS),
    "bar": (1e5 * _PASCAL, STRESS),
    **dict.fromkeys(("kbar", "kb", "kilobar"), (1e8 * _PASCAL, STRESS)),
}

_UNIT = re.compile(r"([*/ ]?)(a0|[a-zå]+)(?:\^?(-?\d))?")


def unit_in_eV_A(text: str, dimension: Dimension) -> float:
    """Return how many eV^n A^m one of a unit is, written as programs write it: `eV/Ang^3`, `hartree/bohr`, `kB`.

    A bare `au` is the atomic unit of the dimension.

    Raises
    ------
    ValueError
        If the unit is not known, or is one of something else.

    Examples
    --------
    >>> unit_in_eV_A("GPa", STRESS) * GPA_PER_eV_A3
    1.0
    >>> round(unit_in_eV_A("a.u.", FORCE), 4), round(unit_in_eV_A("kcal/mol/angstrom", FORCE), 7)
    (51.4221, 0.0433641)
    """
    plain = text.strip().lower()
    for written, meant in (
        ("a.u.", "au"),
        ("**", "^"),
        ("per", "/"),
        ("kcal_mol", "kcal/mol"),
        ("kj_mol", "kj/mol"),
    ):
        plain = plain.replace(written, meant)
    plain = re.sub(r"\s*([*/^])\s*", r"\1", plain.strip("[]() \t"))
    if plain == "au":
        return HARTREE_eV ** dimension[0] * BOHR_A ** dimension[1]
    factor, found, end = 1.0, [0, 0], 0
    for part in _UNIT.finditer(plain):
        sign, name, power = part.groups()
        if part.start() != end or name not in _UNITS:
            break
        end = part.end()
        n = int(power or 1) * (-1 if sign == "/" else 1)
        size, powers = _UNITS[name]
        factor *= size**n
        found = [found[0] + n * powers[0], found[1] + n * powers[1]]
    if end != len(plain) or not plain:
        raise ValueError(f"unit {text!r} is not known")
    if tuple(found) != dimension:
        raise ValueError(f"unit {text!r} is one of something else")
    return factor
