"""A flood of refusals fills no disk, and none of them goes untold."""

import asyncio
from typing import Any

import pytest
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from app import create_app
from authapi.telemetry.flood import LINES_A_SECOND, MAX_ALIKE, Refusals
from authapi.web.requests import OriginMiddleware
from settings import Settings
from tests import forge
from tests.checks import bearer
from tests.conftest import Clock, Trail


@pytest.fixture
def trail(trail: Trail) -> Trail:
    """Without what all lines have."""
    return lambda: [
        {name: value for name, value in line.items() if name not in ("time", "level")}
        for line in trail()
    ]


def refuse(refusals: Refusals, times: int = 1, address: str = "192.0.2.1", **details: str) -> None:
    """As requests from this address do."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        refusals.record("token_refused", "expired", **details)

    async def receive() -> dict[str, Any]:
        return {}

    async def send(message: Any) -> None: ...

    async def requests() -> None:
        for _ in range(times):
            scope = {"type": "http", "client": (address, 1), "headers": []}
            await OriginMiddleware(app)(scope, receive, send)

    asyncio.run(requests())


COUNTED = {"event": "token_refused", "reason": "expired", "address": "192.0.2.1"}


def test_past_so_many_a_second_the_rest_is_told_in_a_line(trail: Trail, clock: Clock) -> None:
    refusals = Refusals(clock)
    refuse(refusals, LINES_A_SECOND)
    lines = trail()
    assert len({line["request_id"] for line in lines}) == LINES_A_SECOND
    clock.advance(0.9)
    refuse(refusals, 7)
    assert trail() == []
    clock.advance(0.1)
    refuse(refusals)
    counted, line = trail()
    assert counted == COUNTED | {"count": 7}
    assert line == COUNTED | {"request_id": line["request_id"]}
    refuse(refusals, LINES_A_SECOND - 1)
    assert len(trail()) == LINES_A_SECOND - 1


def test_what_differs_is_counted_apart(trail: Trail, clock: Clock) -> None:
    refusals = Refusals(clock)
    refuse(refusals, LINES_A_SECOND)
    trail()
    refuse(refusals, 2)
    refuse(refusals, 3, address="192.0.2.2")
    refuse(refusals, 4, key_id="a")
    refuse(refusals, 5)
    asyncio.run(refusals.flush())
    assert trail() == [
        COUNTED | {"count": 7},
        COUNTED | {"address": "192.0.2.2", "count": 3},
        COUNTED | {"key_id": "a", "count": 4},
    ]
    asyncio.run(refusals.flush())
    assert trail() == []


def test_however_many_addresses_there_are_the_lines_are_few(trail: Trail, clock: Clock) -> None:
    refusals = Refusals(clock)
    refuse(refusals, LINES_A_SECOND)
    trail()
    for number in range(MAX_ALIKE + 20):
        refuse(refusals, address=f"192.0.2.{number}")
    refuse(refusals, address="192.0.2.0")
    asyncio.run(refusals.flush())
    first, *others, last = trail()
    assert first == COUNTED | {"address": "192.0.2.0", "count": 2}
    assert len(others) == MAX_ALIKE - 1
    assert last == {"event": "token_refused", "reason": "expired", "count": 20}


def test_however_many_kinds_there_are_the_lines_are_few(trail: Trail, clock: Clock) -> None:
    refusals = Refusals(clock)
    refuse(refusals, LINES_A_SECOND)
    trail()
    for number in range(3 * MAX_ALIKE):
        refuse(refusals, key_id=f"{number}")
    asyncio.run(refusals.flush())
    lines = trail()
    assert len(lines) == 2 * MAX_ALIKE + 1
    assert lines[0] == COUNTED | {"key_id": "0", "count": 1}
    nowhere = {"event": "token_refused", "reason": "expired"}
    assert lines[MAX_ALIKE] == nowhere | {"key_id": f"{MAX_ALIKE}", "count": 1}
    assert lines[-1] == nowhere | {"count": MAX_ALIKE}


def test_no_stranger_hides_whose_token_was_misused(trail: Trail, clock: Clock) -> None:
    refusals = Refusals(clock)
    for number in range(4 * MAX_ALIKE):
        refuse(refusals, address=f"192.0.2.{number}")
    trail()
    refuse(refusals, client="a", session="b")
    (line,) = trail()
    assert line == COUNTED | {"client": "a", "session": "b", "request_id": line["request_id"]}
    refuse(refusals, LINES_A_SECOND, client="a")
    trail()
    refuse(refusals, client="a", session="b")
    asyncio.run(refusals.flush())
    assert trail()[-1] == COUNTED | {"client": "a", "session": "b", "count": 1}


def test_a_service_that_stops_has_told_every_refusal(settings: Settings, trail: Trail) -> None:
    with TestClient(create_app(settings)) as api:
        for _ in range(3 * LINES_A_SECOND):
            api.get("/me", headers=bearer(forge.token(secret="k" * 32)))
    told = [line for line in trail() if line["event"] == "token_refused"]
    assert sum(line.get("count", 1) for line in told) == 3 * LINES_A_SECOND
