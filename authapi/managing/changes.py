"""What is changed of a client, and what the audit trail says of it."""

from dataclasses import dataclass

from authapi.engines.database import Row
from authapi.telemetry import audit


@dataclass(frozen=True, slots=True)
class Changes:
    """What is asked for; None leaves it as it is."""

    name: str | None = None
    scopes: str | None = None
    disabled: bool | None = None
    metadata: str | None = None


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
    if (client["disabled_at"] is None) != (was["disabled_at"] is None):
        event = "client_enabled" if client["disabled_at"] is None else "client_disabled"
        audit.record(event, client=client["id"])
