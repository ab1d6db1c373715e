"""What is read of a request's head: its headers, its query, its id, its sender."""

import asyncio
import itertools
import re
import secrets
from collections.abc import Iterable
from typing import Any

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from authapi import deadline
from authapi.addresses import plain
from authapi.errors import InvalidRequest
from authapi.request_errors import NotFound
from authapi.telemetry import audit

Headers = Iterable[tuple[bytes, bytes]]
"""As the server hands them over: names in lower case, in their order."""
HOLDING = "auth_api.holding"
"""The extension of ASGI by which our server offers that."""
_WAIT = re.compile(r"[0-4](\.[0-9]{1,3})?|5(\.0{1,3})?")
"""Less than a stop waits for requests: see `STOP_SECONDS`."""
_SANE_ID = re.compile(rb"[0-9A-Za-z._-]{1,64}")
_TAG = re.compile(r'(W/)?"([\x21\x23-\x7e]*)"')
_KEY = re.compile(r'"([\x21\x23-\x5b\x5d-\x7e]{16,128})"|([0-9A-Za-z._~+/=:-]{16,128})')
_PROCESS = secrets.token_hex(6)
_requests = itertools.count(1)  # cheaper than randomness, and as unique


def values_of(name: bytes, headers: Headers) -> list[bytes]:
    """The value of each header of this name: there may be several, and none is preferred."""
    values = []
    for each, value in headers:
        if each == name:
            values.append(value)
    return values


def versions_wanted(headers: Headers) -> set[str] | None:
    """Those of `If-Match`, of which there must be one (RFC 9110, 13.1.1); None is any.

    A weak one is none of ours. Raises `InvalidRequest` for what is no list of tags.
    """
    values = values_of(b"if-match", headers)
    if not values:
        return None
    text = b",".join(values).decode("latin-1").strip()
    if text == "*":
        return None
    tags = [_TAG.fullmatch(each.strip()) for each in text.split(",")]
    if not all(tags):
        raise InvalidRequest("no list of tags in If-Match")
    return {tag[2] for tag in tags if tag and not tag[1]}


def tag_of(version: str) -> str:
    """For the header `ETag`."""
    return f'"{version}"'


def idempotency_key(headers: Headers) -> str | None:
    """Of the one `Idempotency-Key`, quoted or not: 16 to 128 characters.

    A shorter one is not random enough to be told from another's. Raises `InvalidRequest`.
    """
    values = values_of(b"idempotency-key", headers)
    if not values:
        return None
    match = _KEY.fullmatch(b"".join(values).decode("latin-1").strip())
    if len(values) > 1 or match is None:
        raise InvalidRequest("no Idempotency-Key")
    return match[1] or match[2]


def parameters_of(request: Request[Any], *names: str) -> dict[str, str]:
    """Those of the query, of which there may be these, each once. Raises `InvalidRequest` for what
    else stands there: it is a slip, and to overlook it might open a door."""
    found: dict[str, str] = {}
    if not request.scope["query_string"]:
        return found
    for name, value in request.query_params.multi_items():
        if name not in names:
            raise InvalidRequest("a parameter that there is not", {name: ["Not a parameter here."]})
        if name in found:
            raise InvalidRequest("a parameter twice", {name: ["Given more than once."]})
        found[name] = value
    return found


def id_in_path(request: Request[Any], name: str, digits: int) -> str:
    """Raises `NotFound` for what no client and no key can have."""
    given: str = request.path_params[name]
    if not re.fullmatch(f"[0-9a-f]{{{digits}}}", given):
        raise NotFound
    return given


def read_wait(text: str) -> float:
    """For how many seconds a caller would wait for news. Raises `InvalidRequest`."""
    if not _WAIT.fullmatch(text):
        raise InvalidRequest("no wait", {"wait": ["Not seconds from 0 to 5, with 3 decimals."]})
    return float(text)


def sender_of(scope: Scope) -> str:
    """The network address of the client, as `OriginMiddleware` has left it; `unix` by a Unix
    socket, and empty where the server knows none."""
    address: str = scope["client"][0]
    return address


def hold(scope: Scope) -> asyncio.Future[None]:
    """Say that this request may wait for seconds until something happens, so that its connection
    counts apart. Returns what is done when the client has hung up; under a server that does not
    tell that, it never is."""
    extensions: dict[str, Any] = scope.get("extensions") or {}
    begin = extensions.get(HOLDING, asyncio.get_running_loop().create_future)
    gone: asyncio.Future[None] = begin()
    return gone


class OriginMiddleware:
    """Notes the id of each request and the network address of its sender, for the audit trail.

    The id is the caller's `X-Request-ID` if that is 1 to 64 letters, digits, dots, dashes and
    underscores, else a new one.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            address, port = scope["client"] or ("", 0)
            # Once more, since a proxy forwards an address as it came in there.
            scope["client"] = (plain(address), port)
            deadline.begin()
            audit.begin(_request_id(scope), sender_of(scope))
        await self.app(scope, receive, send)


def _request_id(scope: Scope) -> str:
    given = values_of(b"x-request-id", scope["headers"])
    if len(given) == 1 and _SANE_ID.fullmatch(given[0]):
        return str(given[0], "ascii")
    return f"{_PROCESS}-{next(_requests):x}"
