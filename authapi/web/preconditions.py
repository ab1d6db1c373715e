"""What a request says of itself in its head: as what it read something, and that it may repeat."""

import re

from authapi.errors import InvalidRequest
from authapi.web.requests import Headers, values_of

_TAG = re.compile(r'(W/)?"([\x21\x23-\x7e]*)"')
_KEY = re.compile(r'"([\x21\x23-\x5b\x5d-\x7e]{16,128})"|([0-9A-Za-z._~+/=:-]{16,128})')


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
