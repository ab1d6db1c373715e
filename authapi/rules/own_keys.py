"""What a client may do to its own keys: make the next one, end one, and end one that leaked."""

import asyncio
import time
from typing import Any

from authapi.credentials.assertions import PublicKey
from authapi.credentials.claims import Claims
from authapi.credentials.client_credentials import ClientCredentials
from authapi.credentials.client_keys import digest_of
from authapi.engines.database import Database, Row
from authapi.errors import InvalidRequest, RefusedClient, RefusedProof
from authapi.managing.manager import Manager
from authapi.managing.over_http import Managers
from authapi.managing.refusals import refusing_known_keys
from authapi.managing.showing import key_json, next_key
from authapi.request_errors import NotFound
from authapi.rules.client_authentication import ClientAuthentication
from authapi.store import client_keys, own_keys
from authapi.store.clients import find_client
from authapi.telemetry import audit
from authapi.throttling.failed_logins import FailedLogins
from authapi.throttling.refusals import TooManyKeys

OVERLAP_SECONDS = 3600
"""For how long a key goes on in whose place its maker has made another one."""
SHOWN_SECONDS = 0.1
"""How long it takes to end a key that is shown, and not to, besides the wait for all workers."""


class OwnKeys:
    """Of the client whose session it is, and never of another."""

    def __init__(
        self,
        database: Database,
        managers: Managers,
        failed_logins: FailedLogins,
        authentication: ClientAuthentication,
    ) -> None:
        self._database = database
        self._managers = managers
        self._failed_logins = failed_logins
        self._authentication = authentication

    async def list(self, session: Claims) -> list[dict[str, Any]]:
        """The oldest first, and no more than a hundred. One of them has opened the session."""
        now = self._managers.clock()
        rows = await own_keys.list_own_keys(self._database, session.sub, now)
        return [key_json(row) | {"current": row["id"] == session.key_id} for row in rows]

    async def rotate(
        self, session: Claims, shown: ClientCredentials, address: str, public_key: PublicKey | None
    ) -> dict[str, Any]:
        """Make the next key, or take this public one. It is good at once, on every worker.

        What is shown proves that the caller has the key that opened the session: a token alone,
        which may be stolen, would become a key, which has all scopes and outlives the token.

        It ends when the key does that opened the session, so that no client has a key for longer
        than its operator allows. Another one that the latter has made ends after the overlap: its
        answer may have been lost, and nobody know it.

        Raises `RefusedProof`, `TooManyFailures`, `InvalidToken` if the session is over,
        `TooManyKeys`, `KeyTaken`, and `InvalidRequest` if a secret is to follow a key that signs.
        """
        now = int(self._managers.clock())
        if public_key is None and shown.client_assertion is not None:
            raise InvalidRequest("no public key", {"public_key": ["Needed, as the key signs."]})
        await self._prove(session, shown, address, now)
        named = {"client": session.sub, "made_by": session.key_id}
        (key, secret), manager = next_key(public_key), self._managers.by(self._database, session)
        try:
            with refusing_known_keys():
                made = await manager.alone(
                    lambda: own_keys.make_next_key(
                        self._database, session, key, now, OVERLAP_SECONDS
                    ),
                    lambda made: audit.record("key_rotated", key_id=made["id"], **named),
                )
        except own_keys.TooMany:
            raise TooManyKeys(OVERLAP_SECONDS, client=session.sub) from None
        answer = {"user_id": session.sub, "key_id": made["id"], "expires_at": made["expires_at"]}
        return answer | secret

    async def _prove(
        self, session: Claims, shown: ClientCredentials, address: str, now: float
    ) -> None:
        try:
            client = await self._authentication.identify(shown, address, now, session.key_id)
            await self._authentication.spend(client, address)
        except RefusedClient as refusal:
            refused = RefusedProof(refusal.reason, None, **refusal.details)
            refused.answer_at = refusal.answer_at
            raise refused from None

    async def end(self, session: Claims, key_id: str) -> None:
        """End a key, and every session that it began, on every worker. A repeat changes nothing.

        Raises `NotFound` if the client has none with this id, `InvalidToken` if the session is
        over, and `LastAdministrator`.
        """
        key = await own_keys.find_own_key(self._database, session.sub, key_id)
        if key is None:
            raise NotFound
        manager = self._managers.by(self._database, session)
        await _revoke(manager, key, by=session.key_id)
        await manager.settle()

    async def end_shown(self, shown: ClientCredentials, address: str) -> None:
        """End a key for whoever shows it, or signs by it: who has it may do worse. What ends
        nothing counts as a failed login, and takes the same time. Raises `TooManyFailures`."""
        answer_at = time.perf_counter() + SHOWN_SECONDS
        await self._failed_logins.admit(address)
        manager = self._managers.by(self._database, None)
        key = await self._find_shown(shown)
        if key is None or key["revoked_at"] is not None:
            await self._failed_logins.count(address)
        else:
            await _revoke(manager, key, by=key["id"])
        await asyncio.sleep(answer_at - time.perf_counter())
        await manager.settle()

    async def _find_shown(self, shown: ClientCredentials) -> Row | None:
        if shown.client_assertion is None:
            digest = digest_of(shown.client_secret.strip())
            return await client_keys.find_digest(self._database, digest)
        key_id = await self._authentication.find_signer(shown.client_assertion)
        return None if key_id is None else await client_keys.find_key(self._database, key_id)


async def _revoke(manager: Manager, key: Row, by: str) -> None:
    async def decide() -> set[str]:
        client = await find_client(manager.database, key["client_id"])
        revoked = await client_keys.revoke_keys(manager.database, [key["id"]], manager.clock())
        if revoked and client:
            await manager.keep_administrator(client)
        return revoked

    def record(revoked: set[str]) -> None:
        if revoked:
            audit.record("key_revoked", client=key["client_id"], key_id=key["id"], by=by)

    await manager.decide(decide, record)
