"""A client of the registry for each whom your routes let in: what ends its sessions ends theirs."""

import time
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request

from authapi.credentials.client_keys import new_client_id, new_client_key
from authapi.credentials.scopes import read_scopes
from authapi.engines.database import Database
from authapi.store import clients
from authapi.telemetry import audit


def database_of(request: Request[Any]) -> Database:
    """The database of the service, connected. It takes statements of SQLAlchemy that are constants.

    Where it cannot be asked, `TemporarilyUnavailable` is raised. Tables of your own may be in it.
    """
    database: Database = request.state["database"]
    return database


async def register_client(
    request: Request[Any],
    name: str,
    scope: str = "",
    also: Callable[[str], Awaitable[object]] | None = None,
) -> str | None:
    """Register a client that no client key opens, with these scopes. Returns its id; None, and
    nothing is changed, if the name is taken.

    `also` is called with the id, in the same transaction: what it writes by `database_of` is
    written with the client, or neither is. Let it ask the database and nothing else, since other
    writers wait. Raises `ValueError` for a name or scopes that no client can have.
    """
    scopes = " ".join(read_scopes(scope))
    if not clients.is_name(name):
        raise ValueError("not a name of a client")
    # A session hangs on a key. Nobody has seen this one, and from here on nobody can.
    client_id, key, now = new_client_id(), new_client_key(), int(time.time())

    async def add() -> None:
        if also is not None:
            await also(client_id)

    database = database_of(request)
    if not await clients.create_client(database, client_id, name, key, now, scopes, add):
        return None
    audit.record("client_created", client=client_id, key_id=key.id, name=name, scopes=scopes)
    return client_id
