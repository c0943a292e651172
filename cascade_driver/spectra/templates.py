"""Errors of an observed spectrum as a likelihood takes them: templates that move all bins, a workspace."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from pydantic import JsonValue

from cascade_driver.errors import InputError
from cascade_driver.files import write_file
from cascade_driver.kinds import Array
from cascade_driver.spectra.ensemble import SAME_AS, SpectrumBands
from cascade_driver.spectra.observe import Observed
from cascade_driver.units import EV_PER_KEV

#: Of the variance of a component, summed over the bins, templates hold at least this share.
VARIANCE_SHARE = 0.99

#: More templates of one component than this are noise of the sampling.
MOST_TEMPLATES = 8

#: What pyhf takes for nothing: a template may not reach zero.
_LEAST_COUNTS = 1e-9


def nuisance_templates(bands: SpectrumBands, component: str, *, share: float = VARIANCE_SHARE) -> Array:
    r"""Return templates of one component, (k, n) rates per kg, day and keV to be added times a normal number.

    The members :math:`x_r` of the component about the nominal :math:`x_0` have the second moment

    .. math:: C = \frac{1}{R} \sum_r (x_r - x_0)(x_r - x_0)^T = \sum_k \lambda_k v_k v_k^T

    and the templates are :math:`\sqrt{\lambda_k}\, v_k`, the largest first, until they hold `share` of its trace.

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
    needed = int(np.searchsorted(np.cumsum(size**2), share * total)) + 1
    kept = min(needed, MOST_TEMPLATES)
    return np.asarray(size[:kept, None] * vectors[:kept])


def workspace_of(pair: Observed, *, exposure_kg_day: float) -> dict[str, JsonValue]:
    """Return a spectrum and its errors as a workspace of pyhf (HistFactory JSON, version 1.0.0).

    One channel of the complete bins, expected observed counts as data (Asimov), one sample with a free strength
    `mu` and, for each independent component of the error, its templates as correlated shapes (`histosys`).
    Its bins are the complete ones of the spectrum: the schema has no place for their energies.

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
    nominal = np.maximum(pair.bands.nominal_per_kg_day_keV[kept] * scale, _LEAST_COUNTS)
    modifiers: list[JsonValue] = [{"name": "mu", "type": "normfactor", "data": None}]
    for component in pair.bands.components:
        if SAME_AS.get(component) in pair.bands.components:
            continue
        for number, template in enumerate(nuisance_templates(pair.bands, component)):
            step = template[kept] * scale
            modifiers.append(
                {
                    "name": f"{component}_{number}",
                    "type": "histosys",
                    "data": {
                        "hi_data": np.maximum(nominal + step, _LEAST_COUNTS).tolist(),
                        "lo_data": np.maximum(nominal - step, _LEAST_COUNTS).tolist(),
                    },
                }
            )
    sample: JsonValue = {"name": pair.name, "data": nominal.tolist(), "modifiers": modifiers}
    return {
        "version": "1.0.0",
        "channels": [{"name": "observed", "samples": [sample]}],
        "observations": [{"name": "observed", "data": nominal.tolist()}],
        "measurements": [{"name": "strength", "config": {"poi": "mu", "parameters": []}}],
    }


def write_workspace(pair: Observed, path: Path, *, exposure_kg_day: float) -> None:
    """Write `workspace_of` as JSON.

    Raises
    ------
    InputError
        As `workspace_of`, or if the file cannot be written.
    """
    content = workspace_of(pair, exposure_kg_day=exposure_kg_day)
    write_file(path, json.dumps(content, indent=1, allow_nan=False) + "\n")
