"""What RFC 9110 and 9112 demand of a request's head, and the parser lets pass."""

import re

from authapi.errors import InvalidRequest
from authapi.request_errors import ContentTooLarge
from authapi.web.bodies import MAX_BODY_BYTES
from authapi.web.requests import Headers

_HOST = re.compile(rb"[A-Za-z0-9._:%\[\]~!$&'()*+;=-]*")


def judge_head(version: str, headers: Headers) -> None:
    """RFC 9112, 2.3, 3.2 and 6.1; and the length of the body, before a byte of it is read.

    Raises `InvalidRequest` or `ContentTooLarge`.
    """
    hosts, codings = [], []
    for name, value in headers:
        if name == b"host":
            hosts.append(value.strip())
        elif name == b"transfer-encoding":
            codings.append(value.strip().lower())
        elif name == b"content-length" and int(value) > MAX_BODY_BYTES:
            raise ContentTooLarge
    if version not in ("1.0", "1.1") or len(hosts) > 1 or (not hosts and version == "1.1"):
        raise InvalidRequest
    if codings not in ([], [b"chunked"]) or not all(map(_HOST.fullmatch, hosts)):
        raise InvalidRequest


def size_of(url: bytes, headers: Headers) -> int:
    """In bytes, nearly."""
    return len(url) + sum(len(name) + len(value) + 4 for name, value in headers)


def without_upgrade(method: bytes, url: bytes, version: str, headers: Headers) -> bytes:
    """The head again, without the wish to upgrade to another protocol, which we may ignore
    (RFC 9110, 7.8). Raises `InvalidRequest` for CONNECT, which wishes nothing else.
    """
    if method == b"CONNECT":
        raise InvalidRequest
    lines = []
    for name, value in headers:
        kept = value
        if name == b"connection":
            options = value.split(b",")
            kept = b",".join(each for each in options if each.strip().lower() != b"upgrade")
        if name not in (b"upgrade", b"http2-settings"):
            lines.append(b"%b: %b" % (name, kept))
    return b"\r\n".join([b"%b %b HTTP/%b" % (method, url, version.encode()), *lines, b"", b""])
