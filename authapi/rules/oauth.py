"""What standard clients ask: a token, to revoke one, and whether one counts (RFC 6749, 7009, 7662).

Each asks with its own credentials, and they are judged first. What is refused for its form, its
scope or its owner spends nothing: an assertion is spent last, before there is an effect. To
count a session is one: what is refused as one too many has spent its assertion.
"""

from typing import Any

from authapi.credentials.claims import Claims
from authapi.credentials.client_credentials import ClientCredentials
from authapi.credentials.tokens import ACCESS, REFRESH, Tokens
from authapi.errors import InvalidGrant, InvalidToken, OthersToken, RefusedGrant
from authapi.rules.client_authentication import AuthenticatedClient, ClientAuthentication
from authapi.rules.client_key_uses import ClientKeyUses
from authapi.rules.sessions import Sessions
from authapi.rules.token_answers import TokenAnswer, TokenPair, describe


class OAuth:
    """Each method raises what `ClientAuthentication.identify` and `spend` do."""

    def __init__(
        self,
        sessions: Sessions,
        tokens: Tokens,
        client_authentication: ClientAuthentication,
        key_uses: ClientKeyUses,
    ) -> None:
        self._sessions = sessions
        self._tokens = tokens
        self._client_authentication = client_authentication
        self._key_uses = key_uses

    async def grant(self, shown: ClientCredentials, address: str, scope: str) -> TokenAnswer:
        """A session without a refresh token, since who has the credentials can always ask anew
        (RFC 6749, 4.4.3). Raises what `Sessions.begin` does."""
        now, database_id = self._sessions.clocks.wall(), self._tokens.database_id
        client = await self._client_authentication.identify(shown, address, now)
        session = await self._sessions.begin(client.login, scope, now, database_id)
        await self._client_authentication.spend(client, address)
        return await self._sessions.issue(client.login, session)

    async def refresh(
        self, shown: ClientCredentials, address: str, refresh_token: str
    ) -> TokenPair:
        """As `Sessions.refresh`, for the client that the token was issued to (RFC 6749, 6): for
        another it is not spent. Raises `RefusedGrant`."""
        now = self._sessions.clocks.wall()
        client = await self._client_authentication.identify(shown, address, now)
        try:
            session = self._sessions.read_refresh_token(refresh_token)
            _demand_own(client, session)
            await self._client_authentication.spend(client, address)
            pair = await self._sessions.go_on(session)
        except InvalidGrant as refusal:
            raise RefusedGrant(str(refusal), None, **refusal.details) from None
        if session.key_id != client.login["key_id"]:
            self._key_uses.note(client.login["key_id"], int(now))
        return pair

    async def revoke(self, shown: ClientCredentials, address: str, token: str) -> None:
        """End the session of an access token or a refresh token. What is no token of ours needs no
        revoking (RFC 7009, 2.2). Raises `RefusedGrant` if it is another client's."""
        now = self._sessions.clocks.wall()
        client = await self._client_authentication.identify(shown, address, now)
        read = {typ: claims for typ in (ACCESS, REFRESH) if (claims := self._read(typ, token))}
        for claims in read.values():
            _demand_own(client, claims)
        await self._spend_and_note(client, address, now)
        for typ, claims in read.items():
            await self._sessions.end(claims, shown_exp=claims.exp if typ == ACCESS else 0)

    def _read(self, typ: str, token: str) -> Claims | None:
        try:
            return self._tokens.read(typ, token)
        except InvalidToken:
            return None

    async def introspect(
        self, shown: ClientCredentials, address: str, token: str
    ) -> dict[str, Any]:
        """What an access token says while it counts. A refresh token never does here: those who
        ask take what is active for an access token. Raises `InvalidToken`."""
        now = self._sessions.clocks.wall()
        client = await self._client_authentication.identify(shown, address, now)
        await self._spend_and_note(client, address, now)
        claims = await self._sessions.check(token)
        return describe(self._tokens, claims)

    async def _spend_and_note(self, client: AuthenticatedClient, address: str, now: float) -> None:
        await self._client_authentication.spend(client, address)
        self._key_uses.note(client.login["key_id"], int(now))


def _demand_own(client: AuthenticatedClient, session: Claims) -> None:
    if session.sub != client.login["id"]:
        details = {"client": client.login["id"], "session": session.sid}
        raise OthersToken("of another client", None, **details)
