"""What an operator allows a client at most: logins in a time, and sessions that live at once."""

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from starlette.testclient import TestClient

from app import create_app
from authapi.credentials.claims import MAX_ACCESS_SECONDS
from authapi.credentials.client_keys import new_client_key
from authapi.engines.database import Database
from authapi.rules.client_limits import RETRY_SECONDS
from authapi.store import administration, client_keys
from authapi.store import clients as registry
from settings import Settings
from tests.checks import assert_answer, assert_refused, bearer
from tests.conftest import ENGINES, NOW, Clock, Do, Register, Registered, url_for_settings
from tests.steps import log_out, refresh

WEEK = 604_800
Limit = Callable[..., None]


@pytest.fixture(params=ENGINES)
def database_url(request: pytest.FixtureRequest, database_file: Path) -> str:
    return url_for_settings(request, request.param, database_file)


@pytest.fixture
def max_age() -> float:
    return 0


@pytest.fixture
def limit(settings: Settings, registered: Registered) -> Limit:
    """As `set-limits` does it, without its wait."""

    def limit(**changes: str | int | None) -> None:
        async def run() -> None:
            async with Database(settings.database_url) as database:
                client = await registry.find_client(database, registered.id)
                assert client is not None
                await administration.set_limits(database, client, changes, NOW)

        asyncio.run(run())

    return limit


def log_in(api: TestClient, client: Registered) -> Any:
    return api.post("/login", json={"client_key": client.key})


def pairs(api: TestClient, client: Registered, count: int) -> list[dict[str, str]]:
    return [assert_answer(log_in(api, client), 200) for _ in range(count)]


def assert_full(response: Any, error: str = "too_many_sessions") -> int:
    assert_refused(response, 429, error)
    return int(response.headers["retry-after"])


# Logins


def test_a_client_is_held_to_a_limit_of_its_own_and_another_is_not(
    api: TestClient, registered: Registered, register: Register, limit: Limit
) -> None:
    limit(login_limit="3/hour")
    pairs(api, registered, 3)
    assert 1 <= assert_full(log_in(api, registered), "too_many_logins") <= 3601
    pairs(api, register("other"), 5)


def test_a_limit_of_its_own_may_be_higher_than_that_of_all(
    settings: Settings, clock: Clock, registered: Registered, limit: Limit
) -> None:
    with TestClient(create_app(replace(settings, logins_by_client="2/hour"), clock)) as api:
        pairs(api, registered, 2)
        assert_full(log_in(api, registered), "too_many_logins")
        limit(login_limit="5/hour")
        pairs(api, registered, 5)
        assert_full(log_in(api, registered), "too_many_logins")


# Sessions


def test_so_many_sessions_live_at_once_and_a_log_out_makes_room(
    api: TestClient, registered: Registered, register: Register, limit: Limit
) -> None:
    limit(session_limit=2)
    first, second = pairs(api, registered, 2)
    assert assert_full(log_in(api, registered)) == RETRY_SECONDS
    refresh(api, first["refresh_token"])  # a session goes on, and is not another one
    pairs(api, register("other"), 5)
    log_out(api, second["access_token"])
    pairs(api, registered, 1)
    assert_full(log_in(api, registered))


def test_all_that_ends_a_session_makes_room(
    api: TestClient, registered: Registered, limit: Limit, settings: Settings, clock: Clock
) -> None:
    limit(session_limit=2)
    _, last = pairs(api, registered, 2)
    log_out(api, last["access_token"], everywhere=True)
    pairs(api, registered, 2)
    clock.advance(WEEK - 3)
    assert assert_full(log_in(api, registered)) == 3
    clock.advance(3)
    pairs(api, registered, 2)

    async def exchange() -> str:
        async with Database(settings.database_url) as database:
            await client_keys.revoke_keys(database, [registered.key_id], clock())
            key = new_client_key()
            await client_keys.add_key(database, registered.id, key, int(clock()))
            return key.text

    pairs(api, replace(registered, key=asyncio.run(exchange())), 2)


def test_what_an_ended_key_began_makes_room_when_its_last_token_must_be_over(
    api: TestClient, registered: Registered, limit: Limit, do: Do, clock: Clock
) -> None:
    """Else a client that rotates its key would find its places taken for a week."""
    limit(session_limit=2)
    pairs(api, registered, 2)
    key, end = new_client_key(), int(NOW) + 60
    do(lambda db: client_keys.rotate_keys(db, registered.id, key, int(NOW), end))
    rotated = replace(registered, key=key.text)
    clock.now = end + MAX_ACCESS_SECONDS - 1
    assert_full(log_in(api, rotated))
    clock.advance(1)
    pairs(api, rotated, 2)
    assert_full(log_in(api, rotated))


def test_a_session_without_a_refresh_token_lives_as_long_as_its_token(
    api: TestClient, registered: Registered, limit: Limit, clock: Clock
) -> None:
    limit(session_limit=1)
    form = {"grant_type": "client_credentials"}

    def grant() -> Any:
        return api.post("/oauth/token", data=form, auth=(registered.id, registered.key))

    assert_answer(grant(), 200)
    assert assert_full(grant()) == RETRY_SECONDS
    clock.advance(900)
    assert_answer(grant(), 200)


def test_a_lower_limit_ends_nothing_and_none_is_no_limit(
    api: TestClient, registered: Registered, limit: Limit
) -> None:
    limit(session_limit=3)
    begun = pairs(api, registered, 3)
    limit(session_limit=1)
    assert_full(log_in(api, registered))
    for pair in begun:
        assert_answer(api.get("/me", headers=bearer(pair["access_token"])), 200)
    limit(session_limit=None)
    pairs(api, registered, 5)


def test_of_a_burst_no_more_get_in_than_may_live(
    settings: Settings, registered: Registered, limit: Limit, clock: Clock
) -> None:
    limit(session_limit=3)
    with ExitStack() as stack:
        shared = replace(settings, workers=2)
        nodes = [stack.enter_context(TestClient(create_app(shared, clock))) for _ in range(2)]
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda n: log_in(nodes[n % 2], registered), range(24)))
    assert sorted(answer.status_code for answer in answers) == [200] * 3 + [429] * 21


def test_a_client_without_a_limit_writes_nothing(
    api: TestClient, registered: Registered, settings: Settings
) -> None:
    pairs(api, registered, 1)

    async def count() -> Any:
        async with Database(settings.database_url) as database:
            return await database.fetch_val("SELECT count(*) FROM counted_sessions")

    assert asyncio.run(count()) == 0


def test_the_audit_trail_tells_who_was_refused(
    api: TestClient, registered: Registered, limit: Limit, caplog: pytest.LogCaptureFixture
) -> None:
    limit(session_limit=1)
    pairs(api, registered, 1)
    log_in(api, registered)
    (refused,) = (record for record in caplog.records if record.message == "login_refused")
    details = vars(refused)["details"]
    assert (details["reason"], details["client"]) == ("too many sessions", registered.id)


# The command


def test_an_operator_sets_limits_and_takes_them_away(
    manage: Callable[..., Result], registered: Registered
) -> None:
    def limits(*options: str) -> tuple[Any, Any]:
        report = json.loads(manage("set-limits", "reporting", *options, "--json").stdout)
        assert (report["user_id"], report["name"]) == (registered.id, "reporting")
        (listed,) = json.loads(manage("list-clients", "--json").stdout)
        assert listed["login_limit"] == report["login_limit"]
        return report["login_limit"], report["session_limit"]

    assert limits("--logins", "600/hour") == ("600/hour", None)
    assert limits("--sessions", "20") == ("600/hour", 20)
    assert "600/hour, 20 sessions" in manage("list-clients").stdout
    assert limits() == ("600/hour", 20)
    assert limits("--logins", "none") == (None, 20)
    result = manage("set-limits", "reporting", "--sessions", "none")
    assert result.stdout == "reporting: limits none\n"
    line = json.loads(result.stderr)
    assert (line["event"], line["client"], line["limits"]) == ("limits_set", registered.id, "none")


@pytest.mark.parametrize(
    ("option", "wrong"),
    [
        *[("--logins", each) for each in ("0/hour", "x", "6", "6/year", "6 per hour", "-1/hour")],
        *[("--sessions", each) for each in ("0", "-1", "1.5", "many", "1234567890")],
    ],
)
def test_what_is_no_limit_is_refused(
    manage: Callable[..., Result], registered: Registered, option: str, wrong: str
) -> None:
    result = manage("set-limits", "reporting", f"{option}={wrong}", status=2)
    assert "A limit is" in result.stderr


def test_a_limit_is_in_force_when_the_command_returns(
    settings: Settings, clock: Clock, registered: Registered, manage: Callable[..., Result]
) -> None:
    """On a worker that has cached what it read of the client."""
    cached = replace(settings, workers=2, revocation_max_age_seconds=0.5)
    with TestClient(create_app(cached, clock)) as api:
        pairs(api, registered, 3)
        manage("set-limits", "reporting", "--sessions", "1")
        pairs(api, registered, 1)
        assert_full(log_in(api, registered))
