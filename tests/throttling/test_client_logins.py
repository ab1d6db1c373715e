"""A client begins so many sessions and no more, since each may fill every worker's memory."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
from starlette.testclient import TestClient

from app import create_app
from authapi.throttling.client_logins import MAX_CLIENTS, ClientLogins
from authapi.throttling.refusals import TooManyLogins
from authapi.throttling.shared_count import SharedCount
from settings import Settings
from tests.checks import assert_answer, assert_refused, bearer
from tests.conftest import Clock, Register, Registered
from tests.inline import Client


@pytest.fixture
def limited(settings: Settings, clock: Clock) -> Iterator[TestClient]:
    with Client(create_app(replace(settings, logins_by_client="3/hour"), clock)) as api:
        yield api


def test_a_client_that_logs_in_too_often_waits_and_another_does_not(
    limited: TestClient, registered: Registered, register: Register
) -> None:
    body = {"client_key": registered.key}
    pairs = [assert_answer(limited.post("/login", json=body), 200) for _ in range(3)]
    for _ in range(2):
        response = limited.post("/login", json=body)
        assert_refused(response, 429, "too_many_logins", registered.key)
        assert 1 <= int(response.headers["retry-after"]) <= 3601
    other = register("other")
    assert_answer(limited.post("/login", json={"client_key": other.key}), 200)
    # What it has goes on, and a log-out is never refused.
    body = {"refresh_token": pairs[0]["refresh_token"]}
    assert_answer(limited.post("/refresh-token", json=body), 200)
    for pair in pairs:
        assert_answer(limited.post("/logout", headers=bearer(pair["access_token"])), 200)


def test_the_audit_trail_tells_who_it_was(
    limited: TestClient, registered: Registered, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(4):
        limited.post("/login", json={"client_key": registered.key})
    (refused,) = (record for record in caplog.records if record.message == "login_refused")
    details = vars(refused)["details"]
    assert details["reason"] == "too many logins"
    assert details["client"] == registered.id
    json.dumps(details)


def begun(logins: ClientLogins, client: str, times: int) -> int:
    """How many of so many logins were let in."""

    async def begin() -> int:
        let_in = 0
        for _ in range(times):
            try:
                await logins.begin(client)
                let_in += 1
            except TooManyLogins:
                pass
        return let_in

    return asyncio.run(begin())


def test_a_large_limit_is_counted_in_steps_and_passed_by_one_at_the_most(clock: Clock) -> None:
    logins = ClientLogins(SharedCount("memory://", clock), "1000/hour", clock)
    assert 1000 <= begun(logins, "a", 1500) <= 1010
    clock.advance(3601)
    assert begun(logins, "a", 50) < 10  # by the store, whose window goes by the system's clock


def test_the_memory_of_it_is_bounded(clock: Clock) -> None:
    logins = ClientLogins(SharedCount("memory://", clock), "1000/hour", clock)
    for number in range(MAX_CLIENTS + 5):
        assert begun(logins, f"client-{number}", 1) == 1
    assert len(logins) <= MAX_CLIENTS


def test_a_burst_counts_each_login_once(clock: Clock) -> None:
    """While one of them tells the shared count, the others go on."""
    logins = ClientLogins(SharedCount("memory://", clock), "6000/hour", clock)

    async def burst() -> None:
        for _ in range(59):
            await logins.begin("a")
        await asyncio.gather(*(logins.begin("a") for _ in range(1000)))

    asyncio.run(burst())
