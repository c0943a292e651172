"""Errors of an observed spectrum as a likelihood takes them: templates that move all bins, a workspace."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import JsonValue

from cascade_driver.errors import InputError
from cascade_driver.files import write_file
from cascade_driver.kinds import Array
from cascade_driver.spectra.ensemble import SAME_AS, SpectrumBands
from cascade_driver.spectra.observe import Observed
from cascade_driver.units import EV_PER_KEV
from cascade_driver.version import version

#: Of the variance of a component, summed over the bins, templates hold at least this share.
VARIANCE_SHARE = 0.99

#: More templates of one component than this are noise of the sampling.
MOST_TEMPLATES = 8

#: What pyhf takes for nothing: a template may not reach zero.
_LEAST_COUNTS = 1e-9

#: What ROOT (`RooJSONFactoryWSTool`, 6.40) calls ranges and values of all parameters.
_ROOTS_DOMAIN, _ROOTS_POINT = "default_domain", "default_values"


def nuisance_templates(bands: SpectrumBands, component: str) -> Array:
    r"""Return templates of one component, (k, n) rates per kg, day and keV to be added times a normal number.

    The members :math:`x_r` of the component about the nominal :math:`x_0` have the second moment

    .. math:: C = \frac{1}{R} \sum_r (x_r - x_0)(x_r - x_0)^T = \sum_k \lambda_k v_k v_k^T

    and the templates are :math:`\sqrt{\lambda_k}\, v_k`, the largest first, until they hold `VARIANCE_SHARE`
    of its trace.

    Raises
    ------
    InputError
        If the bands have no such component, or no members, as those of a file.
    """
    if component not in bands.components:
        raise InputError(f"the bands have no component {component!r}; there are {', '.join(bands.components)}")
    members = bands.components[component].members_per_kg_day_keV
    if members is None:
        raise InputError(
            "the bands of a file have lost their members, and with them how bins hang together: correct again"
        )
    away = (members - bands.nominal_per_kg_day_keV) / np.sqrt(len(members))
    _, size, vectors = np.linalg.svd(away, full_matrices=False)
    total = float(np.sum(size**2))
    if total == 0:
        return np.zeros((0, away.shape[1]))
    needed = int(np.searchsorted(np.cumsum(size**2), VARIANCE_SHARE * total)) + 1
    kept = min(needed, MOST_TEMPLATES)
    return np.asarray(size[:kept, None] * vectors[:kept])


@dataclass(frozen=True, kw_only=True)
class CountTemplates:
    """A spectrum of expected counts and the shapes that its errors give it.

    Attributes
    ----------
    name : str
    energy_edges_eV : (n + 1,) float
        Of the complete bins.
    counts : (n,) float
    shapes : mapping of str to ((n,) float, (n,) float)
        By nuisance parameter, a normal number: the counts where it is 1, and where it is -1. They lie as far above
        as below, but for those that would be below zero, so that all interpolations are one straight line.
    """

    name: str
    energy_edges_eV: Array
    counts: Array
    shapes: Mapping[str, tuple[Array, Array]]


def count_templates(pair: Observed, *, exposure_kg_day: float) -> CountTemplates:
    """Return the observed counts of the complete bins, and the shapes of each independent component of the error.

    Raises
    ------
    InputError
        If the exposure is not positive, no bin is complete, or there are no bands with members.
    """
    if not 0 < exposure_kg_day < np.inf:
        raise InputError(f"exposure is {exposure_kg_day:g} kg d, expected a positive one")
    if pair.bands is None:
        raise InputError("a workspace needs error bands: correct the spectrum with them")
    kept = pair.is_complete
    if not kept.any():
        raise InputError("no bin of the spectrum is complete: nothing to put into a workspace")
    edges = pair.expected.energy_edges_eV
    scale = (np.diff(edges) / EV_PER_KEV * exposure_kg_day)[kept]
    counts = np.maximum(pair.bands.nominal_per_kg_day_keV[kept] * scale, _LEAST_COUNTS)
    shapes = {}
    for component in pair.bands.components:
        if SAME_AS.get(component) in pair.bands.components:
            continue
        for number, template in enumerate(nuisance_templates(pair.bands, component)):
            step = template[kept] * scale
            high, low = (np.maximum(counts + sign * step, _LEAST_COUNTS) for sign in (1, -1))
            shapes[f"{component}_{number}"] = (high, low)
    return CountTemplates(
        name=pair.name,
        energy_edges_eV=np.append(edges[:-1][kept], edges[1:][kept][-1]),
        counts=counts,
        shapes=shapes,
    )


def workspace_of(templates: CountTemplates) -> dict[str, JsonValue]:
    """Return a spectrum and its errors as a workspace of pyhf (HistFactory JSON, version 1.0.0).

    One channel, expected observed counts as data (Asimov), one sample with a free strength `mu` and its templates
    as correlated shapes (`histosys`). The schema has no place for the energies of the bins.
    """
    counts = templates.counts.tolist()
    modifiers: list[JsonValue] = [{"name": "mu", "type": "normfactor", "data": None}]
    modifiers += [
        {"name": name, "type": "histosys", "data": {"hi_data": high.tolist(), "lo_data": low.tolist()}}
        for name, (high, low) in templates.shapes.items()
    ]
    sample: JsonValue = {"name": templates.name, "data": counts, "modifiers": modifiers}
    return {
        "version": "1.0.0",
        "channels": [{"name": "observed", "samples": [sample]}],
        "observations": [{"name": "observed", "data": counts}],
        "measurements": [{"name": "strength", "config": {"poi": "mu", "parameters": []}}],
    }


def hs3_of(templates: CountTemplates) -> dict[str, JsonValue]:
    """Return the same as `workspace_of` in the HEP Statistics Serialization Standard, version 0.2 (HS3).

    One `histfactory_dist` over the observed energy in eV. The contents of a `histosys` are whole yields, as ROOT
    and pyhs3 read them, where the example in the text of the standard shows additions. ROOT also wants a domain
    and a point of its own names, and refuses a file without them.
    """
    edges, counts = templates.energy_edges_eV.tolist(), templates.counts.tolist()
    axes: JsonValue = [{"name": "observed_energy_eV", "min": edges[0], "max": edges[-1], "edges": edges}]
    modifiers: list[JsonValue] = [{"name": "mu", "type": "normfactor", "parameter": "mu"}]
    modifiers += [
        {
            "name": name,
            "type": "histosys",
            "parameter": name,
            "constraint": "Gauss",
            "data": {"hi": {"contents": high.tolist()}, "lo": {"contents": low.tolist()}},
        }
        for name, (high, low) in templates.shapes.items()
    ]
    sample: JsonValue = {
        "name": templates.name,
        "data": {"contents": counts, "errors": [0.0] * len(counts)},
        "modifiers": modifiers,
    }
    ranges: list[JsonValue] = [{"name": "mu", "min": 0.0, "max": 10.0}]
    ranges += [{"name": name, "min": -5.0, "max": 5.0} for name in templates.shapes]
    starts: list[JsonValue] = [{"name": "mu", "value": 1.0}]
    starts += [{"name": name, "value": 0.0} for name in templates.shapes]
    return {
        "metadata": {"hs3_version": "0.2", "packages": [{"name": "cascade_driver", "version": version()}]},
        "distributions": [{"name": "observed", "type": "histfactory_dist", "axes": axes, "samples": [sample]}],
        "data": [{"name": "asimov", "type": "binned", "axes": axes, "contents": counts}],
        "likelihoods": [{"name": "counts", "distributions": ["observed"], "data": ["asimov"]}],
        "domains": [{"name": _ROOTS_DOMAIN, "type": "product_domain", "axes": ranges}],
        "parameter_points": [{"name": _ROOTS_POINT, "parameters": starts}],
        "analyses": [
            {
                "name": "strength",
                "likelihood": "counts",
                "parameters_of_interest": ["mu"],
                "domains": [_ROOTS_DOMAIN],
                "init": _ROOTS_POINT,
            }
        ],
    }


def write_workspace(content: Mapping[str, JsonValue], path: Path) -> None:
    """Write what `workspace_of` or `hs3_of` gives as JSON.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    write_file(path, json.dumps(content, indent=1, allow_nan=False) + "\n")
