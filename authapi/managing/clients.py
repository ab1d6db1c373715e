"""What is done to clients: made, read, changed, logged out and deleted."""

from collections.abc import Collection
from contextlib import suppress
from functools import partial
from typing import Any

from authapi.credentials.assertions import PublicKey
from authapi.credentials.client_keys import new_client_id
from authapi.credentials.scopes import is_within
from authapi.engines.database import Row
from authapi.managing.changes import Changed, Changes, record
from authapi.managing.manager import Manager
from authapi.managing.refusals import (
    ChangedMeanwhile,
    NameTaken,
    PreconditionFailed,
    refusing_known_keys,
    refusing_references,
)
from authapi.managing.repeats import Repeatable, once
from authapi.managing.showing import client_json, next_key, version_of
from authapi.request_errors import NotFound
from authapi.store import administration, clients
from authapi.store.revocations import end_client, ending_by_operator
from authapi.telemetry import audit

Versions = Collection[str] | None
"""One of those the client must have; None is any."""
_TAKEN = "There is a client {!r} already; choose another name."


async def read(manager: Manager, client_id: str) -> Row:
    """Raises `NotFound`."""
    client = await clients.find_client(manager.database, client_id)
    if client is None:
        raise NotFound
    return client


async def create(
    manager: Manager,
    name: str,
    scopes: str,
    metadata: str = "{}",
    public_key: PublicKey | None = None,
    repeatable: Repeatable | None = None,
) -> dict[str, Any]:
    """Register a client with a new client key, or with this public one. What is answered holds the
    client key, this once. Raises `ExceedsOwnScopes`, `NameTaken`, `KeyTaken`, and what `once` does.
    """
    manager.demand_own(scopes, "scopes")
    client_id, now = new_client_id(), int(manager.clock())
    key, shown = next_key(public_key)

    async def register() -> dict[str, Any]:
        given = (client_id, name, key, now, scopes)
        with refusing_known_keys():
            is_new = await clients.create_client(manager.database, *given, metadata=metadata)
        if not is_new:
            raise NameTaken(_TAKEN.format(name))
        return client_json(await read(manager, client_id)) | {"key_id": key.id} | shown

    told = {"client": client_id, "key_id": key.id, "name": name, "scopes": scopes}
    record = partial(audit.record, "client_created", **told)
    return await once(manager, repeatable, register, record)


class WouldEndSessions(Exception):
    """To take a scope away ends a client's sessions, and that was not agreed to."""


async def change(
    manager: Manager,
    client_id: str,
    changes: Changes,
    versions: Versions = None,
    may_end: bool = True,
) -> Changed:
    """Change a client, all of it or nothing.

    Raises `NotFound`, `ExceedsOwnScopes`, `PreconditionFailed`, `NameTaken`, `LastAdministrator`;
    and `WouldEndSessions` if a scope is taken away, and that `may_end` none.
    """
    if changes.scopes is not None:
        manager.demand_own(changes.scopes, "scopes")

    async def decide() -> Changed:
        was = await _find(manager, client_id, versions)
        await _apply(manager, was, changes, may_end)
        client = await read(manager, client_id)
        has_less = not is_within(was["scopes"].split(), client["scopes"])
        ends = has_less or changes.disabled is True
        if ends:
            await manager.keep_administrator(was)
        return Changed(was, client, ends)

    changed = await manager.decide(decide, record)
    await manager.settle()
    return changed


async def _find(manager: Manager, client_id: str, versions: Versions) -> Row:
    client = await manager.find_client(client_id)
    if versions is not None and version_of(client) not in versions:
        raise PreconditionFailed
    return client


async def _apply(manager: Manager, was: Row, changes: Changes, may_end: bool) -> None:
    database, client_id, now = manager.database, was["id"], manager.clock()
    name, scopes = changes.name, changes.scopes
    if name is not None and not await clients.rename_client(database, client_id, name, now):
        raise NameTaken(_TAKEN.format(name))
    if changes.metadata is not None:
        await clients.note_metadata(database, client_id, changes.metadata)
    if scopes is not None:
        former = await clients.set_scopes(database, client_id, scopes, may_end, now)
        if former is None:
            raise WouldEndSessions
    if changes.disabled is True:
        await clients.disable_client(database, client_id, now)
    if changes.disabled is False:
        await clients.enable_client(database, client_id, now)
    if changes.limits is not None:
        await administration.set_limits(database, was, changes.limits, now)


async def end_sessions(manager: Manager, client_id: str) -> Row:
    """End every session of a client, which may log in again. Raises `NotFound` and
    `ExceedsOwnScopes`."""

    async def end() -> Row:
        client = await manager.find_client(client_id)
        ending = ending_by_operator(client_id, "operator", manager.clock())
        await end_client(manager.database, ending)
        return client

    def record(client: Row) -> None:
        audit.record("sessions_ended", client=client_id, name=client["name"])

    client = await manager.decide(end, record)
    await manager.settle()
    return client


class _TakenBackError(Exception):
    """What was tried is undone."""


async def delete(manager: Manager, client_id: str, versions: Versions = None) -> Row:
    """Disable a client, and remove it with its keys once nothing of it can live anywhere.

    Raises what `change` does; `StillReferenced`; and `ChangedMeanwhile` if another one changed it
    meanwhile: it stays.
    """

    async def attempt() -> None:
        await _find(manager, client_id, versions)
        await administration.delete_rows(manager.database, client_id)
        raise _TakenBackError

    async def disable() -> tuple[Row, float]:
        was = await _find(manager, client_id, versions)
        await clients.disable_client(manager.database, client_id, manager.clock())
        await manager.keep_administrator(was)
        era = await administration.era_of(manager.database, client_id)
        return await read(manager, client_id), era

    async def remove() -> None:
        left, now = await manager.find_client(client_id), manager.clock()
        is_same = version_of(left) == version_of(client)
        if not (
            is_same and await administration.delete_client(manager.database, client_id, era, now)
        ):
            raise ChangedMeanwhile

    # A client that cannot go is not disabled in vain.
    with suppress(_TakenBackError), refusing_references():
        await manager.decide(attempt, lambda _: None)
    disabled = partial(audit.record, "client_disabled", client=client_id)
    client, era = await manager.decide(disable, lambda _: disabled())
    await manager.settle()
    deleted = partial(audit.record, "client_deleted", client=client_id, name=client["name"])
    with refusing_references():
        await manager.alone(remove, lambda _: deleted())
    return client
