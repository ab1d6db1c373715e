"""Issues and verifies the tokens: JWTs (RFC 7519) signed with HS256. joserfc is only here."""

import base64
import time
from collections.abc import Callable, Sequence

import orjson
from joserfc.jwk import OctKey
from joserfc.jws import JWSRegistry

from claims import Claims
from errors import InvalidToken

ACCESS = "at+jwt"
"""The `typ` of an access token (RFC 9068, 2.1)."""
REFRESH = "rt+jwt"
"""Our own `typ`, so that neither token passes for the other."""

MAX_TOKEN_LENGTH = 4096
"""Ours have some 500 characters, and 1,300 more if the scopes are as long as can be."""

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

    def issue(self, typ: str, claims: Claims) -> str:
        signing_input = f"{self._signing_headers[typ]}.{_encode(self._payload(claims))}"
        signature = _HS256.sign(signing_input.encode(), self._signing_key)
        return f"{signing_input}.{_encode(signature)}"

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
        if len(token) > MAX_TOKEN_LENGTH:
            raise InvalidToken("too long")
        header, _, rest = token.partition(".")
        payload, _, signature = rest.partition(".")
        key = self._keys[typ].get(header)
        if key is None:
            raise InvalidToken("unknown header")
        try:
            if not _HS256.verify(f"{header}.{payload}".encode("ascii"), _decode(signature), key):
                raise InvalidToken("bad signature")
            content = _decode(payload)
            claims = self._claims(orjson.loads(content))
        except ValueError as error:
            raise InvalidToken("not a token") from error
        # Not in another order, not twice, not with a space: to the letter as we write it.
        if self._payload(claims) != content:
            raise InvalidToken("not as we write it")
        return claims

    def _payload(self, claims: Claims) -> bytes:
        return orjson.dumps({"iss": self._issuer, "aud": self._audience, **claims.as_dict()})

    def _claims(self, payload: object) -> Claims:
        match payload:
            case {
                "iss": self._issuer,
                "aud": self._audience,
                "sub": str(sub),
                "sid": str(sid),
                "jti": str(jti),
                "key_id": str(key_id),
                "scope": str(scope),
                "epoch": int() | float() as epoch,
                "iat": int(iat),
                "exp": int(exp),
                **others,
            } if not others and _is_time(epoch) and _is_time(iat) and _is_time(exp) and iat < exp:
                return Claims(sub, sid, jti, key_id, scope, epoch, iat, exp)
        raise InvalidToken("claims that we do not issue")


def _is_time(seconds: float) -> bool:
    """A number that JSON and both databases hold exactly; Python's `int` takes a bool too."""
    return not isinstance(seconds, bool) and 0 <= seconds < 2**53


def _header_segment(typ: str, key: OctKey) -> str:
    kid = key.thumbprint()[:16]
    return _encode(orjson.dumps({"alg": "HS256", "typ": typ, "kid": kid}))


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(segment: str) -> bytes:
    """Raises `ValueError` for any spelling but the one that `_encode` makes (RFC 7515, 2)."""
    data = base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    if _encode(data) != segment:
        raise ValueError("not canonical base64url")
    return data
