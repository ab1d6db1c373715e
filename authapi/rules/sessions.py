"""The rules of a session: how it begins, goes on and ends."""

from authapi.credentials.claims import Claims, new_id
from authapi.credentials.tokens import ACCESS, REFRESH, Tokens
from authapi.engines.database import Database, Row
from authapi.errors import InvalidGrant, InvalidToken
from authapi.revocation.issuing import Issuing
from authapi.revocation.revocations import Revocations
from authapi.rules.client_authentication import ClientAuthentication, granted_scope
from authapi.rules.client_key_uses import ClientKeyUses
from authapi.rules.client_limits import ClientLimits
from authapi.rules.token_answers import (
    LoginAnswer,
    TokenAnswer,
    TokenPair,
    issue_access,
    issue_pair,
)
from authapi.store.revocations import Ending, end_all_sessions, end_session, find_era
from authapi.store.sessions import find_spent, spend
from authapi.telemetry import audit


class Sessions:
    """A session begins with a client key and lives `tokens.refresh_seconds`, and no longer."""

    def __init__(
        self,
        database: Database,
        tokens: Tokens,
        revocations: Revocations,
        client_authentication: ClientAuthentication,
        key_uses: ClientKeyUses,
        client_limits: ClientLimits,
        issuing: Issuing,
        grace_seconds: float,
    ) -> None:
        self._database = database
        self._tokens = tokens
        self._revocations = revocations
        self._client_authentication = client_authentication
        self._key_uses = key_uses
        self._client_limits = client_limits
        self._grace_seconds = grace_seconds
        self._issuing = issuing
        self.clocks = revocations.clocks

    async def check(self, access_token: str) -> Claims:
        """Of a token that is ours, within its time and not ended. Raises `InvalidToken`."""
        claims = self._tokens.verify(ACCESS, access_token)
        if await self._revocations.is_ended(claims):
            raise InvalidToken("ended session", client=claims.sub, session=claims.sid)
        return claims

    async def log_in(self, client_key: str, address: str, scope: str = "") -> LoginAnswer:
        """Begin a session that can be refreshed. Raises what `authenticate` and `begin` do."""
        now, database_id = self.clocks.wall(), self._tokens.database_id
        login = await self._client_authentication.authenticate(client_key, address, now)
        return await self.issue_pair(login, await self.begin(login, scope, now, database_id))

    async def issue_pair(self, login: Row, session: Claims) -> LoginAnswer:
        """The tokens of a session that can be refreshed. Raises `TooManySessions`."""
        await self._client_limits.count_session(login, session)
        _record("login", session)
        pair = self._pair(session, session.iat, login["expires_at"])
        return {**pair, "user_id": session.sub}

    async def begin(self, login: Row, scope: str, now: float, database_id: str) -> Claims:
        """With the scopes asked for, or all that the client was granted, of the database that
        judged it. Writes how late tokens are, once a minute. Raises `InvalidScope` and
        `TooManyLogins`."""
        await self._client_limits.count_login(login)
        iat = int(now)
        await self._issuing.allow(database_id, iat)
        return Claims(
            sub=login["id"],
            sid=new_id(),
            jti=new_id(),
            key_id=login["key_id"],
            scope=granted_scope(login, scope),
            era=login["era"],
            iat=iat,
            exp=iat + self._tokens.refresh_seconds,
            database_id=database_id,
        )

    async def issue(self, login: Row, session: Claims) -> TokenAnswer:
        """The access token of a session that ends with it. Raises `TooManySessions`."""
        session = session._replace(exp=session.iat + self._tokens.access_seconds)
        await self._client_limits.count_session(login, session)
        _record("login", session)
        self._key_uses.note(session.key_id, session.iat)
        return issue_access(self._tokens, session, session.iat, login["expires_at"])

    async def refresh(self, refresh_token: str) -> LoginAnswer:
        """Let the session go on, for whoever holds its token. Raises `InvalidGrant`."""
        claims = self.read_refresh_token(refresh_token)
        return {**await self.go_on(claims), "user_id": claims.sub}

    def read_refresh_token(self, refresh_token: str) -> Claims:
        """Of a token that is ours and whose time is not over; perhaps it is spent or its session
        ended. Raises `InvalidGrant`."""
        try:
            claims = self._tokens.verify(REFRESH, refresh_token)
        except InvalidToken as refusal:
            raise InvalidGrant(str(refusal)) from None
        # The leeway allows for clocks that differ; it does not reopen a session that is over.
        if claims.exp <= self.clocks.wall():
            raise InvalidGrant("expired")
        return claims

    async def go_on(self, claims: Claims) -> TokenPair:
        """Exchange a refresh token for its successor and a new access token.

        A repeat within the grace, while the successor is unspent, gets the same successor: a lost
        answer or a double submit harms nobody. Any other use of a spent token is theft, and ends
        the session (RFC 9700, 4.14.2). Raises `InvalidGrant`.
        """
        now = self.clocks.wall()
        # First: a log-out that did not reckon with tokens of this time is committed by then, and
        # seen by what follows.
        await self._issuing.allow(claims.database_id, max(claims.iat, int(now)))
        spent = await spend(self._database, claims, now)
        if spent is None:
            spent = await self._spent_before(claims, now)
        _record("refreshed", claims)
        # Not before its predecessor, whose node may have a clock that is ahead: `exp - iat` would
        # exceed a session, and `verify` would refuse the token.
        successor = claims.successor(iat=max(claims.iat, int(spent["revoked_at"])))
        return self._pair(successor, int(now), spent["key_expires_at"])

    async def _spent_before(self, claims: Claims, now: float) -> Row:
        spent = await find_spent(self._database, claims, now)
        if spent is None:
            raise InvalidGrant("ended session", client=claims.sub, session=claims.sid)
        if not spent["session_goes_on"]:
            # Another replay may just have ended it: answer no sooner than that one does.
            await self._revocations.enforce(self._ending(claims.sid, "ended", claims, now).ended())
            raise InvalidGrant("ended session", client=claims.sub, session=claims.sid)
        is_repeat = now - spent["revoked_at"] <= self._grace_seconds
        if is_repeat and not spent["successor_is_spent"]:
            return spent
        await self._end(claims, "reused", now)
        _record("refresh_reused", claims)
        raise InvalidGrant("reused", client=claims.sub, session=claims.sid)

    async def log_out(self, access_token: str, everywhere: bool) -> None:
        """End the token's session, or all of its client's; a repeat changes nothing.

        A token of ours may be expired, or its session ended. But to end other sessions, it must
        count. Raises `InvalidToken`.
        """
        now = self.clocks.wall()
        claims = self._tokens.read(ACCESS, access_token)
        if not everywhere:
            await self.end(claims, claims.exp)
            return
        try:
            self._tokens.verify(ACCESS, access_token)
            await self._end_all(claims, now)
            _record("logged_out_everywhere", claims)
        except InvalidToken:
            # A repeat of the log-out that ended this very session. If another one has ended them
            # all since, the token is simply dead, and the sessions since then go on.
            last = await find_era(self._database, claims.sub)
            if last is None or last["ended_by"] != claims.sid:
                raise
            ending = self._ending(claims.sub, "everywhere", claims, last["revoked_at"])
            await self._revocations.enforce(ending.ended())

    async def end(self, claims: Claims, shown_exp: int = 0) -> None:
        """End the session of a token, which may be expired or ended; a repeat changes nothing."""
        await self._end(claims, "logged_out", self.clocks.wall(), shown_exp)
        _record("logged_out", claims)

    async def _end(self, claims: Claims, reason: str, now: float, shown_exp: int = 0) -> None:
        ending = self._ending(claims.sid, reason, claims, now, shown_exp)
        await self._revocations.enforce(await end_session(self._database, ending))

    async def _end_all(self, claims: Claims, now: float) -> None:
        ending = self._ending(claims.sub, "everywhere", claims, now, claims.exp)
        ended = await end_all_sessions(self._database, claims, ending._replace(ended_by=claims.sid))
        if ended is None:
            raise InvalidToken("ended session")
        await self._revocations.enforce(ended)

    def _ending(
        self, ended_id: str, reason: str, claims: Claims, now: float, shown_exp: int = 0
    ) -> Ending:
        lives = self._tokens.access_seconds, self._tokens.refresh_seconds
        return Ending(ended_id, reason, max(now, claims.iat), *lives, shown_exp)

    def _pair(self, refresh: Claims, now: int, key_expires_at: int | None) -> TokenPair:
        self._key_uses.note(refresh.key_id, now)
        return issue_pair(self._tokens, refresh, now, key_expires_at)


def _record(event: str, claims: Claims) -> None:
    audit.record(event, client=claims.sub, key_id=claims.key_id, session=claims.sid)
