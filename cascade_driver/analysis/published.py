"""Stored-energy models by name, for those who have no campaign of their own: ours, and one of printed values."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cascade_driver.analysis.defect_probability import FermiProbability
from cascade_driver.analysis.distribution import StoredEnergyDistribution, truncated_mean_eV
from cascade_driver.analysis.model import SpeciesModel, StoredEnergyModel
from cascade_driver.analysis.uncertainty import ParameterReplicas
from cascade_driver.errors import InputError
from cascade_driver.files import data_folder
from cascade_driver.kinds import Array
from cascade_driver.schema import parameters
from cascade_driver.text import closest

#: Name by which the model of this project's own cascades in CaWO4 is asked for.
CAWO4 = "cawo4"

#: The potential of these cascades.
CAWO4_POTENTIAL = "cawo4-pbe-spline"

#: Name by which the model of printed values for CaWO4 is asked for.
CAWO4_PUBLISHED = "cawo4-published"

#: Names of models that come with the package; a file or a run of such a name is asked for by path, as in ./cawo4.
NAMED_MODELS: tuple[str, ...] = (CAWO4, CAWO4_PUBLISHED)

#: Those of printed values, which have assumptions.
PUBLISHED_MODELS: tuple[str, ...] = (CAWO4_PUBLISHED,)

#: Recoil energy of tungsten and mean of the non-zero stored energies, both in eV (Soum-Sidikov et al. 2024, Fig. 2
#: and text). The values are printed without errors.
CAWO4_PRINTED_MEANS_eV: tuple[tuple[float, float], ...] = ((81.0, 7.5), (112.0, 8.9), (160.0, 11.0))

#: Lowest and highest recoil energy that were simulated for them.
CAWO4_SIMULATED_RANGE_eV = (20.0, 160.0)

#: Its polynomials are in recoil energies from here, in units of this.
_REFERENCE_ENERGY_eV = CAWO4_PRINTED_MEANS_eV[1][0]
_ENERGY_SCALE_eV = CAWO4_PRINTED_MEANS_eV[2][0] - CAWO4_PRINTED_MEANS_eV[0][0]

#: Standard deviation of the logarithm of each assumed number, where nothing else is said.
ASSUMPTION_ERROR = 0.3

#: Drawn widths at 81 and 160 eV go no further: beyond, the truncated law becomes flat and its mean cannot be held.
_WIDEST_eV = (6.0, 9.0)

_CITATION = (
    "G. Soum-Sidikov et al., Calculation of crystal defects induced in CaWO4 by 100 eV displacement cascades "
    "using a linear Machine Learning interatomic potential (2024)"
)


@parameters
class CaWO4Assumptions:
    """What the paper on CaWO4 does not print: chosen here, to be varied by the user.

    None of these numbers is the paper's. It says that the defect probability rises smoothly from 0 to 1 between 20
    and 160 eV, shows distributions some eV wide, and finds the spectra of 2 GeV dark matter and reactor neutrinos
    distorted by -10 to +10 % above 20 eV: the highest ratio is 1.10 for a width of 11 eV, almost whatever the half
    energy (1.14 for 8 eV, 1.06 for 15 eV), which is why that is the default.

    Attributes
    ----------
    half_energy_eV : float
        Recoil energy at which every second recoil leaves a defect.
    width_eV : float
        Of the Fermi function.
    sigma_81_eV : float
        Width of the (untruncated) Gaussian of the stored energy at 81 eV; exponential between this and the next.
    sigma_160_eV : float
        The same at 160 eV.

    Raises
    ------
    InputError
        If one of them is not positive and finite.
    """

    half_energy_eV: float = 45.0
    width_eV: float = 11.0
    sigma_81_eV: float = 2.5
    sigma_160_eV: float = 3.5

    def __post_init__(self) -> None:
        for name in ("half_energy_eV", "width_eV", "sigma_81_eV", "sigma_160_eV"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0):
                raise InputError(f"{name} of {CAWO4_PUBLISHED} is {value:g}, expected a positive energy in eV")


def cawo4_published(assumptions: CaWO4Assumptions | None = None) -> StoredEnergyModel:
    r"""Return the stored-energy model of tungsten recoils in CaWO4 that has the printed means.

    The locations :math:`m_i` of the Gaussian are such that the *mean* of the distribution truncated to
    :math:`[0, E_i]`, which is what was printed, comes out:

    .. math:: \langle E_s \rangle(E_i; m_i, \sigma(E_i)) = 7.5,\ 8.9,\ 11.0\ \mathrm{eV}
        \quad\text{at}\quad E_i = 81,\ 112,\ 160\ \mathrm{eV}

    and the parabola through them is the location in between and down to 20 eV. The defect probability and the
    widths are assumptions.

    Parameters
    ----------
    assumptions : CaWO4Assumptions, optional
        In place of the default ones.

    Raises
    ------
    InputError
        If with so large a width no distribution on [0, E] has the printed mean.

    Examples
    --------
    >>> model = cawo4_published()
    >>> [round(float(model["W"].distribution.mean_eV(E)), 6) for E in (81.0, 112.0, 160.0)]
    [7.5, 8.9, 11.0]
    """
    chosen = assumptions or CaWO4Assumptions()
    location_eV, log_sigma = _printed_laws(np.array([[chosen.sigma_81_eV, chosen.sigma_160_eV]]))
    tungsten = SpeciesModel(
        defect_probability=FermiProbability(half_energy_eV=chosen.half_energy_eV, width_eV=chosen.width_eV),
        distribution=StoredEnergyDistribution(
            shape="gaussian",
            reference_energy_eV=_REFERENCE_ENERGY_eV,
            energy_scale_eV=_ENERGY_SCALE_eV,
            lowest_energy_eV=CAWO4_SIMULATED_RANGE_eV[0],
            location_eV=tuple(map(float, location_eV[0])),
            log_sigma=tuple(map(float, log_sigma[0])),
        ),
        minimum_recoil_energy_eV=CAWO4_SIMULATED_RANGE_eV[0],
        maximum_recoil_energy_eV=CAWO4_SIMULATED_RANGE_eV[1],
    )
    return StoredEnergyModel(
        species={"W": tungsten},
        status="qualitative",
        provenance={"model": CAWO4_PUBLISHED, "source": _CITATION},
        crystal=("CaWO4",),
        notes=(
            f"{CAWO4_PUBLISHED}: mean stored energies of 7.5, 8.9 and 11.0 eV at 81, 112 and 160 eV are printed "
            "values (Soum-Sidikov et al. 2024), without errors",
            f"{CAWO4_PUBLISHED}: ASSUMED, not from the paper, are the defect probability (half at "
            f"{chosen.half_energy_eV:g} eV, width {chosen.width_eV:g} eV) and the widths of the stored energy "
            f"({chosen.sigma_81_eV:g} eV at 81 eV, {chosen.sigma_160_eV:g} eV at 160 eV)",
            f"{CAWO4_PUBLISHED}: below 81 eV the mean stored energy is extrapolated",
            f"{CAWO4_PUBLISHED}: only tungsten recoils are known",
        ),
    )


def assumption_replicas(
    assumptions: CaWO4Assumptions | None = None,
    *,
    relative_error: float = ASSUMPTION_ERROR,
    n_replicas: int = 200,
    rng: np.random.Generator,
) -> ParameterReplicas:
    """Return tungsten of `cawo4_published` with every assumed number drawn anew; the printed means stay.

    Parameters
    ----------
    assumptions : CaWO4Assumptions, optional
        The medians.
    relative_error : float
        Standard deviation of the logarithm of each of the four numbers, drawn independently: itself an assumption.
    n_replicas : int
    rng : numpy.random.Generator

    Raises
    ------
    InputError
        If the error is not positive and finite, or a draw has no distribution with the printed means.
    """
    if not 0 < relative_error < 1:
        raise InputError(
            f"relative error of what {CAWO4_PUBLISHED} assumes is {relative_error:g}, expected above 0 and below 1"
        )
    chosen = assumptions or CaWO4Assumptions()
    names = ("half_energy_eV", "width_eV", "sigma_81_eV", "sigma_160_eV")
    middle = np.array([getattr(chosen, name) for name in names])
    drawn = middle * np.exp(relative_error * rng.normal(size=(n_replicas, len(names))))
    # wider than the printed mean itself no truncated Gaussian can be; the draw keeps clear of that
    drawn[:, 2:] = np.minimum(drawn[:, 2:], np.maximum(_WIDEST_eV, middle[2:]))
    location_eV, log_sigma = _printed_laws(drawn[:, 2:])
    return ParameterReplicas(
        shape="gaussian",
        reference_energy_eV=_REFERENCE_ENERGY_eV,
        energy_scale_eV=_ENERGY_SCALE_eV,
        lowest_energy_eV=CAWO4_SIMULATED_RANGE_eV[0],
        half_energy_eV=drawn[:, 0],
        width_eV=drawn[:, 1],
        maximum=np.ones(n_replicas),
        location_eV=location_eV,
        log_sigma=log_sigma,
        asymmetry=np.empty((n_replicas, 0)),
    )


def _printed_laws(sigma_eV: Array) -> tuple[Array, Array]:
    """Return the parabolas of location (n, 3) and the lines of log width (n, 2) that have the printed means.

    Of widths at 81 and 160 eV, shape (n, 2).
    """
    from scipy.optimize.elementwise import find_root  # takes longer than all that models rest on

    energy_eV, mean_eV = np.array(CAWO4_PRINTED_MEANS_eV).T
    u = (energy_eV - _REFERENCE_ENERGY_eV) / _ENERGY_SCALE_eV
    slope = np.log(sigma_eV[:, 1] / sigma_eV[:, 0]) / (u[2] - u[0])
    log_sigma = np.column_stack([np.log(sigma_eV[:, 0]) - slope * u[0], slope])
    sigma = np.exp(log_sigma[:, :1] + log_sigma[:, 1:] * u)

    def excess(location_eV: Array, energy_eV: Array, mean_eV: Array, sigma_eV: Array) -> Array:
        return truncated_mean_eV(energy_eV, location_eV, sigma_eV, sigma_eV) - mean_eV

    found = find_root(
        excess,
        (mean_eV - 30 * sigma, mean_eV + 3 * sigma),
        args=(energy_eV, mean_eV, sigma),
        tolerances={"xatol": 1e-12, "xrtol": 0, "fatol": 0, "frtol": 0},
    )
    if not np.all(found.success):
        one, at = np.argwhere(~found.success)[0]
        raise InputError(
            f"{CAWO4_PUBLISHED}: no Gaussian of width {sigma[one, at]:g} eV on [0, {energy_eV[at]:g}] eV has the "
            f"printed mean of {mean_eV[at]:g} eV; choose a smaller width"
        )
    location_eV = np.linalg.solve(np.vander(u, increasing=True), found.x.T).T
    return np.asarray(location_eV, dtype=np.float64), log_sigma


def load_stored_energy_model(
    given: Path | str, *, assumptions: CaWO4Assumptions | None = None
) -> StoredEnergyModel:
    """Return a model by the path of its file, or by the name of a published one.

    Parameters
    ----------
    given : pathlib.Path or str
        A file of `cascade fit`, `cawo4` or `cawo4-published`.
    assumptions : CaWO4Assumptions, optional
        For the published one.

    Raises
    ------
    InputError
        If there is neither, or assumptions are given for a file.
    RecordError
        If the file is damaged.
    """
    if str(given) in PUBLISHED_MODELS:
        return cawo4_published(assumptions)
    if assumptions is not None:
        raise InputError(
            f"{given}: assumptions are for {CAWO4_PUBLISHED} only; a fitted model has its own numbers"
        )
    if str(given) in NAMED_MODELS:
        return StoredEnergyModel.load(shipped_model_folder(str(given)) / "model.json")
    if not Path(given).is_file():
        raise InputError(f"{given}: no such model file, nor a model of this name; {named_hint(str(given))}")
    return StoredEnergyModel.load(given)


def shipped_model_folder(name: str) -> Path:
    """Return the folder of a model that comes with the package: its cascades, as `cascade import` keeps them."""
    return data_folder("inputs") / "models" / name


def named_hint(given: str) -> str:
    """Return which model that comes with the package was meant by an unknown name, or which there are."""
    close = closest(given, NAMED_MODELS)
    return f"did you mean {close}?" if close else f"there are {', '.join(NAMED_MODELS)}"
