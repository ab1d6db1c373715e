"""The headers of answers, as OpenAPI has them."""

from collections.abc import Mapping, Sequence
from typing import Any

from authapi.errors import InsufficientScope, Refusal


def _header(says: str, required: bool = True, **schema: Any) -> dict[str, Any]:
    return {"description": says, "required": required, "schema": {"type": "string", **schema}}


ID = "^[0-9A-Za-z._-]{1,64}$"
COMPONENTS = {
    "CacheControl": _header("No cache keeps the answer.", enum=["no-store"]),
    "PublicCacheControl": _header("A cache may keep it.", pattern="^public, max-age=[0-9]+$"),
    "NoSniff": _header("No browser takes it for anything but JSON.", enum=["nosniff"]),
    "RequestID": _header("The caller's, if that is sane, else a new one.", pattern=ID),
    "RequestIDOfARequest": _header(
        "Absent where the HTTP itself was at fault: there was no request.", False, pattern=ID
    ),
    "AcceptEncoding": _header("No body is unpacked (RFC 9110, 15.5.16).", enum=["identity"]),
    "RetryAfter": {
        "description": "Seconds.",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
    },
}
WITHOUT_A_REQUEST = (408, 431)
EMPTY: Mapping[str, str] = {}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/headers/{name}"}


def of_answer(is_public: bool, more: Mapping[str, str] = EMPTY) -> dict[str, Any]:
    return {name: _header(says) for name, says in more.items()} | {
        "Cache-Control": _ref("PublicCacheControl" if is_public else "CacheControl"),
        "X-Content-Type-Options": _ref("NoSniff"),
        "X-Request-ID": _ref("RequestID"),
    }


def of_refusal(status: int, kinds: Sequence[type[Refusal]]) -> dict[str, Any]:
    headers = of_answer(is_public=False)
    if status in WITHOUT_A_REQUEST:
        del headers["X-Request-ID"]
    if status == 400:
        headers["X-Request-ID"] = _ref("RequestIDOfARequest")
    if status in (429, 503):
        headers["Retry-After"] = _ref("RetryAfter")
    if status == 415:
        headers["Accept-Encoding"] = _ref("AcceptEncoding")
    challenges = list(dict.fromkeys(each.headers.get("WWW-Authenticate", "") for each in kinds))
    if InsufficientScope in kinds:
        headers["WWW-Authenticate"] = _header("The scopes that are needed.", pattern="^Bearer ")
    elif any(challenges):
        headers["WWW-Authenticate"] = _header("RFC 9110, 11.6.1.", enum=challenges)
    return headers
