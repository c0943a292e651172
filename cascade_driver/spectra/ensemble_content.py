"""What is uncertain of a model, as plain content of its file: who is sent the file makes the same error bands."""

from __future__ import annotations

import base64
import dataclasses
import math
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue, TypeAdapter

from cascade_driver.analysis.distribution import StoredEnergyDistribution
from cascade_driver.analysis.empirical import EmpiricalReplicas
from cascade_driver.analysis.empirical_law import EmpiricalDistribution
from cascade_driver.analysis.model import StoredEnergyModel
from cascade_driver.analysis.tabulated import TabulatedDistribution, TabulatedReplicas
from cascade_driver.analysis.uncertainty import (
    EmpiricalLawReplicas,
    ParameterReplicas,
    RisingReplicas,
    central_replica,
)
from cascade_driver.errors import InputError, RecordError
from cascade_driver.spectra.ensemble import Ensemble, model_ensemble
from cascade_driver.spectra.ensemble_check import check_ensemble

#: Kinds of objects that a file can hold, by the name that it gives them.
_KINDS: Mapping[str, type] = {
    kind.__name__: kind
    for kind in (
        ParameterReplicas,
        EmpiricalLawReplicas,
        RisingReplicas,
        StoredEnergyDistribution,
        EmpiricalDistribution,
        EmpiricalReplicas,
        TabulatedDistribution,
        TabulatedReplicas,
    )
}

#: Those that are laws, made of numbers alone.
_LAWS = (StoredEnergyDistribution, EmpiricalDistribution, TabulatedDistribution)

#: Types of the numbers in a file: another one would make other numbers of the same bytes.
_TYPES = ("<f8", "<f4", "<i8", "<u2", "|u1")

#: Arrays of more numbers than a person reads are packed.
_READABLE = 64


def ensemble_content(ensemble: Ensemble) -> Mapping[str, JsonValue]:
    """Return an ensemble as dicts, lists, texts and numbers, with all their digits."""
    return {part.name: _plain(getattr(ensemble, part.name)) for part in dataclasses.fields(Ensemble)}


def ensemble_of(model: StoredEnergyModel) -> Ensemble:
    """Return what is uncertain of a model, as it tells itself.

    A model of a campaign, and its file, brings what the campaign brings (`campaign_ensemble`); a file of an
    earlier version the covariance of its fits alone, with a note; numbers put in by hand nothing.

    Raises
    ------
    RecordError
        If its content is damaged, or of another model than this, as after a change by hand.
    """
    _check_fits(model)
    if not model.uncertainty:
        alone = model_ensemble(model, rng=np.random.default_rng(0))
        if not alone.fit:
            return alone
        note = "the model brings the covariance of its fits alone: other shapes are no part of the band"
        return dataclasses.replace(alone, notes=(*alone.notes, note))
    try:
        ensemble = Ensemble(**{name: _made(value) for name, value in model.uncertainty.items()})
        other = [s for s, one in model.species.items() if not _same(ensemble.nominal[s], central_replica(one))]
        check_ensemble(ensemble, model)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, InputError, zlib.error) as error:
        said = " ".join(str(error).split())[:200]
        raise RecordError(
            f"the errors in the model file are damaged ({type(error).__name__}: {said}); fit the campaign again"
        ) from None
    if other:
        raise _changed(other[0])
    return ensemble


def _check_fits(model: StoredEnergyModel) -> None:
    """Refuse a model whose numbers are not those of the fits that it brings."""
    for species, one in model.species.items():
        probability, law = one.defect_probability_fit, one.distribution_fit
        if (probability is not None and not _same(probability.probability, one.defect_probability)) or (
            law is not None and not _same(law.distribution, one.distribution)
        ):
            raise _changed(species)


def _changed(species: str) -> RecordError:
    return RecordError(
        f"{species}: the model has other numbers than its errors are of, as after a change by hand; fit the "
        "campaign again, or take `uncertainty` out of the file and set `defect_probability_fit` and "
        "`distribution_fit` null, to use the numbers without errors"
    )


def _same(one: Any, other: Any) -> bool:
    """Return whether two objects of numbers are equal, but for the last digits."""
    if dataclasses.is_dataclass(one):
        return type(one) is type(other) and all(
            _same(getattr(one, f.name), getattr(other, f.name)) for f in dataclasses.fields(one)
        )
    if isinstance(one, str) or one is None:
        return bool(one == other)
    return np.shape(one) == np.shape(other) and np.allclose(one, other, rtol=1e-9, atol=1e-12)


def _plain(value: object) -> Any:
    if isinstance(value, np.ndarray):
        return _packed(value) if value.size > _READABLE else {"array": value.tolist(), "type": value.dtype.str}
    if dataclasses.is_dataclass(value):
        kind = type(value).__name__
        assert kind in _KINDS, f"{kind} has no place in a model file"
        return {"kind": kind} | {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, tuple) else value


def _packed(array: NDArray[Any]) -> Mapping[str, JsonValue]:
    """Return an array as text: base64 of its compressed bytes, C order, smaller numbers where nothing is lost."""
    if array.dtype == np.uint16 and array.max() < 256:
        array = array.astype(np.uint8)
    if array.dtype == np.float64:
        with np.errstate(over="ignore"):
            single = array.astype("<f4")
        array = single if np.array_equal(single, array) else array
    text = base64.b64encode(zlib.compress(np.ascontiguousarray(array).tobytes(), level=9)).decode("ascii")
    return {"packed": text, "type": array.dtype.str, "shape": list(array.shape)}


def _made(content: Any) -> Any:
    if isinstance(content, list):
        return tuple(_made(one) for one in content)
    if not isinstance(content, Mapping):
        return content
    if "packed" in content:
        return _finite(unpacked(content))
    if "array" in content:
        return _finite(np.array(content["array"], dtype=_type(content["type"])))
    if "kind" in content:
        return _object(_KINDS[content["kind"]], {n: one for n, one in content.items() if n != "kind"})
    return {name: _made(one) for name, one in content.items()}


def _object(kind: type, content: Mapping[str, Any]) -> Any:
    """Return an object; a law leaves the kinds of its numbers to its reader, replicas to `check_ensemble`."""
    if kind in _LAWS:
        return TypeAdapter(kind).validate_python(content)
    parts = {name: _made(one) for name, one in content.items()}
    if kind is EmpiricalLawReplicas and "weight" in parts:
        # files once held shares of a knot: relative to those of the law they are how often each counts
        central = np.array(parts["law"].weight)
        parts["drawn"] = parts.pop("weight") / np.where(central > 0, central, 1.0)
    return kind(**parts)


def _type(name: str) -> np.dtype[Any]:
    if name not in _TYPES:
        raise ValueError(f"numbers of type {name!r}, expected {' or '.join(_TYPES)}")
    return np.dtype(name)


def unpacked(content: Mapping[str, Any]) -> NDArray[Any]:
    """Return an array that a model file keeps packed: the base64 of its zlib-compressed bytes, in C order.

    Numbers of single precision become those of double precision.

    Parameters
    ----------
    content : mapping
        Of `packed` (str), `type` (str, of numpy) and `shape` (list of int).

    Raises
    ------
    ValueError
        If it is not of that shape, or of another type of number; no more is unpacked than the shape holds.
    """
    kind, shape = _type(content["type"]), content["shape"]
    size = math.prod(shape) * kind.itemsize
    unpacking = zlib.decompressobj()
    raw = unpacking.decompress(base64.b64decode(content["packed"]), size + 1)
    if len(raw) != size or not unpacking.eof:
        raise ValueError(f"not the {size} bytes of an array of shape {tuple(shape)}")
    array = np.frombuffer(raw, dtype=kind).reshape(shape)
    return array.astype(np.float64) if kind.kind == "f" else array


def _finite(array: NDArray[Any]) -> NDArray[Any]:
    if not np.all(np.isfinite(array)):
        raise ValueError("a number that is not finite")
    return array
