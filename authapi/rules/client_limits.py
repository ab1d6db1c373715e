"""What a client may have at most: logins in a time, by a count; sessions at once, by their rows.

A client without a limit of sessions costs the database nothing: its sessions are not written.
"""

from authapi.credentials.claims import Claims
from authapi.engines.database import Database, Row
from authapi.store.sessions import count_in
from authapi.throttling.client_logins import ClientLogins
from authapi.throttling.refusals import TooManySessions

RETRY_SECONDS = 60
"""Sooner than the first session may end by itself, since any of them may be logged out."""


class ClientLimits:
    """The operator's, of the client of a login; without them, the defaults."""

    def __init__(self, database: Database, client_logins: ClientLogins) -> None:
        self._database = database
        self._client_logins = client_logins

    async def count_login(self, login: Row) -> None:
        """Raises `TooManyLogins`."""
        await self._client_logins.begin(login["id"], login["login_limit"])

    async def count_session(self, login: Row, session: Claims) -> None:
        """Last of all, since what is refused for another reason is no session. Raises
        `TooManySessions`."""
        most = login["session_limit"]
        if most is None:
            return
        first_end = await count_in(self._database, session, most, session.iat)
        if first_end is not None:
            seconds = max(1, min(first_end - session.iat, RETRY_SECONDS))
            raise TooManySessions(seconds, client=login["id"])
