"""What is changed of a client, and what the audit trail says of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from authapi.engines.database import Row
from authapi.managing.showing import limits_of
from authapi.managing.validation import login_limit_of, metadata_of, name_of, scopes_of
from authapi.store.administration import UNLIMITED, Limits
from authapi.telemetry import audit


@dataclass(frozen=True, slots=True)
class Changes:
    """What is asked for; None leaves it as it is."""

    name: str | None = None
    scopes: str | None = None
    disabled: bool | None = None
    metadata: str | None = None
    limits: Limits | None = None


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "name": name_of, "scopes": scopes_of, "metadata": metadata_of, "disabled": bool,
    "login_limit": login_limit_of, "session_limit": lambda limit: limit,
}  # fmt: skip


def changes_of(asked: Mapping[str, Any]) -> Changes:
    """Raises `InvalidRequest`."""
    read = {name: _READERS[name](value) for name, value in asked.items()}
    limits = {name: read.pop(name) for name in UNLIMITED if name in read}
    return Changes(**read, limits=limits or None)


@dataclass(frozen=True, slots=True)
class Changed:
    """A client before and after; `ended_sessions` if it had more scopes before, or is disabled."""

    was: Row
    client: Row
    ended_sessions: bool


def record(changed: Changed) -> None:
    """A line for each thing that is not as it was."""
    was, client = changed.was, changed.client
    named = {"client": client["id"], "name": client["name"]}
    if client["name"] != was["name"]:
        audit.record("client_renamed", **named, was=was["name"])
    if client["metadata"] != was["metadata"]:
        audit.record("metadata_set", **named)
    if client["scopes"] != was["scopes"]:
        audit.record("scopes_set", **named, scopes=client["scopes"])
    if limits_of(client) != limits_of(was):
        audit.record("limits_set", **named, limits=limits_of(client))
    if (client["disabled_at"] is None) != (was["disabled_at"] is None):
        event = "client_enabled" if client["disabled_at"] is None else "client_disabled"
        audit.record(event, client=client["id"])
