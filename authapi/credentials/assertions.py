"""Clients with a private key: the public one that is registered, and what they sign (RFC 7523)."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, cast

import orjson
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey, import_key
from joserfc.jws import CompactSignature, JWSRegistry, extract_compact

from authapi.credentials import base64url
from authapi.credentials.client_keys import new_key_id
from authapi.credentials.signing_keys import RSA_BITS, KeyFault, rsa_bits

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
MAX_SECONDS = 300
"""An assertion counts for no longer after its `iat`, whatever its `exp`: some clients sign theirs
for an hour, and each is remembered until it is over."""
MAX_RSA_BITS = 4096
"""A longer key costs more to verify with than it gives."""
MAX_EXPONENT_BITS = 64  # one as long as its modulus costs twenty times as much
MAX_JTI_LENGTH = 512
ALGORITHMS = {"ES256": ["ES256"], "RS256": ["RS256"], "Ed25519": ["Ed25519", "EdDSA"]}
"""By what a key is registered for: the names in the header of what it signs (RFC 9864)."""
ASSERTION_ALGORITHMS = [name for names in ALGORITHMS.values() for name in names]
_KINDS = {
    ("EC", "P-256"): ("ES256", ("kty", "crv", "x", "y")),
    ("RSA", ""): ("RS256", ("kty", "n", "e")),
    ("OKP", "Ed25519"): ("Ed25519", ("kty", "crv", "x")),
}
_REGISTRY = JWSRegistry(strict_check_header=False)  # what is not known is ignored: RFC 7515, 4


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A new one. `public_key` is what is kept of it, a JWK; `digest` is the same for the same key,
    and is no digest of any text, so that nobody can show the key for a client key."""

    id: str
    public_key: str
    digest: str


def read_public_key(content: bytes) -> PublicKey:
    """Of a PEM, a JWK, or a JWKS that holds it alone (RFC 7517). Raises `KeyFault`."""
    if b"-----BEGIN" in content:
        return _public_key(_jwk_of_pem(content))
    try:
        read = orjson.loads(content)
    except ValueError:
        raise KeyFault("it is neither a PEM nor JSON.") from None
    jwks = read.get("keys", [read]) if isinstance(read, dict) else []
    if not isinstance(jwks, list) or len(jwks) != 1:
        raise KeyFault("it is no JWK, and no JWKS with one key in `keys`.")
    return _public_key(jwks[0])


def _jwk_of_pem(content: bytes) -> dict[str, Any]:
    if b"PRIVATE KEY" in content:
        raise KeyFault("it is a private key; give the public half: openssl pkey -pubout.")
    try:
        key: PublicKeyTypes = load_pem_public_key(content)
        if isinstance(key, RSAPublicKey) and key.key_size < RSA_BITS:
            raise KeyFault(_WANTED)  # of which joserfc would only warn
        der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, UnsupportedAlgorithm):
        raise KeyFault("it is no PEM of a public key that is known here.") from None
    for kind in (ECKey, RSAKey, OKPKey):
        try:
            return dict(kind.import_key(der).as_dict(private=False))
        except (JoseError, LookupError, ValueError, TypeError):
            continue
    raise KeyFault(_WANTED)


_WANTED = f"it must be for ES256, Ed25519 or RS256, of {RSA_BITS} to {MAX_RSA_BITS} bits."


def _kind_of(jwk: dict[str, Any]) -> tuple[str, tuple[str, ...]]:
    """The algorithm, and the members that make the key (RFC 7638, 3.2)."""
    return _KINDS.get((str(jwk.get("kty")), str(jwk.get("crv", ""))), ("", ()))


def _public_key(jwk: Any) -> PublicKey:
    if not isinstance(jwk, dict):
        raise KeyFault("it is no JWK.")
    if "d" in jwk or "k" in jwk:
        raise KeyFault("it is a private key; take all but its public members out.")
    alg, names = _kind_of(jwk)
    if not alg or jwk.get("alg", alg) not in ALGORITHMS[alg] or jwk.get("use", "sig") != "sig":
        raise KeyFault(_WANTED)
    if alg == "RS256" and not RSA_BITS <= rsa_bits(jwk.get("n")) <= MAX_RSA_BITS:
        raise KeyFault(_WANTED)
    if alg == "RS256" and rsa_bits(jwk.get("e")) > MAX_EXPONENT_BITS:
        raise KeyFault("its exponent is too long; make a key with the usual one, 65537.")
    try:
        key = cast("ECKey | RSAKey | OKPKey", import_key({name: jwk[name] for name in names}))
        JWSRegistry.algorithms[alg].check_key(key)
        key = type(key).import_key(key.as_der(private=False))  # no zeros before a number
        thumbprint, members = key.thumbprint(), key.as_dict(private=False)
    except (JoseError, LookupError, ValueError, TypeError):
        raise KeyFault(_WANTED) from None
    kid = jwk.get("kid", thumbprint)
    if not isinstance(kid, str) or not 1 <= len(kid) <= 255 or not kid.isprintable():
        raise KeyFault("its `kid` is no text of 1 to 255 printable characters.")
    kept = {name: members[name] for name in names} | {"alg": alg, "kid": kid}
    # Each letter as it is: escaped, a long `kid` would not fit into the column.
    return PublicKey(new_key_id(), json.dumps(kept, ensure_ascii=False), f"jkt:{thumbprint}")


@dataclass(frozen=True, slots=True)
class Assertion:
    """What a client says of itself. Who signed it is not known before `is_signed_by`."""

    signed: CompactSignature
    claims: dict[str, Any]

    @property
    def client_id(self) -> str:
        return str(self.claims["sub"])

    @property
    def jti(self) -> str:
        """The id under which it is spent, shorter than its own and never that of a session."""
        jti = f"{self.client_id}.{self.claims['jti']}"
        return "a." + base64url.encode(sha256(jti.encode()).digest()[:16]).decode()

    @property
    def ends_at(self) -> float:
        """When it stops to count."""
        exp, iat = self.claims["exp"], self.claims.get("iat")
        return float(exp if iat is None else min(exp, iat + MAX_SECONDS))

    def is_signed_by(self, jwk: str) -> bool:
        """Whether this key signed it, by the algorithm that it is registered for."""
        key, header = json.loads(jwk), self.signed.headers()
        is_named = header.get("kid", key["kid"]) == key["kid"]
        if not is_named or header["alg"] not in ALGORITHMS[key["alg"]]:
            return False
        public = {name: key[name] for name in _kind_of(key)[1]}
        segments = self.signed.segments
        try:
            return JWSRegistry.algorithms[header["alg"]].verify(
                segments["header"] + b"." + segments["payload"],
                base64url.decode(segments["signature"]),
                import_key(public),
            )
        except ValueError:
            return False

    def check(self, audiences: Collection[str], now: float, leeway: float) -> None:
        """Raises `ValueError` unless it is meant for us, and for now."""
        claims = self.claims
        audience = claims.get("aud")
        if isinstance(audience, list) and len(audience) == 1:
            (audience,) = audience
        if not isinstance(audience, str) or audience not in audiences:
            raise ValueError("assertion for others")
        if max(claims.get("iat", now), claims.get("nbf", now)) > now + leeway:
            raise ValueError("assertion of the future")
        if self.ends_at <= now - leeway:
            raise ValueError("expired assertion")
        if self.ends_at > now + MAX_SECONDS + leeway:
            raise ValueError("assertion for too long")


def read_assertion(text: str) -> Assertion:
    """Raises `ValueError` for what has not the shape of one (RFC 7523, 3)."""
    try:
        signed = extract_compact(text.encode("ascii"), None, _REGISTRY)
        header = signed.headers()
        _REGISTRY.check_header(header)
        claims = orjson.loads(signed.payload)
    except (JoseError, ValueError, TypeError, RecursionError):
        raise ValueError("malformed assertion") from None
    if "crit" in header or "b64" in header or not isinstance(claims, dict):
        raise ValueError("malformed assertion")
    is_text = all(isinstance(claims.get(name), str) for name in ("iss", "sub", "jti"))
    is_time = all(map(_is_time, (claims.get("exp"), claims.get("iat", 0), claims.get("nbf", 0))))
    if not is_text or not is_time or claims["iss"] != claims["sub"]:
        raise ValueError("assertion with wrong claims")
    is_id = claims["sub"].isascii() and claims["sub"].isprintable()  # RFC 6749, A.1
    if not is_id or not 1 <= len(claims["jti"]) <= MAX_JTI_LENGTH:
        raise ValueError("assertion with wrong claims")
    return Assertion(signed, claims)


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 2**53
