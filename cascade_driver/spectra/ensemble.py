"""Error bands of a corrected spectrum: what each source of uncertainty does to it, and all of them together."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cascade_driver.analysis.distribution import (
    Shape,
    StoredEnergyDistribution,
    fit_stored_energy_distribution,
)
from cascade_driver.analysis.empirical import empirical_replicas
from cascade_driver.analysis.estimation import REFUSED
from cascade_driver.analysis.model import SpeciesModel, StoredEnergyModel
from cascade_driver.analysis.outcomes import UsableCascades, usable_cascades
from cascade_driver.analysis.response import observed_edges
from cascade_driver.analysis.tabulated import TABLE_REPLICAS, TabulatedDistribution, table_replicas
from cascade_driver.analysis.uncertainty import (
    ResamplingUnit,
    bootstrap_replicas,
    central_replica,
    covariance_replicas,
    in_single_precision,
    rising_replicas,
)
from cascade_driver.errors import FitError, InputError
from cascade_driver.kinds import Array
from cascade_driver.simulation.outcome import CascadeTable
from cascade_driver.spectra.correction import counts_by_species, relevant_bins, species_of_elements
from cascade_driver.spectrum import Spectrum, overlap_counts, read_bands, read_spectrum
from cascade_driver.units import EV_PER_KEV

#: A component of fewer members is a choice between alternatives, not a sample: its band is the root mean square
#: of their distances from the nominal one.
SMALLEST_SAMPLE = 20

#: Of a band, unless another is asked for: one standard deviation of a normal law to either side.
COVERAGE = 0.6827

#: Components that say the same as another one: shown, but not added to the total beside it.
SAME_AS = {"fit": "statistics"}

#: What makes a component smaller.
REMEDIES = {
    "statistics": "more cascades: `cascade plan` says of a run at which energies",
    "fit": "more cascades: `cascade plan` says of a run at which energies",
    "probability": "more cascades at energies where some leave a defect and some do not",
    "shape": "more cascades where the shapes differ, or [analysis] shape and order that fit them better",
    "potential": "a better potential; more cascades with this one do not help",
    "protocol": "a box and times that a larger and a longer one agree with; more cascades do not help",
    "source": "a better known source; no cascade helps",
    "assumptions": "a campaign of your own in place of assumed numbers",
}

#: Components whose members all lie on one side of the nominal, as the truth may not: they count to either side.
TWO_SIDED = ("probability",)

#: Members of the component `probability`.
RISING_MEMBERS = 200

#: Energies that a note names.
_MOST_NAMED = 5

#: Bins below zero by a smaller share of the largest rate are so by rounding.
ROUNDING = 1e-9


def remedies_of(models: Mapping[str, SpeciesModel]) -> dict[str, str]:
    """Return what helps of the models of some species, where their data are separated.

    Then no energy is known at which some cascades leave a defect and some do not, and the numbers of
    `cascade plan` rest on the prior of the width.
    """
    fits = {species: one.defect_probability_fit for species, one in models.items()}
    where = ", ".join(
        f"of {species} {fit.unsettled_said}"
        for species, fit in fits.items()
        if fit is not None and fit.is_separated
    )
    if not where:
        return {}
    said = f"cascades {where}, where the defect probability is not known (the data are separated)"
    return {
        "statistics": f"{REMEDIES['statistics']}, and first {said}",
        "fit": f"{REMEDIES['fit']}, and first {said}",
        "probability": said,
    }


class Replicas(Protocol):
    """What this module needs of replicas of a response: observed counts of recoil counts, one row each."""

    def __len__(self) -> int:
        """Return the number of replicas."""

    def select(self, index: NDArray[np.int64] | slice) -> Replicas:
        """Return some of the replicas."""

    def fold(self, counts: ArrayLike, *, recoil_edges_eV: ArrayLike) -> Array:
        """Return (R, m) observed counts of recoil counts (n,)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Band:
    """An interval of the rate in each bin.

    Attributes
    ----------
    lower_per_kg_day_keV, upper_per_kg_day_keV : (n,) float
    deviation_per_kg_day_keV : (n,) float
        Root mean square distance from the nominal rate.
    n_members : int
    members_per_kg_day_keV : (n_members, n) float, optional
        The spectra that the band is made of: bins correlate, which its sides do not tell. None in a band that was
        read from a file.
    """

    lower_per_kg_day_keV: Array
    upper_per_kg_day_keV: Array
    deviation_per_kg_day_keV: Array
    n_members: int
    members_per_kg_day_keV: Array | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class SpectrumBands:
    """The bands of one corrected spectrum.

    Attributes
    ----------
    energy_edges_eV : (n + 1,) float
        Of observed energy.
    nominal_per_kg_day_keV : (n,) float
    components : mapping of str to Band
        `statistics`, `fit`, `assumptions`, `probability`, `shape`, `potential`, `protocol`, `source`: those that
        were given.
    total : Band
        Of all of them, `fit` only where there is no `statistics`: both come from the same scatter of the cascades.
    coverage : float
    notes : tuple of str
        What was left out, and why.
    remedies : mapping of str to str
        What makes a component smaller, where more is known of it than `REMEDIES` say.
    """

    energy_edges_eV: Array
    nominal_per_kg_day_keV: Array
    components: Mapping[str, Band]
    total: Band
    coverage: float
    notes: tuple[str, ...] = ()
    remedies: Mapping[str, str] = field(default_factory=dict)

    @property
    def said(self) -> str:
        """What the bands are, in words; nothing where nothing is uncertain."""
        if not self.components:
            return ""
        parts = ", ".join(f"{name} ({band.n_members} members)" for name, band in self.components.items())
        return f"{self.coverage:.0%} in each bin, of {parts}, and of all of them (total)"

    def relative_deviation(self, name: str, *, low_eV: float = 0.0, high_eV: float = np.inf) -> float:
        """Return the root mean square of deviation over rate within a range, of a component or of `total`.

        Over the `relevant_bins` of the range.
        """
        band = self.total if name == "total" else self.components[name]
        rate = self.nominal_per_kg_day_keV
        inside = relevant_bins(rate, self.energy_edges_eV, low_eV=low_eV, high_eV=high_eV)
        if not inside.any():
            return 0.0
        return float(np.sqrt(np.mean((band.deviation_per_kg_day_keV[inside] / rate[inside]) ** 2)))

    def error_of_counts_per_kg_day(
        self, *, low_eV: float, high_eV: float, without: Collection[str] = ()
    ) -> float | None:
        """Return the standard error of the counts in a range: that of the sum, as bins rise and fall together.

        Components add in quadrature, those of the same origin as another one once, those in `without` not at all
        (an error of the source is none of the ratio to what is expected). None where there are no members.
        """
        edges = self.energy_edges_eV
        width_keV = np.clip(np.minimum(edges[1:], high_eV) - np.maximum(edges[:-1], low_eV), 0, None) / EV_PER_KEV
        squared = 0.0
        for name, band in self.components.items():
            if SAME_AS.get(name) in self.components or name in without:
                continue
            if band.members_per_kg_day_keV is None:
                return None
            counts = (band.members_per_kg_day_keV - self.nominal_per_kg_day_keV) @ width_keV
            squared += float(np.mean(counts**2))
        return float(np.sqrt(squared)) if self.components else None

    def centred_on(self, rate_per_kg_day_keV: Array) -> SpectrumBands:
        """Return the same bands about another nominal rate (n,), such as one of recoils that come in two steps."""
        shift = np.asarray(rate_per_kg_day_keV) - self.nominal_per_kg_day_keV
        floor = _floor(np.asarray(rate_per_kg_day_keV))

        def moved(band: Band) -> Band:
            return replace(
                band,
                lower_per_kg_day_keV=np.maximum(band.lower_per_kg_day_keV + shift, floor),
                upper_per_kg_day_keV=np.maximum(band.upper_per_kg_day_keV + shift, floor),
                members_per_kg_day_keV=None if (m := band.members_per_kg_day_keV) is None else m + shift,
            )

        return replace(
            self,
            nominal_per_kg_day_keV=np.asarray(rate_per_kg_day_keV),
            components={name: moved(band) for name, band in self.components.items()},
            total=moved(self.total),
        )

    def within(self, low_eV: float, high_eV: float) -> SpectrumBands:
        """Return the bands of the bins that lie in a range."""
        edges = self.energy_edges_eV
        kept = np.flatnonzero((edges[:-1] >= low_eV) & (edges[1:] <= high_eV))
        bins = slice(int(kept[0]), int(kept[-1]) + 1) if len(kept) else slice(0, 0)

        def cut(band: Band) -> Band:
            return replace(
                band,
                lower_per_kg_day_keV=band.lower_per_kg_day_keV[bins],
                upper_per_kg_day_keV=band.upper_per_kg_day_keV[bins],
                deviation_per_kg_day_keV=band.deviation_per_kg_day_keV[bins],
                members_per_kg_day_keV=None if (m := band.members_per_kg_day_keV) is None else m[:, bins],
            )

        return replace(
            self,
            energy_edges_eV=edges[bins.start : bins.stop + 1],
            nominal_per_kg_day_keV=self.nominal_per_kg_day_keV[bins],
            components={name: cut(band) for name, band in self.components.items()},
            total=cut(self.total),
        )

    def dominant(self, *, low_eV: float = 0.0, high_eV: float = np.inf) -> str:
        """Return the component with the largest `relative_deviation`; empty if there is none."""
        of = {
            name: self.relative_deviation(name, low_eV=low_eV, high_eV=high_eV)
            for name in self.components
            if SAME_AS.get(name) not in self.components
        }
        return max(of, key=lambda name: of[name]) if of else ""

    def remedy(self, *, low_eV: float = 0.0, high_eV: float = np.inf) -> str:
        """Return in words what helps against the `dominant` component; empty if there is none.

        The one judgement of it: what `cascade correct`, `cascade plan` and the report say.
        """
        largest = self.dominant(low_eV=low_eV, high_eV=high_eV)
        return f"what helps is {self.remedies.get(largest, REMEDIES[largest])}" if largest else ""

    def limits(self) -> dict[str, tuple[Array, Array]]:
        """Return lower and upper rates, (n,) each, of the total and of every component."""
        parts = {"total": self.total, **self.components}
        return {name: (b.lower_per_kg_day_keV, b.upper_per_kg_day_keV) for name, b in parts.items()}

    def diagnosis(self, *, low_eV: float = 0.0, high_eV: float = np.inf) -> tuple[str, ...]:
        """Return in lines of text how large each component is, which one dominates, and what helps against it."""
        total = self.relative_deviation("total", low_eV=low_eV, high_eV=high_eV)
        if total == 0:
            return ()
        where = f" between {low_eV:.4g} and {high_eV:.4g} eV" if np.isfinite(high_eV) else ""
        lines = [f"error of the rate{where}, root mean square over the bins: {total:.2%}"]
        for name, band in self.components.items():
            value = self.relative_deviation(name, low_eV=low_eV, high_eV=high_eV)
            same = SAME_AS.get(name)
            remark = f", of the same origin as {same} and not added" if same in self.components else ""
            kind = "alternative" if band.n_members < SMALLEST_SAMPLE else "member"
            kind += "s" if band.n_members != 1 else ""
            lines.append(f"  {name:11s} {value:8.2%}  ({band.n_members} {kind}{remark})")
        largest, remedy = (f(low_eV=low_eV, high_eV=high_eV) for f in (self.dominant, self.remedy))
        return (*lines, f"  {largest} dominates; {remedy}")


@dataclass(frozen=True, kw_only=True, eq=False)
class Ensemble:
    """Every source of uncertainty of a correction, as replicas or alternatives.

    Each is a mapping of species to replicas (`analysis.uncertainty`, `analysis.empirical`).

    Attributes
    ----------
    nominal : mapping of str to Replicas
        One replica per species: the best model.
    statistics : mapping of str to Replicas
        What other campaigns of the same size might have given. All species have the same number.
    fit : mapping of str to Replicas
        The same, as the covariance of the fit has it.
    assumptions : mapping of str to Replicas
        Draws of numbers that were assumed, not fitted.
    rising : mapping of str to Replicas
        Defect probabilities of which nothing is assumed than that they rise with the energy, with the nominal
        stored energies: their distance from the Fermi function is the error of having taken one. It is not
        honest to the last: where the thresholds of the directions spread (a logarithmic normal law of 0.45 about
        40 eV, 256 cascades), bands of 68 % held the truth in 44 to 72 % of the bins below the half energy, and
        without this part in less than 20 %.
    shapes, potentials, protocols : mapping of str to mapping
        Name of an alternative to its single replica per species; species it lacks are those of `nominal`.
    notes : tuple of str
    """

    nominal: Mapping[str, Replicas]
    statistics: Mapping[str, Replicas] = field(default_factory=dict)
    fit: Mapping[str, Replicas] = field(default_factory=dict)
    assumptions: Mapping[str, Replicas] = field(default_factory=dict)
    rising: Mapping[str, Replicas] = field(default_factory=dict)
    shapes: Mapping[str, Mapping[str, Replicas]] = field(default_factory=dict)
    potentials: Mapping[str, Mapping[str, Replicas]] = field(default_factory=dict)
    protocols: Mapping[str, Mapping[str, Replicas]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


#: Alternatives that a campaign is tried with: name, shape, order of the location.
SHAPE_ALTERNATIVES: tuple[tuple[str, Shape, int], ...] = (
    ("gaussian, order 1", "gaussian", 1),
    ("gaussian, order 2", "gaussian", 2),
    ("split gaussian, order 1", "split_gaussian", 1),
    ("split gaussian, order 2", "split_gaussian", 2),
)

_NONE: Mapping[str, StoredEnergyModel] = MappingProxyType({})

#: The alternative that assumes no shape.
EMPIRICAL = "empirical"


def campaign_ensemble(
    table: CascadeTable,
    model: StoredEnergyModel,
    *,
    n_replicas: int = 1000,
    unit: ResamplingUnit = "cascade",
    allow_failures: bool = False,
    rng: np.random.Generator,
) -> Ensemble:
    """Return what a campaign leaves uncertain: statistics by bootstrap, the fit's covariance, the shapes.

    The alternatives are the regular and the split Gaussian with locations of first and second order, and the
    empirical response (`EmpiricalReplicas`); the model's own is not repeated. What cannot be fitted, or is not
    healthy, is left out with a note.

    Parameters
    ----------
    table : CascadeTable
        The cascades that the model was fitted to.
    model : StoredEnergyModel
    n_replicas : int
    unit : {'cascade', 'direction', 'direction_and_snapshot'}
        What the bootstrap takes as independent.
    allow_failures : bool
        As in `usable_cascades`.
    rng : numpy.random.Generator

    Raises
    ------
    FitError, InputError, RecordError
        As `usable_cascades` and `bootstrap_replicas`.
    """
    statistics: dict[str, Replicas] = {}
    fit: dict[str, Replicas] = {}
    rising: dict[str, Replicas] = {}
    shapes: dict[str, dict[str, Replicas]] = {}
    notes: list[str] = []
    for species, one in model.species.items():
        if isinstance(one.distribution, TabulatedDistribution):
            statistics[species] = table_replicas(one.distribution, n_replicas=TABLE_REPLICAS, rng=rng)
            notes += _of_single_directions(species, one.distribution)
            continue
        cascades = usable_cascades(table, species=species, allow_failures=allow_failures)
        others = bootstrap_replicas(cascades, one, n_replicas=n_replicas, unit=unit, rng=rng)
        statistics[species] = in_single_precision(others)
        if one.defect_probability_fit is not None and one.distribution_fit is not None:
            fit[species] = in_single_precision(covariance_replicas(one, n_replicas=n_replicas, rng=rng))
            rising[species] = rising_replicas(one, n_replicas=min(n_replicas, RISING_MEMBERS), rng=rng)
        left_out: dict[str, str] = {}
        for name, shape, order in SHAPE_ALTERNATIVES:
            if (shape, order) == _kind(one):
                continue
            other = _alternative(cascades, one, shape=shape, order=order)
            if isinstance(other, SpeciesModel):
                shapes.setdefault(name, {})[species] = central_replica(other)
            else:
                left_out[name] = other.removeprefix(f"{species}: ")
        notes += _of_left_out(species, left_out)
        shapes.setdefault(EMPIRICAL, {})[species] = empirical_replicas(cascades)
    return Ensemble(
        nominal={species: central_replica(one) for species, one in model.species.items()},
        statistics=statistics,
        fit=fit,
        rising=rising,
        shapes=shapes,
        notes=tuple(notes),
    )


def with_alternatives(
    ensemble: Ensemble,
    model: StoredEnergyModel,
    *,
    potentials: Mapping[str, StoredEnergyModel] = _NONE,
    protocols: Mapping[str, StoredEnergyModel] = _NONE,
) -> Ensemble:
    """Return an ensemble with models of the same recoils, by name, as further alternatives to its own.

    Parameters
    ----------
    ensemble : Ensemble
    model : StoredEnergyModel
        That it is of.
    potentials : mapping of str to StoredEnergyModel
        By other potentials.
    protocols : mapping of str to StoredEnergyModel
        By another protocol: a larger box, a longer flight, another border or start.
    """
    lacking = (*_lacking(model, potentials, by="potential"), *_lacking(model, protocols, by="protocol"))
    return replace(
        ensemble,
        potentials={**ensemble.potentials, **_of_models(potentials)},
        protocols={**ensemble.protocols, **_of_models(protocols)},
        notes=(*ensemble.notes, *lacking),
    )


def model_ensemble(model: StoredEnergyModel, *, n_replicas: int = 1000, rng: np.random.Generator) -> Ensemble:
    """Return what a model file alone leaves uncertain: draws from the covariance of its fits.

    A table has its directions drawn anew. A species that was put in by hand has no covariance: it enters without
    error, and a note says so.
    """
    statistics: dict[str, Replicas] = {}
    fit: dict[str, Replicas] = {}
    rising: dict[str, Replicas] = {}
    notes: list[str] = []
    for species, one in model.species.items():
        if isinstance(one.distribution, TabulatedDistribution):
            statistics[species] = table_replicas(one.distribution, n_replicas=TABLE_REPLICAS, rng=rng)
            notes += _of_single_directions(species, one.distribution)
            continue
        try:
            fit[species] = covariance_replicas(one, n_replicas=n_replicas, rng=rng)
            rising[species] = rising_replicas(one, n_replicas=min(n_replicas, RISING_MEMBERS), rng=rng)
        except FitError:
            notes.append(f"{species}: put in by hand, without error")
    return Ensemble(
        nominal={species: central_replica(one) for species, one in model.species.items()},
        statistics=statistics,
        fit=fit,
        rising=rising,
        notes=tuple(notes),
    )


def _lacking(model: StoredEnergyModel, others: Mapping[str, StoredEnergyModel], *, by: str) -> list[str]:
    """Return which species each alternative lacks, whose error is left out there."""
    return [
        f"{name}: knows nothing of {', '.join(missing)}, whose error by the {by} is left out there"
        for name, other in others.items()
        if (missing := [species for species in model.species if species not in other.species])
    ]


def _of_single_directions(species: str, law: TabulatedDistribution) -> list[str]:
    """Return at which energies of a table one direction stands for all, which drawing it anew cannot tell."""
    along = set(zip(law.knot, law.direction, strict=True))
    flown = np.bincount([knot for knot, _ in along])
    alone = [f"{law.knots_eV[knot]:g}" for knot in np.flatnonzero(flown == 1)]
    if not alone:
        return []
    said = ", ".join(alone[:_MOST_NAMED]) + (" ..." if len(alone) > _MOST_NAMED else "")
    return [f"{species}: one direction alone at {said} eV: its band knows nothing of others"]


def _of_models(models: Mapping[str, StoredEnergyModel]) -> dict[str, dict[str, Replicas]]:
    return {
        name: {species: central_replica(one) for species, one in other.species.items()}
        for name, other in models.items()
    }


def _kind(model: SpeciesModel) -> tuple[str, int]:
    """Return shape and order of the location of a model."""
    law = model.distribution
    return (law.shape, len(law.location_eV) - 1 if isinstance(law, StoredEnergyDistribution) else 0)


def _of_left_out(species: str, reasons: Mapping[str, str]) -> list[str]:
    """Return one note of the shapes of a species that are left out, with the reason of the most demanding."""
    if not reasons:
        return []
    *_, (last, reason) = reasons.items()
    if len(reasons) == 1:
        return [f"{species}: {last}, is left out of the shapes: {reason}"]
    return [f"{species}: {'; '.join(reasons)} are left out of the shapes; the last because {reason}"]


def _alternative(cascades: UsableCascades, model: SpeciesModel, *, shape: Shape, order: int) -> SpeciesModel | str:
    """Return the model with another distribution, or why there is none."""
    try:
        # where the data refused the usual shape, any other has to stand their test, too
        n_bootstrap = 0 if isinstance(model.distribution, StoredEnergyDistribution) else 99
        fit = fit_stored_energy_distribution(cascades, shape=shape, order=order, n_bootstrap=n_bootstrap)
    except FitError as error:
        return str(error)
    if not fit.health.is_good:
        return "its fit is not healthy"
    if fit.goodness.p_value is not None and fit.goodness.p_value <= REFUSED:
        return "the data refuse it"
    return replace(model, distribution=fit.distribution, distribution_fit=fit)


def correction_bands(
    spectrum: Spectrum,
    ensemble: Ensemble,
    *,
    fallback_species: str | None = None,
    source_counts: Mapping[str, Array] | None = None,
    detector_matrix: Array | None = None,
    energy_edges_eV: ArrayLike | None = None,
    coverage: float = COVERAGE,
    rng: np.random.Generator | None = None,
) -> SpectrumBands:
    r"""Return the bands of the corrected total rate.

    Each component gives members :math:`n_{cr}` of the observed spectrum, all else nominal. Together they are
    superposed to first order, member by member drawn at random:

    .. math:: n_r = n_0 + \sum_c s_{cr} (n_{c\,\pi_c(r)} - n_0)

    over all components c, without `fit` where there is `statistics` (`SAME_AS`). The sign s is 1; of alternatives
    (shapes, potentials, protocols; fewer than 20 members) it is 1 or -1 at random. Bands are central quantiles,
    and hold the nominal rate in any case (`FermiPosterior` says how rarely that widens them); those of
    alternatives reach the root mean square distance from the nominal to either side. Bins correlate: a band holds
    the truth with its coverage in each bin, not in all at once, and less often where thresholds spread over the
    directions (`Ensemble.rising`).

    Parameters
    ----------
    spectrum : Spectrum
        Of recoil energies.
    ensemble : Ensemble
    fallback_species : str, optional
        As in `correct`.
    source_counts : mapping of str to (S, n) float, optional
        Members of the recoil spectrum itself: counts per kg and day, for each element of the spectrum.
    detector_matrix : (d, m) float, optional
        What a detector does to counts in observed bins.
    energy_edges_eV : (e + 1,) array_like, optional
        Bins of the result; by default those of the observed spectrum (with a detector: d must be m).
    coverage : float
        Between 0 and 1.
    rng : numpy.random.Generator, optional
        Draws the members that are put together; by default a fixed seed.

    Raises
    ------
    InputError
        If a species is missing, numbers do not fit, or the coverage is no share.
    """
    if not 0 < coverage < 1:
        raise InputError(f"coverage of a band is {coverage}, expected a share between 0 and 1, such as 0.6827")
    rng = rng or np.random.default_rng(0)
    recoil = spectrum.energy_edges_eV
    used = species_of_elements(spectrum.rate_per_kg_day_keV, list(ensemble.nominal), fallback_species)
    nominal, members = _members(spectrum, ensemble, used)
    if source_counts is not None:
        members["source"] = _of_source(source_counts, used, ensemble.nominal, recoil)
    observed = _observed_edges(recoil, len(nominal))
    edges = observed if energy_edges_eV is None else np.asarray(energy_edges_eV, dtype=np.float64)

    def seen(values: Array) -> Array:
        after = values if detector_matrix is None else values @ detector_matrix.T
        if np.array_equal(edges, observed):
            return np.asarray(after / np.diff(observed) * EV_PER_KEV)
        density = after / np.diff(observed)
        rebinned = np.stack([overlap_counts(row, observed, edges) for row in density])
        return np.asarray(rebinned / np.diff(edges) * EV_PER_KEV)

    centre = seen(nominal[None])[0]
    floor = _floor(centre)
    rates = {name: seen(values) for name, values in members.items()}
    for name in TWO_SIDED:
        if name in rates:
            rates[name] = centre + rng.choice([-1.0, 1.0], size=(len(rates[name]), 1)) * (rates[name] - centre)
    together = _together({name: v for name, v in rates.items() if SAME_AS.get(name) not in rates}, centre, rng)
    return SpectrumBands(
        energy_edges_eV=edges,
        nominal_per_kg_day_keV=centre,
        components={name: _band(values, centre, coverage, floor) for name, values in rates.items()},
        total=_band(np.maximum(together, floor), centre, coverage, floor),
        coverage=coverage,
        notes=ensemble.notes,
    )


def _members(spectrum: Spectrum, ensemble: Ensemble, used: Mapping[str, str]) -> tuple[Array, dict[str, Array]]:
    """Return the observed counts by the model itself, (m,), and the members of each component, (R, m)."""
    counts = counts_by_species(spectrum.counts_per_kg_day, used)

    def folded(replicas: Mapping[str, Replicas]) -> Array:
        recoil = spectrum.energy_edges_eV
        return _added([_folded(replicas.get(s) or ensemble.nominal[s], c, recoil) for s, c in counts.items()])

    samples = {
        "statistics": ensemble.statistics,
        "fit": ensemble.fit,
        "assumptions": ensemble.assumptions,
        "probability": ensemble.rising,
    }
    alternatives = {"shape": ensemble.shapes, "potential": ensemble.potentials, "protocol": ensemble.protocols}
    members = {name: folded(sample) for name, sample in samples.items() if sample}
    members |= {
        name: np.concatenate([folded(one) for one in several.values()])
        for name, several in alternatives.items()
        if several
    }
    return folded(ensemble.nominal)[0], members


def _together(components: Mapping[str, Array], centre: Array, rng: np.random.Generator) -> Array:
    """Return (R, e) rates with the deviations of all components from the centre, members drawn at random."""
    n_total = max((len(values) for values in components.values()), default=1)
    together = np.tile(centre, (n_total, 1))
    for values in components.values():
        index = np.arange(n_total) if len(values) == n_total else rng.integers(len(values), size=n_total)
        step = values[rng.permutation(index)] - centre
        if len(values) < SMALLEST_SAMPLE:
            step *= rng.choice([-1.0, 1.0], size=(n_total, 1))  # to either side, as in the band of its own
        together += step
    return together


def _folded(replicas: Replicas, counts: Array, recoil: Array) -> Array:
    """Return the observed counts of every replica; counts below zero are folded apart."""
    folded = replicas.fold(np.maximum(counts, 0.0), recoil_edges_eV=recoil)
    if np.any(counts < 0):
        return folded - replicas.fold(-np.minimum(counts, 0.0), recoil_edges_eV=recoil)
    return folded


def _of_source(
    source: Mapping[str, Array], used: Mapping[str, str], nominal: Mapping[str, Replicas], recoil: Array
) -> Array:
    """Return the observed counts of every member of the source; the nominal response is a matrix."""
    missing = [element for element in used if element not in source]
    n = len(recoil) - 1
    if missing or any(np.ndim(v) != 2 or np.shape(v)[1] != n for v in source.values()):
        raise InputError(
            f"source_counts must hold ({'members'}, {n}) counts for {', '.join(e or 'the total' for e in used)}; "
            f"missing: {', '.join(missing) or 'none, but a shape is wrong'}"
        )
    total: Array | None = None
    for species, values in counts_by_species(source, used).items():
        # the span of the members is small: fold an orthonormal basis of it, not every unit vector
        basis = [np.maximum(values.mean(axis=0), 0.0)]
        shift = values - basis[0]
        _, size, vectors = np.linalg.svd(shift, full_matrices=False)
        kept = vectors[size > 1e-9 * max(float(size.max(initial=0.0)), 1e-300)]
        up = nominal[species]
        folded = up.fold(basis[0], recoil_edges_eV=recoil)
        for vector in kept:
            positive = up.fold(np.maximum(vector, 0.0), recoil_edges_eV=recoil)
            negative = up.fold(np.maximum(-vector, 0.0), recoil_edges_eV=recoil)
            folded = folded + np.outer(shift @ vector, (positive - negative)[0])
        total = folded if total is None else total + folded
    return np.asarray(total)


def _added(parts: Sequence[Array]) -> Array:
    """Return the sum of (R, m) parts; a part of one row stands for all."""
    return np.asarray(sum(parts[1:], parts[0]), dtype=np.float64)


def _observed_edges(recoil: Array, m: int) -> Array:
    """Return the edges down to zero that go with m observed bins, as `analysis.response.observed_edges`."""
    edges = observed_edges(recoil)
    if len(edges) != m + 1:
        raise InputError(f"replicas give {m} observed bins, expected {len(edges) - 1}")
    return edges


def _floor(rate: Array) -> float:
    """Return what no band goes below: zero, but of a spectrum with bins below zero nothing.

    Such a spectrum had a background subtracted; what holds of it holds of its negative, too.
    """
    largest = float(np.abs(rate).max(initial=0.0))
    return 0.0 if rate.min(initial=0.0) >= -ROUNDING * largest else -np.inf


def _band(values: Array, centre: Array, coverage: float, floor: float) -> Band:
    deviation = np.sqrt(np.mean((values - centre) ** 2, axis=0))
    if len(values) < SMALLEST_SAMPLE:
        lower, upper = np.maximum(centre - deviation, np.minimum(centre, floor)), centre + deviation
    else:
        # of n members the k-th lies above k / (n + 1) of the law on average; the usual rule makes bands too narrow
        sides = [(1 - coverage) / 2, (1 + coverage) / 2]
        lower, upper = np.quantile(values, sides, axis=0, method="weibull")
        # a centre is one curve, the members have their steps at many places: it may leave their middle by a hair
        lower, upper = np.minimum(lower, centre), np.maximum(upper, centre)
    return Band(
        lower_per_kg_day_keV=lower,
        upper_per_kg_day_keV=upper,
        deviation_per_kg_day_keV=deviation,
        n_members=len(values),
        members_per_kg_day_keV=values,
    )


def bands_of_file(path: Path) -> SpectrumBands | None:
    """Return the bands that a corrected spectrum carries in its file, or none; deviations are half their widths.

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    spectrum, found = read_spectrum(path), read_bands(path)
    parts = {
        name: Band(
            lower_per_kg_day_keV=low,
            upper_per_kg_day_keV=high,
            deviation_per_kg_day_keV=(high - low) / 2,
            n_members=0,
        )
        for name, (low, high) in found.items()
    }
    if "total" not in parts:
        return None
    return SpectrumBands(
        energy_edges_eV=spectrum.energy_edges_eV,
        nominal_per_kg_day_keV=spectrum.total_rate_per_kg_day_keV,
        components={name: band for name, band in parts.items() if name != "total"},
        total=parts["total"],
        coverage=COVERAGE,
    )
