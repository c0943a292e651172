"""What a target is made of: the isotopes of a chemical formula with their masses and abundances."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

import periodictable
from ase.data import atomic_numbers
from ase.formula import Formula
from scipy import constants

from cascade_driver.errors import InputError
from cascade_driver.units import AMU_MeV


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
        Chemical formula, as given.
    isotopes : tuple of Isotope
        All natural isotopes, element by element in the order of the formula; mass fractions sum to 1.
    """

    formula: str
    isotopes: tuple[Isotope, ...]

    @property
    def elements(self) -> tuple[str, ...]:
        """Chemical symbols in the order of the formula."""
        return tuple(dict.fromkeys(isotope.symbol for isotope in self.isotopes))

    @property
    def mass_fractions(self) -> dict[str, float]:
        """Mass of each element per mass of target."""
        return {
            symbol: sum(isotope.mass_fraction for isotope in self.isotopes_of(symbol)) for symbol in self.elements
        }

    def isotopes_of(self, symbol: str) -> tuple[Isotope, ...]:
        """Return the isotopes of one element."""
        return tuple(isotope for isotope in self.isotopes if isotope.symbol == symbol)


def parse_target(formula: str) -> Target:
    """Return the isotopes of a chemical formula, in their natural abundances.

    Abundances are those of the IUPAC commission (CIAAW 2021, https://www.ciaaw.org), masses those of AME2020
    (doi:10.1088/1674-1137/abddaf), both as kept by the package `periodictable`.

    Parameters
    ----------
    formula : str
        For example CaWO4, Al2O3, (CaO)2SiO2.

    Raises
    ------
    InputError
        If the formula cannot be read, names something that is not an element, or an element without natural
        isotopes.

    Examples
    --------
    >>> target = parse_target("CaWO4")
    >>> {symbol: round(share, 4) for symbol, share in target.mass_fractions.items()}
    {'Ca': 0.1392, 'W': 0.6385, 'O': 0.2223}
    """
    try:
        counts = Formula(formula.strip()).count()
    except (ValueError, AttributeError) as error:
        raise InputError(
            f"target {formula!r} is not a chemical formula; expected symbols and whole numbers such as CaWO4 "
            "or Al2O3."
        ) from error
    if not counts or sum(counts.values()) == 0:
        raise InputError(f"target {formula!r} names no element; expected a chemical formula such as CaWO4.")
    atoms: list[tuple[str, int, int, float, float]] = []
    for symbol, count in counts.items():
        if atomic_numbers.get(symbol, 0) == 0:
            raise InputError(f"target {formula!r}: {symbol!r} is not a chemical element.{_suggest(symbol)}")
        element = getattr(periodictable, symbol)
        natural = [isotope for isotope in element if isotope.abundance > 0]
        if not natural:
            raise InputError(
                f"target {formula!r}: {symbol} has no natural isotopic composition; expected elements that "
                "have one."
            )
        whole = sum(isotope.abundance for isotope in natural)
        atoms += [
            (
                symbol,
                int(element.number),
                int(isotope.isotope),
                float(isotope.mass),
                count * isotope.abundance / whole,
            )
            for isotope in natural
        ]
    mass_u = sum(number * mass for *_, mass, number in atoms)
    return Target(
        formula=formula.strip(),
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


def _suggest(symbol: str) -> str:
    """Return a guess: Wo was meant as W and O, Ww as W, D as heavy hydrogen."""
    if symbol in ("D", "T"):
        return " Isotopes cannot be named in a formula; write H."
    if len(symbol) == 2 and all(atomic_numbers.get(letter, 0) for letter in symbol.upper()):
        return f" Did you mean {symbol.upper()}?"
    close = difflib.get_close_matches(symbol, [known for known in atomic_numbers if known != "X"], n=1, cutoff=0.5)
    return f" Did you mean {close[0]}?" if close else " Symbols begin with a capital letter: Ca, W, O."
