"""Sessions of your own: for people, say, whom a route of yours has authenticated by password."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.requests import Request

from authapi.errors import InvalidLogin
from authapi.rules.sessions import Sessions
from authapi.rules.token_answers import LoginAnswer
from authapi.store.sessions import find_own_login
from authapi.subjects.registering import database_of
from authapi.throttling.failed_logins import FailedLogins
from authapi.web.requests import sender_of


@asynccontextmanager
async def login_attempt(request: Request[Any]) -> AsyncIterator[None]:
    """Around whatever judges a login: an `InvalidLogin` that is raised in it counts against the
    limits of failed logins, together with those at `/login`.

    Raises `TooManyFailures` before anything is judged.
    """
    failed_logins: FailedLogins = request.state["failed_logins"]
    async with failed_logins.attempt(sender_of(request.scope)):
        yield


async def begin_session(request: Request[Any], client_id: str, scope: str = "") -> LoginAnswer:
    """The tokens of a new session of a client, as `/login` answers them: with the scopes asked for,
    or all that it was granted. You have judged who calls; nothing here asks for a credential.

    Raises `InvalidLogin` if there is no such client, or it is disabled, or none of its keys is
    open; and `InvalidScope`, `TooManyLogins` and `TooManySessions`.
    """
    sessions: Sessions = request.state["sessions"]
    # Before the client is read: what this database says is no word on tokens of another.
    now, database_id = sessions.clocks.wall(), request.state["tokens"].database_id
    login = await find_own_login(database_of(request), client_id, now)
    if login is None:
        raise InvalidLogin("no client that may log in", client=client_id)
    session = await sessions.begin(login, scope, now, database_id)
    return await sessions.issue_pair(login, session)
