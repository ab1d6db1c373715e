"""What is shown of clients and keys, under one name each, by a command and over HTTP."""

import json
from hashlib import sha256
from typing import Any

from authapi.credentials.assertions import PublicKey
from authapi.credentials.client_keys import new_client_key
from authapi.engines.database import Row
from authapi.store.client_keys import NewKey, is_open

_OF_A_CLIENT = ("name", "scopes", "created_at", "disabled_at", "login_limit", "session_limit")
_OF_A_LISTED = ("open_keys", "last_used_at")
_OF_A_KEY = ("created_at", "expires_at", "revoked_at", "last_used_at", "uses", "made_by")


def client_json(client: Row) -> dict[str, Any]:
    """What somebody decides; in a list, with what happens to its keys."""
    notes = {"metadata": json.loads(client["metadata"])}
    return {"user_id": client["id"]} | {name: client[name] for name in _OF_A_CLIENT} | notes


def limits_of(client: Row) -> str:
    """In a few words."""
    logins, sessions = client["login_limit"], client["session_limit"]
    return ", ".join(filter(None, [logins, sessions and f"{sessions} sessions"])) or "none"


def listed_json(client: Row) -> dict[str, Any]:
    return client_json(client) | {name: client[name] for name in _OF_A_LISTED}


def version_of(client: Row) -> str:
    """The same for as long as nobody decides otherwise: what an `ETag` names."""
    return sha256(json.dumps(client_json(client)).encode()).hexdigest()[:32]


def key_json(key: Row) -> dict[str, Any]:
    return {"key_id": key["id"], "kind": kind_of(key)} | {name: key[name] for name in _OF_A_KEY}


def next_key(public_key: PublicKey | None) -> tuple[NewKey, dict[str, str]]:
    """The one that was given, or else a new secret; and how that is shown, this once."""
    if public_key is not None:
        return public_key, {}
    secret = new_client_key()
    return secret, {"client_key": secret.text}


def kind_of(key: Row) -> str:
    """`secret`, or the algorithm that a public key is for."""
    return "secret" if key["public_key"] is None else str(json.loads(key["public_key"])["alg"])


def state_of(key: Row, now: float) -> str:
    """`open`, `ended` or `revoked`; of a disabled client an open key opens nothing either."""
    if key["revoked_at"] is not None:
        return "revoked"
    return "open" if is_open(key, now) else "ended"
