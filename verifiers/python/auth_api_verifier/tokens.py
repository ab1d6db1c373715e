"""Reads access tokens to the letter as the service writes them, by its public keys alone."""

import json
import math
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence, Set
from functools import lru_cache, partial
from typing import Any, ClassVar, NamedTuple

from joserfc.errors import JoseError
from joserfc.jwk import import_key
from joserfc.jws import JWSRegistry

MAX_TOKEN_LENGTH = 4096
MAX_REMEMBERED = 10_000
"""How many tokens are kept that verified, at 1.2 KB or so."""

_ALGORITHMS = {"ES256", "RS256", "Ed25519"}
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
Key = tuple[str, Callable[[bytes, bytes], bool]]
"""Its `kid`, and whether it has made a signature of a message."""


class Reader:
    """Knows the public keys, and remembers tokens that verified by them. Neither the time nor
    what was ended is judged here. `read` raises `Refused`, and `Unavailable` as `lacks` says."""

    def __init__(self, algorithms: Sequence[str], issuer: str, audience: str) -> None:
        if not algorithms or not set(algorithms) <= _ALGORITHMS:
            raise ValueError(f"algorithms: some of {_ALGORITHMS}")
        self._algorithms = algorithms
        self._origin = [issuer, audience]
        self._awaited: set[bytes] = set()
        self.load({"keys": []})

    def load(self, jwks: Any) -> None:
        """Know the keys of this JWK Set (RFC 7517) and no others. Raises `ValueError`."""
        try:
            published = [(str(jwk["kid"]), jwk["alg"], jwk) for jwk in jwks["keys"]]
            keys = {
                _header(alg, kid): (kid, _verifying(alg, jwk))
                for kid, alg, jwk in published
                if alg in self._algorithms
            }
        except (JoseError, KeyError, TypeError) as fault:
            raise ValueError(f"no JWK Set: {fault!r}") from fault
        self._kids = {kid for kid, _, _ in published}
        # Another memory: what a thread still reads by the former keys does not come into it.
        self.read = lru_cache(MAX_REMEMBERED)(partial(self._read, keys))

    def lacks(self, in_force: Set[str]) -> bool:
        """Whether some of these keys are not known. Until then their tokens are unavailable."""
        unknown = in_force - self._kids
        self._awaited = {_header(alg, kid) for kid in unknown for alg in self._algorithms}
        return bool(unknown)

    def _read(self, keys: Mapping[bytes, Key], token: str) -> Claims:
        if len(token) > MAX_TOKEN_LENGTH:
            raise Refused("too long")
        try:
            signing_input, _, signature = token.encode("ascii").rpartition(b".")
            header, _, payload = signing_input.partition(b".")
            if header in self._awaited:
                raise Unavailable("its key is being loaded")
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
        *origin, sub, sid, jti, key_id, scope, era, iat, exp, client_id = content.values()
        if origin != self._origin:
            raise Refused("not issued there, or for others")
        is_issued = (
            all(isinstance(each, str) for each in (sub, sid, jti, key_id, scope))
            and client_id == sub
            and type(iat) is type(exp) is int
            and 0 <= iat < exp < _LATEST
            and type(era) in (int, float)
            and 0 <= era < _LATEST
            and _dump(content) == payload  # no name twice, no space, no escape
        )
        if not is_issued:
            raise Refused("not as the service writes it")
        return Claims(sub, sid, jti, key_id, scope, era, iat, exp, kid)


def bearer_token(header: str | None) -> str | None:
    """The token of an `Authorization: Bearer` header (RFC 6750, 2.1), if it is one."""
    scheme, _, token = (header or "").partition(" ")
    return token.strip(" ") if scheme.lower() == "bearer" else None


def _header(alg: str, kid: str) -> bytes:
    return _encode(_dump({"alg": alg, "typ": "at+jwt", "kid": kid}))


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _verifying(alg: str, jwk: Mapping[str, Any]) -> Callable[[bytes, bytes], bool]:
    algorithm, key = JWSRegistry.algorithms[alg], import_key(dict(jwk))
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
