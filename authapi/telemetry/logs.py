"""How log lines look, and where they go."""

import logging
import os
import threading
from asyncio import CancelledError
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TextIO

import orjson

from authapi.telemetry import audit
from authapi.telemetry.log_output import MAX_WAITING, Lines


class LineHandler(logging.Handler):
    """One lock, one write, and no filters. What could not be written is counted, and reported."""

    def __init__(
        self, stream: TextIO, formatter: logging.Formatter, max_waiting: int = MAX_WAITING
    ) -> None:
        super().__init__()
        self._lines = Lines(stream, max_waiting)
        self._format = formatter.format
        # Writing may start the garbage collector, and asyncio logs what that finds.
        self._turn = threading.RLock()

    def handle(self, record: logging.LogRecord) -> bool:
        try:
            line = self._format(record)
            with self._turn:
                if self._lines.lost:
                    self.flush()
                self._lines.put(line)
        except Exception:  # nobody reads any more: no request fails for that
            self.handleError(record)
        return True

    def flush(self) -> None:
        """Write what waits for a reader, as far as there is room, and then what was lost."""
        with self._turn:
            if self._lines.write_waiting() and self._lines.lost:
                count, self._lines.lost = self._lines.lost, 0
                self._lines.put(self._format(audit.Event("audit_lines_lost", {"count": count})))

    def close(self) -> None:
        self._lines.close()
        super().close()


class JSONFormatter(logging.Formatter):
    """For machines: a JSON object for each record, so that nothing sent can forge a line."""

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


DIM, YELLOW, RED = "\033[2m", "\033[33m", "\033[31m"
PLAIN = "\033[0m"


class PlainFormatter(logging.Formatter):
    """For people at a terminal: what is no trouble is dim, where it `is_coloured`."""

    def __init__(self, is_coloured: bool = False) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")
        self._is_coloured = is_coloured

    def format(self, record: logging.LogRecord) -> str:
        details: dict[str, str | None] = getattr(record, "details", {})
        pairs = (f"{name}={value}" for name, value in details.items())
        line = " ".join([super().format(record), *pairs])
        if not self._is_coloured:
            return line
        colour = RED if record.levelno >= logging.ERROR else YELLOW
        return f"{colour if record.levelno >= logging.WARNING else DIM}{line}{PLAIN}"


def is_worth_a_line(record: logging.LogRecord) -> bool:
    """Not what a second Ctrl-C, or the end of a stop, has broken off: it is no fault."""
    if record.exc_info and isinstance(record.exc_info[1], CancelledError):
        return False
    return not record.getMessage().endswith("CancelledError\n")


async def flush_log() -> None:
    """To be repeated, since the reader of a pipe may come back when nothing is logged."""
    for handler in logging.root.handlers:
        handler.flush()


def configure_logging(level: str, stream: TextIO) -> None:
    """Plain lines at a terminal, else JSON; and the audit trail whatever the level."""
    is_coloured = not os.environ.get("NO_COLOR")
    formatter = PlainFormatter(is_coloured) if stream.isatty() else JSONFormatter()
    handlers = [LineHandler(stream, formatter)]
    logging.basicConfig(level=level.upper(), handlers=handlers, force=True)
    audit.logger.setLevel(logging.INFO)
    logging.getLogger("uvicorn.error").addFilter(is_worth_a_line)
    # None of our lines shows these, so they need not be looked up (Logging HOWTO, Optimization).
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.logAsyncioTasks = False  # type: ignore[attr-defined]  # since Python 3.12
    # At their lower levels these log the values of queries, digests and token ids among them; and
    # asyncpg warns of an outage with a traceback each second, where database.py writes one line.
    for name in ("databases", "aiosqlite", "asyncpg", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
