"""Whether a signed assertion is a client's, and new (RFC 7523, 3)."""

import math
from collections.abc import Collection

from authapi.clocks import Clocks
from authapi.credentials.assertions import Assertion, read_assertion
from authapi.engines.database import Database, Row
from authapi.errors import InvalidClient
from authapi.store import own_keys

MAX_UNNAMED = 4
"""So many keys are tried of a client that does not say which one it has signed with."""


class Assertions:
    """`audiences` are the names by which clients know us: the issuer and the endpoints."""

    def __init__(
        self,
        database: Database,
        clocks: Clocks,
        audiences: Collection[str],
        leeway_seconds: float,
    ) -> None:
        self._database = database
        self._clocks = clocks
        self._audiences = audiences
        self._leeway_seconds = leeway_seconds

    async def judge(self, text: str, client_id: str | None) -> tuple[Row, Assertion]:
        """The login that `store.sessions.find_login` would find of a key, and what is to be spent.

        Raises `InvalidClient`.
        """
        login, assertion = await self.find_signer(text)
        details = {"client": login["id"], "key_id": login["key_id"]}
        if login["disabled_at"] is not None:
            raise InvalidClient("disabled client", **details)
        if client_id not in (None, assertion.client_id):
            raise InvalidClient("assertion of another client", **details)
        return login, assertion

    async def find_signer(self, text: str) -> tuple[Row, Assertion]:
        """As `judge`, of a client that may be disabled."""
        try:
            assertion = read_assertion(text)
        except ValueError as fault:
            raise InvalidClient(str(fault)) from None
        now = self._clocks.wall()
        logins = await own_keys.find_public_keys(self._database, assertion.client_id, now)
        # Whoever knows a client may ask for this, and each costs a verification.
        for login in logins if "kid" in assertion.signed.headers() else logins[:MAX_UNNAMED]:
            if assertion.is_signed_by(login["public_key"]):
                break
        else:
            raise InvalidClient("assertion that no open key has signed")
        try:
            assertion.check(self._audiences, now, self._leeway_seconds)
        except ValueError as fault:
            details = {"client": login["id"], "key_id": login["key_id"]}
            raise InvalidClient(str(fault), **details) from None
        return login, assertion

    async def spend(self, assertion: Assertion) -> bool:
        """False if it was spent before, on whichever worker."""
        now, expires_at = self._clocks.wall(), math.ceil(assertion.ends_at)
        return await own_keys.spend_assertion(self._database, assertion.jti, now, expires_at)
