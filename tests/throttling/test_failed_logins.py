"""Whoever guesses is slowed down; whoever knows its key is let in."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, cast

import pytest
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from app import create_app
from authapi.errors import InvalidLogin
from authapi.throttling.failed_logins import FailedLogins
from authapi.throttling.refusals import TooManyFailures
from authapi.throttling.shared_count import SharedCount
from settings import Settings
from tests.checks import assert_answer, assert_refused
from tests.conftest import Clock, Registered
from tests.inline import Client

WRONG = f"ck_{'0' * 16}_{'a' * 43}a9a9a9a9"
Attempt = Callable[[str, str], Any]


@pytest.fixture
def attempt(settings: Settings, clock: Clock) -> Iterator[Attempt]:
    """Log in from an address with a key."""
    limited = replace(
        settings, login_failures_by_address="5/hour", login_failures_together="12/hour"
    )
    app = create_app(limited, clock)

    def attempt(address: str, key: str) -> Any:
        # As a proxy that is trusted would tell it; uvicorn puts it here too.
        return api.post("/login", json={"client_key": key}, headers={"X-Forwarded-For": address})

    behind_proxy: Any = ProxyHeadersMiddleware(cast(Any, app), "*")  # two libraries, two types
    with Client(behind_proxy) as api:
        yield attempt


def fail(attempt: Attempt, address: str, times: int) -> None:
    for _ in range(times):
        assert_refused(attempt(address, WRONG), 401, "invalid_client")


def assert_slowed(attempt: Attempt, address: str, key: str) -> None:
    response = attempt(address, key)
    assert_refused(response, 429, "too_many_failures", key)
    assert 1 <= int(response.headers["retry-after"]) <= 3600


def test_an_address_is_not_listened_to_past_its_limit(
    attempt: Attempt, registered: Registered
) -> None:
    fail(attempt, "192.0.2.1", 5)
    assert_slowed(attempt, "192.0.2.1", WRONG)
    assert_slowed(attempt, "192.0.2.1", registered.key)
    assert_answer(attempt("192.0.2.2", registered.key), 200)


def test_a_login_that_succeeds_counts_for_nothing(attempt: Attempt, registered: Registered) -> None:
    fail(attempt, "192.0.2.1", 4)
    for _ in range(20):
        assert_answer(attempt("192.0.2.1", registered.key), 200)


def test_past_the_common_limit_who_failed_waits_and_who_did_not_is_let_in(
    attempt: Attempt, registered: Registered
) -> None:
    for number in range(12):
        fail(attempt, f"192.0.2.{number}", 1)
    assert_slowed(attempt, "192.0.2.1", registered.key)
    assert_answer(attempt("198.51.100.1", registered.key), 200)
    fail(attempt, "198.51.100.1", 1)
    assert_slowed(attempt, "198.51.100.1", WRONG)


def test_the_addresses_of_one_network_count_as_one(
    attempt: Attempt, registered: Registered
) -> None:
    for number in range(5):
        fail(attempt, f"2001:db8:0:1::{number}", 1)
    assert_slowed(attempt, "2001:db8:0:1:ffff::1", registered.key)
    assert_answer(attempt("2001:db8:0:2::1", registered.key), 200)


def test_a_peer_without_an_address_is_counted_too(attempt: Attempt) -> None:
    fail(attempt, "testclient", 5)
    assert_slowed(attempt, "testclient", WRONG)


def test_a_malformed_payload_is_no_guess(attempt: Attempt, registered: Registered) -> None:
    for _ in range(20):
        assert attempt("192.0.2.1", None).status_code == 400  # type: ignore[arg-type]
    assert_answer(attempt("192.0.2.1", registered.key), 200)


# Logins that take long to judge


async def burst(logins: FailedLogins, address: str, count: int) -> int:
    """How many are admitted at once. They are under way until all have asked, and then fail."""
    all_asked, asked, admitted = asyncio.Event(), 0, 0

    async def attempt() -> None:
        nonlocal asked, admitted
        try:
            async with logins.attempt(address):
                admitted += 1
                await all_asked.wait()
                raise InvalidLogin
        except (InvalidLogin, TooManyFailures):
            asked += 1

    attempts = [asyncio.create_task(attempt()) for _ in range(count)]
    async with asyncio.timeout(10):
        while asked + admitted < count:  # noqa: ASYNC110
            await asyncio.sleep(0)  # each asks a count in memory, which ends no wait of its own
        all_asked.set()
        await asyncio.gather(*attempts)
    return admitted


def test_of_a_burst_no_more_are_judged_than_may_fail() -> None:
    async def run() -> None:
        logins = FailedLogins(SharedCount("memory://"), "5/hour", "1000/hour")
        assert await burst(logins, "2001:db8::1", 20) == 5
        assert await burst(logins, "2001:db8::2", 20) == 0  # of the same customer
        assert await burst(logins, "192.0.2.1", 3) == 3
        assert await burst(logins, "192.0.2.1", 3) == 2

    asyncio.run(run())


def test_what_succeeds_is_under_way_no_longer() -> None:
    async def run() -> None:
        logins = FailedLogins(SharedCount("memory://"), "2/hour", "1000/hour")
        for _ in range(5):
            async with logins.attempt("192.0.2.1"), logins.attempt("192.0.2.1"):
                with pytest.raises(TooManyFailures):
                    async with logins.attempt("192.0.2.1"):
                        raise AssertionError("it was judged")
        async with logins.attempt("192.0.2.1"):
            pass

    asyncio.run(run())


def test_one_who_failed_nothing_is_judged_by_what_is_under_way_alone() -> None:
    """Whatever the others do."""

    async def run() -> None:
        logins = FailedLogins(SharedCount("memory://"), "5/hour", "3/hour")
        assert await burst(logins, "192.0.2.1", 4) == 4
        assert await burst(logins, "192.0.2.2", 2) == 2
        assert await burst(logins, "192.0.2.2", 1) == 0

    asyncio.run(run())
