"""Nodes share one count of failed logins in a Valkey or Redis, and do without where it is away."""

import asyncio
import gc
import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from typing import Any, cast

import pytest
from limits import WindowStats, parse
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from app import create_app
from authapi.engines.database import Database
from authapi.store import administration
from authapi.store import clients as registry
from authapi.telemetry.logs import JSONFormatter
from authapi.throttling.failed_logins import FailedLogins
from authapi.throttling.refusals import TooManyFailures
from authapi.throttling.shared_count import RETRY_SECONDS, STORE_SECONDS, SharedCount, seconds_left
from settings import Settings
from tests.checks import assert_answer, assert_refused
from tests.conftest import NOW, Clock, Registered
from tests.inline import Client
from tests.serving import free_port
from tests.valkey import Valkey, run_valkey

# `limits` has no way to close the connections of a storage: they end with the process.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

WRONG = f"ck_{'0' * 16}_{'a' * 43}a9a9a9a9"
STRANGER = "192.0.2.1"
GOOD_CLIENT = "192.0.2.2"
Attempt = Callable[[str, str], Any]


@pytest.fixture(scope="module")
def valkey() -> Iterator[Valkey]:
    with run_valkey() as valkey:
        yield valkey


@pytest.fixture(autouse=True)
def _fresh(valkey: Valkey) -> Iterator[None]:
    valkey.client.flushall()
    yield
    gc.collect()  # what is left open is told of here, and not in another test


@pytest.fixture
def start_node(settings: Settings, clock: Clock) -> Iterator[Callable[[str], Attempt]]:
    """Start one more application that counts in a storage; it is called by address and key."""
    with ExitStack() as stack:

        def start_node(storage: str) -> Attempt:
            limited = replace(
                settings,
                workers=2,  # of several servers on one file
                login_failures_by_address="5/hour",
                rate_limit_storage=storage,
            )
            app = ProxyHeadersMiddleware(cast(Any, create_app(limited, clock)), "*")
            api = stack.enter_context(Client(cast(Any, app)))

            def attempt(address: str, key: str) -> Any:
                headers = {"X-Forwarded-For": address}
                return api.post("/login", json={"client_key": key}, headers=headers)

            return attempt

        yield start_node


StartNode = Callable[[str], Attempt]


def fail(attempt: Attempt, address: str, times: int) -> None:
    for _ in range(times):
        assert_refused(attempt(address, WRONG), 401, "invalid_client")


def assert_slowed(attempt: Attempt, key: str) -> None:
    response = attempt(STRANGER, key)
    assert_refused(response, 429, "too_many_failures", key)
    assert 3590 <= int(response.headers["retry-after"]) <= 3600


def test_what_failed_at_one_node_counts_at_the_other(
    start_node: StartNode, valkey: Valkey, registered: Registered
) -> None:
    one, other = start_node(valkey.url), start_node(valkey.url)
    fail(one, STRANGER, 3)
    fail(other, STRANGER, 2)
    for node in (one, other):
        assert_slowed(node, registered.key)
        assert_answer(node(GOOD_CLIENT, registered.key), 200)


def test_a_node_that_starts_later_knows_the_count(
    start_node: StartNode, valkey: Valkey, registered: Registered
) -> None:
    fail(start_node(valkey.url), STRANGER, 5)
    assert_slowed(start_node(valkey.url), registered.key)


def test_what_is_counted_is_forgotten_by_itself(start_node: StartNode, valkey: Valkey) -> None:
    fail(start_node(valkey.url), STRANGER, 5)
    keys = valkey.client.keys()
    assert len(keys) == 2
    assert all(0 < valkey.client.ttl(key) <= 3600 for key in keys)


def test_a_limit_of_a_clients_own_is_counted_at_both(
    start_node: StartNode, valkey: Valkey, registered: Registered, settings: Settings
) -> None:
    async def limit() -> None:
        async with Database(settings.database_url) as database:
            limits = {"login_limit": "4/hour"}
            client = await registry.find_client(database, registered.id)
            assert client is not None
            await administration.set_limits(database, client, limits, NOW)

    asyncio.run(limit())
    one, other = start_node(valkey.url), start_node(valkey.url)
    for node in (one, other, one, other):
        assert_answer(node(GOOD_CLIENT, registered.key), 200)
    for node in (one, other):
        assert_refused(node(GOOD_CLIENT, registered.key), 429, "too_many_logins")


def test_without_a_storage_from_the_start_each_node_counts_for_itself(
    start_node: StartNode, registered: Registered, caplog: pytest.LogCaptureFixture
) -> None:
    nowhere = f"valkey://127.0.0.1:{free_port()}"
    one, other = start_node(nowhere), start_node(nowhere)
    fail(one, STRANGER, 5)
    assert_slowed(one, registered.key)
    assert_answer(one(GOOD_CLIENT, registered.key), 200)
    assert_answer(other(STRANGER, registered.key), 200)
    assert outages(caplog) == ["shared_count_unreachable ConnectionError"] * 2


def test_when_the_storage_dies_logins_go_on_and_are_still_counted(
    start_node: StartNode,
    valkey: Valkey,
    registered: Registered,
    caplog: pytest.LogCaptureFixture,
) -> None:
    node = start_node(valkey.url)
    fail(node, STRANGER, 4)
    with valkey.stopped():
        assert_answer(node(GOOD_CLIENT, registered.key), 200)
        fail(node, STRANGER, 5)
        assert_slowed(node, registered.key)
        assert_answer(node(GOOD_CLIENT, registered.key), 200)
    assert outages(caplog) == ["shared_count_unreachable ConnectionError"]


def test_a_storage_that_hangs_costs_half_a_second_and_not_every_login(
    start_node: StartNode, valkey: Valkey, registered: Registered, caplog: pytest.LogCaptureFixture
) -> None:
    node = start_node(valkey.url)
    fail(node, STRANGER, 1)
    with valkey.frozen():
        assert duration(lambda: fail(node, STRANGER, 1)) < 2 * STORE_SECONDS
        assert duration(lambda: fail(node, STRANGER, 4)) < STORE_SECONDS
        assert_slowed(node, registered.key)
        assert_answer(node(GOOD_CLIENT, registered.key), 200)
    assert outages(caplog) == ["shared_count_unreachable TimeoutError"]


@pytest.mark.parametrize("away", [Valkey.stopped, Valkey.frozen])
def test_when_the_storage_is_back_its_count_holds_again(
    valkey: Valkey,
    clock: Clock,
    away: Callable[[Valkey], AbstractContextManager[None]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "auth.shared_count")

    async def outage() -> None:
        one, other = (
            FailedLogins(SharedCount(valkey.url, clock), "2/hour", "100/hour", clock)
            for _ in range(2)
        )
        await log_in_wrong(one)
        with away(valkey):
            await log_in_wrong(one)
            await log_in_wrong(one)
            with pytest.raises(TooManyFailures):
                await log_in_wrong(one)
            clock.advance(RETRY_SECONDS)
            with pytest.raises(TooManyFailures):  # it is away still
                await log_in_wrong(one)
        clock.advance(RETRY_SECONDS - 1)
        with pytest.raises(TooManyFailures):  # nobody has asked it again yet
            await log_in_wrong(one)
        clock.advance(1)
        valkey.client.flushall()
        await log_in_wrong(one)
        await log_in_wrong(one)
        with pytest.raises(TooManyFailures):
            await log_in_wrong(other)

    asyncio.run(outage())
    first, last = outages(caplog)
    assert first.startswith("shared_count_unreachable")
    assert last == "shared_count_reachable"


def test_of_those_that_come_together_one_waits_for_a_storage_that_hangs(
    valkey: Valkey, clock: Clock
) -> None:
    async def crowd() -> None:
        failed_logins = FailedLogins(
            SharedCount(valkey.url, clock), "1000/hour", "1000/hour", clock
        )
        with valkey.frozen():
            await log_in_wrong(failed_logins)
            clock.advance(RETRY_SECONDS)
            logins = [asyncio.create_task(log_in_wrong(failed_logins)) for _ in range(20)]
            done, late = await asyncio.wait(logins, timeout=STORE_SECONDS / 2)
            assert (len(done), len(late)) == (19, 1)
            await asyncio.gather(*logins)

    asyncio.run(crowd())


def test_a_storage_that_answers_with_an_error_is_met_alike(
    valkey: Valkey, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    async def log_in() -> None:
        failed_logins = FailedLogins(SharedCount(valkey.url, clock), "2/hour", "100/hour", clock)
        await log_in_wrong(failed_logins)
        (key,) = valkey.client.keys(f"*{STRANGER}*")
        valkey.client.delete(key)
        valkey.client.lpush(key, "no counter")
        await log_in_wrong(failed_logins)

    asyncio.run(log_in())
    assert outages(caplog) == ["shared_count_unreachable ResponseError"]


async def log_in_wrong(failed_logins: FailedLogins) -> None:
    await failed_logins.admit(STRANGER)
    await failed_logins.count(STRANGER)


def outages(caplog: pytest.LogCaptureFixture) -> list[str]:
    records = [record for record in caplog.records if record.name == "auth.shared_count"]
    lines = [json.loads(JSONFormatter().format(record)) for record in records]
    return [" ".join([line["event"], line.get("fault", "")]).rstrip() for line in lines]


def duration(action: Callable[[], None]) -> float:
    start = time.monotonic()
    action()
    return time.monotonic() - start


@pytest.mark.parametrize(("ahead", "left"), [(3654, 60), (30.2, 31), (0.1, 1), (-3600, 1)])
def test_nobody_is_told_to_wait_longer_than_the_limits_own_period(ahead: float, left: int) -> None:
    """Though the wall clock, by which the library counts, was set back under a lock-out."""
    window = WindowStats(reset_time=time.time() + ahead, remaining=0)
    assert seconds_left(window, parse("30/minute")) == left
