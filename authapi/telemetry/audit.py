"""The audit trail: a line for each security event, which nobody can forge by what they send."""

import logging
import threading
import time
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TextIO

import orjson

logger = logging.getLogger("auth.audit")

_origin: ContextVar[dict[str, str]] = ContextVar("origin")


def begin(request_id: str, address: str) -> None:
    """What is recorded from now on belongs to this request."""
    _origin.set({"request_id": request_id, "address": address})


def origin() -> dict[str, str]:
    """The `request_id` and `address` of the request under way; empty outside of one."""
    return _origin.get({})


def record(event: str, **details: str | None) -> None:
    """Write a line. `details` never hold a key, a token or a digest."""
    write(event, {**origin(), **details})


def write(event: str, details: Mapping[str, object]) -> None:
    """Write a line that belongs to no request, or to several."""
    logger.handle(Event(event, details))


_NAMES = {"name": logger.name, "levelno": logging.INFO, "levelname": "INFO"}
_BLANK = dict(vars(logging.makeLogRecord(_NAMES)))


class Event(logging.LogRecord):
    """A record that is not asked who made it, which would take longer than all the rest."""

    def __init__(self, event: str, details: Mapping[str, object]) -> None:
        self.__dict__ = _BLANK.copy()
        self.msg = event
        self.details = details
        self.created = time.time()
        self.msecs = self.created % 1 * 1000


class LineHandler(logging.Handler):
    """Writes each line at once, in one step where the library's own takes nine."""

    def __init__(self, stream: TextIO, formatter: logging.Formatter) -> None:
        super().__init__()
        self._stream = stream
        self._format = formatter.format
        # To write can start the garbage collector, and what that finds can have to be logged.
        self._turn = threading.RLock()

    def handle(self, record: logging.LogRecord) -> bool:
        try:
            line = self._format(record)
            with self._turn:
                self._stream.write(f"{line}\n")
                self._stream.flush()
        except Exception:  # nobody reads any more, which is no fault of the request's
            self.handleError(record)
        return True


class JSONFormatter(logging.Formatter):
    """For machines: an object for each record, which no content can break out of."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": f"{_second(int(record.created))}.{int(record.msecs):03d}+00:00",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        line |= getattr(record, "details", {})
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return orjson.dumps(line).decode()


@lru_cache(1)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


class PlainFormatter(logging.Formatter):
    """For people at a terminal."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        details: dict[str, str | None] = getattr(record, "details", {})
        pairs = (f"{name}={value}" for name, value in details.items())
        return " ".join([super().format(record), *pairs])


def configure_logging(level: str, stream: TextIO) -> None:
    """Plain lines at a terminal, else JSON; and the audit trail whatever the level."""
    formatter = PlainFormatter() if stream.isatty() else JSONFormatter()
    handlers = [LineHandler(stream, formatter)]
    logging.basicConfig(level=level.upper(), handlers=handlers, force=True)
    logger.setLevel(logging.INFO)
    # What no line of ours tells need not be found out for each (Logging HOWTO, Optimization).
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.logAsyncioTasks = False  # type: ignore[attr-defined]  # since Python 3.12
    # At their lower levels these log the values of queries, digests and token ids among them; and
    # asyncpg warns with a traceback, each second, of an outage that database.py tells in a line.
    for name in ("databases", "aiosqlite", "asyncpg", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
