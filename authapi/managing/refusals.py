"""Refusals of what is asked of clients and keys, by whoever manages them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from authapi.engines.database import breaks_reference
from authapi.errors import CHALLENGE, Refusal, TemporarilyUnavailable
from authapi.store.client_keys import KnownKey


class ExceedsOwnScopes(Refusal):
    """Nobody grants what they do not hold, or touches a client that holds more (RFC 6750, 3.1)."""

    status = 403
    error = "insufficient_scope"
    event = "management_refused"
    description = "The access token lacks a scope that this grants, or that the client holds."
    headers: Mapping[str, str] = {
        "WWW-Authenticate": f'{CHALLENGE}, error="insufficient_scope"',
    }


class NameTaken(Refusal):
    """Each client has a name of its own."""

    status = 409
    error = "name_taken"
    description = "There is a client of this name already; choose another one."


class KeyTaken(Refusal):
    """One key is of one client, and once it was revoked it does not come back."""

    status = 409
    error = "key_taken"
    description = "This key is registered already, or was once; make a new one."


@contextmanager
def refusing_known_keys() -> Iterator[None]:
    """Within it, a key that was added before is refused. Raises `KeyTaken`."""
    try:
        yield
    except KnownKey:
        raise KeyTaken from None


class TooManyOpenKeys(Refusal):
    """Each public key costs a verification at a login, and each key is one more to lose."""

    status = 409
    error = "too_many_open_keys"
    description = "The client has 20 open keys; revoke one, or let one end."


class LastAdministrator(Refusal):
    """Somebody must be left who may manage."""

    status = 409
    error = "last_administrator"
    event = "management_refused"
    description = "Nobody would be left who may manage; give another client admin:write first."


class ChangedMeanwhile(Refusal):
    """Another one changed the client while it was being deleted."""

    status = 409
    error = "changed_meanwhile"
    description = "The client was changed by another one meanwhile; read it, and decide anew."


class StillReferenced(Refusal):
    """A foreign key of somebody's own table keeps the client's rows."""

    status = 409
    error = "still_referenced"
    description = "Rows of other tables refer to the client; remove those first."


@contextmanager
def refusing_references() -> Iterator[None]:
    """Within it, what a foreign key forbids is refused. Raises `StillReferenced`."""
    try:
        yield
    except TemporarilyUnavailable as fault:
        if breaks_reference(fault):
            raise StillReferenced from None
        raise


class PreconditionFailed(Refusal):
    """It is not as the caller has read it (RFC 9110, 13.1.1)."""

    status = 412
    error = "precondition_failed"
    description = "The client was changed since its ETag was read; read it, and decide anew."


class IdempotencyKeyReused(Refusal):
    """One Idempotency-Key is for one request."""

    status = 422
    error = "idempotency_key_reused"
    event = "management_refused"
    description = "This Idempotency-Key was used for another request; make a new one."
