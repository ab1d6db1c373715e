"""Issues and verifies the tokens: JWTs (RFC 7519), signed with a secret or with keys of a file."""

import time
from collections.abc import Callable, Sequence
from functools import lru_cache, partial

import orjson

from authapi.credentials import base64url
from authapi.credentials.claims import Claims
from authapi.credentials.signing_keys import SigningKey, from_secret
from authapi.errors import InvalidToken

ACCESS = "at+jwt"
"""The `typ` of an access token (RFC 9068, 2.1)."""
REFRESH = "rt+jwt"
"""Our own `typ`, so that neither token passes for the other."""

MAX_TOKEN_LENGTH = 4096
"""Ours have some 500 characters, and 1,300 more if the scopes are as long as can be, and 600 more
with an RSA key of 4096 bits."""

MAX_REMEMBERED = 10_000
"""How many access tokens each worker keeps, at 1.2 KB or so with their claims."""

_SHARED = ("iss", "aud", *Claims._fields[:-1])  # the last one is in the header
_NAMES = {ACCESS: (*_SHARED, "client_id"), REFRESH: _SHARED}
"""The claims of a token, in their order. RFC 9068, 2.2 demands `client_id`, which is the `sub`."""
_TYPES = [(str, str, str, str, str, number, int, int) for number in (int, float)]
_LATEST = 2**53
"""Times up to here are numbers that JSON and both databases hold exactly."""


class Tokens:
    """Signs with the first secret and verifies with all of them, until it is given keys of a
    file: then these sign, and the secrets only verify. Durations are in seconds.

    It frames the JWTs itself. joserfc would take 10 microseconds more to issue one and 19 to read
    one: a quarter of a login, and half of a call with a token that was never seen.

    No token is known before `serve` has told of which database they are.
    """

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
        self._secrets = [from_secret(secret) for secret in secret_keys]
        self.issuer = issuer
        self.audience = audience
        self.access_seconds = access_seconds
        self.refresh_seconds = refresh_seconds
        self._lifetimes = {ACCESS: access_seconds, REFRESH: refresh_seconds}
        self._leeway = leeway_seconds
        self._clock = clock
        self._signing_keys: Sequence[SigningKey] = []
        self.database_id = ""
        # A client shows its access token many times, and what verified once verifies again: to read
        # it is a quarter of the first call. What is refused raises, so it is never remembered; time
        # and revocation are judged each time.
        self._read_access_token = lru_cache(MAX_REMEMBERED)(partial(self._read, ACCESS))
        self._prepare()

    def use(self, signing_keys: Sequence[SigningKey]) -> None:
        """From now on nothing but these keys, and the secrets, are known: not what was remembered
        of others. The last of two that are due signs."""
        self._signing_keys = signing_keys
        self._prepare()

    def serve(self, database_id: str) -> None:
        """From now on nothing but tokens of this database are known."""
        self.database_id = database_id
        self._prepare()

    def _prepare(self) -> None:
        # We issue every token, so the set of header segments is known. A token with any other is
        # refused before a byte of a stranger's JSON is parsed.
        keys = (*self._signing_keys, *self._secrets) if self.database_id else ()
        self._keys = {
            typ: {key.header_segment(typ, self.database_id): key for key in keys}
            for typ in (ACCESS, REFRESH)
        }
        signers = sorted(self._signing_keys, key=lambda key: key.signs_from) or self._secrets[:1]
        self._signers = [
            (key, {typ: key.header_segment(typ, self.database_id) for typ in (ACCESS, REFRESH)})
            for key in reversed(signers)
        ]
        self._read_access_token.cache_clear()

    def issue(self, typ: str, claims: Claims) -> str:
        """A token for `claims.database_id`; if that is another one by now, it is born dead."""
        key, headers = self._signer()
        header = headers[typ]
        if claims.database_id != self.database_id:
            header = key.header_segment(typ, claims.database_id)
        signing_input = header + b"." + self._payload(typ, claims)
        return (signing_input + b"." + base64url.encode(key.sign(signing_input))).decode()

    def _signer(self) -> tuple[SigningKey, dict[str, bytes]]:
        """The newest key that is due; if none is yet, since our clock is behind, the oldest."""
        now = self._clock()
        for signer in self._signers:
            if signer[0].signs_from <= now:
                return signer
        return self._signers[-1]

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
            if not key.verify(signing_input, signature):
                raise InvalidToken("bad signature")
            return self._claims(typ, base64url.decode(payload))
        except ValueError as error:
            raise InvalidToken("not a token") from error

    def _claims(self, typ: str, payload: bytes) -> Claims:
        content = orjson.loads(payload)
        if not isinstance(content, dict) or tuple(content) != _NAMES[typ]:
            raise InvalidToken("claims that we do not issue")
        issuer, audience, *values = content.values()
        if issuer != self.issuer or audience != self.audience:
            raise InvalidToken("not issued here, or for others")
        if typ == ACCESS and values.pop() != content["sub"]:
            raise InvalidToken("of two clients")
        claims = Claims._make((*values, self.database_id))
        if (
            tuple(map(type, values)) not in _TYPES  # to which a bool is no int
            or not 0 <= claims.iat < claims.exp < _LATEST
            or not 0 <= claims.era < _LATEST
        ):
            raise InvalidToken("values that we do not issue")
        # No name twice, no space, no escape: to the letter as we write it.
        if orjson.dumps(content) != payload:
            raise InvalidToken("not as we write it")
        return claims

    def _payload(self, typ: str, claims: Claims) -> bytes:
        sub, sid, jti, key_id, scope, era, iat, exp, _ = claims
        content = {
            "iss": self.issuer,
            "aud": self.audience,
            "sub": sub,
            "sid": sid,
            "jti": jti,
            "key_id": key_id,
            "scope": scope,
            "era": era,
            "iat": iat,
            "exp": exp,
        }
        if typ == ACCESS:
            content["client_id"] = sub
        return base64url.encode(orjson.dumps(content))
