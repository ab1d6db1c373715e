"""What a token of ours says."""

import base64
import secrets
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any


@dataclass(frozen=True, slots=True)
class Claims:
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

    def as_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}

    def successor(self, iat: int) -> "Claims":
        """Of a refresh token: the one that follows it, the same for whoever asks, and no longer."""
        return replace(self, jti=successor_jti(self.jti), iat=iat)


def new_id() -> str:
    """128 random bits, for a `jti` or a `sid`."""
    return secrets.token_urlsafe(16)


def successor_jti(jti: str) -> str:
    digest = sha256(jti.encode()).digest()[:16]
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
