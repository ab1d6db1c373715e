"""What a token of ours says."""

import os
from hashlib import sha256
from typing import NamedTuple

import base64url


class Claims(NamedTuple):
    """The claims under their names in RFC 7519 and RFC 9068, without `iss` and `aud`.

    `sid` is shared by every token of one login, and `key_id` is the client key that logged in.
    `epoch` is when all of the client's sessions had last been ended as this one began. To end
    them all is to make a later epoch: every token of an earlier one is dead. An epoch is compared
    with what the database holds and never with a clock, so nodes need not agree on the time.
    """

    sub: str
    sid: str
    jti: str
    key_id: str
    scope: str
    epoch: float
    iat: int
    exp: int

    def successor(self, iat: int) -> "Claims":
        """Of a refresh token: the one that follows it, the same for whoever asks, and no longer."""
        return self._replace(jti=successor_jti(self.jti), iat=iat)


def new_id() -> str:
    """128 random bits, for a `jti` or a `sid`."""
    return base64url.encode(os.urandom(16)).decode()


def successor_jti(jti: str) -> str:
    return base64url.encode(sha256(jti.encode()).digest()[:16]).decode()
