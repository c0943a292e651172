"""Whether what a model file says about its errors can be used: kinds, shapes, and numbers within their limits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from cascade_driver.analysis.distribution import SHAPES, StoredEnergyDistribution
from cascade_driver.analysis.empirical import EmpiricalReplicas
from cascade_driver.analysis.empirical_law import EmpiricalDistribution
from cascade_driver.analysis.model import SpeciesModel, StoredEnergyModel
from cascade_driver.analysis.outcomes import FARTHEST_LOCATION_eV
from cascade_driver.analysis.response import WIDTHS_eV
from cascade_driver.analysis.tabulated import TabulatedDistribution, TabulatedReplicas
from cascade_driver.analysis.uncertainty import EmpiricalLawReplicas, ParameterReplicas, RisingReplicas
from cascade_driver.spectra.ensemble import Ensemble

#: Axes of the arrays of each kind: R replicas, c cascades, k knots; one letter is one length.
_AXES: Mapping[type, Mapping[str, str]] = {
    ParameterReplicas: {
        "half_energy_eV": "R",
        "width_eV": "R",
        "maximum": "R",
        "location_eV": "Rm",
        "log_sigma": "Rs",
        "asymmetry": "Ra",
    },
    EmpiricalLawReplicas: {"half_energy_eV": "R", "width_eV": "R", "maximum": "R", "drawn": "Rc"},
    RisingReplicas: {"knots_eV": "k", "probability": "Rk"},
    EmpiricalReplicas: {
        "knots_eV": "k",
        "knot": "c",
        "stored_energy_eV": "c",
        "share": "Rc",
        "mean_eV": "k",
        "bandwidth_eV": "k",
    },
    TabulatedReplicas: {"drawn": "Rd"},
}

#: Lowest and highest of the numbers in an array, by its name; others reach as far as an energy.
_LIMITS = {
    "maximum": (0.0, 1.0),
    "probability": (0.0, 1.0),
    "width_eV": (0.0, FARTHEST_LOCATION_eV),
    "weight": (0.0, FARTHEST_LOCATION_eV),
    "share": (0.0, FARTHEST_LOCATION_eV),
    "drawn": (0.0, FARTHEST_LOCATION_eV),
    "stored_energy_eV": (0.0, FARTHEST_LOCATION_eV),
    "bandwidth_eV": (0.0, FARTHEST_LOCATION_eV),
    "mean_eV": (math.ulp(0.0), FARTHEST_LOCATION_eV),
    "knots_eV": (math.ulp(0.0), FARTHEST_LOCATION_eV),
}

#: The laws that replicas may have.
_LAW_OF: Mapping[type, tuple[type, ...]] = {
    EmpiricalLawReplicas: (EmpiricalDistribution,),
    RisingReplicas: (StoredEnergyDistribution, EmpiricalDistribution, TabulatedDistribution),
    TabulatedReplicas: (TabulatedDistribution,),
}

#: Rounding may carry a share this far beyond 1.
_SLACK = 1e-6


def check_ensemble(ensemble: Ensemble, model: StoredEnergyModel) -> None:
    """Refuse errors that are not of this model, or that cannot be folded.

    Raises
    ------
    TypeError, ValueError
        With what was found, where, and what was expected.
    """
    if not isinstance(ensemble.notes, tuple) or not all(isinstance(one, str) for one in ensemble.notes):
        raise TypeError("`notes`: expected texts")
    if set(_mapping(ensemble.nominal, "nominal")) != set(model.species):
        raise ValueError(f"`nominal` is of {', '.join(ensemble.nominal)}, expected {', '.join(model.species)}")
    for name in ("nominal", "statistics", "fit", "assumptions", "rising"):
        _check_group(getattr(ensemble, name), name, model, of_one=name == "nominal")
    for name in ("shapes", "potentials", "protocols"):
        for alternative, group in _mapping(getattr(ensemble, name), name).items():
            _check_group(group, f"{name}.{alternative}", model, of_one=True)


def _check_group(group: Any, name: str, model: StoredEnergyModel, *, of_one: bool) -> None:
    """Check replicas by species: their number is the same for all, where it is not one."""
    for species, replicas in _mapping(group, name).items():
        where = f"{name}.{species}"
        if species not in model.species:
            raise ValueError(f"`{where}`: the model knows {', '.join(model.species)}")
        _check_replicas(replicas, where, species, model.species[species])
    numbers = {len(replicas) for replicas in group.values()}
    if len(numbers) > 1 or (of_one and numbers - {1}):
        expected = "one of each species" if of_one else "one number for all species"
        raise ValueError(f"`{name}`: {sorted(numbers)} replicas, expected {expected}")


def _mapping(found: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(found, Mapping):
        raise TypeError(f"`{name}`: found {type(found).__name__}, expected a table by name")
    return found


def _check_replicas(replicas: Any, where: str, species: str, model: SpeciesModel) -> None:
    """Check the replicas of one species."""
    kind = type(replicas)
    if kind not in _AXES:
        raise TypeError(f"`{where}`: found {kind.__name__}, expected replicas")
    if kind in _LAW_OF and not isinstance(replicas.law, _LAW_OF[kind]):
        raise TypeError(f"`{where}.law`: found {type(replicas.law).__name__}, expected a law of {kind.__name__}")
    sizes: dict[str, int] = {}
    for name, axes in _AXES[kind].items():
        array = getattr(replicas, name)
        _check_array(array, f"{where}.{name}", n_axes=len(axes), of_whole=name == "knot")
        for axis, size in zip(axes, array.shape, strict=True):
            if sizes.setdefault(axis, size) != size:
                raise ValueError(f"`{where}.{name}`: found a length of {size}, expected {sizes[axis]}")
    if not sizes["R"]:
        raise ValueError(f"`{where}`: no replicas, expected one or more")
    if isinstance(replicas, ParameterReplicas):
        _check_parameters(replicas, where, sizes, model)
    elif isinstance(replicas, EmpiricalReplicas):
        _check_cascades(replicas, where, species)
    elif isinstance(replicas, RisingReplicas):
        _check_knots(replicas.knots_eV, where)
    elif isinstance(replicas, TabulatedReplicas) and sizes["d"] != max(replicas.law.direction) + 1:
        raise ValueError(f"`{where}.drawn`: of {sizes['d']} directions, the table has another number")
    elif isinstance(replicas, EmpiricalLawReplicas) and sizes["c"] != len(replicas.law.knot):
        raise ValueError(f"`{where}.drawn`: of {sizes['c']} cascades, the law has {len(replicas.law.knot)}")


def _check_array(array: Any, where: str, *, n_axes: int, of_whole: bool) -> None:
    """Check that something is an array of numbers within their limits."""
    if not isinstance(array, np.ndarray) or array.ndim != n_axes or (array.dtype.kind == "i") != of_whole:
        raise TypeError(f"`{where}`: expected {n_axes} axes of {'whole ' if of_whole else ''}numbers")
    low, high = _LIMITS.get(where.rpartition(".")[2], (-FARTHEST_LOCATION_eV, FARTHEST_LOCATION_eV))
    if not np.all((array >= low) & (array <= high + _SLACK)):
        raise ValueError(f"`{where}`: numbers from {low:g} to {high:g} are expected")


def _check_parameters(
    replicas: ParameterReplicas, where: str, sizes: Mapping[str, int], model: SpeciesModel
) -> None:
    """Check the laws of replicas where cascades were simulated: far beyond, nobody knows any."""
    if replicas.shape not in SHAPES or bool(sizes["a"]) != (replicas.shape == "split_gaussian"):
        raise ValueError(f"`{where}.shape` is {replicas.shape!r} with {sizes['a']} coefficients of asymmetry")
    for name in ("reference_energy_eV", "energy_scale_eV", "lowest_energy_eV"):
        value = getattr(replicas, name)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not abs(value) <= FARTHEST_LOCATION_eV:
            raise ValueError(f"`{where}.{name}`: found {str(value)[:40]}, expected an energy in eV")
        if name != "reference_energy_eV" and not value > 0:
            raise ValueError(f"`{where}.{name}`: found {value:g}, expected an energy above 0")
    if not (sizes["m"] and sizes["s"]):
        raise ValueError(f"`{where}`: no coefficients of the location or the width, expected one or more")
    simulated_eV = [model.minimum_recoil_energy_eV, model.maximum_recoil_energy_eV]
    with np.errstate(all="ignore"):
        location, *widths = replicas.laws(np.array(simulated_eV))
    known = np.abs(location) <= FARTHEST_LOCATION_eV
    for width in widths:
        known &= (width >= WIDTHS_eV[0]) & (width <= WIDTHS_eV[1])
    if not np.all(known):
        raise ValueError(f"`{where}`: laws that no stored energy has between {simulated_eV} eV")


def _check_cascades(replicas: EmpiricalReplicas, where: str, species: str) -> None:
    """Check the cascades of a response that is made of them."""
    if replicas.species != species:
        raise ValueError(f"`{where}.species` is {str(replicas.species)[:40]!r}")
    _check_knots(replicas.knots_eV, where)
    if len(replicas.knot) and not (replicas.knot.min() >= 0 and replicas.knot.max() < len(replicas.knots_eV)):
        raise ValueError(f"`{where}.knot`: a knot that is none of the {len(replicas.knots_eV)}")


def _check_knots(knots_eV: np.ndarray[Any, Any], where: str) -> None:
    if not len(knots_eV) or not np.all(np.diff(knots_eV) > 0):
        raise ValueError(f"`{where}.knots_eV`: expected one or more rising energies")
