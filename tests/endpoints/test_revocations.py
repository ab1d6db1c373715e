"""The feed of what is revoked, as a verifier elsewhere asks for it."""

import asyncio
import gzip
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from app import create_app
from authapi.engines.database import Database
from authapi.store import database_identity
from settings import Settings
from tests import forge, signing
from tests.checks import assert_answer, assert_refused, bearer
from tests.conftest import DATABASE_ID, ENGINES, NOW, SECRET, Clock, url_for_settings
from tests.copies import end
from tests.counting import CountingDatabase
from tests.steps import log_out

SCOPE = "revocations:read"
LEASE = 1.5
SOON_SECONDS = 4.0
"""Well before a poll of 5 seconds would be answered by itself, on a busy machine too."""
MEMBERS = {"revoked", "keys", "purged_until", "cursor", "keep", "lease", "fresh_for"}


@pytest.fixture(params=ENGINES)
def database_url(request: pytest.FixtureRequest, database_file: Path) -> str:
    return url_for_settings(request, request.param, database_file)


on_one_engine = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""What is asked before the copy is, which is alike on both."""


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """One that other workers share, who do not take long."""
    return replace(settings, workers=2, revocation_max_age_seconds=0.1)


@pytest.fixture
def steady() -> Clock:
    return Clock()


def worker(settings: Settings, clock: Clock) -> TestClient:
    """Its clocks stand still together: if only one did, it would be taken for set after 3 seconds,
    and all be loaded and told anew."""
    return TestClient(create_app(settings, clock, steady_clock=clock))


@pytest.fixture
def api(settings: Settings, clock: Clock) -> Iterator[TestClient]:
    with worker(settings, clock) as client:
        yield client


def verifier(**claims: Any) -> dict[str, str]:
    """What a client sends that may read the feed."""
    return bearer(forge.token(**{"sub": "verifier", "sid": "v", "scope": SCOPE} | claims))


def poll(api: TestClient, **query: Any) -> dict[str, Any]:
    told: dict[str, Any] = assert_answer(
        api.get("/revocations", params=query, headers=verifier()), 200
    )
    return told


def until_news(api: TestClient, cursor: str, act: Callable[[], object]) -> dict[str, Any]:
    """What a poll is answered with that was held while `act` was done."""
    with ThreadPoolExecutor(1) as pool:
        began = time.monotonic()
        held = pool.submit(poll, api, after=cursor, wait=5)
        time.sleep(0.05)  # it has come by then, or else is answered at once
        act()
        told = held.result(timeout=30)
    assert time.monotonic() - began < SOON_SECONDS
    return told


def on_database(settings: Settings, act: Callable[[Database], Any]) -> None:
    async def run() -> None:
        async with Database(settings.database_url) as database:
            await act(database)

    asyncio.run(run())


def test_all_that_is_held_is_told_and_no_more(api: TestClient) -> None:
    log_out(api, forge.token(sid="ended"))
    headers = verifier() | {"X-Request-ID": "0f8e3c5a9b2d4e61"}
    response = api.get("/revocations", headers=headers)
    told = assert_answer(response, 200)
    assert response.headers["x-request-id"] == "0f8e3c5a9b2d4e61"
    assert response.headers["vary"] == "Accept-Encoding"
    assert set(told) == MEMBERS
    assert told["revoked"] == {"ended": NOW}
    assert (told["keys"], told["lease"]) == ([], LEASE)
    assert told["purged_until"] < NOW
    assert LEASE / 2 <= told["fresh_for"] <= LEASE


def test_a_held_poll_is_answered_when_a_session_is_ended(api: TestClient) -> None:
    cursor = poll(api)["cursor"]
    told = until_news(api, cursor, lambda: log_out(api, forge.token(sid="ended")))
    assert told["revoked"] == {"ended": NOW}
    assert poll(api, after=told["cursor"])["revoked"] == {}


def test_a_held_poll_is_answered_when_a_session_is_ended_elsewhere(
    api: TestClient, settings: Settings
) -> None:
    cursor = poll(api)["cursor"]
    told = until_news(
        api, cursor, lambda: on_database(settings, lambda database: end(database, "ended"))
    )
    assert told["revoked"] == {"ended": NOW}


def test_where_nothing_comes_a_poll_is_answered_after_its_wait(api: TestClient) -> None:
    cursor, began = poll(api)["cursor"], time.monotonic()
    told = poll(api, after=cursor, wait=0.25)
    assert time.monotonic() - began >= 0.24
    assert told["revoked"] == {}
    assert told["fresh_for"] <= LEASE + 0.25 + 0.001


def test_any_worker_answers_the_cursor_of_another(
    api: TestClient, settings: Settings, clock: Clock
) -> None:
    with worker(settings, clock) as other:
        log_out(api, forge.token(sid="first"))
        cursor = poll(api)["cursor"]
        # It waits for the next reading, which may be late: by its clock its copy is never old.
        told = poll(other, after=cursor, wait=5)
        assert told["revoked"] == {"first": NOW}
        log_out(other, forge.token(sid="second"))
        assert poll(api, after=told["cursor"], wait=5)["revoked"] == {"second": NOW}
        told = poll(other, after=told["cursor"])
        assert told["revoked"] == {"second": NOW}
        assert told["cursor"].count(".") == 2


def test_another_database_ends_what_was_heard_of_this_one(
    api: TestClient, settings: Settings
) -> None:
    cursor = poll(api)["cursor"]
    on_database(
        settings,
        lambda database: database_identity.change_identity(database, "f" * 16, int(NOW)),
    )
    give_up = time.monotonic() + 20
    signed = forge.header() | {"kid": forge.kid(SECRET, "f" * 16)}
    claims = forge.claims_for("at+jwt", sub="verifier", scope=SCOPE)
    headers = bearer(forge.sign(f"{forge.segment(signed)}.{forge.segment(claims)}"))
    while (
        response := api.get("/revocations", params={"after": cursor}, headers=headers)
    ).status_code == 401:
        assert time.monotonic() < give_up
        time.sleep(0.02)
    assert_refused(response, 410, "unknown_cursor", cursor)
    told = assert_answer(api.get("/revocations", headers=headers), 200)
    assert told["cursor"].startswith("f" * 16)


@on_one_engine
@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("after=", "after"),
        ("after=%00", "after"),
        ("after=1", "after"),
        (f"after={DATABASE_ID}", "after"),
        ("wait=", "wait"),
        ("wait=-1", "wait"),
        ("wait=5.001", "wait"),
        ("wait=6", "wait"),
        ("wait=0.0001", "wait"),
        ("wait=1e0", "wait"),
        ("wait=nan", "wait"),
        ("wait=1,5", "wait"),
        ("wait=1&wait=1", "wait"),
        ("wait=%D9%A3", "wait"),
        ("since=1", "since"),
        ("After=1", "After"),
        ("&", ...),
    ],
)
def test_what_is_asked_has_one_form(api: TestClient, query: str, field: Any) -> None:
    response = api.get(f"/revocations?{query}", headers=verifier())
    if field is ...:
        assert_answer(response, 200)
        return
    body = assert_refused(response, 400, "invalid_request")
    assert list(body.get("fields", {})) == ([field] if field else [])


@on_one_engine
def test_a_repeated_cursor_is_refused(api: TestClient) -> None:
    cursor = poll(api)["cursor"]
    response = api.get(f"/revocations?after={cursor}&after={cursor}", headers=verifier())
    body = assert_refused(response, 400, "invalid_request", cursor)
    assert list(body["fields"]) == ["after"]


@on_one_engine
@pytest.mark.parametrize("wait", ["0", "0.5", "4.999", "5", "5.000"])
def test_a_wait_without_a_cursor_is_ignored(api: TestClient, wait: str) -> None:
    began = time.monotonic()
    assert poll(api, wait=wait)["revoked"] == {}
    assert time.monotonic() - began < SOON_SECONDS


@on_one_engine
def test_a_cursor_of_the_future_is_unknown(api: TestClient) -> None:
    before, _, _ = poll(api)["cursor"].rpartition(".")
    response = api.get("/revocations", params={"after": f"{before}.9"}, headers=verifier())
    assert_refused(response, 410, "unknown_cursor")


@on_one_engine
def test_it_is_for_those_with_the_scope(api: TestClient) -> None:
    assert_refused(api.get("/revocations"), 401, "missing_token")
    assert_refused(api.get("/revocations", headers=bearer("x")), 401, "invalid_token")
    response = api.get("/revocations", headers=verifier(scope="revocations:write"))
    assert assert_answer(response, 403)["error"] == "insufficient_scope"
    assert "revoked" not in response.json()
    log_out(api, forge.token(sub="verifier", sid="v", scope=SCOPE))
    assert_refused(api.get("/revocations", headers=verifier()), 401, "invalid_token")


@on_one_engine
def test_who_is_ended_while_held_is_told_nothing(api: TestClient) -> None:
    """A verifier whose client is disabled must not go on for as long as it had wanted to wait."""
    query = {"after": poll(api)["cursor"], "wait": "5"}
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(api.get, "/revocations", params=query, headers=verifier())
        time.sleep(0.05)
        log_out(api, forge.token(sub="verifier", sid="v", scope=SCOPE))
        assert_refused(held.result(timeout=30), 401, "invalid_token")


@on_one_engine
def test_as_readings_fail_it_is_believed_for_less_long_and_then_unavailable(
    settings: Settings, clock: Clock, steady: Clock
) -> None:
    settings = replace(settings, revocation_poll_seconds=60, revocation_max_age_seconds=60)
    with TestClient(create_app(settings, clock, steady_clock=steady)) as api:
        cursor = poll(api)["cursor"]
        for seconds, left in ((0.25, 1.25), (0.25, 1), (0.25, 0.75)):
            steady.advance(seconds)
            assert poll(api, after=cursor)["fresh_for"] == left
        steady.advance(0.001)
        response = api.get("/revocations", params={"after": cursor}, headers=verifier())
        assert_refused(response, 503, "temporarily_unavailable")
        assert response.headers["retry-after"] == "1"


@on_one_engine
def test_no_more_polls_are_held_than_may(settings: Settings, clock: Clock) -> None:
    with worker(replace(settings, feed_max_held=1), clock) as api:
        cursor = poll(api)["cursor"]

        def crowd() -> None:
            query = {"after": cursor, "wait": "1"}
            refused = api.get("/revocations", params=query, headers=verifier())
            assert_refused(refused, 503, "temporarily_unavailable")
            log_out(api, forge.token(sid="ended"))

        assert until_news(api, cursor, crowd)["revoked"] == {"ended": NOW}


def test_a_poll_asks_the_database_nothing(settings: Settings, clock: Clock) -> None:
    on_database(settings, lambda database: end(database, "ended"))
    settings = replace(settings, revocation_max_age_seconds=60)
    database = CountingDatabase(settings.database_url)
    with TestClient(create_app(settings, clock, lambda url: database, steady_clock=clock)) as api:
        database.asked.clear()
        cursor = poll(api)["cursor"]
        poll(api, after=cursor)
        poll(api, after=cursor, wait=0.25)
        assert database.asked == []


def test_the_keys_in_force_are_told_and_a_held_poll_when_one_is_retired(
    settings: Settings, clock: Clock, tmp_path: Path
) -> None:
    one, two = signing.ES256("one"), signing.Ed25519("two")
    file = signing.write(tmp_path / "keys.json", one.jwk, two.jwk)
    with worker(replace(settings, signing_keys_file=str(file)), clock) as api:
        told = poll(api)
        assert told["keys"] == [f"{kid}.{DATABASE_ID}" for kid in ("one", "two")]
        told = until_news(api, told["cursor"], lambda: signing.write(file, two.jwk))
        assert told["keys"] == [f"two.{DATABASE_ID}"]


def many(settings: Settings) -> None:
    async def end_many(database: Database) -> None:
        for number in range(2_000):
            await end(database, f"{number:032}")

    on_database(settings, end_many)


@on_one_engine
def test_a_large_answer_is_compressed_for_who_takes_it(settings: Settings, clock: Clock) -> None:
    many(settings)
    with worker(settings, clock) as api:
        plain = api.get("/revocations", headers=verifier() | {"Accept-Encoding": "identity"})
        assert "content-encoding" not in plain.headers
        assert len(plain.content) > 64 * 1024
        request = api.build_request(
            "GET", "/revocations", headers=verifier() | {"Accept-Encoding": "br, gzip;q=0.5"}
        )
        packed = api.send(request, stream=True)
        raw = b"".join(packed.iter_raw())
        assert packed.headers["content-encoding"] == "gzip"
        assert packed.headers["vary"] == "Accept-Encoding"
        assert int(packed.headers["content-length"]) == len(raw) < len(plain.content)
        assert json.loads(gzip.decompress(raw))["revoked"] == plain.json()["revoked"]
