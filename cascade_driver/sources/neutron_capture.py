"""Recoils after the capture of thermal neutrons: calibration lines and what surrounds them (the CRAB method)."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from cascade_driver.errors import InputError
from cascade_driver.sources.capture_table import CaptureIsotope, capture_table
from cascade_driver.sources.gamma_recoil import (
    GammaCascade,
    GammaTiming,
    momentum_exponents,
    recoil_cumulative,
    recoil_energy_eV,
    recoil_events,
    sequence_cumulative,
    sequence_events,
    sequence_exponents,
)
from cascade_driver.sources.statistical_cascade import (
    LIGHTEST,
    TEMPERATURE_ERROR,
    StatisticalModel,
    statistical_cascades,
)
from cascade_driver.spectrum import Spectrum, check_edges
from cascade_driver.target import DENSITIES_g_cm3, Isotope, Target, parse_target
from cascade_driver.units import CM2_PER_BARN, G_PER_KG, SECONDS_PER_DAY

#: What stands for captures without a tabulated primary gamma: cascades of the statistical model, or nothing.
Unresolved = Literal["statistical", "left_out"]

#: Tabulated gammas that add up to less of the captures of an element than this, or to so much more than them, are
#: spoken of, and isotopes with a note that make more than this of them.
_COMPLETE, _EXCESSIVE, _NOTEWORTHY = 0.9, 0.01, 0.01

#: Paths less likely than this per capture are not followed further: the rest of the energy goes in one gamma.
SMALLEST_PATH = 1e-4

#: A cascade that makes less than this of all captures gets fewer quasi-random events.
_MINOR, _FEW, _MANY = 1e-3, 512, 4096

#: Sampled captures of the statistical model, fewer where they make less than `_MINOR` of all captures, and how
#: often each is followed where its recoils are drawn one by one.
_STATISTICAL, _FEW_STATISTICAL, _REPEATS = 8192, 1024, 16


@dataclass(frozen=True, kw_only=True)
class GammaEscape:
    """Which gammas leave the crystal: only those events are recorded of which all gammas do.

    Attributes
    ----------
    points : tuple of (float, float)
        Gamma energy in keV and probability of escape, in increasing energy, linear in between and constant
        outside; by default all gammas escape. Conversion electrons are not in the table: they never would.

    Raises
    ------
    InputError
        If an energy does not increase or a probability is none.
    """

    points: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        energies = [energy for energy, _ in self.points]
        if any(not low < high for low, high in itertools.pairwise(energies)):
            raise InputError(f"escape of gammas at {energies} keV: expected increasing energies")
        for energy, probability in self.points:
            if not 0 <= probability <= 1:
                raise InputError(f"escape of a {energy:g} keV gamma is {probability:g}, expected 0 to 1")

    def of_events(self, gammas_keV: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the probability of each event, (n,), of its gammas (n, k) in keV; those of 0 keV are none."""
        if not self.points:
            return np.ones(len(gammas_keV))
        energies = [energy for energy, _ in self.points]
        escaping = np.interp(gammas_keV, energies, [share for _, share in self.points])
        return np.asarray(np.where(gammas_keV > 0, escaping, 1.0).prod(axis=1), dtype=np.float64)


@dataclass(frozen=True, kw_only=True)
class GammaTag:
    r"""Which captures a detector of gammas beside the crystal picks out: those of which it sees one in a window.

    .. math:: P = 1 - \prod_{i:\, |E_i - E_0| \le w} (1 - \epsilon)

    over all gammas of a cascade, whichever comes first. The others of it add their recoils: a tag of one gamma of
    several selects the cascade, not a line. Gammas are seen one by one (a detector in segments that is the same in
    all directions); a sum of two that falls into the window is none.

    Attributes
    ----------
    energy_keV : float
        :math:`E_0`.
    width_keV : float
        w, half of the window; infinite takes any gamma.
    efficiency : float
        :math:`\epsilon`, the probability that a gamma in the window is seen as such.

    Raises
    ------
    InputError
        If one of them cannot be.
    """

    energy_keV: float
    width_keV: float
    efficiency: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.energy_keV) and self.energy_keV > 0):
            raise InputError(f"energy_keV of a tag is {self.energy_keV:g}, expected a positive energy in keV")
        if not self.width_keV > 0:
            raise InputError(f"width_keV of a tag is {self.width_keV:g}, expected half of a window in keV")
        if not 0 < self.efficiency <= 1:
            raise InputError(f"efficiency of a tag is {self.efficiency:g}, expected above 0 and at most 1")

    def of_events(self, gammas_keV: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the probability that each event is picked out, (n,), of its gammas (n, k); 0 keV are none."""
        inside = (gammas_keV > 0) & (np.abs(gammas_keV - self.energy_keV) <= self.width_keV)
        return np.asarray(1.0 - (1.0 - self.efficiency) ** inside.sum(axis=1), dtype=np.float64)


@dataclass(frozen=True, kw_only=True)
class CaptureLine:
    r"""The recoil of one primary gamma in a target.

    Attributes
    ----------
    target : str
        Isotope before the capture.
    gamma_keV, final_level_keV : float
        The gamma, and the level that it leads to; further gammas add their recoils.
    recoil_energy_eV : float
        :math:`E_\gamma^2 / 2 M c^2`, M the compound nucleus.
    rate_per_kg_day, rate_error_per_kg_day : float
        Of the whole target. The error is that of the partial cross-section, which is what was measured; that of
        the thermal one drops out of the product.
    per_million_captures, per_million_captures_error : float
        The same for 1e6 captures in the whole target.
    figure_of_merit : float or None
        Share of the isotope (%) times thermal cross-section (b) times gammas per 100 captures times atoms of the
        element per volume (1e22/cm^3), by which targets are compared: Thulliez et al. 2021,
        doi:10.1088/1748-0221/16/07/P07032, there without the last factor. None where no density is known.
    source : str
        Citation.
    """

    target: str
    gamma_keV: float
    final_level_keV: float
    recoil_energy_eV: float
    rate_per_kg_day: float
    rate_error_per_kg_day: float
    per_million_captures: float
    per_million_captures_error: float
    figure_of_merit: float | None
    source: str

    @property
    def is_single(self) -> bool:
        """Whether no other gamma follows, so that the recoil is a peak at its energy."""
        return self.final_level_keV == 0


def capture_rate_per_kg_day(isotope: Isotope, *, cross_section_b: float, neutron_flux_cm2_s: float) -> float:
    r"""Return captures in one isotope of a target, per kg of the whole target and day.

    .. math:: R = N \sigma_0 \Phi

    Parameters
    ----------
    isotope : Isotope
        With its number of atoms N per kg of target.
    cross_section_b : float
        :math:`\sigma_0` at 2200 m/s, in barn.
    neutron_flux_cm2_s : float
        :math:`\Phi`, the conventional flux (neutron density times 2200 m/s): for 1/v absorbers it gives the rate
        whatever the temperature of the neutrons.

    Raises
    ------
    InputError
        If the flux is negative or not finite.
    """
    if not (math.isfinite(neutron_flux_cm2_s) and neutron_flux_cm2_s >= 0):
        raise InputError(f"neutron flux is {neutron_flux_cm2_s:g} per cm2 and s, expected at least 0")
    return isotope.atoms_per_kg * cross_section_b * CM2_PER_BARN * neutron_flux_cm2_s * SECONDS_PER_DAY


def cascades_of(isotope: CaptureIsotope) -> tuple[GammaCascade, ...]:
    """Return the gamma cascades of an isotope; their probabilities sum to the tabulated intensity.

    Each primary gamma is followed down through the tabulated decays. A level without any, or a path less likely
    than `SMALLEST_PATH`, ends by one gamma to the ground state. A level that lives over 1 ms ends the event.
    """
    return tuple(
        GammaCascade(
            symbol=isotope.symbol,
            target=isotope.target,
            mass_u=isotope.compound_mass_u,
            gammas_keV=(line.gamma_keV, *gammas),
            mean_lives_fs=lives,
            per_capture=probability,
        )
        for line in isotope.lines
        for gammas, lives, probability in _paths(isotope, line.final_level_keV, line.per_capture)
    )


_Path = tuple[tuple[float, ...], tuple[float | None, ...], float]


def _paths(isotope: CaptureIsotope, level_keV: float, probability: float) -> Iterator[_Path]:
    """Yield gammas, mean lives and probability of every way from a level to the ground state."""
    if level_keV == 0:
        yield (), (), probability
        return
    decays, life = isotope.decays.get(level_keV, ()), isotope.mean_life_fs(level_keV)
    if life == math.inf:
        yield (), (), probability
        return
    if not decays or probability < SMALLEST_PATH:
        yield (level_keV,), (life,), probability
        return
    whole = sum(decay.share for decay in decays)
    for decay in decays:
        for gammas, lives, p in _paths(isotope, decay.final_level_keV, probability * decay.share / whole):
            yield (decay.gamma_keV, *gammas), (life, *lives), p


class _Capturing(NamedTuple):
    """One isotope of a target that captures, with the rate per kg of target and day, and of the whole target."""

    isotope: CaptureIsotope
    rate: float
    rate_error: float
    all_rates: float

    @property
    def unresolved_rate(self) -> float:
        """Captures without a tabulated primary gamma; 0 for nuclei that are too light for statistics."""
        if self.isotope.mass_number + 1 < LIGHTEST:
            return 0.0
        return self.rate * max(0.0, 1.0 - self.isotope.tabulated_per_capture)

    @property
    def sampled(self) -> int:
        """Number of statistical cascades that stand for them."""
        return _STATISTICAL if self.unresolved_rate > 10 * _MINOR * self.all_rates else _FEW_STATISTICAL


def _capturing(
    target: Target, neutron_flux_cm2_s: float, table: Mapping[str, CaptureIsotope] | None
) -> list[_Capturing]:
    known = capture_table() if table is None else table
    missing = [symbol for symbol in target.elements if not any(i.symbol == symbol for i in known.values())]
    if missing:
        raise InputError(
            f"target {target.formula}: the capture table knows nothing of {', '.join(missing)}, only of "
            f"{', '.join(dict.fromkeys(i.symbol for i in known.values()))}; give one that does (--table)"
        )
    found: list[tuple[CaptureIsotope, float, float]] = []
    for isotope in target.isotopes:
        entry = known.get(f"{isotope.symbol}{isotope.mass_number}")
        if entry is not None:
            rate = capture_rate_per_kg_day(
                isotope, cross_section_b=entry.cross_section_b, neutron_flux_cm2_s=neutron_flux_cm2_s
            )
            error = rate * entry.cross_section_error_b / entry.cross_section_b
            found.append((entry, rate, error))
    whole = sum(rate for _, rate, _ in found)
    return [_Capturing(*one, whole) for one in found]


def capture_lines(
    *,
    target: str,
    neutron_flux_cm2_s: Annotated[float, Field(gt=0)] = 1.0,
    density_g_cm3: Annotated[float, Field(gt=0)] | None = None,
    table: Mapping[str, CaptureIsotope] | None = None,
) -> tuple[CaptureLine, ...]:
    """Return the recoils of all tabulated primary gammas in a target, the strongest first.

    Parameters
    ----------
    target : str
        Chemical formula.
    neutron_flux_cm2_s : float
        Neutron density times 2200 m/s, for the rates.
    density_g_cm3 : float, optional
        Of the crystal, for the figure of merit; those of detectors are known.
    table : mapping, optional
        Of `capture_table`.

    Raises
    ------
    InputError
        If the formula or the flux cannot be used, or an element is not in the table.

    Examples
    --------
    >>> line = capture_lines(target="CaWO4", neutron_flux_cm2_s=1e2)[0]
    >>> line.target, round(line.recoil_energy_eV, 1)
    ('W186', 79.5)
    """
    material = parse_target(target)
    density = density_g_cm3 or DENSITIES_g_cm3.get(material.formula)
    atoms_per_kg = {f"{i.symbol}{i.mass_number}": i.atoms_per_kg for i in material.isotopes}

    def merit(isotope: CaptureIsotope, per_capture: float) -> float | None:
        if density is None:
            return None
        atoms_1e22_cm3 = atoms_per_kg[isotope.target] * density / G_PER_KG / 1e22
        return 1e4 * atoms_1e22_cm3 * isotope.cross_section_b * per_capture

    lines = [
        CaptureLine(
            target=one.isotope.target,
            gamma_keV=line.gamma_keV,
            final_level_keV=line.final_level_keV,
            recoil_energy_eV=recoil_energy_eV(line.gamma_keV, mass_u=one.isotope.compound_mass_u).item(),
            rate_per_kg_day=one.rate * line.per_capture,
            rate_error_per_kg_day=one.rate * (line.per_capture_error or 0.0),
            per_million_captures=1e6 * one.rate * line.per_capture / one.all_rates,
            per_million_captures_error=1e6 * one.rate * (line.per_capture_error or 0.0) / one.all_rates,
            figure_of_merit=merit(one.isotope, line.per_capture),
            source=line.source,
        )
        for one in _capturing(material, neutron_flux_cm2_s, table)
        for line in one.isotope.lines
        if one.rate > 0
    ]
    return tuple(sorted(lines, key=lambda line: -line.rate_per_kg_day))


@dataclass(frozen=True, kw_only=True, eq=False)
class Captures:
    """Captures of thermal neutrons in a target: what is asked of spectra, of their errors, and of single events.

    Captures whose primary gammas are not tabulated are cascades of the statistical model (`statistical_cascade`),
    so that all add up to the captures; in nuclei of fewer than 20 nucleons, or if so wished, they are left out.
    Intensities that add up to more than one capture stay as they were measured. The notes say which is the case.

    Attributes
    ----------
    target : str
        Chemical formula.
    neutron_flux_cm2_s : float
        See `capture_rate_per_kg_day`.
    timing : GammaTiming
        What the second gamma finds; in flight by default.
    escape : GammaEscape
        All gammas escape by default.
    tag : GammaTag, optional
        Of the gamma in coincidence with which recoils are counted; all are by default.
    unresolved : {'statistical', 'left_out'}
        What stands for captures without a tabulated primary gamma.
    continuum_temperature_MeV : float, optional
        Of the level density, for those; by default `level_temperature_MeV` of each nucleus.
    table : mapping, optional
        Of `capture_table`.

    Raises
    ------
    InputError
        If something of it cannot be used; the message says what.
    """

    target: str
    neutron_flux_cm2_s: float
    timing: GammaTiming = field(default_factory=GammaTiming)
    escape: GammaEscape = field(default_factory=GammaEscape)
    tag: GammaTag | None = None
    unresolved: Unresolved = "statistical"
    continuum_temperature_MeV: float | None = None
    table: Mapping[str, CaptureIsotope] | None = None

    def __post_init__(self) -> None:
        if self.unresolved not in get_args(Unresolved):
            raise InputError(f"unresolved captures are {self.unresolved!r}, expected statistical or left_out")
        if self.unresolved == "left_out" and self.continuum_temperature_MeV is not None:
            raise InputError("unresolved captures are left out, and have a temperature: give one of both")
        _ = self.continuum, self.by_isotope  # complaints come here

    @functools.cached_property
    def material(self) -> Target:
        """Isotopes of the target."""
        return parse_target(self.target)

    @functools.cached_property
    def continuum(self) -> StatisticalModel | None:
        """Model of unresolved captures; none if they are left out."""
        if self.unresolved == "left_out":
            return None
        return StatisticalModel(temperature_MeV=self.continuum_temperature_MeV)

    @functools.cached_property
    def by_isotope(self) -> list[_Capturing]:
        """What captures, with its rate."""
        return _capturing(self.material, self.neutron_flux_cm2_s, self.table)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know."""
        return tuple(_notes(self.material, self.by_isotope, self.continuum))

    @property
    def metadata(self) -> dict[str, str]:
        """What was asked for, and the captures in each element."""
        timing, escape = self.timing, self.escape
        metadata = {
            "source": "thermal-neutron capture",
            "target": self.material.name,
            "neutron_flux_cm2_s": f"{self.neutron_flux_cm2_s:g}",
            "gamma_timing": timing.law,
            "lifetime_of_levels_without_a_tabulated_one": timing.unknown_lifetime,
            **({} if timing.slowing_time_fs is None else {"slowing_time_fs": f"{timing.slowing_time_fs:g}"}),
            **({} if timing.density_g_cm3 is None else {"density_g_cm3": f"{timing.density_g_cm3:g}"}),
            "gamma_escape": f"points {escape.points}".replace(":", " ") if escape.points else "all gammas escape",
            **({} if self.tag is None else {"gamma_tag": _tag_said(self.tag)}),
            "data": "; ".join(dict.fromkeys(s for one in self.by_isotope for s in one.isotope.sources)),
        }
        for symbol in self.material.elements:
            ours = [one for one in self.by_isotope if one.isotope.symbol == symbol]
            rate = sum(one.rate for one in ours)
            error = math.sqrt(sum(one.rate_error**2 for one in ours))
            metadata[f"captures_{symbol}_per_kg_day"] = f"{rate:.5g} +- {error:.2g}"
        return metadata

    def counted(self, gammas_keV: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the probability that an event is counted, (n,), of its gammas (n, k) in keV; 0 keV are none."""
        kept = self.escape.of_events(gammas_keV)
        return kept if self.tag is None else kept * self.tag.of_events(gammas_keV)

    def counted_share(self, cascade: GammaCascade) -> float:
        """Return the probability that a cascade is counted."""
        return float(self.counted(np.atleast_2d(np.asarray(cascade.gammas_keV)))[0])

    def events(self, symbol: str) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Yield captures in an element: their recoils, (n, k) energies in eV, and the rate of each, (n,).

        For whoever must know the recoils of each: those of a nucleus that stops in between.
        """
        all_rates = sum(one.rate for one in self.by_isotope) or 1.0
        for one in self.by_isotope:
            if one.isotope.symbol != symbol:
                continue
            for cascade in cascades_of(one.isotope):
                rate = one.rate * cascade.per_capture * self.counted_share(cascade)
                if not rate > 0:
                    continue
                many = _MANY if rate > _MINOR * all_rates else _FEW
                exponents = momentum_exponents(cascade, self.timing, target=self.material)
                single = len(exponents) == 0 or all(math.isinf(e) for e in exponents)
                pieces = recoil_events(cascade, exponents=exponents, count=64 if single else many)
                yield pieces, np.full(len(pieces), rate / len(pieces))
            if self.continuum is not None and one.unresolved_rate > 0:
                yield _statistical_events(self, one, model=self.continuum)


def capture_spectrum(captures: Captures, *, energy_edges_eV: ArrayLike) -> Spectrum:
    """Return the recoil spectrum of thermal-neutron capture, per element of a target.

    Each cascade of the table gives what its recoils deposit together (`recoil_cumulative`), as differences of
    the cumulative distribution: a line lies wholly in its bin.

    Parameters
    ----------
    captures : Captures
    energy_edges_eV : (n + 1,) array_like
        Bins, from 0 or above.

    Raises
    ------
    InputError
        If the bins cannot be used.

    Examples
    --------
    >>> captures = Captures(target="CaWO4", neutron_flux_cm2_s=1e2)
    >>> made = capture_spectrum(captures, energy_edges_eV=[0, 100, 200])
    >>> [f"{counts:.2e}" for counts in made.counts_per_kg_day["W"]]
    ['3.09e+08', '2.12e+07']
    """
    edges = check_edges(energy_edges_eV, floor_eV=0.0)
    counts = {symbol: np.zeros(len(edges) - 1) for symbol in captures.material.elements}
    for one in captures.by_isotope:
        for cascade in cascades_of(one.isotope):
            rate = one.rate * cascade.per_capture * captures.counted_share(cascade)
            if rate > 0:
                counts[cascade.symbol] += rate * _shape(captures, cascade, edges)
        if captures.continuum is not None:
            shape = _statistical_shape(captures, one, edges, model=captures.continuum)
            counts[one.isotope.symbol] += one.unresolved_rate * shape
    notes = captures.notes
    if captures.tag is not None and not any(of_element.any() for of_element in counts.values()):
        seen = f"{_tag_said(captures.tag)} has a recoil in these bins"
        notes += (f"no capture in {captures.material.formula} of which {seen}",)
    return Spectrum.from_counts(
        energy_edges_eV=edges, counts_per_kg_day=counts, notes=notes, metadata=captures.metadata
    )


def capture_parts(
    captures: Captures, *, energy_edges_eV: ArrayLike
) -> Iterator[tuple[float, dict[str, NDArray[np.float64]]]]:
    """Yield what `capture_spectrum` does not know, as relative errors with the counts that they scale.

    Counts per kg and day in each bin, (n,), under the symbol of their element:

    - each primary gamma with the error of its intensity; where the statistical model fills up the captures, it has
      as many fewer. Gammas without a given error, or with one below 1e-3 of the largest, are left out;
    - the statistical cascades of each isotope with the error of the thermal cross-section: the partial ones are
      measured, and it is the rest that changes;
    - their change, as a part of its own with error 1, if the temperature of each nucleus is a fifth higher, and if
      the standard Lorentzian stands for the generalised one in all.

    Raises
    ------
    InputError
        As `capture_spectrum`.
    """
    edges = check_edges(energy_edges_eV, floor_eV=0.0)
    model = captures.continuum
    largest = max(
        (one.rate * (line.per_capture_error or 0.0) for one in captures.by_isotope for line in one.isotope.lines),
        default=0.0,
    )
    by_strength = {symbol: np.zeros(len(edges) - 1) for symbol in captures.material.elements}
    for one in captures.by_isotope:
        shape_of = functools.partial(_statistical_shape, captures, one, edges)
        filling = np.zeros(len(edges) - 1)
        if model is not None and one.unresolved_rate > 0:
            filling = shape_of(model=model)
            T = model.temperature_of(one.isotope)
            hotter = replace(model, temperature_MeV=(1 + TEMPERATURE_ERROR) * T)
            standard = replace(model, strength="standard")
            yield one.rate_error / one.rate, {one.isotope.symbol: one.rate * filling}
            change = shape_of(model=hotter) - filling
            yield 1.0, {one.isotope.symbol: one.unresolved_rate * change}
            change = shape_of(model=standard) - filling
            by_strength[one.isotope.symbol] += one.unresolved_rate * change
        errors = {
            line.gamma_keV: line.per_capture_error / line.per_capture
            for line in one.isotope.lines
            if line.per_capture_error and one.rate * line.per_capture_error > 1e-3 * largest
        }
        parts = {gamma: np.zeros(len(edges) - 1) for gamma in errors}
        for cascade in cascades_of(one.isotope):
            if cascade.gammas_keV[0] in parts:
                shape = captures.counted_share(cascade) * _shape(captures, cascade, edges)
                parts[cascade.gammas_keV[0]] += one.rate * cascade.per_capture * (shape - filling)
        for gamma, counts in parts.items():
            yield errors[gamma], {one.isotope.symbol: counts}
    if any(counts.any() for counts in by_strength.values()):
        yield 1.0, by_strength


def _shape(captures: Captures, cascade: GammaCascade, edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the share of the recoils of a cascade in each bin, (n,)."""
    exponents = momentum_exponents(cascade, captures.timing, target=captures.material)
    return np.maximum(np.diff(recoil_cumulative(cascade, edges, exponents=exponents)), 0.0)


def _statistical_shape(
    captures: Captures, one: _Capturing, edges: NDArray[np.float64], *, model: StatisticalModel
) -> NDArray[np.float64]:
    """Return the share of statistical cascades in each bin, (n,); zeros for nuclei that have none."""
    if not one.unresolved_rate > 0:
        return np.zeros(len(edges) - 1)
    sequences = statistical_cascades(one.isotope, model=model, count=one.sampled)
    below = sequence_cumulative(
        sequences.gammas_keV,
        _exponents(captures, one, sequences.gammas_keV, sequences.mean_lives_fs),
        edges,
        mass_u=one.isotope.compound_mass_u,
        rng=np.random.default_rng(3),
        weights=captures.counted(sequences.gammas_keV) / one.sampled,
    )
    return np.maximum(np.diff(below), 0.0)


def _statistical_events(
    captures: Captures, one: _Capturing, *, model: StatisticalModel
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return recoils of statistical cascades, (n, k) energies in eV, and the rate of each."""
    sequences = statistical_cascades(one.isotope, model=model, count=one.sampled)
    gammas, lives = (np.repeat(a, _REPEATS, axis=0) for a in (sequences.gammas_keV, sequences.mean_lives_fs))
    pieces = sequence_events(
        gammas,
        _exponents(captures, one, gammas, lives),
        mass_u=one.isotope.compound_mass_u,
        rng=np.random.default_rng(3),
    )
    return pieces, one.unresolved_rate * captures.counted(gammas) / len(gammas)


def _exponents(
    captures: Captures, one: _Capturing, gammas_keV: NDArray[np.float64], mean_lives_fs: NDArray[np.float64]
) -> NDArray[np.float64]:
    return sequence_exponents(
        gammas_keV,
        mean_lives_fs,
        captures.timing,
        symbol=one.isotope.symbol,
        mass_u=one.isotope.compound_mass_u,
        target=captures.material,
    )


def _tag_said(tag: GammaTag) -> str:
    return f"a gamma of {tag.energy_keV:g} +- {tag.width_keV:g} keV is seen, with efficiency {tag.efficiency:g}"


def unresolved_shares(*, target: str, table: Mapping[str, CaptureIsotope] | None = None) -> dict[str, float]:
    """Return the share of the captures in each element that has no tabulated primary gamma.

    Elements with less than 1 % of the captures of the target, or with less than a tenth unresolved, are left out.

    Raises
    ------
    InputError
        As `capture_lines`.

    Examples
    --------
    >>> {element: round(share, 2) for element, share in unresolved_shares(target="CaWO4").items()}
    {'W': 0.66}
    """
    capturing = _capturing(parse_target(target), 1.0, table)
    found = {}
    for symbol in dict.fromkeys(one.isotope.symbol for one in capturing):
        ours = [one for one in capturing if one.isotope.symbol == symbol and one.rate > 0]
        if ours and sum(one.rate for one in ours) >= _NOTEWORTHY * ours[0].all_rates:
            found[symbol] = _unresolved_share(ours)
    return {symbol: share for symbol, share in found.items() if share > 1 - _COMPLETE}


def capture_notes(*, target: str, table: Mapping[str, CaptureIsotope] | None = None) -> tuple[str, ...]:
    """Return what a reader of the lines of a target must know: captures without a line, or without a gamma.

    Raises
    ------
    InputError
        As `capture_lines`.
    """
    material = parse_target(target)
    return tuple(_notes(material, _capturing(material, 1.0, table), None))


#: What is known against lines of the tables that ship: isotope, recoil in eV, in which source, why.
_DOUBTED = (
    (
        "W182",
        112.45,
        "(EGAF)",
        "its 8.2 per 100 captures are those of EGAF 2003; what was measured since (Hurst et al. 2014, "
        "arXiv:1311.1482) may make it more",
    ),
)


def line_notes(lines: Sequence[CaptureLine]) -> tuple[str, ...]:
    """Return what is known against some of these lines, a sentence each."""
    return tuple(
        f"{isotope}, line at {recoil_eV:g} eV: {why}"
        for isotope, recoil_eV, source, why in _DOUBTED
        # 0.1 eV: no other line of the isotope is so near
        if any(
            one.target == isotope and abs(one.recoil_energy_eV - recoil_eV) < 0.1 and source in one.source
            for one in lines
        )
    )


def _unresolved_share(capturing: list[_Capturing]) -> float:
    rate = sum(one.rate for one in capturing)
    return sum(one.rate * max(0.0, 1 - one.isotope.tabulated_per_capture) for one in capturing) / rate


def _notes(target: Target, capturing: list[_Capturing], model: StatisticalModel | None) -> Iterator[str]:
    """Yield what a reader must know of the captures of each element that matters."""
    for symbol in target.elements:
        ours = [one for one in capturing if one.isotope.symbol == symbol and one.rate > 0]
        rate = sum(one.rate for one in ours)
        if not ours or rate < _NOTEWORTHY * ours[0].all_rates:
            continue
        share = _unresolved_share(ours)
        filled = sum(one.unresolved_rate for one in ours) / rate if model is not None else 0.0
        if share > 1 - _COMPLETE:
            said = "they are cascades of the statistical model, an estimate" if filled > 0 else "they are left out"
            rest = f"; {share - filled:.1%} are left out" if 0 < filled < share - 5e-4 else ""
            yield f"{share:.1%} of the captures in {symbol} have no tabulated primary gamma: {said}{rest}"
        more = [one for one in ours if one.isotope.tabulated_per_capture > 1]
        excess = sum(one.rate * (one.isotope.tabulated_per_capture - 1) for one in more) / rate
        if excess > _EXCESSIVE:
            of = sum(one.rate for one in more)
            whole = sum(one.rate * one.isotope.tabulated_per_capture for one in more) / of
            error = math.hypot(*(one.rate * one.isotope.tabulated_error for one in more)) / of
            names = symbol if len(more) == len(ours) else ", ".join(one.isotope.target for one in more)
            yield (
                f"the tabulated primary gammas of {names} add up to {whole:.2f} +- {error:.2f} captures: partial "
                "and thermal cross-sections are measured apart, and the lines stay as measured"
            )
        atoms = sum(one.rate / one.isotope.cross_section_b for one in ours)
        for one in ours:
            common = one.rate / one.isotope.cross_section_b > _NOTEWORTHY * atoms
            if one.isotope.note and (one.rate > _NOTEWORTHY * rate or (common and "charged" in one.isotope.note)):
                yield f"{one.isotope.target}: {one.isotope.note}"
