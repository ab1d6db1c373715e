"""Tokens made by hand, from hashlib, hmac and base64 alone: never by the code under test."""

import hashlib
import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

from tests.conftest import DATABASE_ID, NOW, SECRET

REFRESH_CLAIMS = {
    "iss": "auth-api",
    "aud": "auth-api",
    "sub": "client-1",
    "sid": "session-1",
    "jti": "token-1",
    "key_id": "key-1",
    "scope": "",
    "era": 0,
    "iat": int(NOW),
    "exp": int(NOW) + 900,
}
ACCESS_CLAIMS = REFRESH_CLAIMS | {"client_id": "client-1"}


def encode(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(segment: str) -> bytes:
    return urlsafe_b64decode(segment + "=" * (-len(segment) % 4))


def kid(secret: str, database_id: str = DATABASE_ID) -> str:
    """The start of the key's thumbprint (RFC 7638), and the database that the token is for."""
    jwk = {"k": encode(secret.encode()), "kty": "oct"}
    digest = hashlib.sha256(json.dumps(jwk, separators=(",", ":")).encode()).digest()
    return f"{encode(digest)[:16]}.{database_id}"


def header(typ: str = "at+jwt", secret: str = SECRET, **changes: Any) -> dict[str, Any]:
    return {"alg": "HS256", "typ": typ, "kid": kid(secret)} | changes


def segment(content: object) -> str:
    return encode(json.dumps(content, separators=(",", ":")).encode())


def sign(signing_input: str, secret: str = SECRET, digest: str = "sha256") -> str:
    signature = hmac.new(secret.encode(), signing_input.encode(), digest).digest()
    return f"{signing_input}.{encode(signature)}"


def claims_for(typ: str, **changes: Any) -> dict[str, Any]:
    """An access token names its client once more (RFC 9068, 2.2)."""
    if typ != "at+jwt":
        return REFRESH_CLAIMS | changes
    sub = changes.get("sub", REFRESH_CLAIMS["sub"])
    return ACCESS_CLAIMS | {"client_id": sub} | changes


def token(typ: str = "at+jwt", secret: str = SECRET, **changes: Any) -> str:
    """A token with a right signature; a claim that is set to `...` is left out."""
    claims = {name: value for name, value in claims_for(typ, **changes).items() if value is not ...}
    return sign(f"{segment(header(typ, secret))}.{segment(claims)}", secret)


def claims_of(token: str) -> dict[str, Any]:
    claims: dict[str, Any] = json.loads(decode(token.split(".")[1]))
    return claims


def header_of(token: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(decode(token.split(".")[0]))
    return content
