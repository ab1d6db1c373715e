"""What a token of ours says."""

import os
import secrets
from hashlib import sha256
from typing import NamedTuple

from authapi.credentials import base64url

MAX_ACCESS_SECONDS = 86_400
MAX_SESSION_SECONDS = 31_536_000
"""No access token and no session lives longer, whatever the settings of a server say."""


class Claims(NamedTuple):
    """The claims under their names in RFC 7519 and RFC 9068, without `iss` and `aud`.

    `sid` is shared by every token of one login, and `key_id` is the client key that logged in.
    `era` is when all of the client's sessions had last been ended as this one began. To end
    them all is to make a later era: every token of an earlier one is dead. An era is compared
    with what the database holds and never with a clock, so nodes need not agree on the time.

    `database_id` is no claim: it stands in the header's `kid`, since a token counts only with the
    database that it was issued for.
    """

    sub: str
    sid: str
    jti: str
    key_id: str
    scope: str
    era: float
    iat: int
    exp: int
    database_id: str

    def successor(self, iat: int) -> "Claims":
        """Of a refresh token: the one that follows it, the same for whoever asks, and no longer."""
        return self._replace(jti=successor_jti(self.jti), iat=iat)


def new_id() -> str:
    """128 random bits, for a `jti` or a `sid`."""
    return base64url.encode(os.urandom(16)).decode()


def new_database_id() -> str:
    return secrets.token_hex(8)


def successor_jti(jti: str) -> str:
    return base64url.encode(sha256(jti.encode()).digest()[:16]).decode()
