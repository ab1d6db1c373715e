"""Issues and verifies the tokens: JWTs (RFC 7519) signed with HS256. joserfc is only here."""

import time
from collections.abc import Callable, Sequence
from functools import lru_cache, partial

import orjson
from joserfc.jwk import OctKey
from joserfc.jws import JWSRegistry

import base64url
from claims import Claims
from errors import InvalidToken

ACCESS = "at+jwt"
"""The `typ` of an access token (RFC 9068, 2.1)."""
REFRESH = "rt+jwt"
"""Our own `typ`, so that neither token passes for the other."""

MAX_TOKEN_LENGTH = 4096
"""Ours have some 500 characters, and 1,300 more if the scopes are as long as can be."""

MAX_REMEMBERED = 10_000
"""How many access tokens each worker keeps, at 1.2 KB or so with their claims."""

_TYPES = (str, str, str, str, str, int | float, int, int)
_HS256 = JWSRegistry.algorithms["HS256"]


class Tokens:
    """Signs with the first secret and verifies with all of them. Durations are in seconds."""

    def __init__(
        self,
        secret_keys: Sequence[str],
        issuer: str,
        audience: str,
        access_seconds: int,
        refresh_seconds: int,
        leeway_seconds: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        keys = [OctKey.import_key(secret) for secret in secret_keys]
        # We issue every token, so the set of header segments is known. A token with any other is
        # refused before a byte of a stranger's JSON is parsed.
        self._keys = {
            typ: {_header_segment(typ, key): key for key in reversed(keys)}
            for typ in (ACCESS, REFRESH)
        }
        self._signing_headers = {typ: _header_segment(typ, keys[0]) for typ in (ACCESS, REFRESH)}
        self._signing_key = keys[0]
        self._issuer = issuer
        self._audience = audience
        self.access_seconds = access_seconds
        self.refresh_seconds = refresh_seconds
        self._lifetimes = {ACCESS: access_seconds, REFRESH: refresh_seconds}
        self._leeway = leeway_seconds
        self._clock = clock
        # A client shows its access token many times, and what verified once verifies again. What
        # is refused raises, so it is never remembered; time and revocation are judged each time.
        self._read_access_token = lru_cache(MAX_REMEMBERED)(partial(self._read, ACCESS))

    def issue(self, typ: str, claims: Claims) -> str:
        signing_input = self._signing_headers[typ] + b"." + self._payload(claims)
        signature = _HS256.sign(signing_input, self._signing_key)
        return (signing_input + b"." + base64url.encode(signature)).decode()

    def verify(self, typ: str, token: str) -> Claims:
        """Raises `InvalidToken` unless the token is ours, of this `typ`, and within its time."""
        claims = self.read(typ, token)
        now = self._clock()
        if claims.exp <= now - self._leeway:
            raise InvalidToken("expired")
        if claims.iat > now + self._leeway:
            raise InvalidToken("issued in the future")
        if claims.exp - claims.iat > self._lifetimes[typ]:
            raise InvalidToken("lives longer than ours")
        return claims

    def read(self, typ: str, token: str) -> Claims:
        """Like `verify`, whatever the time: a log-out may come after the token's end."""
        return self._read_access_token(token) if typ == ACCESS else self._read(typ, token)

    def _read(self, typ: str, token: str) -> Claims:
        if len(token) > MAX_TOKEN_LENGTH:
            raise InvalidToken("too long")
        try:
            signing_input, _, signature = token.encode("ascii").rpartition(b".")
            header, _, payload = signing_input.partition(b".")
            key = self._keys[typ].get(header)
            if key is None:
                raise InvalidToken("unknown header")
            if not _HS256.verify(signing_input, base64url.decode(signature), key):
                raise InvalidToken("bad signature")
            claims = _claims(orjson.loads(base64url.decode(payload)))
        except ValueError as error:
            raise InvalidToken("not a token") from error
        # Not in another order, not twice, not with a space: to the letter as we write it.
        if self._payload(claims) != payload:
            raise InvalidToken("not as we write it")
        return claims

    def _payload(self, claims: Claims) -> bytes:
        content = {"iss": self._issuer, "aud": self._audience, **claims._asdict()}
        return base64url.encode(orjson.dumps(content))


def _claims(content: object) -> Claims:
    """Claims of the right types; the caller sees to their names and order, `iss` and `aud`."""
    if isinstance(content, dict) and len(content) == len(Claims._fields) + 2:
        claims = Claims(*list(content.values())[2:])
        if (
            all(map(isinstance, claims, _TYPES))
            and all(map(_is_time, (claims.epoch, claims.iat, claims.exp)))
            and claims.iat < claims.exp
        ):
            return claims
    raise InvalidToken("claims that we do not issue")


def _is_time(seconds: float) -> bool:
    """A number that JSON and both databases hold exactly; Python's `int` takes a bool too."""
    return not isinstance(seconds, bool) and 0 <= seconds < 2**53


def _header_segment(typ: str, key: OctKey) -> bytes:
    kid = key.thumbprint()[:16]
    return base64url.encode(orjson.dumps({"alg": "HS256", "typ": typ, "kid": kid}))
