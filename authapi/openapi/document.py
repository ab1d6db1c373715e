"""Builds the OpenAPI 3.1 description from the routes, the schemas and the refusals there are."""

from collections.abc import Iterable, Iterator, Sequence
from inspect import cleandoc
from typing import Any

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from starlette.convertors import FloatConvertor, IntegerConvertor
from starlette.routing import BaseRoute, Route

from authapi.errors import (
    InsufficientScope,
    InvalidRequest,
    InvalidToken,
    MissingToken,
    ServerError,
    TemporarilyUnavailable,
)
from authapi.http_errors import (
    ContentTooLarge,
    HeadTooLarge,
    RequestTimeout,
    UnsupportedMediaType,
)
from authapi.openapi import headers
from authapi.openapi.describing import Description, description_of
from authapi.openapi.ours import OURS
from authapi.openapi.refusals import name_of, ref, refusals_of
from authapi.web.bodies import MAX_FIELDS

ABOUT = (
    "A client key buys short-lived signed tokens, and a log-out is true at once, on every worker.\n"
    "Unknown fields are ignored. Build on `error`, never on `error_description`.\n"
    "A request whose HTTP itself is at fault is refused before any path is looked up, without "
    "`X-Request-ID`."
)
FORM = "application/x-www-form-urlencoded"
SCALARS = {"type": ["string", "number", "boolean", "null"]}
ALWAYS = (InvalidRequest, RequestTimeout, HeadTooLarge, ServerError)
WITH_BODY = (ContentTooLarge, UnsupportedMediaType)
PROTECTED = (MissingToken, InvalidToken, TemporarilyUnavailable)
_KINDS: dict[type, str] = {IntegerConvertor: "integer", FloatConvertor: "number"}
SECURITY: dict[str, list[dict[str, list[str]]]] = {
    "nobody": [],
    "client": [{"client": []}, {}],
    "bearer or body": [{"bearer": []}, {}],
}
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
    described = _described(routes)
    for name, scheme in _schemes(described).items():
        spec.components.security_scheme(name, scheme)
    for name, header in headers.COMPONENTS.items():
        spec.components.header(name, header)
    for route, said in described:
        _add(spec, route, said)
    return dict(spec.to_dict())


def _schemes(described: Iterable[tuple[Route, Description]]) -> dict[str, dict[str, Any]]:
    """With each scope that a route needs, and which routes those are."""
    paths: dict[str, list[str]] = {}
    for route, _ in described:
        for scope in vars(route.endpoint).get("scopes") or ():
            paths.setdefault(scope, []).append(route.path)
    scopes = {scope: f"Needed for {', '.join(needing)}." for scope, needing in paths.items()}
    flow = {"tokenUrl": "/oauth/token", "scopes": scopes}
    return SCHEMES | {"oauth2": SCHEMES["oauth2"] | {"flows": {"clientCredentials": flow}}}


def _described(routes: Iterable[BaseRoute]) -> list[tuple[Route, Description]]:
    """Ours first, in the order in which somebody learns of them."""
    found = [
        (route, said)
        for route in routes
        if isinstance(route, Route)
        and (said := OURS.get(route.path) or description_of(route.endpoint))
    ]
    places = list(OURS)
    return sorted(
        found, key=lambda each: places.index(each[0].path) if each[0].path in OURS else len(places)
    )


def _add(spec: APISpec, route: Route, said: Description) -> None:
    scopes: Sequence[str] | None = vars(route.endpoint).get("scopes")
    refusals = [*ALWAYS, *(WITH_BODY if said.takes else ()), *said.refuses]
    security = SECURITY[said.security]
    if scopes is not None:
        refusals += PROTECTED if not scopes else (*PROTECTED, InsufficientScope)
        security = [{"bearer": list(scopes)}, {"oauth2": list(scopes)}]
    summary, _, more = cleandoc(route.endpoint.__doc__ or route.name).partition("\n\n")
    for method in _methods(route):
        operation: dict[str, Any] = {
            "operationId": _operation_id(route, method),
            "summary": " ".join(summary.split()),
            "tags": [said.tag],
            "security": security,
            "responses": {"200": _answer(said)} | refusals_of(spec, refusals, said),
        }
        if more:
            operation["description"] = more
        if parameters := list(_parameters(route, said)):
            operation["parameters"] = parameters
        if said.takes:
            operation["requestBody"] = _body(spec, said)
        spec.path(path=route.path_format, operations={method.lower(): operation})


def _methods(route: Route) -> list[str]:
    """GET first; HEAD goes with it."""
    return sorted((route.methods or set()) - {"HEAD"}, key=lambda method: (method != "GET", method))


def _operation_id(route: Route, method: str) -> str:
    name = route.endpoint.__name__
    return name if method == _methods(route)[0] else f"{name}_{method.lower()}"


def _parameters(route: Route, said: Description) -> Iterator[dict[str, Any]]:
    for name, convertor in route.param_convertors.items():
        kind = _KINDS.get(type(convertor), "string")
        yield {"name": name, "in": "path", "required": True, "schema": {"type": kind}}
    for name, says in said.query.items():
        yield {"name": name, "in": "query", "description": says, "schema": {"type": "string"}}


def _body(spec: APISpec, said: Description) -> dict[str, Any]:
    """A form has no more than so many fields, and none within another."""
    name = name_of(said.takes)
    if name not in spec.components.schemas:
        spec.components.schema(name, schema=said.takes)
        schema = spec.components.schemas[name]
        form = schema | {"additionalProperties": SCALARS, "maxProperties": MAX_FIELDS}
        spec.components.schema(f"{name}Form", form)
    kinds = {"application/json": name, FORM: f"{name}Form", "multipart/form-data": f"{name}Form"}
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
