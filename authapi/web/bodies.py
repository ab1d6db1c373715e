"""Reads a request's payload, in any of three encodings."""

import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import orjson
from marshmallow import ValidationError
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, Headers
from starlette.formparsers import FormParser, MultiPartException, MultiPartParser
from starlette.requests import Request

from authapi.errors import InvalidRequest
from authapi.request_errors import ContentTooLarge, JSONWanted, UnsupportedMediaType
from authapi.web.requests import values_of
from authapi.web.schemas import Payload

MAX_BODY_BYTES = 16 * 1024
MAX_FIELDS = 20


async def read_payload(request: Request[Any], schema: Payload) -> dict[str, Any]:
    """Read the body through `schema`; no body is an empty payload.

    Raises `InvalidRequest`, `ContentTooLarge` or `UnsupportedMediaType`.
    """
    body = await _read_body(request)
    payload = await _parse(request, body) if body else {}
    if not isinstance(payload, dict):
        raise InvalidRequest("not an object")
    try:
        return schema.read(payload)
    except ValidationError as error:
        raise InvalidRequest("wrong fields", error.messages_dict) from None


async def read_json(request: Request[Any], schema: Payload) -> dict[str, Any]:
    """As `read_payload`, of JSON alone. Raises `JSONWanted`, too."""
    values = values_of(b"content-type", request.scope["headers"])
    if values and values[0].partition(b";")[0].strip().lower() != b"application/json":
        raise JSONWanted
    try:
        return await read_payload(request, schema)
    except UnsupportedMediaType as fault:  # a body without a type, or a compressed one
        raise JSONWanted from fault


async def _read_body(request: Request[Any]) -> bytes:
    body, is_whole = b"", False
    while not is_whole:
        message = await request.receive()
        if message["type"] == "http.disconnect":  # nobody reads the answer
            raise InvalidRequest("a body that breaks off")
        body += message.get("body", b"")
        if len(body) > MAX_BODY_BYTES:
            raise ContentTooLarge
        is_whole = not message.get("more_body")
    return body


async def _parse(request: Request[Any], body: bytes) -> object:
    codings = b",".join(values_of(b"content-encoding", request.scope["headers"]))
    if codings.strip().lower() not in (b"", b"identity"):
        raise UnsupportedMediaType
    values = values_of(b"content-type", request.scope["headers"])
    content_type = b"".join(values[:1]).decode("latin-1")
    match content_type.partition(";")[0].strip().lower():
        case "application/json":
            return _parse_json(body)
        case "application/x-www-form-urlencoded":
            limits = {"max_fields": MAX_FIELDS, "max_part_size": MAX_BODY_BYTES}
            return await _parse_form(FormParser(request.headers, _once(body), **limits).parse)
        case "multipart/form-data":
            return await _parse_multipart(content_type, body)
    raise UnsupportedMediaType


def _parse_json(body: bytes) -> object:
    """Two parsers have to accept it: orjson, which takes no NaN, no UTF-16 and no lone surrogate;
    and the standard library's, which sees a repeated name, of which two readers of one message
    might believe another value each. Raises `InvalidRequest`."""
    try:
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
    # The parser takes a truncated form for a whole one with fewer fields.
    if not f"\r\n{body.decode('latin-1').rstrip()}".endswith(f"\r\n--{boundary}--"):
        raise InvalidRequest("a form that breaks off")
    # Without the caller's charset: some codecs garble, and some always fail.
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
