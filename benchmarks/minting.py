"""Makes tokens as each peer signs them, since to log in for every one of them would take long."""

import base64
import hmac
import json
import secrets
import time
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import scale_rows as rows
from scale_rows import Caller

from authapi.credentials.tokens import ACCESS, REFRESH

Mint = Callable[[str, Caller, int], str]
"""From `ACCESS` or `REFRESH`, whose it is, and how many seconds old it is."""
Claims = Callable[[str, Caller], dict[str, Any]]

SECONDS = {ACCESS: rows.ACCESS_SECONDS, REFRESH: rows.SESSION_SECONDS}


def ours() -> Mint:
    tokens = rows.make_tokens()
    return lambda typ, caller, age: rows.issue(tokens, typ, caller, age)


def signer(claims: Claims) -> Mint:
    """For the peers, whose tokens differ in the claims only."""
    head = _encode(_compact({"alg": "HS256", "typ": "JWT"}))

    def mint(typ: str, caller: Caller, age: int) -> str:
        iat = int(time.time()) - age
        times = {"iat": iat, "exp": iat + SECONDS[typ], "jti": secrets.token_hex(16)}
        signed = f"{head}.{_encode(_compact(claims(typ, caller) | times))}"
        signature = hmac.digest(rows.SECRET_KEY.encode(), signed.encode(), sha256)
        return f"{signed}.{_encode(signature)}"

    return mint


def fastapi(typ: str, caller: Caller) -> dict[str, Any]:
    claims = {"sub": caller.id, "type": _kind(typ)}
    return claims | ({"refresh_jti": secrets.token_hex(16)} if typ == ACCESS else {})


def flask(typ: str, caller: Caller) -> dict[str, Any]:
    return {"fresh": False, "type": _kind(typ), "sub": caller.id, "nbf": int(time.time()) - 1}


def django(typ: str, caller: Caller) -> dict[str, Any]:
    return {"token_type": _kind(typ), "user_id": caller.id}


def fastify(typ: str, caller: Caller) -> dict[str, Any]:
    return {"sub": caller.id, "type": _kind(typ)}


def promises(typ: str, caller: Caller) -> dict[str, Any]:
    return fastify(typ, caller) | {"sid": secrets.token_hex(16)}


def _kind(typ: str) -> str:
    return "access" if typ == ACCESS else "refresh"


def forge(token: str) -> str:
    """The same header and payload under a signature that is none."""
    signed, _, _ = token.rpartition(".")
    return f"{signed}.{_encode(secrets.token_bytes(32))}"


def _compact(content: dict[str, Any]) -> str:
    return json.dumps(content, separators=(",", ":"))


def _encode(data: bytes | str) -> str:
    data = data.encode() if isinstance(data, str) else data
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
