"""Assertions of clients with a private key, made by hand (RFC 7523)."""

import itertools
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from tests import forge
from tests.conftest import NOW
from tests.signing import Key

JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_numbers = itertools.count()


def claims(client_id: str, **changes: Any) -> dict[str, Any]:
    """As a client makes them, with a `jti` of its own; what is set to `...` is left out."""
    said = {
        "iss": client_id,
        "sub": client_id,
        "aud": "auth-api",
        "jti": f"assertion-{next(_numbers)}",
        "iat": int(NOW),
        "exp": int(NOW) + 60,
    } | changes
    return {name: value for name, value in said.items() if value is not ...}


def assertion(
    key: Key, client_id: str, header: dict[str, Any] | None = None, **changes: Any
) -> str:
    content = {"alg": key.alg, "typ": "JWT"} | (header or {})
    content = {name: value for name, value in content.items() if value is not ...}
    text = f"{forge.segment(content)}.{forge.segment(claims(client_id, **changes))}"
    return f"{text}.{forge.encode(key.sign(text.encode()))}"


def shown(text: str, **more: str) -> dict[str, str]:
    """The parameters by which it is sent."""
    return {"client_assertion_type": JWT_BEARER, "client_assertion": text} | more


def public_pem(key: Key) -> bytes:
    return key.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def private_pem(key: Key) -> bytes:
    return key.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def write_pem(path: Path, key: Key) -> Path:
    path.write_bytes(public_pem(key))
    return path
