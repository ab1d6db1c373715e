"""What runs beside the requests goes on, whatever it meets."""

import asyncio
import logging

import pytest

from authapi.errors import TemporarilyUnavailable
from authapi.server.background import repeat


def test_no_fault_ends_it(caplog: pytest.LogCaptureFixture) -> None:
    faults = [TemporarilyUnavailable(), RuntimeError("a bug"), None]
    done = asyncio.Event()

    async def action() -> None:
        if not faults:
            done.set()
        elif (fault := faults.pop(0)) is not None:
            raise fault

    async def run() -> None:
        task = asyncio.create_task(repeat(action, 0))
        async with asyncio.timeout(10):
            await done.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with caplog.at_level(logging.ERROR):
        asyncio.run(run())
    assert "RuntimeError: a bug" in caplog.text
    assert "TemporarilyUnavailable" not in caplog.text
