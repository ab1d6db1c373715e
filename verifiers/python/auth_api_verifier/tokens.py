"""Reads access tokens to the letter as the service writes them, by its public keys alone."""

import json
import math
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, ClassVar, NamedTuple

from joserfc.errors import JoseError
from joserfc.jwk import import_key
from joserfc.jws import JWSRegistry

MAX_TOKEN_LENGTH = 4096
MAX_REMEMBERED = 10_000
"""How many tokens are kept that verified, at 1.2 KB or so."""

_MEMBERS = {
    "ES256": ("kty", "crv", "x", "y"),
    "RS256": ("kty", "n", "e"),
    "Ed25519": ("kty", "crv", "x"),
}
_LATEST = 2**53
"""Times up to here are numbers that JSON holds exactly."""


class VerifierError(Exception):
    """Why a token is not accepted, and how a service says so by HTTP."""

    status: ClassVar[int]
    error: ClassVar[str]
    headers: ClassVar[Mapping[str, str]]


class Refused(VerifierError):
    """This token opens nothing: its caller needs another one."""

    status = 401
    error = "invalid_token"
    headers = {"WWW-Authenticate": 'Bearer error="invalid_token"'}


class Unavailable(VerifierError):
    """Whether the token was ended is not known now: its caller tries again with the same one."""

    status = 503
    error = "temporarily_unavailable"
    headers = {"Retry-After": "1"}


class Claims(NamedTuple):
    """What a token says, under the names of its claims; `iat` and `exp` in epoch seconds."""

    sub: str
    sid: str
    jti: str
    key_id: str
    scope: str
    era: float
    iat: int
    exp: int
    kid: str

    @property
    def scopes(self) -> list[str]:
        return self.scope.split()


_NAMES = ("iss", "aud", *Claims._fields[:-1], "client_id")
_TYPES = [(str, str, str, str, str, era, int, int) for era in (int, float)]  # a bool is no int
Key = tuple[str, Callable[[bytes, bytes], bool]]
"""Its `kid`, and whether it has made a signature of a message."""


class Reader:
    """Knows the public keys, and remembers tokens that verified by them. Neither the time nor
    what was ended is judged here."""

    def __init__(self, algorithms: Sequence[str], issuer: str, audience: str) -> None:
        if not algorithms or not set(algorithms) <= set(_MEMBERS):
            raise ValueError(f"algorithms: some of {', '.join(_MEMBERS)}")
        self._algorithms = algorithms
        self._issuer = issuer
        self._audience = audience
        self.kids: frozenset[str] = frozenset()
        """Of all keys that are published, those of other algorithms included."""
        self.load({"keys": []})

    def load(self, jwks: Any) -> None:
        """Know the keys of this JWK Set (RFC 7517) and no others. Raises `ValueError`."""
        try:
            published = [(str(jwk["kid"]), jwk["alg"], jwk) for jwk in jwks["keys"]]
            keys = {
                header_segment(alg, kid): (kid, _verifying(alg, jwk))
                for kid, alg, jwk in published
                if alg in self._algorithms
            }
        except (JoseError, KeyError, TypeError) as fault:
            raise ValueError(f"no JWK Set: {fault!r}") from fault
        self.kids = frozenset(kid for kid, _, _ in published)
        # Another memory: what a thread still reads by the former keys does not come into it.
        self.read = lru_cache(MAX_REMEMBERED)(partial(self._read, keys))

    def segments(self, kids: Iterable[str]) -> frozenset[str]:
        """How a token of one of these keys may begin."""
        return frozenset(
            header_segment(alg, kid).decode() for kid in kids for alg in self._algorithms
        )

    def _read(self, keys: Mapping[bytes, Key], token: str) -> Claims:
        if len(token) > MAX_TOKEN_LENGTH:
            raise Refused("too long")
        try:
            signing_input, _, signature = token.encode("ascii").rpartition(b".")
            header, _, payload = signing_input.partition(b".")
            # Each right header is known, so a stranger's is refused before it is parsed.
            if header not in keys:
                raise Refused("unknown header")
            kid, verifies = keys[header]
            if not verifies(signing_input, _decode(signature)):
                raise Refused("bad signature")
            return self._claims(kid, _decode(payload))
        except (ValueError, RecursionError) as fault:
            raise Refused("not a token") from fault

    def _claims(self, kid: str, payload: bytes) -> Claims:
        content = json.loads(payload.decode())
        if not isinstance(content, dict) or tuple(content) != _NAMES:
            raise Refused("claims that the service does not issue")
        issuer, audience, *values, client_id = content.values()
        if issuer != self._issuer or audience != self._audience:
            raise Refused("not issued there, or for others")
        if tuple(map(type, values)) not in _TYPES or client_id != content["sub"]:
            raise Refused("values that the service does not issue")
        claims = Claims._make((*values, kid))
        if not (0 <= claims.iat < claims.exp < _LATEST and 0 <= claims.era < _LATEST):
            raise Refused("times that the service does not issue")
        if _dump(content) != payload:  # a name twice, a space, an escape
            raise Refused("not as the service writes it")
        return claims


def bearer_token(header: str | None) -> str | None:
    """The token of an `Authorization: Bearer` header (RFC 6750, 2.1), if it is one."""
    scheme, _, token = (header or "").partition(" ")
    return token.strip(" ") if scheme.lower() == "bearer" else None


def header_segment(alg: str, kid: str) -> bytes:
    return _encode(_dump({"alg": alg, "typ": "at+jwt", "kid": kid}))


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _verifying(alg: str, jwk: Mapping[str, Any]) -> Callable[[bytes, bytes], bool]:
    algorithm = JWSRegistry.algorithms[alg]
    key = import_key({name: jwk[name] for name in _MEMBERS[alg]})
    algorithm.check_key(key)
    return partial(algorithm.verify, key=key)


def _dump(content: object) -> bytes:
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()


def _encode(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")


def _decode(text: bytes) -> bytes:
    """Raises `ValueError` for any spelling but the one that `_encode` makes."""
    data = urlsafe_b64decode(text + b"=" * (-len(text) % 4))
    if _encode(data) != text:
        raise ValueError("not canonical base64url")
    return data
