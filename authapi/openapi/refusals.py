"""What an operation refuses, by status, as OpenAPI has it."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from apispec import APISpec

from authapi.errors import InvalidRequest, Refusal
from authapi.openapi import headers
from authapi.openapi.describing import Description
from authapi.web.managing_schemas import StrictPayload


def name_of(schema: Any) -> str:
    kind = schema if isinstance(schema, type) else type(schema)
    return kind.__name__


def refusals_of(
    spec: APISpec, refusals: Sequence[type[Refusal]], said: Description
) -> dict[str, dict[str, Any]]:
    """By status; several of one status are told apart by `error`."""
    by_status: dict[int, list[type[Refusal]]] = {}
    for refusal in dict.fromkeys(refusals):
        by_status.setdefault(refusal.status, []).append(refusal)
    answers = {}
    for status, kinds in sorted(by_status.items()):
        schemas = [ref("schemas", _refusal_schema(spec, kind, said)) for kind in kinds]
        answers[str(status)] = {
            "description": f"{HTTPStatus(status).phrase}: {kinds[0].description}",
            "headers": headers.of_refusal(status, kinds),
            "content": {
                "application/json": {
                    "schema": schemas[0] if len(schemas) == 1 else {"oneOf": schemas},
                    "examples": {
                        kind.error: {"value": {"error": kind.error, **_prose(kind)}}
                        for kind in kinds
                    },
                }
            },
        }
    return answers


def _prose(kind: type[Refusal]) -> dict[str, str]:
    return {"error_description": kind.description}


def _refusal_schema(spec: APISpec, kind: type[Refusal], said: Description) -> str:
    name = kind.__name__
    properties: dict[str, Any] = {
        "error": {"enum": [kind.error]},
        "error_description": {"enum": [kind.description]},
    }
    if kind is InvalidRequest:
        fields = [*(said.takes.fields if said.takes else ()), *said.query]
        if fields:
            name += "Of" + (name_of(said.takes) if said.takes else "".join(said.query).title())
        ignores_unknown = said.takes is not None and not isinstance(said.takes, StrictPayload)
        faults = {"type": "array", "minItems": 1, "items": {"type": "string"}}
        properties["fields"] = {
            "type": "object",
            "minProperties": 1,
            "properties": dict.fromkeys(fields, faults),
            # A field or a parameter that there is not is named, too.
            "additionalProperties": False if ignores_unknown else faults,
        }
    if name not in spec.components.schemas:
        schema = {
            "type": "object",
            "required": ["error", "error_description"],
            "properties": properties,
            "additionalProperties": False,
        }
        spec.components.schema(name, schema)
    return name


def ref(kind: str, name: str) -> dict[str, str]:
    return {"$ref": f"#/components/{kind}/{name}"}
