"""What is done at each path: by which method and handler, and who may not."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from starlette.routing import BaseRoute, Route

from authapi.errors import (
    InsufficientScope,
    InvalidRequest,
    InvalidToken,
    MissingToken,
    Refusal,
    ServerError,
    TemporarilyUnavailable,
)
from authapi.openapi.describing import Description, description_of
from authapi.openapi.managing_paths import MANAGED
from authapi.openapi.paths import OURS
from authapi.request_errors import (
    ContentTooLarge,
    HeadTooLarge,
    JSONWanted,
    RequestTimeout,
    UnsupportedMediaType,
)
from authapi.web.answers import Handler
from authapi.web.managing_schemas import StrictPayload
from authapi.web.own_routes import Resource

ALWAYS = (InvalidRequest, RequestTimeout, HeadTooLarge, ServerError)
PROTECTED = (MissingToken, InvalidToken, TemporarilyUnavailable)
SECURITY: dict[str, list[dict[str, list[str]]]] = {
    "nobody": [],
    "client": [{"client": []}, {}],
    "bearer or body": [{"bearer": []}, {}],
}


class Operation(NamedTuple):
    """What is done at a path by some methods."""

    route: Route
    methods: Sequence[str]
    handler: Handler
    said: Description

    @property
    def scopes(self) -> Sequence[str] | None:
        """Those that it needs; None where it needs no token."""
        scopes: Sequence[str] | None = vars(self.handler).get("scopes")
        return scopes


def operations_of(routes: Iterable[BaseRoute]) -> list[Operation]:
    """Ours first, in the order in which somebody learns of them."""
    found = [
        operation
        for route in routes
        if isinstance(route, Route)
        for operation in _operations(route)
    ]
    places = list(OURS)
    return sorted(
        found,
        key=lambda each: places.index(each.route.path) if each.route.path in OURS else len(places),
    )


def _operations(route: Route) -> Iterator[Operation]:
    if isinstance(route, Resource):
        for method, handler in route.handlers.items():
            yield Operation(route, [method], handler, MANAGED[f"{method} {route.path}"])
    elif said := OURS.get(route.path) or description_of(route.endpoint):
        yield Operation(route, _methods(route), route.endpoint, said)


def security_of(operation: Operation) -> list[dict[str, list[str]]]:
    if operation.scopes is None:
        return SECURITY[operation.said.security]
    return [{"bearer": list(operation.scopes)}, {"oauth2": list(operation.scopes)}]


def refused_by(operation: Operation) -> list[type[Refusal]]:
    said, scopes = operation.said, operation.scopes
    with_body = (ContentTooLarge, JSONWanted if is_json_alone(said) else UnsupportedMediaType)
    refusals = [*ALWAYS, *(with_body if said.takes else ()), *said.refuses]
    if scopes is None:
        return refusals
    return [*refusals, *PROTECTED, *((InsufficientScope,) if scopes else ())]


def is_json_alone(said: Description) -> bool:
    return isinstance(said.takes, StrictPayload)


def _methods(route: Route) -> list[str]:
    """GET first; HEAD goes with it."""
    return sorted((route.methods or set()) - {"HEAD"}, key=lambda method: (method != "GET", method))
