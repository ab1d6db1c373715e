"""Whoever guesses is slowed down; whoever knows its key is let in."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, cast

import pytest
from starlette.testclient import TestClient
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from app import create_app
from settings import Settings
from tests.checks import assert_answer, assert_refused
from tests.conftest import Clock, Registered

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
    with TestClient(behind_proxy) as api:
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
