"""Who may begin a session, and with which scopes: how a client key is judged."""

from functools import partial

from authapi.credentials.client_keys import digest_of, id_of, is_well_formed
from authapi.credentials.scopes import is_within, read_scopes
from authapi.engines.database import Database
from authapi.errors import InvalidClient, InvalidScope
from authapi.rules.client_cache import ClientCache, Row
from authapi.store import sessions as store


async def authenticate_client(
    database: Database, client_cache: ClientCache, client_key: str, now: float
) -> Row:
    """What `store.sessions.find_login` tells of a key that opens.

    Raises `InvalidClient`, the same for an unknown, expired, revoked or disabled key.
    """
    digest = digest_of(client_key)
    ask = partial(store.find_login, database, digest)
    login = client_cache.kept(digest)
    if login is None:
        if not is_well_formed(client_key):
            raise InvalidClient("malformed key")
        login = await client_cache.find(digest, ask)
    if client_cache.revocations.era_of(login["id"]) > login["era"]:
        # All of the client's sessions were ended since this was read, and it may have lost scopes
        # with them. A token has the era of what it grants, so that it dies with that.
        client_cache.forget(digest)
        login = await client_cache.find(digest, ask)
    if reason := _refusal_reason(login, now):
        # Were it kept, a faster answer would tell a key that once opened from an unknown one.
        client_cache.forget(digest)
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
    """What is granted, or less of it if less is asked for (RFC 6749, 3.3).

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
