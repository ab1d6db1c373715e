"""What is done to the keys of clients, secret or public: added, rotated, found and revoked."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from authapi.credentials.assertions import PublicKey
from authapi.engines.database import Row
from authapi.managing.manager import Manager
from authapi.managing.refusals import TooManyOpenKeys, refusing_known_keys
from authapi.managing.repeats import Repeatable, once
from authapi.managing.showing import key_json, next_key
from authapi.managing.validation import check_end
from authapi.request_errors import NotFound
from authapi.store import client_keys, clients
from authapi.store.own_keys import MAX_KEYS
from authapi.telemetry import audit


async def add(
    manager: Manager,
    client_id: str,
    expires_at: int | None,
    public_key: PublicKey | None = None,
    repeatable: Repeatable | None = None,
) -> dict[str, Any]:
    """Give a client one more key, or let it sign with one more. What is answered holds the client
    key, this once. Raises `NotFound`, `ExceedsOwnScopes`, `InvalidRequest`, `TooManyOpenKeys`,
    `KeyTaken`, and what `once` does."""
    (key, shown), now = next_key(public_key), int(manager.clock())

    async def give() -> dict[str, Any]:
        await manager.find_client(client_id)
        if expires_at is not None:
            check_end(expires_at, now)  # here, since a repeat may come later
        await _demand_room(manager, client_id)
        with refusing_known_keys():
            await client_keys.add_key(manager.database, client_id, key, now, expires_at)
        return {"user_id": client_id} | shown | {"key_id": key.id, "expires_at": expires_at}

    record = partial(audit.record, "key_added", client=client_id, key_id=key.id)
    return await once(manager, repeatable, give, record)


async def rotate(
    manager: Manager,
    client_id: str,
    overlap_seconds: int,
    public_key: PublicKey | None = None,
    repeatable: Repeatable | None = None,
) -> dict[str, Any]:
    """Give a client another key, and let those that are open go on for the overlap at most.

    As `add`, and `LastAdministrator`; `old_keys` are the latter. Whoever repeats it is answered
    when it is in force, too.
    """
    (key, shown), now = next_key(public_key), int(manager.clock())
    until = now + overlap_seconds
    check_end(until, now, "overlap")

    async def exchange() -> dict[str, Any]:
        client = await manager.find_client(client_id)
        await _demand_room(manager, client_id)
        with refusing_known_keys():
            old = await client_keys.rotate_keys(manager.database, client_id, key, now, until)
        await manager.keep_administrator(client)
        answer = {"user_id": client_id} | shown | {"key_id": key.id}
        return answer | {"old_keys": [key_json(each) for each in old]}

    record = partial(audit.record, "key_rotated", client=client_id, key_id=key.id)
    answer = await once(manager, repeatable, exchange, record)
    await manager.settle()
    return answer


async def _demand_room(manager: Manager, client_id: str) -> None:
    """For one more key. The operator may make any number."""
    is_bounded = manager.claims is not None
    if is_bounded and (await owner_of(manager, client_id)).open_keys >= MAX_KEYS:
        raise TooManyOpenKeys


async def find(manager: Manager, key_id: str) -> Row:
    """Raises `NotFound`."""
    key = await client_keys.find_key(manager.database, key_id)
    if key is None:
        raise NotFound
    return key


async def find_pasted(manager: Manager, pasted: Mapping[str, str]) -> tuple[list[Row], list[str]]:
    """Of the ids of keys by their digests: the keys that are ours, and the ids of the others."""
    # By the digest: whoever made up a key with the public id of another must not end that one.
    keys, unknown = [], []
    for digest, key_id in pasted.items():
        key = await client_keys.find_digest(manager.database, digest)
        if key is None:
            unknown.append(key_id)
        else:
            keys.append(key)
    return keys, unknown


@dataclass(frozen=True, slots=True)
class Owner:
    """Of a key, with how many it has that open something."""

    user_id: str
    name: str
    open_keys: int


async def owner_of(manager: Manager, client_id: str) -> Owner:
    """A key may outlive its client only where rows were deleted by hand."""
    client = await clients.find_client(manager.database, client_id)
    keys, now = await client_keys.list_keys(manager.database, client_id), manager.clock()
    open_keys = sum(client_keys.is_open(key, now) for key in keys)
    return Owner(client_id, client["name"] if client else "", open_keys)


@dataclass(frozen=True, slots=True)
class Revoked:
    """Ids of keys, and by the id of each that is ours whose it is."""

    revoked: list[str]
    already_revoked: list[str]
    unknown: list[str]
    owners: dict[str, Owner]

    def json(self) -> dict[str, Any]:
        return asdict(self)


async def revoke(
    manager: Manager, keys: Sequence[Row], unknown: Sequence[str] = (), have_leaked: bool = False
) -> Revoked:
    """Let keys open nothing more, and end every session that they began: all of them, or none.

    Raises `ExceedsOwnScopes` and `LastAdministrator`; not of those that `have_leaked`, since
    whoever shows a key could do with it what they like.
    """
    ids, owners = [key["id"] for key in keys], {key["client_id"] for key in keys}

    async def decide() -> set[str]:
        touched = [await clients.find_client(manager.database, each) for each in owners]
        held = [client for client in touched if client and not have_leaked]
        for client in held:
            manager.demand_own(client["scopes"], target=client["id"])
        revoked = await client_keys.revoke_keys(manager.database, ids, manager.clock())
        for client in held:
            await manager.keep_administrator(client)
        return revoked

    def record(revoked: set[str]) -> None:
        for key in keys:
            if key["id"] in revoked:
                audit.record("key_revoked", client=key["client_id"], key_id=key["id"])

    revoked = await manager.decide(decide, record)
    await manager.settle()
    owner = {client_id: await owner_of(manager, client_id) for client_id in owners}
    return Revoked(
        [key_id for key_id in ids if key_id in revoked],
        [key_id for key_id in ids if key_id not in revoked],
        list(unknown),
        {key["id"]: owner[key["client_id"]] for key in keys},
    )
