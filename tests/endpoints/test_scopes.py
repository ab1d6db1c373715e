"""What a client was granted, what it asks for, and what a route needs."""

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result
from starlette.requests import Request
from starlette.routing import Route
from starlette.testclient import TestClient

from app import create_app
from auth_backend import requires_scope
from authapi.credentials.client_keys import new_client_id, new_client_key
from authapi.credentials.scopes import MAX_LENGTH, read_scopes
from authapi.engines.database import Database
from authapi.store import clients as registry
from authapi.web.answers import Answer
from handlers import State
from settings import Settings
from tests import forge
from tests.checks import BARE_CHALLENGE, assert_answer, assert_refused, bearer
from tests.conftest import NOW, Clock, Registered
from tests.inline import Client

GRANTED = "reports:read reports:write"


@pytest.fixture
def max_age() -> float:
    """The commands here come from what would be another process."""
    return 0


@pytest.fixture
def granted(settings: Settings) -> Registered:
    client_id, key = new_client_id(), new_client_key()

    async def create() -> None:
        async with Database(settings.database_url) as database:
            await registry.create_client(database, client_id, "reports", key, int(NOW), GRANTED)

    asyncio.run(create())
    return Registered(client_id, key.text, key.id)


@requires_scope("reports:write", "reports:read")
async def report(request: Request[State]) -> Answer:
    return Answer({"user_id": request.user.identity, "scopes": request.auth.scopes})


@pytest.fixture
def api(settings: Settings, clock: Clock) -> Iterator[TestClient]:
    app = create_app(settings, clock)
    app.router.routes.append(Route("/report", report))
    with Client(app) as client:
        yield client


def log_in(api: TestClient, client: Registered, **asked: str) -> dict[str, str]:
    body = {"client_key": client.key} | asked
    pair: dict[str, str] = assert_answer(api.post("/login", json=body), 200)
    return pair


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ({}, GRANTED),
        ({"scope": ""}, GRANTED),  # RFC 6749, 3.1: as if it were left out
        ({"scope": "reports:write"}, "reports:write"),
        ({"scope": "reports:write reports:read"}, "reports:write reports:read"),
        ({"scope": "reports:read reports:read"}, "reports:read"),
    ],
)
def test_a_login_gets_what_it_asks_for_of_what_is_granted(
    api: TestClient, granted: Registered, asked: dict[str, str], given: str
) -> None:
    pair = log_in(api, granted, **asked)
    again = assert_answer(api.post("/refresh-token", json=pair), 200)
    for each in (pair, again):
        assert each["scope"] == given
        assert forge.claims_of(each["access_token"])["scope"] == given
        me = assert_answer(api.get("/me", headers=bearer(each["access_token"])), 200)
        assert me["scopes"] == given.split()


@pytest.mark.parametrize(
    "scope", ["admin", "reports:read admin", "reports", "reports:read ", " ", "é", '"', "a\\", "\n"]
)
def test_a_login_never_gets_more(api: TestClient, granted: Registered, scope: str) -> None:
    response = api.post("/login", data={"client_key": granted.key, "scope": scope})
    assert_refused(response, 400, "invalid_scope", sent="admin")


def test_a_stranger_learns_nothing_of_scopes(api: TestClient, granted: Registered) -> None:
    body = {"client_key": new_client_key().text, "scope": "admin"}
    assert_refused(api.post("/login", json=body), 401, "invalid_client")


def test_a_client_without_scopes_gets_none(api: TestClient, registered: Registered) -> None:
    assert "scope" not in log_in(api, registered)
    body = {"client_key": registered.key, "scope": "reports:read"}
    assert_refused(api.post("/login", json=body), 400, "invalid_scope")


def test_a_route_opens_to_a_token_with_all_of_its_scopes(
    api: TestClient, granted: Registered
) -> None:
    token = log_in(api, granted)["access_token"]
    body = assert_answer(api.get("/report", headers=bearer(token)), 200)
    assert body == {"user_id": granted.id, "scopes": GRANTED.split()}
    less = log_in(api, granted, scope="reports:read")["access_token"]
    response = api.get("/report", headers=bearer(less))
    assert assert_answer(response, 403)["error"] == "insufficient_scope"
    assert response.headers["www-authenticate"] == (
        f'{BARE_CHALLENGE}, error="insufficient_scope", scope="reports:write reports:read"'
    )
    assert_answer(api.get("/secure-data", headers=bearer(less)), 200)
    assert_refused(api.get("/report"), 401, "missing_token")
    assert_refused(api.get("/report", headers=bearer(less[:-1])), 401, "invalid_token")


@pytest.mark.parametrize("scope", ['a"', "a\\", "é", "\x7f", "a\r\nSet-Cookie: b"])
def test_a_route_cannot_need_what_is_no_scope(scope: str) -> None:
    with pytest.raises(ValueError, match="not a list of scopes"):
        requires_scope(scope)


def test_scopes_have_a_length() -> None:
    assert read_scopes("a" * MAX_LENGTH) == ["a" * MAX_LENGTH]
    with pytest.raises(ValueError, match="not a list of scopes"):
        read_scopes("a" * (MAX_LENGTH + 1))


def assert_told(result: Result, event: str, **details: str) -> None:
    """With all that it takes to do it again on an old copy of the database."""
    line = json.loads(result.stderr)
    assert {name: line[name] for name in line if name not in ("time", "level")} == {
        "event": event,
        "actor": "command",
        **details,
    }


def test_set_scopes_that_grants_more_spares_the_sessions(
    api: TestClient, granted: Registered, manage: Callable[..., Result]
) -> None:
    before = log_in(api, granted)
    more = f"{GRANTED} admin"
    result = manage("set-scopes", "reports", more, "--json")
    assert_told(result, "scopes_set", client=granted.id, name="reports", scopes=more)
    told = json.loads(result.stdout)
    assert (told["user_id"], told["name"]) == (granted.id, "reports")
    assert (told["was"], told["scopes"], told["sessions_ended"]) == (GRANTED, more, False)
    assert_answer(api.get("/me", headers=bearer(before["access_token"])), 200)
    assert assert_answer(api.post("/refresh-token", json=before), 200)["scope"] == GRANTED
    assert log_in(api, granted)["scope"] == more


def test_set_scopes_that_takes_away_ends_the_sessions(
    api: TestClient, granted: Registered, manage: Callable[..., Result]
) -> None:
    before = log_in(api, granted)
    assert "--yes" in manage("set-scopes", "reports", "reports:read", status=2).stderr
    assert_answer(api.get("/me", headers=bearer(before["access_token"])), 200)
    result = manage("set-scopes", "reports", "reports:read", "--yes")
    assert result.stdout == (f"reports: scopes {GRANTED} → reports:read; its sessions are ended\n")
    manage("set-scopes", "reports", "", "--yes")
    shown = manage("set-scopes", "reports", "reports:read").stdout
    assert shown == "reports: scopes none → reports:read\n"
    assert_refused(api.get("/me", headers=bearer(before["access_token"])), 401, "invalid_token")
    assert_refused(api.post("/refresh-token", json=before), 401, "invalid_grant")
    assert log_in(api, granted)["scope"] == "reports:read"


def test_a_client_is_created_with_scopes(
    api: TestClient, manage: Callable[..., Result], database_file: Path
) -> None:
    result = manage("create-client", "x", "--scope", "a b a", "--json")
    created = json.loads(result.stdout)
    assert_told(
        result,
        "client_created",
        client=created["user_id"],
        key_id=created["key_id"],
        name="x",
        scopes="a b",
    )
    client = Registered(created["user_id"], created["client_key"], created["key_id"])
    assert log_in(api, client)["scope"] == "a b"


@pytest.mark.parametrize("scope", ["a  b", '"', "é", "a" * (MAX_LENGTH + 1)])
def test_what_is_no_scope_is_refused_and_nothing_is_changed(
    granted: Registered, manage: Callable[..., Result], scope: str
) -> None:
    for command in (["create-client", "x", "--scope", scope], ["set-scopes", "reports", scope]):
        assert manage(*command, status=2).stderr.startswith("Error: Scopes are words")
    (client,) = json.loads(manage("list-clients", "--json").stdout)
    assert client["scopes"] == GRANTED
