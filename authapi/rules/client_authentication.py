"""Whose client key or assertion this is, if it opens anything, and which scopes it may have."""

import time
from typing import NamedTuple

from authapi.credentials.assertions import Assertion
from authapi.credentials.client_credentials import ClientCredentials
from authapi.credentials.client_keys import digest_of, id_of, is_well_formed
from authapi.credentials.scopes import is_within, read_scopes
from authapi.engines.database import Row
from authapi.errors import InvalidClient, InvalidScope, RefusedClient
from authapi.revocation.revocations import Revocations
from authapi.rules.assertions import Assertions
from authapi.rules.client_cache import ClientCache
from authapi.throttling.failed_logins import FailedLogins

REFUSAL_SECONDS = 0.001
"""How long every refusal of a key takes, so that its time does not give the reason away."""


class AuthenticatedClient(NamedTuple):
    """`login` is what was found of the client and its key; the assertion is not spent yet."""

    login: Row
    assertion: Assertion | None


class ClientAuthentication:
    """Judges what a client shows, and limits how often it may be wrong."""

    def __init__(
        self,
        client_cache: ClientCache,
        revocations: Revocations,
        failed_logins: FailedLogins,
        assertions: Assertions,
    ) -> None:
        self._client_cache = client_cache
        self._revocations = revocations
        self._failed_logins = failed_logins
        self._assertions = assertions

    async def authenticate(self, client_key: str, address: str, now: float) -> Row:
        """What `store.sessions.find_login` finds of the key, sent from a network address.

        Raises `InvalidClient`, the same for an unknown, expired, revoked or disabled key; and
        `TooManyFailures` before the key is looked at.
        """
        began = time.perf_counter()
        await self._failed_logins.admit(address)
        try:
            # A key is pasted with what stands around it, and `invalid_client` is final.
            return await self.judge(client_key.strip(), now)
        except InvalidClient as refusal:
            raise await self._counted(refusal, address, began) from None

    async def identify(
        self, shown: ClientCredentials, address: str, now: float, key_id: str | None = None
    ) -> AuthenticatedClient:
        """As `authenticate`, of what is shown at an OAuth endpoint; if a `key_id` is given, only of
        that key. Raises `RefusedClient`."""
        began = time.perf_counter()
        await self._failed_logins.admit(address)
        try:
            client = await self._judge_shown(shown, now)
            if key_id not in (None, client.login["key_id"]):
                raise InvalidClient("another key than the session's", client=client.login["id"])
            return client
        except InvalidClient as refusal:
            refused = RefusedClient(str(refusal), None, **refusal.details)
            raise await self._counted(refused, address, began) from None

    async def _judge_shown(self, shown: ClientCredentials, now: float) -> AuthenticatedClient:
        if shown.client_assertion is not None:
            judged = await self._assertions.judge(shown.client_assertion, shown.client_id)
            return AuthenticatedClient(*judged)
        login = await self.judge(shown.client_secret.strip(), now, shown.client_id)
        return AuthenticatedClient(login, None)

    async def find_signer(self, text: str) -> str | None:
        """The id of the open key that has signed this assertion, which is spent by that; of a
        disabled client, too. None if it does not count."""
        try:
            login, assertion = await self._assertions.find_signer(text)
        except InvalidClient:
            return None
        return str(login["key_id"]) if await self._assertions.spend(assertion) else None

    async def spend(self, client: AuthenticatedClient, address: str) -> None:
        """An assertion counts once. Raises `RefusedClient` the second time."""
        began, login = time.perf_counter(), client.login
        if client.assertion is not None and not await self._assertions.spend(client.assertion):
            refused = RefusedClient(
                "spent assertion", None, client=login["id"], key_id=login["key_id"]
            )
            raise await self._counted(refused, address, began)

    async def _counted(self, refusal: InvalidClient, address: str, began: float) -> InvalidClient:
        await self._failed_logins.count(address)
        refusal.answer_at = began + REFUSAL_SECONDS
        return refusal

    async def judge(self, client_key: str, now: float, client_id: str | None = None) -> Row:
        """As `authenticate`, without the limits and the padding; if a `client_id` is given, only
        for that one."""
        digest = digest_of(client_key)
        login = self._client_cache.get(digest)
        if login is None:
            if not is_well_formed(client_key):
                raise InvalidClient("malformed key")
            login = await self._client_cache.find_login(digest)
        if self._revocations.era_of(login["id"]) > login["era"]:
            # All of the client's sessions were ended since this was read, and scopes may have been
            # taken from it. A token must have the era in which its scopes were granted.
            self._client_cache.drop(digest)
            login = await self._client_cache.find_login(digest)
        reason = _refusal_reason(login, now)
        if not reason and client_id not in (None, login["id"]):
            reason = "key of another client"
        if reason:
            # From the cache, a key that once opened would be refused faster than an unknown one.
            self._client_cache.drop(digest)
            client = login["id"] if login["is_known"] else ""
            raise InvalidClient(reason, client=client, key_id=id_of(client_key))
        return login


def _refusal_reason(login: Row, now: float) -> str:
    """Why the key opens nothing; empty if it does."""
    if not login["is_known"]:
        return "unknown key"
    if login["disabled_at"] is not None:
        return "disabled client"
    if login["revoked_at"] is not None:
        return "revoked key"
    if login["expires_at"] is not None and login["expires_at"] <= now:
        return "expired key"
    return ""


def granted_scope(login: Row, asked: str) -> str:
    """All that the client was granted, or less of it if less is asked for (RFC 6749, 3.3).

    Raises `InvalidScope`.
    """
    granted: str = login["scopes"]
    if not asked:
        return granted
    try:
        scopes = read_scopes(asked)
    except ValueError:
        scopes = [""]  # which nobody is granted
    if not is_within(scopes, granted):
        raise InvalidScope("more than granted", client=login["id"], key_id=login["key_id"])
    return " ".join(scopes)
