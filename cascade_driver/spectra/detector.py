"""What a detector makes of an observed energy: resolution, threshold, efficiency."""

from __future__ import annotations

import ast
import dataclasses
import itertools
import math
from dataclasses import replace

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from cascade_driver.binning import cut_edges
from cascade_driver.errors import InputError
from cascade_driver.schema import parameters
from cascade_driver.spectrum import Spectrum, check_edges, overlap_counts

#: Under this name the metadata of a spectrum have the detector that it went through, as `read_detector` reads it.
DETECTOR_KEY = "detector"

#: Into so many parts a bin is cut where the resolution varies with the energy.
_PARTS = 8

#: Bins are not cut for the resolution into parts below this share of the range, nor for the efficiency where it
#: changes by less than this: what is recorded is then off by 0.3 % at most, where whole bins of 20 eV are off by
#: up to 10 %.
_PARTS_IN_ALL, _EFFICIENCY_STEP = 128, 0.05


@parameters
class Detector:
    r"""A Gaussian resolution, a sharp threshold on the reconstructed energy, an efficiency: section `[detector]`.

    .. math:: \sigma^2(E) = \sigma_0^2 + b^2 E + c^2 E^2

    The default is the neutral detector, which changes nothing.

    Attributes
    ----------
    resolution_eV : float
        sigma_0: noise of the baseline, standard deviation.
    resolution_stochastic_sqrt_eV : float
        b, in eV^(1/2): statistics of the carriers.
    resolution_linear : float
        c: inhomogeneity of the response.
    threshold_eV : float, optional
        Reconstructed energies below it are not recorded; by default all are.
    efficiency : float
        Share of the events that survive triggers and cuts.
    efficiency_points : tuple of (float, float)
        Further factor as a function of reconstructed energy: (energy in eV, share) in increasing energy,
        linear in between, constant outside.

    Raises
    ------
    InputError
        If one of them is not possible.
    """

    resolution_eV: float = 0.0
    resolution_stochastic_sqrt_eV: float = 0.0
    resolution_linear: float = 0.0
    threshold_eV: float | None = None
    efficiency: float = 1.0
    efficiency_points: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        for name in ("resolution_eV", "resolution_stochastic_sqrt_eV", "resolution_linear"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise InputError(f"{name} of a detector is {value}, expected a finite number of at least 0.")
        for share in (self.efficiency, *(share for _, share in self.efficiency_points)):
            if not 0.0 <= share <= 1.0:
                raise InputError(f"An efficiency of a detector is {share}, expected a share between 0 and 1.")
        energies = [energy for energy, _ in self.efficiency_points]
        if any(not low < high for low, high in itertools.pairwise(energies)):
            raise InputError(
                f"efficiency_points of a detector have energies {energies}, expected increasing ones in eV."
            )

    def sigma_eV(self, energy_eV: ArrayLike) -> NDArray[np.float64]:
        """Return the standard deviation at each energy, the shape of the energies."""
        energy = np.maximum(np.asarray(energy_eV, dtype=np.float64), 0.0)
        return np.sqrt(
            self.resolution_eV**2
            + self.resolution_stochastic_sqrt_eV**2 * energy
            + (self.resolution_linear * energy) ** 2
        )

    @property
    def floor_eV(self) -> float:
        """The threshold; -inf where there is none."""
        return -math.inf if self.threshold_eV is None else self.threshold_eV

    @property
    def has_constant_resolution(self) -> bool:
        """Whether the resolution is the same at all energies."""
        return self.resolution_stochastic_sqrt_eV == 0.0 and self.resolution_linear == 0.0

    @property
    def said(self) -> str:
        """What it is, in words: all that is not as in the neutral detector.

        >>> Detector(resolution_eV=3.0, efficiency=0.5).said
        'a detector (resolution_eV 3, efficiency 0.5)'
        """
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        neutral = Detector()
        told = [
            f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
            for name, value in values.items()
            if value != getattr(neutral, name)
        ]
        return f"a detector ({', '.join(told)})" if told else "no detector"


def read_detector(text: str) -> Detector | None:
    """Return the detector that the metadata of a spectrum name, None if they are of another program.

    >>> read_detector(repr(Detector(threshold_eV=20.0))) == Detector(threshold_eV=20.0)
    True
    """
    try:
        call = ast.parse(text, mode="eval").body
        if not isinstance(call, ast.Call) or ast.unparse(call.func) != Detector.__name__:
            return None
        return Detector(**{str(one.arg): ast.literal_eval(one.value) for one in call.keywords})
    except (SyntaxError, ValueError, TypeError):
        return None


def smearing_matrix(
    detector: Detector, *, energy_edges_eV: ArrayLike, reconstructed_edges_eV: ArrayLike
) -> NDArray[np.float64]:
    r"""Return the probability that an event of each bin is reconstructed in each bin, (m, n).

    .. math:: M_{ji} = \bar\Phi_i(e_{j+1}) - \bar\Phi_i(e_j), \qquad
        \bar\Phi_i(e) = \frac{1}{b - a} \int_a^b \Phi\!\left(\frac{e - E}{\sigma}\right) dE

    with Phi the normal distribution function and [a, b] bin i, in which events are uniform. The integral is
    closed; where sigma varies it is taken in parts, each with the sigma of its middle. Being differences of a
    cumulative distribution, columns sum to 1 less what falls out of the range. The threshold cuts, also
    within a bin.

    Parameters
    ----------
    detector : Detector
        Its resolution and threshold.
    energy_edges_eV : (n + 1,) array_like
        Bins before the resolution.
    reconstructed_edges_eV : (m + 1,) array_like
        Bins after it.

    Raises
    ------
    InputError
        If the edges are not bin edges.
    """
    edges = check_edges(energy_edges_eV)
    levels = np.maximum(check_edges(reconstructed_edges_eV, name="reconstructed_edges_eV"), detector.floor_eV)
    return np.maximum(np.diff(_mean_cumulative(levels, edges, detector), axis=0), 0.0)


def detection_matrix(
    detector: Detector, *, energy_edges_eV: ArrayLike, reconstructed_edges_eV: ArrayLike
) -> NDArray[np.float64]:
    """Return the probability that an event of each bin is recorded in each bin, (m, n), with the efficiency.

    Raises
    ------
    InputError
        As `smearing_matrix`.
    """
    matrix = smearing_matrix(
        detector, energy_edges_eV=energy_edges_eV, reconstructed_edges_eV=reconstructed_edges_eV
    )
    return _mean_efficiency(detector, np.asarray(reconstructed_edges_eV, dtype=np.float64))[:, None] * matrix


def resolved_edges(detector: Detector, energy_edges_eV: ArrayLike) -> NDArray[np.float64]:
    """Return bins cut to where a detector does the same to all events of one.

    What is recorded of a bin hangs on where in it the events are if the threshold or the slope of the efficiency
    lies in it, or the resolution carries events over its edges. So bins are cut at the threshold, where the
    efficiency has changed by `_EFFICIENCY_STEP`, and into parts no wider than the resolution, unless that would
    be finer than 1/`_PARTS_IN_ALL` of the range.

    Parameters
    ----------
    detector : Detector
    energy_edges_eV : (n + 1,) array_like

    Examples
    --------
    >>> resolved_edges(Detector(threshold_eV=25.0), [10.0, 20.0, 40.0])
    array([10., 20., 25., 40.])
    """
    edges = np.asarray(energy_edges_eV, dtype=np.float64)
    sigma = detector.sigma_eV(0.5 * (edges[1:] + edges[:-1]))
    finest = np.maximum(sigma, (edges[-1] - edges[0]) / _PARTS_IN_ALL)
    parts = np.where(sigma > 0, np.ceil(np.diff(edges) / finest - 1e-9), 1.0).astype(int)
    points = detector.efficiency_points
    steps = [1 + math.ceil(abs(q - p) / _EFFICIENCY_STEP) for (_, p), (_, q) in itertools.pairwise(points)]
    cuts = [
        np.array([] if detector.threshold_eV is None else [detector.threshold_eV]),
        *(np.linspace(a, b, n) for (a, b), n in zip(itertools.pairwise(edges), parts + 1, strict=True)),
        *(np.linspace(a, b, n) for ((a, _), (b, _)), n in zip(itertools.pairwise(points), steps, strict=True)),
    ]
    return cut_edges(edges, np.concatenate(cuts))


def _mean_cumulative(
    levels_eV: NDArray[np.float64], edges_eV: NDArray[np.float64], detector: Detector
) -> NDArray[np.float64]:
    """Return the share of each bin's events that are reconstructed below each level, (levels, bins)."""
    parts = 1 if detector.has_constant_resolution else _PARTS
    width = np.diff(edges_eV) / parts
    mean = np.zeros((len(levels_eV), len(width)))
    for part in range(parts):
        low = edges_eV[:-1] + part * width
        distance = levels_eV[:, None] - low
        mean += np.clip(distance / width, 0.0, 1.0) / parts
        sigma = detector.sigma_eV(low + 0.5 * width)
        if np.all(sigma == 0):
            continue
        safe = np.where(sigma > 0, sigma, 1.0)
        # The integral of Phi is t Phi(t) + phi(t). Less max(t, 0), which gives the sharp share above, it is
        # bounded, so that nothing is lost far from the level or in bins much narrower than sigma.
        excess = _smoothed_ramp(distance / safe) - _smoothed_ramp((distance - width) / safe)
        mean += sigma / width * excess / parts
    return mean


def _smoothed_ramp(t: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the integral of Phi up to t, less max(t, 0)."""
    magnitude = np.minimum(np.abs(t), 40.0)  # Beyond it is 0 in double precision, and the square overflows.
    ramp = np.exp(-0.5 * magnitude**2) / math.sqrt(2.0 * math.pi) - magnitude * scipy.special.ndtr(-magnitude)
    return np.asarray(ramp, dtype=np.float64)


def apply_detector(
    spectrum: Spectrum, detector: Detector, *, reconstructed_edges_eV: ArrayLike | None = None
) -> Spectrum:
    """Return what a detector records of a spectrum.

    Counts are conserved, apart from the threshold, the efficiency, and what the resolution carries out of the
    bins: the metadata `counts_out_of_range_per_kg_day` says how many those last are. What lies outside the
    bins of the spectrum cannot be carried in: give a spectrum wider than the bins wanted. Energies
    that are written down in steps want bins with the steps in their middle: others would beat with them.

    Parameters
    ----------
    spectrum : Spectrum
        In observed energy; one in recoil energy is taken as observed, as if no energy were stored.
    detector : Detector
        Resolution, threshold, efficiency.
    reconstructed_edges_eV : (m + 1,) array_like, optional
        Bins of the result, which may begin below 0; by default those of the spectrum.

    Raises
    ------
    InputError
        If the edges are not bin edges.
    """
    before = spectrum.energy_edges_eV
    edges = (
        before
        if reconstructed_edges_eV is None
        else check_edges(reconstructed_edges_eV, name="reconstructed_edges_eV")
    )
    if detector == Detector() and np.array_equal(edges, before):
        return replace(spectrum, energy_kind="observed")
    matrix = smearing_matrix(detector, energy_edges_eV=before, reconstructed_edges_eV=edges)
    everything = _share_above_threshold(detector, before)
    share = _mean_efficiency(detector, edges)
    recorded: dict[str, NDArray[np.float64]] = {}
    lost = 0.0
    for element, counts in spectrum.counts_per_kg_day.items():
        smeared = matrix @ counts
        lost += float(everything @ counts) - float(np.sum(smeared))
        recorded[element] = share * smeared
    metadata = dict(spectrum.metadata)
    metadata[DETECTOR_KEY] = repr(detector)
    metadata["counts_out_of_range_per_kg_day"] = f"{max(lost, 0.0):.6g}"
    return Spectrum.from_counts(
        energy_edges_eV=edges,
        counts_per_kg_day=recorded,
        energy_kind="observed",
        source=spectrum.source,
        notes=spectrum.notes,
        metadata=metadata,
    )


def _share_above_threshold(detector: Detector, edges_eV: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the share of each bin's events reconstructed above the threshold, in or out of range."""
    if detector.threshold_eV is None:
        return np.ones(len(edges_eV) - 1)
    below = _mean_cumulative(np.array([detector.threshold_eV]), edges_eV, detector)
    return np.asarray(1.0 - below[0], dtype=np.float64)


def _mean_efficiency(detector: Detector, edges_eV: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean efficiency over the part of each bin that lies above the threshold, (m,)."""
    if not detector.efficiency_points:
        return np.full(len(edges_eV) - 1, detector.efficiency)
    table = np.array(detector.efficiency_points)
    levels = np.maximum(edges_eV, detector.floor_eV)
    width = np.diff(levels)
    full = width > 0
    if not np.any(full):
        return np.zeros(len(width))
    # Between neighbouring cuts the curve is linear, and its mean is that of the ends.
    cuts = np.unique(np.concatenate([levels, table[:, 0]]))
    mean = 0.5 * (np.interp(cuts[1:], *table.T) + np.interp(cuts[:-1], *table.T))
    integral = np.zeros(len(width))
    integral[full] = overlap_counts(mean, cuts, np.unique(levels))
    return detector.efficiency * np.divide(integral, width, out=np.zeros(len(width)), where=full)


def sampled_counts(
    spectrum: Spectrum, *, exposure_kg_day: float, rng: np.random.Generator | None = None
) -> NDArray[np.float64]:
    """Return the counts of an exposure in each bin, (n,): expected ones, or drawn from Poisson's law.

    Parameters
    ----------
    spectrum : Spectrum
        All its elements together: a detector does not tell them apart.
    exposure_kg_day : float
        Mass times time.
    rng : numpy.random.Generator, optional
        Draws them; without it the expected counts are returned (the Asimov data set).

    Raises
    ------
    InputError
        If the exposure is not positive.
    """
    if not (math.isfinite(exposure_kg_day) and exposure_kg_day > 0):
        raise InputError(f"exposure is {exposure_kg_day:g} kg day, expected more than 0")
    expected = exposure_kg_day * spectrum.total_rate_per_kg_day_keV * spectrum.bin_widths_keV
    return np.asarray(expected if rng is None else rng.poisson(expected), dtype=np.float64)
