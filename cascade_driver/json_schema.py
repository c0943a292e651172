"""JSON schemas of what people write and programs read: inputs, labels, potentials, records, models."""

from __future__ import annotations

from collections.abc import Callable

from pydantic.json_schema import JsonSchemaValue

from cascade_driver.schema import json_schema_of


def _input() -> JsonSchemaValue:
    from cascade_driver.config import RunInput

    return json_schema_of(RunInput)


def _threshold() -> JsonSchemaValue:
    from cascade_driver.config import ThresholdInput

    return json_schema_of(ThresholdInput)


def _film() -> JsonSchemaValue:
    from cascade_driver.relaxation.film.spectrum import FilmBackground

    return json_schema_of(FilmBackground)


def _potential() -> JsonSchemaValue:
    from cascade_driver.simulation.potential import PotentialFile, TwoTierFile

    return json_schema_of(PotentialFile | TwoTierFile)


def _labels() -> JsonSchemaValue:
    from cascade_driver.training.labelling import AseSettings, Cp2kSettings

    return json_schema_of(Cp2kSettings | AseSettings)


def _fit() -> JsonSchemaValue:
    from cascade_driver.training.fit_input import FitInput

    made = json_schema_of(FitInput)
    for form in ("SplineForm", "SnapForm", "PodForm"):
        # A plan hands these down to its forms.
        needed = made["$defs"][form]["required"]
        made["$defs"][form]["required"] = [name for name in needed if name not in {"species", "zbl"}]
    return made


def _record() -> JsonSchemaValue:
    from cascade_driver.simulation.record import RECORD_SCHEMA, Record

    made = json_schema_of(Record)
    made["properties"] |= {
        "schema_version": {"const": RECORD_SCHEMA},
        "checksum": {"type": "string", "description": "SHA-256 of all the rest."},
    }
    # A cascade that found nothing has an empty object.
    made["properties"]["physics"]["anyOf"].append({"type": "object", "maxProperties": 0})
    made["required"] = [*made["required"], "schema_version", "checksum"]
    return made


def _model() -> JsonSchemaValue:
    from cascade_driver.analysis.model import ModelFile

    return json_schema_of(ModelFile)


#: What has a schema: what it is of, and how it is made.
SCHEMAS: dict[str, tuple[str, Callable[[], JsonSchemaValue]]] = {
    "input": ("an input of `cascade run`", _input),
    "threshold": ("an input of `cascade threshold`", _threshold),
    "film": ("an input of `cascade background film`", _film),
    "potential": ("`potential.toml` of a potential", _potential),
    "labels": ("settings of `cascade train label`", _labels),
    "fit": ("an input of `cascade train fit`", _fit),
    "record": ("`record.json` of a cascade", _record),
    "model": ("a model file of `cascade fit`", _model),
}


def json_schema(of: str) -> JsonSchemaValue:
    """Return the JSON schema (draft 2020-12) of one kind of file, a key of `SCHEMAS`."""
    about, make = SCHEMAS[of]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **make(), "title": about}
