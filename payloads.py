"""Reads a request's payload in any of three encodings, and writes answers: always JSON."""

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any

import orjson
from marshmallow import Schema, ValidationError
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, Headers
from starlette.formparsers import FormParser, MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from audit import origin
from errors import ContentTooLarge, InvalidRequest, UnsupportedMediaType

MAX_BODY_BYTES = 16 * 1024
MAX_FIELDS = 20


_HEADERS = (
    (b"content-type", b"application/json"),
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
)


class Answer(Response):
    """JSON that no cache keeps (RFC 6749, 5.1) and no browser takes for anything else."""

    def render(self, content: object) -> bytes:
        return orjson.dumps(content)

    def init_headers(self, headers: Mapping[str, str] | None = None) -> None:
        self.raw_headers = [
            (b"content-length", b"%d" % len(self.body)),
            *_HEADERS,
            (b"x-request-id", origin().get("request_id", "").encode()),
        ]
        for name, value in (headers or {}).items():
            self.raw_headers.append((name.lower().encode(), value.encode()))


async def read_payload(request: Request[Any], schema: Schema) -> dict[str, Any]:
    """Load the body through `schema`; no body is an empty payload.

    Raises `InvalidRequest`, `ContentTooLarge` or `UnsupportedMediaType`.
    """
    body = await _read_body(request)
    payload = await _parse(request.headers, body) if body else {}
    if not isinstance(payload, dict):
        raise InvalidRequest("not an object")
    try:
        fields: dict[str, Any] = schema.load(payload)
    except ValidationError as error:
        raise InvalidRequest("wrong fields", error.messages_dict) from None
    return fields


async def _read_body(request: Request[Any]) -> bytes:
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                raise ContentTooLarge
    except ClientDisconnect:  # nobody reads the answer, but it is no fault of ours
        raise InvalidRequest("a body that breaks off") from None
    return bytes(body)


async def _parse(headers: Headers, body: bytes) -> object:
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    match media_type:
        case "application/json":
            return _parse_json(body)
        case "application/x-www-form-urlencoded":
            limits = {"max_fields": MAX_FIELDS, "max_part_size": MAX_BODY_BYTES}
            return await _parse_form(FormParser(headers, _once(body), **limits).parse)
        case "multipart/form-data":
            return await _parse_multipart(headers["content-type"], body)
    raise UnsupportedMediaType


def _parse_json(body: bytes) -> object:
    try:
        # The standard library's parser takes NaN, UTF-16 and lone surrogates; orjson takes a name
        # twice, which two readers of one message may read in two ways.
        orjson.loads(body)
        return _decoder.decode(body.decode())
    except (ValueError, RecursionError):
        raise InvalidRequest("not JSON") from None


def _without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len(dict(pairs)) != len(pairs):
        raise InvalidRequest("a repeated name")
    return dict(pairs)


_decoder = json.JSONDecoder(object_pairs_hook=_without_repeats)


async def _parse_multipart(content_type: str, body: bytes) -> dict[str, Any]:
    boundary = parse_options_header(content_type)[1].get(b"boundary", b"").decode("latin-1")
    # The parser takes a form that breaks off for a whole one, with fewer fields.
    if not f"\r\n{body.decode('latin-1').rstrip()}".endswith(f"\r\n--{boundary}--"):
        raise InvalidRequest("a form that breaks off")
    # Without a charset of the caller's: there are codecs that garble, and some that always fail.
    headers = Headers({"content-type": f'multipart/form-data; boundary="{boundary}"'})
    limits = {"max_files": 0, "max_fields": MAX_FIELDS, "max_part_size": MAX_BODY_BYTES}
    return await _parse_form(MultiPartParser(headers, _once(body), **limits).parse)


async def _parse_form(parse: Callable[[], Awaitable[FormData]]) -> dict[str, Any]:
    try:
        form = await parse()
    except (MultiPartException, FormParserError):
        raise InvalidRequest("not a form") from None
    # RFC 6749, 3.2: parameters must not be included more than once.
    if len(form.multi_items()) != len(form):
        raise InvalidRequest("a repeated parameter")
    return dict(form)


async def _once(body: bytes) -> AsyncGenerator[bytes, None]:
    yield body
