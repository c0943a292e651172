r"""Crystals by name: cells with their source, Debye temperatures, and the temperatures that follow from them.

Atoms of a cold crystal have the zero-point motion, classical ones at some temperature. In the Debye model of
temperature :math:`\Theta`, with a density of modes :math:`\propto \omega^2` up to :math:`k \Theta / \hbar`,

.. math::

   k T = \langle \hbar \omega \rangle / 2 = \tfrac{3}{8} k \Theta \quad\text{(energy)}, \qquad
   k T \langle \omega^{-2} \rangle = \tfrac{\hbar}{2} \langle \omega^{-1} \rangle
   \Rightarrow T = \tfrac{1}{4} \Theta \quad\text{(width)}.
"""

# ASE annotates only part of what it offers:
# mypy: disallow-untyped-calls=False

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

from ase import Atoms
from pydantic import Field, model_validator

from cascade_driver.schema import build, parameters, read_toml

#: Rules for the classical temperature of a cold crystal, as a share of its Debye temperature.
TemperatureRule = Literal["zero-point-energy", "zero-point-width"]
SHARES: dict[TemperatureRule, float] = {"zero-point-energy": 3 / 8, "zero-point-width": 1 / 4}


@parameters
class NamedCrystal:
    """A bulk crystal that has a name.

    Attributes
    ----------
    title : str
        For people.
    prototype : str, optional
        Structure type by ASE's word, for two atoms or one of the formula; or
    space_group, setting : int, optional
        Number and setting, with
    sites : list of element, x, y, z
        in fractions of the cell.
    cell : six float
        Edges in angstrom and angles in degrees of the conventional cell.
    at_K : float
        Temperature at which the cell was measured.
    source : str
        Of the structure.
    debye_temperature_K : float, optional
        Of the lowest temperatures.
    debye_source : str
        Where that is from.
    """

    title: str
    prototype: Literal["diamond", "fcc", "bcc", "zincblende", "rocksalt"] | None = None
    space_group: int | None = Field(default=None, ge=1, le=230)
    setting: int = Field(default=1, ge=1, le=2)
    sites: tuple[tuple[str, float, float, float], ...] = ()
    cell: tuple[float, float, float, float, float, float]
    at_K: float = Field(gt=0)
    source: str
    debye_temperature_K: float | None = Field(default=None, gt=0)
    debye_source: str = ""

    @model_validator(mode="after")
    def _is_one(self) -> NamedCrystal:
        if (self.prototype is None) == (self.space_group is None):
            raise ValueError("give either `prototype` or `space_group`")
        return self

    def conventional_cell(self, formula: str) -> Atoms:
        """Return the atoms of the conventional cell."""
        from ase.build import bulk
        from ase.spacegroup import crystal

        if self.prototype is not None:
            return bulk(formula, self.prototype, a=self.cell[0], cubic=True)
        return crystal(
            [site[0] for site in self.sites],
            [site[1:] for site in self.sites],
            spacegroup=self.space_group,
            setting=self.setting,
            cellpar=self.cell,
        )


@cache
def named_crystals() -> dict[str, NamedCrystal]:
    """Return all bulk crystals that have a name, by their formula."""
    path = Path(__file__).with_suffix(".toml")
    return {name: build(NamedCrystal, content, origin=str(path)) for name, content in read_toml(path).items()}


def ruled_temperature_K(rule: TemperatureRule, debye_temperature_K: float) -> float:
    """Return the classical temperature that a rule gives to a crystal, in whole K.

    Parameters
    ----------
    rule : str
        `zero-point-energy`: that at which classical vibrations have the energy of the quantum zero-point motion;
        `zero-point-width`: at which they have its mean square displacement.
    debye_temperature_K : float
        Of the crystal; it is known to some percent.

    Examples
    --------
    >>> ruled_temperature_K("zero-point-energy", 354)
    133.0
    """
    return float(round(SHARES[rule] * debye_temperature_K))
