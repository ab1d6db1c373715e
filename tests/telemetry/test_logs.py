"""A record is one line whatever is in it, and a request never fails for a line."""

import json
import logging
import re
import threading
from io import StringIO

import pytest

from authapi.telemetry.logs import JSONFormatter, LineHandler, PlainFormatter


def test_people_get_plain_lines() -> None:
    record = logging.makeLogRecord(
        {"msg": "login", "levelname": "INFO", "details": {"client": "a"}}
    )
    assert re.fullmatch(r"[\d :,-]+ INFO login client=a", PlainFormatter().format(record))


def test_a_traceback_stays_in_its_line() -> None:
    try:
        raise RuntimeError("a\nb")
    except RuntimeError as error:
        record = logging.makeLogRecord(
            {"msg": "fault", "levelname": "ERROR", "exc_info": (RuntimeError, error, None)}
        )
    line = JSONFormatter().format(record)
    assert "\n" not in line
    assert "RuntimeError: a\nb" in json.loads(line)["traceback"]


def test_a_line_in_a_line_is_no_deadlock() -> None:
    """To write may start the garbage collector, and asyncio logs what that finds."""

    class Stream(StringIO):
        def flush(self) -> None:
            if self.getvalue().count("\n") == 1:
                handler.handle(record)

    record = logging.makeLogRecord({"msg": "login", "levelname": "INFO"})
    stream = Stream()
    handler = LineHandler(stream, JSONFormatter())
    writer = threading.Thread(target=handler.handle, args=(record,), daemon=True)
    writer.start()
    writer.join(timeout=20)
    assert not writer.is_alive()
    assert stream.getvalue().count("\n") == 2


def test_that_nobody_reads_the_lines_is_no_fault_of_a_request(
    capsys: pytest.CaptureFixture[str],
) -> None:
    stream = StringIO()
    stream.close()
    record = logging.makeLogRecord({"msg": "login", "levelname": "INFO"})
    assert LineHandler(stream, JSONFormatter()).handle(record)
    assert "I/O operation on closed file" in capsys.readouterr().err
