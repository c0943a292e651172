"""What is uncertain of a model, as plain content of its file: who is sent the file makes the same error bands."""

from __future__ import annotations

import base64
import dataclasses
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cascade_driver.analysis.distribution import StoredEnergyDistribution
from cascade_driver.analysis.empirical import EmpiricalReplicas
from cascade_driver.analysis.empirical_law import EmpiricalDistribution
from cascade_driver.analysis.model import StoredEnergyModel
from cascade_driver.analysis.uncertainty import EmpiricalLawReplicas, ParameterReplicas, RisingReplicas
from cascade_driver.errors import RecordError
from cascade_driver.spectra.ensemble import Ensemble, model_ensemble

#: Kinds of objects that a file can hold, by the name that it gives them.
_KINDS: dict[str, Any] = {
    kind.__name__: kind
    for kind in (
        ParameterReplicas,
        EmpiricalLawReplicas,
        RisingReplicas,
        StoredEnergyDistribution,
        EmpiricalDistribution,
        EmpiricalReplicas,
    )
}

#: Arrays of more numbers than a person reads are packed.
_READABLE = 64


def ensemble_content(ensemble: Ensemble) -> dict[str, Any]:
    """Return an ensemble as dicts, lists, texts and numbers, with all their digits."""
    return {part.name: _plain(getattr(ensemble, part.name)) for part in dataclasses.fields(Ensemble)}


def ensemble_of(model: StoredEnergyModel) -> Ensemble:
    """Return what is uncertain of a model, as it tells itself.

    A model of a campaign, and its file, brings what the campaign brings (`campaign_ensemble`); a file of an
    earlier version the covariance of its fits alone, with a note; numbers put in by hand nothing.

    Raises
    ------
    RecordError
        If its content is damaged.
    """
    if not model.uncertainty:
        alone = model_ensemble(model, rng=np.random.default_rng(0))
        if not alone.fit:
            return alone
        note = "the model brings the covariance of its fits alone: other shapes are no part of the band"
        return dataclasses.replace(alone, notes=(*alone.notes, note))
    try:
        return Ensemble(**{name: _made(value) for name, value in model.uncertainty.items()})
    except (KeyError, TypeError, ValueError, AttributeError, zlib.error) as error:
        raise RecordError(
            f"the errors in the model file are damaged ({type(error).__name__}: {error}); fit the campaign again"
        ) from None


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return _packed(value) if value.size > _READABLE else {"array": value.tolist(), "type": value.dtype.str}
    if dataclasses.is_dataclass(value):
        kind = type(value).__name__
        assert kind in _KINDS, f"{kind} has no place in a model file"
        return {"kind": kind} | {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, tuple) else value


def _packed(array: NDArray[Any]) -> dict[str, Any]:
    """Return an array as the text (base64) of its compressed bytes, in C order."""
    text = base64.b64encode(zlib.compress(np.ascontiguousarray(array).tobytes())).decode("ascii")
    return {"packed": text, "type": array.dtype.str, "shape": list(array.shape)}


def _made(content: Any) -> Any:
    if isinstance(content, list):
        return tuple(_made(one) for one in content)
    if not isinstance(content, Mapping):
        return content
    if "packed" in content:
        raw = zlib.decompress(base64.b64decode(content["packed"]))
        return np.frombuffer(raw, dtype=np.dtype(content["type"])).reshape(content["shape"])
    if "array" in content:
        return np.array(content["array"], dtype=np.dtype(content["type"]))
    if "kind" in content:
        return _KINDS[content["kind"]](**{n: _made(one) for n, one in content.items() if n != "kind"})
    return {name: _made(one) for name, one in content.items()}
