"""What a target is made of: the isotopes of a chemical formula with their masses and abundances."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import periodictable
from ase.data import atomic_numbers
from ase.formula import Formula
from scipy import constants

from cascade_driver.errors import InputError
from cascade_driver.text import closest
from cascade_driver.units import AMU_MeV

#: Isotopic shares of a single terrestrial source, where the interval of nature is wide: Qi et al. 1997 (LSVEC,
#: doi:10.1016/S0168-1176(97)00125-0), recommended by Meija et al. 2016, doi:10.1515/pac-2015-0503.
_BEST_MEASUREMENTS: Mapping[str, Mapping[int, float]] = MappingProxyType(
    {"Li": MappingProxyType({6: 0.07589, 7: 0.92411})}
)


#: Densities in g/cm^3 of the crystals that detectors are made of (CRC Handbook of Chemistry and Physics); C is
#: diamond.
DENSITIES_g_cm3: dict[str, float] = {
    "CaWO4": 6.06,
    "Si": 2.33,
    "Ge": 5.32,
    "Al2O3": 3.97,
    "Al": 2.70,
    "W": 19.3,
    "C": 3.51,
    "SiC": 3.21,
    "LiF": 2.64,
    "CaF2": 3.18,
    "NaI": 3.67,
    "CsI": 4.51,
    "MgO": 3.60,
    "SiO2": 2.65,
    "GaAs": 5.32,
    "TeO2": 5.99,
    "ZnSe": 5.65,
    "PbMoO4": 6.70,
}


@dataclass(frozen=True, kw_only=True)
class Isotope:
    """One nuclide in a target.

    Attributes
    ----------
    symbol : str
        Chemical symbol.
    atomic_number, mass_number : int
        Z and A.
    mass_u : float
        Mass of the neutral atom in u (AME2020, doi:10.1088/1674-1137/abddaf). In a recoil of eV to keV the
        atom moves as a whole; the electrons are 0.03 % of it.
    mass_fraction : float
        Mass of this isotope per mass of target.
    """

    symbol: str
    atomic_number: int
    mass_number: int
    mass_u: float
    mass_fraction: float

    @property
    def neutron_number(self) -> int:
        """N = A - Z."""
        return self.mass_number - self.atomic_number

    @property
    def mass_MeV(self) -> float:
        """Rest energy of the atom."""
        return self.mass_u * AMU_MeV

    @property
    def atoms_per_kg(self) -> float:
        """Atoms of this isotope per kg of the whole target."""
        return self.mass_fraction / (self.mass_u * constants.atomic_mass)


@dataclass(frozen=True, kw_only=True)
class Target:
    """A material as a detector sees it.

    Attributes
    ----------
    formula : str
        Chemical formula, as given, without enrichment.
    enrichment : str
        What deviates from nature, such as `W183=0.9`; empty for a natural target.
    isotopes : tuple of Isotope
        All natural isotopes, element by element in the order of the formula; mass fractions sum to 1.
    """

    formula: str
    isotopes: tuple[Isotope, ...]
    enrichment: str = ""

    @property
    def name(self) -> str:
        """What `parse_target` makes this target of."""
        return f"{self.formula}[{self.enrichment}]" if self.enrichment else self.formula

    @property
    def elements(self) -> tuple[str, ...]:
        """Chemical symbols in the order of the formula."""
        return tuple(dict.fromkeys(isotope.symbol for isotope in self.isotopes))

    def isotopes_of(self, symbol: str) -> tuple[Isotope, ...]:
        """Return the isotopes of one element."""
        return tuple(isotope for isotope in self.isotopes if isotope.symbol == symbol)


def abundances(symbol: str) -> dict[int, float]:
    """Return the share of the atoms of an element that each natural isotope has, by mass number.

    CIAAW 2021 (https://www.ciaaw.org) as kept by the package `periodictable`, which has the middle of the interval
    where nature varies; for lithium that is far from what is sold as natural, and the best measurement stands.

    Examples
    --------
    >>> abundances("Li")
    {6: 0.07589, 7: 0.92411}
    """
    if symbol in _BEST_MEASUREMENTS:
        return dict(_BEST_MEASUREMENTS[symbol])
    natural = {int(i.isotope): float(i.abundance) for i in getattr(periodictable, symbol) if i.abundance > 0}
    whole = sum(natural.values())
    return {number: share / whole for number, share in natural.items()}


def parse_target(formula: str) -> Target:
    """Return the isotopes of a chemical formula, in their natural abundances or enriched.

    Abundances are those of the IUPAC commission (`abundances`), masses those of AME2020
    (doi:10.1088/1674-1137/abddaf) as kept by the package `periodictable`.

    Parameters
    ----------
    formula : str
        For example CaWO4, Al2O3, (CaO)2SiO2. Isotopes that were enriched or depleted stand behind it with their
        share of the atoms of their element: CaWO4[W183=0.9,O18=0.5]; the others keep their natural proportions in
        the rest.

    Raises
    ------
    InputError
        If the formula cannot be read, names something that is not an element, or an element without natural
        isotopes; if it is that of a crystal of detectors cut short (CaWO; Ca1W1O1 means it); or if the enrichment
        names an isotope that the formula lacks or shares that are none.

    Examples
    --------
    >>> [
    ...     round(sum(isotope.mass_fraction for isotope in parse_target(formula).isotopes_of("W")), 4)
    ...     for formula in ("CaWO4", "CaWO4[W183=0.9]")
    ... ]
    [0.6385, 0.6375]
    """
    formula, bracket, rest = formula.strip().partition("[")
    if bracket and not rest.endswith("]"):
        raise InputError(f"target {formula + bracket + rest!r}: the enrichment lacks its ]; write CaWO4[W183=0.9]")
    enriched = _enrichment(formula, rest.removesuffix("]"))
    try:
        counts = Formula(formula.strip()).count()
    except (ValueError, AttributeError) as error:
        raise InputError(
            f"target {formula!r} is not a chemical formula; expected symbols and whole numbers such as CaWO4 "
            f"or Al2O3.{_suggest_crystal(formula)}"
        ) from error
    if not counts or sum(counts.values()) == 0:
        raise InputError(f"target {formula!r} names no element; expected a chemical formula such as CaWO4.")
    _require_whole(formula.strip(), counts)
    atoms: list[tuple[str, int, int, float, float]] = []
    for symbol, count in counts.items():
        if atomic_numbers.get(symbol, 0) == 0:
            said = _suggest_crystal(formula) or _suggest(symbol)
            raise InputError(f"target {formula!r}: {symbol!r} is not a chemical element.{said}")
        element = getattr(periodictable, symbol)
        natural = abundances(symbol)
        if not natural:
            raise InputError(
                f"target {formula!r}: {symbol} has no natural isotopic composition; expected elements that "
                "have one."
            )
        shares = _shares(symbol, natural, enriched.pop(symbol, {}))
        atoms += [
            (symbol, int(element.number), number, float(element[number].mass), count * share)
            for number, share in shares.items()
            if share > 0
        ]
    if enriched:
        raise InputError(
            f"target {formula!r}: enriched in {', '.join(enriched)}, which it does not hold; name isotopes of "
            f"{', '.join(counts)}"
        )
    mass_u = sum(number * mass for *_, mass, number in atoms)
    return Target(
        formula=formula.strip(),
        enrichment=rest.removesuffix("]").strip(),
        isotopes=tuple(
            Isotope(
                symbol=symbol,
                atomic_number=Z,
                mass_number=A,
                mass_u=mass,
                mass_fraction=number * mass / mass_u,
            )
            for symbol, Z, A, mass, number in atoms
        ),
    )


def _enrichment(formula: str, text: str) -> dict[str, dict[int, float]]:
    """Return shares by element and mass number of a text such as W183=0.9,O18=0.5."""
    found: dict[str, dict[int, float]] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        match = re.fullmatch(r"([A-Z][a-z]?)(\d+)\s*=\s*([0-9.eE+-]+)", item)
        try:
            share = float(match[3]) if match else math.nan
        except ValueError:
            share = math.nan
        if match is None or not 0 <= share <= 1:
            raise InputError(
                f"target {formula!r}: enrichment {item!r} is not understood; expected an isotope and its share of "
                "the atoms, from 0 to 1, such as W183=0.9"
            )
        of_element = found.setdefault(match[1], {})
        if int(match[2]) in of_element:
            raise InputError(f"target {formula!r}: the share of {match[1]}{match[2]} is given twice; give it once")
        of_element[int(match[2])] = share
    return found


def _shares(symbol: str, natural: dict[int, float], wanted: dict[int, float]) -> dict[int, float]:
    """Return the share of each isotope of an element."""
    if unknown := [A for A in wanted if A not in natural]:
        raise InputError(
            f"{symbol}{unknown[0]} is no natural isotope of {symbol}; there are "
            f"{', '.join(f'{symbol}{A}' for A in natural)}"
        )
    rest = 1.0 - sum(wanted.values())
    others = sum(share for A, share in natural.items() if A not in wanted)
    if rest < -1e-9 or (rest > 1e-9 and not others):
        raise InputError(
            f"the shares of the isotopes of {symbol} sum to {1 - rest:g}, expected "
            f"{'at most 1' if others else '1, because all of them are given'}"
        )
    scale = max(rest, 0.0) / others if others else 0.0
    return {A: wanted[A] if A in wanted else share * scale for A, share in natural.items()}


def _require_whole(formula: str, counts: Mapping[str, int]) -> None:
    """Refuse a formula that lacks the end of a known one, such as CaWO: its rates would be those of no crystal."""
    for known in DENSITIES_g_cm3:
        if known.startswith(formula) and known != formula and set(Formula(known).count()) == set(counts):
            explicit = "".join(f"{symbol}{count}" for symbol, count in counts.items())
            raise InputError(
                f"target {formula!r} is no known crystal: {known} is; {explicit} if you mean {formula}"
            )


def _suggest_crystal(formula: str) -> str:
    close = closest(formula, DENSITIES_g_cm3, cutoff=0.75)
    return f" Did you mean {close}?" if close else ""


def _suggest(symbol: str) -> str:
    """Return a guess: Wo was meant as W and O, Ww as W, D as heavy hydrogen."""
    if symbol in ("D", "T"):
        return " Isotopes cannot be named in a formula; write H."
    if len(symbol) == 2 and all(atomic_numbers.get(letter, 0) for letter in symbol.upper()):
        return f" Did you mean {symbol.upper()}?"
    close = closest(symbol, [known for known in atomic_numbers if known != "X"], cutoff=0.5)
    return f" Did you mean {close}?" if close else " Symbols begin with a capital letter: Ca, W, O."
