"""An outage is told once, however often it is met, and so is its end."""

import logging

import pytest

from authapi.telemetry.outage import Outage


def test_an_outage_is_told_at_its_beginning_and_at_its_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    outage = Outage(logging.getLogger("auth.test"), "store_unreachable", "store_reachable")
    outage.end()
    assert not caplog.records
    for _ in range(2):
        for _ in range(3):
            outage.begin(ConnectionError("password"))
            assert outage.is_on
        for _ in range(3):
            outage.end()
            assert not outage.is_on
    assert [(one.levelname, one.message) for one in caplog.records] == [
        ("ERROR", "store_unreachable"),
        ("INFO", "store_reachable"),
    ] * 2
    assert caplog.records[0].__dict__["details"] == {"fault": "ConnectionError"}
    assert "password" not in caplog.text
