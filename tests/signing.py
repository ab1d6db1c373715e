"""Files of signing keys, and tokens signed by hand with `cryptography` alone, for the tests."""

import json
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from tests import forge
from tests.conftest import DATABASE_ID

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Of the group of P-256 (NIST SP 800-186, 3.2.1.3)."""


def b64(number: int, size: int) -> str:
    return forge.encode(number.to_bytes(size, "big"))


def write(path: Path, *jwks: Any, mode: int = 0o600) -> Path:
    path.write_text(json.dumps({"keys": jwks}))
    path.chmod(mode)
    return path


class ES256:
    """A key of P-256 with its JWK."""

    alg = "ES256"

    def __init__(self, kid: str = "es", **members: Any) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        numbers = self.key.private_numbers()
        point = numbers.public_numbers
        self.public = {"kty": "EC", "crv": "P-256", "x": b64(point.x, 32), "y": b64(point.y, 32)}
        self.public |= {"kid": kid, "alg": self.alg, "use": "sig"}
        self.jwk: dict[str, Any] = self.public | {"d": b64(numbers.private_value, 32)} | members

    def der(self, message: bytes) -> bytes:
        return self.key.sign(message, ec.ECDSA(SHA256()))

    def sign(self, message: bytes) -> bytes:
        r, s = decode_dss_signature(self.der(message))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


class RS256:
    """An RSA key with its JWK."""

    alg = "RS256"

    def __init__(self, kid: str = "rs", bits: int = 2048, **members: Any) -> None:
        self.key = rsa.generate_private_key(65537, bits)
        numbers = self.key.private_numbers()
        size = bits // 8
        public = numbers.public_numbers
        self.public = {"kty": "RSA", "n": b64(public.n, size), "e": b64(public.e, 3)}
        self.public |= {"kid": kid, "alg": self.alg, "use": "sig"}
        self.jwk: dict[str, Any] = self.public | {
            "d": b64(numbers.d, size),
            "p": b64(numbers.p, size // 2),
            "q": b64(numbers.q, size // 2),
            "dp": b64(numbers.dmp1, size // 2),
            "dq": b64(numbers.dmq1, size // 2),
            "qi": b64(numbers.iqmp, size // 2),
        }
        self.jwk |= members

    def sign(self, message: bytes) -> bytes:
        return self.key.sign(message, padding.PKCS1v15(), SHA256())


class Ed25519:
    """A key of Ed25519 with its JWK."""

    alg = "Ed25519"

    def __init__(self, kid: str = "ed", **members: Any) -> None:
        self.key = ed25519.Ed25519PrivateKey.generate()
        x = forge.encode(self.key.public_key().public_bytes_raw())
        self.public = {"kty": "OKP", "crv": "Ed25519", "x": x}
        self.public |= {"kid": kid, "alg": self.alg, "use": "sig"}
        d = forge.encode(self.key.private_bytes_raw())
        self.jwk: dict[str, Any] = self.public | {"d": d} | members

    def sign(self, message: bytes) -> bytes:
        return self.key.sign(message)


Key = ES256 | RS256 | Ed25519


def signing_input(key: Key, typ: str = "at+jwt", **changes: Any) -> str:
    """The header and payload of a token; a change of `alg` or `kid` is one of the header."""
    header = {"alg": key.alg, "typ": typ, "kid": f"{key.public['kid']}.{DATABASE_ID}"}
    header |= {name: changes.pop(name) for name in ("alg", "kid") if name in changes}
    return f"{forge.segment(header)}.{forge.segment(forge.claims_for(typ, **changes))}"


def token(key: Key, typ: str = "at+jwt", **changes: Any) -> str:
    text = signing_input(key, typ, **changes)
    return f"{text}.{forge.encode(key.sign(text.encode()))}"
