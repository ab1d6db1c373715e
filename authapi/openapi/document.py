"""Builds the OpenAPI 3.1 description from the routes, the schemas and the refusals there are."""

from collections.abc import Iterable, Iterator, Mapping
from inspect import cleandoc
from typing import Any

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from starlette.convertors import FloatConvertor, IntegerConvertor
from starlette.routing import BaseRoute, Route

from authapi.openapi import headers
from authapi.openapi.describing import Description
from authapi.openapi.operations import (
    Operation,
    is_json_alone,
    operations_of,
    refused_by,
    security_of,
)
from authapi.openapi.refusals import name_of, ref, refusals_of
from authapi.web.bodies import MAX_FIELDS

ABOUT = (
    "A client key buys short-lived signed tokens, and a log-out is true at once, on every worker.\n"
    "Unknown fields are ignored, unless the schema allows none.\n"
    "Build on `error`, never on `error_description`.\n"
    "A request whose HTTP itself is at fault is refused before any path is looked up, without "
    "`X-Request-ID`."
)
FORM = "application/x-www-form-urlencoded"
SCALARS = {"type": ["string", "number", "boolean", "null"]}
_KINDS: dict[type, str] = {IntegerConvertor: "integer", FloatConvertor: "number"}
SCHEMES: dict[str, dict[str, Any]] = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "An access token (RFC 6750, 2.1).",
    },
    "oauth2": {
        "type": "oauth2",
        "description": "An access token that the token endpoint has granted (RFC 6749, 4.4).",
    },
    "client": {
        "type": "http",
        "scheme": "basic",
        "description": "The client's id and a client key. Either may stand in the body instead; "
        "or an assertion that the client has signed (RFC 7523).",
    },
}


def build(routes: Iterable[BaseRoute], version: str) -> dict[str, Any]:
    """Of each route whose handler is described; others are your own, and stay unmentioned."""
    marshmallow = MarshmallowPlugin(schema_name_resolver=lambda schema: name_of(schema))
    spec = APISpec(
        title="auth-api",
        version=version,
        openapi_version="3.1.0",
        plugins=[marshmallow],
        info={
            "summary": "A login service for machines.",
            "description": ABOUT,
        },
        servers=[{"url": "/"}],
    )
    described = operations_of(routes)
    for name, scheme in _schemes(described).items():
        spec.components.security_scheme(name, scheme)
    for name, header in headers.COMPONENTS.items():
        spec.components.header(name, header)
    for operation in described:
        _add(spec, operation)
    return dict(spec.to_dict())


def _schemes(described: Iterable[Operation]) -> dict[str, dict[str, Any]]:
    """With each scope that a route needs, and which routes those are."""
    paths: dict[str, list[str]] = {}
    for operation in described:
        for scope in operation.scopes or ():
            paths.setdefault(scope, []).append(operation.route.path_format)
    scopes = {
        scope: f"Needed for {', '.join(dict.fromkeys(needing))}."
        for scope, needing in paths.items()
    }
    flow = {"tokenUrl": "/oauth/token", "scopes": scopes}
    return SCHEMES | {"oauth2": SCHEMES["oauth2"] | {"flows": {"clientCredentials": flow}}}


def _add(spec: APISpec, described: Operation) -> None:
    route, methods, handler, said = described
    summary, _, more = cleandoc(handler.__doc__ or route.name).partition("\n\n")
    for method in methods:
        first = method == methods[0]
        name = handler.__name__ if first else f"{handler.__name__}_{method.lower()}"
        operation: dict[str, Any] = {
            "operationId": name,
            "summary": " ".join(summary.split()),
            "tags": [said.tag],
            "security": security_of(described),
            "responses": {str(said.status): _answer(said)}
            | refusals_of(spec, refused_by(described), said),
        }
        if more:
            operation["description"] = more
        if parameters := list(_parameters(route, said)):
            operation["parameters"] = parameters
        if said.takes:
            operation["requestBody"] = _body(spec, said)
        spec.path(path=route.path_format, operations={method.lower(): operation})


def _parameters(route: Route, said: Description) -> Iterator[dict[str, Any]]:
    for name, convertor in route.param_convertors.items():
        says, kind = said.path.get(name, ""), _KINDS.get(type(convertor), "string")
        parameter = {"name": name, "in": "path", "description": says, "required": True}
        yield parameter | {"schema": {"type": kind}}
    for name, says in said.query.items():
        yield {"name": name, "in": "query", "description": says, "schema": {"type": "string"}}
    for name, says in said.accepts.items():
        yield {"name": name, "in": "header", "description": says, "schema": {"type": "string"}}


def _body(spec: APISpec, said: Description) -> dict[str, Any]:
    """A form has no more than so many fields, and none within another."""
    name = name_of(said.takes)
    if name not in spec.components.schemas:
        spec.components.schema(name, schema=said.takes)
        if is_json_alone(said):
            return _content(said, {"application/json": name})
        schema = spec.components.schemas[name]
        form = schema | {"additionalProperties": SCALARS, "maxProperties": MAX_FIELDS}
        spec.components.schema(f"{name}Form", form)
    kinds = {"application/json": name, FORM: f"{name}Form", "multipart/form-data": f"{name}Form"}
    return _content(said, kinds)


def _content(said: Description, kinds: Mapping[str, str]) -> dict[str, Any]:
    content = {kind: {"schema": ref("schemas", of)} for kind, of in kinds.items()}
    required = any(field.required for field in (said.takes.fields.values() if said.takes else ()))
    return {"required": required, "content": content}


def _answer(said: Description) -> dict[str, Any]:
    about = cleandoc(said.answers.__doc__ or "OK.")
    return {
        "description": about,
        "headers": headers.of_answer(said.is_public, said.headers),
        "content": {"application/json": {"schema": said.answers}},
    }
