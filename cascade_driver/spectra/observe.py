"""The one road from a recoil spectrum to what a detector sees of it.

A source (a request, which has a spectrum at any energy, or a spectrum from elsewhere, which ends where its bins
end) goes through the response of each recoiling element, then through the detector:

    recoils -> stored energy taken off -> resolution, threshold, efficiency -> observed, beside expected

Inputs of campaigns, `cascade spectrum --model`, `cascade correct` and Python all come this way.
"""

from __future__ import annotations

import dataclasses
import html
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from ase.formula import Formula
from numpy.typing import ArrayLike, NDArray

from cascade_driver.analysis.model import SpeciesModel, StoredEnergyModel
from cascade_driver.analysis.response import Response, observed_edges
from cascade_driver.binning import continued_edges, cut_edges
from cascade_driver.errors import InputError
from cascade_driver.histogram_file import SUFFIXES, Histogram, write_histograms
from cascade_driver.kinds import Array, Status
from cascade_driver.request import (
    AnySpectrumRequest,
    CaptureRequest,
    NeutrinoRequest,
    request_title,
)
from cascade_driver.schema import plain
from cascade_driver.sources.requested import (
    captures_of,
    is_as_requested,
    requested_spectrum,
    source_members_of,
)
from cascade_driver.spectra.correction import (
    borrowing_notes,
    correct,
    largest_borrowed_share,
    shortcut_error,
    species_of_elements,
)
from cascade_driver.spectra.detector import (
    DETECTOR_KEY,
    Detector,
    apply_detector,
    detection_matrix,
    read_detector,
    resolved_edges,
)
from cascade_driver.spectra.ensemble import (
    Ensemble,
    SpectrumBands,
    bands_of_file,
    correction_bands,
    remedies_of,
)
from cascade_driver.spectra.ensemble_content import ensemble_of
from cascade_driver.spectra.limits import tail_notes, width_notes
from cascade_driver.spectra.observed_capture import observed_capture_spectrum
from cascade_driver.spectrum import (
    UNRESOLVED,
    Observation,
    Spectrum,
    bins_within,
    check_edges,
    read_spectrum,
    rebin,
    write_spectrum,
)
from cascade_driver.table import data_frame
from cascade_driver.target import parse_target

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame

#: Only this share of the recoils stores more than what is taken as the most that is stored.
RARELY_STORED = 1e-4

#: So many standard deviations a resolution carries energies.
RESOLUTION_REACH = 5.0

#: Recoils of E + s(E) store more than those of E: looked for again so often, at shares of the energy below 3/4 to
#: better than 1e-6.
_STEPS_UP = 50

#: How far members of the bands are followed, in multiples of what the nominal model brings back.
_FURTHER = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)

#: A spectrum whose last bin has no more than this share of the highest rate has ended by itself.
ENDED = 1e-9

#: Where a detector has no threshold, what is looked at begins at this share of the range.
_TENTH = 0.1


@dataclass(frozen=True, kw_only=True)
class Observed:
    """A spectrum without and with the loss to stored energy, all else equal.

    Attributes
    ----------
    name : str
        Short, fit for a file name.
    title : str
        For people.
    expected : Spectrum
        As if no recoil stored energy.
    observed : Spectrum
        With the stored energy taken off; its bins may be others, see `observed_in_same_bins`.
    bands : SpectrumBands, optional
        Errors of `observed`, in the bins of `expected`.
    complete_eV : (float, float), optional
        Observed energies between which nothing is missing that recoils beyond the range would bring; none where
        something is missing everywhere.
    simulated_eV : (float, float), optional
        Observed energies to which, but for the resolution, recoils of simulated energies alone contribute; all
        if the model was not extrapolated.
    threshold_eV : float, optional
        Of the detector, if there is one.
    borrowed : mapping of str to str
        Species whose response stood for an element, by that element; '' is a spectrum not resolved by element.
    notes : tuple of str
        What a reader must know, a sentence each.
    """

    name: str
    title: str
    expected: Spectrum
    observed: Spectrum
    bands: SpectrumBands | None = None
    complete_eV: tuple[float, float] | None
    simulated_eV: tuple[float, float] | None = None
    threshold_eV: float | None = None
    borrowed: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Return one line: what of, by which model, where it is complete."""
        low, high = self.complete_eV or (math.nan, math.nan)
        about = self.observed.observation
        by = f"by {about.model} ({about.status})" if about else "by hand"
        return f"<Observed: {self.title}, {by}, complete from {low:.4g} to {high:.4g} eV, {len(self.notes)} notes>"

    def _repr_html_(self) -> str:
        """Return the same for a notebook, with the notes."""
        notes = "".join(f"<li>{html.escape(note)}</li>" for note in self.notes)
        return f"<p>{html.escape(repr(self)[1:-1])}</p><ul>{notes}</ul>"

    def write(self, path: Path | str) -> None:
        """Write what is observed, in the bins of `expected`, with its bands; see `write_spectrum`.

        As `.json`, `.h5` or `.root` it is `histograms`, which `write_histograms` writes.
        """
        if Path(path).suffix in SUFFIXES:
            write_histograms(self.histograms(), Path(path))
            return
        bands, said = (self.bands.limits(), self.bands.said) if self.bands else (None, "")
        write_spectrum(self.observed_in_same_bins, path, bands=bands, bands_said=said)

    def histograms(self) -> dict[str, Histogram]:
        """Return counts per kg and day in the bins of `expected`, by name.

        `expected` and `observed`, each also by element; of every component of the error, and of their `total`, the
        sides of its band, `lower_<name>` and `upper_<name>`; and `members_<name>`, the spectra that it is made of,
        a row each: they tell how bins rise and fall together.
        """
        made = {**self.expected.histograms("expected"), **self.observed_in_same_bins.histograms("observed")}
        if self.bands is None:
            return made
        width_keV = self.expected.bin_widths_keV
        axes = made["observed"].axes
        for name, sides in self.bands.limits().items():
            for side, rate in zip(("lower", "upper"), sides, strict=True):
                made[f"{side}_{name}"] = Histogram(values=rate * width_keV, axes=axes)
        for name, band in self.bands.components.items():
            if (members := band.members_per_kg_day_keV) is not None:
                rows = {"member": np.arange(len(members) + 1.0), **axes}
                made[f"members_{name}"] = Histogram(values=members * width_keV, axes=rows)
        about = {**made["observed"].about, "bands": self.bands.said}
        return made | {"observed": dataclasses.replace(made["observed"], about=about)}

    def to_pandas(self) -> DataFrame:
        """Return it as a `pandas.DataFrame`, a row per bin of `expected`: rates per kg, day and keV, ratio, band.

        Raises
        ------
        InputError
            If pandas is not installed.
        """
        edges = self.expected.energy_edges_eV
        columns = {
            "energy_low_eV": edges[:-1],
            "energy_high_eV": edges[1:],
            "expected": self.expected.total_rate_per_kg_day_keV,
            "observed": self.observed_in_same_bins.total_rate_per_kg_day_keV,
            "ratio": self.ratio,
            "is_complete": self.is_complete,
            "is_simulated": self.is_simulated,
        }
        if self.bands is not None:
            columns["observed_lower"] = self.bands.total.lower_per_kg_day_keV
            columns["observed_upper"] = self.bands.total.upper_per_kg_day_keV
        return data_frame(columns)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw rates without and with the loss, and the band, into these axes or into new ones; return them."""
        from cascade_driver.plot import draw_observed

        return draw_observed(self, ax)

    @property
    def observed_in_same_bins(self) -> Spectrum:
        """The observed spectrum in the bins of the expected one."""
        return rebin(self.observed, self.expected.energy_edges_eV)

    @property
    def ratio(self) -> Array:
        """(n,) observed to expected rate in the n bins of `expected`; nan where none is expected."""
        expected = self.expected.total_rate_per_kg_day_keV
        observed = self.observed_in_same_bins.total_rate_per_kg_day_keV
        return np.divide(observed, expected, out=np.full_like(expected, np.nan), where=expected > 0)

    @property
    def is_complete(self) -> NDArray[np.bool_]:
        """(n,) which bins of `expected` lie in `complete_eV`, see `bins_within`."""
        return bins_within(self.expected.energy_edges_eV, self.complete_eV or (math.inf, -math.inf))

    @property
    def is_simulated(self) -> NDArray[np.bool_]:
        """(n,) which bins of `expected` lie in `simulated_eV`; in the others something is extrapolated."""
        return bins_within(self.expected.energy_edges_eV, self.simulated_eV or (-math.inf, math.inf))

    @property
    def range_eV(self) -> tuple[float, float]:
        """Observed energies that matter: complete, and above the threshold or a tenth of the range."""
        edges = self.expected.energy_edges_eV
        low, high = self.complete_eV or (float(edges[0]), float(edges[-1]))
        return max(low, self.threshold_eV or _TENTH * high), high

    @property
    def told_eV(self) -> tuple[float, float] | None:
        """`range_eV`, or None where nothing can be told: it is empty, or nothing is complete."""
        low, high = self.range_eV
        return (low, high) if self.complete_eV is not None and low < high else None

    @property
    def status(self) -> Status:
        """That of the model."""
        return self.observed.observation.status if self.observed.observation else "qualitative"


def observe(
    source: AnySpectrumRequest | Spectrum,
    model: StoredEnergyModel,
    *,
    detector: Detector | None = None,
    edges_eV: ArrayLike | None = None,
    bands: bool = True,
    fallback_species: str | None = None,
    extrapolate: bool = False,
    other_crystal: bool = False,
    name: str = "",
    title: str = "",
) -> Observed:
    """Return what a detector sees of a source of recoils, beside what it would see if none stored energy.

    Recoils above the range come to lie in it by what they lose, and those on either side by the resolution: a
    request is made so much wider, as far as the model reaches, and cut back. A spectrum that carries its request
    and has the counts that the request makes is such a source, too; any other one ends where its bins end.

    Parameters
    ----------
    source : DarkMatterRequest, ReactorRequest, SolarRequest, MonoenergeticRequest, CaptureRequest or Spectrum
        A spectrum is one of recoil energy.
    model : StoredEnergyModel
        Its errors are those that it tells itself, see `ensemble_of`.
    detector : Detector, optional
    edges_eV, bands, fallback_species, extrapolate, other_crystal, name, title
        As of `cascade_driver.observe`.

    Raises
    ------
    InputError
        If the source is of another crystal, an element has no response, the simulated range is left, or the
        spectrum is one of observed energy.
    """
    law = dataclasses.replace(
        model,
        fallback_species=fallback_species or model.fallback_species,
        extrapolate=extrapolate or model.extrapolate,
        other_crystal=other_crystal or model.other_crystal,
    )
    request, notes = _request_of(source)
    used, said = _species_used(source, request, law)
    recoil, wanted, reach_eV = _recoils(source, request, law, used, detector=detector, edges_eV=edges_eV)
    complete, lacking = _completeness(recoil, wanted, reach_eV=reach_eV, detector=detector)
    counted = _with_counts(recoil)
    after, responses = _stored_energy_off(counted, request, law, used)
    whole = observed_edges(recoil.energy_edges_eV)
    bins = _bins(source, request, wanted)
    threshold = detector.threshold_eV if detector else None
    made = Observed(
        name=name or (request.kind if request else "spectrum"),
        title=title or (request_title(request) if request else "spectrum"),
        expected=rebin(_detected(recoil, detector), wanted),
        observed=rebin(_detected(rebin(after, whole), detector), _up_to(observed_edges(bins), float(wanted[-1]))),
        complete_eV=complete,
        simulated_eV=_simulated(law, used, counted),
        threshold_eV=threshold,
        borrowed={element: species for element, species in used.items() if element != species},
    )
    notes += (
        recoil.notes
        + said
        + lacking
        + (_below(made) if request is None else ())
        + after.notes
        + law.extrapolation_notes(
            dict.fromkeys(used.values()),
            minimum_eV=float(counted.energy_edges_eV[0]),
            maximum_eV=float(counted.energy_edges_eV[-1]),
        )
    )
    notes += _of_one_response(counted, responses, used, range_eV=made.range_eV)
    if complete is not None and not isinstance(request, CaptureRequest):  # captures come as lines, not in bins
        looked_at = (max(complete[0], threshold or 0.0), complete[1])
        notes += tail_notes(counted, after, responses, law.species, used, range_eV=looked_at)
        # bins of a file that were cut for the detector are as wide as before: their parts have one rate
        own = counted if request else _with_counts(rebin(recoil, bins))
        left = after if own is counted else rebin(after, observed_edges(own.energy_edges_eV))
        notes += width_notes(own, left, law, used, range_eV=looked_at)
    if bands:
        ensemble = ensemble_of(law)
        wider = _as_far_as_members_reach(recoil, request, law, ensemble, used, wanted=wanted, detector=detector)
        found = _bands(wider, ensemble, law, detector=detector, edges_eV=wanted)
        rate = made.observed_in_same_bins.total_rate_per_kg_day_keV
        remedies = remedies_of({species: law[species] for species in dict.fromkeys(used.values())})
        made = dataclasses.replace(made, bands=dataclasses.replace(found.centred_on(rate), remedies=remedies))
        notes += found.notes
    notes = tuple(n for n in dict.fromkeys((*notes, *law.notes)) if not _is_of_unused(n, law, used))
    observed = dataclasses.replace(
        made.observed,
        energy_kind="observed",
        source=recoil.source,
        observation=Observation(
            model=law.name,
            status=law.status,
            complete_eV=complete,
            simulated_eV=made.simulated_eV,
            threshold_eV=threshold,
            borrowed=dict(made.borrowed),
        ),
        notes=notes,
        metadata={**recoil.metadata, **({DETECTOR_KEY: repr(detector)} if detector else {})},
    )
    return dataclasses.replace(made, observed=observed, notes=notes)


def expect(request: AnySpectrumRequest, *, detector: Detector | None = None) -> Spectrum:
    """Return a requested spectrum as a detector sees it if no recoil stores energy.

    Raises
    ------
    InputError
        If it cannot be made.
    """
    wanted = request.edges_eV
    edges = _continued(wanted, request, detector, up_to_eV=float(wanted[-1]) + _resolved_eV(detector, wanted[-1]))
    return rebin(_detected(requested_spectrum(request, energy_edges_eV=edges), detector), wanted)


def observed_of_files(expected: Path, observed: Path, *, title: str = "") -> Observed:
    """Return two spectra on disk, one without and one with the loss, with the bands that the second one carries.

    Without a title it has that of its source, or the name of the second file.

    Raises
    ------
    InputError
        If one cannot be read, the ranges have nothing in common, the first is a corrected spectrum, or they say
        that they are of different targets, kinds of sources or detectors.
    """
    before, after = read_spectrum(expected), read_spectrum(observed)
    if before.observation is not None:
        raise InputError(
            f"{expected}: corrected for stored energy already; give the spectrum without it first: "
            "EXPECTED.csv OBSERVED.csv"
        )
    edges, other = before.energy_edges_eV, after.energy_edges_eV
    if not (edges[0] < other[-1] and other[0] < edges[-1]):
        raise InputError(f"{expected} and {observed} have no energy in common: they are not of one source")
    differs = _differing(before.source, after.source)
    said = f"{expected} and {observed} differ in {', '.join(differs)}"
    if {"kind", "target"} & set(differs):
        raise InputError(f"{said}: they are not of one source, give the spectrum that was corrected")
    _check_detector(before, after, names=(expected, observed))
    bands = bands_of_file(observed)
    if bands is not None and not np.array_equal(edges, other):
        # a band has no meaning in bins that are put together from others
        same = int(np.isin(other, edges).sum()) == len(edges)
        bands = bands.within(float(edges[0]), float(edges[-1])) if same else None
    about = after.observation
    return Observed(
        name=observed.stem,
        title=title or (request_title(after.source) if after.source else observed.stem),
        expected=before,
        observed=after,
        bands=bands,
        complete_eV=about.complete_eV if about else (float(edges[0]), float(edges[-1])),
        simulated_eV=about.simulated_eV if about else None,
        threshold_eV=about.threshold_eV if about else None,
        borrowed=about.borrowed if about else {},
        notes=(*after.notes, *([f"{said}: their ratio is not the loss alone"] if differs else [])),
    )


def _check_detector(before: Spectrum, after: Spectrum, *, names: tuple[Path, Path]) -> None:
    """Refuse a pair of which one went through another detector: the ratio would be the detector, not the loss."""
    first, second = _detector_of(before), _detector_of(after)
    if DETECTOR_KEY not in before.metadata and before.energy_kind == "recoil":
        first = Detector()  # what went through one is no recoil energy
    if first is None or second is None or first == second:
        return
    expected, observed = names
    raise InputError(
        f"{expected} is of {first.said}, {observed} of {second.said}: their ratio is not the loss alone; make "
        "the expected one with the same options of the detector, by `cascade spectrum`, or, of a spectrum of "
        "yours, by `cascade correct ... --expected EXPECTED.csv`"
    )


def _detector_of(spectrum: Spectrum) -> Detector | None:
    """Return the detector that a spectrum of ours went through; None if it is another program's that says none."""
    if DETECTOR_KEY in spectrum.metadata:
        return read_detector(spectrum.metadata[DETECTOR_KEY])
    return None if spectrum.source is None and spectrum.observation is None else Detector()


def _differing(one: AnySpectrumRequest | None, other: AnySpectrumRequest | None) -> list[str]:
    """Return in what two sources differ, but for their bins; nothing if one is not known."""
    if one is None or other is None:
        return []
    first, second = plain(one), plain(other)
    names = dict.fromkeys([*first, *second])
    return [n for n in names if n not in {"energy_eV", "bins", "logarithmic"} and first.get(n) != second.get(n)]


# -- whose crystal ---------------------------------------------------------------------------------------------


def check_crystal(
    crystal: Sequence[str], *, target: str | None, used: Mapping[str, str], other_crystal: bool = False
) -> tuple[str, ...]:
    """Return notes on whether a spectrum is of the crystal of a model; refused if not, unless by an explicit word.

    Parameters
    ----------
    crystal : sequence of str
        Formulas of the crystals of the model; empty if it does not know them.
    target : str, optional
        Formula of what the recoils happen in, if that is known.
    used : mapping of str to str
        Species whose response each element of the spectrum goes through.
    other_crystal : bool
        The explicit word.

    Raises
    ------
    InputError
        If the target or an element is not that of the crystal, or the model cannot tell and one species would
        stand for another element.
    """
    elements = [element for element in used if element != UNRESOLVED]
    lent = [element for element in elements if used[element] != element]
    remedy = "simulate it, or ask for it by --other-crystal (other_crystal = true)"
    if not crystal:
        if lent and not other_crystal:
            raise InputError(
                f"the model does not say of which crystal it is, and {', '.join(lent)} would borrow the response "
                f"of {', '.join(dict.fromkeys(used[e] for e in lent))}: fit its run again, or ask for it by "
                "--other-crystal (other_crystal = true)"
            )
        return ("the model does not say of which crystal it is: nothing tells whether the spectrum is of another",)
    compositions = [_composition(formula) for formula in crystal]
    formula = parse_target(target).formula if target else None
    foreign = [e for e in elements if not any(e in composition for composition in compositions)]
    if not foreign and (formula is None or _composition(formula) in compositions):
        return ()
    what = f"target {formula}" if formula else ", ".join(foreign)
    if not other_crystal:
        raise InputError(f"{what}: not of the crystal of the model, which is {' on '.join(crystal)}; {remedy}")
    return (f"{what} is corrected by the response of another crystal, {' on '.join(crystal)}, as was asked for",)


def _composition(formula: str) -> dict[str, int]:
    """Return the smallest whole numbers of atoms in a formula."""
    counts = Formula(formula).count()
    common = reduce(math.gcd, counts.values())
    return {element: number // common for element, number in counts.items()}


# -- where the recoils come from -------------------------------------------------------------------------------


def _request_of(source: AnySpectrumRequest | Spectrum) -> tuple[AnySpectrumRequest | None, tuple[str, ...]]:
    """Return what a source can be made by at any energy, if it can; and what there is to say."""
    if not isinstance(source, Spectrum):
        return source, ()
    if source.energy_kind != "recoil":
        raise InputError(
            "The spectrum is already in observed energy, expected recoil energy; "
            "a correction is applied once, take the spectrum from before it."
        )
    if source.source is None or is_as_requested(source):
        return source.source, source.notes
    changed = (
        "the counts are not those that the source in the header makes: they are taken as they stand, without the "
        "errors of the source"
    )
    return None, (*source.notes, changed)


def _species_used(
    source: AnySpectrumRequest | Spectrum, request: AnySpectrumRequest | None, law: StoredEnergyModel
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the species whose response each element goes through, having made sure that the crystal is right."""
    target = request.target if request else None
    elements = source.rate_per_kg_day_keV if isinstance(source, Spectrum) else parse_target(source.target).elements
    lender = law.response_fallback
    # the crystal first: of another one no response of an element would help
    said = check_crystal(
        law.crystal,
        target=target,
        used={e: e if e in law.species else lender or e for e in elements},
        other_crystal=law.other_crystal,
    )
    return species_of_elements(elements, list(law.species), lender), said


def _recoils(
    source: AnySpectrumRequest | Spectrum,
    request: AnySpectrumRequest | None,
    law: StoredEnergyModel,
    used: Mapping[str, str],
    *,
    detector: Detector | None,
    edges_eV: ArrayLike | None,
) -> tuple[Spectrum, Array, float]:
    """Return the recoils, also beyond the bins wanted if the source has them; those bins; how far losses reach."""
    if edges_eV is not None:
        wanted = check_edges(edges_eV, floor_eV=0.0)
    else:
        wanted = source.energy_edges_eV if isinstance(source, Spectrum) else source.edges_eV
    simulated = [law[species] for species in dict.fromkeys(used.values())]
    top = float(wanted[-1])
    reach_eV = max(_most_stored_eV(one, top) for one in simulated) + _resolved_eV(detector, top)
    if request is None:
        assert isinstance(source, Spectrum)
        edges = _resolved(_bins(source, request, wanted), detector)
        return dataclasses.replace(rebin(source, edges), source=None), wanted, reach_eV
    end = top + reach_eV
    if not law.extrapolate:
        end = min(end, *(one.maximum_recoil_energy_eV for one in simulated))
    edges = _continued(wanted, request, detector, up_to_eV=end)
    return requested_spectrum(request, energy_edges_eV=edges), wanted, reach_eV


def _bins(source: AnySpectrumRequest | Spectrum, request: AnySpectrumRequest | None, wanted: Array) -> Array:
    """Return the bins in which a source counts: those wanted, or of a spectrum its own, cut where those begin."""
    if request is None and isinstance(source, Spectrum):
        return cut_edges(source.energy_edges_eV, wanted)
    return wanted


def _as_far_as_members_reach(
    recoil: Spectrum,
    request: AnySpectrumRequest | None,
    law: StoredEnergyModel,
    ensemble: Ensemble,
    used: Mapping[str, str],
    *,
    wanted: Array,
    detector: Detector | None,
) -> Spectrum:
    """Return the recoils up to where no member of the bands brings any back that the nominal model does not.

    Members that store more beyond what was simulated would lack recoils, and their band would be a matter of where
    the spectrum ends.
    """
    top, end = float(wanted[-1]), float(recoil.energy_edges_eV[-1])
    if request is None or not law.extrapolate or end <= top:
        return recoil
    width = float(wanted[-1] - wanted[-2])
    further = [top + factor * (end - top) for factor in _FURTHER]
    back = ((at, _brought_back(ensemble, used, top_eV=top, from_eV=at, width_eV=width)) for at in further)
    far = next((at for at, share in back if share < RARELY_STORED), further[-1])
    if far <= end:
        return recoil
    return requested_spectrum(
        request, energy_edges_eV=_continued(wanted, request, detector, up_to_eV=far + _resolved_eV(detector, top))
    )


def _brought_back(
    ensemble: Ensemble, used: Mapping[str, str], *, top_eV: float, from_eV: float, width_eV: float
) -> float:
    """Return the largest share of recoils of one energy that a member of the bands brings below another."""
    edges = np.array([from_eV - width_eV, from_eV])
    below = observed_edges(edges)[1:] <= top_eV
    alternatives = (ensemble.shapes, ensemble.potentials, ensemble.protocols)
    groups = [ensemble.nominal, ensemble.statistics, *(one for each in alternatives for one in each.values())]
    return max(
        float(group[species].fold([1.0], recoil_edges_eV=edges)[:, below].sum(axis=1).max())
        for group in groups
        for species in set(used.values())
        if species in group
    )


def _continued(wanted: Array, request: AnySpectrumRequest, detector: Detector | None, *, up_to_eV: float) -> Array:
    """Return bins that go on to an energy above, and below as far as the resolution carries."""
    low = float(wanted[0])
    if isinstance(request, NeutrinoRequest) and request.magnetic_moment_bohr > 0:
        down_to_eV = low  # its rate grows without end towards 0
    else:
        down_to_eV = max(low - _resolved_eV(detector, low), 0.0)
    top, width = float(wanted[-1]), float(wanted[-1] - wanted[-2])
    # What the resolution brings back comes from bins of one width, however far the others go on.
    near = min(up_to_eV, top + _resolved_eV(detector, top))
    seen = np.linspace(top, near, round(RESOLUTION_REACH) + 1)[1:] if near > top * (1 + 1e-9) else np.zeros(0)
    beyond = continued_edges([near - width, near], up_to_eV=up_to_eV)[2:]
    below = continued_edges(wanted, up_to_eV=top, down_to_eV=down_to_eV)
    return _resolved(np.concatenate([below, seen, beyond]), detector)


def _resolved(edges_eV: Array, detector: Detector | None) -> Array:
    return edges_eV if detector is None else resolved_edges(detector, edges_eV)


def _up_to(edges_eV: Array, top_eV: float) -> Array:
    return edges_eV[edges_eV <= top_eV * (1 + 1e-12)]


def _with_counts(recoil: Spectrum) -> Spectrum:
    """Return a spectrum without its last bins in which nothing is: no response is needed there."""
    filled = np.flatnonzero(recoil.total_rate_per_kg_day_keV)
    last = int(filled[-1]) if len(filled) else 0
    return rebin(recoil, recoil.energy_edges_eV[: last + 2])


def _completeness(
    recoil: Spectrum, wanted: Array, *, reach_eV: float, detector: Detector | None
) -> tuple[tuple[float, float] | None, tuple[str, ...]]:
    """Return between which observed energies no recoil beyond the bins is missing."""
    rate, edges = np.abs(recoil.total_rate_per_kg_day_keV), recoil.energy_edges_eV
    bottom, top, end = float(edges[0]), float(wanted[-1]), float(edges[-1])
    low, high = float(wanted[0]), min(top, end)
    if bottom > 0:
        low = max(low, bottom + _resolved_eV(detector, bottom))
    notes: tuple[str, ...] = ()
    if rate[-1] > ENDED * rate.max(initial=0.0) and end < (top + reach_eV) * (1 - 1e-9):
        high = min(high, end - reach_eV)
        notes = (
            f"complete below {max(high, 0.0):.4g} eV alone: above it recoils of more than {end:.4g} eV are missing"
            + ("; are the energies of the spectrum keV?" if top <= reach_eV else ""),
        )
    return ((low, high) if low < high else None), notes


def _below(made: Observed) -> tuple[str, ...]:
    """Return how much comes to lie below the first bin of a spectrum that ends where its bins end."""
    low, edges = float(made.expected.energy_edges_eV[0]), made.observed.energy_edges_eV
    counts = made.observed.total_rate_per_kg_day_keV * made.observed.bin_widths_keV
    below, whole = float(counts[edges[1:] <= low * (1 + 1e-9)].sum()), float(counts.sum())
    if below <= ENDED * whole:
        return ()
    return (
        f"{below:.4g} of {whole:.4g} counts per kg and day come to lie below {low:g} eV, where the first bin "
        "begins, and are in no bin: give a spectrum that begins lower to see them",
    )


def _most_stored_eV(model: SpeciesModel, recoil_energy_eV: float) -> float:
    """Return the stored energy that hardly any of the recoils exceeds that come to lie below an energy."""
    most = 0.0
    for _ in range(_STEPS_UP):
        above = float(model.distribution.quantile(1 - RARELY_STORED, recoil_energy_eV + most).item())
        if above <= most * (1 + 1e-6):
            break
        most = above
    return most


def _resolved_eV(detector: Detector | None, energy_eV: float) -> float:
    """Return how far a resolution carries energies."""
    return RESOLUTION_REACH * float(detector.sigma_eV(energy_eV)) if detector else 0.0


# -- through the response and the detector ---------------------------------------------------------------------


def _stored_energy_off(
    recoil: Spectrum, request: AnySpectrumRequest | None, law: StoredEnergyModel, used: Mapping[str, str]
) -> tuple[Spectrum, dict[str, Response]]:
    """Return what remains of the recoils, and the response of each species."""
    responses = {
        species: law.response(species, recoil.energy_edges_eV) for species in dict.fromkeys(used.values())
    }
    if isinstance(request, CaptureRequest):
        return _observed_captures(request, law, recoil.energy_edges_eV), responses
    after = correct(recoil, responses, fallback_species=law.response_fallback)
    return dataclasses.replace(after, notes=borrowing_notes(used)), responses


def _simulated(law: StoredEnergyModel, used: Mapping[str, str], recoil: Spectrum) -> tuple[float, float] | None:
    """Return the observed energies to which recoils of simulated energies alone contribute; None if all do.

    Recoils of the highest simulated energy are seen above it less what hardly any of them exceeds in loss: from
    there on what lies higher begins to contribute.
    """
    low, high = 0.0, math.inf
    bottom_eV, top_eV = (float(recoil.energy_edges_eV[i]) for i in (0, -1))
    for species in dict.fromkeys(used.values()):
        one = law[species]
        is_below, is_above = one.leaves(minimum_eV=bottom_eV, maximum_eV=top_eV)
        if is_below:
            low = max(low, one.minimum_recoil_energy_eV)
        if is_above:
            top = one.maximum_recoil_energy_eV
            high = min(high, top - float(one.distribution.quantile(1 - RARELY_STORED, top).item()))
    if low == 0 and high == math.inf:
        return None
    end = min(high, top_eV)
    return low, max(low, end)


def _is_of_unused(note: str, law: StoredEnergyModel, used: Mapping[str, str]) -> bool:
    """Return whether a note is on species alone of which no response is used.

    Notes of a model say of which they are: `Ca: ...`, `cawo4: few cascades: of Ca store energy ...` or
    `... knows nothing of Ca, O, whose error ...`.
    """
    one = "|".join(map(re.escape, law.species))
    rows = re.findall(rf"(?:^|: |\bof )((?:{one})(?:, (?:{one}))*)(?=: | store |, whose )", note)
    told = {species for row in rows for species in row.split(", ")}
    return bool(told) and told.isdisjoint(used.values())


def _observed_captures(request: CaptureRequest, law: StoredEnergyModel, recoil_edges_eV: Array) -> Spectrum:
    """Return what remains after neutron capture: a nucleus that recoils twice stores energy twice."""
    return observed_capture_spectrum(
        law,
        captures_of(request),
        energy_edges_eV=observed_edges(recoil_edges_eV),
        fallback_species=law.response_fallback,
        extrapolate=law.extrapolate,
    )


def _detected(spectrum: Spectrum, detector: Detector | None) -> Spectrum:
    return spectrum if detector is None else apply_detector(spectrum, detector)


def _bands(
    recoil: Spectrum,
    ensemble: Ensemble,
    law: StoredEnergyModel,
    *,
    detector: Detector | None,
    edges_eV: Array,
) -> SpectrumBands:
    """Return the error bands after the detector, if there is one."""
    before = observed_edges(recoil.energy_edges_eV)
    matrix = None
    if detector is not None:
        matrix = detection_matrix(detector, energy_edges_eV=before, reconstructed_edges_eV=before)
    return correction_bands(
        recoil,
        ensemble,
        fallback_species=law.response_fallback,
        detector_matrix=matrix,
        energy_edges_eV=edges_eV,
        source_counts=source_members_of(recoil),
    )


def _of_one_response(
    recoil: Spectrum,
    responses: Mapping[str, Response],
    used: Mapping[str, str],
    *,
    range_eV: tuple[float, float],
) -> tuple[str, ...]:
    """Return in words what one response for all elements costs, or at most may cost."""
    low, high = range_eV
    if not low < high or len(used) < 2 or not recoil.total_counts_per_kg_day > 0:
        return ()
    missing = [element for element, species in used.items() if element != species]
    if missing:
        known = [element for element in used if element not in missing]
        share = largest_borrowed_share(recoil, known, low_eV=low, high_eV=high)
        return (
            f"recoils of {', '.join(missing)}, not simulated, are up to {share:.1%} of a bin between {low:.4g} "
            f"and {high:.4g} eV",
        )
    counts = recoil.counts_per_kg_day
    largest = max(used, key=lambda e: float(counts[e].sum()))
    try:
        error = shortcut_error(recoil, responses, species=largest, low_eV=low, high_eV=high)
    except InputError:
        return ()  # no rate in the range
    return (f"{error}, between {low:.4g} and {high:.4g} eV",)
