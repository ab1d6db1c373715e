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


@pytest.mark.parametrize(
    ("level", "colour"), [("INFO", "2"), ("WARNING", "33"), ("ERROR", "31"), ("CRITICAL", "31")]
)
def test_at_a_terminal_trouble_has_a_colour_and_the_rest_is_dim(level: str, colour: str) -> None:
    number = logging.getLevelNamesMapping()[level]
    record = logging.makeLogRecord({"msg": "x", "levelno": number, "levelname": level})
    assert re.fullmatch(
        rf"\x1b\[{colour}m.* {level} x\x1b\[0m", PlainFormatter(True).format(record)
    )
    assert "\x1b" not in PlainFormatter().format(record)
