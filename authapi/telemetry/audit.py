"""The audit trail: a record of each security event, with the request that it belongs to."""

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

from authapi.telemetry.counting import counts

logger = logging.getLogger("auth.audit")

_origin: ContextVar[dict[str, str]] = ContextVar("origin")


def begin(request_id: str, address: str) -> None:
    """What is recorded from now on belongs to this request."""
    _origin.set({"request_id": request_id, "address": address})


def origin() -> dict[str, str]:
    """The `request_id` and `address` of the request under way; empty outside of one. Of whoever
    manages, the `actor`."""
    return _origin.get({})


def name_actor(actor: str) -> None:
    """What is recorded from now on of this request was done by this client."""
    _origin.set({**origin(), "actor": actor})


@contextmanager
def acting(actor: str) -> Iterator[None]:
    """What is recorded in it was done by this actor, of no request."""
    before = _origin.set({"actor": actor})
    try:
        yield
    finally:
        _origin.reset(before)


def record(event: str, **details: str | None) -> None:
    """Write a line. `details` never hold a key, a token or a digest."""
    if "reason" not in details:  # a refusal is counted by its own
        counts.events[event] += 1
    write(event, {**origin(), **details})


def write(event: str, details: Mapping[str, object]) -> None:
    """Write a line that belongs to no request, or to several."""
    logger.handle(Event(event, details))


_NAMES = {"name": logger.name, "levelno": logging.INFO, "levelname": "INFO"}
_BLANK = dict(vars(logging.makeLogRecord(_NAMES)))


class Event(logging.LogRecord):
    """Skips `findCaller`, which takes longer than all the rest: 3 microseconds, 4 % of a login."""

    def __init__(self, event: str, details: Mapping[str, object]) -> None:
        self.__dict__ = _BLANK.copy()
        self.msg = event
        self.details = details
        self.created = time.time()
        self.msecs = self.created % 1 * 1000
