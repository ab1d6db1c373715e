"""The endpoints by which clients and keys are managed over HTTP, where MANAGEMENT is on."""

import json
from collections.abc import Callable
from functools import wraps
from typing import Any

from starlette.requests import Request

from auth_backend import requires_scope
from authapi.credentials.client_keys import find_keys
from authapi.engines.database import Row
from authapi.errors import InvalidRequest
from authapi.managing import clients, keys, paging, validation
from authapi.managing.changes import changes_of
from authapi.managing.manager import READ, WRITE, Manager
from authapi.managing.paging import read_window
from authapi.managing.refusals import PreconditionFailed
from authapi.managing.repeats import Repeatable
from authapi.managing.showing import client_json, key_json, listed_json, version_of
from authapi.telemetry import audit
from authapi.web import managing_schemas as schemas
from authapi.web.answers import Answer, Handler
from authapi.web.bodies import read_json
from authapi.web.requests import (
    id_in_path,
    idempotency_key,
    parameters_of,
    tag_of,
    versions_wanted,
)
from handlers import State


def manages(
    scope: str, *parameters: str, has_version: bool = False
) -> Callable[[Handler], Handler]:
    """Answer whoever has this scope, and name them in the audit trail. The query may have these
    parameters. Of a change of what has no version, no `If-Match` is true (RFC 9110, 13.1.1)."""

    def decorate(handler: Handler) -> Handler:
        @requires_scope(scope)
        @wraps(handler)
        async def managing(request: Request[State]) -> Any:
            audit.name_actor(request.user.identity)
            parameters_of(request, *parameters)
            ignores_version = scope == WRITE and not has_version
            if ignores_version and versions_wanted(request.scope["headers"]) is not None:
                raise PreconditionFailed
            return await handler(request)

        return managing

    return decorate


def _manager(request: Request[State]) -> Manager:
    return request.state["managers"].by(request.state["database"], request.user.claims)


def _repeatable(request: Request[State], payload: dict[str, Any]) -> Repeatable | None:
    key = idempotency_key(request.scope["headers"])
    if key is None:
        return None
    asked = json.dumps([request.method, request.scope["path"], payload], sort_keys=True)
    return Repeatable(request.user.identity, key, asked, request.state["managers"].secrets)


def _show(client: Row, status: int = 200) -> Answer:
    return Answer(client_json(client), status, {"ETag": tag_of(version_of(client))})


def _page(name: str, shown: list[dict[str, Any]], cursor: str | None) -> Answer:
    return Answer({name: shown} | ({"cursor": cursor} if cursor else {}))


@manages(READ, "after", "limit", "name", "scope", "disabled")
async def list_clients(request: Request[State]) -> Answer:
    """List the clients, the oldest first."""
    asked = request.query_params
    window = read_window(asked.get("after"), asked.get("limit"))
    disabled = validation.flag_of(asked, "disabled")
    filters = validation.filters_of(asked.get("name"), asked.get("scope"), disabled)
    page = await paging.clients_in(_manager(request), window, filters)
    return _page("clients", [listed_json(row) for row in page.rows], page.cursor)


@manages(WRITE)
async def create_client(request: Request[State]) -> Answer:
    """Register a client. Its key is shown this once."""
    payload = await read_json(request, schemas.NEW_CLIENT)
    made = await clients.create(
        _manager(request),
        validation.name_of(payload["name"]),
        validation.scopes_of(payload["scopes"]),
        validation.metadata_of(payload["metadata"]),
        validation.given_public_key(payload),
        _repeatable(request, payload),
    )
    return Answer(made, 201, {"Location": f"/admin/clients/{made['user_id']}"})


@manages(READ)
async def read_client(request: Request[State]) -> Answer:
    """Read a client, with an `ETag` for who changes it."""
    return _show(await clients.read(_manager(request), id_in_path(request, "client_id", 20)))


@manages(WRITE, has_version=True)
async def change_client(request: Request[State]) -> Answer:
    """Change what is given of a client, if it is as `If-Match` says.

    To disable it, or to take a scope away, ends its sessions.
    """
    client_id = id_in_path(request, "client_id", 20)
    changes = changes_of(await read_json(request, schemas.CHANGED_CLIENT))
    versions = versions_wanted(request.scope["headers"])
    changed = await clients.change(_manager(request), client_id, changes, versions)
    return _show(changed.client)


@manages(WRITE, has_version=True)
async def delete_client(request: Request[State]) -> Answer:
    """End a client, and remove it with its keys once nothing of it can live."""
    versions = versions_wanted(request.scope["headers"])
    client = await clients.delete(_manager(request), id_in_path(request, "client_id", 20), versions)
    return Answer({"user_id": client["id"], "name": client["name"], "deleted": True})


@manages(WRITE)
async def end_sessions(request: Request[State]) -> Answer:
    """End every session of a client, which may log in again."""
    await read_json(request, schemas.NOTHING)
    client = await clients.end_sessions(_manager(request), id_in_path(request, "client_id", 20))
    return Answer({"user_id": client["id"], "name": client["name"], "sessions_ended": True})


@manages(READ, "after", "limit")
async def list_keys(request: Request[State]) -> Answer:
    """List the keys of a client, and how they were used; the oldest first."""
    asked = request.query_params
    window = read_window(asked.get("after"), asked.get("limit"))
    manager, client_id = _manager(request), id_in_path(request, "client_id", 20)
    await clients.read(manager, client_id)
    page = await paging.keys_in(manager, client_id, window)
    return _page("keys", [key_json(row) for row in page.rows], page.cursor)


@manages(WRITE)
async def add_key(request: Request[State]) -> Answer:
    """Give a client one more key, which is shown this once; or let it sign with one more."""
    client_id, payload = (
        id_in_path(request, "client_id", 20),
        await read_json(request, schemas.NEW_KEY),
    )
    manager, repeatable = _manager(request), _repeatable(request, payload)
    public_key = validation.given_public_key(payload)
    added = await keys.add(manager, client_id, payload["expires_at"], public_key, repeatable)
    return Answer(added, 201, {"Location": f"/admin/keys/{added['key_id']}"})


@manages(WRITE)
async def rotate_key(request: Request[State]) -> Answer:
    """Give a client another key, and let the older ones end after the overlap."""
    client_id, payload = (
        id_in_path(request, "client_id", 20),
        await read_json(request, schemas.ROTATION),
    )
    manager, repeatable = _manager(request), _repeatable(request, payload)
    overlap, public_key = payload["overlap"], validation.given_public_key(payload)
    rotated = await keys.rotate(manager, client_id, overlap, public_key, repeatable)
    return Answer(rotated, 201, {"Location": f"/admin/keys/{rotated['key_id']}"})


@manages(READ)
async def read_key(request: Request[State]) -> Answer:
    """Show a key by its id, and whose it is."""
    manager = _manager(request)
    key = await keys.find(manager, id_in_path(request, "key_id", 16))
    owner = await keys.owner_of(manager, key["client_id"])
    return Answer({"user_id": owner.user_id, "name": owner.name} | key_json(key))


@manages(WRITE)
async def revoke_key(request: Request[State]) -> Answer:
    """Let a key open nothing more, and end every session that it began."""
    manager = _manager(request)
    key = await keys.find(manager, id_in_path(request, "key_id", 16))
    return Answer((await keys.revoke(manager, [key])).json())


@manages(WRITE)
async def report_leak(request: Request[State]) -> Answer:
    """Revoke each key of ours that stands in a text."""
    payload, manager = await read_json(request, schemas.LEAK), _manager(request)
    pasted = find_keys([payload["text"].encode("utf-8", "surrogatepass")])
    if not pasted:
        raise InvalidRequest("no key in it", {"text": ["No key is in it."]})
    found, unknown = await keys.find_pasted(manager, pasted)
    return Answer((await keys.revoke(manager, found, unknown, have_leaked=True)).json())
