"""What an analysed campaign hands on: defect probability and stored-energy distribution of every species."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from cascade_driver.analysis.defect_probability import (
    DefectProbabilityFit,
    FermiProbability,
    fit_defect_probability,
)
from cascade_driver.analysis.distribution import (
    DistributionFit,
    Shape,
    StoredEnergyDistribution,
    fit_stored_energy_distribution,
)
from cascade_driver.analysis.empirical_law import EmpiricalDistribution, empirical_distribution
from cascade_driver.analysis.estimation import REFUSED
from cascade_driver.analysis.outcomes import UsableCascades, usable_cascades
from cascade_driver.analysis.response import Response, binned_response, rising_edges
from cascade_driver.analysis.tabulated import (
    TabulatedDistribution,
    TabulatedProbability,
    tabulated_distribution,
)
from cascade_driver.errors import CascadeError, FitError, InputError, RecordError
from cascade_driver.files import text_of, write_file
from cascade_driver.kinds import Status, weakest
from cascade_driver.simulation.outcome import CascadeTable

#: Version of the layout of a model file; a reader refuses what it does not know.
MODEL_SCHEMA = 1

#: Below the simulated range the Fermi function is used as it stands only if it has fallen to this at the
#: lowest simulated energy: then no more than this share of the lower recoils can be displaced, and by less
#: than their energy.
SAFE_PROBABILITY_BELOW = 0.1

#: What stands for the stored energies: a shape that is fitted whatever the data say, the cascades themselves, or
#: the Gaussian until the data refuse it and then the cascades; or a table of both, defect probability and stored
#: energies, to which nothing is fitted.
Choice = Literal["auto", "gaussian", "split_gaussian", "empirical", "table"]


@dataclass(frozen=True, kw_only=True)
class SpeciesModel:
    """What one knocked-on species leaves in the crystal.

    Attributes
    ----------
    defect_probability : FermiProbability or TabulatedProbability
    distribution : StoredEnergyDistribution, EmpiricalDistribution or TabulatedDistribution
    minimum_recoil_energy_eV, maximum_recoil_energy_eV : float
        Range that was simulated.
    defect_probability_fit, distribution_fit : optional
        Where the numbers come from; none if they were put in by hand.
    """

    defect_probability: FermiProbability | TabulatedProbability
    distribution: StoredEnergyDistribution | EmpiricalDistribution | TabulatedDistribution
    minimum_recoil_energy_eV: float
    maximum_recoil_energy_eV: float
    defect_probability_fit: DefectProbabilityFit | None = None
    distribution_fit: DistributionFit | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.minimum_recoil_energy_eV <= self.maximum_recoil_energy_eV < np.inf:
            raise InputError(
                f"simulated range from {self.minimum_recoil_energy_eV:g} to "
                f"{self.maximum_recoil_energy_eV:g} eV: must "
                "rise from zero or more"
            )

    @property
    def formulas(self) -> tuple[str, ...]:
        """The laws that have one, with the letters of `estimation.symbol_of`."""
        laws = (self.defect_probability, self.distribution)
        return tuple(one.formula for one in laws if isinstance(one, FermiProbability | StoredEnergyDistribution))

    def leaves(self, *, minimum_eV: float, maximum_eV: float) -> tuple[bool, bool]:
        """Return whether a range goes below what was simulated, where that matters, and whether it goes above."""
        low, high = self.minimum_recoil_energy_eV, self.maximum_recoil_energy_eV
        is_below = minimum_eV < low and float(self.defect_probability(low)) > SAFE_PROBABILITY_BELOW
        return is_below, maximum_eV > high * (1 + 1e-12)


@dataclass(frozen=True, kw_only=True, repr=False)
class StoredEnergyModel:
    r"""The energy that recoils leave in the crystal, for every species that was simulated.

    .. math:: P(E_s \mid E_R) = (1 - p_d(E_R))\, \delta(E_s) + p_d(E_R)\, f(E_s \mid E_R)

    Attributes
    ----------
    species : dict
        `SpeciesModel` by chemical symbol.
    status : {'qualitative', 'quantitative'}
        As the potential of the campaign declares itself.
    provenance : dict
        Where the campaign comes from: names to text.
    notes : tuple of str
        What a reader of any result of this model must know.
    crystal : tuple of str
        Chemical formula of the crystal, or of each of those in the box; empty if nobody knows.
    fallback_species : str, optional
        Whose response stands for elements of the crystal that were not simulated, as the campaign's input says.
    extrapolate : bool
        Whether that allows the use outside of the simulated energies.
    other_crystal : bool
        Whether that allows the use for another crystal.
    uncertainty : mapping
        What is uncertain of it, as `spectra.ensemble_content` reads and writes it.
    """

    species: Mapping[str, SpeciesModel]
    status: Status = "qualitative"
    provenance: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    crystal: tuple[str, ...] = ()
    fallback_species: str | None = None
    extrapolate: bool = False
    other_crystal: bool = False
    uncertainty: Mapping[str, JsonValue] = field(default_factory=dict, repr=False)

    def __repr__(self) -> str:
        """Return one line: its name, its status, which recoils it knows."""
        known = ", ".join(
            f"{name} {one.minimum_recoil_energy_eV:g} to {one.maximum_recoil_energy_eV:g} eV"
            for name, one in self.species.items()
        )
        return f"<StoredEnergyModel: {self.name} ({self.status}), {known}>"

    def _repr_html_(self) -> str:
        """Return the same for a notebook, with the notes."""
        notes = "".join(f"<li>{html.escape(note)}</li>" for note in self.notes)
        return f"<p>{html.escape(repr(self)[1:-1])}</p><ul>{notes}</ul>"

    @property
    def name(self) -> str:
        """What to call it: the published model's name, or the title of its campaign with the region fitted."""
        named = self.provenance.get("model") or self.provenance.get("campaign") or "a model without a name"
        region = self.provenance.get("region")
        return f"{named} ({region})" if region else named

    @property
    def response_fallback(self) -> str | None:
        """Whose response stands for elements that were not simulated: at least the only one there is."""
        if self.fallback_species is None and len(self.species) == 1:
            return next(iter(self.species))
        return self.fallback_species

    def __getitem__(self, species: str) -> SpeciesModel:
        """Return what is known of one species.

        Raises
        ------
        InputError
            If the model does not hold it.
        """
        if species not in self.species:
            raise InputError(
                f"the model knows nothing of {species!r}, only of "
                f"{', '.join(sorted(self.species)) or 'nothing'}: "
                "simulate this species first"
            )
        return self.species[species]

    def check_range(
        self, species: str, *, minimum_eV: float, maximum_eV: float, extrapolate: bool = False
    ) -> SpeciesModel:
        """Return the model of a species if it may be used from `minimum_eV` to `maximum_eV`.

        Above the highest simulated energy nothing bounds the stored energy. Below the lowest the defect
        probability only falls, and what is stored is at most the recoil energy: there the model may be used
        if its probability has fallen to 0.1 at the lowest simulated energy.

        Raises
        ------
        InputError
            If the species is unknown or the range is left and `extrapolate` is false.
        """
        model = self[species]
        if extrapolate:
            return model
        is_below, is_above = model.leaves(minimum_eV=minimum_eV, maximum_eV=maximum_eV)
        if is_above:
            raise InputError(
                f"{species}: recoil energies up to {maximum_eV:g} eV wanted, simulated up to "
                f"{model.maximum_recoil_energy_eV:g} eV: end the spectrum there, simulate higher, or ask for it "
                "(--extrapolate; extrapolate = true)"
            )
        if is_below:
            lowest = model.minimum_recoil_energy_eV
            raise InputError(
                f"{species}: recoil energies from {minimum_eV:g} eV wanted, simulated from {lowest:g} eV "
                f"where the defect probability is still {float(model.defect_probability(lowest)):.2f}: "
                "simulate lower, or ask for it (--extrapolate; extrapolate = true)"
            )
        return model

    def extrapolation_notes(
        self, species: Iterable[str], *, minimum_eV: float, maximum_eV: float
    ) -> tuple[str, ...]:
        """Return which of these species are used beyond what was simulated, and how far."""
        notes = []
        for name in species:
            one = self[name]
            is_below, is_above = one.leaves(minimum_eV=minimum_eV, maximum_eV=maximum_eV)
            if is_above:
                notes.append(
                    f"{name}: extrapolated from {one.maximum_recoil_energy_eV:g} eV, the highest simulated "
                    f"energy, to {maximum_eV:.4g} eV"
                )
            if is_below:
                low = one.minimum_recoil_energy_eV
                notes.append(
                    f"{name}: extrapolated from {low:g} eV, the lowest simulated energy, where the defect "
                    f"probability is still {float(one.defect_probability(low)):.2f}, down to {minimum_eV:.4g} eV"
                )
        return tuple(notes)

    def response(
        self,
        species: str,
        recoil_edges_eV: ArrayLike,
        *,
        observed_edges_eV: ArrayLike | None = None,
        extrapolate: bool = False,
    ) -> Response:
        """Return the response of one species in bins: P(E_obs given E_R), whose columns sum to 1.

        Parameters
        ----------
        species : str
        recoil_edges_eV : (n + 1,) float
        observed_edges_eV : (m + 1,) float, optional
            By default the recoil edges, extended down to zero (`observed_edges`).
        extrapolate : bool
            Use the model outside the simulated range, even if it does not say so itself; see `check_range`.

        Raises
        ------
        InputError
            If the species is unknown, edges are unfit, or the simulated range is left.

        Examples
        --------
        >>> from cascade_driver.analysis.published import cawo4_published
        >>> loss = cawo4_published().response("W", [40, 80, 120])
        >>> loss.matrix.sum(axis=0)
        array([1., 1.])
        """
        edges = rising_edges(recoil_edges_eV, name="recoil_edges_eV")
        one = self.check_range(
            species,
            minimum_eV=float(edges[0]),
            maximum_eV=float(edges[-1]),
            extrapolate=extrapolate or self.extrapolate,
        )
        return binned_response(
            species,
            defect_probability=one.defect_probability,
            distribution=one.distribution,
            recoil_edges_eV=edges,
            observed_edges_eV=observed_edges_eV,
        )

    def sample(
        self,
        species: str,
        recoil_energy_eV: ArrayLike,
        *,
        rng: np.random.Generator,
        extrapolate: bool = False,
    ) -> NDArray[np.float64]:
        """Return stored energies (eV) drawn for recoil energies (eV) of any shape; zero where no defect is
        left.

        Raises
        ------
        InputError
            If an energy is not positive and finite, the species unknown, or the simulated range is left.
        """
        energy = np.asarray(recoil_energy_eV, dtype=np.float64)
        if not np.all(np.isfinite(energy) & (energy > 0)):
            raise InputError("recoil energies to sample must be positive and finite")
        if energy.size == 0:
            return np.zeros_like(energy)
        model = self.check_range(
            species, minimum_eV=float(energy.min()), maximum_eV=float(energy.max()), extrapolate=extrapolate
        )
        stores = rng.random(energy.shape) < model.defect_probability(energy)
        stored = model.distribution.quantile(rng.random(energy.shape), energy).reshape(energy.shape)
        return np.where(stores, stored, 0.0)

    def save(self, path: Path | str) -> Path:
        """Write the model as JSON and return the path; a reader never sees half a file.

        Raises
        ------
        InputError
            If the file cannot be written.
        """
        path = Path(path)
        text = ModelFile(
            schema_version=MODEL_SCHEMA,
            species=dict(self.species),
            status=self.status,
            provenance=dict(self.provenance),
            notes=self.notes,
            crystal=self.crystal,
            fallback_species=self.fallback_species,
            extrapolate=self.extrapolate,
            other_crystal=self.other_crystal,
        ).model_dump_json(indent=2, exclude={"uncertainty"})
        if self.uncertainty:
            # thousands of numbers: on one line, the last
            text = f'{text[: text.rindex("}")].rstrip()},\n  "uncertainty": {json.dumps(self.uncertainty)}\n}}'
        write_file(path, text + "\n")
        return path

    @classmethod
    def load(cls, path: Path | str) -> StoredEnergyModel:
        """Return the model in a file.

        Raises
        ------
        InputError
            If the file cannot be read.
        RecordError
            If it is damaged, of another schema, or no such file at all.
        """
        path = Path(path)
        try:
            content = json.loads(text_of(path, what="a stored-energy model"))
        except (ValueError, RecursionError) as error:
            raise RecordError(f"{path} is damaged: it is not JSON; fit the campaign again") from error
        version = content.get("schema_version") if isinstance(content, dict) else None
        if version is None:
            raise RecordError(
                f"{path} is not a stored-energy model: it has no schema_version; fit a campaign to make one"
            )
        if version != MODEL_SCHEMA:
            raise RecordError(
                f"{path} has schema version {version}, this program reads {MODEL_SCHEMA}: fit the campaign "
                "again or use the version that wrote it"
            )
        try:
            file = ModelFile.model_validate_json(json.dumps(content))
        except ValidationError as error:
            first = error.errors()[0]
            # Labels of the laws that a species may have stand in no file.
            where = ".".join(str(part) for part in first["loc"] if not str(part).endswith("Distribution"))
            raise RecordError(f"{path} is damaged at {where}: {first['msg']}; fit the campaign again") from error
        except CascadeError as error:
            raise RecordError(f"{path} is damaged: {error}") from error
        return cls(
            species=file.species,
            status=file.status,
            provenance=file.provenance,
            notes=file.notes,
            crystal=file.crystal,
            fallback_species=file.fallback_species,
            extrapolate=file.extrapolate,
            other_crystal=file.other_crystal,
            uncertainty=file.uncertainty,
        )


class ModelFile(BaseModel):
    """Layout of a model file."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    schema_version: Literal[1]
    species: dict[str, SpeciesModel]
    status: Status
    provenance: dict[str, str]
    notes: tuple[str, ...]
    crystal: tuple[str, ...] = ()
    fallback_species: str | None = None
    extrapolate: bool = False
    other_crystal: bool = False
    uncertainty: dict[str, JsonValue] = {}


def _distribution(
    cascades: UsableCascades, *, shape: Choice, order: int, n_bootstrap: int, rng: np.random.Generator | None
) -> DistributionFit:
    """Return the fit of the chosen shape, or of the cascades themselves where the data refuse it and may."""
    fitted: Shape = shape if shape == "split_gaussian" else "gaussian"
    fit = fit_stored_energy_distribution(cascades, shape=fitted, order=order, n_bootstrap=n_bootstrap, rng=rng)
    p_value = fit.goodness.p_value
    refused = p_value is not None and p_value <= REFUSED
    name = f"a {fitted.replace('_', ' ')} with a location of order {order}"
    said = f"the data refuse {name} as the law of their stored energies (p = {p_value or 1:.2g})"
    if shape == "empirical" or (shape == "auto" and refused):
        why = f"{said}: the cascades themselves stand for it" if refused else "the cascades themselves are the law"
        return replace(
            fit,
            distribution=empirical_distribution(cascades),
            parameters=(),
            values=(),
            errors=(),
            covariance=(),
            health=replace(fit.health, is_valid=True, has_accurate_covariance=True, at_limit=()),
            notes=(*cascades.notes, why),
        )
    if refused:
        said += ', which was asked for: shape = "auto" lets the cascades themselves stand for it'
    return replace(fit, notes=(*fit.notes, said)) if refused else fit


def _tabulated(cascades: UsableCascades) -> SpeciesModel:
    """Return cascades as they are: nothing is fitted."""
    law = tabulated_distribution(cascades)
    return SpeciesModel(
        defect_probability=law.defect_probability,
        distribution=law,
        minimum_recoil_energy_eV=law.knots_eV[0],
        maximum_recoil_energy_eV=law.knots_eV[-1],
    )


def _fitted(
    cascades: UsableCascades, shape: Choice, *, order: int, n_bootstrap: int, rng: np.random.Generator | None
) -> tuple[SpeciesModel, tuple[str, ...]]:
    """Return the laws fitted to the cascades of a species, and what must be known of them."""
    probability = fit_defect_probability(cascades, n_bootstrap=n_bootstrap, rng=rng)
    distribution = _distribution(cascades, shape=shape, order=order, n_bootstrap=n_bootstrap, rng=rng)
    model = SpeciesModel(
        defect_probability=probability.probability,
        distribution=distribution.distribution,
        minimum_recoil_energy_eV=float(cascades.recoil_energy_eV.min()),
        maximum_recoil_energy_eV=float(cascades.recoil_energy_eV.max()),
        defect_probability_fit=probability,
        distribution_fit=distribution,
    )
    return model, tuple(dict.fromkeys((*probability.notes, *distribution.notes)))


def fit_stored_energy_model(
    table: CascadeTable,
    *,
    shape: Choice = "auto",
    order: int = 1,
    allow_failures: bool = False,
    provenance: Mapping[str, str] | None = None,
    n_bootstrap: int = 200,
    rng: np.random.Generator | None = None,
) -> StoredEnergyModel:
    """Return the defect probability and the stored-energy distribution of every species in a table.

    Parameters
    ----------
    table : CascadeTable
    shape : {'auto', 'gaussian', 'split_gaussian', 'empirical', 'table'}
        What stands for the stored energies, see `Choice`.
    order : int
        Of the location of the stored energy as a polynomial in the recoil energy.
    allow_failures : bool
        Fit although more cascades failed than `usable_cascades` tolerates; the notes then say so.
    provenance : dict, optional
        Kept with the model: names to text.
    n_bootstrap : int
        Simulated campaigns for each p-value.
    rng : numpy.random.Generator, optional
        For those; by default a fixed seed.

    Raises
    ------
    FitError
        If the table is empty, too many cascades failed, or one of the fits is impossible.
    InputError, RecordError
        If weights, energies, shape or order are unfit.
    """
    if len(table) == 0:
        raise FitError("the table holds no cascade: simulate some first")
    models, notes, problems = {}, [], []
    for species in sorted({str(s) for s in table.species}):
        try:
            cascades = usable_cascades(table, species=species, allow_failures=allow_failures)
            if shape == "table":
                models[species], said = _tabulated(cascades), cascades.notes
            else:
                models[species], said = _fitted(cascades, shape, order=order, n_bootstrap=n_bootstrap, rng=rng)
        except FitError as error:  # the others may have theirs to say
            problems.append(str(error))
            continue
        notes += [f"{species}: {note}" for note in said]
    if problems:
        raise FitError("; ".join(problems))
    return StoredEnergyModel(
        species=models,
        status=weakest([table.potential_status]),
        provenance=dict(provenance or {}),
        notes=tuple(notes),
    )
